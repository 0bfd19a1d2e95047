//! The packets a client may open a connection with; they have no type byte.
use super::WireError;
use super::read::{Reader, utf8};

/// PostgreSQL's limit for these packets.
pub const MAX_LEN: usize = 10_000;
/// The newest minor version of protocol 3 that weir speaks.
pub const NEWEST_MINOR: u16 = 2;

const CANCEL: u32 = 1234 << 16 | 5678;
const SSL: u32 = 1234 << 16 | 5679;
const GSS: u32 = 1234 << 16 | 5680;

/// A connection's first packet (after SSL or GSS: its next).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Greeting {
    Ssl,
    Gss,
    Cancel { pid: u32, secret: Vec<u8> },
    Startup(Startup),
}

/// What a client asks to be connected to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Startup {
    pub major: u16,
    pub minor: u16,
    /// In the client's order, without protocol options.
    pub parameters: Vec<(String, String)>,
    /// Protocol options (`_pq_.…`), none of which weir knows.
    pub unknown_options: Vec<String>,
}

impl Startup {
    /// A parameter's value; the last one counts, as in PostgreSQL.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.parameters.iter().rfind(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The minor version both sides speak. 3.1 was never a version of its own.
    pub fn agreed_minor(&self) -> u16 {
        if self.minor >= NEWEST_MINOR { NEWEST_MINOR } else { 0 }
    }

    /// The client asked for more than weir has and must be sent a NegotiateProtocolVersion.
    pub fn asks_too_much(&self) -> bool {
        self.agreed_minor() != self.minor || !self.unknown_options.is_empty()
    }
}

/// Reads one whole packet, its length included.
pub fn read(packet: &[u8]) -> Result<Greeting, WireError> {
    let mut reader = Reader::new(packet);
    reader.u32()?;
    let code = reader.u32()?;
    match code {
        SSL => reader.end().map(|()| Greeting::Ssl),
        GSS => reader.end().map(|()| Greeting::Gss),
        CANCEL => {
            let pid = reader.u32()?;
            let secret = reader.rest();
            if !(4..=256).contains(&secret.len()) {
                return Err(WireError::CancelKeyLength(secret.len()));
            }
            Ok(Greeting::Cancel { pid, secret: secret.to_vec() })
        }
        version => {
            let (major, minor) = ((version >> 16) as u16, version as u16);
            if major != 3 {
                return Err(WireError::UnsupportedProtocol { major, minor });
            }
            read_parameters(major, minor, reader).map(Greeting::Startup)
        }
    }
}

fn read_parameters(major: u16, minor: u16, mut reader: Reader) -> Result<Startup, WireError> {
    let (mut parameters, mut unknown_options) = (Vec::new(), Vec::new());
    loop {
        let name = reader.string()?;
        if name.is_empty() {
            break;
        }
        let (name, value) = (utf8(name)?.to_owned(), reader.str()?.to_owned());
        if name.starts_with("_pq_.") {
            unknown_options.push(name);
        } else {
            parameters.push((name, value));
        }
    }
    reader.end()?;
    Ok(Startup { major, minor, parameters, unknown_options })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::encode;
    use bytes::BytesMut;
    use proptest::prelude::*;

    fn check(write: impl FnOnce(&mut BytesMut), expected: Greeting) {
        let mut out = BytesMut::new();
        write(&mut out);
        let len = super::super::frame::scan_startup(&out, MAX_LEN).unwrap();
        assert_eq!(len, Some(out.len()));
        assert_eq!(read(&out), Ok(expected));
    }

    #[test]
    fn requests_without_parameters_are_told_apart() {
        check(encode::ssl_request, Greeting::Ssl);
        check(
            |out| encode::cancel_request(7, &[1; 4], out),
            Greeting::Cancel { pid: 7, secret: vec![1; 4] },
        );
        assert_eq!(read(b"\0\0\0\x08\x04\xd2\x16\x30"), Ok(Greeting::Gss));
    }

    #[test]
    fn the_last_of_equal_parameters_counts() {
        let packet = b"\0\0\0\0\0\x03\0\0user\0a\0user\0b\0\0";
        let Ok(Greeting::Startup(startup)) = read(packet) else { panic!() };
        assert_eq!(startup.get("user"), Some("b"));
        assert_eq!(startup.get("database"), None);
        assert!(!startup.asks_too_much());
    }

    #[test]
    fn newer_versions_and_protocol_options_are_negotiated_down() {
        let packet = b"\0\0\0\0\0\x03\0\x09_pq_.x\0on\0user\0a\0\0";
        let Ok(Greeting::Startup(startup)) = read(packet) else { panic!() };
        assert_eq!(startup.unknown_options, ["_pq_.x"]);
        assert_eq!(startup.agreed_minor(), 2);
        assert!(startup.asks_too_much());
    }

    #[test]
    fn packets_that_end_early_or_late_are_refused() {
        for packet in [
            &b"\0\0\0\0\0\x03\0\0user\0a\0"[..],
            b"\0\0\0\0\0\x03\0\0user\0",
            b"\0\0\0\0\0\x03\0\0\0x",
            b"\0\0\0\0\0\x02\0\0\0",
            b"\0\0\0\0\x04\xd2\x16\x2f\0",
            b"\0\0\0\0\x04\xd2\x16\x2e\0\0\0\x01\0\0\0",
            b"\0\0\0\0\0\x03\0\0\xff\0a\0\0",
        ] {
            assert!(read(packet).is_err(), "{packet:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(parameters in
            prop::collection::vec(("[a-z][a-z0-9é]{0,8}", "[^\0]{0,12}"), 0..5))
        {
            let mut out = BytesMut::new();
            let borrowed = parameters.iter().map(|(n, v)| (n.as_str(), v.as_str()));
            encode::startup(borrowed, &mut out);
            let expected =
                Startup { major: 3, minor: 0, parameters, unknown_options: Vec::new() };
            prop_assert_eq!(read(&out), Ok(Greeting::Startup(expected)));
        }

        #[test]
        fn arbitrary_packets_never_panic(packet: Vec<u8>, tail: Vec<u8>) {
            drop(read(&packet));
            drop(read(&[&b"\0\0\0\0\0\x03\0\0"[..], &tail].concat()));
        }
    }
}
