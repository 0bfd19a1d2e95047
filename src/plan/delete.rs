//! DELETE: the target is an instance like any other.
use super::Unroutable;
use super::analyst::{Analyst, WriteSite};
use super::foreign::Change;
use super::scope::{Columns, Env, Scope};
use crate::sql::statement::Delete;

impl Analyst<'_> {
    pub fn delete(&mut self, delete: &Delete, env: &Env<'_>) -> Result<Columns, Unroutable> {
        let since = self.facts.mark();
        self.with_ctes(&delete.ctes, delete.recursive, env, |analyst, env| {
            let (found, item) = analyst.target(&delete.table)?;
            analyst.lock_sites.push(item.hot.clone());
            let (mut scope, key) = (Scope::new(None), item.key);
            scope.items.push(item);
            for using in &delete.using {
                analyst.from(using, &mut scope, env)?;
            }
            let scope = scope;
            if let Some(filter) = &delete.filter {
                analyst.condition(filter, &(0..scope.items.len()), env, &scope)?;
            }
            let returned = analyst.returning(&delete.returning, env, &scope)?;
            let anchor = key.map(|key| analyst.facts.class(key, since));
            let (table, changes) = (delete.table.name.clone(), vec![Change::Deleted]);
            analyst.writes.push(WriteSite { table, found, anchor, changes, moves: None });
            Ok(returned)
        })
    }
}
