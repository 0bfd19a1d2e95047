//! A tokio_postgres client for probes, catalogs and placement; never for clients' data.
//!
//! The line is ours (`dial`), so that TLS has one meaning; the protocol over it is tokio_postgres's.
use super::address::Address;
use super::dial::dial;
use super::failure::ConnectError;
use super::startup::ConnectOptions;
use crate::auth::tls::TlsMode;
use crate::auth::users::Stored;
use crate::auth::{Login, Secret};
use crate::error::{Error, SqlState};
pub use tokio_postgres::Client;
use tokio_postgres::config::{ChannelBinding, SslMode};
use tokio_postgres::{Config, NoTls};

/// Logs in; the connection's task runs until the client is dropped.
pub async fn connect(
    address: &Address,
    login: &Login,
    options: &ConnectOptions,
) -> Result<Client, ConnectError> {
    let limit = options.limit(address);
    let connect = async {
        let config = config(address, login, options)?;
        let mode = match address.tls {
            TlsMode::Allow => TlsMode::Prefer,
            mode @ (TlsMode::Disable
            | TlsMode::Prefer
            | TlsMode::Require
            | TlsMode::VerifyCa
            | TlsMode::VerifyFull) => mode,
        };
        let (stream, _) = dial(address, mode, options.tls.as_ref()).await?;
        let (client, connection) = config.connect_raw(stream, NoTls).await.map_err(refusal)?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a control connection ended");
            }
        });
        Ok(client)
    };
    tokio::time::timeout(limit, connect).await.unwrap_or(Err(ConnectError::TimedOut(limit)))
}

fn config(
    address: &Address,
    login: &Login,
    options: &ConnectOptions,
) -> Result<Config, ConnectError> {
    let mut config = Config::new();
    config
        .user(&login.user)
        .dbname(address.dbname.as_deref().unwrap_or(&login.user))
        .ssl_mode(SslMode::Disable)
        .channel_binding(ChannelBinding::Disable);
    match &login.secret {
        Secret::Password(password) => {
            config.password(password);
        }
        Secret::None => (),
        Secret::ScramKeys(_) | Secret::Md5(_) => {
            let problem = format!("a control connection needs the password of \"{}\"", login.user);
            return Err(ConnectError::Login(problem));
        }
    }
    if let Some(text) = &address.options {
        config.options(text);
    }
    let named = options.parameters.iter().find(|(name, _)| name == "application_name");
    config.application_name(named.map_or("weir", |(_, value)| value));
    Ok(config)
}

/// A statement that the server refused, or a connection that broke under it.
pub fn failed(error: tokio_postgres::Error) -> Error {
    match error.as_db_error() {
        Some(server) => {
            let code = server.code().code().as_bytes().try_into().map(SqlState);
            let code = code.unwrap_or(SqlState::INTERNAL_ERROR);
            let mut failed = Error::shard(code, server.message());
            failed.detail = server.detail().map(str::to_owned);
            failed.hint = server.hint().map(str::to_owned);
            failed
        }
        None => Error::shard(SqlState::CONNECTION_FAILURE, error.to_string()),
    }
}

fn refusal(error: tokio_postgres::Error) -> ConnectError {
    match error.as_db_error() {
        Some(server) => {
            let code = server.code().code().as_bytes().try_into().map(SqlState);
            let code = code.unwrap_or(SqlState::INTERNAL_ERROR);
            ConnectError::Refused(Error::shard(code, server.message()))
        }
        None => ConnectError::Unreachable(error.to_string()),
    }
}

/// What `auth.query` says of a user: its second column is a password or a verifier.
pub async fn verifier(client: &Client, query: &str, user: &str) -> Result<Option<Stored>, Error> {
    let rows = client.query(query, &[&user]).await.map_err(|error| {
        Error::shard(SqlState::CONNECTION_FAILURE, format!("auth.query failed: {error}"))
    })?;
    let Some(row) = rows.first() else { return Ok(None) };
    let secret: Option<String> = row.try_get(1).map_err(|error| {
        Error::shard(SqlState::CONNECTION_FAILURE, format!("auth.query answered: {error}"))
            .hint("it has to return the user's name and password, both text")
    })?;
    Ok(secret.map(|secret| Stored::read(&secret)))
}
