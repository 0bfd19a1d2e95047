//! One query asked of several servers at the same time, their rows taken as they are wanted.
//!
//! Servers always get extended messages, so that parameters and formats are the client's in both
//! protocols. Where the client's own messages have an implicit transaction open that must stay open,
//! they end with Flush, everywhere else with Sync ([`Within`]).
//!
//! Memory: a server is read only when a row of its is wanted and none lies ready. What it sends
//! meanwhile stays in the socket, so the server itself has to wait. A row is held whole.
//!
//! - `stream`: one server's answer
mod stream;
use stream::{Held, Owed};
pub(super) use stream::{Io, Rows, Said, Stream};

use crate::error::SqlState;
use crate::exec::broken::{self, Broken};
use crate::exec::budget::Budget;
use crate::exec::line::{self, Line};
use crate::ids::Oid;
use crate::txn::{Begun, Participant};
use crate::wire::frontend::{Format, Object};
use crate::wire::server::ErrorFields;
use crate::wire::{encode, frame};
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::task::{Context, Poll};

/// What a session lends while servers answer.
pub struct Lines<'a> {
    pub client: &'a mut Line,
    pub participants: &'a mut [Participant],
    pub budget: &'a mut Budget,
    /// What servers say of parameters.
    pub reports: &'a mut BTreeMap<String, Vec<u8>>,
}

/// What the client's messages are part of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Within {
    /// A simple query: outside a block every statement is a transaction.
    Query,
    /// Extended messages: outside a block everything up to the client's Sync is one transaction.
    Segment,
}

/// The values of a Bind and the formats of its results.
#[derive(Clone, Copy)]
pub struct Binding<'q> {
    /// The parameters' formats and values as in a Bind message.
    pub parameters: &'q [u8],
    pub results: &'q [Format],
}

/// A Bind's part without parameters.
pub const NO_PARAMETERS: &[u8] = &[0; 4];

/// Whose row is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Which {
    Any,
    /// That stream's.
    Of(usize),
}

/// Something of one stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Heard {
    Row {
        stream: usize,
        row: Row,
    },
    /// It has no more rows.
    End {
        stream: usize,
    },
}

/// A DataRow message, or messages of COPY data as many as have come.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row(Bytes);

impl Row {
    /// With its header, or their headers.
    pub fn message(&self) -> &Bytes {
        &self.0
    }

    pub fn body(&self) -> &[u8] {
        self.0.get(frame::HEADER..).unwrap_or_default()
    }
}

/// Why rows stop.
#[derive(Debug)]
pub enum Halt {
    Broken(Broken),
    /// A server has reported an error: [`FanOut::failure`]. The others still run.
    Failed,
    /// The statement's time is up. Whoever has asked for a cancel goes on asking for rows.
    Late,
    /// The client wants the statement to end: servers have to be told, perhaps once more.
    Requested,
}

/// The first error that a server reported.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    pub stream: usize,
    /// ErrorResponse's body.
    pub body: Bytes,
}

impl Failure {
    pub fn code(&self) -> SqlState {
        ErrorFields::read(&self.body).map_or(SqlState::INTERNAL_ERROR, |fields| fields.code())
    }
}

pub struct FanOut {
    /// Of the portal on each server, and of the statement if that is closed with it.
    pub(in crate::exec) name: String,
    /// Of a statement that servers keep.
    kept: Option<String>,
    pub within: Within,
    /// Rows that a server is asked for at a time; 0: all. `None`: it binds, and runs when a row is wanted.
    pub batch: Option<i32>,
    pub(in crate::exec) streams: Vec<Stream>,
    pub(in crate::exec) failure: Option<Failure>,
    /// Servers have been told that their COPY fails: an error of another kind tells more than their answers.
    pub(in crate::exec) failing: bool,
    /// Looked at first.
    turn: usize,
    /// Servers are sent words of weir's own.
    hushed: bool,
}

impl FanOut {
    pub fn new(name: impl Into<String>, within: Within) -> Self {
        let (streams, failure) = (Vec::new(), None);
        Self {
            name: name.into(),
            kept: None,
            within,
            batch: Some(0),
            streams,
            failure,
            failing: false,
            turn: 0,
            hushed: false,
        }
    }

    /// What servers remark while they parse is not for the client.
    pub fn hush(&mut self) {
        self.hushed = true;
        self.streams.iter_mut().for_each(|stream| stream.hushed = true);
    }

    /// One more server takes part; the number of its stream.
    pub fn join(&mut self, at: usize) -> usize {
        let (owed, kept) = (VecDeque::new(), VecDeque::new());
        let rows = Rows::NotAsked;
        self.streams.push(Stream {
            at,
            owed,
            rows,
            types: Vec::new(),
            description: None,
            copying: None,
            tag: Bytes::new(),
            kept,
            held: Held::Nothing,
            hushed: self.hushed || !self.streams.is_empty(),
        });
        self.streams.len() - 1
    }

    pub fn len(&self) -> usize {
        self.streams.len()
    }

    pub fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }

    /// The participant that a stream comes from.
    pub fn at(&self, stream: usize) -> Option<usize> {
        self.streams.get(stream).map(|stream| stream.at)
    }

    pub fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }

    /// The participants that have not answered everything.
    pub fn running(&self) -> Vec<usize> {
        let running = self.streams.iter().filter(|stream| !stream.owed.is_empty());
        running.map(|stream| stream.at).collect()
    }

    /// The participants that have reported an error.
    pub fn failed(&self) -> Vec<usize> {
        let failed = self.streams.iter().filter(|stream| stream.rows == Rows::Failed);
        failed.map(|stream| stream.at).collect()
    }

    /// The types of the parameters as that server numbers them.
    pub fn types(&self, stream: usize) -> &[Oid] {
        self.streams.get(stream).map(|stream| stream.types.as_slice()).unwrap_or_default()
    }

    /// RowDescription's body as that server sent it; `None`: no columns, or not heard yet.
    pub fn description(&self, stream: usize) -> Option<&Bytes> {
        self.streams.get(stream)?.description.as_ref()
    }

    /// The tag of a write, with so many rows; `None`: what every server has done, added up.
    pub fn tag(&self, rows: Option<u64>) -> String {
        let split = |stream: &Stream| {
            let tag = std::str::from_utf8(&stream.tag).ok()?.trim_end_matches('\0');
            let (words, rows) = tag.rsplit_once(' ')?;
            Some((words.to_owned(), rows.parse::<u64>().ok()?))
        };
        let mut all = self.streams.iter().filter_map(split);
        let Some((words, first)) = all.next() else { return String::new() };
        let sum = all.fold(first, |sum, (_, rows)| sum.saturating_add(rows));
        format!("{words} {}", rows.unwrap_or(sum))
    }

    /// The first server's tag, where all have done the same.
    pub fn first_tag(&self) -> String {
        let tag = self.streams.first().map_or(&[][..], |stream| &stream.tag);
        String::from_utf8_lossy(tag).trim_end_matches('\0').to_owned()
    }

    /// Has every server parse its text and describe it. `types`: as the home shard numbers them.
    pub fn parse<'t>(
        &mut self,
        participants: &mut [Participant],
        text: impl Fn(usize) -> &'t [u8],
        types: &[Oid],
    ) {
        for index in 0..self.streams.len() {
            self.parse_on(index, participants, text(index), types);
        }
    }

    /// The same on one of them.
    pub fn parse_on(
        &mut self,
        index: usize,
        participants: &mut [Participant],
        text: &[u8],
        types: &[Oid],
    ) {
        let Some(stream) = self.streams.get_mut(index) else { return };
        let Some(participant) = participants.get_mut(stream.at) else { return };
        stream.clear_failed(participant);
        let name = self.name.as_bytes();
        if name.is_empty() {
            participant.lease.session.unnamed = None;
        } else {
            // An error, or another transaction's end, may have kept an earlier one from being closed.
            let out = &mut participant.lease.output;
            encode::close(Object::Portal, name, out);
            encode::close(Object::Statement, name, out);
            stream.owed.extend([Owed::Close, Owed::Close]);
            stream.held = Held::Both;
        }
        stream.parse(name, text, types, participant);
    }

    /// Statements go by this name from now on, and stay known to the servers.
    pub fn keep(&mut self, name: &str) {
        self.kept = Some(name.to_owned());
    }

    /// Has a server that does not know the kept statement parse and describe it, after it has closed
    /// those.
    pub fn prepare_on(
        &mut self,
        index: usize,
        participants: &mut [Participant],
        closed: &[String],
        text: &[u8],
        types: &[Oid],
    ) {
        let Some(stream) = self.streams.get_mut(index) else { return };
        let Some(participant) = participants.get_mut(stream.at) else { return };
        stream.clear_failed(participant);
        for name in closed {
            let out = &mut participant.lease.output;
            encode::close(Object::Statement, name.as_bytes(), out);
            stream.owed.push_back(Owed::Close);
        }
        let name = self.kept.as_deref().unwrap_or_default();
        stream.parse(name.as_bytes(), text, types, participant);
    }

    /// Has a server describe the kept statement, unless it is about to.
    pub fn describe_on(&mut self, index: usize, participants: &mut [Participant]) {
        let Some(stream) = self.streams.get_mut(index) else { return };
        let Some(participant) = participants.get_mut(stream.at) else { return };
        if !stream.owes_description() {
            stream.clear_failed(participant);
            let name = self.kept.as_deref().unwrap_or_default();
            let out = &mut participant.lease.output;
            encode::describe(Object::Statement, name.as_bytes(), out);
            stream.owed.push_back(Owed::Describe);
        }
    }

    /// Has every server bind and run what it has parsed.
    pub fn open(&mut self, participants: &mut [Participant], binding: Binding<'_>) {
        for index in 0..self.streams.len() {
            self.open_on(index, participants, binding);
        }
    }

    /// The same on one of them.
    pub fn open_on(
        &mut self,
        index: usize,
        participants: &mut [Participant],
        binding: Binding<'_>,
    ) {
        let mut tail = binding.parameters.to_vec();
        tail.extend((binding.results.len() as u16).to_be_bytes());
        for format in binding.results {
            tail.extend(match format {
                Format::Text => [0, 0],
                Format::Binary => [0, 1],
            });
        }
        let Some(stream) = self.streams.get_mut(index) else { return };
        let Some(participant) = participants.get_mut(stream.at) else { return };
        let name = self.name.as_bytes();
        stream.clear_failed(participant);
        // A Sync behind it ends the transaction that it is in, and the portal with that.
        let ends = self.within == Within::Query && participant.begun == Begun::No;
        if stream.held == Held::Nothing && !(ends && self.batch == Some(0)) {
            if !name.is_empty() {
                encode::close(Object::Portal, name, &mut participant.lease.output);
                stream.owed.push_back(Owed::Close);
            }
            stream.held = Held::Portal;
        }
        let out = &mut participant.lease.output;
        let statement = self.kept.as_deref().unwrap_or(&self.name);
        encode::bind_with_tail(name, statement.as_bytes(), &tail, out);
        stream.owed.push_back(Owed::Bind);
        let Some(batch) = self.batch else {
            stream.rows = Rows::Paused;
            return;
        };
        encode::execute(name, batch, out);
        stream.owed.push_back(Owed::Execute);
        stream.rows = Rows::Coming;
        if batch == 0 {
            stream.close(&self.name, participant);
        }
    }

    /// Has every server that was told something answer.
    pub fn go(&mut self, participants: &mut [Participant]) {
        for stream in &mut self.streams {
            if let Some(participant) = participants.get_mut(stream.at) {
                stream.go(self.within, participant);
            }
        }
    }

    /// Has every server go on of whose rows none lies ready.
    pub fn resume(&mut self, participants: &mut [Participant]) {
        for stream in &mut self.streams {
            if stream.rows == Rows::Paused && stream.owed.is_empty() && stream.kept.is_empty() {
                stream.resume(&self.name, self.batch, self.within, participants);
            }
        }
    }

    /// Closes what is still open on the servers; they answer after `go`.
    pub fn close(&mut self, participants: &mut [Participant]) {
        for stream in &mut self.streams {
            if let Some(participant) = participants.get_mut(stream.at)
                && stream.rows != Rows::Failed
            {
                stream.close(&self.name, participant);
            }
        }
    }

    /// The next of the wanted rows. `None`: every stream has ended.
    pub async fn next(
        &mut self,
        lines: &mut Lines<'_>,
        which: Which,
    ) -> Result<Option<Heard>, Halt> {
        std::future::poll_fn(|cx| {
            if lines.client.is_congested() && lines.client.poll_flush(cx)?.is_pending() {
                return lines.poll_rest(cx);
            }
            if let Poll::Ready(heard) = self.poll_streams(cx, lines, which, Io::Not) {
                return Poll::Ready(heard);
            }
            lines.flush(cx)?;
            match self.poll_streams(cx, lines, which, Io::Allowed) {
                Poll::Ready(heard) => Poll::Ready(heard),
                Poll::Pending => lines.poll_rest(cx),
            }
        })
        .await
    }

    /// Waits until no server owes anything; rows go nowhere. Errors are kept as [`Self::failure`]
    /// and end nothing.
    pub async fn finish(&mut self, lines: &mut Lines<'_>) -> Result<(), Halt> {
        self.drain(lines, Stream::owes, &mut |_, _| {}).await
    }

    /// Waits until every server has described the query.
    pub async fn describe(&mut self, lines: &mut Lines<'_>) -> Result<(), Halt> {
        self.drain(lines, Stream::owes_description, &mut |_, _| {}).await?;
        if self.failure.is_some() { Err(Halt::Failed) } else { Ok(()) }
    }

    /// Waits until every server has bound the query, and so planned it.
    pub async fn bound(&mut self, lines: &mut Lines<'_>) -> Result<(), Halt> {
        self.drain(lines, Stream::owes_binding, &mut |_, _| {}).await?;
        if self.failure.is_some() { Err(Halt::Failed) } else { Ok(()) }
    }

    /// Waits until every server has run its write to the end: PostgreSQL sends no row before. The first
    /// row of each is kept.
    pub async fn succeeded(&mut self, lines: &mut Lines<'_>) -> Result<(), Halt> {
        std::future::poll_fn(|cx| {
            lines.flush(cx)?;
            let mut waits = false;
            for index in 0..self.streams.len() {
                while let Some(stream) = self.streams.get_mut(index).filter(|s| s.is_undecided()) {
                    match stream.poll(cx, lines, Io::Allowed) {
                        Poll::Ready(Ok(Said::Row(row))) => stream.kept.push_back(row),
                        Poll::Ready(Ok(Said::Failed(body))) => {
                            self.failure.get_or_insert(Failure { stream: index, body });
                        }
                        Poll::Ready(Ok(Said::Ended | Said::Paused | Said::Nothing)) => {}
                        Poll::Ready(Err(broken)) => return Poll::Ready(Err(Halt::Broken(broken))),
                        Poll::Pending => {
                            waits = true;
                            break;
                        }
                    }
                }
            }
            match (self.failure.is_some(), waits) {
                (true, _) => Poll::Ready(Err(Halt::Failed)),
                (false, false) => Poll::Ready(Ok(())),
                (false, true) => lines.poll_rest(cx),
            }
        })
        .await
    }

    /// Waits until the servers are free for something else. Rows that have come are kept for later,
    /// at most so many bytes of them.
    pub async fn pause(
        &mut self,
        lines: &mut Lines<'_>,
        limit: usize,
    ) -> Result<Result<(), TooMuch>, Halt> {
        let mut kept: Vec<(usize, Row)> = Vec::new();
        let held: usize = self.streams.iter().flat_map(|s| &s.kept).map(|row| row.0.len()).sum();
        let mut left = limit.checked_sub(held);
        self.drain(lines, Stream::owes, &mut |stream, row| {
            left = left.and_then(|left| left.checked_sub(row.0.len()));
            if left.is_some() {
                kept.push((stream, row));
            }
        })
        .await?;
        if self.failure.is_some() {
            return Err(Halt::Failed);
        }
        for (stream, row) in kept {
            if let Some(stream) = self.streams.get_mut(stream) {
                stream.kept.push_back(row);
            }
        }
        Ok(left.map(|_| ()).ok_or(TooMuch))
    }

    pub(in crate::exec) async fn drain(
        &mut self,
        lines: &mut Lines<'_>,
        busy: fn(&Stream) -> bool,
        keep: &mut dyn FnMut(usize, Row),
    ) -> Result<(), Halt> {
        std::future::poll_fn(|cx| {
            lines.flush(cx)?;
            for index in 0..self.streams.len() {
                while let Some(stream) = self.streams.get_mut(index).filter(|stream| busy(stream)) {
                    match stream.poll(cx, lines, Io::Allowed) {
                        Poll::Ready(Ok(Said::Row(row))) => keep(index, row),
                        Poll::Ready(Ok(Said::Failed(body))) => self.note_failure(index, body),
                        Poll::Ready(Ok(Said::Ended | Said::Paused | Said::Nothing)) => {}
                        Poll::Ready(Err(broken)) => return Poll::Ready(Err(Halt::Broken(broken))),
                        Poll::Pending => break,
                    }
                }
            }
            match self.streams.iter().any(busy) {
                false => Poll::Ready(Ok(())),
                true => lines.poll_rest(cx),
            }
        })
        .await
    }

    pub(in crate::exec) fn note_failure(&mut self, stream: usize, body: Bytes) {
        let failure = Failure { stream, body };
        let expected = |known: &Failure| known.code() == SqlState::QUERY_CANCELED;
        if self.failure.is_none() || self.failing && self.failure.as_ref().is_some_and(expected) {
            self.failure = Some(failure);
        }
    }

    fn poll_streams(
        &mut self,
        cx: &mut Context<'_>,
        lines: &mut Lines<'_>,
        which: Which,
        io: Io,
    ) -> Poll<Result<Option<Heard>, Halt>> {
        match which {
            Which::Of(index) => self.poll_one(cx, lines, index, io).map_ok(Some),
            Which::Any => {
                let mut left = 0;
                for step in 0..self.streams.len() {
                    let index = (self.turn + step) % self.streams.len();
                    if self.streams.get(index).is_some_and(Stream::is_over) {
                        continue;
                    }
                    left += 1;
                    if let Poll::Ready(heard) = self.poll_one(cx, lines, index, io) {
                        self.turn = index;
                        return Poll::Ready(heard.map(Some));
                    }
                }
                if left == 0 { Poll::Ready(Ok(None)) } else { Poll::Pending }
            }
        }
    }

    fn poll_one(
        &mut self,
        cx: &mut Context<'_>,
        lines: &mut Lines<'_>,
        index: usize,
        io: Io,
    ) -> Poll<Result<Heard, Halt>> {
        loop {
            let Some(stream) = self.streams.get_mut(index) else {
                return Poll::Ready(Ok(Heard::End { stream: index }));
            };
            if let Some(row) = stream.kept.pop_front() {
                return Poll::Ready(Ok(Heard::Row { stream: index, row }));
            }
            match stream.rows {
                Rows::Ended | Rows::Over | Rows::NotAsked => {
                    stream.rows = Rows::Over;
                    return Poll::Ready(Ok(Heard::End { stream: index }));
                }
                Rows::Failed => return Poll::Ready(Err(Halt::Failed)),
                Rows::Paused if stream.owed.is_empty() => {
                    stream.resume(&self.name, self.batch, self.within, lines.participants);
                    lines.flush(cx)?;
                }
                Rows::Paused | Rows::Coming => {}
            }
            match stream.poll(cx, lines, io) {
                Poll::Ready(Ok(Said::Row(row))) => {
                    return Poll::Ready(Ok(Heard::Row { stream: index, row }));
                }
                Poll::Ready(Ok(Said::Failed(body))) => {
                    self.failure.get_or_insert(Failure { stream: index, body });
                    return Poll::Ready(Err(Halt::Failed));
                }
                Poll::Ready(Ok(Said::Ended | Said::Paused | Said::Nothing)) => {}
                Poll::Ready(Err(broken)) => return Poll::Ready(Err(Halt::Broken(broken))),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

/// More rows were on their way than may be kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooMuch;

impl Lines<'_> {
    /// Sends what servers have not been sent yet.
    pub(in crate::exec) fn flush(&mut self, cx: &mut Context<'_>) -> Result<(), Halt> {
        for (index, participant) in self.participants.iter_mut().enumerate() {
            if participant.lease.work.is_cut_off() {
                return Err(Halt::Broken(broken::cut_off(index, participant)));
            }
            let connection = &mut *participant.lease;
            let flushed = line::poll_flush(&mut connection.stream, &mut connection.output, cx);
            if let Poll::Ready(Err(error)) = flushed {
                return Err(Halt::Broken(broken::lost(index, participant, &error)));
            }
        }
        Ok(())
    }

    /// Nothing to do with rows: sends the client most of what it has not been sent, notices its hanging
    /// up, and the end of the statement's time.
    pub(in crate::exec) fn poll_rest<T>(&mut self, cx: &mut Context<'_>) -> Poll<Result<T, Halt>> {
        if let Poll::Ready(Err(error)) = self.client.poll_flush_most(cx) {
            return Poll::Ready(Err(error.into()));
        }
        if self.client.input.len() <= line::MAX_EARLY_BYTES {
            match self.client.poll_fill(cx) {
                Poll::Ready(Ok(0) | Err(_)) => {
                    return Poll::Ready(Err(Halt::Broken(Broken::Client)));
                }
                Poll::Ready(Ok(_)) => cx.waker().wake_by_ref(),
                Poll::Pending => {}
            }
        }
        self.budget.poll(cx).map(|()| Err(Halt::Late))
    }

    /// Waits until not too much is unsent to a participant.
    pub async fn make_room(&mut self, at: usize) -> Result<(), Halt> {
        std::future::poll_fn(|cx| {
            self.flush(cx)?;
            let output = self.participants.get(at).map(|participant| &participant.lease.output);
            match output.is_some_and(line::is_congested) {
                false => Poll::Ready(Ok(())),
                true => self.poll_rest(cx),
            }
        })
        .await
    }
}

/// Only the client's line can fail with no more than this.
impl From<io::Error> for Halt {
    fn from(_: io::Error) -> Self {
        Halt::Broken(Broken::Client)
    }
}
