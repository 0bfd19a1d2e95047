//! SHOW HOT_ROWS: rows that statements wait for in weir, the most waited for first.
use super::Show;
use crate::admin::system::System;
use crate::admin::table::{Table, bigint, text};

pub struct HotRows;

impl Show for HotRows {
    fn name(&self) -> &'static str {
        "HOT_ROWS"
    }

    fn help(&self) -> &'static str {
        "rows that statements wait for, the most waited for first"
    }

    fn table(&self, system: &dyn System) -> Table {
        let mut table = Table::new([
            text("database"),
            text("shard"),
            text("key"),
            bigint("waiting"),
            bigint("waits"),
        ]);
        for row in system.hot_rows() {
            table.push([
                row.database.into(),
                row.shard.into(),
                row.key.into(),
                row.waiting.into(),
                row.waits.into(),
            ]);
        }
        table
    }
}
