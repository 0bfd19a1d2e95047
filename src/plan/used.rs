//! How often a plan has run and for how long. One worker counts; whoever shows it reads.
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Times in microseconds.
#[derive(Debug, Default)]
pub struct Used {
    calls: AtomicU64,
    total_us: AtomicU64,
    max_us: AtomicU64,
    /// As the caller counts them.
    strategy: AtomicU8,
}

/// The same at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Uses {
    pub calls: u64,
    pub total_us: u64,
    pub max_us: u64,
    pub strategy: u8,
}

impl Used {
    /// A statement with this plan has ended. Said by the worker whose plan it is, so nothing is lost.
    pub fn ran(&self, took: Duration, strategy: u8) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.calls.store(self.calls.load(Relaxed).wrapping_add(1), Relaxed);
        self.total_us.store(self.total_us.load(Relaxed).saturating_add(us), Relaxed);
        if us > self.max_us.load(Relaxed) {
            self.max_us.store(us, Relaxed);
        }
        self.strategy.store(strategy, Relaxed);
    }

    pub fn now(&self) -> Uses {
        Uses {
            calls: self.calls.load(Relaxed),
            total_us: self.total_us.load(Relaxed),
            max_us: self.max_us.load(Relaxed),
            strategy: self.strategy.load(Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_add_up_and_the_longest_is_kept() {
        let used = Used::default();
        used.ran(Duration::from_micros(300), 0);
        used.ran(Duration::from_micros(100), 1);
        assert_eq!(used.now(), Uses { calls: 2, total_us: 400, max_us: 300, strategy: 1 });
    }
}
