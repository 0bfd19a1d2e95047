//! Merging against what it has to be equal to: a naive model, and PostgreSQL's own words.
use super::key::{FLOAT8, INTERVAL, Part, Purpose, Reader};
use super::numeric::{Number, Sum};
use super::*;
use crate::plan::several::{
    Collation, Combine, Count, Direction, Merge, Nulls, Role, Rows, SortKey, Ties,
};
use crate::sql::rewrite::Template;
use crate::wire::value::oid;
use proptest::prelude::*;
use std::cmp::Ordering;

const EXACT: Printing =
    Printing { iso_dates: true, floats_exact: true, bytes_alike: true, texts_as_stored: true };

fn key(type_oid: Oid, format: Format, value: &[u8]) -> Vec<u8> {
    let column = Column { type_oid, format };
    let reader = Reader::of(column, Purpose::Order(Collation::Bytes), EXACT).unwrap();
    let mut key = Vec::new();
    reader.put(value, &mut key).unwrap();
    key
}

fn text_key(type_oid: Oid, value: &str) -> Vec<u8> {
    key(type_oid, Format::Text, value.as_bytes())
}

/// Texts of a type, each less than the next.
#[track_caller]
fn ascend(type_oid: Oid, texts: &[&str]) {
    for pair in texts.windows(2) {
        assert!(text_key(type_oid, pair[0]) < text_key(type_oid, pair[1]), "{pair:?}");
    }
}

#[test]
fn texts_compare_as_the_values_they_stand_for() {
    ascend(oid::INT4, &["-10", "-9", "0", "7", "10"]);
    ascend(
        oid::NUMERIC,
        &[
            "-Infinity",
            "-10000",
            "-9999.5",
            "-0.001",
            "0",
            "0.00005",
            "0.1",
            "1",
            "9.99",
            "10.1",
            "99999999999",
            "Infinity",
            "NaN",
        ],
    );
    ascend(FLOAT8, &["-Infinity", "-1e+20", "-0.5", "0", "1e-300", "3", "Infinity", "NaN"]);
    ascend(oid::BOOL, &["f", "t"]);
    ascend(
        oid::DATE,
        &[
            "-infinity",
            "0044-03-15 BC",
            "0001-12-31 BC",
            "0001-01-01",
            "1999-12-31",
            "2024-02-29",
            "2024-03-01",
            "12000-01-01",
            "infinity",
        ],
    );
    let timestamptz = [
        "2026-01-01 00:00:00+02",
        "2025-12-31 23:00:00.5+00",
        "2025-12-31 20:00:00-05",
        "2026-01-01 12:00:00+05:30",
    ];
    ascend(oid::TIMESTAMPTZ, &timestamptz);
    assert_eq!(
        text_key(oid::TIMESTAMPTZ, "2026-01-01 00:00:00+01"),
        text_key(oid::TIMESTAMPTZ, "2025-12-31 18:30:00-04:30")
    );
    assert_eq!(text_key(oid::NUMERIC, "1.00"), text_key(oid::NUMERIC, "1"));
    assert_eq!(text_key(FLOAT8, "-0"), text_key(FLOAT8, "0"));
    assert_eq!(text_key(oid::BPCHAR, "a  "), text_key(oid::BPCHAR, "a"));
    assert!(text_key(oid::TEXT, "a") < text_key(oid::TEXT, "a "));
}

#[test]
fn text_without_a_known_order_is_not_begun() {
    let text = Column { type_oid: oid::TEXT, format: Format::Text };
    for (column, purpose, printing) in [
        (text, Purpose::Order(Collation::Unknown), EXACT),
        (text, Purpose::Equality(Collation::Unknown), EXACT),
        (Column { type_oid: Oid(20_000), ..text }, Purpose::Equality(Collation::Bytes), EXACT),
        (Column { type_oid: INTERVAL, ..text }, Purpose::Equality(Collation::Bytes), EXACT),
        (
            Column { type_oid: oid::DATE, ..text },
            Purpose::Order(Collation::Bytes),
            Printing { iso_dates: false, ..EXACT },
        ),
        (text, Purpose::Equality(Collation::Bytes), Printing { texts_as_stored: false, ..EXACT }),
        (
            Column { type_oid: Oid(17), ..text },
            Purpose::Equality(Collation::Bytes),
            Printing { bytes_alike: false, ..EXACT },
        ),
        (
            Column { type_oid: FLOAT8, ..text },
            Purpose::Equality(Collation::Bytes),
            Printing { floats_exact: false, ..EXACT },
        ),
    ] {
        assert_eq!(Reader::of(column, purpose, printing), None, "{column:?}");
    }
}

#[test]
fn floats_are_printed_as_postgresql_prints_them() {
    // As PostgreSQL 15 printed them.
    for (value, text) in [
        (0.1 + 0.2, "0.30000000000000004"),
        (1e15, "1e+15"),
        (123456789012345.0, "123456789012345"),
        (1e-5, "1e-05"),
        (0.0001, "0.0001"),
        (-2.5e-7, "-2.5e-07"),
        (1.0, "1"),
        (-0.0, "-0"),
        (1.7976931348623157e308, "1.7976931348623157e+308"),
        (f64::INFINITY, "Infinity"),
    ] {
        assert_eq!(float::float8_text(value), text);
    }
    for (value, text) in [(1e6f32, "1e+06"), (123456.0, "123456"), (0.1, "0.1")] {
        assert_eq!(float::float4_text(value), text);
    }
}

#[test]
fn sums_of_groups_go_out_of_range_as_in_postgresql() {
    let sum = |values: &[i64]| {
        let groups = Rows::Groups(vec![Role::Combine(Combine::Sum)]);
        let rows = values.iter().map(|value| vec![Some(value.to_string())]).collect();
        run(&merge(groups, vec![]), &[oid::INT8], &[rows], None, 0)
    };
    assert_eq!(sum(&[i64::MAX, -1]), Ok(vec![vec![Some((i64::MAX - 1).to_string())]]));
    assert_eq!(sum(&[i64::MAX, 1]), Err(MergeError::OutOfRange("bigint")));
}

#[test]
fn a_group_keeps_nulls_apart_and_combines_what_is_not_null() {
    let roles = vec![
        Role::Key,
        Role::Combine(Combine::Sum),
        Role::Combine(Combine::Min),
        Role::Combine(Combine::Or),
    ];
    let sorted = vec![sort(0, Direction::Ascending, Nulls::Last)];
    let row = |values: [Option<&str>; 4]| values.map(|v| v.map(str::to_owned)).to_vec();
    let streams = [
        vec![row([Some("1"), Some("1.5"), Some("2026-01-02"), None])],
        vec![
            row([None, None, None, Some("f")]),
            row([Some("1"), Some("2.50"), Some("2025-01-02"), Some("t")]),
        ],
        vec![row([None, None, Some("infinity"), Some("f")])],
    ];
    let types = [oid::INT4, oid::NUMERIC, oid::DATE, oid::BOOL];
    assert_eq!(
        run(&merge(Rows::Groups(roles), sorted), &types, &streams, None, 0),
        Ok(vec![
            row([Some("1"), Some("4.00"), Some("2025-01-02"), Some("t")]),
            row([None, None, Some("infinity"), Some("f")]),
        ])
    );
}

#[test]
fn more_groups_than_memory_are_an_error() {
    let merge = merge(Rows::Groups(vec![Role::Key]), vec![]);
    let columns = [Column { type_oid: oid::INT4, format: Format::Text }];
    let bounds = Bounds { offset: 0, limit: None, bytes: 2_000 };
    let mut merger = Merger::new(&merge, &columns, 1, bounds, EXACT).unwrap();
    let pushed = (0..100).try_for_each(|n: i32| merger.push(0, message(&[Some(n.to_string())])));
    assert_eq!(pushed, Err(MergeError::TooLarge));
}

/// How many rows are taken before the first is given, and of how many.
fn taken_before_the_first(order: Vec<SortKey>, limit: Option<u64>, bytes: usize) -> Option<i32> {
    let merge = merge(Rows::Distinct, order);
    let columns = [Column { type_oid: oid::INT4, format: Format::Text }];
    let bounds = Bounds { offset: 3, limit, bytes };
    let mut merger = Merger::new(&merge, &columns, 1, bounds, EXACT).unwrap();
    for n in 0.. {
        match merger.step() {
            Ok(Step::Row(_)) => return Some(n),
            Ok(Step::Any | Step::Of(_)) if n < 1000 => {
                merger.push(0, message(&[Some((n / 2).to_string())])).unwrap();
            }
            Ok(Step::Any | Step::Of(_)) => merger.end(0),
            Ok(Step::Done) | Err(_) => return None,
        }
    }
    None
}

#[test]
fn distinct_rows_are_given_as_soon_as_no_more_are_needed() {
    let sorted = || vec![sort(0, Direction::Ascending, Nulls::Last)];
    // The fourth of them.
    assert_eq!(taken_before_the_first(sorted(), None, 0), Some(7));
    // The seventh: 3 and 4.
    assert_eq!(taken_before_the_first(vec![], Some(4), 1 << 20), Some(13));
    assert_eq!(taken_before_the_first(vec![], None, 1 << 20), Some(1001));
    assert_eq!(taken_before_the_first(vec![], None, 1000), None);
}

type Value = Option<String>;

fn merge(rows: Rows, order: Vec<SortKey>) -> Merge {
    Merge {
        query: Template::default(),
        hidden: 0,
        visible: None,
        rows,
        texts: Collation::Bytes,
        order,
        offset: None,
        limit: None,
        ties: Ties::Cut,
    }
}

fn sort(column: usize, direction: Direction, nulls: Nulls) -> SortKey {
    SortKey { column, direction, nulls, collation: Collation::Bytes }
}

fn message(values: &[Value]) -> Bytes {
    let values: Vec<Option<&[u8]>> =
        values.iter().map(|value| value.as_ref().map(|text| text.as_bytes())).collect();
    let mut message = BytesMut::new();
    encode::data_row(&values, &mut message);
    message.freeze()
}

/// Gives the merger what it wants until it is done.
fn run(
    merge: &Merge,
    types: &[Oid],
    streams: &[Vec<Vec<Value>>],
    limit: Option<u64>,
    offset: u64,
) -> Result<Vec<Vec<Value>>, MergeError> {
    let column = |&type_oid: &Oid| Column { type_oid, format: Format::Text };
    let columns: Vec<Column> = types.iter().map(column).collect();
    let bounds = Bounds { offset, limit, bytes: 1 << 20 };
    let mut merger = Merger::new(merge, &columns, streams.len(), bounds, EXACT).unwrap();
    let mut left: Vec<_> = streams.iter().map(|rows| rows.iter()).collect();
    let (mut answer, mut ended) = (Vec::new(), vec![false; streams.len()]);
    loop {
        let stream = match merger.step()? {
            Step::Done => return Ok(answer),
            Step::Row(row) => {
                let text = |value: Option<&[u8]>| {
                    value.map(|bytes| String::from_utf8(bytes.to_vec()).unwrap())
                };
                answer.push(values(&row)?.into_iter().map(text).collect());
                continue;
            }
            Step::Of(stream) => stream,
            Step::Any => ended.iter().position(|ended| !ended).unwrap(),
        };
        assert!(!ended[stream], "nothing is wanted of a stream that has ended");
        match left[stream].next() {
            Some(row) => merger.push(stream, message(row))?,
            None => {
                ended[stream] = true;
                merger.end(stream);
            }
        }
    }
}

/// As ORDER BY says.
fn compare(a: &[Value], b: &[Value], order: &[SortKey]) -> Ordering {
    let one = |key: &SortKey| {
        let number = |row: &[Value]| row[key.column].as_ref().map(|t| t.parse::<i64>().unwrap());
        match (number(a), number(b)) {
            (Some(a), Some(b)) if key.direction == Direction::Descending => b.cmp(&a),
            (Some(a), Some(b)) => a.cmp(&b),
            (None, None) => Ordering::Equal,
            (None, Some(_)) if key.nulls == Nulls::First => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(_), None) if key.nulls == Nulls::First => Ordering::Greater,
            (Some(_), None) => Ordering::Less,
        }
    };
    order.iter().map(one).find(|by| by.is_ne()).unwrap_or(Ordering::Equal)
}

fn row() -> impl Strategy<Value = Vec<Value>> {
    let value = || proptest::option::weighted(0.8, (-3i64..4).prop_map(|n| n.to_string()));
    (value(), value()).prop_map(|(a, b)| vec![a, b])
}

fn order() -> impl Strategy<Value = Vec<SortKey>> {
    let direction = prop_oneof![Just(Direction::Ascending), Just(Direction::Descending)];
    let nulls = prop_oneof![Just(Nulls::First), Just(Nulls::Last)];
    let key = (0usize..2, direction, nulls);
    prop::collection::vec(key, 1..3)
        .prop_map(|keys| keys.into_iter().map(|(c, d, n)| sort(c, d, n)).collect())
}

/// A decimal with its digits after the point.
fn decimal() -> impl Strategy<Value = (i128, u32)> {
    (-(10i128.pow(24))..10i128.pow(24), 0u32..12)
}

fn printed((units, scale): (i128, u32)) -> String {
    let magnitude = units.unsigned_abs();
    let power = 10u128.pow(scale);
    let sign = if units < 0 { "-" } else { "" };
    let (whole, fraction) = (magnitude / power, magnitude % power);
    match scale {
        0 => format!("{sign}{whole}"),
        _ => format!("{sign}{whole}.{fraction:0width$}", width = scale as usize),
    }
}

proptest! {
    #[test]
    fn sorted_streams_become_one_that_is_sorted(
        mut streams in prop::collection::vec(prop::collection::vec(row(), 0..12), 1..5),
        order in order(),
        limit in proptest::option::of(0u64..20),
        offset in 0u64..6,
        ties: bool,
    ) {
        for rows in &mut streams {
            rows.sort_by(|a, b| compare(a, b, &order));
        }
        let mut expected = streams.concat();
        expected.sort_by(|a, b| compare(a, b, &order));
        let end = limit.map_or(usize::MAX, |limit| (offset + limit) as usize);
        let start = (offset as usize).min(expected.len());
        let mut cut = end.min(expected.len()).max(start);
        while ties && limit != Some(0) && cut > start && cut < expected.len()
            && compare(&expected[cut - 1], &expected[cut], &order).is_eq()
        {
            cut += 1;
        }
        let mut merge = merge(Rows::All, order);
        merge.ties = if ties { Ties::Kept } else { Ties::Cut };
        merge.limit = limit.map(Count::Number);
        let answer = run(&merge, &[oid::INT8, oid::INT4], &streams, limit, offset).unwrap();
        prop_assert_eq!(answer, &expected[start..cut]);
    }

    #[test]
    fn of_equal_rows_one_is_given(
        mut streams in prop::collection::vec(prop::collection::vec(row(), 0..12), 1..5),
        order in order(),
        sorted: bool,
    ) {
        let order = if sorted { order } else { Vec::new() };
        for rows in &mut streams {
            rows.sort_by(|a, b| compare(a, b, &order));
        }
        let mut expected = streams.concat();
        expected.sort();
        expected.dedup();
        let mut answer =
            run(&merge(Rows::Distinct, order.clone()), &[oid::INT8, oid::INT4], &streams, None, 0)
                .unwrap();
        prop_assert!(answer.is_sorted_by(|a, b| compare(a, b, &order).is_le()));
        answer.sort();
        prop_assert_eq!(answer, expected);
    }

    #[test]
    fn numbers_of_any_scale_are_ordered_by_value(a in decimal(), b in decimal()) {
        let unit = |(units, scale): (i128, u32)| units * 10i128.pow(11 - scale);
        let [left, right] = [a, b].map(|n| text_key(oid::NUMERIC, &printed(n)));
        prop_assert_eq!(left.cmp(&right), unit(a).cmp(&unit(b)));
        let binary = |n| Number::from_text(&printed(n)).unwrap().to_binary();
        prop_assert_eq!(&left, &key(oid::NUMERIC, Format::Binary, &binary(a)));
    }

    #[test]
    fn numbers_are_printed_as_they_came(number in decimal()) {
        let text = printed(number);
        let read = Number::from_text(&text).unwrap();
        prop_assert_eq!(&Number::from_binary(&read.to_binary()).unwrap(), &read);
        // There is no -0 in numeric.
        let expected = if number.0 == 0 { text.replace('-', "") } else { text };
        prop_assert_eq!(read.to_text(), expected);
    }

    #[test]
    fn sums_are_exact_and_have_the_largest_scale(
        numbers in prop::collection::vec(decimal(), 1..20),
    ) {
        let mut sum = Sum::default();
        for number in &numbers {
            sum.add(&Number::from_text(&printed(*number)).unwrap());
        }
        let scale = numbers.iter().map(|(_, scale)| *scale).max().unwrap();
        let units = numbers.iter().map(|(units, s)| units * 10i128.pow(scale - s)).sum();
        prop_assert_eq!(sum.result().unwrap().to_text(), printed((units, scale)));
    }

    #[test]
    fn bytes_and_floats_are_ordered_by_value(a: Vec<u8>, b: Vec<u8>, x: f64, y: f64) {
        let bytea = |value: &[u8]| key(Oid(17), Format::Binary, value);
        prop_assert_eq!(bytea(&a).cmp(&bytea(&b)), a.cmp(&b));
        let float = |value: f64| key(FLOAT8, Format::Binary, &value.to_be_bytes());
        if let Some(expected) = x.partial_cmp(&y) {
            prop_assert_eq!(float(x).cmp(&float(y)), expected);
        }
        prop_assert_eq!(&float(x), &text_key(FLOAT8, &float::float8_text(x)));
    }

    #[test]
    fn what_is_no_value_is_told(value: Vec<u8>, kind in 0usize..9) {
        let types = [16, 20, 701, 1700, 1082, 1184, 1186, 2950, 1266];
        let column = Column { type_oid: Oid(types[kind]), format: Format::Binary };
        let part = Part::equal(0, &[column], Collation::Bytes, EXACT).unwrap();
        // It ends one way or the other, without a panic.
        let _ = part.put(Some(&value), &mut Vec::new());
    }
}
