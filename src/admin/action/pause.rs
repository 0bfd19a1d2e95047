//! PAUSE: until RESUME, new work waits. Answers when nothing runs any more.
use super::Action;
use crate::admin::system::{Doing, Place, System};
use std::ops::RangeInclusive;

pub struct Pause;

impl Action for Pause {
    fn name(&self) -> &'static str {
        "PAUSE"
    }

    fn syntax(&self) -> &'static str {
        "PAUSE [database[.shard]]"
    }

    fn help(&self) -> &'static str {
        "what runs may end, what is new waits"
    }

    fn names(&self) -> RangeInclusive<usize> {
        0..=2
    }

    fn run<'a>(&self, system: &'a dyn System, place: &'a Place) -> Doing<'a> {
        system.pause(place)
    }
}
