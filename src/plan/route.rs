//! Plan + the values of one execution → [`Route`]. This is the hot path: a cached plan with one
//! key allocates nothing but the key.
use super::catalog::Nulls;
use super::value::{Use, Values};
use super::{Access, FallbackRow, Plan, Planned, Requirement, Route, Target, Unroutable};
use crate::ids::{BucketId, DistributionId, ShardId};
use crate::rules::Rules;
use crate::sharding::Key;
use crate::wire::params::Params;
use std::collections::BTreeSet;

/// A key and where it was found to be.
pub(super) struct Located<'r> {
    pub column: &'r str,
    pub distribution: DistributionId,
    pub key: Key,
    pub bucket: BucketId,
    pub shard: ShardId,
}

/// Where a row goes that has no key.
enum Where<'r> {
    At(Option<Located<'r>>),
    /// Every server refuses it.
    Anywhere,
}

/// Told of a shard, and of the key that lives there if a key it was.
type Each<'e> = &'e mut dyn FnMut(ShardId, Option<Located<'_>>) -> Result<(), Unroutable>;

impl Planned {
    pub fn route(
        &self,
        statement: &str,
        params: &Params<'_>,
        rules: &Rules,
    ) -> Result<Route, Unroutable> {
        let values = Values { statement, shape: &self.shape, params };
        self.plan.route(values, rules)
    }
}

impl Planned {
    /// The shards that a query of [`Route::Many`] reads on, ascending: those of its keys if every
    /// table is limited to keys, else all.
    pub fn shards(
        &self,
        statement: &str,
        params: &Params<'_>,
        rules: &Rules,
    ) -> Result<Vec<ShardId>, Unroutable> {
        let Target::Keyed(keyed) = &self.plan.target else {
            return Ok(rules.shard_ids().collect());
        };
        let values = Values { statement, shape: &self.shape, params };
        let mut shards = BTreeSet::new();
        for requirement in &keyed.requirements {
            requirement.each(values, rules, &mut |shard, _| {
                shards.insert(shard);
                Ok(())
            })?;
        }
        Ok(shards.into_iter().collect())
    }
}

impl Planned {
    /// Tells of the keys that a statement names, as far as they are known without asking a server.
    pub fn keys(
        &self,
        statement: &str,
        params: &Params<'_>,
        rules: &Rules,
        each: &mut dyn FnMut(DistributionId, Key, BucketId, ShardId),
    ) {
        let Target::Keyed(keyed) = &self.plan.target else { return };
        let values = Values { statement, shape: &self.shape, params };
        for requirement in &keyed.requirements {
            let told = requirement.each(values, rules, &mut |shard, located| {
                if let Some(Located { distribution, key, bucket, .. }) = located {
                    each(distribution, key, bucket, shard);
                }
                Ok(())
            });
            if told.is_err() {
                return;
            }
        }
    }
}

impl Plan {
    /// It can be answered if its keys are on several shards.
    fn spreads(&self) -> bool {
        self.several.is_some() || self.scattered.is_some() || self.copying.is_some()
    }

    pub(super) fn route(&self, values: Values<'_>, rules: &Rules) -> Result<Route, Unroutable> {
        let keyed = match &self.target {
            Target::AnyShard => return Ok(Route::Any),
            Target::Shard(shard) => return Ok(Route::One(*shard)),
            Target::EveryShard => return Ok(Route::Every),
            Target::Several => return Ok(Route::Many),
            Target::Proxy => return Ok(Route::Proxy),
            Target::Drawn(draw) => {
                let (table, column) = (draw.table.clone(), draw.column.clone());
                return Err(Unroutable::KeyUnknown { table, column, by: "a sequence" });
            }
            // Who knows the session finds the server.
            Target::Recalled(recalled) => return Err(recalled.unknown()),
            Target::Keyed(keyed) => keyed,
        };
        let (mut chosen, mut several) = (None, false);
        for requirement in &keyed.requirements {
            requirement.each(values, rules, &mut |shard, _| match chosen {
                Some(before) if before != shard && self.spreads() => {
                    several = true;
                    Ok(())
                }
                Some(before) if before != shard => Err(match self.unscattered.as_deref() {
                    Some(why @ Unroutable::NotMoved { .. }) => why.clone(),
                    Some(_) | None => apart(&keyed.requirements, values, rules),
                }),
                _ => {
                    chosen = Some(shard);
                    Ok(())
                }
            })?;
        }
        if several {
            return Ok(Route::Many);
        }
        Ok(match (chosen, self.access) {
            (Some(shard), _) => Route::One(shard),
            // No key at all (`user_id = NULL`): no row can be meant, on any shard.
            (None, Access::Read) => Route::Any,
            (None, Access::Lock | Access::Write) => Route::One(rules.home),
        })
    }
}

impl Requirement {
    /// Calls `each` with the shard of every key, in the order of the statement.
    pub(super) fn each(
        &self,
        values: Values<'_>,
        rules: &Rules,
        each: Each<'_>,
    ) -> Result<(), Unroutable> {
        match self {
            Requirement::Shard { shard, .. } => each(*shard, None),
            Requirement::Limit { column, distribution, keys, read_as, .. } => {
                keys.each(column, *read_as, values, |key| {
                    match locate(column, *distribution, key, rules)? {
                        Some(located) => each(located.shard, Some(located)),
                        None => Ok(()),
                    }
                })
            }
            Requirement::Row { table, column, distribution, key, nulls, fallback } => {
                let key = match key {
                    Some(operand) => operand.key(
                        column,
                        key_type(*distribution, rules)?,
                        Use::Assigned,
                        values,
                    )?,
                    None => None,
                };
                let located = match (key, fallback) {
                    (Some(key), _) => locate(column, *distribution, key, rules)?,
                    (None, _) if *nulls == Nulls::Refused => return each(rules.home, None),
                    (None, Some(fallback)) => match fallback.locate(table, values, rules)? {
                        Where::Anywhere => return each(rules.home, None),
                        Where::At(located) => located,
                    },
                    (None, None) => {
                        let (table, column) = (table.clone(), column.clone());
                        return Err(Unroutable::NullKey { table, column });
                    }
                };
                match located {
                    Some(located) => each(located.shard, Some(located)),
                    None => Ok(()),
                }
            }
        }
    }
}

impl FallbackRow {
    fn locate<'r>(
        &'r self,
        table: &str,
        values: Values<'_>,
        rules: &Rules,
    ) -> Result<Where<'r>, Unroutable> {
        let (table, column) = (table.to_owned(), self.column.clone());
        let Some(operand) = &self.key else {
            let by = "a default or an expression";
            return Err(Unroutable::KeyUnknown { table, column, by });
        };
        let key_type = key_type(self.distribution, rules)?;
        match operand.key(&self.column, key_type, Use::Assigned, values)? {
            Some(key) => locate(&self.column, self.distribution, key, rules).map(Where::At),
            None if self.nulls == Nulls::Refused => Ok(Where::Anywhere),
            None => Err(Unroutable::NullKey { table, column }),
        }
    }
}

/// `None`: the key's column cannot hold such a value, so no row has it.
pub(super) fn locate<'r>(
    column: &'r str,
    distribution: DistributionId,
    key: Key,
    rules: &Rules,
) -> Result<Option<Located<'r>>, Unroutable> {
    let Some(found) = rules.distribution(distribution) else {
        return Err(stale(column));
    };
    if !key.fits(found.key_type) {
        return Ok(None);
    }
    match found.locate(&key) {
        Ok((bucket, shard)) => Ok(Some(Located { column, distribution, key, bucket, shard })),
        Err(_) => Err(Unroutable::NoBucket { column: column.to_owned(), key: key.to_string() }),
    }
}

fn key_type(
    distribution: DistributionId,
    rules: &Rules,
) -> Result<crate::sharding::KeyType, Unroutable> {
    rules.distribution(distribution).map(|found| found.key_type).ok_or_else(|| stale("the key"))
}

/// A plan is only asked with the rules it was made with.
fn stale(column: &str) -> Unroutable {
    Unroutable::Value(crate::error::Error::internal(format!(
        "the plan's distribution of {column} is not in the rules"
    )))
}

/// The refusal, told with the first two things that are on different shards.
fn apart(requirements: &[Requirement], values: Values<'_>, rules: &Rules) -> Unroutable {
    let mut first: Option<(ShardId, String)> = None;
    let mut second = None;
    let mut needs = false;
    for requirement in requirements {
        let told = requirement.each(values, rules, &mut |shard, located| {
            let (what, fixed) = match (&located, requirement) {
                (Some(located), _) => (format!("{} = {}", located.column, located.key), false),
                (None, Requirement::Shard { what, .. }) => (what.clone(), true),
                (None, Requirement::Limit { label, .. }) => (label.clone(), false),
                (None, Requirement::Row { table, .. }) => (table.clone(), false),
            };
            let told = format!("{what} on {}", rules.shard_name(shard));
            match &first {
                None => first = Some((shard, told)),
                Some((before, _)) if *before == shard => return Ok(()),
                Some(_) if second.is_none() => second = Some(told),
                Some(_) => return Ok(()),
            }
            needs |= fixed;
            Ok(())
        });
        if told.is_err() {
            break;
        }
    }
    let what = match (first, second) {
        (Some((_, first)), Some(second)) => format!("{first}, {second}"),
        _ => String::from("its keys"),
    };
    match needs {
        true => {
            Unroutable::Apart { what, needs: String::from("send one statement for each shard") }
        }
        false => Unroutable::SeveralShards { what },
    }
}
