//! `weir check --simulate`: how evenly each sharding function spreads keys, and what a key costs.
use crate::ids::BucketId;
use crate::rules::Rules;
use crate::sharding::{Balance, KINDS, Key, KeyType, Location, ShardingFunction};
use std::fmt::Write;
use std::time::{Duration, Instant};

/// How many keys each shard got, and how long it took to place them.
struct Load {
    keys_per_shard: Vec<u64>,
    took: Duration,
}

/// One line of the table.
struct Line {
    name: String,
    buckets: u32,
    sequential: Load,
    random: Load,
}

/// The table, in Markdown: every function whose load does not depend on listed values, then the
/// file's own distributions.
pub fn table(rules: &Rules, shards: u32, keys: u64) -> String {
    let functions = KINDS.iter().filter(|kind| kind.balance == Balance::Function);
    let mut lines: Vec<Line> = functions
        .filter_map(|kind| {
            let settings = (kind.sample)(KeyType::Bigint, shards)?;
            let function = (kind.build)(&settings).ok()?;
            let usual = |bucket| function.usual_shard(bucket, shards);
            Some(line(function.describe(), function.as_ref(), KeyType::Bigint, keys, shards, usual))
        })
        .collect();
    for distribution in &rules.distributions {
        let function = distribution.function.as_ref();
        let shard = |bucket: BucketId| {
            distribution.map.get(bucket.0 as usize).map_or(0, |shard| u32::from(shard.0))
        };
        let name = format!("your {} ({})", distribution.name, distribution.key_type.name());
        let own = rules.shards.len() as u32;
        lines.push(line(name, function, distribution.key_type, keys, own, shard));
    }
    written(&lines, shards, keys)
}

fn line(
    name: String,
    function: &dyn ShardingFunction,
    key_type: KeyType,
    keys: u64,
    shards: u32,
    shard: impl Fn(BucketId) -> u32,
) -> Line {
    let load = |number: fn(u64) -> u64| {
        // Made beforehand, so that only the function is timed; in pieces, to need little memory.
        let (mut keys_per_shard, mut took) = (vec![0; shards as usize], Duration::ZERO);
        for start in (0..keys).step_by(PIECE as usize) {
            let piece: Vec<Key> =
                (start..keys.min(start + PIECE)).map(|n| key(number(n), key_type)).collect();
            let began = Instant::now();
            for key in &piece {
                let Ok(Location::Bucket(bucket)) = function.locate(key) else { continue };
                if let Some(count) = keys_per_shard.get_mut(shard(bucket) as usize) {
                    *count += 1;
                }
            }
            took += began.elapsed();
        }
        Load { keys_per_shard, took }
    };
    let (sequential, random) = (load(|n| n + 1), load(scattered));
    Line { name, buckets: function.buckets(), sequential, random }
}

const PIECE: u64 = 10_000;

/// The `n`-th number of a fixed sequence without pattern (SplitMix64).
fn scattered(n: u64) -> u64 {
    let mut value = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

fn key(number: u64, key_type: KeyType) -> Key {
    match key_type {
        KeyType::Smallint => Key::Int((number as i16).into()),
        KeyType::Int => Key::Int((number as i32).into()),
        KeyType::Bigint => Key::Int(number as i64),
        KeyType::Text | KeyType::Varchar => Key::Text(format!("A-{number}")),
        KeyType::Uuid => Key::Uuid((u128::from(number) << 64 | u128::from(!number)).to_be_bytes()),
        // Dates and times from the year 2000 to some decades later.
        KeyType::Date => Key::Date((number % 20_000) as i32),
        KeyType::Timestamptz => Key::Timestamptz((number % 1_500_000_000_000_000) as i64),
    }
}

fn written(lines: &[Line], shards: u32, keys: u64) -> String {
    let mut text = format!(
        "{keys} keys on {shards} shards: standard deviation of the shards' loads, and the fullest \
         shard, over the mean.\n\n"
    );
    let head = [
        "function",
        "buckets",
        "keys 1, 2, 3 …",
        "fullest",
        "random keys",
        "fullest",
        "ns per key",
    ];
    let mut rows = vec![head.map(str::to_owned)];
    for line in lines {
        let each = line.random.took.as_nanos() as f64 / keys.max(1) as f64;
        let (sequential, random) = (&line.sequential, &line.random);
        rows.push([
            line.name.clone(),
            line.buckets.to_string(),
            format!("{:.2} %", sequential.deviation()),
            format!("+{:.2} %", sequential.fullest()),
            format!("{:.2} %", random.deviation()),
            format!("+{:.2} %", random.fullest()),
            format!("{each:.0}"),
        ]);
    }
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
    };
    for (index, row) in rows.iter().enumerate() {
        let cells: Vec<String> = (0..)
            .zip(row)
            .map(|(column, cell)| {
                let width = width(column).unwrap_or(0);
                if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
            })
            .collect();
        let mut push = |cells: &[String]| writeln!(text, "| {} |", cells.join(" | ")).is_ok();
        push(&cells);
        if index == 0 {
            let rules: Vec<String> = (0..)
                .zip(&cells)
                .map(|(column, cell)| {
                    let dashes = "-".repeat(cell.chars().count() - usize::from(column > 0));
                    if column == 0 { dashes } else { dashes + ":" }
                })
                .collect();
            push(&rules);
        }
    }
    text
}

impl Load {
    fn mean(&self) -> f64 {
        let all: u64 = self.keys_per_shard.iter().sum();
        all as f64 / self.keys_per_shard.len().max(1) as f64
    }

    /// In percent of the mean.
    fn deviation(&self) -> f64 {
        let squares = self.keys_per_shard.iter().map(|keys| (*keys as f64 - self.mean()).powi(2));
        let variance = squares.sum::<f64>() / self.keys_per_shard.len().max(1) as f64;
        100.0 * variance.sqrt() / self.mean().max(1.0)
    }

    /// What the fullest shard has above the mean, in percent.
    fn fullest(&self) -> f64 {
        let most = self.keys_per_shard.iter().max().copied().unwrap_or(0) as f64;
        100.0 * (most / self.mean().max(1.0) - 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_function_gives_a_shard_much_more_than_its_share() {
        for kind in KINDS.iter().filter(|kind| kind.balance == Balance::Function) {
            let settings = (kind.sample)(KeyType::Bigint, 10).unwrap();
            let function = (kind.build)(&settings).unwrap();
            let usual = |bucket| function.usual_shard(bucket, 10);
            let line = line("".into(), function.as_ref(), KeyType::Bigint, 20_000, 10, usual);
            for load in [line.sequential, line.random] {
                assert_eq!(load.keys_per_shard.iter().sum::<u64>(), 20_000, "{}", kind.name);
                assert!(load.fullest() < 25.0, "{}: +{} %", kind.name, load.fullest());
            }
        }
    }
}
