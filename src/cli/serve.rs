//! `weir serve`: the proxy itself.
use super::Failure;
use crate::server::config::{Config, Loaded, Logging};
use crate::server::notify::{self, State};
use crate::server::{Begins, Ending, Server};
use crate::telemetry::logging;
use crate::telemetry::sampler::LeftOut;
use std::{path::PathBuf, process::ExitCode, time::Duration};
use tokio::signal::unix::{SignalKind, signal};

/// What a successor is told.
const TAKEOVER: &str = "--takeover";

#[derive(clap::Args, Debug)]
#[command(after_help = "\
A weir.toml of one line serves the shards that its rules file names:
  rules = [\"rules.toml\"]
A pgbouncer.ini is served as it is: weir serve /etc/pgbouncer/pgbouncer.ini (docs/pgbouncer.md).
Before the first start, `weir setup` marks the shards as this cluster's. docs/config.md lists every setting.

Signals: SIGHUP reads the files again, SIGTERM lets open transactions finish, SIGINT ends at once,\nSIGUSR2 starts the program anew in this one's place (listen.handover).")]
pub struct Args {
    /// A weir.toml, or a pgbouncer.ini.
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// The same, by name.
    #[arg(long, short, default_value = "weir.toml", value_name = "FILE", conflicts_with = "file")]
    config: PathBuf,
    /// Take the place of the weir that waits at listen.handover: docs/deploy.md.
    #[arg(long)]
    takeover: bool,
    /// Only say whether the file is in order.
    #[arg(long)]
    check: bool,
}

pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    let file = args.file.as_ref().unwrap_or(&args.config);
    let Loaded { config, warnings } = Config::load(file)
        .map_err(|problems| Failure::new(format!("the configuration has problems\n{problems}")))?;
    let Logging { level, format, repeat, .. } = &config.logging;
    let left_out = logging::init(level, *format, *repeat).map_err(Failure::new)?;
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    if args.check {
        println!("{} is in order", file.display());
        return Ok(ExitCode::SUCCESS);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let begins = if args.takeover { Begins::TakingOver } else { Begins::Alone };
    runtime.block_on(serve(config, begins, left_out))
}

/// Until a signal ends it: SIGHUP reloads, SIGTERM lets clients finish, SIGINT stops at once. When another weir
/// has taken over, the clients that are still here may stay for a while.
async fn serve(config: Config, begins: Begins, left_out: LeftOut) -> Result<ExitCode, Failure> {
    let mut hangup = signal(SignalKind::hangup())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut successor = signal(SignalKind::user_defined2())?;
    let (drain, handover) = (config.timeouts.drain, config.timeouts.handover);
    let mut server = Server::start_as(config, begins).await?;
    server.tells(left_out);
    for address in server.clients() {
        tracing::info!(%address, "listening for clients");
    }
    for file in server.socket_files() {
        tracing::info!(file = %file.display(), "listening for clients");
    }
    if let Some(address) = server.admin() {
        tracing::info!(%address, "serving /metrics, /healthz and /readyz");
    }
    notify::tell(State::Ready);
    let handed_over = server.handed_over();
    let mut handed_over = std::pin::pin!(handed_over);
    loop {
        tokio::select! {
            _ = hangup.recv() => {
                notify::tell(State::Reloading);
                // The log says what came of it.
                drop(server.reload().await);
                notify::tell(State::Ready);
            }
            _ = successor.recv() => {
                if let Err(error) = start_successor() {
                    tracing::error!(%error, "another weir cannot be started");
                }
            }
            () = &mut handed_over => {
                tracing::info!(limit = ?handover, "another weir has taken over; waiting for clients to leave");
                tokio::select! {
                    () = server.see_off(handover) => {}
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => break,
                }
                tokio::select! {
                    () = server.drain(drain) => {}
                    _ = interrupt.recv() => {}
                }
                break;
            }
            _ = terminate.recv() => {
                notify::tell(State::Stopping);
                tracing::info!(limit = ?drain, "waiting for clients to finish");
                tokio::select! {
                    () = server.drain(drain) => {}
                    _ = interrupt.recv() => {}
                }
                break;
            }
            _ = interrupt.recv() => {
                notify::tell(State::Stopping);
                break;
            }
            ending = server.asked_to_end() => {
                notify::tell(State::Stopping);
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

/// The program as it now is, with this one's arguments, in this one's place.
fn start_successor() -> std::io::Result<()> {
    let mut arguments = std::env::args_os();
    let program = arguments.next().unwrap_or_default();
    let arguments: Vec<_> = arguments.filter(|argument| argument != TAKEOVER).collect();
    let child = std::process::Command::new(program).args(arguments).arg(TAKEOVER).spawn()?;
    tracing::info!(process = child.id(), "another weir is to take over");
    // It outlives this one; if it ends before, it has said why.
    std::thread::spawn(move || {
        let mut child = child;
        match child.wait() {
            Ok(status) => tracing::warn!(%status, "the weir that was to take over has ended"),
            Err(error) => tracing::warn!(%error, "the weir that was to take over is lost"),
        }
    });
    Ok(())
}
