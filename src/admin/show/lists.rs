//! SHOW LISTS: how many there are of what, in PgBouncer's rows. weir keeps nothing ready for clients and
//! servers that are yet to come, and has no list of names that it has looked up, so those are 0.
use super::Show;
use crate::admin::system::System;
use crate::admin::table::{Table, integer, text};
use std::collections::BTreeSet;

pub struct Lists;

impl Show for Lists {
    fn name(&self) -> &'static str {
        "LISTS"
    }

    fn help(&self) -> &'static str {
        "how many databases, users, pools, clients and server connections there are"
    }

    fn table(&self, system: &dyn System) -> Table {
        let databases: BTreeSet<_> =
            system.servers().into_iter().map(|server| server.database).collect();
        let pools = super::pools::Pools.table(system).rows.len();
        let mut table = Table::new([text("list"), integer("items")]);
        for (list, items) in [
            ("databases", databases.len()),
            ("users", system.users().len()),
            ("peers", 0),
            ("pools", pools),
            ("peer_pools", 0),
            ("free_clients", 0),
            ("used_clients", system.clients().len()),
            ("login_clients", system.arriving()),
            ("free_servers", 0),
            ("used_servers", system.connections().len()),
            ("dns_names", 0),
            ("dns_zones", 0),
            ("dns_queries", 0),
            ("dns_pending", 0),
        ] {
            table.push([list.into(), (items as u64).into()]);
        }
        table
    }
}
