//! What is no message, or too long for one: a clear error, and weir serves on.
use super::Stage;
use crate::raw::Raw;

/// What weir answers to these bytes of a client that has logged in, up to its hanging up.
fn answer(stage: &Stage, bytes: &[u8]) -> String {
    let mut raw = stage.client();
    raw.put_bytes(bytes).send();
    raw.hear_the_end();
    raw.transcript()
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind][..], &(body.len() as u32 + 4).to_be_bytes(), body].concat()
}

#[test]
fn bytes_that_cannot_be_a_message_end_the_session() {
    let stage = Stage::new("[limits]\nmessage_size = '1MB'\n");
    for bytes in [
        &b"Q\0\0\0\x03"[..],
        b"Q\0\0\0\0",
        b"Q\xff\xff\xff\xff",
        b"!\0\0\0\x04",
        b"\0\0\0\0\x04",
        b"p\0\0\0\x05\0",
    ] {
        let said = answer(&stage, bytes);
        assert!(said.starts_with("E V=FATAL C=08P01"), "{}: {said}", bytes.escape_ascii());
        assert!(said.ends_with("hung up"), "{}: {said}", bytes.escape_ascii());
    }
    for bytes in [&b"Q\x7f\xff\xff\xff"[..], b"d\x7f\xff\xff\xff", b"GET / HTTP/1.1\r\n\r\n"] {
        let said = answer(&stage, bytes);
        assert!(said.starts_with("E V=FATAL C=54000"), "{}: {said}", bytes.escape_ascii());
    }
    assert_eq!(stage.client().value("SELECT 1"), "1");
}

#[test]
fn a_message_with_a_malformed_body_is_an_error_and_the_session_goes_on() {
    let stage = Stage::new("");
    for (kind, body) in [
        (b'P', &b""[..]),
        (b'P', b"s\0"),
        (b'P', b"s\0SELECT 1\0\0\x05\0\0\0\x17"),
        (b'P', b"s\0SELECT 1\0\0\0garbage"),
        (b'P', b"s\0SELECT 1"),
        (b'B', b""),
        (b'B', b"\0\0\0\0\0\x09"),
        (b'B', b"\0\0\0\0\0\x01\x7f\xff\xff\xff\0\0"),
        (b'B', b"\0\0\0\0\0\x01\xff\xff\xff\xfe\0\0"),
        (b'D', b"X\0"),
        (b'D', b""),
        (b'C', b"S"),
        (b'E', b"\0\0"),
        (b'E', b"p\0\0\0\0\0more"),
    ] {
        let mut raw = stage.client();
        raw.put_bytes(&message(kind, body)).sync();
        let said = raw.take_transcript();
        assert!(said.contains("V=ERROR C=08P01") || said.contains("V=ERROR C=26000"), "{said}");
        assert!(said.ends_with("Z I"), "{}: {said}", body.escape_ascii());
        assert_eq!(raw.value("SELECT 1"), "1");
    }
    for body in [&b"SELECT 1"[..], b"", b"SELECT 1\0more"] {
        let mut raw = stage.client();
        raw.put_bytes(&message(b'Q', body)).send();
        raw.await_ready();
        let said = raw.take_transcript();
        assert!(said.contains("V=ERROR C=08P01") && said.ends_with("Z I"), "{said}");
        assert_eq!(raw.value("SELECT 1"), "1");
    }
}

#[test]
fn start_up_packets_that_cannot_be_are_refused() {
    let stage = Stage::new("");
    for bytes in [
        &b"\0\0\0\0"[..],
        b"\0\0\0\x07\0\x03\0",
        b"\x7f\xff\xff\xff",
        b"\xff\xff\xff\xff",
        b"\0\0\0\x0a\0\x03\0\0us",
        b"\0\0\0\x0c\x04\xd2\x16\x2e\0\0\0\x01",
        b"GET / HTTP/1.1\r\n\r\n",
    ] {
        let mut raw = Raw::dial(stage.weir.port());
        raw.put_bytes(bytes).send();
        raw.hear_the_end();
        assert!(raw.transcript().ends_with("hung up"), "{}", raw.transcript());
    }
    assert_eq!(stage.client().value("SELECT 1"), "1");
}

#[test]
fn statements_and_messages_have_a_limit() {
    let stage = Stage::new("[limits]\nmessage_size = '4MB'\nstatement_size = '100kB'\n");
    let mut raw = stage.client();
    let long = format!("SELECT '{}'", "x".repeat(200_000));
    assert_eq!(raw.value(&long), "54000");
    raw.parse("", &long, &[]).sync();
    assert!(raw.take_transcript().contains("C=54000"));
    // Parameters are no statement.
    let value = "y".repeat(3_000_000);
    raw.parse("", "SELECT length($1)", &[]).bind("", "", &[Some(&value)]).execute("", 0).sync();
    assert!(raw.take_transcript().contains("D 3000000"));
    let value = "y".repeat(5_000_000);
    raw.bind("", "", &[Some(&value)]).send();
    raw.hear_the_end();
    let said = raw.transcript();
    assert!(said.contains("V=FATAL") && said.ends_with("hung up"), "{said}");
}

#[test]
fn a_query_instead_of_copy_data_ends_the_session_as_on_postgresql() {
    let stage = Stage::new("[pool]\nsize = 1\n");
    stage.reset("pooled");
    let mut raw = stage.client();
    raw.ask("COPY t FROM STDIN").hear_until(b"G").copy_data("10\tten\n");
    raw.put(b'Q', b"SELECT 1\0").send();
    raw.hear_the_end();
    let said = raw.transcript();
    assert!(
        said.contains("E V=ERROR C=08P01 M=unexpected message type 0x51 during COPY"),
        "{said}"
    );
    assert!(said.contains("E V=FATAL C=08P01") && said.ends_with("hung up"), "{said}");
    assert_eq!(stage.client().value("SELECT count(*) FROM t"), "3");
}
