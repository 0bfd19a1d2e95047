//! DELETE: the target is an instance like any other.
use super::Unroutable;
use super::analyst::Analyst;
use super::scope::{Columns, Env, Scope};
use crate::sql::statement::Delete;

impl Analyst<'_> {
    pub fn delete(&mut self, delete: &Delete, env: &Env<'_>) -> Result<Columns, Unroutable> {
        self.with_ctes(&delete.ctes, delete.recursive, env, |analyst, env| {
            let (_, item) = analyst.target(&delete.table)?;
            analyst.lock_sites.push(item.hot.clone());
            let mut scope = Scope::new(None);
            scope.items.push(item);
            for using in &delete.using {
                analyst.from(using, &mut scope, env)?;
            }
            let scope = scope;
            if let Some(filter) = &delete.filter {
                analyst.condition(filter, &(0..scope.items.len()), env, &scope)?;
            }
            analyst.returning(&delete.returning, env, &scope)
        })
    }
}
