//! A stream of messages: each is cut by its header and handed to every reader.
#![no_main]
use libfuzzer_sys::fuzz_target;
use weir::ids::Oid;
use weir::wire::frontend::Bind;
use weir::wire::value::{decode, key_text, oid};
use weir::wire::{every_reader, frame};

const MAX_LEN: usize = 1 << 16;

fuzz_target!(|bytes: &[u8]| {
    let mut rest = bytes;
    while let Ok(Some(whole)) = frame::scan(rest, MAX_LEN) {
        assert!((frame::HEADER..=MAX_LEN).contains(&whole.len));
        let Some(body) = frame::body(rest, whole) else { break };
        every_reader::walk(body);
        if let Ok(bind) = Bind::read(body) {
            decode_values(&bind);
        }
        rest = &rest[whole.len..];
    }
});

/// Every value as every type: what a client claims a value to be is its own choice.
fn decode_values(bind: &Bind) {
    let mut values = Vec::new();
    bind.values(&mut values);
    for value in values {
        for type_oid in [
            oid::BOOL,
            oid::NAME,
            oid::INT8,
            oid::INT2,
            oid::INT4,
            oid::TEXT,
            oid::OID,
            oid::BPCHAR,
            oid::DATE,
            oid::TIMESTAMPTZ,
            oid::NUMERIC,
            oid::UUID,
            Oid(0),
        ] {
            if let Ok(decoded) = decode(value, type_oid) {
                key_text(&decoded);
                decoded.as_int();
            }
        }
    }
}
