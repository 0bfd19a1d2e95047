//! Whole statements: WITH, set operations, and what has no FROM.
use super::super::types::Type;
use super::order::Sortable;
use super::sql::{Sql, sql};
use super::{Certainty, Column, Expression, Maker, Query, Source};

/// How deep queries stand in queries.
const DEPTH: usize = 2;

impl Maker<'_> {
    pub(super) fn top(&mut self) -> Query {
        match self.below(20) {
            0..2 => self.with(),
            2 => self.recursive(),
            3 | 4 => self.set_operation(DEPTH - 1, true),
            5 => self.without_from(),
            6 => self.table_itself(),
            _ => {
                let depth = self.below(DEPTH + 1);
                self.select(depth, true)
            }
        }
    }

    /// A query in another one.
    pub(super) fn nested(&mut self, depth: usize) -> Query {
        match self.chance(12) {
            true => self.set_operation(0, false),
            false => self.select(depth, false),
        }
    }

    fn with(&mut self) -> Query {
        let mut parts = Vec::new();
        for _ in 0..=self.below(2) {
            let query = self.nested(1);
            let alias = self.alias("cte");
            let how = self.among(&["", "", "MATERIALIZED ", "NOT MATERIALIZED "]);
            parts.push(sql![&alias, " AS ", how, "(", query.sql, ")"]);
            self.ctes.push(Source { alias, columns: query.columns, key: query.key });
        }
        let body = self.select(1, true);
        Query { sql: sql!["WITH ", Sql::list(parts, ", "), " ", body.sql], ..body }
    }

    fn recursive(&mut self) -> Query {
        let (sql, columns, key) = match self.below(3) {
            0 => (
                sql![
                    "series (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM series WHERE n < ",
                    self.number(1, 6),
                    ")"
                ],
                vec![Column::exact("n", Type::Int4)],
                Some(vec!["n".to_owned()]),
            ),
            1 => (
                sql![
                    "series (id, k) AS (SELECT id, k FROM parts WHERE id < ",
                    self.number(2, 6),
                    " UNION SELECT p.id, p.k FROM parts p JOIN series s ON p.wide_id = s.id)"
                ],
                vec![Column::exact("id", Type::Int4), Column::exact("k", Type::Int8)],
                Some(vec!["id".to_owned()]),
            ),
            _ => (
                sql![
                    "series (k, n) AS (SELECT k, 1 FROM wide UNION SELECT p.k, s.n + 1 FROM parts p \
                     JOIN series s ON p.k = s.k WHERE s.n < ",
                    self.number(1, 4),
                    ")"
                ],
                vec![Column::exact("k", Type::Int8), Column::exact("n", Type::Int4)],
                Some(vec!["k".to_owned(), "n".to_owned()]),
            ),
        };
        self.ctes.push(Source { alias: "series".to_owned(), columns, key });
        let body = self.select(0, true);
        Query { sql: sql!["WITH RECURSIVE ", sql, " ", body.sql], ..body }
    }

    fn set_operation(&mut self, depth: usize, top: bool) -> Query {
        let kinds: Vec<Type> = (0..=self.below(2))
            .map(|_| {
                self.among(&[
                    Type::Int4,
                    Type::Int8,
                    Type::TextC,
                    Type::Money,
                    Type::Numeric,
                    Type::Date,
                    Type::TextIcu,
                ])
            })
            .collect();
        let how = self.among(&[
            "UNION",
            "UNION",
            "UNION ALL",
            "UNION ALL",
            "INTERSECT",
            "EXCEPT",
            "INTERSECT ALL",
            "EXCEPT ALL",
        ]);
        let mut sides = vec![self.side(&kinds, depth), self.side(&kinds, depth)];
        if how.starts_with("UNION") && self.chance(25) {
            sides.push(self.side(&kinds, depth));
        }
        let all = how.ends_with("ALL");
        let names: Vec<String> = (0..kinds.len()).map(|at| format!("u{at}")).collect();
        let certainty = |kind: Type| match kind.has_faces() {
            true => Certainty::Faces,
            false => Certainty::Exact,
        };
        let outputs: Vec<(String, Expression)> = names
            .iter()
            .zip(&kinds)
            .map(|(name, &kind)| {
                (name.clone(), Expression { sql: name.into(), kind, certainty: certainty(kind) })
            })
            .collect();
        let total: Vec<Sql> = names.iter().map(Sql::from).collect();
        let plain = kinds.iter().all(|kind| !kind.has_faces());
        let sortable = Sortable {
            outputs,
            hidden: Vec::new(),
            total: (!all || plain).then_some(total),
            expressions: false,
        };
        let tail = self.tail(&sortable, top);
        let columns = names
            .iter()
            .zip(&kinds)
            .map(|(name, &kind)| Column { name: name.clone(), kind, certainty: certainty(kind) })
            .collect();
        let between = format!(" {how} ");
        Query { sql: sql![Sql::list(sides, &between), tail], columns, key: (!all).then_some(names) }
    }

    fn side(&mut self, kinds: &[Type], depth: usize) -> Sql {
        let (from, sources) = self.from(depth.min(1));
        let outputs: Vec<Sql> = kinds
            .iter()
            .enumerate()
            .map(|(at, &kind)| {
                let found = self.exact(&sources, |found| found == kind).map(|found| found.sql);
                let output = found.unwrap_or_else(|| {
                    sql!["CAST(", self.constant(kind), " AS ", kind.cast(), ")"]
                });
                sql![output, format!(" AS u{at}")]
            })
            .collect();
        let filter = self.filter(&sources, 0);
        sql!["SELECT ", Sql::list(outputs, ", "), " FROM ", from, filter]
    }

    fn without_from(&mut self) -> Query {
        let mut outputs = Vec::new();
        for _ in 0..=self.below(3) {
            let (from, sources) = self.from(0);
            let filter = self.filter(&sources, 0);
            let (sql, kind, certainty) = match self.chance(30) {
                true => (
                    sql!["EXISTS (SELECT 1 FROM ", from, filter, ")"],
                    Type::Bool,
                    Certainty::Exact,
                ),
                false => {
                    let value = self.aggregate(&sources);
                    (
                        sql!["(SELECT ", value.sql, " FROM ", from, filter, ")"],
                        value.kind,
                        value.certainty,
                    )
                }
            };
            outputs.push((self.alias("s"), Expression { sql, kind, certainty }));
        }
        let list = outputs.iter().map(|(name, output)| sql![&output.sql, " AS ", name]);
        let sql = sql!["SELECT ", Sql::list(list, ", ")];
        let column = |(name, output): (String, Expression)| Column {
            name,
            kind: output.kind,
            certainty: output.certainty,
        };
        Query { sql, columns: outputs.into_iter().map(column).collect(), key: Some(Vec::new()) }
    }

    fn table_itself(&mut self) -> Query {
        let at = self.below(self.tables.len());
        let table = &self.tables[at];
        let sql = format!("TABLE {}", table.name).into();
        let columns =
            table.columns.iter().map(|column| Column::exact(column.name, column.kind)).collect();
        Query { sql, columns, key: None }
    }
}
