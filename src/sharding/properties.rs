//! What holds for every function in the table.
use super::{KINDS, Key, KeyType, Location};
use crate::ids::BucketId;
use proptest::prelude::*;

fn keys(key_type: KeyType) -> BoxedStrategy<Key> {
    match key_type {
        KeyType::Smallint => any::<i16>().prop_map(|v| Key::Int(v.into())).boxed(),
        KeyType::Int => any::<i32>().prop_map(|v| Key::Int(v.into())).boxed(),
        KeyType::Bigint => any::<i64>().prop_map(Key::Int).boxed(),
        KeyType::Text | KeyType::Varchar => any::<String>().prop_map(Key::Text).boxed(),
        KeyType::Uuid => any::<[u8; 16]>().prop_map(Key::Uuid).boxed(),
        KeyType::Date => (-700_000..2_000_000).prop_map(Key::Date).boxed(),
        KeyType::Timestamptz => (-60_000_000_000_000_000_i64..200_000_000_000_000_000)
            .prop_map(Key::Timestamptz)
            .boxed(),
    }
}

proptest! {
    #[test]
    fn every_key_falls_into_one_bucket_that_exists(
        keys in KeyType::ALL.iter().map(|t| keys(*t)).collect::<Vec<_>>()
    ) {
        for (key, &key_type) in keys.iter().zip(KeyType::ALL) {
            for kind in KINDS {
                let Some(settings) = (kind.sample)(key_type, 4) else { continue };
                prop_assert!(kind.key_types.contains(&key_type), "{}", kind.name);
                let function = (kind.build)(&settings).unwrap();
                let Ok(Location::Bucket(BucketId(bucket))) = function.locate(key) else {
                    panic!("{} takes no {key:?}", kind.name);
                };
                prop_assert!(bucket < function.buckets(), "{}: {bucket}", kind.name);
                prop_assert!(function.usual_shard(BucketId(bucket), 4) < 4, "{}", kind.name);
                prop_assert_eq!(function.locate(key), function.locate(&key.clone()));
            }
        }
    }

    #[test]
    fn the_text_of_a_key_reads_back_as_that_key(
        keys in KeyType::ALL.iter().map(|t| keys(*t)).collect::<Vec<_>>()
    ) {
        for (key, &key_type) in keys.iter().zip(KeyType::ALL) {
            // PostgreSQL prints a date before the year 1 with BC, which is not read here.
            if Key::from_text(key_type, &key.to_string()).is_ok() {
                prop_assert_eq!(Key::from_text(key_type, &key.to_string()), Ok(key.clone()));
            }
        }
    }

    #[test]
    fn a_number_is_hashed_by_its_text(value in any::<i64>()) {
        let fast = Key::Int(value).with_text(<[u8]>::to_vec);
        prop_assert_eq!(String::from_utf8(fast).unwrap(), value.to_string());
    }
}
