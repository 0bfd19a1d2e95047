//! Subqueries in FROM, and CTEs, that the shards can answer whole: what comes out of them is a
//! fragment, instead of the tables that they read.
//!
//! Such a subquery sees nothing of what is around it, since it is not LATERAL and stands in no
//! expression. It must not name a CTE, and its order must not matter. Nor must its outputs fail: PostgreSQL
//! works out only those that are used, for rows that the query around it wants.
use super::harmless;
use crate::plan::several::core::Core;
use crate::plan::several::merge::Local;
use crate::plan::several::{Subject, steady};
use crate::sql::block::{Bytes, Query as Parts};
use crate::sql::lexer;
use crate::sql::statement::{Body, Expr, From, Output, Query, Select};
use std::collections::HashSet;

/// The bytes of each, ascending, without its parentheses. None lies in another.
pub fn whole(subject: &Subject<'_, '_>) -> Vec<Bytes> {
    let mut found = Vec::new();
    inside(subject.query, subject, &mut found);
    found.sort_by_key(|bytes| bytes.start);
    found
}

fn inside(query: &Query, subject: &Subject<'_, '_>, found: &mut Vec<Bytes>) {
    for cte in &query.ctes {
        visit(&cte.query, subject, found);
    }
    inside_body(&query.body, subject, found);
}

fn inside_body(body: &Body, subject: &Subject<'_, '_>, found: &mut Vec<Bytes>) {
    match body {
        Body::Select(select) => {
            select.from.iter().for_each(|from| inside_from(from, subject, found));
        }
        Body::Set(left, right) => {
            inside_body(left, subject, found);
            inside_body(right, subject, found);
        }
        Body::Nested(query) => inside(query, subject, found),
        Body::Values(_) | Body::Write(_) => {}
    }
}

fn inside_from(from: &From, subject: &Subject<'_, '_>, found: &mut Vec<Bytes>) {
    match from {
        From::Derived { query, lateral: false, .. } => visit(query, subject, found),
        From::Join(join) => {
            inside_from(&join.left, subject, found);
            inside_from(&join.right, subject, found);
        }
        From::Table(_) | From::Function { .. } | From::Derived { .. } => {}
    }
}

fn visit(query: &Query, subject: &Subject<'_, '_>, found: &mut Vec<Bytes>) {
    match answered_by_shards(query, subject) {
        Some(bytes) => found.push(bytes),
        None => inside(query, subject, found),
    }
}

fn answered_by_shards(query: &Query, subject: &Subject<'_, '_>) -> Option<Bytes> {
    let Body::Select(select) = &query.body else { return None };
    let at = select.at.byte(&subject.analysis.text)?;
    let (parts, block) = subject.blocks.as_ref()?.select(subject.analysis.shape_offset(at))?;
    let tail = &parts.tail;
    let plain = tail.order.is_none() && tail.limit.is_none() && tail.offset.is_none();
    if !plain
        || tail.locks.is_some()
        || parts.only().is_none()
        || !parts.agrees(&subject.shape.text, query)
        || names_cte(parts, subject)
        || !has_names(select)
        || !steady::is_steady(query, &parts.range, subject)
        || !block.outputs.iter().all(|output| harmless::is_harmless(&output.range, subject))
    {
        return None;
    }
    let core = Core::arm(subject, parts, block, select)?;
    let whole = core.local()? == Local::Yes && core.is_distinct_alone();
    whole.then(|| parts.range.clone())
}

/// Whether some word of it is the name of a CTE.
fn names_cte(parts: &Parts, subject: &Subject<'_, '_>) -> bool {
    let text = &subject.shape.text;
    let queries = subject.blocks.iter().flat_map(|blocks| &blocks.queries);
    let ctes = queries.filter_map(|query| query.with.as_ref()).flat_map(|with| &with.ctes);
    let names: Vec<&str> = ctes.filter_map(|cte| text.get(cte.name.clone())).collect();
    let folded =
        |name: &&str| lexer::Lexer::of_shape(name).flatten().find_map(|t| lexer::name(t, name));
    let names: HashSet<String> = names.iter().filter_map(folded).collect();
    let tokens = &subject.tokens;
    tokens.within(&parts.range).any(|at| tokens.name(at).is_some_and(|name| names.contains(&name)))
}

/// A table is made of it, so each column needs a name of its own.
fn has_names(select: &Select) -> bool {
    let mut names = HashSet::new();
    select.outputs.iter().all(|output| match output {
        Output::Expr { alias: Some(alias), .. } => alias != "*" && names.insert(alias.clone()),
        Output::Expr { expr: Expr::Column(parts), alias: None } => {
            parts.last().is_some_and(|name| names.insert(name.clone()))
        }
        Output::Expr { .. } | Output::Star | Output::StarOf(_) => false,
    })
}
