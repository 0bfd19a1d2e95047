//! SHOW HELP: what may be said here.
use super::Show;
use crate::admin::system::System;
use crate::admin::table::{Table, text};
use crate::admin::{ACTIONS, SHOWS};

pub struct Help;

impl Show for Help {
    fn name(&self) -> &'static str {
        "HELP"
    }

    fn help(&self) -> &'static str {
        "what may be said here"
    }

    fn table(&self, _system: &dyn System) -> Table {
        let mut table = Table::new([text("command"), text("help")]);
        for show in SHOWS {
            table.push([format!("SHOW {}", show.name()).into(), show.help().into()]);
        }
        for action in ACTIONS {
            table.push([action.syntax().into(), action.help().into()]);
        }
        table
    }
}
