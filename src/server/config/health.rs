//! `[probe]`, `[breaker]`, `[replicas]`: when a server is well enough to be given work. `[recovery]`: what
//! was left behind when one was not.
use super::units::{duration, duration_or_off};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How weir looks at each server.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Probe {
    #[serde(deserialize_with = "duration")]
    pub interval: Duration,
    /// The same while a server does not answer, or its shard has no known primary.
    #[serde(deserialize_with = "duration")]
    pub interval_in_doubt: Duration,
    #[serde(deserialize_with = "duration")]
    pub timeout: Duration,
    /// So many in a row without an answer: the server is down.
    pub failures: u32,
    /// An answer that takes longer counts as a failure for the breaker.
    #[serde(deserialize_with = "duration_or_off")]
    pub slow: Option<Duration>,
}

/// When a server that fails is left alone.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Breaker {
    /// In a row.
    pub failures: u32,
    #[serde(deserialize_with = "duration")]
    pub window: Duration,
    /// Of the attempts within `window`; 0 switches it off.
    pub share: f64,
    /// With fewer attempts within `window` there is no share to speak of.
    pub calls: u32,
    /// How long it is left alone before one attempt is let through.
    #[serde(deserialize_with = "duration")]
    pub open: Duration,
    pub statement: StatementBreaker,
}

/// When statements of one shape and tier are refused because they are slow or fail.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct StatementBreaker {
    /// A call that takes longer is slow.
    #[serde(deserialize_with = "duration_or_off")]
    pub slow: Option<Duration>,
    /// So many slow calls in a row open it.
    pub slow_calls: u32,
    /// So large a share of failing calls opens it; 0 switches that off.
    pub share: f64,
    /// With fewer calls there is no share to speak of.
    pub calls: u32,
    #[serde(deserialize_with = "duration")]
    pub open: Duration,
}

/// How transactions over several shards are finished that were left behind.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Recovery {
    /// Between two looks at all shards.
    #[serde(deserialize_with = "duration")]
    pub interval: Duration,
    /// What was prepared less long ago is left alone: its own weir may be at work.
    #[serde(deserialize_with = "duration")]
    pub grace: Duration,
}

impl Default for Recovery {
    fn default() -> Self {
        Self { interval: Duration::from_secs(10), grace: Duration::from_secs(10) }
    }
}

/// When a replica may answer.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Replicas {
    #[serde(deserialize_with = "duration")]
    pub max_lag: Duration,
}

impl Default for Probe {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(2),
            interval_in_doubt: Duration::from_millis(250),
            timeout: Duration::from_secs(1),
            failures: 3,
            slow: None,
        }
    }
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            failures: 3,
            window: Duration::from_secs(10),
            share: 0.5,
            calls: 20,
            open: Duration::from_secs(5),
            statement: StatementBreaker::default(),
        }
    }
}

impl Default for StatementBreaker {
    fn default() -> Self {
        Self {
            slow: Some(Duration::from_millis(800)),
            slow_calls: 3,
            share: 0.5,
            calls: 20,
            open: Duration::from_secs(60),
        }
    }
}

impl Default for Replicas {
    fn default() -> Self {
        Self { max_lag: Duration::from_secs(10) }
    }
}
