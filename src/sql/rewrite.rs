//! Change a statement by splicing into its ORIGINAL text.
//!
//! Printing a parsed tree loses quotes, escapes and meaning, so nothing is ever printed: what runs
//! is what the client wrote, with a few bytes exchanged between two tokens.
use super::lexer::{Lexer, SyntaxError, TokenKind};
use super::shape::Shape;
use crate::error::{Error, SqlState};
use std::borrow::Cow;

/// Replace `remove` bytes at byte `at` of the statement's *shape* by `insert`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Splice {
    pub at: usize,
    pub remove: usize,
    pub insert: String,
}

/// The original text with the splices done. They are ascending and don't overlap.
pub fn apply<'a>(original: &'a str, shape: &Shape, splices: &[Splice]) -> Cow<'a, str> {
    if splices.is_empty() {
        return Cow::Borrowed(original);
    }
    let added: usize = splices.iter().map(|splice| splice.insert.len()).sum();
    let mut text = String::with_capacity(original.len() + added);
    let mut done = 0;
    for splice in splices {
        let from = shape.original_offset(splice.at);
        let to = match splice.remove {
            0 => from,
            remove => shape.original_offset(splice.at + remove),
        };
        debug_assert!(from >= done && to >= from, "splices ascend and don't overlap");
        text.push_str(original.get(done..from).unwrap_or(""));
        text.push_str(&splice.insert);
        done = to;
    }
    text.push_str(original.get(done..).unwrap_or(""));
    Cow::Owned(text)
}

/// Put an argument's text, in parentheses, in the place of each `$n`.
pub fn substitute_parameters(
    text: &str,
    standard_conforming_strings: bool,
    arguments: &[String],
) -> Result<String, Error> {
    let mut result = String::with_capacity(text.len() + 16 * arguments.len());
    for token in Lexer::new(text, standard_conforming_strings) {
        let token = token.map_err(|error: SyntaxError| Error::from(error))?;
        let source = token.text(text);
        if token.kind != TokenKind::Parameter {
            result.push_str(source);
            continue;
        }
        let number = source.get(1..).and_then(|digits| digits.parse::<usize>().ok());
        let argument = number.and_then(|number| arguments.get(number.checked_sub(1)?));
        let argument = argument.ok_or_else(|| {
            Error::client(SqlState(*b"42P02"), format!("there is no parameter {source}"))
        })?;
        result.push('(');
        result.push_str(argument);
        // A line comment at the argument's end must not hide the parenthesis.
        result.push_str("\n)");
    }
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::super::shape::shape;
    use super::*;

    fn check(original: &str, at: &str, remove: usize, insert: &str, expected: &str) {
        let shape = shape(original, true).unwrap();
        let at = shape.text.find(at).unwrap();
        let splice = Splice { at, remove, insert: insert.to_owned() };
        assert_eq!(apply(original, &shape, &[splice]), expected);
    }

    #[test]
    fn a_splice_lands_between_the_same_tokens_of_the_original() {
        check(
            "insert  into /* c */ orders\n values ('it''s', 42)",
            " values",
            0,
            " (a, b)",
            "insert  into /* c */ orders (a, b)\n values ('it''s', 42)",
        );
    }

    #[test]
    fn a_whole_literal_can_be_replaced() {
        check("select  'a long one' ,2", "$L1", 3, "7", "select  7 ,2");
    }

    #[test]
    fn nothing_to_splice_borrows_the_text() {
        let shape = shape("select 1", true).unwrap();
        assert!(matches!(apply("select 1", &shape, &[]), Cow::Borrowed(_)));
    }

    #[test]
    fn parameters_are_replaced_but_not_inside_strings() {
        let arguments = ["-1".to_owned(), "'x' -- c".to_owned()];
        let text = substitute_parameters("select '$1', 3 -$1, $2::text", true, &arguments).unwrap();
        assert_eq!(text, "select '$1', 3 -(-1\n), ('x' -- c\n)::text");
        assert!(substitute_parameters("select $3", true, &arguments).is_err());
    }
}
