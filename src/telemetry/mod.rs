//! Every metric, logging, tracing. Home of prometheus.
//!
//! - `metrics`: one struct, one line for each metric; docs/metrics.md is its twin
//! - `statements`: what is counted of each statement, and PgBouncer's statistics
//! - `logging`: log lines to standard error
//! - `panics`: the work for one client ends, and nothing else
//!
//! Invariant: no other module spells a metric's name.
pub mod logging;
pub mod metrics;
pub mod panics;
pub mod statements;

pub use metrics::Metrics;
