//! The keys and buckets that most statements are about, from a sample of the statements.
//!
//! About one statement in [`EVERY`] is looked at; the others cost a count-down. What it names goes into two
//! sketches of fixed size (*space-saving*: Metwally, Agrawal, El Abbadi 2005): whoever is new when one is full takes
//! the place, and the count, of the least, so what is heavy is always there and counts are never too low.
//! Every [`HALF_LIFE`] all counts are halved: old news fades.
use crate::ids::{BucketId, DistributionId, RulesVersion, ShardId};
use crate::plan::Planned;
use crate::rules::Rules;
use crate::sharding::Key;
use crate::wire::params::Params;
use foldhash::HashMap;
use rand::RngExt;
use std::cell::Cell;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// On average; which ones is random, so that no rhythm of statements is always missed.
pub const EVERY: u32 = 64;
pub const HALF_LIFE: Duration = Duration::from_secs(60);
/// Keys, and buckets, that one database's sketches hold.
const PLACES: usize = 256;
/// Of one statement, so that a long list is not the whole sample.
const MOST_KEYS: usize = 16;
/// Longer keys are counted by their buckets only.
const MOST_KEY_BYTES: usize = 256;

/// One database's, of all workers.
#[derive(Debug, Default)]
pub struct HotKeys(Mutex<Sample>);

/// One worker's: when to look again.
#[derive(Debug)]
pub struct Countdown(Cell<u32>);

/// A key or a bucket that many statements are about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Heavy {
    pub distribution: DistributionId,
    /// `None`: the bucket as a whole.
    pub key: Option<Key>,
    pub bucket: BucketId,
    pub shard: ShardId,
    /// Statements, about.
    pub statements: u64,
    /// So many of them may have been about others.
    pub doubtful: u64,
    /// Of the statements that name keys, in percent.
    pub percent: u64,
}

#[derive(Debug, Default)]
struct Sample {
    /// Under which rules the numbers mean what they mean.
    version: RulesVersion,
    faded: Option<Instant>,
    keys: Sketch<(DistributionId, Key)>,
    buckets: Sketch<(DistributionId, BucketId)>,
    places: HashMap<(DistributionId, Key), (BucketId, ShardId)>,
    shards: HashMap<(DistributionId, BucketId), ShardId>,
    /// Keys that were named.
    named: u64,
}

#[derive(Debug)]
struct Sketch<T>(HashMap<T, Count>);

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    seen: u64,
    /// Taken over from who had the place before.
    inherited: u64,
}

impl Default for Countdown {
    fn default() -> Self {
        Self(Cell::new(random()))
    }
}

impl Countdown {
    pub fn is_due(&self) -> bool {
        let left = self.0.get();
        if left > 1 {
            self.0.set(left - 1);
            return false;
        }
        self.0.set(random());
        true
    }
}

/// Statements until the next look.
fn random() -> u32 {
    rand::rng().random_range(1..2 * EVERY)
}

impl HotKeys {
    /// Looks at one statement. Nobody waits for this: who finds it taken has not been sampled.
    pub fn note(&self, planned: &Planned, text: &str, params: &Params<'_>, rules: &Rules) {
        let Ok(mut sample) = self.0.try_lock() else { return };
        sample.begin(rules.version, Instant::now());
        let mut seen: Vec<(DistributionId, Key)> = Vec::new();
        planned.keys(text, params, rules, &mut |distribution, key, bucket, shard| {
            let key = (distribution, key);
            if seen.len() < MOST_KEYS && !seen.contains(&key) {
                sample.note(key.clone(), bucket, shard);
                seen.push(key);
            }
        });
    }

    /// The heaviest keys and the heaviest buckets, each so many.
    pub fn heaviest(&self, most: usize, rules: &Rules) -> Vec<Heavy> {
        let mut sample = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sample.begin(rules.version, Instant::now());
        let named = sample.named.max(1);
        let heavy = |count: Count| Heavy {
            distribution: DistributionId(0),
            key: None,
            bucket: BucketId(0),
            shard: ShardId(0),
            statements: count.seen * u64::from(EVERY),
            doubtful: count.inherited * u64::from(EVERY),
            percent: (count.seen * 100 / named).min(100),
        };
        let keys = sample.keys.heaviest(most).into_iter().filter_map(|(at, count)| {
            let (bucket, shard) = *sample.places.get(&at)?;
            let (distribution, key) = at;
            Some(Heavy { distribution, key: Some(key), bucket, shard, ..heavy(count) })
        });
        let buckets = sample.buckets.heaviest(most).into_iter().filter_map(|(at, count)| {
            let shard = *sample.shards.get(&at)?;
            Some(Heavy { distribution: at.0, bucket: at.1, shard, ..heavy(count) })
        });
        keys.chain(buckets).collect()
    }
}

impl Sample {
    /// Other rules, other numbers; and what is old fades.
    fn begin(&mut self, version: RulesVersion, now: Instant) {
        if self.version != version {
            *self = Self { version, ..Self::default() };
        }
        let faded = *self.faded.get_or_insert(now);
        let mut halvings = now.saturating_duration_since(faded).as_secs() / HALF_LIFE.as_secs();
        if halvings > 0 {
            self.faded = Some(now);
        }
        while halvings > 0 && self.named > 0 {
            self.keys.fade();
            self.buckets.fade();
            self.named /= 2;
            halvings -= 1;
        }
        let (keys, buckets) = (&self.keys.0, &self.buckets.0);
        self.places.retain(|key, _| keys.contains_key(key));
        self.shards.retain(|bucket, _| buckets.contains_key(bucket));
    }

    fn note(&mut self, key: (DistributionId, Key), bucket: BucketId, shard: ShardId) {
        self.named += 1;
        self.shards.insert((key.0, bucket), shard);
        self.buckets.note((key.0, bucket));
        if !matches!(&key.1, Key::Text(text) if text.len() > MOST_KEY_BYTES) {
            self.places.insert(key.clone(), (bucket, shard));
            self.keys.note(key);
        }
    }
}

impl<T> Default for Sketch<T> {
    fn default() -> Self {
        Self(HashMap::default())
    }
}

impl<T: Hash + Eq + Clone + Ord> Sketch<T> {
    fn note(&mut self, what: T) {
        if let Some(count) = self.0.get_mut(&what) {
            count.seen += 1;
            return;
        }
        let least = match self.0.len() >= PLACES {
            true => self.0.iter().min_by_key(|(_, count)| count.seen).map(|(what, _)| what.clone()),
            false => None,
        };
        let before = least.and_then(|least| self.0.remove(&least)).unwrap_or_default();
        self.0.insert(what, Count { seen: before.seen + 1, inherited: before.seen });
    }

    fn fade(&mut self) {
        self.0.retain(|_, count| {
            *count = Count { seen: count.seen / 2, inherited: count.inherited / 2 };
            count.seen > 0
        });
    }

    fn heaviest(&self, most: usize) -> Vec<(T, Count)> {
        let mut all: Vec<_> = self.0.iter().map(|(what, count)| (what.clone(), *count)).collect();
        all.sort_by(|(a, one), (b, other)| (other.seen, a).cmp(&(one.seen, b)));
        all.truncate(most);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(value: i64) -> (DistributionId, Key) {
        (DistributionId(0), Key::Int(value))
    }

    #[test]
    fn what_is_heavy_stays_however_many_others_come_and_is_never_counted_too_low() {
        let mut sketch = Sketch::default();
        for round in 0..10_000_i64 {
            sketch.note(key(1_000 + round));
            if round % 10 == 0 {
                sketch.note(key(7));
            }
        }
        let (heaviest, count) = sketch.heaviest(1).remove(0);
        assert_eq!(heaviest, key(7));
        assert!(count.seen >= 1_000 && count.seen - count.inherited <= 1_000, "{count:?}");
        assert_eq!(sketch.0.len(), PLACES);
    }

    #[test]
    fn old_news_fades_and_other_rules_begin_anew() {
        let (mut sample, now) = (Sample::default(), Instant::now());
        sample.begin(RulesVersion(1), now);
        for _ in 0..8 {
            sample.note(key(7), BucketId(3), ShardId(1));
        }
        sample.begin(RulesVersion(1), now + 2 * HALF_LIFE);
        assert_eq!(sample.keys.heaviest(1)[0].1.seen, 2);
        sample.begin(RulesVersion(1), now + 9 * HALF_LIFE);
        assert!(sample.keys.0.is_empty() && sample.places.is_empty() && sample.shards.is_empty());
        sample.note(key(7), BucketId(3), ShardId(1));
        sample.begin(RulesVersion(2), now + 9 * HALF_LIFE);
        assert!(sample.keys.0.is_empty());
    }

    #[test]
    fn about_one_statement_in_so_many_is_looked_at() {
        let countdown = Countdown::default();
        let looked = (0..64_000).filter(|_| countdown.is_due()).count();
        assert!((800..1_250).contains(&looked), "{looked}");
    }

    #[test]
    fn a_long_key_is_counted_by_its_bucket() {
        let mut sample = Sample::default();
        let long = (DistributionId(0), Key::Text("x".repeat(MOST_KEY_BYTES + 1)));
        sample.note(long, BucketId(3), ShardId(1));
        assert_eq!((sample.keys.0.len(), sample.buckets.0.len()), (0, 1));
    }
}
