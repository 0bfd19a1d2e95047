//! One SELECT.
use super::expression::exact;
use super::order::Sortable;
use super::sql::{Sql, sql};
use super::{Certainty, Column, Expression, Maker, Query, Source, keys};
use crate::oracle::statement::{Order, Statement};
use crate::reads::types::Type;

/// Names that columns of tables have; outputs may be called so, too.
const COLUMNS: [&str; 3] = ["k", "id", "code"];

/// An output and its name.
type Named = (String, Expression);

impl Maker<'_> {
    pub(super) fn select(&mut self, depth: usize, top: bool) -> Query {
        let (from, sources) = self.from(depth);
        let filter = match self.around.is_empty() {
            true => self.filter(&sources, depth),
            false => self.correlated(&sources, depth),
        };
        let body = sql![" FROM ", from, filter];
        match self.below(20) {
            0..6 => self.grouped(body, &sources, depth, top),
            6..8 => self.whole(body, &sources),
            8..10 => self.windowed(body, &sources, depth, top),
            10 | 11 => self.distinct(body, &sources, depth, top),
            12 => self.distinct_on(body, &sources, depth, top),
            13 => self.sets(body, &sources, top),
            14 => self.all(body, &sources, top),
            15 if top => self.once(),
            _ => self.plain(body, &sources, depth, top),
        }
    }

    fn plain(&mut self, body: Sql, sources: &[Source], depth: usize, top: bool) -> Query {
        let count = 1 + self.below(4);
        let mut outputs: Vec<Named> = (0..count).map(|_| self.named(sources, depth)).collect();
        if top && self.chance(15) {
            outputs[0].0 = self.among(&COLUMNS).to_owned();
        }
        self.finish("SELECT ", body, sources, outputs, top)
    }

    fn windowed(&mut self, body: Sql, sources: &[Source], depth: usize, top: bool) -> Query {
        let mut outputs = vec![self.named(sources, depth)];
        for _ in 0..=self.below(2) {
            let over = self.over(sources);
            outputs.push((self.alias("w"), over));
        }
        self.finish("SELECT ", body, sources, outputs, top)
    }

    fn named(&mut self, sources: &[Source], depth: usize) -> Named {
        let expression = self.expression(sources, depth);
        (self.alias("o"), expression)
    }

    /// With what the rows can be sorted by, which is all that the sources have.
    fn finish(
        &mut self,
        verb: &str,
        body: Sql,
        sources: &[Source],
        outputs: Vec<Named>,
        top: bool,
    ) -> Query {
        let hidden: Vec<Sql> = (0..2)
            .filter_map(|_| self.column(sources, |column| column.certainty < Certainty::Near))
            .map(|column| column.sql)
            .collect();
        let sortable =
            Sortable { outputs: outputs.clone(), hidden, total: keys(sources), expressions: true };
        let tail = self.tail(&sortable, top);
        let key = key_in(sources, &outputs);
        query(sql![verb, list(&outputs), body, tail], outputs, key)
    }

    /// `SELECT *`
    fn all(&mut self, body: Sql, sources: &[Source], top: bool) -> Query {
        let outputs: Vec<Named> = sources
            .iter()
            .flat_map(|source| source.columns.iter().map(move |column| (source, column)))
            .map(|(source, column)| (column.name.clone(), source.expression(column)))
            .collect();
        let alone = sources.len() == 1;
        if !top && !alone {
            // Names that stand twice are no good to those around.
            let outputs =
                outputs.into_iter().take(3).map(|(_, output)| (self.alias("o"), output)).collect();
            return self.finish("SELECT ", body, sources, outputs, top);
        }
        let sortable = Sortable {
            outputs: Vec::new(),
            hidden: outputs
                .iter()
                .filter(|(_, output)| output.certainty < Certainty::Near)
                .map(|(_, output)| output.sql.clone())
                .collect(),
            total: keys(sources),
            expressions: true,
        };
        // USING makes one column of two: then the outputs are not these.
        let tail = match sortable.hidden.is_empty() {
            true => Sql::default(),
            false => self.tail(&sortable, top),
        };
        let key = match alone {
            true => sources[0].key.clone(),
            false => None,
        };
        query(sql!["SELECT *", body, tail], outputs, key)
    }

    fn distinct(&mut self, body: Sql, sources: &[Source], depth: usize, top: bool) -> Query {
        let count = 1 + self.below(3);
        let outputs: Vec<Named> = (0..count)
            .map(|_| self.named(sources, depth))
            .filter(|(_, output)| output.certainty < Certainty::Near)
            .map(|(name, output)| (name, output.one_of_many()))
            .collect();
        if outputs.is_empty() {
            return self.whole(body, sources);
        }
        let names = outputs.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        let total = names.iter().map(Sql::from).collect();
        let sortable = Sortable {
            outputs: outputs.clone(),
            hidden: Vec::new(),
            total: Some(total),
            expressions: false,
        };
        let tail = self.tail(&sortable, top);
        query(sql!["SELECT DISTINCT ", list(&outputs), body, tail], outputs, Some(names))
    }

    fn distinct_on(&mut self, body: Sql, sources: &[Source], depth: usize, top: bool) -> Query {
        let usable = |column: &Column| column.certainty < Certainty::Near;
        let (Some(keys), Some(on)) = (keys(sources), self.column(sources, usable)) else {
            return self.whole(body, sources);
        };
        let mut outputs = vec![self.named(sources, depth), (self.alias("o"), on.clone())];
        let by_name = self.chance(50);
        if top && by_name {
            // The name of an output comes before that of a column.
            outputs[1].0 = self.among(&COLUMNS).to_owned();
        }
        let said = |output: &Named| match by_name {
            true => Sql::from(&output.0),
            false => output.1.sql.clone(),
        };
        let said = said(&outputs[1]);
        let direction = self.among(&["", " DESC", " NULLS FIRST"]);
        let order = sql![" ORDER BY ", &said, direction, ", ", Sql::list(keys, ", ")];
        let tail = match top {
            true => sql![order, Sql::order(Order::Total)],
            false => order,
        };
        let key = Some(vec![outputs[1].0.clone()]);
        query(sql!["SELECT DISTINCT ON (", said, ") ", list(&outputs), body, tail], outputs, key)
    }

    /// A value that is worked out once, from a table that every shard has: its rows may come in any order,
    /// but the value is one for all rows of another table.
    fn once(&mut self) -> Query {
        let value = self.among(&[
            "(SELECT string_agg(tc, ',') FROM kinds)",
            "(SELECT array_agg(id) FROM kinds)",
            "(SELECT id FROM kinds LIMIT 1)",
            "(SELECT id FROM moods OFFSET 1 LIMIT 1)",
            "ARRAY(SELECT mood FROM moods)",
            "(SELECT q.id FROM (SELECT DISTINCT ON (k) k, id FROM kinds ORDER BY k) q LIMIT 1)",
            "(SELECT random() FROM moods LIMIT 1)",
            "(SELECT gen_random_uuid())",
        ]);
        let (table, source) = self.table(&[]);
        let inner = match self.below(3) {
            0 => sql!["SELECT ", value, " AS x FROM ", table],
            1 => sql!["SELECT DISTINCT ", value, " AS x FROM ", table],
            _ => sql![
                "SELECT ",
                &source.alias,
                ".id, x FROM ",
                table,
                ", (SELECT ",
                value,
                ") y (x)"
            ],
        };
        let outputs = vec![(self.alias("a"), exact("count(DISTINCT x)".into(), Type::Int8))];
        query(sql!["SELECT ", list(&outputs), " FROM (", inner, ") q"], outputs, Some(Vec::new()))
    }

    /// All rows are one group.
    fn whole(&mut self, body: Sql, sources: &[Source]) -> Query {
        let outputs: Vec<Named> = (0..=self.below(3))
            .map(|_| {
                let value = self.aggregate(sources);
                (self.alias("a"), value)
            })
            .collect();
        let having = match self.chance(12) {
            true => sql![" HAVING ", self.aggregate_condition(sources)].optional(),
            false => Sql::default(),
        };
        query(sql!["SELECT ", list(&outputs), body, having], outputs, Some(Vec::new()))
    }

    fn grouped(&mut self, body: Sql, sources: &[Source], depth: usize, top: bool) -> Query {
        let mut groups: Vec<Named> = Vec::new();
        for _ in 0..=self.below(2) {
            let group = self.group(sources, depth);
            groups.push((self.alias("g"), group));
        }
        let mut outputs: Vec<Named> = Vec::new();
        let mut said = Vec::new();
        let mut all_shown = true;
        for (name, group) in &groups {
            if self.chance(88) {
                outputs.push((name.clone(), group.clone().one_of_many()));
                said.push(match self.below(3) {
                    0 => Sql::from(outputs.len().to_string()),
                    1 => Sql::from(name),
                    _ => group.sql.clone(),
                });
            } else {
                all_shown = false;
                said.push(group.sql.clone());
            }
        }
        for _ in 0..=self.below(3) {
            let value = self.aggregate(sources);
            outputs.push((self.alias("a"), value));
        }
        let having = match self.chance(25) {
            true => sql![" HAVING ", self.aggregate_condition(sources)].optional(),
            false => Sql::default(),
        };
        let total = groups.iter().map(|(_, group)| group.sql.clone()).collect();
        let hidden = match self.chance(40) {
            true => vec![sql!["count(*)"], groups[0].1.sql.clone()],
            false => Vec::new(),
        };
        // An aggregate said again may have a parameter in it, which then is another one.
        let sortable =
            Sortable { outputs: outputs.clone(), hidden, total: Some(total), expressions: false };
        let tail = self.tail(&sortable, top);
        let group_by = sql![" GROUP BY ", Sql::list(said, ", ")];
        let key = all_shown.then(|| groups.iter().map(|(name, _)| name.clone()).collect());
        query(sql!["SELECT ", list(&outputs), body, group_by, having, tail], outputs, key)
    }

    /// What rows are grouped by: no parameter in it, for each would be another one.
    fn group(&mut self, sources: &[Source], _depth: usize) -> Expression {
        if self.chance(20)
            && let Some(number) = self.exact(sources, |kind| kind == Type::Int4)
        {
            let (how, kind) = self.among(&[
                (" % 3", Type::Int4),
                (" / 2", Type::Int4),
                (" > 1", Type::Bool),
                (" + 1", Type::Int4),
            ]);
            return exact(sql!["(", number.sql, how, ")"], kind);
        }
        if self.chance(12)
            && let Some(text) = self.exact(sources, Type::is_text)
        {
            return exact(sql!["lower(", text.sql, ")"], Type::TextDefault);
        }
        let key = sources.iter().find(|source| source.has("k"));
        if let Some(source) = key
            && self.chance(30)
        {
            let column = source.columns.iter().find(|column| column.name == "k");
            return column.map(|column| source.expression(column)).expect("it has k");
        }
        self.column(sources, |column| column.certainty < Certainty::Near)
            .unwrap_or_else(|| exact("(1 + 1)".into(), Type::Int4))
    }

    fn aggregate_condition(&mut self, sources: &[Source]) -> Sql {
        let number = self.exact(sources, |kind| kind == Type::Int4).map(|found| found.sql);
        match (self.below(4), number) {
            (0, Some(number)) => sql!["sum(", number, ") > ", self.number(-2, 20)],
            (1, Some(number)) => sql!["max(", number, ") IS NOT NULL"],
            (2, Some(number)) => sql!["avg(", number, ") < 4.5"],
            _ => sql!["count(*) >= ", self.number(1, 4)],
        }
    }

    /// GROUPING SETS and what is short for them.
    fn sets(&mut self, body: Sql, sources: &[Source], top: bool) -> Query {
        let usable = |column: &Column| column.certainty < Certainty::Near;
        let (Some(one), Some(other)) = (self.column(sources, usable), self.column(sources, usable))
        else {
            return self.whole(body, sources);
        };
        let value = self.aggregate(sources);
        let (a, b) = (&one.sql, &other.sql);
        let sets = match self.below(3) {
            0 => sql!["ROLLUP (", a, ", ", b, ")"],
            1 => sql!["CUBE (", a, ", ", b, ")"],
            _ => sql!["GROUPING SETS ((", a, "), (", b, "), ())"],
        };
        let grouping = sql!["GROUPING(", a, ", ", b, ")"];
        let outputs = vec![
            (self.alias("g"), one.clone().one_of_many()),
            (self.alias("g"), other.clone().one_of_many()),
            (self.alias("g"), exact(grouping, Type::Int4)),
            (self.alias("a"), value),
        ];
        let sortable = Sortable {
            outputs: sortable_sets(&outputs, &body),
            hidden: Vec::new(),
            total: None,
            expressions: false,
        };
        let tail = self.tail(&sortable, top);
        query(sql!["SELECT ", list(&outputs), body, " GROUP BY ", sets, tail], outputs, None)
    }
}

fn list(outputs: &[Named]) -> Sql {
    Sql::list(outputs.iter().map(|(name, output)| sql![&output.sql, " AS ", name]), ", ")
}

fn query(sql: Sql, outputs: Vec<Named>, key: Option<Vec<String>>) -> Query {
    let column =
        |(name, output): Named| Column { name, kind: output.kind, certainty: output.certainty };
    Query { sql, columns: outputs.into_iter().map(column).collect(), key }
}

/// Before version 18 PostgreSQL does not sort by a column that WHERE makes constant, though sets make
/// it NULL in some rows: nothing is sorted by such a column here.
fn sortable_sets(outputs: &[Named], body: &Sql) -> Vec<Named> {
    let body = text_of(body);
    let constant = |sql: &Sql| {
        let said = text_of(sql);
        [format!("{said} ="), format!("= {said}"), format!("{said} IN"), format!("{said} IS")]
            .iter()
            .any(|equal| body.contains(equal))
    };
    let sortable = |(name, output): &Named| match constant(&output.sql) {
        true => (name.clone(), Expression { certainty: Certainty::Near, ..output.clone() }),
        false => (name.clone(), output.clone()),
    };
    outputs.iter().map(sortable).collect()
}

/// The outputs that tell rows apart, if the sources' keys are among them.
fn key_in(sources: &[Source], outputs: &[Named]) -> Option<Vec<String>> {
    let mut names = Vec::new();
    for source in sources {
        for name in source.key.as_ref()? {
            let column = source.columns.iter().find(|column| column.name == *name)?;
            let text = text_of(&source.expression(column).sql);
            let (name, _) = outputs.iter().find(|(_, output)| text_of(&output.sql) == text)?;
            names.push(name.clone());
        }
    }
    Some(names)
}

fn text_of(sql: &Sql) -> String {
    Statement::split(sql.0.clone()).swap_remove(0).text()
}

impl Expression {
    /// One value stands for all that are equal.
    fn one_of_many(self) -> Self {
        match self.kind.has_faces() {
            true => Self { certainty: self.certainty.max(Certainty::Faces), ..self },
            false => self,
        }
    }
}
