//! COPY: which table or query, and which way; `options`: everything else.
mod options;

use super::parse::{Reader, Unread, folded};
use super::statement::{Copy, CopyDirection, CopySource};
pub use options::{Forced, FormatName, Header, Options, options};
use sqlparser::ast;

impl Reader {
    pub(super) fn copy(
        &mut self,
        source: &ast::CopySource,
        to: bool,
        target: &ast::CopyTarget,
    ) -> Result<Copy, Unread> {
        let source = match source {
            ast::CopySource::Table { table_name, columns } => CopySource::Table {
                table: super::parse::name(table_name)?,
                columns: columns.iter().map(folded).collect(),
            },
            ast::CopySource::Query(query) => CopySource::Query(self.query(query)?),
        };
        // `COPY t FROM STDOUT` is PostgreSQL, too, and means STDIN.
        let direction = match target {
            ast::CopyTarget::Stdin | ast::CopyTarget::Stdout if to => CopyDirection::ToClient,
            ast::CopyTarget::Stdin | ast::CopyTarget::Stdout => CopyDirection::FromClient,
            ast::CopyTarget::File { .. } | ast::CopyTarget::Program { .. } => CopyDirection::Server,
        };
        Ok(Copy { source, direction })
    }
}
