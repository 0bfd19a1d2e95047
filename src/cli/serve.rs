//! `weir serve`: the proxy itself.
use super::Failure;
use crate::server::config::{Config, Loaded};
use crate::telemetry::logging;
use std::{path::PathBuf, process::ExitCode};

#[derive(clap::Args, Debug)]
#[command(after_help = "\
A weir.toml of one line serves the shards that its rules file names:
  rules = [\"rules.toml\"]
Before the first start, `weir setup` marks the shards as this cluster's. docs/config.md lists every setting.

Signals: SIGHUP reads the files again, SIGTERM lets open transactions finish, SIGINT ends at once.")]
pub struct Args {
    /// Where weir.toml is.
    #[arg(long, short, default_value = "weir.toml", value_name = "FILE")]
    config: PathBuf,
    /// Only say whether the file is in order.
    #[arg(long)]
    check: bool,
}

pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    let Loaded { config, warnings } = Config::load(&args.config)
        .map_err(|problems| Failure::new(format!("the configuration has problems\n{problems}")))?;
    logging::init(&config.logging.level, config.logging.format).map_err(Failure::new)?;
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    if args.check {
        println!("{} is in order", args.config.display());
        return Ok(ExitCode::SUCCESS);
    }
    Err(Failure::new("this build has no server yet"))
}
