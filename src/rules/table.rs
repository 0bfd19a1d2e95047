//! `[[table]]`: what lives where.
use super::check::{Lines, Names, Report, distribution_names, once};
use super::file::{At, FallbackEntry, File, TableEntry};
use super::{Distribution, Fallback, Placement, Table};
use crate::ids::DistributionId;
use std::collections::BTreeMap;

/// The tables that could be understood; a problem is reported for each other.
pub(super) fn tables(
    file: &File,
    distributions: &Lines<Distribution>,
    names: &Names,
    report: &mut Report,
) -> Vec<Table> {
    let by_name = Distributions::new(file, distributions);
    let mut seen = BTreeMap::new();
    let mut found: Vec<Table> = Vec::new();
    for entry in &file.tables {
        let placement = placement(entry, &by_name, names, report);
        let Some(name) = &entry.name else { continue };
        once(&mut seen, "table", name, report);
        let (schema, name_only) = split_name(&name.value);
        if name_only.is_empty() || schema.as_ref().is_some_and(String::is_empty) {
            let message = format!("{:?} is no name of a table", name.value);
            report.add(name.line, message, "write orders or sales.orders, as the catalog has it");
        }
        let other = found
            .iter()
            .find(|other| other.name == name_only && other.schema.is_none() != schema.is_none());
        if other.is_some() {
            let message = format!("{name_only} is listed with and without a schema");
            let hint = "without one it is found by search_path, which may mean the other";
            report.add(name.line, message, hint);
        }
        let hot_key = hot_key(entry, report);
        if let Some(placement) = placement {
            let line = entry.line;
            found.push(Table { schema, name: name_only, placement, hot_key, line });
        }
    }
    found
}

/// The columns that say which row is meant where many lock the same one.
fn hot_key(entry: &TableEntry, report: &mut Report) -> Vec<String> {
    let Some(written) = &entry.hot_key else { return Vec::new() };
    let hint = "name the columns that say which row it is, mostly the primary key's";
    if written.value.is_empty() {
        report.add(written.line, "hot_key names no column", hint);
    }
    let mut seen = BTreeMap::new();
    for column in &written.value {
        once(&mut seen, "hot_key column", column, report);
        if column.value.is_empty() {
            report.add(column.line, "a column without a name", hint);
        }
    }
    written.value.iter().map(|column| column.value.clone()).collect()
}

/// `sales.orders` → schema and name, both as the catalog has them.
pub(super) fn split_name(name: &str) -> (Option<String>, String) {
    match name.split_once('.') {
        None => (None, name.to_owned()),
        Some((schema, name)) => (Some(schema.to_owned()), name.to_owned()),
    }
}

/// The distributions by name: the usable ones, and all that the file tries to define, so that a
/// table is not reported for a problem of its distribution.
struct Distributions<'a> {
    usable: Vec<&'a str>,
    written: Vec<&'a str>,
}

impl<'a> Distributions<'a> {
    fn new(file: &'a File, distributions: &'a Lines<Distribution>) -> Self {
        let written = file.distributions.iter().filter_map(|entry| entry.name.as_ref());
        Distributions {
            usable: distribution_names(distributions),
            written: written.map(|name| name.value.as_str()).collect(),
        }
    }

    fn find(&self, name: &At<String>, report: &mut Report) -> Option<DistributionId> {
        if !self.written.contains(&name.value.as_str()) {
            report.unknown("distribution", name, &self.written);
        }
        let index = self.usable.iter().position(|usable| *usable == name.value)?;
        u16::try_from(index).ok().map(DistributionId)
    }
}

fn placement(
    entry: &TableEntry,
    distributions: &Distributions,
    names: &Names,
    report: &mut Report,
) -> Option<Placement> {
    const WAYS: &str = "give it distribution and key, or reference = true, or shard";
    let only_sharded = |report: &mut Report| {
        for (line, what) in [
            entry.key.as_ref().map(|key| (key.line, "key")),
            entry.fallback.as_ref().map(|fallback| (fallback.line, "fallback")),
        ]
        .into_iter()
        .flatten()
        {
            report.add(line, format!("{what} without distribution"), WAYS);
        }
    };
    match (&entry.distribution, &entry.reference, &entry.shard) {
        (Some(name), None, None) => sharded(entry, name, distributions, report),
        (None, Some(reference), None) => {
            only_sharded(report);
            if !reference.value {
                report.add(reference.line, "reference = false says nothing", WAYS);
            }
            Some(Placement::Reference)
        }
        (None, None, Some(shard)) => {
            only_sharded(report);
            names.find(shard, report).map(Placement::Single)
        }
        (None, None, None) => {
            report.add(entry.line, "the table lives nowhere", WAYS);
            None
        }
        (Some(_), Some(_), _) | (Some(_), _, Some(_)) | (_, Some(_), Some(_)) => {
            report.add(entry.line, "the table lives in more than one way", WAYS);
            None
        }
    }
}

fn sharded(
    entry: &TableEntry,
    name: &At<String>,
    distributions: &Distributions,
    report: &mut Report,
) -> Option<Placement> {
    let distribution = distributions.find(name, report);
    let key = entry.key.as_ref();
    if key.is_none() {
        let hint = "add key = \"…\", the column that says which shard a row lives on";
        report.add(name.line, "the table has a distribution but no key", hint);
    }
    let fallback = match &entry.fallback {
        None => None,
        Some(fallback) => Some(fallback_of(fallback, key, distributions, report)?),
    };
    Some(Placement::Sharded { key: key?.value.clone(), distribution: distribution?, fallback })
}

fn fallback_of(
    entry: &FallbackEntry,
    key: Option<&At<String>>,
    distributions: &Distributions,
    report: &mut Report,
) -> Option<Fallback> {
    let name = entry.distribution.as_ref();
    let distribution = name.and_then(|name| distributions.find(name, report));
    let fallback = entry.key.as_ref()?;
    if key.is_some_and(|key| key.value == fallback.value) {
        let hint = "the fallback key places rows whose key is NULL: name another column";
        report.add(fallback.line, "the fallback key is the key itself", hint);
    }
    Some(Fallback { key: fallback.value.clone(), distribution: distribution? })
}
