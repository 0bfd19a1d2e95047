//! Expressions that sqlparser has no words for.
//!
//! Invariant: the replacement never proves more than the original. Where it cannot say the same, it
//! holds [`OPAQUE`], which proves nothing.
use super::{Editor, NotAnalysed, OPAQUE, names};
use crate::sql::lexer::TokenKind;

pub fn look(editor: &mut Editor<'_, '_>, at: usize) -> Result<(), NotAnalysed> {
    match editor.kind(at) {
        Some(TokenKind::Word) if !editor.is_mere_name(at) => word(editor, at),
        Some(TokenKind::Dot) => {
            whole_row(editor, at);
            Ok(())
        }
        _ => Ok(()),
    }
}

fn word(editor: &mut Editor<'_, '_>, at: usize) -> Result<(), NotAnalysed> {
    match editor.source(at).to_ascii_lowercase().as_str() {
        "select" => empty_list(editor, at),
        "between" => between(editor, at),
        "variadic" => editor.remove(at..at + 1),
        "collate" => collate(editor, at),
        "isnull" => null_test(editor, at, "IS NULL"),
        "notnull" => null_test(editor, at, "IS NOT NULL"),
        "is" => document(editor, at),
        "collation" if editor.is(at + 1, "for") => editor.replace(at..at + 2, "weir_opaque"),
        "trim" => trim(editor, at),
        "similar" => substring_similar(editor, at),
        "xmlelement" | "xmlforest" | "xmlparse" | "xmlpi" | "xmlroot" | "xmlserialize"
        | "xmlexists" | "xmlattributes" => return construct(editor, at, "an XML constructor"),
        "json" | "json_object" | "json_array" | "json_arrayagg" | "json_objectagg"
        | "json_scalar" | "json_serialize" | "json_value" | "json_query" | "json_exists"
            if has_clauses(editor, at) =>
        {
            return construct(editor, at, "an SQL/JSON constructor");
        }
        _ => (),
    }
    Ok(())
}

/// `SELECT` of no column at all, at the end of the text or a parenthesis.
fn empty_list(editor: &mut Editor<'_, '_>, at: usize) {
    if matches!(editor.kind(at + 1), None | Some(TokenKind::CloseParen)) {
        editor.replace(at..at + 1, "SELECT NULL");
    }
}

/// SYMMETRIC may swap the bounds, of which nothing is concluded anyway.
fn between(editor: &mut Editor<'_, '_>, at: usize) {
    if editor.is_any(at + 1, &["asymmetric", "symmetric"]) {
        editor.remove(at + 1..at + 2);
    }
}

/// `x::t COLLATE c`: equality may then mean another thing, so the value is not known any more.
fn collate(editor: &mut Editor<'_, '_>, at: usize) {
    if names::is_label(editor, at) {
        return;
    }
    let Some(end) = editor.behind_name(at + 1) else { return };
    let keyword = editor.source(end - 1).eq_ignore_ascii_case("default");
    if keyword || follows_cast(editor, at) {
        editor.replace(at..end, format!("|| {OPAQUE}"));
    }
}

/// Is what ends before `at` the type of a cast with `::`?
fn follows_cast(editor: &Editor<'_, '_>, at: usize) -> bool {
    let mut depth = 0usize;
    for before in (0..at).rev() {
        match editor.kind(before) {
            Some(TokenKind::Cast) if depth == 0 => return true,
            Some(TokenKind::CloseParen | TokenKind::CloseBracket) => depth += 1,
            Some(TokenKind::OpenParen | TokenKind::OpenBracket) => match depth.checked_sub(1) {
                Some(outer) => depth = outer,
                None => return false,
            },
            Some(kind) if kind.is_name() || kind == TokenKind::Dot => (),
            _ if depth > 0 => (),
            _ => return false,
        }
    }
    false
}

/// `a ISNULL`, which sqlparser takes for an alias.
fn null_test(editor: &mut Editor<'_, '_>, at: usize, by: &str) {
    let called = matches!(editor.kind(at + 1), Some(TokenKind::OpenParen | TokenKind::Dot));
    let tests = at.checked_sub(1).and_then(|before| editor.kind(before)).is_some_and(|kind| {
        kind.is_name()
            || kind.is_literal()
            || matches!(
                kind,
                TokenKind::CloseParen
                    | TokenKind::CloseBracket
                    | TokenKind::Parameter
                    | TokenKind::Lifted
            )
    });
    if tests && !called {
        editor.replace(at..at + 1, by);
    }
}

/// `IS [NOT] DOCUMENT`.
fn document(editor: &mut Editor<'_, '_>, at: usize) {
    let end = if editor.is(at + 1, "not") { at + 2 } else { at + 1 };
    if editor.is(end, "document") {
        editor.replace(at..end + 1, format!("= {OPAQUE}"));
    }
}

/// `TRIM(LEADING FROM a)`.
fn trim(editor: &mut Editor<'_, '_>, at: usize) {
    let side = editor.is_any(at + 2, &["leading", "trailing", "both"]);
    let from = if side { at + 3 } else { at + 2 };
    if editor.kind(at + 1) == Some(TokenKind::OpenParen) && editor.is(from, "from") {
        editor.remove(at + 2..from + 1);
    }
}

/// `SUBSTRING(a SIMILAR b ESCAPE c)`; elsewhere SIMILAR stands before TO.
fn substring_similar(editor: &mut Editor<'_, '_>, at: usize) {
    if editor.is(at + 1, "to") {
        return;
    }
    editor.replace(at..at + 1, ",");
    let mut depth = 0usize;
    for next in at + 1..editor.tokens.len() {
        match editor.kind(next) {
            Some(TokenKind::OpenParen) => depth += 1,
            Some(TokenKind::CloseParen) if depth == 0 => return,
            Some(TokenKind::CloseParen) => depth -= 1,
            _ if depth == 0 && editor.is(next, "escape") => {
                return editor.replace(next..next + 1, ",");
            }
            _ => (),
        }
    }
}

/// `(x).*`: a wildcard whose columns nobody counts here. What is in the parenthesis stays visible.
fn whole_row(editor: &mut Editor<'_, '_>, at: usize) {
    let after_parenthesis =
        at.checked_sub(1).is_some_and(|before| editor.kind(before) == Some(TokenKind::CloseParen));
    if after_parenthesis && editor.is_operator(at + 1, "*") {
        editor.replace(at..at + 2, ", *");
    }
}

/// Is a JSON function written with clauses, not as a plain call?
fn has_clauses(editor: &Editor<'_, '_>, at: usize) -> bool {
    let Some(close) = editor.closing(at + 1) else { return false };
    let words = [
        "value",
        "returning",
        "on",
        "with",
        "without",
        "format",
        "passing",
        "omit",
        "keep",
        "select",
        "order",
        "empty",
    ];
    (at + 2..close).any(|at| editor.kind(at) == Some(TokenKind::Colon) || editor.is_any(at, &words))
}

/// A constructor with a grammar of its own. Its arguments are not seen any more, so a subquery in
/// them cannot be allowed.
fn construct(
    editor: &mut Editor<'_, '_>,
    at: usize,
    what: &'static str,
) -> Result<(), NotAnalysed> {
    if editor.kind(at + 1) != Some(TokenKind::OpenParen) {
        return Ok(());
    }
    let Some(close) = editor.closing(at + 1) else { return Ok(()) };
    let subquery = (at + 2..close).any(|at| editor.is_any(at, &["select", "table", "values"]));
    if subquery {
        return Err(NotAnalysed::Unsupported(what));
    }
    editor.replace(at..close + 1, OPAQUE);
    Ok(())
}
