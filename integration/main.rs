//! The integration tests: one binary. They start their own PostgreSQL servers and remove them.
//!
//! `cluster` starts the servers, `weir` the proxy; everything else is a test module.
// The whole binary is a test: what it cannot go on without ends it.
#![allow(clippy::unwrap_used)]

mod cluster;
mod raw;
mod weir;
mod writes;
mod writes_random;

mod backend;
mod catalog;
mod demo;
mod drivers;
mod hot_rows;
mod ids;
mod next_ids;
mod in_step;
mod isolation;
mod placement;
mod schema;
mod several;
mod snapshot;
mod commit;
mod deadlocks;
mod survey;
mod sighting;
mod pool;
mod serving;
mod packaging;
mod dashboard;
mod values;
mod protocol;
mod oracle;
mod reads;
mod merging;
mod beside;
mod tpch;
mod reports;
mod dumping;
mod memory;
mod copying;
mod faults;
mod gather;
mod explained;
mod load;
mod loading;
