//! The client's line: its socket with what was read and not yet taken, and what is yet to be sent.
use super::spare;
use crate::backend::stream::Stream;
use bytes::{Buf, BufMut, BytesMut};
use std::future::Future;
use std::io;
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

/// Bytes asked of a socket at a time: large enough that a big result costs few system calls.
pub const READ_BYTES: usize = 64 * 1024;
/// Bytes asked of a client at first, into the stack: most messages are short, and a thousand clients that
/// wait need no buffers. Who sends more than fits is asked for twice as much the next time.
const FIRST_READ_BYTES: usize = 2 * 1024;
/// Above this many unsent bytes no more is taken from a server.
const HIGH_WATER: usize = 128 * 1024;
/// Fewer bytes than this wait for what comes next: copying them costs less than a system call and the
/// other side's waking up.
const MANY_BYTES: usize = 8 * 1024;
/// Rows of an answer that goes on wait for so many bytes: PostgreSQL sends 8 KiB at a time, and most of
/// what an answer costs is waking up who reads it.
const ROWS_BYTES: usize = 32 * 1024;
/// But no longer than this.
const ROWS_WAIT: Duration = Duration::from_millis(1);

/// So much may a client send ahead while it is only listened to for its hanging up.
pub const MAX_EARLY_BYTES: usize = 64 * 1024;

pub struct Line {
    pub stream: Stream,
    pub input: BytesMut,
    pub output: BytesMut,
    /// The client waits for what is unsent: few bytes, too, leave before servers are waited for.
    pub urgent: bool,
    /// Rows are unsent that wait for more of their answer, and until when.
    rows_wait: Option<Instant>,
    /// An answer's rows go by: the buffer for them is kept.
    streaming: bool,
    /// Bytes to ask for next.
    room: usize,
    moved: Moved,
}

/// Bytes that a line has carried.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Moved {
    pub received: u64,
    pub sent: u64,
}

impl Line {
    pub fn new(stream: Stream) -> Self {
        let (input, output) = (BytesMut::new(), BytesMut::new());
        let (urgent, rows_wait, streaming) = (false, None, false);
        let (room, moved) = (FIRST_READ_BYTES, Moved::default());
        Self { stream, input, output, urgent, rows_wait, streaming, room, moved }
    }

    /// More input, at end of file `0`.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let filled = match self.room {
            FIRST_READ_BYTES => self.poll_fill_little(cx),
            room => {
                self.input.reserve(room);
                pin!(self.stream.read_buf(&mut self.input)).poll(cx)
            }
        };
        if let Poll::Ready(Ok(count)) = filled {
            self.moved.received += count as u64;
            if count >= self.room {
                self.room = (self.room * 2).min(READ_BYTES);
            }
        }
        filled
    }

    fn poll_fill_little(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut little = [MaybeUninit::uninit(); FIRST_READ_BYTES];
        let mut little = ReadBuf::uninit(&mut little);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut little))?;
        if self.input.capacity() == 0 {
            spare::lend_little(&mut self.input);
        }
        self.input.extend_from_slice(little.filled());
        Poll::Ready(Ok(little.filled().len()))
    }

    /// The first so many bytes of the input.
    pub fn take(&mut self, count: usize) -> BytesMut {
        match count == self.input.len() {
            true => std::mem::take(&mut self.input),
            false => self.input.split_to(count),
        }
    }

    /// A message that was taken has been dealt with: its buffer is used again.
    pub fn done_with(&mut self, mut message: BytesMut) {
        if self.input.capacity() == 0 {
            message.clear();
            self.input = message;
        }
    }

    /// Sends what is unsent; ready when nothing is left.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let before = self.output.len();
        let flushed = poll_flush(&mut self.stream, &mut self.output, cx);
        self.moved.sent += before.saturating_sub(self.output.len()) as u64;
        self.streaming &= !self.urgent;
        if self.output.is_empty() {
            self.urgent = false;
            self.rows_wait = None;
        }
        if !self.streaming {
            spare::give_back_little(&mut self.output);
        }
        flushed
    }

    /// The same for who waits for more to send: as in PostgreSQL, few bytes that nobody has asked for yet
    /// wait, too.
    pub fn poll_flush_most(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.urgent || self.output.len() >= MANY_BYTES {
            true => self.poll_flush(cx),
            false => Poll::Ready(Ok(())),
        }
    }

    /// Until when rows wait for more of their answer, if nothing else is unsent.
    pub fn rows_wait(&self) -> Option<Instant> {
        self.rows_wait.filter(|_| !self.urgent)
    }

    /// Sends rows of an answer that goes on, many at a time: few wait for more, but not for long.
    pub fn send_rows(&mut self, rows: &[u8], cx: &mut Context<'_>) -> io::Result<()> {
        if rows.len() >= ROWS_BYTES || self.urgent {
            return self.send(rows, cx);
        }
        if rows.len() >= MANY_BYTES / 2 {
            self.streaming = true;
            self.output.reserve(ROWS_BYTES + MANY_BYTES);
        }
        self.keep(rows);
        match self.output.len() >= ROWS_BYTES {
            true => self.flush_now(cx),
            false => {
                self.rows_wait.get_or_insert_with(|| Instant::now() + ROWS_WAIT);
                Ok(())
            }
        }
    }

    fn flush_now(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.poll_flush(cx) {
            Poll::Ready(Err(error)) => Err(error),
            Poll::Ready(Ok(())) | Poll::Pending => Ok(()),
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.output.capacity() == 0 {
            spare::lend_little(&mut self.output);
        }
        self.output.extend_from_slice(bytes);
    }

    /// What the line has carried since this was last asked.
    pub fn take_moved(&mut self) -> Moved {
        std::mem::take(&mut self.moved)
    }

    /// Sends `bytes`, if they are many, at once as far as the socket takes them. Few are kept, and so is
    /// the rest, until somebody flushes: whoever is about to wait has to.
    pub fn send(&mut self, bytes: &[u8], cx: &mut Context<'_>) -> io::Result<()> {
        let mut sent = 0;
        let many = bytes.len() >= MANY_BYTES;
        if many {
            self.flush_now(cx)?;
        }
        if many && self.output.is_empty() {
            while sent < bytes.len() {
                let rest = bytes.get(sent..).unwrap_or_default();
                match Pin::new(&mut self.stream).poll_write(cx, rest) {
                    Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                    Poll::Ready(Ok(count)) => sent += count,
                    Poll::Ready(Err(error)) => return Err(error),
                    Poll::Pending => break,
                }
            }
        }
        self.moved.sent += sent as u64;
        self.keep(bytes.get(sent..).unwrap_or_default());
        Ok(())
    }

    pub fn is_congested(&self) -> bool {
        is_congested(&self.output)
    }

    pub async fn fill(&mut self) -> io::Result<usize> {
        std::future::poll_fn(|cx| self.poll_fill(cx)).await
    }

    /// Ends when the client does. What it sends before is kept, up to a limit.
    pub async fn hung_up(&mut self) {
        while self.input.len() <= MAX_EARLY_BYTES {
            if !matches!(self.fill().await, Ok(count) if count > 0) {
                return;
            }
        }
        // More is not read now, so nobody can tell.
        std::future::pending().await
    }

    pub async fn flush(&mut self) -> io::Result<()> {
        std::future::poll_fn(|cx| self.poll_flush(cx)).await
    }

    /// An idle client holds no buffers.
    pub fn release_buffers(&mut self) {
        if self.input.is_empty() {
            spare::give_back_little(&mut self.input);
            self.room = FIRST_READ_BYTES;
        }
    }
}

pub fn is_congested(output: &BytesMut) -> bool {
    output.len() > HIGH_WATER
}

/// Reads once into `input`; shared with the server side.
pub fn poll_fill(
    stream: &mut Stream,
    input: &mut BytesMut,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    input.reserve(READ_BYTES);
    pin!(stream.read_buf(input)).poll(cx)
}

/// The same, at most `most` bytes, into a buffer that is the thread's own while nothing is in it: who
/// has taken everything gives it back.
pub fn poll_fill_lent(
    stream: &mut Stream,
    input: &mut BytesMut,
    most: usize,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    match input.is_empty() {
        true => spare::lend(input),
        false => input.reserve(READ_BYTES),
    }
    let filled = pin!(stream.read_buf(&mut (&mut *input).limit(most))).poll(cx);
    spare::give_back(input);
    filled
}

/// Writes all of `output`; shared with the server side.
pub fn poll_flush(
    stream: &mut Stream,
    output: &mut BytesMut,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    while !output.is_empty() {
        let sent = ready!(Pin::new(&mut *stream).poll_write(cx, output))?;
        if sent == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        output.advance(sent);
    }
    // A TLS session may hold back what the socket did not take.
    Pin::new(stream).poll_flush(cx)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::frame;
    use tokio::io::AsyncWriteExt;
    use tokio::net::{TcpListener, TcpStream};

    async fn pair() -> (Line, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (Line::new(Stream::from(near)), listener.accept().await.unwrap().0)
    }

    async fn send(line: &mut Line, bytes: &[u8]) {
        std::future::poll_fn(|cx| Poll::Ready(line.send(bytes, cx))).await.unwrap();
    }

    #[tokio::test]
    async fn an_answer_in_pieces_leaves_as_one() {
        let (mut line, mut far) = pair().await;
        for piece in ["bind", "row", "done"] {
            send(&mut line, piece.as_bytes()).await;
        }
        assert_eq!(far.try_read(&mut [0]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        line.flush().await.unwrap();
        let mut answer = [0; 100];
        assert_eq!(far.read(&mut answer).await.unwrap(), "bindrowdone".len());
    }

    #[tokio::test]
    async fn many_bytes_leave_at_once_behind_what_was_kept() {
        let (mut line, mut far) = pair().await;
        send(&mut line, b"few").await;
        send(&mut line, &[b'm'; MANY_BYTES]).await;
        assert!(line.output.is_empty());
        let mut heard = vec![0; MANY_BYTES + 3];
        far.read_exact(&mut heard).await.unwrap();
        assert!(heard.starts_with(b"fewm"));
        assert_eq!(line.take_moved().sent, heard.len() as u64);
    }

    #[tokio::test]
    async fn rows_of_an_answer_that_goes_on_leave_many_at_a_time() {
        let (mut line, mut far) = pair().await;
        for _ in 0..3 {
            std::future::poll_fn(|cx| Poll::Ready(line.send_rows(&[b'r'; MANY_BYTES], cx)))
                .await
                .unwrap();
            assert!(line.rows_wait().is_some());
        }
        assert_eq!(far.try_read(&mut [0]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        std::future::poll_fn(|cx| Poll::Ready(line.send_rows(&[b'r'; MANY_BYTES], cx)))
            .await
            .unwrap();
        assert!(line.rows_wait().is_none());
        far.read_exact(&mut vec![0; ROWS_BYTES]).await.unwrap();
        send(&mut line, b"done").await;
        line.urgent = true;
        line.flush().await.unwrap();
        assert_eq!(line.output.capacity(), 0, "the answer is over, and so is its buffer");
    }

    /// One row after the other, none of which ends where a piece ends.
    #[tokio::test]
    async fn an_answer_that_comes_in_two_pieces_is_read_whole_wherever_it_is_cut() {
        let rows = b"D\0\0\0\x0c\0\x01\0\0\0\x02hiD\0\0\0\x06\0\0C\0\0\0\x08SEL\0";
        let (line, mut far) = pair().await;
        let (mut stream, mut input) = (line.stream, BytesMut::new());
        for cut in 1..rows.len() {
            let mut taken = Vec::new();
            for piece in [&rows[..cut], &rows[cut..]] {
                far.write_all(piece).await.unwrap();
                let filled = std::future::poll_fn(|cx| {
                    poll_fill_lent(&mut stream, &mut input, READ_BYTES, cx)
                });
                assert_eq!(filled.await.unwrap(), piece.len());
                let run = frame::bulk_run(&input);
                taken.extend_from_slice(&input.split_to(run));
                spare::give_back(&mut input);
            }
            assert_eq!((&taken[..], &input[..]), (&rows[..20], &rows[20..]), "cut at {cut}");
            input.clear();
        }
    }

    #[tokio::test]
    async fn no_more_is_read_than_was_asked_for() {
        let (line, mut far) = pair().await;
        let (mut stream, mut input) = (line.stream, BytesMut::new());
        far.write_all(&[b'x'; 100]).await.unwrap();
        for left in [60, 20] {
            let filled = std::future::poll_fn(|cx| poll_fill_lent(&mut stream, &mut input, 40, cx));
            assert_eq!(filled.await.unwrap(), 40);
            assert_eq!(input.len(), 100 - left);
        }
    }
}
