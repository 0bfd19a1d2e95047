//! Where a server is and how it is reached: libpq's keyword/value strings and URIs.
//!
//! PostgreSQL manual, "Connection Strings". Keys are libpq's; what weir does not do is an error,
//! never ignored. Files are named here and read by the caller.
use crate::auth::tls::TlsMode;
use crate::rules::dsn;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

const DEFAULT_PORT: u16 = 5432;

/// One server.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Address {
    pub host: Host,
    pub port: u16,
    pub dbname: Option<String>,
    pub user: Option<String>,
    pub password: Option<String>,
    pub tls: TlsMode,
    /// `sslrootcert`, `sslcert`, `sslkey`: paths of PEM files.
    pub root_certificate: Option<String>,
    pub client_certificate: Option<String>,
    pub client_key: Option<String>,
    pub connect_timeout: Option<Duration>,
    pub application_name: Option<String>,
    /// Command-line options for the server (`-c name=value`).
    pub options: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Host {
    /// A name or an IP address; where both are given, `connect` is dialled and `name` is verified.
    Tcp { name: String, connect: Option<String> },
    /// A directory with a socket named `.s.PGSQL.<port>`.
    Unix(PathBuf),
}

/// What is wrong with a connection string.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BadAddress(pub String);

impl Address {
    /// Reads either form.
    pub fn parse(text: &str) -> Result<Self, BadAddress> {
        let text = text.trim();
        let uri = text.strip_prefix("postgresql://").or_else(|| text.strip_prefix("postgres://"));
        let pairs = match uri {
            Some(rest) => uri::pairs(rest)?,
            None => dsn::read(text).map_err(BadAddress)?,
        };
        Self::from_pairs(pairs)
    }

    fn from_pairs(pairs: Vec<(String, String)>) -> Result<Self, BadAddress> {
        let mut address = Self::default();
        let (mut host, mut hostaddr) = (None, None);
        for (key, value) in pairs {
            let text = || Some(value.clone()).filter(|v| !v.is_empty());
            match key.as_str() {
                "host" => host = text(),
                "hostaddr" => hostaddr = text(),
                "port" if value.is_empty() => (),
                "port" => address.port = number(&key, &value)?,
                "dbname" => address.dbname = text(),
                "user" => address.user = text(),
                "password" => address.password = text(),
                "sslmode" => address.tls = tls_mode(&value)?,
                "sslrootcert" => address.root_certificate = text(),
                "sslcert" => address.client_certificate = text(),
                "sslkey" => address.client_key = text(),
                "application_name" | "fallback_application_name" => {
                    address.application_name = text();
                }
                "options" => address.options = text(),
                // weir never uses GSSAPI: these two ask for nothing else.
                "gssencmode" if matches!(value.as_str(), "disable" | "prefer") => (),
                "connect_timeout" => {
                    let seconds: i64 = number(&key, &value)?;
                    // As in libpq: zero and below wait for ever, and one second is too short.
                    let limit = u64::try_from(seconds).ok().filter(|s| *s > 0);
                    address.connect_timeout = limit.map(|s| Duration::from_secs(s.max(2)));
                }
                _ => return Err(bad(format!("unknown connection parameter \"{key}\""))),
            }
        }
        if address.root_certificate.as_deref() == Some("system") {
            return Err(bad(
                "sslrootcert=system is not supported: name a file of root certificates",
            ));
        }
        address.host = pick_host(host, hostaddr)?;
        Ok(address)
    }

    /// The name that a certificate must carry; empty for a socket.
    pub fn host_name(&self) -> &str {
        match &self.host {
            Host::Tcp { name, .. } => name,
            Host::Unix(_) => "",
        }
    }
}

impl Default for Address {
    fn default() -> Self {
        Self {
            host: Host::Tcp { name: "localhost".to_owned(), connect: None },
            port: DEFAULT_PORT,
            dbname: None,
            user: None,
            password: None,
            tls: TlsMode::default(),
            root_certificate: None,
            client_certificate: None,
            client_key: None,
            connect_timeout: None,
            application_name: None,
            options: None,
        }
    }
}

/// `host:port`, `[::1]:port` or the socket's path: for messages.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let port = self.port;
        match &self.host {
            Host::Tcp { name, connect } => {
                let host = connect.as_ref().unwrap_or(name);
                if host.contains(':') {
                    write!(f, "[{host}]:{port}")
                } else {
                    write!(f, "{host}:{port}")
                }
            }
            Host::Unix(directory) => write!(f, "{}/.s.PGSQL.{port}", directory.display()),
        }
    }
}

/// The password is not printed.
impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Address({self} dbname={:?} user={:?} tls={:?})",
            self.dbname, self.user, self.tls
        )
    }
}

impl fmt::Display for BadAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadAddress {}

fn bad(problem: impl Into<String>) -> BadAddress {
    BadAddress(problem.into())
}

fn number<N: std::str::FromStr>(key: &str, value: &str) -> Result<N, BadAddress> {
    let parsed = value.trim().parse();
    parsed.map_err(|_| bad(format!("invalid value \"{value}\" for connection parameter \"{key}\"")))
}

fn tls_mode(value: &str) -> Result<TlsMode, BadAddress> {
    Ok(match value {
        "disable" => TlsMode::Disable,
        "allow" => TlsMode::Allow,
        "prefer" | "" => TlsMode::Prefer,
        "require" => TlsMode::Require,
        "verify-ca" => TlsMode::VerifyCa,
        "verify-full" => TlsMode::VerifyFull,
        _ => return Err(bad(format!("invalid sslmode \"{value}\""))),
    })
}

fn pick_host(host: Option<String>, hostaddr: Option<String>) -> Result<Host, BadAddress> {
    let several = |text: &Option<String>| text.as_ref().is_some_and(|t| t.contains(','));
    if several(&host) || several(&hostaddr) {
        return Err(bad("several hosts in one connection string are not supported"));
    }
    Ok(match (host, hostaddr) {
        (Some(host), None) if host.starts_with('/') => Host::Unix(PathBuf::from(host)),
        (Some(host), connect) => Host::Tcp { name: host, connect },
        (None, Some(address)) => Host::Tcp { name: address, connect: None },
        (None, None) => Host::Tcp { name: "localhost".to_owned(), connect: None },
    })
}

/// `user:password@host:port/dbname?key=value&…`, with percent-encoding in every part.
mod uri {
    use super::{BadAddress, bad};

    pub fn pairs(rest: &str) -> Result<Vec<(String, String)>, BadAddress> {
        let mut pairs = Vec::new();
        let mut push = |key: &str, text: &str| -> Result<(), BadAddress> {
            pairs.push((key.to_owned(), decoded(text)?));
            Ok(())
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, dbname) = rest.split_once('/').unwrap_or((rest, ""));
        let host = match authority.rsplit_once('@') {
            Some((who, host)) => {
                let (user, password) = who.split_once(':').unwrap_or((who, ""));
                push("user", user)?;
                push("password", password)?;
                host
            }
            None => authority,
        };
        let (host, port) = host_and_port(host)?;
        push("host", host)?;
        push("port", port)?;
        push("dbname", dbname)?;
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair
                .split_once('=')
                .ok_or_else(|| bad(format!("missing \"=\" after \"{pair}\" in connection URI")))?;
            match (key, value) {
                ("ssl", "true") => push("sslmode", "require")?,
                (key, value) => {
                    let key = decoded(key)?;
                    push(&key, value)?;
                }
            }
        }
        Ok(pairs)
    }

    fn host_and_port(text: &str) -> Result<(&str, &str), BadAddress> {
        let Some(inner) = text.strip_prefix('[') else {
            return Ok(text.split_once(':').unwrap_or((text, "")));
        };
        let (host, rest) =
            inner.split_once(']').ok_or_else(|| bad("missing \"]\" after an IPv6 address"))?;
        match rest.strip_prefix(':') {
            Some(port) => Ok((host, port)),
            None if rest.is_empty() => Ok((host, "")),
            None => Err(bad("unexpected text after an IPv6 address")),
        }
    }

    fn decoded(text: &str) -> Result<String, BadAddress> {
        let mut bytes = Vec::with_capacity(text.len());
        let mut rest = text.as_bytes();
        while let Some((byte, after)) = rest.split_first() {
            rest = after;
            if *byte != b'%' {
                bytes.push(*byte);
                continue;
            }
            let digits = after.get(..2).and_then(|d| std::str::from_utf8(d).ok());
            let value = digits.and_then(|d| u8::from_str_radix(d, 16).ok());
            match value {
                Some(0) | None => {
                    return Err(bad(format!("invalid percent-encoding in \"{text}\"")));
                }
                Some(value) => bytes.push(value),
            }
            rest = after.get(2..).unwrap_or_default();
        }
        String::from_utf8(bytes).map_err(|_| bad("a connection URI must be UTF-8"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, shown: &str, dbname: Option<&str>) -> Address {
        let address = Address::parse(text).unwrap();
        assert_eq!(address.to_string(), shown, "{text}");
        assert_eq!(address.dbname.as_deref(), dbname, "{text}");
        address
    }

    #[test]
    fn both_forms_of_libpq_are_read() {
        check("", "localhost:5432", None);
        check("host=127.0.0.1 port=5441 dbname=shop", "127.0.0.1:5441", Some("shop"));
        check("host=/run/pg dbname = 'my \\'db\\\\'", "/run/pg/.s.PGSQL.5432", Some("my 'db\\"));
        check("postgresql://[::1]:6000/shop", "[::1]:6000", Some("shop"));
        check("postgres://%2Frun%2Fpg/shop?port=7", "/run/pg/.s.PGSQL.7", Some("shop"));
        let full = check(
            "postgresql://al%40ice:s%3Ae@db.example:5433/shop?sslmode=verify-full&sslrootcert=r.pem&connect_timeout=1",
            "db.example:5433",
            Some("shop"),
        );
        assert_eq!(full.user.as_deref(), Some("al@ice"));
        assert_eq!(full.password.as_deref(), Some("s:e"));
        assert_eq!(full.tls, TlsMode::VerifyFull);
        assert_eq!(full.root_certificate.as_deref(), Some("r.pem"));
        assert_eq!(full.connect_timeout, Some(Duration::from_secs(2)));
    }

    #[test]
    fn what_weir_does_not_do_is_an_error() {
        let wrong = [
            "hots=x",
            "host",
            "port=x",
            "port=70000",
            "sslmode=maybe",
            "host='x",
            "host=a,b",
            "gssencmode=require",
            "sslrootcert=system",
            "postgres://a?b",
            "postgres://[::1",
            "postgres://%zz",
            "x y=z",
        ];
        for text in wrong {
            assert!(Address::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn every_parameter_that_the_rules_accept_has_a_meaning() {
        for name in dsn::PARAMETERS {
            let text = format!("{name}=''");
            let error = Address::parse(&text).err().map(|error| error.0).unwrap_or_default();
            assert!(!error.contains("unknown"), "{error}");
        }
    }

    #[test]
    fn a_password_is_not_printed() {
        let address = Address::parse("host=h user=u password=hunter2").unwrap();
        assert!(!format!("{address:?} {address}").contains("hunter2"));
    }

    proptest! {
        #[test]
        fn any_password_survives_quoting(password in "[^\0]{1,12}") {
            let quoted = password.replace('\\', "\\\\").replace('\'', "\\'");
            let address = Address::parse(&format!("password='{quoted}' host=x")).unwrap();
            prop_assert_eq!(address.password, Some(password));
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in ".{0,40}") {
            drop(Address::parse(&text));
            drop(Address::parse(&format!("postgres://{text}")));
        }
    }
}
