//! A statement that writes rows, and what all such statements have in common.
use super::statement::{
    Action, Assignment, Cte, Delete, From, Insert, Merge, Output, Statement, Update,
};

#[derive(Clone, Copy, Debug)]
pub enum Write<'s> {
    Insert(&'s Insert),
    Update(&'s Update),
    Delete(&'s Delete),
    Merge(&'s Merge),
}

impl Statement {
    /// `None`: it is no INSERT, UPDATE, DELETE or MERGE.
    pub fn write(&self) -> Option<Write<'_>> {
        match self {
            Statement::Insert(insert) => Some(Write::Insert(insert)),
            Statement::Update(update) => Some(Write::Update(update)),
            Statement::Delete(delete) => Some(Write::Delete(delete)),
            Statement::Merge(merge) => Some(Write::Merge(merge)),
            Statement::Query(_)
            | Statement::Copy(_)
            | Statement::Explain { .. }
            | Statement::Ddl(_)
            | Statement::Lock(_)
            | Statement::Notify
            | Statement::Opaque(_) => None,
        }
    }
}

impl<'s> Write<'s> {
    pub fn ctes(self) -> &'s [Cte] {
        match self {
            Write::Insert(insert) => &insert.ctes,
            Write::Update(update) => &update.ctes,
            Write::Delete(delete) => &delete.ctes,
            Write::Merge(merge) => &merge.ctes,
        }
    }

    /// What is read beside the table that is written: FROM, USING.
    pub fn sources(self) -> &'s [From] {
        match self {
            Write::Insert(_) => &[],
            Write::Update(update) => &update.from,
            Write::Delete(delete) => &delete.using,
            Write::Merge(merge) => std::slice::from_ref(&merge.source),
        }
    }

    /// What is set in rows that are there.
    pub fn assignments(self) -> Vec<&'s Assignment> {
        match self {
            Write::Insert(insert) => {
                insert.conflict.iter().flat_map(|conflict| &conflict.set).collect()
            }
            Write::Update(update) => update.set.iter().collect(),
            Write::Delete(_) => Vec::new(),
            Write::Merge(merge) => {
                let set = |action: &'s Action| match action {
                    Action::Update(set) => set.as_slice(),
                    Action::Nothing | Action::Delete | Action::Insert { .. } => &[],
                };
                merge.actions.iter().flat_map(|action| set(&action.action)).collect()
            }
        }
    }

    pub fn returning(self) -> &'s [Output] {
        match self {
            Write::Insert(insert) => &insert.returning,
            Write::Update(update) => &update.returning,
            Write::Delete(delete) => &delete.returning,
            Write::Merge(merge) => &merge.returning,
        }
    }

    /// Whether every row that is inserted, if any is, is given a value for that column.
    pub fn gives(self, column: &str) -> bool {
        let listed = |columns: &[String]| columns.iter().any(|one| one == column);
        match self {
            Write::Insert(insert) => listed(&insert.columns),
            Write::Update(_) | Write::Delete(_) => true,
            Write::Merge(merge) => merge.actions.iter().all(|action| match &action.action {
                Action::Nothing | Action::Delete | Action::Update(_) => true,
                Action::Insert { columns, values } => {
                    listed(columns) && values.iter().all(Option::is_some)
                }
            }),
        }
    }
}
