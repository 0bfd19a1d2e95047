//! The gather database has the shards' schema and no rows: it follows what is changed through weir, and
//! what it does not follow is found out. Nothing but statements that gather depends on it.
use crate::cluster::{Cluster, DATABASE};
use crate::raw::Raw;
use crate::schema::{SETTINGS, client, refused, rules, texts};
use crate::weir::{Home, Weir, said, wait_for};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

/// Orders by user on all shards, products everywhere, migrations on s0, reports on s1.
fn with_gather(cluster: &Cluster, dsn: &str) -> String {
    let reports = "[[table]]\nname = \"reports\"\nshard = \"s1\"\n";
    format!("{}{reports}[gather]\ndsn = \"{dsn}\"\n", rules(cluster))
}

fn start(cluster: &Cluster) -> Weir {
    Weir::with_rules(cluster, &with_gather(cluster, &cluster.gather()), SETTINGS)
}

fn is_ready(weir: &Weir) -> bool {
    let page = weir.page("/metrics").unwrap();
    page.lines().any(|line| line == "weir_gather_ready{database=\"shop\"} 1")
}

/// What the gather database says.
fn there(cluster: &Cluster, sql: &str) -> String {
    cluster.shard(0).sql("gather", sql).unwrap()
}

/// Why it cannot be used, by the last line about it in the log.
fn why(weir: &Weir) -> String {
    let log = weir.log();
    let last = log.lines().rfind(|line| line.contains("the gather database"));
    last.unwrap_or_default().to_owned()
}

async fn run(client: &Client, statements: &[&str]) {
    for statement in statements {
        let outcome = client.batch_execute(statement).await;
        outcome.unwrap_or_else(|error| panic!("{statement}: {error:?}"));
    }
}

#[tokio::test]
async fn the_gather_database_follows_each_change_and_has_no_rows() {
    let cluster = Cluster::start(3);
    let weir = start(&cluster);
    assert!(is_ready(&weir), "both are empty: {}", why(&weir));
    let one = client(&weir).await;
    run(
        &one,
        &[
            "CREATE TYPE status AS ENUM ('open')",
            "CREATE TABLE orders (user_id bigint, total numeric(10, 2), state status)",
            "ALTER TYPE status ADD VALUE 'paid'",
            "INSERT INTO orders VALUES (1, 2.5, 'paid')",
            // On s1 only, and on s0 only; one of them with rows.
            "CREATE TABLE reports (id int PRIMARY KEY, at timestamptz)",
            "CREATE TABLE migrations AS SELECT n AS version FROM generate_series(1, 3) n",
            "CREATE VIEW totals AS SELECT sum(total) FROM orders",
            "CREATE FUNCTION twice(n int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 2 * n'",
            "BEGIN; ALTER TABLE orders ADD COLUMN note text; ALTER TABLE reports ADD COLUMN x int",
        ],
    )
    .await;
    // The open transaction is nobody else's matter.
    assert_eq!(there(&cluster, "SELECT to_regclass('orders') IS NOT NULL"), "t");
    run(&one, &["ROLLBACK"]).await;
    assert!(is_ready(&weir), "{}", why(&weir));
    run(&one, &["BEGIN; ALTER TABLE orders ADD COLUMN note text; DROP TABLE reports; COMMIT"])
        .await;
    let prepared = one.prepare("CREATE INDEX by_user ON orders (user_id)").await.unwrap();
    one.execute(&prepared, &[]).await.unwrap();
    assert!(is_ready(&weir), "{}", why(&weir));
    let columns = "SELECT string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' \
                   ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'orders'::regclass AND attnum > 0";
    assert_eq!(
        there(&cluster, columns),
        "user_id bigint, total numeric(10,2), state status, note text"
    );
    assert_eq!(there(&cluster, "SELECT count(*) FROM migrations"), "0");
    assert_eq!(there(&cluster, "SELECT to_regclass('reports') IS NULL"), "t");
    assert_eq!(texts(&one, "SELECT count(*) FROM migrations").await, ["3"]);
    // TRUNCATE is about rows.
    run(&one, &["TRUNCATE orders", "COMMENT ON TABLE orders IS 'x'"]).await;
    assert!(is_ready(&weir), "{}", why(&weir));
    // A function of weir's own, which the gather database has no use for.
    run(&one, &["ALTER TABLE orders ADD COLUMN made bigint DEFAULT weir.next_id()"]).await;
    assert!(is_ready(&weir), "{}", why(&weir));
}

/// A statement that may run anywhere never runs in the gather database, though it takes part.
#[tokio::test]
async fn a_transaction_that_changes_one_shard_reads_on_a_shard() {
    let cluster = Cluster::start(2);
    let weir = start(&cluster);
    let one = client(&weir).await;
    run(&one, &["CREATE TABLE products (id int)", "CREATE TABLE reports (id int)"]).await;
    cluster.on_every_shard("INSERT INTO products VALUES (7)");
    run(&one, &["BEGIN", "ALTER TABLE reports ADD COLUMN x int"]).await;
    assert_eq!(texts(&one, "SELECT id FROM products").await, ["7"]);
    assert_eq!(texts(&one, "SELECT current_database()").await, [DATABASE]);
    run(&one, &["INSERT INTO reports VALUES (1, 2)", "COMMIT"]).await;
    assert_eq!(texts(&one, "SELECT x FROM reports").await, ["2"]);
    assert!(is_ready(&weir), "{}", why(&weir));
}

#[tokio::test]
async fn what_is_changed_behind_weirs_back_is_found_and_its_repair_too() {
    let cluster = Cluster::start(2);
    cluster.on_every_shard("CREATE TABLE orders (user_id bigint); CREATE TYPE mood AS ENUM ('ok')");
    cluster.on_every_shard("CREATE FUNCTION f() RETURNS int STABLE LANGUAGE sql AS 'SELECT 1'");
    let weir = start(&cluster);
    assert!(is_ready(&weir), "{}", why(&weir));
    for (change, told, repair) in [
        (
            "ALTER TABLE orders ADD COLUMN note text",
            "column public.orders.note is on no shard",
            "ALTER TABLE orders DROP COLUMN note",
        ),
        (
            "ALTER TABLE orders ALTER user_id TYPE int",
            "column public.orders.user_id is number 1 integer, not number 1 bigint",
            "ALTER TABLE orders ALTER user_id TYPE bigint",
        ),
        ("CREATE TABLE more (a int)", "table public.more is on no shard", "DROP TABLE more"),
        ("INSERT INTO orders VALUES (1)", "its table public.orders has rows", "TRUNCATE orders"),
        (
            "ALTER TYPE mood RENAME VALUE 'ok' TO 'fine'",
            "type public.mood is enum 'fine', not enum 'ok'",
            "ALTER TYPE mood RENAME VALUE 'fine' TO 'ok'",
        ),
        (
            "CREATE OR REPLACE FUNCTION f() RETURNS int STABLE LANGUAGE sql AS 'SELECT 2'",
            "function public.f() is returns integer by",
            "CREATE OR REPLACE FUNCTION f() RETURNS int STABLE LANGUAGE sql AS 'SELECT 1'",
        ),
    ] {
        there(&cluster, change);
        wait_for(change, || !is_ready(&weir));
        wait_for(told, || why(&weir).contains(told));
        there(&cluster, repair);
        wait_for(repair, || is_ready(&weir));
    }
    // On the home shard.
    cluster.shard(0).sql(DATABASE, "ALTER TABLE orders ADD COLUMN note text").unwrap();
    wait_for("another home", || why(&weir).contains("column public.orders.note is missing"));
}

#[tokio::test]
async fn a_dead_gather_database_is_nobodys_trouble_and_what_it_missed_is_found() {
    let mut cluster = Cluster::start(3);
    let text = with_gather(&cluster, &cluster.gather_on(2));
    // Two shards, and the gather database on the third server.
    let third = format!(
        "[[shard]]\nname = \"s2\"\nprimary = \"{}\"\n",
        cluster.shard(2).dsn(DATABASE).replace(" user=postgres", "")
    );
    assert!(text.contains(&third));
    let home = Home::new(&cluster, &text.replace(&third, ""), SETTINGS);
    let setup = home.run(&["setup", "--rules", "rules.toml", "--gather"]);
    assert!(setup.status.success(), "{}", said(&setup));
    cluster.kill(2);
    let weir = home.serve();
    assert!(!is_ready(&weir));
    let one = client(&weir).await;
    let began = std::time::Instant::now();
    run(&one, &["CREATE TABLE orders (user_id bigint)", "INSERT INTO orders VALUES (1)"]).await;
    assert!(began.elapsed() < std::time::Duration::from_secs(5), "it was waited for");
    cluster.restart(2);
    wait_for("what it missed", || why(&weir).contains("table public.orders is missing"));
    cluster.shard(2).sql("gather", "CREATE TABLE orders (user_id bigint)").unwrap();
    wait_for("the repair", || is_ready(&weir));
    // It goes while it is in use; the first change may still try to reach it.
    cluster.kill(2);
    run(&one, &["ALTER TABLE orders ADD COLUMN note text"]).await;
    assert!(weir.page("/readyz").unwrap().starts_with("HTTP/1.1 200"));
    wait_for("its end is seen", || !is_ready(&weir));
    cluster.restart(2);
    cluster.shard(2).sql("gather", "ALTER TABLE orders ADD COLUMN note text").unwrap();
    wait_for("the second repair", || is_ready(&weir));
    // It is there and says nothing.
    cluster.shard(2).hang().unwrap();
    wait_for("its silence is seen", || !is_ready(&weir));
    let began = std::time::Instant::now();
    run(&one, &["ALTER TABLE orders ADD COLUMN more text"]).await;
    // One connect may be under way from before the probes knew; not one after the other.
    assert!(began.elapsed() < std::time::Duration::from_secs(8), "{:?}", began.elapsed());
    cluster.shard(2).go_on().unwrap();
    wait_for("what it missed", || why(&weir).contains("column public.orders.more is missing"));
}

#[tokio::test]
async fn a_statement_that_it_refuses_is_made_on_the_shards_and_told() {
    let cluster = Cluster::start(2);
    let weir = start(&cluster);
    let one = client(&weir).await;
    run(&one, &["CREATE TABLE orders (user_id bigint)"]).await;
    // Nothing that an outline shows, and in the way of this view.
    there(&cluster, "CREATE SEQUENCE totals");
    let psql = weir.psql("user=postgres dbname=shop", "CREATE VIEW totals AS SELECT 1 AS one");
    assert!(
        psql.as_ref().is_ok_and(|said| said.contains("does not follow this change")),
        "{psql:?}"
    );
    assert_eq!(texts(&one, "SELECT count(*) FROM pg_views WHERE viewname = 'totals'").await, ["1"]);
    wait_for("what it lacks", || why(&weir).contains("view public.totals is missing"));
    there(&cluster, "DROP SEQUENCE totals; CREATE VIEW totals AS SELECT 1 AS one");
    wait_for("the repair", || is_ready(&weir));
}

#[tokio::test]
async fn setup_fills_it_from_the_shards_that_have_each_table_and_nobody_reads_it() {
    let cluster = Cluster::start(2);
    cluster.shard(0).sql("postgres", "CREATE ROLE owner LOGIN; CREATE ROLE web LOGIN").unwrap();
    cluster.shard(1).sql("postgres", "CREATE ROLE owner LOGIN; CREATE ROLE web LOGIN").unwrap();
    cluster.on_every_shard(
        "CREATE SCHEMA app; GRANT USAGE ON SCHEMA app TO web; \
         CREATE TYPE app.status AS ENUM ('open', 'paid'); \
         CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, user_id bigint, \
                              state app.status); \
         CREATE VIEW app.paid AS SELECT * FROM orders WHERE state = 'paid'; \
         ALTER TABLE orders OWNER TO owner; GRANT SELECT ON orders TO web",
    );
    cluster.shard(1).sql(DATABASE, "INSERT INTO orders (user_id) VALUES (1)").unwrap();
    // A stray, in the way of the table that counts, which is on s1.
    cluster.shard(0).sql(DATABASE, "CREATE TABLE reports (other text)").unwrap();
    cluster.shard(1).sql(DATABASE, "CREATE TABLE reports (id serial, s app.status)").unwrap();
    let home = Home::new(&cluster, &with_gather(&cluster, &cluster.gather()), SETTINGS);
    for expected in ["was given the schema", "has the schema already"] {
        let setup = home.run(&["setup", "--rules", "rules.toml", "--gather"]);
        assert!(setup.status.success() && said(&setup).contains(expected), "{}", said(&setup));
    }
    assert_eq!(there(&cluster, "SELECT count(*) FROM orders"), "0");
    assert_eq!(there(&cluster, "SELECT to_regnamespace('weir') IS NULL"), "t");
    for role in ["owner", "web"] {
        let ask = |sql: &str| {
            let dsn =
                cluster.shard(0).dsn("gather").replace("user=postgres", &format!("user={role}"));
            crate::weir::psql(&dsn, sql)
        };
        let error = ask("SELECT count(*) FROM orders").unwrap_err();
        assert!(error.contains("permission denied for table orders"), "{error}");
        let fragment = "BEGIN; CREATE TEMP TABLE weir_1 ON COMMIT DROP AS \
                        SELECT id, state FROM orders WHERE user_id > 3 WITH NO DATA; \
                        INSERT INTO weir_1 VALUES (1, 'open'); SELECT state FROM weir_1";
        assert_eq!(ask(fragment).as_deref(), Ok("open"), "{role}");
    }
    there(&cluster, "DROP VIEW app.paid");
    let setup = home.run(&["setup", "--rules", "rules.toml", "--gather"]);
    assert!(!setup.status.success());
    assert!(said(&setup).contains("view app.paid is missing"), "{}", said(&setup));
    assert!(said(&setup).contains("drop it, create it again"), "{}", said(&setup));
    there(&cluster, "CREATE VIEW app.paid AS SELECT * FROM orders WHERE state = 'paid'");
    let weir = home.serve();
    assert!(is_ready(&weir), "{}", why(&weir));
    let one = client(&weir).await;
    let mut shown = texts(&one, "SHOW weir.gather_notice").await;
    one.batch_execute("SET weir.gather_notice = 'on'").await.unwrap();
    shown.extend(texts(&one, "SHOW weir.gather_notice").await);
    assert_eq!(shown, ["off", "on"]);
    assert_eq!(refused(&one, "SET weir.shard = 'gather'").await, SqlState::INVALID_PARAMETER_VALUE);
}

#[tokio::test]
async fn operators_see_and_drain_it_by_name() {
    let cluster = Cluster::start(2);
    let settings = format!("{SETTINGS}[console]\nadmins = ['postgres']\n");
    let weir = Weir::with_rules(&cluster, &with_gather(&cluster, &cluster.gather()), &settings);
    let console = |command: &str| weir.psql("user=postgres dbname=weir", command);
    for view in ["SHOW SHARDS", "SHOW PROBES", "SHOW DATABASES"] {
        let shown = console(view).unwrap();
        assert_eq!(
            shown.lines().filter(|line| line.contains("gather")).count(),
            1,
            "{view}: {shown}"
        );
    }
    let one = client(&weir).await;
    run(&one, &["CREATE TABLE orders (user_id bigint)"]).await;
    assert!(console("SHOW SHARD_POOLS").unwrap().contains("|gather|"));
    console("DRAIN shop.gather").unwrap();
}

/// The statement opens a transaction that takes in what the pipeline has done before.
#[test]
fn a_change_of_one_shard_in_a_pipeline_keeps_what_was_written_before() {
    let cluster = Cluster::start(2);
    cluster.on_every_shard("CREATE TABLE orders (user_id bigint)");
    cluster.shard(0).sql(DATABASE, "CREATE TABLE migrations (id int)").unwrap();
    let weir = start(&cluster);
    let mut one = Raw::connect(weir.port(), &[("user", "postgres"), ("database", DATABASE)]);
    for user in [1, 2] {
        let insert = format!("INSERT INTO orders VALUES ({user})");
        for sql in [&insert, "ALTER TABLE migrations ADD COLUMN IF NOT EXISTS note text"] {
            one.parse("", sql, &[]).bind("", "", &[]).execute("", 0);
        }
        let said = one.sync().take_transcript();
        assert!(!said.contains("E V=") && said.ends_with("Z I"), "{said}");
        let count = format!("SELECT count(*) FROM orders WHERE user_id = {user}");
        assert_eq!(one.value(&count), "1");
    }
}
