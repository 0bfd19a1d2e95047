//! How a query is answered whose rows are on several shards.
//!
//! - **merge**: each shard answers for its own rows, and weir unites the answers as they come
//! - **gather**: parts of the answer are brought together in the gather database, where PostgreSQL
//!   finishes
//!
//! `spread` is the proof that a SELECT's answer is the shards' answers put together; `merge` plans what
//! follows from it (`core`: such a query from all sides · `level`: what it does on its own level ·
//! `order`, `limit`, `aggregate`, `set`: clauses), `finish` a gather of what a merge would unite,
//! `two_level` one of groups that the shards have formed, `gather` everything else.
//!
//! `steady`: what every shard works out alike. `view`: what a view is to who reads it.
//!
//! `write` plans the writes whose rows are on several shards, `rows` those that are cut by row,
//! `copies` those of reference tables, `moves` those that change where rows live, `selected` INSERT … SELECT
//! through weir; the latter two are `inserting` rows where they belong.
//!
//! Invariant: what a shard or the gather database is sent is the client's own text with pieces
//! exchanged ([`Template`]); a syntax tree is never printed.
mod aggregate;
pub mod copies;
mod core;
mod explain;
mod finish;
mod gather;
pub mod inserting;
pub mod inside;
pub mod level;
mod limit;
mod merge;
pub mod moves;
mod order;
pub mod rows;
pub mod selected;
mod set;
pub mod spread;
pub mod steady;
mod tokens;
mod two_level;
pub mod view;
pub mod write;

use super::analyst::{Analyst, NeedOf};
use super::{Access, Planned, Unroutable};
use crate::ids::ShardId;
use crate::sql::block::{self, Blocks};
use crate::sql::compat::Analysis;
use crate::sql::moment::{self, Time};
pub use crate::sql::rewrite::{Piece, Template};
use crate::sql::shape::Shape;
use crate::sql::statement::Query;
use std::borrow::Cow;
use tokens::Tokens;
pub use write::{Pace, RowUse, Scattered, Way};

/// Both ways to answer. Which one it is depends on the columns' types, which only a server knows.
#[derive(Debug)]
pub struct Several {
    /// Comes first, if weir can compare and combine the types exactly.
    pub merge: Result<Merge, Unmerged>,
    pub gather: Result<Gather, Unroutable>,
    /// The time is asked for: whoever renders the templates has to know what time it is.
    pub tells_time: bool,
    /// Settings that it asks for must be the client's own: positions of the literals that name them.
    pub settings: Vec<usize>,
}

/// Why weir does not unite the shards' answers itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unmerged {
    /// It is not proved that each of its rows is made of rows of one shard.
    Rows,
    /// Groups, aggregates or windows.
    Groups,
    /// DISTINCT, ORDER BY or LIMIT.
    Order,
    /// A part is one value for all rows, and shards may come to different ones.
    Unsteady,
}

impl Unmerged {
    /// In words that go on after "not merged:".
    pub fn why(self) -> &'static str {
        match self {
            Unmerged::Rows => "rows of several shards may make one row of the answer",
            Unmerged::Groups => {
                "its groups, aggregates or windows are over rows of several shards, and not united exactly"
            }
            Unmerged::Unsteady => {
                "a part of it is worked out once for all rows, and each shard might come to another value"
            }
            Unmerged::Order => "its DISTINCT, ORDER BY or LIMIT is not done exactly by weir",
        }
    }
}

/// A query as both strategies see it.
pub(super) struct Subject<'s, 'a> {
    pub query: &'s Query,
    pub analysis: &'s Analysis<'s>,
    pub shape: &'s Shape,
    pub analyst: &'s Analyst<'a>,
    /// Of the shape.
    pub tokens: Tokens<'s>,
    /// Where its clauses stand in the shape's text.
    pub blocks: Option<Blocks>,
    /// Where the time is told in it.
    pub times: Vec<Time>,
}

impl<'s, 'a> Subject<'s, 'a> {
    fn new(
        query: &'s Query,
        analysis: &'s Analysis<'s>,
        shape: &'s Shape,
        analyst: &'s Analyst<'a>,
    ) -> Result<Self, Unroutable> {
        if analyst.rather_home {
            let what = String::from("a function that asks about the server");
            return Err(Unroutable::NotGathered { what });
        }
        let tokens = Tokens::read(shape)?;
        tokens.admit()?;
        let blocks = Blocks::of(&shape.text);
        let queries = blocks.iter().flat_map(|blocks| &blocks.queries);
        let from = queries.flat_map(block::Query::selects).filter_map(|block| block.from.as_ref());
        let from: Vec<_> = from.map(|clause| clause.body.clone()).collect();
        let times = moment::times(&shape.text, &from);
        if times.iter().any(|time| time.is_rows) {
            return Err(Unroutable::NotGathered { what: String::from("the time in FROM") });
        }
        Ok(Self { query, analysis, shape, analyst, tokens, blocks, times })
    }
}

impl Fragment {
    /// Rows that are asked for as they are.
    fn plain(table: String, query: Template, of: Of) -> Self {
        Self { table, query, of, key: Vec::new(), sought: Vec::new() }
    }
}

impl Several {
    /// `None`: it reads nothing that is on several shards, or does more than read.
    pub(super) fn plan(
        query: &Query,
        analysis: &Analysis<'_>,
        shape: &Shape,
        analyst: &Analyst<'_>,
    ) -> Option<Self> {
        let elsewhere = analyst.needs.iter().any(|need| need.of == NeedOf::Place);
        if analyst.access != Access::Read || elsewhere || analyst.ties.is_some() || analyst.settings
        {
            return None;
        }
        let rows = analyst.needs.iter().any(|need| need.of == NeedOf::Rows);
        if analyst.instances.is_empty() && !rows {
            return None;
        }
        let subject = Subject::new(query, analysis, shape, analyst);
        let planned = match &subject {
            Err(why) => Self::new(Err(Unmerged::Rows), Err(why.clone())),
            Ok(subject) => {
                let merge = merge::plan(subject);
                let finished =
                    merge.as_ref().ok().and_then(|merge| finish::plan(merge, analyst.width));
                let gather = finished
                    .or_else(|| two_level::plan(subject))
                    .map_or_else(|| gather::plan(subject), Ok);
                Self::new(merge, gather).telling(&subject.times)
            }
        };
        Some(Self { settings: analyst.asked_settings.clone(), ..planned })
    }

    /// The setting that it asks for and the client has not SET: each server has a value of its own.
    pub fn foreign_setting<'t>(
        &self,
        planned: &Planned,
        statement: &'t str,
        is_set: impl Fn(&str) -> bool,
    ) -> Option<Cow<'t, str>> {
        let named = |index: &usize| planned.shape.literals.get(*index)?.value(statement);
        let custom = |name: &str| name.contains('.') && is_set(&name.to_ascii_lowercase());
        self.settings.iter().filter_map(named).find(|name| !custom(name))
    }

    fn new(merge: Result<Merge, Unmerged>, gather: Result<Gather, Unroutable>) -> Self {
        Self { merge, gather, tells_time: false, settings: Vec::new() }
    }

    fn telling(mut self, times: &[Time]) -> Self {
        self.tells_time = !times.is_empty();
        if let Ok(merge) = &mut self.merge {
            merge.query = std::mem::take(&mut merge.query).telling(times);
        }
        if let Ok(gather) = &mut self.gather {
            let queries = gather.fragments.iter_mut().map(|fragment| &mut fragment.query);
            for template in queries.chain([&mut gather.residual]) {
                *template = std::mem::take(template).telling(times);
            }
        }
        self
    }

    /// Neither can be done.
    pub(super) fn refused(why: Unroutable) -> Self {
        Self::new(Err(Unmerged::Rows), Err(why))
    }

    /// Why neither can be done.
    pub(super) fn refusal(&self) -> Option<&Unroutable> {
        self.gather.as_ref().err().filter(|_| self.merge.is_err())
    }
}

/// Each shard answers for its own rows; the answers are united.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Merge {
    /// What each shard is asked.
    pub query: Template,
    /// So many columns at the end of each row are not the client's.
    pub hidden: usize,
    /// So many are before them, if the text alone says it.
    pub visible: Option<usize>,
    pub rows: Rows,
    /// `Bytes`: texts among keys and distinct rows are equal only if their bytes are, as under every
    /// deterministic collation.
    pub texts: Collation,
    /// The answer's order. Each shard's rows come in it, too, unless they are groups.
    pub order: Vec<SortKey>,
    pub offset: Option<Count>,
    pub limit: Option<Count>,
    /// What happens to rows that are equal to the last under `order`.
    pub ties: Ties,
}

/// What becomes of rows that are equal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Rows {
    All,
    /// One of each. The shards' own answers have no two that are equal.
    Distinct,
    /// Rows with equal keys are one group; without keys all rows are one. Position: the column of a
    /// shard's row.
    Groups(Vec<Role>),
}

/// What a column is to its group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    Key,
    Combine(Combine),
}

/// How the shards' values become the group's. NULLs do not count, unless all are NULL.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Combine {
    /// In the column's own type.
    Sum,
    Min,
    Max,
    And,
    Or,
    BitAnd,
    BitOr,
    BitXor,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SortKey {
    /// Position in a shard's row.
    pub column: usize,
    pub direction: Direction,
    pub nulls: Nulls,
    /// What is known of texts in this column.
    pub collation: Collation,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    Ascending,
    Descending,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Nulls {
    First,
    Last,
}

/// How texts are ordered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Collation {
    /// By their bytes.
    Bytes,
    /// Only PostgreSQL knows.
    Unknown,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ties {
    Cut,
    /// `FETCH … WITH TIES`
    Kept,
}

/// LIMIT's or OFFSET's number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Count {
    Number(u64),
    /// `$n`; NULL means no limit.
    Param(u32),
}

/// Parts of the answer become temporary tables of the gather database; the rest is run there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Gather {
    pub fragments: Vec<Fragment>,
    /// What is run in the gather database. It names the fragments' tables.
    pub residual: Template,
}

/// A query of which the shards answer their parts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fragment {
    /// In `pg_temp`.
    pub table: String,
    pub query: Template,
    pub of: Of,
    /// Columns that together are unique and not null: `GROUP BY` of them fixes all others.
    pub key: Vec<String>,
    /// Columns that a subquery compares with each row of the query around it.
    pub sought: Vec<String>,
}

/// Whose rows a fragment is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Of {
    EveryShard,
    /// Reference tables: every shard has the same rows.
    AnyShard,
    Shard(ShardId),
}
