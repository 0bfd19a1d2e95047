//! `[[distribution]]`: how a key becomes a bucket, and where buckets live.
use super::Distribution;
use super::buckets;
use super::check::{Lines, Names, Report, once};
use super::file::{At, DistributionEntry};
use super::problem::nearest;
use crate::ids::{BucketId, ShardId};
use crate::sharding::{self, KINDS, KeyType, Kind, Settings, ShardingFunction};
use std::collections::BTreeMap;

/// What every distribution may say, whatever its function.
const COMMON: &[&str] = &["name", "function", "key_type", "shards", "map"];
/// Plans name a distribution with 16 bits.
const MOST: usize = 4096;

/// Those that could be built; a problem is reported for each other.
pub(super) fn distributions(
    entries: &[DistributionEntry],
    names: &Names,
    report: &mut Report,
) -> Lines<Distribution> {
    if let Some(entry) = entries.get(MOST) {
        report.add(entry.line, format!("more than {MOST} distributions"), "remove some");
    }
    let mut seen = BTreeMap::new();
    let mut found = Vec::new();
    for entry in entries {
        if let Some(name) = &entry.name {
            once(&mut seen, "distribution", name, report);
        }
        if let Some(checked) = distribution(entry, names, report) {
            found.push((entry.line, checked));
        }
    }
    found
}

fn distribution(
    entry: &DistributionEntry,
    names: &Names,
    report: &mut Report,
) -> Option<Distribution> {
    let kind = entry.function.as_ref().and_then(|name| kind(name, report));
    let key_type = entry.key_type.as_ref().and_then(|name| key_type(name, report));
    let shards = shards(entry, names, report);
    let (kind, key_type) = (kind?, key_type?);
    let known: Vec<&str> =
        COMMON.iter().copied().chain(kind.settings.iter().map(|setting| setting.name)).collect();
    for (name, value) in entry.own.iter().filter(|(name, _)| !known.contains(&name.as_str())) {
        let message = format!("unknown key {name:?} in a distribution by {}", kind.name);
        report.add(value.line, message, nearest(name, &known));
    }
    if !kind.key_types.contains(&key_type) {
        let takes: Vec<&str> = kind.key_types.iter().map(|t| t.name()).collect();
        let line = entry.key_type.as_ref().map_or(entry.line, |name| name.line);
        let message = format!("{} cannot take keys of type {}", kind.name, key_type.name());
        report.add(line, message, format!("it takes {}", takes.join(", ")));
        return None;
    }
    let function = function(kind, key_type, entry, &shards, report)?;
    let map = map(entry, function.as_ref(), &shards, names, report)?;
    let name = entry.name.as_ref()?.value.clone();
    Some(Distribution { name, key_type, function, map, line: entry.line })
}

fn kind(name: &At<String>, report: &mut Report) -> Option<&'static Kind> {
    let kind = sharding::kind(&name.value);
    if kind.is_none() {
        let known: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
        report.unknown("sharding function", name, &known);
    }
    kind
}

fn key_type(name: &At<String>, report: &mut Report) -> Option<KeyType> {
    let key_type = KeyType::from_name(&name.value);
    if key_type.is_none() {
        let known: Vec<&str> = KeyType::ALL.iter().map(|t| t.name()).collect();
        report.unknown("key_type", name, &known);
    }
    key_type
}

/// The shards that the distribution lives on: all, or the ones it lists.
fn shards(entry: &DistributionEntry, names: &Names, report: &mut Report) -> Vec<ShardId> {
    let Some(list) = &entry.shards else {
        return (0..names.list.len()).filter_map(|i| u16::try_from(i).ok()).map(ShardId).collect();
    };
    if list.value.is_empty() {
        report.add(list.line, "the distribution lives on no shard", "list at least one");
    }
    let mut seen = BTreeMap::new();
    for name in &list.value {
        once(&mut seen, "shard", name, report);
    }
    list.value.iter().filter_map(|name| names.find(name, report)).collect()
}

fn function(
    kind: &Kind,
    key_type: KeyType,
    entry: &DistributionEntry,
    shards: &[ShardId],
    report: &mut Report,
) -> Option<Box<dyn ShardingFunction>> {
    let count = u32::try_from(shards.len()).ok().filter(|count| *count > 0)?;
    let mut settings = Settings::new(key_type, count);
    for (name, value) in &entry.own {
        settings = settings.with(name, value.value.clone());
    }
    match (kind.build)(&settings) {
        Ok(function) => Some(function),
        Err(error) => {
            let line = entry.own.get(error.setting).map_or(entry.line, |value| value.line);
            report.add(line, format!("{}: {}", kind.name, error.message), error.hint);
            None
        }
    }
}

fn map(
    entry: &DistributionEntry,
    function: &dyn ShardingFunction,
    shards: &[ShardId],
    names: &Names,
    report: &mut Report,
) -> Option<Vec<ShardId>> {
    let Some(written) = &entry.map else {
        let count = u32::try_from(shards.len()).ok()?;
        let usual = |bucket| shards.get(function.usual_shard(BucketId(bucket), count) as usize);
        return (0..function.buckets()).map(|bucket| usual(bucket).copied()).collect();
    };
    for entry in &written.value {
        let id = names.find(&entry.shard, report);
        if id.is_some_and(|id| !shards.contains(&id)) {
            let message = format!("{} is not among the distribution's shards", entry.shard.value);
            report.add(entry.shard.line, message, "add it there or remove it here");
        }
    }
    let shard_of = |name: &str| names.id(name);
    match buckets::read(&written.value, written.line, function.buckets(), shard_of) {
        Ok(map) => Some(map),
        Err(problems) => {
            report.extend(problems);
            None
        }
    }
}
