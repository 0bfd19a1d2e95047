//! What the shards remember of the rules: enough that two weirs can never write one key to two
//! places.
//!
//! [`describe`] is the canonical text of everything that decides where a row is. Each shard keeps
//! it, with its hash and the shard's own name, in `weir.placement`; a weir whose rules say
//! otherwise does not serve, and [`Mismatch`] says what differs.
use super::{Distribution, Placement, Rules, Table, Unlisted, buckets};
use crate::error::{Blame, Error, SqlState};
use crate::ids::ShardId;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt::{self, Write};

/// One line per fact. Equal texts put every row in the same place; servers' addresses are left out,
/// since a fail-over changes them.
pub fn describe(rules: &Rules) -> String {
    let mut lines = Vec::new();
    let names: Vec<&str> = rules.shards.iter().map(|shard| shard.name.as_str()).collect();
    lines.push(format!("shards {}", names.join(" ")));
    lines.push(format!("home {}", rules.shard_name(rules.home)));
    lines.push(match rules.unlisted {
        Unlisted::Refuse => "unlisted tables refused".to_owned(),
        Unlisted::Shard(id) => format!("unlisted tables on {}", rules.shard_name(id)),
    });
    lines.push(format!("generated ids in strides of {}", rules.stride));
    let mut distributions: Vec<String> =
        rules.distributions.iter().map(|entry| distribution(entry, rules)).collect();
    distributions.sort();
    let mut tables: Vec<String> = rules.tables.iter().map(|entry| table(entry, rules)).collect();
    tables.sort();
    lines.extend(distributions);
    lines.extend(tables);
    lines.into_iter().fold(String::new(), |text, line| text + &line + "\n")
}

/// Of the description: 64 hexadecimal digits.
pub fn hash(rules: &Rules) -> String {
    hash_of(&describe(rules))
}

pub fn hash_of(description: &str) -> String {
    Sha256::digest(description.as_bytes()).iter().fold(String::new(), |mut hex, byte| {
        // Writing to a String cannot fail.
        write!(hex, "{byte:02x}").ok();
        hex
    })
}

fn distribution(distribution: &Distribution, rules: &Rules) -> String {
    let Distribution { name, key_type, function, map, line: _ } = distribution;
    format!(
        "distribution {name}: {} {}, {}",
        key_type.name(),
        function.describe(),
        places(map, rules)
    )
}

/// `in turn on s0 s1` for the usual map, else each shard's buckets: one text for one map.
fn places(map: &[ShardId], rules: &Rules) -> String {
    let turn =
        map.iter().skip(1).position(|id| Some(id) == map.first()).map_or(map.len(), |p| p + 1);
    let in_turn =
        map.iter().enumerate().all(|(bucket, id)| map.get(bucket % turn.max(1)) == Some(id));
    if in_turn && turn < map.len() {
        let names: Vec<&str> = map.iter().take(turn).map(|id| rules.shard_name(*id)).collect();
        return format!("buckets in turn on {}", names.join(" "));
    }
    let mut by_shard: BTreeMap<ShardId, Vec<u32>> = BTreeMap::new();
    for (bucket, shard) in (0..).zip(map) {
        by_shard.entry(*shard).or_default().push(bucket);
    }
    let shards: Vec<String> = by_shard
        .into_iter()
        .map(|(shard, list)| format!("{}={}", rules.shard_name(shard), buckets::write(list)))
        .collect();
    format!("buckets {}", shards.join(" "))
}

fn table(table: &Table, rules: &Rules) -> String {
    let name = match &table.schema {
        None => table.name.clone(),
        Some(schema) => format!("{schema}.{}", table.name),
    };
    let by = |id| rules.distribution(id).map_or("?", |distribution| &distribution.name);
    match &table.placement {
        Placement::Sharded { key, distribution, fallback } => {
            let fallback = fallback.as_ref().map_or_else(String::new, |fallback| {
                format!(", else {} by {}", fallback.key, by(fallback.distribution))
            });
            format!("table {name}: {key} by {}{fallback}", by(*distribution))
        }
        Placement::Reference => format!("table {name}: reference"),
        Placement::Single(shard) => format!("table {name}: on {}", rules.shard_name(*shard)),
    }
}

/// What a new server connection asks for. One row with [`Row::COLUMNS`] text columns, none NULL.
pub const SELECT: &str =
    "SELECT cluster::text, shard, hash, epoch::text, description FROM weir.placement";

/// `weir.placement` on one shard.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    /// The cluster's uuid: the same on all shards.
    pub cluster: String,
    pub shard: String,
    pub hash: String,
    /// Counts the changes of placement.
    pub epoch: i64,
    pub description: String,
}

impl Row {
    pub const COLUMNS: usize = 5;

    /// From the columns of [`SELECT`] in their text form.
    pub fn from_text(columns: &[Option<&str>]) -> Option<Row> {
        let &[Some(cluster), Some(shard), Some(hash), Some(epoch), Some(description)] = columns
        else {
            return None;
        };
        let owned = str::to_owned;
        Some(Row {
            cluster: owned(cluster),
            shard: owned(shard),
            hash: owned(hash),
            epoch: epoch.parse().ok()?,
            description: owned(description),
        })
    }

    /// The names of the cluster's shards: the description's first line.
    pub fn shards(&self) -> impl Iterator<Item = &str> {
        let first = self.description.lines().next().and_then(|line| line.strip_prefix("shards "));
        first.unwrap_or_default().split_whitespace()
    }
}

/// What the rules of this process expect on one shard. Made once per set of rules, then compared
/// with every new connection's row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Expected {
    /// Known once the first shard has been read.
    pub cluster: Option<String>,
    pub shard: String,
    pub hash: String,
    pub description: String,
}

impl Expected {
    pub fn new(rules: &Rules, shard: ShardId) -> Expected {
        let description = describe(rules);
        Expected {
            cluster: None,
            shard: rules.shard_name(shard).to_owned(),
            hash: hash_of(&description),
            description,
        }
    }

    /// Judges what [`SELECT`] returned on a new connection; no row, or no such table (42P01), is
    /// no set-up.
    pub fn check(&self, row: Option<&[Option<&str>]>) -> Result<(), Mismatch> {
        match row.and_then(Row::from_text) {
            Some(row) => compare(self, &row),
            None => Err(Mismatch::NotSetUp { shard: self.shard.clone() }),
        }
    }

    pub fn in_cluster(mut self, cluster: impl Into<String>) -> Expected {
        self.cluster = Some(cluster.into());
        self
    }
}

/// Why a weir must not serve with these rules.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Mismatch {
    /// No `weir.placement` there.
    NotSetUp { shard: String },
    /// The server holds another shard: swapped order, wrong address.
    OtherShard { expected: String, found: String },
    /// The server belongs to another cluster.
    OtherCluster { shard: String, expected: String, found: String },
    /// The rules put rows elsewhere: the lines of the descriptions that differ.
    OtherPlacement { shard: String, only_in_rules: Vec<String>, only_on_shard: Vec<String> },
}

/// Cheap where all is well: three comparisons of short texts.
pub fn compare(expected: &Expected, found: &Row) -> Result<(), Mismatch> {
    let shard = expected.shard.clone();
    if found.shard != shard {
        return Err(Mismatch::OtherShard { expected: shard, found: found.shard.clone() });
    }
    if let Some(cluster) = expected.cluster.as_ref().filter(|cluster| **cluster != found.cluster) {
        let (expected, found) = (cluster.clone(), found.cluster.clone());
        return Err(Mismatch::OtherCluster { shard, expected, found });
    }
    if expected.hash != found.hash {
        let only = |these: &str, those: &str| {
            let those: Vec<&str> = those.lines().collect();
            these.lines().filter(|l| !those.contains(l)).map(str::to_owned).collect()
        };
        return Err(Mismatch::OtherPlacement {
            shard,
            only_in_rules: only(&expected.description, &found.description),
            only_on_shard: only(&found.description, &expected.description),
        });
    }
    Ok(())
}

impl Mismatch {
    /// What the operator does about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Mismatch::NotSetUp { .. } => "run weir setup --rules FILE",
            Mismatch::OtherShard { .. } => {
                "the shards' order or addresses in the rules file are not those of weir setup"
            }
            Mismatch::OtherCluster { .. } => "the address leads to another cluster's server",
            Mismatch::OtherPlacement { .. } => {
                "use the rules file of the other weirs, or, if no row lives elsewhere under these \
                 rules, run weir rules adopt --rules FILE"
            }
        }
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mismatch::NotSetUp { shard } => write!(f, "shard {shard} holds no placement"),
            Mismatch::OtherShard { expected, found } => {
                write!(f, "the server of shard {expected} holds shard {found}")
            }
            Mismatch::OtherCluster { shard, expected, found } => {
                write!(f, "shard {shard} belongs to cluster {found}, the others to {expected}")
            }
            Mismatch::OtherPlacement { shard, only_in_rules, only_on_shard } => {
                write!(f, "shard {shard} was set up with other rules")?;
                for line in only_in_rules {
                    write!(f, "\n  the rules say:   {line}")?;
                }
                for line in only_on_shard {
                    write!(f, "\n  the shard says:  {line}")?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for Mismatch {}

impl From<Mismatch> for Error {
    fn from(mismatch: Mismatch) -> Self {
        let message = mismatch.to_string();
        let (first, differences) = message.split_once('\n').unwrap_or((&message, ""));
        let code = SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE;
        let error = Error::new(code, Blame::Rules, first).hint(mismatch.hint());
        let lines: Vec<&str> = differences.lines().map(str::trim_start).collect();
        if lines.is_empty() { error } else { error.detail(lines.join("\n")) }
    }
}
