//! Clients that write through weir until they are told to stop, and remember what they were told.
//!
//! Each client stays on one shard. Every other write is one INSERT that commits by itself; the rest
//! are transfers between two accounts of the shard, with an entry, in a transaction.
use super::ledger::{Fate, Ledger, fate};
use crate::cluster::DATABASE;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use tokio_postgres::{Client, Config, Error, NoTls, Statement};

/// Between two writes of a client: this measures faults, not throughput.
const PAUSE: Duration = Duration::from_millis(4);
/// After an error, as a sensible application does.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(20);
/// A write that takes longer never came to an end.
const PATIENCE: Duration = Duration::from_secs(30);

pub struct Load {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    port: u16,
    shards: usize,
    ledger: Ledger,
    samples: Mutex<Vec<Sample>>,
    over: AtomicBool,
}

/// One write.
#[derive(Clone)]
struct Sample {
    shard: usize,
    ended: Instant,
    took: Duration,
    /// A SQLSTATE, or why there is none.
    error: Option<String>,
}

/// A shard's writes within some time.
#[derive(Default, Debug)]
pub struct Figures {
    pub done: usize,
    pub p50: Duration,
    pub p99: Duration,
    /// Of everything that was tried, also in vain.
    pub longest: Duration,
    pub errors: BTreeMap<String, usize>,
}

impl Load {
    /// `clients` for each of the shards; user n lives on shard n % shards.
    pub fn start(port: u16, shards: usize, clients: usize) -> Self {
        let (ledger, samples, over) = (Ledger::default(), Mutex::default(), AtomicBool::default());
        let shared = Arc::new(Shared { port, shards, ledger, samples, over });
        let of_thread = Arc::clone(&shared);
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                let mut all = tokio::task::JoinSet::new();
                for number in 0..shards * clients {
                    all.spawn(client(Arc::clone(&of_thread), number));
                }
                while let Some(ended) = all.join_next().await {
                    ended.unwrap();
                }
            });
        });
        Self { shared, thread: Some(thread) }
    }

    /// Waits until each shard has done so many writes more.
    #[track_caller]
    pub fn go_on(&self, writes: usize) -> Instant {
        let shards: Vec<usize> = (0..self.shared.shards).collect();
        self.go_on_at(&shards, writes)
    }

    /// The same for some of the shards. Gives the time when that is so.
    #[track_caller]
    pub fn go_on_at(&self, shards: &[usize], writes: usize) -> Instant {
        let from = Instant::now();
        let done = |&shard: &usize| self.figures(shard, from, Instant::now()).done >= writes;
        crate::weir::wait_for("writes to be done", || shards.iter().all(done));
        Instant::now()
    }

    /// Waits for so many failed writes on a shard from now on.
    #[track_caller]
    pub fn go_wrong_at(&self, shard: usize, errors: usize) {
        let from = Instant::now();
        let failed = || self.figures(shard, from, Instant::now()).failed();
        crate::weir::wait_for("writes to fail", || failed() >= errors);
    }

    /// Of the writes of a shard that ended within this time.
    pub fn figures(&self, shard: usize, from: Instant, to: Instant) -> Figures {
        let samples = self.shared.samples.lock().unwrap();
        let of = |sample: &&Sample| sample.shard == shard && (from..to).contains(&sample.ended);
        Figures::of(samples.iter().filter(of))
    }

    pub fn ledger(&self) -> &Ledger {
        &self.shared.ledger
    }

    /// Ends the clients, each after the write it is at.
    #[track_caller]
    pub fn finish(&mut self) {
        self.shared.over.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the clients end");
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.over.store(true, Relaxed);
    }
}

impl Figures {
    fn of<'a>(samples: impl Iterator<Item = &'a Sample>) -> Self {
        let mut figures = Self::default();
        let mut times = Vec::new();
        for sample in samples {
            figures.longest = figures.longest.max(sample.took);
            match &sample.error {
                None => times.push(sample.took),
                Some(error) => *figures.errors.entry(error.clone()).or_default() += 1,
            }
        }
        times.sort();
        figures.done = times.len();
        let at = |share: usize| times.get(times.len() * share / 100).copied().unwrap_or_default();
        (figures.p50, figures.p99) = (at(50), at(99));
        figures
    }

    pub fn failed(&self) -> usize {
        self.errors.values().sum()
    }

    /// No error but these: SQLSTATEs, or "closed" for a session that was ended.
    #[track_caller]
    pub fn assert_only(&self, expected: &[&str]) {
        let expected = |error: &String| expected.contains(&error.split(' ').next().unwrap_or(""));
        assert!(self.errors.keys().all(expected), "unexpected errors: {self}");
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { done, p50, p99, longest, errors } = self;
        write!(f, "{done} writes, p50 {p50:.1?}, p99 {p99:.1?}, longest {longest:.1?}")?;
        if !errors.is_empty() {
            write!(f, ", errors {errors:?}")?;
        }
        Ok(())
    }
}

/// Connects as often as it has to.
async fn client(shared: Arc<Shared>, number: usize) {
    let mut turn = 0;
    while !shared.over.load(Relaxed) {
        match Writer::connect(&shared, number).await {
            Ok(writer) => writer.write_on(&mut turn).await,
            Err(_) => tokio::time::sleep(PAUSE_AFTER_ERROR).await,
        }
    }
}

/// A connection with its statements.
struct Writer {
    shared: Arc<Shared>,
    client: Client,
    insert: Statement,
    add: Statement,
    shard: usize,
    users: [i64; 2],
}

impl Writer {
    async fn connect(shared: &Arc<Shared>, number: usize) -> Result<Self, Error> {
        let mut config = Config::new();
        config.host("127.0.0.1").port(shared.port).user("postgres").dbname(DATABASE);
        let (client, connection) = config.connect(NoTls).await?;
        tokio::spawn(connection);
        let insert = client.prepare("INSERT INTO entries (id, user_id) VALUES ($1, $2)").await?;
        let add = "UPDATE accounts SET balance = balance + $1 WHERE user_id = $2";
        let add = client.prepare(add).await?;
        let (shared, shard) = (Arc::clone(shared), number % shared.shards);
        // Nobody else's, so that nobody waits for anybody's lock.
        let user = (number / shared.shards * 2 * shared.shards + shard) as i64;
        let users = [user, user + shared.shards as i64];
        Ok(Self { shared, client, insert, add, shard, users })
    }

    async fn write_on(&self, turn: &mut usize) {
        while !self.shared.over.load(Relaxed) && !self.client.is_closed() {
            *turn += 1;
            let id = self.shared.ledger.new_id();
            let begun = Instant::now();
            let write = async {
                match *turn % 2 {
                    0 => self.insert(id).await,
                    _ => self.transfer(id).await,
                }
            };
            let (fate, error) = match tokio::time::timeout(PATIENCE, write).await {
                Ok(outcome) => outcome,
                Err(_) => (Fate::Unknown, Some("no answer".to_owned())),
            };
            let pause = if error.is_some() { PAUSE_AFTER_ERROR } else { PAUSE };
            self.shared.ledger.note(id, fate);
            let ended = Instant::now();
            let sample = Sample { shard: self.shard, ended, took: ended - begun, error };
            self.shared.samples.lock().unwrap().push(sample);
            tokio::time::sleep(pause).await;
        }
    }

    async fn insert(&self, id: i64) -> (Fate, Option<String>) {
        match self.client.execute(&self.insert, &[&id, &self.users[0]]).await {
            Ok(_) => (Fate::Acknowledged, None),
            Err(error) => (fate(&error), Some(code(&error))),
        }
    }

    async fn transfer(&self, id: i64) -> (Fate, Option<String>) {
        if let Err(error) = self.open_transfer(id).await {
            // It may have failed already, or be gone with its session.
            self.client.batch_execute("ROLLBACK").await.ok();
            // Whatever happened: COMMIT was never said.
            return (Fate::Refused, Some(code(&error)));
        }
        match self.client.batch_execute("COMMIT").await {
            Ok(()) => (Fate::Acknowledged, None),
            Err(error) => (fate(&error), Some(format!("{} at COMMIT", code(&error)))),
        }
    }

    async fn open_transfer(&self, id: i64) -> Result<(), Error> {
        self.client.batch_execute("BEGIN").await?;
        let [from, to] = &self.users;
        self.client.execute(&self.add, &[&-1i64, from]).await?;
        self.client.execute(&self.add, &[&1i64, to]).await?;
        self.client.execute(&self.insert, &[&id, from]).await?;
        Ok(())
    }
}

fn code(error: &Error) -> String {
    match error.code() {
        Some(code) => code.code().to_owned(),
        None if error.is_closed() => "closed".to_owned(),
        None => "lost".to_owned(),
    }
}
