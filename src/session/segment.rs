//! From one Sync to the next: one implicit transaction, as in PostgreSQL. Messages that name no shard
//! wait for one; an error voids what follows; the Sync ends it on every server that took part.
use super::simple::Ended;
use super::statements::Statement;
use super::{Session, Stop};
use crate::error::{Error, SqlState};
use crate::exec::relay::{Reply, Show, Step};
use crate::plan::{Access, Command, Route};
use crate::sql::control::Control;
use crate::txn::{Begun, Block, Status};
use crate::wire::frontend::Object;
use crate::wire::{encode, error_response};
use bytes::BytesMut;
use std::rc::Rc;

/// The messages between two Syncs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Segment {
    Sound,
    /// An error was reported: what comes before the next Sync is ignored.
    Failed,
}

/// A message that waits for a server.
pub enum Unsited {
    Parse(Rc<Statement>),
    Describe(Rc<Statement>),
}

/// The name of statements and portals of weir's own among a client's messages.
pub(super) const WHISPER: &[u8] = b"weir";

impl Session {
    pub(super) fn conclude(&mut self, outcome: Result<(), Stop>) -> Result<(), Ended> {
        match outcome {
            Ok(()) => Ok(()),
            Err(Stop::Said) => {
                self.segment = Segment::Failed;
                self.txn.segment_failed();
                drop(self.relay.take_unsited());
                self.held.clear();
                self.unsited.clear();
                Ok(())
            }
            Err(Stop::End) => Err(Ended),
            Err(Stop::Say(error)) => {
                self.refuse_message(&error);
                Ok(())
            }
        }
    }

    /// An error of weir's own, at its place among the answers.
    fn refuse_message(&mut self, error: &Error) {
        self.note_own_error(error);
        self.forget_unsited();
        self.relay.local(|out| error_response::write(error, out));
        self.segment = Segment::Failed;
        self.txn.fail();
        self.txn.segment_failed();
    }

    /// Unsited messages came before an error, or need no server: PostgreSQL would have answered them.
    pub(super) fn forget_unsited(&mut self) {
        self.hold_unsited();
        for reply in std::mem::take(&mut self.held) {
            match reply {
                Reply::Unsited => {
                    if let Some(Unsited::Parse(_)) = self.unsited.pop_front() {
                        self.relay.local(encode::parse_complete);
                    }
                }
                Reply::Local(_) | Reply::Server { .. } | Reply::Mark | Reply::Timed(_) => {
                    self.relay.push(reply);
                }
            }
        }
    }

    /// Takes unsited replies out of the queue, so that what brings a server in is answered first.
    pub(super) fn hold_unsited(&mut self) {
        self.held.extend(self.relay.take_unsited());
    }

    /// A server reported an error in answer to an extended message, or weir could not pass its answer
    /// on (`None`).
    pub(super) fn fail_segment(&mut self, at: Option<usize>) {
        self.note_descriptions();
        self.describing.clear();
        self.relay.void(at);
        self.unsited.clear();
        self.held.clear();
        self.segment = Segment::Failed;
        self.txn.fail();
        let error = self.relay.error.take();
        if let Some(code) = error {
            self.note_error(Some(self.relay.erred), code);
        }
        if error == Some(SqlState::FEATURE_NOT_SUPPORTED) {
            // Perhaps "cached plan must not change result type": whoever prepares from now on gets
            // a new plan.
            self.database.identities.borrow_mut().forget_all();
        }
        self.txn.segment_failed();
        self.undo_changes();
        for participant in &mut self.txn.participants {
            participant.doubt_statements();
        }
        if let Some(at) = at
            && let Some(participant) = self.txn.participants.get_mut(at)
        {
            participant.segment_undone();
            participant.failed = true;
            participant.unsynced = !self.relay.expects_sync(at);
        }
    }

    /// Statements of weir's own among a client's extended messages, under names of their own: the
    /// client's unnamed statement and portal stay what they are.
    pub(super) fn whisper(&mut self, at: usize, texts: &[String], show: Show) {
        let quiet = if show == Show::Forward { Show::Swallow } else { show };
        let Some(participant) = self.txn.participants.get_mut(at) else { return };
        participant.begins_segment();
        for text in texts {
            write_whisper(text, &mut participant.lease.output);
            self.relay.expect(at, Step::Close, quiet);
            self.relay.expect(at, Step::Parse, quiet);
            self.relay.expect(at, Step::Bind, quiet);
            self.relay.expect(at, Step::Execute, show);
            self.relay.expect(at, Step::Close, quiet);
            self.relay.expect(at, Step::Close, quiet);
        }
    }

    /// Sends the messages that waited for a server, in their order.
    pub(super) async fn site_messages(&mut self, at: usize) -> Result<(), Stop> {
        if self.unsited.is_empty() && self.held.is_empty() {
            return Ok(());
        }
        self.hold_unsited();
        while let Some(reply) = self.held.pop_front() {
            if !matches!(reply, Reply::Unsited) {
                self.relay.push(reply);
                continue;
            }
            match self.unsited.pop_front() {
                Some(Unsited::Parse(statement)) => {
                    self.ensure_prepared(at, &statement, Show::Forward)?;
                }
                Some(Unsited::Describe(statement)) => {
                    let name = self.ensure_prepared(at, &statement, Show::Swallow)?;
                    let Some(participant) = self.txn.participants.get_mut(at) else { continue };
                    participant.begins_segment();
                    let output = &mut participant.lease.output;
                    encode::describe(Object::Statement, name.as_bytes(), output);
                    self.relay.expect(at, Step::DescribeStatement, Show::Forward);
                    self.describing.push_back(statement);
                }
                None => {}
            }
        }
        Ok(())
    }

    /// Sites what waits without a Bind: on a server of the transaction, or on the home shard, whose
    /// types are the ones clients know.
    pub(super) async fn site_rest(&mut self) -> Result<(), Stop> {
        if self.unsited.is_empty() {
            return Ok(());
        }
        self.hold_unsited();
        let route = self.unsited_route();
        if self.txn.participants.is_empty() {
            self.described = Some(self.relay.statements);
        }
        let at = match route {
            Route::Any => self.site_anywhere().await?,
            _ => self.site(route, self.own_need(Access::Read)).await?,
        };
        self.site_messages(at).await
    }

    /// Any server can describe a statement, but for a FETCH: only its cursor's knows the cursor.
    fn unsited_route(&self) -> Route {
        let cursors = self.unsited.iter().filter_map(|unsited| {
            let (Unsited::Parse(statement) | Unsited::Describe(statement)) = unsited;
            match &statement.planned.plan.command {
                Command::Control(Control::Fetch { cursor, .. }) => self.cursor_shard(cursor),
                Command::Control(_)
                | Command::Query
                | Command::CopyIn
                | Command::CopyOut
                | Command::Ddl => None,
            }
        });
        cursors.last().map_or(Route::Any, Route::One)
    }

    /// Makes every server that owes an answer send it.
    pub(super) fn ask_for_answers(&mut self) {
        for participant in self.txn.participants.iter_mut().filter(|other| other.unsynced) {
            encode::flush(&mut participant.lease.output);
        }
        self.relay.asked();
    }

    /// Waits for all answers without ending the segment.
    pub(super) async fn catch_up(&mut self) -> Result<(), Stop> {
        if self.relay.is_empty() && self.held.is_empty() {
            return Ok(());
        }
        self.site_rest().await?;
        self.ask_for_answers();
        self.drain().await?;
        self.changes.clear();
        self.relay.marks = 0;
        Ok(())
    }

    /// A simple query or a function call after extended messages: as if a Sync had come between,
    /// but for what PostgreSQL does after an error: `false`, the message is skipped.
    pub(super) async fn leave_segment(&mut self) -> Result<bool, Ended> {
        if self.segment == Segment::Sound {
            let outcome = self.catch_up().await;
            self.conclude(outcome)?;
        }
        Ok(self.segment == Segment::Sound)
    }

    /// The end of a segment. With one server the Sync travels behind the messages; with several
    /// none is sent before all messages have succeeded, the writer's first.
    pub(super) async fn sync(&mut self) -> Result<(), Ended> {
        let outcome = match self.segment {
            Segment::Sound => self.sync_sound().await,
            Segment::Failed => Ok(()),
        };
        self.conclude(outcome)?;
        if std::mem::take(&mut self.relay.sync_ignored) {
            // COPY began: the Sync that counts is still to come.
            return Ok(());
        }
        if self.segment == Segment::Failed {
            let outcome = self.sync_failed().await;
            self.conclude(outcome)?;
            self.configured.clear();
        }
        self.segment = Segment::Sound;
        self.txn.segment_done();
        let learnt = self.learn_configured().await;
        self.conclude(learnt)?;
        self.segment = Segment::Sound;
        self.changes.clear();
        self.relay.marks = 0;
        self.relay.budget.end();
        self.seen.trace = None;
        self.let_go_of_locks().await?;
        self.settle().await;
        self.end_turn();
        if self.is_in_refused_block() {
            return Err(Box::pin(self.refuse_block()).await);
        }
        self.ready();
        Ok(())
    }

    async fn sync_sound(&mut self) -> Result<(), Stop> {
        self.site_rest().await?;
        if self.txn.status() == Status::Open(Block::Implicit) {
            self.catch_up().await?;
            return self.commit(Show::Swallow).await;
        }
        let mut active = self.txn.unsynced();
        if active.len() > 1 {
            self.catch_up().await?;
            active.sort_by_key(|&at| std::cmp::Reverse(self.txn.access(at)));
        }
        let mut wrote = false;
        for at in active {
            self.sync_one(at, Show::Forward);
            // Those that have only read have nothing to lose, so they are told at the same time.
            if self.txn.access(at) != Access::Read {
                let outcome = self.drain().await;
                beside_the_writer(outcome, wrote)?;
                wrote |= self.txn.access(at) == Access::Write;
            }
        }
        if self.relay.is_empty() {
            return Ok(());
        }
        let outcome = self.drain().await;
        beside_the_writer(outcome, wrote)
    }

    pub(super) fn sync_one(&mut self, at: usize, show: Show) {
        if let Some(participant) = self.txn.participants.get_mut(at) {
            encode::sync(&mut participant.lease.output);
            participant.unsynced = false;
            self.relay.expect(at, Step::Sync, show);
            self.relay.asked();
        }
    }

    /// After an error nothing of the segment stays: the server that failed rolls back by itself, a
    /// block is left to the client's ROLLBACK, and any other server is told to roll back.
    async fn sync_failed(&mut self) -> Result<(), Stop> {
        self.ask_for_answers();
        // One more error on the way changes nothing: every server still has to hear the Sync.
        match self.drain().await {
            Ok(()) | Err(Stop::Said) => {}
            Err(stop) => return Err(stop),
        }
        if self.txn.status() == Status::Failed(Block::Implicit) {
            return self.roll_back(Show::Discard).await;
        }
        for at in self.txn.unsynced() {
            let Some(participant) = self.txn.participants.get_mut(at) else { continue };
            let undone = participant.failed || participant.begun != Begun::No;
            if !undone {
                // Outside a block ROLLBACK undoes what the pipeline did there, with a warning. Nobody
                // listens for its answers, nor for those still on their way: the Sync's is the next.
                write_whisper("ROLLBACK", &mut participant.lease.output);
                participant.segment_undone();
            }
            self.sync_one(at, Show::Discard);
        }
        let outcome = self.drain().await;
        for participant in &mut self.txn.participants {
            participant.failed = false;
        }
        outcome
    }

    pub(super) fn send(&mut self, at: usize, write: impl FnOnce(&mut bytes::BytesMut)) {
        if let Some(participant) = self.txn.participants.get_mut(at) {
            participant.begins_segment();
            write(&mut participant.lease.output);
        }
    }
}

/// If what was written is committed already, a server that is lost behind it takes nothing along: an error
/// would say that it did.
pub(super) fn beside_the_writer(outcome: Result<(), Stop>, wrote: bool) -> Result<(), Stop> {
    match outcome {
        Err(Stop::Say(error)) if wrote => {
            tracing::debug!(%error, "a server that had only read was lost at the end");
            Ok(())
        }
        other => other,
    }
}

/// The messages of one such statement.
fn write_whisper(text: &str, output: &mut BytesMut) {
    /// No parameters, and results as text.
    const NO_VALUES: &[u8] = &[0; 6];
    // An error may have kept an earlier one from being closed.
    encode::close(Object::Statement, WHISPER, output);
    encode::parse(WHISPER, text.as_bytes(), [].into_iter(), output);
    encode::bind_with_tail(WHISPER, WHISPER, NO_VALUES, output);
    encode::execute(WHISPER, 0, output);
    encode::close(Object::Portal, WHISPER, output);
    encode::close(Object::Statement, WHISPER, output);
}
