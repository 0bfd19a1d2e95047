//! Two hundred clients that lock one row hold one connection, and the others go on.
use super::client::{execute, parse, query};
use super::{Crowd, Stage, Step, figures_are_wanted};
use crate::cluster::DATABASE;
use std::time::Duration;

const LOCKERS: usize = 200;
const READERS: usize = 8;
/// Not many: the machine may be busy with something else.
const TURNS: usize = 10;
const SETTINGS: &str = "[pool]\nsize = 20\n[timeouts]\ncheckout = '5min'\n\
    [breaker.statement]\nslow = '1min'\n";
/// What the application does between reading and writing.
const WORK: Duration = Duration::from_millis(2);

/// The connections that wait for somebody's lock on a row.
const WAITING: &str =
    "SELECT count(*) FROM pg_stat_activity WHERE wait_event IN ('transactionid', 'tuple')";

#[test]
fn two_hundred_clients_of_one_row_never_wait_for_its_lock_on_the_server() {
    println!("the row has a queue:");
    let waiting = run("hot_key = ['product_id']");
    assert_eq!(waiting, 0, "connections waited for the row's lock");
    if figures_are_wanted() {
        println!("the row has none:");
        run("");
    }
}

/// The most connections that waited for the lock at once.
fn run(hot_key: &str) -> usize {
    let stage = Stage::new(hot_key, SETTINGS);
    let parse = parse("read", "SELECT amount FROM stock WHERE product_id = $1");
    let mut readers = Crowd::new(stage.clients(READERS, &parse), read).at_least(TURNS);
    let (alone, _) = stage.run(&mut [&mut readers], WAITING);
    println!("readers alone:  {}", alone[0]);
    let mut lockers = Crowd::new(stage.clients(LOCKERS, &query("SELECT 1")), take);
    let mut taken = 0;
    if figures_are_wanted() {
        let (alone, _) = stage.run(&mut [&mut lockers], WAITING);
        println!("lockers alone:  {}", alone[0]);
        taken = alone[0].all;
    }
    let (figures, waiting) = stage.run(&mut [&mut readers, &mut lockers], WAITING);
    println!("readers beside: {}", figures[0]);
    println!("lockers:        {}; {waiting} connections waited at most", figures[1]);
    figures.iter().for_each(|figures| figures.assert_no_error());
    let left = "SELECT 1000000 - amount FROM stock WHERE product_id = 0";
    let gone = stage.cluster.shard(0).sql(DATABASE, left).unwrap();
    taken += figures[1].all;
    assert_eq!(gone, taken.to_string(), "what is gone, and how often somebody took one");
    waiting
}

/// Takes one of what everybody wants.
fn take(_: usize) -> Vec<Step> {
    let ask = |sql| Step::Ask(query(sql));
    vec![
        ask("BEGIN"),
        ask("SELECT amount FROM stock WHERE product_id = 0 FOR UPDATE"),
        Step::Work(WORK),
        ask("UPDATE stock SET amount = amount - 1 WHERE product_id = 0"),
        ask("COMMIT"),
    ]
}

fn read(number: usize) -> Vec<Step> {
    vec![Step::Ask(execute("read", &(number + 1).to_string()))]
}
