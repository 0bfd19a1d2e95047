//! KILL_CLIENT: one client is thrown out.
use super::Action;
use crate::admin::system::{Doing, Place, System};
use std::ops::RangeInclusive;

pub struct KillClient;

impl Action for KillClient {
    fn name(&self) -> &'static str {
        "KILL_CLIENT"
    }

    fn syntax(&self) -> &'static str {
        "KILL_CLIENT id"
    }

    fn help(&self) -> &'static str {
        "drops one client and what it runs; its id is in SHOW CLIENTS"
    }

    fn names(&self) -> RangeInclusive<usize> {
        1..=1
    }

    fn run<'a>(&self, system: &'a dyn System, place: &'a Place) -> Doing<'a> {
        system.kill_client(place.word())
    }
}
