//! Clauses of a query: row locks, SEARCH and CYCLE, window frames, GROUP BY.
use super::{Editor, RowLock};
use crate::sql::lexer::{self, TokenKind};

pub fn look(editor: &mut Editor<'_, '_>, at: usize) {
    if editor.kind(at) != Some(TokenKind::Word) || editor.is_mere_name(at) {
        return;
    }
    match editor.source(at).to_ascii_lowercase().as_str() {
        "for" => row_lock(editor, at),
        "search" => search(editor, at),
        "cycle" => cycle(editor, at),
        "exclude" => frame_exclusion(editor, at),
        "by" => grouping(editor, at),
        _ => (),
    }
}

/// `FOR strength [OF tables]`: sqlparser knows two strengths and one table.
fn row_lock(editor: &mut Editor<'_, '_>, at: usize) {
    if editor.words(at, &["for", "read", "only"]) {
        return editor.remove(at..at + 3);
    }
    let (lock, strength) = if editor.words(at, &["for", "no", "key", "update"]) {
        (RowLock::NoKeyUpdate, 4)
    } else if editor.words(at, &["for", "key", "share"]) {
        (RowLock::KeyShare, 3)
    } else if editor.words(at, &["for", "update"]) {
        (RowLock::Update, 2)
    } else if editor.words(at, &["for", "share"]) {
        (RowLock::Share, 2)
    } else {
        return;
    };
    editor.notes.row_lock = editor.notes.row_lock.max(Some(lock));
    let mut end = at + strength;
    if editor.is(end, "of") {
        end = locked_tables(editor, end + 1);
    } else {
        editor.locks_all = true;
    }
    editor.replace(at..end, "FOR UPDATE");
}

/// Notes the tables of a list that begins at `at`; where does it end?
fn locked_tables(editor: &mut Editor<'_, '_>, mut at: usize) -> usize {
    loop {
        let Some(end) = editor.behind_name(at) else { return at };
        let name = editor.token(end - 1).and_then(|token| lexer::name(token, editor.text));
        match name {
            Some(name) => editor.notes.locked.push(name),
            None => editor.locks_all = true,
        }
        if editor.kind(end) != Some(TokenKind::Comma) {
            return end;
        }
        at = end + 1;
    }
}

fn follows_parenthesis(editor: &Editor<'_, '_>, at: usize) -> bool {
    at.checked_sub(1).is_some_and(|before| editor.kind(before) == Some(TokenKind::CloseParen))
}

/// Behind `a, b, c`.
fn behind_columns(editor: &Editor<'_, '_>, mut at: usize) -> Option<usize> {
    loop {
        if !editor.kind(at)?.is_name() {
            return None;
        }
        if editor.kind(at + 1) != Some(TokenKind::Comma) {
            return Some(at + 1);
        }
        at += 2;
    }
}

/// `SEARCH DEPTH FIRST BY columns SET column` after a common table.
fn search(editor: &mut Editor<'_, '_>, at: usize) {
    let order = editor.is_any(at + 1, &["depth", "breadth"]);
    if !follows_parenthesis(editor, at) || !order || !editor.words(at + 2, &["first", "by"]) {
        return;
    }
    let Some(set) = behind_columns(editor, at + 4) else { return };
    let end = set + 2;
    editor.remove(at..end);
    if editor.is(end, "cycle") {
        remove_cycle(editor, end);
    }
}

/// `CYCLE columns SET column [TO value DEFAULT value] USING column` after a common table.
fn cycle(editor: &mut Editor<'_, '_>, at: usize) {
    if follows_parenthesis(editor, at) {
        remove_cycle(editor, at);
    }
}

fn remove_cycle(editor: &mut Editor<'_, '_>, at: usize) {
    let Some(set) = behind_columns(editor, at + 1).filter(|at| editor.is(*at, "set")) else {
        return;
    };
    // Between SET and USING there are only names, constants, TO and DEFAULT.
    let using = (set..editor.tokens.len().min(set + 12)).find(|at| editor.is(*at, "using"));
    if let Some(using) = using {
        editor.remove(at..using + 2);
    }
}

/// `EXCLUDE …` of a window frame.
fn frame_exclusion(editor: &mut Editor<'_, '_>, at: usize) {
    let end = if editor.is_any(at + 1, &["group", "ties"]) {
        at + 2
    } else if editor.words(at + 1, &["current", "row"]) || editor.words(at + 1, &["no", "others"]) {
        at + 3
    } else {
        return;
    };
    if editor.kind(end) == Some(TokenKind::CloseParen) {
        editor.remove(at..end);
    }
}

/// `GROUP BY ALL …` and `GROUP BY DISTINCT …`.
fn grouping(editor: &mut Editor<'_, '_>, at: usize) {
    let group = at.checked_sub(1).is_some_and(|before| editor.is(before, "group"));
    if group && editor.is_any(at + 1, &["all", "distinct"]) {
        editor.remove(at + 1..at + 2);
    }
}
