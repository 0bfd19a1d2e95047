//! What is counted of each statement: the four golden signals by shard, tier, role and strategy, and
//! PgBouncer's statistics.
//!
//! A label is looked up when its first statement ends, and its histogram kept: a worker's later ones
//! cost an index and the histogram's additions. Labels are names from weir's own files, never a
//! client's.
use super::metrics::Metrics;
use crate::error::SqlState;
use crate::ids::{ShardId, TierId};
use prometheus::core::Collector;
use prometheus::proto::{MetricFamily, MetricType};
use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// In the place of a shard's name: several of them, and weir itself.
pub const SEVERAL: &str = "several";
pub const WEIR: &str = "weir";

/// How a statement was answered, as the metric says it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Strategy {
    /// By one shard.
    Single,
    /// weir has united the answers of several shards.
    Merge,
    /// The gather database has finished it.
    Gather,
    /// A write to rows of several shards.
    Write,
    /// A write to all copies of a reference table.
    Copies,
    /// COPY, wherever it goes: it takes as long as its client.
    Copy,
    /// A schema statement.
    Schema,
}

impl Strategy {
    pub const ALL: [Self; 7] = [
        Self::Single,
        Self::Merge,
        Self::Gather,
        Self::Write,
        Self::Copies,
        Self::Copy,
        Self::Schema,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::Merge => "merge",
            Self::Gather => "gather",
            Self::Write => "write",
            Self::Copies => "copies",
            Self::Copy => "copy",
            Self::Schema => "schema",
        }
    }
}

/// As what the server was chosen that answered. Of several: a replica, if one was.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Role {
    Primary,
    Replica,
}

impl Role {
    pub fn name(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Replica => "replica",
        }
    }
}

/// What a statement is counted as.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Labels {
    /// `None`: several.
    pub shard: Option<ShardId>,
    pub tier: TierId,
    pub role: Role,
    pub strategy: Strategy,
}

/// One worker's handles on the metrics of one database's statements.
#[derive(Debug)]
pub struct StatementMetrics {
    database: String,
    tiers: Arc<[String]>,
    seconds: HistogramVec,
    errors: IntCounterVec,
    slow: IntCounter,
    /// By [`StatementMetrics::place`]; as many as are used.
    handles: RefCell<Vec<Option<Histogram>>>,
}

impl StatementMetrics {
    /// `tiers`: their names, in the order of their ids.
    pub fn new(metrics: &Metrics, database: &str, tiers: Arc<[String]>) -> Self {
        Self {
            database: database.to_owned(),
            tiers,
            seconds: metrics.statement_seconds.clone(),
            errors: metrics.statement_errors.clone(),
            slow: metrics.slow_statements.with_label_values(&[database]),
            handles: RefCell::default(),
        }
    }

    /// A statement has ended. `shard_name` is asked for the first of its kind.
    pub fn ended<'n>(
        &self,
        labels: Labels,
        took: Duration,
        shard_name: impl FnOnce(ShardId) -> &'n str,
    ) {
        let place = self.place(labels);
        let mut handles = self.handles.borrow_mut();
        if let Some(Some(handle)) = handles.get(place) {
            return handle.observe(took.as_secs_f64());
        }
        let handle = self.look_up(labels, labels.shard.map_or(SEVERAL, shard_name));
        handle.observe(took.as_secs_f64());
        if handles.len() <= place {
            handles.resize(place + 1, None);
        }
        if let Some(kept) = handles.get_mut(place) {
            *kept = Some(handle);
        }
    }

    /// A statement has failed; `shard`: by whose error.
    pub fn failed(&self, shard: &str, code: SqlState) {
        self.errors.with_label_values(&[self.database.as_str(), shard, class(code)]).inc();
    }

    /// One has taken long.
    pub fn slow(&self) {
        self.slow.inc();
    }

    /// The name of a tier.
    pub fn tier(&self, tier: TierId) -> &str {
        self.tiers.get(usize::from(tier.0)).map_or("?", String::as_str)
    }

    /// The shards have other names, or another order, from now on.
    pub fn forget(&self) {
        self.handles.borrow_mut().clear();
    }

    fn place(&self, labels: Labels) -> usize {
        let shard = labels.shard.map_or(0, |shard| usize::from(shard.0) + 1);
        let tier = usize::from(labels.tier.0).min(self.tiers.len());
        let tiers = self.tiers.len() + 1;
        let role = labels.role as usize;
        ((shard * tiers + tier) * 2 + role) * Strategy::ALL.len() + labels.strategy as usize
    }

    fn look_up(&self, labels: Labels, shard: &str) -> Histogram {
        let tier = self.tier(labels.tier);
        let (role, strategy) = (labels.role.name(), labels.strategy.name());
        self.seconds.with_label_values(&[self.database.as_str(), shard, tier, role, strategy])
    }
}

/// A SQLSTATE's class. Code on servers may raise any: those that PostgreSQL does not have are `other`.
pub fn class(code: SqlState) -> &'static str {
    /// PostgreSQL manual, appendix A.
    const CLASSES: [&str; 43] = [
        "00", "01", "02", "03", "08", "09", "0A", "0B", "0F", "0L", "0P", "0Z", "20", "21", "22",
        "23", "24", "25", "26", "27", "28", "2B", "2D", "2F", "34", "38", "39", "3B", "3D", "3F",
        "40", "42", "44", "53", "54", "55", "57", "58", "72", "F0", "HV", "P0", "XX",
    ];
    let [first, second, ..] = code.0;
    let known = CLASSES.iter().find(|class| class.as_bytes() == [first, second]);
    known.copied().unwrap_or("other")
}

/// What PgBouncer's SHOW STATS tells of a database; times in microseconds.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Stats {
    pub server_assignment_count: u64,
    /// Transactions, and statements outside of them, that servers have run.
    pub xact_count: u64,
    /// Statements of clients, with those that weir has acted on itself.
    pub query_count: u64,
    /// Bytes from clients.
    pub received: u64,
    /// Bytes to clients.
    pub sent: u64,
    /// That server connections were lent to clients.
    pub xact_time: u64,
    /// That statements took, from their being taken to their last answer.
    pub query_time: u64,
    /// That they waited for a server connection.
    pub wait_time: u64,
    pub client_parse_count: u64,
    pub server_parse_count: u64,
    pub bind_count: u64,
}

impl Metrics {
    /// By database, over all workers, since the start.
    pub fn stats(&self) -> BTreeMap<String, Stats> {
        let mut all = BTreeMap::<String, Stats>::new();
        let mut add = |families: Vec<MetricFamily>, add: fn(&mut Stats, Number)| {
            for (database, number) in families.iter().flat_map(numbers) {
                add(all.entry(database).or_default(), number);
            }
        };
        add(self.checkout.collect(), |stats, number| {
            stats.server_assignment_count += number.count;
            stats.wait_time += number.micros();
        });
        add(self.statement_seconds.collect(), |stats, number| {
            stats.query_count += number.count;
            stats.query_time += number.micros();
        });
        add(self.own_statements.collect(), |stats, number| stats.query_count += number.count);
        add(self.server_transactions.collect(), |stats, number| stats.xact_count += number.count);
        add(self.server_busy.collect(), |stats, number| stats.xact_time += number.micros());
        add(self.bytes_from_clients.collect(), |stats, number| stats.received += number.count);
        add(self.bytes_to_clients.collect(), |stats, number| stats.sent += number.count);
        add(self.parses.collect(), |stats, number| stats.client_parse_count += number.count);
        add(self.prepares.collect(), |stats, number| stats.server_parse_count += number.count);
        add(self.binds.collect(), |stats, number| stats.bind_count += number.count);
        all
    }
}

/// A counter's value, or a histogram's count and sum.
#[derive(Clone, Copy)]
struct Number {
    count: u64,
    sum: f64,
}

impl Number {
    fn micros(self) -> u64 {
        // Saturates, and is never negative.
        (self.sum * 1e6).round() as u64
    }
}

/// With the database that each is about.
fn numbers(family: &MetricFamily) -> impl Iterator<Item = (String, Number)> + '_ {
    family.get_metric().iter().filter_map(|metric| {
        let mut labels = metric.get_label().iter();
        let database = labels.find(|label| label.name() == "database")?.value().to_owned();
        let (histogram, counter) = (metric.get_histogram(), metric.get_counter().get_value());
        let number = match family.get_field_type() == MetricType::HISTOGRAM {
            true => Number { count: histogram.get_sample_count(), sum: histogram.get_sample_sum() },
            false => Number { count: counter as u64, sum: counter },
        };
        Some((database, number))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(shard: u16, tier: u8) -> Labels {
        let (shard, tier) = (Some(ShardId(shard)), TierId(tier));
        Labels { shard, tier, role: Role::Primary, strategy: Strategy::Single }
    }

    fn shop(metrics: &Metrics) -> StatementMetrics {
        let tiers = ["interactive", "batch"].map(String::from);
        StatementMetrics::new(metrics, "shop", tiers.into())
    }

    #[test]
    fn a_statement_is_counted_where_and_how_it_was_answered() {
        let metrics = Metrics::new();
        let shop = shop(&metrics);
        let name = |shard: ShardId| if shard.0 == 0 { "s0" } else { "s1" };
        shop.ended(one(1, 0), Duration::from_micros(300), name);
        shop.ended(one(1, 0), Duration::from_millis(2), |_| panic!("its handle is kept"));
        let merged =
            Labels { shard: None, role: Role::Replica, strategy: Strategy::Merge, ..one(0, 1) };
        shop.ended(merged, Duration::from_secs(3), name);
        let text = metrics.text();
        for line in [
            r#"weir_statement_seconds_bucket{database="shop",role="primary",shard="s1",strategy="single",tier="interactive",le="0.0005"} 1"#,
            r#"weir_statement_seconds_count{database="shop",role="primary",shard="s1",strategy="single",tier="interactive"} 2"#,
            r#"weir_statement_seconds_count{database="shop",role="replica",shard="several",strategy="merge",tier="batch"} 1"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("s0"), "what has run nothing has no series");
    }

    #[test]
    fn every_kind_of_statement_has_a_place_of_its_own() {
        let shop = shop(&Metrics::new());
        let mut places = std::collections::HashSet::new();
        for shard in [None, Some(ShardId(0)), Some(ShardId(1))] {
            for tier in [TierId(0), TierId(1), TierId(2)] {
                for role in [Role::Primary, Role::Replica] {
                    for strategy in Strategy::ALL {
                        let labels = Labels { shard, tier, role, strategy };
                        assert!(places.insert(shop.place(labels)), "{labels:?}");
                    }
                }
            }
        }
        // One that no tier has is counted, and costs no more than one place.
        assert_eq!(shop.place(one(0, 9)), shop.place(one(0, 2)));
    }

    #[test]
    fn the_class_of_an_error_that_postgres_does_not_have_is_other() {
        assert_eq!(class(SqlState(*b"23505")), "23");
        assert_eq!(class(SqlState(*b"ZZ123")), "other");
        assert_eq!(class(SqlState([0xFF; 5])), "other");
    }

    #[test]
    fn statistics_are_added_up_by_database() {
        let metrics = Metrics::new();
        let shop = shop(&metrics);
        shop.ended(one(0, 0), Duration::from_micros(1500), |_| "s0");
        shop.ended(one(1, 1), Duration::from_micros(500), |_| "s1");
        metrics.own_statements.with_label_values(&["shop"]).inc_by(3);
        metrics.bytes_to_clients.with_label_values(&["other"]).inc_by(99);
        let stats = metrics.stats();
        let expected = Stats { query_count: 5, query_time: 2000, ..Stats::default() };
        assert_eq!(stats.get("shop"), Some(&expected));
        assert_eq!(stats.get("other").map(|stats| stats.sent), Some(99));
    }
}
