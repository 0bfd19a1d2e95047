//! The checked cursor every reader is built on, and what can be wrong with bytes.
use crate::error::{Error, SqlState};

/// What is wrong with bytes that should have been a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WireError {
    /// The length in the header is smaller than the header.
    LengthTooSmall(i32),
    /// The length in the header exceeds the limit.
    TooLarge {
        len: usize,
        max: usize,
    },
    /// The message ends before what it announced.
    EndsEarly,
    /// Bytes are left after everything the message announced.
    TrailingBytes(usize),
    /// A string without its closing NUL.
    UnterminatedString,
    NotUtf8,
    /// A format code that is neither text (0) nor binary (1).
    UnknownFormat(i16),
    /// Bind: the count of formats is none of 0, 1 and the count of parameters.
    FormatCount {
        formats: usize,
        parameters: usize,
    },
    /// A type byte that no message has.
    UnknownMessage(u8),
    /// A code of which the protocol knows no meaning.
    UnknownCode {
        what: &'static str,
        code: i32,
    },
    UnsupportedProtocol {
        major: u16,
        minor: u16,
    },
    /// Cancel keys have 4 bytes (protocol 3.0) to 256 bytes (3.2).
    CancelKeyLength(usize),
}

impl std::fmt::Display for WireError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::LengthTooSmall(len) => write!(f, "invalid message length {len}"),
            Self::TooLarge { len, max } => {
                write!(f, "message of {len} bytes exceeds the limit of {max} bytes")
            }
            Self::EndsEarly => f.write_str("insufficient data left in message"),
            Self::TrailingBytes(count) => {
                write!(f, "invalid message format: {count} bytes left over")
            }
            Self::UnterminatedString => f.write_str("invalid string in message"),
            Self::NotUtf8 => f.write_str("invalid byte sequence for encoding \"UTF8\""),
            Self::UnknownFormat(code) => write!(f, "unsupported format code: {code}"),
            Self::FormatCount { formats, parameters } => write!(
                f,
                "bind message has {formats} parameter formats but {parameters} parameters"
            ),
            Self::UnknownMessage(byte) => write!(f, "invalid message type {byte}"),
            Self::UnknownCode { what, code } => write!(f, "unknown {what} {code}"),
            Self::UnsupportedProtocol { major, minor } => {
                write!(f, "unsupported frontend protocol {major}.{minor}: weir supports 3.0 to 3.2")
            }
            Self::CancelKeyLength(len) => write!(f, "invalid length {len} of a cancel key"),
        }
    }
}

impl std::error::Error for WireError {}

impl WireError {
    /// Where the next message begins is not known any more, or there can be none. After any other
    /// error the frame is still whole: as in PostgreSQL, the session goes on.
    fn ends_session(self) -> bool {
        match self {
            Self::LengthTooSmall(_)
            | Self::TooLarge { .. }
            | Self::UnknownMessage(_)
            | Self::UnsupportedProtocol { .. }
            | Self::CancelKeyLength(_) => true,
            Self::EndsEarly
            | Self::TrailingBytes(_)
            | Self::UnterminatedString
            | Self::NotUtf8
            | Self::UnknownFormat(_)
            | Self::FormatCount { .. }
            | Self::UnknownCode { .. } => false,
        }
    }
}

impl From<WireError> for Error {
    fn from(wrong: WireError) -> Self {
        let code = match wrong {
            WireError::TooLarge { .. } => SqlState::PROGRAM_LIMIT_EXCEEDED,
            WireError::UnsupportedProtocol { .. } => SqlState::FEATURE_NOT_SUPPORTED,
            WireError::NotUtf8 => SqlState::CHARACTER_NOT_IN_REPERTOIRE,
            WireError::UnknownFormat(_) => SqlState::INVALID_PARAMETER_VALUE,
            WireError::LengthTooSmall(_)
            | WireError::EndsEarly
            | WireError::TrailingBytes(_)
            | WireError::UnterminatedString
            | WireError::FormatCount { .. }
            | WireError::UnknownMessage(_)
            | WireError::UnknownCode { .. }
            | WireError::CancelKeyLength(_) => SqlState::PROTOCOL_VIOLATION,
        };
        let error = Error::client(code, wrong.to_string());
        if wrong.ends_session() { error.fatal() } else { error }
    }
}

/// Reads from the front of a slice; every read says when there is not enough.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(body: &'a [u8]) -> Self {
        Self { rest: body }
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (head, rest) = self.rest.split_first_chunk().ok_or(WireError::EndsEarly)?;
        self.rest = rest;
        Ok(*head)
    }

    pub fn u8(&mut self) -> Result<u8, WireError> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    pub fn u16(&mut self) -> Result<u16, WireError> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    pub fn i16(&mut self) -> Result<i16, WireError> {
        Ok(i16::from_be_bytes(self.array()?))
    }

    pub fn u32(&mut self) -> Result<u32, WireError> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    pub fn i32(&mut self) -> Result<i32, WireError> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    pub fn bytes(&mut self, count: usize) -> Result<&'a [u8], WireError> {
        let (head, rest) = self.rest.split_at_checked(count).ok_or(WireError::EndsEarly)?;
        self.rest = rest;
        Ok(head)
    }

    /// Bytes after a length of which -1 means NULL and other negative ones mean nothing.
    pub fn nullable(&mut self) -> Result<Option<&'a [u8]>, WireError> {
        match self.i32()? {
            -1 => Ok(None),
            len => {
                let len = usize::try_from(len).map_err(|_| WireError::EndsEarly)?;
                self.bytes(len).map(Some)
            }
        }
    }

    /// A string, without the NUL that ends it.
    pub fn string(&mut self) -> Result<&'a [u8], WireError> {
        let end = memchr::memchr(0, self.rest).ok_or(WireError::UnterminatedString)?;
        let (head, rest) = self.rest.split_at(end);
        self.rest = rest.get(1..).unwrap_or_default();
        Ok(head)
    }

    pub fn str(&mut self) -> Result<&'a str, WireError> {
        utf8(self.string()?)
    }

    /// Everything not yet read.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The message must end here.
    pub fn end(self) -> Result<(), WireError> {
        match self.rest.len() {
            0 => Ok(()),
            left => Err(WireError::TrailingBytes(left)),
        }
    }
}

pub(super) fn utf8(bytes: &[u8]) -> Result<&str, WireError> {
    std::str::from_utf8(bytes).map_err(|_| WireError::NotUtf8)
}
