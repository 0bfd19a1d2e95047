//! Key → bucket. Functions are pure and never change; which shard a bucket lives on is `rules`' matter.
//!
//! Adding a function is one file and one line in `KINDS`.
use crate::ids::BucketId;

/// A sharding key's value, in the one form in which equal keys are equal.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Key {
    /// smallint, int, bigint
    Int(i64),
    /// text, varchar
    Text(String),
    Uuid([u8; 16]),
    /// days since 2000-01-01, as PostgreSQL stores it
    Date(i32),
    /// microseconds since 2000-01-01 00:00 UTC, as PostgreSQL stores it
    Timestamptz(i64),
}

/// The type of a key column. Comparisons with values of other types happen in `plan`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum KeyType {
    Smallint,
    Int,
    Bigint,
    Text,
    Varchar,
    Uuid,
    Date,
    Timestamptz,
}

/// Why a key has no bucket.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum KeyError {
    /// The function covers no such value: a gap in `range` or `list`.
    NotCovered(Key),
    /// The function cannot take keys of this type.
    WrongType(Key),
}

/// Where a key falls.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Location {
    Bucket(BucketId),
}

/// A pure function from keys to buckets.
pub trait ShardingFunction: Send + Sync + std::fmt::Debug {
    fn locate(&self, key: &Key) -> Result<Location, KeyError>;
}
