//! Both sides of our own TLS against each other, with certificates made on the spot.
use super::*;
use proptest::prelude::*;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

struct Pki {
    root: String,
    certificate: String,
    key: String,
}

/// A root, and a certificate for `localhost` that it signed.
fn pki() -> Pki {
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["localhost".into()]).unwrap();
    let leaf = leaf.signed_by(&key, &ca).unwrap();
    Pki { root: ca.pem(), certificate: leaf.pem(), key: key.serialize_pem() }
}

/// A handshake and one word over it; the hashes that both sides would bind to.
async fn talk(server: &Pki, mode: TlsMode, roots: Option<&str>, host: &str) -> Result<(), String> {
    let identity =
        Identity { certificates: server.certificate.as_bytes(), key: server.key.as_bytes() };
    let acceptor = Acceptor::new(identity).unwrap();
    let connector =
        Connector::new(mode, roots.map(str::as_bytes), None).map_err(|e| e.to_string())?;
    let (near, far) = tokio::io::duplex(1 << 16);
    let (accepted, connected) = tokio::join!(acceptor.accept(far), connector.connect(host, near));
    let mut connected = connected.map_err(|error| error.to_string())?;
    let mut accepted = accepted.map_err(|error| error.to_string())?;
    accepted.write_all(b"hello").await.unwrap();
    accepted.flush().await.unwrap();
    let mut word = [0; 5];
    connected.read_exact(&mut word).await.unwrap();
    assert_eq!(&word, b"hello");
    assert_eq!(connect::peer_end_point(&connected).as_deref(), acceptor.end_point.as_deref());
    assert!(acceptor.end_point.is_some());
    Ok(())
}

#[tokio::test]
async fn require_encrypts_without_asking_who_is_there() {
    assert_eq!(talk(&pki(), TlsMode::Require, None, "elsewhere").await, Ok(()));
}

#[tokio::test]
async fn require_with_a_root_means_verify_ca() {
    let (server, other) = (pki(), pki());
    assert_eq!(talk(&server, TlsMode::Require, Some(&server.root), "elsewhere").await, Ok(()));
    assert!(talk(&server, TlsMode::Require, Some(&other.root), "localhost").await.is_err());
}

#[tokio::test]
async fn verify_ca_asks_who_signed_and_verify_full_also_for_the_name() {
    let (server, other) = (pki(), pki());
    let root = Some(server.root.as_str());
    assert_eq!(talk(&server, TlsMode::VerifyCa, root, "elsewhere").await, Ok(()));
    assert!(talk(&server, TlsMode::VerifyCa, Some(&other.root), "localhost").await.is_err());
    assert_eq!(talk(&server, TlsMode::VerifyFull, root, "localhost").await, Ok(()));
    assert!(talk(&server, TlsMode::VerifyFull, root, "elsewhere").await.is_err());
    assert!(talk(&server, TlsMode::VerifyFull, None, "localhost").await.is_err());
}

#[tokio::test]
async fn a_self_signed_certificate_may_be_its_own_root() {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["localhost".into()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let pem = params.self_signed(&key).unwrap().pem();
    let server = Pki { root: pem.clone(), certificate: pem.clone(), key: key.serialize_pem() };
    assert_eq!(talk(&server, TlsMode::VerifyFull, Some(&pem), "localhost").await, Ok(()));
    assert!(talk(&server, TlsMode::VerifyFull, Some(&pem), "elsewhere").await.is_err());
}

#[test]
fn text_without_certificates_is_refused() {
    let identity = Identity { certificates: b"nothing", key: b"nothing" };
    assert!(matches!(Acceptor::new(identity), Err(TlsError::Pem("certificate"))));
    assert!(Connector::new(TlsMode::VerifyCa, Some(b"nothing"), None).is_err());
}

proptest! {
    #[test]
    fn no_bytes_make_the_certificate_reader_panic(der in proptest::collection::vec(any::<u8>(), 0..60)) {
        drop(end_point(&der));
    }
}
