//! What servers say: checked readers of message bodies (everything after the five header bytes).
//!
//! Servers are trusted more than clients, but not with our process: the same checks apply.
use super::WireError;
use super::frontend::{Format, oids};
use super::read::{Reader, utf8};
use crate::error::{Blame, Error, Severity, SqlState};
use crate::ids::Oid;
use bytes::{BufMut, BytesMut};
use std::borrow::Cow;

/// The types of message a server may send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Authentication,
    BackendKeyData,
    BindComplete,
    CloseComplete,
    CommandComplete,
    CopyBothResponse,
    CopyData,
    CopyDone,
    CopyInResponse,
    CopyOutResponse,
    DataRow,
    EmptyQuery,
    Error,
    FunctionCallResponse,
    NegotiateProtocolVersion,
    NoData,
    Notice,
    Notification,
    ParameterDescription,
    ParameterStatus,
    ParseComplete,
    PortalSuspended,
    Ready,
    RowDescription,
}

impl Kind {
    #[inline]
    pub fn of(byte: u8) -> Result<Self, WireError> {
        Ok(match byte {
            b'R' => Self::Authentication,
            b'K' => Self::BackendKeyData,
            b'2' => Self::BindComplete,
            b'3' => Self::CloseComplete,
            b'C' => Self::CommandComplete,
            b'W' => Self::CopyBothResponse,
            b'd' => Self::CopyData,
            b'c' => Self::CopyDone,
            b'G' => Self::CopyInResponse,
            b'H' => Self::CopyOutResponse,
            b'D' => Self::DataRow,
            b'I' => Self::EmptyQuery,
            b'E' => Self::Error,
            b'V' => Self::FunctionCallResponse,
            b'v' => Self::NegotiateProtocolVersion,
            b'n' => Self::NoData,
            b'N' => Self::Notice,
            b'A' => Self::Notification,
            b't' => Self::ParameterDescription,
            b'S' => Self::ParameterStatus,
            b'1' => Self::ParseComplete,
            b's' => Self::PortalSuspended,
            b'Z' => Self::Ready,
            b'T' => Self::RowDescription,
            other => return Err(WireError::UnknownMessage(other)),
        })
    }
}

/// What ReadyForQuery says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TransactionStatus {
    Idle,
    InTransaction,
    Failed,
}

impl TransactionStatus {
    pub fn byte(self) -> u8 {
        match self {
            Self::Idle => b'I',
            Self::InTransaction => b'T',
            Self::Failed => b'E',
        }
    }
}

#[inline]
pub fn ready_status(body: &[u8]) -> Result<TransactionStatus, WireError> {
    match body {
        b"I" => Ok(TransactionStatus::Idle),
        b"T" => Ok(TransactionStatus::InTransaction),
        b"E" => Ok(TransactionStatus::Failed),
        [other] => {
            Err(WireError::UnknownCode { what: "transaction status", code: i32::from(*other) })
        }
        [] => Err(WireError::EndsEarly),
        [_, rest @ ..] => Err(WireError::TrailingBytes(rest.len())),
    }
}

/// CommandComplete's tag, e.g. `INSERT 0 1`.
pub fn command_tag(body: &[u8]) -> Result<&str, WireError> {
    let mut reader = Reader::new(body);
    let tag = reader.str()?;
    reader.end()?;
    Ok(tag)
}

/// A parameter's name, and its value in the client's encoding.
pub fn parameter_status(body: &[u8]) -> Result<(&str, &[u8]), WireError> {
    let mut reader = Reader::new(body);
    let pair = (reader.str()?, reader.string()?);
    reader.end()?;
    Ok(pair)
}

/// The fields of an ErrorResponse or a NoticeResponse.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ErrorFields<'a> {
    fields: Reader<'a>,
}

impl<'a> ErrorFields<'a> {
    pub fn read(body: &'a [u8]) -> Result<Self, WireError> {
        let fields = Reader::new(body);
        let mut reader = fields;
        while reader.u8()? != 0 {
            reader.string()?;
        }
        reader.end()?;
        Ok(Self { fields })
    }

    /// Field bytes and texts, as sent.
    pub fn iter(&self) -> impl Iterator<Item = (u8, &'a [u8])> + 'a {
        let mut reader = self.fields;
        std::iter::from_fn(move || match reader.u8() {
            Ok(0) | Err(_) => None,
            Ok(field) => Some((field, reader.string().ok()?)),
        })
    }

    pub fn get(&self, field: u8) -> Option<&'a [u8]> {
        self.iter().find_map(|(name, text)| (name == field).then_some(text))
    }

    /// The SQLSTATE; `XX000` where the server sent none.
    pub fn code(&self) -> SqlState {
        self.get(b'C')
            .and_then(|code| code.try_into().ok())
            .map_or(SqlState::INTERNAL_ERROR, SqlState)
    }

    /// The severity as never translated, e.g. `FATAL`.
    pub fn severity(&self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.get(b'V').or_else(|| self.get(b'S')).unwrap_or_default())
    }

    pub fn is_fatal(&self) -> bool {
        matches!(&*self.severity(), "FATAL" | "PANIC")
    }

    pub fn message(&self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.get(b'M').unwrap_or_default())
    }

    /// Appends the same message without these fields.
    pub fn write_without(&self, kind: u8, dropped: &[u8], out: &mut BytesMut) {
        super::encode::message(kind, out, |out| {
            for (field, text) in self.iter().filter(|(field, _)| !dropped.contains(field)) {
                out.put_u8(field);
                out.put_slice(text);
                out.put_u8(0);
            }
            out.put_u8(0);
        });
    }

    /// Appends the same message, of kind `E` or `N`, with other texts where `edit` gives one.
    pub fn write_edited(
        &self,
        kind: u8,
        edit: impl Fn(u8, &[u8]) -> Option<Vec<u8>>,
        out: &mut BytesMut,
    ) {
        super::encode::message(kind, out, |out| {
            for (field, text) in self.iter() {
                out.put_u8(field);
                out.put_slice(edit(field, text).as_deref().unwrap_or(text));
                out.put_u8(0);
            }
            out.put_u8(0);
        });
    }

    /// The same as our own error, where it is not passed on as sent.
    pub fn to_error(&self, blame: Blame) -> Error {
        let text = |field| self.get(field).map(|t| String::from_utf8_lossy(t).into_owned());
        let mut error = Error::new(self.code(), blame, self.message());
        error.severity = if self.is_fatal() { Severity::Fatal } else { Severity::Error };
        error.detail = text(b'D');
        error.hint = text(b'H');
        error
    }
}

/// The types of a statement's parameters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ParameterDescription<'a> {
    types: &'a [u8],
}

impl<'a> ParameterDescription<'a> {
    pub fn read(body: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let count = usize::from(reader.u16()?);
        let types = reader.bytes(count * 4)?;
        reader.end()?;
        Ok(Self { types })
    }

    pub fn type_oids(&self) -> impl ExactSizeIterator<Item = Oid> + Clone + 'a {
        oids(self.types)
    }

    /// Appends the same message with each type's OID replaced.
    pub fn write_mapped(&self, map: impl FnMut(Oid) -> Oid, out: &mut BytesMut) {
        super::encode::parameter_description(self.type_oids().map(map), out);
    }
}

/// The columns of a result.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RowDescription<'a> {
    body: &'a [u8],
    count: u16,
    fields: Reader<'a>,
}

/// One column of a result.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Field<'a> {
    pub name: &'a [u8],
    /// Zero where the column is no table's.
    pub table: Oid,
    pub column: i16,
    pub type_oid: Oid,
    pub type_size: i16,
    pub type_modifier: i32,
    pub format: Format,
}

impl<'a> Field<'a> {
    /// A text column that weir makes itself.
    pub fn text(name: &'a str) -> Self {
        Self {
            name: name.as_bytes(),
            table: Oid(0),
            column: 0,
            type_oid: Oid(25),
            type_size: -1,
            type_modifier: -1,
            format: Format::Text,
        }
    }

    fn read(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        Ok(Self {
            name: reader.string()?,
            table: Oid(reader.u32()?),
            column: reader.i16()?,
            type_oid: Oid(reader.u32()?),
            type_size: reader.i16()?,
            type_modifier: reader.i32()?,
            format: Format::of(reader.i16()?)?,
        })
    }
}

impl<'a> RowDescription<'a> {
    pub fn read(body: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let count = reader.u16()?;
        let fields = reader;
        for _ in 0..count {
            Field::read(&mut reader)?;
        }
        reader.end()?;
        Ok(Self { body, count, fields })
    }

    pub fn fields(&self) -> impl Iterator<Item = Field<'a>> + 'a {
        let mut reader = self.fields;
        (0..self.count).map_while(move |_| Field::read(&mut reader).ok())
    }

    pub fn type_oids(&self) -> impl Iterator<Item = Oid> + 'a {
        self.fields().map(|field| field.type_oid)
    }

    /// Appends the same message with the OIDs of each column's table and type replaced.
    pub fn write_mapped(
        &self,
        mut table: impl FnMut(Oid) -> Oid,
        mut type_oid: impl FnMut(Oid) -> Oid,
        out: &mut BytesMut,
    ) {
        super::encode::message(b'T', out, |out| {
            out.put_u16(self.count);
            let mut reader = self.fields;
            for _ in 0..self.count {
                let Ok(field) = Field::read(&mut reader) else { return };
                let (table, type_oid) = (table(field.table), type_oid(field.type_oid));
                super::encode::field(&Field { table, type_oid, ..field }, out);
            }
        });
    }

    /// The body as the server sent it.
    pub fn body(&self) -> &'a [u8] {
        self.body
    }
}

/// The values of one row, in column order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DataRow<'a> {
    count: u16,
    values: Reader<'a>,
}

impl<'a> DataRow<'a> {
    pub fn read(body: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let count = reader.u16()?;
        let values = reader;
        for _ in 0..count {
            reader.nullable()?;
        }
        reader.end()?;
        Ok(Self { count, values })
    }

    pub fn values(&self) -> impl Iterator<Item = Option<&'a [u8]>> + 'a {
        let mut reader = self.values;
        (0..self.count).map_while(move |_| reader.nullable().ok())
    }
}

/// What a CancelRequest for this connection must bring.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct BackendKeyData<'a> {
    pub pid: u32,
    pub secret: &'a [u8],
}

impl<'a> BackendKeyData<'a> {
    pub fn read(body: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let (pid, secret) = (reader.u32()?, reader.rest());
        match secret.len() {
            4..=256 => Ok(Self { pid, secret }),
            len => Err(WireError::CancelKeyLength(len)),
        }
    }
}

/// What a server wants to know before it lets us in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Authentication<'a> {
    Ok,
    CleartextPassword,
    Md5Password {
        salt: [u8; 4],
    },
    Sasl(Mechanisms<'a>),
    SaslContinue(&'a [u8]),
    SaslFinal(&'a [u8]),
    /// Kerberos, GSSAPI, SSPI and whatever comes: weir has none of them.
    Unsupported(i32),
}

impl<'a> Authentication<'a> {
    pub fn read(body: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let code = reader.i32()?;
        let read = match code {
            0 => Self::Ok,
            3 => Self::CleartextPassword,
            5 => Self::Md5Password { salt: reader.array()? },
            10 => return Mechanisms::read(reader).map(Self::Sasl),
            11 => return Ok(Self::SaslContinue(reader.rest())),
            12 => return Ok(Self::SaslFinal(reader.rest())),
            other => return Ok(Self::Unsupported(other)),
        };
        reader.end()?;
        Ok(read)
    }
}

/// SASL mechanisms, the server's favourite first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mechanisms<'a> {
    names: &'a [u8],
}

impl<'a> Mechanisms<'a> {
    fn read(mut reader: Reader<'a>) -> Result<Self, WireError> {
        let names = reader.rest();
        while !reader.str()?.is_empty() {}
        reader.end()?;
        Ok(Self { names })
    }

    pub fn iter(&self) -> impl Iterator<Item = &'a str> + 'a {
        let mut reader = Reader::new(self.names);
        std::iter::from_fn(move || reader.str().ok().filter(|name| !name.is_empty()))
    }
}

/// The server speaks less than it was asked to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NegotiateProtocolVersion {
    pub minor: u16,
    pub unknown_options: Vec<String>,
}

impl NegotiateProtocolVersion {
    pub fn read(body: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        // The manual says minor version; servers send both halves.
        let minor = reader.u32()? as u16;
        let count = reader.u32()?;
        let mut unknown_options = Vec::new();
        for _ in 0..count {
            unknown_options.push(reader.str()?.to_owned());
        }
        reader.end()?;
        Ok(Self { minor, unknown_options })
    }
}

/// CopyInResponse, CopyOutResponse and CopyBothResponse: the same body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CopyResponse<'a> {
    pub format: Format,
    columns: &'a [u8],
}

impl<'a> CopyResponse<'a> {
    pub fn read(body: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let format = Format::of(i16::from(reader.u8()?))?;
        let count = usize::from(reader.u16()?);
        let columns = reader.bytes(count * 2)?;
        reader.end()?;
        Ok(Self { format, columns })
    }

    /// How many columns a row has.
    pub fn columns(&self) -> usize {
        self.columns.len() / 2
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Notification<'a> {
    pub pid: u32,
    pub channel: &'a [u8],
    pub payload: &'a [u8],
}

impl<'a> Notification<'a> {
    pub fn read(body: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let (pid, channel, payload) = (reader.u32()?, reader.string()?, reader.string()?);
        reader.end()?;
        Ok(Self { pid, channel, payload })
    }

    pub fn channel_str(&self) -> Result<&'a str, WireError> {
        utf8(self.channel)
    }
}
