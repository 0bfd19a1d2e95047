//! What every shard works out alike. A subquery that reads no sharded table is one value for all rows, in
//! PostgreSQL, and each shard that works it out for itself could come to another one: if it calls a
//! function like random(), or if it depends on the order in which a server happens to have its rows.
use super::{Subject, inside, level};
use crate::plan::analyst::Analyst;
use crate::plan::catalog::Column;
use crate::plan::meaning::{self, Names};
use crate::sql::lexer::TokenKind;
use crate::sql::statement::{Body, Call, Distinct, Expr, From, On, Output, Query, Select};
use std::ops::Range;

/// Aggregates whose result does not depend on the order of the rows.
const UNORDERED: &[&str] =
    &["bit_and", "bit_or", "bit_xor", "bool_and", "bool_or", "count", "every", "max", "min"];
/// Those for which that is so if they are of numbers that are no floats.
const SUMS: &[&str] = &["avg", "sum"];
const EXACT: &[&str] = &["bigint", "integer", "numeric", "smallint"];

/// Whether all shards come to the same, as far as they look at the same rows. `at`: the query's bytes in the
/// shape's text.
pub(super) fn is_steady(query: &Query, at: &Range<usize>, subject: &Subject<'_, '_>) -> bool {
    let analyst = subject.analyst;
    if analyst.unsteady_view.is_some() {
        return false;
    }
    let mut queries = Vec::new();
    inside::of_query(query, &mut queries);
    // Any server's rows of its own tables come in any order.
    let ordered = analyst.references > 0;
    let random = !analyst.random_calls.is_empty();
    let array = |at: usize| {
        let opens = subject.tokens.kind(at + 1) == Some(TokenKind::OpenParen);
        opens && subject.tokens.name(at).is_some_and(|name| name == "array")
    };
    let arrays = ordered && subject.tokens.within(at).any(array);
    !arrays
        && !queries.iter().any(|query| {
            ordered && unsteady(query, analyst).is_some()
                || random && is_random(&query.body, &query.tail, analyst)
        })
}

/// Whether a part that is worked out once calls for another value each time.
fn is_random(body: &Body, tail: &[Expr], analyst: &Analyst<'_>) -> bool {
    match body {
        Body::Select(select) => {
            let mut once = Vec::new();
            select.from.iter().for_each(|from| from_exprs(from, &mut once));
            if !of_key(select, analyst) {
                once.extend(level::exprs(select, tail));
                once.extend(select.filter.iter().chain(level::grouped(select)));
                select.from.iter().for_each(|from| join_exprs(from, &mut once));
            }
            once.into_iter().any(|expr| calls_random(expr, analyst))
        }
        // It is a query of its own.
        Body::Nested(_) => tail.iter().any(|expr| calls_random(expr, analyst)),
        Body::Set(left, right) => {
            tail.iter().any(|expr| calls_random(expr, analyst))
                || is_random(left, &[], analyst)
                || is_random(right, &[], analyst)
        }
        Body::Values(rows) => rows.iter().flatten().any(|expr| calls_random(expr, analyst)),
        Body::Write(_) => true,
    }
}

fn calls_random(expr: &Expr, analyst: &Analyst<'_>) -> bool {
    let mut found = false;
    level::walk(expr, &mut |expr| {
        found |= matches!(expr, Expr::Call(call) if analyst.random_calls.contains(&call.name));
    });
    found
}

/// The operands of functions in FROM.
fn from_exprs<'s>(from: &'s From, exprs: &mut Vec<&'s Expr>) {
    match from {
        From::Function { operands, .. } => exprs.extend(operands),
        From::Join(join) => {
            from_exprs(&join.left, exprs);
            from_exprs(&join.right, exprs);
        }
        From::Table(_) | From::Derived { .. } => {}
    }
}

/// The conditions of joins.
fn join_exprs<'s>(from: &'s From, exprs: &mut Vec<&'s Expr>) {
    if let From::Join(join) = from {
        join_exprs(&join.left, exprs);
        join_exprs(&join.right, exprs);
        match &join.on {
            On::Expr(expr) => exprs.push(expr),
            On::Nothing | On::Using(_) | On::Natural => {}
        }
    }
}

/// What in a query that reads no sharded table depends on the order in which a server happens to have
/// its rows.
pub fn unsteady(query: &Query, analyst: &Analyst<'_>) -> Option<&'static str> {
    if reads_sharded(&query.body, analyst) {
        return None;
    }
    let limited = Some("LIMIT in a subquery that reads reference tables only");
    let select = match &query.body {
        Body::Select(select) => select,
        Body::Nested(_) | Body::Set(..) | Body::Values(_) | Body::Write(_) => {
            return limited.filter(|_| query.limited);
        }
    };
    if select.from.is_empty() {
        return None;
    }
    if query.limited && !is_total(query, select, analyst) && !is_constant(select) {
        return limited;
    }
    if matches!(select.distinct, Distinct::On(_)) {
        return Some("DISTINCT ON in a subquery that reads reference tables only");
    }
    if level::windowed(select, &query.tail) {
        return Some("a window over reference tables only");
    }
    let mut ordered = false;
    for expr in level::exprs(select, &query.tail) {
        level::walk(expr, &mut |expr| {
            if let Expr::Call(call) = expr {
                ordered |= analyst.is_aggregate(call) && !is_unordered(call, select, analyst);
            }
        });
    }
    ordered.then_some("an aggregate over reference tables that depends on the order of rows")
}

fn is_unordered(call: &Call, select: &Select, analyst: &Analyst<'_>) -> bool {
    let name = call.name.name.as_str();
    let exact = || match call.operands.first() {
        Some(Expr::Column(parts)) => column(parts, select, analyst).is_some_and(|column| {
            let type_name = column.type_name.split('(').next().unwrap_or_default();
            EXACT.contains(&type_name)
        }),
        Some(_) | None => false,
    };
    analyst.is_builtin(call) && (UNORDERED.contains(&name) || SUMS.contains(&name) && exact())
}

/// Whether ORDER BY leaves no rows equal: it has the primary key of the only table.
fn is_total(query: &Query, select: &Select, analyst: &Analyst<'_>) -> bool {
    let ([From::Table(_)], Distinct::No) = (select.from.as_slice(), &select.distinct) else {
        return false;
    };
    let mut tables = analyst.uses.iter().filter(|table| table.within == select.at);
    let columns = tables.next().and_then(|table| table.found.columns()).unwrap_or_default();
    let order = query.tail.get(..query.ordered).unwrap_or_default();
    let ordered: Vec<&str> = order
        .iter()
        .filter_map(|item| match meaning::meant(item, select, Names::Outputs)? {
            Expr::Column(parts) => Some(column(parts, select, analyst)?.name.as_str()),
            _ => None,
        })
        .collect();
    let mut key = columns.iter().filter(|column| column.in_primary_key).peekable();
    key.peek().is_some() && key.all(|column| ordered.contains(&column.name.as_str()))
}

/// Each row says the same: it matters only how many there are.
fn is_constant(select: &Select) -> bool {
    select.outputs.iter().all(|output| {
        matches!(output, Output::Expr { expr: Expr::Literal(_) | Expr::Param(_), .. })
    })
}

/// A column of a table that this level reads.
fn column<'s>(parts: &[String], select: &Select, analyst: &'s Analyst<'_>) -> Option<&'s Column> {
    let (name, qualifier) = parts.split_last()?;
    let tables = analyst.uses.iter().filter(|table| table.within == select.at);
    let mut found = tables.filter_map(|table| {
        let label = table.alias.name.as_ref().unwrap_or(&table.name.name);
        let meant = qualifier.last().is_none_or(|qualifier| qualifier == label);
        let columns = table.found.columns().filter(|_| table.alias.columns.is_empty() && meant)?;
        Some((&table.at, columns.iter().find(|column| column.name == *name)?))
    });
    // A CTE's table is met each time that the CTE is read.
    let (at, column) = found.next()?;
    found.all(|(other, _)| other == at).then_some(column)
}

/// A sharded table is read on this level or below it.
fn reads_sharded(body: &Body, analyst: &Analyst<'_>) -> bool {
    match body {
        Body::Select(select) => of_key(select, analyst),
        Body::Nested(query) => reads_sharded(&query.body, analyst),
        Body::Set(left, right) => reads_sharded(left, analyst) && reads_sharded(right, analyst),
        Body::Values(_) => false,
        Body::Write(_) => true,
    }
}

fn of_key(select: &Select, analyst: &Analyst<'_>) -> bool {
    let mut frames = analyst.frames.iter().filter(|frame| frame.at == select.at);
    frames.any(|frame| !frame.instances.is_empty())
}
