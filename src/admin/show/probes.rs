//! SHOW PROBES: what the last look at each server has shown.
use super::{Show, ms, us};
use crate::admin::system::System;
use crate::admin::table::{Table, bigint, text};

pub struct Probes;

impl Show for Probes {
    fn name(&self) -> &'static str {
        "PROBES"
    }

    fn help(&self) -> &'static str {
        "what the last look at each server has shown"
    }

    fn table(&self, system: &dyn System) -> Table {
        let mut table = Table::new([
            text("database"),
            text("shard"),
            bigint("server"),
            text("role"),
            text("state"),
            bigint("latency_us"),
            bigint("missed"),
            text("problem"),
            text("system_identifier"),
            bigint("timeline"),
            text("lsn"),
            bigint("lag_ms"),
        ]);
        for server in system.servers() {
            let probe = server.probe;
            table.push([
                server.database.into(),
                server.shard.into(),
                server.number.into(),
                server.role.as_str().into(),
                server.state.into(),
                probe.latency.map(us).into(),
                probe.missed.into(),
                probe.problem.into(),
                probe.system_identifier.into(),
                probe.timeline.into(),
                probe.lsn.into(),
                probe.lag.map(ms).into(),
            ]);
        }
        table
    }
}
