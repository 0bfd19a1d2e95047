//! Window functions.
use super::super::types::Type;
use super::expression::exact;
use super::sql::{Sql, sql};
use super::{Certainty, Expression, Maker, Source, keys};

impl Maker<'_> {
    /// A function over the rows' neighbours. Without a total order only what does not depend on one.
    pub(super) fn over(&mut self, scope: &[Source]) -> Expression {
        let partition = self.partition(scope);
        let total = keys(scope).map(|keys| Sql::list(keys, ", "));
        let loose = self.exact(scope, |_| true).map(|found| found.sql);
        let (Some(total), Some(loose)) = (total, loose) else {
            return exact(sql!["count(*) OVER (", partition, ")"], Type::Int8);
        };
        let descending = self.among(&["", " DESC", " NULLS FIRST", " DESC NULLS LAST"]);
        let ordered = sql![" ORDER BY ", sql![&loose, descending, ", "].optional(), &total];
        let peers = sql![" ORDER BY ", &loose, descending];
        let made = match self.below(10) {
            0..2 => Some(exact(sql!["row_number() OVER (", partition, ordered, ")"], Type::Int8)),
            2 => {
                let which = self.among(&["rank", "dense_rank"]);
                Some(exact(sql![which, "() OVER (", partition, peers, ")"], Type::Int8))
            }
            3 => {
                let which = self.among(&["percent_rank", "cume_dist"]);
                Some(exact(sql![which, "() OVER (", partition, peers, ")"], Type::Float8))
            }
            4 => Some(exact(sql!["ntile(3) OVER (", partition, ordered, ")"], Type::Int4)),
            5 | 6 => self.neighbour(scope, sql!["(", partition, ordered, ")"]),
            _ => self.running(scope, partition, peers, ordered),
        };
        made.unwrap_or_else(|| exact("count(*) OVER ()".into(), Type::Int8))
    }

    fn partition(&mut self, scope: &[Source]) -> Sql {
        let key = scope.iter().find(|source| source.has("k"));
        if let Some(source) = key
            && self.chance(60)
        {
            return format!("PARTITION BY {}.k", source.alias).into();
        }
        match self.column(scope, |column| column.certainty < Certainty::Near) {
            Some(column) if self.chance(60) => sql!["PARTITION BY ", column.sql],
            _ => Sql::default(),
        }
    }

    fn neighbour(&mut self, scope: &[Source], window: Sql) -> Option<Expression> {
        let column = self.exact(scope, |_| true)?;
        let call = match self.below(4) {
            0 => sql!["lag(", column.sql, ")"],
            1 => sql!["lead(", column.sql, ", 2)"],
            2 => sql!["first_value(", column.sql, ")"],
            _ => sql!["nth_value(", column.sql, ", 2)"],
        };
        Some(exact(sql![call, " OVER ", window], column.kind))
    }

    fn running(
        &mut self,
        scope: &[Source],
        partition: Sql,
        peers: Sql,
        ordered: Sql,
    ) -> Option<Expression> {
        let numbers = |kind| {
            matches!(kind, Type::Int4 | Type::Int8 | Type::Money | Type::Numeric | Type::Float8)
        };
        let column = self.exact(scope, numbers)?;
        let (which, kind) = self.among(&[
            ("sum", Type::Numeric),
            ("count", Type::Int8),
            ("avg", Type::Numeric),
            ("min", column.kind),
            ("max", column.kind),
        ]);
        let kind = match (which, column.kind) {
            ("sum" | "avg", Type::Float8) => Type::Float8,
            _ => kind,
        };
        let certainty = match (which, column.kind.has_faces()) {
            ("min" | "max", true) => Certainty::Faces,
            _ => Certainty::Exact,
        };
        let frame = match self.below(5) {
            0 => sql![ordered, " ROWS BETWEEN 1 PRECEDING AND CURRENT ROW"],
            1 => sql![ordered, " ROWS UNBOUNDED PRECEDING"],
            2 => sql![peers, " GROUPS BETWEEN 1 PRECEDING AND 1 FOLLOWING"],
            3 => peers,
            _ => Sql::default(),
        };
        let sql = sql![which, "(", column.sql, ") OVER (", partition, frame, ")"];
        Some(Expression { sql, kind, certainty })
    }
}
