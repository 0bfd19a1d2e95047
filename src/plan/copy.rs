//! COPY: of a query like the query, of a table where the whole table is on one shard.
use super::analyst::Analyst;
use super::names::Home;
use super::scope::Env;
use super::{Access, Command, Unroutable};
use crate::sql::statement::{Alias, Copy, CopyDirection, CopySource};

impl Analyst<'_> {
    pub fn copy(&mut self, copy: &Copy, env: &Env<'_>) -> Result<Command, Unroutable> {
        let command = match copy.direction {
            CopyDirection::Server => return Err(Unroutable::CopyServerFile),
            CopyDirection::FromClient => Command::CopyIn,
            CopyDirection::ToClient => Command::CopyOut,
        };
        match &copy.source {
            CopySource::Query(query) => {
                self.query(query, env, None)?;
            }
            CopySource::Table { table, .. } => {
                let (found, _) = self.table(table, &Alias::default())?;
                match (found.home, copy.direction) {
                    (Home::Sharded { .. }, _) => {
                        return Err(Unroutable::CopyKeyed { table: table.to_string() });
                    }
                    (Home::Reference, CopyDirection::FromClient) => {
                        return Err(Unroutable::WritesReference { table: table.to_string() });
                    }
                    (Home::Reference, CopyDirection::ToClient | CopyDirection::Server) => {}
                    (Home::Single(_) | Home::System | Home::Temporary, _) => {}
                }
            }
        }
        if copy.direction == CopyDirection::FromClient {
            self.at_least(Access::Write);
        }
        Ok(command)
    }
}
