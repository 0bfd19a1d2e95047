//! SHOW RULES: a row for each entry of the rules files.
use super::Show;
use crate::admin::system::System;
use crate::admin::table::{Table, text};

pub struct Rules;

impl Show for Rules {
    fn name(&self) -> &'static str {
        "RULES"
    }

    fn help(&self) -> &'static str {
        "the rules in force, and where each is written"
    }

    fn table(&self, system: &dyn System) -> Table {
        let mut table = Table::new([
            text("database"),
            text("kind"),
            text("name"),
            text("distribution"),
            text("key"),
            text("placement"),
            text("detail"),
            text("place"),
        ]);
        for row in system.rules() {
            table.push([
                row.database.into(),
                row.kind.into(),
                row.name.into(),
                row.distribution.into(),
                row.key.into(),
                row.placement.into(),
                row.detail.into(),
                row.place.into(),
            ]);
        }
        table
    }
}
