//! PgBouncer under the same load as weir, if somebody wants to know: `WEIR_LOAD_PGBOUNCER=/usr/sbin/pgbouncer`.
//!
//! Statements are sent without a name, since PgBouncer before 1.21 does not keep those that have one in
//! transaction pooling. The rounds of all proxies and sizes take turns, so a machine that has something
//! else to do as well hinders all of them alike.
use super::crowd::{CONNECTIONS, SIZES, USED};
use super::{Crowd, Figures, Stage, Step, client};
use crate::cluster::{Cluster, DATABASE};
use crate::weir::{Weir, wait_for};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{env, fs};
use weir::cli::throwaway::free_port;

const ROUNDS: usize = 6;

/// What a client does, by its number.
type Script = fn(usize) -> Vec<Step>;

/// Where it is, if it is to be compared.
pub fn asked_for() -> Option<String> {
    env::var("WEIR_LOAD_PGBOUNCER").ok()
}

struct Bouncer {
    process: Child,
    port: u16,
}

impl Bouncer {
    fn start(program: &str, cluster: &Cluster) -> Self {
        let port = free_port().unwrap();
        let file = cluster.folder().join("pgbouncer.ini");
        let server = cluster.shard(0).port();
        let text = format!(
            "[databases]\n{DATABASE} = host=127.0.0.1 port={server} dbname={DATABASE} user=postgres\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
             auth_type = any\npool_mode = transaction\ndefault_pool_size = {CONNECTIONS}\n\
             max_client_conn = 2000\n"
        );
        fs::write(&file, text).unwrap();
        let mut command = Command::new(program);
        // Root may not run it.
        if fs::metadata("/proc/self")
            .is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
        {
            command.args(["-u", "postgres"]);
        }
        let quiet = command.arg("-q").arg(file).stdin(Stdio::null()).stderr(Stdio::null());
        let process = quiet.spawn().expect("WEIR_LOAD_PGBOUNCER is a program");
        wait_for("PgBouncer", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Self { process, port }
    }
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        if self.process.kill().and_then(|()| self.process.wait()).is_err() {
            eprintln!("PgBouncer could not be ended");
        }
    }
}

/// Prints what crowds get through weir, through weir without sharding, and through PgBouncer.
pub fn compare(program: &str, settings: &str) {
    let stage = Stage::new("", settings);
    let plain = format!("workers = 1\n[auth]\nmethod = 'trust'\n{settings}");
    let plain = Weir::plain(&stage.cluster, DATABASE, &plain);
    let bouncer = Bouncer::start(program, &stage.cluster);
    let proxies = [
        ("weir", stage.weir.port(), stage.weir.id()),
        ("weir, plain", plain.port(), plain.id()),
        ("PgBouncer", bouncer.port, bouncer.process.id()),
    ];
    let loads: [(&str, Script); 2] = [("reads", read), ("2 ms each", slow)];
    for (load, script) in loads {
        let mut crowds: Vec<(usize, usize, Crowd)> = Vec::new();
        for (number, (_, port, _)) in proxies.iter().enumerate() {
            for size in SIZES {
                let clients = stage.clients_at(*port, size, &client::query("SELECT 1"));
                crowds.push((number, size, Crowd::new(clients, script)));
            }
        }
        let mut rounds: Vec<(usize, usize, Figures)> = Vec::new();
        for _ in 0..ROUNDS {
            for (number, size, crowd) in &mut crowds {
                let (name, _, process) = proxies[*number];
                let (mut figures, _) = stage.run_through(process, &mut [crowd], USED);
                let figures = figures.pop().expect("one crowd");
                println!("{load}, {name}: {figures}");
                figures.assert_no_error();
                rounds.push((*number, *size, figures));
            }
        }
        for (number, (name, ..)) in proxies.iter().enumerate() {
            let of = |size: usize| -> Vec<&Figures> {
                let of = rounds.iter().filter(|round| (round.0, round.1) == (number, size));
                of.map(|(_, _, figures)| figures).collect()
            };
            SIZES.iter().for_each(|&size| sum_up(load, name, &of(size), &of(SIZES[0])));
        }
    }
}

/// A round that had the machine to itself shows most: the best one stands beside the mean.
fn sum_up(load: &str, name: &str, many: &[&Figures], few: &[&Figures]) {
    let speeds = |of: &[&Figures]| {
        let speeds: Vec<f64> = of.iter().map(|figures| figures.each_second()).collect();
        let best = speeds.iter().copied().fold(0.0, f64::max);
        (speeds.iter().sum::<f64>() / speeds.len() as f64, best)
    };
    let ((mean, best), (mean_few, best_few)) = (speeds(many), speeds(few));
    let cost: Duration = many.iter().map(|figures| figures.cost.proxy).sum();
    println!(
        "{load}, {name}: {} get {mean:.0}/s, at best {best:.0}/s; {:.2} of what {} get, at best {:.2}; each costs it {:.1?}",
        many[0].clients,
        mean / mean_few,
        few[0].clients,
        best / best_few,
        cost / ROUNDS as u32,
    );
}

fn read(number: usize) -> Vec<Step> {
    vec![Step::Ask(client::at_once(super::crowd::READ, &number.to_string()))]
}

fn slow(number: usize) -> Vec<Step> {
    let sql = "SELECT name, pg_sleep(0.002) FROM orders WHERE user_id = $1";
    vec![Step::Ask(client::at_once(sql, &number.to_string()))]
}
