//! COPY in both protocols, in blocks, given up, cancelled, and with shards that are lost.
use super::{Stage, copy_in};
use crate::cluster::DATABASE;
use crate::raw::Raw;
use crate::weir::wait_for;

#[test]
fn copy_is_said_in_all_ways_as_on_postgresql() {
    let stage = Stage::new();
    // Given up, and again.
    stage.check(&|c| {
        c.ask("COPY rows (id, word) FROM STDIN").hear_until(b"G");
        c.copy_data("1\ta\n2\tb\n").copy_fail("changed my mind").send();
        c.await_ready();
        copy_in(c, "COPY rows (id, word) FROM STDIN", b"1\ta\n2\tb\n3\tc\n", 3);
        c.ask("COPY rows (id) FROM STDIN").hear_until(b"G");
        c.copy_data("x\n").copy_fail("no").send();
        c.await_ready();
    });
    // Several in one text.
    stage.check(&|c| {
        c.ask("SELECT 1; COPY rows (id) FROM STDIN; SELECT count(*) FROM rows; COPY rows (id) TO STDOUT");
        c.hear_until(b"G").copy_data("10\n11\n").copy_done().send();
        c.await_ready();
        c.ask("COPY rows (id) FROM STDIN; COPY texts FROM STDIN; SELECT count(*) FROM texts");
        c.hear_until(b"G").copy_data("12\n").copy_done().send();
        c.hear_until(b"G").copy_data("a\tb\n").copy_done().send();
        c.await_ready();
        c.ask("COPY rows (id) FROM STDIN; COPY rows (id) FROM STDIN").hear_until(b"G");
        c.copy_data("13\n14\n").copy_done().send();
        c.hear_until(b"G").copy_data("15\n13\n").copy_done().send();
        c.await_ready();
        c.ask("COPY rows (id) FROM STDIN; SELECT 1").hear_until(b"G").copy_fail("no").send();
        c.await_ready();
    });
    // In a block.
    stage.check(&|c| {
        c.query("BEGIN");
        copy_in(c, "COPY rows (id) FROM STDIN", b"20\n21\n22\n", 2);
        c.query("COPY (SELECT id FROM rows ORDER BY id) TO STDOUT").query("ROLLBACK");
        c.query("BEGIN");
        copy_in(c, "COPY rows (id) FROM STDIN", b"20\n21\n22\n", 2);
        c.query("SAVEPOINT a");
        copy_in(c, "COPY rows (id) FROM STDIN", b"23\n20\n", 2);
        copy_in(c, "COPY rows (id) FROM STDIN", b"24\n", 2);
        c.query("COPY rows TO STDOUT").query("ROLLBACK TO a");
        copy_in(c, "COPY rows (id) FROM STDIN", b"25\n26\n", 2);
        c.query("COMMIT").query("COPY rows (id) TO STDOUT");
        c.query("BEGIN").ask("COPY rows (id) FROM STDIN").hear_until(b"G").copy_fail("no").send();
        c.await_ready().query("SELECT 1").query("ROLLBACK");
        c.query("BEGIN READ ONLY");
        copy_in(c, "COPY rows (id) FROM STDIN", b"27\n", 2);
        c.query("ROLLBACK");
    });
}

/// Keys that a sequence gives, in the order of the rows.
fn keys_are_drawn(stage: &Stage) {
    let many: String = (0..3000).map(|row| format!("row {row}\n")).collect();
    for port in stage.both() {
        let mut client = port;
        copy_in(&mut client, "COPY drawn (note) FROM STDIN", b"a\n\\N\nc\\td\n", 2);
        client.query("SELECT setval('drawn_id_seq', 100)");
        copy_in(&mut client, "COPY drawn (note) FROM STDIN (FORMAT csv)", many.as_bytes(), 700);
        client.query("SELECT setval('drawn_id_seq', 9000)").query("BEGIN");
        copy_in(
            &mut client,
            "COPY drawn (note) FROM STDIN (FORMAT csv, HEADER)",
            b"note\nx\n\"y\n\"\n",
            3,
        );
        client.query("COMMIT").query("SELECT setval('drawn_id_seq', 9100)");
        copy_in(&mut client, "COPY drawn (note) FROM STDIN", b"a\nb\tc\n", 9);
        assert!(client.take_transcript().contains("C=22P04"));
        // Given by the client, and drawn in vain.
        copy_in(&mut client, "COPY drawn FROM STDIN", b"9500\tgiven\n", 9);
        copy_in(&mut client, "COPY drawn (note) FROM STDIN", b"", 9);
    }
    let all = "SELECT id, note FROM drawn ORDER BY id";
    let [there, here] = stage.both().map(|mut client| client.query(all).take_transcript());
    assert_eq!(here, there);
    let mut client = stage.client();
    for id in [1, 2, 3, 101, 3100, 9001, 9002] {
        assert_eq!(client.value(&format!("SELECT count(*) FROM drawn WHERE id = {id}")), "1");
    }
}

#[test]
fn the_extended_protocol_copies_as_on_postgresql() {
    let stage = Stage::new();
    keys_are_drawn(&stage);
    stage.check(&|c| {
        let begin = |c: &mut Raw, sql: &str| {
            c.parse("", sql, &[]).bind("", "", &[]).describe(b'P', "").execute("", 0);
        };
        // As libpq does it: Sync is sent along.
        begin(c, "COPY rows (id) FROM STDIN");
        c.put(b'S', b"").send();
        c.hear_until(b"G").copy_data("1\n2\n3\n").copy_done().sync();
        begin(c, "COPY rows (id) FROM STDIN");
        c.put(b'S', b"").send();
        c.hear_until(b"G").copy_fail("no").sync();
        begin(c, "COPY rows (id) FROM STDIN");
        c.put(b'S', b"").send();
        c.hear_until(b"G").copy_data("4\nx\n").copy_done().sync();
        // As tokio-postgres does it.
        begin(c, "COPY rows (id, word) FROM STDIN");
        c.put(b'H', b"").send();
        c.hear_until(b"G").copy_data("5\ta\n").put(b'H', b"").send();
        c.copy_data("6\tb\n").copy_done().sync();
        // Everything at once.
        begin(c, "COPY rows (id) FROM STDIN");
        c.copy_data("7\n8\n").copy_done().sync();
        c.put(b'Q', b"COPY rows (id) FROM STDIN\0").copy_data("9\n10\n").copy_done().send();
        c.await_ready();
        c.parse("s", "COPY rows (id) TO STDOUT", &[]).describe(b'S', "s").bind("p", "s", &[]);
        c.describe(b'P', "p").execute("p", 0).sync();
        c.parse("q", "COPY (SELECT id FROM rows ORDER BY id) TO STDOUT (FORMAT csv, HEADER)", &[]);
        c.bind("", "q", &[]).execute("", 0).bind("", "q", &[]).execute("", 0).sync();
        c.parse("", "COPY rows (missing) FROM STDIN", &[]).bind("", "", &[]).execute("", 0);
        c.copy_data("1\n").copy_done().sync();
        // Beside others of its transaction.
        c.parse("", "INSERT INTO rows (id) VALUES (30)", &[]).bind("", "", &[]).execute("", 0);
        begin(c, "COPY rows (id) FROM STDIN");
        c.copy_data("31\n32\n").copy_done();
        c.parse("", "SELECT count(*) FROM rows", &[]).bind("", "", &[]).execute("", 0).sync();
        begin(c, "COPY rows (id) FROM STDIN");
        c.copy_data("33\n").copy_done();
        c.parse("", "INSERT INTO rows (id) VALUES (31)", &[]).bind("", "", &[]).execute("", 0);
        c.sync();
    });
}

#[test]
fn data_that_nobody_waits_for_is_ignored() {
    let stage = Stage::new();
    stage.check(&|c| {
        c.ask("COPY rows (id) FROM STDIN").hear_until(b"G").copy_data("1\nx\n").send();
        for _ in 0..50 {
            c.copy_data(&"2\n".repeat(5000)).send();
        }
        c.copy_done().send();
        c.await_ready().query("SELECT count(*) FROM rows");
    });
}

#[test]
fn a_cancel_request_ends_a_copy() {
    let stage = Stage::new();
    let mut client = stage.client();
    client.ask("COPY rows (id) FROM STDIN").hear_until(b"G").copy_data("1\n2\n3\n").send();
    let mut other = Raw::dial(stage.weir.port());
    let mut packet = 80877102_u32.to_be_bytes().to_vec();
    packet.extend(client.pid.to_be_bytes());
    packet.extend(&client.secret);
    other.send_packet(&packet);
    client.await_ready();
    let heard = client.take_transcript();
    assert!(heard.contains("C=57014") && heard.contains("user request"), "{heard}");
    client.copy_data("4\n").copy_done().query("SELECT count(*) FROM rows");
    assert!(client.transcript().contains("D 0"), "{}", client.transcript());
}

#[test]
fn a_client_that_vanishes_leaves_nothing() {
    let stage = Stage::new();
    let mut client = stage.client();
    client.ask("COPY rows (id) FROM STDIN").hear_until(b"G");
    client.copy_data(&(0..5000).map(|id| format!("{id}\n")).collect::<String>()).send();
    client.vanish();
    wait_for("the shards' transactions to end", || {
        stage.cluster.shards().iter().all(|shard| {
            let open = "SELECT count(*) FROM pg_stat_activity WHERE xact_start IS NOT NULL \
                        AND pid <> pg_backend_pid() AND backend_type = 'client backend'";
            shard.sql(DATABASE, open).unwrap() == "0"
        })
    });
    stage.compare_rows();
}

#[test]
fn a_shard_that_is_lost_fails_the_copy_everywhere() {
    let stage = Stage::new();
    let mut client = stage.client();
    client.ask("COPY rows (id) FROM STDIN").hear_until(b"G");
    client.copy_data("1\n2\n3\n").send();
    let kill = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                WHERE query LIKE 'COPY rows%' AND pid <> pg_backend_pid()";
    wait_for("the shard's COPY", || stage.cluster.shard(1).sql(DATABASE, kill).unwrap() != "0");
    client.await_ready();
    let heard = client.take_transcript();
    assert!(heard.contains("E ") && heard.ends_with("Z I"), "{heard}");
    client.copy_data("4\n").copy_done().query("SELECT count(*) FROM rows");
    assert!(client.transcript().contains("D 0"), "{}", client.transcript());
    stage.check(&|c| copy_in(c, "COPY rows (id) FROM STDIN", b"1\n2\n3\n", 100));
}

#[test]
fn a_shard_that_waits_for_a_lock_stops_the_client_and_no_more() {
    let stage = Stage::new();
    let mut holder =
        Raw::connect(stage.cluster.shard(2).port(), &[("user", "postgres"), ("database", "shop")]);
    holder.query("BEGIN").query("INSERT INTO rows (id) VALUES (2)");
    let before = stage.weir.peak_memory();
    let mut client = stage.client();
    client.patient(std::time::Duration::from_secs(60));
    let port = stage.weir.port();
    let feeder = std::thread::spawn(move || {
        let mut client = Raw::connect(port, &[("user", "postgres"), ("database", "shop")]);
        client.patient(std::time::Duration::from_secs(60));
        client.ask("COPY rows (id, word) FROM STDIN").hear_until(b"G");
        for block in 0..64 {
            let row = |id: usize| format!("{}\t{}\n", block * 1000 + id, "x".repeat(1000));
            client.copy_data(&(0..1000).map(row).collect::<String>()).send();
        }
        client.copy_done().send();
        client.await_ready();
        client.transcript()
    });
    wait_for("a shard that waits", || {
        let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'transactionid'";
        stage.cluster.shard(2).sql(DATABASE, waits).unwrap() == "1"
    });
    assert_eq!(client.value("SELECT count(*) FROM rows WHERE id = 1"), "0");
    holder.query("ROLLBACK");
    let heard = feeder.join().unwrap();
    assert!(heard.contains("COPY 64000"), "{heard}");
    let grown = stage.weir.peak_memory() - before;
    println!("64 MB past a shard that waited: weir's memory grew by {grown} KiB");
    assert!(grown < 16 * 1024, "{grown} KiB");
}
