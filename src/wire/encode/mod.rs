//! Complete messages, appended to a buffer.
//!
//! `client` writes what clients say (to servers), `server` what servers say (to clients).
//! Strings end at their first NUL, as they would on the other side: no string can add fields.
mod client;
mod server;

pub use client::*;
pub use server::*;

use bytes::{BufMut, BytesMut};

/// Appends type byte, length and what `body` writes.
#[inline]
pub fn message(kind: u8, out: &mut BytesMut, body: impl FnOnce(&mut BytesMut)) {
    out.put_u8(kind);
    packet(out, body);
}

/// The same without type byte.
#[inline]
fn packet(out: &mut BytesMut, body: impl FnOnce(&mut BytesMut)) {
    let start = out.len();
    out.put_u32(0);
    body(out);
    let length = (out.len() - start) as u32;
    if let Some(place) = out.get_mut(start..start + 4) {
        place.copy_from_slice(&length.to_be_bytes());
    }
}

#[inline]
fn put_string(text: &[u8], out: &mut BytesMut) {
    let end = memchr::memchr(0, text).unwrap_or(text.len());
    out.put_slice(text.get(..end).unwrap_or_default());
    out.put_u8(0);
}
