//! Rows of COPY data → shards: one look at the key for each row, or at the fallback key.
use super::Unroutable;
use super::route::locate;
use super::value::copied;
use crate::error::Error;
use crate::ids::{DistributionId, ShardId};
use crate::rules::Rules;
use crate::sharding::KeyType;
use crate::wire::copy::{Field, Rows, Wanted};
use crate::wire::params::Value;
use std::ops::Range;

/// Where in each row the columns are that decide where it lives.
#[derive(Debug)]
pub struct Placing {
    pub table: String,
    pub key: Place,
    pub fallback: Option<Place>,
}

#[derive(Debug)]
pub struct Place {
    pub column: String,
    pub distribution: DistributionId,
    /// `None`: the column is left out, and is NULL.
    pub at: Option<Wanted>,
    /// The column's own type.
    pub read_as: KeyType,
}

/// How values are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Written {
    Utf8,
    /// In another encoding: only ASCII is the same in all.
    Bytes,
    Binary,
}

impl Placing {
    /// The columns, in words.
    pub fn told(&self) -> String {
        match &self.fallback {
            None => self.key.column.clone(),
            Some(fallback) => format!("{}, or of {}", self.key.column, fallback.column),
        }
    }

    /// The shard of a row whose key was drawn for it.
    pub fn shard_of(&self, drawn: i64, rules: &Rules) -> Result<ShardId, Error> {
        let Place { column, distribution, read_as, .. } = &self.key;
        let text = drawn.to_string();
        let key = copied(column, Value::Text(text.as_bytes()), *read_as)?;
        let located = key.map(|key| locate(column, *distribution, key, rules)).transpose()?;
        located.flatten().map(|located| located.shard).ok_or_else(|| self.key.broken())
    }

    /// The shard of a row, by its `data`. `room`: for what has to be unescaped. The error is weir's own:
    /// PostgreSQL may refuse the row, too, and then in words of its own.
    pub fn shard(
        &self,
        rows: &Rows,
        data: &Range<usize>,
        written: Written,
        rules: &Rules,
        room: &mut Vec<u8>,
    ) -> Result<ShardId, Error> {
        if let Some(shard) = self.key.shard(rows, data, written, rules, room)? {
            return Ok(shard);
        }
        if let Some(fallback) = &self.fallback
            && let Some(shard) = fallback.shard(rows, data, written, rules, room)?
        {
            return Ok(shard);
        }
        let column = self.fallback.as_ref().unwrap_or(&self.key).column.clone();
        let table = self.table.clone();
        Err(Unroutable::NullKey { table, column }.into())
    }
}

impl Place {
    /// `None`: NULL.
    fn shard(
        &self,
        rows: &Rows,
        data: &Range<usize>,
        written: Written,
        rules: &Rules,
        room: &mut Vec<u8>,
    ) -> Result<Option<ShardId>, Error> {
        let Some(wanted) = self.at else { return Ok(None) };
        let value = match rows.field(data, wanted, room) {
            Field::Null => return Ok(None),
            Field::Broken => return Err(self.broken()),
            Field::Value(bytes) => match written {
                Written::Binary => Value::Binary(bytes),
                Written::Bytes if !bytes.is_ascii() => return Err(self.beyond_ascii()),
                Written::Utf8 | Written::Bytes => Value::Text(bytes),
            },
        };
        let Some(key) = copied(&self.column, value, self.read_as)? else { return Ok(None) };
        match locate(&self.column, self.distribution, key, rules)? {
            Some(located) => Ok(Some(located.shard)),
            None => Err(self.broken()),
        }
    }

    /// What a server is expected to refuse, and has not.
    fn broken(&self) -> Error {
        Error::refused(
            format!("a row of COPY data whose {} is not found", self.column),
            "give every row a value for each column that COPY is of",
        )
    }

    fn beyond_ascii(&self) -> Error {
        Error::refused(
            format!(
                "a value of {} with characters beyond ASCII in a client encoding other than UTF8",
                self.column
            ),
            "SET client_encoding = 'UTF8'",
        )
    }
}
