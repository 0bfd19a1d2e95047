//! SHOW POOLS: connections and who waits for them, in PgBouncer's columns; a row for each server, user
//! and tier.
//!
//! A client has a server only while a statement or transaction runs, so `cl_active` is the number of
//! connections at work, not of clients that are there. What weir does not tell apart is 0.
use super::{Show, us};
use crate::admin::system::System;
use crate::admin::table::{Cell, Table, integer, text};

pub struct Pools;

impl Show for Pools {
    fn name(&self) -> &'static str {
        "POOLS"
    }

    fn help(&self) -> &'static str {
        "connections to servers, and statements that wait for one"
    }

    fn table(&self, system: &dyn System) -> Table {
        const NONE: Cell = Cell::Integer(0);
        let mut table = Table::new([
            text("database"),
            text("user"),
            integer("cl_active"),
            integer("cl_waiting"),
            integer("cl_active_cancel_req"),
            integer("cl_waiting_cancel_req"),
            integer("sv_active"),
            integer("sv_active_cancel"),
            integer("sv_being_canceled"),
            integer("sv_idle"),
            integer("sv_used"),
            integer("sv_tested"),
            integer("sv_login"),
            integer("maxwait"),
            integer("maxwait_us"),
            text("pool_mode"),
            text("shard"),
            integer("server"),
            text("tier"),
        ]);
        for pool in system.pools() {
            table.push([
                pool.database.into(),
                pool.user.into(),
                pool.active.into(),
                pool.waiting.into(),
                NONE,
                NONE,
                pool.active.into(),
                NONE,
                NONE,
                pool.idle.into(),
                NONE,
                NONE,
                pool.login.into(),
                pool.max_wait.as_secs().into(),
                us(std::time::Duration::from_micros(pool.max_wait.subsec_micros().into())),
                pool.pool_mode.into(),
                pool.shard.into(),
                pool.server.into(),
                pool.tier.into(),
            ]);
        }
        table
    }
}
