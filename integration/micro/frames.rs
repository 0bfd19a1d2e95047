//! Messages are cut out of a buffer by their headers.
use bytes::BytesMut;
use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use weir::wire::encode;
use weir::wire::frame;
use weir::wire::server::TransactionStatus;

/// As much as a socket is asked for at a time.
const BUFFER: usize = 64 * 1024;

/// Filled with whole copies of what `write` writes; and how many messages that are.
fn filled(messages: usize, write: impl Fn(&mut BytesMut)) -> (BytesMut, usize) {
    let (mut buffer, mut count) = (BytesMut::new(), 0);
    write(&mut buffer);
    let piece = buffer.clone();
    while buffer.len() + piece.len() <= BUFFER {
        buffer.extend_from_slice(&piece);
        count += messages;
    }
    (buffer, count + messages)
}

/// Answers to a select of one row, as prepared statements give them: four small messages each.
#[divan::bench]
fn small_messages(bencher: Bencher<'_, '_>) {
    let (buffer, messages) = filled(4, |out| {
        encode::bind_complete(out);
        encode::data_row(&[Some(b"-12345")], out);
        encode::command_complete("SELECT 1", out);
        encode::ready(TransactionStatus::Idle, out);
    });
    bencher.counter(ItemsCount::new(messages)).counter(BytesCount::new(buffer.len())).bench(|| {
        let mut rest = divan::black_box(&buffer[..]);
        let mut kinds = 0_u64;
        while let Ok(Some(frame)) = frame::scan(rest, BUFFER) {
            kinds += u64::from(frame.kind);
            rest = &rest[frame.len..];
        }
        kinds
    });
}

/// Rows of a large result, which go on in one piece.
#[divan::bench(args = [16, 64, 256])]
fn a_run_of_rows(bencher: Bencher<'_, '_>, value_bytes: usize) {
    let value = vec![b'v'; value_bytes];
    let row: [Option<&[u8]>; 2] = [Some(b"12345"), Some(&value)];
    let (buffer, rows) = filled(1, |out| encode::data_row(&row, out));
    bencher
        .counter(ItemsCount::new(rows))
        .counter(BytesCount::new(buffer.len()))
        .bench(|| frame::bulk_run(divan::black_box(&buffer)));
}
