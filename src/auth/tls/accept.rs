//! weir as the server of a TLS line.
use super::{Identity, TlsError, certificates, end_point, private_key, provider};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig};
use std::{fmt, io, sync::Arc};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsAcceptor, TlsStream};

/// What clients may do about TLS.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Accepts {
    /// SSLRequest is answered `N`.
    #[default]
    Off,
    /// Clients choose.
    Allow,
    /// A start-up message over a plain line is refused.
    Require,
}

/// Makes a client's line private.
#[derive(Clone)]
pub struct Acceptor {
    acceptor: TlsAcceptor,
    /// For SCRAM's channel binding; `None` where the certificate's algorithm defines none.
    pub end_point: Option<Arc<[u8]>>,
}

impl Acceptor {
    pub fn new(identity: Identity<'_>) -> Result<Self, TlsError> {
        Self::with_verifier(identity, WebPkiClientVerifier::no_client_auth())
    }

    /// Clients may show a certificate, which must then be of one of these authorities.
    pub fn with_client_authorities(
        identity: Identity<'_>,
        authorities: &[u8],
    ) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(authorities)? {
            roots.add(certificate)?;
        }
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
            .allow_unauthenticated()
            .build()
            .map_err(|_| TlsError::Pem("authority that could be used"))?;
        Self::with_verifier(identity, verifier)
    }

    fn with_verifier(
        identity: Identity<'_>,
        verifier: Arc<dyn ClientCertVerifier>,
    ) -> Result<Self, TlsError> {
        let chain = certificates(identity.certificates)?;
        let key = private_key(identity.key)?;
        let end_point = chain.first().and_then(|leaf| end_point(leaf)).map(Arc::from);
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)?;
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), end_point })
    }

    /// The handshake, after SSLRequest has been answered `S`. A time limit is the caller's.
    pub async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        line: S,
    ) -> io::Result<TlsStream<S>> {
        self.acceptor.accept(line).await.map(TlsStream::Server)
    }
}

/// Has the client shown a certificate? Then the handshake has verified it.
pub fn is_certified<S>(line: &TlsStream<S>) -> bool {
    line.get_ref().1.peer_certificates().is_some_and(|chain| !chain.is_empty())
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Acceptor(…)")
    }
}
