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
use std::future::poll_fn;
use tokio::sync::mpsc;
pub use tokio_postgres::Client;
use tokio_postgres::config::{ChannelBinding, SslMode};
use tokio_postgres::{AsyncMessage, Config, NoTls};

/// What another connection said by NOTIFY.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Notified {
    /// The server process of whoever said it.
    pub pid: i32,
    pub payload: String,
}

/// Notifications that nobody has taken yet; what comes on top is lost, as if it had never been heard.
const UNHEARD: usize = 4096;

/// Logs in; the connection's task runs until the client is dropped.
pub async fn connect(
    address: &Address,
    login: &Login,
    options: &ConnectOptions,
) -> Result<Client, ConnectError> {
    connect_listening(address, login, options).await.map(|(client, _)| client)
}

/// The same for who wants to LISTEN: the receiver ends when the connection does.
pub async fn connect_listening(
    address: &Address,
    login: &Login,
    options: &ConnectOptions,
) -> Result<(Client, mpsc::Receiver<Notified>), ConnectError> {
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
        let (client, mut connection) = config.connect_raw(stream, NoTls).await.map_err(refusal)?;
        let (heard, notifications) = mpsc::channel(UNHEARD);
        tokio::spawn(async move {
            while let Some(message) = poll_fn(|context| connection.poll_message(context)).await {
                match message {
                    Ok(AsyncMessage::Notification(notification)) => {
                        let payload = notification.payload().to_owned();
                        // Who does not listen has dropped the receiver, or is not taking.
                        drop(heard.try_send(Notified { pid: notification.process_id(), payload }));
                    }
                    Ok(_) => {}
                    Err(error) => {
                        tracing::debug!(%error, "a control connection ended");
                        break;
                    }
                }
            }
        });
        Ok((client, notifications))
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
