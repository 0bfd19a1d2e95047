//! `weir ping`: is the weir on this machine well? For probes in images that have nothing else to ask with.
use super::Failure;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  weir ping                      ends with 0 if weir can serve, as /readyz says
  weir ping --alive              ends with 0 if the process answers, as /healthz says")]
pub struct Args {
    /// Where it answers HTTP: listen.admin.
    #[arg(long, default_value = "127.0.0.1:6433", value_name = "ADDRESS")]
    admin: SocketAddr,
    /// Only whether it is alive.
    #[arg(long)]
    alive: bool,
}

/// For an answer; probes have limits of their own.
const PATIENCE: Duration = Duration::from_secs(5);
/// What is read of it.
const MOST_BYTES: u64 = 64 * 1024;

pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    let path = if args.alive { "/healthz" } else { "/readyz" };
    let answer = ask(args.admin, path)
        .map_err(|error| Failure::new(format!("no answer from {}: {error}", args.admin)))?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    println!("{}", body.trim());
    match head.split_whitespace().nth(1) {
        Some("200") => Ok(ExitCode::SUCCESS),
        Some(_) | None => Ok(ExitCode::FAILURE),
    }
}

fn ask(address: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.take(MOST_BYTES).read_to_string(&mut answer)?;
    Ok(answer)
}
