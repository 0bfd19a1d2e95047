//! Rules files: what DBAs write, well or badly.
#![no_main]
use libfuzzer_sys::{Corpus, fuzz_target};
use weir::rules::{self, Placement, Rules};
use weir::sharding::Key;

fuzz_target!(|bytes: &[u8]| -> Corpus {
    let Ok(text) = std::str::from_utf8(bytes) else { return Corpus::Reject };
    match rules::parse(text, "rules.toml") {
        Ok(rules) => checked_rules_hold_together(&rules),
        Err(problems) => {
            assert!(!problems.list.is_empty());
            assert!(problems.list.is_sorted_by_key(|problem| problem.line));
            for problem in &problems.list {
                assert!((1..=text.lines().count() + 1).contains(&problem.line));
            }
            assert!(!problems.to_string().is_empty());
        }
    }
    Corpus::Keep
});

fn checked_rules_hold_together(rules: &Rules) {
    assert!(rules.shard(rules.home).is_some());
    for table in &rules.tables {
        match &table.placement {
            Placement::Sharded { distribution, fallback, .. } => {
                assert!(rules.distribution(*distribution).is_some());
                let fallback = fallback.as_ref().map(|fallback| fallback.distribution);
                assert!(fallback.is_none_or(|id| rules.distribution(id).is_some()));
            }
            Placement::Reference => {}
            Placement::Single(shard) => assert!(rules.shard(*shard).is_some()),
        }
    }
    for distribution in &rules.distributions {
        for key in [
            Key::Int(i64::MIN),
            Key::Int(-1),
            Key::Int(42),
            Key::Text("é".to_owned()),
            Key::Uuid([7; 16]),
            Key::Date(i32::MAX),
            Key::Timestamptz(0),
        ] {
            if let Ok((bucket, shard)) = distribution.locate(&key) {
                assert_eq!(distribution.map.get(bucket.0 as usize), Some(&shard));
                assert!(rules.shard(shard).is_some());
            }
        }
    }
    rules::placement::hash(rules);
}
