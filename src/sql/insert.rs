//! INSERT and what an ON CONFLICT would do.
use super::parse::{Reader, Unread, folded};
use super::statement::{Assignment, Conflict, Insert, Place, Source};
use sqlparser::ast::{
    self, AssignmentTarget, ObjectNamePart, OnConflictAction, OnInsert, SetExpr, TableObject,
};

impl Reader {
    pub(super) fn insert(&mut self, insert: &ast::Insert) -> Result<Insert, Unread> {
        if insert.or.is_some()
            || insert.ignore
            || insert.overwrite
            || insert.replace_into
            || !insert.assignments.is_empty()
            || insert.partitioned.is_some()
            || insert.output.is_some()
            || insert.insert_alias.is_some()
            || insert.multi_table_insert_type.is_some()
        {
            return Err(Unread::unsupported("an INSERT clause that is not PostgreSQL's"));
        }
        let TableObject::TableName(table) = &insert.table else {
            return Err(Unread::unsupported("INSERT into something that is no table"));
        };
        let alias = insert.table_alias.as_ref().map(|alias| folded(&alias.alias));
        let last = insert.table_alias.as_ref().map(|alias| &alias.alias).or(match table.0.last() {
            Some(ObjectNamePart::Identifier(ident)) => Some(ident),
            Some(ObjectNamePart::Function(_)) | None => None,
        });
        let end = last.map(|ident| ident.span.end);
        let conflict = match &insert.on {
            None => None,
            Some(OnInsert::DuplicateKeyUpdate(_)) => {
                return Err(Unread::unsupported("ON DUPLICATE KEY"));
            }
            Some(OnInsert::OnConflict(conflict)) => Some(match &conflict.action {
                OnConflictAction::DoNothing => Conflict { set: Vec::new(), filter: None },
                OnConflictAction::DoUpdate(update) => Conflict {
                    set: self.assignments(&update.assignments)?,
                    filter: self.exprs(&update.selection)?.pop(),
                },
            }),
            Some(_) => return Err(Unread::unsupported("an ON clause that is not PostgreSQL's")),
        };
        Ok(Insert {
            recursive: false,
            ctes: Vec::new(),
            table: super::parse::name(table)?,
            alias,
            columns: columns(&insert.columns)?,
            columns_at: end
                .map(|end| Place { line: end.line, column: end.column })
                .unwrap_or_default(),
            source: self.source(insert.source.as_deref())?,
            conflict,
            returning: self.outputs(insert.returning.as_deref().unwrap_or_default())?,
        })
    }

    fn source(&mut self, query: Option<&ast::Query>) -> Result<Source, Unread> {
        let Some(query) = query else { return Ok(Source::Defaults) };
        let plain = query.with.is_none()
            && query.order_by.is_none()
            && query.limit_clause.is_none()
            && query.fetch.is_none();
        match (&*query.body, plain) {
            (SetExpr::Values(values), true) => Ok(Source::Rows(
                values
                    .rows
                    .iter()
                    .map(|row| row.content.iter().map(|expr| self.or_default(expr)).collect())
                    .collect::<Result<_, _>>()?,
            )),
            _ => Ok(Source::Query(self.query(query)?)),
        }
    }

    /// `None` for the keyword DEFAULT, which the parser takes for a column's name.
    pub(super) fn or_default(
        &mut self,
        expr: &ast::Expr,
    ) -> Result<Option<super::statement::Expr>, Unread> {
        match expr {
            ast::Expr::Identifier(ident)
                if ident.quote_style.is_none() && ident.value.eq_ignore_ascii_case("default") =>
            {
                Ok(None)
            }
            expr => self.expr(expr).map(Some),
        }
    }

    pub(super) fn assignments(
        &mut self,
        assignments: &[ast::Assignment],
    ) -> Result<Vec<Assignment>, Unread> {
        assignments
            .iter()
            .map(|assignment| {
                let columns = match &assignment.target {
                    AssignmentTarget::ColumnName(name) => vec![target(name)?],
                    AssignmentTarget::Tuple(names) => {
                        names.iter().map(target).collect::<Result<_, _>>()?
                    }
                };
                Ok(Assignment { columns, value: self.expr(&assignment.value)? })
            })
            .collect()
    }
}

/// `a`, or `a.field` and `a[1]`, which set part of column a.
fn target(name: &ast::ObjectName) -> Result<String, Unread> {
    match name.0.first() {
        Some(ObjectNamePart::Identifier(ident)) => Ok(folded(ident)),
        Some(ObjectNamePart::Function(_)) | None => Err(Unread::unsupported("a SET target")),
    }
}

pub(super) fn columns(names: &[ast::ObjectName]) -> Result<Vec<String>, Unread> {
    names.iter().map(target).collect()
}
