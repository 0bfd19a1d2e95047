//! EXPLAIN of writes whose rows are on several shards: how the write is done, and each server's plan of its part.
//! Nothing is written, so no shard counts as written to.
use super::{Explaining, Node, rendered};
use crate::error::Error;
use crate::ids::ShardId;
use crate::plan::Access;
use crate::plan::several::copies::How;
use crate::plan::several::{Scattered, Way};
use crate::session::several::Asked;
use crate::session::together::Tells;
use crate::session::{Session, Stop};
use crate::wire::params::Params;

impl Session {
    pub(super) async fn explain_scattered(
        &mut self,
        asked: &Asked<'_>,
        scattered: &Scattered,
        explaining: &mut Explaining<'_>,
    ) -> Result<Node, Stop> {
        if explaining.explained.runs() {
            return Err(Error::refused(
                "EXPLAIN ANALYZE of a write over several shards",
                "leave ANALYZE out, or explain the rows of one shard: SET weir.shard",
            )
            .into());
        }
        let params = Params { types: asked.types, values: asked.values };
        scattered.admit_values(asked.planned, asked.text, &params)?;
        let shards = self.asked_shards(asked)?;
        let home = self.serving.rules.home;
        let mut root = Node::new("Weir Write");
        match &scattered.way {
            Way::Each(template) => {
                root.text("Strategy", "each shard its own rows");
                let query = rendered(asked, template);
                self.explain_part(asked, &mut root, &query, &shards, explaining).await?;
            }
            Way::Copies(copies) => {
                let (strategy, shards) = match copies.how {
                    How::Everywhere => ("each shard its copy", shards),
                    How::Home { .. } => {
                        ("the home shard, whose rows the others are given", vec![home])
                    }
                };
                root.text("Strategy", strategy);
                let query = rendered(asked, &copies.text);
                self.explain_part(asked, &mut root, &query, &shards, explaining).await?;
            }
            Way::Moves(moves) => {
                root.text("Strategy", "rows leave their shards and are inserted where they belong");
                let query = rendered(asked, &moves.taken);
                self.explain_part(asked, &mut root, &query, &shards, explaining).await?;
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
                for (shard, rows) in split.by_shard(asked.planned, asked.text, &params, &rules)? {
                    let query = rendered(asked, &split.text(&rows, None));
                    let mut part = Node::new("Rows");
                    part.number("Rows", u64::try_from(rows.len()).unwrap_or(u64::MAX));
                    self.explain_part(asked, &mut part, &query, &[shard], explaining).await?;
                    root.step(part);
                }
            }
        }
        Ok(root)
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
}
