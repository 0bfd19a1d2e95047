//! Configuration and rules files → what all workers share.
use super::config::{Config, PoolMode};
use super::door::open_door;
use super::fence::Fence;
use super::schema::{self, Keeper};
use crate::auth::client::Lookup;
use crate::auth::scram::KeyCache;
use crate::auth::tls::{self, Connector, Identity};
use crate::auth::users::Stored;
use crate::auth::{Login, Secret};
use crate::backend::{Address, ConnectOptions, control};
use crate::error::{Blame, Error, SqlState};
use crate::pool::shapes::{ShapeRules, Shapes};
use crate::pool::{self, BreakerConfig, Budget, Cluster, HotRows, PoolConfig, PoolStats};
use crate::rules::{self, Rules};
use crate::session::cancel::Clients;
use crate::session::startup::Door;
use crate::session::{self, Commons, Limits, ServerSet, Servers, Serving};
use crate::telemetry::metrics::{Metrics, PoolGauges};
use arc_swap::ArcSwap;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::{Duration, Instant};

/// What all workers share.
pub struct Shared {
    /// As it was when last read: a reload replaces it.
    pub config: ArcSwap<Config>,
    pub metrics: Arc<Metrics>,
    pub door: ArcSwap<Door>,
    pub clients: Arc<Clients>,
    pub databases: HashMap<String, Source>,
    budget: Budget,
    pub connecting: Connecting,
    /// No new client is wanted: weir is about to end.
    pub draining: AtomicBool,
}

/// One rules file's database.
pub struct Source {
    pub serving: Arc<ArcSwap<Serving>>,
    /// What looks at new connections to the servers of `serving`.
    pub fence: ArcSwap<Fence>,
    pub keeper: Option<Keeper>,
    pub commons: Commons,
}

/// What all connections to servers have in common.
#[derive(Clone, Default)]
pub struct Connecting {
    keys: Arc<KeyCache>,
    ids: Arc<AtomicU64>,
    timeout: Option<Duration>,
    /// How long the servers let a statement run unless its client says otherwise.
    statement: Option<Duration>,
}

impl Connecting {
    /// The same, with the time limits of this configuration.
    pub fn within(&self, config: &Config) -> Self {
        let timeouts = &config.timeouts;
        let (timeout, statement) = (Some(timeouts.connect), timeouts.statement);
        Self { timeout, statement, ..self.clone() }
    }
}

/// As its metric says it.
pub fn rules_version(rules: &Rules) -> i64 {
    i64::try_from(rules.version.0).unwrap_or(i64::MAX)
}

/// How long the control plane waits for a server.
const CONTROL_TIMEOUT: Duration = Duration::from_secs(5);

impl Shared {
    pub async fn assemble(config: &Arc<Config>) -> Result<Self, Error> {
        let connecting = Connecting::default().within(config);
        let metrics = Arc::new(Metrics::new());
        let mut databases = HashMap::new();
        for path in &config.rules {
            let rules = read_rules(path)?;
            let name = rules.database.clone();
            refuse_session_pooling(&rules, config)?;
            metrics.rules_version.with_label_values(&[&name]).set(rules_version(&rules));
            let commons = Commons {
                shapes: Arc::new(Shapes::new(shape_rules(config), metrics.shapes(&name))),
                hot_rows: Arc::new(HotRows::new(metrics.hot_rows(&name))),
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
            clients: Arc::default(),
            databases,
            budget: Budget::default(),
            connecting,
            draining: AtomicBool::new(false),
        })
    }

    /// The database of that name, or the one that takes any.
    pub fn source(&self, name: &str) -> Option<&Source> {
        self.databases.get(name).or_else(|| self.databases.get("*"))
    }

    pub fn session_limits(&self) -> Limits {
        let config = self.config.load();
        let limits = &config.limits;
        Limits {
            message_bytes: limits.message_size,
            statement_bytes: limits.statement_size,
            statements_per_client: limits.prepared_statements_per_client,
            statements_per_server: limits.prepared_statements_per_server,
            plans: limits.cached_plans,
            hot_row_queue: limits.hot_row_queue,
            hot_row_wait: config.timeouts.checkout,
            tiers: ["interactive", "batch"].map(String::from).into(),
            idle_in_transaction: config.timeouts.idle_in_transaction,
            client_idle: config.timeouts.client_idle,
            total: config.tiers().iter().map(|tier| config.tier("", "", tier).total).collect(),
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
        }
    }

    /// A worker's pools of one database to these servers.
    pub fn cluster(&self, name: &str, label: &str, servers: &Servers) -> Cluster {
        let current = self.config.load();
        let timeouts = &current.timeouts;
        let connections = |size: usize| u32::try_from(size).unwrap_or(u32::MAX);
        let users = current.users.iter().filter(|user| user.pool_size.is_some());
        let size_of = |user: &str| connections(current.pool_size(name, user));
        let config = PoolConfig {
            size: size_of(""),
            user_sizes: users.map(|user| (user.name.clone(), size_of(&user.name))).collect(),
            checkout_timeout: timeouts.checkout,
            connect_timeout: timeouts.connect,
            idle_timeout: timeouts.server_idle,
            lifetime: timeouts.server_lifetime,
            ..PoolConfig::default()
        };
        let metrics = servers.shards.iter().map(|shard| self.metrics.pool(label, &shard.name));
        let metrics = metrics.collect();
        let (shards, on_connect) = (servers.shards.clone(), servers.on_connect.clone());
        Cluster::new(config, shards, on_connect, self.budget.clone()).counted(metrics)
    }

    /// The metrics page's text.
    pub fn metrics_now(&self) -> String {
        let pools = self.budget.census().into_iter().map(|(pool, stats)| {
            let PoolStats { connections: open, idle, waiting, .. } = stats;
            (pool, PoolGauges { open, idle, waiting })
        });
        self.metrics.set_pools(pools);
        self.databases.values().for_each(|source| source.commons.shapes.measure(Instant::now()));
        self.metrics.text()
    }

    /// Where users come from that are not in the users file.
    pub fn lookup(&self, database: &str) -> AuthQuery<'_> {
        AuthQuery { shared: self, database: database.to_owned() }
    }
}

impl Source {
    async fn open(
        rules: Rules,
        config: &Arc<Config>,
        connecting: &Connecting,
        commons: Commons,
    ) -> Result<Self, Error> {
        let servers = servers(&rules, connecting)?;
        let fence = Arc::new(Fence::verified(&rules, &servers, config).await?);
        let known = schema::read(&rules, &servers, config).await?;
        let serving = Serving {
            rules: Arc::new(rules),
            catalog_version: known.catalog.version,
            catalog: Arc::new(known.catalog),
            translations: known.translations,
            fingerprints: known.fingerprints,
            servers: Arc::new(ServerSet { shards: servers, on_connect: Some(fence.clone()) }),
        };
        let serving = Arc::new(ArcSwap::from_pointee(serving));
        let keeper = Keeper::start(&serving, config);
        Ok(Self { serving, fence: ArcSwap::new(fence), keeper, commons })
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

pub fn read_rules(path: &Path) -> Result<Rules, Error> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| broken_rules(format!("{}: {error}", path.display())))?;
    rules::parse(&text, &path.display().to_string())
        .map_err(|problems| broken_rules(problems.to_string()))
}

fn broken_rules(message: String) -> Error {
    Error::new(SqlState(*b"F0000"), Blame::Rules, message)
        .hint("`weir check FILE` shows every problem of a rules file")
}

/// Where the shards are, with what it takes to connect to them.
pub fn servers(rules: &Rules, connecting: &Connecting) -> Result<Vec<pool::Shard>, Error> {
    rules
        .shards
        .iter()
        .map(|shard| {
            let address = Address::parse(&shard.primary)
                .map_err(|error| broken_rules(format!("shard {}: {error}", shard.name)))?;
            let tls = connector(&address)
                .map_err(|error| broken_rules(format!("shard {}: {error}", shard.name)))?;
            let mut parameters = Vec::new();
            if let Some(name) = &address.application_name {
                parameters.push(("application_name".to_owned(), name.clone()));
            }
            if let Some(limit) = connecting.statement {
                parameters.push(("statement_timeout".to_owned(), limit.as_millis().to_string()));
            }
            Ok(pool::Shard {
                name: shard.name.clone(),
                address: Arc::new(address),
                options: ConnectOptions {
                    tls,
                    parameters,
                    timeout: connecting.timeout,
                    keys: connecting.keys.clone(),
                    ids: connecting.ids.clone(),
                },
            })
        })
        .collect()
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

/// A control connection to one shard.
pub async fn control_client(
    server: &pool::Shard,
    config: &Config,
) -> Result<control::Client, Error> {
    let login = control_login(&server.address, config);
    let connecting = control::connect(&server.address, &login, &server.options);
    match tokio::time::timeout(CONTROL_TIMEOUT, connecting).await {
        Ok(Ok(client)) => Ok(client),
        Ok(Err(error)) => {
            Err(error.to_error(&format!("shard {} ({})", server.name, server.address)))
        }
        Err(_) => Err(Error::shard(
            SqlState::CANNOT_CONNECT,
            format!(
                "shard {} ({}) did not answer in {CONTROL_TIMEOUT:?}",
                server.name, server.address
            ),
        )),
    }
}

/// `auth.query`, asked on the database's home shard as the control user.
pub struct AuthQuery<'a> {
    shared: &'a Shared,
    database: String,
}

impl Lookup for AuthQuery<'_> {
    async fn find(&self, user: &str) -> Result<Option<Stored>, Error> {
        let config = self.shared.config.load_full();
        let Some(query) = &config.auth.query else { return Ok(None) };
        let Some(source) = self.shared.source(&self.database) else { return Ok(None) };
        let serving = source.serving.load_full();
        let Some(server) = serving.servers.shards.get(usize::from(serving.rules.home.0)) else {
            return Ok(None);
        };
        let client = control_client(server, &config).await?;
        control::verifier(&client, query, user).await
    }
}
