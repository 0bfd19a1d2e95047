//! Queries whose rows are on several shards: run the plan's strategy over the transaction's own connections.
use super::{Session, Stop};
use crate::error::Error;
use crate::plan::Planned;

impl Session {
    /// In the simple protocol.
    pub(super) async fn run_several(
        &mut self,
        _statement: &str,
        _planned: &Planned,
    ) -> Result<(), Stop> {
        Err(Error::refused("a query over several shards", "give the query a key").into())
    }
}
