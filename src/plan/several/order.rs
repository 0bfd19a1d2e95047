//! ORDER BY: by which columns of the shards' rows the answers are merged.
//!
//! As in PostgreSQL a name alone means an output first; a number is an output's position; in anything
//! else names mean columns of FROM. What is not among the outputs is asked for as a hidden column.
use super::core::Core;
use super::{Collation, Direction, Nulls, SortKey};
use crate::plan::meaning::UNSPOKEN;
use crate::sql::block::{self, Bytes};
use crate::sql::statement::{Expr, Literal, Output};

#[derive(Debug, Default)]
pub struct Order {
    pub keys: Vec<SortKey>,
    /// Expressions to be appended to the outputs.
    pub hidden: Vec<Bytes>,
}

/// `None`: by what it orders is not clear.
pub fn of(core: &Core<'_>) -> Option<Order> {
    let mut order = Order::default();
    for (key, expr) in core.parts.tail.keys.iter().zip(core.order) {
        let (column, collation) = match target(core, &key.expr, expr)? {
            Target::Output(item) => {
                let named = core.output(item).map(|(expr, at)| core.collation(expr, &at));
                (core.position(item)?, named.unwrap_or(Collation::Unknown))
            }
            Target::Expr => {
                order.hidden.push(key.expr.clone());
                let column = core.width()? + order.hidden.len() - 1;
                (column, core.collation(expr, &key.expr))
            }
        };
        order.keys.push(sort_key(key, column, collation)?);
    }
    Some(order)
}

pub fn sort_key(key: &block::Key, column: usize, collation: Collation) -> Option<SortKey> {
    let direction = match key.direction {
        block::Direction::Ascending => Direction::Ascending,
        block::Direction::Descending => Direction::Descending,
        block::Direction::Using => return None,
    };
    let nulls = match (key.nulls_first, direction) {
        (Some(true), _) | (None, Direction::Descending) => Nulls::First,
        (Some(false), _) | (None, Direction::Ascending) => Nulls::Last,
    };
    Some(SortKey { column, direction, nulls, collation })
}

/// What an item of ORDER BY means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    Output(usize),
    Expr,
}

/// `None`: it is not clear.
pub fn target(core: &Core<'_>, at: &Bytes, expr: &Expr) -> Option<Target> {
    if let Expr::Literal(literal) = expr {
        // Other constants are errors, which PostgreSQL tells best.
        return matches!(literal, Literal::Number(_))
            .then(|| core.ordinal(expr))?
            .map(Target::Output);
    }
    if let Some(name) = bare(core, at, expr) {
        match named(core, &name)? {
            Some(item) => return Some(Target::Output(item)),
            None => return Some(Target::Expr),
        }
    }
    let mut items = 0..core.select.outputs.len();
    let same = items.find(|item| {
        core.position(*item).is_some()
            && core.output(*item).is_some_and(|(_, output)| core.same(&output, at))
    });
    Some(same.map_or(Target::Expr, Target::Output))
}

/// A single name, and nothing else.
fn bare(core: &Core<'_>, at: &Bytes, expr: &Expr) -> Option<String> {
    let Expr::Column(parts) = expr else { return None };
    let words = core.words(at);
    match (parts.as_slice(), words.as_slice()) {
        ([name], [word]) if word.name.is_some() => Some(name.clone()),
        _ => None,
    }
}

/// The output of that name; the outer `None`: there may be one, or several.
pub fn named(core: &Core<'_>, name: &str) -> Option<Option<usize>> {
    let mut found = None;
    for (item, output) in core.select.outputs.iter().enumerate() {
        let called = match output {
            // Its columns mean the same inside the query.
            Output::Star | Output::StarOf(_) => false,
            Output::Expr { alias: Some(alias), .. } if alias == "*" => return None,
            Output::Expr { alias: Some(alias), .. } => alias == name,
            Output::Expr { alias: None, expr: Expr::Column(parts) } => {
                parts.last().is_some_and(|last| last == name)
            }
            Output::Expr { alias: None, .. } => {
                let (_, at) = core.output(item)?;
                let mut words = core.words(&at).into_iter();
                // It may be called so.
                if words.any(|word| word.name.as_deref() == Some(name)) || UNSPOKEN.contains(&name)
                {
                    return sole_call(core, item, name).then_some(Some(item));
                }
                false
            }
        };
        match (called, found) {
            (false, _) => {}
            (true, None) => found = Some(item),
            (true, Some(first)) => {
                // The same column twice is one; otherwise PostgreSQL says that it is ambiguous.
                let (_, one) = core.output(first)?;
                let (_, other) = core.output(item)?;
                if !core.same(&one, &other) {
                    return None;
                }
            }
        }
    }
    // A star may bring a column of that name as well.
    let stars = core.select.outputs.iter().any(|output| !matches!(output, Output::Expr { .. }));
    match (found, stars) {
        (Some(_), true) if core.has_column(name) != Some(false) => None,
        (found, _) => Some(found),
    }
}

/// Is this output a call of that function, and the only one that might be called so?
fn sole_call(core: &Core<'_>, item: usize, name: &str) -> bool {
    let calls = |output: &Output| {
        matches!(output, Output::Expr { alias: None, expr: Expr::Call(call) }
            if call.name.name == name)
    };
    let others = core.select.outputs.iter().enumerate().filter(|(other, _)| *other != item);
    let plain = |(_, output): (usize, &Output)| {
        matches!(output, Output::Expr { alias: Some(alias), .. } if alias != name && alias != "*")
            || matches!(output, Output::Expr { alias: None, expr: Expr::Column(parts) }
                if parts.last().is_some_and(|last| last != name))
    };
    core.select.outputs.get(item).is_some_and(calls) && others.into_iter().all(plain)
}

impl Core<'_> {
    /// The item that a number in ORDER BY or GROUP BY means.
    pub fn ordinal(&self, expr: &Expr) -> Option<usize> {
        let Expr::Literal(Literal::Number(digits)) = expr else { return None };
        let column = digits.parse::<usize>().ok()?.checked_sub(1)?;
        let mut items = 0..self.select.outputs.len();
        items.find(|item| self.position(*item) == Some(column))
    }
}
