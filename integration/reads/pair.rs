//! A read on plain PostgreSQL and through weir: the same answer, or a difference made small.
use super::Random;
use super::compare::essence;
use super::make::{Made, Maker};
use crate::oracle::answer::{Answer, Failure, Said, TypeNames};
use crate::oracle::talk::{Fetch, How, Results, Step};
use crate::oracle::{query, type_names};
use crate::raw::Raw;
use rand::RngExt;
use std::time::Duration;

/// Some statements join so much that PostgreSQL itself works at them for hours.
const TOO_SLOW: &str = "2s";
/// What one PostgreSQL answers in that time weir may answer more slowly.
const PATIENCE: Duration = Duration::from_secs(60);
/// How many smaller variants are tried on a difference.
const ATTEMPTS: usize = 300;

/// Where a client connects to, and whose types' numbers it sees there.
#[derive(Clone)]
pub struct Place {
    pub port: u16,
    pub database: String,
    pub types: TypeNames,
}

impl Place {
    /// `types_of` is a server's port and database.
    pub fn new(port: u16, database: &str, types_of: (u16, &str)) -> Self {
        let types = type_names(&mut connect(types_of.0, types_of.1));
        Self { port, database: database.to_owned(), types }
    }

    pub fn connect(&self) -> Raw {
        connect(self.port, &self.database)
    }
}

pub fn connect(port: u16, database: &str) -> Raw {
    Raw::connect(port, &[("user", "postgres"), ("database", database)])
}

/// A statement, how it is sent, and what is written before it in the same transaction.
#[derive(Clone, Debug)]
pub struct Read {
    before: Vec<String>,
    step: Step,
    made: Made,
}

pub enum Outcome {
    Answered(Way),
    Failed(String),
    Refused(Failure),
    /// PostgreSQL gave up, so nothing is known of weir.
    Slow,
}

/// What an answer says of how it was made: weir tells by a notice that it gathered.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Gathered,
    Untold,
}

pub struct Pair {
    oracle: Side,
    weir: Side,
}

struct Side {
    place: Place,
    raw: Raw,
}

impl Side {
    fn new(place: &Place) -> Self {
        let mut raw = place.connect();
        raw.patient(PATIENCE);
        // Plain PostgreSQL takes it for a setting of somebody's.
        query(&mut raw, "SET weir.gather_notice = on");
        Self { place: place.clone(), raw }
    }

    fn oracle(place: &Place) -> Self {
        let mut oracle = Self::new(place);
        query(&mut oracle.raw, &format!("SET statement_timeout = '{TOO_SLOW}'"));
        oracle
    }

    fn run(&mut self, read: &Read) -> Answer {
        let step = &read.step;
        if read.before.is_empty() {
            return step.run(&mut self.raw, &self.place.types);
        }
        query(&mut self.raw, "BEGIN");
        read.before.iter().for_each(|text| drop(query(&mut self.raw, text)));
        let answer = step.run(&mut self.raw, &self.place.types);
        if answer.said.last() != Some(&Said::Gone) {
            self.raw.query("ROLLBACK");
            self.raw.take_transcript();
        }
        answer
    }
}

impl Pair {
    pub fn new(oracle: &Place, weir: &Place) -> Self {
        Self { oracle: Side::oracle(oracle), weir: Side::new(weir) }
    }

    /// What both sides agree on, or what each of them says.
    pub fn run(&mut self, read: &Read) -> Result<Outcome, String> {
        let oracle = self.oracle.run(read);
        let failed = oracle.said.iter().find_map(failure);
        if failed.is_some_and(|failure| failure.code == "57014") {
            return Ok(Outcome::Slow);
        }
        let mut weir = self.weir.run(read);
        let way = told(&mut weir);
        if let Some(refused) = weir.refusal() {
            return match weir.said.last() {
                Some(Said::Ready(_)) => Ok(Outcome::Refused(refused.clone())),
                _ => Err(self.tell(read, &weir, None)),
            };
        }
        if read.essence(&weir) != read.essence(&oracle) {
            return Err(self.tell(read, &weir, Some(&oracle)));
        }
        Ok(match failed {
            Some(failure) => Outcome::Failed(format!("{} {}", failure.code, failure.message)),
            None => Outcome::Answered(way),
        })
    }

    /// New connections: whatever was wrong with the old ones stays behind.
    pub fn renew(&mut self) {
        *self = Self::new(&self.oracle.place, &self.weir.place);
    }

    fn tell(&mut self, read: &Read, weir: &Answer, oracle: Option<&Answer>) -> String {
        let oracle = oracle.map(|answer| format!("  PostgreSQL:\n{answer}")).unwrap_or_default();
        format!("{}{oracle}  weir:\n{weir}", read.show())
    }

    /// The smallest statement found that still shows a difference.
    pub fn shrink(&mut self, read: &Read, difference: String) -> String {
        let (mut read, mut difference) = (read.clone(), difference);
        let mut attempts = ATTEMPTS;
        'smaller: loop {
            for smaller in read.smaller() {
                if attempts == 0 {
                    break 'smaller;
                }
                attempts -= 1;
                self.renew();
                if let Err(found) = self.run(&smaller) {
                    (read, difference) = (smaller, found);
                    continue 'smaller;
                }
            }
            break;
        }
        self.renew();
        difference
    }

    /// What weir has done, in a word or two.
    pub fn strategy(&mut self, read: &Read, way: Way) -> String {
        if way == Way::Gathered {
            return "gathered".to_owned();
        }
        let explain = format!("EXPLAIN (WEIR) {}", read.made.statement.text());
        self.weir.raw.take_transcript();
        let said = self.weir.raw.value(&explain);
        self.weir.raw.take_transcript();
        let words = said.split([':', ';', '(']).next().unwrap_or_default().trim().to_owned();
        match words.as_str() {
            "several shards" => "merged".to_owned(),
            "any shard" => words,
            words if words.starts_with("shard ") => "one shard".to_owned(),
            words => format!("unclear: {words}"),
        }
    }
}

/// Takes weir's own notices out of an answer.
fn told(answer: &mut Answer) -> Way {
    let before = answer.said.len();
    let is_told = |said: &Said| match said {
        Said::Other(line) => line.starts_with("notice ") && line.contains(" M=gathered "),
        Said::Row(_)
        | Said::Columns(_)
        | Said::Done(_)
        | Said::Error(_)
        | Said::Ready(_)
        | Said::Gone => false,
    };
    answer.said.retain(|said| !is_told(said));
    if answer.said.len() < before { Way::Gathered } else { Way::Untold }
}

fn failure(said: &Said) -> Option<&Failure> {
    match said {
        Said::Error(failure) => Some(failure),
        Said::Row(_)
        | Said::Columns(_)
        | Said::Done(_)
        | Said::Other(_)
        | Said::Ready(_)
        | Said::Gone => None,
    }
}

impl Read {
    pub fn generate(number: usize, random: &mut Random) -> Self {
        let made = Maker::new(random).statement();
        let how = match random.random_range(0..10) {
            0..4 => How::Simple,
            4..7 => How::Bound { results: results(random), fetch: Fetch::All },
            7 => How::Bound {
                results: results(random),
                fetch: Fetch::Portions(random.random_range(1..4)),
            },
            _ => How::Described { results: results(random), twice: random.random_bool(0.6) },
        };
        let before = match random.random_range(0..12) {
            0 => writes(random),
            _ => Vec::new(),
        };
        let step = Step { statements: vec![made.statement.clone()], how, number };
        Self { before, step, made }
    }

    /// The text with its constants in it.
    pub fn text(&self) -> String {
        self.made.statement.text()
    }

    fn show(&self) -> String {
        let before: String = self.before.iter().map(|text| format!("    {text};\n")).collect();
        format!("{before}{}", self.step.show())
    }

    fn essence(&self, answer: &Answer) -> Vec<Said> {
        let results = match self.step.how {
            How::Simple => Results::Text,
            How::Bound { results, .. } | How::Described { results, .. } => results,
        };
        essence(answer, self.made.statement.order(), &self.made.certainties, results)
    }

    fn smaller(&self) -> Vec<Self> {
        let mut variants = Vec::new();
        if !self.before.is_empty() {
            variants.push(Self { before: Vec::new(), ..self.clone() });
        }
        for how in [How::Simple, How::Bound { results: Results::Text, fetch: Fetch::All }] {
            if self.step.how != how && self.step.how != How::Simple {
                let step = Step { how, ..self.step.clone() };
                variants.push(Self { step, ..self.clone() });
            }
        }
        for statement in self.made.statement.smaller() {
            let step = Step { statements: vec![statement.clone()], ..self.step.clone() };
            let made = Made { statement, ..self.made.clone() };
            variants.push(Self { step, made, ..self.clone() });
        }
        variants
    }
}

fn results(random: &mut Random) -> Results {
    if random.random_bool(0.5) { Results::Text } else { Results::Binary }
}

/// Rows that only this transaction sees.
fn writes(random: &mut Random) -> Vec<String> {
    use super::schema::KEYS;
    let key = KEYS[random.random_range(0..KEYS.len())];
    let text = match random.random_range(0..4) {
        0 => format!(
            "INSERT INTO parts (k, id, wide_id, i4, amount, tc) VALUES ({key}, 1001, 3, 2, 1.5, 'own')"
        ),
        1 => format!("UPDATE wide SET i4 = 3, tc = 'own', amount = 2.50 WHERE k = {key}"),
        2 => format!("DELETE FROM parts WHERE k = {key}"),
        _ => format!(
            "INSERT INTO guests (k, id, code, i4, td) VALUES ({key}, 1001, 'A-1', 2, 'own')"
        ),
    };
    vec![text]
}
