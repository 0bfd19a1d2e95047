//! `weir.placement` on the servers: read, compared, written by set-up, replaced by adoption.
//!
//! What it says and what differs is `rules::placement`'s matter. Clients come in the order of the
//! rules' shards.
use super::control::{Client, failed};
use super::misplaced;
use crate::error::{Blame, Error, SqlState};
use crate::ids::ShardId;
use crate::rules::Rules;
use crate::rules::placement::{Expected, Mismatch, Row, SELECT, compare};
use tokio_postgres::Transaction;

/// Everybody may read it: connections of any user compare it.
const CREATE: &str = "\
CREATE SCHEMA IF NOT EXISTS weir;
CREATE TABLE IF NOT EXISTS weir.placement (
    only_row    boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    cluster     uuid NOT NULL,
    shard       text NOT NULL,
    hash        text NOT NULL,
    epoch       bigint NOT NULL,
    description text NOT NULL
);
COMMENT ON TABLE weir.placement IS 'which rows may live here: written by weir setup, see docs/rules.md';
GRANT USAGE ON SCHEMA weir TO PUBLIC;
GRANT SELECT ON weir.placement TO PUBLIC";

const WRITE: &str = "\
INSERT INTO weir.placement (cluster, shard, hash, epoch, description)
VALUES ($1::text::uuid, $2, $3, $4, $5)
ON CONFLICT (only_row) DO UPDATE SET (cluster, shard, hash, epoch, description) =
    (excluded.cluster, excluded.shard, excluded.hash, excluded.epoch, excluded.description)";

/// Long enough for a transaction to be rolled back, short enough not to hold up everybody else.
const LIMITS: &str = "SET LOCAL lock_timeout = '10s'; SET LOCAL statement_timeout = 0";

/// What set-up found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SetUp {
    /// All shards had this placement.
    Already,
    /// That many shards were given it.
    Done { shards: usize },
}

/// What adoption did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Adopted {
    /// All shards had this placement.
    Already,
    Done {
        epoch: i64,
    },
}

/// The shard's row, if it was set up.
pub async fn load(client: &Client) -> Result<Option<Row>, Error> {
    let exists = "SELECT to_regclass('weir.placement') IS NOT NULL";
    if !client.query_one(exists, &[]).await.and_then(|row| row.try_get(0)).map_err(failed)? {
        return Ok(None);
    }
    let Some(row) = client.query_opt(SELECT, &[]).await.map_err(failed)? else {
        return Ok(None);
    };
    let columns = (0..Row::COLUMNS).map(|index| row.try_get::<_, Option<&str>>(index));
    let columns: Vec<Option<&str>> = columns.collect::<Result<_, _>>().map_err(failed)?;
    Ok(Row::from_text(&columns))
}

/// The row of a shard on which these rules may be served.
pub async fn verify(client: &Client, rules: &Rules, shard: ShardId) -> Result<Row, Error> {
    let expected = Expected::new(rules, shard);
    match load(client).await? {
        None => Err(Mismatch::NotSetUp { shard: expected.shard }.into()),
        Some(row) => match compare(&expected, &row) {
            Ok(()) => Ok(row),
            Err(mismatch) => Err(mismatch.into()),
        },
    }
}

/// Verifies every shard, and that they belong together; the cluster's id.
pub async fn verify_all(clients: &[Client], rules: &Rules) -> Result<String, Error> {
    let mut cluster: Option<String> = None;
    for (shard, client) in rules.shard_ids().zip(clients) {
        let row = verify(client, rules, shard).await?;
        let expected = Expected::new(rules, shard)
            .in_cluster(cluster.get_or_insert_with(|| row.cluster.clone()).clone());
        compare(&expected, &row)?;
    }
    cluster.ok_or_else(|| Error::internal("the rules have no shard"))
}

/// Gives each shard that has none its placement. Idempotent: an interrupted set-up is finished by
/// another. Refuses where a shard has another placement, or rows that would be misplaced.
pub async fn set_up(clients: &mut [Client], rules: &Rules) -> Result<SetUp, Error> {
    let found = load_all(clients).await?;
    let mut cluster = found.iter().flatten().map(|row| row.cluster.clone()).next();
    for (shard, row) in rules.shard_ids().zip(&found) {
        let Some(row) = row else { continue };
        let expected = Expected { cluster: cluster.clone(), ..Expected::new(rules, shard) };
        compare(&expected, row)?;
    }
    let new = found.iter().filter(|row| row.is_none()).count();
    if new == 0 {
        return Ok(SetUp::Already);
    }
    refuse_misplaced(clients, rules).await?;
    let epoch = found.iter().flatten().map(|row| row.epoch).max().unwrap_or(1);
    for (shard, (client, found)) in rules.shard_ids().zip(clients.iter_mut().zip(found)) {
        if found.is_some() {
            continue;
        }
        let transaction = client.transaction().await.map_err(failed)?;
        transaction.batch_execute(CREATE).await.map_err(failed)?;
        lock(&transaction).await?;
        // Somebody else may have set up this shard meanwhile: then it must be for the same cluster.
        let row = match load(transaction.client()).await? {
            Some(row) => row,
            None => {
                let id = match &cluster {
                    Some(cluster) => cluster.clone(),
                    None => new_cluster(&transaction).await?,
                };
                write(&transaction, rules, shard, &id, epoch).await?
            }
        };
        let expected = Expected { cluster: cluster.clone(), ..Expected::new(rules, shard) };
        compare(&expected, &row)?;
        cluster = Some(row.cluster);
        transaction.commit().await.map_err(failed)?;
    }
    Ok(SetUp::Done { shards: new })
}

/// Replaces the placement of all shards, if every row is where these rules look for it.
///
/// Every other connection to the shards is ended, so that no weir goes on with the old rules:
/// whoever connects again waits until this is over and then compares. If it is interrupted between
/// two commits, no weir serves until it is run again.
pub async fn adopt(clients: &mut [Client], rules: &Rules) -> Result<Adopted, Error> {
    let found = load_all(clients).await?;
    let cluster = cluster_of(&found, rules)?;
    let current = Expected::new(rules, ShardId(0)).hash;
    let epochs = || found.iter().map(|row| row.as_ref().map(|row| row.epoch));
    let same = found.iter().flatten().all(|row| row.hash == current);
    if same && epochs().all(|epoch| epoch.is_some() && Some(epoch) == epochs().next()) {
        return Ok(Adopted::Already);
    }
    // Looked at first without locks: a refusal should disturb nobody.
    refuse_misplaced(clients, rules).await?;
    let epoch = epochs().flatten().max().unwrap_or(0) + 1;
    let mut transactions = Vec::new();
    for client in clients.iter_mut() {
        let transaction = client.transaction().await.map_err(failed)?;
        transaction.batch_execute(LIMITS).await.map_err(failed)?;
        transaction.batch_execute(CREATE).await.map_err(failed)?;
        lock(&transaction).await?;
        transactions.push(transaction);
    }
    for transaction in &transactions {
        end_other_connections(transaction).await?;
    }
    for transaction in &transactions {
        misplaced::lock_tables(transaction.client(), rules).await?;
    }
    let clients: Vec<&Client> =
        transactions.iter().map(|transaction| transaction.client()).collect();
    misplaced::refuse(&misplaced::find(&clients, rules).await?)?;
    for (shard, transaction) in rules.shard_ids().zip(&transactions) {
        write(transaction, rules, shard, &cluster, epoch).await?;
    }
    for transaction in transactions {
        transaction.commit().await.map_err(failed)?;
    }
    Ok(Adopted::Done { epoch })
}

async fn load_all(clients: &[Client]) -> Result<Vec<Option<Row>>, Error> {
    let mut rows = Vec::new();
    for client in clients {
        rows.push(load(client).await?);
    }
    Ok(rows)
}

/// Looks at all rows without disturbing anybody.
async fn refuse_misplaced(clients: &[Client], rules: &Rules) -> Result<(), Error> {
    for client in clients {
        client.batch_execute("BEGIN READ ONLY").await.map_err(failed)?;
    }
    let clients: Vec<&Client> = clients.iter().collect();
    let misplaced = misplaced::find(&clients, rules).await;
    for client in clients {
        client.batch_execute("ROLLBACK").await.map_err(failed)?;
    }
    misplaced::refuse(&misplaced?)
}

/// The cluster whose placement may be replaced: all shards that were set up are its, each is the
/// one that the rules call it, and none is left out.
fn cluster_of(found: &[Option<Row>], rules: &Rules) -> Result<String, Error> {
    let mut cluster: Option<String> = None;
    for (shard, row) in rules.shard_ids().zip(found) {
        let Some(row) = row else { continue };
        let expected = Expected {
            // Only the names are compared here: that the placement differs is why we are called.
            hash: row.hash.clone(),
            ..Expected::new(rules, shard)
        }
        .in_cluster(cluster.get_or_insert_with(|| row.cluster.clone()).clone());
        compare(&expected, row)?;
        let names = |name: &&str| !rules.shards.iter().any(|shard| shard.name == *name);
        if let Some(gone) = row.shards().find(names) {
            let message = format!("shard {gone} is in the placement but not in the rules");
            let code = SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE;
            let hint = "its rows cannot be checked: keep it in the rules, with an empty map";
            return Err(Error::new(code, Blame::Rules, message).hint(hint));
        }
    }
    let shard = || rules.shard_name(rules.home).to_owned();
    cluster.ok_or_else(|| Mismatch::NotSetUp { shard: shard() }.into())
}

/// Whoever wants to read the placement waits until the transaction is over.
async fn lock(transaction: &Transaction<'_>) -> Result<(), Error> {
    let lock = "LOCK TABLE weir.placement IN ACCESS EXCLUSIVE MODE";
    transaction.batch_execute(lock).await.map_err(failed)
}

async fn end_other_connections(transaction: &Transaction<'_>) -> Result<(), Error> {
    let end = "\
        SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
        WHERE datname = current_database() AND backend_type = 'client backend' \
          AND pid <> pg_backend_pid()";
    transaction.query(end, &[]).await.map(drop).map_err(failed)
}

async fn new_cluster(transaction: &Transaction<'_>) -> Result<String, Error> {
    let row = transaction.query_one("SELECT gen_random_uuid()::text", &[]).await;
    row.and_then(|row| row.try_get(0)).map_err(failed)
}

async fn write(
    transaction: &Transaction<'_>,
    rules: &Rules,
    shard: ShardId,
    cluster: &str,
    epoch: i64,
) -> Result<Row, Error> {
    let Expected { shard, hash, description, .. } = Expected::new(rules, shard);
    transaction
        .execute(WRITE, &[&cluster, &shard, &hash, &epoch, &description])
        .await
        .map_err(failed)?;
    Ok(Row { cluster: cluster.to_owned(), shard, hash, epoch, description })
}
