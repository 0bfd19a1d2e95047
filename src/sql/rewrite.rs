//! Change a statement by splicing into its ORIGINAL text.
//!
//! Printing a parsed tree loses quotes, escapes and meaning, so nothing is ever printed: what runs
//! is what the client wrote, with a few bytes exchanged between two tokens.
use super::lexer::{Lexer, SyntaxError, TokenKind};
use super::moment::{Moment, Time};
use super::shape::Shape;
use crate::error::{Error, SqlState};
use std::borrow::Cow;
use std::ops::Range;

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

/// Another text made of pieces of a statement's own.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Template(pub Vec<Piece>);

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Piece {
    /// These bytes of the statement's *shape*: the original's text there.
    Range(Range<usize>),
    Text(String),
    /// The original's text, or the time that it asks for.
    Time(Time),
}

impl Template {
    pub fn text(&mut self, text: impl Into<String>) {
        self.0.push(Piece::Text(text.into()));
    }

    pub fn range(&mut self, range: Range<usize>) {
        self.0.push(Piece::Range(range));
    }

    /// The whole statement with the splices done. They are ascending and don't overlap.
    pub fn spliced(shape: &Shape, splices: &[Splice]) -> Self {
        let mut template = Self::default();
        let mut done = 0;
        for splice in splices {
            template.range(done..splice.at);
            template.text(splice.insert.as_str());
            done = splice.at + splice.remove;
        }
        template.range(done..shape.text.len());
        template
    }

    /// The same, with the times apart.
    pub fn telling(self, times: &[Time]) -> Self {
        let mut template = Self::default();
        for piece in self.0 {
            let Piece::Range(range) = piece else {
                template.0.push(piece);
                continue;
            };
            let mut done = range.start;
            let inside = |time: &&Time| range.start <= time.at.start && time.at.end <= range.end;
            for time in times.iter().filter(inside) {
                template.range(done..time.at.start);
                template.0.push(Piece::Time(time.clone()));
                done = time.at.end;
            }
            template.range(done..range.end);
        }
        template
    }

    pub fn render(&self, original: &str, shape: &Shape) -> String {
        self.rendered(original, shape, None).text
    }

    /// `moment`: what time it is, where that is one for all who are asked.
    pub fn rendered(&self, original: &str, shape: &Shape, moment: Option<&Moment>) -> Rendered {
        let mut rendered = Rendered::default();
        rendered.text.reserve(original.len() + 64);
        for piece in &self.0 {
            let range = match (piece, moment) {
                (Piece::Range(range), _) => range,
                (Piece::Time(time), None) => &time.at,
                (Piece::Time(time), Some(moment)) => {
                    let mut precision = Self::default();
                    precision.range(time.precision.clone());
                    let precision = precision.render(original, shape);
                    rendered.text.push_str(&time.written(moment, &precision));
                    continue;
                }
                (Piece::Text(text), _) => {
                    rendered.text.push_str(text);
                    continue;
                }
            };
            // A gap may be a comment in the original: the range ends before it.
            let part = shape.text.get(range.clone()).unwrap_or("");
            let tokens = part.trim_end_matches(' ');
            if !tokens.is_empty() {
                let from = shape.original_offset(range.start);
                let to = shape.original_end(range.start + tokens.len());
                rendered.copies.push((rendered.text.len(), from));
                rendered.text.push_str(original.get(from..to).unwrap_or(""));
            }
            if tokens.len() < part.len() {
                rendered.text.push(' ');
            }
        }
        rendered
    }
}

/// What a template has become, and what of it is the original's.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Rendered {
    pub text: String,
    /// Where each piece of the original begins, here and there.
    copies: Vec<(usize, usize)>,
}

impl Rendered {
    /// The original as it is.
    pub fn whole(original: &str) -> Self {
        Self { text: original.to_owned(), copies: vec![(0, 0)] }
    }

    /// Nothing of it is the original's.
    pub fn foreign(text: String) -> Self {
        Self { text, copies: Vec::new() }
    }

    /// Where in the original a position of this text comes from; both in characters, from 1.
    pub fn position(&self, original: &str, there: i32) -> i32 {
        let skipped = usize::try_from(there.saturating_sub(1)).unwrap_or_default();
        let at = self.text.char_indices().nth(skipped).map_or(self.text.len(), |(at, _)| at);
        let before = original.get(..self.origin(at)).unwrap_or(original);
        i32::try_from(before.chars().count()).unwrap_or(i32::MAX - 1) + 1
    }

    /// Where in the original the byte `at` comes from. In text that is not the original's it is
    /// counted on from the piece before.
    pub fn origin(&self, at: usize) -> usize {
        let next = self.copies.partition_point(|(here, _)| *here <= at);
        let before = next.checked_sub(1).and_then(|index| self.copies.get(index));
        before.map_or(0, |(here, there)| there + at - here)
    }
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
    fn a_template_puts_the_originals_pieces_together() {
        let original = "select /* c */ 'it''s',  x from t where y = 42 and 'ü' = z";
        let shape = shape(original, true).unwrap();
        let find = |text: &str| {
            let at = shape.text.find(text).unwrap();
            at..at + text.len()
        };
        let template = Template(vec![
            Piece::Text("select ".into()),
            Piece::Range(find("x from t")),
            Piece::Text(" where ".into()),
            Piece::Range(find("$L3 = z")),
            Piece::Text(" or ".into()),
            Piece::Range(find("y = $L2")),
            Piece::Text(" or ".into()),
            Piece::Range(find("$L1")),
        ]);
        let rendered = template.render(original, &shape);
        assert_eq!(rendered, "select x from t where 'ü' = z or y = 42 or 'it''s'");
        let rendered = |original: &str, piece: &str| {
            let shape = super::super::shape::shape(original, true).unwrap();
            let at = shape.text.find(piece).unwrap();
            Template(vec![Piece::Range(at..at + piece.len())]).render(original, &shape)
        };
        assert_eq!(rendered("select x--c\nfrom t", "select x "), "select x ");
        assert_eq!(rendered("select x--c\nfrom t", " from t"), "--c\nfrom t");
        assert_eq!(Template::spliced(&shape, &[]).render(original, &shape), original);
        let rendered = template.rendered(original, &shape, None);
        let origin = |text: &str| Some(rendered.origin(rendered.text.find(text).unwrap()));
        for text in ["from", "42", "'it", "'ü"] {
            assert_eq!(origin(text), original.find(text), "{text}");
        }
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
