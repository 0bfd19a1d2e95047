//! Logging in to real servers, and being logged in to: every method, every kind of line.
use crate::cluster::{Cluster, DATABASE};
use bytes::BytesMut;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::sync::Arc;
use tokio::io::AsyncReadExt;
use weir::auth::client::{Door, Lookup, Method, NoLookup, Strangers, authenticate};
use weir::auth::tls::{Acceptor, Connector, Identity};
use weir::auth::users::{Stored, Users};
use weir::auth::{Login, Secret, line};
use weir::backend::connection::Look;
use weir::backend::{
    Address, ConnectError, ConnectOptions, Connection, Health, cancel, control, startup,
};
use weir::cli::throwaway::Postgres;
use weir::error::{Error, SqlState};
use weir::wire::server::TransactionStatus;
use weir::wire::{encode, frame};

/// A server with TLS, and a role for each way to log in; the password is always `pencil`.
struct Guarded {
    cluster: Cluster,
    root: String,
}

const RULES: &str = "\
local     all  all           trust
host      all  in_scram      127.0.0.1/32  scram-sha-256
host      all  in_md5        127.0.0.1/32  md5
host      all  in_clear      127.0.0.1/32  password
hostssl   all  in_tls        127.0.0.1/32  scram-sha-256
hostnossl all  in_plain      127.0.0.1/32  scram-sha-256
host      all  in_reject     127.0.0.1/32  reject
host      all  postgres      127.0.0.1/32  trust
";

impl Guarded {
    fn start() -> Self {
        let cluster = Cluster::start(1);
        let (root, certificate, key) = certificates();
        let server = cluster.shard(0);
        // The server writes its own files, so that they belong to whoever it runs as.
        let write = |file: &str, text: &str| {
            let sql = format!(
                "COPY (SELECT regexp_split_to_table($file${text}$file$, '\\n')) \
                 TO PROGRAM 'umask 077; cat > {file}'"
            );
            server.sql("postgres", &sql).unwrap();
        };
        write("server.crt", &certificate);
        write("server.key", &key);
        write("pg_hba.conf", RULES);
        server
            .sql(
                "postgres",
                "SET password_encryption = 'scram-sha-256';
                 CREATE ROLE in_scram LOGIN PASSWORD 'pencil';
                 CREATE ROLE in_clear LOGIN PASSWORD 'pencil';
                 CREATE ROLE in_tls LOGIN PASSWORD 'pencil';
                 CREATE ROLE in_plain LOGIN PASSWORD 'pencil';
                 CREATE ROLE in_reject LOGIN PASSWORD 'pencil';
                 SET password_encryption = 'md5';
                 CREATE ROLE in_md5 LOGIN PASSWORD 'pencil';
                 ALTER SYSTEM SET ssl = on;",
            )
            .unwrap();
        server.reload().unwrap();
        while server.sql("postgres", "SHOW ssl").unwrap().trim() != "on" {}
        Self { cluster, root }
    }

    fn server(&self) -> &Postgres {
        self.cluster.shard(0)
    }

    fn address(&self, more: &str) -> Arc<Address> {
        let port = self.server().port();
        let host = if more.contains("host=") { "" } else { "host=localhost" };
        let text = format!("{host} hostaddr=127.0.0.1 port={port} dbname={DATABASE} {more}");
        Arc::new(Address::parse(&text).unwrap())
    }

    async fn connect(&self, login: &Login, more: &str) -> Result<Connection, ConnectError> {
        let address = self.address(more);
        let roots = more.contains("sslrootcert").then_some(self.root.as_bytes());
        let tls = Connector::new(address.tls, roots, None).unwrap();
        let options = ConnectOptions { tls: Some(tls), ..ConnectOptions::default() };
        startup::connect(&address, login, &options).await
    }
}

/// A root; a certificate for `localhost` and its key.
fn certificates() -> (String, String, String) {
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["localhost".into()]).unwrap();
    (ca.pem(), leaf.signed_by(&key, &ca).unwrap().pem(), key.serialize_pem())
}

fn pencil(user: &str) -> Login {
    Login::new(user, Secret::Password("pencil".into()))
}

/// Runs one statement; its first value, or its SQLSTATE.
pub async fn ask(connection: &mut Connection, sql: &str) -> Result<String, SqlState> {
    let rows = connection.ask(sql).await.map_err(|error| error.code)?;
    Ok(rows.into_iter().flatten().next().flatten().unwrap_or_default())
}

async fn whoami(outcome: Result<Connection, ConnectError>) -> String {
    let mut connection = outcome.unwrap();
    let sql = "SELECT concat_ws(' ', current_user, (SELECT ssl FROM pg_stat_ssl \
               WHERE pid = pg_backend_pid()))";
    ask(&mut connection, sql).await.unwrap()
}

#[tokio::test]
async fn every_method_lets_the_right_password_in_and_no_other() {
    let server = Guarded::start();
    for user in ["in_scram", "in_md5", "in_clear"] {
        for (mode, tls) in [("disable", "f"), ("require", "t")] {
            let more = format!("sslmode={mode}");
            let login = pencil(user);
            assert_eq!(whoami(server.connect(&login, &more).await).await, format!("{user} {tls}"));
            let wrong = Login::new(user, Secret::Password("pen".into()));
            let refused = server.connect(&wrong, &more).await;
            let Err(ConnectError::Refused(error)) = refused else { panic!("{refused:?}") };
            assert_eq!(error.code, SqlState::INVALID_PASSWORD);
            let none = Login::new(user, Secret::None);
            assert!(matches!(server.connect(&none, &more).await, Err(ConnectError::Login(_))));
        }
    }
    let hash = weir::auth::md5::stored("in_md5", "pencil");
    let by_hash = Login::new("in_md5", Secret::Md5(hash));
    assert_eq!(whoami(server.connect(&by_hash, "sslmode=disable").await).await, "in_md5 f");
}

#[tokio::test]
async fn sslmode_means_what_it_means_to_libpq() {
    let server = Guarded::start();
    let cases = [
        // the role, the mode, and whether the line is private in the end
        ("in_scram", "sslmode=prefer", Some("t")),
        ("in_scram", "sslmode=allow", Some("f")),
        ("in_tls", "sslmode=prefer", Some("t")),
        ("in_tls", "sslmode=allow", Some("t")),
        ("in_tls", "sslmode=disable", None),
        ("in_plain", "sslmode=prefer", Some("f")),
        ("in_plain", "sslmode=require", None),
        ("in_scram", "sslmode=verify-ca sslrootcert=given", Some("t")),
        ("in_scram", "sslmode=verify-full sslrootcert=given", Some("t")),
        ("in_scram", "sslmode=verify-ca sslrootcert=given host=elsewhere", Some("t")),
        ("in_scram", "sslmode=verify-full sslrootcert=given host=elsewhere", None),
    ];
    for (user, more, private) in cases {
        let outcome = server.connect(&pencil(user), more).await;
        match private {
            Some(tls) => {
                assert_eq!(whoami(outcome).await, format!("{user} {tls}"), "{user} {more}")
            }
            None => assert!(outcome.is_err(), "{user} {more}"),
        }
    }
}

#[tokio::test]
async fn a_refusal_keeps_the_servers_words_and_costs_no_second_attempt() {
    let server = Guarded::start();
    let refused = server.connect(&pencil("in_reject"), "sslmode=require").await;
    let Err(ConnectError::Refused(error)) = refused else { panic!("{refused:?}") };
    assert_eq!(error.code, SqlState::INVALID_AUTHORIZATION);
    assert!(error.message.contains("pg_hba.conf rejects connection"), "{error}");
    let told = ConnectError::Refused(error).to_error("shard s0 (127.0.0.1:1)");
    assert_eq!(told.code, SqlState::CANNOT_CONNECT);
    assert!(told.message.starts_with("could not connect to shard s0 (127.0.0.1:1): pg_hba.conf"));
}

#[tokio::test]
async fn a_running_statement_is_cancelled_over_either_kind_of_line() {
    let server = Guarded::start();
    for mode in ["sslmode=disable", "sslmode=require"] {
        let mut connection = server.connect(&pencil("in_scram"), mode).await.unwrap();
        let key = connection.cancel.clone();
        let watcher = server.connect(&pencil("postgres"), mode).await;
        let mut watcher = watcher.unwrap();
        let stop = async {
            let running = format!(
                "SELECT count(*) FROM pg_stat_activity WHERE pid = {} AND wait_event = 'PgSleep'",
                key.pid
            );
            while ask(&mut watcher, &running).await.unwrap() != "1" {}
            cancel::cancel(&key).await.unwrap();
        };
        let (outcome, ()) = tokio::join!(ask(&mut connection, "SELECT pg_sleep(60)"), stop);
        assert_eq!(outcome, Err(SqlState::QUERY_CANCELED));
        assert_eq!(ask(&mut connection, "SELECT 1").await.unwrap(), "1");
    }
}

#[tokio::test]
async fn the_control_client_logs_in_over_our_own_lines() {
    let server = Guarded::start();
    for mode in ["sslmode=disable", "sslmode=require"] {
        let address = server.address(mode);
        let tls = Some(Connector::new(address.tls, None, None).unwrap());
        let options = ConnectOptions { tls, ..ConnectOptions::default() };
        let client = control::connect(&address, &pencil("in_scram"), &options).await.unwrap();
        let row = client.query_one("SELECT current_user::text", &[]).await.unwrap();
        assert_eq!(row.get::<_, String>(0), "in_scram");
        let wrong = Login::new("in_scram", Secret::Password("pen".into()));
        let refused = control::connect(&address, &wrong, &options).await;
        assert!(
            matches!(refused, Err(ConnectError::Refused(e)) if e.code == SqlState::INVALID_PASSWORD)
        );
    }
}

#[tokio::test]
async fn an_idle_connection_that_ends_is_noticed_over_either_kind_of_line() {
    let server = Guarded::start();
    for mode in ["sslmode=disable", "sslmode=require"] {
        let mut connection = server.connect(&pencil("in_scram"), mode).await.unwrap();
        let mut other = server.connect(&pencil("postgres"), mode).await.unwrap();
        for look in [Look::Runtime, Look::System] {
            assert_eq!(connection.check_idle(look), Ok(()));
        }
        let pid = connection.cancel.pid;
        ask(&mut other, &format!("SELECT pg_terminate_backend({pid}, 10000)")).await.unwrap();
        assert_eq!(connection.check_idle(Look::System), Err("the server ended the session"));
    }
}

#[tokio::test]
async fn a_question_leaves_the_connection_clean_or_closed() {
    let server = Guarded::start();
    let mut connection = server.connect(&pencil("in_scram"), "sslmode=disable").await.unwrap();
    let rows = connection.ask("SELECT 1, NULL UNION ALL SELECT 2, 'x'").await.unwrap();
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(rows, [[text("1"), None], [text("2"), text("x")]]);
    assert_eq!(connection.ask("SELECT 1/0").await.unwrap_err().message, "division by zero");
    assert_eq!(connection.health, Health::Clean);
    connection.ask("SET TimeZone = 'Asia/Tokyo'").await.unwrap();
    assert_eq!(connection.parameters.get("TimeZone").unwrap(), "Asia/Tokyo");
    assert!(connection.ask("BEGIN").await.is_err());
    assert!(matches!(connection.health, Health::Tainted(_)));
}

/// Knows one user whom the file does not name.
struct Elsewhere;

impl Lookup for Elsewhere {
    async fn find(&self, user: &str) -> Result<Option<Stored>, Error> {
        match user {
            "elsewhere" => Ok(Some(Stored::read("pencil"))),
            "broken" => Err(Error::shard(SqlState::CANNOT_CONNECT, "nobody to ask").fatal()),
            _ => Ok(None),
        }
    }
}

#[tokio::test]
async fn users_that_the_file_does_not_name_are_looked_up() {
    let users = Users::parse("\"plain\" \"pencil\"").unwrap();
    let expected = [
        ("plain", None),
        ("elsewhere", None),
        ("stranger", Some("password authentication failed for user \"stranger\"")),
        ("broken", Some("nobody to ask")),
    ];
    for (user, complaint) in expected {
        let (heard, _) = let_in_by(Method::Scram, &users, &Elsewhere, user, "pencil").await;
        assert_eq!(heard.err().as_deref(), complaint, "{user}");
    }
}

/// A tokio_postgres client logs in to us. What it hears, and what we know afterwards.
async fn let_in(
    method: Method,
    users: &Users,
    user: &str,
    password: &str,
) -> (Result<(), String>, Option<Login>) {
    let_in_by(method, users, &NoLookup, user, password).await
}

async fn let_in_by<L: Lookup>(
    method: Method,
    users: &Users,
    lookup: &L,
    user: &str,
    password: &str,
) -> (Result<(), String>, Option<Login>) {
    let (near, mut far) = tokio::io::duplex(1 << 16);
    let mut config = tokio_postgres::Config::new();
    config.user(user).password(password);
    let client = async {
        match config.connect_raw(near, tokio_postgres::NoTls).await {
            Ok(_) => Ok(()),
            Err(error) => Err(error.as_db_error().unwrap().message().to_owned()),
        }
    };
    let ours = async {
        let (mut input, mut output) = (BytesMut::new(), BytesMut::new());
        while !matches!(frame::scan_startup(&input, 1 << 16), Ok(Some(len)) if len <= input.len()) {
            assert_ne!(far.read_buf(&mut input).await.unwrap(), 0);
        }
        input.clear();
        let door = Door { method, strangers: Strangers::Welcome, users, lookup, end_point: None };
        let outcome = authenticate(&mut far, &mut input, &mut output, user, &door).await;
        match &outcome {
            Ok(_) => encode::ready(TransactionStatus::Idle, &mut output),
            Err(error) => weir::wire::error_response::write(error, &mut output),
        }
        line::send(&mut far, &mut output).await.unwrap();
        drop(far);
        outcome.ok()
    };
    tokio::join!(client, ours)
}

#[tokio::test]
async fn clients_are_let_in_by_every_method_and_strangers_hear_the_same_as_the_wrong() {
    let verifier = weir::auth::scram::Verifier::derive("pencil", b"0123456789abcdef", 4096);
    let hash = weir::auth::md5::stored("hashed", "pencil");
    let file =
        format!("\"plain\" \"pencil\"\n\"verified\" \"{verifier}\"\n\"hashed\" \"{hash}\"\n");
    let users = Users::parse(&file).unwrap();
    let cases = [
        (Method::Scram, "plain"),
        (Method::Scram, "verified"),
        (Method::Md5, "plain"),
        (Method::Md5, "hashed"),
        (Method::Md5, "verified"),
        (Method::Password, "plain"),
        (Method::Password, "verified"),
        (Method::Password, "hashed"),
    ];
    for (method, user) in cases {
        let (heard, login) = let_in(method, &users, user, "pencil").await;
        assert_eq!((heard, login.unwrap().user.as_str()), (Ok(()), user), "{method:?} {user}");
        for (user, password) in [(user, "pen"), ("stranger", "pencil")] {
            let (heard, login) = let_in(method, &users, user, password).await;
            let expected = format!("password authentication failed for user \"{user}\"");
            assert_eq!((heard, login), (Err(expected), None), "{method:?} {user}");
        }
    }
    let (heard, login) = let_in(Method::Trust, &users, "stranger", "").await;
    assert_eq!((heard, login.unwrap().secret), (Ok(()), Secret::None));
}

#[tokio::test]
async fn a_verifier_alone_is_enough_to_pass_a_client_through_to_the_server() {
    let server = Guarded::start();
    let verifier = server
        .server()
        .sql("postgres", "SELECT rolpassword FROM pg_authid WHERE rolname = 'in_scram'")
        .unwrap();
    let users = Users::parse(&format!("\"in_scram\" \"{}\"", verifier.trim())).unwrap();
    let (heard, login) = let_in(Method::Scram, &users, "in_scram", "pencil").await;
    assert_eq!(heard, Ok(()));
    let login = login.unwrap();
    assert!(matches!(login.secret, Secret::ScramKeys(_)));
    // Bound to the channel as well: libpq would do so over TLS.
    assert_eq!(whoami(server.connect(&login, "sslmode=require").await).await, "in_scram t");
    assert_eq!(whoami(server.connect(&login, "sslmode=disable").await).await, "in_scram f");
}

#[tokio::test]
async fn psql_logs_in_to_us_with_channel_binding() {
    let (root, certificate, key) = certificates();
    drop(root);
    let identity = Identity { certificates: certificate.as_bytes(), key: key.as_bytes() };
    let acceptor = Acceptor::new(identity).unwrap();
    let users = Users::parse("\"alice\" \"pencil\"").unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let psql = tokio::process::Command::new("psql")
        .env("PGPASSWORD", "pencil")
        .arg("-Xd")
        .arg(format!(
            "host=127.0.0.1 port={port} user=alice dbname=x sslmode=require channel_binding=require"
        ))
        .args(["-c", ""])
        .kill_on_drop(true)
        .output();
    let ours = async {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut request = [0; 8];
        socket.read_exact(&mut request).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut socket, b"S").await.unwrap();
        let mut session = acceptor.accept(socket).await.unwrap();
        let (mut input, mut output) = (BytesMut::new(), BytesMut::new());
        assert_ne!(session.read_buf(&mut input).await.unwrap(), 0);
        input.clear();
        let door = Door {
            method: Method::Scram,
            strangers: Strangers::Welcome,
            users: &users,
            lookup: &NoLookup,
            end_point: acceptor.end_point.as_deref(),
        };
        let login = authenticate(&mut session, &mut input, &mut output, "alice", &door).await;
        encode::ready(TransactionStatus::Idle, &mut output);
        line::send(&mut session, &mut output).await.unwrap();
        // An empty statement, or goodbye.
        drop(session.read_buf(&mut input).await);
        encode::empty_query(&mut output);
        encode::ready(TransactionStatus::Idle, &mut output);
        drop(line::send(&mut session, &mut output).await);
        login
    };
    let (psql, login) = tokio::join!(psql, ours);
    assert_eq!(login.unwrap(), pencil("alice"));
    let complaint = String::from_utf8(psql.unwrap().stderr).unwrap();
    assert!(!complaint.contains("channel binding"), "{complaint}");
}
