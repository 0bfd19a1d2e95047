//! Statements in client encodings other than UTF-8. weir reads statements as text, so the bytes beyond
//! ASCII are made characters, one each, and bytes again for the server: nothing is converted, and
//! where quotes, names and semicolons are does not depend on what such a byte means.
use crate::error::{Error, SqlState};
use std::borrow::Cow;

/// What a client encoding means for reading a statement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Encoding {
    Utf8,
    /// No byte of a character beyond ASCII is an ASCII byte.
    Bytes,
    /// SJIS, BIG5, GBK and the like: a quote or a backslash may be half of a character.
    Unsafe,
}

impl Encoding {
    /// By a name that PostgreSQL takes for `client_encoding`.
    pub fn named(name: &str) -> Self {
        let plain: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
        let plain = plain.to_ascii_lowercase();
        const ONE_BYTE_WORLDS: [&str; 9] =
            ["latin", "iso8859", "win", "koi8", "abc", "alt", "tcvn", "vscii", "euc"];
        match plain.as_str() {
            "utf8" | "unicode" => Encoding::Utf8,
            // Servers take any bytes then, and so does weir.
            "sqlascii" => Encoding::Bytes,
            "euccn" | "eucjp" | "euckr" | "euctw" | "eucjis2004" => Encoding::Bytes,
            "win949" | "win950" | "win936" | "win932" | "windows949" | "windows950"
            | "windows936" | "windows932" => Encoding::Unsafe,
            known if ONE_BYTE_WORLDS.iter().any(|start| known.starts_with(start)) => {
                Encoding::Bytes
            }
            _ => Encoding::Unsafe,
        }
    }

    /// The bytes of a text that `from_bytes` made.
    pub fn bytes(self, text: &str) -> Cow<'_, [u8]> {
        match self {
            Encoding::Bytes if !text.is_ascii() => Cow::Owned(
                text.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')).collect(),
            ),
            Encoding::Utf8 | Encoding::Bytes | Encoding::Unsafe => Cow::Borrowed(text.as_bytes()),
        }
    }
}

/// Bytes as characters, one each.
pub fn from_bytes(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(ascii) if ascii.is_ascii() => Cow::Borrowed(ascii),
        Ok(_) | Err(_) => Cow::Owned(bytes.iter().map(|&byte| char::from(byte)).collect()),
    }
}

/// PostgreSQL's words for it: the bytes of the character that cannot be read.
pub fn invalid_utf8(sql: &[u8], at: usize) -> Error {
    let bytes = sql.get(at..).unwrap_or_default();
    let length = match bytes.first() {
        Some(0xc0..=0xdf) => 2,
        Some(0xe0..=0xef) => 3,
        Some(0xf0..=0xf7) => 4,
        Some(_) | None => 1,
    };
    let shown: Vec<String> =
        bytes.iter().take(length).map(|byte| format!("0x{byte:02x}")).collect();
    Error::client(
        SqlState::CHARACTER_NOT_IN_REPERTOIRE,
        format!("invalid byte sequence for encoding \"UTF8\": {}", shown.join(" ")),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn encodings_are_known_by_all_their_spellings() {
        for (name, expected) in [
            ("UTF8", Encoding::Utf8),
            ("utf-8", Encoding::Utf8),
            ("LATIN1", Encoding::Bytes),
            ("ISO_8859_5", Encoding::Bytes),
            ("WIN1252", Encoding::Bytes),
            ("EUC_JP", Encoding::Bytes),
            ("SJIS", Encoding::Unsafe),
            ("WIN932", Encoding::Unsafe),
            ("GB18030", Encoding::Unsafe),
            ("BIG5", Encoding::Unsafe),
        ] {
            assert_eq!(Encoding::named(name), expected, "{name}");
        }
    }

    proptest! {
        #[test]
        fn bytes_come_back_as_they_were(bytes: Vec<u8>) {
            let text = from_bytes(&bytes);
            let again = Encoding::Bytes.bytes(&text);
            prop_assert_eq!(again.as_ref(), bytes.as_slice());
        }
    }
}
