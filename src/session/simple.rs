//! The simple protocol: one text, one or more statements, each routed for itself.
use super::control::{describe_own, own_columns};
use super::segment::Segment;
use super::{Session, Stop};
use crate::error::{Error, SqlState};
use crate::exec::relay::{Edit, Show, Step};
use crate::plan::several::Scattered;
use crate::plan::{Access, Command, Planned, Recalled, Route, Unroutable};
use crate::sql;
use crate::sql::control::Control;
use crate::sql::explained::{self, Explained};
use crate::sql::lexer::{Lexer, TokenKind};
use crate::txn::{Block, Status};
use crate::wire::params::Params;
use crate::wire::{encode, error_response};
use std::ops::Range;
use std::rc::Rc;

/// Whether the message ended the session.
pub(super) struct Ended;

impl Session {
    pub(super) async fn simple_query(&mut self, text: &[u8]) -> Result<(), Ended> {
        let mut outcome = self.run_text(text).await;
        if self.txn.status() == Status::Open(Block::Implicit) && outcome.is_ok() {
            outcome = self.commit(Show::Swallow).await;
        }
        self.conclude_simple(outcome).await
    }

    /// The end of a message that is answered with ReadyForQuery.
    pub(super) async fn conclude_simple(&mut self, outcome: Result<(), Stop>) -> Result<(), Ended> {
        match outcome {
            Ok(()) => {}
            Err(Stop::Say(error)) => {
                self.told(&error);
                self.txn.fail();
            }
            Err(Stop::Said) => self.txn.fail(),
            Err(Stop::End) => return Err(Ended),
        }
        self.configured.clear();
        self.note_nothing();
        self.seen.trace = None;
        // A simple query is no segment: what follows an error is not skipped.
        self.segment = Segment::Sound;
        if self.txn.status() == Status::Failed(Block::Implicit) {
            self.roll_back(Show::Discard).await.or_else(|stop| match stop {
                Stop::End => Err(Ended),
                Stop::Say(_) | Stop::Said => Ok(()),
            })?;
        }
        self.txn.segment_done();
        self.relay.budget.end();
        self.let_go_of_locks().await?;
        self.settle().await;
        self.end_turn();
        if self.is_in_refused_block() {
            return Err(Box::pin(self.refuse_block()).await);
        }
        self.ready();
        Ok(())
    }

    /// The fast-path interface: where there is one server, it goes there as it is.
    pub(super) async fn function_call(&mut self, body: &[u8]) -> Result<(), Ended> {
        if !self.leave_segment().await? {
            return Ok(());
        }
        let outcome = self.call_function(body).await;
        self.conclude_simple(outcome).await
    }

    async fn call_function(&mut self, body: &[u8]) -> Result<(), Stop> {
        if !self.serving.rules.is_plain() {
            return Err(Error::refused(
                "the function call protocol is not supported over several shards",
                "call the function in a SELECT",
            )
            .into());
        }
        self.refuse_if_failed(None)?;
        self.keep_budget(None);
        let at =
            self.site(Route::One(self.serving.rules.home), self.own_need(Access::Write)).await?;
        if let Some(participant) = self.txn.participants.get_mut(at) {
            participant.unsynced = false;
            let output = &mut participant.lease.output;
            encode::message(b'F', output, |out| out.extend_from_slice(body));
            self.relay.expect(at, Step::Query, Show::Forward);
        }
        self.drain().await
    }

    /// An error of weir's own, to the client and the metrics.
    pub(super) fn told(&mut self, error: &Error) {
        self.note_own_error(error);
        error_response::write(error, &mut self.client.output);
    }

    async fn run_text(&mut self, text: &[u8]) -> Result<(), Stop> {
        let text = self.readable(text)?;
        if let Some(single) = sql::split::single(&text) {
            self.edit = None;
            return self.simple_statement(single).await;
        }
        let statements = match sql::split::split(&text, self.standard_conforming_strings()) {
            Ok(statements) => statements,
            Err(wrong) => return Err(Box::pin(self.judged(&text, &[], 0, wrong.into())).await),
        };
        match statements.as_slice() {
            [] => {
                encode::empty_query(&mut self.client.output);
                Ok(())
            }
            [one] => self.run_part(&text, one.clone()).await,
            several => {
                if let Some(outcome) = self.run_whole(&text, several).await {
                    return outcome;
                }
                Box::pin(self.check_syntax(&text, several)).await?;
                for range in several {
                    if self.txn.status() == Status::Idle {
                        self.txn.begin(Block::Implicit, "");
                    }
                    self.run_part(&text, range.clone()).await?;
                }
                Ok(())
            }
        }
    }

    /// One statement of a text; errors point into the whole text.
    async fn run_part(&mut self, text: &str, range: Range<usize>) -> Result<(), Stop> {
        let before = text.get(..range.start).unwrap_or_default().chars().count();
        let shift = i32::try_from(before).unwrap_or_default();
        self.edit = (shift > 0).then(|| Rc::new(Edit { shift, ..Edit::default() }));
        let outcome = self.simple_statement(text.get(range).unwrap_or_default()).await;
        self.edit = None;
        outcome
    }

    /// Several statements that all go to one server, and none of which weir has to act on, go there
    /// in one message: the implicit transaction is PostgreSQL's own. `None`: they do not.
    async fn run_whole(
        &mut self,
        text: &str,
        statements: &[Range<usize>],
    ) -> Option<Result<(), Stop>> {
        if matches!(self.txn.status(), Status::Failed(_)) {
            return None;
        }
        let (mut route, mut row) = (Route::Any, None);
        let mut all = Vec::with_capacity(statements.len());
        for range in statements {
            let statement = text.get(range.clone()).unwrap_or_default();
            // The statement that it names is the session's own.
            let explained = explained::read(statement, self.standard_conforming_strings());
            if explained.is_some_and(|it| self.explains_executed(&it).is_some()) {
                return None;
            }
            // What cannot be planned or routed is told in its turn.
            let planned = self.plan(statement).ok()?;
            let goes =
                matches!(planned.plan.command, Command::Query | Command::CopyIn | Command::CopyOut);
            if !goes || planned.plan.settings || planned.text(statement) != statement {
                return None;
            }
            match planned.route(statement, &Params::default(), &self.serving.rules).ok()? {
                Route::Any => {}
                one @ Route::One(_) if route == Route::Any || route == one => route = one,
                Route::One(_) | Route::Many | Route::Every | Route::Proxy => return None,
            }
            row = row.or_else(|| planned.lock_target(statement, &Params::default()));
            all.push(planned);
        }
        if let Route::One(shard) = route
            && all.iter().any(tells_time)
            && self.txn.is_other_time_on(shard)
        {
            return None;
        }
        if let Some(first) = all.first() {
            self.begin_budget(first);
        }
        // Their times cannot be told apart, so they are not counted, but they may be refused.
        for planned in &all {
            if let Err(refused) = self.foresee(self.shape_of(planned, route)) {
                return Some(Err(refused.into()));
            }
        }
        let need = self.need_of_all(&all);
        if let Err(stop) = self.await_turn(row, route, need.tier()).await {
            return Some(Err(stop));
        }
        let at = match self.site_evenly(route, need).await {
            Ok(at) => at,
            Err(stop) => return Some(Err(stop)),
        };
        for planned in &all {
            self.tie(at, planned);
            self.count(planned, at);
        }
        self.begin_trace(text);
        self.ask(at, text, Show::Forward);
        // As in PostgreSQL's own log, one text is one statement.
        if let Some(first) = all.first() {
            let running = self.running(first, at, None);
            self.relay.time(running);
            self.relay.asked();
        }
        Some(self.drain().await)
    }

    pub(super) async fn simple_statement(&mut self, statement: &str) -> Result<(), Stop> {
        if let Some(explained) = explained::read(statement, self.standard_conforming_strings())
            && let Some(outcome) = Box::pin(self.explain_own(&explained)).await
        {
            return outcome;
        }
        self.begin_trace(statement);
        let planned = match self.plan(statement) {
            Ok(planned) => planned,
            Err(refusal) => return Err(Box::pin(self.judged_here(statement, refusal)).await),
        };
        self.begin_budget(&planned);
        match &planned.plan.command {
            Command::Control(control) => {
                let control = control.clone();
                self.refuse_if_failed(Some(&control))?;
                if own_columns(&control).is_some() {
                    describe_own(&control, &mut self.client.output);
                }
                self.control(control, statement).await
            }
            Command::Ddl => {
                self.refuse_if_failed(None)?;
                Box::pin(self.schema_observed(statement, &planned)).await
            }
            Command::Query | Command::CopyIn | Command::CopyOut => {
                self.refuse_if_failed(None)?;
                if let Some(draw) = planned.draw() {
                    let values = self.draw(draw).await?;
                    let statement = planned.with_keys(draw, &values, statement);
                    let planned = self.plan(&statement)?;
                    let route = planned.route(&statement, &Params::default(), &self.serving.rules);
                    self.run_routed(&statement, &planned, route?).await?;
                    // Which of its values is the last depends on the order of the columns.
                    self.txn.draws_only_on(None);
                    return Ok(());
                }
                let route = match planned.recalled() {
                    Some(recalled) => self.recall(recalled),
                    None => planned.route(statement, &Params::default(), &self.serving.rules),
                };
                match route {
                    Ok(route) => {
                        let ran = self.run_routed(statement, &planned, route).await;
                        self.database.planner.borrow_mut().give_back(planned);
                        ran
                    }
                    Err(refusal) => {
                        Err(Box::pin(self.judged_here(statement, refusal.into())).await)
                    }
                }
            }
        }
    }

    /// `None`: it goes the way of other statements.
    async fn explain_own(&mut self, explained: &Explained) -> Option<Result<(), Stop>> {
        if let Some(control) = self.explains_executed(explained) {
            return Some(self.explain_executed(explained, &control).await);
        }
        let planned = self.explains(explained)?;
        let route = planned.route(&explained.query, &Params::default(), &self.serving.rules);
        if !matches!(route, Ok(Route::Many)) {
            return None;
        }
        if let Err(refused) = refuse_parameters(&planned) {
            return Some(Err(refused.into()));
        }
        Some(self.explain_several(explained, &planned).await)
    }

    async fn run_routed(
        &mut self,
        statement: &str,
        planned: &Planned,
        route: Route,
    ) -> Result<(), Stop> {
        self.sample(planned, statement, &Params::default());
        let route = self.timed_route(planned, route);
        if route == Route::Many {
            refuse_parameters(planned)?;
            if planned.plan.copying.is_some() {
                return Box::pin(self.copy_observed(statement, planned)).await;
            }
            return Box::pin(self.run_several(statement, planned)).await;
        }
        self.foresee(self.shape_of(planned, route))?;
        let row = planned.lock_target(statement, &Params::default());
        self.await_turn(row, route, self.tier(planned)).await?;
        let call = self.admit(self.shape_of(planned, route))?;
        let at = self.site_evenly(route, self.need(planned)).await?;
        self.tie(at, planned);
        self.count(planned, at);
        self.note_configured(at, planned, statement, &[])?;
        let outer = self.edit.clone();
        match self.retold(at, statement, planned).await? {
            None => self.ask(at, &self.handed_on(planned.text(statement)), Show::Forward),
            Some(sent) => {
                let shift = outer.as_ref().map_or(0, |edit| edit.shift);
                let text = sent.text.clone();
                let spliced = Some((sent, statement.to_owned()));
                self.edit = Some(Rc::new(Edit { shift, name: None, spliced }));
                self.ask(at, &text, Show::Forward);
            }
        }
        self.edit = outer;
        let mut running = self.running(planned, at, call);
        running.said = self.said(statement, &[]);
        self.relay.time(running);
        self.relay.asked();
        self.drain().await?;
        self.txn.note_draws(at, &planned.plan.draws);
        self.learn_configured().await
    }

    /// Where the transaction has drawn what is asked for.
    pub(super) fn recall(&self, recalled: &Recalled) -> Result<Route, Unroutable> {
        self.txn.recall(recalled).map(Route::One).ok_or_else(|| recalled.unknown())
    }

    /// In a failed transaction only its end is taken.
    pub(super) fn refuse_if_failed(&self, control: Option<&Control>) -> Result<(), Error> {
        let ends = matches!(
            control,
            Some(Control::Commit { .. } | Control::Rollback { .. } | Control::RollbackTo { .. })
        );
        match self.txn.status() {
            Status::Failed(_) if !ends => Err(Error::client(
                SqlState::IN_FAILED_SQL_TRANSACTION,
                "current transaction is aborted, commands ignored until end of transaction block",
            )),
            _ => Ok(()),
        }
    }
}

/// Where it runs on one server.
fn tells_time(planned: &Planned) -> bool {
    let by_default = planned.plan.scattered.as_deref().is_some_and(Scattered::tells_default);
    by_default || !planned.plan.times.is_empty()
}

/// A simple query gives no parameters values.
fn refuse_parameters(planned: &Planned) -> Result<(), Unroutable> {
    let text = &planned.shape.text;
    let mut tokens = Lexer::of_shape(text).map_while(Result::ok);
    let parameter = tokens.find(|token| token.kind == TokenKind::Parameter);
    match parameter.and_then(|token| token.text(text).strip_prefix('$')?.parse().ok()) {
        Some(number) => Err(Unroutable::NoParameter(number)),
        None => Ok(()),
    }
}
