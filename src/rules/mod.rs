//! The rules in force: which table lives where, and how a key becomes a shard.
//!
//! `file` says what may be written, `check` turns it into [`Rules`] and reports every [`Problem`] at
//! once, `distribution` and `table` check these two entries, `buckets` maps buckets to shards, `dsn`
//! reads a server's address, `gather` checks the gather database's entry, `sequences` keeps generated ids apart, `placement` is what the shards remember of all this, `difference` says what a change of rules changes, `survey` compares the shards' tables, `rows` finds the
//! shard of a row that is loaded, `live` hands out the snapshot in force.
//!
//! Invariant: whoever holds [`Rules`] needs no check: ids are in range, keys fit their functions,
//! every bucket has a shard.
use crate::error::{Error, SqlState};
use crate::ids::{BucketId, DistributionId, RulesVersion, ShardId};
use crate::sharding::{Key, KeyError, KeyType, Location, ShardingFunction};
use std::sync::Arc;

pub mod buckets;
mod check;
pub mod difference;
mod distribution;
pub mod dsn;
mod file;
mod gather;
mod live;
pub mod placement;
mod problem;
pub mod rows;
pub mod sequences;
pub mod survey;
mod table;
#[cfg(test)]
mod tests;

pub use check::MOST_SHARD_NAME_BYTES;
pub use gather::Gather;
pub use live::{LiveRules, Superseded};
pub use problem::{Problem, Problems};

/// Reads and checks a rules file's text; `file_name` is only for the messages.
pub fn parse(text: &str, file_name: &str) -> Result<Rules, Problems> {
    let file = file_name.to_owned();
    match check::check(file::read(text)) {
        Ok(rules) => Ok(Rules { file, ..rules }),
        Err(list) => Err(Problems { file, list }),
    }
}

/// One logical database's rules, checked. Read-only; a reload makes another.
#[derive(Debug)]
pub struct Rules {
    pub version: RulesVersion,
    /// The name clients connect to; `*` stands for any (plain pooling only).
    pub database: String,
    pub shards: Vec<Shard>,
    /// Where catalogs, sequences, advisory locks and whatever names no sharded table run.
    pub home: ShardId,
    pub unlisted: Unlisted,
    pub pool_mode: PoolMode,
    pub reads: Reads,
    pub consistency: Consistency,
    pub commit: Commit,
    /// The empty database in which PostgreSQL finishes statements over several shards.
    pub gather: Option<Gather>,
    /// Generated ids of sharded tables: that many shards can have values of their own.
    pub stride: u16,
    pub distributions: Vec<Distribution>,
    pub tables: Vec<Table>,
    pub functions: Vec<Function>,
    /// What the messages call the file.
    pub file: String,
    in_use: live::InUse,
}

#[derive(Debug, Clone)]
pub struct Shard {
    pub name: String,
    /// libpq keyword/value text, e.g. `host=127.0.0.1 port=5441 dbname=shop`.
    pub primary: String,
    pub replicas: Vec<String>,
    /// Of its entry in the file, as in those below.
    pub line: usize,
}

/// What happens to tables that no rule names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unlisted {
    Refuse,
    Shard(ShardId),
}

/// How long a client of a plain database keeps its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolMode {
    Transaction,
    Session,
}

/// Where statements go that only read, unless their session or they themselves say otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reads {
    Primary,
    Replica,
}

/// What a read over several shards sees, unless its session says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consistency {
    /// Each shard is seen as it is when it is asked.
    Shard,
    /// All shards are seen as they are at one moment.
    Snapshot,
}

/// How a transaction commits that has written on several shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Commit {
    /// Everywhere or nowhere.
    TwoPhase,
    /// On one shard after another: if one is lost meanwhile, only some have it.
    InTurn,
}

/// How keys become buckets, and where buckets live. Tables that share one are co-located.
#[derive(Debug)]
pub struct Distribution {
    pub name: String,
    pub key_type: KeyType,
    pub function: Box<dyn ShardingFunction>,
    /// Position: bucket. Value: the shard it lives on.
    pub map: Vec<ShardId>,
    pub line: usize,
}

#[derive(Debug, Clone)]
pub struct Table {
    /// `None`: found by search_path.
    pub schema: Option<String>,
    /// As the catalog has it: case counts, no quotes.
    pub name: String,
    pub placement: Placement,
    /// Columns that together say which row many clients lock at once; none: no such rows.
    pub hot_key: Vec<String>,
    pub line: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placement {
    Sharded {
        key: String,
        distribution: DistributionId,
        fallback: Option<Fallback>,
    },
    /// Whole on every shard.
    Reference,
    /// Whole on one shard.
    Single(ShardId),
}

/// Where rows live whose key is NULL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fallback {
    pub key: String,
    pub distribution: DistributionId,
}

/// A user-defined function and the listed tables it reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    pub schema: Option<String>,
    pub name: String,
    /// Positions in [`Rules::tables`].
    pub tables: Vec<usize>,
}

impl Reads {
    pub const NAMES: [&str; 2] = ["primary", "replica"];

    /// As it is written; `place`: where.
    pub fn named(name: &str, place: &str) -> Result<Self, Error> {
        match name {
            "primary" => Ok(Reads::Primary),
            "replica" => Ok(Reads::Replica),
            _ => Err(invalid(name, place, &Self::NAMES)),
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Reads::Primary => "primary",
            Reads::Replica => "replica",
        }
    }
}

impl Consistency {
    pub const NAMES: [&str; 2] = ["shard", "snapshot"];

    /// As it is written; `place`: where.
    pub fn named(name: &str, place: &str) -> Result<Self, Error> {
        match name {
            "shard" => Ok(Consistency::Shard),
            "snapshot" => Ok(Consistency::Snapshot),
            _ => Err(invalid(name, place, &Self::NAMES)),
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Consistency::Shard => "shard",
            Consistency::Snapshot => "snapshot",
        }
    }
}

impl Commit {
    pub const NAMES: [&str; 2] = ["two_phase", "in_turn"];

    /// As it is written; `place`: where.
    pub fn named(name: &str, place: &str) -> Result<Self, Error> {
        match name {
            "two_phase" => Ok(Commit::TwoPhase),
            "in_turn" => Ok(Commit::InTurn),
            _ => Err(invalid(name, place, &Self::NAMES)),
        }
    }
}

fn invalid(name: &str, place: &str, names: &[&str]) -> Error {
    let message = format!("invalid value for {place}: \"{name}\"");
    Error::client(SqlState::INVALID_PARAMETER_VALUE, message)
        .hint(format!("available values: {}", names.join(", ")))
}

impl Rules {
    /// The distribution of that id; ids come from these rules only.
    pub fn distribution(&self, id: DistributionId) -> Option<&Distribution> {
        self.distributions.get(usize::from(id.0))
    }

    pub fn shard(&self, id: ShardId) -> Option<&Shard> {
        self.shards.get(usize::from(id.0))
    }

    /// The shard's name, or the gather database's, for messages.
    pub fn shard_name(&self, id: ShardId) -> &str {
        match self.shard(id) {
            Some(shard) => &shard.name,
            None if self.gather_shard() == Some(id) => Gather::NAME,
            None => "?",
        }
    }

    /// Under which number pools and transactions know the gather database. It holds no rows, so it is
    /// none of `shard_ids`.
    pub fn gather_shard(&self) -> Option<ShardId> {
        self.gather.as_ref()?;
        u16::try_from(self.shards.len()).ok().map(ShardId)
    }

    /// No distribution: plain pooling, one server (the home shard) behind every statement.
    pub fn is_plain(&self) -> bool {
        self.distributions.is_empty()
    }

    /// Whether a table may be on another shard than the home shard, and not there.
    pub fn has_tables_beside_home(&self) -> bool {
        let away = |shard: ShardId| shard != self.home;
        let listed = self
            .tables
            .iter()
            .any(|table| matches!(table.placement, Placement::Single(shard) if away(shard)));
        listed || matches!(self.unlisted, Unlisted::Shard(shard) if away(shard))
    }

    /// By which statements lock what they need on several shards, the least first: the home shard, then the
    /// others in the order of the file. Who keeps to it never waits in a circle with others who do.
    pub fn rank(&self, shard: ShardId) -> (bool, ShardId) {
        (shard != self.home, shard)
    }

    pub fn shard_ids(&self) -> impl Iterator<Item = ShardId> + '_ {
        (0..self.shards.len()).map(|index| ShardId(index as u16))
    }
}

impl Distribution {
    pub fn locate(&self, key: &Key) -> Result<(BucketId, ShardId), KeyError> {
        let Location::Bucket(bucket) = self.function.locate(key)?;
        match self.map.get(bucket.0 as usize) {
            Some(&shard) => Ok((bucket, shard)),
            None => Err(KeyError::NotCovered(key.clone())),
        }
    }
}

/// A handle that is cheap to clone and never changes under its holder.
pub type Snapshot = Arc<Rules>;
