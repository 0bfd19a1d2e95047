//! What several shards are sent, in words.
use super::copies::{How, Mode};
use super::{Fragment, Of, Scattered, Several, Way};
use crate::plan::Planned;
use crate::rules::Rules;
use crate::wire::params::Params;

impl Several {
    /// A line for each thing that is sent.
    pub fn told(&self, planned: &Planned, statement: &str, rules: &Rules) -> Vec<String> {
        let mut lines = Vec::new();
        let render = |template: &super::Template| template.render(statement, &planned.shape);
        if let Ok(merge) = &self.merge {
            lines.push(format!("merge of each shard's: {}", render(&merge.query)));
        }
        match &self.gather {
            Ok(gather) => {
                for Fragment { table, query, of, sought, .. } in &gather.fragments {
                    let of = match of {
                        Of::EveryShard => "every shard",
                        Of::AnyShard => "any shard",
                        Of::Shard(shard) => rules.shard_name(*shard),
                    };
                    let sought = match sought.as_slice() {
                        [] => String::new(),
                        columns => format!(" (indexed by {})", columns.join(", ")),
                    };
                    lines.push(format!("gather {table} from {of}{sought}: {}", render(query)));
                }
                lines.push(format!("finish by: {}", render(&gather.residual)));
            }
            Err(why) if self.merge.is_ok() => {
                lines.push(format!("not gathered: {}", crate::error::Error::from(why.clone())));
            }
            Err(_) => {}
        }
        lines
    }
}

impl Scattered {
    /// A line for each thing that is sent.
    pub fn told(
        &self,
        planned: &Planned,
        statement: &str,
        params: &Params<'_>,
        rules: &Rules,
    ) -> Vec<String> {
        let render = |template: &super::Template| template.render(statement, &planned.shape);
        let mut lines = Vec::new();
        match &self.way {
            Way::Each(template) => {
                lines.push(format!("each shard its own rows: {}", render(template)))
            }
            Way::Copies(copies) => {
                let home = rules.shard_name(rules.home);
                for lock in &copies.locks {
                    let mode = match lock.mode {
                        Mode::Shared => "shared",
                        Mode::Alone => "alone",
                    };
                    lines.push(format!("lock of {} on {home}, {mode}", lock.table));
                }
                let who = match copies.how {
                    How::Everywhere => String::from("each shard"),
                    How::Whole => String::from("each shard, and all rows are compared afterwards"),
                    How::Home { .. } => format!("{home}, the others get its rows"),
                };
                lines.push(format!("{who}: {}", render(&copies.text)));
            }
            Way::Moves(moves) => {
                lines.push(format!("rows leave their shards by: {}", render(&moves.taken)));
                lines.push(format!(
                    "and are inserted into {} where they belong{}",
                    moves.into.table,
                    render(&moves.into.tail)
                ));
            }
            Way::Selected(selected) => {
                lines.push(format!("rows are selected by: {}", render(&selected.query)));
                lines.push(format!(
                    "and inserted into {} where they belong{}",
                    selected.into.table,
                    render(&selected.into.tail)
                ));
            }
            Way::Rows(split) => {
                let shards = split.by_shard(planned, statement, params, rules).unwrap_or_default();
                for (shard, rows) in shards {
                    let text = render(&split.text(&rows, None));
                    lines.push(format!("{} its rows: {text}", rules.shard_name(shard)));
                }
            }
        }
        if self.tells_time {
            lines.push(String::from("the time is one value for all shards"));
        }
        lines
    }
}
