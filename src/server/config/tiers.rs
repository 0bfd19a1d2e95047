//! `[pool]` and `[tier.NAME]`: connections to servers, in classes that do not take them from each other.
//!
//! `[pool]` is the tier `interactive` and what every other tier has unless its own table says otherwise.
//! [`Config::tier`] is the one place that resolves what user, database, tier and pool say.
use super::Config;
use super::units::{duration, duration_or_off, some_duration};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{collections::BTreeMap, time::Duration};

/// What `[pool]` describes.
pub const INTERACTIVE: &str = "interactive";
/// Reports and whatever concerns several shards.
pub const BATCH: &str = "batch";
/// Each tier has connections of its own on every server, so there are few.
pub const MAX_TIERS: usize = 16;

/// Connections to servers.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pool {
    pub mode: PoolMode,
    /// Connections to each server for each database, user and tier.
    pub size: usize,
    /// So many of them are kept open and unused.
    pub min_idle: usize,
    /// So many more while statements have waited for `reserve_after`.
    pub reserve: usize,
    #[serde(deserialize_with = "duration")]
    pub reserve_after: Duration,
    /// Statements that may wait for a connection; the next one is refused at once.
    pub queue: usize,
}

/// When a client gives its server connection back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PoolMode {
    #[default]
    Transaction,
    /// Plain pooling only: when the client leaves.
    Session,
    /// After each statement; transaction blocks are refused.
    Statement,
}

/// What one `[tier.NAME]` says; `None`: as `[pool]`, `[timeouts]` and `[breaker.statement]` say.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct TierSettings {
    pub size: Option<usize>,
    pub min_idle: Option<usize>,
    pub reserve: Option<usize>,
    #[serde(deserialize_with = "some_duration")]
    pub reserve_after: Option<Duration>,
    pub queue: Option<usize>,
    #[serde(deserialize_with = "some_duration")]
    pub checkout: Option<Duration>,
    pub statement: Option<Limit>,
    pub idle_in_transaction: Option<Limit>,
    pub total: Option<Limit>,
    pub server_idle: Option<Limit>,
    pub server_lifetime: Option<Limit>,
    pub slow_statement: Option<Limit>,
}

/// A duration, or `"off"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    Off,
    After(Duration),
}

/// Everything that holds for the statements of one tier, resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tier {
    pub name: String,
    pub size: usize,
    /// At most `size`.
    pub min_idle: usize,
    /// Beyond `size`.
    pub reserve: usize,
    pub reserve_after: Duration,
    pub queue: usize,
    pub checkout: Duration,
    pub statement: Option<Duration>,
    pub idle_in_transaction: Option<Duration>,
    pub total: Option<Duration>,
    pub server_idle: Option<Duration>,
    pub server_lifetime: Option<Duration>,
    /// From when on a call counts as slow for the statement's breaker.
    pub slow_statement: Option<Duration>,
}

impl Config {
    /// The tiers' names in the order of their ids: `interactive`, `batch`, then the others by name.
    pub fn tiers(&self) -> Vec<String> {
        let first = [INTERACTIVE, BATCH].map(str::to_owned);
        let others = self.tiers.keys().filter(|name| !first.contains(name)).cloned();
        first.iter().cloned().chain(others).collect()
    }

    /// What holds for this user's statements of that tier in this database. A size that the user or the
    /// database sets is that of the tier `interactive`.
    pub fn tier(&self, database: &str, user: &str, tier: &str) -> Tier {
        let silent = TierSettings::default();
        let own = self.tiers.get(tier).unwrap_or(&silent);
        let (pool, timeouts) = (&self.pool, &self.timeouts);
        let (of_user, of_database) = (self.user(user), self.database(database));
        let personal = |own: Option<usize>| own.filter(|_| tier == INTERACTIVE);
        let size = personal(self.own_size(database, user)).or(own.size).unwrap_or(pool.size);
        let or = |own: Option<Limit>, otherwise: Option<Duration>| match own {
            None => otherwise,
            Some(Limit::Off) => None,
            Some(Limit::After(duration)) => Some(duration),
        };
        Tier {
            name: tier.to_owned(),
            size,
            // What is inherited was written for another size.
            min_idle: personal(of_database.and_then(|own| own.min_idle))
                .or(own.min_idle)
                .unwrap_or(pool.min_idle)
                .min(size),
            reserve: personal(of_user.and_then(|user| user.reserve))
                .or(personal(of_database.and_then(|own| own.reserve)))
                .or(own.reserve)
                .unwrap_or(pool.reserve.min(size)),
            reserve_after: own.reserve_after.unwrap_or(pool.reserve_after),
            queue: own.queue.unwrap_or(pool.queue),
            checkout: own.checkout.unwrap_or(timeouts.checkout),
            statement: or(own.statement, timeouts.statement),
            idle_in_transaction: or(own.idle_in_transaction, timeouts.idle_in_transaction),
            total: or(own.total, timeouts.total),
            server_idle: or(own.server_idle, timeouts.server_idle),
            server_lifetime: or(
                of_database.and_then(|own| own.server_lifetime).or(own.server_lifetime),
                timeouts.server_lifetime,
            ),
            slow_statement: or(own.slow_statement, self.breaker.statement.slow),
        }
    }

    /// The tier that weir.toml gives to a user's statements in a database; `None`: the plan decides.
    pub fn own_tier(&self, database: &str, user: &str) -> Option<&str> {
        let (user, database) = (self.user(user), self.database(database));
        let of_user = user.and_then(|user| user.tier.as_deref());
        of_user.or_else(|| database.and_then(|database| database.tier.as_deref()))
    }

    fn own_size(&self, database: &str, user: &str) -> Option<usize> {
        let (user, database) = (self.user(user), self.database(database));
        user.and_then(|user| user.pool_size)
            .or_else(|| database.and_then(|database| database.pool_size))
    }
}

impl Default for Pool {
    fn default() -> Self {
        Self {
            mode: PoolMode::Transaction,
            size: 20,
            min_idle: 0,
            reserve: 0,
            reserve_after: Duration::from_secs(5),
            // What 20 connections get done in `timeouts.checkout` at 150 ms each.
            queue: 2_000,
        }
    }
}

impl TierSettings {
    /// What `[tier.batch]` says where the file is silent. Reports are slow by nature.
    pub fn batch() -> Self {
        Self { size: Some(5), slow_statement: Some(Limit::Off), ..Self::default() }
    }
}

/// The tiers that are there without being written down.
pub fn built_in() -> BTreeMap<String, TierSettings> {
    BTreeMap::from([(BATCH.to_owned(), TierSettings::batch())])
}

/// `[tier.batch]` is there always, and keeps what the file does not change.
pub fn tiers<'de, D: Deserializer<'de>>(
    input: D,
) -> Result<BTreeMap<String, TierSettings>, D::Error> {
    let mut tiers = BTreeMap::<String, TierSettings>::deserialize(input)?;
    let given = TierSettings::batch();
    let batch = tiers.entry(BATCH.to_owned()).or_default();
    batch.size = batch.size.or(given.size);
    batch.slow_statement = batch.slow_statement.or(given.slow_statement);
    Ok(tiers)
}

impl Serialize for Limit {
    fn serialize<S: Serializer>(&self, output: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Off => output.serialize_str("off"),
            Self::After(limit) => limit.serialize(output),
        }
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        duration_or_off(input).map(|limit| limit.map_or(Self::Off, Self::After))
    }
}
