//! A key's value: from PostgreSQL's text and binary forms, and back to its text form.
//!
//! The text form is what `fnv32` and `ring` hash, so it is exactly PostgreSQL's output for the
//! type: `-7`, the text itself, a lower-case uuid with hyphens.
use super::{Key, KeyType};
use std::fmt::{self, Write};

/// The text or the bytes are no value of the type, or are written in a way that only PostgreSQL
/// itself should interpret (`tomorrow`, a time without its zone).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeyTextError;

impl KeyType {
    pub fn is_integer(self) -> bool {
        Self::INTEGERS.contains(&self)
    }
}

impl Key {
    /// Reads what a client may write for a value of the type. Never guesses: a form whose meaning
    /// depends on a setting (DateStyle, TimeZone) is an error.
    pub fn from_text(key_type: KeyType, text: &str) -> Result<Key, KeyTextError> {
        // The white space that PostgreSQL's input functions skip.
        let trimmed = text.trim_matches([' ', '\t', '\n', '\r', '\x0b', '\x0c']);
        match key_type {
            KeyType::Smallint => integer::<i16>(trimmed),
            KeyType::Int => integer::<i32>(trimmed),
            KeyType::Bigint => integer::<i64>(trimmed),
            KeyType::Text | KeyType::Varchar => Ok(Key::Text(text.to_owned())),
            KeyType::Uuid => uuid(text).map(Key::Uuid),
            KeyType::Date => days(trimmed).map(Key::Date),
            KeyType::Timestamptz => instant(trimmed).map(Key::Timestamptz),
        }
    }

    /// Reads the binary wire form of a value of exactly this type.
    pub fn from_binary(key_type: KeyType, bytes: &[u8]) -> Result<Key, KeyTextError> {
        fn exactly<const N: usize>(bytes: &[u8]) -> Result<[u8; N], KeyTextError> {
            bytes.try_into().map_err(|_| KeyTextError)
        }
        Ok(match key_type {
            KeyType::Smallint => Key::Int(i16::from_be_bytes(exactly(bytes)?).into()),
            KeyType::Int => Key::Int(i32::from_be_bytes(exactly(bytes)?).into()),
            KeyType::Bigint => Key::Int(i64::from_be_bytes(exactly(bytes)?)),
            KeyType::Text | KeyType::Varchar => {
                Key::Text(std::str::from_utf8(bytes).map_err(|_| KeyTextError)?.to_owned())
            }
            KeyType::Uuid => Key::Uuid(exactly(bytes)?),
            KeyType::Date => Key::Date(i32::from_be_bytes(exactly(bytes)?)),
            KeyType::Timestamptz => Key::Timestamptz(i64::from_be_bytes(exactly(bytes)?)),
        })
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
            Key::Int(_) | Key::Uuid(_) | Key::Date(_) | Key::Timestamptz(_) => {
                let mut buffer = Short { bytes: [0; 48], used: 0 };
                // The longest text, a timestamp of the year 294276, has 32 bytes.
                let written = write!(buffer, "{self}");
                debug_assert!(written.is_ok());
                hash(buffer.bytes.get(..buffer.used).unwrap_or_default())
            }
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
                for (index, byte) in bytes.iter().enumerate() {
                    if matches!(index, 4 | 6 | 8 | 10) {
                        f.write_char('-')?;
                    }
                    write!(f, "{byte:02x}")?;
                }
                Ok(())
            }
            Key::Date(days) => {
                let (year, month, day) = civil(i64::from(*days));
                write!(f, "{year:04}-{month:02}-{day:02}")
            }
            Key::Timestamptz(micros) => {
                let (days, rest) = (micros.div_euclid(DAY), micros.rem_euclid(DAY));
                let (year, month, day) = civil(days);
                let (seconds, fraction) = (rest / SECOND, rest % SECOND);
                let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
                write!(f, "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")?;
                if fraction != 0 {
                    write!(f, ".{fraction:06}")?;
                }
                f.write_str("+00")
            }
        }
    }
}

/// A text that fits on the stack.
struct Short {
    bytes: [u8; 48],
    used: usize,
}

impl fmt::Write for Short {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.used + text.len();
        self.bytes.get_mut(self.used..end).ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.used = end;
        Ok(())
    }
}

fn integer<T: std::str::FromStr + Into<i64>>(text: &str) -> Result<Key, KeyTextError> {
    text.parse::<T>().map(|value| Key::Int(value.into())).map_err(|_| KeyTextError)
}

/// As PostgreSQL's uuid_in: hyphens may stand after any four digits, braces may surround it.
fn uuid(text: &str) -> Result<[u8; 16], KeyTextError> {
    let inner = match text.strip_prefix('{') {
        Some(rest) => rest.strip_suffix('}').ok_or(KeyTextError)?,
        None => text,
    };
    let mut bytes = [0; 16];
    let mut left = inner.as_bytes();
    for (index, byte) in bytes.iter_mut().enumerate() {
        let &[high, low, ref rest @ ..] = left else { return Err(KeyTextError) };
        *byte = digit(high)? << 4 | digit(low)?;
        left = match rest {
            [b'-', rest @ ..] if index % 2 == 1 && index < 15 => rest,
            rest => rest,
        };
    }
    if left.is_empty() { Ok(bytes) } else { Err(KeyTextError) }
}

fn digit(byte: u8) -> Result<u8, KeyTextError> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok()).ok_or(KeyTextError)
}

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;
/// From 0000-03-01, where the arithmetic of `civil` starts, to 2000-01-01.
const EPOCH_DAYS: i64 = 730_425;

/// `2026-01-31`, which reads the same under every DateStyle.
fn days(text: &str) -> Result<i32, KeyTextError> {
    let mut parts = text.split('-');
    let (Some(year), Some(month), Some(day), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(KeyTextError);
    };
    if year.len() != 4 {
        return Err(KeyTextError);
    }
    let (year, month, day) = (number(year)?, number(month)?, number(day)?);
    let days = days_of(year, month, day);
    // A day that the calendar does not have (31 April) comes back as another one.
    if year < 1 || civil(days) != (year, month, day) {
        return Err(KeyTextError);
    }
    i32::try_from(days).map_err(|_| KeyTextError)
}

/// `2026-01-31 12:00:00.5+01` (or with a T, or Z): only with its offset, else TimeZone decides.
fn instant(text: &str) -> Result<i64, KeyTextError> {
    let (date, rest) = text.split_once([' ', 'T', 't']).ok_or(KeyTextError)?;
    let (time, offset) = match rest.strip_suffix(['Z', 'z']) {
        Some(time) => (time, 0),
        None => {
            let at = rest.rfind(['+', '-']).ok_or(KeyTextError)?;
            let (time, offset) = rest.split_at(at);
            let sign = if offset.starts_with('-') { -1 } else { 1 };
            (time, sign * clock(&offset[1..])?)
        }
    };
    let (time, fraction) = time.split_once('.').unwrap_or((time, ""));
    let fraction = match fraction.len() {
        0 => 0,
        digits @ 1..=6 => number(fraction)? * 10_i64.pow(6 - digits as u32),
        _ => return Err(KeyTextError), // PostgreSQL rounds; a key should not need it.
    };
    let seconds = clock(time)?;
    if seconds >= 86_400 {
        return Err(KeyTextError);
    }
    Ok(i64::from(days(date)?) * DAY + (seconds - offset) * SECOND + fraction)
}

/// `hh`, `hh:mm` or `hh:mm:ss` in seconds.
fn clock(text: &str) -> Result<i64, KeyTextError> {
    let mut seconds = 0;
    let mut unit = 3600;
    for (index, part) in text.split(':').enumerate() {
        let value = number(part)?;
        if part.len() != 2 || index > 2 || value >= if index == 0 { 24 } else { 60 } {
            return Err(KeyTextError);
        }
        seconds += value * unit;
        unit /= 60;
    }
    Ok(seconds)
}

fn number(text: &str) -> Result<i64, KeyTextError> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(KeyTextError);
    }
    text.parse().map_err(|_| KeyTextError)
}

/// Days since 2000-01-01 of a day in the Gregorian calendar: years counted from March, so that the
/// leap day is a year's last.
fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month = (month + 9) % 12;
    365 * year + year.div_euclid(4) - year.div_euclid(100)
        + year.div_euclid(400)
        + (month * 306 + 5) / 10
        + (day - 1)
        - EPOCH_DAYS
}

/// The inverse of [`days_of`].
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + EPOCH_DAYS;
    let mut year = (10_000 * days + 14_780).div_euclid(3_652_425);
    let start =
        |year: i64| 365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    while days < start(year) {
        year -= 1;
    }
    let of_year = days - start(year);
    let month = (100 * of_year + 52) / 3060;
    let day = of_year - (month * 306 + 5) / 10 + 1;
    let year = if month >= 10 { year + 1 } else { year };
    (year, (month + 2) % 12 + 1, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(key_type: KeyType, text: &str) -> Result<Key, KeyTextError> {
        Key::from_text(key_type, text)
    }

    #[test]
    fn integers_are_read_as_postgres_reads_them() {
        for text in ["42", " 42 ", "042", "+42"] {
            assert_eq!(read(KeyType::Bigint, text), Ok(Key::Int(42)), "{text}");
        }
        for text in ["", "4 2", "42.0", "0x2a", "32768"] {
            assert_eq!(read(KeyType::Smallint, text), Err(KeyTextError), "{text}");
        }
    }

    #[test]
    fn text_keeps_its_white_space() {
        assert_eq!(read(KeyType::Text, " a "), Ok(Key::Text(" a ".into())));
    }

    #[test]
    fn a_uuid_has_one_value_however_it_is_written() {
        let canonical = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";
        for text in [
            canonical,
            "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",
            "{a0eebc99-9c0b4ef8-bb6d6bb9-bd380a11}",
            "a0eebc999c0b4ef8bb6d6bb9bd380a11",
            "a0ee-bc99-9c0b-4ef8-bb6d-6bb9-bd38-0a11",
        ] {
            assert_eq!(read(KeyType::Uuid, text).unwrap().to_string(), canonical);
        }
        for text in ["{a0eebc999c0b4ef8bb6d6bb9bd380a11", "a0-eebc999c0b4ef8bb6d6bb9bd380a11", ""] {
            assert_eq!(read(KeyType::Uuid, text), Err(KeyTextError), "{text}");
        }
        assert_eq!(read(KeyType::Uuid, &format!("{canonical}-")), Err(KeyTextError));
    }

    #[test]
    fn dates_count_from_the_year_2000_through_leap_years() {
        for (text, days) in [
            ("2000-01-01", 0),
            ("2000-03-01", 60),
            ("1999-12-31", -1),
            ("2026-11-22", 9822),
            ("0001-01-01", -730_119),
        ] {
            assert_eq!(read(KeyType::Date, text), Ok(Key::Date(days)));
            assert_eq!(Key::Date(days).to_string(), text);
        }
        for text in ["2026-02-29", "26-01-01", "01/02/2026", "tomorrow", "2026-13-01"] {
            assert_eq!(read(KeyType::Date, text), Err(KeyTextError), "{text}");
        }
    }

    #[test]
    fn a_time_needs_its_offset() {
        let noon = read(KeyType::Timestamptz, "2026-01-31 12:00:00+00").unwrap();
        assert_eq!(read(KeyType::Timestamptz, "2026-01-31T13:00:00+01:00"), Ok(noon.clone()));
        assert_eq!(noon.to_string(), "2026-01-31 12:00:00+00");
        assert_eq!(read(KeyType::Timestamptz, "2026-01-31 12:00:00"), Err(KeyTextError));
    }

    #[test]
    fn both_wire_forms_give_the_same_key() {
        assert_eq!(Key::from_binary(KeyType::Int, &[255, 255, 255, 249]), Ok(Key::Int(-7)));
        assert_eq!(Key::from_binary(KeyType::Bigint, &[0, 0, 0, 7]), Err(KeyTextError));
    }
}
