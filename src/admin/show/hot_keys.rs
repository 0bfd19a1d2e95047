//! SHOW HOT_KEYS: the keys and buckets that most statements are about, from a sample.
use super::Show;
use crate::admin::system::System;
use crate::admin::table::{Table, bigint, text};

pub struct HotKeys;

impl Show for HotKeys {
    fn name(&self) -> &'static str {
        "HOT_KEYS"
    }

    fn help(&self) -> &'static str {
        "keys and buckets that most statements are about, estimated"
    }

    fn table(&self, system: &dyn System) -> Table {
        let mut table = Table::new([
            text("database"),
            text("kind"),
            text("distribution"),
            text("key"),
            bigint("bucket"),
            text("shard"),
            bigint("statements"),
            bigint("doubtful"),
            bigint("percent"),
        ]);
        for row in system.hot_keys() {
            table.push([
                row.database.into(),
                if row.key.is_some() { "key" } else { "bucket" }.into(),
                row.distribution.into(),
                row.key.into(),
                row.bucket.into(),
                row.shard.into(),
                row.statements.into(),
                row.doubtful.into(),
                row.percent.into(),
            ]);
        }
        table
    }
}
