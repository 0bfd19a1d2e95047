//! Words that are names to PostgreSQL and keywords to sqlparser.
//!
//! Found by trying all 1,156 keywords of both in 36 places of a statement against PostgreSQL 15. The
//! worst: `SELECT interval FROM t` and `SELECT a AND FROM t` (where `and` is a label) are legal, and
//! sqlparser takes `from` for an expression, so that the table disappears.
use super::Editor;
use crate::sql::lexer::TokenKind;

/// No keywords of PostgreSQL, but with a grammar of their own in sqlparser.
const NAMES: &[&str] = &[
    "anti",
    "apply",
    "asof",
    "ceil",
    "connect",
    "connect_by_root",
    "convert",
    "distinctrow",
    "distribute",
    "div",
    "floor",
    "format",
    "glob",
    "ignore",
    "match_condition",
    "match_recognize",
    "member",
    "minus",
    "open",
    "output",
    "pivot",
    "prewhere",
    "qualify",
    "regexp",
    "respect",
    "rlike",
    "safe_cast",
    "sample",
    "semi",
    "settings",
    "sort",
    "straight_join",
    "top",
    "try_cast",
    "try_convert",
    "unpivot",
    "xor",
];

/// Operators that may also be a column's label without AS.
const LABELS: &[&str] = &[
    "and", "or", "not", "like", "ilike", "in", "is", "between", "similar", "collate", "operator",
    "overlaps", "at", "uescape", "escape", "isnull", "notnull", "variadic", "exists", "case",
    "array", "any", "some",
];

/// What follows a list of columns.
const CLAUSES: &[&str] = &[
    "from",
    "into",
    "where",
    "group",
    "having",
    "window",
    "union",
    "intersect",
    "except",
    "order",
    "limit",
    "offset",
    "fetch",
    "for",
    "returning",
];

pub fn look(editor: &mut Editor<'_, '_>, at: usize) {
    let closes_case = editor.closes_case(at);
    if editor.kind(at) != Some(TokenKind::Word) || editor.is_mere_name(at) {
        return;
    }
    let word = editor.source(at).to_ascii_lowercase();
    let name = match word.as_str() {
        "interval" => is_column(editor, at),
        // `PARTITION BY` is the only place where it is a keyword in a query.
        "partition" => !editor.is(at + 1, "by"),
        // sqlparser knows INSERT INTO LOCAL DIRECTORY and UPDATE OR REPLACE.
        "local" | "directory" | "replace" => {
            at.checked_sub(1).is_some_and(|before| editor.is_any(before, &["into", "update"]))
        }
        "global" => !editor.is_any(at + 1, &["temp", "temporary"]),
        // An option of EXPLAIN or COPY.
        "format" => {
            !editor.is(0, "copy") && !editor.is_any(at + 1, &["json", "xml", "yaml", "text"])
        }
        // Else it is a label, at which sqlparser would stop reading.
        "end" => !closes_case,
        word if NAMES.contains(&word) => true,
        word if LABELS.contains(&word) => is_label(editor, at),
        _ => false,
    };
    if name {
        editor.replace(at..at + 1, format!("\"{word}\""));
    }
}

/// `interval` is a type where a string, a precision or a cast says so.
fn is_column(editor: &Editor<'_, '_>, at: usize) -> bool {
    let literal = editor.kind(at + 1).is_some_and(|kind| kind.is_string())
        || editor.kind(at + 1) == Some(TokenKind::OpenParen);
    let cast = at.checked_sub(1).is_some_and(|before| editor.kind(before) == Some(TokenKind::Cast));
    !literal && !cast
}

/// A word that wants an operand, with a clause's keyword in the operand's place.
pub fn is_label(editor: &Editor<'_, '_>, at: usize) -> bool {
    let ends_column =
        at.checked_sub(1).and_then(|before| editor.kind(before)).is_some_and(|kind| {
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
    let column_ends = editor.kind(at + 1).is_none_or(|kind| {
        matches!(kind, TokenKind::Comma | TokenKind::CloseParen | TokenKind::Semicolon)
    });
    ends_column && (column_ends || editor.is_any(at + 1, CLAUSES)) && !null_test(editor, at)
}

/// ISNULL and NOTNULL want no operand: before a clause they test all the same.
fn null_test(editor: &Editor<'_, '_>, at: usize) -> bool {
    editor.is_any(at, &["isnull", "notnull"])
}
