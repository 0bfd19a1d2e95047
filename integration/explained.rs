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

/// What a transcript's line says, without its escapes.
fn written(line: &str) -> String {
    let mut characters = line.chars();
    let mut text = String::new();
    while let Some(character) = characters.next() {
        text.extend(match character {
            '\\' => characters.next().map(|escaped| if escaped == 'n' { '\n' } else { escaped }),
            other => Some(other),
        });
    }
    text
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
            "D Weir Merge",
            "D   Sort Key: id DESC",
            "D   Limit: 3",
            "D   Task Count: 4",
            "D   Tasks Shown: All",
            "D   Query: SELECT id, total FROM orders WHERE note IS NULL ORDER BY id DESC LIMIT 3",
            "D   ->  Task",
            "D         Shard: s0",
            "D         ->  Limit",
            "D                     ->  Seq Scan on orders",
            "D         Shard: s3",
            "D                     ->  Seq Scan on orders",
            "C EXPLAIN",
            "Z I",
        ],
    );
    check(
        &mut client,
        "EXPLAIN ANALYZE SELECT count(*) FROM orders",
        &["D Weir Merge", "D   Combine: groups", "D   Rows From Shards: 4", "D   Time: "],
    );
    check(
        &mut client,
        "SELECT 1; EXPLAIN VERBOSE SELECT count(DISTINCT note) FROM orders WHERE at < now()",
        &[
            "D 1",
            "D Weir Gather",
            "D   Not Merged: ",
            "D               ->  Seq Scan on public.orders",
            "Z I",
        ],
    );
    // In a transaction, whose own rows count, and which goes on.
    check_ok(&mut client, "BEGIN");
    check_ok(&mut client, "INSERT INTO orders (id, user_id) VALUES (1000, 1)");
    check(
        &mut client,
        "EXPLAIN ANALYZE SELECT count(DISTINCT note) FROM orders",
        &[
            "D   Moved Rows: 121",
            "D   Moved Bytes: ",
            "D         Table: weir_1",
            "D         Rows: 121",
            "Z T",
        ],
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
        ("EXPLAIN (FORMAT YAML) SELECT id FROM orders", "C=0A000"),
        ("EXPLAIN (FORMAT PDF) SELECT id FROM orders", "C=22023"),
        ("EXPLAIN (GENERIC_PLAN) SELECT id FROM orders", "C=0A000"),
        ("EXPLAIN SELECT id FROM orders FOR UPDATE", "C=0A000"),
        ("EXPLAIN SELECT id FROM orders WHERE note = $1", "C=42P02 M=there is no parameter $1"),
        ("SELECT id FROM orders WHERE note = $1", "C=42P02 M=there is no parameter $1"),
        ("EXPLAIN EXECUTE nothing(1)", "C=26000 M=prepared statement \"nothing\" does not exist"),
        ("EXPLAIN ANALYZE CREATE TABLE made AS SELECT 1", "C=0A000"),
        ("EXPLAIN ANALYZE UPDATE orders SET user_id = 5 WHERE user_id = 3", "C=0A000"),
        ("EXPLAIN ANALYZE INSERT INTO products SELECT * FROM products", "C=0A000"),
    ] {
        check(&mut client, text, &[&format!("E V=ERROR {error}"), "Z I"]);
        check_ok(&mut client, "SELECT count(*) FROM orders");
    }
    assert_eq!(client.value("SELECT count(*) FROM pg_class WHERE relname = 'made'"), "0");
    assert_eq!(client.value("SELECT count(*) FROM orders WHERE total = 0"), "0");
    client.take_transcript();
    client.parse("", "EXPLAIN ANALYZE EXECUTE weir_1(1)", &[]).sync();
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

/// What drivers send: parameters, portals, rows in portions.
#[test]
fn drivers_get_plans_as_they_get_rows() {
    let world = world("", SETTINGS);
    let mut weir = world.client();
    let mut plain = world.plain();
    for query in [
        "SELECT id FROM orders WHERE note = $1 AND total > $2 ORDER BY id",
        "SELECT count(DISTINCT n) FROM items WHERE n > length($1) AND product = $2",
        // One shard or several: that is known when it is bound.
        "SELECT id FROM orders WHERE note <> $1 AND user_id IN (3, $2)",
    ] {
        for (options, results) in [("", &[][..]), ("(ANALYZE)", &[1]), ("(FORMAT JSON)", &[])] {
            let say = |client: &mut Raw| {
                client.take_transcript();
                client.parse("p", &format!("EXPLAIN {options} {query}"), &[]).describe(b'S', "p");
                let values = [Some(&b"n\n4"[..]), Some(b"4")];
                client.bind_as("", "p", &[], &values, results).describe(b'P', "");
                client.execute("", 1).execute("", 0).execute("", 0).close(b'S', "p").sync();
                client.take_transcript()
            };
            let (told, expected) = (say(&mut weir), say(&mut plain));
            // Of the rows only where they stand; several are as one.
            let steps = |heard: &str| {
                let lines =
                    heard.lines().map(|line| if line.starts_with("D ") { "D" } else { line });
                let mut lines: Vec<String> = lines
                    .filter(|line| line.as_bytes().get(1).is_none_or(|b| *b == b' '))
                    .map(str::to_owned)
                    .collect();
                lines.dedup();
                lines
            };
            assert_eq!(steps(&told), steps(&expected), "{options} {query}\n{told}\n{expected}");
            assert!(told.contains("D Weir ") || told.contains("\"Weir "), "{told}");
        }
    }
    // The parameter decides where it goes.
    weir.take_transcript();
    weir.parse("", "EXPLAIN (COSTS OFF) SELECT id FROM orders WHERE user_id IN (3, $1)", &[]);
    weir.bind("", "", &[Some("3")]).execute("", 0).sync();
    let told = weir.take_transcript();
    assert!(told.contains("\nD Seq Scan on orders\n") && !told.contains("Weir"), "{told}");
    wait_for("nothing stays behind", || world.is_clean());
}

#[test]
fn a_plan_in_json_is_one_document_and_says_what_the_query_gives() {
    let world = world("", SETTINGS);
    let (mut weir, mut plain) = (world.client(), world.plain());
    for (query, path) in [
        ("SELECT id, note FROM orders WHERE total > 5 ORDER BY id", "{0,Plan,Rows From Shards}"),
        (
            "SELECT o.id, i.n FROM orders o JOIN items i ON i.order_id = o.id WHERE i.n > 70",
            "{0,Plan,Plans,2,Server Plan,0,Plan,Actual Rows}",
        ),
    ] {
        let heard = told(&mut weir, &format!("EXPLAIN (ANALYZE, FORMAT JSON) {query}"));
        let document = heard.split_once("\nD ").unwrap().1.split_once("\nC EXPLAIN").unwrap().0;
        let document = written(document).replace('\'', "''");
        let rows = plain.value(&format!("SELECT ('{document}'::jsonb) #>> '{path}'"));
        assert_eq!(rows, plain.value(&format!("SELECT count(*) FROM ({query}) q")), "{heard}");
    }
}

#[test]
fn what_execute_executes_is_explained_where_it_would_run() {
    let world = world("", SETTINGS);
    let mut client = world.client();
    check_ok(&mut client, "PREPARE one (bigint) AS SELECT id FROM orders WHERE user_id = $1");
    check_ok(&mut client, "PREPARE all_of (int) AS SELECT id FROM orders WHERE id > $1");
    check_ok(
        &mut client,
        "PREPARE far (int) AS SELECT count(DISTINCT note) FROM orders WHERE id > $1",
    );
    check_ok(
        &mut client,
        "PREPARE pay (bigint) AS UPDATE orders SET total = 0.5 WHERE user_id = $1",
    );
    let paid = "SELECT count(*) FROM orders WHERE total = 0.5";
    check(
        &mut client,
        "EXPLAIN (COSTS OFF) EXECUTE one(3)",
        &["D Seq Scan on orders", "C EXPLAIN"],
    );
    check(&mut client, "EXPLAIN EXECUTE all_of(3)", &["D Weir Merge", "C EXPLAIN", "Z I"]);
    check(
        &mut client,
        "SELECT 1; EXPLAIN (ANALYZE) EXECUTE far(20)",
        &["D 1", "D Weir Gather", "D   Moved Rows: 100", "C EXPLAIN", "Z I"],
    );
    check(&mut client, "EXPLAIN EXECUTE pay(3)", &["D Update on orders", "C EXPLAIN"]);
    assert_eq!(client.value(paid), "0");
    check(&mut client, "EXPLAIN ANALYZE EXECUTE pay(3)", &["D Update on orders", "C EXPLAIN"]);
    assert_eq!(client.value(paid), "3");
    check(
        &mut client,
        "/* é */ EXPLAIN (COSTS OFF) EXECUTE one(nothing)",
        &["E V=ERROR C=0A000", "Z I"],
    );
    check(&mut client, "EXPLAIN EXECUTE one(1, 2)", &["E V=ERROR C=42601 M=wrong number", "Z I"]);
    check(&mut client, "EXPLAIN EXECUTE far(1, 2)", &["E V=ERROR C=42601 M=wrong number", "Z I"]);
}

#[test]
fn a_plan_that_is_too_long_is_an_error_with_the_limits_name() {
    let settings = format!("{SETTINGS}[limits]\nmerge_size = '2kB'\n");
    let world = world("", &settings);
    let mut client = world.client();
    check(&mut client, "EXPLAIN SELECT id FROM orders", &["D Weir Merge", "C EXPLAIN"]);
    let long = (1..400).map(|n| format!("id <> {n}")).collect::<Vec<_>>().join(" AND ");
    check_ok(&mut client, "BEGIN");
    check(
        &mut client,
        &format!("EXPLAIN SELECT id FROM orders WHERE {long}"),
        &["E V=ERROR C=53400 M=the servers' plans take more memory", "Z E"],
    );
    check_ok(&mut client, "ROLLBACK");
    check_ok(&mut client, "SELECT count(*) FROM orders");
}

#[test]
fn explain_sees_what_the_query_would_see() {
    let world = world("", SETTINGS);
    let mut client = world.client();
    check_ok(&mut client, "SET weir.consistency = 'snapshot'");
    let text = "EXPLAIN ANALYZE SELECT count(DISTINCT note) FROM orders";
    check(&mut client, text, &["D Weir Gather", "D   Moved Rows: 120", "C EXPLAIN", "Z I"]);
    assert_eq!(world.metric("weir_snapshot_seconds_count"), "1");
    check_ok(&mut client, "BEGIN");
    check(&mut client, text, &["E V=ERROR C=0A000 M=a READ COMMITTED transaction", "Z E"]);
    check_ok(&mut client, "ROLLBACK");
    wait_for("nothing stays behind", || world.is_clean());
}
