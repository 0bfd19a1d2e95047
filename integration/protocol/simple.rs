//! The simple query protocol.
use super::{Script, check};

#[test]
fn simple_queries_are_answered_as_postgresql_answers_them() {
    check(SCRIPTS);
}

const SCRIPTS: &[Script] = &[
    ("one statement", |c| {
        c.query("SELECT id, name FROM t ORDER BY id");
    }),
    ("an empty query, and one of comments only", |c| {
        c.query("").query(" ; ;").query("-- nothing").query("/* a */ ; -- b");
    }),
    ("an error leaves the session usable", |c| {
        c.query("SELECT 1/0").query("SELEC").query("SELECT * FROM missing").query("SELECT 1");
    }),
    ("errors say where in the whole text they are", |c| {
        c.query("SELECT 1; SELECT missing FROM t; SELECT 2")
            .query("SELECT 'äöü'; SELECT missing")
            .query("   SELECT missing")
            .query("-- a comment\nSELECT missing;");
    }),
    ("a syntax error anywhere keeps every statement from running", |c| {
        c.query("INSERT INTO t VALUES (9, 'nine'); SELEC 1").query("SELECT count(*) FROM t");
    }),
    ("several statements in one text", |c| {
        c.query("SELECT 1; SELECT 2;; SELECT 3").query("SELECT 'a;b'; SELECT $x$;$x$");
    }),
    ("an error in the middle undoes all, and what follows is not run", |c| {
        c.query("INSERT INTO t VALUES (9, 'nine'); SELECT 1/0; INSERT INTO t VALUES (10, 'ten')")
            .query("SELECT count(*) FROM t");
    }),
    ("a COMMIT inside a text keeps what came before it", |c| {
        c.query(
            "INSERT INTO t VALUES (9, 'nine'); COMMIT; INSERT INTO t VALUES (10, 'x'); SELECT 1/0",
        )
        .query("SELECT id FROM t ORDER BY id");
    }),
    ("a ROLLBACK inside a text undoes what came before it", |c| {
        c.query("INSERT INTO t VALUES (9, 'nine'); ROLLBACK; INSERT INTO t VALUES (10, 'x')")
            .query("SELECT id FROM t ORDER BY id");
    }),
    ("BEGIN inside a text takes in what came before it", |c| {
        c.query("INSERT INTO t VALUES (9, 'nine'); BEGIN; INSERT INTO t VALUES (10, 'x')")
            .query("ROLLBACK")
            .query("SELECT id FROM t ORDER BY id");
    }),
    ("a whole block inside one text", |c| {
        c.query("BEGIN; INSERT INTO t VALUES (9, 'nine'); COMMIT; SELECT count(*) FROM t")
            .query("BEGIN; SELECT 1/0; COMMIT")
            .query("SELECT 1")
            .query("COMMIT")
            .query("SELECT 1");
    }),
    ("BEGIN; COMMIT; BEGIN leaves a block open", |c| {
        c.query("BEGIN; COMMIT; BEGIN").query("SELECT 1").query("COMMIT");
    }),
    ("VACUUM cannot run inside a text of several statements", |c| {
        c.query("VACUUM t; SELECT 1").query("VACUUM t").query("SELECT 1; VACUUM t");
    }),
    ("CREATE DATABASE runs alone only", |c| {
        c.query("BEGIN; CREATE DATABASE nope").query("ROLLBACK");
    }),
    ("notices and warnings come at their place", |c| {
        c.query("DO $$ BEGIN RAISE NOTICE 'hello %', 1; RAISE WARNING 'careful'; END $$")
            .query("SELECT 1; DO $$ BEGIN RAISE NOTICE 'between'; END $$; SELECT 2")
            .query("DROP TABLE IF EXISTS missing")
            .query("DO $$ BEGIN RAISE EXCEPTION 'no' USING DETAIL = 'd', HINT = 'h', ERRCODE = 'UE001', COLUMN = 'c', CONSTRAINT = 'k', TABLE = 't', SCHEMA = 's', DATATYPE = 'y'; END $$");
    }),
    ("an error brings all its fields", |c| {
        c.query("INSERT INTO t VALUES (1, 'again')")
            .query("SELECT 'x'::mood")
            .query("INSERT INTO typed (n) VALUES (123456789.123)");
    }),
    ("tables, types and NULLs are described", |c| {
        c.query("SELECT * FROM typed").query("SELECT NULL, 1::bigint, 'happy'::mood, ARRAY[1,2]");
    }),
    ("large results", |c| {
        c.query("SELECT g, repeat('x', 1000) FROM generate_series(1, 3000) g")
            .query("SELECT repeat('y', 3000000)");
    }),
    ("other texts than queries", |c| {
        c.query("EXPLAIN (COSTS OFF) SELECT * FROM t")
            .query("TABLE t")
            .query("VALUES (1), (2)")
            .query("CREATE TABLE u (a int); INSERT INTO u VALUES (1); DROP TABLE u")
            .query("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'; SELECT f()")
            .query("TRUNCATE t; SELECT count(*) FROM t")
            .query("MERGE INTO t USING (VALUES (1)) v(x) ON t.id = v.x WHEN NOT MATCHED THEN INSERT VALUES (x, 'm')");
    }),
    ("procedures may commit", |c| {
        c.query("CREATE PROCEDURE p() LANGUAGE plpgsql AS $$ BEGIN INSERT INTO t VALUES (50, 'p'); COMMIT; END $$")
            .query("CALL p()")
            .query("BEGIN; CALL p()")
            .query("ROLLBACK")
            .query("SELECT id FROM t ORDER BY id");
    }),
];
