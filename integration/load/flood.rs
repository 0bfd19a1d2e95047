//! Slow reports of a hundred clients, in a tier of their own, leave the interactive work alone.
use super::client::{execute, parse, query};
use super::{Crowd, Figures, Stage, Step, figures_are_wanted};
use crate::cluster::DATABASE;
use crate::weir::wait_for;
use std::time::Duration;

const CLIENTS: usize = 8;
const REPORTS: usize = 100;
/// The batch tier's.
const CONNECTIONS: usize = 5;
/// Not many: the machine may be busy with something else.
const TURNS: usize = 10;
/// For the same reason. Behind the reports of the flood's own queue it would be four seconds.
const SOON: Duration = Duration::from_secs(2);

const WORK: &str = "SELECT name FROM orders WHERE user_id = $1";
/// One that waits, as for disks: all that can be short are connections.
const WAITING: &str = "SELECT count(*) AS report, pg_sleep(0.2) FROM orders WHERE user_id = 7";
/// One that computes for about as long, so that processors are short, too.
const COMPUTING: &str = "SELECT count(*) AS report, sum(length(md5(name || n))) \
    FROM orders, generate_series(1, 50000) n WHERE user_id = 7";
/// The connections that a report runs on.
const RUNNING: &str = "SELECT count(*) FROM pg_stat_activity \
    WHERE query LIKE 'SELECT count(*) AS report%' AND state = 'active'";

#[test]
fn a_flood_of_reports_stays_within_its_tier_and_other_work_goes_on() {
    let settings = format!(
        "[pool]\nsize = 20\n[tier.batch]\nsize = {CONNECTIONS}\n[timeouts]\ncheckout = '5min'\n\
         [breaker.statement]\nslow = '1min'\n"
    );
    let stage = Stage::new("", &settings);
    let mut work = work(&stage);
    let (alone, _) = stage.run(&mut [&mut work], RUNNING);
    println!("work alone:       {}", alone[0]);

    let (beside, most) = flooded(&stage, &mut work, "batch", waiting);
    assert!(most <= CONNECTIONS, "{most} reports at once");
    beside.iter().for_each(Figures::assert_no_error);
    assert!(beside[0].percentile(50) < SOON, "{}", beside[0]);

    if figures_are_wanted() {
        flooded(&stage, &mut work, "batch", computing);
        flooded(&stage, &mut work, "interactive", waiting);
        flooded(&stage, &mut work, "interactive", computing);
    }
}

/// What the work and the reports get, and the most reports that ran at once.
fn flooded(
    stage: &Stage,
    work: &mut Crowd,
    tier: &str,
    report: fn(usize) -> Vec<Step>,
) -> (Vec<Figures>, usize) {
    let clients = stage.clients(REPORTS, &query(&format!("SET weir.tier = '{tier}'")));
    let mut flood = Crowd::new(clients, report).leaving();
    let (figures, most) = stage.run(&mut [work, &mut flood], RUNNING);
    println!("work beside that: {}", figures[0]);
    println!("flood in {tier}: {}; {most} connections at most", figures[1]);
    // Who has hung up has not stopped the server.
    let server = stage.cluster.shard(0);
    wait_for("the last report's end", || server.sql(DATABASE, RUNNING).unwrap() == "0");
    (figures, most)
}

fn work(stage: &Stage) -> Crowd {
    let clients = stage.clients(CLIENTS, &parse("read", WORK));
    let script = |number: usize| vec![Step::Ask(execute("read", &number.to_string()))];
    Crowd::new(clients, script).at_least(TURNS)
}

fn waiting(_: usize) -> Vec<Step> {
    vec![Step::Ask(query(WAITING))]
}

fn computing(_: usize) -> Vec<Step> {
    vec![Step::Ask(query(COMPUTING))]
}
