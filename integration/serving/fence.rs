//! Placement as a running weir meets it: other rules are refused before the first row is written.
use super::{TRUST, sharded, two_shards};
use crate::cluster::Cluster;
use crate::weir::{Home, Weir, said, wait_for};

#[test]
fn a_weir_with_other_rules_does_not_serve() {
    let cluster = Cluster::start(3);
    cluster.on_every_shard("CREATE TABLE orders (id bigint, user_id bigint)");
    let ours = sharded(&cluster, &[("s0", 0), ("s1", 1)], 2, "");
    let weir = Weir::with_rules(&cluster, &ours, TRUST);
    for (rules, differences) in [
        (
            sharded(&cluster, &[("s0", 0), ("s1", 1)], 4, ""),
            ["shard s0 was set up with other rules", "buckets=4", "buckets=2"],
        ),
        (
            sharded(&cluster, &[("s0", 0), ("s1", 1), ("s2", 2)], 2, ""),
            ["shard s0 was set up with other rules", "shards s0 s1 s2", "shards s0 s1"],
        ),
        (
            sharded(&cluster, &[("s1", 1), ("s0", 0)], 2, ""),
            ["was set up with other rules", "shards s1 s0", "shards s0 s1"],
        ),
        (
            sharded(&cluster, &[("s0", 1), ("s1", 0)], 2, ""),
            ["the server of shard s0 holds shard s1", "shard s0", "shard s1"],
        ),
    ] {
        let other = Home::new(&cluster, &rules, TRUST).run(&["serve"]);
        let text = said(&other);
        assert_eq!(other.status.code(), Some(1), "{text}");
        for difference in differences {
            assert!(text.contains(difference), "{difference:?} is not in:\n{text}");
        }
    }
    weir.psql("user=postgres dbname=shop", "INSERT INTO orders VALUES (1, 1)").unwrap();
    assert_eq!(cluster.shard(1).sql("shop", "SELECT count(*) FROM orders").as_deref(), Ok("1"));
    assert_eq!(cluster.shard(0).sql("shop", "SELECT count(*) FROM orders").as_deref(), Ok("0"));
}

#[test]
fn a_running_weir_opens_no_connection_to_a_shard_that_was_given_to_others() {
    let cluster = two_shards();
    let shards = [("s0", 0), ("s1", 1)];
    let weir = Weir::with_rules(&cluster, &sharded(&cluster, &shards, 2, ""), TRUST);
    let place = "user=postgres dbname=shop";
    weir.psql(place, "SELECT 1 FROM orders WHERE user_id = 1").unwrap();
    // Somebody else adopts other rules: the running weir's connections end.
    let other = Home::new(&cluster, &sharded(&cluster, &shards, 4, ""), TRUST);
    let adopted = other.run(&["rules", "adopt", "--rules", "rules.toml"]);
    assert!(adopted.status.success(), "{}", said(&adopted));
    for user in [0, 1] {
        let error =
            weir.psql(place, &format!("INSERT INTO orders VALUES (1, {user})")).unwrap_err();
        assert!(error.contains("was set up with other rules"), "{error}");
    }
    wait_for("weir not to be ready", || {
        weir.page("/readyz").is_some_and(|page| page.starts_with("HTTP/1.1 503"))
    });
    // With the file that the others have it serves again.
    weir.home().write("rules.toml", &sharded(&cluster, &shards, 4, ""));
    assert!(!weir.reload().contains("not reloaded"));
    wait_for("weir to be ready", || {
        weir.page("/readyz").is_some_and(|page| page.starts_with("HTTP/1.1 200"))
    });
    wait_for("the shards", || weir.psql(place, "INSERT INTO orders VALUES (1, 1)").is_ok());
}
