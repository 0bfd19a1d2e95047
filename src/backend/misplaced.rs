//! Rows that are not where the rules look for them. Reads every key: for set-up and adoption only.
use super::control::{Client, failed};
use crate::error::{Blame, Error, SqlState};
use crate::ids::{DistributionId, ShardId};
use crate::rules::{Placement, Rules, Table};
use crate::sharding::Key;
use std::collections::BTreeMap;

/// Rows of one table on one shard that the rules look for elsewhere.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Misplaced {
    pub table: String,
    pub shard: String,
    pub rows: u64,
    /// About one of them.
    pub example: String,
}

/// Keys in flight from one server.
const BATCH: i32 = 10_000;

/// Looks at every table of the rules on every shard. Clients come in the order of the rules' shards,
/// each in a transaction.
pub async fn find(clients: &[&Client], rules: &Rules) -> Result<Vec<Misplaced>, Error> {
    let mut found = Vec::new();
    for table in &rules.tables {
        let mut contents: BTreeMap<String, (ShardId, String)> = BTreeMap::new();
        for (shard, client) in rules.shard_ids().zip(clients) {
            for name in relations(client, table).await? {
                let misplaced = match &table.placement {
                    Placement::Sharded { key, distribution, fallback } => {
                        let fallback = fallback.as_ref().map(|f| (f.key.as_str(), f.distribution));
                        let columns = Columns { key: (key, *distribution), fallback };
                        strays(client, rules, shard, &name, &columns).await?
                    }
                    Placement::Single(home) if *home == shard => None,
                    Placement::Single(home) => {
                        let rows = count(client, &name).await?;
                        let example = format!("the table lives on {}", rules.shard_name(*home));
                        (rows > 0).then_some((rows, example))
                    }
                    Placement::Reference => {
                        let now = checksum(client, &name).await?;
                        let (first, before) =
                            contents.entry(name.clone()).or_insert((shard, now.clone()));
                        if *before == now {
                            None
                        } else {
                            let example = format!(
                                "a reference table, but its rows are not those of {}",
                                rules.shard_name(*first)
                            );
                            Some((count(client, &name).await?, example))
                        }
                    }
                };
                if let Some((rows, example)) = misplaced {
                    let shard = rules.shard_name(shard).to_owned();
                    found.push(Misplaced { table: name, shard, rows, example });
                }
            }
        }
    }
    Ok(found)
}

/// An error that lists the misplaced rows, if there are any.
pub fn refuse(misplaced: &[Misplaced]) -> Result<(), Error> {
    if misplaced.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = misplaced
        .iter()
        .map(|Misplaced { table, shard, rows, example }| {
            let rows = if *rows == 1 { "1 row".to_owned() } else { format!("{rows} rows") };
            format!("{rows} of {table} on {shard}: {example}")
        })
        .collect();
    let code = SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE;
    Err(Error::new(code, Blame::Rules, "rows would be misplaced under these rules")
        .detail(lines.join("\n"))
        .hint("move those rows first, or keep the placement"))
}

/// Keeps writers away from the rules' tables until the transaction ends.
pub async fn lock_tables(client: &Client, rules: &Rules) -> Result<(), Error> {
    for table in &rules.tables {
        for name in relations(client, table).await? {
            let lock = format!("LOCK TABLE {name} IN SHARE ROW EXCLUSIVE MODE");
            client.batch_execute(&lock).await.map_err(failed)?;
        }
    }
    Ok(())
}

/// The quoted names of the tables that the rule may mean: without a schema, every table of the
/// name, since any of them may be on some client's search_path.
async fn relations(client: &Client, table: &Table) -> Result<Vec<String>, Error> {
    let query = "\
        SELECT format('%I.%I', n.nspname, c.relname) \
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
        WHERE c.relname = $1 AND n.nspname = coalesce($2, n.nspname) \
          AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't' \
          AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'weir') \
        ORDER BY 1";
    let rows = client.query(query, &[&table.name, &table.schema]).await.map_err(failed)?;
    rows.iter().map(|row| row.try_get(0).map_err(failed)).collect()
}

async fn count(client: &Client, name: &str) -> Result<u64, Error> {
    let row = client.query_one(&format!("SELECT count(*) FROM {name}"), &[]).await;
    let count: i64 = row.and_then(|row| row.try_get(0)).map_err(failed)?;
    Ok(count.unsigned_abs())
}

/// Equal for equal rows in any order.
async fn checksum(client: &Client, name: &str) -> Result<String, Error> {
    let query = format!(
        "SELECT count(*) || ' ' || coalesce(sum(hashtextextended(t::text, 0)::numeric), 0) \
         FROM {name} t"
    );
    client.query_one(&query, &[]).await.and_then(|row| row.try_get(0)).map_err(failed)
}

/// What says where a row lives: columns and how their values are placed.
struct Columns<'a> {
    key: (&'a str, DistributionId),
    fallback: Option<(&'a str, DistributionId)>,
}

/// How many rows are elsewhere than on this shard, and about one of them.
async fn strays(
    client: &Client,
    rules: &Rules,
    shard: ShardId,
    table: &str,
    columns: &Columns<'_>,
) -> Result<Option<(u64, String)>, Error> {
    let fallback = columns.fallback.map_or("NULL".to_owned(), |(name, _)| quoted(name));
    let query = format!(
        "DECLARE weir_keys NO SCROLL CURSOR FOR \
         SELECT {}::text, {fallback}::text FROM {table}",
        quoted(columns.key.0)
    );
    // Row security would hide rows; times are read as UTC and dates as ISO.
    let settings = "SET LOCAL row_security = off; SET LOCAL TimeZone = 'UTC'; \
                    SET LOCAL DateStyle = 'ISO, YMD'";
    client.batch_execute(settings).await.map_err(failed)?;
    client.batch_execute(&query).await.map_err(failed)?;
    let mut strays: Option<(u64, String)> = None;
    loop {
        let fetch = format!("FETCH {BATCH} FROM weir_keys");
        let rows = client.query(&fetch, &[]).await.map_err(failed)?;
        for row in &rows {
            let text = |index: usize| row.try_get::<_, Option<&str>>(index).map_err(failed);
            if let Err(reason) = belongs(rules, shard, columns, text(0)?, text(1)?) {
                strays.get_or_insert((0, reason)).0 += 1;
            }
        }
        if rows.len() < BATCH as usize {
            break;
        }
    }
    client.batch_execute("CLOSE weir_keys").await.map_err(failed)?;
    Ok(strays)
}

/// Whether a row with these values lives on the shard, else why not.
fn belongs(
    rules: &Rules,
    shard: ShardId,
    columns: &Columns<'_>,
    key: Option<&str>,
    fallback: Option<&str>,
) -> Result<(), String> {
    let (column, text, distribution) = match (key, columns.fallback, fallback) {
        (Some(text), _, _) => (columns.key.0, text, columns.key.1),
        (None, Some((column, distribution)), Some(text)) => (column, text, distribution),
        (None, Some((column, _)), None) => {
            return Err(format!("{} and {column} are NULL", columns.key.0));
        }
        (None, None, _) => return Err(format!("{} is NULL and has no fallback", columns.key.0)),
    };
    let distribution = rules.distribution(distribution).ok_or("no such distribution")?;
    let place = Key::from_text(distribution.key_type, text)
        .map_err(|_| "not of the key_type".to_owned())
        .and_then(|key| distribution.locate(&key).map_err(|error| error.to_string()));
    match place {
        Ok((_, found)) if found == shard => Ok(()),
        Ok((bucket, found)) => Err(format!(
            "{column} {text} is in bucket {bucket}, which lives on {}",
            rules.shard_name(found)
        )),
        Err(reason) => Err(format!("{column} {text}: {reason}")),
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
