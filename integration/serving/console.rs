//! The console: what psql and a driver are told when they connect to the database `weir`.
use super::{backend, connect, sharded, two_shards};
use crate::cluster::Cluster;
use crate::weir::{Weir, wait_for};
use tokio_postgres::{Client, SimpleQueryMessage};

const SETTINGS: &str =
    "[auth]\nmethod = 'trust'\n[console]\nadmins = ['boss']\nstats = ['guest']\n";

fn plain(cluster: &Cluster) -> Weir {
    Weir::plain(cluster, "shop", SETTINGS)
}

/// The rows as text, column by column.
async fn rows(client: &Client, command: &str) -> Vec<Vec<String>> {
    let messages = client.simple_query(command).await.unwrap();
    let row = |message: SimpleQueryMessage| match message {
        SimpleQueryMessage::Row(row) => {
            Some((0..row.len()).map(|i| row.get(i).unwrap_or("").to_owned()).collect())
        }
        _ => None,
    };
    messages.into_iter().filter_map(row).collect()
}

async fn refusal(client: &Client, command: &str) -> (String, String) {
    let error = client.execute(command, &[]).await.unwrap_err();
    let error = error.as_db_error().unwrap();
    (error.code().code().to_owned(), error.message().to_owned())
}

/// A number of the first server's row in SHOW SHARDS.
async fn of_server(client: &Client, column: &str) -> i64 {
    client.query("SHOW SHARDS", &[]).await.unwrap()[0].get(column)
}

#[tokio::test]
async fn every_view_answers_in_both_protocols() {
    let cluster = two_shards();
    let weir = plain(&cluster);
    let app = connect(weir.port(), "postgres", "shop").await;
    backend(&app).await;
    let console = connect(weir.port(), "guest", "weir").await;
    let help = rows(&console, "SHOW HELP").await;
    let views: Vec<&str> =
        help.iter().map(|row| row[0].as_str()).filter(|name| name.starts_with("SHOW")).collect();
    assert_eq!(views.len(), weir::admin::SHOWS.len());
    for view in views {
        let simple = rows(&console, view).await;
        let prepared = console.prepare(view).await.unwrap();
        let extended = console.query(&prepared, &[]).await.unwrap();
        assert_eq!(simple.len(), extended.len(), "{view}");
        let psql = weir.psql("user=guest dbname=weir", view).unwrap();
        // psql is a client, too.
        assert!(psql.lines().count() >= simple.len(), "{view}: {psql}");
    }
}

#[tokio::test]
async fn pools_are_shown_in_pgbouncers_columns() {
    let cluster = two_shards();
    let weir = plain(&cluster);
    let mut app = connect(weir.port(), "postgres", "shop").await;
    let transaction = app.transaction().await.unwrap();
    transaction.query("SELECT 1", &[]).await.unwrap();
    let console = connect(weir.port(), "guest", "weir").await;
    let pools = console.query("SHOW POOLS", &[]).await.unwrap();
    let names: Vec<&str> = pools[0].columns().iter().map(|column| column.name()).collect();
    assert_eq!(
        names,
        [
            "database",
            "user",
            "cl_active",
            "cl_waiting",
            "cl_active_cancel_req",
            "cl_waiting_cancel_req",
            "sv_active",
            "sv_active_cancel",
            "sv_being_canceled",
            "sv_idle",
            "sv_used",
            "sv_tested",
            "sv_login",
            "maxwait",
            "maxwait_us",
            "pool_mode",
            "load_balance_hosts",
            "servers",
            "tiers"
        ]
    );
    let of = |user| pools.iter().find(|row| row.get::<_, &str>("user") == user).unwrap();
    let ours = of("postgres");
    assert_eq!(
        ["database", "pool_mode"].map(|column| ours.get::<_, &str>(column)),
        ["shop", "transaction"]
    );
    let number = |column| ours.get::<_, i32>(column);
    assert_eq!(["cl_active", "sv_active", "cl_waiting", "servers"].map(number), [1, 1, 0, 1]);
    assert_eq!(of("guest").get::<_, &str>("database"), "weir");
    let parts = console.query("SHOW SHARD_POOLS", &[]).await.unwrap();
    let ours = parts.iter().find(|row| row.get::<_, &str>("tier") == "interactive").unwrap();
    assert_eq!(["shard", "user"].map(|column| ours.get::<_, &str>(column)), ["only", "postgres"]);
    assert_eq!(["active", "waiting"].map(|column| ours.get::<_, i64>(column)), [1, 0]);
    transaction.rollback().await.unwrap();
}

#[tokio::test]
async fn clients_and_server_connections_are_shown_with_what_joins_them() {
    let cluster = two_shards();
    let weir = plain(&cluster);
    let mut app = connect(weir.port(), "postgres", "shop").await;
    app.batch_execute("SET application_name = 'till'").await.unwrap();
    let idle = connect(weir.port(), "postgres", "shop").await;
    let console = connect(weir.port(), "guest", "weir").await;
    let transaction = app.transaction().await.unwrap();
    let pid = backend(&transaction).await;
    let clients = console.query("SHOW CLIENTS", &[]).await.unwrap();
    let state = |row: &tokio_postgres::Row| row.get::<_, String>("state");
    let shown: Vec<_> =
        clients.iter().map(|row| (row.get::<_, &str>("database"), state(row))).collect();
    let expected = [("shop", "active"), ("shop", "idle"), ("weir", "idle")];
    assert_eq!(shown, expected.map(|(database, state)| (database, state.to_owned())));
    let servers = console.query("SHOW SERVERS", &[]).await.unwrap();
    let taken = servers.iter().find(|row| state(row) == "active").unwrap();
    assert_eq!(taken.get::<_, i32>("remote_pid"), pid);
    assert_eq!(taken.get::<_, &str>("link"), clients[0].get::<_, &str>("ptr"));
    assert_eq!(clients[0].get::<_, &str>("link"), taken.get::<_, &str>("ptr"));
    let text = |column| taken.get::<_, &str>(column);
    assert_eq!(["type", "application_name", "tier"].map(text), ["S", "till", "interactive"]);
    assert_eq!(taken.get::<_, i32>("port"), i32::from(cluster.shard(0).port()));
    assert!(clients[0].get::<_, &str>("connect_time").ends_with(" UTC"));
    transaction.rollback().await.unwrap();
    drop(idle);
    let lists = rows(&console, "SHOW LISTS").await;
    let of = |name: &str| lists.iter().find(|row| row[0] == name).unwrap()[1].clone();
    assert_eq!(["databases", "pools"].map(of), ["1", "2"]);
}

#[tokio::test]
async fn a_server_is_shown_with_its_role_and_what_the_last_probe_saw() {
    let cluster = two_shards();
    let weir = plain(&cluster);
    let console = connect(weir.port(), "guest", "weir").await;
    let port = i64::from(cluster.shard(0).port());
    let servers = console.query("SHOW SHARDS", &[]).await.unwrap();
    assert_eq!(servers[0].get::<_, i64>("port"), port);
    assert_eq!(servers[0].get::<_, &str>("role"), "primary");
    assert_eq!(servers[0].get::<_, &str>("breaker"), "closed");
    let databases = console.query("SHOW DATABASES", &[]).await.unwrap();
    assert_eq!(databases[0].get::<_, &str>("name"), "shop");
    assert_eq!(databases[0].get::<_, i32>("pool_size"), 20);
    // The first probe may be under way.
    let mut seen = None;
    while seen.is_none() {
        let probes = console.query("SHOW PROBES", &[]).await.unwrap();
        seen = probes[0].get::<_, Option<i64>>("timeline");
    }
    assert_eq!(seen, Some(1));
    assert_eq!(of_server(&console, "paused").await, 0);
}

#[tokio::test]
async fn a_statement_that_is_refused_for_being_slow_is_shown_with_its_reason() {
    let cluster = two_shards();
    let breaker = "[breaker.statement]\nslow = '1ms'\nslow_calls = 1\n";
    let weir = Weir::plain(&cluster, "shop", &format!("{SETTINGS}{breaker}"));
    let app = connect(weir.port(), "postgres", "shop").await;
    let console = connect(weir.port(), "guest", "weir").await;
    app.batch_execute("SELECT pg_sleep(0.05)").await.unwrap();
    let error = app.batch_execute("SELECT pg_sleep(0.05)").await.unwrap_err();
    let error = error.as_db_error().unwrap();
    assert_eq!(error.code().code(), "57P03");
    let breakers = console.query("SHOW BREAKERS", &[]).await.unwrap();
    let refused = breakers.iter().find(|row| row.get::<_, &str>("kind") == "statement").unwrap();
    let text = |column| refused.get::<_, &str>(column);
    assert_eq!(["database", "tier", "state"].map(text), ["shop", "interactive", "open"]);
    assert!(error.message().contains(text("shape")), "{error}");
    assert!(text("reason").contains("took longer than 1 ms"), "{}", text("reason"));
    assert!(refused.get::<_, i64>("remaining_ms") <= 60_000);
}

#[tokio::test]
async fn a_row_that_clients_wait_for_is_shown() {
    let cluster = two_shards();
    let rules = sharded(&cluster, &[("s0", 0), ("s1", 1)], 2, "hot_key = ['id']\n");
    let weir = Weir::with_rules(&cluster, &rules, SETTINGS);
    let (mut first, second) = (
        connect(weir.port(), "postgres", "shop").await,
        connect(weir.port(), "postgres", "shop").await,
    );
    let console = connect(weir.port(), "guest", "weir").await;
    let lock = "SELECT id FROM orders WHERE user_id = 1 AND id = 7 FOR UPDATE";
    first.batch_execute("INSERT INTO orders (user_id, id) VALUES (1, 7)").await.unwrap();
    let transaction = first.transaction().await.unwrap();
    transaction.batch_execute(lock).await.unwrap();
    let waiting = tokio::spawn(async move { second.batch_execute(lock).await.unwrap() });
    let hottest = loop {
        let rows = console.query("SHOW HOT_ROWS", &[]).await.unwrap();
        match rows.into_iter().find(|row| row.get::<_, i64>("waiting") > 0) {
            Some(row) => break row,
            None => assert!(!waiting.is_finished()),
        }
    };
    assert_eq!(hottest.get::<_, &str>("database"), "shop");
    assert!(hottest.get::<_, &str>("key").contains("orders"), "{hottest:?}");
    assert_eq!(hottest.get::<_, i64>("waiting"), 1);
    transaction.commit().await.unwrap();
    waiting.await.unwrap();
}

#[tokio::test]
async fn only_those_named_may_look_and_only_admins_may_act() {
    let cluster = two_shards();
    let weir = plain(&cluster);
    let error = weir.psql("user=postgres dbname=weir", "SHOW POOLS").unwrap_err();
    assert!(error.contains("user \"postgres\" may not use weir's console"), "{error}");
    let guest = connect(weir.port(), "guest", "weir").await;
    for action in ["PAUSE", "RESUME", "RECONNECT", "DRAIN shop.only", "RELOAD"] {
        assert_eq!(refusal(&guest, action).await.0, "42501", "{action}");
    }
    assert_eq!(of_server(&guest, "paused").await, 0);
}

#[test]
fn a_console_asks_for_the_password_as_any_database_does() {
    let cluster = two_shards();
    let settings = "[console]\nadmins = ['boss']\n[[user]]\nname = 'boss'\npassword = 's3cret'\n";
    let weir = Weir::plain(&cluster, "shop", settings);
    let shown = weir.psql("user=boss password=s3cret dbname=weir", "SHOW VERSION").unwrap();
    assert_eq!(shown, format!("weir {}", env!("CARGO_PKG_VERSION")));
    let error = weir.psql("user=boss password=wrong dbname=weir", "SHOW VERSION").unwrap_err();
    assert!(error.contains("password authentication failed"), "{error}");
}

#[test]
fn where_nobody_may_use_the_console_there_is_none() {
    let cluster = two_shards();
    let weir = Weir::plain(&cluster, "shop", "[auth]\nmethod = 'trust'\n");
    let error = weir.psql("user=postgres dbname=weir", "SHOW POOLS").unwrap_err();
    assert!(error.contains("may not use weir's console"), "{error}");
}

#[tokio::test]
async fn what_drivers_say_unasked_is_heard_and_anything_else_refused() {
    let cluster = two_shards();
    let weir = plain(&cluster);
    let console = connect(weir.port(), "boss", "weir").await;
    for said in ["SET extra_float_digits = 3", "SET application_name = 'x'", "RESET ALL", ""] {
        console.execute(said, &[]).await.unwrap();
        console.simple_query(said).await.unwrap();
    }
    console.batch_execute("BEGIN; SHOW TIERS; COMMIT").await.unwrap();
    assert_eq!(rows(&console, "SHOW client_encoding").await, [["UTF8"]]);
    let (code, message) = refusal(&console, "SELECT 1").await;
    assert_eq!(
        (code.as_str(), message.as_str()),
        ("42601", "invalid command 'SELECT 1', use SHOW HELP;")
    );
    // An error ends nothing but its own statement.
    assert_eq!(rows(&console, "SHOW VERSION").await.len(), 1);
    let error = refusal(&console, "PAUSE nowhere").await;
    assert_eq!(error, ("3D000".to_owned(), "database \"nowhere\" does not exist".to_owned()));
    let error = refusal(&console, "DRAIN shop.only.7").await;
    assert_eq!(error, ("42704".to_owned(), "shard only has no server \"7\"".to_owned()));
}

#[tokio::test]
async fn a_paused_database_lets_transactions_end_and_others_wait() {
    let cluster = two_shards();
    let weir = plain(&cluster);
    let mut app = connect(weir.port(), "postgres", "shop").await;
    let other = connect(weir.port(), "postgres", "shop").await;
    let (console, boss) =
        (connect(weir.port(), "guest", "weir").await, connect(weir.port(), "boss", "weir").await);
    let transaction = app.transaction().await.unwrap();
    transaction.query("SELECT 1", &[]).await.unwrap();
    let pausing = tokio::spawn(async move {
        boss.execute("PAUSE shop", &[]).await.unwrap();
        boss
    });
    while of_server(&console, "paused").await == 0 {}
    assert!(!pausing.is_finished());
    // What has begun goes on.
    transaction.query("SELECT 2", &[]).await.unwrap();
    assert!(!pausing.is_finished());
    transaction.commit().await.unwrap();
    let boss = pausing.await.unwrap();
    assert_eq!(of_server(&console, "outstanding").await, 0);
    let waiting = tokio::spawn(async move { backend(&other).await });
    // A round trip's time for it to get as far as it can.
    rows(&console, "SHOW POOLS").await;
    assert!(!waiting.is_finished());
    boss.execute("RESUME shop.only", &[]).await.unwrap();
    waiting.await.unwrap();
    assert_eq!(of_server(&console, "paused").await, 0);
}

#[tokio::test]
async fn a_pause_that_waits_can_be_cancelled_and_stays_in_force() {
    let cluster = two_shards();
    let weir = plain(&cluster);
    let mut app = connect(weir.port(), "postgres", "shop").await;
    let transaction = app.transaction().await.unwrap();
    transaction.query("SELECT 1", &[]).await.unwrap();
    let (console, boss) =
        (connect(weir.port(), "guest", "weir").await, connect(weir.port(), "boss", "weir").await);
    let token = boss.cancel_token();
    let pausing = tokio::spawn(async move { (refusal(&boss, "PAUSE").await, boss) });
    while of_server(&console, "paused").await == 0 {}
    token.cancel_query(tokio_postgres::NoTls).await.unwrap();
    let (error, boss) = pausing.await.unwrap();
    assert_eq!(error.0, "57014");
    assert_eq!(of_server(&console, "paused").await, 1);
    boss.execute("RESUME", &[]).await.unwrap();
    transaction.commit().await.unwrap();
}

#[tokio::test]
async fn reconnect_replaces_server_connections() {
    let cluster = two_shards();
    let weir = plain(&cluster);
    let app = connect(weir.port(), "postgres", "shop").await;
    let before = backend(&app).await;
    assert_eq!(backend(&app).await, before);
    weir.psql("user=boss dbname=weir", "RECONNECT shop").unwrap();
    assert_ne!(backend(&app).await, before);
}

#[tokio::test]
async fn a_drained_server_gets_no_new_work_until_it_is_resumed() {
    let cluster = two_shards();
    let weir = plain(&cluster);
    let app = connect(weir.port(), "postgres", "shop").await;
    backend(&app).await;
    let console = connect(weir.port(), "boss", "weir").await;
    console.execute("DRAIN shop.only.0", &[]).await.unwrap();
    assert_eq!(of_server(&console, "drained").await, 1);
    let (code, message) = refusal(&app, "SELECT 1").await;
    assert_eq!(code, "57P03");
    assert!(message.contains("is being drained"), "{message}");
    console.execute("RESUME", &[]).await.unwrap();
    backend(&app).await;
}

#[tokio::test]
async fn reload_puts_the_file_in_force_or_says_what_is_wrong_with_it() {
    let cluster = two_shards();
    let weir = plain(&cluster);
    let console = connect(weir.port(), "boss", "weir").await;
    let file = weir.home().read("weir.toml");
    let size = async || rows(&console, "SHOW TIERS").await[0][1].clone();
    assert_eq!(size().await, "20");
    weir.home().write("weir.toml", &format!("{file}[pool]\nsize = 7\n"));
    console.execute("RELOAD", &[]).await.unwrap();
    assert_eq!(size().await, "7");
    weir.home().write("weir.toml", &format!("{file}[pool]\nsise = 7\n"));
    let (code, message) = refusal(&console, "RELOAD").await;
    assert_eq!(code, "F0000");
    assert!(
        message.contains("weir.toml:") && message.contains("unknown field `sise`"),
        "{message}"
    );
    assert_eq!(size().await, "7");
    wait_for("both reloads in the metrics", || {
        let page = weir.page("/metrics").unwrap_or_default();
        [r#"weir_reloads_total{outcome="ok"} 1"#, r#"weir_reloads_total{outcome="refused"} 1"#]
            .iter()
            .all(|line| page.contains(line))
    });
}
