//! Where the parts of a query stand: byte ranges of a shape's text, so that another text can be made
//! of them.
//!
//! The clauses are found by PostgreSQL's reserved words at their depth of parentheses; the meaning
//! of what they hold is the syntax tree's affair ([`statement`](super::statement)), and where the
//! two disagree ([`Query::agrees`]) nothing is to be made of either.
//!
//! - `level`: tokens, which parenthesis closes which, words that are names by their place
//! - `read`: the clauses of one query
//! - `agree`: does the syntax tree see the same parts?
//!
//! Invariant: a query's parts tile it; between two of them there are only blanks.
mod agree;
mod level;
mod read;
#[cfg(test)]
mod tests;

use std::ops::Range;

/// Bytes of the shape's text.
pub type Bytes = Range<usize>;

/// All queries of a text, at every depth.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Blocks {
    /// In the order in which they begin.
    pub queries: Vec<Query>,
    /// The first of them is the whole statement.
    whole: bool,
}

/// `WITH … SELECT … UNION SELECT … ORDER BY … LIMIT …`, without the parentheses around it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Query {
    pub range: Bytes,
    pub with: Option<With>,
    /// What set operators combine; at least one.
    pub arms: Vec<Arm>,
    /// One less than the arms.
    pub operators: Vec<SetOperator>,
    pub tail: Tail,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct With {
    pub range: Bytes,
    pub recursive: bool,
    pub ctes: Vec<Cte>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cte {
    pub range: Bytes,
    pub name: Bytes,
    /// Between the parentheses behind the name.
    pub columns: Option<Bytes>,
    /// `MATERIALIZED`, `NOT MATERIALIZED`.
    pub materialized: Option<bool>,
    /// Between its parentheses.
    pub body: Bytes,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Arm {
    Select(Box<Block>),
    Values(Bytes),
    /// `TABLE t`
    Table(Bytes),
    /// Another query; the range holds its parentheses.
    Nested(Bytes),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SetOperator {
    pub range: Bytes,
    pub kind: SetKind,
    pub all: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SetKind {
    Union,
    Intersect,
    Except,
}

/// One SELECT with its clauses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Block {
    /// Begins with SELECT.
    pub range: Bytes,
    /// `SELECT`, `SELECT DISTINCT`, `SELECT DISTINCT ON (…)`
    pub head: Bytes,
    pub distinct: Distinct,
    pub outputs: Vec<Output>,
    pub from: Option<Clause>,
    pub filter: Option<Clause>,
    /// The filter's parts: all of them must be true.
    pub conjuncts: Vec<Bytes>,
    pub group: Option<Group>,
    pub having: Option<Clause>,
    pub window: Option<Clause>,
}

/// A clause with its keywords, and what follows them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Clause {
    pub range: Bytes,
    pub body: Bytes,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Distinct {
    No,
    Rows,
    /// `DISTINCT ON` these.
    On(Vec<Bytes>),
}

/// An item of the SELECT list, its alias included.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Output {
    pub range: Bytes,
    /// Before `AS`, or before the last word, which is the alias if the syntax tree says that there is
    /// one.
    before_alias: Option<Bytes>,
    /// The alias follows `AS`.
    labelled: bool,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Group {
    pub clause: Clause,
    /// `GROUP BY DISTINCT`
    pub distinct: bool,
    pub items: Vec<Bytes>,
}

/// What follows a query's arms.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Tail {
    /// Empty where there is none.
    pub range: Bytes,
    pub order: Option<Clause>,
    pub keys: Vec<Key>,
    pub limit: Option<Amount>,
    pub offset: Option<Amount>,
    /// `FETCH … WITH TIES`
    pub ties: bool,
    /// `FOR UPDATE` and its like.
    pub locks: Option<Bytes>,
}

/// An item of ORDER BY.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Key {
    pub range: Bytes,
    pub expr: Bytes,
    pub direction: Direction,
    /// `NULLS FIRST` is true.
    pub nulls_first: Option<bool>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    Ascending,
    Descending,
    /// `USING` an operator.
    Using,
}

/// LIMIT, FETCH or OFFSET.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Amount {
    /// With its keywords.
    pub range: Bytes,
    pub value: Value,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    /// `LIMIT ALL`, `LIMIT NULL`
    All,
    Number(u64),
    /// `$n`
    Param(u32),
    Other(Bytes),
}

impl Blocks {
    /// The query that is the whole statement.
    pub fn whole(&self) -> Option<&Query> {
        self.queries.first().filter(|_| self.whole)
    }

    /// The SELECT that begins at this byte, and the query that it is an arm of.
    pub fn select(&self, at: usize) -> Option<(&Query, &Block)> {
        self.queries.iter().find_map(|query| {
            let block = query.selects().find(|block| block.range.start == at)?;
            Some((query, block))
        })
    }

    /// The query that begins at this byte and is not in parentheses of its own.
    pub fn query(&self, at: usize) -> Option<&Query> {
        self.queries.iter().find(|query| query.range.start == at)
    }
}

impl Query {
    /// Its arms that are SELECTs without parentheses.
    pub fn selects(&self) -> impl Iterator<Item = &Block> {
        self.arms.iter().filter_map(|arm| match arm {
            Arm::Select(block) => Some(&**block),
            Arm::Values(_) | Arm::Table(_) | Arm::Nested(_) => None,
        })
    }

    /// The query's only arm, if it is a SELECT.
    pub fn only(&self) -> Option<&Block> {
        match self.arms.as_slice() {
            [Arm::Select(block)] => Some(block),
            _ => None,
        }
    }
}

impl Output {
    /// The expression, without the alias that the syntax tree has found.
    pub fn expr(&self, alias: Option<&str>) -> Option<Bytes> {
        match (alias, self.labelled) {
            (None, true) => None,
            (None, false) => Some(self.range.clone()),
            (Some(_), _) => self.before_alias.clone(),
        }
    }
}
