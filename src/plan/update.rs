//! UPDATE: the target is an instance like any other. If its key changes, rows may move.
use super::Unroutable;
use super::analyst::{Analyst, WriteSite};
use super::scope::{Columns, Env, Scope};
use super::write::updated;
use crate::sql::statement::Update;

impl Analyst<'_> {
    pub fn update(&mut self, update: &Update, env: &Env<'_>) -> Result<Columns, Unroutable> {
        let since = self.facts.mark();
        self.with_ctes(&update.ctes, update.recursive, env, |analyst, env| {
            let (found, item) = analyst.target(&update.table)?;
            analyst.lock_sites.push(item.hot.clone());
            let (mut scope, key) = (Scope::new(None), item.key);
            scope.items.push(item);
            for from in &update.from {
                analyst.from(from, &mut scope, env)?;
            }
            let scope = scope;
            if let Some(filter) = &update.filter {
                analyst.condition(filter, &(0..scope.items.len()), env, &scope)?;
            }
            analyst.assignments(&update.set, env, &scope)?;
            let returned = analyst.returning(&update.returning, env, &scope)?;
            let anchor = key.map(|key| analyst.facts.class(key, since));
            let moves = analyst.moved(update, &found, key);
            let (table, changes) = (update.table.name.clone(), updated(&update.set));
            analyst.writes.push(WriteSite { table, found, anchor, changes, moves });
            Ok(returned)
        })
    }
}
