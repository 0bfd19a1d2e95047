//! What clients say, to servers.
use super::server::put_value;
use super::{message, packet, put_string};
use crate::ids::Oid;
use crate::wire::frontend::Object;
use bytes::{BufMut, BytesMut};

/// Protocol 3.0: nothing that weir needs of its servers came later.
pub fn startup<'a>(parameters: impl IntoIterator<Item = (&'a str, &'a str)>, out: &mut BytesMut) {
    packet(out, |out| {
        out.put_u32(3 << 16);
        for (name, value) in parameters {
            put_string(name.as_bytes(), out);
            put_string(value.as_bytes(), out);
        }
        out.put_u8(0);
    });
}

pub fn ssl_request(out: &mut BytesMut) {
    packet(out, |out| out.put_u32(1234 << 16 | 5679));
}

pub fn cancel_request(pid: u32, secret: &[u8], out: &mut BytesMut) {
    packet(out, |out| {
        out.put_u32(1234 << 16 | 5678);
        out.put_u32(pid);
        out.put_slice(secret);
    });
}

pub fn query(sql: &[u8], out: &mut BytesMut) {
    message(b'Q', out, |out| put_string(sql, out));
}

pub fn parse(
    name: &[u8],
    sql: &[u8],
    types: impl ExactSizeIterator<Item = Oid>,
    out: &mut BytesMut,
) {
    message(b'P', out, |out| {
        put_string(name, out);
        put_string(sql, out);
        out.put_u16(types.len() as u16);
        types.for_each(|oid| out.put_u32(oid.0));
    });
}

/// A Bind under other names: `tail` is `Bind::tail_after_statement`.
#[inline]
pub fn bind_with_tail(portal: &[u8], statement: &[u8], tail: &[u8], out: &mut BytesMut) {
    message(b'B', out, |out| {
        put_string(portal, out);
        put_string(statement, out);
        out.put_slice(tail);
    });
}

/// A Bind's parameters: text values.
pub fn parameters<'v>(values: impl ExactSizeIterator<Item = Option<&'v [u8]>>, out: &mut BytesMut) {
    out.put_u16(0);
    out.put_u16(values.len() as u16);
    values.for_each(|value| put_value(value, out));
}

/// A Bind of text values to the unnamed portal, results in text: for statements of our own.
pub fn bind_text(statement: &[u8], values: &[Option<&[u8]>], out: &mut BytesMut) {
    message(b'B', out, |out| {
        out.put_u8(0);
        put_string(statement, out);
        out.put_u16(0);
        out.put_u16(values.len() as u16);
        values.iter().for_each(|value| put_value(*value, out));
        out.put_u16(0);
    });
}

pub fn describe(object: Object, name: &[u8], out: &mut BytesMut) {
    on_object(b'D', object, name, out);
}

pub fn close(object: Object, name: &[u8], out: &mut BytesMut) {
    on_object(b'C', object, name, out);
}

fn on_object(kind: u8, object: Object, name: &[u8], out: &mut BytesMut) {
    message(kind, out, |out| {
        out.put_u8(match object {
            Object::Statement => b'S',
            Object::Portal => b'P',
        });
        put_string(name, out);
    });
}

pub fn execute(portal: &[u8], max_rows: i32, out: &mut BytesMut) {
    message(b'E', out, |out| {
        put_string(portal, out);
        out.put_i32(max_rows);
    });
}

pub fn sync(out: &mut BytesMut) {
    out.put_slice(b"S\0\0\0\x04");
}

pub fn flush(out: &mut BytesMut) {
    out.put_slice(b"H\0\0\0\x04");
}

pub fn terminate(out: &mut BytesMut) {
    out.put_slice(b"X\0\0\0\x04");
}

/// A password, in clear or as md5 digest.
pub fn password(password: &[u8], out: &mut BytesMut) {
    message(b'p', out, |out| put_string(password, out));
}

pub fn sasl_initial(mechanism: &str, data: &[u8], out: &mut BytesMut) {
    message(b'p', out, |out| {
        put_string(mechanism.as_bytes(), out);
        put_value(Some(data), out);
    });
}

pub fn sasl_response(data: &[u8], out: &mut BytesMut) {
    message(b'p', out, |out| out.put_slice(data));
}

pub fn copy_data(data: &[u8], out: &mut BytesMut) {
    message(b'd', out, |out| out.put_slice(data));
}

pub fn copy_done(out: &mut BytesMut) {
    out.put_slice(b"c\0\0\0\x04");
}

pub fn copy_fail(reason: &str, out: &mut BytesMut) {
    message(b'f', out, |out| put_string(reason.as_bytes(), out));
}
