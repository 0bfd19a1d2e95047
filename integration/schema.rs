//! Schema changes through weir: on all shards or none, and known to every weir at once.
use crate::cluster::{Cluster, DATABASE};
use crate::raw::Raw;
use crate::weir::Weir;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

pub const SETTINGS: &str = "\
    [auth]\nmethod = 'trust'\n\
    [pool]\nsize = 4\n\
    [control]\ncatalog_interval = '300ms'\n";

/// Orders by user on all shards; products everywhere; migrations on s0.
pub fn rules(cluster: &Cluster) -> String {
    let mut text = "database = \"shop\"\n".to_owned();
    for (index, shard) in cluster.shards().iter().enumerate() {
        let dsn = shard.dsn(DATABASE).replace(" user=postgres", "");
        text += &format!("[[shard]]\nname = \"s{index}\"\nprimary = \"{dsn}\"\n");
    }
    text += "[[distribution]]\nname = \"by_user\"\nfunction = \"modulo\"\nkey_type = \"bigint\"\n\
             buckets = 64\n";
    for table in ["orders", "notes", "items"] {
        text += &format!(
            "[[table]]\nname = \"{table}\"\ndistribution = \"by_user\"\nkey = \"user_id\"\n"
        );
    }
    text += "[[table]]\nname = \"users\"\ndistribution = \"by_user\"\nkey = \"id\"\n\
             [[table]]\nname = \"products\"\nreference = true\n\
             [[table]]\nname = \"migrations\"\nshard = \"s0\"\n";
    text
}

pub fn weirs(cluster: &Cluster, count: usize) -> Vec<Weir> {
    (0..count).map(|_| Weir::with_rules(cluster, &rules(cluster), SETTINGS)).collect()
}

pub async fn client(weir: &Weir) -> Client {
    let config = format!("host=127.0.0.1 port={} user=postgres dbname=shop", weir.port());
    let (client, connection) = tokio_postgres::connect(&config, NoTls).await.expect("weir serves");
    tokio::spawn(async move { drop(connection.await) });
    client
}

/// The first column of a simple query's rows.
pub async fn texts(client: &Client, sql: &str) -> Vec<String> {
    let messages =
        client.simple_query(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    let first = |message: &SimpleQueryMessage| match message {
        SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or("NULL").to_owned()),
        _ => None,
    };
    messages.iter().filter_map(first).collect()
}

pub async fn refused(client: &Client, sql: &str) -> SqlState {
    let error = client.simple_query(sql).await.expect_err(sql);
    error.code().unwrap_or_else(|| panic!("{sql}: {error:?}")).clone()
}

fn on_each_shard(cluster: &Cluster, sql: &str) -> Vec<String> {
    cluster.shards().iter().map(|shard| shard.sql(DATABASE, sql).unwrap()).collect()
}

#[tokio::test]
async fn what_one_weir_changes_another_knows_at_once() {
    let cluster = Cluster::start(3);
    let weirs = weirs(&cluster, 2);
    let (one, other) = (client(&weirs[0]).await, client(&weirs[1]).await);
    for round in 0..5 {
        one.batch_execute("CREATE TABLE orders (user_id bigint, note text)").await.unwrap();
        // Without a column list this needs the catalog; so does a query with a whole row.
        other.batch_execute("INSERT INTO orders VALUES (1, 'a')").await.unwrap();
        let statement = "SELECT * FROM orders WHERE user_id = $1";
        let row = other.query_one(statement, &[&1i64]).await.unwrap();
        assert_eq!(row.columns().len(), 2, "round {round}");

        one.batch_execute("ALTER TABLE orders ADD COLUMN paid boolean DEFAULT true").await.unwrap();
        other.batch_execute("INSERT INTO orders VALUES (2, 'b', false)").await.unwrap();
        // Prepared anew, so with the new columns, on whichever server had prepared it before.
        let row = other.query_one(statement, &[&1i64]).await.unwrap();
        assert_eq!(row.columns().len(), 3, "round {round}");

        other.batch_execute("DROP TABLE orders").await.unwrap();
        let gone = one.query(statement, &[&1i64]).await.expect_err("it is gone");
        assert_eq!(gone.code(), Some(&SqlState::UNDEFINED_TABLE), "round {round}");
    }
}

#[tokio::test]
async fn a_migration_is_one_transaction_on_all_shards() {
    let cluster = Cluster::start(3);
    let weirs = weirs(&cluster, 1);
    let one = client(&weirs[0]).await;
    one.batch_execute("CREATE TABLE migrations (version bigint)").await.unwrap();
    assert_eq!(
        on_each_shard(&cluster, "SELECT to_regclass('migrations') IS NULL"),
        ["f", "t", "t"]
    );
    let migration = [
        "CREATE TABLE orders (user_id bigint, total numeric)",
        "CREATE INDEX ON orders (user_id)",
        "ALTER TABLE orders ADD COLUMN note text",
        // Planned with what this transaction has made.
        "INSERT INTO orders VALUES (1, 2.50, 'first')",
        "CREATE VIEW totals AS SELECT sum(total) FROM orders",
        "INSERT INTO migrations VALUES (1)",
    ];
    for end in ["ROLLBACK", "COMMIT"] {
        one.batch_execute("BEGIN").await.unwrap();
        for statement in migration {
            one.batch_execute(statement).await.unwrap();
        }
        assert_eq!(texts(&one, "SELECT note FROM orders WHERE user_id = 1").await, ["first"]);
        one.batch_execute(end).await.unwrap();
        let there = if end == "COMMIT" { "t" } else { "f" };
        let found = on_each_shard(&cluster, "SELECT to_regclass('orders') IS NOT NULL");
        assert_eq!(found, [there; 3], "after {end}");
    }
    assert_eq!(texts(&one, "SELECT version FROM migrations").await, ["1"]);
    assert_eq!(texts(&one, "SELECT note FROM orders WHERE user_id = 1").await, ["first"]);
    // In one message, as some tools send them; and by a driver that prepares everything.
    one.batch_execute(
        "ALTER TABLE orders ADD COLUMN a int; ALTER TABLE orders ADD COLUMN b int; \
         INSERT INTO migrations VALUES (2)",
    )
    .await
    .unwrap();
    one.execute("ALTER TABLE orders ADD COLUMN c int", &[]).await.unwrap();
    let columns = "SELECT count(*) FROM pg_attribute WHERE attrelid = 'orders'::regclass \
                   AND attnum > 0 AND attname IN ('a', 'b', 'c')";
    assert_eq!(on_each_shard(&cluster, columns), ["3"; 3]);
}

#[tokio::test]
async fn a_change_that_fails_on_one_shard_is_made_on_none() {
    let cluster = Cluster::start(3);
    let weirs = weirs(&cluster, 1);
    let one = client(&weirs[0]).await;
    one.batch_execute("CREATE TABLE orders (user_id bigint, no text)").await.unwrap();
    // Two equal numbers on one shard only: user 1 lives on s1.
    one.batch_execute("INSERT INTO orders VALUES (1, 'x'); INSERT INTO orders VALUES (1, 'x')")
        .await
        .unwrap();
    let unique = "ALTER TABLE orders ADD CONSTRAINT once UNIQUE (user_id, no)";
    assert_eq!(refused(&one, unique).await, SqlState::UNIQUE_VIOLATION);
    let count = "SELECT count(*) FROM pg_constraint WHERE conname = 'once'";
    assert_eq!(on_each_shard(&cluster, count), ["0"; 3]);

    // Deferred: PostgreSQL would only complain at COMMIT, when another shard has committed.
    let deferred = format!("{unique} DEFERRABLE INITIALLY DEFERRED");
    one.batch_execute("DELETE FROM orders WHERE user_id = 1").await.unwrap();
    one.batch_execute("BEGIN").await.unwrap();
    one.batch_execute(&deferred).await.unwrap();
    one.batch_execute("INSERT INTO orders VALUES (1, 'x'); INSERT INTO orders VALUES (1, 'x')")
        .await
        .unwrap();
    assert_eq!(refused(&one, "COMMIT").await, SqlState::UNIQUE_VIOLATION);
    assert_eq!(on_each_shard(&cluster, count), ["0"; 3]);
    // The session goes on.
    assert_eq!(texts(&one, "SELECT count(*) FROM orders WHERE user_id = 1").await, ["0"]);
}

#[tokio::test]
async fn a_shard_that_is_lost_before_the_commit_leaves_all_unchanged() {
    let mut cluster = Cluster::start(3);
    let weirs = weirs(&cluster, 1);
    let one = client(&weirs[0]).await;
    one.batch_execute("BEGIN; CREATE TABLE orders (user_id bigint)").await.unwrap();
    cluster.crash(2);
    one.batch_execute("COMMIT").await.expect_err("s2 is gone");
    for shard in [0, 1] {
        let found = cluster.shard(shard).sql(DATABASE, "SELECT to_regclass('orders') IS NULL");
        assert_eq!(found.unwrap(), "t");
    }
}

#[tokio::test]
async fn changes_behind_weirs_back_are_found() {
    let cluster = Cluster::start(2);
    let weirs = weirs(&cluster, 1);
    let one = client(&weirs[0]).await;
    let insert = "INSERT INTO orders VALUES (3, 'c')";
    one.batch_execute("CREATE TABLE orders (user_id bigint)").await.unwrap();
    cluster.on_every_shard("ALTER TABLE orders RENAME TO old");
    cluster.on_every_shard("CREATE TABLE orders (note text, user_id bigint)");
    let insert = insert.replace("(3, 'c')", "('c', 3)");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while let Err(error) = one.batch_execute(&insert).await {
        assert!(std::time::Instant::now() < deadline, "{error:?}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(texts(&one, "SELECT note FROM orders WHERE user_id = 3").await, ["c"]);
}

#[tokio::test]
async fn a_type_has_the_home_shards_id_on_every_shard() {
    let cluster = Cluster::start(3);
    // Objects on one shard only make all later ids differ.
    for number in 0..7 {
        cluster.shard(1).sql(DATABASE, &format!("CREATE TYPE junk{number} AS (a int)")).unwrap();
    }
    let weirs = weirs(&cluster, 1);
    let one = client(&weirs[0]).await;
    one.batch_execute("CREATE TYPE status AS ENUM ('open', 'paid')").await.unwrap();
    one.batch_execute("CREATE TABLE orders (user_id bigint, state status)").await.unwrap();
    let oids = on_each_shard(&cluster, "SELECT 'status'::regtype::oid");
    assert_ne!(oids[0], oids[1], "the test is about differing ids");
    let home: u32 = oids[0].parse().unwrap();
    let insert = one.prepare("INSERT INTO orders VALUES ($1, $2)").await.unwrap();
    assert_eq!(insert.params()[1].oid(), home);
    let select = one.prepare("SELECT state FROM orders WHERE user_id = $1").await.unwrap();
    assert_eq!(select.columns()[0].type_().oid(), home);
    for user in 0..9i64 {
        let state = if user % 2 == 0 { Status::Open } else { Status::Paid };
        one.execute(&insert, &[&user, &state]).await.unwrap();
        let row = one.query_one(&select, &[&user]).await.unwrap();
        assert_eq!(row.columns()[0].type_().oid(), home);
        assert_eq!(row.get::<_, Status>(0), state, "binary");
        let text = format!("SELECT state FROM orders WHERE user_id = {user}");
        assert_eq!(texts(&one, &text).await.len(), 1, "text");
    }
}

/// The enum as a driver knows it.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Status {
    Open,
    Paid,
}

impl tokio_postgres::types::ToSql for Status {
    fn to_sql(
        &self,
        _: &tokio_postgres::types::Type,
        out: &mut bytes::BytesMut,
    ) -> Result<tokio_postgres::types::IsNull, Box<dyn std::error::Error + Sync + Send>> {
        out.extend_from_slice(match self {
            Status::Open => b"open",
            Status::Paid => b"paid",
        });
        Ok(tokio_postgres::types::IsNull::No)
    }

    fn accepts(kind: &tokio_postgres::types::Type) -> bool {
        kind.name() == "status"
    }

    tokio_postgres::types::to_sql_checked!();
}

impl<'a> tokio_postgres::types::FromSql<'a> for Status {
    fn from_sql(
        _: &tokio_postgres::types::Type,
        raw: &'a [u8],
    ) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        match raw {
            b"open" => Ok(Status::Open),
            b"paid" => Ok(Status::Paid),
            other => Err(format!("{other:?}").into()),
        }
    }

    fn accepts(kind: &tokio_postgres::types::Type) -> bool {
        kind.name() == "status"
    }
}

/// One shard after the other, and where it ends is told.
#[tokio::test]
async fn what_cannot_run_in_a_transaction_runs_on_each_shard_by_itself() {
    let cluster = Cluster::start(3);
    let weirs = weirs(&cluster, 1);
    let mut one = Raw::connect(weirs[0].port(), &[("user", "postgres"), ("database", DATABASE)]);
    let mut run = |sql: &str| one.query(sql).take_transcript();
    run("CREATE TABLE orders (user_id bigint, id int)");
    // The second has the same id twice: user 1 and user 4 are on s1.
    run("INSERT INTO orders VALUES (0, 1), (1, 1), (2, 1), (4, 1)");
    let valid = "SELECT coalesce(string_agg(indexrelid::regclass || ' ' || indisvalid, ',' ORDER BY 1), '') \
                 FROM pg_index WHERE indrelid = 'orders'::regclass";
    let made = run("CREATE INDEX CONCURRENTLY by_id ON orders (id)");
    assert!(made.contains("shard s0 is done, 1 of 3") && made.contains("shard s2 is done, 3 of 3"));
    assert!(made.ends_with("C CREATE INDEX\\x00\nZ I"), "{made}");
    assert_eq!(on_each_shard(&cluster, valid), ["by_id true"; 3]);
    let failed = run("CREATE UNIQUE INDEX CONCURRENTLY once ON orders (id)");
    assert!(failed.contains("C=23505") && failed.ends_with("Z I"), "{failed}");
    assert!(failed.contains("it is done on s0, and not on s1; it has not begun on s2"), "{failed}");
    assert!(failed.contains("shard s1: index once of orders is not valid"), "{failed}");
    assert!(failed.contains("/* weir: shard=s1 */ DROP INDEX CONCURRENTLY once"), "{failed}");
    assert_eq!(
        on_each_shard(&cluster, valid),
        ["by_id true,once true", "by_id true,once false", "by_id true"]
    );
    // As the hint says.
    run("DELETE FROM orders WHERE user_id = 4");
    for sql in [
        "/* weir: shard=s1 */ DROP INDEX CONCURRENTLY once",
        "/* weir: shard=s1 */ CREATE UNIQUE INDEX CONCURRENTLY once ON orders (id)",
        "/* weir: shard=s2 */ CREATE UNIQUE INDEX CONCURRENTLY once ON orders (id)",
    ] {
        let said = run(sql);
        assert!(!said.contains("E V="), "{sql}: {said}");
    }
    assert_eq!(on_each_shard(&cluster, valid), ["by_id true,once true"; 3]);
    let missing = run("CREATE INDEX CONCURRENTLY ON orders (nothing)");
    assert!(missing.contains("C=42703") && !missing.contains("it is done"), "{missing}");
    for (sql, tag) in [
        ("VACUUM orders", "VACUUM"),
        ("VACUUM (ANALYZE, VERBOSE false) orders, orders", "VACUUM"),
        ("ANALYZE", "ANALYZE"),
        ("REINDEX INDEX CONCURRENTLY once", "REINDEX"),
        ("REINDEX (VERBOSE) TABLE orders", "REINDEX"),
        ("CLUSTER orders USING once", "CLUSTER"),
        ("DROP INDEX CONCURRENTLY once", "DROP INDEX"),
    ] {
        let said = run(sql);
        assert!(said.ends_with(&format!("C {tag}\\x00\nZ I")), "{sql}: {said}");
        assert_eq!(said.matches(" is done, ").count(), 3, "{sql}: {said}");
    }
    // In a block PostgreSQL says no, to all but ANALYZE and the like.
    for (sql, code) in [
        ("BEGIN; VACUUM orders", "C=25001"),
        ("SELECT 1; DROP INDEX CONCURRENTLY by_id", "C=25001"),
        ("BEGIN; ANALYZE orders; COMMIT", "C COMMIT"),
        ("REINDEX DATABASE shop", "C=0A000"),
    ] {
        let said = run(sql);
        assert!(said.contains(code), "{sql}: {said}");
        run("ROLLBACK");
    }
    for sql in ["CREATE INDEX CONCURRENTLY again ON orders (id)", "DROP INDEX CONCURRENTLY again"] {
        one.parse("", sql, &[]).bind("", "", &[]).execute("", 0).sync();
        let said = one.take_transcript();
        assert!(!said.contains("E V=") && said.ends_with("Z I"), "{sql}: {said}");
    }
    // Behind something that has written, in one pipeline, it is in a transaction.
    let insert = "INSERT INTO orders VALUES (7, 9)";
    for sql in [insert, "VACUUM orders"] {
        one.parse("", sql, &[]).bind("", "", &[]).execute("", 0);
    }
    one.sync();
    let said = one.take_transcript();
    assert!(said.contains("C=25001") && said.ends_with("Z I"), "{said}");
    assert_eq!(one.value("SELECT count(*) FROM orders WHERE user_id = 7"), "0");
    assert_eq!(on_each_shard(&cluster, valid), ["by_id true"; 3]);
}
