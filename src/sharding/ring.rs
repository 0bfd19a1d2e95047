//! `ring`: consistent hashing with virtual nodes, so that adding a shard moves few keys.
//!
//! Each shard has `virtual_nodes` points on a circle of 2^64 positions; a key belongs to the first
//! point at or after its own position. A point *is* a bucket: point `p` of shard number `s` has the
//! id `s * virtual_nodes + p` for ever, and its position depends on that id alone. A shard more
//! adds points and moves none, so only the keys just before the new points go elsewhere.
use super::{
    Balance, Key, KeyError, KeyType, Kind, Location, Setting, SettingHelp, Settings,
    ShardingFunction,
};
use crate::ids::BucketId;

pub(super) const KIND: Kind = Kind {
    name: "ring",
    about: "consistent hashing of the key's text form: a shard more of n moves about 1/n of the keys",
    key_types: KeyType::PLAIN_TEXT,
    balance: Balance::Function,
    settings: &[SettingHelp {
        name: "virtual_nodes",
        about: "points (= buckets) per shard, 160 by default: more spread evener",
    }],
    build: |settings| {
        let virtual_nodes =
            settings.count("virtual_nodes", Some(160), MOST_POINTS / settings.shards.max(1))?;
        Ok(Box::new(Ring::new(virtual_nodes, settings.shards)))
    },
    sample: |key_type, shards| {
        KeyType::PLAIN_TEXT
            .contains(&key_type)
            .then(|| Settings::new(key_type, shards).with("virtual_nodes", Setting::Int(160)))
    },
};

/// As many as other functions may have buckets.
const MOST_POINTS: u32 = 1 << 20;

#[derive(Debug)]
struct Ring {
    virtual_nodes: u32,
    /// Ascending by position.
    points: Vec<(u64, BucketId)>,
}

impl Ring {
    fn new(virtual_nodes: u32, shards: u32) -> Ring {
        let mut points: Vec<(u64, BucketId)> = (0..virtual_nodes * shards)
            .map(|id| (position(format!("point {id}").as_bytes()), BucketId(id)))
            .collect();
        points.sort_unstable();
        Ring { virtual_nodes, points }
    }
}

impl ShardingFunction for Ring {
    fn locate(&self, key: &Key) -> Result<Location, KeyError> {
        if matches!(key, Key::Date(_) | Key::Timestamptz(_)) {
            return Err(KeyError::WrongType(key.clone()));
        }
        let at = key.with_text(position);
        let next = self.points.partition_point(|(position, _)| *position < at);
        // After the last point comes the first: it is a circle.
        match self.points.get(next).or(self.points.first()) {
            Some((_, bucket)) => Ok(Location::Bucket(*bucket)),
            None => Err(KeyError::NotCovered(key.clone())),
        }
    }

    fn buckets(&self) -> u32 {
        self.points.len() as u32
    }

    fn describe(&self) -> String {
        format!("ring virtual_nodes={} points={}", self.virtual_nodes, self.points.len())
    }

    fn usual_shard(&self, bucket: BucketId, _shards: u32) -> u32 {
        bucket.0 / self.virtual_nodes.max(1)
    }
}

/// 64-bit FNV-1a, then the finishing steps of MurmurHash3: FNV alone leaves the high bits of short
/// texts almost equal, and on a circle it is the high bits that spread.
fn position(text: &[u8]) -> u64 {
    let mut hash = text.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(ring: &Ring, key: i64) -> u32 {
        let Location::Bucket(bucket) = ring.locate(&Key::Int(key)).unwrap();
        ring.usual_shard(bucket, 0)
    }

    #[test]
    fn a_shard_more_takes_its_share_and_moves_nothing_else() {
        for shards in [1, 3, 9] {
            let (before, after) = (Ring::new(160, shards), Ring::new(160, shards + 1));
            let keys = 20_000;
            let moved = (0..keys).filter(|&key| shard(&before, key) != shard(&after, key));
            let moved: Vec<i64> = moved.collect();
            assert!(moved.iter().all(|&key| shard(&after, key) == shards), "to the new one only");
            let share = moved.len() as f64 / keys as f64 * f64::from(shards + 1);
            assert!((0.75..1.25).contains(&share), "{shards} shards: {share} of a fair share");
        }
    }

    /// Positions are part of where rows are: they may never change.
    #[test]
    fn keys_stay_where_they_are() {
        let ring = Ring::new(160, 4);
        let buckets: Vec<u32> = [0, 1, 42, -7, i64::MAX]
            .into_iter()
            .map(|key| match ring.locate(&Key::Int(key)).unwrap() {
                Location::Bucket(bucket) => bucket.0,
            })
            .collect();
        assert_eq!(buckets, [82, 495, 619, 351, 50]);
    }
}
