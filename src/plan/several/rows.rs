//! INSERT … VALUES of many rows, cut by row: each shard gets the client's own text with only its rows.
//!
//! A column whose default tells the time is written out, since it is one value for all rows.
use super::Template;
use super::write::Written;
use crate::ids::ShardId;
use crate::plan::analyst::Row;
use crate::plan::names::Found;
use crate::plan::value::Values;
use crate::plan::{FallbackRow, Planned, Requirement, Splice, Unroutable};
use crate::rules::Rules;
use crate::sql::lexer::{Lexer, Token, TokenKind};
use crate::sql::moment::{self, Moment, Time};
use crate::sql::rewrite::Piece;
use crate::sql::shape::Shape;
use crate::sql::statement::{Expr, Insert};
use crate::wire::params::Params;
use std::collections::BTreeMap;
use std::ops::Range;

#[derive(Debug)]
pub struct Split {
    /// Up to the first row.
    head: Template,
    rows: Vec<SplitRow>,
    /// Behind the last row.
    tail: Template,
    /// Defaults that are written out.
    defaults: Vec<TimeDefault>,
    /// The whole statement has to be shown to a server first: PostgreSQL may find something wrong with it
    /// that the parts do not have.
    pub looks_first: bool,
}

#[derive(Debug)]
struct SplitRow {
    pieces: Vec<RowPiece>,
    /// Where it goes.
    at: Requirement,
}

#[derive(Debug)]
enum RowPiece {
    Text(Template),
    /// One of the defaults.
    Default(usize),
}

/// A default's expression, with its times apart.
#[derive(Debug)]
pub struct TimeDefault {
    pub column: String,
    text: String,
    times: Vec<Time>,
}

impl TimeDefault {
    pub fn written(&self, moment: Option<&Moment>) -> String {
        let Some(moment) = moment else { return self.text.clone() };
        let (mut written, mut done) = (String::new(), 0);
        for time in &self.times {
            written.push_str(self.text.get(done..time.at.start).unwrap_or(""));
            let precision = self.text.get(time.precision.clone()).unwrap_or("");
            written.push_str(&time.written(moment, precision));
            done = time.at.end;
        }
        written.push_str(self.text.get(done..).unwrap_or(""));
        written
    }
}

/// Where the parts of an INSERT … VALUES stand.
pub struct Layout {
    /// The column list's parentheses.
    pub list: Option<(Token, Token)>,
    /// The word VALUES.
    pub values: Token,
    /// Each row's parentheses, among the tokens.
    pub rows: Vec<(usize, usize)>,
}

impl Layout {
    /// `tokens`: from where a column list would be. `None`: that is no list of rows.
    pub fn of(text: &str, tokens: &[Token]) -> Option<Self> {
        let (mut at, mut list) = (0, None);
        if tokens.first()?.kind == TokenKind::OpenParen {
            let close = closing(tokens, 0)?;
            list = Some((*tokens.first()?, *tokens.get(close)?));
            at = close + 1;
        }
        while !tokens.get(at)?.is(text, "values") {
            if tokens.get(at)?.kind != TokenKind::Word {
                return None;
            }
            at += 1;
        }
        let (values, mut rows) = (*tokens.get(at)?, Vec::new());
        loop {
            at += 1;
            if tokens.get(at)?.kind != TokenKind::OpenParen {
                return None;
            }
            let close = closing(tokens, at)?;
            rows.push((at, close));
            at = close + 1;
            if tokens.get(at).is_none_or(|token| token.kind != TokenKind::Comma) {
                return Some(Self { list, values, rows });
            }
        }
    }

    /// Where a row's values stand, each without the commas around it, among the tokens.
    pub fn cells(tokens: &[Token], row: (usize, usize)) -> Vec<Range<usize>> {
        let (mut cells, mut start, mut depth) = (Vec::new(), row.0 + 1, 0usize);
        for at in row.0 + 1..row.1 {
            match tokens.get(at).map(|token| token.kind) {
                Some(TokenKind::OpenParen | TokenKind::OpenBracket) => depth += 1,
                Some(TokenKind::CloseParen | TokenKind::CloseBracket) => {
                    depth = depth.saturating_sub(1);
                }
                Some(TokenKind::Comma) if depth == 0 => {
                    cells.push(start..at);
                    start = at + 1;
                }
                Some(_) | None => {}
            }
        }
        cells.push(start..row.1);
        cells
    }
}

fn closing(tokens: &[Token], open: usize) -> Option<usize> {
    let mut depth = 0usize;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token.kind {
            TokenKind::OpenParen | TokenKind::OpenBracket => depth += 1,
            TokenKind::CloseParen | TokenKind::CloseBracket => {
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

/// The shape's tokens from byte `at` on, blanks left out.
pub fn tokens_from(shape_text: &str, at: usize) -> Vec<Token> {
    Lexer::of_shape(shape_text)
        .map_while(Result::ok)
        .filter(|token| !token.kind.is_blank() && token.start >= at)
        .collect()
}

/// The statement by rows.
pub fn split(
    written: &Written<'_, '_>,
    insert: &Insert,
    rows: &[Vec<Option<Expr>>],
    found: &Found<'_>,
    times: &[Time],
) -> Result<Split, Unroutable> {
    let (analyst, shape) = (written.analyst, written.shape);
    let refuse = |what: &str| Unroutable::NotScattered { what: what.to_owned() };
    if !insert.ctes.is_empty() {
        return Err(refuse("WITH before an INSERT of many rows"));
    }
    if let Some(instance) = analyst.instances.first() {
        return Err(refuse(&format!("a subquery that reads {}", instance.table)));
    }
    let at = insert.columns_at.byte(&written.analysis.text);
    let at = at.map(|at| written.analysis.shape_offset(at)).unwrap_or_default();
    let tokens = tokens_from(&shape.text, at);
    let layout = Layout::of(&shape.text, &tokens)
        .filter(|layout| layout.rows.len() == rows.len() && analyst.rows.len() == rows.len())
        .ok_or_else(|| refuse("this form of VALUES"))?;
    let even = rows.windows(2).all(|pair| matches!(pair, [a, b] if a.len() == b.len()));
    let listed = listed(insert, found, rows);
    let defaults = time_defaults(found);
    let splicer = Splicer { layout: &layout, tokens: &tokens, shape, times };
    let added: Vec<usize> = match even && listed.len() == rows.first().map_or(0, Vec::len) {
        true => (0..defaults.len())
            .filter(|&index| defaults.get(index).is_some_and(|d| !listed.contains(&d.column)))
            .collect(),
        false => Vec::new(),
    };
    let mut split = Split {
        head: splicer.head(written.splices, added.iter().filter_map(|&at| defaults.get(at))),
        rows: Vec::with_capacity(rows.len()),
        tail: splicer.tail(),
        looks_first: !even || rows.iter().flatten().flatten().any(may_be_wrong_alone),
        defaults: Vec::new(),
    };
    for ((values, &place), row) in rows.iter().zip(&layout.rows).zip(&analyst.rows) {
        let written_out = values.iter().enumerate().filter_map(|(column, value)| {
            let name = value.is_none().then(|| listed.get(column))??;
            let default = defaults.iter().position(|default| default.column == *name)?;
            Some((column, default))
        });
        let pieces = splicer.row(place, written_out.collect(), &added);
        split.rows.push(SplitRow { pieces, at: requirement(row) });
    }
    split.defaults = defaults;
    Ok(split)
}

/// Is it more than a constant?
fn may_be_wrong_alone(expr: &Expr) -> bool {
    crate::plan::value::Operand::of(expr).is_none()
}

/// The columns that values are given for, as far as that is known.
pub fn listed(insert: &Insert, found: &Found<'_>, rows: &[Vec<Option<Expr>>]) -> Vec<String> {
    if !insert.columns.is_empty() {
        return insert.columns.clone();
    }
    let width = rows.iter().map(Vec::len).max().unwrap_or_default();
    let columns = found.columns().unwrap_or_default().iter().take(width);
    columns.map(|column| column.name.clone()).collect()
}

pub fn time_defaults(found: &Found<'_>) -> Vec<TimeDefault> {
    let columns = found.columns().unwrap_or_default().iter();
    columns
        .filter_map(|column| {
            let text = column.time.clone()?;
            let times = moment::times(&text, &[]);
            Some(TimeDefault { column: column.name.clone(), text, times })
        })
        .collect()
}

pub fn requirement(row: &Row<'_>) -> Requirement {
    Requirement::Row {
        table: row.table.clone(),
        column: row.column.to_owned(),
        distribution: row.distribution,
        key: row.key.clone(),
        nulls: row.nulls,
        fallback: row.fallback.as_ref().map(|fallback| FallbackRow {
            column: fallback.column.to_owned(),
            distribution: fallback.distribution,
            key: fallback.key.clone(),
            nulls: fallback.nulls,
        }),
    }
}

struct Splicer<'s> {
    layout: &'s Layout,
    tokens: &'s [Token],
    shape: &'s Shape,
    times: &'s [Time],
}

impl Splicer<'_> {
    fn range(&self, range: Range<usize>) -> Template {
        Template(vec![Piece::Range(range)]).telling(self.times)
    }

    fn token(&self, at: usize) -> Range<usize> {
        self.tokens.get(at).map_or(0..0, |token| token.start..token.end)
    }

    fn head<'d>(
        &self,
        splices: &[Splice],
        added: impl Iterator<Item = &'d TimeDefault>,
    ) -> Template {
        let more: String =
            added.map(|default| format!(", \"{}\"", default.column.replace('"', "\"\""))).collect();
        let mut splices = splices.to_vec();
        match (self.layout.list, splices.last_mut()) {
            _ if more.is_empty() => {}
            (Some((_, close)), _) => {
                splices.push(Splice { at: close.start, remove: 0, insert: more });
            }
            // A list that weir writes itself.
            (None, Some(list)) => {
                let open = list.insert.trim_end_matches(')').to_owned();
                list.insert = format!("{open}{more})");
            }
            (None, None) => {}
        }
        let (mut head, mut done) = (Template::default(), 0);
        for splice in &splices {
            head.range(done..splice.at);
            head.text(splice.insert.as_str());
            done = splice.at + splice.remove;
        }
        head.range(done..self.layout.values.end);
        head.text(" ");
        head
    }

    fn tail(&self) -> Template {
        let last = self.layout.rows.last().map_or(0, |row| self.token(row.1).end);
        self.range(last..self.shape.text.len())
    }

    /// `replaced`: the values DEFAULT that are written out, by column, and by which default.
    fn row(
        &self,
        place: (usize, usize),
        replaced: Vec<(usize, usize)>,
        added: &[usize],
    ) -> Vec<RowPiece> {
        let (open, close) = (self.token(place.0), self.token(place.1));
        let (mut pieces, mut done) = (Vec::new(), open.start);
        if !replaced.is_empty() {
            let cells = Layout::cells(self.tokens, place);
            for (column, default) in replaced {
                let Some(cell) = cells.get(column) else { continue };
                let word = self.token(cell.start);
                pieces.push(RowPiece::Text(self.range(done..word.start)));
                pieces.push(RowPiece::Default(default));
                done = word.end;
            }
        }
        pieces.push(RowPiece::Text(self.range(done..close.start)));
        for &default in added {
            pieces.push(RowPiece::Text(Template(vec![Piece::Text(String::from(", "))])));
            pieces.push(RowPiece::Default(default));
        }
        pieces.push(RowPiece::Text(self.range(close)));
        pieces
    }
}

impl Split {
    /// A default that is written out tells the time.
    pub fn tells_time(&self) -> bool {
        self.rows.iter().flat_map(|row| &row.pieces).any(|piece| match piece {
            RowPiece::Default(_) => true,
            RowPiece::Text(_) => false,
        })
    }

    /// Which rows go to which shard, by their positions in the statement.
    pub fn by_shard(
        &self,
        planned: &Planned,
        statement: &str,
        params: &Params<'_>,
        rules: &Rules,
    ) -> Result<BTreeMap<ShardId, Vec<usize>>, Unroutable> {
        let values = Values { statement, shape: &planned.shape, params };
        let mut shards: BTreeMap<ShardId, Vec<usize>> = BTreeMap::new();
        for (index, row) in self.rows.iter().enumerate() {
            row.at.each(values, rules, &mut |shard, _| {
                shards.entry(shard).or_default().push(index);
                Ok(())
            })?;
        }
        Ok(shards)
    }

    /// The statement with these rows only.
    pub fn text(&self, rows: &[usize], moment: Option<&Moment>) -> Template {
        let mut all = self.head.clone();
        for (index, row) in rows.iter().filter_map(|&at| self.rows.get(at)).enumerate() {
            if index > 0 {
                all.text(", ");
            }
            for piece in &row.pieces {
                match piece {
                    RowPiece::Text(text) => all.0.extend(text.0.iter().cloned()),
                    RowPiece::Default(default) => {
                        let default = self.defaults.get(*default);
                        all.text(
                            default.map(|default| default.written(moment)).unwrap_or_default(),
                        );
                    }
                }
            }
        }
        all.0.extend(self.tail.0.iter().cloned());
        all
    }
}
