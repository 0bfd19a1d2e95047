//! weir itself, as its users run it: the program with a `weir.toml`, in front of a cluster.
use crate::cluster::{Cluster, DATABASE};
use std::{
    ffi::OsString,
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};
use weir::cli::{shop, throwaway::free_port};

const START_TIMEOUT: Duration = Duration::from_secs(30);
const POLL_INTERVAL: Duration = Duration::from_millis(10);

pub struct Weir {
    process: Child,
    home: Home,
}

/// A folder with `weir.toml` and `rules.toml`, and the ports that they name.
#[derive(Clone)]
pub struct Home {
    port: u16,
    admin_port: u16,
    folder: PathBuf,
    /// What it is configured by.
    file: &'static str,
}

impl Home {
    pub fn new(cluster: &Cluster, rules: &str, settings: &str) -> Self {
        let (port, admin_port) = (free_port().unwrap(), free_port().unwrap());
        let folder = cluster.folder().join(format!("weir-{port}"));
        fs::create_dir(&folder).unwrap();
        let home = Self { port, admin_port, folder, file: "weir.toml" };
        home.write("rules.toml", rules);
        // What stands before the first table has to come first.
        let (top, tables) = match settings.starts_with("workers") {
            true => settings.split_once('\n').unwrap_or((settings, "")),
            false => ("", settings),
        };
        home.write(
            "weir.toml",
            &format!(
                "rules = ['rules.toml']\n{top}\n[listen]\nclients = ['127.0.0.1:{port}']\n\
                 admin = '127.0.0.1:{admin_port}'\n{tables}"
            ),
        );
        // It may hold passwords.
        let file = home.folder.join("weir.toml");
        fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
        home
    }

    /// A folder with this pgbouncer.ini, in which `{port}` and `{folder}` are those of this one.
    pub fn of_pgbouncer(cluster: &Cluster, ini: &str) -> Self {
        // weir's HTTP port is the next one.
        let port = loop {
            let port = free_port().unwrap();
            if TcpListener::bind(("127.0.0.1", port + 1)).is_ok() {
                break port;
            }
        };
        let folder = cluster.folder().join(format!("weir-{port}"));
        fs::create_dir(&folder).unwrap();
        let home = Self { port, admin_port: port + 1, folder, file: "pgbouncer.ini" };
        let ini = ini.replace("{port}", &port.to_string());
        home.write(home.file, &ini.replace("{folder}", &home.folder.display().to_string()));
        home
    }

    /// The same folder with another configuration in it.
    pub fn serving(self, file: &'static str) -> Self {
        Self { file, ..self }
    }

    pub fn write(&self, file: &str, text: &str) {
        fs::write(self.folder.join(file), text).unwrap();
    }

    pub fn read(&self, file: &str) -> String {
        fs::read_to_string(self.folder.join(file)).unwrap()
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn admin_port(&self) -> u16 {
        self.admin_port
    }

    /// A page of the admin port, headers and all; `None` if nobody listens.
    pub fn page(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.admin_port)).ok()?;
        stream.write_all(format!("GET {path} HTTP/1.1\r\n\r\n").as_bytes()).ok()?;
        let mut page = String::new();
        stream.read_to_string(&mut page).ok()?;
        Some(page)
    }

    /// Runs a command of weir in this folder to its end.
    pub fn run(&self, arguments: &[&str]) -> Output {
        command().args(arguments).current_dir(&self.folder).output().expect("weir runs")
    }

    /// `weir serve`, ready.
    pub fn serve(self) -> Weir {
        self.serve_with(&[])
    }

    /// The same with this in the environment.
    pub fn serve_with(self, environment: &[(&str, &str)]) -> Weir {
        let process = self.spawn(&[], environment);
        let mut weir = Weir { process, home: self };
        weir.wait_until_ready();
        weir
    }

    fn spawn(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Child {
        let log = fs::File::options().create(true).append(true).open(self.folder.join("log"));
        let log = log.unwrap();
        let mut command = command();
        command.arg("serve").arg(self.folder.join(self.file)).args(arguments);
        command.envs(environment.iter().copied());
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        command.spawn().expect("weir runs")
    }
}

/// What a command printed.
pub fn said(output: &Output) -> String {
    let texts = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    texts.concat()
}

/// Looks until something is so; otherwise says what was expected.
pub fn wait_for(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + START_TIMEOUT;
    while !so() {
        assert!(Instant::now() < deadline, "in vain waited for: {what}");
        thread::sleep(POLL_INTERVAL);
    }
}

impl Weir {
    /// Marks the cluster's shards with `weir setup` and serves them under the rules of rules/shop.
    /// `settings` is what weir.toml says besides where to listen.
    pub fn start(cluster: &Cluster, settings: &str) -> Self {
        let shards: Vec<String> =
            cluster.shards().iter().map(|shard| shard.dsn(DATABASE)).collect();
        let rules = shop::rules(&shards, &cluster.gather()).replace(" user=postgres", "");
        Self::with_rules(cluster, &rules, settings)
    }

    /// Marks the shards with these rules' placement, gives the gather database their schema, if there
    /// is one, and serves them.
    pub fn with_rules(cluster: &Cluster, rules: &str, settings: &str) -> Self {
        let home = Home::new(cluster, rules, settings);
        if rules.contains("[[distribution]]") {
            let mut command = vec!["setup", "--rules", "rules.toml"];
            command.extend(rules.contains("[gather]").then_some("--gather"));
            let setup = home.run(&command);
            assert!(setup.status.success(), "{}", said(&setup));
        }
        home.serve()
    }

    /// One server as it is, without sharding.
    pub fn plain(cluster: &Cluster, database: &str, settings: &str) -> Self {
        let address = cluster.shard(0).dsn(database).replace(" user=postgres", "");
        let address = address.replace(" dbname=*", "");
        let rules =
            format!("database = '{database}'\n[[shard]]\nname = 'only'\nprimary = '{address}'\n");
        Self::with_rules(cluster, &rules, settings)
    }

    pub fn port(&self) -> u16 {
        self.home.port
    }

    pub fn home(&self) -> &Home {
        &self.home
    }

    /// Runs text with psql; `place` is what a connection string says beside host and port.
    /// Gives what psql printed, or what it complained of.
    pub fn psql(&self, place: &str, text: &str) -> Result<String, String> {
        psql(&format!("host=127.0.0.1 port={} {place}", self.home.port), text)
    }

    /// The process's.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// The most memory that the process has had since this was asked last, in KiB.
    pub fn peak_memory(&self) -> u64 {
        let process = format!("/proc/{}", self.process.id());
        let status = fs::read_to_string(format!("{process}/status")).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        // Documented in proc(5): the mark starts anew at what is in use.
        fs::write(format!("{process}/clear_refs"), "5").unwrap();
        peak.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Asks the process with a signal.
    pub fn signal(&self, name: &str) {
        let pid = self.process.id().to_string();
        let status = Command::new("kill").args(["-s", name, &pid]).status().unwrap();
        assert!(status.success(), "weir runs no more:\n{}", self.log());
    }

    /// SIGHUP, and the log's line about the outcome.
    pub fn reload(&self) -> String {
        let before = self.log().len();
        self.signal("HUP");
        let heard = || {
            let log = self.log();
            let new = log.get(before..).unwrap_or_default().to_owned();
            new.contains("reloaded").then_some(new)
        };
        wait_for("a reload's outcome in the log", || heard().is_some());
        heard().unwrap_or_default()
    }

    /// SIGKILL, and its end.
    pub fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Starts again what has ended, where it was.
    pub fn restart(&mut self) {
        self.process = self.home.spawn(&[], &[]);
        self.wait_until_ready();
    }

    /// Another weir of the same folder takes this one's place, and serves.
    pub fn successor(&self) -> Self {
        const TAKEN_OVER: &str = "another weir has taken over";
        let before = self.log().matches(TAKEN_OVER).count();
        let process = self.home.spawn(&["--takeover"], &[]);
        let mut next = Weir { process, home: self.home.clone() };
        wait_for("the successor", || {
            assert!(!next.has_ended(), "the successor has ended:\n{}", self.log());
            self.log().matches(TAKEN_OVER).count() > before
        });
        next
    }

    /// Weirs that this one has started in its place.
    fn successors(&self) -> Vec<String> {
        let log = self.log();
        let said = log.split("another weir is to take over process=").skip(1);
        said.filter_map(|rest| rest.split_whitespace().next()).map(str::to_owned).collect()
    }

    /// Waits for the end of the process; its exit code.
    pub fn ended(&mut self) -> Option<i32> {
        let mut status = None;
        wait_for("weir's end", || {
            status = self.process.try_wait().unwrap();
            status.is_some()
        });
        status.and_then(|status| status.code())
    }

    pub fn has_ended(&mut self) -> bool {
        self.process.try_wait().unwrap().is_some()
    }

    /// A page of the admin port, headers and all; `None` if nobody listens.
    pub fn page(&self, path: &str) -> Option<String> {
        self.home.page(path)
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.home.folder.join("log")).unwrap_or_default()
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
            let ended = self.process.try_wait().ok().flatten();
            eprintln!("weir's log, and how it ended if it did ({ended:?}):\n{}", self.log());
        }
        for process in self.successors() {
            drop(Command::new("kill").args(["-s", "KILL", &process]).status());
        }
        if self.process.kill().is_err() || self.process.wait().is_err() {
            eprintln!("weir may still be running");
        }
    }
}

/// The program under test, which ends with this process even if that is killed. WEIR_PROGRAM is another
/// build of it: an optimised one, for measurements and long runs.
pub fn command() -> Command {
    let program = std::env::var_os("WEIR_PROGRAM")
        .unwrap_or_else(|| OsString::from(env!("CARGO_BIN_EXE_weir")));
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

/// What a process has used of the processors so far, in the system, too, to the hundredth of a second.
pub fn processor_time(process: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    // The name in parentheses may hold anything; then utime and stime are the 12th and 13th.
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let ticks = fields.split_whitespace().skip(11).take(2);
    ticks.map(|ticks| Duration::from_millis(10 * ticks.parse::<u64>().unwrap())).sum()
}

/// Runs text with psql as a user would, with its complaints; the first error ends it.
pub fn psql(place: &str, text: &str) -> Result<String, String> {
    let mut psql = Command::new("psql")
        .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-f", "-", "-d", place])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("psql is installed");
    // One that has ended early says why; then the pipe is broken.
    drop(psql.stdin.take().unwrap().write_all(text.as_bytes()));
    let output = psql.wait_with_output().unwrap();
    match output.status.success() {
        true => Ok(said(&output).trim_end().to_owned()),
        false => Err(said(&output).trim_end().to_owned()),
    }
}
