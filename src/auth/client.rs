//! The conversation that follows a client's start-up message: who is there?
//!
//! Whatever the reason, a client that is not let in hears the same words. The reason is logged.
use super::line::{self, LineError, Message};
use super::scram::{self, server::Asked};
use super::users::{Stored, Users};
use super::{Login, Secret, md5};
use crate::error::{Error, SqlState};
use crate::wire::{encode, frontend};
use bytes::BytesMut;
use std::future::Future;
use subtle::ConstantTimeEq;
use tokio::io::{AsyncRead, AsyncWrite};

/// The longest message a client may send before it is known.
const MAX_MESSAGE: usize = 65_536;

/// How clients prove who they are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Method {
    /// They need not.
    Trust,
    /// md5, or SCRAM where a SCRAM verifier is stored, as in PostgreSQL.
    Md5,
    #[default]
    Scram,
    /// The password itself travels: only for lines that are private.
    Password,
}

/// What becomes of users that nobody knows, where nothing is asked of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Strangers {
    #[default]
    Welcome,
    Refused,
}

/// Where users come from that the users file does not name (`auth_query`).
pub trait Lookup {
    fn find(&self, user: &str) -> impl Future<Output = Result<Option<Stored>, Error>>;
}

/// There is nobody beyond the users file.
pub struct NoLookup;

impl Lookup for NoLookup {
    async fn find(&self, _user: &str) -> Result<Option<Stored>, Error> {
        Ok(None)
    }
}

/// What is asked of each client.
#[derive(Debug)]
pub struct Door<'a, L> {
    pub method: Method,
    pub strangers: Strangers,
    pub users: &'a Users,
    pub lookup: &'a L,
    /// The hash of our certificate where the client's line is TLS (`Acceptor::end_point`).
    pub end_point: Option<&'a [u8]>,
}

/// Finds out whether the client is `user`. AuthenticationOk is left in `output`, unsent, so that the
/// caller can send it with all that follows. The time limit is the caller's.
pub async fn authenticate<S: AsyncRead + AsyncWrite + Unpin, L: Lookup>(
    stream: &mut S,
    input: &mut BytesMut,
    output: &mut BytesMut,
    user: &str,
    door: &Door<'_, L>,
) -> Result<Login, Error> {
    let looked_up;
    let stored = match (door.users.get(user), door.method) {
        (Some(stored), _) => Some(stored),
        (None, Method::Trust) if door.strangers == Strangers::Welcome => None,
        (None, Method::Trust | Method::Md5 | Method::Scram | Method::Password) => {
            looked_up = door.lookup.find(user).await?;
            looked_up.as_ref()
        }
    };
    let mut talk = Talk { stream, input, output, user };
    let secret = match (door.method, stored) {
        (Method::Trust, None) if door.strangers == Strangers::Refused => {
            return Err(talk.refused("no such user"));
        }
        (Method::Trust, stored) => stored.map_or(Secret::None, Stored::secret),
        (Method::Scram, stored) | (Method::Md5, stored @ Some(Stored::Scram(_))) => {
            talk.scram(stored, door).await?
        }
        (Method::Md5, stored) => talk.md5(stored).await?,
        (Method::Password, stored) => talk.password(stored).await?,
    };
    encode::authentication_ok(output);
    Ok(Login::new(user, secret))
}

struct Talk<'a, S> {
    stream: &'a mut S,
    input: &'a mut BytesMut,
    output: &'a mut BytesMut,
    user: &'a str,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Talk<'_, S> {
    async fn scram<L>(
        &mut self,
        stored: Option<&Stored>,
        door: &Door<'_, L>,
    ) -> Result<Secret, Error> {
        let mock;
        let verifier = match stored.and_then(Stored::verifier) {
            Some(verifier) => verifier,
            None => {
                mock = door.users.mock_verifier(self.user);
                &mock
            }
        };
        let asked = Asked::new(verifier, door.end_point);
        encode::authentication_sasl(asked.mechanisms(), self.output);
        let answer = self.answer().await?;
        let initial = frontend::SaslInitialResponse::read(answer.body())?;
        let first = initial.data.ok_or_else(|| protocol("the SCRAM exchange starts empty"))?;
        let heard = asked.hear(initial.mechanism, first, &scram::nonce());
        let (challenged, challenge) = heard.map_err(|error| self.scram_failed(&error))?;
        encode::authentication_sasl_continue(challenge.as_bytes(), self.output);
        let answer = self.answer().await?;
        let heard = challenged.hear(frontend::SaslResponse::read(answer.body()).data);
        let proved = heard.map_err(|error| self.scram_failed(&error))?;
        encode::authentication_sasl_final(proved.server_final.as_bytes(), self.output);
        match stored {
            // A password logs in everywhere, whatever salt a server has given it.
            Some(stored @ Stored::Plain(_)) => Ok(stored.secret()),
            Some(Stored::Scram(_)) => Ok(Secret::ScramKeys(proved.keys)),
            Some(Stored::Md5(_)) | None => Err(self.refused("no verifier")),
        }
    }

    async fn md5(&mut self, stored: Option<&Stored>) -> Result<Secret, Error> {
        let salt: [u8; 4] = rand::random();
        encode::authentication_md5(salt, self.output);
        let answer = self.answer().await?;
        let given = frontend::Password::read(answer.body())?.bytes;
        let hash = match stored {
            Some(Stored::Plain(plain)) => md5::stored(self.user, &plain.password),
            Some(Stored::Md5(hash)) => hash.0.clone(),
            Some(Stored::Scram(_)) | None => return Err(self.refused("no such user")),
        };
        match bool::from(md5::answer(&hash, salt).as_bytes().ct_eq(given)) {
            true => Ok(stored.map_or(Secret::None, Stored::secret)),
            false => Err(self.refused("wrong password")),
        }
    }

    async fn password(&mut self, stored: Option<&Stored>) -> Result<Secret, Error> {
        encode::authentication_cleartext(self.output);
        let answer = self.answer().await?;
        let given = frontend::Password::read(answer.body())?.bytes;
        let given = std::str::from_utf8(given).map_err(|_| self.refused("not UTF-8"))?;
        let right = match stored {
            Some(Stored::Plain(plain)) => {
                bool::from(plain.password.as_bytes().ct_eq(given.as_bytes()))
            }
            Some(Stored::Scram(verifier)) => verifier.accepts(given),
            Some(Stored::Md5(hash)) => {
                bool::from(md5::stored(self.user, given).as_bytes().ct_eq(hash.0.as_bytes()))
            }
            None => false,
        };
        match right {
            true => Ok(Secret::Password(given.to_owned())),
            false => Err(self.refused("wrong password, or no such user")),
        }
    }

    /// Sends the question and waits for the answer.
    async fn answer(&mut self) -> Result<Message, Error> {
        line::send(self.stream, self.output).await.map_err(|e| gone(LineError::Io(e)))?;
        let message = line::receive(self.stream, self.input, MAX_MESSAGE).await.map_err(gone)?;
        match message.kind {
            b'p' => Ok(message),
            other => {
                Err(protocol(&format!("expected password response, got message type {other}")))
            }
        }
    }

    fn scram_failed(&self, error: &scram::ScramError) -> Error {
        match error {
            scram::ScramError::Malformed(what) => {
                protocol(&format!("malformed SCRAM message: {what}"))
            }
            scram::ScramError::WrongProof
            | scram::ScramError::ServerUnproved
            | scram::ScramError::ServerRefused(_) => self.refused("wrong proof"),
        }
    }

    fn refused(&self, reason: &str) -> Error {
        let user = self.user;
        tracing::info!(user, reason, "a client was not let in");
        let message = format!("password authentication failed for user \"{user}\"");
        Error::client(SqlState::INVALID_PASSWORD, message).fatal()
    }
}

fn protocol(message: &str) -> Error {
    Error::client(SqlState::PROTOCOL_VIOLATION, message).fatal()
}

/// Nobody will read this error: it ends the session.
fn gone(error: LineError) -> Error {
    match error {
        LineError::Wire(wrong) => wrong.into(),
        LineError::Io(_) | LineError::Closed => {
            let message = format!("the client left during authentication: {error}");
            Error::client(SqlState::CONNECTION_FAILURE, message).fatal()
        }
    }
}
