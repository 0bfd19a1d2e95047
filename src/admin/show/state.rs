//! SHOW STATE: is everything paused? In PgBouncer's rows.
use super::Show;
use crate::admin::system::System;
use crate::admin::table::{Table, text};

pub struct State;

impl Show for State {
    fn name(&self) -> &'static str {
        "STATE"
    }

    fn help(&self) -> &'static str {
        "active, paused or suspended"
    }

    fn table(&self, system: &dyn System) -> Table {
        let servers = system.servers();
        let paused = !servers.is_empty() && servers.iter().all(|server| server.paused);
        let mut table = Table::new([text("key"), text("value")]);
        for (key, so) in [("active", !paused), ("paused", paused), ("suspended", false)] {
            table.push([key.into(), if so { "yes" } else { "no" }.into()]);
        }
        table
    }
}
