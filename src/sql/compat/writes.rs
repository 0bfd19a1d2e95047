//! INSERT, UPDATE, DELETE, MERGE and COPY.
use super::{Editor, NotAnalysed};
use crate::sql::lexer::{self, TokenKind};

pub fn look(editor: &mut Editor<'_, '_>, at: usize) -> Result<(), NotAnalysed> {
    if editor.kind(at) != Some(TokenKind::Word) || editor.is_mere_name(at) {
        return Ok(());
    }
    match editor.source(at).to_ascii_lowercase().as_str() {
        "on" if editor.is(at + 1, "conflict") => conflict_target(editor, at + 2)?,
        "overriding"
            if editor.is_any(at + 1, &["system", "user"]) && editor.is(at + 2, "value") =>
        {
            editor.remove(at..at + 3);
        }
        "insert" => insert(editor, at),
        "set" => assignments(editor, at),
        "where" if editor.words(at + 1, &["current", "of"]) => current_of(editor, at),
        "copy" if at == 0 => copy_options(editor)?,
        _ => (),
    }
    Ok(())
}

/// The target only says which unique index is meant. sqlparser reads plain columns.
fn conflict_target(editor: &mut Editor<'_, '_>, at: usize) -> Result<(), NotAnalysed> {
    if editor.kind(at) != Some(TokenKind::OpenParen) {
        return Ok(());
    }
    let Some(close) = editor.closing(at) else { return Ok(()) };
    let plain = (at + 1..close).all(|at| {
        editor.kind(at).is_some_and(|kind| kind.is_name() || kind == TokenKind::Comma)
            && !editor.is(at, "collate")
    });
    if plain && !editor.is(close + 1, "where") && single_names(editor, at + 1, close) {
        return Ok(());
    }
    let end = (close + 1..editor.tokens.len()).find(|at| editor.is(*at, "do"));
    let Some(end) = end else { return Ok(()) };
    if editor.may_hide_table(at..end) {
        return Err(NotAnalysed::Unsupported("this conflict target"));
    }
    editor.remove(at..end);
    Ok(())
}

/// Names with commas between them: no operator class follows a column.
fn single_names(editor: &Editor<'_, '_>, from: usize, to: usize) -> bool {
    (from..to).all(|at| {
        editor.kind(at).is_some_and(|kind| kind.is_name()) == ((at - from).is_multiple_of(2))
    })
}

/// The column list: `c[1]` and `c.field` name the column `c`.
fn insert(editor: &mut Editor<'_, '_>, at: usize) {
    if editor.words(at + 1, &["default", "values"])
        && at.checked_sub(1).is_some_and(|before| editor.is(before, "then"))
    {
        return editor.replace(at + 1..at + 3, "VALUES (DEFAULT)");
    }
    if !editor.is(at + 1, "into") {
        return;
    }
    let Some(mut open) = editor.behind_name(at + 2) else { return };
    if editor.is(open, "as") {
        open += 2;
    }
    let query = editor.is_any(open + 1, &["select", "with", "values", "table"]);
    if editor.kind(open) != Some(TokenKind::OpenParen) || query {
        return;
    }
    let Some(close) = editor.closing(open) else { return };
    let mut column = open + 1;
    while column < close {
        let end = (column..close).find(|at| editor.kind(*at) == Some(TokenKind::Comma));
        let end = end.unwrap_or(close);
        if end > column + 1 {
            editor.remove(column + 1..end);
        }
        column = end + 1;
    }
}

/// `SET c[1] = …` assigns to the column `c`.
fn assignments(editor: &mut Editor<'_, '_>, at: usize) {
    let mut next = at + 1;
    let mut target = true;
    while let Some(kind) = editor.kind(next) {
        if target && kind.is_name() && editor.kind(next + 1) == Some(TokenKind::OpenBracket) {
            let mut end = next;
            while editor.kind(end + 1) == Some(TokenKind::OpenBracket) {
                let Some(close) = editor.closing(end + 1) else { return };
                end = close;
            }
            if editor.is_operator(end + 1, "=") {
                editor.remove(next + 1..end + 1);
            }
        }
        target = kind == TokenKind::Comma;
        let over = kind == TokenKind::CloseParen
            || editor.is_any(next, &["where", "from", "returning", "when", "on"]);
        if over {
            return;
        }
        next = match kind {
            TokenKind::OpenParen | TokenKind::OpenBracket => match editor.closing(next) {
                Some(close) => close + 1,
                None => return,
            },
            _ => next + 1,
        };
    }
}

/// `WHERE CURRENT OF cursor`.
fn current_of(editor: &mut Editor<'_, '_>, at: usize) {
    let Some(token) = editor.token(at + 3) else { return };
    editor.notes.current_of = lexer::name(token, editor.text);
    editor.replace(at + 1..at + 4, "TRUE");
}

/// What follows `FROM STDIN` or `TO STDOUT`: options, which `sql::copy` reads, and a condition on the rows
/// that a server is given.
fn copy_options(editor: &mut Editor<'_, '_>) -> Result<(), NotAnalysed> {
    let count = editor.tokens.len();
    let behind = match editor.kind(1) {
        Some(TokenKind::OpenParen) => editor.closing(1).map(|close| close + 1),
        _ => Some(1),
    };
    let way = behind.and_then(|from| {
        (from..count).find(|&at| {
            editor.is_any(at, &["from", "to"]) && editor.is_any(at + 1, &["stdin", "stdout"])
        })
    });
    let own_where = || (1..count).find(|at| behind == Some(1) && editor.is(*at, "where"));
    let end = way.map(|at| at + 2).or_else(own_where).unwrap_or(count);
    let filter = (end..count).find(|at| editor.is(*at, "where"));
    if filter.is_some_and(|filter| editor.may_hide_table(filter..count)) {
        return Err(NotAnalysed::Unsupported("this COPY filter"));
    }
    if end < count {
        editor.remove(end..count);
    }
    Ok(())
}
