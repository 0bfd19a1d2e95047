//! What one look shows of real servers: a primary, its replica, and both after a promotion.
use crate::cluster::{Cluster, DATABASE};
use weir::auth::{Login, Secret};
use weir::backend::control::{self, Client};
use weir::backend::sighting::{Role, Sighting, look};
use weir::backend::{Address, ConnectOptions};
use weir::cli::throwaway::Postgres;
use weir::error::SqlState;

async fn connect(server: &Postgres, user: &str) -> Client {
    let address = Address::parse(&server.dsn(DATABASE)).unwrap();
    let login = Login::new(user, Secret::None);
    control::connect(&address, &login, &ConnectOptions::default()).await.unwrap()
}

async fn seen(server: &Postgres, user: &str) -> Sighting {
    look(&connect(server, user).await).await.unwrap()
}

/// The same server asked with psql, by other means than `look`.
fn told(server: &Postgres, sql: &str) -> String {
    server.sql("postgres", sql).unwrap()
}

#[tokio::test]
async fn roles_and_timelines_are_seen_before_and_after_a_promotion() {
    let mut cluster = Cluster::start(1);
    cluster.add_replica(0);
    let primary = cluster.shard(0);
    told(primary, "CREATE ROLE plain LOGIN");
    cluster.replica(0, 0).catch_up(primary).unwrap();
    let identifier = told(primary, "SELECT system_identifier FROM pg_control_system()");
    for user in ["plain", "postgres"] {
        for (server, role) in [(primary, Role::Primary), (cluster.replica(0, 0), Role::Replica)] {
            let seen = seen(server, user).await;
            assert_eq!((seen.role, seen.timeline, seen.read_only), (role, 1, false), "{user}");
            assert_eq!(seen.system_identifier.to_string(), identifier);
        }
    }
    cluster.stop(0);
    cluster.replica(0, 0).promote().unwrap();
    for user in ["plain", "postgres"] {
        let seen = seen(cluster.replica(0, 0), user).await;
        // pg_control_checkpoint may still say 1.
        assert_eq!((seen.role, seen.timeline), (Role::Primary, 2), "{user}");
        assert_eq!(seen.system_identifier.to_string(), identifier);
    }
    // The old primary comes back and knows nothing of that.
    cluster.restart(0);
    let old = seen(cluster.shard(0), "plain").await;
    assert_eq!((old.role, old.timeline), (Role::Primary, 1));
}

#[tokio::test]
async fn a_replica_is_behind_until_it_has_replayed_what_the_primary_wrote() {
    let mut cluster = Cluster::start(1);
    cluster.add_replica(0);
    let (primary, replica) = (cluster.shard(0), cluster.replica(0, 0));
    let (first, second) = (connect(primary, "postgres").await, connect(replica, "postgres").await);
    replica.pause_replay().unwrap();
    primary.sql(DATABASE, "CREATE TABLE t (id int)").unwrap();
    let written = look(&first).await.unwrap().lsn;
    assert!(look(&second).await.unwrap().lsn < written);
    replica.resume_replay().unwrap();
    replica.catch_up(primary).unwrap();
    assert!(look(&second).await.unwrap().lsn >= written);
    // Also where a record ends with its page, and the insert position is beyond the next header.
    fill_the_page(&first).await;
    let written = look(&first).await.unwrap().lsn;
    replica.catch_up(primary).unwrap();
    assert!(look(&second).await.unwrap().lsn >= written, "nothing has happened since");
}

/// Writes until the last record fills its page. The server may write something of its own between.
async fn fill_the_page(client: &Client) {
    const PAGE: i64 = 8192;
    for _ in 0..100 {
        let before = inserted(client).await;
        write(client, 1000).await;
        let after = inserted(client).await;
        let (overhead, rest) = (after - before - 1000, PAGE - after % PAGE);
        if rest > overhead + 300 {
            write(client, rest - overhead).await;
            if matches!(inserted(client).await % PAGE, 24 | 40) {
                return;
            }
        }
    }
    panic!("no record ended with its page");
}

async fn inserted(client: &Client) -> i64 {
    let position = "SELECT (pg_current_wal_insert_lsn() - '0/0')::int8";
    client.query_one(position, &[]).await.unwrap().get(0)
}

async fn write(client: &Client, bytes: i64) {
    let message = format!("SELECT pg_logical_emit_message(true, 'weir', repeat('x', {bytes}))");
    client.batch_execute(&message).await.unwrap();
}

#[tokio::test]
async fn a_primary_that_is_not_to_be_written_says_so() {
    let cluster = Cluster::start(1);
    let server = cluster.shard(0);
    told(server, "ALTER SYSTEM SET default_transaction_read_only = on");
    server.reload().unwrap();
    let client = connect(server, "postgres").await;
    // The connection may be older than the server's new settings.
    while !look(&client).await.unwrap().read_only {}
    assert_eq!(look(&client).await.unwrap().role, Role::Primary);
}

#[tokio::test]
async fn a_role_without_the_rights_is_told_what_to_grant() {
    let cluster = Cluster::start(1);
    let server = cluster.shard(0);
    let sql = "CREATE ROLE plain LOGIN; REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC";
    server.sql(DATABASE, sql).unwrap();
    let error = look(&connect(server, "plain").await).await.unwrap_err();
    assert_eq!(error.code, SqlState::INSUFFICIENT_PRIVILEGE);
    assert!(error.message.contains("pg_control_system"), "{error}");
    let hint = error.hint.unwrap();
    assert!(hint.contains("GRANT EXECUTE ON FUNCTION pg_control_system()"), "{hint}");
    // What the hint says is enough.
    let (_, grants) = hint.split_once(": ").unwrap();
    server.sql(DATABASE, &grants.replace("the control user", "plain")).unwrap();
    look(&connect(server, "plain").await).await.unwrap();
}
