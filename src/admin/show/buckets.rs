//! SHOW BUCKETS: a row for each shard of each distribution.
use super::Show;
use crate::admin::system::System;
use crate::admin::table::{Table, bigint, text};

pub struct Buckets;

impl Show for Buckets {
    fn name(&self) -> &'static str {
        "BUCKETS"
    }

    fn help(&self) -> &'static str {
        "which buckets live on which shard"
    }

    fn table(&self, system: &dyn System) -> Table {
        let mut table = Table::new([
            text("database"),
            text("distribution"),
            text("shard"),
            bigint("count"),
            text("buckets"),
        ]);
        for row in system.buckets() {
            table.push([
                row.database.into(),
                row.distribution.into(),
                row.shard.into(),
                row.count.into(),
                row.ranges.into(),
            ]);
        }
        table
    }
}
