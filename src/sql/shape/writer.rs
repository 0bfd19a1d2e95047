//! Writes a shape token by token: which literals are lifted, and what stands between tokens.
use super::words::Word;
use super::{Literal, LiteralKind, Shape, Step};
use crate::sql::hint;
use crate::sql::lexer::{Token, TokenKind};

/// Is this statement one whose literals are lifted?
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lifting {
    /// Only parentheses so far.
    Undecided,
    /// `EXPLAIN`, its options: what follows decides.
    Explain,
    Yes,
    No,
}

/// May literals of this parenthesis be lifted where they stand now?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Context {
    Lift,
    Keep,
}

/// What came before, as far as it decides about the next token.
#[derive(Default)]
struct Seen {
    last: Option<TokenKind>,
    word: Word,
    word_before: Word,
    /// Blanks or comments since the last token.
    gap: bool,
    /// Inside the name of a type (or an alias, which looks alike): a parenthesis holds modifiers.
    in_type: bool,
}

pub struct Writer<'a> {
    text: &'a str,
    shape: &'a mut Shape,
    lifting: Lifting,
    seen: Seen,
    /// How much further the original is than the shape, as the last step has it.
    ahead: Option<isize>,
}

impl<'a> Writer<'a> {
    pub fn new(text: &'a str, shape: &'a mut Shape) -> Self {
        Self { text, shape, lifting: Lifting::Undecided, seen: Seen::default(), ahead: None }
    }

    pub fn add(&mut self, token: Token) {
        if token.kind.is_blank() {
            self.seen.gap = true;
            if token.kind == TokenKind::BlockComment && hint::is_hint(token.text(self.text)) {
                self.write(token, token.text(self.text));
                self.seen.gap = true;
            }
            return;
        }
        let source = token.text(self.text);
        let word = match token.kind {
            TokenKind::Word => Word::of(source),
            _ => Word::Other,
        };
        if matches!(self.lifting, Lifting::Undecided | Lifting::Explain) {
            self.decide(token.kind, word);
        }
        match LiteralKind::of(token, source) {
            Some(kind) if self.liftable() => self.lift(token, kind),
            _ => self.write(token, source),
        }
        self.follow(token.kind, word);
    }

    /// The statement's first words say whether its literals are lifted.
    fn decide(&mut self, kind: TokenKind, word: Word) {
        let depth = self.shape.contexts.len().saturating_sub(1);
        self.lifting = match (self.lifting, kind, word) {
            (Lifting::Undecided, TokenKind::OpenParen, _) => Lifting::Undecided,
            (Lifting::Undecided, _, Word::Query | Word::Values) => Lifting::Yes,
            (Lifting::Undecided, _, Word::Explain) => Lifting::Explain,
            (Lifting::Undecided, ..) => Lifting::No,
            (Lifting::Explain, _, Word::Query | Word::Values)
                if depth == 0 || self.seen.last == Some(TokenKind::OpenParen) =>
            {
                Lifting::Yes
            }
            (Lifting::Explain, TokenKind::Word, Word::Other) if depth == 0 => Lifting::No,
            (lifting, ..) => lifting,
        };
    }

    fn context(&self) -> Context {
        self.shape.contexts.last().copied().unwrap_or(Context::Lift)
    }

    fn set_context(&mut self, context: Context) {
        match self.shape.contexts.last_mut() {
            Some(current) => *current = context,
            None if context == Context::Keep => self.shape.contexts.push(context),
            None => (),
        }
    }

    /// Does a literal stand here as an expression of its own?
    fn liftable(&self) -> bool {
        if self.lifting != Lifting::Yes || self.context() == Context::Keep {
            return false;
        }
        match self.seen.last {
            Some(TokenKind::Word) => matches!(
                self.seen.word,
                Word::Expression | Word::Clause | Word::On | Word::Distinct | Word::Query
            ),
            Some(
                TokenKind::Operator
                | TokenKind::Comma
                | TokenKind::OpenParen
                | TokenKind::OpenBracket
                | TokenKind::Assign,
            ) => true,
            _ => false,
        }
    }

    fn follow(&mut self, kind: TokenKind, word: Word) {
        match kind {
            TokenKind::OpenParen => {
                self.open(self.seen.in_type && self.seen.last != Some(TokenKind::OpenParen))
            }
            TokenKind::OpenBracket => {
                let constructor = self.seen.word == Word::Array
                    || matches!(self.seen.last, Some(TokenKind::OpenBracket | TokenKind::Comma));
                self.open(!constructor);
            }
            TokenKind::CloseParen | TokenKind::CloseBracket => self.close(),
            TokenKind::Word => match word {
                Word::Ordinals | Word::By => self.set_context(Context::Keep),
                Word::Clause | Word::On => self.set_context(Context::Lift),
                Word::Query if self.lifting == Lifting::Yes => self.set_context(Context::Lift),
                Word::Values | Word::Set
                    if self.seen.last != Some(TokenKind::Comma) && self.seen.word != Word::By =>
                {
                    self.set_context(Context::Lift);
                }
                _ => (),
            },
            _ => (),
        }
        let name = kind.is_name() && matches!(word, Word::Other | Word::Modified);
        self.seen.in_type = match kind {
            TokenKind::Cast => true,
            TokenKind::Word if matches!(word, Word::As | Word::Modified) => true,
            TokenKind::Dot => self.seen.in_type,
            _ => self.seen.in_type && name,
        };
        self.seen.word_before = self.seen.word;
        self.seen.word = word;
        self.seen.last = Some(kind);
        self.seen.gap = false;
    }

    /// A parenthesis opens; `strange`: what is in it are modifiers or subscripts.
    fn open(&mut self, strange: bool) {
        // `AS (` opens a query or a column list, never modifiers.
        let modifiers = strange && self.seen.word != Word::As;
        let ordinals = self.seen.word == Word::On && self.seen.word_before == Word::Distinct;
        let context = match modifiers || ordinals {
            true => Context::Keep,
            false => self.context(),
        };
        if self.shape.contexts.is_empty() {
            self.shape.contexts.push(Context::Lift);
        }
        self.shape.contexts.push(context);
    }

    fn close(&mut self) {
        if self.shape.contexts.len() > 1 {
            self.shape.contexts.pop();
        }
    }

    fn write(&mut self, token: Token, source: &str) {
        self.separate(token.kind);
        self.step(token.start);
        // Whoever reads a shape need not know standard_conforming_strings.
        if token.kind == TokenKind::EscapeString && source.starts_with('\'') {
            self.shape.text.push('E');
        }
        self.shape.text.push_str(source);
    }

    fn lift(&mut self, token: Token, kind: LiteralKind) {
        self.separate(token.kind);
        let at = self.shape.text.len();
        self.shape.steps.push(Step { shape: at, original: token.start });
        self.shape.literals.push(Literal { range: token.start..token.end, at, kind });
        self.shape.text.push_str("$L");
        push_number(&mut self.shape.text, self.shape.literals.len());
        // The placeholder is no part of the original, however long it is.
        self.ahead = None;
        self.step(token.end);
    }

    /// One space where there were blanks, or where two tokens would grow together.
    fn separate(&mut self, kind: TokenKind) {
        let Some(last) = self.seen.last else {
            // Only hints come before the first token.
            if self.seen.gap && !self.shape.text.is_empty() {
                self.shape.text.push(' ');
            }
            return;
        };
        let wordy =
            |kind: TokenKind| kind.is_name() || kind.is_literal() || kind == TokenKind::Parameter;
        let operators = last == TokenKind::Operator && kind == TokenKind::Operator;
        if self.seen.gap || operators || (wordy(last) && wordy(kind)) {
            self.shape.text.push(' ');
        }
    }

    /// Remember where the next byte comes from, unless the distance is as before.
    fn step(&mut self, original: usize) {
        let shape = self.shape.text.len();
        let ahead = original as isize - shape as isize;
        if self.ahead != Some(ahead) {
            self.ahead = Some(ahead);
            self.shape.steps.push(Step { shape, original });
        }
    }
}

fn push_number(text: &mut String, number: usize) {
    if number >= 10 {
        push_number(text, number / 10);
    }
    text.push(char::from(b'0' + (number % 10) as u8));
}
