//! TPC-H: eight tables over four shards, 22 queries, PostgreSQL's answers.
//!
//! Orders and their lines live where the order's number says, parts' suppliers where the part's number says, and the
//! rest is on every shard.
//!
//! ```sh
//! WEIR_TPCH_SCALE=0.1 cargo test --test integration tpch -- --nocapture     # prints the table
//! ```
mod data;

pub use data::date;

use crate::beside::{Beside, queries};

/// What runs each time; the environment can say another.
const SCALE: f64 = 0.01;
/// With these rows each of the 22 has something to show, even at the small scale.
const SEED: u64 = 8;
const QUERIES: &str = include_str!("queries.sql");
const RULES: &str = "
[[distribution]]
name = 'by_order'
function = 'fnv32'
key_type = 'bigint'
buckets = 1024
[[distribution]]
name = 'by_part'
function = 'fnv32'
key_type = 'bigint'
buckets = 1024
[[table]]
name = 'orders'
distribution = 'by_order'
key = 'o_orderkey'
[[table]]
name = 'lineitem'
distribution = 'by_order'
key = 'l_orderkey'
[[table]]
name = 'partsupp'
distribution = 'by_part'
key = 'ps_partkey'
";

#[test]
fn the_22_queries_of_tpch_are_answered_as_by_one_postgresql() {
    let scale = std::env::var("WEIR_TPCH_SCALE").map_or(SCALE, |text| text.parse().unwrap());
    let reference = ["region", "nation", "supplier", "part", "customer"]
        .map(|table| format!("[[table]]\nname = '{table}'\nreference = true\n"));
    let rules = format!("{RULES}{}", reference.concat());
    let mut beside = Beside::new(data::SCHEMA, &rules, data::rows(scale, SEED));
    for (name, text) in queries(QUERIES) {
        beside.compare(name, text);
    }
    let empty = beside.empty();
    assert!(empty.is_empty(), "the rows show nothing of {empty:?}");
    println!("TPC-H, scale {scale}");
    beside.finish();
}
