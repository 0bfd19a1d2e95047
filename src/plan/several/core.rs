//! A query that is one SELECT whose core is spread, seen from all sides: the text's parts, the syntax
//! tree, the proof.
use super::spread::Anchor;
use super::{Collation, Subject, level};
use crate::plan::analyst::TableUse;
use crate::plan::catalog::{self, Column};
use crate::sql::block::{Arm, Block, Bytes, Query as Parts};
use crate::sql::lexer::{self, Lexer, TokenKind};
use crate::sql::statement::{Body, Expr, From, Output, Select};

/// Collations that order texts by their bytes.
const BYTEWISE: &[&str] = &["C", "POSIX", "ucs_basic"];

pub struct Core<'q> {
    pub subject: &'q Subject<'q, 'q>,
    pub parts: &'q Parts,
    pub block: &'q Block,
    pub select: &'q Select,
    pub anchor: &'q Anchor,
    /// ORDER BY's expressions.
    pub order: &'q [Expr],
}

impl<'q> Core<'q> {
    /// `None`: it is no such query, or the text and the tree don't agree.
    pub fn of(subject: &'q Subject<'q, 'q>) -> Option<Self> {
        let parts = subject.blocks.as_ref()?.whole()?;
        let Body::Select(select) = &subject.query.body else { return None };
        let agrees = parts.agrees(&subject.shape.text, subject.query);
        if !agrees || parts.tail.locks.is_some() {
            return None;
        }
        let order = subject.query.tail.get(..subject.query.ordered)?;
        let core = Self::arm(subject, parts, parts.only()?, select)?;
        Some(Core { order, ..core })
    }

    /// An arm of a set operation.
    pub fn arm(
        subject: &'q Subject<'q, 'q>,
        parts: &'q Parts,
        block: &'q Block,
        select: &'q Select,
    ) -> Option<Self> {
        let frames = subject.analyst.frames.iter();
        let anchor = frames.rev().find(|frame| frame.at == select.at)?.anchor.as_ref()?;
        Some(Core { subject, parts, block, select, anchor, order: &[] })
    }

    pub fn text(&self, range: &Bytes) -> &'q str {
        self.subject.shape.text.get(range.clone()).unwrap_or("")
    }

    /// Is this the key of the row's shard, in a row of the core?
    pub fn is_key(&self, expr: &Expr) -> bool {
        level::is_key(expr, &self.anchor.spelled)
    }

    /// Where an item of the SELECT list stands in the answer's rows.
    pub fn position(&self, item: usize) -> Option<usize> {
        let outputs = &self.select.outputs;
        if are_plain(outputs.get(..item)?) {
            return Some(item);
        }
        let width = self
            .subject
            .analyst
            .width
            .filter(|_| are_plain(outputs.get(item..).unwrap_or_default()))?;
        width.checked_sub(outputs.len() - item)
    }

    /// How many columns the client gets.
    pub fn width(&self) -> Option<usize> {
        let plain = self.position(self.select.outputs.len());
        plain.or(self.subject.analyst.width).filter(|width| *width > 0)
    }

    /// The same as far as the text alone says it.
    pub fn listed(&self) -> Option<usize> {
        let outputs = &self.select.outputs;
        are_plain(outputs).then_some(outputs.len())
    }

    /// Without its alias.
    pub fn output(&self, item: usize) -> Option<(&'q Expr, Bytes)> {
        match self.select.outputs.get(item)? {
            Output::Star | Output::StarOf(_) => None,
            Output::Expr { expr, alias } => {
                Some((expr, self.block.outputs.get(item)?.expr(alias.as_deref())?))
            }
        }
    }

    /// The table and column that a column's name means. `None`: that is not worked out.
    pub fn column(&self, parts: &[String]) -> Option<(&'q TableUse<'q>, &'q Column)> {
        let (name, qualifier) = parts.split_last()?;
        if qualifier.is_empty() && !self.tables_only() {
            return None;
        }
        let named = |table: &&TableUse<'_>| {
            let label = table.alias.name.as_ref().unwrap_or(&table.name.name);
            qualifier.last().is_none_or(|qualifier| qualifier == label)
        };
        let mut found = self.tables().filter(named).filter_map(|table| {
            let renamed = !table.alias.columns.is_empty();
            let columns = table.found.columns().filter(|_| !renamed)?;
            Some((table, columns.iter().find(|column| column.name == *name)?))
        });
        found.next().filter(|_| found.next().is_none())
    }

    /// Whether FROM has a column of that name. `None`: that is not known.
    pub fn has_column(&self, name: &str) -> Option<bool> {
        if !self.tables_only() {
            return None;
        }
        let mut has = false;
        for table in self.tables() {
            let columns = table.found.columns()?;
            has |=
                columns.iter().any(|column| column.name == name) || !table.alias.columns.is_empty();
        }
        Some(has)
    }

    fn tables(&self) -> impl Iterator<Item = &'q TableUse<'q>> {
        let at = self.select.at;
        self.subject.analyst.uses.iter().filter(move |table| table.within == at)
    }

    /// FROM names tables with known columns, and nothing else.
    fn tables_only(&self) -> bool {
        fn count(from: &From) -> Option<usize> {
            match from {
                From::Table(_) => Some(1),
                From::Derived { .. } | From::Function { .. } => None,
                From::Join(join) => Some(count(&join.left)? + count(&join.right)?),
            }
        }
        let counted: Option<usize> = self.select.from.iter().map(count).sum();
        counted == Some(self.tables().filter(|table| table.found.columns().is_some()).count())
    }

    /// How texts of an expression are ordered.
    pub fn collation(&self, expr: &Expr, at: &Bytes) -> Collation {
        if let Some(named) = collate(self.text(at)) {
            return match BYTEWISE.contains(&named.as_str()) {
                true => Collation::Bytes,
                false => Collation::Unknown,
            };
        }
        let column = match expr {
            Expr::Column(parts) => self.column(parts).map(|(_, column)| column.collation),
            _ => None,
        };
        match column {
            Some(catalog::Collation::Bytes) => Collation::Bytes,
            Some(catalog::Collation::Other) | None => Collation::Unknown,
        }
    }

    /// What texts that are equal have in common.
    pub fn texts(&self) -> Collation {
        match self.subject.analyst.context.catalog.equality {
            catalog::Equality::OfBytes => Collation::Bytes,
            catalog::Equality::ByCollation => Collation::Unknown,
        }
    }

    /// Are these the same words? Literals count with what they say in this very statement.
    pub fn same(&self, one: &Bytes, other: &Bytes) -> bool {
        let (one, other) = (self.words(one), self.words(other));
        one.len() == other.len()
            && one.iter().zip(&other).all(|(one, other)| self.equal(one, other))
    }

    pub fn words(&self, range: &Bytes) -> Vec<Word<'q>> {
        let text = self.text(range);
        Lexer::of_shape(text)
            .flatten()
            .filter(|token| !token.kind.is_blank())
            .map(|token| Word {
                kind: token.kind,
                source: token.text(text),
                name: lexer::name(token, text),
                at: range.start + token.start..range.start + token.end,
            })
            .collect()
    }

    pub fn equal(&self, one: &Word<'_>, other: &Word<'_>) -> bool {
        if one.name.is_some() || other.name.is_some() {
            return one.name == other.name;
        }
        let lifted = [one, other].iter().any(|word| word.kind == TokenKind::Lifted);
        let literal = |word: &Word<'_>| word.kind == TokenKind::Lifted || word.kind.is_literal();
        if one.source == other.source || !lifted || !literal(one) || !literal(other) {
            return one.source == other.source;
        }
        self.spelled(one).zip(self.spelled(other)).is_some_and(|(one, other)| one == other)
    }

    fn spelled<'w>(&self, word: &'w Word<'_>) -> Option<&'w str>
    where
        'q: 'w,
    {
        match crate::sql::shape::placeholder(word.source) {
            Some(index) => self.subject.analyst.literal_source(index),
            None => Some(word.source),
        }
    }
}

/// Whether each is one column.
fn are_plain(outputs: &[Output]) -> bool {
    outputs
        .iter()
        .all(|output| matches!(output, Output::Expr { alias, .. } if alias.as_deref() != Some("*")))
}

/// Where an arm of a set operation ends.
pub fn arm_end(arm: &Arm) -> usize {
    match arm {
        Arm::Select(block) => block.range.end,
        Arm::Values(range) | Arm::Table(range) | Arm::Nested(range) => range.end,
    }
}

/// A token with what it says.
#[derive(Clone, Debug)]
pub struct Word<'t> {
    pub kind: TokenKind,
    pub source: &'t str,
    /// Folded, if it is a word or a quoted name.
    pub name: Option<String>,
    pub at: Bytes,
}

/// The collation that an expression ends with; it has no name if its schema is a user's.
fn collate(text: &str) -> Option<String> {
    let tokens: Vec<_> =
        Lexer::of_shape(text).flatten().filter(|token| !token.kind.is_blank()).collect();
    let (last, before) = tokens.split_last()?;
    let mut before = before.iter().rev();
    let mut previous = before.next()?;
    let mut schema = None;
    if previous.kind == TokenKind::Dot {
        schema = before.next();
        previous = before.next()?;
    }
    let named = previous.is(text, "collate").then(|| lexer::name(*last, text))?;
    // Another schema's collation may have a name of pg_catalog's; alone, it means pg_catalog's.
    match schema {
        None => named,
        Some(schema) if lexer::name(*schema, text).as_deref() == Some("pg_catalog") => named,
        Some(_) => Some(String::new()),
    }
}
