//! INSERT … SELECT whose rows do not stay on their shard: weir runs the query as any other, takes its rows,
//! and inserts each where it belongs.
use super::Template;
use super::inserting::Inserting;
use super::rows::tokens_from;
use super::tokens::outer;
use super::write::Written;
use crate::plan::Unroutable;
use crate::plan::analyst::{WriteSite, quoted};
use crate::plan::catalog::Column;
use crate::sql::lexer::{Lexer, TokenKind};
use crate::sql::moment::Time;
use crate::sql::statement::{Fill, Insert};
use std::ops::Range;

#[derive(Debug)]
pub struct Selected {
    /// The client's own.
    pub query: Template,
    pub into: Inserting,
    /// The time is told behind the query.
    pub tells_time: bool,
}

pub fn plan(
    written: &Written<'_, '_>,
    insert: &Insert,
    site: &WriteSite<'_>,
    times: &[Time],
) -> Result<Selected, Unroutable> {
    let analyst = written.analyst;
    let refuse = |what: &str| Unroutable::NotScattered { what: what.to_owned() };
    if !insert.ctes.is_empty() {
        return Err(refuse("WITH before INSERT … SELECT"));
    }
    if analyst.writes.len() > 1 || analyst.settings || analyst.ties.is_some() {
        return Err(refuse("this query in INSERT … SELECT"));
    }
    let unknown = || Unroutable::ColumnsUnknown { table: site.table.to_string() };
    let known = site.found.columns().ok_or_else(unknown)?;
    let listed = listed(insert, known, analyst.selected).ok_or_else(unknown)?;
    let is_listed = |column: &Column| listed.iter().any(|one| one.name == column.name);
    let timed = known.iter().find(|column| column.time.is_some() && !is_listed(column));
    if let Some(column) = timed {
        let what = format!("the default of {}, which tells the time,", column.name);
        return Err(refuse(&what));
    }
    let Layout { query, tail } =
        layout(written, insert).ok_or_else(|| refuse("this form of INSERT"))?;
    let behind = tail.clone().and_then(|tail| written.shape.text.get(tail)).unwrap_or_default();
    // There the rows' values are the parameters.
    if Lexer::of_shape(behind).flatten().any(|token| token.kind == TokenKind::Parameter) {
        return Err(refuse("a parameter in ON CONFLICT or RETURNING of INSERT … SELECT"));
    }
    let mut rows = Template::default();
    rows.range(query);
    let columns: Vec<&str> = listed.iter().map(|column| column.name.as_str()).collect();
    let alias = quoted(insert.alias.as_ref().unwrap_or(&site.table.name));
    let told = |time: &Time| tail.as_ref().is_some_and(|tail| tail.contains(&time.at.start));
    let tells_time = times.iter().any(told);
    let updates = insert.conflict.as_ref().is_some_and(|conflict| !conflict.set.is_empty());
    let mut into = Inserting::new(site, alias, &columns, tail, times)?;
    into.updates = updates;
    Ok(Selected { query: rows, into, tells_time })
}

/// The columns that the query's are for. `None`: nobody knows how many it has, or a column is not known.
fn listed<'c>(
    insert: &Insert,
    known: &'c [Column],
    selected: Option<usize>,
) -> Option<Vec<&'c Column>> {
    let listed: Vec<&Column> = match insert.columns.as_slice() {
        [] => known.get(..selected?)?.iter().collect(),
        columns => {
            let find = |name: &String| known.iter().find(|column| column.name == *name);
            columns.iter().map(find).collect::<Option<_>>()?
        }
    };
    listed.iter().all(|column| column.fill != Fill::Generated).then_some(listed)
}

/// Where the parts of an INSERT … SELECT stand in the shape's text.
struct Layout {
    query: Range<usize>,
    /// ON CONFLICT and RETURNING, if there are any.
    tail: Option<Range<usize>>,
}

fn layout(written: &Written<'_, '_>, insert: &Insert) -> Option<Layout> {
    let text = &written.shape.text;
    let at = written.analysis.shape_offset(insert.columns_at.byte(&written.analysis.text)?);
    let tokens = tokens_from(text, at);
    let outer = outer(&tokens);
    let is = |at: usize, word: &str| tokens.get(at).is_some_and(|token| token.is(text, word));
    let kind = |at: usize| tokens.get(at).map(|token| token.kind);
    let mut first = 0;
    if !insert.columns.is_empty() {
        let close = outer.iter().find(|&&at| kind(at) == Some(TokenKind::CloseParen))?;
        first = close + 1;
    }
    if is(first, "overriding") {
        // OVERRIDING USER VALUE leaves values out.
        if !is(first + 1, "system") {
            return None;
        }
        first += 3;
    }
    let ends = |at: usize| is(at, "returning") || is(at, "on") && is(at + 1, "conflict");
    let end = outer.iter().copied().find(|&at| at > first && ends(at));
    let query = tokens.get(first)?.start;
    let start = end.and_then(|end| tokens.get(end)).map(|token| token.start);
    Some(Layout {
        query: query..start.unwrap_or(text.len()),
        tail: start.map(|start| start..text.len()),
    })
}
