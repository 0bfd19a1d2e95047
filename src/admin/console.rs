//! PostgreSQL's protocol for clients of the database `weir`: simple queries, and the extended protocol
//! that drivers speak.
//!
//! Statements have no parameters. Everything is bounded: messages, prepared statements, portals; how
//! many consoles there may be is the caller's business. An action that waits goes on waiting until its
//! client cancels it or leaves; what it has begun stays.
use super::action::Action;
use super::command::{Command, invalid};
use super::explain;
use super::system::{Doing, Place, System};
use super::table::{Cell, Column, Kind, Table};
use crate::error::{Error, SqlState};
use crate::exec::line::Line;
use crate::ids::Oid;
use crate::merge::numeric::Number;
use crate::session::cancel::Slot;
use crate::sql::split::split;
use crate::wire::frontend::{self, Format, Object};
use crate::wire::server::{Field, TransactionStatus};
use crate::wire::{WireError, encode, error_response, frame};
use bytes::BytesMut;
use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;

/// The longest message: commands are short.
const MAX_MESSAGE_BYTES: usize = 64 * 1024;
/// Prepared statements, and portals, that a client may have.
const MAX_NAMED: usize = 100;
/// What a client may send ahead while an action waits.
const MAX_AHEAD_BYTES: usize = 2 * MAX_MESSAGE_BYTES;

/// What a client may do here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum May {
    /// SHOW.
    Look,
    /// And everything else.
    Act,
}

/// One client that has logged in: the line, with nothing sent since AuthenticationOk.
pub struct Client {
    pub line: Line,
    pub user: String,
    pub may: May,
    pub pid: u32,
    /// Where a cancel request of its arrives.
    pub slot: Arc<Slot>,
}

/// Serves the client until it leaves.
pub async fn serve(client: Client, system: Arc<dyn System>) {
    let Client { line, user, may, pid, slot } = client;
    let mut console = Console {
        line,
        system,
        may,
        slot,
        parameters: parameters(&user),
        user,
        status: TransactionStatus::Idle,
        statements: HashMap::new(),
        portals: HashMap::new(),
        state: State::Sound,
    };
    for (name, value) in &console.parameters {
        encode::parameter_status(name, value.as_bytes(), &mut console.line.output);
    }
    encode::backend_key_data(pid, console.slot.secret(), &mut console.line.output);
    encode::ready(console.status, &mut console.line.output);
    // The end of the line is the end of the conversation, whoever has ended it.
    drop(console.converse().await);
}

struct Console {
    line: Line,
    system: Arc<dyn System>,
    may: May,
    slot: Arc<Slot>,
    user: String,
    parameters: Vec<(&'static str, String)>,
    status: TransactionStatus,
    statements: HashMap<Vec<u8>, Command>,
    portals: HashMap<Vec<u8>, Portal>,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Sound,
    /// After an error of the extended protocol: nothing counts until the next Sync.
    Failed,
}

struct Portal {
    command: Command,
    formats: Vec<Format>,
    /// Rows that Execute has not sent yet; `None`: it has not been executed.
    rest: Option<Rest>,
    sent: usize,
}

/// Rows of a view that have not been sent yet.
struct Rest {
    columns: Vec<Column>,
    rows: std::vec::IntoIter<Vec<Cell>>,
}

/// What a command answers.
enum Answer {
    Nothing,
    Rows(Table),
    Done(&'static str),
}

/// The conversation is over.
enum Ended {
    Left,
    /// After this has been said.
    Thrown(Error),
}

impl From<std::io::Error> for Ended {
    fn from(_: std::io::Error) -> Self {
        Self::Left
    }
}

impl From<WireError> for Ended {
    fn from(error: WireError) -> Self {
        Self::Thrown(Error::from(error).fatal())
    }
}

/// Why a message could not be answered.
enum Failed {
    Told(Error),
    Ended(Ended),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Told(error)
    }
}

impl From<Ended> for Failed {
    fn from(ended: Ended) -> Self {
        Self::Ended(ended)
    }
}

impl From<WireError> for Failed {
    fn from(error: WireError) -> Self {
        Self::Ended(error.into())
    }
}

impl Console {
    async fn converse(&mut self) -> Result<(), Ended> {
        let outcome = self.take_messages().await;
        if let Err(Ended::Thrown(error)) = &outcome {
            error_response::write(error, &mut self.line.output);
            self.line.flush().await?;
        }
        outcome
    }

    async fn take_messages(&mut self) -> Result<(), Ended> {
        loop {
            while let Some(found) = frame::scan(&self.line.input, MAX_MESSAGE_BYTES)? {
                if self.line.input.len() < found.len {
                    break;
                }
                let message = self.line.input.split_to(found.len);
                let body = message.get(frame::HEADER..).unwrap_or_default();
                let kind = frontend::Kind::of(found.kind)?;
                self.take(kind, body).await?;
            }
            self.line.flush().await?;
            if self.line.fill().await? == 0 {
                return Err(Ended::Left);
            }
        }
    }

    async fn take(&mut self, kind: frontend::Kind, body: &[u8]) -> Result<(), Ended> {
        use frontend::Kind;
        let outcome = match kind {
            Kind::Terminate => return Err(Ended::Left),
            Kind::Sync => {
                self.state = State::Sound;
                if self.status == TransactionStatus::Idle {
                    self.portals.clear();
                }
                encode::ready(self.status, &mut self.line.output);
                return Ok(());
            }
            // As PostgreSQL: late data of a COPY that never was.
            Kind::CopyData | Kind::CopyDone | Kind::CopyFail => return Ok(()),
            Kind::Flush => return Ok(()),
            _ if self.state == State::Failed => return Ok(()),
            Kind::Query => {
                let outcome = self.query(body).await;
                let told = self.tell(outcome);
                encode::ready(self.status, &mut self.line.output);
                return told.map(drop);
            }
            Kind::Parse => self.parse(body),
            Kind::Bind => self.bind(body),
            Kind::Describe => self.describe(body),
            Kind::Execute => self.execute(body).await,
            Kind::Close => self.close(body),
            Kind::FunctionCall => {
                Err(Error::refused("function calls are not for the console", "use SHOW HELP")
                    .into())
            }
            Kind::Password => {
                let text = "a password was not asked for";
                let error = Error::client(SqlState::PROTOCOL_VIOLATION, text).fatal();
                return Err(Ended::Thrown(error));
            }
        };
        if !self.tell(outcome)? {
            self.state = State::Failed;
        }
        Ok(())
    }

    /// Whether it went well; an error is told to the client.
    fn tell(&mut self, outcome: Result<(), Failed>) -> Result<bool, Ended> {
        match outcome {
            Ok(()) => Ok(true),
            Err(Failed::Ended(ended)) => Err(ended),
            Err(Failed::Told(error)) => {
                error_response::write(&error, &mut self.line.output);
                Ok(false)
            }
        }
    }

    async fn query(&mut self, body: &[u8]) -> Result<(), Failed> {
        let text = frontend::Query::read(body)?.sql_str()?;
        let statements = split(text, true).map_err(|_| invalid(text))?;
        if statements.is_empty() {
            encode::empty_query(&mut self.line.output);
        }
        for range in statements {
            let command = Command::parse(text.get(range).unwrap_or_default())?;
            match self.run(&command).await? {
                Answer::Nothing => encode::empty_query(&mut self.line.output),
                Answer::Done(tag) => encode::command_complete(tag, &mut self.line.output),
                Answer::Rows(table) => {
                    let output = &mut self.line.output;
                    put_description(&table.columns, &[], output);
                    table.rows.iter().for_each(|row| put_row(row, &table.columns, &[], output));
                    encode::command_complete("SHOW", output);
                }
            }
        }
        Ok(())
    }

    fn parse(&mut self, body: &[u8]) -> Result<(), Failed> {
        let parse = frontend::Parse::read(body)?;
        let command = Command::parse(parse.sql_str()?)?;
        if !parse.name.is_empty() && self.statements.contains_key(parse.name) {
            let name = String::from_utf8_lossy(parse.name);
            let message = format!("prepared statement \"{name}\" already exists");
            return Err(Error::client(SqlState::DUPLICATE_PREPARED_STATEMENT, message).into());
        }
        room(self.statements.len(), "prepared statements")?;
        self.statements.insert(parse.name.to_vec(), command);
        encode::parse_complete(&mut self.line.output);
        Ok(())
    }

    fn bind(&mut self, body: &[u8]) -> Result<(), Failed> {
        let bind = frontend::Bind::read(body)?;
        let command = self.statement(bind.statement)?;
        if bind.count() > 0 {
            let message = format!(
                "bind message supplies {} parameters, but console commands have none",
                bind.count()
            );
            return Err(Error::client(SqlState::PROTOCOL_VIOLATION, message).into());
        }
        room(self.portals.len(), "portals")?;
        let formats = bind.result_formats().collect();
        let portal = Portal { command, formats, rest: None, sent: 0 };
        self.portals.insert(bind.portal.to_vec(), portal);
        encode::bind_complete(&mut self.line.output);
        Ok(())
    }

    fn describe(&mut self, body: &[u8]) -> Result<(), Failed> {
        let describe = frontend::Describe::read(body)?;
        let (command, formats) = match describe.object {
            Object::Statement => {
                let command = self.statement(describe.name)?;
                encode::parameter_description(std::iter::empty::<Oid>(), &mut self.line.output);
                (command, Vec::new())
            }
            Object::Portal => {
                let portal = self.portals.get(describe.name);
                let portal = portal.ok_or_else(|| no_portal(describe.name))?;
                (portal.command.clone(), portal.formats.clone())
            }
        };
        match self.columns(&command) {
            Some(columns) => put_description(&columns, &formats, &mut self.line.output),
            None => encode::no_data(&mut self.line.output),
        }
        Ok(())
    }

    async fn execute(&mut self, body: &[u8]) -> Result<(), Failed> {
        let execute = frontend::Execute::read(body)?;
        let mut portal =
            self.portals.remove(execute.portal).ok_or_else(|| no_portal(execute.portal))?;
        let mut rest = match portal.rest.take() {
            Some(rest) => rest,
            None => match self.run(&portal.command).await? {
                Answer::Nothing => {
                    encode::empty_query(&mut self.line.output);
                    return Ok(());
                }
                Answer::Done(tag) => {
                    encode::command_complete(tag, &mut self.line.output);
                    return Ok(());
                }
                Answer::Rows(Table { columns, rows }) => Rest { columns, rows: rows.into_iter() },
            },
        };
        let limit = usize::try_from(execute.max_rows).ok().filter(|&limit| limit > 0);
        let output = &mut self.line.output;
        for row in rest.rows.by_ref().take(limit.unwrap_or(usize::MAX)) {
            put_row(&row, &rest.columns, &portal.formats, output);
            portal.sent += 1;
        }
        match limit.is_some() && rest.rows.len() > 0 {
            true => encode::portal_suspended(output),
            false => encode::command_complete("SHOW", output),
        }
        portal.rest = Some(rest);
        self.portals.insert(execute.portal.to_vec(), portal);
        Ok(())
    }

    fn close(&mut self, body: &[u8]) -> Result<(), Failed> {
        let close = frontend::Close::read(body)?;
        match close.object {
            Object::Statement => drop(self.statements.remove(close.name)),
            Object::Portal => drop(self.portals.remove(close.name)),
        }
        encode::close_complete(&mut self.line.output);
        Ok(())
    }

    fn statement(&self, name: &[u8]) -> Result<Command, Error> {
        self.statements.get(name).cloned().ok_or_else(|| {
            let name = String::from_utf8_lossy(name);
            let message = format!("prepared statement \"{name}\" does not exist");
            Error::client(SqlState::INVALID_STATEMENT_NAME, message)
        })
    }

    /// `None`: the command answers no rows.
    fn columns(&self, command: &Command) -> Option<Vec<Column>> {
        match command {
            Command::Show(show) => Some(show.table(self.system.as_ref()).columns),
            Command::Parameter(name) => self.parameter(name).ok().map(|table| table.columns),
            Command::Explain(_) => Some(explain::heading().columns),
            Command::Nothing
            | Command::Act(..)
            | Command::Set { .. }
            | Command::Begin
            | Command::End(_)
            | Command::Heard(_) => None,
        }
    }

    async fn run(&mut self, command: &Command) -> Result<Answer, Failed> {
        match command {
            Command::Nothing => Ok(Answer::Nothing),
            Command::Show(show) => Ok(Answer::Rows(show.table(self.system.as_ref()))),
            Command::Parameter(name) => Ok(Answer::Rows(self.parameter(name)?)),
            Command::Heard(tag) => Ok(Answer::Done(tag)),
            Command::Explain(question) => {
                Ok(Answer::Rows(explain::table(self.system.as_ref(), question)?))
            }
            Command::Set { name, value } => self.set(name, value).await,
            Command::Begin => {
                self.status = TransactionStatus::InTransaction;
                Ok(Answer::Done("BEGIN"))
            }
            Command::End(tag) => {
                self.status = TransactionStatus::Idle;
                Ok(Answer::Done(tag))
            }
            Command::Act(action, place) => {
                self.refuse_unless_admin(action.name())?;
                self.act(*action, place).await
            }
        }
    }

    fn refuse_unless_admin(&self, what: &str) -> Result<(), Error> {
        match self.may {
            May::Act => Ok(()),
            May::Look => {
                let message = format!("only console.admins may {what}");
                let error = Error::client(SqlState::INSUFFICIENT_PRIVILEGE, message);
                Err(error.hint("SHOW is for console.stats, too"))
            }
        }
    }

    /// What weir does not know is what drivers say unasked: heard, and nothing more.
    async fn set(&mut self, name: &str, value: &str) -> Result<Answer, Failed> {
        let system = self.system.clone();
        let Some(setting) = system.set(name, value) else {
            let message = format!("SET ignored: weir has no setting \"{name}\"");
            let notice = Error::client(SqlState(*b"00000"), message);
            encode::information(&notice, &mut self.line.output);
            return Ok(Answer::Done("SET"));
        };
        self.refuse_unless_admin("SET")?;
        tracing::info!(user = self.user, setting = name, "set on the console");
        self.wait_for(setting).await?;
        Ok(Answer::Done("SET"))
    }

    async fn act(&mut self, action: &dyn Action, place: &Place) -> Result<Answer, Failed> {
        let system = self.system.clone();
        tracing::info!(user = self.user, action = action.name(), %place, "asked for on the console");
        self.wait_for(action.run(system.as_ref(), place)).await?;
        Ok(Answer::Done(action.name()))
    }

    /// Until it is done, or the client cancels it or leaves.
    async fn wait_for(&mut self, mut doing: Doing<'_>) -> Result<(), Failed> {
        let slot = self.slot.clone();
        self.line.flush().await.map_err(Ended::from)?;
        let mut cancelled = pin!(slot.waiting.notified());
        cancelled.as_mut().enable();
        loop {
            let ahead = self.line.input.len() < MAX_AHEAD_BYTES;
            tokio::select! {
                done = &mut doing => {
                    return done.map_err(Failed::from);
                }
                () = &mut cancelled => {
                    let message = "canceling statement due to user request";
                    return Err(Error::client(SqlState::QUERY_CANCELED, message).into());
                }
                filled = self.line.fill(), if ahead => {
                    if filled.map_err(Ended::from)? == 0 {
                        return Err(Ended::Left.into());
                    }
                }
            }
        }
    }

    /// What SHOW says of a parameter.
    fn parameter(&self, name: &str) -> Result<Table, Error> {
        let isolation = ("transaction_isolation", "read committed".to_owned());
        let all = self.parameters.iter().chain(std::iter::once(&isolation));
        for (known, value) in all {
            if known.eq_ignore_ascii_case(name) {
                let mut table = Table::new([Column { name: known, kind: Kind::Text }]);
                table.push([value.as_str().into()]);
                return Ok(table);
            }
        }
        let message = format!("invalid command 'SHOW {name}', use SHOW HELP;");
        Err(Error::client(SqlState::SYNTAX_ERROR, message))
    }
}

/// What drivers look for in a server that greets them.
fn parameters(user: &str) -> Vec<(&'static str, String)> {
    let version = concat!("16.0 (weir ", env!("CARGO_PKG_VERSION"), ")");
    [
        ("server_version", version),
        ("server_encoding", "UTF8"),
        ("client_encoding", "UTF8"),
        ("application_name", ""),
        ("DateStyle", "ISO, MDY"),
        ("IntervalStyle", "postgres"),
        ("TimeZone", "UTC"),
        ("integer_datetimes", "on"),
        ("standard_conforming_strings", "on"),
        ("default_transaction_read_only", "off"),
        ("in_hot_standby", "off"),
        ("is_superuser", "off"),
        ("session_authorization", user),
    ]
    .map(|(name, value)| (name, value.to_owned()))
    .into()
}

fn room(taken: usize, what: &str) -> Result<(), Error> {
    if taken < MAX_NAMED {
        return Ok(());
    }
    let message = format!("a console has at most {MAX_NAMED} {what}");
    Err(Error::client(SqlState::CONFIGURATION_LIMIT_EXCEEDED, message).hint("close some"))
}

fn no_portal(name: &[u8]) -> Error {
    let message = format!("portal \"{}\" does not exist", String::from_utf8_lossy(name));
    Error::client(SqlState::INVALID_CURSOR_NAME, message)
}

/// The format of a column, as Bind gives them: none is text, one is for all.
fn format(formats: &[Format], column: usize) -> Format {
    match formats {
        [] => Format::Text,
        [all] => *all,
        each => each.get(column).copied().unwrap_or(Format::Text),
    }
}

fn put_description(columns: &[Column], formats: &[Format], out: &mut BytesMut) {
    let fields: Vec<Field<'_>> = columns
        .iter()
        .enumerate()
        .map(|(index, column)| {
            let field = Field { format: format(formats, index), ..Field::text(column.name) };
            let (type_oid, type_size) = match column.kind {
                Kind::Text => return field,
                Kind::Integer => (23, 4),
                Kind::Bigint => (20, 8),
                Kind::Numeric => (1700, -1),
            };
            Field { type_oid: Oid(type_oid), type_size, ..field }
        })
        .collect();
    encode::row_description(&fields, out);
}

fn put_row(row: &[Cell], columns: &[Column], formats: &[Format], out: &mut BytesMut) {
    let values: Vec<Option<Vec<u8>>> = row
        .iter()
        .zip(columns)
        .enumerate()
        .map(|(index, (cell, column))| match (cell, format(formats, index)) {
            (Cell::Null, _) => None,
            (Cell::Text(text), _) => Some(text.as_bytes().to_vec()),
            (Cell::Integer(number), Format::Text) => Some(number.to_string().into_bytes()),
            (Cell::Integer(number), Format::Binary) => Some(binary(*number, column.kind)),
        })
        .collect();
    let values: Vec<Option<&[u8]>> = values.iter().map(Option::as_deref).collect();
    encode::data_row(&values, out);
}

fn binary(number: i64, kind: Kind) -> Vec<u8> {
    match kind {
        Kind::Text => number.to_string().into_bytes(),
        Kind::Integer => i32::try_from(number).unwrap_or(i32::MAX).to_be_bytes().to_vec(),
        Kind::Bigint => number.to_be_bytes().to_vec(),
        Kind::Numeric => Number::from_text(&number.to_string())
            .map(|number| number.to_binary())
            .unwrap_or_default(),
    }
}
