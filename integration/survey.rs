//! `weir check --connect`: what it says about real servers.
use crate::cluster::{Cluster, DATABASE};
use crate::weir::{Home, said};
use weir::cli::check::compare;
use weir::cli::servers::Servers;
use weir::cli::{setup, shop};
use weir::rules::{Rules, parse};

fn shop_rules(cluster: &Cluster) -> Rules {
    let dsn = |server: &weir::cli::throwaway::Postgres| {
        format!("host=127.0.0.1 port={} dbname={DATABASE}", server.port())
    };
    let shards: Vec<String> = cluster.shards().iter().map(dsn).collect();
    let text = shop::rules(&shards, "host=127.0.0.1 port=1 dbname=gather");
    parse(&text, "rules.toml").unwrap_or_else(|problems| panic!("{problems}\n{text}"))
}

async fn differences(rules: &Rules) -> Vec<String> {
    let differences = compare(rules, &Servers::new("postgres")).await.expect("the shards answer");
    differences.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn the_example_has_notes_but_no_problems() {
    let cluster = Cluster::start(2);
    cluster.on_every_shard(shop::SCHEMA);
    let rules = shop_rules(&cluster);
    let found = differences(&rules).await;
    assert!(found[0].starts_with("problem: shard s0 holds no placement"), "{found:#?}");
    setup::set_up(&rules, &Servers::new("postgres")).await.expect("new shards");
    let found = differences(&rules).await;
    assert_eq!(
        found,
        [
            "note: public.audit_log: lives on s0; never read on s1",
            "note: public.order_items: order_items_order_no_fkey references public.orders without \
             the key: both rows must carry the same one",
            "note: public.order_items: order_items_order_no_line_no_key (order_no, line_no) does \
             not contain the key: unique on each shard only",
            "note: public.order_items: order_items_pkey (id) holds on each shard; values drawn \
             from its sequence differ everywhere",
            "note: public.orders: orders_order_no_key (order_no) does not contain the key: unique \
             on each shard only",
            "note: public.orders: orders_pkey (id) holds on each shard; values drawn from its \
             sequence differ everywhere",
            "note: public.payments: payments_order_no_fkey references public.orders without the \
             key: both rows must carry the same one",
            "note: public.payments: payments_pkey (id) holds on each shard; values drawn from its \
             sequence differ everywhere",
        ],
        "{found:#?}"
    );
}

#[tokio::test]
async fn each_difference_between_shards_is_named() {
    let cluster = Cluster::start(2);
    cluster.on_every_shard(shop::SCHEMA);
    let mut rules = shop_rules(&cluster);
    setup::set_up(&rules, &Servers::new("postgres")).await.expect("new shards");
    let before = differences(&rules).await;
    cluster
        .shard(1)
        .sql(
            DATABASE,
            "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END'; \
             CREATE TRIGGER touch BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION touch(); \
             ALTER TABLE order_items DROP CONSTRAINT order_items_user_id_fkey; \
             ALTER TABLE order_items ALTER user_id TYPE int; \
             ALTER TABLE orders ADD CONSTRAINT placed CHECK (true); \
             ALTER TABLE orders ALTER order_no TYPE text COLLATE \"C\"; \
             ALTER TABLE products ADD color text; \
             DROP TABLE payments; \
             ALTER DATABASE shop SET DateStyle = 'German'; CREATE ROLE painter; \
             ALTER ROLE painter SET extra_float_digits = 0; \
             ALTER ROLE painter IN DATABASE shop SET TimeZone = 'Asia/Tokyo'; \
             CREATE TABLE strangers (id int)",
        )
        .unwrap();
    cluster
        .shard(0)
        .sql(
            DATABASE,
            "CREATE TABLE carts (id int PRIMARY KEY); \
             ALTER TABLE users ADD cart int REFERENCES carts, \
                               ADD last int REFERENCES audit_log (id)",
        )
        .unwrap();
    let audit = rules.tables.iter_mut().find(|table| table.name == "audit_log");
    audit.expect("the example lists it").hot_key = vec!["id".to_owned(), "place".to_owned()];
    let after = differences(&rules).await;
    let new: Vec<&String> = after.iter().filter(|line| !before.contains(line)).collect();
    assert_eq!(
        new,
        [
            "problem: the default of datestyle differs: German, DMY on s1, ISO, MDY on s0",
            "problem: the default of extra_float_digits of role painter differs: 0 on s1, nothing on \
             s0",
            "problem: the default of timezone of role painter in the database differs: Asia/Tokyo on \
             s1, nothing on s0",
            "problem: public.order_items: column user_id differs: bigint on s0, integer on s1",
            "problem: public.order_items: user_id is integer, but the distribution's key_type is \
             bigint",
            "problem: public.orders: column order_no differs: text collate C not null on s1, text \
             not null on s0",
            "problem: public.payments: is missing on s1",
            "problem: public.products: column color differs: missing on s0, text on s1",
            "problem: public.users: column cart differs: integer on s0, missing on s1",
            "problem: public.users: column last differs: integer on s0, missing on s1",
            "problem: public.users: users_cart_fkey references public.carts, which no rule names",
            "problem: public.users: users_last_fkey references public.audit_log, which lives on \
             s0 only",
            "note: public.audit_log: hot_key names place, which it does not have: nobody queues",
            "note: public.carts: no rule names it: statements that do are refused",
            "note: public.orders: trigger touch runs before a row is written: it must not change \
             user_id or order_no",
            "note: public.strangers: no rule names it: statements that do are refused",
        ],
        "{new:#?}"
    );
}

#[tokio::test]
async fn constraints_that_cannot_hold_across_shards_are_named() {
    let cluster = Cluster::start(2);
    cluster.on_every_shard(shop::SCHEMA);
    let rules = shop_rules(&cluster);
    setup::set_up(&rules, &Servers::new("postgres")).await.expect("new shards");
    let before = differences(&rules).await;
    cluster.on_every_shard(
        "CREATE EXTENSION btree_gist; \
         ALTER TABLE products ADD best bigint REFERENCES users; \
         ALTER TABLE audit_log ADD who bigint REFERENCES users, ADD what bigint REFERENCES products, \
                               ADD before int REFERENCES audit_log (id); \
         ALTER TABLE users ADD seen daterange, \
                           ADD CONSTRAINT seen_once EXCLUDE USING gist (seen WITH &&), \
                           ADD CONSTRAINT each_once EXCLUDE USING gist (id WITH =, seen WITH &&), \
                           ADD CONSTRAINT other_once EXCLUDE USING gist (id WITH <>, name WITH =)",
    );
    let after = differences(&rules).await;
    let new: Vec<&String> = after.iter().filter(|line| !before.contains(line)).collect();
    assert_eq!(
        new,
        [
            "problem: public.audit_log: audit_log_who_fkey references public.users, which is sharded: \
             no shard has all of its rows",
            "problem: public.products: products_best_fkey references public.users, which is sharded: \
             no shard has all of its rows",
            "note: public.users: other_once (name) does not exclude by equal keys: it holds on each \
             shard only",
            "note: public.users: seen_once does not exclude by equal keys: it holds on each shard only",
        ],
        "{new:#?}"
    );
}

#[test]
fn pools_that_are_larger_than_their_servers_are_warned_about() {
    let cluster = Cluster::start(1);
    let (server, port) = (cluster.shard(0), cluster.shard(0).port());
    let rules = format!(
        "database = '{DATABASE}'\n[[shard]]\nname = 'only'\n\
         primary = 'host=127.0.0.1 port={port} dbname={DATABASE}'\n"
    );
    let allowed: usize = server.sql("postgres", "SHOW max_connections").unwrap().parse().unwrap();
    let ask = "SELECT current_setting('superuser_reserved_connections')::int \
               + coalesce(current_setting('reserved_connections', true)::int, 0)";
    let reserved: usize = server.sql("postgres", ask).unwrap().parse().unwrap();
    // One weir fits to the last connection: its pool, batch and seven of its own.
    let size = allowed - reserved - 5 - 7;
    let settings = format!("[pool]\nsize = {size}\n[[user]]\nname = 'app'\n");
    let home = Home::new(&cluster, &rules, &settings);
    let check = |weirs: &str| {
        let asked = ["check", "rules.toml", "--connect", "--config", "weir.toml"];
        let output = home.run(&[&asked[..], &["--weirs", weirs]].concat());
        assert!(output.status.success(), "{}", said(&output));
        said(&output)
    };
    let said = check("1");
    assert!(said.contains("the servers have room for its pools"), "{said}");
    let said = check("2");
    let (room, wanted) = (allowed - reserved, 2 * (allowed - reserved));
    let warning = format!(
        "warning: server 127.0.0.1:{port} (shard only of {DATABASE}) has room for {room} \
         connections (max_connections {allowed} - {reserved} reserved), and 2 weirs may open \
         {wanted}:"
    );
    assert!(said.contains(&warning), "{said}");
    assert!(said.contains(&format!("1 user x (interactive {size} + batch 5)")), "{said}");
}
