//! MERGE: every row of the source counts, of the target only those that ON finds.
use super::Unroutable;
use super::analyst::Analyst;
use super::insert::Placing;
use super::scope::{Columns, Env, Scope};
use crate::sql::statement::{Action, Merge};

impl Analyst<'_> {
    pub fn merge(&mut self, merge: &Merge, env: &Env<'_>) -> Result<Columns, Unroutable> {
        self.with_ctes(&merge.ctes, merge.recursive, env, |analyst, env| {
            let (found, item) = analyst.target(&merge.table)?;
            analyst.lock_sites.push(item.hot.clone());
            let mut scope = Scope::new(None);
            scope.items.push(item);
            let source = analyst.from(&merge.source, &mut scope, env)?;
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
                        analyst.assignments(&merge.table.name, &found, set, env, &scope)?;
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
            analyst.returning(&merge.returning, env, &scope)
        })
    }
}
