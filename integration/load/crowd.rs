//! A thousand clients share twenty connections as well as twenty do.
use super::client::{execute, parse};
use super::{Crowd, Figures, Stage, Step, allow_many_files, figures_are_wanted};

const CONNECTIONS: usize = 20;
/// As many as connections, and more.
const SIZES: [usize; 3] = [CONNECTIONS, 100, 1000];
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
    let sizes: &[usize] = if figures_are_wanted() { &SIZES } else { &[SIZES[0], SIZES[2]] };
    let mut crowds: Vec<Crowd> = sizes.iter().map(|&size| crowd(&stage, size)).collect();
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
    let speeds = |size: usize| {
        let of_size = rounds.iter().filter(move |figures| figures.clients == size);
        of_size.map(Figures::each_second)
    };
    let [few, _, many] = SIZES;
    for &size in sizes {
        let share = speeds(size).sum::<f64>() / speeds(few).sum::<f64>();
        println!("{size} get {share:.3} of what {few} get");
    }
    // Something else may have had the machine in some of the rounds.
    let (worst, best) = (speeds(few).fold(f64::MAX, f64::min), speeds(many).fold(0.0, f64::max));
    assert!(best >= worst / 2.0, "{best:.0}/s of {many} clients, {worst:.0}/s of {few}");
}

fn crowd(stage: &Stage, count: usize) -> Crowd {
    let clients = stage.clients(count, &parse("read", READ));
    let script = |number: usize| vec![Step::Ask(execute("read", &number.to_string()))];
    Crowd::new(clients, script).at_least(TURNS)
}
