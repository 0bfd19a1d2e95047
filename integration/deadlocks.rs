//! Transactions over several shards that wait for each other: those that PostgreSQL would not let wait in
//! a circle do not, and of those that do the youngest is ended.
use crate::cluster::{Cluster, DATABASE};
use crate::raw::Raw;
use crate::weir::{Weir, wait_for};
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

const SHARDS: usize = 3;
const USERS: usize = 12;
const QUICK: &str = "[timeouts]\ndeadlock = '300ms'\n";

/// User n lives on shard n % 3.
struct Stage {
    // Dropped in this order.
    weirs: Vec<Weir>,
    cluster: Cluster,
}

impl Stage {
    fn new(weirs: usize, settings: &str) -> Self {
        let cluster = Cluster::start(SHARDS);
        cluster.on_every_shard(
            "CREATE TABLE users (id bigint PRIMARY KEY, n int NOT NULL DEFAULT 0, \
                 unique_n int UNIQUE DEFERRABLE INITIALLY DEFERRED);\
             CREATE TABLE words (id int PRIMARY KEY, word text);\
             INSERT INTO words VALUES (1, 'one')",
        );
        let mut rules = format!("database = '{DATABASE}'\n");
        for (index, shard) in cluster.shards().iter().enumerate() {
            let port = shard.port();
            rules += &format!(
                "[[shard]]\nname = 's{index}'\nprimary = 'host=127.0.0.1 port={port} dbname={DATABASE}'\n"
            );
            for user in (0..USERS).filter(|user| user % SHARDS == index) {
                shard.sql(DATABASE, &format!("INSERT INTO users VALUES ({user})")).unwrap();
            }
        }
        rules += "[[distribution]]\nname = 'by_user'\nfunction = 'modulo'\nkey_type = 'bigint'\n\
                  buckets = 3\n\
                  [[table]]\nname = 'users'\ndistribution = 'by_user'\nkey = 'id'\n\
                  [[table]]\nname = 'words'\nreference = true\n";
        let settings = format!("workers = 1\n[auth]\nmethod = 'trust'\n{settings}");
        let weirs = (0..weirs).map(|_| Weir::with_rules(&cluster, &rules, &settings)).collect();
        Self { weirs, cluster }
    }

    fn client(&self, weir: usize) -> Raw {
        let port = self.weirs[weir].port();
        let raw = Raw::connect(port, &[("user", "postgres"), ("database", DATABASE)]);
        raw.patient(Duration::from_secs(10));
        raw
    }

    fn beside(&self, shard: usize) -> Raw {
        let port = self.cluster.shard(shard).port();
        Raw::connect(port, &[("user", "postgres"), ("database", DATABASE)])
    }

    /// So many wait for a lock on that shard.
    fn await_waits(&self, shard: usize, waits: usize) {
        let mut beside = self.beside(shard);
        wait_for("a wait for a lock", || {
            let count = "SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted";
            beside.value(count) == waits.to_string()
        });
    }

    fn ended(&self, weir: usize) -> u64 {
        let page = self.weirs[weir].page("/metrics").unwrap();
        let lines = page.lines().filter(|line| line.starts_with("weir_deadlocks_total"));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
    }

    /// Nobody waits, nothing is open, nothing is left in the table.
    fn check_quiet(&self) {
        for shard in 0..SHARDS {
            let mut beside = self.beside(shard);
            let open = "SELECT count(*) FROM pg_stat_activity WHERE xact_start IS NOT NULL \
                        AND pid <> pg_backend_pid() AND backend_type = 'client backend'";
            wait_for("the end of all transactions", || beside.value(open) == "0");
        }
        let mut home = self.beside(0);
        wait_for("an empty weir.waiting", || {
            home.value("SELECT count(*) FROM weir.waiting") == "0"
        });
    }
}

fn add(user: usize) -> String {
    format!("UPDATE users SET n = n + 1 WHERE id = {user}")
}

fn said(client: &mut Raw) -> String {
    client.await_ready().take_transcript()
}

fn run(client: &mut Raw, script: &[&str]) -> String {
    client.take_transcript();
    for text in script {
        client.query(text);
    }
    client.take_transcript()
}

/// What both say whose first statements have succeeded and whose second ones wait for each other.
fn cross(stage: &Stage, a: &mut Raw, b: &mut Raw) -> [String; 2] {
    run(a, &["BEGIN", &add(1)]);
    run(b, &["BEGIN", &add(2)]);
    a.ask(&add(2));
    stage.await_waits(2, 1);
    b.ask(&add(1));
    let of_b = said(b);
    let of_a = said(a);
    [of_a, of_b]
}

#[test]
fn of_two_transactions_that_wait_for_each_other_the_younger_is_ended() {
    let stage = Stage::new(1, QUICK);
    let (mut a, mut b) = (stage.client(0), stage.client(0));
    let [of_a, of_b] = cross(&stage, &mut a, &mut b);
    assert!(of_b.contains("C=40P01 M=deadlock detected D=Process "), "{of_b}");
    assert!(of_b.contains("on shard s1 waits for ShareLock on transaction"), "{of_b}");
    assert!(of_b.contains("on shard s2, of the same transaction, waits"), "{of_b}");
    assert!(of_b.ends_with("Z E"), "{of_b}");
    assert_eq!(of_a, "C UPDATE 1\\x00\nZ T");
    // It has failed as any other: nothing runs before its end, and the session goes on.
    assert!(run(&mut b, &["SELECT 1"]).contains("C=25P02"));
    assert_eq!(run(&mut b, &["COMMIT"]), "C ROLLBACK\\x00\nZ I");
    assert_eq!(run(&mut a, &["COMMIT"]), "C COMMIT\\x00\nZ I");
    assert_eq!(b.value("SELECT n FROM users WHERE id = 1"), "1");
    assert_eq!(b.value("SELECT n FROM users WHERE id = 2"), "1");
    assert_eq!(stage.ended(0), 1);
    stage.check_quiet();
}

#[test]
fn a_deadlock_between_clients_of_two_weirs_is_found() {
    let stage = Stage::new(2, QUICK);
    for (older, younger) in [(0, 1), (1, 0)] {
        let (mut a, mut b) = (stage.client(older), stage.client(younger));
        let before = stage.ended(younger);
        let [of_a, of_b] = cross(&stage, &mut a, &mut b);
        assert!(of_b.contains("C=40P01"), "{of_b}");
        assert_eq!(of_a, "C UPDATE 1\\x00\nZ T");
        run(&mut a, &["COMMIT"]);
        run(&mut b, &["ROLLBACK"]);
        assert_eq!(stage.ended(younger), before + 1, "its own weir has ended it");
    }
    assert_eq!(stage.beside(1).value("SELECT n FROM users WHERE id = 1"), "2");
    stage.check_quiet();
}

#[test]
fn three_transactions_in_a_circle_lose_their_youngest() {
    let stage = Stage::new(2, QUICK);
    let mut clients = [stage.client(0), stage.client(1), stage.client(0)];
    for (number, client) in clients.iter_mut().enumerate() {
        run(client, &["BEGIN", &add(number), &add(number + 3)]);
    }
    for (number, client) in clients.iter_mut().enumerate() {
        client.ask(&add((number + 1) % 3));
    }
    let [a, b, c] = &mut clients;
    let of_c = said(c);
    assert!(of_c.contains("C=40P01"), "{of_c}");
    assert_eq!(of_c.matches("waits for").count(), 3, "{of_c}");
    // The others go on one after another.
    assert_eq!(said(b), "C UPDATE 1\\x00\nZ T");
    run(b, &["COMMIT"]);
    assert_eq!(said(a), "C UPDATE 1\\x00\nZ T");
    assert_eq!(run(a, &["COMMIT"]), "C COMMIT\\x00\nZ I");
    run(c, &["ROLLBACK"]);
    assert_eq!(stage.ended(0) + stage.ended(1), 1);
    stage.check_quiet();
}

#[test]
fn a_circle_that_leads_through_clients_of_one_shard_is_found() {
    let stage = Stage::new(1, QUICK);
    let (mut a, mut b) = (stage.client(0), stage.client(0));
    // Not even one of weir's.
    let mut alone = stage.beside(1);
    run(&mut a, &["BEGIN", &add(1), &add(3)]);
    run(&mut b, &["BEGIN", &add(2), &add(6)]);
    run(&mut alone, &["BEGIN", &add(4)]);
    alone.ask(&add(1));
    a.ask(&add(2));
    stage.await_waits(1, 1);
    stage.await_waits(2, 1);
    b.ask(&add(4));
    let of_b = said(&mut b);
    assert!(of_b.contains("C=40P01"), "{of_b}");
    run(&mut b, &["ROLLBACK"]);
    assert_eq!(said(&mut a), "C UPDATE 1\\x00\nZ T");
    run(&mut a, &["COMMIT"]);
    assert_eq!(said(&mut alone), "C UPDATE 1\\x00\nZ T");
    run(&mut alone, &["COMMIT"]);
    stage.check_quiet();
}

#[test]
fn a_pipeline_and_a_scattered_write_hear_of_their_deadlock() {
    let stage = Stage::new(1, QUICK);
    let (mut a, mut b) = (stage.client(0), stage.client(0));
    let all = "UPDATE users SET n = n + 1 WHERE id > 0 RETURNING id";
    run(&mut a, &["BEGIN", &add(2), &add(1)]);
    // Waits on shard 1, with the rows of shard 0 locked.
    pipeline(&mut b, &[all]);
    stage.await_waits(1, 1);
    a.ask(&add(3));
    let of_b = said(&mut b);
    assert!(of_b.contains("C=40P01") && of_b.ends_with("Z I"), "{of_b}");
    assert_eq!(said(&mut a), "C UPDATE 1\\x00\nZ T");
    run(&mut a, &["COMMIT"]);
    // The same, and now the pipeline is older.
    pipeline(&mut b, &["BEGIN", all]);
    assert!(said(&mut b).ends_with("Z T"));
    run(&mut a, &["BEGIN", "INSERT INTO users VALUES (100)", "INSERT INTO users VALUES (101)"]);
    a.ask(&add(1));
    stage.await_waits(1, 1);
    pipeline(&mut b, &["INSERT INTO users VALUES (101)"]);
    let of_a = said(&mut a);
    assert!(of_a.contains("C=40P01") && of_a.ends_with("Z E"), "{of_a}");
    // What has failed holds nothing, before its client has said anything.
    let of_b = said(&mut b);
    assert!(of_b.contains("C INSERT 0 1"), "{of_b}");
    run(&mut a, &["ROLLBACK"]);
    run(&mut b, &["ROLLBACK"]);
    stage.check_quiet();
}

/// Sent, and not waited for.
fn pipeline(client: &mut Raw, texts: &[&str]) {
    for text in texts {
        client.parse("", text, &[]).bind("", "", &[]).execute("", 0);
    }
    client.put(b'S', &[]).send();
}

#[test]
fn a_commit_that_waits_for_whom_it_blocks_is_part_of_a_circle() {
    let stage = Stage::new(2, QUICK);
    let unique = |user: usize| format!("UPDATE users SET unique_n = 5 WHERE id = {user}");
    // Whose COMMIT waits: the older one, then the younger one.
    for older in [true, false] {
        let (mut a, mut b) = (stage.client(0), stage.client(1));
        let begin = |a: &mut Raw| run(a, &["BEGIN", &add(0), &add(2)]);
        if older {
            begin(&mut a);
        }
        run(&mut b, &["BEGIN", &unique(4), &add(3)]);
        if !older {
            begin(&mut a);
        }
        // Prepares on shard 2, and looks on shard 1 whether the other's value stays.
        run(&mut a, &[&unique(1)]);
        a.ask("COMMIT");
        stage.await_waits(1, 1);
        let mut beside = stage.beside(2);
        wait_for("something prepared", || {
            beside.value("SELECT count(*) FROM pg_prepared_xacts") == "1"
        });
        b.ask(&add(2));
        let [of_a, of_b] = [said(&mut a), said(&mut b)];
        match older {
            true => {
                assert_eq!(of_a, "C COMMIT\\x00\nZ I");
                assert!(of_b.contains("C=40P01"), "{of_b}");
                assert!(of_b.contains("blocked by a prepared transaction."), "{of_b}");
                run(&mut b, &["ROLLBACK"]);
                run(&mut a, &["UPDATE users SET unique_n = NULL WHERE id = 1"]);
            }
            false => {
                assert!(of_a.contains("C=40P01") && of_a.ends_with("Z I"), "{of_a}");
                assert_eq!(of_b, "C UPDATE 1\\x00\nZ T");
                assert_eq!(run(&mut b, &["COMMIT"]), "C COMMIT\\x00\nZ I");
            }
        }
        assert_eq!(beside.value("SELECT count(*) FROM pg_prepared_xacts"), "0");
        stage.check_quiet();
    }
}

#[test]
fn who_only_waits_long_is_left_alone_and_locks_may_time_out_first() {
    let stage = Stage::new(1, QUICK);
    let (mut a, mut b, mut c) = (stage.client(0), stage.client(0), stage.client(0));
    run(&mut a, &["BEGIN", &add(1), &add(2)]);
    run(&mut b, &["BEGIN", &add(3), &add(4)]);
    b.ask(&add(1));
    run(&mut c, &["BEGIN", "SET LOCAL lock_timeout = '900ms'", &add(6), &add(7)]);
    c.ask(&add(1));
    // Both are published, and neither is on a circle.
    let mut home = stage.beside(0);
    wait_for("two that wait", || home.value("SELECT count(*) FROM weir.waiting") == "2");
    let of_c = said(&mut c);
    assert!(of_c.contains("C=55P03"), "{of_c}");
    run(&mut c, &["ROLLBACK"]);
    wait_for("one that waits", || home.value("SELECT count(*) FROM weir.waiting") == "1");
    run(&mut a, &["COMMIT"]);
    assert_eq!(said(&mut b), "C UPDATE 1\\x00\nZ T");
    run(&mut b, &["COMMIT"]);
    assert_eq!(stage.ended(0), 0);
    stage.check_quiet();
}

#[test]
fn without_its_table_weir_says_so_and_serves() {
    let cluster = Cluster::start(1);
    cluster.on_every_shard("CREATE TABLE users (id bigint PRIMARY KEY)");
    let port = cluster.shard(0).port();
    let rules = format!(
        "database = '{DATABASE}'\n\
         [[shard]]\nname = 's0'\nprimary = 'host=127.0.0.1 port={port} dbname={DATABASE}'\n\
         [[distribution]]\nname = 'by_user'\nfunction = 'modulo'\nkey_type = 'bigint'\nbuckets = 3\n\
         [[table]]\nname = 'users'\ndistribution = 'by_user'\nkey = 'id'\n"
    );
    let mut weir = Weir::with_rules(&cluster, &rules, "[auth]\nmethod = 'trust'\n");
    assert!(!weir.log().contains("weir.waiting"));
    cluster.on_every_shard("DROP TABLE weir.waiting");
    weir.kill();
    weir.restart();
    wait_for("the warning", || weir.log().contains("the home shard has no table weir.waiting"));
    let setup = weir.home().run(&["setup", "--rules", "rules.toml"]);
    assert!(setup.status.success());
    assert_eq!(cluster.shard(0).sql(DATABASE, "SELECT count(*) FROM weir.waiting").unwrap(), "0");
}

/// All clients say `text` at the same time, so many times; the SQLSTATEs of those that failed.
fn crowd(stage: &Stage, clients: usize, times: usize, texts: &[&str]) -> (Vec<String>, Duration) {
    let start = Barrier::new(clients);
    let began = Instant::now();
    let failed = thread::scope(|scope| {
        let running: Vec<_> = (0..clients)
            .map(|number| {
                let (mut client, start) = (stage.client(number % stage.weirs.len()), &start);
                scope.spawn(move || {
                    start.wait();
                    let mut failed = Vec::new();
                    for round in 0..times {
                        client.take_transcript();
                        let text = texts[(number + round) % texts.len()];
                        let said = client.query(text).take_transcript();
                        let code = said.split("C=").nth(1).and_then(|rest| rest.get(..5));
                        failed.extend(code.map(str::to_owned));
                    }
                    failed
                })
            })
            .collect();
        running.into_iter().flat_map(|one| one.join().unwrap()).collect()
    });
    (failed, began.elapsed())
}

#[test]
fn writes_of_the_same_rows_of_several_shards_follow_each_other() {
    let stage = Stage::new(2, QUICK);
    // One row of each shard: of several rows on one, PostgreSQL itself may lock the second first.
    let texts = [
        "UPDATE users SET n = n + 1 WHERE id IN (2, 1, 0)",
        "UPDATE users SET n = n + 1 WHERE id BETWEEN 0 AND 2",
    ];
    let (_, took) = crowd(&stage, 1, 100, &["UPDATE users SET n = n WHERE id > 0"]);
    println!("100 scattered updates of one client: {took:?}");
    let (failed, took) = crowd(&stage, 4, 25, &texts);
    println!("100 scattered updates of 4 clients: {took:?}, {} failed", failed.len());
    assert!(failed.is_empty(), "{failed:?}");
    assert_eq!(stage.beside(1).value("SELECT n FROM users WHERE id = 1"), "100");
    // In any order of their rows.
    let texts = [
        "INSERT INTO users VALUES (1), (2), (3) ON CONFLICT (id) DO UPDATE SET n = users.n + 1",
        "INSERT INTO users VALUES (3), (2), (1) ON CONFLICT (id) DO UPDATE SET n = users.n + 1",
    ];
    let (failed, took) = crowd(&stage, 4, 25, &texts);
    println!("100 upserts of 4 clients: {took:?}");
    assert!(failed.is_empty(), "{failed:?}");
    assert_eq!(stage.beside(1).value("SELECT n FROM users WHERE id = 1"), "200");
    assert_eq!(stage.ended(0) + stage.ended(1), 0);
}

/// Transfers between users in any order, and statements that write all: half of it deadlocks. Nothing but
/// 40P01 is heard, what has failed is said again until it succeeds, and nothing is lost or done twice.
#[test]
fn under_many_deadlocks_everybody_gets_through() {
    const CLIENTS: usize = 6;
    // Nor is a statement refused because it has waited for locks again and again.
    let patient = format!("{QUICK}[breaker.statement]\nslow = 'off'\nshare = 0\n");
    let stage = Stage::new(2, &patient);
    let (goal, deadline) = (12, Instant::now() + Duration::from_secs(120));
    let done: Vec<(usize, usize)> = thread::scope(|scope| {
        let running: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let mut client = stage.client(number % 2);
                scope.spawn(move || {
                    let (mut transfers, mut deadlocks, mut step) = (0, 0, number * 7 + 1);
                    while transfers < goal {
                        assert!(
                            Instant::now() < deadline,
                            "{transfers} transfers of client {number}"
                        );
                        // Users 0 to 3, on all shards: everybody meets everybody.
                        step = (step * 31 + 17) % 10_007;
                        let (from, to) = (step % 4, (step / 4) % 4);
                        let [take, give] = [
                            format!("UPDATE users SET n = n - 1 WHERE id = {from}"),
                            format!("UPDATE users SET n = n + 1 WHERE id = {to}"),
                        ];
                        let all = "UPDATE users SET unique_n = NULL WHERE id < 6".to_owned();
                        let script = if step % 5 == 0 {
                            [take, all, give]
                        } else {
                            [take, give, "SELECT 1".to_owned()]
                        };
                        let begun = run(&mut client, &["BEGIN"]);
                        assert_eq!(begun, "C BEGIN\\x00\nZ T");
                        let failed = script.iter().find_map(|text| {
                            let said = client.query(text).take_transcript();
                            said.contains("C=").then_some(said)
                        });
                        let end = if failed.is_some() { "ROLLBACK" } else { "COMMIT" };
                        let ended = run(&mut client, &[end]);
                        match failed {
                            Some(said) => {
                                assert!(said.contains("C=40P01"), "{said}");
                                assert_eq!(ended, "C ROLLBACK\\x00\nZ I");
                                deadlocks += 1;
                            }
                            None => {
                                assert_eq!(ended, "C COMMIT\\x00\nZ I");
                                transfers += 1;
                            }
                        }
                    }
                    (transfers, deadlocks)
                })
            })
            .collect();
        running.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let deadlocks: usize = done.iter().map(|(_, deadlocks)| deadlocks).sum();
    let across = stage.ended(0) + stage.ended(1);
    println!("{} transfers, {deadlocks} deadlocks, {across} of them across shards", CLIENTS * goal);
    assert!(across > 0, "a test of nothing");
    assert_eq!(stage.client(0).value("SELECT sum(n) FROM users"), "0");
    stage.check_quiet();
}

#[test]
fn schema_changes_and_writes_of_all_shards_follow_each_other() {
    let stage = Stage::new(1, QUICK);
    let texts = [
        "UPDATE users SET n = n + 1 WHERE id > 0",
        "ALTER TABLE users ALTER n SET DEFAULT 0",
        "UPDATE words SET word = word || 'x' WHERE length(word) < 10",
    ];
    let (failed, took) = crowd(&stage, 3, 20, &texts);
    println!("60 schema changes and writes of 3 clients: {took:?}");
    assert!(failed.is_empty(), "{failed:?}");
    assert_eq!(stage.ended(0), 0);
}
