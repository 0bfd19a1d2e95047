//! Placement on real servers: who may serve, what set-up and adoption accept.
use crate::cluster::{Cluster, DATABASE};
use weir::backend::control::Client;
use weir::backend::placement::{self, Adopted, SetUp};
use weir::cli::servers::Servers;
use weir::ids::ShardId;
use weir::rules::{Rules, parse};

const TABLES: &str = "\
    CREATE TABLE orders (id int, user_id bigint, order_no text);
    CREATE TABLE products (id int, name text)";

/// Rules for these shards, in the order given; buckets in turn.
fn rules(cluster: &Cluster, shards: &[(&str, usize)], buckets: u32) -> Rules {
    let text = text(cluster, shards, buckets);
    parse(&text, "rules.toml").unwrap_or_else(|problems| panic!("{problems}\n{text}"))
}

fn text(cluster: &Cluster, shards: &[(&str, usize)], buckets: u32) -> String {
    let mut text = "database = \"shop\"\n".to_owned();
    for (name, server) in shards {
        let port = cluster.shard(*server).port();
        text += &format!(
            "[[shard]]\nname = \"{name}\"\nprimary = \"host=127.0.0.1 port={port} dbname={DATABASE}\"\n"
        );
    }
    text += &format!(
        "[[distribution]]\nname = \"by_user\"\nfunction = \"modulo\"\nkey_type = \"bigint\"\n\
         buckets = {buckets}\n\
         [[distribution]]\nname = \"by_order_no\"\nfunction = \"fnv32\"\nkey_type = \"text\"\n\
         buckets = 16\n\
         [[table]]\nname = \"orders\"\ndistribution = \"by_user\"\nkey = \"user_id\"\n\
         fallback = {{ key = \"order_no\", distribution = \"by_order_no\" }}\n\
         [[table]]\nname = \"products\"\nreference = true\n"
    );
    text
}

async fn connect(rules: &Rules) -> Vec<Client> {
    Servers::new("postgres").connect(rules).await.expect("the shards accept connections")
}

/// How a weir with these rules is refused.
async fn refusal(rules: &Rules) -> String {
    let clients = connect(rules).await;
    placement::verify_all(&clients, rules).await.expect_err("these rules are others").to_string()
}

#[tokio::test]
async fn weirs_with_other_rules_are_refused_and_told_what_differs() {
    let cluster = Cluster::start(3);
    cluster.on_every_shard(TABLES);
    let two = [("s0", 0), ("s1", 1)];
    let ours = rules(&cluster, &two, 4);
    let text = refusal(&ours).await;
    assert!(
        text.starts_with("shard s0 holds no placement") && text.contains("weir setup"),
        "{text}"
    );

    let mut clients = connect(&ours).await;
    assert_eq!(placement::set_up(&mut clients, &ours).await, Ok(SetUp::Done { shards: 2 }));
    assert_eq!(placement::set_up(&mut clients, &ours).await, Ok(SetUp::Already), "idempotent");
    let id = placement::verify_all(&clients, &ours).await.expect("these are the rules");
    assert_eq!(id.len(), 36);

    // Another function: the lines that differ.
    let text = refusal(&rules(&cluster, &two, 8)).await;
    assert!(text.starts_with("shard s0 was set up with other rules"), "{text}");
    let (rule, shard) =
        ("the rules say:   distribution by_user", "the shard says:  distribution by_user");
    assert!(text.contains(&format!("{rule}: bigint modulo buckets=8")), "{text}");
    assert!(text.contains(&format!("{shard}: bigint modulo buckets=4")), "{text}");
    assert!(!text.contains("order_no"), "equal lines are left out: {text}");

    // One shard more.
    let more = rules(&cluster, &[("s0", 0), ("s1", 1), ("s2", 2)], 4);
    let text = refusal(&more).await;
    assert!(text.contains("the rules say:   shards s0 s1 s2"), "{text}");
    assert!(text.contains("the shard says:  shards s0 s1\n"), "{text}");
    let mut clients = connect(&more).await;
    assert!(placement::set_up(&mut clients, &more).await.is_err(), "set-up replaces nothing");

    // Swapped addresses, and swapped order.
    let text = refusal(&rules(&cluster, &[("s0", 1), ("s1", 0)], 4)).await;
    assert!(text.starts_with("the server of shard s0 holds shard s1"), "{text}");
    let text = refusal(&rules(&cluster, &[("s1", 1), ("s0", 0)], 4)).await;
    assert!(text.contains("the rules say:   shards s1 s0"), "{text}");
}

#[tokio::test]
async fn servers_of_two_clusters_are_not_mixed() {
    let cluster = Cluster::start(4);
    cluster.on_every_shard(TABLES);
    for pair in [[("s0", 0), ("s1", 1)], [("s0", 2), ("s1", 3)]] {
        let rules = rules(&cluster, &pair, 4);
        placement::set_up(&mut connect(&rules).await, &rules).await.expect("new shards");
    }
    let text = refusal(&rules(&cluster, &[("s0", 0), ("s1", 3)], 4)).await;
    assert!(text.starts_with("shard s1 belongs to cluster"), "{text}");
}

#[tokio::test]
async fn an_interrupted_set_up_is_finished_by_another() {
    let cluster = Cluster::start(2);
    cluster.on_every_shard(TABLES);
    let rules = rules(&cluster, &[("s0", 0), ("s1", 1)], 4);
    placement::set_up(&mut connect(&rules).await, &rules).await.expect("new shards");
    cluster.shard(1).sql(DATABASE, "TRUNCATE weir.placement").unwrap();
    let done = placement::set_up(&mut connect(&rules).await, &rules).await;
    assert_eq!(done, Ok(SetUp::Done { shards: 1 }));
    placement::verify_all(&connect(&rules).await, &rules).await.expect("one cluster again");
}

#[tokio::test]
async fn rules_are_adopted_only_where_no_row_is_misplaced() {
    let cluster = Cluster::start(2);
    cluster.on_every_shard(TABLES);
    let two = [("s0", 0), ("s1", 1)];
    let old = rules(&cluster, &two, 4);
    // Users 0 and 2 and an order of a guest live on s0, user 1 on s1; under other maps they do not.
    cluster.on_every_shard("INSERT INTO products VALUES (1, 'tea'), (2, 'cup')");
    let guest = |no: &str| format!("INSERT INTO orders VALUES (9, NULL, '{no}')");
    cluster.shard(0).sql(DATABASE, "INSERT INTO orders VALUES (1, 0, 'A'), (2, 2, 'B')").unwrap();
    cluster.shard(1).sql(DATABASE, "INSERT INTO orders VALUES (3, 1, 'C')").unwrap();
    let home_of_g = {
        let distribution = &old.distributions[1];
        distribution.locate(&weir::sharding::Key::Text("G-1".into())).unwrap().1
    };
    cluster.shard(usize::from(home_of_g.0)).sql(DATABASE, &guest("G-1")).unwrap();
    placement::set_up(&mut connect(&old).await, &old).await.expect("every row is in its place");

    // 6 buckets: even users stay on s0, odd ones on s1.
    let fits = rules(&cluster, &two, 6);
    let bystander = connect(&old).await;
    assert_eq!(
        placement::adopt(&mut connect(&fits).await, &fits).await,
        Ok(Adopted::Done { epoch: 2 })
    );
    assert!(bystander[0].query("SELECT 1", &[]).await.is_err(), "no old weir goes on");
    assert_eq!(placement::adopt(&mut connect(&fits).await, &fits).await, Ok(Adopted::Already));
    assert!(placement::verify(&connect(&old).await[0], &old, ShardId(0)).await.is_err());

    // 1 bucket: everything on s0.
    let moved = rules(&cluster, &two, 1);
    let text = placement::adopt(&mut connect(&moved).await, &moved).await.unwrap_err().to_string();
    assert!(
        text.contains("1 row of public.orders on s1: user_id 1 is in bucket 0, which lives on s0"),
        "{text}"
    );
    placement::verify_all(&connect(&fits).await, &fits).await.expect("nothing has changed");

    // A reference table that is not the same everywhere.
    cluster.shard(1).sql(DATABASE, "UPDATE products SET name = 'pot' WHERE id = 2").unwrap();
    let again = rules(&cluster, &two, 8);
    let text = placement::adopt(&mut connect(&again).await, &again).await.unwrap_err().to_string();
    assert!(text.contains("public.products on s1: a reference table, but"), "{text}");
}

#[tokio::test]
async fn a_shard_more_is_adopted_when_the_map_leaves_the_rows_where_they_are() {
    let cluster = Cluster::start(3);
    cluster.on_every_shard(TABLES);
    let old = rules(&cluster, &[("s0", 0), ("s1", 1)], 4);
    cluster.shard(1).sql(DATABASE, "INSERT INTO orders VALUES (1, 7, 'A')").unwrap();
    placement::set_up(&mut connect(&old).await, &old).await.expect("every row is in its place");

    let three = [("s0", 0), ("s1", 1), ("s2", 2)];
    let in_turn = rules(&cluster, &three, 4);
    let text = placement::adopt(&mut connect(&in_turn).await, &in_turn).await;
    let text = text.expect_err("bucket 3 would be on s0").to_string();
    assert!(text.contains("user_id 7 is in bucket 3, which lives on s0"), "{text}");

    // The new shard takes a bucket that is empty.
    let written = self::text(&cluster, &three, 4)
        .replace("buckets = 4\n", "buckets = 4\nmap = { s0 = \"0\", s1 = \"1,3\", s2 = \"2\" }\n")
        .replace("buckets = 16\n", "buckets = 16\nshards = [\"s0\", \"s1\"]\n");
    let mapped = parse(&written, "rules.toml").unwrap();
    let adopted = placement::adopt(&mut connect(&mapped).await, &mapped).await;
    assert_eq!(adopted, Ok(Adopted::Done { epoch: 2 }));
    placement::verify_all(&connect(&mapped).await, &mapped).await.expect("one cluster of three");

    // Nobody may forget a shard again: its rows could not be checked.
    let text = placement::adopt(&mut connect(&old).await, &old).await.unwrap_err().to_string();
    assert!(text.starts_with("shard s2 is in the placement but not in the rules"), "{text}");
}
