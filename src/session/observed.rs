//! What becomes of a statement that has ended: the one place where statements are observed.
//!
//! A statement is a [`Running`] from its being sent to its last answer; then it is [`Finished`], with what
//! is known of it and the times that were read on its way. Whatever watches statements looks at that
//! ([`Session::observe`]), so no part of the hot path knows of it.
use super::{Session, Stop};
use crate::error::{Error, SqlState};
use crate::exec::running::{Before, Finished, Running};
use crate::ids::ShardId;
use crate::plan::several::write::Way;
use crate::plan::{Command, Plan, Planned};
use crate::pool;
use crate::pool::shapes::{Call, Ended};
use crate::telemetry::metrics::Tally;
use crate::telemetry::statements::{Labels, Role, Strategy, WEIR};
use crate::telemetry::traces::{Trace, TraceParent};
use crate::wire::params::Params;
use std::time::{Duration, Instant};

/// What a session has seen of the statements that it runs.
#[derive(Default)]
pub(super) struct Seen {
    /// Of the statement that is taken and not sent yet.
    before: Before,
    /// How the statement over several shards was answered, where it was not as planned.
    strategy: Option<Strategy>,
    /// What servers said of it.
    pub failed: Option<SqlState>,
    /// What is told of the statement that is taken, if statements are traced.
    pub trace: Option<Box<Trace>>,
    /// The stage of it that goes on.
    pub inside: Option<&'static str>,
    /// SET weir.traceparent.
    pub parent: Option<Box<TraceParent>>,
    pub parent_is_local: bool,
    /// The relay's count of statements when the last transaction ended.
    ended_at: u64,
}

impl Seen {
    /// The statement that is taken has waited for a connection or a turn.
    pub fn waited(&mut self, took: Duration) {
        self.before.waiting += took;
    }

    /// It had to be planned.
    pub fn planned(&mut self, took: Duration) {
        self.before.planning += took;
    }
}

impl Session {
    /// A statement that goes to that participant.
    pub(super) fn running(&mut self, planned: &Planned, at: usize, call: Option<Call>) -> Running {
        let tier = self.tier(planned);
        let participant = self.txn.participants.get(at);
        let role = participant.map_or(Role::Primary, |other| role(other.lease.work.role()));
        let shard = participant.map(|participant| participant.shard);
        let labels = Labels { shard, tier, role, strategy: alone(&planned.plan.command) };
        let before = std::mem::take(&mut self.seen.before);
        let mut running = Running::new(planned.plan.clone(), labels, before, call);
        if let Some(trace) = self.seen.trace.take() {
            running.trace = Some(Box::new((*trace, self.at(at))));
        }
        running
    }

    /// A statement of several shards begins.
    pub(super) fn running_on_several(&mut self, planned: &Planned, call: Option<Call>) -> Running {
        let tier = self.tier(planned);
        let strategy = on_several(&planned.plan);
        let labels = Labels { shard: None, tier, role: Role::Primary, strategy };
        (self.seen.strategy, self.seen.failed) = (None, None);
        let before = std::mem::take(&mut self.seen.before);
        let mut running = Running::new(planned.plan.clone(), labels, before, call);
        running.asks(Instant::now());
        running
    }

    /// It has ended. `outcome`: as its caller is told.
    pub(super) fn ended_on_several(&mut self, mut running: Running, outcome: &Result<(), Stop>) {
        running.labels.strategy = self.seen.strategy.take().unwrap_or(running.labels.strategy);
        let replica = pool::Role::Replica;
        if self.txn.participants.iter().any(|other| other.lease.work.role() == replica) {
            running.labels.role = Role::Replica;
        }
        self.ended_alone(running, outcome);
    }

    /// The same for one that was not sent through the relay's queue alone.
    pub(super) fn ended_alone(&mut self, running: Running, outcome: &Result<(), Stop>) {
        // What it has waited for meanwhile is a part of its time already.
        self.note_nothing();
        let ended = match outcome {
            Ok(()) => Ended::Well,
            Err(Stop::Say(error)) => Ended::Failed(error.code),
            Err(Stop::Said) => Ended::Failed(self.seen.failed.unwrap_or(SqlState::INTERNAL_ERROR)),
            Err(Stop::End) => return,
        };
        let mut finished = running.ended_alone(ended, Instant::now());
        if let Some(trace) = self.seen.trace.take() {
            finished.trace = Some(Box::new((*trace, None)));
        }
        self.seen.inside = None;
        self.observe(finished);
    }

    /// A schema statement.
    pub(super) async fn schema_observed(
        &mut self,
        statement: &str,
        planned: &Planned,
    ) -> Result<(), Stop> {
        let running = self.running_on_several(planned, None);
        let outcome = self.schema_statement(statement, planned).await;
        self.ended_on_several(running, &outcome);
        outcome
    }

    /// A COPY that concerns several shards.
    pub(super) async fn copy_observed(
        &mut self,
        statement: &str,
        planned: &Planned,
    ) -> Result<(), Stop> {
        let running = self.running_on_several(planned, None);
        let outcome = self.copy_several(statement, planned).await;
        self.ended_on_several(running, &outcome);
        outcome
    }

    /// How a statement over several shards is answered, where that was not sure from its plan.
    pub(super) fn note_strategy(&mut self, strategy: Strategy) {
        self.seen.strategy = Some(strategy);
    }

    /// What was taken is over, whether it was sent or not.
    pub(super) fn note_nothing(&mut self) {
        self.seen.before = Before::default();
    }

    /// A statement's fingerprint as logs, traces and the statement breaker's errors tell it.
    pub(super) fn fingerprint(&self, plan: &Plan) -> String {
        format!("{:08x}", (plan.fingerprint ^ self.database.salt) >> 32)
    }

    /// A transaction is over. One in which no server has run a statement is none.
    pub(super) fn note_transaction(&mut self) {
        if self.seen.parent_is_local {
            (self.seen.parent, self.seen.parent_is_local) = (None, false);
        }
        if self.relay.statements != self.seen.ended_at {
            self.seen.ended_at = self.relay.statements;
            self.database.tally.borrow_mut().server_transactions += 1;
        }
    }

    /// A server's error goes to the client.
    pub(super) fn note_error(&mut self, at: Option<usize>, code: SqlState) {
        self.seen.failed = Some(code);
        let shard = at.and_then(|at| self.txn.participants.get(at));
        let shard = shard.map_or(WEIR, |other| self.serving.rules.shard_name(other.shard));
        self.database.observed.failed(shard, code);
    }

    /// An error of weir's own goes to the client.
    pub(super) fn note_own_error(&mut self, error: &Error) {
        self.tell_refused(error);
        self.database.metrics.error(error.blame);
        self.database.observed.failed(WEIR, error.code);
    }

    /// Statements whose answers the relay has carried.
    pub(super) fn observe_finished(&mut self) {
        let mut finished = std::mem::take(&mut self.relay.finished);
        for finished in finished.drain(..) {
            self.observe(finished);
        }
        // Its room is used again.
        self.relay.finished = finished;
    }

    /// Every statement comes by here that may name keys, with their values.
    pub(super) fn sample(&self, planned: &Planned, text: &str, params: &Params<'_>) {
        if self.database.sampling.is_due() {
            self.database.hot_keys.note(planned, text, params, &self.serving.rules);
        }
    }

    /// Every statement that a server has answered comes by here, once, when it has ended.
    fn observe(&self, mut finished: Finished) {
        let rules = &self.serving.rules;
        let name = |shard: ShardId| rules.shard_name(shard);
        let took = finished.took();
        finished.plan.used.ran(took, finished.labels.strategy as u8);
        self.database.observed.ended(finished.labels, took, name);
        if self.database.limits.log.slow_statement.is_some_and(|limit| took > limit) {
            self.log_slow(&finished);
        }
        if let Some(trace) = finished.trace.take() {
            let (trace, server) = *trace;
            self.tell_trace(trace, &finished, server);
        }
    }

    /// Adds what was counted to the metrics.
    pub(super) fn count_moved(&mut self) {
        self.observe_finished();
        self.slot.shown.has_prepared(self.statements.len());
        let moved = self.client.take_moved();
        let looked_up = self.database.planner.borrow_mut().take_looked_up();
        self.database.counters.add(Tally {
            plan_hits: looked_up.hits,
            plan_misses: looked_up.misses,
            bytes_received: moved.received,
            bytes_sent: moved.sent,
            ..self.database.tally.take()
        });
    }
}

pub(super) fn role(role: pool::Role) -> Role {
    match role {
        pool::Role::Primary => Role::Primary,
        pool::Role::Replica => Role::Replica,
    }
}

/// How a statement is answered that goes to one shard.
fn alone(command: &Command) -> Strategy {
    match command {
        Command::CopyIn | Command::CopyOut => Strategy::Copy,
        Command::Ddl => Strategy::Schema,
        Command::Query | Command::Control(_) => Strategy::Single,
    }
}

/// The same on several, as far as its plan says.
fn on_several(plan: &Plan) -> Strategy {
    match &plan.command {
        Command::CopyIn | Command::CopyOut | Command::Ddl => return alone(&plan.command),
        Command::Query | Command::Control(_) => {}
    }
    match plan.scattered.as_deref().map(|scattered| &scattered.way) {
        Some(Way::Copies(_)) => return Strategy::Copies,
        Some(Way::Each(_) | Way::Rows(_) | Way::Moves(_) | Way::Selected(_)) => {
            return Strategy::Write;
        }
        None => {}
    }
    match plan.several.as_deref().is_some_and(|several| several.merge.is_ok()) {
        true => Strategy::Merge,
        false => Strategy::Gather,
    }
}
