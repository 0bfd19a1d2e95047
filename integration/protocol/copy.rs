//! COPY in both protocols.
use super::{Script, check};

#[test]
fn copy_goes_as_on_postgresql() {
    check(SCRIPTS);
}

const SCRIPTS: &[Script] = &[
    ("COPY out", |c| {
        c.query("COPY t TO STDOUT").query("COPY (SELECT 1 WHERE false) TO STDOUT");
        c.query("COPY t TO STDOUT (FORMAT csv, HEADER)").query("COPY missing TO STDOUT");
        c.parse("", "COPY t TO STDOUT", &[]).describe(b'S', "").bind("", "", &[]);
        c.describe(b'P', "").execute("", 0).sync();
        c.query("COPY (SELECT repeat('x', 1000) FROM generate_series(1, 5000)) TO STDOUT");
    }),
    ("COPY in", |c| {
        c.ask("COPY t FROM STDIN").hear_until(b"G");
        c.copy_data("10\tten\n").copy_data("11\t\\N\n").copy_done().send();
        c.await_ready().query("SELECT * FROM t ORDER BY id");
    }),
    ("COPY in with rows torn across messages", |c| {
        c.ask("COPY t FROM STDIN").hear_until(b"G");
        c.copy_data("1").copy_data("0\tte").copy_data("n\n11").copy_data("\tx").copy_done().send();
        c.await_ready().query("SELECT * FROM t ORDER BY id");
    }),
    ("COPY in given up by the client", |c| {
        c.ask("COPY t FROM STDIN").hear_until(b"G");
        c.copy_data("10\tten\n").copy_fail("changed my mind").send();
        c.await_ready().query("SELECT count(*) FROM t");
    }),
    ("COPY in with a bad row", |c| {
        c.ask("COPY t FROM STDIN").hear_until(b"G");
        c.copy_data("ten\tten\n").copy_data("11\tx\n").copy_done().send();
        c.await_ready().query("SELECT count(*) FROM t");
        c.ask("COPY t FROM STDIN").hear_until(b"G");
        for _ in 0..2000 {
            c.copy_data("x\n");
        }
        c.copy_done().send();
        c.await_ready().query("SELECT count(*) FROM t");
    }),
    ("COPY among other statements", |c| {
        c.ask("SELECT 1; COPY t FROM STDIN; SELECT count(*) FROM t; COPY t TO STDOUT")
            .hear_until(b"G");
        c.copy_data("10\tten\n").copy_done().send();
        c.await_ready();
        c.ask("COPY t FROM STDIN; COPY t FROM STDIN; SELECT count(*) FROM t").hear_until(b"G");
        c.copy_data("20\tten\n").copy_done().send();
        c.hear_until(b"G").copy_data("21\tx\n").copy_done().send();
        c.await_ready();
        c.ask("COPY t FROM STDIN; SELECT 1").hear_until(b"G").copy_fail("no").send();
        c.await_ready().query("SELECT count(*) FROM t");
    }),
    ("COPY inside a block", |c| {
        c.query("BEGIN").ask("COPY t FROM STDIN").hear_until(b"G");
        c.copy_data("10\tten\n").copy_done().send();
        c.await_ready().query("ROLLBACK").query("SELECT count(*) FROM t");
        c.query("BEGIN").ask("COPY t FROM STDIN").hear_until(b"G").copy_fail("no").send();
        c.await_ready().query("SELECT 1").query("ROLLBACK");
    }),
    ("COPY in, as libpq does it in the extended protocol", |c| {
        c.parse("", "COPY t FROM STDIN", &[]).bind("", "", &[]).describe(b'P', "").execute("", 0);
        c.put(b'S', b"").send();
        c.hear_until(b"G").copy_data("10\tten\n").copy_done().sync();
        c.query("SELECT count(*) FROM t");
        c.parse("", "COPY t FROM STDIN", &[])
            .bind("", "", &[])
            .execute("", 0)
            .put(b'S', b"")
            .send();
        c.hear_until(b"G").copy_fail("no").sync();
        c.query("SELECT count(*) FROM t");
        c.parse("", "COPY t FROM STDIN", &[])
            .bind("", "", &[])
            .execute("", 0)
            .put(b'S', b"")
            .send();
        c.hear_until(b"G").copy_data("x\ty\n").copy_done().sync();
        c.query("SELECT count(*) FROM t");
    }),
    ("COPY in, with a Flush and no Sync yet", |c| {
        c.parse("", "COPY t FROM STDIN", &[])
            .bind("", "", &[])
            .execute("", 0)
            .put(b'H', b"")
            .send();
        c.hear_until(b"G").copy_data("10\tten\n").copy_done().sync();
        c.query("SELECT count(*) FROM t");
        c.parse("", "COPY t FROM STDIN", &[])
            .bind("", "", &[])
            .execute("", 0)
            .put(b'H', b"")
            .send();
        c.hear_until(b"G").copy_data("x\n").put(b'H', b"").send();
        c.copy_fail("no").sync();
        c.query("SELECT count(*) FROM t");
    }),
    ("COPY data sent along at once", |c| {
        c.parse("", "COPY t FROM STDIN", &[]).bind("", "", &[]).execute("", 0);
        c.copy_data("10\tten\n").copy_done().sync();
        c.query("SELECT count(*) FROM t");
        c.put(b'Q', b"COPY t FROM STDIN\0").copy_data("11\tten\n").copy_done().send();
        c.await_ready().query("SELECT count(*) FROM t");
    }),
    ("COPY data that nobody waits for is ignored", |c| {
        c.copy_data("x\n").copy_done().copy_fail("x").query("SELECT 1");
        c.put(b'Q', b"COPY missing FROM STDIN\0").copy_data("11\tten\n").copy_done().send();
        c.await_ready().query("SELECT 2");
    }),
    ("a large COPY in", |c| {
        c.query("CREATE TABLE big (a text)").ask("COPY big FROM STDIN").hear_until(b"G");
        let rows = format!("{}\n", "x".repeat(1000)).repeat(100);
        for _ in 0..60 {
            c.copy_data(&rows);
        }
        c.copy_done().send();
        c.await_ready().query("SELECT count(*), sum(length(a)) FROM big");
        let row = format!("{}\n", "y".repeat(3_000_000));
        c.ask("COPY big FROM STDIN").hear_until(b"G").copy_data(&row).copy_done().send();
        c.await_ready().query("SELECT max(length(a)) FROM big");
    }),
];
