//! Writes inside WITH: of one shard as PostgreSQL does them, or refused in words that name the part.
use super::Stage;

#[test]
fn writes_inside_with_are_done_where_all_is_on_one_shard() {
    let stage = Stage::new();
    stage.check(|c| {
        c.query(
            "WITH moved AS (DELETE FROM orders WHERE user_id = 3 AND id < 2 RETURNING *) \
             INSERT INTO visits (user_id, number, page) SELECT user_id, 'm' || id, note FROM moved",
        );
        c.query(
            "WITH moved AS (DELETE FROM orders WHERE user_id = 6 AND id > 3 RETURNING *) \
             INSERT INTO orders SELECT user_id, id + 100, note, amount, at FROM moved \
             RETURNING user_id, id, note",
        );
        c.query(
            "WITH gone AS (DELETE FROM visits WHERE user_id = 5 RETURNING page), \
             late AS (UPDATE orders SET note = 'late' WHERE user_id = 5 AND id > 3 RETURNING id) \
             SELECT (SELECT count(*) FROM gone), (SELECT sum(id) FROM late)",
        );
        c.query(
            "WITH made AS (INSERT INTO orders (user_id, id, note) VALUES (4, 70, 'a'), (4, 71, 'b') \
             ON CONFLICT DO NOTHING RETURNING *) SELECT user_id, id, note FROM made ORDER BY id",
        );
        c.query(
            "WITH up AS (UPDATE users SET n = 1 WHERE id = 77 RETURNING id) \
             INSERT INTO users (id, n) SELECT 77, 2 WHERE NOT EXISTS (SELECT FROM up)",
        );
        c.query(
            "WITH gone AS (DELETE FROM orders o WHERE o.user_id = 2 RETURNING o.user_id AS u, o.id) \
             UPDATE users SET n = n + (SELECT count(*) FROM gone) FROM gone \
             WHERE users.id = gone.u AND users.id = 2 RETURNING users.id, n",
        );
        c.query(
            "WITH gone AS (DELETE FROM orders WHERE user_id = 1 RETURNING *) DELETE FROM visits \
             USING gone WHERE visits.user_id = gone.user_id AND visits.user_id = 1 RETURNING page",
        );
        c.query(
            "WITH wrong AS (UPDATE orders SET amount = 5000 WHERE user_id = 6 RETURNING *) \
             INSERT INTO visits (user_id) SELECT user_id FROM wrong",
        );
        c.query(
            "WITH a AS (UPDATE orders SET note = 'a' WHERE user_id = 6 RETURNING user_id) \
             MERGE INTO users u USING (SELECT 6::bigint AS id) s ON u.id = s.id AND u.id = 6 \
             WHEN MATCHED THEN UPDATE SET name = 'merged'",
        );
    });
    // Parameters, in blocks, undone, and in portions.
    stage.check(|c| {
        let text = "WITH moved AS (DELETE FROM orders WHERE user_id = $1 AND id >= $2 RETURNING *) \
                    INSERT INTO visits (user_id, number, page) \
                    SELECT user_id, id::text, $3 || coalesce(note, '') FROM moved RETURNING *";
        c.parse("w", text, &[]).describe(b'S', "w");
        c.bind("", "w", &[Some("6"), Some("2"), Some("/")]).describe(b'P', "").execute("", 0).sync();
        c.query("BEGIN").bind("", "w", &[Some("5"), Some("1"), None]).execute("", 0).sync();
        c.query("SELECT count(*) FROM visits WHERE user_id = 5").query("ROLLBACK");
        c.query("BEGIN").bind("p", "w", &[Some("5"), Some("0"), Some("x")]).execute("p", 2);
        c.execute("p", 0).sync().query("COMMIT");
        c.bind("", "w", &[None, Some("0"), Some("x")]).execute("", 0).sync();
        let text = "WITH gone AS (DELETE FROM visits WHERE user_id = $1 RETURNING number) \
                    SELECT count(*) FROM gone";
        c.parse("", text, &[]).bind("", "", &[Some("4")]).execute("", 0).sync();
        c.query("PREPARE e (bigint) AS WITH gone AS (DELETE FROM orders WHERE user_id = $1 RETURNING id) \
                 INSERT INTO users (id, n) SELECT $1, count(*) FROM gone ON CONFLICT (id) \
                 DO UPDATE SET n = excluded.n RETURNING id, n");
        c.query("EXECUTE e (4)").query("EXECUTE e (4)").query("DEALLOCATE e");
    });
}

#[test]
fn writes_inside_with_over_several_shards_are_refused_in_words_that_name_the_part() {
    let stage = Stage::new();
    let all = "SELECT (SELECT count(*) FROM orders), (SELECT sum(n) FROM users), (SELECT count(*) FROM visits)";
    let before = stage.on_shards(all);
    for (statement, words) in [
        (
            "WITH gone AS (DELETE FROM orders RETURNING user_id) UPDATE users SET n = 0 FROM gone \
             WHERE gone.user_id = users.id AND users.id = 1",
            "the statement writes orders inside WITH",
        ),
        (
            "WITH gone AS (DELETE FROM orders WHERE user_id = 1 RETURNING user_id) \
             UPDATE users SET n = 0",
            "no condition limits users to one shard",
        ),
        (
            "WITH gone AS (DELETE FROM visits WHERE page = '/1' RETURNING *) SELECT * FROM gone",
            "add user_id = … as a condition on visits itself",
        ),
        (
            "WITH gone AS (DELETE FROM orders RETURNING *) INSERT INTO orders SELECT * FROM gone",
            "orders",
        ),
        (
            "WITH gone AS (DELETE FROM orders WHERE user_id = 1 RETURNING *) \
             INSERT INTO orders (user_id, id) SELECT 2, id FROM gone",
            "user_id = 2",
        ),
        (
            "WITH gone AS (DELETE FROM numbers RETURNING n) SELECT * FROM gone",
            "numbers is a reference table",
        ),
        (
            "WITH gone AS (DELETE FROM orders WHERE user_id IN (1, 2) RETURNING *) \
             SELECT count(*) FROM gone",
            "user_id = 2",
        ),
    ] {
        let heard = stage.client().query(statement).take_transcript();
        assert!(heard.contains("C=0A000") && heard.contains(" H="), "{statement}: {heard}");
        assert!(heard.contains(words), "{statement}: {heard}");
    }
    assert_eq!(stage.on_shards(all), before);
}
