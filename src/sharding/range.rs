//! `range`: half-open ranges of key values, each a bucket.
use super::{
    Balance, Key, KeyError, KeyType, Kind, Location, Setting, SettingError, SettingHelp, Settings,
    ShardingFunction,
};
use crate::ids::BucketId;
use std::collections::BTreeMap;

pub(super) const KIND: Kind = Kind {
    name: "range",
    about: "bucket i is the i-th range: from is in it, to is not; text compares by bytes",
    key_types: KeyType::ALL,
    balance: Balance::Rules,
    settings: &[SettingHelp {
        name: "ranges",
        about: "[{ to = 1000 }, { from = 1000, to = 2000 }, { from = 2000 }]; gaps are refused keys",
    }],
    build: |settings| Ok(Box::new(Ranges::new(settings)?)),
    sample: |key_type, shards| {
        let bound = |value: u32| Setting::Int(i64::from(value) * 1000);
        let range = |index: u32| {
            let mut range = BTreeMap::new();
            if index > 0 {
                range.insert("from".to_owned(), bound(index));
            }
            if index + 1 < shards {
                range.insert("to".to_owned(), bound(index + 1));
            }
            Setting::Table(range)
        };
        (key_type == KeyType::Bigint).then(|| {
            let ranges = (0..shards).map(range).collect();
            Settings::new(key_type, shards).with("ranges", Setting::List(ranges))
        })
    },
};

#[derive(Debug)]
struct Ranges {
    /// Ascending by `from`, without overlap.
    sorted: Vec<Range>,
}

#[derive(Debug)]
struct Range {
    from: Option<Key>,
    to: Option<Key>,
    bucket: BucketId,
}

impl Ranges {
    fn new(settings: &Settings) -> Result<Ranges, SettingError> {
        let wrong = |message: String| {
            let hint =
                "write ranges = [{ to = 1000 }, { from = 1000 }] with values of the key_type";
            SettingError::new("ranges", message, hint)
        };
        let written = match settings.own.get("ranges") {
            Some(Setting::List(ranges)) if !ranges.is_empty() => ranges,
            None => return Err(wrong("no ranges".into())),
            Some(_) => return Err(wrong("ranges is not a list of ranges".into())),
        };
        let mut sorted = Vec::new();
        for (index, range) in written.iter().enumerate() {
            let Setting::Table(ends) = range else {
                return Err(wrong(format!("range {index} is {}", range.what())));
            };
            if let Some(end) = ends.keys().find(|end| !matches!(end.as_str(), "from" | "to")) {
                return Err(wrong(format!("unknown key {end:?} in range {index}")));
            }
            let end = |name| ends.get(name).map(|end| settings.key("ranges", end)).transpose();
            let range =
                Range { from: end("from")?, to: end("to")?, bucket: BucketId(index as u32) };
            if let (Some(from), Some(to)) = (&range.from, &range.to)
                && from >= to
            {
                return Err(wrong(format!("range {index}, from {from} to {to}, is empty")));
            }
            sorted.push(range);
        }
        sorted.sort_by(|left, right| left.from.cmp(&right.from));
        for pair in sorted.windows(2) {
            let [left, right] = pair else { continue };
            // No upper end reaches into whatever comes next; no lower end is the lowest already.
            if left.to.is_none() || right.from.is_none() || left.to > right.from {
                let message = format!("ranges {} and {} overlap", left.bucket, right.bucket);
                return Err(wrong(message));
            }
        }
        Ok(Ranges { sorted })
    }
}

impl ShardingFunction for Ranges {
    fn locate(&self, key: &Key) -> Result<Location, KeyError> {
        let after = self.sorted.partition_point(|range| match &range.from {
            None => true,
            Some(from) => from <= key,
        });
        let range = after.checked_sub(1).and_then(|last| self.sorted.get(last));
        match range {
            Some(range) if range.to.as_ref().is_none_or(|to| key < to) => {
                Ok(Location::Bucket(range.bucket))
            }
            Some(_) | None => Err(KeyError::NotCovered(key.clone())),
        }
    }

    fn buckets(&self) -> u32 {
        self.sorted.len() as u32
    }

    fn describe(&self) -> String {
        let end = |end: &Option<Key>| end.as_ref().map(|key| format!("{:?}", key.to_string()));
        let ranges: Vec<String> = self
            .sorted
            .iter()
            .map(|range| {
                let (from, to) = (end(&range.from), end(&range.to));
                let (from, to) = (from.unwrap_or_default(), to.unwrap_or_default());
                format!("{}:{from}..{to}", range.bucket)
            })
            .collect();
        format!("range {}", ranges.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(from: Option<i64>, to: Option<i64>) -> Setting {
        let ends = [("from", from), ("to", to)];
        let ends = ends.into_iter().filter_map(|(n, end)| Some((n.into(), Setting::Int(end?))));
        Setting::Table(ends.collect())
    }

    fn ranges(list: Vec<Setting>) -> Result<Ranges, SettingError> {
        let settings = Settings::new(KeyType::Bigint, 2).with("ranges", Setting::List(list));
        Ranges::new(&settings)
    }

    #[test]
    fn the_lower_end_belongs_to_a_range_and_the_upper_does_not() {
        let ranges =
            ranges(vec![range(Some(10), Some(20)), range(None, Some(10)), range(Some(30), None)]);
        let ranges = ranges.unwrap();
        for (key, bucket) in
            [(i64::MIN, Some(1)), (9, Some(1)), (10, Some(0)), (20, None), (30, Some(2))]
        {
            let found = ranges.locate(&Key::Int(key)).ok();
            assert_eq!(found, bucket.map(|id| Location::Bucket(BucketId(id))), "{key}");
        }
    }

    #[test]
    fn ranges_that_overlap_are_refused() {
        for list in [
            vec![range(None, Some(10)), range(Some(9), None)],
            vec![range(None, None), range(Some(9), None)],
            vec![range(None, Some(1)), range(None, Some(2))],
            vec![range(Some(5), Some(5))],
        ] {
            assert!(ranges(list.clone()).is_err(), "{list:?}");
        }
    }
}
