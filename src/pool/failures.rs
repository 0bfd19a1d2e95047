//! A failed connect reaches the lease that waits for it, at once.
//!
//! bb8 tells a failure only to its error sink and lets `get` wait until its time is over. Here, a
//! failure is told to the lease that waits longest, once there are more waiting than connects under
//! way: somebody has to go without. After several failures in a row, leases fail without trying until a short pause is over.
use crate::error::Error;
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// So many failures in a row are taken for bad luck.
const TOLERATED: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub struct Failures {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    waiters: VecDeque<oneshot::Sender<Error>>,
    connecting: usize,
    row: Row,
}

/// Failures since the last success.
#[derive(Debug, Default)]
enum Row {
    #[default]
    Unbroken,
    Failed {
        times: u32,
        until: Instant,
        last: Error,
    },
}

/// A connect under way, until it is dropped.
#[derive(Debug)]
pub struct Connecting<'a>(&'a Failures);

impl Drop for Connecting<'_> {
    fn drop(&mut self) {
        self.0.locked(|state| state.connecting = state.connecting.saturating_sub(1));
    }
}

impl Failures {
    pub fn connecting(&self) -> Connecting<'_> {
        self.locked(|state| state.connecting += 1);
        Connecting(self)
    }

    /// Joins the queue of those who are told about the next failure. Dropping the receiver leaves it.
    pub fn wait(&self) -> oneshot::Receiver<Error> {
        let (tell, hear) = oneshot::channel();
        self.locked(|state| {
            state.waiters.retain(|waiter| !waiter.is_closed());
            state.waiters.push_back(tell);
        });
        hear
    }

    /// Somebody waits for a connection.
    pub fn is_awaited(&self) -> bool {
        self.locked(|state| state.waiters.iter().any(|waiter| !waiter.is_closed()))
    }

    pub fn failed(&self, error: Error, now: Instant) {
        self.locked(|state| {
            let times = match &state.row {
                Row::Unbroken => 1,
                Row::Failed { times, .. } => times.saturating_add(1),
            };
            let until = now + pause(times);
            state.row = Row::Failed { times, until, last: error.clone() };
            state.tell(error);
        });
    }

    /// Somebody was told of a failure but has got a connection all the same: another has to go without.
    pub fn pass_on(&self, error: Error) {
        self.locked(|state| state.tell(error));
    }

    pub fn succeeded(&self) {
        self.locked(|state| state.row = Row::Unbroken);
    }

    /// The last error, while it makes no sense to try again.
    pub fn pausing(&self, now: Instant) -> Option<Error> {
        self.locked(|state| match &state.row {
            Row::Failed { until, last, .. } if now < *until => Some(last.clone()),
            Row::Failed { .. } | Row::Unbroken => None,
        })
    }

    fn locked<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl State {
    fn tell(&mut self, error: Error) {
        self.waiters.retain(|waiter| !waiter.is_closed());
        if self.waiters.len() <= self.connecting {
            return;
        }
        if let Some(waiter) = self.waiters.pop_front() {
            // Nobody leaves between the line above and this one.
            drop(waiter.send(error));
        }
    }
}

/// How long to leave a server alone after so many failures in a row.
fn pause(times: u32) -> Duration {
    match times.checked_sub(TOLERATED) {
        None | Some(0) => Duration::ZERO,
        Some(over) => FIRST_PAUSE.saturating_mul(1 << (over - 1).min(10)).min(LONGEST_PAUSE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn down() -> Error {
        Error::internal("down")
    }

    #[test]
    fn each_failure_is_told_to_the_one_who_waits_longest() {
        let failures = Failures::default();
        let (mut left, mut first, mut second) = (failures.wait(), failures.wait(), failures.wait());
        left.close();
        failures.failed(down(), Instant::now());
        assert_eq!(first.try_recv(), Ok(down()));
        assert!(second.try_recv().is_err());
    }

    #[test]
    fn nobody_is_told_while_there_is_a_connect_for_everybody() {
        let failures = Failures::default();
        let (mut first, mut second) = (failures.wait(), failures.wait());
        let (one, other) = (failures.connecting(), failures.connecting());
        failures.failed(down(), Instant::now());
        assert!(first.try_recv().is_err());
        drop(one);
        failures.failed(down(), Instant::now());
        assert_eq!(first.try_recv(), Ok(down()));
        assert!(second.try_recv().is_err());
        drop(other);
    }

    #[test]
    fn a_server_is_left_alone_for_a_while_after_failures_in_a_row() {
        let failures = Failures::default();
        let now = Instant::now();
        for _ in 0..TOLERATED {
            failures.failed(down(), now);
            assert_eq!(failures.pausing(now), None);
        }
        failures.failed(down(), now);
        assert_eq!(failures.pausing(now), Some(down()));
        assert_eq!(failures.pausing(now + FIRST_PAUSE), None);
        failures.succeeded();
        assert_eq!(failures.pausing(now), None);
        assert_eq!(pause(u32::MAX), LONGEST_PAUSE);
    }
}
