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

/// Held by whoever loads into a shard, and shared by all of its connections. A server may go on with a
/// statement when the weir that has sent it is long gone.
const LOADER: &str = "1463110994, 1";
const WORKERS: &str = "1463110994, 2";

/// From now on nobody else loads into this shard, as long as the connection stands: an error if somebody
/// does. What a load that was ended has left running is waited for; `waits` is told if there is something.
pub async fn claim(client: &Client, waits: impl FnOnce()) -> Result<(), Error> {
    let take =
        format!("SET lock_timeout = '5s'; SELECT pg_advisory_lock({LOADER}); SET lock_timeout = 0");
    client.batch_execute(&take).await.map_err(|error| {
        let failed = failed(error);
        match failed.code.as_str() {
            "55P03" => {
                Error { message: String::from("another weir load is at work there"), ..failed }
            }
            _ => failed,
        }
    })?;
    let alone = format!("SELECT pg_try_advisory_lock({WORKERS})");
    let alone: bool =
        client.query_one(&alone, &[]).await.and_then(|row| row.try_get(0)).map_err(failed)?;
    if !alone {
        waits();
        let wait = format!("SELECT pg_advisory_lock({WORKERS})");
        client.batch_execute(&wait).await.map_err(failed)?;
    }
    let release = format!("SELECT pg_advisory_unlock({WORKERS})");
    client.batch_execute(&release).await.map_err(failed)
}

/// A further connection of who has claimed the shard.
pub async fn assist(client: &Client) -> Result<(), Error> {
    prepare(client).await?;
    let share = format!("SELECT pg_advisory_lock_shared({WORKERS})");
    client.batch_execute(&share).await.map_err(failed)
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
