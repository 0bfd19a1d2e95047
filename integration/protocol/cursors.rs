//! SQL cursors and SQL-level prepared statements.
use super::{Script, check};

#[test]
fn cursors_go_as_on_postgresql() {
    check(CURSORS);
}

#[test]
fn statements_prepared_by_sql_go_as_on_postgresql() {
    check(PREPARED);
}

const CURSORS: &[Script] = &[
    ("DECLARE, FETCH, MOVE, CLOSE", |c| {
        c.query("BEGIN").query("DECLARE c CURSOR FOR SELECT g FROM generate_series(1, 9) g");
        c.query("FETCH c")
            .query("FETCH 2 FROM c")
            .query("MOVE 1 IN c")
            .query("FETCH FORWARD ALL c");
        c.query("FETCH c").query("CLOSE c").query("FETCH c").query("ROLLBACK");
    }),
    ("a cursor needs a block", |c| {
        c.query("DECLARE c CURSOR FOR SELECT 1")
            .query("FETCH c")
            .query("CLOSE c")
            .query("SELECT 1");
        c.query("CLOSE ALL").query("DECLARE c CURSOR FOR SELECT 1; FETCH c");
    }),
    ("scrolling", |c| {
        c.query("BEGIN").query("DECLARE c SCROLL CURSOR FOR SELECT g FROM generate_series(1, 5) g");
        c.query("FETCH LAST c").query("FETCH PRIOR c").query("FETCH ABSOLUTE 2 c");
        c.query("FETCH BACKWARD 1 FROM c")
            .query("FETCH RELATIVE -1 c")
            .query("COMMIT")
            .query("FETCH c");
    }),
    ("a cursor in the extended protocol", |c| {
        c.query("BEGIN");
        c.parse("", "DECLARE c CURSOR FOR SELECT id FROM t ORDER BY id", &[]).bind("", "", &[]);
        c.execute("", 0).sync();
        c.parse("f", "FETCH 2 FROM c", &[]).describe(b'S', "f").bind("", "f", &[]);
        c.describe(b'P', "").execute("", 0).sync();
        c.bind("", "f", &[]).execute("", 1).execute("", 0).sync();
        c.parse("", "CLOSE c", &[]).bind("", "", &[]).execute("", 0).sync();
        c.query("COMMIT");
    }),
    ("WITH HOLD outlives its transaction", |c| {
        c.query("DECLARE c CURSOR WITH HOLD FOR SELECT id FROM t ORDER BY id").query("FETCH c");
        c.query("BEGIN").query("FETCH c").query("ROLLBACK").query("FETCH c").query("CLOSE c");
        c.query("FETCH c");
    }),
    ("cursors of a failed or rolled back transaction are gone", |c| {
        c.query("BEGIN")
            .query("DECLARE c CURSOR FOR SELECT 1")
            .query("SELECT 1/0")
            .query("FETCH c");
        c.query("ROLLBACK").query("FETCH c").query("BEGIN").query("SAVEPOINT a");
        c.query("DECLARE c CURSOR FOR SELECT 1").query("ROLLBACK TO a").query("FETCH c");
        c.query("ROLLBACK");
    }),
    ("UPDATE WHERE CURRENT OF", |c| {
        c.query("BEGIN").query("DECLARE c CURSOR FOR SELECT * FROM t ORDER BY id FOR UPDATE");
        c.query("FETCH 2 c").query("UPDATE t SET name = 'here' WHERE CURRENT OF c").query("COMMIT");
        c.query("SELECT * FROM t ORDER BY id");
    }),
    ("two cursors of one name", |c| {
        c.query("BEGIN")
            .query("DECLARE c CURSOR FOR SELECT 1")
            .query("DECLARE c CURSOR FOR SELECT 2");
        c.query("ROLLBACK");
    }),
    ("refcursors of functions", |c| {
        c.query("CREATE FUNCTION open_it() RETURNS refcursor LANGUAGE plpgsql AS $$ DECLARE r refcursor := 'mine'; BEGIN OPEN r FOR SELECT id FROM t ORDER BY id; RETURN r; END $$");
        c.query("BEGIN").query("SELECT open_it()").query("FETCH ALL IN mine").query("CLOSE mine");
        c.query("COMMIT");
    }),
    ("a portal fetched as a cursor", |c| {
        c.query("BEGIN");
        c.parse("", "SELECT g FROM generate_series(1, 5) g", &[])
            .bind("p", "", &[])
            .execute("p", 2)
            .sync();
        c.query("FETCH 1 FROM p").query("CLOSE p");
        c.execute("p", 0).sync();
        c.query("ROLLBACK");
    }),
];

const PREPARED: &[Script] = &[
    ("PREPARE, EXECUTE, DEALLOCATE", |c| {
        c.query("PREPARE s AS SELECT 1")
            .query("EXECUTE s")
            .query("DEALLOCATE s")
            .query("EXECUTE s");
        c.query("DEALLOCATE s").query("DEALLOCATE PREPARE ALL").query("DEALLOCATE ALL");
    }),
    ("arguments", |c| {
        c.query("PREPARE s (int, text) AS SELECT $1, $2").query("EXECUTE s (1, 'x')");
        c.query("EXECUTE s (1 + 1, upper('x'))")
            .query("EXECUTE s (NULL, NULL)")
            .query("EXECUTE s (1)");
        c.query("EXECUTE s ('x', 'y')").query("EXECUTE s").query("EXECUTE s (1, 'it''s', 3)");
        c.query("PREPARE u AS SELECT $1 + 1").query("EXECUTE u ('41')");
        c.query("PREPARE v (mood) AS SELECT $1")
            .query("EXECUTE v ('ok')")
            .query("EXECUTE v ('bad')");
    }),
    ("names are folded and quoted", |c| {
        c.query("PREPARE Foo AS SELECT 1")
            .query("EXECUTE foo")
            .query("PREPARE \"Foo\" AS SELECT 2");
        c.query("EXECUTE \"Foo\"").query("PREPARE foo AS SELECT 3").query("DEALLOCATE FOO");
        c.query("EXECUTE foo").query("EXECUTE \"Foo\"");
    }),
    ("PREPARE that fails leaves nothing", |c| {
        c.query("PREPARE s AS SELECT * FROM missing")
            .query("EXECUTE s")
            .query("PREPARE s AS SELEC");
        c.query("PREPARE s AS CREATE TABLE x (a int)")
            .query("PREPARE s AS SELECT 1")
            .query("EXECUTE s");
    }),
    ("prepared by SQL, bound by protocol, and the other way", |c| {
        c.query("PREPARE s (int) AS SELECT $1 + 1");
        c.bind("", "s", &[Some("4")]).describe(b'P', "").execute("", 0).sync();
        c.describe(b'S', "s").close(b'S', "s").sync();
        c.query("EXECUTE s (1)");
        c.parse("p", "SELECT $1::int * 2", &[]).sync();
        c.query("EXECUTE p (21)").query("DEALLOCATE p");
        c.bind("", "p", &[Some("4")]).execute("", 0).sync();
    }),
    ("EXECUTE in the extended protocol", |c| {
        c.query("PREPARE s (int) AS SELECT id, name FROM t WHERE id = $1");
        c.parse("", "EXECUTE s (2)", &[]).describe(b'S', "").bind("", "", &[]).describe(b'P', "");
        c.execute("", 0).sync();
    }),
    ("in a transaction that rolls back the statement stays", |c| {
        c.query("BEGIN").query("PREPARE s AS SELECT 1").query("ROLLBACK").query("EXECUTE s");
        c.query("BEGIN").query("DEALLOCATE s").query("ROLLBACK").query("EXECUTE s");
    }),
    ("writes", |c| {
        c.query("PREPARE i AS INSERT INTO t VALUES ($1, $2) RETURNING id")
            .query("EXECUTE i (40, 'x')");
        c.query("EXECUTE i (40, 'x')")
            .query("BEGIN")
            .query("EXECUTE i (41, NULL)")
            .query("ROLLBACK");
        c.query("SELECT count(*) FROM t");
    }),
];
