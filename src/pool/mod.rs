//! Which connection: servers that are watched, tiers of connections to them, leases. Home of bb8.
//!
//! - `config`: sizes and time limits, each with its default
//! - `breaker`: when a server is not even asked
//! - `standing`: what probes have seen, and who is the primary
//! - `fleet`: all servers as the process sees them; which of them some work goes to
//! - `probe`: looks at each server
//! - `gate`: who may lease · `quota`: how many connections may be open
//! - `dialer`: how bb8 makes a connection and knows that one is broken
//! - `failures`: a failed connect reaches the lease that waits for it, at once
//! - `server_pool`: one worker's connections of one tier to one server: bb8 pool, lease
//! - `roll`: every open connection, for the console
//! - `cluster`: one worker's pools, by server, database, user and tier
//! - `shapes`: the breaker of statements
//! - `hot_rows`: lines for rows that many clients lock at once
//!
//! Invariants: leases are granted in the order they were asked for; a dead connection is never handed
//! out; only a connection that is `Clean` goes back. The pool never looks at SQL. Each worker has a
//! `Cluster` of its own, used from its thread only; what the workers share is the [`Fleet`] and the
//! [`Budget`].
mod config;
pub mod breaker;
mod standing;
mod fleet;
pub mod probe;
mod gate;
mod quota;
mod roll;
mod dialer;
mod failures;
mod server_pool;
mod cluster;
pub mod shapes;
pub mod hot_rows;

pub use cluster::{Ask, Budget, Cluster, PoolStats};
pub use config::{FleetConfig, PoolConfig, ProbeConfig, TierConfig, UserConfig};
pub use dialer::{Hook, OnConnect};
pub use fleet::{Begins, Crew, Fleet, Place, Role, Server, Shard, Traffic, Wanted, Work};
pub use hot_rows::{HotRows, Ticket};
pub use roll::{Entry, Roll, Whose};
pub use server_pool::{Connections, Lease};
pub use standing::{Drained, Primary, Standing};
