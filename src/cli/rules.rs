//! `weir rules adopt`: replace the placement where no row would be misplaced.
use super::servers::Servers;
use super::{Failure, block_on, check};
use crate::backend::placement::{self, Adopted};
use crate::backend::{next_id, sequences};
use std::{path::PathBuf, process::ExitCode};

#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    /// Make the shards accept a changed rules file.
    Adopt(Adopt),
}

#[derive(clap::Args, Debug)]
#[command(after_help = "\
Reads every key of every sharded table and refuses, with counts, if a row would be misplaced. If none
is, it ends all other connections to the shards, looks again behind locks, and replaces the placement.
Running weirs with the old rules serve no more: give them the new file and reload them (SIGHUP).")]
struct Adopt {
    /// The changed rules file.
    #[arg(long, value_name = "FILE")]
    rules: PathBuf,
    #[command(flatten)]
    servers: Servers,
}

pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    match &args.command {
        Command::Adopt(args) => adopt(args),
    }
}

fn adopt(args: &Adopt) -> Result<ExitCode, Failure> {
    let rules = check::load(&args.rules)?;
    if rules.is_plain() {
        return Err(Failure::new("a database without distributions has no placement"));
    }
    let adopted = block_on(async {
        let mut clients = args.servers.connect(&rules).await?;
        let adopted = placement::adopt(&mut clients, &rules).await?;
        // A shard that is new, a table that is sharded now, another stride.
        sequences::set_up(&clients, &rules).await?;
        for (shard, client) in rules.shard_ids().zip(&clients) {
            next_id::set_up(client, shard).await?;
        }
        Ok(adopted)
    });
    match adopted? {
        Adopted::Already => println!("every shard has this placement already"),
        Adopted::Done { epoch } => println!("the placement was replaced: epoch {epoch}"),
    }
    Ok(ExitCode::SUCCESS)
}
