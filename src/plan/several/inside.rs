//! What stands inside of a statement: its subqueries, and what it sets.
use super::level;
use crate::sql::statement::{
    Action, Body, Cte, Distinct, Expr, From, Insert, On, Output, Query, Source,
};
use crate::sql::write::Write;

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

/// A query with those inside of it.
pub fn of_query<'s>(query: &'s Query, all: &mut Vec<&'s Query>) {
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
