//! The side that asks for proof. [`Asked::hear`] → [`Challenged::hear`] → [`Proved`].
use super::{
    BASE64, ClientKeys, Digest32, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramError, Verifier,
    auth_message, digest, hmac, sha256, xor,
};
use base64::Engine;
use subtle::ConstantTimeEq;

use ScramError::Malformed;

/// Waiting for the client's first message.
#[derive(Debug)]
pub struct Asked<'a> {
    verifier: &'a Verifier,
    /// The hash of our certificate, when the line is TLS and can be bound to.
    end_point: Option<&'a [u8]>,
}

/// The challenge is out; waiting for the proof.
#[derive(Debug)]
pub struct Challenged<'a> {
    verifier: &'a Verifier,
    client_first_bare: String,
    server_first: String,
    /// What the client must repeat as `c=`.
    binding: String,
    nonce: String,
}

/// The client knows its password.
#[derive(Debug)]
pub struct Proved {
    /// For `AuthenticationSASLFinal`.
    pub server_final: String,
    pub keys: ClientKeys,
}

impl<'a> Asked<'a> {
    pub fn new(verifier: &'a Verifier, end_point: Option<&'a [u8]>) -> Self {
        Self { verifier, end_point }
    }

    /// The mechanisms to offer, best first.
    pub fn mechanisms(&self) -> &'static [&'static str] {
        match self.end_point {
            Some(_) => &[SCRAM_SHA_256_PLUS, SCRAM_SHA_256],
            None => &[SCRAM_SHA_256],
        }
    }

    /// Reads client-first; the text is for `AuthenticationSASLContinue`.
    pub fn hear(
        self,
        mechanism: &str,
        client_first: &[u8],
        server_nonce: &str,
    ) -> Result<(Challenged<'a>, String), ScramError> {
        let message = std::str::from_utf8(client_first).map_err(|_| Malformed("not UTF-8"))?;
        let (flag, rest) = message.split_once(',').ok_or(Malformed("no channel binding flag"))?;
        let (authzid, bare) = rest.split_once(',').ok_or(Malformed("no authorization identity"))?;
        if !authzid.is_empty() {
            return Err(Malformed("an authorization identity is not supported"));
        }
        let header = format!("{flag},,").into_bytes();
        let bound = match (mechanism, flag, self.end_point) {
            (SCRAM_SHA_256, "n", _) | (SCRAM_SHA_256, "y", None) => header,
            // The client believes we cannot bind, but we offered it: somebody changed our offer.
            (SCRAM_SHA_256, "y", Some(_)) => return Err(Malformed("channel binding downgraded")),
            (SCRAM_SHA_256_PLUS, "p=tls-server-end-point", Some(hash)) => [&header, hash].concat(),
            (SCRAM_SHA_256 | SCRAM_SHA_256_PLUS, ..) => {
                return Err(Malformed("the channel binding flag does not fit the mechanism"));
            }
            _ => return Err(Malformed("a mechanism that was not offered")),
        };
        let mut attributes = bare.split(',');
        // PostgreSQL takes the name from the start-up message and ignores this one.
        let user = attributes.next().unwrap_or_default();
        if !user.starts_with("n=") {
            return Err(Malformed("no user name"));
        }
        let nonce = attributes.next().and_then(|a| a.strip_prefix("r="));
        let nonce = nonce.filter(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_graphic()));
        let nonce = nonce.ok_or(Malformed("no nonce"))?;

        let nonce = format!("{nonce}{server_nonce}");
        let salt = BASE64.encode(&self.verifier.salt);
        let server_first = format!("r={nonce},s={salt},i={}", self.verifier.iterations);
        let challenged = Challenged {
            verifier: self.verifier,
            client_first_bare: bare.to_owned(),
            server_first: server_first.clone(),
            binding: BASE64.encode(bound),
            nonce,
        };
        Ok((challenged, server_first))
    }
}

impl Challenged<'_> {
    /// Reads client-final and judges the proof.
    pub fn hear(self, client_final: &[u8]) -> Result<Proved, ScramError> {
        let message = std::str::from_utf8(client_final).map_err(|_| Malformed("not UTF-8"))?;
        let (unproved, proof) = message.rsplit_once(",p=").ok_or(Malformed("no proof"))?;
        let mut attributes = unproved.split(',');
        let binding = attributes.next().and_then(|a| a.strip_prefix("c="));
        if binding != Some(&self.binding) {
            return Err(Malformed("channel binding check failed"));
        }
        if attributes.next().and_then(|a| a.strip_prefix("r=")) != Some(&self.nonce) {
            return Err(Malformed("wrong nonce"));
        }
        let proof = digest(proof).ok_or(Malformed("the proof is not 32 bytes of base64"))?;

        let message = auth_message(&self.client_first_bare, &self.server_first, unproved);
        let signature = hmac(&self.verifier.stored_key, &message);
        let client_key: Digest32 = xor(&proof, &signature);
        if !bool::from(sha256(&client_key).ct_eq(&self.verifier.stored_key)) {
            return Err(ScramError::WrongProof);
        }
        let server_signature = hmac(&self.verifier.server_key, &message);
        let server_final = format!("v={}", BASE64.encode(server_signature));
        let keys = ClientKeys { client_key, server_key: self.verifier.server_key };
        Ok(Proved { server_final, keys })
    }
}
