//! Schema statements: on every shard that has the object, in one transaction; later statements of
//! that transaction see what it made, and the client is answered when every weir knows of it.
use super::spread::Spreading;
use super::transaction::unknown_outcome;
use super::{Serving, Session, Stop};
use crate::backend::catalog::{CATALOG, Contents};
use crate::backend::members::NOTIFY_CHANGED;
use crate::error::{Error, SqlState};
use crate::exec::relay::Show;
use crate::ids::ShardId;
use crate::plan::{Access, Draw, Planned, Route};
use crate::rules::sequences;
use crate::sql::verb::{Verb, classify};
use crate::txn::settings::quote_literal;
use crate::txn::{Block, Ending, SchemaChange, Status};
use crate::wire::params::Params;
use crate::wire::server::DataRow;
use crate::wire::{encode, frame};
use std::cmp::Reverse;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// Longer than whoever asks the other weirs waits for them.
const PATIENCE: Duration = Duration::from_secs(10);

impl Session {
    pub(super) async fn schema_statement(
        &mut self,
        statement: &str,
        planned: &Planned,
    ) -> Result<(), Stop> {
        let route = planned.route(statement, &Params::default(), &self.serving.rules)?;
        let change = match planned.plan.ties {
            // A temporary table is nobody else's matter.
            Some(_) => SchemaChange::None,
            None => change_of(statement),
        };
        let in_block = self.txn.status() != Status::Idle;
        let at = match route {
            Route::Every => self.on_every_shard(statement, planned).await?,
            Route::One(_) | Route::Many | Route::Any | Route::Proxy => {
                self.on_one_shard(statement, planned, route).await?
            }
        };
        if change == SchemaChange::None {
            return Ok(());
        }
        self.txn.note(change);
        if in_block {
            self.see_own_changes(at).await?;
        }
        Ok(())
    }

    /// The home shard's answer is shown. All shards commit or none: see `commit`.
    async fn on_every_shard(&mut self, statement: &str, planned: &Planned) -> Result<usize, Stop> {
        if self.txn.status() == Status::Idle {
            self.txn.begin(Block::Implicit, "");
        }
        self.txn.writes_every_shard();
        self.keep_gather_in_step(statement, planned).await?;
        let home = self.serving.rules.home;
        let text = planned.text(statement).into_owned();
        let others: Vec<_> = self.serving.rules.shard_ids().filter(|&id| id != home).collect();
        for shard in others {
            let at = self.site_on(shard, self.need(planned)).await?;
            self.say(at, &text, Show::Swallow).await?;
            self.claim_sequences(at, shard, statement).await?;
        }
        let at = self.site_on(home, self.need(planned)).await?;
        self.say(at, &text, Show::Forward).await?;
        self.claim_sequences(at, home, statement).await?;
        Ok(at)
    }

    /// Ids that the shards generate must not collide: what the statement made is brought into line.
    async fn claim_sequences(
        &mut self,
        at: usize,
        shard: ShardId,
        statement: &str,
    ) -> Result<(), Stop> {
        let makes = matches!(classify(statement), Verb::Create(_) | Verb::Alter(_));
        match sequences::claim(&self.serving.rules, shard).filter(|_| makes) {
            Some(text) => self.say(at, &text, Show::Swallow).await,
            None => Ok(()),
        }
    }

    /// The next value of a key's sequence: one for all shards, the home shard's.
    pub(super) async fn draw(&mut self, draw: &Draw) -> Result<i64, Stop> {
        let at = self.site_on(self.serving.rules.home, self.own_need(Access::Lock)).await?;
        self.relay.captured.clear();
        let text = format!("SELECT pg_catalog.nextval({})", quote_literal(&draw.sequence));
        self.say(at, &text, Show::Capture).await?;
        let captured = self.relay.captured.split();
        let drawn =
            captured_rows(&captured)?.first().and_then(|row| row.first().copied().flatten());
        let value = drawn.and_then(|value| value.parse().ok());
        value.ok_or_else(|| Error::internal("nextval gave no number").into())
    }

    async fn on_one_shard(
        &mut self,
        statement: &str,
        planned: &Planned,
        route: Route,
    ) -> Result<usize, Stop> {
        self.keep_gather_in_step(statement, planned).await?;
        let at = self.site(route, self.need(planned)).await?;
        self.tie(at, planned);
        self.count(planned, at);
        let text = planned.text(statement).into_owned();
        self.say(at, &text, Show::Forward).await?;
        Ok(at)
    }

    /// From here on the open transaction's statements are planned with what its own shard shows it.
    async fn see_own_changes(&mut self, at: usize) -> Result<(), Stop> {
        let Some(shard) = self.shard_at(at) else { return Ok(()) };
        self.relay.captured.clear();
        self.say(at, CATALOG, Show::Capture).await?;
        let captured = self.relay.captured.split();
        let there = Contents::read(captured_rows(&captured)?.into_iter())?;
        let (current, rules) = (&self.serving, &self.serving.rules);
        let mut contents = Contents::of(&current.catalog);
        contents.take_from(there, shard, rules);
        let catalog = contents.catalog();
        self.serving = Arc::new(Serving {
            catalog_version: catalog.version,
            catalog: Arc::new(catalog),
            ..Serving::clone(current)
        });
        Ok(())
    }

    /// COMMIT of a transaction that has changed the schema, the home shard first, the gather database
    /// last. As far as a shard can refuse, it does so before any has committed; what can still happen
    /// is that one is lost.
    pub(super) async fn commit_schema(&mut self, show: Show) -> Result<(), Stop> {
        let home = self.serving.rules.home;
        let gather = self.serving.rules.gather_shard();
        let mut order = self.txn.begun();
        let is_gather = |at: usize| gather.is_some() && self.shard_at(at) == gather;
        let gather = order.iter().copied().find(|&at| is_gather(at));
        order.retain(|&at| Some(at) != gather);
        order.sort_by_key(|&at| (Reverse(self.txn.access(at)), self.shard_at(at) != Some(home)));
        if let Err(stop) = self.prepare_schema_commit(&order).await {
            // The servers may be gone; then so is what they had open.
            order.extend(gather);
            drop(self.roll_back_on(&order).await);
            self.txn.end(Ending::RolledBack);
            return Err(stop);
        }
        let rules = self.serving.rules.clone();
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
                    Err(partly_committed(&committed, &name, others).into())
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

    fn shard_at(&self, at: usize) -> Option<ShardId> {
        self.txn.participants.get(at).map(|participant| participant.shard)
    }

    /// What COMMIT itself could still refuse is found out on all shards, and the other weirs will
    /// hear of the change.
    async fn prepare_schema_commit(&mut self, begun: &[usize]) -> Result<(), Stop> {
        if begun.len() > 1 {
            for &at in begun {
                self.say(at, "SET CONSTRAINTS ALL IMMEDIATE", Show::Swallow).await?;
            }
        }
        let home = self.serving.rules.home;
        let home = begun.iter().copied().find(|&at| self.shard_at(at) == Some(home));
        match home.filter(|&at| self.txn.access(at) == Access::Write) {
            Some(at) => self.say(at, NOTIFY_CHANGED, Show::Swallow).await,
            None => Ok(()),
        }
    }

    /// After the commit: waits, not for ever, until all weirs of the cluster know, this one first.
    pub(super) async fn make_schema_known(&mut self) {
        if self.txn.take_schema_change() == SchemaChange::None {
            return;
        }
        let Some(spreader) = self.database.spreader.clone() else { return };
        let (wish, told) = oneshot::channel();
        let asked = async {
            spreader.send(wish).await.ok()?;
            told.await.ok()
        };
        let spreading = match tokio::time::timeout(PATIENCE, asked).await {
            Ok(Some(spreading)) => spreading,
            Ok(None) => Spreading::Unsure("weir is stopping".to_owned()),
            Err(_) => Spreading::Unsure("the home shard did not answer in time".to_owned()),
        };
        let warning = match spreading {
            Spreading::Everywhere => None,
            Spreading::NotBy(weirs) => Some(format!(
                "the schema has changed, but {weirs} other weirs have not said that they know"
            )),
            Spreading::Unsure(why) => Some(format!(
                "the schema has changed, but whether all weirs know is not known: {why}"
            )),
        };
        if let Some(message) = warning {
            let warning = Error::client(SqlState(*b"01000"), message)
                .hint("they will find it by themselves; wait before using what has changed");
            encode::notice(&warning, &mut self.client.output);
        }
        self.refresh();
    }
}

/// A shard was lost while it committed, after others had.
fn partly_committed(committed: &[String], lost: &str, others: Vec<String>) -> Error {
    let mut detail = match committed {
        [] => String::new(),
        some => format!("the change is made on {}; ", some.join(", ")),
    };
    detail += &format!("whether it is on {lost} is not known");
    if !others.is_empty() {
        detail += &format!("; it is not on {}", others.join(", "));
    }
    Error::shard(
        SqlState::TRANSACTION_RESOLUTION_UNKNOWN,
        format!("shard {lost} was lost while the schema change was being committed"),
    )
    .detail(detail)
    .hint(
        "look at that shard, then run the statements where they are missing: \
         SET weir.shard names one shard",
    )
}

/// Does the statement change what names mean, or what a row is made of?
fn change_of(statement: &str) -> SchemaChange {
    match classify(statement) {
        Verb::Truncate | Verb::Comment | Verb::SecurityLabel | Verb::Grant | Verb::Revoke => {
            SchemaChange::None
        }
        _ => SchemaChange::Made,
    }
}

/// DataRow frames as text.
pub(super) fn captured_rows(captured: &[u8]) -> Result<Vec<Vec<Option<&str>>>, Error> {
    let (mut rows, mut rest) = (Vec::new(), captured);
    while let Some(header) = frame::scan(rest, usize::MAX).map_err(Error::from)? {
        let (Some(message), Some(behind)) = (rest.get(5..header.len), rest.get(header.len..))
        else {
            break;
        };
        if header.kind == b'D' {
            let row = DataRow::read(message).map_err(Error::from)?;
            rows.push(row.values().map(text).collect());
        }
        rest = behind;
    }
    Ok(rows)
}

fn text(value: Option<&[u8]>) -> Option<&str> {
    value.and_then(|value| std::str::from_utf8(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_half_made_change_is_told_shard_by_shard() {
        let error = partly_committed(&["s0".into(), "s1".into()], "s2", vec!["s3".into()]);
        assert_eq!(error.code, SqlState::TRANSACTION_RESOLUTION_UNKNOWN);
        assert_eq!(
            error.detail.as_deref(),
            Some("the change is made on s0, s1; whether it is on s2 is not known; it is not on s3")
        );
    }
}
