//! SHOW USERS: in PgBouncer's columns; users of the configuration, and those who are there now.
use super::Show;
use crate::admin::system::System;
use crate::admin::table::{Cell, Table, integer, text};

pub struct Users;

impl Show for Users {
    fn name(&self) -> &'static str {
        "USERS"
    }

    fn help(&self) -> &'static str {
        "each user: its own limits, and what it has open"
    }

    fn table(&self, system: &dyn System) -> Table {
        let mut table = Table::new([
            text("name"),
            text("pool_size"),
            text("reserve_pool_size"),
            text("pool_mode"),
            integer("max_user_connections"),
            integer("current_connections"),
            integer("max_user_client_connections"),
            integer("current_client_connections"),
            text("tier"),
        ]);
        for user in system.users() {
            table.push([
                user.name.into(),
                user.pool_size.map(|size| size.to_string()).into(),
                Cell::Null,
                user.pool_mode.into(),
                user.max_connections.unwrap_or_default().into(),
                user.connections.into(),
                user.max_clients.unwrap_or_default().into(),
                user.clients.into(),
                user.tier.into(),
            ]);
        }
        table
    }
}
