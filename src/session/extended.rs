//! The extended protocol. A message goes to its server as soon as that is known; everything up to a
//! Sync is one implicit transaction, as in PostgreSQL.
//!
//! Parse and Describe say nothing of a shard, so they wait (`unsited`) for the Bind that does, or
//! for the Sync.
use super::by_name;
use super::control::describe_own;
use super::portal::{Bound, Shared};
use super::prepared::already_prepared;
use super::segment::{Segment, Unsited};
use super::simple::Ended;
use super::statements::{Form, Naming, Statement};
use super::{Protocol, Session, Stop};
use crate::error::{Error, SqlState};
use crate::exec::relay::{Show, Step};
use crate::exec::running::Said;
use crate::ids::{HotKey, Oid};
use crate::plan::{Command, Route};
use crate::pool::shapes::Shape;
use crate::sql::control::Control;
use crate::wire::encode;
use crate::wire::frontend::{self, Format, Object};
use crate::wire::params::{Params, Value};
use crate::wire::value::oid;
use std::rc::Rc;

/// What a client has bound.
#[derive(Clone)]
pub enum Portal {
    /// On that participant, the shape that its calls are counted as, and what it runs; an SQL cursor's is
    /// not known.
    On(usize, Option<Shape>, Option<Ran>),
    /// A statement that weir acts on itself, when it is executed.
    Own(Rc<Statement>),
    /// The same after its Execute: it runs once.
    Spent(Rc<Statement>),
    /// Of a query whose rows are on several shards.
    Several(Shared),
}

/// What a portal on a server runs.
#[derive(Clone)]
pub struct Ran {
    statement: Rc<Statement>,
    /// It draws from sequences where it runs.
    draws: bool,
    said: Option<Rc<Said>>,
}

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
            frontend::Kind::Parse => match self.parse(body) {
                Err(Stop::Say(refusal)) => Err(Box::pin(self.judged_parse(body, refusal)).await),
                parsed => parsed,
            },
            frontend::Kind::Bind => match self.bind(body).await {
                // What has not been parsed yet may be wrong.
                Err(Stop::Say(refusal)) if refusal.code == SqlState::FEATURE_NOT_SUPPORTED => {
                    self.catch_up().await.and(Err(refusal.into()))
                }
                bound => bound,
            },
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

    fn parse(&mut self, body: &[u8]) -> Result<(), Stop> {
        let parse = frontend::Parse::read(body).map_err(Error::from)?;
        self.database.tally.borrow_mut().parses += 1;
        let name = parse.name_str().map_err(Error::from)?.to_owned();
        let text = self.readable(parse.sql)?;
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
        self.allow_budget(&statement.planned);
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

    async fn bind(&mut self, body: &[u8]) -> Result<(), Stop> {
        let bind = frontend::Bind::read(body).map_err(Error::from)?;
        self.database.tally.borrow_mut().binds += 1;
        let portal = bind.portal_str().map_err(Error::from)?.to_owned();
        let name = bind.statement_str().map_err(Error::from)?;
        let statement = self.current(name)?;
        self.begin_trace(&statement.text);
        self.allow_budget(&statement.planned);
        if let Command::Control(control) = &statement.planned.plan.command {
            self.refuse_if_failed(Some(control))?;
            self.refuse_open_portal(&portal)?;
            if !self.is_forwarded(&statement) {
                self.check_fetched_formats(control, &bind)?;
                self.keep_portal(portal, Portal::Own(statement));
                self.relay.local(encode::bind_complete);
                return Ok(());
            }
        } else {
            self.refuse_if_failed(None)?;
            self.refuse_open_portal(&portal)?;
        }
        if statement.planned.plan.command == Command::Ddl {
            self.keep_portal(portal, Portal::Own(statement));
            self.relay.local(encode::bind_complete);
            return Ok(());
        }
        self.check_result(&statement).await?;
        let drawn = match statement.planned.draw() {
            None => None,
            Some(draw) => {
                self.hold_unsited();
                let values = self.draw(draw).await?;
                let text = statement.planned.with_keys(draw, &values, &statement.text);
                let types = statement.types.clone();
                Some(Rc::new(self.prepare("", &text, types, Form::Parse, Naming::Unnamed)?))
            }
        };
        let has_drawn_key = drawn.is_some();
        let statement = drawn.unwrap_or(statement);
        let mut values = Vec::new();
        bind.values(&mut values);
        let route = self.route_bound(&statement, &values).await?;
        let params = Params { types: known_types(&statement), values: &values };
        self.sample(&statement.planned, &statement.text, &params);
        let route = match statement.explains {
            None => self.timed_route(&statement.planned, route),
            Some(_) => route,
        };
        if route == Route::Many && statement.planned.plan.copying.is_some() {
            self.keep_portal(portal, Portal::Own(statement));
            self.relay.local(encode::bind_complete);
            return Ok(());
        }
        if route == Route::Many {
            return match &statement.planned.plan.command {
                Command::Control(control) => {
                    self.bind_declare(portal, &statement, control, &bind).await
                }
                Command::Query | Command::CopyIn | Command::CopyOut | Command::Ddl => {
                    self.bind_wide(portal, statement, &bind, None).await
                }
            };
        }
        self.hold_unsited();
        let runs = statement.executes.as_ref().unwrap_or(&statement);
        let need = match &runs.planned.plan.command {
            Command::Control(control) => {
                let access = self.forwarded_access(control)?;
                self.own_need(access)
            }
            Command::Query | Command::CopyIn | Command::CopyOut | Command::Ddl => {
                self.need(&runs.planned)
            }
        };
        let runs = runs.clone();
        let shape = self.shape_of(&runs.planned, route);
        self.foresee(shape)?;
        self.await_turn(locked_row(&statement, &values), route, need.tier()).await?;
        let at = self.site_evenly(route, need).await?;
        self.tie(at, &runs.planned);
        self.note_configured(at, &runs.planned, &runs.text, &values)?;
        if let Command::Control(control) = &statement.planned.plan.command {
            self.note_forwarded(&control.clone(), at);
        }
        self.count(&statement.planned, at);
        let retold = self.retold_statement(at, &statement).await?;
        self.site_messages(at).await?;
        let statement = retold.unwrap_or(statement);
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
        let said = self.said(&runs.text, &values);
        let draws = !has_drawn_key && !runs.planned.plan.draws.is_empty();
        self.keep_portal(portal, Portal::On(at, shape, Some(Ran { statement: runs, draws, said })));
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
        if let Some(recalled) = statement.planned.recalled() {
            return Ok(self.recall(recalled)?);
        }
        // Types that the client gives for some parameters may decide others: `key IN ($1, $2)`.
        let declared = statement
            .types
            .iter()
            .filter(|given| !matches!(**given, Oid(0) | oid::UNKNOWN))
            .count();
        let partly = declared > 0 && declared < values.len();
        let asks = statement.planned.plan.needs_types() || partly;
        if asks && statement.identity.described.get().is_none() {
            let described = self.described_types(statement).await?;
            // Another bind of the same statement may have been quicker: both learnt the same.
            drop(statement.identity.described.set(described));
        }
        let params = Params { types: known_types(statement), values };
        Ok(statement.planned.route(&statement.text, &params, &self.serving.rules)?)
    }

    async fn describe(&mut self, body: &[u8]) -> Result<(), Stop> {
        let describe = frontend::Describe::read(body).map_err(Error::from)?;
        let name = describe.name_str().map_err(Error::from)?;
        match describe.object {
            Object::Statement => {
                let statement = self.statement(name)?;
                self.keep_budget(Some(self.tier(&statement.planned)));
                match &statement.planned.plan.command {
                    Command::Control(control) if self.fetched(control).is_some() => {
                        self.relay.local(|out| encode::parameter_description([].into_iter(), out));
                        if let Some(cursor) = self.fetched(control) {
                            self.describe_several(&cursor).await?;
                        }
                    }
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
                Portal::Several(portal) => self.describe_several(&portal).await?,
                Portal::Own(statement) | Portal::Spent(statement) => {
                    match &statement.planned.plan.command {
                        Command::Control(control) => match self.fetched(control) {
                            Some(cursor) => self.describe_several(&cursor).await?,
                            None => self.relay.local(|out| describe_own(control, out)),
                        },
                        Command::Query | Command::CopyIn | Command::CopyOut | Command::Ddl => {
                            self.relay.local(encode::no_data);
                        }
                    }
                }
                Portal::On(at, shape, _) => {
                    self.keep_budget(shape.map(|shape| shape.tier));
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
            Portal::Several(portal) => {
                Box::pin(self.execute_several(&portal, execute.max_rows)).await
            }
            Portal::On(at, shape, ran) => {
                self.keep_budget(shape.map(|shape| shape.tier));
                let call = self.admit(shape)?;
                self.site_messages(at).await?;
                self.send(at, |out| encode::execute(name.as_bytes(), execute.max_rows, out));
                self.relay.expect(at, Step::Execute, Show::Forward);
                self.txn.draws_only_on(Some(at));
                if let Some(Ran { statement, draws, said }) = ran {
                    self.begin_trace(&statement.text);
                    let mut running = self.running(&statement.planned, at, call);
                    running.said = said;
                    self.relay.time(running);
                    if draws {
                        self.txn.note_draws(at, &statement.planned.plan.draws);
                    }
                }
                Ok(())
            }
            Portal::Own(statement) => {
                if let Command::Control(control) = &statement.planned.plan.command {
                    self.check_fetched_rows(control, execute.max_rows)?;
                }
                self.allow_budget(&statement.planned);
                self.catch_up().await?;
                self.txn.remember_settings();
                self.begin_trace(&statement.text);
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
        } else {
            self.portals.exchange(name, Portal::Spent(statement));
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
                Box::pin(self.schema_observed(&statement.text, &planned)).await
            }
            Command::CopyIn | Command::CopyOut => {
                self.refuse_if_failed(None)?;
                let planned = self.plan(&statement.text)?;
                Box::pin(self.copy_observed(&statement.text, &planned)).await
            }
            Command::Query => {
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
                Some(Portal::On(at, ..)) => {
                    self.site_messages(at).await?;
                    self.send(at, |out| encode::close(Object::Portal, name.as_bytes(), out));
                    self.relay.expect(at, Step::Close, Show::Forward);
                }
                Some(Portal::Several(portal)) => {
                    self.close_several(&portal).await?;
                    self.relay.local(encode::close_complete);
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
        self.client.urgent = true;
        Ok(())
    }

    /// Whether a server holds a portal that the client may go on with.
    pub(super) fn has_open_portals(&self) -> bool {
        self.portals.values().any(|portal| match portal {
            Portal::On(..) => true,
            Portal::Several(portal) => portal.borrow().as_deref().is_some_and(Bound::is_open),
            Portal::Own(_) | Portal::Spent(_) => false,
        })
    }

    /// A portal, or the SQL cursor of that name: to PostgreSQL they are the same.
    fn portal(&self, name: &str) -> Result<Portal, Error> {
        if let Some(portal) = self.portals.get(name) {
            return Ok(portal.clone());
        }
        let cursor = self.cursors.get(name).and_then(|cursor| self.txn.find(cursor.shard));
        cursor.map(|at| Portal::On(at, None, None)).ok_or_else(|| {
            Error::client(
                SqlState::INVALID_CURSOR_NAME,
                format!("portal \"{name}\" does not exist"),
            )
        })
    }
}

/// As a server has described them, else as the client has said.
fn known_types(statement: &Statement) -> &[Oid] {
    statement.identity.described.get().unwrap_or(&statement.types)
}

fn locked_row(statement: &Statement, values: &[Value<'_>]) -> Option<HotKey> {
    if let (Command::Control(Control::Execute { arguments, .. }), Some(inner)) =
        (&statement.planned.plan.command, &statement.executes)
    {
        let row = |params: &Params<'_>| inner.planned.lock_target(&inner.text, params);
        return by_name::with_arguments(inner, arguments, row);
    }
    let params = Params { types: known_types(statement), values };
    statement.planned.lock_target(&statement.text, &params)
}
