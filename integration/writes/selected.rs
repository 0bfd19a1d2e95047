//! INSERT … SELECT whose rows do not stay on their shard.
use super::Stage;

#[test]
fn selected_rows_are_inserted_where_they_belong() {
    let stage = Stage::new();
    stage.check(|c| {
        c.query("INSERT INTO orders (user_id, id, note) SELECT n + 20, n, word FROM numbers");
        c.query("INSERT INTO orders (user_id, id) SELECT id + 100, n FROM users RETURNING user_id, id");
        c.query("INSERT INTO users (id, name, n, seen) SELECT user_id + 500, note, id, now() FROM orders WHERE id = 0 RETURNING id, name, n");
        c.query("INSERT INTO orders (user_id, id, amount) SELECT max(user_id), count(*), sum(amount) FROM orders");
        c.query(
            "INSERT INTO orders AS o (user_id, id, note) SELECT g, 1, 'g' || g FROM generate_series(1, 10) g \
             ON CONFLICT (user_id, id) DO UPDATE SET note = o.note || excluded.note RETURNING o.user_id, o.note",
        );
        c.query("INSERT INTO orders (id, user_id) SELECT id, user_id + 1 FROM orders ON CONFLICT DO NOTHING");
        c.query("INSERT INTO orders (user_id, id, note, amount) (SELECT 8.0, 400, 'x', 2 UNION ALL SELECT 9, 401.6, 'y', 1.005)");
        c.query("INSERT INTO orders SELECT user_id + 1, id + 600 FROM orders WHERE user_id IN (1, 2)");
        c.query("INSERT INTO orders (user_id, id) VALUES (1, 700)");
        c.query("INSERT INTO orders (user_id, id) SELECT user_id + 1, id FROM orders WHERE false RETURNING *");
        c.query("INSERT INTO visits (page, number, user_id) SELECT 's', word, CASE n WHEN 2 THEN 5 END FROM numbers RETURNING *");
        c.query("SELECT page FROM visits WHERE user_id IS NULL AND number = 'three'");
        c.query("SELECT * FROM orders WHERE user_id = 8 ORDER BY id");
    });
    stage.check(|c| {
        c.query("BEGIN").query("DELETE FROM orders WHERE id > 3");
        c.query("INSERT INTO orders (user_id, id) SELECT user_id + 1, id + 800 FROM orders").query("COMMIT");
        let text = "INSERT INTO orders (user_id, id, note) SELECT n + $1, $2, $3 FROM numbers WHERE n < $4 RETURNING *";
        c.parse("s", text, &[]).describe(b'S', "s");
        c.bind("", "s", &[Some("30"), Some("900"), None, Some("3")]).describe(b'P', "").execute("", 0).sync();
        c.bind_as("", "s", &[0, 0, 0, 1], &[Some(b"40"), Some(b"901"), Some(b"x"), Some(&[0, 0, 0, 9])], &[1]);
        c.execute("", 0).sync();
    });
}

#[test]
fn selected_rows_that_cannot_be_inserted_are_postgresqls_errors() {
    let stage = Stage::new();
    stage.check(|c| {
        c.query("INSERT INTO orders (user_id, id, amount) SELECT id + 1, 900, 5000 FROM users WHERE id = 3");
        c.query("INSERT INTO orders (user_id, id) SELECT user_id + 1, 0 FROM orders WHERE user_id = 2 AND id < 1");
        c.query("INSERT INTO orders (user_id, id, note) SELECT id + 1, 1 FROM users");
        c.query("INSERT INTO orders (user_id, id) SELECT id + 1, name FROM users");
        c.query("INSERT INTO orders (user_id, id) SELECT n, 1 / (n - n) FROM numbers");
        c.query("INSERT INTO orders (user_id, id) SELECT NULL, n FROM numbers");
        c.query("INSERT INTO orders (user_id, id) SELECT n, nothing FROM numbers");
        c.query("SELECT 1; INSERT INTO orders (user_id, id) SELECT n + 1, n + 50 FROM numbers; SELECT 1 / 0");
    });
    let mut client = stage.client();
    let heard = client
        .query("INSERT INTO orders (user_id, id, note) SELECT g, 1, repeat('x', 1000000) FROM generate_series(10, 90) g")
        .take_transcript();
    assert!(heard.contains("C=53400") && heard.contains("limits.merge_size"), "{heard}");
    for refused in [
        "INSERT INTO users (id, name) SELECT user_id, note FROM orders LIMIT 3",
        "INSERT INTO orders (id) SELECT id FROM orders",
        "INSERT INTO orders (user_id, id) SELECT n + 0.6, n FROM numbers",
        "WITH w AS (SELECT 1 AS a) INSERT INTO orders (user_id, id) SELECT a + id, 3 FROM w, users",
    ] {
        let heard = client.query(refused).take_transcript();
        assert!(heard.contains("C=0A000") && heard.contains(" H="), "{refused}: {heard}");
    }
    stage.compare_rows();
}
