//! Is the gather database fit to finish statements? It is if it has the schema that statements see
//! on the shards, and no rows of its own.
use crate::backend::catalog::lives_alone_on;
use crate::backend::control::Client;
use crate::backend::outline::{self, Fact, is_in_the_way};
use crate::error::Error;
use crate::ids::{RulesVersion, ShardId};
use crate::plan::catalog::RelationKind;
use crate::rules::{Placement, Rules, Unlisted};
use crate::session::GatherState;
use std::collections::BTreeMap;

/// Who looks: what was found last stands until one of the servers has changed.
#[derive(Default)]
pub struct Judge {
    last: Option<(RulesVersion, Vec<String>, GatherState)>,
}

/// The servers as far as they can be asked.
pub struct Witnesses<'a> {
    pub shards: Vec<(ShardId, &'a Client)>,
    /// Or why it cannot.
    pub gather: Result<&'a Client, String>,
}

impl Judge {
    pub async fn look(&mut self, rules: &Rules, witnesses: &Witnesses<'_>) -> GatherState {
        if rules.gather.is_none() {
            return GatherState::None;
        }
        let gather = match &witnesses.gather {
            Ok(gather) => *gather,
            Err(why) => return GatherState::Unreachable(why.clone()),
        };
        let Some(shards) = needed(rules, witnesses) else {
            return self.before("a shard's schema is not known");
        };
        match self.judge(rules, &shards, gather).await {
            Ok(state) => state,
            Err(error) if is_in_the_way(&error) => self.before("it is being changed"),
            Err(error) => GatherState::Unreachable(error.message),
        }
    }

    /// What was known stays, if anything was.
    fn before(&self, why: &str) -> GatherState {
        match &self.last {
            Some((.., state)) => state.clone(),
            None => GatherState::Differs(why.to_owned()),
        }
    }

    async fn judge(
        &mut self,
        rules: &Rules,
        shards: &[(ShardId, &Client)],
        gather: &Client,
    ) -> Result<GatherState, Error> {
        let digests = digests(shards, gather).await?;
        let schema = match &self.last {
            Some((version, before, state)) if *version == rules.version && *before == digests => {
                state.clone()
            }
            Some(_) | None => {
                if let Err(error) = outline::close_tables(gather).await {
                    tracing::warn!(%error, "the gather database's tables stay readable");
                }
                match difference(rules, shards, gather).await? {
                    None => GatherState::Ready,
                    Some(how) => GatherState::Differs(how),
                }
            }
        };
        // Rows come and go without a change of the schema, so they are not remembered; nor is what was
        // found while the schema changed, which may go back to what it was.
        let stands = self::digests(shards, gather).await? == digests;
        self.last = stands.then(|| (rules.version, digests, schema.clone()));
        Ok(match outline::with_rows(gather).await? {
            Some(table) => GatherState::Differs(format!("its table {table} has rows")),
            None => schema,
        })
    }
}

/// What changes with the schema of each of these servers.
async fn digests(shards: &[(ShardId, &Client)], gather: &Client) -> Result<Vec<String>, Error> {
    let mut digests = vec![outline::digest(gather).await?];
    for (_, shard) in shards {
        digests.push(outline::digest(shard).await?);
    }
    Ok(digests)
}

/// The shards whose word counts.
pub fn needed_shards(rules: &Rules) -> Vec<ShardId> {
    let mut needed: Vec<ShardId> = rules
        .tables
        .iter()
        .filter_map(|table| match table.placement {
            Placement::Single(shard) => Some(shard),
            Placement::Sharded { .. } | Placement::Reference => None,
        })
        .collect();
    if let Unlisted::Shard(shard) = rules.unlisted {
        needed.push(shard);
    }
    needed.retain(|shard| *shard != rules.home);
    needed.sort();
    needed.dedup();
    // What it has is what the others' tables are made of.
    needed.insert(0, rules.home);
    needed
}

/// `None`: one of them cannot be asked.
fn needed<'a>(rules: &Rules, witnesses: &Witnesses<'a>) -> Option<Vec<(ShardId, &'a Client)>> {
    let client = |id| witnesses.shards.iter().find(|(shard, _)| *shard == id).copied();
    needed_shards(rules).into_iter().map(client).collect()
}

async fn difference(
    rules: &Rules,
    shards: &[(ShardId, &Client)],
    gather: &Client,
) -> Result<Option<String>, Error> {
    let mut wanted = Vec::new();
    for (shard, client) in shards {
        let facts = outline::read(client).await?.into_iter();
        wanted.extend(facts.filter(|fact| counts(fact, *shard, rules)));
    }
    Ok(compare(&wanted, &outline::read(gather).await?))
}

/// Of a table that lives on one shard alone, that shard's word counts; the home shard's otherwise.
pub fn counts(fact: &Fact, shard: ShardId, rules: &Rules) -> bool {
    let alone = match fact.table.is_empty() {
        true => None,
        // What is no table is on all shards, unless the rules name it.
        false if matches!(fact.kind.as_str(), "view" | "materialized view" | "type") => {
            lives_alone_on(&fact.schema, &fact.table, RelationKind::View, rules)
        }
        false => lives_alone_on(&fact.schema, &fact.table, RelationKind::Table, rules),
    };
    alone.unwrap_or(rules.home) == shard
}

/// How many differences are told.
const TOLD: usize = 3;

/// How the gather database differs from what is wanted, the larger things first.
fn compare(wanted: &[Fact], found: &[Fact]) -> Option<String> {
    let key = |fact: &Fact| {
        const LARGE: [&str; 6] =
            ["database", "extension", "table", "view", "materialized view", "type"];
        let rank = LARGE.iter().position(|kind| *kind == fact.kind).unwrap_or(LARGE.len());
        (rank, fact.kind.clone(), fact.name.clone())
    };
    let mut both: BTreeMap<_, (Option<&str>, Option<&str>)> = BTreeMap::new();
    for fact in wanted {
        both.entry(key(fact)).or_default().0 = Some(&fact.says);
    }
    for fact in found {
        both.entry(key(fact)).or_default().1 = Some(&fact.says);
    }
    let differing: Vec<String> = both
        .into_iter()
        .filter(|(_, (wanted, found))| wanted != found)
        .map(|((_, kind, name), says)| match says {
            (Some(_), None) => format!("{kind} {name} is missing"),
            (None, _) => format!("{kind} {name} is on no shard"),
            (Some(wanted), Some(found)) => {
                format!("{kind} {name} is {}, not {}", short(found), short(wanted))
            }
        })
        .collect();
    let told = differing.iter().take(TOLD).cloned().collect::<Vec<_>>().join("; ");
    match differing.len() {
        0 => None,
        count if count > TOLD => Some(format!("{told}; and {} more", count - TOLD)),
        _ => Some(told),
    }
}

fn short(says: &str) -> String {
    const MOST: usize = 60;
    match says.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", says.get(..end).unwrap_or_default()),
        None => says.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fact(kind: &str, table: &str, name: &str, says: &str) -> Fact {
        let owned = str::to_owned;
        let schema = if table.is_empty() { "" } else { "public" };
        Fact {
            kind: owned(kind),
            schema: owned(schema),
            table: owned(table),
            name: owned(name),
            says: owned(says),
        }
    }

    #[test]
    fn differences_are_told_the_larger_first() {
        let wanted = [
            fact("column", "t", "public.t.a", "number 1 integer"),
            fact("column", "t", "public.t.b", "number 2 text"),
            fact("table", "t", "public.t", "there"),
            fact("table", "u", "public.u", "there"),
        ];
        assert_eq!(compare(&wanted, &wanted), None);
        let found = [
            fact("column", "t", "public.t.a", "number 1 bigint"),
            fact("column", "t", "public.t.c", "number 2 text"),
            fact("table", "t", "public.t", "there"),
        ];
        assert_eq!(
            compare(&wanted, &found).as_deref(),
            Some(
                "table public.u is missing; column public.t.a is number 1 bigint, not number 1 \
                 integer; column public.t.b is missing; and 1 more"
            )
        );
    }

    #[test]
    fn a_table_of_one_shard_is_as_that_shard_has_it() {
        let text =
            include_str!("../../rules/shop/rules.toml").replace("shard = \"s0\"", "shard = \"s2\"");
        let rules = crate::rules::parse(&text, "rules.toml").unwrap();
        let (home, other) = (ShardId(0), ShardId(2));
        let check = |fact: Fact, expected: [bool; 2]| {
            let found = [home, other].map(|shard| counts(&fact, shard, &rules));
            assert_eq!(found, expected, "{fact:?}");
        };
        check(fact("table", "audit_log", "public.audit_log", "there"), [false, true]);
        check(fact("column", "audit_log", "public.audit_log.id", "number 1"), [false, true]);
        check(fact("table", "orders", "public.orders", "there"), [true, false]);
        check(fact("view", "totals", "public.totals", "SELECT 1"), [true, false]);
        check(fact("function", "", "public.f()", "returns int"), [true, false]);
    }
}
