//! Writes to reference tables: what every shard has written is compared, and the client is given one
//! answer. plan/several/copies.rs says which shard works out what.
//!
//! Invariant: a statement that has not written the same rows on all shards fails, and with it its
//! transaction.
use super::merged::formats;
use super::several::{Answer, Asked, Kind};
use super::together::{Tells, Wording};
use super::{Session, Stop};
use crate::error::{Error, SqlState};
use crate::exec::fan_out::{Binding, FanOut, Heard, NO_PARAMETERS, Which};
use crate::exec::relay::Show;
use crate::ids::ShardId;
use crate::merge::{Merger, Printing};
use crate::plan::several::copies::{Copies, How, Lock, MARKER};
use crate::txn::copies;
use crate::txn::settings::quote_identifier;
use crate::wire::encode;
use crate::wire::frontend::Format;
use crate::wire::server::{DataRow, RowDescription};
use bytes::{Bytes, BytesMut};
use std::hash::{DefaultHasher, Hash, Hasher};

/// A row that a shard has written, in text.
type Written = Vec<Option<String>>;

/// Rows regardless of their order: how many, and the sum of their hashes.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct Digest {
    rows: u64,
    sum: u64,
}

impl Digest {
    fn add<'v>(&mut self, row: impl Iterator<Item = Option<&'v [u8]>>) {
        let mut hasher = DefaultHasher::new();
        row.for_each(|value| value.hash(&mut hasher));
        self.rows += 1;
        self.sum = self.sum.wrapping_add(hasher.finish());
    }
}

/// What the home shard has answered, or all shards.
struct Outcome {
    fan: FanOut,
    wording: Wording,
    /// RowDescription's body for the client; empty: it wants no rows.
    columns: Bytes,
    /// DataRow messages for the client.
    told: Vec<Bytes>,
    /// The columns of the table.
    names: Vec<String>,
    /// What the first shard has written, if the others are to be given it.
    rows: Vec<Written>,
    digests: Vec<Digest>,
}

impl Outcome {
    fn answer(self, kind: Kind) -> Answer {
        let Outcome { fan, wording, columns, told, .. } = self;
        let merger = Merger::giving(told);
        Answer { fan, merger, wording, columns, gathered: None, fresh: false, kind, copied: None }
    }
}

impl Session {
    pub(super) async fn write_copies(
        &mut self,
        asked: &Asked<'_>,
        copies: &Copies,
    ) -> Result<Answer, Stop> {
        let home = self.serving.rules.home;
        let others: Vec<ShardId> =
            self.serving.rules.shard_ids().filter(|&id| id != home).collect();
        let at = self.lock_copies(asked, &copies.locks).await?;
        let outcome = match &copies.how {
            How::Everywhere => {
                let all: Vec<ShardId> = [home].into_iter().chain(others).collect();
                self.run_on_copies(asked, copies, &all).await?
            }
            How::Whole => {
                let all: Vec<ShardId> = [home].into_iter().chain(others).collect();
                let outcome = self.run_on_copies(asked, copies, &all).await?;
                let fan = &outcome.fan;
                let sites: Vec<usize> = (0..fan.len()).filter_map(|one| fan.at(one)).collect();
                self.compare_whole(&sites, &copies.qualified, &copies.columns).await?;
                return Ok(outcome.answer(Kind::CopiesAlike));
            }
            How::Home { generated } => {
                self.learn_defaults(&[at]).await?;
                check_printing(self.printing(&[at]))?;
                let mut outcome = self.run_on_copies(asked, copies, &[home]).await?;
                self.hand_over(asked, &mut outcome, &others, &copies.qualified, generated).await?;
                outcome
            }
        };
        let digests = &outcome.digests;
        if digests.iter().any(|digest| Some(digest) != digests.first()) {
            return Err(differ(&copies.table).into());
        }
        let kind = Kind::Copies(digests.first().map_or(0, |digest| digest.rows));
        Ok(outcome.answer(kind))
    }

    /// Writers of a reference table wait for each other, on all shards, since these do not commit at the
    /// same time; the home shard decides who waits. The home shard's place.
    pub(super) async fn lock_copies(
        &mut self,
        asked: &Asked<'_>,
        locks: &[Lock],
    ) -> Result<usize, Stop> {
        let home = self.serving.rules.home;
        let at = self.site_on(home, self.need(asked.planned)).await?;
        let rules = self.serving.rules.clone();
        let others = rules.shard_ids().filter(|&shard| shard != home);
        for shard in [home].into_iter().chain(others) {
            let at = self.site_on(shard, self.need(asked.planned)).await?;
            for lock in locks {
                self.say(at, &copies::lock(&lock.table, lock.mode), Show::Swallow).await?;
            }
        }
        Ok(at)
    }

    /// Whether all copies of a reference table are alike now.
    pub(super) async fn compare_whole(
        &mut self,
        sites: &[usize],
        table: &str,
        columns: &[String],
    ) -> Result<(), Stop> {
        let columns: Vec<String> = columns.iter().map(|column| quote_identifier(column)).collect();
        let text = format!(
            "SELECT pg_catalog.count(*), pg_catalog.sum(pg_catalog.hashtextextended(\
             ROW({})::pg_catalog.text, 0)::pg_catalog.numeric) FROM {table}",
            columns.join(", ")
        );
        let wording = Wording::foreign(text, Tells::Shard);
        let mut fan = self.fan_out("weir_copy", sites, &wording, &[]);
        fan.open(&mut self.txn.participants, Binding { parameters: NO_PARAMETERS, results: &[] });
        self.go(&mut fan).await?;
        let mut digests = Vec::new();
        while let Some(heard) = self.next_row(&mut fan, Which::Any, &wording).await? {
            match heard {
                Heard::Row { row, .. } => digests.push(row.body().to_vec()),
                Heard::End { .. } => {}
            }
        }
        self.finish(&mut fan, &wording).await?;
        match digests.windows(2).all(|pair| matches!(pair, [one, other] if one == other)) {
            true => Ok(()),
            false => Err(differ(table).into()),
        }
    }

    /// Runs the client's statement on these shards to its end.
    async fn run_on_copies(
        &mut self,
        asked: &Asked<'_>,
        copies: &Copies,
        shards: &[ShardId],
    ) -> Result<Outcome, Stop> {
        let sites = self.site_all(shards, asked.planned).await?;
        let wording = Wording::new(&copies.text, asked);
        let mut fan = self.fan_out(asked.name, &sites, &wording, asked.types);
        self.go(&mut fan).await?;
        self.finish(&mut fan, &wording).await?;
        let described = fan.description(0).cloned().unwrap_or_default();
        let names: Vec<String> = match described.is_empty() {
            true => Vec::new(),
            false => RowDescription::read(&described)
                .map_err(Error::from)?
                .fields()
                .map(|field| String::from_utf8_lossy(field.name).into_owned())
                .collect(),
        };
        let visible = names.iter().rposition(|name| name == MARKER).unwrap_or_default();
        let hidden = names.len() - visible;
        let mut formats = formats(asked.results, &described, hidden)?;
        formats.iter_mut().skip(visible).for_each(|format| *format = Format::Text);
        self.check_embedded(&fan, formats.get(..visible).unwrap_or_default())?;
        let binding = Binding { parameters: asked.parameters, results: &formats };
        fan.open(&mut self.txn.participants, binding);
        self.go(&mut fan).await?;
        let columns = match visible {
            0 => Bytes::new(),
            _ => self.told_columns(&fan, &formats, hidden)?,
        };
        let mut outcome = Outcome {
            wording,
            columns,
            told: Vec::new(),
            names: names.into_iter().skip(visible + 1).collect(),
            rows: Vec::new(),
            digests: vec![Digest::default(); sites.len()],
            fan,
        };
        self.hear_copies(&mut outcome, visible, matches!(copies.how, How::Home { .. })).await?;
        Ok(outcome)
    }

    /// Every row that was written. `keeps`: for the other shards.
    async fn hear_copies(
        &mut self,
        outcome: &mut Outcome,
        visible: usize,
        keeps: bool,
    ) -> Result<(), Stop> {
        let mut left = self.database.limits.merge_bytes;
        loop {
            let Outcome { fan, wording, .. } = &mut *outcome;
            let Some(heard) = self.next_row(fan, Which::Any, wording).await? else { break };
            let Heard::Row { stream, row } = heard else { continue };
            let values: Vec<Option<&[u8]>> =
                DataRow::read(row.body()).map_err(Error::from)?.values().collect();
            let own = values.get(visible + 1..).unwrap_or_default();
            if let Some(digest) = outcome.digests.get_mut(stream) {
                digest.add(own.iter().copied());
            }
            if stream > 0 {
                continue;
            }
            let kept = if visible > 0 || keeps { row.body().len() } else { 0 };
            let Some(rest) = left.checked_sub(kept) else {
                let Outcome { fan, wording, .. } = &mut *outcome;
                self.stop(fan, wording).await?;
                return Err(too_much().into());
            };
            left = rest;
            if visible > 0 {
                let mut told = BytesMut::new();
                encode::data_row(values.get(..visible).unwrap_or_default(), &mut told);
                outcome.told.push(told.freeze());
            }
            if keeps {
                let text = |value: &[u8]| String::from_utf8(value.to_vec());
                let own = own.iter().map(|value| value.map(text).transpose());
                outcome.rows.push(own.collect::<Result<_, _>>().map_err(|_| not_text())?);
            }
        }
        let Outcome { fan, wording, .. } = outcome;
        self.finish(fan, wording).await
    }

    /// Gives the other shards the rows that the home shard has made.
    async fn hand_over(
        &mut self,
        asked: &Asked<'_>,
        outcome: &mut Outcome,
        others: &[ShardId],
        table: &str,
        generated: &[String],
    ) -> Result<(), Stop> {
        /// As many as a Bind has room for, and not too much text at a time.
        const PARAMETERS: usize = 20_000;
        if outcome.rows.is_empty() {
            return Ok(());
        }
        let sites = self.site_all(others, asked.planned).await?;
        // What one writes the others have to read alike.
        let all: Vec<usize> = outcome.fan.at(0).into_iter().chain(sites.iter().copied()).collect();
        self.check_alike(&all)?;
        let positions: Vec<usize> = (0..outcome.names.len())
            .filter(|&at| outcome.names.get(at).is_some_and(|name| !generated.contains(name)))
            .collect();
        let columns: Vec<String> = positions
            .iter()
            .filter_map(|&at| outcome.names.get(at))
            .map(|name| quote_identifier(name))
            .collect();
        let all: Vec<String> = outcome.names.iter().map(|name| quote_identifier(name)).collect();
        let mut digests = vec![Digest::default(); others.len()];
        for rows in outcome.rows.chunks((PARAMETERS / columns.len().max(1)).max(1)) {
            let text = format!(
                "/* {MARKER} */ INSERT INTO {table} ({}) OVERRIDING SYSTEM VALUE VALUES {} RETURNING {}",
                columns.join(", "),
                parameter_rows(rows.len(), columns.len()),
                all.join(", ")
            );
            let mut parameters = BytesMut::new();
            let values: Vec<Option<&[u8]>> = rows
                .iter()
                .flat_map(|row| positions.iter().map(|&at| row.get(at).and_then(Option::as_deref)))
                .map(|value| value.map(str::as_bytes))
                .collect();
            encode::parameters(values.into_iter(), &mut parameters);
            let wording = Wording::foreign(text, Tells::Shard);
            let mut fan = self.fan_out("weir_copy", &sites, &wording, &[]);
            fan.open(&mut self.txn.participants, Binding { parameters: &parameters, results: &[] });
            self.go(&mut fan).await?;
            loop {
                match self.next_row(&mut fan, Which::Any, &wording).await? {
                    None => break,
                    Some(Heard::End { .. }) => {}
                    Some(Heard::Row { stream, row }) => {
                        let row = DataRow::read(row.body()).map_err(Error::from)?;
                        if let Some(digest) = digests.get_mut(stream) {
                            digest.add(row.values());
                        }
                    }
                }
            }
            self.finish(&mut fan, &wording).await?;
        }
        outcome.digests.extend(digests);
        Ok(())
    }
}

/// `($1, $2), ($3, $4)`
pub(super) fn parameter_rows(rows: usize, columns: usize) -> String {
    let row = |row: usize| {
        let numbers = (1..=columns).map(|column| format!("${}", row * columns + column));
        format!("({})", numbers.collect::<Vec<_>>().join(", "))
    };
    (0..rows).map(row).collect::<Vec<_>>().join(", ")
}

/// What one shard writes as text must mean the same to the others.
fn check_printing(printing: Printing) -> Result<(), Error> {
    match printing.iso_dates && printing.floats_exact {
        true => Ok(()),
        false => Err(Error::refused(
            "an INSERT into a reference table under these settings",
            "SET DateStyle = ISO, and extra_float_digits to 1 or more",
        )),
    }
}

fn differ(table: &str) -> Error {
    Error::shard(
        SqlState(*b"XX001"),
        format!("the shards would not have the same rows of {table} afterwards"),
    )
    .detail("Each shard has a copy of it, and the statement has written other rows on one of them.")
    .hint(
        "give every column a value that is the same wherever it is worked out, also in triggers: \
         now() in a BEFORE trigger is another value on each shard; if the copies have been different \
         before, write them shard by shard: /* weir: shard=NAME */",
    )
}

fn too_much() -> Error {
    Error::client(
        SqlState::CONFIGURATION_LIMIT_EXCEEDED,
        "the rows that the statement writes to a reference table take more memory than is allowed",
    )
    .hint("write fewer at a time, or raise limits.merge_size in weir.toml")
}

fn not_text() -> Error {
    Error::refused(
        "a value of a reference table that is no text in UTF-8",
        "SET client_encoding = 'UTF8'",
    )
}
