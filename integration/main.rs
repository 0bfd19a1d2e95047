//! The integration tests: one binary. They start their own PostgreSQL servers and remove them.
//!
//! `cluster` starts the servers; everything else is a test module.
mod cluster;
