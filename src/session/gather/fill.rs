//! Fragments: asked of the shards, and poured into temporary tables of the gather database.
use super::Site;
use crate::backend::translate;
use crate::error::Error;
use crate::exec::fan_out::{Binding, FanOut, Halt, Heard, Which};
use crate::exec::gather::{self, Meter, Travel};
use crate::exec::relay::Show;
use crate::ids::ShardId;
use crate::plan::several::Gather;
use crate::session::several::Asked;
use crate::session::together::{Tells, Wording};
use crate::session::{Session, Stop};
use crate::txn::{Isolation, Status};
use crate::wire::encode;
use crate::wire::frontend::Format;
use crate::wire::server::RowDescription;
use bytes::Bytes;
use std::ops::Range;

/// Tables of more rows are analyzed before they are joined.
const ANALYZED_ROWS: u64 = 1000;

/// One query as some of the shards are asked it.
struct Source {
    fan: FanOut,
    wording: Wording,
    /// The fragments that its rows are of, ascending; more than one: each row says which.
    fragments: Vec<usize>,
    /// Where each fragment's columns are.
    columns: Vec<Range<usize>>,
    /// By stream: a row that is of a later fragment.
    ahead: Vec<Option<(usize, Bytes)>>,
}

impl Session {
    /// Makes the tables and fills them; how many rows each has.
    pub(in crate::session) async fn fill(
        &mut self,
        asked: &Asked<'_>,
        gather: &Gather,
        reads: &[(ShardId, Vec<usize>)],
        sites: &[usize],
        site: &Site,
        meter: &mut Meter,
    ) -> Result<Vec<u64>, Stop> {
        let queries: Vec<String> = gather
            .fragments
            .iter()
            .map(|fragment| {
                fragment.query.rendered(asked.text, &asked.planned.shape, asked.moment).text
            })
            .collect();
        let one_moment =
            self.txn.isolation() != Isolation::ReadCommitted && self.txn.status() != Status::Idle;
        let plan = sources(reads, sites, one_moment || queries.len() < 2);
        let mut travels = vec![Travel::Binary; queries.len()];
        let mut sources = Vec::new();
        // Those of one table each are asked when it is their turn.
        for (fragments, of) in plan.iter().filter(|(fragments, _)| fragments.len() > 1) {
            let source = self.ask_source(asked, &queries, fragments, of, site, &mut travels).await;
            match source {
                Ok(source) => sources.push(source),
                Err(stop) => return Err(self.end_sources(&mut sources, None, stop).await),
            }
        }
        let mut rows = Vec::new();
        for (number, query) in queries.iter().enumerate() {
            let singles = plan.iter().filter(|(fragments, _)| *fragments == [number]);
            for (fragments, of) in singles {
                let source = self.ask_source(asked, &queries, fragments, of, site, &mut travels);
                match source.await {
                    Ok(source) => sources.push(source),
                    Err(stop) => return Err(self.end_sources(&mut sources, None, stop).await),
                }
            }
            let Some(fragment) = gather.fragments.get(number) else { continue };
            let travel = travels.get(number).copied().unwrap_or(Travel::Binary);
            let table = (fragment.table.as_str(), query.as_str(), travel);
            let before = meter.rows;
            if let Err(error) = self.check_requested() {
                return Err(self.end_sources(&mut sources, None, error.into()).await);
            }
            self.fill_table(asked, table, number, &mut sources, site.at, meter).await?;
            rows.push(meter.rows - before);
            // Each server is free for the next.
            let done = |source: &Source| source.fragments.last() <= Some(&number);
            for source in sources.extract_if(.., |source| done(source)) {
                let Source { mut fan, wording, .. } = source;
                self.finish(&mut fan, &wording).await?;
            }
        }
        Ok(rows)
    }

    /// Asks some shards for the rows of some fragments.
    async fn ask_source(
        &mut self,
        asked: &Asked<'_>,
        queries: &[String],
        fragments: &[usize],
        sites: &[usize],
        site: &Site,
        travels: &mut [Travel],
    ) -> Result<Source, Stop> {
        let of = |number: &usize| queries.get(*number).cloned().unwrap_or_default();
        let query = match fragments {
            [one] => of(one),
            _ => gather::together(&fragments.iter().map(of).collect::<Vec<_>>()),
        };
        let wording = Wording::foreign(query, Tells::Shard);
        let mut fan = self.fan_out("weir_part", sites, &wording, asked.types);
        let strange = |at: &usize| {
            self.txn.participants.get(*at).is_some_and(|other| other.translation.is_some())
        };
        let parse_first = sites.iter().chain([&site.at]).any(strange);
        let mut results = vec![Format::Binary];
        let mut columns = Vec::new();
        if parse_first {
            self.go(&mut fan).await?;
            self.finish(&mut fan, &wording).await?;
            columns = columns_of(&fan, fragments.len())?;
            results = self.travelling(&fan, fragments, &columns, site.at, travels)?;
        }
        fan.open(
            &mut self.txn.participants,
            Binding { parameters: asked.parameters, results: &results },
        );
        self.go(&mut fan).await?;
        if !parse_first {
            self.await_descriptions(&mut fan, &wording).await?;
            columns = columns_of(&fan, fragments.len())?;
        }
        let ahead = vec![None; fan.len()];
        Ok(Source { fan, wording, fragments: fragments.to_vec(), columns, ahead })
    }

    /// In which formats the columns are asked for: tables whose values carry ids that differ go as text.
    fn travelling(
        &self,
        fan: &FanOut,
        fragments: &[usize],
        columns: &[Range<usize>],
        gather: usize,
        travels: &mut [Travel],
    ) -> Result<Vec<Format>, Error> {
        let there = self.txn.participants.get(gather).and_then(|other| other.translation.clone());
        for stream in 0..fan.len() {
            let participant = fan.at(stream).and_then(|at| self.txn.participants.get(at));
            let here = participant.and_then(|other| other.translation.clone());
            let Some(body) = fan.description(stream) else { continue };
            let types: Vec<_> = RowDescription::read(body)?.type_oids().collect();
            for (number, columns) in fragments.iter().zip(columns) {
                let differs = types.get(columns.clone()).unwrap_or_default().iter().any(|&oid| {
                    let home = here.as_ref().map_or(oid, |other| other.type_at_home(oid));
                    here.as_ref().is_some_and(|other| other.embeds(oid))
                        || there.as_ref().is_some_and(|other| other.embeds(other.type_there(home)))
                });
                if let Some(travel) = travels.get_mut(*number).filter(|_| differs) {
                    *travel = Travel::Text;
                }
            }
        }
        let count = columns.last().map_or(0, |last| last.end);
        let mut results = vec![Format::Binary; count];
        for (number, columns) in fragments.iter().zip(columns) {
            if travels.get(*number) == Some(&Travel::Text) {
                results.get_mut(columns.clone()).unwrap_or_default().fill(Format::Text);
            }
        }
        let sites: Vec<usize> = fan.at(0).into_iter().collect();
        if results.contains(&Format::Text) && !self.text_is_exact(&sites) {
            return Err(Error::refused(
                "values whose type ids differ between servers, under settings that change their text",
                "SET extra_float_digits = 1, DateStyle = 'ISO', IntervalStyle = 'postgres', \
                 client_encoding = 'UTF8', or create the types in the same order on all servers",
            ));
        }
        Ok(results)
    }

    /// One table: its definition, its rows, and the gather database's answers.
    async fn fill_table(
        &mut self,
        asked: &Asked<'_>,
        (table, query, travel): (&str, &str, Travel),
        number: usize,
        sources: &mut [Source],
        at: usize,
        meter: &mut Meter,
    ) -> Result<(), Stop> {
        let define = format!("CREATE TEMP TABLE {table} ON COMMIT DROP AS {query}\nWITH NO DATA");
        let define_wording = Wording::foreign(define, Tells::Gather);
        let mut define = self.fan_out("weir_table", &[at], &define_wording, asked.types);
        let parameters = asked.parameters;
        define.open(&mut self.txn.participants, Binding { parameters, results: &[] });
        define.go(&mut self.txn.participants);
        let copy_wording = Wording::foreign(travel.copy(table), Tells::Gather);
        let mut copy = self.fan_out("weir_copy", &[at], &copy_wording, &[]);
        // A Close in the middle of COPY data would be an error.
        copy.batch = Some(i32::MAX);
        let parameters = crate::exec::fan_out::NO_PARAMETERS;
        copy.open(&mut self.txn.participants, Binding { parameters, results: &[] });
        self.out(at, |out| travel.begin(out));
        let poured = match self.drain().await {
            Ok(()) => self.pour(number, travel, sources, at, meter).await,
            Err(stop) => Err(stop),
        };
        if let Err(stop) = poured {
            let ends = Some((at, &mut define, &mut copy));
            return Err(self.end_sources(sources, ends, stop).await);
        }
        self.out(at, |out| travel.end(out));
        copy.close(&mut self.txn.participants);
        copy.go(&mut self.txn.participants);
        let mut outcome = self.finish(&mut define, &define_wording).await;
        if outcome.is_ok() {
            outcome = self.finish(&mut copy, &copy_wording).await;
        } else if self.begun(at).is_some() {
            outcome = outcome.and(self.finish_quietly(&mut copy, &copy_wording).await);
        }
        match outcome {
            Ok(()) => Ok(()),
            Err(stop) => Err(self.end_sources(sources, None, stop).await),
        }
    }

    fn out(&mut self, at: usize, write: impl FnOnce(&mut bytes::BytesMut)) {
        if let Some(participant) = self.txn.participants.get_mut(at) {
            write(&mut participant.lease.output);
        }
    }

    /// Rows of one fragment from all its sources.
    async fn pour(
        &mut self,
        number: usize,
        travel: Travel,
        sources: &mut [Source],
        at: usize,
        meter: &mut Meter,
    ) -> Result<(), Stop> {
        for source in sources.iter_mut().filter(|source| source.fragments.contains(&number)) {
            if source.fragments.len() == 1 {
                self.check_values(source)?;
                while let Some(heard) =
                    self.next_row(&mut source.fan, Which::Any, &source.wording).await?
                {
                    match heard {
                        Heard::Row { row, .. } => {
                            self.put(row.body(), travel, at, meter, source).await?;
                        }
                        Heard::End { .. } => {}
                    }
                }
                continue;
            }
            self.check_values(source)?;
            for stream in 0..source.fan.len() {
                self.pour_part(number, travel, source, stream, at, meter).await?;
            }
        }
        Ok(())
    }

    /// One stream's rows as far as they are of that fragment.
    async fn pour_part(
        &mut self,
        number: usize,
        travel: Travel,
        source: &mut Source,
        stream: usize,
        at: usize,
        meter: &mut Meter,
    ) -> Result<(), Stop> {
        let position = source.fragments.iter().position(|fragment| *fragment == number);
        let position = position.unwrap_or_default();
        let columns = source.columns.get(position).cloned().unwrap_or_default();
        loop {
            let held = source.ahead.get_mut(stream).and_then(Option::take);
            let (part, body) = match held {
                Some(held) => held,
                None => {
                    let which = Which::Of(stream);
                    match self.next_row(&mut source.fan, which, &source.wording).await? {
                        Some(Heard::Row { row, .. }) => {
                            let body = Bytes::copy_from_slice(row.body());
                            (gather::part(&body)?, body)
                        }
                        Some(Heard::End { .. }) | None => return Ok(()),
                    }
                }
            };
            if part < position {
                return Err(Error::internal("rows of several queries came in disorder").into());
            }
            if part > position {
                if let Some(place) = source.ahead.get_mut(stream) {
                    *place = Some((part, body));
                }
                return Ok(());
            }
            let row = gather::cut(&body, &columns)?;
            self.put(&row, travel, at, meter, source).await?;
        }
    }

    async fn put(
        &mut self,
        body: &[u8],
        travel: Travel,
        at: usize,
        meter: &mut Meter,
        source: &mut Source,
    ) -> Result<(), Stop> {
        if let Err(error) = meter.count(gather::travelled(body.len())) {
            self.database.counters.gather_limited();
            return Err(error.into());
        }
        let Some(participant) = self.txn.participants.get_mut(at) else {
            return Err(Error::internal("no such participant").into());
        };
        travel.row(body, &mut participant.lease.output)?;
        while let Some(participant) = self.txn.participants.get(at)
            && crate::exec::line::is_congested(&participant.lease.output)
        {
            let mut lines = self.relay.lines(&mut self.client, &mut self.txn.participants);
            match self.slot.heeding(None, lines.make_room(at)).await {
                Ok(()) => {}
                Err(Halt::Requested) => return Err(self.slot.reason().into()),
                // Its shards may have nothing left to cancel.
                Err(Halt::Late) if source.fan.running().is_empty() => self.late_on(&[at]).await?,
                Err(halt) => self.halted(&mut source.fan, halt, &source.wording).await?,
            }
        }
        Ok(())
    }

    /// Values that name objects of one server mean nothing on another.
    fn check_values(&self, source: &Source) -> Result<(), Error> {
        for stream in 0..source.fan.len() {
            let Some(body) = source.fan.description(stream) else { continue };
            let description = RowDescription::read(body)?;
            if let Some(field) =
                description.fields().find(|field| translate::names_objects(field.type_oid))
            {
                return Err(Error::refused(
                    format!(
                        "column \"{}\" names objects of one server by their ids",
                        String::from_utf8_lossy(field.name)
                    ),
                    "cast it to text in a query that names a key",
                ));
            }
        }
        Ok(())
    }

    /// Something has gone wrong: whatever still runs is stopped.
    async fn end_sources(
        &mut self,
        sources: &mut [Source],
        copying: Option<(usize, &mut FanOut, &mut FanOut)>,
        stop: Stop,
    ) -> Stop {
        if matches!(stop, Stop::End) || self.txn.participants.is_empty() {
            return stop;
        }
        if let Some((at, define, copy)) = copying {
            self.out(at, |out| encode::copy_fail("the statement has failed", out));
            copy.close(&mut self.txn.participants);
            copy.go(&mut self.txn.participants);
            let nothing = Wording::foreign(String::new(), Tells::Gather);
            for fan in [define, copy] {
                if let Err(worse) = self.finish_quietly(fan, &nothing).await {
                    return worse;
                }
            }
        }
        for source in sources {
            if let Err(worse) = self.stop(&mut source.fan, &source.wording).await {
                return worse;
            }
            let failed = source.fan.failed();
            self.note_cancelled(&failed);
        }
        match self.release_gather().await {
            Ok(()) | Err(Stop::Said | Stop::Say(_)) => stop,
            Err(Stop::End) => Stop::End,
        }
    }

    /// Keys, indexes, statistics, and the fence: what comes now only reads.
    pub(in crate::session) fn finish_tables(&mut self, gather: &Gather, rows: &[u64], at: usize) {
        let mut text = String::new();
        for (fragment, rows) in gather.fragments.iter().zip(rows) {
            let table = &fragment.table;
            let quoted = |columns: &[String]| {
                let quoted =
                    columns.iter().map(|name| crate::txn::settings::quote_identifier(name));
                quoted.collect::<Vec<_>>().join(", ")
            };
            if !fragment.key.is_empty() {
                let key = quoted(&fragment.key);
                text.push_str(&format!("ALTER TABLE pg_temp.{table} ADD PRIMARY KEY ({key});"));
            }
            if *rows > ANALYZED_ROWS {
                if !fragment.sought.is_empty() {
                    let sought = quoted(&fragment.sought);
                    text.push_str(&format!("CREATE INDEX ON pg_temp.{table} ({sought});"));
                }
                text.push_str(&format!("ANALYZE pg_temp.{table};"));
            }
        }
        text.push_str("SET TRANSACTION READ ONLY");
        self.ask(at, &text, Show::Swallow);
    }
}

/// Which shards are asked for which fragments together, and which for one alone.
fn sources(
    reads: &[(ShardId, Vec<usize>)],
    sites: &[usize],
    alone: bool,
) -> Vec<(Vec<usize>, Vec<usize>)> {
    let mut sources: Vec<(Vec<usize>, Vec<usize>)> = Vec::new();
    let mut add = |fragments: Vec<usize>, at: usize| match sources
        .iter_mut()
        .find(|(known, _)| *known == fragments)
    {
        Some((_, sites)) => sites.push(at),
        None => sources.push((fragments, vec![at])),
    };
    for ((_, fragments), &at) in reads.iter().zip(sites) {
        match alone {
            true => fragments.iter().for_each(|fragment| add(vec![*fragment], at)),
            false if fragments.is_empty() => {}
            false => add(fragments.clone(), at),
        }
    }
    sources
}

fn columns_of(fan: &FanOut, queries: usize) -> Result<Vec<Range<usize>>, Error> {
    let Some(body) = fan.description(0) else { return Ok(vec![0..0; queries]) };
    let description = RowDescription::read(body)?;
    match queries {
        1 => Ok(std::iter::once(0..description.fields().count()).collect()),
        _ => gather::parts(&description, queries),
    }
}
