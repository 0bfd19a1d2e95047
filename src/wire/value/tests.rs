//! What PostgreSQL accepts, refuses and prints; vectors come from a real server.
use super::*;
use proptest::prelude::*;

#[track_caller]
fn check(type_oid: Oid, text: &str, expected: Decoded) {
    assert_eq!(decode(Value::Text(text.as_bytes()), type_oid), Ok(expected), "{text:?}");
}

#[track_caller]
fn refused(type_oid: Oid, text: &str, code: &[u8; 5]) {
    let wrong = decode(Value::Text(text.as_bytes()), type_oid).expect_err(text);
    assert_eq!(Error::from(wrong).code, SqlState(*code), "{text:?}");
}

const BAD_SYNTAX: &[u8; 5] = b"22P02";
const OUT_OF_RANGE: &[u8; 5] = b"22003";
const NEEDS_SERVER: &[u8; 5] = b"0A000";

#[test]
fn integers_may_have_signs_zeros_and_space_around_them() {
    for text in ["42", "+42", "042", " 42\t", "\n\x0b\x0c\r42 "] {
        for type_oid in [oid::INT2, oid::INT4, oid::INT8, oid::OID] {
            if type_oid != oid::OID || text != "042" {
                check(type_oid, text, Decoded::Int(42));
            }
        }
    }
    check(oid::INT4, "-0", Decoded::Int(0));
}

#[test]
fn integers_reach_exactly_as_far_as_their_type() {
    for (type_oid, min, max) in [
        (oid::INT2, i64::from(i16::MIN), i64::from(i16::MAX)),
        (oid::INT4, i64::from(i32::MIN), i64::from(i32::MAX)),
        (oid::INT8, i64::MIN, i64::MAX),
    ] {
        check(type_oid, &min.to_string(), Decoded::Int(min));
        check(type_oid, &max.to_string(), Decoded::Int(max));
        refused(type_oid, &(i128::from(min) - 1).to_string(), OUT_OF_RANGE);
        refused(type_oid, &(i128::from(max) + 1).to_string(), OUT_OF_RANGE);
    }
    check(oid::OID, "4294967295", Decoded::Int(4_294_967_295));
    check(oid::OID, "-1", Decoded::Int(4_294_967_295));
    refused(oid::OID, "4294967296", OUT_OF_RANGE);
}

#[test]
fn what_is_no_integer_is_bad_syntax_or_newer_than_some_servers() {
    for text in ["", " ", "-", "+-1", "1 2", "42.0", "1e3", "abc", "4\u{a0}", "٤"] {
        refused(oid::INT4, text, BAD_SYNTAX);
    }
    for text in ["0x2A", "0b1", "-0o7", "1_000"] {
        refused(oid::INT4, text, NEEDS_SERVER);
        refused(oid::NUMERIC, text, NEEDS_SERVER);
    }
    refused(oid::OID, "010", NEEDS_SERVER);
}

#[test]
fn numerics_are_printed_as_postgresql_prints_them() {
    for (text, printed) in [
        ("42", "42"),
        (" +042.10 ", "42.10"),
        (".5", "0.5"),
        ("5.", "5"),
        ("-0", "0"),
        ("-0.00", "0.00"),
        ("1e3", "1000"),
        ("1.25E1", "12.5"),
        ("12.5e-3", "0.0125"),
        ("1.5e2", "150"),
        ("nan", "NaN"),
        ("-INF", "-Infinity"),
        ("+infinity", "Infinity"),
    ] {
        check(oid::NUMERIC, text, Decoded::Numeric(printed.to_owned()));
    }
    for text in ["", ".", "e5", "1e", "1.2.3", "-nan", "1 e5", "--1"] {
        refused(oid::NUMERIC, text, BAD_SYNTAX);
    }
    refused(oid::NUMERIC, "1e100000", NEEDS_SERVER);
}

#[test]
fn a_whole_numeric_equals_an_integer() {
    let as_int = |text| decode(Value::Text(text), oid::NUMERIC).unwrap().as_int();
    assert_eq!(as_int(b"42.000"), Some(42));
    assert_eq!(as_int(b"-9223372036854775808"), Some(i64::MIN));
    assert_eq!(as_int(b"42.5"), None);
    assert_eq!(as_int(b"1e30"), None);
    assert_eq!(as_int(b"NaN"), None);
}

#[test]
fn binary_numerics_print_the_same() {
    let numeric = |words: &[u16]| {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        decode(Value::Binary(&bytes), oid::NUMERIC)
            .map(|decoded| key_text(&decoded).unwrap().into_owned())
    };
    assert_eq!(numeric(&[2, 1, 0, 0, 1, 2345]).as_deref(), Ok("12345"));
    assert_eq!(numeric(&[1, 2, 0, 0, 5]).as_deref(), Ok("500000000"));
    assert_eq!(numeric(&[2, 0, 0x4000, 2, 42, 5000]).as_deref(), Ok("-42.50"));
    assert_eq!(numeric(&[1, 0xffff, 0, 4, 12]).as_deref(), Ok("0.0012"));
    assert_eq!(numeric(&[1, 0xfffe, 0, 8, 12]).as_deref(), Ok("0.00000012"));
    assert_eq!(numeric(&[0, 0, 0, 3]).as_deref(), Ok("0.000"));
    assert_eq!(numeric(&[0, 0, 0xc000, 0]).as_deref(), Ok("NaN"));
    assert!(numeric(&[1, 0, 0, 0, 10_000]).is_err());
    assert!(numeric(&[2, 0, 0, 0, 1]).is_err());
    assert!(numeric(&[0, 0, 1, 0]).is_err());
}

#[test]
fn texts_stay_as_they_are_except_where_the_type_says_otherwise() {
    check(oid::TEXT, " é ", Decoded::Text(" é "));
    check(oid::VARCHAR, "", Decoded::Text(""));
    check(oid::UNKNOWN, "x", Decoded::Text("x"));
    check(oid::BPCHAR, " a  ", Decoded::Text(" a"));
    let long = "é".repeat(40);
    check(oid::NAME, &long, Decoded::Text(&long[..62]));
    assert_eq!(decode(Value::Text(b"\xff"), oid::TEXT), Err(ValueError::NotUtf8));
    assert_eq!(decode(Value::Text(b"a\0"), oid::TEXT), Err(ValueError::NotUtf8));
}

#[test]
fn uuids_may_have_hyphens_after_any_four_digits() {
    let uuid = *b"\xa0\xee\xbc\x99\x9c\x0b\x4e\xf8\xbb\x6d\x6b\xb9\xbd\x38\x0a\x11";
    for text in [
        "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",
        "{a0eebc99-9c0b4ef8-bb6d6bb9-bd380a11}",
        "a0eebc999c0b4ef8bb6d6bb9bd380a11",
        "a0ee-bc99-9c0b-4ef8-bb6d-6bb9-bd38-0a11",
    ] {
        check(oid::UUID, text, Decoded::Uuid(uuid));
    }
    for text in [
        "",
        " a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11-",
        "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1",
        "a-0eebc999c0b4ef8bb6d6bb9bd380a11",
        "g0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
    ] {
        refused(oid::UUID, text, BAD_SYNTAX);
    }
    let text = key_text(&Decoded::Uuid(uuid)).unwrap();
    assert_eq!(text, "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11");
}

#[test]
fn booleans_may_be_shortened_while_they_stay_clear() {
    for text in ["t", "TRUE", " tru ", "y", "yes", "on", "1"] {
        check(oid::BOOL, text, Decoded::Bool(true));
    }
    for text in ["f", "False", "n", "no", "of", "off", "0"] {
        check(oid::BOOL, text, Decoded::Bool(false));
    }
    for text in ["", "o", "2", "truee", "10"] {
        refused(oid::BOOL, text, BAD_SYNTAX);
    }
}

#[test]
fn dates_are_read_in_iso_form_only() {
    check(oid::DATE, "2000-01-01", Decoded::Date(0));
    check(oid::DATE, " 2026-11-22 ", Decoded::Date(9_822));
    check(oid::DATE, "1999-12-31 +01", Decoded::Date(-1));
    check(oid::DATE, "2024-02-29", Decoded::Date(8_825));
    check(oid::DATE, "0001-01-01", Decoded::Date(-730_119));
    for text in [
        "22.11.2026",
        "26-11-22",
        "2023-02-29",
        "today",
        "infinity",
        "2026-11-22 10:00",
        "20261122",
        "",
    ] {
        refused(oid::DATE, text, NEEDS_SERVER);
    }
}

#[test]
fn timestamps_are_read_with_an_offset_only() {
    check(oid::TIMESTAMPTZ, "2000-01-01 00:00:00+00", Decoded::Timestamptz(0));
    check(oid::TIMESTAMPTZ, "2000-01-01T01:00Z", Decoded::Timestamptz(3_600_000_000));
    check(oid::TIMESTAMPTZ, "2000-01-01 01:00:00.5+01:00", Decoded::Timestamptz(500_000));
    check(oid::TIMESTAMPTZ, "1999-12-31 18:30:00.000001 -0530", Decoded::Timestamptz(1));
    for text in [
        "2000-01-01 00:00:00",
        "2000-01-01",
        "2000-01-01 24:00:00+00",
        "2000-01-01 00:00:60+00",
        "2000-01-01 00:00:00.1234567+00",
        "2000-01-01 00:00:00+16",
        "2000-01-01 00:00:00 UTC",
        "now",
    ] {
        refused(oid::TIMESTAMPTZ, text, NEEDS_SERVER);
    }
}

#[test]
fn dates_and_times_are_printed_in_iso_style() {
    let date = |days| key_text(&Decoded::Date(days)).unwrap().into_owned();
    assert_eq!(date(0), "2000-01-01");
    assert_eq!(date(-2_451_545), "4714-11-24 BC");
    assert_eq!(date(2_145_031_948), "5874897-12-31");
    assert_eq!(date(i32::MAX), "infinity");
    let time = |micros| key_text(&Decoded::Timestamptz(micros)).unwrap().into_owned();
    assert_eq!(time(-1), "1999-12-31 23:59:59.999999+00");
    assert_eq!(time(500_000), "2000-01-01 00:00:00.5+00");
    assert_eq!(time(-211_813_488_000_000_000), "4714-11-24 00:00:00+00 BC");
}

#[test]
fn binary_values_have_the_length_of_their_type() {
    assert_eq!(decode(Value::Binary(&[0xff, 0xfe]), oid::INT2), Ok(Decoded::Int(-2)));
    assert_eq!(decode(Value::Binary(&[0, 0, 1, 0]), oid::INT4), Ok(Decoded::Int(256)));
    assert_eq!(decode(Value::Binary(&[0xff; 8]), oid::INT8), Ok(Decoded::Int(-1)));
    assert_eq!(decode(Value::Binary(&[0xff; 4]), oid::OID), Ok(Decoded::Int(0xffff_ffff)));
    assert_eq!(decode(Value::Binary(&[7]), oid::BOOL), Ok(Decoded::Bool(true)));
    assert_eq!(decode(Value::Binary(b"ab"), oid::TEXT), Ok(Decoded::Text("ab")));
    assert_eq!(decode(Value::Null, oid::INT4), Ok(Decoded::Null));
    assert_eq!(decode(Value::Binary(b""), Oid(114)), Ok(Decoded::UnknownType(Oid(114))));
    for type_oid in [oid::INT2, oid::INT4, oid::INT8, oid::UUID, oid::DATE, oid::TIMESTAMPTZ] {
        assert!(decode(Value::Binary(&[0; 3]), type_oid).is_err());
    }
    assert!(decode(Value::Binary(&(i32::MAX - 1).to_be_bytes()), oid::DATE).is_err());
}

const ALL: [Oid; 14] = [
    oid::BOOL,
    oid::NAME,
    oid::INT8,
    oid::INT2,
    oid::INT4,
    oid::TEXT,
    oid::OID,
    oid::UNKNOWN,
    oid::BPCHAR,
    oid::VARCHAR,
    oid::DATE,
    oid::TIMESTAMPTZ,
    oid::NUMERIC,
    oid::UUID,
];

proptest! {
    #[test]
    fn integers_mean_the_same_in_both_formats(int: i64) {
        let (text, binary) = (int.to_string(), int.to_be_bytes());
        let from_text = decode(Value::Text(text.as_bytes()), oid::INT8).unwrap();
        prop_assert_eq!(key_text(&from_text).unwrap(), text.as_str());
        prop_assert_eq!(decode(Value::Binary(&binary), oid::INT8), Ok(from_text));
    }

    #[test]
    fn small_integers_overflow_where_their_type_ends(int in -70_000i64..70_000) {
        let text = int.to_string();
        let decoded = decode(Value::Text(text.as_bytes()), oid::INT2);
        prop_assert_eq!(decoded.is_ok(), i16::try_from(int).is_ok());
    }

    #[test]
    fn uuids_mean_the_same_in_both_formats(uuid: [u8; 16]) {
        let text = uuid_text(&uuid);
        prop_assert_eq!(decode(Value::Text(text.as_bytes()), oid::UUID), Ok(Decoded::Uuid(uuid)));
    }

    #[test]
    fn printed_dates_are_read_back(days in -730_119i32..2_921_940) {
        let text = key_text(&Decoded::Date(days)).unwrap();
        prop_assert_eq!(decode_text(&text, oid::DATE), Ok(Decoded::Date(days)));
    }

    #[test]
    fn printed_times_are_read_back(micros in -63_000_000_000_000_000i64..250_000_000_000_000_000) {
        let text = key_text(&Decoded::Timestamptz(micros)).unwrap();
        prop_assert_eq!(decode_text(&text, oid::TIMESTAMPTZ), Ok(Decoded::Timestamptz(micros)));
    }

    #[test]
    fn printed_numerics_are_read_back_unchanged(text in "-?[0-9]{0,12}\\.?[0-9]{0,9}(e-?[0-9]{1,2})?") {
        if let Ok(Decoded::Numeric(printed)) = decode_text(&text, oid::NUMERIC) {
            prop_assert_eq!(decode_text(&printed, oid::NUMERIC), Ok(Decoded::Numeric(printed.clone())));
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
        for type_oid in ALL {
            for value in [Value::Text(&bytes), Value::Binary(&bytes)] {
                if let Ok(decoded) = decode(value, type_oid) {
                    key_text(&decoded);
                    decoded.as_int();
                }
            }
        }
    }

    #[test]
    fn near_misses_never_panic(text in "[ +-]?[0-9.eE:TZx_{}-]{0,40}") {
        for type_oid in ALL {
            drop(decode(Value::Text(text.as_bytes()), type_oid));
        }
    }
}
