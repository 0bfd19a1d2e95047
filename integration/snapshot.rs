//! Reads over several shards while transactions over several shards commit: `weir.consistency`.
//!
//! The writers go to the shards directly and do there what weir's own two-phase commit is to do. Money
//! moves, so its sum never changes; whoever sees half of a transfer sees another sum.
//! `WEIR_SNAPSHOT_READS` sets how many sums each of the four readers takes.
use crate::cluster::{Cluster, DATABASE};
use crate::raw::Raw;
use crate::weir::{Weir, wait_for};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use std::{env, thread};
use weir::txn::barrier;

const SHARDS: usize = 4;
const USERS: usize = 16;
const TOTAL: i64 = 100 * USERS as i64;
const READ: &str = "SELECT balance FROM accounts";
/// The gather database finishes it.
const GATHERED: &str = "SELECT sum(balance) FROM \
    (SELECT balance, row_number() OVER (ORDER BY user_id) FROM accounts) numbered";

struct Bank {
    // Dropped in this order.
    weirs: Vec<Weir>,
    cluster: Cluster,
}

impl Bank {
    fn new(weirs: usize, settings: &str) -> Self {
        let cluster = Cluster::start(SHARDS);
        cluster
            .on_every_shard("CREATE TABLE accounts (user_id bigint PRIMARY KEY, balance bigint)");
        let mut rules = format!("database = '{DATABASE}'\n");
        for (index, shard) in cluster.shards().iter().enumerate() {
            rules += &format!(
                "[[shard]]\nname = 's{index}'\nprimary = 'host=127.0.0.1 port={} dbname={DATABASE}'\n",
                shard.port()
            );
            for user in (0..USERS).filter(|user| user % SHARDS == index) {
                let insert = format!("INSERT INTO accounts VALUES ({user}, 100)");
                shard.sql(DATABASE, &insert).unwrap();
            }
        }
        rules += "[[distribution]]\nname = 'by_user'\nfunction = 'modulo'\nkey_type = 'bigint'\n\
                  buckets = 4\n\
                  [[table]]\nname = 'accounts'\ndistribution = 'by_user'\nkey = 'user_id'\n";
        rules += &format!("[gather]\ndsn = '{}'\n", cluster.gather());
        let settings = format!("workers = 1\n[auth]\nmethod = 'trust'\n{settings}");
        let weirs = (0..weirs).map(|_| Weir::with_rules(&cluster, &rules, &settings)).collect();
        Self { weirs, cluster }
    }

    fn client(&self, number: usize) -> Raw {
        let port = self.weirs[number % self.weirs.len()].port();
        Raw::connect(port, &[("user", "postgres"), ("database", DATABASE)])
    }

    /// One that sees all shards at one moment.
    fn careful(&self) -> Raw {
        let mut client = self.client(0);
        client.query("SET weir.consistency = 'snapshot'");
        client
    }

    fn beside(&self, shard: usize) -> Raw {
        let port = self.cluster.shard(shard).port();
        Raw::connect(port, &[("user", "postgres"), ("database", DATABASE)])
    }

    /// Who holds weir's lock anywhere, or waits for it.
    fn locks(&self) -> usize {
        let count = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 2";
        let of = |shard: usize| self.beside(shard).value(count).parse::<usize>().unwrap();
        (0..SHARDS).map(of).sum()
    }

    fn metric(&self, name: &str) -> f64 {
        let of = |weir: &Weir| {
            let page = weir.page("/metrics").unwrap();
            let lines = page.lines().filter(|line| line.starts_with(name));
            lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>()
        };
        self.weirs.iter().map(of).sum()
    }

    /// Moves money from one shard to another, as the coordinator of a transaction over both.
    fn transfer(&self, sides: &mut [Raw], writer: usize, number: u64) {
        let random = rand::random::<u64>() as usize;
        let from = random % USERS;
        let to = (from + 1 + random / 97 % (SHARDS - 1)) % USERS;
        let mut parts = [(from, -1), (to, 1)];
        // Rows are locked in the same order by all.
        parts.sort_by_key(|(user, _)| user % SHARDS);
        let shards = parts.map(|(user, _)| user % SHARDS);
        for (user, amount) in parts {
            let side = &mut sides[user % SHARDS];
            side.query("BEGIN").query(&format!(
                "UPDATE accounts SET balance = balance + {amount} WHERE user_id = {user}"
            ));
        }
        let id = |shard: usize| format!("bank {writer} {number} {shard}");
        for shard in shards {
            let prepare = format!("{};PREPARE TRANSACTION '{}'", barrier::enter(), id(shard));
            sides[shard].query(&prepare);
        }
        for shard in shards {
            thread::sleep(Duration::from_micros(random as u64 % 3000));
            sides[shard].query(&format!("COMMIT PREPARED '{}'", id(shard)));
        }
        for side in sides {
            let said = side.take_transcript();
            assert!(!said.contains("E V="), "{said}");
        }
    }

    /// How many of a reader's sums are wrong, and how long one takes.
    fn sums(&self, number: usize, consistency: &str, reads: usize) -> (usize, Duration) {
        let mut client = self.client(number);
        client.query(&format!("SET weir.consistency = '{consistency}'"));
        client.take_transcript();
        let (mut wrong, mut took) = (0, Duration::ZERO);
        for turn in 0..reads {
            let before = Instant::now();
            let sum = match turn % 5 {
                0 => sum(client.query(READ)),
                1 => client.value("SELECT sum(balance) FROM accounts").parse().unwrap(),
                2 => client.value(GATHERED).parse().unwrap(),
                3 => sum(client.parse("", READ, &[]).bind("", "", &[]).execute("", 0).sync()),
                _ => {
                    client.query("BEGIN ISOLATION LEVEL REPEATABLE READ").take_transcript();
                    let sum = sum(client.query(READ));
                    client.query("COMMIT").take_transcript();
                    sum
                }
            };
            took += before.elapsed();
            wrong += usize::from(sum != TOTAL);
        }
        (wrong, took / reads.max(1) as u32)
    }

    /// Takes sums while writers write.
    fn read(&self, consistency: &str, reads: usize) -> Figures {
        let (stop, transfers) = (AtomicBool::new(false), AtomicU64::new(0));
        let retries = self.metric("weir_snapshot_retries_total");
        let began = Instant::now();
        let readers: Vec<(usize, Duration)> = thread::scope(|scope| {
            for writer in 0..4 {
                let (stop, transfers) = (&stop, &transfers);
                scope.spawn(move || {
                    let mut sides: Vec<Raw> = (0..SHARDS).map(|shard| self.beside(shard)).collect();
                    for number in 0.. {
                        if stop.load(Ordering::Relaxed) {
                            break;
                        }
                        self.transfer(&mut sides, writer, number);
                        transfers.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            let readers: Vec<_> = (0..4)
                .map(|number| scope.spawn(move || self.sums(number, consistency, reads)))
                .collect();
            let heard: Vec<_> = readers.into_iter().map(|reader| reader.join()).collect();
            if reads == 0 {
                thread::sleep(Duration::from_secs(2));
            }
            stop.store(true, Ordering::Relaxed);
            // A reader's failure is this test's, once the writers have stopped.
            heard.into_iter().map(|outcome| outcome.unwrap()).collect()
        });
        let figures = Figures {
            reads: reads * readers.len(),
            inconsistent: readers.iter().map(|(wrong, _)| wrong).sum(),
            mean: readers.iter().map(|(_, took)| *took).sum::<Duration>() / 4,
            retries: self.metric("weir_snapshot_retries_total") - retries,
            transfers: transfers.into_inner() as f64 / began.elapsed().as_secs_f64(),
        };
        eprintln!("{consistency}: {figures:?}");
        figures
    }
}

#[derive(Debug)]
#[allow(dead_code, reason = "printed")]
struct Figures {
    reads: usize,
    inconsistent: usize,
    mean: Duration,
    retries: f64,
    /// For each second.
    transfers: f64,
}

/// Of the first column of all rows.
#[track_caller]
fn sum(client: &mut Raw) -> i64 {
    let said = client.take_transcript();
    let rows = said.lines().filter_map(|line| line.strip_prefix("D "));
    let values: Vec<i64> = rows.map(|row| row.trim().parse().unwrap()).collect();
    assert_eq!(values.len(), USERS, "{said}");
    values.iter().sum()
}

#[test]
fn a_snapshot_read_sees_no_half_of_a_transaction() {
    let bank = Bank::new(2, "");
    let reads = env::var("WEIR_SNAPSHOT_READS").ok().and_then(|reads| reads.parse().ok());
    let reads = reads.unwrap_or(60);
    bank.read("none", 0);
    let without = bank.read("shard", reads);
    let with = bank.read("snapshot", reads);
    assert!(without.inconsistent > 0, "the test sees nothing: {without:?}");
    assert_eq!(with.inconsistent, 0, "{with:?}, without: {without:?}");
    assert!(with.transfers > 0.0);
    let gathered = "weir_several_shards_total{database=\"shop\",strategy=\"gather\"}";
    assert!(bank.metric(gathered) > 0.0);
    assert_eq!(bank.locks(), 0);
    assert_eq!(sum(bank.careful().query(READ)), TOTAL);
}

#[test]
fn a_transaction_in_doubt_ends_snapshot_reads_with_an_error_and_leaves_no_lock() {
    let mut bank = Bank::new(1, "[timeouts]\ncheckout = '400ms'\n");
    let mut writer = bank.beside(2);
    writer.query("BEGIN").query("UPDATE accounts SET balance = 0 WHERE user_id = 2");
    writer.query(&format!("{};PREPARE TRANSACTION 'doubt'", barrier::enter()));
    let mut client = bank.careful();
    assert_eq!(client.value(READ), "55P03");
    assert_eq!(client.value("SELECT balance FROM accounts WHERE user_id = 2"), "100");
    client.query("BEGIN ISOLATION LEVEL REPEATABLE READ");
    assert_eq!(client.value(READ), "55P03");
    client.query("ROLLBACK");
    assert_eq!(bank.locks(), 1, "the transaction's own");
    assert!(bank.metric("weir_snapshot_retries_total") > 1.0);
    // A client that leaves while it waits takes its locks along.
    bank.careful().ask(READ).send();
    wait_for("the waiting locks' end", || bank.locks() == 1);
    client.query("SET statement_timeout = '5ms'");
    assert_eq!(client.value(READ), "57014");
    client.query("RESET statement_timeout");
    // The lock outlives its server.
    bank.cluster.kill(2);
    bank.cluster.restart(2);
    wait_for("the server's lock", || bank.careful().value(READ) == "55P03");
    bank.beside(2).query("ROLLBACK PREPARED 'doubt'");
    let mut client = bank.careful();
    client.take_transcript();
    assert_eq!(sum(client.query(READ)), TOTAL);
    assert_eq!(bank.locks(), 0);
}

#[test]
fn what_cannot_be_seen_at_one_moment_is_refused() {
    let bank = Bank::new(1, "");
    let one = |user: usize| format!("SELECT balance FROM accounts WHERE user_id = {user}");
    let mut c = bank.careful();
    let mut check = |script: &[&str], code: &str| {
        let (last, before) = script.split_last().unwrap();
        for text in before {
            c.query(text);
        }
        let said = c.take_transcript();
        assert!(!said.contains("E V="), "{script:?}: {said}");
        assert_eq!(c.value(last), code, "{script:?}");
        c.query("ROLLBACK").take_transcript();
    };
    let repeatable = "BEGIN ISOLATION LEVEL REPEATABLE READ";
    let (first, second) = (one(1), one(2));
    // Its first statement of several shards takes all of them.
    check(
        &[repeatable, "SET LOCAL work_mem = '1MB' -- so", "SAVEPOINT a", READ, READ, &second],
        "100",
    );
    check(&[repeatable, "SELECT balance FROM accounts WHERE user_id IN (1, 2)", READ], "100");
    check(&[repeatable, &first, READ], "0A000");
    check(&[repeatable, &first, &second], "0A000");
    check(&["BEGIN", READ], "0A000");
    check(&["BEGIN", "SET LOCAL weir.consistency = 'shard'", READ], "100");
    check(&["BEGIN", &first, &second], "100");
    check(&["BEGIN ISOLATION LEVEL SERIALIZABLE", READ], "0A000");
    check(&["BEGIN ISOLATION LEVEL SERIALIZABLE", &first, &second], "0A000");
    check(&["BEGIN ISOLATION LEVEL SERIALIZABLE", &first, &one(5)], "100");
    check(&["SET weir.consistency = 'shard'", repeatable, &first, READ], "100");
    check(&["BEGIN ISOLATION LEVEL SERIALIZABLE", READ], "0A000");
    check(&["SET weir.consistency = 'snapshot'", READ], "100");
    assert_eq!(bank.locks(), 0);
}

#[test]
fn several_statements_between_two_syncs_each_see_their_own_moment() {
    let bank = Bank::new(1, "");
    let mut c = bank.careful();
    let say = |c: &mut Raw, sql: &str| {
        c.parse("", sql, &[]).bind("", "", &[]).execute("", 0);
    };
    say(&mut c, READ);
    c.flush(2 + USERS + 1);
    assert_eq!(sum(&mut c), TOTAL);
    bank.beside(3).query("UPDATE accounts SET balance = 150 WHERE user_id = 3");
    say(&mut c, READ);
    say(&mut c, "UPDATE accounts SET balance = 50 WHERE user_id = 3");
    say(&mut c, READ);
    c.sync();
    let said = c.take_transcript();
    let of = |amount: &str| said.lines().filter(|line| *line == format!("D {amount}")).count();
    assert_eq!((of("150"), of("50")), (1, 1), "{said}");
    assert_eq!(sum(c.query(READ)), TOTAL - 50);
    // An error takes back what was written with it, and what was SET.
    c.parse("s", "SET work_mem = '1MB'", &[]).bind("", "s", &[]).execute("", 0);
    say(&mut c, READ);
    say(&mut c, "UPDATE accounts SET balance = 0 WHERE user_id = 3");
    say(&mut c, "SELECT 1 / 0");
    c.sync().take_transcript();
    assert_eq!(sum(c.query(READ)), TOTAL - 50);
    assert_eq!(c.value("SHOW work_mem"), "4MB");
    c.take_transcript();
    c.query(
        "SELECT 1; SELECT balance FROM accounts; SELECT 2; INSERT INTO accounts VALUES (20, 0)",
    );
    let said = c.take_transcript();
    assert!(said.contains("C INSERT 0 1") && said.contains("C SELECT 16"), "{said}");
    assert_eq!(
        c.value("INSERT INTO accounts VALUES (21, 0); SELECT balance FROM accounts"),
        "0A000"
    );
    assert_eq!(bank.locks(), 0);
}

#[test]
fn a_transaction_that_cannot_begin_on_a_shard_leaves_no_lock() {
    let bank = Bank::new(1, "");
    let mut home = bank.beside(0);
    home.query("CREATE ROLE only_here; GRANT SELECT ON accounts TO only_here");
    let mut c = bank.careful();
    c.query("BEGIN ISOLATION LEVEL REPEATABLE READ").query("SET LOCAL ROLE only_here");
    assert_eq!(c.value(READ), "22023");
    assert_eq!(bank.locks(), 0);
    assert_eq!(c.value("SELECT 1"), "25P02");
    c.query("ROLLBACK").take_transcript();
    assert_eq!(sum(c.query(READ)), TOTAL);
    assert_eq!(bank.locks(), 0);
}
