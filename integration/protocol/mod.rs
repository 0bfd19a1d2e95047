//! Conversations over the raw protocol, held with a plain PostgreSQL, with weir pooling by
//! transaction over a single server connection, and with weir pooling by session: all three have to
//! answer the same messages.
//!
//! - `simple`, `extended`: the two query protocols
//! - `transactions`: blocks, savepoints, failed transactions
//! - `settings`: SET and what it reports
//! - `copy`: COPY in both protocols
//! - `cursors`: SQL cursors, SQL-level PREPARE
//!
//! What only a pool can get wrong, or PostgreSQL does otherwise:
//!
//! - `pooling`: nothing of one client is seen by the next; clients and servers that vanish; cancelling
//! - `startup`: versions, encryption, options, who may come in
//! - `malformed`: what is no message
use crate::cluster::Cluster;
use crate::raw::Raw;
use crate::weir::Weir;

mod simple;
mod extended;
mod transactions;
mod settings;
mod copy;
mod cursors;
mod pooling;
mod startup;
mod malformed;

/// One conversation: what it shows, and how it goes.
pub type Script = (&'static str, fn(&mut Raw));

const FIXTURE: &str = "\
    DROP SCHEMA IF EXISTS public CASCADE; CREATE SCHEMA public; \
    CREATE TABLE t (id int PRIMARY KEY, name text); \
    INSERT INTO t VALUES (1, 'one'), (2, 'two'), (3, NULL); \
    CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy'); \
    CREATE TABLE typed (i int, b bigint, n numeric(10,2), m mood, ts timestamptz)";

/// The databases: each peer has its own, with the same contents.
const DIRECT: &str = "direct";
const POOLED: &str = "pooled";
const PINNED: &str = "pinned";

/// A server, and a weir in front of it that passes on any database name.
pub struct Stage {
    pub weir: Weir,
    pub cluster: Cluster,
}

impl Stage {
    pub fn new(settings: &str) -> Self {
        let cluster = Cluster::start(1);
        for database in [DIRECT, POOLED, PINNED] {
            cluster.shard(0).sql("postgres", &format!("CREATE DATABASE {database}")).unwrap();
        }
        let rules = format!(
            "database = \"*\"\n[[shard]]\nname = \"s0\"\n\
             primary = \"host=127.0.0.1 port={}\"\n",
            cluster.shard(0).port()
        );
        let settings = format!(
            "[auth]\nmethod = 'trust'\n[database.{PINNED}]\npool_mode = 'session'\n{settings}"
        );
        Self { weir: Weir::with_rules(&cluster, &rules, &settings), cluster }
    }

    /// A new client of weir, pooled by transaction.
    pub fn client(&self) -> Raw {
        self.client_with(&[])
    }

    pub fn client_with(&self, parameters: &[(&str, &str)]) -> Raw {
        self.connect(self.weir.port(), POOLED, parameters)
    }

    /// A client of the server itself, in weir's clients' database.
    pub fn beside(&self) -> Raw {
        self.connect(self.cluster.shard(0).port(), POOLED, &[])
    }

    fn connect(&self, port: u16, database: &str, parameters: &[(&str, &str)]) -> Raw {
        let names = [("user", "postgres"), ("database", database)];
        Raw::connect(port, &[&names[..], parameters].concat())
    }

    pub fn reset(&self, database: &str) {
        let mut raw = self.connect(self.cluster.shard(0).port(), database, &[]);
        raw.query("SET client_min_messages = warning").query(FIXTURE);
        assert!(!raw.transcript().contains("E="), "{}", raw.transcript());
    }

    fn perform(&self, port: u16, database: &str, script: fn(&mut Raw)) -> String {
        self.reset(database);
        let mut raw = self.connect(port, database, &[]);
        script(&mut raw);
        raw.transcript()
    }
}

/// Performs each script with all three; reports every one that differs.
#[track_caller]
pub fn check(scripts: &[Script]) {
    let stage = Stage::new("[pool]\nsize = 1\n");
    let direct = stage.cluster.shard(0).port();
    let only = std::env::var("WEIR_SCRIPT").unwrap_or_default();
    let mut report = String::new();
    for (name, script) in scripts.iter().filter(|(name, _)| name.contains(&only)) {
        let expected = stage.perform(direct, DIRECT, *script);
        for database in [POOLED, PINNED] {
            let heard = stage.perform(stage.weir.port(), database, *script);
            if heard != expected {
                report.push_str(&format!("\n== {name} ({database})\n"));
                report.push_str(&difference(&expected, &heard));
            }
        }
    }
    assert!(report.is_empty(), "{report}");
}

/// Both transcripts from the first line that differs on.
fn difference(expected: &str, heard: &str) -> String {
    let same = expected.lines().zip(heard.lines()).take_while(|(a, b)| a == b).count();
    let rest = |text: &str| -> String {
        text.lines().skip(same).take(12).map(|line| format!("    {line}\n")).collect()
    };
    format!(
        "  after {same} equal messages PostgreSQL says\n{}  weir says\n{}",
        rest(expected),
        rest(heard)
    )
}
