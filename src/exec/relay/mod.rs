//! Carries answers from servers to the client, in the order in which the client asked.
//!
//! A statement's messages go to a server at once; what is expected in return is queued here as a
//! [`Reply`]. Only the server at the head of the queue is read, so answers of several servers never
//! mix, and a pipeline on one server is never run in lock-step. Result bytes go on untouched.
//!
//! - `reply`: what is expected of servers, in order
//! - `answer`: one answer: which messages it consists of, and what the client sees of them
mod answer;
mod reply;
pub use reply::{Edit, Reply, Show, Step};

use super::alarm::Alarm;
use super::broken::{Broken, cut_off, desync, ended, lost};
use super::budget::Budget;
use super::describe::ResultShape;
use super::fan_out::Lines;
use super::line::{self, Line};
use super::running::{Finished, Running, Since};
use super::spare;
use crate::error::{Blame, Error, SqlState};
use crate::pool::shapes::Ended;
use crate::txn::Participant;
use crate::wire::frame;
use crate::wire::server::ErrorFields;
use answer::{Advance, Head};
use bytes::BytesMut;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

/// Messages that must be seen whole (errors, notices, tags) may not be longer than this.
pub(super) const MAX_INSPECTED_BYTES: usize = 16 * 1024 * 1024;

/// After so many bytes in a row the thread's other sessions have their turn.
const TURN_BYTES: usize = 1024 * 1024;

/// Why `pump` came back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pumped {
    /// Nothing more is expected.
    Drained,
    /// The client has sent something.
    ClientSpoke,
    /// A server waits for the client's COPY data.
    CopyIn,
    /// An extended message failed on that participant: what follows up to Sync is void.
    Failed(usize),
    /// weir cannot pass an answer on, and has told the client so.
    Refused,
    /// The statement's time is up.
    Late,
}

#[derive(Default)]
pub struct Relay {
    replies: VecDeque<Reply>,
    /// Bytes of a started message that still go straight through (or away, if `false`).
    passing: (usize, bool),
    /// Between taking bytes from a server and handing them to the client.
    handing: bool,
    /// DataRow and CommandComplete frames of captured answers.
    pub captured: BytesMut,
    /// The last command tag, NUL left out.
    pub tag: Vec<u8>,
    /// SQLSTATE of the last error that a server reported; taken by the session.
    pub error: Option<SqlState>,
    /// The participant that reported it.
    pub erred: usize,
    /// The participant that waits for COPY data.
    pub copy_in: Option<usize>,
    /// What was forwarded in answer to Describes of statements, in order; taken by the session.
    pub described: VecDeque<ResultShape>,
    /// A Sync went to a server that was already in COPY mode, which ignores it.
    pub sync_ignored: bool,
    /// How many marks have been passed; taken by the session.
    pub marks: usize,
    /// What servers have said of parameters; the session tells the client before ReadyForQuery.
    pub reports: BTreeMap<String, Vec<u8>>,
    /// How many messages that run the client's statements have gone to servers.
    pub statements: u64,
    pub budget: Budget,
    /// Statements that have ended; taken by the session.
    pub finished: Vec<Finished>,
    /// So many replies at the head of the queue the servers were asked for: no message of the client is
    /// needed for them.
    owed: usize,
    /// When the last statement ended: until then the servers were busy with it.
    answered: Option<Instant>,
    /// The client has been slow to take the answer that is carried now.
    stalled: bool,
    /// The last read from a server gave all that was asked for.
    filled: bool,
    alarm: Alarm,
}

impl Relay {
    pub fn expect(&mut self, at: usize, step: Step, show: Show) {
        self.expect_edited(at, step, show, None);
    }

    pub fn expect_edited(&mut self, at: usize, step: Step, show: Show, edit: Option<Rc<Edit>>) {
        let runs = matches!(step, Step::Query | Step::Bind | Step::Execute);
        if runs && matches!(show, Show::Forward | Show::Notices) {
            self.statements += 1;
        }
        self.replies.push_back(Reply::Server { at, step, show, edit });
    }

    /// The answer that was queued last is this statement's.
    pub fn time(&mut self, running: Running) {
        self.replies.push_back(Reply::Timed(running));
    }

    /// The servers are asked for everything that is queued, now.
    pub fn asked(&mut self) {
        self.owed = self.replies.len();
        let mut now = None;
        for reply in self.replies.iter_mut().rev() {
            match reply {
                Reply::Timed(running) if running.is_asked() => break,
                Reply::Timed(running) => running.asks(*now.get_or_insert_with(Instant::now)),
                Reply::Local(_) | Reply::Server { .. } | Reply::Unsited | Reply::Mark => {}
            }
        }
    }

    /// Whether the servers were asked for everything that is queued.
    pub fn is_asked(&self) -> bool {
        self.owed >= self.replies.len()
    }

    /// What a fan-out needs while nothing is expected here.
    pub fn lines<'a>(
        &'a mut self,
        client: &'a mut Line,
        participants: &'a mut [Participant],
    ) -> Lines<'a> {
        debug_assert!(self.replies.is_empty(), "answers would mix");
        Lines { client, participants, budget: &mut self.budget, reports: &mut self.reports }
    }

    /// The participants that answers are expected of.
    pub fn owing(&self) -> BTreeSet<usize> {
        let of = |reply: &Reply| match reply {
            Reply::Server { at, .. } => Some(*at),
            Reply::Local(_) | Reply::Unsited | Reply::Mark | Reply::Timed(_) => None,
        };
        self.replies.iter().filter_map(of).collect()
    }

    pub fn mark(&mut self) {
        self.replies.push_back(Reply::Mark);
    }

    /// Queues a message of weir's own.
    pub fn local(&mut self, write: impl FnOnce(&mut BytesMut)) {
        let mut bytes = BytesMut::new();
        spare::lend_little(&mut bytes);
        write(&mut bytes);
        self.replies.push_back(Reply::Local(bytes));
    }

    pub fn unsited(&mut self) {
        self.replies.push_back(Reply::Unsited);
    }

    pub fn len(&self) -> usize {
        self.replies.len()
    }

    pub fn is_empty(&self) -> bool {
        self.replies.is_empty()
    }

    /// The queue from its first unsited reply on, to be queued again by who knows the sites.
    pub fn take_unsited(&mut self) -> impl Iterator<Item = Reply> {
        let first = self.replies.iter().position(|reply| matches!(reply, Reply::Unsited));
        self.replies.drain(first.unwrap_or(self.replies.len())..)
    }

    /// Whether the client has a part of a server's message: before its end nothing else can be said.
    pub fn is_within_message(&self) -> bool {
        self.handing || self.passing.0 > 0 && self.passing.1
    }

    pub fn push(&mut self, reply: Reply) {
        self.replies.push_back(reply);
    }

    /// Forgets what is expected: the servers are gone.
    pub fn abandon(&mut self) {
        self.replies.clear();
        self.error = None;
        self.owed = 0;
        self.copy_in = None;
        self.passing = (0, true);
        self.handing = false;
    }

    /// The segment has failed: of what is on its way nothing is shown. Only each ReadyForQuery is
    /// still expected; the server that failed answers no query before it has seen a Sync.
    pub fn void(&mut self, failed: Option<usize>) {
        self.replies.retain_mut(|reply| match reply {
            Reply::Server { at, step, show, .. } => {
                *show = Show::Discard;
                *step == Step::Sync || *step == Step::Query && Some(*at) != failed
            }
            Reply::Local(_) | Reply::Unsited | Reply::Mark | Reply::Timed(_) => false,
        });
        self.owed = self.replies.len();
        self.copy_in = None;
    }

    /// Whether a Sync is on its way to that participant.
    pub fn expects_sync(&self, of: usize) -> bool {
        let mut replies = self.replies.iter();
        replies.any(|r| matches!(r, Reply::Server { at, step: Step::Sync, .. } if *at == of))
    }

    /// Drops the Sync that a server in COPY mode has read and ignored; whether there was one.
    pub fn forget_sync(&mut self) -> bool {
        let before = self.replies.len();
        self.replies.retain(|reply| !matches!(reply, Reply::Server { step: Step::Sync, .. }));
        let forgotten = self.replies.len() < before;
        self.sync_ignored |= forgotten;
        forgotten
    }

    /// Moves bytes until something happens that the session must know.
    pub async fn pump(
        &mut self,
        client: &mut Line,
        participants: &mut [Participant],
        listen: Listen,
    ) -> Result<Pumped, Broken> {
        std::future::poll_fn(|cx| {
            let moved = self.poll(cx, client, participants, listen);
            let owes = listen != Listen::Client || self.owed > 0;
            match moved {
                Poll::Pending if owes => self.budget.poll(cx).map(|()| Ok(Pumped::Late)),
                Poll::Pending if self.budget.is_on() => {
                    self.budget.idles(Instant::now());
                    Poll::Pending
                }
                Poll::Ready(pumped) if self.budget.is_on() => {
                    self.budget.goes_on(Instant::now());
                    Poll::Ready(pumped)
                }
                Poll::Pending | Poll::Ready(_) => moved,
            }
        })
        .await
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut Line,
        participants: &mut [Participant],
        listen: Listen,
    ) -> Poll<Result<Pumped, Broken>> {
        for (index, participant) in participants.iter_mut().enumerate() {
            if participant.lease.work.is_cut_off() {
                return Poll::Ready(Err(cut_off(index, participant)));
            }
            let connection = &mut *participant.lease;
            let flushed = line::poll_flush(&mut connection.stream, &mut connection.output, cx);
            if let Poll::Ready(Err(error)) = flushed {
                return Poll::Ready(Err(lost(index, participant, &error)));
            }
        }
        match self.poll_replies(cx, client, participants) {
            Poll::Ready(Ok(Pumped::Drained)) if listen == Listen::Client => {}
            Poll::Ready(outcome) => return Poll::Ready(outcome),
            Poll::Pending => {}
        }
        let flushed = match listen {
            Listen::Hangup if !self.replies.is_empty() => self.poll_flush_most(cx, client),
            Listen::Hangup | Listen::Client | Listen::Either => client.poll_flush(cx),
        };
        if let Poll::Ready(Err(_)) = flushed {
            return Poll::Ready(Err(Broken::Client));
        }
        if hears_nothing(listen, client, participants) {
            return Poll::Pending;
        }
        if listen == Listen::Client && self.replies.is_empty() {
            for (index, participant) in participants.iter_mut().enumerate() {
                if let Some(broken) = poll_idle(cx, client, index, participant) {
                    return Poll::Ready(Err(broken));
                }
            }
            if let Poll::Ready(Err(_)) = client.poll_flush(cx) {
                return Poll::Ready(Err(Broken::Client));
            }
        }
        match client.poll_fill(cx) {
            Poll::Ready(Ok(0) | Err(_)) => Poll::Ready(Err(Broken::Client)),
            Poll::Ready(Ok(_)) if listen != Listen::Hangup => Poll::Ready(Ok(Pumped::ClientSpoke)),
            Poll::Ready(Ok(_)) => {
                // Early input is kept; look again, so that its end is noticed too.
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Pending => Poll::Pending,
        }
    }

    /// What weir itself answers waits for what servers do, as it would in PostgreSQL, and rows wait for
    /// more of them.
    fn poll_flush_most(&mut self, cx: &mut Context<'_>, client: &mut Line) -> Poll<io::Result<()>> {
        match client.rows_wait() {
            None => client.poll_flush_most(cx),
            Some(until) => {
                ready!(self.alarm.poll(until, cx));
                client.poll_flush(cx)
            }
        }
    }

    fn poll_replies(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut Line,
        participants: &mut [Participant],
    ) -> Poll<Result<Pumped, Broken>> {
        let mut carried = 0;
        loop {
            if client.is_congested() {
                match client.poll_flush(cx) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(_)) => return Poll::Ready(Err(Broken::Client)),
                    Poll::Pending => {
                        self.stalled = true;
                        return Poll::Pending;
                    }
                }
            }
            let head = match self.replies.front() {
                None => return Poll::Ready(Ok(Pumped::Drained)),
                Some(Reply::Unsited) => return Poll::Pending,
                Some(Reply::Local(bytes)) => {
                    if client.send(bytes, cx).is_err() {
                        return Poll::Ready(Err(Broken::Client));
                    }
                    if let Some(Reply::Local(mut bytes)) = self.pop() {
                        bytes.clear();
                        spare::give_back_little(&mut bytes);
                    }
                    continue;
                }
                Some(Reply::Mark) => {
                    self.marks += 1;
                    self.pop();
                    continue;
                }
                Some(Reply::Timed(_)) => {
                    self.note_end();
                    continue;
                }
                Some(Reply::Server { at, step, show, edit }) => {
                    Head { at: *at, step: *step, show: *show, edit: edit.clone() }
                }
            };
            let at = head.at;
            let Some(participant) = participants.get_mut(at) else {
                let error = Error::internal("an answer is expected of no participant");
                return Poll::Ready(Err(Broken::Server(at, error)));
            };
            match self.advance(cx, client, participant, &head)? {
                Advance::Done => drop(self.pop()),
                Advance::CopyIn => {
                    self.copy_in = Some(at);
                    return Poll::Ready(Ok(Pumped::CopyIn));
                }
                Advance::Refused => return Poll::Ready(Ok(Pumped::Refused)),
                Advance::Failed => {
                    self.pop();
                    if head.step == Step::Execute {
                        self.note_end();
                    }
                    return Poll::Ready(Ok(Pumped::Failed(at)));
                }
                Advance::NeedsBytes if carried >= TURN_BYTES => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Advance::NeedsBytes => {
                    let connection = &mut *participant.lease;
                    let room = self.room(client);
                    let (stream, input) = (&mut connection.stream, &mut connection.input);
                    match line::poll_fill_lent(stream, input, room, cx) {
                        Poll::Ready(Ok(0)) => {
                            let eof = io::ErrorKind::UnexpectedEof.into();
                            return Poll::Ready(Err(lost(at, participant, &eof)));
                        }
                        Poll::Ready(Ok(count)) => {
                            carried += count;
                            self.filled = count >= room;
                        }
                        Poll::Ready(Err(error)) => {
                            return Poll::Ready(Err(lost(at, participant, &error)));
                        }
                        Poll::Pending => return Poll::Pending,
                    }
                }
            }
        }
    }

    /// How much a server is asked for next: more, if it has all that at once and the client takes it.
    fn room(&self, client: &Line) -> usize {
        match self.filled && client.output.is_empty() {
            true => spare::SPARE_BYTES,
            false => line::READ_BYTES,
        }
    }

    fn statement_ended(&mut self) {
        if self.budget.is_on() {
            self.budget.renew(Instant::now());
        }
    }

    fn pop(&mut self) -> Option<Reply> {
        self.owed = self.owed.saturating_sub(1);
        self.replies.pop_front()
    }

    /// The answer before the head was a statement's, if the head says so.
    fn note_end(&mut self) {
        let Some(Reply::Timed(_)) = self.replies.front() else { return };
        let Some(Reply::Timed(running)) = self.pop() else { return };
        let now = Instant::now();
        let stalled = std::mem::take(&mut self.stalled);
        let since = Since { answered: self.answered.replace(now), stalled };
        let ended = self.error.map_or(Ended::Well, Ended::Failed);
        self.finished.push(running.ended(ended, since, now));
    }
}

/// Whether the client is listened to while answers are carried.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Listen {
    /// Come back when the client has spoken.
    Client,
    /// Come back when the client has spoken or nothing more is expected, whichever is first.
    Either,
    /// Wait for the answers, but notice a client that vanishes.
    Hangup,
}

/// Whether it is not the time to read more from the client: what it sent before has to go first.
fn hears_nothing(listen: Listen, client: &Line, participants: &[Participant]) -> bool {
    match listen {
        Listen::Hangup => client.input.len() > line::MAX_EARLY_BYTES,
        Listen::Client | Listen::Either => {
            participants.iter().any(|participant| line::is_congested(&participant.lease.output))
        }
    }
}

/// A tied server may speak while nothing is asked of it (NOTIFY); anything else is its end.
fn poll_idle(
    cx: &mut Context<'_>,
    client: &mut Line,
    index: usize,
    participant: &mut Participant,
) -> Option<Broken> {
    loop {
        let connection = &mut *participant.lease;
        match line::poll_fill(&mut connection.stream, &mut connection.input, cx) {
            Poll::Pending => return None,
            Poll::Ready(Ok(0)) => {
                let eof = io::ErrorKind::UnexpectedEof.into();
                return Some(lost(index, participant, &eof));
            }
            Poll::Ready(Err(error)) => return Some(lost(index, participant, &error)),
            Poll::Ready(Ok(_)) => {}
        }
        while let Ok(Some(header)) = frame::scan(&participant.lease.input, MAX_INSPECTED_BYTES) {
            if participant.lease.input.len() < header.len {
                break;
            }
            let message = participant.lease.input.split_to(header.len);
            match header.kind {
                b'A' | b'N' | b'S' => {
                    if client.send(&message, cx).is_err() {
                        return Some(Broken::Client);
                    }
                }
                b'E' => {
                    let error = ErrorFields::read(message.get(5..).unwrap_or_default());
                    let error = error.map(|fields| fields.to_error(Blame::Shard));
                    return Some(ended(index, participant, error.unwrap_or_else(Error::from)));
                }
                _ => return Some(desync(index, participant, "a message that nobody asked for")),
            }
        }
    }
}
