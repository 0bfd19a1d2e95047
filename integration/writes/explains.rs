//! EXPLAIN of writes over several shards.
use super::Stage;

#[test]
fn how_a_write_over_several_shards_is_done_is_explained() {
    let stage = Stage::new();
    let before = stage.on_shards("SELECT count(*), sum(amount) FROM orders");
    let mut client = stage.client();
    for (statement, words) in [
        (
            "UPDATE orders SET note = 'x' WHERE id > $1",
            &["Weir Write", "each shard its own rows", "Update on orders", "Shard: s2"][..],
        ),
        ("DELETE FROM orders WHERE user_id IN (1, 2)", &["Task Count: 2", "Delete on orders"]),
        (
            "INSERT INTO orders (user_id, id) VALUES (1, 50), (2, 51), (4, 52)",
            &["its rows of the list", "Rows: 2", "VALUES (1, 50), (4, 52)"],
        ),
        (
            "UPDATE orders SET user_id = user_id + 1",
            &["inserted where they belong", "Delete on orders"],
        ),
        ("UPDATE numbers SET word = 'x'", &["each shard its copy", "Task Count: 3"]),
        (
            "INSERT INTO numbers VALUES (9, 'x')",
            &["the home shard", "Task Count: 1", "Insert on numbers"],
        ),
        (
            "MERGE INTO users u USING orders o ON u.id = o.user_id WHEN MATCHED THEN DELETE",
            &["Merge on users"],
        ),
    ] {
        let heard = match statement.contains('$') {
            false => client.query(&format!("EXPLAIN {statement}")).take_transcript(),
            true => {
                client.parse("", &format!("EXPLAIN {statement}"), &[]).bind("", "", &[Some("1")]);
                client.execute("", 0).sync().take_transcript()
            }
        };
        for word in words {
            assert!(heard.contains(word), "{statement}: {word}: {heard}");
        }
    }
    let heard =
        client.query("EXPLAIN (FORMAT JSON) UPDATE orders SET note = 'x'").take_transcript();
    assert!(heard.contains("Weir Write") && heard.contains("Server Plan"), "{heard}");
    let heard = client.query("EXPLAIN ANALYZE UPDATE orders SET note = 'x'").take_transcript();
    assert!(heard.contains("C=0A000") && heard.contains(" H="), "{heard}");
    let heard =
        client.query("EXPLAIN UPDATE orders SET note = 'x' WHERE user_id = 1").take_transcript();
    assert!(heard.contains("Update on orders") && !heard.contains("Weir"), "{heard}");
    assert_eq!(stage.on_shards("SELECT count(*), sum(amount) FROM orders"), before);
}
