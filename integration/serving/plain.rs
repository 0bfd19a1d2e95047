//! Rules without a distribution: one server, transaction or session mode, nothing rewritten.
use super::{TRUST, backend, connect, connections};
use crate::cluster::{Cluster, DATABASE};
use crate::weir::{Weir, psql, wait_for};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const APP: &str = "CREATE ROLE app LOGIN";

fn server() -> Cluster {
    let cluster = Cluster::start(1);
    cluster.on_every_shard(APP);
    cluster
}

#[test]
fn a_star_passes_every_database_name_on() {
    let cluster = server();
    cluster.shard(0).sql("postgres", "CREATE DATABASE one").unwrap();
    cluster.shard(0).sql("postgres", "CREATE DATABASE two").unwrap();
    let weir = Weir::plain(&cluster, "*", TRUST);
    for name in ["one", "two", "one"] {
        let there = weir.psql(&format!("user=app dbname={name}"), "SELECT current_database()");
        assert_eq!(there.as_deref(), Ok(name));
    }
    for _ in 0..5 {
        let error = weir.psql("user=app dbname=three", "SELECT 1").unwrap_err();
        assert!(error.contains("FATAL:  database \"three\" does not exist"), "{error}");
    }
    cluster.shard(0).sql("postgres", "CREATE DATABASE three").unwrap();
    wait_for("the new database", || weir.psql("user=app dbname=three", "SELECT 1").is_ok());
}

#[test]
fn a_database_that_no_rules_file_names_does_not_exist() {
    let cluster = server();
    let weir = Weir::plain(&cluster, DATABASE, TRUST);
    assert_eq!(weir.psql("user=app dbname=shop", "SELECT 1").as_deref(), Ok("1"));
    let error = weir.psql("user=app dbname=other", "SELECT 1").unwrap_err();
    assert!(error.contains("FATAL:  database \"other\" does not exist"), "{error}");
}

#[tokio::test]
async fn the_pool_mode_is_said_in_four_places() {
    let cluster = server();
    for (settings, sessions) in [
        ("", false),
        ("[pool]\nmode = 'session'", true),
        ("[database.shop]\npool_mode = 'session'", true),
        ("[[user]]\nname = 'app'\npool_mode = 'session'", true),
        ("[[user]]\nname = 'postgres'\npool_mode = 'session'", false),
        ("[pool]\nmode = 'session'\n[[user]]\nname = 'app'\npool_mode = 'transaction'", false),
    ] {
        let weir = Weir::plain(&cluster, DATABASE, &format!("{TRUST}{settings}"));
        assert_eq!(own_servers(weir.port()).await, sessions, "{settings}");
    }
    let port = cluster.shard(0).port();
    let rules = format!(
        "database = 'shop'\npool_mode = 'session'\n[[shard]]\nname = 'only'\n\
         primary = 'host=127.0.0.1 port={port}'\n"
    );
    let weir = Weir::with_rules(&cluster, &rules, TRUST);
    assert!(own_servers(weir.port()).await, "in the rules");
}

/// Whether two clients that take turns have a server each.
async fn own_servers(port: u16) -> bool {
    let (one, other) = (connect(port, "app", DATABASE).await, connect(port, "app", DATABASE).await);
    let seen = [backend(&one).await, backend(&other).await, backend(&one).await];
    assert_eq!(seen[0], seen[2]);
    seen[0] != seen[1]
}

/// What people do on one server. Each line that psql prints has to be the server's own.
const EVERYTHING: &str = r#"
\set VERBOSITY verbose
SET application_name = 'everything';
SHOW application_name;
CREATE TABLE t (id serial PRIMARY KEY, name text);
INSERT INTO t (name) SELECT 'n' || n FROM generate_series(1, 100) n;
SELECT count(*) FROM t;
CREATE TEMP TABLE mine (id int);
INSERT INTO mine SELECT generate_series(1, 3);
SELECT * FROM mine ORDER BY 1;
SELECT id INTO TEMP copied FROM t WHERE id < 3;
SELECT * FROM copied ORDER BY 1;
SELECT pg_advisory_lock(42);
SELECT pg_advisory_unlock(42);
BEGIN;
DECLARE held CURSOR WITH HOLD FOR SELECT id FROM t ORDER BY id;
FETCH 2 FROM held;
COMMIT;
FETCH 2 FROM held;
MOVE 10 IN held;
FETCH 1 FROM held;
CLOSE held;
COPY t FROM STDIN;
201	two hundred one
202	\N
\.
COPY (SELECT * FROM t WHERE id > 200 ORDER BY id) TO STDOUT WITH CSV;
DO $$ BEGIN RAISE NOTICE 'said'; END $$;
VACUUM t;
VACUUM (ANALYZE, VERBOSE OFF) t;
CREATE INDEX CONCURRENTLY t_name ON t (name);
REINDEX INDEX CONCURRENTLY t_name;
CREATE PROCEDURE commits() LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 301..303 LOOP
        INSERT INTO t VALUES (i, 'called');
        COMMIT;
    END LOOP;
END $$;
CALL commits();
SELECT count(*) FROM t WHERE name = 'called';
CREATE DATABASE everything_made;
DROP DATABASE everything_made;
PREPARE p (int) AS SELECT name FROM t WHERE id = $1;
EXECUTE p(7);
DEALLOCATE p;
SELECT currval('t_id_seq');
SELECT lo_from_bytea(4242, 'large');
BEGIN; SELECT lo_open(4242, 131072); SELECT loread(0, 3); COMMIT;
SELECT lo_unlink(4242);
BEGIN; SAVEPOINT a; INSERT INTO t VALUES (900); ROLLBACK TO a; COMMIT;
SELECT count(*) FROM t WHERE id = 900;
SET search_path = pg_catalog; SHOW search_path; RESET search_path; SHOW search_path;
SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY;
SHOW default_transaction_read_only;
RESET default_transaction_read_only;
BEGIN ISOLATION LEVEL SERIALIZABLE; SHOW transaction_isolation; COMMIT;
EXPLAIN (COSTS OFF) SELECT * FROM t WHERE id = 1;
CREATE TYPE mood AS ENUM ('sad', 'glad');
SELECT 'glad'::mood;
TRUNCATE t;
SELECT 1 \; SELECT 2 \; SELECT 3;
SELECT 'Grüße', E'a\tb', $x$quoted$x$;
DISCARD TEMP;
SELECT to_regclass('mine') IS NULL;
"#;

/// Errors come back word for word; psql stops at the first, so each has a run of its own.
const ERRORS: [&str; 5] = [
    "SELECT 1/0;",
    "SELEC 1;",
    "SELECT * FROM nowhere;",
    "INSERT INTO nowhere VALUES (1);",
    "BEGIN; SELECT 1/0;",
];

/// What large objects need beyond SQL: libpq reads and writes them with the function call protocol.
const LARGE_OBJECT: &str = "\\lo_import /etc/hostname\n\\lo_unlink :LASTOID\n";

#[test]
fn everything_works_in_session_mode_as_on_the_server() {
    let cluster = server();
    let weir = Weir::plain(&cluster, DATABASE, &format!("{TRUST}[pool]\nmode = 'session'\n"));
    same_as_the_server(&cluster, &weir, &format!("{EVERYTHING}{LARGE_OBJECT}"));
}

#[test]
fn nearly_everything_works_in_transaction_mode() {
    let cluster = server();
    let weir = Weir::plain(&cluster, DATABASE, TRUST);
    same_as_the_server(&cluster, &weir, EVERYTHING);
}

fn same_as_the_server(cluster: &Cluster, weir: &Weir, script: &str) {
    let direct = format!("host=127.0.0.1 port={}", cluster.shard(0).port());
    for text in ERRORS {
        let text = format!("\\set VERBOSITY verbose\n{text}");
        let place = "user=postgres dbname=shop";
        assert_eq!(weir.psql(place, &text), psql(&format!("{direct} {place}"), &text), "{text}");
    }
    cluster.shard(0).sql("postgres", "CREATE DATABASE plain").unwrap();
    let expected = psql(&format!("{direct} user=postgres dbname=plain"), script).unwrap();
    let lines = |text: &str| text.lines().map(strip_oid).collect::<Vec<_>>();
    let given = weir.psql("user=postgres dbname=shop", script).unwrap_or_else(|error| error);
    assert_eq!(lines(&given), lines(&expected));
}

/// `lo_import 16390`: the number is the server's choice.
fn strip_oid(line: &str) -> String {
    match line.starts_with("lo_") {
        true => line.trim_end_matches(|c: char| c.is_ascii_digit()).to_owned(),
        false => line.to_owned(),
    }
}

#[tokio::test]
async fn notifications_reach_a_listener_in_both_modes() {
    let cluster = server();
    for mode in ["session", "transaction"] {
        let weir =
            Weir::plain(&cluster, DATABASE, &format!("{TRUST}[pool]\nmode = '{mode}'\nsize = 3\n"));
        let mut psql = std::process::Command::new("psql")
            .args(["-X", "-q", "-d"])
            .arg(format!("host=127.0.0.1 port={} user=app dbname=shop", weir.port()))
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = psql.stdin.take().unwrap();
        input.write_all(b"LISTEN news;\nSELECT 'ready';\n").unwrap();
        tokio::time::sleep(Duration::from_millis(500)).await;
        weir.psql("user=app dbname=shop", "NOTIFY news, 'heard'").unwrap();
        input.write_all(b"SELECT pg_sleep(0.3);\n").unwrap();
        drop(input);
        let output = psql.wait_with_output().unwrap();
        let printed = String::from_utf8_lossy(&output.stdout);
        assert!(printed.contains("\"news\" with payload \"heard\""), "{mode}: {printed}");
    }
}

#[test]
fn replication_is_refused_with_a_way_out() {
    let cluster = server();
    let weir = Weir::plain(&cluster, DATABASE, &format!("{TRUST}[pool]\nmode = 'session'\n"));
    for replication in ["replication=database", "replication=on"] {
        let error = weir.psql(&format!("user=postgres dbname=shop {replication}"), "SELECT 1");
        let error = error.unwrap_err();
        assert!(error.contains("FATAL:  replication connections are not served"), "{error}");
    }
}

#[tokio::test]
async fn a_cancel_request_stops_the_clients_own_statement_only() {
    let cluster = server();
    for (workers, settings) in [
        ("", "[pool]\nmode = 'session'"),
        ("", "[pool]\nmode = 'transaction'"),
        // The request may arrive at another worker than the client's.
        ("workers = 4\n", "[pool]\nmode = 'transaction'"),
    ] {
        let weir = Weir::plain(&cluster, DATABASE, &format!("{workers}{TRUST}{settings}"));
        let one = connect(weir.port(), "app", DATABASE).await;
        let other = connect(weir.port(), "app", DATABASE).await;
        let token = one.cancel_token();
        let sleeping = tokio::spawn(async move {
            let outcome = one.batch_execute("SELECT pg_sleep(20)").await;
            (outcome, one)
        });
        let undisturbed =
            tokio::spawn(async move { other.batch_execute("SELECT pg_sleep(1)").await });
        tokio::time::sleep(Duration::from_millis(300)).await;
        token.cancel_query(tokio_postgres::NoTls).await.unwrap();
        let (outcome, one) = sleeping.await.unwrap();
        let error = outcome.unwrap_err();
        assert_eq!(error.code().map(|code| code.code()), Some("57014"), "{settings}: {error}");
        one.batch_execute("SELECT 1").await.expect("the session goes on");
        undisturbed.await.unwrap().expect("another's statement goes on");
    }
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_session_with_it() {
    let cluster = server();
    let weir = Weir::plain(&cluster, DATABASE, &format!("{TRUST}[pool]\nmode = 'session'\n"));
    let client = connect(weir.port(), "app", DATABASE).await;
    client.batch_execute("BEGIN; CREATE TEMP TABLE mine (); SELECT 1").await.unwrap();
    assert!(connections(&cluster, "app") >= 1);
    drop(client);
    // The driver's task has to run to close the line.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let open = "SELECT count(*) FROM pg_stat_activity \
                WHERE usename = 'app' AND state LIKE 'idle in%'";
    wait_for("the end of the session's server", || {
        cluster.shard(0).sql("postgres", open).as_deref() == Ok("0")
    });
    let next = connect(weir.port(), "app", DATABASE).await;
    let seen = next.query_one("SELECT to_regclass('mine') IS NULL", &[]).await.unwrap();
    assert!(seen.get::<_, bool>(0), "nothing of one session is visible to the next");
}

#[tokio::test]
async fn what_the_server_says_at_its_end_is_what_the_client_hears() {
    let cluster = server();
    for mode in ["session", "transaction"] {
        let weir = Weir::plain(&cluster, DATABASE, &format!("{TRUST}[pool]\nmode = '{mode}'\n"));
        let client = connect(weir.port(), "app", DATABASE).await;
        let pid = backend(&client).await;
        let kill = format!("SELECT pg_sleep(0.3); SELECT pg_terminate_backend({pid})");
        let server = cluster.shard(0);
        let (ended, _) = tokio::join!(client.batch_execute("SELECT pg_sleep(20)"), async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            server.sql("postgres", &kill).unwrap();
        });
        let error = ended.unwrap_err();
        assert_eq!(error.code().map(|code| code.code()), Some("57P01"), "{mode}: {error:?}");
    }
}

#[test]
fn a_client_of_protocol_3_2_gets_a_long_key_and_cancels_with_it() {
    let cluster = server();
    for mode in ["session", "transaction"] {
        let weir = Weir::plain(&cluster, DATABASE, &format!("{TRUST}[pool]\nmode = '{mode}'\n"));
        let mut client = TcpStream::connect(("127.0.0.1", weir.port())).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut packet = vec![0, 3, 0, 2];
        packet.extend_from_slice(b"user\0app\0database\0shop\0\0");
        send(&mut client, None, &packet);
        let key = until(&mut client, b'K');
        assert_eq!(key.len(), 36, "a process id and a secret of 32 bytes");
        until(&mut client, b'Z');
        send(&mut client, Some(b'Q'), b"SELECT pg_sleep(20)\0");
        std::thread::sleep(Duration::from_millis(300));
        let mut cancel = TcpStream::connect(("127.0.0.1", weir.port())).unwrap();
        let mut packet = 80_877_102_u32.to_be_bytes().to_vec();
        packet.extend_from_slice(&key);
        send(&mut cancel, None, &packet);
        let error = until(&mut client, b'E');
        assert!(String::from_utf8_lossy(&error).contains("57014"), "{mode}");
    }
}

fn send(stream: &mut TcpStream, kind: Option<u8>, body: &[u8]) {
    let mut message: Vec<u8> = kind.into_iter().collect();
    message.extend_from_slice(&u32::try_from(body.len() + 4).unwrap().to_be_bytes());
    message.extend_from_slice(body);
    stream.write_all(&message).unwrap();
}

/// The body of the next message of that kind.
fn until(stream: &mut TcpStream, kind: u8) -> Vec<u8> {
    loop {
        let mut head = [0; 5];
        stream.read_exact(&mut head).unwrap();
        let [found, length @ ..] = head;
        let mut body = vec![0; u32::from_be_bytes(length) as usize - 4];
        stream.read_exact(&mut body).unwrap();
        if found == kind {
            return body;
        }
    }
}

#[tokio::test]
async fn the_pools_size_bounds_a_users_server_connections() {
    let cluster = server();
    cluster.on_every_shard("CREATE ROLE big LOGIN");
    for workers in ["", "workers = 2\n"] {
        let settings = format!(
            "{workers}[auth]\nmethod = 'trust'\n[pool]\nsize = 2\n\
             [[user]]\nname = 'big'\npool_size = 4\n"
        );
        let weir = Weir::plain(&cluster, DATABASE, &settings);
        for (user, size) in [("app", 2), ("big", 4)] {
            let mut clients = Vec::new();
            for _ in 0..10 {
                clients.push(connect(weir.port(), user, DATABASE).await);
            }
            let work: Vec<_> = clients
                .into_iter()
                .map(|client| {
                    tokio::spawn(async move {
                        for _ in 0..3 {
                            client.batch_execute("SELECT pg_sleep(0.1)").await.unwrap();
                        }
                    })
                })
                .collect();
            let mut most = 0;
            let busy = format!(
                "SELECT count(*) FROM pg_stat_activity WHERE usename = '{user}' AND state = 'active'"
            );
            while !work.iter().all(|task| task.is_finished()) {
                let now: usize = cluster.shard(0).sql("postgres", &busy).unwrap().parse().unwrap();
                most = most.max(now);
                assert!(connections(&cluster, user) <= size * (1 + workers.len().min(1)));
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            for task in work {
                task.await.unwrap();
            }
            assert_eq!(most, size, "{user} with {workers:?}");
        }
    }
}
