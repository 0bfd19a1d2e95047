//! Who is there, and is the line private: SCRAM, md5, TLS, users.
//!
//! - `scram`: SCRAM-SHA-256 as pure state machines, both sides, with the keys a proxy needs
//! - `md5`: PostgreSQL's older challenge
//! - `users`: the users file
//! - `tls`: acceptors and connectors with libpq's `sslmode` meanings
//! - `hba`: which clients have to show what
//! - `line`: whole messages from a line that may be slow, broken or hostile
//! - `client`: the conversation that follows a client's start-up message
//!
//! Invariants: a secret is never printed (`Debug` hides it), compared only in constant time, and an
//! unknown user costs a client the same messages as a wrong password.
pub mod scram;
pub mod md5;
pub mod users;
pub mod hba;
pub mod tls;
pub mod line;
pub mod client;

use std::fmt;

/// As whom weir logs in to a server, and with what.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Login {
    pub user: String,
    pub secret: Secret,
}

/// What proves a user's identity to a server.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// The server must trust us, or know us by certificate or by peer.
    None,
    Password(String),
    /// What a client's SCRAM login leaves behind: enough to log in where the same verifier is stored.
    ScramKeys(scram::ClientKeys),
    /// `md5` and 32 hex digits: enough for servers that ask for md5.
    Md5(String),
}

impl Login {
    pub fn new(user: impl Into<String>, secret: Secret) -> Self {
        Self { user: user.into(), secret }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Password(_) => "Password(…)",
            Self::ScramKeys(_) => "ScramKeys(…)",
            Self::Md5(_) => "Md5(…)",
        })
    }
}
