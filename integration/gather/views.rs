//! Views of sharded tables: read like tables where each of their rows is of one shard, beside one plain
//! PostgreSQL.
use super::{SETTINGS, World, check_ok, world};
use crate::cluster::DATABASE;
use crate::raw::Raw;

const VIEWS: &[&str] = &[
    "CREATE VIEW dear AS SELECT id, user_id, total, note FROM orders WHERE total > 3",
    "CREATE VIEW bought AS SELECT o.id AS order_id, u.id AS who, u.name, upper(o.note) AS note \
     FROM orders o JOIN users u ON u.id = o.user_id",
    "CREATE VIEW maybe AS SELECT o.id, o.user_id, u.name FROM orders o LEFT JOIN users u ON u.id = o.user_id",
    "CREATE VIEW sums AS SELECT user_id, count(*) AS n, sum(total) AS total FROM orders GROUP BY user_id",
    "CREATE VIEW ranked AS SELECT id, user_id, \
     rank() OVER (PARTITION BY user_id ORDER BY total, id) AS place FROM orders",
    "CREATE VIEW both_kinds AS SELECT user_id, id FROM orders UNION ALL SELECT user_id, order_id FROM items",
    "CREATE VIEW titled AS SELECT i.user_id, i.n, p.title FROM items i JOIN products p ON p.id = i.product",
    "CREATE VIEW keyless AS SELECT id, note FROM orders WHERE user_id <> 11",
    "CREATE VIEW above AS SELECT who AS user_id, order_id FROM bought WHERE order_id > 10",
    "CREATE VIEW renamed (a, b) AS SELECT user_id, id FROM orders",
    "CREATE VIEW guarded WITH (security_barrier) AS SELECT id, user_id FROM orders WHERE total > 5",
    "CREATE VIEW few AS SELECT id, title FROM products WHERE id > 1",
    "CREATE VIEW past AS SELECT id, user_id FROM orders WHERE at < now()",
    "CREATE VIEW quotients AS SELECT id, user_id, 10 / (id - 200) AS q FROM orders",
    "CREATE VIEW numbered AS SELECT id, row_number() OVER (ORDER BY id) AS n FROM orders",
    "CREATE VIEW counted AS SELECT count(*) AS n FROM orders",
    "CREATE VIEW notes_of AS SELECT DISTINCT note FROM orders",
    "CREATE VIEW firsts AS SELECT id, user_id FROM orders ORDER BY id LIMIT 5",
    "CREATE VIEW sorted AS SELECT id, user_id FROM orders ORDER BY id",
    "CREATE VIEW drawn AS SELECT id, user_id, random() AS r FROM orders",
    "CREATE VIEW apart AS SELECT a.id, b.name FROM orders a JOIN users b ON b.id = a.id",
    "CREATE VIEW any_product AS SELECT id FROM products LIMIT 1",
];

/// A query, and what `EXPLAIN (WEIR)` says of it.
const QUERIES: &[(&str, &str)] = &[
    ("SELECT * FROM dear ORDER BY id", "several shards"),
    ("SELECT * FROM dear WHERE user_id = 7 ORDER BY id", "shard s"),
    ("SELECT count(*), sum(total), min(note) FROM dear WHERE id > 5", "several shards"),
    (
        "SELECT d.id, u.name FROM dear d JOIN users u ON u.id = d.user_id ORDER BY d.id",
        "several shards",
    ),
    ("SELECT d.id, u.name FROM dear d JOIN users u ON u.id = d.id ORDER BY d.id", "several shards"),
    (
        "SELECT count(DISTINCT d.note), max(d.id) FROM dear AS d WHERE d.total < 12",
        "several shards",
    ),
    ("SELECT id, rank() OVER (ORDER BY total, id) FROM dear ORDER BY id", "several shards"),
    ("SELECT * FROM bought ORDER BY order_id", "several shards"),
    ("SELECT name, order_id FROM bought WHERE who = 9 ORDER BY order_id", "shard s"),
    (
        "SELECT b.order_id FROM bought b, dear d WHERE b.who = d.user_id AND d.id = b.order_id ORDER BY 1",
        "several shards",
    ),
    (
        "SELECT b.order_id, p.title FROM bought b JOIN products p ON p.id = b.order_id ORDER BY 1",
        "several shards",
    ),
    (
        "SELECT name, count(DISTINCT order_id) FROM bought GROUP BY name ORDER BY 1",
        "several shards",
    ),
    ("SELECT * FROM maybe WHERE user_id = 42 ORDER BY id", "shard s"),
    ("SELECT count(*), count(name) FROM maybe", "several shards"),
    ("SELECT * FROM sums ORDER BY user_id", "several shards"),
    ("SELECT n, total FROM sums WHERE user_id = 12", "shard s"),
    ("SELECT max(n), sum(total) FROM sums", "several shards"),
    (
        "SELECT u.name, s.n FROM users u LEFT JOIN sums s ON s.user_id = u.id ORDER BY u.id",
        "several shards",
    ),
    ("SELECT * FROM ranked WHERE place = 1 ORDER BY id", "several shards"),
    ("SELECT * FROM both_kinds WHERE user_id = 5 ORDER BY id", "shard s"),
    ("SELECT user_id, count(*) FROM both_kinds GROUP BY user_id ORDER BY 1", "several shards"),
    ("SELECT title, sum(n) FROM titled GROUP BY title ORDER BY 1", "several shards"),
    ("SELECT count(*) FROM keyless WHERE note IS NULL", "several shards"),
    ("SELECT k.id FROM keyless k JOIN users u ON u.id = k.id ORDER BY 1", "several shards"),
    ("SELECT * FROM above WHERE user_id = 3 ORDER BY order_id", "shard s"),
    ("SELECT count(*) FROM above", "several shards"),
    ("SELECT b FROM renamed WHERE a = 8 ORDER BY b", "shard s"),
    ("SELECT r.x FROM renamed AS r (y, x) WHERE r.y = 8 ORDER BY x", "shard s"),
    ("SELECT count(*) FROM guarded WHERE id % 2 = 0", "several shards"),
    ("SELECT * FROM few ORDER BY id", "any shard"),
    (
        "SELECT t.user_id, f.title FROM few f JOIN titled t ON t.title = f.title ORDER BY t.n",
        "several shards",
    ),
    ("SELECT id FROM past WHERE user_id = 6 ORDER BY id", "shard s"),
    ("SELECT id FROM quotients WHERE q > -1 ORDER BY id", "several shards"),
    (
        "SELECT id FROM users u WHERE EXISTS (SELECT FROM dear d WHERE d.user_id = u.id AND d.total > 11) ORDER BY id",
        "several shards",
    ),
    ("SELECT id FROM users WHERE id IN (SELECT order_id FROM above) ORDER BY id", "several shards"),
    ("WITH w AS (SELECT * FROM dear) SELECT count(*) FROM w WHERE user_id = 4", "shard s"),
    ("SELECT id, user_id FROM sorted WHERE user_id = 13", "shard s"),
];

fn heard(client: &mut Raw, text: &str) -> String {
    client.take_transcript();
    client.query(text);
    client.take_transcript()
}

fn made() -> World {
    let world = world("", SETTINGS);
    let (mut weir, mut plain) = (world.client(), world.plain());
    for client in [&mut weir, &mut plain] {
        VIEWS.iter().for_each(|view| check_ok(client, view));
    }
    world
}

#[track_caller]
fn same(weir: &mut Raw, plain: &mut Raw, text: &str) {
    let (ours, theirs) = (heard(weir, text), heard(plain, text));
    assert_eq!(ours, theirs, "{text}");
}

#[test]
fn views_whose_rows_are_of_one_shard_are_read_like_tables() {
    let world = made();
    let (mut weir, mut plain) = (world.client(), world.plain());
    let mut wrong = Vec::new();
    for (query, goes) in QUERIES {
        let (ours, theirs) = (heard(&mut weir, query), heard(&mut plain, query));
        let told = heard(&mut weir, &format!("EXPLAIN (WEIR) {query}"));
        if ours != theirs || !told.contains(goes) {
            wrong.push(format!("{query}\nweir:\n{ours}\nPostgreSQL:\n{theirs}\n{told}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    what_a_view_cannot_do(&mut weir);
    writes_read_views(&mut weir, &mut plain);
    who_may_read_the_view_reads_it(&world, &mut weir, &mut plain);
    definitions_change(&world, &mut weir, &mut plain);
    assert!(world.is_clean());
}

fn what_a_view_cannot_do(weir: &mut Raw) {
    let mut wrong = Vec::new();
    for (text, words) in [
        ("SELECT * FROM numbered", "windows"),
        ("SELECT * FROM counted", "groups or aggregates"),
        ("SELECT * FROM notes_of", "DISTINCT"),
        ("SELECT * FROM firsts", "LIMIT"),
        ("SELECT * FROM firsts WHERE user_id = 1", "LIMIT"),
        ("SELECT * FROM sorted", "ORDER BY"),
        ("SELECT * FROM drawn", "volatile"),
        ("SELECT count(*) FROM past", "what time it is"),
        ("SELECT * FROM apart", "rows of several shards may make one row"),
        ("SELECT * FROM any_product", "another answer"),
        ("SELECT q.q FROM quotients q JOIN users u ON u.id = q.id", "may fail"),
        ("INSERT INTO dear (id, user_id) VALUES (1, 1)", "is a view"),
        ("UPDATE dear SET note = 'x' WHERE user_id = 1", "is a view"),
        ("DELETE FROM dear WHERE user_id = 1", "is a view"),
        ("COPY dear TO STDOUT", "is a view"),
        ("CREATE MATERIALIZED VIEW kept AS SELECT * FROM orders", "MATERIALIZED"),
        ("CREATE MATERIALIZED VIEW kept AS SELECT count(*) FROM dear", "MATERIALIZED"),
        ("CREATE MATERIALIZED VIEW kept AS SELECT * FROM orders WITH NO DATA", "MATERIALIZED"),
        ("CREATE TABLE notes AS SELECT user_id FROM dear", ""),
    ] {
        let heard = heard(weir, text);
        if !heard.contains("C=0A000") || !heard.contains(words) {
            wrong.push(format!("{text}: {heard}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn writes_read_views(weir: &mut Raw, plain: &mut Raw) {
    for text in [
        "BEGIN",
        "UPDATE users u SET name = 'dear' FROM dear d WHERE d.user_id = u.id AND d.total > 10",
        "SELECT id FROM users WHERE name = 'dear' ORDER BY id",
        "DELETE FROM items i USING sums s WHERE s.user_id = i.user_id AND s.n > 2",
        "SELECT count(*) FROM items",
        "INSERT INTO items (user_id, n) SELECT user_id, 77 FROM sums WHERE n > 1",
        "SELECT count(*) FROM items",
        // What the transaction has written is in the view.
        "INSERT INTO orders (id, user_id, total) VALUES (500, 17, 99)",
        "SELECT id FROM dear WHERE total = 99",
        "SELECT max(total) FROM sums",
        "COPY (SELECT id, note FROM dear ORDER BY id) TO STDOUT",
        "DECLARE c CURSOR FOR SELECT * FROM sums ORDER BY user_id",
        "FETCH 5 FROM c",
        "ROLLBACK",
    ] {
        same(weir, plain, text);
    }
}

/// The view's owner reads the table.
fn who_may_read_the_view_reads_it(world: &World, weir: &mut Raw, plain: &mut Raw) {
    let role = "CREATE ROLE reader LOGIN";
    world.cluster.on_every_shard(role);
    check_ok(plain, role);
    for text in
        ["GRANT SELECT ON dear, bought TO reader", "GRANT SELECT (id, mood) ON users TO reader"]
    {
        check_ok(weir, text);
        check_ok(plain, text);
    }
    let login = |port| Raw::connect(port, &[("user", "reader"), ("database", DATABASE)]);
    let (mut ours, mut theirs) = (login(world.weir.port()), {
        plain.query("ALTER ROLE reader SUPERUSER").query("ALTER ROLE reader NOSUPERUSER");
        plain.query("SET SESSION AUTHORIZATION reader");
        std::mem::replace(plain, world.plain())
    });
    for text in [
        "SELECT id, total FROM dear WHERE user_id = 7 ORDER BY id",
        "SELECT count(*), sum(total) FROM dear",
        "SELECT d.id, b.name FROM dear d JOIN bought b ON b.who = d.id ORDER BY d.id, b.order_id",
        "SELECT d.id, u.mood FROM dear d JOIN users u ON u.id = d.id ORDER BY 1",
    ] {
        same(&mut ours, &mut theirs, text);
    }
    for text in
        ["SELECT count(*) FROM orders", "SELECT count(*) FROM sums", "SELECT name FROM users"]
    {
        assert!(heard(&mut ours, text).contains("C=42501"), "{text}");
    }
}

/// Plans that were made before are made anew.
fn definitions_change(world: &World, weir: &mut Raw, plain: &mut Raw) {
    let mut other = world.client();
    let query = "SELECT count(*) FROM dear";
    let keyed = "SELECT id FROM dear WHERE user_id = 21 ORDER BY id";
    for text in [
        "CREATE OR REPLACE VIEW dear AS SELECT id, user_id, total, note FROM orders WHERE total > 9",
        // Not of one shard any more.
        "CREATE OR REPLACE VIEW dear AS SELECT id, user_id, total, note FROM orders LIMIT 3",
        "CREATE OR REPLACE VIEW dear AS SELECT id, 22 - user_id AS user_id, total, note FROM orders",
        "CREATE OR REPLACE VIEW dear AS SELECT o.id, u.id AS user_id, total, note \
         FROM orders o JOIN users u ON u.id = o.user_id",
    ] {
        for query in [query, keyed] {
            heard(weir, query);
            heard(&mut other, query);
        }
        // `bought` and others do not read it.
        check_ok(weir, text);
        check_ok(plain, text);
        for query in [query, keyed] {
            let theirs = heard(plain, query);
            for client in [&mut *weir, &mut other] {
                let ours = heard(client, query);
                match text.contains("LIMIT") {
                    true => assert!(ours.contains("C=0A000"), "{text}; {query}: {ours}"),
                    false => assert_eq!(ours, theirs, "{text}; {query}"),
                }
            }
        }
    }
    // In the transaction that makes it.
    for text in [
        "BEGIN",
        "CREATE VIEW made AS SELECT id, user_id FROM orders WHERE id < 20",
        "SELECT count(*) FROM made",
        "SELECT id FROM made WHERE user_id = 4",
        "CREATE OR REPLACE VIEW made AS SELECT id, user_id FROM orders WHERE id < 10",
        "SELECT count(*) FROM made",
        "ROLLBACK",
        "SELECT count(*) FROM made",
        "DROP VIEW dear",
        "SELECT count(*) FROM dear",
    ] {
        let (ours, theirs) = (heard(weir, text), heard(plain, text));
        match theirs.starts_with("E ") {
            true => assert!(ours.contains("C=42P01"), "{text}: {ours}"),
            false => assert_eq!(ours, theirs, "{text}"),
        }
    }
}
