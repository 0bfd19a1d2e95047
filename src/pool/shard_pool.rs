//! The connections to one shard as one user: gate, bb8 pool, lease.
//!
//! bb8 hands a returned connection to whoever asks next, so that waiters can starve; the gate, a fair
//! semaphore with as many permits as the pool has connections, lets in only those who will get one.
use super::config::PoolConfig;
use super::dialer::{CurrentLogin, Dialer, Sink};
use super::failures::Failures;
use crate::auth::Login;
use crate::backend::{Connection, Health};
use crate::error::{Error, SqlState};
use crate::ids::ShardId;
use crate::telemetry::metrics::PoolMetrics;
use bb8::{PooledConnection, QueueStrategy, RunError};
use std::future::poll_fn;
use std::ops::{Deref, DerefMut};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How often unused connections are looked for.
const REAPER_RATE: Duration = Duration::from_secs(10);

pub struct ShardPool {
    pub shard: ShardId,
    pub database: String,
    pub user: String,
    name: String,
    size: u32,
    checkout_timeout: Duration,
    gate: Arc<Semaphore>,
    waiting: AtomicU32,
    pool: bb8::Pool<Dialer>,
    failures: Arc<Failures>,
    login: CurrentLogin,
    pub(super) metrics: Option<PoolMetrics>,
}

/// A connection that is ours until it is dropped. Then it goes back if it is `Clean`, and is closed
/// if not.
#[derive(Debug)]
#[must_use]
pub struct Lease {
    pub shard: ShardId,
    // Dropped in this order: the connection is back before the next one is let in.
    connection: PooledConnection<'static, Dialer>,
    _permit: OwnedSemaphorePermit,
}

/// What a pool looks like at one moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PoolStats {
    pub shard: ShardId,
    pub database: String,
    pub user: String,
    /// The most connections that may be leased at once.
    pub size: u32,
    pub connections: u32,
    pub idle: u32,
    /// Leases asked for and not granted yet.
    pub waiting: u32,
}

impl ShardPool {
    pub(super) fn new(
        dialer: Dialer,
        name: String,
        database: String,
        config: &PoolConfig,
        gate: Arc<Semaphore>,
    ) -> Self {
        let (shard, failures) = (dialer.shard, Arc::clone(&dialer.failures));
        let (login, metrics) = (dialer.login.clone(), dialer.metrics.clone());
        let user = login.get().user.clone();
        let size = config.size_for(&user);
        let pool = bb8::Pool::builder()
            .max_size(size)
            .min_idle(config.min_idle.min(size))
            .test_on_check_out(false)
            .retry_connection(false)
            // Our own limit passes first.
            .connection_timeout(config.checkout_timeout + Duration::from_secs(1))
            .idle_timeout(config.idle_timeout)
            .max_lifetime(config.lifetime)
            .reaper_rate(REAPER_RATE)
            // What is used stays warm, what is not needed gets old.
            .queue_strategy(QueueStrategy::Lifo)
            .error_sink(Box::new(Sink { failures: Arc::clone(&failures) }))
            .build_unchecked(dialer);
        Self {
            shard,
            database,
            user,
            name,
            size,
            checkout_timeout: config.checkout_timeout,
            gate,
            waiting: AtomicU32::new(0),
            pool,
            failures,
            login,
            metrics,
        }
    }

    /// A connection, in the order of asking.
    pub async fn lease(&self) -> Result<Lease, Error> {
        let asked = Instant::now();
        let granted = tokio::time::timeout(self.checkout_timeout, self.admitted()).await;
        let outcome = granted.unwrap_or_else(|_| Err(self.timed_out()));
        if let Some(metrics) = &self.metrics {
            metrics.checked_out(asked.elapsed(), outcome.is_ok());
        }
        outcome
    }

    async fn admitted(&self) -> Result<Lease, Error> {
        let _waiting = Waiting::new(&self.waiting);
        let permit = Arc::clone(&self.gate).acquire_owned().await;
        let permit = permit.map_err(|_| Error::internal("the pool is closed"))?;
        loop {
            let mut connection = self.take().await?;
            match connection.check_idle() {
                Ok(()) => {
                    return Ok(Lease { shard: self.shard, connection, _permit: permit });
                }
                // Dropping it closes it; the next one is alive, or new.
                Err(reason) => connection.taint(reason),
            }
        }
    }

    /// An idle connection, or whichever comes first: one that is returned, or a new one.
    async fn take(&self) -> Result<PooledConnection<'static, Dialer>, Error> {
        if let Some(error) = self.failures.pausing(Instant::now())
            && self.pool.state().idle_connections == 0
        {
            return Err(error);
        }
        let mut get = pin!(self.pool.get_owned());
        let got = match poll_fn(|context| Poll::Ready(get.as_mut().poll(context))).await {
            Poll::Ready(got) => got,
            Poll::Pending => {
                // The connect that bb8 has just begun runs on this thread, so it cannot have failed yet.
                let mut failure = self.failures.wait();
                let got = tokio::select! {
                    biased;
                    got = get => got,
                    Ok(error) = &mut failure => return Err(error),
                };
                if let Ok(error) = failure.try_recv() {
                    self.failures.pass_on(error);
                }
                got
            }
        };
        got.map_err(|error| match error {
            RunError::User(error) => error,
            RunError::TimedOut => self.timed_out(),
        })
    }

    /// New connections log in with this from now on: a password may have changed.
    pub(super) fn renew(&self, login: &Arc<Login>) {
        self.login.renew(login);
    }

    pub fn stats(&self) -> PoolStats {
        let state = self.pool.state();
        PoolStats {
            shard: self.shard,
            database: self.database.clone(),
            user: self.user.clone(),
            size: self.size,
            connections: state.connections,
            idle: state.idle_connections,
            waiting: self.waiting.load(Ordering::Relaxed),
        }
    }

    fn timed_out(&self) -> Error {
        let waiting = self.waiting.load(Ordering::Relaxed);
        let message = format!(
            "timed out waiting for a server connection of shard {} (pool of {}, {waiting} waiting)",
            self.name, self.size
        );
        let hint = "shorten transactions, or raise the pool's size or its checkout timeout";
        Error::shard(SqlState::TOO_MANY_CONNECTIONS, message).hint(hint)
    }
}

impl Lease {
    /// The connection will be closed instead of going back.
    pub fn taint(&mut self, reason: &'static str) {
        self.connection.health = Health::Tainted(reason);
    }
}

impl Deref for Lease {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }
}

/// Counts one who waits, for as long as it waits.
struct Waiting<'a>(&'a AtomicU32);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicU32) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
