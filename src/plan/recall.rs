//! currval and lastval: what a session has drawn from sequences is known to the server connection on which
//! it did, and to nobody else. So they are asked there, as long as the transaction keeps it.
//!
//! A plan says which sequences its statement certainly draws from ([`drawn`]). What may have drawn besides
//! it, in triggers for instance, that connection knows, too.
use super::catalog::Mark;
use super::names::{self, Found, Home};
use super::{Context, Unroutable};
use crate::sql::lexer::{self, TokenKind};
use crate::sql::statement::{Body, Distinct, Expr, Fill, Grouping, Insert, Output, Query, Source};
use crate::sql::statement::{Name, Statement};

/// A sequence as the catalog calls it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SequenceName {
    pub schema: String,
    pub name: String,
}

/// What is asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Recall {
    /// The last value of any sequence.
    Last,
    /// The last value of this one.
    Of(SequenceName),
}

/// A query that asks nothing but what the session has drawn.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recalled {
    pub function: String,
    pub asks: Vec<Recall>,
}

impl Recalled {
    /// Can it be asked where these have been drawn last?
    pub fn is_answered_by(&self, drawn: &[SequenceName]) -> bool {
        !drawn.is_empty()
            && self.asks.iter().all(|ask| match ask {
                Recall::Last => true,
                Recall::Of(sequence) => drawn.contains(sequence),
            })
    }

    pub fn unknown(&self) -> Unroutable {
        Unroutable::Remembers { function: self.function.clone() }
    }
}

/// The sequence of a constant's text (`orders_id_seq`, `"Sales"."Odd"`), if the catalog knows it.
pub(super) fn sequence(text: &str, context: &Context<'_>) -> Option<SequenceName> {
    let relation = names::relation(&read_name(text)?, context)?;
    Some(SequenceName { schema: relation.schema.clone(), name: relation.name.clone() })
}

/// The sequence behind a column: `pg_get_serial_sequence(table, column)`.
pub(super) fn serial_sequence(
    table: &str,
    column: &str,
    context: &Context<'_>,
) -> Option<SequenceName> {
    let relation = names::relation(&read_name(table)?, context)?;
    of_text(relation.column(column)?.sequence.as_deref()?)
}

/// As the catalog writes it, with its schema.
pub(super) fn of_text(text: &str) -> Option<SequenceName> {
    let Name { schema, name } = read_name(text)?;
    Some(SequenceName { schema: schema?, name })
}

fn read_name(text: &str) -> Option<Name> {
    let tokens = lexer::tokens(text, true).ok()?;
    let name = |token| lexer::name(token, text);
    match tokens.as_slice() {
        [one] => Some(Name { schema: None, name: name(*one)? }),
        [schema, dot, one] if dot.kind == TokenKind::Dot => {
            Some(Name { schema: Some(name(*schema)?), name: name(*one)? })
        }
        _ => None,
    }
}

/// The sequences from which the statement draws wherever it runs, if it succeeds.
pub(super) fn drawn(
    statement: &Statement,
    context: &Context<'_>,
    named: impl Fn(&Expr) -> Option<SequenceName>,
) -> Vec<SequenceName> {
    match statement {
        Statement::Insert(insert) => by_defaults(insert, context),
        Statement::Query(query) => called(query, named),
        Statement::Update(_)
        | Statement::Delete(_)
        | Statement::Merge(_)
        | Statement::Explain { .. }
        | Statement::Copy(_)
        | Statement::Ddl(_)
        | Statement::Lock(_)
        | Statement::Notify
        | Statement::Opaque(_) => Vec::new(),
    }
}

/// Columns that an INSERT of at least one row does not name, or gives DEFAULT in every row.
fn by_defaults(insert: &Insert, context: &Context<'_>) -> Vec<SequenceName> {
    let Ok(Found { home, relation: Some(relation), .. }) = names::find(&insert.table, context)
    else {
        return Vec::new();
    };
    // A rule puts other statements in its place; copies of a table are written otherwise.
    if relation.has(Mark::Rules) || matches!(home, Home::Reference) {
        return Vec::new();
    }
    let defaulted = |column: &str| match (&insert.source, insert.columns.is_empty()) {
        (Source::Defaults, _) => true,
        (Source::Rows(rows), false) if !rows.is_empty() => {
            match insert.columns.iter().position(|listed| listed == column) {
                None => true,
                Some(at) => rows.iter().all(|row| matches!(row.get(at), Some(None))),
            }
        }
        (Source::Rows(_) | Source::Query(_), _) => false,
    };
    let draws = |fill: Fill| match fill {
        Fill::Serial | Fill::Identity => true,
        Fill::Null | Fill::Default | Fill::Generated => false,
    };
    let columns = relation.columns.iter();
    let columns = columns.filter(|column| draws(column.fill) && defaulted(&column.name));
    columns.filter_map(|column| of_text(column.sequence.as_deref()?)).collect()
}

/// `SELECT nextval('s')`: one row, so one call.
fn called(query: &Query, named: impl Fn(&Expr) -> Option<SequenceName>) -> Vec<SequenceName> {
    let Body::Select(select) = &query.body else { return Vec::new() };
    let one_row = query.ctes.is_empty()
        && query.tail.is_empty()
        && select.from.is_empty()
        && select.filter.is_none()
        && select.having.is_none()
        && matches!(select.distinct, Distinct::No)
        && matches!(select.grouping, Grouping::None);
    if !one_row {
        return Vec::new();
    }
    let calls = select.outputs.iter().filter_map(|output| match output {
        Output::Expr { expr: Expr::Call(call), .. } => Some(call),
        Output::Expr { .. } | Output::Star | Output::StarOf(_) => None,
    });
    let own = |schema: &Option<String>| schema.as_deref().is_none_or(|name| name == "pg_catalog");
    let next = calls.filter(|call| call.name.name == "nextval" && own(&call.name.schema));
    next.filter_map(|call| named(call.operands.first()?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_regclass_reads_them() {
        let full = |text| of_text(text).map(|found| (found.schema, found.name));
        let pair = |schema: &str, name: &str| Some((schema.to_owned(), name.to_owned()));
        assert_eq!(full("public.orders_id_seq"), pair("public", "orders_id_seq"));
        assert_eq!(full("Public.\"a.\"\"B\""), pair("public", "a.\"B"));
        assert_eq!(full("orders_id_seq"), None);
        assert_eq!(full("a.b.c"), None);
        assert_eq!(full(""), None);
    }
}
