//! `weir demo`: the example order system on throwaway shards, behind a weir in this process.
use super::throwaway::{Farm, Keep, Postgres, Programs, free_port};
use super::{Failure, gather, servers::Servers, setup, shop};
use crate::rules;
use crate::server::Server;
use crate::server::config::Config;
use crate::telemetry::logging;
use std::{
    fs,
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};
use tokio::signal::unix::{Signal, SignalKind, signal};

#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  weir demo                        four shards; everything is removed when it ends
  weir demo --shards 8 --port 7000
  weir demo --keep /tmp/shop       the data stays there and the next start goes on with it")]
pub struct Args {
    /// How many PostgreSQL servers to start.
    #[arg(long, default_value_t = 4, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    shards: u16,
    /// Keep the servers' data, weir.toml and rules.toml in this folder.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Where weir listens on 127.0.0.1; the next port is for /metrics.
    #[arg(long, default_value_t = 6432, value_name = "PORT")]
    port: u16,
}

/// The database that clients see, and its name on every shard.
const DATABASE: &str = "shop";
/// Where operators log in.
const CONSOLE: &str = "weir";
/// Who logs in to weir, and with which password; the role owns the tables.
const USER: &str = "demo";
/// Who brings it to the admin port may act.
const TOKEN: &str = "demo-token-of-weir";
/// Where the shards listen, if nobody else does: as in rules/shop/rules.toml.
const FIRST_SHARD_PORT: u16 = 5441;
/// How long open transactions may take at the end.
const DRAIN: Duration = Duration::from_secs(2);

pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    logging::init("warn", logging::Format::Text, 0).map_err(Failure::new)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(demo(args))
}

/// Servers are started from this very thread, which stays until the end: see `throwaway`.
async fn demo(args: &Args) -> Result<ExitCode, Failure> {
    let mut end = End::listen()?;
    let steps = Steps { began: Instant::now() };
    // Before a minute of work, not after it.
    drop(TcpListener::bind(("127.0.0.1", args.port)).map_err(|error| {
        Failure::new(format!("cannot listen on 127.0.0.1:{}: {error}", args.port))
            .hint("end what uses the port, or choose another one: weir demo --port 7000")
    })?);

    steps.say("making a PostgreSQL data directory");
    let farm = match &args.keep {
        Some(folder) => Farm::kept(folder)?,
        None => Farm::temporary(&std::env::temp_dir(), None)?,
    };
    if end.came().await {
        return Ok(ExitCode::SUCCESS);
    }
    let shards = start_shards(&farm, args.shards, &steps)?;
    let new = create_databases(&shards)?;
    if end.came().await {
        return Ok(ExitCode::SUCCESS);
    }

    let config = write_files(farm.folder(), &shards, args.port)?;
    steps.say("marking the shards as this cluster's (weir setup)");
    let rules_file = farm.folder().join("rules.toml");
    let rules = rules::parse(&fs::read_to_string(&rules_file)?, &rules_file.display().to_string())
        .map_err(|problems| Failure::new(problems.to_string()))?;
    setup::set_up(&rules, &Servers::new("postgres")).await?;
    gather::fill(&rules, &Servers::new("postgres")).await?;
    steps.say(&format!("starting weir on 127.0.0.1:{}", args.port));
    let server = Server::start(config).await?;
    if new == Contents::New {
        load(args.port, &shards, &steps).await?;
    }

    println!("{}", welcome(args, &shards, farm.folder(), &server));
    end.wait().await;
    println!("\nstopping");
    server.drain(DRAIN).await;
    server.stop();
    drop(shards);
    match farm.keeps() {
        Keep::Data => println!("the data stays in {}", farm.folder().display()),
        Keep::Nothing => println!("everything is removed"),
    }
    Ok(ExitCode::SUCCESS)
}

fn start_shards(farm: &Farm, count: u16, steps: &Steps) -> Result<Vec<Postgres>, Failure> {
    steps.say(&format!("starting {count} PostgreSQL servers"));
    let mut starting = Vec::new();
    for index in 0..count {
        starting.push(farm.start(&format!("s{index}"), Some(FIRST_SHARD_PORT + index))?);
    }
    let mut shards = Vec::new();
    for server in starting {
        let server = server.ready(farm)?;
        steps.say(&format!("shard {} is up on port {}", server.name(), server.port()));
        shards.push(server);
    }
    Ok(shards)
}

/// Whether an earlier demo has left its rows here.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Contents {
    New,
    Kept,
}

/// The role and the databases that weir expects to find. `gather` is for statements that no shard can
/// answer alone.
fn create_databases(shards: &[Postgres]) -> Result<Contents, Failure> {
    let query = format!("SELECT count(*) FROM pg_database WHERE datname = '{DATABASE}'");
    let mut contents = Contents::Kept;
    for (index, shard) in shards.iter().enumerate() {
        if shard.sql("postgres", &query)? != "0" {
            continue;
        }
        contents = Contents::New;
        shard.sql("postgres", &format!("CREATE ROLE {USER} LOGIN"))?;
        shard.sql("postgres", &format!("CREATE DATABASE {DATABASE} OWNER {USER}"))?;
        if index == 0 {
            shard.sql("postgres", &format!("CREATE DATABASE gather OWNER {USER}"))?;
        }
    }
    Ok(contents)
}

/// `rules.toml` and `weir.toml`, as somebody would write them for their own servers.
fn write_files(folder: &Path, shards: &[Postgres], port: u16) -> Result<Config, Failure> {
    let dsn = |port: u16, database: &str| format!("host=127.0.0.1 port={port} dbname={database}");
    let dsns: Vec<String> = shards.iter().map(|shard| dsn(shard.port(), DATABASE)).collect();
    let gather = shards.first().map_or_else(String::new, |home| dsn(home.port(), "gather"));
    fs::write(folder.join("rules.toml"), shop::rules(&dsns, &gather))?;
    let admin = match port.checked_add(1).map(|next| (next, TcpListener::bind(("127.0.0.1", next))))
    {
        Some((next, Ok(_))) => next,
        Some((_, Err(_))) | None => free_port()?,
    };
    let file = folder.join("weir.toml");
    fs::write(
        &file,
        format!(
            "rules = [\"rules.toml\"]\n\n[listen]\nclients = [\"127.0.0.1:{port}\"]\n\
             admin = \"127.0.0.1:{admin}\"\n\n[[user]]\nname = \"{USER}\"\npassword = \"{USER}\"\n\n\
             [console]\nadmins = [\"{USER}\"]\n\n\
             # Whoever is on this machine may look; who brings the token may act.\n\
             [admin]\nlook = \"loopback\"\ntoken = \"{TOKEN}\"\n"
        ),
    )?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600))?;
    let loaded = Config::load(&file).map_err(|problems| Failure::new(problems.to_string()))?;
    Ok(loaded.config)
}

/// Tables and rows come in through weir, which sends each where it belongs; reference rows belong on
/// every shard and are written there one by one.
async fn load(port: u16, shards: &[Postgres], steps: &Steps) -> Result<(), Failure> {
    steps.say("creating the tables on every shard, through weir");
    psql(port, shop::SCHEMA).await?;
    steps.say("loading products and warehouses on every shard");
    for shard in shards {
        shard.sql(DATABASE, shop::REFERENCE)?;
    }
    steps.say("loading sample orders, each to its user's shard, through weir");
    psql(port, shop::SAMPLE).await
}

/// On a thread of its own: weir answers a schema statement only when this thread has heard of it.
async fn psql(port: u16, text: &'static str) -> Result<(), Failure> {
    let run = move || Programs::find()?.psql(&address(port, DATABASE), text).map(drop);
    let joined = tokio::task::spawn_blocking(run).await;
    joined.map_err(|error| Failure::new(format!("psql was not waited for: {error}")))?
}

fn address(port: u16, database: &str) -> String {
    format!("postgresql://{USER}:{USER}@127.0.0.1:{port}/{database}")
}

fn welcome(args: &Args, shards: &[Postgres], folder: &Path, server: &Server) -> String {
    let last = shards.len().saturating_sub(1);
    let folder = folder.display();
    let metrics = server.admin().map_or_else(String::new, |address| {
        format!(
            "\nDashboard:         http://{address}/ (sign in with {TOKEN} to change things)\n\
             Metrics:           curl http://{address}/metrics"
        )
    });
    let one_shard = shards.first().map_or_else(String::new, |shard| {
        format!("psql -h 127.0.0.1 -p {} -U {USER} {DATABASE}", shard.port())
    });
    format!(
        "
Ready. One order system on {count} shards (s0 to s{last}), reached as if it were one database:

    psql {address}

Six statements to try there:

1. A user's orders live on one shard with the user. EXPLAIN (WEIR) names the shard and the reason;
   without it, the rows come.

    EXPLAIN (WEIR) SELECT u.name, o.order_no, o.total FROM users u JOIN orders o ON o.user_id = u.id WHERE u.id = 42;

2. So a transaction about one user is a plain transaction on that shard.

    BEGIN; UPDATE orders SET status = 'shipped' WHERE user_id = 42 AND order_no = 'A-1008' RETURNING order_no, status; ROLLBACK;

3. A question about everybody goes to all shards at the same time, and weir unites their answers.

    SELECT status, count(*), sum(total) FROM orders GROUP BY status ORDER BY sum(total) DESC;

4. What weir cannot unite exactly, PostgreSQL finishes, in a database that gathers what is needed.

    SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY total) FROM orders;

5. A write for everybody happens on all shards or on none, whatever dies meanwhile.

    UPDATE orders SET status = 'paid' WHERE status = 'new' RETURNING order_no;

6. What is not built or not proved is refused, never guessed. The error says why, and its hint what to do.

    UPDATE orders SET user_id = 7 WHERE order_no = 'A-1008';

Rules and settings: {folder}/rules.toml, {folder}/weir.toml
One shard alone:   {one_shard}
Console:           psql {console} -c 'SHOW SHARDS'{metrics}

Ctrl-C ends it{removes}.",
        count = shards.len(),
        address = address(args.port, DATABASE),
        console = address(args.port, CONSOLE),
        removes = match args.keep {
            Some(_) => "; the data stays",
            None => " and removes everything",
        },
    )
}

/// What is happening, with the seconds since the start.
struct Steps {
    began: Instant,
}

impl Steps {
    fn say(&self, what: &str) {
        println!("[{:5.1} s] {what}", self.began.elapsed().as_secs_f32());
    }
}

/// Ctrl-C or SIGTERM.
struct End {
    interrupt: Signal,
    terminate: Signal,
}

impl End {
    /// Long enough for the runtime to look at its signals.
    const GLANCE: Duration = Duration::from_millis(1);

    fn listen() -> Result<Self, Failure> {
        let (interrupt, terminate) = (SignalKind::interrupt(), SignalKind::terminate());
        Ok(Self { interrupt: signal(interrupt)?, terminate: signal(terminate)? })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// Between two steps: did somebody ask for the end?
    async fn came(&mut self) -> bool {
        tokio::time::timeout(Self::GLANCE, self.wait()).await.is_ok()
    }
}
