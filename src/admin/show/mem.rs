//! SHOW MEM: in PgBouncer's columns, what weir keeps and how large it is at least; the row `process` is what the
//! system says of the whole.
use super::Show;
use crate::admin::system::System;
use crate::admin::table::{Cell, Table, integer, text};

pub struct Mem;

impl Show for Mem {
    fn name(&self) -> &'static str {
        "MEM"
    }

    fn help(&self) -> &'static str {
        "what memory is used for"
    }

    fn table(&self, system: &dyn System) -> Table {
        let mut table = Table::new([
            text("name"),
            integer("size"),
            integer("used"),
            integer("free"),
            integer("memtotal"),
        ]);
        for kind in system.memory() {
            table.push([
                kind.name.into(),
                kind.size.into(),
                kind.used.into(),
                Cell::Integer(0),
                kind.size.saturating_mul(kind.used).into(),
            ]);
        }
        table
    }
}
