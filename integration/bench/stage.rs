//! The servers, and the proxies in front of them. All of them hold at most so many server connections, and
//! one thread each serves clients.
use crate::Options;
use crate::cluster::{Cluster, DATABASE};
use crate::drive::{Done, Drive};
use crate::groups::{Case, Target, WIDE_ROW_BYTES};
use crate::weir::{Weir, wait_for};
use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::time::Duration;
use weir::cli::throwaway::{client_program, free_port};

const SHARDS: usize = 4;
const CONNECTIONS: usize = 20;
const CLIENTS: usize = 12_000;
pub const PASSWORD: &str = "the bench's";
const USER: &str = "postgres";

/// A program that somebody wants to see beside the others.
#[derive(Clone)]
pub struct Other {
    pub name: String,
    program: PathBuf,
    configuration: PathBuf,
}

impl FromStr for Other {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts =
            text.split_once('=').and_then(|(name, rest)| Some((name, rest.split_once(',')?)));
        let (name, (program, file)) = parts.ok_or("NAME=PROGRAM,FILE is wanted")?;
        Ok(Self { name: name.to_owned(), program: program.into(), configuration: file.into() })
    }
}

/// One that stands in front of the plain server.
struct Proxy {
    target: Target,
    process: Child,
    port: u16,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if self.process.kill().and_then(|()| self.process.wait()).is_err() {
            eprintln!("{:?} could not be ended", self.target);
        }
    }
}

pub struct Stage {
    // Dropped in this order.
    proxies: Vec<Proxy>,
    weirs: Vec<(Target, Weir)>,
    plain: Cluster,
    _shards: Cluster,
    scale: u32,
}

impl Stage {
    pub fn start(options: &Options) -> Self {
        let scale = options.scale();
        let (mut plain, shards) = (Cluster::start(1), Cluster::start(SHARDS));
        allow_connections(&mut plain);
        fill(&plain, &shards, scale);
        let users = format!("\"{USER}\" \"{PASSWORD}\"\n");
        let users_file = plain.folder().join("users.txt");
        fs::write(&users_file, &users).unwrap();
        let users_file = users_file.display();
        let scram = format!("method = 'scram-sha-256'\nusers_file = '{users_file}'");
        let weir = |workers, auth: &str| Weir::plain(&plain, DATABASE, &settings(workers, auth));
        let weirs = vec![
            (Target::Weir, weir(1, "method = 'trust'")),
            (Target::TwoWorkers, weir(2, "method = 'trust'")),
            (Target::WeirScram, weir(1, &scram)),
            (Target::Sharded, sharded(&shards)),
        ];
        let server = plain.shard(0).port();
        let folder = plain.folder();
        let mut proxies = vec![
            pgbouncer(folder, Target::PgBouncer, server, "auth_type = any"),
            pgbouncer(
                folder,
                Target::PgBouncerScram,
                server,
                &format!("auth_type = scram-sha-256\nauth_file = {users_file}"),
            ),
            haproxy(folder, server),
        ];
        for (number, other) in options.proxy.iter().enumerate() {
            let text =
                fs::read_to_string(&other.configuration).expect("the configuration is there");
            let server = server.to_string();
            let text = text.replace("{server}", &server).replace("{database}", DATABASE);
            proxies.push(proxy(folder, Target::Other(number), &text, |file| {
                let mut command = Command::new(&other.program);
                command.arg(file);
                command
            }));
        }
        Self { proxies, weirs, plain, _shards: shards, scale }
    }

    /// The one whose costs are told.
    pub fn process(&self, target: Target) -> Option<u32> {
        let proxy = self.proxies.iter().find(|proxy| proxy.target == target);
        let weir = self.weirs.iter().find(|(of, _)| *of == target);
        proxy.map(|proxy| proxy.process.id()).or(weir.map(|(_, weir)| weir.id()))
    }

    pub fn port(&self, target: Target) -> u16 {
        let proxy = self.proxies.iter().find(|proxy| proxy.target == target);
        let weir = self.weirs.iter().find(|(of, _)| *of == target);
        let port = proxy.map(|proxy| proxy.port).or(weir.map(|(_, weir)| weir.port()));
        port.unwrap_or(self.plain.shard(0).port())
    }

    pub fn drive(&self, case: &Case, time: Duration) -> Done {
        let port = self.port(case.target);
        Drive { port, user: USER, scale: self.scale, folder: self.plain.folder() }.run(case, time)
    }
}

/// Clients without a pooler, and what the poolers keep meanwhile.
fn allow_connections(plain: &mut Cluster) {
    plain.shard(0).sql("postgres", "ALTER SYSTEM SET max_connections = 300").unwrap();
    plain.stop(0);
    plain.restart(0);
}

/// pgbench's tables on the plain server, its accounts on the shards, and a row that is wide.
fn fill(plain: &Cluster, shards: &Cluster, scale: u32) {
    let status = Command::new(client_program("pgbench"))
        .args(["--initialize", "--quiet", &format!("--scale={scale}"), "--host=127.0.0.1"])
        .args([&format!("--port={}", plain.shard(0).port()), "--username=postgres", DATABASE])
        .stderr(Stdio::null())
        .status();
    assert!(status.is_ok_and(|status| status.success()), "pgbench is installed");
    let wide = format!(
        "CREATE TABLE wide AS SELECT repeat('x', {WIDE_ROW_BYTES}) AS body; \
         CREATE UNLOGGED TABLE copied (LIKE pgbench_accounts); CHECKPOINT"
    );
    plain.shard(0).sql(DATABASE, &wide).unwrap();
    for (number, shard) in shards.shards().iter().enumerate() {
        let accounts = format!(
            "CREATE TABLE pgbench_accounts (aid bigint PRIMARY KEY, bid int, abalance int, filler char(84)) \
             WITH (fillfactor = 90); \
             INSERT INTO pgbench_accounts SELECT n, 1, 0, '' FROM generate_series(1, {scale} * 100000) n \
             WHERE n % {SHARDS} = {number}; \
             VACUUM ANALYZE; CHECKPOINT"
        );
        shard.sql(DATABASE, &accounts).unwrap();
    }
}

fn settings(workers: usize, auth: &str) -> String {
    format!(
        "workers = {workers}\n[auth]\n{auth}\n[pool]\nsize = {CONNECTIONS}\n\
         [tier.batch]\nsize = {CONNECTIONS}\n[limits]\nclients = {CLIENTS}"
    )
}

/// Account `n` is on shard `n` modulo four.
fn sharded(shards: &Cluster) -> Weir {
    let mut rules = format!("database = '{DATABASE}'\n");
    for shard in shards.shards() {
        let (name, port) = (shard.name(), shard.port());
        rules += &format!(
            "[[shard]]\nname = '{name}'\nprimary = 'host=127.0.0.1 port={port} dbname={DATABASE}'\n"
        );
    }
    rules += &format!(
        "[[distribution]]\nname = 'by_account'\nfunction = 'modulo'\nkey_type = 'bigint'\n\
         buckets = {SHARDS}\n\
         [[table]]\nname = 'pgbench_accounts'\ndistribution = 'by_account'\nkey = 'aid'\n"
    );
    Weir::with_rules(shards, &rules, &settings(1, "method = 'trust'"))
}

fn pgbouncer(folder: &Path, target: Target, server: u16, auth: &str) -> Proxy {
    let text = format!(
        "[databases]\n{DATABASE} = host=127.0.0.1 port={server} dbname={DATABASE} user=postgres\n\
         [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {{listen}}\nunix_socket_dir =\n\
         {auth}\npool_mode = transaction\ndefault_pool_size = {CONNECTIONS}\n\
         max_client_conn = {CLIENTS}\nlog_connections = 0\nlog_disconnections = 0\n"
    );
    proxy(folder, target, &text, |file| {
        let mut command = Command::new("pgbouncer");
        // Root may not run it.
        if fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0) {
            command.args(["-u", "postgres"]);
        }
        command.arg("-q").arg(file);
        command
    })
}

fn haproxy(folder: &Path, server: u16) -> Proxy {
    let text = format!(
        "global\n  nbthread 1\n  maxconn 1000\n\
         defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 1h\n  timeout server 1h\n\
         listen postgresql\n  bind 127.0.0.1:{{listen}}\n  server only 127.0.0.1:{server}\n"
    );
    proxy(folder, Target::HaProxy, &text, |file| {
        let mut command = Command::new("haproxy");
        command.args(["-db", "-q", "-f"]).arg(file);
        command
    })
}

fn proxy(folder: &Path, target: Target, text: &str, command: impl Fn(&Path) -> Command) -> Proxy {
    let port = free_port().unwrap();
    let file = folder.join(format!("proxy-{port}"));
    fs::write(&file, text.replace("{listen}", &port.to_string())).unwrap();
    let mut command = command(&file);
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let program = quiet.get_program().to_owned();
    let process = quiet.spawn().unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    wait_for(&program.to_string_lossy(), || TcpStream::connect(("127.0.0.1", port)).is_ok());
    Proxy { target, process, port }
}
