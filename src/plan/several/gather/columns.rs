//! Which columns of a table a query can need: those whose names occur in it. Where columns may be meant
//! without being named (`*`, whole rows, NATURAL joins), all.
use super::{Site, label};
use crate::plan::catalog::{Column, Relation};
use crate::plan::several::tokens::Tokens;

pub fn needed<'r>(
    site: &Site<'_, '_>,
    relation: &'r Relation,
    sites: &[Site<'_, '_>],
    tokens: &Tokens<'_>,
    key: &[String],
) -> Vec<&'r Column> {
    let renamed = !site.table.alias.columns.is_empty();
    let natural = tokens.names().any(|(_, name)| name == "natural");
    let all = renamed || natural || tokens.has_star() || may_be_whole(site, sites, tokens);
    let named = |column: &&Column| {
        all || key.contains(&column.name) || tokens.names().any(|(_, name)| name == column.name)
    };
    relation.columns.iter().filter(named).collect()
}

/// The columns of the primary key.
pub fn key(relation: &Relation) -> Vec<String> {
    let key = relation.columns.iter().filter(|column| column.in_primary_key);
    key.map(|column| column.name.clone()).collect()
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
