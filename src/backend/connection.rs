//! A server's line, with what is read but not taken, and whether it may be used again.
use super::address::Address;
use super::dial::Line;
use super::settings::ServerSession;
use super::stream::Stream;
use crate::auth::line;
use crate::wire::server::{self, Kind};
use bytes::BytesMut;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;
use std::{fmt, io};

/// One connection to one server, logged in.
#[derive(Debug)]
pub struct Connection {
    /// Unique in this process.
    pub id: u64,
    pub stream: Stream,
    /// Bytes read from the server and not yet taken.
    pub input: BytesMut,
    /// Bytes for the server, not yet sent.
    pub output: BytesMut,
    pub cancel: CancelKey,
    /// What the server has reported with ParameterStatus.
    pub parameters: BTreeMap<String, String>,
    pub health: Health,
    pub session: ServerSession,
    pub created: Instant,
}

/// Whether the next client may have this connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Health {
    /// Idle, outside any transaction, nothing unread: it may.
    Clean,
    /// In the middle of something: whoever sends sets it first, and `Clean` again after an idle
    /// ReadyForQuery, so that a client's task which is dropped half-way leaves nothing behind.
    Busy,
    /// Never again. The reason is for the log.
    Tainted(&'static str),
}

/// Who is asked whether something has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Look {
    /// Mostly costs no system call; may not have heard yet of what has come just now.
    Runtime,
    System,
}

/// What stops a statement that runs on this connection.
#[derive(Clone)]
pub struct CancelKey {
    pub address: Arc<Address>,
    pub pid: u32,
    pub secret: Arc<[u8]>,
    /// How the connection was made, so that the request travels as privately.
    pub line: Line,
}

/// The longest message that an idle server sends of its own accord.
const MAX_IDLE_MESSAGE: usize = 65_536;

impl Connection {
    /// Makes sure that a connection which idled is still alive, and hears what the server said
    /// meanwhile. Never waits. `Err`: it must not be used.
    pub fn check_idle(&mut self, look: Look) -> Result<(), &'static str> {
        let mut scratch = [0; 1024];
        let end = loop {
            let read = match look {
                Look::Runtime => self.stream.try_read(&mut scratch),
                Look::System => self.stream.read_now(&mut scratch),
            };
            match read {
                Ok(0) => break Err("the server closed the connection"),
                Ok(read) => self.input.extend_from_slice(scratch.get(..read).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break Ok(()),
                Err(_) => break Err("the connection broke"),
            }
        };
        // What was said before the end says more than the end.
        self.hear_idle_messages()?;
        end
    }

    fn hear_idle_messages(&mut self) -> Result<(), &'static str> {
        while !self.input.is_empty() {
            let message = match line::take(&mut self.input, MAX_IDLE_MESSAGE) {
                Ok(Some(message)) => message,
                Ok(None) => return Err("the server sent half a message while idle"),
                Err(_) => return Err("the server sent what is no message"),
            };
            match Kind::of(message.kind) {
                Ok(Kind::ParameterStatus) => self.hear_parameter(message.body())?,
                Ok(Kind::Notice) => (),
                Ok(Kind::Error) => return Err("the server ended the session"),
                Ok(_) | Err(_) => return Err("the server sent an unexpected message while idle"),
            }
        }
        Ok(())
    }

    /// Remembers what a ParameterStatus reports.
    pub fn hear_parameter(&mut self, body: &[u8]) -> Result<(), &'static str> {
        let Ok((name, value)) = server::parameter_status(body) else {
            return Err("the server sent a ParameterStatus that cannot be read");
        };
        let value = String::from_utf8_lossy(value).into_owned();
        self.parameters.insert(name.to_owned(), value);
        Ok(())
    }

    /// Rules out that anybody uses this connection again.
    pub fn taint(&mut self, reason: &'static str) {
        self.health = Health::Tainted(reason);
    }
}

/// The secret is not printed.
impl fmt::Debug for CancelKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CancelKey({} pid {})", self.address, self.pid)
    }
}
