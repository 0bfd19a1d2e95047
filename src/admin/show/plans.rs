//! SHOW PLANS: the plan cache, the statements that took most of the time first.
use super::Show;
use crate::admin::system::System;
use crate::admin::table::{Table, bigint, text};

pub struct Plans;

impl Show for Plans {
    fn name(&self) -> &'static str {
        "PLANS"
    }

    fn help(&self) -> &'static str {
        "the plans that are kept: statements, how they are answered, how long they take"
    }

    fn table(&self, system: &dyn System) -> Table {
        let mut table = Table::new([
            text("database"),
            text("shape"),
            text("access"),
            text("strategy"),
            bigint("plans"),
            bigint("calls"),
            bigint("hits"),
            bigint("total_us"),
            bigint("mean_us"),
            bigint("max_us"),
            text("statement"),
        ]);
        for row in system.plans() {
            table.push([
                row.database.into(),
                row.shape.into(),
                row.access.into(),
                row.strategy.into(),
                row.plans.into(),
                row.calls.into(),
                row.calls.saturating_sub(row.plans).into(),
                row.total_us.into(),
                row.total_us.checked_div(row.calls).into(),
                row.max_us.into(),
                row.statement.into(),
            ]);
        }
        table
    }
}
