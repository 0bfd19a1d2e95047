//! RECONNECT: server connections are replaced as soon as nobody uses them, as in PgBouncer.
use super::Action;
use crate::admin::system::{Doing, Place, System};
use std::ops::RangeInclusive;

pub struct Reconnect;

impl Action for Reconnect {
    fn name(&self) -> &'static str {
        "RECONNECT"
    }

    fn syntax(&self) -> &'static str {
        "RECONNECT [database[.shard]]"
    }

    fn help(&self) -> &'static str {
        "replaces server connections as soon as nobody uses them"
    }

    fn names(&self) -> RangeInclusive<usize> {
        0..=2
    }

    fn run<'a>(&self, system: &'a dyn System, place: &'a Place) -> Doing<'a> {
        system.reconnect(place)
    }
}
