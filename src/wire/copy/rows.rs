//! Rows from pieces of any length.
use super::lines::{Line, Lines};
use super::tuples::{self, Found};
use super::{Field, Format, Malformed, Wanted, fields};
use std::ops::Range;

/// COPY data that has come, cut into rows as far as they are whole.
///
/// Memory: what has come and is not whole yet, at most one row of the limit's length and one piece.
#[derive(Debug)]
pub struct Rows {
    format: Format,
    lines: Lines,
    bytes: Vec<u8>,
    /// What comes next begins here.
    start: usize,
    stage: Stage,
    /// No more bytes come.
    whole: bool,
    /// Bytes that a row may have.
    limit: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Header,
    Rows,
    /// A marker has ended the data.
    Ended,
}

/// What the data goes on with.
#[derive(PartialEq, Eq, Debug)]
pub enum Next {
    /// What precedes all rows: each server needs it.
    Header(Range<usize>),
    /// One row with its line end. `data`: without.
    Row { row: Range<usize>, data: Range<usize> },
    /// PostgreSQL will refuse this, whatever comes behind it.
    Broken(Range<usize>),
    /// More bytes are needed.
    More,
    /// There is nothing more.
    End,
}

impl Rows {
    pub fn new(format: Format, limit: usize) -> Self {
        let quotes = match &format {
            Format::Csv(_, quotes) => Some(*quotes),
            Format::Text(_) | Format::Binary => None,
        };
        let stage = if format.has_header() { Stage::Header } else { Stage::Rows };
        let (bytes, start, whole) = (Vec::new(), 0, false);
        Self { format, lines: Lines::new(quotes), bytes, start, stage, whole, limit }
    }

    /// More of the data.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.bytes.drain(..self.start);
            self.lines.forget(self.start);
            self.start = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Something has come that was not cut yet.
    pub fn has_some(&self) -> bool {
        self.stage != Stage::Ended && self.bytes.len() > self.start
    }

    /// That was all of it.
    pub fn end(&mut self) {
        self.whole = true;
    }

    /// What a range of [`Next`] stands for, until more is pushed.
    pub fn bytes(&self, range: &Range<usize>) -> &[u8] {
        self.bytes.get(range.clone()).unwrap_or_default()
    }

    /// One field of a row, by the row's `data`. `room`: for what has to be unescaped.
    pub fn field<'r>(
        &'r self,
        data: &Range<usize>,
        wanted: Wanted,
        room: &'r mut Vec<u8>,
    ) -> Field<'r> {
        let line = self.bytes(data);
        match &self.format {
            Format::Text(signs) => fields::text(line, signs, wanted, room),
            Format::Csv(signs, quotes) => fields::csv(line, signs, *quotes, wanted, room),
            Format::Binary => tuples::field(line, wanted.at),
        }
    }

    pub fn cut(&mut self) -> Result<Next, Malformed> {
        if self.stage == Stage::Ended {
            return self.behind_the_end();
        }
        let left = self.bytes.len() - self.start;
        if left == 0 {
            return Ok(if self.whole { Next::End } else { Next::More });
        }
        let next = match self.format {
            Format::Text(_) | Format::Csv(..) => self.line()?,
            Format::Binary => self.tuple(),
        };
        match next {
            Next::More if self.stage == Stage::Ended => self.behind_the_end(),
            Next::More if left > self.limit => Err(Malformed::TooLong(self.limit)),
            next => Ok(next),
        }
    }

    /// Text and csv ignore what is behind their marker, the binary format does not.
    fn behind_the_end(&mut self) -> Result<Next, Malformed> {
        let left = self.bytes.len() > self.start;
        if left && self.format == Format::Binary {
            return Err(Malformed::AfterTrailer);
        }
        self.start = self.bytes.len();
        Ok(if self.whole { Next::End } else { Next::More })
    }

    fn line(&mut self) -> Result<Next, Malformed> {
        let start = self.start;
        let (row, data) = match self.lines.next(&self.bytes, start, self.whole)? {
            Line::More => return Ok(Next::More),
            Line::Row { data, end } => (start..end, data),
            Line::Last { data } => {
                let header = self.stage == Stage::Header;
                (self.start, self.stage) = (self.bytes.len(), Stage::Ended);
                return Ok(match (data.is_empty(), header) {
                    (true, _) => Next::More,
                    (false, true) => Next::Header(data),
                    (false, false) => Next::Row { row: data.clone(), data },
                });
            }
        };
        self.start = row.end;
        if self.stage == Stage::Header {
            self.stage = Stage::Rows;
            return Ok(Next::Header(row));
        }
        Ok(Next::Row { row, data })
    }

    fn tuple(&mut self) -> Next {
        let left = self.bytes.get(self.start..).unwrap_or_default();
        let found = match self.stage {
            Stage::Header => tuples::header(left),
            Stage::Rows | Stage::Ended => tuples::tuple(left),
        };
        match found {
            // Half a field count at the end of the data is ignored.
            Found::More if self.whole && left.len() < 2 && self.stage == Stage::Rows => Next::End,
            Found::More if !self.whole => Next::More,
            Found::More | Found::Broken => Next::Broken(self.start..self.bytes.len()),
            Found::Trailer => {
                (self.start, self.stage) = (self.start + 2, Stage::Ended);
                Next::More
            }
            Found::Whole(length) => {
                let whole = self.start..self.start + length;
                self.start = whole.end;
                match self.stage {
                    Stage::Header => {
                        self.stage = Stage::Rows;
                        Next::Header(whole)
                    }
                    Stage::Rows | Stage::Ended => Next::Row { row: whole.clone(), data: whole },
                }
            }
        }
    }
}
