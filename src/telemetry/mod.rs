//! Every metric, logging, tracing. Home of prometheus and of opentelemetry_proto.
//!
//! - `metrics`: one struct, one line for each metric; docs/metrics.md is its twin
//! - `statements`: what is counted of each statement, and PgBouncer's statistics
//! - `logging`: log lines to standard error
//! - `sampler`: so many lines of a kind, and no more
//! - `traces`: what a statement did when, for a collector
//! - `panics`: the work for one client ends, and nothing else
//!
//! Invariant: no other module spells a metric's name.
pub mod logging;
pub mod metrics;
pub mod panics;
pub mod sampler;
pub mod statements;
pub mod traces;
#[cfg(test)]
mod queries;

pub use metrics::Metrics;
