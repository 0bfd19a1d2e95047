//! Which queries each shard answers for its own rows, and how the answers are united.
//!
//! The core of the query is spread, so each shard has all rows of its keys. What comes after FROM and
//! WHERE is done by the shard alone if it concerns rows of one key only: plain outputs, groups and
//! windows by the key. The rest is for the merge: ORDER BY, LIMIT, DISTINCT, groups of splittable
//! aggregates.
use super::core::Core;
use super::level::{self, Aggregates};
use super::limit::{self, Limits};
use super::order::{self, Order};
use super::{Collation, Merge, Rows, Subject, Template, Ties, Unmerged, aggregate, set, steady};
use crate::plan::meaning::Names;
use crate::sql::block::Bytes;
use crate::sql::statement::{Distinct, Grouping};

/// As far as that is proved to be possible.
pub fn plan(subject: &Subject<'_, '_>) -> Result<Merge, Unmerged> {
    match Core::of(subject) {
        _ if !steady::is_steady(subject.query, &(0..subject.shape.text.len()), subject) => {
            Err(Unmerged::Unsteady)
        }
        None => set::plan(subject).ok_or(Unmerged::Rows),
        Some(core) => match core.local() {
            None => Err(Unmerged::Groups),
            Some(Local::Yes) => united(&core).ok_or(Unmerged::Order),
            Some(Local::Groups) => aggregate::plan(&core).ok_or(Unmerged::Groups),
        },
    }
}

/// Who forms the rows that the SELECT list says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Local {
    /// Each shard, for itself.
    Yes,
    /// Shards have parts of groups.
    Groups,
}

impl Core<'_> {
    /// `None`: neither is proved.
    pub fn local(&self) -> Option<Local> {
        let aggregates = self.subject.analyst.aggregates(self.select, self.order);
        let by_key = match (&self.select.grouping, aggregates) {
            (_, Aggregates::Unclear) | (Grouping::Sets(_), _) => return None,
            (Grouping::None, Aggregates::None) => true,
            (Grouping::None, Aggregates::Some) => false,
            (Grouping::By(exprs), _) => {
                level::means_key(exprs, self.select, Names::Columns, &self.anchor.spelled)
            }
        };
        let windows = level::windows_by_key(self.select, self.order, &self.anchor.spelled);
        match by_key {
            true if windows || !level::windowed(self.select, self.order) => Some(Local::Yes),
            true => None,
            false => Some(Local::Groups),
        }
    }
}

/// Rows that the shards have formed are put together.
fn united(core: &Core<'_>) -> Option<Merge> {
    let rows = match &core.select.distinct {
        // Rows of two shards differ in the key.
        _ if core.is_distinct_alone() => Rows::All,
        Distinct::No | Distinct::Rows => Rows::Distinct,
        Distinct::On(_) => return None,
    };
    let order = order::of(core)?;
    // DISTINCT is not what it was with one more column.
    if !order.hidden.is_empty() && matches!(core.select.distinct, Distinct::Rows) {
        return None;
    }
    let limits = limit::of(&core.parts.tail)?;
    Some(Merge {
        query: query(core, &order.hidden, &limits),
        hidden: order.hidden.len(),
        visible: core.listed(),
        rows,
        texts: core.texts(),
        order: order.keys,
        offset: limits.offset,
        limit: limits.limit,
        ties: if core.parts.tail.ties { Ties::Kept } else { Ties::Cut },
    })
}

impl Core<'_> {
    /// Its DISTINCT, if it has one, compares rows of one key only.
    pub fn is_distinct_alone(&self) -> bool {
        level::distinct_by_key(self.select, &self.anchor.spelled)
    }
}

/// The client's text with hidden columns and the shard's share of LIMIT.
fn query(core: &Core<'_>, hidden: &[Bytes], limits: &Limits) -> Template {
    let mut query = Template::default();
    let body_end = core.block.range.end;
    let outputs_end = core.block.outputs.last().map_or(core.block.head.end, |last| last.range.end);
    query.range(0..outputs_end);
    for (index, range) in hidden.iter().enumerate() {
        query.text(", (");
        query.range(range.clone());
        query.text(format!(") AS weir_{}", index + 1));
    }
    query.range(outputs_end..body_end);
    tail(&mut query, &core.parts.tail, limits);
    query
}

/// ORDER BY as it is, LIMIT for one shard.
pub fn tail(query: &mut Template, tail: &crate::sql::block::Tail, limits: &Limits) {
    if let Some(order) = &tail.order {
        query.text(" ");
        query.range(order.range.clone());
    }
    query.0.extend(limits.pushed.0.iter().cloned());
}

/// Nothing is done with rows but to pass them on.
pub fn passed(query: Template, texts: Collation, order: Order, limits: Limits) -> Merge {
    Merge {
        query,
        hidden: 0,
        visible: None,
        rows: Rows::All,
        texts,
        order: order.keys,
        offset: limits.offset,
        limit: limits.limit,
        ties: Ties::Cut,
    }
}
