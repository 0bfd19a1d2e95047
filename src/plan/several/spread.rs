//! The proof that the rows of a SELECT's FROM and WHERE are those of the shards put together.
//!
//! The argument: let A be the key column of a sharded table in FROM that no outer join extends with
//! NULLs (the *anchor*). Each row of the core comes from one row of A's table, so the core is the
//! disjoint union, over all keys K, of the core with `A = K` added. If that condition limits every
//! sharded table in the SELECT, subqueries included, to the rows of key K, and all of them are
//! distributed alike, then the part of K is worked out from the rows of K's shard alone. On any other
//! shard the part is empty, because A's table has no row of K there. So each shard, asked the
//! unchanged text, answers with the parts of its keys, and nothing else.
//!
//! Rows whose key is NULL live where their fallback key says. With `A` a column of a table in this very
//! FROM, such a row is on one shard, and conditions that limit the other tables by equality with
//! its key leave none of their rows; so the argument holds. Where the anchor comes out of a
//! subquery, the subquery may have grouped such rows; then the proof asks that there are none.
use super::level;
use crate::ids::DistributionId;
use crate::plan::analyst::Analyst;
use crate::plan::keys::{Mark, Var};
use crate::plan::scope::Scope;
use crate::sql::statement::{Expr, Place, Select};
use std::collections::HashSet;
use std::ops::Range;

/// A SELECT that has been read.
#[derive(Debug)]
pub struct Frame {
    /// Of its SELECT, in the analysed text.
    pub at: Place,
    /// The sharded tables that it reads, subqueries included.
    pub instances: Range<usize>,
    /// Among the analyst's.
    pub needs: Range<usize>,
    /// The proof, if there is one.
    pub anchor: Option<Anchor>,
}

/// Rows of the SELECT's core are on the shard of this key.
#[derive(Debug)]
pub struct Anchor {
    pub distribution: DistributionId,
    /// What equals the key.
    pub class: HashSet<Var>,
    /// Whether there may be rows without a key, in several places.
    pub nulls: KeyNulls,
    /// Columns of the SELECT's own level, as they are spelled, that are the key and not NULL.
    pub spelled: HashSet<Vec<String>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyNulls {
    None,
    Some,
}

/// What was known when a SELECT began.
pub struct Beginning {
    at: Place,
    instances: usize,
    needs: usize,
    uses: usize,
    facts: Mark,
}

impl Analyst<'_> {
    pub fn beginning(&self, at: Place) -> Beginning {
        Beginning {
            at,
            instances: self.instances.len(),
            needs: self.needs.len(),
            uses: self.uses.len(),
            facts: self.facts.mark(),
        }
    }

    /// A SELECT has been read to its end.
    pub fn frame(&mut self, since: Beginning, scope: &Scope<'_>, select: &Select, tail: &[Expr]) {
        let instances = since.instances..self.instances.len();
        let needs = since.needs..self.needs.len();
        let mut anchor = match needs.is_empty() {
            true => self.anchor(instances.clone(), since.facts, scope),
            false => None,
        };
        if let Some(anchor) = &mut anchor
            && anchor.nulls == KeyNulls::None
        {
            anchor.spelled = level::by_key(select, tail, scope, &anchor.class);
        }
        let uses = self.uses.get_mut(since.uses..).unwrap_or_default();
        for table in uses.iter_mut().filter(|table| table.within == since.at) {
            table.extended |= scope.items.get(table.item).is_some_and(|item| item.extended);
        }
        self.frames.push(Frame { at: since.at, instances, needs, anchor });
    }

    fn anchor(&self, instances: Range<usize>, since: Mark, scope: &Scope<'_>) -> Option<Anchor> {
        let instances = self.instances.get(instances)?;
        let distribution = instances.first()?.distribution;
        if instances.iter().any(|instance| instance.distribution != distribution) {
            return None;
        }
        let guests = instances.iter().any(|instance| instance.fallback.is_some());
        let candidates = scope.items.iter().flat_map(|item| {
            let cells = item.columns.slots.iter().filter_map(|slot| slot.cell);
            let limited = cells.filter(|cell| cell.open && !cell.nullable).map(|cell| cell.var);
            // A view's key may be none of its columns.
            limited.chain(item.key.filter(|_| !item.extended)).map(move |var| (item, var))
        });
        candidates
            .filter(|(item, var)| !guests || item.key == Some(*var))
            .filter(|(_, var)| instances.iter().any(|instance| instance.key == *var))
            .map(|(_, var)| self.facts.class(var, since))
            .find(|class| instances.iter().all(|instance| class.contains(&instance.key)))
            .map(|class| Anchor {
                distribution,
                class,
                nulls: if guests { KeyNulls::Some } else { KeyNulls::None },
                spelled: HashSet::new(),
            })
    }
}
