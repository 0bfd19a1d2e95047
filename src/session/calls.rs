//! A statement as a call: whether its shape is refused now, and how long it may take in all.
use super::{Session, Stop};
use crate::backend::cancel::cancel;
use crate::error::{Blame, Error, SqlState};
use crate::exec::broken::Broken;
use crate::exec::budget::{self, GRACE, Stage};
use crate::ids::TierId;
use crate::plan::{Access, Command, Planned, Route};
use crate::pool::breaker::Reason;
use crate::pool::shapes::{Call, Shape};
use crate::txn::Begun;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

impl Session {
    /// The call of a statement; an error while its shape is refused.
    pub(super) fn admit(&self, shape: Option<Shape>) -> Result<Option<Call>, Error> {
        let call = shape.map(|shape| {
            self.database.shapes.admit(shape).map_err(|reason| self.refuse(shape, &reason))
        });
        call.transpose()
    }

    /// The same error, before a connection is asked for; the call itself begins later.
    pub(super) fn foresee(&self, shape: Option<Shape>) -> Result<(), Error> {
        let refusal = shape.and_then(|shape| Some((shape, self.database.shapes.refusal(shape)?)));
        match refusal {
            Some((shape, reason)) => Err(self.refuse(shape, &reason)),
            None => Ok(()),
        }
    }

    /// What a statement is counted as. COPY, cursors and what steers the session are not counted: how
    /// long they take is up to the client.
    pub(super) fn shape_of(&self, planned: &Planned, route: Route) -> Option<Shape> {
        match &planned.plan.command {
            Command::Query => Some(Shape {
                // Databases that share a `*` share a table, too.
                fingerprint: planned.plan.fingerprint ^ self.database.salt,
                tier: self.tier(planned),
                shard: match route {
                    Route::One(shard) => Some(shard),
                    Route::Many | Route::Any | Route::Every | Route::Proxy => None,
                },
            }),
            Command::CopyIn | Command::CopyOut | Command::Ddl | Command::Control(_) => None,
        }
    }

    fn refuse(&self, shape: Shape, reason: &Reason) -> Error {
        self.database.counters.refused("statement breaker");
        let tier = self.database.limits.tiers.get(usize::from(shape.tier.0));
        let tier = tier.map_or("?", String::as_str);
        let shard = shape.shard.map(|shard| self.serving.rules.shard_name(shard));
        let place = shard.map_or_else(String::new, |shard| format!(" on shard {shard}"));
        let message = format!(
            "statement {:08x} is refused in tier {tier}{place}: {reason}",
            shape.fingerprint >> 32
        );
        let hint = match shape.tier {
            TierId::BATCH => "make it faster, or raise breaker.statement in weir.toml",
            TierId(_) => {
                "make it faster, run it where it may be slow by SET weir.tier = 'batch', \
                 or raise breaker.statement.slow in weir.toml"
            }
        };
        Error::new(SqlState::CANNOT_CONNECT_NOW, Blame::Client, message).hint(hint)
    }

    /// A statement is taken: its time runs.
    pub(super) fn begin_budget(&mut self, planned: &Planned) {
        let total = self.total(self.tier(planned));
        self.restart_budget(total);
    }

    /// A message is taken that goes on with something of this tier, or with something that has none of
    /// its own.
    pub(super) fn keep_budget(&mut self, tier: Option<TierId>) {
        if !self.relay.budget.is_on() {
            let own = || self.txn.settings.own().tier.or(self.default_tier);
            let tier = tier.or_else(own).unwrap_or(TierId::INTERACTIVE);
            self.restart_budget(self.total(tier));
        }
    }

    /// An extended message of this statement is taken.
    pub(super) fn allow_budget(&mut self, planned: &Planned) {
        let total = self.total(self.tier(planned));
        match self.relay.budget.is_on() {
            true => self.relay.budget.allow(total),
            false => self.restart_budget(total),
        }
    }

    fn restart_budget(&mut self, total: Option<Duration>) {
        match total {
            Some(total) => self.relay.budget.begin(total, Instant::now()),
            None => self.relay.budget.end(),
        }
    }

    fn total(&self, tier: TierId) -> Option<Duration> {
        self.database.limits.total.get(usize::from(tier.0)).copied().flatten()
    }

    /// The statement's time is up: the servers are asked to cancel it. When they have not answered that
    /// either, or the request does not even arrive, their connections are given up.
    pub(super) async fn late(&mut self) -> Result<(), Stop> {
        let owing: Vec<usize> = self.relay.owing().into_iter().collect();
        self.late_on(&owing).await
    }

    /// The same where these participants are waited for.
    pub(super) async fn late_on(&mut self, owing: &[usize]) -> Result<(), Stop> {
        match self.relay.budget.stage() {
            Stage::Off => Ok(()),
            Stage::Running { .. } => {
                self.relay.budget.cancels(Instant::now());
                match self.cancel_on(owing).await {
                    Ok(()) => Ok(()),
                    Err(silent) => Err(self.give_up(silent).await),
                }
            }
            Stage::Cancelling { .. } => {
                let silent = owing.first().copied();
                Err(self.give_up(silent.unwrap_or_default()).await)
            }
        }
    }

    /// Asks all these servers at the same time; the one that did not hear of it.
    /// Its connection must not be used again: the request may still arrive.
    pub(super) async fn cancel_on(&self, owing: &[usize]) -> Result<(), usize> {
        let mut requests = JoinSet::new();
        for &at in owing {
            let Some(participant) = self.txn.participants.get(at) else { continue };
            let key = participant.lease.cancel.clone();
            requests.spawn(async move {
                match tokio::time::timeout(GRACE, cancel(&key)).await {
                    Ok(Ok(())) => Ok(()),
                    Ok(Err(_)) | Err(_) => Err(at),
                }
            });
        }
        let mut outcome = Ok(());
        while let Some(heard) = requests.join_next().await {
            outcome = outcome.and(heard.unwrap_or(Ok(())));
        }
        outcome
    }

    pub(super) async fn give_up(&mut self, at: usize) -> Stop {
        let participant = self.txn.participants.get(at);
        let shard = participant.map(|participant| participant.shard);
        let name = shard.map_or("?", |shard| self.serving.rules.shard_name(shard));
        let detail =
            format!("shard {name} did not answer the cancel request, so its connection is closed");
        let mut error = match self.slot.is_requested() {
            true => self.slot.reason(),
            false => budget::canceled(),
        };
        // 57014 promises that nothing was done, but a server that goes on runs what it has read. In a
        // block that is rolled back; what a COMMIT's unknown outcome is told with, its caller knows.
        match participant.map(|participant| (participant.begun, participant.access)) {
            Some((Begun::Block | Begun::Aside, _) | (Begun::No, Access::Read | Access::Lock)) => {}
            Some((Begun::No, Access::Write)) | None => {
                error.code = SqlState::CONNECTION_FAILURE;
                error = error.hint(
                    "the statement may or may not have taken effect there; look before you repeat it",
                );
            }
        }
        let error = error.detail(detail);
        self.broken(Broken::Server(at, error)).await
    }
}
