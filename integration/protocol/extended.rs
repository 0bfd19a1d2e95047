//! The extended query protocol.
use super::{Script, check};

#[test]
fn extended_queries_are_answered_as_postgresql_answers_them() {
    check(SCRIPTS);
}

#[test]
fn pipelines_are_answered_as_postgresql_answers_them() {
    check(PIPELINES);
}

const SCRIPTS: &[Script] = &[
    ("an unnamed statement, described and executed", |c| {
        c.parse("", "SELECT id, name FROM t WHERE id = $1", &[])
            .describe(b'S', "")
            .bind("", "", &[Some("2")])
            .describe(b'P', "")
            .execute("", 0)
            .sync();
    }),
    ("each message with a Sync of its own", |c| {
        c.parse("", "SELECT $1::int + 1", &[]).sync();
        c.describe(b'S', "").sync();
        c.bind("", "", &[Some("2")]).sync();
        c.execute("", 0).sync();
    }),
    ("a portal ends at Sync", |c| {
        c.parse("", "SELECT 1", &[]).bind("", "", &[]).sync();
        c.execute("", 0).sync();
        c.bind("p", "", &[]).sync();
        c.execute("p", 0).sync();
    }),
    ("a named statement is used again and again", |c| {
        c.parse("s", "SELECT name FROM t WHERE id = $1", &[23]).sync();
        for id in ["1", "2", "3", "4", "1", "2", "3"] {
            c.bind("", "s", &[Some(id)]).execute("", 0).sync();
        }
        c.close(b'S', "s").sync();
        c.bind("", "s", &[Some("1")]).sync();
    }),
    ("two named statements of the same text", |c| {
        c.parse("a", "SELECT 1", &[]).parse("b", "SELECT 1", &[]).sync();
        c.close(b'S', "a").bind("", "b", &[]).execute("", 0).sync();
    }),
    ("a name cannot be prepared twice", |c| {
        c.parse("s", "SELECT 1", &[]).sync();
        c.parse("s", "SELECT 2", &[]).sync();
        c.bind("", "s", &[]).execute("", 0).sync();
        c.close(b'S', "s").parse("s", "SELECT 2", &[]).bind("", "s", &[]).execute("", 0).sync();
    }),
    ("the unnamed statement is replaced", |c| {
        c.parse("", "SELECT 1", &[]).parse("", "SELECT 2", &[]).bind("", "", &[]).execute("", 0);
        c.sync();
        c.close(b'S', "").sync();
        c.bind("", "", &[]).sync();
    }),
    ("a failed Parse leaves no unnamed statement", |c| {
        c.parse("", "SELECT 1", &[]).sync();
        c.parse("", "SELEC", &[]).sync();
        c.bind("", "", &[]).execute("", 0).sync();
    }),
    ("a failed Parse leaves no named statement", |c| {
        c.parse("s", "SELECT * FROM missing", &[]).sync();
        c.bind("", "s", &[]).execute("", 0).sync();
        c.parse("s", "SELECT 1", &[]).bind("", "s", &[]).execute("", 0).sync();
    }),
    ("a simple query ends the unnamed statement", |c| {
        c.parse("", "SELECT 1", &[]).sync();
        c.query("SELECT 2");
        c.bind("", "", &[]).execute("", 0).sync();
    }),
    ("unknown statements and portals", |c| {
        c.bind("", "missing", &[]).sync();
        c.bind("", "", &[]).sync();
        c.describe(b'S', "missing").sync();
        c.describe(b'P', "missing").sync();
        c.describe(b'P', "").sync();
        c.execute("missing", 0).sync();
        c.execute("", 0).sync();
        c.close(b'S', "missing").close(b'P', "missing").sync();
    }),
    ("an empty statement", |c| {
        c.parse("", "", &[]).describe(b'S', "").bind("", "", &[]).describe(b'P', "").execute("", 0);
        c.sync();
        c.parse("", " -- nothing", &[]).bind("", "", &[]).execute("", 0).sync();
        c.parse("", ";", &[]).bind("", "", &[]).execute("", 0).sync();
    }),
    ("several statements cannot be prepared", |c| {
        c.parse("", "SELECT 1; SELECT 2", &[]).bind("", "", &[]).execute("", 0).sync();
        c.parse("", "SELECT 1;", &[]).bind("", "", &[]).execute("", 0).sync();
    }),
    ("row limits suspend a portal, and Execute goes on with it", |c| {
        c.parse("", "SELECT g FROM generate_series(1, 5) g", &[]).bind("", "", &[]).execute("", 2);
        c.execute("", 2).execute("", 2).execute("", 2).sync();
    }),
    ("a suspended portal outlives Sync inside a block", |c| {
        c.query("BEGIN");
        c.parse("", "SELECT g FROM generate_series(1, 5) g", &[]).bind("p", "", &[]);
        c.execute("p", 2).sync();
        c.execute("p", 2).sync();
        c.close(b'P', "p").sync();
        c.execute("p", 2).sync();
        c.query("ROLLBACK");
    }),
    ("a portal bound twice", |c| {
        c.query("BEGIN");
        c.parse("", "SELECT 1", &[]).bind("p", "", &[]).bind("p", "", &[]).sync();
        c.query("ROLLBACK");
        c.parse("", "SELECT 1", &[]).bind("", "", &[]).bind("", "", &[]).execute("", 0).sync();
    }),
    ("an executed portal that is executed again", |c| {
        c.parse("", "SELECT 1", &[]).bind("", "", &[]).execute("", 0).execute("", 0).sync();
        c.parse("", "INSERT INTO t VALUES (7)", &[]).bind("", "", &[]).execute("", 0);
        c.execute("", 0).sync();
    }),
    ("parameters in text and binary", |c| {
        let (two, big) = (2i32.to_be_bytes(), 2i64.to_be_bytes());
        c.parse("", "SELECT $1::int, $2::bigint, $3::text", &[]).describe(b'S', "");
        c.bind_as("", "", &[1], &[Some(&two), Some(&big), Some(b"x")], &[1]);
        c.describe(b'P', "").execute("", 0).sync();
        c.bind_as("", "", &[1, 0, 0], &[Some(&two), Some(b"7"), None], &[0, 1, 0]);
        c.execute("", 0).sync();
        c.bind_as("", "", &[], &[None, None, None], &[]).execute("", 0).sync();
    }),
    ("parameters that cannot be bound", |c| {
        c.parse("s", "SELECT $1::int", &[]).sync();
        c.bind("", "s", &[]).sync();
        c.bind("", "s", &[Some("1"), Some("2")]).sync();
        c.bind("", "s", &[Some("x")]).sync();
        c.bind_as("", "s", &[1], &[Some(b"abc")], &[]).sync();
        c.bind_as("", "s", &[0, 0], &[Some(b"1")], &[]).sync();
        c.bind_as("", "s", &[], &[Some(b"1")], &[0, 0]).sync();
    }),
    ("types that the client declares", |c| {
        c.parse("", "SELECT $1", &[25]).describe(b'S', "").sync();
        c.parse("", "SELECT $1 + 1", &[20]).describe(b'S', "").sync();
        c.parse("", "SELECT $1", &[4_000_000]).describe(b'S', "").sync();
        c.parse("", "SELECT $2::int", &[]).describe(b'S', "").sync();
        c.parse("", "SELECT $1", &[]).describe(b'S', "").sync();
    }),
    ("Flush makes the server answer what it has", |c| {
        c.parse("", "SELECT 1", &[]).flush(1);
        c.describe(b'S', "").flush(2);
        c.bind("", "", &[]).flush(1);
        c.execute("", 0).flush(2);
        c.sync();
    }),
    ("Parse and Describe with a Flush, and no Execute", |c| {
        c.parse("s", "SELECT id FROM t WHERE id = $1", &[]).describe(b'S', "s").flush(3);
        c.sync();
        c.bind("", "s", &[Some("1")]).execute("", 0).sync();
    }),
    ("statements without result", |c| {
        c.parse("", "INSERT INTO t VALUES ($1, $2)", &[]).describe(b'S', "");
        c.bind("", "", &[Some("8"), None]).describe(b'P', "").execute("", 0).sync();
        c.parse("", "CREATE TABLE v (a int)", &[]).describe(b'S', "").bind("", "", &[]);
        c.describe(b'P', "").execute("", 0).sync();
        c.parse("", "UPDATE t SET name = 'x' RETURNING id", &[]).describe(b'S', "");
        c.bind("", "", &[]).execute("", 2).execute("", 0).sync();
    }),
    ("a statement whose table changes", |c| {
        c.parse("s", "SELECT * FROM t WHERE id = 1", &[]).bind("", "s", &[]).execute("", 0).sync();
        c.query("ALTER TABLE t ADD COLUMN more int");
        c.bind("", "s", &[]).execute("", 0).sync();
        c.query("SELECT * FROM t WHERE id = 1");
    }),
    ("control statements in the extended protocol", |c| {
        for sql in [
            "BEGIN",
            "SAVEPOINT a",
            "SELECT 1",
            "ROLLBACK TO a",
            "RELEASE a",
            "COMMIT",
            "COMMIT",
            "SET datestyle = 'German'",
            "SHOW datestyle",
            "RESET datestyle",
            "SHOW datestyle",
            "START TRANSACTION READ ONLY",
            "SHOW transaction_read_only",
            "ROLLBACK",
            "DEALLOCATE ALL",
            "DISCARD PLANS",
        ] {
            c.parse("", sql, &[]).describe(b'S', "").bind("", "", &[]).describe(b'P', "");
            c.execute("", 0).sync();
        }
    }),
    ("FunctionCall", |c| {
        // abs(int4) is function 1397.
        let mut body = 1397u32.to_be_bytes().to_vec();
        body.extend([0, 1, 0, 1, 0, 1, 0, 0, 0, 4]);
        body.extend((-5i32).to_be_bytes());
        body.extend([0, 1]);
        c.put(b'F', &body).send();
        c.await_ready().query("SELECT 1");
    }),
];

const PIPELINES: &[Script] = &[
    ("many Executes before one Sync", |c| {
        for id in 10..40 {
            let id = id.to_string();
            c.parse("", "INSERT INTO t VALUES ($1, 'p')", &[]).bind("", "", &[Some(&id)]);
            c.execute("", 0);
        }
        c.sync().query("SELECT count(*) FROM t");
    }),
    ("an error undoes everything up to the Sync and skips to it", |c| {
        c.parse("", "INSERT INTO t VALUES (10, 'a')", &[]).bind("", "", &[]).execute("", 0);
        c.parse("", "SELECT 1/0", &[]).bind("", "", &[]).execute("", 0);
        c.parse("", "INSERT INTO t VALUES (11, 'b')", &[]).bind("", "", &[]).execute("", 0);
        c.sync().query("SELECT count(*) FROM t");
    }),
    ("each Sync ends a transaction", |c| {
        for sql in ["INSERT INTO t VALUES (10)", "SELECT 1/0", "INSERT INTO t VALUES (11)"] {
            c.parse("", sql, &[]).bind("", "", &[]).execute("", 0).put(b'S', b"");
        }
        c.send();
        c.await_ready().await_ready().await_ready().query("SELECT count(*) FROM t");
    }),
    ("a Parse that fails skips to Sync", |c| {
        c.parse("", "SELEC", &[]).describe(b'S', "").bind("", "", &[]).execute("", 0).sync();
        c.parse("a", "SELECT 1", &[]).parse("b", "SELEC", &[]).parse("c", "SELECT 3", &[]).sync();
        c.bind("", "a", &[]).execute("", 0).sync();
        c.bind("", "c", &[]).execute("", 0).sync();
    }),
    ("an unknown statement in the middle", |c| {
        c.parse("a", "SELECT 1", &[]).bind("", "a", &[]).execute("", 0);
        c.bind("", "missing", &[]).execute("", 0);
        c.bind("", "a", &[]).execute("", 0).sync();
    }),
    ("a whole block", |c| {
        c.parse("", "BEGIN", &[]).bind("", "", &[]).execute("", 0);
        c.parse("", "INSERT INTO t VALUES ($1)", &[]).bind("", "", &[Some("20")]).execute("", 0);
        c.bind("", "", &[Some("21")]).execute("", 0);
        c.parse("", "COMMIT", &[]).bind("", "", &[]).execute("", 0);
        c.sync().query("SELECT id FROM t ORDER BY id");
    }),
    ("a block whose middle fails", |c| {
        c.parse("", "BEGIN", &[]).bind("", "", &[]).execute("", 0);
        c.parse("", "INSERT INTO t VALUES (1)", &[]).bind("", "", &[]).execute("", 0);
        c.parse("", "COMMIT", &[]).bind("", "", &[]).execute("", 0).sync();
        c.parse("", "SELECT 1", &[]).bind("", "", &[]).execute("", 0).sync();
        c.parse("", "COMMIT", &[]).bind("", "", &[]).execute("", 0).sync();
    }),
    ("BEGIN after an INSERT takes it in", |c| {
        c.parse("", "INSERT INTO t VALUES (30)", &[]).bind("", "", &[]).execute("", 0);
        c.parse("", "BEGIN", &[]).bind("", "", &[]).execute("", 0).sync();
        c.query("ROLLBACK").query("SELECT id FROM t ORDER BY id");
    }),
    ("COMMIT in the middle of a pipeline", |c| {
        c.parse("", "INSERT INTO t VALUES (30)", &[]).bind("", "", &[]).execute("", 0);
        c.parse("", "COMMIT", &[]).bind("", "", &[]).execute("", 0);
        c.parse("", "SELECT 1/0", &[]).bind("", "", &[]).execute("", 0).sync();
        c.query("SELECT id FROM t ORDER BY id");
    }),
    ("ROLLBACK in the middle of a pipeline", |c| {
        c.parse("", "INSERT INTO t VALUES (30)", &[]).bind("", "", &[]).execute("", 0);
        c.parse("", "ROLLBACK", &[]).bind("", "", &[]).execute("", 0);
        c.parse("", "INSERT INTO t VALUES (31)", &[]).bind("", "", &[]).execute("", 0).sync();
        c.query("SELECT id FROM t ORDER BY id");
    }),
    ("SET in the middle of a pipeline is undone by an error", |c| {
        c.parse("", "SET datestyle = 'German'", &[]).bind("", "", &[]).execute("", 0);
        c.parse("", "SELECT 1/0", &[]).bind("", "", &[]).execute("", 0).sync();
        c.query("SHOW datestyle");
    }),
    ("SET in a pipeline acts on what follows", |c| {
        c.parse("", "SET datestyle = 'German'", &[]).bind("", "", &[]).execute("", 0);
        c.parse("", "SELECT '2026-01-02'::date", &[]).bind("", "", &[]).execute("", 0).sync();
        c.query("SELECT '2026-01-02'::date");
    }),
    ("two statements prepared, both executed later", |c| {
        c.parse("a", "SELECT $1::int", &[]).parse("b", "SELECT $1::text", &[]).sync();
        c.bind("x", "a", &[Some("1")]).bind("y", "b", &[Some("z")]).execute("y", 0);
        c.execute("x", 0).describe(b'S', "a").describe(b'P', "y").sync();
    }),
    ("two portals in turn", |c| {
        c.parse("a", "SELECT g FROM generate_series(1, 4) g", &[]);
        c.bind("x", "a", &[]).bind("y", "a", &[]).execute("x", 1).execute("y", 2).execute("x", 1);
        c.execute("y", 9).execute("x", 9).sync();
    }),
    ("a trailing Describe and Flush before the next Bind", |c| {
        c.parse("a", "SELECT 1", &[]).bind("", "a", &[]).execute("", 0).describe(b'S', "a");
        c.flush(6);
        c.bind("", "a", &[]).execute("", 0).sync();
    }),
    ("a failed Describe with Flush is told at once", |c| {
        c.parse("", "SELECT missing", &[]).describe(b'S', "").flush(1);
        c.sync().query("SELECT 1");
    }),
    ("simple queries between extended messages", |c| {
        c.parse("a", "INSERT INTO t VALUES (60)", &[]).bind("", "a", &[]).execute("", 0);
        c.query("SELECT id FROM t ORDER BY id");
        c.parse("", "SELECT 1", &[]).query("SELECT 2");
    }),
    ("a simple query after a failed pipeline without Sync", |c| {
        c.parse("", "SELEC", &[]).put(b'H', b"").send();
        c.hear(1);
        c.ask("SELECT 1");
        c.sync().query("SELECT 2");
    }),
    ("a long pipeline", |c| {
        c.parse("a", "SELECT $1::int", &[]);
        for index in 0..6000 {
            c.bind("", "a", &[Some(&index.to_string())]).execute("", 0);
        }
        c.sync();
    }),
    ("a pipeline of large results", |c| {
        c.parse("a", "SELECT repeat('x', 1000000)", &[]);
        for _ in 0..20 {
            c.bind("", "a", &[]).execute("", 0);
        }
        c.sync();
    }),
    ("two Syncs in a row", |c| {
        c.sync().sync();
        c.query("SELECT 1");
    }),
    ("VACUUM in a pipeline", |c| {
        c.parse("", "VACUUM t", &[]).bind("", "", &[]).execute("", 0).sync();
        c.parse("", "SELECT 1", &[]).bind("", "", &[]).execute("", 0);
        c.parse("", "VACUUM t", &[]).bind("", "", &[]).execute("", 0).sync();
    }),
];
