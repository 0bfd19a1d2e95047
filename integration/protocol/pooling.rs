//! One server connection and several clients: nothing of one is seen by the next, and whoever
//! vanishes leaves nothing behind.
use super::Stage;
use crate::raw::Raw;
use std::time::{Duration, Instant};

fn stage() -> Stage {
    let stage = Stage::new("[pool]\nsize = 1\n[timeouts]\ncheckout = '3s'\n");
    stage.reset("pooled");
    stage
}

/// The server's process that runs this client's statements.
fn backend(client: &mut Raw) -> String {
    client.value("SELECT pg_backend_pid()")
}

/// Asks until the answer is the expected one: what a server does when a client has left takes a moment.
fn wait_for(client: &mut Raw, sql: &str, expected: &str) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while client.value(sql) != expected {
        assert!(Instant::now() < deadline, "{sql} is {}", client.value(sql));
    }
}

#[test]
fn settings_of_one_client_are_not_seen_by_the_next() {
    let stage = stage();
    let (mut a, mut b) = (stage.client(), stage.client_with(&[("options", "-c work_mem=9MB")]));
    for sql in [
        "SET timezone = 'Asia/Tokyo'",
        "SET work_mem = '5MB'",
        "SET my.own = 'a'",
        "SELECT set_config('statement_timeout', '77s', false)",
        "SET ROLE pg_monitor",
    ] {
        a.query(sql);
        assert_eq!(b.value("SHOW timezone"), "UTC", "{sql}");
        assert_eq!(b.value("SHOW work_mem"), "9MB", "{sql}");
        assert_eq!(b.value("SHOW statement_timeout"), "0", "{sql}");
        assert_eq!(b.value("SELECT current_user"), "postgres", "{sql}");
        assert!(
            matches!(&*b.value("SELECT current_setting('my.own', true)"), "NULL" | ""),
            "{sql}"
        );
    }
    let mine = "SELECT current_setting('timezone') || current_setting('work_mem') || \
                current_setting('my.own') || current_setting('statement_timeout') || current_user";
    assert_eq!(a.value(mine), "Asia/Tokyo5MBa77spg_monitor");
    assert_eq!(backend(&mut a), backend(&mut b));
    a.query("RESET ALL");
    assert_eq!(b.value("SELECT current_user"), "postgres");
    a.query("DISCARD ALL");
    assert_eq!(a.value("SELECT current_user"), "postgres");
}

#[test]
fn what_ties_a_session_to_its_server_is_not_seen_by_the_next() {
    let stage = stage();
    for (sql, trace) in [
        ("CREATE TEMP TABLE mine (a int)", "SELECT to_regclass('pg_temp.mine') IS NOT NULL"),
        (
            "SELECT pg_advisory_lock(7)",
            "SELECT count(*) > 0 FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()",
        ),
        ("LISTEN news", "SELECT count(*) > 0 FROM pg_listening_channels()"),
        ("DECLARE c CURSOR WITH HOLD FOR SELECT 1", "SELECT count(*) > 0 FROM pg_cursors"),
    ] {
        let mut a = stage.client();
        a.query(sql);
        assert_eq!(a.value(trace), "t", "{sql}: kept by its own session");
        // The only server is taken.
        let mut b = stage.client();
        assert_eq!(b.value("SELECT 1"), "53300", "{sql}");
        a.vanish();
        assert_eq!(b.value(trace), "f", "{sql}: gone with its session");
    }
}

#[test]
fn notifications_reach_a_client_that_waits_for_nothing() {
    let stage = stage();
    let mut a = stage.client();
    a.query("LISTEN news");
    a.take_transcript();
    stage.beside().query("NOTIFY news, 'read all about it'");
    a.hear(1);
    assert_eq!(a.take_transcript(), "A news read all about it");
    a.query("UNLISTEN *").query("SELECT 1");
}

/// PostgreSQL sends rows when 8 KiB of them are there: weir may wait for more of them, but not for the end.
#[test]
fn rows_arrive_while_their_query_goes_on() {
    let stage = stage();
    let (mut a, mut beside) = (stage.client(), stage.beside());
    beside.query("SELECT pg_advisory_lock(9)");
    a.ask(
        "SELECT repeat('x', 3000), CASE n WHEN 7 THEN pg_advisory_lock(9)::text END \
         FROM generate_series(1, 9) n",
    );
    let heard = a.hear(1 + 5).take_transcript();
    assert_eq!(heard.lines().filter(|line| line.starts_with("D x")).count(), 5, "{heard}");
    beside.query("SELECT pg_advisory_unlock(9)");
    let heard = a.await_ready().take_transcript();
    assert_eq!(heard.lines().filter(|line| line.starts_with("D x")).count(), 4, "{heard}");
}

#[test]
fn statements_prepared_by_one_client_are_not_seen_by_the_next() {
    let stage = stage();
    let (mut a, mut b) = (stage.client(), stage.client());
    a.parse("s", "SELECT 'mine'", &[]).sync();
    a.query("PREPARE q AS SELECT 'mine'");
    b.parse("s", "SELECT 'yours'", &[]).bind("", "s", &[]).execute("", 0).sync();
    assert_eq!(b.take_transcript(), "1 \n2 \nD yours\nC SELECT 1\\x00\nZ I".replace(" \n", "\n"));
    assert_eq!(b.value("EXECUTE q"), "26000");
    assert_eq!(a.value("EXECUTE q"), "mine");
    a.take_transcript();
    a.bind("", "s", &[]).execute("", 0).sync();
    assert!(a.take_transcript().contains("D mine"));
}

#[test]
fn a_statement_prepared_under_one_time_zone_keeps_its_meaning_on_any_server() {
    let stage = Stage::new("[pool]\nsize = 2\n");
    stage.reset("pooled");
    let (mut a, mut b) = (stage.client(), stage.client());
    a.query("SET timezone = 'Asia/Tokyo'");
    a.parse("s", "SELECT extract(epoch FROM '2026-01-01 00:00'::timestamptz)", &[]).sync();
    a.query("SET timezone = 'UTC'");
    let executed = |a: &mut Raw| {
        a.take_transcript();
        a.bind("", "s", &[]).execute("", 0).sync();
        a.take_transcript()
    };
    let here = executed(&mut a);
    assert!(here.contains("D 1767193200"), "{here}");
    // The other server has to learn the statement now.
    let first = backend(&mut a);
    b.query("BEGIN");
    if backend(&mut b) != first {
        b.query("COMMIT");
        a.query("BEGIN");
        b.query("BEGIN").query("SELECT 1");
        a.query("COMMIT");
    }
    assert_eq!(executed(&mut a), here);
    assert_ne!(backend(&mut a), first);
}

#[test]
fn a_client_that_vanishes_in_a_transaction_is_rolled_back() {
    let stage = stage();
    let mut a = stage.client();
    a.query("BEGIN").query("INSERT INTO t VALUES (99)");
    a.vanish();
    let mut b = stage.client();
    assert_eq!(b.value("SELECT count(*) FROM t"), "3");
    // In the middle of a pipeline, and of COPY.
    let mut a = stage.client();
    a.parse("", "INSERT INTO t VALUES (98)", &[]).bind("", "", &[]).execute("", 0).flush(3);
    a.vanish();
    assert_eq!(b.value("SELECT count(*) FROM t"), "3");
    let mut a = stage.client();
    a.ask("COPY t FROM STDIN").hear_until(b"G").copy_data("97\tx\n").send();
    a.vanish();
    assert_eq!(b.value("SELECT count(*) FROM t"), "3");
    // While its statement runs.
    let mut a = stage.client();
    a.ask("INSERT INTO t SELECT 96 FROM pg_sleep(60)");
    let mut beside = stage.beside();
    let running = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'INSERT%sleep%' AND state = 'active'";
    wait_for(&mut beside, running, "1");
    a.vanish();
    wait_for(&mut beside, running, "0");
    assert_eq!(b.value("SELECT count(*) FROM t"), "3");
}

#[test]
fn a_server_lost_in_a_transaction_is_told_and_the_session_goes_on() {
    let stage = stage();
    let mut beside = stage.beside();
    let mut a = stage.client();
    // Idle in the pool.
    let pid = backend(&mut a);
    beside.query(&format!("SELECT pg_terminate_backend({pid}, 5000)"));
    assert_eq!(a.value("SELECT 1"), "1");
    assert_ne!(backend(&mut a), pid);
    // While a statement runs.
    let pid = backend(&mut a);
    a.ask("SELECT pg_sleep(60)");
    wait_for(
        &mut beside,
        "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)'",
        "1",
    );
    beside.query(&format!("SELECT pg_terminate_backend({pid}, 5000)"));
    a.await_ready();
    let said = a.take_transcript();
    assert!(said.contains("E V=ERROR C=57P01") && said.ends_with("Z I"), "{said}");
    assert_eq!(a.value("SELECT 1"), "1");
    // While a statement runs inside a block.
    a.query("BEGIN");
    let pid = backend(&mut a);
    a.take_transcript();
    a.ask("SELECT pg_sleep(61)");
    wait_for(
        &mut beside,
        "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(61)'",
        "1",
    );
    beside.query(&format!("SELECT pg_terminate_backend({pid}, 5000)"));
    a.await_ready();
    assert!(a.transcript().ends_with("Z E"), "{}", a.transcript());
    assert_eq!(a.value("SELECT 1"), "25P02");
    a.query("ROLLBACK");
    assert_eq!(a.value("SELECT 1"), "1");
    // Between two statements of a block: nobody has asked, so the session ends, as on PostgreSQL.
    a.query("BEGIN");
    let pid = backend(&mut a);
    a.take_transcript();
    beside.query(&format!("SELECT pg_terminate_backend({pid}, 5000)"));
    a.hear_the_end();
    assert!(a.transcript().contains("V=FATAL C=57P01"), "{}", a.transcript());
    assert_eq!(stage.client().value("SELECT 1"), "1");
}

#[test]
fn a_cancel_request_stops_only_its_own_client() {
    let stage = Stage::new("[pool]\nsize = 2\n");
    let (mut a, mut b) = (stage.client(), stage.client());
    a.ask("SELECT pg_sleep(30)");
    b.ask("SELECT pg_sleep(1)");
    let mut beside = stage.beside();
    wait_for(
        &mut beside,
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(%'",
        "2",
    );
    let cancel = |pid: u32, secret: &[u8]| {
        let mut line = Raw::dial(stage.weir.port());
        line.send_packet(&[&80_877_102u32.to_be_bytes()[..], &pid.to_be_bytes(), secret].concat());
        line.hear_the_end();
        assert_eq!(line.transcript(), "hung up");
    };
    let wrong: Vec<u8> = a.secret.iter().map(|byte| !byte).collect();
    cancel(a.pid, &wrong);
    cancel(a.pid + 77, &a.secret);
    b.await_ready();
    assert!(b.transcript().contains("C SELECT 1"), "{}", b.transcript());
    cancel(a.pid, &a.secret);
    a.await_ready();
    assert!(a.transcript().contains("C=57014"), "{}", a.transcript());
    // Nothing runs: nothing is hit, not even what others run on the same servers.
    b.ask("SELECT pg_sleep(1)");
    cancel(a.pid, &a.secret);
    b.await_ready();
    assert!(!b.transcript().contains("57014"), "{}", b.transcript());
    assert_eq!(a.value("SELECT 1"), "1");
}

#[test]
fn more_clients_than_servers_take_turns() {
    let stage = stage();
    let mut clients: Vec<Raw> = (0..12).map(|_| stage.client()).collect();
    for round in 0..5 {
        for (number, client) in clients.iter_mut().enumerate() {
            client.parse("s", "SELECT $1::int", &[]).bind(
                "",
                "s",
                &[Some(&format!("{round}{number}"))],
            );
            client.execute("", 0).close(b'S', "s").put(b'S', b"").send();
        }
        for client in &mut clients {
            client.await_ready();
            let said = client.take_transcript();
            assert!(said.ends_with("3\nZ I"), "{said}");
        }
    }
    assert_eq!(clients[0].value("SELECT count(*) FROM pg_stat_activity WHERE datname = 'pooled' AND backend_type = 'client backend'"), "1");
}

#[test]
fn time_limits_of_weir_toml_end_what_takes_too_long() {
    let stage = Stage::new(
        "[pool]\nsize = 2\n[timeouts]\nidle_in_transaction = '400ms'\nclient_idle = '1500ms'\nstatement = '700ms'\n",
    );
    let mut a = stage.client();
    a.query("BEGIN").query("SELECT 1");
    a.take_transcript();
    a.hear_the_end();
    assert!(a.transcript().contains("V=FATAL C=25P03"), "{}", a.transcript());
    let mut b = stage.client();
    b.hear_the_end();
    assert!(b.transcript().contains("V=FATAL C=57P05"), "{}", b.transcript());
    let mut c = stage.client();
    assert_eq!(c.value("SELECT pg_sleep(20)"), "57014");
    assert_eq!(c.value("SELECT 1"), "1");
    c.parse("", "SELECT pg_sleep(20)", &[]).bind("", "", &[]).execute("", 0).sync();
    assert!(c.take_transcript().contains("C=57014"));
    // A client may set a limit of its own.
    c.query("SET statement_timeout = '5s'");
    assert_eq!(c.value("SELECT pg_sleep(0.9)"), "");
}
