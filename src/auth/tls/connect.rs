//! weir as the client of a TLS line: what `sslmode` promises about the server.
//!
//! As in libpq: `prefer` and `require` encrypt without asking who is there (unless a root
//! certificate is given: then `require` means `verify-ca`), `verify-ca` checks who signed, and
//! `verify-full` also the name. Unlike libpq, the name must be a subject alternative name.
use super::{Identity, TlsError, certificates, end_point, private_key, provider};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, IpAddr, Ipv4Addr, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::{fmt, io, sync::Arc};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsConnector, TlsStream};

/// libpq's `sslmode`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum TlsMode {
    Disable,
    /// Plain first, TLS where the server insists.
    Allow,
    /// TLS where the server has it.
    #[default]
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

/// Makes a line to a server private, and checks the server as the mode promises.
#[derive(Clone)]
pub struct Connector {
    connector: TlsConnector,
}

impl Connector {
    /// `roots`: PEM text of `sslrootcert`; `identity`: `sslcert` and `sslkey`.
    pub fn new(
        mode: TlsMode,
        roots: Option<&[u8]>,
        identity: Option<Identity<'_>>,
    ) -> Result<Self, TlsError> {
        let provider = provider();
        let trust = match (mode, roots) {
            (TlsMode::Disable | TlsMode::Allow | TlsMode::Prefer, _) => Trust::Anyone,
            (TlsMode::Require, None) => Trust::Anyone,
            (TlsMode::Require | TlsMode::VerifyCa, Some(pem)) => Trust::SignedBy(store(pem)?),
            (TlsMode::VerifyFull, Some(pem)) => Trust::NamedAndSignedBy(store(pem)?),
            (TlsMode::VerifyCa | TlsMode::VerifyFull, None) => {
                return Err(TlsError::Pem("root certificate (sslrootcert)"));
            }
        };
        let verifier = Arc::new(Verifier { trust, provider: provider.clone() });
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let config = match identity {
            Some(identity) => config.with_client_auth_cert(
                certificates(identity.certificates)?,
                private_key(identity.key)?,
            )?,
            None => config.with_no_client_auth(),
        };
        Ok(Self { connector: TlsConnector::from(Arc::new(config)) })
    }

    /// The handshake, after the server has answered SSLRequest with `S`.
    pub async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        host: &str,
        line: S,
    ) -> io::Result<TlsStream<S>> {
        // A name that is no DNS name can only be met with a mode that doesn't look at it.
        let name = ServerName::try_from(host.to_owned())
            .unwrap_or(ServerName::IpAddress(IpAddr::V4(Ipv4Addr::from([0, 0, 0, 0]))));
        self.connector.connect(name, line).await.map(TlsStream::Client)
    }
}

/// The hash of the peer's certificate, for SCRAM's channel binding.
pub fn peer_end_point<S>(stream: &TlsStream<S>) -> Option<Vec<u8>> {
    let (_, state) = stream.get_ref();
    state.peer_certificates().and_then(|chain| chain.first()).and_then(|leaf| end_point(leaf))
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector(…)")
    }
}

#[derive(Debug)]
enum Trust {
    Anyone,
    SignedBy(Roots),
    NamedAndSignedBy(Roots),
}

#[derive(Debug)]
struct Roots {
    store: RootCertStore,
    /// The roots themselves: a server may present one of them as its own certificate.
    certificates: Vec<CertificateDer<'static>>,
}

fn store(pem: &[u8]) -> Result<Roots, TlsError> {
    let certificates = certificates(pem)?;
    let mut store = RootCertStore::empty();
    for certificate in &certificates {
        store.add(certificate.clone())?;
    }
    Ok(Roots { store, certificates })
}

#[derive(Debug)]
struct Verifier {
    trust: Trust,
    provider: Arc<CryptoProvider>,
}

impl Verifier {
    fn signed(
        &self,
        roots: &Roots,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        if roots.certificates.iter().any(|root| root.as_ref() == leaf.as_ref()) {
            return Ok(());
        }
        verify_server_cert_signed_by_trust_anchor(
            &ParsedCertificate::try_from(leaf)?,
            &roots.store,
            intermediates,
            now,
            self.provider.signature_verification_algorithms.all,
        )
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match &self.trust {
            Trust::Anyone => (),
            Trust::SignedBy(roots) => self.signed(roots, leaf, intermediates, now)?,
            Trust::NamedAndSignedBy(roots) => {
                self.signed(roots, leaf, intermediates, now)?;
                verify_server_name(&ParsedCertificate::try_from(leaf)?, name)?;
            }
        }
        Ok(ServerCertVerified::assertion())
    }

    // Whoever presents a certificate must own its key, whatever we think of the certificate.
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, leaf, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, leaf, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
