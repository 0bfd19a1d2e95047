//! `weir.commit_record` on the servers, and what is prepared there: what a shard can say of
//! transactions that were to commit on several.
//!
//! A record is inserted by the transaction itself, and committed with it; or by whoever wants to know
//! what became of the transaction: then it says that it can never be committed any more.
use super::control::{Client, failed};
use crate::error::{Error, SqlState};
use std::time::Duration;

/// Everybody's transactions insert into it; nobody but weir itself looks. What is there already stays.
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
CREATE INDEX IF NOT EXISTS commit_record_recorded ON weir.commit_record (recorded);
GRANT USAGE ON SCHEMA weir TO PUBLIC;
GRANT INSERT (transaction, committed) ON weir.commit_record TO PUBLIC";

/// The index is for who deletes old records, every few seconds. CASE, since what is not there has no rights.
const COMPLETE: &str = "\
SELECT CASE WHEN to_regclass('weir.commit_record_recorded') IS NULL THEN false
            ELSE has_schema_privilege('public', 'weir', 'USAGE')
                 AND has_column_privilege('public', 'weir.commit_record', 'transaction', 'INSERT')
                 AND has_column_privilege('public', 'weir.commit_record', 'committed', 'INSERT') END";

const FOOTING: &str = "\
SELECT to_regclass('weir.commit_record') IS NOT NULL,
       current_setting('max_prepared_transactions')::int,
       current_setting('default_transaction_isolation')";

const STRANGERS: &str = "\
SELECT rolname::text FROM pg_catalog.pg_roles
WHERE rolcanlogin AND NOT rolsuper AND NOT rolreplication
  AND NOT pg_catalog.pg_has_role(current_user, oid, 'MEMBER')
  AND pg_catalog.has_database_privilege(oid, current_database(), 'CONNECT')
ORDER BY 1 LIMIT 10";

/// Whether weir's own user may delete old records there. CASE, since what is not there has no rights.
const PRUNES: &str = "\
SELECT CASE WHEN to_regclass('weir.commit_record') IS NULL THEN true
            ELSE pg_has_role('pg_read_all_stats', 'USAGE')
                 AND has_table_privilege('weir.commit_record', 'SELECT')
                 AND has_table_privilege('weir.commit_record', 'DELETE') END";

/// What a shard offers to transactions over several.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Offers {
    pub records: bool,
    pub prepares: bool,
    pub isolation: Level,
}

/// What transactions see of others where nobody says: `default_transaction_isolation`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub enum Level {
    #[default]
    ReadCommitted,
    RepeatableRead,
    Serializable,
}

/// What became of a transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    Committed,
    /// It can never be committed any more.
    Aborted,
}

/// Makes the table, or what it lacks; whether anything was missing.
pub async fn set_up(client: &Client) -> Result<bool, Error> {
    let complete = client.query_one(COMPLETE, &[]).await.and_then(|row| row.try_get::<_, bool>(0));
    if complete.map_err(failed)? {
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
        isolation: match row.try_get(2).map_err(failed)? {
            "serializable" => Level::Serializable,
            "repeatable read" => Level::RepeatableRead,
            _ => Level::ReadCommitted,
        },
    })
}

/// Whether old records are deleted there at all.
pub async fn prunes(client: &Client) -> Result<bool, Error> {
    let row = client.query_one(PRUNES, &[]).await.map_err(failed)?;
    row.try_get(0).map_err(failed)
}

/// Roles that may log in there, and what they have prepared weir's own may not finish.
pub async fn strangers(client: &Client) -> Result<Vec<String>, Error> {
    let rows = client.query(STRANGERS, &[]).await.map_err(failed)?;
    rows.iter().map(|row| row.try_get(0).map_err(failed)).collect()
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
        Err(error) if error.code == SqlState::INSUFFICIENT_PRIVILEGE => {
            finish_as_owner(client, gid, &text).await
        }
        outcome => outcome,
    }
}

/// Only a superuser and the role itself that has prepared something may finish it; but its members may
/// become that role.
async fn finish_as_owner(client: &Client, gid: &str, text: &str) -> Result<(), Error> {
    const OWNER: &str = "SELECT pg_catalog.quote_ident(owner::text) FROM pg_catalog.pg_prepared_xacts \
        WHERE database = current_database() AND gid = $1";
    let Some(row) = client.query_opt(OWNER, &[&gid]).await.map_err(failed)? else { return Ok(()) };
    let owner: String = row.try_get(0).map_err(failed)?;
    client.batch_execute(&format!("SET ROLE {owner}")).await.map_err(failed)?;
    let outcome = client.batch_execute(text).await.map_err(failed);
    client.batch_execute("RESET ROLE").await.map_err(failed)?;
    match outcome {
        Err(error) if error.code == SqlState::UNDEFINED_OBJECT => Ok(()),
        outcome => outcome,
    }
}

/// No setting of the role's or the server's may cut it short, or let a standby lose it.
async fn be_durable(client: &Client, patience: Duration) -> Result<(), Error> {
    let text = format!(
        "SELECT pg_catalog.set_config('statement_timeout', '{}', false), \
                pg_catalog.set_config('lock_timeout', '0', false), \
                pg_catalog.set_config('default_transaction_read_only', 'off', false), \
                pg_catalog.set_config('default_transaction_isolation', 'read committed', false), \
                pg_catalog.set_config('synchronous_commit', CASE \
                    current_setting('synchronous_commit') WHEN 'off' THEN 'on' \
                    WHEN 'local' THEN 'on' ELSE current_setting('synchronous_commit') END, false)",
        patience.as_millis().max(1)
    );
    client.batch_execute(&text).await.map_err(failed)
}

/// Something that is prepared on a server under a name of this cluster's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    pub gid: String,
    pub age: Duration,
}

/// What is prepared there under a name that begins so.
pub async fn prepared(client: &Client, prefix: &str) -> Result<Vec<Found>, Error> {
    const LIST: &str = "\
        SELECT gid, greatest(extract(epoch FROM clock_timestamp() - prepared), 0)::float8 \
        FROM pg_catalog.pg_prepared_xacts \
        WHERE database = current_database() AND starts_with(gid, $1) ORDER BY prepared";
    let rows = client.query(LIST, &[&prefix]).await.map_err(failed)?;
    let read = |row: &tokio_postgres::Row| {
        let seconds: f64 = row.try_get(1)?;
        let age = Duration::try_from_secs_f64(seconds).unwrap_or_default();
        Ok(Found { gid: row.try_get(0)?, age })
    };
    rows.iter().map(read).collect::<Result<_, _>>().map_err(failed)
}

/// What the anchor knows of a transaction without being asked to decide; `None`: nothing yet.
pub async fn known(client: &Client, key: &str) -> Result<Option<Verdict>, Error> {
    const READ: &str = "SELECT committed FROM weir.commit_record WHERE transaction = $1";
    let row = client.query_opt(READ, &[&key]).await.map_err(failed)?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(match row.try_get(0).map_err(failed)? {
        true => Verdict::Committed,
        false => Verdict::Aborted,
    }))
}

/// Removes records that nobody can need any more: a day old, and nothing is prepared under their names on
/// any shard (`keys` are those where something is). A record that says "never" has to outlive every
/// transaction that was open here when it was made, since that one might be the transaction itself. How
/// many were removed.
pub async fn prune(client: &Client, keys: &[String]) -> Result<u64, Error> {
    // Without the right to see everybody's transactions nothing is known of them.
    const DELETE: &str = "\
        DELETE FROM weir.commit_record \
        WHERE recorded < clock_timestamp() - interval '1 day' \
          AND xid < pg_snapshot_xmin(pg_current_snapshot()) \
          AND pg_has_role('pg_read_all_stats', 'USAGE') \
          AND recorded < (SELECT coalesce(min(xact_start), 'infinity') FROM pg_stat_activity \
                          WHERE datname = current_database() AND pid <> pg_backend_pid()) \
          AND NOT transaction = ANY ($1)";
    client.execute(DELETE, &[&keys]).await.map_err(failed)
}
