//! `list`: listed key values, each list a bucket: countries, tenants with a server of their own.
use super::{
    Balance, Key, KeyError, KeyType, Kind, Location, Setting, SettingError, SettingHelp, Settings,
    ShardingFunction,
};
use crate::ids::BucketId;
use std::collections::{BTreeMap, HashMap};

pub(super) const KIND: Kind = Kind {
    name: "list",
    about: "bucket i takes the values of the i-th list",
    key_types: KeyType::ALL,
    balance: Balance::Rules,
    settings: &[
        SettingHelp { name: "lists", about: "[[\"de\", \"at\"], [\"us\"]]" },
        SettingHelp {
            name: "others",
            about: "the bucket of values in no list; without it they are refused keys",
        },
    ],
    build: |settings| Ok(Box::new(Lists::new(settings)?)),
    sample: |key_type, _| {
        (key_type == KeyType::Text).then(|| {
            let list = |word: &str| Setting::List(vec![Setting::Text(word.to_owned())]);
            Settings::new(key_type, 1)
                .with("lists", Setting::List(vec![list("a"), list("b")]))
                .with("others", Setting::Int(1))
        })
    },
};

#[derive(Debug)]
struct Lists {
    buckets: u32,
    bucket_of: HashMap<Key, BucketId>,
    others: Option<BucketId>,
}

impl Lists {
    fn new(settings: &Settings) -> Result<Lists, SettingError> {
        let wrong = |message: String| {
            let hint = "write lists = [[value, value], [value]], one inner list per bucket";
            SettingError::new("lists", message, hint)
        };
        let written = match settings.own.get("lists") {
            Some(Setting::List(lists)) if !lists.is_empty() => lists,
            None => return Err(wrong("no lists".into())),
            Some(_) => return Err(wrong("lists is not a list of lists".into())),
        };
        let mut bucket_of = HashMap::new();
        for (index, list) in written.iter().enumerate() {
            let Setting::List(values) = list else {
                return Err(wrong(format!("list {index} is {}", list.what())));
            };
            for value in values {
                let key = settings.key("lists", value)?;
                let text = key.to_string();
                if bucket_of.insert(key, BucketId(index as u32)).is_some() {
                    return Err(wrong(format!("{text:?} is listed twice")));
                }
            }
        }
        let buckets = written.len() as u32;
        let others = match settings.own.get("others") {
            None => None,
            Some(Setting::Int(bucket)) if (0..i64::from(buckets)).contains(bucket) => {
                Some(BucketId(*bucket as u32))
            }
            Some(_) => {
                let hint = format!("others is a bucket from 0 to {}", buckets.saturating_sub(1));
                return Err(SettingError::new("others", "others names no bucket", hint));
            }
        };
        Ok(Lists { buckets, bucket_of, others })
    }
}

impl ShardingFunction for Lists {
    fn locate(&self, key: &Key) -> Result<Location, KeyError> {
        let bucket = self.bucket_of.get(key).copied().or(self.others);
        bucket.map(Location::Bucket).ok_or_else(|| KeyError::NotCovered(key.clone()))
    }

    fn buckets(&self) -> u32 {
        self.buckets
    }

    fn describe(&self) -> String {
        let sorted: BTreeMap<&Key, &BucketId> = self.bucket_of.iter().collect();
        let values: Vec<String> = sorted
            .into_iter()
            .map(|(key, bucket)| format!("{bucket}:{:?}", key.to_string()))
            .collect();
        let others = self.others.map_or("refused".to_owned(), |bucket| bucket.to_string());
        format!("list buckets={} others={others} {}", self.buckets, values.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lists(others: Option<i64>) -> Result<Lists, SettingError> {
        let text = |value: &str| Setting::Text(value.to_owned());
        let list =
            vec![Setting::List(vec![text("de"), text("at")]), Setting::List(vec![text("us")])];
        let settings = Settings::new(KeyType::Text, 2).with("lists", Setting::List(list));
        Lists::new(&match others {
            None => settings,
            Some(bucket) => settings.with("others", Setting::Int(bucket)),
        })
    }

    #[test]
    fn unlisted_values_go_to_others_or_are_refused() {
        let key = Key::Text("fr".into());
        assert_eq!(lists(None).unwrap().locate(&key), Err(KeyError::NotCovered(key.clone())));
        assert_eq!(
            lists(Some(0)).unwrap().locate(&key),
            Ok(Location::Bucket(BucketId(0))),
            "others = 0"
        );
        assert!(lists(Some(2)).is_err(), "there is no bucket 2");
    }
}
