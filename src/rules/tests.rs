//! Rules files from end to end: the example, bad examples, and every example of the reference.
use super::{Placement, Rules, parse, placement};
use crate::ids::ShardId;
use crate::sharding::{KINDS, Key, KeyType};
use proptest::prelude::*;
use std::{fs, path::Path};

fn shop() -> Rules {
    parse(include_str!("../../rules/shop/rules.toml"), "rules/shop/rules.toml").unwrap()
}

#[test]
fn the_shop_example_says_what_lives_where() {
    let rules = shop();
    assert_eq!(rules.database, "shop");
    assert_eq!(rules.shards.len(), 4);
    let orders = rules.tables.iter().find(|table| table.name == "orders").unwrap();
    let Placement::Sharded { key, distribution, fallback } = &orders.placement else {
        panic!("orders is sharded");
    };
    assert_eq!(key, "user_id");
    assert_eq!(fallback.as_ref().unwrap().key, "order_no");
    let by_user = rules.distribution(*distribution).unwrap();
    let shards: Vec<ShardId> =
        (0..1000).map(|user| by_user.locate(&Key::Int(user)).unwrap().1).collect();
    for shard in rules.shard_ids() {
        assert!(shards.contains(&shard), "{shard} holds some user");
    }
}

#[test]
fn the_gather_database_has_a_number_behind_the_shards_and_is_none_of_them() {
    let rules = shop();
    let gather = rules.gather_shard().unwrap();
    assert_eq!((gather, rules.shard_name(gather)), (ShardId(4), "gather"));
    assert!(rules.shard_ids().all(|shard| shard != gather));
    assert!(!placement::describe(&rules).contains("gather"));
    let limits = rules.gather.as_ref().unwrap();
    assert_eq!((limits.max_bytes, limits.max_rows), (256 << 20, 5_000_000));
    assert_eq!((limits.timeout, limits.max_concurrent, limits.notice), (None, 8, false));
}

/// Each file of rules/rejected/ is refused, and the snapshot beside it says how.
#[test]
fn each_bad_example_is_refused_with_all_its_problems() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("rules/rejected");
    let mut names: Vec<String> = fs::read_dir(&folder)
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
        .filter(|name| name.ends_with(".toml"))
        .collect();
    names.sort();
    assert!(names.len() > 5, "{names:?}");
    for name in names {
        let text = fs::read_to_string(folder.join(&name)).unwrap();
        let problems = parse(&text, &name).err().unwrap_or_else(|| panic!("{name} is accepted"));
        insta::with_settings!({ snapshot_path => &folder, prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!(name.trim_end_matches(".toml"), problems.to_string());
        });
    }
}

#[test]
fn equal_placements_have_equal_descriptions_however_they_are_written() {
    let rules = |distribution: &str| {
        let text = format!(
            "database = \"d\"\n[[shard]]\nname = \"a\"\nprimary = \"host=a\"\n\
             [[shard]]\nname = \"b\"\nprimary = \"host=b\"\n\
             [[distribution]]\nname = \"x\"\nkey_type = \"int\"\n{distribution}\n\
             [[table]]\nname = \"t\"\ndistribution = \"x\"\nkey = \"k\"\n"
        );
        placement::describe(&parse(&text, "rules.toml").unwrap_or_else(|p| panic!("{p}")))
    };
    let usual = rules("function = \"modulo\"\nbuckets = 4");
    let written =
        rules("buckets = 4\nfunction = \"modulo\"\nmap = { b = \"3,1\", a = \"0, 2-2\" }");
    assert_eq!(usual, written);
    let swapped = rules("function = \"modulo\"\nbuckets = 4\nmap = { a = \"1,3\", b = \"0,2\" }");
    assert_ne!(usual, swapped);
    let halves = rules("function = \"modulo\"\nbuckets = 4\nmap = { a = \"0-1\", b = \"2-3\" }");
    assert!(halves.contains("buckets a=0-1 b=2-3"), "{halves}");
    insta::assert_snapshot!(placement::describe(&shop()));
}

/// Blocks marked `toml whole` stand alone. Other `toml` blocks are completed with what they leave
/// out of a small sharded database.
#[test]
fn every_example_of_the_reference_is_accepted() {
    let reference = include_str!("../../docs/rules.md");
    let blocks: Vec<&str> = reference.split("```").skip(1).step_by(2).collect();
    let mut checked = 0;
    for block in blocks {
        let (kind, example) = block.split_once('\n').unwrap();
        let text = match kind {
            "toml whole" => example.to_owned(),
            "toml" => completed(example),
            _ => continue,
        };
        if let Err(problems) = parse(&text, "docs/rules.md") {
            panic!("{problems}\n{text}");
        }
        checked += 1;
    }
    assert!(checked > 10, "{checked} examples");
}

fn completed(example: &str) -> String {
    let mut text = format!("database = \"shop\"\n{example}\n");
    for name in ["s0", "s1"] {
        if !example.contains(&format!("[[shard]]\nname = \"{name}\"")) {
            text += &format!("[[shard]]\nname = \"{name}\"\nprimary = \"host={name}\"\n");
        }
    }
    for (name, key_type) in [("by_user", "bigint"), ("by_order_no", "text")] {
        if !example.contains(&format!("name = \"{name}\"")) {
            text += &format!(
                "[[distribution]]\nname = \"{name}\"\nfunction = \"fnv32\"\n\
                 key_type = \"{key_type}\"\nbuckets = 64\n"
            );
        }
    }
    text
}

#[test]
fn the_reference_explains_every_function_and_its_settings() {
    let reference = include_str!("../../docs/rules.md");
    for kind in KINDS {
        assert!(reference.contains(&format!("\n`{}`: ", kind.name)), "{}", kind.name);
        for setting in kind.settings {
            assert!(reference.contains(&format!("`{}", setting.name)), "{}", setting.name);
        }
    }
    for key_type in KeyType::ALL {
        assert!(reference.contains(&format!("`{}`", key_type.name())), "{}", key_type.name());
    }
}

proptest! {
    /// A damaged file is refused or means something; it never ends the process.
    #[test]
    fn no_file_is_too_broken_to_be_checked(
        from in 0..2000_usize, length in 0..60_usize, instead in "[\\[\\]{}\"=.,#\n0-9a-z -]{0,12}"
    ) {
        let mut text: Vec<char> = include_str!("../../rules/shop/rules.toml").chars().collect();
        let from = from.min(text.len());
        let to = (from + length).min(text.len());
        text.splice(from..to, instead.chars());
        let text: String = text.into_iter().collect();
        if let Err(problems) = parse(&text, "rules.toml") {
            let lines = text.lines().count();
            prop_assert!(!problems.list.is_empty());
            for problem in problems.list {
                prop_assert!((1..=lines + 1).contains(&problem.line), "{problem:?}");
            }
        }
    }
}
