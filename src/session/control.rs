//! Statements that steer the session or its transaction. What PostgreSQL has to judge (a setting's
//! value, a cursor's query) goes to a server; what only names weir's own state is answered here.
use super::extended::{Portal, already_prepared};
use super::statements::{Form, Naming, Statement, meaning};
use super::{Session, Stop};
use crate::error::{Error, SqlState};
use crate::exec::relay::{Edit, Show, Step};
use crate::ids::{Oid, ShardId};
use crate::plan::{self, Access, Command, Planned, Route, Target};
use crate::sql::control::Control;
use crate::sql::lexer::Lexer;
use crate::sql::verb::{Verb, classify};
use crate::txn::settings::{IDENTITY, differences, quote_identifier, quote_literal};
use crate::txn::{Block, Ending, Leaves, Participant, SchemaChange, Setup, Status};
use crate::wire::frontend::Object;
use crate::wire::params::{Params, Value};
use crate::wire::server::{DataRow, Field};
use crate::wire::{encode, frame};
use bytes::BytesMut;
use std::rc::Rc;
use std::sync::Arc;

impl Session {
    /// Acts on a control statement. Everything said before it has been answered.
    pub(super) async fn control(&mut self, control: Control, statement: &str) -> Result<(), Stop> {
        match control {
            Control::Begin { modes } => self.begin(&modes, statement).await,
            Control::Commit { chain } => self.end_block(chain, Ending::Committed).await,
            Control::Rollback { chain } => self.end_block(chain, Ending::RolledBack).await,
            Control::Savepoint { name } => self.savepoint(&name).await,
            Control::RollbackTo { name } => self.roll_back_to(&name).await,
            Control::Release { name } => self.release(&name).await,
            Control::SetTransaction { modes } => self.set_transaction(&modes, statement).await,
            Control::SetConstraints { .. } => self.set_constraints(statement).await,
            Control::SetCharacteristics { settings } => {
                let at = self.site(Route::Any, Access::Read).await?;
                self.say(at, statement, Show::Forward).await?;
                for (name, value) in settings {
                    self.txn.settings.set(name, value.to_owned());
                }
                self.aligned(at);
                self.settle_unless_pipelined().await;
                Ok(())
            }
            Control::Set { name, value, local } if name.starts_with("weir.") => {
                self.set_own(&name, value.filter(|_| !local), "SET")
            }
            Control::Set { local: true, name, value } => {
                self.set_local(&name, value, statement).await
            }
            Control::Set { local: false, name, value: None } => self.reset(&name, "SET").await,
            Control::Set { local: false, name, value: Some(_) } => self.set(&name, statement).await,
            Control::Reset { name } => self.reset(&name, "RESET").await,
            Control::ResetAll => self.reset_all("RESET").await,
            Control::DiscardAll => self.discard_all().await,
            Control::DiscardPlans => self.complete("DISCARD PLANS"),
            Control::DiscardSequences => self.complete("DISCARD SEQUENCES"),
            Control::Prepare { name, types, statement: inner } => {
                self.prepare_sql(name, &types, &inner, statement).await
            }
            Control::Execute { name, arguments } => {
                self.execute_sql(&name, &arguments, statement).await
            }
            Control::Deallocate { name } => self.deallocate(name.as_deref()),
            Control::ExplainWeir { statement } => self.explain_weir(&statement),
            Control::Show { name } if is_own_setting(&name) => self.show_own(&name),
            Control::Show { .. }
            | Control::DiscardTemp
            | Control::Listen { .. }
            | Control::Unlisten { .. }
            | Control::DeclareCursor { .. }
            | Control::Fetch { .. }
            | Control::CloseCursor { .. } => self.forward(&control, statement).await,
            Control::TwoPhase => {
                Err(Error::refused("two-phase commit is not available to clients", "use COMMIT")
                    .into())
            }
        }
    }

    pub(super) fn complete(&mut self, tag: &str) -> Result<(), Stop> {
        encode::command_complete(tag, &mut self.client.output);
        Ok(())
    }

    fn warn(&mut self, code: SqlState, message: &str) {
        encode::notice(&Error::client(code, message), &mut self.client.output);
    }

    async fn begin(&mut self, modes: &str, statement: &str) -> Result<(), Stop> {
        check_modes(modes)?;
        match self.txn.status() {
            Status::Idle => {
                self.txn.begin(Block::Explicit, modes);
                // In a pipeline the block takes in what was executed since the last Sync.
                for at in self.txn.unsynced() {
                    let text = self.txn.opening();
                    self.say(at, &text, Show::Swallow).await?;
                    self.txn.open_on(at);
                }
            }
            Status::Open(Block::Implicit) => {
                self.txn.become_explicit();
                if !modes.is_empty() {
                    let statement = format!("SET TRANSACTION {modes}");
                    self.set_transaction_on_all(&statement).await?;
                    self.txn.remember_setup(Setup::Characteristics(statement));
                }
            }
            Status::Open(Block::Explicit) => self.warn(
                SqlState::ACTIVE_SQL_TRANSACTION,
                "there is already a transaction in progress",
            ),
            Status::Failed(_) => {}
        }
        let start =
            statement.trim_start().get(..5).is_some_and(|w| w.eq_ignore_ascii_case("start"));
        self.complete(if start { "START TRANSACTION" } else { "BEGIN" })
    }

    async fn end_block(&mut self, chain: bool, ending: Ending) -> Result<(), Stop> {
        let failed = matches!(self.txn.status(), Status::Failed(_));
        let block = self.txn.status() != Status::Idle;
        let outcome = self.end_open_block(chain, ending).await;
        if block {
            self.database.counters.ended(outcome.is_ok() && !failed && ending == Ending::Committed);
        }
        outcome
    }

    async fn end_open_block(&mut self, chain: bool, ending: Ending) -> Result<(), Stop> {
        let characteristics = self.txn.characteristics();
        let tag = if ending == Ending::Committed { "COMMIT" } else { "ROLLBACK" };
        match self.txn.status() {
            Status::Idle if chain => {
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
        if chain {
            self.txn.chain(characteristics);
        }
        Ok(())
    }

    /// COMMIT or ROLLBACK in a pipeline, without BEGIN: what was executed since the last Sync ends
    /// here. The servers warn of it themselves.
    async fn end_pipelined(&mut self, ending: Ending) -> Result<(), Stop> {
        let text = if ending == Ending::Committed { "COMMIT" } else { "ROLLBACK" };
        let mut show = Show::Forward;
        let mut order = self.txn.unsynced();
        order.sort_by_key(|&at| std::cmp::Reverse(self.txn.access(at)));
        for at in order {
            self.say(at, text, show).await?;
            show = Show::Swallow;
        }
        match ending {
            Ending::Committed => self.txn.segment_done(),
            Ending::RolledBack => {
                self.txn.segment_failed();
                self.txn.participants.iter_mut().for_each(Participant::segment_undone);
            }
        }
        Ok(())
    }

    /// COMMIT on all participants: the writer first, since only its commit can fail in a way that
    /// matters; then those that hold locks, so that locks outlast what they protect.
    pub(super) async fn commit(&mut self, show: Show) -> Result<(), Stop> {
        if self.txn.schema_change() == SchemaChange::Made {
            return self.commit_schema(show).await;
        }
        let mut order = self.txn.begun();
        order.sort_by_key(|&at| std::cmp::Reverse(self.txn.access(at)));
        let Some((&first, rest)) = order.split_first() else {
            self.txn.end(Ending::Committed);
            return if show == Show::Forward { self.complete("COMMIT") } else { Ok(()) };
        };
        let wrote = self.txn.access(first) == Access::Write;
        let outcome = self.say(first, "COMMIT", show).await;
        let committed = outcome.is_ok() && self.relay.tag == b"COMMIT";
        if !committed {
            let rolled_back = self.roll_back_on(rest).await;
            self.txn.end(Ending::RolledBack);
            return match outcome {
                Err(Stop::Say(error)) if wrote => Err(unknown_outcome(error).into()),
                Err(stop) => Err(stop),
                Ok(()) => rolled_back,
            };
        }
        for &at in rest {
            self.ask(at, "COMMIT", Show::Swallow);
        }
        let outcome = self.drain().await;
        self.txn.end(Ending::Committed);
        match outcome {
            Err(Stop::Say(error)) => Err(error
                .detail(
                    "the transaction is committed on some shards; this one's outcome is unknown",
                )
                .into()),
            other => other,
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
        for &at in rest {
            self.ask(at, "ROLLBACK", Show::Discard);
        }
        self.ask(first, "ROLLBACK", show);
        let outcome = self.drain().await;
        self.txn.end(Ending::RolledBack);
        outcome
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

    async fn savepoint(&mut self, name: &str) -> Result<(), Stop> {
        self.needs_block("SAVEPOINT")?;
        self.say_to_all(&format!("SAVEPOINT {}", quote_identifier(name))).await?;
        self.txn.savepoint(name);
        self.complete("SAVEPOINT")
    }

    async fn roll_back_to(&mut self, name: &str) -> Result<(), Stop> {
        self.needs_block("ROLLBACK TO SAVEPOINT")?;
        self.txn.has_savepoint(name)?;
        self.txn.can_return()?;
        self.say_to_all(&format!("ROLLBACK TO SAVEPOINT {}", quote_identifier(name))).await?;
        self.txn.rolled_back_to(name)?;
        self.complete("ROLLBACK")
    }

    async fn release(&mut self, name: &str) -> Result<(), Stop> {
        self.needs_block("RELEASE SAVEPOINT")?;
        self.txn.has_savepoint(name)?;
        self.say_to_all(&format!("RELEASE SAVEPOINT {}", quote_identifier(name))).await?;
        self.txn.released(name)?;
        self.complete("RELEASE")
    }

    async fn set_transaction(&mut self, modes: &str, statement: &str) -> Result<(), Stop> {
        check_modes(modes)?;
        if self.txn.status() == Status::Idle {
            self.warn(
                SqlState::NO_ACTIVE_SQL_TRANSACTION,
                "SET TRANSACTION can only be used in transaction blocks",
            );
            return self.complete("SET");
        }
        self.set_transaction_on_all(statement).await?;
        self.txn.remember_setup(Setup::Characteristics(statement.to_owned()));
        self.complete("SET")
    }

    async fn set_transaction_on_all(&mut self, statement: &str) -> Result<(), Stop> {
        self.say_to_all(statement).await
    }

    async fn set_constraints(&mut self, statement: &str) -> Result<(), Stop> {
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

    /// A setting of weir's own.
    fn set_own(&mut self, name: &str, value: Option<String>, tag: &str) -> Result<(), Stop> {
        match name {
            "weir.shard" => {
                self.named_shard = match value.as_deref() {
                    None | Some("") => None,
                    Some(shard) => Some(self.shard_named(shard)?),
                };
                self.complete(tag)
            }
            _ => Err(unknown_setting(name).into()),
        }
    }

    fn shard_named(&self, name: &str) -> Result<ShardId, Error> {
        let rules = &self.serving.rules;
        rules.shard_ids().find(|&id| rules.shard(id).is_some_and(|s| s.name == name)).ok_or_else(
            || {
                let names: Vec<_> = rules.shards.iter().map(|shard| shard.name.as_str()).collect();
                Error::client(
                    SqlState::INVALID_PARAMETER_VALUE,
                    format!("shard \"{name}\" does not exist"),
                )
                .hint(format!("the shards are {}", names.join(", ")))
            },
        )
    }

    /// SET on one server, which judges the value; what it made of it is then the client's setting,
    /// and other servers are aligned when the client next uses them.
    async fn set(&mut self, name: &str, statement: &str) -> Result<(), Stop> {
        if name.starts_with("transaction_") {
            return self.set_local(name, Some(String::new()), statement).await;
        }
        let at = self.site(Route::Any, Access::Read).await?;
        self.say(at, statement, Show::Forward).await?;
        let value = self.setting_on(at, name).await?;
        if name == "session_authorization" {
            // Who changes that is no longer in any role.
            self.txn.settings.reset("role");
        }
        self.txn.settings.set(name, value);
        self.aligned(at);
        self.settle_unless_pipelined().await;
        Ok(())
    }

    /// What a server says a setting is.
    pub(super) async fn setting_on(&mut self, at: usize, name: &str) -> Result<String, Stop> {
        self.relay.captured.clear();
        let text = format!("SELECT pg_catalog.current_setting({}, true)", quote_literal(name));
        self.say(at, &text, Show::Capture).await?;
        let captured = self.relay.captured.split();
        let header = frame::scan(&captured, usize::MAX).map_err(Error::from)?;
        let row = header.and_then(|header| captured.get(5..header.len)).unwrap_or_default();
        let row = DataRow::read(row).map_err(Error::from)?;
        let value = row.values().next().flatten().unwrap_or_default();
        Ok(String::from_utf8_lossy(value).into_owned())
    }

    /// The participant's server has what the client's session wants.
    pub(super) fn aligned(&mut self, at: usize) {
        let wanted = self.txn.settings.session().clone();
        if let Some(participant) = self.txn.participants.get_mut(at) {
            participant.lease.session.applied = wanted;
        }
    }

    async fn settle_unless_pipelined(&mut self) {
        if self.txn.unsynced().is_empty() {
            self.settle().await;
        }
    }

    async fn set_local(
        &mut self,
        name: &str,
        value: Option<String>,
        statement: &str,
    ) -> Result<(), Stop> {
        if self.txn.status() == Status::Idle {
            self.warn(
                SqlState::NO_ACTIVE_SQL_TRANSACTION,
                "SET LOCAL can only be used in transaction blocks",
            );
            return self.complete("SET");
        }
        let at = self.site(Route::Any, Access::Read).await?;
        self.say(at, statement, Show::Forward).await?;
        for other in self.txn.begun().into_iter().filter(|&other| other != at) {
            self.ask(other, statement, Show::Swallow);
        }
        self.drain().await?;
        let statement = statement.to_owned();
        self.txn.remember_setup(match name.starts_with("transaction_") {
            true => Setup::Characteristics(statement),
            false => Setup::Local(statement),
        });
        if value.is_some() || self.txn.settings.get(name).is_some() {
            let value = self.setting_on(at, name).await?;
            self.txn.settings.set_local(name, value);
        }
        Ok(())
    }

    /// Back to what the start-up packet asked for, else to the server's default.
    async fn reset(&mut self, name: &str, tag: &str) -> Result<(), Stop> {
        if name.starts_with("weir.") {
            return self.set_own(name, None, tag);
        }
        let text = match self.txn.settings.startup_value(name) {
            Some(value) => format!(
                "SELECT pg_catalog.set_config({}, {}, false)",
                quote_literal(name),
                quote_literal(value)
            ),
            None if name == "session_authorization" => "RESET SESSION AUTHORIZATION".to_owned(),
            None => {
                let parts: Vec<_> = name.split('.').map(quote_identifier).collect();
                format!("RESET {}", parts.join("."))
            }
        };
        let at = self.site(Route::Any, Access::Read).await?;
        self.say(at, &text, Show::Swallow).await?;
        self.txn.settings.reset(name);
        self.aligned(at);
        self.settle_unless_pipelined().await;
        self.complete(tag)
    }

    async fn reset_all(&mut self, tag: &str) -> Result<(), Stop> {
        let at = self.site(Route::Any, Access::Read).await?;
        self.say(at, "RESET ALL", Show::Swallow).await?;
        if let Some(participant) = self.txn.participants.get_mut(at) {
            let applied = Arc::make_mut(&mut participant.lease.session.applied);
            applied.retain(|name, _| IDENTITY.contains(&name.as_str()));
        }
        self.txn.settings.reset_all();
        self.align(at, Show::Swallow).await?;
        self.settle_unless_pipelined().await;
        self.complete(tag)
    }

    async fn discard_all(&mut self) -> Result<(), Stop> {
        if self.txn.status() != Status::Idle {
            return Err(Error::client(
                SqlState::ACTIVE_SQL_TRANSACTION,
                "DISCARD ALL cannot run inside a transaction block",
            )
            .into());
        }
        self.statements.clear();
        self.cursors.clear();
        self.named_shard = None;
        self.temporary.clear();
        for participant in &mut self.txn.participants {
            participant.tied = false;
            participant.lease.taint("its session was discarded");
        }
        self.settle().await;
        for name in IDENTITY {
            self.txn.settings.reset(name);
        }
        self.reset_all("DISCARD ALL").await
    }

    async fn prepare_sql(
        &mut self,
        name: String,
        types: &[String],
        text: &str,
        said: &str,
    ) -> Result<(), Stop> {
        if self.statements.contains_key(&name) {
            return Err(already_prepared(&name).into());
        }
        let list = match types {
            [] => String::new(),
            types => format!(" ({})", types.join(", ")),
        };
        let oids = types.iter().map(|name| builtin_oid(name)).collect();
        let mut prepared = self.prepare(&name, text, oids, Form::Prepare(list), Naming::Named)?;
        // Errors point into PREPARE as the client wrote it.
        let ours = preparing(&prepared).chars().count() - prepared.sent.chars().count();
        let theirs = said.rfind(text).and_then(|start| said.get(..start));
        let theirs = theirs.map_or(0, |before| before.chars().count());
        let outer = self.edit.as_ref().map_or(0, |edit| edit.shift);
        let shift = outer + i32::try_from(theirs).unwrap_or(0) - i32::try_from(ours).unwrap_or(0);
        prepared.edit = Rc::new(Edit { shift, name: prepared.edit.name.clone() });
        let statement = Rc::new(prepared);
        let at = self.site(Route::Any, Access::Read).await?;
        self.ensure_said(at, &statement).await?;
        self.keep_statement(name, statement)?;
        self.settle_unless_pipelined().await;
        self.complete("PREPARE")
    }

    /// Makes a server know a statement by PREPARE; waits, so that an error comes before its use.
    async fn ensure_said(&mut self, at: usize, statement: &Statement) -> Result<(), Stop> {
        let limit = self.database.limits.statements_per_server;
        let id = statement.identity.id;
        let Some(participant) = self.txn.participants.get_mut(at) else { return Ok(()) };
        if participant.lease.session.prepared.contains(id) {
            return Ok(());
        }
        for id in participant.lease.session.prepared.prepare(id, limit) {
            // A Close of what is not there is no error, a DEALLOCATE would be.
            let name = format!("weir_{id}");
            encode::close(Object::Statement, name.as_bytes(), &mut participant.lease.output);
            self.relay.expect(at, Step::Close, Show::Swallow);
        }
        let text = preparing(statement);
        let now = meaning(&self.txn.settings);
        for there in differences(&now, &statement.settings) {
            self.say(at, &there, Show::Swallow).await?;
        }
        let edit = self.edit.replace(statement.edit.clone());
        let said = self.say(at, &text, Show::Swallow).await;
        self.edit = edit;
        for back in differences(&statement.settings, &now) {
            self.say(at, &back, Show::Swallow).await?;
        }
        if said.is_err()
            && let Some(participant) = self.txn.participants.get_mut(at)
        {
            participant.lease.session.prepared.doubt(id);
        }
        said
    }

    async fn execute_sql(
        &mut self,
        name: &str,
        arguments: &[String],
        said: &str,
    ) -> Result<(), Stop> {
        let statement = self.current(name)?;
        let route = self.route_executed(&statement, name, arguments)?;
        let at = self.site_evenly(route, statement.planned.plan.access).await?;
        self.tie(at, &statement.planned);
        self.ensure_said(at, &statement).await?;
        let outer = self.edit.take();
        let (text, edit) = executing(said, name, &statement, outer.as_deref());
        self.edit = Some(Rc::new(edit));
        let outcome = self.say(at, &text, Show::Forward).await;
        self.edit = outer;
        outcome
    }

    /// Where an EXECUTE goes.
    pub(super) fn route_executed(
        &self,
        statement: &Statement,
        name: &str,
        arguments: &[String],
    ) -> Result<Route, Stop> {
        let owned: Vec<Option<String>> =
            arguments.iter().map(|argument| literal_value(argument)).collect();
        let keyed = matches!(statement.planned.plan.target, Target::Keyed(_));
        let is_null = |text: &String| text.trim().eq_ignore_ascii_case("null");
        if keyed
            && owned.iter().zip(arguments).any(|(value, text)| value.is_none() && !is_null(text))
        {
            return Err(Error::refused(
                format!("EXECUTE {name} has an argument that is not a plain constant"),
                "write numbers and strings as constants, or bind them by the driver",
            )
            .into());
        }
        let values: Vec<Value<'_>> = owned
            .iter()
            .map(|value| value.as_ref().map_or(Value::Null, |text| Value::Text(text.as_bytes())))
            .collect();
        let params = Params { types: &statement.types, values: &values };
        Ok(statement.planned.route(&statement.text, &params, &self.serving.rules)?)
    }

    fn deallocate(&mut self, name: Option<&str>) -> Result<(), Stop> {
        match name {
            None => {
                self.statements.retain(|name, _| name.is_empty());
                self.complete("DEALLOCATE ALL")
            }
            Some(name) => {
                self.statement(name)?;
                self.statements.remove(name);
                self.complete("DEALLOCATE")
            }
        }
    }

    fn explain_weir(&mut self, statement: &str) -> Result<(), Stop> {
        let text = plan::explain(statement, &self.context(), &Params::default());
        let output = &mut self.client.output;
        for line in text.lines() {
            encode::data_row(&[Some(line.as_bytes())], output);
        }
        self.complete("EXPLAIN")
    }

    fn show_own(&mut self, name: &str) -> Result<(), Stop> {
        let rules = &self.serving.rules;
        let value = match name {
            "weir.shard" => self.named_shard.map_or("", |shard| rules.shard_name(shard)).to_owned(),
            _ => return Err(unknown_setting(name).into()),
        };
        encode::data_row(&[Some(value.as_bytes())], &mut self.client.output);
        self.complete("SHOW")
    }

    /// Statements that a server answers as they stand, at the place that their object has.
    pub(super) fn is_forwarded(&self, statement: &Statement) -> bool {
        match &statement.planned.plan.command {
            Command::Control(Control::Execute { .. }) => statement.executes.is_some(),
            Command::Control(Control::Show { name }) => !is_own_setting(name),
            Command::Control(control) => matches!(
                control,
                Control::DiscardTemp
                    | Control::Listen { .. }
                    | Control::Unlisten { .. }
                    | Control::DeclareCursor { .. }
                    | Control::Fetch { .. }
                    | Control::CloseCursor { .. }
            ),
            Command::Query | Command::CopyIn | Command::CopyOut | Command::Ddl => false,
        }
    }

    async fn forward(&mut self, control: &Control, statement: &str) -> Result<(), Stop> {
        let route = self.forwarded_route(control, &Params::default())?;
        let at = self.site(route, forwarded_access(control)).await?;
        self.note_forwarded(control, at);
        self.say(at, statement, Show::Forward).await
    }

    pub(super) fn forwarded_route(
        &mut self,
        control: &Control,
        params: &Params<'_>,
    ) -> Result<Route, Stop> {
        let home = Route::One(self.serving.rules.home);
        match control {
            Control::DeclareCursor { query, .. } => {
                let planned = self.plan(query)?;
                Ok(planned.route(query, params, &self.serving.rules)?)
            }
            Control::Fetch { cursor } | Control::CloseCursor { name: Some(cursor) } => {
                match self.cursor_shard(cursor) {
                    Some(shard) => Ok(Route::One(shard)),
                    // A function may have opened it: the one server there is knows.
                    None if self.serving.rules.is_plain() => Ok(Route::Any),
                    None => Err(Error::client(
                        SqlState::INVALID_CURSOR_NAME,
                        format!("cursor \"{cursor}\" does not exist"),
                    )
                    .into()),
                }
            }
            Control::Listen { .. } | Control::Unlisten { .. } | Control::DiscardTemp => Ok(home),
            _ => Ok(Route::Any),
        }
    }

    /// Where the SQL cursor or portal of that name lives.
    pub(super) fn cursor_shard(&self, name: &str) -> Option<ShardId> {
        let portal = || match self.portals.get(name) {
            Some(Portal::On(at)) => self.txn.participants.get(*at).map(|other| other.shard),
            Some(Portal::Own(_) | Portal::Spent(_)) | None => None,
        };
        self.cursors.get(name).copied().or_else(portal)
    }

    /// Remembers where a forwarded statement left something behind.
    pub(super) fn note_forwarded(&mut self, control: &Control, at: usize) {
        let Some(participant) = self.txn.participants.get_mut(at) else { return };
        match control {
            Control::DeclareCursor { name, hold, .. } => {
                participant.tied |= *hold;
                self.cursors.insert(name.clone(), participant.shard);
            }
            Control::CloseCursor { name: Some(name) } => {
                self.cursors.remove(name);
            }
            Control::Listen { .. } => participant.tied = true,
            _ => {}
        }
    }

    /// A statement that leaves something on its server ties the session to it.
    pub(super) fn tie(&mut self, at: usize, planned: &Planned) {
        self.temporary.extend(planned.plan.temporary.iter().cloned());
        let Some(participant) = self.txn.participants.get_mut(at) else { return };
        participant.tied |= planned.plan.ties.is_some();
        if matches!(classify(&planned.shape.text), Verb::Do | Verb::Call) {
            participant.leaves = Leaves::Closed;
        }
    }
}

pub(super) fn forwarded_access(control: &Control) -> Access {
    match control {
        Control::Listen { .. } | Control::Unlisten { .. } => Access::Lock,
        _ => Access::Read,
    }
}

/// What a control statement that weir answers itself returns: rows, or nothing.
pub(super) fn own_columns(control: &Control) -> Option<&str> {
    match control {
        Control::ExplainWeir { .. } => Some("QUERY PLAN"),
        Control::Show { name } if name == "weir.shard" => Some(name),
        _ => None,
    }
}

/// The answer to a Describe of such a statement.
pub(super) fn describe_own(control: &Control, out: &mut BytesMut) {
    match own_columns(control) {
        Some(column) => encode::row_description(&[Field::text(column)], out),
        None => encode::no_data(out),
    }
}

fn is_own_setting(name: &str) -> bool {
    name.starts_with("weir.")
}

fn unknown_setting(name: &str) -> Error {
    Error::client(
        SqlState::UNDEFINED_OBJECT,
        format!("unrecognized configuration parameter \"{name}\""),
    )
    .hint("weir's own settings: weir.shard")
}

/// The PREPARE that a server gets.
fn preparing(statement: &Statement) -> String {
    let types = match &statement.form {
        Form::Prepare(types) => types.as_str(),
        Form::Parse => "",
    };
    format!("PREPARE {}{types} AS {}", statement.identity.name, statement.sent)
}

/// The client's EXECUTE under the server's name for the statement, and how errors about it read.
pub(super) fn executing(
    said: &str,
    name: &str,
    statement: &Statement,
    outer: Option<&Edit>,
) -> (String, Edit) {
    let tokens =
        Lexer::new(said, true).map_while(Result::ok).filter(|token| !token.kind.is_blank());
    // What comes after EXECUTE and the name.
    let rest = tokens.map(|token| token.start).nth(2).unwrap_or(said.len());
    let before = said.get(..rest).unwrap_or_default().chars().count();
    let server_name = &statement.identity.name;
    let start = format!("EXECUTE {server_name} ");
    let shift = i32::try_from(before).unwrap_or(0) - i32::try_from(start.len()).unwrap_or(0)
        + outer.map_or(0, |edit| edit.shift);
    let text = format!("{start}{}", said.get(rest..).unwrap_or_default());
    (text, Edit { shift, name: Some((server_name.clone(), name.to_owned())) })
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

/// The value of an EXECUTE argument that is a plain number or string.
fn literal_value(argument: &str) -> Option<String> {
    let text = argument.trim();
    let digits = text.strip_prefix('-').unwrap_or(text);
    if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(text.to_owned());
    }
    let inside = text.strip_prefix('\'')?.strip_suffix('\'')?;
    let plain = !inside.contains('\\') && !inside.replace("''", "").contains('\'');
    plain.then(|| inside.replace("''", "'"))
}

/// Built-in types by the names that PREPARE's lists use; 0 where a server has to say.
fn builtin_oid(name: &str) -> Oid {
    Oid(match name.trim().to_ascii_lowercase().as_str() {
        "smallint" | "int2" => 21,
        "integer" | "int" | "int4" => 23,
        "bigint" | "int8" => 20,
        "numeric" | "decimal" => 1700,
        "text" => 25,
        "varchar" | "character varying" => 1043,
        "uuid" => 2950,
        "date" => 1082,
        "timestamptz" | "timestamp with time zone" => 1184,
        "bool" | "boolean" => 16,
        _ => 0,
    })
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

    #[test]
    fn only_plain_constants_have_a_value_before_a_server_sees_them() {
        assert_eq!(literal_value("-42").as_deref(), Some("-42"));
        assert_eq!(literal_value("'it''s'").as_deref(), Some("it's"));
        assert_eq!(literal_value("1 + 1"), None);
        assert_eq!(literal_value("'a' || 'b'"), None);
        assert_eq!(literal_value("4.5"), None);
    }
}
