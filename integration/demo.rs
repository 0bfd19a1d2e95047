//! `weir demo` as a user meets it: progress, three statements that behave as told, a clean end.
use std::{
    io::{BufRead, BufReader},
    net::TcpStream,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Output, Stdio},
};
use weir::cli::throwaway::free_port;

struct Demo {
    process: Child,
    port: u16,
    /// What it printed up to the line that says how to end it.
    welcome: String,
}

impl Demo {
    fn start(arguments: &[&str]) -> Self {
        let port = free_port().unwrap();
        let mut process = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--", env!("CARGO_BIN_EXE_weir"), "demo", "--port"])
            .arg(port.to_string())
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut welcome = String::new();
        for line in BufReader::new(process.stdout.as_mut().unwrap()).lines() {
            let line = line.unwrap();
            welcome.push_str(&line);
            welcome.push('\n');
            if line.starts_with("Ctrl-C ends it") {
                return Self { process, port, welcome };
            }
        }
        panic!("the demo ended early ({}):\n{welcome}", process.wait().unwrap());
    }

    /// Runs the text with the very command that the demo tells its user.
    fn psql(&self, text: &str) -> Output {
        let line =
            self.welcome.lines().find(|line| line.trim_start().starts_with("psql p")).unwrap();
        let mut words = line.split_whitespace();
        let mut psql = Command::new(words.next().unwrap());
        psql.args(words).args(["-X", "-A", "-t", "-q", "-c", text]).output().unwrap()
    }

    fn answer(&self, text: &str) -> String {
        let output = self.psql(text);
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{text}: {complaint}");
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    /// The statements that the demo suggests, in order.
    fn suggestions(&self) -> Vec<String> {
        let indented = self.welcome.lines().filter_map(|line| line.strip_prefix("    "));
        indented.filter(|line| line.ends_with(';')).map(str::to_owned).collect()
    }

    fn folder(&self) -> PathBuf {
        let (_, rest) = self.welcome.split_once("Rules and settings: ").unwrap();
        PathBuf::from(rest.split_once("/rules.toml").unwrap().0)
    }

    fn end(mut self, signal: &str) -> ExitStatus {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &pid]).status().unwrap().success());
        self.process.wait().unwrap()
    }
}

#[test]
fn the_suggested_statements_behave_as_told_and_ctrl_c_removes_everything() {
    let demo = Demo::start(&[]);
    let [explain, transaction, united, gathered, written, refused] =
        demo.suggestions().try_into().unwrap();

    let explained = demo.answer(&explain);
    assert!(explained.contains("shard s") && explained.contains("user_id"), "{explained}");
    let select = explain.strip_prefix("EXPLAIN (WEIR) ").unwrap();
    assert_eq!(demo.answer(select), "Hugo|A-1008|51.50\nHugo|A-1009|19.60");

    assert_eq!(demo.answer(&transaction), "A-1008|shipped");
    let status = "SELECT status FROM orders WHERE user_id = 42 AND order_no = 'A-1008'";
    assert_eq!(demo.answer(status), "paid");

    let by_status = "paid|5|157.10\nnew|2|53.00\nshipped|3|33.00\ncancelled|2|29.70";
    assert_eq!(demo.answer(&united), by_status);
    assert_eq!(demo.answer(&gathered), "16.80");

    assert_eq!(demo.answer(&written).lines().count(), 2);
    assert_eq!(demo.answer(&written), "");

    let console = demo.welcome.lines().find_map(|line| line.strip_prefix("Console:")).unwrap();
    let console = console.split_whitespace().nth(1).unwrap();
    let psql = Command::new("psql").args([console, "-X", "-A", "-t", "-c", "SHOW SHARDS"]).output();
    let servers = String::from_utf8(psql.unwrap().stdout).unwrap();
    // Four shards and the gather database.
    assert_eq!(servers.lines().filter(|line| line.contains("primary")).count(), 5, "{servers}");

    let output = demo.psql(&refused);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && complaint.contains("HINT:"), "{complaint}");

    let (folder, port) = (demo.folder(), demo.port);
    assert!(folder.exists());
    assert!(demo.end("INT").success());
    assert!(!folder.exists());
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
}

#[test]
fn kept_data_is_there_at_the_next_start() {
    let folder = std::env::temp_dir().join(format!("weir-kept-{:016x}", rand::random::<u64>()));
    let arguments = ["--shards", "2", "--keep", folder.to_str().unwrap()];
    let rename = "UPDATE users SET name = 'Kept' WHERE id = 42";
    let name = "SELECT name FROM users WHERE id = 42";

    let demo = Demo::start(&arguments);
    demo.answer(rename);
    assert!(demo.end("TERM").success());
    let demo = Demo::start(&arguments);
    assert_eq!(demo.answer(name), "Kept");
    assert!(demo.end("TERM").success());
    assert!(folder.join("rules.toml").exists());
    std::fs::remove_dir_all(folder).unwrap();
}
