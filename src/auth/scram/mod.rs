//! SCRAM-SHA-256 (RFC 5802, RFC 7677) as PostgreSQL speaks it, in both directions.
//!
//! - `server`: the side that asks; gives back the client's keys, with which weir can log in elsewhere
//! - `client`: the side that proves; from a password, or from keys without the password
//! - `key_cache`: spares the costly step
//!
//! Pure: randomness is passed in as nonces. Nothing here is printed.
pub mod server;
pub mod client;
mod key_cache;

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use std::{fmt, str::FromStr};
use subtle::ConstantTimeEq;

pub use key_cache::KeyCache;

pub const SCRAM_SHA_256: &str = "SCRAM-SHA-256";
/// With channel binding (`tls-server-end-point`).
pub const SCRAM_SHA_256_PLUS: &str = "SCRAM-SHA-256-PLUS";
/// What PostgreSQL uses for new verifiers.
pub const ITERATIONS: u32 = 4096;
/// The most iterations a server may ask of us: about two seconds of work.
const MAX_ITERATIONS: u32 = 4_000_000;

/// One SHA-256 output: each key of the protocol.
pub type Digest32 = [u8; 32];

/// What a server stores for a user (`pg_authid.rolpassword`).
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    pub salt: Vec<u8>,
    pub iterations: u32,
    pub stored_key: Digest32,
    pub server_key: Digest32,
}

/// What a client derives from its password and a verifier's salt; logs in wherever that verifier is.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientKeys {
    pub client_key: Digest32,
    pub server_key: Digest32,
}

/// Why an exchange ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ScramError {
    /// The message is not SCRAM; the text says what is wrong with it.
    Malformed(&'static str),
    /// The proof is wrong: a wrong password, or no such user.
    WrongProof,
    /// The server could not prove that it knows us.
    ServerUnproved,
    /// The server reported an error, e.g. `invalid-proof`.
    ServerRefused(String),
}

impl fmt::Display for ScramError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(what) => write!(f, "malformed SCRAM message: {what}"),
            Self::WrongProof => f.write_str("the SCRAM proof is wrong"),
            Self::ServerUnproved => {
                f.write_str("the server did not prove that it knows this user's password")
            }
            Self::ServerRefused(reason) => write!(f, "the server refused: {reason}"),
        }
    }
}

impl std::error::Error for ScramError {}

/// PBKDF2 of the prepared password: the costly step, some milliseconds.
fn salted_password(password: &str, salt: &[u8], iterations: u32) -> Digest32 {
    // PostgreSQL takes a password that SASLprep rejects as it is (manual, protocol-flow).
    let prepared = stringprep::saslprep(password);
    let prepared = prepared.as_deref().unwrap_or(password);
    pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(prepared.as_bytes(), salt, iterations)
}

impl ClientKeys {
    pub fn derive(password: &str, salt: &[u8], iterations: u32) -> Self {
        let salted = salted_password(password, salt, iterations);
        let client_key = hmac(&salted, &[b"Client Key"]);
        let server_key = hmac(&salted, &[b"Server Key"]);
        Self { client_key, server_key }
    }

    pub fn verifier(&self, salt: &[u8], iterations: u32) -> Verifier {
        let stored_key = sha256(&self.client_key);
        Verifier { salt: salt.to_vec(), iterations, stored_key, server_key: self.server_key }
    }
}

impl Verifier {
    pub fn derive(password: &str, salt: &[u8], iterations: u32) -> Self {
        ClientKeys::derive(password, salt, iterations).verifier(salt, iterations)
    }

    /// Whether this password belongs to this verifier. As slow as deriving.
    pub fn accepts(&self, password: &str) -> bool {
        let keys = ClientKeys::derive(password, &self.salt, self.iterations);
        sha256(&keys.client_key).ct_eq(&self.stored_key).into()
    }
}

/// PostgreSQL's form: `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`.
impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [salt, stored, server] =
            [&self.salt[..], &self.stored_key, &self.server_key].map(|b| BASE64.encode(b));
        write!(f, "{SCRAM_SHA_256}${}:{salt}${stored}:{server}", self.iterations)
    }
}

impl FromStr for Verifier {
    type Err = ScramError;

    fn from_str(text: &str) -> Result<Self, ScramError> {
        const BAD: ScramError = ScramError::Malformed("not a SCRAM-SHA-256 verifier");
        let rest = text.strip_prefix(SCRAM_SHA_256).and_then(|r| r.strip_prefix('$')).ok_or(BAD)?;
        let (head, keys) = rest.split_once('$').ok_or(BAD)?;
        let (iterations, salt) = head.split_once(':').ok_or(BAD)?;
        let (stored, server) = keys.split_once(':').ok_or(BAD)?;
        let iterations = iterations.parse().map_err(|_| BAD)?;
        if !(1..=MAX_ITERATIONS).contains(&iterations) {
            return Err(BAD);
        }
        let salt = BASE64.decode(salt).map_err(|_| BAD)?;
        let (stored_key, server_key) = (digest(stored).ok_or(BAD)?, digest(server).ok_or(BAD)?);
        Ok(Self { salt, iterations, stored_key, server_key })
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier(…)")
    }
}

impl fmt::Debug for ClientKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientKeys(…)")
    }
}

/// Enough randomness that no two exchanges share a nonce; printable, without commas.
pub fn nonce() -> String {
    BASE64.encode(rand::random::<[u8; 18]>())
}

pub(super) fn hmac(key: &[u8], parts: &[&[u8]]) -> Digest32 {
    // HMAC takes keys of any length, so the error cannot happen; an all-zero key proves nothing.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; 32] };
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

pub(super) fn sha256(bytes: &[u8]) -> Digest32 {
    Sha256::digest(bytes).into()
}

fn xor(left: &Digest32, right: &Digest32) -> Digest32 {
    std::array::from_fn(|i| left[i] ^ right[i])
}

fn digest(base64: &str) -> Option<Digest32> {
    BASE64.decode(base64).ok()?.try_into().ok()
}

/// `AuthMessage`, in the three pieces that it is made of.
fn auth_message<'a>(
    client_first_bare: &'a str,
    server_first: &'a str,
    client_final_without_proof: &'a str,
) -> [&'a [u8]; 5] {
    [
        client_first_bare.as_bytes(),
        b",",
        server_first.as_bytes(),
        b",",
        client_final_without_proof.as_bytes(),
    ]
}

#[cfg(test)]
mod tests;
