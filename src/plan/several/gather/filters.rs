//! Which rows of a table a query can need: conditions in the WHERE of the table's own SELECT that speak of
//! nothing else are worked out by the shards already. They stay in the rest, too.
use super::{Site, label};
use crate::plan::catalog::Relation;
use crate::plan::functions::{self, Effect};
use crate::plan::several::Subject;
use crate::sql::lexer::TokenKind;
use std::ops::Range;

/// Words of conditions that name nothing; no column is called so without quotes.
const WORDS: &[&str] = &[
    "all",
    "and",
    "any",
    "array",
    "asymmetric",
    "both",
    "case",
    "cast",
    "collate",
    "distinct",
    "else",
    "end",
    "false",
    "for",
    "from",
    "ilike",
    "in",
    "is",
    "isnull",
    "leading",
    "like",
    "not",
    "notnull",
    "null",
    "or",
    "similar",
    "some",
    "symmetric",
    "then",
    "to",
    "trailing",
    "true",
    "when",
];
/// Words that name nothing where a parenthesis follows.
const CALLS: &[&str] =
    &["coalesce", "extract", "greatest", "least", "nullif", "position", "substring", "trim"];
/// Words between two operands.
const BETWEEN: &[&str] = &["between", "escape", "overlaps"];
/// Types, and the words of their names.
const TYPES: &[&str] = &[
    "bigint",
    "bool",
    "boolean",
    "bytea",
    "character",
    "date",
    "decimal",
    "double",
    "float4",
    "float8",
    "int",
    "int2",
    "int4",
    "int8",
    "integer",
    "interval",
    "json",
    "jsonb",
    "numeric",
    "precision",
    "real",
    "smallint",
    "text",
    "time",
    "timestamp",
    "timestamptz",
    "uuid",
    "varchar",
    "varying",
    "with",
    "without",
    "zone",
];
/// What `extract` takes out of a time.
const FIELDS: &[&str] = &[
    "day", "dow", "doy", "epoch", "hour", "isodow", "minute", "month", "quarter", "second", "week",
    "year",
];

pub fn of(
    subject: &Subject<'_, '_>,
    site: &Site<'_, '_>,
    relation: &Relation,
    sites: &[Site<'_, '_>],
) -> Vec<Range<usize>> {
    // A condition may hold for rows that an outer join extends, and not for those it joins.
    if site.table.extended || !site.table.alias.columns.is_empty() {
        return Vec::new();
    }
    let within = site.table.within;
    let at = within.byte(&subject.analysis.text).map(|at| subject.analysis.shape_offset(at));
    let block = at.zip(subject.blocks.as_ref()).and_then(|(at, blocks)| blocks.select(at));
    let Some((_, block)) = block else { return Vec::new() };
    let beside: Vec<&Site<'_, '_>> =
        sites.iter().filter(|other| other.at != site.at && other.table.within == within).collect();
    let own = Own { subject, label: label(site.table), relation, beside };
    block.conjuncts.iter().filter(|conjunct| own.is_all_of(conjunct)).cloned().collect()
}

/// One table among those of its SELECT.
struct Own<'o, 's, 'a> {
    subject: &'o Subject<'s, 'a>,
    label: &'o str,
    relation: &'o Relation,
    beside: Vec<&'o Site<'s, 'a>>,
}

impl Own<'_, '_, '_> {
    /// Whether the condition is about this table's columns, and only about them.
    fn is_all_of(&self, conjunct: &Range<usize>) -> bool {
        let tokens = &self.subject.tokens;
        let mut columns = 0;
        let mut positions = tokens.within(conjunct);
        while let Some(at) = positions.next() {
            let Some(kind) = tokens.kind(at) else { return false };
            if !kind.is_name() {
                continue;
            }
            let Some(name) = tokens.name(at) else { return false };
            if tokens.is_qualifier(at) {
                // The dot, and the column.
                let column = positions
                    .nth(1)
                    .and_then(|at| tokens.name(at).filter(|_| !tokens.is_qualifier(at)));
                if name != self.label || !column.is_some_and(|column| self.has(&column)) {
                    return false;
                }
                columns += 1;
            } else if kind == TokenKind::Word && self.names_nothing(at, &name) {
                continue;
            } else if !self.has(&name) || self.is_ambiguous(&name) {
                return false;
            } else {
                columns += 1;
            }
        }
        columns > 0
    }

    fn has(&self, column: &str) -> bool {
        self.relation.columns.iter().any(|known| known.name == column)
    }

    /// Whether another table of the SELECT has, or may have, a column of that name.
    fn is_ambiguous(&self, column: &str) -> bool {
        self.beside.iter().any(|other| {
            let columns = other.table.found.columns();
            !other.table.alias.columns.is_empty()
                || columns.is_none_or(|columns| columns.iter().any(|known| known.name == column))
        })
    }

    /// Whether a word is a part of the syntax, the name of a type or of a harmless function.
    fn names_nothing(&self, at: usize, word: &str) -> bool {
        let tokens = &self.subject.tokens;
        let before = |distance: usize| at.checked_sub(distance);
        let word_before = |distance| before(distance).and_then(|at| tokens.name(at));
        let kind_before = before(1).and_then(|at| tokens.kind(at));
        let kind_after = tokens.kind(at + 1);
        let value = |kind: Option<TokenKind>| {
            kind.is_some_and(|kind| kind.is_string() || kind == TokenKind::Lifted)
        };
        let operand = |kind: Option<TokenKind>| {
            value(kind)
                || matches!(
                    kind,
                    Some(TokenKind::Word | TokenKind::Parameter | TokenKind::CloseParen)
                )
        };
        let typed = kind_before == Some(TokenKind::Cast)
            || value(kind_after)
            || word_before(1).is_some_and(|word| word == "as" || TYPES.contains(&word.as_str()));
        WORDS.contains(&word)
            || word == "as" && TYPES.contains(&tokens.name(at + 1).unwrap_or_default().as_str())
            || CALLS.contains(&word) && kind_after == Some(TokenKind::OpenParen)
            || BETWEEN.contains(&word) && operand(kind_before) && operand(kind_after)
            || TYPES.contains(&word) && typed
            || FIELDS.contains(&word) && word_before(2).is_some_and(|word| word == "extract")
            || self.is_harmless_call(at, word)
    }

    /// A call of a built-in function that gives the same everywhere.
    fn is_harmless_call(&self, at: usize, name: &str) -> bool {
        let called = self.subject.tokens.kind(at + 1) == Some(TokenKind::OpenParen);
        let own = || self.subject.analyst.context.catalog.functions(name).next().is_some();
        called && functions::builtin(name) == Some(Effect::None) && !own()
    }
}
