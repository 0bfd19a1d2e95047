//! Rows of shards on their way into a table of the gather database: as COPY data, counted and limited.
//!
//! A DataRow in binary formats is a tuple of binary COPY already, so only its type byte changes. Where
//! ids inside values differ between servers, values go as text.
//!
//! A statement sees one moment of a shard. Where several queries on one shard do not share a snapshot by
//! themselves they become one statement ([`together`]), whose rows say which query each is of.
use crate::error::{Error, SqlState};
use crate::rules::Gather;
use crate::wire::server::{DataRow, RowDescription};
use crate::wire::{encode, frame};
use bytes::{BufMut, BytesMut};

/// What may be brought together for one statement, and what has been.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Meter {
    pub rows: u64,
    pub bytes: u64,
    max_rows: u64,
    max_bytes: u64,
}

impl Meter {
    pub fn new(rules: &Gather) -> Self {
        let max_bytes = u64::try_from(rules.max_bytes).unwrap_or(u64::MAX);
        Self { rows: 0, bytes: 0, max_rows: rules.max_rows, max_bytes }
    }

    /// One more row of so many bytes.
    pub fn count(&mut self, bytes: usize) -> Result<(), Error> {
        self.rows += 1;
        self.bytes += bytes as u64;
        let (what, setting) = if self.rows > self.max_rows {
            (format!("more than {} rows", self.max_rows), "max_rows")
        } else if self.bytes > self.max_bytes {
            (format!("more than {} bytes", self.max_bytes), "max_bytes")
        } else {
            return Ok(());
        };
        Err(Error::client(
            SqlState::CONFIGURATION_LIMIT_EXCEEDED,
            format!("the statement needs {what} in the gather database"),
        )
        .hint(format!(
            "add a condition that leaves fewer rows, or raise {setting} under [gather] in the rules file"
        )))
    }
}

/// How values of one table travel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Travel {
    Binary,
    Text,
}

impl Travel {
    pub fn copy(self, table: &str) -> String {
        match self {
            Self::Binary => format!("COPY pg_temp.{table} FROM STDIN (FORMAT binary)"),
            Self::Text => format!("COPY pg_temp.{table} FROM STDIN"),
        }
    }

    pub fn begin(self, out: &mut BytesMut) {
        match self {
            // Signature, no flags, no extension.
            Self::Binary => encode::copy_data(b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0", out),
            Self::Text => {}
        }
    }

    /// One DataRow message, or the part of it that [`cut`] has left.
    pub fn row(self, body: &[u8], out: &mut BytesMut) -> Result<(), Error> {
        match self {
            Self::Binary => encode::copy_data(body, out),
            Self::Text => {
                let row = DataRow::read(body)?;
                let mut line = BytesMut::with_capacity(body.len() + 16);
                for (number, value) in row.values().enumerate() {
                    if number > 0 {
                        line.put_u8(b'\t');
                    }
                    escape(value, &mut line);
                }
                line.put_u8(b'\n');
                encode::copy_data(&line, out);
            }
        }
        Ok(())
    }

    pub fn end(self, out: &mut BytesMut) {
        match self {
            Self::Binary => encode::copy_data(&(-1_i16).to_be_bytes(), out),
            Self::Text => {}
        }
        encode::copy_done(out);
    }
}

fn escape(value: Option<&[u8]>, line: &mut BytesMut) {
    let Some(value) = value else {
        line.put_slice(b"\\N");
        return;
    };
    for &byte in value {
        let letter = match byte {
            b'\\' => b'\\',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0x08 => b'b',
            0x0b => b'v',
            0x0c => b'f',
            other => {
                line.put_u8(other);
                continue;
            }
        };
        line.put_slice(&[b'\\', letter]);
    }
}

/// Stands between the columns of two queries in [`together`]'s rows.
const BORDER: &str = "weir_border";

/// One statement for several queries, so that they see the same moment. Each row has the number of the
/// query that it is of, from 0, then the columns of all queries with a border between: those of the others
/// are NULL. Rows of the first query come first.
pub fn together(queries: &[String]) -> String {
    let columns: Vec<String> = (0..queries.len()).map(|number| format!("q{number}.*")).collect();
    let columns = columns.join(&format!(", NULL::pg_catalog.bool AS {BORDER}, "));
    let parts: Vec<String> = (0..queries.len())
        .map(|own| {
            // A function that parallel workers may not call keeps the parts one after the other; each
            // of them may still use workers.
            let mut part = format!(
                "(SELECT {own} + 0 * pg_catalog.pg_backend_pid() AS weir_part, {columns} FROM ({}\n) q{own}",
                queries.get(own).map_or("", String::as_str)
            );
            for (other, query) in queries.iter().enumerate().filter(|(other, _)| *other != own) {
                part.push_str(&format!(" LEFT JOIN ({query}\n) q{other} ON false"));
            }
            part.push(')');
            part
        })
        .collect();
    parts.join(" UNION ALL ")
}

/// Where each query's columns are in [`together`]'s rows.
pub fn parts(
    description: &RowDescription<'_>,
    queries: usize,
) -> Result<Vec<std::ops::Range<usize>>, Error> {
    let mut parts = Vec::with_capacity(queries);
    let (mut start, mut end) = (1, 0);
    for (number, field) in description.fields().enumerate() {
        if field.name == BORDER.as_bytes() {
            parts.push(start..number);
            start = number + 1;
        }
        end = number + 1;
    }
    parts.push(start..end);
    match parts.len() == queries {
        true => Ok(parts),
        false => Err(Error::refused(
            format!("a column called {BORDER} in a query over several shards"),
            "give the column another name in the query",
        )),
    }
}

/// Which query a row of [`together`] is of.
pub fn part(body: &[u8]) -> Result<usize, Error> {
    let number = DataRow::read(body)?.values().next().flatten();
    number
        .and_then(|bytes| <[u8; 4]>::try_from(bytes).ok())
        .and_then(|bytes| usize::try_from(i32::from_be_bytes(bytes)).ok())
        .ok_or_else(|| Error::internal("a row of several queries does not say of which it is"))
}

/// A DataRow's body with these columns alone.
pub fn cut(body: &[u8], columns: &std::ops::Range<usize>) -> Result<BytesMut, Error> {
    let mut out = BytesMut::with_capacity(body.len());
    out.put_u16(u16::try_from(columns.len()).unwrap_or(u16::MAX));
    for value in DataRow::read(body)?.values().take(columns.end).skip(columns.start) {
        match value {
            None => out.put_i32(-1),
            Some(value) => {
                out.put_i32(i32::try_from(value.len()).unwrap_or(i32::MAX));
                out.put_slice(value);
            }
        }
    }
    Ok(out)
}

/// How many bytes a message has beside its body: what is counted is what travels.
pub const fn travelled(body: usize) -> usize {
    body + frame::HEADER
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Oid;
    use crate::wire::frontend::Format;
    use crate::wire::server::Field;

    fn row(values: &[Option<&[u8]>]) -> BytesMut {
        let mut out = BytesMut::new();
        encode::data_row(values, &mut out);
        out.split_off(frame::HEADER)
    }

    fn rules(max_rows: u64, max_bytes: usize) -> Gather {
        Gather {
            dsn: String::new(),
            max_bytes,
            max_rows,
            timeout: None,
            max_concurrent: 1,
            notice: false,
        }
    }

    #[test]
    fn too_many_rows_or_bytes_are_an_error_that_says_which() {
        let check = |rows, bytes, expected: &str| {
            let mut meter = Meter::new(&rules(rows, bytes));
            meter.count(10).unwrap();
            let error = meter.count(10).unwrap_err();
            assert_eq!(error.code, SqlState::CONFIGURATION_LIMIT_EXCEEDED);
            assert!(error.hint.unwrap().contains(expected), "{expected}");
        };
        check(1, 100, "max_rows");
        check(100, 19, "max_bytes");
    }

    #[test]
    fn values_become_text_that_copy_reads_back() {
        let mut out = BytesMut::new();
        let body = row(&[Some(b"a\tb\\n\n"), None, Some(b""), Some(b"\\N")]);
        Travel::Text.row(&body, &mut out).unwrap();
        assert_eq!(&out[frame::HEADER..], b"a\\tb\\\\n\\n\t\\N\t\t\\\\N\n");
    }

    #[test]
    fn a_row_of_several_queries_is_cut_to_the_one_it_is_of() {
        let names: [&[u8]; 5] = [b"weir_part", b"a", b"weir_border", b"b", b"c"];
        let field = |name| Field {
            name,
            table: Oid(0),
            column: 0,
            type_oid: Oid(23),
            type_size: 4,
            type_modifier: -1,
            format: Format::Binary,
        };
        let mut out = BytesMut::new();
        encode::row_description(&names.map(field), &mut out);
        let description = RowDescription::read(&out[frame::HEADER..]).unwrap();
        assert_eq!(parts(&description, 2).unwrap(), [1..2, 3..5]);
        assert!(parts(&description, 3).is_err());
        let body = row(&[Some(&[0, 0, 0, 1]), None, None, Some(b"x"), None]);
        assert_eq!(part(&body).unwrap(), 1);
        assert_eq!(cut(&body, &(3..5)).unwrap(), row(&[Some(b"x"), None]));
    }

    #[test]
    fn several_queries_become_one_statement() {
        let text = together(&["SELECT a FROM t -- t".to_owned(), "SELECT b FROM u".to_owned()]);
        assert!(text.contains(
            "FROM (SELECT a FROM t -- t\n) q0 LEFT JOIN (SELECT b FROM u\n) q1 ON false"
        ));
        assert!(text.contains(" UNION ALL (SELECT 1 + 0 * pg_catalog.pg_backend_pid()"));
    }
}
