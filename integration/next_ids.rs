//! weir.next_id(): ids that grow with time, and that no two rows of the cluster have.
use crate::cluster::{Cluster, DATABASE};
use crate::schema::{client, refused, texts, weirs};
use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio_postgres::NoTls;
use tokio_postgres::error::SqlState;

/// Milliseconds since 1970, number of the shard, counter.
fn parts(id: i64) -> (u64, i64, i64) {
    (id as u64 / (1 << 22) + 1_577_836_800_000, id >> 12 & 1023, id & 4095)
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

fn numbers(rows: &[String]) -> Vec<i64> {
    rows.iter().map(|row| row.parse().unwrap()).collect()
}

#[tokio::test]
async fn ids_that_grow_with_time_are_given_once() {
    let cluster = Cluster::start(3);
    let weirs = weirs(&cluster, 2);
    let one = client(&weirs[0]).await;
    for create in [
        "CREATE TABLE orders (user_id bigint, id bigint DEFAULT weir.next_id() PRIMARY KEY)",
        "CREATE TABLE users (id bigint DEFAULT weir.next_id() PRIMARY KEY, name text)",
        "CREATE TABLE products (id bigint DEFAULT weir.next_id() PRIMARY KEY, name text)",
    ] {
        one.batch_execute(create).await.unwrap();
    }
    // The column of a row is filled on the row's shard, whose number is in it.
    let before = now();
    let mut seen = BTreeSet::new();
    for user in 0..9i64 {
        let insert = format!(
            "INSERT INTO orders (user_id) VALUES ({user}), ({user}), ({}) RETURNING id, user_id",
            user + 1
        );
        for row in one.query(&insert, &[]).await.unwrap() {
            let (id, user): (i64, i64) = (row.get(0), row.get(1));
            let (time, shard, _) = parts(id);
            assert_eq!(shard, user % 3, "modulo 64 in turn over three shards");
            assert!((before..=now() + 1).contains(&time), "{time}");
            assert!(seen.insert(id), "{id} came twice");
        }
    }
    // A key is drawn on the home shard, and found where it belongs.
    let prepared =
        one.prepare("INSERT INTO users (name) VALUES ($1), ($1) RETURNING id").await.unwrap();
    let mut last = 0;
    for _ in 0..20 {
        let rows = one.query(&prepared, &[&"a"]).await.unwrap();
        for id in rows.iter().map(|row| row.get::<_, i64>(0)) {
            assert!(id > last && parts(id).1 == 0, "{id} behind {last}");
            last = id;
            assert!(seen.insert(id));
            let there = format!("SELECT count(*) FROM users WHERE id = {id}");
            assert_eq!(texts(&one, &there).await, ["1"]);
        }
    }
    // All copies of a reference table have the same.
    one.batch_execute("INSERT INTO products (name) VALUES ('a'), ('b')").await.unwrap();
    let copies: BTreeSet<String> = cluster
        .shards()
        .iter()
        .map(|shard| {
            shard.sql(DATABASE, "SELECT string_agg(id::text, ' ' ORDER BY id) FROM products")
        })
        .map(Result::unwrap)
        .collect();
    assert_eq!(copies.len(), 1, "{copies:?}");
    let upsert =
        "INSERT INTO products (name) VALUES ('a') ON CONFLICT (id) DO UPDATE SET name = 'b'";
    assert_eq!(refused(&one, upsert).await, SqlState::FEATURE_NOT_SUPPORTED);
    at_once_on_all(&weirs, &mut seen).await;
    the_clock_goes_back(&cluster, &one, &mut seen).await;
}

/// Many sessions of two weirs, and more than fit into a millisecond in one statement.
async fn at_once_on_all(weirs: &[crate::weir::Weir], seen: &mut BTreeSet<i64>) {
    let mut drawing = Vec::new();
    for session in 0..8 {
        let client = client(&weirs[session % 2]).await;
        drawing.push(tokio::spawn(async move {
            let mut drawn = Vec::new();
            for round in 0..20 {
                let text = match round % 2 {
                    0 => "SELECT weir.next_id() FROM generate_series(1, 200)".to_owned(),
                    _ => format!(
                        "INSERT INTO orders (user_id) SELECT {session} FROM generate_series(1, 50) \
                         RETURNING id"
                    ),
                };
                let ids = numbers(&texts(&client, &text).await);
                assert!(ids.is_sorted(), "one session's ids grow");
                drawn.extend(ids);
            }
            drawn
        }));
    }
    for drawn in drawing {
        for id in drawn.await.unwrap() {
            assert!(seen.insert(id), "{id} came twice");
        }
    }
    let one = client(&weirs[0]).await;
    let many = texts(&one, "SELECT weir.next_id() FROM generate_series(1, 20000)").await;
    for id in numbers(&many) {
        assert!(seen.insert(id), "{id} came twice");
    }
}

/// What has been given last counts where the clock is behind it, also after a restart; an id that is
/// waited for in vain keeps nobody else from getting one.
async fn the_clock_goes_back(
    cluster: &Cluster,
    one: &tokio_postgres::Client,
    seen: &mut BTreeSet<i64>,
) {
    let home = cluster.shard(0);
    let ahead =
        "SELECT setval('weir.id_clock', last_value + (3600000::bigint << 12)) FROM weir.id_clock";
    home.sql(DATABASE, ahead).unwrap();
    let ids = numbers(&texts(one, "SELECT weir.next_id() FROM generate_series(1, 10000)").await);
    assert!(ids.is_sorted() && parts(ids[0]).0 > now() + 3_000_000);
    assert!(ids.into_iter().all(|id| seen.insert(id)));
    let (other, connection) = tokio_postgres::connect(&home.dsn(DATABASE), NoTls).await.unwrap();
    tokio::spawn(async move { drop(connection.await) });
    other.batch_execute("SELECT pg_advisory_lock(2003134834, 5)").await.unwrap();
    one.batch_execute("SET statement_timeout = '200ms'").await.unwrap();
    assert_eq!(refused(one, "SELECT weir.next_id()").await, SqlState::QUERY_CANCELED);
    one.batch_execute("RESET statement_timeout").await.unwrap();
    other.batch_execute("SELECT pg_advisory_unlock(2003134834, 5)").await.unwrap();
    let id = numbers(&texts(one, "SELECT weir.next_id()").await)[0];
    assert!(seen.insert(id));
    // In a block it holds no lock.
    one.batch_execute("BEGIN; SELECT weir.next_id()").await.unwrap();
    let held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = 2003134834 AND objid = 5";
    assert_eq!(home.sql(DATABASE, held).unwrap(), "0");
    one.batch_execute("ROLLBACK").await.unwrap();
}
