//! Queues for rows that many clients lock at once: whoever waits here holds no server connection.
//!
//! One [`HotRows`] serves one logical database in all workers. A row's line is first come, first
//! served, and one at a time has its turn: the holder of the [`Ticket`]. A ticket says nothing about the
//! lock itself, which is PostgreSQL's: another weir may hold it. Whoever enters holds no lock yet, so
//! lines and locks never wait for each other in a circle.
use crate::ids::{HotKey, ShardId};
use crate::telemetry::metrics::HotRowMetrics;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// So many rows are counted at a time: the ones that were waited for most.
const COUNTED: usize = 64;

pub struct HotRows {
    lines: Mutex<Lines>,
    metrics: HotRowMetrics,
}

/// The row's turn. The next one's comes when it is dropped.
#[must_use]
pub struct Ticket {
    rows: Arc<HotRows>,
    /// `None`: handed on.
    row: Option<Row>,
}

/// How long, and with how many others, somebody is willing to wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Patience {
    /// No more than this many wait for one row.
    pub queue: usize,
    pub wait: Duration,
}

/// Why there is no ticket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// As many wait as may wait.
    Full,
    TooLong,
}

/// A row that somebody waits or has waited for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hot {
    pub shard: ShardId,
    pub key: HotKey,
    /// Now.
    pub waiting: usize,
    /// Since the process started; a row that came late may be given some of the others'.
    pub waits: u64,
}

#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
struct Row {
    shard: ShardId,
    key: HotKey,
}

#[derive(Default)]
struct Lines {
    /// Who waits for each row that somebody has the turn of: no turn, no line.
    lines: HashMap<Row, VecDeque<Waiter>>,
    busiest: Busiest,
    arrivals: u64,
}

struct Waiter {
    number: u64,
    turn: oneshot::Sender<Ticket>,
}

/// How a row was found.
enum Found {
    Free(Ticket),
    /// Behind others.
    Taken {
        number: u64,
        turn: oneshot::Receiver<Ticket>,
    },
}

impl HotRows {
    pub fn new(metrics: HotRowMetrics) -> Self {
        Self { lines: Mutex::default(), metrics }
    }

    /// Waits for the row's turn. Whoever stops waiting (drops this) leaves the line.
    pub async fn enter(
        self: &Arc<Self>,
        shard: ShardId,
        key: HotKey,
        patience: Patience,
    ) -> Result<Ticket, Refused> {
        let row = Row { shard, key };
        let (number, turn) = match self.join(&row, patience.queue) {
            Ok(Found::Free(ticket)) => return Ok(ticket),
            Ok(Found::Taken { number, turn }) => (number, turn),
            Err(refused) => {
                self.metrics.refused("queue full");
                return Err(refused);
            }
        };
        let waiting = Waiting { rows: self, row: &row, number, since: Instant::now() };
        let came = tokio::time::timeout(patience.wait, turn).await;
        drop(waiting);
        match came {
            Ok(Ok(ticket)) => Ok(ticket),
            // A line is only dropped with nobody in it.
            Ok(Err(_)) | Err(_) => {
                self.metrics.refused("too long");
                Err(Refused::TooLong)
            }
        }
    }

    /// The rows that are waited for, the most waited for first; at most `most`.
    pub fn hottest(&self, most: usize) -> Vec<Hot> {
        let lines = self.lock();
        let waiting = |row: &Row| lines.lines.get(row).map_or(0, VecDeque::len);
        let uncounted = lines
            .lines
            .iter()
            .filter(|(row, line)| !line.is_empty() && !lines.busiest.waits.contains_key(*row));
        let counted = lines.busiest.waits.iter().map(|(row, waits)| (row, *waits));
        let rows = counted.chain(uncounted.map(|(row, line)| (row, line.len() as u64)));
        let mut hottest: Vec<Hot> = rows
            .map(|(row, waits)| Hot {
                shard: row.shard,
                key: row.key.clone(),
                waiting: waiting(row),
                waits,
            })
            .collect();
        drop(lines);
        hottest.sort_by(|one, other| {
            let order = |hot: &Hot| (hot.waiting, hot.waits);
            order(other).cmp(&order(one)).then_with(|| one.key.cmp(&other.key))
        });
        hottest.truncate(most);
        hottest
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn join(self: &Arc<Self>, row: &Row, queue: usize) -> Result<Found, Refused> {
        let mut lines = self.lock();
        let Some(line) = lines.lines.get_mut(row) else {
            lines.lines.insert(row.clone(), VecDeque::new());
            return Ok(Found::Free(Ticket { rows: self.clone(), row: Some(row.clone()) }));
        };
        if line.len() >= queue {
            return Err(Refused::Full);
        }
        let (sender, turn) = oneshot::channel();
        lines.arrivals += 1;
        let number = lines.arrivals;
        if let Some(line) = lines.lines.get_mut(row) {
            line.push_back(Waiter { number, turn: sender });
        }
        lines.busiest.count(row);
        drop(lines);
        self.metrics.waits();
        Ok(Found::Taken { number, turn })
    }

    fn leave(&self, row: &Row, number: u64) {
        if let Some(line) = self.lock().lines.get_mut(row) {
            // Numbers ascend; whose turn has come is there no more.
            if let Ok(at) = line.binary_search_by_key(&number, |waiter| waiter.number) {
                line.remove(at);
            }
        }
    }

    /// The first of those who wait; without one the row is forgotten.
    fn next(&self, row: &Row) -> Option<Waiter> {
        let mut lines = self.lock();
        let next = lines.lines.get_mut(row).and_then(VecDeque::pop_front);
        if next.is_none() {
            lines.lines.remove(row);
        }
        next
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let Some(row) = self.row.take() else { return };
        let mut ticket = Ticket { rows: self.rows.clone(), row: Some(row.clone()) };
        while let Some(waiter) = self.rows.next(&row) {
            match waiter.turn.send(ticket) {
                Ok(()) => return,
                // It has just gone: the next one's turn.
                Err(back) => ticket = back,
            }
        }
        ticket.row = None;
    }
}

/// Somebody in line, for as long as it waits.
struct Waiting<'a> {
    rows: &'a HotRows,
    row: &'a Row,
    number: u64,
    since: Instant,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.rows.leave(self.row, self.number);
        self.rows.metrics.waited(self.since.elapsed());
    }
}

/// How often each row was waited for, within a bounded memory: a new row takes the place of the one that
/// was waited for least, and its count (Metwally, Agrawal, El Abbadi 2005: Space-Saving).
#[derive(Default)]
struct Busiest {
    waits: HashMap<Row, u64>,
}

impl Busiest {
    fn count(&mut self, row: &Row) {
        if let Some(waits) = self.waits.get_mut(row) {
            *waits += 1;
            return;
        }
        let mut before = 0;
        if self.waits.len() >= COUNTED
            && let Some((least, waits)) = self.waits.iter().min_by_key(|(_, waits)| **waits)
        {
            before = *waits;
            let least = least.clone();
            self.waits.remove(&least);
        }
        self.waits.insert(row.clone(), before + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics::Metrics;
    use std::future::{Future, poll_fn};
    use std::pin::{Pin, pin};
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::Poll;

    const S0: ShardId = ShardId(0);
    const PATIENT: Patience = Patience { queue: 3, wait: Duration::from_secs(600) };

    fn rows() -> (Arc<HotRows>, Metrics) {
        let metrics = Metrics::new();
        (Arc::new(HotRows::new(metrics.hot_rows("shop"))), metrics)
    }

    fn key(number: u32) -> HotKey {
        HotKey::new(&format!("stock: id = {number}"))
    }

    async fn look<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => Poll::Ready(None),
        })
        .await
    }

    #[tokio::test]
    async fn turns_come_in_the_order_of_asking_and_one_at_a_time() {
        let (rows, metrics) = rows();
        let first = rows.enter(S0, key(1), PATIENT).await.unwrap();
        let mut second = pin!(rows.enter(S0, key(1), PATIENT));
        let mut third = pin!(rows.enter(S0, key(1), PATIENT));
        assert!(look(second.as_mut()).await.is_none());
        assert!(look(third.as_mut()).await.is_none());
        assert!(metrics.text().contains("weir_hot_row_waiting{database=\"shop\"} 2"));
        drop(first);
        assert!(look(third.as_mut()).await.is_none());
        let second = look(second).await.unwrap().unwrap();
        assert!(look(third.as_mut()).await.is_none());
        drop(second);
        drop(look(third).await.unwrap().unwrap());
        assert!(rows.lock().lines.is_empty());
        assert!(metrics.text().contains("weir_hot_row_waiting{database=\"shop\"} 0"));
    }

    #[tokio::test]
    async fn other_rows_and_the_same_row_of_another_shard_do_not_wait() {
        let (rows, _) = rows();
        let _one = rows.enter(S0, key(1), PATIENT).await.unwrap();
        let _other = rows.enter(S0, key(2), PATIENT).await.unwrap();
        let _there = rows.enter(ShardId(1), key(1), PATIENT).await.unwrap();
    }

    #[tokio::test]
    async fn a_full_queue_and_a_long_wait_are_refused() {
        let (rows, metrics) = rows();
        let _first = rows.enter(S0, key(1), PATIENT).await.unwrap();
        let short = Patience { queue: 1, wait: Duration::ZERO };
        assert_eq!(rows.enter(S0, key(1), short).await.err(), Some(Refused::TooLong));
        let mut second = pin!(rows.enter(S0, key(1), PATIENT));
        assert!(look(second.as_mut()).await.is_none());
        assert_eq!(rows.enter(S0, key(1), short).await.err(), Some(Refused::Full));
        let text = metrics.text();
        for reason in ["queue full", "too long"] {
            let line =
                format!("weir_hot_row_refused_total{{database=\"shop\",reason=\"{reason}\"}} 1");
            assert!(text.contains(&line), "{line}\n{text}");
        }
    }

    #[tokio::test]
    async fn whoever_stops_waiting_leaves_the_line() {
        let (rows, _) = rows();
        let first = rows.enter(S0, key(1), PATIENT).await.unwrap();
        let mut third = pin!(rows.enter(S0, key(1), PATIENT));
        {
            let mut second = pin!(rows.enter(S0, key(1), PATIENT));
            assert!(look(second.as_mut()).await.is_none());
            assert!(look(third.as_mut()).await.is_none());
        }
        assert_eq!(rows.hottest(1).first().map(|hot| hot.waiting), Some(1));
        drop(first);
        assert!(look(third).await.unwrap().is_ok());
        assert!(rows.lock().lines.is_empty());
    }

    #[tokio::test]
    async fn a_turn_that_comes_too_late_goes_to_the_next() {
        let (rows, _) = rows();
        let first = rows.enter(S0, key(1), PATIENT).await.unwrap();
        let mut third = pin!(rows.enter(S0, key(1), PATIENT));
        {
            let mut second = pin!(rows.enter(S0, key(1), PATIENT));
            assert!(look(second.as_mut()).await.is_none());
            assert!(look(third.as_mut()).await.is_none());
            drop(first);
        }
        assert!(look(third).await.unwrap().is_ok());
        assert!(rows.lock().lines.is_empty());
    }

    #[test]
    fn two_threads_never_have_the_same_turn() {
        let (rows, _) = rows();
        let holders = Arc::new(AtomicU32::new(0));
        let turns = Arc::new(AtomicU32::new(0));
        let thread = || {
            let (rows, holders, turns) = (rows.clone(), holders.clone(), turns.clone());
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                runtime.unwrap().block_on(async {
                    for _ in 0..2000 {
                        let ticket = rows.enter(S0, key(1), PATIENT).await.unwrap();
                        assert_eq!(holders.fetch_add(1, Ordering::SeqCst), 0);
                        tokio::task::yield_now().await;
                        turns.fetch_add(1, Ordering::SeqCst);
                        holders.fetch_sub(1, Ordering::SeqCst);
                        drop(ticket);
                    }
                });
            })
        };
        for thread in [thread(), thread(), thread()] {
            thread.join().unwrap();
        }
        assert_eq!(turns.load(Ordering::SeqCst), 6000);
        assert!(rows.lock().lines.is_empty());
    }

    #[tokio::test]
    async fn the_hottest_rows_are_known_and_the_others_forgotten() {
        let (rows, _) = rows();
        let short = Patience { queue: 1, wait: Duration::ZERO };
        for number in 0..500 {
            let held = rows.enter(S0, key(number), PATIENT).await.unwrap();
            let times = if number == 7 { 900 } else { 1 };
            for _ in 0..times {
                assert_eq!(rows.enter(S0, key(number), short).await.err(), Some(Refused::TooLong));
            }
            drop(held);
        }
        let hottest = rows.hottest(1000);
        assert_eq!(hottest.len(), COUNTED);
        assert_eq!(hottest.first().map(|hot| &hot.key), Some(&key(7)));
        assert!(rows.lock().lines.is_empty());
    }
}
