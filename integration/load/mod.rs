//! Pools under load: that crowds, floods and hot rows harm nobody, and the figures of docs/pools.md.
//!
//! - `client`: a client that costs little
//! - `crowd`: a thousand clients, and twenty, on twenty connections
//! - `bouncer`: the same through PgBouncer
//! - `flood`: slow reports beside interactive work
//! - `hot`: one row that everybody wants to lock
//! - `across`: transactions on one shard and on several
//!
//! As tests they run for a moment. For figures, on a machine that does nothing else:
//! `WEIR_LOAD_SECONDS=10 cargo test --release --test integration load:: -- --nocapture --test-threads 1`
//! (with `WEIR_LOAD_WORKERS=2` for weir with two workers)
mod across;
mod bouncer;
mod client;
mod crowd;
mod flood;
mod hot;

use crate::cluster::{Cluster, DATABASE};
use crate::raw::Raw;
use crate::weir::{Weir, processor_time};
use client::Client;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};
use std::{fmt, fs};
use tokio::runtime::{self, Runtime};
use tokio::task::JoinSet;

/// Rows by user, and rows that all users want.
const SCHEMA: &str = "\
    CREATE TABLE orders (user_id bigint PRIMARY KEY, name text); \
    INSERT INTO orders SELECT n, 'order ' || n FROM generate_series(0, 9999) n; \
    CREATE TABLE stock (product_id bigint PRIMARY KEY, amount int) WITH (fillfactor = 50); \
    INSERT INTO stock SELECT n, 1000000 FROM generate_series(0, 99) n; \
    VACUUM ANALYZE";

/// Time for pools to fill before anything is measured.
const WARM_UP: Duration = Duration::from_millis(200);

/// A test's round.
const SHORT: Duration = Duration::from_millis(700);

/// Between two looks at the server.
const WATCH_PACE: Duration = Duration::from_millis(10);

/// How long a round lasts, if not as short as a test can be.
fn asked_for() -> Option<Duration> {
    let seconds = std::env::var("WEIR_LOAD_SECONDS").ok()?;
    Some(Duration::from_secs_f64(seconds.parse().expect("WEIR_LOAD_SECONDS is a number")))
}

/// What only shows what would be if something were not, is left out of a test.
fn figures_are_wanted() -> bool {
    asked_for().is_some()
}

/// One shard with weir in front of it.
struct Stage {
    // Dropped in this order.
    /// The clients'.
    runtime: Runtime,
    weir: Weir,
    cluster: Cluster,
}

impl Stage {
    /// `stock` is what the rules say of that table besides its place, `settings` what weir.toml says
    /// besides `[auth]`.
    fn new(stock: &str, settings: &str) -> Self {
        let cluster = Cluster::start(1);
        cluster.shard(0).sql(DATABASE, SCHEMA).unwrap();
        let rules = format!(
            "database = '{DATABASE}'\n[[shard]]\nname = 's0'\n\
             primary = 'host=127.0.0.1 port={} dbname={DATABASE}'\n\
             [[distribution]]\nname = 'by_user'\nfunction = 'modulo'\nkey_type = 'bigint'\nbuckets = 4\n\
             [[table]]\nname = 'orders'\ndistribution = 'by_user'\nkey = 'user_id'\n\
             [[table]]\nname = 'stock'\nshard = 's0'\n{stock}\n",
            cluster.shard(0).port()
        );
        Self::over(cluster, &rules, settings)
    }

    fn over(cluster: Cluster, rules: &str, settings: &str) -> Self {
        let workers = std::env::var("WEIR_LOAD_WORKERS").unwrap_or_else(|_| "1".to_owned());
        let settings = format!("workers = {workers}\n[auth]\nmethod = 'trust'\n{settings}");
        let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { runtime, weir: Weir::with_rules(&cluster, rules, &settings), cluster }
    }

    /// So many clients, connected, who have said what they are told to.
    fn clients(&self, count: usize, greeting: &[u8]) -> Vec<Client> {
        self.clients_at(self.weir.port(), count, greeting)
    }

    /// The same at another door to the cluster.
    fn clients_at(&self, port: u16, count: usize, greeting: &[u8]) -> Vec<Client> {
        self.runtime.block_on(async {
            let mut all = JoinSet::new();
            for _ in 0..count {
                let greeting = greeting.to_vec();
                all.spawn(async move {
                    let mut client = Client::connect(port).await?;
                    client.ask(&greeting).await?;
                    Ok::<_, String>(client)
                });
            }
            all.join_all().await.into_iter().collect::<Result<_, _>>().unwrap()
        })
    }

    /// Lets all of them go on for the same time, and watches the server with a query meanwhile: the
    /// most that it ever said.
    fn run(&self, crowds: &mut [&mut Crowd], watch: &str) -> (Vec<Figures>, usize) {
        let late = self.late();
        let (mut figures, most) = self.run_through(self.weir.id(), crowds, watch);
        let late = self.late() - late;
        figures.iter_mut().for_each(|figures| figures.late = late);
        (figures, most)
    }

    /// The same where the clients are at another door: its process.
    fn run_through(
        &self,
        process: u32,
        crowds: &mut [&mut Crowd],
        watch: &str,
    ) -> (Vec<Figures>, usize) {
        let port = self.cluster.shard(0).port();
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let watching = scope.spawn(|| {
                let mut beside =
                    Raw::connect(port, &[("user", "postgres"), ("database", DATABASE)]);
                let mut most = 0;
                while !over.load(SeqCst) {
                    most = most.max(beside.value(watch).parse().unwrap());
                    thread::sleep(WATCH_PACE);
                }
                most
            });
            let before = Spent::until_now(process);
            let mut figures = self.runtime.block_on(run(crowds));
            let spent = Spent::until_now(process).since(before);
            let all: usize = figures.iter().map(|figures| figures.all).sum();
            for figures in &mut figures {
                figures.cost = spent.for_each_of(all);
            }
            over.store(true, SeqCst);
            (figures, watching.join().unwrap())
        })
    }
}

impl Stage {
    /// How many statements have waited for a connection for more than half a second.
    fn late(&self) -> usize {
        let page = self.weir.page("/metrics").unwrap();
        // Of every shard and tier.
        let count = |of: &str, within: &str| {
            let lines = page.lines().filter(|line| line.starts_with(of) && line.contains(within));
            let counts = lines.map(|line| line.rsplit(' ').next().unwrap());
            counts.map(|count| count.parse::<usize>().unwrap()).sum::<usize>()
        };
        let all = count("weir_checkout_seconds_count", "");
        assert!(all > 0, "{page}");
        all - count("weir_checkout_seconds_bucket", "le=\"0.5\"")
    }
}

/// Clients that do the same, each with a key of its own.
struct Crowd {
    clients: Vec<Client>,
    script: fn(usize) -> Vec<Step>,
    /// Each does at least so many turns, however long that takes.
    at_least: usize,
    ending: Ending,
}

/// What clients do when the round is over.
#[derive(Clone, Copy)]
enum Ending {
    /// They go on to the end of their turn.
    Finish,
    /// They hang up.
    Leave,
}

/// A part of what a client does again and again.
enum Step {
    /// Sent, and answered with ReadyForQuery.
    Ask(Vec<u8>),
    /// The client is busy with something else.
    Work(Duration),
}

impl Crowd {
    fn new(clients: Vec<Client>, script: fn(usize) -> Vec<Step>) -> Self {
        Self { clients, script, at_least: 0, ending: Ending::Finish }
    }

    fn at_least(self, turns: usize) -> Self {
        Self { at_least: turns, ..self }
    }

    fn leaving(self) -> Self {
        Self { ending: Ending::Leave, ..self }
    }
}

/// What the clients of a crowd got done in a round.
struct Figures {
    clients: usize,
    /// From the end of the warm-up on.
    time: Duration,
    /// Sorted.
    took: Vec<Duration>,
    /// Of the client that got the least done, and of all together, warm-up included.
    slowest: usize,
    all: usize,
    errors: Vec<String>,
    /// For each turn, whoever's in that round.
    cost: Spent,
    /// Statements that waited long for a connection, whoever's.
    late: usize,
}

/// Processor time.
#[derive(Clone, Copy, Default)]
struct Spent {
    /// weir's, or whatever else the clients are connected to.
    proxy: Duration,
    /// This process's: the clients and the watcher.
    clients: Duration,
    /// The servers', and whatever else is on the machine.
    others: Duration,
    nobody: Duration,
}

impl Spent {
    fn until_now(process: u32) -> Self {
        let stat = fs::read_to_string("/proc/stat").unwrap();
        let fields = stat.lines().next().unwrap().split_whitespace().skip(1);
        let ticks: Vec<u64> = fields.map(|ticks| ticks.parse().unwrap()).collect();
        // user nice system idle iowait irq softirq steal; guests are in the first two already.
        let time = |ticks: &[u64]| Duration::from_millis(10 * ticks.iter().sum::<u64>());
        let (proxy, clients) = (processor_time(process), processor_time(std::process::id()));
        let busy = time(&ticks[..3]) + time(&ticks[5..8]);
        Self { proxy, clients, others: busy - proxy - clients, nobody: time(&ticks[3..5]) }
    }

    fn since(self, before: Self) -> Self {
        Self {
            proxy: self.proxy.saturating_sub(before.proxy),
            clients: self.clients.saturating_sub(before.clients),
            others: self.others.saturating_sub(before.others),
            nobody: self.nobody.saturating_sub(before.nobody),
        }
    }

    fn for_each_of(self, turns: usize) -> Self {
        let each = |time: Duration| time.div_f64(turns.max(1) as f64);
        Self {
            proxy: each(self.proxy),
            clients: each(self.clients),
            others: each(self.others),
            nobody: each(self.nobody),
        }
    }
}

impl fmt::Display for Spent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { proxy, clients, others, nobody } = self;
        write!(
            f,
            "each costs the proxy {proxy:.0?}, the clients {clients:.0?}, others {others:.0?}, idle {nobody:.0?}"
        )
    }
}

impl Figures {
    fn each_second(&self) -> f64 {
        self.took.len() as f64 / self.time.as_secs_f64()
    }

    /// So many of a hundred took no longer.
    fn percentile(&self, percent: usize) -> Duration {
        self.took.get(self.took.len() * percent / 100).copied().unwrap_or_default()
    }

    /// What the client that got the least done has of an equal share.
    fn slowest_share(&self) -> f64 {
        (self.slowest * self.clients) as f64 / self.all.max(1) as f64
    }

    #[track_caller]
    fn assert_no_error(&self) {
        assert!(self.errors.is_empty(), "{:?}", self.errors);
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:4} clients: {:6.0}/s, p50 {:.2?}, p99 {:.2?}, longest {:.2?}, slowest client's share {:.2}, {}",
            self.clients,
            self.each_second(),
            self.percentile(50),
            self.percentile(99),
            self.took.last().copied().unwrap_or_default(),
            self.slowest_share(),
            self.cost,
        )?;
        if let Some(first) = self.errors.first() {
            write!(f, ", {} clients ended: {first}", self.errors.len())?;
        }
        Ok(())
    }
}

/// When a round begins and ends, and who is not through yet.
struct Round {
    begin: Instant,
    end: Instant,
    /// The clients that have turns to do before the round may end.
    owing: AtomicUsize,
}

impl Round {
    fn is_over(&self) -> bool {
        Instant::now() >= self.end && self.owing.load(SeqCst) == 0
    }
}

async fn run(crowds: &mut [&mut Crowd]) -> Vec<Figures> {
    let time = asked_for().unwrap_or(SHORT);
    let begin = Instant::now() + WARM_UP;
    let owing = crowds.iter().filter(|crowd| crowd.at_least > 0).map(|crowd| crowd.clients.len());
    let round = Round { begin, end: begin + time, owing: AtomicUsize::new(owing.sum()) };
    let round = Arc::new(round);
    let mut running = Vec::new();
    for crowd in crowds.iter_mut() {
        let mut tasks = JoinSet::new();
        for (number, client) in crowd.clients.drain(..).enumerate() {
            let (script, at_least, ending) = ((crowd.script)(number), crowd.at_least, crowd.ending);
            let mut turns = Turns { client, done: Vec::new(), error: None };
            let round = Arc::clone(&round);
            tasks.spawn(async move {
                let going = turns.go_on(&script, at_least, &round);
                match ending {
                    Ending::Finish => going.await,
                    Ending::Leave => {
                        tokio::time::timeout_at(round.end.into(), going).await.unwrap_or_default();
                    }
                }
                turns
            });
        }
        running.push(tasks);
    }
    let mut figures = Vec::new();
    for (tasks, crowd) in running.into_iter().zip(crowds) {
        let turns = tasks.join_all().await;
        figures.push(summed(&turns, round.begin));
        crowd.clients.extend(turns.into_iter().map(|turns| turns.client));
    }
    figures
}

/// What one client did.
struct Turns {
    client: Client,
    /// When each ended, and how long it took.
    done: Vec<(Instant, Duration)>,
    error: Option<String>,
}

impl Turns {
    async fn go_on(&mut self, script: &[Step], at_least: usize, round: &Round) {
        let mut owes = at_least > 0;
        while self.error.is_none() && !round.is_over() {
            let began = Instant::now();
            match self.client.go_through(script).await {
                Ok(()) => self.done.push((Instant::now(), began.elapsed())),
                Err(error) => self.error = Some(error),
            }
            if owes && (self.done.len() >= at_least || self.error.is_some()) {
                owes = false;
                round.owing.fetch_sub(1, SeqCst);
            }
        }
    }
}

fn summed(turns: &[Turns], begin: Instant) -> Figures {
    let all = || turns.iter().flat_map(|turns| &turns.done);
    let mut took: Vec<_> =
        all().filter(|(ended, _)| *ended >= begin).map(|(_, took)| *took).collect();
    took.sort();
    let last = all().map(|(ended, _)| *ended).max().unwrap_or(begin);
    Figures {
        clients: turns.len(),
        time: last.saturating_duration_since(begin).max(Duration::from_millis(1)),
        took,
        slowest: turns.iter().map(|turns| turns.done.len()).min().unwrap_or_default(),
        all: all().count(),
        errors: turns.iter().filter_map(|turns| turns.error.clone()).collect(),
        cost: Spent::default(),
        late: 0,
    }
}

/// A thousand clients are a thousand files here, and as many in weir, which inherits the limit.
fn allow_many_files() {
    let pid = std::process::id().to_string();
    let limits = "--nofile=8192:";
    let raised = Command::new("prlimit").args(["--pid", &pid, limits]).status();
    assert!(raised.is_ok_and(|status| status.success()), "8192 files may be open");
}
