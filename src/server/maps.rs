//! Buckets, rules and plans as the console shows them.
use super::assemble::Shared;
use super::operations::sources;
use crate::admin::system::{Buckets, HotKey, Plan, Rule};
use crate::ids::ShardId;
use crate::plan::Access;
use crate::rules::{self, Distribution, Placement, Rules, Unlisted};
use crate::telemetry::statements::Strategy;
use std::collections::HashMap;

/// Plans that SHOW PLANS shows: those that took most of the time.
const MOST_PLANS: usize = 500;
/// Keys, and buckets, that SHOW HOT_KEYS shows of each database.
const MOST_KEYS: usize = 50;
/// Of a statement, as SHOW PLANS shows it.
const MOST_CHARACTERS: usize = 500;

/// A row for each shard of each distribution.
pub fn buckets(shared: &Shared) -> Vec<Buckets> {
    let mut all = Vec::new();
    for (database, source) in sources(shared) {
        let rules = source.serving.load().rules.clone();
        for distribution in &rules.distributions {
            all.extend(rules.shard_ids().map(|shard| {
                let here = here(distribution, shard);
                Buckets {
                    database: database.to_owned(),
                    distribution: distribution.name.clone(),
                    shard: rules.shard_name(shard).to_owned(),
                    count: here.len() as u64,
                    ranges: ranges(&here),
                }
            }));
        }
    }
    all
}

/// `0-255,700`, and `0-1020/4` for every fourth.
fn ranges(buckets: &[u32]) -> String {
    /// Fewer are shorter one by one.
    const MANY: usize = 4;
    let step = match buckets {
        [first, second, ..] => second.saturating_sub(*first),
        [] | [_] => 1,
    };
    let even = buckets.windows(2).all(|pair| match pair {
        [one, next] => next.saturating_sub(*one) == step,
        _ => false,
    });
    match (buckets.first(), buckets.last()) {
        (Some(first), Some(last)) if even && step > 1 && buckets.len() >= MANY => {
            format!("{first}-{last}/{step}")
        }
        _ => rules::buckets::write(buckets.iter().copied()),
    }
}

fn here(distribution: &Distribution, shard: ShardId) -> Vec<u32> {
    let places = distribution.map.iter().zip(0..);
    places.filter(|(at, _)| **at == shard).map(|(_, bucket)| bucket).collect()
}

/// What is in force, in the order of the files' kinds of entries.
pub fn rules(shared: &Shared) -> Vec<Rule> {
    let mut all = Vec::new();
    for (_, source) in sources(shared) {
        let rules = source.serving.load().rules.clone();
        all.push(Rule {
            detail: of_database(&rules),
            ..rule(&rules, "database", &rules.database, None)
        });
        all.extend(rules.shards.iter().map(|shard| {
            let detail = format!("{}{}", address(&shard.primary), replicas(&shard.replicas));
            Rule { detail, ..rule(&rules, "shard", &shard.name, Some(shard.line)) }
        }));
        if let Some(gather) = &rules.gather {
            let detail = address(&gather.dsn);
            all.push(Rule { detail, ..rule(&rules, "gather", rules::Gather::NAME, None) });
        }
        all.extend(rules.distributions.iter().map(|one| {
            let detail = format!("{} {}", one.key_type.name(), one.function.describe());
            Rule { detail, ..rule(&rules, "distribution", &one.name, Some(one.line)) }
        }));
        all.extend(rules.tables.iter().map(|table| of_table(&rules, table)));
        all.extend(rules.functions.iter().map(|function| {
            let read = function.tables.iter().filter_map(|table| rules.tables.get(*table));
            let read: Vec<String> =
                read.map(|table| full_name(table.schema.as_deref(), &table.name)).collect();
            let name = full_name(function.schema.as_deref(), &function.name);
            Rule {
                detail: format!("reads {}", read.join(", ")),
                ..rule(&rules, "function", &name, None)
            }
        }));
    }
    all
}

fn rule(rules: &Rules, kind: &'static str, name: &str, line: Option<usize>) -> Rule {
    Rule {
        database: rules.database.clone(),
        kind,
        name: name.to_owned(),
        distribution: None,
        key: None,
        placement: None,
        detail: String::new(),
        place: line.map_or_else(|| rules.file.clone(), |line| format!("{}:{line}", rules.file)),
    }
}

fn of_database(rules: &Rules) -> String {
    let unlisted = match rules.unlisted {
        Unlisted::Refuse => "refused".to_owned(),
        Unlisted::Shard(shard) => format!("on {}", rules.shard_name(shard)),
    };
    let commit = match rules.commit {
        rules::Commit::TwoPhase => "two_phase",
        rules::Commit::InTurn => "in_turn",
    };
    format!(
        "home {}, other tables {unlisted}, reads {}, consistency {}, commit {commit}, version {}",
        rules.shard_name(rules.home),
        rules.reads.name(),
        rules.consistency.name(),
        rules.version.0
    )
}

fn of_table(rules: &Rules, table: &rules::Table) -> Rule {
    let name = full_name(table.schema.as_deref(), &table.name);
    let named = |id| rules.distribution(id).map(|distribution| distribution.name.clone());
    let hot = match table.hot_key.as_slice() {
        [] => String::new(),
        columns => format!("hot_key {}", columns.join(", ")),
    };
    let rule = Rule { detail: hot, ..rule(rules, "table", &name, Some(table.line)) };
    match &table.placement {
        Placement::Sharded { key, distribution, fallback } => {
            let fallback = fallback.as_ref().map(|fallback| {
                let by = named(fallback.distribution).unwrap_or_default();
                format!("rows without {key}: by {} as {by} says", fallback.key)
            });
            let details: Vec<String> = fallback
                .into_iter()
                .chain(Some(rule.detail.clone()).filter(|d| !d.is_empty()))
                .collect();
            Rule {
                distribution: named(*distribution),
                key: Some(key.clone()),
                placement: Some("sharded".to_owned()),
                detail: details.join("; "),
                ..rule
            }
        }
        Placement::Reference => Rule { placement: Some("reference".to_owned()), ..rule },
        Placement::Single(shard) => {
            Rule { placement: Some(format!("shard {}", rules.shard_name(*shard))), ..rule }
        }
    }
}

fn full_name(schema: Option<&str>, name: &str) -> String {
    schema.map_or_else(|| name.to_owned(), |schema| format!("{schema}.{name}"))
}

/// Where it is, and no more: an address may hold a password.
fn address(dsn: &str) -> String {
    let parameters = rules::dsn::read(dsn).unwrap_or_default().into_iter();
    let shown = parameters
        .filter(|(name, _)| matches!(name.as_str(), "host" | "hostaddr" | "port" | "dbname"))
        .map(|(name, value)| format!("{name}={value}"));
    shown.collect::<Vec<_>>().join(" ")
}

fn replicas(dsns: &[String]) -> String {
    let each = dsns.iter().map(|dsn| format!("; replica {}", address(dsn)));
    each.collect()
}

/// The heaviest keys of each database, then its heaviest buckets.
pub fn hot_keys(shared: &Shared) -> Vec<HotKey> {
    let mut all = Vec::new();
    for (database, source) in sources(shared) {
        let rules = source.serving.load().rules.clone();
        let heaviest = source.commons.hot_keys.heaviest(MOST_KEYS, &rules).into_iter();
        all.extend(heaviest.map(|heavy| {
            HotKey {
                database: database.to_owned(),
                distribution: rules
                    .distribution(heavy.distribution)
                    .map_or_else(String::new, |distribution| distribution.name.clone()),
                key: heavy.key.map(|key| key.to_string()),
                bucket: heavy.bucket.0.into(),
                shard: rules.shard_name(heavy.shard).to_owned(),
                statements: heavy.statements,
                doubtful: heavy.doubtful,
                percent: heavy.percent,
            }
        }));
    }
    all
}

/// What the workers' caches hold, a row for each statement, the most expensive first.
pub fn plans(shared: &Shared) -> Vec<Plan> {
    let mut all = Vec::new();
    for (database, source) in sources(shared) {
        let mut by_shape = HashMap::<u64, Plan>::new();
        for plan in source.commons.plans.all() {
            let uses = plan.used.now();
            let row = by_shape.entry(plan.fingerprint).or_insert_with(|| Plan {
                database: database.to_owned(),
                shape: format!("{:08x}", plan.fingerprint >> 32),
                access: match plan.access {
                    Access::Read => "read",
                    Access::Lock => "lock",
                    Access::Write => "write",
                },
                strategy: None,
                plans: 0,
                calls: 0,
                total_us: 0,
                max_us: 0,
                statement: plan.shape.chars().take(MOST_CHARACTERS).collect(),
            });
            if uses.calls > 0 {
                let strategy = Strategy::ALL.get(usize::from(uses.strategy));
                row.strategy = strategy.map(|strategy| strategy.name());
            }
            row.plans += 1;
            row.calls += uses.calls;
            row.total_us = row.total_us.saturating_add(uses.total_us);
            row.max_us = row.max_us.max(uses.max_us);
        }
        all.extend(by_shape.into_values());
    }
    all.sort_by(|one, other| (other.total_us, &one.shape).cmp(&(one.total_us, &other.shape)));
    all.truncate(MOST_PLANS);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_in_turn_are_shown_by_their_step() {
        assert_eq!(ranges(&[0, 4, 8, 12]), "0-12/4");
        assert_eq!(ranges(&[0, 4, 8]), "0,4,8");
        assert_eq!(ranges(&[0, 1, 2, 3, 7]), "0-3,7");
        assert_eq!(ranges(&[0, 4, 8, 13]), "0,4,8,13");
        assert_eq!(ranges(&[5]), "5");
        assert_eq!(ranges(&[]), "");
    }
}
