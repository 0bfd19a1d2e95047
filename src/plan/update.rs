//! UPDATE: the target is an instance like any other; its key must not change.
use super::Unroutable;
use super::analyst::{Analyst, WriteSite};
use super::scope::{Columns, Env, Scope};
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
            analyst.assignments(&update.table.name, &found, &update.set, env, &scope)?;
            let returned = analyst.returning(&update.returning, env, &scope)?;
            let anchor = key.map(|key| analyst.facts.class(key, since));
            analyst.writes.push(WriteSite { table: update.table.name.clone(), found, anchor });
            Ok(returned)
        })
    }
}
