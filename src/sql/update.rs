//! UPDATE … SET … FROM.
use super::parse::{Reader, Unread};
use super::statement::Update;
use sqlparser::ast::{self, UpdateTableFromKind};

impl Reader {
    pub(super) fn update(&mut self, update: &ast::Update) -> Result<Update, Unread> {
        if !update.table.joins.is_empty()
            || update.output.is_some()
            || update.or.is_some()
            || !update.order_by.is_empty()
            || update.limit.is_some()
        {
            return Err(Unread::unsupported("an UPDATE clause that is not PostgreSQL's"));
        }
        let from = match &update.from {
            None => Vec::new(),
            Some(UpdateTableFromKind::AfterSet(from)) => self.items(from)?,
            Some(UpdateTableFromKind::BeforeSet(_)) => {
                return Err(Unread::unsupported("FROM before SET"));
            }
        };
        Ok(Update {
            recursive: false,
            ctes: Vec::new(),
            table: self.table(&update.table.relation)?,
            set: self.assignments(&update.assignments)?,
            from,
            filter: self.exprs(&update.selection)?.pop(),
            returning: self.outputs(update.returning.as_deref().unwrap_or_default())?,
        })
    }
}
