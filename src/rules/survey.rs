//! What `weir check --connect` compares: the tables as the shards have them, and where they cannot
//! do what the rules say.
//!
//! [`ShardSurvey`] is what one server says; [`compare`] judges all of them together.
use super::sequences::{self, Fills, Sequence};
use super::{Placement, Rules, Table};
use crate::ids::ShardId;
use crate::sharding::KeyType;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// One shard, as its catalogs describe it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ShardSurvey {
    pub encoding: String,
    /// The database's collation with its version, e.g. `de_DE.UTF-8 2.36`.
    pub collation: String,
    /// Defaults that decide how values look, some of them a role's: name and value.
    pub settings: BTreeMap<String, String>,
    /// Every table of the database that is not the system's.
    pub tables: Vec<TableFacts>,
    /// What fills columns, sharded tables' or not.
    pub sequences: Vec<Sequence>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TableFacts {
    pub schema: String,
    pub name: String,
    /// In order of position.
    pub columns: Vec<ColumnFacts>,
    pub uniques: Vec<Unique>,
    pub foreign_keys: Vec<ForeignKey>,
    /// Row triggers that run before the row is written.
    pub triggers: Vec<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ColumnFacts {
    pub name: String,
    /// `pg_type.typname`
    pub typname: String,
    /// The type with its modifier, e.g. `numeric(10,2)`.
    pub type_text: String,
    /// Name and version, for columns that are not of the database's collation.
    pub collation: Option<String>,
    pub deterministic: bool,
    pub not_null: bool,
    pub filled: Filled,
}

/// What a column gets when a statement does not name it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Filled {
    #[default]
    Null,
    Default,
    /// From a sequence: serial or identity.
    Sequence,
    /// Computed from other columns, whatever the statement says.
    Generated,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Unique {
    pub name: String,
    /// Expressions count as no column.
    pub columns: Vec<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ForeignKey {
    pub name: String,
    pub columns: Vec<String>,
    pub schema: String,
    pub table: String,
    pub referenced: Vec<String>,
}

/// Something to know before serving.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Difference {
    pub weight: Weight,
    pub table: String,
    pub text: String,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Weight {
    /// Statements would fail or answer differently from one PostgreSQL.
    Problem,
    /// Holds within a shard only, or only while applications do their part.
    Note,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let weight = match self.weight {
            Weight::Problem => "problem",
            Weight::Note => "note",
        };
        match self.table.as_str() {
            "" => write!(f, "{weight}: {}", self.text),
            table => write!(f, "{weight}: {table}: {}", self.text),
        }
    }
}

/// Everything that differs; the surveys come in the order of the rules' shards. Problems first.
pub fn compare(rules: &Rules, surveys: &[ShardSurvey]) -> Vec<Difference> {
    let mut judge = Judge { rules, surveys, found: Vec::new() };
    judge.databases();
    judge.settings();
    for table in &rules.tables {
        judge.table(table);
    }
    judge.unlisted();
    judge.sequences();
    judge.found.sort();
    judge.found.dedup();
    judge.found
}

struct Judge<'a> {
    rules: &'a Rules,
    surveys: &'a [ShardSurvey],
    found: Vec<Difference>,
}

impl<'a> Judge<'a> {
    fn add(&mut self, weight: Weight, table: &str, text: impl Into<String>) {
        self.found.push(Difference { weight, table: table.to_owned(), text: text.into() });
    }

    fn problem(&mut self, table: &str, text: impl Into<String>) {
        self.add(Weight::Problem, table, text);
    }

    fn note(&mut self, table: &str, text: impl Into<String>) {
        self.add(Weight::Note, table, text);
    }

    fn shards(&self) -> impl Iterator<Item = (ShardId, &'a ShardSurvey)> + use<'a> {
        self.rules.shard_ids().zip(self.surveys)
    }

    fn sequences(&mut self) {
        for (shard, survey) in self.shards() {
            for sequence in &survey.sequences {
                if sequences::fills(sequence, self.rules) == Fills::Column
                    && !sequences::in_line(sequence, shard, self.rules.stride)
                {
                    let table = format!("{}.{}", sequence.table_schema, sequence.table);
                    let (name, on) = (&sequence.name, self.rules.shard_name(shard));
                    let text = format!(
                        "{} draws from {name}, which on {on} may give other shards' values: run \
                         weir setup",
                        sequence.column
                    );
                    self.problem(&table, text);
                }
            }
        }
    }

    fn databases(&mut self) {
        for (what, of) in [
            ("encoding", (|survey| &survey.encoding) as fn(&ShardSurvey) -> &String),
            ("collation", |survey| &survey.collation),
        ] {
            let values = self.shards().map(|(shard, survey)| (shard, of(survey).clone())).collect();
            if let Some(text) = self.disagreement(values) {
                self.problem("", format!("the databases' {what} differs: {text}"));
            }
        }
    }

    fn settings(&mut self) {
        let names: BTreeSet<&String> =
            self.surveys.iter().flat_map(|survey| survey.settings.keys()).collect();
        for name in names {
            let value = |survey: &ShardSurvey| {
                survey.settings.get(name).map_or("nothing", String::as_str).to_owned()
            };
            let values = self.shards().map(|(shard, survey)| (shard, value(survey))).collect();
            if let Some(text) = self.disagreement(values) {
                self.problem("", format!("the default of {name} differs: {text}"));
            }
        }
    }

    /// `a on s0 s1, b on s2` if not all are equal.
    fn disagreement(&self, values: Vec<(ShardId, String)>) -> Option<String> {
        let mut by_value: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for (shard, value) in values {
            by_value.entry(value).or_default().push(self.rules.shard_name(shard));
        }
        let text =
            |(value, shards): (&String, &Vec<&str>)| format!("{value} on {}", shards.join(" "));
        (by_value.len() > 1).then(|| by_value.iter().map(text).collect::<Vec<_>>().join(", "))
    }

    fn table(&mut self, rule: &Table) {
        let mut named: BTreeMap<String, Vec<(ShardId, &TableFacts)>> = BTreeMap::new();
        for (shard, survey) in self.shards() {
            for facts in survey.tables.iter().filter(|facts| rule_means(rule, facts)) {
                named.entry(full(facts)).or_default().push((shard, facts));
            }
        }
        if named.is_empty() {
            self.note(&rule.name, "no shard has this table yet");
        }
        if named.len() > 1 {
            let all: Vec<&str> = named.keys().map(String::as_str).collect();
            let text = format!("one rule stands for {}: give it a schema", all.join(" and "));
            self.problem(&rule.name, text);
        }
        for (name, places) in &named {
            self.presence(rule, name, places);
            self.columns(name, places);
            self.hot_key(rule, name, places);
            if let Placement::Sharded { key, distribution, fallback } = &rule.placement {
                let key_type = |id| self.rules.distribution(id).map(|entry| entry.key_type);
                let mut keys = vec![(key.as_str(), key_type(*distribution))];
                keys.extend(fallback.as_ref().map(|f| (f.key.as_str(), key_type(f.distribution))));
                self.keys(name, places, &keys);
                if let Some((_, facts)) = places.first() {
                    self.constraints(rule, name, facts, &keys);
                }
            }
        }
    }

    /// A hot_key of other columns only means that nobody queues.
    fn hot_key(&mut self, rule: &Table, name: &str, places: &[(ShardId, &TableFacts)]) {
        let Some((_, facts)) = places.first() else { return };
        for column in rule.hot_key.iter().filter(|column| column_of(facts, column).is_none()) {
            self.note(
                name,
                format!("hot_key names {column}, which it does not have: nobody queues"),
            );
        }
    }

    /// Is the table where the rule says, and nowhere else?
    fn presence(&mut self, rule: &Table, name: &str, places: &[(ShardId, &TableFacts)]) {
        let has = |shard: &ShardId| places.iter().any(|(place, _)| place == shard);
        match rule.placement {
            Placement::Single(home) => {
                let shard = self.rules.shard_name(home).to_owned();
                if !has(&home) {
                    self.problem(name, format!("lives on {shard}, but is not there"));
                }
                let others: Vec<String> = places
                    .iter()
                    .filter(|(place, _)| *place != home)
                    .map(|(place, _)| self.rules.shard_name(*place).to_owned())
                    .collect();
                if !others.is_empty() {
                    let text = format!("lives on {shard}; never read on {}", others.join(" "));
                    self.note(name, text);
                }
            }
            Placement::Sharded { .. } | Placement::Reference => {
                let missing: Vec<ShardId> =
                    self.rules.shard_ids().filter(|shard| !has(shard)).collect();
                for shard in missing {
                    let text = format!("is missing on {}", self.rules.shard_name(shard));
                    self.problem(name, text);
                }
            }
        }
    }

    /// The same columns in the same order, or a row means something else elsewhere.
    fn columns(&mut self, name: &str, places: &[(ShardId, &TableFacts)]) {
        let mut names: Vec<&str> = Vec::new();
        for column in places.iter().flat_map(|(_, facts)| &facts.columns) {
            if !names.contains(&column.name.as_str()) {
                names.push(&column.name);
            }
        }
        for column in names {
            let described = |facts: &TableFacts| match column_of(facts, column) {
                None => "missing".to_owned(),
                Some(facts) => {
                    let collation = facts.collation.as_ref().map(|c| format!(" collate {c}"));
                    let null = if facts.not_null { " not null" } else { "" };
                    format!("{}{}{null}", facts.type_text, collation.unwrap_or_default())
                }
            };
            let values = places.iter().map(|(shard, facts)| (*shard, described(facts))).collect();
            if let Some(text) = self.disagreement(values) {
                self.problem(name, format!("column {column} differs: {text}"));
            }
        }
        let order = |facts: &TableFacts| {
            facts.columns.iter().map(|c| c.name.as_str()).collect::<Vec<_>>().join(", ")
        };
        let mut sets: Vec<Vec<&str>> = places
            .iter()
            .map(|(_, facts)| facts.columns.iter().map(|c| c.name.as_str()).collect())
            .collect();
        sets.iter_mut().for_each(|set| set.sort_unstable());
        sets.dedup();
        let values = places.iter().map(|(shard, facts)| (*shard, order(facts))).collect();
        if let (1, Some(text)) = (sets.len(), self.disagreement(values)) {
            self.note(name, format!("the columns' order differs: {text}"));
        }
    }

    fn keys(
        &mut self,
        name: &str,
        places: &[(ShardId, &TableFacts)],
        keys: &[(&str, Option<KeyType>)],
    ) {
        for (shard, facts) in places {
            let shard = self.rules.shard_name(*shard).to_owned();
            for (key, key_type) in keys {
                let Some(column) = column_of(facts, key) else {
                    self.problem(name, format!("has no key column {key} on {shard}"));
                    continue;
                };
                let wanted = key_type.map_or("", KeyType::typname);
                if column.typname != wanted {
                    let text = format!(
                        "{key} is {}, but the distribution's key_type is {}",
                        column.type_text,
                        key_type.map_or("?", KeyType::name)
                    );
                    self.problem(name, text);
                }
                if !column.deterministic {
                    let text = "is of a nondeterministic collation: equal keys may fall apart";
                    self.problem(name, format!("{key} {text}"));
                }
                match column.filled {
                    Filled::Generated => {
                        let text = "is generated: its value is not known before routing";
                        self.problem(name, format!("{key} {text}"));
                    }
                    Filled::Default => {
                        let text = "has a default: an INSERT that does not name it is refused";
                        self.note(name, format!("{key} {text}"));
                    }
                    Filled::Null | Filled::Sequence => (),
                }
            }
            for trigger in &facts.triggers {
                let text = format!(
                    "trigger {trigger} runs before a row is written: it must not change {}",
                    keys.iter().map(|(key, _)| *key).collect::<Vec<_>>().join(" or ")
                );
                self.note(name, text);
            }
        }
        let nullable = keys.first().is_some_and(|(key, _)| {
            places.iter().any(|(_, facts)| column_of(facts, key).is_some_and(|c| !c.not_null))
        });
        if let (true, [(key, _)]) = (nullable, keys) {
            let text =
                format!("{key} may be NULL, but there is no fallback: such rows are refused");
            self.note(name, text);
        }
    }

    fn constraints(
        &mut self,
        rule: &Table,
        name: &str,
        facts: &TableFacts,
        keys: &[(&str, Option<KeyType>)],
    ) {
        let is_key = |column: &String| keys.iter().any(|(key, _)| key == column);
        for unique in &facts.uniques {
            if unique
                .columns
                .iter()
                .any(|column| keys.first().is_some_and(|(key, _)| key == column))
            {
                continue;
            }
            let sequence = unique.columns.iter().any(|column| {
                column_of(facts, column).is_some_and(|c| c.filled == Filled::Sequence)
            });
            let (columns, constraint) = (unique.columns.join(", "), &unique.name);
            let text = if sequence {
                format!(
                    "{constraint} ({columns}) holds on each shard; values drawn from its sequence differ everywhere"
                )
            } else {
                format!(
                    "{constraint} ({columns}) does not contain the key: unique on each shard only"
                )
            };
            self.note(name, text);
        }
        for foreign in &facts.foreign_keys {
            let constraint = &foreign.name;
            let other = self.rules.tables.iter().find(|table| {
                table.name == foreign.table
                    && table.schema.as_ref().is_none_or(|schema| *schema == foreign.schema)
            });
            let target = format!("{}.{}", foreign.schema, foreign.table);
            match other.map(|table| &table.placement) {
                None => {
                    let text = format!("{constraint} references {target}, which no rule names");
                    self.problem(name, text);
                }
                Some(Placement::Reference) => (),
                Some(Placement::Single(shard)) => {
                    let shard = self.rules.shard_name(*shard);
                    let text =
                        format!("{constraint} references {target}, which lives on {shard} only");
                    self.problem(name, text);
                }
                Some(other) if same_distributions(&rule.placement, other) => {
                    let pairs = foreign.columns.iter().zip(&foreign.referenced);
                    let by_key = pairs.into_iter().any(|(ours, theirs)| {
                        is_key(ours) && key_of(other).is_some_and(|key| key == theirs)
                    });
                    if !by_key {
                        let text = format!(
                            "{constraint} references {target} without the key: both rows must \
                             carry the same one"
                        );
                        self.note(name, text);
                    }
                }
                Some(Placement::Sharded { .. }) => {
                    let text = format!(
                        "{constraint} references {target}, which is distributed otherwise: the \
                         rows may be on two shards"
                    );
                    self.problem(name, text);
                }
            }
        }
    }

    /// Tables that exist but that no rule names.
    fn unlisted(&mut self) {
        if self.rules.is_plain() || self.rules.unlisted != super::Unlisted::Refuse {
            return;
        }
        let mut names: Vec<String> = Vec::new();
        for (_, survey) in self.shards() {
            let stranger =
                |facts: &&TableFacts| !self.rules.tables.iter().any(|rule| rule_means(rule, facts));
            names.extend(survey.tables.iter().filter(stranger).map(full));
        }
        names.sort();
        names.dedup();
        for name in names {
            self.note(&name, "no rule names it: statements that do are refused");
        }
    }
}

fn full(facts: &TableFacts) -> String {
    format!("{}.{}", facts.schema, facts.name)
}

fn rule_means(rule: &Table, facts: &TableFacts) -> bool {
    rule.name == facts.name && rule.schema.as_ref().is_none_or(|schema| *schema == facts.schema)
}

fn column_of<'a>(facts: &'a TableFacts, name: &str) -> Option<&'a ColumnFacts> {
    facts.columns.iter().find(|column| column.name == name)
}

fn key_of(placement: &Placement) -> Option<&String> {
    match placement {
        Placement::Sharded { key, .. } => Some(key),
        Placement::Reference | Placement::Single(_) => None,
    }
}

/// Rows with equal keys of the two are on one shard.
fn same_distributions(ours: &Placement, theirs: &Placement) -> bool {
    match (ours, theirs) {
        (
            Placement::Sharded { distribution: ours, .. },
            Placement::Sharded { distribution: theirs, .. },
        ) => ours == theirs,
        (Placement::Sharded { .. } | Placement::Reference | Placement::Single(_), _) => false,
    }
}
