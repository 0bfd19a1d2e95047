//! Where a load stands: to be begun, to be gone on with, or done.
use super::check::{note, problem};
use super::{Load, What, at};
use crate::backend::control::Client;
use crate::backend::load::journal::{self, BEGUN, DONE, Journal, SOURCE};
use crate::backend::load::source::{Source, SourceTable};
use crate::backend::load::target;
use crate::cli::Failure;
use crate::ids::ShardId;
use crate::rules::placement;
use crate::rules::rows::Destination;
use crate::rules::survey::Difference;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Outset {
    /// The shards are empty.
    Begin,
    /// They have something of this load, or of another that was not finished, which goes.
    Anew,
    /// They have a part of this very load.
    GoOn,
    Done,
}

/// What is loaded, and how: a load goes on only where all of this is the same.
fn says(load: &Load, source: &Source) -> String {
    let mut leave_out = load.leave_out.clone();
    leave_out.sort();
    format!(
        "source: {}\nrules: {}\nwhat: {}\npiece: {}\nleft out: {}\noptions: {}",
        source.identity,
        placement::hash(&load.rules),
        load.what.name(),
        load.piece_bytes,
        leave_out.join(" "),
        load.dump_options.join(" ")
    )
}

/// The source's state: the snapshot, then a line for each table.
fn state(load: &Load, source: &Source) -> String {
    let tables = load.tables(source);
    let lines = tables.iter().map(|table| format!("\n{}\t{}", table.full_name(), table.written));
    format!("{}{}", source.snapshot, lines.collect::<String>())
}

pub(super) async fn find(
    load: &Load,
    source: &Source,
    shards: &[Option<Client>],
    restart: bool,
    found: &mut Vec<Difference>,
) -> Result<Outset, Failure> {
    let mut journals: Vec<(ShardId, &Client, Journal)> = Vec::new();
    for (id, client) in load.rules.shard_ids().zip(shards) {
        let Some(client) = client else { continue };
        let journal = journal::read(client).await;
        let name = || format!("shard {}", load.rules.shard_name(id));
        let journal = journal.map_err(|error| at(&name(), error))?;
        journals.push((id, client, current(load, journal)));
    }
    let done = |journal: &Journal| journal.contains_key(DONE);
    let begun = journals.iter().any(|(.., journal)| journal.contains_key(BEGUN));
    if restart && begun {
        if journals.iter().any(|(.., journal)| done(journal)) {
            let hint = "make the shards' databases anew to load again";
            found.push(problem("", format!("the load is done, so its rows may be in use: {hint}")));
        }
        for (id, client, _) in journals.iter().filter(|(.., journal)| !journal.contains_key(BEGUN))
        {
            let name = format!("shard {}", load.rules.shard_name(*id));
            found.extend(not_empty(load, source, *id, client, &name).await?);
        }
        return Ok(Outset::Anew);
    }
    let says = says(load, source);
    for (id, client, journal) in &journals {
        let name = format!("shard {}", load.rules.shard_name(*id));
        match journal.get(BEGUN) {
            Some(other) if *other != says => {
                found.push(problem("", format!("{name}: {}", differences(other, &says))));
            }
            Some(_) => {}
            None => found.extend(not_empty(load, source, *id, client, &name).await?),
        }
    }
    let complete = journals.len() == load.rules.shards.len();
    if complete && journals.iter().all(|(.., journal)| done(journal)) {
        return Ok(Outset::Done);
    }
    if !begun {
        return Ok(Outset::Begin);
    }
    if load.what.has_rows() {
        let home = journals.iter().find(|(id, ..)| *id == load.rules.home);
        if let Some(before) = home.and_then(|(.., journal)| journal.get(SOURCE)) {
            found.extend(changes(before, &state(load, source)));
        }
    }
    Ok(Outset::GoOn)
}

/// A schema that was loaded alone is behind us when the rows are loaded.
fn current(load: &Load, journal: Journal) -> Journal {
    let schema = |begun: &String| begun.contains("\nwhat: schema\n");
    let over = journal.contains_key(DONE) && journal.get(BEGUN).is_some_and(schema);
    if load.what == What::Rows && over { Journal::new() } else { journal }
}

/// What an unfinished load was told otherwise.
fn differences(before: &str, now: &str) -> String {
    let pairs = before.lines().zip(now.lines()).filter(|(before, now)| before != now);
    let text: Vec<_> = pairs.map(|(before, now)| format!("{before}, now {now}")).collect();
    format!(
        "an unfinished load was told otherwise ({}): repeat that command, or begin anew with --restart",
        text.join("; ")
    )
}

/// Whether the source has been written since the load began.
fn changes(before: &str, now: &str) -> Vec<Difference> {
    if before == now {
        return Vec::new();
    }
    let (snapshot, was) = before.split_once('\n').unwrap_or((before, ""));
    let (current, is) = now.split_once('\n').unwrap_or((now, ""));
    let same = |line: &&str| was.lines().any(|other| other == *line);
    let was_there = |name: &str| was.lines().any(|other| other.split('\t').next() == Some(name));
    let others = is.lines().filter(|line| !same(line));
    let names: Vec<&str> = others.filter_map(|line| line.split('\t').next()).collect();
    let counted_otherwise = |name: &&str| {
        // Statistics come late: when no transaction has ended since, nothing was written.
        snapshot != current || !was_there(name)
    };
    let mut found: Vec<_> = names
        .into_iter()
        .filter(counted_otherwise)
        .map(|name| problem(name, "was written since the load began, so rows read then and now do not belong together: begin anew with --restart"))
        .collect();
    if found.is_empty() && snapshot != current {
        found.push(note("", "transactions have ended in the source since the load began; none has written these tables, as far as its statistics tell"));
    }
    found
}

/// What is in the way on a shard that has nothing of this load.
async fn not_empty(
    load: &Load,
    source: &Source,
    id: ShardId,
    client: &Client,
    name: &str,
) -> Result<Vec<Difference>, Failure> {
    let failed = |error| at(name, error);
    if load.what == What::Rows {
        let mut found = Vec::new();
        for table in own(load, source, id) {
            let unfit = target::unfit(client, table).await.map_err(failed)?;
            found.extend(unfit.map(|why| problem(&table.full_name(), format!("{why} on {name}"))));
        }
        return Ok(found);
    }
    let objects = target::look(client).await.map_err(failed)?.objects;
    if objects.is_empty() {
        return Ok(Vec::new());
    }
    let text = format!("{name} is not empty: it has {}", objects.join(", "));
    Ok(vec![problem("", format!("{text}; load rows only with --data-only"))])
}

/// The tables that live on a shard, or are there in part.
fn own<'s>(load: &Load, source: &'s Source, id: ShardId) -> Vec<&'s SourceTable> {
    let lives = |table: &&SourceTable| match load.rules.destination(&table.root_schema, &table.root)
    {
        Some(Destination::One(shard)) => shard == id,
        Some(Destination::Every | Destination::Keyed(_)) => true,
        None => false,
    };
    source.tables.iter().filter(lives).collect()
}

/// The home shard first, since it keeps what the source was like.
pub(super) async fn begin(load: &Load, source: &Source, shards: &[Client]) -> Result<(), Failure> {
    let says = says(load, source);
    let home = usize::from(load.rules.home.0);
    let others = (0..shards.len()).filter(|index| *index != home);
    for index in std::iter::once(home).chain(others) {
        let Some(client) = shards.get(index) else { continue };
        let before = journal::read(client).await?;
        if current(load, before.clone()).contains_key(BEGUN) {
            continue;
        }
        if !before.is_empty() {
            journal::forget(client).await?;
        }
        let (begun, state) = ((BEGUN, says.as_str()), state(load, source));
        let steps = [begun, (SOURCE, state.as_str())];
        let count = if index == home { 2 } else { 1 };
        journal::begin(client, steps.get(..count).unwrap_or(&steps)).await?;
    }
    Ok(())
}

/// Removes what an unfinished load has brought.
pub(super) async fn wipe(load: &Load, source: &Source, shards: &[Client]) -> Result<(), Failure> {
    for (id, client) in load.rules.shard_ids().zip(shards) {
        let name = format!("shard {}", load.rules.shard_name(id));
        let failed = |error| at(&name, error);
        let journal = journal::read(client).await.map_err(failed)?;
        let Some(begun) = journal.get(BEGUN) else { continue };
        match begun.contains("\nwhat: rows\n") {
            true => {
                let tables = own(load, source, id);
                target::truncate(client, &tables).await.map_err(failed)?;
            }
            false => target::wipe(client).await.map_err(failed)?,
        }
        journal::forget(client).await.map_err(failed)?;
        println!("{name} is emptied");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(before: &str, now: &str) -> Vec<String> {
        changes(before, now).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_source_that_was_written_since_is_no_source_to_go_on_with() {
        let before = "5:5:\npublic.a\t1 10\npublic.b\t2 20";
        assert!(told(before, before).is_empty());
        // Statistics that come late, of a transaction from before.
        assert!(told(before, "5:5:\npublic.a\t1 10\npublic.b\t2 21").is_empty());
        let found = told(before, "9:9:\npublic.a\t1 10\npublic.b\t2 21");
        assert!(found[0].starts_with("problem: public.b: was written since"), "{found:?}");
        let found = told(before, "5:5:\npublic.a\t1 10\npublic.b\t2 20\npublic.c\t3 0");
        assert!(found[0].starts_with("problem: public.c"), "{found:?}");
        let found = told(before, "9:9:\npublic.a\t1 10\npublic.b\t2 20");
        assert!(found[0].starts_with("note: transactions have ended"), "{found:?}");
    }
}
