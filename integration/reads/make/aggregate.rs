//! Aggregates, alone and in expressions.
use super::super::types::Type;
use super::expression::exact;
use super::sql::{Sql, sql};
use super::{Certainty, Expression, Maker, Source, keys};

impl Maker<'_> {
    /// One value of a group of the sources' rows.
    pub(super) fn aggregate(&mut self, scope: &[Source]) -> Expression {
        let made = match self.below(20) {
            0..2 => Some(exact(self.call(scope, "count(*)".into()), Type::Int8)),
            2..4 => self.count(scope),
            4..8 => self.sum(scope),
            8..11 => self.extreme(scope),
            11 => self.logic(scope),
            12 => self.spread(scope),
            13 | 14 => self.ordered(scope),
            15 => self.percentile(scope),
            16..20 => self.combined(scope),
            _ => None,
        };
        made.unwrap_or_else(|| exact("count(*)".into(), Type::Int8))
    }

    /// With a FILTER, perhaps.
    fn call(&mut self, scope: &[Source], call: Sql) -> Sql {
        match self.chance(15) {
            true => sql![call, sql![" FILTER (WHERE ", self.predicate(scope, 0), ")"].optional()],
            false => call,
        }
    }

    fn count(&mut self, scope: &[Source]) -> Option<Expression> {
        let column = self.column(scope, |column| column.certainty < Certainty::Near)?;
        let distinct = self.among(&["", "DISTINCT "]);
        let call = sql!["count(", distinct, column.sql, ")"];
        Some(exact(self.call(scope, call), Type::Int8))
    }

    fn sum(&mut self, scope: &[Source]) -> Option<Expression> {
        let column = self.exact(scope, |kind| kind.is_number() || kind == Type::Interval)?;
        let which = self.among(&["sum", "sum", "avg"]);
        let kind = match (which, column.kind) {
            (_, Type::Interval) => Type::Interval,
            (_, Type::Rough) => Type::Rough,
            ("sum", Type::Int2 | Type::Int4) => Type::Int8,
            ("sum", Type::Float4) => Type::Float4,
            // Its quotients, added up again, depend on the order.
            ("avg", Type::Float4 | Type::Float8) => Type::Rough,
            (_, Type::Float4 | Type::Float8) => Type::Float8,
            _ => Type::Numeric,
        };
        let certainty = match column.kind {
            Type::Rough => Certainty::Near,
            _ => Certainty::Exact,
        };
        // Which of 1.0 and 1.00 is added once shows in the sum's scale.
        let distinct = match column.is_plain() && self.chance(8) {
            true => "DISTINCT ",
            false => "",
        };
        let sql = self.call(scope, sql![which, "(", distinct, column.sql, ")"]);
        Some(Expression { sql, kind, certainty })
    }

    fn extreme(&mut self, scope: &[Source]) -> Option<Expression> {
        let has_least = |kind| !matches!(kind, Type::Bool | Type::Uuid | Type::Jsonb | Type::Bytea);
        let column = self
            .column(scope, |column| has_least(column.kind) && column.certainty < Certainty::Near)?;
        let certainty = match column.kind.has_faces() {
            true => Certainty::Faces,
            false => Certainty::Exact,
        };
        let which = self.among(&["min", "max"]);
        let sql = self.call(scope, sql![which, "(", column.sql, ")"]);
        Some(Expression { sql, kind: column.kind, certainty })
    }

    fn logic(&mut self, scope: &[Source]) -> Option<Expression> {
        if self.chance(50) {
            let column = self.exact(scope, |kind| kind == Type::Bool)?.sql;
            let which = self.among(&["bool_and", "bool_or", "every"]);
            return Some(exact(self.call(scope, sql![which, "(", column, ")"]), Type::Bool));
        }
        let column =
            self.exact(scope, |kind| matches!(kind, Type::Int2 | Type::Int4 | Type::Int8))?;
        let which = self.among(&["bit_and", "bit_or", "bit_xor"]);
        Some(exact(self.call(scope, sql![which, "(", column.sql, ")"]), column.kind))
    }

    /// Deviation and variance.
    fn spread(&mut self, scope: &[Source]) -> Option<Expression> {
        let column = self.exact(scope, Type::is_number)?;
        let which = self.among(&["stddev", "variance", "var_pop", "stddev_pop"]);
        let (kind, certainty) = match column.kind {
            Type::Float4 | Type::Float8 | Type::Rough => (Type::Float8, Certainty::Near),
            _ => (Type::Numeric, Certainty::Exact),
        };
        let sql = self.call(scope, sql![which, "(", column.sql, ")"]);
        Some(Expression { sql, kind, certainty })
    }

    /// Aggregates to which the rows come in an order.
    fn ordered(&mut self, scope: &[Source]) -> Option<Expression> {
        let keys = Sql::list(keys(scope)?, ", ");
        if self.chance(50) {
            let text = self.exact(scope, Type::is_text)?.sql;
            let call = match self.chance(30) {
                true => sql!["string_agg(DISTINCT ", &text, ", ',' ORDER BY ", &text, ")"],
                false => sql!["string_agg(", text, ", ',' ORDER BY ", keys, ")"],
            };
            return Some(exact(self.call(scope, call), Type::TextDefault).or_near());
        }
        let column = self.exact(scope, |kind| !matches!(kind, Type::Ints | Type::Texts))?;
        let which = self.among(&["array_agg", "jsonb_agg", "json_agg"]);
        let order = match self.exact(scope, |_| true) {
            Some(first) if self.chance(50) => sql![sql![first.sql, " DESC, "].optional(), keys],
            _ => keys,
        };
        // NaN and infinities are no JSON numbers but strings there: fine, both sides write the same.
        let call = sql![which, "(", column.sql, " ORDER BY ", order, ")"];
        Some(exact(self.call(scope, call), Type::Texts).or_near())
    }

    fn percentile(&mut self, scope: &[Source]) -> Option<Expression> {
        if self.chance(50) {
            let column = self.exact(scope, |kind| matches!(kind, Type::Float8 | Type::Float4))?;
            let call = sql!["percentile_cont(0.5) WITHIN GROUP (ORDER BY ", column.sql, ")"];
            return Some(exact(call, Type::Float8));
        }
        let column = self.exact(scope, |kind| !kind.has_faces())?;
        let call = match self.chance(50) {
            true => sql!["percentile_disc(0.25) WITHIN GROUP (ORDER BY ", column.sql, ")"],
            false => sql!["mode() WITHIN GROUP (ORDER BY ", column.sql, ")"],
        };
        Some(exact(call, column.kind))
    }

    /// Expressions over aggregates.
    fn combined(&mut self, scope: &[Source]) -> Option<Expression> {
        let number = self.exact(scope, |kind| kind == Type::Int4)?.sql;
        let other = self.exact(scope, |kind| matches!(kind, Type::Int4 | Type::Money))?;
        Some(match self.below(7) {
            0 => exact(sql!["coalesce(sum(", number, "), 0)"], Type::Int8),
            1 => exact(sql!["sum(", other.sql, ") / nullif(count(*), 0)"], Type::Numeric),
            2 => exact(sql!["sum(", number, ") - sum(", other.sql, ")"], Type::Numeric),
            3 => exact(sql!["max(", number, ") + 1"], Type::Int4),
            4 => exact(sql!["round(avg(", other.sql, "), 2)"], Type::Numeric),
            5 => {
                exact(sql!["CASE WHEN count(*) > 2 THEN 'many' ELSE 'few' END"], Type::TextDefault)
            }
            _ => exact(sql!["(count(*) > ", self.number(0, 5), ")"], Type::Bool),
        })
    }
}

impl Expression {
    /// Shown, but not worked with further: its type here is not its type there.
    fn or_near(self) -> Self {
        Self { certainty: Certainty::Near, ..self }
    }
}
