//! What a view answers: one table for console, HTTP and whatever comes.
use crate::wire::value::utc;
use std::time::SystemTime;

/// Columns and rows; each row has as many cells as there are columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    pub columns: Vec<Column>,
    pub rows: Vec<Vec<Cell>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    pub name: &'static str,
    pub kind: Kind,
}

impl Column {
    /// What its numbers count, where the name says it: `us`, `ms`, `s` or `bytes`. PgBouncer's names, which
    /// say nothing, are listed.
    pub fn unit(&self) -> Option<&'static str> {
        const PGBOUNCER: &[(&str, &str)] = &[
            ("maxwait", "s"),
            ("wait", "s"),
            ("server_lifetime", "s"),
            ("total_xact_time", "us"),
            ("total_query_time", "us"),
            ("total_wait_time", "us"),
            ("avg_xact_time", "us"),
            ("avg_query_time", "us"),
            ("avg_wait_time", "us"),
            ("xact_time", "us"),
            ("query_time", "us"),
            ("wait_time", "us"),
            ("total_received", "bytes"),
            ("total_sent", "bytes"),
            ("avg_recv", "bytes"),
            ("avg_sent", "bytes"),
            ("memtotal", "bytes"),
        ];
        if self.kind == Kind::Text {
            return None;
        }
        let known = PGBOUNCER.iter().find(|(name, _)| *name == self.name);
        known.map(|(_, unit)| *unit).or_else(|| {
            let suffix = self.name.rsplit_once('_').map(|(_, suffix)| suffix);
            ["us", "ms", "s", "bytes"].into_iter().find(|unit| suffix == Some(unit))
        })
    }
}

/// As which type a column is told to drivers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Text,
    /// Four bytes; what is too large is shown as the largest.
    Integer,
    Bigint,
    /// A whole number without limit.
    Numeric,
}

impl Kind {
    /// As PostgreSQL calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Integer => "integer",
            Self::Bigint => "bigint",
            Self::Numeric => "numeric",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell {
    Null,
    Text(String),
    Integer(i64),
}

impl Table {
    pub fn new(columns: impl IntoIterator<Item = Column>) -> Self {
        Self { columns: columns.into_iter().collect(), rows: Vec::new() }
    }

    pub fn push(&mut self, row: impl IntoIterator<Item = Cell>) {
        let row: Vec<Cell> = row.into_iter().collect();
        debug_assert_eq!(row.len(), self.columns.len());
        self.rows.push(row);
    }
}

pub const fn text(name: &'static str) -> Column {
    Column { name, kind: Kind::Text }
}

pub const fn integer(name: &'static str) -> Column {
    Column { name, kind: Kind::Integer }
}

pub const fn bigint(name: &'static str) -> Column {
    Column { name, kind: Kind::Bigint }
}

pub const fn numeric(name: &'static str) -> Column {
    Column { name, kind: Kind::Numeric }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<u64> for Cell {
    fn from(number: u64) -> Self {
        Self::Integer(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<u32> for Cell {
    fn from(number: u32) -> Self {
        Self::Integer(number.into())
    }
}

impl<T: Into<Cell>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// As PgBouncer writes moments: `2026-11-23 12:13:15 UTC`.
impl From<SystemTime> for Cell {
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self::Text(utc(since))
    }
}

/// PgBouncer's columns for yes and no are numbers.
impl From<bool> for Cell {
    fn from(yes: bool) -> Self {
        Self::Integer(yes.into())
    }
}
