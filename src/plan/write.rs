//! What all writes have in common: their CTEs, their target, the columns nobody may change.
use super::analyst::{Analyst, Moved, Row, RowFallback};
use super::catalog::Nulls;
use super::foreign::Change;
use super::keys::Var;
use super::names::{Found, Home};
use super::scope::{Columns, CteState, Env, Item, Scope};
use super::value::Operand;
use super::{Access, Unroutable};
use crate::sql::statement::{Assignment, Cte, Expr, Name, Output, Statement, TableItem, Update};
use crate::sql::write::Write;
use std::cell::RefCell;
use std::collections::BTreeSet;

impl<'a> Analyst<'a> {
    /// A write inside a statement or as the statement; what RETURNING gives.
    pub fn write(&mut self, statement: &Statement, env: &Env<'_>) -> Result<Columns, Unroutable> {
        self.at_least(Access::Write);
        match statement.write() {
            Some(Write::Insert(insert)) => self.insert(insert, env),
            Some(Write::Update(update)) => self.update(update, env),
            Some(Write::Delete(delete)) => self.delete(delete, env),
            Some(Write::Merge(merge)) => self.merge(merge, env),
            None => {
                Err(Unroutable::Unsupported { what: String::from("this statement inside WITH") })
            }
        }
    }

    /// Runs `inside` with the statement's own CTEs in sight.
    pub fn with_ctes<T>(
        &mut self,
        ctes: &[Cte],
        recursive: bool,
        env: &Env<'_>,
        inside: impl FnOnce(&mut Self, &Env<'_>) -> Result<T, Unroutable>,
    ) -> Result<T, Unroutable> {
        let state = RefCell::new(vec![CteState::Unused; ctes.len()]);
        let env = Env {
            ctes,
            visible: ctes.len(),
            recursive,
            state: &state,
            parent: Some(env),
            scope: None,
        };
        self.written_ctes(&env)?;
        let done = inside(self, &env)?;
        self.unused_ctes(&env)?;
        Ok(done)
    }

    /// The table that is written, as the first item of the statement's scope. Whether a
    /// reference table may be is seen when the whole statement has been read.
    pub fn target(&mut self, table: &TableItem) -> Result<(Found<'a>, Item), Unroutable> {
        self.table(&table.name, &table.alias)
    }

    /// SET: values are walked. Whether they move rows is seen by whoever asks.
    pub fn assignments(
        &mut self,
        set: &[Assignment],
        env: &Env<'_>,
        scope: &Scope<'_>,
    ) -> Result<(), Unroutable> {
        set.iter().try_for_each(|assignment| self.visit(&assignment.value, env, scope))
    }

    pub fn returning(
        &mut self,
        returning: &[Output],
        env: &Env<'_>,
        scope: &Scope<'_>,
    ) -> Result<Columns, Unroutable> {
        let mut columns = self.outputs(returning, env, scope)?;
        columns.close();
        Ok(columns)
    }
}

/// The columns that are set, as a change of rows; nothing is set, nothing changes.
pub fn updated<'s>(set: impl IntoIterator<Item = &'s Assignment>) -> Vec<Change> {
    let columns = set.into_iter().flat_map(|assignment| assignment.columns.iter().cloned());
    let columns: BTreeSet<String> = columns.collect();
    if columns.is_empty() { Vec::new() } else { vec![Change::Updated(columns)] }
}

/// The columns that decide where a row lives.
fn places<'f>(found: &Found<'f>) -> Vec<&'f str> {
    match &found.home {
        Home::Sharded { key, fallback, .. } => {
            let fallback = fallback.map(|fallback| fallback.key.as_str());
            std::iter::once(*key).chain(fallback).collect()
        }
        Home::Reference | Home::Single(_) | Home::System | Home::Temporary => Vec::new(),
    }
}

/// The value that a column is set to, if it is; `Some(None)`: it is not a value of its own.
pub fn assigned<'s>(set: &'s [Assignment], column: &str) -> Option<Option<&'s Expr>> {
    set.iter().find_map(|assignment| {
        let at = assignment.columns.iter().position(|one| one == column)?;
        Some(match (&assignment.value, assignment.columns.len()) {
            (Expr::Row(values), _) => values.get(at),
            (value, 1) => Some(value),
            (_, _) => None,
        })
    })
}

/// Key and fallback key stay as they are.
pub fn refuse_places(
    table: &Name,
    found: &Found<'_>,
    set: &[Assignment],
) -> Result<(), Unroutable> {
    match places(found).into_iter().find(|column| assigned(set, column).is_some()) {
        Some(column) => {
            Err(Unroutable::SetsKey { table: table.to_string(), column: column.to_owned() })
        }
        None => Ok(()),
    }
}

/// ON CONFLICT DO UPDATE gives a row the key of the one that was to be inserted on the same shard.
pub fn excluded_places(found: &Found<'_>, set: &[Assignment]) -> bool {
    let excluded = |column: &&str| {
        let value = assigned(set, column).flatten();
        matches!(value, Some(Expr::Column(parts))
            if matches!(parts.as_slice(), [table, name] if table == "excluded" && name == column))
    };
    places(found).iter().all(excluded)
}

impl<'a> Analyst<'a> {
    /// Whether an UPDATE changes where its rows live, as far as the text says.
    pub fn moved(
        &mut self,
        update: &Update,
        found: &Found<'a>,
        key: Option<Var>,
    ) -> Option<Moved<'a>> {
        let Home::Sharded { key: key_column, distribution, fallback } = &found.home else {
            return None;
        };
        let called = update.table.alias.name.as_ref().unwrap_or(&update.table.name.name);
        let set = |column: &str| {
            assigned(&update.set, column).filter(|value| {
                !value.is_some_and(|value| {
                    matches!(value, Expr::Column(parts) if match parts.as_slice() {
                        [name] => name == column,
                        [table, name] => table == called && name == column,
                        _ => false,
                    })
                })
            })
        };
        let (new_key, new_fallback) = (set(key_column), fallback.and_then(|f| set(&f.key)));
        // A key that equals something is not NULL, so the fallback places nothing.
        let has_key = || key.is_some_and(|key| self.facts.solve().limit(key).is_some());
        let column = match (new_key, new_fallback, fallback) {
            (Some(_), _, _) => (*key_column).to_owned(),
            (None, Some(_), Some(fallback)) if !has_key() => fallback.key.clone(),
            (None, Some(_), _) | (None, None, _) => return None,
        };
        let by_key = has_key();
        let operand = |value: Option<Option<&Expr>>| value.flatten().and_then(Operand::of);
        let nulls = |column: &str| {
            let known = found.relation.and_then(|relation| relation.column(column));
            known.map_or(Nulls::Taken, |known| known.nulls)
        };
        let to_key = operand(new_key);
        let to_fallback = operand(new_fallback);
        let to = match (to_key, fallback) {
            (Some(to_key), Some(fallback)) if to_fallback.is_some() => {
                Some((to_key, Some((fallback, to_fallback))))
            }
            (Some(to_key), None) => Some((to_key, None)),
            (Some(_) | None, _) => None,
        };
        let to = to.map(|(to_key, to_fallback)| {
            if let Some(known) = self.context.rules.distribution(*distribution) {
                self.typed_param(&to_key, known.key_type.typname());
            }
            Row {
                table: update.table.name.to_string(),
                column: key_column,
                distribution: *distribution,
                key: Some(to_key),
                nulls: nulls(key_column),
                fallback: to_fallback.map(|(fallback, key)| RowFallback {
                    column: fallback.key.as_str(),
                    distribution: fallback.distribution,
                    key,
                    nulls: nulls(&fallback.key),
                }),
            }
        });
        Some(Moved { column, to, by_key })
    }
}
