//! Bound values as PostgreSQL's input functions understand them.
//!
//! - `integer`: smallint, integer, bigint, oid · `numeric` · `datetime`: date, timestamptz
//! - this file: the other types, and what all have in common
//!
//! Invariant: a value is decoded exactly as every supported PostgreSQL would, or not at all. What
//! depends on a setting (DateStyle, TimeZone) or on the server's version is
//! [`ValueError::NeedsServer`].
mod datetime;
mod integer;
mod numeric;

pub use datetime::utc;

use super::params::Value;
use crate::error::{Error, SqlState};
use crate::ids::Oid;
use std::borrow::Cow;

/// OIDs of the types that can be decoded; fixed in every PostgreSQL.
pub mod oid {
    use crate::ids::Oid;
    pub const BOOL: Oid = Oid(16);
    pub const NAME: Oid = Oid(19);
    pub const INT8: Oid = Oid(20);
    pub const INT2: Oid = Oid(21);
    pub const INT4: Oid = Oid(23);
    pub const TEXT: Oid = Oid(25);
    pub const OID: Oid = Oid(26);
    pub const UNKNOWN: Oid = Oid(705);
    pub const BPCHAR: Oid = Oid(1042);
    pub const VARCHAR: Oid = Oid(1043);
    pub const DATE: Oid = Oid(1082);
    pub const TIMESTAMPTZ: Oid = Oid(1184);
    pub const NUMERIC: Oid = Oid(1700);
    pub const UUID: Oid = Oid(2950);
}

/// A value, the same for both wire formats.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Decoded<'a> {
    Null,
    Bool(bool),
    /// smallint, integer, bigint, oid
    Int(i64),
    /// As PostgreSQL prints it, with the scale it was written with: `1e1` is `10`, `042.0` is `42.0`.
    Numeric(String),
    /// text, varchar, name, unknown; and bpchar without the blanks at its end, which mean nothing
    Text(&'a str),
    Uuid([u8; 16]),
    /// days since 2000-01-01
    Date(i32),
    /// microseconds since 2000-01-01 00:00 UTC
    Timestamptz(i64),
    /// A type this module does not read.
    UnknownType(Oid),
}

impl Decoded<'_> {
    /// The integer that PostgreSQL would find equal: `Int`, and `Numeric` without fraction.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(int) => Some(*int),
            Self::Numeric(text) => numeric::as_int(text),
            Self::Null
            | Self::Bool(_)
            | Self::Text(_)
            | Self::Uuid(_)
            | Self::Date(_)
            | Self::Timestamptz(_)
            | Self::UnknownType(_) => None,
        }
    }
}

/// Why a value cannot be decoded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ValueError {
    BadSyntax {
        type_name: &'static str,
        text: String,
    },
    OutOfRange {
        type_name: &'static str,
        text: String,
    },
    /// A binary value of the wrong length, or with impossible contents.
    BadBinary {
        type_name: &'static str,
    },
    NotUtf8,
    /// What it means depends on the server's version or settings, or is rare enough to ask.
    NeedsServer {
        type_name: &'static str,
    },
}

impl From<ValueError> for Error {
    fn from(wrong: ValueError) -> Self {
        match wrong {
            ValueError::BadSyntax { type_name, text } => Error::client(
                SqlState::INVALID_TEXT_REPRESENTATION,
                format!("invalid input syntax for type {type_name}: \"{text}\""),
            ),
            ValueError::OutOfRange { type_name, text } => Error::client(
                SqlState::NUMERIC_VALUE_OUT_OF_RANGE,
                format!("value \"{text}\" is out of range for type {type_name}"),
            ),
            ValueError::BadBinary { type_name } => Error::client(
                SqlState::INVALID_BINARY_REPRESENTATION,
                format!("incorrect binary data format for type {type_name}"),
            ),
            ValueError::NotUtf8 => Error::client(
                SqlState::CHARACTER_NOT_IN_REPERTOIRE,
                "invalid byte sequence for encoding \"UTF8\"",
            ),
            ValueError::NeedsServer { type_name } => Error::refused(
                format!("this form of a {type_name} value cannot be used to find the shard"),
                "write integers in plain decimal, dates as YYYY-MM-DD, and timestamps as \
                 YYYY-MM-DD HH:MM:SS with an offset such as +00",
            ),
        }
    }
}

/// Decodes a value of the type that `type_oid` names. Text must be UTF-8.
pub fn decode<'a>(value: Value<'a>, type_oid: Oid) -> Result<Decoded<'a>, ValueError> {
    match value {
        Value::Null => Ok(Decoded::Null),
        Value::Text(bytes) => {
            let text = std::str::from_utf8(bytes).map_err(|_| ValueError::NotUtf8)?;
            if text.contains('\0') {
                return Err(ValueError::NotUtf8);
            }
            decode_text(text, type_oid)
        }
        Value::Binary(bytes) => decode_binary(bytes, type_oid),
    }
}

/// The same for text that did not come as a parameter: a literal's contents.
pub fn decode_text(text: &str, type_oid: Oid) -> Result<Decoded<'_>, ValueError> {
    match type_oid {
        oid::INT2 | oid::INT4 | oid::INT8 => integer::from_text(text, type_oid).map(Decoded::Int),
        oid::OID => integer::oid_from_text(text).map(Decoded::Int),
        oid::NUMERIC => numeric::from_text(text).map(Decoded::Numeric),
        oid::TEXT | oid::VARCHAR | oid::UNKNOWN => Ok(Decoded::Text(text)),
        oid::BPCHAR => Ok(Decoded::Text(text.trim_end_matches(' '))),
        oid::NAME => Ok(Decoded::Text(clip_name(text))),
        oid::UUID => uuid_from_text(text).map(Decoded::Uuid),
        oid::BOOL => bool_from_text(text).map(Decoded::Bool),
        oid::DATE => datetime::date_from_text(text).map(Decoded::Date),
        oid::TIMESTAMPTZ => datetime::timestamptz_from_text(text).map(Decoded::Timestamptz),
        other => Ok(Decoded::UnknownType(other)),
    }
}

fn decode_binary(bytes: &[u8], type_oid: Oid) -> Result<Decoded<'_>, ValueError> {
    match type_oid {
        oid::INT2 => fixed(bytes, "smallint").map(i16::from_be_bytes).map(i64::from),
        oid::INT4 => fixed(bytes, "integer").map(i32::from_be_bytes).map(i64::from),
        oid::INT8 => fixed(bytes, "bigint").map(i64::from_be_bytes),
        oid::OID => fixed(bytes, "oid").map(u32::from_be_bytes).map(i64::from),
        oid::BOOL => return fixed(bytes, "boolean").map(|[byte]| Decoded::Bool(byte != 0)),
        oid::UUID => return fixed(bytes, "uuid").map(Decoded::Uuid),
        oid::NUMERIC => return numeric::from_binary(bytes).map(Decoded::Numeric),
        oid::DATE => {
            let days = fixed(bytes, "date").map(i32::from_be_bytes)?;
            return datetime::checked_date(days).map(Decoded::Date);
        }
        oid::TIMESTAMPTZ => {
            let micros = fixed(bytes, "timestamp with time zone").map(i64::from_be_bytes)?;
            return datetime::checked_timestamptz(micros).map(Decoded::Timestamptz);
        }
        // PostgreSQL clips a name that comes as text and refuses one that comes as binary.
        oid::NAME if bytes.len() > NAME_MAX => {
            return Err(ValueError::BadBinary { type_name: "name" });
        }
        oid::TEXT | oid::VARCHAR | oid::UNKNOWN | oid::BPCHAR | oid::NAME => {
            return decode(Value::Text(bytes), type_oid);
        }
        other => return Ok(Decoded::UnknownType(other)),
    }
    .map(Decoded::Int)
}

fn fixed<const N: usize>(bytes: &[u8], type_name: &'static str) -> Result<[u8; N], ValueError> {
    bytes.try_into().map_err(|_| ValueError::BadBinary { type_name })
}

/// The key's text, as PostgreSQL prints the value (dates in ISO style, times in UTC). `None`: NULL
/// and types that cannot be keys.
pub fn key_text<'a>(decoded: &Decoded<'a>) -> Option<Cow<'a, str>> {
    match decoded {
        Decoded::Int(int) => Some(int.to_string().into()),
        Decoded::Numeric(text) => Some(text.clone().into()),
        Decoded::Text(text) => Some(Cow::Borrowed(*text)),
        Decoded::Uuid(uuid) => Some(uuid_text(uuid).into()),
        Decoded::Date(days) => Some(datetime::date_text(*days).into()),
        Decoded::Timestamptz(micros) => Some(datetime::timestamptz_text(*micros).into()),
        Decoded::Bool(true) => Some("t".into()),
        Decoded::Bool(false) => Some("f".into()),
        Decoded::Null | Decoded::UnknownType(_) => None,
    }
}

/// What C calls space; PostgreSQL's input functions skip it.
fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t', '\n', '\x0b', '\x0c', '\r'])
}

/// Bytes of the longest name.
const NAME_MAX: usize = 63;

fn clip_name(text: &str) -> &str {
    if text.len() <= NAME_MAX {
        return text;
    }
    (0..=NAME_MAX).rev().find_map(|end| text.get(..end)).unwrap_or_default()
}

/// Any unambiguous beginning of true, false, yes, no, on, off; or 1 or 0.
fn bool_from_text(text: &str) -> Result<bool, ValueError> {
    let word = trim(text).to_ascii_lowercase();
    let begins = |whole: &str, least: usize| word.len() >= least && whole.starts_with(&word);
    if begins("true", 1) || begins("yes", 1) || word == "on" || word == "1" {
        Ok(true)
    } else if begins("false", 1) || begins("no", 1) || begins("off", 2) || word == "0" {
        Ok(false)
    } else {
        Err(ValueError::BadSyntax { type_name: "boolean", text: text.to_owned() })
    }
}

/// 32 hexadecimal digits; hyphens may follow any group of four, braces may surround all.
fn uuid_from_text(text: &str) -> Result<[u8; 16], ValueError> {
    parse_uuid(text.as_bytes())
        .ok_or_else(|| ValueError::BadSyntax { type_name: "uuid", text: text.to_owned() })
}

fn parse_uuid(text: &[u8]) -> Option<[u8; 16]> {
    let mut rest = match text {
        [b'{', inner @ .., b'}'] => inner,
        all => all,
    };
    let mut uuid = [0; 16];
    for (index, byte) in uuid.iter_mut().enumerate() {
        let (&[high, low], after) = rest.split_first_chunk()?;
        let digit = |c: u8| char::from(c).to_digit(16);
        *byte = (digit(high)? << 4 | digit(low)?) as u8;
        rest = match after {
            [b'-', after @ ..] if index % 2 == 1 && index < 15 => after,
            after => after,
        };
    }
    rest.is_empty().then_some(uuid)
}

fn uuid_text(uuid: &[u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    for (index, byte) in uuid.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        for digit in [byte >> 4, byte & 15] {
            text.extend(char::from_digit(u32::from(digit), 16));
        }
    }
    text
}

#[cfg(test)]
mod tests;
