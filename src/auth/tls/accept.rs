//! weir as the server of a TLS line.
use super::{Identity, TlsError, certificates, end_point, private_key, provider};
use rustls::ServerConfig;
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
        let chain = certificates(identity.certificates)?;
        let key = private_key(identity.key)?;
        let end_point = chain.first().and_then(|leaf| end_point(leaf)).map(Arc::from);
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
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

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Acceptor(…)")
    }
}
