//! A statement without its constants: what a plan is cached by.
//!
//! [`shape`] lifts the literals out of a query (SELECT, INSERT, UPDATE, DELETE, MERGE, VALUES, WITH,
//! EXPLAIN of these) and writes `$L1`, `$L2` … in their place, drops comments (except hints) and
//! reduces blanks to single spaces. PostgreSQL has no token `$L1`, and the lexer refuses it, so no
//! client can write one. sqlparser reads it as a placeholder.
//!
//! Invariant: equal shape text and equal literals (kind and text) mean the same, under the same
//! standard_conforming_strings; a shape's own text reads as with it on. Lifting less is always safe: what is not surely a plain constant
//! expression stays in the text. These stay: ordinals of ORDER BY, GROUP BY and DISTINCT ON; LIMIT,
//! OFFSET, FETCH; typed literals (`date '…'`, `interval '…'`), type modifiers, subscripts, window
//! frames; `U&''`, `B''`, `X''`, `N''` and continued strings; `0x1F` and `1_000`.
//!
//! The cost is one pass and, with a reused [`Shape`], no allocation.
//!
//! - here: the shape, and where its parts stand in the original · `writer`: makes it · `words`: keywords
mod words;
mod writer;
#[cfg(test)]
mod tests;

use super::escape;
use super::lexer::{Lexer, SyntaxError, Token, TokenKind};
use std::borrow::Cow;
use std::ops::Range;
use writer::{Context, Writer};

/// A statement's text without its literals.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Shape {
    pub text: String,
    /// In the order of their placeholders: `$L1` is the first.
    pub literals: Vec<Literal>,
    steps: Vec<Step>,
    contexts: Vec<Context>,
}

/// A constant that was lifted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Literal {
    /// In the original text.
    pub range: Range<usize>,
    /// Where its placeholder begins in the shape's text.
    pub at: usize,
    pub kind: LiteralKind,
}

/// How a lifted constant is written, which decides the type that PostgreSQL gives it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum LiteralKind {
    /// Decimal digits: integer, bigint or, from 2^63 on, numeric. A minus is an operator before it.
    Integer,
    /// With point or exponent: numeric.
    Decimal,
    /// `'…'`: of unknown type, no escapes.
    String,
    /// `E'…'`, or `'…'` while standard_conforming_strings is off.
    EscapeString,
    /// `$tag$…$tag$`.
    DollarString,
}

/// From byte `shape` on, the shape's text is the original's from byte `original` on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Step {
    shape: usize,
    original: usize,
}

/// Lift the literals of one statement. Semicolons at its end are dropped.
pub fn shape(text: &str, standard_conforming_strings: bool) -> Result<Shape, SyntaxError> {
    let mut shape = Shape::default();
    shape_into(text, standard_conforming_strings, &mut shape)?;
    Ok(shape)
}

/// [`shape`] into a buffer that is used again and again.
pub fn shape_into(
    text: &str,
    standard_conforming_strings: bool,
    shape: &mut Shape,
) -> Result<(), SyntaxError> {
    shape.clear();
    // Mostly it gets shorter.
    shape.text.reserve(text.len());
    let mut writer = Writer::new(text, shape);
    for token in Lexer::new(text, standard_conforming_strings) {
        writer.add(token?);
    }
    while shape.text.ends_with([';', ' ']) {
        shape.text.pop();
    }
    Ok(())
}

/// The number of a literal's placeholder, from 0: `$L1` is 0. `None`: not one of ours.
pub fn placeholder(text: &str) -> Option<usize> {
    text.strip_prefix("$L")?.parse::<usize>().ok()?.checked_sub(1)
}

impl Shape {
    /// Empty it, keeping its buffers.
    pub fn clear(&mut self) {
        self.text.clear();
        self.literals.clear();
        self.steps.clear();
        self.contexts.clear();
    }

    /// The byte of the original text that stands for byte `at` of the shape's text. Inside a
    /// placeholder: the literal's beginning.
    pub fn original_offset(&self, at: usize) -> usize {
        let next = self.steps.partition_point(|step| step.shape <= at);
        let Some(step) = next.checked_sub(1).and_then(|last| self.steps.get(last)) else {
            return 0;
        };
        let literal = self.literals.binary_search_by_key(&step.shape, |literal| literal.at);
        match literal {
            Ok(_) => step.original,
            Err(_) => step.original + (at - step.shape),
        }
    }

    /// The byte of the original text behind what ends at byte `end` of the shape's text.
    pub fn original_end(&self, end: usize) -> usize {
        let Some(last) = end.checked_sub(1) else { return 0 };
        let before = self.literals.partition_point(|literal| literal.at <= last);
        let literal = before.checked_sub(1).and_then(|index| self.literals.get(index));
        match literal {
            Some(literal) if literal.at + placeholder_length(before) >= end => literal.range.end,
            _ => self.original_offset(last) + 1,
        }
    }
}

/// Of the placeholder of that number, from 1.
fn placeholder_length(number: usize) -> usize {
    "$L".len() + number.checked_ilog10().map_or(1, |digits| digits as usize + 1)
}

impl Literal {
    /// The literal as written.
    pub fn source<'a>(&self, original: &'a str) -> &'a str {
        original.get(self.range.clone()).unwrap_or("")
    }

    /// What it stands for: a number as written, a string without quotes and escapes. `None`: an
    /// escape that PostgreSQL would refuse, or that makes bytes which are not UTF-8.
    pub fn value<'a>(&self, original: &'a str) -> Option<Cow<'a, str>> {
        let source = self.source(original);
        match self.kind {
            LiteralKind::Integer | LiteralKind::Decimal => Some(Cow::Borrowed(source)),
            LiteralKind::String => escape::value(TokenKind::String, source),
            LiteralKind::EscapeString => escape::value(TokenKind::EscapeString, source),
            LiteralKind::DollarString => escape::value(TokenKind::DollarString, source),
        }
    }
}

impl LiteralKind {
    /// `None`: a literal that is never lifted.
    fn of(token: Token, source: &str) -> Option<Self> {
        match token.kind {
            TokenKind::Integer => Some(Self::Integer),
            TokenKind::Decimal => Some(Self::Decimal),
            TokenKind::DollarString => Some(Self::DollarString),
            // A line end may mean that the string goes on after a gap: rare, so not looked into.
            TokenKind::String if !source.contains(['\n', '\r']) => Some(Self::String),
            TokenKind::EscapeString if !source.contains(['\n', '\r']) => Some(Self::EscapeString),
            _ => None,
        }
    }
}
