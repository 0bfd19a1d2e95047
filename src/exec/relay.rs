//! Carries answers from servers to the client, in the order in which the client asked.
//!
//! A statement's messages go to a server at once; what is expected in return is queued here as a
//! [`Reply`]. Only the server at the head of the queue is read, so answers of several servers never
//! mix, and a pipeline on one server is never run in lock-step. Result bytes go on untouched.
use super::budget::{self, Budget};
use super::describe::ResultShape;
use super::fan_out::Lines;
use super::line::{self, Line};
use crate::error::{Blame, Error, Severity, SqlState};
use crate::pool::shapes::{Call, Ended};
use crate::txn::{Begun, Participant};
use crate::wire::error_response;
use crate::wire::frame;
use crate::wire::server::{self, ErrorFields, ParameterDescription, RowDescription};
use bytes::{Buf, BytesMut};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

/// Messages that must be seen whole (errors, notices, tags) may not be longer than this.
pub(super) const MAX_INSPECTED_BYTES: usize = 16 * 1024 * 1024;

/// What one expected answer consists of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    Parse,
    Bind,
    DescribeStatement,
    DescribePortal,
    Execute,
    Close,
    /// Up to ReadyForQuery after a Sync.
    Sync,
    /// Up to ReadyForQuery after a simple query.
    Query,
}

/// What the client sees of an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Show {
    Forward,
    /// Nothing, unless it is an error: that is the client's.
    Swallow,
    /// Nothing, and rows and tags are kept for weir itself.
    Capture,
    /// Nothing at all, whatever comes.
    Discard,
}

/// One expected answer.
#[derive(Debug)]
pub enum Reply {
    /// weir's own bytes, at their place in the order.
    Local(Vec<u8>),
    Server {
        at: usize,
        step: Step,
        show: Show,
        edit: Option<Rc<Edit>>,
    },
    /// Which server answers is not known yet.
    Unsited,
    /// No answer: everything before it has been answered.
    Mark,
    /// No answer: the one before it was this call's.
    Timed(Call),
}

/// How an error speaks of the client's statement, where a server was sent another text.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Edit {
    /// What is added to an error's position, in characters.
    pub shift: i32,
    /// A server's name for a prepared statement, and the client's.
    pub name: Option<(String, String)>,
}

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

/// What ends a session or a participant.
#[derive(Debug)]
pub enum Broken {
    /// The client is gone.
    Client,
    /// A participant's connection is unusable: its position and why.
    Server(usize, Error),
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
    /// So many replies at the head of the queue the servers were asked for: no message of the client is
    /// needed for them.
    owed: usize,
    /// When the last call ended: until then the servers were busy with it.
    answered: Option<Instant>,
    /// The client has been slow to take the answer that is carried now.
    stalled: bool,
}

/// The answer that is read now.
struct Head {
    at: usize,
    step: Step,
    show: Show,
    edit: Option<Rc<Edit>>,
}

impl Edit {
    /// A field of an error in the client's terms; `None` where it stays.
    fn text(&self, field: u8, text: &[u8]) -> Option<Vec<u8>> {
        let text = std::str::from_utf8(text).ok()?;
        match (field, &self.name) {
            (b'P', _) => {
                let position = text.parse::<i32>().ok()?.saturating_add(self.shift);
                Some(position.max(1).to_string().into_bytes())
            }
            (b'M', Some((theirs, ours))) => {
                let (theirs, ours) = (format!("\"{theirs}\""), format!("\"{ours}\""));
                Some(text.replace(&theirs, &ours).into_bytes())
            }
            _ => None,
        }
    }
}

/// How far the head of the queue got.
enum Advance {
    NeedsBytes,
    Done,
    CopyIn,
    Failed,
    Refused,
}

impl Relay {
    pub fn expect(&mut self, at: usize, step: Step, show: Show) {
        self.expect_edited(at, step, show, None);
    }

    pub fn expect_edited(&mut self, at: usize, step: Step, show: Show, edit: Option<Rc<Edit>>) {
        if show == Show::Forward && matches!(step, Step::Query | Step::Bind | Step::Execute) {
            self.statements += 1;
        }
        self.replies.push_back(Reply::Server { at, step, show, edit });
    }

    /// The answer that was queued last is this call's.
    pub fn time(&mut self, call: Option<Call>) {
        self.replies.extend(call.map(Reply::Timed));
    }

    /// The servers are asked for everything that is queued, now.
    pub fn asked(&mut self) {
        self.owed = self.replies.len();
        let mut now = None;
        for reply in self.replies.iter_mut().rev() {
            match reply {
                Reply::Timed(call) if call.is_asked() => break,
                Reply::Timed(call) => call.asks(*now.get_or_insert_with(Instant::now)),
                Reply::Local(_) | Reply::Server { .. } | Reply::Unsited | Reply::Mark => {}
            }
        }
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
        write(&mut bytes);
        self.replies.push_back(Reply::Local(bytes.to_vec()));
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
    pub fn take_unsited(&mut self) -> VecDeque<Reply> {
        let first = self.replies.iter().position(|reply| matches!(reply, Reply::Unsited));
        match first {
            Some(first) => self.replies.split_off(first),
            None => VecDeque::new(),
        }
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
        if let Poll::Ready(Err(_)) = client.poll_flush(cx) {
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

    fn poll_replies(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut Line,
        participants: &mut [Participant],
    ) -> Poll<Result<Pumped, Broken>> {
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
            let (at, step, show, edit) = match self.replies.front() {
                None => return Poll::Ready(Ok(Pumped::Drained)),
                Some(Reply::Unsited) => return Poll::Pending,
                Some(Reply::Local(bytes)) => {
                    client.output.extend_from_slice(bytes);
                    self.pop();
                    continue;
                }
                Some(Reply::Mark) => {
                    self.marks += 1;
                    self.pop();
                    continue;
                }
                Some(Reply::Timed(_)) => {
                    self.call_ended();
                    continue;
                }
                Some(Reply::Server { at, step, show, edit }) => (*at, *step, *show, edit.clone()),
            };
            let Some(participant) = participants.get_mut(at) else {
                let error = Error::internal("an answer is expected of no participant");
                return Poll::Ready(Err(Broken::Server(at, error)));
            };
            match self.advance(cx, client, participant, Head { at, step, show, edit })? {
                Advance::Done => drop(self.pop()),
                Advance::CopyIn => {
                    self.copy_in = Some(at);
                    return Poll::Ready(Ok(Pumped::CopyIn));
                }
                Advance::Refused => return Poll::Ready(Ok(Pumped::Refused)),
                Advance::Failed => {
                    self.pop();
                    if step == Step::Execute {
                        self.call_ended();
                    }
                    return Poll::Ready(Ok(Pumped::Failed(at)));
                }
                Advance::NeedsBytes => {
                    let connection = &mut *participant.lease;
                    match line::poll_fill(&mut connection.stream, &mut connection.input, cx) {
                        Poll::Ready(Ok(0)) => {
                            let eof = io::ErrorKind::UnexpectedEof.into();
                            return Poll::Ready(Err(lost(at, participant, &eof)));
                        }
                        Poll::Ready(Ok(_)) => {}
                        Poll::Ready(Err(error)) => {
                            return Poll::Ready(Err(lost(at, participant, &error)));
                        }
                        Poll::Pending => return Poll::Pending,
                    }
                }
            }
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

    /// The answer before the head was a call's, if the head says so.
    fn call_ended(&mut self) {
        let Some(Reply::Timed(_)) = self.replies.front() else { return };
        let Some(Reply::Timed(call)) = self.pop() else { return };
        let now = Instant::now();
        let since = match std::mem::take(&mut self.stalled) {
            true => Some(now),
            false => self.answered,
        };
        self.answered = Some(now);
        call.ended(self.error.map_or(Ended::Well, Ended::Failed), since, now);
    }

    /// Takes from the head's server what belongs to the head's step. Runs of messages that go on
    /// untouched are sent with one write.
    fn advance(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut Line,
        participant: &mut Participant,
        head: Head,
    ) -> Result<Advance, Broken> {
        let Head { at, step, show, edit } = head;
        let mut taken = 0;
        let mut run = 0;
        self.handing = true;
        // Whatever ends it, what was taken is handed on: the client may have had its beginning.
        let outcome = loop {
            let rest = participant.lease.input.get(taken..).unwrap_or_default();
            if self.passing.0 > 0 {
                let step = self.passing.0.min(rest.len());
                if step == 0 {
                    break Ok(Advance::NeedsBytes);
                }
                self.passing.0 -= step;
                taken += step;
                if !self.passing.1 {
                    run = taken;
                }
                continue;
            }
            let header = match frame::scan(rest, i32::MAX as usize) {
                Ok(Some(header)) => header,
                Ok(None) => break Ok(Advance::NeedsBytes),
                Err(_) => {
                    break Err(desync(at, participant, "a message of impossible length"));
                }
            };
            if is_bulk(header.kind) {
                let forward = show == Show::Forward;
                if show == Show::Capture && header.kind == b'D' {
                    if rest.len() < header.len {
                        break Ok(Advance::NeedsBytes);
                    }
                    self.captured.extend_from_slice(rest.get(..header.len).unwrap_or_default());
                }
                if !forward {
                    send_run(client, &participant.lease.input, run, taken, cx)?;
                    run = taken;
                }
                self.passing = (header.len, forward);
                continue;
            }
            if header.len > MAX_INSPECTED_BYTES {
                break Err(desync(at, participant, "a control message that is too long"));
            }
            let Some(message) = rest.get(..header.len) else { break Ok(Advance::NeedsBytes) };
            let body = message.get(5..).unwrap_or_default();
            if header.kind == b'E'
                && let Ok(fields) = ErrorFields::read(body)
                && fields.is_fatal()
            {
                break Err(ended(at, participant, fields.to_error(Blame::Shard)));
            }
            let seen = self.see(header.kind, body, step, show);
            if let Seen::Status(status) = seen {
                participant.status = status;
            }
            let heard = (header.kind == b'S').then(|| message.to_vec());
            if let Some(heard) = heard {
                let body = heard.get(5..).unwrap_or_default();
                if let Err(reason) = self.hear_parameter(body, participant) {
                    break Err(desync(at, participant, reason));
                }
            }
            let ours = header.kind == b'E'
                && self.budget.was_cancelled()
                && self.error == Some(SqlState::QUERY_CANCELED);
            let translated = match ours {
                true => Some(Ok(canceled())),
                false => translated(header.kind, participant, taken, header.len, edit.as_deref()),
            };
            if translated.is_some() || !shows(header.kind, show) {
                send_run(client, &participant.lease.input, run, taken, cx)?;
                run = taken + header.len;
            }
            taken += header.len;
            if step == Step::DescribeStatement && show == Show::Capture {
                let message = participant.lease.input.get(taken - header.len..taken);
                self.captured.extend_from_slice(message.unwrap_or_default());
            }
            if step == Step::DescribeStatement && show == Show::Forward {
                let sent = participant.lease.input.get(taken - header.len + 5..taken);
                let shown = match &translated {
                    Some(Ok(message)) => message.get(5..),
                    Some(Err(_)) | None => sent,
                };
                self.note_description(header.kind, shown.unwrap_or_default());
            }
            match translated {
                Some(Ok(message)) if shows(header.kind, show) => {
                    client.send(&message, cx).map_err(|_| Broken::Client)?;
                }
                Some(Ok(_)) | None => {}
                Some(Err(error)) => {
                    error_response::write(&error, &mut client.output);
                    break Ok(Advance::Refused);
                }
            }
            match seen {
                Seen::Goes => {}
                Seen::Status(_) | Seen::Ends => break Ok(Advance::Done),
                Seen::CopyIn => break Ok(Advance::CopyIn),
                Seen::Failed => break Ok(Advance::Failed),
                Seen::Alien => break Err(desync(at, participant, "a message out of turn")),
            }
        };
        send_run(client, &participant.lease.input, run, taken, cx)?;
        participant.lease.input.advance(taken);
        self.handing = false;
        outcome
    }

    fn hear_parameter(
        &mut self,
        body: &[u8],
        participant: &mut Participant,
    ) -> Result<(), &'static str> {
        participant.lease.hear_parameter(body)?;
        // What holds in a transaction of weir's own is no concern of the client's.
        if participant.begun != Begun::Aside
            && let Ok((name, value)) = server::parameter_status(body)
        {
            self.reports.insert(name.to_owned(), value.to_vec());
        }
        Ok(())
    }

    /// What a control message means for the step it came in.
    fn see(&mut self, kind: u8, body: &[u8], step: Step, show: Show) -> Seen {
        match kind {
            b'Z' => match (step, server::ready_status(body)) {
                (Step::Sync | Step::Query, Ok(status)) => Seen::Status(status),
                _ => Seen::Alien,
            },
            b'E' => {
                if show != Show::Discard {
                    let code = ErrorFields::read(body).map(|fields| fields.code());
                    self.error = Some(code.unwrap_or(SqlState::INTERNAL_ERROR));
                }
                match step {
                    Step::Sync | Step::Query => Seen::Goes,
                    _ => Seen::Failed,
                }
            }
            b'N' | b'S' | b'A' => Seen::Goes,
            _ if show == Show::Discard => Seen::Goes,
            b'C' => {
                self.statement_ended();
                self.tag.clear();
                self.tag.extend_from_slice(body.strip_suffix(&[0]).unwrap_or(body));
                self.ends_or_goes(kind, step)
            }
            b'G' if matches!(step, Step::Execute | Step::Query) => Seen::CopyIn,
            b's' | b'I' if show == Show::Forward => {
                self.statement_ended();
                self.ends_or_goes(kind, step)
            }
            b'I' | b's' | b'1' | b'2' | b'3' | b'n' | b't' => self.ends_or_goes(kind, step),
            b'T' => match step {
                Step::DescribePortal | Step::DescribeStatement => Seen::Ends,
                _ => Seen::Goes,
            },
            b'H' | b'c' | b'V' => Seen::Goes,
            _ => Seen::Alien,
        }
    }

    fn note_description(&mut self, kind: u8, body: &[u8]) {
        match (kind, RowDescription::read(body)) {
            (b'T', Ok(description)) => self.described.push_back(ResultShape::of(&description)),
            (b'n', _) => self.described.push_back(ResultShape::NOTHING),
            _ => {}
        }
    }

    fn ends_or_goes(&self, kind: u8, step: Step) -> Seen {
        match (step, kind) {
            (Step::Query, b'C' | b'I') => Seen::Goes,
            (Step::Parse, b'1')
            | (Step::Bind, b'2')
            | (Step::Close, b'3')
            | (Step::DescribePortal | Step::DescribeStatement, b'n')
            | (Step::Execute, b'C' | b'I' | b's') => Seen::Ends,
            (Step::DescribeStatement, b't') => Seen::Goes,
            _ => Seen::Alien,
        }
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

enum Seen {
    Goes,
    Ends,
    Status(server::TransactionStatus),
    CopyIn,
    Failed,
    Alien,
}

/// A server's "canceling statement due to user request", where the user is weir.
fn canceled() -> BytesMut {
    let mut message = BytesMut::new();
    error_response::write(&budget::canceled(), &mut message);
    message
}

/// A description with the ids that the home shard uses, an error in the client's terms; `None` where
/// that is the same anyway.
fn translated(
    kind: u8,
    participant: &Participant,
    from: usize,
    length: usize,
    edit: Option<&Edit>,
) -> Option<Result<BytesMut, Error>> {
    let body = participant.lease.input.get(from + 5..from + length)?;
    let mut message = BytesMut::new();
    if let (b'E' | b'N', Some(edit)) = (kind, edit) {
        let fields = ErrorFields::read(body).ok()?;
        fields.write_edited(kind, |field, text| edit.text(field, text), &mut message);
        return Some(Ok(message));
    }
    let translation = participant.translation.as_deref()?;
    match kind {
        b'T' => {
            let description = RowDescription::read(body).ok()?;
            if let Err(error) = translation.check(&description) {
                return Some(Err(error));
            }
            let table = |oid| translation.table_at_home(oid);
            description.write_mapped(table, |oid| translation.type_at_home(oid), &mut message);
        }
        b't' => {
            let description = ParameterDescription::read(body).ok()?;
            description.write_mapped(|oid| translation.type_at_home(oid), &mut message);
        }
        _ => return None,
    }
    Some(Ok(message))
}

/// Messages that carry data: passed on without waiting for their end.
fn is_bulk(kind: u8) -> bool {
    matches!(kind, b'D' | b'd')
}

fn shows(kind: u8, show: Show) -> bool {
    match show {
        Show::Forward => !matches!(kind, b'Z' | b'S'),
        Show::Swallow | Show::Capture => matches!(kind, b'E' | b'A'),
        Show::Discard => kind == b'A',
    }
}

fn send_run(
    client: &mut Line,
    input: &BytesMut,
    from: usize,
    to: usize,
    cx: &mut Context<'_>,
) -> Result<(), Broken> {
    match input.get(from..to) {
        Some(bytes) if !bytes.is_empty() => client.send(bytes, cx).map_err(|_| Broken::Client),
        _ => Ok(()),
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

pub(super) fn lost(index: usize, participant: &mut Participant, cause: &io::Error) -> Broken {
    participant.lease.broke();
    let error = Error::shard(
        SqlState::CONNECTION_FAILURE,
        format!("lost the connection to shard {}: {cause}", participant.shard),
    );
    Broken::Server(
        index,
        error.hint(
            "the statement may or may not have taken effect there; look before you repeat it",
        ),
    )
}

/// Another server is the primary now: what this one still does, nobody will see again.
pub(super) fn cut_off(index: usize, participant: &mut Participant) -> Broken {
    participant.lease.taint("its server is not the primary any more");
    let message = format!("{} is not the primary any more", participant.lease.work.server.name);
    let error = Error::shard(SqlState::CONNECTION_FAILURE, message);
    Broken::Server(index, error.hint("run the transaction again: it goes to the new primary"))
}

/// The server has ended its session. The client's may go on, so to the client this is not fatal.
pub(super) fn ended(index: usize, participant: &mut Participant, mut error: Error) -> Broken {
    participant.lease.taint("the server ended its session");
    error.severity = Severity::Error;
    Broken::Server(index, error)
}

pub(super) fn desync(index: usize, participant: &mut Participant, what: &str) -> Broken {
    participant.lease.taint("it broke the protocol");
    Broken::Server(
        index,
        Error::shard(
            SqlState::PROTOCOL_VIOLATION,
            format!("shard {} sent {what}", participant.shard),
        ),
    )
}
