//! Servers and lines that say nothing: nobody hangs up, and only time tells.
use super::proxy::Weather;
use super::{ABSENT, AT_ONCE, LOST, Load, Stage, outage};
use std::thread;
use std::time::Duration;

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
