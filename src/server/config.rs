//! `weir.toml`: everything that is not about routing. docs/config.md lists every setting.
//!
//! Every setting has a default, unknown keys are errors, and all problems that can be found at
//! once are reported at once, each with file and line where there is one. Secrets may be written
//! down, or be taken from the environment or a file.
use crate::telemetry::logging;
use serde::{Deserialize, Deserializer, de};
use std::{
    collections::BTreeMap,
    fmt, fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

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
        Self { user: "postgres".to_owned(), password: None }
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

/// A configuration that can be served, and what its writer should hear about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    pub config: Config,
    pub warnings: Vec<String>,
}

/// Everything that is wrong with a file: one line each, `file:line: problem`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<String>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for Problems {}

impl Config {
    /// Reads `weir.toml` and the secrets that it points to. Paths become relative to its folder.
    pub fn load(path: &Path) -> Result<Loaded, Problems> {
        let text = fs::read_to_string(path)
            .map_err(|error| Problems(vec![format!("{}: {error}", path.display())]))?;
        let mut config = Self::parse(&text, &path.display().to_string())?;
        let folder = path.parent().unwrap_or(Path::new(""));
        config.resolve(folder);
        let mut hearing = Hearing::default();
        if holds_secrets(&config) {
            hearing.warn_if_world_readable(path);
        }
        config.take_secrets(&mut hearing, |name| std::env::var(name).ok());
        config.check(&mut hearing, &path.display().to_string());
        match hearing.problems.is_empty() {
            true => Ok(Loaded { config, warnings: hearing.warnings }),
            false => Err(Problems(hearing.problems)),
        }
    }

    /// The text of a `weir.toml`; `name` is what problems call it.
    pub fn parse(text: &str, name: &str) -> Result<Self, Problems> {
        toml::from_str(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            let message = error.message().replace('\n', " ");
            Problems(vec![format!("{name}:{line}: {message}")])
        })
    }

    /// Threads that serve clients. Each costs CPU per statement, so there are few.
    pub fn worker_count(&self) -> usize {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        self.workers.unwrap_or_else(|| (cores / 4).max(1))
    }

    /// The user's setting comes before the database's, and that before `[pool]`.
    pub fn pool_mode(&self, database: &str, user: &str) -> PoolMode {
        let (user, database) = (self.user(user), self.databases.get(database));
        user.and_then(|user| user.pool_mode)
            .or_else(|| database.and_then(|database| database.pool_mode))
            .unwrap_or(self.pool.mode)
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

    fn resolve(&mut self, folder: &Path) {
        let paths = self
            .rules
            .iter_mut()
            .chain(&mut self.tls.certificate)
            .chain(&mut self.tls.key)
            .chain(&mut self.auth.users_file);
        for path in paths {
            *path = folder.join(&*path);
        }
        for secret in self.secrets() {
            if let Secret::File(path) = secret {
                *path = folder.join(&*path);
            }
        }
    }

    fn secrets(&mut self) -> impl Iterator<Item = &mut Secret> {
        self.users
            .iter_mut()
            .flat_map(|user| user.password.iter_mut().chain(&mut user.server_password))
            .chain(&mut self.control.password)
    }

    fn take_secrets(&mut self, hearing: &mut Hearing, env: impl Fn(&str) -> Option<String>) {
        for secret in self.secrets() {
            let taken = match secret {
                Secret::Text(_) => continue,
                Secret::Env(name) => env(name).ok_or_else(|| {
                    format!("the environment has no {name}, which a password names")
                }),
                Secret::File(path) => {
                    hearing.warn_if_world_readable(path);
                    fs::read_to_string(&*path)
                        .map(|text| text.trim_end_matches(['\r', '\n']).to_owned())
                        .map_err(|error| format!("{}: {error}", path.display()))
                }
            };
            match taken {
                Ok(text) => *secret = Secret::Text(text),
                Err(problem) => hearing.problems.push(problem),
            }
        }
        for path in self.auth.users_file.iter().chain(&self.tls.key) {
            hearing.warn_if_world_readable(path);
        }
    }

    /// What types cannot say.
    fn check(&self, hearing: &mut Hearing, name: &str) {
        let mut problem = |text: &str| hearing.problems.push(format!("{name}: {text}"));
        if self.rules.is_empty() {
            problem("rules names no file; write rules = [\"rules.toml\"]");
        }
        if self.listen.clients.is_empty() {
            problem("listen.clients is empty: nobody could connect");
        }
        if self.listen.admin.is_some_and(|address| !address.ip().is_loopback()) {
            problem("listen.admin must be a loopback address such as 127.0.0.1:6433");
        }
        match (self.tls.mode, &self.tls.certificate, &self.tls.key) {
            (TlsMode::Off, _, _) | (TlsMode::Allow | TlsMode::Require, Some(_), Some(_)) => (),
            (TlsMode::Allow | TlsMode::Require, _, _) => {
                problem("tls.mode needs tls.certificate and tls.key");
            }
        }
        let positive = [
            ("workers", self.workers.unwrap_or(1)),
            ("pool.size", self.pool.size),
            ("limits.clients", self.limits.clients),
            ("limits.prepared_statements_per_client", self.limits.prepared_statements_per_client),
            ("limits.prepared_statements_per_server", self.limits.prepared_statements_per_server),
            ("limits.cached_plans", self.limits.cached_plans),
        ];
        for (setting, value) in positive {
            if value == 0 {
                problem(&format!("{setting} must be at least 1"));
            }
        }
        let sizes = self.users.iter().filter_map(|user| user.pool_size);
        if sizes.chain(self.databases.values().filter_map(|own| own.pool_size)).any(|n| n == 0) {
            problem("pool_size must be at least 1");
        }
        if self.limits.statement_size > self.limits.message_size {
            problem("limits.statement_size is larger than limits.message_size");
        }
    }
}

/// What is said about a configuration while it is read.
#[derive(Debug, Default)]
struct Hearing {
    problems: Vec<String>,
    warnings: Vec<String>,
}

impl Hearing {
    fn warn_if_world_readable(&mut self, path: &Path) {
        use std::os::unix::fs::PermissionsExt;
        // A file that is not there is reported by whoever needs its content.
        let Ok(metadata) = fs::metadata(path) else { return };
        if metadata.permissions().mode() & 0o004 != 0 {
            let path = path.display();
            let text = format!("{path} holds secrets and everybody can read it; chmod o-r {path}");
            self.warnings.push(text);
        }
    }
}

fn holds_secrets(config: &Config) -> bool {
    let user_secrets =
        config.users.iter().flat_map(|u| u.password.iter().chain(&u.server_password));
    let mut all = user_secrets.chain(&config.control.password);
    all.any(|secret| matches!(secret, Secret::Text(_)))
}

const DURATION_HINT: &str =
    "a duration is a number with its unit: \"500ms\", \"5s\", \"10min\", \"1h\"";
const SIZE_HINT: &str = "a size is a number of bytes, or with a unit: \"64kB\", \"16MB\", \"1GB\"";

fn duration<'de, D: Deserializer<'de>>(input: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(input).map_err(|_| de::Error::custom(DURATION_HINT))?;
    parse_duration(&text).ok_or_else(|| de::Error::custom(DURATION_HINT))
}

fn duration_or_off<'de, D: Deserializer<'de>>(input: D) -> Result<Option<Duration>, D::Error> {
    let hint = || de::Error::custom(format!("{DURATION_HINT}, or \"off\""));
    let text = String::deserialize(input).map_err(|_| hint())?;
    match text.as_str() {
        "off" => Ok(None),
        other => parse_duration(other).map(Some).ok_or_else(hint),
    }
}

fn size<'de, D: Deserializer<'de>>(input: D) -> Result<usize, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Bytes(usize),
        Text(String),
    }
    let parsed = match Written::deserialize(input) {
        Ok(Written::Bytes(bytes)) => Some(bytes),
        Ok(Written::Text(text)) => parse_size(&text),
        Err(_) => None,
    };
    parsed.ok_or_else(|| de::Error::custom(SIZE_HINT))
}

/// Zero is refused: it would mean "at once" to one reader and "never" to the next.
fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = number_and_unit(text)?;
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(unit_ms).filter(|&ms| ms > 0).map(Duration::from_millis)
}

fn parse_size(text: &str) -> Option<usize> {
    let (number, unit) = number_and_unit(text)?;
    let unit = match unit {
        "B" => 1,
        "kB" => 1 << 10,
        "MB" => 1 << 20,
        "GB" => 1 << 30,
        _ => return None,
    };
    usize::try_from(number.checked_mul(unit)?).ok()
}

fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    Some((number.parse().ok()?, unit.trim_start()))
}

#[cfg(test)]
mod tests;
