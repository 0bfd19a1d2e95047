//! Rows and fields of the binary format.
use super::Field;

/// `PGCOPY`, and bytes that a text conversion would change.
const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";
/// With flags and the length of the extension.
const FIXED: usize = SIGNATURE.len() + 8;

/// What begins at a position.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found {
    /// So many bytes.
    Whole(usize),
    /// More bytes are needed.
    More,
    /// No more rows come.
    Trailer,
    /// PostgreSQL refuses what begins here.
    Broken,
}

/// The header that precedes all rows.
pub fn header(bytes: &[u8]) -> Found {
    let known = bytes.len().min(SIGNATURE.len());
    if bytes.get(..known) != SIGNATURE.get(..known) {
        return Found::Broken;
    }
    let Some(extension) = number(bytes, FIXED - 4) else { return Found::More };
    let Ok(extension) = usize::try_from(extension) else { return Found::Broken };
    match FIXED + extension {
        length if length <= bytes.len() => Found::Whole(length),
        _ => Found::More,
    }
}

/// How long the header is at the beginning of a server's data.
pub fn length_of_header(bytes: &[u8]) -> Option<usize> {
    match header(bytes) {
        Found::Whole(length) => Some(length),
        Found::More | Found::Trailer | Found::Broken => None,
    }
}

/// One row, or the trailer.
pub fn tuple(bytes: &[u8]) -> Found {
    let Some(count) = fields(bytes) else { return Found::More };
    let Ok(count) = u16::try_from(count) else {
        return if count == -1 { Found::Trailer } else { Found::Broken };
    };
    let mut at = 2;
    for _ in 0..count {
        let Some(length) = number(bytes, at) else { return Found::More };
        at += 4;
        match usize::try_from(length) {
            Ok(length) => at += length,
            Err(_) if length == -1 => {}
            Err(_) => return Found::Broken,
        }
    }
    if at <= bytes.len() { Found::Whole(at) } else { Found::More }
}

/// A field of a whole row.
pub fn field(row: &[u8], wanted: usize) -> Field<'_> {
    let count = fields(row).and_then(|count| usize::try_from(count).ok());
    if count.is_none_or(|count| wanted >= count) {
        return Field::Broken;
    }
    let mut at = 2;
    for _ in 0..wanted {
        let Some(length) = number(row, at) else { return Field::Broken };
        at += 4 + usize::try_from(length).unwrap_or_default();
    }
    let Some(length) = number(row, at) else { return Field::Broken };
    match usize::try_from(length) {
        Err(_) => Field::Null,
        Ok(length) => match row.get(at + 4..at + 4 + length) {
            Some(value) => Field::Value(value),
            None => Field::Broken,
        },
    }
}

fn fields(bytes: &[u8]) -> Option<i16> {
    bytes.first_chunk().map(|count| i16::from_be_bytes(*count))
}

fn number(bytes: &[u8], at: usize) -> Option<i32> {
    bytes.get(at..)?.first_chunk().map(|number| i32::from_be_bytes(*number))
}
