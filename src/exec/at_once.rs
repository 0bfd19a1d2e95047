//! Words of weir's own, said to several servers at the same time. Each one's answer is its own: one that
//! refuses, or is lost, ends nobody else's.
use super::broken::{self, Broken};
use super::fan_out::Lines;
use super::line;
use super::relay::MAX_INSPECTED_BYTES;
use crate::error::{Blame, Error, SqlState};
use crate::txn::Participant;
use crate::wire::server::{self, ErrorFields};
use crate::wire::{encode, frame};
use bytes::Bytes;
use std::io;
use std::task::{Context, Poll};

/// What a server has made of what it was told.
#[derive(Debug)]
pub enum Answer {
    /// The last command tag.
    Done(Vec<u8>),
    /// It has reported an error: the message's body.
    Refused(SqlState, Bytes),
    /// Its connection cannot be used any more, and whether it has done it nobody knows.
    Lost(Error),
}

impl Answer {
    pub fn is(&self, tag: &str) -> bool {
        matches!(self, Answer::Done(said) if said == tag.as_bytes())
    }
}

/// What was said to whom.
#[derive(Default)]
pub struct AtOnce {
    asked: Vec<Asked>,
}

struct Asked {
    at: usize,
    /// So many ReadyForQuery are to come.
    owes: usize,
    answer: Answer,
}

/// The statement's time is up.
#[derive(Debug)]
pub struct Late;

impl AtOnce {
    /// Says a simple query to a participant.
    pub fn ask(&mut self, participants: &mut [Participant], at: usize, text: &str) {
        let Some(participant) = participants.get_mut(at) else { return };
        participant.lease.session.unnamed = None;
        participant.unsynced = false;
        let mut owes = 1;
        if std::mem::take(&mut participant.failed) {
            // After an error in an extended message it ignores everything up to a Sync.
            encode::sync(&mut participant.lease.output);
            owes += 1;
        }
        encode::query(text.as_bytes(), &mut participant.lease.output);
        self.asked.push(Asked { at, owes, answer: Answer::Done(Vec::new()) });
    }

    /// The participants that have not answered yet.
    pub fn running(&self) -> Vec<usize> {
        self.asked.iter().filter(|asked| asked.owes > 0).map(|asked| asked.at).collect()
    }

    /// Waits for all answers. The client is not listened to: what has begun does not depend on it.
    pub async fn wait(&mut self, lines: &mut Lines<'_>) {
        std::future::poll_fn(|cx| self.poll(cx, lines)).await;
    }

    /// The same within the statement's time.
    pub async fn wait_in_time(&mut self, lines: &mut Lines<'_>) -> Result<(), Late> {
        std::future::poll_fn(|cx| match self.poll(cx, lines) {
            Poll::Ready(()) => Poll::Ready(Ok(())),
            Poll::Pending => lines.budget.poll(cx).map(|()| Err(Late)),
        })
        .await
    }

    /// The answers, in the order of the questions. Who has given none is not waited for any more.
    pub fn answers(self, participants: &mut [Participant]) -> Vec<(usize, Answer)> {
        let answers = self.asked.into_iter().map(|Asked { at, owes, answer }| {
            let silent = participants.get_mut(at).filter(|_| owes > 0);
            let Some(participant) = silent else { return (at, answer) };
            participant.lease.taint("it did not answer in time");
            let name = &participant.lease.work.server.name;
            let message = format!("{name} did not answer in time");
            (at, Answer::Lost(Error::shard(SqlState::CONNECTION_FAILURE, message)))
        });
        answers.collect()
    }

    fn poll(&mut self, cx: &mut Context<'_>, lines: &mut Lines<'_>) -> Poll<()> {
        for asked in self.asked.iter_mut().filter(|asked| asked.owes > 0) {
            if let Poll::Ready(Err(Broken::Server(_, error))) = asked.poll(cx, lines) {
                asked.owes = 0;
                asked.answer = Answer::Lost(error);
            }
        }
        match self.asked.iter().all(|asked| asked.owes == 0) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }
}

impl Asked {
    /// Up to the last ReadyForQuery.
    fn poll(&mut self, cx: &mut Context<'_>, lines: &mut Lines<'_>) -> Poll<Result<(), Broken>> {
        let at = self.at;
        let Some(participant) = lines.participants.get_mut(at) else {
            let error = Error::internal("an answer is expected of no participant");
            return Poll::Ready(Err(Broken::Server(at, error)));
        };
        if participant.lease.work.is_cut_off() {
            return Poll::Ready(Err(broken::cut_off(at, participant)));
        }
        let connection = &mut *participant.lease;
        let flushed = line::poll_flush(&mut connection.stream, &mut connection.output, cx);
        if let Poll::Ready(Err(error)) = flushed {
            return Poll::Ready(Err(broken::lost(at, participant, &error)));
        }
        while self.owes > 0 {
            match frame::scan(&participant.lease.input, MAX_INSPECTED_BYTES) {
                Ok(Some(header)) if participant.lease.input.len() >= header.len => {
                    let message = participant.lease.input.split_to(header.len).freeze();
                    if matches!(header.kind, b'N' | b'A') {
                        lines.client.output.extend_from_slice(&message);
                        continue;
                    }
                    let body = message.slice(frame::HEADER.min(message.len())..);
                    if header.kind == b'S'
                        && participant.reports_to_client()
                        && let Ok((name, value)) = server::parameter_status(&body)
                    {
                        lines.reports.insert(name.to_owned(), value.to_vec());
                    }
                    self.hear(header.kind, body, participant)?;
                    continue;
                }
                Ok(_) => {}
                Err(_) => {
                    let what = "a message of impossible length";
                    return Poll::Ready(Err(broken::desync(at, participant, what)));
                }
            }
            let connection = &mut *participant.lease;
            match line::poll_fill(&mut connection.stream, &mut connection.input, cx) {
                Poll::Ready(Ok(count)) if count > 0 => {}
                Poll::Ready(Ok(_)) => {
                    let eof = io::ErrorKind::UnexpectedEof.into();
                    return Poll::Ready(Err(broken::lost(at, participant, &eof)));
                }
                Poll::Ready(Err(error)) => {
                    return Poll::Ready(Err(broken::lost(at, participant, &error)));
                }
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(()))
    }

    fn hear(&mut self, kind: u8, body: Bytes, participant: &mut Participant) -> Result<(), Broken> {
        match kind {
            b'E' => {
                let fields = ErrorFields::read(&body).ok();
                if let Some(fields) = fields.as_ref().filter(|fields| fields.is_fatal()) {
                    let error = fields.to_error(Blame::Shard);
                    return Err(broken::ended(self.at, participant, error));
                }
                let code = fields.map_or(SqlState::INTERNAL_ERROR, |fields| fields.code());
                // The first is the reason.
                if matches!(self.answer, Answer::Done(_)) {
                    self.answer = Answer::Refused(code, body);
                }
            }
            b'C' => {
                if let Answer::Done(tag) = &mut self.answer {
                    *tag = body.strip_suffix(&[0]).unwrap_or(&body).to_vec();
                }
            }
            b'S' => {
                let heard = participant.lease.hear_parameter(&body);
                heard.map_err(|reason| broken::desync(self.at, participant, reason))?;
            }
            b'Z' => match server::ready_status(&body) {
                Ok(status) => {
                    participant.status = status;
                    self.owes -= 1;
                }
                Err(_) => return Err(broken::desync(self.at, participant, "no status")),
            },
            b'T' | b'D' | b'I' => {}
            _ => return Err(broken::desync(self.at, participant, "a message out of turn")),
        }
        Ok(())
    }
}
