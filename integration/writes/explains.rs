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
    let heard =
        client.query("EXPLAIN UPDATE orders SET note = 'x' WHERE user_id = 1").take_transcript();
    assert!(heard.contains("Update on orders") && !heard.contains("Weir"), "{heard}");
    assert_eq!(stage.on_shards("SELECT count(*), sum(amount) FROM orders"), before);
    analyze_runs_the_write(&stage);
    what_cannot_be_run_is_refused(&stage);
}

/// On both sides, so the rows afterwards are the same.
fn analyze_runs_the_write(stage: &Stage) {
    for (statement, words) in [
        (
            "UPDATE orders SET note = 'explained' WHERE id > 3",
            &["Weir Write", "Update on orders", "actual time=", "Shard: s2", "Time: "][..],
        ),
        ("DELETE FROM orders WHERE user_id IN (1, 2) AND id = 1", &["Task Count: 2"]),
        ("INSERT INTO orders (user_id, id) VALUES (1, 80), (2, 81), (4, 82)", &["Rows: 2"]),
        (
            "INSERT INTO orders (user_id, id) VALUES (1, 80), (2, 83) ON CONFLICT (user_id, id) \
             DO UPDATE SET note = 'again' RETURNING id",
            &["Conflict Resolution: UPDATE"],
        ),
        ("UPDATE users SET seen = now() WHERE n > 10", &["Update on users"]),
        ("UPDATE numbers SET word = word || '!' WHERE n < 3", &["each shard its copy"]),
        (
            "MERGE INTO numbers t USING numbers s ON t.n = s.n WHEN MATCHED THEN UPDATE SET word = 'm'",
            &["Merge on numbers"],
        ),
        (
            "MERGE INTO users u USING orders o ON u.id = o.user_id AND o.id = 0 \
             WHEN MATCHED THEN UPDATE SET n = u.n + 1",
            &["Merge on users"],
        ),
    ] {
        let explain = format!("EXPLAIN (ANALYZE) {statement}");
        let heard = stage.client().query(&explain).take_transcript();
        stage.plain().query(&explain);
        for word in words {
            assert!(heard.contains(word), "{statement}: {word}: {heard}");
        }
        assert!(heard.contains("C EXPLAIN"), "{statement}: {heard}");
        stage.compare_rows();
    }
    // With parameters, in a block that is undone, and what fails on one shard.
    for mut client in [stage.client(), stage.plain()] {
        let update = "EXPLAIN (ANALYZE, FORMAT JSON) UPDATE orders SET note = $1 WHERE id > $2";
        client.parse("", update, &[]).bind("", "", &[Some("p"), Some("4")]).execute("", 0).sync();
        client.query("BEGIN").query("EXPLAIN ANALYZE DELETE FROM orders").query("ROLLBACK");
        client.query("BEGIN").query("EXPLAIN ANALYZE DELETE FROM visits WHERE page = '/1'");
        client.query("COMMIT").take_transcript();
        client.query("EXPLAIN ANALYZE UPDATE orders SET note = 'no', amount = 1 / (id - 6)");
        let heard = client.take_transcript();
        assert!(heard.contains("C=22012") && heard.ends_with("Z I"), "{heard}");
        client.query("BEGIN READ ONLY").query("EXPLAIN ANALYZE UPDATE orders SET note = 'no'");
        assert!(client.query("ROLLBACK").take_transcript().contains("C=25006"));
    }
    stage.compare_rows();
}

fn what_cannot_be_run_is_refused(stage: &Stage) {
    for statement in [
        "INSERT INTO numbers VALUES (50, 'x')",
        "UPDATE orders SET user_id = user_id + 1",
        "INSERT INTO orders (user_id, id) SELECT n + 20, n FROM numbers",
    ] {
        let explain = format!("EXPLAIN ANALYZE {statement}");
        let heard = stage.client().query(&explain).take_transcript();
        assert!(heard.contains("C=0A000") && heard.contains(" H="), "{statement}: {heard}");
    }
    stage.compare_rows();
}
