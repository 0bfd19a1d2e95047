//! The rows: pieces of tables, copied by several workers at a time, and counted again at the end.
//!
//! A worker is a thread with a connection to the source, in the one snapshot, and one to each shard.
use super::progress::{Moved, Progress};
use super::{Load, What, at};
use crate::backend::control::Client;
use crate::backend::load::count::{Measure, Measured, measure};
use crate::backend::load::journal::{self, Journal};
use crate::backend::load::piece::{self, Constraints, Piece, Towards};
use crate::backend::load::source::{self, Source, SourceTable};
use crate::backend::load::target;
use crate::cli::servers::Servers;
use crate::cli::{Failure, block_on};
use crate::ids::ShardId;
use crate::rules::Rules;
use crate::rules::rows::Destination;
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// PostgreSQL's usual size of a block. Where it is another, pieces are only larger or smaller.
const BLOCK: u64 = 8192;
/// From this version on a server reads a range of blocks without reading the others.
const RANGES_SINCE: u32 = 14;

/// What workers need.
struct Shared {
    rules: Arc<Rules>,
    servers: Arc<Servers>,
    source: Arc<Source>,
    from: String,
    measure: Measure,
    constraints: Constraints,
    todo: Mutex<VecDeque<Task>>,
    moved: Moved,
    measured: Mutex<BTreeMap<String, Compared>>,
}

/// What a table has in the source, and on the shards.
struct Compared {
    source: Measured,
    shards: Vec<(ShardId, Measured)>,
}

/// Positions of tables in [`Source::tables`].
enum Task {
    Copy {
        table: usize,
        from: u64,
        to: Option<u64>,
        /// The shards that do not have it.
        shards: Vec<ShardId>,
        stored: u64,
    },
    Measure {
        table: usize,
    },
}

/// First block, and the one behind the last. The last piece has no end.
pub(super) fn pieces(
    table: &SourceTable,
    piece_bytes: usize,
) -> impl Iterator<Item = (u64, Option<u64>)> {
    let blocks = (piece_bytes as u64 / BLOCK).max(1);
    let count = table.blocks.div_ceil(blocks).max(1);
    (0..count).map(move |index| {
        let end = (index + 1) * blocks;
        (index * blocks, (index + 1 < count).then_some(end))
    })
}

/// Copies every piece that some shard does not have yet.
pub(super) async fn copy(
    load: &Load,
    source: &Arc<Source>,
    shards: &[Client],
) -> Result<(), Failure> {
    let mut journals = Vec::new();
    for client in shards {
        journals.push(journal::read(client).await?);
    }
    let (mut todo, mut total, mut before) = (VecDeque::new(), 0, 0);
    for (index, table) in source.tables.iter().enumerate() {
        let destination = load.rules.destination(&table.root_schema, &table.root);
        let Some(destination) = destination else { continue };
        let whole = source.major < RANGES_SINCE;
        let size = if whole { usize::MAX } else { load.piece_bytes };
        let count = pieces(table, size).count() as u64;
        for (from, to) in pieces(table, size) {
            let stored = table.bytes / count;
            let step = Piece { table, from, to }.step();
            let missing = missing(&load.rules, &destination, &journals, &step);
            total += stored;
            match missing.is_empty() {
                true => before += stored,
                false => {
                    todo.push_back(Task::Copy { table: index, from, to, shards: missing, stored })
                }
            }
        }
    }
    let shared = shared(load, source, todo);
    let mut progress = Progress::new(total, before);
    work(load, &shared, |moved| progress.tick(moved)).await?;
    progress.end(&shared.moved);
    Ok(())
}

/// The shards that a piece goes to and that do not have it.
fn missing(
    rules: &Rules,
    destination: &Destination<'_>,
    journals: &[Journal],
    step: &str,
) -> Vec<ShardId> {
    let goes = |id: &ShardId| match destination {
        Destination::One(shard) => shard == id,
        Destination::Every | Destination::Keyed(_) => true,
    };
    let lacks = |id: &ShardId| {
        journals.get(usize::from(id.0)).is_none_or(|journal| !journal.contains_key(step))
    };
    rules.shard_ids().filter(goes).filter(lacks).collect()
}

fn shared(load: &Load, source: &Arc<Source>, todo: VecDeque<Task>) -> Arc<Shared> {
    Arc::new(Shared {
        rules: load.rules.clone(),
        servers: load.servers.clone(),
        source: source.clone(),
        from: load.from.clone(),
        measure: load.measure,
        constraints: match load.what {
            What::Rows => Constraints::There,
            What::All | What::Schema => Constraints::Later,
        },
        todo: Mutex::new(todo),
        moved: Moved::default(),
        measured: Mutex::default(),
    })
}

/// Has workers do everything that is to do; the first failure is the failure.
async fn work(
    load: &Load,
    shared: &Arc<Shared>,
    mut tick: impl FnMut(&Moved),
) -> Result<(), Failure> {
    let count = load.jobs.min(shared.todo().len());
    let start = |_| {
        let shared = shared.clone();
        std::thread::spawn(move || {
            let outcome = block_on(worker(&shared));
            if outcome.is_err() {
                shared.todo().clear();
            }
            outcome
        })
    };
    let workers: Vec<JoinHandle<Result<(), Failure>>> = (0..count).map(start).collect();
    let mut interval = tokio::time::interval(Progress::INTERVAL);
    while !workers.iter().all(JoinHandle::is_finished) {
        interval.tick().await;
        tick(&shared.moved);
    }
    let mut outcome = Ok(());
    for worker in workers {
        let ended = worker.join().unwrap_or_else(|_| Err(Failure::new("a worker panicked")));
        outcome = outcome.and(ended);
    }
    outcome.map_err(|failure| match failure.has_hint() {
        true => failure,
        false => failure.hint("when that is mended, the same command goes on where this one ended"),
    })
}

impl Shared {
    fn todo(&self) -> std::sync::MutexGuard<'_, VecDeque<Task>> {
        self.todo.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> Option<Task> {
        self.todo().pop_front()
    }
}

async fn worker(shared: &Shared) -> Result<(), Failure> {
    let reader = shared.servers.connect_to(&shared.from, "the source").await?;
    let joined = source::join(&reader, &shared.source.exported).await;
    joined.map_err(|error| at("the source", error))?;
    let shards = shared.servers.connect(&shared.rules).await?;
    for (shard, client) in shared.rules.shards.iter().zip(&shards) {
        let ready = piece::prepare(client, shared.constraints).await;
        ready.map_err(|error| at(&format!("shard {}", shard.name), error))?;
    }
    while let Some(task) = shared.next() {
        match task {
            Task::Copy { table, from, to, shards: wanted, stored } => {
                let Some(table) = shared.source.tables.get(table) else { continue };
                let piece = Piece { table, from, to };
                shared.copy(&reader, &shards, &piece, &wanted).await?;
                shared.moved.stored.fetch_add(stored, Ordering::Relaxed);
            }
            Task::Measure { table } => {
                let Some(table) = shared.source.tables.get(table) else { continue };
                shared.count(&reader, &shards, table).await?;
            }
        }
    }
    Ok(())
}

impl Shared {
    async fn copy(
        &self,
        reader: &Client,
        shards: &[Client],
        piece: &Piece<'_>,
        wanted: &[ShardId],
    ) -> Result<(), Failure> {
        let (schema, root) = (&piece.table.root_schema, &piece.table.root);
        let Some(destination) = self.rules.destination(schema, root) else { return Ok(()) };
        let parts = wanted.iter().filter_map(|id| {
            let client = shards.get(usize::from(id.0))?;
            Some((*id, self.rules.shard_name(*id), client))
        });
        let towards = Towards { destination: &destination, shards: parts.collect() };
        let copied = piece::copy(reader, piece, &towards, |rows, bytes| {
            self.moved.rows.fetch_add(rows, Ordering::Relaxed);
            self.moved.bytes.fetch_add(bytes, Ordering::Relaxed);
        });
        copied.await.map_err(|error| at(&piece.table.full_name(), error))
    }

    /// What a table has in the source and on each shard that it is on.
    async fn count(
        &self,
        reader: &Client,
        shards: &[Client],
        table: &SourceTable,
    ) -> Result<(), Failure> {
        let name = table.full_name();
        let Some(destination) = self.rules.destination(&table.root_schema, &table.root) else {
            return Ok(());
        };
        let source = measure(reader, table, self.measure).await;
        let source = source.map_err(|error| at(&format!("{name} in the source"), error))?;
        let mut found = Vec::new();
        for (id, client) in self.rules.shard_ids().zip(shards) {
            if matches!(destination, Destination::One(home) if home != id) {
                continue;
            }
            let place = || format!("{name} on {}", self.rules.shard_name(id));
            let measured = measure(client, table, self.measure).await;
            found.push((id, measured.map_err(|error| at(&place(), error))?));
        }
        let mut all = self.measured.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(name, Compared { source, shards: found });
        Ok(())
    }
}

/// Has every shard's planner know what is there.
pub(super) async fn analyze(
    load: &Load,
    source: &Arc<Source>,
    shards: &[Client],
) -> Result<(), Failure> {
    let tables = load.tables(source);
    for (shard, client) in load.rules.shards.iter().zip(shards) {
        let analyzed = target::analyze(client, &tables).await;
        analyzed.map_err(|error| at(&format!("shard {}", shard.name), error))?;
    }
    Ok(())
}

/// Compares each table in the source with what the shards have of it, and says where they differ.
pub(super) async fn compare(load: &Load, source: &Arc<Source>) -> Result<bool, Failure> {
    let tables = source.tables.iter().enumerate();
    let lives =
        |table: &SourceTable| load.rules.destination(&table.root_schema, &table.root).is_some();
    let todo = tables.filter(|(_, table)| lives(table)).map(|(table, _)| Task::Measure { table });
    let shared = shared(load, source, todo.collect());
    work(load, &shared, |_| {}).await?;
    let all = shared.measured.lock().unwrap_or_else(PoisonError::into_inner);
    let (mut rows, mut wrong) = (0, 0);
    for (name, compared) in all.iter() {
        let table = source.tables.iter().find(|table| table.full_name() == *name);
        let destination =
            table.and_then(|table| load.rules.destination(&table.root_schema, &table.root));
        rows += compared.source.rows;
        for text in
            destination.map(|to| compared.differences(&to, &load.rules)).into_iter().flatten()
        {
            println!("problem: {name}: {text}");
            wrong += 1;
        }
    }
    if wrong == 0 {
        let what = match load.measure {
            Measure::Rows => "as many rows as",
            Measure::Contents => "the same rows as",
        };
        println!("checked: the {} tables have {what} the source: {rows}", all.len());
    }
    Ok(wrong == 0)
}

impl Compared {
    fn differences(&self, destination: &Destination<'_>, rules: &Rules) -> Vec<String> {
        let says = |found: &Measured| match found.rows == self.source.rows {
            true => String::from("other rows than"),
            false => format!("{} rows instead of {} as in", found.rows, self.source.rows),
        };
        match destination {
            Destination::Every => {
                let others = self.shards.iter().filter(|(_, found)| *found != self.source);
                let text = |(id, found): &(ShardId, Measured)| {
                    format!("{} has {} the source", rules.shard_name(*id), says(found))
                };
                others.map(text).collect()
            }
            Destination::One(_) | Destination::Keyed(_) => {
                let parts = self.shards.iter().map(|(_, found)| *found);
                let whole = parts.fold(Measured::default(), |sum, part| sum + part);
                let differs = whole != self.source;
                differs
                    .then(|| format!("the shards have {} the source", says(&whole)))
                    .into_iter()
                    .collect()
            }
        }
    }
}
