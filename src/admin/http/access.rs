//! Who may do what over HTTP, and which requests a stranger's web page has made.
//!
//! Nobody may look or act unless weir.toml says so. There are no cookies: whoever acts brings a token
//! with each request, or a client certificate. A browser sends the latter unasked, and reaches loopback
//! addresses for any page it shows, so a request must also name a host that is weir's, and come from
//! weir's own pages or from no page at all.
use super::super::console::May;
use super::answer::Refusal;
use crate::auth::tls::Acceptor;
use crate::error::SqlState;
use hyper::header::{AUTHORIZATION, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN};
use hyper::{StatusCode, Uri};
use sha2::{Digest, Sha256};
use std::net::{IpAddr, SocketAddr};
use subtle::ConstantTimeEq;

/// What weir.toml says about the admin port.
#[derive(Debug, Default)]
pub struct Gate {
    /// HTTPS instead of HTTP.
    pub tls: Option<Acceptor>,
    /// Whoever brings it may act.
    pub token: Option<Token>,
    /// Whoever brings it may look.
    pub look_token: Option<Token>,
    pub look: Look,
    /// Names of this machine, besides localhost and its addresses.
    pub hosts: Vec<String>,
}

/// Who may look without a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Look {
    #[default]
    Nobody,
    /// Whoever connects from this machine.
    Loopback,
}

/// A secret's hash: hashes of equal length are compared in constant time.
pub struct Token([u8; 32]);

impl Token {
    pub fn new(secret: &str) -> Self {
        Self(Sha256::digest(secret).into())
    }

    fn is(&self, brought: &[u8]) -> bool {
        let brought: [u8; 32] = Sha256::digest(brought).into();
        self.0.ct_eq(&brought).into()
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

/// The other end of a connection.
#[derive(Debug, Clone, Copy)]
pub struct Peer {
    pub address: SocketAddr,
    pub certificate: Certificate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Certificate {
    None,
    /// Of an authority that weir.toml names.
    Verified,
}

impl Gate {
    /// May the request look? The answer says whether it may act, too.
    pub fn admit(&self, peer: Peer, headers: &HeaderMap) -> Result<May, Refusal> {
        if peer.certificate == Certificate::Verified {
            return Ok(May::Act);
        }
        if let Some(brought) = headers.get(AUTHORIZATION) {
            return self.of_token(brought.as_bytes()).ok_or_else(wrong_token);
        }
        match self.look {
            Look::Loopback if is_loopback(peer.address.ip()) => Ok(May::Look),
            Look::Loopback | Look::Nobody => Err(self.no_token()),
        }
    }

    fn of_token(&self, header: &[u8]) -> Option<May> {
        let (scheme, token) = header.split_at_checked(b"bearer ".len())?;
        if !scheme.eq_ignore_ascii_case(b"bearer ") {
            return None;
        }
        let is = |known: &Option<Token>| known.as_ref().is_some_and(|known| known.is(token));
        // Both are looked at, so that the time says nothing.
        match (is(&self.token), is(&self.look_token)) {
            (true, _) => Some(May::Act),
            (false, true) => Some(May::Look),
            (false, false) => None,
        }
    }

    fn no_token(&self) -> Refusal {
        let message = "this needs a token, in a header: Authorization: Bearer …";
        let refusal = Refusal::new(StatusCode::UNAUTHORIZED, SqlState::INVALID_AUTHORIZATION);
        let refusal = refusal.message(message);
        match self.token.is_some() || self.look_token.is_some() {
            true => refusal.hint("weir.toml says where it is: token or look_token in [admin]"),
            false => refusal.hint(
                "nobody may look here yet: set token in [admin] of weir.toml, or look = \"loopback\"",
            ),
        }
    }

    /// Is the request meant for this port? The host that it names.
    pub fn check_host<'a>(&self, uri: &'a Uri, headers: &'a HeaderMap) -> Result<&'a str, Refusal> {
        let host = match uri.authority() {
            Some(authority) => Some(authority.as_str()),
            None => text(headers, HOST)?,
        };
        let Some(host) = host else { return Err(foreign("the request names no host")) };
        match self.is_ours(host) {
            true => Ok(host),
            false => Err(foreign("the request is for another host")
                .hint("name the host in hosts of [admin] in weir.toml if it is this machine")),
        }
    }

    /// And did no stranger's page make it?
    pub fn check_origin(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
        let host = self.check_host(uri, headers)?;
        if let Some(origin) = text(headers, ORIGIN)? {
            let ours = match &self.tls {
                Some(_) => format!("https://{host}"),
                None => format!("http://{host}"),
            };
            if !origin.eq_ignore_ascii_case(&ours) {
                return Err(foreign("another site's page has made the request"));
            }
        }
        match text(headers, HeaderName::from_static("sec-fetch-site"))? {
            // `none`: the address was typed.
            None | Some("same-origin" | "none") => Ok(()),
            Some(_) => Err(foreign("another site's page has made the request")),
        }
    }

    /// An address, which no name server of a stranger can stand for, localhost, or a name that is listed.
    fn is_ours(&self, host: &str) -> bool {
        let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((address, _)) => address,
            None => host.rsplit_once(':').map_or(host, |(name, _)| name),
        };
        name.parse::<IpAddr>().is_ok()
            || name.eq_ignore_ascii_case("localhost")
            || self.hosts.iter().any(|known| known.eq_ignore_ascii_case(name))
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> Result<Option<&str>, Refusal> {
    let value = headers.get(name).map(HeaderValue::to_str).transpose();
    value.map_err(|_| foreign("a header is no text"))
}

pub fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

fn wrong_token() -> Refusal {
    Refusal::new(StatusCode::UNAUTHORIZED, SqlState::INVALID_PASSWORD)
        .message("the token is not one that may look or act here")
        .hint("the header is: Authorization: Bearer TOKEN")
}

fn foreign(message: &str) -> Refusal {
    Refusal::new(StatusCode::FORBIDDEN, SqlState::INSUFFICIENT_PRIVILEGE).message(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate() -> Gate {
        Gate {
            token: Some(Token::new("act-secret")),
            look_token: Some(Token::new("look-secret")),
            hosts: vec!["db7.example.org".to_owned()],
            ..Gate::default()
        }
    }

    fn peer(address: &str) -> Peer {
        Peer { address: address.parse().unwrap(), certificate: Certificate::None }
    }

    fn headers(list: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair =
            |&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value));
        list.iter().map(pair).collect()
    }

    fn check(gate: &Gate, from: &str, brought: Option<&'static str>, expected: Option<May>) {
        let list: Vec<_> = brought.map(|value| ("authorization", value)).into_iter().collect();
        assert_eq!(gate.admit(peer(from), &headers(&list)).ok(), expected, "{from} {brought:?}");
    }

    #[test]
    fn a_token_decides_what_one_may() {
        let gate = gate();
        check(&gate, "127.0.0.1:9", Some("Bearer act-secret"), Some(May::Act));
        check(&gate, "10.0.0.1:9", Some("bearer look-secret"), Some(May::Look));
        for wrong in ["Bearer act-secre", "Bearer act-secret1", "Bearer ", "Basic YTpi", ""] {
            check(&gate, "127.0.0.1:9", Some(wrong), None);
        }
        check(&gate, "127.0.0.1:9", None, None);
    }

    #[test]
    fn without_a_setting_nobody_may_look() {
        check(&Gate::default(), "127.0.0.1:9", None, None);
        check(&Gate::default(), "127.0.0.1:9", Some("Bearer "), None);
    }

    #[test]
    fn loopback_may_look_and_not_act_where_the_setting_says_so() {
        let gate = Gate { look: Look::Loopback, ..gate() };
        check(&gate, "127.0.0.1:9", None, Some(May::Look));
        check(&gate, "[::1]:9", None, Some(May::Look));
        check(&gate, "[::ffff:127.0.0.1]:9", None, Some(May::Look));
        check(&gate, "10.0.0.1:9", None, None);
        // Who brings a wrong one is told so, not let in as if there were none.
        check(&gate, "127.0.0.1:9", Some("Bearer wrong"), None);
    }

    #[test]
    fn a_verified_certificate_may_act() {
        let peer = Peer { certificate: Certificate::Verified, ..peer("10.0.0.1:9") };
        assert_eq!(gate().admit(peer, &HeaderMap::new()).unwrap(), May::Act);
    }

    fn origin(list: &[(&'static str, &'static str)]) -> bool {
        gate().check_origin(&Uri::from_static("/api/v1"), &headers(list)).is_ok()
    }

    #[test]
    fn a_name_that_is_not_ours_is_refused_whoever_it_resolves_to() {
        for host in ["127.0.0.1:6433", "localhost:6433", "[::1]:6433", "[::1]", "DB7.example.org:1"]
        {
            assert!(origin(&[("host", host)]), "{host}");
        }
        for host in ["evil.example:6433", "127.0.0.1.evil.example", "localhost.evil", ""] {
            assert!(!origin(&[("host", host)]), "{host}");
        }
        assert!(!origin(&[]));
        let absolute = Uri::from_static("http://evil.example/api/v1");
        assert!(gate().check_origin(&absolute, &headers(&[("host", "127.0.0.1")])).is_err());
    }

    #[test]
    fn a_request_that_another_sites_page_made_is_refused() {
        let host = ("host", "127.0.0.1:6433");
        assert!(origin(&[host, ("origin", "http://127.0.0.1:6433")]));
        assert!(origin(&[host, ("sec-fetch-site", "same-origin")]));
        assert!(origin(&[host, ("sec-fetch-site", "none")]));
        for wrong in
            ["http://evil.example", "null", "http://127.0.0.1:80", "https://127.0.0.1:6433"]
        {
            assert!(!origin(&[host, ("origin", wrong)]), "{wrong}");
        }
        assert!(!origin(&[host, ("sec-fetch-site", "cross-site")]));
        assert!(!origin(&[host, ("sec-fetch-site", "same-site")]));
    }
}
