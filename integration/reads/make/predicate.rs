//! What stands in WHERE.
use super::super::schema::{CODES, KEYS};
use super::super::types::Type;
use super::sql::{Sql, sql};
use super::{Certainty, Maker, Source};
use crate::oracle::value::{Kind, Value};
use rand::RngExt;

impl Maker<'_> {
    pub(super) fn filter(&mut self, sources: &[Source], depth: usize) -> Sql {
        if self.chance(45) {
            return Sql::default();
        }
        let first = match self.chance(20) {
            true => self.about_the_key(sources),
            false => None,
        };
        let mut conditions = vec![first.unwrap_or_else(|| self.predicate(sources, depth))];
        while self.chance(30) {
            conditions.push(sql![" AND ", self.predicate(sources, depth)].optional());
        }
        sql![" WHERE ", Sql::list(conditions, "")].optional()
    }

    pub(super) fn predicate(&mut self, scope: &[Source], depth: usize) -> Sql {
        let made = match self.below(20) {
            0 => Some(sql![
                "(",
                self.predicate(scope, depth),
                " OR ",
                self.predicate(scope, depth),
                ")"
            ]),
            1 => Some(sql!["NOT (", self.predicate(scope, depth), ")"]),
            2 | 3 => self.about_the_key(scope),
            4 | 5 if depth > 0 => self.subquery(scope, depth),
            6 => self.list(scope),
            7 => self.between(scope),
            8 => self.like(scope),
            9 => self.columns(scope),
            10 => self.null(scope),
            11 => self
                .column(scope, |column| {
                    column.kind == Type::Bool && column.certainty == Certainty::Exact
                })
                .map(|found| found.sql),
            _ => self.comparison(scope),
        };
        made.or_else(|| self.comparison(scope)).unwrap_or_else(|| "true".into())
    }

    fn comparison(&mut self, scope: &[Source]) -> Option<Sql> {
        let column = self.column(scope, |column| column.certainty < Certainty::Near)?;
        let constant = self.constant(column.kind);
        let how =
            self.among(&[" = ", " = ", " <> ", " < ", " <= ", " > ", " >= ", " IS DISTINCT FROM "]);
        Some(sql![column.sql, how, constant])
    }

    /// What may prove a shard, or several.
    fn about_the_key(&mut self, scope: &[Source]) -> Option<Sql> {
        if self.chance(15) {
            let code = self.exact_named(scope, "code")?;
            let text = self.among(&CODES);
            return Some(sql![code, " = ", Value::string(text, self.random)]);
        }
        let key = self.exact_named(scope, "k")?;
        let number = self.among(&KEYS).to_string();
        let other = self.among(&KEYS).to_string();
        Some(match self.below(4) {
            0 => sql![
                key,
                " IN (",
                Value::integer(&number, self.random),
                ", ",
                Value::integer(&other, self.random),
                ")"
            ],
            1 => {
                let array = format!("{{{number},{other}}}");
                sql![key, " = ANY (", Value::untyped(&array, Kind::Int8Array, self.random), ")"]
            }
            2 => sql![key, " IS NOT NULL"],
            _ => sql![key, " = ", Value::integer(&number, self.random)],
        })
    }

    fn exact_named(&mut self, scope: &[Source], name: &str) -> Option<Sql> {
        let found = self.column(scope, |column| {
            column.name == name && matches!(column.kind, Type::Int8 | Type::TextC)
        });
        found.map(|found| found.sql)
    }

    fn list(&mut self, scope: &[Source]) -> Option<Sql> {
        let column = self.column(scope, |column| column.certainty < Certainty::Near)?;
        let constants: Vec<Sql> =
            (0..self.random.random_range(1..4)).map(|_| self.constant(column.kind)).collect();
        let how = self.among(&[" IN (", " NOT IN ("]);
        Some(sql![column.sql, how, Sql::list(constants, ", "), ")"])
    }

    fn between(&mut self, scope: &[Source]) -> Option<Sql> {
        let column = self.column(scope, |column| column.certainty < Certainty::Near)?;
        let (low, high) = (self.constant(column.kind), self.constant(column.kind));
        let how = self.among(&[" BETWEEN ", " NOT BETWEEN ", " BETWEEN SYMMETRIC "]);
        Some(sql![column.sql, how, low, " AND ", high])
    }

    fn like(&mut self, scope: &[Source]) -> Option<Sql> {
        let column = self.exact(scope, Type::is_text)?;
        let pattern = self.among(&["%a%", "a%", "_", "%", "%'s", "Z%"]);
        let how = self.among(&[" LIKE ", " NOT LIKE ", " ILIKE "]);
        Some(sql![column.sql, how, Value::string(pattern, self.random)])
    }

    fn columns(&mut self, scope: &[Source]) -> Option<Sql> {
        let one = self.column(scope, |column| column.certainty < Certainty::Near)?;
        let other = self.column(scope, |column| {
            column.kind == one.kind && column.certainty < Certainty::Near
        })?;
        let how = self.among(&[" = ", " <> ", " < ", " >= ", " IS NOT DISTINCT FROM "]);
        Some(sql![one.sql, how, other.sql])
    }

    fn null(&mut self, scope: &[Source]) -> Option<Sql> {
        let column = self.column(scope, |_| true)?;
        Some(sql![column.sql, self.among(&[" IS NULL", " IS NOT NULL"])])
    }

    fn subquery(&mut self, scope: &[Source], depth: usize) -> Option<Sql> {
        self.around.push(scope.to_vec());
        let (from, sources) = self.from(0);
        let filter = self.correlated(&sources, depth - 1);
        self.around.pop();
        if self.chance(45) {
            let not = self.among(&["", "NOT "]);
            return Some(sql![not, "EXISTS (SELECT 1 FROM ", from, filter, ")"]);
        }
        let inner = self.column(&sources, |column| column.certainty < Certainty::Near)?;
        let outer = self.column(scope, |column| {
            column.kind == inner.kind && column.certainty < Certainty::Near
        })?;
        let how = self.among(&[" IN (", " NOT IN (", " = ANY (", " >= ALL (", " < SOME ("]);
        Some(sql![outer.sql, how, "SELECT ", inner.sql, " FROM ", from, filter, ")"])
    }
}
