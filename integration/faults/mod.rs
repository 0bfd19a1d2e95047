//! Servers and networks that fail under load: what clients see, how long it takes, and that no
//! acknowledged write is lost and none is done twice.
//!
//! - `proxy`: a line to a server on which the weather changes
//! - `load`: clients that write all the time, with their times and errors
//! - `ledger`: what they were told of each write, compared with what the servers have
//! - `death`: servers that are killed, shut down, throw their clients out, have no place for more
//! - `hang`: servers and lines that say nothing
//! - `loss`: lines that lose packets, or are deaf in one direction
//! - `failover`: primaries that go, replicas that are promoted, primaries that come back
//! - `replicas`: reads that are never too old, and replicas that go
//! - `panic`: weir itself fails in the middle of a session
pub mod proxy;
mod load;
mod ledger;
mod death;
mod hang;
mod loss;
mod failover;
mod replicas;
mod panic;

use crate::cluster::{Cluster, DATABASE};
use crate::raw::Raw;
use crate::weir::Weir;
use load::Load;
use proxy::Proxy;
use std::time::{Duration, Instant};
use weir::cli::throwaway::Postgres;

const SCHEMA: &str = "\
    CREATE TABLE entries (id bigint, user_id bigint); \
    CREATE TABLE accounts (user_id bigint PRIMARY KEY, balance bigint NOT NULL)";

/// No shard's worst hundredth takes longer because another one fails: far above what a busy machine
/// does to it, far below every timeout.
const UNHARMED: Duration = Duration::from_secs(3);

/// What is told without waiting for anything, on a machine that is busy.
const AT_ONCE: Duration = Duration::from_secs(10);

/// What a lost line is told with: 57P01 if PostgreSQL could still say it, 08006 if not, 08007 if
/// COMMIT was on its way, and the end of the session for who was between two statements of a block.
const LOST: [&str; 4] = ["57P01", "08006", "08007", "closed"];
/// A server that is not there, or not ready.
const ABSENT: [&str; 2] = ["08001", "57P03"];

/// Shards with a proxy before each, and weir in front of them. User n lives on shard n % shards.
pub struct Stage {
    // Dropped in this order.
    pub weir: Weir,
    pub proxies: Vec<Proxy>,
    pub cluster: Cluster,
}

impl Stage {
    pub fn new(shards: usize, settings: &str) -> Self {
        Self::with_replicas(&vec![0; shards], settings)
    }

    /// So many replicas of each shard. `settings` is what weir.toml says besides `[auth]`.
    pub fn with_replicas(replicas: &[usize], settings: &str) -> Self {
        let shards = replicas.len();
        let mut cluster = Cluster::start(shards);
        cluster.on_every_shard(SCHEMA);
        for (shard, server) in cluster.shards().iter().enumerate() {
            // All have 0, so that the sum stays 0.
            let fill = format!(
                "INSERT INTO accounts SELECT {shard} + {shards} * n, 0 FROM generate_series(0, 99) n"
            );
            server.sql(DATABASE, &fill).unwrap();
        }
        for (shard, count) in replicas.iter().enumerate() {
            (0..*count).for_each(|_| cluster.add_replica(shard));
        }
        let proxies: Vec<Proxy> =
            cluster.shards().iter().map(|shard| Proxy::new(shard.port())).collect();
        let settings = format!("[auth]\nmethod = 'trust'\n{settings}");
        let ports: Vec<u16> = proxies.iter().map(Proxy::port).collect();
        let weir = Weir::with_rules(&cluster, &rules(&cluster, &ports), &settings);
        Self { weir, proxies, cluster }
    }

    pub fn load(&self, clients: usize) -> Load {
        Load::start(self.weir.port(), self.proxies.len(), clients)
    }

    /// A client of weir.
    pub fn client(&self) -> Raw {
        Raw::connect(self.weir.port(), &[("user", "postgres"), ("database", DATABASE)])
    }

    /// Ends the load and asks the servers: nothing acknowledged is lost, nothing is done twice, and
    /// no transfer is half done.
    #[track_caller]
    pub fn check(&self, load: &mut Load) {
        load.finish();
        check(load, self.cluster.shards());
    }
}

#[track_caller]
pub fn check<'a>(load: &Load, primaries: impl IntoIterator<Item = &'a Postgres> + Clone) {
    load.ledger().check(primaries.clone());
    for primary in primaries {
        let sum = primary.sql(DATABASE, "SELECT sum(balance) FROM accounts").unwrap();
        assert_eq!(sum, "0", "{}: a transfer is half done", primary.name());
    }
}

/// One shard fails and comes back under load. Gives that shard's figures while it was out of order.
///
/// Asserts that the other shards' clients notice nothing, neither in errors nor in time, and that
/// this shard's go on by themselves.
#[track_caller]
pub fn outage(
    stage: &mut Stage,
    load: &Load,
    failing: usize,
    fail: impl FnOnce(&mut Stage, &Load),
    heal: impl FnOnce(&mut Stage),
) -> load::Figures {
    const WRITES: usize = 50;
    let shards = stage.proxies.len();
    let others: Vec<usize> = (0..shards).filter(|&shard| shard != failing).collect();
    load.go_on(WRITES / 2);
    let begun = Instant::now();
    load.go_on(WRITES);
    let failed = Instant::now();
    fail(stage, load);
    load.go_on_at(&others, WRITES);
    let healed = Instant::now();
    heal(stage);
    load.go_on_at(&[failing], WRITES);
    let well = Instant::now();
    println!("it came back {:.1?} after it was let", well - healed);
    for shard in others {
        show(load, "before", shard, begun, failed);
        let during = show(load, "beside", shard, failed, well);
        assert_eq!(during.failed(), 0, "shard {shard} fails, too: {during}");
        assert!(during.p99 < UNHARMED, "shard {shard} suffers: {during}");
    }
    show(load, "before", failing, begun, failed);
    let during = show(load, "failing", failing, failed, healed);
    show(load, "after", failing, healed, well);
    during
}

/// Prints a shard's figures within some time, for who reads the output of a test.
pub fn show(load: &Load, what: &str, shard: usize, from: Instant, to: Instant) -> load::Figures {
    let figures = load.figures(shard, from, to);
    println!("{what}, shard {shard}: {figures}");
    figures
}

/// One of a server's slots, while it has any.
fn occupy(port: u16) -> Option<Raw> {
    let mut raw = Raw::dial(port);
    raw.send_startup(3 << 16, &[("user", "postgres"), ("database", "postgres")]);
    raw.hear_until(b"ZE");
    raw.transcript().contains("Z I").then_some(raw)
}

/// `ports`: where each shard's primary is to be reached.
fn rules(cluster: &Cluster, ports: &[u16]) -> String {
    let mut text = format!("database = '{DATABASE}'\n");
    for (index, &port) in ports.iter().enumerate() {
        let dsn = |port: u16| format!("'host=127.0.0.1 port={port} dbname={DATABASE}'");
        text += &format!("[[shard]]\nname = 's{index}'\nprimary = {}\n", dsn(port));
        let replicas = cluster.replicas(index).iter().map(|replica| dsn(replica.port()));
        let replicas: Vec<String> = replicas.collect();
        if !replicas.is_empty() {
            text += &format!("replicas = [{}]\n", replicas.join(", "));
        }
    }
    text += &format!(
        "[[distribution]]\nname = 'by_user'\nfunction = 'modulo'\nkey_type = 'bigint'\nbuckets = {}\n",
        ports.len()
    );
    for table in ["entries", "accounts"] {
        text +=
            &format!("[[table]]\nname = '{table}'\ndistribution = 'by_user'\nkey = 'user_id'\n");
    }
    text
}
