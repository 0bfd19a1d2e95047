//! weir itself, as its users run it: the program with a `weir.toml`, in front of a cluster.
use crate::cluster::{Cluster, DATABASE};
use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};
use weir::cli::{shop, throwaway::free_port};

const START_TIMEOUT: Duration = Duration::from_secs(30);
const POLL_INTERVAL: Duration = Duration::from_millis(10);

pub struct Weir {
    process: Child,
    port: u16,
    admin_port: u16,
    folder: PathBuf,
}

impl Weir {
    /// Marks the cluster's shards with `weir setup` and serves them under the rules of rules/shop.
    /// `settings` is what weir.toml says besides where to listen.
    pub fn start(cluster: &Cluster, settings: &str) -> Self {
        let shards: Vec<String> =
            cluster.shards().iter().map(|shard| shard.dsn(DATABASE)).collect();
        let gather = cluster.shard(0).dsn("gather");
        let rules = shop::rules(&shards, &gather).replace(" user=postgres", "");
        Self::with_rules(cluster, &rules, settings)
    }

    pub fn with_rules(cluster: &Cluster, rules: &str, settings: &str) -> Self {
        let (port, admin_port) = (free_port().unwrap(), free_port().unwrap());
        let folder = cluster.folder().join(format!("weir-{port}"));
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("rules.toml"), rules).unwrap();
        let config = format!(
            "rules = ['rules.toml']\n[listen]\nclients = ['127.0.0.1:{port}']\n\
             admin = '127.0.0.1:{admin_port}'\n{settings}"
        );
        let file = folder.join("weir.toml");
        fs::write(&file, config).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let setup = command().arg("setup").arg("--rules").arg(folder.join("rules.toml")).output();
        let setup = setup.expect("weir runs");
        assert!(setup.status.success(), "{}", String::from_utf8_lossy(&setup.stderr));
        let log = fs::File::create(folder.join("log")).unwrap();
        let process = command()
            .arg("serve")
            .arg("--config")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("weir runs");
        let mut weir = Self { process, port, admin_port, folder };
        weir.wait_until_ready();
        weir
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// A page of the admin port, headers and all; `None` if nobody listens.
    pub fn page(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.admin_port)).ok()?;
        stream.write_all(format!("GET {path} HTTP/1.1\r\n\r\n").as_bytes()).ok()?;
        let mut page = String::new();
        stream.read_to_string(&mut page).ok()?;
        Some(page)
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    fn wait_until_ready(&mut self) {
        let deadline = Instant::now() + START_TIMEOUT;
        while !self.page("/readyz").is_some_and(|page| page.starts_with("HTTP/1.1 200")) {
            if let Some(status) = self.process.try_wait().unwrap() {
                panic!("weir ended ({status}):\n{}", self.log());
            }
            assert!(Instant::now() < deadline, "weir is not ready:\n{}", self.log());
            thread::sleep(POLL_INTERVAL);
        }
    }
}

impl Drop for Weir {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("weir's log:\n{}", self.log());
        }
        if self.process.kill().is_err() || self.process.wait().is_err() {
            eprintln!("weir may still be running");
        }
    }
}

/// The program under test, which ends with this process even if that is killed.
fn command() -> Command {
    let program = Path::new(env!("CARGO_BIN_EXE_weir"));
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}
