//! Durations and sizes as people write them: a number with its unit.
use serde::{Deserialize, Deserializer, de};
use std::time::Duration;

pub const DURATION_HINT: &str =
    "a duration is a number with its unit: \"500ms\", \"5s\", \"10min\", \"1h\"";
const SIZE_HINT: &str = "a size is a number of bytes, or with a unit: \"64kB\", \"16MB\", \"1GB\"";

pub fn duration<'de, D: Deserializer<'de>>(input: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(input).map_err(|_| de::Error::custom(DURATION_HINT))?;
    parse_duration(&text).ok_or_else(|| de::Error::custom(DURATION_HINT))
}

/// For a setting that may be left out, but not be off.
pub fn some_duration<'de, D: Deserializer<'de>>(input: D) -> Result<Option<Duration>, D::Error> {
    duration(input).map(Some)
}

pub fn duration_or_off<'de, D: Deserializer<'de>>(input: D) -> Result<Option<Duration>, D::Error> {
    let hint = || de::Error::custom(format!("{DURATION_HINT}, or \"off\""));
    let text = String::deserialize(input).map_err(|_| hint())?;
    match text.as_str() {
        "off" => Ok(None),
        other => parse_duration(other).map(Some).ok_or_else(hint),
    }
}

pub fn size<'de, D: Deserializer<'de>>(input: D) -> Result<usize, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Bytes(usize),
        Text(String),
    }
    let parsed = match Written::deserialize(input) {
        Ok(Written::Bytes(bytes)) => Some(bytes),
        Ok(Written::Text(text)) => parse_size(&text),
        Err(_) => None,
    };
    parsed.ok_or_else(|| de::Error::custom(SIZE_HINT))
}

/// Zero is refused: it would mean "at once" to one reader and "never" to the next.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = number_and_unit(text)?;
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(unit_ms).filter(|&ms| ms > 0).map(Duration::from_millis)
}

pub fn parse_size(text: &str) -> Option<usize> {
    let (number, unit) = number_and_unit(text)?;
    let unit = match unit {
        "B" => 1,
        "kB" => 1 << 10,
        "MB" => 1 << 20,
        "GB" => 1 << 30,
        _ => return None,
    };
    usize::try_from(number.checked_mul(unit)?).ok()
}

fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    Some((number.parse().ok()?, unit.trim_start()))
}
