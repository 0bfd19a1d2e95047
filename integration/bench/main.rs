//! What a proxy costs: throughput, latency, processor time, system calls and memory of weir beside a direct
//! connection, PgBouncer and HAProxy.
//!
//! `make bench` measures all of it (about an hour), `make bench ARGS=--quick` in a few minutes whether
//! everything runs. The cases of a group take turns in every round, so that a machine which has something
//! else to do hinders all of them alike; figures are medians over the rounds, ratios are medians of each
//! round's ratio.
//!
//! - `groups`: what is measured, and against what
//! - `stage`: the servers, and the proxies in front of them
//! - `drive`: clients: pgbench, psql, and many that do nothing
//! - `meter`: what a process has used
//! - `report`: medians, ratios, Markdown
//! - `chart`: the same as a picture
// The whole program is a test: what it cannot go on without ends it.
#![allow(clippy::unwrap_used)]

#[allow(dead_code)]
#[path = "../cluster.rs"]
mod cluster;
#[allow(dead_code)]
#[path = "../weir.rs"]
mod weir;

mod groups;
mod stage;
mod drive;
mod meter;
mod report;
mod chart;

use clap::Parser;
use groups::{Case, Group};
use meter::{Sample, Usage};
use report::Measured;
use stage::Stage;
use std::path::PathBuf;
use std::time::Duration;

/// Measures weir beside a direct connection, PgBouncer and HAProxy.
#[derive(Parser)]
pub struct Options {
    /// Only whether everything runs: few rows, one short round
    #[arg(long)]
    quick: bool,
    /// How often each case is measured
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How long each time
    #[arg(long, default_value_t = 4.0, value_name = "SECONDS")]
    seconds: f64,
    /// pgbench's scale: so many times 100,000 accounts
    #[arg(long, default_value_t = 20)]
    scale: u32,
    /// Only groups whose name has this in it
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// One more proxy: a program that is started with a configuration file, in which {listen} stands
    /// for its own port, {server} for PostgreSQL's and {database} for the database
    #[arg(long, value_name = "NAME=PROGRAM,FILE")]
    proxy: Vec<stage::Other>,
    /// Where the figures go: performance.md (between its marks) and performance-*.svg in this folder
    #[arg(long, value_name = "FOLDER")]
    write: Option<PathBuf>,
    /// What cargo says to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

impl Options {
    fn seconds(&self) -> Duration {
        Duration::from_secs_f64(if self.quick { 0.5 } else { self.seconds })
    }

    fn rounds(&self) -> usize {
        if self.quick { 1 } else { self.rounds }
    }

    fn scale(&self) -> u32 {
        if self.quick { 1 } else { self.scale }
    }
}

fn main() {
    let options = Options::parse();
    drive::allow_many_files();
    let stage = Stage::start(&options);
    let wanted = |group: &Group| options.only.as_ref().is_none_or(|part| group.name.contains(part));
    let names: Vec<String> = options.proxy.iter().map(|other| other.name.clone()).collect();
    let mut all = Vec::new();
    for group in groups::all(&names).into_iter().filter(wanted) {
        let measured = measure(&stage, &group, &options);
        println!("{}", report::table(&group, &measured));
        all.push((group, measured));
    }
    if let Some(folder) = &options.write {
        report::write(folder, &all, &options);
    }
}

/// All rounds of a group: for each case what it gave in each round.
fn measure(stage: &Stage, group: &Group, options: &Options) -> Vec<Measured> {
    let mut measured: Vec<Measured> =
        group.cases.iter().map(|case| prepare(stage, case, options)).collect();
    for round in 1..=options.rounds() {
        for (case, measured) in group.cases.iter().zip(&mut measured) {
            let sample = sample(stage, case, options.seconds());
            eprintln!("{}: round {round}, {}: {sample}", group.name, case.name());
            measured.samples.push(sample);
        }
    }
    measured
}

/// Connections are opened and plans made; system calls are counted, which slows everything down, so
/// that has a run of its own.
fn prepare(stage: &Stage, case: &Case, options: &Options) -> Measured {
    let warm_up = options.seconds().mul_f64(0.25);
    stage.drive(case, warm_up);
    let calls = stage.process(case.target).map(|process| {
        let counter = meter::CallCounter::attach(process);
        let done = stage.drive(case, warm_up);
        counter.detach() as f64 / done.units
    });
    Measured { samples: Vec::new(), calls }
}

fn sample(stage: &Stage, case: &Case, time: Duration) -> Sample {
    let process = stage.process(case.target);
    let without = process.map_or(0, |process| meter::memory(process, "VmRSS:"));
    let crowd = drive::Crowd::connect(stage.port(case.target), case.idle);
    let idle_memory = process.and_then(|process| crowd.memory_of_each(process, without));
    let before = process.map(Usage::begin);
    let done = stage.drive(case, time);
    let used = before.map(Usage::end);
    Sample { done, used, idle_memory }
}
