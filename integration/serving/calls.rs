//! Statements that are slow or fail are refused for a while; all that one does has a limit in time.
use super::{TRUST, sharded, two_shards};
use crate::cluster::{Cluster, DATABASE};
use crate::raw::Raw;
use crate::weir::{Weir, wait_for};
use std::thread::sleep;
use std::time::Duration;

const SLOW: &str = "SELECT pg_sleep(0.8)";
/// The same shape.
const FAST: &str = "SELECT pg_sleep(0)";
const ENDLESS: &str = "SELECT pg_sleep(600)";
const TOTAL: &str = "C=57014 M=canceling statement due to total timeout";

/// Has a client run a statement; what it heard.
type Run = fn(&mut Raw, &str) -> String;

fn weir(cluster: &Cluster, settings: &str) -> Weir {
    Weir::plain(cluster, DATABASE, &format!("{TRUST}{settings}"))
}

fn client(weir: &Weir) -> Raw {
    Raw::connect(weir.port(), &[("user", "postgres"), ("database", DATABASE)])
}

/// An unnamed statement without parameters, in the extended protocol; what was heard.
fn run(raw: &mut Raw, sql: &str) -> String {
    raw.take_transcript();
    raw.parse("", sql, &[]).bind("", "", &[]).execute("", 0).sync();
    raw.take_transcript()
}

fn query(raw: &mut Raw, sql: &str) -> String {
    raw.take_transcript();
    raw.query(sql);
    raw.take_transcript()
}

#[test]
fn a_slow_shape_is_refused_in_its_tier_and_everything_else_goes_on() {
    let cluster = Cluster::start(1);
    let weir = weir(&cluster, "[breaker.statement]\nslow = '600ms'\nopen = '1h'\n");
    let mut raw = client(&weir);
    for _ in 0..3 {
        assert!(!query(&mut raw, SLOW).contains("E "));
    }
    let refused = query(&mut raw, FAST);
    assert!(refused.contains("C=57P03"), "{refused}");
    assert!(refused.contains("is refused in tier interactive"), "{refused}");
    assert!(refused.contains(": 3 in a row took longer than 600 ms"), "{refused}");
    assert!(refused.contains("SET weir.tier = 'batch'"), "{refused}");
    let mut other = client(&weir);
    assert!(run(&mut other, FAST).contains("C=57P03"));
    assert!(query(&mut other, "SELECT 1; SELECT pg_sleep(2)").contains("C=57P03"));
    assert_eq!(other.value("SELECT 1"), "1");
    other.query("SET weir.tier = 'batch'");
    for _ in 0..4 {
        assert!(!run(&mut other, SLOW).contains("E "));
    }
    let page = weir.page("/metrics").unwrap();
    for line in [
        r#"weir_statement_breaker_open{database="shop"} 1"#,
        r#"weir_statement_breaker_trips_total{database="shop"} 1"#,
        r#"weir_refused_total{database="shop",reason="statement breaker"} 3"#,
    ] {
        assert!(page.contains(line), "{line} is not in\n{page}");
    }
}

#[test]
fn a_statement_of_an_extended_pipeline_is_timed_for_itself() {
    let cluster = Cluster::start(1);
    let weir = weir(&cluster, "[breaker.statement]\nslow = '600ms'\nopen = '1h'\n");
    let mut raw = client(&weir);
    for _ in 0..3 {
        raw.parse("", SLOW, &[]).bind("", "", &[]).execute("", 0);
        raw.parse("", "SELECT 2", &[]).bind("", "", &[]).execute("", 0).sync();
        // What the client does between its messages is its own time.
        raw.parse("", "SELECT 3", &[]).bind("", "", &[]).execute("", 0).send();
        sleep(Duration::from_millis(800));
        raw.sync();
    }
    assert!(!raw.transcript().contains("E "), "{}", raw.transcript());
    assert!(run(&mut raw, SLOW).contains("C=57P03"));
    assert!(!run(&mut raw, "SELECT 2").contains("E "));
    assert!(!run(&mut raw, "SELECT 3").contains("E "));
}

#[test]
fn a_shape_that_keeps_failing_is_refused_but_not_for_its_clients_mistakes() {
    let cluster = Cluster::start(1);
    let breaker = "[breaker.statement]\nslow = 'off'\nshare = 0.5\ncalls = 4\nopen = '1h'\n";
    let weir = weir(&cluster, breaker);
    // Another shape for each protocol.
    let protocols: [(Run, &str); 2] =
        [(run, "SELECT pg_sleep(600) AS extended"), (query, "SELECT pg_sleep(600) AS simple")];
    for (run, sql) in protocols {
        let mut raw = client(&weir);
        raw.query("SET statement_timeout = '200ms'");
        for _ in 0..4 {
            let canceled = run(&mut raw, sql);
            assert!(canceled.contains("C=57014"), "{canceled}");
        }
        let refused = run(&mut raw, sql);
        assert!(refused.contains("it keeps failing, last with SQLSTATE 57014"), "{refused}");
        raw.query("RESET statement_timeout");
        for _ in 0..8 {
            assert!(run(&mut raw, "SELECT 1 / 0").contains("C=22012"));
        }
    }
}

#[test]
fn when_its_time_is_over_one_fast_call_closes_it() {
    let cluster = Cluster::start(1);
    let weir = weir(&cluster, "[breaker.statement]\nslow = '600ms'\nopen = '50ms'\n");
    let mut raw = client(&weir);
    for _ in 0..3 {
        raw.query(SLOW);
    }
    wait_for("the trial", || !query(&mut raw, FAST).contains("C=57P03"));
    for _ in 0..2 {
        assert!(!query(&mut raw, SLOW).contains("E "), "it needs three again");
    }
}

const BRIEF: &str = "[timeouts]\ntotal = '2s'\n[pool]\nsize = 1\n[breaker.statement]\nshare = 0\n";

#[test]
fn a_statement_that_takes_too_long_is_cancelled_and_its_server_is_kept() {
    let cluster = Cluster::start(1);
    let weir = weir(&cluster, BRIEF);
    let mut raw = client(&weir);
    let pid = raw.value("SELECT pg_backend_pid()");
    for run in [run, query] {
        let canceled = run(&mut raw, ENDLESS);
        assert!(canceled.contains(TOTAL), "{canceled}");
        assert!(canceled.contains("raise timeouts.total"), "{canceled}");
        assert_eq!(raw.value("SELECT pg_backend_pid()"), pid);
    }
}

#[test]
fn a_statement_of_another_tier_has_that_tiers_time() {
    let cluster = Cluster::start(1);
    let weir = weir(&cluster, &format!("{BRIEF}[tier.batch]\ntotal = 'off'\n"));
    let mut raw = client(&weir);
    for run in [run, query] {
        let answer = run(&mut raw, "/* weir: tier=batch */ SELECT 'rested' FROM pg_sleep(2.5)");
        assert!(answer.contains("D rested"), "{answer}");
        assert!(run(&mut raw, ENDLESS).contains(TOTAL));
    }
}

#[test]
fn a_wait_for_a_lock_counts_and_fails_the_block() {
    let cluster = Cluster::start(1);
    cluster.on_every_shard("CREATE TABLE t (id int); INSERT INTO t VALUES (1)");
    let weir = weir(&cluster, BRIEF);
    let mut holder =
        Raw::connect(cluster.shard(0).port(), &[("user", "postgres"), ("database", DATABASE)]);
    holder.query("BEGIN; SELECT * FROM t FOR UPDATE");
    for run in [run, query] {
        let mut raw = client(&weir);
        raw.query("BEGIN");
        assert!(run(&mut raw, "UPDATE t SET id = 2").contains(TOTAL));
        assert_eq!(raw.value("SELECT 1"), "25P02");
        raw.query("ROLLBACK");
        assert_eq!(raw.value("SELECT 1"), "1");
    }
}

#[test]
fn a_wait_for_a_connection_counts() {
    let cluster = Cluster::start(1);
    let weir = weir(&cluster, BRIEF);
    let mut holder = client(&weir);
    holder.query("BEGIN; SELECT 1");
    for run in [run, query] {
        let mut raw = client(&weir);
        let canceled = run(&mut raw, "SELECT 1");
        assert!(canceled.contains(TOTAL), "{canceled}");
    }
    holder.query("COMMIT");
    assert_eq!(client(&weir).value("SELECT 1"), "1");
}

#[test]
fn what_the_client_does_between_its_messages_does_not_count() {
    let cluster = Cluster::start(1);
    let weir = weir(&cluster, BRIEF);
    let mut raw = client(&weir);
    raw.query("BEGIN");
    raw.parse("", "SELECT 1", &[]).bind("", "", &[]).execute("", 0).send();
    sleep(Duration::from_millis(2_500));
    raw.sync();
    raw.query("COMMIT");
    assert!(!raw.transcript().contains("E "), "{}", raw.transcript());
}

#[test]
fn copy_that_takes_too_long_is_cancelled() {
    let cluster = Cluster::start(1);
    cluster.on_every_shard("CREATE TABLE t (id int)");
    let weir = weir(&cluster, BRIEF);
    let mut raw = client(&weir);
    raw.ask("COPY t FROM STDIN").hear_until(b"G");
    raw.copy_data("1\n").send();
    raw.await_ready();
    assert!(raw.transcript().contains(TOTAL), "{}", raw.transcript());
    assert_eq!(raw.value("SELECT count(*) FROM t"), "0");
}

#[test]
fn a_server_that_hangs_does_not_hang_its_clients() {
    let cluster = Cluster::start(1);
    let weir = weir(&cluster, BRIEF);
    let mut raw = client(&weir);
    for run in [run, query] {
        assert_eq!(raw.value("SELECT 1"), "1");
        cluster.shard(0).hang().unwrap();
        let canceled = run(&mut raw, "SELECT 1");
        // Nobody has proved here that it only reads: it may run when the server goes on.
        assert!(canceled.contains("C=08006 M=canceling statement due to total"), "{canceled}");
        assert!(canceled.contains("shard only did not answer the cancel request"), "{canceled}");
        // A new connection is not made either.
        assert!(run(&mut raw, "SELECT 1").contains("E "));
        cluster.shard(0).go_on().unwrap();
        wait_for("the server", || raw.value("SELECT 1") == "1");
    }
}

#[test]
fn a_hanging_shard_ends_the_transaction_and_the_others_serve_on() {
    let cluster = two_shards();
    let rules = sharded(&cluster, &[("s0", 0), ("s1", 1)], 2, "");
    let weir = Weir::with_rules(&cluster, &rules, &format!("{TRUST}{BRIEF}"));
    let count = |user: u32| format!("SELECT count(*) FROM orders WHERE user_id = {user}");
    let mut raw = client(&weir);
    for user in [0, 1] {
        assert_eq!(raw.value(&count(user)), "0");
    }
    raw.query("BEGIN").query(&count(0));
    raw.query("INSERT INTO orders (id, user_id) VALUES (1, 1)");
    cluster.shard(1).hang().unwrap();
    let lost = query(&mut raw, &count(1));
    assert!(lost.contains(TOTAL), "{lost}");
    assert_eq!(raw.value(&count(0)), "25P02");
    raw.query("ROLLBACK");
    assert_eq!(raw.value(&count(0)), "0");
    cluster.shard(1).go_on().unwrap();
    wait_for("shard s1", || raw.value(&count(1)) == "0");
}

#[test]
fn a_server_lost_in_the_middle_of_a_copy_message_leaves_its_client_in_step() {
    let mut cluster = Cluster::start(1);
    cluster.on_every_shard("CREATE TABLE t (pad text)");
    let weir = weir(&cluster, "");
    let mut raw = client(&weir);
    raw.ask("COPY t FROM STDIN").hear_until(b"G");
    // A CopyData message of 1000 bytes, and no more than its beginning.
    raw.put_bytes(&[b'd', 0, 0, 3, 0xec]).put_bytes(&[b'x'; 100]).send();
    cluster.crash(0);
    raw.await_ready();
    assert!(raw.transcript().contains("C=08006") || raw.transcript().contains("C=57P0"));
    raw.put_bytes(&[b'x'; 900]).copy_done().send();
    cluster.restart(0);
    wait_for("the server", || raw.value("SELECT 'in step'") == "in step");
}
