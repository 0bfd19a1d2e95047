//! Rows of many servers → one answer.
//!
//! - `key`: values as bytes that compare as PostgreSQL compares the values
//! - `numeric`, `time`, `float`: the types that take more than a line
//! - `order`: streams that are sorted become one
//! - `group`: rows with equal keys become one · `combine`: what becomes of their other columns
//!
//! A [`Merger`] says whose row it wants next, is given it, and gives the answer's rows. It knows
//! streams by number and nothing of servers. Memory: one row of each stream, and for groups and
//! duplicates as much as it is allowed; more is [`MergeError::TooLarge`], said before the first row is
//! given: then the answer can still be had in another way.
//!
//! Invariant: what cannot be compared or combined exactly as PostgreSQL does is not begun
//! ([`Merger::new`] gives `None`).
mod combine;
mod float;
mod group;
mod key;
pub mod numeric;
mod order;
#[cfg(test)]
mod properties;
mod time;

use crate::error::{Error, SqlState};
use crate::ids::Oid;
use crate::plan::several::{Merge, Rows, Ties};
use crate::wire::frontend::Format;
use crate::wire::server::DataRow;
use crate::wire::{WireError, encode, frame};
use bytes::{Bytes, BytesMut};
use group::Groups;
use key::Part;
use order::Order;
use std::collections::{HashSet, VecDeque};

/// A column of the streams' rows: its type, and how its values are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Column {
    pub type_oid: Oid,
    pub format: Format,
}

/// How servers write text, as far as it can be read back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Printing {
    /// DateStyle is ISO.
    pub iso_dates: bool,
    /// extra_float_digits is above 0.
    pub floats_exact: bool,
    /// bytea_output is the same everywhere.
    pub bytes_alike: bool,
    /// Texts come in the bytes that they are stored in, in which PostgreSQL compares them.
    pub texts_as_stored: bool,
}

/// What LIMIT and OFFSET say, and what may be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    pub offset: u64,
    pub limit: Option<u64>,
    /// Of memory.
    pub bytes: usize,
}

/// What the merger does next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// It wants a row of any stream.
    Any,
    /// It wants the next row of that stream.
    Of(usize),
    /// A DataRow message of the answer.
    Row(Bytes),
    Done,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MergeError {
    /// It takes more memory than is allowed.
    TooLarge,
    /// A sum is out of that type's range.
    OutOfRange(&'static str),
    FloatOverflow,
    /// A server sent what is no value of the column's type.
    Unreadable,
}

impl From<MergeError> for Error {
    fn from(wrong: MergeError) -> Self {
        match wrong {
            MergeError::TooLarge => Error::client(
                SqlState::CONFIGURATION_LIMIT_EXCEEDED,
                "the query's groups or distinct rows take more memory than is allowed",
            )
            .hint("give the query a key, or raise limits.merge_size in weir.toml"),
            MergeError::OutOfRange("numeric") => Error::client(
                SqlState::NUMERIC_VALUE_OUT_OF_RANGE,
                "value overflows numeric format",
            ),
            MergeError::OutOfRange("interval") => {
                Error::client(SqlState(*b"22008"), "interval out of range")
            }
            MergeError::OutOfRange(type_name) => Error::client(
                SqlState::NUMERIC_VALUE_OUT_OF_RANGE,
                format!("{type_name} out of range"),
            ),
            MergeError::FloatOverflow => {
                Error::client(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "value out of range: overflow")
            }
            MergeError::Unreadable => Error::shard(
                SqlState::PROTOCOL_VIOLATION,
                "a shard sent a value that is none of its column's type",
            ),
        }
    }
}

impl From<WireError> for MergeError {
    fn from(_: WireError) -> Self {
        MergeError::Unreadable
    }
}

/// Unites the rows of a few streams.
pub struct Merger {
    source: Source,
    /// Given and not taken yet.
    ready: Option<Bytes>,
    seen: Option<Seen>,
    /// Rows without duplicates, until all are there that the client is to get.
    held: VecDeque<Bytes>,
    offset: u64,
    limit: Option<u64>,
    ties: Option<Tied>,
    hidden: usize,
    done: bool,
}

/// Where the answer's rows come from, before duplicates and LIMIT.
enum Source {
    /// As they come.
    Any {
        open: usize,
    },
    /// These, and no others.
    Given(VecDeque<Bytes>),
    /// One row of each of these streams in turn, as long as they have any.
    Listed {
        order: VecDeque<usize>,
        ended: HashSet<usize>,
    },
    Sorted(Order),
    Grouped(Groups),
}

/// Rows of which each is given once.
struct Seen {
    parts: Vec<Part>,
    before: Before,
}

/// What a row may be equal to.
enum Before {
    /// Rows come sorted by all that they show, so equal ones come one after the other: nothing is held.
    Last(Option<Vec<u8>>),
    Any {
        keys: HashSet<Vec<u8>>,
        /// What is left of the memory.
        bytes: usize,
    },
}

/// The last row of the limit, under the order.
struct Tied {
    parts: Vec<Part>,
    last: Option<Vec<u8>>,
}

impl Merger {
    /// Rows are passed on as they come, or in turn: of these streams.
    pub fn passing(streams: usize, order: Option<Vec<usize>>) -> Self {
        Self::plain(match order {
            None => Source::Any { open: streams },
            Some(order) => Source::Listed { order: order.into(), ended: HashSet::new() },
        })
    }

    /// These rows are the answer.
    pub fn giving(rows: Vec<Bytes>) -> Self {
        Self::plain(Source::Given(rows.into()))
    }

    fn plain(source: Source) -> Self {
        let (offset, hidden, done) = (0, 0, false);
        let (ready, seen, held) = (None, None, VecDeque::new());
        Self { source, ready, seen, held, offset, limit: None, ties: None, hidden, done }
    }

    /// For `streams` streams of rows with these columns. `None`: it would not be exact.
    pub fn new(
        merge: &Merge,
        columns: &[Column],
        streams: usize,
        bounds: Bounds,
        printing: Printing,
    ) -> Option<Self> {
        let sorted = merge.order.iter().map(|key| Part::sorted(key, columns, printing));
        let sorted: Vec<Part> = sorted.collect::<Option<_>>()?;
        let visible = columns.len().checked_sub(merge.hidden)?;
        let mut seen = None;
        let source = match &merge.rows {
            Rows::Groups(roles) => {
                let sorted = sorted.clone();
                let groups = Groups::new(roles, columns, merge.texts, sorted, bounds, printing)?;
                Source::Grouped(groups.streams(streams))
            }
            Rows::All | Rows::Distinct if sorted.is_empty() => Source::Any { open: streams },
            Rows::All | Rows::Distinct => Source::Sorted(Order::new(sorted.clone(), streams)),
        };
        if merge.rows == Rows::Distinct {
            let equal = |column| Part::equal(column, columns, merge.texts, printing);
            let parts = (0..visible).map(equal).collect::<Option<_>>()?;
            let sorts = |column| merge.order.iter().any(|key| key.column == column);
            let before = match (0..visible).all(sorts) {
                true => Before::Last(None),
                false => Before::Any { keys: HashSet::new(), bytes: bounds.bytes },
            };
            seen = Some(Seen { parts, before });
        }
        let ties = match merge.ties {
            Ties::Cut => None,
            Ties::Kept => Some(Tied { parts: sorted, last: None }),
        };
        let (offset, limit, hidden) = (bounds.offset, bounds.limit, merge.hidden);
        let done = limit == Some(0);
        let (ready, held) = (None, VecDeque::new());
        Some(Self { source, ready, seen, held, offset, limit, ties, hidden, done })
    }

    pub fn step(&mut self) -> Result<Step, MergeError> {
        match &self.seen {
            None | Some(Seen { before: Before::Last(_), .. }) => return self.advance(),
            Some(Seen { before: Before::Any { .. }, .. }) => {}
        }
        loop {
            match self.advance()? {
                Step::Row(row) => self.held.push_back(row),
                Step::Done => return Ok(self.held.pop_front().map_or(Step::Done, Step::Row)),
                wants @ (Step::Any | Step::Of(_)) => return Ok(wants),
            }
        }
    }

    fn advance(&mut self) -> Result<Step, MergeError> {
        while !self.done {
            let row = match (self.ready.take(), &mut self.source) {
                (Some(row), _) => row,
                (None, Source::Any { open: 0 }) => break,
                (None, Source::Any { .. }) => return Ok(Step::Any),
                (None, Source::Given(rows)) => match rows.pop_front() {
                    Some(row) => row,
                    None => break,
                },
                (None, Source::Listed { order, ended }) => {
                    while order.front().is_some_and(|stream| ended.contains(stream)) {
                        order.pop_front();
                    }
                    match order.front() {
                        Some(&stream) => return Ok(Step::Of(stream)),
                        None => break,
                    }
                }
                (None, Source::Sorted(order)) => match order.step() {
                    Step::Row(row) => row,
                    Step::Done => break,
                    wants @ (Step::Any | Step::Of(_)) => return Ok(wants),
                },
                (None, Source::Grouped(groups)) => match groups.step()? {
                    Step::Row(row) => row,
                    Step::Done => break,
                    wants @ (Step::Any | Step::Of(_)) => return Ok(wants),
                },
            };
            if self.passes(&row)? {
                return Ok(Step::Row(without_hidden(row, self.hidden)?));
            }
        }
        self.done = true;
        Ok(Step::Done)
    }

    /// The row that was wanted: a DataRow message.
    pub fn push(&mut self, stream: usize, row: Bytes) -> Result<(), MergeError> {
        match &mut self.source {
            Source::Any { .. } | Source::Given(_) => self.ready = Some(row),
            Source::Listed { order, .. } => {
                order.pop_front();
                self.ready = Some(row);
            }
            Source::Sorted(order) => order.push(stream, row)?,
            Source::Grouped(groups) => groups.push(&row)?,
        }
        Ok(())
    }

    /// The stream has no more rows. Said once of each.
    pub fn end(&mut self, stream: usize) {
        match &mut self.source {
            Source::Given(_) => {}
            Source::Any { open } => *open = open.saturating_sub(1),
            Source::Listed { ended, .. } => {
                ended.insert(stream);
            }
            Source::Sorted(order) => order.end(stream),
            Source::Grouped(groups) => groups.end(),
        }
    }

    /// Whether the row is one of the answer's.
    fn passes(&mut self, row: &Bytes) -> Result<bool, MergeError> {
        if let Some(seen) = &mut self.seen
            && !seen.is_new(row)?
        {
            return Ok(false);
        }
        if self.offset > 0 {
            self.offset -= 1;
            return Ok(false);
        }
        match (&mut self.limit, &mut self.ties) {
            (None, _) => return Ok(true),
            (Some(0), Some(tied)) => {
                self.done = tied.last.as_ref() != Some(&key_of(row, &tied.parts)?);
                return Ok(!self.done);
            }
            (Some(0), None) => {}
            (Some(left), tied) => {
                *left -= 1;
                if let (0, Some(tied)) = (*left, tied) {
                    tied.last = Some(key_of(row, &tied.parts)?);
                    return Ok(true);
                }
                self.done = *left == 0;
                return Ok(true);
            }
        }
        self.done = true;
        Ok(false)
    }
}

impl Seen {
    fn is_new(&mut self, row: &Bytes) -> Result<bool, MergeError> {
        /// What a set takes for each of its members, and the row that is held, about.
        const OVERHEAD: usize = 96;
        let key = key_of(row, &self.parts)?;
        match &mut self.before {
            Before::Last(last) if last.as_ref() == Some(&key) => Ok(false),
            Before::Last(last) => {
                *last = Some(key);
                Ok(true)
            }
            Before::Any { keys, .. } if keys.contains(&key) => Ok(false),
            Before::Any { keys, bytes } => {
                let left = bytes.checked_sub(key.len() + row.len() + OVERHEAD);
                *bytes = left.ok_or(MergeError::TooLarge)?;
                Ok(keys.insert(key))
            }
        }
    }
}

/// A row's values: `None` is NULL.
fn values(message: &[u8]) -> Result<Vec<Option<&[u8]>>, MergeError> {
    let row = DataRow::read(message.get(frame::HEADER..).unwrap_or_default())?;
    Ok(row.values().collect())
}

/// What a row is compared by.
fn key_of(message: &[u8], parts: &[Part]) -> Result<Vec<u8>, MergeError> {
    key_of_values(&values(message)?, parts)
}

fn key_of_values(values: &[Option<&[u8]>], parts: &[Part]) -> Result<Vec<u8>, MergeError> {
    let mut key = Vec::with_capacity(16 * parts.len());
    for part in parts {
        let value = values.get(part.column).ok_or(MergeError::Unreadable)?;
        part.put(*value, &mut key).ok_or(MergeError::Unreadable)?;
    }
    Ok(key)
}

fn without_hidden(message: Bytes, hidden: usize) -> Result<Bytes, MergeError> {
    if hidden == 0 {
        return Ok(message);
    }
    let mut values = values(&message)?;
    values.truncate(values.len().saturating_sub(hidden));
    let mut shorter = BytesMut::with_capacity(message.len());
    encode::data_row(&values, &mut shorter);
    Ok(shorter.freeze())
}
