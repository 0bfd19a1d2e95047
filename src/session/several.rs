//! Queries whose rows are on several shards: run the plan's strategy over the transaction's own
//! connections, and give the client one answer.
use super::gather::Gathered;
use super::merged::same_types;
use super::moves::too_much;
use super::place::Place;
use super::statements::Statement;
use super::together::Wording;
use super::{Protocol, Session, Stop};
use crate::error::{Error, SqlState};
use crate::exec::fan_out::{FanOut, Heard, NO_PARAMETERS, TooMuch, Which, Within};
use crate::exec::relay::Show;
use crate::ids::Oid;
use crate::merge::{Bounds, MergeError, Merger, Step};
use crate::plan::several::write::relative_time;
use crate::plan::several::{Count, Merge, Several};
use crate::plan::{Planned, Route};
use crate::sql::moment::Moment;
use crate::txn::{Begun, Status};
use crate::wire::copy::Output;
use crate::wire::frontend::Format;
use crate::wire::params::{Params, Value};
use crate::wire::value::decode;
use crate::wire::{encode, frame};
use bytes::Bytes;
use std::time::Duration;

/// One execution of a query.
#[derive(Clone, Copy)]
pub(super) struct Asked<'q> {
    pub text: &'q str,
    pub planned: &'q Planned,
    /// Of the parameters, all of them.
    pub types: &'q [Oid],
    pub values: &'q [Value<'q>],
    /// The same as in a Bind message.
    pub parameters: &'q [u8],
    /// The formats that the client asks for.
    pub results: &'q [Format],
    /// Rows that are read at a time; 0: all. `None`: servers bind it, and run it when a row is wanted.
    pub batch: Option<i32>,
    /// Of the portal on each server.
    pub name: &'q str,
    /// Of the client's, if it has one.
    pub portal: Option<&'q str>,
    /// Where the text begins in what the client sent, in characters.
    pub shift: i32,
    /// What time it is, once that has been asked.
    pub moment: Option<&'q Moment>,
    /// The client has prepared it, and may execute it again.
    pub statement: Option<&'q Statement>,
}

/// An answer that is on its way.
pub(super) struct Answer {
    pub fan: FanOut,
    pub merger: Merger,
    pub wording: Wording,
    /// RowDescription's body for the client.
    pub columns: Bytes,
    /// It comes from the gather database.
    pub gathered: Option<Gathered>,
    /// The client's transaction had no connections before.
    pub fresh: bool,
    pub kind: Kind,
    /// The rows become COPY data.
    pub copied: Option<Output>,
}

/// What is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Query,
    /// A write, with or without RETURNING.
    Write,
    /// A write to all copies of a table: so many rows of each.
    Copies(u64),
    /// The same by a statement that returns no rows.
    CopiesAlike,
    /// An UPDATE whose rows were inserted anew: so many.
    Moves(u64),
    /// An INSERT of rows that were selected before: so many.
    Selected(u64),
}

/// Where an answer's rows go.
pub(super) enum Sink<'k> {
    Client,
    /// The same, behind a RowDescription of this body, if it has not been told yet.
    Described(&'k mut Option<Bytes>),
    Kept(&'k mut Kept),
    /// They are only counted.
    Nowhere,
}

/// Rows that weir keeps for itself.
pub(super) struct Kept {
    /// DataRow messages.
    pub rows: Vec<Bytes>,
    /// Bytes that may still come.
    pub room: usize,
}

impl Answer {
    /// The command's tag.
    pub fn tag(&self, rows: u64) -> String {
        match self.kind {
            Kind::Query => format!("SELECT {rows}"),
            // In PostgreSQL, too, a portal counts what it has just returned.
            Kind::Moves(_) if !self.columns.is_empty() => format!("UPDATE {rows}"),
            Kind::Moves(moved) => format!("UPDATE {moved}"),
            Kind::Selected(_) if !self.columns.is_empty() => format!("INSERT 0 {rows}"),
            Kind::Selected(inserted) => format!("INSERT 0 {inserted}"),
            Kind::Write | Kind::Copies(_) if !self.columns.is_empty() => self.fan.tag(Some(rows)),
            Kind::Write => self.fan.tag(None),
            Kind::Copies(written) => self.fan.tag(Some(written)),
            Kind::CopiesAlike => self.fan.first_tag(),
        }
    }
}

/// How far an answer got.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Carried {
    All {
        rows: u64,
    },
    /// So many rows as were asked for.
    Paused,
    /// A merge takes more memory than is allowed. The client has no row of it, and nothing runs.
    TooLarge,
}

impl Session {
    /// In the simple protocol.
    pub(super) async fn run_several(
        &mut self,
        statement: &str,
        planned: &Planned,
    ) -> Result<(), Stop> {
        let call = self.admit(self.shape_of(planned, Route::Many))?;
        let mut running = self.running_on_several(planned, call);
        running.said = self.said(statement, &[]);
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
        let outcome = self.answer_whole(&asked).await;
        self.ended_on_several(running, &outcome);
        outcome
    }

    /// Description, rows and tag.
    pub(super) async fn answer_whole(&mut self, asked: &Asked<'_>) -> Result<(), Stop> {
        let alone = self.protocol == Protocol::Simple && self.txn.status() == Status::Idle;
        let mut answer = Box::pin(self.begin_answer(asked)).await?;
        match answer.kind {
            Kind::Query => self.await_plans(&mut answer.fan, &answer.wording).await?,
            Kind::Write
            | Kind::Copies(_)
            | Kind::CopiesAlike
            | Kind::Moves(_)
            | Kind::Selected(_) => {
                self.await_success(&mut answer.fan, &answer.wording).await?;
            }
        }
        if answer.kind == Kind::Query || !answer.columns.is_empty() {
            encode::message(b'T', &mut self.client.output, |out| {
                out.extend_from_slice(&answer.columns);
            });
        }
        let mut carried = self.carry(&mut answer, None).await?;
        if carried == Carried::TooLarge {
            answer = Box::pin(self.gather_instead(asked, &answer)).await?;
            carried = self.carry(&mut answer, None).await?;
        }
        match carried {
            Carried::All { rows } => {
                if alone && answer.kind != Kind::Query {
                    // As in PostgreSQL, what the commit finds comes in the place of the tag.
                    self.commit(Show::Swallow).await?;
                }
                self.complete(&answer.tag(rows))
            }
            Carried::Paused | Carried::TooLarge => {
                Err(Error::internal("an answer paused unasked").into())
            }
        }
    }

    /// What a merge cannot hold the gather database finishes, if it can: the same columns anew.
    pub(super) async fn gather_instead(
        &mut self,
        asked: &Asked<'_>,
        merged: &Answer,
    ) -> Result<Answer, Stop> {
        let plan = asked.planned.plan.clone();
        let several = plan.several.as_deref();
        let gather = several.map(|several| (&several.gather, several.tells_time));
        let too_large = || Error::from(MergeError::TooLarge);
        let Some((gather @ Ok(_), tells_time)) = gather else { return Err(too_large().into()) };
        if let Some(hint) = self.serving.gather.hint() {
            return Err(too_large().detail(hint).into());
        }
        let moment = if tells_time { Some(self.moment(asked).await?) } else { None };
        let asked = &Asked { moment: moment.as_ref(), ..*asked };
        let place = Place::Open { fresh: merged.fresh };
        let mut answer = self.begin_gather(asked, gather, place).await?;
        if !same_types(&answer.columns, &merged.columns)? {
            self.stop(&mut answer.fan, &answer.wording).await?;
            self.release_gather().await?;
            return Err(too_large().into());
        }
        Ok(answer)
    }

    /// Chooses the strategy and asks the shards.
    pub(super) async fn begin_answer(&mut self, asked: &Asked<'_>) -> Result<Answer, Stop> {
        let plan = asked.planned.plan.clone();
        if let Some(scattered) = plan.scattered.as_deref() {
            return self.begin_scattered(asked, scattered).await;
        }
        let Some(several) = plan.several.as_deref() else {
            return Err(Error::internal("a query of several shards without a strategy").into());
        };
        let Several { merge, gather, tells_time, settings: _ } = several;
        self.check_requested()?;
        self.check_constants(several, asked)?;
        let fresh = self.txn.participants.is_empty();
        // Before any connection: see `place`.
        let place = match (merge, gather) {
            (Err(_), Ok(_)) => {
                // Nobody waits for a place where there are none.
                self.gatherable(gather)?;
                Place::Taken(self.place(asked.planned).await?)
            }
            (Ok(_), _) | (Err(_), Err(_)) => Place::Open { fresh },
        };
        let params = Params { types: asked.types, values: asked.values };
        let shards = asked.planned.shards(asked.text, &params, &self.serving.rules)?;
        // What comes now is a part of the transactions that this may begin.
        self.take_snapshot(&shards).await?;
        let moment = if *tells_time { Some(self.moment(asked).await?) } else { None };
        let asked = &Asked { moment: moment.as_ref(), ..*asked };
        if let Ok(merge) = merge
            && let Some(answer) = self.begin_merge(asked, merge).await?
        {
            return Ok(Answer { fresh, ..answer });
        }
        self.begin_gather(asked, gather, place).await
    }

    /// What the query asks of settings and of the time is the same everywhere.
    pub(super) fn check_constants(
        &self,
        several: &Several,
        asked: &Asked<'_>,
    ) -> Result<(), Error> {
        let params = Params { types: asked.types, values: asked.values };
        if let Some(text) = relative_time(asked.planned, asked.text, &params) {
            return Err(Error::refused(
                format!("the time '{text}' in a query over several shards is not supported"),
                "write now() or current_date; if it is no time, bind it as a parameter of type text",
            ));
        }
        let is_set = |name: &str| self.txn.settings.get(name).is_some();
        match several.foreign_setting(asked.planned, asked.text, is_set) {
            None => Ok(()),
            Some(name) => Err(Error::refused(
                format!(
                    "current_setting('{name}') in a query over several shards is not supported"
                ),
                "only settings that this session has SET and whose name has a dot (app.user) are the \
                 same on all shards: SET it first, or send its value as a parameter",
            )),
        }
    }

    /// Carries rows to the client: all, or so many. An error has ended everything that runs.
    pub(super) async fn carry(
        &mut self,
        answer: &mut Answer,
        most: Option<u64>,
    ) -> Result<Carried, Stop> {
        self.carry_into(answer, most, Sink::Client).await
    }

    /// The same, to somewhere else.
    pub(super) async fn carry_into(
        &mut self,
        answer: &mut Answer,
        most: Option<u64>,
        sink: Sink<'_>,
    ) -> Result<Carried, Stop> {
        let carried = self.carry_rows(answer, most, sink).await;
        self.conclude_carried(answer, carried).await
    }

    async fn conclude_carried(
        &mut self,
        answer: &Answer,
        carried: Result<Carried, Stop>,
    ) -> Result<Carried, Stop> {
        match (&answer.gathered, &carried) {
            (None, _) | (Some(_), Ok(Carried::Paused | Carried::TooLarge) | Err(Stop::End)) => {}
            (Some(gathered), Ok(Carried::All { .. })) => self.end_gathered(gathered).await?,
            (Some(_), Err(Stop::Say(_) | Stop::Said)) => self.release_gather().await?,
        }
        carried
    }

    async fn carry_rows(
        &mut self,
        answer: &mut Answer,
        most: Option<u64>,
        mut sink: Sink<'_>,
    ) -> Result<Carried, Stop> {
        let mut rows = 0;
        let began = self.traced_now();
        let ended = loop {
            if most == Some(rows) {
                break self.pause(answer).await.map(|()| Carried::Paused);
            }
            let Answer { fan, merger, wording, copied, .. } = &mut *answer;
            let which = match merger.step() {
                Ok(Step::Row(row)) => {
                    let output = &mut self.client.output;
                    match (&mut sink, copied) {
                        (Sink::Nowhere, _) => {}
                        (Sink::Described(untold), _) => {
                            describe(untold, output);
                            output.extend_from_slice(&row);
                        }
                        (Sink::Client, None) => output.extend_from_slice(&row),
                        (Sink::Client, Some(copied)) => {
                            let body = row.get(frame::HEADER..).unwrap_or_default();
                            copied.row(body, output).map_err(Error::from)?;
                        }
                        (Sink::Kept(kept), _) => {
                            let Some(room) = kept.room.checked_sub(row.len()) else {
                                self.stop(fan, wording).await?;
                                return Err(too_much().into());
                            };
                            kept.room = room;
                            kept.rows.push(row);
                        }
                    }
                    rows += 1;
                    continue;
                }
                Ok(Step::Any) => Which::Any,
                Ok(Step::Of(stream)) => Which::Of(stream),
                Ok(Step::Done) => {
                    break self.conclude_answer(answer).await.map(|()| Carried::All { rows });
                }
                Err(MergeError::TooLarge) => break self.leave_merge(answer).await,
                Err(wrong) => return Err(self.give_up_merge(answer, wrong).await),
            };
            let pushed = match self.next_row(fan, which, wording).await? {
                Some(Heard::Row { stream, row }) => merger.push(stream, row.message().clone()),
                Some(Heard::End { stream }) => {
                    merger.end(stream);
                    let done = fan.at(stream);
                    self.note_server_done(done);
                    Ok(())
                }
                None => break Err(Error::internal("a merge wants rows of no stream").into()),
            };
            match pushed {
                Ok(()) => {}
                Err(MergeError::TooLarge) => break self.leave_merge(answer).await,
                Err(wrong) => return Err(self.give_up_merge(answer, wrong).await),
            }
        };
        let all = matches!(ended, Ok(Carried::All { .. }));
        match answer.kind {
            Kind::Query if answer.gathered.is_some() => {}
            Kind::Query => {
                self.note_stage("merge", began);
                let counters = &self.database.counters;
                counters.merged_rows(rows);
                if all {
                    counters.merged();
                }
            }
            Kind::Write | Kind::Moves(_) | Kind::Selected(_) if all => {
                self.database.counters.scattered();
            }
            Kind::Copies(_) | Kind::CopiesAlike if all => self.database.counters.copied(),
            Kind::Write
            | Kind::Copies(_)
            | Kind::CopiesAlike
            | Kind::Moves(_)
            | Kind::Selected(_) => {}
        }
        ended
    }

    /// weir cannot go on with the rows.
    async fn give_up_merge(&mut self, answer: &mut Answer, wrong: MergeError) -> Stop {
        match self.stop(&mut answer.fan, &answer.wording).await {
            Ok(()) => {
                let failed = answer.fan.failed();
                self.note_cancelled(&failed);
                Stop::Say(wrong.into())
            }
            Err(stop) => stop,
        }
    }

    /// What the shards still send is of no use, but nothing has failed: where it is a part of the
    /// client's transaction, they are heard to their end.
    async fn leave_merge(&mut self, answer: &mut Answer) -> Result<Carried, Stop> {
        self.leave_fan(&mut answer.fan, &answer.wording).await?;
        Ok(Carried::TooLarge)
    }

    /// Every row has been given that the client is to get.
    async fn conclude_answer(&mut self, answer: &mut Answer) -> Result<(), Stop> {
        /// Servers that go on for longer are stopped, where that harms nothing.
        const PATIENCE: Duration = Duration::from_millis(100);
        let Answer { fan, wording, .. } = answer;
        fan.close(&mut self.txn.participants);
        fan.go(&mut self.txn.participants);
        if !self.is_stoppable(fan) {
            return self.finish(fan, wording).await;
        }
        if let Ok(finished) =
            tokio::time::timeout(PATIENCE, self.finish_quietly(fan, wording)).await
        {
            return finished;
        }
        self.stop(fan, wording).await
    }

    /// Each statement is a transaction, so a cancelled one takes nothing with it.
    pub(super) fn is_stoppable(&self, fan: &FanOut) -> bool {
        let alone = |at: usize| {
            self.txn.participants.get(at).is_some_and(|participant| participant.begun == Begun::No)
        };
        fan.within == Within::Query && (0..fan.len()).filter_map(|s| fan.at(s)).all(alone)
    }

    /// Frees the servers for something else until the client asks for more.
    async fn pause(&mut self, answer: &mut Answer) -> Result<(), Stop> {
        let limit = self.database.limits.merge_bytes;
        loop {
            let Answer { fan, wording, .. } = &mut *answer;
            let mut lines = self.relay.lines(&mut self.client, &mut self.txn.participants);
            match fan.pause(&mut lines, limit).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(TooMuch)) => {
                    return Err(Error::client(
                        SqlState::CONFIGURATION_LIMIT_EXCEEDED,
                        "the rows that a portal has read ahead take more memory than is allowed",
                    )
                    .hint("fetch fewer rows at a time, or raise limits.merge_size in weir.toml")
                    .into());
                }
                Err(halt) => self.halted(fan, halt, wording).await?,
            }
        }
    }

    /// LIMIT, OFFSET and memory.
    pub(super) fn bounds(&self, asked: &Asked<'_>, merge: &Merge) -> Result<Bounds, Error> {
        let (limit, offset) = (merge.limit, merge.offset);
        let limit = limit.map_or(Ok(None), |limit| number(limit, asked, "LIMIT", *b"2201W"))?;
        let offset =
            offset.map_or(Ok(None), |offset| number(offset, asked, "OFFSET", *b"2201X"))?;
        let bytes = self.database.limits.merge_bytes;
        Ok(Bounds { offset: offset.unwrap_or(0), limit, bytes })
    }
}

/// Tells a RowDescription that is not told yet.
pub(super) fn describe(untold: &mut Option<Bytes>, out: &mut bytes::BytesMut) {
    if let Some(columns) = untold.take() {
        encode::message(b'T', out, |out| out.extend_from_slice(&columns));
    }
}

/// `None`: no limit.
fn number(
    count: Count,
    asked: &Asked<'_>,
    clause: &str,
    negative: [u8; 5],
) -> Result<Option<u64>, Error> {
    let position = match count {
        Count::Number(number) => return Ok(Some(number)),
        Count::Param(number) => usize::try_from(number).unwrap_or(usize::MAX).wrapping_sub(1),
    };
    let value = asked.values.get(position).copied().unwrap_or(Value::Null);
    let type_oid = asked.types.get(position).copied().unwrap_or(Oid(0));
    if value == Value::Null {
        return Ok(None);
    }
    let number = decode(value, type_oid).map_err(Error::from)?.as_int().ok_or_else(|| {
        let message = format!("{clause} with a parameter that is no whole number");
        Error::refused(message, "bind it as a bigint")
    })?;
    u64::try_from(number)
        .map(Some)
        .map_err(|_| Error::client(SqlState(negative), format!("{clause} must not be negative")))
}
