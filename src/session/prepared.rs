//! A client's prepared statements: planned, kept, and made known to the servers that run them.
use super::by_name::executing;
use super::segment::WHISPER;
use super::statements::{Change, Explains, Form, Meant, Naming, Statement, Under, Wording};
use super::{Session, Stop};
use crate::backend::translate::Translation;
use crate::error::{Error, SqlState};
use crate::exec::describe::Described;
use crate::exec::relay::{Edit, Show, Step};
use crate::ids::Oid;
use crate::plan::{Command, Found, Planned};
use crate::sql;
use crate::sql::control::Control;
use crate::sql::explained;
use crate::txn::settings::differences;
use crate::wire::encode;
use crate::wire::frontend::Object;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

impl Session {
    /// What a failed segment did to the client's statements stays as far as it was answered.
    pub(super) fn undo_changes(&mut self) {
        let done = std::mem::take(&mut self.relay.marks).min(self.changes.len());
        for change in self.changes.drain(..).skip(done).rev() {
            match change.before {
                Some(statement) => self.statements.insert(change.name, statement),
                None => self.statements.remove(&change.name),
            };
        }
    }

    /// A change of the client's statements, whose answer is queued.
    pub(super) fn note_change(&mut self, name: String, before: Option<Rc<Statement>>) {
        self.changes.push(Change { name, before });
        self.relay.mark();
    }

    /// Where the one statement of a text is; nowhere, if there is none.
    fn only_statement(&self, text: &str) -> Result<Range<usize>, Error> {
        if let Some(single) = sql::split::single(text) {
            return Ok(0..single.len());
        }
        match sql::split::split(text, self.standard_conforming_strings())?.as_slice() {
            [] => Ok(0..0),
            [one] => Ok(one.clone()),
            [_, _, ..] => Err(Error::client(
                SqlState::SYNTAX_ERROR,
                "cannot insert multiple commands into a prepared statement",
            )),
        }
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
        // What depends on the session alone is not shared with others.
        let own = !self.temporary.is_empty() || self.txn.settings.own().shard.is_some();
        let shared = form == Form::Parse && !own;
        if shared && let Some(meant) = self.prepared_before(text, &types) {
            self.refuse_if_failed(None)?;
            let catalog = self.serving.catalog_version;
            return Ok(Statement::new(meant, name, naming, None, catalog));
        }
        let (meant, executes) = self.mean(text, types, form)?;
        let meant = Rc::new(meant);
        if shared && meant.planned.plan.command == Command::Query && meant.explains.is_none() {
            let wording = self.wording(text, &meant.types, &meant.under);
            self.database.identities.borrow_mut().remember(&wording, meant.clone());
        }
        Ok(Statement::new(meant, name, naming, executes, self.serving.catalog_version))
    }

    fn prepared_before(&self, text: &str, types: &[Oid]) -> Option<Rc<Meant>> {
        let under = self.planned_under();
        let wording = self.wording(text, types, &under);
        let meant = self.database.identities.borrow_mut().meant(&wording)?;
        self.database.planner.borrow_mut().note_hit();
        Some(meant)
    }

    fn wording<'w>(&'w self, text: &'w str, types: &'w [Oid], under: &'w Under) -> Wording<'w> {
        let (user, meaning) = (self.login.user.as_str(), self.txn.settings.meaning());
        Wording { text, types, under, user, meaning }
    }

    /// What a text means now, and what it executes, if it is an EXECUTE.
    fn mean(
        &mut self,
        text: &str,
        types: Vec<Oid>,
        form: Form,
    ) -> Result<(Meant, Option<Rc<Statement>>), Stop> {
        let range = self.only_statement(text)?;
        let before = text.get(..range.start).unwrap_or_default().chars().count();
        let text = text.get(range).unwrap_or_default();
        let explained = explained::read(text, self.standard_conforming_strings());
        if explained.as_ref().is_some_and(|it| self.explains_executed(it).is_some()) {
            return Err(Error::refused(
                "EXPLAIN EXECUTE in the extended protocol is not supported",
                "send it as a simple query, or explain the statement itself with its parameters",
            )
            .into());
        }
        let explains = explained.and_then(|it| self.explains(&it).map(|planned| (it, planned)));
        let (planned, explains) = match explains {
            Some((explained, planned)) => {
                self.check_asked(&planned)?;
                (planned, Some(Explains { explained, said: text.to_owned() }))
            }
            None => (self.plan(text)?, None),
        };
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
        let settings = self.txn.settings.meaning().clone();
        let shift = i32::try_from(before).unwrap_or_default();
        let (sent, mut edit) = match &executes {
            Some((name, inner)) => {
                let outer = Edit { shift, ..Edit::default() };
                executing(text, name, inner, Some(&outer))
            }
            None if explains.is_some() => (text.to_owned(), Edit { shift, ..Edit::default() }),
            None => (planned.text(text).into_owned(), Edit { shift, ..Edit::default() }),
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
        // Plan and literals are those of the query, which stands at the same places.
        let query = explains.as_ref().map(|explains| explains.explained.query.clone());
        let text = query.unwrap_or_else(|| text.to_owned());
        let (under, encoding) = (self.planned_under(), self.encoding());
        edit.name.get_or_insert_with(|| (identity.name.clone(), String::new()));
        let edit = Rc::new(edit);
        let executes = executes.map(|(_, inner)| inner);
        let meant = Meant {
            under,
            text,
            sent,
            types,
            planned,
            form,
            identity,
            explains,
            encoding,
            settings,
            edit,
        };
        Ok((meant, executes))
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

    /// Asks the home shard for the types of a statement's parameters.
    pub(super) async fn described_types(
        &mut self,
        statement: &Statement,
    ) -> Result<Vec<Oid>, Stop> {
        Ok(self.describe_at_home(statement).await?.parameters)
    }

    /// Whether the result is still what the client was told, if the schema has changed since: a
    /// server that does not know the statement yet would prepare it anew.
    pub(super) async fn check_result(&mut self, statement: &Statement) -> Result<(), Stop> {
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
    pub(super) async fn describe_at_home(
        &mut self,
        statement: &Statement,
    ) -> Result<Described, Stop> {
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
    pub(super) fn note_descriptions(&mut self) {
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
        let now = self.txn.settings.meaning().clone();
        if now == statement.settings {
            self.send_parse(at, statement, show);
            return Ok(statement.server_name().to_owned());
        }
        let there = differences(&now.values, &statement.settings.values);
        let back = differences(&statement.settings.values, &now.values);
        self.whisper(at, &there, Show::Swallow);
        self.send_parse(at, statement, show);
        self.whisper(at, &back, Show::Swallow);
        Ok(statement.server_name().to_owned())
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
        self.database.counters.prepared();
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
        // What its client was told of it must still hold.
        self.note_descriptions();
        let known = self.statement(name)?;
        let under = self.planned_under();
        let inner = known.executes.as_ref();
        if known.under == under && inner.is_none_or(|inner| inner.under == under) {
            return Ok(known);
        }
        let (types, form) = (known.types.clone(), known.form.clone());
        let text = known.explains.as_ref().map_or(&known.text, |explains| &explains.said);
        let mut renewed = self.prepare(name, text, types, form, known.naming)?;
        let shift = known.edit.shift;
        renewed.edit = Rc::new(Edit { shift, ..(*renewed.edit).clone() });
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
            search_path: self.txn.settings.reading().search_path.clone(),
        }
    }

    /// The plan of a statement under this client's settings.
    pub(super) fn plan(&mut self, statement: &str) -> Result<Planned, Error> {
        let context = self.context();
        let found = self.database.planner.borrow_mut().find(statement, &context);
        let planned = match found {
            Ok(Found::Plan(planned)) => Ok(planned),
            Ok(Found::Nothing(shape)) => {
                let began = Instant::now();
                let made = self.database.planner.borrow_mut().make(statement, shape, &context);
                self.seen.planned(began.elapsed());
                if let Ok(planned) = &made {
                    self.database.plans.enter(&planned.plan);
                }
                made
            }
            Err(unroutable) => Err(unroutable),
        };
        let planned = planned.map_err(|unroutable| {
            self.database.counters.refused(unroutable.reason());
            // EXPLAIN cannot tell the plan of a query for the same reason as that cannot be run.
            let strings = self.standard_conforming_strings();
            let explained = explained::read(statement, strings).and_then(|explained| {
                self.database.planner.borrow_mut().plan(&explained.query, &self.context()).err()
            });
            let error = Error::from(explained.unwrap_or(unroutable));
            // As in PostgreSQL: in a failed transaction a statement is read, and no more.
            match self.refuse_if_failed(None) {
                Err(failed) if error.code != SqlState::SYNTAX_ERROR => failed,
                Ok(()) | Err(_) => error,
            }
        })?;
        self.check_asked(&planned)?;
        Ok(planned)
    }
}

/// A client's parameter types as a server numbers them.
pub(super) fn there(
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
