//! What time it is, told once for a statement that several servers run.
//!
//! `now()` is one value in all of a transaction. Servers that run parts of one statement have each a
//! transaction of their own, so the value is written into the text.
use super::lexer::{Lexer, Token, TokenKind};
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

/// One place of a shape's text where the time is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Time {
    /// Bytes of the shape's text.
    pub at: Range<usize>,
    /// Where `(3)` stands, if it does.
    pub precision: Range<usize>,
    teller: &'static Teller,
    /// It stands as a FROM item, whose columns a written value would not have.
    pub is_rows: bool,
}

/// A word that tells the time.
#[derive(PartialEq, Eq, Debug)]
struct Teller {
    word: &'static str,
    /// `now()`; the others stand alone, or with a precision.
    call: bool,
    type_name: &'static str,
    of: Of,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
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

/// Where a statement's FROM and USING clauses stand in its shape's text, also those of its subqueries.
pub fn sources(shape_text: &str) -> Vec<Range<usize>> {
    /// Functions whose arguments have a FROM of their own.
    const SPECIAL: [&str; 5] = ["extract", "substring", "trim", "overlay", "position"];
    const ENDS: [&str; 16] = [
        "where",
        "returning",
        "group",
        "order",
        "having",
        "limit",
        "offset",
        "fetch",
        "union",
        "except",
        "intersect",
        "window",
        "when",
        "for",
        "set",
        "values",
    ];
    let tokens: Vec<Token> = Lexer::of_shape(shape_text)
        .map_while(Result::ok)
        .filter(|token| !token.kind.is_blank())
        .collect();
    let is = |at: usize, words: &[&str]| {
        tokens.get(at).is_some_and(|token| words.iter().any(|word| token.is(shape_text, word)))
    };
    let before = |at: usize, words: &[&str]| at.checked_sub(1).is_some_and(|at| is(at, words));
    let (mut ranges, mut special, mut open) = (Vec::new(), Vec::new(), Vec::new());
    let mut end = |open: &mut Vec<(usize, usize)>, depth: usize, at: usize| {
        while let Some((_, start)) = open.pop_if(|(deep, _)| *deep >= depth) {
            ranges.push(start..at);
        }
    };
    for (at, token) in tokens.iter().enumerate() {
        let depth = special.len();
        match token.kind {
            TokenKind::OpenParen => special.push(before(at, &SPECIAL)),
            TokenKind::CloseParen => {
                end(&mut open, depth, token.start);
                special.pop();
            }
            _ if is(at, &["from", "using"])
                && special.last() != Some(&true)
                && !before(at, &["distinct"]) =>
            {
                open.push((depth, token.end));
            }
            _ if is(at, &ENDS) => end(&mut open, depth, token.start),
            _ => {}
        }
    }
    end(&mut open, 0, shape_text.len());
    ranges
}

/// Where a statement of one server asks what time it is in its transaction.
pub fn of_transaction(shape_text: &str) -> Box<[Time]> {
    let times = times(shape_text, &sources(shape_text));
    times.into_iter().filter(Time::is_of_transaction).collect()
}

/// Where a shape's text asks for the time of its transaction or statement; `from`: its FROM clauses.
pub fn times(shape_text: &str, from: &[Range<usize>]) -> Vec<Time> {
    let tokens: Result<Vec<_>, _> = Lexer::of_shape(shape_text)
        .filter(|token| !token.as_ref().is_ok_and(|token| token.kind.is_blank()))
        .collect();
    let Ok(tokens) = tokens else { return Vec::new() };
    let (mut times, mut at) = (Vec::new(), 0);
    while at < tokens.len() {
        let Some((time, last)) = told(shape_text, &tokens, at) else {
            at += 1;
            continue;
        };
        let inside = from.iter().any(|from| from.contains(&time.at.start));
        let before = at.checked_sub(1).and_then(|before| tokens.get(before));
        let is_rows = inside
            && before.is_some_and(|before| {
                before.kind == TokenKind::Comma
                    || ["from", "using", "join", "lateral"]
                        .iter()
                        .any(|word| before.is(shape_text, word))
            });
        times.push(Time { is_rows, ..time });
        at = last + 1;
    }
    times
}

impl Time {
    /// Not of the statement, which has a time of its own.
    pub fn is_of_transaction(&self) -> bool {
        self.teller.of == Of::Transaction
    }

    /// A subquery, since its column has a name: an expression would be named for its type.
    /// `precision`: the text at that place.
    pub fn written(&self, moment: &Moment, precision: &str) -> String {
        let time = match self.teller.of {
            Of::Transaction => &moment.transaction,
            Of::Statement => &moment.statement,
        };
        let Teller { word, type_name, .. } = self.teller;
        format!(
            "(SELECT \"{word}\" FROM (VALUES ((timestamptz '{time}')::pg_catalog.{type_name}\
             {precision})) AS weir_moment (\"{word}\"))"
        )
    }
}

/// The time told from a token on, if any, and the last of its tokens.
fn told(text: &str, tokens: &[Token], first: usize) -> Option<(Time, usize)> {
    let kind = |at: usize| tokens.get(at).map(|token| token.kind);
    let before = first.checked_sub(1).and_then(|before| tokens.get(before));
    let is_label = before.is_some_and(|before| {
        before.kind == TokenKind::Dot || before.kind == TokenKind::Word && before.is(text, "as")
    });
    if is_label {
        return None;
    }
    let schema = kind(first + 1) == Some(TokenKind::Dot)
        && tokens.get(first).is_some_and(|token| token.is(text, "pg_catalog"));
    let at = if schema { first + 2 } else { first };
    let token = tokens.get(at).filter(|token| token.kind == TokenKind::Word)?;
    let teller = TELLERS.iter().find(|teller| token.is(text, teller.word))?;
    if kind(at + 1) == Some(TokenKind::Dot) || schema && !teller.call {
        return None;
    }
    let opens = kind(at + 1) == Some(TokenKind::OpenParen);
    let (last, precision) = match (teller.call, opens, kind(at + 2), kind(at + 3)) {
        (true, true, Some(TokenKind::CloseParen), _) => (at + 2, 0..0),
        (
            false,
            true,
            Some(TokenKind::Integer | TokenKind::Lifted),
            Some(TokenKind::CloseParen),
        ) => (at + 3, tokens.get(at + 1)?.start..tokens.get(at + 3)?.end),
        (false, false, ..) => (at, 0..0),
        (true, ..) | (false, true, ..) => return None,
    };
    let at = tokens.get(first)?.start..tokens.get(last)?.end;
    Some((Time { at, precision, teller, is_rows: false }, last))
}

/// Whether PostgreSQL could read that text as a time that depends on when it reads it: `now`,
/// `today 10:00`, `[yesterday,)`.
pub fn is_relative(text: &str) -> bool {
    const RELATIVE: [&str; 4] = ["now", "today", "tomorrow", "yesterday"];
    const BESIDE: [&str; 7] = ["allballs", "am", "gmt", "pm", "utc", "z", "zulu"];
    let is = |word: &str, list: &[&str]| list.iter().any(|known| word.eq_ignore_ascii_case(known));
    let mut relative = false;
    for word in text.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty()) {
        match (is(word, &RELATIVE), is(word, &BESIDE)) {
            (true, _) => relative = true,
            (false, true) => {}
            (false, false) => return false,
        }
    }
    relative
}

#[cfg(test)]
mod tests {
    use super::super::rewrite::Template;
    use super::super::shape::shape;
    use super::*;

    #[test]
    fn times_that_depend_on_when_they_are_read_are_known() {
        for text in ["now", " NOW ", "today 10:00", "{now}", "[yesterday,tomorrow 04:05 UTC)"] {
            assert!(is_relative(text), "{text}");
        }
        for text in ["", "2026-11-22", "infinity", "nowhere", "call me today", "utc"] {
            assert!(!is_relative(text), "{text}");
        }
    }

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
        let shape = shape(text, true).unwrap();
        let template = Template::spliced(&shape, &[]).telling(&times(&shape.text, &[]));
        assert_eq!(template.rendered(text, &shape, Some(&moment)).text, expected);
        assert_eq!(template.rendered(text, &shape, None).text, text);
    }

    #[test]
    fn the_time_is_written_in_where_it_is_asked_for() {
        check("select now(), pg_catalog.now ( )", "select <now>, <now>");
        check("select x - CURRENT_DATE as d, 'a'", "select x - <date> as d, 'a'");
        check("select localtime(3)", "select <time(3)>");
        check("select statement_timestamp() - now()", "select <statement> - <now>");
    }

    #[test]
    fn a_time_in_from_is_told_apart() {
        let text = "select * from t join now() on true where x < now()";
        let from = 9..text.find(" where").unwrap();
        let rows: Vec<bool> = times(text, &[from]).iter().map(|time| time.is_rows).collect();
        assert_eq!(rows, [true, false]);
    }

    #[test]
    fn a_time_in_the_from_of_a_write_is_told_apart() {
        for (text, expected) in [
            ("update t set a = n from now() n where b < now()", vec![true, false]),
            (
                "update t set a = extract(day from now()), b = c is distinct from now()",
                vec![false; 2],
            ),
            ("delete from t using u, now() n where u.a = now()", vec![true, false]),
            ("update t set a = (select x from now() x where true), b = now()", vec![true, false]),
            (
                "merge into t using now() n on true when matched then update set a = now()",
                vec![true, false],
            ),
            ("delete from t using (select now()) n", vec![false]),
        ] {
            let rows: Vec<bool> =
                times(text, &sources(text)).iter().map(|time| time.is_rows).collect();
            assert_eq!(rows, expected, "{text}");
        }
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
