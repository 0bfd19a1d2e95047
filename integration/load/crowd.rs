//! A thousand clients share twenty connections as well as twenty do.
use super::client::{execute, parse};
use super::{Crowd, Figures, Stage, Step, allow_many_files};

const CONNECTIONS: usize = 20;
const MANY: usize = 1000;
const ROUNDS: usize = 3;
/// However slow the machine: fewer would say nothing of who gets how much.
const TURNS: usize = 4;

const READ: &str = "SELECT name FROM orders WHERE user_id = $1";
/// The connections that were used for it.
const USED: &str =
    "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT name FROM orders%'";

#[test]
fn a_thousand_clients_get_as_much_done_as_twenty_and_nobody_starves() {
    allow_many_files();
    // A busy machine is no reason to give up.
    let settings = format!("[pool]\nsize = {CONNECTIONS}\n[timeouts]\ncheckout = '5min'\n");
    let stage = Stage::new("", &settings);
    let mut few = crowd(&stage, CONNECTIONS);
    let mut many = crowd(&stage, MANY);
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let (mut one, most) = stage.run(&mut [&mut few], USED);
        let (mut other, more) = stage.run(&mut [&mut many], USED);
        assert!(most.max(more) <= CONNECTIONS, "{} connections", most.max(more));
        rounds.extend(one.pop().zip(other.pop()));
    }
    for (few, many) in &rounds {
        println!("{few}\n{many}");
        few.assert_no_error();
        many.assert_no_error();
        assert!(many.slowest_share() >= 1.0 / 3.0, "{many}");
    }
    let sum = |of: fn(&(Figures, Figures)) -> &Figures| -> f64 {
        rounds.iter().map(|round| of(round).each_second()).sum()
    };
    println!("{MANY} get {:.3} of what {CONNECTIONS} get", sum(|r| &r.1) / sum(|r| &r.0));
    // Something else may have had the machine in some of the rounds.
    let worst = rounds.iter().map(|(few, _)| few.each_second()).fold(f64::MAX, f64::min);
    let best = rounds.iter().map(|(_, many)| many.each_second()).fold(0.0, f64::max);
    assert!(best >= worst / 2.0, "{best:.0}/s of {MANY} clients, {worst:.0}/s of {CONNECTIONS}");
}

fn crowd(stage: &Stage, count: usize) -> Crowd {
    let clients = stage.clients(count, &parse("read", READ));
    let script = |number: usize| vec![Step::Ask(execute("read", &number.to_string()))];
    Crowd::new(clients, script).at_least(TURNS)
}
