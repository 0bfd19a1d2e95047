//! One pgbouncer.ini under PgBouncer and under weir: whoever is let in, refused or stopped by the one is so by the
//! other. And `weir import`.
use super::backend;
use crate::cluster::Cluster;
use crate::weir::{Home, Weir, psql, said, wait_for};
use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio_postgres::{NoTls, SimpleQueryMessage};

/// `{server}`: PostgreSQL's port.
const INI: &str = "\
;; as people write it
[databases]
shop = host=127.0.0.1 port={server}
other = host=127.0.0.1 port={server} dbname=shop pool_mode=transaction pool_size=1
forced = host=127.0.0.1 port={server} dbname=shop user=look password=up
stated = host=127.0.0.1 port={server} dbname=shop pool_mode=statement connect_query='SET work_mem = ''3MB'''
abroad = host=127.0.0.1 port={server} dbname=shop client_encoding=LATIN1 timezone='Europe/Berlin' datestyle=German
asked = host=127.0.0.1 port={server} dbname=shop auth_user=look
* = host=127.0.0.1 port={server}
[users]
ann = pool_mode=transaction
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir = {folder}
auth_type = md5
auth_file = {folder}/userlist.txt
admin_users = app
stats_users = ann
max_client_conn = 4
query_wait_timeout = 1
ignore_startup_parameters = extra_float_digits
";
const USERS: &str = "\"app\" \"secret\"\n\"ann\" \"anns\"\n\"look\" \"up\"\n";

fn server() -> Cluster {
    let cluster = Cluster::start(1);
    cluster.on_every_shard(
        "CREATE ROLE app LOGIN PASSWORD 'secret'; CREATE ROLE ann LOGIN; \
         CREATE ROLE look LOGIN SUPERUSER PASSWORD 'up'; CREATE ROLE known LOGIN PASSWORD 'by query'",
    );
    cluster
}

/// Both over the same server, each with the configuration in a folder of its own.
struct Both {
    weir: Weir,
    pgbouncer: PgBouncer,
}

struct PgBouncer {
    process: Child,
    port: u16,
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

impl Both {
    fn start(cluster: &Cluster, ini: &str, files: &[(&str, &str)]) -> Self {
        let ini = ini.replace("{server}", &cluster.shard(0).port().to_string());
        let home = || {
            let home = Home::of_pgbouncer(cluster, &ini);
            files.iter().for_each(|(name, text)| home.write(name, text));
            home
        };
        Self { pgbouncer: PgBouncer::start(&home()), weir: home().serve() }
    }

    /// What happens to a client, under PgBouncer and under weir.
    async fn outcomes(&self, place: &str, text: &str) -> (String, String) {
        let of = async |port| outcome(&format!("host=127.0.0.1 port={port} {place}"), text).await;
        let theirs = of(self.pgbouncer.port).await;
        // PgBouncer's versions differ in their codes, and not in whom they refuse.
        let refused = matches!(theirs.as_str(), "08P01" | "28P01");
        (if refused { "refused".to_owned() } else { theirs }, of(self.weir.port()).await)
    }

    async fn check(&self, place: &str, text: &str, pgbouncer: &str, weir: &str) {
        let (theirs, ours) = self.outcomes(place, text).await;
        assert_eq!((theirs.as_str(), ours.as_str()), (pgbouncer, weir), "{place}: {text}");
    }
}

impl PgBouncer {
    fn start(home: &Home) -> Self {
        let (folder, port) = (home.folder().to_owned(), home.port());
        let path = format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default());
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]);
        // Root may not run it.
        if fs::metadata("/proc/self").unwrap().uid() == 0 {
            let owner = fs::metadata(folder.parent().unwrap()).unwrap();
            let (uid, gid) = match owner.uid() {
                0 => (65_534, 65_534),
                uid => (uid, owner.gid()),
            };
            fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
            command
                .args([format!("--reuid={uid}"), format!("--regid={gid}")])
                .arg("--clear-groups");
        }
        command.args(["--", "pgbouncer", "-q"]).arg(folder.join("pgbouncer.ini")).env("PATH", path);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().expect("scripts/need drivers installs PgBouncer");
        let pgbouncer = Self { process, port };
        wait_for("PgBouncer", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        pgbouncer
    }
}

/// What a client gets: the first column of its rows, or the SQLSTATE of its refusal.
async fn outcome(place: &str, text: &str) -> String {
    let told = |error: tokio_postgres::Error| match error.code() {
        Some(code) => code.code().to_owned(),
        None => "closed".to_owned(),
    };
    let (client, connection) = match tokio_postgres::connect(place, NoTls).await {
        Ok(connected) => connected,
        Err(error) => return told(error),
    };
    let driver = tokio::spawn(connection);
    let answer = client.simple_query(text).await;
    drop(client);
    let outcome = match answer {
        Err(error) => told(error),
        Ok(messages) => {
            let rows = messages.iter().filter_map(|message| match message {
                SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or("NULL").to_owned()),
                _ => None,
            });
            rows.collect::<Vec<_>>().join(",")
        }
    };
    drop(driver.await);
    outcome
}

#[tokio::test]
async fn one_configuration_means_the_same_under_pgbouncer_and_under_weir() {
    let cluster = server();
    cluster.shard(0).sql("postgres", "CREATE DATABASE further").unwrap();
    let both = Both::start(&cluster, INI, &[("userlist.txt", USERS)]);
    let app = |database: &str| format!("user=app password=secret dbname={database}");
    // Who is let in, and as whom.
    let who = "SELECT current_user || '@' || current_database()";
    both.check(&app("shop"), who, "app@shop", "app@shop").await;
    both.check(&app("forced"), who, "look@shop", "look@shop").await;
    both.check(&app("further"), who, "app@further", "app@further").await;
    both.check("user=app password=wrong dbname=shop", who, "refused", "28P01").await;
    both.check("user=nobody password=x dbname=shop", who, "refused", "28P01").await;
    both.check("user=known dbname=asked password='by query'", who, "known@shop", "known@shop")
        .await;
    both.check("user=known dbname=asked password=wrong", who, "refused", "28P01").await;
    // PgBouncer hears it from the server, and passes it on as its own.
    both.check(&app("nowhere"), who, "refused", "3D000").await;
    // What servers are told.
    both.check(&app("abroad"), "SHOW client_encoding", "UTF8", "UTF8").await;
    both.check(&app("abroad"), "SHOW timezone", "Europe/Berlin", "Europe/Berlin").await;
    both.check(&app("abroad"), "SHOW datestyle", "German, DMY", "German, DMY").await;
    both.check(&app("stated"), "SHOW work_mem", "3MB", "3MB").await;
    // Pool modes.
    both.check(&app("stated"), "BEGIN", "refused", "08P01").await;
    both.check(&app("stated"), "SELECT 1; BEGIN; SELECT 2", "refused", "08P01").await;
    both.check(&app("stated"), "BEGIN; SELECT 1; COMMIT", "1", "1").await;
    both.check(&app("stated"), "SELECT 1; SELECT 2", "1,2", "1,2").await;
    both.check(&app("other"), "BEGIN; SELECT 1", "1", "1").await;
    for port in [both.pgbouncer.port, both.weir.port()] {
        assert!(has_own_server(port, &app("shop")).await, "session mode is the default");
        assert!(!has_own_server(port, "user=ann password=anns dbname=shop").await);
    }
    // Limits.
    for (port, late) in [(both.pgbouncer.port, "08P01"), (both.weir.port(), "53300")] {
        let place = format!("host=127.0.0.1 port={port} {}", app("other"));
        let (sleeping, waiting) = (place.clone(), place);
        let sleeper = tokio::spawn(async move { outcome(&sleeping, "SELECT pg_sleep(3)").await });
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(outcome(&waiting, "SELECT 1").await, late);
        assert_eq!(sleeper.await.unwrap(), "");
    }
    let mut clients = Vec::new();
    for port in [both.pgbouncer.port, both.weir.port()] {
        let place = format!("host=127.0.0.1 port={port} {}", app("other"));
        for _ in 0..4 {
            wait_for("the end of clients before", || {
                let place = place.replace("dbname=other", "dbname=pgbouncer");
                psql(&place, "SHOW CLIENTS").is_ok()
            });
            clients.push(connected(&place).await);
        }
    }
    both.check(&app("other"), "SELECT 1", "refused", "53300").await;
    drop(clients);
}

async fn connected(place: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(place, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// Whether two clients that take turns have a server each.
async fn has_own_server(port: u16, place: &str) -> bool {
    let place = format!("host=127.0.0.1 port={port} {place}");
    let (one, other) = (connected(&place).await, connected(&place).await);
    let seen = [backend(&one).await, backend(&other).await];
    seen[0] != seen[1]
}

#[tokio::test]
async fn the_console_is_where_pgbouncers_is() {
    let cluster = server();
    let both = Both::start(&cluster, INI, &[("userlist.txt", USERS)]);
    let databases = |port: u16| {
        let place = format!("host=127.0.0.1 port={port} user=app password=secret dbname=pgbouncer");
        let table =
            psql(&place, "\\pset tuples_only off\n\\pset footer off\nSHOW DATABASES").unwrap();
        let mut lines = table.lines().map(|line| line.split('|').collect::<Vec<_>>());
        let names = lines.next().unwrap();
        let columns =
            ["name", "host", "port", "database", "force_user", "pool_size", "max_connections"];
        let at = |column: &&str| names.iter().position(|name| name == column).unwrap();
        let at: Vec<_> = columns.iter().map(at).collect();
        let rows = lines.map(|row| at.iter().map(|at| row[*at].to_owned()).collect::<Vec<_>>());
        // PgBouncer shows its own, weir the `*`.
        let mut rows: Vec<_> = rows.filter(|row| row[0] != "pgbouncer" && row[0] != "*").collect();
        rows.sort();
        rows
    };
    assert_eq!(databases(both.weir.port()), databases(both.pgbouncer.port));
    let ann = "user=ann password=anns dbname=pgbouncer";
    both.check(ann, "RELOAD", "refused", "42501").await;
    both.check("user=look password=up dbname=pgbouncer", "SHOW VERSION", "refused", "42501").await;
    let (theirs, ours) = both.outcomes(ann, "SHOW VERSION").await;
    assert!(theirs.starts_with("PgBouncer") && ours.starts_with("weir"), "{theirs}, {ours}");
    // Over the Unix socket: libpq finds it, and the system's user that runs weir needs no password.
    let folder = both.weir.home().folder().display().to_string();
    let place = format!("host={folder} port={} dbname", both.weir.port());
    let user = "SELECT current_user";
    assert_eq!(psql(&format!("{place}=shop user=app password=secret"), user).as_deref(), Ok("app"));
    assert!(psql(&format!("{place}=shop user=app password=wrong"), user).is_err());
    assert!(psql(&format!("{place}=pgbouncer user=pgbouncer"), "SHOW VERSION").is_ok());
    // What the ini says is read again.
    let home = both.weir.home();
    let (file, admins) = ("pgbouncer.ini", "admin_users = app");
    home.write(file, &home.read(file).replace(admins, "admin_users = look"));
    assert!(both.weir.reload().contains("reloaded configuration"));
    both.check("user=look password=up dbname=pgbouncer", "RELOAD", "refused", "").await;
    home.write(file, &format!("{}auth_type = cert\n", home.read(file)));
    let said = both.weir.reload();
    assert!(
        said.contains("auth_type cert is not supported") && said.contains("not reloaded"),
        "{said}"
    );
}

const HBA: &str = "\
# TYPE   DATABASE  USER        ADDRESS             METHOD
host     shop      app         127.0.0.1/32        scram-sha-256
host     shop      ann,known   127.0.0.0/8         trust
host     shop      look        127.0.0.1 255.255.255.255 reject
hostssl  all       all         all                 trust
host     other     all         127.0.0.1/32        password
";

#[tokio::test]
async fn lines_of_pg_hba_let_in_the_same_clients() {
    let cluster = server();
    let ini = INI.replace("auth_type = md5", "auth_type = hba\nauth_hba_file = {folder}/hba.conf");
    let both = Both::start(&cluster, &ini, &[("userlist.txt", USERS), ("hba.conf", HBA)]);
    let user = "SELECT current_user";
    both.check("user=app password=secret dbname=shop", user, "app", "app").await;
    both.check("user=app password=wrong dbname=shop", user, "refused", "28P01").await;
    both.check("user=ann dbname=shop", user, "ann", "ann").await;
    // Whom nobody knows no line lets in.
    both.check("user=known dbname=shop", user, "refused", "28P01").await;
    both.check("user=look password=up dbname=shop", user, "refused", "28000").await;
    both.check("user=app password=secret dbname=other", user, "app", "app").await;
    both.check("user=app password=wrong dbname=other", user, "refused", "28P01").await;
    both.check("user=app password=secret dbname=forced", user, "refused", "28000").await;
    let home = both.weir.home();
    home.write("hba.conf", &HBA.replace("reject", "ident"));
    let said = both.weir.reload();
    assert!(said.contains("hba.conf:4: the method \"ident\" is not supported"), "{said}");
}

#[tokio::test]
async fn trust_is_for_users_that_are_known() {
    let cluster = server();
    let ini = INI.replace("auth_type = md5", "auth_type = trust");
    let both = Both::start(&cluster, &ini, &[("userlist.txt", USERS)]);
    both.check("user=app dbname=shop", "SELECT current_user", "app", "app").await;
    both.check("user=known dbname=shop", "SELECT current_user", "refused", "28P01").await;
    both.check("user=known dbname=asked", "SELECT current_user", "known", "known").await;
}

#[tokio::test]
async fn an_imported_configuration_is_served_as_the_ini_itself() {
    let cluster = server();
    let ini = INI.replace("{server}", &cluster.shard(0).port().to_string());
    let home = Home::of_pgbouncer(&cluster, &format!("{ini}logfile = /var/log/pgbouncer.log\n"));
    home.write("userlist.txt", USERS);
    let import = ["import", "pgbouncer.ini", "--output", "made"];
    let imported = home.run(&import);
    let text = said(&imported);
    assert!(imported.status.success(), "{text}");
    assert!(
        text.contains("wrote made/weir.toml\n") && text.contains("wrote made/any.rules.toml\n")
    );
    assert!(text.contains("warning: pgbouncer.ini:23: logfile has no effect"), "{text}");
    let again = home.run(&import);
    assert!(!again.status.success() && said(&again).contains("weir.toml is there already"));
    assert!(home.run(&["import", "pgbouncer.ini", "--output", "made", "--force"]).status.success());
    let mode = |file: &Path| fs::metadata(file).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&home.folder().join("made/weir.toml")), 0o600);
    let weir = home.serving("made/weir.toml").serve();
    let client = connect_with(&weir, "user=app password=secret dbname=forced").await;
    assert_eq!(client, "look");
    let error = weir.psql("user=app password=wrong dbname=shop", "SELECT 1").unwrap_err();
    assert!(error.contains("password authentication failed"), "{error}");
}

async fn connect_with(weir: &Weir, place: &str) -> String {
    outcome(&format!("host=127.0.0.1 port={} {place}", weir.port()), "SELECT current_user").await
}

#[test]
fn what_cannot_be_served_is_said_before_anybody_is_let_in() {
    let cluster = Cluster::start(1);
    let ini = INI.replace("{server}", "5432").replace("auth_type = md5", "auth_type = pam");
    let home = Home::of_pgbouncer(&cluster, &ini);
    home.write("userlist.txt", USERS);
    let served = home.run(&["serve", "pgbouncer.ini"]);
    let text = said(&served);
    assert!(!served.status.success());
    assert!(text.contains("pgbouncer.ini:16: auth_type pam is not supported: use hba"), "{text}");
}
