//! What the shards offer to transactions over several of them, as it was last seen; and the way to wake
//! whoever finishes what has been left behind.
use super::Isolation;
use crate::backend::commit_record::{Level, Offers};
use crate::error::Error;
use crate::ids::ShardId;
use crate::txn::two_phase::Key;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{Notify, Semaphore};

/// More are finished when the grace period is over.
const MOST_GIVEN_UP: usize = 10_000;

/// Connections of weir's own to each server that sessions may use at a time to finish transactions. Who
/// looks for deadlocks takes one of them for a while.
pub const PLACES: usize = 2;

/// Of one set of servers.
#[derive(Debug)]
pub struct Footing {
    cluster: Option<String>,
    lacks: Mutex<Vec<Option<Lack>>>,
    /// By their numbers, and the strictest of them: it is looked at for every message.
    levels: Mutex<Vec<Level>>,
    strictest: AtomicU8,
    given_up: Mutex<BTreeSet<Key>>,
    /// Something was left behind that can be finished.
    pub left_behind: Notify,
    pub places: Arc<Semaphore>,
}

/// Why a shard takes no part.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lack {
    Records,
    Preparing,
}

impl Footing {
    /// `cluster`: the uuid of a sharded database's; nothing is known of its shards yet.
    pub fn new(cluster: Option<String>) -> Self {
        Self {
            cluster,
            lacks: Mutex::default(),
            levels: Mutex::default(),
            strictest: AtomicU8::new(Level::default() as u8),
            given_up: Mutex::default(),
            left_behind: Notify::new(),
            places: Arc::new(Semaphore::new(PLACES)),
        }
    }

    pub fn cluster(&self) -> Option<&str> {
        self.cluster.as_deref()
    }

    /// How much transactions see of others where their clients do not say.
    pub fn isolation(&self) -> Isolation {
        const REPEATABLE: u8 = Level::RepeatableRead as u8;
        match self.strictest.load(Ordering::Relaxed) {
            REPEATABLE => Isolation::RepeatableRead,
            stricter if stricter > REPEATABLE => Isolation::Serializable,
            _ => Isolation::ReadCommitted,
        }
    }

    fn saw_level(&self, shard: ShardId, level: Level) {
        let mut levels = self.levels.lock().unwrap_or_else(PoisonError::into_inner);
        let at = usize::from(shard.0);
        if levels.len() <= at {
            levels.resize(at + 1, Level::default());
        }
        if let Some(known) = levels.get_mut(at) {
            *known = level;
        }
        let strictest = levels.iter().max().copied().unwrap_or_default();
        self.strictest.store(strictest as u8, Ordering::Relaxed);
    }

    /// A shard was looked at. What it lacks, if that is news.
    pub fn saw(&self, shard: ShardId, offers: Offers) -> Option<Lack> {
        self.saw_level(shard, offers.isolation);
        let lack = match offers {
            Offers { records: false, .. } => Some(Lack::Records),
            Offers { prepares: false, .. } => Some(Lack::Preparing),
            Offers { records: true, prepares: true, .. } => None,
        };
        let mut lacks = self.lacks.lock().unwrap_or_else(PoisonError::into_inner);
        let at = usize::from(shard.0);
        if lacks.len() <= at {
            lacks.resize(at + 1, None);
        }
        let known = lacks.get_mut(at)?;
        let news = lack.filter(|_| *known != lack);
        *known = lack;
        news
    }

    /// A session leaves something of this transaction to recovery, which need not wait until it is old.
    pub fn leave_behind(&self, key: &Key) {
        let mut given_up = self.given_up.lock().unwrap_or_else(PoisonError::into_inner);
        if given_up.len() < MOST_GIVEN_UP {
            given_up.insert(key.clone());
        }
        self.left_behind.notify_one();
    }

    pub fn given_up(&self) -> Vec<Key> {
        self.given_up.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Nothing is left of these.
    pub fn forget(&self, finished: &[Key]) {
        let mut given_up = self.given_up.lock().unwrap_or_else(PoisonError::into_inner);
        given_up.retain(|key| !finished.contains(key));
    }

    /// Whether that shard may be written together with others.
    pub fn check(&self, shard: ShardId, name: &str) -> Result<(), Error> {
        let lacks = self.lacks.lock().unwrap_or_else(PoisonError::into_inner);
        match lacks.get(usize::from(shard.0)).copied().flatten() {
            None => Ok(()),
            Some(lack) => Err(lack.refusal(name)),
        }
    }
}

impl Lack {
    pub fn refusal(self, shard: &str) -> Error {
        match self {
            Lack::Records => Error::refused(
                format!(
                    "shard {shard} has no table weir.commit_record, which a transaction needs that writes on several shards"
                ),
                "run weir setup --rules FILE",
            ),
            Lack::Preparing => Error::refused(
                format!(
                    "max_prepared_transactions is 0 on shard {shard}: no transaction can write there and elsewhere"
                ),
                "set max_prepared_transactions to at least max_connections there and restart it, or give up \
                 atomic commits with commit = \"in_turn\" in the rules file",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_is_refused_for_as_long_as_it_lacks_something() {
        let footing = Footing::new(None);
        let isolation = Level::RepeatableRead;
        let (all, shard) = (Offers { records: true, prepares: true, isolation }, ShardId(1));
        assert_eq!(footing.check(shard, "s1"), Ok(()));
        assert_eq!(footing.saw(shard, Offers { prepares: false, ..all }), Some(Lack::Preparing));
        assert_eq!(footing.saw(shard, Offers { prepares: false, ..all }), None, "no news");
        assert!(footing.check(shard, "s1").unwrap_err().message.contains("shard s1"));
        assert_eq!(footing.check(ShardId(0), "s0"), Ok(()));
        assert_eq!(footing.saw(shard, Offers { records: false, ..all }), Some(Lack::Records));
        assert_eq!(footing.saw(shard, all), None);
        assert_eq!(footing.check(shard, "s1"), Ok(()));
        assert_eq!(footing.isolation(), Isolation::RepeatableRead);
        footing.saw(ShardId(0), Offers { isolation: Level::Serializable, ..all });
        assert_eq!(footing.isolation(), Isolation::Serializable, "the strictest of all");
    }
}
