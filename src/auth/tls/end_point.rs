//! `tls-server-end-point` (RFC 5929, section 4): the certificate hashed with the hash of its own
//! signature algorithm, and SHA-256 in place of MD5 and SHA-1.
use sha2::{Digest, Sha256, Sha384, Sha512};

/// The hash of a DER certificate; `None` where its signature algorithm names no hash (Ed25519, RSA-PSS).
pub fn end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    match signature_algorithm(certificate)? {
        // 1.2.840.113549.1.1.n: RSA with MD5, SHA-1, SHA-256, SHA-384, SHA-512
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, n] => {
            hash(*n, [4, 5, 11], 12, 13, certificate)
        }
        // 1.2.840.10045.4.3.n: ECDSA with SHA-256, SHA-384, SHA-512
        [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, n] => hash(*n, [2, 2, 2], 3, 4, certificate),
        // 1.2.840.10045.4.1: ECDSA with SHA-1
        [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x01] => Some(Sha256::digest(certificate).to_vec()),
        _ => None,
    }
}

fn hash(n: u8, sha256: [u8; 3], sha384: u8, sha512: u8, certificate: &[u8]) -> Option<Vec<u8>> {
    match n {
        n if sha256.contains(&n) => Some(Sha256::digest(certificate).to_vec()),
        n if n == sha384 => Some(Sha384::digest(certificate).to_vec()),
        n if n == sha512 => Some(Sha512::digest(certificate).to_vec()),
        _ => None,
    }
}

/// `Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm SEQUENCE { OID, … }, … }`
fn signature_algorithm(certificate: &[u8]) -> Option<&[u8]> {
    const SEQUENCE: u8 = 0x30;
    const OBJECT_IDENTIFIER: u8 = 0x06;
    let (body, _) = element(SEQUENCE, certificate)?;
    let (_to_be_signed, rest) = element(SEQUENCE, body)?;
    let (algorithm, _) = element(SEQUENCE, rest)?;
    element(OBJECT_IDENTIFIER, algorithm).map(|(oid, _)| oid)
}

/// One DER element with this tag: its contents, and what follows it.
fn element(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (found, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (bytes.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    if *found == tag { rest.split_at_checked(length) } else { None }
}
