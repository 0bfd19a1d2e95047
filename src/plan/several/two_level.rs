//! Aggregates in two steps: each shard forms parts of the groups, the gather database puts them together
//! and works out the rest of the query: HAVING, expressions over aggregates, windows, ORDER BY.
//!
//! The fragment is the query's own FROM and WHERE with its GROUP BY: the keys are columns `g1` …, the
//! parts of aggregates `a1` …. The rest is the client's text with FROM and WHERE exchanged for the
//! fragment's table, keys and aggregates for what they are there.
use super::aggregate::{GroupBy, groups};
use super::core::{Core, Word};
use super::level::{self, Aggregates};
use super::order::{self, Target};
use super::{Fragment, Gather, Of, Subject, Template, steady};
use crate::sql::block::{Bytes, Clause};
use crate::sql::lexer::TokenKind;
use crate::sql::statement::{Call, CallClause, Expr, Grouping, Output};
use std::collections::HashSet;

/// What avg() adds up as it is.
const AVERAGED: &[&str] =
    &["bigint", "double precision", "integer", "interval", "numeric", "real", "smallint"];
/// Types whose values avg() takes for intervals.
const TIMES: &[&str] = &["time without", "time("];
/// Words that may make such a value.
const OF_TIME: &[&str] = &["localtime", "make_time", "time"];

/// `None`: not all of it is proved to add up.
pub fn plan(subject: &Subject<'_, '_>) -> Option<Gather> {
    // The gather database has the function's tables, but no rows in them.
    if subject.analyst.reading_function.is_some() {
        return None;
    }
    if !steady::is_steady(subject.query, &(0..subject.shape.text.len()), subject) {
        return None;
    }
    let core = Core::of(subject)?;
    let grouped = match core.select.grouping {
        Grouping::None => false,
        Grouping::By(_) => true,
        Grouping::Sets(_) => return None,
    };
    let aggregates = subject.analyst.aggregates(core.select, core.order);
    if aggregates == Aggregates::Unclear || (aggregates == Aggregates::None && !grouped) {
        return None;
    }
    let exprs = level::exprs(core.select, &subject.query.tail);
    if exprs.iter().any(|expr| level::has_subquery(expr)) {
        return None;
    }
    let mut splitter = Splitter::new(&core).filter(Splitter::adds_up)?;
    // The first time finds the parts, all of which the second has to know: see `typed`.
    splitter.residual()?;
    let residual = splitter.residual()?;
    Some(Gather { fragments: vec![splitter.fragment()?], residual })
}

struct Splitter<'c, 'q> {
    core: &'c Core<'q>,
    groups: Vec<GroupBy<'q>>,
    /// Last parts of the names of columns that are used outside of aggregates: where such a word is left
    /// over, something is not a key.
    columns: HashSet<String>,
    /// Aggregate calls of this level, with their text.
    calls: Vec<&'q Call>,
    /// What the fragment works out, in SQL with the ranges of the shape.
    parts: Vec<Template>,
}

impl<'c, 'q> Splitter<'c, 'q> {
    fn new(core: &'c Core<'q>) -> Option<Self> {
        let groups = groups(core)?;
        // A key that is a constant could be any constant's text.
        if groups.iter().any(|group| !mentions_column(group.expr)) {
            return None;
        }
        let (mut columns, mut calls) = (HashSet::new(), Vec::new());
        for expr in level::exprs(core.select, core.order) {
            collect(core, expr, &mut columns, &mut calls);
        }
        Some(Self { core, groups, columns, calls, parts: Vec::new() })
    }

    /// The client's query over the fragment's table.
    fn residual(&mut self) -> Option<Template> {
        let (core, block) = (self.core, self.core.block);
        let mut rest = Template::default();
        if let crate::sql::block::Distinct::On(_) = block.distinct {
            return None;
        }
        rest.range(block.head.clone());
        for (item, output) in core.select.outputs.iter().enumerate() {
            let Output::Expr { alias, .. } = output else { return None };
            let (expr, at) = core.output(item)?;
            rest.text(if item == 0 { " " } else { ", " });
            self.rewrite(&at, &mut rest)?;
            let name = match (alias, expr) {
                (Some(alias), _) => Some(alias),
                (None, Expr::Column(parts)) => parts.last(),
                (None, Expr::Call(call)) => Some(&call.name.name),
                (None, _) => None,
            };
            if let Some(name) = name {
                rest.text(format!(" AS \"{}\"", name.replace('"', "\"\"")));
            }
        }
        rest.text(" FROM pg_temp.weir_1");
        if !self.groups.is_empty() {
            let keys: Vec<String> = (1..=self.groups.len()).map(|key| format!("g{key}")).collect();
            rest.text(format!(" GROUP BY {}", keys.join(", ")));
        }
        self.clause("HAVING", block.having.as_ref(), &mut rest)?;
        self.clause("WINDOW", block.window.as_ref(), &mut rest)?;
        self.tail(&mut rest)?;
        Some(rest)
    }

    fn clause(&mut self, word: &str, clause: Option<&Clause>, rest: &mut Template) -> Option<()> {
        let Some(clause) = clause else { return Some(()) };
        rest.text(format!(" {word} "));
        self.rewrite(&clause.body, rest)
    }

    fn tail(&mut self, rest: &mut Template) -> Option<()> {
        let tail = &self.core.parts.tail;
        for (index, (key, expr)) in tail.keys.iter().zip(self.core.order).enumerate() {
            rest.text(if index == 0 { " ORDER BY " } else { ", " });
            match order::target(self.core, &key.expr, expr)? {
                Target::Output(item) => rest.text((item + 1).to_string()),
                Target::Expr => self.rewrite(&key.expr, rest)?,
            }
            rest.range(key.expr.end..key.range.end);
        }
        let amounts = [&tail.limit, &tail.offset].into_iter().flatten();
        let mut amounts: Vec<Bytes> = amounts.map(|amount| amount.range.clone()).collect();
        amounts.sort_by_key(|range| range.start);
        for range in amounts {
            rest.text(" ");
            rest.range(range);
        }
        Some(())
    }

    /// Keys and aggregates in these bytes are exchanged for the fragment's columns.
    fn rewrite(&mut self, at: &Bytes, rest: &mut Template) -> Option<()> {
        let core = self.core;
        let words = core.words(at);
        let mut done = at.start;
        let mut next = 0;
        while let Some(word) = words.get(next) {
            let replaced = match self.key(&words, next) {
                // With its table: an output may be called so, too.
                Some((key, length)) => Some((format!("weir_1.g{key}"), length)),
                None => self.aggregate(&words, next)?,
            };
            let Some((by, length)) = replaced else {
                let names = word.name.as_ref().is_some_and(|name| self.columns.contains(name));
                let called = words.get(next + 1).is_some_and(|w| w.kind == TokenKind::OpenParen);
                // A column that is no key, as far as can be seen.
                if names && !called {
                    return None;
                }
                next += 1;
                continue;
            };
            rest.range(done..word.at.start);
            rest.text(by);
            done = words.get(next + length - 1)?.at.end;
            next += length;
        }
        rest.range(done..at.end);
        Some(())
    }

    /// The key that begins at this word, and how many words it has.
    fn key(&self, words: &[Word<'q>], at: usize) -> Option<(usize, usize)> {
        let kind = |at: Option<usize>| at.and_then(|at| words.get(at)).map(|word| word.kind);
        let before = kind(at.checked_sub(1));
        if before == Some(TokenKind::Dot) || before == Some(TokenKind::Cast) {
            return None;
        }
        let begins = matches!(before, None | Some(TokenKind::OpenParen | TokenKind::Comma));
        let matches = self.groups.iter().enumerate().filter_map(|(index, group)| {
            let (length, primary) = self.spelled(group, words, at)?;
            let after = kind(Some(at + length));
            let ends = matches!(after, None | Some(TokenKind::CloseParen | TokenKind::Comma));
            let glued = matches!(after, Some(TokenKind::Dot | TokenKind::OpenParen));
            // Between operators it might be torn apart by their precedence.
            ((primary && !glued) || (begins && ends)).then_some((index + 1, length))
        });
        matches.max_by_key(|(_, length)| *length)
    }

    /// How many words from `at` on are the key; whether no operator can tear it apart.
    fn spelled(&self, group: &GroupBy<'_>, words: &[Word<'q>], at: usize) -> Option<(usize, bool)> {
        if let Expr::Column(_) = group.expr {
            let (parts, length) = column(words, at)?;
            let same = matches!(group.expr, Expr::Column(own) if *own == parts);
            return (same || group.is_column(self.core, &Expr::Column(parts)))
                .then_some((length, true));
        }
        let own = self.core.words(&group.at);
        let here = words.get(at..at + own.len())?;
        let same = own.iter().zip(here).all(|(one, other)| self.core.equal(one, other));
        let call = matches!(group.expr, Expr::Call(_)) && closing(&own, 1) == Some(own.len() - 1);
        same.then_some((own.len(), call))
    }

    /// The aggregate call that begins at this word: what stands for it, and how many words it has. The
    /// outer `None`: it does not add up.
    fn aggregate(&mut self, words: &[Word<'q>], at: usize) -> Option<Option<(String, usize)>> {
        let Some(word) = words.get(at) else { return Some(None) };
        let (name, open) = match words.get(at + 1).map(|word| word.kind) {
            Some(TokenKind::OpenParen) => (word.name.clone(), at + 1),
            Some(TokenKind::Dot) if words.get(at + 3).is_some_and(opens) => {
                (words.get(at + 2)?.name.clone(), at + 3)
            }
            _ => return Some(None),
        };
        let before = at.checked_sub(1).and_then(|at| words.get(at));
        if before.is_some_and(|word| word.kind == TokenKind::Dot) {
            return Some(None);
        }
        let Some(name) = name.filter(|name| self.calls.iter().any(|call| call.name.name == *name))
        else {
            return Some(None);
        };
        let close = closing(words, open)?;
        let mut end = close + 1;
        let is = |at: usize, keyword: &str| {
            words.get(at).is_some_and(|word| {
                word.kind == TokenKind::Word && word.source.eq_ignore_ascii_case(keyword)
            })
        };
        if is(end, "filter") && words.get(end + 1).is_some_and(opens) {
            end = closing(words, end + 1)? + 1;
        }
        if is(end, "over") {
            // It looks at groups; what it looks at may be an aggregate.
            return Some(None);
        }
        let arguments = words.get(open + 1)?.at.start..words.get(close)?.at.start;
        let filter = words.get(close)?.at.end..words.get(end - 1)?.at.end;
        let whole = word.at.start..words.get(end - 1)?.at.end;
        let combined = self.combined(&name, whole, arguments, filter)?;
        Some(Some((combined, end - at)))
    }

    /// What the fragment's columns are combined by.
    fn combined(
        &mut self,
        name: &str,
        whole: Bytes,
        arguments: Bytes,
        filter: Bytes,
    ) -> Option<String> {
        let part = |text: &str, range: &Bytes, after: &str| {
            let mut part = Template::default();
            part.text(text);
            part.range(range.clone());
            part.text(after);
            part.range(filter.clone());
            part
        };
        let mut plain = Template::default();
        plain.range(whole);
        Some(match name {
            "count" => {
                let count = self.part(plain);
                format!("coalesce(pg_catalog.sum({count}), 0)::pg_catalog.int8")
            }
            "sum" => {
                let sum = self.part(plain);
                self.typed(&sum, &format!("pg_catalog.sum({sum})"))
            }
            "avg" if self.begins_with_all(&arguments) || self.may_be_time(&arguments) => {
                return None;
            }
            "avg" => {
                // A real becomes a double precision, as avg() adds it up, and nothing else another type
                // in which it would lose digits: the second branch only says the type.
                let mut widened = Template::default();
                widened.text("pg_catalog.sum(CASE WHEN true THEN (");
                widened.range(arguments.clone());
                widened.text(") ELSE (");
                widened.range(arguments.clone());
                widened.text(") * 1 END)");
                widened.range(filter.clone());
                let sum = self.part(widened);
                let count = self.part(part("pg_catalog.count(", &arguments, ")"));
                // avg() begins with 0, where -0 becomes 0.
                let plus = "OPERATOR(pg_catalog.+) '0'";
                format!(
                    "((pg_catalog.sum({sum}) {plus}) OPERATOR(pg_catalog./) pg_catalog.sum({count}))"
                )
            }
            "min" | "max" | "bool_and" | "bool_or" | "every" | "bit_and" | "bit_or" | "bit_xor" => {
                let column = self.part(plain);
                format!("pg_catalog.{name}({column})")
            }
            _ => return None,
        })
    }

    /// The value as the fragment's column of that name has it: sum() of a bigint is a numeric, and a
    /// row of the table knows what it was. Values do not become text on the way.
    fn typed(&self, column: &str, value: &str) -> String {
        let keys = (1..=self.groups.len()).map(|key| format!("g{key}"));
        let parts = (1..=self.parts.len()).map(|part| match format!("a{part}") == column {
            true => value.to_owned(),
            false => "NULL".to_owned(),
        });
        let row: Vec<String> = keys.chain(parts).collect();
        format!("(ROW({})::pg_temp.weir_1).{column}", row.join(", "))
    }

    /// avg() takes a time for an interval, and what is asked for here has both types.
    fn may_be_time(&self, arguments: &Bytes) -> bool {
        let words = self.core.words(arguments);
        let is_time = |type_name: &str| TIMES.iter().any(|time| type_name.starts_with(time));
        let plain = column(&words, 0).filter(|(_, length)| *length == words.len());
        if let Some((parts, _)) = plain {
            let found = self.core.column(&parts).map(|(_, column)| column.type_name.as_str());
            return found.is_some_and(|name| !AVERAGED.iter().any(|known| name.starts_with(known)));
        }
        (0..words.len()).any(|at| {
            let named = words.get(at).and_then(|word| word.name.as_deref());
            let typed = column(&words, at).and_then(|(parts, _)| self.core.column(&parts));
            named.is_some_and(|name| OF_TIME.contains(&name))
                || typed.is_some_and(|(_, column)| is_time(&column.type_name))
        })
    }

    /// `avg(ALL x)`
    fn begins_with_all(&self, arguments: &Bytes) -> bool {
        self.core.words(arguments).first().is_some_and(|word| {
            word.kind == TokenKind::Word && word.source.eq_ignore_ascii_case("all")
        })
    }

    fn part(&mut self, part: Template) -> String {
        let known = self.parts.iter().position(|known| *known == part);
        let index = known.unwrap_or_else(|| {
            self.parts.push(part);
            self.parts.len() - 1
        });
        format!("a{}", index + 1)
    }

    /// What each shard works out.
    fn fragment(self) -> Option<Fragment> {
        let (block, parts) = (self.core.block, self.core.parts);
        let mut query = Template::default();
        if let Some(with) = &parts.with {
            query.range(with.range.clone());
            query.text(" ");
        }
        query.text("SELECT ");
        let mut first = true;
        for (index, group) in self.groups.iter().enumerate() {
            query.text(if first { "(" } else { ", (" });
            query.range(group.at.clone());
            query.text(format!(") AS g{}", index + 1));
            first = false;
        }
        for (index, part) in self.parts.into_iter().enumerate() {
            query.text(if first { "" } else { ", " });
            query.0.extend(part.0);
            query.text(format!(" AS a{}", index + 1));
            first = false;
        }
        if first {
            return None;
        }
        for clause in [&block.from, &block.filter].into_iter().flatten() {
            query.text(" ");
            query.range(clause.range.clone());
        }
        if !self.groups.is_empty() {
            let keys: Vec<String> = (1..=self.groups.len()).map(|key| key.to_string()).collect();
            query.text(format!(" GROUP BY {}", keys.join(", ")));
        }
        let table = String::from("weir_1");
        Some(Fragment::plain(table, query, Of::EveryShard))
    }
}

fn opens(word: &Word<'_>) -> bool {
    word.kind == TokenKind::OpenParen
}

fn closing(words: &[Word<'_>], open: usize) -> Option<usize> {
    let mut depth = 0usize;
    for (at, word) in words.iter().enumerate().skip(open) {
        match word.kind {
            TokenKind::OpenParen => depth += 1,
            TokenKind::CloseParen => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}

/// The column's name that begins here, as the syntax tree would have it.
fn column(words: &[Word<'_>], at: usize) -> Option<(Vec<String>, usize)> {
    let mut parts = vec![words.get(at)?.name.clone()?];
    let mut length = 1;
    while words.get(at + length).is_some_and(|word| word.kind == TokenKind::Dot) {
        parts.push(words.get(at + length + 1)?.name.clone()?);
        length += 2;
    }
    Some((parts, length))
}

fn mentions_column(expr: &Expr) -> bool {
    let mut found = false;
    level::walk(expr, &mut |expr| found |= matches!(expr, Expr::Column(_)));
    found
}

/// Columns outside of aggregates, and the aggregates.
fn collect<'q>(
    core: &Core<'q>,
    expr: &'q Expr,
    columns: &mut HashSet<String>,
    calls: &mut Vec<&'q Call>,
) {
    match expr {
        Expr::Call(call) if core.subject.analyst.is_aggregate(call) => calls.push(call),
        Expr::Column(parts) => columns.extend(parts.last().cloned()),
        expr => {
            for operand in level::operands(expr) {
                collect(core, operand, columns, calls);
            }
        }
    }
}

impl Splitter<'_, '_> {
    /// Every aggregate is a builtin one that says nothing which does not add up.
    fn adds_up(&self) -> bool {
        self.calls.iter().all(|call| {
            self.core.subject.analyst.is_builtin(call)
                && call.clauses.iter().all(|clause| match clause {
                    CallClause::Filter => true,
                    CallClause::Distinct
                    | CallClause::Ordered
                    | CallClause::WithinGroup
                    | CallClause::Over(_) => false,
                })
        })
    }
}
