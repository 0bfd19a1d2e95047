//! tokio-postgres: the program is this test itself. Its requests are pipelined whenever their
//! futures are polled together.
use super::{Endpoint, PASSWORD, Peer, USER, on_plain_postgresql, through_weir};
use crate::cluster::DATABASE;
use futures_util::{SinkExt, TryStreamExt, future::join_all, pin_mut};
use std::time::{Duration, SystemTime};
use tokio_postgres::{Client, IsolationLevel, NoTls, SimpleQueryMessage, error::SqlState};

const CLIENTS: i64 = 8;
const FIRST_USER: i64 = 10_000;

#[test]
fn works_on_plain_postgresql() {
    on_plain_postgresql(test);
}

#[test]
fn works_through_weir() {
    through_weir(test);
}

fn test(endpoint: &Endpoint) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        crud_by_user(endpoint).await;
        transactions_and_savepoints(endpoint).await;
        prepared_statements_over_fewer_servers(endpoint).await;
        pipelines(endpoint).await;
        portals_fetch_in_parts(endpoint).await;
        copy_where_one_shard_is_concerned(endpoint).await;
        cancel_meets_only_the_own_statement(endpoint).await;
        errors_keep_their_fields(endpoint).await;
        settings_stay_with_their_client(endpoint).await;
        types_in_binary(endpoint).await;
    });
}

fn users() -> impl Iterator<Item = i64> + Clone {
    FIRST_USER..FIRST_USER + CLIENTS
}

async fn connect(endpoint: &Endpoint) -> Client {
    connect_with(endpoint, "").await
}

async fn connect_with(endpoint: &Endpoint, options: &str) -> Client {
    let (client, connection) = tokio_postgres::Config::new()
        .host("127.0.0.1")
        .port(endpoint.port)
        .user(USER)
        .password(PASSWORD)
        .dbname(DATABASE)
        .options(options)
        .connect(NoTls)
        .await
        .unwrap();
    // Ends with its client.
    tokio::spawn(async move { connection.await.unwrap() });
    client
}

async fn name(client: &Client, user: i64) -> String {
    client.query_one("SELECT name FROM users WHERE id = $1", &[&user]).await.unwrap().get(0)
}

async fn crud_by_user(endpoint: &Endpoint) {
    let client = connect(endpoint).await;
    for user in users() {
        let (email, name) = (format!("user{user}@example.com"), format!("User {user}"));
        let insert = "INSERT INTO users (id, email, name) VALUES ($1, $2, $3)";
        assert_eq!(client.execute(insert, &[&user, &email, &name]).await.unwrap(), 1);
        // The simple protocol.
        let orders = format!(
            "INSERT INTO orders (user_id, order_no, total) VALUES ({user}, 'T-{user}-0', 10);
             INSERT INTO orders (user_id, order_no, total) VALUES ({user}, 'T-{user}-1', 11)"
        );
        client.batch_execute(&orders).await.unwrap();
    }
    for user in users() {
        let rows = client
            .query(
                "SELECT o.order_no, u.name FROM users u JOIN orders o ON o.user_id = u.id \
                 WHERE u.id = $1 ORDER BY 1",
                &[&user],
            )
            .await
            .unwrap();
        let found: Vec<(String, String)> =
            rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        let name = format!("User {user}");
        assert_eq!(found, [(format!("T-{user}-0"), name.clone()), (format!("T-{user}-1"), name)]);
    }
    let user = FIRST_USER;
    let row = client
        .query_one(
            "UPDATE orders SET status = 'paid' WHERE user_id = $1 AND order_no = $2 \
             RETURNING status::text",
            &[&user, &format!("T-{user}-0")],
        )
        .await
        .unwrap();
    assert_eq!(row.get::<_, &str>(0), "paid");
    let delete = "DELETE FROM orders WHERE user_id = $1 AND order_no = $2";
    assert_eq!(client.execute(delete, &[&user, &format!("T-{user}-1")]).await.unwrap(), 1);
}

async fn transactions_and_savepoints(endpoint: &Endpoint) {
    let user = FIRST_USER + 1;
    let mut client = connect(endpoint).await;
    let rename = client.prepare("UPDATE users SET name = $2 WHERE id = $1").await.unwrap();

    let transaction = client.transaction().await.unwrap();
    transaction.execute(&rename, &[&user, &"Committed"]).await.unwrap();
    transaction.commit().await.unwrap();
    let transaction = client
        .build_transaction()
        .isolation_level(IsolationLevel::RepeatableRead)
        .start()
        .await
        .unwrap();
    transaction.execute(&rename, &[&user, &"Lost"]).await.unwrap();
    transaction.rollback().await.unwrap();
    assert_eq!(name(&client, user).await, "Committed");

    let mut transaction = client.transaction().await.unwrap();
    transaction.execute(&rename, &[&user, &"Outer"]).await.unwrap();
    let savepoint = transaction.savepoint("inner_one").await.unwrap();
    let error = savepoint.execute(&rename, &[&user, &None::<String>]).await.unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::NOT_NULL_VIOLATION));
    let error = savepoint.execute(&rename, &[&user, &"Too late"]).await.unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::IN_FAILED_SQL_TRANSACTION));
    savepoint.rollback().await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(name(&client, user).await, "Outer");
    // Dropped without an end: rolled back.
    let transaction = client.transaction().await.unwrap();
    transaction.execute(&rename, &[&user, &"Lost"]).await.unwrap();
    drop(transaction);
    assert_eq!(name(&client, user).await, "Outer");
}

async fn prepared_statements_over_fewer_servers(endpoint: &Endpoint) {
    let clients: Vec<Client> = join_all(users().map(|_| connect(endpoint))).await;
    join_all(users().zip(clients).map(|(user, mut client)| async move {
        let read = client.prepare("SELECT id, email FROM users WHERE id = $1").await.unwrap();
        let note = client.prepare("UPDATE orders SET note = $2 WHERE user_id = $1").await.unwrap();
        for turn in 0..25 {
            let row = client.query_one(&read, &[&user]).await.unwrap();
            assert_eq!(row.get::<_, i64>(0), user);
            assert_eq!(row.get::<_, &str>(1), format!("user{user}@example.com"));
            let transaction = client.transaction().await.unwrap();
            transaction.execute(&note, &[&user, &format!("turn {turn}")]).await.unwrap();
            transaction.commit().await.unwrap();
        }
        let query = "SELECT DISTINCT note FROM orders WHERE user_id = $1";
        let row = client.query_one(query, &[&user]).await.unwrap();
        assert_eq!(row.get::<_, &str>(0), "turn 24");
    }))
    .await;
}

async fn pipelines(endpoint: &Endpoint) {
    let client = connect(endpoint).await;
    let read = client.prepare("SELECT id FROM users WHERE id = $1").await.unwrap();
    // 400 statements in flight on one connection, each for its own shard, answered in order.
    let asked: Vec<i64> = users().cycle().take(400).collect();
    let answers =
        join_all(asked.iter().map(|user| async {
            client.query_one(&read, &[user]).await.unwrap().get::<_, i64>(0)
        }))
        .await;
    assert_eq!(answers, asked);
    // Each statement has its own Sync, so one that fails takes nobody with it.
    let divide = client.prepare("SELECT 10 / $2::int4 FROM users WHERE id = $1").await.unwrap();
    let answers = join_all([5, 0, 2].map(|by| {
        let (client, divide) = (&client, &divide);
        async move { client.query_one(divide, &[&FIRST_USER, &by]).await.map(|row| row.get(0)) }
    }))
    .await;
    let codes: Vec<Result<i32, SqlState>> = answers
        .into_iter()
        .map(|answer| answer.map_err(|error| error.code().cloned().unwrap()))
        .collect();
    assert_eq!(codes, [Ok(2), Err(SqlState::DIVISION_BY_ZERO), Ok(5)]);
}

async fn portals_fetch_in_parts(endpoint: &Endpoint) {
    let user = FIRST_USER + 2;
    let mut client = connect(endpoint).await;
    let insert = client
        .prepare(
            "INSERT INTO order_items (user_id, order_no, line_no, product_id, quantity, price) \
             VALUES ($1, $2, $3, 1, 1, 4.90)",
        )
        .await
        .unwrap();
    for line in 1..=25 {
        client.execute(&insert, &[&user, &format!("T-{user}-0"), &line]).await.unwrap();
    }
    let transaction = client.transaction().await.unwrap();
    let portal = transaction
        .bind("SELECT line_no FROM order_items WHERE user_id = $1 ORDER BY 1", &[&user])
        .await
        .unwrap();
    let mut seen: Vec<i32> = Vec::new();
    for expected in [10, 10, 5, 0] {
        let rows = transaction.query_portal(&portal, 10).await.unwrap();
        assert_eq!(rows.len(), expected);
        seen.extend(rows.iter().map(|row| row.get::<_, i32>(0)));
    }
    assert_eq!(seen, (1..=25).collect::<Vec<_>>());
    transaction.commit().await.unwrap();
}

async fn copy_where_one_shard_is_concerned(endpoint: &Endpoint) {
    let user = FIRST_USER + 2;
    let mut client = connect(endpoint).await;
    let query = format!(
        "COPY (SELECT line_no FROM order_items WHERE user_id = {user} ORDER BY 1 LIMIT 3) TO STDOUT"
    );
    let parts: Vec<_> =
        client.copy_out(&query).await.unwrap().try_collect::<Vec<_>>().await.unwrap();
    assert_eq!(parts.concat(), b"1\n2\n3\n");

    let transaction = client.transaction().await.unwrap();
    let sink = transaction.copy_in("COPY audit_log (actor, action) FROM STDIN").await.unwrap();
    pin_mut!(sink);
    for number in 0..1000 {
        let line = format!("tokio\taction {number}\n");
        sink.send(bytes::Bytes::from(line)).await.unwrap();
    }
    assert_eq!(sink.finish().await.unwrap(), 1000);
    transaction.rollback().await.unwrap();
    let sink = client.copy_in("COPY audit_log (actor, action) FROM STDIN").await.unwrap();
    pin_mut!(sink);
    sink.send(bytes::Bytes::from_static(b"tokio\tkept\n")).await.unwrap();
    assert_eq!(sink.finish().await.unwrap(), 1);
    // A COPY that the client breaks off leaves nothing and a usable session.
    let sink = client.copy_in::<_, bytes::Bytes>("COPY audit_log (actor, action) FROM STDIN").await;
    drop(sink.unwrap());
    let bystander = connect(endpoint).await;
    let count = "SELECT count(*) FROM audit_log WHERE actor = 'tokio'";
    for client in [&client, &bystander] {
        assert_eq!(client.query_one(count, &[]).await.unwrap().get::<_, i64>(0), 1);
    }
}

async fn cancel_meets_only_the_own_statement(endpoint: &Endpoint) {
    let user = FIRST_USER + 3;
    let (client, bystander) = (connect(endpoint).await, connect(endpoint).await);
    let token = client.cancel_token();
    let params: [&(dyn tokio_postgres::types::ToSql + Sync); 1] = [&user];
    let sleep = client.query("SELECT pg_sleep(60) FROM users WHERE id = $1", &params);
    pin_mut!(sleep);
    // A cancel before the statement runs does nothing: ask again.
    let error = loop {
        token.cancel_query(NoTls).await.unwrap();
        assert_eq!(name(&bystander, user).await, format!("User {user}"));
        if let Ok(end) = tokio::time::timeout(Duration::from_millis(100), &mut sleep).await {
            break end.unwrap_err();
        }
    };
    assert_eq!(error.code(), Some(&SqlState::QUERY_CANCELED));
    assert_eq!(name(&client, user).await, format!("User {user}"));
}

async fn errors_keep_their_fields(endpoint: &Endpoint) {
    let user = FIRST_USER + 4;
    let client = connect(endpoint).await;
    let insert = "INSERT INTO orders (user_id, order_no) VALUES ($1, $2)";
    let number = format!("T-{user}-0");
    let error = client.execute(insert, &[&user, &number]).await.unwrap_err();
    let fields = error.as_db_error().unwrap();
    assert_eq!(fields.code(), &SqlState::UNIQUE_VIOLATION);
    assert_eq!(fields.constraint(), Some("orders_order_no_key"));
    assert_eq!((fields.schema(), fields.table()), (Some("public"), Some("orders")));
    assert_eq!(
        fields.detail(),
        Some(format!("Key (order_no)=({number}) already exists.").as_str())
    );

    let error = client.query("SELEC 1", &[]).await.unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::SYNTAX_ERROR));
    if endpoint.peer == Peer::Weir {
        let error = client.query("SELECT id FROM orders FOR UPDATE", &[]).await.unwrap_err();
        let refused = error.as_db_error().unwrap();
        assert_eq!(refused.code(), &SqlState::FEATURE_NOT_SUPPORTED);
        assert!(refused.hint().is_some(), "a refusal has a hint: {refused:?}");
    }
    assert_eq!(name(&client, user).await, format!("User {user}"));
}

async fn show(client: &Client, setting: &str) -> String {
    let answer = client.simple_query(&format!("SHOW {setting}")).await.unwrap();
    let row = answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    });
    row.unwrap()
}

async fn settings_stay_with_their_client(endpoint: &Endpoint) {
    let client = connect_with(endpoint, "-c statement_timeout=7s").await;
    let other = connect(endpoint).await;
    let default = show(&other, "work_mem").await;
    client.batch_execute("SET work_mem = '9MB'").await.unwrap();
    let query = "SELECT current_setting('work_mem'), current_setting('statement_timeout') \
                 FROM users WHERE id = $1";
    for user in users() {
        let row = client.query_one(query, &[&user]).await.unwrap();
        assert_eq!((row.get(0), row.get(1)), ("9MB", "7s"));
        let row = other.query_one(query, &[&user]).await.unwrap();
        assert_eq!((row.get(0), row.get(1)), (default.as_str(), "0"));
    }
    assert_eq!(show(&client, "work_mem").await, "9MB");
    client.batch_execute("RESET work_mem").await.unwrap();
    assert_eq!(show(&client, "work_mem").await, default);
}

async fn types_in_binary(endpoint: &Endpoint) {
    let user = FIRST_USER + 5;
    let client = connect(endpoint).await;
    let moment = SystemTime::UNIX_EPOCH + Duration::from_micros(1_772_323_199_123_456);
    let (text, bytes) = ("naïve 'quotes' \\ and \u{2603}", (0..=255).collect::<Vec<u8>>());
    let (numbers, words) = (vec![Some(1), None, Some(3)], vec!["a,b", "c\"d", ""]);
    let row = client
        .query_one(
            "SELECT $1::int2, $2::int8, $3::float8, $4::text, $5::bytea, $6::bool, \
                    $7::timestamptz, $8::int4[], $9::text[], NULL::int4 \
             FROM users WHERE id = $10",
            &[
                &-7i16,
                &(1i64 << 62),
                &0.1f64,
                &text,
                &bytes,
                &true,
                &moment,
                &numbers,
                &words,
                &user,
            ],
        )
        .await
        .unwrap();
    assert_eq!((row.get(0), row.get(1), row.get(2)), (-7i16, 1i64 << 62, 0.1f64));
    assert_eq!((row.get(3), row.get(5), row.get(6)), (text, true, moment));
    assert_eq!(row.get::<_, Vec<u8>>(4), bytes);
    assert_eq!(row.get::<_, Vec<Option<i32>>>(7), numbers);
    assert_eq!(row.get::<_, Vec<&str>>(8), words);
    assert_eq!(row.get::<_, Option<i32>>(9), None);
    // A type that the driver looks up in the catalog.
    let row = client
        .query_one("SELECT status FROM orders WHERE user_id = $1 LIMIT 1", &[&user])
        .await
        .unwrap();
    assert_eq!(row.columns()[0].type_().name(), "order_status");
}
