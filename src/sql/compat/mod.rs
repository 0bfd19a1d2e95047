//! Bring legal PostgreSQL that sqlparser cannot parse, or would misread, into a form that it can.
//!
//! The result is for analysis only, never sent to a server: it must say the same as the shape as far
//! as routing is concerned. What is taken away and matters is kept in [`Notes`]; an expression that
//! sqlparser has no words for becomes [`OPAQUE`]; whatever might hide a table is refused.
//!
//! - `spelling`: names, strings and numbers
//! - `names`: names that are keywords to sqlparser only
//! - `tables`: `TABLE t`, `ONLY t`, `ROWS FROM`, column definitions
//! - `expressions`: BETWEEN SYMMETRIC, COLLATE, ISNULL, JSON and XML constructors …
//! - `clauses`: row locks, SEARCH and CYCLE, window frames, GROUP BY
//! - `writes`: ON CONFLICT, OVERRIDING, assignments, CURRENT OF, MERGE, COPY
//! - `corpus`: the statements that applications send, all parsed
mod clauses;
#[cfg(test)]
mod corpus;
mod expressions;
mod names;
mod spelling;
mod tables;
mod writes;

use super::lexer::{Lexer, SyntaxError, Token, TokenKind};
use super::verb::{self, Verb};
use crate::error::Error;
use std::borrow::Cow;
use std::ops::Range;

/// Stands for an expression that is not understood: no constant, no column, perhaps volatile.
pub const OPAQUE: &str = "weir_opaque()";

/// Stands for `ROWS FROM`: calls the functions that are its arguments.
pub const ROWS: &str = "weir_rows";

/// A shape's text in a form for sqlparser.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Analysis<'a> {
    pub text: Cow<'a, str>,
    pub notes: Notes,
    edits: Vec<Edit>,
}

/// What the text for analysis no longer says.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Notes {
    /// The strongest row lock that the statement takes anywhere.
    pub row_lock: Option<RowLock>,
    /// `OF` the tables (or aliases) of all its locking clauses; empty if one of them locks all.
    pub locked: Vec<String>,
    /// Some table was named with `ONLY`: without its children.
    pub only: bool,
    /// `WHERE CURRENT OF` this cursor; the text for analysis says `WHERE TRUE`.
    pub current_of: Option<String>,
}

/// `FOR …` of a SELECT, weakest first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum RowLock {
    KeyShare,
    Share,
    NoKeyUpdate,
    Update,
}

/// Why a statement cannot be analysed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NotAnalysed {
    Syntax(SyntaxError),
    /// Legal, but not understood: what it is, in PostgreSQL's words.
    Unsupported(&'static str),
}

impl From<NotAnalysed> for Error {
    fn from(error: NotAnalysed) -> Self {
        match error {
            NotAnalysed::Syntax(error) => error.into(),
            NotAnalysed::Unsupported(what) => Error::refused(
                format!("weir does not understand {what}"),
                "write it another way, or name the shard: /* weir: shard=NAME */",
            ),
        }
    }
}

/// Replaced bytes of the shape, and where the replacement stands in the text for analysis.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Edit {
    shape: Range<usize>,
    analysis: Range<usize>,
}

/// The text of a shape for sqlparser.
pub fn for_analysis(shape_text: &str) -> Result<Analysis<'_>, NotAnalysed> {
    let tokens = Lexer::of_shape(shape_text)
        .filter(|token| !token.as_ref().is_ok_and(|token| token.kind.is_blank()))
        .collect::<Result<Vec<Token>, _>>()
        .map_err(NotAnalysed::Syntax)?;
    let mut editor = Editor::new(shape_text, &tokens);
    let query = is_query(verb::classify(shape_text));
    for at in 0..tokens.len() {
        spelling::look(&mut editor, at)?;
        if query {
            names::look(&mut editor, at);
            tables::look(&mut editor, at)?;
            expressions::look(&mut editor, at)?;
            clauses::look(&mut editor, at);
            writes::look(&mut editor, at)?;
        }
    }
    Ok(editor.finish())
}

/// Does the statement speak the language of queries throughout? In others the same words mean
/// different things, and sqlparser reads them or does not.
fn is_query(verb: Verb) -> bool {
    match verb {
        Verb::Select
        | Verb::Insert
        | Verb::Update
        | Verb::Delete
        | Verb::Merge
        | Verb::Copy
        | Verb::Values
        | Verb::Table
        | Verb::With
        | Verb::Explain => true,
        Verb::Create(_)
        | Verb::Alter(_)
        | Verb::Drop(_)
        | Verb::Truncate
        | Verb::Grant
        | Verb::Revoke
        | Verb::Comment
        | Verb::SecurityLabel
        | Verb::ReassignOwned
        | Verb::DropOwned
        | Verb::ImportForeignSchema
        | Verb::Vacuum
        | Verb::Analyze
        | Verb::Cluster
        | Verb::Reindex
        | Verb::RefreshMaterializedView
        | Verb::Checkpoint
        | Verb::Load
        | Verb::Do
        | Verb::Call
        | Verb::Lock
        | Verb::Notify
        | Verb::Control
        | Verb::Empty
        | Verb::Unknown => false,
    }
}

impl Analysis<'_> {
    /// The byte of the shape's text that stands for byte `at` of the text for analysis. Inside a
    /// replacement: where the replaced text begins.
    pub fn shape_offset(&self, at: usize) -> usize {
        let after = self.edits.partition_point(|edit| edit.analysis.start <= at);
        match after.checked_sub(1).and_then(|last| self.edits.get(last)) {
            None => at,
            Some(edit) if at < edit.analysis.end => edit.shape.start,
            Some(edit) => edit.shape.end + (at - edit.analysis.end),
        }
    }
}

/// Looks at tokens and gathers what is to be changed.
struct Editor<'a, 't> {
    text: &'a str,
    tokens: &'t [Token],
    notes: Notes,
    /// A locking clause without OF was seen.
    locks_all: bool,
    /// How many CASEs are open, in the text and in each parenthesis or bracket that is open.
    cases: Vec<usize>,
    changes: Vec<(Range<usize>, String)>,
}

impl<'a, 't> Editor<'a, 't> {
    fn new(text: &'a str, tokens: &'t [Token]) -> Self {
        let (notes, cases, changes) = (Notes::default(), vec![0], Vec::new());
        Self { text, tokens, notes, locks_all: false, cases, changes }
    }

    fn token(&self, at: usize) -> Option<Token> {
        self.tokens.get(at).copied()
    }

    fn kind(&self, at: usize) -> Option<TokenKind> {
        self.token(at).map(|token| token.kind)
    }

    fn source(&self, at: usize) -> &'a str {
        self.token(at).map_or("", |token| token.text(self.text))
    }

    /// Is this token the keyword?
    fn is(&self, at: usize, keyword: &str) -> bool {
        self.token(at).is_some_and(|token| token.is(self.text, keyword))
    }

    fn is_any(&self, at: usize, keywords: &[&str]) -> bool {
        keywords.iter().any(|keyword| self.is(at, keyword))
    }

    fn is_operator(&self, at: usize, operator: &str) -> bool {
        self.kind(at) == Some(TokenKind::Operator) && self.source(at) == operator
    }

    /// A name that is no keyword by its place: after `.` or `AS`.
    fn is_mere_name(&self, at: usize) -> bool {
        at.checked_sub(1).is_some_and(|before| {
            self.kind(before) == Some(TokenKind::Dot) || self.is(before, "as")
        })
    }

    /// Follows CASE and END to this token, the one behind the last. Is it an END that closes a CASE?
    fn closes_case(&mut self, at: usize) -> bool {
        match self.kind(at) {
            Some(TokenKind::OpenParen | TokenKind::OpenBracket) => self.cases.push(0),
            Some(TokenKind::CloseParen | TokenKind::CloseBracket) if self.cases.len() > 1 => {
                self.cases.pop();
            }
            Some(_) if self.is_mere_name(at) => {}
            Some(_) | None => {
                let (opens, closes) = (self.is(at, "case"), self.is(at, "end"));
                if let Some(open) = self.cases.last_mut() {
                    *open += usize::from(opens);
                    if closes && *open > 0 {
                        *open -= 1;
                        return true;
                    }
                }
            }
        }
        false
    }

    /// Do these keywords follow one another from token `at` on?
    fn words(&self, at: usize, words: &[&str]) -> bool {
        words.iter().enumerate().all(|(offset, word)| self.is(at + offset, word))
    }

    /// The token that closes the parenthesis or bracket which opens at `at`.
    fn closing(&self, at: usize) -> Option<usize> {
        let mut depth = 0usize;
        for (offset, token) in self.tokens.get(at..)?.iter().enumerate() {
            match token.kind {
                TokenKind::OpenParen | TokenKind::OpenBracket => depth += 1,
                TokenKind::CloseParen | TokenKind::CloseBracket => {
                    depth = depth.checked_sub(1)?;
                    if depth == 0 {
                        return Some(at + offset);
                    }
                }
                _ => (),
            }
        }
        None
    }

    /// Behind a possibly qualified name that begins at `at`; `None`: there is none.
    fn behind_name(&self, at: usize) -> Option<usize> {
        let mut at = at;
        loop {
            if !self.kind(at)?.is_name() {
                return None;
            }
            if self.kind(at + 1) != Some(TokenKind::Dot) {
                return Some(at + 1);
            }
            at += 2;
        }
    }

    /// Might these tokens hold a subquery, and so a table?
    fn may_hide_table(&self, tokens: Range<usize>) -> bool {
        tokens.into_iter().any(|at| self.is_any(at, &["select", "table", "values", "with"]))
    }

    fn replace(&mut self, tokens: Range<usize>, by: impl Into<String>) {
        let last = tokens.end.checked_sub(1).and_then(|last| self.token(last));
        let (Some(first), Some(last)) = (self.token(tokens.start), last) else { return };
        self.changes.push((first.start..last.end, by.into()));
    }

    fn remove(&mut self, tokens: Range<usize>) {
        self.replace(tokens, "");
    }

    fn finish(mut self) -> Analysis<'a> {
        if self.locks_all {
            self.notes.locked.clear();
        }
        if self.changes.is_empty() {
            let (text, notes) = (Cow::Borrowed(self.text), self.notes);
            return Analysis { text, notes, edits: Vec::new() };
        }
        // A change inside a larger one is part of it: the larger comes first and the other is left out.
        self.changes.sort_by_key(|(range, _)| (range.start, std::cmp::Reverse(range.end)));
        let (mut text, mut edits, mut done) = (String::new(), Vec::new(), 0);
        for (range, by) in self.changes {
            if range.start < done {
                continue;
            }
            text.push_str(self.text.get(done..range.start).unwrap_or(""));
            let start = text.len();
            text.push_str(&by);
            done = range.end;
            edits.push(Edit { shape: range, analysis: start..text.len() });
        }
        text.push_str(self.text.get(done..).unwrap_or(""));
        Analysis { text: Cow::Owned(text), notes: self.notes, edits }
    }
}
