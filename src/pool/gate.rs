//! Who may lease a connection of a tier: first come first served, over all workers; a queue with an
//! end; a reserve for those who have waited long.
//!
//! bb8 hands a returned connection to whoever asks next, so that waiters can starve; the gate, a fair
//! semaphore with as many permits as there are connections, lets in only those who will get one.
use super::cluster::PoolStats;
use super::config::TierConfig;
use super::quota::Quota;
use crate::error::{Error, SqlState};
use crate::ids::ServerId;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

#[derive(Debug)]
pub struct Gate {
    pub tier: TierConfig,
    server: ServerId,
    /// Host and port, database and user.
    names: Names,
    permits: Arc<Semaphore>,
    reserve: Arc<Semaphore>,
    /// The connections that are open.
    pub open: Arc<Quota>,
    queue: Mutex<Queue>,
}

/// Whose connections, and where.
#[derive(Clone, Debug)]
pub struct Names {
    /// The logical database.
    pub label: String,
    pub shard: String,
    pub address: String,
    pub database: String,
    pub user: String,
}

/// Those who wait.
#[derive(Debug)]
struct Queue {
    /// Since when, in the order of coming.
    waiting: BTreeMap<u64, Instant>,
    next: u64,
    pace: Pace,
}

/// How fast the queue moves.
#[derive(Debug)]
struct Pace {
    began: Instant,
    served: u32,
    /// The last whole stretch: how many were served, in what time.
    last: Option<(u32, Duration)>,
}

impl Pace {
    const STRETCH: Duration = Duration::from_secs(1);
    /// Fewer say nothing.
    const ENOUGH: u32 = 10;

    fn served(&mut self, now: Instant) {
        self.roll(now);
        self.served += 1;
    }

    /// How long so many will take at the present pace, if there is one.
    fn expected(&mut self, waiting: u32, now: Instant) -> Option<Duration> {
        self.roll(now);
        let (served, time) = self.last.filter(|(served, _)| *served >= Self::ENOUGH)?;
        Some(time.mul_f64(f64::from(waiting) / f64::from(served)))
    }

    fn roll(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.began);
        if elapsed >= Self::STRETCH {
            // After a standstill nobody knows.
            self.last = (elapsed < Self::STRETCH * 2).then_some((self.served, elapsed));
            (self.began, self.served) = (now, 0);
        }
    }
}

impl Gate {
    pub fn new(tier: TierConfig, server: ServerId, names: Names) -> Self {
        let semaphore = |size| Arc::new(Semaphore::new(usize::try_from(size).unwrap_or_default()));
        Self {
            permits: semaphore(tier.size),
            reserve: semaphore(tier.reserve),
            open: Arc::new(Quota::new(tier.size.saturating_add(tier.reserve))),
            queue: Mutex::new(Queue {
                waiting: BTreeMap::new(),
                next: 0,
                pace: Pace { began: Instant::now(), served: 0, last: None },
            }),
            tier,
            server,
            names,
        }
    }

    /// The right to one connection, if nobody has to wait for it.
    pub fn enter_now(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.permits).try_acquire_owned().ok()
    }

    /// The right to one connection, in the order of asking. No time limit but the queue's.
    pub async fn enter(&self) -> Result<OwnedSemaphorePermit, Error> {
        if let Some(permit) = self.enter_now() {
            return Ok(permit);
        }
        let _waiting = self.join_queue()?;
        let mut ours = std::pin::pin!(Arc::clone(&self.permits).acquire_owned());
        let permit = match self.tier.reserve {
            0 => ours.await,
            _ => match tokio::time::timeout(self.tier.reserve_after, &mut ours).await {
                Ok(permit) => permit,
                Err(_) => tokio::select! {
                    biased;
                    permit = ours => permit,
                    permit = Arc::clone(&self.reserve).acquire_owned() => permit,
                },
            },
        };
        self.locked().pace.served(Instant::now());
        permit.map_err(|_| Error::internal("the pool is closed"))
    }

    /// How many wait, and since when the first of them.
    pub fn waiting(&self) -> (u32, Option<Instant>) {
        let queue = self.locked();
        (count(&queue), queue.waiting.values().next().copied())
    }

    pub fn stats(&self) -> PoolStats {
        let (waiting, first) = self.waiting();
        let pools = self.open.pools();
        let each = pools.iter().map(|pool| pool.connections());
        let (connections, idle) =
            each.fold((0, 0), |(open, idle), one| (open + one.open, idle + one.idle));
        PoolStats {
            server: self.server,
            shard: self.names.shard.clone(),
            address: self.names.address.clone(),
            label: self.names.label.clone(),
            database: self.names.database.clone(),
            user: self.names.user.clone(),
            tier: self.tier.name.clone(),
            size: self.tier.size,
            reserve: self.tier.reserve,
            connections,
            idle,
            waiting,
            longest_wait: first.map_or(Duration::ZERO, |since| since.elapsed()),
        }
    }

    /// The error of one who has waited too long.
    pub fn too_late(&self) -> Error {
        let (waiting, _) = self.waiting();
        self.no_connection(format!("after {:?}, with {waiting} waiting", self.tier.checkout))
            .hint("shorten transactions, or raise the tier's size or its checkout timeout")
    }

    fn join_queue(&self) -> Result<Waiting<'_>, Error> {
        let now = Instant::now();
        let mut queue = self.locked();
        let waiting = count(&queue);
        if waiting >= self.tier.queue {
            let full = self.no_connection(format!("since {waiting} are waiting already"));
            return Err(full.hint("shorten transactions, or raise the tier's size or its queue"));
        }
        if let Some(expected) = queue.pace.expected(waiting, now)
            && expected > self.tier.checkout
        {
            let hopeless = self.no_connection(format!(
                "in time: {waiting} are waiting, which takes about {:.0} s",
                expected.as_secs_f64()
            ));
            return Err(hopeless.hint("shorten transactions, or raise the tier's size"));
        }
        let number = queue.next;
        queue.next += 1;
        queue.waiting.insert(number, now);
        Ok(Waiting { gate: self, number })
    }

    fn no_connection(&self, why: String) -> Error {
        let TierConfig { name, size, reserve, .. } = &self.tier;
        let Names { shard, address, user, .. } = &self.names;
        let size = size.saturating_add(*reserve);
        let message = format!(
            "no connection to shard {shard} ({address}) {why} (user {user}, tier {name}, {size} connections)"
        );
        Error::shard(SqlState::TOO_MANY_CONNECTIONS, message)
    }

    fn locked(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn count(queue: &Queue) -> u32 {
    u32::try_from(queue.waiting.len()).unwrap_or(u32::MAX)
}

/// One who waits, for as long as it waits.
struct Waiting<'a> {
    gate: &'a Gate,
    number: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.gate.locked().waiting.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ShardId;

    #[test]
    fn the_expected_wait_is_the_queue_at_the_pace_of_the_last_second() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut pace = Pace { began: start, served: 0, last: None };
        for ms in (0..1000).step_by(20) {
            pace.served(at(ms));
        }
        assert_eq!(pace.expected(100, at(990)), None);
        assert_eq!(pace.expected(100, at(1000)), Some(Duration::from_secs(2)));
    }

    #[test]
    fn after_a_standstill_nobody_knows_the_wait() {
        let start = Instant::now();
        let mut pace = Pace { began: start, served: 50, last: Some((50, Duration::from_secs(1))) };
        assert_eq!(pace.expected(100, start + Duration::from_secs(3)), None);
    }

    fn gate(size: u32, queue: u32, reserve: u32) -> Gate {
        let reserve_after = Duration::from_millis(50);
        let tier = TierConfig { size, queue, reserve, reserve_after, ..TierConfig::default() };
        let names = ["shop", "s0", "host:1", "shop", "app"].map(str::to_owned);
        let [label, shard, address, database, user] = names;
        let id = ServerId { shard: ShardId(0), number: 0 };
        Gate::new(tier, id, Names { label, shard, address, database, user })
    }

    #[tokio::test]
    async fn who_comes_to_a_full_queue_is_refused_at_once() {
        let gate = gate(1, 1, 0);
        let held = gate.enter().await.unwrap();
        let mut first = std::pin::pin!(gate.enter());
        let soon = tokio::time::timeout(Duration::from_millis(1), &mut first).await;
        assert!(soon.is_err());
        let refused = gate.enter().await.unwrap_err();
        assert_eq!(refused.code, SqlState::TOO_MANY_CONNECTIONS);
        drop(held);
        drop(first.await.unwrap());
        assert_eq!(gate.waiting(), (0, None));
    }

    #[tokio::test]
    async fn the_reserve_is_for_those_who_have_waited() {
        let gate = gate(1, 9, 1);
        let _held = gate.enter().await.unwrap();
        let began = Instant::now();
        let _reserve = gate.enter().await.unwrap();
        assert!(began.elapsed() >= Duration::from_millis(50));
        let third = tokio::time::timeout(Duration::from_millis(200), gate.enter()).await;
        assert!(third.is_err());
    }
}
