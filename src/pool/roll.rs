//! The roll of server connections: what the console shows of each, in whichever worker it is.
//!
//! An entry comes with its connection and leaves with it. A lease costs a few relaxed stores.
use super::fleet::Server;
use crate::backend::Connection;
use dashmap::DashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime};

/// The open connections of all workers, by their ids.
#[derive(Clone, Default, Debug)]
pub struct Roll(Arc<DashMap<u64, Arc<Entry>>>);

/// Whose connections, and for what.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Whose {
    /// The logical database.
    pub label: String,
    /// The one on the server.
    pub database: String,
    pub user: String,
    pub tier: String,
}

/// One connection to one server.
#[derive(Debug)]
pub struct Entry {
    pub id: u64,
    pub server: Arc<Server>,
    pub whose: Arc<Whose>,
    /// Of the server's process.
    pub pid: u32,
    pub local: Option<SocketAddr>,
    pub peer: Option<SocketAddr>,
    /// Protocol and cipher.
    pub tls: Option<String>,
    pub connected: SystemTime,
    born: Instant,
    generation: u64,
    leased: AtomicBool,
    /// The client that has it, by its number; 0: none.
    client: AtomicU32,
    /// When it was last lent, in microseconds after `born`.
    lent_us: AtomicU64,
    prepared: AtomicU32,
}

/// An entry, for as long as its connection is there.
#[derive(Debug)]
pub struct Listed {
    roll: Roll,
    entry: Arc<Entry>,
}

impl Roll {
    pub fn enter(
        &self,
        server: &Arc<Server>,
        whose: &Arc<Whose>,
        generation: u64,
        connection: &Connection,
    ) -> Listed {
        let tcp = connection.stream.tcp();
        let entry = Arc::new(Entry {
            id: connection.id,
            server: Arc::clone(server),
            whose: Arc::clone(whose),
            pid: connection.cancel.pid,
            local: tcp.and_then(|socket| socket.local_addr().ok()),
            peer: tcp.and_then(|socket| socket.peer_addr().ok()),
            tls: connection.stream.tls_name(),
            connected: SystemTime::now(),
            born: Instant::now(),
            generation,
            leased: AtomicBool::new(false),
            client: AtomicU32::new(0),
            lent_us: AtomicU64::new(0),
            prepared: AtomicU32::new(0),
        });
        self.0.insert(entry.id, Arc::clone(&entry));
        Listed { roll: self.clone(), entry }
    }

    /// Everything that is open now, the oldest first.
    pub fn entries(&self) -> Vec<Arc<Entry>> {
        let mut entries: Vec<_> = self.0.iter().map(|entry| Arc::clone(entry.value())).collect();
        entries.sort_by_key(|entry| entry.id);
        entries
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.roll.0.remove(&self.entry.id);
    }
}

impl Listed {
    pub(super) fn lent(&self, now: Instant) {
        let since = now.saturating_duration_since(self.entry.born).as_micros();
        self.entry.lent_us.store(u64::try_from(since).unwrap_or(u64::MAX), Relaxed);
        self.entry.leased.store(true, Relaxed);
    }

    /// To a client of that number.
    pub(super) fn lent_to(&self, client: u32) {
        self.entry.client.store(client, Relaxed);
    }

    pub(super) fn returned(&self, prepared: usize) {
        self.entry.prepared.store(u32::try_from(prepared).unwrap_or(u32::MAX), Relaxed);
        self.entry.client.store(0, Relaxed);
        self.entry.leased.store(false, Relaxed);
    }
}

impl Entry {
    pub fn is_leased(&self) -> bool {
        self.leased.load(Relaxed)
    }

    pub fn client(&self) -> Option<u32> {
        Some(self.client.load(Relaxed)).filter(|client| *client != 0)
    }

    /// When somebody last began to use it; when it was opened, if nobody has yet.
    pub fn requested(&self) -> SystemTime {
        self.connected + Duration::from_micros(self.lent_us.load(Relaxed))
    }

    /// It is closed as soon as nobody uses it: its server has changed, or RECONNECT was said.
    pub fn is_closing(&self) -> bool {
        self.generation != self.server.generation()
    }

    /// Statements that the server had prepared when the connection was last given back.
    pub fn prepared(&self) -> u32 {
        self.prepared.load(Relaxed)
    }
}
