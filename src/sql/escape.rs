//! What a string constant stands for (manual, sections 4.1.2.1 to 4.1.2.4).
use super::lexer::TokenKind;
use std::borrow::Cow;

/// The value of a string token. `None`: no string, bits, an escape that PostgreSQL would refuse, or
/// a `U&'…'` that really has escapes (their sign depends on what follows the token).
pub fn value(kind: TokenKind, source: &str) -> Option<Cow<'_, str>> {
    match kind {
        TokenKind::DollarString => {
            let tag = source.get(1..)?.find('$')? + 2;
            Some(Cow::Borrowed(source.get(tag..source.len().checked_sub(tag)?)?))
        }
        TokenKind::EscapeString => parts(source, true),
        TokenKind::UnicodeString if source.contains('\\') => None,
        TokenKind::String | TokenKind::NationalString | TokenKind::UnicodeString => {
            parts(source, false)
        }
        _ => None,
    }
}

/// The parts of a string that goes on over line ends, joined. The lexer has seen that they are whole.
fn parts(source: &str, escapes: bool) -> Option<Cow<'_, str>> {
    let mut rest = source.get(source.find('\'')? + 1..)?;
    let mut joined: Option<String> = None;
    loop {
        let end = closing_quote(rest, escapes)?;
        let inside = rest.get(..end)?;
        let part = match escapes {
            true => unescape(inside)?,
            false if inside.contains('\'') => Cow::Owned(inside.replace("''", "'")),
            false => Cow::Borrowed(inside),
        };
        rest = rest.get(end + 1..)?;
        match next_part(rest) {
            None => {
                return Some(match joined {
                    None => part,
                    Some(joined) => Cow::Owned(joined + &part),
                });
            }
            Some(next) => {
                joined.get_or_insert_default().push_str(&part);
                rest = next;
            }
        }
    }
}

fn closing_quote(inside: &str, escapes: bool) -> Option<usize> {
    let bytes = inside.as_bytes();
    let mut at = 0;
    loop {
        match (bytes.get(at)?, bytes.get(at + 1)) {
            (b'\\', _) if escapes => at += 2,
            (b'\'', Some(b'\'')) => at += 2,
            (b'\'', _) => return Some(at),
            _ => at += 1,
        }
    }
}

/// Behind the opening quote of the next part: only blanks and comments to the line's end precede it.
fn next_part(rest: &str) -> Option<&str> {
    rest.split_inclusive(['\n', '\r'])
        .scan(0, |at, line| {
            let start = *at;
            *at += line.len();
            Some((start, line.trim_start()))
        })
        .find_map(|(start, line)| {
            let opening = line.starts_with('\'');
            opening.then(|| rest.get(start..)?.split_once('\'')).flatten()
        })
        .map(|(_, inside)| inside)
}

/// The value of an escape string's inside. `None`: PostgreSQL would refuse it, or the escapes make
/// bytes that are not UTF-8 (legal under another server encoding, where we don't know them).
fn unescape(inside: &str) -> Option<Cow<'_, str>> {
    if !inside.contains(['\\', '\'']) {
        return Some(Cow::Borrowed(inside));
    }
    let mut value = Vec::with_capacity(inside.len());
    let mut chars = inside.chars();
    while let Some(char) = chars.next() {
        match char {
            '\'' => {
                chars.next();
                value.push(b'\'');
            }
            '\\' => escape(&mut chars, &mut value)?,
            plain => push(&mut value, plain),
        }
    }
    // PostgreSQL's text holds no zero byte.
    if value.contains(&0) {
        return None;
    }
    String::from_utf8(value).ok().map(Cow::Owned)
}

fn push(value: &mut Vec<u8>, char: char) {
    value.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
}

fn escape(chars: &mut std::str::Chars<'_>, value: &mut Vec<u8>) -> Option<()> {
    match chars.next()? {
        'b' => value.push(8),
        'f' => value.push(12),
        'n' => value.push(b'\n'),
        'r' => value.push(b'\r'),
        't' => value.push(b'\t'),
        'v' => value.push(11),
        'u' => unicode(chars, 4, value)?,
        'U' => unicode(chars, 8, value)?,
        'x' if chars.as_str().starts_with(|c: char| c.is_ascii_hexdigit()) => {
            value.push(digits(chars, 16, 2)? as u8);
        }
        first @ '0'..='7' => {
            let rest = digits_up_to(chars, 8, 2);
            value.push((first.to_digit(8)? * 8u32.pow(rest.1) + rest.0) as u8);
        }
        other => push(value, other),
    }
    Some(())
}

/// `\u` and `\U`: exactly `count` digits; two halves of a surrogate pair make one character.
fn unicode(chars: &mut std::str::Chars<'_>, count: u32, value: &mut Vec<u8>) -> Option<()> {
    let code = exactly(chars, count)?;
    let code = match code {
        0xd800..0xdc00 => {
            let (mark, width) = (chars.next()?, chars.next()?);
            let low = match (mark, width) {
                ('\\', 'u') => exactly(chars, 4)?,
                ('\\', 'U') => exactly(chars, 8)?,
                _ => return None,
            };
            let low = low.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
            0x10000 + ((code - 0xd800) << 10) + low
        }
        code => code,
    };
    push(value, char::from_u32(code)?);
    Some(())
}

fn exactly(chars: &mut std::str::Chars<'_>, count: u32) -> Option<u32> {
    let (code, found) = digits_up_to(chars, 16, count);
    (found == count).then_some(code)
}

fn digits(chars: &mut std::str::Chars<'_>, radix: u32, at_most: u32) -> Option<u32> {
    let (number, found) = digits_up_to(chars, radix, at_most);
    (found > 0).then_some(number)
}

/// The number that up to `at_most` digits make, and how many there were.
fn digits_up_to(chars: &mut std::str::Chars<'_>, radix: u32, at_most: u32) -> (u32, u32) {
    let (mut number, mut found) = (0u32, 0);
    while found < at_most {
        let Some(digit) = chars.as_str().chars().next().and_then(|c| c.to_digit(radix)) else {
            break;
        };
        chars.next();
        number = number.wrapping_mul(radix).wrapping_add(digit);
        found += 1;
    }
    (number, found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_have_their_value_however_they_are_written() {
        use super::super::lexer::tokens;
        for (text, expected) in [
            ("'it''s'", Some("it's")),
            ("''", Some("")),
            ("E'a\\'b'", Some("a'b")),
            ("$x$it's$x$", Some("it's")),
            ("'a' -- it's\n  'b''c'", Some("ab'c")),
            ("'a'\n\n -- x\n'b'\n'c'", Some("abc")),
            ("U&'plain'", Some("plain")),
            (r"U&'\0041'", None),
            ("N'n'", Some("n")),
            ("B'1'", None),
        ] {
            let tokens = tokens(text, true).unwrap();
            assert_eq!(tokens.len(), 1, "{text}");
            assert_eq!(value(tokens[0].kind, text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn escapes_have_postgresqls_values() {
        for (inside, value) in [
            ("plain", "plain"),
            (r"it\'s", "it's"),
            ("it''s", "it's"),
            (r"a\\b\tc\nd", "a\\b\tc\nd"),
            (r"\x41\101\x4", "AA\u{4}"),
            (r"\u00e9\U0001F600", "é😀"),
            (r"\uD83D\uDE00", "😀"),
            (r"\xc3\xa9", "é"),
            (r"\q", "q"),
        ] {
            assert_eq!(unescape(inside).as_deref(), Some(value), "{inside}");
        }
    }

    #[test]
    fn what_postgresql_refuses_has_no_value() {
        for inside in [r"\u12", r"\uD83D", r"\000", r"\xff", r"\U00110000"] {
            assert_eq!(unescape(inside), None, "{inside}");
        }
    }
}
