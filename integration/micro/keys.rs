//! A key becomes a bucket: each sharding function, for each kind of key that it takes.
use divan::Bencher;
use std::fmt;
use weir::sharding::{KINDS, Key, KeyType, Kind};

struct Case {
    kind: &'static Kind,
    key_type: KeyType,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.name, self.key_type.name())
    }
}

fn cases() -> impl Iterator<Item = Case> {
    let types =
        [KeyType::Bigint, KeyType::Text, KeyType::Uuid, KeyType::Date, KeyType::Timestamptz];
    let all = KINDS.iter().flat_map(move |kind| types.map(|key_type| Case { kind, key_type }));
    all.filter(|case| (case.kind.sample)(case.key_type, 4).is_some())
}

/// Some key of the type, another for each number.
fn key(key_type: KeyType, number: u64) -> Key {
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    match key_type {
        KeyType::Smallint => Key::Int(i64::from(mixed as i16)),
        KeyType::Int => Key::Int(i64::from(mixed as i32)),
        KeyType::Bigint => Key::Int((mixed >> 20) as i64),
        KeyType::Text | KeyType::Varchar => Key::Text(format!("customer-{:x}", mixed >> 32)),
        KeyType::Uuid => Key::Uuid((u128::from(mixed) << 64 | u128::from(number)).to_be_bytes()),
        KeyType::Date => Key::Date((mixed % 20_000) as i32),
        KeyType::Timestamptz => Key::Timestamptz((mixed >> 14) as i64),
    }
}

#[divan::bench(args = cases(), sample_size = 1000)]
fn bucket(bencher: Bencher<'_, '_>, Case { kind, key_type }: &Case) {
    let settings = (kind.sample)(*key_type, 4).unwrap();
    let function = (kind.build)(&settings).unwrap();
    let mut number = 0;
    bencher
        .with_inputs(|| {
            number += 1;
            key(*key_type, number)
        })
        .bench_local_refs(|key| function.locate(key));
}
