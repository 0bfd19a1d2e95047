//! The connections of one worker to one server, of one tier, as one user: gate, bb8 pool, lease.
use super::breaker::State;
use super::config::PoolConfig;
use super::dialer::{CurrentLogin, Dialer, Manager, Pooled, Sink};
use super::failures::Failures;
use super::fleet::{Server, Work};
use super::gate::Gate;
use super::quota::{Quota, Share};
use crate::auth::Login;
use crate::backend::connection::Look;
use crate::backend::{Connection, Health};
use crate::error::Error;
use crate::ids::{ServerId, ShardId, TierId};
use crate::telemetry::metrics::PoolMetrics;
use bb8::{PooledConnection, QueueStrategy, RunError};
use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::ops::{Deref, DerefMut};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// A connection that was asked whether it is alive has to answer in that time.
const CHECK_TIMEOUT: Duration = Duration::from_secs(1);

pub struct ServerPool {
    pub server: Arc<Server>,
    pub database: String,
    pub tier: TierId,
    pub(super) gate: Arc<Gate>,
    /// The user's and the database's.
    quotas: Vec<Arc<Quota>>,
    server_check: Duration,
    dialer: Arc<Dialer>,
    pool: bb8::Pool<Manager>,
    failures: Arc<Failures>,
    /// Those who may use a connection and have none yet. bb8 would give one that comes back to whoever
    /// asks next, and those who keep asking would keep it among themselves.
    line: Mutex<VecDeque<oneshot::Sender<Held>>>,
    /// Unused connections that were given back, the last of them first. To bb8 they are lent: a statement
    /// costs it twice as much to take one out and to put it back.
    warm: Mutex<Vec<Held>>,
    login: CurrentLogin,
    /// Connections are being opened that nobody waits for.
    filling: AtomicBool,
    metrics: Option<PoolMetrics>,
}

/// A connection that is ours until it is given back or dropped. Then it goes back if it is `Clean`, and is
/// closed if not.
#[derive(Debug)]
#[must_use]
pub struct Lease {
    pub shard: ShardId,
    pub work: Work,
    // Dropped in this order: the connection is back before it is handed on, and that before the next
    // one is let in.
    pooled: Held,
    _hand_over: HandOver,
    _admission: Admission,
}

/// Gives what has come back to whoever is first in the line.
#[derive(Debug)]
struct HandOver(Arc<ServerPool>);

impl Drop for HandOver {
    fn drop(&mut self) {
        self.0.hand_over();
    }
}

/// A place in the line.
struct InLine<'a> {
    pool: &'a ServerPool,
    handed: oneshot::Receiver<Held>,
}

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        // Handed over too late: it is for the next one.
        if let Ok(held) = self.handed.try_recv() {
            drop(held);
            self.pool.hand_over();
        }
    }
}

/// The right to use one connection.
#[derive(Debug)]
struct Admission {
    _shares: Vec<Share>,
    _permit: OwnedSemaphorePermit,
}

/// As bb8 lends it.
type Held = PooledConnection<'static, Manager>;

/// How good a connection is that nobody has used meanwhile.
enum Fit {
    Now,
    /// It was unused for long: it has to be asked.
    IfAlive,
}

/// Why there is no connection.
#[derive(Debug)]
pub enum Denied {
    /// The server, or what is known of it, has changed meanwhile: choose again.
    Changed,
    Error(Error),
}

/// A worker's connections at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Connections {
    pub open: u32,
    pub idle: u32,
}

impl ServerPool {
    pub(super) fn new(
        dialer: Dialer,
        names: (String, TierId),
        config: &PoolConfig,
        gate: Arc<Gate>,
    ) -> Self {
        let dialer = Arc::new(dialer);
        let tier = &gate.tier;
        let failures = Arc::clone(&dialer.failures);
        let size = tier.size.saturating_add(tier.reserve).max(1);
        let pool = bb8::Pool::builder()
            .max_size(size)
            .test_on_check_out(false)
            .retry_connection(false)
            // Our own limit passes first.
            .connection_timeout(tier.checkout + Duration::from_secs(1))
            // Both are ours (`Dialer::retires`): a sweep would make them look used.
            .idle_timeout(None)
            .max_lifetime(None)
            // What is used stays warm, what is not needed gets old.
            .queue_strategy(QueueStrategy::Lifo)
            .error_sink(Box::new(Sink { failures: Arc::clone(&failures) }))
            .build_unchecked(Manager(Arc::clone(&dialer)));
        let (database, tier) = names;
        Self {
            server: Arc::clone(&dialer.server),
            database,
            tier,
            quotas: dialer
                .quotas
                .iter()
                .filter(|of| !Arc::ptr_eq(of, &gate.open))
                .cloned()
                .collect(),
            gate,
            server_check: config.server_check,
            pool,
            failures,
            line: Mutex::default(),
            warm: Mutex::default(),
            login: dialer.login.clone(),
            filling: AtomicBool::new(false),
            metrics: dialer.metrics.clone(),
            dialer,
        }
    }

    /// An unused connection for one who is not before anybody else.
    pub(super) fn lease_now(self: &Arc<Self>, work: Work, now: Instant) -> Result<Lease, Work> {
        match self.at_once(now) {
            Some((pooled, admission)) => {
                self.count(Duration::ZERO, true);
                Ok(self.lend(work, pooled, admission, now))
            }
            None => Err(work),
        }
    }

    /// A connection for that work, in the order of asking.
    pub(super) async fn lease(
        self: &Arc<Self>,
        work: Work,
        asked: Instant,
        deadline: Instant,
    ) -> Result<Lease, Denied> {
        let granted = tokio::time::timeout_at(deadline.into(), self.admitted(work)).await;
        let outcome = granted.unwrap_or_else(|_| Err(Denied::Error(self.gate.too_late())));
        self.count(asked.elapsed(), outcome.is_ok());
        outcome
    }

    fn count(&self, waited: Duration, granted: bool) {
        if let Some(metrics) = &self.metrics {
            metrics.checked_out(waited, granted);
        }
    }

    fn lend(
        self: &Arc<Self>,
        work: Work,
        mut pooled: Held,
        admission: Admission,
        now: Instant,
    ) -> Lease {
        let shard = self.server.id.shard;
        // Where it is only dropped, too, it has not been unused for longer.
        pooled.unused_since = now;
        pooled.listed.lent(now);
        Lease { shard, work, pooled, _hand_over: HandOver(Arc::clone(self)), _admission: admission }
    }

    fn at_once(&self, now: Instant) -> Option<(Held, Admission)> {
        let permit = self.gate.enter_now()?;
        let shares = self.quotas.iter().map(|quota| quota.share_now()).collect::<Option<_>>()?;
        let admission = Admission { _shares: shares, _permit: permit };
        loop {
            let mut pooled = self.take_unused()?;
            match self.judge(&mut pooled, now) {
                Ok(Fit::Now) => return Some((pooled, admission)),
                // It goes back, to be taken by one who has the time to ask.
                Ok(Fit::IfAlive) => return None,
                Err(reason) => pooled.connection.taint(reason),
            }
        }
    }

    async fn admitted(self: &Arc<Self>, work: Work) -> Result<Lease, Denied> {
        let mut interrupted = pin!(self.server.interrupted.notified());
        interrupted.as_mut().enable();
        if work.is_interrupted() {
            return Err(Denied::Changed);
        }
        let connect = async {
            let admission = self.admission().await?;
            Ok((self.alive().await?, admission))
        };
        let (pooled, admission) = tokio::select! {
            biased;
            connected = connect => connected.map_err(Denied::Error)?,
            () = interrupted => return Err(Denied::Changed),
        };
        Ok(self.lend(work, pooled, admission, Instant::now()))
    }

    /// Always asked for in this order, so that nobody waits in a circle.
    async fn admission(&self) -> Result<Admission, Error> {
        let permit = self.gate.enter().await?;
        let mut shares = Vec::with_capacity(self.quotas.len());
        for quota in &self.quotas {
            let share = quota.share().await;
            shares.push(share.ok_or_else(|| Error::internal("the pool is closed"))?);
        }
        Ok(Admission { _shares: shares, _permit: permit })
    }

    /// A connection that can be used. Dropping another closes it; the next one is alive, or new.
    async fn alive(&self) -> Result<Held, Error> {
        loop {
            let mut pooled = self.take().await?;
            match self.judge(&mut pooled, Instant::now()) {
                Ok(Fit::Now) => return Ok(pooled),
                Ok(Fit::IfAlive) => {}
                Err(reason) => {
                    pooled.connection.taint(reason);
                    continue;
                }
            }
            let asked = tokio::time::timeout(CHECK_TIMEOUT, pooled.connection.ask(""));
            match asked.await {
                Ok(Ok(_)) => return Ok(pooled),
                Ok(Err(_)) => {}
                Err(_) => {
                    pooled.connection.taint("it did not answer after it was unused for long");
                    self.server.failed(Instant::now(), "a connection did not answer");
                }
            }
        }
    }

    /// Whether a connection that nobody uses can be used; `Err`: never again.
    fn judge(&self, pooled: &mut Pooled, now: Instant) -> Result<Fit, &'static str> {
        /// The runtime may not have heard yet that a connection has ended: the system knows.
        const HEARD: Duration = Duration::from_millis(100);
        if let Some(reason) = self.dialer.retires(pooled, now) {
            return Err(reason);
        }
        let unused = now.saturating_duration_since(pooled.unused_since);
        let look = if unused < HEARD { Look::Runtime } else { Look::System };
        pooled.connection.check_idle(look)?;
        Ok(if unused < self.server_check { Fit::Now } else { Fit::IfAlive })
    }

    /// An idle connection, or whichever comes first: one that is returned, or a new one.
    async fn take(&self) -> Result<Held, Error> {
        if let Some(held) = self.of_another_worker() {
            return Ok(held);
        }
        if let Some(held) = self.take_unused() {
            return Ok(held);
        }
        if let Some(error) = self.failures.pausing(Instant::now()) {
            return Err(error);
        }
        let mut get = pin!(self.pool.get_owned());
        let got = match poll_fn(|context| Poll::Ready(get.as_mut().poll(context))).await {
            Poll::Ready(got) => got,
            Poll::Pending => {
                // The connect that bb8 has just begun runs on this thread, so it cannot have failed yet.
                let mut failure = self.failures.wait();
                let mut place = self.stand_in_line();
                let got = tokio::select! {
                    biased;
                    got = get => got,
                    Ok(held) = &mut place.handed => Ok(held),
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
            RunError::TimedOut => self.gate.too_late(),
        })
    }

    fn stand_in_line(&self) -> InLine<'_> {
        let (hand, handed) = oneshot::channel();
        self.locked().push_back(hand);
        InLine { pool: self, handed }
    }

    /// An unused connection to whoever is first in the line.
    fn hand_over(&self) {
        let mut line = self.locked();
        while let Some(first) = line.pop_front() {
            if first.is_closed() {
                continue;
            }
            let Some(held) = self.take_unused() else { return line.push_front(first) };
            // Who has left meanwhile gives it back.
            if first.send(held).is_ok() {
                return;
            }
        }
    }

    fn locked(&self) -> MutexGuard<'_, VecDeque<oneshot::Sender<Held>>> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where a new connection would cost another worker an unused one of this tier: that one, which goes
    /// back to its own pool.
    fn of_another_worker(&self) -> Option<Held> {
        let has_room = self.dialer.quotas.iter().all(|quota| quota.has_room());
        if has_room || self.connections().idle > 0 {
            return None;
        }
        let pools = self.gate.open.pools();
        // Those of another set of servers may have been opened for other rules.
        let mut same = pools.iter().filter(|pool| Arc::ptr_eq(&pool.server, &self.server));
        same.find_map(|pool| pool.take_unused())
    }

    /// Closes an unused connection, if there is one.
    pub(super) fn close_unused(&self) -> bool {
        let Some(mut pooled) = self.take_unused() else { return false };
        pooled.connection.taint("another pool needs its place");
        true
    }

    /// Closes every unused connection that should not be used again, or cannot, and opens what is missing.
    pub(super) fn sweep(self: &Arc<Self>) {
        let now = Instant::now();
        let mut kept = Vec::new();
        while let Some(mut pooled) = self.take_unused() {
            let retires = self.dialer.retires(&pooled, now);
            // A connection that has ended is none, though nobody has wanted it since.
            match retires.or_else(|| pooled.connection.check_idle(Look::Runtime).err()) {
                Some(reason) => pooled.connection.taint(reason),
                None => {
                    self.measure(&mut pooled, now);
                    kept.push(pooled);
                }
            }
        }
        // The most recently used goes back last, to be the next one used.
        kept.into_iter().rev().for_each(drop);
        if self.misses(now) && !self.filling.swap(true, Relaxed) {
            let pool = Arc::clone(self);
            tokio::spawn(async move {
                pool.fill().await;
                pool.filling.store(false, Relaxed);
            });
        }
    }

    /// Whether fewer connections are unused than there should be, and one more disturbs nobody. bb8's own
    /// `min_idle` would count those that a sweep has in its hands, and would not know of DRAIN.
    fn misses(&self, now: Instant) -> bool {
        let Connections { open, idle } = self.connections();
        idle < self.gate.tier.min_idle
            && open < self.gate.tier.size
            && self.dialer.quotas.iter().all(|quota| quota.has_room())
            && !self.server.is_drained()
            && self.server.breaker(now).0 == State::Closed
            && self.failures.pausing(now).is_none()
    }

    async fn fill(&self) {
        while self.misses(Instant::now()) {
            match self.dialer.connect().await {
                Ok(pooled) => {
                    // Somebody may have opened the last one meanwhile.
                    if self.pool.add(pooled).is_err() {
                        return;
                    }
                }
                Err(error) => {
                    let sink = Sink { failures: Arc::clone(&self.failures) };
                    return bb8::ErrorSink::sink(&sink, error);
                }
            }
        }
    }

    /// Asks TCP how the line to the server does.
    fn measure(&self, pooled: &mut Pooled, now: Instant) {
        /// Between two questions about one connection.
        const PACE: Duration = Duration::from_secs(5);
        let (last, before) = pooled.measured;
        if now.saturating_duration_since(last) < PACE {
            return;
        }
        pooled.measured.0 = now;
        if let Some(info) = pooled.connection.stream.tcp_info() {
            pooled.measured.1 = info.retransmits;
            self.server.measured(info.rtt, info.retransmits.saturating_sub(before));
        }
    }

    fn take_unused(&self) -> Option<Held> {
        let warm = self.warm().pop();
        if warm.is_some() {
            return warm;
        }
        if self.pool.state().idle_connections == 0 {
            return None;
        }
        match pin!(self.pool.get_owned()).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(got) => got.ok(),
            Poll::Pending => None,
        }
    }

    /// New connections log in with this from now on: a password may have changed.
    pub(super) fn renew(&self, login: &Arc<Login>) {
        self.login.renew(login);
    }

    pub fn connections(&self) -> Connections {
        let (state, warm) = (self.pool.state(), self.warm().len());
        let warm = u32::try_from(warm).unwrap_or(u32::MAX);
        Connections { open: state.connections, idle: state.idle_connections + warm }
    }

    /// Keeps a connection that can be used again at hand, unless it is another worker's.
    fn keep(&self, mut held: Held) {
        let now = Instant::now();
        if let Some(metrics) = &self.metrics {
            // Since then it has been used.
            metrics.lent(now.saturating_duration_since(held.unused_since));
        }
        held.unused_since = now;
        held.returned();
        if self.dialer.has_opened(&held) && self.dialer.unfit(&held).is_none() {
            self.warm().push(held);
        }
    }

    fn warm(&self) -> MutexGuard<'_, Vec<Held>> {
        self.warm.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn id(&self) -> ServerId {
        self.server.id
    }
}

impl fmt::Debug for ServerPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerPool({})", self.server.name)
    }
}

impl Lease {
    /// The connection will be closed instead of going back.
    pub fn taint(&mut self, reason: &'static str) {
        self.pooled.connection.health = Health::Tainted(reason);
    }

    /// Drops it; what is in order is at hand for who asks next.
    pub fn give_back(self) {
        let Self { pooled, _hand_over: hand_over, _admission: admission, .. } = self;
        hand_over.0.keep(pooled);
        drop((hand_over, admission));
    }

    /// The client of that number has it, as the console shows.
    pub fn note_client(&self, client: u32) {
        self.pooled.listed.lent_to(client);
    }

    /// The connection broke without a word of the server's.
    pub fn broke(&mut self) {
        self.taint("its connection broke");
        self.work.server.failed(Instant::now(), "a connection broke");
    }
}

impl Deref for Lease {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.pooled.connection
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.pooled.connection
    }
}
