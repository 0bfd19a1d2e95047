//! SHOW BREAKERS: those of all servers, and those of statements that are not closed.
use super::{Show, ms};
use crate::admin::system::{Breaker, System};
use crate::admin::table::{Cell, Table, bigint, text};

pub struct Breakers;

impl Show for Breakers {
    fn name(&self) -> &'static str {
        "BREAKERS"
    }

    fn help(&self) -> &'static str {
        "which servers and statements are left alone, why and for how long"
    }

    fn table(&self, system: &dyn System) -> Table {
        let mut table = Table::new([
            text("kind"),
            text("database"),
            text("shard"),
            bigint("server"),
            text("tier"),
            text("shape"),
            text("state"),
            text("reason"),
            bigint("remaining_ms"),
        ]);
        let state = |Breaker { state, reason, remaining }: Breaker| {
            [state.into(), reason.into(), remaining.map(ms).into()]
        };
        for server in system.servers() {
            let place = [
                "server".into(),
                server.database.into(),
                server.shard.into(),
                server.number.into(),
                Cell::Null,
                Cell::Null,
            ];
            table.push(place.into_iter().chain(state(server.breaker)));
        }
        for broken in system.breakers() {
            let place = [
                "statement".into(),
                broken.database.into(),
                broken.shard.into(),
                Cell::Null,
                broken.tier.into(),
                broken.shape.into(),
            ];
            table.push(place.into_iter().chain(state(broken.breaker)));
        }
        table
    }
}
