//! `weir recover`: what transactions over several shards have left behind, brought to its end by hand.
use super::servers::Servers;
use super::{Failure, block_on, check};
use crate::backend::commit_record::Verdict;
use crate::backend::placement;
use crate::error::{Error, SqlState};
use crate::rules::Rules;
use crate::server::recovery::{self, Fate, Leftover, Mode, Reached};
use std::time::Duration;
use std::{path::PathBuf, process::ExitCode};

#[derive(clap::Args, Debug)]
#[command(after_help = "\
Every weir does this by itself, every few seconds. It looks for transactions that are prepared on a shard
under a name of this cluster's, asks the shard that the name says decides, and commits or rolls back what
it finds. What nobody has decided yet can never be committed any more once this has asked. A shard that
cannot be reached keeps what is in doubt; then the exit code is 1.")]
pub struct Args {
    /// The rules file.
    #[arg(long, value_name = "FILE")]
    rules: PathBuf,
    /// Only say what is there, and what would be done.
    #[arg(long)]
    dry_run: bool,
    /// Leave alone what was prepared less than that many seconds ago: its weir may be at work.
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    grace: u64,
    #[command(flatten)]
    servers: Servers,
}

pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    let rules = check::load(&args.rules)?;
    let mode = if args.dry_run { Mode::Look } else { Mode::Finish };
    let grace = Duration::from_secs(args.grace);
    let (shards, left) = block_on(recover(&rules, &args.servers, grace, mode))?;
    let mut done = true;
    for (shard, client) in &shards {
        if let Err(error) = client {
            println!("shard {shard} cannot be looked at: {}", error.message);
            done = false;
        }
    }
    for leftover in &left {
        println!("{}", describe(leftover, mode));
        done &= !matches!(leftover.fate, Fate::Stays(_));
    }
    if left.is_empty() && done {
        println!("no transaction is in doubt");
    }
    Ok(if done { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn recover(
    rules: &Rules,
    servers: &Servers,
    grace: Duration,
    mode: Mode,
) -> Result<(Reached, Vec<Leftover>), Failure> {
    let (mut shards, mut cluster) = (Reached::new(), None);
    for (id, shard) in rules.shard_ids().zip(&rules.shards) {
        let place = format!("shard {}", shard.name);
        let client = servers.connect_to(&shard.primary, &place).await;
        let client =
            client.map_err(|failure| Error::shard(SqlState::CANNOT_CONNECT, failure.to_string()));
        if let Ok(client) = &client {
            let row = placement::verify(client, rules, id).await?;
            if *cluster.get_or_insert_with(|| row.cluster.clone()) != row.cluster {
                return Err(Failure::new(format!("{place} belongs to another cluster")));
            }
        }
        shards.insert(shard.name.clone(), client);
    }
    let cluster = cluster.ok_or_else(|| Failure::new("no shard can be reached"))?;
    let left = recovery::recover(&shards, &cluster, grace, &[], mode).await;
    Ok((shards, left))
}

fn describe(leftover: &Leftover, mode: Mode) -> String {
    let Leftover { shard, gid, age, fate } = leftover;
    let what = match (fate, mode) {
        (Fate::Young, _) => "is young: its weir may be at work".to_owned(),
        (Fate::Finished(Verdict::Committed), Mode::Finish) => "was committed".to_owned(),
        (Fate::Finished(Verdict::Aborted), Mode::Finish) => "was rolled back".to_owned(),
        (Fate::Finished(Verdict::Committed), Mode::Look) => "would be committed".to_owned(),
        (Fate::Finished(Verdict::Aborted), Mode::Look) => "would be rolled back".to_owned(),
        (Fate::Undecided, _) => {
            "is undecided: it would be rolled back, unless it is being decided".to_owned()
        }
        (Fate::Stays(why), _) => format!("stays: {why}"),
    };
    format!("shard {shard}, {} seconds old, {gid}: {what}", age.as_secs())
}
