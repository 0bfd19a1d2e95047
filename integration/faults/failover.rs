//! Primaries that go, replicas that are promoted, primaries that come back.
use super::{ABSENT, LOST, Load, Stage, check, outage};
use crate::cluster::DATABASE;
use crate::raw::Raw;
use crate::weir::wait_for;
use std::time::Instant;

const CLIENTS: usize = 4;

/// Often, so that the tests are short.
const PROBES: &str = "\
    [probe]\ninterval = '200ms'\ninterval_in_doubt = '50ms'\ntimeout = '2s'\n\
    [breaker]\nopen = '300ms'\n";

/// The primary is killed, and its replica has what was acknowledged: synchronous replication. Work
/// goes on at the new primary within a probe's interval or so of its promotion; nothing is lost.
#[test]
fn work_follows_a_promotion_after_the_primary_was_killed() {
    let mut stage = Stage::with_replicas(&[0, 1], PROBES);
    synchronous(&stage);
    let mut load = stage.load(CLIENTS);
    let fail = |stage: &mut Stage, _: &Load| stage.cluster.kill(1);
    outage(&mut stage, &load, 1, fail, promote);

    // The old primary comes back, a timeline behind: nobody talks to it.
    stage.cluster.restart(1);
    let old = stage.cluster.shard(1);
    old.sql("postgres", "ALTER SYSTEM RESET synchronous_standby_names").unwrap();
    old.reload().unwrap();
    let count = || old.sql(DATABASE, "SELECT count(*) FROM entries").unwrap();
    let (before, from) = (count(), Instant::now());
    load.go_on(100);
    let during = super::show(&load, "beside the old primary", 1, from, Instant::now());
    assert_eq!((count(), during.failed()), (before, 0));
    load.finish();
    check(&load, [stage.cluster.shard(0), stage.cluster.replica(1, 0)]);
}

/// The primary hangs and its replica is promoted: whoever waits for an answer of the old one is told
/// that the line is lost, and work goes on at the new one. What the old one does when it goes on was
/// never acknowledged, since nobody confirms it.
#[test]
fn work_is_taken_away_from_a_primary_that_hangs_and_was_replaced() {
    let mut stage = Stage::with_replicas(&[0, 1], PROBES);
    synchronous(&stage);
    let mut load = stage.load(CLIENTS);
    let fail = |stage: &mut Stage, _: &Load| stage.cluster.shard(1).hang().unwrap();
    let during = outage(&mut stage, &load, 1, fail, promote);
    during.assert_only(&[&LOST[..], &ABSENT].concat());
    let healed = Instant::now();
    stage.cluster.shard(1).go_on().unwrap();
    load.go_on(100);
    let after = super::show(&load, "beside the old primary", 1, healed, Instant::now());
    assert_eq!(after.failed(), 0);
    load.finish();
    check(&load, [stage.cluster.shard(0), stage.cluster.replica(1, 0)]);
}

/// A commit on shard 1 is acknowledged when its replica has it.
fn synchronous(stage: &Stage) {
    let primary = stage.cluster.shard(1);
    primary.sql("postgres", "ALTER SYSTEM SET synchronous_standby_names = '*'").unwrap();
    primary.reload().unwrap();
    wait_for("synchronous replication", || {
        let state = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'";
        primary.sql("postgres", state).unwrap() == "1"
    });
}

fn promote(stage: &mut Stage) {
    stage.cluster.replica(1, 0).promote().unwrap();
}

/// A statement that arrives while there is no primary waits for one.
#[test]
fn statements_wait_while_there_is_no_primary() {
    let mut stage = Stage::with_replicas(&[0, 1], PROBES);
    let (mut client, mut other) = (stage.client(), stage.client());
    assert_eq!(client.value("SELECT balance FROM accounts WHERE user_id = 1"), "0");
    stage.cluster.stop(1);
    let asked = Instant::now();
    client.ask("INSERT INTO entries VALUES (2, 1)");
    assert_eq!(other.value("SELECT count(*) FROM entries WHERE user_id = 0"), "0");
    stage.cluster.replica(1, 0).promote().unwrap();
    client.await_ready();
    let said = client.take_transcript();
    assert!(said.contains("INSERT 0 1"), "{said}");
    println!("it waited {:?}", asked.elapsed());
    assert_eq!(client.value("SELECT count(*) FROM entries WHERE id = 2 AND user_id = 1"), "1");
}

/// Not for ever: after timeouts.primary it is told 57P03, which names the shard.
#[test]
fn statements_wait_for_a_primary_no_longer_than_they_are_allowed_to() {
    let settings = format!("{PROBES}[timeouts]\nprimary = '500ms'\n");
    let mut stage = Stage::with_replicas(&[0, 1], &settings);
    let mut client = stage.client();
    stage.cluster.stop(1);
    let (asked, mut said) = (Instant::now(), String::new());
    wait_for("the shard to have no primary", || {
        said = insert(&mut client, 1, 1);
        said.contains("C=57P03") && said.contains("shard s1 has no primary")
    });
    println!("after {:?}: {said}", asked.elapsed());
    assert_eq!(client.value("SELECT count(*) FROM entries WHERE user_id = 0"), "0");
}

/// Two servers that both went on alone after the same past: writes are refused until one is gone.
#[test]
fn two_primaries_on_one_timeline_get_no_writes() {
    let mut stage = Stage::with_replicas(&[0, 2], PROBES);
    let mut client = stage.client();
    assert!(insert(&mut client, 1, 1).contains("INSERT 0 1"));
    stage.cluster.stop(1);
    for replica in stage.cluster.replicas(1) {
        replica.promote().unwrap();
    }
    let rows = |stage: &Stage| -> Vec<String> {
        let count = "SELECT count(*) FROM entries";
        stage.cluster.replicas(1).iter().map(|r| r.sql(DATABASE, count).unwrap()).collect()
    };
    wait_for("both to be seen", || insert(&mut client, 2, 1).contains("C=57P03"));
    let before = rows(&stage);
    let refused = insert(&mut client, 3, 1);
    assert!(refused.contains("C=57P03") && refused.contains("s1"), "{refused}");
    println!("{refused}");
    assert!(insert(&mut client, 3, 0).contains("INSERT 0 1"), "the other shard takes writes");
    assert_eq!(rows(&stage), before);
    stage.cluster.stop((1, 0));
    wait_for("the other one to be the primary", || {
        insert(&mut client, 4, 1).contains("INSERT 0 1")
    });
}

/// What the server says to that.
fn insert(client: &mut Raw, id: i64, user: i64) -> String {
    client.take_transcript();
    client.query(&format!("INSERT INTO entries VALUES ({id}, {user})"));
    client.take_transcript()
}
