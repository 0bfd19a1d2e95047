//! Bring legal PostgreSQL that sqlparser cannot parse, or would misread, into a form that it can.
//!
//! The result is for analysis only, never sent to a server: it must say the same as the shape as far
//! as routing is concerned. What is taken away and matters is kept in [`Notes`].
use super::lexer::{Lexer, SyntaxError, Token};
use std::borrow::Cow;
use std::ops::Range;

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
    let mut editor =
        Editor { text: shape_text, tokens: &tokens, notes: Notes::default(), changes: Vec::new() };
    for at in 0..tokens.len() {
        editor.look(at)?;
    }
    Ok(editor.finish())
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

struct Editor<'a, 't> {
    text: &'a str,
    tokens: &'t [Token],
    notes: Notes,
    /// Ascending, not overlapping.
    changes: Vec<(Range<usize>, String)>,
}

impl<'a> Editor<'a, '_> {
    fn token(&self, at: usize) -> Option<Token> {
        self.tokens.get(at).copied()
    }

    /// Do these keywords follow one another from token `at` on?
    fn words(&self, at: usize, words: &[&str]) -> bool {
        words.iter().enumerate().all(|(offset, word)| {
            self.token(at + offset).is_some_and(|token| token.is(self.text, word))
        })
    }

    fn replace(&mut self, tokens: Range<usize>, by: impl Into<String>) {
        let (Some(first), Some(last)) = (self.token(tokens.start), self.token(tokens.end - 1))
        else {
            return;
        };
        self.changes.push((first.start..last.end, by.into()));
    }

    fn look(&mut self, at: usize) -> Result<(), NotAnalysed> {
        if self.words(at, &["for"]) {
            self.row_lock(at);
        }
        Ok(())
    }

    fn row_lock(&mut self, at: usize) {
        let (lock, words) = if self.words(at, &["for", "no", "key", "update"]) {
            (RowLock::NoKeyUpdate, 4)
        } else if self.words(at, &["for", "key", "share"]) {
            (RowLock::KeyShare, 3)
        } else if self.words(at, &["for", "update"]) {
            (RowLock::Update, 2)
        } else if self.words(at, &["for", "share"]) {
            (RowLock::Share, 2)
        } else {
            return;
        };
        self.notes.row_lock = self.notes.row_lock.max(Some(lock));
        if words > 2 {
            self.replace(at..at + words, "for update");
        }
    }

    fn finish(self) -> Analysis<'a> {
        if self.changes.is_empty() {
            let (text, notes) = (Cow::Borrowed(self.text), self.notes);
            return Analysis { text, notes, edits: Vec::new() };
        }
        let (mut text, mut edits, mut done) = (String::new(), Vec::new(), 0);
        for (range, by) in self.changes {
            debug_assert!(range.start >= done, "changes ascend and don't overlap");
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
