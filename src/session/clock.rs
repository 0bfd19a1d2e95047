//! `now()` is one value in all of a transaction, over all its shards: that of the server on which it began.
//! Statements that run elsewhere have it written in; who does not need it asks for nothing.
use super::several::Asked;
use super::statements::{Naming, Statement};
use super::{Protocol, Session, Stop};
use crate::error::Error;
use crate::exec::relay::{Edit, Show};
use crate::plan::{Planned, Route};
use crate::session::schema::captured_rows;
use crate::sql::moment::{self, Moment};
use crate::sql::rewrite::{Rendered, Template};
use crate::wire::params::Params;
use std::rc::Rc;

impl Session {
    /// What time it is in the client's transaction, and for the statement that runs: one server's word,
    /// for all that are asked.
    pub(super) async fn moment(&mut self, asked: &Asked<'_>) -> Result<Moment, Stop> {
        let at = match self.txn.clock().or(self.txn.begun().first().copied()) {
            Some(at) => at,
            None => {
                let params = Params { types: asked.types, values: asked.values };
                let shards = asked.planned.shards(asked.text, &params, &self.serving.rules)?;
                let first = shards.first().copied().unwrap_or(self.serving.rules.home);
                self.site_on(first, self.need(asked.planned)).await?
            }
        };
        self.ask_time(at).await
    }

    /// Before the transaction on the server where it began ends, though the client's goes on.
    pub(super) async fn keep_time(&mut self) -> Result<(), Stop> {
        let clock = self.txn.clock().filter(|_| self.txn.now().is_none());
        let used = |at: &usize| self.txn.participants.get(*at).is_some_and(|clock| clock.used);
        match clock.filter(used) {
            Some(at) => self.ask_time(at).await.map(drop),
            None => Ok(()),
        }
    }

    async fn ask_time(&mut self, at: usize) -> Result<Moment, Stop> {
        self.relay.captured.clear();
        match self.protocol {
            Protocol::Simple => self.say(at, moment::QUESTION, Show::Capture).await?,
            // A simple query would end the client's unnamed portal there.
            Protocol::Extended => {
                self.whisper(at, &[moment::QUESTION.to_owned()], Show::Capture);
                self.ask_for_answers();
                self.drain().await?;
            }
        }
        let captured = self.relay.captured.split();
        let rows = captured_rows(&captured)?;
        match rows.first().map(Vec::as_slice) {
            Some(&[Some(transaction), Some(statement)]) => Ok(Moment {
                transaction: self.txn.note_time(transaction).to_owned(),
                statement: statement.to_owned(),
            }),
            _ => Err(Error::internal("a server does not know what time it is").into()),
        }
    }

    /// An INSERT whose columns are the time by default goes the way of rows of several shards, if its
    /// shard would give them another time than the transaction's.
    pub(super) fn timed_route(&self, planned: &Planned, route: Route) -> Route {
        let scattered = planned.plan.scattered.as_deref();
        match route {
            Route::One(shard)
                if self.txn.is_other_time_on(shard)
                    && scattered.is_some_and(|scattered| scattered.tells_default()) =>
            {
                Route::Many
            }
            Route::One(_) | Route::Many | Route::Any | Route::Every | Route::Proxy => route,
        }
    }

    /// A statement as that participant has to be sent it, if its own time is not the transaction's.
    pub(super) async fn retold(
        &mut self,
        at: usize,
        statement: &str,
        planned: &Planned,
    ) -> Result<Option<Rendered>, Stop> {
        let plan = planned.plan.clone();
        if plan.times.is_empty() || !self.txn.is_other_time(at) {
            return Ok(None);
        }
        if plan.times.iter().any(|time| time.is_rows) {
            return Err(Error::refused(
                "the time in FROM, on another shard than that on which the transaction began",
                "write (SELECT now() AS now) in FROM",
            )
            .into());
        }
        let moment = match (self.txn.now(), self.txn.clock()) {
            (Some(now), _) => Moment { transaction: now.to_owned(), statement: now.to_owned() },
            (None, Some(clock)) => self.ask_time(clock).await?,
            (None, None) => return Ok(None),
        };
        let template = Template::spliced(&planned.shape, &plan.splices).telling(&plan.times);
        Ok(Some(template.rendered(statement, &planned.shape, Some(&moment))))
    }

    /// The same of one that was prepared.
    pub(super) async fn retold_statement(
        &mut self,
        at: usize,
        statement: &Rc<Statement>,
    ) -> Result<Option<Rc<Statement>>, Stop> {
        if statement.explains.is_some() {
            return Ok(None);
        }
        let inner = statement.executes.as_ref().unwrap_or(statement);
        let Some(sent) = self.retold(at, &inner.text, &inner.planned).await? else {
            return Ok(None);
        };
        if statement.executes.is_some() {
            return Err(Error::refused(
                "an EXECUTE of a statement that tells the time, on another shard than that on which \
                 the transaction began, in the extended protocol",
                "bind the statement itself, or send EXECUTE as a simple query",
            )
            .into());
        }
        let identity = self.database.identities.borrow_mut().alone();
        let name =
            statement.edit.name.as_ref().map(|(_, ours)| (identity.name.clone(), ours.clone()));
        let text = sent.text.clone();
        let edit = Rc::new(Edit {
            shift: statement.edit.shift,
            name,
            spliced: Some((sent, statement.text.clone())),
        });
        Ok(Some(Rc::new(statement.sent_as(text, identity, edit, Naming::Unnamed))))
    }
}
