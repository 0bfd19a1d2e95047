//! File → [`Rules`], or every problem at once.
use super::distribution::distributions;
use super::file::{At, File, ShardEntry};
use super::gather::gather;
use super::live::InUse;
use super::problem::{Problem, nearest};
use super::sequences::DEFAULT_STRIDE;
use super::table::{split_name, tables};
use super::{
    Commit, Consistency, Distribution, Function, PoolMode, Reads, Rules, Shard, Table, Unlisted,
    dsn,
};
use crate::ids::{RulesVersion, ShardId};
use std::collections::BTreeMap;

/// More shards are a mistake in the file, not a cluster.
const MOST_SHARDS: usize = 4096;

/// Two of them fit into the name of a prepared transaction.
pub const MOST_SHARD_NAME_BYTES: usize = 60;

pub(super) fn check((file, problems): (File, Vec<Problem>)) -> Result<Rules, Vec<Problem>> {
    let mut report = Report { problems };
    let names = Names::of(&file.shards);
    let rules = rules(&file, &names, &mut report);
    let mut problems = report.problems;
    if problems.is_empty() {
        return Ok(rules);
    }
    problems.sort_by_key(|problem| problem.line);
    Err(problems)
}

fn rules(file: &File, names: &Names, report: &mut Report) -> Rules {
    let database = file.database.as_ref().map_or("", |name| name.value.as_str());
    let shards = shards(&file.shards, database, report);
    let distributions = distributions(&file.distributions, names, report);
    let tables = tables(file, &distributions, names, report);
    let functions = functions(file, &tables, report);
    if file.distributions.is_empty() {
        only_what_a_plain_database_has(file, report);
    } else {
        only_what_a_sharded_database_has(file, report);
    }
    Rules {
        version: RulesVersion(0),
        database: file.database.as_ref().map_or_else(String::new, |name| name.value.clone()),
        home: home(file, names, report),
        unlisted: unlisted(file, names, report),
        pool_mode: pool_mode(file, report),
        reads: reads(file, report),
        consistency: consistency(file, report),
        commit: commit(file, report),
        gather: gather(file, report),
        stride: stride(file, report),
        shards,
        distributions: distributions.into_iter().map(|(_, checked)| checked).collect(),
        tables,
        functions,
        file: String::new(),
        in_use: InUse::new(),
    }
}

/// The problems found so far.
pub(super) struct Report {
    problems: Vec<Problem>,
}

impl Report {
    pub(super) fn add(&mut self, line: usize, message: impl Into<String>, hint: impl Into<String>) {
        self.problems.push(Problem { line, message: message.into(), hint: hint.into() });
    }

    pub(super) fn extend(&mut self, problems: Vec<Problem>) {
        self.problems.extend(problems);
    }

    /// A name that is defined elsewhere in the file.
    pub(super) fn unknown(&mut self, what: &str, name: &At<String>, known: &[&str]) {
        self.add(
            name.line,
            format!("there is no {what} {:?}", name.value),
            nearest(&name.value, known),
        );
    }
}

/// The shards' names: what all other entries refer to.
pub(super) struct Names<'a> {
    pub list: Vec<&'a str>,
}

impl<'a> Names<'a> {
    fn of(shards: &'a [ShardEntry]) -> Self {
        let name = |shard: &'a ShardEntry| shard.name.as_ref().map_or("", |name| &name.value);
        Names { list: shards.iter().map(name).collect() }
    }

    pub(super) fn id(&self, name: &str) -> Option<ShardId> {
        let index = self.list.iter().position(|known| *known == name)?;
        u16::try_from(index).ok().map(ShardId)
    }

    pub(super) fn find(&self, name: &At<String>, report: &mut Report) -> Option<ShardId> {
        let id = self.id(&name.value);
        if id.is_none() {
            report.unknown("shard", name, &self.list);
        }
        id
    }
}

/// Reports the second of two equal names.
pub(super) fn once<'a>(
    seen: &mut BTreeMap<&'a str, usize>,
    what: &str,
    name: &'a At<String>,
    report: &mut Report,
) {
    if let Some(line) = seen.insert(&name.value, name.line) {
        let message = format!("{what} {:?} is defined twice", name.value);
        report.add(name.line, message, format!("the other stands on line {line}"));
    }
}

/// An address without a database's name means the one that the file is about, not, as libpq would
/// have it, one named like the user. `*` is whatever the client asks for.
pub(super) fn named(address: String, database: &str) -> String {
    let names_one = |(name, _): &(String, String)| name == "dbname";
    match dsn::read(&address) {
        Ok(parameters) if database != "*" && !parameters.iter().any(names_one) => {
            let quoted = database.replace('\\', "\\\\").replace('\'', "\\'");
            format!("dbname='{quoted}' {address}")
        }
        Ok(_) | Err(_) => address,
    }
}

fn shards(entries: &[ShardEntry], database: &str, report: &mut Report) -> Vec<Shard> {
    if entries.is_empty() {
        report.add(1, "there is no shard", "add [[shard]] with name and primary");
    }
    if let Some(entry) = entries.get(MOST_SHARDS) {
        report.add(entry.line, format!("more than {MOST_SHARDS} shards"), "remove some");
    }
    let (mut seen, mut servers) = (BTreeMap::new(), BTreeMap::new());
    let mut shards = Vec::new();
    for entry in entries {
        if let Some(name) = &entry.name {
            once(&mut seen, "shard", name, report);
            if name.value.len() > MOST_SHARD_NAME_BYTES {
                let message =
                    format!("a shard's name is longer than {MOST_SHARD_NAME_BYTES} bytes");
                report.add(name.line, message, "shorten it");
            }
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
            if name.value.is_empty() || !name.value.chars().all(plain) {
                let message = format!("{:?} is no name for a shard", name.value);
                report.add(name.line, message, "use letters, digits, - and _");
            }
        }
        let primary = entry.primary.iter().map(|server| (server, "primary"));
        for (server, role) in primary.chain(entry.replicas.iter().map(|s| (s, "a replica"))) {
            let Some(mut parameters) = address(server, report) else { continue };
            keep_what_names_a_database(&mut parameters);
            if let Some(line) = servers.insert(parameters, server.line) {
                let message = format!("this server is in the rules already, now as {role}");
                report.add(server.line, message, format!("the other stands on line {line}"));
            }
        }
        let text =
            |at: &Option<At<String>>| at.as_ref().map_or_else(String::new, |at| at.value.clone());
        shards.push(Shard {
            name: text(&entry.name),
            primary: named(text(&entry.primary), database),
            replicas: entry
                .replicas
                .iter()
                .map(|replica| named(replica.value.clone(), database))
                .collect(),
            line: entry.line,
        });
    }
    shards
}

/// Equal parameters, equal databases.
pub(super) fn keep_what_names_a_database(parameters: &mut Vec<(String, String)>) {
    parameters.retain(|(name, _)| matches!(name.as_str(), "host" | "hostaddr" | "port" | "dbname"));
    parameters.sort();
}

pub(super) fn address(text: &At<String>, report: &mut Report) -> Option<Vec<(String, String)>> {
    let hint = "write host=127.0.0.1 port=5432 dbname=shop";
    let parameters = dsn::read(&text.value);
    for (name, _) in parameters.iter().flatten() {
        if !dsn::PARAMETERS.contains(&name.as_str()) {
            let message = format!("unknown connection parameter {name:?}");
            report.add(text.line, message, nearest(name, dsn::PARAMETERS));
        }
    }
    match parameters {
        Ok(parameters) if parameters.iter().any(|(name, _)| name.starts_with("host")) => {
            Some(parameters)
        }
        Ok(_) => {
            report.add(text.line, "the server's address has no host", hint);
            None
        }
        Err(message) => {
            report.add(text.line, message, hint);
            None
        }
    }
}

fn home(file: &File, names: &Names, report: &mut Report) -> ShardId {
    file.home.as_ref().and_then(|name| names.find(name, report)).unwrap_or(ShardId(0))
}

fn unlisted(file: &File, names: &Names, report: &mut Report) -> Unlisted {
    let Some(unlisted) = &file.unlisted else { return Unlisted::Refuse };
    let line = unlisted.line;
    match unlisted.value.split_once(':') {
        None if unlisted.value == "refuse" => Unlisted::Refuse,
        Some(("shard", name)) => {
            let name = At { value: name.trim().to_owned(), line };
            names.find(&name, report).map_or(Unlisted::Refuse, Unlisted::Shard)
        }
        None | Some(_) => {
            let message = format!("unlisted = {:?} says nothing", unlisted.value);
            report.add(line, message, "write \"refuse\" or \"shard:s0\"");
            Unlisted::Refuse
        }
    }
}

fn pool_mode(file: &File, report: &mut Report) -> PoolMode {
    match file.pool_mode.as_ref().map(|mode| (mode, mode.value.as_str())) {
        None | Some((_, "transaction")) => PoolMode::Transaction,
        Some((_, "session")) => PoolMode::Session,
        Some((mode, other)) => {
            let message = format!("there is no pool_mode {other:?}");
            report.add(mode.line, message, nearest(other, &["transaction", "session"]));
            PoolMode::Transaction
        }
    }
}

fn reads(file: &File, report: &mut Report) -> Reads {
    let Some(written) = &file.reads else { return Reads::Primary };
    if file.distributions.is_empty() && written.value == Reads::Replica.name() {
        let message = "without a [[distribution]] no statement is proved to only read";
        report.add(written.line, message, "leave it out: reads go to the primary");
    }
    Reads::named(&written.value, "reads").unwrap_or_else(|error| {
        report.add(written.line, error.message, nearest(&written.value, &Reads::NAMES));
        Reads::Primary
    })
}

fn consistency(file: &File, report: &mut Report) -> Consistency {
    let Some(written) = &file.consistency else { return Consistency::Shard };
    Consistency::named(&written.value, "consistency").unwrap_or_else(|error| {
        report.add(written.line, error.message, nearest(&written.value, &Consistency::NAMES));
        Consistency::Shard
    })
}

fn commit(file: &File, report: &mut Report) -> Commit {
    let Some(written) = &file.commit else { return Commit::TwoPhase };
    Commit::named(&written.value, "commit").unwrap_or_else(|error| {
        report.add(written.line, error.message, nearest(&written.value, &Commit::NAMES));
        Commit::TwoPhase
    })
}

/// A sequence's step is multiplied by it, so it may not be huge.
const MOST_STRIDE: i64 = MOST_SHARDS as i64;

fn stride(file: &File, report: &mut Report) -> u16 {
    let written = file.ids.as_ref().and_then(|ids| ids.stride.as_ref());
    let stride = written.map_or(i64::from(DEFAULT_STRIDE), |stride| stride.value);
    let line = written.map_or(1, |stride| stride.line);
    let hint = "generated ids are the shard's number modulo the stride: it bounds the shards";
    if !(1..=MOST_STRIDE).contains(&stride) {
        report.add(line, format!("a stride of {stride} is not from 1 to {MOST_STRIDE}"), hint);
    } else if (file.shards.len() as i64) > stride && !file.distributions.is_empty() {
        let message = format!("{} shards are more than the stride of {stride}", file.shards.len());
        report.add(line, message, hint);
    }
    u16::try_from(stride).unwrap_or(DEFAULT_STRIDE)
}

fn functions(file: &File, tables: &[Table], report: &mut Report) -> Vec<Function> {
    // By the names that are written, so that a function is not reported for a table's problem.
    let written: Vec<&str> =
        file.tables.iter().filter_map(|t| Some(t.name.as_ref()?.value.as_str())).collect();
    let mut functions = Vec::new();
    for entry in &file.functions {
        let mut read = Vec::new();
        for table in &entry.tables {
            if !written.contains(&table.value.as_str()) {
                report.unknown("[[table]]", table, &written);
            }
            let (schema, name) = split_name(&table.value);
            read.extend(tables.iter().position(|t| t.schema == schema && t.name == name));
        }
        let (schema, name) = split_name(&entry.name.value);
        functions.push(Function { schema, name, tables: read });
    }
    functions
}

fn only_what_a_plain_database_has(file: &File, report: &mut Report) {
    let hint = "without a [[distribution]] the database is plain pooling of one server";
    if let Some(second) = file.shards.get(1) {
        report.add(second.line, "a second shard, but no distribution", hint);
    }
    for table in &file.tables {
        report.add(table.line, "a table, but no distribution", hint);
    }
    for function in &file.functions {
        report.add(function.name.line, "a function, but no distribution", hint);
    }
    if let Some(unlisted) = &file.unlisted {
        report.add(unlisted.line, "unlisted, but no distribution", hint);
    }
    if let Some(consistency) = &file.consistency {
        report.add(consistency.line, "consistency of several shards, but no distribution", hint);
    }
    if let Some(commit) = &file.commit {
        report.add(commit.line, "commit on several shards, but no distribution", hint);
    }
    if let Some(stride) = file.ids.as_ref().and_then(|ids| ids.stride.as_ref()) {
        report.add(stride.line, "a stride, but no distribution", hint);
    }
    if let Some(gather) = &file.gather {
        report.add(gather.line, "a gather database, but no distribution", hint);
    }
}

fn only_what_a_sharded_database_has(file: &File, report: &mut Report) {
    if let Some(name) = file.database.as_ref().filter(|name| name.value == "*") {
        let hint = "any name goes with plain pooling only: give the database its name";
        report.add(name.line, "database = \"*\" with distributions", hint);
    }
    if let Some(mode) = &file.pool_mode {
        let hint = "pool_mode is for databases without distributions; these pool by transaction";
        report.add(mode.line, "pool_mode with distributions", hint);
    }
}

/// The checked distributions with the line of each, for messages.
pub(super) type Lines<T> = Vec<(usize, T)>;

/// The names that tables may use.
pub(super) fn distribution_names(distributions: &Lines<Distribution>) -> Vec<&str> {
    distributions.iter().map(|(_, distribution)| distribution.name.as_str()).collect()
}
