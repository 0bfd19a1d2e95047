//! How much longer the statement that runs may take: `timeouts.total`, from the moment it was taken,
//! through the wait for a connection and connecting, to its end.
//!
//! When it is spent the servers are asked to cancel; if one does not answer even that within [`GRACE`],
//! its connection is given up. As with PostgreSQL's statement_timeout, each statement of a simple query
//! and each Execute of a pipeline has a time of its own, and what a client does between its messages
//! does not count. Off, it costs nothing; on, one timer for each session.
use super::alarm::Alarm;
use super::doom::Doom;
use crate::error::{Error, SqlState};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// How long servers have to answer a cancel request.
pub const GRACE: Duration = Duration::from_secs(1);

#[derive(Default)]
pub struct Budget {
    stage: Stage,
    /// Since when the client has to speak.
    idle: Option<Instant>,
    /// A cancel request was sent since the statement, or the pipeline, began.
    cancelled: bool,
    /// What else may end it.
    pub doom: Arc<Doom>,
    alarm: Alarm,
}

#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Stage {
    #[default]
    Off,
    Running {
        total: Duration,
        deadline: Instant,
    },
    /// Servers were asked to cancel; `deadline` is the end of their grace.
    Cancelling {
        total: Duration,
        deadline: Instant,
    },
}

impl Budget {
    /// A new statement begins.
    pub fn begin(&mut self, total: Duration, now: Instant) {
        self.end();
        self.stage = Stage::Running { total, deadline: now + total };
    }

    /// The statement that runs turns out to have another time.
    pub fn allow(&mut self, total: Option<Duration>) {
        if let Stage::Running { total: before, deadline } = self.stage
            && total != Some(before)
        {
            self.stage = match (total, deadline.checked_sub(before)) {
                (Some(total), Some(began)) => Stage::Running { total, deadline: began + total },
                (Some(_), None) | (None, _) => Stage::Off,
            };
        }
    }

    pub fn is_on(&self) -> bool {
        self.stage != Stage::Off
    }

    fn total(&self) -> Option<Duration> {
        match self.stage {
            Stage::Off => None,
            Stage::Running { total, .. } | Stage::Cancelling { total, .. } => Some(total),
        }
    }

    pub fn end(&mut self) {
        self.stage = Stage::Off;
        self.idle = None;
        self.cancelled = false;
    }

    /// One statement of several has ended: the next has a time of its own.
    pub fn renew(&mut self, now: Instant) {
        if let Some(total) = self.total() {
            self.stage = Stage::Running { total, deadline: now + total };
        }
    }

    /// The client has to speak: until it does, no time passes.
    pub fn idles(&mut self, now: Instant) {
        self.idle.get_or_insert(now);
    }

    /// The client has spoken.
    pub fn goes_on(&mut self, now: Instant) {
        let Some(since) = self.idle.take() else { return };
        match &mut self.stage {
            Stage::Off => {}
            Stage::Running { deadline, .. } | Stage::Cancelling { deadline, .. } => {
                *deadline += now.saturating_duration_since(since);
            }
        }
    }

    /// Cancel requests go out now.
    pub fn cancels(&mut self, now: Instant) {
        self.cancelled = true;
        if let Some(total) = self.total() {
            self.stage = Stage::Cancelling { total, deadline: now + GRACE };
        }
    }

    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// What a server's "canceling statement" means, if weir itself has asked for it.
    pub fn verdict(&self) -> Option<Error> {
        self.doom.get().or_else(|| self.cancelled.then(canceled))
    }

    fn deadline(&self) -> Option<Instant> {
        match self.stage {
            Stage::Off => None,
            Stage::Running { deadline, .. } | Stage::Cancelling { deadline, .. } => Some(deadline),
        }
    }

    /// What is left, but not more than `most`.
    pub fn left(&self, most: Duration, now: Instant) -> Duration {
        let left = self.deadline().map(|deadline| deadline.saturating_duration_since(now));
        left.map_or(most, |left| left.min(most))
    }

    /// Ready when it is spent.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.deadline() {
            Some(deadline) => self.alarm.poll(deadline, cx),
            None => Poll::Pending,
        }
    }

    /// Returns when it is spent; never, if there is none.
    pub async fn spent(&mut self) {
        std::future::poll_fn(|cx| self.poll(cx)).await;
    }
}

/// What the client hears, in the words of PostgreSQL's other timeouts.
pub fn canceled() -> Error {
    Error::client(SqlState::QUERY_CANCELED, "canceling statement due to total timeout")
        .hint("raise timeouts.total in weir.toml, or total of the statement's tier")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const LONG: Duration = Duration::from_secs(3600);

    /// With five seconds, from now on.
    fn started() -> (Budget, Instant) {
        let (mut budget, now) = (Budget::default(), Instant::now());
        budget.begin(5 * SECOND, now);
        (budget, now)
    }

    #[test]
    fn time_runs_and_then_the_grace() {
        let (mut budget, now) = started();
        assert_eq!(budget.left(LONG, now + 2 * SECOND), 3 * SECOND);
        assert_eq!(budget.left(SECOND, now), SECOND);
        assert_eq!(budget.left(LONG, now + LONG), Duration::ZERO);
        budget.cancels(now + 5 * SECOND);
        assert_eq!(budget.left(LONG, now + 5 * SECOND), GRACE);
        assert_eq!(budget.verdict(), Some(canceled()));
        budget.end();
        assert!(budget.verdict().is_none() && !budget.is_on());
        budget.doom.set(Error::internal("it has to end"));
        assert_eq!(budget.verdict(), Some(Error::internal("it has to end")));
        assert_eq!(budget.left(LONG, now), LONG);
    }

    #[test]
    fn each_statement_of_several_has_its_own_time() {
        let (mut budget, now) = started();
        budget.renew(now + 4 * SECOND);
        assert_eq!(budget.left(LONG, now + 4 * SECOND), 5 * SECOND);
        let mut off = Budget::default();
        off.renew(now);
        assert!(!off.is_on());
    }

    #[test]
    fn the_clients_own_time_does_not_count() {
        let (mut budget, now) = started();
        budget.idles(now + 2 * SECOND);
        budget.idles(now + LONG / 2);
        budget.goes_on(now + LONG);
        budget.goes_on(now + LONG);
        assert_eq!(budget.left(LONG, now + LONG), 3 * SECOND);
    }

    #[test]
    fn a_statement_whose_tier_is_known_later_has_that_tiers_time_from_its_beginning() {
        let (mut budget, now) = started();
        budget.allow(Some(20 * SECOND));
        assert_eq!(budget.left(LONG, now + 2 * SECOND), 18 * SECOND);
        budget.allow(None);
        assert!(!budget.is_on());
    }

    #[tokio::test]
    async fn what_is_spent_wakes_its_statement_and_what_is_off_does_not() {
        let (mut budget, mut off) = (Budget::default(), Budget::default());
        budget.begin(Duration::ZERO, Instant::now());
        tokio::select! {
            biased;
            () = off.spent() => panic!("there is no limit"),
            () = budget.spent() => {}
        }
    }
}
