//! `weir.toml`: everything that is not about routing. docs/config.md lists every setting.
//!
//! Every setting has a default, unknown keys are errors, and all problems that can be found at
//! once are reported at once, each with file and line where there is one. Secrets may be written
//! down, or be taken from the environment or a file.
//!
//! - `read`: from the file to [`Config`]
//! - `check`: what types cannot say of tiers, breakers and limits
//! - `tiers`: `[pool]` and `[tier.NAME]`: connections to servers
//! - `health`: `[probe]`, `[breaker]`, `[replicas]`
//! - `units`: durations and sizes
//! - `listed`: every setting by name, and one of them changed
mod read;
mod check;
mod health;
mod tiers;
mod units;
mod listed;

pub use health::{Breaker, Probe, Recovery, Replicas, StatementBreaker};
pub use listed::{Changes, Listed};
pub use read::{Loaded, Problems};
pub use tiers::{BATCH, INTERACTIVE, Limit, MAX_TIERS, Pool, PoolMode, Tier, TierSettings};

use crate::telemetry::logging;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::{collections::BTreeMap, fmt, net::SocketAddr, path::PathBuf, time::Duration};
use units::{duration, duration_or_off, size};

/// The settings of one weir process.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where this was read from.
    #[serde(skip)]
    pub file: Option<PathBuf>,
    /// Rules files that are nowhere but here: what was made of a pgbouncer.ini.
    #[serde(skip)]
    pub rules_texts: BTreeMap<PathBuf, String>,
    /// Rules files, one per logical database; relative to the folder of `weir.toml`.
    pub rules: Vec<PathBuf>,
    /// Threads that serve clients; `None`: one for every four cores.
    pub workers: Option<usize>,
    pub listen: Listen,
    pub tls: Tls,
    pub auth: Auth,
    pub clients: Clients,
    /// Users that are written here rather than in `auth.users_file`, and settings of single users.
    #[serde(rename = "user")]
    pub users: Vec<User>,
    pub control: Control,
    pub pool: Pool,
    /// By name; `batch` is always among them.
    #[serde(rename = "tier", deserialize_with = "tiers::tiers")]
    pub tiers: BTreeMap<String, TierSettings>,
    /// Settings of single databases, by name.
    #[serde(rename = "database")]
    pub databases: BTreeMap<String, Overrides>,
    pub timeouts: Timeouts,
    pub probe: Probe,
    pub breaker: Breaker,
    pub replicas: Replicas,
    pub recovery: Recovery,
    pub limits: Limits,
    pub console: Console,
    pub admin: Admin,
    pub logging: Logging,
    pub tracing: Tracing,
}

/// Where weir listens.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Listen {
    pub clients: Vec<SocketAddr>,
    /// Socket files, named as libpq looks for them: `/run/weir/.s.PGSQL.6432`.
    pub unix: Vec<PathBuf>,
    /// The socket files' mode, in octal.
    #[serde(deserialize_with = "units::mode")]
    pub unix_mode: u32,
    /// The socket files' group.
    pub unix_group: Option<String>,
    /// A socket file at which another weir may take this one's place.
    pub handover: Option<PathBuf>,
    /// /metrics, /healthz, /readyz, the API and the dashboard over HTTP. Not only on loopback where
    /// `[admin]` makes the line private and asks who is there.
    pub admin: Option<SocketAddr>,
}

/// TLS towards clients. TLS towards servers is set by `sslmode` in the rules file's dsn.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    pub mode: TlsMode,
    /// PEM, the server's own certificate first.
    pub certificate: Option<PathBuf>,
    pub key: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TlsMode {
    #[default]
    Off,
    Allow,
    Require,
}

/// How clients say who they are.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Auth {
    pub method: AuthMethod,
    /// Lines of PostgreSQL's pg_hba.conf: the first that fits a client says how it shows who it is.
    pub hba_file: Option<PathBuf>,
    /// Who need not show who it is has to be known to `users_file`, `[[user]]` or `query` all the same.
    pub known_users_only: bool,
    /// `"name" "password or verifier"`, a line for each user.
    pub users_file: Option<PathBuf>,
    /// Asked on the home shard, as the control user, for users that no file names: `$1` is the
    /// name, the answer is name and verifier.
    pub query: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
pub enum AuthMethod {
    #[serde(rename = "trust")]
    Trust,
    #[serde(rename = "md5")]
    Md5,
    #[default]
    #[serde(rename = "scram-sha-256")]
    ScramSha256,
    /// The password itself travels.
    #[serde(rename = "password")]
    Password,
}

/// What is made of what clients ask for at their start.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Clients {
    /// Parameters of the start-up packet that servers never hear of.
    pub ignore_startup_parameters: Vec<String>,
    /// `application_name` becomes `name - address:port`.
    pub application_name_add_host: bool,
}

/// A user of weir.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    pub name: String,
    /// A plain password or PostgreSQL's verifier.
    pub password: Option<Secret>,
    /// What weir tells the servers for this user; `None`: the user's own (SCRAM pass-through if
    /// only a verifier is known).
    pub server_password: Option<Secret>,
    pub pool_mode: Option<PoolMode>,
    /// Of the tier `interactive`.
    pub pool_size: Option<usize>,
    /// As `pool.reserve`, of the tier `interactive`.
    pub reserve: Option<usize>,
    /// Of this user's statements, whatever they are.
    pub tier: Option<String>,
    pub max_clients: Option<usize>,
    /// To each server, in all databases and tiers.
    pub max_server_connections: Option<usize>,
}

/// Settings of one database, where they differ from `[pool]`; `[database."*"]` is what every database has that
/// has no table of its own.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Overrides {
    /// Whom all clients of this database are on its servers.
    pub user: Option<String>,
    /// That user's; `None`: what `auth.users_file` and `[[user]]` say.
    pub password: Option<Secret>,
    /// Before `auth.query`.
    pub auth_query: Option<String>,
    /// The query is run in this database of weir's instead.
    pub auth_database: Option<String>,
    /// Run on each new connection to a server. What goes wrong with it is logged.
    pub connect_query: Option<String>,
    pub pool_mode: Option<PoolMode>,
    /// Of the tier `interactive`.
    pub pool_size: Option<usize>,
    /// As `pool.min_idle`, of the tier `interactive`.
    pub min_idle: Option<usize>,
    /// As `pool.reserve`, of the tier `interactive`.
    pub reserve: Option<usize>,
    /// As `timeouts.server_lifetime`, of every tier.
    pub server_lifetime: Option<Limit>,
    /// Of this database's statements, unless their user has one.
    pub tier: Option<String>,
    pub max_clients: Option<usize>,
    /// To each server, for all users and tiers.
    pub max_server_connections: Option<usize>,
}

/// The user weir itself is on the servers: catalogs, placement, probes. A `user` in the rules
/// file's dsn comes first.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Control {
    pub user: String,
    pub password: Option<Secret>,
    /// Between two looks for schema changes that were made behind weir's back.
    #[serde(deserialize_with = "duration")]
    pub catalog_interval: Duration,
}

/// `None` (written `"off"`): no limit.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Timeouts {
    /// For a client to say who it is.
    #[serde(deserialize_with = "duration")]
    pub login: Duration,
    /// For a new connection to a server.
    #[serde(deserialize_with = "duration")]
    pub connect: Duration,
    /// For a statement to get a server connection.
    #[serde(deserialize_with = "duration")]
    pub checkout: Duration,
    /// For a statement to run.
    #[serde(deserialize_with = "duration_or_off")]
    pub statement: Option<Duration>,
    /// For everything a statement does: wait, connect, run.
    #[serde(deserialize_with = "duration_or_off")]
    pub total: Option<Duration>,
    /// For a statement to wait while its shard has no known primary.
    #[serde(deserialize_with = "duration")]
    pub primary: Duration,
    /// For a COMMIT on several shards to hear from one that was lost meanwhile.
    #[serde(deserialize_with = "duration")]
    pub resolution: Duration,
    /// For a statement of a transaction over several shards to wait for a lock before weir looks whether
    /// it is in a deadlock.
    #[serde(deserialize_with = "duration_or_off")]
    pub deadlock: Option<Duration>,
    /// For a client to go on with its open transaction.
    #[serde(deserialize_with = "duration_or_off")]
    pub idle_in_transaction: Option<Duration>,
    /// For a client outside a transaction to send anything.
    #[serde(deserialize_with = "duration_or_off")]
    pub client_idle: Option<Duration>,
    /// After which an unused server connection is closed.
    #[serde(deserialize_with = "duration_or_off")]
    pub server_idle: Option<Duration>,
    /// After which a server connection is closed when it is next given back.
    #[serde(deserialize_with = "duration_or_off")]
    pub server_lifetime: Option<Duration>,
    /// A server connection that was unused for longer is asked before it is used.
    #[serde(deserialize_with = "duration")]
    pub server_check: Duration,
    /// For clients to leave by themselves when another weir has taken over.
    #[serde(deserialize_with = "duration")]
    pub handover: Duration,
    /// For clients to finish their transactions when weir is told to end.
    #[serde(deserialize_with = "duration")]
    pub drain: Duration,
}

/// What bounds memory. Sizes in bytes.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    pub clients: usize,
    /// Of each user and each database that says nothing itself; server connections are counted for each
    /// server.
    pub clients_per_user: Option<usize>,
    pub clients_per_database: Option<usize>,
    pub server_connections_per_user: Option<usize>,
    pub server_connections_per_database: Option<usize>,
    #[serde(deserialize_with = "size")]
    pub message_size: usize,
    #[serde(deserialize_with = "size")]
    pub statement_size: usize,
    pub prepared_statements_per_client: usize,
    pub prepared_statements_per_server: usize,
    /// Statement shapes whose plans are kept, for each worker.
    pub cached_plans: usize,
    /// Statements that may wait for one hot row.
    pub hot_row_queue: usize,
    /// Of memory for one query over several shards: its groups, its distinct rows, and what a portal
    /// that pauses has read ahead.
    #[serde(deserialize_with = "size")]
    pub merge_size: usize,
    /// Connections to each server that are weir's own: a probe's, the schema's, one for placement and
    /// reloads; the rest, at least one, is for `auth.query`.
    pub control_connections: usize,
}

/// Who may log in to the database `weir`, by user name.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Console {
    /// The names that this database goes by.
    pub databases: Vec<String>,
    pub admins: Vec<String>,
    /// These may look, and change nothing.
    pub stats: Vec<String>,
}

/// Who may look and act at `listen.admin`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    pub look: Look,
    /// Whoever brings it may look and act.
    pub token: Option<Secret>,
    /// Whoever brings it may look.
    pub look_token: Option<Secret>,
    /// PEM: with these two the port speaks HTTPS.
    pub certificate: Option<PathBuf>,
    pub key: Option<PathBuf>,
    /// PEM: whoever shows a certificate of these authorities may look and act.
    pub client_authorities: Option<PathBuf>,
    /// Names by which browsers reach the port, besides localhost and addresses.
    pub hosts: Vec<String>,
}

/// Who may look without a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Look {
    #[default]
    Token,
    /// Everybody on this machine.
    Loopback,
}

#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Logging {
    /// `error`, `warn`, `info`, `debug`, `trace`, or directives such as `info,weir::pool=debug`.
    pub level: String,
    pub format: logging::Format,
    /// Lines of one kind within ten seconds, below `error`; 0: all.
    pub repeat: u32,
    /// A statement that takes longer is logged.
    #[serde(deserialize_with = "duration_or_off")]
    pub slow_statement: Option<Duration>,
    /// Whether its line has its values, too.
    pub parameters: bool,
    /// A line for each client that logs in, and for each that leaves.
    pub connections: bool,
    pub disconnections: bool,
}

/// What statements did when, for a collector of OpenTelemetry.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tracing {
    /// OTLP over HTTP; `None`: OTEL_EXPORTER_OTLP_ENDPOINT, else nothing is traced.
    pub endpoint: Option<String>,
    /// `None`: OTEL_SERVICE_NAME, else `weir`.
    pub service_name: Option<String>,
    /// Of statements whose client names no parent; `None`: OTEL_TRACES_SAMPLER_ARG, else one in a hundred.
    pub ratio: Option<f64>,
    /// What takes longer is always told.
    #[serde(deserialize_with = "duration_or_off")]
    pub slow: Option<Duration>,
    /// And what fails.
    pub failed: bool,
    /// Servers are told the parent in a comment.
    pub propagate: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            file: None,
            rules_texts: BTreeMap::new(),
            rules: Vec::new(),
            workers: None,
            listen: Listen::default(),
            tls: Tls::default(),
            auth: Auth::default(),
            clients: Clients::default(),
            users: Vec::new(),
            control: Control::default(),
            pool: Pool::default(),
            tiers: tiers::built_in(),
            databases: BTreeMap::new(),
            timeouts: Timeouts::default(),
            probe: Probe::default(),
            breaker: Breaker::default(),
            replicas: Replicas::default(),
            recovery: Recovery::default(),
            limits: Limits::default(),
            console: Console::default(),
            admin: Admin::default(),
            logging: Logging::default(),
            tracing: Tracing::default(),
        }
    }
}

impl Default for Listen {
    fn default() -> Self {
        Self {
            clients: vec![SocketAddr::from(([127, 0, 0, 1], 6432))],
            unix: Vec::new(),
            unix_mode: 0o777,
            unix_group: None,
            handover: None,
            admin: Some(SocketAddr::from(([127, 0, 0, 1], 6433))),
        }
    }
}

impl Default for Control {
    fn default() -> Self {
        Self {
            user: "postgres".to_owned(),
            password: None,
            catalog_interval: Duration::from_secs(30),
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            login: Duration::from_secs(30),
            connect: Duration::from_secs(5),
            checkout: Duration::from_secs(15),
            statement: None,
            total: None,
            primary: Duration::from_secs(10),
            resolution: Duration::from_secs(10),
            deadlock: Some(Duration::from_secs(1)),
            idle_in_transaction: None,
            client_idle: None,
            server_idle: Some(Duration::from_secs(10 * 60)),
            server_lifetime: Some(Duration::from_secs(60 * 60)),
            server_check: Duration::from_secs(30),
            handover: Duration::from_secs(60 * 60),
            drain: Duration::from_secs(30),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            clients: 10_000,
            clients_per_user: None,
            clients_per_database: None,
            server_connections_per_user: None,
            server_connections_per_database: None,
            message_size: 64 * 1024 * 1024,
            statement_size: 1024 * 1024,
            prepared_statements_per_client: 1_000,
            prepared_statements_per_server: 500,
            cached_plans: 5_000,
            hot_row_queue: 1_000,
            merge_size: 64 << 20,
            control_connections: 7,
        }
    }
}

impl Default for Tracing {
    fn default() -> Self {
        Self {
            endpoint: None,
            service_name: None,
            ratio: None,
            slow: Some(Duration::from_secs(1)),
            failed: true,
            propagate: false,
        }
    }
}

impl Default for Console {
    fn default() -> Self {
        Self { databases: vec!["weir".to_owned()], admins: Vec::new(), stats: Vec::new() }
    }
}

impl Default for Logging {
    fn default() -> Self {
        Self {
            level: "info".to_owned(),
            format: logging::Format::Text,
            repeat: 20,
            slow_statement: Some(Duration::from_secs(1)),
            parameters: false,
            connections: false,
            disconnections: false,
        }
    }
}

/// A password: `"text"`, `{ env = "NAME" }` or `{ file = "path" }`. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    Text(String),
    Env(String),
    File(PathBuf),
}

impl Secret {
    /// The secret itself; `Config::load` has already taken it from where it was.
    pub fn reveal(&self) -> Option<&str> {
        match self {
            Secret::Text(text) => Some(text),
            Secret::Env(_) | Secret::File(_) => None,
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Secret::Text(_) => f.write_str("Secret"),
            Secret::Env(name) => write!(f, "Secret from environment {name}"),
            Secret::File(path) => write!(f, "Secret from {}", path.display()),
        }
    }
}

/// That there is one, and nothing of it.
impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, output: S) -> Result<S::Ok, S::Error> {
        output.serialize_str("********")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Text(String),
            Elsewhere(Elsewhere),
        }
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields, rename_all = "lowercase")]
        enum Elsewhere {
            Env(String),
            File(PathBuf),
        }
        match Written::deserialize(input) {
            Ok(Written::Text(text)) => Ok(Secret::Text(text)),
            Ok(Written::Elsewhere(Elsewhere::Env(name))) => Ok(Secret::Env(name)),
            Ok(Written::Elsewhere(Elsewhere::File(path))) => Ok(Secret::File(path)),
            Err(_) => Err(de::Error::custom(
                "a password is \"text\", { env = \"NAME\" } or { file = \"path\" }",
            )),
        }
    }
}

impl Config {
    /// Threads that serve clients. Each costs CPU per statement, so there are few.
    pub fn worker_count(&self) -> usize {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        self.workers.unwrap_or_else(|| (cores / 4).max(1))
    }

    /// The user's setting comes before the database's, and that before `[pool]`.
    pub fn pool_mode(&self, database: &str, user: &str) -> PoolMode {
        self.own_pool_mode(database, user).unwrap_or(self.pool.mode)
    }

    /// What is said of this user or this database.
    pub fn own_pool_mode(&self, database: &str, user: &str) -> Option<PoolMode> {
        let (user, database) = (self.user(user), self.database(database));
        user.and_then(|user| user.pool_mode)
            .or_else(|| database.and_then(|database| database.pool_mode))
    }

    /// As [`Config::pool_mode`].
    pub fn pool_size(&self, database: &str, user: &str) -> usize {
        self.tier(database, user, INTERACTIVE).size
    }

    /// What is written of this database, or of all that nothing is written of.
    pub fn database(&self, name: &str) -> Option<&Overrides> {
        self.databases.get(name).or_else(|| self.databases.get("*"))
    }

    /// How many clients a user may have.
    pub fn clients_of_user(&self, name: &str) -> Option<usize> {
        self.user(name).and_then(|user| user.max_clients).or(self.limits.clients_per_user)
    }

    /// The same of a database.
    pub fn clients_of_database(&self, name: &str) -> Option<usize> {
        let own = self.database(name).and_then(|own| own.max_clients);
        own.or(self.limits.clients_per_database)
    }

    /// To each server.
    pub fn server_connections_of_database(&self, name: &str) -> Option<usize> {
        let own = self.database(name).and_then(|own| own.max_server_connections);
        own.or(self.limits.server_connections_per_database)
    }

    /// What is written of this user.
    pub fn user(&self, name: &str) -> Option<&User> {
        self.users.iter().find(|user| user.name == name)
    }
}

#[cfg(test)]
mod tests;
