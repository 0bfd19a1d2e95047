//! The pools of all shards, by shard, database and user; made when first asked for.
use super::config::PoolConfig;
use super::dialer::{CurrentLogin, Dialer, OnConnect};
use super::failures::Failures;
use super::shard_pool::{Lease, PoolStats, ShardPool};
use crate::auth::Login;
use crate::backend::{Address, ConnectOptions};
use crate::error::{Blame, Error, SqlState};
use crate::ids::ShardId;
use crate::telemetry::metrics::PoolMetrics;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio::sync::Semaphore;

/// A shard's server, and how connections to it are made.
#[derive(Clone, Debug)]
pub struct Shard {
    pub name: String,
    pub address: Arc<Address>,
    pub options: ConnectOptions,
}

/// One worker's pools.
pub struct Cluster {
    config: PoolConfig,
    shards: Vec<Shard>,
    on_connect: Option<Arc<dyn OnConnect>>,
    budget: Budget,
    /// In the shards' order.
    metrics: Vec<PoolMetrics>,
    pools: Mutex<Pools>,
}

/// By user; a user has few pools.
type Pools = HashMap<String, Vec<Arc<ShardPool>>>;

/// What the workers of a process share: how many connections to a shard, as one user, may be at work at
/// once, in whichever worker; and which pools there are.
#[derive(Clone, Default)]
pub struct Budget {
    gates: Arc<Mutex<HashMap<Gate, Arc<Semaphore>>>>,
    pools: Arc<Mutex<Vec<Weak<ShardPool>>>>,
}

#[derive(PartialEq, Eq, Hash)]
struct Gate {
    /// Host and port: two logical databases may have shards of the same name.
    server: String,
    database: String,
    user: String,
    /// After a reload has changed it, old and new connections are counted apart.
    size: u32,
}

impl Cluster {
    /// `shards` in the order of their ids.
    pub fn new(
        config: PoolConfig,
        shards: Vec<Shard>,
        on_connect: Option<Arc<dyn OnConnect>>,
        budget: Budget,
    ) -> Self {
        let (metrics, pools) = (Vec::new(), Mutex::default());
        Self { config, shards, on_connect, budget, metrics, pools }
    }

    /// The same, counting what its pools do.
    pub fn counted(self, metrics: Vec<PoolMetrics>) -> Self {
        Self { metrics, ..self }
    }

    /// A connection to a shard. `database`: where it is not the one that the shard's address names.
    pub async fn lease(
        &self,
        shard: ShardId,
        database: Option<&str>,
        login: &Arc<Login>,
    ) -> Result<Lease, Error> {
        self.pool(shard, database, login)?.lease().await
    }

    /// The pool from which [`Cluster::lease`] leases; holding it spares the look-up.
    pub fn pool(
        &self,
        shard: ShardId,
        database: Option<&str>,
        login: &Arc<Login>,
    ) -> Result<Arc<ShardPool>, Error> {
        let Some(known) = self.shards.get(usize::from(shard.0)) else {
            return Err(Error::internal(format!("there is no shard number {shard}")));
        };
        let database = database.or(known.address.dbname.as_deref()).unwrap_or(&login.user);
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        let found = pools.get(&login.user).into_iter().flatten();
        let found = found.into_iter().find(|p| p.shard == shard && p.database == database);
        if let Some(pool) = found {
            pool.renew(login);
            return Ok(Arc::clone(pool));
        }
        self.make_room(&mut pools)?;
        let pool = Arc::new(self.open(shard, known, database, login));
        self.budget.remember(&pool);
        pools.entry(login.user.clone()).or_default().push(Arc::clone(&pool));
        Ok(pool)
    }

    /// Every pool, for metrics.
    pub fn stats(&self) -> Vec<PoolStats> {
        let pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        pools.values().flatten().map(|pool| pool.stats()).collect()
    }

    pub fn shards(&self) -> &[Shard] {
        &self.shards
    }

    fn open(&self, id: ShardId, shard: &Shard, database: &str, login: &Arc<Login>) -> ShardPool {
        let mut address = Address::clone(&shard.address);
        address.dbname = Some(database.to_owned());
        let mut options = shard.options.clone();
        options.timeout.get_or_insert(self.config.connect_timeout);
        let size = self.config.size_for(&login.user);
        let gate = self.budget.gate(&address.to_string(), database, &login.user, size);
        let dialer = Dialer {
            shard: id,
            place: format!("shard {} ({address})", shard.name),
            address: Arc::new(address),
            login: CurrentLogin::new(Arc::clone(login)),
            options,
            on_connect: self.on_connect.clone(),
            failures: Arc::new(Failures::default()),
            metrics: self.metrics.get(usize::from(id.0)).cloned(),
        };
        ShardPool::new(dialer, shard.name.clone(), database.to_owned(), &self.config, gate)
    }

    /// Pools that lend nothing make room for a new one: those without a connection first.
    fn make_room(&self, pools: &mut Pools) -> Result<(), Error> {
        let limit = self.config.max_pools;
        let is_full = |pools: &Pools| pools.values().map(Vec::len).sum::<usize>() >= limit;
        for leave in [Leave::Connected, Leave::Lending] {
            if !is_full(pools) {
                return Ok(());
            }
            pools.retain(|_, pools| {
                pools.retain(|pool| Arc::strong_count(pool) > 1 || leave.keeps(&pool.stats()));
                !pools.is_empty()
            });
        }
        if !is_full(pools) {
            return Ok(());
        }
        let message = format!("all {limit} server connection pools are in use");
        let hint = "raise the limit of pools, or use fewer users and databases";
        let code = SqlState::CONFIGURATION_LIMIT_EXCEEDED;
        Err(Error::new(code, Blame::Proxy, message).hint(hint))
    }
}

/// Which pools stay when room is made.
enum Leave {
    Connected,
    Lending,
}

impl Leave {
    fn keeps(&self, stats: &PoolStats) -> bool {
        match self {
            Leave::Connected => stats.connections > 0,
            Leave::Lending => stats.connections > stats.idle,
        }
    }
}

impl Budget {
    /// Every counted pool of every worker as it is now.
    pub fn census(&self) -> Vec<(PoolMetrics, PoolStats)> {
        let pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        let pools = pools.iter().filter_map(Weak::upgrade);
        pools.filter_map(|pool| Some((pool.metrics.clone()?, pool.stats()))).collect()
    }

    fn remember(&self, pool: &Arc<ShardPool>) {
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        pools.retain(|pool| pool.strong_count() > 0);
        pools.push(Arc::downgrade(pool));
    }

    fn gate(&self, server: &str, database: &str, user: &str, size: u32) -> Arc<Semaphore> {
        let [server, database, user] = [server, database, user].map(str::to_owned);
        let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        // Gates that no pool holds any more are forgotten: their size may have changed since.
        gates.retain(|_, gate| Arc::strong_count(gate) > 1);
        let gate = gates.entry(Gate { server, database, user, size });
        let permits = usize::try_from(size).unwrap_or(Semaphore::MAX_PERMITS);
        Arc::clone(gate.or_insert_with(|| Arc::new(Semaphore::new(permits))))
    }
}
