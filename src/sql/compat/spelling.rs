//! Names, strings and numbers that sqlparser would read in another way than PostgreSQL.
use super::{Editor, NotAnalysed};
use crate::sql::escape;
use crate::sql::lexer::TokenKind;

pub fn look(editor: &mut Editor<'_, '_>, at: usize) -> Result<(), NotAnalysed> {
    let source = editor.source(at);
    match editor.kind(at) {
        // sqlparser takes blanks beyond ASCII for blanks; to PostgreSQL they are letters.
        Some(TokenKind::Word) if !source.is_ascii() => {
            editor.replace(at..at + 1, format!("\"{}\"", source.to_ascii_lowercase()));
        }
        Some(TokenKind::UnicodeName) => {
            if source.contains('\\') || editor.is(at + 1, "uescape") {
                return Err(NotAnalysed::Unsupported("unicode escapes in names"));
            }
            editor.replace(at..at + 1, source.get(2..).unwrap_or(""));
        }
        Some(
            kind @ (TokenKind::String
            | TokenKind::EscapeString
            | TokenKind::UnicodeString
            | TokenKind::DollarString),
        ) => string(editor, at, kind, source)?,
        Some(TokenKind::BitString | TokenKind::HexString | TokenKind::NationalString)
            if source.contains(['\n', '\r']) =>
        {
            return Err(NotAnalysed::Unsupported("a continued bit string"));
        }
        Some(TokenKind::Operator) => operator(editor, at, source),
        Some(TokenKind::OtherNumber) => {
            let number = number(source).ok_or(NotAnalysed::Unsupported("so large a number"))?;
            editor.replace(at..at + 1, number);
        }
        _ => (),
    }
    Ok(())
}

/// Rare operators are set apart by blanks: sqlparser's tokenizer swallows a character behind some.
fn operator(editor: &mut Editor<'_, '_>, at: usize, source: &str) {
    const COMMON: &[&str] = &["=", "<", ">", "<=", ">=", "<>", "+", "-", "*", "/", "%"];
    if !COMMON.contains(&source) {
        editor.replace(at..at + 1, format!(" {source} "));
    }
}

/// Every string in the plainest form there is.
fn string(
    editor: &mut Editor<'_, '_>,
    at: usize,
    kind: TokenKind,
    source: &str,
) -> Result<(), NotAnalysed> {
    if kind == TokenKind::UnicodeString && (source.contains('\\') || editor.is(at + 1, "uescape")) {
        // A constant whose value is not worked out.
        let end = if editor.is(at + 1, "uescape") { at + 3 } else { at + 1 };
        editor.replace(at..end.min(editor.tokens.len()), "U&'escaped'");
        return Ok(());
    }
    let value =
        escape::value(kind, source).ok_or(NotAnalysed::Unsupported("a string's escapes"))?;
    let plain = format!("'{}'", value.replace('\'', "''"));
    if plain != source {
        editor.replace(at..at + 1, plain);
    }
    Ok(())
}

/// `0x1F` and `1_000` in plain digits.
fn number(source: &str) -> Option<String> {
    let digits = source.replace('_', "");
    let radix = match digits.get(..2).map(str::to_ascii_lowercase).as_deref() {
        Some("0x") => 16,
        Some("0o") => 8,
        Some("0b") => 2,
        _ => return Some(digits),
    };
    u128::from_str_radix(digits.get(2..)?, radix).ok().map(|number| number.to_string())
}
