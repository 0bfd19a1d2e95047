//! Who waits for a lock on a server, and for whom; and `weir.waiting` on the home shard, where weirs tell
//! each other which of their transactions over several shards do. `txn::waits` says what follows from it.
use super::control::{Client, failed};
use crate::error::Error;
use std::collections::HashMap;
use std::time::Duration;
use tokio_postgres::Row;

/// What a dead weir has left in the table is removed after a minute: nobody finds its transactions.
const CREATE: &str = "\
CREATE SCHEMA IF NOT EXISTS weir;
CREATE UNLOGGED TABLE IF NOT EXISTS weir.waiting (
    weir     text NOT NULL,
    client   bigint NOT NULL,
    began    bigint NOT NULL,
    branches text NOT NULL,
    written  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (weir, client)
);
COMMENT ON TABLE weir.waiting IS
    'transactions over several shards that wait for a lock: see docs/transactions.md'";

const EXISTS: &str = "SELECT pg_catalog.to_regclass('weir.waiting') IS NOT NULL";

const PUBLISH: &str = "\
WITH gone AS (
    DELETE FROM weir.waiting
    WHERE weir = $1 AND NOT client = ANY ($2)
       OR weir <> $1 AND written < clock_timestamp() - interval '1 minute'
)
INSERT INTO weir.waiting (weir, client, began, branches)
SELECT $1, * FROM ROWS FROM (
    pg_catalog.unnest($2::bigint[]), pg_catalog.unnest($3::bigint[]), pg_catalog.unnest($4::text[]))
ON CONFLICT (weir, client) DO UPDATE
    SET began = excluded.began, branches = excluded.branches, written = clock_timestamp()";

const READ: &str = "SELECT weir, client, began, branches FROM weir.waiting";

/// Of these processes and whoever is in their way: the transaction, and its wait if it waits. A prepared
/// transaction has no process; it keeps its name, and shows with it among the locks.
const LOOK: &str = "\
WITH RECURSIVE reached (pid) AS (
    SELECT pg_catalog.unnest($1::int[])
    UNION
    SELECT pg_catalog.unnest(pg_catalog.pg_blocking_pids(reached.pid)) FROM reached
), lock AS MATERIALIZED (
    SELECT * FROM pg_catalog.pg_locks
), wait AS MATERIALIZED (
    SELECT lock.*, pg_catalog.pg_blocking_pids(lock.pid) AS blockers
    FROM lock JOIN reached ON reached.pid = lock.pid
    WHERE NOT lock.granted AND lock.waitstart IS NOT NULL
)
SELECT own.pid, own.virtualtransaction,
       (extract(epoch FROM activity.xact_start) * 1000000)::bigint,
       (extract(epoch FROM wait.waitstart) * 1000000)::bigint,
       extract(epoch FROM clock_timestamp() - wait.waitstart)::float8,
       wait.mode || ' on ' || CASE wait.locktype
           WHEN 'transactionid' THEN 'transaction ' || wait.transactionid
           WHEN 'virtualxid' THEN 'virtual transaction ' || wait.virtualxid
           WHEN 'relation' THEN 'relation ' || wait.relation::regclass
           WHEN 'tuple' THEN format('tuple (%s,%s) of relation %s', wait.page, wait.tuple, wait.relation::regclass)
           WHEN 'advisory' THEN format('advisory lock [%s,%s,%s]', wait.classid, wait.objid, wait.objsubid)
           ELSE wait.locktype END,
       wait.blockers,
       ARRAY(
           SELECT DISTINCT held.virtualtransaction FROM lock held
           WHERE held.pid IS NULL AND held.granted AND 0 = ANY (wait.blockers)
             AND held.locktype = wait.locktype
             AND (held.database, held.relation, held.page, held.tuple, held.virtualxid,
                  held.transactionid, held.classid, held.objid, held.objsubid)
                 IS NOT DISTINCT FROM
                 (wait.database, wait.relation, wait.page, wait.tuple, wait.virtualxid,
                  wait.transactionid, wait.classid, wait.objid, wait.objsubid)
       )
FROM reached
JOIN lock own ON own.pid = reached.pid AND own.locktype = 'virtualxid' AND own.granted
             AND own.virtualxid = own.virtualtransaction
LEFT JOIN pg_catalog.pg_stat_activity activity ON activity.pid = own.pid
LEFT JOIN wait ON wait.pid = own.pid";

/// The names that prepared transactions had before.
const PREPARED: &str = "\
SELECT DISTINCT lock.virtualtransaction FROM pg_catalog.pg_prepared_xacts prepared
JOIN pg_catalog.pg_locks lock ON lock.locktype = 'transactionid' AND lock.pid IS NULL
     AND lock.granted AND lock.transactionid = prepared.transaction
WHERE prepared.database = current_database() AND prepared.gid = $1";

/// What is open on one server.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Branch {
    pub shard: String,
    /// PostgreSQL's virtual transaction id.
    pub id: String,
}

/// A transaction over several shards of which a branch waits, as its weir has published it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Spread {
    pub name: Name,
    /// Microseconds since 1970.
    pub began: i64,
    pub branches: Vec<(Branch, Pid)>,
}

/// Which weir's, and which of its clients'.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Name {
    pub weir: String,
    pub client: u32,
}

/// A server process; 0: none, the transaction is prepared.
pub type Pid = i32;

/// A transaction as one server sees it.
#[derive(Clone, PartialEq, Debug)]
pub struct Seen {
    pub branch: Branch,
    pub pid: Pid,
    /// Microseconds since 1970; `None`: weir's user may not know.
    pub began: Option<i64>,
    pub wait: Option<Wait>,
}

/// For a lock.
#[derive(Clone, PartialEq, Debug)]
pub struct Wait {
    /// Microseconds since 1970, by the server's clock.
    pub since: i64,
    pub age: Duration,
    /// In words.
    pub lock: String,
    /// Who has the lock, or comes before in the line for it.
    pub blockers: Vec<(Branch, Pid)>,
}

/// Makes the table where it is missing.
pub async fn set_up(client: &Client) -> Result<(), Error> {
    match exists(client).await? {
        true => Ok(()),
        false => client.batch_execute(CREATE).await.map_err(failed),
    }
}

pub async fn exists(client: &Client) -> Result<bool, Error> {
    let row = client.query_one(EXISTS, &[]).await.map_err(failed)?;
    row.try_get(0).map_err(failed)
}

/// These are all that this weir has to tell now.
pub async fn publish(client: &Client, weir: &str, waiting: &[Spread]) -> Result<(), Error> {
    let clients: Vec<i64> = waiting.iter().map(|one| one.name.client.into()).collect();
    let began: Vec<i64> = waiting.iter().map(|one| one.began).collect();
    let branches: Vec<String> = waiting.iter().map(|one| write(&one.branches)).collect();
    client.execute(PUBLISH, &[&weir, &clients, &began, &branches]).await.map_err(failed)?;
    Ok(())
}

/// What all weirs have told.
pub async fn published(client: &Client) -> Result<Vec<Spread>, Error> {
    let rows = client.query(READ, &[]).await.map_err(failed)?;
    let spread = |row: &Row| {
        let (weir, client): (String, i64) = (row.try_get(0)?, row.try_get(1)?);
        let name = Name { weir, client: u32::try_from(client).unwrap_or_default() };
        Ok(Spread { name, began: row.try_get(2)?, branches: read(row.try_get(3)?) })
    };
    rows.iter().map(spread).collect::<Result<_, _>>().map_err(failed)
}

/// Shards' names have neither blanks nor commas.
fn write(branches: &[(Branch, Pid)]) -> String {
    let texts =
        branches.iter().map(|(branch, pid)| format!("{} {} {pid}", branch.shard, branch.id));
    texts.collect::<Vec<_>>().join(",")
}

fn read(text: &str) -> Vec<(Branch, Pid)> {
    let branch = |text: &str| {
        let mut words = text.split(' ').map(str::to_owned);
        let branch = Branch { shard: words.next()?, id: words.next()? };
        Some((branch, words.next()?.parse().ok()?))
    };
    text.split(',').filter_map(branch).collect()
}

/// What that server knows of these processes, and of those that they wait for.
pub async fn look(client: &Client, shard: &str, pids: &[Pid]) -> Result<Vec<Seen>, Error> {
    let rows = client.query(LOOK, &[&pids]).await.map_err(failed)?;
    let found = rows.iter().map(Found::of).collect::<Result<Vec<_>, _>>().map_err(failed)?;
    let branch = |id: &str| Branch { shard: shard.to_owned(), id: id.to_owned() };
    let ids: HashMap<Pid, Branch> = found.iter().map(|one| (one.pid, branch(&one.id))).collect();
    let seen = found.into_iter().map(|one| {
        let wait = one.since.zip(one.age).map(|(since, age)| {
            let running = one.blockers.iter().filter_map(|pid| Some((ids.get(pid)?.clone(), *pid)));
            let prepared = one.prepared.iter().map(|id| (branch(id), 0));
            Wait {
                since,
                age: Duration::try_from_secs_f64(age).unwrap_or_default(),
                lock: one.lock,
                blockers: running.chain(prepared).collect(),
            }
        });
        Seen { branch: branch(&one.id), pid: one.pid, began: one.began, wait }
    });
    Ok(seen.collect())
}

/// The transaction that is prepared there under that name, if it is.
pub async fn prepared(client: &Client, shard: &str, gid: &str) -> Result<Option<Branch>, Error> {
    let row = client.query_opt(PREPARED, &[&gid]).await.map_err(failed)?;
    let id = row.map(|row| row.try_get(0)).transpose().map_err(failed)?;
    Ok(id.map(|id| Branch { shard: shard.to_owned(), id }))
}

/// A row of [`LOOK`].
struct Found {
    pid: Pid,
    id: String,
    began: Option<i64>,
    since: Option<i64>,
    age: Option<f64>,
    lock: String,
    blockers: Vec<Pid>,
    prepared: Vec<String>,
}

impl Found {
    fn of(row: &Row) -> Result<Self, tokio_postgres::Error> {
        Ok(Self {
            pid: row.try_get(0)?,
            id: row.try_get(1)?,
            began: row.try_get(2)?,
            since: row.try_get(3)?,
            age: row.try_get(4)?,
            lock: row.try_get::<_, Option<String>>(5)?.unwrap_or_default(),
            blockers: row.try_get::<_, Option<Vec<Pid>>>(6)?.unwrap_or_default(),
            prepared: row.try_get(7)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn branches_are_read_as_they_are_written() {
        let branch = |shard: &str, id: &str| Branch { shard: shard.to_owned(), id: id.to_owned() };
        let branches = vec![(branch("s0", "3/17"), 4711), (branch("eu_1-b", "12/9"), 0)];
        assert_eq!(read(&write(&branches)), branches);
        assert!(read("").is_empty() && read("s0 3/17,,s1").is_empty());
    }
}
