//! Dates and times as PostgreSQL prints them in ISO style, and how long an interval is.
const MICROS_PER_DAY: i64 = 86_400_000_000;
/// Of 2000-01-01, PostgreSQL's day 0, counted from 1970-01-01.
const EPOCH: i64 = 10_957;

/// `2026-11-22`, `0044-03-15 BC`, `infinity`: days since 2000-01-01.
pub fn date(text: &str) -> Option<i64> {
    match text {
        "infinity" => Some(i64::MAX),
        "-infinity" => Some(i64::MIN),
        _ => {
            let (text, before_christ) = without_era(text);
            days(text, before_christ)
        }
    }
}

/// `2026-11-22 20:15:00.5+01`, the offset only with a time zone: microseconds since 2000-01-01, UTC.
pub fn timestamp(text: &str) -> Option<i64> {
    match text {
        "infinity" => return Some(i64::MAX),
        "-infinity" => return Some(i64::MIN),
        _ => {}
    }
    let (text, before_christ) = without_era(text);
    let (date, time) = text.split_once(' ')?;
    let (time, offset) = match time.find(['+', '-']) {
        Some(at) => time.split_at_checked(at)?,
        None => (time, ""),
    };
    let micros = days(date, before_christ)?.checked_mul(MICROS_PER_DAY)?;
    let offset = match offset.strip_prefix('-') {
        Some(west) => -clock(west)?,
        None if offset.is_empty() => 0,
        None => clock(offset.get(1..)?)?,
    };
    micros.checked_add(clock(time)?)?.checked_sub(offset)
}

/// An interval's length as PostgreSQL compares it: months of 30 days, days of 24 hours.
pub fn span(binary: &[u8]) -> Option<i128> {
    let (time, days, months) = parts(binary)?;
    let days = i128::from(months) * 30 + i128::from(days);
    Some(days * i128::from(MICROS_PER_DAY) + i128::from(time))
}

/// An interval's microseconds, days and months.
pub fn parts(binary: &[u8]) -> Option<(i64, i32, i32)> {
    let (time, rest) = binary.split_first_chunk::<8>()?;
    let (days, months) = rest.split_first_chunk::<4>()?;
    let months = <[u8; 4]>::try_from(months).ok()?;
    Some((i64::from_be_bytes(*time), i32::from_be_bytes(*days), i32::from_be_bytes(months)))
}

fn without_era(text: &str) -> (&str, bool) {
    match text.strip_suffix(" BC") {
        Some(rest) => (rest, true),
        None => (text, false),
    }
}

fn days(text: &str, before_christ: bool) -> Option<i64> {
    let mut fields = text.splitn(3, '-').map(|field| field.parse::<i64>().ok());
    let (year, month, day) = (fields.next()??, fields.next()??, fields.next()??);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // There is no year 0: 1 BC comes before 1 AD.
    let year = if before_christ { 1 - year } else { year };
    // Days of the proleptic Gregorian calendar, the year beginning in March (Hinnant).
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = of_era * 365 + of_era / 4 - of_era / 100 + of_year;
    Some(era * 146_097 + day_of_era - 719_468 - EPOCH)
}

/// `20:15:00.5`, `05:30`, `01`: microseconds.
fn clock(text: &str) -> Option<i64> {
    let mut fields = text.splitn(3, ':');
    let hours: i64 = fields.next()?.parse().ok()?;
    let minutes: i64 = fields.next().map_or(Some(0), |field| field.parse().ok())?;
    let seconds = fields.next().unwrap_or("0");
    let (seconds, fraction) = seconds.split_once('.').unwrap_or((seconds, ""));
    let micros: i64 = match fraction.len() {
        0 => 0,
        1..=6 => format!("{fraction:0<6}").parse().ok()?,
        _ => return None,
    };
    let seconds: i64 = seconds.parse().ok()?;
    Some(((hours * 60 + minutes) * 60 + seconds) * 1_000_000 + micros)
}
