//! What time it is in a client's transaction: `now()` is one value from its beginning to its end. Each
//! server has a transaction of its own, and with it a time of its own; the client's is that of the server
//! on which its transaction began.
use super::{Participant, Transaction};

impl Transaction {
    /// A participant's transaction begins, or has begun.
    pub fn keeps_time(&mut self, at: usize) {
        if self.now.is_none()
            && self.clock().is_none()
            && let Some(participant) = self.participants.get_mut(at)
        {
            participant.keeps_time = true;
        }
    }

    /// The participant whose `now()` is the client's, as long as it has one.
    pub fn clock(&self) -> Option<usize> {
        self.participants.iter().position(|participant| participant.keeps_time)
    }

    /// The transaction's `now()`, once a server has been asked.
    pub fn now(&self) -> Option<&str> {
        self.now.as_deref()
    }

    /// A server has been asked for it: what was told first stays.
    pub fn note_time(&mut self, now: &str) -> &str {
        self.now.get_or_insert_with(|| now.to_owned())
    }

    /// Whether `now()` on that participant may be another one than the client's.
    pub fn is_other_time(&self, at: usize) -> bool {
        self.is_timed() && self.clock() != Some(at)
    }

    /// The same of whichever participant a shard's statements go to.
    pub fn is_other_time_on(&self, shard: crate::ids::ShardId) -> bool {
        let here = |participant: &Participant| participant.shard == shard;
        let clock = self.clock().and_then(|at| self.participants.get(at));
        self.is_timed() && !clock.is_some_and(here)
    }

    fn is_timed(&self) -> bool {
        self.now.is_some() || self.clock().is_some()
    }

    /// The next transaction has a time of its own.
    pub(super) fn forget_time(&mut self) {
        self.now = None;
        for participant in &mut self.participants {
            participant.keeps_time = false;
        }
    }
}
