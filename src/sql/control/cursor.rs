//! Walks the tokens of one statement.
use crate::sql::escape;
use crate::sql::lexer::{self, Lexer, SyntaxError, Token, TokenKind};

/// The statement's first word, if it begins with one.
pub fn first_word(text: &str) -> Option<&str> {
    // A word reads the same whatever standard_conforming_strings says.
    let token = Lexer::new(text, true).find(|token| match token {
        Ok(token) => !token.kind.is_blank(),
        Err(_) => true,
    })?;
    let token = token.ok()?;
    (token.kind == TokenKind::Word).then(|| token.text(text))
}

pub struct Cursor<'a> {
    text: &'a str,
    tokens: Vec<Token>,
    at: usize,
}

impl<'a> Cursor<'a> {
    pub fn new(text: &'a str, standard_conforming_strings: bool) -> Result<Self, SyntaxError> {
        let mut tokens = lexer::tokens(text, standard_conforming_strings)?;
        while tokens.last().is_some_and(|token| token.kind == TokenKind::Semicolon) {
            tokens.pop();
        }
        Ok(Self { text, tokens, at: 0 })
    }

    /// The token `ahead` of the next one.
    pub fn look(&self, ahead: usize) -> Option<Token> {
        self.tokens.get(self.at + ahead).copied()
    }

    pub fn next(&mut self) -> Option<Token> {
        let token = self.look(0)?;
        self.at += 1;
        Some(token)
    }

    pub fn source(&self, token: Token) -> &'a str {
        token.text(self.text)
    }

    pub fn at_end(&self) -> bool {
        self.look(0).is_none()
    }

    /// Is the token `ahead` of the next one this keyword?
    pub fn sees(&self, ahead: usize, keyword: &str) -> bool {
        self.look(ahead).is_some_and(|token| token.is(self.text, keyword))
    }

    pub fn sees_kind(&self, ahead: usize, kind: TokenKind) -> bool {
        self.look(ahead).is_some_and(|token| token.kind == kind)
    }

    pub fn sees_operator(&self, ahead: usize, operator: &str) -> bool {
        self.look(ahead).is_some_and(|token| {
            token.kind == TokenKind::Operator && self.source(token) == operator
        })
    }

    /// Pass these keywords if they all come next.
    pub fn take(&mut self, keywords: &[&str]) -> bool {
        let all = keywords.iter().enumerate().all(|(ahead, keyword)| self.sees(ahead, keyword));
        if all {
            self.at += keywords.len();
        }
        all
    }

    pub fn take_kind(&mut self, kind: TokenKind) -> bool {
        let found = self.sees_kind(0, kind);
        self.at += found as usize;
        found
    }

    pub fn expect(&mut self, keyword: &str) -> Result<(), SyntaxError> {
        match self.take(&[keyword]) {
            true => Ok(()),
            false => Err(self.unexpected()),
        }
    }

    pub fn expect_end(&self) -> Result<(), SyntaxError> {
        match self.at_end() {
            true => Ok(()),
            false => Err(self.unexpected()),
        }
    }

    /// A name, folded to lower case unless quoted.
    pub fn name(&mut self) -> Result<String, SyntaxError> {
        let name = self.look(0).and_then(|token| lexer::name(token, self.text));
        let name = name.ok_or_else(|| self.unexpected())?;
        self.at += 1;
        Ok(name)
    }

    /// A string constant's value.
    pub fn string(&mut self) -> Result<String, SyntaxError> {
        let token = self.look(0).ok_or_else(|| self.unexpected())?;
        let value = escape::value(token.kind, self.source(token));
        let value = value.ok_or_else(|| self.unexpected())?;
        self.at += 1;
        Ok(value.into_owned())
    }

    /// What PostgreSQL says about the next token.
    pub fn unexpected(&self) -> SyntaxError {
        match self.look(0) {
            Some(token) => SyntaxError::near("syntax error", self.text, token.start, token.end),
            None => SyntaxError::near("syntax error", self.text, self.text.len(), self.text.len()),
        }
    }

    /// The original text from the next token to the statement's end.
    pub fn rest(&self) -> String {
        let (Some(first), Some(last)) = (self.look(0), self.tokens.last()) else {
            return String::new();
        };
        self.text.get(first.start..last.end).unwrap_or("").to_owned()
    }

    /// The same without comments.
    pub fn rest_in_words(&self) -> String {
        let mut words = String::new();
        let mut before = None;
        for token in self.tokens.iter().skip(self.at) {
            if before.is_some_and(|end| end < token.start) {
                words.push(' ');
            }
            words.push_str(token.text(self.text));
            before = Some(token.end);
        }
        words
    }

    /// What stands in the parenthesis that opens next, parted at its own commas.
    pub fn parenthesised(&mut self) -> Result<Vec<String>, SyntaxError> {
        if !self.take_kind(TokenKind::OpenParen) {
            return Err(self.unexpected());
        }
        let (mut items, mut start, mut depth) = (Vec::new(), None, 0usize);
        loop {
            let Some(token) = self.look(0) else { return Err(self.unexpected()) };
            let closes = depth == 0 && token.kind == TokenKind::CloseParen;
            if closes || (depth == 0 && token.kind == TokenKind::Comma) {
                let Some((from, to)) = start.take() else { return Err(self.unexpected()) };
                items.push(self.text.get(from..to).unwrap_or("").to_owned());
                self.at += 1;
                if closes {
                    return Ok(items);
                }
                continue;
            }
            match token.kind {
                TokenKind::OpenParen | TokenKind::OpenBracket => depth += 1,
                TokenKind::CloseParen | TokenKind::CloseBracket => depth = depth.saturating_sub(1),
                _ => (),
            }
            start = Some((start.map_or(token.start, |(from, _)| from), token.end));
            self.at += 1;
        }
    }
}
