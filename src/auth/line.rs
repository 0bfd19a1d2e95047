//! Whole messages from a line that may be slow, broken or hostile.
use crate::wire::{WireError, frame};
use bytes::BytesMut;
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Why no message came.
#[derive(Debug)]
pub enum LineError {
    Io(io::Error),
    Wire(WireError),
    /// The peer closed the line between two messages or inside one.
    Closed,
}

/// One whole message.
#[derive(Debug)]
pub struct Message {
    pub kind: u8,
    whole: BytesMut,
}

impl Message {
    pub fn body(&self) -> &[u8] {
        self.whole.get(frame::HEADER..).unwrap_or_default()
    }
}

/// The next message of at most `max` bytes; what came after it stays in `input`.
pub async fn receive<S: AsyncRead + Unpin>(
    stream: &mut S,
    input: &mut BytesMut,
    max: usize,
) -> Result<Message, LineError> {
    loop {
        if let Some(message) = take(input, max).map_err(LineError::Wire)? {
            return Ok(message);
        }
        if stream.read_buf(input).await.map_err(LineError::Io)? == 0 {
            return Err(LineError::Closed);
        }
    }
}

/// The message at the front of `input`, if it is whole.
pub fn take(input: &mut BytesMut, max: usize) -> Result<Option<Message>, WireError> {
    match frame::scan(input, max)? {
        Some(found) if found.len <= input.len() => {
            Ok(Some(Message { kind: found.kind, whole: input.split_to(found.len) }))
        }
        Some(_) | None => Ok(None),
    }
}

/// Sends everything in `output`.
pub async fn send<S: AsyncWrite + Unpin>(stream: &mut S, output: &mut BytesMut) -> io::Result<()> {
    stream.write_all_buf(output).await?;
    stream.flush().await
}

impl std::fmt::Display for LineError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Wire(error) => error.fmt(f),
            Self::Closed => f.write_str("the connection was closed"),
        }
    }
}

impl std::error::Error for LineError {}

impl From<io::Error> for LineError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<WireError> for LineError {
    fn from(error: WireError) -> Self {
        Self::Wire(error)
    }
}
