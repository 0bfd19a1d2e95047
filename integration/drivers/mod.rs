//! Each driver's own program, run against plain PostgreSQL (the oracle for the program itself) and
//! against weir in front of four shards, with fewer server connections than clients.
//!
//! A folder for each driver holds the program and the pinned versions of what it needs; what is
//! installed goes below the target folder. A missing runtime fails the test: it is never skipped.
use crate::{cluster::Cluster, weir::Weir};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};
use weir::cli::shop;

mod tokio_postgres;

/// What a program connects to. Every driver here reads libpq's PG* variables or is told them.
pub struct Endpoint {
    pub port: u16,
    pub peer: Peer,
}

/// Whether to expect what only weir says: refusals.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    Postgresql,
    Weir,
}

/// The role that the programs log in as; it owns the tables.
pub const USER: &str = "app";
pub const PASSWORD: &str = "s3cret";
/// Every program runs eight clients at once; weir opens fewer connections than that to a shard.
const POOL_SIZE: usize = 2;

/// Tables and reference rows, as the shards have them after set-up.
fn schema() -> String {
    let role =
        format!("CREATE ROLE {USER} LOGIN SUPERUSER PASSWORD '{PASSWORD}'; SET ROLE {USER};");
    [&role, shop::SCHEMA, shop::REFERENCE].join("\n")
}

fn on_plain_postgresql(test: impl FnOnce(&Endpoint)) {
    let cluster = Cluster::start(1);
    cluster.on_every_shard(&schema());
    test(&Endpoint { port: cluster.shard(0).port(), peer: Peer::Postgresql });
}

fn through_weir(test: impl FnOnce(&Endpoint)) {
    let cluster = Cluster::start(4);
    cluster.on_every_shard(&schema());
    let settings =
        format!("[[user]]\nname = '{USER}'\npassword = '{PASSWORD}'\n[pool]\nsize = {POOL_SIZE}\n");
    let weir = Weir::start(&cluster, &settings);
    test(&Endpoint { port: weir.port(), peer: Peer::Weir });
}

/// Runs the program to its end; anything but success fails the test with what it printed.
fn run(command: &mut Command, endpoint: &Endpoint) {
    let peer = match endpoint.peer {
        Peer::Postgresql => "postgresql",
        Peer::Weir => "weir",
    };
    command
        .env("PGHOST", "127.0.0.1")
        .env("PGPORT", endpoint.port.to_string())
        .env("PGUSER", USER)
        .env("PGPASSWORD", PASSWORD)
        .env("PGDATABASE", crate::cluster::DATABASE)
        .env("WEIR_PEER", peer);
    succeed(command);
}

/// Runs a program; anything but success fails the test with what it printed.
pub fn succeed(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?} cannot run: {error}"));
    let printed = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{printed}\n{complaint}", output.status);
}

fn folder(driver: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("integration/drivers").join(driver)
}

/// Makes what a driver needs below the target folder once for each content of `pins`, however many
/// tests ask for it at the same time.
fn installed(driver: &str, pins: &Path, install: impl FnOnce(&Path)) -> PathBuf {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join(driver);
    fs::create_dir_all(&home).unwrap();
    let lock = fs::File::create(home.join("lock")).unwrap();
    lock.lock().unwrap();
    let (wanted, done) = (fs::read_to_string(pins).unwrap(), home.join("installed"));
    if fs::read_to_string(&done).is_ok_and(|had| had == wanted) {
        return home;
    }
    install(&home);
    fs::write(done, wanted).unwrap();
    home
}

/// A Python with the driver's pinned packages, in an environment of its own.
fn python(driver: &str) -> Command {
    let mut python = interpreter(driver);
    python.arg(folder(driver).join("test.py"));
    python
}

/// Python with that driver.
pub fn interpreter(driver: &str) -> Command {
    let pins = folder(driver).join("requirements.txt");
    let home = installed(driver, &pins, |home| {
        succeed(Command::new("python3").args(["-m", "venv"]).arg(home.join("python")));
        let mut pip = Command::new(home.join("python/bin/pip"));
        succeed(pip.args(["install", "--quiet", "--disable-pip-version-check", "-r"]).arg(&pins));
    });
    Command::new(home.join("python/bin/python"))
}

fn node(driver: &str) -> Command {
    node_program(driver, &folder(driver))
}

/// Node with the locked packages of this folder, beside a copy of its program.
pub fn node_program(name: &str, folder: &Path) -> Command {
    let home = installed(name, &folder.join("package-lock.json"), |home| {
        for file in ["package.json", "package-lock.json"] {
            fs::copy(folder.join(file), home.join(file)).unwrap();
        }
        succeed(
            Command::new("npm")
                .args(["ci", "--no-audit", "--no-fund", "--silent"])
                .current_dir(home),
        );
    });
    // Packages are looked for beside the program.
    let program = home.join(format!("test-{}.js", std::process::id()));
    fs::copy(folder.join("test.js"), &program).unwrap();
    let mut node = Command::new("node");
    node.arg(program);
    node
}

/// Debian's driver, and a program that Java compiles as it starts.
fn java() -> Command {
    let jar = Path::new("/usr/share/java/postgresql.jar");
    assert!(jar.exists(), "no JDBC driver: apt-get install libpostgresql-jdbc-java");
    let mut java = Command::new("java");
    java.arg("-cp").arg(jar);
    java.arg(folder("jdbc").join("Test.java"));
    java
}

fn psql() -> Command {
    let mut psql = Command::new("bash");
    psql.arg(folder("psql").join("test.sh"));
    psql
}

macro_rules! drivers {
    ($($driver:ident => $program:expr;)*) => {$(
        mod $driver {
            use super::*;

            #[test]
            fn works_on_plain_postgresql() {
                on_plain_postgresql(|endpoint| run(&mut $program, endpoint));
            }

            #[test]
            fn works_through_weir() {
                through_weir(|endpoint| run(&mut $program, endpoint));
            }
        }
    )*};
}

drivers! {
    psql => psql();
    psycopg => python("psycopg");
    asyncpg => python("asyncpg");
    node_postgres => node("node-postgres");
    jdbc => java();
}
