//! Which columns of a table a query can need: those whose names occur where the table is seen, which is its
//! SELECT with all that is inside of it. Where columns may be meant without being named (`*`, whole rows,
//! NATURAL joins), all. No others: the client's user may have no right to them.
use super::{Site, label};
use crate::plan::catalog::{Column, Relation};
use crate::plan::several::Subject;
use crate::plan::several::tokens::Tokens;
use crate::sql::block::Bytes;

pub fn needed<'r>(
    subject: &Subject<'_, '_>,
    site: &Site<'_, '_>,
    relation: &'r Relation,
    sites: &[Site<'_, '_>],
) -> Vec<&'r Column> {
    let tokens = &subject.tokens;
    let around = around(subject, site);
    let mut names: Vec<String> = Vec::new();
    let mut natural = false;
    for at in tokens.within(&around) {
        let Some(name) = tokens.name(at) else { continue };
        natural |= name == "natural";
        if tokens.qualifier(at).is_none_or(|qualifier| qualifier == label(site.table)) {
            names.push(name);
        }
    }
    let renamed = !site.table.alias.columns.is_empty();
    let all = renamed || natural || tokens.has_star(&around) || may_be_whole(site, sites, tokens);
    let named = |column: &&Column| all || names.contains(&column.name);
    relation.columns.iter().filter(named).collect()
}

/// The bytes in which the table's columns can be named.
fn around(subject: &Subject<'_, '_>, site: &Site<'_, '_>) -> Bytes {
    let within = site.table.within.byte(&subject.analysis.text);
    let at = within.map(|at| subject.analysis.shape_offset(at));
    let found = at.zip(subject.blocks.as_ref()).and_then(|(at, blocks)| blocks.select(at));
    let bytes = found.map(|(query, block)| match query.only() {
        // With its ORDER BY.
        Some(_) => query.range.clone(),
        None => block.range.clone(),
    });
    bytes
        .filter(|bytes| bytes.start <= site.at.start && site.at.end <= bytes.end)
        .unwrap_or(0..subject.shape.text.len())
}

/// The primary key, if all of it is among these columns: rows may be grouped by it.
pub fn key(relation: &Relation, needed: &[&Column]) -> Vec<String> {
    let key = relation.columns.iter().filter(|column| column.in_primary_key);
    let key: Vec<String> = key.map(|column| column.name.clone()).collect();
    let fetched = |name: &String| needed.iter().any(|column| column.name == *name);
    if key.iter().all(fetched) { key } else { Vec::new() }
}

/// Whether the table's label stands somewhere as a value: its whole row.
fn may_be_whole(site: &Site<'_, '_>, sites: &[Site<'_, '_>], tokens: &Tokens<'_>) -> bool {
    let label = label(site.table);
    let standing = tokens.names().filter(|(at, name)| {
        let declares = sites.iter().any(|site| tokens.is_inside(*at, &site.at));
        name == label && !declares && !tokens.is_qualifier(*at) && !tokens.is_qualified(*at)
    });
    // Each alias stands once as what it is.
    let aliases = sites.iter().filter(|site| site.table.alias.name.as_deref() == Some(label));
    standing.count() > aliases.count()
}
