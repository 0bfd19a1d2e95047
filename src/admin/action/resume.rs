//! RESUME: the end of PAUSE and of DRAIN.
use super::Action;
use crate::admin::system::{Doing, Place, System};
use std::ops::RangeInclusive;

pub struct Resume;

impl Action for Resume {
    fn name(&self) -> &'static str {
        "RESUME"
    }

    fn syntax(&self) -> &'static str {
        "RESUME [database[.shard]]"
    }

    fn help(&self) -> &'static str {
        "ends PAUSE, DRAIN and KILL"
    }

    fn names(&self) -> RangeInclusive<usize> {
        0..=2
    }

    fn run<'a>(&self, system: &'a dyn System, place: &'a Place) -> Doing<'a> {
        system.resume(place)
    }
}
