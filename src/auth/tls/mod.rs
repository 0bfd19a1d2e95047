//! TLS with libpq's `sslmode` meanings, over rustls (its ring provider).
//!
//! - `accept`: weir as the server: off, allow, require
//! - `connect`: weir as the client: disable … verify-full
//! - `end_point`: the certificate hash that SCRAM binds to
//!
//! PEM bytes come in; reading files is the caller's matter.
pub mod accept;
pub mod connect;
mod end_point;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::{fmt, sync::Arc};

pub use accept::{Acceptor, Accepts, is_certified};
pub use connect::{Connector, TlsMode};
pub use end_point::end_point;

/// A certificate chain and its key, as PEM text.
#[derive(Clone, Copy)]
pub struct Identity<'a> {
    pub certificates: &'a [u8],
    pub key: &'a [u8],
}

/// Why certificates cannot be used.
#[derive(Debug)]
pub enum TlsError {
    /// The PEM text holds no such thing.
    Pem(&'static str),
    Rustls(rustls::Error),
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pem(what) => write!(f, "no {what} could be read from the PEM text"),
            Self::Rustls(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for TlsError {}

impl From<rustls::Error> for TlsError {
    fn from(error: rustls::Error) -> Self {
        Self::Rustls(error)
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match read {
        Ok(list) if !list.is_empty() => Ok(list),
        Ok(_) | Err(_) => Err(TlsError::Pem("certificate")),
    }
}

fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|_| TlsError::Pem("private key"))
}

#[cfg(test)]
mod tests;
