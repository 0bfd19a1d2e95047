//! Servers that end, throw their clients out, or have no place for more.
use super::{ABSENT, AT_ONCE, LOST, Load, Stage, occupy, outage};
use crate::cluster::DATABASE;
use crate::weir::wait_for;
use std::time::Instant;

const CLIENTS: usize = 4;

/// Its clients get errors at once until the server is back; then they go on without doing anything.
#[test]
fn a_server_killed_under_load_costs_only_its_own_clients_errors() {
    let mut stage = Stage::new(3, "");
    let mut load = stage.load(CLIENTS);
    let kill = |stage: &mut Stage, load: &Load| {
        stage.cluster.kill(1);
        load.go_wrong_at(1, 20);
    };
    let during = outage(&mut stage, &load, 1, kill, |stage| stage.cluster.restart(1));
    during.assert_only(&[&LOST[..], &ABSENT].concat());
    assert!(during.longest < AT_ONCE, "{during}");
    stage.check(&mut load);
}

/// Restarted in order: fast shutdown tells clients 57P01, and a moment later they go on.
#[test]
fn a_server_restarted_under_load_is_used_again_at_once() {
    let mut stage = Stage::new(2, "");
    let mut load = stage.load(CLIENTS);
    let restart = |stage: &mut Stage, _: &Load| {
        stage.cluster.stop(1);
        stage.cluster.restart(1);
    };
    let during = outage(&mut stage, &load, 1, restart, |_| ());
    during.assert_only(&[&LOST[..], &ABSENT].concat());
    assert!(during.longest < AT_ONCE, "{during}");
    stage.check(&mut load);
}

/// Idle clients and those between transactions notice nothing; what runs, or is in the middle of a
/// transaction, gets 57P01.
#[test]
fn terminated_server_connections_are_noticed_only_by_what_runs_on_them() {
    let stage = Stage::new(2, "");
    let server = stage.cluster.shard(0);
    let terminate = format!(
        "SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity \
         WHERE datname = '{DATABASE}' AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
    );
    let mut idle: Vec<_> = (0..6).map(|_| stage.client()).collect();
    for client in &mut idle {
        // All hold a server connection at once, so that the pool gets several.
        client.query("BEGIN");
        assert_eq!(client.value("SELECT count(*) FROM entries WHERE user_id = 0"), "0");
    }
    for client in &mut idle {
        client.query("COMMIT");
    }
    let (mut running, mut between) = (stage.client(), stage.client());
    running.ask("SELECT pg_sleep(60) FROM accounts WHERE user_id = 0");
    between.query("BEGIN").query("INSERT INTO entries VALUES (-1, 0)");
    wait_for("the statement to run", || {
        let text =
            "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%60%'";
        server.sql("postgres", text).unwrap() != "0"
    });
    running.take_transcript();
    assert!(server.sql(DATABASE, &terminate).unwrap().parse::<u32>().unwrap() >= 6);

    running.await_ready();
    assert!(running.transcript().contains("C=57P01"), "{}", running.transcript());
    between.take_transcript();
    between.hear_the_end();
    assert!(between.transcript().contains("C=57P01"), "{}", between.transcript());
    for client in &mut idle {
        assert_eq!(client.value("SELECT count(*) FROM entries WHERE user_id = 0"), "0");
    }
    assert_eq!(running.value("SELECT count(*) FROM entries WHERE user_id = 0"), "0");
}

/// The same under load, again and again: 57P01 for what runs, nothing lost, nothing twice.
#[test]
fn terminating_connections_under_load_loses_nothing() {
    let stage = Stage::new(2, "");
    let mut load = stage.load(CLIENTS);
    let terminate = format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
         WHERE datname = '{DATABASE}' AND usename = 'postgres' AND pid <> pg_backend_pid() \
         AND backend_type = 'client backend'"
    );
    let begun = load.go_on(10);
    for _ in 0..10 {
        stage.cluster.shard(0).sql("postgres", &terminate).unwrap();
        load.go_on(5);
    }
    let now = Instant::now();
    let during = super::show(&load, "terminated", 0, begun, now);
    assert_eq!(super::show(&load, "beside", 1, begun, now).failed(), 0);
    // Connections that break again and again may open the server's breaker for a moment: 57P03.
    during.assert_only(&[&LOST[..], &["57P03"]].concat());
    stage.check(&mut load);
}

/// A server without a free slot: whoever needs a new connection is told so at once, connections that
/// are there go on, and it heals by itself when others give back what they took.
#[test]
fn a_server_without_a_free_slot_is_named_and_used_again_when_it_has_one() {
    let stage = Stage::new(2, "");
    let count = |user: usize| format!("SELECT count(*) FROM entries WHERE user_id = {user}");
    let (mut holder, mut client) = (stage.client(), stage.client());
    holder.query("BEGIN").query(&count(0));
    let mut hoard = Vec::new();
    while let Some(held) = occupy(stage.cluster.shard(0).port()) {
        hoard.push(held);
    }
    let asked = Instant::now();
    client.take_transcript();
    client.query(&count(0));
    let said = client.take_transcript();
    assert!(said.contains("C=53300") && said.contains("too many clients already"), "{said}");
    assert!(said.contains("shard s0"), "{said}");
    assert!(asked.elapsed() < AT_ONCE, "it is told at once");
    assert_eq!(client.value(&count(1)), "0");
    assert_eq!(holder.value(&count(0)), "0");
    drop(hoard);
    wait_for("the shard to be used again", || client.value(&count(0)) == "0");
}
