//! Both strategies in words.
use super::{Fragment, Of, Several};
use crate::plan::Planned;
use crate::rules::Rules;

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
