//! One answer: which messages it consists of, and what the client sees of them.
use super::reply::{Edit, Show, Step};
use super::{MAX_INSPECTED_BYTES, Relay};
use crate::error::{Blame, Error, SqlState};
use crate::exec::broken::{Broken, desync, ended};
use crate::exec::describe::ResultShape;
use crate::exec::line::Line;
use crate::exec::spare;
use crate::txn::Participant;
use crate::wire::error_response;
use crate::wire::frame::{self, Frame};
use crate::wire::server::{self, ErrorFields, ParameterDescription, RowDescription};
use bytes::{Buf, BytesMut};
use std::rc::Rc;
use std::task::Context;

/// The answer that is read now.
pub(super) struct Head {
    pub at: usize,
    pub step: Step,
    pub show: Show,
    pub edit: Option<Rc<Edit>>,
}

/// How far the head of the queue got.
pub(super) enum Advance {
    NeedsBytes,
    Done,
    CopyIn,
    Failed,
    Refused,
}

/// How much of a server's input was taken, and where the run begins that the client has yet to get.
#[derive(Default)]
struct Taking {
    taken: usize,
    run: usize,
    /// There is more in the run than rows.
    says_more: bool,
}

impl Taking {
    /// Sends the run up to here.
    fn send(
        &mut self,
        client: &mut Line,
        input: &BytesMut,
        cx: &mut Context<'_>,
    ) -> Result<(), Broken> {
        match input.get(self.run..self.taken) {
            Some([]) => {}
            Some(bytes) if self.says_more => {
                client.send(bytes, cx).map_err(|_| Broken::Client)?;
                // The server did not wait for more either.
                client.urgent = true;
            }
            Some(rows) => client.send_rows(rows, cx).map_err(|_| Broken::Client)?,
            None => {}
        }
        (self.run, self.says_more) = (self.taken, false);
        Ok(())
    }
}

impl Relay {
    /// Takes from the head's server what belongs to the head's step. Runs of messages that go on
    /// untouched are sent with one write.
    pub(super) fn advance(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut Line,
        participant: &mut Participant,
        head: &Head,
    ) -> Result<Advance, Broken> {
        let mut taking = Taking::default();
        self.handing = true;
        // Whatever ends it, what was taken is handed on: the client may have had its beginning.
        let outcome = loop {
            match self.take_one(cx, client, participant, head, &mut taking) {
                Ok(None) => {}
                Ok(Some(advance)) => break Ok(advance),
                Err(broken) => break Err(broken),
            }
        };
        taking.send(client, &participant.lease.input, cx)?;
        participant.lease.input.advance(taking.taken);
        spare::give_back(&mut participant.lease.input);
        self.handing = false;
        outcome
    }

    /// Takes the next message, or as much of it as there is. `None`: the answer goes on.
    fn take_one(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut Line,
        participant: &mut Participant,
        head: &Head,
        taking: &mut Taking,
    ) -> Result<Option<Advance>, Broken> {
        let rest = participant.lease.input.get(taking.taken..).unwrap_or_default();
        if self.passing.0 > 0 {
            let step = self.passing.0.min(rest.len());
            self.passing.0 -= step;
            taking.taken += step;
            if !self.passing.1 {
                taking.run = taking.taken;
            }
            return Ok((step == 0).then_some(Advance::NeedsBytes));
        }
        let forward = head.show == Show::Forward;
        if forward {
            let run = frame::bulk_run(rest);
            if run > 0 {
                taking.taken += run;
                return Ok(None);
            }
        }
        let header = match frame::scan(rest, i32::MAX as usize) {
            Ok(Some(header)) => header,
            Ok(None) => return Ok(Some(Advance::NeedsBytes)),
            Err(_) => return Err(desync(head.at, participant, "a message of impossible length")),
        };
        if !frame::is_bulk(header.kind) {
            if header.len > MAX_INSPECTED_BYTES {
                return Err(desync(head.at, participant, "a control message that is too long"));
            }
            return match rest.len() < header.len {
                true => Ok(Some(Advance::NeedsBytes)),
                false => self.take_control(cx, client, participant, head, header, taking),
            };
        }
        if head.show == Show::Capture && header.kind == b'D' {
            let Some(row) = rest.get(..header.len) else { return Ok(Some(Advance::NeedsBytes)) };
            self.captured.extend_from_slice(row);
        }
        if !forward {
            taking.send(client, &participant.lease.input, cx)?;
        }
        self.passing = (header.len, forward);
        Ok(None)
    }

    /// Takes a message that has to be understood, and is here whole.
    fn take_control(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut Line,
        participant: &mut Participant,
        head: &Head,
        header: Frame,
        taking: &mut Taking,
    ) -> Result<Option<Advance>, Broken> {
        let Head { at, step, show, ref edit } = *head;
        let from = taking.taken;
        let whole = from..from + header.len;
        let message = participant.lease.input.get(whole.clone()).unwrap_or_default();
        let body = message.get(5..).unwrap_or_default();
        if header.kind == b'E'
            && let Ok(fields) = ErrorFields::read(body)
            && fields.is_fatal()
        {
            return Err(ended(at, participant, fields.to_error(Blame::Shard)));
        }
        // Of servers that are told the same at the same time each may report it.
        let again = header.kind == b'E' && self.error.is_some();
        let seen = self.see(header.kind, body, step, show);
        if header.kind == b'E' {
            self.erred = at;
        }
        if let Seen::Status(status) = seen {
            participant.status = status;
        }
        if header.kind == b'S' {
            let body = body.to_vec();
            self.hear_parameter(&body, participant)
                .map_err(|reason| desync(at, participant, reason))?;
        }
        let cancelled = header.kind == b'E' && self.error == Some(SqlState::QUERY_CANCELED);
        let verdict = if cancelled { self.budget.verdict() } else { None };
        let translated = match verdict {
            Some(verdict) => Some(Ok(told(&verdict))),
            None => translated(header.kind, participant, from, header.len, edit.as_deref()),
        };
        let shown = shows(header.kind, show) && !again;
        if translated.is_some() || !shown {
            taking.send(client, &participant.lease.input, cx)?;
            taking.run = whole.end;
        } else {
            taking.says_more = true;
        }
        taking.taken = whole.end;
        if step == Step::DescribeStatement {
            let sent = participant.lease.input.get(whole).unwrap_or_default();
            match (show, &translated) {
                (Show::Capture, _) => self.captured.extend_from_slice(sent),
                (Show::Forward, Some(Ok(told))) => self.note_description(header.kind, told),
                (Show::Forward, Some(Err(_)) | None) => self.note_description(header.kind, sent),
                (Show::Swallow | Show::Notices | Show::Discard, _) => {}
            }
        }
        match translated {
            Some(Ok(told)) if shown => {
                client.send(&told, cx).map_err(|_| Broken::Client)?;
                client.urgent = true;
            }
            Some(Ok(_)) | None => {}
            Some(Err(error)) => {
                error_response::write(&error, &mut client.output);
                return Ok(Some(Advance::Refused));
            }
        }
        match seen {
            Seen::Goes => Ok(None),
            Seen::Status(_) | Seen::Ends => Ok(Some(Advance::Done)),
            Seen::CopyIn => Ok(Some(Advance::CopyIn)),
            Seen::Failed => Ok(Some(Advance::Failed)),
            Seen::Alien => Err(desync(at, participant, "a message out of turn")),
        }
    }

    fn hear_parameter(
        &mut self,
        body: &[u8],
        participant: &mut Participant,
    ) -> Result<(), &'static str> {
        participant.lease.hear_parameter(body)?;
        // What holds in a transaction of weir's own is no concern of the client's.
        if participant.reports_to_client()
            && let Ok((name, value)) = server::parameter_status(body)
        {
            self.reports.insert(name.to_owned(), value.to_vec());
        }
        Ok(())
    }

    /// What a control message means for the step it came in.
    fn see(&mut self, kind: u8, body: &[u8], step: Step, show: Show) -> Seen {
        match kind {
            b'Z' => match (step, server::ready_status(body)) {
                (Step::Sync | Step::Query, Ok(status)) => Seen::Status(status),
                _ => Seen::Alien,
            },
            b'E' => {
                if show != Show::Discard {
                    let code = ErrorFields::read(body).map(|fields| fields.code());
                    self.error = Some(code.unwrap_or(SqlState::INTERNAL_ERROR));
                }
                match step {
                    Step::Sync | Step::Query => Seen::Goes,
                    _ => Seen::Failed,
                }
            }
            b'N' | b'S' | b'A' => Seen::Goes,
            _ if show == Show::Discard => Seen::Goes,
            b'C' => {
                self.statement_ended();
                self.tag.clear();
                self.tag.extend_from_slice(body.strip_suffix(&[0]).unwrap_or(body));
                self.ends_or_goes(kind, step)
            }
            b'G' if matches!(step, Step::Execute | Step::Query) => Seen::CopyIn,
            b's' | b'I' if show == Show::Forward => {
                self.statement_ended();
                self.ends_or_goes(kind, step)
            }
            b'I' | b's' | b'1' | b'2' | b'3' | b'n' | b't' => self.ends_or_goes(kind, step),
            b'T' => match step {
                Step::DescribePortal | Step::DescribeStatement => Seen::Ends,
                _ => Seen::Goes,
            },
            b'H' | b'c' | b'V' => Seen::Goes,
            _ => Seen::Alien,
        }
    }

    fn note_description(&mut self, kind: u8, message: &[u8]) {
        match (kind, RowDescription::read(message.get(5..).unwrap_or_default())) {
            (b'T', Ok(description)) => self.described.push_back(ResultShape::of(&description)),
            (b'n', _) => self.described.push_back(ResultShape::NOTHING),
            _ => {}
        }
    }

    fn ends_or_goes(&self, kind: u8, step: Step) -> Seen {
        match (step, kind) {
            (Step::Query, b'C' | b'I') => Seen::Goes,
            (Step::Parse, b'1')
            | (Step::Bind, b'2')
            | (Step::Close, b'3')
            | (Step::DescribePortal | Step::DescribeStatement, b'n')
            | (Step::Execute, b'C' | b'I' | b's') => Seen::Ends,
            (Step::DescribeStatement, b't') => Seen::Goes,
            _ => Seen::Alien,
        }
    }
}

enum Seen {
    Goes,
    Ends,
    Status(server::TransactionStatus),
    CopyIn,
    Failed,
    Alien,
}

/// In the place of a server's "canceling statement due to user request", where the user is weir.
fn told(verdict: &Error) -> BytesMut {
    let mut message = BytesMut::new();
    error_response::write(verdict, &mut message);
    message
}

/// A description with the ids that the home shard uses, an error in the client's terms; `None` where
/// that is the same anyway.
fn translated(
    kind: u8,
    participant: &Participant,
    from: usize,
    length: usize,
    edit: Option<&Edit>,
) -> Option<Result<BytesMut, Error>> {
    let body = participant.lease.input.get(from + 5..from + length)?;
    let mut message = BytesMut::new();
    if let (b'E' | b'N', Some(edit)) = (kind, edit) {
        let fields = ErrorFields::read(body).ok()?;
        fields.write_edited(kind, |field, text| edit.text(field, text), &mut message);
        return Some(Ok(message));
    }
    let translation = participant.translation.as_deref()?;
    match kind {
        b'T' => {
            let description = RowDescription::read(body).ok()?;
            if let Err(error) = translation.check(&description) {
                return Some(Err(error));
            }
            let table = |oid| translation.table_at_home(oid);
            description.write_mapped(table, |oid| translation.type_at_home(oid), &mut message);
        }
        b't' => {
            let description = ParameterDescription::read(body).ok()?;
            description.write_mapped(|oid| translation.type_at_home(oid), &mut message);
        }
        _ => return None,
    }
    Some(Ok(message))
}

fn shows(kind: u8, show: Show) -> bool {
    match show {
        Show::Forward => !matches!(kind, b'Z' | b'S'),
        Show::Swallow | Show::Capture => matches!(kind, b'E' | b'A'),
        Show::Notices => matches!(kind, b'E' | b'A' | b'N'),
        Show::Discard => kind == b'A',
    }
}
