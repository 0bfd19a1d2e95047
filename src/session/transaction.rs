//! BEGIN, COMMIT, ROLLBACK, savepoints: a client's transaction over the shards it has touched.
use super::segment::beside_the_writer;
use super::simple::Ended;
use super::{Session, Stop};
use crate::error::{Error, SqlState};
use crate::exec::at_once::Answer;
use crate::exec::broken::Broken;
use crate::exec::relay::Show;
use crate::ids::ShardId;
use crate::plan::Access;
use crate::rules::Commit;
use crate::sql::control::first_word;
use crate::txn::settings::quote_identifier;
use crate::txn::{Block, Ending, Participant, SchemaChange, Setup, Status};
use crate::wire::encode;

impl Session {
    pub(super) async fn begin(&mut self, modes: &str, statement: &str) -> Result<(), Stop> {
        check_modes(modes)?;
        match self.txn.status() {
            Status::Idle => {
                self.refuse_if_configuring()?;
                self.txn.begin(Block::Explicit, modes);
                // In a pipeline the block takes in what was executed since the last Sync.
                for at in self.txn.unsynced() {
                    let text = self.txn.opening();
                    self.say(at, &text, Show::Swallow).await?;
                    self.txn.open_on(at);
                }
            }
            Status::Open(block) => {
                match block {
                    Block::Implicit => self.txn.become_explicit(),
                    Block::Explicit => self.warn(
                        SqlState::ACTIVE_SQL_TRANSACTION,
                        "there is already a transaction in progress",
                    ),
                }
                // As in PostgreSQL they hold for the transaction there is.
                if !modes.is_empty() {
                    let statement = format!("SET TRANSACTION {modes}");
                    self.set_transaction_on_all(&statement).await?;
                    self.txn.remember_setup(Setup::Characteristics(statement));
                }
            }
            Status::Failed(_) => {}
        }
        let start = first_word(statement).is_some_and(|word| word.eq_ignore_ascii_case("start"));
        self.complete(if start { "START TRANSACTION" } else { "BEGIN" })
    }

    pub(super) async fn end_block(&mut self, chain: bool, ending: Ending) -> Result<(), Stop> {
        let failed = matches!(self.txn.status(), Status::Failed(_));
        let block = self.txn.status() != Status::Idle;
        let outcome = self.end_open_block(chain, ending).await;
        if self.seen.trace.as_ref().is_some_and(|trace| !trace.stages.is_empty()) {
            self.tell_commit(&outcome);
        }
        if block {
            self.database.counters.ended(outcome.is_ok() && !failed && ending == Ending::Committed);
        }
        outcome
    }

    async fn end_open_block(&mut self, chain: bool, ending: Ending) -> Result<(), Stop> {
        let characteristics = self.txn.characteristics();
        let tag = if ending == Ending::Committed { "COMMIT" } else { "ROLLBACK" };
        match self.txn.status() {
            Status::Idle | Status::Open(Block::Implicit) if chain => {
                return Err(Error::client(
                    SqlState::NO_ACTIVE_SQL_TRANSACTION,
                    format!("{tag} AND CHAIN can only be used in transaction blocks"),
                )
                .into());
            }
            Status::Idle if !self.txn.unsynced().is_empty() => {
                return self.end_pipelined(ending).await;
            }
            Status::Idle => {
                self.warn(
                    SqlState::NO_ACTIVE_SQL_TRANSACTION,
                    "there is no transaction in progress",
                );
                return self.complete(tag);
            }
            Status::Open(block) => {
                if block == Block::Implicit {
                    self.warn(
                        SqlState::NO_ACTIVE_SQL_TRANSACTION,
                        "there is no transaction in progress",
                    );
                }
                match ending {
                    Ending::Committed => self.commit(Show::Forward).await?,
                    Ending::RolledBack => self.roll_back(Show::Forward).await?,
                }
            }
            Status::Failed(_) => self.roll_back(Show::Forward).await?,
        }
        self.settle().await;
        self.end_turn();
        if chain {
            self.txn.chain(characteristics);
        }
        Ok(())
    }

    /// What set_config has changed in a pipeline is learnt at its end; until then nothing may commit it or
    /// take it along.
    fn refuse_if_configuring(&self) -> Result<(), Error> {
        match self.configured.is_empty() {
            true => Ok(()),
            false => Err(Error::refused(
                "set_config before BEGIN, COMMIT or ROLLBACK in one pipeline, outside a block",
                "end the pipeline behind set_config, or use SET",
            )),
        }
    }

    /// COMMIT or ROLLBACK in a pipeline, without BEGIN: what was executed since the last Sync ends
    /// here. The servers warn of it themselves.
    async fn end_pipelined(&mut self, ending: Ending) -> Result<(), Stop> {
        self.refuse_if_configuring()?;
        let text = if ending == Ending::Committed { "COMMIT" } else { "ROLLBACK" };
        let mut show = Show::Forward;
        let mut order = self.txn.unsynced();
        order.sort_by_key(|&at| std::cmp::Reverse(self.txn.access(at)));
        let mut wrote = false;
        for at in order {
            self.deciding = ending == Ending::Committed && self.txn.access(at) == Access::Write;
            let outcome = self.say(at, text, show).await;
            self.deciding = false;
            beside_the_writer(outcome, wrote && ending == Ending::Committed)?;
            wrote |= self.txn.access(at) == Access::Write;
            show = Show::Swallow;
        }
        self.portals.clear();
        match ending {
            Ending::Committed => self.txn.segment_done(),
            Ending::RolledBack => {
                self.txn.segment_failed();
                self.txn.participants.iter_mut().for_each(Participant::segment_undone);
            }
        }
        Ok(())
    }

    /// A shard is about to be written. If another one has been, between the same two Syncs and outside
    /// a block, all that is executed there becomes one: its servers end it together.
    pub(super) async fn join_writes(&mut self, shard: ShardId) -> Result<(), Stop> {
        if self.txn.status() != Status::Idle || self.txn.written_beside(shard).next().is_none() {
            return Ok(());
        }
        self.txn.begin(Block::Implicit, "");
        for at in self.txn.unsynced() {
            self.say(at, "BEGIN", Show::Swallow).await?;
            self.txn.open_on(at);
        }
        Ok(())
    }

    pub(super) async fn commit(&mut self, show: Show) -> Result<(), Stop> {
        let writers = self.txn.writers();
        match (writers.as_slice(), self.txn.schema_change(), self.serving.rules.commit) {
            ([] | [_], SchemaChange::None, _) => self.commit_alone(show).await,
            ([] | [_], SchemaChange::Made, _) => Box::pin(self.commit_in_turn(show)).await,
            ([_, _, ..], _, Commit::TwoPhase) => Box::pin(self.commit_traced(&writers, show)).await,
            ([_, _, ..], _, Commit::InTurn) => Box::pin(self.commit_in_turn(show)).await,
        }
    }

    /// COMMIT on all participants: the one writer first, since only its commit can fail in a way that
    /// matters; then those that hold locks, so that locks outlast what they protect.
    async fn commit_alone(&mut self, show: Show) -> Result<(), Stop> {
        let mut order = self.txn.begun();
        if show == Show::Swallow && order.iter().all(|&at| self.txn.access(at) == Access::Read) {
            for &at in &order {
                self.ask(at, "COMMIT", Show::Swallow);
            }
            let outcome = self.drain().await;
            self.txn.end(Ending::Committed);
            return outcome;
        }
        order.sort_by_key(|&at| std::cmp::Reverse(self.txn.access(at)));
        let Some((&first, rest)) = order.split_first() else {
            self.txn.end(Ending::Committed);
            return if show == Show::Forward { self.complete("COMMIT") } else { Ok(()) };
        };
        let wrote = self.txn.access(first) == Access::Write;
        self.deciding = wrote;
        let outcome = self.say(first, "COMMIT", show).await;
        self.deciding = false;
        let committed = outcome.is_ok() && self.relay.tag == b"COMMIT";
        if !committed {
            let rolled_back = self.roll_back_on(rest).await;
            self.txn.end(Ending::RolledBack);
            return outcome.and(rolled_back);
        }
        self.commit_rest(rest).await;
        self.txn.end(Ending::Committed);
        self.part_with_lost().await
    }

    /// Everything that was written is committed. What is open on these shards has read, or holds locks: if
    /// one of them is lost now, that is no error of the transaction's.
    pub(super) async fn commit_rest(&mut self, rest: &[usize]) {
        let steps = rest.iter().map(|&at| (at, "COMMIT".to_owned())).collect();
        for (at, answer) in self.hear_at_once(steps).await {
            if !answer.is("COMMIT") && self.txn.access(at) == Access::Lock {
                let name = self.name_of(at);
                let message = format!("shard {name} was lost after the transaction was committed");
                let warning = Error::shard(SqlState(*b"01000"), message)
                    .hint("what NOTIFY was to send there may not have been sent");
                encode::notice(&warning, &mut self.client.output);
            }
        }
    }

    pub(super) async fn roll_back_on(&mut self, participants: &[usize]) -> Result<(), Stop> {
        for &at in participants {
            self.ask(at, "ROLLBACK", Show::Discard);
        }
        self.drain().await
    }

    pub(super) async fn roll_back(&mut self, show: Show) -> Result<(), Stop> {
        let order = self.txn.begun();
        let Some((&first, rest)) = order.split_first() else {
            self.txn.end(Ending::RolledBack);
            return if show == Show::Forward { self.complete("ROLLBACK") } else { Ok(()) };
        };
        for &at in &order {
            self.txn.reverts(at);
        }
        for &at in rest {
            self.ask(at, "ROLLBACK", Show::Discard);
        }
        self.ask(first, "ROLLBACK", show);
        let outcome = self.drain().await;
        self.txn.end(Ending::RolledBack);
        outcome
    }

    /// PostgreSQL lets go of what a transaction holds when it fails, not when its client ends it. What is
    /// open on the shards that have not failed is rolled back now, as far as the client cannot keep it.
    pub(super) async fn let_go_of_locks(&mut self) -> Result<(), Ended> {
        if !matches!(self.txn.status(), Status::Failed(_)) {
            return Ok(());
        }
        let text = self.txn.way_back();
        let steps: Vec<_> = self.txn.holding().into_iter().map(|at| (at, text.clone())).collect();
        if steps.is_empty() {
            return Ok(());
        }
        if text == "ROLLBACK" {
            steps.iter().for_each(|(at, _)| self.txn.reverts(*at));
        }
        for (at, answer) in self.hear_at_once(steps).await {
            match answer {
                Answer::Lost(error) => {
                    // The client has been told one error already.
                    let stop = self.broken(Broken::Server(at, error)).await;
                    return if matches!(stop, Stop::End) { Err(Ended) } else { Ok(()) };
                }
                // To a savepoint: the client's own ROLLBACK is still to come.
                Answer::Done(_) | Answer::Refused(..) if text != "ROLLBACK" => {}
                Answer::Refused(..) => {}
                Answer::Done(_) => {
                    if let Some(participant) = self.txn.participants.get_mut(at) {
                        participant.rolled_back();
                    }
                }
            }
        }
        Ok(())
    }

    fn needs_block(&self, what: &str) -> Result<(), Error> {
        match self.txn.status() {
            Status::Open(Block::Explicit) | Status::Failed(Block::Explicit) => Ok(()),
            Status::Idle | Status::Open(Block::Implicit) | Status::Failed(Block::Implicit) => {
                Err(Error::client(
                    SqlState::NO_ACTIVE_SQL_TRANSACTION,
                    format!("{what} can only be used in transaction blocks"),
                ))
            }
        }
    }

    async fn say_to_all(&mut self, text: &str) -> Result<(), Stop> {
        for at in self.txn.begun() {
            self.ask(at, text, Show::Swallow);
        }
        self.drain().await
    }

    pub(super) async fn savepoint(&mut self, name: &str) -> Result<(), Stop> {
        self.needs_block("SAVEPOINT")?;
        self.say_to_all(&format!("SAVEPOINT {}", quote_identifier(name))).await?;
        self.serving_at_savepoint.truncate(self.txn.depth());
        self.serving_at_savepoint.push(self.serving.clone());
        self.txn.savepoint(name);
        self.complete("SAVEPOINT")
    }

    pub(super) async fn roll_back_to(&mut self, name: &str) -> Result<(), Stop> {
        self.needs_block("ROLLBACK TO SAVEPOINT")?;
        self.txn.has_savepoint(name)?;
        self.txn.can_return()?;
        self.say_to_all(&format!("ROLLBACK TO SAVEPOINT {}", quote_identifier(name))).await?;
        self.txn.rolled_back_to(name)?;
        // Statements are planned as if the schema had not been changed since.
        self.serving_at_savepoint.truncate(self.txn.depth());
        if let Some(serving) = self.serving_at_savepoint.last() {
            self.serving = serving.clone();
        }
        self.forget_cursors();
        self.roll_back_portals().await?;
        self.complete("ROLLBACK")
    }

    pub(super) async fn release(&mut self, name: &str) -> Result<(), Stop> {
        self.needs_block("RELEASE SAVEPOINT")?;
        self.txn.has_savepoint(name)?;
        self.say_to_all(&format!("RELEASE SAVEPOINT {}", quote_identifier(name))).await?;
        self.txn.released(name)?;
        self.keep_cursors();
        self.release_portals();
        self.complete("RELEASE")
    }

    pub(super) async fn set_transaction(&mut self, modes: &str) -> Result<(), Stop> {
        check_modes(modes)?;
        if self.txn.status() == Status::Idle {
            self.warn(
                SqlState::NO_ACTIVE_SQL_TRANSACTION,
                "SET TRANSACTION can only be used in transaction blocks",
            );
            return self.complete("SET");
        }
        // Without comments: weir looks for words in it later.
        let statement = format!("SET TRANSACTION {modes}");
        self.set_transaction_on_all(&statement).await?;
        self.txn.remember_setup(Setup::Characteristics(statement));
        self.complete("SET")
    }

    async fn set_transaction_on_all(&mut self, statement: &str) -> Result<(), Stop> {
        self.say_to_all(statement).await
    }

    pub(super) async fn set_constraints(&mut self, statement: &str) -> Result<(), Stop> {
        if self.txn.status() == Status::Idle {
            self.warn(
                SqlState::NO_ACTIVE_SQL_TRANSACTION,
                "SET CONSTRAINTS can only be used in transaction blocks",
            );
            return self.complete("SET CONSTRAINTS");
        }
        self.set_transaction_on_all(statement).await?;
        self.txn.remember_setup(Setup::Local(statement.to_owned()));
        self.complete("SET CONSTRAINTS")
    }
}

/// Transaction modes are repeated to servers, so they may consist of PostgreSQL's words only.
fn check_modes(modes: &str) -> Result<(), Error> {
    const WORDS: [&str; 12] = [
        "ISOLATION",
        "LEVEL",
        "SERIALIZABLE",
        "REPEATABLE",
        "READ",
        "COMMITTED",
        "UNCOMMITTED",
        "WRITE",
        "ONLY",
        "NOT",
        "DEFERRABLE",
        "",
    ];
    let stranger = modes
        .split(|c: char| c.is_whitespace() || c == ',')
        .find(|word| !WORDS.iter().any(|known| known.eq_ignore_ascii_case(word)));
    match stranger {
        None => Ok(()),
        Some(word) if word.eq_ignore_ascii_case("snapshot") => Err(Error::refused(
            "a snapshot of one server means nothing on another",
            "name the server first: SET weir.shard = '…'",
        )),
        Some(word) => Err(Error::client(
            SqlState::SYNTAX_ERROR,
            format!("syntax error at or near \"{word}\""),
        )),
    }
}

/// The connection broke while the writer's COMMIT was on its way.
pub(super) fn unknown_outcome(error: Error) -> Error {
    Error::shard(
        SqlState::TRANSACTION_RESOLUTION_UNKNOWN,
        format!("the outcome of COMMIT is unknown: {}", error.message),
    )
    .hint("look whether the transaction's writes are there before repeating it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transaction_modes_are_only_postgres_words() {
        assert!(check_modes("isolation level serializable, read only").is_ok());
        assert!(check_modes("READ ONLY; DROP TABLE users").is_err());
        assert!(check_modes("SNAPSHOT '0001'").is_err());
    }
}
