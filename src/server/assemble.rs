//! Configuration and rules files → what all workers share.
use super::admin::open_gate;
use super::collector;
use super::config::{Changes, Config, PoolMode};
use super::door::open_door;
use super::fence::Fence;
use super::recovery;
use super::schema::{self, Keeper};
use super::seats::Seats;
use super::stats::History;
use crate::admin::http::access::Gate;
use crate::admin::system::Ending;
use crate::auth::client::Lookup;
use crate::auth::scram::KeyCache;
use crate::auth::tls::{self, Connector, Identity};
use crate::auth::users::Stored;
use crate::auth::{Login, Secret};
use crate::backend::{Address, ConnectOptions, control};
use crate::error::{Blame, Error, SqlState};
use crate::ids::{ShardId, TierId};
use crate::pool::breaker::{BreakerConfig, State};
use crate::pool::shapes::{ShapeRules, Shapes};
use crate::pool::{
    self, Budget, Cluster, Crew, Fleet, FleetConfig, HotRows, PoolConfig, PoolStats, Primary,
    ProbeConfig, Roll, TierConfig, UserConfig, probe,
};
use crate::rules::{self, Rules};
use crate::session::cancel::Clients;
use crate::session::startup::Door;
use crate::session::{self, Commons, GatherState, Limits, Log, ServerSet, Servers, Serving};
use crate::telemetry::metrics::{Metrics, PoolGauges, ServerGauges};
use crate::telemetry::sampler::LeftOut;
use crate::telemetry::traces::Tracer;
use crate::txn::footing::{self, Footing};
use arc_swap::ArcSwap;
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, watch};

/// What all workers share.
pub struct Shared {
    /// As it was when last read: a reload replaces it.
    pub config: ArcSwap<Config>,
    pub metrics: Arc<Metrics>,
    pub door: ArcSwap<Door>,
    /// Of the admin port.
    pub gate: ArcSwap<Gate>,
    pub clients: Arc<Clients>,
    pub databases: HashMap<String, Source>,
    /// Of the tiers, in the order of their ids: a reload cannot change them.
    tiers: Vec<String>,
    pub seats: Seats,
    budget: Budget,
    /// For `auth.query`, one connection each: what probes, schema, placement and recovery leave of weir's
    /// own.
    lookups: Semaphore,
    pub connecting: Connecting,
    /// No new client is wanted: weir is about to end.
    pub draining: AtomicBool,
    /// Clients that have not said yet who they are.
    pub arriving: AtomicUsize,
    /// Databases that take no new clients.
    disabled: Mutex<HashSet<String>>,
    /// What SET has said since the last reload.
    pub changes: Mutex<Changes>,
    /// Said when clients have been thrown out, so that they look.
    pub thrown_out: watch::Sender<()>,
    /// What the console has asked for.
    pub ending: watch::Sender<Option<Ending>>,
    pub history: History,
    /// Log lines that were left out.
    pub left_out: OnceLock<LeftOut>,
    /// Statements are traced.
    tracer: Option<Arc<Tracer>>,
    /// Held by a reload: there is one at a time.
    pub reloading: tokio::sync::Mutex<()>,
}

/// One rules file's database.
pub struct Source {
    pub serving: Arc<ArcSwap<Serving>>,
    /// What looks at new connections to the servers of `serving`.
    pub fence: ArcSwap<Fence>,
    pub keeper: Option<Keeper>,
    pub commons: Commons,
    /// What was prepared on the shards at the last look.
    pub in_doubt: ArcSwap<Vec<recovery::Leftover>>,
}

/// What all connections to servers have in common.
#[derive(Clone, Default)]
pub struct Connecting {
    keys: Arc<KeyCache>,
    ids: Arc<AtomicU64>,
    timeout: Option<Duration>,
}

impl Connecting {
    /// The same, with the time limits of this configuration.
    pub fn within(&self, config: &Config) -> Self {
        Self { timeout: Some(config.timeouts.connect), ..self.clone() }
    }
}

/// As its metric says it.
pub fn rules_version(rules: &Rules) -> i64 {
    i64::try_from(rules.version.0).unwrap_or(i64::MAX)
}

/// Connections of weir's own to one server: probe, schema, placement, recovery, and those of sessions that
/// finish transactions, one of which whoever looks for deadlocks takes.
const BUSY: usize = 4 + footing::PLACES;

impl Shared {
    pub async fn assemble(config: &Arc<Config>) -> Result<Self, Error> {
        let connecting = Connecting::default().within(config);
        let metrics = Arc::new(Metrics::new());
        let tracer = collector::open(&config.tracing, |name| std::env::var(name).ok(), &metrics)?;
        let mut databases = HashMap::new();
        for path in &config.rules {
            let rules = read_rules(path, config)?;
            let name = rules.database.clone();
            refuse_session_pooling(&rules, config)?;
            refuse_without_control(&rules, config)?;
            metrics.rules_version.with_label_values(&[&name]).set(rules_version(&rules));
            let commons = Commons {
                shapes: Arc::new(Shapes::new(shape_rules(config), metrics.shapes(&name))),
                hot_rows: Arc::new(HotRows::new(metrics.hot_rows(&name))),
                plans: Arc::default(),
                hot_keys: Arc::default(),
            };
            let source = Source::open(rules, config, &connecting, commons).await?;
            if databases.insert(name.clone(), source).is_some() {
                return Err(broken_rules(format!("two rules files describe database \"{name}\"")));
            }
        }
        Ok(Self {
            config: ArcSwap::new(config.clone()),
            metrics,
            door: ArcSwap::from_pointee(open_door(config)?),
            gate: ArcSwap::from_pointee(open_gate(config, config.listen.admin)?),
            clients: Arc::default(),
            databases,
            tiers: config.tiers(),
            seats: Seats::default(),
            budget: Budget::default(),
            lookups: Semaphore::new(config.limits.control_connections.saturating_sub(BUSY).max(1)),
            connecting,
            draining: AtomicBool::new(false),
            arriving: AtomicUsize::new(0),
            disabled: Mutex::default(),
            changes: Mutex::default(),
            thrown_out: watch::Sender::new(()),
            ending: watch::Sender::new(None),
            history: History::default(),
            left_out: OnceLock::new(),
            tracer,
            reloading: tokio::sync::Mutex::default(),
        })
    }

    /// The database of that name, or the one that takes any.
    pub fn source(&self, name: &str) -> Option<&Source> {
        self.databases.get(name).or_else(|| self.databases.get("*"))
    }

    pub fn session_limits(&self) -> Limits {
        let config = self.config.load();
        let limits = &config.limits;
        let tiers = || self.tiers.iter().map(|tier| config.tier("", "", tier));
        Limits {
            message_bytes: limits.message_size,
            statement_bytes: limits.statement_size,
            statements_per_client: limits.prepared_statements_per_client,
            statements_per_server: limits.prepared_statements_per_server,
            plans: limits.cached_plans,
            hot_row_queue: limits.hot_row_queue,
            merge_bytes: limits.merge_size,
            hot_row_wait: tiers().map(|tier| tier.checkout).collect(),
            tiers: self.tiers.clone().into(),
            client_idle: config.timeouts.client_idle,
            resolution: config.timeouts.resolution,
            idle_in_transaction: tiers().map(|tier| tier.idle_in_transaction).collect(),
            total: tiers().map(|tier| tier.total).collect(),
            tracer: self.tracer.clone(),
            log: Log {
                slow_statement: config.logging.slow_statement,
                parameters: config.logging.parameters,
                connections: config.logging.connections,
                disconnections: config.logging.disconnections,
            },
        }
    }

    /// How long a user of a database keeps a server: as weir.toml says of the user or the database,
    /// else as the database's rules say, else as `[pool]` says.
    pub fn pool_mode(&self, database: &str, user: &str, rules: &Rules) -> session::PoolMode {
        let config = self.config.load();
        let mode = match rules.pool_mode {
            rules::PoolMode::Session => PoolMode::Session,
            rules::PoolMode::Transaction => config.pool.mode,
        };
        match config.own_pool_mode(database, user).unwrap_or(mode) {
            PoolMode::Session => session::PoolMode::Session,
            PoolMode::Transaction => session::PoolMode::Transaction,
            PoolMode::Statement => session::PoolMode::Statement,
        }
    }

    /// The tier that weir.toml gives to a user's statements in a database.
    pub fn own_tier(&self, database: &str, user: &str) -> Option<TierId> {
        let config = self.config.load();
        let name = config.own_tier(database, user)?;
        let position = self.tiers.iter().position(|tier| tier == name)?;
        u8::try_from(position).ok().map(TierId)
    }

    /// A worker's pools of one database to these servers.
    pub fn cluster(&self, name: &str, label: &str, servers: &Servers) -> Cluster {
        let config = pool_config(&self.config.load(), &self.tiers, name, label);
        let (fleet, on_connect) = (servers.fleet.clone(), servers.on_connect.clone());
        let metrics = self.metrics.clone();
        Cluster::new(config, fleet, on_connect, self.budget.clone()).counted(metrics)
    }

    /// The tiers in force, in the order of their ids.
    pub fn tiers(&self) -> &[String] {
        &self.tiers
    }

    /// DISABLE, ENABLE: whether that database takes new clients.
    pub fn set_disabled(&self, database: &str, disabled: bool) {
        let mut names = self.disabled.lock().unwrap_or_else(PoisonError::into_inner);
        match disabled {
            true => names.insert(database.to_owned()),
            false => names.remove(database),
        };
    }

    /// Whether clients of that name are turned away, by its own name or by the one that serves it.
    pub fn takes_none(&self, name: &str) -> bool {
        let disabled = self.disabled.lock().unwrap_or_else(PoisonError::into_inner);
        !disabled.is_empty()
            && self.source(name).is_some_and(|source| {
                disabled.contains(source.serving.load().rules.database.as_str())
            })
    }

    pub fn is_disabled(&self, database: &str) -> bool {
        self.disabled.lock().unwrap_or_else(PoisonError::into_inner).contains(database)
    }

    /// Every connection of every worker.
    pub fn roll(&self) -> &Roll {
        &self.budget.roll
    }

    /// Every pool of every worker.
    pub fn census(&self) -> Vec<PoolStats> {
        self.budget.census()
    }

    /// The metrics page's text.
    pub fn metrics_now(&self) -> String {
        self.metrics.set_pools(self.budget.census().into_iter().map(|pool| PoolGauges {
            labels: [pool.label, pool.shard, pool.address, pool.tier],
            open: pool.connections,
            idle: pool.idle,
            size: pool.size,
            waiting: pool.waiting,
        }));
        for (name, source) in &self.databases {
            let ready = source.serving.load().gather == GatherState::Ready;
            self.metrics.gather_ready.with_label_values(&[name]).set(ready.into());
        }
        let serving = self.databases.values().map(|source| source.serving.load_full());
        self.metrics.set_limits(self.config.load().limits.clients);
        if let Some(left_out) = self.left_out.get() {
            self.metrics.set_left_out(left_out.get());
        }
        self.databases.values().for_each(|source| source.commons.shapes.measure(Instant::now()));
        self.metrics.set_servers(serving.flat_map(|serving| server_gauges(&serving)));
        self.metrics.text()
    }

    /// Where users come from that are not in the users file.
    pub fn lookup(&self, database: &str) -> AuthQuery<'_> {
        AuthQuery { shared: self, database: database.to_owned() }
    }
}

/// The servers of one database.
fn server_gauges(serving: &Serving) -> Vec<ServerGauges> {
    let now = Instant::now();
    let of_crew = |crew: &Crew| -> Vec<ServerGauges> {
        let servers = crew.servers.iter().zip(crew.standings());
        let gauges = servers.map(|(server, (standing, lag))| ServerGauges {
            labels: [
                serving.rules.database.clone(),
                crew.name.clone(),
                server.place.address.to_string(),
            ],
            up: crew.is_up(server.id.number),
            primary: crew.primary() == Primary::Known(server.id.number),
            latency: standing.latency,
            lag,
            breaker_open: server.breaker(now).0 != State::Closed,
            breaker_trips: server.trips(),
            round_trip: server.round_trip(),
            retransmits: server.retransmits(),
        });
        gauges.collect()
    };
    serving.servers.fleet.shards().iter().flat_map(of_crew).collect()
}

impl Source {
    async fn open(
        rules: Rules,
        config: &Arc<Config>,
        connecting: &Connecting,
        commons: Commons,
    ) -> Result<Self, Error> {
        let shards = shards(&rules, config, connecting)?;
        let fleet = Arc::new(Fleet::new(fleet_config(config), &shards, None));
        probe::look_at_all(&fleet).await;
        let fence = Arc::new(Fence::verified(&rules, &fleet).await?);
        let known = schema::read(&rules, &fleet).await?;
        probe::watch(&fleet);
        let footing = Arc::new(Footing::new(fence.cluster()));
        let servers = Arc::new(ServerSet { fleet, on_connect: Some(fence.clone()), footing });
        recovery::look_at_all(&rules, &servers).await;
        let serving = known.serving(Arc::new(rules), servers, None);
        let serving = Arc::new(ArcSwap::from_pointee(serving));
        let keeper = Keeper::start(&serving, config);
        Ok(Self {
            serving,
            fence: ArcSwap::new(fence),
            keeper,
            commons,
            in_doubt: ArcSwap::default(),
        })
    }
}

/// When statements are refused for a while.
pub fn shape_rules(config: &Config) -> ShapeRules {
    let (breaker, statement) = (&config.breaker, &config.breaker.statement);
    let slow = |tier: &String| config.tier("", "", tier).slow_statement;
    ShapeRules {
        slow: config.tiers().iter().map(slow).collect(),
        slow_calls: statement.slow_calls,
        failing: BreakerConfig {
            failures: 0,
            window: breaker.window,
            share: statement.share,
            calls: statement.calls,
            open: statement.open,
        },
    }
}

/// Statements of one session go to several servers where tables are sharded, so none can be its own.
pub fn refuse_session_pooling(rules: &Rules, config: &Config) -> Result<(), Error> {
    let users = config.users.iter().map(|user| user.name.as_str()).chain([""]);
    let mut modes = users.map(|user| config.pool_mode(&rules.database, user));
    if rules.is_plain() || !modes.any(|mode| mode == PoolMode::Session) {
        return Ok(());
    }
    let message = format!("database \"{}\" is sharded and cannot pool by session", rules.database);
    Err(Error::new(SqlState(*b"F0000"), Blame::Rules, message)
        .hint("set pool_mode = \"transaction\" for it in weir.toml"))
}

/// Without a user of its own weir only sees whether somebody listens: enough for one server of which nobody
/// wants to know anything.
pub fn refuse_without_control(rules: &Rules, config: &Config) -> Result<(), Error> {
    let own = config.database(&rules.database);
    let asks = config.auth.query.is_some() || own.is_some_and(|own| own.auth_query.is_some());
    let servers = rules.shards.iter().map(|shard| 1 + shard.replicas.len()).sum::<usize>();
    if !config.control.user.is_empty() || (rules.is_plain() && servers == 1 && !asks) {
        return Ok(());
    }
    let of_dsn = |dsn: &String| Address::parse(dsn).is_ok_and(|address| address.user.is_some());
    let mut dsns = rules
        .shards
        .iter()
        .flat_map(|shard| std::iter::once(&shard.primary).chain(&shard.replicas));
    if dsns.all(of_dsn) {
        return Ok(());
    }
    let message =
        format!("weir needs a user of its own on the servers of database \"{}\"", rules.database);
    Err(Error::new(SqlState(*b"F0000"), Blame::Rules, message)
        .hint("set [control] user in weir.toml, or user=… in the rules file's dsn"))
}

pub fn read_rules(path: &Path, config: &Config) -> Result<Rules, Error> {
    let text = match config.rules_texts.get(path) {
        Some(text) => text.clone(),
        None => std::fs::read_to_string(path)
            .map_err(|error| broken_rules(format!("{}: {error}", path.display())))?,
    };
    rules::parse(&text, &path.display().to_string())
        .map_err(|problems| broken_rules(problems.to_string()))
}

fn broken_rules(message: String) -> Error {
    Error::new(SqlState(*b"F0000"), Blame::Rules, message)
        .hint("`weir check FILE` shows every problem of a rules file")
}

/// Where the shards are, and the gather database behind them, with what it takes to connect there.
pub fn shards(
    rules: &Rules,
    config: &Config,
    connecting: &Connecting,
) -> Result<Vec<pool::Shard>, Error> {
    let shard = |shard: &rules::Shard| {
        let dsns = std::iter::once(&shard.primary).chain(&shard.replicas);
        let servers = dsns.map(|dsn| place(dsn, config, connecting)).collect::<Result<_, _>>();
        let servers =
            servers.map_err(|problem| broken_rules(format!("shard {}: {problem}", shard.name)))?;
        Ok(pool::Shard { name: shard.name.clone(), servers })
    };
    let mut shards = rules.shards.iter().map(shard).collect::<Result<Vec<_>, Error>>()?;
    if let Some(gather) = &rules.gather {
        let server = place(&gather.dsn, config, connecting);
        let server = server.map_err(|problem| broken_rules(format!("[gather]: {problem}")))?;
        shards.push(pool::Shard { name: rules::Gather::NAME.to_owned(), servers: vec![server] });
    }
    Ok(shards)
}

fn place(dsn: &str, config: &Config, connecting: &Connecting) -> Result<pool::Place, String> {
    let address = Address::parse(dsn).map_err(|error| error.to_string())?;
    let tls = connector(&address)?;
    let name = address.application_name.clone();
    let parameters = name.map(|name| ("application_name".to_owned(), name));
    Ok(pool::Place {
        control: Arc::new(control_login(&address, config)),
        address: Arc::new(address),
        options: ConnectOptions {
            tls,
            parameters: parameters.into_iter().collect(),
            timeout: connecting.timeout,
            keys: connecting.keys.clone(),
            ids: connecting.ids.clone(),
        },
    })
}

/// How one database's pools behave.
fn pool_config(config: &Config, names: &[String], database: &str, label: &str) -> PoolConfig {
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let tiers = |user: &str| -> Vec<TierConfig> {
        let tiers = names.iter().map(|name| config.tier(database, user, name));
        tiers
            .map(|tier| TierConfig {
                name: tier.name,
                size: count(tier.size).max(1),
                min_idle: count(tier.min_idle),
                reserve: count(tier.reserve),
                reserve_after: tier.reserve_after,
                queue: count(tier.queue),
                checkout: tier.checkout,
                statement: tier.statement,
                server_idle: tier.server_idle,
                server_lifetime: tier.server_lifetime,
            })
            .collect()
    };
    let users = config.users.iter().map(|user| {
        let max_connections = user.max_server_connections.map(count);
        (user.name.clone(), UserConfig { tiers: tiers(&user.name), max_connections })
    });
    let own = config.database(database);
    PoolConfig {
        label: label.to_owned(),
        tiers: tiers(""),
        users: users.collect(),
        connect_query: own.and_then(|own| own.connect_query.clone()),
        user_connections: config.limits.server_connections_per_user.map(count),
        max_connections: config.server_connections_of_database(database).map(count),
        connect_timeout: config.timeouts.connect,
        server_check: config.timeouts.server_check,
        ..PoolConfig::default()
    }
}

/// How servers are watched.
pub fn fleet_config(config: &Config) -> FleetConfig {
    let (probe, breaker) = (&config.probe, &config.breaker);
    FleetConfig {
        probe: ProbeConfig {
            interval: probe.interval,
            interval_in_doubt: probe.interval_in_doubt,
            timeout: probe.timeout,
            failures: probe.failures,
            slow: probe.slow,
        },
        breaker: BreakerConfig {
            failures: breaker.failures,
            window: breaker.window,
            share: breaker.share,
            calls: breaker.calls,
            open: breaker.open,
        },
        max_lag: config.replicas.max_lag,
        primary_timeout: config.timeouts.primary,
        primary_queue: u32::try_from(config.pool.queue).unwrap_or(u32::MAX),
    }
}

fn connector(address: &Address) -> Result<Option<Connector>, String> {
    if address.tls == tls::TlsMode::Disable {
        return Ok(None);
    }
    let read = |path: &Option<String>| match path {
        Some(path) => std::fs::read(path).map(Some).map_err(|error| format!("{path}: {error}")),
        None => Ok(None),
    };
    let roots = read(&address.root_certificate)?;
    let (certificates, key) = (read(&address.client_certificate)?, read(&address.client_key)?);
    let identity = match (&certificates, &key) {
        (Some(certificates), Some(key)) => Some(Identity { certificates, key }),
        _ => None,
    };
    Connector::new(address.tls, roots.as_deref(), identity)
        .map(Some)
        .map_err(|error| error.to_string())
}

/// Whom weir itself is on a server: the dsn's user, else the configuration's control user.
pub fn control_login(address: &Address, config: &Config) -> Login {
    let secret = |password: Option<&str>| match password {
        Some(password) => Secret::Password(password.to_owned()),
        None => Secret::None,
    };
    match &address.user {
        Some(user) => Login::new(user, secret(address.password.as_deref())),
        None => {
            let password = config.control.password.as_ref().and_then(|password| password.reveal());
            Login::new(&config.control.user, secret(password))
        }
    }
}

/// A control connection to a shard's primary.
pub async fn control_client(fleet: &Fleet, shard: ShardId) -> Result<control::Client, Error> {
    control_client_of(&*fleet.primary(shard)?).await
}

pub async fn control_client_of(server: &pool::Server) -> Result<control::Client, Error> {
    server.control().await
}

/// `auth.query`, asked on the database's home shard as the control user.
pub struct AuthQuery<'a> {
    shared: &'a Shared,
    database: String,
}

impl Lookup for AuthQuery<'_> {
    async fn find(&self, user: &str) -> Result<Option<Stored>, Error> {
        let config = self.shared.config.load_full();
        let own = config.database(&self.database);
        let query = own.and_then(|own| own.auth_query.as_ref()).or(config.auth.query.as_ref());
        let Some(query) = query else { return Ok(None) };
        let elsewhere = own.and_then(|own| own.auth_database.as_deref());
        let place = elsewhere.unwrap_or(&self.database);
        let Some(source) = self.shared.source(place) else { return Ok(None) };
        let serving = source.serving.load_full();
        let turn = self.shared.lookups.acquire().await;
        let _turn = turn.map_err(|_| Error::internal("users are not looked up any more"))?;
        let server = serving.servers.fleet.primary(serving.rules.home)?;
        // A "*" stands for no database in particular.
        let named = (serving.rules.database == "*").then_some(place);
        let client = server.control_in(named).await?;
        control::verifier(&client, query, user).await
    }
}
