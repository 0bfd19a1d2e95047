//! The differential test of reads over several shards: generated SELECTs run through weir over 1, 2, 4
//! and 7 shards and on one plain PostgreSQL with the same rows. The answers are the same, or weir
//! refuses; never a difference.
//!
//! - `types`, `schema`: the tables, their rows, and where these live
//! - `make`: the statements
//! - `compare`: what of two answers has to be the same
//! - `pair`: run a statement on both, shrink a difference
//! - `report`: what was run, and what weir refused
//!
//! docs/oracle.md says how to run it longer.
mod types;
mod schema;
mod make;
mod compare;
mod pair;
mod report;

use crate::cluster::{Cluster, DATABASE};
use crate::oracle::setting;
use crate::weir::Weir;
use pair::{Pair, Place, Read};
use rand::SeedableRng;
use report::Report;
use schema::{Stock, World};

type Random = rand::rngs::StdRng;

const WORLDS: [World; 4] =
    [World { shards: 1 }, World { shards: 2 }, World { shards: 4 }, World { shards: 7 }];
/// What runs each time; docs/oracle.md says how to run others.
const SEED: usize = 1;
/// As many as take about a minute.
const STATEMENTS: usize = 600;
/// Then come other rows.
const STATEMENTS_PER_STOCK: usize = 150;
/// Of a thousand statements weir may refuse so many.
const REFUSED_PER_MILLE: usize = 9;
/// So many differences end a run at once.
const DIFFERENCES: usize = 8;
/// A long run says how far it is.
const STATEMENTS_PER_SIGN: usize = 1000;

/// Runs statements on the oracle and on one of the others in turn.
fn compare(stock: &mut Stock, pairs: &mut [(String, Pair)], statements: usize) -> Report {
    let seed = setting("WEIR_READS_SEED", SEED);
    // For a look at one statement of a run.
    let only = std::env::var("WEIR_READS_ONLY").ok().map(|text| text.parse::<usize>().unwrap());
    let mut reports: Vec<Report> = pairs.iter().map(|_| Report::default()).collect();
    let mut differences = 0;
    for number in 0..statements {
        let mut random = Random::seed_from_u64((seed as u64) << 32 | number as u64);
        let fresh = number % STATEMENTS_PER_STOCK == 0;
        if only.map_or(fresh, |only| number == only / STATEMENTS_PER_STOCK * STATEMENTS_PER_STOCK) {
            stock.fill(&mut Random::seed_from_u64((seed as u64) << 32 | number as u64));
        }
        if only.is_some_and(|only| only != number) {
            continue;
        }
        if number > 0 && number % STATEMENTS_PER_SIGN == 0 {
            println!("{number} statements, {differences} differences");
        }
        let read = Read::generate(number, &mut random);
        let turn = number % pairs.len();
        let (name, pair) = &mut pairs[turn];
        match pair.run(&read) {
            Ok(outcome) => reports[turn].count(&read, &outcome, |way| pair.strategy(&read, way)),
            Err(difference) => {
                let small = pair.shrink(&read, difference);
                println!("---- statement {number} differs over {name}:\n{small}");
                differences += 1;
                if differences == DIFFERENCES {
                    break;
                }
            }
        }
    }
    let mut report = Report::default();
    for ((name, _), part) in pairs.iter().zip(reports) {
        println!("over {name}: {} statements, {} refused", part.statements, part.refused);
        report.add(part);
    }
    println!("WEIR_READS_SEED={seed}\n{report}");
    assert_eq!(differences, 0, "differences, told above");
    report
}

/// One more plain server as weir, with the same rows in another order: what PostgreSQL's answer leaves
/// open shows here, and whether the generator says things that PostgreSQL understands.
#[test]
fn two_plain_databases_give_the_same_answers_to_generated_reads() {
    let cluster = Cluster::start(1);
    let alone = World { shards: 1 };
    schema::create(&cluster, &[alone]);
    let mut stock = Stock::new(&cluster, &[alone]).in_reverse();
    let port = cluster.shard(0).port();
    let oracle = Place::new(port, DATABASE, (port, DATABASE));
    let other = alone.database(0);
    let other = Place::new(port, &other, (port, &other));
    let mut pairs = [("one more database".to_owned(), Pair::new(&oracle, &other))];
    let statements = setting("WEIR_READS_STATEMENTS", STATEMENTS / 2);
    let report = compare(&mut stock, &mut pairs, statements);
    assert!(report.failed * 10 < report.statements, "too many errors\n{report}");
}

/// The comparison sees what it is for.
#[test]
fn a_changed_value_and_a_missing_row_are_found() {
    let cluster = Cluster::start(1);
    let alone = World { shards: 1 };
    schema::create(&cluster, &[alone]);
    let port = cluster.shard(0).port();
    let oracle = Place::new(port, DATABASE, (port, DATABASE));
    let other = Place::new(port, &alone.database(0), (port, &alone.database(0)));
    let mut stock = Stock::new(&cluster, &[alone]);
    let mut random = Random::seed_from_u64(SEED as u64);
    for wrong in [
        "UPDATE wide SET i4 = 77, tc = 'other' WHERE id <= 3",
        "DELETE FROM parts WHERE id % 4 = 0",
    ] {
        stock.fill(&mut random);
        let mut pair = Pair::new(&oracle, &other);
        crate::oracle::query(&mut other.connect(), wrong);
        let mut differ = |number| pair.run(&Read::generate(number, &mut random)).is_err();
        let found = (0..200).filter(|&number| differ(number)).count();
        assert!(found >= 10, "{wrong}: only {found} of 200 statements show it");
    }
}

#[test]
fn reads_over_one_to_seven_shards_are_answered_as_by_one_postgresql_or_refused() {
    let cluster = Cluster::start(1);
    schema::create(&cluster, &WORLDS);
    let mut stock = Stock::new(&cluster, &WORLDS);
    let port = cluster.shard(0).port();
    let oracle = Place::new(port, DATABASE, (port, DATABASE));
    let weirs = WORLDS.map(|world| {
        let rules = schema::rules(&cluster, world);
        (world, Weir::with_rules(&cluster, &rules, "[auth]\nmethod = 'trust'\n[pool]\nsize = 2"))
    });
    let mut pairs = weirs.each_ref().map(|(world, weir)| {
        let place = Place::new(weir.port(), DATABASE, (port, &world.database(0)));
        (world.to_string(), Pair::new(&oracle, &place))
    });
    let statements = setting("WEIR_READS_STATEMENTS", STATEMENTS);
    let report = compare(&mut stock, &mut pairs, statements);
    for strategy in ["any shard", "one shard", "merged", "gathered"] {
        assert!(report.went(strategy) > 0, "nothing was answered by {strategy}\n{report}");
    }
    let refused = report.refused_per_mille();
    assert!(refused <= REFUSED_PER_MILLE, "weir refuses {refused} of 1000\n{report}");
}
