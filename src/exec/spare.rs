//! Buffers that each thread lends: a large one to whoever reads answers from a server and has nothing
//! unread, little ones to clients that are served.
//!
//! So the relay reads a large answer in large pieces, a server that is silent after one holds no buffer,
//! and neither does a client that waits. Who holds rows back (`fan_out`) has buffers of its own.
use bytes::BytesMut;
use std::cell::{Cell, RefCell};

/// What a lent buffer holds: a row of 1 MiB was the cheaper the larger the pieces were, from 64 KiB on.
pub const SPARE_BYTES: usize = 256 * 1024;

/// What a little buffer holds at least: most statements, and most answers, need no more.
pub const LITTLE_BYTES: usize = 512;
/// One that has outgrown this is let go.
const MOST_LITTLE_BYTES: usize = 4 * 1024;
/// So many little ones are kept: clients are served one after the other.
const MOST_LITTLE: usize = 16;

thread_local! {
    static SPARE: Cell<BytesMut> = Cell::default();
    static LITTLE: RefCell<Vec<BytesMut>> = RefCell::default();
}

/// Room for [`SPARE_BYTES`] in a buffer with nothing in it.
pub fn lend(buffer: &mut BytesMut) {
    debug_assert!(buffer.is_empty(), "bytes would be lost");
    *buffer = SPARE.take();
    buffer.reserve(SPARE_BYTES);
}

/// Takes a buffer back if nothing is in it. One that has outgrown the others is let go.
pub fn give_back(buffer: &mut BytesMut) {
    if buffer.is_empty() && buffer.capacity() > 0 {
        let mut given = std::mem::take(buffer);
        if !given.try_reclaim(SPARE_BYTES + 1) {
            SPARE.set(given);
        }
    }
}

/// Room for [`LITTLE_BYTES`] in a buffer without any.
pub fn lend_little(buffer: &mut BytesMut) {
    debug_assert!(buffer.is_empty(), "bytes would be lost");
    let kept = LITTLE.with_borrow_mut(Vec::pop);
    *buffer = kept.unwrap_or_else(|| BytesMut::with_capacity(LITTLE_BYTES));
}

/// Takes a little buffer back if nothing is in it.
pub fn give_back_little(buffer: &mut BytesMut) {
    if buffer.is_empty() && buffer.capacity() > 0 {
        let mut given = std::mem::take(buffer);
        let is_little = given.try_reclaim(LITTLE_BYTES) && given.capacity() <= MOST_LITTLE_BYTES;
        LITTLE.with_borrow_mut(|kept| {
            if is_little && kept.len() < MOST_LITTLE {
                kept.push(given);
            }
        });
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
    fn who_has_no_buffer_gives_none_back() {
        let mut buffer = BytesMut::new();
        lend(&mut buffer);
        let place = buffer.as_ptr();
        give_back(&mut buffer);
        give_back(&mut BytesMut::new());
        lend(&mut buffer);
        assert_eq!(buffer.as_ptr(), place);
    }

    #[test]
    fn a_little_buffer_is_lent_again_unless_it_has_grown() {
        let mut buffer = BytesMut::new();
        lend_little(&mut buffer);
        let place = buffer.as_ptr();
        buffer.extend_from_slice(b"answer");
        buffer.advance(6);
        give_back_little(&mut buffer);
        assert_eq!(buffer.capacity(), 0);
        lend_little(&mut buffer);
        assert_eq!((buffer.as_ptr(), buffer.capacity()), (place, LITTLE_BYTES));
        buffer.resize(2 * MOST_LITTLE_BYTES, 0);
        buffer.clear();
        give_back_little(&mut buffer);
        lend_little(&mut buffer);
        assert_eq!(buffer.capacity(), LITTLE_BYTES);
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
