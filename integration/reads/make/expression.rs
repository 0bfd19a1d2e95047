//! What stands in a list of outputs.
use super::super::types::Type;
use super::sql::{Sql, sql};
use super::{Certainty, Expression, Maker, Source};

impl Maker<'_> {
    pub(super) fn expression(&mut self, scope: &[Source], depth: usize) -> Expression {
        if self.chance(60) {
            let usable = |column: &super::Column| column.certainty <= Certainty::Near;
            if let Some(column) = self.column(scope, usable) {
                return column;
            }
        }
        let made = match self.below(14) {
            0 | 1 => self.arithmetic(scope),
            2 | 3 => self.text(scope),
            4 => self.time(scope),
            5 => self.cast(scope),
            6 | 7 => self.choice(scope, depth),
            8 => self.parts(scope),
            9 | 10 if depth > 0 => self.scalar(scope, depth),
            11 => Some(self.condition(scope, depth)),
            12 => Some(self.alone()),
            _ => None,
        };
        made.or_else(|| self.exact(scope, |_| true)).unwrap_or_else(|| self.alone())
    }

    /// Needs no row.
    fn alone(&mut self) -> Expression {
        let kind = self.among(&[Type::Int4, Type::TextDefault, Type::Date, Type::Money]);
        let constant = self.constant(kind);
        exact(sql!["CAST(", constant, " AS ", kind.cast(), ")"], kind)
    }

    fn arithmetic(&mut self, scope: &[Source]) -> Option<Expression> {
        let number = self.exact(scope, |kind| kind == Type::Int4)?.sql;
        let other = self.exact(scope, |kind| kind == Type::Int4)?.sql;
        let constant = self.number(1, 9);
        Some(match self.below(8) {
            0 => exact(sql!["(", number, " + ", constant, ")"], Type::Int4),
            1 => exact(sql!["(", number, " * ", other, ")"], Type::Int4),
            2 => exact(sql!["(", number, " % ", constant, ")"], Type::Int4),
            3 => exact(sql!["(-", number, ")"], Type::Int4),
            4 => exact(sql!["abs(", number, " - ", other, ")"], Type::Int4),
            5 => exact(sql!["(", number, " / nullif(", other, ", 0))"], Type::Int4),
            6 => {
                let amount = self.exact(scope, |kind| kind == Type::Money)?.sql;
                exact(sql!["(", amount, " * ", number, ")"], Type::Numeric)
            }
            _ => {
                let amount =
                    self.exact(scope, |kind| matches!(kind, Type::Money | Type::Numeric))?;
                exact(sql!["round(", amount.sql, ", 1)"], Type::Numeric)
            }
        })
    }

    fn text(&mut self, scope: &[Source]) -> Option<Expression> {
        let text = self.exact(scope, Type::is_text)?;
        let kind = if text.kind == Type::Varchar { Type::TextDefault } else { text.kind };
        let text = text.sql;
        Some(match self.below(6) {
            0 => exact(sql!["upper(", text, ")"], kind),
            1 => exact(sql!["lower(", text, ")"], kind),
            2 => exact(sql!["length(", text, ")"], Type::Int4),
            3 => exact(sql!["(", text, " || '-')"], kind),
            4 => exact(sql!["left(", text, ", 1)"], kind),
            _ => exact(sql!["replace(", text, ", 'a', 'o')"], kind),
        })
    }

    fn time(&mut self, scope: &[Source]) -> Option<Expression> {
        let time = |kind| matches!(kind, Type::Date | Type::Timestamp | Type::Timestamptz);
        let time = self.exact(scope, time)?;
        Some(match (self.below(3), time.kind) {
            (0, Type::Date) => exact(sql!["(", time.sql, " = DATE '2026-01-01')"], Type::Bool),
            (0, kind) => exact(sql!["date_trunc('month', ", time.sql, ")"], kind),
            (1, Type::Timestamp | Type::Timestamptz) => {
                exact(sql!["(", time.sql, " + interval '1 day')"], time.kind)
            }
            (1, _) => exact(sql![time.sql, "::timestamp"], Type::Timestamp),
            _ => exact(sql!["extract(year FROM ", time.sql, ")"], Type::Numeric),
        })
    }

    fn cast(&mut self, scope: &[Source]) -> Option<Expression> {
        let column = self.exact(scope, |kind| kind != Type::TextNoCase && kind != Type::Citext)?;
        let (into, kind) = match column.kind {
            Type::Int2 | Type::Int4 => self.among(&[
                ("text", Type::TextDefault),
                ("bigint", Type::Int8),
                ("numeric", Type::Numeric),
                ("double precision", Type::Float8),
            ]),
            Type::Money => ("numeric(20,4)", Type::Numeric),
            _ => ("text", Type::TextDefault),
        };
        Some(exact(sql!["CAST(", column.sql, " AS ", into, ")"], kind))
    }

    fn choice(&mut self, scope: &[Source], depth: usize) -> Option<Expression> {
        let one = self.exact(scope, |kind| !kind.has_faces())?;
        let other = self.exact(scope, |kind| kind == one.kind)?.sql;
        let kind = one.kind;
        let constant = self.constant(kind);
        // The collation of the column counts, not that of the constant.
        Some(match self.below(5) {
            // 'a' equals what is padded and looks otherwise.
            0 if kind == Type::Char => {
                exact(sql!["coalesce(", one.sql, ", CAST(", constant, " AS char(6)))"], kind)
            }
            0 => exact(sql!["coalesce(", one.sql, ", ", constant, ")"], kind),
            1 => exact(sql!["nullif(", one.sql, ", ", constant, ")"], kind),
            2 if !matches!(kind, Type::Jsonb) => {
                let which = self.among(&["greatest", "least"]);
                exact(sql![which, "(", one.sql, ", ", other, ")"], kind)
            }
            _ => {
                let when = self.predicate(scope, depth);
                exact(sql!["CASE WHEN ", when, " THEN ", one.sql, " ELSE ", other, " END"], kind)
            }
        })
    }

    fn parts(&mut self, scope: &[Source]) -> Option<Expression> {
        Some(match self.below(4) {
            0 => {
                let ints = self.exact(scope, |kind| kind == Type::Ints)?.sql;
                exact(sql![ints, "[1]"], Type::Int4)
            }
            1 => {
                let ints = self.exact(scope, |kind| matches!(kind, Type::Ints | Type::Texts))?.sql;
                exact(sql!["cardinality(", ints, ")"], Type::Int4)
            }
            2 => {
                let json = self.exact(scope, |kind| kind == Type::Jsonb)?.sql;
                exact(sql!["(", json, " ->> 'a')"], Type::TextDefault)
            }
            _ => {
                let json = self.exact(scope, |kind| kind == Type::Jsonb)?.sql;
                exact(sql!["(", json, " -> 'b')"], Type::Jsonb)
            }
        })
    }

    fn condition(&mut self, scope: &[Source], depth: usize) -> Expression {
        exact(sql!["(", self.predicate(scope, depth), ")"], Type::Bool)
    }

    /// A query that gives one value.
    fn scalar(&mut self, scope: &[Source], depth: usize) -> Option<Expression> {
        self.around.push(scope.to_vec());
        let made = match self.chance(70) {
            true => {
                let (from, sources) = self.from(0);
                let value = self.aggregate(&sources);
                let filter = self.correlated(&sources, depth - 1);
                Some((
                    sql!["(SELECT ", value.sql, " FROM ", from, filter, ")"],
                    value.kind,
                    value.certainty,
                ))
            }
            false => {
                let (from, sources) = self.from(0);
                let value = self.exact(&sources, |_| true);
                let filter = self.correlated(&sources, depth - 1);
                let keys = super::keys(&sources);
                value.zip(keys).map(|(value, keys)| {
                    let order = Sql::list(keys, ", ");
                    let sql = sql![
                        "(SELECT ",
                        value.sql,
                        " FROM ",
                        from,
                        filter,
                        " ORDER BY ",
                        order,
                        " LIMIT 1)"
                    ];
                    (sql, value.kind, Certainty::Exact)
                })
            }
        };
        self.around.pop();
        made.map(|(sql, kind, certainty)| Expression { sql, kind, certainty })
    }

    /// WHERE of a query that may speak of the queries around it.
    pub(super) fn correlated(&mut self, sources: &[Source], depth: usize) -> Sql {
        let mut conditions = Vec::new();
        let outer = self.around.last().cloned().unwrap_or_default();
        if self.chance(75) {
            conditions.extend(self.meeting(sources, &outer));
        }
        if self.chance(40) {
            conditions.push(self.predicate(sources, depth));
        }
        match conditions.is_empty() {
            true => Sql::default(),
            false => sql![" WHERE ", Sql::list(conditions, " AND ")].optional(),
        }
    }

    /// A column of the one is a column of the other.
    fn meeting(&mut self, sources: &[Source], outer: &[Source]) -> Option<Sql> {
        let named = |source: &&Source| source.has("k");
        if let (Some(one), Some(other)) = (sources.iter().find(named), outer.iter().find(named))
            && self.chance(65)
        {
            return Some(format!("{}.k = {}.k", one.alias, other.alias).into());
        }
        let one = self.exact(sources, |kind| kind != Type::Rough)?;
        let other = self.exact(outer, |kind| kind == one.kind)?;
        let how = self.among(&[" = ", " = ", " < ", " >= ", " IS NOT DISTINCT FROM "]);
        Some(sql![one.sql, how, other.sql])
    }
}

pub(super) fn exact(sql: Sql, kind: Type) -> Expression {
    Expression { sql, kind, certainty: Certainty::Exact }
}
