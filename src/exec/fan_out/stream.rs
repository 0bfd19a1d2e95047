//! One server's answer: what it owes, and what each of its messages means.
use super::{Lines, Row, Within};
use crate::error::{Blame, Error};
use crate::exec::broken::{self, Broken};
use crate::exec::line;
use crate::ids::Oid;
use crate::txn::{Begun, Participant};
use crate::wire::frontend::Object;
use crate::wire::server::{self, ErrorFields, ParameterDescription};
use crate::wire::{encode, frame};
use bytes::Bytes;
use std::collections::VecDeque;
use std::io;
use std::task::{Context, Poll, ready};

/// One server's answer.
pub(in crate::exec) struct Stream {
    pub(in crate::exec) at: usize,
    /// Answers that are still to come.
    pub(super) owed: VecDeque<Owed>,
    pub(in crate::exec) rows: Rows,
    /// Of the parameters, as the server numbers them.
    pub(super) types: Vec<Oid>,
    pub(super) description: Option<Bytes>,
    /// CopyInResponse's or CopyOutResponse's body.
    pub(in crate::exec) copying: Option<Bytes>,
    /// CommandComplete's body, once it has come.
    pub(super) tag: Bytes,
    /// Rows that were not wanted yet when the server had to be free for something else.
    pub(super) kept: VecDeque<Row>,
    /// What has to be closed on the server.
    pub(super) held: Held,
    /// What it remarks on a text that it parses, others have remarked, too, or it is none of the client's.
    pub(super) hushed: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::exec) enum Owed {
    Close,
    Parse,
    Describe,
    Bind,
    Execute,
    Sync,
}

/// What a server holds for nobody but this stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Held {
    Nothing,
    Portal,
    /// The portal and its statement.
    Both,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::exec) enum Rows {
    NotAsked,
    Coming,
    /// So many as were asked for have come.
    Paused,
    Ended,
    /// That has been said.
    Over,
    Failed,
}

/// Whether sockets may be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::exec) enum Io {
    Not,
    Allowed,
}

/// What one message meant.
pub(in crate::exec) enum Said {
    Nothing,
    Row(Row),
    Paused,
    Ended,
    Failed(Bytes),
}

impl Stream {
    pub(super) fn is_over(&self) -> bool {
        self.rows == Rows::Over
    }

    pub(super) fn is_undecided(&self) -> bool {
        self.rows == Rows::Coming && self.kept.is_empty()
    }

    pub(in crate::exec) fn owes(&self) -> bool {
        !self.owed.is_empty()
    }

    /// It has not begun to run what it was sent.
    pub(super) fn is_planning(&self) -> bool {
        let first = self.owed.front();
        matches!(first, Some(Owed::Close | Owed::Parse | Owed::Describe | Owed::Bind))
            && (self.owed.contains(&Owed::Parse) || self.owed.contains(&Owed::Bind))
    }

    pub(super) fn owes_binding(&self) -> bool {
        self.owed.contains(&Owed::Bind)
    }

    pub(super) fn owes_description(&self) -> bool {
        self.owed.contains(&Owed::Describe)
    }

    /// After an error a server ignores everything up to a Sync.
    pub(super) fn clear_failed(&mut self, participant: &mut Participant) {
        if std::mem::take(&mut participant.failed) {
            encode::sync(&mut participant.lease.output);
            self.owed.push_back(Owed::Sync);
        }
    }

    pub(in crate::exec) fn sync(&mut self, participant: &mut Participant) {
        encode::sync(&mut participant.lease.output);
        participant.unsynced = false;
        self.owed.push_back(Owed::Sync);
    }

    pub(super) fn go(&mut self, within: Within, participant: &mut Participant) {
        if matches!(self.owed.back(), None | Some(Owed::Sync)) {
            return;
        }
        match (within, participant.begun) {
            (Within::Segment, Begun::No) => {
                participant.begins_segment();
                encode::flush(&mut participant.lease.output);
            }
            (Within::Segment, Begun::Block | Begun::Aside) | (Within::Query, _) => {
                self.sync(participant);
            }
        }
    }

    pub(super) fn resume(
        &mut self,
        name: &str,
        batch: Option<i32>,
        within: Within,
        participants: &mut [Participant],
    ) {
        let Some(participant) = participants.get_mut(self.at) else { return };
        encode::execute(name.as_bytes(), batch.unwrap_or(0), &mut participant.lease.output);
        self.owed.push_back(Owed::Execute);
        self.rows = Rows::Coming;
        self.go(within, participant);
    }

    /// `types`: as the home shard numbers them.
    pub(super) fn parse(
        &mut self,
        name: &[u8],
        text: &[u8],
        types: &[Oid],
        participant: &mut Participant,
    ) {
        let there = |&oid: &Oid| match &participant.translation {
            Some(translation) => translation.type_there(oid),
            None => oid,
        };
        let out = &mut participant.lease.output;
        encode::parse(name, text, types.iter().map(there), out);
        encode::describe(Object::Statement, name, out);
        self.owed.extend([Owed::Parse, Owed::Describe]);
    }

    pub(in crate::exec) fn close(&mut self, name: &str, participant: &mut Participant) {
        let out = &mut participant.lease.output;
        let held = std::mem::replace(&mut self.held, Held::Nothing);
        if held != Held::Nothing {
            encode::close(Object::Portal, name.as_bytes(), out);
            self.owed.push_back(Owed::Close);
        }
        if held == Held::Both {
            encode::close(Object::Statement, name.as_bytes(), out);
            self.owed.push_back(Owed::Close);
        }
    }

    /// One message of the server.
    pub(in crate::exec) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        lines: &mut Lines<'_>,
        io: Io,
    ) -> Poll<Result<Said, Broken>> {
        let Some(participant) = lines.participants.get_mut(self.at) else {
            let error = Error::internal("rows are expected of no participant");
            return Poll::Ready(Err(Broken::Server(self.at, error)));
        };
        loop {
            let header = match frame::scan(&participant.lease.input, i32::MAX as usize) {
                Ok(header) => header,
                Err(_) => {
                    let what = "a message of impossible length";
                    return Poll::Ready(Err(broken::desync(self.at, participant, what)));
                }
            };
            if let Some(header) = header
                && participant.lease.input.len() >= header.len
            {
                let is_notice = matches!(header.kind, b'N' | b'A');
                if is_notice && lines.client.is_congested() {
                    // Whoever does not read is sent no more, so the server has to wait.
                    let flushed = lines.client.poll_flush(cx);
                    ready!(flushed.map_err(|_| Broken::Client))?;
                }
                let length = match header.kind {
                    // A COPY's rows need not be told apart here.
                    b'd' => frame::run(&participant.lease.input, |kind| kind == b'd'),
                    _ => header.len,
                };
                let message = participant.lease.input.split_to(length).freeze();
                if is_notice {
                    if header.kind == b'A' || !(self.hushed && self.is_planning()) {
                        lines.client.output.extend_from_slice(&message);
                        lines.client.urgent = true;
                    }
                    return Poll::Ready(Ok(Said::Nothing));
                }
                if header.kind == b'S'
                    && participant.reports_to_client()
                    && let Some(body) = message.get(frame::HEADER..)
                    && let Ok((name, value)) = server::parameter_status(body)
                {
                    lines.reports.insert(name.to_owned(), value.to_vec());
                }
                return Poll::Ready(self.hear(header.kind, message, participant));
            }
            if io == Io::Not {
                return Poll::Pending;
            }
            let connection = &mut *participant.lease;
            match line::poll_fill(&mut connection.stream, &mut connection.input, cx) {
                Poll::Ready(Ok(0)) => {
                    let eof = io::ErrorKind::UnexpectedEof.into();
                    return Poll::Ready(Err(broken::lost(self.at, participant, &eof)));
                }
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => {
                    return Poll::Ready(Err(broken::lost(self.at, participant, &error)));
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn hear(
        &mut self,
        kind: u8,
        message: Bytes,
        participant: &mut Participant,
    ) -> Result<Said, Broken> {
        let body = message.slice(frame::HEADER.min(message.len())..);
        let owed = self.owed.front().copied();
        match (kind, owed) {
            (b'D', Some(Owed::Execute)) => return Ok(Said::Row(Row(message))),
            (b'E', _) => return self.hear_error(body, participant),
            (b'S', _) => {
                let heard = participant.lease.hear_parameter(&body);
                heard.map_err(|reason| broken::desync(self.at, participant, reason))?;
                return Ok(Said::Nothing);
            }
            (b't', Some(Owed::Describe)) => {
                if let Ok(description) = ParameterDescription::read(&body) {
                    self.types = description.type_oids().collect();
                }
                return Ok(Said::Nothing);
            }
            (b'1', Some(Owed::Parse)) | (b'2', Some(Owed::Bind)) | (b'3', Some(Owed::Close)) => {}
            (b'n', Some(Owed::Describe)) => {}
            // It waits for COPY data, which whoever runs it sends by itself, or is about to send some.
            (b'G' | b'H', Some(Owed::Execute)) => {
                self.copying = Some(body);
                return Ok(Said::Nothing);
            }
            (b'd', Some(Owed::Execute)) => return Ok(Said::Row(Row(message))),
            (b'c', Some(Owed::Execute)) => return Ok(Said::Nothing),
            (b'T', Some(Owed::Describe)) => {
                self.description = Some(body);
            }
            (b'C', Some(Owed::Execute)) => {
                self.rows = Rows::Ended;
                self.tag = body;
            }
            (b'I', Some(Owed::Execute)) => self.rows = Rows::Ended,
            (b's', Some(Owed::Execute)) => self.rows = Rows::Paused,
            (b'Z', Some(Owed::Sync)) => match server::ready_status(&body) {
                Ok(status) => participant.status = status,
                Err(_) => return Err(self.alien(participant)),
            },
            _ => return Err(self.alien(participant)),
        }
        self.owed.pop_front();
        Ok(match owed {
            Some(Owed::Execute) if self.rows == Rows::Paused => Said::Paused,
            Some(Owed::Execute) => Said::Ended,
            _ => Said::Nothing,
        })
    }

    fn hear_error(&mut self, body: Bytes, participant: &mut Participant) -> Result<Said, Broken> {
        if let Ok(fields) = ErrorFields::read(&body)
            && fields.is_fatal()
        {
            return Err(broken::ended(self.at, participant, fields.to_error(Blame::Shard)));
        }
        // Up to the Sync, if there is one, it ignores everything.
        self.owed.retain(|owed| *owed == Owed::Sync);
        self.rows = Rows::Failed;
        Ok(Said::Failed(body))
    }

    fn alien(&self, participant: &mut Participant) -> Broken {
        broken::desync(self.at, participant, "a message out of turn")
    }
}
