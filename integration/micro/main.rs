//! What the parts of a statement's way cost, each for itself: time and allocations, without servers.
//!
//! `make micro` runs all of it in a few seconds; `make micro ARGS=plans` what has that in its name. A function
//! that handles many items in a turn says how many a second.
//!
//! - `frames`: messages are cut out of a buffer
//! - `plans`: a text becomes a shape, a plan, a shard
//! - `keys`: a key becomes a bucket
//! - `pool`: a connection is taken and given back
//! - `merging`: sorted rows of several shards become one answer
//! - `copying`: COPY data is dealt out to shards
// The whole program is a measurement: what it cannot go on without ends it.
#![allow(clippy::unwrap_used)]

mod frames;
mod plans;
mod keys;
mod pool;
mod merging;
mod copying;

use divan::AllocProfiler;
use weir::plan::{Catalog, Context, Planned, Planner};
use weir::rules::{self, Rules};

/// Counts what is allocated.
#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

/// The database of rules/shop, over four shards.
struct Shop {
    rules: Rules,
    catalog: Catalog,
}

impl Shop {
    fn new() -> Self {
        let rules = include_str!("../../rules/shop/rules.toml");
        let schema = include_str!("../../rules/shop/schema.sql");
        Self {
            rules: rules::parse(rules, "rules.toml").unwrap(),
            catalog: Catalog::from_ddl(schema).unwrap(),
        }
    }

    fn context(&self) -> Context<'_> {
        Context {
            rules: &self.rules,
            catalog: &self.catalog,
            search_path: "\"$user\", public",
            user: "app",
            standard_conforming_strings: true,
            temporary: &[],
            named_shard: None,
        }
    }

    fn plan(&self, statement: &str) -> Planned {
        Planner::new(1).plan(statement, &self.context()).unwrap()
    }
}
