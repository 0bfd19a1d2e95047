//! SQL cursors. One whose rows are on one server is that server's; one over several shards is a portal of
//! weir's own (`portal`), which the servers bind at DECLARE, so that it sees what was there then.
use super::control::over_several;
use super::extended::Portal;
use super::portal::{Bound, Shared, Stage, cannot_be_run, undone};
use super::several::{Carried, Kind, Sink, describe};
use super::statements::{Form, Naming, Statement};
use super::{Protocol, Session, Stop};
use crate::error::{Error, SqlState};
use crate::exec::relay::{Edit, Show};
use crate::ids::{Oid, ShardId};
use crate::merge::MergeError;
use crate::plan::Route;
use crate::sql::control::{Control, CursorOption, Direction, Gives};
use crate::txn::{Begun, Block, Status};
use crate::wire::frontend::{Bind, Format};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

/// A cursor on one server.
pub(super) struct OneServers {
    pub shard: ShardId,
    /// The savepoints that were open when it was declared: it goes with the last of them.
    pub depth: usize,
    /// WITH HOLD.
    pub held: bool,
}

/// The cursor that a portal's Execute declares.
#[derive(Clone)]
pub(super) struct Declared {
    pub name: String,
    pub options: Vec<CursorOption>,
}

impl Declared {
    pub fn formats(&self) -> Vec<Format> {
        match self.options.contains(&CursorOption::Binary) {
            true => vec![Format::Binary],
            false => Vec::new(),
        }
    }
}

/// Where a portal stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    Before,
    /// On the row of that number, counted from 1.
    On(u64),
    /// Behind so many rows.
    After(u64),
}

impl Place {
    /// After so many rows of so many that were wanted.
    pub fn moved(self, rows: u64, wanted: Option<u64>) -> Self {
        let before = match self {
            Place::Before => 0,
            Place::On(number) | Place::After(number) => number,
        };
        let number = before.saturating_add(rows);
        match wanted {
            Some(0) => self,
            Some(wanted) if rows >= wanted => Place::On(number),
            Some(_) | None => Place::After(number),
        }
    }
}

impl Session {
    /// Whether weir itself acts on it, since its cursor is over several shards.
    pub(super) fn has_own_cursor(&self, control: &Control) -> bool {
        match control {
            Control::Fetch { cursor: name, .. } | Control::CloseCursor { name: Some(name) } => {
                self.wide_cursor(name).is_some()
            }
            Control::CloseCursor { name: None } => !self.serving.rules.is_plain(),
            _ => false,
        }
    }

    /// The cursor over several shards whose rows a FETCH gives.
    pub(super) fn fetched(&self, control: &Control) -> Option<Shared> {
        match control {
            Control::Fetch { cursor, gives: Gives::Rows, .. } => self.wide_cursor(cursor),
            _ => None,
        }
    }

    /// The cursor or portal of that name, if it is over several shards.
    fn wide_cursor(&self, name: &str) -> Option<Shared> {
        match self.portals.get(name) {
            Some(Portal::Several(portal)) => Some(portal.clone()),
            Some(Portal::On(..) | Portal::Own(_) | Portal::Spent(_)) | None => None,
        }
    }

    /// In the simple protocol.
    pub(super) async fn declare_cursor(
        &mut self,
        control: &Control,
        said: &str,
    ) -> Result<(), Stop> {
        let Control::DeclareCursor { name, options, query } = control else {
            return Err(Error::internal("no DECLARE").into());
        };
        if self.forwarded_route(control, &Default::default())? != Route::Many {
            return self.forward(control, said).await;
        }
        let outer = self.edit.as_ref().map_or(0, |edit| edit.shift);
        let statement = Rc::new(self.cursor_statement(query, said, outer, Vec::new())?);
        let declared = Declared { name: name.clone(), options: options.clone() };
        // A Bind without names, parameters and formats.
        let (none, name) = (vec![0; 8], self.unused_name());
        let mut bound = Bound::new(String::new(), statement, none, name);
        bound.results = declared.formats();
        self.declare_wide(declared, bound).await
    }

    /// The query of a DECLARE as a statement of its own.
    fn cursor_statement(
        &mut self,
        query: &str,
        said: &str,
        outer: i32,
        types: Vec<Oid>,
    ) -> Result<Statement, Stop> {
        let mut statement = self.prepare("", query, types, Form::Parse, Naming::Unnamed)?;
        let before = said.rfind(query).and_then(|start| said.get(..start));
        let before = before.map_or(0, |before| before.chars().count());
        let shift = outer + i32::try_from(before).unwrap_or(0);
        statement.edit = Rc::new(Edit { shift, ..(*statement.edit).clone() });
        Ok(statement)
    }

    /// A Bind of a DECLARE over several shards: its Execute declares the cursor.
    pub(super) async fn bind_declare(
        &mut self,
        portal: String,
        statement: &Statement,
        control: &Control,
        bind: &Bind<'_>,
    ) -> Result<(), Stop> {
        let Control::DeclareCursor { name, options, query } = control else {
            return Err(over_several("an EXECUTE").into());
        };
        let (outer, types) = (statement.edit.shift, statement.types.clone());
        let inner = Rc::new(self.cursor_statement(query, &statement.text, outer, types)?);
        let declared = Declared { name: name.clone(), options: options.clone() };
        self.bind_wide(portal, inner, bind, Some(declared)).await
    }

    /// Has the servers bind a cursor's query.
    pub(super) async fn declare_wide(
        &mut self,
        declared: Declared,
        mut bound: Bound,
    ) -> Result<(), Stop> {
        self.check_declared(&declared)?;
        self.refuse_other_meaning(&bound.statement)?;
        let mut answer = self.begin_bound(&bound, None, None).await?;
        let bound_there = self.finish(&mut answer.fan, &answer.wording).await;
        if let (Some(_), Err(Stop::Say(_) | Stop::Said)) = (&answer.gathered, &bound_there) {
            self.release_gather().await?;
        }
        bound_there?;
        if let Some(gathered) = &answer.gathered
            && self.begun(gathered.at) == Some(Begun::Block)
        {
            answer.fan.close(&mut self.txn.participants);
            self.go(&mut answer.fan).await?;
            self.finish(&mut answer.fan, &answer.wording).await?;
            self.leave_gather(gathered.at).await?;
            return Err(Error::refused(
                "a cursor that the gather database serves, in a transaction that has changed the schema",
                "declare it in a transaction of its own",
            )
            .into());
        }
        bound.opened(answer);
        bound.client_name.clone_from(&declared.name);
        bound.inside = self.txn.depth();
        let portal = Rc::new(RefCell::new(Some(Box::new(bound))));
        self.keep_portal(declared.name, Portal::Several(portal));
        self.complete("DECLARE CURSOR")
    }

    fn check_declared(&self, declared: &Declared) -> Result<(), Error> {
        let has = |option| declared.options.contains(&option);
        if has(CursorOption::Scroll) && has(CursorOption::NoScroll) {
            return Err(Error::client(
                SqlState(*b"42P11"),
                "cannot specify both SCROLL and NO SCROLL",
            ));
        }
        if has(CursorOption::Insensitive) && has(CursorOption::Asensitive) {
            return Err(Error::client(
                SqlState(*b"42P11"),
                "cannot specify both INSENSITIVE and ASENSITIVE",
            ));
        }
        if has(CursorOption::Hold) {
            return Err(Error::refused(
                "a WITH HOLD cursor over several shards",
                "declare it WITHOUT HOLD and fetch its rows inside the transaction",
            ));
        }
        if has(CursorOption::Scroll) {
            return Err(Error::refused(
                "a SCROLL cursor over several shards",
                "declare it without SCROLL: such a cursor goes forward only",
            ));
        }
        let within = match (self.txn.status(), self.protocol) {
            (Status::Open(Block::Explicit), _) => true,
            (Status::Open(Block::Implicit), Protocol::Simple) => true,
            (Status::Open(Block::Implicit), Protocol::Extended) => false,
            (Status::Idle | Status::Failed(_), _) => false,
        };
        if !within {
            return Err(Error::client(
                SqlState::NO_ACTIVE_SQL_TRANSACTION,
                "DECLARE CURSOR can only be used in transaction blocks",
            ));
        }
        self.check_free(&declared.name, None)
    }

    /// A name that another cursor has: a server sees only its own. `shard`: it will look itself.
    pub(super) fn check_free(&self, name: &str, shard: Option<ShardId>) -> Result<(), Error> {
        let taken = match (self.portals.get(name), self.cursors.get(name)) {
            (Some(Portal::Several(_)), _) => true,
            (_, Some(cursor)) => Some(cursor.shard) != shard,
            (Some(Portal::On(at, ..)), None) => {
                self.txn.participants.get(*at).map(|other| other.shard) != shard
            }
            (Some(Portal::Own(_) | Portal::Spent(_)) | None, None) => false,
        };
        match taken {
            false => Ok(()),
            true => {
                Err(Error::client(SqlState(*b"42P03"), format!("cursor \"{name}\" already exists")))
            }
        }
    }

    /// FETCH or MOVE of a cursor over several shards.
    pub(super) async fn fetch_wide(
        &mut self,
        name: &str,
        gives: Gives,
        direction: Direction,
    ) -> Result<(), Stop> {
        let Some(portal) = self.wide_cursor(name) else { return Err(no_cursor(name).into()) };
        let Some(mut bound) = portal.borrow_mut().take() else {
            return Err(Error::internal("a cursor moves while it moves").into());
        };
        let outcome = self.fetch_towards(&mut bound, gives, direction).await;
        *portal.borrow_mut() = Some(bound);
        let rows = outcome?;
        self.complete(&match gives {
            Gives::Rows => format!("FETCH {rows}"),
            Gives::Count => format!("MOVE {rows}"),
        })
    }

    /// As PostgreSQL moves a cursor that was declared NO SCROLL.
    async fn fetch_towards(
        &mut self,
        bound: &mut Bound,
        gives: Gives,
        direction: Direction,
    ) -> Result<u64, Stop> {
        self.open_fetched(bound).await?;
        // How many rows are passed over, and how many are given then.
        let (over, most) = match (direction, bound.place) {
            (Direction::Forward(Some(0)), Place::On(_)) => match gives {
                Gives::Rows => return self.refuse_way_back(bound).await,
                Gives::Count => return Ok(1),
            },
            (Direction::Forward(most), _) => (0, most),
            (Direction::Relative(rows), _) => (rows.saturating_sub(1), Some(1)),
            (Direction::Absolute(row), Place::Before) => (row.saturating_sub(1), Some(1)),
            (Direction::Absolute(row), Place::On(here)) if row > here => (row - here - 1, Some(1)),
            (Direction::Absolute(row), Place::After(rows)) if row > rows + 1 => (0, Some(1)),
            (Direction::Absolute(_) | Direction::Back, _) => {
                return self.refuse_way_back(bound).await;
            }
        };
        if over > 0 {
            self.retrieve(bound, Some(over), Sink::Nowhere).await?;
        }
        // PostgreSQL has all rows before it describes them; the first may well be an error.
        let mut untold = match (gives, self.protocol) {
            (Gives::Rows, Protocol::Simple) => Some(bound.columns.clone()),
            (Gives::Rows, Protocol::Extended) | (Gives::Count, _) => None,
        };
        let sink = match gives {
            Gives::Rows => Sink::Described(&mut untold),
            Gives::Count => Sink::Nowhere,
        };
        let rows = self.retrieve(bound, most, sink).await?;
        describe(&mut untold, &mut self.client.output);
        Ok(rows)
    }

    /// As after any error of a FETCH, PostgreSQL does not go on with the cursor.
    async fn refuse_way_back(&mut self, bound: &mut Bound) -> Result<u64, Stop> {
        let left = std::mem::replace(&mut bound.stage, Stage::Done(Err(())));
        if let Stage::Open(answer) = left
            && let Some(gathered) = &answer.gathered
        {
            self.leave_gather(gathered.at).await?;
        }
        Err(only_forward().into())
    }

    /// A portal that was bound by a message may not have begun yet.
    async fn open_fetched(&mut self, bound: &mut Bound) -> Result<(), Stop> {
        if matches!(bound.stage, Stage::Bound) {
            bound.inside = self.txn.depth();
            let answer = self.begin_bound(bound, None, None).await?;
            bound.opened(answer);
        }
        match &bound.stage {
            Stage::Open(answer) if answer.kind != Kind::Query => {}
            Stage::Told(_) | Stage::Declares(_) => {}
            Stage::Undone => return Err(undone(bound).into()),
            Stage::Done(Err(())) => return Err(cannot_be_run(&bound.client_name).into()),
            Stage::Open(_) | Stage::Done(Ok(_)) => return Ok(()),
            Stage::Bound => return Err(Error::internal("a portal did not begin").into()),
        }
        Err(Error::refused(
            "FETCH from a portal that is not a query's, over several shards",
            "read the portal by Execute messages",
        )
        .into())
    }

    async fn retrieve(
        &mut self,
        bound: &mut Bound,
        most: Option<u64>,
        sink: Sink<'_>,
    ) -> Result<u64, Stop> {
        /// Read from each server at a time, if not all are wanted.
        const MOST: u64 = 1000;
        // An error on the way leaves a portal that cannot be run.
        let mut answer = match std::mem::replace(&mut bound.stage, Stage::Done(Err(()))) {
            Stage::Open(answer) => answer,
            Stage::Done(Ok(tag)) => {
                bound.stage = Stage::Done(Ok(tag));
                return Ok(0);
            }
            Stage::Bound
            | Stage::Undone
            | Stage::Told(_)
            | Stage::Declares(_)
            | Stage::Done(Err(())) => {
                return Err(cannot_be_run(&bound.client_name).into());
            }
        };
        if most == Some(0) {
            bound.stage = Stage::Open(answer);
            return Ok(0);
        }
        let batch = most.and_then(|most| i32::try_from(most.min(MOST)).ok());
        answer.fan.batch = Some(batch.unwrap_or(0));
        answer.fan.within = self.within();
        answer.fan.resume(&mut self.txn.participants);
        let carried = self.carry_into(&mut answer, most, sink).await?;
        let rows = match carried {
            Carried::TooLarge => {
                return Err(Error::from(MergeError::TooLarge)
                    .hint("raise limits.merge_size in weir.toml, or run the query without a cursor")
                    .into());
            }
            Carried::All { rows } => {
                bound.stage = Stage::Done(Ok(String::from("SELECT 0")));
                rows
            }
            Carried::Paused => {
                bound.stage = Stage::Open(answer);
                most.unwrap_or(0)
            }
        };
        bound.place = bound.place.moved(rows, most);
        Ok(rows)
    }

    /// CLOSE of a cursor over several shards, or of all cursors.
    pub(super) async fn close_wide(&mut self, name: Option<&str>) -> Result<(), Stop> {
        let Some(name) = name else {
            return self.close_all().await;
        };
        let Some(portal) = self.wide_cursor(name) else { return Err(no_cursor(name).into()) };
        self.portals.remove(name);
        self.close_several(&portal).await?;
        self.complete("CLOSE CURSOR")
    }

    async fn close_all(&mut self) -> Result<(), Stop> {
        let gone = self.portals.take_if(|portal| match portal {
            Portal::On(..) | Portal::Several(_) => true,
            Portal::Own(_) | Portal::Spent(_) => false,
        });
        for portal in gone {
            if let Portal::Several(portal) = portal {
                self.close_several(&portal).await?;
            }
        }
        let shards: BTreeSet<ShardId> = self.cursors.drain().map(|(_, it)| it.shard).collect();
        for shard in shards {
            if let Some(at) = self.txn.find(shard) {
                self.say(at, "CLOSE ALL", Show::Swallow).await?;
            }
        }
        self.complete("CLOSE CURSOR ALL")
    }

    /// ROLLBACK TO has undone what these were declared after.
    pub(super) fn forget_cursors(&mut self) {
        let depth = self.txn.depth();
        self.cursors.retain(|_, cursor| cursor.depth < depth);
    }

    /// RELEASE: they belong to the savepoint around.
    pub(super) fn keep_cursors(&mut self) {
        let depth = self.txn.depth();
        for cursor in self.cursors.values_mut() {
            cursor.depth = cursor.depth.min(depth);
        }
    }

    /// The connections to the gather database that portals go on with.
    pub(super) fn gathering_portals(&self) -> Vec<usize> {
        let of = |portal: &Portal| match portal {
            Portal::Several(portal) => match portal.borrow().as_deref() {
                Some(Bound { stage: Stage::Open(answer), .. }) => {
                    answer.gathered.as_ref().map(|gathered| gathered.at)
                }
                Some(_) | None => None,
            },
            Portal::On(..) | Portal::Own(_) | Portal::Spent(_) => None,
        };
        self.portals.values().filter_map(of).collect()
    }

    /// Servers were told the formats at DECLARE; a FETCH by a Bind message names its own.
    pub(super) fn check_fetched_formats(
        &self,
        control: &Control,
        bind: &Bind<'_>,
    ) -> Result<(), Error> {
        let Control::Fetch { cursor, gives: Gives::Rows, .. } = control else { return Ok(()) };
        let Some(portal) = self.wide_cursor(cursor) else { return Ok(()) };
        let portal = portal.borrow();
        let Some(bound) = portal.as_deref() else { return Ok(()) };
        let format = |formats: &[Format], index: usize| match formats {
            [] => Format::Text,
            [one] => *one,
            several => several.get(index).copied().unwrap_or(Format::Text),
        };
        let wanted: Vec<Format> = bind.result_formats().collect();
        let columns = wanted.len().max(bound.results.len()).max(1);
        let same = |index| format(&wanted, index) == format(&bound.results, index);
        match (0..columns).all(same) {
            true => Ok(()),
            false => Err(Error::refused(
                "FETCH in another format than that of its cursor over several shards",
                "fetch text, or DECLARE a BINARY cursor and fetch all columns in binary format",
            )),
        }
    }

    /// An Execute that limits the rows of a FETCH, which PostgreSQL would keep for the next Execute.
    pub(super) fn check_fetched_rows(&self, control: &Control, most: i32) -> Result<(), Error> {
        let Control::Fetch { gives: Gives::Rows, direction, .. } = control else { return Ok(()) };
        let most = u64::try_from(most).unwrap_or(0);
        let fits = match direction {
            _ if most == 0 => true,
            Direction::Forward(None) => false,
            Direction::Forward(Some(rows)) => *rows < most,
            Direction::Relative(_) | Direction::Absolute(_) | Direction::Back => 1 < most,
        };
        match fits {
            true => Ok(()),
            false => Err(Error::refused(
                "a row limit of the driver on a FETCH over several shards",
                "limit the rows by the FETCH itself",
            )),
        }
    }
}

fn no_cursor(name: &str) -> Error {
    Error::client(SqlState::INVALID_CURSOR_NAME, format!("cursor \"{name}\" does not exist"))
}

/// PostgreSQL's words for a cursor without SCROLL.
fn only_forward() -> Error {
    Error::client(SqlState(*b"55000"), "cursor can only scan forward")
        .hint("a cursor over several shards has no SCROLL: order its query the other way round")
}
