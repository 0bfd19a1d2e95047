//! How clients may come in: `[auth]`, `[[user]]`, `[tls]` and the files that they name.
use super::config::{AuthMethod, Config, Overrides, TlsMode};
use crate::auth::client::{Method, Strangers};
use crate::auth::hba::Hba;
use crate::auth::tls::{Acceptor, Identity};
use crate::auth::users::{Stored, Users};
use crate::auth::{Login, Secret};
use crate::error::{Blame, Error, SqlState};
use crate::session::startup::{AddHost, Door, Entry, TlsPolicy};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

/// Users, their secrets and certificates are read from their files.
pub fn open_door(config: &Config) -> Result<Door, Error> {
    let mut users = match &config.auth.users_file {
        None => Users::default(),
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(|error| {
                Error::new(
                    SqlState(*b"F0000"),
                    Blame::Rules,
                    format!("{}: {error}", path.display()),
                )
            })?;
            Users::parse(&text).map_err(|lines| {
                let lines: Vec<_> = lines
                    .iter()
                    .map(|bad| format!("{}:{}: {}", path.display(), bad.line, bad.problem))
                    .collect();
                Error::new(SqlState(*b"F0000"), Blame::Rules, lines.join("\n"))
            })?
        }
    };
    let mut server_secrets = HashMap::new();
    for user in &config.users {
        if let Some(password) = user.password.as_ref().and_then(|secret| secret.reveal()) {
            users.insert(&user.name, password);
        }
        if let Some(password) = user.server_password.as_ref().and_then(|secret| secret.reveal()) {
            server_secrets.insert(user.name.clone(), Secret::Password(password.to_owned()));
        }
    }
    let server_logins = server_logins(config, &users);
    let entry = entry(config)?;
    let system_users = match &entry {
        Entry::ByLine(hba) if hba.asks_for_peers() => system_users(),
        Entry::ByLine(_) | Entry::All(_) => HashMap::new(),
    };
    let clients = &config.clients;
    Ok(Door {
        tls: tls_policy(config)?,
        entry,
        strangers: match config.auth.known_users_only {
            true => Strangers::Refused,
            false => Strangers::Welcome,
        },
        users,
        system_users,
        server_secrets,
        server_logins,
        ignored_parameters: clients
            .ignore_startup_parameters
            .iter()
            .map(|name| name.to_ascii_lowercase())
            .collect(),
        add_host: if clients.application_name_add_host { AddHost::Yes } else { AddHost::No },
    })
}

/// Who everybody is on a database's servers.
fn server_logins(config: &Config, users: &Users) -> HashMap<String, Option<Arc<Login>>> {
    let login = |user: &String, own: &Overrides| {
        let password = own.password.as_ref().and_then(|secret| secret.reveal());
        let secret = match password {
            Some(password) => Secret::Password(password.to_owned()),
            None => users.get(user).map_or(Secret::None, Stored::secret),
        };
        Arc::new(Login::new(user, secret))
    };
    let databases = config.databases.iter();
    databases
        .map(|(name, own)| (name.clone(), own.user.as_ref().map(|user| login(user, own))))
        .collect()
}

fn entry(config: &Config) -> Result<Entry, Error> {
    let Some(path) = &config.auth.hba_file else {
        return Ok(Entry::All(match config.auth.method {
            AuthMethod::Trust => Method::Trust,
            AuthMethod::Md5 => Method::Md5,
            AuthMethod::ScramSha256 => Method::Scram,
            AuthMethod::Password => Method::Password,
        }));
    };
    let problem = |message: String| Error::new(SqlState(*b"F0000"), Blame::Rules, message);
    let read = |path: &Path| {
        std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
    };
    let text = read(path).map_err(problem)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let hba = Hba::parse(&text, |file| read(&folder.join(file)));
    hba.map(Entry::ByLine).map_err(|bad| {
        let lines: Vec<_> = bad
            .iter()
            .map(|bad| format!("{}:{}: {}", path.display(), bad.line, bad.problem))
            .collect();
        problem(lines.join("\n"))
    })
}

/// Those of /etc/passwd: who is only in a directory service is not known.
fn system_users() -> HashMap<u32, String> {
    let text = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let entries = text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        Some((fields.nth(1)?.parse().ok()?, name.to_owned()))
    });
    // As the system does, the first of several is taken.
    let mut users = HashMap::new();
    for (uid, name) in entries {
        users.entry(uid).or_insert(name);
    }
    users
}

fn tls_policy(config: &Config) -> Result<TlsPolicy, Error> {
    let problem = |message: String| {
        Error::new(SqlState(*b"F0000"), Blame::Rules, format!("[tls]: {message}"))
    };
    let (Some(certificate), Some(key)) = (&config.tls.certificate, &config.tls.key) else {
        return Ok(TlsPolicy::Off);
    };
    let read = |path: &Path| {
        std::fs::read(path).map_err(|error| problem(format!("{}: {error}", path.display())))
    };
    let (certificates, key) = (read(certificate)?, read(key)?);
    let identity = Identity { certificates: &certificates, key: &key };
    let acceptor = || Acceptor::new(identity).map_err(|error| problem(error.to_string()));
    match config.tls.mode {
        TlsMode::Off => Ok(TlsPolicy::Off),
        TlsMode::Allow => acceptor().map(TlsPolicy::Allow),
        TlsMode::Require => acceptor().map(TlsPolicy::Require),
    }
}
