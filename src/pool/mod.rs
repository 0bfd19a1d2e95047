//! Which connection: leases over bb8 pools, one fair gate per shard. Home of bb8.
//!
//! - `config`: sizes and time limits, each with its default
//! - `cluster`: the pools of all shards, by shard, database and user
//! - `shard_pool`: one of them: gate, bb8 pool, lease
//! - `breaker`: when a server is not even asked
//! - `shapes`: the breaker of statements
//! - `hot_rows`: lines for rows that many clients lock at once
//! - `dialer`: how bb8 makes a connection and knows that one is broken
//! - `failures`: a failed connect reaches the lease that waits for it, at once
//!
//! Invariants: leases are granted in the order they were asked for; a dead connection is never handed
//! out; only a connection that is `Clean` goes back. The pool never looks at SQL. Each worker has a
//! `Cluster` of its own, used from its thread only; what the workers share is the [`Budget`].
pub mod breaker;
pub mod shapes;
mod config;
mod dialer;
mod failures;
pub mod hot_rows;
mod shard_pool;
mod cluster;

pub use breaker::{Breaker, BreakerConfig};
pub use cluster::{Budget, Cluster, Shard};
pub use config::PoolConfig;
pub use dialer::{Hook, OnConnect};
pub use hot_rows::{HotRows, Ticket};
pub use shard_pool::{Lease, PoolStats, ShardPool};
