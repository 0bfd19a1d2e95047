//! The command line. Home of clap.
//!
//! One file per command: its `Args`, documented for `--help`, and
//! `pub fn run(args: &Args) -> Result<ExitCode, Failure>`.
//!
//! - `demo`: the example order system on throwaway shards
//! - `serve`: the proxy itself
//! - `check`: is a rules file in order · `simulate`: how evenly its functions spread keys
//! - `sizing`: do the pools fit the servers
//! - `explain`: where would a statement go
//! - `shop`: the example order system
//! - `setup`, `rules`: the placement on the shards · `servers`: how these commands log in
//! - `import`: PgBouncer's configuration as weir's own files
//! - `load`: an existing database, copied into the shards
//! - `ping`: is weir well
//! - `recover`: finish what transactions over several shards left behind
//! - `gather`: the schema of the gather database
//! - `top`: what a running weir does, in the terminal
//! - `throwaway`: PostgreSQL servers for the demo and for tests
pub mod check;
pub mod explain;
mod gather;
pub mod demo;
mod import;
pub mod load;
mod ping;
pub mod recover;
pub mod rules;
pub mod serve;
pub mod servers;
pub mod setup;
mod simulate;
pub mod sizing;
pub mod shop;
pub mod throwaway;
mod top;

use clap::{Parser, Subcommand};
use std::{fmt, io, process::ExitCode};

/// A sharding proxy for PostgreSQL: PostgreSQL's answer, or a clear error.
#[derive(Parser, Debug)]
#[command(name = "weir", version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  weir demo                                   try it: four throwaway shards on this machine
  weir serve --config weir.toml               serve the shards that your rules file names
  weir serve pgbouncer.ini                    serve what PgBouncer serves, with its own configuration
  weir check rules/shop/rules.toml            say what is wrong with a rules file
  weir explain --rules rules/shop/rules.toml 'SELECT 1'    say where a statement would go
  weir load --from 'host=db dbname=shop' --rules rules.toml    copy an existing database
`weir help COMMAND` says more about each.";

#[derive(Subcommand, Debug)]
enum Command {
    /// Try it: an order system on throwaway shards.
    Demo(demo::Args),
    /// Serve clients.
    Serve(serve::Args),
    /// Check a rules file.
    Check(check::Args),
    /// Say where a statement would go, and why.
    Explain(explain::Args),
    /// Mark the shards of a rules file as one cluster's.
    Setup(setup::Args),
    /// Change the rules that the shards accept.
    Rules(rules::Args),
    /// Copy an existing database into the shards.
    Load(load::Args),
    /// Watch a running weir in the terminal.
    Top(top::Args),
    /// Write PgBouncer's configuration as weir's own files.
    Import(import::Args),
    /// Ask the weir on this machine whether it is well.
    Ping(ping::Args),
    /// Finish transactions over several shards that were left behind.
    Recover(recover::Args),
}

/// Runs the command that the process's arguments name.
pub fn run() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Demo(args) => demo::run(&args),
        Command::Serve(args) => serve::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Setup(args) => setup::run(&args),
        Command::Rules(args) => rules::run(&args),
        Command::Load(args) => load::run(&args),
        Command::Top(args) => top::run(&args),
        Command::Import(args) => import::run(&args),
        Command::Ping(args) => ping::run(&args),
        Command::Recover(args) => recover::run(&args),
    };
    outcome.unwrap_or_else(|failure| {
        eprintln!("weir: {failure}");
        ExitCode::FAILURE
    })
}

/// Runs a command's asynchronous part to its end.
fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

/// Why a command could not do its work: what happened, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    message: String,
    hint: Option<String>,
}

impl Failure {
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None }
    }

    /// Where it happened.
    pub fn within(mut self, place: &str) -> Self {
        self.message = format!("{place}: {}", self.message);
        self
    }

    pub fn has_hint(&self) -> bool {
        self.hint.is_some()
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Failure {}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::new(error.to_string())
    }
}

impl From<crate::error::Error> for Failure {
    fn from(error: crate::error::Error) -> Self {
        Self::new(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
