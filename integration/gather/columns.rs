//! What is asked of the shards for a table: columns that the query can need, and none besides.
use super::{SETTINGS, check_ok, same, world};
use crate::cluster::DATABASE;
use crate::raw::Raw;

#[test]
fn columns_that_a_query_does_not_need_need_no_right() {
    let world = world("", SETTINGS);
    let rights = "CREATE ROLE bob LOGIN; GRANT SELECT (name, mood) ON users TO bob; \
                  GRANT SELECT (total, at) ON orders TO bob; GRANT SELECT ON products TO bob";
    world.cluster.on_every_shard(rights);
    world.oracle.sql(DATABASE, rights).unwrap();
    let connect = |port| Raw::connect(port, &[("user", "bob"), ("database", DATABASE)]);
    let (mut weir, mut plain) = (connect(world.weir.port()), connect(world.oracle.port()));
    for text in [
        "SELECT name, count(DISTINCT mood) FROM users GROUP BY name ORDER BY name",
        "SELECT name FROM users UNION SELECT title FROM products WHERE id > 2 ORDER BY name",
        "SELECT count(DISTINCT u.name), max(p.id) FROM users u JOIN products p ON p.title = u.name",
        "SELECT count(DISTINCT name) FROM users WHERE EXISTS (SELECT 1 FROM products WHERE title > name)",
        "SELECT count(DISTINCT total) FROM orders",
    ] {
        let ask = |client: &mut Raw| {
            client.take_transcript();
            client.query(text);
            client.take_transcript()
        };
        let (ours, theirs) = (ask(&mut weir), ask(&mut plain));
        assert!(!theirs.contains("C=42501"), "{text}: {theirs}");
        assert_eq!(ours, theirs, "{text}");
    }
    for text in
        ["SELECT count(DISTINCT born) FROM users", "SELECT count(DISTINCT u.id) FROM users u"]
    {
        weir.take_transcript();
        weir.query(text);
        let heard = weir.take_transcript();
        assert!(heard.contains("C=42501"), "{text}: {heard}");
    }
    // Rows that are grouped by the whole primary key may show other columns.
    same(
        &world,
        &[
            "SELECT u.id, u.name, count(DISTINCT o.total) FROM users u JOIN orders o ON o.id = u.id GROUP BY u.id ORDER BY u.id",
            "SELECT p.id, p.title, count(DISTINCT i.n) FROM products p JOIN items i ON i.product = p.id GROUP BY 1 ORDER BY 1",
        ],
    );
}

#[test]
fn what_a_query_leaves_out_does_not_fail() {
    let world = world("", SETTINGS);
    same(
        &world,
        &[
            "SELECT count(DISTINCT z) FROM (SELECT id, 1 / (id - 3) z FROM users) x WHERE id <> 3",
            "SELECT count(DISTINCT id) FROM (SELECT id, 1 / (id - 3) z FROM users) x",
            "WITH x AS (SELECT id, name::int z, name FROM users) SELECT count(DISTINCT z) FROM x WHERE name IS NULL",
            "SELECT count(DISTINCT z) FROM (SELECT user_id, sum(total * 2) z FROM orders GROUP BY user_id) x",
        ],
    );
}

#[test]
fn a_whole_row_does_not_show_the_temporary_tables_type() {
    let world = world("", SETTINGS);
    let mut weir = world.client();
    for text in [
        "SELECT pg_typeof(u) FROM users u JOIN orders o ON o.id = u.id",
        "SELECT array_agg(o)::text FROM orders o JOIN users u ON o.id = u.id",
        "SELECT DISTINCT orders FROM orders JOIN users ON orders.id = users.id",
    ] {
        weir.take_transcript();
        weir.query(text);
        let heard = weir.take_transcript();
        assert!(heard.contains("C=0A000") && heard.contains("whole row"), "{text}: {heard}");
        assert!(!heard.contains("weir_1"), "{text}: {heard}");
    }
    same(
        &world,
        &[
            "SELECT count(o), count(DISTINCT u.name) FROM users u LEFT JOIN orders o ON o.id = u.id + 100",
            "SELECT count(DISTINCT u.name) FROM users u LEFT JOIN orders o ON o.id = u.id + 100 WHERE o IS NULL",
            "SELECT to_jsonb(u) FROM users u JOIN items i ON i.n = u.id ORDER BY u.id",
            "SELECT DISTINCT mood FROM users JOIN items i ON i.n = id ORDER BY mood",
            "SELECT count(DISTINCT u.id) AS u FROM users u ORDER BY u",
        ],
    );
    check_ok(&mut weir, "SELECT 1");
}
