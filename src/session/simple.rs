//! The simple protocol: one text, one or more statements, each routed for itself.
use super::control::{describe_own, own_columns};
use super::{Session, Stop};
use crate::error::{Error, SqlState};
use crate::exec::relay::Show;
use crate::plan::{Command, Planned, Route};
use crate::sql;
use crate::sql::control::Control;
use crate::txn::{Block, Status};
use crate::wire::params::Params;
use crate::wire::{encode, error_response};

/// Whether the message ended the session.
pub(super) struct Ended;

impl Session {
    pub(super) async fn simple_query(&mut self, text: &[u8]) -> Result<(), Ended> {
        let mut outcome = self.run_text(text).await;
        if self.txn.status() == Status::Open(Block::Implicit) && outcome.is_ok() {
            outcome = self.commit(Show::Swallow).await;
        }
        match outcome {
            Ok(()) => {}
            Err(Stop::Say(error)) => {
                self.told(&error);
                self.txn.fail();
            }
            Err(Stop::Said) => self.txn.fail(),
            Err(Stop::End) => return Err(Ended),
        }
        if self.txn.status() == Status::Failed(Block::Implicit) {
            self.roll_back(Show::Discard).await.or_else(|stop| match stop {
                Stop::End => Err(Ended),
                Stop::Say(_) | Stop::Said => Ok(()),
            })?;
        }
        self.settle().await;
        encode::ready(self.txn.status().wire(), &mut self.client.output);
        Ok(())
    }

    /// An error of weir's own, to the client and the metrics.
    pub(super) fn told(&mut self, error: &Error) {
        self.database.metrics.error(error.blame);
        error_response::write(error, &mut self.client.output);
    }

    async fn run_text(&mut self, text: &[u8]) -> Result<(), Stop> {
        let text = self.readable(text)?.to_owned();
        let statements =
            sql::split::split(&text, self.standard_conforming_strings()).map_err(Error::from)?;
        match statements.as_slice() {
            [] => {
                encode::empty_query(&mut self.client.output);
                Ok(())
            }
            [one] => self.simple_statement(text.get(one.clone()).unwrap_or_default()).await,
            several => {
                for range in several {
                    if self.txn.status() == Status::Idle {
                        self.txn.begin(Block::Implicit, "");
                    }
                    self.simple_statement(text.get(range.clone()).unwrap_or_default()).await?;
                }
                Ok(())
            }
        }
    }

    pub(super) async fn simple_statement(&mut self, statement: &str) -> Result<(), Stop> {
        let planned = self.plan(statement)?;
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
                self.schema_statement(statement, &planned).await
            }
            Command::Query | Command::CopyIn | Command::CopyOut => {
                self.refuse_if_failed(None)?;
                let route = planned.route(statement, &Params::default(), &self.serving.rules);
                self.run_routed(statement, &planned, route?).await
            }
        }
    }

    async fn run_routed(
        &mut self,
        statement: &str,
        planned: &Planned,
        route: Route,
    ) -> Result<(), Stop> {
        let at = self.site_evenly(route, planned.plan.access).await?;
        self.tie(at, planned);
        self.count(planned, at);
        let text = planned.text(statement);
        self.ask(at, &text, Show::Forward);
        self.drain().await
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
