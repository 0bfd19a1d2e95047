//! The extended protocol. A message goes to its server as soon as that is known; everything up to a
//! Sync is one implicit transaction, as in PostgreSQL.
//!
//! Parse and Describe say nothing of a shard, so they wait (`unsited`) for the Bind that does, or
//! for the Sync.
use super::control::{describe_own, executing, forwarded_access};
use super::simple::Ended;
use super::statements::{Change, Form, Naming, Statement, Under, meaning};
use super::{Protocol, Session, Stop};
use crate::backend::translate::Translation;
use crate::error::{Error, SqlState};
use crate::exec::describe::Described;
use crate::exec::relay::{Edit, Reply, Show, Step};
use crate::ids::Oid;
use crate::plan::{Access, Command, Planned, Route};
use crate::sql;
use crate::sql::control::Control;
use crate::txn::settings::differences;
use crate::txn::{Begun, Block, Status};
use crate::wire::frontend::{self, Format, Object};
use crate::wire::params::{Params, Value};
use crate::wire::{encode, error_response};
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

/// The messages between two Syncs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Segment {
    Sound,
    /// An error was reported: what comes before the next Sync is ignored.
    Failed,
}

/// A message that waits for a server.
pub enum Unsited {
    Parse(Rc<Statement>),
    Describe(Rc<Statement>),
}

/// What a client has bound.
#[derive(Clone)]
pub enum Portal {
    On(usize),
    /// A statement that weir acts on itself, when it is executed.
    Own(Rc<Statement>),
    /// The same after its Execute: it runs once.
    Spent(Rc<Statement>),
}

/// The name of statements and portals of weir's own among a client's messages.
const WHISPER: &[u8] = b"weir";

/// So many answers may be outstanding before weir waits for some.
const MAX_OUTSTANDING: usize = 4096;

impl Session {
    /// Acts on one extended message other than Sync.
    pub(super) async fn extended(
        &mut self,
        kind: frontend::Kind,
        body: &[u8],
    ) -> Result<(), Ended> {
        if self.segment == Segment::Failed {
            return Ok(());
        }
        self.protocol = Protocol::Extended;
        let outcome = match kind {
            frontend::Kind::Parse => self.parse(body),
            frontend::Kind::Bind => self.bind(body).await,
            frontend::Kind::Describe => self.describe(body).await,
            frontend::Kind::Execute => self.execute(body).await,
            frontend::Kind::Close => self.close(body).await,
            frontend::Kind::Flush => self.flush().await,
            _ => Err(Error::internal("not an extended message").into()),
        };
        self.conclude(outcome)?;
        if self.relay.len() > MAX_OUTSTANDING {
            let outcome = self.catch_up().await;
            self.conclude(outcome)?;
        }
        Ok(())
    }

    pub(super) fn conclude(&mut self, outcome: Result<(), Stop>) -> Result<(), Ended> {
        match outcome {
            Ok(()) => Ok(()),
            Err(Stop::Said) => {
                self.segment = Segment::Failed;
                drop(self.relay.take_unsited());
                self.held.clear();
                self.unsited.clear();
                Ok(())
            }
            Err(Stop::End) => Err(Ended),
            Err(Stop::Say(error)) => {
                self.refuse_message(&error);
                Ok(())
            }
        }
    }

    /// An error of weir's own, at its place among the answers.
    fn refuse_message(&mut self, error: &Error) {
        self.database.metrics.error(error.blame);
        self.forget_unsited();
        self.relay.local(|out| error_response::write(error, out));
        self.segment = Segment::Failed;
        self.txn.fail();
    }

    /// Unsited messages came before an error: PostgreSQL would have answered them.
    fn forget_unsited(&mut self) {
        self.hold_unsited();
        for reply in std::mem::take(&mut self.held) {
            match reply {
                Reply::Unsited => {
                    if let Some(Unsited::Parse(_)) = self.unsited.pop_front() {
                        self.relay.local(encode::parse_complete);
                    }
                }
                Reply::Local(_) | Reply::Server { .. } | Reply::Mark => self.relay.push(reply),
            }
        }
    }

    /// Takes unsited replies out of the queue, so that what brings a server in is answered first.
    fn hold_unsited(&mut self) {
        self.held.extend(self.relay.take_unsited());
    }

    /// A server reported an error in answer to an extended message, or weir could not pass its answer
    /// on (`None`).
    pub(super) fn fail_segment(&mut self, at: Option<usize>) {
        self.note_descriptions();
        self.describing.clear();
        self.relay.void(at);
        self.unsited.clear();
        self.held.clear();
        self.segment = Segment::Failed;
        self.txn.fail();
        if self.relay.error.take() == Some(SqlState::FEATURE_NOT_SUPPORTED) {
            // Perhaps "cached plan must not change result type": whoever prepares from now on gets
            // a new plan.
            self.database.identities.borrow_mut().forget_all();
        }
        self.txn.segment_failed();
        self.undo_changes();
        for participant in &mut self.txn.participants {
            participant.doubt_statements();
        }
        if let Some(at) = at
            && let Some(participant) = self.txn.participants.get_mut(at)
        {
            participant.segment_undone();
            participant.failed = true;
            participant.unsynced = !self.relay.expects_sync(at);
        }
    }

    /// What a failed segment did to the client's statements stays as far as it was answered.
    fn undo_changes(&mut self) {
        let done = std::mem::take(&mut self.relay.marks).min(self.changes.len());
        for change in self.changes.drain(..).skip(done).rev() {
            match change.before {
                Some(statement) => self.statements.insert(change.name, statement),
                None => self.statements.remove(&change.name),
            };
        }
    }

    /// A change of the client's statements, whose answer is queued.
    fn note_change(&mut self, name: String, before: Option<Rc<Statement>>) {
        self.changes.push(Change { name, before });
        self.relay.mark();
    }

    fn parse(&mut self, body: &[u8]) -> Result<(), Stop> {
        let parse = frontend::Parse::read(body).map_err(Error::from)?;
        let name = parse.name_str().map_err(Error::from)?.to_owned();
        let text = self.readable(parse.sql)?.into_owned();
        if !name.is_empty() && self.statements.contains_key(&name) {
            return Err(already_prepared(&name).into());
        }
        let types: Vec<Oid> = parse.types().collect();
        let naming = if name.is_empty() { Naming::Unnamed } else { Naming::Named };
        if name.is_empty() {
            // As in PostgreSQL, it is gone whatever becomes of the new one.
            self.statements.remove("");
        }
        let statement = Rc::new(self.prepare(&name, &text, types, Form::Parse, naming)?);
        self.keep_statement(name.clone(), statement.clone())?;
        match statement.planned.plan.command {
            Command::Control(_) if !self.is_forwarded(&statement) => {
                self.relay.local(encode::parse_complete);
            }
            _ => {
                self.relay.unsited();
                self.unsited.push_back(Unsited::Parse(statement));
            }
        }
        self.note_change(name, None);
        Ok(())
    }

    /// Plans a statement and gives it its identity.
    pub(super) fn prepare(
        &mut self,
        name: &str,
        text: &str,
        types: Vec<Oid>,
        form: Form,
        naming: Naming,
    ) -> Result<Statement, Stop> {
        let ranges =
            sql::split::split(text, self.standard_conforming_strings()).map_err(Error::from)?;
        if ranges.len() > 1 {
            return Err(Error::client(
                SqlState::SYNTAX_ERROR,
                "cannot insert multiple commands into a prepared statement",
            )
            .into());
        }
        let start = ranges.first().map_or(0, |range| range.start);
        let before = text.get(..start).unwrap_or_default().chars().count();
        let text = match ranges.first() {
            Some(range) => text.get(range.clone()).unwrap_or_default(),
            None => "",
        };
        let planned = self.plan(text)?;
        let executes = match (&planned.plan.command, &form) {
            // One that is not there is told when it is executed, as in PostgreSQL.
            (Command::Control(Control::Execute { name, .. }), Form::Parse) => {
                let name = name.clone();
                match self.statements.contains_key(&name) {
                    true => Some((name.clone(), self.current(&name)?)),
                    false => None,
                }
            }
            _ => None,
        };
        match &planned.plan.command {
            Command::Control(control) => self.refuse_if_failed(Some(control))?,
            _ => self.refuse_if_failed(None)?,
        }
        let settings = meaning(&self.txn.settings);
        let shift = i32::try_from(before).unwrap_or_default();
        let (sent, edit) = match &executes {
            Some((name, inner)) => {
                let outer = Edit { shift, name: None };
                executing(text, name, inner, Some(&outer))
            }
            None => (planned.text(text).into_owned(), Edit { shift, name: None }),
        };
        let mut identities = self.database.identities.borrow_mut();
        let identity = match &planned.plan.command {
            Command::Control(Control::Fetch { .. }) => identities.alone(),
            Command::Control(_)
            | Command::Query
            | Command::CopyIn
            | Command::CopyOut
            | Command::Ddl => {
                let version = self.serving.catalog_version;
                identities.intern(&sent, &types, &form, version, &settings)
            }
        };
        drop(identities);
        let text = text.to_owned();
        let under = self.planned_under();
        let catalog_version = Cell::new(self.serving.catalog_version);
        let told = Cell::new(None);
        let renamed = edit.name.or_else(|| Some((identity.name.clone(), name.to_owned())));
        let edit = Rc::new(Edit { shift: edit.shift, name: renamed });
        let executes = executes.map(|(_, inner)| inner);
        Ok(Statement {
            under,
            text,
            sent,
            types,
            planned,
            form,
            naming,
            identity,
            edit,
            executes,
            encoding: self.encoding(),
            settings,
            catalog_version,
            told,
        })
    }

    pub(super) fn keep_statement(
        &mut self,
        name: String,
        statement: Rc<Statement>,
    ) -> Result<(), Error> {
        let limit = self.database.limits.statements_per_client;
        if self.statements.len() >= limit && !self.statements.contains_key(&name) {
            return Err(Error::client(
                SqlState::CONFIGURATION_LIMIT_EXCEEDED,
                format!("too many prepared statements (limit {limit})"),
            )
            .hint("deallocate statements, or raise limits.prepared_statements in weir.toml"));
        }
        self.statements.insert(name, statement);
        Ok(())
    }

    async fn bind(&mut self, body: &[u8]) -> Result<(), Stop> {
        let bind = frontend::Bind::read(body).map_err(Error::from)?;
        let portal = bind.portal_str().map_err(Error::from)?.to_owned();
        let name = bind.statement_str().map_err(Error::from)?;
        let statement = self.current(name)?;
        if let Command::Control(control) = &statement.planned.plan.command {
            self.refuse_if_failed(Some(control))?;
            if !self.is_forwarded(&statement) {
                self.portals.insert(portal, Portal::Own(statement));
                self.relay.local(encode::bind_complete);
                return Ok(());
            }
        } else {
            self.refuse_if_failed(None)?;
        }
        if statement.planned.plan.command == Command::Ddl {
            self.portals.insert(portal, Portal::Own(statement));
            self.relay.local(encode::bind_complete);
            return Ok(());
        }
        self.check_result(&statement).await?;
        let drawn = match statement.planned.draw() {
            None => None,
            Some(draw) => {
                self.hold_unsited();
                let value = self.draw(draw).await?;
                let text = statement.planned.with_key(draw, value, &statement.text);
                let types = statement.types.clone();
                Some(Rc::new(self.prepare("", &text, types, Form::Parse, Naming::Unnamed)?))
            }
        };
        let statement = drawn.unwrap_or(statement);
        let mut values = Vec::new();
        bind.values(&mut values);
        let route = self.route_bound(&statement, &values).await?;
        self.hold_unsited();
        let runs = statement.executes.as_ref().unwrap_or(&statement);
        let access = match &runs.planned.plan.command {
            Command::Control(control) => forwarded_access(control),
            Command::Query | Command::CopyIn | Command::CopyOut | Command::Ddl => {
                runs.planned.plan.access
            }
        };
        let runs = runs.clone();
        let at = self.site_evenly(route, access).await?;
        self.tie(at, &runs.planned);
        self.note_configured(at, &runs.planned, &runs.text, &values)?;
        if let Command::Control(control) = &statement.planned.plan.command {
            self.note_forwarded(&control.clone(), at);
        }
        self.count(&statement.planned, at);
        self.site_messages(at).await?;
        let server_name = self.ensure_prepared(at, &statement, Show::Swallow)?;
        let Some(participant) = self.txn.participants.get_mut(at) else {
            return Err(Error::internal("no such participant").into());
        };
        participant.begins_segment();
        encode::bind_with_tail(
            portal.as_bytes(),
            server_name.as_bytes(),
            bind.tail_after_statement(),
            &mut participant.lease.output,
        );
        let edit = Some(statement.edit.clone());
        self.relay.expect_edited(at, Step::Bind, Show::Forward, edit.clone());
        // Binary values may carry object ids inside: the description shows whether they do.
        let binary = bind.result_formats().any(|format| format == Format::Binary);
        if binary && participant.translation.is_some() {
            let output = &mut participant.lease.output;
            encode::describe(Object::Portal, portal.as_bytes(), output);
            self.relay.expect(at, Step::DescribePortal, Show::Swallow);
        }
        self.portals.insert(portal, Portal::On(at));
        Ok(())
    }

    async fn route_bound(
        &mut self,
        statement: &Statement,
        values: &[Value<'_>],
    ) -> Result<Route, Stop> {
        if let Command::Control(control) = &statement.planned.plan.command {
            if let (Control::Execute { name, arguments }, Some(inner)) =
                (control, &statement.executes)
            {
                return self.route_executed(inner, name, arguments);
            }
            let params = Params { types: &statement.types, values };
            return self.forwarded_route(&control.clone(), &params);
        }
        if statement.planned.plan.needs_types() && statement.identity.described.get().is_none() {
            let described = self.described_types(statement).await?;
            // Another bind of the same statement may have been quicker: both learnt the same.
            drop(statement.identity.described.set(described));
        }
        let types = statement.identity.described.get().unwrap_or(&statement.types);
        let params = Params { types, values };
        Ok(statement.planned.route(&statement.text, &params, &self.serving.rules)?)
    }

    /// Asks the home shard for the types of a statement's parameters.
    async fn described_types(&mut self, statement: &Statement) -> Result<Vec<Oid>, Stop> {
        Ok(self.describe_at_home(statement).await?.parameters)
    }

    /// Whether the result is still what the client was told, if the schema has changed since: a
    /// server that does not know the statement yet would prepare it anew.
    async fn check_result(&mut self, statement: &Statement) -> Result<(), Stop> {
        self.note_descriptions();
        let Some(told) = statement.told.get() else { return Ok(()) };
        if statement.catalog_version.get() == self.serving.catalog_version {
            return Ok(());
        }
        if self.describe_at_home(statement).await?.result != told {
            return Err(Error::client(
                SqlState::FEATURE_NOT_SUPPORTED,
                "cached plan must not change result type",
            )
            .into());
        }
        statement.catalog_version.set(self.serving.catalog_version);
        Ok(())
    }

    /// What the home shard makes of a statement: asked on the transaction's own connection if it has
    /// one there, since any other would wait for what the transaction has locked.
    async fn describe_at_home(&mut self, statement: &Statement) -> Result<Described, Stop> {
        let home = self.serving.rules.home;
        let (text, types) = (&statement.sent, &statement.types);
        let Some(at) = self.txn.find(home) else {
            return Ok(self.describe_aside(home, text, types).await?);
        };
        self.hold_unsited();
        let Some(participant) = self.txn.participants.get_mut(at) else {
            return Err(Error::internal("no such participant").into());
        };
        participant.begins_segment();
        let output = &mut participant.lease.output;
        encode::close(Object::Statement, WHISPER, output);
        encode::parse(WHISPER, text.as_bytes(), types.iter().copied(), output);
        encode::describe(Object::Statement, WHISPER, output);
        encode::close(Object::Statement, WHISPER, output);
        self.relay.expect(at, Step::Close, Show::Swallow);
        self.relay.expect(at, Step::Parse, Show::Swallow);
        self.relay.expect(at, Step::DescribeStatement, Show::Capture);
        self.relay.expect(at, Step::Close, Show::Swallow);
        self.relay.captured.clear();
        self.ask_for_answers();
        self.drain().await?;
        Ok(Described::read(&self.relay.captured.split())?)
    }

    /// Remembers what clients were told of their statements.
    fn note_descriptions(&mut self) {
        while let Some(told) = self.relay.described.pop_front() {
            if let Some(statement) = self.describing.pop_front() {
                statement.told.set(Some(told));
            }
        }
    }

    /// Makes a server know a statement; returns the name it has there.
    pub(super) fn ensure_prepared(
        &mut self,
        at: usize,
        statement: &Rc<Statement>,
        show: Show,
    ) -> Result<String, Stop> {
        if let Some(inner) = &statement.executes {
            self.ensure_prepared(at, inner, Show::Swallow)?;
        }
        let identity = &statement.identity;
        let Some(participant) = self.txn.participants.get_mut(at) else {
            return Err(Error::internal("no such participant").into());
        };
        let session = &mut participant.lease.session;
        // What another client has prepared by name serves an unnamed statement as well.
        let known = match statement.naming {
            _ if session.prepared.contains(identity.id) => Some(identity.name.as_str()),
            Naming::Unnamed if session.unnamed == Some(identity.id) => Some(""),
            Naming::Unnamed | Naming::Named => None,
        };
        if let Some(name) = known {
            if show == Show::Forward {
                self.relay.local(encode::parse_complete);
            }
            return Ok(name.to_owned());
        }
        participant.begins_segment();
        // The client may have changed its settings since it prepared the statement.
        let now = meaning(&self.txn.settings);
        let there = differences(&now, &statement.settings);
        let back = differences(&statement.settings, &now);
        self.whisper(at, &there, Show::Swallow);
        self.send_parse(at, statement, show);
        self.whisper(at, &back, Show::Swallow);
        Ok(statement.server_name().to_owned())
    }

    /// Statements of weir's own among a client's extended messages, under names of their own: the
    /// client's unnamed statement and portal stay what they are.
    pub(super) fn whisper(&mut self, at: usize, texts: &[String], show: Show) {
        const NAME: &[u8] = WHISPER;
        /// No parameters, and results as text.
        const NO_VALUES: &[u8] = &[0; 6];
        let quiet = if show == Show::Forward { Show::Swallow } else { show };
        let Some(participant) = self.txn.participants.get_mut(at) else { return };
        participant.begins_segment();
        for text in texts {
            let output = &mut participant.lease.output;
            // An error may have kept an earlier one from being closed.
            encode::close(Object::Statement, NAME, output);
            encode::parse(NAME, text.as_bytes(), [].into_iter(), output);
            encode::bind_with_tail(NAME, NAME, NO_VALUES, output);
            encode::execute(NAME, 0, output);
            encode::close(Object::Portal, NAME, output);
            encode::close(Object::Statement, NAME, output);
            self.relay.expect(at, Step::Close, quiet);
            self.relay.expect(at, Step::Parse, quiet);
            self.relay.expect(at, Step::Bind, quiet);
            self.relay.expect(at, Step::Execute, show);
            self.relay.expect(at, Step::Close, quiet);
            self.relay.expect(at, Step::Close, quiet);
        }
    }

    fn send_parse(&mut self, at: usize, statement: &Rc<Statement>, show: Show) {
        let limit = self.database.limits.statements_per_server;
        let identity = &statement.identity;
        let name = statement.server_name();
        let Some(participant) = self.txn.participants.get_mut(at) else { return };
        if name.is_empty() {
            participant.lease.session.unnamed = Some(identity.id);
            let text = statement.encoding.bytes(&statement.sent);
            encode::parse(
                b"",
                &text,
                there(&participant.translation, &statement.types),
                &mut participant.lease.output,
            );
            self.relay.expect_edited(at, Step::Parse, show, Some(statement.edit.clone()));
            return;
        }
        participant.preparing.push(identity.id);
        self.database.metrics.prepares.inc();
        for id in participant.lease.session.prepared.prepare(identity.id, limit) {
            participant.closing.push(id);
            let name = format!("weir_{id}");
            encode::close(Object::Statement, name.as_bytes(), &mut participant.lease.output);
            self.relay.expect(at, Step::Close, Show::Swallow);
        }
        match &statement.form {
            Form::Parse => {
                let name = identity.name.as_bytes();
                let text = statement.encoding.bytes(&statement.sent);
                let types = there(&participant.translation, &statement.types);
                encode::parse(name, &text, types, &mut participant.lease.output);
                self.relay.expect_edited(at, Step::Parse, show, Some(statement.edit.clone()));
            }
            Form::Prepare(types) => {
                let text = format!("PREPARE {}{types} AS {}", identity.name, statement.sent);
                self.whisper(at, &[text], Show::Swallow);
                if show == Show::Forward {
                    self.relay.local(encode::parse_complete);
                }
            }
        }
    }

    /// Sends the messages that waited for a server, in their order.
    pub(super) async fn site_messages(&mut self, at: usize) -> Result<(), Stop> {
        if self.unsited.is_empty() && self.held.is_empty() {
            return Ok(());
        }
        self.hold_unsited();
        while let Some(reply) = self.held.pop_front() {
            if !matches!(reply, Reply::Unsited) {
                self.relay.push(reply);
                continue;
            }
            match self.unsited.pop_front() {
                Some(Unsited::Parse(statement)) => {
                    self.ensure_prepared(at, &statement, Show::Forward)?;
                }
                Some(Unsited::Describe(statement)) => {
                    let name = self.ensure_prepared(at, &statement, Show::Swallow)?;
                    let Some(participant) = self.txn.participants.get_mut(at) else { continue };
                    participant.begins_segment();
                    let output = &mut participant.lease.output;
                    encode::describe(Object::Statement, name.as_bytes(), output);
                    self.relay.expect(at, Step::DescribeStatement, Show::Forward);
                    self.describing.push_back(statement);
                }
                None => {}
            }
        }
        Ok(())
    }

    /// Sites what waits without a Bind: on a server of the transaction, or on the home shard, whose
    /// types are the ones clients know.
    async fn site_rest(&mut self) -> Result<(), Stop> {
        if self.unsited.is_empty() {
            return Ok(());
        }
        self.hold_unsited();
        let route = self.unsited_route();
        let at = self.site(route, Access::Read).await?;
        self.site_messages(at).await
    }

    /// Any server can describe a statement, but for a FETCH: only its cursor's knows the cursor.
    fn unsited_route(&self) -> Route {
        let cursors = self.unsited.iter().filter_map(|unsited| {
            let (Unsited::Parse(statement) | Unsited::Describe(statement)) = unsited;
            match &statement.planned.plan.command {
                Command::Control(Control::Fetch { cursor }) => self.cursor_shard(cursor),
                Command::Control(_)
                | Command::Query
                | Command::CopyIn
                | Command::CopyOut
                | Command::Ddl => None,
            }
        });
        cursors.last().map_or(Route::Any, Route::One)
    }

    async fn describe(&mut self, body: &[u8]) -> Result<(), Stop> {
        let describe = frontend::Describe::read(body).map_err(Error::from)?;
        let name = describe.name_str().map_err(Error::from)?;
        match describe.object {
            Object::Statement => {
                let statement = self.statement(name)?;
                match &statement.planned.plan.command {
                    Command::Control(control) if !self.is_forwarded(&statement) => {
                        let control = control.clone();
                        self.relay.local(|out| {
                            encode::parameter_description([].into_iter(), out);
                            describe_own(&control, out);
                        });
                    }
                    _ => {
                        self.relay.unsited();
                        self.unsited.push_back(Unsited::Describe(statement));
                    }
                }
            }
            Object::Portal => match self.portal(name)? {
                Portal::Own(statement) | Portal::Spent(statement) => {
                    match &statement.planned.plan.command {
                        Command::Control(control) => {
                            let control = control.clone();
                            self.relay.local(|out| describe_own(&control, out));
                        }
                        Command::Query | Command::CopyIn | Command::CopyOut | Command::Ddl => {
                            self.relay.local(encode::no_data);
                        }
                    }
                }
                Portal::On(at) => {
                    self.site_messages(at).await?;
                    self.send(at, |out| encode::describe(Object::Portal, name.as_bytes(), out));
                    self.relay.expect(at, Step::DescribePortal, Show::Forward);
                }
            },
        }
        Ok(())
    }

    async fn execute(&mut self, body: &[u8]) -> Result<(), Stop> {
        let execute = frontend::Execute::read(body).map_err(Error::from)?;
        let name = execute.portal_str().map_err(Error::from)?;
        match self.portal(name)? {
            Portal::On(at) => {
                self.site_messages(at).await?;
                self.send(at, |out| encode::execute(name.as_bytes(), execute.max_rows, out));
                self.relay.expect(at, Step::Execute, Show::Forward);
                Ok(())
            }
            Portal::Own(statement) => {
                self.catch_up().await?;
                self.txn.remember_settings();
                self.execute_own(&statement).await?;
                self.spend(name, statement);
                Ok(())
            }
            Portal::Spent(_) => {
                Err(Error::client(SqlState(*b"55000"), format!("portal \"{name}\" cannot be run"))
                    .into())
            }
        }
    }

    /// A utility statement's portal runs once; the end of a transaction takes its portals away.
    fn spend(&mut self, name: &str, statement: Rc<Statement>) {
        let ends = matches!(
            statement.planned.plan.command,
            Command::Control(
                Control::Commit { .. } | Control::Rollback { .. } | Control::RollbackTo { .. }
            )
        );
        if ends {
            self.portals.remove(name);
        } else if let Some(portal) = self.portals.get_mut(name) {
            *portal = Portal::Spent(statement);
        }
    }

    /// A statement of weir's own, executed by an Execute: the same as in the simple protocol, since
    /// everything before it has been answered.
    async fn execute_own(&mut self, statement: &Statement) -> Result<(), Stop> {
        match &statement.planned.plan.command {
            Command::Control(control) => {
                self.refuse_if_failed(Some(control))?;
                self.control(control.clone(), &statement.text).await
            }
            Command::Ddl => {
                self.refuse_if_failed(None)?;
                let planned = self.plan(&statement.text)?;
                self.schema_statement(&statement.text, &planned).await
            }
            Command::Query | Command::CopyIn | Command::CopyOut => {
                Err(Error::internal("a routed statement has no portal of weir's own").into())
            }
        }
    }

    async fn close(&mut self, body: &[u8]) -> Result<(), Stop> {
        let close = frontend::Close::read(body).map_err(Error::from)?;
        let name = close.name_str().map_err(Error::from)?;
        match close.object {
            Object::Statement => {
                let before = self.statements.remove(name);
                self.relay.local(encode::close_complete);
                self.note_change(name.to_owned(), before);
            }
            Object::Portal => match self.portals.remove(name) {
                Some(Portal::On(at)) => {
                    self.site_messages(at).await?;
                    self.send(at, |out| encode::close(Object::Portal, name.as_bytes(), out));
                    self.relay.expect(at, Step::Close, Show::Forward);
                }
                Some(Portal::Own(_) | Portal::Spent(_)) | None => {
                    self.relay.local(encode::close_complete)
                }
            },
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), Stop> {
        self.site_rest().await?;
        self.ask_for_answers();
        Ok(())
    }

    /// Makes every server that owes an answer send it.
    pub(super) fn ask_for_answers(&mut self) {
        for participant in self.txn.participants.iter_mut().filter(|other| other.unsynced) {
            encode::flush(&mut participant.lease.output);
        }
    }

    /// Waits for all answers without ending the segment.
    pub(super) async fn catch_up(&mut self) -> Result<(), Stop> {
        if self.relay.is_empty() {
            return Ok(());
        }
        self.site_rest().await?;
        self.ask_for_answers();
        self.drain().await?;
        self.changes.clear();
        self.relay.marks = 0;
        Ok(())
    }

    /// A simple query or a function call after extended messages: as if a Sync had come between,
    /// but for what PostgreSQL does after an error: `false`, the message is skipped.
    pub(super) async fn leave_segment(&mut self) -> Result<bool, Ended> {
        if self.segment == Segment::Sound {
            let outcome = self.catch_up().await;
            self.conclude(outcome)?;
        }
        Ok(self.segment == Segment::Sound)
    }

    /// The end of a segment. With one server the Sync travels behind the messages; with several
    /// none is sent before all messages have succeeded, the writer's first.
    pub(super) async fn sync(&mut self) -> Result<(), Ended> {
        let outcome = match self.segment {
            Segment::Sound => self.sync_sound().await,
            Segment::Failed => Ok(()),
        };
        self.conclude(outcome)?;
        if std::mem::take(&mut self.relay.sync_ignored) {
            // COPY began: the Sync that counts is still to come.
            return Ok(());
        }
        if self.segment == Segment::Failed {
            let outcome = self.sync_failed().await;
            self.conclude(outcome)?;
            self.configured.clear();
        }
        self.segment = Segment::Sound;
        self.txn.segment_done();
        let learnt = self.learn_configured().await;
        self.conclude(learnt)?;
        self.segment = Segment::Sound;
        self.changes.clear();
        self.relay.marks = 0;
        self.settle().await;
        self.ready();
        Ok(())
    }

    async fn sync_sound(&mut self) -> Result<(), Stop> {
        self.site_rest().await?;
        if self.txn.status() == Status::Open(Block::Implicit) {
            self.catch_up().await?;
            return self.commit(Show::Swallow).await;
        }
        let mut active = self.txn.unsynced();
        if active.len() > 1 {
            self.catch_up().await?;
            active.sort_by_key(|&at| std::cmp::Reverse(self.txn.access(at)));
        }
        for at in active {
            self.sync_one(at, Show::Forward);
            self.drain().await?;
        }
        self.drain().await
    }

    fn sync_one(&mut self, at: usize, show: Show) {
        if let Some(participant) = self.txn.participants.get_mut(at) {
            encode::sync(&mut participant.lease.output);
            participant.unsynced = false;
            self.relay.expect(at, Step::Sync, show);
        }
    }

    /// After an error nothing of the segment stays: the server that failed rolls back by itself, a
    /// block is left to the client's ROLLBACK, and any other server is told to roll back.
    async fn sync_failed(&mut self) -> Result<(), Stop> {
        self.ask_for_answers();
        // One more error on the way changes nothing: every server still has to hear the Sync.
        match self.drain().await {
            Ok(()) | Err(Stop::Said) => {}
            Err(stop) => return Err(stop),
        }
        if self.txn.status() == Status::Failed(Block::Implicit) {
            return self.roll_back(Show::Discard).await;
        }
        for at in self.txn.unsynced() {
            let Some(participant) = self.txn.participants.get_mut(at) else { continue };
            let undone = participant.failed || participant.begun == Begun::Block;
            if !undone {
                // Outside a block ROLLBACK undoes what the pipeline did there, with a warning. Discarded
                // answers end with ReadyForQuery only; these have ends of their own.
                self.whisper(at, &["ROLLBACK".to_owned()], Show::Swallow);
            }
            self.sync_one(at, Show::Discard);
        }
        let outcome = self.drain().await;
        for participant in &mut self.txn.participants {
            participant.failed = false;
        }
        outcome
    }

    fn send(&mut self, at: usize, write: impl FnOnce(&mut bytes::BytesMut)) {
        if let Some(participant) = self.txn.participants.get_mut(at) {
            participant.begins_segment();
            write(&mut participant.lease.output);
        }
    }

    pub(super) fn statement(&self, name: &str) -> Result<Rc<Statement>, Error> {
        self.statements.get(name).cloned().ok_or_else(|| {
            let message = match name {
                "" => "unnamed prepared statement does not exist".to_owned(),
                _ => format!("prepared statement \"{name}\" does not exist"),
            };
            Error::client(SqlState::INVALID_STATEMENT_NAME, message)
        })
    }

    /// A client's statement with a plan of the rules, catalog and search_path in force: if they have
    /// changed since it was planned, it is planned anew, as PostgreSQL would.
    pub(super) fn current(&mut self, name: &str) -> Result<Rc<Statement>, Stop> {
        let known = self.statement(name)?;
        let under = self.planned_under();
        let inner = known.executes.as_ref();
        if known.under == under && inner.is_none_or(|inner| inner.under == under) {
            return Ok(known);
        }
        let (types, form) = (known.types.clone(), known.form.clone());
        let mut renewed = self.prepare(name, &known.text, types, form, known.naming)?;
        let shift = known.edit.shift;
        renewed.edit = Rc::new(Edit { shift, name: renewed.edit.name.clone() });
        renewed.told = known.told.clone();
        renewed.catalog_version = known.catalog_version.clone();
        let renewed = Rc::new(renewed);
        self.statements.insert(name.to_owned(), renewed.clone());
        Ok(renewed)
    }

    /// What a plan made now depends on.
    fn planned_under(&self) -> Under {
        Under {
            rules: self.serving.rules.version,
            catalog: self.serving.catalog_version,
            search_path: self.txn.settings.get("search_path").map(str::to_owned),
        }
    }

    /// A portal, or the SQL cursor of that name: to PostgreSQL they are the same.
    fn portal(&self, name: &str) -> Result<Portal, Error> {
        if let Some(portal) = self.portals.get(name) {
            return Ok(portal.clone());
        }
        let cursor = self.cursors.get(name).and_then(|&shard| self.txn.find(shard));
        cursor.map(Portal::On).ok_or_else(|| {
            Error::client(
                SqlState::INVALID_CURSOR_NAME,
                format!("portal \"{name}\" does not exist"),
            )
        })
    }

    /// The plan of a statement under this client's settings.
    pub(super) fn plan(&mut self, statement: &str) -> Result<Planned, Error> {
        let context = self.context();
        let planned = self.database.planner.borrow_mut().plan(statement, &context);
        planned.map_err(|unroutable| {
            self.database.counters.refused(unroutable.reason());
            let error = Error::from(unroutable);
            // As in PostgreSQL: in a failed transaction a statement is read, and no more.
            match self.refuse_if_failed(None) {
                Err(failed) if error.code != SqlState::SYNTAX_ERROR => failed,
                Ok(()) | Err(_) => error,
            }
        })
    }
}

/// A client's parameter types as a server numbers them.
fn there(
    translation: &Option<Arc<Translation>>,
    types: &[Oid],
) -> impl ExactSizeIterator<Item = Oid> {
    types.iter().map(|&oid| match translation {
        Some(translation) => translation.type_there(oid),
        None => oid,
    })
}

pub(super) fn already_prepared(name: &str) -> Error {
    Error::client(
        SqlState::DUPLICATE_PREPARED_STATEMENT,
        format!("prepared statement \"{name}\" already exists"),
    )
}
