//! The dashboard in a headless Chromium, over four shards with live traffic: `test.js` is the reader.
//!
//! `make screenshots` keeps its pictures in docs/; no test compares them.
use crate::cluster::{Cluster, DATABASE};
use crate::drivers::{node_program, succeed};
use crate::weir::Weir;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio_postgres::{Config, NoTls};
use weir::cli::shop;

const TOKEN: &str = "a-token-of-the-test";
const SETTINGS: &str = "[auth]\nmethod = 'trust'\n[admin]\nlook = 'loopback'\n";
/// Between two statements of the traffic.
const PACE: Duration = Duration::from_millis(20);

#[tokio::test]
async fn a_reader_sees_live_traffic_and_steers_in_a_browser_without_an_error() {
    let cluster = Cluster::start(4);
    cluster.on_every_shard(&format!("{}{}", shop::SCHEMA, shop::REFERENCE));
    let weir = Weir::start(&cluster, &format!("{SETTINGS}token = '{TOKEN}'\n"));
    weir.psql(&format!("user=postgres dbname={DATABASE}"), shop::SAMPLE).unwrap();
    let traffic = tokio::spawn(traffic(weir.port()));
    let pictures = match std::env::var_os("WEIR_SCREENSHOTS") {
        Some(folder) => PathBuf::from(folder),
        None => weir.home().folder().to_owned(),
    };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("integration/dashboard");
    let mut reader = node_program("dashboard", &folder);
    reader
        .env("DASHBOARD", format!("http://127.0.0.1:{}/", weir.home().admin_port()))
        .env("TOKEN", TOKEN)
        .env("RULES", weir.home().folder().join("rules.toml"))
        .env("SCREENSHOTS", pictures);
    tokio::task::spawn_blocking(move || succeed(&mut reader)).await.unwrap();
    traffic.abort();
}

/// Statements on one shard and on all, until it is ended.
async fn traffic(port: u16) {
    let mut config = Config::new();
    config.host("127.0.0.1").port(port).user("postgres").dbname(DATABASE);
    let (client, connection) = config.connect(NoTls).await.unwrap();
    tokio::spawn(connection);
    for user in (0i64..100).cycle() {
        client.query("SELECT * FROM orders WHERE user_id = $1", &[&user]).await.unwrap();
        if user % 10 == 0 {
            client.query("SELECT status, count(*) FROM orders GROUP BY status", &[]).await.unwrap();
        }
        tokio::time::sleep(PACE).await;
    }
}
