//! SHOW TRANSACTIONS: what is prepared on the shards under weir's names, at the last look.
use super::{Show, ms};
use crate::admin::system::System;
use crate::admin::table::{Table, bigint, text};

pub struct Transactions;

impl Show for Transactions {
    fn name(&self) -> &'static str {
        "TRANSACTIONS"
    }

    fn help(&self) -> &'static str {
        "transactions over several shards that are prepared, and why those in doubt are"
    }

    fn table(&self, system: &dyn System) -> Table {
        let mut table = Table::new([
            text("database"),
            text("shard"),
            text("gid"),
            bigint("age_ms"),
            text("state"),
            text("reason"),
        ]);
        for prepared in system.transactions() {
            table.push([
                prepared.database.into(),
                prepared.shard.into(),
                prepared.gid.into(),
                ms(prepared.age),
                prepared.state.into(),
                prepared.reason.into(),
            ]);
        }
        table
    }
}
