//! One query asked of several of the transaction's servers at the same time: what `exec::fan_out` does,
//! with what a session has to do about time, cancel requests and errors.
use super::several::Asked;
use super::{Protocol, Session, Stop};
use crate::error::{Error, SqlState};
use crate::exec::broken::Broken;
use crate::exec::fan_out::{Failure, FanOut, Halt, Heard, Which, Within};
use crate::ids::{Oid, ShardId};
use crate::plan::Planned;
use crate::sql::rewrite::{Rendered, Template};
use crate::txn::Begun;
use crate::wire::error_response;
use crate::wire::server::ErrorFields;
use bytes::BytesMut;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How long servers may take to answer a cancel request that follows another one's error.
const PATIENCE: Duration = Duration::from_secs(10);

/// What servers are asked, and what of it the client wrote: errors point into the client's text.
#[derive(Clone, Debug)]
pub(super) struct Wording {
    pub sent: Rc<Rendered>,
    /// What each stream is sent, if they are sent different texts.
    apart: Vec<Rendered>,
    original: String,
    /// What is added to an error's position, in characters.
    shift: i32,
    tells: Tells,
    /// Its portal on the servers, and the client's.
    portal: Option<(String, String)>,
}

/// Who is asked what: that decides what an error means to the client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Tells {
    /// A server is asked what the client has asked: its errors are the client's.
    Client,
    /// A shard is asked for rows in weir's own words.
    Shard,
    /// The gather database: what is wrong with names there is not the client's fault.
    Gather,
}

impl Wording {
    /// Words that are not the client's.
    pub fn foreign(text: String, tells: Tells) -> Self {
        Self {
            sent: Rc::new(Rendered::foreign(text)),
            apart: Vec::new(),
            original: String::new(),
            shift: 0,
            tells,
            portal: None,
        }
    }

    pub fn new(template: &Template, asked: &Asked<'_>) -> Self {
        let sent = template.rendered(asked.text, &asked.planned.shape, asked.moment);
        Self::kept(Rc::new(sent), asked)
    }

    /// What servers were sent before.
    pub fn kept(sent: Rc<Rendered>, asked: &Asked<'_>) -> Self {
        Self { sent, ..Self::of_client(asked) }
    }

    /// A text for each stream.
    pub fn each(templates: &[Template], asked: &Asked<'_>) -> Self {
        let shape = &asked.planned.shape;
        let render = |template: &Template| template.rendered(asked.text, shape, asked.moment);
        let apart = templates.iter().map(render).collect();
        Self { apart, ..Self::of_client(asked) }
    }

    fn of_client(asked: &Asked<'_>) -> Self {
        let told = |portal: &str| (asked.name.to_owned(), portal.to_owned());
        Self {
            sent: Rc::default(),
            apart: Vec::new(),
            original: asked.text.to_owned(),
            shift: asked.shift,
            tells: Tells::Client,
            portal: asked.portal.map(told),
        }
    }

    fn of(&self, stream: usize) -> &Rendered {
        self.apart.get(stream).unwrap_or(&self.sent)
    }

    /// The client's own words.
    pub fn plain(statement: &str) -> Self {
        Self::shifted(statement, 0)
    }

    /// The same where they begin so many characters behind the beginning of what the client sent.
    pub fn shifted(statement: &str, shift: i32) -> Self {
        Self {
            sent: Rc::new(Rendered::whole(statement)),
            apart: Vec::new(),
            original: statement.to_owned(),
            shift,
            tells: Tells::Client,
            portal: None,
        }
    }

    /// What a server says of its portal, said of the client's.
    fn in_clients_names(&self, text: &[u8]) -> Option<Vec<u8>> {
        let (theirs, ours) = self.portal.as_ref()?;
        let ours = match ours.as_str() {
            "" => String::from("unnamed portal"),
            named => format!("portal \"{named}\""),
        };
        let text = std::str::from_utf8(text).ok()?;
        Some(text.replace(&format!("portal \"{theirs}\""), &ours).into_bytes())
    }

    /// An error's position in the client's text.
    fn position(&self, stream: usize, there: &[u8]) -> Option<Vec<u8>> {
        let there: i32 = std::str::from_utf8(there).ok()?.parse().ok()?;
        let here = self.of(stream).position(&self.original, there).saturating_add(self.shift);
        Some(here.max(1).to_string().into_bytes())
    }
}

/// Fields of an error that speak of a text which the client has not written.
const POSITIONS: &[u8] = b"Ppq";

/// Errors that only a difference between the gather database and the shards can give: the client's own
/// text has been described by a shard before.
fn is_of_names(code: SqlState) -> bool {
    const OTHERS: [SqlState; 2] = [SqlState(*b"25006"), SqlState::INSUFFICIENT_PRIVILEGE];
    // 42: syntax error or access rule violation; 3F: invalid schema name.
    matches!(&code.0, [b'4', b'2', ..] | [b'3', b'F', ..]) || OTHERS.contains(&code)
}

impl Session {
    /// How messages to several servers have to end.
    pub(super) fn within(&self) -> Within {
        match self.protocol {
            Protocol::Simple => Within::Query,
            Protocol::Extended => Within::Segment,
        }
    }

    /// Brings all these shards in, in the order of their numbers: two sessions that wait for each
    /// other's connections would wait in vain.
    pub(super) async fn site_all(
        &mut self,
        shards: &[ShardId],
        planned: &Planned,
    ) -> Result<Vec<usize>, Stop> {
        let began = self.traced_now();
        let mut sites = Vec::with_capacity(shards.len());
        for &shard in shards {
            self.check_requested()?;
            let at = self.site_on(shard, self.need(planned)).await?;
            self.tie(at, planned);
            self.count(planned, at);
            sites.push(at);
        }
        self.learn_defaults(&sites).await?;
        self.check_alike(&sites)?;
        self.note_stage("checkout", began);
        self.note_servers_asked(&sites);
        Ok(sites)
    }

    /// Every one of these participants is told to parse and describe the query; `go` sends it.
    pub(super) fn fan_out(
        &mut self,
        name: &str,
        sites: &[usize],
        wording: &Wording,
        types: &[Oid],
    ) -> FanOut {
        let mut fan = self.unasked(name, sites);
        // A statement that was bound has been parsed before.
        let parsed = wording.portal.is_some() && self.protocol == Protocol::Extended;
        if wording.tells != Tells::Client || parsed {
            fan.hush();
        }
        let texts = (0..sites.len()).map(|stream| &wording.of(stream).text);
        let texts: Vec<_> = texts.map(|text| self.encoding().bytes(text).into_owned()).collect();
        let text = |stream: usize| texts.get(stream).map(Vec::as_slice).unwrap_or_default();
        fan.parse(&mut self.txn.participants, text, types);
        fan
    }

    /// The same for who tells one after the other, by `parse_on`.
    pub(super) fn unasked(&mut self, name: &str, sites: &[usize]) -> FanOut {
        let mut fan = FanOut::new(name, self.within());
        for &at in sites {
            fan.join(at);
        }
        // A server that was only asked to describe something is one of a statement's from now on.
        self.relay.statements += 1;
        fan
    }

    pub(super) fn parse_on(
        &mut self,
        fan: &mut FanOut,
        stream: usize,
        wording: &Wording,
        types: &[Oid],
    ) {
        let text = self.encoding().bytes(&wording.of(stream).text).into_owned();
        fan.parse_on(stream, &mut self.txn.participants, &text, types);
    }

    /// Sends what `fan` has been told to ask, together with what opens a block where none is open yet.
    pub(super) async fn go(&mut self, fan: &mut FanOut) -> Result<(), Stop> {
        fan.go(&mut self.txn.participants);
        self.drain().await
    }

    /// The next of the wanted rows; `None`: there are no more. An error has been told, and nothing
    /// runs any more.
    pub(super) async fn next_row(
        &mut self,
        fan: &mut FanOut,
        which: Which,
        wording: &Wording,
    ) -> Result<Option<Heard>, Stop> {
        loop {
            let mut lines = self.relay.lines(&mut self.client, &mut self.txn.participants);
            match self.slot.heeding(self.passed_on, fan.next(&mut lines, which)).await {
                Ok(heard) => return Ok(heard),
                Err(halt) => self.halted(fan, halt, wording).await?,
            }
        }
    }

    /// Waits until every server has described what it is asked.
    pub(super) async fn await_descriptions(
        &mut self,
        fan: &mut FanOut,
        wording: &Wording,
    ) -> Result<(), Stop> {
        loop {
            let mut lines = self.relay.lines(&mut self.client, &mut self.txn.participants);
            match self.slot.heeding(self.passed_on, fan.describe(&mut lines)).await {
                Ok(()) => return Ok(()),
                Err(halt) => self.halted(fan, halt, wording).await?,
            }
        }
    }

    /// Waits until every server has planned what it is asked: after that the client is told the
    /// columns, and before that an error.
    pub(super) async fn await_plans(
        &mut self,
        fan: &mut FanOut,
        wording: &Wording,
    ) -> Result<(), Stop> {
        loop {
            let mut lines = self.relay.lines(&mut self.client, &mut self.txn.participants);
            match self.slot.heeding(self.passed_on, fan.bound(&mut lines)).await {
                Ok(()) => return Ok(()),
                Err(halt) => self.halted(fan, halt, wording).await?,
            }
        }
    }

    /// Waits until a write has succeeded on every server: after that the client is told of it.
    pub(super) async fn await_success(
        &mut self,
        fan: &mut FanOut,
        wording: &Wording,
    ) -> Result<(), Stop> {
        loop {
            let mut lines = self.relay.lines(&mut self.client, &mut self.txn.participants);
            match fan.succeeded(&mut lines).await {
                Ok(()) => {
                    self.note_servers_done((0..fan.len()).filter_map(|stream| fan.at(stream)));
                    return Ok(());
                }
                Err(halt) => self.halted(fan, halt, wording).await?,
            }
        }
    }

    /// Waits until every server has answered everything; rows that still come are of no use.
    pub(super) async fn finish(&mut self, fan: &mut FanOut, wording: &Wording) -> Result<(), Stop> {
        self.wait_for_all(fan, wording).await?;
        match fan.failure() {
            None => Ok(()),
            Some(_) => Err(self.fail_all(fan, wording).await),
        }
    }

    /// The same where errors matter to nobody any more: each server's statement is a transaction.
    pub(super) async fn finish_quietly(
        &mut self,
        fan: &mut FanOut,
        wording: &Wording,
    ) -> Result<(), Stop> {
        self.wait_for_all(fan, wording).await
    }

    async fn wait_for_all(&mut self, fan: &mut FanOut, wording: &Wording) -> Result<(), Stop> {
        loop {
            let mut lines = self.relay.lines(&mut self.client, &mut self.txn.participants);
            match self.slot.heeding(self.passed_on, fan.finish(&mut lines)).await {
                Ok(()) => return Ok(()),
                Err(halt) => self.halted(fan, halt, wording).await?,
            }
        }
    }

    /// `Ok`: the servers were asked to cancel, and the wait for them goes on.
    pub(super) async fn halted(
        &mut self,
        fan: &mut FanOut,
        halt: Halt,
        wording: &Wording,
    ) -> Result<(), Stop> {
        match halt {
            Halt::Late => self.late_on(&fan.running()).await,
            Halt::Requested => self.pass_on(&fan.running()).await,
            Halt::Failed => Err(self.fail_all(fan, wording).await),
            Halt::Broken(broken) => {
                if matches!(broken, Broken::Client) {
                    // PostgreSQL would notice that nobody listens only when it next has a row.
                    if self.cancel_on(&fan.running()).await.is_err() {
                        tracing::debug!("could not cancel for a client that left");
                    }
                }
                Err(self.broken(broken).await)
            }
        }
    }

    /// A server has reported an error: the others are stopped, and the client is told that error.
    pub(super) async fn fail_all(&mut self, fan: &mut FanOut, wording: &Wording) -> Stop {
        if let Err(stop) = self.stop(fan, wording).await {
            return stop;
        }
        if let Some(failure) = fan.failure() {
            self.tell_failure(failure, fan.at(failure.stream), wording);
        }
        self.note_failed(&fan.failed());
        Stop::Said
    }

    /// Stops whatever still runs, and waits until it has stopped. In a block this fails the
    /// transaction on those servers.
    pub(super) async fn stop(&mut self, fan: &mut FanOut, wording: &Wording) -> Result<(), Stop> {
        let failed = fan.failed();
        let running: Vec<usize> =
            fan.running().into_iter().filter(|at| !failed.contains(at)).collect();
        if let Err(silent) = self.cancel_on(&running).await {
            return Err(self.give_up(silent).await);
        }
        let waited = tokio::time::timeout(PATIENCE, self.wait_for_cancelled(fan)).await;
        match waited {
            Ok(outcome) => outcome,
            Err(_) => {
                let silent = fan.running().first().copied().unwrap_or_default();
                if let Some(failure) = fan.failure() {
                    self.tell_failure(failure, fan.at(failure.stream), wording);
                    self.lose_participants("it did not answer a cancel request").await;
                    return Err(Stop::Said);
                }
                Err(self.give_up(silent).await)
            }
        }
    }

    /// What runs has been cancelled already.
    async fn wait_for_cancelled(&mut self, fan: &mut FanOut) -> Result<(), Stop> {
        /// A request that arrives before the message that it is to cancel is lost.
        const AGAIN: Duration = Duration::from_millis(100);
        loop {
            let mut lines = self.relay.lines(&mut self.client, &mut self.txn.participants);
            match tokio::time::timeout(AGAIN, fan.finish(&mut lines)).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(Halt::Late | Halt::Failed)) => self.late_on(&fan.running()).await?,
                Ok(Err(Halt::Requested)) | Err(_) => self.pass_on(&fan.running()).await?,
                Ok(Err(Halt::Broken(broken))) => return Err(self.broken(broken).await),
            }
        }
    }

    /// Tells these servers of the client's cancel request.
    pub(super) async fn pass_on(&mut self, running: &[usize]) -> Result<(), Stop> {
        let told = self.cancel_on(running).await;
        self.passed_on = Some(Instant::now());
        match told {
            Ok(()) => Ok(()),
            Err(silent) => Err(self.give_up(silent).await),
        }
    }

    /// Between two steps of a statement nothing runs that a cancel request could end.
    pub(super) fn check_requested(&self) -> Result<(), Error> {
        match self.slot.is_requested() {
            true => Err(self.slot.reason()),
            false => Ok(()),
        }
    }

    fn tell_failure(&mut self, failure: &Failure, at: Option<usize>, wording: &Wording) {
        let code = failure.code();
        self.note_error(at, code);
        let mut message = BytesMut::new();
        if code == SqlState::QUERY_CANCELED
            && let Some(verdict) = self.relay.budget.verdict()
        {
            error_response::write(&verdict, &mut self.client.output);
            return;
        }
        match ErrorFields::read(&failure.body) {
            Ok(fields) if wording.tells == Tells::Gather && is_of_names(code) => {
                let error = Error::refused(
                    "the gather database cannot finish this query as one PostgreSQL would",
                    "give the query a key, or write it in another way",
                )
                .detail(fields.message());
                error_response::write(&error, &mut message);
            }
            // One PostgreSQL would not write it: the client gets something else that is made of it.
            Ok(fields)
                if wording.tells == Tells::Shard && code == SqlState::UNTRANSLATABLE_CHARACTER =>
            {
                let error = Error::refused(
                    "the query reads a text on a shard that client_encoding cannot write",
                    "SET client_encoding to the databases' own encoding",
                )
                .detail(fields.message());
                error_response::write(&error, &mut message);
            }
            Ok(fields) if wording.tells != Tells::Client => {
                // A context that speaks of a portal of weir's own is none of the client's.
                let own = |text: &[u8]| text.starts_with(b"portal \"weir_");
                let left_out = match fields.get(b'W').is_some_and(own) {
                    true => b"PpqW",
                    false => POSITIONS,
                };
                fields.write_without(b'E', left_out, &mut message);
            }
            // A value that SQL's EXECUTE gives is bound to no portal of the client's.
            Ok(fields)
                if fields.iter().any(|(field, text)| {
                    field == b'W' && text.starts_with(b"portal \"weir_all\" parameter")
                }) =>
            {
                fields.write_without(b'E', b"W", &mut message);
            }
            Ok(fields) => {
                let edit = |field: u8, text: &[u8]| match field {
                    b'P' => wording.position(failure.stream, text),
                    b'M' | b'W' => wording.in_clients_names(text),
                    _ => None,
                };
                fields.write_edited(b'E', edit, &mut message);
            }
            Err(error) => error_response::write(&error.into(), &mut message),
        }
        self.client.output.extend_from_slice(&message);
    }

    /// What an error means to the transaction and to the segment that it happened in.
    pub(super) fn note_failed(&mut self, failed: &[usize]) {
        match self.protocol {
            Protocol::Simple => self.txn.fail(),
            Protocol::Extended => self.fail_segment(None),
        }
        self.note_cancelled(failed);
    }

    /// These servers were cancelled, and what happened is told otherwise.
    pub(super) fn note_cancelled(&mut self, failed: &[usize]) {
        for &at in failed {
            if let Some(participant) = self.txn.participants.get_mut(at)
                && participant.begun == Begun::No
                && participant.unsynced
            {
                participant.segment_undone();
                participant.failed = true;
            }
        }
    }
}
