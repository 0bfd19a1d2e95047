//! smallint, integer, bigint and oid from text.
use super::{ValueError, oid, trim};
use crate::ids::Oid;

pub(super) fn from_text(text: &str, type_oid: Oid) -> Result<i64, ValueError> {
    let (type_name, min) = match type_oid {
        oid::INT2 => ("smallint", i64::from(i16::MIN)),
        oid::INT4 => ("integer", i64::from(i32::MIN)),
        _ => ("bigint", i64::MIN),
    };
    let (negative, digits) = split_sign(trim(text));
    if has_newer_syntax(digits) {
        return Err(ValueError::NeedsServer { type_name });
    }
    let mut value = 0i64;
    for byte in digits.bytes() {
        if !byte.is_ascii_digit() {
            return Err(bad_syntax(type_name, text));
        }
        // Downwards, since there is one more negative number than there are positive ones.
        value = value
            .checked_mul(10)
            .and_then(|tens| tens.checked_sub(i64::from(byte - b'0')))
            .filter(|&value| value >= min)
            .ok_or_else(|| out_of_range(type_name, text))?;
    }
    if digits.is_empty() {
        return Err(bad_syntax(type_name, text));
    }
    match negative {
        true => Ok(value),
        false if value == min => Err(out_of_range(type_name, text)),
        false => Ok(-value),
    }
}

/// Unsigned, but negative numbers are taken for what they are in 32 bits.
pub(super) fn oid_from_text(text: &str) -> Result<i64, ValueError> {
    let (_, digits) = split_sign(trim(text));
    // Since version 16 a leading zero means octal.
    if has_newer_syntax(digits) || digits.len() > 1 && digits.starts_with('0') {
        return Err(ValueError::NeedsServer { type_name: "oid" });
    }
    match from_text(text, oid::INT8) {
        Ok(value @ 0..=0xffff_ffff) => Ok(value),
        Ok(value @ -0x8000_0000..0) => Ok(value + 0x1_0000_0000),
        Ok(_) | Err(ValueError::OutOfRange { .. }) => Err(out_of_range("oid", text)),
        Err(_) => Err(bad_syntax("oid", text)),
    }
}

pub(super) fn split_sign(text: &str) -> (bool, &str) {
    match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    }
}

/// 0x1f, 0o17, 0b11 and 1_000 are numbers since version 16 and were bad syntax before.
pub(super) fn has_newer_syntax(digits: &str) -> bool {
    let bytes = digits.as_bytes();
    let radix = matches!(bytes, [b'0', b'x' | b'X' | b'o' | b'O' | b'b' | b'B', _, ..]);
    let starts = bytes.first().is_some_and(|b| b.is_ascii_digit() || *b == b'.');
    radix || starts && bytes.contains(&b'_')
}

fn bad_syntax(type_name: &'static str, text: &str) -> ValueError {
    ValueError::BadSyntax { type_name, text: text.to_owned() }
}

fn out_of_range(type_name: &'static str, text: &str) -> ValueError {
    ValueError::OutOfRange { type_name, text: text.to_owned() }
}
