//! Sizes and time limits of the pools.
use super::breaker::BreakerConfig;
use crate::error::Error;
use crate::ids::TierId;
use std::collections::HashMap;
use std::time::Duration;

/// What one logical database's pools go by.
#[derive(Clone, PartialEq, Debug)]
pub struct PoolConfig {
    /// The logical database, as its metrics say it.
    pub label: String,
    /// In the order of their ids; never empty.
    pub tiers: Vec<TierConfig>,
    /// Users who differ.
    pub users: HashMap<String, UserConfig>,
    /// What is run on each new connection to a server.
    pub connect_query: Option<String>,
    /// How many connections a user may have open to each server who does not differ.
    pub user_connections: Option<u32>,
    /// How many connections the database may have open to each server, over all users and tiers.
    pub max_connections: Option<u32>,
    /// How long connecting and logging in to a server may take.
    pub connect_timeout: Duration,
    /// A connection that was unused for longer is asked before it is used.
    pub server_check: Duration,
    /// How many pools one worker may have, over all servers, databases, users and tiers.
    pub max_pools: usize,
}

/// What differs for one user.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct UserConfig {
    pub tiers: Vec<TierConfig>,
    /// How many connections the user may have open to each server, over all databases and tiers.
    pub max_connections: Option<u32>,
}

/// One kind of work on one server as one user: its connections and limits, in all workers together.
#[derive(Clone, PartialEq, Debug)]
pub struct TierConfig {
    pub name: String,
    /// Connections that may be leased at once.
    pub size: u32,
    /// Connections that are kept ready while nobody uses them.
    pub min_idle: u32,
    /// Connections beyond `size` for those who have waited for `reserve_after`.
    pub reserve: u32,
    pub reserve_after: Duration,
    /// How many may wait; whoever comes on top is refused.
    pub queue: u32,
    /// How long one may wait.
    pub checkout: Duration,
    /// How long the servers let a statement run, unless its client says otherwise.
    pub statement: Option<Duration>,
    /// After how long an unused connection is closed.
    pub server_idle: Option<Duration>,
    /// After about how long a connection is closed when it comes back, however busy it was: up to a
    /// tenth less, so that those opened together do not end together.
    pub server_lifetime: Option<Duration>,
}

/// How servers are watched.
#[derive(Clone, PartialEq, Debug)]
pub struct FleetConfig {
    pub probe: ProbeConfig,
    pub breaker: BreakerConfig,
    /// How far a replica may be behind and still be read.
    pub max_lag: Duration,
    /// How long a statement waits while a shard has no primary.
    pub primary_timeout: Duration,
    /// How many wait for that on one shard.
    pub primary_queue: u32,
}

/// How often and how patiently a server is looked at.
#[derive(Clone, PartialEq, Debug)]
pub struct ProbeConfig {
    pub interval: Duration,
    /// While something seems wrong.
    pub interval_in_doubt: Duration,
    pub timeout: Duration,
    /// So many looks in a row without an answer, and the server is taken for down.
    pub failures: u32,
    /// An answer that takes longer counts as none.
    pub slow: Option<Duration>,
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self {
            label: String::new(),
            tiers: vec![TierConfig::default()],
            users: HashMap::new(),
            connect_query: None,
            user_connections: None,
            max_connections: None,
            connect_timeout: Duration::from_secs(5),
            server_check: Duration::from_secs(30),
            max_pools: 1000,
        }
    }
}

impl Default for TierConfig {
    fn default() -> Self {
        Self {
            name: "interactive".to_owned(),
            size: 20,
            min_idle: 0,
            reserve: 0,
            reserve_after: Duration::from_secs(5),
            queue: 1000,
            checkout: Duration::from_secs(15),
            statement: None,
            server_idle: Some(Duration::from_secs(600)),
            server_lifetime: Some(Duration::from_secs(3600)),
        }
    }
}

impl Default for FleetConfig {
    fn default() -> Self {
        Self {
            probe: ProbeConfig::default(),
            breaker: BreakerConfig::default(),
            max_lag: Duration::from_secs(10),
            primary_timeout: Duration::from_secs(10),
            primary_queue: 1000,
        }
    }
}

impl Default for ProbeConfig {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(2),
            interval_in_doubt: Duration::from_millis(250),
            timeout: Duration::from_secs(1),
            failures: 3,
            slow: None,
        }
    }
}

impl PoolConfig {
    /// A tier as this user has it.
    pub fn tier(&self, user: &str, tier: TierId) -> Result<&TierConfig, Error> {
        let own = self.users.get(user).map(|user| &user.tiers).filter(|tiers| !tiers.is_empty());
        let tiers = own.unwrap_or(&self.tiers);
        let found = tiers.get(usize::from(tier.0));
        found.ok_or_else(|| Error::internal(format!("there is no tier number {}", tier.0)))
    }

    pub fn user_connections(&self, user: &str) -> Option<u32> {
        self.users.get(user).and_then(|user| user.max_connections).or(self.user_connections)
    }
}
