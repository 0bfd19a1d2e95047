//! A key's value, from what `wire::value` decodes, and its text form.
//!
//! The text form is what `fnv32` and `ring` hash, so it is exactly PostgreSQL's output for the
//! type: `-7`, the text itself, a lower-case uuid with hyphens.
use super::{Key, KeyType};
use crate::ids::Oid;
use crate::wire::value::{self, Decoded, ValueError, oid};
use std::borrow::Cow;
use std::fmt::{self, Write};

impl KeyType {
    pub fn is_integer(self) -> bool {
        Self::INTEGERS.contains(&self)
    }

    /// The same in every PostgreSQL.
    pub fn oid(self) -> Oid {
        match self {
            KeyType::Smallint => oid::INT2,
            KeyType::Int => oid::INT4,
            KeyType::Bigint => oid::INT8,
            KeyType::Text => oid::TEXT,
            KeyType::Varchar => oid::VARCHAR,
            KeyType::Uuid => oid::UUID,
            KeyType::Date => oid::DATE,
            KeyType::Timestamptz => oid::TIMESTAMPTZ,
        }
    }
}

impl Key {
    /// Reads a value of the type as `wire::value` does: exactly as PostgreSQL would, or not at all.
    pub fn from_text(key_type: KeyType, text: &str) -> Result<Key, ValueError> {
        let decoded = value::decode_text(text, key_type.oid())?;
        // The type decides which kind of value comes out, so there is always a key.
        Key::from_decoded(&decoded).ok_or(ValueError::NeedsServer { type_name: key_type.name() })
    }

    /// `None`: NULL, and values of types that cannot be keys.
    pub fn from_decoded(decoded: &Decoded) -> Option<Key> {
        match decoded {
            Decoded::Int(value) => Some(Key::Int(*value)),
            Decoded::Text(text) => Some(Key::Text((*text).to_owned())),
            Decoded::Uuid(bytes) => Some(Key::Uuid(*bytes)),
            Decoded::Date(days) => Some(Key::Date(*days)),
            Decoded::Timestamptz(micros) => Some(Key::Timestamptz(*micros)),
            Decoded::Null | Decoded::Bool(_) | Decoded::Numeric(_) | Decoded::UnknownType(_) => {
                None
            }
        }
    }

    /// Is this a value that a column of the type can hold?
    pub fn fits(&self, key_type: KeyType) -> bool {
        match (self, key_type) {
            (Key::Int(value), KeyType::Smallint) => i16::try_from(*value).is_ok(),
            (Key::Int(value), KeyType::Int) => i32::try_from(*value).is_ok(),
            (Key::Int(_), KeyType::Bigint)
            | (Key::Text(_), KeyType::Text | KeyType::Varchar)
            | (Key::Uuid(_), KeyType::Uuid)
            | (Key::Date(_), KeyType::Date)
            | (Key::Timestamptz(_), KeyType::Timestamptz) => true,
            (Key::Int(_) | Key::Text(_) | Key::Uuid(_) | Key::Date(_) | Key::Timestamptz(_), _) => {
                false
            }
        }
    }

    /// Calls `hash` with the bytes of PostgreSQL's text form; numbers and uuids need no allocation.
    pub(super) fn with_text<T>(&self, hash: impl FnOnce(&[u8]) -> T) -> T {
        match self {
            Key::Text(text) => hash(text.as_bytes()),
            Key::Int(value) => decimal(*value, hash),
            Key::Uuid(bytes) => hash(&hyphenated(bytes)),
            Key::Date(_) | Key::Timestamptz(_) => hash(self.to_string().as_bytes()),
        }
    }
}

/// PostgreSQL's text form of the value; a timestamptz in UTC.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Key::Int(value) => write!(f, "{value}"),
            Key::Text(text) => f.write_str(text),
            Key::Uuid(bytes) => {
                hyphenated(bytes).iter().try_for_each(|c| f.write_char((*c).into()))
            }
            Key::Date(days) => f.write_str(&text_of(&Decoded::Date(*days))),
            Key::Timestamptz(micros) => f.write_str(&text_of(&Decoded::Timestamptz(*micros))),
        }
    }
}

/// The number's digits from the end of a buffer: a quarter of what formatting costs.
fn decimal<T>(value: i64, hash: impl FnOnce(&[u8]) -> T) -> T {
    let mut digits = [0; 20];
    let (mut left, mut start) = (value.unsigned_abs(), digits.len());
    while let Some(digit) = start.checked_sub(1).and_then(|place| digits.get_mut(place)) {
        *digit = b'0' + (left % 10) as u8;
        (left, start) = (left / 10, start - 1);
        if left == 0 {
            break;
        }
    }
    // The longest number has 19 digits, so there is room for its sign.
    if value < 0
        && let Some(sign) = start.checked_sub(1).and_then(|place| digits.get_mut(place))
    {
        *sign = b'-';
        start -= 1;
    }
    hash(digits.get(start..).unwrap_or_default())
}

/// A uuid's 32 digits in lower case, with four hyphens.
fn hyphenated(uuid: &[u8; 16]) -> [u8; 36] {
    let digit = |half: u8| half + if half < 10 { b'0' } else { b'a' - 10 };
    let digits = uuid.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]);
    let mut text = [b'-'; 36];
    let places = text.iter_mut().enumerate().filter(|(at, _)| !matches!(at, 8 | 13 | 18 | 23));
    places.zip(digits).for_each(|((_, place), digit)| *place = digit);
    text
}

fn text_of<'a>(decoded: &Decoded<'a>) -> Cow<'a, str> {
    value::key_text(decoded).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_one_value_however_it_is_written() {
        for (key_type, forms, text) in [
            (KeyType::Bigint, ["42", " 042 ", "+42"], "42"),
            (
                KeyType::Uuid,
                [
                    "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
                    "{A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11}",
                    "a0eebc999c0b4ef8bb6d6bb9bd380a11",
                ],
                "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
            ),
            (
                KeyType::Timestamptz,
                ["2026-01-31 12:00:00+00", "2026-01-31 13:00:00+01", "2026-01-31 12:00:00.0+00"],
                "2026-01-31 12:00:00+00",
            ),
        ] {
            for form in forms {
                assert_eq!(Key::from_text(key_type, form).unwrap().to_string(), text, "{form}");
            }
        }
        assert_eq!(Key::from_text(KeyType::Text, " a "), Ok(Key::Text(" a ".into())));
    }

    #[test]
    fn what_the_type_cannot_hold_is_no_key() {
        for (key_type, text) in [
            (KeyType::Smallint, "32768"),
            (KeyType::Int, "42.0"),
            (KeyType::Date, "tomorrow"),
            (KeyType::Timestamptz, "2026-01-31 12:00:00"),
        ] {
            assert!(Key::from_text(key_type, text).is_err(), "{text}");
        }
        assert!(Key::Int(32768).fits(KeyType::Int));
        assert!(!Key::Int(32768).fits(KeyType::Smallint));
    }
}
