//! How a query is cut into fragments that the shards answer and a rest that the gather database runs.
//!
//! Each table in FROM becomes a temporary table of the gather database with the rows and columns that
//! the query can need; the rest is the query itself, with the names exchanged. So PostgreSQL
//! plans, joins, groups and orders as it always does.
//!
//! - `blocks`: subqueries that the shards answer whole
//! - `harmless`: outputs that cannot fail
//! - `columns`: which columns of a table the query can need
//! - `filters`: which rows
//! - `whole`: whole rows, whose type would be the temporary table's
//! - `sought`: what subqueries look up row by row
mod blocks;
mod columns;
mod filters;
pub(super) mod harmless;
mod sought;
mod whole;

use super::tokens::Tokens;
use super::{Fragment, Gather, Of, Subject};
use crate::plan::Unroutable;
use crate::plan::analyst::TableUse;
use crate::plan::catalog::Column;
use crate::plan::names::Home;
use crate::sql::rewrite::{Piece, Splice, Template};
use std::ops::Range;

/// A table's name where the query reads it.
struct Site<'s, 'a> {
    /// Bytes of the shape's text.
    at: Range<usize>,
    table: &'s TableUse<'a>,
}

pub fn plan(subject: &Subject<'_, '_>) -> Result<Gather, Unroutable> {
    if let Some(function) = &subject.analyst.reading_function {
        // The gather database has the function, and its tables, but no rows in them.
        return Err(cannot(&format!("function {function}, which reads tables,")));
    }
    let tokens = &subject.tokens;
    if let Some(what) = whole::typed(subject) {
        return Err(cannot(&what));
    }
    if subject.analysis.notes.only {
        return Err(cannot("ONLY"));
    }
    let mut fragments: Vec<Fragment> = Vec::new();
    let mut splices = Vec::new();
    let blocks = blocks::whole(subject);
    for block in &blocks {
        let table = format!("weir_{}", fragments.len() + 1);
        let insert = format!("SELECT * FROM pg_temp.{table}");
        splices.push(Splice { at: block.start, remove: block.len(), insert });
        let query = Template(vec![Piece::Range(block.clone())]);
        fragments.push(Fragment::plain(table, query, Of::EveryShard));
    }
    let mut sites = sites(subject, tokens)?;
    sites.retain(|site| !blocks.iter().any(|block| block.contains(&site.at.start)));
    for site in &sites {
        let (query, key) = fragment(subject, site, &sites)?;
        let of = of(site.table)?;
        let known = fragments.iter().position(|known| known.query == query && known.of == of);
        let number = known.unwrap_or(fragments.len());
        if known.is_none() {
            let table = format!("weir_{}", number + 1);
            fragments.push(Fragment { key, ..Fragment::plain(table, query, of) });
        }
        if let Some(fragment) = fragments.get_mut(number) {
            for column in sought::of(subject, site, &sites) {
                if !fragment.sought.contains(&column) {
                    fragment.sought.push(column);
                }
            }
        }
        if let Some(word) = tokens.table_command(&site.at) {
            let insert = String::from("SELECT * FROM");
            splices.push(Splice { at: word.start, remove: word.len(), insert });
        }
        splices.push(exchange(site, number + 1));
    }
    splices.sort_by_key(|splice| splice.at);
    Ok(Gather { fragments, residual: Template::spliced(subject.shape, &splices) })
}

fn cannot(what: &str) -> Unroutable {
    Unroutable::NotGathered { what: what.to_owned() }
}

/// Every place where a table is named, in the order of the text. A CTE's tables are named once, however
/// often it is read.
fn sites<'s, 'a>(
    subject: &'s Subject<'_, 'a>,
    tokens: &Tokens<'_>,
) -> Result<Vec<Site<'s, 'a>>, Unroutable> {
    let text = &subject.analysis.text;
    let byte = |place: crate::sql::statement::Place| {
        place.byte(text).map(|at| subject.analysis.shape_offset(at))
    };
    let mut sites: Vec<Site<'_, '_>> = Vec::new();
    for table in &subject.analyst.uses {
        let found = byte(table.at.start).zip(byte(table.at.end));
        let at = found.map(|(start, end)| start..end);
        let at = at.filter(|at| tokens.is_name(at, &table.name));
        let at = at.ok_or_else(|| cannot("a table that is named in this way"))?;
        if !sites.iter().any(|site| site.at == at) {
            sites.push(Site { at, table });
        }
    }
    sites.sort_by_key(|site| site.at.start);
    Ok(sites)
}

fn of(table: &TableUse<'_>) -> Result<Of, Unroutable> {
    match table.found.home {
        Home::Sharded { .. } => Ok(Of::EveryShard),
        Home::Reference => Ok(Of::AnyShard),
        Home::Single(shard) => Ok(Of::Shard(shard)),
        Home::System | Home::Temporary => Err(cannot("a system catalog or a temporary table")),
    }
}

/// What the shards are asked for, and the primary key if that may matter.
fn fragment(
    subject: &Subject<'_, '_>,
    site: &Site<'_, '_>,
    sites: &[Site<'_, '_>],
) -> Result<(Template, Vec<String>), Unroutable> {
    let table = site.table;
    let relation = table.found.relation.filter(|relation| !relation.columns.is_empty());
    let relation =
        relation.ok_or_else(|| Unroutable::ColumnsUnknown { table: table.name.to_string() })?;
    let needed = columns::needed(subject, site, relation, sites);
    let risky = |column: &&&Column| table.reading.risky.contains(&column.name);
    if let Some(column) = needed.iter().find(risky) {
        return Err(cannot(&format!(
            "column {} of view {}, which may fail,",
            column.name, table.name
        )));
    }
    let key = if groups(subject) { columns::key(relation, &needed) } else { Vec::new() };
    let columns: Vec<String> = needed.into_iter().map(|column| quoted(&column.name)).collect();
    let mut query = Template::default();
    query.text(format!(
        "SELECT {} FROM {}.{} AS {}",
        columns.join(", "),
        quoted(&relation.schema),
        quoted(&relation.name),
        quoted(label(table)),
    ));
    for (number, conjunct) in filters::of(subject, site, relation, sites).into_iter().enumerate() {
        query.text(if number == 0 { " WHERE (" } else { " AND (" });
        query.range(conjunct);
        query.text(")");
    }
    Ok((query, key))
}

/// Where rows are grouped by a primary key, other columns may stand beside it.
fn groups(subject: &Subject<'_, '_>) -> bool {
    let queries = subject.blocks.iter().flat_map(|blocks| &blocks.queries);
    queries.flat_map(|query| query.selects()).any(|block| block.group.is_some())
}

/// What the query calls the table.
fn label<'t>(table: &'t TableUse<'_>) -> &'t str {
    table.alias.name.as_deref().unwrap_or(&table.name.name)
}

/// The temporary table's name in the place of the table's.
fn exchange(site: &Site<'_, '_>, number: usize) -> Splice {
    let insert = match &site.table.alias.name {
        Some(_) => format!("pg_temp.weir_{number}"),
        None => format!("pg_temp.weir_{number} AS {}", quoted(label(site.table))),
    };
    Splice { at: site.at.start, remove: site.at.len(), insert }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
