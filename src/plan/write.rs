//! What all writes have in common: their CTEs, their target, the columns nobody may change.
use super::analyst::Analyst;
use super::names::{Found, Home};
use super::scope::{Columns, CteState, Env, Item, Scope};
use super::{Access, Unroutable};
use crate::sql::statement::{Assignment, Cte, Name, Output, Statement, TableItem};
use std::cell::RefCell;

impl<'a> Analyst<'a> {
    /// A write inside a statement or as the statement; what RETURNING gives.
    pub fn write(&mut self, statement: &Statement, env: &Env<'_>) -> Result<Columns, Unroutable> {
        self.at_least(Access::Write);
        match statement {
            Statement::Insert(insert) => self.insert(insert, env),
            Statement::Update(update) => self.update(update, env),
            Statement::Delete(delete) => self.delete(delete, env),
            Statement::Merge(merge) => self.merge(merge, env),
            Statement::Query(_)
            | Statement::Copy(_)
            | Statement::Explain { .. }
            | Statement::Ddl(_)
            | Statement::Lock(_)
            | Statement::Notify
            | Statement::Opaque(_) => {
                Err(Unroutable::Unsupported { what: String::from("this statement inside WITH") })
            }
        }
    }

    /// Runs `inside` with the statement's own CTEs in sight.
    pub fn with_ctes<T>(
        &mut self,
        ctes: &[Cte],
        recursive: bool,
        env: &Env<'_>,
        inside: impl FnOnce(&mut Self, &Env<'_>) -> Result<T, Unroutable>,
    ) -> Result<T, Unroutable> {
        let state = RefCell::new(vec![CteState::Unused; ctes.len()]);
        let env = Env {
            ctes,
            visible: ctes.len(),
            recursive,
            state: &state,
            parent: Some(env),
            scope: None,
        };
        self.written_ctes(&env)?;
        let done = inside(self, &env)?;
        self.unused_ctes(&env)?;
        Ok(done)
    }

    /// The table that is written, as the first item of the statement's scope. Whether a
    /// reference table may be is seen when the whole statement has been read.
    pub fn target(&mut self, table: &TableItem) -> Result<(Found<'a>, Item), Unroutable> {
        self.table(&table.name, &table.alias)
    }

    /// SET: values are walked; the key and the fallback key stay as they are.
    pub fn assignments(
        &mut self,
        table: &Name,
        found: &Found<'a>,
        set: &[Assignment],
        env: &Env<'_>,
        scope: &Scope<'_>,
    ) -> Result<(), Unroutable> {
        for assignment in set {
            let changed = assignment.columns.iter().find(|column| places(found, column));
            if let Some(column) = changed {
                let (table, column) = (table.to_string(), column.clone());
                return Err(Unroutable::SetsKey { table, column });
            }
            self.visit(&assignment.value, env, scope)?;
        }
        Ok(())
    }

    pub fn returning(
        &mut self,
        returning: &[Output],
        env: &Env<'_>,
        scope: &Scope<'_>,
    ) -> Result<Columns, Unroutable> {
        let mut columns = self.outputs(returning, env, scope)?;
        columns.close();
        Ok(columns)
    }
}

/// Does this column decide where a row lives?
fn places(found: &Found<'_>, column: &str) -> bool {
    match &found.home {
        Home::Sharded { key, fallback, .. } => {
            *key == column || fallback.is_some_and(|fallback| fallback.key == column)
        }
        Home::Reference | Home::Single(_) | Home::System | Home::Temporary => false,
    }
}
