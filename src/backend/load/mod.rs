//! What `weir load` says to the source and to the shards.
//!
//! - `source`: what the source has, and one snapshot for everybody who reads it
//! - `target`: what a shard has before it is loaded
//! - `journal`: `weir.load` on the shards: which steps are done
//! - `piece`: the rows of one piece of a table, on their way to their shards
//! - `count`: the rows of a table, on either side
//!
//! Invariant: a step is in a shard's journal if and only if that shard has what the step brings: both are
//! one transaction.
pub mod source;
pub mod target;
pub mod journal;
pub mod piece;
pub mod count;

use super::control::Client;
use crate::error::Error;

/// Values read as they are written, whatever servers and roles are set to; nothing ends a long statement.
const SETTINGS: &str = "\
    SET statement_timeout = 0; SET lock_timeout = 0; SET idle_in_transaction_session_timeout = 0; \
    SET row_security = off; SET synchronize_seqscans = off; SET search_path = pg_catalog; \
    SET DateStyle = 'ISO, YMD'; SET IntervalStyle = postgres; SET TimeZone = 'UTC'; \
    SET extra_float_digits = 3; SET bytea_output = hex; SET lc_monetary = 'C'; SET xmloption = content";

/// What every connection of a load is told first.
pub async fn prepare(client: &Client) -> Result<(), Error> {
    client.batch_execute(SETTINGS).await.map_err(failed)
}

/// As `control::failed`, with the place that a server names: `COPY orders, line 7, column total`.
pub fn failed(error: tokio_postgres::Error) -> Error {
    let place = error.as_db_error().and_then(|server| server.where_()).map(str::to_owned);
    let mut failed = super::control::failed(error);
    if let Some(place) = place {
        failed.message = format!("{} ({place})", failed.message);
    }
    failed
}

/// A name as SQL has it.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
