//! What the console shows of a client. A statement costs a few relaxed stores; the clock is one that is
//! advanced now and then.
use crate::backend::Stream;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

/// About what time it is: as of the last tick.
#[derive(Clone, Debug, Default)]
pub struct Clock(Arc<AtomicU64>);

/// Who a client is, from its start-up on.
#[derive(Clone, Debug)]
pub struct Facts {
    pub user: String,
    pub database: String,
    pub peer: Option<SocketAddr>,
    pub local: Option<SocketAddr>,
    /// Protocol and cipher.
    pub tls: Option<String>,
    pub connected: SystemTime,
}

/// One client's, in its slot.
#[derive(Debug)]
pub struct Shown {
    clock: Clock,
    facts: OnceLock<Box<Facts>>,
    application_name: Mutex<Box<str>>,
    /// In microseconds since 1970, as the next one.
    requested_us: AtomicU64,
    /// 0: it does not wait for a server connection.
    waiting_us: AtomicU64,
    prepared: AtomicU32,
}

/// A client that has logged in, as it is now.
#[derive(Clone, Debug)]
pub struct View {
    pub facts: Facts,
    pub application_name: String,
    pub requested: SystemTime,
    /// Since when it has waited for a server connection.
    pub waiting_since: Option<SystemTime>,
    /// Statements that it has prepared under a name.
    pub prepared: u32,
}

impl Clock {
    pub fn tick(&self) {
        self.0.store(micros(SystemTime::now()), Relaxed);
    }
}

impl Facts {
    /// Of whoever is on this line.
    pub fn new(user: &str, database: &str, stream: &Stream) -> Self {
        let tcp = stream.tcp();
        Self {
            user: user.to_owned(),
            database: database.to_owned(),
            peer: tcp.and_then(|socket| socket.peer_addr().ok()),
            local: tcp.and_then(|socket| socket.local_addr().ok()),
            tls: stream.tls_name(),
            connected: SystemTime::now(),
        }
    }
}

impl Shown {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            facts: OnceLock::new(),
            application_name: Mutex::default(),
            requested_us: AtomicU64::new(0),
            waiting_us: AtomicU64::new(0),
            prepared: AtomicU32::new(0),
        }
    }

    /// The client has logged in.
    pub fn introduce(&self, facts: Facts, application_name: &str) {
        self.requested_us.store(micros(facts.connected), Relaxed);
        self.rename(application_name);
        // Nobody logs in twice.
        drop(self.facts.set(Box::new(facts)));
    }

    pub(super) fn rename(&self, application_name: &str) {
        let mut known = self.application_name.lock().unwrap_or_else(PoisonError::into_inner);
        *known = application_name.into();
    }

    /// The client begins to speak.
    pub(super) fn requests(&self) {
        self.requested_us.store(self.clock.0.load(Relaxed), Relaxed);
    }

    pub(super) fn waits(&self) -> Waits<'_> {
        self.waiting_us.store(micros(SystemTime::now()), Relaxed);
        Waits(self)
    }

    pub(super) fn has_prepared(&self, statements: usize) {
        self.prepared.store(u32::try_from(statements).unwrap_or(u32::MAX), Relaxed);
    }

    /// `None`: it has not logged in yet.
    pub fn view(&self) -> Option<View> {
        let facts = Facts::clone(self.facts.get()?);
        let known = self.application_name.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = Some(self.waiting_us.load(Relaxed)).filter(|since| *since > 0);
        Some(View {
            application_name: known.to_string(),
            // The clock may be a little behind.
            requested: time(self.requested_us.load(Relaxed)).max(facts.connected),
            waiting_since: waiting.map(time),
            prepared: self.prepared.load(Relaxed),
            facts,
        })
    }
}

/// For as long as the client waits for a server connection.
pub(super) struct Waits<'a>(&'a Shown);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.waiting_us.store(0, Relaxed);
    }
}

fn micros(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

fn time(micros: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_micros(micros)
}
