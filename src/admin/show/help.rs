//! SHOW HELP: what may be said here.
use super::Show;
use crate::admin::system::System;
use crate::admin::table::{Table, text};
use crate::admin::{ACTIONS, SHOWS, explain};

const SET_HELP: &str =
    "another value for a setting of SHOW CONFIG that is changeable, until the next RELOAD";

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
        table.push([explain::SYNTAX.into(), explain::HELP.into()]);
        table.push(["SET name = value".into(), SET_HELP.into()]);
        table
    }
}
