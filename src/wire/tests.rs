//! Messages are read as they were written, by us and by pgwire; other bytes are refused, not
//! believed.
use super::frontend::{self, Bind, Close, Describe, Execute, Format, Object, Parse, Query};
use super::params::Value;
use super::server::{self, Authentication, ErrorFields, Field, RowDescription, TransactionStatus};
use super::{WireError, encode, every_reader, frame};
use crate::error::{Error, Severity};
use crate::ids::Oid;
use bytes::BytesMut;
use pgwire::messages::{DecodeContext, PgWireBackendMessage, PgWireFrontendMessage};
use proptest::prelude::*;

/// What `write` writes: one message, whose length is right and whose type is `kind`. Its body.
#[track_caller]
fn body(kind: u8, write: impl FnOnce(&mut BytesMut)) -> BytesMut {
    let mut out = BytesMut::new();
    write(&mut out);
    let whole = frame::scan(&out, usize::MAX);
    assert_eq!(whole, Ok(Some(frame::Frame { kind, len: out.len() })));
    out.split_off(frame::HEADER)
}

fn decoded_by_pgwire(write: impl FnOnce(&mut BytesMut)) -> PgWireFrontendMessage {
    let mut out = BytesMut::new();
    write(&mut out);
    let mut context = DecodeContext::default();
    (context.awaiting_frontend_ssl, context.awaiting_frontend_startup) = (false, false);
    let message = PgWireFrontendMessage::decode(&mut out, &context).unwrap().unwrap();
    assert!(out.is_empty());
    message
}

#[test]
fn pgwire_reads_what_we_write_to_servers() {
    let message =
        decoded_by_pgwire(|out| encode::parse(b"p1", b"SELECT $1", [Oid(20)].into_iter(), out));
    let PgWireFrontendMessage::Parse(parse) = message else { panic!() };
    assert_eq!((parse.name.as_deref(), &*parse.query), (Some("p1"), "SELECT $1"));
    assert_eq!(parse.type_oids, [20]);

    let values = [Some(&b"42"[..]), None];
    let message = decoded_by_pgwire(|out| encode::bind_text(b"p1", &values, out));
    let PgWireFrontendMessage::Bind(bind) = message else { panic!() };
    assert_eq!(bind.statement_name.as_deref(), Some("p1"));
    assert_eq!(bind.parameters[0].as_deref(), Some(&b"42"[..]));
    assert_eq!(bind.parameters[1], None);

    let message = decoded_by_pgwire(|out| encode::execute(b"c", 7, out));
    let PgWireFrontendMessage::Execute(execute) = message else { panic!() };
    assert_eq!((execute.name.as_deref(), execute.max_rows), (Some("c"), 7));

    let message = decoded_by_pgwire(|out| encode::close(Object::Portal, b"c", out));
    let PgWireFrontendMessage::Close(close) = message else { panic!() };
    assert_eq!((close.target_type, close.name.as_deref()), (b'P', Some("c")));
    assert!(matches!(decoded_by_pgwire(encode::sync), PgWireFrontendMessage::Sync(_)));
    assert!(matches!(decoded_by_pgwire(encode::flush), PgWireFrontendMessage::Flush(_)));
    assert!(matches!(decoded_by_pgwire(encode::terminate), PgWireFrontendMessage::Terminate(_)));
    assert!(matches!(decoded_by_pgwire(encode::copy_done), PgWireFrontendMessage::CopyDone(_)));
}

#[test]
fn pgwire_reads_what_we_write_to_clients() {
    let mut out = BytesMut::new();
    encode::parameter_status("TimeZone", b"UTC", &mut out);
    encode::backend_key_data(9, &[1, 2, 3, 4], &mut out);
    encode::ready(TransactionStatus::Failed, &mut out);
    encode::row_description(&[Field::text("name")], &mut out);
    encode::data_row(&[Some(b"x"), None], &mut out);
    encode::command_complete("SELECT 1", &mut out);
    encode::parse_complete(&mut out);
    encode::no_data(&mut out);
    let mut read = Vec::new();
    while let Some(m) = PgWireBackendMessage::decode(&mut out, &DecodeContext::default()).unwrap() {
        read.push(format!("{m:?}"));
    }
    insta::assert_snapshot!(read.join("\n"), @r#"
    ParameterStatus(ParameterStatus { name: "TimeZone", value: "UTC" })
    BackendKeyData(BackendKeyData { pid: 9, secret_key: Bytes(b"\x01\x02\x03\x04") })
    ReadyForQuery(ReadyForQuery { status: Error })
    RowDescription(RowDescription { fields: [FieldDescription { name: "name", table_id: 0, column_id: 0, type_id: 25, type_size: -1, type_modifier: -1, format_code: 0 }] })
    DataRow(DataRow { data: b"\0\0\0\x01x\xff\xff\xff\xff", field_count: 2 })
    CommandComplete(CommandComplete { tag: "SELECT 1" })
    ParseComplete(ParseComplete)
    NoData(NoData)
    "#);
}

#[test]
fn a_bind_keeps_its_values_under_other_names() {
    let written = body(b'B', |out| {
        encode::bind_with_tail(
            b"c",
            b"s",
            b"\0\x01\0\x01\0\x02\0\0\0\x01\x07\xff\xff\xff\xff\0\x01\0\x01",
            out,
        )
    });
    let bind = Bind::read(&written).unwrap();
    assert_eq!((bind.portal, bind.statement), (&b"c"[..], &b"s"[..]));
    let mut values = vec![Value::Null; 5];
    bind.values(&mut values);
    assert_eq!(values, [Value::Binary(b"\x07"), Value::Null]);
    assert_eq!(bind.result_formats().collect::<Vec<_>>(), [Format::Binary]);
    let again =
        body(b'B', |out| encode::bind_with_tail(b"", b"other", bind.tail_after_statement(), out));
    let again = Bind::read(&again).unwrap();
    assert_eq!((again.portal_str(), again.statement_str()), (Ok(""), Ok("other")));
    assert_eq!(again.tail_after_statement(), bind.tail_after_statement());
}

#[test]
fn a_bind_whose_counts_disagree_is_refused() {
    for (tail, wrong) in [
        (&b"\0\x02\0\0\0\0\0\0\0\0"[..], WireError::FormatCount { formats: 2, parameters: 0 }),
        (b"\0\x01\0\x02\0\0\0\0", WireError::UnknownFormat(2)),
        (b"\0\0\0\x01\0\0\0\x05abc\0\0", WireError::EndsEarly),
        (b"\0\0\0\x01\xff\xff\xff\xfe\0\0", WireError::EndsEarly),
        (b"\0\0\0\0\0\0x", WireError::TrailingBytes(1)),
        (b"\0\0\xff\xff", WireError::EndsEarly),
    ] {
        let written = body(b'B', |out| encode::bind_with_tail(b"", b"", tail, out));
        assert_eq!(Bind::read(&written), Err(wrong));
    }
}

#[test]
fn only_what_loses_the_next_message_ends_the_session() {
    let severity = |wrong: WireError| Error::from(wrong).severity;
    assert_eq!(severity(Query::read(b"SELECT 1").unwrap_err()), Severity::Error);
    assert_eq!(severity(Describe::read(b"X\0").unwrap_err()), Severity::Error);
    assert_eq!(severity(frame::scan(b"Q\0\0\0\0", 9).unwrap_err()), Severity::Fatal);
    assert_eq!(severity(frontend::Kind::of(b'!').unwrap_err()), Severity::Fatal);
}

#[test]
fn an_error_has_its_fields() {
    let fields = ErrorFields::read(b"SFEHLER\0VFATAL\0C57P01\0Mgone\0\0").unwrap();
    assert_eq!(fields.code().as_str(), "57P01");
    assert_eq!((&*fields.severity(), &*fields.message()), ("FATAL", "gone"));
    assert!(fields.is_fatal());
    assert_eq!(fields.get(b'H'), None);
    assert!(ErrorFields::read(b"SERROR\0").is_err());
    assert!(ErrorFields::read(b"\0x").is_err());
}

#[test]
fn what_a_server_asks_before_it_lets_us_in_is_understood() {
    let sasl = body(b'R', |out| {
        encode::authentication_sasl(&["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"], out)
    });
    let Ok(Authentication::Sasl(mechanisms)) = Authentication::read(&sasl) else { panic!() };
    assert!(mechanisms.iter().eq(["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"]));
    let md5 = body(b'R', |out| encode::authentication_md5(*b"salt", out));
    assert_eq!(Authentication::read(&md5), Ok(Authentication::Md5Password { salt: *b"salt" }));
    let more = body(b'R', |out| encode::authentication_sasl_continue(b"r=x", out));
    assert_eq!(Authentication::read(&more), Ok(Authentication::SaslContinue(b"r=x")));
    let last = body(b'R', |out| encode::authentication_sasl_final(b"v=x", out));
    assert_eq!(Authentication::read(&last), Ok(Authentication::SaslFinal(b"v=x")));
    let ok = body(b'R', encode::authentication_ok);
    assert_eq!(Authentication::read(&ok), Ok(Authentication::Ok));
    assert_eq!(Authentication::read(b"\0\0\0\x07"), Ok(Authentication::Unsupported(7)));
}

#[test]
fn negotiation_names_the_version_and_the_options() {
    let options = ["_pq_.x".to_owned()];
    let written = body(b'v', |out| encode::negotiate_protocol_version(2, &options, out));
    let read = server::NegotiateProtocolVersion::read(&written).unwrap();
    assert_eq!((read.minor, &read.unknown_options[..]), (2, &options[..]));
}

#[test]
fn type_oids_are_replaced_and_nothing_else() {
    let field = Field { type_oid: Oid(16_400), table: Oid(7), column: 3, ..Field::text("mood") };
    let written = body(b'T', |out| encode::row_description(&[Field::text("a"), field], out));
    let read = RowDescription::read(&written).unwrap();
    assert!(read.type_oids().eq([Oid(25), Oid(16_400)]));
    let up = |oid: Oid| if oid.0 >= 16_384 { Oid(oid.0 + 1) } else { oid };
    let mapped = body(b'T', |out| read.write_mapped(up, up, out));
    let expected = Field { type_oid: Oid(16_401), ..field };
    assert!(RowDescription::read(&mapped).unwrap().fields().eq([Field::text("a"), expected]));

    let types = [Oid(20), Oid(16_400)];
    let written = body(b't', |out| encode::parameter_description(types.into_iter(), out));
    let read = server::ParameterDescription::read(&written).unwrap();
    let mapped = body(b't', |out| read.write_mapped(up, out));
    let read = server::ParameterDescription::read(&mapped).unwrap();
    assert!(read.type_oids().eq([Oid(20), Oid(16_401)]));
}

#[test]
fn a_nul_cannot_add_fields() {
    let written =
        body(b'P', |out| encode::parse(b"a\0b", b"SELECT 1\0; DROP", [].into_iter(), out));
    let parse = Parse::read(&written).unwrap();
    assert_eq!((parse.name, parse.sql), (&b"a"[..], &b"SELECT 1"[..]));
}

prop_compose! {
    fn name()(name in "[^\0]{0,12}") -> Vec<u8> { name.into_bytes() }
}

proptest! {
    #[test]
    fn client_messages_are_read_as_written(
        name in name(), sql in name(), rows: i32, types: Vec<u32>, portal: bool,
        values in prop::collection::vec(prop::option::of(prop::collection::vec(any::<u8>(), 0..9)), 0..6),
    ) {
        let object = if portal { Object::Portal } else { Object::Statement };
        let oids = types.iter().map(|oid| Oid(*oid));
        let written = body(b'P', |out| encode::parse(&name, &sql, oids.clone(), out));
        let parse = Parse::read(&written).unwrap();
        prop_assert_eq!((parse.name, parse.sql), (&name[..], &sql[..]));
        prop_assert!(parse.types().eq(oids));

        let written = body(b'Q', |out| encode::query(&sql, out));
        prop_assert_eq!(Query::read(&written), Ok(Query { sql: &sql }));
        let written = body(b'D', |out| encode::describe(object, &name, out));
        prop_assert_eq!(Describe::read(&written), Ok(Describe { object, name: &name }));
        let written = body(b'C', |out| encode::close(object, &name, out));
        prop_assert_eq!(Close::read(&written), Ok(Close { object, name: &name }));
        let written = body(b'E', |out| encode::execute(&name, rows, out));
        prop_assert_eq!(Execute::read(&written), Ok(Execute { portal: &name, max_rows: rows }));

        let borrowed: Vec<_> = values.iter().map(Option::as_deref).collect();
        let written = body(b'B', |out| encode::bind_text(&name, &borrowed, out));
        let mut read = Vec::new();
        Bind::read(&written).unwrap().values(&mut read);
        let expected: Vec<_> = borrowed.iter().map(|v| v.map_or(Value::Null, Value::Text)).collect();
        prop_assert_eq!(read, expected);

        let row = body(b'D', |out| encode::data_row(&borrowed, out));
        prop_assert!(server::DataRow::read(&row).unwrap().values().eq(borrowed));
    }

    #[test]
    fn arbitrary_bodies_never_panic(body: Vec<u8>) {
        every_reader::walk(&body);
    }

    /// Small numbers make counts and lengths that almost fit.
    #[test]
    fn plausible_bodies_never_panic(body in prop::collection::vec(prop_oneof![Just(0u8), 0u8..4, any::<u8>()], 0..64)) {
        every_reader::walk(&body);
    }

    #[test]
    fn a_message_cut_short_is_refused(values in prop::collection::vec(any::<Option<u8>>(), 1..5), cut: prop::sample::Index) {
        let bytes: Vec<_> = values.iter().map(|v| v.map(|b| [b])).collect();
        let borrowed: Vec<_> = bytes.iter().map(|v| v.as_ref().map(|b| &b[..])).collect();
        let bind = body(b'B', |out| encode::bind_text(b"s", &borrowed, out));
        prop_assert!(Bind::read(&bind[..cut.index(bind.len())]).is_err());
        let row = body(b'D', |out| encode::data_row(&borrowed, out));
        prop_assert!(server::DataRow::read(&row[..cut.index(row.len())]).is_err());
    }
}
