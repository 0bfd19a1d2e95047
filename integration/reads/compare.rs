//! Two answers to one statement: are they the same as far as PostgreSQL's answer is determined?
//!
//! - Rows come in the order that ORDER BY says; rows that are equal in its keys in any order.
//! - Of values that are equal but look different (1.0 and 1.00, 'a' and 'A' under a collation that says
//!   so) a group, DISTINCT, UNION, min and max show any: these are compared by what they are equal in.
//! - Floats that are added up from inexact ones (sum, avg, stddev) agree in ten digits: PostgreSQL's own
//!   parallel plans promise no more.
//! - Of errors SQLSTATE counts.
use super::make::Certainty;
use crate::oracle::answer::{Answer, Said};
use crate::oracle::statement::Order;
use crate::oracle::talk::Results;

/// What is left of an answer when all that is not determined is taken away.
pub fn essence(
    answer: &Answer,
    order: Order,
    certainties: &[Certainty],
    results: Results,
) -> Vec<Said> {
    let kinds: Vec<String> = answer
        .said
        .iter()
        .find_map(|said| match said {
            Said::Columns(columns) => {
                Some(columns.iter().map(|column| column.kind.clone()).collect())
            }
            _ => None,
        })
        .unwrap_or_default();
    let mut plain = answer.clone();
    for said in &mut plain.said {
        let Said::Row(values) = said else { continue };
        for (at, value) in values.iter_mut().enumerate() {
            let certainty = certainty(certainties, at, kinds.len());
            if let (Some(bytes), Some(kind)) = (value.as_mut(), kinds.get(at)) {
                settle(bytes, kind, certainty, results);
            }
        }
    }
    let failed = plain.said.iter().any(|said| matches!(said, Said::Error(_)));
    let mut said = plain.comparable(&[order, order]);
    if failed {
        said.retain(|said| matches!(said, Said::Error(_) | Said::Ready(_) | Said::Gone));
    }
    for said in &mut said {
        if let Said::Error(failure) = said {
            *said = Said::Other(format!("error {}", failure.code));
        }
    }
    said
}

/// `SELECT *` behind USING has fewer columns than its sources: then each may be any.
fn certainty(certainties: &[Certainty], at: usize, columns: usize) -> Certainty {
    let known = (certainties.len() == columns).then(|| certainties[at]);
    known.or(certainties.iter().max().copied()).unwrap_or(Certainty::Exact)
}

/// Gives equal values one look.
fn settle(bytes: &mut Vec<u8>, kind: &str, certainty: Certainty, results: Results) {
    match (certainty, kind) {
        (Certainty::Exact, _) => {}
        (Certainty::Near, "700" | "701") => {
            *bytes = format!("{:.9e}", tiny_is_nothing(float(bytes, results))).into_bytes();
        }
        (_, "700" | "701") => *bytes = (float(bytes, results) + 0.0).to_string().into_bytes(),
        (_, "1700") => numeric(bytes, results),
        (_, "1186") => *bytes = microseconds(bytes, results).to_string().into_bytes(),
        (Certainty::Faces, "25" | "1043" | "citext") => bytes.make_ascii_lowercase(),
        (Certainty::Faces | Certainty::Near, _) => {}
    }
}

fn float(bytes: &[u8], results: Results) -> f64 {
    match (results, bytes.len()) {
        (Results::Binary, 4) => f64::from(f32::from_be_bytes(*bytes.first_chunk().unwrap())),
        (Results::Binary, _) => f64::from_be_bytes(*bytes.first_chunk().unwrap()),
        (Results::Text, _) => std::str::from_utf8(bytes).unwrap().parse().unwrap(),
    }
}

/// What is left when sums cancel each other out.
fn tiny_is_nothing(value: f64) -> f64 {
    if value.abs() < 1e-9 { 0.0 } else { value }
}

fn numeric(bytes: &mut Vec<u8>, results: Results) {
    match results {
        // Digits, weight, sign: then how many digits are shown behind the point.
        Results::Binary => bytes[6..8].fill(0),
        Results::Text if bytes.contains(&b'.') => {
            let kept = bytes.iter().rposition(|&byte| byte != b'0').unwrap_or(0);
            bytes.truncate(if bytes[kept] == b'.' { kept } else { kept + 1 });
        }
        Results::Text => {}
    }
}

/// PostgreSQL compares intervals with months of 30 days and days of 24 hours.
fn microseconds(bytes: &[u8], results: Results) -> i128 {
    const DAY: i128 = 86_400_000_000;
    match results {
        Results::Binary => {
            let time = i64::from_be_bytes(*bytes.first_chunk().unwrap());
            let days = i32::from_be_bytes(*bytes[8..].first_chunk().unwrap());
            let months = i32::from_be_bytes(*bytes[12..].first_chunk().unwrap());
            i128::from(time) + DAY * i128::from(days) + 30 * DAY * i128::from(months)
        }
        Results::Text => {
            let text = std::str::from_utf8(bytes).unwrap();
            let words: Vec<&str> = text.split(' ').collect();
            let mut sum = 0;
            for pair in words.chunks(2) {
                match pair {
                    [number, unit] => {
                        let number: i128 = number.parse().unwrap();
                        sum += number
                            * match unit.trim_end_matches('s') {
                                "year" => 360 * DAY,
                                "mon" => 30 * DAY,
                                _ => DAY,
                            };
                    }
                    [time] => sum += time_of_day(time),
                    _ => {}
                }
            }
            sum
        }
    }
}

/// `-12:34:56.789`
fn time_of_day(text: &str) -> i128 {
    let positive = text.trim_start_matches('-');
    let mut parts = positive.splitn(3, ':').map(|part| part.parse::<f64>().unwrap());
    let mut next = || parts.next().unwrap_or(0.0);
    let seconds = next() * 3600.0 + next() * 60.0 + next();
    let sum = (seconds * 1e6).round() as i128;
    if positive.len() < text.len() { -sum } else { sum }
}

#[test]
fn what_is_equal_to_postgresql_gets_one_look() {
    let look = |text: &str, kind: &str| {
        let mut bytes = text.as_bytes().to_vec();
        settle(&mut bytes, kind, Certainty::Faces, Results::Text);
        String::from_utf8(bytes).unwrap()
    };
    assert_eq!(look("1.50", "1700"), "1.5");
    assert_eq!(look("100", "1700"), look("100.00", "1700"));
    assert_eq!(look("1 mon", "1186"), look("30 days", "1186"));
    assert_eq!(look("1 day -01:00:00", "1186"), look("23:00:00", "1186"));
    assert_ne!(look("1 day", "1186"), look("23:00:00", "1186"));
    assert_eq!(look("-0", "701"), look("0", "701"));
    let near = |value: f64| {
        let mut bytes = value.to_be_bytes().to_vec();
        settle(&mut bytes, "701", Certainty::Near, Results::Binary);
        bytes
    };
    assert_eq!(near(0.1 + 0.2), near(0.3));
    assert_ne!(near(0.300_000_01), near(0.3));
}
