//! Why there is no connection.
use crate::auth::line::LineError;
use crate::error::{Error, SqlState};
use crate::wire::WireError;
use std::time::Duration;
use std::{fmt, io};

/// Why there is no connection.
#[derive(Clone, Debug)]
pub enum ConnectError {
    /// Nobody there, or the line broke.
    Unreachable(String),
    TimedOut(Duration),
    Tls(String),
    /// The server and the login do not fit; the text says why.
    Login(String),
    /// The server said no, with its own SQLSTATE and words.
    Refused(Error),
    /// The server does not speak PostgreSQL's protocol.
    Protocol(String),
}

impl ConnectError {
    /// What a client is told. `place` says which server: the shard's name and address.
    pub fn to_error(&self, place: &str) -> Error {
        let text = format!("could not connect to {place}: {self}");
        match self {
            Self::Refused(refusal) => {
                let code = passed_on(refusal.code);
                let mut error = Error::shard(code, text);
                error.detail = refusal.detail.clone();
                error.hint = refusal.hint.clone();
                error
            }
            Self::Unreachable(_) | Self::TimedOut(_) | Self::Tls(_) | Self::Login(_) => {
                Error::shard(SqlState::CANNOT_CONNECT, text)
            }
            Self::Protocol(_) => Error::shard(SqlState::CONNECTION_FAILURE, text),
        }
    }
}

/// A server's refusal keeps its SQLSTATE where it means the same to the client. A wrong password
/// between weir and a server does not: the client's own was right.
fn passed_on(code: SqlState) -> SqlState {
    match code {
        SqlState::TOO_MANY_CONNECTIONS
        | SqlState::CANNOT_CONNECT_NOW
        | SqlState::ADMIN_SHUTDOWN
        | SqlState::INVALID_CATALOG_NAME => code,
        _ => SqlState::CANNOT_CONNECT,
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(reason) | Self::Protocol(reason) => f.write_str(reason),
            Self::TimedOut(limit) => write!(f, "no answer within {} ms", limit.as_millis()),
            Self::Tls(reason) => write!(f, "TLS failed: {reason}"),
            Self::Login(reason) => f.write_str(reason),
            Self::Refused(error) => write!(f, "{} ({})", error.message, error.code.as_str()),
        }
    }
}

impl std::error::Error for ConnectError {}

impl From<io::Error> for ConnectError {
    fn from(error: io::Error) -> Self {
        Self::Unreachable(error.to_string())
    }
}

impl From<WireError> for ConnectError {
    fn from(error: WireError) -> Self {
        Self::Protocol(error.to_string())
    }
}

impl From<LineError> for ConnectError {
    fn from(error: LineError) -> Self {
        match error {
            LineError::Io(error) => error.into(),
            LineError::Wire(error) => error.into(),
            LineError::Closed => Self::Unreachable("the server closed the connection".into()),
        }
    }
}
