//! A line of COPY's text form, as a server writes it (manual, "COPY", "Text Format").
use std::borrow::Cow;

/// The line's first field without its escapes (`None`: NULL), and what stands behind its tab.
///
/// A tab or an end of line inside a value is escaped, so the next tab that is found ends the field.
pub fn first_field(line: &[u8]) -> (Option<Cow<'_, [u8]>>, &[u8]) {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let (field, rest) = match memchr::memchr(b'\t', line) {
        Some(tab) => line.split_at(tab),
        None => (line, &[][..]),
    };
    let rest = rest.get(1..).unwrap_or_default();
    match field {
        br"\N" => (None, rest),
        field => (Some(unescaped(field)), rest),
    }
}

fn unescaped(field: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(b'\\', field).is_none() {
        return Cow::Borrowed(field);
    }
    let mut value = Vec::with_capacity(field.len());
    let mut bytes = field.iter().copied();
    while let Some(byte) = bytes.next() {
        match (byte, byte == b'\\') {
            (plain, false) => value.push(plain),
            (_, true) => value.extend(bytes.next().map(|escaped| match escaped {
                b'b' => 0x08,
                b'f' => 0x0c,
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'v' => 0x0b,
                itself => itself,
            })),
        }
    }
    Cow::Owned(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_ends_at_the_first_tab_and_loses_its_escapes() {
        for (line, field, rest) in [
            (&b"42\tx\n"[..], Some(&b"42"[..]), &b"x"[..]),
            (b"42\n", Some(b"42"), b""),
            (b"\n", Some(b""), b""),
            (b"\\N\tx\n", None, b"x"),
            (b"\\\\N\tx\n", Some(b"\\N"), b"x"),
            (b"a\\tb\\nc\\\\d\tx\ty\n", Some(b"a\tb\nc\\d"), b"x\ty"),
            (b"\\b\\f\\r\\v\t\n", Some(b"\x08\x0c\r\x0b"), b""),
            (b"\xff\\", Some(b"\xff"), b""),
        ] {
            let (found, after) = first_field(line);
            assert_eq!((found.as_deref(), after), (field, rest), "{line:?}");
        }
    }
}
