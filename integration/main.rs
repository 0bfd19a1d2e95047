//! The integration tests: one binary. They start their own PostgreSQL servers and remove them.
//!
//! `cluster` starts the servers; everything else is a test module.
// The whole binary is a test: what it cannot go on without ends it.
#![allow(clippy::unwrap_used)]

mod backend;
mod cluster;
mod pool;
