//! `weir serve`: the proxy itself.
use super::Failure;
use crate::server::config::{Config, Loaded};
use crate::server::{Ending, Server};
use crate::telemetry::logging;
use std::{path::PathBuf, process::ExitCode, time::Duration};
use tokio::signal::unix::{SignalKind, signal};

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
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(config))
}

/// Until a signal ends it: SIGHUP reloads, SIGTERM lets clients finish, SIGINT stops at once.
async fn serve(config: Config) -> Result<ExitCode, Failure> {
    let mut hangup = signal(SignalKind::hangup())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let drain = config.timeouts.drain;
    let server = Server::start(config).await?;
    for address in server.clients() {
        tracing::info!(%address, "listening for clients");
    }
    if let Some(address) = server.admin() {
        tracing::info!(%address, "serving /metrics, /healthz and /readyz");
    }
    loop {
        tokio::select! {
            // The log says what came of it.
            _ = hangup.recv() => drop(server.reload().await),
            _ = terminate.recv() => {
                tracing::info!(limit = ?drain, "waiting for clients to finish");
                tokio::select! {
                    () = server.drain(drain) => {}
                    _ = interrupt.recv() => {}
                }
                break;
            }
            _ = interrupt.recv() => break,
            ending = server.asked_to_end() => {
                let ended = async {
                    match ending {
                        Ending::AtOnce => {}
                        Ending::WhenServersRest => server.drain(Duration::MAX).await,
                        Ending::WhenClientsHaveLeft => server.outlive_clients().await,
                    }
                };
                tokio::select! {
                    () = ended => {}
                    () = server.asked_to_end_at_once() => {}
                    _ = terminate.recv() => server.drain(drain).await,
                    _ = interrupt.recv() => {}
                }
                break;
            }
        }
    }
    server.stop();
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}
