//! EXPLAIN of writes whose rows are on several shards: how the write is done, and each server's plan of its part.
//! Without ANALYZE nothing is written, so no shard counts as written to. With it the shards do their parts one
//! after the other, in one transaction, as the write itself would.
use super::{Explaining, Node, rendered};
use crate::error::Error;
use crate::ids::ShardId;
use crate::plan::Access;
use crate::plan::several::copies::{Copies, How};
use crate::plan::several::{Scattered, Way};
use crate::session::several::Asked;
use crate::session::together::Tells;
use crate::session::{Session, Stop};
use crate::wire::params::Params;
use std::time::Instant;

impl Session {
    pub(super) async fn explain_scattered(
        &mut self,
        asked: &Asked<'_>,
        scattered: &Scattered,
        explaining: &mut Explaining<'_>,
    ) -> Result<Node, Stop> {
        let params = Params { types: asked.types, values: asked.values };
        scattered.admit_values(asked.planned, asked.text, &params)?;
        let shards = self.asked_shards(asked)?;
        if !explaining.explained.runs() {
            return self.explain_ways(asked, scattered, &shards, explaining).await;
        }
        admit_run(&scattered.way)?;
        let (moment, _) = self.prepare_write(asked, scattered, &shards).await?;
        let asked = &Asked { moment: moment.as_ref(), ..*asked };
        let began = Instant::now();
        let mut root = self.explain_ways(asked, scattered, &shards, explaining).await?;
        if explaining.explained.tells_time() {
            root.time("Time", began.elapsed());
        }
        match &scattered.way {
            Way::Copies(_) => self.database.counters.copied(),
            Way::Each(_) | Way::Rows(_) | Way::Moves(_) | Way::Selected(_) => {
                self.database.counters.scattered();
            }
        }
        Ok(root)
    }

    async fn explain_ways(
        &mut self,
        asked: &Asked<'_>,
        scattered: &Scattered,
        shards: &[ShardId],
        explaining: &mut Explaining<'_>,
    ) -> Result<Node, Stop> {
        let params = Params { types: asked.types, values: asked.values };
        let mut root = Node::new("Weir Write");
        match &scattered.way {
            Way::Each(template) => {
                root.text("Strategy", "each shard its own rows");
                let query = rendered(asked, template);
                self.explain_part(asked, &mut root, &query, shards, explaining).await?;
            }
            Way::Copies(copies) => {
                self.explain_copies(asked, &mut root, copies, shards, explaining).await?;
            }
            Way::Moves(moves) => {
                root.text("Strategy", "rows leave their shards and are inserted where they belong");
                let query = rendered(asked, &moves.taken);
                self.explain_part(asked, &mut root, &query, shards, explaining).await?;
            }
            Way::Selected(_) => {
                return Err(Error::refused(
                    "EXPLAIN of an INSERT … SELECT whose rows weir takes from shard to shard",
                    "explain its query alone",
                )
                .into());
            }
            Way::Rows(split) => {
                root.text("Strategy", "each shard its rows of the list");
                let rules = self.serving.rules.clone();
                let rows = split.by_shard(asked.planned, asked.text, &params, &rules)?;
                let mut rows: Vec<_> = rows.into_iter().collect();
                rows.sort_by_key(|(shard, _)| rules.rank(*shard));
                for (shard, rows) in rows {
                    let query = rendered(asked, &split.text(&rows, asked.moment));
                    let mut part = Node::new("Rows");
                    part.number("Rows", u64::try_from(rows.len()).unwrap_or(u64::MAX));
                    self.explain_part(asked, &mut part, &query, &[shard], explaining).await?;
                    root.step(part);
                }
            }
        }
        Ok(root)
    }

    /// A reference table: under its lock, and all rows are compared, since plans tell none.
    async fn explain_copies(
        &mut self,
        asked: &Asked<'_>,
        root: &mut Node,
        copies: &Copies,
        shards: &[ShardId],
        explaining: &mut Explaining<'_>,
    ) -> Result<(), Stop> {
        let home = [self.serving.rules.home];
        let (strategy, shards) = match copies.how.on_every_shard() {
            true => ("each shard its copy", shards),
            false => ("the home shard, whose rows the others are given", home.as_slice()),
        };
        root.text("Strategy", strategy);
        let query = rendered(asked, &copies.text);
        if !explaining.explained.runs() {
            return self.explain_part(asked, root, &query, shards, explaining).await;
        }
        self.lock_copies(asked, &copies.locks).await?;
        self.explain_part(asked, root, &query, shards, explaining).await?;
        let sites = self.site_all(shards, asked.planned).await?;
        self.compare_whole(&sites, &copies.qualified, &copies.columns).await
    }

    /// The same asked of these shards.
    async fn explain_part(
        &mut self,
        asked: &Asked<'_>,
        node: &mut Node,
        query: &str,
        shards: &[ShardId],
        explaining: &mut Explaining<'_>,
    ) -> Result<(), Stop> {
        if explaining.explained.runs() {
            return self.explain_run(asked, node, query, shards, explaining).await;
        }
        let mut sites = Vec::with_capacity(shards.len());
        for &shard in shards {
            self.check_requested()?;
            let need = self.need(asked.planned).of(Access::Read);
            sites.push(self.site_on(shard, need).await?);
        }
        let text = explaining.explained.about(query);
        let plans = self.plans(asked, &sites, text, Tells::Shard, explaining).await?;
        self.tell_tasks(node, query, shards, plans);
        Ok(())
    }

    /// Each shard begins when the one before has done its part, in the order of all locks.
    async fn explain_run(
        &mut self,
        asked: &Asked<'_>,
        node: &mut Node,
        query: &str,
        shards: &[ShardId],
        explaining: &mut Explaining<'_>,
    ) -> Result<(), Stop> {
        let sites = self.site_all(shards, asked.planned).await?;
        let mut tasks: Vec<(ShardId, usize)> = shards.iter().copied().zip(sites).collect();
        tasks.sort_by_key(|(shard, _)| self.serving.rules.rank(*shard));
        node.number("Task Count", u64::try_from(tasks.len()).unwrap_or(u64::MAX));
        node.text("Tasks Shown", "All");
        node.text("Query", query.trim());
        let text = explaining.explained.about(query);
        for (shard, at) in tasks {
            self.check_requested()?;
            let began = Instant::now();
            let plans = self.plans(asked, &[at], text.clone(), Tells::Shard, explaining).await?;
            let mut task = Node::new("Task");
            task.text("Shard", self.serving.rules.shard_name(shard));
            if explaining.explained.tells_time() {
                task.time("Time", began.elapsed());
            }
            plans.into_iter().for_each(|plan| task.plan(plan));
            node.step(task);
        }
        Ok(())
    }
}

/// What cannot be run without the rows that it returns, which a plan is in the place of.
fn admit_run(way: &Way) -> Result<(), Error> {
    let what = match way {
        Way::Each(_) | Way::Rows(_) => return Ok(()),
        Way::Copies(copies) if copies.how.on_every_shard() && !copies.columns.is_empty() => {
            return Ok(());
        }
        Way::Copies(Copies { how: How::Home { .. }, .. }) => {
            "an INSERT into a reference table, whose rows the other shards are given,"
        }
        Way::Copies(_) => "a write to a reference table whose columns are not known",
        Way::Moves(_) => "an UPDATE whose rows leave their shards",
        Way::Selected(_) => "an INSERT … SELECT whose rows weir takes from shard to shard",
    };
    Err(Error::refused(
        format!("EXPLAIN ANALYZE of {what} is not supported"),
        "leave ANALYZE out, or explain the rows of one shard: SET weir.shard",
    ))
}
