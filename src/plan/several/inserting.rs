//! Rows that weir has in hand, in text, and inserts where they belong: rows that move, rows that were selected.
use super::Template;
use crate::ids::{Oid, ShardId};
use crate::plan::analyst::{WriteSite, quoted};
use crate::plan::catalog::{Column, Nulls};
use crate::plan::names::Home;
use crate::plan::value::{Base, Operand, Values, oid_of};
use crate::plan::{FallbackRow, Requirement, Unroutable};
use crate::rules::Rules;
use crate::sql::moment::Time;
use crate::sql::shape::Shape;
use crate::wire::params::{Params, Value};
use std::ops::Range;

#[derive(Debug)]
pub struct Inserting {
    /// The table with its schema, as SQL writes it.
    pub table: String,
    /// As the statement calls it.
    pub alias: String,
    /// The columns that rows have values for, as SQL writes them.
    pub columns: Vec<String>,
    /// Behind the rows: the client's ON CONFLICT and RETURNING.
    pub tail: Template,
    /// It is ON CONFLICT DO UPDATE, which may meet no row twice: all rows of a shard go at once.
    pub updates: bool,
    key: usize,
    fallback: Option<usize>,
    /// Where a row belongs; its key is `$1`, its fallback key `$2`.
    at: Requirement,
}

/// A row in text.
pub type TextRow = Vec<Option<bytes::Bytes>>;

impl Inserting {
    /// `columns`: what rows have values for. `Err`: a column that decides where they belong is not among them.
    pub fn new(
        site: &WriteSite<'_>,
        alias: String,
        columns: &[&str],
        tail: Option<Range<usize>>,
        times: &[Time],
    ) -> Result<Self, Unroutable> {
        let Home::Sharded { key, distribution, fallback } = &site.found.home else {
            return Err(Unroutable::TooBig);
        };
        let position = |name: &str| {
            let found = columns.iter().position(|column| *column == name);
            let (table, column) = (site.table.to_string(), name.to_owned());
            found.ok_or(Unroutable::KeyNotPassed { table, column })
        };
        let known = site.found.columns().unwrap_or_default();
        let nulls = |name: &str| {
            let column = known.iter().find(|column| column.name == name);
            column.map_or(Nulls::Taken, |column| column.nulls)
        };
        let param = |number| Some(Operand { base: Base::Param(number), steps: Vec::new() });
        let mut behind = Template::default();
        if let Some(tail) = tail {
            behind.text(" ");
            behind.range(tail);
        }
        Ok(Self {
            table: site.qualified(),
            alias,
            columns: columns.iter().map(|column| quoted(column)).collect(),
            tail: behind.telling(times),
            updates: false,
            key: position(key)?,
            fallback: fallback.map(|fallback| position(&fallback.key)).transpose()?,
            at: Requirement::Row {
                table: site.table.to_string(),
                column: (*key).to_owned(),
                distribution: *distribution,
                key: param(1),
                nulls: nulls(key),
                fallback: fallback.map(|fallback| FallbackRow {
                    column: fallback.key.clone(),
                    distribution: fallback.distribution,
                    key: param(2),
                    nulls: nulls(&fallback.key),
                }),
            },
        })
    }

    /// The values in a row that decide where it belongs.
    pub fn keys<'r>(&self, row: &'r TextRow) -> impl Iterator<Item = &'r [u8]> {
        let keys = [Some(self.key), self.fallback].into_iter().flatten();
        keys.filter_map(|at| row.get(at).and_then(Option::as_deref))
    }

    /// The shard of a row. `types`: of its values; none: those of the columns.
    pub fn shard(
        &self,
        row: &TextRow,
        types: &[Oid],
        shape: &Shape,
        rules: &Rules,
    ) -> Result<ShardId, Unroutable> {
        let Requirement::Row { distribution, fallback, .. } = &self.at else {
            return Err(Unroutable::TooBig);
        };
        let places = [Some(self.key), self.fallback];
        let own = [Some(*distribution), fallback.as_ref().map(|fallback| fallback.distribution)];
        let own = own.iter().flatten().filter_map(|id| rules.distribution(*id));
        let types: Vec<Oid> = places
            .iter()
            .flatten()
            .zip(own)
            .map(|(&at, own)| {
                let given = types.get(at).copied().filter(|given| *given != Oid(0));
                given.unwrap_or(oid_of(own.key_type))
            })
            .collect();
        let values: Vec<Value<'_>> = places
            .iter()
            .flatten()
            .map(|&at| row.get(at).and_then(Option::as_ref).map_or(Value::Null, |v| Value::Text(v)))
            .collect();
        let params = Params { types: &types, values: &values };
        let mut found = None;
        let values = Values { statement: "", shape, params: &params };
        self.at.each(values, rules, &mut |shard, _| {
            found = Some(shard);
            Ok(())
        })?;
        // A value that the column cannot hold is refused wherever it is inserted.
        Ok(found.unwrap_or(rules.home))
    }
}

/// To the column's type, as its assignment would, but for a length: what exceeds that is found when the row is
/// inserted. Types of users are read by their column from their text.
pub fn cast(column: &Column) -> String {
    /// The first id that is no type of PostgreSQL's own.
    const USERS: u32 = 16_384;
    if column.type_oid.0 == 0 || column.type_oid.0 >= USERS {
        return String::new();
    }
    let name = match column.type_name.split_once('(') {
        Some((before, after)) => {
            format!("{before}{}", after.split_once(')').map_or("", |(_, rest)| rest))
        }
        None => column.type_name.clone(),
    };
    // Without a length these two mean a length of one.
    let name = match name.strip_suffix("[]").unwrap_or(&name) {
        "character" => name.replace("character", "bpchar"),
        "bit" => name.replace("bit", "\"bit\""),
        _ => name,
    };
    format!("::{name}")
}
