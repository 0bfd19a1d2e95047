//! Where a statement goes: to one shard by proof, to several if that is planned, or nowhere.
use super::analyst::{Analyst, ParamUse};
use super::keys::Proof;
use super::names::Home;
use super::several::rows::requirement;
use super::several::{Scattered, Several};
use super::value::{Keys, Operand};
use super::{Access, Keyed, Requirement, Target, Unroutable};
use std::collections::HashMap;

/// The shards of a query's keys, if it has any; else several.
pub(super) fn decide_copy(analyst: &Analyst<'_>) -> Result<Target, Unroutable> {
    match decide(analyst) {
        Ok(target @ Target::Keyed(_)) => Ok(target),
        Ok(_) | Err(Unroutable::Unproved { .. } | Unroutable::Apart { .. }) => Ok(Target::Several),
        Err(why) => Err(why),
    }
}

/// One shard if that is proved, several if the query can be answered from them.
pub(super) fn decide_or_unite(
    analyst: &Analyst<'_>,
    several: Option<Several>,
) -> Result<(Target, Option<Several>), Unroutable> {
    match (decide(analyst), several) {
        (Ok(target @ Target::Keyed(_)), several) => {
            let apart = could_be_apart(&target);
            Ok((target, several.filter(|several| apart && several.refusal().is_none())))
        }
        (Ok(target), _) => Ok((target, None)),
        // Every row is on the only shard there is.
        (Err(Unroutable::Unproved { .. }), _) if analyst.context.rules.shards.len() == 1 => {
            Ok((Target::Shard(analyst.context.rules.home), None))
        }
        (Err(Unroutable::Unproved { .. } | Unroutable::Apart { .. }), Some(several)) => {
            match several {
                Several { merge: Err(_), gather: Err(why), .. } => Err(why),
                several => Ok((Target::Several, Some(several))),
            }
        }
        // A query, so all of its writes are inside WITH.
        (Err(Unroutable::Unproved { table, key }), None) if !analyst.writes.is_empty() => {
            let written = analyst.writes.first().map(|site| site.table.to_string());
            Err(Unroutable::InnerWrite { written: written.unwrap_or_default(), table, key })
        }
        (Err(why), _) => Err(why),
    }
}

/// One shard if that is proved, several if the write is proved to be possible there. If its keys may turn
/// out to be on several shards: how it is done then, or why it is not.
pub(super) fn decide_or_scatter(
    analyst: &mut Analyst<'_>,
    scattered: Result<Scattered, Unroutable>,
) -> Result<(Target, Option<Result<Scattered, Unroutable>>), Unroutable> {
    let one = analyst.context.rules.shards.len() == 1;
    let inner = inner_write(analyst);
    let on_several =
        |scattered: Result<_, _>| scattered.map(|done| (Target::Several, Some(Ok(done))));
    if !one && analyst.writes.iter().any(|site| matches!(site.found.home, Home::Reference)) {
        // On all copies, or not at all.
        return on_several(scattered);
    }
    if !one && let Some(moved) = analyst.writes.last_mut().and_then(|site| site.moves.as_mut()) {
        match moved.to.take() {
            // If that is where the rows are, the statement is one shard's.
            Some(row) => analyst.rows.push(row),
            None => return on_several(scattered),
        }
    }
    match (decide(analyst), scattered) {
        (Ok(target), scattered) => {
            let timed = scattered.as_ref().is_ok_and(Scattered::tells_default);
            let scattered = (timed || could_be_apart(&target)).then_some(scattered);
            Ok((target, scattered))
        }
        // Every row is on the only shard there is.
        (Err(Unroutable::Unproved { .. }), _) if one => {
            Ok((Target::Shard(analyst.context.rules.home), None))
        }
        (Err(Unroutable::Unproved { .. } | Unroutable::KeyNotPassed { .. }), scattered @ Ok(_)) => {
            on_several(scattered)
        }
        (Err(Unroutable::Unproved { table, key }), Err(_)) if inner.is_some() => {
            let written = inner.unwrap_or_default();
            Err(Unroutable::InnerWrite { written, table, key })
        }
        (
            Err(Unroutable::Unproved { .. }),
            Err(
                why @ (Unroutable::NotScattered { .. }
                | Unroutable::NotJoined { .. }
                | Unroutable::NotMoved { .. }),
            ),
        ) => Err(why),
        (Err(why), _) => Err(why),
    }
}

/// The table that a write inside WITH writes; the statement's own write comes last.
fn inner_write(analyst: &Analyst<'_>) -> Option<String> {
    let (_, inner) = analyst.writes.split_last()?;
    inner.first().map(|site| site.table.to_string())
}

/// Whether the keys may turn out to be on different shards.
fn could_be_apart(target: &Target) -> bool {
    let Target::Keyed(Keyed { requirements }) = target else { return false };
    let several = |requirement: &Requirement| match requirement {
        Requirement::Limit { keys: Keys::AnyOf(keys), .. } => keys.len() > 1,
        Requirement::Limit { keys: Keys::Elements(_), .. } => true,
        Requirement::Row { .. } | Requirement::Shard { .. } => false,
    };
    requirements.len() > 1 || requirements.iter().any(several)
}

/// Put everything together: the target that the statement's instances, rows and needs leave.
pub(super) fn decide(analyst: &Analyst<'_>) -> Result<Target, Unroutable> {
    let rules = analyst.context.rules;
    let requirements = requirements(analyst)?;
    let mut fixed = requirements.iter().filter_map(|requirement| match requirement {
        Requirement::Shard { shard, what } => Some((*shard, what)),
        Requirement::Limit { .. } | Requirement::Row { .. } => None,
    });
    let first = fixed.next();
    if let Some((one, what)) = first
        && let Some((other, with)) = fixed.find(|(shard, _)| *shard != one)
    {
        return Err(Unroutable::Apart {
            what: format!(
                "{what} on {}, {with} on {}",
                rules.shard_name(one),
                rules.shard_name(other)
            ),
            needs: String::from("send one statement for each shard"),
        });
    }
    let keyed = requirements.iter().any(|requirement| match requirement {
        Requirement::Limit { .. } | Requirement::Row { .. } => true,
        Requirement::Shard { .. } => false,
    });
    Ok(match (keyed, first) {
        (true, _) => Target::Keyed(Keyed { requirements }),
        (false, Some((shard, _))) => Target::Shard(shard),
        (false, None) => {
            let anywhere = analyst.access == Access::Read
                && !analyst.random
                && !analyst.settings
                && analyst.asked_settings.is_empty()
                && !analyst.rather_home;
            match anywhere {
                true => Target::AnyShard,
                false => Target::Shard(rules.home),
            }
        }
    })
}

fn requirements(analyst: &Analyst<'_>) -> Result<Vec<Requirement>, Unroutable> {
    if let Some(why) = &analyst.unplaced {
        return Err(why.clone());
    }
    let proof: Proof = analyst.facts.solve();
    let mut requirements = Vec::new();
    let mut add = |requirement: Requirement| {
        if !requirements.contains(&requirement) {
            requirements.push(requirement);
        }
    };
    for need in &analyst.needs {
        add(Requirement::Shard { shard: need.shard, what: need.what.clone() });
    }
    for instance in &analyst.instances {
        let fallback =
            instance.fallback.as_ref().filter(|_| analyst.facts.is_null(instance.key)).and_then(
                |fallback| {
                    let limit = proof.limit(fallback.var)?;
                    Some((limit, fallback.column, fallback.distribution))
                },
            );
        let direct = proof
            .limit(instance.key)
            .map(|limit| (limit, instance.key_column, instance.distribution));
        let (limit, column, distribution) =
            direct.or(fallback).ok_or_else(|| Unroutable::Unproved {
                table: named(&instance.table, &instance.label),
                key: instance.key_column.to_owned(),
            })?;
        add(Requirement::Limit {
            label: named(&instance.table, &instance.label),
            column: column.to_owned(),
            distribution,
            keys: limit.keys.as_ref().clone(),
            read_as: limit.read_as,
        });
    }
    for (passed, distribution) in &analyst.passed {
        let limit = proof.limit(passed.var).ok_or_else(|| Unroutable::KeyNotPassed {
            table: passed.table.clone(),
            column: passed.column.clone(),
        })?;
        add(Requirement::Limit {
            label: format!("rows for {}", passed.table),
            column: passed.column.clone(),
            distribution: *distribution,
            keys: limit.keys.as_ref().clone(),
            read_as: limit.read_as,
        });
    }
    analyst.rows.iter().map(requirement).for_each(add);
    Ok(requirements)
}

/// `orders`, or `orders o` under an alias.
fn named(table: &str, label: &str) -> String {
    match table == label || table.ends_with(&format!(".{label}")) {
        true => table.to_owned(),
        false => format!("{table} {label}"),
    }
}

/// Is there a key parameter whose type the text does not decide?
pub(super) fn needs_types(requirements: &[Requirement], params: &HashMap<u32, ParamUse>) -> bool {
    let undecided = |operand: &Operand| {
        operand
            .param()
            .is_some_and(|(number, _)| params.get(&number).is_none_or(|used| !used.decided()))
    };
    requirements.iter().any(|requirement| match requirement {
        Requirement::Shard { .. } => false,
        Requirement::Limit { keys, .. } => keys.operands().iter().any(undecided),
        Requirement::Row { key, fallback, .. } => {
            key.iter().any(undecided)
                || fallback.iter().filter_map(|fallback| fallback.key.as_ref()).any(undecided)
        }
    })
}
