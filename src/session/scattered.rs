//! Writes whose rows are on several shards: every shard does its part inside one transaction, which
//! commits everywhere or nowhere. Outside a block such a statement opens one of its own.
//!
//! Invariant: the client is not told a row before the statement has succeeded on all shards, as
//! PostgreSQL tells none of a write that fails.
use super::merged::formats;
use super::several::{Answer, Asked, Kind};
use super::together::Wording;
use super::{Session, Stop};
use crate::error::Error;
use crate::exec::fan_out::{Binding, FanOut};
use crate::exec::relay::Show;
use crate::ids::ShardId;
use crate::merge::Merger;
use crate::plan::Target;
use crate::plan::several::rows::Split;
use crate::plan::several::{Pace, RowUse, Scattered, Template, Way};
use crate::sql::moment::Moment;
use crate::txn::{Isolation, Status, rows};
use crate::wire::frontend::Format;
use crate::wire::params::Params;
use bytes::Bytes;
use std::collections::BTreeSet;

/// Which shards are sent what.
struct Parts {
    shards: Vec<ShardId>,
    wording: Wording,
    /// The shard's stream of each row, in the order of the statement.
    order: Option<Vec<usize>>,
    pace: Pace,
}

impl Session {
    /// Sends every shard its part.
    pub(super) async fn begin_scattered(
        &mut self,
        asked: &Asked<'_>,
        scattered: &Scattered,
    ) -> Result<Answer, Stop> {
        let params = Params { types: asked.types, values: asked.values };
        let shards = asked.planned.shards(asked.text, &params, &self.serving.rules)?;
        if shards.len() > 1 {
            scattered.admit_values(asked.planned, asked.text, &params)?;
        }
        let (moment, lock) = self.prepare_write(asked, scattered, &shards).await?;
        let asked = &Asked { moment: moment.as_ref(), ..*asked };
        let parts = match &scattered.way {
            Way::Each(template) => {
                let wording = Wording::new(template, asked);
                Parts { shards, wording, order: None, pace: scattered.pace }
            }
            Way::Copies(copies) => return self.write_copies(asked, copies).await,
            Way::Moves(moves) => return self.move_rows(asked, moves, &shards, &lock).await,
            Way::Selected(selected) => return self.insert_selected(asked, selected).await,
            Way::Rows(split) => {
                if split.looks_first {
                    self.look_at_whole(asked, &shards).await?;
                }
                self.by_rows(asked, split, scattered.pace)?
            }
        };
        self.send_parts(asked, parts).await
    }

    /// What comes before the shards' parts: snapshots of one moment, a block, the time if the statement asks
    /// for it, and that no row moves meanwhile: what `lock_rows` gives.
    pub(super) async fn prepare_write(
        &mut self,
        asked: &Asked<'_>,
        scattered: &Scattered,
        shards: &[ShardId],
    ) -> Result<(Option<Moment>, String), Stop> {
        if self.txn.isolation() != Isolation::ReadCommitted {
            self.take_snapshot(shards).await?;
        }
        self.open_implicit().await?;
        let moment = match scattered.tells_time {
            true => Some(self.moment(asked).await?),
            false => None,
        };
        let lock = match &scattered.rows_lock {
            Some((table, does)) => self.lock_rows(asked, table, *does, shards).await?,
            None => String::new(),
        };
        Ok((moment, lock))
    }

    /// Keeps rows from moving while they are looked for, or others from looking for rows that move. A
    /// statement that names keys finds a row gone that has left them, as in PostgreSQL. What the locks on the
    /// statement's shards are for that rows are brought to.
    async fn lock_rows(
        &mut self,
        asked: &Asked<'_>,
        table: &str,
        does: RowUse,
        shards: &[ShardId],
    ) -> Result<String, Stop> {
        let does = match (does, &asked.planned.plan.target) {
            (RowUse::Looks, Target::Keyed(_)) => return Ok(String::new()),
            (RowUse::LooksAndMoves, Target::Keyed(_)) => RowUse::MovesByKey,
            (does, _) => does,
        };
        let home = self.serving.rules.home;
        let (mut first, mut others) = (Vec::new(), Vec::new());
        for shard in BTreeSet::from_iter(shards.iter().copied().chain([home])) {
            let at = self.site_on(shard, self.need(asked.planned)).await?;
            if shard == home { first.push(at) } else { others.push(at) }
        }
        let lock = rows::lock(table, does);
        self.say_on(&first, &lock).await?;
        self.say_on(&others, &lock).await?;
        Ok(lock)
    }

    /// A transaction that takes in all shards, if none is open. It ends with the client's message or
    /// segment.
    pub(super) async fn open_implicit(&mut self) -> Result<(), Stop> {
        if self.txn.status() != Status::Idle {
            return Ok(());
        }
        self.txn.write_together();
        // In a pipeline it takes in what was executed since the last Sync.
        for at in self.txn.unsynced() {
            let text = self.txn.opening();
            self.say(at, &text, Show::Swallow).await?;
            self.txn.open_on(at);
        }
        Ok(())
    }

    /// Has one shard parse the client's own text: what is wrong with it is told as PostgreSQL tells it.
    async fn look_at_whole(&mut self, asked: &Asked<'_>, shards: &[ShardId]) -> Result<(), Stop> {
        let first = shards.first().copied().unwrap_or(self.serving.rules.home);
        let sites = self.site_all(&[first], asked.planned).await?;
        let shape = &asked.planned.shape;
        let wording = Wording::new(&Template::spliced(shape, &[]), asked);
        let mut fan = self.fan_out(asked.name, &sites, &wording, asked.types);
        fan.close(&mut self.txn.participants);
        self.go(&mut fan).await?;
        self.finish(&mut fan, &wording).await
    }

    fn by_rows(&self, asked: &Asked<'_>, split: &Split, pace: Pace) -> Result<Parts, Stop> {
        let params = Params { types: asked.types, values: asked.values };
        let by_shard = split.by_shard(asked.planned, asked.text, &params, &self.serving.rules)?;
        let mut order: Vec<(usize, usize)> = Vec::new();
        let mut texts = Vec::with_capacity(by_shard.len());
        for (stream, rows) in by_shard.values().enumerate() {
            order.extend(rows.iter().map(|&row| (row, stream)));
            texts.push(split.text(rows, asked.moment));
        }
        order.sort_unstable();
        let order = order.into_iter().map(|(_, stream)| stream).collect();
        let wording = Wording::each(&texts, asked);
        Ok(Parts { shards: by_shard.into_keys().collect(), wording, order: Some(order), pace })
    }

    async fn send_parts(&mut self, asked: &Asked<'_>, parts: Parts) -> Result<Answer, Stop> {
        let Parts { shards, wording, order, pace } = parts;
        let sites = self.site_all(&shards, asked.planned).await?;
        let fan = match pace {
            Pace::AtOnce => self.begin_at_once(asked, &sites, &wording).await?,
            Pace::InTurn => self.run_in_turn(asked, &shards, &sites, &wording).await?,
        };
        let described = fan.description(0).cloned().unwrap_or_default();
        let formats = formats(asked.results, &described, 0)?;
        let merger = Merger::passing(fan.len(), order);
        let columns = match described.is_empty() {
            true => Bytes::new(),
            false => self.told_columns(&fan, &formats, 0)?,
        };
        Ok(Answer {
            fan,
            merger,
            wording,
            columns,
            gathered: None,
            fresh: false,
            kind: Kind::Write,
            copied: None,
        })
    }

    /// All shards begin their parts.
    async fn begin_at_once(
        &mut self,
        asked: &Asked<'_>,
        sites: &[usize],
        wording: &Wording,
    ) -> Result<FanOut, Stop> {
        let mut fan = self.fan_out(asked.name, sites, wording, asked.types);
        let careful = self.must_be_careful(asked);
        if careful {
            self.go(&mut fan).await?;
            self.finish(&mut fan, wording).await?;
            self.check_described(asked, &fan, 0)?;
        }
        // Formats that do not fit the columns are the servers' to refuse.
        let binding = Binding { parameters: asked.parameters, results: asked.results };
        fan.open(&mut self.txn.participants, binding);
        self.go(&mut fan).await?;
        if !careful {
            self.await_descriptions(&mut fan, wording).await?;
        }
        Ok(fan)
    }

    /// Each shard begins its part, the locks of parsing included, when the one before has done its own.
    async fn run_in_turn(
        &mut self,
        asked: &Asked<'_>,
        shards: &[ShardId],
        sites: &[usize],
        wording: &Wording,
    ) -> Result<FanOut, Stop> {
        let mut fan = self.unasked(asked.name, sites);
        let careful = self.must_be_careful(asked);
        let mut streams: Vec<(ShardId, usize)> = shards.iter().copied().zip(0..).collect();
        streams.sort_by_key(|(shard, _)| self.serving.rules.rank(*shard));
        for (_, stream) in streams {
            self.check_requested()?;
            self.parse_on(&mut fan, stream, wording, asked.types);
            if careful {
                self.go(&mut fan).await?;
                self.await_descriptions(&mut fan, wording).await?;
                self.check_described(asked, &fan, stream)?;
            }
            let binding = Binding { parameters: asked.parameters, results: asked.results };
            fan.open_on(stream, &mut self.txn.participants, binding);
            self.go(&mut fan).await?;
            self.await_success(&mut fan, wording).await?;
        }
        Ok(fan)
    }

    /// Whether values may be written with ids that are not the home shard's.
    fn must_be_careful(&self, asked: &Asked<'_>) -> bool {
        let strange = self.txn.participants.iter().any(|other| other.translation.is_some());
        strange && asked.results.contains(&Format::Binary)
    }

    fn check_described(&self, asked: &Asked<'_>, fan: &FanOut, stream: usize) -> Result<(), Error> {
        let described = fan.description(stream).cloned().unwrap_or_default();
        self.check_embedded(fan, &formats(asked.results, &described, 0)?)
    }
}
