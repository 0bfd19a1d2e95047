//! `weir setup`: mark the shards as this cluster's.
use super::servers::Servers;
use super::{Failure, block_on, check};
use crate::backend::placement::{self, SetUp};
use crate::rules::Rules;
use std::{path::PathBuf, process::ExitCode};

#[derive(clap::Args, Debug)]
#[command(after_help = "\
Writes weir.placement on every shard of the rules file: the cluster's id, the shard's name, and what
decides where rows live. A weir whose rules say otherwise does not serve. Running it again does
nothing; shards with another placement, or with rows that would be misplaced, are refused.")]
pub struct Args {
    /// The rules file.
    #[arg(long, value_name = "FILE")]
    rules: PathBuf,
    #[command(flatten)]
    servers: Servers,
}

pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    let rules = check::load(&args.rules)?;
    match block_on(set_up(&rules, &args.servers))? {
        SetUp::Already => println!("every shard has this placement already"),
        SetUp::Done { shards: 1 } => println!("1 shard was given its placement"),
        SetUp::Done { shards } => println!("{shards} shards were given their placement"),
    }
    Ok(ExitCode::SUCCESS)
}

/// The same for who has rules and servers already, as `weir demo` does.
pub async fn set_up(rules: &Rules, servers: &Servers) -> Result<SetUp, Failure> {
    if rules.is_plain() {
        return Err(Failure::new("a database without distributions needs no set-up"));
    }
    let mut clients = servers.connect(rules).await?;
    Ok(placement::set_up(&mut clients, rules).await?)
}
