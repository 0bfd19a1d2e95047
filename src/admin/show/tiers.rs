//! SHOW TIERS: what holds for each tier, unless user or database say otherwise.
use super::{Show, ms};
use crate::admin::system::System;
use crate::admin::table::{Table, bigint, text};

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
            bigint("size"),
            bigint("min_idle"),
            bigint("reserve"),
            bigint("reserve_after_ms"),
            bigint("queue"),
            bigint("checkout_ms"),
            bigint("statement_ms"),
            bigint("idle_in_transaction_ms"),
            bigint("total_ms"),
            bigint("server_idle_ms"),
            bigint("server_lifetime_ms"),
            bigint("slow_statement_ms"),
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
