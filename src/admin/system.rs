//! weir as views and actions see it. `server` stands behind it; tests have one of their own.
use crate::error::Error;
use std::fmt;
use std::pin::Pin;
use std::time::Duration;

/// An action under way. Dropping it stops the waiting, not what has been done.
pub type Doing<'a> = Pin<Box<dyn Future<Output = Result<(), Error>> + Send + 'a>>;

pub trait System: Send + Sync + 'static {
    fn pools(&self) -> Vec<Pool>;
    /// In the order of databases, shards and rules file.
    fn servers(&self) -> Vec<Server>;
    /// Of statements; those of servers are with the servers.
    fn breakers(&self) -> Vec<StatementBreaker>;
    /// Rows for which statements wait now, the most waited for first.
    fn hot_rows(&self) -> Vec<HotRow>;
    fn tiers(&self) -> Vec<Tier>;
    /// What is prepared on the shards, at the last look.
    fn transactions(&self) -> Vec<Prepared>;
    /// Where a statement would go and why, as `weir explain` says it.
    fn explain(&self, question: &Question) -> Result<String, Error>;

    /// What runs may end, what is new waits; done when nothing runs.
    fn pause<'a>(&'a self, place: &'a Place) -> Doing<'a>;
    /// The end of PAUSE and DRAIN.
    fn resume<'a>(&'a self, place: &'a Place) -> Doing<'a>;
    /// Server connections are replaced by new ones as soon as nobody uses them.
    fn reconnect<'a>(&'a self, place: &'a Place) -> Doing<'a>;
    /// No new work for these servers; done when nothing runs there.
    fn drain<'a>(&'a self, place: &'a Place) -> Doing<'a>;
    /// As SIGHUP does.
    fn reload(&self) -> Doing<'_>;
}

/// What an action is about: everything, a database, one of its shards, one of that shard's servers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place {
    pub database: Option<String>,
    pub shard: Option<String>,
    /// Its number in SHOW SERVERS.
    pub server: Option<String>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [&self.database, &self.shard, &self.server];
        let parts: Vec<&str> = parts.into_iter().flatten().map(String::as_str).collect();
        f.write_str(&parts.join("."))
    }
}

/// A statement, and what its route depends on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Question {
    pub statement: String,
    /// `None`: the only one there is.
    pub database: Option<String>,
    /// As text; `None` is NULL.
    pub parameters: Vec<Option<String>>,
    /// `None`: PostgreSQL's defaults.
    pub user: Option<String>,
    pub search_path: Option<String>,
}

/// The connections to one server as one user, for one tier, in all workers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    pub database: String,
    pub user: String,
    pub shard: String,
    pub server: u32,
    pub tier: String,
    pub pool_mode: &'static str,
    /// Connections at work for clients.
    pub active: u32,
    pub idle: u32,
    /// Being opened.
    pub login: u32,
    /// Statements that wait for a connection.
    pub waiting: u32,
    /// For how long the first of them has.
    pub max_wait: Duration,
}

/// One server of one shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// The logical database that it serves.
    pub database: String,
    pub shard: String,
    /// In the rules file: `primary` is 0, the first of `replicas` is 1.
    pub number: u32,
    pub host: String,
    pub port: u32,
    /// The database on the server; `None`: the client's.
    pub dbname: Option<String>,
    /// Of weir itself, where the address names one.
    pub role: Role,
    /// In words: `up`, `down`, and so on.
    pub state: &'static str,
    pub paused: bool,
    pub drained: bool,
    pub probe: Probe,
    pub breaker: Breaker,
    pub connections: u32,
    /// Statements that are there or wait for a connection.
    pub outstanding: u32,
    pub sizes: Sizes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Takes the shard's writes.
    Primary,
    Replica,
    /// Accepts writes, but is not the shard's primary.
    Other,
    Unknown,
}

impl Role {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Replica => "replica",
            Self::Other => "other",
            Self::Unknown => "unknown",
        }
    }
}

/// What the last look at a server has shown.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Probe {
    pub latency: Option<Duration>,
    /// Looks in a row without an answer, and why.
    pub missed: u32,
    pub problem: Option<String>,
    pub system_identifier: Option<String>,
    pub timeline: Option<u32>,
    pub lsn: Option<String>,
    pub lag: Option<Duration>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breaker {
    pub state: &'static str,
    pub reason: Option<String>,
    /// Until a trial is let through.
    pub remaining: Option<Duration>,
}

/// What weir.toml says of a database; the tier `interactive`, where there are several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sizes {
    pub pool_mode: &'static str,
    pub size: u32,
    pub min_idle: u32,
    pub reserve: u32,
    pub server_lifetime: Option<Duration>,
    pub max_connections: Option<u32>,
    pub max_clients: Option<u32>,
    /// Of the database, in all workers.
    pub clients: u32,
}

/// Of one shape of statement, in one tier, on one shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatementBreaker {
    pub database: String,
    /// `None`: of statements that any shard can answer.
    pub shard: Option<String>,
    pub tier: String,
    /// A hash of the statement's text without its literals, as the error says it.
    pub shape: String,
    pub breaker: Breaker,
}

/// One shard's part of a transaction over several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    pub database: String,
    pub shard: String,
    pub gid: String,
    pub age: Duration,
    pub state: String,
    pub reason: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HotRow {
    pub database: String,
    pub shard: String,
    /// Table and key, in words.
    pub key: String,
    /// Statements that wait for the row now.
    pub waiting: u64,
    /// That have waited for it since the process started, about.
    pub waits: u64,
}

/// What holds for every statement of a tier unless user or database say otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tier {
    pub name: String,
    pub size: u32,
    pub min_idle: u32,
    pub reserve: u32,
    pub reserve_after: Duration,
    pub queue: u32,
    pub checkout: Duration,
    pub statement: Option<Duration>,
    pub idle_in_transaction: Option<Duration>,
    pub total: Option<Duration>,
    pub server_idle: Option<Duration>,
    pub server_lifetime: Option<Duration>,
    pub slow_statement: Option<Duration>,
}

#[cfg(test)]
pub mod fake {
    //! A system of one server that remembers what it was told to do.
    use super::*;
    use std::sync::Mutex;

    #[derive(Default)]
    pub struct Fake {
        pub done: Mutex<Vec<String>>,
    }

    impl Fake {
        fn note(&self, what: &str, place: &Place) -> Doing<'_> {
            let what = format!("{what} {place}");
            Box::pin(async move {
                self.done.lock().unwrap().push(what.trim_end().to_owned());
                Ok(())
            })
        }
    }

    impl System for Fake {
        fn pools(&self) -> Vec<Pool> {
            vec![Pool {
                database: "shop".to_owned(),
                user: "app".to_owned(),
                shard: "s0".to_owned(),
                server: 0,
                tier: "interactive".to_owned(),
                pool_mode: "transaction",
                active: 3,
                idle: 2,
                login: 1,
                waiting: 4,
                max_wait: Duration::from_micros(2_000_005),
            }]
        }

        fn servers(&self) -> Vec<Server> {
            vec![Server {
                database: "shop".to_owned(),
                shard: "s0".to_owned(),
                number: 0,
                host: "10.0.0.1".to_owned(),
                port: 5432,
                dbname: Some("shop".to_owned()),
                role: Role::Primary,
                state: "up",
                paused: false,
                drained: false,
                probe: Probe::default(),
                breaker: Breaker { state: "closed", reason: None, remaining: None },
                connections: 6,
                outstanding: 7,
                sizes: Sizes {
                    pool_mode: "transaction",
                    size: 20,
                    min_idle: 0,
                    reserve: 0,
                    server_lifetime: Some(Duration::from_secs(3600)),
                    max_connections: None,
                    max_clients: None,
                    clients: 9,
                },
            }]
        }

        fn breakers(&self) -> Vec<StatementBreaker> {
            Vec::new()
        }

        fn hot_rows(&self) -> Vec<HotRow> {
            Vec::new()
        }

        fn tiers(&self) -> Vec<Tier> {
            Vec::new()
        }

        fn transactions(&self) -> Vec<Prepared> {
            Vec::new()
        }

        fn explain(&self, question: &Question) -> Result<String, Error> {
            Ok(format!("shard s0: {}", question.statement))
        }

        fn pause<'a>(&'a self, place: &'a Place) -> Doing<'a> {
            self.note("pause", place)
        }

        fn resume<'a>(&'a self, place: &'a Place) -> Doing<'a> {
            self.note("resume", place)
        }

        fn reconnect<'a>(&'a self, place: &'a Place) -> Doing<'a> {
            self.note("reconnect", place)
        }

        fn drain<'a>(&'a self, place: &'a Place) -> Doing<'a> {
            self.note("drain", place)
        }

        fn reload(&self) -> Doing<'_> {
            self.note("reload", &Place::default())
        }
    }
}
