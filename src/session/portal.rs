//! Portals of queries whose rows are on several shards, and SQL cursors over them (`cursor`). The client's
//! portal is weir's own; an Execute that limits its rows makes one on each server, which pauses when the
//! client's does.
use super::control::over_several;
use super::cursor::{Declared, Place};
use super::merged::formats;
use super::segment::Unsited;
use super::several::{Answer, Asked, Carried, Kind};
use super::statements::Statement;
use super::together::Wording;
use super::{Session, Stop};
use crate::error::{Error, SqlState};
use crate::exec::fan_out::FanOut;
use crate::ids::Oid;
use crate::plan::{Access, Command, Route};
use crate::wire::encode;
use crate::wire::frontend::{Bind, Format};
use crate::wire::params::Value;
use crate::wire::server::{Field, RowDescription};
use bytes::Bytes;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Instant;

/// A portal; taken out while it runs.
pub(super) type Shared = Rc<RefCell<Option<Box<Bound>>>>;

/// What a client has bound.
pub struct Bound {
    /// As the client calls the portal.
    pub(super) client_name: String,
    pub(super) statement: Rc<Statement>,
    /// The parameters as a Bind with empty names has them.
    message: Vec<u8>,
    pub(super) results: Vec<Format>,
    /// Of the portals on the servers.
    name: String,
    pub(super) stage: Stage,
    /// So many savepoints were open when it was first executed.
    pub(super) inside: usize,
    pub(super) place: Place,
    /// RowDescription's body, once it has begun.
    pub(super) columns: Bytes,
}

impl Bound {
    pub(super) fn new(
        client_name: String,
        statement: Rc<Statement>,
        message: Vec<u8>,
        name: String,
    ) -> Self {
        let (stage, place) = (Stage::Bound, Place::Before);
        let (results, columns) = (Vec::new(), Bytes::new());
        Self { client_name, statement, message, results, name, stage, inside: 0, place, columns }
    }

    fn asked<'q>(
        &'q self,
        batch: Option<i32>,
        values: &'q [Value<'q>],
        parameters: &'q [u8],
    ) -> Asked<'q> {
        let statement = &self.statement;
        Asked {
            text: &statement.text,
            planned: &statement.planned,
            types: statement.identity.described.get().unwrap_or(&statement.types),
            values,
            parameters,
            results: &self.results,
            batch,
            name: &self.name,
            portal: Some(&self.client_name),
            shift: statement.edit.shift,
            moment: None,
            statement: Some(statement),
        }
    }

    /// It has begun.
    pub(super) fn opened(&mut self, answer: Answer) {
        self.columns = answer.columns.clone();
        self.stage = Stage::Open(Box::new(answer));
    }

    /// Whether servers hold it, too.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Open(_))
    }

    /// As messages speak of it.
    pub(super) fn told_name(&self) -> String {
        match self.client_name.as_str() {
            "" => String::from("the unnamed portal"),
            named => format!("portal \"{named}\""),
        }
    }

    /// A savepoint was rolled back, and with it what servers have made since; so many are left.
    pub(super) fn roll_back(&mut self, depth: usize) -> Option<Box<Answer>> {
        if self.inside < depth || !self.is_open() {
            return None;
        }
        match std::mem::replace(&mut self.stage, Stage::Undone) {
            Stage::Open(answer) => Some(answer),
            Stage::Bound | Stage::Declares(_) | Stage::Undone | Stage::Told(_) | Stage::Done(_) => {
                None
            }
        }
    }

    /// A savepoint was released; so many are left.
    pub(super) fn release(&mut self, depth: usize) {
        self.inside = self.inside.min(depth);
    }
}

pub(super) enum Stage {
    Bound,
    /// The cursor that its Execute declares.
    Declares(Declared),
    Open(Box<Answer>),
    /// Rows that weir has made itself: of EXPLAIN.
    Told(VecDeque<Vec<u8>>),
    /// A savepoint before its first execution was rolled back.
    Undone,
    /// Every row has been given: what another Execute says. `Err`: it cannot be executed again.
    Done(Result<String, ()>),
}

impl Session {
    /// `declared`: the statement is the query of that cursor.
    pub(super) async fn bind_wide(
        &mut self,
        portal: String,
        statement: Rc<Statement>,
        bind: &Bind<'_>,
        declared: Option<Declared>,
    ) -> Result<(), Stop> {
        if statement.planned.plan.command != Command::Query {
            return Err(over_several("a cursor or an EXECUTE").into());
        }
        self.refuse_other_meaning(&statement)?;
        self.foresee(self.shape_of(&statement.planned, Route::Many))?;
        self.spare_parse(&statement);
        let takes_some = bind.count() > 0 || has_parameters(&statement.planned.shape.text);
        if takes_some && statement.identity.described.get().is_none() {
            let described = self.described_types(&statement).await?;
            drop(statement.identity.described.set(described));
        }
        self.catch_up().await?;
        let wanted = statement.identity.described.get().map_or(bind.count(), Vec::len);
        if bind.count() != wanted {
            return Err(Error::client(
                SqlState::PROTOCOL_VIOLATION,
                format!(
                    "bind message supplies {} parameters, but prepared statement \"{}\" requires \
                     {wanted}",
                    bind.count(),
                    String::from_utf8_lossy(bind.statement)
                ),
            )
            .into());
        }
        let message = [&[0, 0], bind.tail_after_statement()].concat();
        let name = self.unused_name();
        let mut bound = Bound::new(portal.clone(), statement, message, name);
        match declared {
            None => bound.results = bind.result_formats().collect(),
            Some(declared) => {
                bound.results = declared.formats();
                bound.stage = Stage::Declares(declared);
            }
        }
        let bound = super::extended::Portal::Several(Rc::new(RefCell::new(Some(Box::new(bound)))));
        self.keep_portal(portal, bound);
        self.relay.local(encode::bind_complete);
        Ok(())
    }

    /// What the home shard has described before, under the same schema and settings, it need not parse only
    /// for a client to be told that it can.
    fn spare_parse(&mut self, statement: &Rc<Statement>) {
        let alone = match self.unsited.front() {
            Some(Unsited::Parse(parsed)) => {
                self.unsited.len() == 1 && self.held.is_empty() && Rc::ptr_eq(parsed, statement)
            }
            Some(Unsited::Describe(_)) | None => false,
        };
        if !alone || statement.identity.columns.get().is_none() {
            return;
        }
        self.forget_unsited();
    }

    /// It would be read anew on every shard, under the settings of now.
    pub(super) fn refuse_other_meaning(&self, statement: &Statement) -> Result<(), Error> {
        match statement.means_the_same(&self.txn.settings) {
            true => Ok(()),
            false => Err(Error::refused(
                "a query over several shards that was prepared under other settings",
                "prepare it again",
            )),
        }
    }

    /// A name that no other open portal has on the servers. There are as few as are open at a time.
    pub(super) fn unused_name(&self) -> String {
        let mut taken = Vec::new();
        for portal in self.portals.values() {
            if let super::extended::Portal::Several(portal) = portal
                && let Some(bound) = portal.borrow().as_deref()
            {
                taken.push(bound.name.clone());
            }
        }
        let names = (0..=taken.len()).map(|number| format!("weir_all_{number}"));
        names.into_iter().find(|name| !taken.contains(name)).unwrap_or_default()
    }

    /// As the home shard describes the client's own statement, in the formats that were bound.
    pub(super) async fn describe_several(&mut self, portal: &Shared) -> Result<(), Stop> {
        self.catch_up().await?;
        let (statement, results) = match portal.borrow().as_deref() {
            Some(Bound { stage: Stage::Declares(_), .. }) => {
                self.relay.local(encode::no_data);
                return Ok(());
            }
            Some(bound) => {
                self.refuse_if_failed(None)?;
                (bound.statement.clone(), bound.results.clone())
            }
            None => return Err(Error::internal("a portal is described while it runs").into()),
        };
        if statement.identity.columns.get().is_none() {
            let rows = self.describe_at_home(&statement).await?.rows;
            drop(statement.identity.columns.set(rows));
        }
        let Some(Some(body)) = statement.identity.columns.get() else {
            self.relay.local(encode::no_data);
            return Ok(());
        };
        let formats = formats(&results, body, 0)?;
        let described = RowDescription::read(body).map_err(Error::from)?;
        let fields = described.fields().zip(formats);
        let fields: Vec<_> = fields.map(|(field, format)| Field { format, ..field }).collect();
        self.relay.local(|out| encode::row_description(&fields, out));
        Ok(())
    }

    pub(super) async fn execute_several(
        &mut self,
        portal: &Shared,
        max_rows: i32,
    ) -> Result<(), Stop> {
        self.catch_up().await?;
        self.refuse_if_failed(None)?;
        let Some(mut bound) = portal.borrow_mut().take() else {
            return Err(Error::internal("a portal is executed while it runs").into());
        };
        self.allow_budget(&bound.statement.planned);
        if let Stage::Declares(declared) = &bound.stage {
            let (declared, statement) = (declared.clone(), bound.statement.clone());
            let portal = std::mem::take(&mut bound.client_name);
            self.declare_wide(declared, *bound).await?;
            self.portals.exchange(&portal, super::extended::Portal::Spent(statement));
            return Ok(());
        }
        let call = self.admit(self.shape_of(&bound.statement.planned, Route::Many))?;
        self.begin_trace(&bound.statement.text);
        let running = self.running_on_several(&bound.statement.planned, call);
        let outcome = self.advance(&mut bound, max_rows).await;
        *portal.borrow_mut() = Some(bound);
        self.ended_on_several(running, &outcome);
        if self.relay.budget.is_on() {
            self.relay.budget.renew(Instant::now());
        }
        outcome
    }

    async fn advance(&mut self, bound: &mut Bound, max_rows: i32) -> Result<(), Stop> {
        /// Read from each server at a time, if the client limits its rows to more.
        const MOST: i32 = 1000;
        let (batch, most) = match u64::try_from(max_rows) {
            Ok(0) | Err(_) => (0, None),
            Ok(most) => (max_rows.min(MOST), Some(most)),
        };
        // What fails cannot be executed again.
        let mut stage = std::mem::replace(&mut bound.stage, Stage::Done(Err(())));
        let begins = matches!(stage, Stage::Bound);
        if begins {
            bound.inside = self.txn.depth();
            stage = match &bound.statement.explains {
                None => {
                    let answer = self.begin_bound(bound, Some(batch), None).await?;
                    bound.columns = answer.columns.clone();
                    Stage::Open(Box::new(answer))
                }
                Some(_) => Stage::Told(Box::pin(self.explain_bound(bound)).await?.into()),
            };
        }
        let mut answer = match stage {
            Stage::Bound | Stage::Declares(_) => {
                return Err(Error::internal("a portal did not begin").into());
            }
            Stage::Done(tag) => {
                let outcome = match &tag {
                    Ok(tag) => self.complete(tag),
                    Err(()) => Err(cannot_be_run(&bound.client_name).into()),
                };
                bound.stage = Stage::Done(tag);
                return outcome;
            }
            Stage::Undone => {
                bound.stage = Stage::Undone;
                return Err(undone(bound).into());
            }
            Stage::Told(rows) => return self.tell(bound, rows, most),
            Stage::Open(answer) => answer,
        };
        if !begins {
            answer.fan.within = self.within();
        }
        answer.fan.batch = match answer.kind {
            Kind::Query => Some(batch),
            // PostgreSQL, too, runs it to its end at once.
            Kind::Write
            | Kind::Copies(_)
            | Kind::CopiesAlike
            | Kind::Moves(_)
            | Kind::Selected(_) => Some(0),
        };
        answer.fan.resume(&mut self.txn.participants);
        if answer.kind != Kind::Query {
            self.await_success(&mut answer.fan, &answer.wording).await?;
        }
        let mut carried = self.carry(&mut answer, most).await?;
        if carried == Carried::TooLarge {
            *answer = self.begin_bound(bound, Some(batch), Some(&answer)).await?;
            carried = self.carry(&mut answer, most).await?;
        }
        match carried {
            Carried::TooLarge => Err(Error::internal("a gathered answer took memory").into()),
            Carried::All { rows } => {
                bound.place = bound.place.moved(rows, None);
                let tag = answer.tag(rows);
                bound.stage = Stage::Done(match (answer.kind, answer.columns.is_empty()) {
                    (Kind::Query, _) => Ok(String::from("SELECT 0")),
                    (_, false) => Ok(answer.tag(0)),
                    (_, true) => Err(()),
                });
                self.complete(&tag)
            }
            Carried::Paused => {
                bound.place = bound.place.moved(most.unwrap_or(0), most);
                encode::portal_suspended(&mut self.client.output);
                bound.stage = Stage::Open(answer);
                Ok(())
            }
        }
    }

    /// Gives so many rows of those that weir has made.
    fn tell(
        &mut self,
        bound: &mut Bound,
        mut rows: VecDeque<Vec<u8>>,
        most: Option<u64>,
    ) -> Result<(), Stop> {
        let most = most.and_then(|most| usize::try_from(most).ok());
        let now = rows.len().min(most.unwrap_or(usize::MAX));
        for row in rows.drain(..now) {
            encode::data_row(&[Some(&row)], &mut self.client.output);
        }
        bound.stage = Stage::Told(rows);
        match most == Some(now) {
            true => encode::portal_suspended(&mut self.client.output),
            false => self.complete("EXPLAIN")?,
        }
        Ok(())
    }

    /// `batch` as in [`Asked`]; `merged`: what weir could not hold.
    pub(super) async fn begin_bound(
        &mut self,
        bound: &Bound,
        batch: Option<i32>,
        merged: Option<&Answer>,
    ) -> Result<Answer, Stop> {
        let bind = Bind::read(&bound.message).map_err(Error::from)?;
        let mut values: Vec<Value<'_>> = Vec::new();
        bind.values(&mut values);
        let asked = bound.asked(batch, &values, bind.parameters());
        match merged {
            None => Box::pin(self.begin_answer(&asked)).await,
            Some(merged) => Box::pin(self.gather_instead(&asked, merged)).await,
        }
    }

    async fn explain_bound(&mut self, bound: &Bound) -> Result<Vec<Vec<u8>>, Stop> {
        let bind = Bind::read(&bound.message).map_err(Error::from)?;
        let mut values: Vec<Value<'_>> = Vec::new();
        bind.values(&mut values);
        let asked = bound.asked(Some(0), &values, bind.parameters());
        match &bound.statement.explains {
            Some(explains) => self.explain(&asked, &explains.explained).await,
            None => Err(Error::internal("a portal explains nothing").into()),
        }
    }

    pub(super) async fn close_several(&mut self, portal: &Shared) -> Result<(), Stop> {
        self.catch_up().await?;
        let Some(bound) = portal.borrow_mut().take() else { return Ok(()) };
        match bound.stage {
            Stage::Open(answer) => self.close_answer(answer).await,
            Stage::Bound | Stage::Declares(_) | Stage::Undone | Stage::Told(_) | Stage::Done(_) => {
                Ok(())
            }
        }
    }

    pub(super) async fn close_answer(&mut self, mut answer: Box<Answer>) -> Result<(), Stop> {
        answer.fan.within = self.within();
        answer.fan.close(&mut self.txn.participants);
        self.go(&mut answer.fan).await?;
        self.finish(&mut answer.fan, &answer.wording).await?;
        match answer.gathered.take() {
            Some(gathered) => self.end_gathered(&gathered).await,
            None => Ok(()),
        }
    }

    /// The types of a statement's parameters, as the home shard sees them: asked inside the
    /// transaction, in either protocol.
    pub(super) async fn describe_within(
        &mut self,
        text: &str,
        types: &[Oid],
    ) -> Result<Vec<Oid>, Stop> {
        let home = self.serving.rules.home;
        let at = self.site_on(home, self.own_need(Access::Read)).await?;
        let wording = Wording::plain(text);
        let mut fan: FanOut = self.fan_out("weir_all", &[at], &wording, types);
        fan.close(&mut self.txn.participants);
        self.go(&mut fan).await?;
        self.finish(&mut fan, &wording).await?;
        Ok(fan.types(0).to_vec())
    }
}

/// In PostgreSQL it would go on.
pub(super) fn undone(bound: &Bound) -> Error {
    Error::refused(
        format!(
            "{} was first executed behind the savepoint that was rolled back",
            bound.told_name()
        ),
        "execute it before SAVEPOINT, or bind it again",
    )
}

pub(super) fn cannot_be_run(name: &str) -> Error {
    Error::client(SqlState(*b"55000"), format!("portal \"{name}\" cannot be run"))
}

/// Whether a shape has parameters of the client's own: `$1`, where its literals are `$L1`.
fn has_parameters(shape: &str) -> bool {
    shape.as_bytes().windows(2).any(|pair| matches!(pair, [b'$', b'0'..=b'9']))
}
