//! Sizes and time limits of the pools.
use std::collections::HashMap;
use std::time::Duration;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PoolConfig {
    /// How many connections to one shard may be leased at once, per database and user, in all workers
    /// together. Unused ones beyond that may stay open in each worker until `idle_timeout`.
    pub size: u32,
    /// The same for single users, where it differs.
    pub user_sizes: HashMap<String, u32>,
    /// How many connections each pool keeps ready beyond those leased.
    pub min_idle: u32,
    /// How long a statement may wait for a connection.
    pub checkout_timeout: Duration,
    /// How long connecting and logging in to a server may take.
    pub connect_timeout: Duration,
    /// After how long an unused connection is closed.
    pub idle_timeout: Option<Duration>,
    /// After how long a connection is closed when it comes back, however busy it was.
    pub lifetime: Option<Duration>,
    /// How many pools one worker may have, over all shards, databases and users.
    pub max_pools: usize,
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self {
            size: 20,
            user_sizes: HashMap::new(),
            min_idle: 0,
            checkout_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(5),
            idle_timeout: Some(Duration::from_secs(600)),
            lifetime: Some(Duration::from_secs(3600)),
            max_pools: 1000,
        }
    }
}

impl PoolConfig {
    /// How many connections to one shard this user may have at work; at least one.
    pub fn size_for(&self, user: &str) -> u32 {
        self.user_sizes.get(user).copied().unwrap_or(self.size).max(1)
    }
}
