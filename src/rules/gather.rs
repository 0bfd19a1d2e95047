//! The `[gather]` entry: the empty database in which PostgreSQL finishes statements over several
//! shards, and what one of them may cost there.
use super::check::{Report, address, keep_what_names_a_database, named};
use super::dsn;
use super::file::{At, File, GatherEntry};
use crate::units::{DURATION_HINT, SIZE_HINT, parse_duration, parse_size};
use std::time::Duration;

/// Where, and within which limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gather {
    /// libpq keyword/value text.
    pub dsn: String,
    /// What one statement may bring there.
    pub max_bytes: usize,
    pub max_rows: u64,
    /// How long one statement may take, over all its parts.
    pub timeout: Option<Duration>,
    /// Statements at a time, for each weir.
    pub max_concurrent: usize,
    /// Whether clients are told, unless their session says otherwise.
    pub notice: bool,
}

impl Gather {
    /// What it is called among the shards; none of them may be.
    pub const NAME: &str = "gather";
    const MAX_BYTES: usize = 256 << 20;
    const MAX_ROWS: u64 = 5_000_000;
    const MAX_CONCURRENT: usize = 8;
    /// More at a time are a mistake in the file.
    const MOST_CONCURRENT: usize = 10_000;
}

pub(super) fn gather(file: &File, report: &mut Report) -> Option<Gather> {
    let entry = file.gather.as_ref()?;
    for name in file.shards.iter().filter_map(|shard| shard.name.as_ref()) {
        if name.value == Gather::NAME {
            let message = format!("a shard is called {:?}, as the gather database is", name.value);
            report.add(name.line, message, "choose another name for the shard");
        }
    }
    let limits = limits(entry, report);
    let dsn = entry.dsn.as_ref()?;
    elsewhere(dsn, file, report)?;
    Some(Gather { dsn: dsn.value.clone(), ..limits })
}

/// The address names a database, and no shard.
fn elsewhere(dsn: &At<String>, file: &File, report: &mut Report) -> Option<()> {
    let mut own = address(dsn, report)?;
    if !own.iter().any(|(name, _)| name == "dbname") {
        let message = "the gather database's address has no dbname";
        report.add(dsn.line, message, "add dbname=gather, or however it is called");
    }
    keep_what_names_a_database(&mut own);
    let database = file.database.as_ref().map_or("", |name| name.value.as_str());
    let primaries = file.shards.iter().filter_map(|shard| shard.primary.as_ref());
    for server in primaries.chain(file.shards.iter().flat_map(|shard| &shard.replicas)) {
        // Whatever is wrong with that address is told where shards are checked.
        let Ok(mut parameters) = dsn::read(&named(server.value.clone(), database)) else {
            continue;
        };
        keep_what_names_a_database(&mut parameters);
        if parameters == own {
            let message = format!("the gather database is the shard of line {}", server.line);
            report.add(dsn.line, message, "give it an empty database of its own");
        }
    }
    Some(())
}

fn limits(entry: &GatherEntry, report: &mut Report) -> Gather {
    let bytes = entry.max_bytes.as_ref().and_then(|written| {
        let bytes = parse_size(&written.value).filter(|bytes| *bytes > 0);
        if bytes.is_none() {
            report.add(written.line, format!("max_bytes = {:?}", written.value), SIZE_HINT);
        }
        bytes
    });
    let mut count = |written: &Option<At<i64>>, name: &str, most: u64| {
        let written = written.as_ref()?;
        let count = u64::try_from(written.value).ok().filter(|count| (1..=most).contains(count));
        if count.is_none() {
            let message = format!("{name} = {} is not from 1 to {most}", written.value);
            report.add(written.line, message, "leave it out for the default");
        }
        count
    };
    let rows = count(&entry.max_rows, "max_rows", i64::MAX as u64);
    let concurrent = count(&entry.max_concurrent, "max_concurrent", Gather::MOST_CONCURRENT as u64);
    let timeout = entry.timeout.as_ref().filter(|written| written.value != "off");
    let timeout = timeout.and_then(|written| {
        let timeout = parse_duration(&written.value);
        if timeout.is_none() {
            let hint = format!("{DURATION_HINT}, or \"off\"");
            report.add(written.line, format!("timeout = {:?}", written.value), hint);
        }
        timeout
    });
    Gather {
        dsn: String::new(),
        max_bytes: bytes.unwrap_or(Gather::MAX_BYTES),
        max_rows: rows.unwrap_or(Gather::MAX_ROWS),
        timeout,
        max_concurrent: concurrent
            .and_then(|count| usize::try_from(count).ok())
            .unwrap_or(Gather::MAX_CONCURRENT),
        notice: entry.notice.as_ref().is_some_and(|written| written.value),
    }
}
