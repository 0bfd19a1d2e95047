//! EXPLAIN of queries whose rows are on several shards: what is told, and that nothing is run but what
//! was asked for.
use crate::cluster::DATABASE;
use crate::gather::{SETTINGS, World, check_ok, world};
use crate::raw::Raw;
use crate::weir::wait_for;

const DOCS: &str = include_str!("../docs/gather.md");

fn told(client: &mut Raw, text: &str) -> String {
    client.take_transcript();
    client.query(text);
    client.take_transcript()
}

/// The answer has these lines, in this order, perhaps with others between them.
#[track_caller]
fn check(client: &mut Raw, text: &str, lines: &[&str]) {
    let heard = told(client, text);
    let mut rest = heard.lines();
    for line in lines {
        assert!(rest.any(|other| other.starts_with(line)), "{line:?} is not in\n{heard}");
    }
}

#[test]
fn explain_tells_the_strategy_and_every_servers_plan() {
    let world = world("", SETTINGS);
    let mut client = world.client();
    check(
        &mut client,
        "EXPLAIN (COSTS OFF) SELECT id, total FROM orders WHERE note IS NULL ORDER BY id DESC LIMIT 3",
        &[
            "T QUERY PLAN:",
            "D Merge of 4 shards (order by id desc, limit 3)",
            "D   Query: SELECT id, total FROM orders WHERE note IS NULL ORDER BY id DESC LIMIT 3",
            "D   Shard s0",
            "D     Limit",
            "D             ->  Seq Scan on orders",
            "D   Shard s3",
            "D             ->  Seq Scan on orders",
            "C EXPLAIN",
            "Z I",
        ],
    );
    check(
        &mut client,
        "EXPLAIN ANALYZE SELECT count(*) FROM orders",
        &["D Merge of 4 shards (combine groups)", "D   Shard s0", "D   Shards' Time: "],
    );
    check(
        &mut client,
        "SELECT 1; EXPLAIN VERBOSE SELECT count(DISTINCT note) FROM orders WHERE at < now()",
        &["D 1", "D Gather: 1 fragment from 4 shards", "D       Seq Scan on public.orders", "Z I"],
    );
    // In a transaction, whose own rows count, and which goes on.
    check_ok(&mut client, "BEGIN");
    check_ok(&mut client, "INSERT INTO orders (id, user_id) VALUES (1000, 1)");
    check(
        &mut client,
        "EXPLAIN ANALYZE SELECT count(DISTINCT note) FROM orders",
        &["D   Fragment weir_1 (actual rows=121)", "D   Moved: 121 rows, ", "Z T"],
    );
    check_ok(&mut client, "ROLLBACK");
    // One shard's plan is that shard's.
    let one = told(&mut client, "EXPLAIN (COSTS OFF) SELECT id FROM orders WHERE user_id = 3");
    assert!(one.contains("\nD Seq Scan on orders\n"), "{one}");
    wait_for("nothing stays behind", || world.is_clean());
}

#[test]
fn the_documentations_example_is_what_explain_tells() {
    let section = DOCS.split("## EXPLAIN").nth(1).unwrap();
    let block = |kind: &str| {
        let after = section.split(&format!("```{kind}\n")).nth(1).unwrap();
        after.split("```").next().unwrap().trim_end().to_owned()
    };
    let world = world("", SETTINGS);
    let heard = told(&mut world.client(), &block("sql")).replace("\nD ", "\n");
    let mut rest = heard.as_str();
    for part in block("text").split("…\n") {
        let found = rest.split_once(part);
        rest = found.unwrap_or_else(|| panic!("{part}\nis not in\n{heard}")).1;
    }
}

#[test]
fn what_explain_cannot_tell_is_an_error() {
    let world = world("", SETTINGS);
    world.cluster.on_every_shard("CREATE ROLE reader LOGIN");
    let mut client = world.client();
    for (text, error) in [
        ("EXPLAIN SELECT nothing FROM orders", "C=42703 M=column \"nothing\" does not exist P=16"),
        (
            "EXPLAIN SELECT count(DISTINCT nothing) FROM orders",
            "C=42703 M=column \"nothing\" does not exist P=31",
        ),
        ("EXPLAIN (FOO) SELECT id FROM orders", "C=42601 M=unrecognized EXPLAIN option \"foo\""),
        ("EXPLAIN ANALYZE SELECT 1 / (id - 30) FROM orders", "C=22012"),
        ("EXPLAIN (FORMAT JSON) SELECT id FROM orders", "C=0A000"),
        ("EXPLAIN SELECT id FROM orders FOR UPDATE", "C=0A000"),
        ("EXPLAIN SELECT id FROM orders WHERE note = $1", "C=0A000"),
    ] {
        check(&mut client, text, &[&format!("E V=ERROR {error}"), "Z I"]);
        check_ok(&mut client, "SELECT count(*) FROM orders");
    }
    client.take_transcript();
    client.parse("", "EXPLAIN SELECT id FROM orders", &[]).bind("", "", &[]).execute("", 0).sync();
    let heard = client.take_transcript();
    assert!(heard.contains("C=0A000") && heard.contains("simple query"), "{heard}");
    let mut reader = Raw::connect(world.weir.port(), &[("user", "reader"), ("database", DATABASE)]);
    for query in ["SELECT id FROM orders", "SELECT count(DISTINCT note) FROM orders"] {
        check(&mut reader, &format!("EXPLAIN {query}"), &["E V=ERROR C=42501", "Z I"]);
    }
    wait_for("nothing stays behind", || world.is_clean());
}

#[test]
fn explain_analyze_runs_everything_once_and_explain_nothing() {
    let world = world("", SETTINGS);
    let mut client = world.client();
    for query in ["SELECT id FROM orders ORDER BY total", "SELECT count(DISTINCT n) FROM items"] {
        check(&mut client, &format!("EXPLAIN {query}"), &["C EXPLAIN"]);
        check(&mut client, &format!("EXPLAIN ANALYZE {query}"), &["C EXPLAIN"]);
    }
    drop(client);
    let World { cluster, weir, .. } = world;
    drop(weir);
    // Servers write down what they have counted when they end.
    for shard in cluster.shards() {
        let sql = |text: &str| shard.sql(DATABASE, text).unwrap();
        let others = "SELECT count(*) FROM pg_stat_activity \
                      WHERE datname = current_database() AND pid <> pg_backend_pid()";
        wait_for("weir's connections end", || sql(others) == "0");
        let scans = "SELECT string_agg(relname || ' ' || seq_scan, ', ' ORDER BY relname) \
                     FROM pg_stat_user_tables WHERE relname IN ('items', 'orders')";
        assert_eq!(sql(scans), "items 1, orders 1");
    }
}
