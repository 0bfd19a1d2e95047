//! `weir load`: an existing database, copied into the shards.
//!
//! - `check`: what stands in its way, and what will be otherwise than it was: all of it at once
//! - `outset`: where the load stands: to be begun, to be gone on with, or done
//! - `dump`: the source's schema as pg_dump writes it, and its statements
//! - `schema`: the schema on the shards: tables before the rows, indexes and constraints after them
//! - `rows`: pieces of tables, by several workers at a time; and the counts at the end
//! - `progress`: what the operator sees meanwhile
//!
//! The stages are done one after the other. Each shard keeps in `weir.load` which steps it has behind
//! it (`backend::load::journal`), so a load that was ended in whatever way goes on where it was.
mod check;
mod outset;
mod dump;
mod schema;
mod rows;
mod progress;

use super::servers::Servers;
use super::{Failure, block_on, gather, setup};
use crate::backend::control::Client;
use crate::backend::load::count::Measure;
use crate::backend::load::source::{self, Source, SourceTable};
use crate::backend::load::{journal, target};
use crate::rules::Rules;
use crate::rules::survey::Weight;
use crate::units::{SIZE_HINT, parse_size};
use outset::Outset;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  weir load --from 'host=db dbname=shop' --rules rules.toml --dry-run    what stands in the way
  weir load --from 'host=db dbname=shop' --rules rules.toml              copy schema and rows
The source is only read. If the load is interrupted, the same command goes on where it was. The exit
code is 0 only if all rows have been counted again on the shards. docs/load.md says more.")]
pub struct Args {
    /// The database to load from, in libpq's form.
    #[arg(long, value_name = "DSN")]
    from: String,
    /// The rules file.
    #[arg(long, value_name = "FILE")]
    rules: PathBuf,
    /// Only say what stands in the way and what would be done.
    #[arg(long)]
    dry_run: bool,
    /// So many pieces of tables are copied at a time, each over a connection to every server.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: u16,
    /// Only the schema: tables, indexes, constraints and all else, without rows.
    #[arg(long, conflicts_with = "data_only")]
    schema_only: bool,
    /// Only the rows: the shards have the tables already, and no rows.
    #[arg(long)]
    data_only: bool,
    /// Begin anew: remove everything from the shards that an unfinished load has brought there.
    #[arg(long)]
    restart: bool,
    /// Do not make this foreign key on the shards; may be given several times.
    #[arg(long, value_name = "NAME")]
    leave_out: Vec<String>,
    /// Everything belongs to the user that loads, whoever owns it in the source.
    #[arg(long)]
    no_owner: bool,
    /// Do not copy GRANTs.
    #[arg(long)]
    no_privileges: bool,
    /// Load although the source has large objects, which stay behind.
    #[arg(long)]
    without_large_objects: bool,
    /// At the end compare not only how many rows there are, but also what they say.
    #[arg(long)]
    checksums: bool,
    /// How much of a table is copied in one transaction.
    #[arg(long, value_name = "SIZE", default_value = "16MB", value_parser = size)]
    piece: usize,
    #[command(flatten)]
    servers: Servers,
}

fn size(text: &str) -> Result<usize, String> {
    let size = parse_size(text).filter(|size| *size >= 8192);
    size.ok_or_else(|| format!("{SIZE_HINT}, and at least 8kB"))
}

/// What is loaded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum What {
    All,
    Schema,
    Rows,
}

impl What {
    fn name(self) -> &'static str {
        match self {
            What::All => "schema and rows",
            What::Schema => "schema",
            What::Rows => "rows",
        }
    }

    fn has_schema(self) -> bool {
        matches!(self, What::All | What::Schema)
    }

    fn has_rows(self) -> bool {
        matches!(self, What::All | What::Rows)
    }
}

/// Everything that the stages share.
pub(super) struct Load {
    pub what: What,
    pub jobs: usize,
    pub piece_bytes: usize,
    pub measure: Measure,
    pub leave_out: Vec<String>,
    pub dump_options: Vec<&'static str>,
    pub without_large_objects: bool,
    pub from: String,
    pub rules: Arc<Rules>,
    pub servers: Arc<Servers>,
}

impl Load {
    fn new(args: &Args) -> Result<Self, Failure> {
        let rules = super::check::load(&args.rules)?;
        if rules.is_plain() {
            return Err(Failure::new("these rules have no distribution: nothing would be split")
                .hint("copy the database with pg_dump and psql"));
        }
        let options = [("--no-owner", args.no_owner), ("--no-privileges", args.no_privileges)];
        Ok(Load {
            what: match (args.schema_only, args.data_only) {
                (true, _) => What::Schema,
                (false, true) => What::Rows,
                (false, false) => What::All,
            },
            jobs: usize::from(args.jobs),
            piece_bytes: args.piece,
            measure: if args.checksums { Measure::Contents } else { Measure::Rows },
            leave_out: args.leave_out.clone(),
            dump_options: options.iter().filter(|(_, on)| *on).map(|(name, _)| *name).collect(),
            without_large_objects: args.without_large_objects,
            from: args.from.clone(),
            rules: Arc::new(rules),
            servers: Arc::new(args.servers.clone()),
        })
    }

    /// The tables that live on some shard, the largest first.
    fn tables<'s>(&self, source: &'s Source) -> Vec<&'s SourceTable> {
        let lives = |table: &&SourceTable| {
            self.rules.destination(&table.root_schema, &table.root).is_some()
        };
        source.tables.iter().filter(lives).collect()
    }
}

pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    let load = Load::new(args)?;
    block_on(load_all(&load, args.dry_run, args.restart))
}

async fn load_all(load: &Load, dry_run: bool, restart: bool) -> Result<ExitCode, Failure> {
    let reader = load.servers.connect_to(&load.from, "the source").await?;
    let source = Arc::new(source::open(&reader).await.map_err(|error| at("the source", error))?);
    let (shards, mut found) = check::connect(load).await;
    found.extend(check::all(load, &reader, &source, &shards).await?);
    if !dry_run {
        found.extend(check::claim(load, &shards).await);
    }
    let outset = outset::find(load, &source, &shards, restart, &mut found).await?;
    found.sort();
    for difference in &found {
        println!("{difference}");
    }
    let problems = found.iter().filter(|found| found.weight == Weight::Problem).count();
    if problems > 0 {
        let what = if problems == 1 { "one problem" } else { "problems" };
        println!("{what} in the way: nothing was loaded");
        return Ok(ExitCode::FAILURE);
    }
    let shards: Vec<Client> = shards.into_iter().flatten().collect();
    if dry_run {
        check::describe(load, &source, outset);
        return Ok(ExitCode::SUCCESS);
    }
    match outset {
        Outset::Done => {
            println!("this load is done already; to compare the rows is up to you");
            return Ok(ExitCode::SUCCESS);
        }
        Outset::Anew => {
            outset::wipe(load, &source, &shards).await?;
            outset::begin(load, &source, &shards).await?;
        }
        Outset::Begin => outset::begin(load, &source, &shards).await?,
        Outset::GoOn => println!("going on with the load that was begun"),
    }
    let equal = stages(load, &source, &shards).await?;
    drop(reader);
    Ok(if equal { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Whether all rows have arrived.
async fn stages(load: &Load, source: &Arc<Source>, shards: &[Client]) -> Result<bool, Failure> {
    let rules = &load.rules;
    if load.what.has_schema() {
        schema::before(load, source, shards).await?;
    }
    if load.what.has_rows() {
        rows::copy(load, source, shards).await?;
    }
    if load.what.has_schema() {
        schema::after(load, source, shards).await?;
    }
    for sequence in &source.sequences {
        for (shard, client) in rules.shards.iter().zip(shards) {
            let (schema, name) = (&sequence.schema, &sequence.name);
            let set = target::set_sequence(client, schema, name, sequence.last, sequence.called);
            if !set.await.map_err(|error| at(&format!("shard {}", shard.name), error))? {
                println!("note: {schema}.{name}: no such sequence on {}", shard.name);
            }
        }
    }
    println!("sequences stand where the source's do; every row's place is looked at");
    setup::set_up(rules, &load.servers).await?;
    if rules.gather.is_some() {
        gather::fill(rules, &load.servers).await?;
        println!("the gather database has the schema");
    }
    if load.what.has_rows() {
        rows::analyze(load, source, shards).await?;
        if !rows::compare(load, source).await? {
            return Ok(false);
        }
    }
    for client in shards {
        journal::note(client, journal::DONE, "").await?;
    }
    println!("done");
    Ok(true)
}

/// An error of one server's.
fn at(place: &str, error: crate::error::Error) -> Failure {
    let mut message = error.message.clone();
    if let Some(detail) = &error.detail {
        message = format!("{message}: {detail}");
    }
    let failure = Failure::new(message).within(place);
    match error.hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}
