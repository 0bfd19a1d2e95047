//! The differential test of writes over several shards: transactions made at random run through weir
//! and on one plain PostgreSQL. Tags, rows returned, kinds of errors and the rows afterwards are the same, or
//! weir refuses and nothing is written.
//!
//! - `make`: the transactions · `copies`: COPY among them
//!
//! A difference is reduced to the fewest statements that still show it.
//!
//! `WEIR_WRITES_SEED=7 WEIR_WRITES_UNITS=5000 cargo test --test integration random_writes -- --nocapture`
mod copies;
mod make;

use crate::oracle::setting;
use crate::raw::Raw;
use crate::writes::{Stage, sorted};
use copies::Copy;
use make::Maker;

const SEED: usize = 1;
const UNITS: usize = 300;
/// The rows themselves are compared after so many.
const UNITS_BETWEEN_LOOKS: usize = 25;
/// Of a hundred units weir may refuse so many.
const REFUSED_PER_CENT: usize = 25;

/// What is sent: text, text with parameters, or COPY.
#[derive(Clone, Debug)]
enum Said {
    Query(String),
    Bound(String, Vec<Option<String>>),
    Copy(Copy),
}

/// One transaction.
#[derive(Clone, Debug)]
struct Unit {
    said: Vec<Said>,
    /// What is said last, if it is a block.
    end: Option<&'static str>,
}

/// Says it; what was answered.
fn say(raw: &mut Raw, said: &Said) -> String {
    match said {
        Said::Query(text) => {
            raw.query(text);
        }
        Said::Copy(copy) => return copy.say(raw),
        Said::Bound(text, values) => {
            let values: Vec<Option<&str>> = values.iter().map(Option::as_deref).collect();
            raw.parse("", text, &[]).bind("", "", &values).describe(b'P', "").execute("", 0).sync();
        }
    }
    raw.take_transcript() + "\n"
}

/// What has to be the same. Of two wrong rows the first need not be, so errors about rows are one, and nothing
/// of what came before an error.
fn essence(transcript: &str) -> String {
    let mut kept: Vec<String> = Vec::new();
    for answer in transcript.split_inclusive("Z ") {
        match answer.split_once("E V=") {
            None => kept.push(sorted(answer)),
            Some((_, error)) => {
                let code = error.split_once(" C=").and_then(|(_, code)| code.get(..5));
                kept.push(match code.unwrap_or_default() {
                    // Twice the same row, or one that is wrong.
                    row if row.starts_with("21") || row.starts_with("23") => "E 23".into(),
                    code => format!("E {code}"),
                });
            }
        }
    }
    kept.join("\n")
}

/// What came of a unit.
enum Outcome {
    Same,
    Refused,
    Differs(String),
}

struct Pair {
    weir: Raw,
    plain: Raw,
}

impl Pair {
    fn new(stage: &Stage) -> Self {
        Self { weir: stage.client(), plain: stage.plain() }
    }

    fn run(&mut self, unit: &Unit) -> Outcome {
        let Self { weir, plain } = self;
        let mut heard: String = unit.said.iter().map(|said| say(weir, said)).collect();
        if heard.contains("C=0A000") {
            if unit.end.is_some() {
                weir.query("ROLLBACK");
            }
            weir.take_transcript();
            return Outcome::Refused;
        }
        let mut expected: String = unit.said.iter().map(|said| say(plain, said)).collect();
        if let Some(end) = unit.end {
            heard += &weir.query(end).take_transcript();
            expected += &plain.query(end).take_transcript();
        }
        match essence(&heard) == essence(&expected) {
            true => Outcome::Same,
            false => Outcome::Differs(format!("weir:\n{heard}\n\nPostgreSQL:\n{expected}")),
        }
    }
}

/// Whether these units, one after the other, end in a difference: which.
fn differs(stage: &Stage, units: &[Unit]) -> Option<String> {
    stage.reset();
    let mut pair = Pair::new(stage);
    for unit in units {
        if let Outcome::Differs(how) = pair.run(unit) {
            return Some(how);
        }
    }
    stage.rows_differ()
}

/// As few units, of as few statements, as still differ.
fn shrunk(stage: &Stage, units: Vec<Unit>) -> (Vec<Unit>, Option<String>) {
    /// Each try is a run from the beginning.
    const TRIES: usize = 150;
    let (mut units, mut how, mut tries) = (units, None, 0);
    let mut still = |candidate: &[Unit], how: &mut Option<String>| {
        tries += 1;
        let found = if tries > TRIES { None } else { differs(stage, candidate) };
        let so = found.is_some();
        *how = found.or_else(|| how.take());
        so
    };
    let mut size = units.len();
    while size > 0 {
        let mut at = 0;
        while at < units.len() {
            let rest: Vec<Unit> =
                units.iter().take(at).chain(units.iter().skip(at + size)).cloned().collect();
            match still(&rest, &mut how) {
                true => units = rest,
                false => at += size,
            }
        }
        size /= 2;
    }
    for at in 0..units.len() {
        let mut statement = 0;
        while statement < units[at].said.len() {
            let mut fewer = units.clone();
            fewer[at].said.remove(statement);
            match still(&fewer, &mut how) {
                true => units = fewer,
                false => statement += 1,
            }
        }
    }
    (units, how)
}

#[test]
fn random_writes_do_what_one_postgresql_does() {
    let stage = Stage::new();
    let (seed, count) = (setting("WEIR_WRITES_SEED", SEED), setting("WEIR_WRITES_UNITS", UNITS));
    let mut pair = Pair::new(&stage);
    let (mut refused, mut statements, mut units) = (0, 0, Vec::new());
    for number in 0..count {
        let unit = Maker::of(seed, number).unit();
        statements += unit.said.len();
        let outcome = pair.run(&unit);
        units.push(unit);
        let wrong = match outcome {
            Outcome::Refused => {
                refused += 1;
                None
            }
            Outcome::Same if number % UNITS_BETWEEN_LOOKS == 0 || number + 1 == count => {
                stage.rows_differ()
            }
            Outcome::Same => None,
            Outcome::Differs(how) => Some(how),
        };
        if let Some(how) = wrong {
            println!("unit {number} of seed {seed} differs:\n{:#?}\n{how}", units.last());
            let (fewest, how) = shrunk(&stage, units);
            panic!("shrunk to {fewest:#?}\n{}", how.unwrap_or_default());
        }
    }
    println!("seed {seed}: {count} units, {statements} statements, {refused} units refused");
    assert!(refused * 100 <= REFUSED_PER_CENT * count, "{refused} of {count} units were refused");
}
