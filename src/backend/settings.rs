//! What a server connection has SET and prepared, so that it can serve one client after another.
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

/// The state of one server session, as weir has brought it about.
#[derive(Clone, Debug, Default)]
pub struct ServerSession {
    /// Settings that differ from the server's defaults.
    pub applied: Arc<BTreeMap<String, String>>,
    pub prepared: Prepared,
    /// The statement that the unnamed prepared statement holds.
    pub unnamed: Option<u64>,
    /// The defaults of settings that it reports only when asked, and when it was.
    pub defaults: Option<(Instant, Vec<String>)>,
}

/// Which of weir's statements the server knows, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Prepared {
    order: VecDeque<u64>,
    known: HashSet<u64>,
    /// A Parse or Close of these may have been skipped: they are closed before anything is prepared.
    doubtful: HashSet<u64>,
}

impl Prepared {
    pub fn len(&self) -> usize {
        self.known.len()
    }

    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    pub fn contains(&self, id: u64) -> bool {
        self.known.contains(&id)
    }

    /// Notes that `id` is being prepared; returns what has to be closed first.
    pub fn prepare(&mut self, id: u64, limit: usize) -> Vec<u64> {
        let mut close: Vec<u64> = self.doubtful.drain().collect();
        while self.order.len() >= limit.max(1)
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
            close.push(oldest);
        }
        self.known.insert(id);
        self.order.push_back(id);
        close
    }

    /// The segment in which `id` was prepared failed: nobody knows whether the server has it.
    pub fn doubt(&mut self, id: u64) {
        if self.known.remove(&id) {
            self.order.retain(|known| *known != id);
            self.doubtful.insert(id);
        }
    }

    /// The segment in which `id` was closed failed: the server may still have it.
    pub fn doubt_closed(&mut self, id: u64) {
        if !self.known.contains(&id) {
            self.doubtful.insert(id);
        }
    }

    pub fn forget_all(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_set_closes_its_oldest_statement() {
        let mut prepared = Prepared::default();
        assert!(prepared.prepare(1, 2).is_empty());
        assert!(prepared.prepare(2, 2).is_empty());
        assert_eq!(prepared.prepare(3, 2), [1]);
        assert!(!prepared.contains(1) && prepared.contains(3));
    }

    #[test]
    fn a_doubtful_statement_is_closed_before_it_is_prepared_again() {
        let mut prepared = Prepared::default();
        prepared.prepare(1, 8);
        prepared.doubt(1);
        assert!(!prepared.contains(1));
        assert_eq!(prepared.prepare(1, 8), [1]);
        assert!(prepared.contains(1));
    }
}
