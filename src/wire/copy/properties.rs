//! Whatever is written as COPY data is cut into the same rows again, however it comes.
use super::{Field, Format, Malformed, Next, Output, Quotes, Rows, Signs, Wanted};
use crate::wire::{encode, frame};
use bytes::BytesMut;
use proptest::prelude::*;

const LIMIT: usize = 1 << 20;

type Value = Option<Vec<u8>>;

/// What was cut: rows with their fields, or what stopped it.
#[derive(PartialEq, Eq, Debug, Default)]
struct Told {
    headers: Vec<Vec<u8>>,
    rows: Vec<Vec<u8>>,
    fields: Vec<Vec<Option<Value>>>,
    stopped: Option<String>,
}

fn signs() -> Signs {
    Signs { delimiter: b'\t', null: b"\\N".to_vec(), header: false }
}

fn comma() -> Signs {
    Signs { delimiter: b',', null: Vec::new(), header: false }
}

const QUOTES: Quotes = Quotes { quote: b'"', escape: b'"' };

/// Everything that can be told of data that comes in pieces, with so many fields of each row.
fn told(format: &Format, pieces: &[&[u8]], fields: usize) -> Told {
    let mut rows = Rows::new(format.clone(), LIMIT);
    let (mut told, mut room) = (Told::default(), Vec::new());
    let mut pieces = pieces.iter();
    loop {
        match rows.cut() {
            Err(malformed) => {
                told.stopped = Some(format!("{malformed:?}"));
                return told;
            }
            Ok(Next::Broken(_)) => {
                told.stopped = Some("broken".into());
                return told;
            }
            Ok(Next::End) => return told,
            Ok(Next::More) => match pieces.next() {
                Some(piece) => rows.push(piece),
                None => rows.end(),
            },
            Ok(Next::Header(header)) => told.headers.push(rows.bytes(&header).to_vec()),
            Ok(Next::Row { row, data }) => {
                told.rows.push(rows.bytes(&row).to_vec());
                let mut of_row = Vec::new();
                for at in 0..fields {
                    let wanted = Wanted { at, force_null: false, force_not_null: false };
                    of_row.push(match rows.field(&data, wanted, &mut room) {
                        Field::Null => Some(None),
                        Field::Value(value) => Some(Some(value.to_vec())),
                        Field::Broken => None,
                    });
                }
                told.fields.push(of_row);
            }
        }
    }
}

fn pieces<'d>(data: &'d [u8], cuts: &[usize]) -> Vec<&'d [u8]> {
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (data.len() + 1)).collect();
    ends.sort_unstable();
    ends.push(data.len());
    let mut start = 0;
    let piece = |end: usize| {
        let piece = &data[start..end];
        start = end;
        piece
    };
    ends.into_iter().map(piece).collect()
}

/// What weir writes of these rows.
fn written(format: &Format, rows: &[Vec<Value>], forced: bool) -> Vec<u8> {
    let width = rows.first().map_or(0, Vec::len);
    let mut output = Output::new(format.clone(), vec![forced; width]);
    let (mut out, mut body) = (BytesMut::new(), BytesMut::new());
    let names = vec![b"name".as_slice(); width];
    output.begin(names.into_iter(), &mut out);
    for row in rows {
        body.clear();
        let values: Vec<Option<&[u8]>> = row.iter().map(Option::as_deref).collect();
        encode::data_row(&values, &mut body);
        output.row(&body[frame::HEADER..], &mut out).unwrap();
    }
    output.end(&mut out);
    let (mut data, mut rest) = (Vec::new(), &out[..]);
    while let Ok(Some(header)) = frame::scan(rest, usize::MAX) {
        if header.kind == b'd' {
            data.extend_from_slice(&rest[frame::HEADER..header.len]);
        }
        rest = &rest[header.len..];
    }
    data
}

fn formats() -> impl Strategy<Value = Format> {
    let header = any::<bool>();
    let text = (header, prop::sample::select(vec![b'\t', b'|', b',', 0x01]));
    let text =
        text.prop_map(|(header, delimiter)| Format::Text(Signs { delimiter, header, ..signs() }));
    let escapes =
        prop::sample::select(vec![(b'"', b'"'), (b'"', b'\\'), (b'\'', b'e'), (b'x', b'x')]);
    let csv = (any::<bool>(), escapes, prop::sample::select(vec![&b""[..], b"NULL", b"\\N"]));
    let csv = csv.prop_map(|(header, (quote, escape), null)| {
        Format::Csv(Signs { header, null: null.to_vec(), ..comma() }, Quotes { quote, escape })
    });
    prop_oneof![text, csv, Just(Format::Binary)]
}

/// Bytes that mean something in one of the formats, and some that do not.
fn value() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        prop::sample::select(b"\\.\"'\n\r\t,|ex0N1".to_vec()),
        any::<u8>().prop_filter("no zero", |byte| *byte > 0),
    ];
    prop::collection::vec(byte, 0..12)
}

fn table() -> impl Strategy<Value = Vec<Vec<Value>>> {
    (1usize..4).prop_flat_map(|width| {
        let row = prop::collection::vec(prop::option::of(value()), width);
        prop::collection::vec(row, 0..8)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(800))]

    #[test]
    fn what_is_written_is_read_again(
        format in formats(), rows in table(), forced: bool, cuts: Vec<usize>,
    ) {
        let data = written(&format, &rows, forced);
        let width = rows.first().map_or(0, Vec::len);
        let told = told(&format, &pieces(&data, &cuts), width);
        prop_assert_eq!(&told.stopped, &None);
        let expected: Vec<Vec<Option<Value>>> =
            rows.iter().map(|row| row.iter().cloned().map(Some).collect()).collect();
        prop_assert_eq!(&told.fields, &expected);
        let mut again = told.headers.concat();
        again.extend(told.rows.concat());
        if format == Format::Binary {
            again.extend((-1_i16).to_be_bytes());
        }
        prop_assert_eq!(again, data);
    }

    #[test]
    fn any_bytes_are_cut_alike_however_they_come(
        format in formats(), data in prop::collection::vec(value(), 0..20), cuts: Vec<usize>,
    ) {
        let data = data.concat();
        let whole = told(&format, &[&data], 3);
        prop_assert_eq!(&told(&format, &pieces(&data, &cuts), 3), &whole);
        let bytes: Vec<&[u8]> = data.chunks(1).collect();
        prop_assert_eq!(&told(&format, &bytes, 3), &whole);
    }
}

fn check(format: Format, data: &str, rows: &[&str], stopped: Option<Malformed>) {
    let told = told(&format, &[data.as_bytes()], 1);
    let rows: Vec<Vec<u8>> = rows.iter().map(|row| row.as_bytes().to_vec()).collect();
    let stopped = stopped.map(|malformed| format!("{malformed:?}"));
    assert_eq!((told.rows, told.stopped), (rows, stopped), "{data:?}");
}

#[test]
fn lines_end_as_the_first_one_does() {
    let text = || Format::Text(signs());
    check(text(), "1\n2\n3", &["1\n", "2\n", "3"], None);
    check(text(), "1\r\n2\r\n", &["1\r\n", "2\r\n"], None);
    check(text(), "1\r2\r", &["1\r", "2\r"], None);
    check(text(), "1\\\n2\\\r\n", &["1\\\n2\\\r\n"], None);
    let wrong = Some(Malformed::CarriageReturn { quoted: false });
    check(text(), "1\n2\r\n", &["1\n"], wrong);
    check(text(), "1\r\n2\r3", &["1\r\n"], wrong);
    check(text(), "1\r2\n", &["1\r"], Some(Malformed::Newline { quoted: false }));
    let csv = || Format::Csv(comma(), QUOTES);
    check(csv(), "\"1\r\n\"\n2\n", &["\"1\r\n\"\n", "2\n"], None);
    check(csv(), "1\n2\r\n", &["1\n"], Some(Malformed::CarriageReturn { quoted: true }));
}

#[test]
fn the_end_marker_ends_the_data() {
    let text = || Format::Text(signs());
    check(text(), "1\n\\.\nx\ry", &["1\n"], None);
    check(text(), "1\n2\\.\nx", &["1\n", "2"], None);
    check(text(), "1\r\n\\.\r\nx", &["1\r\n"], None);
    check(text(), "1\\\\.\n", &["1\\\\.\n"], None);
    check(text(), "1\n\\.", &["1\n"], Some(Malformed::EndMarker));
    check(text(), "1\n\\.x\n", &["1\n"], Some(Malformed::EndMarker));
    check(text(), "1\n\\.\r\n", &["1\n"], Some(Malformed::EndMarkerStyle));
    check(text(), "1\r\n\\.\n", &["1\r\n"], Some(Malformed::EndMarkerStyle));
    let csv = || Format::Csv(comma(), QUOTES);
    check(csv(), "1\n\\.\nx", &["1\n"], None);
    check(csv(), "1\n\\.x\na\\.\n\\.", &["1\n", "\\.x\n", "a\\.\n", "\\."], None);
    check(csv(), "1\n\\.\r\n", &["1\n"], Some(Malformed::EndMarkerStyle));
}

#[test]
fn a_row_longer_than_the_limit_is_an_error() {
    let mut rows = Rows::new(Format::Csv(comma(), QUOTES), 10);
    rows.push(b"1\n\"234567890\n");
    assert!(matches!(rows.cut(), Ok(Next::Row { .. })));
    assert_eq!(rows.cut(), Err(Malformed::TooLong(10)));
}

#[test]
fn binary_data_is_checked_as_postgresql_does() {
    let header = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
    let check = |rest: &[u8], rows: usize, stopped: Option<&str>| {
        let told = told(&Format::Binary, &[header, rest], 1);
        assert_eq!((told.rows.len(), told.stopped.as_deref()), (rows, stopped), "{rest:?}");
    };
    check(b"\0\x01\0\0\0\x01x\xff\xff", 1, None);
    check(b"\0\x01\0\0\0\x01x", 1, None);
    check(b"\0", 0, None);
    check(b"\xff\xff\0", 0, Some("AfterTrailer"));
    check(b"\xff\xfe", 0, Some("broken"));
    check(b"\0\x01\xff\xff\xff\xfe", 0, Some("broken"));
    check(b"\0\x01\0\0\0\x02x", 0, Some("broken"));
    assert_eq!(told(&Format::Binary, &[b"PGCOPX"], 1).stopped.as_deref(), Some("broken"));
}
