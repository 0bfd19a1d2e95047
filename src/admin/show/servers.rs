//! SHOW SERVERS: each server, and what weir makes of it. (In PgBouncer a row is a connection.)
use super::Show;
use crate::admin::system::System;
use crate::admin::table::{Table, integer, text};

pub struct Servers;

impl Show for Servers {
    fn name(&self) -> &'static str {
        "SERVERS"
    }

    fn help(&self) -> &'static str {
        "each server: what it is, whether it is used, what runs there"
    }

    fn table(&self, system: &dyn System) -> Table {
        let mut table = Table::new([
            text("database"),
            text("state"),
            text("addr"),
            integer("port"),
            text("shard"),
            integer("server"),
            text("role"),
            text("breaker"),
            integer("paused"),
            integer("drained"),
            integer("connections"),
            integer("outstanding"),
        ]);
        for server in system.servers() {
            table.push([
                server.database.into(),
                server.state.into(),
                server.host.into(),
                server.port.into(),
                server.shard.into(),
                server.number.into(),
                server.role.as_str().into(),
                server.breaker.state.into(),
                server.paused.into(),
                server.drained.into(),
                server.connections.into(),
                server.outstanding.into(),
            ]);
        }
        table
    }
}
