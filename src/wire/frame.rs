//! Where a message begins and ends, seen from its header only.
use super::WireError;

/// One message's place in a buffer: it starts at the buffer's first byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Frame {
    pub kind: u8,
    /// The whole message: type byte, length and body. May exceed what has arrived so far.
    pub len: usize,
}

/// Type byte and length: where a body begins.
pub const HEADER: usize = 5;

/// Looks at the first message's header. `None`: fewer than [`HEADER`] bytes have arrived.
#[inline]
pub fn scan(buf: &[u8], max_len: usize) -> Result<Option<Frame>, WireError> {
    let Some(&[kind, a, b, c, d]) = buf.first_chunk() else { return Ok(None) };
    let len = 1 + checked_length([a, b, c, d], 4, max_len.saturating_sub(1))?;
    Ok(Some(Frame { kind, len }))
}

/// Whether messages of that type carry data: rows, and pieces of a COPY.
#[inline]
pub fn is_bulk(kind: u8) -> bool {
    matches!(kind, b'D' | b'd')
}

/// How long the whole messages are, one behind the other, with which the buffer begins and that carry data.
#[inline]
pub fn bulk_run(buf: &[u8]) -> usize {
    run(buf, is_bulk)
}

/// The same of messages of these types.
#[inline]
pub fn run(buf: &[u8], belongs: impl Fn(u8) -> bool) -> usize {
    let mut end = 0;
    while let Some(&[kind, a, b, c, d]) = buf.get(end..).and_then(|rest| rest.first_chunk()) {
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if !belongs(kind) || length < 4 || buf.len() - end <= length {
            break;
        }
        end += 1 + length;
    }
    end
}

/// The same for the packets before authentication, which have no type byte: the whole length.
pub fn scan_startup(buf: &[u8], max_len: usize) -> Result<Option<usize>, WireError> {
    let Some(&length) = buf.first_chunk() else { return Ok(None) };
    checked_length(length, 8, max_len).map(Some)
}

/// A message's body if the whole message is in `buf`.
#[inline]
pub fn body(buf: &[u8], frame: Frame) -> Option<&[u8]> {
    buf.get(HEADER..frame.len)
}

/// The bodies of whole messages, one behind the other.
pub fn bodies(mut messages: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let frame = scan(messages, messages.len()).ok()??;
        let (message, rest) = messages.split_at_checked(frame.len)?;
        messages = rest;
        body(message, frame)
    })
}

#[inline]
fn checked_length(bytes: [u8; 4], min: i32, max: usize) -> Result<usize, WireError> {
    let length = i32::from_be_bytes(bytes);
    if length < min {
        return Err(WireError::LengthTooSmall(length));
    }
    let len = length as usize;
    if len > max {
        return Err(WireError::TooLarge { len, max });
    }
    Ok(len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_header_tells_type_and_whole_length() {
        assert_eq!(scan(b"Q\0\0\0\x09ab", 100), Ok(Some(Frame { kind: b'Q', len: 10 })));
        assert_eq!(scan(b"Q\0\0\0", 100), Ok(None));
        assert_eq!(scan_startup(b"\0\0\0\x08....", 100), Ok(Some(8)));
        assert_eq!(scan_startup(b"\0\0", 100), Ok(None));
    }

    #[test]
    fn a_run_of_data_ends_at_what_is_no_data_or_not_whole() {
        let row = b"D\0\0\0\x06\0\0";
        assert_eq!(bulk_run(&[&row[..], b"d\0\0\0\x04", b"C\0\0\0\x05\0"].concat()), 12);
        assert_eq!(bulk_run(&[&row[..], &row[..6]].concat()), 7);
        assert_eq!(bulk_run(&[&row[..], b"D\0\0\0\x03"].concat()), 7);
        assert_eq!(bulk_run(b"D\xff\xff\xff\xff"), 0);
        assert_eq!(bulk_run(b"D\0\0"), 0);
        assert_eq!(run(&[&row[..], b"d\0\0\0\x04"].concat(), |kind| kind == b'D'), 7);
    }

    #[test]
    fn bodies_come_in_turn_up_to_one_that_is_not_whole() {
        let two = [&b"d\0\0\0\x05a"[..], b"d\0\0\0\x06bc"].concat();
        for end in 0..=two.len() {
            let whole = if end < 6 {
                0
            } else if end < 13 {
                1
            } else {
                2
            };
            let come: Vec<&[u8]> = bodies(&two[..end]).collect();
            assert_eq!(come, [&b"a"[..], b"bc"][..whole], "of {end} bytes");
        }
        assert_eq!(bodies(b"d\0\0\0\x03").count(), 0);
    }

    #[test]
    fn lengths_that_cannot_be_are_refused() {
        assert_eq!(scan(b"Q\0\0\0\x03", 100), Err(WireError::LengthTooSmall(3)));
        assert_eq!(scan(b"Q\xff\xff\xff\xff", 100), Err(WireError::LengthTooSmall(-1)));
        assert_eq!(scan(b"Q\0\0\0\x64", 100), Err(WireError::TooLarge { len: 100, max: 99 }));
        assert_eq!(scan_startup(b"\0\0\0\x07", 100), Err(WireError::LengthTooSmall(7)));
        assert!(scan_startup(b"\x7f\xff\xff\xff", 100).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_give_a_length_within_the_limit(buf: Vec<u8>, max in 0usize..70_000) {
            if let Ok(Some(frame)) = scan(&buf, max) {
                prop_assert!((HEADER..=max).contains(&frame.len));
                let _ = body(&buf, frame);
            }
            if let Ok(Some(len)) = scan_startup(&buf, max) {
                prop_assert!((8..=max).contains(&len));
            }
        }
    }
}
