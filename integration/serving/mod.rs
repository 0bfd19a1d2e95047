//! `weir serve` and its commands as their users meet them, in front of real servers.
//!
//! - `admin`: the admin port
//! - `calls`: slow statements are refused, long ones cancelled
//! - `plain`: pooling without sharding
//! - `pgbouncer`: the same pgbouncer.ini under PgBouncer and under weir
//! - `door`: TLS and passwords, on both sides
//! - `console`: the database `weir`
//! - `restart`: another weir takes over
//! - `life`: start, dying shards, reloads, metrics, the end
//! - `traced`: spans as a collector gets them
//! - `observed`: metrics as Prometheus reads them, slow statements
//! - `fence`: placement
//! - `strangers`: nobody is taken for the client before
mod admin;
mod calls;
mod door;
mod console;
mod fence;
mod life;
mod observed;
mod pgbouncer;
mod plain;
mod restart;
mod traced;
mod strangers;

use crate::cluster::Cluster;
use tokio_postgres::{Client, Config, NoTls};

const TRUST: &str = "[auth]\nmethod = 'trust'\n";

/// A driver's connection as this user to this database.
async fn connect(port: u16, user: &str, database: &str) -> Client {
    let (client, connection) = Config::new()
        .host("127.0.0.1")
        .port(port)
        .user(user)
        .dbname(database)
        .connect(NoTls)
        .await
        .unwrap_or_else(|error| panic!("{error:?}"));
    tokio::spawn(connection);
    client
}

/// The server process that runs a client's statement now.
async fn backend(client: &impl tokio_postgres::GenericClient) -> i32 {
    client.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0)
}

/// The server connections that a user has.
fn connections(cluster: &Cluster, user: &str) -> usize {
    let text = format!("SELECT count(*) FROM pg_stat_activity WHERE usename = '{user}'");
    cluster.shard(0).sql("postgres", &text).unwrap().parse().unwrap()
}

fn two_shards() -> Cluster {
    let cluster = Cluster::start(2);
    cluster.on_every_shard("CREATE TABLE orders (id bigint, user_id bigint)");
    cluster
}

/// Orders by user on these shards, each with the number of its server.
fn sharded(cluster: &Cluster, shards: &[(&str, usize)], buckets: u32, more: &str) -> String {
    let mut text = "database = 'shop'\n".to_owned();
    for (name, server) in shards {
        let port = cluster.shard(*server).port();
        text += &format!(
            "[[shard]]\nname = '{name}'\nprimary = 'host=127.0.0.1 port={port} dbname=shop'\n"
        );
    }
    text += &format!(
        "[[distribution]]\nname = 'by_user'\nfunction = 'modulo'\nkey_type = 'bigint'\n\
         buckets = {buckets}\n\
         [[table]]\nname = 'orders'\ndistribution = 'by_user'\nkey = 'user_id'\n{more}"
    );
    text
}
