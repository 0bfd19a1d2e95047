//! One field of a row of text or csv, unescaped.
use super::{Quotes, Signs, Wanted};
use memchr::memchr2;

/// What a field says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Field<'r> {
    Null,
    Value(&'r [u8]),
    /// The row has no such field, or what is before it or in it is broken: PostgreSQL refuses the row.
    Broken,
}

/// A field of a line of text. `room`: for what has to be unescaped.
pub fn text<'r>(line: &'r [u8], signs: &Signs, wanted: Wanted, room: &'r mut Vec<u8>) -> Field<'r> {
    let delimiter = signs.delimiter;
    let (mut start, mut at, mut left) = (0, 0, wanted.at);
    let mut escaped = false;
    let end = loop {
        let rest = line.get(at..).unwrap_or_default();
        match memchr2(delimiter, b'\\', rest).map(|found| at + found) {
            Some(found) if line.get(found) == Some(&delimiter) => {
                if left == 0 {
                    break found;
                }
                (start, at, left, escaped) = (found + 1, found + 1, left - 1, false);
            }
            // At the line's end it stands for nothing.
            Some(found) if found + 1 == line.len() => break found,
            Some(found) => (at, escaped) = (found + 2, true),
            None => break line.len(),
        }
    };
    if left > 0 {
        return Field::Broken;
    }
    let raw = line.get(start..end).unwrap_or_default();
    if raw == signs.null {
        return Field::Null;
    }
    match escaped {
        false => Field::Value(raw),
        true => {
            unescape(raw, room);
            Field::Value(room)
        }
    }
}

fn unescape(raw: &[u8], room: &mut Vec<u8>) {
    room.clear();
    let mut rest = raw;
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        if byte != b'\\' {
            room.push(byte);
            continue;
        }
        let Some((&letter, behind)) = rest.split_first() else { return };
        rest = behind;
        room.push(match letter {
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'v' => 0x0b,
            b'0'..=b'7' => {
                let (more, after) = digits(rest, 2, 8);
                rest = after;
                let places = u32::try_from(behind.len() - after.len()).unwrap_or_default();
                // Nine bits are cut to eight, as PostgreSQL does.
                (u32::from(letter - b'0') * 8u32.pow(places) + more) as u8
            }
            b'x' => match digits(rest, 2, 16) {
                (_, after) if after.len() == rest.len() => b'x',
                (value, after) => {
                    rest = after;
                    value as u8
                }
            },
            other => other,
        });
    }
}

/// The number that so many digits at most make, and what is behind them.
fn digits(bytes: &[u8], most: usize, radix: u32) -> (u32, &[u8]) {
    let (mut value, mut rest) = (0, bytes);
    for _ in 0..most {
        let Some((&byte, behind)) = rest.split_first() else { break };
        let Some(digit) = char::from(byte).to_digit(radix) else { break };
        (value, rest) = (value * radix + digit, behind);
    }
    (value, rest)
}

/// A field of a csv row.
pub fn csv<'r>(
    line: &'r [u8],
    signs: &Signs,
    Quotes { quote, escape }: Quotes,
    wanted: Wanted,
    room: &'r mut Vec<u8>,
) -> Field<'r> {
    let delimiter = signs.delimiter;
    let (mut start, mut at, mut left) = (0, 0, wanted.at);
    let mut quoted = false;
    let end = loop {
        let rest = line.get(at..).unwrap_or_default();
        match memchr2(delimiter, quote, rest).map(|found| at + found) {
            None => break line.len(),
            Some(found) if line.get(found) == Some(&delimiter) => {
                if left == 0 {
                    break found;
                }
                (start, at, left, quoted) = (found + 1, found + 1, left - 1, false);
            }
            Some(found) => match closing(line, found + 1, quote, escape) {
                Some(behind) => (at, quoted) = (behind, true),
                None => return Field::Broken,
            },
        }
    };
    if left > 0 {
        return Field::Broken;
    }
    let raw = line.get(start..end).unwrap_or_default();
    if !quoted {
        return match raw == signs.null && !wanted.force_not_null {
            true => Field::Null,
            false => Field::Value(raw),
        };
    }
    unquote(raw, quote, escape, room);
    match wanted.force_null && *room == signs.null {
        true => Field::Null,
        false => Field::Value(room),
    }
}

/// Behind the quote that closes what was opened before `at`.
fn closing(line: &[u8], mut at: usize, quote: u8, escape: u8) -> Option<usize> {
    loop {
        at += memchr2(quote, escape, line.get(at..)?)?;
        let escapes = line.get(at) == Some(&escape)
            && line.get(at + 1).is_some_and(|next| *next == quote || *next == escape);
        if escapes {
            at += 2;
        } else if line.get(at) == Some(&quote) {
            return Some(at + 1);
        } else {
            at += 1;
        }
    }
}

fn unquote(raw: &[u8], quote: u8, escape: u8, room: &mut Vec<u8>) {
    room.clear();
    let (mut rest, mut inside) = (raw, false);
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        match (inside, behind.first()) {
            (true, Some(&next)) if byte == escape && (next == quote || next == escape) => {
                room.push(next);
                rest = behind.get(1..).unwrap_or_default();
            }
            _ if byte == quote => inside = !inside,
            _ => room.push(byte),
        }
    }
}
