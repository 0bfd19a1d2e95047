//! The rows of one piece of a table, on their way to their shards.
use super::source::SourceTable;
use super::{failed, journal, quoted};
use crate::backend::control::Client;
use crate::error::{Blame, Error, SqlState};
use crate::ids::ShardId;
use crate::rules::rows::Destination;
use bytes::{Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use std::pin::{Pin, pin};
use tokio_postgres::CopyInSink;

/// What a shard is sent at once.
const CHUNK: usize = 64 << 10;

/// Blocks `from` to before `to` of a table; the last piece has no end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Piece<'s> {
    pub table: &'s SourceTable,
    pub from: u64,
    pub to: Option<u64>,
}

/// Where the rows of a piece go.
pub struct Towards<'c> {
    pub destination: &'c Destination<'c>,
    /// The shards that do not have the piece yet, with their names. Others' rows are left out.
    pub shards: Vec<(ShardId, &'c str, &'c Client)>,
}

/// Whether rows meet triggers and foreign keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Constraints {
    /// They are made when the rows are there.
    Later,
    /// They are there already, and are not to see these rows: the source has looked at them.
    There,
}

/// A connection to a shard, before its first piece.
pub async fn prepare(client: &Client, constraints: Constraints) -> Result<(), Error> {
    super::assist(client).await?;
    // A crash loses a piece together with its step in the journal, or neither.
    let mut text = String::from("SET synchronous_commit = off");
    if constraints == Constraints::There {
        text += "; SET session_replication_role = replica";
    }
    client.batch_execute(&text).await.map_err(failed)
}

impl Piece<'_> {
    /// Its name in the journal.
    pub fn step(&self) -> String {
        format!("rows {} {}", self.table.full_name(), self.from)
    }

    /// The keys first, since they say where a row goes.
    fn columns(&self, destination: &Destination<'_>) -> String {
        let keys: Vec<&str> = match destination {
            Destination::Keyed(keys) => keys.columns().collect(),
            Destination::One(_) | Destination::Every => Vec::new(),
        };
        let others = self.table.columns.iter().map(String::as_str);
        let others = others.filter(|column| !keys.contains(column));
        keys.iter().copied().chain(others).map(quoted).collect::<Vec<_>>().join(", ")
    }

    fn out(&self, destination: &Destination<'_>) -> String {
        let range = match (self.from, self.to) {
            (0, None) => String::new(),
            (0, Some(to)) => format!(" WHERE ctid < '({to},0)'"),
            (from, None) => format!(" WHERE ctid >= '({from},0)'"),
            (from, Some(to)) => format!(" WHERE ctid >= '({from},0)' AND ctid < '({to},0)'"),
        };
        let (columns, table) = (self.columns(destination), self.table.quoted());
        format!("COPY (SELECT {columns} FROM ONLY {table}{range}) TO STDOUT")
    }

    fn into(&self, destination: &Destination<'_>) -> String {
        let list = match self.columns(destination) {
            none if none.is_empty() => none,
            columns => format!(" ({columns})"),
        };
        format!("COPY {}{list} FROM STDIN", self.table.quoted())
    }
}

/// A shard's part.
struct Part<'c> {
    shard: ShardId,
    name: &'c str,
    client: &'c Client,
    sink: Pin<Box<CopyInSink<Bytes>>>,
    waiting: BytesMut,
}

impl Part<'_> {
    async fn add(&mut self, row: &[u8]) -> Result<(), Error> {
        self.waiting.extend_from_slice(row);
        if self.waiting.len() >= CHUNK { self.send().await } else { Ok(()) }
    }

    async fn send(&mut self) -> Result<(), Error> {
        let chunk = self.waiting.split().freeze();
        self.sink.send(chunk).await.map_err(on(self.name))
    }
}

/// Reads a piece, and writes it with its step in the journal: on each shard both or neither. `moved` is told
/// of rows and bytes that have been read. A shard at a time commits; whoever comes again asks each journal.
pub async fn copy(
    source: &Client,
    piece: &Piece<'_>,
    towards: &Towards<'_>,
    mut moved: impl FnMut(u64, u64),
) -> Result<(), Error> {
    let destination = towards.destination;
    let into = piece.into(destination);
    let mut parts = Vec::with_capacity(towards.shards.len());
    for &(shard, name, client) in &towards.shards {
        client.batch_execute("BEGIN").await.map_err(on(name))?;
        let sink = Box::pin(client.copy_in(&into).await.map_err(on(name))?);
        let waiting = BytesMut::with_capacity(CHUNK);
        parts.push(Part { shard, name, client, sink, waiting });
    }
    let from = || on("the source");
    let rows = source.copy_out(&piece.out(destination)).await.map_err(from())?;
    let mut rows = pin!(rows);
    while let Some(row) = rows.next().await {
        let row = row.map_err(from())?;
        if row.last() != Some(&b'\n') {
            return Err(Error::internal("a server sent half a row"));
        }
        moved(1, row.len() as u64);
        let shard = match destination {
            Destination::Keyed(keys) => Some(keys.shard(&row).map_err(|why| homeless(piece, why))?),
            Destination::One(shard) => Some(*shard),
            Destination::Every => None,
        };
        for part in parts.iter_mut().filter(|part| shard.is_none_or(|shard| part.shard == shard)) {
            part.add(&row).await?;
        }
    }
    let step = piece.step();
    for mut part in parts {
        part.send().await?;
        let written = part.sink.as_mut().finish().await.map_err(on(part.name))?;
        let end = format!("{}; COMMIT", journal::done(&step, &written.to_string()));
        part.client.batch_execute(&end).await.map_err(on(part.name))?;
    }
    Ok(())
}

/// An error with the server that it is about.
fn on(name: &str) -> impl Fn(tokio_postgres::Error) -> Error + '_ {
    move |error| {
        let mut error = failed(error);
        error.message = format!("{name}: {}", error.message);
        error
    }
}

fn homeless(piece: &Piece<'_>, why: String) -> Error {
    let message = format!("a row of {} has no shard: {why}", piece.table.full_name());
    Error::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, Blame::Rules, message)
        .hint("change the row in the source, or the rules, and begin anew with --restart")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_read_every_block_once() {
        let table = SourceTable {
            schema: "Sales".to_owned(),
            name: "a\"b".to_owned(),
            columns: vec!["id".to_owned(), "x y".to_owned()],
            ..SourceTable::default()
        };
        let out = |from, to| Piece { table: &table, from, to }.out(&Destination::Every);
        let select = "COPY (SELECT \"id\", \"x y\" FROM ONLY \"Sales\".\"a\"\"b\"";
        for (from, to, range) in [
            (0, None, ""),
            (0, Some(8), " WHERE ctid < '(8,0)'"),
            (8, Some(16), " WHERE ctid >= '(8,0)' AND ctid < '(16,0)'"),
            (16, None, " WHERE ctid >= '(16,0)'"),
        ] {
            assert_eq!(out(from, to), format!("{select}{range}) TO STDOUT"));
        }
    }
}
