//! KILL: every client of a database is thrown out, its transactions end, and what is new waits until RESUME.
use super::Action;
use crate::admin::system::{Doing, Place, System};
use std::ops::RangeInclusive;

pub struct Kill;

impl Action for Kill {
    fn name(&self) -> &'static str {
        "KILL"
    }

    fn syntax(&self) -> &'static str {
        "KILL [database]"
    }

    fn help(&self) -> &'static str {
        "drops all clients and server connections at once; what is new waits until RESUME"
    }

    fn names(&self) -> RangeInclusive<usize> {
        0..=1
    }

    fn run<'a>(&self, system: &'a dyn System, place: &'a Place) -> Doing<'a> {
        system.kill(place)
    }
}
