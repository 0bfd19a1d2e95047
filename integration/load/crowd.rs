//! A thousand clients share twenty connections as well as twenty do.
use super::client::{execute, parse};
use super::{Crowd, Figures, Stage, Step, allow_many_files, bouncer, figures_are_wanted};

pub const CONNECTIONS: usize = 20;
/// As many as connections, and more.
pub const SIZES: [usize; 3] = [CONNECTIONS, 100, 1000];
const ROUNDS: usize = 3;
/// However slow the machine: fewer would say nothing of who gets how much.
const TURNS: usize = 3;

pub const READ: &str = "SELECT name FROM orders WHERE user_id = $1";
/// The connections that were used for it.
pub const USED: &str =
    "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT name%FROM orders%'";

/// One that keeps its connection for so long that connections are short and processors are not, even where
/// those have something else to do.
const WAITING: &str = "SELECT name, pg_sleep(0.05) FROM orders WHERE user_id = $1";

/// What all of them cost is processor time, of which a thousand clients need more than twenty: the sizes
/// are compared for the record, and only a collapse is an error.
#[test]
fn a_thousand_clients_on_a_busy_machine_do_not_collapse_and_nobody_starves() {
    allow_many_files();
    let settings = settings();
    let stage = Stage::new("", &settings);
    let (few, many) = take_turns(&stage, READ);
    // Something else may have had the machine in some of the rounds.
    let (worst, best) = (few.iter().copied().fold(f64::MAX, f64::min), largest(&many));
    assert!(best >= worst / 2.0, "{best:.0}/s of the many, {worst:.0}/s of the few");
    drop(stage);
    if let Some(program) = bouncer::asked_for() {
        bouncer::compare(&program, &settings);
    }
}

/// What is short are connections: then those who wait cost nobody anything.
#[test]
fn a_thousand_clients_get_as_much_out_of_twenty_connections_as_twenty() {
    allow_many_files();
    let stage = Stage::new("", &settings());
    let (few, many) = take_turns(&stage, WAITING);
    // Neighbours had the same machine, if any had.
    let best = largest(&few.iter().zip(&many).map(|(few, many)| many / few).collect::<Vec<_>>());
    assert!(best >= 0.9, "{many:.0?}/s of the many, {few:.0?}/s of the few");
}

fn settings() -> String {
    // A busy machine is no reason to give up.
    format!("[pool]\nsize = {CONNECTIONS}\n[timeouts]\ncheckout = '5min'\n")
}

/// What the fewest and the most get done in a second, in rounds that take turns. Whatever is sent:
/// nobody gets an error, and nobody starves.
fn take_turns(stage: &Stage, sql: &str) -> (Vec<f64>, Vec<f64>) {
    let sizes: &[usize] = if figures_are_wanted() { &SIZES } else { &[SIZES[0], SIZES[2]] };
    let mut crowds: Vec<Crowd> = sizes.iter().map(|&size| crowd(stage, size, sql)).collect();
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        for crowd in &mut crowds {
            let (mut figures, most) = stage.run(&mut [crowd], USED);
            assert!(most <= CONNECTIONS, "{most} connections");
            rounds.extend(figures.pop());
        }
    }
    for figures in &rounds {
        println!("{figures}");
        figures.assert_no_error();
        // Where there is a connection for each, what keeps a client is a server process that the system
        // does not let run, up to a second on a busy machine; weir must not keep anybody.
        match figures.clients > CONNECTIONS {
            true => assert!(figures.slowest_share() >= 1.0 / 3.0, "{figures}"),
            false => assert_eq!(figures.late, 0, "{figures}"),
        }
    }
    let speeds = |size: usize| -> Vec<f64> {
        let of_size = rounds.iter().filter(|figures| figures.clients == size);
        of_size.map(Figures::each_second).collect()
    };
    let [few, _, many] = SIZES;
    for &size in sizes {
        let share = speeds(size).iter().sum::<f64>() / speeds(few).iter().sum::<f64>();
        println!("{size} get {share:.3} of what {few} get");
    }
    (speeds(few), speeds(many))
}

fn largest(speeds: &[f64]) -> f64 {
    speeds.iter().copied().fold(0.0, f64::max)
}

fn crowd(stage: &Stage, count: usize, sql: &str) -> Crowd {
    let clients = stage.clients(count, &parse("read", sql));
    let script = |number: usize| vec![Step::Ask(execute("read", &number.to_string()))];
    Crowd::new(clients, script).at_least(TURNS)
}
