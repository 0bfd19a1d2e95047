//! What stands behind FROM.
use super::super::types::Type;
use super::sql::{Sql, sql};
use super::{Certainty, Column, Maker, Source};

impl Maker<'_> {
    /// One to three sources, joined somehow, and all of them by alias.
    pub(super) fn from(&mut self, depth: usize) -> (Sql, Vec<Source>) {
        let (mut sql, first) = self.source(depth, &[]);
        let mut sources = vec![first];
        let more = [0, 0, 0, 0, 1, 1, 1, 1, 2][self.below(9)];
        for _ in 0..more {
            self.join(depth, &mut sql, &mut sources);
        }
        (sql, sources)
    }

    fn join(&mut self, depth: usize, sql: &mut Sql, sources: &mut Vec<Source>) {
        let lateral = self.chance(8);
        let (text, source) = match lateral {
            true => self.lateral(depth, sources),
            false => self.source(depth, sources),
        };
        let left = self.among(sources);
        if lateral || source.alias.starts_with("few") && self.chance(50) {
            let how = if lateral && self.chance(50) { " LEFT JOIN " } else { " JOIN " };
            sql.push(sql![how, text, " ON true"]);
            sources.push(source);
            return;
        }
        let how = self.among(&[
            " JOIN ",
            " JOIN ",
            " INNER JOIN ",
            " LEFT JOIN ",
            " LEFT JOIN ",
            " RIGHT JOIN ",
            " FULL JOIN ",
        ]);
        let outer = [left.clone(), source.clone()];
        // PostgreSQL joins fully only where it can hash or merge.
        let full = how == " FULL JOIN ";
        if source.has("k") && sources.len() == 1 && left.has("k") && self.chance(10) {
            sql.push(sql![how, text, " USING (k)"]);
        } else {
            let mut on = self.equality(&left, &source);
            if !full && self.chance(25) {
                on.push(sql![" AND ", self.predicate(&outer, depth)].optional());
            }
            sql.push(sql![how, text, " ON ", on]);
        }
        sources.push(source);
    }

    /// Two sources meet in a column, mostly in the sharding key.
    fn equality(&mut self, left: &Source, right: &Source) -> Sql {
        let pair = |a: &str, b: &str| -> Sql {
            format!("{}.{a} = {}.{b}", left.alias, right.alias).into()
        };
        if left.has("k") && right.has("k") && self.chance(65) {
            return match left.has("wide_id") && right.has("id") && self.chance(50) {
                true => sql![pair("k", "k"), sql![" AND ", pair("wide_id", "id")].optional()],
                false => pair("k", "k"),
            };
        }
        if left.has("wide_id") && right.has("id") && self.chance(40) {
            return pair("wide_id", "id");
        }
        if left.has("code") && right.has("code") && self.chance(60) {
            return pair("code", "code");
        }
        let usable = |column: &&Column| column.certainty < Certainty::Near;
        let shared: Vec<Sql> = left
            .columns
            .iter()
            .filter(usable)
            .flat_map(|a| right.columns.iter().filter(usable).map(move |b| (a, b)))
            .filter(|(a, b)| a.kind == b.kind)
            .map(|(a, b)| pair(&a.name, &b.name))
            .collect();
        match shared.is_empty() {
            true => "1 = 1".into(),
            false => self.among(&shared),
        }
    }

    fn source(&mut self, depth: usize, beside: &[Source]) -> (Sql, Source) {
        if !self.ctes.is_empty() && self.chance(50) {
            let cte = self.among(&self.ctes.clone());
            let alias = self.alias("c");
            let sql = format!("{} AS {alias}", cte.alias).into();
            return (sql, Source { alias, ..cte });
        }
        match self.below(100) {
            0..12 if depth > 0 => self.derived(depth, ""),
            12..16 => self.values(),
            16..18 => self.series(),
            _ => self.table(beside),
        }
    }

    pub(super) fn table(&mut self, beside: &[Source]) -> (Sql, Source) {
        const CHANCES: [usize; 20] = [0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 2, 2, 2, 3, 3, 4, 4, 5, 6];
        let at = match beside.is_empty() {
            true => self.among(&CHANCES[..18]),
            false => self.among(&CHANCES),
        };
        let alias = self.alias("t");
        let table = &self.tables[at];
        let column = |column: &crate::reads::schema::Column| Column {
            name: column.name.to_owned(),
            kind: column.kind,
            certainty: Certainty::Exact,
        };
        let columns = table.columns.iter().map(column).collect();
        let name = table.name;
        let key = Some(vec!["id".to_owned()]);
        let sql = match self.chance(70) {
            true => format!("{name} {alias}"),
            false => format!("public.{name} AS {alias}"),
        };
        (sql.into(), Source { alias, columns, key })
    }

    /// A query in parentheses.
    fn derived(&mut self, depth: usize, lateral: &str) -> (Sql, Source) {
        let query = self.nested(depth - 1);
        let alias = self.alias("q");
        let sql = sql![lateral, "(", query.sql, ") AS ", &alias];
        (sql, Source { alias, columns: query.columns, key: query.key })
    }

    /// A query that may speak of the sources before it.
    fn lateral(&mut self, depth: usize, before: &[Source]) -> (Sql, Source) {
        self.around.push(before.to_vec());
        let made = self.derived(depth.max(1), "LATERAL ");
        self.around.pop();
        made
    }

    fn values(&mut self) -> (Sql, Source) {
        let kinds = [Type::Int8, Type::TextDefault, Type::Money];
        let rows: Vec<Sql> = (0..3)
            .map(|row| {
                let mut values = vec![Sql::from(row.to_string())];
                for kind in kinds {
                    let constant = self.constant(kind);
                    values.push(sql!["CAST(", constant, " AS ", kind.cast(), ")"]);
                }
                sql!["(", Sql::list(values, ", "), ")"]
            })
            .collect();
        let alias = self.alias("few");
        let sql = sql!["(VALUES ", Sql::list(rows, ", "), ") AS ", &alias, " (n, k, word, amount)"];
        let mut columns = vec![Column::exact("n", Type::Int4)];
        columns.extend(
            ["k", "word", "amount"].iter().zip(kinds).map(|(name, kind)| Column::exact(name, kind)),
        );
        (sql, Source { alias, columns, key: Some(vec!["n".to_owned()]) })
    }

    fn series(&mut self) -> (Sql, Source) {
        let alias = self.alias("few");
        let end = self.number(0, 4);
        let sql = sql!["generate_series(1, ", end, ") AS ", &alias, " (n)"];
        let columns = vec![Column::exact("n", Type::Int4)];
        (sql, Source { alias, columns, key: Some(vec!["n".to_owned()]) })
    }
}

impl Column {
    pub fn exact(name: &str, kind: Type) -> Self {
        Self { name: name.to_owned(), kind, certainty: Certainty::Exact }
    }
}
