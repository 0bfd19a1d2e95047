//! The tokens of a text, and which of them stand on one level of parentheses.
use super::Bytes;
use crate::sql::lexer::{Lexer, Token, TokenKind};
use std::ops::Range;

/// A text cut into tokens, without blanks.
pub struct Tokens<'a> {
    pub text: &'a str,
    tokens: Vec<Token>,
    /// Of an opening parenthesis or bracket: the token that closes it.
    closing: Vec<usize>,
    /// A word that is a name by its place, after `.` or AS.
    mere: Vec<bool>,
}

impl<'a> Tokens<'a> {
    /// `None`: it is no text of a shape, or its parentheses don't match.
    pub fn of(text: &'a str) -> Option<Self> {
        let tokens = Lexer::of_shape(text)
            .filter(|token| !token.as_ref().is_ok_and(|token| token.kind.is_blank()))
            .collect::<Result<Vec<Token>, _>>()
            .ok()?;
        let mut closing = vec![0; tokens.len()];
        let mut mere = Vec::with_capacity(tokens.len());
        let mut open: Vec<(usize, TokenKind)> = Vec::new();
        let mut name_follows = false;
        for (at, token) in tokens.iter().enumerate() {
            mere.push(name_follows && token.kind == TokenKind::Word);
            name_follows = token.kind == TokenKind::Dot || (!name_follows && token.is(text, "as"));
            match token.kind {
                TokenKind::OpenParen => open.push((at, TokenKind::CloseParen)),
                TokenKind::OpenBracket => open.push((at, TokenKind::CloseBracket)),
                TokenKind::CloseParen | TokenKind::CloseBracket => {
                    let (from, _) = open.pop().filter(|(_, kind)| *kind == token.kind)?;
                    *closing.get_mut(from)? = at;
                }
                TokenKind::Semicolon => return None,
                _ => {}
            }
        }
        open.is_empty().then_some(Self { text, tokens, closing, mere })
    }

    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    pub fn kind(&self, at: usize) -> Option<TokenKind> {
        self.tokens.get(at).map(|token| token.kind)
    }

    pub fn source(&self, at: usize) -> &'a str {
        self.tokens.get(at).map_or("", |token| token.text(self.text))
    }

    /// Is this token the keyword, and no name?
    pub fn is(&self, at: usize, keyword: &str) -> bool {
        self.tokens.get(at).is_some_and(|token| token.is(self.text, keyword))
            && !self.mere.get(at).is_some_and(|mere| *mere)
    }

    pub fn is_any(&self, at: usize, keywords: &[&str]) -> bool {
        keywords.iter().any(|keyword| self.is(at, keyword))
    }

    /// The token that closes the parenthesis or bracket at `at`.
    pub fn closing(&self, at: usize) -> Option<usize> {
        self.closing.get(at).copied().filter(|closing| *closing > at)
    }

    /// The next token on the same level.
    pub fn next(&self, at: usize) -> usize {
        self.closing(at).unwrap_or(at) + 1
    }

    /// The tokens of a range that stand on its own level.
    pub fn level(&self, range: Range<usize>) -> impl Iterator<Item = usize> + '_ {
        let inside = move |at: &usize| *at < range.end;
        std::iter::successors(Some(range.start), |at| Some(self.next(*at))).take_while(inside)
    }

    /// From the first to the last of these tokens; an empty range where there are none.
    pub fn bytes(&self, tokens: Range<usize>) -> Bytes {
        let first = self.tokens.get(tokens.start).map_or(self.text.len(), |token| token.start);
        let last = tokens.end.checked_sub(1).filter(|last| *last >= tokens.start);
        first..last.and_then(|last| self.tokens.get(last)).map_or(first, |token| token.end)
    }

    /// Cut at commas. `None`: one of the parts is empty.
    pub fn list(&self, range: Range<usize>) -> Option<Vec<Range<usize>>> {
        let mut items = Vec::new();
        let mut start = range.start;
        for at in self.level(range.clone()) {
            if self.kind(at) == Some(TokenKind::Comma) {
                items.push(start..at);
                start = at + 1;
            }
        }
        items.push(start..range.end);
        items.iter().all(|item| !item.is_empty()).then_some(items)
    }

    /// The parts of a condition that all must be true, cut at AND. A condition with an OR is one part.
    pub fn conjuncts(&self, range: Range<usize>) -> Option<Vec<Range<usize>>> {
        let mut parts = Vec::new();
        let (mut start, mut case, mut between) = (range.start, 0usize, 0usize);
        for at in self.level(range.clone()) {
            if self.is(at, "case") {
                case += 1;
            } else if self.is(at, "end") {
                case = case.checked_sub(1)?;
            } else if case > 0 {
            } else if self.is(at, "or") {
                return Some(vec![range]);
            } else if self.is(at, "between") {
                between += 1;
            } else if self.is(at, "and") && between > 0 {
                between -= 1;
            } else if self.is(at, "and") {
                parts.push(start..at);
                start = at + 1;
            }
        }
        parts.push(start..range.end);
        (case == 0 && parts.iter().all(|part| !part.is_empty())).then_some(parts)
    }
}
