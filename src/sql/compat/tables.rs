//! Table expressions of a FROM clause, and `TABLE t` in the place of a query.
use super::{Editor, NotAnalysed};
use crate::sql::lexer::TokenKind;

pub fn look(editor: &mut Editor<'_, '_>, at: usize) -> Result<(), NotAnalysed> {
    match editor.kind(at) {
        Some(TokenKind::Word) if !editor.is_mere_name(at) => {
            if editor.is(at, "table") {
                table_command(editor, at);
            } else if editor.is(at, "only") {
                only(editor, at);
            } else if editor.words(at, &["rows", "from"]) {
                rows_from(editor, at);
            } else if editor.is(at, "using") {
                join_alias(editor, at);
            } else if editor.is(at, "as") {
                column_definitions(editor, at)?;
            }
        }
        Some(TokenKind::Operator) if editor.source(at) == "*" => descendants(editor, at),
        _ => (),
    }
    Ok(())
}

/// `TABLE t` is `SELECT * FROM t`.
fn table_command(editor: &mut Editor<'_, '_>, at: usize) {
    let begins_query = at.checked_sub(1).is_none_or(|before| {
        let words =
            ["union", "intersect", "except", "all", "distinct", "explain", "analyze", "verbose"];
        editor.is_any(before, &words)
            || matches!(editor.kind(before), Some(TokenKind::OpenParen | TokenKind::CloseParen))
            // `INSERT INTO t TABLE u`: a name that no word leads up to an alias.
            || editor.kind(before).is_some_and(|kind| kind.is_name()) && !editor.is_any(before, &["into", "lock"])
    });
    if begins_query {
        editor.replace(at..at + 1, "SELECT * FROM");
    }
}

/// `ONLY t` and `ONLY (t)`; ONLY is reserved, so it is never a table's name.
fn only(editor: &mut Editor<'_, '_>, at: usize) {
    let leads = ["from", "join", "update", "into", "table", "using"];
    let table = at.checked_sub(1).is_some_and(|before| {
        editor.is_any(before, &leads) || editor.kind(before) == Some(TokenKind::Comma)
    });
    if !table {
        return;
    }
    if editor.kind(at + 1) == Some(TokenKind::OpenParen) {
        let close = editor.behind_name(at + 2);
        let Some(close) = close.filter(|at| editor.kind(*at) == Some(TokenKind::CloseParen)) else {
            return;
        };
        editor.remove(at..at + 2);
        editor.remove(close..close + 1);
    } else {
        editor.remove(at..at + 1);
    }
    editor.notes.only = true;
}

/// `t *`, the old way to say that a table's children are meant as well.
fn descendants(editor: &mut Editor<'_, '_>, at: usize) {
    let follows = editor.kind(at + 1).is_none()
        || matches!(
            editor.kind(at + 1),
            Some(TokenKind::CloseParen | TokenKind::Comma | TokenKind::Semicolon)
        )
        || editor.is_any(
            at + 1,
            &[
                "where",
                "set",
                "as",
                "join",
                "left",
                "right",
                "inner",
                "full",
                "cross",
                "natural",
                "order",
                "group",
                "having",
                "limit",
                "offset",
                "fetch",
                "for",
                "union",
                "intersect",
                "except",
                "using",
                "on",
                "returning",
                "window",
                "tablesample",
            ],
        );
    // `SELECT *` and `count(*)` are not what is meant: a table's name leads up to the star.
    let mut before = at;
    while before.checked_sub(1).is_some_and(|before| {
        editor.kind(before).is_some_and(|kind| kind.is_name() || kind == TokenKind::Dot)
            && !editor.is_any(before, &["from", "join", "update", "only", "returning"])
    }) {
        before -= 1;
    }
    let named = before < at
        && before
            .checked_sub(1)
            .is_some_and(|lead| editor.is_any(lead, &["from", "join", "update", "only"]));
    if follows && named {
        editor.remove(at..at + 1);
    }
}

/// `ROWS FROM (f(), g())`: a table function of functions.
fn rows_from(editor: &mut Editor<'_, '_>, at: usize) {
    if editor.kind(at + 2) == Some(TokenKind::OpenParen) {
        editor.replace(at..at + 2, super::ROWS);
    }
}

/// `JOIN … USING (a, b) AS j`: a name for the merged columns.
fn join_alias(editor: &mut Editor<'_, '_>, at: usize) {
    if editor.kind(at + 1) != Some(TokenKind::OpenParen) {
        return;
    }
    let Some(close) = editor.closing(at + 1) else { return };
    let columns = (at + 2..close)
        .all(|at| editor.kind(at).is_some_and(|kind| kind.is_name() || kind == TokenKind::Comma));
    if columns && editor.is(close + 1, "as") {
        editor.remove(close + 1..close + 3);
    }
}

/// `f(…) AS (a int, b text)`: a column definition list without an alias.
fn column_definitions(editor: &mut Editor<'_, '_>, at: usize) -> Result<(), NotAnalysed> {
    let queries = ["select", "values", "with", "insert", "update", "delete", "merge", "table"];
    let definitions = at.checked_sub(1).is_some_and(|before| {
        editor.kind(before) == Some(TokenKind::CloseParen)
            && editor.kind(at + 1) == Some(TokenKind::OpenParen)
            && editor.kind(at + 2).is_some_and(|kind| kind.is_name())
            && !editor.is_any(at + 2, &queries)
    });
    let Some(close) = definitions.then(|| editor.closing(at + 1)).flatten() else { return Ok(()) };
    // Inside ROWS FROM (…) a function's argument takes no alias.
    let in_rows_from =
        matches!(editor.kind(close + 1), Some(TokenKind::Comma | TokenKind::CloseParen))
            && (0..at).any(|at| editor.words(at, &["rows", "from"]));
    if editor.may_hide_table(at..close) {
        return Err(NotAnalysed::Unsupported("this column definition list"));
    }
    editor.replace(at..close + 1, if in_rows_from { "" } else { "AS weir_columns" });
    Ok(())
}
