//! PostgreSQL servers for one test: shards, and a plain server beside them as the oracle.
//!
//! ```ignore
//! let cluster = Cluster::start(4);                      // four shards, each with a database `shop`
//! cluster.on_every_shard("CREATE TABLE t (id int)");
//! let oracle = cluster.oracle();                        // one more server, started when asked for
//! cluster.add_replica(0);                               // streams from shard 0
//! cluster.kill(1); cluster.restart(1);                  // shard 1; (0, 0) is the first replica of shard 0
//! ```
use std::path::{Path, PathBuf};
use std::process::Command;
use weir::cli::throwaway::{Farm, Postgres};

/// The database on every server.
pub const DATABASE: &str = "shop";

pub struct Cluster {
    // Dropped in this order: the servers before the folder they live in.
    shards: Vec<Postgres>,
    /// By shard, in the order of their making.
    replicas: Vec<Vec<Postgres>>,
    farm: Farm,
}

/// A server by what it was when it started: `2` is shard 2, `(2, 0)` its first replica.
#[derive(Clone, Copy)]
pub enum Place {
    Shard(usize),
    Replica(usize, usize),
}

impl From<usize> for Place {
    fn from(shard: usize) -> Self {
        Self::Shard(shard)
    }
}

impl From<(usize, usize)> for Place {
    fn from((shard, replica): (usize, usize)) -> Self {
        Self::Replica(shard, replica)
    }
}

impl Cluster {
    /// Starts `shards` servers, named s0, s1, …, on free ports.
    pub fn start(shards: usize) -> Self {
        let farm = Farm::temporary(&scratch(), Some(Path::new(env!("CARGO_TARGET_TMPDIR"))))
            .expect("PostgreSQL's server programs are installed");
        let names: Vec<String> = (0..shards).map(|index| format!("s{index}")).collect();
        let shards = start_all(&farm, &names);
        let replicas = shards.iter().map(|_| Vec::new()).collect();
        Self { shards, replicas, farm }
    }

    pub fn shards(&self) -> &[Postgres] {
        &self.shards
    }

    pub fn shard(&self, index: usize) -> &Postgres {
        &self.shards[index]
    }

    /// Starts one more streaming replica of a shard; it has what the shard has.
    pub fn add_replica(&mut self, shard: usize) {
        let name = format!("s{shard}r{}", self.replicas[shard].len());
        let starting = self.farm.start_replica(&name, &self.shards[shard]).expect("a base backup");
        let replica = starting.ready(&self.farm).expect("the replica becomes ready");
        replica.catch_up(&self.shards[shard]).expect("the replica streams");
        self.replicas[shard].push(replica);
    }

    pub fn replica(&self, shard: usize, index: usize) -> &Postgres {
        &self.replicas[shard][index]
    }

    pub fn replicas(&self, shard: usize) -> &[Postgres] {
        &self.replicas[shard]
    }

    /// Ends one server as a crash would: PostgreSQL's immediate shutdown.
    pub fn crash(&mut self, place: impl Into<Place>) {
        self.server(place).crash().expect("the server was running");
    }

    /// kill -9 for every process of a server.
    pub fn kill(&mut self, place: impl Into<Place>) {
        self.server(place).kill().expect("the server was running");
    }

    /// Shuts a server down in order.
    pub fn stop(&mut self, place: impl Into<Place>) {
        self.server(place).stop().expect("the server was running");
    }

    /// Starts a server that has ended again, where it was, with what it had.
    pub fn restart(&mut self, place: impl Into<Place>) {
        let server = match place.into() {
            Place::Shard(shard) => &mut self.shards[shard],
            Place::Replica(shard, index) => &mut self.replicas[shard][index],
        };
        // Not `self.server`: the farm is needed, too.
        server.restart(&self.farm).expect("the server starts again");
    }

    fn server(&mut self, place: impl Into<Place>) -> &mut Postgres {
        match place.into() {
            Place::Shard(shard) => &mut self.shards[shard],
            Place::Replica(shard, index) => &mut self.replicas[shard][index],
        }
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

    /// Where the database `gather` is, on shard 0's server; made when first asked for, and empty.
    pub fn gather(&self) -> String {
        self.gather_on(0)
    }

    /// The same on the server of another shard.
    pub fn gather_on(&self, shard: usize) -> String {
        let there = "SELECT count(*) FROM pg_database WHERE datname = 'gather'";
        let server = &self.shards[shard];
        if server.sql("postgres", there).expect("the server answers") == "0" {
            server.sql("postgres", "CREATE DATABASE gather").expect("a new database");
        }
        server.dsn("gather").replace(" user=postgres", "")
    }

    /// One plain PostgreSQL more, to compare answers with.
    pub fn oracle(&self) -> Postgres {
        start_all(&self.farm, &["oracle".to_owned()]).pop().expect("one was asked for")
    }
}

/// In memory where there is room: a server's thousand files are most of the work of a short test on a
/// disk. `TMPDIR` says otherwise.
fn scratch() -> PathBuf {
    const MEMORY: &str = "/dev/shm";
    const ROOM_KB: u64 = 4 << 20;
    if std::env::var_os("TMPDIR").is_some() {
        return std::env::temp_dir();
    }
    let free = Command::new("df").args(["--output=avail", "-k", MEMORY]).output();
    let free = free.ok().and_then(|output| {
        String::from_utf8_lossy(&output.stdout).lines().last()?.trim().parse::<u64>().ok()
    });
    match free {
        Some(free) if free >= ROOM_KB => MEMORY.into(),
        Some(_) | None => std::env::temp_dir(),
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

#[test]
fn servers_are_killed_hang_and_come_back_with_what_they_had() {
    let mut cluster = Cluster::start(1);
    cluster.on_every_shard("CREATE TABLE t (id int); INSERT INTO t VALUES (1)");
    cluster.kill(0);
    assert!(cluster.shard(0).sql(DATABASE, "SELECT 1").is_err());
    cluster.restart(0);
    assert_eq!(cluster.shard(0).sql(DATABASE, "SELECT count(*) FROM t").unwrap(), "1");
    let server = cluster.shard(0);
    server.hang().unwrap();
    let (asked, heard) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(move || asked.send(server.sql(DATABASE, "SELECT 1").unwrap()));
        assert!(heard.recv_timeout(std::time::Duration::from_millis(300)).is_err());
        server.go_on().unwrap();
        assert_eq!(heard.recv().as_deref(), Ok("1"));
    });
    // It ends with its owner even so.
    server.hang().unwrap();
}
