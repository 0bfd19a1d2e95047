//! Every metric weir has, a line each. docs/metrics.md says what to look at.
//!
//! A statement costs a few atomic additions: whoever counts on the hot path holds the counters of
//! its database ([`Metrics::database`]) instead of looking labels up.
use crate::error::Blame;
use crate::ids::ShardId;
use prometheus::{
    Counter, CounterVec, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter,
    IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};
use std::time::Duration;

/// Declares [`Metrics`]: `field: kind = "name" [labels] "help"`.
macro_rules! metrics {
    ($($field:ident: $kind:ident = $name:literal [$($label:literal),*] $help:literal;)*) => {
        /// All metrics of one weir. Cloning shares them.
        #[derive(Clone, Debug)]
        pub struct Metrics {
            registry: Registry,
            $(#[doc = $help] pub $field: $kind,)*
        }

        impl Metrics {
            /// Declares every metric in a registry of its own, so that one process can hold two weirs.
            pub fn new() -> Self {
                let registry = Registry::new();
                $(
                    let $field = $kind::declare($name, $help, &[$($label),*]);
                    registry.register(Box::new($field.clone())).expect("every name is used once");
                )*
                Self { registry, $($field,)* }
            }

            /// Name, labels and help of every metric.
            pub const ALL: &'static [(&'static str, &'static [&'static str], &'static str)] =
                &[$(($name, &[$($label),*], $help)),*];
        }
    };
}

metrics! {
    clients: IntGauge = "weir_clients" [] "clients connected now";
    clients_max: IntGauge = "weir_clients_max" [] "clients that may be connected: limits.clients";
    connections: IntCounterVec = "weir_connections_total" ["outcome"] "connections from clients, by how their start-up ended";
    statements: IntCounterVec = "weir_statements_total" ["database", "shard", "access"] "statements sent to servers, by where and what they may do";
    statement_seconds: HistogramVec = "weir_statement_seconds" ["database", "shard", "tier", "role", "strategy"] "time that statements took, from their being taken to their last answer";
    statement_errors: IntCounterVec = "weir_statement_errors_total" ["database", "shard", "class"] "errors that clients were told, by whose they are and the class of their SQLSTATE";
    own_statements: IntCounterVec = "weir_own_statements_total" ["database"] "statements that steer the session or its transaction: BEGIN, COMMIT, SET, cursors and the like";
    server_transactions: IntCounterVec = "weir_server_transactions_total" ["database"] "transactions, and statements outside of them, that servers have run";
    slow_statements: IntCounterVec = "weir_slow_statements_total" ["database"] "statements that took longer than logging.slow_statement";
    refused: IntCounterVec = "weir_refused_total" ["database", "reason"] "statements that weir would not run";
    several: IntCounterVec = "weir_several_shards_total" ["database", "strategy"] "statements over several shards that were answered, by how";
    merged_rows: IntCounterVec = "weir_merged_rows_total" ["database"] "rows of answers that weir united from several shards";
    gathered_rows: IntCounterVec = "weir_gathered_rows_total" ["database"] "rows that were brought to the gather database";
    gathered_bytes: IntCounterVec = "weir_gathered_bytes_total" ["database"] "bytes that were brought to the gather database";
    gather_seconds: Histogram = "weir_gather_seconds" [] "time that statements took which the gather database finished";
    gather_limited: IntCounterVec = "weir_gather_limited_total" ["database"] "statements that would have brought too much to the gather database";
    snapshots: Histogram = "weir_snapshot_seconds" [] "time that reads over several shards took to see all of them at one moment";
    snapshot_retries: IntCounterVec = "weir_snapshot_retries_total" ["database"] "times that such a read let writers go first";
    several_commits: IntCounterVec = "weir_commits_over_shards_total" ["database", "outcome"] "transactions that wrote on several shards, by how their COMMIT ended";
    commit_seconds: Histogram = "weir_commit_over_shards_seconds" [] "time that COMMIT took on several shards";
    in_doubt: IntGaugeVec = "weir_transactions_in_doubt" ["database"] "prepared transactions older than the grace period that could not be finished at the last look";
    in_doubt_seconds: GaugeVec = "weir_transactions_in_doubt_seconds" ["database"] "age of the oldest of them";
    recovered: IntCounterVec = "weir_recovered_total" ["database", "outcome"] "prepared transactions that recovery has finished, by how";
    deadlocks: IntCounterVec = "weir_deadlocks_total" ["database"] "deadlocks across shards that this weir has ended, by ending a transaction of its own";
    breaker_open: IntGaugeVec = "weir_statement_breaker_open" ["database"] "statement shapes that are refused now because they were slow or failed";
    breaker_trips: IntCounterVec = "weir_statement_breaker_trips_total" ["database"] "times that a statement shape began to be refused";
    panics: IntCounter = "weir_panics_total" [] "panics in the work for a client: faults of weir's own, each in the log";
    errors: IntCounterVec = "weir_errors_total" ["blame"] "errors of weir's own that clients were sent, by who has to act";
    transactions: IntCounterVec = "weir_transactions_total" ["database", "outcome"] "transaction blocks that clients ended";
    cancels: IntCounterVec = "weir_cancels_total" ["outcome"] "cancel requests, by whether they met a running statement";
    server_connections: IntGaugeVec = "weir_server_connections" ["database", "shard", "server", "tier"] "connections to servers that are open now";
    server_idle: IntGaugeVec = "weir_server_connections_idle" ["database", "shard", "server", "tier"] "connections to servers that nobody uses now";
    server_max: IntGaugeVec = "weir_server_connections_max" ["database", "shard", "server", "tier"] "connections to servers that may be open, without the reserve";
    waiting: IntGaugeVec = "weir_checkout_waiting" ["database", "shard", "server", "tier"] "statements waiting for a server connection now";
    checkout: HistogramVec = "weir_checkout_seconds" ["database", "shard", "tier"] "time that statements waited for a server connection";
    checkout_failed: IntCounterVec = "weir_checkout_failed_total" ["database", "shard", "tier"] "waits for a server connection that ended without one";
    server_busy: CounterVec = "weir_server_busy_seconds_total" ["database", "shard", "server", "tier"] "time that connections to servers were lent to clients, added up";
    server_connects: IntCounterVec = "weir_server_connects_total" ["database", "shard", "outcome"] "attempts to connect to a server";
    server_rtt: GaugeVec = "weir_server_tcp_rtt_seconds" ["database", "shard", "server"] "round trip to a server as TCP has measured it";
    server_retransmits: IntCounterVec = "weir_server_tcp_retransmits_total" ["database", "shard", "server"] "segments that TCP had to send to a server again";
    server_closed: IntCounterVec = "weir_server_closed_total" ["reason"] "connections to servers that could not be used again";
    hot_row_waiting: IntGaugeVec = "weir_hot_row_waiting" ["database"] "statements waiting for their turn at a hot row now";
    hot_row_waits: IntCounterVec = "weir_hot_row_waits_total" ["database"] "statements that had to wait for their turn at a hot row";
    hot_row_refused: IntCounterVec = "weir_hot_row_refused_total" ["database", "reason"] "waits for a hot row that ended without a turn";
    hot_row_wait: Histogram = "weir_hot_row_wait_seconds" [] "time that statements waited for their turn at a hot row";
    server_up: IntGaugeVec = "weir_server_up" ["database", "shard", "server"] "1: the server answers probes";
    server_primary: IntGaugeVec = "weir_server_primary" ["database", "shard", "server"] "1: the server takes the shard's writes";
    probe_latency: GaugeVec = "weir_probe_seconds" ["database", "shard", "server"] "how long the last probe took, connecting included where it had to";
    replica_lag: GaugeVec = "weir_replica_lag_seconds" ["database", "shard", "server"] "how far a replica is behind the primary at most";
    server_breaker_open: IntGaugeVec = "weir_server_breaker_open" ["database", "shard", "server"] "1: the server's breaker is open or half-open";
    server_breaker_trips: IntCounterVec = "weir_server_breaker_trips_total" ["database", "shard", "server"] "times that the server's breaker has opened";
    prepares: IntCounterVec = "weir_server_prepares_total" ["database"] "statements prepared on servers";
    parses: IntCounterVec = "weir_client_parses_total" ["database"] "Parse messages of clients";
    binds: IntCounterVec = "weir_client_binds_total" ["database"] "Bind messages of clients";
    plan_hits: IntCounterVec = "weir_plan_cache_hits_total" ["database"] "statements whose plan was cached";
    plan_misses: IntCounterVec = "weir_plan_cache_misses_total" ["database"] "statements that had to be planned";
    bytes_from_clients: IntCounterVec = "weir_client_bytes_received_total" ["database"] "bytes read from clients";
    bytes_to_clients: IntCounterVec = "weir_client_bytes_sent_total" ["database"] "bytes sent to clients";
    admin_requests: IntCounterVec = "weir_admin_requests_total" ["outcome"] "requests to the admin port, by how they ended";
    log_left_out: IntCounter = "weir_log_lines_left_out_total" [] "log lines that were left out because there were many of their kind";
    spans: IntCounterVec = "weir_spans_total" ["outcome"] "spans for the collector of traces, by what became of them";
    reloads: IntCounterVec = "weir_reloads_total" ["outcome"] "times that configuration and rules were read again";
    rules_version: IntGaugeVec = "weir_rules_version" ["database"] "the rules in force, counted from the process's start";
    gather_ready: IntGaugeVec = "weir_gather_ready" ["database"] "1: statements over several shards can be finished in the gather database";
}

/// What a statement may do, as the metric says it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    Read,
    Lock,
    Write,
}

/// The counters that every statement of one database touches.
#[derive(Clone, Debug)]
pub struct DatabaseMetrics {
    /// For each shard.
    statements: Vec<[IntCounter; 3]>,
    commits: IntCounter,
    rollbacks: IntCounter,
    merges: IntCounter,
    writes: IntCounter,
    copies: IntCounter,
    merged_rows: IntCounter,
    gathers: IntCounter,
    gathered_rows: IntCounter,
    gathered_bytes: IntCounter,
    gather_seconds: Histogram,
    gather_limited: IntCounter,
    snapshots: Histogram,
    snapshot_retries: IntCounter,
    commits_over_shards: IntCounterVec,
    commit_seconds: Histogram,
    database: String,
    refused: IntCounterVec,
    own_statements: IntCounter,
    server_transactions: IntCounter,
    prepares: IntCounter,
    parses: IntCounter,
    binds: IntCounter,
    plan_hits: IntCounter,
    plan_misses: IntCounter,
    bytes_received: IntCounter,
    bytes_sent: IntCounter,
}

/// What a session has counted since it was last asked.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Tally {
    pub own_statements: u64,
    pub server_transactions: u64,
    pub parses: u64,
    pub binds: u64,
    pub plan_hits: u64,
    pub plan_misses: u64,
    pub bytes_received: u64,
    pub bytes_sent: u64,
}

/// What the pools to one shard count. Their gauges are read from them when somebody looks:
/// [`Metrics::set_pools`].
#[derive(Clone, Debug)]
pub struct PoolMetrics {
    checkout: Histogram,
    busy: Counter,
    failed: IntCounter,
    connects: IntCounter,
    connects_failed: IntCounter,
    closed: IntCounterVec,
}

/// What the statement breakers of one database count.
#[derive(Clone, Debug)]
pub struct ShapeMetrics {
    open: IntGauge,
    trips: IntCounter,
}

/// What the queues for hot rows of one database count.
#[derive(Clone, Debug)]
pub struct HotRowMetrics {
    database: String,
    waiting: IntGauge,
    waits: IntCounter,
    wait: Histogram,
    refused: IntCounterVec,
}

/// A pool's connections at one moment. Labels: database, shard, server, tier.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PoolGauges {
    pub labels: [String; 4],
    pub open: u32,
    pub idle: u32,
    pub size: u32,
    pub waiting: u32,
}

/// A server as probes see it at one moment. Labels: database, shard, server.
#[derive(Clone, PartialEq, Debug)]
pub struct ServerGauges {
    pub labels: [String; 3],
    pub up: bool,
    pub primary: bool,
    pub latency: Option<Duration>,
    pub lag: Option<Duration>,
    pub breaker_open: bool,
    pub breaker_trips: u64,
    pub round_trip: Option<Duration>,
    pub retransmits: u64,
}

impl Metrics {
    /// The counters of one database, whose shards have these names in the rules' order.
    pub fn database(&self, database: &str, shards: &[&str]) -> DatabaseMetrics {
        let of_shard = |shard: &&str| {
            ["read", "lock", "write"]
                .map(|access| self.statements.with_label_values(&[database, shard, access]))
        };
        let statements = shards.iter().map(of_shard).collect();
        DatabaseMetrics {
            statements,
            commits: self.transactions.with_label_values(&[database, "committed"]),
            rollbacks: self.transactions.with_label_values(&[database, "rolled back"]),
            merges: self.several.with_label_values(&[database, "merge"]),
            writes: self.several.with_label_values(&[database, "write"]),
            copies: self.several.with_label_values(&[database, "copies"]),
            merged_rows: self.merged_rows.with_label_values(&[database]),
            gathers: self.several.with_label_values(&[database, "gather"]),
            gathered_rows: self.gathered_rows.with_label_values(&[database]),
            gathered_bytes: self.gathered_bytes.with_label_values(&[database]),
            gather_seconds: self.gather_seconds.clone(),
            gather_limited: self.gather_limited.with_label_values(&[database]),
            snapshots: self.snapshots.clone(),
            snapshot_retries: self.snapshot_retries.with_label_values(&[database]),
            commits_over_shards: self.several_commits.clone(),
            commit_seconds: self.commit_seconds.clone(),
            database: database.to_owned(),
            refused: self.refused.clone(),
            own_statements: self.own_statements.with_label_values(&[database]),
            server_transactions: self.server_transactions.with_label_values(&[database]),
            prepares: self.prepares.with_label_values(&[database]),
            parses: self.parses.with_label_values(&[database]),
            binds: self.binds.with_label_values(&[database]),
            plan_hits: self.plan_hits.with_label_values(&[database]),
            plan_misses: self.plan_misses.with_label_values(&[database]),
            bytes_received: self.bytes_from_clients.with_label_values(&[database]),
            bytes_sent: self.bytes_to_clients.with_label_values(&[database]),
        }
    }

    pub fn pool(&self, database: &str, shard: &str, server: &str, tier: &str) -> PoolMetrics {
        PoolMetrics {
            checkout: self.checkout.with_label_values(&[database, shard, tier]),
            busy: self.server_busy.with_label_values(&[database, shard, server, tier]),
            closed: self.server_closed.clone(),
            failed: self.checkout_failed.with_label_values(&[database, shard, tier]),
            connects: self.server_connects.with_label_values(&[database, shard, "ok"]),
            connects_failed: self.server_connects.with_label_values(&[database, shard, "failed"]),
        }
    }

    pub fn shapes(&self, database: &str) -> ShapeMetrics {
        ShapeMetrics {
            open: self.breaker_open.with_label_values(&[database]),
            trips: self.breaker_trips.with_label_values(&[database]),
        }
    }

    pub fn hot_rows(&self, database: &str) -> HotRowMetrics {
        HotRowMetrics {
            database: database.to_owned(),
            waiting: self.hot_row_waiting.with_label_values(&[database]),
            waits: self.hot_row_waits.with_label_values(&[database]),
            wait: self.hot_row_wait.clone(),
            refused: self.hot_row_refused.clone(),
        }
    }

    /// What weir.toml allows.
    pub fn set_limits(&self, clients: usize) {
        self.clients_max.set(i64::try_from(clients).unwrap_or(i64::MAX));
    }

    /// Log lines that were left out since the start.
    pub fn set_left_out(&self, lines: u64) {
        self.log_left_out.inc_by(lines.saturating_sub(self.log_left_out.get()));
    }

    /// The pools of all workers as they are now; those of several users are added up.
    pub fn set_pools(&self, pools: impl Iterator<Item = PoolGauges>) {
        let gauges = [&self.server_connections, &self.server_idle, &self.server_max, &self.waiting];
        for gauge in gauges {
            gauge.reset();
        }
        for pool in pools {
            let labels = pool.labels.each_ref().map(String::as_str);
            for (gauge, value) in
                gauges.into_iter().zip([pool.open, pool.idle, pool.size, pool.waiting])
            {
                gauge.with_label_values(&labels).add(value.into());
            }
        }
    }

    /// The servers of all databases as they are now.
    pub fn set_servers(&self, servers: impl Iterator<Item = ServerGauges>) {
        for gauge in [&self.server_up, &self.server_primary, &self.server_breaker_open] {
            gauge.reset();
        }
        self.probe_latency.reset();
        self.server_rtt.reset();
        self.replica_lag.reset();
        for server in servers {
            let labels = server.labels.each_ref().map(String::as_str);
            self.server_up.with_label_values(&labels).set(server.up.into());
            self.server_primary.with_label_values(&labels).set(server.primary.into());
            self.server_breaker_open.with_label_values(&labels).set(server.breaker_open.into());
            let trips = self.server_breaker_trips.with_label_values(&labels);
            trips.inc_by(server.breaker_trips.saturating_sub(trips.get()));
            let resent = self.server_retransmits.with_label_values(&labels);
            resent.inc_by(server.retransmits.saturating_sub(resent.get()));
            if let Some(rtt) = server.round_trip {
                self.server_rtt.with_label_values(&labels).set(rtt.as_secs_f64());
            }
            if let Some(latency) = server.latency {
                self.probe_latency.with_label_values(&labels).set(latency.as_secs_f64());
            }
            if let Some(lag) = server.lag {
                self.replica_lag.with_label_values(&labels).set(lag.as_secs_f64());
            }
        }
    }

    /// An error goes to a client.
    pub fn error(&self, blame: Blame) {
        let blame = match blame {
            Blame::Client => "client",
            Blame::Rules => "rules",
            Blame::Shard => "shard",
            Blame::Proxy => "proxy",
        };
        self.errors.with_label_values(&[blame]).inc();
    }

    /// All metrics in Prometheus' text format.
    pub fn text(&self) -> String {
        let mut text = String::new();
        match TextEncoder::new().encode_utf8(&self.registry.gather(), &mut text) {
            Ok(()) => text,
            // Half a page would look like counters gone: say what happened instead.
            Err(error) => format!("# the metrics cannot be written: {error}\n"),
        }
    }
}

impl ShapeMetrics {
    pub fn tripped(&self) {
        self.trips.inc();
    }

    pub fn open(&self, shapes: usize) {
        self.open.set(i64::try_from(shapes).unwrap_or(i64::MAX));
    }
}

impl PoolMetrics {
    pub fn checked_out(&self, after: Duration, granted: bool) {
        match granted {
            true => self.checkout.observe(after.as_secs_f64()),
            false => self.failed.inc(),
        }
    }

    /// A connection comes back that was lent for so long.
    pub fn lent(&self, time: Duration) {
        self.busy.inc_by(time.as_secs_f64());
    }

    pub fn connected(&self, connected: bool) {
        match connected {
            true => self.connects.inc(),
            false => self.connects_failed.inc(),
        }
    }

    /// Reasons are few and fixed.
    pub fn closed(&self, reason: &'static str) {
        self.closed.with_label_values(&[reason]).inc();
    }
}

impl HotRowMetrics {
    /// Somebody begins to wait, and ends with [`HotRowMetrics::waited`].
    pub fn waits(&self) {
        self.waits.inc();
        self.waiting.inc();
    }

    pub fn waited(&self, time: Duration) {
        self.waiting.dec();
        self.wait.observe(time.as_secs_f64());
    }

    /// Reasons are few and fixed.
    pub fn refused(&self, reason: &'static str) {
        self.refused.with_label_values(&[self.database.as_str(), reason]).inc();
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl DatabaseMetrics {
    /// Counts a statement that is sent to a server.
    pub fn statement(&self, shard: ShardId, access: Access) {
        let column = match access {
            Access::Read => 0,
            Access::Lock => 1,
            Access::Write => 2,
        };
        let row = self.statements.get(usize::from(shard.0));
        if let Some(counter) = row.and_then(|columns| columns.get(column)) {
            counter.inc();
        }
    }

    /// Counts what a session has counted.
    pub fn add(&self, tally: Tally) {
        let counted = [
            (&self.own_statements, tally.own_statements),
            (&self.server_transactions, tally.server_transactions),
            (&self.parses, tally.parses),
            (&self.binds, tally.binds),
            (&self.plan_hits, tally.plan_hits),
            (&self.plan_misses, tally.plan_misses),
            (&self.bytes_received, tally.bytes_received),
            (&self.bytes_sent, tally.bytes_sent),
        ];
        for (counter, count) in counted {
            if count > 0 {
                counter.inc_by(count);
            }
        }
    }

    /// Counts a statement that is prepared on a server.
    pub fn prepared(&self) {
        self.prepares.inc();
    }

    /// Counts a transaction block.
    pub fn ended(&self, committed: bool) {
        match committed {
            true => self.commits.inc(),
            false => self.rollbacks.inc(),
        }
    }

    /// Counts a transaction that wrote on several shards, and the time that its COMMIT took.
    pub fn ended_over_shards(&self, outcome: &str, took: Duration) {
        self.commits_over_shards.with_label_values(&[&self.database, outcome]).inc();
        self.commit_seconds.observe(took.as_secs_f64());
    }

    /// Counts a query over several shards that weir has merged.
    pub fn merged(&self) {
        self.merges.inc();
    }

    /// Counts a write to rows of several shards.
    pub fn scattered(&self) {
        self.writes.inc();
    }

    /// Counts a write to a reference table.
    pub fn copied(&self) {
        self.copies.inc();
    }

    /// Counts rows of such answers.
    pub fn merged_rows(&self, rows: u64) {
        self.merged_rows.inc_by(rows);
    }

    /// Counts a query that the gather database has finished, and what was brought there for it.
    pub fn gathered(&self, rows: u64, bytes: u64, took: Duration) {
        self.gathers.inc();
        self.gathered_rows.inc_by(rows);
        self.gathered_bytes.inc_by(bytes);
        self.gather_seconds.observe(took.as_secs_f64());
    }

    /// Counts one that would have brought too much.
    pub fn gather_limited(&self) {
        self.gather_limited.inc();
    }

    /// Counts a read for which several shards' snapshots were taken together.
    pub fn snapshot(&self, took: Duration) {
        self.snapshots.observe(took.as_secs_f64());
    }

    /// Counts that one has waited long enough, and lets writers go first.
    pub fn snapshot_retried(&self) {
        self.snapshot_retries.inc();
    }

    /// Counts a refusal. Reasons are few and fixed: never a part of the statement.
    pub fn refused(&self, reason: &'static str) {
        self.refused.with_label_values(&[self.database.as_str(), reason]).inc();
    }
}

/// How each kind of metric comes into being.
trait Declare: Sized {
    fn declare(name: &str, help: &str, labels: &[&str]) -> Self;
}

/// Names and labels are literals above; a test declares them all.
const VALID: &str = "metric names and labels are valid";

/// From a tenth of a millisecond, which is no wait, to the time-outs' order.
const WAIT_BUCKETS_S: &[f64] = &[
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0, 30.0,
];

impl Declare for IntGauge {
    fn declare(name: &str, help: &str, _: &[&str]) -> Self {
        Self::new(name, help).expect(VALID)
    }
}

impl Declare for IntCounter {
    fn declare(name: &str, help: &str, _: &[&str]) -> Self {
        Self::new(name, help).expect(VALID)
    }
}

impl Declare for IntGaugeVec {
    fn declare(name: &str, help: &str, labels: &[&str]) -> Self {
        Self::new(Opts::new(name, help), labels).expect(VALID)
    }
}

impl Declare for GaugeVec {
    fn declare(name: &str, help: &str, labels: &[&str]) -> Self {
        Self::new(Opts::new(name, help), labels).expect(VALID)
    }
}

impl Declare for IntCounterVec {
    fn declare(name: &str, help: &str, labels: &[&str]) -> Self {
        Self::new(Opts::new(name, help), labels).expect(VALID)
    }
}

impl Declare for Histogram {
    fn declare(name: &str, help: &str, _: &[&str]) -> Self {
        let options = HistogramOpts::new(name, help).buckets(WAIT_BUCKETS_S.to_vec());
        Self::with_opts(options).expect(VALID)
    }
}

impl Declare for HistogramVec {
    fn declare(name: &str, help: &str, labels: &[&str]) -> Self {
        let options = HistogramOpts::new(name, help).buckets(WAIT_BUCKETS_S.to_vec());
        Self::new(options, labels).expect(VALID)
    }
}

impl Declare for CounterVec {
    fn declare(name: &str, help: &str, labels: &[&str]) -> Self {
        Self::new(Opts::new(name, help), labels).expect(VALID)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_has_every_metric_and_no_other() {
        let page = include_str!("../../docs/metrics.md");
        let row = |(name, labels, help): &(&str, &[&str], &str)| {
            let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
            format!("| `{name}` | {} | {help} |", labels.join(", "))
        };
        let mut declared: Vec<String> = Metrics::ALL.iter().map(row).collect();
        let documented = page.lines().filter(|line| line.starts_with("| `weir_"));
        let mut documented: Vec<String> = documented.map(str::to_owned).collect();
        declared.sort();
        documented.sort();
        assert_eq!(documented, declared);
    }

    #[test]
    fn a_statement_is_counted_where_it_ran() {
        let metrics = Metrics::new();
        let shop = metrics.database("shop", &["s0", "s1"]);
        shop.statement(ShardId(1), Access::Write);
        shop.ended(false);
        shop.refused("several shards");
        let text = metrics.text();
        for line in [
            r#"weir_statements_total{access="write",database="shop",shard="s1"} 1"#,
            r#"weir_transactions_total{database="shop",outcome="rolled back"} 1"#,
            r#"weir_refused_total{database="shop",reason="several shards"} 1"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn a_shard_that_the_rules_do_not_have_is_not_counted_and_does_no_harm() {
        let metrics = Metrics::new();
        let shop = metrics.database("shop", &["s0"]);
        shop.statement(ShardId(9), Access::Read);
        assert!(!metrics.text().contains(" 1\n"));
    }

    #[test]
    fn two_weirs_in_one_process_count_apart() {
        let (one, other) = (Metrics::new(), Metrics::new());
        one.clients.inc();
        assert_eq!((one.clients.get(), other.clients.get()), (1, 0));
    }
}
