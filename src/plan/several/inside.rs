//! What stands inside of a write: its subqueries, and what in them is one value for all rows, so that
//! shards could come to different ones.
use super::level;
use crate::plan::analyst::Analyst;
use crate::sql::statement::{
    Action, Body, Call, Cte, Distinct, Expr, From, Insert, On, Output, Query, Select, Source,
};
use crate::sql::write::Write;

/// Aggregates whose result does not depend on the order of the rows. That of sums and averages does,
/// where they are of floats.
const UNORDERED: &[&str] =
    &["bit_and", "bit_or", "bit_xor", "bool_and", "bool_or", "count", "every", "max", "min"];

/// Every query of a write, with those inside of them.
pub fn queries(write: Write<'_>) -> Vec<&Query> {
    let mut all = Vec::new();
    of_ctes(write.ctes(), &mut all);
    write.sources().iter().for_each(|from| of_from(from, &mut all));
    of_exprs(write.assignments().into_iter().map(|set| &set.value), &mut all);
    match write {
        Write::Insert(insert) => {
            match &insert.source {
                Source::Defaults => {}
                Source::Rows(rows) => of_exprs(rows.iter().flatten().flatten(), &mut all),
                Source::Query(query) => of_query(query, &mut all),
            }
            let filter = insert.conflict.iter().filter_map(|conflict| conflict.filter.as_ref());
            of_exprs(filter, &mut all);
        }
        Write::Update(update) => of_exprs(&update.filter, &mut all),
        Write::Delete(delete) => of_exprs(&delete.filter, &mut all),
        Write::Merge(merge) => {
            of_exprs([&merge.on], &mut all);
            for action in &merge.actions {
                of_exprs(&action.filter, &mut all);
                if let Action::Insert { values, .. } = &action.action {
                    of_exprs(values.iter().flatten(), &mut all);
                }
            }
        }
    }
    of_outputs(write.returning(), &mut all);
    all
}

/// Whether an INSERT selects from tables only, so that what its query calls is called for each row.
pub fn selects_tables(insert: &Insert) -> bool {
    fn is_tables(from: &From) -> bool {
        match from {
            From::Table(_) => true,
            From::Derived { .. } | From::Function { .. } => false,
            From::Join(join) => is_tables(&join.left) && is_tables(&join.right),
        }
    }
    match &insert.source {
        Source::Query(Query { body: Body::Select(select), .. }) => {
            select.from.iter().all(is_tables)
        }
        Source::Query(_) | Source::Defaults | Source::Rows(_) => false,
    }
}

fn of_ctes<'s>(ctes: &'s [Cte], all: &mut Vec<&'s Query>) {
    ctes.iter().for_each(|cte| of_query(&cte.query, all));
}

fn of_query<'s>(query: &'s Query, all: &mut Vec<&'s Query>) {
    all.push(query);
    of_ctes(&query.ctes, all);
    of_body(&query.body, all);
    of_exprs(&query.tail, all);
}

fn of_body<'s>(body: &'s Body, all: &mut Vec<&'s Query>) {
    match body {
        Body::Select(select) => {
            of_outputs(&select.outputs, all);
            select.from.iter().for_each(|from| of_from(from, all));
            of_exprs(select.filter.iter().chain(level::grouped(select)), all);
            of_exprs(&select.having, all);
            of_exprs(select.windows.iter().flat_map(|window| &window.exprs), all);
            if let Distinct::On(exprs) = &select.distinct {
                of_exprs(exprs, all);
            }
        }
        Body::Nested(query) => of_query(query, all),
        Body::Set(left, right) => {
            of_body(left, all);
            of_body(right, all);
        }
        Body::Values(rows) => of_exprs(rows.iter().flatten(), all),
        Body::Write(statement) => all.extend(statement.write().into_iter().flat_map(queries)),
    }
}

fn of_from<'s>(from: &'s From, all: &mut Vec<&'s Query>) {
    match from {
        From::Table(_) => {}
        From::Derived { query, .. } => of_query(query, all),
        From::Function { operands, .. } => of_exprs(operands, all),
        From::Join(join) => {
            of_from(&join.left, all);
            of_from(&join.right, all);
            match &join.on {
                On::Expr(expr) => of_exprs([expr], all),
                On::Nothing | On::Using(_) | On::Natural => {}
            }
        }
    }
}

fn of_outputs<'s>(outputs: &'s [Output], all: &mut Vec<&'s Query>) {
    for output in outputs {
        if let Output::Expr { expr, .. } = output {
            of_exprs([expr], all);
        }
    }
}

fn of_exprs<'s>(exprs: impl IntoIterator<Item = &'s Expr>, all: &mut Vec<&'s Query>) {
    for expr in exprs {
        level::walk(expr, &mut |expr| {
            if let Some(query) = level::subquery(expr) {
                of_query(query, all);
            }
        });
    }
}

/// What in a query that reads no sharded table depends on the order in which a server happens to have
/// its rows: it is one value for all rows of the write, and two shards could come to different ones.
pub fn unsteady(query: &Query, analyst: &Analyst<'_>) -> Option<&'static str> {
    if reads_sharded(&query.body, analyst) {
        return None;
    }
    if query.limited {
        return Some("LIMIT in a subquery that reads reference tables only");
    }
    let Body::Select(select) = &query.body else { return None };
    if select.from.is_empty() {
        return None;
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
                ordered |= analyst.is_aggregate(call) && !is_unordered(call, analyst);
            }
        });
    }
    ordered.then_some("an aggregate over reference tables that depends on the order of rows")
}

fn is_unordered(call: &Call, analyst: &Analyst<'_>) -> bool {
    analyst.is_builtin(call) && UNORDERED.contains(&call.name.name.as_str())
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
