//! How many connections may be open: of a tier on a server, of a user, of a database; over all workers.
//!
//! Each pool keeps connections of its own, and an unused one in one pool must not keep another waiting:
//! whoever finds no place has an unused connection of the same quota closed, wherever it is. No more
//! may be leased than may be open, so that there is one to close, or a place.
use super::server_pool::ServerPool;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Between two looks for an unused connection.
const PACE: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub struct Quota {
    places: Arc<Semaphore>,
    /// As many as places: whoever uses a connection has one.
    shares: Arc<Semaphore>,
    /// Who waits for a place: then connections that come back are closed.
    wanting: AtomicU32,
    pools: Mutex<Vec<Weak<ServerPool>>>,
}

/// The right to have one connection open.
pub type Place = OwnedSemaphorePermit;

/// The right to use one connection.
pub type Share = OwnedSemaphorePermit;

impl Quota {
    pub fn new(size: u32) -> Self {
        let size = usize::try_from(size).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Self {
            places: Arc::new(Semaphore::new(size)),
            shares: Arc::new(Semaphore::new(size)),
            wanting: AtomicU32::new(0),
            pools: Mutex::default(),
        }
    }

    /// A pool whose connections count.
    pub fn add(&self, pool: &Arc<ServerPool>) {
        let mut pools = self.locked();
        pools.retain(|pool| pool.strong_count() > 0);
        pools.push(Arc::downgrade(pool));
    }

    pub fn pools(&self) -> Vec<Arc<ServerPool>> {
        self.locked().iter().filter_map(Weak::upgrade).collect()
    }

    /// A share, if nobody has to wait for one.
    pub fn share_now(&self) -> Option<Share> {
        Arc::clone(&self.shares).try_acquire_owned().ok()
    }

    /// A share, in the order of asking.
    pub async fn share(&self) -> Option<Share> {
        Arc::clone(&self.shares).acquire_owned().await.ok()
    }

    /// Whether a connection could be opened without closing another.
    pub fn has_room(&self) -> bool {
        self.places.available_permits() > 0
    }

    /// A place for one more connection; waits until there is one. Nothing is closed for a connection
    /// that nobody waits for (`is_awaited`).
    pub async fn take(&self, is_awaited: impl Fn() -> bool) -> Option<Place> {
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return Some(place);
        }
        loop {
            let _wanting = is_awaited().then(|| {
                self.close_one();
                Wanting::new(&self.wanting)
            });
            let freed = Arc::clone(&self.places).acquire_owned();
            if let Ok(place) = tokio::time::timeout(PACE, freed).await {
                return place.ok();
            }
        }
    }

    /// Somebody waits for a place.
    pub fn is_wanted(&self) -> bool {
        self.wanting.load(Relaxed) > 0
    }

    fn close_one(&self) {
        let pools = self.pools();
        // A short circuit: the first that has one to spare.
        pools.iter().any(|pool| pool.close_unused());
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Vec<Weak<ServerPool>>> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Wanting<'a>(&'a AtomicU32);

impl<'a> Wanting<'a> {
    fn new(count: &'a AtomicU32) -> Self {
        count.fetch_add(1, Relaxed);
        Self(count)
    }
}

impl Drop for Wanting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
