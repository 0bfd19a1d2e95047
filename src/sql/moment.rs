//! What time it is, told once for a statement that several servers run.
//!
//! `now()` is one value in all of a transaction. Servers that run parts of one statement have each a
//! transaction of their own, so the value is written into the text.
use super::lexer::{self, Lexer, SyntaxError, Token, TokenKind};
use std::fmt::Write;
use std::ops::Range;

/// Times as PostgreSQL reads them under any setting: `2026-11-22 20:41:07.123456+00`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Moment {
    /// When the transaction began.
    pub transaction: String,
    /// When the statement arrived.
    pub statement: String,
}

/// What asks a server for both: two columns.
pub const QUESTION: &str = "SELECT \
    pg_catalog.to_char(pg_catalog.timezone('UTC', pg_catalog.now()), \
        'YYYY-MM-DD HH24:MI:SS.US+00'), \
    pg_catalog.to_char(pg_catalog.timezone('UTC', pg_catalog.statement_timestamp()), \
        'YYYY-MM-DD HH24:MI:SS.US+00')";

/// A word that tells the time.
struct Teller {
    word: &'static str,
    /// `now()`; the others stand alone, or with a precision.
    call: bool,
    type_name: &'static str,
    of: Of,
}

#[derive(Clone, Copy)]
enum Of {
    Transaction,
    Statement,
}

const TELLERS: &[Teller] = &[
    teller("now", true, "timestamptz", Of::Transaction),
    teller("transaction_timestamp", true, "timestamptz", Of::Transaction),
    teller("statement_timestamp", true, "timestamptz", Of::Statement),
    teller("current_timestamp", false, "timestamptz", Of::Transaction),
    teller("current_date", false, "date", Of::Transaction),
    teller("current_time", false, "timetz", Of::Transaction),
    teller("localtimestamp", false, "timestamp", Of::Transaction),
    teller("localtime", false, "time", Of::Transaction),
];

const fn teller(word: &'static str, call: bool, type_name: &'static str, of: Of) -> Teller {
    Teller { word, call, type_name, of }
}

/// One place where the time is told.
struct Told<'t> {
    /// The position of its last token.
    to: usize,
    teller: &'static Teller,
    precision: &'t str,
}

/// How a text tells the time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Telling {
    Nowhere,
    InExpressions,
    /// As a FROM item, whose columns a written value would not have.
    AsRows,
}

impl Telling {
    /// Of a shape's text; `from`: where its FROM clauses are.
    pub fn of(shape_text: &str, from: &[Range<usize>]) -> Self {
        let tokens: Result<Vec<_>, _> = Lexer::of_shape(shape_text)
            .filter(|token| !token.as_ref().is_ok_and(|token| token.kind.is_blank()))
            .collect();
        let Ok(tokens) = tokens else { return Self::Nowhere };
        let told = (0..tokens.len()).filter(|at| told(shape_text, &tokens, *at).is_some());
        let rows = |at: usize| {
            let inside = tokens.get(at).is_some_and(|t| from.iter().any(|f| f.contains(&t.start)));
            let before = at.checked_sub(1).and_then(|before| tokens.get(before));
            inside
                && before.is_some_and(|before| {
                    let words = ["from", "join", "lateral"];
                    before.kind == TokenKind::Comma
                        || words.iter().any(|word| before.is(shape_text, word))
                })
        };
        told.map(|at| if rows(at) { Self::AsRows } else { Self::InExpressions })
            .max_by_key(|telling| *telling == Self::AsRows)
            .unwrap_or(Self::Nowhere)
    }
}

/// The text with the times written in. The columns keep their names.
pub fn fix(
    text: &str,
    standard_conforming_strings: bool,
    moment: &Moment,
) -> Result<String, SyntaxError> {
    let tokens = lexer::tokens(text, standard_conforming_strings)?;
    let (mut fixed, mut done, mut at) = (String::with_capacity(text.len() + 128), 0, 0);
    while let Some(token) = tokens.get(at) {
        let Some(Told { to, teller, precision }) = told(text, &tokens, at) else {
            at += 1;
            continue;
        };
        let time = match teller.of {
            Of::Transaction => &moment.transaction,
            Of::Statement => &moment.statement,
        };
        fixed.push_str(text.get(done..token.start).unwrap_or(""));
        let (name, type_name) = (teller.word, teller.type_name);
        // A subquery, since its column has a name: an expression would be named for its type.
        let written = write!(
            fixed,
            "(SELECT \"{name}\" FROM (VALUES ((timestamptz '{time}')::pg_catalog.{type_name}\
             {precision})) AS weir_moment (\"{name}\"))"
        );
        debug_assert!(written.is_ok());
        done = tokens.get(to).map_or(done, |last| last.end);
        at = to + 1;
    }
    fixed.push_str(text.get(done..).unwrap_or(""));
    Ok(fixed)
}

/// The time told from a token on, if any.
fn told<'t>(text: &'t str, tokens: &[Token], at: usize) -> Option<Told<'t>> {
    let kind = |at: usize| tokens.get(at).map(|token| token.kind);
    let before = at.checked_sub(1).and_then(|before| tokens.get(before));
    let is_label = before.is_some_and(|before| {
        before.kind == TokenKind::Dot || before.kind == TokenKind::Word && before.is(text, "as")
    });
    if is_label {
        return None;
    }
    let schema = kind(at + 1) == Some(TokenKind::Dot)
        && tokens.get(at).is_some_and(|token| token.is(text, "pg_catalog"));
    let at = if schema { at + 2 } else { at };
    let token = tokens.get(at).filter(|token| token.kind == TokenKind::Word)?;
    let teller = TELLERS.iter().find(|teller| token.is(text, teller.word))?;
    if kind(at + 1) == Some(TokenKind::Dot) || schema && !teller.call {
        return None;
    }
    let opens = kind(at + 1) == Some(TokenKind::OpenParen);
    match (teller.call, opens, kind(at + 2), kind(at + 3)) {
        (true, true, Some(TokenKind::CloseParen), _) => {
            Some(Told { to: at + 2, teller, precision: "" })
        }
        (false, true, Some(TokenKind::Integer), Some(TokenKind::CloseParen)) => {
            let (first, last) = (tokens.get(at + 1)?, tokens.get(at + 3)?);
            Some(Told { to: at + 3, teller, precision: text.get(first.start..last.end)? })
        }
        (false, false, ..) => Some(Told { to: at, teller, precision: "" }),
        (true, ..) | (false, true, ..) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let moment = Moment { transaction: "T".into(), statement: "S".into() };
        let short = |time: &str, name: &str, type_name: &str| {
            format!(
                "(SELECT \"{name}\" FROM (VALUES ((timestamptz '{time}')::pg_catalog.{type_name})) \
                 AS weir_moment (\"{name}\"))"
            )
        };
        let expected = expected
            .replace("<now>", &short("T", "now", "timestamptz"))
            .replace("<statement>", &short("S", "statement_timestamp", "timestamptz"))
            .replace("<date>", &short("T", "current_date", "date"))
            .replace("<time(3)>", &short("T", "localtime", "time(3)"));
        assert_eq!(fix(text, true, &moment).unwrap(), expected);
        let telling = if text == expected { Telling::Nowhere } else { Telling::InExpressions };
        assert_eq!(Telling::of(text, &[]), telling);
    }

    #[test]
    fn the_time_is_written_in_where_it_is_asked_for() {
        check("select now(), pg_catalog.now ( )", "select <now>, <now>");
        check("select x - CURRENT_DATE as d", "select x - <date> as d");
        check("select localtime(3)", "select <time(3)>");
        check("select statement_timestamp() - now()", "select <statement> - <now>");
    }

    #[test]
    fn a_time_in_from_is_told_apart() {
        let text = "select * from t join now() on true where x < now()";
        let from = 9..text.find(" where").unwrap();
        assert_eq!(Telling::of(text, &[from]), Telling::AsRows);
    }

    #[test]
    fn what_only_looks_like_a_time_stays() {
        for text in [
            "select t.now, 'now()', \"now\"(), x as current_date",
            "select now from t",
            "select mine.now()",
        ] {
            check(text, text);
        }
    }
}
