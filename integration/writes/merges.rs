//! MERGE into reference tables: all copies alike, or none changed.
use super::Stage;
use crate::weir::wait_for;

#[test]
fn a_merge_into_a_reference_table_changes_all_copies_alike() {
    let stage = Stage::new();
    stage.check(|c| {
        c.query(
            "MERGE INTO numbers t USING (SELECT n + 1 AS n, word FROM numbers) s ON t.n = s.n \
             WHEN MATCHED THEN UPDATE SET word = s.word || '+' \
             WHEN NOT MATCHED THEN INSERT (n, word) VALUES (s.n, 'new')",
        );
        c.query("MERGE INTO numbers USING numbers s ON false WHEN MATCHED THEN DELETE");
        c.query(
            "MERGE INTO numbers AS t USING numbers s ON t.n = s.n AND t.n = 2 \
             WHEN MATCHED AND t.word LIKE 'x%' THEN DO NOTHING WHEN MATCHED THEN DELETE",
        );
        c.query(
            "WITH s AS (SELECT 3 AS n) MERGE INTO numbers t USING s ON t.n = s.n \
             WHEN MATCHED THEN UPDATE SET word = (SELECT max(word) FROM numbers)",
        );
        // Twice the same row, and a duplicate.
        c.query(
            "MERGE INTO numbers t USING numbers s ON t.n = 3 WHEN MATCHED THEN UPDATE SET word = s.word",
        );
        c.query(
            "MERGE INTO numbers t USING numbers s ON false \
             WHEN NOT MATCHED THEN INSERT (n, word) VALUES (1, s.word)",
        );
        c.query("MERGE INTO numbers t USING numbers s ON t.nothing = 1 WHEN MATCHED THEN DELETE");
    });
    stage.check(|c| {
        let text = "MERGE INTO numbers t USING (SELECT $1::int AS n, $2::text AS word) s ON t.n = s.n \
                    WHEN MATCHED THEN UPDATE SET word = s.word \
                    WHEN NOT MATCHED THEN INSERT (n, word) VALUES (s.n, s.word)";
        c.parse("m", text, &[]).describe(b'S', "m");
        for values in [[Some("3"), Some("a")], [Some("30"), Some("b")], [Some("31"), None]] {
            c.bind("", "m", &values).describe(b'P', "").execute("", 0).execute("", 0).sync();
        }
        c.query("BEGIN").bind("", "m", &[Some("40"), Some("x")]).execute("", 0).sync();
        c.query("SELECT count(*) FROM numbers").query("SAVEPOINT a");
        c.query("MERGE INTO numbers t USING numbers s ON t.n = s.n WHEN MATCHED THEN DELETE");
        c.query("ROLLBACK TO a").query("COMMIT");
        c.query("BEGIN");
        c.query("MERGE INTO numbers t USING numbers s ON t.n = s.n WHEN MATCHED THEN DELETE");
        c.query("ROLLBACK");
    });
    one_time_on_all_copies(&stage);
    writers_wait_for_each_other(&stage);
    what_copies_would_not_agree_on_is_refused(&stage);
}

fn one_time_on_all_copies(stage: &Stage) {
    let mut client = stage.client();
    client.query(
        "MERGE INTO words w USING (SELECT 1 AS one) s ON w.word = 'timed' WHEN NOT MATCHED THEN INSERT \
         (id, word, made, token) VALUES (900, 'timed', now(), NULL)",
    );
    let heard = client.take_transcript();
    assert!(heard.contains("C MERGE 1"), "{heard}");
    let mut times = stage.on_shards("SELECT made FROM words WHERE word = 'timed'");
    times.dedup();
    assert_eq!(times.len(), 1, "{times:?}");
    client.query("DELETE FROM words WHERE id = 900");
    stage.compare_rows();
}

fn writers_wait_for_each_other(stage: &Stage) {
    let (mut one, mut other) = (stage.client(), stage.client());
    let add = "MERGE INTO numbers t USING (SELECT max(n) + 1 AS n FROM numbers) s ON t.n = s.n \
               WHEN NOT MATCHED THEN INSERT (n, word) VALUES (s.n, 'next')";
    one.query("BEGIN").query(add);
    other.ask(add);
    let waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted";
    wait_for("the second writer waits", || stage.on_shards(waits).iter().any(|count| count == "1"));
    one.query("COMMIT");
    other.await_ready();
    for heard in [one.take_transcript(), other.take_transcript()] {
        assert!(heard.contains("C MERGE 1"), "{heard}");
    }
    let mut plain = stage.plain();
    plain.query(add).query(add);
    stage.compare_rows();
}

fn what_copies_would_not_agree_on_is_refused(stage: &Stage) {
    for statement in [
        "MERGE INTO numbers t USING orders o ON t.n = o.id WHEN MATCHED THEN DELETE",
        "MERGE INTO numbers t USING numbers s ON t.n = s.n WHEN MATCHED THEN UPDATE SET word = random()",
        "MERGE INTO words w USING numbers s ON w.word = s.word \
         WHEN NOT MATCHED THEN INSERT (word) VALUES (s.word)",
    ] {
        let heard = stage.client().query(statement).take_transcript();
        assert!(heard.contains("C=0A000") && heard.contains(" H="), "{statement}: {heard}");
    }
    // A default that weir does not know to be another value each time.
    let heard = stage
        .client()
        .query(
            "MERGE INTO words w USING (SELECT 1 AS one) s ON false WHEN NOT MATCHED THEN INSERT \
             (id, word, made) VALUES (901, 'token', NULL)",
        )
        .take_transcript();
    assert!(heard.contains("C=XX001") && heard.contains(" H="), "{heard}");
    stage.compare_rows();
}
