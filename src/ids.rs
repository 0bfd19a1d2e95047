//! Names for numbers: no bare integer crosses a module's boundary.
use std::fmt;
use std::sync::Arc;

/// Where a bucket lives: the position of a `[[shard]]` in the rules file, from 0.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ShardId(pub u16);

/// One of a shard's servers: the position in the rules file, `primary` first, then `replicas`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ServerId {
    pub shard: ShardId,
    pub number: u8,
}

/// A kind of work that has connections of its own: the position in the configuration's tiers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct TierId(pub u8);

impl TierId {
    /// Statements of one shard, unless said otherwise.
    pub const INTERACTIVE: Self = Self(0);
    /// Reports, and statements of several shards, unless said otherwise.
    pub const BATCH: Self = Self(1);
}

/// Where a key falls. A bucket lives on exactly one shard, and only the bucket map says which.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct BucketId(pub u32);

/// The position of a `[[distribution]]` in the rules file, from 0.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct DistributionId(pub u16);

/// Counts the rules put in force by this process; part of every plan's cache key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct RulesVersion(pub u64);

/// A PostgreSQL type's object id, as one server numbers it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct Oid(pub u32);

/// A row that many clients want to lock at once, in words: `stock: product_id = 7`. The same row has
/// the same words.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct HotKey(Arc<str>);

impl HotKey {
    pub fn new(words: &str) -> Self {
        Self(words.into())
    }
}

impl fmt::Display for HotKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for BucketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
