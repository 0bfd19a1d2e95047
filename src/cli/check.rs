//! `weir check`: is a rules file in order, do the servers agree with it, how even is the load?
use super::servers::Servers;
use super::{Failure, block_on, simulate, sizing};
use crate::auth::users::Users;
use crate::backend::survey::survey;
use crate::backend::{Address, placement};
use crate::rules::survey::{self, Difference, Weight};
use crate::rules::{self, Rules};
use crate::server::config::Config;
use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  weir check rules/shop/rules.toml                        every problem with its line and a hint
  weir check rules/shop/rules.toml --connect              where the shards' tables disagree with it
  weir check rules/shop/rules.toml --connect --config weir.toml --weirs 3
                                                          and whether the pools of three weirs fit the servers
  weir check rules/shop/rules.toml --simulate 1000000     how evenly each function spreads the keys
docs/rules.md explains every setting.")]
pub struct Args {
    /// The rules file.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Compare the file with the shards: placement, tables, keys, constraints, collations.
    #[arg(long)]
    connect: bool,
    #[command(flatten)]
    servers: Servers,
    /// For --connect: compare the pools of this weir.toml with the servers' max_connections.
    #[arg(long, value_name = "FILE", requires = "connect")]
    config: Option<PathBuf>,
    /// For --config: so many weirs serve these shards.
    #[arg(long, value_name = "N", requires = "config", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    weirs: u32,
    /// Spread that many keys and print each function's deviation and cost.
    #[arg(long, value_name = "KEYS", value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    simulate: Option<u64>,
    /// For --simulate: over how many shards, if not over the file's.
    #[arg(long, value_name = "N", requires = "simulate", value_parser = clap::value_parser!(u32).range(1..=4096))]
    shards: Option<u32>,
}

pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    let rules = load(&args.file)?;
    println!("{} is in order: {}", args.file.display(), summary(&rules));
    let mut code = ExitCode::SUCCESS;
    if args.connect {
        let differences = block_on(compare(&rules, &args.servers))?;
        for difference in &differences {
            println!("{difference}");
        }
        if differences.is_empty() {
            println!("the shards agree with it");
        }
        if differences.iter().any(|difference| difference.weight == Weight::Problem) {
            code = ExitCode::FAILURE;
        }
    }
    if let Some(config) = &args.config {
        for line in block_on(pools(args, config))? {
            println!("{line}");
        }
    }
    if let Some(keys) = args.simulate {
        let shards = args.shards.unwrap_or(rules.shards.len() as u32);
        print!("\n{}", simulate::table(&rules, shards, keys));
    }
    Ok(code)
}

/// Where the shards disagree with the rules or with each other.
pub async fn compare(rules: &Rules, servers: &Servers) -> Result<Vec<Difference>, Failure> {
    let clients = servers.connect(rules).await?;
    let mut surveys = Vec::new();
    for client in &clients {
        surveys.push(survey(client).await?);
    }
    let mut differences = Vec::new();
    if !rules.is_plain()
        && let Err(error) = placement::verify_all(&clients, rules).await
    {
        let (table, text) = (String::new(), error.to_string());
        differences.push(Difference { weight: Weight::Problem, table, text });
    }
    differences.extend(survey::compare(rules, &surveys));
    Ok(differences)
}

/// What is to say about pools that may be too large for their servers. Warnings, since most pools are
/// never full at the same time.
async fn pools(args: &Args, file: &Path) -> Result<Vec<String>, Failure> {
    let config = Config::load(file).map_err(|problems| Failure::new(problems.to_string()))?.config;
    let same = |path: &PathBuf| match (path.canonicalize(), args.file.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        (Err(_), _) | (_, Err(_)) => false,
    };
    let others = config.rules.iter().filter(|path| !same(path));
    let files = std::iter::once(&args.file).chain(others);
    let databases = files.map(|path| load(path)).collect::<Result<Vec<_>, _>>()?;
    let users = sizing::known_users(&config, &users_file(&config)?);
    let weirs = args.weirs as usize;
    let mut lines = Vec::new();
    for (server, demand) in sizing::demands(&config, &databases, &users) {
        let room = match args.servers.connect_to(&demand.dsn, &format!("server {server}")).await {
            Ok(client) => sizing::room(&client).await?,
            Err(failure) => {
                lines.push(format!("warning: its max_connections is not known: {failure}"));
                continue;
            }
        };
        lines.extend(demand.exceeds(&server, room, weirs).map(|found| format!("warning: {found}")));
    }
    if lines.is_empty() {
        lines.push("the servers have room for its pools".to_owned());
    }
    let notes = sizing::open_ends(&config, &databases, &users);
    lines.extend(notes.into_iter().map(|note| format!("note: {note}")));
    Ok(lines)
}

fn users_file(config: &Config) -> Result<Users, Failure> {
    let Some(path) = &config.auth.users_file else { return Ok(Users::default()) };
    let name = path.display();
    let text =
        fs::read_to_string(path).map_err(|error| Failure::new(format!("{name}: {error}")))?;
    Users::parse(&text).map_err(|lines| {
        let lines: Vec<_> = lines.iter().map(|bad| format!("{name}: {bad}")).collect();
        Failure::new(lines.join("\n"))
    })
}

/// Reads and checks a rules file; the failure holds every problem.
pub fn load(file: &Path) -> Result<Rules, Failure> {
    let name = file.display().to_string();
    let text =
        fs::read_to_string(file).map_err(|error| Failure::new(format!("{name}: {error}")))?;
    let rules = rules::parse(&text, &name).map_err(|problems| {
        let count = match problems.list.len() {
            1 => "one problem".to_owned(),
            several => format!("{several} problems"),
        };
        Failure::new(format!("{name} has {count}\n{problems}"))
    })?;
    for shard in &rules.shards {
        for dsn in std::iter::once(&shard.primary).chain(&shard.replicas) {
            Address::parse(dsn).map_err(|problem| {
                Failure::new(format!("{name}: shard {}: {problem}", shard.name))
            })?;
        }
    }
    if let Some(gather) = &rules.gather {
        Address::parse(&gather.dsn)
            .map_err(|problem| Failure::new(format!("{name}: [gather]: {problem}")))?;
    }
    Ok(rules)
}

fn summary(rules: &Rules) -> String {
    let count = |list: usize, what: &str| match list {
        1 => format!("1 {what}"),
        several => format!("{several} {what}s"),
    };
    if rules.is_plain() {
        return format!("database {}, plain pooling", rules.database);
    }
    format!(
        "database {}, {}, {}, {}",
        rules.database,
        count(rules.shards.len(), "shard"),
        count(rules.distributions.len(), "distribution"),
        count(rules.tables.len(), "table"),
    )
}
