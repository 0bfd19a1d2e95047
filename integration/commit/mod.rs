//! Transactions that write on several shards: committed everywhere or nowhere.
//!
//! - `together`: what clients see of them, and what they are told when one is refused
//! - `modes`: READ ONLY, isolation levels, AND CHAIN
//! - `gate`: a line to a server that stops at a word
//! - `crash`: weir, or a shard, dies at each step of commit and of recovery
//! - `lacks`: shards that cannot take part, and rules that want no atomic commits
//! - `recover`: what is left behind, seen and finished by hand and by itself
//! - `kills`: they die at any time, under load
mod together;
mod modes;
mod gate;
mod crash;
mod kills;
mod lacks;
mod recover;

use crate::cluster::{Cluster, DATABASE};
use crate::raw::Raw;
use crate::weir::Weir;

/// User n lives on shard n % shards, and has 100 to begin with.
const USERS: usize = 16;
const SETTINGS: &str = "workers = 1\n[auth]\nmethod = 'trust'\n";

struct Bank {
    // Dropped in this order.
    weirs: Vec<Weir>,
    cluster: Cluster,
}

impl Bank {
    fn new(shards: usize, weirs: usize, settings: &str) -> Self {
        Self::with(Cluster::start(shards), weirs, settings, "")
    }

    /// `more`: what the rules say besides.
    fn with(cluster: Cluster, weirs: usize, settings: &str, more: &str) -> Self {
        let shards = cluster.shards().len();
        cluster.on_every_shard(
            "CREATE TABLE entries (id bigint, user_id bigint, PRIMARY KEY (id, user_id));\
             CREATE TABLE accounts (user_id bigint PRIMARY KEY, balance bigint NOT NULL, \
                 positive bool UNIQUE DEFERRABLE INITIALLY DEFERRED)",
        );
        for user in 0..USERS {
            let insert = format!("INSERT INTO accounts VALUES ({user}, 100)");
            cluster.shard(user % shards).sql(DATABASE, &insert).unwrap();
        }
        let ports: Vec<u16> = cluster.shards().iter().map(|shard| shard.port()).collect();
        let rules = rules(&ports, more);
        let settings = format!("{SETTINGS}{settings}");
        let weirs = (0..weirs).map(|_| Weir::with_rules(&cluster, &rules, &settings)).collect();
        Self { weirs, cluster }
    }

    fn client(&self) -> Raw {
        Raw::connect(self.weirs[0].port(), &[("user", "postgres"), ("database", DATABASE)])
    }

    /// Beside weir.
    fn beside(&self, shard: usize) -> Raw {
        let port = self.cluster.shard(shard).port();
        Raw::connect(port, &[("user", "postgres"), ("database", DATABASE)])
    }

    /// Of these users, asked beside weir.
    fn balances(&self, users: &[usize]) -> Vec<i64> {
        let shards = self.cluster.shards().len();
        let of = |user: &usize| {
            let sql = format!("SELECT balance FROM accounts WHERE user_id = {user}");
            self.beside(user % shards).value(&sql).parse().unwrap()
        };
        users.iter().map(of).collect()
    }

    fn on_all(&self, sql: &str) -> Vec<String> {
        (0..self.cluster.shards().len()).map(|shard| self.beside(shard).value(sql)).collect()
    }

    /// How many transactions are prepared, and how many of weir's locks are held.
    fn left(&self) -> (usize, usize) {
        let sum = |sql| self.on_all(sql).iter().map(|n| n.parse::<usize>().unwrap()).sum();
        let locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 2";
        (sum("SELECT count(*) FROM pg_prepared_xacts"), sum(locks))
    }

    fn records(&self) -> Vec<String> {
        self.on_all("SELECT count(*) FROM weir.commit_record WHERE committed")
    }
}

/// The shards are on these ports.
fn rules(ports: &[u16], more: &str) -> String {
    let mut rules = format!("database = '{DATABASE}'\n{more}\n");
    for (index, port) in ports.iter().enumerate() {
        let address = format!("host=127.0.0.1 port={port} dbname={DATABASE}");
        rules += &format!("[[shard]]\nname = 's{index}'\nprimary = '{address}'\n");
    }
    rules += &format!(
        "[[distribution]]\nname = 'by_user'\nfunction = 'modulo'\nkey_type = 'bigint'\n\
         buckets = {}\n",
        ports.len()
    );
    for table in ["accounts", "entries"] {
        rules +=
            &format!("[[table]]\nname = '{table}'\ndistribution = 'by_user'\nkey = 'user_id'\n");
    }
    rules
}

/// Takes so much from one user.
fn take(user: usize, amount: i64) -> String {
    format!("UPDATE accounts SET balance = balance - {amount} WHERE user_id = {user}")
}

/// What is said to a script; every statement is one message.
fn run(client: &mut Raw, script: &[&str]) -> String {
    client.take_transcript();
    for text in script {
        client.query(text);
    }
    heard(client)
}

/// What the client has heard, without settings.
fn heard(client: &mut Raw) -> String {
    let said = client.take_transcript();
    let lines = said.lines().filter(|line| !line.starts_with("S "));
    lines.map(|line| line.trim_end_matches("\\x00").to_owned() + "\n").collect()
}
