//! Rules files from end to end: the example, bad examples, and every example of the reference.
use super::{Placement, Rules, parse, placement};
use crate::ids::ShardId;
use crate::sharding::Key;
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
