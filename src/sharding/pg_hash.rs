//! `pg_hash`: where `PARTITION BY HASH` of PostgreSQL 11 and later puts a row.
//!
//! Bucket `r` of `buckets = m` holds what `FOR VALUES WITH (MODULUS m, REMAINDER r)` would hold, so
//! a partitioned table can be spread over shards partition by partition. (Manual, "CREATE TABLE";
//! src/backend/partitioning/partbounds.c, compute_partition_hash_value.)
use super::modulo::{BUCKETS, buckets, sample_buckets};
use super::{Balance, Key, KeyError, KeyType, Kind, Location, Settings, ShardingFunction, lookup3};
use crate::ids::BucketId;

pub(super) const KIND: Kind = Kind {
    name: "pg_hash",
    about: "PostgreSQL's own hash partitioning: bucket r is MODULUS buckets, REMAINDER r",
    key_types: KeyType::ALL,
    balance: Balance::Function,
    settings: &[BUCKETS],
    build: |settings| Ok(Box::new(PgHash { buckets: buckets(settings)? })),
    sample: |key_type, _| Some(sample_buckets(Settings::new(key_type, 1), 1024)),
};

#[derive(Debug)]
struct PgHash {
    buckets: u32,
}

/// HASH_PARTITION_SEED.
const SEED: u64 = 0x7a5b_2236_7996_dcfd;

impl ShardingFunction for PgHash {
    fn locate(&self, key: &Key) -> Result<Location, KeyError> {
        let hash = combined(extended(key)) % u64::from(self.buckets.max(1));
        Ok(Location::Bucket(BucketId(hash as u32)))
    }

    fn buckets(&self) -> u32 {
        self.buckets
    }

    fn describe(&self) -> String {
        format!("pg_hash buckets={}", self.buckets)
    }
}

/// The type's hash function of 64 bits: hashint8extended, hashtextextended and so on.
fn extended(key: &Key) -> u64 {
    match key {
        Key::Int(value) | Key::Timestamptz(value) => int8(*value),
        Key::Date(days) => lookup3::of_u32(*days as u32, SEED),
        Key::Text(text) => lookup3::of_bytes(text.as_bytes(), SEED),
        Key::Uuid(bytes) => lookup3::of_bytes(bytes, SEED),
    }
}

/// Folds the high half in such a way that a smallint, an int and a bigint of one value agree.
fn int8(value: i64) -> u64 {
    let (low, high) = (value as u32, (value >> 32) as u32);
    lookup3::of_u32(low ^ if value >= 0 { high } else { !high }, SEED)
}

/// hash_combine64 of the row's hash so far, which is 0 for a single key column.
fn combined(hash: u64) -> u64 {
    hash.wrapping_add(0x49a0_f4dd_15e5_a8e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which of 1000 partitions a PostgreSQL 15 server takes for each value: see the file's head.
    #[test]
    fn a_row_lands_where_postgres_puts_it() {
        let function = PgHash { buckets: 1000 };
        let mut checked = 0;
        for line in include_str!("pg_hash_vectors.tsv").lines().filter(|l| !l.starts_with('#')) {
            let (key_type, rest) = line.split_once('\t').unwrap();
            let (value, remainder) = rest.rsplit_once('\t').unwrap();
            let key = Key::from_text(KeyType::from_name(key_type).unwrap(), value).unwrap();
            let expected = Location::Bucket(BucketId(remainder.parse().unwrap()));
            assert_eq!(function.locate(&key), Ok(expected), "{key_type} {value:?}");
            checked += 1;
        }
        assert!(checked > 100, "{checked} vectors");
    }
}
