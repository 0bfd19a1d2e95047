//! UNION, INTERSECT and EXCEPT of SELECTs that are all spread alike.
//!
//! UNION ALL puts rows together, as the shards do. The others compare rows: with the key in the same
//! place of every arm, rows of two shards are never equal, so each shard compares its own.
use super::core::{self, Core};
use super::level::Aggregates;
use super::limit;
use super::merge::{self, Local};
use super::order::{self, Order};
use super::{Collation, Merge, Rows, Subject, Template, Ties};
use crate::sql::block::{Arm, SetKind};
use crate::sql::statement::{Body, Expr, Literal, Output, Select};

pub fn plan(subject: &Subject<'_, '_>) -> Option<Merge> {
    let parts = subject.blocks.as_ref()?.whole()?;
    if parts.operators.is_empty()
        || parts.tail.locks.is_some()
        || !parts.agrees(&subject.shape.text, subject.query)
    {
        return None;
    }
    let mut selects = Vec::new();
    flatten(&subject.query.body, &mut selects)?;
    let mut arms = Vec::new();
    for (arm, select) in parts.arms.iter().zip(selects) {
        let Arm::Select(block) = arm else { return None };
        let core = Core::arm(subject, parts, block, select)?;
        if core.local()? != Local::Yes || !core.is_distinct_alone() {
            return None;
        }
        arms.push(core);
    }
    let distribution = arms.first()?.anchor.distribution;
    if arms.iter().any(|arm| arm.anchor.distribution != distribution) {
        return None;
    }
    let kept =
        parts.operators.iter().all(|operator| operator.kind == SetKind::Union && operator.all);
    let unions = parts.operators.iter().all(|operator| operator.kind == SetKind::Union);
    let last_distinct = parts.operators.last().is_some_and(|operator| !operator.all);
    let rows = match arms.iter().all(Core::is_plain) {
        _ if kept || same_key(&arms) => Rows::All,
        true if unions && last_distinct => Rows::Distinct,
        _ => return None,
    };
    let order = ordered(&arms, subject)?;
    let limits = limit::of(&parts.tail)?;
    let mut query = Template::default();
    query.range(0..parts.arms.last().map(core::arm_end)?);
    merge::tail(&mut query, &parts.tail, &limits);
    let ties = if parts.tail.ties { Ties::Kept } else { Ties::Cut };
    let texts = arms.first()?.texts();
    Some(Merge { rows, ties, ..merge::passed(query, texts, order, limits) })
}

fn flatten<'b>(body: &'b Body, arms: &mut Vec<&'b Select>) -> Option<()> {
    match body {
        Body::Set(left, right) => {
            flatten(left, arms)?;
            flatten(right, arms)
        }
        Body::Select(select) => {
            arms.push(select);
            Some(())
        }
        Body::Nested(_) | Body::Values(_) | Body::Write(_) => None,
    }
}

/// Whether some column is the key in every arm.
fn same_key(arms: &[Core<'_>]) -> bool {
    let width = arms.first().map_or(0, |arm| arm.select.outputs.len());
    (0..width).any(|item| {
        arms.iter().all(|arm| {
            arm.position(item) == Some(item)
                && arm.output(item).is_some_and(|(expr, _)| arm.is_key(expr))
        })
    })
}

/// A set operation is ordered by its outputs only, which have the first arm's names.
fn ordered(arms: &[Core<'_>], subject: &Subject<'_, '_>) -> Option<Order> {
    let first = arms.first()?;
    let mut order = Order::default();
    for (key, expr) in first.parts.tail.keys.iter().zip(&subject.query.tail) {
        let item = match expr {
            Expr::Literal(Literal::Number(_)) => first.ordinal(expr)?,
            Expr::Column(parts) => match parts.as_slice() {
                [name] => order::named(first, name)??,
                _ => return None,
            },
            _ => return None,
        };
        let bytewise = arms.iter().all(|arm| {
            let output = arm.output(item).map(|(expr, at)| arm.collation(expr, &at));
            output == Some(Collation::Bytes)
        });
        let collation = if bytewise { Collation::Bytes } else { Collation::Unknown };
        order.keys.push(order::sort_key(key, first.position(item)?, collation)?);
    }
    Some(order)
}

impl Core<'_> {
    /// Each row of the answer is a row of the core, or one group of one key.
    fn is_plain(&self) -> bool {
        let aggregates = self.subject.analyst.aggregates(self.select, &[]);
        aggregates != Aggregates::Unclear
            && self.select.outputs.iter().all(|output| matches!(output, Output::Expr { .. }))
    }
}
