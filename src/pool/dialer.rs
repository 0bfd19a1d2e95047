//! How bb8 makes a connection and knows that one is broken.
use super::failures::Failures;
use crate::auth::Login;
use crate::backend::{Address, ConnectOptions, Connection, Health, startup};
use crate::error::Error;
use crate::ids::ShardId;
use crate::telemetry::metrics::PoolMetrics;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

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
    pub shard: ShardId,
    /// The shard's name and address, for messages.
    pub place: String,
    pub address: Arc<Address>,
    pub login: CurrentLogin,
    pub options: ConnectOptions,
    pub on_connect: Option<Arc<dyn OnConnect>>,
    pub failures: Arc<Failures>,
    pub metrics: Option<PoolMetrics>,
}

impl Dialer {
    async fn dial(&self) -> Result<Connection, Error> {
        let login = self.login.get();
        let connected = startup::connect(&self.address, &login, &self.options).await;
        let mut connection = connected.map_err(|error| error.to_error(&self.place))?;
        if let Some(hook) = &self.on_connect {
            let limit = self.options.limit(&self.address);
            let run = tokio::time::timeout(limit, hook.run(&mut connection, self.shard));
            run.await.unwrap_or_else(|_| {
                use crate::backend::ConnectError::TimedOut;
                Err(TimedOut(limit).to_error(&self.place))
            })?;
        }
        Ok(connection)
    }
}

impl bb8::ManageConnection for Dialer {
    type Connection = Connection;
    type Error = Error;

    async fn connect(&self) -> Result<Connection, Error> {
        let under_way = self.failures.connecting();
        let dialled = self.dial().await;
        if let Some(metrics) = &self.metrics {
            metrics.connected(dialled.is_ok());
        }
        let connection = dialled?;
        drop(under_way);
        self.failures.succeeded();
        Ok(connection)
    }

    /// Never asked: connections are checked without a round trip when they are taken out.
    async fn is_valid(&self, _: &mut Connection) -> Result<(), Error> {
        Ok(())
    }

    fn has_broken(&self, connection: &mut Connection) -> bool {
        let reason = match connection.health {
            Health::Clean if !connection.output.is_empty() => "bytes were left unsent",
            Health::Clean if !connection.input.is_empty() => "bytes were left unread",
            Health::Clean => return false,
            Health::Busy => "it was given back in the middle of something",
            Health::Tainted(reason) => reason,
        };
        if let Some(metrics) = &self.metrics {
            metrics.closed(reason);
        }
        tracing::debug!(place = self.place, id = connection.id, reason, "a connection is closed");
        true
    }
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
        write!(f, "Dialer({})", self.place)
    }
}
