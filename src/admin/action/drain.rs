//! DRAIN: no new work for a server, so that it can be stopped. Answers when nothing runs there.
use super::Action;
use crate::admin::system::{Doing, Place, System};
use std::ops::RangeInclusive;

pub struct Drain;

impl Action for Drain {
    fn name(&self) -> &'static str {
        "DRAIN"
    }

    fn syntax(&self) -> &'static str {
        "DRAIN database.shard[.server]"
    }

    fn help(&self) -> &'static str {
        "no new work for these servers"
    }

    fn names(&self) -> RangeInclusive<usize> {
        2..=3
    }

    fn run<'a>(&self, system: &'a dyn System, place: &'a Place) -> Doing<'a> {
        system.drain(place)
    }
}
