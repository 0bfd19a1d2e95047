//! Transactions that write on several shards: committed everywhere or nowhere.
//!
//! - `together`: what clients see of them, and what they are told when one is refused
mod together;

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
            "CREATE TABLE accounts (user_id bigint PRIMARY KEY, balance bigint NOT NULL, \
                 positive bool UNIQUE DEFERRABLE INITIALLY DEFERRED)",
        );
        let mut rules = format!("database = '{DATABASE}'\n{more}\n");
        for (index, shard) in cluster.shards().iter().enumerate() {
            rules += &format!(
                "[[shard]]\nname = 's{index}'\nprimary = 'host=127.0.0.1 port={} dbname={DATABASE}'\n",
                shard.port()
            );
            for user in (0..USERS).filter(|user| user % shards == index) {
                shard.sql(DATABASE, &format!("INSERT INTO accounts VALUES ({user}, 100)")).unwrap();
            }
        }
        rules += &format!(
            "[[distribution]]\nname = 'by_user'\nfunction = 'modulo'\nkey_type = 'bigint'\n\
             buckets = {shards}\n\
             [[table]]\nname = 'accounts'\ndistribution = 'by_user'\nkey = 'user_id'\n"
        );
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
