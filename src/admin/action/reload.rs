//! RELOAD: weir.toml and the files it names are read again, as by SIGHUP. Answers when they are in force.
use super::Action;
use crate::admin::system::{Doing, Place, System};
use std::ops::RangeInclusive;

pub struct Reload;

impl Action for Reload {
    fn name(&self) -> &'static str {
        "RELOAD"
    }

    fn syntax(&self) -> &'static str {
        "RELOAD"
    }

    fn help(&self) -> &'static str {
        "reads weir.toml and the rules files again"
    }

    fn names(&self) -> RangeInclusive<usize> {
        0..=0
    }

    fn run<'a>(&self, system: &'a dyn System, _place: &'a Place) -> Doing<'a> {
        system.reload()
    }
}
