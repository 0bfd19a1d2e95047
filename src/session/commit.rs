//! COMMIT of a transaction that has written on several shards: everywhere or nowhere, whatever dies
//! meanwhile. docs/transactions.md has the steps and what may go wrong.
//!
//! Invariant: nothing that is prepared is committed before the anchor has the record, and the client is
//! told COMMIT only if it has. What is left behind is `server::recovery`'s.
use super::{Session, Stop};
use crate::backend::commit_record::{self, Verdict};
use crate::backend::members::NOTIFY_CHANGED;
use crate::error::{Error, SqlState};
use crate::exec::at_once::{Answer, AtOnce, Late};
use crate::exec::budget::Stage;
use crate::exec::relay::Show;
use crate::ids::ShardId;
use crate::plan::Access;
use crate::txn::two_phase::{Decided, Gid, Key, Prepared, Preparing};
use crate::txn::{Begun, Ending, SchemaChange};
use crate::wire::server::{ErrorFields, TransactionStatus};
use crate::wire::{encode, error_response};
use bytes::Bytes;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Between two attempts to ask the anchor what became of the decision.
const PAUSE: Duration = Duration::from_millis(100);

const AGAIN: &str = "nothing of the transaction is committed: run it again";

/// Who takes part as what, by their positions among the participants.
struct Parties {
    anchor: usize,
    /// The other writers: they prepare.
    others: Vec<usize>,
    readers: Vec<usize>,
    /// What they hold may protect what the others have written: they come last.
    lockers: Vec<usize>,
    /// It follows the shards, and nobody depends on it.
    gather: Option<usize>,
}

/// Why a transaction is not committed.
enum Trouble {
    /// A server's own words.
    Refused(SqlState, Bytes),
    /// A server answered ROLLBACK, as it does where the transaction has failed before.
    RolledBack,
    Lost(Error),
    /// The anchor cannot have the record.
    Unrecorded(Error),
    /// The decision was sent, and whether it was made nobody can say now.
    Unknown(Error),
}

/// What a session has left on a server for longer than a transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Bond {
    Whole,
    Broken,
}

/// Servers that answer nothing are not waited for any longer.
struct GivenUp;

impl Session {
    /// The same, in a trace of its own if nothing is traced that it is a part of: the end of a pipeline.
    pub(super) async fn commit_traced(
        &mut self,
        writers: &[usize],
        show: Show,
    ) -> Result<(), Stop> {
        let alone = self.seen.trace.is_none();
        if alone {
            self.begin_trace("COMMIT");
        }
        let began = self.traced_now();
        let outcome = self.commit_together(writers, show).await;
        self.note_stage("commit", began);
        if alone {
            self.tell_commit(&outcome);
        }
        outcome
    }

    /// What has been written there is committed everywhere or nowhere.
    pub(super) async fn commit_together(
        &mut self,
        writers: &[usize],
        show: Show,
    ) -> Result<(), Stop> {
        self.drain().await?;
        let began = Instant::now();
        let parties = self.parties(writers);
        let key = self.new_key(parties.anchor)?;
        self.slot.commits(Some(key.clone()));
        let decided = match self.prepare_all(Preparing::new(key.clone()), &parties).await {
            Ok(prepared) => {
                let asked = self.note_step("PREPARE TRANSACTION", &parties.others, began);
                let decided = self.decide(prepared, &parties).await;
                self.note_step("COMMIT", &[parties.anchor], asked);
                decided
            }
            Err(trouble) => Err(trouble),
        };
        self.slot.commits(None);
        match decided {
            Ok(decided) => {
                let asked = self.traced_now().unwrap_or(began);
                self.carry_out(decided, &parties).await;
                self.note_step("COMMIT PREPARED", &parties.others, asked);
            }
            Err(trouble) => {
                let outcome = match trouble {
                    Trouble::Unknown(_) => "unknown",
                    Trouble::Refused(..)
                    | Trouble::RolledBack
                    | Trouble::Lost(_)
                    | Trouble::Unrecorded(_) => "rolled_back",
                };
                self.database.counters.ended_over_shards(outcome, began.elapsed());
                self.undo(&key, matches!(trouble, Trouble::Unknown(_))).await;
                self.txn.end(Ending::RolledBack);
                let told = self.tell_trouble(trouble, show);
                if let (Bond::Broken, Err(Stop::Say(error))) = (self.bond(), &told) {
                    // Before the session ends: it says what became of the transaction.
                    self.told(error);
                }
                self.part_with_lost().await?;
                return told;
            }
        }
        self.database.counters.ended_over_shards("committed", began.elapsed());
        self.txn.end(Ending::Committed);
        if show == Show::Forward {
            self.complete("COMMIT")?;
        }
        self.part_with_lost().await
    }

    /// These servers have been told that, since then; until when.
    fn note_step(&mut self, name: &'static str, sites: &[usize], from: Instant) -> Instant {
        let to = self.traced_now().unwrap_or(from);
        self.note_told(name, "commit", sites, (from, to));
        to
    }

    fn parties(&self, writers: &[usize]) -> Parties {
        let anchor = self.anchor(writers);
        let gather = self.serving.rules.gather_shard();
        let is_gather = |at: &usize| gather.is_some() && self.shard_at(*at) == gather;
        let begun = self.txn.begun();
        let tied = |at: usize| self.txn.participants.get(at).is_some_and(|p| p.tied);
        let not_writing =
            begun.iter().copied().filter(|at| !writers.contains(at) && !is_gather(at));
        // What ties a session to a server may be a cursor, which is there only if the transaction commits.
        let only_reads = |at: &usize| self.txn.access(*at) == Access::Read && !tied(*at);
        let (readers, lockers) = not_writing.partition(only_reads);
        Parties {
            anchor,
            others: writers.iter().copied().filter(|at| *at != anchor).collect(),
            readers,
            lockers,
            gather: begun.iter().copied().find(is_gather),
        }
    }

    /// Where PREPARE would be refused: who has temporary tables, and the home shard, which is where
    /// NOTIFY runs. Else the first that wrote.
    fn anchor(&self, writers: &[usize]) -> usize {
        let home = self.serving.rules.home;
        let tied = |at: &&usize| self.txn.participants.get(**at).is_some_and(|p| p.tied);
        let at_home = |at: &&usize| self.shard_at(**at) == Some(home);
        let made = self.txn.schema_change() == SchemaChange::Made;
        let of_schema = writers.iter().find(at_home).filter(|_| made);
        let chosen = of_schema.or_else(|| writers.iter().find(tied));
        let chosen = chosen.or_else(|| writers.iter().find(at_home)).or(writers.first());
        chosen.copied().unwrap_or_default()
    }

    fn new_key(&self, anchor: usize) -> Result<Key, Error> {
        let cluster = self.serving.servers.footing.cluster();
        let cluster = cluster.ok_or_else(|| Error::internal("the cluster has no id"))?;
        Ok(Key::new(cluster, rand::random(), &self.name_of(anchor)))
    }

    pub(super) fn shard_at(&self, at: usize) -> Option<ShardId> {
        self.txn.participants.get(at).map(|participant| participant.shard)
    }

    pub(super) fn name_of(&self, at: usize) -> String {
        let shard = self.shard_at(at);
        shard.map_or("?", |shard| self.serving.rules.shard_name(shard)).to_owned()
    }

    /// Step 1. Whoever can still refuse does so now.
    async fn prepare_all(
        &mut self,
        preparing: Preparing,
        parties: &Parties,
    ) -> Result<Prepared, Trouble> {
        let mut steps: Vec<(usize, String)> = Vec::new();
        for &at in &parties.others {
            steps.push((at, preparing.prepare(&self.name_of(at))));
        }
        steps.push((parties.anchor, preparing.enter()));
        steps.extend(parties.readers.iter().map(|&at| (at, "COMMIT".to_owned())));
        let mut asked = self.say_at_once(steps);
        loop {
            let mut lines = self.relay.lines(&mut self.client, &mut self.txn.participants);
            match asked.wait_in_time(&mut lines).await {
                Ok(()) => break,
                // Servers that do not answer even a cancel request are given up.
                Err(Late) => match self.cancel_late(&asked.running()).await {
                    Ok(()) => {}
                    Err(GivenUp) => break,
                },
            }
        }
        let mut trouble = None;
        for (at, answer) in asked.answers(&mut self.txn.participants) {
            let expected = match at {
                at if parties.others.contains(&at) => "PREPARE TRANSACTION",
                at if parties.anchor == at => "SELECT",
                _ => "COMMIT",
            };
            match answer {
                Answer::Done(tag) if tag.starts_with(expected.as_bytes()) => {
                    if parties.others.contains(&at)
                        && let Some(participant) = self.txn.participants.get_mut(at)
                    {
                        participant.has_prepared();
                    }
                }
                other => {
                    trouble.get_or_insert(Trouble::of(other));
                }
            }
        }
        trouble.map_or(Ok(preparing.prepared()), Err)
    }

    /// Step 2. From here on no request to cancel reaches a server.
    async fn decide(&mut self, prepared: Prepared, parties: &Parties) -> Result<Decided, Trouble> {
        self.slot.running().await.clear();
        let made = self.txn.schema_change() == SchemaChange::Made;
        let at_home = self.shard_at(parties.anchor) == Some(self.serving.rules.home);
        let notify = if made && at_home { format!("{NOTIFY_CHANGED};") } else { String::new() };
        let text = format!("{notify}{}", prepared.decide());
        let mut asked = self.say_at_once(vec![(parties.anchor, text)]);
        let mut lines = self.relay.lines(&mut self.client, &mut self.txn.participants);
        asked.wait(&mut lines).await;
        let answer = asked.answers(&mut self.txn.participants).pop().map(|(_, answer)| answer);
        let lost = match answer {
            Some(answer) if answer.is("COMMIT") => return Ok(prepared.decided()),
            Some(Answer::Lost(error)) => error,
            Some(Answer::Refused(code, body)) => {
                let name = self.name_of(parties.anchor);
                let refused = || Trouble::Refused(code, body.clone());
                return Err(
                    unrecorded(code, &body, &name).map_or_else(refused, Trouble::Unrecorded)
                );
            }
            Some(other @ Answer::Done(_)) => return Err(Trouble::of(other)),
            None => return Err(Trouble::RolledBack),
        };
        let Some(shard) = self.shard_at(parties.anchor) else { return Err(Trouble::Unknown(lost)) };
        match self.ask_for_record(shard, prepared.key()).await {
            Some(Verdict::Committed) => Ok(prepared.decided()),
            Some(Verdict::Aborted) => Err(Trouble::Lost(lost)),
            None => Err(Trouble::Unknown(lost)),
        }
    }

    /// The connection broke during the decision: the anchor itself knows whether it was made.
    async fn ask_for_record(&self, shard: ShardId, key: &Key) -> Option<Verdict> {
        let deadline = Instant::now() + self.database.limits.resolution;
        let asking = async {
            loop {
                match self.judge(shard, key).await {
                    Ok(verdict) => return verdict,
                    Err(error) => tracing::debug!(%error, %key, "the anchor was asked in vain"),
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        tokio::time::timeout_at(deadline.into(), asking).await.ok()
    }

    async fn judge(&self, shard: ShardId, key: &Key) -> Result<Verdict, Error> {
        let servers = &self.serving.servers;
        let place = servers.footing.places.acquire().await;
        let _place = place.map_err(|_| Error::internal("weir is stopping"))?;
        let client = servers.fleet.primary(shard)?.control().await?;
        commit_record::judge(&client, key.as_str(), self.database.limits.resolution).await
    }

    /// Steps 3 and 4: what is decided is done, now or by recovery.
    async fn carry_out(&mut self, decided: Decided, parties: &Parties) {
        let commits = parties.others.iter().map(|&at| (at, decided.commit(&self.name_of(at))));
        let mut steps: Vec<_> = commits.collect();
        steps.extend(parties.gather.map(|at| (at, "COMMIT".to_owned())));
        let mut left = Vec::new();
        for (at, answer) in self.hear_at_once(steps).await {
            if Some(at) == parties.gather {
                if !answer.is("COMMIT") {
                    self.tell_out_of_step("it did not commit");
                }
            } else if !answer.is("COMMIT PREPARED") {
                left.push((at, decided.gid(&self.name_of(at))));
            }
        }
        for name in self.finish_otherwise(left, Verdict::Committed).await {
            self.tell_unfinished(&name);
        }
        self.commit_rest(&parties.lockers).await;
    }

    /// Nothing is committed: everything is rolled back. If that is not known, what is prepared stays.
    async fn undo(&mut self, key: &Key, unknown: bool) {
        let mut steps = Vec::new();
        for at in 0..self.txn.participants.len() {
            let Some(participant) = self.txn.participants.get(at) else { continue };
            if participant.begun != Begun::Block || participant.is_lost() {
                continue;
            }
            if participant.prepared && !unknown {
                steps.push((at, key.roll_back(&self.name_of(at))));
            } else if participant.status != TransactionStatus::Idle {
                steps.push((at, "ROLLBACK".to_owned()));
            }
        }
        let mut left = Vec::new();
        for (at, answer) in self.hear_at_once(steps).await {
            let prepared = self.txn.participants.get(at).is_some_and(|other| other.prepared);
            if prepared && !answer.is("ROLLBACK PREPARED") {
                left.push((at, key.on(&self.name_of(at))));
            }
        }
        self.finish_otherwise(left, Verdict::Aborted).await;
        if unknown || self.txn.participants.iter().any(|other| other.is_lost()) {
            self.serving.servers.footing.leave_behind(key);
        }
    }

    /// The client's own connections could not: they may be lost, run out of their own time, or be another
    /// role's than the one that prepared. The shards where weir's own could not, either.
    async fn finish_otherwise(&self, left: Vec<(usize, Gid)>, verdict: Verdict) -> Vec<String> {
        let limit = self.database.limits.resolution;
        let mut finishing = JoinSet::new();
        for (at, gid) in left {
            let (servers, shard) = (self.serving.servers.clone(), self.shard_at(at));
            finishing.spawn(async move {
                let finish = async {
                    let _place = servers.footing.places.acquire().await.ok()?;
                    let client = servers.fleet.primary(shard?).ok()?.control().await.ok()?;
                    commit_record::finish(&client, &gid.to_string(), verdict, limit).await.ok()
                };
                let finished = tokio::time::timeout(limit, finish).await;
                (gid, matches!(finished, Ok(Some(()))))
            });
        }
        let mut unfinished = Vec::new();
        while let Some(done) = finishing.join_next().await {
            let Ok((gid, false)) = done else { continue };
            tracing::warn!(%gid, ?verdict, "a prepared transaction is left for recovery");
            self.serving.servers.footing.leave_behind(&gid.key);
            unfinished.push(gid.participant);
        }
        unfinished
    }

    /// The statement's time is up, so these servers are asked to cancel it. An error: who has not
    /// answered by now is given up.
    async fn cancel_late(&mut self, running: &[usize]) -> Result<(), GivenUp> {
        match self.relay.budget.stage() {
            Stage::Off => Ok(()),
            Stage::Cancelling { .. } => Err(GivenUp),
            Stage::Running { .. } => {
                self.relay.budget.cancels(Instant::now());
                self.cancel_on(running).await.map_err(|_| GivenUp)
            }
        }
    }

    fn say_at_once(&mut self, steps: Vec<(usize, String)>) -> AtOnce {
        let mut asked = AtOnce::default();
        for (at, text) in steps {
            asked.ask(&mut self.txn.participants, at, &text);
        }
        asked
    }

    /// The answers that come in time.
    pub(super) async fn hear_at_once(
        &mut self,
        steps: Vec<(usize, String)>,
    ) -> Vec<(usize, Answer)> {
        let mut asked = self.say_at_once(steps);
        let mut lines = self.relay.lines(&mut self.client, &mut self.txn.participants);
        let limit = self.database.limits.resolution;
        if tokio::time::timeout(limit, asked.wait(&mut lines)).await.is_err() {
            tracing::debug!("a server did not answer in time");
        }
        asked.answers(&mut self.txn.participants)
    }

    /// Whether a server was lost that holds what the session is tied to.
    fn bond(&self) -> Bond {
        match self.txn.participants.iter().any(|other| other.tied && other.is_lost()) {
            true => Bond::Broken,
            false => Bond::Whole,
        }
    }

    /// Connections that were lost on the way are nobody's participants any more.
    pub(super) async fn part_with_lost(&mut self) -> Result<(), Stop> {
        let bond = self.bond();
        self.txn.participants.retain(|participant| !participant.is_lost());
        if bond == Bond::Broken {
            let error = Error::shard(
                SqlState::CONNECTION_FAILURE,
                "lost the server that holds this session's temporary tables, locks or LISTEN",
            );
            self.say_goodbye(&error.fatal()).await;
            return Err(Stop::End);
        }
        Ok(())
    }

    fn tell_trouble(&mut self, trouble: Trouble, show: Show) -> Result<(), Stop> {
        match trouble {
            Trouble::Refused(code, body) => {
                if code == SqlState::QUERY_CANCELED
                    && let Some(verdict) = self.relay.budget.verdict()
                {
                    return Err(verdict.into());
                }
                self.client.output.extend_from_slice(&refusal(code, &body));
                Err(Stop::Said)
            }
            Trouble::RolledBack if show == Show::Forward => self.complete("ROLLBACK"),
            Trouble::RolledBack => {
                let code = SqlState::IN_FAILED_SQL_TRANSACTION;
                Err(Error::shard(code, "the transaction was rolled back").hint(AGAIN).into())
            }
            Trouble::Unrecorded(error) => Err(error.into()),
            Trouble::Lost(mut error) => {
                error.hint = Some(AGAIN.to_owned());
                Err(error.into())
            }
            Trouble::Unknown(error) => {
                let code = SqlState::TRANSACTION_RESOLUTION_UNKNOWN;
                let message = format!("the outcome of COMMIT is unknown: {}", error.message);
                let hint = "weir finishes the transaction on all shards, or undoes it, when that \
                            shard is back; look then whether its writes are there";
                Err(Error::shard(code, message).hint(hint).into())
            }
        }
    }

    fn tell_unfinished(&mut self, name: &str) {
        let message = format!("shard {name} could not be told that the transaction is committed");
        let warning = Error::shard(SqlState(*b"01000"), message).hint(
            "weir commits it there when the shard is back; until then what it has written there is \
             not seen, and its rows are locked",
        );
        encode::notice(&warning, &mut self.client.output);
    }
}

impl Trouble {
    fn of(answer: Answer) -> Self {
        match answer {
            Answer::Done(_) => Trouble::RolledBack,
            Answer::Refused(code, body) => Trouble::Refused(code, body),
            Answer::Lost(error) => Trouble::Lost(error),
        }
    }
}

/// The anchor has refused the record itself, and so the commit.
fn unrecorded(code: SqlState, body: &[u8], anchor: &str) -> Option<Error> {
    const READ_ONLY: SqlState = SqlState(*b"25006");
    const UNDEFINED_TABLE: SqlState = SqlState(*b"42P01");
    let said = || ErrorFields::read(body).map(|fields| fields.message()).unwrap_or_default();
    match code {
        READ_ONLY => Some(Error::refused(
            "COMMIT of a transaction that has written on several shards and is READ ONLY now",
            "leave out READ ONLY where it comes after writing; say it in BEGIN where functions only read, \
             or make those functions STABLE",
        )),
        UNDEFINED_TABLE | SqlState::INSUFFICIENT_PRIVILEGE => {
            Some(Error::shard(code, said()).hint(format!(
                "nothing is committed; everybody has to be allowed to insert into \
                 weir.commit_record on shard {anchor}: run weir setup --rules FILE"
            )))
        }
        _ => None,
    }
}

/// A server's refusal to prepare or to commit, as the client is told it.
fn refusal(code: SqlState, body: &[u8]) -> bytes::BytesMut {
    let mut message = bytes::BytesMut::new();
    let fields = match ErrorFields::read(body) {
        Ok(fields) => fields,
        Err(error) => {
            error_response::write(&error.into(), &mut message);
            return message;
        }
    };
    let on_record = fields.get(b't') == Some(b"commit_record".as_slice())
        && fields.get(b's') == Some(b"weir".as_slice());
    if code == SqlState(*b"23505") && on_record {
        let error = Error::shard(
            SqlState(*b"40001"),
            "the transaction took so long to commit that it was taken for abandoned",
        );
        error_response::write(&error.hint(AGAIN), &mut message);
    } else if code == SqlState::FEATURE_NOT_SUPPORTED {
        let hint = "temporary tables, NOTIFY and cursors WITH HOLD have to be on the one shard that \
                    decides (the home shard, or the one with the temporary tables): leave them, and \
                    triggers that notify, out of transactions that write on several shards";
        error_response::write(
            &fields.to_error(crate::error::Blame::Client).hint(hint),
            &mut message,
        );
    } else {
        fields.write_without(b'E', b"", &mut message);
    }
    message
}
