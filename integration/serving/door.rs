//! Who is let in, over which line, and what weir shows the servers for them.
use super::TRUST;
use crate::cluster::{Cluster, DATABASE};
use crate::raw::Raw;
use crate::weir::{Home, Weir, wait_for};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

/// A certificate for 127.0.0.1 that is its own authority.
struct Certificate {
    text: String,
    key: String,
}

impl Certificate {
    fn new() -> Self {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        Self { text: made.cert.pem(), key: made.signing_key.serialize_pem() }
    }
}

/// A home with a plain database of this server.
fn home(cluster: &Cluster, settings: &str, options: &str) -> Home {
    let port = cluster.shard(0).port();
    let rules = format!(
        "database = 'shop'\n[[shard]]\nname = 'only'\n\
         primary = 'host=127.0.0.1 port={port} {options}'\n"
    );
    Home::new(cluster, &rules, settings)
}

#[test]
fn tls_is_off_allowed_or_required() {
    let cluster = Cluster::start(1);
    let certificate = Certificate::new();
    for (mode, plain, private) in
        [("off", true, false), ("allow", true, true), ("require", false, true)]
    {
        let settings = format!(
            "[auth]\nusers_file = 'users.txt'\n\
             [tls]\nmode = '{mode}'\ncertificate = 'weir.crt'\nkey = 'weir.key'\n"
        );
        let home = home(&cluster, &settings, "");
        home.write("users.txt", "\"postgres\" \"s3cret\"\n");
        home.write("weir.crt", &certificate.text);
        home.write("weir.key", &certificate.key);
        let root = home.folder().join("weir.crt");
        let weir = home.serve();
        let who = "user=postgres password=s3cret dbname=shop";
        let over = |sslmode: &str| weir.psql(&format!("{who} {sslmode}"), "SELECT 1");
        assert_eq!(over("sslmode=disable").is_ok(), plain, "{mode}");
        assert_eq!(over("sslmode=require channel_binding=require").is_ok(), private, "{mode}");
        let verified = format!("sslmode=verify-full sslrootcert={}", root.display());
        assert_eq!(over(&verified).is_ok(), private, "{mode}: {:?}", over(&verified));
        if !plain {
            let error = over("sslmode=disable").unwrap_err();
            assert!(error.contains("requires a valid TLS session"), "{error}");
            assert!(error.contains("sslmode=require"), "{error}");
        }
    }
}

#[tokio::test]
async fn passwords_are_asked_for_as_configured() {
    let cluster = Cluster::start(1);
    cluster.on_every_shard("CREATE ROLE app LOGIN PASSWORD 'app''s'; CREATE ROLE old LOGIN");
    let verifier = "SELECT rolpassword FROM pg_authid WHERE rolname = 'app'";
    let verifier = cluster.shard(0).sql(DATABASE, verifier).unwrap();
    for method in ["scram-sha-256", "md5", "trust"] {
        let settings = format!(
            "[auth]\nmethod = '{method}'\nusers_file = 'users.txt'\n\
             [[user]]\nname = 'old'\npassword = {{ file = 'old.secret' }}\n\
             [[user]]\nname = 'postgres'\npassword = {{ env = 'HOME' }}\n"
        );
        let home = home(&cluster, &settings, "");
        home.write("users.txt", &format!("\"app\" \"{verifier}\"\n"));
        home.write("old.secret", "olden\n");
        let users = home.folder().join("users.txt");
        fs::set_permissions(users, fs::Permissions::from_mode(0o644)).unwrap();
        let secret = home.folder().join("old.secret");
        fs::set_permissions(secret, fs::Permissions::from_mode(0o600)).unwrap();
        let weir = home.serve();
        let environment = std::env::var("HOME").unwrap();
        for (user, right) in [("app", "app's"), ("old", "olden"), ("postgres", &environment)] {
            for (password, fits) in [(right, true), ("wrong", false)] {
                let mut config = tokio_postgres::Config::new();
                config.host("127.0.0.1").port(weir.port()).dbname(DATABASE);
                let login = config.user(user).password(password).connect(tokio_postgres::NoTls);
                let driver = login.await;
                let expected = fits || method == "trust";
                let why = driver.as_ref().err().map(|error| format!("{error:?}"));
                assert_eq!(driver.is_ok(), expected, "{method} {user} {password}: {why:?}");
                let quoted = password.replace('\'', "\\'");
                let psql = weir.psql(
                    &format!("user={user} password='{quoted}' dbname=shop"),
                    "SELECT current_user",
                );
                match expected {
                    true => assert_eq!(psql.as_deref(), Ok(user)),
                    false => assert!(
                        psql.unwrap_err().contains("password authentication failed for user"),
                        "{method} {user}"
                    ),
                }
            }
        }
        if method != "trust" {
            let nobody = weir.psql("user=nobody password=x dbname=shop", "SELECT 1").unwrap_err();
            assert!(nobody.contains("password authentication failed for user \"nobody\""));
        }
        let log = weir.log();
        assert!(log.contains("users.txt holds secrets and everybody can read it"), "{log}");
        assert!(!log.contains("old.secret") && !log.contains("olden"), "{log}");
    }
}

/// The server asks everybody but its superuser for a password.
fn ask_for_passwords(cluster: &Cluster, line: &str) {
    let hba = format!(
        "local all all trust\nhost all postgres 127.0.0.1/32 trust\n\
         {line} all all 127.0.0.1/32 scram-sha-256\n"
    );
    fs::write(cluster.shard(0).data().join("pg_hba.conf"), hba).unwrap();
    cluster.shard(0).reload().unwrap();
}

#[test]
fn a_verifier_alone_logs_in_to_the_server_too() {
    let cluster = Cluster::start(1);
    cluster.on_every_shard(
        "CREATE ROLE app LOGIN PASSWORD 's3cret'; CREATE ROLE plain LOGIN PASSWORD 'text'",
    );
    let verifier = "SELECT rolpassword FROM pg_authid WHERE rolname = 'app'";
    let verifier = cluster.shard(0).sql(DATABASE, verifier).unwrap();
    ask_for_passwords(&cluster, "host");
    let settings = "[auth]\nusers_file = 'users.txt'\n\
                    [[user]]\nname = 'other'\npassword = 'ours'\nserver_password = 'theirs'\n";
    let home = home(&cluster, settings, "");
    cluster.on_every_shard("CREATE ROLE other LOGIN PASSWORD 'theirs'");
    home.write("users.txt", &format!("\"app\" \"{verifier}\"\n\"plain\" \"text\"\n"));
    let weir = home.serve();
    for (user, password) in [("app", "s3cret"), ("plain", "text"), ("other", "ours")] {
        let place = format!("user={user} password={password} dbname=shop");
        assert_eq!(weir.psql(&place, "SELECT current_user").as_deref(), Ok(user));
    }
}

#[test]
fn a_query_finds_users_that_no_file_names() {
    let cluster = Cluster::start(1);
    cluster.on_every_shard("CREATE ROLE app LOGIN PASSWORD 's3cret'");
    ask_for_passwords(&cluster, "host");
    let settings = "[auth]\n\
                    query = 'SELECT rolname, rolpassword FROM pg_authid WHERE rolname = $1'\n";
    let weir = home(&cluster, settings, "").serve();
    let place = "user=app password=s3cret dbname=shop";
    assert_eq!(weir.psql(place, "SELECT current_user").as_deref(), Ok("app"));
    for place in ["user=app password=x dbname=shop", "user=nobody password=x dbname=shop"] {
        let error = weir.psql(place, "SELECT 1").unwrap_err();
        assert!(error.contains("password authentication failed for user"), "{error}");
    }
    // A changed password counts from the next login on.
    cluster.on_every_shard("ALTER ROLE app PASSWORD 'changed'");
    assert!(weir.psql(place, "SELECT 1").is_err());
    let place = "user=app password=changed dbname=shop";
    assert_eq!(weir.psql(place, "SELECT current_user").as_deref(), Ok("app"));
}

#[test]
fn the_line_to_the_server_is_as_private_as_its_address_says() {
    let cluster = Cluster::start(1);
    let data = cluster.shard(0).data();
    let certificate = Certificate::new();
    fs::write(data.join("server.crt"), &certificate.text).unwrap();
    fs::write(data.join("server.key"), &certificate.key).unwrap();
    for file in ["server.crt", "server.key"] {
        let path = data.join(file);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let hba = data.join("pg_hba.conf");
        let given = Command::new("chown").arg("--reference").arg(hba).arg(path).status().unwrap();
        assert!(given.success());
    }
    cluster.shard(0).sql("postgres", "ALTER SYSTEM SET ssl = on").unwrap();
    cluster.shard(0).reload().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    let root = cluster.folder().join("root.crt");
    let stranger = cluster.folder().join("stranger.crt");
    fs::write(&root, &certificate.text).unwrap();
    fs::write(&stranger, Certificate::new().text).unwrap();
    let seen = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    let through = |options: &str| {
        let weir: Weir = home(&cluster, TRUST, options).serve();
        weir.psql("user=postgres dbname=shop", seen)
    };
    assert_eq!(through("sslmode=disable").as_deref(), Ok("f"));
    assert_eq!(through("sslmode=require").as_deref(), Ok("t"));
    let verified =
        |file: &std::path::Path| format!("sslmode=verify-full sslrootcert={}", file.display());
    assert_eq!(through(&verified(&root)).as_deref(), Ok("t"));
    let error = through(&verified(&stranger)).unwrap_err();
    assert!(error.contains("TLS failed") && error.contains("shard only"), "{error}");
}

#[test]
fn users_and_databases_may_have_so_many_clients() {
    let cluster = Cluster::start(1);
    cluster.shard(0).sql("postgres", "CREATE ROLE ann LOGIN").unwrap();
    let weir = Weir::plain(
        &cluster,
        DATABASE,
        &format!("{TRUST}\n[[user]]\nname = 'ann'\nmax_clients = 1\n"),
    );
    let first = Raw::connect(weir.port(), &[("user", "ann"), ("database", DATABASE)]);
    let error = weir.psql("user=ann dbname=shop", "SELECT 1").unwrap_err();
    assert!(error.contains("FATAL:  too many connections for role \"ann\""), "{error}");
    assert_eq!(weir.psql("user=postgres dbname=shop", "SELECT 1").as_deref(), Ok("1"));
    drop(first);
    wait_for("the free seat", || weir.psql("user=ann dbname=shop", "SELECT 1").is_ok());
}
