//! weir, a sharding proxy for PostgreSQL.
//!
//! The list below is reading order, diagram and law at once: a module may import only from
//! modules listed above it (`tidy.rs` checks it). docs/architecture.md walks one query through it.

// Words that everyone uses.
pub mod ids;
pub mod error;
pub mod units;
pub mod telemetry;
// Thinking: values in, values out.
pub mod wire;
pub mod sql;
pub mod sharding;
pub mod rules;
pub mod plan;
pub mod merge;
// Reaching PostgreSQL.
pub mod auth;
pub mod backend;
pub mod pool;
// Doing the work.
pub mod txn;
pub mod exec;
// Serving clients and operators.
pub mod session;
pub mod admin;
pub mod server;
pub mod cli;
#[cfg(test)]
mod tidy;
