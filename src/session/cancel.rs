//! Cancel keys of weir's own: each names one client, and cancels only what that client runs now.
use crate::backend::connection::CancelKey;
use dashmap::DashMap;
use rand::Rng;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use subtle::ConstantTimeEq;
use tokio::sync::{Mutex, Notify};

/// The server connections that run something for one client. Held locked while a cancel request is
/// on its way, so that a connection is not handed to another client in the meantime.
pub struct Slot {
    secret: Vec<u8>,
    pub running: Mutex<Vec<CancelKey>>,
    /// Wakes the client's statement while it waits for a server connection.
    pub waiting: Notify,
}

/// All clients of this process, by the number each was given as its "process id".
#[derive(Default)]
pub struct Clients {
    next: AtomicU32,
    slots: DashMap<u32, Arc<Slot>>,
}

/// A client that is there. It is forgotten when it leaves, however that comes about.
#[must_use]
pub struct Present<'a> {
    clients: &'a Clients,
    pid: u32,
}

impl Drop for Present<'_> {
    fn drop(&mut self) {
        self.clients.slots.remove(&self.pid);
    }
}

impl Clients {
    /// A new client: its number and slot. `secret_bytes`: 4 in protocol 3.0, up to 256 in 3.2.
    pub fn register(&self, secret_bytes: usize) -> (u32, Arc<Slot>) {
        let mut secret = vec![0; secret_bytes];
        rand::rng().fill_bytes(&mut secret);
        let slot = Arc::new(Slot { secret, running: Mutex::default(), waiting: Notify::new() });
        loop {
            let pid = self.next.fetch_add(1, Ordering::Relaxed) & 0x7fff_ffff;
            if pid != 0
                && let dashmap::Entry::Vacant(vacant) = self.slots.entry(pid)
            {
                vacant.insert(slot.clone());
                return (pid, slot);
            }
        }
    }

    /// Whoever has registered, for as long as it is there.
    pub fn present(&self, pid: u32) -> Present<'_> {
        Present { clients: self, pid }
    }

    pub fn len(&self) -> usize {
        self.slots.len()
    }

    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The slot of the client that shows this key; nobody learns whether it exists.
    pub fn find(&self, pid: u32, secret: &[u8]) -> Option<Arc<Slot>> {
        let slot = self.slots.get(&pid)?.clone();
        bool::from(slot.secret.ct_eq(secret)).then_some(slot)
    }
}

impl Slot {
    pub fn secret(&self) -> &[u8] {
        &self.secret
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_secret_finds_a_client() {
        let clients = Clients::default();
        let (pid, slot) = clients.register(4);
        let secret = slot.secret().to_vec();
        assert!(clients.find(pid, &secret).is_some());
        assert!(clients.find(pid, &secret[..3]).is_none());
        assert!(clients.find(pid + 1, &secret).is_none());
        drop(clients.present(pid));
        assert!(clients.find(pid, &secret).is_none());
    }
}
