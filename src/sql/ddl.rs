//! Schema statements: which relations they concern, or that they concern every shard.
use super::parse::{Reader, Unread, folded, name};
use super::predicate::type_name;
use super::statement::{
    ColumnFacts, Concerns, CreateTable, Ddl, Fill, Name, Query, Statement as Said,
};
use sqlparser::ast::{
    self, ColumnOption, CommentObject, GeneratedAs, GrantObjects, ObjectType, Statement,
};

impl Reader {
    /// `None`: no schema statement.
    pub(super) fn ddl(&mut self, statement: &Statement) -> Result<Option<Said>, Unread> {
        use Concerns::{Everything, Relations};
        let (what, concerns) = match statement {
            Statement::CreateTable(table) => {
                ("create table", Concerns::CreateTable(self.create_table(table)?))
            }
            Statement::CreateView(view) => {
                let what = match view.materialized {
                    true => "create materialized view",
                    false => "create view",
                };
                let query: Query = self.query(&view.query)?;
                let (name, temporary) = (name(&view.name)?, view.temporary);
                (what, Concerns::NewView { name, query, temporary })
            }
            Statement::CreateSequence { name: sequence, temporary, .. } => {
                let (name, temporary) = (name(sequence)?, *temporary);
                ("create sequence", Concerns::NewSequence { name, temporary })
            }
            Statement::CreateIndex(index) => {
                ("create index", Relations(vec![name(&index.table_name)?]))
            }
            Statement::CreateTrigger(trigger) => {
                ("create trigger", Relations(vec![name(&trigger.table_name)?]))
            }
            Statement::CreatePolicy(policy) => {
                ("create policy", Relations(vec![name(&policy.table_name)?]))
            }
            Statement::AlterTable(table) => ("alter table", Relations(vec![name(&table.name)?])),
            Statement::Truncate(truncate) => (
                "truncate",
                Relations(names(truncate.table_names.iter().map(|target| &target.name))?),
            ),
            Statement::Drop { object_type, names: dropped, .. } => match object_type {
                ObjectType::Table => ("drop table", Relations(names(dropped)?)),
                ObjectType::View => ("drop view", Relations(names(dropped)?)),
                ObjectType::MaterializedView => {
                    ("drop materialized view", Relations(names(dropped)?))
                }
                ObjectType::Sequence => ("drop sequence", Relations(names(dropped)?)),
                ObjectType::Index => ("drop index", Everything),
                ObjectType::Schema => ("drop schema", Everything),
                ObjectType::Type => ("drop type", Everything),
                ObjectType::Collation => ("drop collation", Everything),
                ObjectType::Role | ObjectType::User | ObjectType::Database => return Ok(None),
                ObjectType::Stage | ObjectType::Stream | ObjectType::Warehouse => return Ok(None),
            },
            Statement::Comment { object_type, object_name, .. } => match object_type {
                CommentObject::Table | CommentObject::View | CommentObject::MaterializedView => {
                    ("comment", Relations(vec![name(object_name)?]))
                }
                CommentObject::Column => ("comment", Relations(vec![column_owner(object_name)?])),
                _ => ("comment", Everything),
            },
            Statement::Grant(grant) => ("grant", self.granted(grant.objects.as_ref())?),
            Statement::Revoke(revoke) => ("revoke", self.granted(revoke.objects.as_ref())?),
            Statement::CreateType { .. } => ("create type", Everything),
            Statement::AlterType(_) => ("alter type", Everything),
            Statement::CreateDomain(_) => ("create domain", Everything),
            Statement::DropDomain(_) => ("drop domain", Everything),
            Statement::CreateFunction(_) => ("create function", Everything),
            Statement::AlterFunction(_) => ("alter function", Everything),
            Statement::DropFunction(_) => ("drop function", Everything),
            Statement::DropProcedure { .. } => ("drop procedure", Everything),
            Statement::DropTrigger(_) => ("drop trigger", Everything),
            Statement::CreateSchema { .. } => ("create schema", Everything),
            Statement::AlterSchema(_) => ("alter schema", Everything),
            Statement::CreateExtension(_) => ("create extension", Everything),
            Statement::DropExtension(_) => ("drop extension", Everything),
            Statement::CreateCollation(_) => ("create collation", Everything),
            Statement::CreateOperator(_) => ("create operator", Everything),
            Statement::DropOperator(_) => ("drop operator", Everything),
            Statement::AlterIndex { .. } => ("alter index", Everything),
            Statement::AlterView { name: view, .. } => ("alter view", Relations(vec![name(view)?])),
            Statement::Vacuum(vacuum) => ("vacuum", Relations(names(vacuum.table_name.as_ref())?)),
            Statement::Analyze(analyze) => {
                ("analyze", Relations(names(analyze.table_name.as_ref())?))
            }
            _ => return Ok(None),
        };
        Ok(Some(Said::Ddl(Ddl { what: what.to_owned(), concerns })))
    }

    fn granted(&mut self, objects: Option<&GrantObjects>) -> Result<Concerns, Unread> {
        Ok(match objects {
            Some(
                GrantObjects::Tables(relations)
                | GrantObjects::Views(relations)
                | GrantObjects::Sequences(relations),
            ) => Concerns::Relations(names(relations)?),
            _ => Concerns::Everything,
        })
    }

    fn create_table(&mut self, table: &ast::CreateTable) -> Result<CreateTable, Unread> {
        Ok(CreateTable {
            name: name(&table.name)?,
            temporary: table.temporary,
            columns: table.columns.iter().map(column).collect(),
            partition_of: table.partition_of.as_ref().map(name).transpose()?,
            inherits: names(table.inherits.iter().flatten())?,
            query: table.query.as_deref().map(|query| self.query(query)).transpose()?,
        })
    }
}

fn column(column: &ast::ColumnDef) -> ColumnFacts {
    let written = type_name(&column.data_type).name;
    let mut fill = match written.contains("serial") {
        true => Fill::Serial,
        false => Fill::Null,
    };
    let mut collation = None;
    for option in &column.options {
        match &option.option {
            ColumnOption::Default(_) => fill = Fill::Default,
            ColumnOption::Identity(_) => fill = Fill::Identity,
            ColumnOption::Generated { generation_expr: Some(_), .. }
            | ColumnOption::Generated { generated_as: GeneratedAs::ExpStored, .. } => {
                fill = Fill::Generated;
            }
            ColumnOption::Generated { .. } => fill = Fill::Identity,
            ColumnOption::Collation(name) => {
                // Another schema's collation may be called like pg_catalog's.
                collation = super::parse::parts(name).ok().and_then(|mut parts| {
                    let name = parts.pop();
                    name.filter(|_| parts.iter().all(|schema| schema == "pg_catalog"))
                });
            }
            _ => {}
        }
    }
    let type_name = match written.as_str() {
        "serial" | "serial4" => String::from("integer"),
        "bigserial" | "serial8" => String::from("bigint"),
        "smallserial" | "serial2" => String::from("smallint"),
        _ => column.data_type.to_string().to_lowercase(),
    };
    ColumnFacts { name: folded(&column.name), type_name, fill, collation }
}

fn names<'a>(names: impl IntoIterator<Item = &'a ast::ObjectName>) -> Result<Vec<Name>, Unread> {
    names.into_iter().map(name).collect()
}

/// `schema.table.column` without its column.
fn column_owner(column: &ast::ObjectName) -> Result<Name, Unread> {
    let mut parts = super::parse::parts(column)?;
    parts.pop();
    super::predicate::named(parts)
}
