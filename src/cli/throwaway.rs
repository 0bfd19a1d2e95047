//! PostgreSQL servers that live as long as the value that started them: for `weir demo` and for tests.
//!
//! One `initdb` makes a template data directory; every server is a copy of it, listening on
//! 127.0.0.1 with durability off. When this process runs as root the servers run as the user
//! `postgres`, which is what PostgreSQL demands. A server ends when its [`Postgres`] is dropped,
//! and also when the thread that started it dies in any other way (`setpriv --pdeathsig`), so
//! start servers from a thread that stays.
//!
//! - `replica`: streaming replicas, and what becomes of them
//! - `faults`: servers that are killed, hang, are shut down
mod replica;
mod faults;

use super::Failure;
use std::{
    fs, io,
    net::TcpListener,
    ops::Range,
    os::{
        linux::net::SocketAddrExt,
        unix::{
            fs::chown,
            net::{SocketAddr, UnixListener},
            process::CommandExt,
        },
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

const START_TIMEOUT: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(10);
/// How often a start is tried again when somebody else took the free port that was found.
const START_ATTEMPTS: usize = 3;
/// Linux gives outgoing connections ports from 32768 on.
const FREE_PORTS: Range<u16> = 10_000..32_000;
const FREE_PORT_ATTEMPTS: usize = 1_000;

/// Kept small, so that a dozen servers fit beside a compiler. Durability is off: the data is thrown away.
const SETTINGS: &[&str] = &[
    "listen_addresses=127.0.0.1",
    "shared_buffers=16MB",
    "max_wal_size=128MB",
    // For a replica that comes back.
    "wal_keep_size=64MB",
    "max_prepared_transactions=100",
    "max_worker_processes=4",
    "max_parallel_workers_per_gather=0",
    "fsync=off",
    "full_page_writes=off",
    "synchronous_commit=on",
    "log_min_messages=warning",
    "log_line_prefix=%m [%p] %u@%d ",
    "timezone=UTC",
    "log_timezone=UTC",
];

/// PostgreSQL's programs, and the user they run as.
#[derive(Debug, Clone)]
pub struct Programs {
    bin: PathBuf,
    account: Account,
    death_signal: DeathSignal,
}

/// PostgreSQL refuses to run as root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Account {
    Ours,
    Postgres { uid: u32, gid: u32 },
}

/// Whether `setpriv` is there to tie a server's life to ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DeathSignal {
    Sent,
    Unavailable,
}

impl Programs {
    /// The newest PostgreSQL below `/usr/lib/postgresql` (Debian, Ubuntu), else the one in `PATH`.
    pub fn find() -> Result<Self, Failure> {
        let bin = newest_debian_bin().or_else(bin_in_path).ok_or_else(|| {
            Failure::new("no PostgreSQL server programs found")
                .hint("install them: apt-get install postgresql (or put initdb's folder into PATH)")
        })?;
        let setpriv = Command::new("setpriv").arg("--version").stdout(Stdio::null()).status();
        let death_signal = match setpriv {
            Ok(status) if status.success() => DeathSignal::Sent,
            Ok(_) | Err(_) => DeathSignal::Unavailable,
        };
        Ok(Self { bin, account: account()?, death_signal })
    }

    /// The major version's folder name or whatever else tells two installations apart.
    pub fn version(&self) -> Result<String, Failure> {
        let output = Command::new(self.bin.join("postgres")).arg("--version").output()?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().replace(['(', ')', ' '], "-"))
    }

    /// A command that runs as PostgreSQL's user.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("setpriv");
        match (self.account, self.death_signal) {
            (Account::Ours, DeathSignal::Unavailable) => {
                return Command::new(self.bin.join(program));
            }
            (Account::Ours, DeathSignal::Sent) => (),
            (Account::Postgres { uid, gid }, DeathSignal::Sent | DeathSignal::Unavailable) => {
                command.arg(format!("--reuid={uid}")).arg(format!("--regid={gid}"));
                command.arg("--clear-groups");
            }
        }
        // SIGQUIT is PostgreSQL's immediate shutdown.
        command.args(["--pdeathsig", "QUIT", "--"]).arg(self.bin.join(program));
        command
    }

    /// Runs SQL text with psql; the first error ends it and is returned. `place` is a connection
    /// string. Gives what psql printed, unaligned and without headers.
    pub fn psql(&self, place: &str, text: &str) -> Result<String, Failure> {
        let mut psql = Command::new(self.bin.join("psql"))
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-f", "-", "-d", place])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        if let Some(mut input) = psql.stdin.take() {
            match io::Write::write_all(&mut input, text.as_bytes()) {
                // psql ended early: what it says about that is more use than the pipe's error.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => (),
                written => written?,
            }
        }
        let output = psql.wait_with_output()?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned());
        }
        Err(Failure::new(String::from_utf8_lossy(&output.stderr).trim_end()))
    }

    fn own(&self, path: &Path) -> io::Result<()> {
        match self.account {
            Account::Ours => Ok(()),
            Account::Postgres { uid, gid } => chown(path, Some(uid), Some(gid)),
        }
    }

    /// Makes an empty data directory at `to`, whose parent must be open to PostgreSQL's user.
    fn initdb(&self, to: &Path) -> Result<(), Failure> {
        fs::create_dir_all(to)?;
        self.own(to)?;
        let output = self
            .command("initdb")
            .args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-sync"])
            .args(["--locale=C.UTF-8", "--wal-segsize=1", "--no-instructions", "-D"])
            .arg(to)
            .current_dir("/")
            .output()?;
        if output.status.success() {
            return Ok(());
        }
        Err(Failure::new(format!("initdb failed: {}", String::from_utf8_lossy(&output.stderr))))
    }
}

/// A folder of servers that share one template.
#[derive(Debug)]
pub struct Farm {
    programs: Programs,
    folder: PathBuf,
    /// Only copied from.
    template: PathBuf,
    keep: Keep,
}

/// What becomes of the data when the servers end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    Nothing,
    /// The data stays, and a later start goes on with it.
    Data,
}

impl Farm {
    /// A folder of its own below `parent`. `cache`, if given, is a folder where the template is looked
    /// for, and left for the next farm.
    pub fn temporary(parent: &Path, cache: Option<&Path>) -> Result<Self, Failure> {
        let programs = Programs::find()?;
        let folder = parent.join(format!("weir-{:016x}", rand::random::<u64>()));
        fs::create_dir(&folder)?;
        programs.own(&folder)?;
        let template = folder.join("template");
        let mut farm = Self { programs, folder, template, keep: Keep::Nothing };
        match cache {
            None => farm.programs.initdb(&farm.template)?,
            Some(cache) => farm.template = farm.cached_template(cache)?,
        }
        Ok(farm)
    }

    /// Servers whose data stays in `folder`.
    pub fn kept(folder: &Path) -> Result<Self, Failure> {
        let programs = Programs::find()?;
        fs::create_dir_all(folder)?;
        let folder = folder.canonicalize()?;
        programs.own(&folder)?;
        let template = folder.join("template");
        let farm = Self { programs, folder, template, keep: Keep::Data };
        if !farm.template.join("PG_VERSION").exists() {
            farm.programs.initdb(&farm.template)?;
        }
        Ok(farm)
    }

    /// The template that is left for all. Several processes may come here at once: each makes what is
    /// missing and renames it into place whole, and losing that race does no harm.
    fn cached_template(&self, cache: &Path) -> Result<PathBuf, Failure> {
        let cached = cache.join(format!("template-{}", self.programs.version()?));
        if !cached.exists() {
            // Not made there: PostgreSQL's user may have no way into it.
            self.programs.initdb(&self.template)?;
            fs::create_dir_all(cache)?;
            let draft = cache.join(format!("draft-{:016x}", rand::random::<u64>()));
            copy_folder(&self.template, &draft)?;
            if fs::rename(&draft, &cached).is_err() {
                fs::remove_dir_all(&draft)?;
            }
        }
        Ok(cached)
    }

    /// Begins to start a server, on the preferred port if nobody uses it, else on a free one;
    /// [`Starting::ready`] waits for it. Start several before waiting for any.
    pub fn start(&self, name: &str, preferred: Option<u16>) -> Result<Starting, Failure> {
        let data = self.folder.join(name);
        if !data.join("PG_VERSION").exists() {
            copy_folder(&self.template, &data)?;
        }
        let usable = preferred.filter(|&port| TcpListener::bind(("127.0.0.1", port)).is_ok());
        let port = match usable {
            Some(port) => port,
            None => free_port()?,
        };
        Ok(Starting { server: self.launch(name, port)?, attempts: 1 })
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn keeps(&self) -> Keep {
        self.keep
    }

    fn launch(&self, name: &str, port: u16) -> Result<Postgres, Failure> {
        let data = self.folder.join(name);
        let log = self.folder.join(format!("{name}.log"));
        let output = fs::File::create(&log)?;
        let mut command = self.programs.command("postgres");
        command.arg("-D").arg(&data).arg("-p").arg(port.to_string());
        command.arg("-k").arg(&self.folder);
        let altered = fs::read_to_string(data.join("postgresql.auto.conf")).unwrap_or_default();
        for setting in SETTINGS {
            // What ALTER SYSTEM has said there stands.
            let name = setting.split('=').next().unwrap_or(setting);
            if !altered.lines().any(|line| line.starts_with(name)) {
                command.arg("-c").arg(setting);
            }
        }
        let process = command
            .current_dir("/")
            // Ctrl-C in a terminal is for us; we end the servers in our own order.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()?;
        Ok(Postgres {
            name: name.to_owned(),
            port,
            data,
            log,
            process,
            keep: self.keep,
            programs: self.programs.clone(),
            sockets: self.folder.clone(),
        })
    }
}

impl Drop for Farm {
    /// Servers outlive neither their farm's folder nor, when a test fails, hide their logs.
    fn drop(&mut self) {
        if self.keep == Keep::Data {
            return;
        }
        if thread::panicking() {
            eprintln!("the servers' logs stay in {}", self.folder.display());
            remove_quietly(&self.folder.join("template"));
        } else {
            remove_quietly(&self.folder);
        }
    }
}

/// A server that was started but may not answer yet.
#[derive(Debug)]
#[must_use = "a server that is not waited for is stopped"]
pub struct Starting {
    server: Postgres,
    attempts: usize,
}

impl Starting {
    /// Waits until the server accepts connections.
    pub fn ready(mut self, farm: &Farm) -> Result<Postgres, Failure> {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            if self.server.says_ready() {
                return Ok(self.server);
            }
            if let Some(status) = self.server.process.try_wait()? {
                let log = self.server.log_tail();
                if self.attempts < START_ATTEMPTS && log.contains("Address already in use") {
                    self.attempts += 1;
                    let name = self.server.name.clone();
                    // Dropping the one that failed would take its data along.
                    let failed = std::mem::replace(&mut self.server.keep, Keep::Data);
                    self.server = farm.launch(&name, free_port()?)?;
                    self.server.keep = failed;
                    continue;
                }
                let message = format!("PostgreSQL {} ended ({status}):\n{log}", self.server.name);
                return Err(Failure::new(message));
            }
            if Instant::now() > deadline {
                let log = self.server.log_tail();
                return Err(Failure::new(format!("PostgreSQL did not start in time:\n{log}")));
            }
            thread::sleep(POLL_INTERVAL);
        }
    }
}

/// A running server.
#[derive(Debug)]
pub struct Postgres {
    name: String,
    port: u16,
    data: PathBuf,
    log: PathBuf,
    process: Child,
    keep: Keep,
    programs: Programs,
    sockets: PathBuf,
}

impl Postgres {
    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The data directory: `pg_hba.conf`, certificates.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// How to reach the given database, in libpq's keyword form.
    pub fn dsn(&self, database: &str) -> String {
        format!("host=127.0.0.1 port={} dbname={database} user=postgres", self.port)
    }

    /// As [`Programs::psql`], as the superuser.
    pub fn sql(&self, database: &str, text: &str) -> Result<String, Failure> {
        let socket = self.sockets.display();
        let (port, user) = (self.port, "postgres");
        let place = format!("host={socket} port={port} user={user} dbname={database}");
        self.programs.psql(&place, text).map_err(|failure| failure.within(&self.name))
    }

    /// Makes the server read `pg_hba.conf` and its other files again.
    pub fn reload(&self) -> Result<(), Failure> {
        self.signal("HUP")
    }

    /// Ends the server at once, as a crash would; the data stays until drop.
    pub fn crash(&mut self) -> Result<(), Failure> {
        self.signal("QUIT")?;
        self.process.wait()?;
        Ok(())
    }

    /// Starts a server that has ended again, with its data, on its port.
    pub fn restart(&mut self, farm: &Farm) -> Result<(), Failure> {
        let mut fresh = farm.launch(&self.name, self.port)?;
        std::mem::swap(&mut self.process, &mut fresh.process);
        // What is dropped here is the process that has ended; the data is ours.
        fresh.keep = Keep::Data;
        let deadline = Instant::now() + START_TIMEOUT;
        while !self.says_ready() {
            if let Some(status) = self.process.try_wait()? {
                let log = self.log_tail();
                return Err(Failure::new(format!("it ended ({status}):\n{log}")));
            }
            if Instant::now() > deadline {
                return Err(Failure::new("it did not start in time"));
            }
            thread::sleep(POLL_INTERVAL);
        }
        Ok(())
    }

    fn signal(&self, name: &str) -> Result<(), Failure> {
        let pid = self.process.id().to_string();
        let status = Command::new("kill").args(["-s", name, &pid]).status()?;
        if status.success() {
            return Ok(());
        }
        Err(Failure::new(format!("PostgreSQL {} is not running", self.name)))
    }

    /// The eighth line of `postmaster.pid` is the server's own word on it; the fourth is its port.
    fn says_ready(&self) -> bool {
        let Ok(text) = fs::read_to_string(self.data.join("postmaster.pid")) else { return false };
        let line = |n: usize| text.lines().nth(n).map(str::trim);
        line(0) == Some(&self.process.id().to_string()) && line(7) == Some("ready")
    }

    fn log_tail(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let how = match self.keep {
            Keep::Nothing => "QUIT",
            Keep::Data => "INT",
        };
        let running = matches!(self.process.try_wait(), Ok(None));
        // One that hangs hears the signal when it goes on.
        let told = || self.signal(how).and_then(|()| self.go_on()).is_ok();
        if running && told() && self.process.wait().is_err() {
            eprintln!("PostgreSQL {} may still be running", self.name);
        }
        if self.keep == Keep::Nothing {
            remove_quietly(&self.data);
        }
    }
}

/// psql, pg_dump and the like: the newest that is there, else whatever PATH has.
pub fn client_program(name: &str) -> PathBuf {
    let newest = newest_debian_bin().map(|bin| bin.join(name));
    newest.filter(|program| program.exists()).unwrap_or_else(|| name.into())
}

fn newest_debian_bin() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
    versions
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let major: u32 = entry.file_name().to_str()?.parse().ok()?;
            let bin = entry.path().join("bin");
            bin.join("initdb").exists().then_some((major, bin))
        })
        .max_by_key(|(major, _)| *major)
        .map(|(_, bin)| bin)
}

fn bin_in_path() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).find(|folder| folder.join("initdb").exists())
}

fn account() -> Result<Account, Failure> {
    let id = |arguments: &[&str]| -> Result<Option<u32>, Failure> {
        let output = Command::new("id").args(arguments).stderr(Stdio::null()).output()?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().parse().ok())
    };
    if id(&["-u"])? != Some(0) {
        return Ok(Account::Ours);
    }
    match (id(&["-u", "postgres"])?, id(&["-g", "postgres"])?) {
        (Some(uid), Some(gid)) => Ok(Account::Postgres { uid, gid }),
        (None, _) | (_, None) => Err(Failure::new("PostgreSQL does not run as root")
            .hint("run this as another user, or install PostgreSQL's package, which adds the user postgres")),
    }
}

/// `cp -a` keeps the owner and shares blocks where the file system can.
fn copy_folder(from: &Path, to: &Path) -> Result<(), Failure> {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status()?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::new(format!("could not copy {} to {}", from.display(), to.display())))
}

/// A port of 127.0.0.1 that nobody else of us is given until this process ends: its number is held
/// as the name of an abstract socket. It lies below the ports that outgoing connections get.
pub fn free_port() -> io::Result<u16> {
    for _ in 0..FREE_PORT_ATTEMPTS {
        let port = rand::random_range(FREE_PORTS);
        let name = SocketAddr::from_abstract_name(format!("weir-port-{port}"))?;
        let Ok(lease) = UnixListener::bind_addr(&name) else { continue };
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            std::mem::forget(lease);
            return Ok(port);
        }
    }
    Err(io::Error::new(io::ErrorKind::AddrInUse, "no free port was found on 127.0.0.1"))
}

/// For drops: what cannot be removed is named, not fatal.
fn remove_quietly(path: &Path) {
    match fs::remove_dir_all(path) {
        Ok(()) => (),
        Err(error) if error.kind() == io::ErrorKind::NotFound => (),
        Err(error) => eprintln!("could not remove {}: {error}", path.display()),
    }
}
