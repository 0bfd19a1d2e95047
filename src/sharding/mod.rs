//! Key → bucket. Functions are pure and never change; which shard a bucket lives on is `rules`' matter.
//!
//! `key` is a sharding key's value and its text, `setting` is what a function reads from the rules
//! file; then one file per function. Adding a function is one file and one line in [`KINDS`]: the
//! rules parser, the reference, the property tests and `weir check --simulate` go by that table.
use crate::ids::BucketId;

mod fnv32;
mod key;
mod list;
mod lookup3;
mod modulo;
mod pg_hash;
#[cfg(test)]
mod properties;
mod range;
mod ring;
mod setting;

pub use setting::{Setting, SettingError, Settings};

/// A sharding key's value, in the one form in which equal keys are equal.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
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

    /// Bucket ids are below this number.
    fn buckets(&self) -> u32;

    /// Everything that decides where a key falls, as one line that never changes for equal
    /// functions: what `weir.placement` fences.
    fn describe(&self) -> String;

    /// On which of `shards` shards a bucket lives where the rules give no map.
    fn usual_shard(&self, bucket: BucketId, shards: u32) -> u32 {
        bucket.0 % shards.max(1)
    }
}

/// One line of the function table.
#[derive(Debug)]
pub struct Kind {
    /// What the rules file calls it.
    pub name: &'static str,
    pub about: &'static str,
    pub key_types: &'static [KeyType],
    pub balance: Balance,
    /// The settings it reads beside the ones every distribution has.
    pub settings: &'static [SettingHelp],
    pub build: fn(&Settings) -> Result<Box<dyn ShardingFunction>, SettingError>,
    /// Settings under which the function covers every key of the type: what property tests and
    /// `weir check --simulate` run with. `None`: the function has none for this type.
    pub sample: fn(KeyType, shards: u32) -> Option<Settings>,
}

/// What decides how evenly keys spread over the shards.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Balance {
    /// The function: `weir check --simulate` measures it.
    Function,
    /// Which values the rules list.
    Rules,
}

/// A function's setting, for the reference and for `unknown key` hints.
#[derive(Debug)]
pub struct SettingHelp {
    pub name: &'static str,
    pub about: &'static str,
}

/// Every sharding function.
pub const KINDS: &[&Kind] =
    &[&modulo::KIND, &fnv32::KIND, &ring::KIND, &pg_hash::KIND, &range::KIND, &list::KIND];

/// The function of that name in the rules file.
pub fn kind(name: &str) -> Option<&'static Kind> {
    KINDS.iter().copied().find(|kind| kind.name == name)
}

impl KeyType {
    pub const ALL: &'static [KeyType] = &[
        KeyType::Smallint,
        KeyType::Int,
        KeyType::Bigint,
        KeyType::Text,
        KeyType::Varchar,
        KeyType::Uuid,
        KeyType::Date,
        KeyType::Timestamptz,
    ];
    const INTEGERS: &'static [KeyType] = &[KeyType::Smallint, KeyType::Int, KeyType::Bigint];
    /// Types whose text form depends on no setting.
    const PLAIN_TEXT: &'static [KeyType] = &[
        KeyType::Smallint,
        KeyType::Int,
        KeyType::Bigint,
        KeyType::Text,
        KeyType::Varchar,
        KeyType::Uuid,
    ];

    /// What the rules file calls it.
    pub fn name(self) -> &'static str {
        match self {
            KeyType::Smallint => "smallint",
            KeyType::Int => "int",
            KeyType::Bigint => "bigint",
            KeyType::Text => "text",
            KeyType::Varchar => "varchar",
            KeyType::Uuid => "uuid",
            KeyType::Date => "date",
            KeyType::Timestamptz => "timestamptz",
        }
    }

    /// What `pg_type.typname` calls it.
    pub fn typname(self) -> &'static str {
        match self {
            KeyType::Smallint => "int2",
            KeyType::Int => "int4",
            KeyType::Bigint => "int8",
            KeyType::Text
            | KeyType::Varchar
            | KeyType::Uuid
            | KeyType::Date
            | KeyType::Timestamptz => self.name(),
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|key_type| key_type.name() == name)
    }
}

impl std::fmt::Display for KeyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            KeyError::NotCovered(key) => write!(f, "no bucket takes the key {key}"),
            KeyError::WrongType(key) => write!(f, "the sharding function cannot take {key}"),
        }
    }
}
