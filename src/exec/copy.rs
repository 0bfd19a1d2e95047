//! COPY on several servers at the same time: data to them, many rows in a message. (What they send goes the
//! way of rows.)
//!
//! A server that takes COPY data ignores Sync, so none is sent before the data has ended.
//!
//! Memory: a bundle for each server, and what is unsent to it, up to a mark above which the client is not
//! read. A server that stops reading so stops the client.
use super::broken::Broken;
use super::fan_out::{FanOut, Halt, Io, Lines, Rows, Said, Stream};
use super::line;
use crate::txn::Participant;
use crate::wire::encode;
use bytes::{Bytes, BytesMut};
use std::task::{Context, Poll};

/// A bundle of this size is a message.
const BUNDLE_BYTES: usize = 32 * 1024;

/// Rows that are not worth a message yet, by stream.
pub struct Bundles(Vec<BytesMut>);

impl Bundles {
    pub fn new(streams: usize) -> Self {
        Self(vec![BytesMut::new(); streams])
    }

    /// One more row for a stream. `output`: what is unsent to its server.
    pub fn put(&mut self, stream: usize, row: &[u8], output: &mut BytesMut) {
        let Some(bundle) = self.0.get_mut(stream) else { return };
        if row.len() >= BUNDLE_BYTES {
            flush(bundle, output);
            encode::copy_data(row, output);
            return;
        }
        bundle.extend_from_slice(row);
        if bundle.len() >= BUNDLE_BYTES {
            flush(bundle, output);
        }
    }

    /// What is left for a stream.
    pub fn flush(&mut self, stream: usize, output: &mut BytesMut) {
        if let Some(bundle) = self.0.get_mut(stream) {
            flush(bundle, output);
        }
    }
}

fn flush(bundle: &mut BytesMut, output: &mut BytesMut) {
    if !bundle.is_empty() {
        encode::copy_data(bundle, output);
        bundle.clear();
    }
}

impl FanOut {
    /// Waits until every server has begun with its COPY.
    pub async fn copy_begun(&mut self, lines: &mut Lines<'_>) -> Result<(), Halt> {
        self.drain(
            lines,
            |stream| stream.copying.is_none() && stream.rows == Rows::Coming,
            &mut |_, _| {},
        )
        .await?;
        if self.failure.is_some() { Err(Halt::Failed) } else { Ok(()) }
    }

    /// The body of a server's CopyInResponse or CopyOutResponse.
    pub fn copy_response(&self, stream: usize) -> Option<&Bytes> {
        self.streams.get(stream)?.copying.as_ref()
    }

    /// Waits until the client has sent more of its data, and all servers can take some.
    pub async fn hungry(&mut self, lines: &mut Lines<'_>) -> Result<(), Halt> {
        std::future::poll_fn(|cx| {
            lines.flush(cx)?;
            self.poll_refusals(cx, lines)?;
            let behind = |stream: &Stream| {
                let participant = lines.participants.get(stream.at);
                participant.is_some_and(|other| line::is_congested(&other.lease.output))
            };
            if self.streams.iter().any(behind) {
                return lines.poll_rest(cx);
            }
            if let Poll::Ready(Err(error)) = lines.client.poll_flush(cx) {
                return Poll::Ready(Err(error.into()));
            }
            match lines.client.poll_fill(cx) {
                Poll::Ready(Ok(0) | Err(_)) => Poll::Ready(Err(Halt::Broken(Broken::Client))),
                Poll::Ready(Ok(_)) => Poll::Ready(Ok(())),
                Poll::Pending => lines.budget.poll(cx).map(|()| Err(Halt::Late)),
            }
        })
        .await
    }

    /// A server that says something before its data has ended has had enough.
    fn poll_refusals(&mut self, cx: &mut Context<'_>, lines: &mut Lines<'_>) -> Result<(), Halt> {
        for index in 0..self.streams.len() {
            while let Some(stream) = self.streams.get_mut(index).filter(|stream| stream.owes()) {
                match stream.poll(cx, lines, Io::Allowed) {
                    Poll::Ready(Ok(Said::Failed(body))) => self.note_failure(index, body),
                    Poll::Ready(Ok(Said::Row(_) | Said::Ended | Said::Paused | Said::Nothing)) => {}
                    Poll::Ready(Err(broken)) => return Err(Halt::Broken(broken)),
                    Poll::Pending => break,
                }
            }
        }
        if self.failure.is_some() { Err(Halt::Failed) } else { Ok(()) }
    }

    /// Tells a server that it has all its data. Nothing is told to one that has refused it.
    pub fn copy_done(&mut self, stream: usize, participants: &mut [Participant]) {
        self.end_data(stream, participants, encode::copy_done);
    }

    /// Tells a server that its COPY fails.
    pub fn copy_fail(&mut self, stream: usize, reason: &str, participants: &mut [Participant]) {
        self.failing = true;
        self.end_data(stream, participants, |out| encode::copy_fail(reason, out));
    }

    fn end_data(
        &mut self,
        stream: usize,
        participants: &mut [Participant],
        say: impl FnOnce(&mut BytesMut),
    ) {
        let Some(stream) = self.streams.get_mut(stream) else { return };
        if let Some(participant) = participants.get_mut(stream.at)
            && stream.rows == Rows::Coming
        {
            say(&mut participant.lease.output);
            stream.close(&self.name, participant);
        }
    }

    /// The end of the messages, for every server: the transaction that is open there stays open.
    pub fn sync(&mut self, participants: &mut [Participant]) {
        for stream in &mut self.streams {
            if let Some(participant) = participants.get_mut(stream.at) {
                stream.sync(participant);
            }
        }
    }
}
