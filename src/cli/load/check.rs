//! What stands in the way of a load, and what will be otherwise than it was: all of it at once.
use super::outset::Outset;
use super::rows::pieces;
use super::{Load, What, at, dump};
use crate::backend::control::Client;
use crate::backend::load::source::{self, Source, SourceTable, Stays};
use crate::backend::load::target::{self, Target};
use crate::backend::placement;
use crate::backend::survey::survey;
use crate::cli::Failure;
use crate::ids::ShardId;
use crate::rules::rows::Destination;
use crate::rules::survey::{Difference, Weight, suits};

/// A connection to each shard; a problem for each that cannot be reached.
pub(super) async fn connect(load: &Load) -> (Vec<Option<Client>>, Vec<Difference>) {
    let (mut shards, mut found) = (Vec::new(), Vec::new());
    for shard in &load.rules.shards {
        let client =
            load.servers.connect_to(&shard.primary, &format!("shard {}", shard.name)).await;
        found.extend(client.as_ref().err().map(|failure| problem("", failure.to_string())));
        shards.push(client.ok());
    }
    (shards, found)
}

/// Keeps other loads away from the shards; a problem for each that somebody loads into already.
pub(super) async fn claim(load: &Load, shards: &[Option<Client>]) -> Vec<Difference> {
    let mut found = Vec::new();
    for (shard, client) in load.rules.shards.iter().zip(shards) {
        let Some(client) = client else { continue };
        let name = format!("shard {}", shard.name);
        let waits =
            || println!("{name} is still at work for a load that was ended: waiting for it");
        let claimed = crate::backend::load::claim(client, waits).await;
        found.extend(claimed.err().map(|error| problem("", format!("{name}: {}", error.message))));
    }
    found
}

/// What the source, the rules, the shards and the programs at hand are not fit for.
pub(super) async fn all(
    load: &Load,
    reader: &Client,
    source: &Source,
    shards: &[Option<Client>],
) -> Result<Vec<Difference>, Failure> {
    let mut found = fit(load, reader).await?;
    found.extend(left_behind(load, source));
    if load.what.has_schema() {
        found.extend(dump::missing(source).map(|text| problem("", text)));
    }
    if load.what.has_rows() {
        found.extend(nulls(load, reader, source).await?);
    }
    for (id, client) in load.rules.shard_ids().zip(shards) {
        let Some(client) = client else { continue };
        let name = format!("shard {}", load.rules.shard_name(id));
        let target = target::look(client).await.map_err(|error| at(&name, error))?;
        found.extend(compare(load, source, &name, &target));
        match placement::load(client).await {
            Ok(None) => {}
            Ok(Some(_)) => {
                let verified = placement::verify(client, &load.rules, id).await;
                found.extend(verified.err().map(|error| problem("", error.to_string())));
            }
            Err(error) => found.push(problem("", format!("{name}: {error}"))),
        }
    }
    Ok(found)
}

/// The source's tables beside the rules.
async fn fit(load: &Load, reader: &Client) -> Result<Vec<Difference>, Failure> {
    let mut facts = survey(reader).await.map_err(|error| at("the source", error))?;
    let mut found = Vec::new();
    let all = |facts: &crate::rules::survey::ShardSurvey| {
        let keys = facts.tables.iter().flat_map(|table| &table.foreign_keys);
        keys.map(|key| key.name.clone()).collect::<Vec<_>>()
    };
    let known = all(&facts);
    for name in load.leave_out.iter().filter(|name| !known.contains(name)) {
        found.push(problem("", format!("--leave-out {name}: the source has no such foreign key")));
    }
    for table in &mut facts.tables {
        table.foreign_keys.retain(|key| !load.leave_out.contains(&key.name));
    }
    let with_keys = suits(&load.rules, &facts);
    facts.tables.iter_mut().for_each(|table| table.foreign_keys.clear());
    let without = suits(&load.rules, &facts);
    found.extend(with_keys.into_iter().map(|mut difference| {
        if difference.weight == Weight::Problem && !without.contains(&difference) {
            difference.text += ": drop it, give the tables other rules, or --leave-out it";
        }
        difference
    }));
    Ok(found)
}

/// Keys that are NULL in the source where no rule says where such rows live.
async fn nulls(load: &Load, reader: &Client, source: &Source) -> Result<Vec<Difference>, Failure> {
    let mut found = Vec::new();
    for table in load.tables(source) {
        let Some(Destination::Keyed(keys)) =
            load.rules.destination(&table.root_schema, &table.root)
        else {
            continue;
        };
        let columns: Vec<&str> = keys.columns().collect();
        let all = |of: &[String]| columns.iter().all(|column| of.iter().any(|it| it == column));
        if !all(&table.nullable) {
            continue;
        }
        let nulls = source::has_nulls(reader, table, &columns).await;
        if nulls.map_err(|error| at("the source", error))? {
            let text =
                format!("has rows in which {} is NULL: they have no shard", columns.join(" and "));
            found.push(problem(&table.full_name(), text));
        }
    }
    Ok(found)
}

fn left_behind(load: &Load, source: &Source) -> Vec<Difference> {
    source
        .stays
        .iter()
        .map(|(stays, name)| match stays {
            Stays::LargeObjects if !load.without_large_objects => problem(
                "",
                format!("the source has {name} large objects, which cannot be split: turn them into bytea, or leave them behind with --without-large-objects"),
            ),
            Stays::LargeObjects => note("", format!("{name} large objects stay behind")),
            Stays::ForeignTable => note(name, "is a foreign table: each shard gets its definition"),
            Stays::MaterializedView => {
                note(name, "is a materialized view: it has no rows until it is refreshed")
            }
            Stays::ExtensionRows => {
                note(name, "belongs to an extension: its rows are not loaded")
            }
            Stays::DatabaseSettings => {
                note("", format!("settings of the database are not loaded: {name}"))
            }
            Stays::Tablespace => note("", format!("tablespace {name} is not used on the shards")),
            Stays::Publication => note("", format!("publication {name} stays behind")),
            Stays::Subscription => note("", format!("subscription {name} stays behind")),
        })
        .collect()
}

/// One shard beside the source.
fn compare(load: &Load, source: &Source, name: &str, target: &Target) -> Vec<Difference> {
    let mut found = Vec::new();
    let mut problems = |text: String| found.push(problem("", format!("{name}: {text}")));
    if target.encoding != source.encoding {
        problems(format!("its encoding is {}, the source's {}", target.encoding, source.encoding));
    }
    if load.what.has_schema() {
        let has = |option: &str| load.dump_options.contains(&option);
        if !(has("--no-owner") && has("--no-privileges")) {
            for role in source.roles.iter().filter(|role| !target.roles.contains(*role)) {
                let ways = "make it there, or load with --no-owner and --no-privileges";
                problems(format!(
                    "role {role}, which owns or may do something in the source, is missing: {ways}"
                ));
            }
        }
        for (extension, _) in &source.extensions {
            if !target.extensions.iter().any(|(name, _)| name == extension) {
                problems(format!("extension {extension} is not available there: install it"));
            }
        }
    }
    if load.what == What::Rows && !target.superuser {
        problems(String::from(
            "to load rows past triggers and foreign keys needs a superuser: name one with --user",
        ));
    }
    let mut notes = |text: String| found.push(note("", format!("{name}: {text}")));
    if target.major < source.major {
        notes(format!("PostgreSQL {}, older than the source's {}", target.major, source.major));
    }
    if target.collation != source.collation {
        let (ours, theirs) = (&target.collation, &source.collation);
        notes(format!("its collation is {ours}, the source's {theirs}: text is sorted otherwise"));
    }
    for (extension, version) in &source.extensions {
        let there = target.extensions.iter().find(|(name, _)| name == extension);
        if let Some((_, other)) = there.filter(|(_, other)| other != version) {
            notes(format!("extension {extension} will be {other}, in the source it is {version}"));
        }
    }
    found
}

/// What a load would do.
pub(super) fn describe(load: &Load, source: &Source, outset: Outset) {
    let tables = load.tables(source);
    for table in &tables {
        println!("{}", line(load, table));
    }
    let verb = match outset {
        Outset::Begin | Outset::Anew => "would be loaded",
        Outset::GoOn => "are being loaded: the same command goes on",
        Outset::Done => "have been loaded",
    };
    let bytes: u64 = tables.iter().map(|table| table.bytes).sum();
    println!(
        "{} tables, {}, {} sequences {verb} into {} shards",
        tables.len(),
        super::progress::size(bytes),
        source.sequences.len(),
        load.rules.shards.len()
    );
}

fn line(load: &Load, table: &SourceTable) -> String {
    let shard = |id: ShardId| load.rules.shard_name(id).to_owned();
    let place = match load.rules.destination(&table.root_schema, &table.root) {
        Some(Destination::Keyed(keys)) => {
            format!("by {}", keys.columns().collect::<Vec<_>>().join(", else by "))
        }
        Some(Destination::Every) => String::from("whole on every shard"),
        Some(Destination::One(id)) => format!("whole on {}", shard(id)),
        None => String::from("nowhere"),
    };
    let count = pieces(table, load.piece_bytes).count();
    let pieces = if count == 1 { String::new() } else { format!(" in {count} pieces") };
    format!("{}: {}{pieces}, {place}", table.full_name(), super::progress::size(table.bytes))
}

pub(super) fn problem(table: &str, text: impl Into<String>) -> Difference {
    Difference { weight: Weight::Problem, table: table.to_owned(), text: text.into() }
}

pub(super) fn note(table: &str, text: impl Into<String>) -> Difference {
    Difference { weight: Weight::Note, table: table.to_owned(), text: text.into() }
}
