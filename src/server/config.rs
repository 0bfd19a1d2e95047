//! `weir.toml`: everything that is not about routing. docs/config.md lists every setting.
//!
//! Every setting has a default, unknown keys are errors, and all problems that can be found at
//! once are reported at once, each with file and line where there is one. Secrets may be written
//! down, or be taken from the environment or a file.
//!
//! - `read`: from the file to [`Config`]
//! - `units`: durations and sizes
mod read;
mod units;

pub use read::{Loaded, Problems};

use crate::telemetry::logging;
use serde::{Deserialize, Deserializer, de};
use std::{collections::BTreeMap, fmt, net::SocketAddr, path::PathBuf, time::Duration};
use units::{duration, duration_or_off, size};

/// The settings of one weir process.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Rules files, one per logical database; relative to the folder of `weir.toml`.
    pub rules: Vec<PathBuf>,
    /// Threads that serve clients; `None`: one for every four cores.
    pub workers: Option<usize>,
    pub listen: Listen,
    pub tls: Tls,
    pub auth: Auth,
    /// Users that are written here rather than in `auth.users_file`, and settings of single users.
    #[serde(rename = "user")]
    pub users: Vec<User>,
    pub control: Control,
    pub pool: Pool,
    /// Settings of single databases, by name.
    #[serde(rename = "database")]
    pub databases: BTreeMap<String, Overrides>,
    pub timeouts: Timeouts,
    pub limits: Limits,
    pub logging: Logging,
}

/// Where weir listens.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Listen {
    pub clients: Vec<SocketAddr>,
    /// /metrics, /healthz, /readyz over HTTP: loopback only, since nobody is asked who they are.
    pub admin: Option<SocketAddr>,
}

/// TLS towards clients. TLS towards servers is set by `sslmode` in the rules file's dsn.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    pub mode: TlsMode,
    /// PEM, the server's own certificate first.
    pub certificate: Option<PathBuf>,
    pub key: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TlsMode {
    #[default]
    Off,
    Allow,
    Require,
}

/// How clients say who they are.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Auth {
    pub method: AuthMethod,
    /// `"name" "password or verifier"`, a line for each user.
    pub users_file: Option<PathBuf>,
    /// Asked on the home shard, as the control user, for users that no file names: `$1` is the
    /// name, the answer is name and verifier.
    pub query: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub enum AuthMethod {
    #[serde(rename = "trust")]
    Trust,
    #[serde(rename = "md5")]
    Md5,
    #[default]
    #[serde(rename = "scram-sha-256")]
    ScramSha256,
}

/// A user of weir.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    pub name: String,
    /// A plain password or PostgreSQL's verifier.
    pub password: Option<Secret>,
    /// What weir tells the servers for this user; `None`: the user's own (SCRAM pass-through if
    /// only a verifier is known).
    pub server_password: Option<Secret>,
    pub pool_mode: Option<PoolMode>,
    pub pool_size: Option<usize>,
}

/// Settings of one database, where they differ from `[pool]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Overrides {
    pub pool_mode: Option<PoolMode>,
    pub pool_size: Option<usize>,
}

/// The user weir itself is on the servers: catalogs, placement, probes. A `user` in the rules
/// file's dsn comes first.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Control {
    pub user: String,
    pub password: Option<Secret>,
    /// Between two looks for schema changes that were made behind weir's back.
    #[serde(deserialize_with = "duration")]
    pub catalog_interval: Duration,
}

/// Connections to servers.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pool {
    pub mode: PoolMode,
    /// Server connections for each shard and user.
    pub size: usize,
}

/// When a client gives its server connection back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PoolMode {
    #[default]
    Transaction,
    /// Plain pooling only: when the client leaves.
    Session,
}

/// `None` (written `"off"`): no limit.
#[derive(Debug, Clone, PartialEq, Deserialize)]
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
    /// For clients to finish their transactions when weir is told to end.
    #[serde(deserialize_with = "duration")]
    pub drain: Duration,
}

/// What bounds memory. Sizes in bytes.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    pub clients: usize,
    #[serde(deserialize_with = "size")]
    pub message_size: usize,
    #[serde(deserialize_with = "size")]
    pub statement_size: usize,
    pub prepared_statements_per_client: usize,
    pub prepared_statements_per_server: usize,
    /// Statement shapes whose plans are kept, for each worker.
    pub cached_plans: usize,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Logging {
    /// `error`, `warn`, `info`, `debug`, `trace`, or directives such as `info,weir::pool=debug`.
    pub level: String,
    pub format: logging::Format,
}

impl Default for Listen {
    fn default() -> Self {
        Self {
            clients: vec![SocketAddr::from(([127, 0, 0, 1], 6432))],
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

impl Default for Pool {
    fn default() -> Self {
        Self { mode: PoolMode::Transaction, size: 20 }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            login: Duration::from_secs(30),
            connect: Duration::from_secs(5),
            checkout: Duration::from_secs(15),
            statement: None,
            idle_in_transaction: None,
            client_idle: None,
            server_idle: Some(Duration::from_secs(10 * 60)),
            server_lifetime: Some(Duration::from_secs(60 * 60)),
            drain: Duration::from_secs(30),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            clients: 10_000,
            message_size: 64 * 1024 * 1024,
            statement_size: 1024 * 1024,
            prepared_statements_per_client: 1_000,
            prepared_statements_per_server: 500,
            cached_plans: 5_000,
        }
    }
}

impl Default for Logging {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: logging::Format::Text }
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
        let (user, database) = (self.user(user), self.databases.get(database));
        user.and_then(|user| user.pool_mode)
            .or_else(|| database.and_then(|database| database.pool_mode))
    }

    /// As [`Config::pool_mode`].
    pub fn pool_size(&self, database: &str, user: &str) -> usize {
        let (user, database) = (self.user(user), self.databases.get(database));
        user.and_then(|user| user.pool_size)
            .or_else(|| database.and_then(|database| database.pool_size))
            .unwrap_or(self.pool.size)
    }

    fn user(&self, name: &str) -> Option<&User> {
        self.users.iter().find(|user| user.name == name)
    }
}

#[cfg(test)]
mod tests;
