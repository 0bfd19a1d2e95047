//! Writes to reference tables: every shard has a copy, and all copies change alike or none.
//!
//! A statement whose outcome is the same wherever it runs is run on every shard. An INSERT runs on the
//! home shard alone, and the other shards are given the rows that it made there: so defaults, sequences
//! and whatever else gives another value each time are worked out once. Either way each shard answers
//! with the rows that it has written, as they are now, and the answers are compared.
//!
//! Before it, the statement takes a lock of its table on every shard. Otherwise two statements could
//! see each other's rows on one shard and not on the other.
use super::Template;
use super::rows::listed;
use super::write::{Written, is_default};
use crate::plan::Unroutable;
use crate::plan::analyst::{WriteSite, quoted};
use crate::plan::catalog::{Column, Mark};
use crate::plan::names::{Found, Home};
use crate::sql::moment::Time;
use crate::sql::statement::{Expr, Fill, Insert, Merge, Name, Source};
use crate::sql::write::Write;
use std::collections::BTreeMap;

/// Stands between the client's RETURNING and the columns that are compared.
pub const MARKER: &str = "weir_copy";

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Copies {
    /// The reference tables that take part, in the order of their names.
    pub locks: Vec<Lock>,
    pub how: How,
    /// The client's statement, which returns the rows that it writes, too.
    pub text: Template,
    /// As the client calls it.
    pub table: String,
    /// With its schema, as it is written in SQL.
    pub qualified: String,
    /// Empty: they are not known.
    pub columns: Vec<String>,
}

/// A lock on every shard.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Lock {
    pub table: String,
    pub mode: Mode,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Mode {
    /// Its rows are read.
    Shared,
    Alone,
}

/// Who works out the rows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum How {
    /// Every shard.
    Everywhere,
    /// Every shard. The statement does not return what it writes, so all rows are compared afterwards.
    Whole,
    /// The home shard; the others are given the rows.
    Home {
        /// Columns that are worked out of others.
        generated: Vec<String>,
    },
}

/// How a write to a reference table is done.
pub fn plan(
    written: &Written<'_, '_>,
    site: &WriteSite<'_>,
    times: &[Time],
) -> Result<Copies, Unroutable> {
    let plan = Plan { written, site };
    plan.admit()?;
    let (how, alias) = match written.write {
        Write::Insert(insert) => (plan.of_insert(insert)?, insert.alias.as_ref()),
        Write::Update(update) => (How::Everywhere, update.table.alias.name.as_ref()),
        Write::Delete(delete) => (How::Everywhere, delete.table.alias.name.as_ref()),
        Write::Merge(merge) => (plan.of_merge(merge)?, None),
    };
    let mut text = Template::spliced(written.shape, written.splices);
    if how.on_every_shard() {
        plan.admit_everywhere()?;
        text = text.telling(times);
    }
    let called = quoted(alias.unwrap_or(&site.table.name));
    match (&how, written.write.returning().is_empty()) {
        (How::Whole, _) => {}
        (How::Everywhere | How::Home { .. }, false) => {
            text.text(format!(", 0 AS {MARKER}, {called}.*"));
        }
        (How::Everywhere | How::Home { .. }, true) => {
            text.text(format!(" RETURNING 0 AS {MARKER}, {called}.*"));
        }
    }
    let columns = site.found.columns().unwrap_or_default();
    Ok(Copies {
        locks: plan.locks(&how),
        how,
        text,
        table: site.table.to_string(),
        qualified: site.qualified(),
        columns: columns.iter().map(|column| column.name.clone()).collect(),
    })
}

impl How {
    /// Each shard works it out for itself.
    pub fn on_every_shard(&self) -> bool {
        match self {
            How::Everywhere | How::Whole => true,
            How::Home { .. } => false,
        }
    }
}

struct Plan<'p, 's, 'a> {
    written: &'p Written<'s, 'a>,
    site: &'p WriteSite<'a>,
}

impl Plan<'_, '_, '_> {
    fn refuse(&self, what: &str) -> Unroutable {
        Unroutable::NotCopied { table: self.site.table.to_string(), what: what.to_owned() }
    }

    fn admit(&self) -> Result<(), Unroutable> {
        let analyst = self.written.analyst;
        if let Some(instance) = analyst.instances.first() {
            let what = format!("reading {}, whose rows are on several shards,", instance.table);
            return Err(self.refuse(&what));
        }
        let home = analyst.context.rules.home;
        if let Some(need) = analyst.needs.iter().find(|need| need.shard != home) {
            return Err(self.refuse(&need.what));
        }
        let found = &self.site.found;
        if found.has(Mark::Rules) {
            return Err(self.refuse("a rule"));
        }
        if found.has(Mark::Policies) {
            return Err(self.refuse("row security"));
        }
        if self.written.analysis.notes.current_of.is_some() {
            return Err(self.refuse("WHERE CURRENT OF"));
        }
        if analyst.settings || analyst.ties.is_some() {
            return Err(self.refuse("a function that changes the session"));
        }
        Ok(())
    }

    /// What every shard has to work out alike.
    fn admit_everywhere(&self) -> Result<(), Unroutable> {
        let analyst = self.written.analyst;
        if analyst.random {
            return Err(self.refuse("a function that gives another value each time"));
        }
        let asks = analyst.rather_home || !analyst.asked_settings.is_empty();
        if asks || analyst.state {
            return Err(self.refuse("a function that asks about one server"));
        }
        if let Some(column) = self.drawn_anew() {
            return Err(self.refuse(&format!("DEFAULT for {column}, which a sequence fills,")));
        }
        match analyst.needs.first() {
            Some(need) => Err(self.refuse(&need.what)),
            None => self.written.admit_words(),
        }
    }

    /// A column that is set to its default, for which every shard would draw from a sequence of its own.
    fn drawn_anew(&self) -> Option<&str> {
        let sets = self.written.write.assignments().into_iter().filter(|set| is_default(set));
        let set: Vec<&String> = sets.flat_map(|set| &set.columns).collect();
        let columns = self.site.found.columns().unwrap_or_default().iter();
        let mut drawn = columns.filter(|column| match column.fill {
            Fill::Serial | Fill::Identity => set.contains(&&column.name),
            Fill::Null | Fill::Default | Fill::Generated => false,
        });
        drawn.next().map(|column| column.name.as_str())
    }

    fn of_insert(&self, insert: &Insert) -> Result<How, Unroutable> {
        let columns = self
            .site
            .found
            .columns()
            .ok_or_else(|| Unroutable::ColumnsUnknown { table: self.site.table.to_string() })?;
        if insert.conflict.as_ref().is_none_or(|conflict| conflict.set.is_empty()) {
            let generated = columns.iter().filter(|column| column.fill == Fill::Generated);
            return Ok(How::Home {
                generated: generated.map(|column| column.name.clone()).collect(),
            });
        }
        let rows: &[Vec<Option<Expr>>] = match &insert.source {
            Source::Rows(rows) => rows,
            Source::Defaults | Source::Query(_) => &[],
        };
        let (listed, default) =
            (listed(insert, &self.site.found, rows), rows.iter().flatten().any(Option::is_none));
        let varies = columns
            .iter()
            .find(|column| varies(column) && (default || !listed.contains(&column.name)));
        match varies {
            None => Ok(How::Everywhere),
            Some(column) => {
                let what = format!("ON CONFLICT DO UPDATE with the default of {}", column.name);
                Err(self.refuse(&what))
            }
        }
    }

    fn of_merge(&self, merge: &Merge) -> Result<How, Unroutable> {
        if !merge.returning.is_empty() {
            return Err(self.refuse("MERGE with RETURNING"));
        }
        let columns = self
            .site
            .found
            .columns()
            .ok_or_else(|| Unroutable::ColumnsUnknown { table: self.site.table.to_string() })?;
        let write = Write::Merge(merge);
        if let Some(column) =
            columns.iter().find(|column| varies(column) && !write.gives(&column.name))
        {
            let what = format!("MERGE that inserts the default of {}", column.name);
            return Err(self.refuse(&what));
        }
        Ok(How::Whole)
    }

    fn locks(&self, how: &How) -> Vec<Lock> {
        let mut modes = BTreeMap::new();
        if how.on_every_shard() {
            let uses = self.written.analyst.uses.iter();
            for read in uses.filter(|read| matches!(read.found.home, Home::Reference)) {
                modes.insert(lock_name(&read.name, &read.found), Mode::Shared);
            }
        }
        modes.insert(lock_name(&self.site.table, &self.site.found), Mode::Alone);
        modes.into_iter().map(|(table, mode)| Lock { table, mode }).collect()
    }
}

/// Its default is another value on each shard.
fn varies(column: &Column) -> bool {
    match column.fill {
        Fill::Serial | Fill::Identity => true,
        Fill::Default => column.time.is_some(),
        Fill::Null | Fill::Generated => false,
    }
}

/// A table and its partitions are one.
pub fn lock_name(name: &Name, found: &Found<'_>) -> String {
    let schema = found.relation.map_or("", |relation| &relation.schema);
    format!("{schema}.{}", found.rule.map_or(&name.name, |rule| &rule.name))
}
