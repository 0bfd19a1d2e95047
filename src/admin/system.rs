//! weir as views and actions see it. `server` stands behind it; tests have one of their own.
use crate::error::Error;
use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::{Duration, SystemTime};

/// An action under way. Dropping it stops the waiting, not what has been done.
pub type Doing<'a> = Pin<Box<dyn Future<Output = Result<(), Error>> + Send + 'a>>;

pub trait System: Send + Sync + 'static {
    fn pools(&self) -> Vec<Pool>;
    /// Those who have logged in, consoles included.
    fn clients(&self) -> Vec<Socket>;
    /// To servers, in all pools.
    fn connections(&self) -> Vec<Socket>;
    /// Clients that have not said yet who they are.
    fn arriving(&self) -> usize;
    /// By name.
    fn users(&self) -> Vec<User>;
    fn memory(&self) -> Vec<Memory>;
    fn settings(&self) -> Vec<Setting>;
    /// By database, used or not.
    fn stats(&self) -> Vec<Stats>;
    fn buckets(&self) -> Vec<Buckets>;
    fn rules(&self) -> Vec<Rule>;
    /// The heaviest of each database: keys, then buckets.
    fn hot_keys(&self) -> Vec<HotKey>;
    /// Those that took most of the time first.
    fn plans(&self) -> Vec<Plan>;
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
    /// Every client of these databases is thrown out, and what is new waits.
    fn kill<'a>(&'a self, place: &'a Place) -> Doing<'a>;
    /// The client of that number.
    fn kill_client<'a>(&'a self, id: &'a str) -> Doing<'a>;
    /// No new clients for these databases.
    fn disable<'a>(&'a self, place: &'a Place) -> Doing<'a>;
    fn enable<'a>(&'a self, place: &'a Place) -> Doing<'a>;
    /// Done when no connection is there any more that was to be replaced.
    fn wait_close<'a>(&'a self, place: &'a Place) -> Doing<'a>;
    /// Done before weir ends.
    fn shut_down(&self, ending: Ending) -> Doing<'_>;
    /// Until the next reload. `None`: weir has no such setting.
    fn set<'a>(&'a self, name: &str, value: &str) -> Option<Doing<'a>>;
}

/// What an action is about: everything, a database, one of its shards, one of that shard's servers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place {
    pub database: Option<String>,
    pub shard: Option<String>,
    /// Its number in SHOW SHARDS.
    pub server: Option<String>,
}

impl Place {
    /// The one name of an action that is about something else than a place.
    pub fn word(&self) -> &str {
        self.database.as_deref().unwrap_or_default()
    }
}

/// When weir ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    AtOnce,
    /// No new clients; those between transactions have to leave.
    WhenServersRest,
    /// No new clients; those there leave when they want to.
    WhenClientsHaveLeft,
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

/// One connection, to a client or to a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Socket {
    pub side: Side,
    /// Of its side.
    pub id: u64,
    pub user: String,
    pub database: String,
    pub state: State,
    /// `None`: a Unix socket.
    pub peer: Option<SocketAddr>,
    pub local: Option<SocketAddr>,
    pub connected: SystemTime,
    pub requested: SystemTime,
    /// For a server connection, until now.
    pub wait: Duration,
    /// It is closed as soon as nobody uses it.
    pub close_needed: bool,
    /// The id of the connection on the other side that it is joined with now.
    pub link: Option<u64>,
    /// Of the server's process; 0 on the clients' side.
    pub remote_pid: u32,
    pub tls: Option<String>,
    pub application_name: String,
    pub prepared: u32,
    pub pool_mode: Option<&'static str>,
    pub shard: Option<String>,
    pub server: Option<u32>,
    pub tier: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Client,
    Server,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// A client whom weir answers or who has a server; a server that a client has.
    Active,
    Idle,
    /// A client that has no server connection yet.
    Waiting,
    /// A server connection that was unused for so long that it is asked first whether it is alive.
    Used,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub name: String,
    pub pool_size: Option<u32>,
    pub pool_mode: Option<&'static str>,
    pub tier: Option<String>,
    pub max_connections: Option<u32>,
    pub connections: u32,
    pub max_clients: Option<u32>,
    pub clients: u32,
}

/// So many things of at least so many bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Memory {
    pub name: &'static str,
    pub size: u64,
    pub used: u64,
}

/// PgBouncer's statistics of one database: servers assigned, transactions, statements, bytes received and
/// sent, time in transactions, statements and waiting (microseconds), Parses of clients and to servers,
/// Binds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stats {
    pub database: String,
    pub total: [u64; 11],
    pub average: Average,
}

/// For each second; times: for each transaction, statement, wait.
pub type Average = [u64; 11];

/// What one shard has of a distribution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Buckets {
    pub database: String,
    pub distribution: String,
    pub shard: String,
    pub count: u64,
    /// `0-255,700`.
    pub ranges: String,
}

/// An entry of a rules file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    pub database: String,
    pub kind: &'static str,
    pub name: String,
    pub distribution: Option<String>,
    pub key: Option<String>,
    pub placement: Option<String>,
    pub detail: String,
    /// `file:line`.
    pub place: String,
}

/// A key, or a bucket, that many statements are about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HotKey {
    pub database: String,
    pub distribution: String,
    /// `None`: the bucket as a whole.
    pub key: Option<String>,
    pub bucket: u64,
    pub shard: String,
    /// Lately, estimated from a sample.
    pub statements: u64,
    /// So many of them may have been about others.
    pub doubtful: u64,
    pub percent: u64,
}

/// A statement whose plan is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    pub database: String,
    /// As errors and SHOW BREAKERS say it.
    pub shape: String,
    pub access: &'static str,
    /// How it was answered the last time.
    pub strategy: Option<&'static str>,
    /// One for each worker, user and search_path.
    pub plans: u64,
    pub calls: u64,
    pub total_us: u64,
    pub max_us: u64,
    /// Without its literals.
    pub statement: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    pub key: String,
    /// `None`: off, or not set.
    pub value: Option<String>,
    pub default: Option<String>,
    /// Without a restart.
    pub changeable: bool,
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
    /// That may be at work at once.
    pub size: u32,
    /// Connections at work for clients.
    pub active: u32,
    pub idle: u32,
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
    /// Its database takes no new clients.
    pub disabled: bool,
    /// That live on the shard; `None`: nothing of the database is sharded.
    pub buckets: Option<u32>,
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
    /// Whom all its clients are on the servers.
    pub force_user: Option<String>,
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

    fn socket(side: Side) -> Socket {
        Socket {
            side,
            id: 7,
            user: "app".to_owned(),
            database: "shop".to_owned(),
            state: State::Active,
            peer: Some(SocketAddr::from(([10, 0, 0, 1], 5432))),
            local: None,
            connected: SystemTime::UNIX_EPOCH,
            requested: SystemTime::UNIX_EPOCH + Duration::from_secs(1),
            wait: Duration::from_micros(2_000_005),
            close_needed: false,
            link: Some(7),
            remote_pid: 4711,
            tls: None,
            application_name: "psql".to_owned(),
            prepared: 1,
            pool_mode: None,
            shard: Some("s0".to_owned()),
            server: Some(0),
            tier: Some("interactive".to_owned()),
        }
    }

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
                size: 20,
                active: 3,
                idle: 2,
                waiting: 4,
                max_wait: Duration::from_micros(2_000_005),
            }]
        }

        fn clients(&self) -> Vec<Socket> {
            vec![socket(Side::Client)]
        }

        fn connections(&self) -> Vec<Socket> {
            vec![socket(Side::Server)]
        }

        fn arriving(&self) -> usize {
            0
        }

        fn users(&self) -> Vec<User> {
            vec![User {
                name: "app".to_owned(),
                pool_size: Some(5),
                pool_mode: None,
                tier: None,
                max_connections: None,
                connections: 6,
                max_clients: Some(100),
                clients: 9,
            }]
        }

        fn memory(&self) -> Vec<Memory> {
            vec![Memory { name: "clients", size: 100, used: 9 }]
        }

        fn settings(&self) -> Vec<Setting> {
            vec![Setting {
                key: "pool.size".to_owned(),
                value: Some("30".to_owned()),
                default: Some("20".to_owned()),
                changeable: true,
            }]
        }

        fn stats(&self) -> Vec<Stats> {
            vec![Stats { database: "shop".to_owned(), total: [7; 11], average: [1; 11] }]
        }

        fn buckets(&self) -> Vec<Buckets> {
            vec![Buckets {
                database: "shop".to_owned(),
                distribution: "by_user".to_owned(),
                shard: "s0".to_owned(),
                count: 2,
                ranges: "0-1".to_owned(),
            }]
        }

        fn rules(&self) -> Vec<Rule> {
            vec![Rule {
                database: "shop".to_owned(),
                kind: "table",
                name: "orders".to_owned(),
                distribution: Some("by_user".to_owned()),
                key: Some("user_id".to_owned()),
                placement: Some("sharded".to_owned()),
                detail: String::new(),
                place: "rules.toml:7".to_owned(),
            }]
        }

        fn hot_keys(&self) -> Vec<HotKey> {
            vec![HotKey {
                database: "shop".to_owned(),
                distribution: "by_user".to_owned(),
                key: Some("42".to_owned()),
                bucket: 617,
                shard: "s0".to_owned(),
                statements: 640,
                doubtful: 64,
                percent: 12,
            }]
        }

        fn plans(&self) -> Vec<Plan> {
            vec![Plan {
                database: "shop".to_owned(),
                shape: "0123abcd".to_owned(),
                access: "read",
                strategy: Some("single"),
                plans: 1,
                calls: 3,
                total_us: 600,
                max_us: 300,
                statement: "SELECT $1".to_owned(),
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
                disabled: false,
                buckets: None,
                probe: Probe::default(),
                breaker: Breaker { state: "closed", reason: None, remaining: None },
                connections: 6,
                outstanding: 7,
                sizes: Sizes {
                    force_user: None,
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

        fn kill<'a>(&'a self, place: &'a Place) -> Doing<'a> {
            self.note("kill", place)
        }

        fn kill_client<'a>(&'a self, id: &'a str) -> Doing<'a> {
            let place = Place { database: Some(id.to_owned()), ..Place::default() };
            self.note("kill client", &place)
        }

        fn disable<'a>(&'a self, place: &'a Place) -> Doing<'a> {
            self.note("disable", place)
        }

        fn enable<'a>(&'a self, place: &'a Place) -> Doing<'a> {
            self.note("enable", place)
        }

        fn wait_close<'a>(&'a self, place: &'a Place) -> Doing<'a> {
            self.note("wait close", place)
        }

        fn shut_down(&self, ending: Ending) -> Doing<'_> {
            self.note(&format!("end {ending:?}"), &Place::default())
        }

        fn set<'a>(&'a self, name: &str, value: &str) -> Option<Doing<'a>> {
            let what = format!("set {name} to {value}");
            (name == "pool.size").then(|| self.note(&what, &Place::default()))
        }
    }
}
