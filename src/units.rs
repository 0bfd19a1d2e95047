//! Durations and sizes as people write them in files: a number with its unit.
use std::time::Duration;

pub const DURATION_HINT: &str =
    "a duration is a number with its unit: \"500ms\", \"5s\", \"10min\", \"1h\"";
pub const SIZE_HINT: &str = "a size is a number with its unit: \"64kB\", \"16MB\", \"1GB\"";

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

/// As [`parse_duration`] reads it; what is no whole number of milliseconds is cut off.
pub fn duration_text(duration: Duration) -> String {
    let ms = duration.as_millis();
    let units = [("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1_000)];
    let unit = units.into_iter().find(|(_, unit_ms)| ms >= *unit_ms && ms.is_multiple_of(*unit_ms));
    let (unit, unit_ms) = unit.unwrap_or(("ms", 1));
    format!("{}{unit}", ms / unit_ms)
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
