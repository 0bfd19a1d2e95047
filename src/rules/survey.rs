//! What `weir check --connect` compares: the tables as the shards have them, and where they cannot
//! do what the rules say.
//!
//! [`ShardSurvey`] is what one server says; [`compare`] judges all of them together, [`suits`] a
//! database that is to be loaded into them.
use super::sequences::{self, Fills, Sequence};
use super::{Placement, Rules, Table, Unlisted};
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
    /// It has triggers of users, whatever they do.
    pub acts: bool,
    /// Triggers of other tables cannot write it.
    pub guarded: bool,
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
    /// Expressions count as no column; nor does what an exclusion constraint compares otherwise than by `=`.
    pub columns: Vec<String>,
    pub by: UniqueBy,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum UniqueBy {
    #[default]
    Equality,
    /// An exclusion constraint's operators.
    Exclusion,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ForeignKey {
    pub name: String,
    pub columns: Vec<String>,
    pub schema: String,
    pub table: String,
    pub referenced: Vec<String>,
    /// Columns that its ON DELETE action sets.
    pub set_on_delete: Vec<String>,
    /// Columns that its ON UPDATE action sets.
    pub set_on_update: Vec<String>,
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
    let mut judge = Judge { rules, surveys, of: Of::Shards, found: Vec::new() };
    judge.databases();
    judge.settings();
    for table in &rules.tables {
        judge.table(table);
    }
    judge.unlisted();
    judge.unlisted_foreign_keys();
    judge.sequences();
    judge.sorted()
}

/// What stands in the way of loading this database, and what will not hold on the shards as it holds
/// there. Problems first.
pub fn suits(rules: &Rules, source: &ShardSurvey) -> Vec<Difference> {
    let surveys = std::slice::from_ref(source);
    let mut judge = Judge { rules, surveys, of: Of::Source, found: Vec::new() };
    for table in &rules.tables {
        judge.table(table);
    }
    judge.unlisted_foreign_keys();
    judge.homeless();
    judge.sorted()
}

struct Judge<'a> {
    rules: &'a Rules,
    surveys: &'a [ShardSurvey],
    of: Of,
    found: Vec<Difference>,
}

/// Whose tables are judged.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    Shards,
    /// One database, which has all of them.
    Source,
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

    fn sorted(mut self) -> Vec<Difference> {
        self.found.sort();
        self.found.dedup();
        self.found
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
            for facts in survey.tables.iter().filter(|facts| rule.means(&facts.schema, &facts.name))
            {
                named.entry(full(facts)).or_default().push((shard, facts));
            }
        }
        if named.is_empty() {
            let text = match self.of {
                Of::Shards => "no shard has this table yet",
                Of::Source => "the rules name it, but the source does not have it",
            };
            self.note(&rule.name, text);
        }
        if named.len() > 1 {
            let all: Vec<&str> = named.keys().map(String::as_str).collect();
            let text = format!("one rule stands for {}: give it a schema", all.join(" and "));
            self.problem(&rule.name, text);
        }
        for (name, places) in &named {
            if self.of == Of::Shards {
                self.presence(rule, name, places);
                self.columns(name, places);
            }
            self.hot_key(rule, name, places);
            if let Some((_, facts)) = places.first() {
                self.foreign_keys(&rule.placement, name, facts);
            }
            if self.of == Of::Shards && matches!(rule.placement, Placement::Reference) {
                self.guard(name, places);
            }
            if let Placement::Sharded { key, distribution, fallback } = &rule.placement {
                let key_type = |id| self.rules.distribution(id).map(|entry| entry.key_type);
                let mut keys = vec![(key.as_str(), key_type(*distribution))];
                keys.extend(fallback.as_ref().map(|f| (f.key.as_str(), key_type(f.distribution))));
                self.keys(name, places, &keys);
                if let Some((_, facts)) = places.first() {
                    self.uniques(name, facts, &keys);
                }
            }
        }
    }

    /// Where sharded tables have triggers, these could write one copy of a reference table.
    fn guard(&mut self, name: &str, places: &[(ShardId, &TableFacts)]) {
        let sharded = |facts: &TableFacts| {
            let rule = self.rules.table(&facts.schema, &facts.name);
            rule.is_some_and(|rule| matches!(rule.placement, Placement::Sharded { .. }))
        };
        let tables = self.surveys.iter().flat_map(|survey| &survey.tables);
        let acts = tables.filter(|facts| facts.acts).any(sharded);
        let open = places.iter().filter(|(_, facts)| !facts.guarded);
        let shards: Vec<&str> = open.map(|(shard, _)| self.rules.shard_name(*shard)).collect();
        if acts && !shards.is_empty() {
            let text = format!(
                "triggers of sharded tables could write one copy of it, as it has no guard on {}: \
                 run weir setup",
                shards.join(" ")
            );
            self.problem(name, text);
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
            let place = match self.of {
                Of::Shards => format!(" on {}", self.rules.shard_name(*shard)),
                Of::Source => String::new(),
            };
            for (key, key_type) in keys {
                let Some(column) = column_of(facts, key) else {
                    self.problem(name, format!("has no key column {key}{place}"));
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

    fn uniques(&mut self, name: &str, facts: &TableFacts, keys: &[(&str, Option<KeyType>)]) {
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
            let constraint = match unique.columns.is_empty() {
                true => unique.name.clone(),
                false => format!("{} ({})", unique.name, unique.columns.join(", ")),
            };
            let text = match (unique.by, sequence) {
                (UniqueBy::Equality, true) => {
                    "holds on each shard; values drawn from its sequence differ everywhere"
                }
                (UniqueBy::Equality, false) => {
                    "does not contain the key: unique on each shard only"
                }
                (UniqueBy::Exclusion, _) => {
                    "does not exclude by equal keys: it holds on each shard only"
                }
            };
            self.note(name, format!("{constraint} {text}"));
        }
    }

    /// Its actions run on the shard of the row that goes or changes, and leave what they set there.
    fn far_actions(&mut self, ours: &Placement, name: &str, foreign: &ForeignKey) {
        let Placement::Sharded { key, fallback, .. } = ours else { return };
        let decides = |column: &&String| {
            *column == key || fallback.as_ref().is_some_and(|fallback| fallback.key == **column)
        };
        for (action, set) in
            [("DELETE", &foreign.set_on_delete), ("UPDATE", &foreign.set_on_update)]
        {
            if let Some(key) = set.iter().find(decides) {
                let text = format!(
                    "{} sets {key} ON {action}, which would leave rows on a shard that is not \
                     theirs: writes of {} that could set it are refused",
                    foreign.name, foreign.table
                );
                self.problem(name, text);
            }
        }
    }

    /// A key is checked on the shard of the row that has it: the row that it references has to be there.
    fn foreign_keys(&mut self, ours: &Placement, name: &str, facts: &TableFacts) {
        for foreign in &facts.foreign_keys {
            self.far_actions(ours, name, foreign);
            let target = format!("{}.{}", foreign.schema, foreign.table);
            let of = format!("{} references {target}", foreign.name);
            let other = self.rules.table(&foreign.schema, &foreign.table);
            let theirs = match (other.map(|table| &table.placement), self.rules.unlisted) {
                (Some(placement), _) => placement.clone(),
                (None, Unlisted::Shard(shard)) => Placement::Single(shard),
                (None, Unlisted::Refuse) => {
                    self.problem(name, format!("{of}, which no rule names"));
                    continue;
                }
            };
            match (ours, &theirs) {
                (_, Placement::Reference) => (),
                (Placement::Single(one), Placement::Single(other)) if one == other => (),
                (_, Placement::Single(shard)) => {
                    let shard = self.rules.shard_name(*shard);
                    self.problem(name, format!("{of}, which lives on {shard} only"));
                }
                (Placement::Single(_) | Placement::Reference, Placement::Sharded { .. }) => {
                    let text = format!("{of}, which is sharded: no shard has all of its rows");
                    self.problem(name, text);
                }
                (Placement::Sharded { key, .. }, Placement::Sharded { key: their_key, .. }) => {
                    if !same_distributions(ours, &theirs) {
                        let text = "which is distributed otherwise: the rows may be on two shards";
                        self.problem(name, format!("{of}, {text}"));
                        continue;
                    }
                    let mut pairs = foreign.columns.iter().zip(&foreign.referenced);
                    if !pairs.any(|(ours, theirs)| ours == key && theirs == their_key) {
                        let text = "without the key: both rows must carry the same one";
                        self.note(name, format!("{of} {text}"));
                    }
                }
            }
        }
    }

    /// Those of tables that live on one shard because no rule names them.
    fn unlisted_foreign_keys(&mut self) {
        let Unlisted::Shard(shard) = self.rules.unlisted else { return };
        for facts in self.surveys.iter().flat_map(|survey| &survey.tables) {
            if self.rules.table(&facts.schema, &facts.name).is_none() {
                self.foreign_keys(&Placement::Single(shard), &full(facts), facts);
            }
        }
    }

    /// Tables of a source for which no rule says where they would live, and what a rule could say.
    fn homeless(&mut self) {
        for facts in self.surveys.iter().flat_map(|survey| &survey.tables) {
            if self.rules.destination(&facts.schema, &facts.name).is_none() {
                let lines = self.rule_for(facts);
                let text = format!("no rule says where it lives. One of these would:\n{lines}");
                self.problem(&full(facts), text);
            }
        }
    }

    /// As a rules file has it: by a key of other tables that this one has, too, or whole.
    fn rule_for(&self, facts: &TableFacts) -> String {
        let name = match facts.schema.as_str() {
            "public" => facts.name.clone(),
            _ => full(facts),
        };
        let by_key = self.rules.tables.iter().find_map(|rule| match &rule.placement {
            Placement::Sharded { key, distribution, .. } => {
                let distribution = self.rules.distribution(*distribution)?;
                let column = column_of(facts, key)?;
                (column.typname == distribution.key_type.typname())
                    .then(|| format!("distribution = {:?}\nkey = {key:?}", distribution.name))
            }
            Placement::Reference | Placement::Single(_) => None,
        });
        let home = self.rules.shard_name(self.rules.home);
        let ways = by_key
            .into_iter()
            .chain([String::from("reference = true"), format!("shard = {home:?}")]);
        let block = |way: String| format!("[[table]]\nname = {name:?}\n{way}");
        let text = ways.map(block).collect::<Vec<_>>().join("\n");
        text.lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
    }

    /// Tables that exist but that no rule names.
    fn unlisted(&mut self) {
        if self.rules.is_plain() || self.rules.unlisted != Unlisted::Refuse {
            return;
        }
        let mut names: Vec<String> = Vec::new();
        for (_, survey) in self.shards() {
            let stranger =
                |facts: &&TableFacts| self.rules.table(&facts.schema, &facts.name).is_none();
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

fn column_of<'a>(facts: &'a TableFacts, name: &str) -> Option<&'a ColumnFacts> {
    facts.columns.iter().find(|column| column.name == name)
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
