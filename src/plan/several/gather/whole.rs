//! Whole rows as values: `SELECT f(o) FROM orders o`. In the gather database their type is that of a temporary
//! table, which functions and the client must not see.
use super::label;
use crate::plan::several::{Subject, inside, level};
use crate::sql::lexer::TokenKind;
use crate::sql::statement::{Body, Expr, Query};

/// Functions that see a row's columns and not its type.
const OF_ANY_ROW: &[&str] =
    &["count", "json_agg", "jsonb_agg", "row_to_json", "to_json", "to_jsonb"];

/// What needs the type of a table's rows.
pub fn typed(subject: &Subject<'_, '_>) -> Option<String> {
    let mut queries = Vec::new();
    inside::of_query(subject.query, &mut queries);
    let name = queries.into_iter().find_map(|query| whole_row(query, subject))?;
    let tokens = &subject.tokens;
    let kind = |at: Option<usize>| at.and_then(|at| tokens.kind(at));
    let of_any_row = |at: usize| {
        let is = tokens.name(at + 1).is_some_and(|next| next == "is");
        let opened = kind(at.checked_sub(1)) == Some(TokenKind::OpenParen)
            && kind(Some(at + 1)) == Some(TokenKind::CloseParen);
        let called = at.checked_sub(2).and_then(|at| tokens.name(at));
        is || opened && called.is_some_and(|name| OF_ANY_ROW.contains(&name.as_str()))
    };
    let table = |at: usize| {
        let byte = |place: crate::sql::statement::Place| place.byte(&subject.analysis.text);
        let uses = subject.analyst.uses.iter();
        uses.filter_map(|table| byte(table.at.start).zip(byte(table.at.end))).any(|(start, end)| {
            let offset = |byte| subject.analysis.shape_offset(byte);
            tokens.is_inside(at, &(offset(start)..offset(end)))
        })
    };
    let declared = |at: usize| {
        // `orders o`, `orders AS o`: a name or AS comes before it.
        table(at)
            || at.checked_sub(1).is_some_and(|before| {
                table(before) || { tokens.name(before).is_some_and(|word| word == "as") }
            })
    };
    let mut standing = tokens.names().filter(|(at, word)| {
        *word == name
            && !tokens.is_qualifier(*at)
            && !tokens.is_qualified(*at)
            && kind(Some(at + 1)) != Some(TokenKind::OpenParen)
            && !declared(*at)
    });
    standing.any(|(at, _)| !of_any_row(at)).then(|| format!("{name} as a whole row"))
}

/// A table's name or alias where a value stands, unless a column or an output is called so.
fn whole_row(query: &Query, subject: &Subject<'_, '_>) -> Option<String> {
    let Body::Select(select) = &query.body else { return None };
    let mut all = level::exprs(select, &query.tail);
    all.extend(select.filter.iter().chain(level::grouped(select)));
    let mut found = None;
    for expr in all {
        level::walk(expr, &mut |expr| {
            let Expr::Column(parts) = expr else { return };
            let [name] = parts.as_slice() else { return };
            let uses = &subject.analyst.uses;
            let is_table = uses.iter().any(|table| label(table) == name);
            let is_column = || {
                uses.iter().any(|table| {
                    let renamed = table.alias.columns.contains(name);
                    let columns = table.found.columns().unwrap_or_default();
                    renamed || columns.iter().any(|column| column.name == *name)
                })
            };
            let is_output = || {
                let blocks = subject.blocks.iter().flat_map(|blocks| &blocks.queries);
                let outputs = blocks.flat_map(|q| q.selects()).flat_map(|block| &block.outputs);
                outputs.into_iter().any(|output| {
                    let bytes = output.range.clone();
                    let last = subject.tokens.within(&bytes).next_back();
                    last.and_then(|at| {
                        subject.tokens.name(at).filter(|_| at > subject.tokens.within(&bytes).start)
                    })
                    .is_some_and(|alias| alias == *name)
                })
            };
            if is_table && !is_column() && !is_output() {
                found = Some(name.clone());
            }
        });
    }
    found
}
