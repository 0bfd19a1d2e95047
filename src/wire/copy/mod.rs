//! COPY data: where a row ends and which bytes one of its fields is, as PostgreSQL 15 reads it (manual, COPY,
//! "File Formats"; its copyfromparse.c says what the manual leaves open).
//!
//! - `lines`: rows of text and csv · `fields`: one field of such a row
//! - `tuples`: rows and fields of the binary format
//! - `rows`: either, from pieces of any length · `output`: rows of an answer in these formats
//!
//! Invariants: nothing but wanted fields is unescaped; a row's bytes go on as they came. Where a row ends
//! does not depend on how the bytes were cut into messages. What PostgreSQL would refuse is never
//! taken for a row that it would accept.
mod fields;
mod lines;
mod output;
#[cfg(test)]
mod properties;
mod rows;
mod tuples;

use crate::error::{Error, SqlState};
pub use fields::Field;
pub use output::{BinaryHeader, Output};
pub use rows::{Next, Rows};
pub use tuples::length_of_header as binary_header;

/// How rows are written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Format {
    Text(Signs),
    Csv(Signs, Quotes),
    Binary,
}

/// What text and csv have in common.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Signs {
    pub delimiter: u8,
    /// What stands for NULL.
    pub null: Vec<u8>,
    /// The first line names the columns.
    pub header: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quotes {
    pub quote: u8,
    pub escape: u8,
}

impl Format {
    /// Something comes before the first row: a line with names, or the binary format's own header.
    pub fn has_header(&self) -> bool {
        match self {
            Format::Text(signs) | Format::Csv(signs, _) => signs.header,
            Format::Binary => true,
        }
    }
}

/// A field that is looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wanted {
    /// Its position in the row, from 0.
    pub at: usize,
    /// `FORCE_NULL`: what stands for NULL does so in quotes, too.
    pub force_null: bool,
    /// `FORCE_NOT_NULL`: what stands for NULL does not.
    pub force_not_null: bool,
}

/// Why the data cannot be cut into rows, in PostgreSQL's words.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Malformed {
    /// `quoted`: in csv, where quotes would help.
    CarriageReturn {
        quoted: bool,
    },
    Newline {
        quoted: bool,
    },
    EndMarker,
    EndMarkerStyle,
    AfterTrailer,
    /// A row does not fit into so many bytes.
    TooLong(usize),
}

impl From<Malformed> for Error {
    fn from(malformed: Malformed) -> Self {
        let bad = |message: &str| Error::client(SqlState::BAD_COPY_FILE_FORMAT, message);
        match malformed {
            Malformed::CarriageReturn { quoted: false } => {
                bad("literal carriage return found in data")
                    .hint("Use \"\\r\" to represent carriage return.")
            }
            Malformed::CarriageReturn { quoted: true } => {
                bad("unquoted carriage return found in data")
                    .hint("Use quoted CSV field to represent carriage return.")
            }
            Malformed::Newline { quoted: false } => {
                bad("literal newline found in data").hint("Use \"\\n\" to represent newline.")
            }
            Malformed::Newline { quoted: true } => bad("unquoted newline found in data")
                .hint("Use quoted CSV field to represent newline."),
            Malformed::EndMarker => bad("end-of-copy marker corrupt"),
            Malformed::EndMarkerStyle => {
                bad("end-of-copy marker does not match previous newline style")
            }
            Malformed::AfterTrailer => bad("received copy data after EOF marker"),
            Malformed::TooLong(limit) => Error::client(
                SqlState::PROGRAM_LIMIT_EXCEEDED,
                format!("a row of COPY data is longer than the limit of {limit} bytes"),
            )
            .hint("look for a quote that is not closed, or raise limits.message_size in weir.toml"),
        }
    }
}
