//! COMMIT on one server after another: of one writer that has changed the schema, and of several where
//! the rules give up atomic commits (`commit = "in_turn"`).
use super::transaction::unknown_outcome;
use super::{Session, Stop};
use crate::backend::members::NOTIFY_CHANGED;
use crate::error::{Error, SqlState};
use crate::exec::relay::Show;
use crate::plan::Access;
use crate::txn::{Ending, SchemaChange, barrier};
use std::cmp::Reverse;
use std::collections::VecDeque;

impl Session {
    /// The home shard first, the gather database last. As far as a shard can refuse, it does so before
    /// any has committed; what can still happen is that one is lost.
    pub(super) async fn commit_in_turn(&mut self, show: Show) -> Result<(), Stop> {
        let home = self.serving.rules.home;
        let gather = self.serving.rules.gather_shard();
        let mut order = self.txn.begun();
        let is_gather = |at: usize| gather.is_some() && self.shard_at(at) == gather;
        let gather = order.iter().copied().find(|&at| is_gather(at));
        order.retain(|&at| Some(at) != gather);
        order.sort_by_key(|&at| (Reverse(self.txn.access(at)), self.shard_at(at) != Some(home)));
        if let Err(stop) = self.prepare_to_commit_in_turn(&order).await {
            // The servers may be gone; then so is what they had open.
            order.extend(gather);
            drop(self.roll_back_on(&order).await);
            self.txn.end(Ending::RolledBack);
            return Err(stop);
        }
        let (rules, change) = (self.serving.rules.clone(), self.txn.schema_change());
        let mut waiting: VecDeque<(usize, String)> = order
            .into_iter()
            .filter_map(|at| Some((at, rules.shard_name(self.shard_at(at)?).to_owned())))
            .collect();
        let mut committed = Vec::new();
        while let Some((at, name)) = waiting.pop_front() {
            let outcome = self.say(at, "COMMIT", Show::Swallow).await;
            if outcome.is_ok() && self.relay.tag == b"COMMIT" {
                committed.push(name);
                continue;
            }
            let rest: Vec<usize> = waiting.iter().map(|(at, _)| *at).chain(gather).collect();
            drop(self.roll_back_on(&rest).await);
            let ending = match committed.is_empty() {
                true => Ending::RolledBack,
                false => Ending::Committed,
            };
            self.txn.end(ending);
            let others: Vec<String> = waiting.into_iter().map(|(_, name)| name).collect();
            return match outcome {
                Err(Stop::End) => Err(Stop::End),
                Err(Stop::Said) if committed.is_empty() => Err(Stop::Said),
                Err(Stop::Say(error)) if committed.is_empty() && others.is_empty() => {
                    Err(unknown_outcome(error).into())
                }
                Err(Stop::Say(_) | Stop::Said) | Ok(()) => {
                    Err(partly_committed(change, &committed, &name, others).into())
                }
            };
        }
        let outcome = match gather {
            Some(at) => self.say(at, "COMMIT", Show::Discard).await,
            None => Ok(()),
        };
        self.txn.end(Ending::Committed);
        match outcome {
            Err(Stop::End) => return Err(Stop::End),
            Err(Stop::Say(error)) => self.tell_out_of_step(&error.message),
            Err(Stop::Said) | Ok(()) => {}
        }
        if show == Show::Forward { self.complete("COMMIT") } else { Ok(()) }
    }

    /// What COMMIT itself could still refuse is found out on all shards, and the other weirs will
    /// hear of the change.
    async fn prepare_to_commit_in_turn(&mut self, begun: &[usize]) -> Result<(), Stop> {
        if begun.len() > 1 {
            // Readers of several shards wait until all have committed, as for an atomic commit.
            let together = self.txn.writers().len() > 1;
            for &at in begun {
                let mut text = "SET CONSTRAINTS ALL IMMEDIATE".to_owned();
                if together && self.txn.access(at) == Access::Write {
                    text = format!("{text};{}", barrier::enter());
                }
                self.say(at, &text, Show::Swallow).await?;
            }
        }
        if self.txn.schema_change() == SchemaChange::None {
            return Ok(());
        }
        let home = self.serving.rules.home;
        let home = begun.iter().copied().find(|&at| self.shard_at(at) == Some(home));
        match home.filter(|&at| self.txn.access(at) == Access::Write) {
            Some(at) => self.say(at, NOTIFY_CHANGED, Show::Swallow).await,
            None => Ok(()),
        }
    }
}

/// A shard was lost while it committed, after others had.
fn partly_committed(
    change: SchemaChange,
    committed: &[String],
    lost: &str,
    others: Vec<String>,
) -> Error {
    let mut detail = match committed {
        [] => String::new(),
        some => format!("it is committed on {}; ", some.join(", ")),
    };
    detail += &format!("whether it is on {lost} is not known");
    if !others.is_empty() {
        detail += &format!("; it is not on {}", others.join(", "));
    }
    let what = match change {
        SchemaChange::Made => "the schema change",
        SchemaChange::None => "the transaction",
    };
    Error::shard(
        SqlState::TRANSACTION_RESOLUTION_UNKNOWN,
        format!("shard {lost} was lost while {what} was being committed"),
    )
    .detail(detail)
    .hint(
        "look at that shard, then run the statements where they are missing: \
         SET weir.shard names one shard",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_half_made_change_is_told_shard_by_shard() {
        let committed = ["s0".into(), "s1".into()];
        let error = partly_committed(SchemaChange::Made, &committed, "s2", vec!["s3".into()]);
        assert_eq!(error.code, SqlState::TRANSACTION_RESOLUTION_UNKNOWN);
        assert_eq!(
            error.detail.as_deref(),
            Some("it is committed on s0, s1; whether it is on s2 is not known; it is not on s3")
        );
    }
}
