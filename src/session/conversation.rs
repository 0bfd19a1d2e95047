//! Take a message, act, carry answers: the loop of one session.
use super::parameters::Told;
use super::segment::Segment;
use super::simple::Ended;
use super::startup::Greeted;
use super::{Blocks, Database, PoolMode, Protocol, Serving, Session, Stop};
use crate::backend::cancel::cancel;
use crate::error::{Error, SqlState};
use crate::exec::broken::Broken;
use crate::exec::line::Line;
use crate::exec::relay::{Listen, Pumped, Relay};
use crate::ids::TierId;
use crate::plan::{Access, Context, Planned};
use crate::sql::encoding::{self, Encoding};
use crate::telemetry::metrics;
use crate::telemetry::panics::{self, Panicked};
use crate::txn::{Status, Transaction};
use crate::wire::{error_response, frame, frontend};
use bytes::Buf;
use std::borrow::Cow;
use std::cell::Cell;
use std::collections::{HashMap, VecDeque};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

/// Why weir ends a session, in PostgreSQL's words.
type Farewell = (SqlState, &'static str);
const SHUTDOWN: Farewell =
    (SqlState::ADMIN_SHUTDOWN, "terminating connection due to administrator command");
const LATE: Farewell = (SqlState(*b"57P05"), "terminating connection due to idle-session timeout");
const LATE_IN_TRANSACTION: Farewell = (
    SqlState::IDLE_IN_TRANSACTION_TIMEOUT,
    "terminating connection due to idle-in-transaction timeout",
);

/// Serves a client that has logged in, until it leaves.
pub async fn serve(
    client: Line,
    database: Rc<Database>,
    greeted: Greeted,
    mode: PoolMode,
    leaving: Rc<Cell<bool>>,
) {
    let plain = database.serving.load().rules.is_plain();
    let metrics = database.metrics.clone();
    let came = Instant::now();
    let mut session = Session::new(client, database, greeted, leaving);
    if mode == PoolMode::Statement {
        session.blocks = Blocks::Refused;
    }
    let slot = session.slot.clone();
    session.log_came();
    let unread = plain && mode == PoolMode::Session;
    let served = {
        let serving = pin!(async {
            match mode {
                PoolMode::Session if unread => session.relay_all().await,
                PoolMode::Session | PoolMode::Transaction | PoolMode::Statement => {
                    session.converse().await
                }
            }
        });
        let mut served = pin!(panics::contained(&metrics, serving));
        let until_thrown_out = std::future::poll_fn(|cx| match slot.is_thrown_out() {
            true => Poll::Ready(None),
            false => served.as_mut().poll(cx).map(Some),
        });
        until_thrown_out.await
    };
    match served {
        Some(Ok(())) => {}
        // In a box: few sessions end so, and every client's task would have room for it.
        Some(Err(Panicked)) => Box::pin(session.fall(panicked(), unread)).await,
        None => {
            let ended = Error::client(SHUTDOWN.0, SHUTDOWN.1).fatal();
            Box::pin(session.fall(ended, unread)).await;
        }
    }
    session.log_left(came);
}

fn panicked() -> Error {
    let hint =
        "look whether the last statement took effect before you repeat it; weir's log says more";
    Error::internal("weir has failed in the middle of this session").hint(hint).fatal()
}

impl Session {
    fn new(
        client: Line,
        database: Rc<Database>,
        greeted: Greeted,
        leaving: Rc<Cell<bool>>,
    ) -> Self {
        let mut relay = Relay::default();
        relay.budget.doom = greeted.slot.doom.clone();
        Self {
            client,
            relay,
            txn: Transaction::new(greeted.settings),
            serving: database.serving.load_full(),
            serving_at_savepoint: Vec::new(),
            database,
            login: greeted.login,
            slot: greeted.slot,
            statements: foldhash::HashMap::default(),
            portals: super::portals::Portals::default(),
            unsited: VecDeque::new(),
            describing: VecDeque::new(),
            held: VecDeque::new(),
            segment: Segment::Sound,
            skip: 0,
            changes: Vec::new(),
            told: Told::new(greeted.parameters),
            edit: None,
            protocol: Protocol::Simple,
            configured: Vec::new(),
            written: HashMap::new(),
            cursors: HashMap::new(),
            temporary: Vec::new(),
            turn: None,
            described: None,
            default_tier: greeted.tier,
            blocks: Blocks::Allowed,
            resting: true,
            passed_on: None,
            deciding: false,
            leaving,
            seen: Box::default(),
        }
    }

    async fn converse(&mut self) {
        loop {
            match self.take_messages().await {
                Ok(()) => {}
                Err(Ended) => break,
            }
            if self.is_idle() {
                self.client.release_buffers();
            }
            self.count_moved();
            match self.listen().await {
                Ok(Pumped::ClientSpoke | Pumped::Drained) => {}
                Ok(Pumped::CopyIn) => {
                    if let Err(Stop::End) = self.feed_copy().await {
                        break;
                    }
                }
                Ok(Pumped::Failed(at)) => self.fail_segment(Some(at)),
                Ok(Pumped::Refused) => self.fail_segment(None),
                Ok(Pumped::Late) => {
                    let outcome = self.late().await;
                    if self.conclude(outcome).is_err() {
                        break;
                    }
                }
                Err(Broken::Client) => break,
                Err(Broken::Server(_, error)) => {
                    if self.lost_while_waiting(&error).await.is_err() {
                        break;
                    }
                }
            }
        }
        self.count_moved();
        self.stop_running().await;
        // What is open is rolled back by closing it.
        self.lose_participants("its client left").await;
    }

    /// It ends half-way through something: its servers are not used again, and the client is told, unless
    /// that would become a part of an answer. `unread`: nobody knows where in an answer the client is.
    async fn fall(&mut self, farewell: Error, unread: bool) {
        /// The client may have ceased to read.
        const PATIENCE: Duration = Duration::from_secs(1);
        let half_said = unread || self.relay.is_within_message();
        // Where bytes are relayed unread nobody knows whether something runs. None of them is used again.
        self.cancel_all().await;
        self.lose_participants("its session was ended").await;
        if !half_said {
            drop(tokio::time::timeout(PATIENCE, self.say_goodbye(&farewell)).await);
        }
    }

    /// A statement that still runs for a client that has left is cancelled: PostgreSQL would notice
    /// the closed connection only when it next writes to it.
    async fn stop_running(&mut self) {
        if !self.relay.is_empty() {
            self.cancel_all().await;
        }
    }

    async fn cancel_all(&self) {
        /// The request is a courtesy: the connection is closed whether it arrives or not.
        const PATIENCE: Duration = Duration::from_secs(1);
        for participant in &self.txn.participants {
            let sent = tokio::time::timeout(PATIENCE, cancel(&participant.lease.cancel)).await;
            if !matches!(sent, Ok(Ok(()))) {
                tracing::debug!(shard = %participant.shard, "could not cancel for a client that left");
            }
        }
    }

    fn is_idle(&self) -> bool {
        self.txn.status() == Status::Idle && self.relay.is_empty() && self.client.input.is_empty()
    }

    /// Waits for the client, and for servers that owe answers.
    async fn listen(&mut self) -> Result<Pumped, Broken> {
        let limits = &self.database.limits;
        let (limit, end) = match (self.relay.is_empty(), self.txn.status()) {
            (false, _) => (None, LATE_IN_TRANSACTION),
            (true, Status::Idle) => (limits.client_idle, LATE),
            (true, Status::Open(_) | Status::Failed(_)) => {
                let tier = self.session_tier().unwrap_or(TierId::INTERACTIVE);
                let limit = limits.idle_in_transaction.get(usize::from(tier.0));
                (limit.copied().flatten(), LATE_IN_TRANSACTION)
            }
        };
        let (may_leave, leaving) = (self.is_idle(), self.leaving.clone());
        let heard = {
            let participants = &mut self.txn.participants;
            let mut pump = pin!(self.relay.pump(&mut self.client, participants, Listen::Client));
            let heard = std::future::poll_fn(|cx| match may_leave && leaving.get() {
                true => Poll::Ready(Err(SHUTDOWN)),
                false => pump.as_mut().poll(cx).map(Ok),
            });
            match limit {
                None => heard.await,
                Some(limit) => tokio::time::timeout(limit, heard).await.unwrap_or(Err(end)),
            }
        };
        match heard {
            Ok(pumped) => pumped,
            Err((code, message)) => {
                self.say_goodbye(&Error::client(code, message).fatal()).await;
                Err(Broken::Client)
            }
        }
    }

    /// A server was lost while the session waited for its client.
    async fn lost_while_waiting(&mut self, error: &Error) -> Result<(), Ended> {
        let tied = self.txn.participants.iter().any(|participant| participant.tied);
        let expecting = !self.relay.is_empty();
        let half_said = self.relay.is_within_message();
        self.lose_participants("a server of its transaction was lost").await;
        // An error would be taken for the rest of the message: the line's end has to say it.
        if half_said {
            return Err(Ended);
        }
        if tied || !expecting {
            // Nobody has asked anything that could be answered with this error.
            self.say_goodbye(&error.clone().fatal()).await;
            return Err(Ended);
        }
        self.told(error);
        self.segment = Segment::Failed;
        Ok(())
    }

    /// Statement pooling: a client that is left in a transaction block is told so and sent home, as by
    /// PgBouncer; what it has begun is rolled back.
    pub(super) async fn refuse_block(&mut self) -> Ended {
        let error = Error::client(
            SqlState::PROTOCOL_VIOLATION,
            "transaction blocks not allowed in statement pooling mode",
        );
        self.say_goodbye(&error.fatal()).await;
        Ended
    }

    /// Whether it is in a transaction block, and may not be.
    pub(super) fn is_in_refused_block(&self) -> bool {
        self.blocks == Blocks::Refused && self.txn.status() != Status::Idle
    }

    pub(super) async fn say_goodbye(&mut self, error: &Error) {
        self.note_own_error(error);
        error_response::write(error, &mut self.client.output);
        // The client may be gone already; there is nobody left to tell.
        drop(self.client.flush().await);
    }

    /// Acts on every whole message that has arrived.
    async fn take_messages(&mut self) -> Result<(), Ended> {
        loop {
            let skipped = self.skip.min(self.client.input.len());
            self.client.input.advance(skipped);
            self.skip -= skipped;
            let header = match frame::scan(&self.client.input, self.database.limits.message_bytes) {
                Ok(Some(header)) if self.client.input.len() >= header.len => header,
                Ok(_) => return Ok(()),
                Err(error) => {
                    self.say_goodbye(&Error::from(error).fatal()).await;
                    return Err(Ended);
                }
            };
            let copied = matches!(header.kind, b'd' | b'c' | b'f');
            if copied && !self.relay.is_empty() && self.segment == Segment::Sound {
                // Sent along with the Execute that will ask for it.
                let outcome = self.catch_up().await;
                self.conclude(outcome)?;
                continue;
            }
            let message = self.client.take(header.len);
            let body = message.get(5..).unwrap_or_default();
            let kind = match frontend::Kind::of(header.kind) {
                Ok(kind) => kind,
                Err(error) => {
                    self.say_goodbye(&Error::from(error).fatal()).await;
                    return Err(Ended);
                }
            };
            self.act(kind, body).await?;
            self.client.done_with(message);
        }
    }

    async fn act(&mut self, kind: frontend::Kind, body: &[u8]) -> Result<(), Ended> {
        use frontend::Kind;
        if std::mem::take(&mut self.resting) {
            self.slot.forget().await;
            self.passed_on = None;
        }
        self.refresh();
        match kind {
            Kind::Query => self.query_message(body).await,
            Kind::Sync => self.sync().await,
            Kind::Parse
            | Kind::Bind
            | Kind::Describe
            | Kind::Execute
            | Kind::Close
            | Kind::Flush => self.extended(kind, body).await,
            // What a client still sends of a COPY that has failed.
            Kind::CopyData | Kind::CopyDone | Kind::CopyFail => Ok(()),
            Kind::Terminate => Err(Ended),
            Kind::FunctionCall => self.function_call(body).await,
            Kind::Password => {
                let error = Error::client(
                    SqlState::PROTOCOL_VIOLATION,
                    "a password message after authentication",
                );
                self.say_goodbye(&error.fatal()).await;
                Err(Ended)
            }
        }
    }

    async fn query_message(&mut self, body: &[u8]) -> Result<(), Ended> {
        if !self.leave_segment().await? {
            return Ok(());
        }
        self.protocol = Protocol::Simple;
        // As in PostgreSQL, a simple query ends the unnamed statement and portal.
        if !self.statements.is_empty() {
            self.statements.remove("");
        }
        self.portals.remove("");
        match frontend::Query::read(body) {
            Ok(query) => self.simple_query(query.sql).await,
            Err(error) => self.conclude_simple(Err(Stop::Say(error.into()))).await,
        }
    }

    /// Between transactions the newest rules and catalog come into force.
    pub(super) fn refresh(&mut self) {
        let between = self.relay.is_empty() && self.txn.unsynced().is_empty();
        if self.txn.status() == Status::Idle && between {
            let current = self.database.serving.load();
            if !Arc::ptr_eq(&current, &self.serving) {
                self.note_servers(&current);
                self.database.observed.forget();
                self.serving = current.clone();
                self.serving_at_savepoint.clear();
            }
            self.txn.expect_isolation(self.serving.servers.footing.isolation());
        }
    }

    /// Under other servers a shard's number may mean another shard, and one that had no replica may have
    /// one now: nobody knows what was written where, so all of it counts as written just now.
    fn note_servers(&mut self, next: &Serving) {
        if !Arc::ptr_eq(&next.servers, &self.serving.servers) {
            let now = Instant::now();
            self.written = next.rules.shard_ids().map(|shard| (shard, now)).collect();
        }
    }

    /// A statement's text as weir reads it: within the limit, and in an encoding in which no byte
    /// of another character can be taken for a quote.
    pub(super) fn readable<'a>(&self, sql: &'a [u8]) -> Result<Cow<'a, str>, Error> {
        let limit = self.database.limits.statement_bytes;
        if sql.len() > limit {
            return Err(Error::client(
                SqlState::PROGRAM_LIMIT_EXCEEDED,
                format!("statement of {} bytes is longer than the limit of {limit}", sql.len()),
            )
            .hint("raise limits.statement_bytes in weir.toml, or use COPY"));
        }
        match self.encoding() {
            Encoding::Utf8 => std::str::from_utf8(sql)
                .map(Cow::Borrowed)
                .map_err(|error| encoding::invalid_utf8(sql, error.valid_up_to())),
            // Keys and names would have to be read as the server will read them.
            Encoding::Bytes if self.serving.rules.is_plain() || sql.is_ascii() => {
                Ok(encoding::from_bytes(sql))
            }
            Encoding::Unsafe if sql.is_ascii() => Ok(encoding::from_bytes(sql)),
            Encoding::Bytes | Encoding::Unsafe => Err(Error::refused(
                "a statement with characters beyond ASCII in a client encoding other than UTF8",
                "SET client_encoding = 'UTF8'",
            )),
        }
    }

    /// In what the client writes its statements.
    pub(super) fn encoding(&self) -> Encoding {
        self.txn.settings.reading().encoding
    }

    pub(super) fn standard_conforming_strings(&self) -> bool {
        self.txn.settings.reading().standard_conforming_strings
    }

    /// What planning has to know of this session.
    pub(super) fn context(&self) -> Context<'_> {
        let reading = self.txn.settings.reading();
        Context {
            rules: &self.serving.rules,
            catalog: &self.serving.catalog,
            search_path: reading.search_path.as_deref().unwrap_or("\"$user\", public"),
            user: reading.role.as_deref().unwrap_or(&self.login.user),
            standard_conforming_strings: reading.standard_conforming_strings,
            temporary: &self.temporary,
            named_shard: self.txn.settings.own().shard,
        }
    }

    pub(super) fn count(&self, planned: &Planned, at: usize) {
        if let Some(participant) = self.txn.participants.get(at) {
            let access = match planned.plan.access {
                Access::Read => metrics::Access::Read,
                Access::Lock => metrics::Access::Lock,
                Access::Write => metrics::Access::Write,
            };
            self.database.counters.statement(participant.shard, access);
        }
    }
}
