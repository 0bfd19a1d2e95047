//! Which columns a subquery compares with the row of the query around it. PostgreSQL may run such a
//! subquery once for each row, so a large table wants an index there: without one a report that takes
//! milliseconds on one server takes minutes.
//!
//! It is about time only: what is overlooked, or found where there is nothing to find, changes no answer.
use super::{Site, label};
use crate::plan::several::Subject;
use crate::plan::several::tokens::Tokens;
use crate::sql::block::Bytes;
use crate::sql::lexer::TokenKind;

/// Types whose values always fit into an index.
const INDEXED: &[&str] =
    &["bigint", "date", "integer", "smallint", "uuid", "timestamp", "timestamp with time zone"];

pub fn of(subject: &Subject<'_, '_>, site: &Site<'_, '_>, sites: &[Site<'_, '_>]) -> Vec<String> {
    let within = site.table.within;
    let at = within.byte(&subject.analysis.text).map(|at| subject.analysis.shape_offset(at));
    let block = at.zip(subject.blocks.as_ref()).and_then(|(at, blocks)| blocks.select(at));
    let Some((_, block)) = block else { return Vec::new() };
    let beside: Vec<&Site<'_, '_>> =
        sites.iter().filter(|other| other.table.within == within).collect();
    let mut sought = Vec::new();
    for conjunct in &block.conjuncts {
        let Some([one, other]) = compared(&subject.tokens, conjunct) else { continue };
        for (own, outer) in [(&one, &other), (&other, &one)] {
            let is_outer = !beside.iter().any(|beside| outer.may_be_of(beside));
            if own.may_be_of(site)
                && is_outer
                && own.is_indexed(site)
                && !sought.contains(&own.name)
            {
                sought.push(own.name.clone());
            }
        }
    }
    sought
}

/// A column as it is written.
struct Column {
    qualifier: Option<String>,
    name: String,
}

/// `a.x = y`
fn compared(tokens: &Tokens<'_>, conjunct: &Bytes) -> Option<[Column; 2]> {
    let mut at = tokens.within(conjunct);
    let one = column(tokens, &mut at)?;
    let equals = at.next()?;
    if tokens.kind(equals) != Some(TokenKind::Operator) || tokens.source(equals) != Some("=") {
        return None;
    }
    let other = column(tokens, &mut at)?;
    at.next().is_none().then_some([one, other])
}

fn column(tokens: &Tokens<'_>, at: &mut std::ops::Range<usize>) -> Option<Column> {
    let first = at.next()?;
    let name = tokens.name(first)?;
    if !tokens.is_qualifier(first) {
        return Some(Column { qualifier: None, name });
    }
    at.next()?;
    let last = at.next()?;
    Some(Column { qualifier: Some(name), name: tokens.name(last)? })
}

impl Column {
    fn may_be_of(&self, site: &Site<'_, '_>) -> bool {
        match &self.qualifier {
            Some(qualifier) => qualifier == label(site.table),
            None => {
                let columns = site.table.found.columns().unwrap_or_default();
                columns.iter().any(|column| column.name == self.name)
            }
        }
    }

    fn is_indexed(&self, site: &Site<'_, '_>) -> bool {
        let columns = site.table.found.columns().unwrap_or_default();
        let column = columns.iter().find(|column| column.name == self.name);
        column.is_some_and(|column| INDEXED.contains(&column.type_name.as_str()))
    }
}
