//! What applications send must parse, and must not be read as something else.
use super::{NotAnalysed, RowLock, for_analysis};
use crate::sql::shape::shape;
use crate::sql::split::split;
use crate::sql::verb::{Verb, classify};
use proptest::prelude::*;
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

/// Parsed and printed again by sqlparser (never done outside of tests), or why not.
fn parse(sql: &str) -> Result<String, String> {
    let shape = shape(sql, true).unwrap();
    let analysis = for_analysis(&shape.text).map_err(|error| format!("{error:?}"))?;
    let parser = Parser::new(&PostgreSqlDialect {}).with_recursion_limit(200);
    let mut parser = parser.try_with_sql(&analysis.text).map_err(|error| error.to_string())?;
    let statements = parser.parse_statements();
    let statements = statements.map_err(|error| format!("{error}\n    {}", analysis.text))?;
    assert_eq!(statements.len(), 1, "{sql}");
    Ok(statements[0].to_string())
}

fn statements(text: &'static str) -> Vec<&'static str> {
    let found: Vec<_> = split(text, true).unwrap().into_iter().map(|range| &text[range]).collect();
    assert!(found.len() > 10, "a corpus that is not read would pass vacuously");
    found
}

#[test]
fn what_applications_send_parses() {
    let mut failures = Vec::new();
    for sql in statements(include_str!("../corpus/parsed.sql")) {
        failures.extend(parse(sql).err().map(|error| format!("{sql}\n    {error}")));
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

#[test]
fn what_does_not_parse_is_known_by_its_first_words() {
    for sql in statements(include_str!("../corpus/unparsed.sql")) {
        assert!(parse(sql).is_err(), "parses now, so it belongs to parsed.sql: {sql}");
        assert!(!matches!(classify(sql), Verb::Unknown | Verb::Empty), "{sql}");
    }
}

#[track_caller]
fn check(sql: &str, expected: &str) {
    assert_eq!(parse(sql).as_deref(), Ok(expected));
}

#[test]
fn only_is_never_taken_for_a_table() {
    check("select a from only t", "SELECT a FROM t");
    check("select a from only (s.t) as x, only u", "SELECT a FROM s.t AS x, u");
    check("update only t set a = b", "UPDATE t SET a = b");
    check("delete from only t", "DELETE FROM t");
    check("select a from t * where b", "SELECT a FROM t WHERE b");
}

#[test]
fn a_table_command_is_a_select() {
    check("table s.t order by 1", "SELECT * FROM s.t ORDER BY 1");
    check("insert into t table u", "INSERT INTO t SELECT * FROM u");
    check("insert into t (a) table only u", "INSERT INTO t (a) SELECT * FROM u");
}

#[test]
fn what_is_not_understood_proves_nothing() {
    check("select a between symmetric b and c", "SELECT a BETWEEN b AND c");
    check("select a::text collate \"C\" = b", "SELECT a::TEXT || weir_opaque() = b");
    check("select a is not document", "SELECT a = weir_opaque()");
    check("select json_value(a, '$' returning int)", "SELECT weir_opaque()");
    check("select (f(x)).*", "SELECT (f(x)), *");
}

#[test]
fn null_tests_are_no_aliases() {
    check("select a isnull, b notnull, c.isnull", "SELECT a IS NULL, b IS NOT NULL, c.isnull");
}

#[test]
fn a_name_that_sqlparser_takes_for_a_keyword_hides_no_table() {
    check("select interval from t", "SELECT \"interval\" FROM t");
    check("select a and from t", "SELECT a AS \"and\" FROM t");
    check("select a like, b from t", "SELECT a AS \"like\", b FROM t");
    check("select a end from t", "SELECT a AS \"end\" FROM t");
    check(
        "select case when a then b end end from t",
        "SELECT CASE WHEN a THEN b END AS \"end\" FROM t",
    );
    check("select a::text collate from t", "SELECT a::TEXT AS \"collate\" FROM t");
    check("insert into local (a) table t", "INSERT INTO \"local\" (a) SELECT * FROM t");
    check("select a xor from t", "SELECT a AS \"xor\" FROM t");
    check("select a from t semi join u on true", "SELECT a FROM t \"semi\" JOIN u ON true");
    check("select a from t partition (x, y)", "SELECT a FROM t \"partition\" (x, y)");
    check("select a from t pivot", "SELECT a FROM t \"pivot\"");
    check("select interval '1 day', a::interval", "SELECT INTERVAL '1 day', a::INTERVAL");
    check("select sum(a) over (partition by b)", "SELECT sum(a) OVER (PARTITION BY b)");
}

#[test]
fn blanks_beyond_ascii_are_letters_as_in_postgresql() {
    check("select a\u{a0}b, Größe", "SELECT \"a\u{a0}b\", \"größe\"");
}

#[test]
fn strings_have_one_spelling() {
    check(r"select date E'a\'b', date $$it's$$", "SELECT DATE 'a''b', DATE 'it''s'");
    check("select '1'\n'2'", "SELECT '12'");
}

#[test]
fn a_subquery_never_disappears() {
    for sql in [
        "select xmlforest((select a from t))",
        "select json_object('a': (table t))",
        "insert into t values (1) on conflict (a, (select b from u)) do nothing",
        "copy t from stdin where a = (select 1)",
    ] {
        let shape = shape(sql, true).unwrap();
        let analysis = for_analysis(&shape.text);
        assert!(matches!(analysis, Err(NotAnalysed::Unsupported(_))), "{sql}: {analysis:?}");
    }
}

#[test]
fn locks_and_cursors_are_noted() {
    let notes = |sql: &str| for_analysis(sql).unwrap().notes;
    let locks = notes("select a from t, u for no key update of t for key share of s.u nowait");
    assert_eq!(locks.row_lock, Some(RowLock::NoKeyUpdate));
    assert_eq!(locks.locked, ["t", "u"]);
    assert_eq!(notes("select a from t for share of t for update").locked, [""; 0]);
    assert_eq!(notes("select a from t for read only").row_lock, None);
    assert_eq!(notes("delete from t where current of C").current_of.as_deref(), Some("c"));
    assert!(notes("select a from only t").only);
}

/// Strings, names, numbers and punctuation of a text as sqlparser's tokenizer sees them.
fn seen_by_sqlparser(text: &str) -> Option<Vec<String>> {
    use sqlparser::tokenizer::{Token, Tokenizer, Whitespace};
    let tokens =
        Tokenizer::new(&PostgreSqlDialect {}, text).with_unescape(false).tokenize().ok()?;
    let seen = tokens.into_iter().filter_map(|token| match token {
        Token::Word(word) => Some(word.to_string()),
        Token::SingleQuotedString(inside) => Some(format!("'{inside}'")),
        Token::NationalStringLiteral(inside) => Some(format!("N'{inside}'")),
        Token::Number(digits, _) | Token::Placeholder(digits) => Some(digits),
        Token::LParen => Some("(".into()),
        Token::RParen => Some(")".into()),
        Token::Comma => Some(",".into()),
        Token::SemiColon => Some(";".into()),
        Token::LBracket => Some("[".into()),
        Token::RBracket => Some("]".into()),
        Token::Whitespace(Whitespace::MultiLineComment(_)) => None,
        Token::Whitespace(_) => None,
        // Operators are parted in their own way; what matters is that they swallow nothing.
        Token::EOF => None,
        Token::SingleQuotedByteStringLiteral(inside) => Some(format!("B'{inside}'")),
        Token::HexStringLiteral(inside) => Some(format!("X'{inside}'")),
        // One with escapes is no value to anybody.
        Token::UnicodeStringLiteral(inside) => Some(format!("U&'{inside}'")),
        Token::EscapedStringLiteral(_)
        | Token::DollarQuotedString(_)
        | Token::DoubleQuotedString(_) => Some(format!("unexpected {token}")),
        _ => None,
    });
    Some(seen.collect())
}

fn seen_by_postgresql(text: &str) -> Vec<String> {
    use crate::sql::lexer::{Lexer, TokenKind};
    let tokens = Lexer::of_shape(text).map(Result::unwrap);
    let shown = tokens.filter(|token| {
        !token.kind.is_blank()
            && !matches!(
                token.kind,
                TokenKind::Operator
                    | TokenKind::Cast
                    | TokenKind::Assign
                    | TokenKind::Dot
                    | TokenKind::Colon
            )
    });
    shown
        .map(|token| match token.kind {
            // The prefix in upper case.
            TokenKind::BitString | TokenKind::HexString | TokenKind::NationalString => {
                let (prefix, rest) = token.text(text).split_at(1);
                prefix.to_uppercase() + rest
            }
            _ => token.text(text).to_owned(),
        })
        .collect()
}

proptest! {
    /// A difference here would let a statement be routed by a text that PostgreSQL does not run.
    #[test]
    fn sqlparser_sees_the_same_tokens(
        pieces in prop::collection::vec(
            prop::sample::select(vec![
                "select ", "a", " b ", "'it''s'", "E'\\''", "E'\\n'", "'\\'", "5", "1.5 ", "1e5", "(", ")",
                ",", "+", "-", "<", ">", "=", "::int", " order by ", "limit ", "/* c */", "-- c\n",
                "\n", "[", "]", "$1 ", "\"q\"", "\"a\"\"b\"", "$$d'd$$", "$t$ ' $t$", " é", "\u{a0}", ".",
                "in", "@", "#", "?", "|", "!", "~", "*", "/", "%", "^", "&", "`", ":", "N'x'", "B'1'",
                "X'1f'", "U&'x'", "0x1f ", "1_0 ", "date '\\a'", "_a$b", "'x'\n'y'", "/", "*", " ",
            ]),
            0..15,
        )
    ) {
        let text = format!("select {}", pieces.concat());
        let Ok(shape) = shape(&text, true) else { return Ok(()) };
        let Ok(analysis) = for_analysis(&shape.text) else { return Ok(()) };
        let Some(seen) = seen_by_sqlparser(&analysis.text) else { return Ok(()) };
        prop_assert_eq!(seen, seen_by_postgresql(&analysis.text), "{}", analysis.text);
    }
}

#[test]
fn places_are_found_again_in_the_shape() {
    let shape = "select a from only t where b isnull and c = $L1";
    let analysis = for_analysis(shape).unwrap();
    for word in ["select", "a", "t", "where", "and", "c", "$L1"] {
        let word = format!(" {word}");
        let Some(at) = analysis.text.find(&word) else { continue };
        assert_eq!(analysis.shape_offset(at), shape.find(&word).unwrap(), "{word}");
    }
}
