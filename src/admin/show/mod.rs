//! Views: one file each.
pub mod help;
pub mod version;
pub mod pools;
pub mod shard_pools;
pub mod shards;
pub mod buckets;
pub mod rules;
pub mod plans;
pub mod stats;
pub mod sockets;
pub mod users;
pub mod lists;
pub mod config;
pub mod mem;
pub mod state;
pub mod databases;
pub mod probes;
pub mod breakers;
pub mod hot_rows;
pub mod hot_keys;
pub mod tiers;
pub mod transactions;

use super::system::System;
use super::table::{Cell, Table};
use std::time::Duration;

/// `SHOW name`.
pub trait Show: Sync {
    /// In capitals, as one writes it after SHOW.
    fn name(&self) -> &'static str;
    fn help(&self) -> &'static str;
    fn table(&self, system: &dyn System) -> Table;
}

/// Whole milliseconds.
fn ms(duration: Duration) -> Cell {
    Cell::from(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

/// The microseconds besides the whole seconds.
fn us_part(duration: Duration) -> Cell {
    Cell::from(duration.subsec_micros())
}

/// Whole microseconds.
fn us(duration: Duration) -> Cell {
    Cell::from(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
}
