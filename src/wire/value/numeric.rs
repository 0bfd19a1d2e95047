//! numeric, from both formats to the text PostgreSQL prints.
use super::integer::{has_newer_syntax, split_sign};
use super::{ValueError, trim};
use crate::wire::read::Reader;

/// Longer numbers than this are left to the server.
const DIGITS_MAX: usize = 1000;
const NAME: &str = "numeric";

pub(super) fn from_text(text: &str) -> Result<String, ValueError> {
    let bad_syntax = || ValueError::BadSyntax { type_name: NAME, text: text.to_owned() };
    let trimmed = trim(text);
    let (negative, unsigned) = split_sign(trimmed);
    if trimmed.eq_ignore_ascii_case("nan") {
        return Ok("NaN".to_owned());
    }
    if unsigned.eq_ignore_ascii_case("infinity") || unsigned.eq_ignore_ascii_case("inf") {
        return Ok(if negative { "-Infinity" } else { "Infinity" }.to_owned());
    }
    if has_newer_syntax(unsigned) {
        return Err(ValueError::NeedsServer { type_name: NAME });
    }
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if !all_digits(whole) || !all_digits(fraction) || whole.len() + fraction.len() == 0 {
        return Err(bad_syntax());
    }
    let exponent = match exponent {
        None => 0,
        Some(exponent) => {
            let (negative, digits) = split_sign(exponent);
            if exponent.starts_with(|c: char| c.is_ascii_whitespace() || c == '\x0b') {
                // Accepted by some versions.
                return Err(ValueError::NeedsServer { type_name: NAME });
            }
            if digits.is_empty() || !all_digits(digits) {
                return Err(bad_syntax());
            }
            match digits.parse::<i64>() {
                Ok(value) if value <= DIGITS_MAX as i64 => {
                    if negative {
                        -value
                    } else {
                        value
                    }
                }
                Ok(_) | Err(_) => return Err(ValueError::NeedsServer { type_name: NAME }),
            }
        }
    };
    if whole.len() + fraction.len() > DIGITS_MAX {
        return Err(ValueError::NeedsServer { type_name: NAME });
    }
    Ok(shifted(negative, whole, fraction, exponent))
}

/// `whole.fraction` times ten to the `exponent`.
fn shifted(negative: bool, whole: &str, fraction: &str, exponent: i64) -> String {
    let digits = [whole, fraction].concat();
    let point = whole.len() as i64 + exponent;
    if point < 0 {
        let zeros = "0".repeat(point.unsigned_abs() as usize);
        return printed(negative, "", &(zeros + &digits));
    }
    let point = point as usize;
    match digits.split_at_checked(point) {
        Some((whole, fraction)) => printed(negative, whole, fraction),
        None => printed(negative, &(digits.clone() + &"0".repeat(point - digits.len())), ""),
    }
}

fn printed(negative: bool, whole: &str, fraction: &str) -> String {
    let whole = whole.trim_start_matches('0');
    let is_zero = whole.is_empty() && fraction.bytes().all(|byte| byte == b'0');
    let sign = if negative && !is_zero { "-" } else { "" };
    let whole = if whole.is_empty() { "0" } else { whole };
    let point = if fraction.is_empty() { "" } else { "." };
    [sign, whole, point, fraction].concat()
}

/// Count, weight, sign and scale, then digits to the base of ten thousand.
pub(super) fn from_binary(bytes: &[u8]) -> Result<String, ValueError> {
    let bad = |_| ValueError::BadBinary { type_name: NAME };
    let mut reader = Reader::new(bytes);
    let count = reader.u16().map_err(bad)?;
    let weight = i64::from(reader.i16().map_err(bad)?);
    let sign = reader.u16().map_err(bad)?;
    let scale = usize::from(reader.u16().map_err(bad)?);
    let mut digits = Vec::new();
    for _ in 0..count {
        match reader.u16().map_err(bad)? {
            digit @ 0..10_000 => digits.push(digit),
            _ => return Err(ValueError::BadBinary { type_name: NAME }),
        }
    }
    reader.end().map_err(bad)?;
    let negative = match sign {
        0 => false,
        0x4000 => true,
        0xc000 => return Ok("NaN".to_owned()),
        0xd000 => return Ok("Infinity".to_owned()),
        0xf000 => return Ok("-Infinity".to_owned()),
        _ => return Err(ValueError::BadBinary { type_name: NAME }),
    };
    if scale > 0x3fff {
        return Err(ValueError::BadBinary { type_name: NAME });
    }
    if digits.len() * 4 > DIGITS_MAX || scale > DIGITS_MAX || weight.abs() * 4 > DIGITS_MAX as i64 {
        return Err(ValueError::NeedsServer { type_name: NAME });
    }
    // The digit worth ten thousand to the power of `place`.
    let at = |place: i64| {
        let digit = usize::try_from(weight - place).ok().and_then(|index| digits.get(index));
        format!("{:04}", digit.copied().unwrap_or(0))
    };
    let whole: String = (0..=weight).rev().map(at).collect();
    let mut fraction: String = (1..=scale.div_ceil(4) as i64).map(|place| at(-place)).collect();
    fraction.truncate(scale);
    Ok(printed(negative, &whole, &fraction))
}

/// The integer of the same value, if there is one and it is a bigint.
pub(super) fn as_int(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.bytes().all(|byte| byte == b'0') { whole.parse().ok() } else { None }
}
