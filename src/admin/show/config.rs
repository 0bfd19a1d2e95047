//! SHOW CONFIG: what is in force. PgBouncer's names come first, for who knows those; then weir.toml's.
use super::Show;
use crate::admin::system::System;
use crate::admin::table::{Table, text};

pub struct Config;

impl Show for Config {
    fn name(&self) -> &'static str {
        "CONFIG"
    }

    fn help(&self) -> &'static str {
        "each setting: its value, its default, whether SET or RELOAD can change it"
    }

    fn table(&self, system: &dyn System) -> Table {
        let mut table =
            Table::new([text("key"), text("value"), text("default"), text("changeable")]);
        for setting in system.settings() {
            table.push([
                setting.key.into(),
                setting.value.into(),
                setting.default.into(),
                if setting.changeable { "yes" } else { "no" }.into(),
            ]);
        }
        table
    }
}
