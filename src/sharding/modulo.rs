//! `modulo`: the key's remainder, for keys that are numbers.
use super::{
    Balance, Key, KeyError, KeyType, Kind, Location, Setting, SettingError, SettingHelp, Settings,
    ShardingFunction,
};
use crate::ids::BucketId;

pub(super) const KIND: Kind = Kind {
    name: "modulo",
    about: "the key mod buckets; never negative, so key -1 of 4 buckets falls into bucket 3",
    key_types: KeyType::INTEGERS,
    balance: Balance::Function,
    settings: &[BUCKETS],
    build: |settings| Ok(Box::new(Modulo { buckets: buckets(settings)? })),
    sample: |key_type, _| {
        key_type.is_integer().then(|| sample_buckets(Settings::new(key_type, 1), 1024))
    },
};

pub(super) const BUCKETS: SettingHelp =
    SettingHelp { name: "buckets", about: "how many buckets; never changes later" };

/// More would make the map, not the function, expensive.
const MOST_BUCKETS: u32 = 1 << 20;

pub(super) fn buckets(settings: &Settings) -> Result<u32, SettingError> {
    settings.count("buckets", None, MOST_BUCKETS)
}

pub(super) fn sample_buckets(settings: Settings, buckets: u32) -> Settings {
    settings.with("buckets", Setting::Int(buckets.into()))
}

#[derive(Debug)]
struct Modulo {
    buckets: u32,
}

impl ShardingFunction for Modulo {
    fn locate(&self, key: &Key) -> Result<Location, KeyError> {
        let Key::Int(value) = key else { return Err(KeyError::WrongType(key.clone())) };
        // Below the bucket count, so it fits.
        let bucket = value.rem_euclid(i64::from(self.buckets)) as u32;
        Ok(Location::Bucket(BucketId(bucket)))
    }

    fn buckets(&self) -> u32 {
        self.buckets
    }

    fn describe(&self) -> String {
        format!("modulo buckets={}", self.buckets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn negative_keys_fall_into_buckets_too() {
        let modulo = Modulo { buckets: 4 };
        for (key, bucket) in [(0, 0), (7, 3), (-1, 3), (-4, 0), (i64::MIN, 0), (i64::MAX, 3)] {
            let expected = Location::Bucket(BucketId(bucket));
            assert_eq!(modulo.locate(&Key::Int(key)), Ok(expected), "{key}");
        }
    }
}
