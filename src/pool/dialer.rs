//! How bb8 makes a connection and knows that one is broken.
use super::failures::Failures;
use super::fleet::Server;
use super::quota::{Place, Quota};
use super::roll::{Listed, Roll, Whose};
use crate::auth::Login;
use crate::backend::{Address, ConnectError, ConnectOptions, Connection, Health, startup};
use crate::error::{Error, SqlState};
use crate::ids::ShardId;
use crate::telemetry::metrics::PoolMetrics;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

/// What is done with every new connection before anybody gets it: an error keeps it out.
pub trait OnConnect: Send + Sync {
    fn run<'a>(&'a self, connection: &'a mut Connection, shard: ShardId) -> Hook<'a>;
}

pub type Hook<'a> = Pin<Box<dyn Future<Output = Result<(), Error>> + Send + 'a>>;

/// The login that new connections use: the pool replaces it when a user's password has changed.
#[derive(Clone, Debug)]
pub struct CurrentLogin(Arc<Mutex<Arc<Login>>>);

impl CurrentLogin {
    pub fn new(login: Arc<Login>) -> Self {
        Self(Arc::new(Mutex::new(login)))
    }

    pub fn get(&self) -> Arc<Login> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn renew(&self, login: &Arc<Login>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(&known, login) {
            *known = Arc::clone(login);
        }
    }
}

pub struct Dialer {
    pub server: Arc<Server>,
    pub address: Arc<Address>,
    pub login: CurrentLogin,
    pub options: ConnectOptions,
    pub idle_timeout: Option<Duration>,
    pub lifetime: Option<Duration>,
    pub on_connect: Option<Arc<dyn OnConnect>>,
    /// As PgBouncer's: what goes wrong with it is logged.
    pub connect_query: Option<String>,
    pub failures: Arc<Failures>,
    /// Of the tier, the user and the database: a connection needs a place in each.
    pub quotas: Vec<Arc<Quota>>,
    /// Where each new connection is entered, and as whose.
    pub roll: Roll,
    pub whose: Arc<Whose>,
    pub metrics: Option<PoolMetrics>,
}

/// A connection as bb8 keeps it.
#[derive(Debug)]
pub struct Pooled {
    /// It moves often, and holds much: above all what TLS needs.
    pub connection: Box<Connection>,
    pub unused_since: Instant,
    /// When TCP was last asked about it, and what it had sent again until then.
    pub measured: (Instant, u32),
    /// In the roll.
    pub listed: Listed,
    generation: u64,
    opened_by: Weak<Dialer>,
    expires: Option<Instant>,
    _places: Vec<Place>,
}

impl Pooled {
    /// Nobody has it any more, as the console shows.
    pub fn returned(&self) {
        self.listed.returned(self.connection.session.prepared.len());
    }
}

impl Dialer {
    async fn dial(&self) -> Result<Connection, Error> {
        let (login, now) = (self.login.get(), Instant::now);
        let connected = startup::connect(&self.address, &login, &self.options).await;
        let mut connection = connected.map_err(|error| {
            if speaks_of_the_server(&error) {
                self.server.failed(now(), &error.to_string());
            }
            error.to_error(&self.server.name)
        })?;
        self.server.succeeded(now());
        if let Some(hook) = &self.on_connect {
            let limit = self.options.limit(&self.address);
            let run = tokio::time::timeout(limit, hook.run(&mut connection, self.server.id.shard));
            run.await.unwrap_or_else(|_| {
                let late = ConnectError::TimedOut(limit);
                self.server.failed(now(), &late.to_string());
                Err(late.to_error(&self.server.name))
            })?;
        }
        if let Some(query) = &self.connect_query {
            let limit = self.options.limit(&self.address);
            let asked = tokio::time::timeout(limit, connection.ask(query)).await;
            let Ok(answer) = asked else {
                let late = ConnectError::TimedOut(limit);
                return Err(late.to_error(&self.server.name));
            };
            if let Err(error) = answer {
                tracing::warn!(server = self.server.name, message = error.message, "connect_query");
            }
        }
        Ok(connection)
    }

    pub async fn connect(self: &Arc<Self>) -> Result<Box<Pooled>, Error> {
        let under_way = self.failures.connecting();
        let places = self.places().await?;
        // Before the connect: what changes meanwhile concerns it.
        let generation = self.server.generation();
        let dialled = self.dial().await;
        if let Some(metrics) = &self.metrics {
            metrics.connected(dialled.is_ok());
        }
        let connection = Box::new(dialled?);
        drop(under_way);
        self.failures.succeeded();
        let now = Instant::now();
        let listed = self.roll.enter(&self.server, &self.whose, generation, &connection);
        Ok(Box::new(Pooled {
            listed,
            connection,
            unused_since: now,
            measured: (now, 0),
            generation,
            opened_by: Arc::downgrade(self),
            expires: self.lifetime.map(|lifetime| now + shortened(lifetime)),
            _places: places,
        }))
    }

    async fn places(&self) -> Result<Vec<Place>, Error> {
        let mut places = Vec::with_capacity(self.quotas.len());
        for quota in &self.quotas {
            let place = quota.take(|| self.failures.is_awaited()).await;
            places.push(place.ok_or_else(|| Error::internal("the pool is closed"))?);
        }
        Ok(places)
    }

    /// Why a connection that nobody uses should not be used again, though it could.
    pub fn retires(&self, pooled: &Pooled, now: Instant) -> Option<&'static str> {
        if pooled.generation != self.server.generation() {
            return Some("it was opened before the last change of its server");
        }
        let unused = now.saturating_duration_since(pooled.unused_since);
        if self.idle_timeout.is_some_and(|limit| unused >= limit) {
            return Some("it was unused for long");
        }
        pooled.expires.is_some_and(|expires| now >= expires).then_some("its lifetime is over")
    }

    pub fn has_opened(&self, pooled: &Pooled) -> bool {
        std::ptr::eq(pooled.opened_by.as_ptr(), self)
    }

    /// Why a connection that comes back is closed.
    pub fn unfit(&self, pooled: &Pooled) -> Option<&'static str> {
        let connection = &pooled.connection;
        match connection.health {
            // Whoever used it does not know any more what was said on it.
            _ if std::thread::panicking() => Some("its user panicked"),
            Health::Clean if !connection.output.is_empty() => Some("bytes were left unsent"),
            Health::Clean if !connection.input.is_empty() => Some("bytes were left unread"),
            Health::Clean => self.retires(pooled, pooled.unused_since).or(self.gives_way()),
            Health::Busy => Some("it was given back in the middle of something"),
            Health::Tainted(reason) => Some(reason),
        }
    }

    /// Only when it comes back is a connection's place given away: whoever has just got one
    /// uses it first, or two who wait would take it from each other without end.
    fn gives_way(&self) -> Option<&'static str> {
        let wanted = self.quotas.iter().any(|quota| quota.is_wanted());
        wanted.then_some("another pool needs its place")
    }

    pub fn closed(&self, connection: &Connection, reason: &'static str) {
        if let Some(metrics) = &self.metrics {
            metrics.closed(reason);
        }
        tracing::debug!(
            server = self.server.name,
            id = connection.id,
            reason,
            "a connection is closed"
        );
    }
}

/// Whether others who connect there will fare no better.
fn speaks_of_the_server(error: &ConnectError) -> bool {
    match error {
        ConnectError::Unreachable(_) | ConnectError::TimedOut(_) | ConnectError::Protocol(_) => {
            true
        }
        ConnectError::Refused(error) => error.code == SqlState::CANNOT_CONNECT_NOW,
        ConnectError::Tls(_) | ConnectError::Login(_) => false,
    }
}

/// What bb8 calls.
#[derive(Clone, Debug)]
pub struct Manager(pub Arc<Dialer>);

impl bb8::ManageConnection for Manager {
    /// In a box: bb8 moves what it lends and keeps a dozen times.
    type Connection = Box<Pooled>;
    type Error = Error;

    async fn connect(&self) -> Result<Box<Pooled>, Error> {
        self.0.connect().await
    }

    /// Never asked: connections are checked when they are taken out, most without a round trip.
    async fn is_valid(&self, _: &mut Box<Pooled>) -> Result<(), Error> {
        Ok(())
    }

    fn has_broken(&self, pooled: &mut Box<Pooled>) -> bool {
        pooled.returned();
        let Some(reason) = self.0.unfit(pooled) else { return false };
        self.0.closed(&pooled.connection, reason);
        true
    }
}

/// Up to a tenth shorter: connections that were opened together do not end together.
fn shortened(lifetime: Duration) -> Duration {
    lifetime.mul_f64(1.0 - rand::random::<f64>() / 10.0)
}

/// Where bb8 reports failed connects.
#[derive(Debug)]
pub struct Sink {
    pub failures: Arc<Failures>,
}

impl bb8::ErrorSink<Error> for Sink {
    fn sink(&self, error: Error) {
        tracing::warn!(message = error.message, "no connection");
        self.failures.failed(error, Instant::now());
    }

    fn boxed_clone(&self) -> Box<dyn bb8::ErrorSink<Error>> {
        Box::new(Self { failures: Arc::clone(&self.failures) })
    }
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dialer({})", self.server.name)
    }
}
