//! `weir.commit_record` on the servers, and what is prepared there: what a shard can say of
//! transactions that were to commit on several.
//!
//! A record is inserted by the transaction itself, and committed with it; or by whoever wants to know
//! what became of the transaction: then it says that it can never be committed any more.
use super::control::{Client, failed};
use crate::error::{Error, SqlState};
use std::time::Duration;

/// Everybody's transactions insert into it; nobody but weir itself looks.
const CREATE: &str = "\
CREATE SCHEMA IF NOT EXISTS weir;
CREATE TABLE IF NOT EXISTS weir.commit_record (
    transaction text PRIMARY KEY,
    committed   boolean NOT NULL,
    recorded    timestamptz NOT NULL DEFAULT clock_timestamp(),
    xid         xid8 NOT NULL DEFAULT pg_current_xact_id()
);
COMMENT ON TABLE weir.commit_record IS
    'what became of transactions over several shards: see docs/transactions.md';
GRANT USAGE ON SCHEMA weir TO PUBLIC;
GRANT INSERT (transaction, committed) ON weir.commit_record TO PUBLIC";

const EXISTS: &str = "SELECT to_regclass('weir.commit_record') IS NOT NULL";

const FOOTING: &str = "\
SELECT to_regclass('weir.commit_record') IS NOT NULL,
       current_setting('max_prepared_transactions')::int,
       (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user)";

/// What a shard offers to transactions over several.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Offers {
    pub records: bool,
    pub prepares: bool,
    /// Weir itself may finish what others have prepared.
    pub superuser: bool,
}

/// What became of a transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    Committed,
    /// It can never be committed any more.
    Aborted,
}

/// Makes the table where it is missing; whether it was.
pub async fn set_up(client: &Client) -> Result<bool, Error> {
    let exists = client.query_one(EXISTS, &[]).await.and_then(|row| row.try_get::<_, bool>(0));
    if exists.map_err(failed)? {
        return Ok(false);
    }
    client.batch_execute(CREATE).await.map_err(failed)?;
    Ok(true)
}

pub async fn offers(client: &Client) -> Result<Offers, Error> {
    let row = client.query_one(FOOTING, &[]).await.map_err(failed)?;
    Ok(Offers {
        records: row.try_get(0).map_err(failed)?,
        prepares: row.try_get::<_, i32>(1).map_err(failed)? > 0,
        superuser: row.try_get::<_, Option<bool>>(2).map_err(failed)?.unwrap_or_default(),
    })
}

/// Finds out on its anchor what became of a transaction, or decides that it never commits. Waits for a
/// decision that is being made, for so long.
pub async fn judge(client: &Client, key: &str, patience: Duration) -> Result<Verdict, Error> {
    // A conflict with a transaction that has not ended waits until it has.
    const ABORT: &str = "INSERT INTO weir.commit_record (transaction, committed) \
        VALUES ($1, false) ON CONFLICT DO NOTHING";
    const READ: &str = "SELECT committed FROM weir.commit_record WHERE transaction = $1";
    be_durable(client, patience).await?;
    if client.execute(ABORT, &[&key]).await.map_err(failed)? == 1 {
        return Ok(Verdict::Aborted);
    }
    let row = client.query_opt(READ, &[&key]).await.map_err(failed)?;
    let row = row.ok_or_else(|| Error::internal("a record was removed while it was read"))?;
    Ok(match row.try_get(0).map_err(failed)? {
        true => Verdict::Committed,
        false => Verdict::Aborted,
    })
}

/// Brings what is prepared under this name to its end. That somebody else has done so before is fine.
pub async fn finish(
    client: &Client,
    gid: &str,
    verdict: Verdict,
    patience: Duration,
) -> Result<(), Error> {
    let verb = match verdict {
        Verdict::Committed => "COMMIT",
        Verdict::Aborted => "ROLLBACK",
    };
    be_durable(client, patience).await?;
    let text = format!("{verb} PREPARED '{}'", gid.replace('\'', "''"));
    match client.batch_execute(&text).await.map_err(failed) {
        Err(error) if error.code == SqlState::UNDEFINED_OBJECT => Ok(()),
        outcome => outcome,
    }
}

/// No setting of the role's or the server's may cut it short, or let a standby lose it.
async fn be_durable(client: &Client, patience: Duration) -> Result<(), Error> {
    let text = format!(
        "SELECT pg_catalog.set_config('statement_timeout', '{}', false), \
                pg_catalog.set_config('lock_timeout', '0', false), \
                pg_catalog.set_config('synchronous_commit', CASE \
                    current_setting('synchronous_commit') WHEN 'off' THEN 'on' \
                    WHEN 'local' THEN 'on' ELSE current_setting('synchronous_commit') END, false)",
        patience.as_millis().max(1)
    );
    client.batch_execute(&text).await.map_err(failed)
}
