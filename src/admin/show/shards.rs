//! SHOW SHARDS: each server of each shard, and what weir makes of it.
use super::Show;
use crate::admin::system::System;
use crate::admin::table::{Table, bigint, text};

pub struct Shards;

impl Show for Shards {
    fn name(&self) -> &'static str {
        "SHARDS"
    }

    fn help(&self) -> &'static str {
        "each shard's servers: what they are, whether they are used, what runs there"
    }

    fn table(&self, system: &dyn System) -> Table {
        let mut table = Table::new([
            text("database"),
            text("state"),
            text("addr"),
            bigint("port"),
            text("shard"),
            bigint("server"),
            text("role"),
            text("breaker"),
            bigint("paused"),
            bigint("drained"),
            bigint("connections"),
            bigint("outstanding"),
            bigint("buckets"),
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
                server.buckets.into(),
            ]);
        }
        table
    }
}
