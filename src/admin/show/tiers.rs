//! SHOW TIERS: what holds for each tier, unless user or database say otherwise.
use super::{Show, ms};
use crate::admin::system::System;
use crate::admin::table::{Table, integer, text};

pub struct Tiers;

impl Show for Tiers {
    fn name(&self) -> &'static str {
        "TIERS"
    }

    fn help(&self) -> &'static str {
        "sizes and time limits of each tier"
    }

    fn table(&self, system: &dyn System) -> Table {
        let mut table = Table::new([
            text("tier"),
            integer("size"),
            integer("min_idle"),
            integer("reserve"),
            integer("reserve_after_ms"),
            integer("queue"),
            integer("checkout_ms"),
            integer("statement_ms"),
            integer("idle_in_transaction_ms"),
            integer("total_ms"),
            integer("server_idle_ms"),
            integer("server_lifetime_ms"),
            integer("slow_statement_ms"),
        ]);
        for tier in system.tiers() {
            table.push([
                tier.name.into(),
                tier.size.into(),
                tier.min_idle.into(),
                tier.reserve.into(),
                ms(tier.reserve_after),
                tier.queue.into(),
                ms(tier.checkout),
                tier.statement.map(ms).into(),
                tier.idle_in_transaction.map(ms).into(),
                tier.total.map(ms).into(),
                tier.server_idle.map(ms).into(),
                tier.server_lifetime.map(ms).into(),
                tier.slow_statement.map(ms).into(),
            ]);
        }
        table
    }
}
