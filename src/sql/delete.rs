//! DELETE … USING.
use super::parse::{Reader, Unread};
use super::statement::Delete;
use sqlparser::ast::{self, FromTable};

impl Reader {
    pub(super) fn delete(&mut self, delete: &ast::Delete) -> Result<Delete, Unread> {
        if !delete.tables.is_empty()
            || delete.output.is_some()
            || !delete.order_by.is_empty()
            || delete.limit.is_some()
        {
            return Err(Unread::unsupported("a DELETE clause that is not PostgreSQL's"));
        }
        let (FromTable::WithFromKeyword(tables) | FromTable::WithoutKeyword(tables)) = &delete.from;
        let [target] = tables.as_slice() else {
            return Err(Unread::unsupported("DELETE from several tables"));
        };
        if !target.joins.is_empty() {
            return Err(Unread::unsupported("DELETE from a join"));
        }
        Ok(Delete {
            recursive: false,
            ctes: Vec::new(),
            table: self.table(&target.relation)?,
            using: self.items(delete.using.as_deref().unwrap_or_default())?,
            filter: self.exprs(&delete.selection)?.pop(),
            returning: self.outputs(delete.returning.as_deref().unwrap_or_default())?,
        })
    }
}
