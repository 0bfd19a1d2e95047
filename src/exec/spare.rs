//! A buffer that each thread lends to whoever reads large answers from a server and has nothing unread.
//!
//! So the relay reads a large answer in large pieces, and a server that is silent after one holds no
//! buffer. Who holds rows back (`fan_out`) has buffers of its own.
use bytes::BytesMut;
use std::cell::Cell;

/// What a lent buffer holds: a row of 1 MiB was the cheaper the larger the pieces were, from 64 KiB on.
pub const SPARE_BYTES: usize = 256 * 1024;

thread_local! {
    static SPARE: Cell<BytesMut> = Cell::default();
}

/// Room for [`SPARE_BYTES`] in a buffer with nothing in it.
pub fn lend(buffer: &mut BytesMut) {
    debug_assert!(buffer.is_empty(), "bytes would be lost");
    *buffer = SPARE.take();
    buffer.reserve(SPARE_BYTES);
}

/// Takes a buffer back if nothing is in it. One that has outgrown the others is let go.
pub fn give_back(buffer: &mut BytesMut) {
    if buffer.is_empty() {
        let mut given = std::mem::take(buffer);
        if !given.try_reclaim(SPARE_BYTES + 1) {
            SPARE.set(given);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Buf;

    #[test]
    fn what_was_lent_and_read_is_lent_again() {
        let mut buffer = BytesMut::new();
        lend(&mut buffer);
        let place = buffer.as_ptr();
        buffer.extend_from_slice(b"answer");
        give_back(&mut buffer);
        assert_eq!(&buffer[..], b"answer", "what is unread stays where it is");
        buffer.advance(6);
        give_back(&mut buffer);
        assert_eq!(buffer.capacity(), 0);
        lend(&mut buffer);
        assert_eq!((buffer.as_ptr(), buffer.capacity()), (place, SPARE_BYTES));
    }

    #[test]
    fn a_buffer_that_has_grown_is_let_go() {
        let mut buffer = BytesMut::new();
        lend(&mut buffer);
        buffer.resize(4 * SPARE_BYTES, 0);
        buffer.advance(4 * SPARE_BYTES);
        give_back(&mut buffer);
        lend(&mut buffer);
        assert_eq!(buffer.capacity(), SPARE_BYTES);
    }
}
