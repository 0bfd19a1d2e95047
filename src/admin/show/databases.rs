//! SHOW DATABASES: in PgBouncer's columns, a row for each server of each database.
//!
//! `reserve_pool` is what `reserve_pool_size` was called before PgBouncer 1.23. `pool_size`, `min_pool_size` and `reserve_pool_size` are those of the tier `interactive`.
use super::Show;
use crate::admin::system::System;
use crate::admin::table::{Cell, Table, integer, text};

pub struct Databases;

impl Show for Databases {
    fn name(&self) -> &'static str {
        "DATABASES"
    }

    fn help(&self) -> &'static str {
        "each database: where its shards are, and its limits"
    }

    fn table(&self, system: &dyn System) -> Table {
        let mut table = Table::new([
            text("name"),
            text("host"),
            integer("port"),
            text("database"),
            text("force_user"),
            integer("pool_size"),
            integer("min_pool_size"),
            integer("reserve_pool_size"),
            integer("server_lifetime"),
            text("pool_mode"),
            text("load_balance_hosts"),
            integer("max_connections"),
            integer("current_connections"),
            integer("max_client_connections"),
            integer("current_client_connections"),
            integer("paused"),
            integer("disabled"),
            integer("reserve_pool"),
            text("shard"),
            integer("server"),
            text("role"),
        ]);
        for server in system.servers() {
            let sizes = server.sizes;
            table.push([
                server.database.into(),
                server.host.into(),
                server.port.into(),
                server.dbname.into(),
                sizes.force_user.map_or(Cell::Null, Cell::from),
                sizes.size.into(),
                sizes.min_idle.into(),
                sizes.reserve.into(),
                sizes.server_lifetime.map_or(0, |lifetime| lifetime.as_secs()).into(),
                sizes.pool_mode.into(),
                Cell::Null,
                // As in PgBouncer: 0 is no limit.
                sizes.max_connections.unwrap_or(0).into(),
                server.connections.into(),
                sizes.max_clients.unwrap_or(0).into(),
                sizes.clients.into(),
                server.paused.into(),
                server.disabled.into(),
                sizes.reserve.into(),
                server.shard.into(),
                server.number.into(),
                server.role.as_str().into(),
            ]);
        }
        table
    }
}
