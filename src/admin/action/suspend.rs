//! SUSPEND: PgBouncer's step before its sockets are taken over, which weir does not do.
use super::Action;
use crate::admin::system::{Doing, Place, System};
use crate::error::Error;
use std::ops::RangeInclusive;

pub struct Suspend;

impl Action for Suspend {
    fn name(&self) -> &'static str {
        "SUSPEND"
    }

    fn syntax(&self) -> &'static str {
        "SUSPEND"
    }

    fn help(&self) -> &'static str {
        "refused: weir hands no sockets over; the error says what to do instead"
    }

    fn names(&self) -> RangeInclusive<usize> {
        0..=0
    }

    fn run<'a>(&self, _system: &'a dyn System, _place: &'a Place) -> Doing<'a> {
        Box::pin(async { Err(refused()) })
    }
}

fn refused() -> Error {
    Error::refused(
        "SUSPEND is not supported",
        "PAUSE lets clients wait; for a restart without errors start another weir beside this one and say \
         SHUTDOWN WAIT_FOR_CLIENTS here",
    )
}
