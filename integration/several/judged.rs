//! What is wrong with a statement is told as PostgreSQL tells it, whatever weir would have done with it;
//! portals and settings, too, go wrong as there.
use super::Stage;
use crate::raw::Raw;

/// Each is wrong, and no query of one shard.
const WRONG: &[&str] = &[
    "SELEC id FROM orders",
    "SELECT * FROM orders WHERE",
    "SELECT id FROM orders GROUP id",
    "SELECT id, FROM orders",
    "SELECT 'open FROM orders",
    "SELECT nofunc(id) FROM orders",
    "SELECT id FROM orders WHERE nofunc(note)",
    "SELECT lower(id, id) FROM orders",
    "SELECT nothing FROM orders",
    "SELECT o.nothing FROM orders o, numbers",
    "SELECT user_id + note FROM orders WHERE id::regclass IS NULL",
    "SELECT id FROM orders FOR UPDATE OF nobody",
    "SELECT n FROM orders o JOIN numbers n USING (nothing)",
    "SELECT * FROM nosuch",
    "SELECT * FROM orders, nosuch.nosuch",
    "SELECT id FROM orders WHERE id = (SELECT max(nothing) FROM numbers) FOR UPDATE",
    "SELECT * FROM orders TABLESAMPLE nomethod (10)",
    "SELECT count(*) FROM orders TABLESAMPLE system (10) WHERE nothing > 1",
    "SELECT ctid, nothing FROM orders",
    "UPDATE orders SET nothing = 1",
    "UPDATE orders SET note = nofunc(note)",
    "DELETE FROM orders WHERE nothing = 1",
    "INSERT INTO orders (id, user_id, nothing) VALUES (1, 2, 3)",
    "INSERT INTO orders VALUES (1, nofunc(2), 'x')",
    "MERGE INTO orders USING numbers ON nothing = n WHEN MATCHED THEN DELETE",
    "EXPLAIN SELECT nothing FROM orders",
    "EXPLAIN SELEC",
    "CREATE TABLE broken (id int",
    "LOCK TABLE",
    "COPY orders FROM",
];

#[test]
fn what_postgresql_refuses_is_refused_in_its_words() {
    let stage = Stage::new("");
    stage.check(|c| {
        for wrong in WRONG {
            c.query(wrong);
            c.parse("", wrong, &[]).bind("", "", &[]).execute("", 0).sync();
        }
    });
    stage.check(|c| {
        for wrong in WRONG {
            c.query("BEGIN").query("SELECT id FROM orders WHERE user_id = 2 AND id = 2");
            c.query("SAVEPOINT s").query(wrong).query("SELECT 1").query("ROLLBACK TO s");
            c.query("SELECT id FROM orders WHERE id = 3");
            c.parse("", wrong, &[]).sync().query("ROLLBACK TO s").query("SELECT 2").query(wrong);
            c.query("COMMIT");
        }
    });
    stage.check(|c| {
        c.query("PREPARE p AS SELECT nothing FROM orders").query("PREPARE p AS SELEC 1");
        c.query("PREPARE p (int) AS SELECT id FROM orders WHERE id = $1 AND nofunc($1)");
        // Nothing of a text that cannot be read has any effect.
        c.query("BEGIN; INSERT INTO orders VALUES (901, 1); COMMIT; SELEC id FROM orders");
        c.query("INSERT INTO orders VALUES (902, 1); SELECT 'ü', * FROM orders WHERE");
        c.query("INSERT INTO orders VALUES (903, 1); SELECT nothing FROM orders, numbers");
        c.query("SELECT id FROM orders WHERE id > 900");
        // Behind an answer, in a pipeline.
        c.parse("", "SELECT 1", &[]).bind("", "", &[]).execute("", 0);
        c.parse("", "SELECT nofunc(id) FROM orders", &[]).bind("", "", &[]).execute("", 0).sync();
    });
    // What PostgreSQL would run stays refused by weir, and leaves the session as it was.
    let mut c = stage.client();
    for (refused, hint) in [
        ("SELECT ctid FROM orders", "the system column ctid"),
        ("SELECT * FROM orders TABLESAMPLE system (10)", "TABLESAMPLE"),
        ("SELECT id FROM orders FOR UPDATE", ""),
    ] {
        c.query("BEGIN").query("SELECT id FROM orders WHERE user_id = 2 AND id = 2");
        c.take_transcript();
        c.query(refused).query("SELECT 1").query("ROLLBACK");
        let heard = c.take_transcript();
        assert!(heard.contains("C=0A000") && heard.contains(hint), "{heard}");
        assert!(heard.contains("C=25P02"), "{heard}");
    }
}

#[test]
fn a_named_portal_is_there_until_it_is_closed_or_its_savepoint_is_rolled_back() {
    const ALL: &str = "SELECT id, note FROM orders WHERE id < 40 ORDER BY id";
    const ONE: &str = "SELECT id, note FROM orders WHERE user_id = 2 ORDER BY id";
    let stage = Stage::new("");
    stage.check(|c| {
        for (first, second) in [(ALL, ALL), (ONE, ALL), (ALL, ONE), (ONE, ONE)] {
            c.query("BEGIN").parse("a", first, &[]).parse("b", second, &[]).sync();
            c.bind("p", "a", &[]).execute("p", 2).sync();
            c.bind("p", "b", &[]).execute("p", 2).sync().query("ROLLBACK");
            // Closed, the name is free; the unnamed portal always gives way.
            c.query("BEGIN").bind("p", "a", &[]).execute("p", 0).close(b'P', "p");
            c.bind("p", "b", &[]).execute("p", 3).bind("", "a", &[]).bind("", "b", &[]);
            c.execute("", 1).sync().query("COMMIT");
            c.bind("p", "a", &[]).execute("p", 2).sync().bind("p", "b", &[]).execute("p", 2).sync();
            // Portals live as long as the savepoint that they are bound behind.
            c.query("BEGIN").query("SAVEPOINT s").bind("p", "a", &[]).execute("p", 2).sync();
            c.query("ROLLBACK TO s").execute("p", 2).sync();
            c.query("ROLLBACK TO s").bind("p", "b", &[]).execute("p", 2).sync();
            c.query("RELEASE s").execute("p", 2).sync().query("ROLLBACK");
            c.query("BEGIN").bind("p", "a", &[]).execute("p", 2).sync().query("SAVEPOINT s");
            c.execute("p", 2).bind("q", "b", &[]).execute("q", 1).sync().query("ROLLBACK TO s");
            c.execute("p", 2).sync().execute("q", 1).sync().query("ROLLBACK TO s");
            c.bind("q", "a", &[]).execute("q", 3).sync();
            c.bind("p", "a", &[]).sync().query("ROLLBACK").close(b'S', "a").close(b'S', "b").sync();
        }
    });
    let mut c = stage.client();
    c.query("BEGIN").parse("a", ALL, &[]).bind("p", "a", &[]).bind("", "a", &[]).sync();
    c.query("SAVEPOINT s").execute("p", 2).execute("", 2).sync().query("ROLLBACK TO s");
    c.take_transcript();
    c.execute("p", 2).sync();
    let heard = c.take_transcript();
    assert!(
        heard.contains("C=0A000 M=portal \"p\" was first executed behind the savepoint"),
        "{heard}"
    );
    c.query("ROLLBACK TO s").bind("q", "a", &[]).execute("q", 2).sync().query("COMMIT");
    c.parse("v", "SELECT id FROM orders WHERE id < $1", &[]).bind("p", "v", &[Some("x")]);
    c.execute("p", 0).sync().bind("", "v", &[Some("x")]).execute("", 0).sync();
    let heard = c.take_transcript();
    assert!(
        heard.contains("W=portal \"p\" parameter $1") || heard.contains("unnamed portal"),
        "{heard}"
    );
    assert!(!heard.contains("weir_"), "{heard}");
}

#[test]
fn settings_that_rows_show_wait_for_the_portal_that_shows_them() {
    const ALL: &str = "SELECT id, at FROM orders ORDER BY id";
    let paused = |c: &mut Raw| {
        c.query("BEGIN").parse("a", ALL, &[]).bind("p", "a", &[]).execute("p", 2).sync();
        c.take_transcript();
    };
    let stage = Stage::new("");
    let mut c = stage.client();
    for refused in [
        "SET DateStyle = 'German'",
        "SET LOCAL TimeZone = 'Asia/Tokyo'",
        "SET TIME ZONE 3",
        "RESET IntervalStyle",
        "RESET ALL",
        "SET app.user = '7'",
        "SELECT set_config('datestyle', 'German', true)",
    ] {
        paused(&mut c);
        c.query("SAVEPOINT s").query(refused);
        let heard = c.take_transcript();
        assert!(heard.contains("C=55000"), "{refused}: {heard}");
        assert!(heard.contains("portal \"p\" has been read to its end"), "{refused}: {heard}");
        c.query("ROLLBACK TO s").execute("p", 2).sync();
        let heard = c.take_transcript();
        assert!(heard.contains("D 3|2026-01-01 03:00:00+00"), "{refused}: {heard}");
        c.query("ROLLBACK").close(b'S', "a").sync();
    }
    // What rows do not show may be set; and everything once the portal is closed, or at its end.
    stage.check(|c| {
        c.query("BEGIN").parse("a", ALL, &[]).bind("p", "a", &[]).execute("p", 2).sync();
        c.query("SET statement_timeout = '1min'").execute("p", 2).sync().close(b'P', "p").sync();
        c.query("SET TimeZone = 'Europe/Berlin'")
            .parse("b", ALL, &[])
            .bind("p", "b", &[])
            .execute("p", 0)
            .sync();
        c.query("SET LOCAL TimeZone = 'Asia/Tokyo'").parse("c", ALL, &[]).bind("q", "c", &[]);
        c.execute("q", 1).sync();
        c.query("COMMIT").query("RESET ALL");
    });
}

#[test]
fn a_remark_or_an_error_about_all_shards_is_told_once() {
    let stage = Stage::new("");
    stage.check(|c| {
        let long = "x".repeat(70);
        c.query(&format!("SELECT id AS {long} FROM orders WHERE id < 9"));
        c.parse("", &format!("SELECT id AS {long} FROM orders WHERE id < 9"), &[]);
        c.bind("", "", &[]).execute("", 0).sync();
        for wrong in [
            "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
            "SET CONSTRAINTS nothing DEFERRED",
            "SET LOCAL nothing = 1",
            "ROLLBACK TO nothing",
        ] {
            c.query("BEGIN").query("SELECT id FROM orders WHERE id < 9").query(wrong);
            c.query("SELECT 1").query("ROLLBACK");
            c.query("BEGIN").query("SELECT id FROM orders WHERE id < 9");
            c.parse("", wrong, &[]).bind("", "", &[]).execute("", 0).sync().query("ROLLBACK");
        }
    });
}

#[test]
fn common_forms_are_answered_from_all_shards() {
    let stage = Stage::new("");
    stage.check(|c| {
        c.query("SELECT id FROM orders WHERE id BETWEEN SYMMETRIC 9 AND 5");
        c.query("SELECT id FROM orders WHERE user_id BETWEEN SYMMETRIC 2 AND 2 AND id < 20");
        c.query(
            "SELECT id, U&'d\\0061t\\+000061' FROM orders WHERE note <> U&'\\006e1' AND id < 9",
        );
        c.query("SET app.most = '7'");
        c.query("SELECT id FROM orders WHERE id < current_setting('app.most')::int");
        c.query(
            "SELECT id, current_setting('App.Most', true) FROM orders WHERE id < 5 ORDER BY id",
        );
        c.query("BEGIN").query("SET LOCAL app.most = '3'");
        c.query("SELECT id FROM orders WHERE id < current_setting('app.most')::int")
            .query("COMMIT");
        c.query("SELECT id FROM orders WHERE id < current_setting('app.most')::int");
    });
    let mut c = stage.client();
    for refused in ["'now'::timestamptz", "timestamptz 'today'", "at > 'yesterday 10:00'"] {
        assert_eq!(c.value(&format!("SELECT id, {refused} FROM orders")), "0A000", "{refused}");
    }
    for refused in ["app.other", "search_path", "TimeZone", "weir.tier"] {
        let text = format!("SELECT id, current_setting('{refused}', true) FROM orders");
        assert_eq!(c.value(&text), "0A000", "{refused}");
    }
}
