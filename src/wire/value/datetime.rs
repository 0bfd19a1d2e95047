//! date and timestamptz. Only forms that mean the same under every DateStyle and TimeZone.
use super::{ValueError, trim};

const MICROS_PER_SECOND: i64 = 1_000_000;
const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;
/// 2000-01-01 counted from 1970-01-01.
const EPOCH_DAYS: i64 = 10_957;
/// 4714-11-24 BC, where PostgreSQL's calendar begins.
const FIRST_DATE: i32 = -2_451_545;
/// The day after the last date, 5874897-12-31.
const END_DATE: i32 = 2_145_031_949;
const FIRST_TIMESTAMP: i64 = -211_813_488_000_000_000;
/// 294277-01-01
const END_TIMESTAMP: i64 = 9_223_371_331_200_000_000;

const TIMESTAMPTZ: &str = "timestamp with time zone";

pub(super) fn checked_date(days: i32) -> Result<i32, ValueError> {
    match days {
        i32::MIN | i32::MAX | FIRST_DATE..END_DATE => Ok(days),
        _ => Err(ValueError::BadBinary { type_name: "date" }),
    }
}

pub(super) fn checked_timestamptz(micros: i64) -> Result<i64, ValueError> {
    match micros {
        i64::MIN | i64::MAX | FIRST_TIMESTAMP..END_TIMESTAMP => Ok(micros),
        _ => Err(ValueError::BadBinary { type_name: TIMESTAMPTZ }),
    }
}

/// `YYYY-MM-DD`; an offset after it means nothing (JDBC sends one).
pub(super) fn date_from_text(text: &str) -> Result<i32, ValueError> {
    let mut scan = Scan { rest: trim(text).as_bytes() };
    let read = |scan: &mut Scan| {
        let days = scan.date()?;
        if scan.take(b' ') {
            scan.offset_seconds()?;
        }
        scan.rest.is_empty().then_some(days)
    };
    read(&mut scan)
        .and_then(|days| i32::try_from(days).ok())
        .ok_or(ValueError::NeedsServer { type_name: "date" })
}

/// `YYYY-MM-DD HH:MM[:SS[.ffffff]]` (or a T between), followed by Z or an offset.
pub(super) fn timestamptz_from_text(text: &str) -> Result<i64, ValueError> {
    let mut scan = Scan { rest: trim(text).as_bytes() };
    scan.timestamptz().ok_or(ValueError::NeedsServer { type_name: TIMESTAMPTZ })
}

struct Scan<'a> {
    rest: &'a [u8],
}

impl Scan<'_> {
    fn take(&mut self, byte: u8) -> bool {
        match self.rest.split_first() {
            Some((&first, rest)) if first == byte => {
                self.rest = rest;
                true
            }
            Some(_) | None => false,
        }
    }

    fn require(&mut self, byte: u8) -> Option<()> {
        self.take(byte).then_some(())
    }

    /// Exactly `count` digits.
    fn digits(&mut self, count: usize) -> Option<i64> {
        let (digits, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        digits.iter().try_fold(0, |value, byte| {
            byte.is_ascii_digit().then(|| value * 10 + i64::from(byte - b'0'))
        })
    }

    /// Days since 2000-01-01.
    fn date(&mut self) -> Option<i64> {
        let year = self.digits(4)?;
        self.require(b'-')?;
        let month = self.digits(2)?;
        self.require(b'-')?;
        let day = self.digits(2)?;
        let valid = year >= 1 && (1..=12).contains(&month) && day >= 1;
        (valid && day <= days_in_month(year, month))
            .then(|| days_from_civil(year, month, day) - EPOCH_DAYS)
    }

    fn timestamptz(&mut self) -> Option<i64> {
        let days = self.date()?;
        if !self.take(b' ') {
            self.require(b'T')?;
        }
        let hour = self.digits(2)?;
        self.require(b':')?;
        let minute = self.digits(2)?;
        let (mut second, mut micros) = (0, 0);
        if self.take(b':') {
            second = self.digits(2)?;
            if self.take(b'.') {
                micros = self.fraction()?;
            }
        }
        if hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        self.take(b' ');
        let offset = self.offset_seconds()?;
        let seconds = hour * 3600 + minute * 60 + second - offset;
        self.rest.is_empty().then_some(days * MICROS_PER_DAY + seconds * MICROS_PER_SECOND + micros)
    }

    /// One to six digits; more would be rounded.
    fn fraction(&mut self) -> Option<i64> {
        let count = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let scale = 10i64.pow(6u32.checked_sub(u32::try_from(count).ok()?)?);
        (count > 0).then_some(())?;
        Some(self.digits(count)? * scale)
    }

    /// `Z`, `±HH`, `±HHMM`, `±HH:MM`, `±HH:MM:SS`; east is positive.
    fn offset_seconds(&mut self) -> Option<i64> {
        if self.take(b'Z') {
            return Some(0);
        }
        let sign = if self.take(b'-') { -1 } else { self.require(b'+').map(|()| 1)? };
        let hours = self.digits(2)?;
        let (mut minutes, mut seconds) = (0, 0);
        if self.take(b':') {
            minutes = self.digits(2)?;
            if self.take(b':') {
                seconds = self.digits(2)?;
            }
        } else if !self.rest.is_empty() {
            minutes = self.digits(2)?;
        }
        let valid = hours <= 15 && minutes <= 59 && seconds <= 59;
        valid.then_some(sign * (hours * 3600 + minutes * 60 + seconds))
    }
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 => 28 + i64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 in the Gregorian calendar, extended both ways. Years begin in March here,
/// so that the leap day is a year's last day.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year
        - 719_468
}

/// Year (1 BC is 0), month and day; the inverse of `days_from_civil`.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

pub(super) fn date_text(days: i32) -> String {
    match days {
        i32::MAX => "infinity".to_owned(),
        i32::MIN => "-infinity".to_owned(),
        _ => {
            let (date, era) = civil_text(i64::from(days));
            date + era
        }
    }
}

pub(super) fn timestamptz_text(micros: i64) -> String {
    match micros {
        i64::MAX => return "infinity".to_owned(),
        i64::MIN => return "-infinity".to_owned(),
        _ => {}
    }
    let (date, era) = civil_text(micros.div_euclid(MICROS_PER_DAY));
    let in_day = micros.rem_euclid(MICROS_PER_DAY);
    let (second, fraction) = (in_day / MICROS_PER_SECOND, in_day % MICROS_PER_SECOND);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let fraction = match fraction {
        0 => String::new(),
        micros => format!(".{micros:06}").trim_end_matches('0').to_owned(),
    };
    format!("{date} {hour:02}:{minute:02}:{second:02}{fraction}+00{era}")
}

/// A moment so long after the beginning of 1970, to the second: `2026-11-23 12:13:15 UTC`.
pub fn utc(since_1970: std::time::Duration) -> String {
    let second = since_1970.as_secs();
    let days = i64::try_from(second / 86_400).unwrap_or(i64::MAX / 2);
    let (year, month, day) = civil_from_days(days);
    let (hour, minute, second) = (second / 3600 % 24, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

/// The date and what follows everything else in years before Christ.
fn civil_text(days: i64) -> (String, &'static str) {
    let (year, month, day) = civil_from_days(days + EPOCH_DAYS);
    let (year, era) = if year > 0 { (year, "") } else { (1 - year, " BC") };
    (format!("{year:04}-{month:02}-{day:02}"), era)
}
