//! The sequences that fill sharded tables' columns on the servers: read, and brought into line by
//! set-up. What is in line is `rules::sequences`'s matter.
use super::control::{Client, failed};
use crate::error::Error;
use crate::ids::ShardId;
use crate::rules::Rules;
use crate::rules::sequences::{self, Fills, Sequence};
use std::collections::BTreeMap;
use tokio_postgres::Row;

/// Columns' own sequences, and those of their defaults. `last_value` of a sequence that has given
/// nothing is asked for apart.
const SEQUENCES: &str = "\
    WITH links AS ( \
        SELECT refobjid AS rel, refobjsubid AS att, objid AS seq FROM pg_catalog.pg_depend \
        WHERE classid = 'pg_catalog.pg_class'::regclass \
          AND refclassid = 'pg_catalog.pg_class'::regclass \
          AND refobjsubid > 0 AND deptype IN ('a', 'i') \
        UNION \
        SELECT f.adrelid, f.adnum, d.refobjid FROM pg_catalog.pg_attrdef f \
        JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_attrdef'::regclass \
         AND d.objid = f.oid AND d.refclassid = 'pg_catalog.pg_class'::regclass) \
    SELECT sn.nspname::text, s.relname::text, tn.nspname::text, t.relname::text, \
           a.attname::text, q.seqincrement, q.seqstart, q.seqmin, q.seqmax, q.seqcycle \
    FROM links \
    JOIN pg_catalog.pg_class s ON s.oid = links.seq AND s.relkind = 'S' \
    JOIN pg_catalog.pg_namespace sn ON sn.oid = s.relnamespace \
    JOIN pg_catalog.pg_sequence q ON q.seqrelid = s.oid \
    JOIN pg_catalog.pg_class t ON t.oid = links.rel AND t.relkind IN ('r', 'p') \
    JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace \
    JOIN pg_catalog.pg_attribute a ON a.attrelid = t.oid AND a.attnum = links.att \
    WHERE t.relpersistence <> 't' AND tn.nspname NOT IN ('pg_catalog', 'information_schema', 'weir') \
    ORDER BY 1, 2, 3, 4, 5";

/// All of them, sharded or not.
pub async fn read(client: &Client) -> Result<Vec<Sequence>, Error> {
    let mut found = Vec::new();
    for row in client.query(SEQUENCES, &[]).await.map_err(failed)? {
        let mut sequence = definition(&row).map_err(failed)?;
        let text = format!(
            "SELECT last_value, is_called FROM {}",
            relation(&sequence.schema, &sequence.name)
        );
        let state = client.query_one(&text, &[]).await.map_err(failed)?;
        sequence.last = state.try_get(0).map_err(failed)?;
        sequence.called = state.try_get(1).map_err(failed)?;
        found.push(sequence);
    }
    Ok(found)
}

fn definition(row: &Row) -> Result<Sequence, tokio_postgres::Error> {
    Ok(Sequence {
        schema: row.try_get(0)?,
        name: row.try_get(1)?,
        table_schema: row.try_get(2)?,
        table: row.try_get(3)?,
        column: row.try_get(4)?,
        increment: row.try_get(5)?,
        start: row.try_get(6)?,
        min: row.try_get(7)?,
        max: row.try_get(8)?,
        cycles: row.try_get(9)?,
        last: 0,
        called: false,
    })
}

/// A sequence as one shard has it.
type Place<'c> = (ShardId, &'c Client, Sequence);

/// Gives the sequences of sharded tables values of their own on each shard, past all that are in use
/// on any; the names of those that were changed. Idempotent. Clients come in the order of the rules'
/// shards.
pub async fn set_up(clients: &[Client], rules: &Rules) -> Result<Vec<String>, Error> {
    let mut by_name: BTreeMap<(String, String), Vec<Place>> = BTreeMap::new();
    for (shard, client) in rules.shard_ids().zip(clients) {
        for sequence in read(client).await? {
            if sequences::fills(&sequence, rules) != Fills::Elsewhere {
                let name = (sequence.schema.clone(), sequence.name.clone());
                by_name.entry(name).or_default().push((shard, client, sequence));
            }
        }
    }
    let mut changed = Vec::new();
    for ((schema, name), places) in by_name {
        let in_line =
            |(shard, _, sequence): &Place| sequences::in_line(sequence, *shard, rules.stride);
        let fills_column =
            |(.., sequence): &Place| sequences::fills(sequence, rules) == Fills::Column;
        if !places.iter().any(fills_column) {
            changed.extend(key_past_rows(&places, rules).await?);
            continue;
        }
        if places.iter().all(in_line) {
            continue;
        }
        let mut rows = Vec::new();
        for (_, client, sequence) in &places {
            rows.extend(value_in_rows(client, sequence).await?);
        }
        let all: Vec<&Sequence> = places.iter().map(|(.., sequence)| sequence).collect();
        let beyond = sequences::in_use(&all, &rows);
        // Also those in line: the others' rows may hold values of theirs. A sequence that fills
        // two columns stands here twice; the second time nothing is left to do.
        for (shard, client, sequence) in &places {
            let text = sequences::bring_into_line(sequence, *shard, rules.stride, beyond);
            client.batch_execute(&text).await.map_err(failed)?;
        }
        changed.push(format!("{schema}.{name}"));
    }
    Ok(changed)
}

/// Keys are drawn on the home shard only: past all that are in use on any.
async fn key_past_rows(places: &[Place<'_>], rules: &Rules) -> Result<Option<String>, Error> {
    let Some((_, client, home)) = places.iter().find(|(shard, ..)| *shard == rules.home) else {
        return Ok(None);
    };
    let mut rows = Vec::new();
    for (_, client, sequence) in places {
        rows.extend(value_in_rows(client, sequence).await?);
    }
    let all: Vec<&Sequence> = places.iter().map(|(.., sequence)| sequence).collect();
    let (past, own) = (sequences::in_use(&all, &rows), sequences::in_use(&[home], &[]));
    let behind = if home.increment < 0 { past < own } else { past > own };
    if !behind {
        return Ok(None);
    }
    let name = format!("{}.{}", home.schema, home.name);
    let set = "SELECT setval($1::text::regclass, $2)";
    let relation = relation(&home.schema, &home.name);
    client.query(set, &[&relation, &past]).await.map_err(failed)?;
    Ok(Some(name))
}

/// The outermost value of the column that the sequence fills.
async fn value_in_rows(client: &Client, sequence: &Sequence) -> Result<Option<i64>, Error> {
    let outermost = if sequence.increment < 0 { "min" } else { "max" };
    let column = identifier(&sequence.column);
    // A default may make anything of a sequence's value; only numbers can collide with it.
    let text = format!(
        "SELECT {outermost}({column})::text FROM {}",
        relation(&sequence.table_schema, &sequence.table)
    );
    let row = client.query_one(&text, &[]).await.map_err(failed)?;
    let value: Option<String> = row.try_get(0).map_err(failed)?;
    Ok(value.and_then(|value| value.parse().ok()))
}

fn relation(schema: &str, name: &str) -> String {
    format!("{}.{}", identifier(schema), identifier(name))
}

fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
