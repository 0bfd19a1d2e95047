//! `weir setup`: mark the shards as this cluster's.
use super::servers::Servers;
use super::{Failure, block_on, check, gather};
use crate::backend::placement::{self, SetUp};
use crate::backend::{commit_record, guard, lock_waits, next_id, sequences};
use crate::rules::Rules;
use std::{collections::BTreeSet, path::PathBuf, process::ExitCode};

#[derive(clap::Args, Debug)]
#[command(after_help = "\
Writes weir.placement on every shard of the rules file: the cluster's id, the shard's name, and what
decides where rows live. A weir whose rules say otherwise does not serve. Sequences of sharded tables
are given values of their own on each shard, past those in use. Reference tables get a trigger that
keeps other tables' triggers from writing one copy of them. Running it again does nothing; shards
with another placement, or with rows that would be misplaced, are refused.")]
pub struct Args {
    /// The rules file.
    #[arg(long, value_name = "FILE")]
    rules: PathBuf,
    /// Also give the gather database the shards' schema, by pg_dump and psql, if it is empty.
    #[arg(long)]
    gather: bool,
    #[command(flatten)]
    servers: Servers,
}

pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    let rules = check::load(&args.rules)?;
    let Done { set_up, sequences, guarded } = block_on(set_up_all(&rules, &args.servers))?;
    match set_up {
        SetUp::Already => println!("every shard has this placement already"),
        SetUp::Done { shards: 1 } => println!("1 shard was given its placement"),
        SetUp::Done { shards } => println!("{shards} shards were given their placement"),
    }
    for name in sequences {
        println!("sequence {name} gives each shard values of its own");
    }
    for name in guarded {
        println!("reference table {name} is guarded from triggers that would write one copy of it");
    }
    if args.gather {
        match block_on(gather::fill(&rules, &args.servers))? {
            gather::Filled::Already => println!("the gather database has the schema already"),
            gather::Filled::Done => println!("the gather database was given the schema"),
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The same for who has rules and servers already, as `weir demo` does.
pub async fn set_up(rules: &Rules, servers: &Servers) -> Result<SetUp, Failure> {
    set_up_all(rules, servers).await.map(|done| done.set_up)
}

struct Done {
    set_up: SetUp,
    /// Sequences that were changed.
    sequences: Vec<String>,
    /// Reference tables that got their guard.
    guarded: BTreeSet<String>,
}

/// The placement, then what sharded tables and reference tables need.
async fn set_up_all(rules: &Rules, servers: &Servers) -> Result<Done, Failure> {
    if rules.is_plain() {
        return Err(Failure::new("a database without distributions needs no set-up"));
    }
    let mut clients = servers.connect(rules).await?;
    let set_up = placement::set_up(&mut clients, rules).await?;
    let mut guarded = BTreeSet::new();
    for (shard, client) in rules.shard_ids().zip(&clients) {
        commit_record::set_up(client).await?;
        next_id::set_up(client, shard).await?;
        guarded.extend(guard::set_up(client, rules).await?);
    }
    if let Some(home) = clients.get(usize::from(rules.home.0)) {
        lock_waits::set_up(home).await?;
    }
    Ok(Done { set_up, sequences: sequences::set_up(&clients, rules).await?, guarded })
}
