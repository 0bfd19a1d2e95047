//! Which row a statement locks, where the rules say that many clients lock the same one.
//!
//! Only an optimisation: whoever is to lock a hot row waits for its turn in weir instead of on a server
//! connection. Where it is not proved that one row is meant nobody waits, which is always right.
use super::Planned;
use super::analyst::Analyst;
use super::keys::{Proof, Var};
use super::names::Found;
use super::scope::Columns;
use super::value::{Keys, Operand, Use, Values};
use crate::ids::HotKey;
use crate::sharding::{Key, KeyType};
use crate::wire::params::Params;
use std::fmt::Write;

/// A key longer than this is not worth queueing for.
const LONGEST_KEY: usize = 256;

/// The row of a table with a `hot_key` that a statement locks.
#[derive(Debug)]
pub struct LockTarget {
    /// As the rules name it.
    table: String,
    columns: Vec<LockColumn>,
}

/// What a column of the key is proved to be.
#[derive(Debug)]
struct LockColumn {
    name: String,
    operand: Operand,
    read_as: KeyType,
}

/// A table with a `hot_key` where a statement reads or writes it.
#[derive(Clone, Debug)]
pub struct HotItem {
    table: String,
    columns: Vec<(String, Var)>,
}

impl HotItem {
    /// `None`: the rules name no `hot_key`, or a column of it is not there or of another type than keys.
    pub fn of(found: &Found<'_>, columns: &Columns) -> Option<Self> {
        let rule = found.rule.filter(|rule| !rule.hot_key.is_empty())?;
        let var = |name: &String| {
            let slot = columns.slots.iter().find(|slot| slot.name.as_ref() == Some(name))?;
            Some((name.clone(), slot.cell?.var))
        };
        let columns = rule.hot_key.iter().map(var).collect::<Option<_>>()?;
        let table = match &rule.schema {
            Some(schema) => format!("{schema}.{}", rule.name),
            None => rule.name.clone(),
        };
        Some(Self { table, columns })
    }
}

impl Analyst<'_> {
    /// The one row that the statement locks: one instance of a table, each column of its key proved to
    /// be one value.
    pub fn lock_target(&self) -> Option<LockTarget> {
        let [Some(HotItem { table, columns })] = self.lock_sites.as_slice() else { return None };
        let proof = self.facts.solve();
        let columns = columns.iter().map(|(name, var)| {
            let (keys, read_as) = self.proved(&proof, *var)?;
            match keys {
                Keys::AnyOf(operands) => match operands.as_slice() {
                    [operand] => {
                        Some(LockColumn { name: name.clone(), operand: operand.clone(), read_as })
                    }
                    _ => None,
                },
                Keys::Elements(_) => None,
            }
        });
        Some(LockTarget { table: table.clone(), columns: columns.collect::<Option<_>>()? })
    }

    fn proved<'p>(&'p self, proof: &'p Proof, var: Var) -> Option<(&'p Keys, KeyType)> {
        match proof.limit(var) {
            Some(limit) => Some((&limit.keys, limit.read_as)),
            None => self.facts.limit_of_lone(var),
        }
    }
}

impl LockTarget {
    fn key(&self, values: Values<'_>) -> Option<HotKey> {
        let mut text = format!("{}:", self.table);
        for (index, LockColumn { name, operand, read_as }) in self.columns.iter().enumerate() {
            let key = operand.key(name, *read_as, Use::Compared, values).ok()??;
            let separator = if index > 0 { "," } else { "" };
            let written = match key {
                Key::Text(text_key) if text_key.len() > LONGEST_KEY => return None,
                Key::Text(text_key) => {
                    write!(text, "{separator} {name} = '{}'", text_key.replace('\'', "''"))
                }
                Key::Int(_) | Key::Uuid(_) | Key::Date(_) | Key::Timestamptz(_) => {
                    write!(text, "{separator} {name} = {key}")
                }
            };
            debug_assert!(written.is_ok(), "a String takes every text");
        }
        Some(HotKey::new(&text))
    }

    /// Before its values are known.
    pub fn describe(&self) -> String {
        let names: Vec<_> = self.columns.iter().map(|column| column.name.as_str()).collect();
        format!("{} by {}", self.table, names.join(", "))
    }
}

impl Planned {
    /// The hot row that this execution locks: equal for the same row however its key is written, as far
    /// as that is worked out without a server.
    pub fn lock_target(&self, statement: &str, params: &Params<'_>) -> Option<HotKey> {
        let target = self.plan.lock.as_ref()?;
        target.key(Values { statement, shape: &self.shape, params })
    }
}
