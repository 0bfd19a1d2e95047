//! Rows of an answer as COPY data: what PostgreSQL's COPY (query) TO would write of the same values.
use super::{Format, Quotes, Signs};
use crate::wire::server::DataRow;
use crate::wire::{WireError, encode};
use bytes::{BufMut, BytesMut};

/// What precedes the rows of the binary format: its signature, no flags, no extension.
const BINARY_HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// What ends them.
const BINARY_TRAILER: &[u8] = b"\xff\xff";

/// The binary format's header, which drivers expect in one message with what comes next.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum BinaryHeader {
    #[default]
    Waits,
    Sent,
}

impl BinaryHeader {
    /// A row without the header.
    pub fn row(&mut self, row: &[u8], out: &mut BytesMut) {
        match std::mem::replace(self, BinaryHeader::Sent) {
            BinaryHeader::Waits => encode::copy_data(&[BINARY_HEADER, row].concat(), out),
            BinaryHeader::Sent => encode::copy_data(row, out),
        }
    }

    pub fn end(mut self, out: &mut BytesMut) {
        self.row(BINARY_TRAILER, out);
    }
}

#[derive(Clone, Debug)]
pub struct Output {
    format: Format,
    /// By column: `FORCE_QUOTE`.
    forced: Vec<bool>,
    header: BinaryHeader,
    line: BytesMut,
}

impl Output {
    pub fn new(format: Format, forced: Vec<bool>) -> Self {
        Self { format, forced, header: BinaryHeader::default(), line: BytesMut::new() }
    }

    /// Values that stand before those of every row, with the delimiter behind them.
    pub fn front(format: Format, values: &[Option<&[u8]>]) -> Vec<u8> {
        let delimiter = match &format {
            Format::Text(signs) | Format::Csv(signs, _) => signs.delimiter,
            Format::Binary => return Vec::new(),
        };
        let mut output = Self::new(format, vec![true; values.len()]);
        output.line(values.iter().copied());
        let mut front = output.line.to_vec();
        if let Some(end) = front.last_mut() {
            *end = delimiter;
        }
        front
    }

    /// What precedes the rows; `names`: the columns'.
    pub fn begin<'n>(&mut self, names: impl Iterator<Item = &'n [u8]>, out: &mut BytesMut) {
        match &self.format {
            Format::Text(signs) | Format::Csv(signs, _) if !signs.header => {}
            Format::Text(_) | Format::Csv(..) => {
                let forced = std::mem::take(&mut self.forced);
                self.line(names.map(Some));
                self.forced = forced;
                encode::copy_data(&self.line, out);
            }
            Format::Binary => {}
        }
    }

    /// One DataRow's body: in text, or in binary for the binary format.
    pub fn row(&mut self, body: &[u8], out: &mut BytesMut) -> Result<(), WireError> {
        if self.format == Format::Binary {
            // The same bytes: a count, then each value with its length.
            self.header.row(body, out);
            return Ok(());
        }
        let row = DataRow::read(body)?;
        self.line(row.values());
        encode::copy_data(&self.line, out);
        Ok(())
    }

    pub fn end(&self, out: &mut BytesMut) {
        if self.format == Format::Binary {
            self.header.end(out);
        }
        encode::copy_done(out);
    }

    fn line<'v>(&mut self, values: impl Iterator<Item = Option<&'v [u8]>>) {
        let Self { format, forced, line, .. } = self;
        line.clear();
        let mut values = values.peekable();
        let mut number = 0;
        while let Some(value) = values.next() {
            let alone = number == 0 && values.peek().is_none();
            match format {
                Format::Text(signs) => {
                    separate(number, signs, line);
                    match value {
                        None => line.put_slice(&signs.null),
                        Some(value) => escape(value, signs.delimiter, line),
                    }
                }
                Format::Csv(signs, quotes) => {
                    separate(number, signs, line);
                    let forced = forced.get(number).copied().unwrap_or_default();
                    match value {
                        None => line.put_slice(&signs.null),
                        Some(value) if forced || needs_quotes(value, signs, *quotes, alone) => {
                            quote(value, *quotes, line);
                        }
                        Some(value) => line.put_slice(value),
                    }
                }
                Format::Binary => {}
            }
            number += 1;
        }
        line.put_u8(b'\n');
    }
}

fn separate(number: usize, signs: &Signs, line: &mut BytesMut) {
    if number > 0 {
        line.put_u8(signs.delimiter);
    }
}

fn escape(value: &[u8], delimiter: u8, line: &mut BytesMut) {
    for &byte in value {
        let letter = match byte {
            b'\\' => b'\\',
            0x08 => b'b',
            0x0c => b'f',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0x0b => b'v',
            other if other == delimiter => other,
            other => {
                line.put_u8(other);
                continue;
            }
        };
        line.put_slice(&[b'\\', letter]);
    }
}

fn needs_quotes(value: &[u8], signs: &Signs, Quotes { quote, .. }: Quotes, alone: bool) -> bool {
    let special = |byte: &u8| [signs.delimiter, quote, b'\n', b'\r'].contains(byte);
    value == signs.null || alone && value == b"\\." || value.iter().any(special)
}

fn quote(value: &[u8], Quotes { quote, escape }: Quotes, line: &mut BytesMut) {
    line.put_u8(quote);
    for &byte in value {
        if byte == quote || byte == escape {
            line.put_u8(escape);
        }
        line.put_u8(byte);
    }
    line.put_u8(quote);
}
