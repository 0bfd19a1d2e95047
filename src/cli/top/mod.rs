//! `weir top`: what a running weir does, in the terminal: shards, pools, heaviest statements, hot rows.
//!
//! - `source`: asks the admin port
//! - `metrics`: the metrics page, and what its counters did between two looks
//! - `frame`: two looks → lines of text
//! - `screen`: the terminal and its keys
mod source;
mod metrics;
mod frame;
mod screen;

use super::Failure;
use crate::units::{DURATION_HINT, parse_duration};
use frame::{Frame, Sorting};
use screen::{Key, Screen};
use source::{Look, Source};
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  weir top                                          the weir on this machine, if [admin] look = \"loopback\"
  WEIR_ADMIN_TOKEN=… weir top --url http://127.0.0.1:7433
  weir top --once                                   one frame as text, also where there is no terminal
Keys: Tab the next table, ← → the column to sort by, r the other way round, space now, q the end.
It asks the admin port (listen.admin): docs/admin.md.")]
pub struct Args {
    /// The admin port.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:6433")]
    url: String,
    /// The token of [admin] in weir.toml; better given as WEIR_ADMIN_TOKEN.
    #[arg(long, env = "WEIR_ADMIN_TOKEN", hide_env_values = true, value_name = "TEXT")]
    token: Option<String>,
    /// For https: whose certificates are trusted (PEM).
    #[arg(long, value_name = "FILE")]
    authority: Option<PathBuf>,
    /// Between two looks.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = interval)]
    interval: Duration,
    /// Print one frame and end.
    #[arg(long)]
    once: bool,
}

fn interval(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| DURATION_HINT.to_owned())
}

pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let source = Source::new(&args.url, args.token.clone(), args.authority.as_deref())?;
    let mut top = Top { before: runtime.block_on(source.look())?, now: None, runtime, source };
    if args.once || !std::io::stdout().is_terminal() {
        // Rates need two looks.
        std::thread::sleep(args.interval);
        top.look()?;
        let frame = top.frame(&Sorting::default(), usize::MAX);
        std::io::stdout().write_all(frame.text().as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut screen = Screen::open()?;
    let outcome = top.watch(&mut screen, args.interval);
    screen.close()?;
    outcome.map(|()| ExitCode::SUCCESS)
}

struct Top {
    runtime: Runtime,
    source: Source,
    before: Look,
    /// `None`: there was one look yet.
    now: Option<Look>,
}

impl Top {
    fn look(&mut self) -> Result<(), Failure> {
        let look = self.runtime.block_on(self.source.look())?;
        if let Some(last) = self.now.replace(look) {
            self.before = last;
        }
        Ok(())
    }

    fn frame(&self, sorting: &Sorting, height: usize) -> Frame {
        Frame::new(&self.before, self.now.as_ref().unwrap_or(&self.before), sorting, height)
    }

    /// Until the reader has had enough.
    fn watch(&mut self, screen: &mut Screen, interval: Duration) -> Result<(), Failure> {
        let mut sorting = Sorting::default();
        let mut problem = None;
        loop {
            let next = Instant::now() + interval;
            loop {
                let frame = self.frame(&sorting, screen.height());
                screen.draw(&frame, problem.as_deref())?;
                match screen.key(next)? {
                    Key::Quit => return Ok(()),
                    Key::Table => sorting.next_table(&frame),
                    Key::Column(step) => sorting.next_column(&frame, step),
                    Key::Reverse => sorting.reverse(&frame),
                    Key::Redraw => {}
                    Key::Now | Key::None => break,
                }
            }
            // A weir that is away may come back: its reader waits with the last numbers.
            problem = self.look().err().map(|failure| failure.to_string());
        }
    }
}
