//! DISABLE: a database takes no new clients.
use super::Action;
use crate::admin::system::{Doing, Place, System};
use std::ops::RangeInclusive;

pub struct Disable;

impl Action for Disable {
    fn name(&self) -> &'static str {
        "DISABLE"
    }

    fn syntax(&self) -> &'static str {
        "DISABLE database"
    }

    fn help(&self) -> &'static str {
        "no new clients; those there stay"
    }

    fn names(&self) -> RangeInclusive<usize> {
        1..=1
    }

    fn run<'a>(&self, system: &'a dyn System, place: &'a Place) -> Doing<'a> {
        system.disable(place)
    }
}
