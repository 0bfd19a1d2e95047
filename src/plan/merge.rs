//! MERGE: every row of the source counts, of the target only those that ON finds.
use super::Unroutable;
use super::analyst::{Analyst, WriteSite};
use super::foreign::Change;
use super::insert::Placing;
use super::keys::{Mark, Var};
use super::scope::{Columns, Env, Scope};
use super::write::{refuse_places, updated};
use crate::sql::statement::{Action, Merge, MergeAction};
use std::collections::HashSet;
use std::ops::Range;

impl Analyst<'_> {
    pub fn merge(&mut self, merge: &Merge, env: &Env<'_>) -> Result<Columns, Unroutable> {
        let since = self.facts.mark();
        self.with_ctes(&merge.ctes, merge.recursive, env, |analyst, env| {
            let (found, item) = analyst.target(&merge.table)?;
            analyst.lock_sites.push(item.hot.clone());
            let (mut scope, key) = (Scope::new(None), item.key);
            scope.items.push(item);
            let source = analyst.from(&merge.source, &mut scope, env)?;
            let rows = analyst.rows.len();
            // WHEN NOT MATCHED BY SOURCE concerns target rows that ON does not find.
            let by_source = merge.actions.iter().any(|action| action.by_source);
            let limits = if by_source { 0..0 } else { 0..1 };
            analyst.condition(&merge.on, &limits, env, &scope)?;
            for action in &merge.actions {
                if let Some(filter) = &action.filter {
                    analyst.visit(filter, env, &scope)?;
                }
                match &action.action {
                    Action::Nothing | Action::Delete => {}
                    Action::Update(set) => {
                        refuse_places(&merge.table.name, &found, set)?;
                        analyst.assignments(set, env, &scope)?;
                    }
                    Action::Insert { columns, values } => {
                        for value in values.iter().flatten() {
                            analyst.visit(value, env, &scope)?;
                        }
                        let placing = Placing::of(&merge.table.name, &found, columns)?;
                        if let Some(placing) = placing {
                            analyst.merged_row(&placing, values, &scope, &source)?;
                        }
                    }
                }
            }
            let returned = analyst.returning(&merge.returning, env, &scope)?;
            let inserts =
                merge.actions.iter().any(|action| matches!(action.action, Action::Insert { .. }));
            // Every row of the source counts that may be inserted, so it has to be on its shard. Where none
            // is, only the target's rows matter that ON finds.
            let anchor = match (analyst.source_key(&scope, &source, since, inserts), key) {
                (None, Some(key)) if !inserts && !by_source => {
                    Some(analyst.facts.class(key, since))
                }
                // A row with a key of its own belongs to that key's shard, and the source's may be elsewhere.
                (_, _) if analyst.rows.len() > rows => None,
                (anchor, _) => anchor,
            };
            let (table, changes) = (merge.table.name.clone(), changes(merge));
            analyst.writes.push(WriteSite { table, found, anchor, changes, moves: None });
            Ok(returned)
        })
    }

    /// What equals the key of the source's rows, where they and the inserted ones are of one shard.
    fn source_key(
        &self,
        scope: &Scope<'_>,
        source: &Range<usize>,
        since: Mark,
        inserts: bool,
    ) -> Option<HashSet<Var>> {
        let items = scope.items.get(source.clone())?;
        let cells = items.iter().flat_map(|item| item.columns.slots.iter());
        let keys = cells.filter_map(|slot| slot.cell).filter(|cell| {
            let instance = self.instances.iter().find(|other| other.key == cell.var);
            // A row without a key would be inserted where another column says.
            let sound = instance.is_some_and(|other| !inserts || other.fallback.is_none());
            cell.open && !cell.nullable && sound
        });
        let mut classes = keys.map(|cell| self.facts.class(cell.var, since));
        classes.find(|class| self.passed.iter().all(|(passed, _)| class.contains(&passed.var)))
    }
}

fn changes(merge: &Merge) -> Vec<Change> {
    let of = |action: &MergeAction| match &action.action {
        Action::Nothing | Action::Insert { .. } => Vec::new(),
        Action::Delete => vec![Change::Deleted],
        Action::Update(set) => updated(set),
    };
    merge.actions.iter().flat_map(of).collect()
}
