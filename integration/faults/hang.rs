//! Servers and lines that say nothing: nobody hangs up, and only time tells.
use super::proxy::Weather;
use super::{ABSENT, AT_ONCE, LOST, Load, Stage, outage};
use crate::weir::wait_for;
use std::thread;
use std::time::{Duration, Instant};

const CLIENTS: usize = 4;

/// For how long nothing is heard.
const WHILE: Duration = Duration::from_millis(800);

/// What runs there waits, others notice nothing, and when it goes on, so does everybody.
#[test]
fn a_server_that_hangs_for_a_moment_loses_nothing() {
    let mut stage = Stage::new(3, "");
    let mut load = stage.load(CLIENTS);
    let hang = |stage: &mut Stage, _: &Load| {
        stage.cluster.shard(1).hang().unwrap();
        thread::sleep(WHILE);
    };
    outage(&mut stage, &load, 1, hang, |stage| stage.cluster.shard(1).go_on().unwrap());
    stage.check(&mut load);
}

/// Without any limit what runs there waits for its answer, but when looks at the server have been in
/// vain, nobody else is made to wait: 57P03, at once, until it answers again.
#[test]
fn nobody_is_sent_to_a_server_that_hangs() {
    let settings = "\
        [timeouts]\nconnect = '1s'\n[probe]\ninterval = '200ms'\ninterval_in_doubt = '50ms'\n";
    let stage = Stage::new(2, settings);
    let (mut running, mut client) = (stage.client(), stage.client());
    let count = |user: u8| format!("SELECT count(*) FROM entries WHERE user_id = {user}");
    assert_eq!(running.value(&count(1)), "0");
    stage.cluster.shard(1).hang().unwrap();
    running.take_transcript();
    running.ask(&count(1));
    // Until then, and when the breaker lets one through, it is the connect that takes too long.
    wait_for("the server to be left alone", || {
        let asked = Instant::now();
        client.take_transcript();
        let said = client.query(&count(1)).transcript();
        let alone = said.contains("C=57P03") && said.contains("shard s1");
        assert!(!alone || asked.elapsed() < AT_ONCE, "{:?}", asked.elapsed());
        alone
    });
    assert_eq!(client.value(&count(0)), "0");
    stage.cluster.shard(1).go_on().unwrap();
    assert!(running.await_ready().transcript().contains("D 0"), "{}", running.transcript());
    wait_for("the server to be used again", || client.value(&count(1)) == "0");
}

/// With a budget for the whole statement, its clients have an error when that is over, for as long as
/// it hangs.
#[test]
fn a_server_that_hangs_costs_its_clients_the_total_budget() {
    let limits = "[timeouts]\ntotal = '700ms'\nconnect = '1s'\n";
    let mut stage = Stage::new(3, limits);
    let mut load = stage.load(CLIENTS);
    let hang = |stage: &mut Stage, load: &Load| {
        stage.cluster.shard(1).hang().unwrap();
        load.go_wrong_at(1, 12);
    };
    let during =
        outage(&mut stage, &load, 1, hang, |stage| stage.cluster.shard(1).go_on().unwrap());
    println!("{during}");
    during.assert_only(&[&LOST[..], &ABSENT, &["57014"]].concat());
    assert!(during.longest < AT_ONCE, "{during}");
    stage.check(&mut load);
}

/// The same for a line that loses everything, and for one that stops in the middle of a message:
/// half a message is never taken for a whole one.
#[test]
fn a_line_that_is_silent_for_a_moment_loses_nothing() {
    let mut stage = Stage::new(2, "");
    let mut load = stage.load(CLIENTS);
    for weather in [Weather::Silence, Weather::SilenceAfter(9)] {
        let fall = |stage: &mut Stage, _: &Load| {
            stage.proxies[1].turn(weather);
            thread::sleep(WHILE);
        };
        let during =
            outage(&mut stage, &load, 1, fall, |stage| stage.proxies[1].turn(Weather::Fair));
        println!("{weather:?}: {during}");
    }
    stage.check(&mut load);
}

/// Half a row is with the client already: an error behind it would be taken for the row's other half.
#[test]
fn a_row_that_breaks_off_is_the_end_of_the_line_and_no_error_inside_the_row() {
    const CUT: usize = 200_000;
    let stage = Stage::new(1, "");
    let mut client = stage.client();
    client.ask("SELECT count(*) FROM entries WHERE user_id = 0");
    stage.proxies[0].turn(Weather::CloseAfter(CUT));
    let long = "SELECT repeat('x', 1000000) FROM accounts WHERE user_id = 0";
    client.put(b'Q', &[long.as_bytes(), &[0]].concat()).send();
    let mut heard = Vec::new();
    while let Some(byte) = client.next_byte() {
        heard.push(byte);
    }
    stage.proxies[0].turn(Weather::Fair);
    assert!(client.transcript().ends_with("hung up"));
    assert!(heard.starts_with(b"T"), "{:?}", heard.first());
    let row = heard.iter().position(|byte| *byte == b'x').expect("the row has begun");
    assert!(heard[row..].iter().all(|byte| *byte == b'x'), "something is said inside the row");
    assert!(heard.len() <= CUT, "{} bytes", heard.len());
    // Others go on.
    assert_eq!(stage.client().value("SELECT count(*) FROM entries WHERE user_id = 0"), "0");
}

/// Lines that are closed in the middle of an answer, and reset: the outcome is unknown, and said so.
#[test]
fn lines_that_break_half_way_are_told_as_lost() {
    let mut stage = Stage::new(2, "");
    let mut load = stage.load(CLIENTS);
    for weather in [Weather::CloseAfter(9), Weather::Reset] {
        let fall = |stage: &mut Stage, load: &Load| {
            stage.proxies[1].turn(weather);
            load.go_wrong_at(1, 8);
        };
        let during =
            outage(&mut stage, &load, 1, fall, |stage| stage.proxies[1].turn(Weather::Fair));
        println!("{weather:?}: {during}");
        during.assert_only(&[&LOST[..], &ABSENT].concat());
        assert!(during.longest < AT_ONCE, "{during}");
    }
    stage.check(&mut load);
}
