//! COPY TO STDOUT from several shards: of a table the shards' own data, of a query its rows, written here.
//!
//! A server sends a message for each row, and the first begins with what precedes all rows.
use super::super::several::{Asked, Carried};
use super::super::together::{Tells, Wording};
use super::super::{Session, Stop};
use crate::error::{Error, SqlState};
use crate::exec::fan_out::{Binding, FanOut, Heard, NO_PARAMETERS, Which};
use crate::plan::copy::{CopyOut, CopyQuery, Data};
use crate::plan::{Planned, Route};
use crate::sql::copy::Forced;
use crate::sql::encoding::Encoding;
use crate::wire::copy::{BinaryHeader, Format, Output, binary_header};
use crate::wire::frontend::Format as ValueFormat;
use crate::wire::params::Params;
use crate::wire::server::RowDescription;
use crate::wire::{encode, frame};
use bytes::{BufMut, BytesMut};

/// What precedes the rows in the data of several shards: the client gets it once.
struct Headers {
    format: Format,
    /// The client has the line with names.
    told: bool,
    binary: BinaryHeader,
    /// By stream: it has come.
    come: Vec<bool>,
}

impl Session {
    /// Sends the client the rows of all shards as they come; how many they were.
    pub(super) async fn copy_out(
        &mut self,
        asked: &Asked<'_>,
        copy: &CopyOut,
    ) -> Result<u64, Stop> {
        let params = Params { types: asked.types, values: asked.values };
        let shards = asked.planned.shards(asked.text, &params, &self.serving.rules)?;
        self.take_snapshot(&shards).await?;
        let sites = self.site_all(&shards, asked.planned).await?;
        let wording = Wording::new(&copy.text, asked);
        let mut fan = self.fan_out(asked.name, &sites, &wording, &[]);
        fan.open(&mut self.txn.participants, Binding { parameters: NO_PARAMETERS, results: &[] });
        self.go(&mut fan).await?;
        loop {
            let mut lines = self.relay.lines(&mut self.client, &mut self.txn.participants);
            match self.slot.heeding(self.passed_on, fan.copy_begun(&mut lines)).await {
                Ok(()) => break,
                Err(halt) => self.halted(&mut fan, halt, &wording).await?,
            }
        }
        let format = match self.checked(&fan, copy) {
            Ok(format) => format,
            Err(error) => {
                self.stop(&mut fan, &wording).await?;
                let failed = fan.failed();
                self.note_cancelled(&failed);
                return Err(error.into());
            }
        };
        let response = fan.copy_response(0).cloned().unwrap_or_default();
        encode::message(b'H', &mut self.client.output, |out| out.extend_from_slice(&response));
        let (binary, come) = (BinaryHeader::default(), vec![false; fan.len()]);
        let mut headers = Headers { format, told: false, binary, come };
        while let Some(heard) = self.next_row(&mut fan, Which::Any, &wording).await? {
            match heard {
                Heard::Row { stream, row } => {
                    headers.pass(stream, row.message(), &mut self.client.output);
                }
                Heard::End { .. } => {}
            }
        }
        self.finish(&mut fan, &wording).await?;
        if headers.format == Format::Binary {
            headers.binary.end(&mut self.client.output);
        }
        encode::copy_done(&mut self.client.output);
        self.database.counters.merged();
        let tag = fan.tag(None);
        Ok(tag.rsplit_once(' ').and_then(|(_, rows)| rows.parse().ok()).unwrap_or_default())
    }

    fn checked(&self, fan: &FanOut, copy: &CopyOut) -> Result<Format, Error> {
        let Data { format, .. } = copy.data.clone().map_err(Error::from)?;
        if format == Format::Binary {
            self.check_ids(fan)?;
        }
        Ok(format)
    }

    /// Shows a server the options: what is wrong with them is told as PostgreSQL tells it.
    async fn probe(
        &mut self,
        planned: &Planned,
        asked: &Asked<'_>,
        copy: &CopyQuery,
    ) -> Result<(), Stop> {
        let home = self.serving.rules.home;
        let sites = self.site_all(&[home], planned).await?;
        let wording = Wording::foreign(copy.probe.clone(), Tells::Shard);
        let mut fan = self.fan_out(asked.name, &sites, &wording, &[]);
        fan.open(&mut self.txn.participants, Binding { parameters: NO_PARAMETERS, results: &[] });
        self.go(&mut fan).await?;
        self.finish(&mut fan, &wording).await
    }

    /// Sends the client a query's rows as COPY data; how many they were.
    pub(super) async fn copy_query(
        &mut self,
        asked: &Asked<'_>,
        copy: &CopyQuery,
    ) -> Result<u64, Stop> {
        let planned: Planned = self.plan(&copy.query)?;
        let route = planned.route(&copy.query, &Params::default(), &self.serving.rules)?;
        if route != Route::Many {
            return Err(Error::internal("COPY of a query that one shard can answer").into());
        }
        let params = Params::default();
        let shards = planned.shards(&copy.query, &params, &self.serving.rules)?;
        self.take_snapshot(&shards).await?;
        self.probe(&planned, asked, copy).await?;
        let Data { format, encoding } = copy.data.clone().map_err(Error::from)?;
        if format != Format::Binary {
            let named = encoding.as_deref().map_or(self.encoding(), Encoding::named);
            if self.encoding() == Encoding::Unsafe || named != self.encoding() {
                return Err(Error::refused(
                    "COPY of a query over several shards in this encoding",
                    "SET client_encoding = 'UTF8', and leave out ENCODING",
                )
                .into());
            }
        }
        let value_format = match format {
            Format::Binary => ValueFormat::Binary,
            Format::Text(_) | Format::Csv(..) => ValueFormat::Text,
        };
        let results = [value_format];
        let before = i32::try_from(copy.before).unwrap_or_default();
        let asked = Asked {
            text: &copy.query,
            planned: &planned,
            results: &results,
            shift: asked.shift.saturating_add(before),
            ..*asked
        };
        let mut answer = self.begin_answer(&asked).await?;
        self.await_plans(&mut answer.fan, &answer.wording).await?;
        let columns = answer.columns.clone();
        let description = RowDescription::read(&columns).map_err(Error::from)?;
        let names: Vec<&[u8]> = description.fields().map(|field| field.name).collect();
        if let Some(error) = missing(&copy.forced, &names) {
            self.stop(&mut answer.fan, &answer.wording).await?;
            let failed = answer.fan.failed();
            self.note_cancelled(&failed);
            self.release_gather().await?;
            return Err(error.into());
        }
        let forced =
            |name: &&[u8]| std::str::from_utf8(name).is_ok_and(|name| copy.forced.has(name));
        let mut output = Output::new(format, names.iter().map(forced).collect());
        let code = u8::from(value_format == ValueFormat::Binary);
        encode::message(b'H', &mut self.client.output, |out| {
            out.put_u8(code);
            out.put_u16(u16::try_from(names.len()).unwrap_or(u16::MAX));
            names.iter().for_each(|_| out.put_u16(u16::from(code)));
        });
        output.begin(names.iter().copied(), &mut self.client.output);
        answer.copied = Some(output);
        let mut carried = self.carry(&mut answer, None).await?;
        if carried == Carried::TooLarge {
            let copied = answer.copied.take();
            answer = self.gather_instead(&asked, &answer).await?;
            answer.copied = copied;
            carried = self.carry(&mut answer, None).await?;
        }
        match (carried, &answer.copied) {
            (Carried::All { rows }, Some(output)) => {
                output.end(&mut self.client.output);
                Ok(rows)
            }
            _ => Err(Error::internal("an answer paused unasked").into()),
        }
    }
}

/// A column that FORCE_QUOTE names and the query does not give, in PostgreSQL's words.
fn missing(forced: &Forced, names: &[&[u8]]) -> Option<Error> {
    let Forced::Columns(columns) = forced else { return None };
    let column = columns.iter().find(|column| !names.contains(&column.as_bytes()))?;
    let message = format!("column \"{column}\" does not exist");
    Some(Error::client(SqlState(*b"42703"), message))
}

impl Headers {
    /// CopyData messages of one shard on their way to the client.
    fn pass(&mut self, stream: usize, messages: &[u8], out: &mut BytesMut) {
        let first = self.come.get_mut(stream).is_some_and(|come| !std::mem::replace(come, true));
        match &self.format {
            Format::Text(signs) | Format::Csv(signs, _) => {
                let header = first && signs.header;
                let again = header && std::mem::replace(&mut self.told, true);
                let names = if again { frame::bodies(messages).next() } else { None };
                let skipped = names.map_or(0, |names| frame::HEADER + names.len());
                out.extend_from_slice(messages.get(skipped..).unwrap_or_default());
            }
            Format::Binary => {
                for (number, data) in frame::bodies(messages).enumerate() {
                    let leads = first && number == 0;
                    let header = if leads { binary_header(data).unwrap_or_default() } else { 0 };
                    let row = data.get(header..).unwrap_or_default();
                    // Each shard's trailer is left out.
                    if !row.is_empty() && row != (-1_i16).to_be_bytes() {
                        self.binary.row(row, out);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::copy::{Quotes, Signs};

    fn headers(format: Format) -> Headers {
        let (binary, come) = (BinaryHeader::default(), vec![false; 2]);
        Headers { format, told: false, binary, come }
    }

    fn messages(data: &[&[u8]]) -> BytesMut {
        let mut out = BytesMut::new();
        data.iter().for_each(|data| encode::copy_data(data, &mut out));
        out
    }

    /// What the client gets of two shards' messages, however many of them come at once.
    fn check(format: &Format, shards: [&[&[u8]]; 2], expected: &[&[u8]]) {
        for at_once in 1..=3 {
            let (mut headers, mut out) = (headers(format.clone()), BytesMut::new());
            for (stream, shard) in shards.iter().enumerate() {
                for come in shard.chunks(at_once) {
                    headers.pass(stream, &messages(come), &mut out);
                }
            }
            assert_eq!(out, messages(expected), "{at_once} at once");
        }
    }

    #[test]
    fn rows_that_come_together_go_on_together_and_names_go_once() {
        let signs = Signs { delimiter: b',', null: Vec::new(), header: true };
        let names = Format::Csv(signs, Quotes { quote: b'"', escape: b'"' });
        let shards: [&[&[u8]]; 2] = [&[b"id\n", b"1\n"], &[b"id\n", b"2\n", b"3\n"]];
        check(&names, shards, &[b"id\n", b"1\n", b"2\n", b"3\n"]);
        let signs = Signs { delimiter: b'\t', null: Vec::new(), header: false };
        check(&Format::Text(signs), shards, &shards.concat());
    }

    #[test]
    fn binary_rows_that_come_together_have_one_header_and_no_trailer_between() {
        const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
        const TRAILER: &[u8] = b"\xff\xff";
        let first = |row: &[u8]| [HEADER, row].concat();
        let (one, two) = (first(b"\0\x01one"), first(b"\0\x01two"));
        let shards: [&[&[u8]]; 2] = [&[&one, b"\0\x01more", TRAILER], &[&two, TRAILER]];
        check(&Format::Binary, shards, &[&one, b"\0\x01more", b"\0\x01two"]);
        // A shard without rows.
        check(&Format::Binary, [&[HEADER, TRAILER], &[&two, TRAILER]], &[&two]);
    }
}
