//! From start to end: files that cannot be served, shards that die, reloads, drains.
use super::{TRUST, connect, sharded, two_shards};
use crate::cluster::{Cluster, DATABASE};
use crate::weir::{Home, Weir, said, wait_for};
use std::time::{Duration, Instant};

#[test]
fn what_cannot_be_served_is_said_with_file_and_line() {
    let cluster = Cluster::start(1);
    let rules = sharded(&cluster, &[("s0", 0)], 2, "");
    let home = Home::new(&cluster, &rules, "[pool]\nsiez = 3\n");
    let refused = |home: &Home, arguments: &[&str], expected: &[&str]| {
        let output = home.run(arguments);
        let text = said(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        for part in expected {
            assert!(text.contains(part), "{part:?} is not in:\n{text}");
        }
    };
    refused(&home, &["serve"], &["weir.toml:7: unknown field `siez`", "size"]);
    refused(&home, &["serve", "--config", "nowhere.toml"], &["nowhere.toml", "No such file"]);

    let home = Home::new(&cluster, "database = 'shop'\n[[shard]]\nnmae = 's0'\n", TRUST);
    refused(&home, &["serve"], &["rules.toml:3", "nmae", "name"]);

    let home = Home::new(&cluster, &rules, TRUST);
    refused(&home, &["serve"], &["shard s0 holds no placement", "weir setup"]);

    let nobody = "database = 'shop'\n[[shard]]\nname = 'gone'\nprimary = 'host=127.0.0.1 port=1'\n\
                  [[distribution]]\nname = 'd'\nfunction = 'modulo'\nkey_type = 'bigint'\n\
                  buckets = 2\n";
    let home = Home::new(&cluster, nobody, TRUST);
    refused(&home, &["serve"], &["shard gone", "127.0.0.1:1", "refused"]);
    refused(&home, &["setup", "--rules", "rules.toml"], &["shard gone", "127.0.0.1:1"]);
}

#[test]
fn a_shard_that_dies_takes_only_its_own_rows_along() {
    let mut cluster = two_shards();
    let weir =
        Weir::with_rules(&cluster, &sharded(&cluster, &[("s0", 0), ("s1", 1)], 2, ""), TRUST);
    let place = "user=postgres dbname=shop";
    let of = |user: u32| format!("SELECT count(*) FROM orders WHERE user_id = {user}");
    assert_eq!(weir.psql(place, &of(1)).as_deref(), Ok("0"));
    cluster.crash(1);
    for _ in 0..6 {
        let asked = Instant::now();
        let error = weir.psql(place, &of(1)).unwrap_err();
        assert!(error.contains("s1"), "{error}");
        assert!(asked.elapsed() < Duration::from_secs(2), "fails fast");
        assert_eq!(weir.psql(place, &of(0)).as_deref(), Ok("0"), "the other shard is well");
    }
    cluster.restart(1);
    wait_for("the shard's return", || weir.psql(place, &of(1)).is_ok());
    assert_eq!(weir.psql(place, "INSERT INTO orders VALUES (1, 1)").as_deref(), Ok(""));
}

#[tokio::test]
async fn a_reload_is_all_or_nothing() {
    let cluster = two_shards();
    cluster.on_every_shard("CREATE TABLE extra (user_id bigint); CREATE ROLE late LOGIN SUPERUSER");
    let shards = [("s0", 0), ("s1", 1)];
    let rules = sharded(&cluster, &shards, 2, "");
    let settings = "workers = 2\n[auth]\nusers_file = 'users.txt'\n";
    let home = Home::new(&cluster, &rules, settings);
    home.write("users.txt", "\"postgres\" \"first\"\n");
    assert!(home.run(&["setup", "--rules", "rules.toml"]).status.success());
    let weir = home.serve();
    let place = "user=postgres password=first dbname=shop";
    let extra = "SELECT count(*) FROM extra WHERE user_id = 1";
    assert!(weir.psql(place, extra).unwrap_err().contains("extra"));

    // Files that cannot be: nothing changes.
    for (file, text, reason) in [
        ("rules.toml", format!("{rules}[[tabel]]\n"), "rules.toml:"),
        ("weir.toml", "rules = ['rules.toml']\n[nonsense]\n".to_owned(), "weir.toml:2"),
        ("users.txt", "postgres first\n".to_owned(), "users.txt:1"),
        ("rules.toml", rules.replace("'shop'", "'other'"), "is new"),
    ] {
        let before = weir.home().read(file);
        weir.home().write(file, &text);
        let heard = weir.reload();
        assert!(heard.contains("not reloaded") && heard.contains(reason), "{file}: {heard}");
        weir.home().write(file, &before);
        assert_eq!(weir.psql(place, "SELECT 1").as_deref(), Ok("1"), "as before");
    }

    // Rules that the shards do not accept yet.
    let table = "[[table]]\nname = 'extra'\ndistribution = 'by_user'\nkey = 'user_id'\n";
    let more = sharded(&cluster, &shards, 2, table);
    weir.home().write("rules.toml", &more);
    let heard = weir.reload();
    assert!(heard.contains("not reloaded"), "{heard}");
    assert!(heard.contains("the rules say") && heard.contains("table extra"), "{heard}");
    assert!(weir.psql(place, extra).is_err());
    let adopted = weir.home().run(&["rules", "adopt", "--rules", "rules.toml"]);
    assert!(adopted.status.success(), "{}", said(&adopted));
    let heard = weir.reload();
    assert!(heard.contains("INFO") && !heard.contains("not reloaded"), "{heard}");
    wait_for("the new rules", || weir.psql(place, extra).as_deref() == Ok("0"));

    // Users come and go, passwords change.
    weir.home().write("users.txt", "\"postgres\" \"second\"\n\"late\" \"riser\"\n");
    weir.reload();
    assert!(weir.psql(place, "SELECT 1").unwrap_err().contains("password authentication failed"));
    let late = weir.psql("user=late password=riser dbname=shop", "SELECT current_user");
    assert_eq!(late.as_deref(), Ok("late"));
}

#[tokio::test]
async fn a_transaction_that_is_open_over_a_reload_finishes() {
    let cluster = two_shards();
    let shards = [("s0", 0), ("s1", 1)];
    let rules = sharded(&cluster, &shards, 2, "");
    let weir = Weir::with_rules(&cluster, &rules, TRUST);
    let client = connect(weir.port(), "postgres", DATABASE).await;
    client.batch_execute("BEGIN; INSERT INTO orders VALUES (1, 0)").await.unwrap();
    weir.home()
        .write("rules.toml", &rules.replace("dbname=shop", "dbname=shop application_name=n"));
    assert!(!weir.reload().contains("not reloaded"));
    let name = "SELECT current_setting('application_name')";
    let other = connect(weir.port(), "postgres", DATABASE).await;
    assert_eq!(other.query_one(name, &[]).await.unwrap().get::<_, String>(0), "n");
    client.batch_execute("INSERT INTO orders VALUES (2, 0); SELECT 1").await.unwrap();
    client.query("SELECT count(*) FROM orders WHERE user_id = 1", &[]).await.unwrap();
    client.batch_execute("COMMIT").await.unwrap();
    assert_eq!(cluster.shard(0).sql(DATABASE, "SELECT count(*) FROM orders").as_deref(), Ok("2"));
    assert_eq!(client.query_one(name, &[]).await.unwrap().get::<_, String>(0), "n");
}

#[tokio::test]
async fn sigterm_lets_transactions_finish_and_sends_the_others_home() {
    let cluster = Cluster::start(1);
    for workers in ["", "workers = 2\n"] {
        let mut weir = Weir::plain(&cluster, DATABASE, &format!("{workers}{TRUST}"));
        let busy = connect(weir.port(), "postgres", DATABASE).await;
        let idle = connect(weir.port(), "postgres", DATABASE).await;
        idle.batch_execute("SELECT 1").await.unwrap();
        busy.batch_execute("BEGIN; CREATE TABLE IF NOT EXISTS t (); SELECT 1").await.unwrap();
        weir.signal("TERM");
        for _ in 0..50 {
            tokio::time::sleep(Duration::from_millis(50)).await;
            if idle.is_closed() {
                break;
            }
        }
        assert!(idle.is_closed(), "who waits for nothing has to leave");
        assert!(weir.psql("user=postgres dbname=shop", "SELECT 1").is_err(), "no new clients");
        let ready = weir.page("/readyz").unwrap_or_default();
        assert!(ready.starts_with("HTTP/1.1 503"), "{ready}");
        assert!(!weir.has_ended());
        busy.batch_execute("COMMIT").await.expect("it may finish");
        assert_eq!(weir.ended(), Some(0), "{}", weir.log());
        assert_eq!(cluster.shard(0).sql(DATABASE, "DROP TABLE t").as_deref(), Ok(""));
    }
}

#[tokio::test]
async fn what_takes_too_long_is_ended() {
    let cluster = Cluster::start(1);
    let settings = "[timeouts]\nstatement = '300ms'\nclient_idle = '700ms'\n\
                    idle_in_transaction = '700ms'\n";
    let weir = Weir::plain(&cluster, DATABASE, &format!("{TRUST}{settings}"));
    let client = connect(weir.port(), "postgres", DATABASE).await;
    let error = client.batch_execute("SELECT pg_sleep(5)").await.unwrap_err();
    assert_eq!(error.code().map(|code| code.code()), Some("57014"), "{error}");
    client.batch_execute("SET statement_timeout = 0; SELECT pg_sleep(0.5)").await.unwrap();
    let open = connect(weir.port(), "postgres", DATABASE).await;
    // A statement that runs is no idle transaction.
    open.batch_execute("BEGIN; SET LOCAL statement_timeout = 0; SELECT pg_sleep(1)").await.unwrap();
    open.query("SELECT pg_sleep(0.2)", &[]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert!(client.is_closed() && open.is_closed());
}

#[tokio::test]
async fn a_tier_has_its_own_patience_with_open_transactions() {
    let cluster = Cluster::start(1);
    let settings = "[tier.batch]\nidle_in_transaction = '200ms'\n";
    let weir = Weir::plain(&cluster, DATABASE, &format!("{TRUST}{settings}"));
    let patient = connect(weir.port(), "postgres", DATABASE).await;
    patient.batch_execute("BEGIN; SELECT 1").await.unwrap();
    let batch = connect(weir.port(), "postgres", DATABASE).await;
    batch.batch_execute("SET weir.tier = 'batch'; BEGIN; SELECT 1").await.unwrap();
    while !batch.is_closed() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    patient.batch_execute("COMMIT").await.unwrap();
}

#[tokio::test]
async fn sigint_ends_at_once_and_rolls_back() {
    let cluster = Cluster::start(1);
    let mut weir = Weir::plain(&cluster, DATABASE, TRUST);
    let busy = connect(weir.port(), "postgres", DATABASE).await;
    busy.batch_execute("BEGIN; CREATE TABLE t (); SELECT 1").await.unwrap();
    let asked = Instant::now();
    weir.signal("INT");
    assert_eq!(weir.ended(), Some(0));
    assert!(asked.elapsed() < Duration::from_secs(5));
    assert_eq!(
        cluster.shard(0).sql(DATABASE, "SELECT to_regclass('t') IS NULL").as_deref(),
        Ok("t")
    );
}

#[tokio::test]
async fn the_metrics_say_what_happened() {
    let cluster = two_shards();
    let rules = sharded(&cluster, &[("s0", 0), ("s1", 1)], 2, "");
    let weir = Weir::with_rules(&cluster, &rules, TRUST);
    let client = connect(weir.port(), "postgres", DATABASE).await;
    for user in 0..4_i64 {
        let count = "SELECT count(*) FROM orders WHERE user_id = $1";
        client.query(count, &[&user]).await.unwrap();
        let text = format!("SELECT id FROM orders WHERE user_id = {user}");
        client.batch_execute(&text).await.unwrap();
    }
    client.batch_execute("BEGIN; INSERT INTO orders VALUES (1, 0)").await.unwrap();
    client.batch_execute("COMMIT").await.unwrap();
    client.batch_execute("BEGIN; INSERT INTO orders VALUES (1, 0)").await.unwrap();
    client.batch_execute("ROLLBACK").await.unwrap();
    assert!(client.batch_execute("SELECT id FROM orders FOR UPDATE").await.is_err());
    let page = weir.page("/metrics").unwrap();
    let value = |name: &str| -> f64 {
        let line =
            page.lines().find(|line| line.strip_prefix(name).is_some_and(|l| l.starts_with(' ')));
        let line = line.unwrap_or_else(|| panic!("no {name} in:\n{page}"));
        line.rsplit_once(' ').unwrap().1.parse().unwrap()
    };
    for shard in ["s0", "s1"] {
        let number = if shard == "s0" { 0 } else { 1 };
        let server = format!("127.0.0.1:{}", cluster.shard(number).port());
        let labels = format!(
            "{{database=\"shop\",server=\"{server}\",shard=\"{shard}\",tier=\"interactive\"}}"
        );
        assert!(value(&format!("weir_server_connections{labels}")) >= 1.0);
        assert!(value(&format!("weir_server_connections_idle{labels}")) >= 1.0);
        assert_eq!(value(&format!("weir_checkout_waiting{labels}")), 0.0);
    }
    assert_eq!(value("weir_clients"), 1.0);
    let of_shop = |name: &str| value(&format!("{name}{{database=\"shop\"}}"));
    let lent = "weir_checkout_seconds_count{database=\"shop\",shard=\"s0\",tier=\"interactive\"}";
    assert!(value(lent) >= 4.0);
    assert!(of_shop("weir_plan_cache_hits_total") >= 3.0);
    assert!(of_shop("weir_plan_cache_misses_total") >= 2.0);
    assert!(of_shop("weir_client_bytes_received_total") > 300.0);
    assert!(of_shop("weir_client_bytes_sent_total") > 300.0);
    assert!(of_shop("weir_server_prepares_total") >= 1.0);
    assert!(of_shop("weir_client_parses_total") >= 1.0);
    assert_eq!(of_shop("weir_client_binds_total"), 4.0);
    // Two blocks, and eight statements outside of them; a refused one may have been judged there.
    assert!(of_shop("weir_server_transactions_total") >= 10.0);
    // BEGIN, COMMIT, BEGIN, ROLLBACK.
    assert_eq!(of_shop("weir_own_statements_total"), 4.0);
    let statements = |shard: &str| {
        value(&format!(
            "weir_statement_seconds_count{{database=\"shop\",role=\"primary\",shard=\"{shard}\",\
             strategy=\"single\",tier=\"interactive\"}}"
        ))
    };
    assert_eq!(statements("s0") + statements("s1"), 10.0);
    let refused = "weir_statement_errors_total{class=\"0A\",database=\"shop\",shard=\"weir\"}";
    assert_eq!(value(refused), 1.0);
    assert_eq!(value("weir_rules_version{database=\"shop\"}"), 0.0);
    let ended = |outcome: &str| {
        format!("weir_transactions_total{{database=\"shop\",outcome=\"{outcome}\"}}")
    };
    assert!(value(&ended("committed")) >= 1.0);
    assert!(value(&ended("rolled back")) >= 1.0);
    let connects = "weir_server_connects_total{database=\"shop\",outcome=\"ok\",shard=\"s0\"}";
    assert!(value(connects) >= 1.0);
    assert!(page.contains("weir_refused_total{database=\"shop\""), "{page}");
}
