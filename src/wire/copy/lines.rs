//! Where a row of text or csv ends.
use super::{Malformed, Quotes};
use memchr::{memchr2, memchr3};
use std::ops::Range;

/// How lines end: the first one decides for all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum LineEnd {
    Unknown,
    Newline,
    Return,
    Both,
}

/// What was found from the row's beginning on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Line {
    /// `end`: where the next row begins; the fields are in `data`.
    Row { data: Range<usize>, end: usize },
    /// More bytes are needed.
    More,
    /// The marker `\.`; before it there may be one last row.
    Last { data: Range<usize> },
}

/// Where the search for a row's end is, so that no byte is looked at twice.
#[derive(Clone, Debug)]
pub struct Lines {
    /// `None`: text.
    quotes: Option<Quotes>,
    line_end: LineEnd,
    /// The next byte to look at; before it there is no end.
    at: usize,
    quoted: bool,
}

/// What a byte that may end a line means.
enum End {
    /// So many bytes are the line's end.
    Is(usize),
    More,
}

impl Lines {
    pub fn new(quotes: Option<Quotes>) -> Self {
        Self { quotes, line_end: LineEnd::Unknown, at: 0, quoted: false }
    }

    /// The bytes before are gone.
    pub fn forget(&mut self, count: usize) {
        self.at = self.at.saturating_sub(count);
    }

    /// The row that begins at `start`. `whole`: no more bytes come.
    pub fn next(&mut self, bytes: &[u8], start: usize, whole: bool) -> Result<Line, Malformed> {
        self.at = self.at.max(start);
        let found = match self.quotes {
            None => self.text(bytes, start, whole)?,
            Some(quotes) => self.csv(bytes, start, whole, quotes)?,
        };
        match found {
            Line::More if whole => {
                (self.at, self.quoted) = (bytes.len(), false);
                Ok(Line::Row { data: start..bytes.len(), end: bytes.len() })
            }
            found => Ok(found),
        }
    }

    fn text(&mut self, bytes: &[u8], start: usize, whole: bool) -> Result<Line, Malformed> {
        loop {
            let Some(at) = find(bytes, self.at, |rest| memchr3(b'\n', b'\r', b'\\', rest)) else {
                self.at = bytes.len();
                return Ok(Line::More);
            };
            self.at = at;
            match (bytes.get(at), bytes.get(at + 1)) {
                (Some(b'\\'), Some(b'.')) => return self.marker(bytes, start, whole),
                (Some(b'\\'), Some(_)) => self.at = at + 2,
                (Some(b'\\'), None) => return Ok(Line::More),
                _ => match self.end(bytes, at, whole, false)? {
                    End::More => return Ok(Line::More),
                    End::Is(count) => return Ok(self.row(start, at, count)),
                },
            }
        }
    }

    fn csv(
        &mut self,
        bytes: &[u8],
        start: usize,
        whole: bool,
        Quotes { quote, escape }: Quotes,
    ) -> Result<Line, Malformed> {
        if self.at == start && bytes.get(start) == Some(&b'\\') {
            match bytes.get(start + 1) {
                None if !whole => return Ok(Line::More),
                Some(b'.') => match self.csv_marker(bytes, start, whole)? {
                    Some(found) => return Ok(found),
                    None => self.at = start + 1,
                },
                Some(_) | None => {}
            }
        }
        loop {
            if self.quoted {
                let Some(at) = find(bytes, self.at, |rest| memchr2(quote, escape, rest)) else {
                    self.at = bytes.len();
                    return Ok(Line::More);
                };
                self.at = at;
                if escape == quote || bytes.get(at) == Some(&quote) {
                    // Two of them are one of the value, and so are out and in again.
                    (self.at, self.quoted) = (at + 1, false);
                    continue;
                }
                match bytes.get(at + 1) {
                    None => return Ok(Line::More),
                    Some(next) if *next == quote || *next == escape => self.at = at + 2,
                    Some(_) => self.at = at + 1,
                }
                continue;
            }
            let Some(at) = find(bytes, self.at, |rest| memchr3(quote, b'\n', b'\r', rest)) else {
                self.at = bytes.len();
                return Ok(Line::More);
            };
            self.at = at;
            if bytes.get(at) == Some(&quote) {
                (self.at, self.quoted) = (at + 1, true);
                continue;
            }
            match self.end(bytes, at, whole, true)? {
                End::More => return Ok(Line::More),
                End::Is(count) => return Ok(self.row(start, at, count)),
            }
        }
    }

    fn row(&mut self, start: usize, at: usize, count: usize) -> Line {
        self.at = at + count;
        Line::Row { data: start..at, end: at + count }
    }

    /// A newline or carriage return outside quotes.
    fn end(
        &mut self,
        bytes: &[u8],
        at: usize,
        whole: bool,
        quoted: bool,
    ) -> Result<End, Malformed> {
        use LineEnd as L;
        match (bytes.get(at), self.line_end) {
            (Some(b'\n'), L::Return | L::Both) => Err(Malformed::Newline { quoted }),
            (Some(b'\n'), L::Unknown | L::Newline) => {
                self.line_end = L::Newline;
                Ok(End::Is(1))
            }
            (_, L::Newline) => Err(Malformed::CarriageReturn { quoted }),
            (_, L::Return) => Ok(End::Is(1)),
            (_, known @ (L::Unknown | L::Both)) => match (bytes.get(at + 1), known) {
                (None, _) if !whole => Ok(End::More),
                (Some(b'\n'), _) => {
                    self.line_end = L::Both;
                    Ok(End::Is(2))
                }
                (_, L::Both) => Err(Malformed::CarriageReturn { quoted }),
                (_, _) => {
                    self.line_end = L::Return;
                    Ok(End::Is(1))
                }
            },
        }
    }

    /// `\.` in text is the end of the data or an error, never data.
    fn marker(&mut self, bytes: &[u8], start: usize, whole: bool) -> Result<Line, Malformed> {
        let mut next = self.at + 2;
        if self.line_end == LineEnd::Both {
            match bytes.get(next) {
                None if !whole => return Ok(Line::More),
                Some(b'\r') => next += 1,
                Some(b'\n') => return Err(Malformed::EndMarkerStyle),
                Some(_) | None => return Err(Malformed::EndMarker),
            }
        }
        match bytes.get(next) {
            None if !whole => Ok(Line::More),
            Some(&last @ (b'\n' | b'\r')) => match self.suits(last) {
                true => Ok(Line::Last { data: start..self.at }),
                false => Err(Malformed::EndMarkerStyle),
            },
            Some(_) | None => Err(Malformed::EndMarker),
        }
    }

    /// In csv it is that only alone on its line. `None`: it is data.
    fn csv_marker(
        &mut self,
        bytes: &[u8],
        start: usize,
        whole: bool,
    ) -> Result<Option<Line>, Malformed> {
        let mut next = start + 2;
        if self.line_end == LineEnd::Both {
            match bytes.get(next) {
                None if !whole => return Ok(Some(Line::More)),
                Some(b'\r') => next += 1,
                Some(_) | None => return Ok(None),
            }
        }
        match bytes.get(next) {
            None if !whole => Ok(Some(Line::More)),
            Some(&last @ (b'\n' | b'\r')) => match self.suits(last) {
                true => Ok(Some(Line::Last { data: start..start })),
                false => Err(Malformed::EndMarkerStyle),
            },
            Some(_) | None => Ok(None),
        }
    }

    /// Whether the last byte of a line's end is one of the lines before.
    fn suits(&self, last: u8) -> bool {
        match self.line_end {
            LineEnd::Unknown => true,
            LineEnd::Newline | LineEnd::Both => last == b'\n',
            LineEnd::Return => last == b'\r',
        }
    }
}

fn find(bytes: &[u8], from: usize, search: impl Fn(&[u8]) -> Option<usize>) -> Option<usize> {
    search(bytes.get(from..)?).map(|at| from + at)
}
