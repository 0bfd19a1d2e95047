//! `fnv32`: the 32-bit Fowler–Noll–Vo hash of PostgreSQL's text form of the key.
//!
//! FNV-1a by default; `variant = "1"` is the older order of its two steps, which Go's `fnv.New32`
//! computes (`fnv.New32a` is 1a).
use super::modulo::{BUCKETS, buckets, sample_buckets};
use super::{
    Balance, Key, KeyError, KeyType, Kind, Location, Setting, SettingError, SettingHelp, Settings,
    ShardingFunction,
};
use crate::ids::BucketId;

pub(super) const KIND: Kind = Kind {
    name: "fnv32",
    about: "32-bit FNV of the key's text form, mod buckets: 42, '42' and a bigint agree",
    key_types: KeyType::PLAIN_TEXT,
    balance: Balance::Function,
    settings: &[
        BUCKETS,
        SettingHelp {
            name: "variant",
            about: "\"1a\" (default), or \"1\" for what Go's fnv.New32 computes",
        },
    ],
    build: |settings| {
        Ok(Box::new(Fnv32 { variant: variant(settings)?, buckets: buckets(settings)? }))
    },
    sample: |key_type, _| {
        KeyType::PLAIN_TEXT
            .contains(&key_type)
            .then(|| sample_buckets(Settings::new(key_type, 1), 1024))
    },
};

#[derive(Clone, Copy, Debug)]
enum Variant {
    Fnv1a,
    Fnv1,
}

#[derive(Debug)]
struct Fnv32 {
    variant: Variant,
    buckets: u32,
}

fn variant(settings: &Settings) -> Result<Variant, SettingError> {
    match settings.own.get("variant") {
        None => Ok(Variant::Fnv1a),
        Some(Setting::Text(text)) if text == "1a" => Ok(Variant::Fnv1a),
        Some(Setting::Text(text)) if text == "1" => Ok(Variant::Fnv1),
        Some(_) => Err(SettingError::new(
            "variant",
            "no such variant of FNV",
            "variant is \"1a\" or \"1\" (a text)",
        )),
    }
}

impl ShardingFunction for Fnv32 {
    fn locate(&self, key: &Key) -> Result<Location, KeyError> {
        if matches!(key, Key::Date(_) | Key::Timestamptz(_)) {
            return Err(KeyError::WrongType(key.clone()));
        }
        let hash = key.with_text(|text| match self.variant {
            Variant::Fnv1a => fnv1a(text),
            Variant::Fnv1 => fnv1(text),
        });
        Ok(Location::Bucket(BucketId(hash % self.buckets.max(1))))
    }

    fn buckets(&self) -> u32 {
        self.buckets
    }

    fn describe(&self) -> String {
        let variant = match self.variant {
            Variant::Fnv1a => "1a",
            Variant::Fnv1 => "1",
        };
        format!("fnv32 variant={variant} buckets={}", self.buckets)
    }
}

const OFFSET: u32 = 0x811c_9dc5;
const PRIME: u32 = 0x0100_0193;

fn fnv1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(OFFSET, |hash, &byte| (hash ^ u32::from(byte)).wrapping_mul(PRIME))
}

fn fnv1(bytes: &[u8]) -> u32 {
    bytes.iter().fold(OFFSET, |hash, &byte| hash.wrapping_mul(PRIME) ^ u32::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Vectors from the test suite that the hash's authors published.
    #[test]
    fn published_vectors_hold() {
        for (text, one, one_a) in [
            ("", 0x811c_9dc5_u32, 0x811c_9dc5_u32),
            ("a", 0x050c_5d7e, 0xe40c_292c),
            ("foobar", 0x31f0_b262, 0xbf9c_f968),
        ] {
            assert_eq!(fnv1(text.as_bytes()), one, "{text}");
            assert_eq!(fnv1a(text.as_bytes()), one_a, "{text}");
        }
    }

    #[test]
    fn a_number_and_its_text_fall_into_the_same_bucket() {
        let fnv = Fnv32 { variant: Variant::Fnv1a, buckets: 1024 };
        for number in [0, 42, -7, i64::MIN] {
            assert_eq!(
                fnv.locate(&Key::Int(number)),
                fnv.locate(&Key::Text(number.to_string())),
                "{number}"
            );
        }
    }
}
