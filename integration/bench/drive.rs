//! Clients: pgbench, psql, and many that do nothing.
use crate::cluster::DATABASE;
use crate::groups::{Case, Mode, Work};
use crate::meter::memory;
use crate::stage::PASSWORD;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use weir::cli::throwaway::client_program;

/// Rows that one COPY moves.
const COPIED_ROWS: usize = 100_000;

/// Who says what where.
pub struct Drive<'a> {
    pub port: u16,
    pub user: &'a str,
    pub scale: u32,
    /// For files that are needed on the way.
    pub folder: &'a Path,
}

/// What clients got done in a round.
#[derive(Default)]
pub struct Done {
    /// Transactions, logins or MB.
    pub units: f64,
    pub time: Duration,
    /// Of some of the transactions, in microseconds, sorted.
    pub latencies: Vec<u32>,
}

impl Done {
    pub fn each_second(&self) -> f64 {
        self.units / self.time.as_secs_f64()
    }

    /// So many of a hundred took no longer, in microseconds.
    pub fn percentile(&self, percent: usize) -> Option<u32> {
        self.latencies.get(self.latencies.len() * percent / 100).copied()
    }
}

impl Drive<'_> {
    pub fn run(&self, case: &Case, time: Duration) -> Done {
        match case.work {
            Work::Script { text, mode, clients } => {
                let mut done = self.pgbench(text, mode, clients, &[], time);
                done.units *= case.megabytes.unwrap_or(1.0);
                done
            }
            Work::Login { clients } => {
                self.pgbench("SELECT 1;\n", Mode::Simple, clients, &["--connect"], time)
            }
            Work::CopyOut => self.copy_again_and_again(time, |drive| drive.copy_out()),
            Work::CopyIn => {
                let done = self.copy_again_and_again(time, |drive| drive.copy_in());
                self.psql("TRUNCATE copied");
                done
            }
        }
    }

    fn pgbench(
        &self,
        script: &str,
        mode: Mode,
        clients: usize,
        more: &[&str],
        time: Duration,
    ) -> Done {
        let (text, log) = (self.folder.join("script.sql"), self.folder.join("latency"));
        fs::write(&text, script).unwrap();
        let started = Instant::now();
        // pgbench counts in whole seconds.
        let seconds = time.as_secs_f64().ceil().max(1.0);
        let output = Command::new(client_program("pgbench"))
            .args(["--no-vacuum", "--log", "--sampling-rate=0.1", "--host=127.0.0.1", "--jobs=1"])
            .args([format!("--port={}", self.port), format!("--username={}", self.user)])
            .args([format!("--client={clients}"), format!("--time={seconds}")])
            .args([format!("--define=scale={}", self.scale), format!("--protocol={}", mode.word())])
            .arg(format!("--log-prefix={}", log.display()))
            .arg(format!("--file={}", text.display()))
            .args(more)
            .arg(DATABASE)
            .env("PGPASSWORD", PASSWORD)
            .stdin(Stdio::null())
            .output()
            .expect("pgbench is installed");
        let said = String::from_utf8_lossy(&output.stdout);
        let complained = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "pgbench on port {}: {said}{complained}", self.port);
        let number = |of: &str| {
            let line = said.lines().find_map(|line| line.strip_prefix(of)).unwrap_or_else(|| {
                panic!("{of}? pgbench on port {}: {said}{complained}", self.port)
            });
            line.split_whitespace().next().unwrap().parse::<f64>().unwrap()
        };
        let failed = number("number of failed transactions: ");
        assert!(failed == 0.0, "pgbench on port {}: {said}{complained}", self.port);
        let units = number("number of transactions actually processed: ");
        let time = match more.is_empty() {
            true => Duration::from_secs_f64(units / number("tps = ")),
            false => started.elapsed(),
        };
        Done { units, time, latencies: self.take_latencies() }
    }

    /// The third word of each line of pgbench's log.
    fn take_latencies(&self) -> Vec<u32> {
        let mut latencies = Vec::new();
        for entry in fs::read_dir(self.folder).unwrap() {
            let path = entry.unwrap().path();
            if !path.file_name().unwrap().to_string_lossy().starts_with("latency.") {
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            latencies.extend(text.lines().map(|line| {
                line.split(' ').nth(2).and_then(|time| time.parse::<u32>().ok()).unwrap()
            }));
            fs::remove_file(path).unwrap();
        }
        latencies.sort_unstable();
        latencies
    }

    /// `copy` gives the bytes of one COPY.
    fn copy_again_and_again(&self, time: Duration, copy: impl Fn(&Self) -> u64) -> Done {
        let started = Instant::now();
        let mut bytes = 0;
        while bytes == 0 || started.elapsed() < time {
            bytes += copy(self);
        }
        Done { units: bytes as f64 / 1e6, time: started.elapsed(), latencies: Vec::new() }
    }

    fn copy_out(&self) -> u64 {
        let file = self.folder.join("copied");
        let text =
            format!("COPY (SELECT * FROM pgbench_accounts WHERE aid <= {COPIED_ROWS}) TO STDOUT");
        let to = fs::File::create(&file).unwrap();
        let mut psql = self.psql_command();
        let status = psql.args(["-c", &text]).stdout(to).status().expect("psql is installed");
        assert!(status.success(), "COPY out through port {}", self.port);
        fs::metadata(file).unwrap().len()
    }

    /// What `copy_out` has left.
    fn copy_in(&self) -> u64 {
        let file = self.folder.join("copied");
        if !file.exists() {
            self.copy_out();
        }
        let from = fs::File::open(&file).unwrap();
        let mut psql = self.psql_command();
        let copying = psql.args(["-c", "COPY copied FROM STDIN"]).stdin(from).stdout(Stdio::null());
        assert!(copying.status().unwrap().success(), "COPY in through port {}", self.port);
        fs::metadata(file).unwrap().len()
    }

    fn psql(&self, text: &str) {
        let status = self.psql_command().args(["-c", text]).stdout(Stdio::null()).status();
        assert!(status.is_ok_and(|status| status.success()), "{text} on port {}", self.port);
    }

    fn psql_command(&self) -> Command {
        let mut psql = Command::new(client_program("psql"));
        psql.args(["-X", "-q", "--host=127.0.0.1", &format!("--port={}", self.port)]);
        psql.args([&format!("--username={}", self.user), &format!("--dbname={DATABASE}")]);
        psql.env("PGPASSWORD", PASSWORD);
        psql
    }
}

/// Clients that have logged in and say nothing; they hang up when dropped.
pub struct Crowd(Vec<TcpStream>);

impl Crowd {
    pub fn connect(port: u16, count: usize) -> Self {
        Self((0..count).map(|_| greet(port)).collect())
    }

    /// What the process takes for each of them, in bytes: what it has now and will not have when they
    /// have left.
    pub fn memory_of_each(&self, process: u32, without: u64) -> Option<f64> {
        let count = self.0.len();
        let with = memory(process, "VmRSS:");
        (count > 0).then(|| (with.saturating_sub(without) * 1024) as f64 / count as f64)
    }
}

/// Logs in without a password, and hears up to ReadyForQuery.
fn greet(port: u16) -> TcpStream {
    const READY: &[u8] = b"Z\0\0\0\x05I";
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let said = format!("user\0postgres\0database\0{DATABASE}\0\0");
    let length = (said.len() as u32 + 8).to_be_bytes();
    let startup = [&length[..], &(3_u32 << 16).to_be_bytes(), said.as_bytes()].concat();
    stream.write_all(&startup).unwrap();
    let (mut heard, mut buffer) = (Vec::new(), [0; 4096]);
    while !heard.ends_with(READY) {
        let count = stream.read(&mut buffer).unwrap();
        assert!(count > 0, "port {port} hung up: {}", String::from_utf8_lossy(&heard));
        heard.extend_from_slice(&buffer[..count]);
    }
    stream
}

/// Sockets of the idle clients: ours, and the proxies'.
pub fn allow_many_files() {
    let pid = std::process::id().to_string();
    let raised = Command::new("prlimit").args(["--pid", &pid, "--nofile=16384:"]).status();
    assert!(raised.is_ok_and(|status| status.success()), "16384 files may be open");
}
