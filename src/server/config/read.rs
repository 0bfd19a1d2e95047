//! From the file to [`Config`]: syntax, paths, secrets, and what types cannot say.
use super::check::line_of;
use super::{Config, Secret, TlsMode};
use crate::server::pgbouncer::{self, Translation};
use std::{fmt, fs, path::Path};

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
    ///
    /// A pgbouncer.ini is read as what weir makes of it.
    pub fn load(path: &Path) -> Result<Loaded, Problems> {
        Self::load_as(path, Self::parse)
    }

    /// The same; `parse` makes a configuration of the text and the file's name.
    pub(super) fn load_as(
        path: &Path,
        parse: impl FnOnce(&str, &str) -> Result<Self, Problems>,
    ) -> Result<Loaded, Problems> {
        let (text, rules, warnings) = match pgbouncer::is_its_file(path) {
            false => {
                let text = fs::read_to_string(path);
                let text =
                    text.map_err(|error| Problems(vec![format!("{}: {error}", path.display())]))?;
                (text, Vec::new(), Vec::new())
            }
            true => {
                let Translation { weir_toml, rules, warnings } = pgbouncer::translate(path)?;
                (weir_toml, rules, warnings)
            }
        };
        let mut config = parse(&text, &path.display().to_string())?;
        let folder = path.parent().unwrap_or(Path::new(""));
        config.resolve(folder);
        config.file = Some(path.to_owned());
        config.rules_texts =
            rules.into_iter().map(|file| (folder.join(file.name), file.text)).collect();
        let mut hearing = Hearing { warnings, ..Hearing::of(text) };
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

    fn resolve(&mut self, folder: &Path) {
        let paths = self
            .rules
            .iter_mut()
            .chain(&mut self.tls.certificate)
            .chain(&mut self.tls.key)
            .chain(&mut self.admin.certificate)
            .chain(&mut self.admin.key)
            .chain(&mut self.admin.client_authorities)
            .chain(&mut self.auth.users_file)
            .chain(&mut self.auth.hba_file)
            .chain(&mut self.listen.unix)
            .chain(&mut self.listen.handover);
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
            .chain(&mut self.admin.token)
            .chain(&mut self.admin.look_token)
            .chain(self.databases.values_mut().filter_map(|own| own.password.as_mut()))
    }

    pub(super) fn take_secrets(
        &mut self,
        hearing: &mut Hearing,
        env: impl Fn(&str) -> Option<String>,
    ) {
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
        for path in self.auth.users_file.iter().chain(&self.tls.key).chain(&self.admin.key) {
            hearing.warn_if_world_readable(path);
        }
    }

    /// What types cannot say.
    pub(super) fn check(&self, hearing: &mut Hearing, name: &str) {
        let mut problem = |text: &str| hearing.problems.push(format!("{name}: {text}"));
        if self.rules.is_empty() {
            problem("rules names no file; write rules = [\"rules.toml\"]");
        }
        if self.listen.clients.is_empty() && self.listen.unix.is_empty() {
            problem("listen.clients is empty: nobody could connect");
        }
        self.admin.check(self.listen.admin).into_iter().for_each(&mut problem);
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
        let Hearing { problems, text, .. } = hearing;
        self.check_pools(&mut |place, what| {
            problems.push(match line_of(text, place) {
                Some(line) => format!("{name}:{line}: {what}"),
                None => format!("{name}: {what}"),
            });
        });
    }
}

/// What is said about a configuration while it is read.
#[derive(Debug, Default)]
pub(super) struct Hearing {
    pub(super) problems: Vec<String>,
    warnings: Vec<String>,
    /// Of the file: problems are looked up in it.
    text: String,
}

impl Hearing {
    pub(super) fn of(text: String) -> Self {
        Self { text, ..Self::default() }
    }

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
    let admin = config.admin.token.iter().chain(&config.admin.look_token);
    let of_databases = config.databases.values().filter_map(|own| own.password.as_ref());
    let mut all = user_secrets.chain(&config.control.password).chain(of_databases).chain(admin);
    all.any(|secret| matches!(secret, Secret::Text(_)))
}
