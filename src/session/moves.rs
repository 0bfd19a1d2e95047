//! UPDATE of what decides where rows live: the rows' shards give them away, and their new shards are given
//! them. INSERT … SELECT through weir: the rows are selected first, then their shards are given them.
//! plan/several/moves.rs and selected.rs say when that is what PostgreSQL would have done.
//!
//! Memory: all these rows are held at a time, up to `limits.merge_size`.
use super::copies::parameter_rows;
use super::merged::formats;
use super::several::{Answer, Asked, Carried, Kept, Kind, Sink};
use super::together::{Tells, Wording};
use super::{Session, Stop};
use crate::error::{Error, SqlState};
use crate::exec::fan_out::{Binding, FanOut, Heard, Which};
use crate::ids::{Oid, ShardId};
use crate::merge::Merger;
use crate::plan::Route;
use crate::plan::several::Template;
use crate::plan::several::inserting::{Inserting, TextRow};
use crate::plan::several::moves::Moves;
use crate::plan::several::selected::Selected;
use crate::sql::encoding::Encoding;
use crate::wire::params::Params;
use crate::wire::server::{DataRow, RowDescription};
use crate::wire::value::oid;
use crate::wire::{encode, frame};
use bytes::{Bytes, BytesMut};
use std::collections::BTreeMap;

/// What is held for a statement.
#[derive(Default)]
struct Held {
    rows: Vec<TextRow>,
    /// Of the columns, as the home shard numbers them; none: those of the columns that they are for.
    types: Vec<Oid>,
    /// Bytes that may still come.
    room: usize,
}

impl Session {
    pub(super) async fn move_rows(
        &mut self,
        asked: &Asked<'_>,
        moves: &Moves,
        shards: &[ShardId],
        lock: &str,
    ) -> Result<Answer, Stop> {
        let sites = self.site_all(shards, asked.planned).await?;
        // One after another, as all writes that lock rows do.
        let mut in_turn: Vec<(ShardId, usize)> =
            shards.iter().copied().zip(sites.iter().copied()).collect();
        in_turn.sort_by_key(|(shard, _)| self.serving.rules.rank(*shard));
        let in_turn: Vec<usize> = in_turn.into_iter().map(|(_, at)| at).collect();
        let (fan, wording, columns) = self.describe_whole(asked, &in_turn).await?;
        self.check_rights(asked, &in_turn).await?;
        self.check_text(&sites)?;
        let mut held = Held { room: self.database.limits.merge_bytes, ..Held::default() };
        for at in in_turn {
            self.check_requested()?;
            let taken = Wording::new(&moves.taken, asked);
            let asked = &Asked { name: "weir_taken", ..*asked };
            self.take_rows(asked, taken, &[at], &mut held).await?;
        }
        let count = u64::try_from(held.rows.len()).unwrap_or(u64::MAX);
        let (told, _) = self.insert_rows(asked, &moves.into, &sites, held, Some(lock)).await?;
        let (merger, kind) = (Merger::giving(told), Kind::Moves(count));
        let (gathered, copied) = (None, None);
        Ok(Answer { fan, merger, wording, columns, gathered, fresh: false, kind, copied })
    }

    pub(super) async fn insert_selected(
        &mut self,
        asked: &Asked<'_>,
        selected: &Selected,
    ) -> Result<Answer, Stop> {
        let home = self.site_all(&[self.serving.rules.home], asked.planned).await?;
        let (fan, wording, columns) = self.describe_whole(asked, &home).await?;
        self.check_text(&home)?;
        let mut held = Held { room: self.database.limits.merge_bytes, ..Held::default() };
        self.select_rows(asked, selected, &mut held).await?;
        let (told, count) = self.insert_rows(asked, &selected.into, &home, held, None).await?;
        let (merger, kind) = (Merger::giving(told), Kind::Selected(count));
        let (gathered, copied) = (None, None);
        Ok(Answer { fan, merger, wording, columns, gathered, fresh: false, kind, copied })
    }

    /// The rows of a query, which goes where it would go by itself.
    async fn select_rows(
        &mut self,
        asked: &Asked<'_>,
        selected: &Selected,
        held: &mut Held,
    ) -> Result<(), Stop> {
        let text = selected.query.render(asked.text, &asked.planned.shape);
        let planned = self.plan(&text)?;
        let asked = &Asked {
            text: &text,
            planned: &planned,
            results: &[],
            batch: Some(0),
            name: "weir_rows",
            shift: 0,
            moment: None,
            statement: None,
            ..*asked
        };
        let params = Params { types: asked.types, values: asked.values };
        let route = planned.route(&text, &params, &self.serving.rules)?;
        if route != Route::Many {
            let at = self.site(route, self.need(&planned)).await?;
            self.tie(at, &planned);
            let moment = match !planned.plan.times.is_empty() && self.txn.is_other_time(at) {
                true => Some(self.moment(asked).await?),
                false => None,
            };
            let asked = &Asked { moment: moment.as_ref(), ..*asked };
            let told = Template::spliced(&planned.shape, &[]).telling(&planned.plan.times);
            let wording = Wording::new(&told, asked);
            let columns = self.take_rows(asked, wording, &[at], held).await?;
            held.types = given_types(&columns)?;
            return Ok(());
        }
        let mut answer = Box::pin(self.begin_answer(asked)).await?;
        let mut kept = Kept { rows: Vec::new(), room: held.room };
        if self.carry_into(&mut answer, None, Sink::Kept(&mut kept)).await? == Carried::TooLarge {
            answer = Box::pin(self.gather_instead(asked, &answer)).await?;
            self.carry_into(&mut answer, None, Sink::Kept(&mut kept)).await?;
        }
        held.room = kept.room;
        held.types = given_types(&answer.columns)?;
        for message in kept.rows {
            held.rows.push(text_row(&message, frame::HEADER)?);
        }
        Ok(())
    }

    /// Text that these servers write has to be what they read.
    fn check_text(&self, sites: &[usize]) -> Result<(), Error> {
        match self.text_is_exact(sites) {
            true => Ok(()),
            false => Err(Error::refused(
                "a write that brings rows from shard to shard under these settings",
                "SET DateStyle = ISO, IntervalStyle = postgres, client_encoding = 'UTF8', and \
                 extra_float_digits to 1 or more",
            )),
        }
    }

    /// Has one server parse the client's own text: what is wrong with it is told as PostgreSQL tells it,
    /// and the client's columns are known.
    async fn describe_whole(
        &mut self,
        asked: &Asked<'_>,
        sites: &[usize],
    ) -> Result<(FanOut, Wording, Bytes), Stop> {
        let wording = Wording::new(&Template::spliced(&asked.planned.shape, &[]), asked);
        let first = sites.get(..1).unwrap_or_default();
        let mut fan = self.fan_out(asked.name, first, &wording, asked.types);
        fan.close(&mut self.txn.participants);
        self.go(&mut fan).await?;
        self.finish(&mut fan, &wording).await?;
        let described = fan.description(0).cloned().unwrap_or_default();
        let columns = match described.is_empty() {
            true => Bytes::new(),
            false => self.told_columns(&fan, &formats(asked.results, &described, 0)?, 0)?,
        };
        Ok((fan, wording, columns))
    }

    /// Has one server begin the client's own text and do nothing of it, as EXPLAIN does: whoever may delete and
    /// insert rows need not be allowed to update them.
    async fn check_rights(&mut self, asked: &Asked<'_>, sites: &[usize]) -> Result<(), Stop> {
        let mut whole = Template::default();
        whole.text("EXPLAIN ");
        whole.range(0..asked.planned.shape.text.len());
        let wording = Wording::new(&whole, asked);
        let first = sites.get(..1).unwrap_or_default();
        let mut fan = self.fan_out("weir_rights", first, &wording, asked.types);
        let binding = Binding { parameters: asked.parameters, results: &[] };
        fan.open(&mut self.txn.participants, binding);
        self.go(&mut fan).await?;
        self.finish(&mut fan, &wording).await
    }

    /// What these servers answer, in text; its columns as the home shard would describe them.
    async fn take_rows(
        &mut self,
        asked: &Asked<'_>,
        wording: Wording,
        sites: &[usize],
        held: &mut Held,
    ) -> Result<Bytes, Stop> {
        let mut fan = self.fan_out(asked.name, sites, &wording, asked.types);
        let binding = Binding { parameters: asked.parameters, results: &[] };
        fan.open(&mut self.txn.participants, binding);
        self.go(&mut fan).await?;
        while let Some(heard) = self.next_row(&mut fan, Which::Any, &wording).await? {
            let Heard::Row { row, .. } = heard else { continue };
            let values = text_row(row.message(), frame::HEADER)?;
            let bytes = row.body().len() + values.len() * size_of::<Option<Bytes>>();
            self.make_room(&mut held.room, bytes, &mut fan, &wording).await?;
            held.rows.push(values);
        }
        self.finish(&mut fan, &wording).await?;
        let described = fan.description(0).cloned().unwrap_or_default();
        Ok(self.told_columns(&fan, &formats(&[], &described, 0)?, 0)?)
    }

    /// Gives each shard its rows: what the client's RETURNING says of them, and how many there were. `from`:
    /// servers that have written them. `lock`: is held there already.
    async fn insert_rows(
        &mut self,
        asked: &Asked<'_>,
        into: &Inserting,
        from: &[usize],
        held: Held,
        lock: Option<&str>,
    ) -> Result<(Vec<Bytes>, u64), Stop> {
        let Held { rows, types, mut room } = held;
        let mut by_shard: BTreeMap<ShardId, Vec<TextRow>> = BTreeMap::new();
        for row in rows {
            self.check_keys(into, &row)?;
            let shard = into.shard(&row, &types, &asked.planned.shape, &self.serving.rules)?;
            by_shard.entry(shard).or_default().push(row);
        }
        let shards: Vec<ShardId> = by_shard.keys().copied().collect();
        let targets = self.site_all(&shards, asked.planned).await?;
        // What one has written the others have to read alike.
        self.check_alike(&[from, targets.as_slice()].concat())?;
        if let Some(lock) = lock {
            let others = targets.iter().copied().filter(|at| !from.contains(at));
            self.say_on(&others.collect::<Vec<_>>(), lock).await?;
        }
        let (mut told, mut count) = (Vec::new(), 0);
        let mut in_turn: Vec<_> = by_shard.iter().zip(targets).collect();
        in_turn.sort_by_key(|((shard, _), _)| self.serving.rules.rank(**shard));
        for ((_, rows), at) in in_turn {
            count += self.insert_on(asked, into, (rows, &types), at, &mut told, &mut room).await?;
        }
        Ok((told, count))
    }

    /// Gives a shard rows: how many it has inserted.
    async fn insert_on(
        &mut self,
        asked: &Asked<'_>,
        into: &Inserting,
        (rows, types): (&[TextRow], &[Oid]),
        at: usize,
        told: &mut Vec<Bytes>,
        room: &mut usize,
    ) -> Result<u64, Stop> {
        /// As many as a Bind has room for.
        const PARAMETERS: usize = 20_000;
        let tail = into.tail.rendered(asked.text, &asked.planned.shape, asked.moment).text;
        let Inserting { table, alias, columns, .. } = into;
        let mut count = 0;
        let most = (PARAMETERS / columns.len().max(1)).max(1);
        if into.updates && rows.len() > most {
            return Err(Error::refused(
                format!("ON CONFLICT DO UPDATE for more than {most} selected rows of one shard"),
                "insert fewer rows at a time",
            )
            .into());
        }
        for rows in rows.chunks(most) {
            let text = format!(
                "INSERT INTO {table} AS {alias} ({}) OVERRIDING SYSTEM VALUE VALUES {}{tail}",
                columns.join(", "),
                parameter_rows(rows.len(), columns.len()),
            );
            let values: Vec<_> = rows.iter().flatten().map(|value| value.as_deref()).collect();
            let mut parameters = BytesMut::new();
            encode::parameters(values.into_iter(), &mut parameters);
            let wording = Wording::foreign(text, Tells::Shard);
            let types = types.repeat(rows.len());
            let mut fan = self.fan_out("weir_given", &[at], &wording, &types);
            self.go(&mut fan).await?;
            self.finish(&mut fan, &wording).await?;
            let described = fan.description(0).cloned().unwrap_or_default();
            let formats = formats(asked.results, &described, 0)?;
            self.check_embedded(&fan, &formats)?;
            let binding = Binding { parameters: &parameters, results: &formats };
            fan.open(&mut self.txn.participants, binding);
            self.go(&mut fan).await?;
            while let Some(heard) = self.next_row(&mut fan, Which::Any, &wording).await? {
                let Heard::Row { row, .. } = heard else { continue };
                self.make_room(room, row.body().len(), &mut fan, &wording).await?;
                told.push(row.message().clone());
            }
            self.finish(&mut fan, &wording).await?;
            let tag = fan.tag(None);
            count += tag.rsplit(' ').next().and_then(|n| n.parse::<u64>().ok()).unwrap_or_default();
        }
        Ok(count)
    }

    /// More is kept, or it is too much.
    async fn make_room(
        &mut self,
        room: &mut usize,
        bytes: usize,
        fan: &mut FanOut,
        wording: &Wording,
    ) -> Result<(), Stop> {
        match room.checked_sub(bytes) {
            Some(left) => {
                *room = left;
                Ok(())
            }
            None => {
                self.stop(fan, wording).await?;
                Err(too_much().into())
            }
        }
    }

    /// A key's characters decide its shard, so weir has to know which they are.
    fn check_keys(&self, into: &Inserting, row: &TextRow) -> Result<(), Error> {
        match self.encoding() == Encoding::Utf8 || into.keys(row).all(<[u8]>::is_ascii) {
            true => Ok(()),
            false => Err(Error::refused(
                "a write that gives rows a key beyond ASCII under this client_encoding",
                "SET client_encoding = 'UTF8'",
            )),
        }
    }
}

/// The types of selected columns, from which PostgreSQL converts as for any INSERT … SELECT. A text may have been a
/// literal without a type: it is read as its column's.
fn given_types(columns: &[u8]) -> Result<Vec<Oid>, Error> {
    let given = |type_oid| match type_oid {
        oid::TEXT | oid::UNKNOWN => Oid(0),
        other => other,
    };
    Ok(RowDescription::read(columns)?.type_oids().map(given).collect())
}

/// The values of a DataRow message.
fn text_row(message: &Bytes, header: usize) -> Result<TextRow, Error> {
    let body = message.get(header..).unwrap_or_default();
    let values = DataRow::read(body).map_err(Error::from)?;
    Ok(values.values().map(|value| value.map(|value| message.slice_ref(value))).collect())
}

pub(super) fn too_much() -> Error {
    Error::client(
        SqlState::CONFIGURATION_LIMIT_EXCEEDED,
        "the rows that the statement brings from shard to shard take more memory than is allowed",
    )
    .hint("write fewer at a time, or raise limits.merge_size in weir.toml")
}
