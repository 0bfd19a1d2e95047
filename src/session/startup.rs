//! From a new connection to a client that is known: greeting, TLS, cancel requests, start-up
//! parameters, authentication, first answers.
use super::cancel::{Clients, Slot};
use super::parameters::Parameters;
use super::{Database, own, parameters};
use crate::auth::client::{self, Lookup, Method, Strangers};
use crate::auth::hba::{Hba, Origin, Visitor, Way};
use crate::auth::tls::Acceptor;
use crate::auth::users::Users;
use crate::auth::{Login, Secret};
use crate::backend::Stream;
use crate::error::{Error, SqlState};
use crate::exec::line::Line;
use crate::ids::TierId;
use crate::txn::settings::{Settings, Values};
use crate::wire::server::TransactionStatus;
use crate::wire::startup::{Greeting, Startup};
use crate::wire::{encode, error_response, frame, startup};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

/// How clients may come in.
pub struct Door {
    pub tls: TlsPolicy,
    pub entry: Entry,
    pub strangers: Strangers,
    pub users: Users,
    /// Names of the system's users, by number, where somebody is let in by his own.
    pub system_users: HashMap<u32, String>,
    /// What servers are told for a user, where it is not what the client has shown.
    pub server_secrets: HashMap<String, Secret>,
    /// Whom everybody is on a database's servers, by the database's name; `*`: those with no entry.
    pub server_logins: HashMap<String, Option<Arc<Login>>>,
    /// Start-up parameters that servers never hear of.
    pub ignored_parameters: Vec<String>,
    pub add_host: AddHost,
}

/// What clients have to show.
pub enum Entry {
    /// All of them the same.
    All(Method),
    /// As the first line says that fits.
    ByLine(Hba),
}

/// Whether a client's address stands behind its application's name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AddHost {
    No,
    Yes,
}

impl Door {
    /// Whom every client of that database is on its servers, if that is not who it is itself.
    fn server_login(&self, database: &str) -> Option<Arc<Login>> {
        self.server_logins.get(database).or_else(|| self.server_logins.get("*"))?.clone()
    }

    /// How this client has to show who it is.
    fn method(&self, visitor: &Visitor<'_>) -> Result<Method, Error> {
        let hba = match &self.entry {
            Entry::All(method) => return Ok(*method),
            Entry::ByLine(hba) => hba,
        };
        let refuse =
            |message: String| Err(Error::client(SqlState::INVALID_AUTHORIZATION, message).fatal());
        match (hba.way(visitor), visitor.origin) {
            (Some(Way::Ask(method)), _) => Ok(method),
            (Some(Way::Peer), Origin::Local { uid: Some(uid) })
                if self.system_users.get(&uid).is_some_and(|name| name == visitor.user) =>
            {
                Ok(Method::Trust)
            }
            (Some(Way::Peer), _) => {
                refuse(format!("Peer authentication failed for user \"{}\"", visitor.user))
            }
            (Some(Way::Reject), _) => {
                refuse(format!("pg_hba.conf rejects connection for {}", told(visitor)))
            }
            (None, _) => refuse(format!("no pg_hba.conf entry for {}", told(visitor))),
        }
    }
}

/// In PostgreSQL's words.
fn told(visitor: &Visitor<'_>) -> String {
    let Visitor { origin, tls, database, user } = visitor;
    let host = match origin {
        Origin::Local { .. } => "[local]".to_owned(),
        Origin::Host(address, _) => address.to_string(),
    };
    let encryption = if *tls { "SSL encryption" } else { "no encryption" };
    format!("host \"{host}\", user \"{user}\", database \"{database}\", {encryption}")
}

pub enum TlsPolicy {
    Off,
    Allow(Acceptor),
    Require(Acceptor),
}

/// A client that has logged in.
pub struct Greeted {
    pub login: Arc<Login>,
    pub settings: Settings,
    /// What it was told of the server's parameters.
    pub parameters: Arc<Parameters>,
    pub pid: u32,
    pub slot: Arc<Slot>,
    /// What its user or database is given; `None`: as each statement's plan says.
    pub tier: Option<TierId>,
}

impl Greeted {
    /// As the client calls itself at its start.
    pub fn application_name(&self) -> &str {
        self.settings.get("application_name").unwrap_or_default()
    }
}

/// What a new connection turned out to be.
pub enum Arrival {
    Client(Line, Startup),
    Cancel {
        pid: u32,
        secret: Vec<u8>,
    },
    /// Nothing more will come.
    Gone,
}

/// The longest start-up packet, as in PostgreSQL.
const MAX_STARTUP_BYTES: usize = 10_000;

/// Reads start-up packets until one says what the client wants; agrees on TLS.
pub async fn arrive(mut line: Line, door: &Door) -> Result<Arrival, (Line, Error)> {
    let mut encrypted = false;
    loop {
        let greeting = match read_greeting(&mut line).await {
            Ok(Some(greeting)) => greeting,
            Ok(None) => return Ok(Arrival::Gone),
            Err(error) => return Err((line, error)),
        };
        match greeting {
            Greeting::Gss => answer_encryption(&mut line, false).await,
            Greeting::Ssl => {
                let (TlsPolicy::Allow(acceptor) | TlsPolicy::Require(acceptor)) = &door.tls else {
                    answer_encryption(&mut line, false).await;
                    continue;
                };
                if matches!(line.stream, Stream::Unix(_)) {
                    answer_encryption(&mut line, false).await;
                    continue;
                }
                if encrypted || !line.input.is_empty() {
                    let error = Error::client(
                        SqlState::PROTOCOL_VIOLATION,
                        "received unencrypted data after SSL request",
                    );
                    return Err((line, error.fatal()));
                }
                answer_encryption(&mut line, true).await;
                let Stream::Tcp(socket) = line.stream else { return Ok(Arrival::Gone) };
                match acceptor.accept(socket).await {
                    Ok(stream) => line = Line::new(stream.into()),
                    Err(_) => return Ok(Arrival::Gone),
                }
                encrypted = true;
            }
            Greeting::Cancel { pid, secret } => return Ok(Arrival::Cancel { pid, secret }),
            Greeting::Startup(startup) => {
                // As in PostgreSQL, a Unix socket is private enough.
                let private = encrypted || matches!(line.stream, Stream::Unix(_));
                if matches!(door.tls, TlsPolicy::Require(_)) && !private {
                    let error = Error::client(
                        SqlState::INVALID_AUTHORIZATION,
                        "connection requires a valid TLS session",
                    )
                    .hint("use sslmode=require");
                    return Err((line, error.fatal()));
                }
                return Ok(Arrival::Client(line, startup));
            }
        }
    }
}

async fn read_greeting(line: &mut Line) -> Result<Option<Greeting>, Error> {
    loop {
        if let Some(length) = frame::scan_startup(&line.input, MAX_STARTUP_BYTES)?
            && line.input.len() >= length
        {
            let packet = line.input.split_to(length);
            return Ok(Some(startup::read(&packet)?));
        }
        if !matches!(line.fill().await, Ok(count) if count > 0) {
            return Ok(None);
        }
    }
}

async fn answer_encryption(line: &mut Line, accepted: bool) {
    encode::encryption_answer(accepted, &mut line.output);
    // A client that is gone is noticed by the next read.
    drop(line.flush().await);
}

/// Who the client is, and the answers up to ReadyForQuery.
pub async fn log_in(
    line: &mut Line,
    startup: &Startup,
    door: &Door,
    lookup: &impl Lookup,
    clients: &Clients,
    database: &Rc<Database>,
) -> Result<Greeted, Error> {
    let login = identify(line, startup, door, lookup).await?;
    let login = door.server_login(&database.name).unwrap_or_else(|| Arc::new(login));
    let serving = database.serving.load_full();
    let mut values = startup_settings(startup)?;
    values.retain(|name, _| !door.ignored_parameters.iter().any(|ignored| ignored == name));
    if door.add_host == AddHost::Yes {
        add_host(&mut values, origin(line)?);
    }
    let choices = own::Choices { rules: &serving.rules, tiers: &database.limits.tiers };
    let own = own::take(&mut values, &choices).map_err(Error::fatal)?;
    let values = parameters::shared(database, &login.user, values);
    let settings = Settings::new(values, own);
    let parameters = parameters::describe(database, &serving, &login, &settings).await?;
    for (name, value) in parameters.iter() {
        encode::parameter_status(name, value.as_bytes(), &mut line.output);
    }
    let (pid, slot) = clients.register(secret_bytes(startup));
    encode::backend_key_data(pid, slot.secret(), &mut line.output);
    encode::ready(TransactionStatus::Idle, &mut line.output);
    Ok(Greeted { login, settings, parameters, pid, slot, tier: None })
}

/// Who the client is. AuthenticationOk is left in the line's output, unsent.
pub async fn identify(
    line: &mut Line,
    startup: &Startup,
    door: &Door,
    lookup: &impl Lookup,
) -> Result<Login, Error> {
    let user = startup.get("user").filter(|user| !user.is_empty()).ok_or_else(|| {
        Error::client(
            SqlState::INVALID_AUTHORIZATION,
            "no PostgreSQL user name specified in startup packet",
        )
        .fatal()
    })?;
    if startup.get("replication").is_some_and(|value| !matches!(value, "off" | "false" | "0")) {
        return Err(Error::refused(
            "replication connections are not served",
            "connect to the shard's own server",
        )
        .fatal());
    }
    if startup.asks_too_much() {
        let minor = startup.agreed_minor();
        encode::negotiate_protocol_version(minor, &startup.unknown_options, &mut line.output);
    }
    let end_point = match &door.tls {
        TlsPolicy::Allow(acceptor) | TlsPolicy::Require(acceptor) if line.stream.is_tls() => {
            acceptor.end_point.as_deref()
        }
        TlsPolicy::Allow(_) | TlsPolicy::Require(_) | TlsPolicy::Off => None,
    };
    let visitor = Visitor {
        origin: origin(line)?,
        tls: line.stream.is_tls(),
        database: startup.get("database").unwrap_or(user),
        user,
    };
    let (method, strangers) = (door.method(&visitor)?, door.strangers);
    let ask = client::Door { method, strangers, users: &door.users, lookup, end_point };
    let Line { stream, input, output, .. } = line;
    let mut login = client::authenticate(stream, input, output, user, &ask).await?;
    if let Some(secret) = door.server_secrets.get(&login.user) {
        login.secret = secret.clone();
    }
    Ok(login)
}

fn origin(line: &Line) -> Result<Origin, Error> {
    line.stream.origin().map_err(|error| {
        let message = format!("the client left during start-up: {error}");
        Error::client(SqlState::CONNECTION_FAILURE, message).fatal()
    })
}

/// As PgBouncer writes it.
fn add_host(values: &mut Values, origin: Origin) {
    let name = values.get("application_name").filter(|name| !name.is_empty());
    let name = name.map_or("app", String::as_str);
    let named = match origin {
        Origin::Host(address, port) => format!("{name} - {address}:{port}"),
        Origin::Local { .. } => format!("{name} - unix"),
    };
    values.insert("application_name".to_owned(), named);
}

/// A long secret is told only to clients that have agreed to protocol 3.2.
pub fn secret_bytes(startup: &Startup) -> usize {
    if startup.agreed_minor() >= 2 { 32 } else { 4 }
}

/// The settings that a start-up packet asks for, `options` included.
fn startup_settings(startup: &Startup) -> Result<Values, Error> {
    let mut settings = Values::new();
    for (name, value) in &startup.parameters {
        match name.as_str() {
            "user" | "database" | "replication" => {}
            "options" => settings.extend(options(value)?),
            _ => {
                settings.insert(name.to_ascii_lowercase(), value.clone());
            }
        }
    }
    Ok(settings)
}

/// `-c name=value` and `--name=value`, words separated by spaces, `\` before a space of a value.
fn options(text: &str) -> Result<Vec<(String, String)>, Error> {
    let refuse = |word: &str| {
        Error::client(
            SqlState::INVALID_PARAMETER_VALUE,
            format!("unsupported command-line option in startup packet: {word}"),
        )
        .hint("use -c name=value")
        .fatal()
    };
    let mut settings = Vec::new();
    let mut words = words(text).into_iter();
    while let Some(word) = words.next() {
        let assignment = match word.strip_prefix("-c") {
            Some("") => words.next().ok_or_else(|| refuse(&word))?,
            Some(rest) => rest.to_owned(),
            None => word.strip_prefix("--").ok_or_else(|| refuse(&word))?.to_owned(),
        };
        let (name, value) = assignment.split_once('=').ok_or_else(|| refuse(&assignment))?;
        settings.push((name.replace('-', "_").to_ascii_lowercase(), value.to_owned()));
    }
    Ok(settings)
}

fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => word.extend(letters.next()),
            _ if letter.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            _ => word.push(letter),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// Tells a client why it cannot stay.
pub async fn turn_away(mut line: Line, error: &Error) {
    error_response::write(error, &mut line.output);
    // Nobody is left to tell if this fails.
    drop(line.flush().await);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn startup_options_are_read_as_postgres_reads_them() {
        let settings =
            options("-c search_path=a\\ b,c --statement-timeout=5s -cwork_mem=4MB").unwrap();
        let expected = [("search_path", "a b,c"), ("statement_timeout", "5s"), ("work_mem", "4MB")];
        assert_eq!(settings, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert!(options("-d 5").is_err());
    }
}
