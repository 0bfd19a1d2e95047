//! PostgreSQL servers for one test: shards, and a plain server beside them as the oracle.
//!
//! ```ignore
//! let cluster = Cluster::start(4);                      // four shards, each with a database `shop`
//! cluster.on_every_shard("CREATE TABLE t (id int)");
//! let oracle = cluster.oracle();                        // one more server, started when asked for
//! ```
use std::path::Path;
use weir::cli::throwaway::{Farm, Postgres};

/// The database on every server.
pub const DATABASE: &str = "shop";

pub struct Cluster {
    // Dropped in this order: the servers before the folder they live in.
    shards: Vec<Postgres>,
    farm: Farm,
}

impl Cluster {
    /// Starts `shards` servers, named s0, s1, …, on free ports.
    pub fn start(shards: usize) -> Self {
        let farm = Farm::temporary(Some(Path::new(env!("CARGO_TARGET_TMPDIR"))))
            .expect("PostgreSQL's server programs are installed");
        let names: Vec<String> = (0..shards).map(|index| format!("s{index}")).collect();
        let shards = start_all(&farm, &names);
        Self { shards, farm }
    }

    pub fn shards(&self) -> &[Postgres] {
        &self.shards
    }

    pub fn shard(&self, index: usize) -> &Postgres {
        &self.shards[index]
    }

    /// Ends one server as a crash would.
    pub fn crash(&mut self, index: usize) {
        self.shards[index].crash().expect("the server was running");
    }

    /// Starts a crashed server again, where it was, with what it had.
    pub fn restart(&mut self, index: usize) {
        self.shards[index].restart(&self.farm).expect("the server starts again");
    }

    /// Where everything of this cluster lies; it goes with the cluster unless the test fails.
    pub fn folder(&self) -> &Path {
        self.farm.folder()
    }

    /// Runs the text on each shard, with psql.
    pub fn on_every_shard(&self, text: &str) {
        for shard in &self.shards {
            shard.sql(DATABASE, text).expect("the statement runs on every shard");
        }
    }

    /// One plain PostgreSQL more, to compare answers with.
    pub fn oracle(&self) -> Postgres {
        start_all(&self.farm, &["oracle".to_owned()]).pop().expect("one was asked for")
    }
}

fn start_all(farm: &Farm, names: &[String]) -> Vec<Postgres> {
    let starting: Vec<_> =
        names.iter().map(|name| farm.start(name, None).expect("PostgreSQL starts")).collect();
    let servers: Vec<Postgres> = starting
        .into_iter()
        .map(|starting| starting.ready(farm).expect("PostgreSQL becomes ready"))
        .collect();
    for server in &servers {
        server.sql("postgres", &format!("CREATE DATABASE {DATABASE}")).expect("a new database");
    }
    servers
}

#[test]
fn four_shards_and_an_oracle_start_apart_from_each_other() {
    let cluster = Cluster::start(4);
    cluster.on_every_shard("CREATE TABLE t (id int); INSERT INTO t VALUES (1)");
    cluster.shard(2).sql(DATABASE, "INSERT INTO t VALUES (2)").unwrap();
    let counts: Vec<String> = cluster
        .shards()
        .iter()
        .map(|shard| shard.sql(DATABASE, "SELECT count(*) FROM t").unwrap())
        .collect();
    assert_eq!(counts, ["1", "1", "2", "1"]);
    assert_eq!(cluster.oracle().sql(DATABASE, "SELECT to_regclass('t') IS NULL").unwrap(), "t");
}

#[test]
fn a_stopped_cluster_leaves_nothing_behind() {
    let cluster = Cluster::start(1);
    let (port, folder) = (cluster.shard(0).port(), cluster.folder().to_owned());
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    drop(cluster);
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
    assert!(!folder.exists());
}
