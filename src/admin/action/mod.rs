//! Actions: one file each.
pub mod pause;
pub mod resume;
pub mod reconnect;
pub mod drain;
pub mod reload;
pub mod wait_close;
pub mod disable;
pub mod enable;
pub mod kill_client;
pub mod kill;
pub mod suspend;
pub mod shutdown;

use super::system::{Doing, Place, System};
use std::ops::RangeInclusive;

/// Something that an operator does.
pub trait Action: Sync {
    /// The command's first word, in capitals; also its tag. A blank may stand for its underscore.
    fn name(&self) -> &'static str;
    fn syntax(&self) -> &'static str;
    fn help(&self) -> &'static str;
    /// How many names the place must have: database, shard, server.
    fn names(&self) -> RangeInclusive<usize>;
    fn run<'a>(&self, system: &'a dyn System, place: &'a Place) -> Doing<'a>;
}
