//! SHOW SHARD_POOLS: what SHOW POOLS adds up, a row for each server, user and tier.
use super::{Show, us_part};
use crate::admin::system::System;
use crate::admin::table::{Table, bigint, text};

pub struct ShardPools;

impl Show for ShardPools {
    fn name(&self) -> &'static str {
        "SHARD_POOLS"
    }

    fn help(&self) -> &'static str {
        "connections and waiting statements by server, user and tier"
    }

    fn table(&self, system: &dyn System) -> Table {
        let mut table = Table::new([
            text("database"),
            text("user"),
            text("shard"),
            bigint("server"),
            text("tier"),
            bigint("size"),
            bigint("waiting"),
            bigint("active"),
            bigint("idle"),
            bigint("maxwait"),
            bigint("maxwait_us"),
            text("pool_mode"),
        ]);
        for pool in system.pools() {
            table.push([
                pool.database.into(),
                pool.user.into(),
                pool.shard.into(),
                pool.server.into(),
                pool.tier.into(),
                pool.size.into(),
                pool.waiting.into(),
                pool.active.into(),
                pool.idle.into(),
                pool.max_wait.as_secs().into(),
                us_part(pool.max_wait),
                pool.pool_mode.into(),
            ]);
        }
        table
    }
}
