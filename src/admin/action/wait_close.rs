//! WAIT_CLOSE: answers when no server connection is there any more that should be replaced.
use super::Action;
use crate::admin::system::{Doing, Place, System};
use std::ops::RangeInclusive;

pub struct WaitClose;

impl Action for WaitClose {
    fn name(&self) -> &'static str {
        "WAIT_CLOSE"
    }

    fn syntax(&self) -> &'static str {
        "WAIT_CLOSE [database]"
    }

    fn help(&self) -> &'static str {
        "waits until RECONNECT or RELOAD has replaced all server connections"
    }

    fn names(&self) -> RangeInclusive<usize> {
        0..=1
    }

    fn run<'a>(&self, system: &'a dyn System, place: &'a Place) -> Doing<'a> {
        system.wait_close(place)
    }
}
