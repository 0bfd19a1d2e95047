//! Reads on replicas: never too old, never older than what the session itself has written, and none
//! lost when a replica goes.
use super::{Stage, occupy};
use crate::raw::Raw;
use crate::weir::wait_for;
use std::collections::BTreeMap;
use std::time::Instant;

const PROBES: &str = "\
    [probe]\ninterval = '100ms'\ninterval_in_doubt = '50ms'\ntimeout = '2s'\n\
    [breaker]\nopen = '300ms'\n";

/// The port of the server that answers.
const WHERE: &str = "SELECT inet_server_port() FROM accounts WHERE user_id = 1";

const COUNT: &str = "SELECT count(*) FROM entries WHERE user_id = 1";

fn reader(stage: &Stage) -> Raw {
    let mut client = stage.client();
    client.query("SET weir.reads = 'replica'");
    client
}

fn port(client: &mut Raw) -> u16 {
    let answer = client.value(WHERE);
    answer.parse().unwrap_or_else(|_| panic!("{answer}: {}", client.transcript()))
}

/// Waits until this session's reads run there.
fn wait_for_place(client: &mut Raw, place: u16) {
    wait_for("reads to run elsewhere", || port(client) == place);
}

#[test]
fn reads_follow_a_sessions_own_writes_and_leave_a_replica_that_falls_behind() {
    let stage = Stage::with_replicas(&[0, 1], &format!("{PROBES}[replicas]\nmax_lag = '3s'\n"));
    let (primary, replica) = (stage.cluster.shard(1), stage.cluster.replica(1, 0));
    let (mut writer, mut other) = (reader(&stage), reader(&stage));
    wait_for_place(&mut other, replica.port());
    wait_for_place(&mut writer, replica.port());
    replica.pause_replay().unwrap();

    // Its own write is seen at once, on the primary; others' reads stay where they are.
    writer.query("INSERT INTO entries VALUES (1, 1)");
    let paused = Instant::now();
    assert_eq!(writer.value(COUNT), "1");
    assert_eq!(port(&mut writer), primary.port());
    // How long ago the last look was, nobody knows: what counts is that both halves fit.
    let seen = other.value(
        "SELECT inet_server_port(), (SELECT count(*) FROM entries WHERE user_id = 1) \
         FROM accounts WHERE user_id = 1",
    );
    let possible = [format!("{}|0", replica.port()), format!("{}|1", primary.port())];
    assert!(possible.contains(&seen), "{seen} is none of {possible:?}");
    // Then it is too old for everybody.
    wait_for_place(&mut other, primary.port());
    assert_eq!(other.value(COUNT), "1");
    println!("given up after {:?}", paused.elapsed());

    replica.resume_replay().unwrap();
    wait_for_place(&mut other, replica.port());
    wait_for_place(&mut writer, replica.port());
    assert_eq!(writer.value(COUNT), "1");
}

/// What may write, or says so, goes to the primary.
#[test]
fn only_what_is_proved_to_read_runs_on_a_replica() {
    let stage = Stage::with_replicas(&[0, 1], PROBES);
    let (primary, replica) = (stage.cluster.shard(1).port(), stage.cluster.replica(1, 0).port());
    let mut client = reader(&stage);
    wait_for_place(&mut client, replica);
    assert_eq!(port(&mut stage.client()), primary, "nobody asked for replicas");
    let locked = client.value(&format!("{WHERE} FOR UPDATE"));
    assert_eq!(locked, primary.to_string());
    // What a server does now is not the same on another one.
    let state = client.value("SELECT pg_is_in_recovery() FROM accounts WHERE user_id = 1");
    assert_eq!(state, "f");
    client.query("BEGIN");
    assert_eq!(port(&mut client), primary, "a block may write later");
    client.query("COMMIT").query("BEGIN READ ONLY");
    assert_eq!(port(&mut client), replica);
    // What any server can be told does not need the primary, which would see another snapshot.
    client.query("COMMIT").query("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY");
    assert_eq!(port(&mut client), replica);
    client.query("SET LOCAL statement_timeout = '9s'");
    assert_eq!(client.value("SHOW statement_timeout"), "9s");
    assert_eq!(port(&mut client), replica);
    client.query("COMMIT").query("SET weir.reads = 'primary'");
    assert_eq!(port(&mut client), primary);
    let hinted = format!("/* weir: reads=replica */ {WHERE}");
    assert_eq!(client.value(&hinted), replica.to_string());
}

/// A replica that lets nobody in is no reason for an error.
#[test]
fn a_replica_without_a_free_slot_is_passed_over() {
    let stage = Stage::with_replicas(&[0, 1], PROBES);
    let (primary, replica) = (stage.cluster.shard(1).port(), stage.cluster.replica(1, 0).port());
    let (mut holder, mut other) = (reader(&stage), reader(&stage));
    wait_for_place(&mut holder, replica);
    holder.query("BEGIN READ ONLY");
    assert_eq!(port(&mut holder), replica);
    let _hoard: Vec<_> = std::iter::from_fn(|| occupy(replica)).collect();
    assert_eq!(port(&mut other), primary);
    assert_eq!(port(&mut holder), replica);
}

/// Two replicas share the reads of many clients. When one is killed, its running reads fail, and from
/// then on the other has them all; without any, the primary has.
#[test]
fn reads_are_shared_by_the_replicas_that_there_are() {
    let mut stage = Stage::with_replicas(&[0, 2], PROBES);
    let places = |stage: &Stage| {
        let mut clients: Vec<Raw> = (0..8).map(|_| reader(stage)).collect();
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for _ in 0..5 {
            for client in &mut clients {
                client.ask(WHERE);
            }
            for client in &mut clients {
                client.take_transcript();
                client.await_ready();
                let said = client.take_transcript();
                let answer = said.lines().find_map(|line| line.strip_prefix("D "));
                *counts.entry(answer.unwrap_or(&said).to_owned()).or_default() += 1;
            }
        }
        counts
    };
    let [first, second] = [0, 1].map(|index| stage.cluster.replica(1, index).port().to_string());
    let primary = stage.cluster.shard(1).port().to_string();
    wait_for("both replicas to be used", || {
        let counts = places(&stage);
        println!("{counts:?}");
        counts.len() == 2 && counts.contains_key(&first) && counts.contains_key(&second)
    });
    // One read is at work on the replica that dies.
    let mut running = reader(&stage);
    let endless = "SELECT count(*) FROM accounts a, generate_series(1, 30000) n, \
                   generate_series(1, 30000) m, generate_series(1, 30000) o WHERE a.user_id = 1";
    let active = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query = '{endless}'"
    );
    running.ask(endless);
    let at_work = |stage: &Stage, index: usize| {
        stage.cluster.replica(1, index).sql("postgres", &active).unwrap() == "1"
    };
    wait_for("the read to run", || at_work(&stage, 0) || at_work(&stage, 1));
    let (dying, first, second) = match at_work(&stage, 0) {
        true => (0, first, second),
        false => (1, second, first),
    };
    stage.cluster.kill((1, dying));
    running.take_transcript();
    let said = running.await_ready().transcript();
    assert!(said.contains("C=08006") || said.contains("C=57P01"), "{said}");
    wait_for("all reads to go to the other", || {
        let counts = places(&stage);
        println!("{counts:?}");
        counts.keys().eq([&second])
    });
    stage.cluster.kill((1, 1 - dying));
    wait_for("all reads to go to the primary", || {
        let counts = places(&stage);
        println!("{counts:?}");
        counts.keys().eq([&primary])
    });
    stage.cluster.restart((1, dying));
    wait_for("a replica to be used when it is back", || places(&stage).keys().eq([&first]));
}
