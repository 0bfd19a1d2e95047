//! How weir.toml's durations and sizes are read.
use crate::units::{DURATION_HINT, parse_duration, parse_size};
use serde::{Deserialize, Deserializer, de};
use std::time::Duration;

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

/// A file's mode, in octal.
pub fn mode<'de, D: Deserializer<'de>>(input: D) -> Result<u32, D::Error> {
    let hint = || de::Error::custom("a mode is written in octal: \"0770\"");
    let text = String::deserialize(input).map_err(|_| hint())?;
    u32::from_str_radix(&text, 8).ok().filter(|mode| *mode <= 0o777).ok_or_else(hint)
}
