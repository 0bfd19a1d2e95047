//! COPY FROM STDIN into tables on several shards: each row goes to the shard of its key, or all data to
//! every copy of a reference table. One transaction: a row that is refused anywhere leaves nothing.
//!
//! Invariant: what is told as an error is the error of a shard, if one has found something wrong with what it
//! was given; weir's own comes only after that.
use super::super::together::Wording;
use super::super::{Session, Stop, cancel};
use super::drawn::{self, Drawing, Fed};
use crate::backend::tcp::Unanswered;
use crate::error::{Error, SqlState};
use crate::exec::copy::Bundles;
use crate::exec::fan_out::{Binding, FanOut, Halt, NO_PARAMETERS};
use crate::exec::relay::Show;
use crate::ids::ShardId;
use crate::plan::copy::{CopyIn, Data, Filled, To};
use crate::plan::placing::{Placing, Written};
use crate::plan::several::copies::{Lock, Mode};
use crate::rules::Rules;
use crate::session::schema::captured_rows;
use crate::session::several::Asked;
use crate::sql::encoding::Encoding;
use crate::txn::{Isolation, Status};
use crate::wire::copy::{Format, Next, Output, Rows};
use crate::wire::frontend::CopyFail;
use crate::wire::{encode, frame};
use bytes::{Buf, Bytes};
use std::sync::Arc;

/// The data on its way.
struct Intake<'p> {
    /// `None`: every shard is given all of it.
    cut: Option<Cut<'p>>,
    /// What each row is given in front of its own fields.
    front: Vec<u8>,
    /// The same of each row: its key.
    drawing: Option<Drawing>,
    bundles: Bundles,
    /// What is left of a CopyData message that has begun.
    passing: usize,
    /// The client has sent all.
    complete: bool,
}

struct Cut<'p> {
    rows: Rows,
    data: &'p Data,
    placing: &'p Placing,
    written: Written,
    rules: Arc<Rules>,
    /// For values that have to be unescaped.
    room: Vec<u8>,
}

/// What has come from the client was taken as far as possible.
enum Taken {
    /// There will be more.
    All,
    /// Up to a row for which there is no key.
    NoKeys,
    End(End),
}

/// How the data ends.
enum End {
    /// It is complete.
    Done,
    /// The client gives up, for that reason.
    GivenUp(String),
    /// weir refuses it.
    Refused(Error),
    /// weir refuses the last that the first shard has been given, unless the shard does.
    Broken(Error),
    /// A shard has refused it.
    Failed,
    Late,
    /// The client wants it to end.
    Requested,
}

/// The client does not speak the protocol.
struct Lost(Error);

impl Session {
    pub(super) async fn copy_in(&mut self, asked: &Asked<'_>, copy: &CopyIn) -> Result<u64, Stop> {
        let shards: Vec<ShardId> = self.serving.rules.shard_ids().collect();
        if self.txn.isolation() != Isolation::ReadCommitted && self.txn.status() != Status::Idle {
            self.take_snapshot(&shards).await?;
        }
        self.open_implicit().await?;
        if let To::All { lock, .. } = &copy.to {
            let lock = Lock { table: lock.clone(), mode: Mode::Alone };
            self.lock_copies(asked, &[lock]).await?;
        }
        let sites = self.site_all(&shards, asked.planned).await?;
        let front = self.front(asked, copy, &sites).await?;
        let wording = Wording::new(&copy.text, asked);
        let mut fan = self.fan_out("weir_copy", &sites, &wording, &[]);
        // A Close in the middle of the data would be an error.
        fan.batch = Some(i32::MAX);
        fan.open(&mut self.txn.participants, Binding { parameters: NO_PARAMETERS, results: &[] });
        self.drain().await?;
        for &at in &sites {
            // A trigger may take its time with a row, and the server reads none meanwhile.
            self.limit_unanswered(at, Unanswered::AsLongAsItTakes);
        }
        let fed = self.feed_shards(&mut fan, &wording, copy, front).await;
        for &at in &sites {
            self.limit_unanswered(at, Unanswered::Limited(crate::backend::tcp::Peer::Server));
        }
        fed?;
        if let To::All { table, columns, .. } = &copy.to {
            let columns = columns.clone().map_err(Error::from)?;
            self.compare_whole(&sites, table, &columns).await?;
        }
        let tag = fan.tag(None);
        let rows: u64 = tag.rsplit_once(' ').and_then(|(_, rows)| rows.parse().ok()).unwrap_or(0);
        match &copy.to {
            To::ByKey(_) => {
                self.database.counters.scattered();
                Ok(rows)
            }
            // Each of them has counted all rows.
            To::All { .. } => {
                self.database.counters.copied();
                Ok(rows / sites.len().max(1) as u64)
            }
        }
    }

    /// The values of columns that the client leaves out and that are the same in all rows.
    async fn front(
        &mut self,
        asked: &Asked<'_>,
        copy: &CopyIn,
        sites: &[usize],
    ) -> Result<Vec<u8>, Stop> {
        let (Some(&at), Ok(data), false) = (sites.first(), &copy.data, copy.filled.is_empty())
        else {
            return Ok(Vec::new());
        };
        if !self.printing(&[at]).iso_dates {
            return Err(Error::refused(
                "COPY that leaves out a column whose default tells the time, under this DateStyle",
                "SET DateStyle = ISO",
            )
            .into());
        }
        let moment = self.moment(asked).await?;
        let written: Vec<String> = copy
            .filled
            .iter()
            .map(|Filled { default, type_name }| {
                format!("(({})::{type_name})::pg_catalog.text", default.written(Some(&moment)))
            })
            .collect();
        self.relay.captured.clear();
        self.say(at, &format!("SELECT {}", written.join(", ")), Show::Capture).await?;
        let captured = self.relay.captured.split();
        let rows = captured_rows(&captured)?;
        let row = rows.first().ok_or_else(|| Error::internal("a default gave no row"))?;
        let values: Vec<Option<&[u8]>> = row.iter().map(|value| value.map(str::as_bytes)).collect();
        Ok(Output::front(data.format.clone(), &values))
    }

    async fn feed_shards(
        &mut self,
        fan: &mut FanOut,
        wording: &Wording,
        copy: &CopyIn,
        front: Vec<u8>,
    ) -> Result<(), Stop> {
        let drawing = copy.drawn.as_ref().map(Drawing::new);
        let bundles = Bundles::new(fan.len());
        let mut intake = Intake { cut: None, front, drawing, bundles, passing: 0, complete: false };
        let end = match self.begin_data(fan, copy, &mut intake).await {
            Ok(()) => self.carry_data(fan, &mut intake).await,
            Err(halt) => ended(halt),
        };
        // The client may still be in the middle of a message that nobody wants.
        self.skip = intake.passing;
        match end {
            Ok(end) => self.end_data(fan, wording, intake, end).await,
            Err(Halt::Broken(broken)) => {
                self.halted(fan, Halt::Broken(broken), wording).await?;
                Err(Stop::End)
            }
            Err(_) => Err(Stop::End),
        }
    }

    /// Waits for the shards, then asks the client for its data.
    async fn begin_data<'p>(
        &mut self,
        fan: &mut FanOut,
        copy: &'p CopyIn,
        intake: &mut Intake<'p>,
    ) -> Result<(), Ended> {
        let mut lines = self.relay.lines(&mut self.client, &mut self.txn.participants);
        self.slot.heeding(None, fan.copy_begun(&mut lines)).await?;
        intake.cut = self.cut(fan, copy).map_err(|error| Ended::End(End::Refused(error)))?;
        let response = fan.copy_response(0).cloned().unwrap_or_default();
        let response = without_columns(&response, copy.in_front());
        encode::message(b'G', &mut self.client.output, |out| out.extend_from_slice(&response));
        Ok(())
    }

    /// How the data is cut; what weir does not do although the shards would.
    fn cut<'p>(&self, fan: &FanOut, copy: &'p CopyIn) -> Result<Option<Cut<'p>>, Error> {
        let data = copy.data.as_ref().map_err(|why| Error::from(why.clone()))?;
        let Data { format, encoding } = data.clone();
        let placing = match &copy.to {
            To::ByKey(placing) => Some(placing.as_ref().map_err(|why| Error::from(why.clone()))?),
            To::All { columns, .. } => {
                columns.as_ref().map_err(|why| Error::from(why.clone()))?;
                None
            }
        };
        if format == Format::Binary {
            self.check_ids(fan)?;
        }
        let Some(placing) = placing else { return Ok(None) };
        let encoding = encoding.as_deref().map_or(self.encoding(), Encoding::named);
        let written = match (encoding, &format) {
            (Encoding::Utf8, Format::Binary) => Written::Binary,
            (Encoding::Utf8, Format::Text(_) | Format::Csv(..)) => Written::Utf8,
            (Encoding::Bytes, Format::Text(_) | Format::Csv(..)) => Written::Bytes,
            (Encoding::Unsafe, _) | (Encoding::Bytes, Format::Binary) => {
                return Err(Error::refused(
                    "COPY over several shards of data in this client encoding",
                    "SET client_encoding = 'UTF8'",
                ));
            }
        };
        let rows = Rows::new(format, self.database.limits.message_bytes);
        let rules = self.serving.rules.clone();
        Ok(Some(Cut { rows, data, placing, written, rules, room: Vec::new() }))
    }

    /// Binary values of some types carry ids that differ between shards.
    pub(super) fn check_ids(&self, fan: &FanOut) -> Result<(), Error> {
        let strange = |stream: usize| {
            let participant = fan.at(stream).and_then(|at| self.txn.participants.get(at));
            participant.is_some_and(|other| other.translation.is_some())
        };
        match (0..fan.len()).any(strange) {
            false => Ok(()),
            true => Err(Error::refused(
                "COPY in the binary format over shards that number types differently",
                "use the text format",
            )),
        }
    }

    async fn carry_data(&mut self, fan: &mut FanOut, intake: &mut Intake<'_>) -> Result<End, Halt> {
        loop {
            match self.take_data(fan, intake) {
                Ok(Taken::All) => {}
                Ok(Taken::NoKeys) => {
                    if let Some(drawing) = &mut intake.drawing
                        && let Err(error) = self.draw_keys(drawing).await
                    {
                        return Ok(End::Refused(error));
                    }
                    continue;
                }
                Ok(Taken::End(end)) => return Ok(end),
                Err(Lost(error)) => {
                    self.say_goodbye(&error.fatal()).await;
                    return Err(Halt::Failed);
                }
            }
            let mut lines = self.relay.lines(&mut self.client, &mut self.txn.participants);
            match self.slot.heeding(None, fan.hungry(&mut lines)).await {
                Ok(()) => {}
                Err(Halt::Failed) => return Ok(End::Failed),
                Err(Halt::Late) => return Ok(End::Late),
                Err(Halt::Requested) => return Ok(End::Requested),
                Err(broken @ Halt::Broken(_)) => return Err(broken),
            }
        }
    }

    /// Takes what has come from the client.
    fn take_data(&mut self, fan: &FanOut, intake: &mut Intake<'_>) -> Result<Taken, Lost> {
        let mut bytes = None;
        loop {
            match self.spread(fan, intake, bytes.take()) {
                Ok(Fed::All) if intake.complete => return Ok(Taken::End(End::Done)),
                Ok(Fed::All) => {}
                Ok(Fed::NoKeys) => return Ok(Taken::NoKeys),
                Err(end) => return Ok(Taken::End(end)),
            }
            if intake.passing > 0 {
                let count = intake.passing.min(self.client.input.len());
                if count == 0 {
                    return Ok(Taken::All);
                }
                bytes = Some(self.client.input.split_to(count).freeze());
                intake.passing -= count;
                continue;
            }
            let limit = self.database.limits.message_bytes;
            let header = match frame::scan(&self.client.input, limit) {
                Ok(Some(header)) => header,
                Ok(None) => return Ok(Taken::All),
                Err(error) => return Err(Lost(error.into())),
            };
            if header.kind != b'd' && self.client.input.len() < header.len {
                return Ok(Taken::All);
            }
            match header.kind {
                b'd' => {
                    self.client.input.advance(frame::HEADER);
                    intake.passing = header.len - frame::HEADER;
                }
                // Flush and Sync mean nothing while COPY data flows.
                b'H' | b'S' => self.client.input.advance(header.len),
                b'c' => {
                    self.client.input.advance(header.len);
                    if let Some(cut) = &mut intake.cut {
                        cut.rows.end();
                    }
                    intake.complete = true;
                }
                b'f' => {
                    let message = self.client.input.split_to(header.len);
                    let body = message.get(frame::HEADER..).unwrap_or_default();
                    let fail = CopyFail::read(body).map_err(|error| Lost(error.into()))?;
                    let reason = String::from_utf8_lossy(fail.reason).into_owned();
                    return Ok(Taken::End(End::GivenUp(reason)));
                }
                other => {
                    self.told(&Error::client(
                        SqlState::PROTOCOL_VIOLATION,
                        format!("unexpected message type 0x{other:02X} during COPY from stdin"),
                    ));
                    return Err(Lost(Error::client(
                        SqlState::PROTOCOL_VIOLATION,
                        "terminating connection because protocol synchronization was lost",
                    )));
                }
            }
        }
    }

    /// Gives the shards what has come, as far as it is whole rows.
    fn spread(
        &mut self,
        fan: &FanOut,
        intake: &mut Intake<'_>,
        bytes: Option<Bytes>,
    ) -> Result<Fed, End> {
        let Intake { cut, front, drawing, bundles, .. } = intake;
        let participants = &mut self.txn.participants;
        let mut give = |stream: usize, row: &[u8]| {
            let participant = fan.at(stream).and_then(|at| participants.get_mut(at));
            if let Some(participant) = participant {
                bundles.put(stream, row, &mut participant.lease.output);
            }
        };
        let Some(cut) = cut else {
            let bytes = bytes.as_deref().unwrap_or_default();
            (0..fan.len()).for_each(|stream| give(stream, bytes));
            return Ok(Fed::All);
        };
        if let Some(bytes) = bytes {
            cut.rows.push(&bytes);
        }
        loop {
            if drawing.as_ref().is_some_and(Drawing::is_empty) && cut.rows.has_some() {
                return Ok(Fed::NoKeys);
            }
            match cut.rows.cut().map_err(|wrong| End::Refused(wrong.into()))? {
                Next::More | Next::End => return Ok(Fed::All),
                Next::Header(header) => {
                    (0..fan.len()).for_each(|stream| give(stream, cut.rows.bytes(&header)));
                }
                Next::Broken(rest) => {
                    give(0, cut.rows.bytes(&rest));
                    return Err(End::Broken(Error::client(
                        SqlState::BAD_COPY_FILE_FORMAT,
                        "COPY data that is no row of the binary format",
                    )));
                }
                Next::Row { row, data } => {
                    let Cut { rows, data: of, placing, written, rules, room } = &mut *cut;
                    let key = drawing.as_mut().and_then(Drawing::next);
                    let own = key.map(|key| drawn::in_front(of, key)).unwrap_or_default();
                    let own = own.as_slice();
                    let shard = match key {
                        Some(key) => placing.shard_of(key, rules),
                        None => placing.shard(rows, &data, *written, rules, room),
                    };
                    let shard = match shard {
                        Ok(shard) => usize::from(shard.0),
                        Err(error) => {
                            give(0, own);
                            give(0, front);
                            give(0, rows.bytes(&row));
                            return Err(End::Broken(error));
                        }
                    };
                    give(shard, own);
                    give(shard, front);
                    give(shard, rows.bytes(&row));
                }
            }
        }
    }

    /// Tells the shards how the data has ended, and waits for what they say.
    async fn end_data(
        &mut self,
        fan: &mut FanOut,
        wording: &Wording,
        mut intake: Intake<'_>,
        end: End,
    ) -> Result<(), Stop> {
        let reason = match &end {
            End::Done => "",
            End::GivenUp(reason) => reason,
            End::Refused(_) | End::Broken(_) => "another row is refused",
            End::Failed => "another shard has refused a row",
            End::Late => "its time is up",
            End::Requested => "canceling statement due to user request",
        };
        for stream in 0..fan.len() {
            let participant = fan.at(stream).and_then(|at| self.txn.participants.get_mut(at));
            if let Some(participant) = participant {
                intake.bundles.flush(stream, &mut participant.lease.output);
            }
            match &end {
                End::Done => fan.copy_done(stream, &mut self.txn.participants),
                End::Broken(_) if stream == 0 => {
                    fan.copy_done(stream, &mut self.txn.participants);
                }
                End::GivenUp(_)
                | End::Refused(_)
                | End::Broken(_)
                | End::Failed
                | End::Late
                | End::Requested => fan.copy_fail(stream, reason, &mut self.txn.participants),
            }
        }
        fan.sync(&mut self.txn.participants);
        match end {
            End::Done => {
                self.await_success(fan, wording).await?;
                self.finish(fan, wording).await
            }
            End::GivenUp(_) => {
                self.finish(fan, wording).await?;
                Err(Error::internal("a shard has not failed a COPY that it was told to").into())
            }
            End::Failed => Err(self.fail_all(fan, wording).await),
            End::Refused(error) | End::Broken(error) => {
                self.finish_quietly(fan, wording).await?;
                Err(self.rather(fan, wording, error).await)
            }
            End::Requested => {
                self.pass_on(&fan.running()).await?;
                self.finish_quietly(fan, wording).await?;
                Err(self.rather(fan, wording, cancel::requested()).await)
            }
            End::Late => {
                self.late_on(&fan.running()).await?;
                self.finish(fan, wording).await?;
                Err(Error::internal("a COPY whose time was up has gone on").into())
            }
        }
    }

    /// An error of weir's own, unless a shard has found something wrong before.
    async fn rather(&mut self, fan: &mut FanOut, wording: &Wording, own: Error) -> Stop {
        let told = |code: SqlState| code != SqlState::QUERY_CANCELED;
        match fan.failure().is_some_and(|failure| told(failure.code())) {
            true => self.fail_all(fan, wording).await,
            false => {
                let failed = fan.failed();
                self.note_cancelled(&failed);
                Stop::Say(own)
            }
        }
    }
}

/// CopyInResponse's body for so many columns fewer.
fn without_columns(response: &[u8], fewer: usize) -> Vec<u8> {
    let mut body = response.to_vec();
    if let Some(count) = body.get_mut(1..3)
        && let Ok(before) = <[u8; 2]>::try_from(&*count)
    {
        let left = usize::from(u16::from_be_bytes(before)).saturating_sub(fewer);
        count.copy_from_slice(&u16::try_from(left).unwrap_or_default().to_be_bytes());
        body.truncate(3 + 2 * left);
    }
    body
}

/// Why the data does not begin.
enum Ended {
    End(End),
    Halt(Halt),
}

impl From<Halt> for Ended {
    fn from(halt: Halt) -> Self {
        match halt {
            Halt::Failed => Ended::End(End::Failed),
            Halt::Late => Ended::End(End::Late),
            Halt::Requested => Ended::End(End::Requested),
            Halt::Broken(_) => Ended::Halt(halt),
        }
    }
}

fn ended(why: Ended) -> Result<End, Halt> {
    match why {
        Ended::End(end) => Ok(end),
        Ended::Halt(halt) => Err(halt),
    }
}
