//! Networks that drop packets. Above TCP that is stalls of its retransmission time-outs, on any line in
//! either direction, and silence in one direction or both while it lasts; never a byte less.
use super::proxy::{Loss, Towards, Weather};
use super::{ABSENT, AT_ONCE, LOST, Load, Stage, outage};

const CLIENTS: usize = 4;
const LIMITS: &str = "[timeouts]\ntotal = '700ms'\nconnect = '1s'\n";

fn loss(percent: u32) -> Weather {
    let seed = rand::random();
    println!("{percent} % of the packets are lost, seed {seed}");
    Weather::Lossy(Loss { percent, seed })
}

/// One packet of twenty: everything is late, and nothing else.
#[test]
fn lost_packets_cost_time_and_nothing_else() {
    let mut stage = Stage::new(2, "");
    let mut load = stage.load(CLIENTS);
    let lose = |stage: &mut Stage, load: &Load| {
        stage.proxies[1].turn(loss(5));
        load.go_on_at(&[1], 100);
    };
    let during = outage(&mut stage, &load, 1, lose, |stage| stage.proxies[1].turn(Weather::Fair));
    assert_eq!(during.failed(), 0, "{during}");
    assert!(during.longest >= Loss::AGAIN, "nothing was lost: {during}");
    stage.check(&mut load);
}

/// One of three, and statements that have no time for that: refused, or unknown, and said so.
#[test]
fn a_network_too_bad_for_the_total_budget_is_told_as_such() {
    let mut stage = Stage::new(2, LIMITS);
    let mut load = stage.load(CLIENTS);
    let lose = |stage: &mut Stage, load: &Load| {
        stage.proxies[1].turn(loss(33));
        load.go_wrong_at(1, 15);
    };
    let during = outage(&mut stage, &load, 1, lose, |stage| stage.proxies[1].turn(Weather::Fair));
    during.assert_only(&[&LOST[..], &ABSENT, &["57014"]].concat());
    assert!(during.longest < AT_ONCE, "{during}");
    stage.check(&mut load);
}

/// What the server does and cannot say, and what it never hears: both are unknown to weir.
#[test]
fn a_line_that_is_silent_in_one_direction_is_told_as_lost() {
    let mut stage = Stage::new(2, LIMITS);
    let mut load = stage.load(CLIENTS);
    for towards in [Towards::Weir, Towards::Server] {
        let fall = |stage: &mut Stage, load: &Load| {
            stage.proxies[1].turn(Weather::SilenceTowards(towards));
            load.go_wrong_at(1, 8);
        };
        let during =
            outage(&mut stage, &load, 1, fall, |stage| stage.proxies[1].turn(Weather::Fair));
        println!("silence towards {towards:?}: {during}");
        during.assert_only(&[&LOST[..], &ABSENT, &["57014"]].concat());
        assert!(during.longest < AT_ONCE, "{during}");
    }
    stage.check(&mut load);
}
