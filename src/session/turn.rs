//! Wait for a hot row's turn before the transaction's first server is brought in.
//!
//! Whoever waits holds no server connection, and so no lock that another could wait for. The turn is
//! kept until the transaction is over or has no server left; a transaction has one turn at most.
use super::{Session, Stop};
use crate::error::{Error, SqlState};
use crate::exec::budget;
use crate::ids::{HotKey, TierId};
use crate::plan::Route;
use crate::pool::hot_rows::{Patience, Refused};
use crate::txn::{Begun, Participant, Status};
use std::time::{Duration, Instant};

/// What ends the wait for a turn too early.
enum Limit {
    /// weir's own.
    Checkout,
    /// The client's settings.
    LockTimeout,
    StatementTimeout,
}

impl Session {
    /// Waits in line, if the statement is to lock a hot row and no server is held yet. The client's
    /// cancel request ends the wait, and so does its hanging up.
    pub(super) async fn await_turn(
        &mut self,
        row: Option<HotKey>,
        route: Route,
        tier: TierId,
    ) -> Result<(), Stop> {
        let (Some(row), Route::One(shard)) = (row, route) else { return Ok(()) };
        if self.turn.is_some() || !self.holds_nothing().await? {
            return Ok(());
        }
        let (wait, limit) = self.longest_turn(tier);
        let patience = Patience { queue: self.database.limits.hot_row_queue, wait };
        let rows = self.database.hot_rows.clone();
        let began = Instant::now();
        let entered = tokio::select! {
            // Whoever is seen in line can be cancelled.
            biased;
            () = self.slot.waiting.notified() => return Err(self.slot.reason().into()),
            () = self.relay.budget.spent() => return Err(budget::canceled().into()),
            () = self.client.hung_up() => return Err(Stop::End),
            entered = rows.enter(shard, row.clone(), patience) => entered,
        };
        self.seen.waited(began.elapsed());
        match entered {
            Ok(ticket) => {
                self.turn = Some(ticket);
                Ok(())
            }
            Err(refused) => Err(told(refused, &row, patience, limit).into()),
        }
    }

    /// The transaction is over, or it has no server on which it could hold a lock.
    pub(super) fn end_turn(&mut self) {
        if self.txn.status() == Status::Idle || self.txn.participants.is_empty() {
            (self.turn, self.described) = (None, None);
        }
    }

    /// Whether the session holds no server. One that has only been asked what statements look like, as
    /// many drivers do first, goes back: the transaction begins anew where it is to lock.
    async fn holds_nothing(&mut self) -> Result<bool, Stop> {
        if self.txn.participants.is_empty() {
            return Ok(true);
        }
        let untouched = |other: &Participant| {
            other.begun == Begun::Block && !other.tied && !other.unsynced && !other.failed
        };
        if self.described != Some(self.relay.statements)
            || !self.relay.is_empty()
            || !self.txn.participants.iter().all(untouched)
        {
            return Ok(false);
        }
        self.roll_back_on(&self.txn.begun()).await?;
        self.txn.participants.iter_mut().for_each(Participant::rolled_back);
        self.give_back().await;
        Ok(self.txn.participants.is_empty())
    }

    /// How long weir waits at most for what is no connection.
    pub(super) fn longest_wait(&self) -> Duration {
        self.longest_turn(self.session_tier().unwrap_or(TierId::INTERACTIVE)).0
    }

    /// As long as for a server connection, unless the client has less patience.
    fn longest_turn(&self, tier: TierId) -> (Duration, Limit) {
        let of_tiers = &self.database.limits.hot_row_wait;
        let checkout = of_tiers.get(usize::from(tier.0)).copied().unwrap_or_default();
        let mut longest = (checkout, Limit::Checkout);
        for (name, limit) in
            [("lock_timeout", Limit::LockTimeout), ("statement_timeout", Limit::StatementTimeout)]
        {
            if let Some(own) = self.txn.settings.get(name).and_then(duration)
                && own < longest.0
            {
                longest = (own, limit);
            }
        }
        longest
    }
}

fn told(refused: Refused, row: &HotKey, patience: Patience, limit: Limit) -> Error {
    /// lock_not_available
    const LOCK_NOT_AVAILABLE: SqlState = SqlState(*b"55P03");
    match (refused, limit) {
        (Refused::Full, _) => Error::client(
            SqlState::TOO_MANY_CONNECTIONS,
            format!("{} statements wait already to lock the hot row {row}", patience.queue),
        )
        .hint("keep transactions that lock it short, or raise limits.hot_row_queue in weir.toml"),
        (Refused::TooLong, Limit::Checkout) => Error::client(
            LOCK_NOT_AVAILABLE,
            format!("timed out waiting to lock the hot row {row}"),
        )
        .hint("keep transactions that lock it short, or raise checkout in weir.toml, of its tier or in [timeouts]"),
        (Refused::TooLong, Limit::LockTimeout) => {
            Error::client(LOCK_NOT_AVAILABLE, "canceling statement due to lock timeout")
        }
        (Refused::TooLong, Limit::StatementTimeout) => {
            Error::client(SqlState::QUERY_CANCELED, "canceling statement due to statement timeout")
        }
    }
}

/// A time setting as PostgreSQL writes it (`5s`) or takes it (`5000`, `'1.5 min'`). `None`: no limit,
/// or not understood, which only means that the other limits hold.
fn duration(value: &str) -> Option<Duration> {
    let value = value.trim();
    let digits = value.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(value.len());
    let (number, unit) = value.split_at_checked(digits)?;
    let milliseconds = match unit.trim() {
        "us" => 0.001,
        "" | "ms" => 1.0,
        "s" => 1000.0,
        "min" => 60_000.0,
        "h" => 3_600_000.0,
        "d" => 86_400_000.0,
        _ => return None,
    };
    let seconds = number.parse::<f64>().ok()? * milliseconds / 1000.0;
    Duration::try_from_secs_f64(seconds).ok().filter(|limit| !limit.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_settings_are_read_as_postgresql_writes_and_takes_them() {
        let milliseconds = |text| duration(text).map(|limit| limit.as_millis());
        for (text, expected) in [
            ("5s", Some(5000)),
            ("250ms", Some(250)),
            ("5000", Some(5000)),
            ("1.5 min", Some(90_000)),
            ("1d", Some(86_400_000)),
            ("0", None),
            ("-1", None),
            ("soon", None),
            ("", None),
            ("1e999", None),
        ] {
            assert_eq!(milliseconds(text), expected, "{text:?}");
        }
    }
}
