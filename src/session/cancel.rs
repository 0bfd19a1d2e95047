//! Cancel keys of weir's own: each names one client, and cancels only what that client runs now.
use super::shown::{Clock, Shown};
use crate::backend::cancel::cancel;
use crate::backend::connection::CancelKey;
use crate::error::{Error, SqlState};
use crate::exec::doom::Doom;
use crate::exec::fan_out::Halt;
use crate::txn::two_phase::Key;
use dashmap::DashMap;
use rand::Rng;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};
use subtle::ConstantTimeEq;
use tokio::sync::{Mutex, MutexGuard, Notify};

/// The server connections that run something for one client. Held locked while a cancel request is
/// on its way, so that a connection is not handed to another client in the meantime.
pub struct Slot {
    secret: Vec<u8>,
    running: Mutex<Vec<CancelKey>>,
    /// Wakes the client's statement while it waits for a server connection.
    pub waiting: Notify,
    /// A cancel request has come since the client last began to speak: a statement of many steps may
    /// have been between two of them, when no server had anything to cancel.
    requested: AtomicBool,
    /// Odd while weir answers; it grows whenever the client begins to speak, and when it is answered.
    turn: AtomicU64,
    /// Somebody is about to end what the client runs at this turn.
    dooming: AtomicBool,
    pub doom: Arc<Doom>,
    /// What the transaction is called that the client commits on several shards.
    committing: std::sync::Mutex<Option<Key>>,
    pub pid: u32,
    pub shown: Shown,
    thrown_out: AtomicBool,
}

/// Somebody whom weir has not answered yet, and whose transaction is on several servers.
pub struct Busy {
    pub client: u32,
    pub turn: u64,
    pub slot: Arc<Slot>,
    pub running: Vec<CancelKey>,
}

/// All clients of this process, by the number each was given as its "process id".
#[derive(Default)]
pub struct Clients {
    next: AtomicU32,
    slots: DashMap<u32, Arc<Slot>>,
    pub clock: Clock,
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
        let (running, waiting, requested) = Default::default();
        let (turn, dooming, doom, committing) = Default::default();
        loop {
            let pid = self.next.fetch_add(1, Ordering::Relaxed) & 0x7fff_ffff;
            if pid != 0
                && let dashmap::Entry::Vacant(vacant) = self.slots.entry(pid)
            {
                let (shown, thrown_out) = (Shown::new(self.clock.clone()), AtomicBool::new(false));
                let slot = Slot {
                    secret,
                    running,
                    waiting,
                    requested,
                    turn,
                    dooming,
                    doom,
                    committing,
                    pid,
                    shown,
                    thrown_out,
                };
                let slot = Arc::new(slot);
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

    /// Whether it is still there.
    pub fn has(&self, slot: &Arc<Slot>) -> bool {
        self.slots.get(&slot.pid).is_some_and(|found| Arc::ptr_eq(&found, slot))
    }

    /// Everybody who is there, in the order of their numbers.
    pub fn all(&self) -> Vec<Arc<Slot>> {
        let mut all: Vec<_> = self.slots.iter().map(|entry| entry.value().clone()).collect();
        all.sort_by_key(|slot| slot.pid);
        all
    }

    /// Whose servers are being changed at this moment is left out.
    pub fn busy(&self) -> Vec<Busy> {
        let busy = |entry: dashmap::mapref::multiple::RefMulti<'_, u32, Arc<Slot>>| {
            let (client, slot, turn) = (*entry.key(), entry.value().clone(), entry.turn());
            if turn.is_multiple_of(2) {
                return None;
            }
            let running = slot.running_now().filter(|running| running.len() > 1)?.clone();
            Some(Busy { client, turn, slot, running })
        };
        self.slots.iter().filter_map(busy).collect()
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

    /// The server connections that run something for the client. Mostly nobody else looks at them.
    pub async fn running(&self) -> MutexGuard<'_, Vec<CancelKey>> {
        match self.running_now() {
            Some(running) => running,
            None => self.running.lock().await,
        }
    }

    /// The same, unless they are being changed, or a cancel request is on its way.
    pub fn running_now(&self) -> Option<MutexGuard<'_, Vec<CancelKey>>> {
        self.running.try_lock().ok()
    }

    /// A cancel request has come. Said while `running` is locked.
    pub fn request(&self) {
        self.requested.store(true, Ordering::SeqCst);
        self.waiting.notify_waiters();
    }

    pub fn is_requested(&self) -> bool {
        self.requested.load(Ordering::SeqCst)
    }

    /// Returns when a cancel request has come.
    pub async fn requested(&self) {
        let mut heard = pin!(self.waiting.notified());
        heard.as_mut().enable();
        if !self.is_requested() {
            heard.await;
        }
    }

    /// The same for who has passed it on to servers, and may have to do so again: one that arrives
    /// before the message that it is to cancel is lost.
    pub async fn requested_again(&self, passed_on: Option<Instant>) {
        const AGAIN: Duration = Duration::from_millis(50);
        self.requested().await;
        if let Some(before) = passed_on {
            tokio::time::sleep_until((before + AGAIN).into()).await;
        }
    }

    /// What servers do, unless they have to be told of a cancel request first.
    pub async fn heeding<T>(
        &self,
        passed_on: Option<Instant>,
        work: impl Future<Output = Result<T, Halt>>,
    ) -> Result<T, Halt> {
        tokio::select! {
            biased;
            done = work => done,
            () = self.requested_again(passed_on) => Err(Halt::Requested),
        }
    }

    /// Returns when no cancel request is on its way to a server.
    pub async fn calm(&self) {
        if self.is_requested() || self.dooming.load(Ordering::SeqCst) {
            drop(self.running.lock().await);
        }
    }

    /// The client begins to speak: earlier requests concern nothing that comes now.
    pub async fn forget(&self) {
        self.turn.fetch_or(1, Ordering::SeqCst);
        self.shown.requests();
        self.calm().await;
        if self.requested.swap(false, Ordering::SeqCst) {
            self.doom.clear();
        }
    }

    /// The client is answered, and may go on.
    pub fn rests(&self) {
        let turn = self.turn.load(Ordering::SeqCst);
        self.turn.store((turn | 1) + 1, Ordering::SeqCst);
    }

    /// The client has to leave, whatever it does. Whoever says this wakes its task.
    pub fn throw_out(&self) {
        self.thrown_out.store(true, Ordering::Relaxed);
    }

    pub fn is_thrown_out(&self) -> bool {
        self.thrown_out.load(Ordering::Relaxed)
    }

    /// weir owes it an answer.
    pub fn is_answering(&self) -> bool {
        self.turn() % 2 == 1
    }

    pub fn turn(&self) -> u64 {
        self.turn.load(Ordering::SeqCst)
    }

    /// The client's transaction begins to commit on several shards under that name, or has ended.
    pub fn commits(&self, key: Option<Key>) {
        *self.committing.lock().unwrap_or_else(PoisonError::into_inner) = key;
    }

    pub fn committing(&self) -> Option<Key> {
        self.committing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends what the client runs at that turn, with this error. Whether it still does.
    pub async fn end(&self, turn: u64, error: Error) -> bool {
        let running = self.running().await;
        // Said before the turn is looked at: whoever begins another one waits for the lock.
        self.dooming.store(true, Ordering::SeqCst);
        let runs = self.turn() == turn && !running.is_empty();
        if runs {
            self.doom.set(error);
            self.request();
            for key in running.iter() {
                if let Err(error) = cancel(key).await {
                    tracing::warn!(?error, "a cancel request did not arrive");
                }
            }
        }
        self.dooming.store(false, Ordering::SeqCst);
        runs
    }

    /// Why what runs has to end.
    pub fn reason(&self) -> Error {
        self.doom.get().unwrap_or_else(requested)
    }
}

/// What the client hears, in PostgreSQL's words.
pub fn requested() -> Error {
    Error::client(SqlState::QUERY_CANCELED, "canceling statement due to user request")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Address;
    use crate::backend::dial::Line;

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

    #[tokio::test]
    async fn what_ends_with_its_turn_is_not_ended_later() {
        let (_, slot) = Clients::default().register(4);
        slot.forget().await;
        let turn = slot.turn();
        let error = || Error::client(SqlState(*b"40P01"), "deadlock detected");
        assert!(!slot.end(turn, error()).await, "no server runs anything");
        slot.running().await.push(nowhere());
        assert!(slot.end(turn, error()).await);
        assert_eq!((slot.is_requested(), slot.reason()), (true, error()));
        slot.rests();
        assert!(!slot.end(turn, error()).await, "it is answered");
        slot.forget().await;
        assert_eq!((slot.is_requested(), slot.reason()), (false, requested()));
        assert!(!slot.end(turn, error()).await, "it runs something else");
        assert!(!slot.is_requested());
    }

    #[tokio::test]
    async fn busy_are_those_on_several_servers_who_wait_for_an_answer() {
        let clients = Clients::default();
        let (pid, slot) = clients.register(4);
        slot.running().await.extend([nowhere(), nowhere()]);
        let busy = || clients.busy().into_iter().map(|busy| busy.client).collect::<Vec<_>>();
        assert!(busy().is_empty(), "it has said nothing");
        slot.forget().await;
        assert_eq!(busy(), [pid]);
        slot.running().await.pop();
        assert!(busy().is_empty(), "a single server finds its own deadlocks");
        slot.running().await.push(nowhere());
        slot.rests();
        assert!(busy().is_empty(), "it is answered");
    }

    /// A server that is not there.
    fn nowhere() -> CancelKey {
        let address = Arc::new(Address::parse("host=127.0.0.1 port=1").unwrap());
        CancelKey { address, pid: 1, secret: vec![1; 4].into(), line: Line::Plain }
    }

    #[tokio::test]
    async fn a_request_is_heard_late_and_concerns_only_what_runs() {
        let (_, slot) = Clients::default().register(4);
        slot.request();
        slot.requested().await;
        slot.requested_again(Some(Instant::now())).await;
        assert!(slot.is_requested());
        slot.forget().await;
        assert!(!slot.is_requested());
        tokio::join!(slot.requested(), async { slot.request() });
    }
}
