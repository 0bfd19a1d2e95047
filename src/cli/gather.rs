//! `weir setup --gather`: the gather database gets the shards' schema, and nobody reads its tables.
use super::Failure;
use super::servers::Servers;
use super::throwaway::client_program;
use crate::backend::control::Client;
use crate::backend::{guard, next_id, outline};
use crate::error::Error;
use crate::ids::ShardId;
use crate::rules::{Gather, Rules};
use crate::server::gather::{Judge, Witnesses, counts, needed_shards};
use crate::session::GatherState;
use std::io::{self, Write};
use std::process::{Command, Output, Stdio};

/// What has been done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filled {
    Already,
    Done,
}

/// Gives an empty gather database the shards' schema, by pg_dump and psql.
pub async fn fill(rules: &Rules, servers: &Servers) -> Result<Filled, Failure> {
    let Some(gather) = &rules.gather else {
        return Err(Failure::new("the rules file names no gather database")
            .hint("add [gather] with its dsn: docs/gather.md"));
    };
    let shards = servers.connect(rules).await?;
    let client = servers.connect_to(&gather.dsn, "the gather database").await?;
    match state(rules, &shards, &client).await {
        GatherState::Ready => return Ok(Filled::Already),
        GatherState::Differs(how) => {
            if !is_empty(&client).await? {
                return Err(Failure::new(format!("the gather database cannot be used: {how}"))
                    .hint("drop it, create it again, and run this command again"));
            }
        }
        GatherState::Unreachable(why) => return Err(Failure::new(why)),
        GatherState::None => {}
    }
    for id in needed_shards(rules) {
        let (Some(shard), Some(client)) = (rules.shard(id), shards.get(usize::from(id.0))) else {
            continue;
        };
        if let Some(selection) = selection(rules, id, client).await? {
            copy_schema(&shard.primary, &selection, gather, servers)?;
        }
    }
    match state(rules, &shards, &client).await {
        GatherState::Ready => Ok(Filled::Done),
        GatherState::Differs(why) | GatherState::Unreachable(why) => {
            Err(Failure::new(format!("the gather database still cannot be used: {why}")))
        }
        GatherState::None => Ok(Filled::Already),
    }
}

async fn state(rules: &Rules, shards: &[Client], gather: &Client) -> GatherState {
    let shards = rules.shard_ids().zip(shards).collect();
    Judge::default().look(rules, &Witnesses { shards, gather: Ok(gather) }).await
}

/// Nothing is there but what each new database has.
async fn is_empty(client: &Client) -> Result<bool, Error> {
    let made = |kind: &str| !matches!(kind, "database" | "extension");
    Ok(!outline::read(client).await?.iter().any(|fact| made(&fact.kind)))
}

/// What pg_dump is to leave out at home, or to take of another shard; `None`: nothing.
async fn selection(
    rules: &Rules,
    id: ShardId,
    client: &Client,
) -> Result<Option<Vec<String>>, Error> {
    let facts = outline::read(client).await?;
    let relations = facts
        .iter()
        .filter(|fact| matches!(fact.kind.as_str(), "table" | "view" | "materialized view"));
    let home = id == rules.home;
    // A name as pg_dump's patterns have it: quoted, nothing in it has a meaning.
    let named = relations.filter(|fact| counts(fact, id, rules) != home);
    let names: Vec<_> = named
        .map(|fact| {
            let quoted = [&fact.schema, &fact.table].map(|part| part.replace('"', "\"\""));
            format!(
                "--{}table=\"{}\".\"{}\"",
                if home { "exclude-" } else { "" },
                quoted[0],
                quoted[1]
            )
        })
        .collect();
    Ok((home || !names.is_empty()).then_some(names))
}

fn copy_schema(
    from: &str,
    selection: &[String],
    to: &Gather,
    servers: &Servers,
) -> Result<(), Failure> {
    let mut dump = servers.command(client_program("pg_dump"));
    dump.args(["--schema-only", "--no-comments", "--no-publications", "--no-subscriptions"]);
    dump.args(["--exclude-schema=weir", "--dbname", from]).args(selection);
    let by_hand = || {
        format!(
            "run: pg_dump --schema-only --exclude-schema=weir '{from}' | grep -v 'TRIGGER {} ' | \
             psql -1 '{}'",
            guard::NAME,
            to.dsn
        )
    };
    let dumped = output(dump, &[]).map_err(|failure| failure.hint(by_hand()))?;
    let mut psql = servers.command(client_program("psql"));
    psql.args(["-X", "-q", "-1", "-v", "ON_ERROR_STOP=1", "-f", "-", "--dbname", &to.dsn]);
    let mut text = fitting(&dumped.stdout);
    if String::from_utf8_lossy(&text).contains(next_id::CALL) {
        text = [next_id::definition(next_id::GATHER).into_bytes(), text].concat();
    }
    output(psql, &text).map_err(|failure| {
        failure.hint(
            "roles and extensions of the shards have to be on the gather database's server, too",
        )
    })?;
    Ok(())
}

/// A new database has the schema `public`; pg_dump makes it where its rights or owner are others. Guards are
/// of the schema `weir`, which is left out.
fn fitting(dump: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(dump);
    let text = text.replace("\nCREATE SCHEMA public;\n", "\nCREATE SCHEMA IF NOT EXISTS public;\n");
    let guard = format!("CREATE TRIGGER {} ", guard::NAME);
    let lines = text.split_inclusive('\n').filter(|line| !line.starts_with(&guard));
    lines.collect::<String>().into_bytes()
}

/// Runs a command to its end with that input.
fn output(mut command: Command, input: &[u8]) -> Result<Output, Failure> {
    let name = command.get_program().to_string_lossy().into_owned();
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child =
        piped.spawn().map_err(|error| Failure::new(format!("{name} cannot be run: {error}")))?;
    let written = child.stdin.take().map_or(Ok(()), |mut pipe| pipe.write_all(input));
    match written {
        // It ended early: what it says about that is more use than the pipe's error.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        written => written?,
    }
    let output = child.wait_with_output()?;
    match output.status.success() {
        true => Ok(output),
        false => Err(Failure::new(String::from_utf8_lossy(&output.stderr).trim_end())),
    }
}
