//! ENABLE: the end of DISABLE.
use super::Action;
use crate::admin::system::{Doing, Place, System};
use std::ops::RangeInclusive;

pub struct Enable;

impl Action for Enable {
    fn name(&self) -> &'static str {
        "ENABLE"
    }

    fn syntax(&self) -> &'static str {
        "ENABLE database"
    }

    fn help(&self) -> &'static str {
        "new clients are let in again"
    }

    fn names(&self) -> RangeInclusive<usize> {
        1..=1
    }

    fn run<'a>(&self, system: &'a dyn System, place: &'a Place) -> Doing<'a> {
        system.enable(place)
    }
}
