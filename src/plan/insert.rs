//! INSERT: where its rows go. A row's key must be known before the insert, or be handed through
//! from a query that is limited to the same shard.
use super::Unroutable;
use super::analyst::{Analyst, Row, RowFallback, WriteSite};
use super::catalog::Nulls;
use super::keys::Var;
use super::names::{Found, Home};
use super::predicate::column;
use super::scope::{Columns, Env, Scope, Slot};
use super::several::level;
use super::several::spread::KeyNulls;
use super::value::Operand;
use super::write::{excluded_places, refuse_places, updated};
use crate::ids::DistributionId;
use crate::rules::Fallback;
use crate::sql::statement::{Alias, Body, Expr, Fill, Insert, Name, Source, TableItem};
use std::collections::HashSet;
use std::ops::Range;

/// Where among an INSERT's values the columns are that decide where a row lives.
pub struct Placing<'a> {
    table: String,
    key: Place<'a>,
    distribution: DistributionId,
    fallback: Option<(Place<'a>, &'a Fallback)>,
}

struct Place<'a> {
    column: &'a str,
    /// `Err`: the column is left out; what fills it.
    at: Result<usize, Fill>,
    nulls: Nulls,
}

/// A key that INSERT … SELECT takes from a column of its query: that column must be limited.
#[derive(Debug)]
pub struct Passed {
    pub table: String,
    pub column: String,
    pub var: Var,
}

impl<'a> Placing<'a> {
    /// `None`: the table is not sharded. No columns: all of the table's, in its order.
    pub fn of(
        name: &Name,
        found: &Found<'a>,
        columns: &[String],
    ) -> Result<Option<Self>, Unroutable> {
        let Home::Sharded { key, distribution, fallback } = &found.home else { return Ok(None) };
        let place = |column: &'a str| {
            let at = match columns {
                [] => {
                    let Some(known) = found.columns() else {
                        return Err(Unroutable::ColumnsUnknown { table: name.to_string() });
                    };
                    known.iter().position(|known| known.name == column)
                }
                columns => columns.iter().position(|listed| listed == column),
            };
            let filled = || match found.relation.and_then(|relation| relation.column(column)) {
                Some(known) => known.fill,
                // Nobody knows whether it has a default.
                None => Fill::Default,
            };
            let known = found.relation.and_then(|relation| relation.column(column));
            let nulls = known.map_or(Nulls::Taken, |known| known.nulls);
            Ok(Place { column, at: at.ok_or_else(filled), nulls })
        };
        Ok(Some(Self {
            table: name.to_string(),
            key: place(key)?,
            distribution: *distribution,
            fallback: match fallback {
                Some(fallback) => Some((place(fallback.key.as_str())?, fallback)),
                None => None,
            },
        }))
    }

    fn unknown(&self, column: &str, by: &'static str) -> Unroutable {
        let (table, column) = (self.table.clone(), column.to_owned());
        Unroutable::KeyUnknown { table, column, by }
    }
}

impl<'a> Analyst<'a> {
    pub fn insert(&mut self, insert: &Insert, env: &Env<'_>) -> Result<Columns, Unroutable> {
        self.with_ctes(&insert.ctes, insert.recursive, env, |analyst, env| {
            let alias = Alias { name: insert.alias.clone(), columns: Vec::new() };
            let at = insert.columns_at..insert.columns_at;
            let target = TableItem { name: insert.table.clone(), at, alias };
            let (found, item) = analyst.target(&target)?;
            // The target is written, not read: its rows are placed below, not proved.
            if let Home::Sharded { .. } = found.home {
                analyst.instances.pop();
            }
            let placing = Placing::of(&insert.table, &found, &insert.columns)?;
            match &insert.source {
                Source::Defaults => {
                    if let Some(placing) = &placing {
                        analyst.row(placing, &[])?;
                    }
                }
                Source::Rows(rows) => {
                    let nothing = Scope::new(None);
                    for row in rows {
                        analyst.visit_all(row.iter().flatten(), env, &nothing)?;
                        if let Some(placing) = &placing {
                            analyst.row(placing, row)?;
                        }
                    }
                }
                Source::Query(query) => {
                    let columns = analyst.query(query, env, None)?;
                    analyst.selected = columns.placed.then_some(columns.slots.len());
                    if let Some(placing) = &placing {
                        analyst.unplaced = analyst.selected(placing, &columns).err();
                    }
                }
            }
            let anchor = analyst.handed_through(insert);
            let mut scope = Scope::new(None);
            scope.items.push(item);
            if let Some(conflict) = &insert.conflict {
                let excluded = super::scope::Item {
                    key: None,
                    extended: false,
                    name: String::from("excluded"),
                    schema: None,
                    columns: Columns::unknown(),
                    hot: None,
                    reference: false,
                };
                scope.items.push(excluded);
                if !excluded_places(&found, &conflict.set) {
                    refuse_places(&insert.table, &found, &conflict.set)?;
                }
                analyst.assignments(&conflict.set, env, &scope)?;
                analyst.visit_all(&conflict.filter, env, &scope)?;
                scope.items.pop();
            }
            let returned = analyst.returning(&insert.returning, env, &scope)?;
            let set = insert.conflict.iter().flat_map(|conflict| &conflict.set);
            let (table, changes) = (insert.table.clone(), updated(set));
            analyst.writes.push(WriteSite { table, found, anchor, changes, moves: None });
            Ok(returned)
        })
    }

    /// One row of VALUES.
    fn row(&mut self, placing: &Placing<'a>, values: &[Option<Expr>]) -> Result<(), Unroutable> {
        let key = self.inserted(placing, &placing.key, placing.distribution, values)?;
        let fallback = match &placing.fallback {
            None => None,
            Some((place, fallback)) => {
                let key = self.inserted(placing, place, fallback.distribution, values);
                Some(RowFallback {
                    column: place.column,
                    distribution: fallback.distribution,
                    // What is not known matters only if the key is NULL.
                    key: key.ok().flatten(),
                    nulls: place.nulls,
                })
            }
        };
        self.rows.push(Row {
            table: placing.table.clone(),
            column: placing.key.column,
            distribution: placing.distribution,
            key,
            nulls: placing.key.nulls,
            fallback,
        });
        Ok(())
    }

    /// A column's value in a row; `None`: NULL.
    fn inserted(
        &mut self,
        placing: &Placing<'a>,
        place: &Place<'a>,
        distribution: DistributionId,
        values: &[Option<Expr>],
    ) -> Result<Option<Operand>, Unroutable> {
        let filled = |fill: Fill| match fill {
            Fill::Null => Ok(None),
            Fill::Default => Err(placing.unknown(place.column, "a default")),
            Fill::Serial | Fill::Identity => Err(placing.unknown(place.column, "a sequence")),
            Fill::Generated => Err(placing.unknown(place.column, "a generated column")),
        };
        let index = match place.at {
            Ok(index) => index,
            Err(fill) => return filled(fill),
        };
        match values.get(index) {
            Some(Some(expr)) => {
                let operand = Operand::of(expr)
                    .ok_or_else(|| placing.unknown(place.column, "an expression"))?;
                if let Some(found) = self.context.rules.distribution(distribution) {
                    self.typed_param(&operand, found.key_type.typname());
                }
                Ok(Some(operand))
            }
            // The keyword DEFAULT, or fewer values than columns.
            Some(None) | None => match place.at {
                Ok(_) => Err(placing.unknown(place.column, "a default")),
                Err(fill) => filled(fill),
            },
        }
    }

    /// The rows of INSERT … SELECT.
    fn selected(&mut self, placing: &Placing<'a>, columns: &Columns) -> Result<(), Unroutable> {
        let not_passed = || Unroutable::KeyNotPassed {
            table: placing.table.clone(),
            column: placing.key.column.to_owned(),
        };
        let Ok(index) = placing.key.at else { return Err(not_passed()) };
        if !columns.placed {
            return Err(not_passed());
        }
        let slot: &Slot = columns.slots.get(index).ok_or_else(not_passed)?;
        match (&slot.constant, slot.cell) {
            (Some(constant), _) => {
                if let Some(found) = self.context.rules.distribution(placing.distribution) {
                    self.typed_param(constant, found.key_type.typname());
                }
                self.rows.push(Row {
                    table: placing.table.clone(),
                    column: placing.key.column,
                    distribution: placing.distribution,
                    key: Some(constant.clone()),
                    nulls: placing.key.nulls,
                    fallback: None,
                });
                Ok(())
            }
            (None, Some(cell)) if !cell.nullable => {
                self.pass(placing, cell.var);
                Ok(())
            }
            (None, Some(_) | None) => Err(not_passed()),
        }
    }

    /// What equals the key of the rows that INSERT … SELECT inserts, where each shard can select its own.
    fn handed_through(&self, insert: &Insert) -> Option<HashSet<Var>> {
        let Source::Query(query) = &insert.source else { return None };
        let Body::Select(select) = &query.body else { return None };
        let ([(passed, _)], false) = (self.passed.as_slice(), query.limited) else { return None };
        let frame = self.frames.iter().rev().find(|frame| frame.at == select.at)?;
        let anchor = frame.anchor.as_ref().filter(|anchor| anchor.nulls == KeyNulls::None)?;
        let local = level::is_local(self, select, &query.tail, &anchor.spelled);
        (local && anchor.class.contains(&passed.var)).then(|| anchor.class.clone())
    }

    fn pass(&mut self, placing: &Placing<'a>, var: Var) {
        self.passed.push((
            Passed { table: placing.table.clone(), column: placing.key.column.to_owned(), var },
            placing.distribution,
        ));
    }

    /// The row that MERGE … WHEN NOT MATCHED inserts: from the source, or constants.
    pub fn merged_row(
        &mut self,
        placing: &Placing<'a>,
        values: &[Option<Expr>],
        scope: &Scope<'_>,
        source: &Range<usize>,
    ) -> Result<(), Unroutable> {
        let key = match placing.key.at {
            Ok(index) => values.get(index).and_then(Option::as_ref),
            Err(_) => None,
        };
        let found = key.and_then(|key| column(key, scope));
        match found {
            Some(found)
                if !found.cell.nullable
                    && found.item.is_some_and(|item| source.contains(&item)) =>
            {
                self.pass(placing, found.cell.var);
                Ok(())
            }
            Some(_) => Err(Unroutable::KeyNotPassed {
                table: placing.table.clone(),
                column: placing.key.column.to_owned(),
            }),
            None => self.row(placing, values),
        }
    }
}
