//! Large queries on one plain PostgreSQL and through weir over shards beside it: equal answers, and a
//! table of how each was answered, in what time, and how much was moved for it.
//!
//! All databases are on one server, so both sides have the same processors.
use crate::cluster::{Cluster, DATABASE};
use crate::oracle::answer::{Answer, Said, values};
use crate::oracle::statement::{Order, Part, Statement};
use crate::oracle::talk::{How, Step};
use crate::oracle::{TypeNames, type_names};
use crate::raw::Raw;
use crate::weir::Weir;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

pub const SHARDS: usize = 4;
/// A query may take this long.
const PATIENCE: Duration = Duration::from_secs(120);

/// A row's shard, by FNV-1a of its key's text and buckets in turn over the shards.
pub fn shard_of(key: &str, buckets: usize) -> usize {
    let fnv = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    key.bytes().fold(0x811c_9dc5, fnv) as usize % buckets % SHARDS
}

/// A table's rows as COPY's text: all of them, and those of each shard.
pub struct Rows {
    pub table: &'static str,
    all: String,
    shards: [String; SHARDS],
}

impl Rows {
    pub fn of(table: &'static str) -> Self {
        Self { table, all: String::new(), shards: Default::default() }
    }

    /// A row of one shard.
    pub fn add(&mut self, shard: usize, row: &str) {
        self.all.push_str(row);
        self.all.push('\n');
        self.shards[shard].push_str(row);
        self.shards[shard].push('\n');
    }

    /// A row of a reference table.
    pub fn everywhere(&mut self, row: &str) {
        self.all.push_str(row);
        self.all.push('\n');
        for shard in &mut self.shards {
            shard.push_str(row);
            shard.push('\n');
        }
    }
}

pub struct Beside {
    oracle: Raw,
    weir: Raw,
    types: TypeNames,
    lines: Vec<Line>,
    pub process: Weir,
    cluster: Cluster,
}

struct Line {
    name: String,
    strategy: String,
    rows: usize,
    plain: Duration,
    through: Option<Duration>,
    moved: Option<u64>,
    outcome: Outcome,
}

enum Outcome {
    Same,
    Differs(String),
    Refused(String),
}

impl Beside {
    /// `rules` is what rules say besides database, gather and shards; they hold `rows` then.
    pub fn new(schema: &str, rules: &str, rows: Vec<Rows>) -> Self {
        let cluster = Cluster::start(1);
        let server = cluster.shard(0);
        server.sql(DATABASE, schema).unwrap();
        let mut text =
            format!("database = '{DATABASE}'\n[gather]\ndsn = '{}'\n", server.dsn("gather"));
        let databases: Vec<String> = (0..SHARDS).map(|shard| format!("s{shard}")).collect();
        for database in databases.iter().map(String::as_str).chain(["gather"]) {
            let create = format!("CREATE DATABASE {database} TEMPLATE {DATABASE}");
            server.sql("postgres", &create).unwrap();
        }
        for name in &databases {
            writeln!(text, "[[shard]]\nname = '{name}'\nprimary = '{}'", server.dsn(name)).unwrap();
        }
        text.push_str(rules);
        for rows in rows {
            let copy = |rows_of: &str| format!("COPY {} FROM STDIN;\n{rows_of}\\.\n", rows.table);
            server.sql(DATABASE, &copy(&rows.all)).unwrap();
            for (database, part) in databases.iter().zip(&rows.shards) {
                server.sql(database, &copy(part)).unwrap();
            }
        }
        for database in databases.iter().map(String::as_str).chain([DATABASE]) {
            server.sql(database, "VACUUM ANALYZE").unwrap();
        }
        let text = text.replace(" user=postgres", "");
        let process = Weir::with_rules(&cluster, &text, "[auth]\nmethod = 'trust'");
        let connect = |port| {
            let raw = Raw::connect(port, &[("user", "postgres"), ("database", DATABASE)]);
            raw.patient(PATIENCE);
            raw
        };
        let (mut oracle, weir) = (connect(server.port()), connect(process.port()));
        let types = type_names(&mut oracle);
        Self { oracle, weir, types, lines: Vec::new(), process, cluster }
    }

    /// Runs a query on both sides; its rows come in a defined order.
    pub fn compare(&mut self, name: &str, text: &str) {
        let statement = Statement::split(vec![Part::Text(text.trim().to_owned())]).swap_remove(0);
        let step = Step { statements: vec![statement], how: How::Simple, number: 0 };
        let started = Instant::now();
        let oracle = step.run(&mut self.oracle, &self.types);
        let plain = started.elapsed();
        let failed = oracle.said.iter().any(|said| matches!(said, Said::Error(_) | Said::Gone));
        assert!(!failed, "{name} is no query of PostgreSQL's:\n{oracle}");
        let moved_before = self.moved();
        let started = Instant::now();
        let weir = step.run(&mut self.weir, &self.types);
        let through = started.elapsed();
        let moved = moved_before.zip(self.moved()).map(|(before, after)| after - before);
        let look = |answer: &Answer| answer.comparable(&[Order::Total]);
        let outcome = match weir.refusal() {
            Some(refusal) => Outcome::Refused(refusal.message.clone()),
            None if look(&weir) == look(&oracle) => Outcome::Same,
            None => Outcome::Differs(format!("{name}\n  PostgreSQL:\n{oracle}  weir:\n{weir}")),
        };
        let rows = oracle.said.iter().filter(|said| has_values(said)).count();
        let strategy = match (self.strategy(text), moved) {
            (several, Some(0)) if several == "several shards" => "merge".to_owned(),
            (several, Some(_)) if several == "several shards" => "gather".to_owned(),
            (other, _) => other,
        };
        self.lines.push(Line {
            name: name.to_owned(),
            strategy,
            rows,
            plain,
            through: matches!(outcome, Outcome::Same).then_some(through),
            moved,
            outcome,
        });
    }

    /// Runs text on one shard, as its owner would.
    pub fn on_shard(&self, shard: usize, text: &str) {
        self.cluster.shard(0).sql(&format!("s{shard}"), text).unwrap();
    }

    /// What a query gives on one shard, as its owner would ask it.
    pub fn value_on_shard(&self, shard: usize, text: &str) -> String {
        self.cluster.shard(0).sql(&format!("s{shard}"), text).unwrap()
    }

    /// New clients: of the one PostgreSQL, and of weir.
    pub fn lines(&self) -> [Raw; 2] {
        [self.cluster.shard(0).port(), self.process.port()]
            .map(|port| Raw::connect(port, &[("user", "postgres"), ("database", DATABASE)]))
    }

    /// Hands over each row that weir answers, and keeps none; or weir's reason to refuse.
    pub fn each(
        &mut self,
        text: &str,
        mut row: impl FnMut(Vec<Option<Vec<u8>>>),
    ) -> Option<String> {
        self.weir.ask(text);
        let mut refusal = None;
        loop {
            let heard = self.weir.next().expect("weir answers");
            match heard.kind {
                b'D' => row(values(&heard.body)),
                b'E' => {
                    assert_eq!(
                        heard.field(b'C').as_deref(),
                        Some("0A000"),
                        "{:?}",
                        heard.field(b'M')
                    );
                    refusal = heard.field(b'M');
                }
                b'Z' => return refusal,
                _ => {}
            }
        }
    }

    fn strategy(&mut self, text: &str) -> String {
        let said = self.weir.value(&format!("EXPLAIN (WEIR) {}", text.trim()));
        said.split([':', ';', '(', ',']).next().unwrap_or_default().trim().to_owned()
    }

    /// Bytes that weir has moved to the gather database so far, if it counts them.
    fn moved(&self) -> Option<u64> {
        let page = self.process.page("/metrics")?;
        let counters = page.lines().filter(|line| line.starts_with(MOVED));
        let numbers: Vec<u64> =
            counters.filter_map(|line| line.rsplit(' ').next()?.parse().ok()).collect();
        (!numbers.is_empty()).then(|| numbers.iter().sum())
    }

    /// The table; every answer was the same.
    pub fn finish(self) {
        println!("{}", self.table());
        let differs = |line: &Line| match &line.outcome {
            Outcome::Differs(how) => Some(how.clone()),
            Outcome::Same | Outcome::Refused(_) => None,
        };
        let differences: Vec<String> = self.lines.iter().filter_map(differs).collect();
        assert!(differences.is_empty(), "{}", differences.join("\n"));
        let refused = |line: &&Line| matches!(line.outcome, Outcome::Refused(_));
        let refused = self.lines.iter().filter(refused).count();
        assert_eq!(refused, 0, "{refused} queries were refused\n{}", self.table());
    }

    /// The queries whose answer has no row with a value in it say nothing.
    pub fn empty(&self) -> Vec<&str> {
        self.lines.iter().filter(|line| line.rows == 0).map(|line| line.name.as_str()).collect()
    }

    fn table(&self) -> String {
        let mut text = String::from(
            "query | strategy | rows | plain PostgreSQL, ms | through weir, ms | bytes moved\n\
             --- | --- | ---: | ---: | ---: | ---:\n",
        );
        for line in &self.lines {
            let through = line.through.map_or("–".to_owned(), milliseconds);
            let moved = line.moved.map_or("–".to_owned(), |bytes| bytes.to_string());
            let strategy = match &line.outcome {
                Outcome::Refused(why) => format!("refused: {why}"),
                Outcome::Differs(_) => format!("{}: DIFFERS", line.strategy),
                Outcome::Same => line.strategy.clone(),
            };
            let plain = milliseconds(line.plain);
            writeln!(
                text,
                "{} | {strategy} | {} | {plain} | {through} | {moved}",
                line.name, line.rows
            )
            .unwrap();
        }
        text
    }
}

const MOVED: &str = "weir_gathered_bytes_total";

fn milliseconds(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() * 1000.0)
}

fn has_values(said: &Said) -> bool {
    match said {
        Said::Row(values) => values.iter().any(Option::is_some),
        Said::Columns(_)
        | Said::Done(_)
        | Said::Error(_)
        | Said::Other(_)
        | Said::Ready(_)
        | Said::Gone => false,
    }
}

/// The queries of a file in which a line `-- name` begins each, and their names.
pub fn queries(text: &str) -> Vec<(&str, &str)> {
    let parts = text.split("\n-- ").skip(1);
    parts.filter_map(|part| part.split_once('\n')).collect()
}
