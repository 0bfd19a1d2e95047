//! Whether the syntax tree sees the same parts of a query. Its text is that for analysis, so what was
//! changed for it may make the two disagree, too; then there is no plan, but no wrong one either.
use super::{Arm, Block, Distinct, Output, Query};
use crate::sql::lexer::{self, Lexer};
use crate::sql::statement::{self, Body, Grouping, Select};

impl Query {
    /// `text`: the shape's. Queries in parentheses are not looked into.
    pub fn agrees(&self, text: &str, parsed: &statement::Query) -> bool {
        let mut bodies = Vec::new();
        flatten(&parsed.body, &mut bodies);
        let ctes = self.with.as_ref().map(|with| with.ctes.as_slice()).unwrap_or_default();
        let recursive = self.with.as_ref().is_some_and(|with| with.recursive);
        let tail = &self.tail;
        recursive == parsed.recursive
            && ctes.len() == parsed.ctes.len()
            && ctes.iter().zip(&parsed.ctes).all(|(cte, parsed)| {
                name(text.get(cte.name.clone())).is_some_and(|name| name == parsed.name)
            })
            && self.arms.len() == bodies.len()
            && self.arms.iter().zip(bodies).all(|(arm, body)| arm_agrees(arm, body, text))
            && tail.keys.len() == parsed.ordered
            && (tail.limit.is_some() || tail.offset.is_some()) == parsed.limited
    }
}

/// The arms of set operations, in the order of the text.
fn flatten<'b>(body: &'b Body, arms: &mut Vec<&'b Body>) {
    match body {
        Body::Set(left, right) => {
            flatten(left, arms);
            flatten(right, arms);
        }
        Body::Select(_) | Body::Nested(_) | Body::Values(_) | Body::Write(_) => arms.push(body),
    }
}

fn arm_agrees(arm: &Arm, body: &Body, text: &str) -> bool {
    match (arm, body) {
        (Arm::Select(block), Body::Select(select)) => block.agrees(text, select),
        (Arm::Values(_), Body::Values(_)) | (Arm::Nested(_), Body::Nested(_)) => true,
        (Arm::Table(_), Body::Select(select)) => {
            matches!(select.outputs.as_slice(), [statement::Output::Star])
        }
        (
            Arm::Select(_) | Arm::Values(_) | Arm::Table(_) | Arm::Nested(_),
            Body::Select(_) | Body::Nested(_) | Body::Set(..) | Body::Values(_) | Body::Write(_),
        ) => false,
    }
}

impl Block {
    pub fn agrees(&self, text: &str, select: &Select) -> bool {
        let distinct = match (&self.distinct, &select.distinct) {
            (Distinct::No, statement::Distinct::No)
            | (Distinct::Rows, statement::Distinct::Rows) => true,
            (Distinct::On(one), statement::Distinct::On(other)) => one.len() == other.len(),
            (
                Distinct::No | Distinct::Rows | Distinct::On(_),
                statement::Distinct::No | statement::Distinct::Rows | statement::Distinct::On(_),
            ) => false,
        };
        let grouped = self.group.as_ref().map_or(0, |group| group.items.len());
        let grouping = match &select.grouping {
            Grouping::None => grouped == 0,
            Grouping::By(exprs) => grouped == exprs.len(),
            Grouping::Sets(_) => grouped > 0,
        };
        let parts = match &select.filter {
            None => 0,
            Some(statement::Expr::And(parts)) => parts.len(),
            Some(_) => 1,
        };
        distinct
            && grouping
            && self.from.is_some() != select.from.is_empty()
            && self.filter.is_some() == select.filter.is_some()
            // What stands in parentheses may have parts of its own.
            && self.conjuncts.len() <= parts
            && self.having.is_some() == select.having.is_some()
            && self.window.is_some() != select.windows.is_empty()
            && self.outputs.len() == select.outputs.len()
            && self.outputs.iter().zip(&select.outputs).all(|(one, other)| one.agrees(text, other))
    }
}

impl Output {
    fn agrees(&self, text: &str, output: &statement::Output) -> bool {
        let source = text.get(self.range.clone()).unwrap_or("");
        match output {
            statement::Output::Star => source == "*",
            statement::Output::StarOf(_) => source.ends_with('*'),
            statement::Output::Expr { alias: None, .. } => !self.labelled && source != "*",
            statement::Output::Expr { alias: Some(alias), .. } => {
                let label = self.before_alias.as_ref().and_then(|before| {
                    let rest = text.get(before.end..self.range.end)?;
                    let label = Lexer::of_shape(rest).flatten().last()?;
                    lexer::name(label, rest)
                });
                label.is_some_and(|label| folded(label) == *alias)
            }
        }
    }
}

fn name(source: Option<&str>) -> Option<String> {
    let source = source?;
    let token = Lexer::of_shape(source).next()?.ok()?;
    lexer::name(token, source).map(folded)
}

/// PostgreSQL keeps 63 bytes of a name.
fn folded(mut name: String) -> String {
    if name.len() > 63 {
        let end = (0..=63).rev().find(|end| name.is_char_boundary(*end));
        name.truncate(end.unwrap_or(0));
    }
    name
}
