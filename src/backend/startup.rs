//! From an address and a login to a connection that is ready.
//!
//! Manual, "Message Flow: Start-up" and "SSL Session Encryption"; `sslmode` as libpq means it.
use super::address::Address;
use super::connection::{CancelKey, Connection, Health};
use super::dial::{Line, dial};
use super::failure::ConnectError;
use super::settings::ServerSession;
use super::stream::Stream;
use crate::auth::line;
use crate::auth::scram::client::{Begun, Line as Binding, Proving};
use crate::auth::scram::{self, ClientKeys, KeyCache, ScramError};
use crate::auth::tls::connect::peer_end_point;
use crate::auth::tls::{Connector, TlsMode};
use crate::auth::{Login, Secret, md5};
use crate::error::{Blame, SqlState};
use crate::wire::encode;
use crate::wire::server::{Authentication, BackendKeyData, ErrorFields, Kind, parameter_status};
use bytes::BytesMut;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest message a server may send before it is ready.
const MAX_MESSAGE: usize = 1 << 20;

/// How connections are made.
#[derive(Clone, Debug, Default)]
pub struct ConnectOptions {
    /// Made from the address's certificates; needed unless the mode is `Disable`.
    pub tls: Option<Connector>,
    /// Start-up parameters beside user and database: `client_encoding`, `application_name`, …
    pub parameters: Vec<(String, String)>,
    /// Bounds the whole of connecting; the address's `connect_timeout` goes before it.
    pub timeout: Option<Duration>,
    /// Spares the costly step of SCRAM for passwords already used.
    pub keys: Arc<KeyCache>,
    /// Numbers the connections; shared so that ids are unique in a process.
    pub ids: Arc<AtomicU64>,
}

impl ConnectOptions {
    /// How long connecting to this address may take.
    pub fn limit(&self, address: &Address) -> Duration {
        address.connect_timeout.or(self.timeout).unwrap_or(DEFAULT_TIMEOUT)
    }
}

/// Connects and logs in; the connection is idle and clean.
pub async fn connect(
    address: &Arc<Address>,
    login: &Login,
    options: &ConnectOptions,
) -> Result<Connection, ConnectError> {
    let limit = options.limit(address);
    let attempts = async {
        match address.tls {
            TlsMode::Allow => match attempt(address, login, options, TlsMode::Disable).await {
                Err((Line::Plain, error)) if wants_other_line(&error) => {
                    attempt(address, login, options, TlsMode::Require).await
                }
                outcome => outcome,
            },
            TlsMode::Prefer => match attempt(address, login, options, TlsMode::Prefer).await {
                Err((Line::Tls(_), error)) if wants_other_line(&error) => {
                    attempt(address, login, options, TlsMode::Disable).await
                }
                Err((_, ConnectError::Tls(_))) => {
                    attempt(address, login, options, TlsMode::Disable).await
                }
                outcome => outcome,
            },
            mode @ (TlsMode::Disable
            | TlsMode::Require
            | TlsMode::VerifyCa
            | TlsMode::VerifyFull) => attempt(address, login, options, mode).await,
        }
    };
    match tokio::time::timeout(limit, attempts).await {
        Ok(outcome) => outcome.map_err(|(_, error)| error),
        Err(_) => Err(ConnectError::TimedOut(limit)),
    }
}

/// pg_hba.conf has no entry for this kind of line: perhaps for the other.
fn wants_other_line(error: &ConnectError) -> bool {
    matches!(error, ConnectError::Refused(e) if e.code == SqlState::INVALID_AUTHORIZATION)
}

/// A failure comes with the line it happened on.
async fn attempt(
    address: &Arc<Address>,
    login: &Login,
    options: &ConnectOptions,
    mode: TlsMode,
) -> Result<Connection, (Line, ConnectError)> {
    let dialled = dial(address, mode, options.tls.as_ref()).await;
    let (stream, line) = dialled.map_err(|error| (Line::Plain, error))?;
    let address = Arc::clone(address);
    let key = CancelKey { address, pid: 0, secret: Arc::default(), line: line.clone() };
    let opening = Opening {
        stream,
        input: BytesMut::with_capacity(4096),
        output: BytesMut::with_capacity(1024),
        key,
        parameters: BTreeMap::new(),
    };
    opening.log_in(login, options).await.map_err(|error| (line, error))
}

/// A connection on its way.
struct Opening {
    stream: Stream,
    input: BytesMut,
    output: BytesMut,
    key: CancelKey,
    parameters: BTreeMap<String, String>,
}

impl Opening {
    async fn log_in(
        mut self,
        login: &Login,
        options: &ConnectOptions,
    ) -> Result<Connection, ConnectError> {
        let address = Arc::clone(&self.key.address);
        self.ask(&address, login, options);
        self.authenticate(login, &options.keys).await?;
        let id = options.ids.fetch_add(1, Ordering::Relaxed);
        self.until_ready(id).await
    }

    /// Writes the start-up message.
    fn ask(&mut self, address: &Address, login: &Login, options: &ConnectOptions) {
        let user = login.user.as_str();
        let mut parameters = vec![("user", user)];
        parameters.push(("database", address.dbname.as_deref().unwrap_or(user)));
        let own = |name: &str| options.parameters.iter().any(|(key, _)| key == name);
        for (name, value) in
            [("application_name", &address.application_name), ("options", &address.options)]
        {
            if let Some(value) = value.as_deref().filter(|_| !own(name)) {
                parameters.push((name, value));
            }
        }
        parameters.extend(options.parameters.iter().map(|(k, v)| (k.as_str(), v.as_str())));
        encode::startup(parameters, &mut self.output);
    }

    async fn authenticate(&mut self, login: &Login, cache: &KeyCache) -> Result<(), ConnectError> {
        let mut proving: Option<Proving> = None;
        let mut begun: Option<Begun> = None;
        loop {
            line::send(&mut self.stream, &mut self.output).await?;
            let message = self.receive().await?;
            let asked = match Kind::of(message.kind)? {
                Kind::Authentication => Authentication::read(message.body())?,
                Kind::Error => return Err(refusal(message.body())),
                Kind::NegotiateProtocolVersion | Kind::Notice => continue,
                other => return Err(unexpected(other)),
            };
            match asked {
                // A server that skips its own proof is not the one that asked for ours.
                Authentication::Ok if begun.is_some() || proving.is_some() => {
                    return Err(ConnectError::Protocol("the server left SCRAM unfinished".into()));
                }
                Authentication::Ok => return Ok(()),
                Authentication::CleartextPassword => {
                    encode::password(cleartext(login)?.as_bytes(), &mut self.output);
                }
                Authentication::Md5Password { salt } => {
                    let answer = md5::answer(&md5_stored(login)?, salt);
                    encode::password(answer.as_bytes(), &mut self.output);
                }
                Authentication::Sasl(mechanisms) => {
                    let offered: Vec<&str> = mechanisms.iter().collect();
                    let first = self.begin(&offered)?;
                    encode::sasl_initial(
                        first.mechanism,
                        first.client_first.as_bytes(),
                        &mut self.output,
                    );
                    begun = Some(first);
                }
                Authentication::SaslContinue(challenge) => {
                    let begun = begun.take().ok_or_else(out_of_turn)?;
                    let knows = scram_knowledge(login)?;
                    let keys = |salt: &[u8], iterations| match knows {
                        Knows::Password(password) => cache.derive(password, salt, iterations),
                        Knows::Keys(keys) => keys.clone(),
                    };
                    let next = begun.hear(challenge, keys).map_err(scram_failed)?;
                    encode::sasl_response(next.client_final.as_bytes(), &mut self.output);
                    proving = Some(next);
                }
                Authentication::SaslFinal(data) => {
                    let proving = proving.take().ok_or_else(out_of_turn)?;
                    proving.hear(data).map_err(scram_failed)?;
                }
                Authentication::Unsupported(code) => {
                    let problem = format!("authentication method {code} is not supported");
                    return Err(ConnectError::Login(problem));
                }
            }
        }
    }

    fn begin(&self, offered: &[&str]) -> Result<Begun, ConnectError> {
        let end_point = match &self.stream {
            Stream::Tls(session) => peer_end_point(session),
            Stream::Tcp(_) | Stream::Unix(_) => None,
        };
        let binding = match self.stream.is_tls() {
            true => Binding::Tls(end_point.as_deref()),
            false => Binding::Plain,
        };
        Begun::new(offered, binding, scram::nonce()).ok_or_else(|| {
            let offered = offered.join(", ");
            ConnectError::Login(format!("none of the SASL mechanisms {offered} is supported"))
        })
    }

    async fn until_ready(mut self, id: u64) -> Result<Connection, ConnectError> {
        loop {
            let message = self.receive().await?;
            match Kind::of(message.kind)? {
                Kind::ParameterStatus => {
                    let (name, value) = parameter_status(message.body())?;
                    let value = String::from_utf8_lossy(value).into_owned();
                    self.parameters.insert(name.to_owned(), value);
                }
                Kind::BackendKeyData => {
                    let key = BackendKeyData::read(message.body())?;
                    self.key.pid = key.pid;
                    self.key.secret = key.secret.into();
                }
                Kind::Ready => break,
                Kind::Notice | Kind::NegotiateProtocolVersion => (),
                Kind::Error => return Err(refusal(message.body())),
                other => return Err(unexpected(other)),
            }
        }
        Ok(Connection {
            id,
            stream: self.stream,
            input: self.input,
            output: self.output,
            cancel: self.key,
            parameters: self.parameters,
            health: Health::Clean,
            session: ServerSession::default(),
            created: Instant::now(),
        })
    }

    async fn receive(&mut self) -> Result<line::Message, ConnectError> {
        Ok(line::receive(&mut self.stream, &mut self.input, MAX_MESSAGE).await?)
    }
}

#[derive(Clone, Copy)]
enum Knows<'a> {
    Password(&'a str),
    Keys(&'a ClientKeys),
}

fn scram_knowledge(login: &Login) -> Result<Knows<'_>, ConnectError> {
    match &login.secret {
        Secret::Password(password) => Ok(Knows::Password(password)),
        Secret::ScramKeys(keys) => Ok(Knows::Keys(keys)),
        Secret::None | Secret::Md5(_) => Err(no_secret(login, "a password or SCRAM keys")),
    }
}

fn cleartext(login: &Login) -> Result<&str, ConnectError> {
    match &login.secret {
        Secret::Password(password) => Ok(password),
        Secret::None | Secret::ScramKeys(_) | Secret::Md5(_) => Err(no_secret(login, "a password")),
    }
}

fn md5_stored(login: &Login) -> Result<Cow<'_, str>, ConnectError> {
    match &login.secret {
        Secret::Password(password) => Ok(md5::stored(&login.user, password).into()),
        Secret::Md5(stored) => Ok(stored.into()),
        Secret::None | Secret::ScramKeys(_) => Err(no_secret(login, "a password or its md5 hash")),
    }
}

fn no_secret(login: &Login, asked: &str) -> ConnectError {
    let user = &login.user;
    ConnectError::Login(format!(
        "the server asks for {asked} of user \"{user}\", and weir has none"
    ))
}

fn scram_failed(error: ScramError) -> ConnectError {
    match error {
        ScramError::Malformed(_) => ConnectError::Protocol(error.to_string()),
        ScramError::WrongProof | ScramError::ServerUnproved | ScramError::ServerRefused(_) => {
            ConnectError::Login(error.to_string())
        }
    }
}

fn refusal(body: &[u8]) -> ConnectError {
    match ErrorFields::read(body) {
        Ok(fields) => ConnectError::Refused(fields.to_error(Blame::Shard)),
        Err(error) => error.into(),
    }
}

fn unexpected(kind: Kind) -> ConnectError {
    ConnectError::Protocol(format!("unexpected {kind:?} during start-up"))
}

fn out_of_turn() -> ConnectError {
    ConnectError::Protocol("a SCRAM message came out of turn".into())
}
