//! COPY: data from the client on to the server that waits for it, and what concerns several shards.
//!
//! - `rows_in`: FROM STDIN over several shards · `drawn`: of rows whose keys come from a sequence · `out`: TO STDOUT from several shards
mod drawn;
mod out;
mod rows_in;

use super::several::Asked;
use super::{Protocol, Session, Stop};
use crate::backend::tcp::{self, Peer, Unanswered};
use crate::error::{Error, SqlState};
use crate::exec::fan_out::NO_PARAMETERS;
use crate::exec::relay::{Listen, Pumped, Show};
use crate::plan::Planned;
use crate::plan::copy::Copying;
use crate::txn::Status;
use crate::wire::{encode, frame};
use bytes::Buf;
use std::time::Instant;

impl Session {
    /// A COPY that concerns several shards, in both protocols.
    pub(super) async fn copy_several(
        &mut self,
        statement: &str,
        planned: &Planned,
    ) -> Result<(), Stop> {
        let plan = planned.plan.clone();
        let Some(copying) = plan.copying.as_deref() else {
            return Err(Error::internal("a COPY of several shards without a way").into());
        };
        let asked = Asked {
            text: statement,
            planned,
            types: &[],
            values: &[],
            parameters: NO_PARAMETERS,
            results: &[],
            batch: Some(0),
            name: "weir_all",
            portal: None,
            shift: self.edit.as_ref().map_or(0, |edit| edit.shift),
            moment: None,
            statement: None,
        };
        let alone = self.protocol == Protocol::Simple && self.txn.status() == Status::Idle;
        let rows = match copying {
            Copying::In(copy) => self.copy_in(&asked, copy).await?,
            Copying::Out(copy) => self.copy_out(&asked, copy).await?,
            Copying::Query(copy) => self.copy_query(&asked, copy).await?,
        };
        if alone && matches!(copying, Copying::In(_)) {
            // As in PostgreSQL, what the commit finds comes in the place of the tag.
            self.commit(Show::Swallow).await?;
        }
        self.complete(&format!("COPY {rows}"))
    }

    /// Carries COPY data until the client ends it or the server has had enough. The answer that
    /// follows is still expected afterwards.
    pub(super) async fn feed_copy(&mut self) -> Result<(), Stop> {
        let Some(at) = self.relay.copy_in else { return Ok(()) };
        // A trigger may take its time with a row, and the server reads none meanwhile.
        self.limit_unanswered(at, Unanswered::AsLongAsItTakes);
        let fed = self.carry_copy(at).await;
        self.limit_unanswered(at, Unanswered::Limited(Peer::Server));
        fed
    }

    fn limit_unanswered(&self, at: usize, limit: Unanswered) {
        let participant = self.txn.participants.get(at);
        if let Some(socket) = participant.and_then(|other| other.lease.stream.tcp())
            && let Err(error) = tcp::limit_unanswered(socket, limit)
        {
            tracing::debug!(%error, "a server's socket cannot be tuned");
        }
    }

    async fn carry_copy(&mut self, at: usize) -> Result<(), Stop> {
        // The server has read and ignored a Sync that was sent along with Execute.
        if self.relay.forget_sync()
            && let Some(participant) = self.txn.participants.get_mut(at)
        {
            participant.unsynced = true;
        }
        // What is left of a CopyData message that has begun.
        let mut passing = 0;
        loop {
            let done = match self.take_copy(at, &mut passing) {
                Ok(done) => done,
                Err(error) => {
                    self.say_goodbye(&error.fatal()).await;
                    return Err(Stop::End);
                }
            };
            if done {
                self.relay.copy_in = None;
                return Ok(());
            }
            let pumped =
                self.relay.pump(&mut self.client, &mut self.txn.participants, Listen::Either).await;
            match pumped {
                Ok(Pumped::ClientSpoke | Pumped::CopyIn) => {}
                Ok(Pumped::Late) => {
                    self.fail_copy(at, passing);
                    return Ok(());
                }
                Ok(Pumped::Drained) => {
                    self.relay.copy_in = None;
                    self.break_off(at, passing);
                    return Ok(());
                }
                Ok(Pumped::Failed(failed)) => {
                    self.break_off(at, passing);
                    self.fail_segment(Some(failed));
                    return Err(Stop::Said);
                }
                Ok(Pumped::Refused) => {
                    self.break_off(at, passing);
                    self.fail_segment(None);
                    return Err(Stop::Said);
                }
                Err(broken) => {
                    // The client is still in the middle of a message that nobody wants.
                    self.skip = passing;
                    return Err(self.broken(broken).await);
                }
            }
        }
    }

    /// The statement's time is up. PostgreSQL takes no cancel request while it waits for data: it is told
    /// in the COPY itself, and answers with the same SQLSTATE.
    fn fail_copy(&mut self, at: usize, passing: usize) {
        self.relay.copy_in = None;
        self.break_off(at, passing);
        if let Some(participant) = self.txn.participants.get_mut(at) {
            encode::copy_fail("its time is up", &mut participant.lease.output);
        }
        self.relay.budget.cancels(Instant::now());
    }

    /// The server has had enough in the middle of a message: it gets the message's length in zeros,
    /// which it ignores, and the client's rest of it is skipped.
    fn break_off(&mut self, at: usize, rest: usize) {
        if let Some(participant) = self.txn.participants.get_mut(at) {
            let output = &mut participant.lease.output;
            output.resize(output.len() + rest, 0);
        }
        self.skip = rest;
    }

    /// Hands over what has arrived; `true` once the client has ended the COPY.
    fn take_copy(&mut self, at: usize, passing: &mut usize) -> Result<bool, Error> {
        loop {
            let Some(participant) = self.txn.participants.get_mut(at) else { return Ok(true) };
            let output = &mut participant.lease.output;
            if *passing > 0 {
                let count = (*passing).min(self.client.input.len());
                if count == 0 {
                    return Ok(false);
                }
                output.extend_from_slice(self.client.input.get(..count).unwrap_or_default());
                self.client.input.advance(count);
                *passing -= count;
                continue;
            }
            let limit = self.database.limits.message_bytes;
            let Some(header) = frame::scan(&self.client.input, limit)? else { return Ok(false) };
            match header.kind {
                b'd' => *passing = header.len,
                // Flush and Sync mean nothing while COPY data flows.
                b'H' | b'S' => self.client.input.advance(header.len),
                b'c' | b'f' => {
                    if self.client.input.len() < header.len {
                        return Ok(false);
                    }
                    let message = self.client.input.split_to(header.len);
                    output.extend_from_slice(&message);
                    // In the extended protocol the server keeps its answer to itself otherwise.
                    encode::flush(output);
                    return Ok(true);
                }
                other => {
                    self.told(&Error::client(
                        SqlState::PROTOCOL_VIOLATION,
                        format!("unexpected message type 0x{other:02X} during COPY from stdin"),
                    ));
                    return Err(Error::client(
                        SqlState::PROTOCOL_VIOLATION,
                        "terminating connection because protocol synchronization was lost",
                    ));
                }
            }
        }
    }
}
