//! How clients may come in: `[auth]`, `[[user]]`, `[tls]` and the files that they name.
use super::config::{AuthMethod, Config, TlsMode};
use crate::auth::Secret;
use crate::auth::client::Method;
use crate::auth::tls::{Acceptor, Identity};
use crate::auth::users::Users;
use crate::error::{Blame, Error, SqlState};
use crate::session::startup::{Door, TlsPolicy};
use std::collections::HashMap;
use std::path::Path;

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
    let method = match config.auth.method {
        AuthMethod::Trust => Method::Trust,
        AuthMethod::Md5 => Method::Md5,
        AuthMethod::ScramSha256 => Method::Scram,
    };
    Ok(Door { tls: tls_policy(config)?, method, users, server_secrets })
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
