//! What clients say: checked readers of message bodies (everything after the five header bytes).
//!
//! Names and SQL are bytes without their NUL: their encoding is the client's. Each `read` checks
//! the whole body, so that iterating afterwards cannot fail.
use super::WireError;
use super::params::Value;
use super::read::{Reader, utf8};
use crate::ids::Oid;

/// The types of message a client may send after start-up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Bind,
    Close,
    CopyData,
    CopyDone,
    CopyFail,
    Describe,
    Execute,
    Flush,
    FunctionCall,
    Parse,
    /// Also what SASL and GSS answers come in.
    Password,
    Query,
    Sync,
    Terminate,
}

impl Kind {
    #[inline]
    pub fn of(byte: u8) -> Result<Self, WireError> {
        Ok(match byte {
            b'B' => Self::Bind,
            b'C' => Self::Close,
            b'd' => Self::CopyData,
            b'c' => Self::CopyDone,
            b'f' => Self::CopyFail,
            b'D' => Self::Describe,
            b'E' => Self::Execute,
            b'H' => Self::Flush,
            b'F' => Self::FunctionCall,
            b'P' => Self::Parse,
            b'p' => Self::Password,
            b'Q' => Self::Query,
            b'S' => Self::Sync,
            b'X' => Self::Terminate,
            other => return Err(WireError::UnknownMessage(other)),
        })
    }
}

/// What Describe and Close are about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Object {
    Statement,
    Portal,
}

/// How a value is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    Text,
    Binary,
}

impl Format {
    pub(super) fn of(code: i16) -> Result<Self, WireError> {
        match code {
            0 => Ok(Self::Text),
            1 => Ok(Self::Binary),
            other => Err(WireError::UnknownFormat(other)),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Query<'a> {
    pub sql: &'a [u8],
}

impl<'a> Query<'a> {
    pub fn read(body: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let sql = reader.string()?;
        reader.end()?;
        Ok(Self { sql })
    }

    pub fn sql_str(&self) -> Result<&'a str, WireError> {
        utf8(self.sql)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Parse<'a> {
    pub name: &'a [u8],
    pub sql: &'a [u8],
    /// Four bytes for each parameter type.
    types: &'a [u8],
}

impl<'a> Parse<'a> {
    pub fn read(body: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let (name, sql) = (reader.string()?, reader.string()?);
        let count = usize::from(reader.u16()?);
        let types = reader.bytes(count * 4)?;
        reader.end()?;
        Ok(Self { name, sql, types })
    }

    pub fn name_str(&self) -> Result<&'a str, WireError> {
        utf8(self.name)
    }

    pub fn sql_str(&self) -> Result<&'a str, WireError> {
        utf8(self.sql)
    }

    /// The types the client declared; `Oid(0)` leaves one to the server.
    pub fn types(&self) -> impl ExactSizeIterator<Item = Oid> + Clone + 'a {
        oids(self.types)
    }
}

/// Big-endian OIDs, four bytes each.
pub(super) fn oids(bytes: &[u8]) -> impl ExactSizeIterator<Item = Oid> + Clone + '_ {
    let (chunks, _) = bytes.as_chunks::<4>();
    chunks.iter().map(|chunk| Oid(u32::from_be_bytes(*chunk)))
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bind<'a> {
    pub portal: &'a [u8],
    pub statement: &'a [u8],
    tail: &'a [u8],
    /// Two bytes for each parameter format: none, one for all, or one each.
    formats: &'a [u8],
    count: usize,
    values: Reader<'a>,
    result_formats: &'a [u8],
}

impl<'a> Bind<'a> {
    pub fn read(body: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let (portal, statement) = (reader.string()?, reader.string()?);
        let tail = reader.rest();
        let formats = read_formats(&mut reader)?;
        let count = usize::from(reader.u16()?);
        if formats.len() > 2 && formats.len() != count * 2 {
            return Err(WireError::FormatCount { formats: formats.len() / 2, parameters: count });
        }
        let values = reader;
        for _ in 0..count {
            reader.nullable()?;
        }
        let result_formats = read_formats(&mut reader)?;
        reader.end()?;
        Ok(Self { portal, statement, tail, formats, count, values, result_formats })
    }

    pub fn portal_str(&self) -> Result<&'a str, WireError> {
        utf8(self.portal)
    }

    pub fn statement_str(&self) -> Result<&'a str, WireError> {
        utf8(self.statement)
    }

    /// How many parameters are bound.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Replaces `out` by the bound values: `$1` first.
    pub fn values(&self, out: &mut Vec<Value<'a>>) {
        out.clear();
        out.reserve(self.count);
        let mut values = self.values;
        for index in 0..self.count {
            // `read` has walked this way before: an error cannot happen.
            let Ok(bytes) = values.nullable() else { return };
            out.push(match (bytes, self.format(index)) {
                (None, _) => Value::Null,
                (Some(bytes), Format::Text) => Value::Text(bytes),
                (Some(bytes), Format::Binary) => Value::Binary(bytes),
            });
        }
    }

    fn format(&self, index: usize) -> Format {
        let (codes, _) = self.formats.as_chunks::<2>();
        let code = if codes.len() == 1 { codes.first() } else { codes.get(index) };
        if code == Some(&[0, 1]) { Format::Binary } else { Format::Text }
    }

    /// Everything after the two names: what a Bind under other names ends with.
    pub fn tail_after_statement(&self) -> &'a [u8] {
        self.tail
    }

    /// The same without the formats of the result.
    pub fn parameters(&self) -> &'a [u8] {
        let end = self.tail.len().saturating_sub(2 + self.result_formats.len());
        self.tail.get(..end).unwrap_or_default()
    }

    /// None (all text), one for all columns, or one for each.
    pub fn result_formats(&self) -> impl ExactSizeIterator<Item = Format> + Clone + 'a {
        let (codes, _) = self.result_formats.as_chunks::<2>();
        codes.iter().map(|code| if code == &[0, 1] { Format::Binary } else { Format::Text })
    }
}

/// A count and that many format codes, each of them known.
fn read_formats<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], WireError> {
    let count = usize::from(reader.u16()?);
    let bytes = reader.bytes(count * 2)?;
    let (codes, _) = bytes.as_chunks::<2>();
    for code in codes {
        Format::of(i16::from_be_bytes(*code))?;
    }
    Ok(bytes)
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Describe<'a> {
    pub object: Object,
    pub name: &'a [u8],
}

impl<'a> Describe<'a> {
    pub fn read(body: &'a [u8]) -> Result<Self, WireError> {
        read_object(body, "DESCRIBE message subtype").map(|(object, name)| Self { object, name })
    }

    pub fn name_str(&self) -> Result<&'a str, WireError> {
        utf8(self.name)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Close<'a> {
    pub object: Object,
    pub name: &'a [u8],
}

impl<'a> Close<'a> {
    pub fn read(body: &'a [u8]) -> Result<Self, WireError> {
        read_object(body, "CLOSE message subtype").map(|(object, name)| Self { object, name })
    }

    pub fn name_str(&self) -> Result<&'a str, WireError> {
        utf8(self.name)
    }
}

fn read_object<'a>(body: &'a [u8], what: &'static str) -> Result<(Object, &'a [u8]), WireError> {
    let mut reader = Reader::new(body);
    let object = match reader.u8()? {
        b'S' => Object::Statement,
        b'P' => Object::Portal,
        other => return Err(WireError::UnknownCode { what, code: i32::from(other) }),
    };
    let name = reader.string()?;
    reader.end()?;
    Ok((object, name))
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Execute<'a> {
    pub portal: &'a [u8],
    /// Zero or less: all rows.
    pub max_rows: i32,
}

impl<'a> Execute<'a> {
    pub fn read(body: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let (portal, max_rows) = (reader.string()?, reader.i32()?);
        reader.end()?;
        Ok(Self { portal, max_rows })
    }

    pub fn portal_str(&self) -> Result<&'a str, WireError> {
        utf8(self.portal)
    }
}

/// A password, in clear or as md5 digest.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Password<'a> {
    pub bytes: &'a [u8],
}

impl<'a> Password<'a> {
    pub fn read(body: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let bytes = reader.string()?;
        reader.end()?;
        Ok(Self { bytes })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SaslInitialResponse<'a> {
    pub mechanism: &'a str,
    pub data: Option<&'a [u8]>,
}

impl<'a> SaslInitialResponse<'a> {
    pub fn read(body: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let (mechanism, data) = (reader.str()?, reader.nullable()?);
        reader.end()?;
        Ok(Self { mechanism, data })
    }
}

/// The whole body is the answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SaslResponse<'a> {
    pub data: &'a [u8],
}

impl<'a> SaslResponse<'a> {
    pub fn read(body: &'a [u8]) -> Self {
        Self { data: body }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CopyFail<'a> {
    pub reason: &'a [u8],
}

impl<'a> CopyFail<'a> {
    pub fn read(body: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let reason = reader.string()?;
        reader.end()?;
        Ok(Self { reason })
    }
}

/// The fast-path function call: recognised, so that it can be refused or passed on by name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FunctionCall {
    pub function: Oid,
}

impl FunctionCall {
    pub fn read(body: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let function = Oid(reader.u32()?);
        read_formats(&mut reader)?;
        for _ in 0..reader.u16()? {
            reader.nullable()?;
        }
        Format::of(reader.i16()?)?;
        reader.end()?;
        Ok(Self { function })
    }
}
