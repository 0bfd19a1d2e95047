//! Statements that steer the session or its transaction. What PostgreSQL has to judge (a setting's
//! value, a cursor's query) goes to a server; what only names weir's own state is answered here.
use super::cursor::OneServers;
use super::extended::Portal;
use super::own::{is_known, is_own_setting};
use super::setting::Scope;
use super::statements::Statement;
use super::{Session, Stop};
use crate::error::{Error, SqlState};
use crate::exec::relay::Show;
use crate::ids::ShardId;
use crate::plan::{self, Access, Command, Planned, Route};
use crate::sql::control::{Control, CursorOption};
use crate::txn::{Ending, Leaves};
use crate::wire::encode;
use crate::wire::params::Params;
use crate::wire::server::Field;
use bytes::BytesMut;

impl Session {
    /// Acts on a control statement. Everything said before it has been answered.
    pub(super) async fn control(&mut self, control: Control, statement: &str) -> Result<(), Stop> {
        // What is executed counts as what it is.
        if !matches!(control, Control::Execute { .. }) {
            self.database.tally.borrow_mut().own_statements += 1;
        }
        match control {
            Control::Begin { modes } => self.begin(&modes, statement).await,
            Control::Commit { chain } => self.end_block(chain, Ending::Committed).await,
            Control::Rollback { chain } => self.end_block(chain, Ending::RolledBack).await,
            Control::Savepoint { name } => self.savepoint(&name).await,
            Control::RollbackTo { name } => self.roll_back_to(&name).await,
            Control::Release { name } => self.release(&name).await,
            Control::SetTransaction { modes } => self.set_transaction(&modes).await,
            Control::SetConstraints { .. } => self.set_constraints(statement).await,
            Control::SetCharacteristics { settings } => {
                let at = self.site_anywhere().await?;
                self.say(at, statement, Show::Forward).await?;
                for (name, value) in settings {
                    self.txn.settings.set(name, value.to_owned());
                }
                self.aligned(at);
                self.settle_unless_pipelined().await;
                Ok(())
            }
            Control::Set { name, value, local } if is_own_setting(&name) => {
                let scope = if local { Scope::Transaction } else { Scope::Session };
                self.set_own(&name, value.as_deref(), scope, "SET")
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
            Control::DiscardSequences => {
                self.txn.draws_only_on(None);
                self.complete("DISCARD SEQUENCES")
            }
            Control::Prepare { name, types, statement: inner } => {
                Box::pin(self.prepare_sql(name, &types, &inner, statement)).await
            }
            Control::Execute { name, arguments } => {
                self.execute_sql(&name, &arguments, statement, None).await
            }
            Control::Deallocate { name } => self.deallocate(name.as_deref()),
            Control::ExplainWeir { statement } => self.explain_weir(&statement),
            Control::Show { name } if is_own_setting(&name) => self.show_own(&name),
            Control::DeclareCursor { .. } => {
                Box::pin(self.declare_cursor(&control, statement)).await
            }
            Control::Fetch { ref cursor, gives, direction } if self.has_own_cursor(&control) => {
                Box::pin(self.fetch_wide(cursor, gives, direction)).await
            }
            Control::CloseCursor { ref name } if self.has_own_cursor(&control) => {
                self.close_wide(name.as_deref()).await
            }
            Control::Show { .. }
            | Control::DiscardTemp
            | Control::Listen { .. }
            | Control::Unlisten { .. }
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

    pub(super) fn warn(&mut self, code: SqlState, message: &str) {
        encode::notice(&Error::client(code, message), &mut self.client.output);
    }

    fn explain_weir(&mut self, statement: &str) -> Result<(), Stop> {
        let text = plan::explain(statement, &self.context(), &Params::default());
        let output = &mut self.client.output;
        for line in text.lines() {
            encode::data_row(&[Some(line.as_bytes())], output);
        }
        self.complete("EXPLAIN")
    }

    /// Statements that a server answers as they stand, at the place that their object has.
    pub(super) fn is_forwarded(&self, statement: &Statement) -> bool {
        match &statement.planned.plan.command {
            Command::Control(Control::Execute { .. }) => statement.executes.is_some(),
            Command::Control(Control::Show { name }) => !is_own_setting(name),
            Command::Control(control) if self.has_own_cursor(control) => false,
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

    pub(super) async fn forward(&mut self, control: &Control, statement: &str) -> Result<(), Stop> {
        let route = self.forwarded_route(control, &Params::default())?;
        let at = match control {
            Control::Show { .. } => self.site_anywhere().await?,
            _ => {
                let access = self.forwarded_access(control)?;
                self.site(route, self.own_need(access)).await?
            }
        };
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
            Control::DeclareCursor { name, query, .. } => {
                let planned = self.plan(query)?;
                let route = planned.route(query, params, &self.serving.rules)?;
                let shard = match route {
                    // No query: any server says so.
                    Route::Many if planned.plan.several.is_none() => return Ok(home),
                    Route::Many => return Ok(Route::Many),
                    Route::One(shard) => Some(shard),
                    Route::Any | Route::Every | Route::Proxy => None,
                };
                self.check_free(name, shard)?;
                Ok(route)
            }
            Control::Fetch { cursor, .. } | Control::CloseCursor { name: Some(cursor) } => {
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

    /// What a forwarded statement does to its server. A cursor's query runs when it is fetched from, in the
    /// transaction that has declared it.
    pub(super) fn forwarded_access(&mut self, control: &Control) -> Result<Access, Stop> {
        Ok(match control {
            Control::DeclareCursor { query, .. } => self.plan(query)?.plan.access,
            Control::Listen { .. } | Control::Unlisten { .. } => Access::Lock,
            _ => Access::Read,
        })
    }

    /// Where the SQL cursor or portal of that name lives.
    pub(super) fn cursor_shard(&self, name: &str) -> Option<ShardId> {
        let portal = || match self.portals.get(name) {
            Some(Portal::On(at, ..)) => self.txn.participants.get(*at).map(|other| other.shard),
            Some(Portal::Own(_) | Portal::Spent(_) | Portal::Several(_)) | None => None,
        };
        self.cursors.get(name).map(|cursor| cursor.shard).or_else(portal)
    }

    /// Remembers where a forwarded statement left something behind.
    pub(super) fn note_forwarded(&mut self, control: &Control, at: usize) {
        let Some(participant) = self.txn.participants.get_mut(at) else { return };
        participant.used |= !matches!(control, Control::Show { .. });
        // FETCH may draw from sequences.
        self.txn.draws_only_on(None);
        let Some(participant) = self.txn.participants.get_mut(at) else { return };
        match control {
            Control::DeclareCursor { name, options, .. } => {
                let held = options.contains(&CursorOption::Hold);
                participant.tied |= held;
                let (shard, depth) = (participant.shard, self.txn.depth());
                // One of that name that is there already stays what it is.
                let cursor = OneServers { shard, depth, held };
                self.cursors.entry(name.clone()).or_insert(cursor);
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
        participant.used = true;
        participant.tied |= planned.plan.ties.is_some();
        if planned.plan.runs_code {
            participant.leaves = Leaves::Closed;
        }
    }
}

/// What is not done for queries over several shards.
pub(super) fn over_several(what: &str) -> Error {
    Error::refused(
        format!("{what} of a query over several shards"),
        "run the query itself; a driver's fetch size limits the rows that it reads at a time",
    )
}

/// What a control statement that weir answers itself returns: rows, or nothing.
pub(super) fn own_columns(control: &Control) -> Option<&str> {
    match control {
        Control::ExplainWeir { .. } => Some("QUERY PLAN"),
        Control::Show { name } if is_known(name) => Some(name),
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
