//! What servers say, to clients.
use super::{message, put_string};
use crate::error::Error;
use crate::ids::Oid;
use crate::wire::error_response;
use crate::wire::frontend::Format;
use crate::wire::server::{Field, TransactionStatus};
use bytes::{BufMut, Bytes, BytesMut};
use pgwire::messages::Message;
use pgwire::messages::startup::{Authentication, NegotiateProtocolVersion};

pub fn authentication_ok(out: &mut BytesMut) {
    control(&Authentication::Ok, out);
}

pub fn authentication_cleartext(out: &mut BytesMut) {
    control(&Authentication::CleartextPassword, out);
}

pub fn authentication_md5(salt: [u8; 4], out: &mut BytesMut) {
    control(&Authentication::MD5Password(salt.to_vec()), out);
}

pub fn authentication_sasl(mechanisms: &[&str], out: &mut BytesMut) {
    let names = mechanisms.iter().map(|&name| name.to_owned()).collect();
    control(&Authentication::SASL(names), out);
}

pub fn authentication_sasl_continue(data: &[u8], out: &mut BytesMut) {
    control(&Authentication::SASLContinue(Bytes::copy_from_slice(data)), out);
}

pub fn authentication_sasl_final(data: &[u8], out: &mut BytesMut) {
    control(&Authentication::SASLFinal(Bytes::copy_from_slice(data)), out);
}

/// The answer to a client that asks for a newer version or for options weir does not know.
pub fn negotiate_protocol_version(minor: u16, options: &[String], out: &mut BytesMut) {
    // Both halves of the version, as PostgreSQL sends it whatever its manual says.
    let version = 3 << 16 | i32::from(minor);
    control(&NegotiateProtocolVersion::new(version, options.to_vec()), out);
}

/// Appends a message of pgwire's. It refuses nothing below 30,000 bytes, and a start-up packet, the
/// longest thing that is echoed here, is shorter; a refused message leaves no bytes behind.
pub(in crate::wire) fn control(message: &impl Message, out: &mut BytesMut) {
    let start = out.len();
    if message.encode(out).is_err() {
        out.truncate(start);
    }
}

pub fn parameter_status(name: &str, value: &[u8], out: &mut BytesMut) {
    message(b'S', out, |out| {
        put_string(name.as_bytes(), out);
        put_string(value, out);
    });
}

pub fn backend_key_data(pid: u32, secret: &[u8], out: &mut BytesMut) {
    message(b'K', out, |out| {
        out.put_u32(pid);
        out.put_slice(secret);
    });
}

#[inline]
pub fn ready(status: TransactionStatus, out: &mut BytesMut) {
    out.put_slice(&[b'Z', 0, 0, 0, 5, status.byte()]);
}

#[inline]
pub fn parse_complete(out: &mut BytesMut) {
    out.put_slice(b"1\0\0\0\x04");
}

#[inline]
pub fn bind_complete(out: &mut BytesMut) {
    out.put_slice(b"2\0\0\0\x04");
}

#[inline]
pub fn close_complete(out: &mut BytesMut) {
    out.put_slice(b"3\0\0\0\x04");
}

pub fn no_data(out: &mut BytesMut) {
    out.put_slice(b"n\0\0\0\x04");
}

pub fn empty_query(out: &mut BytesMut) {
    out.put_slice(b"I\0\0\0\x04");
}

pub fn portal_suspended(out: &mut BytesMut) {
    out.put_slice(b"s\0\0\0\x04");
}

pub fn command_complete(tag: &str, out: &mut BytesMut) {
    message(b'C', out, |out| put_string(tag.as_bytes(), out));
}

pub fn row_description(fields: &[Field<'_>], out: &mut BytesMut) {
    message(b'T', out, |out| {
        out.put_u16(fields.len() as u16);
        fields.iter().for_each(|each| field(each, out));
    });
}

pub(in crate::wire) fn field(field: &Field<'_>, out: &mut BytesMut) {
    put_string(field.name, out);
    out.put_u32(field.table.0);
    out.put_i16(field.column);
    out.put_u32(field.type_oid.0);
    out.put_i16(field.type_size);
    out.put_i32(field.type_modifier);
    out.put_i16(match field.format {
        Format::Text => 0,
        Format::Binary => 1,
    });
}

pub fn data_row(values: &[Option<&[u8]>], out: &mut BytesMut) {
    message(b'D', out, |out| {
        out.put_u16(values.len() as u16);
        values.iter().for_each(|value| put_value(*value, out));
    });
}

/// A length and that many bytes; NULL has length -1.
pub(super) fn put_value(value: Option<&[u8]>, out: &mut BytesMut) {
    match value {
        None => out.put_i32(-1),
        Some(bytes) => {
            out.put_i32(bytes.len() as i32);
            out.put_slice(bytes);
        }
    }
}

pub fn parameter_description(types: impl ExactSizeIterator<Item = Oid>, out: &mut BytesMut) {
    message(b't', out, |out| {
        out.put_u16(types.len() as u16);
        types.for_each(|oid| out.put_u32(oid.0));
    });
}

/// A warning; drivers show it and go on.
pub fn notice(warning: &Error, out: &mut BytesMut) {
    error_response::write_notice(warning, out);
}

/// What may be of interest; drivers show it to whoever asks.
pub fn information(notice: &Error, out: &mut BytesMut) {
    error_response::write_information(notice, out);
}

/// The answer to SSLRequest and GSSENCRequest: one byte, no message.
pub fn encryption_answer(accepted: bool, out: &mut BytesMut) {
    out.put_u8(if accepted { b'S' } else { b'N' });
}
