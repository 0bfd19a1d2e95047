//! Schema statements: on every shard that has the object, in one transaction; later statements of
//! that transaction see what it made, and the client is answered when every weir knows of it.
use super::spread::Spreading;
use super::{Serving, Session, Stop};
use crate::backend::catalog::{CATALOG, Contents};
use crate::backend::next_id;
use crate::error::{Error, SqlState};
use crate::exec::relay::Show;
use crate::ids::ShardId;
use crate::plan::{Access, Draw, Planned, Route};
use crate::rules::sequences;
use crate::sql::lexer::Lexer;
use crate::sql::verb::{Object, Verb, classify};
use crate::txn::settings::quote_literal;
use crate::txn::{SchemaChange, Status};
use crate::wire::params::Params;
use crate::wire::server::DataRow;
use crate::wire::{encode, frame};
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
        if route == Route::Every && runs_apart(statement) && self.may_end_segment() {
            return self.on_each_shard(statement, planned, change).await;
        }
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

    /// In the order of all locks (`Rules::rank`). The home shard's answer is shown when all have answered.
    /// All commit or none: see `commit`.
    async fn on_every_shard(&mut self, statement: &str, planned: &Planned) -> Result<usize, Stop> {
        self.open_implicit().await?;
        self.txn.writes_every_shard();
        self.keep_gather_in_step(statement, planned).await?;
        let home = self.serving.rules.home;
        let text = planned.text(statement).into_owned();
        let at = self.site_on(home, self.need(planned)).await?;
        self.say(at, &text, Show::Notices).await?;
        let tag = String::from_utf8_lossy(&self.relay.tag).into_owned();
        self.claim_sequences(at, home, statement).await?;
        let others: Vec<_> = self.serving.rules.shard_ids().filter(|&id| id != home).collect();
        for shard in others {
            let at = self.site_on(shard, self.need(planned)).await?;
            self.say(at, &text, Show::Swallow).await?;
            self.claim_sequences(at, shard, statement).await?;
        }
        self.complete(&tag)?;
        Ok(at)
    }

    /// Whether nothing is open that a statement outside of any transaction would end.
    fn may_end_segment(&self) -> bool {
        self.txn.status() == Status::Idle && self.may_begin_anew()
    }

    /// What PostgreSQL runs outside of transactions only: on one shard after the other. The client hears how
    /// far it is, and, if one fails, where it is done and where it is not.
    async fn on_each_shard(
        &mut self,
        statement: &str,
        planned: &Planned,
        change: SchemaChange,
    ) -> Result<(), Stop> {
        for at in self.txn.unsynced() {
            self.sync_one(at, Show::Discard);
        }
        self.drain().await?;
        let text = planned.text(statement).into_owned();
        let rules = self.serving.rules.clone();
        let mut shards: Vec<ShardId> = rules.shard_ids().collect();
        shards.sort_by_key(|shard| rules.rank(*shard));
        let names: Vec<&str> = shards.iter().map(|shard| rules.shard_name(*shard)).collect();
        let mut tag = String::new();
        for (done, &shard) in shards.iter().enumerate() {
            match self.on_shard_apart(shard, &text, planned).await {
                Ok(said) => tag = said,
                Err(Stop::End) => return Err(Stop::End),
                Err(stop) => {
                    if done > 0 {
                        self.txn.note(change);
                        let warning = Error::shard(SqlState(*b"01000"), left_undone(&names, done));
                        let warning = warning.hint(
                            "to run it on one shard: /* weir: shard=NAME */ before the statement; \
                             what was being made CONCURRENTLY is left there invalid: drop it first",
                        );
                        encode::notice(&warning, &mut self.client.output);
                    }
                    if matches!(stop, Stop::Said) && is_concurrent(statement) {
                        self.tell_invalid(shard).await;
                    }
                    return Err(stop);
                }
            }
            if let Some(name) = names.get(done) {
                let message = format!("shard {name} is done, {} of {}", done + 1, names.len());
                let progress = Error::shard(SqlState(*b"00000"), message);
                encode::information(&progress, &mut self.client.output);
            }
        }
        self.txn.note(change);
        self.complete(&tag)
    }

    /// The server goes back at once: what the next one does is another transaction.
    async fn on_shard_apart(
        &mut self,
        shard: ShardId,
        text: &str,
        planned: &Planned,
    ) -> Result<String, Stop> {
        self.check_requested()?;
        let at = self.site_on(shard, self.need(planned)).await?;
        self.count(planned, at);
        self.ask(at, text, Show::Notices);
        self.drain().await?;
        let tag = String::from_utf8_lossy(&self.relay.tag).into_owned();
        match self.txn.participants.get_mut(at) {
            Some(participant) if participant.tied => participant.access = Access::Read,
            Some(_) | None => self.leave(at).await,
        }
        Ok(tag)
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

    /// The next values of a key's sequence: one sequence for all shards, the home shard's.
    pub(super) async fn draw(&mut self, draw: &Draw) -> Result<Vec<i64>, Stop> {
        let at = self.site_on(self.serving.rules.home, self.own_need(Access::Lock)).await?;
        self.relay.captured.clear();
        let count = draw.count();
        let next = match draw.sequence == next_id::CALL {
            true => next_id::CALL.to_owned(),
            false => format!("pg_catalog.nextval({})", quote_literal(&draw.sequence)),
        };
        let text = format!("SELECT {next} FROM pg_catalog.generate_series(1, {count})");
        self.say(at, &text, Show::Capture).await?;
        let captured = self.relay.captured.split();
        let rows = captured_rows(&captured)?;
        let drawn = rows.iter().map(|row| row.first().copied().flatten()?.parse().ok());
        // Whoever asks for the last value is to be told that of the whole statement.
        self.txn.draws_only_on(None);
        let values = drawn.collect::<Option<Vec<i64>>>().filter(|values| values.len() == count);
        values.ok_or_else(|| Error::internal("nextval gave no numbers").into())
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

/// PostgreSQL runs it outside of transactions only, or it would hold its locks on all shards until the last
/// has done its part.
fn runs_apart(statement: &str) -> bool {
    match classify(statement) {
        Verb::Vacuum | Verb::Analyze | Verb::Cluster | Verb::Reindex => true,
        Verb::Create(Object::Index) | Verb::Drop(Object::Index) | Verb::Alter(Object::Table) => {
            is_concurrent(statement)
        }
        _ => false,
    }
}

fn is_concurrent(statement: &str) -> bool {
    let mut tokens = Lexer::of_shape(statement).map_while(Result::ok);
    tokens.any(|token| token.is(statement, "concurrently"))
}

/// Where a statement that has failed on one shard stands.
fn left_undone(names: &[&str], done: usize) -> String {
    let (before, rest) = names.split_at_checked(done).unwrap_or((names, &[]));
    let (failed, rest) = rest.split_first().unwrap_or((&"?", &[]));
    let mut text = format!("it is done on {}, and not on {failed}", before.join(", "));
    if !rest.is_empty() {
        text += &format!("; it has not begun on {}", rest.join(", "));
    }
    text
}

/// Does the statement change what names mean, or what a row is made of?
fn change_of(statement: &str) -> SchemaChange {
    match classify(statement) {
        Verb::Truncate
        | Verb::Comment
        | Verb::SecurityLabel
        | Verb::Grant
        | Verb::Revoke
        | Verb::Vacuum
        | Verb::Analyze
        | Verb::Cluster
        | Verb::Reindex => SchemaChange::None,
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
