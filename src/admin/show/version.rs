//! SHOW VERSION.
use super::Show;
use crate::admin::system::System;
use crate::admin::table::{Table, text};

pub struct Version;

impl Show for Version {
    fn name(&self) -> &'static str {
        "VERSION"
    }

    fn help(&self) -> &'static str {
        "weir's version"
    }

    fn table(&self, _system: &dyn System) -> Table {
        let mut table = Table::new([text("version")]);
        table.push([concat!("weir ", env!("CARGO_PKG_VERSION")).into()]);
        table
    }
}
