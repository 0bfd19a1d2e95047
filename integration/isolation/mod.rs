//! What two or three sessions see of each other, step by step: `scenarios.txt`, said to one PostgreSQL and
//! to weir over several shards. Who waits is asked of the servers, so nothing depends on how fast they are.
use crate::cluster::{Cluster, DATABASE};
use crate::raw::Raw;
use crate::weir::Weir;
use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};
use weir::cli::throwaway::Postgres;

const SCENARIOS: &str = include_str!("scenarios.txt");
const SHARDS: usize = 3;
const TABLES: &str = "\
    CREATE TABLE accounts (user_id bigint PRIMARY KEY, balance int NOT NULL, kind text);
    CREATE TABLE entries (user_id bigint, id int, note text, PRIMARY KEY (user_id, id));
    CREATE TABLE words (id int PRIMARY KEY, word text)";
const LEVELS: [&str; 2] = ["read committed", "repeatable read"];
/// For everybody to be answered.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two looks at who waits.
const GLANCE: Duration = Duration::from_millis(15);
/// So many looks in a row have to find the same.
const STEADY: usize = 3;

#[derive(Default)]
struct Scenario {
    name: String,
    levels: Vec<String>,
    /// By level: a difference, and why it is one.
    differs: BTreeMap<String, String>,
    refused: BTreeMap<String, String>,
    any_order: bool,
    /// Who says it, and what.
    steps: Vec<(String, String)>,
}

fn scenarios() -> Vec<Scenario> {
    let parts = SCENARIOS.split("\n-- ").skip(1);
    let mut scenarios = Vec::new();
    for part in parts {
        let mut lines = part.lines();
        let mut scenario =
            Scenario { name: lines.next().unwrap().to_owned(), ..Default::default() };
        for line in lines.filter(|line| !line.trim().is_empty()) {
            if line == "any order" {
                scenario.any_order = true;
                continue;
            }
            let (head, rest) = line.split_once(':').unwrap_or_else(|| panic!("what is {line:?}?"));
            let rest = rest.trim().to_owned();
            if head == "levels" {
                scenario.levels = rest.split(',').map(|level| level.trim().to_owned()).collect();
            } else if let Some(level) = head.strip_prefix("differs at ") {
                scenario.differs.insert(level.to_owned(), rest);
            } else if let Some(level) = head.strip_prefix("refused at ") {
                scenario.refused.insert(level.to_owned(), rest);
            } else {
                assert!(matches!(head, "a" | "b" | "c" | "all" | "ends" | "weir a" | "weir b"));
                scenario.steps.push((head.to_owned(), rest));
            }
        }
        if scenario.levels.is_empty() {
            scenario.levels = LEVELS.map(str::to_owned).to_vec();
        }
        scenarios.push(scenario);
    }
    scenarios
}

/// A client in a thread of its own.
struct Talker {
    name: String,
    says: Sender<String>,
    hears: Receiver<String>,
    /// Its last statement is not answered yet.
    busy: bool,
}

impl Talker {
    fn new(port: u16, name: &str) -> Self {
        let (says, texts) = channel::<String>();
        let (answers, hears) = channel();
        let parameters = [("user", "postgres"), ("database", DATABASE), ("application_name", name)];
        let mut raw = Raw::connect(port, &parameters);
        raw.patient(PATIENCE);
        thread::spawn(move || {
            for text in texts {
                if answers.send(brief(&raw.query(&text).take_transcript())).is_err() {
                    return;
                }
            }
        });
        Self { name: name.to_owned(), says, hears, busy: false }
    }
}

/// Rows in any order, tags, and of errors what clients go by.
fn brief(transcript: &str) -> String {
    let (mut rows, mut rest) = (Vec::new(), Vec::new());
    for line in transcript.lines() {
        match line.split_once(' ').unwrap_or((line, "")) {
            ("D", row) => rows.push(row.to_owned()),
            ("C", tag) => rest.push(tag.trim_end_matches("\\x00").to_owned()),
            ("E", fields) => {
                let (_, fields) = fields.split_once("C=").unwrap_or(("", fields));
                let end = [" D=", " H=", " P=", " W=", " s=", " t="];
                let end = end.iter().filter_map(|field| fields.find(field)).min();
                rest.push(format!("ERROR {}", &fields[..end.unwrap_or(fields.len())]));
            }
            ("silence" | "hung", _) => rest.push(line.to_owned()),
            _ => {}
        }
    }
    rows.sort();
    if !rows.is_empty() {
        rest.insert(0, format!("[{}]", rows.join(", ")));
    }
    rest.join(" ")
}

/// One PostgreSQL, or weir, and the servers where its sessions wait for locks.
struct Side {
    port: u16,
    looks: Vec<Raw>,
    is_weir: bool,
}

impl Side {
    fn new(port: u16, servers: &[Postgres], is_weir: bool) -> Self {
        let look = |server: &Postgres| {
            Raw::connect(server.port(), &[("user", "postgres"), ("database", DATABASE)])
        };
        Self { port, looks: servers.iter().map(look).collect(), is_weir }
    }

    /// User n lives on shard n % 3.
    fn reset(&mut self) {
        let count = self.looks.len();
        for (index, raw) in self.looks.iter_mut().enumerate() {
            let own = |user: usize| user % count == index;
            raw.query("TRUNCATE accounts, entries, words");
            raw.query("INSERT INTO words VALUES (1, 'one'), (2, 'two')");
            for user in (1..=6).filter(|user| own(*user)) {
                raw.query(&format!("INSERT INTO accounts VALUES ({user}, 100, 'open')"));
                raw.query(&format!(
                    "INSERT INTO entries VALUES ({user}, 1, 'x'), ({user}, 2, 'y')"
                ));
            }
            raw.take_transcript();
        }
    }

    fn rows(&mut self) -> Vec<String> {
        let mut rows = Vec::new();
        for table in ["accounts", "entries"] {
            let text = format!("SELECT '{table}', t.* FROM {table} t");
            for raw in &mut self.looks {
                let said = raw.query(&text).take_transcript();
                rows.extend(said.lines().filter(|line| line.starts_with("D ")).map(str::to_owned));
            }
        }
        rows.sort();
        let words = "SELECT string_agg(id || word, ',' ORDER BY id) FROM words";
        rows.extend(self.looks.iter_mut().map(|raw| raw.value(words)).take(1));
        rows
    }

    fn waits(&mut self, name: &str) -> bool {
        let text = format!(
            "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) \
             WHERE NOT granted AND application_name = '{name}'"
        );
        self.looks.iter_mut().any(|raw| raw.value(&text) != "0")
    }

    /// What everybody is told, and who waits.
    fn play(&mut self, scenario: &Scenario, level: &str) -> Vec<String> {
        self.reset();
        let mut talkers: BTreeMap<String, Talker> = ["a", "b", "c"]
            .iter()
            .map(|name| ((*name).to_owned(), Talker::new(self.port, name)))
            .collect();
        let mut told = Vec::new();
        for (who, text) in &scenario.steps {
            match who.as_str() {
                "all" => self.hear(&mut talkers, &mut told, true),
                "ends" => self.end_all(&mut talkers, &mut told, text),
                "weir a" | "weir b" if !self.is_weir => {}
                who => {
                    let who = who.strip_prefix("weir ").unwrap_or(who);
                    let quiet = text.starts_with("SET weir");
                    let text = match text.as_str() {
                        "BEGIN" => format!("BEGIN ISOLATION LEVEL {level}"),
                        text => text.to_owned(),
                    };
                    let talker = talkers.get_mut(who).unwrap();
                    assert!(!talker.busy, "{}: {who} is asked {text} and waits", scenario.name);
                    talker.says.send(text.clone()).unwrap();
                    talker.busy = true;
                    let before = told.len();
                    self.hear(&mut talkers, &mut told, false);
                    match quiet {
                        true => told.truncate(before),
                        false => told.insert(before, format!("{who}: {text}")),
                    }
                }
            }
        }
        self.hear(&mut talkers, &mut told, true);
        drop(talkers);
        told
    }

    /// Hears who is answered, until all others wait for a lock; or until all are answered.
    fn hear(&mut self, talkers: &mut BTreeMap<String, Talker>, told: &mut Vec<String>, all: bool) {
        let (deadline, mut steady, before) = (Instant::now() + PATIENCE, 0, told.len());
        loop {
            let mut heard = false;
            for (who, talker) in talkers.iter_mut().filter(|(_, talker)| talker.busy) {
                if let Ok(answer) = talker.hears.recv_timeout(GLANCE) {
                    told.push(format!("   {who} hears {answer}"));
                    (talker.busy, heard) = (false, true);
                }
            }
            let busy: Vec<String> =
                talkers.values().filter(|one| one.busy).map(|one| one.name.clone()).collect();
            if busy.is_empty() {
                // Those who go on at the same time are answered in any order.
                told[before..].sort();
                return;
            }
            assert!(Instant::now() < deadline, "{busy:?} are not answered: {told:#?}");
            let waiting = !all && !heard && busy.iter().all(|name| self.waits(name));
            steady = if waiting { steady + 1 } else { 0 };
            if steady == STEADY {
                told[before..].sort();
                told.extend(busy.into_iter().map(|who| format!("   {who} waits")));
                return;
            }
        }
    }

    /// Everybody says this as soon as it is answered.
    fn end_all(
        &mut self,
        talkers: &mut BTreeMap<String, Talker>,
        told: &mut Vec<String>,
        text: &str,
    ) {
        let mut left: Vec<String> = talkers.keys().cloned().collect();
        let deadline = Instant::now() + PATIENCE;
        while !left.is_empty() {
            assert!(Instant::now() < deadline, "{left:?} are not answered: {told:#?}");
            for who in left.clone() {
                let talker = talkers.get_mut(&who).unwrap();
                if talker.busy
                    && let Ok(answer) = talker.hears.recv_timeout(GLANCE)
                {
                    told.push(format!("   {who} hears {answer}"));
                    talker.busy = false;
                }
                if !talker.busy {
                    talker.says.send(text.to_owned()).unwrap();
                    talker.busy = true;
                    left.retain(|other| *other != who);
                }
            }
        }
    }
}

/// What is compared where nobody knows who is told what.
fn outcomes(told: &[String]) -> Vec<String> {
    let answers = told.iter().filter_map(|line| line.split_once(" hears ")).map(|(_, said)| said);
    let mut answers: Vec<String> = answers.map(str::to_owned).collect();
    answers.sort();
    answers
}

#[test]
fn sessions_see_of_each_other_what_postgresql_lets_them_see() {
    let cluster = Cluster::start(SHARDS);
    cluster.on_every_shard(TABLES);
    let oracle = cluster.oracle();
    oracle.sql(DATABASE, TABLES).unwrap();
    let mut rules = format!("database = '{DATABASE}'\n");
    for (index, shard) in cluster.shards().iter().enumerate() {
        let port = shard.port();
        rules += &format!(
            "[[shard]]\nname = 's{index}'\nprimary = 'host=127.0.0.1 port={port} dbname={DATABASE}'\n"
        );
    }
    rules += "[[distribution]]\nname = 'by_user'\nfunction = 'modulo'\nkey_type = 'bigint'\n\
              buckets = 3\n\
              [[table]]\nname = 'accounts'\ndistribution = 'by_user'\nkey = 'user_id'\n\
              [[table]]\nname = 'entries'\ndistribution = 'by_user'\nkey = 'user_id'\n\
              [[table]]\nname = 'words'\nreference = true\n";
    let weir = Weir::with_rules(&cluster, &rules, "[auth]\nmethod = 'trust'\n");
    let mut plain = Side::new(oracle.port(), std::slice::from_ref(&oracle), false);
    let mut sharded = Side::new(weir.port(), cluster.shards(), true);
    let (mut table, mut wrong) = (Vec::new(), Vec::new());
    for scenario in &scenarios() {
        for level in &scenario.levels {
            let (expected, heard) = (plain.play(scenario, level), sharded.play(scenario, level));
            let rows = [plain.rows(), sharded.rows()];
            let same = match scenario.any_order {
                true => outcomes(&expected) == outcomes(&heard),
                false => expected == heard && rows[0] == rows[1],
            };
            let refused = heard.iter().any(|line| line.contains("ERROR 0A000"));
            let (differs, refusal) = (scenario.differs.get(level), scenario.refused.get(level));
            let verdict = match (same, refused, differs, refusal) {
                (true, false, None, None) => "the same".to_owned(),
                (false, false, Some(why), None) => format!("differs: {why}"),
                (false, true, None, Some(why)) => format!("refused: {why}"),
                _ => {
                    let rows =
                        if rows[0] == rows[1] { String::new() } else { format!("{rows:#?}") };
                    wrong.push(format!(
                        "{} at {level}\nPostgreSQL:\n{}\nweir:\n{}\n{rows}",
                        scenario.name,
                        expected.join("\n"),
                        heard.join("\n"),
                    ));
                    "WRONG".to_owned()
                }
            };
            table.push(format!("| {} | {level} | {verdict} |", scenario.name));
        }
    }
    println!("| scenario | level | weir beside PostgreSQL |\n|---|---|---|\n{}", table.join("\n"));
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n\n"));
}
