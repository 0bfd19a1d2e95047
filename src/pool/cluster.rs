//! One worker's pools, by server, database, user and tier; made when first asked for.
use super::config::PoolConfig;
use super::dialer::{CurrentLogin, Dialer, OnConnect};
use super::failures::Failures;
use super::fleet::{Begins, Fleet, Role, Server, Wanted, Work};
use super::gate::{Gate, Names};
use super::quota::Quota;
use super::roll::{Roll, Whose};
use super::server_pool::{Connections, Denied, Lease, ServerPool};
use crate::auth::Login;
use crate::backend::Address;
use crate::error::{Blame, Error, SqlState};
use crate::ids::{ServerId, ShardId, TierId};
use crate::telemetry::metrics::Metrics;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

/// One worker's pools of one logical database.
pub struct Cluster {
    config: PoolConfig,
    fleet: Arc<Fleet>,
    on_connect: Option<Arc<dyn OnConnect>>,
    budget: Budget,
    metrics: Option<Arc<Metrics>>,
    pools: Mutex<Pools>,
}

/// By user; a user has few pools.
type Pools = foldhash::HashMap<String, Vec<Arc<ServerPool>>>;

/// What somebody wants a connection for.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    pub shard: ShardId,
    pub wanted: Wanted,
    pub tier: TierId,
    pub begins: Begins,
    /// Where it is not the one that the server's address names.
    pub database: Option<&'a str>,
    pub login: &'a Arc<Login>,
}

/// An ask that has to wait: since when, and the server that was chosen, if one was.
#[derive(Debug)]
pub struct Asked {
    at: Instant,
    work: Option<Work>,
}

/// What the workers of a process share: who may have how many connections, in whichever worker.
#[derive(Clone, Default)]
pub struct Budget {
    gates: Arc<Mutex<HashMap<GateKey, Weak<Gate>>>>,
    quotas: Arc<Mutex<HashMap<QuotaKey, Weak<Quota>>>>,
    /// The connections that they have.
    pub roll: Roll,
}

#[derive(PartialEq, Eq, Hash)]
struct GateKey {
    /// Host and port: two logical databases may have shards of the same name.
    server: String,
    database: String,
    user: String,
    tier: String,
    /// After a reload has changed it, old and new connections are counted apart.
    size: u32,
}

#[derive(PartialEq, Eq, Hash)]
struct QuotaKey {
    server: String,
    of: Of,
    size: u32,
}

#[derive(PartialEq, Eq, Hash)]
enum Of {
    User(String),
    Database(String),
}

/// What a tier's connections to a server look like at one moment, over all workers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PoolStats {
    pub server: ServerId,
    pub shard: String,
    pub address: String,
    /// The logical database that asked first, and the one on the server.
    pub label: String,
    pub database: String,
    pub user: String,
    pub tier: String,
    /// The most connections that may be leased at once, and as many more for those who have waited.
    pub size: u32,
    pub reserve: u32,
    pub connections: u32,
    pub idle: u32,
    /// Leases asked for and not granted yet, and for how long the first of them.
    pub waiting: u32,
    pub longest_wait: Duration,
}

impl Cluster {
    pub fn new(
        config: PoolConfig,
        fleet: Arc<Fleet>,
        on_connect: Option<Arc<dyn OnConnect>>,
        budget: Budget,
    ) -> Self {
        Self { config, fleet, on_connect, budget, metrics: None, pools: Mutex::default() }
    }

    /// The same, counting what its pools do.
    pub fn counted(self, metrics: Arc<Metrics>) -> Self {
        Self { metrics: Some(metrics), ..self }
    }

    /// A connection to a server that will do, within the tier's time.
    pub async fn lease(&self, ask: Ask<'_>) -> Result<Lease, Error> {
        match self.lease_now(&ask) {
            Ok(lease) => Ok(lease),
            Err(asked) => self.lease_in_turn(ask, asked).await,
        }
    }

    /// An unused connection, if there is one and nobody has come before. Mostly there is, and then nothing
    /// is set up for waiting.
    pub fn lease_now(&self, ask: &Ask<'_>) -> Result<Lease, Asked> {
        let at = Instant::now();
        let Some(work) = self.fleet.choose_now(ask.shard, ask.wanted, ask.begins, at) else {
            return Err(Asked { at, work: None });
        };
        match self.pool(&work.server, ask) {
            Ok(pool) => pool.lease_now(work, at).map_err(|work| Asked { at, work: Some(work) }),
            Err(_) => Err(Asked { at, work: Some(work) }),
        }
    }

    /// Nothing has been said on the connection, so a server that turns out to be gone is replaced by
    /// another that will do: the next replica, the primary, or the primary's successor.
    pub async fn lease_in_turn(&self, ask: Ask<'_>, first: Asked) -> Result<Lease, Error> {
        /// Between two tries of a primary that cannot be reached.
        const PACE: Duration = Duration::from_millis(100);
        let Asked { at: began, mut work } = first;
        let mut asked = began;
        let deadline = began + self.config.tier(&ask.login.user, ask.tier)?.checkout;
        let mut avoid = Vec::new();
        loop {
            let work = match work.take() {
                Some(work) => work,
                None => {
                    let Ask { shard, wanted, begins, .. } = ask;
                    let choose = self.fleet.choose(shard, wanted, begins, &avoid, asked, deadline);
                    choose.await?
                }
            };
            let (server, role) = (Arc::clone(&work.server), work.role());
            let denied = match self.pool(&server, &ask)?.lease(work, asked, deadline).await {
                Ok(lease) => return Ok(lease),
                Err(denied) => denied,
            };
            asked = Instant::now();
            let error = match denied {
                Denied::Changed => continue,
                Denied::Error(error) => error,
            };
            if asked >= deadline {
                return Err(error);
            }
            match role {
                // Whatever is wrong with it: another server will do.
                Role::Replica => avoid.push(server.id.number),
                // It may have a successor soon.
                Role::Primary
                    if is_gone(&error)
                        && self.fleet.crew(ask.shard)?.servers.len() > 1
                        && began.elapsed() < self.fleet.config.primary_timeout =>
                {
                    tokio::time::sleep(PACE).await;
                    asked = Instant::now();
                }
                Role::Primary => return Err(error),
            }
        }
    }

    /// Closes unused connections that should not be used again: called now and then.
    pub fn sweep(&self) {
        for pool in self.locked().values().flatten() {
            pool.sweep();
        }
    }

    pub fn fleet(&self) -> &Arc<Fleet> {
        &self.fleet
    }

    pub fn config(&self) -> &PoolConfig {
        &self.config
    }

    /// This worker's connections.
    pub fn connections(&self) -> Connections {
        let pools = self.locked();
        pools.values().flatten().fold(Connections::default(), |sum, pool| {
            let Connections { open, idle } = pool.connections();
            Connections { open: sum.open + open, idle: sum.idle + idle }
        })
    }

    fn pool(&self, server: &Arc<Server>, ask: &Ask<'_>) -> Result<Arc<ServerPool>, Error> {
        let login = ask.login;
        let address = &server.place.address;
        let database = ask.database.or(address.dbname.as_deref()).unwrap_or(&login.user);
        let mut pools = self.locked();
        let found = pools.get(&login.user).into_iter().flatten().find(|pool| {
            pool.id() == server.id && pool.tier == ask.tier && pool.database == database
        });
        if let Some(pool) = found {
            pool.renew(login);
            return Ok(Arc::clone(pool));
        }
        self.make_room(&mut pools)?;
        let pool = self.open(server, database, ask)?;
        pools.entry(login.user.clone()).or_default().push(Arc::clone(&pool));
        Ok(pool)
    }

    fn open(
        &self,
        server: &Arc<Server>,
        database: &str,
        ask: &Ask<'_>,
    ) -> Result<Arc<ServerPool>, Error> {
        let user = &ask.login.user;
        let tier = self.config.tier(user, ask.tier)?;
        let mut address = Address::clone(&server.place.address);
        address.dbname = Some(database.to_owned());
        let mut options = server.place.options.clone();
        options.timeout.get_or_insert(self.config.connect_timeout);
        if let Some(limit) = tier.statement {
            let limit = limit.as_millis().to_string();
            options.parameters.push(("statement_timeout".to_owned(), limit));
        }
        let host = address.to_string();
        let key = GateKey {
            server: host.clone(),
            database: database.to_owned(),
            user: user.clone(),
            tier: tier.name.clone(),
            size: tier.size,
        };
        let gate = self.budget.gate(key, || {
            let names = Names {
                label: self.config.label.clone(),
                shard: server.shard.clone(),
                address: host.clone(),
                database: database.to_owned(),
                user: user.clone(),
            };
            Gate::new(tier.clone(), server.id, names)
        });
        let mut quotas = vec![Arc::clone(&gate.open)];
        let users = self.config.user_connections(user).map(|size| (Of::User(user.clone()), size));
        let bases = self.config.max_connections;
        let bases = bases.map(|size| (Of::Database(database.to_owned()), size));
        for (of, size) in users.into_iter().chain(bases) {
            quotas.push(self.budget.quota(QuotaKey { server: host.clone(), of, size }));
        }
        let dialer = Dialer {
            server: Arc::clone(server),
            address: Arc::new(address),
            login: CurrentLogin::new(Arc::clone(ask.login)),
            options,
            idle_timeout: tier.server_idle,
            lifetime: tier.server_lifetime,
            on_connect: self.on_connect.clone(),
            connect_query: self.config.connect_query.clone(),
            failures: Arc::new(Failures::default()),
            quotas: quotas.clone(),
            roll: self.budget.roll.clone(),
            whose: Arc::new(Whose {
                label: self.config.label.clone(),
                database: database.to_owned(),
                user: user.clone(),
                tier: tier.name.clone(),
            }),
            metrics: self
                .metrics
                .as_ref()
                .map(|metrics| metrics.pool(&self.config.label, &server.shard, &host, &tier.name)),
        };
        let names = (database.to_owned(), ask.tier);
        let pool = Arc::new(ServerPool::new(dialer, names, &self.config, gate));
        quotas.iter().for_each(|quota| quota.add(&pool));
        Ok(pool)
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
                pools.retain(|pool| Arc::strong_count(pool) > 1 || leave.keeps(pool.connections()));
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

    fn locked(&self) -> MutexGuard<'_, Pools> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the error says that the server cannot be reached, rather than that it does not want us.
fn is_gone(error: &Error) -> bool {
    matches!(
        error.code,
        SqlState::CANNOT_CONNECT | SqlState::CANNOT_CONNECT_NOW | SqlState::CONNECTION_FAILURE
    )
}

/// Which pools stay when room is made.
enum Leave {
    Connected,
    Lending,
}

impl Leave {
    fn keeps(&self, connections: Connections) -> bool {
        match self {
            Leave::Connected => connections.open > 0,
            Leave::Lending => connections.open > connections.idle,
        }
    }
}

impl Budget {
    /// Every tier of every server as it is now, over all workers.
    pub fn census(&self) -> Vec<PoolStats> {
        let gates: Vec<_> = locked(&self.gates).values().filter_map(Weak::upgrade).collect();
        gates.iter().map(|gate| gate.stats()).collect()
    }

    /// A gate lives as long as a pool holds it.
    fn gate(&self, key: GateKey, make: impl FnOnce() -> Gate) -> Arc<Gate> {
        let mut gates = locked(&self.gates);
        gates.retain(|_, gate| gate.strong_count() > 0);
        if let Some(gate) = gates.get(&key).and_then(Weak::upgrade) {
            return gate;
        }
        let gate = Arc::new(make());
        gates.insert(key, Arc::downgrade(&gate));
        gate
    }

    fn quota(&self, key: QuotaKey) -> Arc<Quota> {
        let mut quotas = locked(&self.quotas);
        quotas.retain(|_, quota| quota.strong_count() > 0);
        if let Some(quota) = quotas.get(&key).and_then(Weak::upgrade) {
            return quota;
        }
        let quota = Arc::new(Quota::new(key.size));
        quotas.insert(key, Arc::downgrade(&quota));
        quota
    }
}

fn locked<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
