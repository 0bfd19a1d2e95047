//! Queries that the gather database finishes: what they need of the shards becomes temporary tables
//! there, in a transaction of weir's own that is always rolled back.
//!
//! 1. a place among the statements that gather, then the shards in their order, then the gather database
//! 2. the client's own text, described by a shard: its errors and its columns are the client's
//! 3. for each fragment CREATE TEMP TABLE … AS … WITH NO DATA, so that PostgreSQL finds the types, and COPY
//! 4. the rest of the query there; its rows go to the client as they are
//!
//! - `fill`: the third step
mod fill;

use crate::error::{Error, SqlState};
use crate::exec::fan_out::{Binding, FanOut};
use crate::exec::gather::Meter;
use crate::exec::relay::Show;
use crate::ids::ShardId;
use crate::merge::{Bounds, Merger, Printing};
use crate::plan::several::{Collation, Gather, Merge, Of, Rows, Template, Ties};
use crate::plan::{Planned, Unroutable};
use crate::pool::Wanted;
use crate::session::merged::{formats, same_types};
use crate::session::place::Place;
use crate::session::several::{Answer, Asked};
use crate::session::together::{Tells, Wording};
use crate::session::{Limits, Session, Stop};
use crate::telemetry::statements::Strategy;
use crate::txn::Begun;
use crate::wire::encode;
use crate::wire::frontend::Format;
use crate::wire::params::Params;
use bytes::Bytes;
use std::time::{Duration, Instant};
use tokio::sync::OwnedSemaphorePermit;

/// What was brought together for one answer.
pub(super) struct Gathered {
    pub at: usize,
    pub meter: Meter,
    pub shards: usize,
    pub began: Instant,
    /// Given back with the answer.
    _place: OwnedSemaphorePermit,
}

/// The gather database's connection, and how its transaction ends.
pub(super) struct Site {
    pub at: usize,
    pub places: OwnedSemaphorePermit,
}

impl Session {
    pub(super) async fn begin_gather(
        &mut self,
        asked: &Asked<'_>,
        gather: &Result<Gather, Unroutable>,
        place: Place,
    ) -> Result<Answer, Stop> {
        let gather = self.gatherable(gather)?;
        let outcome = self.gather(asked, gather, place).await;
        if let Err(Stop::Say(_) | Stop::Said) = &outcome {
            self.release_gather().await?;
        }
        outcome
    }

    /// The plan, if the gather database can be asked now.
    pub(super) fn gatherable<'g>(
        &self,
        gather: &'g Result<Gather, Unroutable>,
    ) -> Result<&'g Gather, Error> {
        let gather = match gather {
            Ok(gather) => gather,
            Err(unroutable) => {
                self.database.counters.refused("several shards");
                return Err(unroutable.clone().into());
            }
        };
        if let Some(hint) = self.serving.gather.hint() {
            self.database.counters.refused("gather database");
            let what =
                "the query's rows are on several shards, and only a gather database can finish it";
            return Err(Error::refused(what, hint));
        }
        Ok(gather)
    }

    async fn gather(
        &mut self,
        asked: &Asked<'_>,
        gather: &Gather,
        place: Place,
    ) -> Result<Answer, Stop> {
        let began = Instant::now();
        self.limit_time();
        let places = self.place_for(asked, place).await?;
        let params = Params { types: asked.types, values: asked.values };
        let shards = asked.planned.shards(asked.text, &params, &self.serving.rules)?;
        let reads = self.reading(gather, &shards);
        let all: Vec<ShardId> = reads.iter().map(|(shard, _)| *shard).collect();
        // Tables of one shard may be read beside those that the route is of.
        if !self.txn.reads_together(&all) {
            self.take_snapshot(&all).await?;
        }
        self.note_inside(Some("gather"));
        let sites = self.site_all(&all, asked.planned).await?;
        let (columns, results) = self.describe_original(asked, &all, &sites).await?;
        self.check_requested()?;
        let site = Site { at: self.site_gather(asked.planned, &sites).await?, places };
        self.check_encodings(&[sites.as_slice(), &[site.at]].concat())?;
        let mut meter = Meter::new(self.gather_rules()?);
        let rows = self.fill(asked, gather, &reads, &sites, &site, &mut meter).await?;
        self.check_requested()?;
        self.note_servers_done(sites.iter().copied());
        self.note_servers_asked(&[site.at]);
        self.finish_tables(gather, &rows, site.at);
        let (fan, wording) = self.ask_rest(asked, gather, site.at, &columns, &results).await?;
        let gathered =
            Gathered { at: site.at, meter, shards: all.len(), began, _place: site.places };
        Ok(Answer {
            kind: super::several::Kind::Query,
            fan,
            merger: passing(&self.database.limits)?,
            wording,
            columns,
            gathered: Some(gathered),
            fresh: false,
            copied: None,
        })
    }

    pub(super) fn gather_rules(&self) -> Result<&crate::rules::Gather, Error> {
        let rules = self.serving.rules.gather.as_ref();
        rules.ok_or_else(|| Error::internal("there is no gather database"))
    }

    /// `timeout` of the rules, if the statement has no shorter time.
    pub(super) fn limit_time(&mut self) {
        let timeout = self.serving.rules.gather.as_ref().and_then(|gather| gather.timeout);
        if let Some(timeout) = timeout {
            let now = Instant::now();
            match self.relay.budget.is_on() {
                false => self.relay.budget.begin(timeout, now),
                true if self.relay.budget.left(timeout, now) >= timeout => {
                    self.relay.budget.allow(Some(timeout));
                }
                true => {}
            }
        }
    }

    /// Which fragments each shard is asked for, in the order of the shards.
    pub(super) fn reading(
        &self,
        gather: &Gather,
        shards: &[ShardId],
    ) -> Vec<(ShardId, Vec<usize>)> {
        let home = self.serving.rules.home;
        let any = match shards.contains(&home) {
            true => home,
            false => shards.first().copied().unwrap_or(home),
        };
        let mut reads: std::collections::BTreeMap<ShardId, Vec<usize>> = Default::default();
        for (number, fragment) in gather.fragments.iter().enumerate() {
            let of: &[ShardId] = match &fragment.of {
                Of::EveryShard => shards,
                Of::AnyShard => &[any],
                Of::Shard(shard) => &[*shard],
            };
            for shard in of {
                reads.entry(*shard).or_default().push(number);
            }
        }
        if reads.is_empty() {
            reads.entry(any).or_default();
        }
        reads.into_iter().collect()
    }

    /// What the client is told of its own text, and the formats of its columns.
    pub(super) async fn describe_original(
        &mut self,
        asked: &Asked<'_>,
        shards: &[ShardId],
        sites: &[usize],
    ) -> Result<(Bytes, Vec<Format>), Stop> {
        let home = self.serving.rules.home;
        let position = shards.iter().position(|shard| *shard == home).unwrap_or_default();
        let at = sites.get(position).copied().unwrap_or_default();
        let text = Template::spliced(&asked.planned.shape, &asked.planned.plan.splices);
        let wording = Wording::new(&text, asked);
        let mut fan = self.fan_out("weir_all", &[at], &wording, asked.types);
        fan.close(&mut self.txn.participants);
        self.go(&mut fan).await?;
        self.finish(&mut fan, &wording).await?;
        let described = fan.description(0).cloned().unwrap_or_default();
        let results = formats(asked.results, &described, 0)?;
        Ok((self.told_columns(&fan, &results, 0)?, results))
    }

    /// A connection to the gather database with a transaction of weir's own, where values are written
    /// as these shards write them.
    pub(super) async fn site_gather(
        &mut self,
        planned: &Planned,
        shards: &[usize],
    ) -> Result<usize, Stop> {
        let shard = self.serving.rules.gather_shard();
        let shard = shard.ok_or_else(|| Error::internal("there is no gather database"))?;
        // One where the client's transaction has changed the schema must see that.
        let of_client = self.txn.find(shard).filter(|&at| self.begun(at) == Some(Begun::Block));
        if let Some(at) = of_client {
            self.ask(at, "SAVEPOINT weir_gather", Show::Swallow);
            self.print_alike(at, shards).await?;
            return Ok(at);
        }
        let unused = self.txn.find(shard).filter(|&at| self.begun(at) == Some(Begun::No));
        let at = match unused {
            Some(at) => at,
            None => self.join(shard, Wanted::Primary, self.tier(planned)).await?,
        };
        self.align(at, Show::Swallow).await?;
        if self.txn.participants.get(at).is_some_and(|participant| participant.unsynced) {
            self.sync_one(at, Show::Discard);
        }
        let mut text = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE".to_owned();
        for local in self.txn.locals() {
            text.push(';');
            text.push_str(local);
        }
        self.ask(at, &text, Show::Swallow);
        if let Some(participant) = self.txn.participants.get_mut(at) {
            participant.begun = Begun::Aside;
        }
        self.print_alike(at, shards).await?;
        Ok(at)
    }

    pub(super) fn begun(&self, at: usize) -> Option<Begun> {
        self.txn.participants.get(at).map(|participant| participant.begun)
    }

    /// The rest of the query. Its columns must be what the client was told.
    async fn ask_rest(
        &mut self,
        asked: &Asked<'_>,
        gather: &Gather,
        at: usize,
        columns: &Bytes,
        results: &[Format],
    ) -> Result<(FanOut, Wording), Stop> {
        let text = gather.residual.rendered(asked.text, &asked.planned.shape, asked.moment).text;
        let wording = Wording::foreign(text, Tells::Gather);
        let mut fan = self.fan_out(asked.name, &[at], &wording, asked.types);
        fan.batch = asked.batch;
        fan.open(&mut self.txn.participants, Binding { parameters: asked.parameters, results });
        self.go(&mut fan).await?;
        self.await_descriptions(&mut fan, &wording).await?;
        if let Err(error) = self.check_rest(&fan, columns, results) {
            self.stop(&mut fan, &wording).await?;
            return Err(error.into());
        }
        Ok((fan, wording))
    }

    fn check_rest(&self, fan: &FanOut, columns: &Bytes, results: &[Format]) -> Result<(), Error> {
        self.check_embedded(fan, results)?;
        match same_types(&self.told_columns(fan, results, 0)?, columns)? {
            true => Ok(()),
            false => Err(Error::refused(
                "the gather database would give the answer's columns other types",
                "give the query a key, or cast its columns",
            )),
        }
    }

    /// Ends the transactions of weir's own in the gather database, but those that portals go on with, and
    /// gives their connections back.
    pub(super) async fn release_gather(&mut self) -> Result<(), Stop> {
        if self.txn.participants.iter().all(|participant| participant.begun != Begun::Aside) {
            return Ok(());
        }
        let kept = self.gathering_portals();
        let aside = (0..self.txn.participants.len())
            .filter(|at| self.begun(*at) == Some(Begun::Aside) && !kept.contains(at));
        let aside: Vec<usize> = aside.collect();
        self.release_aside(&aside).await
    }

    async fn release_aside(&mut self, aside: &[usize]) -> Result<(), Stop> {
        if aside.is_empty() {
            return Ok(());
        }
        self.slot.calm().await;
        for &at in aside {
            self.ask(at, "ROLLBACK", Show::Discard);
        }
        self.drain().await?;
        for &at in aside.iter().rev() {
            if let Some(participant) = self.txn.participants.get_mut(at) {
                participant.begun = Begun::No;
            }
            // Portals name participants by their positions.
            if at + 1 == self.txn.participants.len() {
                self.leave(at).await;
            }
        }
        Ok(())
    }

    /// Ends the transaction of weir's own there, and no other.
    pub(super) async fn leave_gather(&mut self, at: usize) -> Result<(), Stop> {
        match self.begun(at) {
            Some(Begun::Block) => {
                self.slot.calm().await;
                let text = "ROLLBACK TO SAVEPOINT weir_gather; RELEASE SAVEPOINT weir_gather";
                self.ask(at, text, Show::Discard);
                self.drain().await
            }
            Some(Begun::Aside) => self.release_aside(&[at]).await,
            Some(Begun::No) | None => Ok(()),
        }
    }

    /// A query has been answered to its end.
    pub(super) async fn end_gathered(&mut self, gathered: &Gathered) -> Result<(), Stop> {
        self.note_server_done(Some(gathered.at));
        self.leave_gather(gathered.at).await?;
        let took = gathered.began.elapsed();
        let Meter { rows: moved, bytes, .. } = gathered.meter;
        self.database.counters.gathered(moved, bytes, took);
        self.note_strategy(Strategy::Gather);
        self.note_stage("gather", Some(gathered.began));
        self.note_inside(None);
        tracing::debug!(moved, bytes, shards = gathered.shards, "a statement was gathered");
        if self.gather_notice() {
            self.tell_gathered(gathered, took);
        }
        Ok(())
    }

    fn tell_gathered(&mut self, gathered: &Gathered, took: Duration) {
        let Meter { rows, bytes, .. } = gathered.meter;
        let message = format!(
            "gathered {rows} rows ({bytes} bytes) from {} shards in {} ms",
            gathered.shards,
            took.as_millis()
        );
        let notice = Error::client(SqlState(*b"00000"), message);
        encode::information(&notice, &mut self.client.output);
    }
}

/// One stream, as it comes.
fn passing(limits: &Limits) -> Result<Merger, Error> {
    let merge = Merge {
        query: Template::default(),
        hidden: 0,
        visible: None,
        rows: Rows::All,
        texts: Collation::Unknown,
        order: Vec::new(),
        offset: None,
        limit: None,
        ties: Ties::Cut,
    };
    let bounds = Bounds { offset: 0, limit: None, bytes: limits.merge_bytes };
    Merger::new(&merge, &[], 1, bounds, Printing::default())
        .ok_or_else(|| Error::internal("rows cannot be passed on"))
}
