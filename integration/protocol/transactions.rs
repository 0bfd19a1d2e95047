//! Transaction blocks, savepoints, failed transactions.
use super::{Script, check};

#[test]
fn transactions_go_as_on_postgresql() {
    check(SCRIPTS);
}

const SCRIPTS: &[Script] = &[
    ("a block commits, a block rolls back", |c| {
        c.query("BEGIN").query("INSERT INTO t VALUES (9)").query("COMMIT");
        c.query("BEGIN").query("INSERT INTO t VALUES (10)").query("ROLLBACK");
        c.query("SELECT id FROM t ORDER BY id");
    }),
    ("empty blocks", |c| {
        c.query("BEGIN").query("COMMIT").query("START TRANSACTION").query("ABORT").query("END");
    }),
    ("a failed block takes nothing but its end", |c| {
        c.query("BEGIN").query("SELECT 1/0").query("SELECT 1").query("BEGIN").query("SAVEPOINT a");
        c.query("SET datestyle = 'German'").query("SHOW datestyle").query("").query("COMMIT");
        c.query("SELECT 1");
    }),
    ("a failed block and the extended protocol", |c| {
        c.parse("a", "SELECT 1", &[]).sync();
        c.query("BEGIN").query("SELECT 1/0");
        c.bind("", "a", &[]).execute("", 0).sync();
        c.parse("b", "SELECT 2", &[]).sync();
        c.describe(b'S', "a").sync();
        c.parse("r", "ROLLBACK", &[]).bind("", "r", &[]).execute("", 0).sync();
        c.bind("", "a", &[]).execute("", 0).sync();
    }),
    ("a syntax error fails a block", |c| {
        c.query("BEGIN").query("SELEC").query("SELECT 1").query("ROLLBACK");
    }),
    ("warnings about blocks", |c| {
        c.query("COMMIT").query("ROLLBACK").query("BEGIN").query("BEGIN").query("COMMIT");
        c.query("SET TRANSACTION READ ONLY").query("SET LOCAL datestyle = 'German'");
        c.query("SET CONSTRAINTS ALL DEFERRED");
    }),
    ("what needs a block", |c| {
        c.query("SAVEPOINT a").query("ROLLBACK TO a").query("RELEASE a");
        c.query("COMMIT AND CHAIN").query("ROLLBACK AND CHAIN").query("SELECT 1; SAVEPOINT a");
    }),
    ("savepoints", |c| {
        c.query("BEGIN").query("INSERT INTO t VALUES (10)").query("SAVEPOINT a");
        c.query("INSERT INTO t VALUES (11)").query("SAVEPOINT \"B c\"");
        c.query("INSERT INTO t VALUES (12)").query("ROLLBACK TO \"B c\"").query("SELECT 1/0");
        c.query("ROLLBACK TO a").query("INSERT INTO t VALUES (13)").query("RELEASE SAVEPOINT a");
        c.query("COMMIT").query("SELECT id FROM t ORDER BY id");
    }),
    ("savepoints that are not there", |c| {
        c.query("BEGIN").query("ROLLBACK TO missing").query("ROLLBACK");
        c.query("BEGIN").query("RELEASE missing").query("ROLLBACK");
        c.query("BEGIN").query("SAVEPOINT a").query("RELEASE a").query("ROLLBACK TO a");
        c.query("ROLLBACK");
    }),
    ("savepoints of the same name", |c| {
        c.query("BEGIN")
            .query("SAVEPOINT a")
            .query("INSERT INTO t VALUES (10)")
            .query("SAVEPOINT a");
        c.query("INSERT INTO t VALUES (11)").query("ROLLBACK TO a").query("RELEASE a");
        c.query("ROLLBACK TO a").query("COMMIT").query("SELECT count(*) FROM t");
    }),
    ("modes", |c| {
        c.query("BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY");
        c.query("SHOW transaction_isolation").query("INSERT INTO t VALUES (9)").query("ROLLBACK");
        c.query("BEGIN").query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ");
        c.query("SHOW transaction_isolation").query("COMMIT").query("SHOW transaction_isolation");
        c.query("BEGIN").query("SELECT 1").query("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE");
        c.query("ROLLBACK");
        c.query("BEGIN READ ONLY, DEFERRABLE").query("SHOW transaction_deferrable").query("COMMIT");
    }),
    ("COMMIT AND CHAIN keeps the modes", |c| {
        c.query("BEGIN ISOLATION LEVEL SERIALIZABLE").query("SELECT 1").query("COMMIT AND CHAIN");
        c.query("SHOW transaction_isolation").query("ROLLBACK AND CHAIN");
        c.query("SHOW transaction_isolation").query("COMMIT").query("SHOW transaction_isolation");
        c.query("BEGIN")
            .query("SELECT 1/0")
            .query("COMMIT AND CHAIN")
            .query("SELECT 1")
            .query("END");
        c.query("BEGIN").query("SELECT 1/0").query("ROLLBACK AND CHAIN").query("SELECT 1");
        c.query("END");
        c.query("BEGIN").query("SET TRANSACTION READ ONLY").query("COMMIT AND CHAIN");
        c.query("SHOW transaction_read_only").query("COMMIT");
    }),
    ("session characteristics", |c| {
        c.query("SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ");
        c.query("SHOW transaction_isolation").query("BEGIN").query("SHOW transaction_isolation");
        c.query("COMMIT");
        c.query("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY").query("SELECT 1");
        c.query("INSERT INTO t VALUES (9)").query("BEGIN READ WRITE");
        c.query("INSERT INTO t VALUES (9)").query("COMMIT");
    }),
    ("deferred constraints fail at COMMIT", |c| {
        c.query("CREATE TABLE d (a int UNIQUE DEFERRABLE INITIALLY DEFERRED)").query("BEGIN");
        c.query("INSERT INTO d VALUES (1), (1)").query("COMMIT").query("SELECT count(*) FROM d");
        c.query("INSERT INTO d VALUES (1), (1)");
        c.query("INSERT INTO d VALUES (1); INSERT INTO d VALUES (1)");
        c.parse("", "INSERT INTO d VALUES (1), (1)", &[]).bind("", "", &[]).execute("", 0).sync();
        c.query("BEGIN").query("SET CONSTRAINTS ALL IMMEDIATE");
        c.query("INSERT INTO d VALUES (1), (1)").query("COMMIT").query("SELECT count(*) FROM d");
    }),
    ("an error inside a block of the extended protocol", |c| {
        c.query("BEGIN");
        c.parse("", "INSERT INTO t VALUES (70)", &[]).bind("", "", &[]).execute("", 0).sync();
        c.parse("", "SELECT 1/0", &[]).bind("", "", &[]).execute("", 0).sync();
        c.parse("", "SELECT 1", &[]).sync();
        c.query("ROLLBACK").query("SELECT count(*) FROM t");
    }),
    ("a savepoint saves a block of the extended protocol", |c| {
        c.query("BEGIN; SAVEPOINT a");
        c.parse("", "SELECT 1/0", &[]).bind("", "", &[]).execute("", 0).sync();
        c.parse("", "ROLLBACK TO a", &[]).bind("", "", &[]).execute("", 0).sync();
        c.parse("", "INSERT INTO t VALUES (71)", &[]).bind("", "", &[]).execute("", 0).sync();
        c.parse("", "COMMIT", &[]).bind("", "", &[]).execute("", 0).sync();
        c.query("SELECT count(*) FROM t");
    }),
    ("two-phase commit as a client's statement", |c| {
        c.query("BEGIN").query("INSERT INTO t VALUES (80)").query("ROLLBACK");
    }),
];
