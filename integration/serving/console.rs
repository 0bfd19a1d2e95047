//! The console: what psql and a driver are told when they connect to the database `weir`.
use super::{backend, connect, sharded, two_shards};
use crate::cluster::Cluster;
use crate::weir::{Weir, said, wait_for};
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

/// Every view, as SHOW HELP names it.
fn views() -> Vec<String> {
    weir::admin::SHOWS.iter().map(|show| format!("SHOW {}", show.name())).collect()
}

#[tokio::test]
async fn every_view_answers_psql_and_drivers_in_both_protocols() {
    let cluster = two_shards();
    let rules = sharded(&cluster, &[("s0", 0), ("s1", 1)], 2, "");
    let weir = Weir::with_rules(&cluster, &rules, SETTINGS);
    let app = connect(weir.port(), "postgres", "shop").await;
    app.query("SELECT id FROM orders WHERE user_id = $1", &[&7_i64]).await.unwrap();
    let console = connect(weir.port(), "guest", "weir").await;
    let help = rows(&console, "SHOW HELP").await;
    for view in views() {
        assert!(help.iter().any(|row| row[0] == view), "{view}");
        let simple = rows(&console, &view).await;
        let prepared = console.prepare(&view).await.unwrap();
        let extended = console.query(&prepared, &[]).await.unwrap();
        assert_eq!(simple.len(), extended.len(), "{view}");
        // psql is a client, too.
        let psql = weir.psql("user=guest dbname=weir", &view).unwrap();
        assert!(psql.lines().count() >= simple.len(), "{view}: {psql}");
    }
    let mut psycopg = crate::drivers::interpreter("psycopg");
    psycopg.arg("integration/serving/console.py").arg(weir.port().to_string()).args(views());
    let output = psycopg.output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(said(&output).lines().count(), views().len());
}

/// The action as an operator would write it here.
async fn written(action: &dyn weir::admin::action::Action, console: &Client) -> String {
    match (action.name(), *action.names().start()) {
        ("KILL_CLIENT", _) => {
            let clients = console.query("SHOW CLIENTS", &[]).await.unwrap();
            format!("KILL_CLIENT {}", clients[0].get::<_, i32>("id"))
        }
        (name, 0) => name.to_owned(),
        (name, 1) => format!("{name} shop"),
        (name, _) => format!("{name} shop.only"),
    }
}

#[tokio::test]
async fn every_action_is_done_for_psql_and_for_drivers_in_both_protocols() {
    let cluster = two_shards();
    let mut weir = plain(&cluster);
    let console = connect(weir.port(), "boss", "weir").await;
    let help = rows(&console, "SHOW HELP").await;
    let (mut sent, mut clients) = (0, Vec::new());
    for action in weir::admin::ACTIONS {
        assert!(help.iter().any(|row| row[0] == action.syntax()), "{}", action.name());
        if action.name() == "SHUTDOWN" {
            continue;
        }
        for way in ["simple", "extended", "psql"] {
            clients.push(connect(weir.port(), "postgres", "shop").await);
            let command = written(*action, &console).await;
            let outcome = match way {
                "simple" => console.simple_query(&command).await.map(drop).map_err(|e| told(&e)),
                "extended" => console.execute(&command, &[]).await.map(drop).map_err(|e| told(&e)),
                _ => weir.psql("user=boss dbname=weir", &command).map(drop),
            };
            match action.name() {
                "SUSPEND" => assert!(outcome.unwrap_err().contains("SUSPEND is not supported")),
                _ => outcome.unwrap_or_else(|error| panic!("{command}: {error}")),
            }
            for undo in ["RESUME", "ENABLE shop"] {
                console.batch_execute(undo).await.unwrap();
            }
            sent += 1;
        }
    }
    assert_eq!(sent, 3 * (weir::admin::ACTIONS.len() - 1));
    assert!(backend(&connect(weir.port(), "postgres", "shop").await).await > 0);
    weir.psql("user=boss dbname=weir", "SHUTDOWN").unwrap();
    assert_eq!(weir.ended(), Some(0), "{}", weir.log());
}

fn told(error: &tokio_postgres::Error) -> String {
    error.as_db_error().map_or_else(|| error.to_string(), |error| error.message().to_owned())
}

/// What prometheus-community/pgbouncer_exporter reads, under lib/pq's start-up parameters and in its simple
/// queries, semicolons included.
#[tokio::test]
async fn the_prometheus_exporter_finds_what_it_reads() {
    const READS: [(&str, &[&str], &[&str]); 3] = [
        (
            "SHOW DATABASES;",
            &["name", "host", "port", "database", "force_user", "pool_mode"],
            &[
                "pool_size",
                "reserve_pool",
                "max_connections",
                "current_connections",
                "paused",
                "disabled",
            ],
        ),
        (
            "SHOW STATS_TOTALS;",
            &["database"],
            &[
                "query_count",
                "query_time",
                "bytes_received",
                "bytes_sent",
                "wait_time",
                "xact_count",
                "xact_time",
                "client_parse_count",
                "server_parse_count",
                "bind_count",
            ],
        ),
        (
            "SHOW POOLS;",
            &["database", "user"],
            &[
                "cl_active",
                "cl_active_cancel_req",
                "cl_waiting",
                "cl_waiting_cancel_req",
                "sv_active",
                "sv_active_cancel",
                "sv_being_canceled",
                "sv_idle",
                "sv_used",
                "sv_tested",
                "sv_login",
                "maxwait",
            ],
        ),
    ];
    let cluster = two_shards();
    let rules = sharded(&cluster, &[("s0", 0), ("s1", 1)], 2, "");
    let weir = Weir::with_rules(&cluster, &rules, SETTINGS);
    let app = connect(weir.port(), "postgres", "shop").await;
    app.batch_execute(
        "SELECT count(*) FROM orders; SET weir.tier = 'batch'; SELECT count(*) FROM orders",
    )
    .await
    .unwrap();
    let parameters = "-c extra_float_digits=2 -c client_encoding=UTF8 -c datestyle='ISO, MDY'";
    let (console, connection) = tokio_postgres::Config::new()
        .host("127.0.0.1")
        .port(weir.port())
        .user("guest")
        .dbname("weir")
        .options(parameters)
        .connect(tokio_postgres::NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    assert_eq!(rows(&console, "SHOW STATS").await.len(), 1);
    for (query, labels, numbers) in READS {
        let mut seen = std::collections::HashSet::new();
        for message in console.simple_query(query).await.unwrap() {
            let SimpleQueryMessage::Row(row) = message else { continue };
            let labels: Vec<_> = labels.iter().map(|label| row.get(*label)).collect();
            assert!(seen.insert(format!("{labels:?}")), "{query}: two rows of {labels:?}");
            for number in numbers {
                let value = row.get(*number).unwrap_or_else(|| panic!("{query}: {number}"));
                assert!(value.parse::<f64>().is_ok(), "{query}: {number} is {value}");
            }
        }
        assert!(!seen.is_empty(), "{query}");
    }
    let lists = rows(&console, "SHOW LISTS;").await;
    assert!(lists.iter().all(|row| row.len() == 2 && row[1].parse::<f64>().is_ok()), "{lists:?}");
    let config = rows(&console, "SHOW CONFIG;").await;
    for key in ["max_client_conn", "max_user_connections"] {
        let row = config.iter().find(|row| row[0] == key).unwrap();
        assert!(row.len() == 4 && row[1].parse::<f64>().is_ok(), "{row:?}");
    }
    assert_eq!(rows(&console, "SHOW VERSION;").await.len(), 1);
}

#[tokio::test]
async fn statistics_count_statements_transactions_bytes_and_times() {
    let cluster = two_shards();
    let weir = plain(&cluster);
    let app = connect(weir.port(), "postgres", "shop").await;
    let console = connect(weir.port(), "guest", "weir").await;
    let stats = async || console.query("SHOW STATS", &[]).await.unwrap().remove(0);
    let numbers = async || {
        let names = ["total_xact_count", "total_query_count", "total_sent", "total_query_time"];
        let totals = rows(&console, "SHOW TOTALS").await;
        let all = rows(&console, "SHOW STATS").await.remove(0);
        let columns = stats().await;
        let at = |name: &str| columns.columns().iter().position(|c| c.name() == name).unwrap();
        assert_eq!(totals.len(), 22);
        names.map(|name| all[at(name)].parse::<u64>().unwrap())
    };
    let before = numbers().await;
    app.batch_execute("BEGIN; SELECT pg_sleep(0.02); COMMIT").await.unwrap();
    app.query("SELECT $1::int", &[&1]).await.unwrap();
    let after = loop {
        let after = numbers().await;
        if after[0] >= before[0] + 2 {
            break after;
        }
    };
    assert_eq!(after[0] - before[0], 2, "a block and a statement");
    assert!(after[1] - before[1] >= 4 && after[2] > before[2], "{before:?} {after:?}");
    assert!(after[3] - before[3] >= 20_000, "microseconds: {before:?} {after:?}");
}

#[tokio::test]
async fn who_is_killed_is_told_and_what_is_new_waits() {
    let cluster = two_shards();
    let weir = plain(&cluster);
    let boss = connect(weir.port(), "boss", "weir").await;
    let (first, second) = (
        connect(weir.port(), "postgres", "shop").await,
        connect(weir.port(), "postgres", "shop").await,
    );
    let of = async |index: usize| {
        boss.query("SHOW CLIENTS", &[]).await.unwrap()[index].get::<_, i32>("id")
    };
    // In the middle of a statement.
    let sleeping = tokio::spawn(async move { first.batch_execute("SELECT pg_sleep(60)").await });
    while rows(&boss, "SHOW CLIENTS").await[0][4] != "active" {}
    let id = of(0).await;
    boss.execute(&format!("KILL CLIENT {id}"), &[]).await.unwrap();
    let error = sleeping.await.unwrap().unwrap_err();
    let told = error.as_db_error().unwrap_or_else(|| panic!("{error:?}"));
    assert_eq!((told.code().code(), told.severity()), ("57P01", "FATAL"));
    assert_eq!(refusal(&boss, &format!("KILL CLIENT {id}")).await.0, "42704");
    wait_for("the end of its statement", || connections_that_sleep(&cluster) == 0);

    backend(&second).await;
    boss.execute("KILL shop", &[]).await.unwrap();
    assert!(second.batch_execute("SELECT 1").await.is_err());
    let third = connect(weir.port(), "postgres", "shop").await;
    let waiting = tokio::spawn(async move { backend(&third).await });
    while rows(&boss, "SHOW CLIENTS").await[0][4] != "waiting" {}
    assert_eq!(rows(&boss, "SHOW POOLS").await[0][3], "1");
    boss.execute("RESUME shop", &[]).await.unwrap();
    waiting.await.unwrap();

    boss.execute("DISABLE shop", &[]).await.unwrap();
    let error = weir.psql("user=postgres dbname=shop", "SELECT 1").unwrap_err();
    assert!(error.contains("is not currently accepting connections"), "{error}");
    boss.execute("ENABLE shop", &[]).await.unwrap();
    assert_eq!(weir.psql("user=postgres dbname=shop", "SELECT 1").unwrap(), "1");
}

#[tokio::test]
async fn who_is_killed_with_a_server_of_its_own_leaves_nothing_running() {
    let cluster = two_shards();
    let weir = Weir::plain(&cluster, "shop", &format!("{SETTINGS}[pool]\nmode = 'session'\n"));
    let app = connect(weir.port(), "postgres", "shop").await;
    let sleeping = tokio::spawn(async move { app.batch_execute("SELECT pg_sleep(60)").await });
    while connections_that_sleep(&cluster) == 0 {
        tokio::task::yield_now().await;
    }
    weir.psql("user=boss dbname=weir", "KILL shop").unwrap();
    // Nobody knows where in an answer it is: the line's end is what it hears.
    assert!(sleeping.await.unwrap().unwrap_err().as_db_error().is_none());
    wait_for("the end of its statement", || connections_that_sleep(&cluster) == 0);
}

fn connections_that_sleep(cluster: &Cluster) -> usize {
    let text = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(60)%' \
                AND state = 'active'";
    cluster.shard(0).sql("postgres", text).unwrap().parse().unwrap()
}

#[tokio::test]
async fn set_changes_a_setting_until_the_next_reload() {
    let cluster = two_shards();
    let weir = plain(&cluster);
    let boss = connect(weir.port(), "boss", "weir").await;
    let guest = connect(weir.port(), "guest", "weir").await;
    let of = async |key: &str| {
        let all = rows(&boss, "SHOW CONFIG").await;
        all.into_iter().find(|row| row[0] == key).unwrap()[1].clone()
    };
    boss.execute("SET default_pool_size = 7", &[]).await.unwrap();
    boss.execute("SET timeouts.statement TO '5s'", &[]).await.unwrap();
    assert_eq!([of("pool.size").await, of("query_timeout").await], ["7", "5"]);
    assert_eq!(refusal(&guest, "SET pool.size = 9").await.0, "42501");
    assert_eq!(refusal(&boss, "SET limits.clients = 9").await.0, "55P02");
    let (code, message) = refusal(&boss, "SET pool.size = 'many'").await;
    assert_eq!(code, "F0000");
    assert!(message.contains("pool.size"), "{message}");
    assert_eq!(of("pool.size").await, "7");
    // What drivers say unasked is anybody's.
    guest.execute("SET extra_float_digits = 3", &[]).await.unwrap();
    boss.execute("RELOAD", &[]).await.unwrap();
    assert_eq!([of("pool.size").await, of("query_timeout").await], ["20", "0"]);
}

#[tokio::test]
async fn shutdown_waits_for_clients_and_takes_no_new_ones() {
    let cluster = two_shards();
    let mut weir = plain(&cluster);
    let app = connect(weir.port(), "postgres", "shop").await;
    weir.psql("user=boss dbname=weir", "SHUTDOWN WAIT_FOR_CLIENTS").unwrap();
    wait_for("no new clients", || weir.psql("user=postgres dbname=shop", "SELECT 1").is_err());
    assert!(backend(&app).await > 0);
    assert!(!weir.has_ended());
    drop(app);
    while !weir.has_ended() {
        tokio::task::yield_now().await;
    }
    assert_eq!(weir.ended(), Some(0), "{}", weir.log());
}

#[tokio::test]
async fn keys_that_most_statements_are_about_are_shown() {
    let cluster = two_shards();
    let rules = sharded(&cluster, &[("s0", 0), ("s1", 1)], 4, "");
    let weir = Weir::with_rules(&cluster, &rules, SETTINGS);
    let app = connect(weir.port(), "postgres", "shop").await;
    let console = connect(weir.port(), "guest", "weir").await;
    let select = app.prepare("SELECT id FROM orders WHERE user_id = $1").await.unwrap();
    // Half of all statements are about one key, in either protocol.
    for user in 0..2_000_i64 {
        let user = if user % 2 == 0 { 7 } else { 1_000 + user };
        app.query(&select, &[&user]).await.unwrap();
    }
    let heaviest = console.query("SHOW HOT KEYS", &[]).await.unwrap();
    let of = |kind: &str| heaviest.iter().find(|row| row.get::<_, &str>("kind") == kind).unwrap();
    let text = |column| of("key").get::<_, &str>(column);
    assert_eq!(["distribution", "key", "shard"].map(text), ["by_user", "7", "s1"]);
    assert_eq!(of("key").get::<_, i64>("bucket"), 3);
    let percent = of("key").get::<_, i64>("percent");
    assert!((25..=75).contains(&percent), "{heaviest:?}");
    assert_eq!(of("bucket").get::<_, i64>("bucket"), 3);
}

#[tokio::test]
async fn rules_buckets_plans_and_routes_are_shown() {
    let cluster = two_shards();
    let rules = sharded(&cluster, &[("s0", 0), ("s1", 1)], 4, "");
    let weir = Weir::with_rules(&cluster, &rules, SETTINGS);
    let app = connect(weir.port(), "postgres", "shop").await;
    for user in 0..3 {
        app.simple_query(&format!("SELECT id FROM orders WHERE user_id = {user}")).await.unwrap();
    }
    app.simple_query("SELECT count(*) FROM orders").await.unwrap();
    let console = connect(weir.port(), "guest", "weir").await;
    let buckets = rows(&console, "SHOW BUCKETS").await;
    assert_eq!(
        buckets,
        [["shop", "by_user", "s0", "2", "0,2"], ["shop", "by_user", "s1", "2", "1,3"]]
    );
    let rules = rows(&console, "SHOW RULES").await;
    let orders = rules.iter().find(|row| row[1] == "table").unwrap();
    assert_eq!(orders[2..6], ["orders", "by_user", "user_id", "sharded"]);
    assert!(orders[7].contains("rules.toml:"), "{orders:?}");
    let plans = loop {
        let plans = console.query("SHOW PLANS", &[]).await.unwrap();
        if plans.iter().map(|plan| plan.get::<_, i64>("calls")).sum::<i64>() >= 4 {
            break plans;
        }
    };
    let of = |like: &str| {
        let found = plans.iter().find(|plan| plan.get::<_, &str>("statement").contains(like));
        let plan = found.unwrap_or_else(|| panic!("{like}"));
        (
            plan.get::<_, Option<String>>("strategy").unwrap_or_default(),
            plan.get::<_, i64>("calls"),
            plan.get::<_, i64>("hits"),
        )
    };
    assert_eq!(of("user_id = "), ("single".to_owned(), 3, 2));
    assert_eq!(of("count(*)").0, "merge");
    assert!(plans.iter().all(|plan| !plan.get::<_, &str>("statement").contains("user_id = 2")));
    let route = "EXPLAIN ROUTE 'SELECT id FROM orders WHERE user_id = 3'";
    assert!(rows(&console, route).await[0][0].starts_with("shard s1"));
    let route = "EXPLAIN ROUTE shop 'SELECT count(*) FROM orders'";
    assert!(console.query(route, &[]).await.unwrap()[0].get::<_, &str>(0).starts_with("several"));
    assert_eq!(refusal(&console, "EXPLAIN ROUTE nowhere 'SELECT 1'").await.0, "3D000");
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
