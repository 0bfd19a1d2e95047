//! The differential test: generated statements run through weir, over four shards, and on one plain
//! PostgreSQL with the same rows. The answers are the same, or weir refuses; never a difference.
//!
//! - `grammar`: `grammar.txt`, read and expanded at random
//! - `constants`, `value`: what stands in the statements, as text and as parameters
//! - `statement`, `unit`: generated statements, and a few that belong together
//! - `talk`: the protocol's ways to send them
//! - `answer`: what comes back, made comparable
//! - `world`: the rows on both sides
//! - `pair`: run a unit on both, shrink a difference
//! - `report`: what was run, and what weir refused
//!
//! docs/oracle.md says how to run it longer.
mod grammar;
mod constants;
pub mod value;
pub mod statement;
mod unit;
pub mod talk;
pub mod answer;
mod world;
mod pair;
mod report;

use crate::cluster::{Cluster, DATABASE};
use crate::raw::Raw;
use crate::weir::Weir;
use grammar::Grammar;
use pair::Pair;
use rand::SeedableRng;
use report::Report;
use unit::Unit;
use weir::cli::shop;
use world::World;

pub use answer::TypeNames;
pub use pair::type_names;
pub use world::query;

pub type Random = rand::rngs::StdRng;

/// Read at run time: a shape more needs no build.
const GRAMMAR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/integration/oracle/grammar.txt");
/// What runs each time; docs/oracle.md says how to run others.
const SEED: usize = 1;
/// As many as take some seconds.
const STATEMENTS: usize = 2500;
/// The rows start anew now and then: what deletes take away comes back, and a difference's history is short.
const UNITS_PER_WORLD: usize = 150;
/// So many differences end a run at once.
const DIFFERENCES: usize = 12;

/// Where a client connects to.
#[derive(Clone)]
struct Place {
    port: u16,
}

impl Place {
    fn connect(&self) -> Raw {
        Raw::connect(self.port, &[("user", "postgres"), ("database", DATABASE)])
    }
}

/// The order system, and views of it.
fn schema() -> String {
    const VIEWS: &str = "\
        CREATE VIEW people AS SELECT id, name, created_at FROM users WHERE name <> 'Clara';\
        CREATE VIEW bought AS SELECT u.id AS who, u.name, o.id, o.order_no, o.status, o.total \
            FROM users u JOIN orders o ON o.user_id = u.id;\
        CREATE VIEW lines AS SELECT i.order_no, i.quantity * i.price AS amount, p.name \
            FROM order_items i JOIN products p ON p.id = i.product_id;\
        CREATE VIEW lately AS SELECT id, name FROM people WHERE created_at < now();\
        CREATE VIEW goods AS SELECT id, name FROM products WHERE id > 1;";
    format!("{}\n{VIEWS}", shop::SCHEMA)
}

/// What the environment says of a run.
pub fn setting(name: &str, default: usize) -> usize {
    match std::env::var(name) {
        Ok(value) => value.parse().unwrap_or_else(|_| panic!("{name} is a number")),
        Err(_) => default,
    }
}

/// Runs units until `statements` were run. What differs is made small and told; too much of it, or the
/// end of the run, ends the test.
fn compare(pair: &mut Pair, seed: usize, statements: usize) -> Report {
    let grammar = Grammar::read(&std::fs::read_to_string(GRAMMAR).unwrap());
    let mut random = Random::seed_from_u64(seed as u64);
    let mut report = Report::default();
    let mut before: Vec<Unit> = Vec::new();
    let mut differences = Vec::new();
    pair.reset();
    for number in 0.. {
        if report.statements >= statements {
            break;
        }
        if number % UNITS_PER_WORLD == UNITS_PER_WORLD - 1 {
            assert_eq!(pair.world().misplaced(), None, "seed {seed}, before unit {number}");
            pair.reset();
            before.clear();
        }
        let unit = Unit::generate(&grammar, number, &mut random);
        match pair.run(&unit) {
            Ok(agreed) => report.count(&unit, &agreed),
            Err(difference) => {
                let shrunk = pair.shrink(&before, &unit);
                differences.push(explain(number, &difference.text, shrunk));
                if differences.len() == DIFFERENCES {
                    break;
                }
                pair.reset();
                before.clear();
                continue;
            }
        }
        if unit.may_write() {
            before.push(unit);
        }
    }
    assert!(
        differences.is_empty(),
        "WEIR_ORACLE_SEED={seed}\n{report}\n{}",
        differences.join("\n")
    );
    report
}

fn explain(number: usize, first: &str, shrunk: Option<(Vec<Unit>, pair::Difference)>) -> String {
    match shrunk {
        None => format!("---- unit {number} differs, but not again from the start:\n{first}"),
        Some((before, difference)) => {
            let before: String = before.iter().map(Unit::show).collect();
            format!("---- unit {number} differs; made small:\n{before}{}", difference.text)
        }
    }
}

/// One server as weir, another as the oracle: what the comparison itself gets wrong shows here, and
/// whether the grammar still says things that PostgreSQL understands.
#[test]
fn two_plain_servers_give_the_same_answers_to_hundreds_of_shapes() {
    let cluster = Cluster::start(1);
    cluster.on_every_shard(&schema());
    let server = cluster.oracle();
    server.sql(DATABASE, &schema()).unwrap();
    let (one, other) = (Place { port: cluster.shard(0).port() }, Place { port: server.port() });
    let world = World::new(&other, std::slice::from_ref(&one));
    let mut pair = Pair::new(&one, &one, &other, world);
    let seed = setting("WEIR_ORACLE_SEED", SEED);
    let report = compare(&mut pair, seed, setting("WEIR_ORACLE_STATEMENTS", STATEMENTS / 2));
    println!("seed {seed}\n{report}");
    report.visited_enough();
    assert!(report.failed * 2 < report.statements, "too many errors\n{report}");
}

#[test]
fn weir_over_four_shards_answers_as_one_postgresql_does_or_refuses() {
    let cluster = Cluster::start(4);
    cluster.on_every_shard(&schema());
    let server = cluster.oracle();
    server.sql(DATABASE, &schema()).unwrap();
    let weir = Weir::start(&cluster, "[auth]\nmethod = 'trust'\n[pool]\nsize = 2");
    let oracle = Place { port: server.port() };
    let shards: Vec<Place> =
        cluster.shards().iter().map(|shard| Place { port: shard.port() }).collect();
    let world = World::new(&oracle, &shards);
    let mut pair = Pair::new(&Place { port: weir.port() }, &shards[0], &oracle, world);
    let seed = setting("WEIR_ORACLE_SEED", SEED);
    let report = compare(&mut pair, seed, setting("WEIR_ORACLE_STATEMENTS", STATEMENTS));
    println!("seed {seed}\n{report}");
    report.visited_enough();
    for verb in ["SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "WITH", "COMMIT", "EXECUTE"] {
        assert!(report.answered_of(verb) > 0, "no {verb} was answered\n{report}");
    }
    assert!(report.answered * 3 > report.statements, "weir answers too little\n{report}");
}
