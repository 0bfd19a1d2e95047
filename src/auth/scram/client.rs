//! The side that proves. [`Begun::hear`] → [`Proving::hear`]: then both sides know each other.
use super::{
    BASE64, ClientKeys, Digest32, MAX_ITERATIONS, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramError,
    auth_message, digest, hmac, sha256, xor,
};
use base64::Engine;
use subtle::ConstantTimeEq;

use ScramError::Malformed;

/// What the line offers for binding the exchange to it.
#[derive(Clone, Copy, Debug)]
pub enum Line<'a> {
    Plain,
    /// TLS; with the hash of the server's certificate where it has one (`tls-server-end-point`).
    Tls(Option<&'a [u8]>),
}

/// Client-first is made; waiting for the challenge.
#[derive(Debug)]
pub struct Begun {
    pub mechanism: &'static str,
    /// For `SASLInitialResponse`.
    pub client_first: String,
    bare: String,
    nonce: String,
    binding: String,
}

/// The proof is made; waiting for the server's own.
#[derive(Debug)]
pub struct Proving {
    /// For `SASLResponse`.
    pub client_final: String,
    server_signature: Digest32,
}

impl Begun {
    /// Chooses among the offered mechanisms as libpq does; `None`: none of them is ours.
    pub fn new(offered: &[&str], line: Line<'_>, nonce: String) -> Option<Self> {
        let plus = offered.contains(&SCRAM_SHA_256_PLUS);
        let plain = offered.contains(&SCRAM_SHA_256);
        let (mechanism, header, bound) = match line {
            Line::Tls(Some(hash)) if plus => (SCRAM_SHA_256_PLUS, "p=tls-server-end-point,,", hash),
            // We could bind, and the server says it cannot: saying so lets it notice a downgrade.
            Line::Tls(Some(_)) if plain => (SCRAM_SHA_256, "y,,", &[][..]),
            Line::Tls(None) | Line::Plain if plain => (SCRAM_SHA_256, "n,,", &[][..]),
            Line::Tls(_) | Line::Plain => return None,
        };
        // PostgreSQL ignores the name here: it was in the start-up message.
        let bare = format!("n=,r={nonce}");
        let client_first = format!("{header}{bare}");
        let binding = BASE64.encode([header.as_bytes(), bound].concat());
        Some(Self { mechanism, client_first, bare, nonce, binding })
    }

    /// Reads server-first; `keys` turns (salt, iterations) into keys, where the costly step may be cached.
    pub fn hear(
        self,
        server_first: &[u8],
        keys: impl FnOnce(&[u8], u32) -> ClientKeys,
    ) -> Result<Proving, ScramError> {
        let message = std::str::from_utf8(server_first).map_err(|_| Malformed("not UTF-8"))?;
        let mut attributes = message.split(',');
        let mut next = |name| attributes.next().and_then(|a: &str| a.strip_prefix(name));
        let nonce = next("r=").ok_or(Malformed("no nonce"))?;
        if !nonce.starts_with(&self.nonce) || nonce.len() == self.nonce.len() {
            return Err(Malformed("the server's nonce does not continue ours"));
        }
        let salt = next("s=").and_then(|s| BASE64.decode(s).ok()).ok_or(Malformed("no salt"))?;
        let iterations = next("i=").and_then(|i| i.parse().ok());
        let iterations = iterations.filter(|i| (1..=MAX_ITERATIONS).contains(i));
        let iterations = iterations.ok_or(Malformed("no acceptable iteration count"))?;

        let keys = keys(&salt, iterations);
        let unproved = format!("c={},r={nonce}", self.binding);
        let signed = auth_message(&self.bare, message, &unproved);
        let signature = hmac(&sha256(&keys.client_key), &signed);
        let proof = BASE64.encode(xor(&keys.client_key, &signature));
        let server_signature = hmac(&keys.server_key, &signed);
        Ok(Proving { client_final: format!("{unproved},p={proof}"), server_signature })
    }
}

impl Proving {
    /// Reads server-final: the server must know the verifier, or it is somebody else.
    pub fn hear(self, server_final: &[u8]) -> Result<(), ScramError> {
        let message = std::str::from_utf8(server_final).map_err(|_| Malformed("not UTF-8"))?;
        if let Some(reason) = message.strip_prefix("e=") {
            return Err(ScramError::ServerRefused(reason.to_owned()));
        }
        let signature = message.strip_prefix("v=").and_then(digest);
        let signature = signature.ok_or(Malformed("no server signature"))?;
        match bool::from(signature.ct_eq(&self.server_signature)) {
            true => Ok(()),
            false => Err(ScramError::ServerUnproved),
        }
    }
}
