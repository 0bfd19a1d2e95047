//! Queries that each shard answers for its own rows: how the shards are asked, in as few messages as what is
//! known allows.
//!
//! - What nothing is known of is described first: nothing runs before weir knows that it can unite the rows.
//! - A text whose like was united lately goes out whole, from Parse to Execute. If its rows cannot be united
//!   after all, they are of no use and have done no harm: it only reads.
//! - A statement that its client has prepared is kept by the shards' servers, too: they are told to bind and
//!   to execute it.
//!
//! Where the client's Sync lies behind its Execute already, it travels with the query.
use super::several::{Answer, Asked, Kind};
use super::statements::{Form, Identity, Naming};
use super::together::Wording;
use super::{Protocol, Session, Stop};
use crate::error::{Error, SqlState};
use crate::exec::fan_out::{Binding, FanOut, Halt, NO_PARAMETERS, Within};
use crate::ids::Oid;
use crate::merge::{Bounds, Column, Merger};
use crate::plan::Access;
use crate::plan::several::{Merge, Rows};
use crate::sql::rewrite::Rendered;
use crate::txn::{Begun, Participant, Status};
use crate::wire::frontend::Format;
use crate::wire::params::Params;
use crate::wire::server::{Field, RowDescription};
use crate::wire::{encode, frame};
use bytes::{Bytes, BytesMut};
use std::cell::RefCell;
use std::rc::Rc;

/// What the shards are asked for a statement that a client has prepared.
#[derive(Clone)]
pub struct Kept {
    sent: Rc<Rendered>,
    /// The name under which servers keep it.
    identity: Rc<Identity>,
}

/// Which queries were united when they were last asked, by their fingerprints. It forgets some, and may be
/// wrong about others.
#[derive(Default)]
pub struct United(RefCell<Vec<u64>>);

/// What is to be united, and of whom.
struct Asking<'m> {
    merge: &'m Merge,
    sites: Vec<usize>,
    bounds: Bounds,
    within: Within,
}

/// How weir unites what the shards answer.
struct Reading {
    merger: Merger,
    /// The columns' formats, hidden ones included.
    formats: Vec<Format>,
    /// RowDescription's body for the client.
    columns: Bytes,
}

/// What came of asking for a statement that servers keep.
enum Outcome {
    Asked(Box<Answer>),
    /// These types are not compared or combined exactly; nothing has been run.
    Unlike,
    /// What was known of it does not hold any more; whatever has run is over.
    Outdated,
    /// Servers do not describe it alike; nothing has been run.
    Apart,
}

impl United {
    /// Each fingerprint has one.
    const PLACES: usize = 1024;

    fn contains(&self, fingerprint: u64) -> bool {
        self.0.borrow().get(Self::place(fingerprint)) == Some(&fingerprint)
    }

    fn note(&self, fingerprint: u64, united: bool) {
        let mut places = self.0.borrow_mut();
        if united && places.is_empty() {
            places.resize(Self::PLACES, 0);
        }
        match places.get_mut(Self::place(fingerprint)) {
            Some(place) if united => *place = fingerprint,
            Some(place) if *place == fingerprint => *place = 0,
            Some(_) | None => {}
        }
    }

    fn place(fingerprint: u64) -> usize {
        usize::try_from(fingerprint % Self::PLACES as u64).unwrap_or_default()
    }
}

impl Session {
    /// Each shard answers for its own rows. `None`: weir cannot compare or combine these types exactly;
    /// whatever has run is over.
    pub(super) async fn begin_merge(
        &mut self,
        asked: &Asked<'_>,
        merge: &Merge,
    ) -> Result<Option<Answer>, Stop> {
        let bounds = self.bounds(asked, merge)?;
        let params = Params { types: asked.types, values: asked.values };
        let shards = asked.planned.shards(asked.text, &params, &self.serving.rules)?;
        let sites = self.site_all(&shards, asked.planned).await?;
        self.check_requested()?;
        let within = match self.sync_follows(asked) {
            true => Within::Query,
            false => self.within(),
        };
        let asking = Asking { merge, sites, bounds, within };
        if let Some(kept) = self.kept(asked, merge) {
            match Box::pin(self.merge_kept(asked, &asking, &kept)).await? {
                Outcome::Asked(answer) => return Ok(Some(*answer)),
                Outcome::Unlike => return Ok(None),
                Outcome::Outdated => self.forget_kept(asked),
                Outcome::Apart => {}
            }
        }
        self.merge_told(asked, &asking).await
    }

    /// Whether nothing comes between this Execute and the end of its transaction, which only reads: the
    /// client's Sync is here, and nothing else was sent to a server.
    fn sync_follows(&self, asked: &Asked<'_>) -> bool {
        let next = frame::scan(&self.client.input, self.database.limits.message_bytes);
        let synced = matches!(next, Ok(Some(header)) if header.kind == b'S');
        synced
            && self.skip == 0
            && asked.statement.is_some()
            && asked.batch == Some(0)
            && self.protocol == Protocol::Extended
            && self.txn.status() == Status::Idle
            && self.configured.is_empty()
            && self.txn.participants.iter().all(|participant| {
                !participant.unsynced
                    && participant.begun == Begun::No
                    && participant.access == Access::Read
            })
    }

    /// Has the shards parse a text that they do not know.
    async fn merge_told(
        &mut self,
        asked: &Asked<'_>,
        asking: &Asking<'_>,
    ) -> Result<Option<Answer>, Stop> {
        let merge = asking.merge;
        // A simple query has ended the client's own unnamed statement and portal.
        let unnamed = self.protocol == Protocol::Simple
            && asked.batch == Some(0)
            && asked.parameters == NO_PARAMETERS;
        let name = if unnamed { "" } else { asked.name };
        let wording = Wording::new(&merge.query, asked);
        let mut fan = self.fan_out(name, &asking.sites, &wording, asked.types);
        fan.batch = asked.batch;
        fan.within = asking.within;
        let foreseen = self.foreseen(asked, asking);
        if let Some(results) = &foreseen {
            // Formats that do not fit the columns are the servers' to refuse.
            let binding = Binding { parameters: asked.parameters, results };
            fan.open(&mut self.txn.participants, binding);
            self.go(&mut fan).await?;
            self.await_descriptions(&mut fan, &wording).await?;
        } else {
            self.go(&mut fan).await?;
            self.finish(&mut fan, &wording).await?;
        }
        let described = self.described_at_home(&fan, 0);
        let reading = described.and_then(|described| self.united(asked, asking, &described));
        self.database.united.note(fingerprint(asked), matches!(reading, Ok(Some(_))));
        let Ok(Some(Reading { merger, formats, columns })) = reading else {
            self.leave_fan(&mut fan, &wording).await?;
            return Ok(reading.map(|_| None)?);
        };
        if foreseen.is_none() {
            self.check_requested()?;
            self.check_embedded(&fan, &formats)?;
            let binding = Binding { parameters: asked.parameters, results: &formats };
            fan.open(&mut self.txn.participants, binding);
            self.go(&mut fan).await?;
        }
        let (gathered, kind, copied) = (None, Kind::Query, None);
        Ok(Some(Answer { fan, merger, wording, columns, gathered, fresh: false, kind, copied }))
    }

    /// The formats in which to ask for rows that are not described yet, if they will do.
    fn foreseen(&self, asked: &Asked<'_>, asking: &Asking<'_>) -> Option<Vec<Format>> {
        let merge = asking.merge;
        let strange = self.txn.participants.iter().any(|other| other.translation.is_some());
        let as_it_is = merge.rows == Rows::All && merge.order.is_empty() && merge.hidden == 0;
        let binary = asked.results.contains(&Format::Binary) || merge.hidden > 0;
        let united = || asked.batch.is_some() && self.database.united.contains(fingerprint(asked));
        if strange && binary || !as_it_is && !united() {
            return None;
        }
        match (merge.hidden, merge.visible) {
            (0, _) => Some(asked.results.to_vec()),
            (hidden, Some(visible)) => spread(asked.results, visible, hidden).ok(),
            (_, None) => None,
        }
    }

    /// What the shards are asked for a statement that is worth keeping there.
    fn kept(&self, asked: &Asked<'_>, merge: &Merge) -> Option<Kept> {
        let statement = asked.statement?;
        let strange = self.txn.participants.iter().any(|other| other.translation.is_some());
        let binary = asked.results.contains(&Format::Binary) || merge.hidden > 0;
        let same = statement.under.catalog == self.serving.catalog_version
            && statement.means_the_same(&self.txn.settings);
        let keeps = statement.naming == Naming::Named && asked.batch.is_some();
        if !keeps || !same || strange && binary || asked.moment.is_some() {
            return None;
        }
        let mut kept = statement.kept.borrow_mut();
        if kept.is_none() {
            let sent = merge.query.rendered(asked.text, &asked.planned.shape, None);
            let (version, settings) = (self.serving.catalog_version, &statement.settings);
            let mut identities = self.database.identities.borrow_mut();
            let identity =
                identities.intern(&sent.text, asked.types, &Form::Parse, version, settings);
            *kept = Some(Kept { sent: Rc::new(sent), identity });
        }
        kept.clone()
    }

    /// Whoever prepares it from now on does so under another name.
    fn forget_kept(&mut self, asked: &Asked<'_>) {
        self.database.identities.borrow_mut().forget_all();
        self.txn.participants.iter_mut().for_each(Participant::doubt_statements);
        if let Some(statement) = asked.statement {
            statement.kept.replace(None);
        }
    }

    async fn merge_kept(
        &mut self,
        asked: &Asked<'_>,
        asking: &Asking<'_>,
        kept: &Kept,
    ) -> Result<Outcome, Stop> {
        let wording = Wording::kept(kept.sent.clone(), asked);
        let mut fan = self.unasked(asked.name, &asking.sites);
        fan.hush();
        fan.keep(&kept.identity.name);
        fan.batch = asked.batch;
        fan.within = asking.within;
        let known = match kept.identity.united.get() {
            Some(known) => known.clone(),
            None => {
                self.prepare_on_all(&mut fan, kept, asked.types);
                for stream in 0..fan.len() {
                    fan.describe_on(stream, &mut self.txn.participants);
                }
                self.go(&mut fan).await?;
                self.finish(&mut fan, &wording).await?;
                let described = self.described_at_home(&fan, 0)?;
                if !self.is_described_as(&fan, &described)? {
                    return Ok(Outcome::Apart);
                }
                kept.identity.united.get_or_init(|| described).clone()
            }
        };
        let Some(Reading { merger, formats, columns }) = self.united(asked, asking, &known)? else {
            return Ok(Outcome::Unlike);
        };
        self.check_requested()?;
        self.prepare_on_all(&mut fan, kept, asked.types);
        let binding = Binding { parameters: asked.parameters, results: &formats };
        fan.open(&mut self.txn.participants, binding);
        self.go(&mut fan).await?;
        if !self.is_bound(asked, &mut fan, &wording).await? {
            return Ok(Outcome::Outdated);
        }
        if !self.is_described_as(&fan, &known)? {
            self.leave_fan(&mut fan, &wording).await?;
            return Ok(Outcome::Outdated);
        }
        let (gathered, kind, copied) = (None, Kind::Query, None);
        let answer = Answer { fan, merger, wording, columns, gathered, fresh: false, kind, copied };
        Ok(Outcome::Asked(Box::new(answer)))
    }

    /// Makes those servers know a kept statement that do not, and describe it.
    fn prepare_on_all(&mut self, fan: &mut FanOut, kept: &Kept, types: &[Oid]) {
        let limit = self.database.limits.statements_per_server;
        let id = kept.identity.id;
        for stream in 0..fan.len() {
            let participant = fan.at(stream).and_then(|at| self.txn.participants.get_mut(at));
            let Some(participant) = participant else { continue };
            let prepared = &mut participant.lease.session.prepared;
            if prepared.contains(id) {
                continue;
            }
            let closed = prepared.prepare(id, limit);
            participant.preparing.push(id);
            participant.closing.extend(&closed);
            self.database.counters.prepared();
            let closed: Vec<String> = closed.iter().map(|id| format!("weir_{id}")).collect();
            let text = self.encoding().bytes(&kept.sent.text);
            fan.prepare_on(stream, &mut self.txn.participants, &closed, &text, types);
        }
    }

    /// Waits until every server has bound what it keeps. `false`: one would give other columns now than when
    /// it was prepared; nothing runs any more, and nothing has failed. In a block the client is told.
    async fn is_bound(
        &mut self,
        asked: &Asked<'_>,
        fan: &mut FanOut,
        wording: &Wording,
    ) -> Result<bool, Stop> {
        loop {
            let mut lines = self.relay.lines(&mut self.client, &mut self.txn.participants);
            let halt = match self.slot.heeding(self.passed_on, fan.bound(&mut lines)).await {
                Ok(()) => return Ok(true),
                Err(halt) => halt,
            };
            let outdated = |fan: &FanOut| {
                fan.failure().is_some_and(|why| why.code() == SqlState::FEATURE_NOT_SUPPORTED)
            };
            if matches!(halt, Halt::Failed) && outdated(fan) {
                if self.is_stoppable(fan) {
                    self.stop(fan, wording).await?;
                    return Ok(false);
                }
                self.forget_kept(asked);
            }
            self.halted(fan, halt, wording).await?;
        }
    }

    /// What runs is of no use, but nothing has failed: where it is a part of the client's transaction, it is
    /// heard to its end.
    pub(super) async fn leave_fan(
        &mut self,
        fan: &mut FanOut,
        wording: &Wording,
    ) -> Result<(), Stop> {
        if self.is_stoppable(fan) && !fan.running().is_empty() {
            return self.stop(fan, wording).await;
        }
        fan.close(&mut self.txn.participants);
        self.go(fan).await?;
        self.finish(fan, wording).await
    }

    /// How rows that are described so are united; `None`: not exactly.
    fn united(
        &self,
        asked: &Asked<'_>,
        asking: &Asking<'_>,
        described: &Bytes,
    ) -> Result<Option<Reading>, Error> {
        let Asking { merge, sites, bounds, within: _ } = asking;
        let formats = formats(asked.results, described, merge.hidden)?;
        let merger = self.merger(merge, &columns(described, &formats), sites, *bounds);
        let Some(merger) = merger else { return Ok(None) };
        let columns = told(described, &formats, merge.hidden)?;
        Ok(Some(Reading { merger, formats, columns }))
    }

    /// Binary values of some types carry ids that differ between shards.
    pub(super) fn check_embedded(&self, fan: &FanOut, formats: &[Format]) -> Result<(), Error> {
        for stream in 0..fan.len() {
            let participant = fan.at(stream).and_then(|at| self.txn.participants.get(at));
            let translation = participant.and_then(|other| other.translation.as_deref());
            let (Some(translation), Some(body)) = (translation, fan.description(stream)) else {
                continue;
            };
            let description = RowDescription::read(body)?;
            let fields = description.fields().zip(formats);
            translation.check_fields(fields.map(|(field, &format)| Field { format, ..field }))?;
        }
        Ok(())
    }

    /// What a server has said of its rows, with types and tables as the home shard numbers them.
    fn described_at_home(&self, fan: &FanOut, stream: usize) -> Result<Bytes, Error> {
        let body = fan.description(stream).cloned().unwrap_or_default();
        let participant = fan.at(stream).and_then(|at| self.txn.participants.get(at));
        let translation = participant.and_then(|other| other.translation.as_deref());
        let Some(translation) = translation.filter(|_| !body.is_empty()) else { return Ok(body) };
        let described = RowDescription::read(&body)?;
        let fields = described.fields().map(|field| Field {
            table: translation.table_at_home(field.table),
            type_oid: translation.type_at_home(field.type_oid),
            ..field
        });
        Ok(description(&fields.collect::<Vec<_>>()))
    }

    /// Whether all who have described their rows now have done so by these types.
    fn is_described_as(&self, fan: &FanOut, known: &Bytes) -> Result<bool, Error> {
        for stream in 0..fan.len() {
            if fan.description(stream).is_some()
                && !same_types(&self.described_at_home(fan, stream)?, known)?
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The client's columns as the home shard numbers their types: RowDescription's body.
    pub(super) fn told_columns(
        &self,
        fan: &FanOut,
        formats: &[Format],
        hidden: usize,
    ) -> Result<Bytes, Error> {
        told(&self.described_at_home(fan, 0)?, formats, hidden)
    }
}

fn told(described: &Bytes, formats: &[Format], hidden: usize) -> Result<Bytes, Error> {
    let mut fields = Vec::new();
    if !described.is_empty() {
        let described = RowDescription::read(described)?;
        let formatted = described.fields().zip(formats);
        fields.extend(formatted.map(|(field, &format)| Field { format, ..field }));
    }
    fields.truncate(formats.len().saturating_sub(hidden));
    Ok(description(&fields))
}

/// RowDescription's body.
fn description(fields: &[Field<'_>]) -> Bytes {
    let mut message = BytesMut::new();
    encode::row_description(fields, &mut message);
    message.freeze().slice(frame::HEADER..)
}

/// What decides, besides what changes rarely, whether weir can unite the rows.
fn fingerprint(asked: &Asked<'_>) -> u64 {
    let binary = asked.results.contains(&Format::Binary);
    asked.planned.plan.fingerprint ^ u64::from(binary)
}

/// Whether two RowDescriptions are of the same types.
pub(super) fn same_types(one: &Bytes, other: &Bytes) -> Result<bool, Error> {
    let types = |body: &Bytes| -> Result<Vec<Oid>, Error> {
        Ok(RowDescription::read(body)?.type_oids().collect())
    };
    Ok(types(one)? == types(other)?)
}

/// The format of every column: the client's own as it wants them, hidden ones in binary.
pub(super) fn formats(
    wanted: &[Format],
    described: &[u8],
    hidden: usize,
) -> Result<Vec<Format>, Error> {
    let count = match described {
        [] => 0,
        body => RowDescription::read(body)?.fields().count(),
    };
    let visible = count.saturating_sub(hidden);
    spread(wanted, visible, count - visible)
}

fn spread(wanted: &[Format], visible: usize, hidden: usize) -> Result<Vec<Format>, Error> {
    let mut formats = match wanted {
        [] => vec![Format::Text; visible],
        [one] => vec![*one; visible],
        all if all.len() == visible => all.to_vec(),
        all => {
            return Err(Error::client(
                SqlState::PROTOCOL_VIOLATION,
                format!(
                    "bind message has {} result formats but query has {visible} columns",
                    all.len()
                ),
            ));
        }
    };
    formats.resize(visible + hidden, Format::Binary);
    Ok(formats)
}

pub(super) fn columns(described: &[u8], formats: &[Format]) -> Vec<Column> {
    let Ok(description) = RowDescription::read(described) else { return Vec::new() };
    let types = description.type_oids().zip(formats);
    types.map(|(type_oid, &format)| Column { type_oid, format }).collect()
}
