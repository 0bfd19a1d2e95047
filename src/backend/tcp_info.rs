//! What TCP itself has measured on a line: Linux's TCP_INFO.
//!
//! No crate reads that socket option without unsafe code of its users (nix 0.31, rustix 1.1, socket2
//! 0.6 have no such option). The kernel tells the same over netlink, as `ss -i` asks it
//! (sock_diag(7)): a question of 72 bytes, an answer with fields at fixed places. None of it is needed
//! to serve: whatever goes wrong, there is no answer.
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TcpInfo {
    /// The smoothed round trip.
    pub rtt: Duration,
    /// Segments sent again since the line was opened.
    pub retransmits: u32,
}

/// Of the line between these ends. A few system calls, none of which waits.
#[cfg(target_os = "linux")]
pub fn tcp_info(local: SocketAddr, peer: SocketAddr) -> Option<TcpInfo> {
    use socket2::{Domain, Protocol, Socket, Type};
    use std::io::{Read, Write};
    const AF_NETLINK: i32 = 16;
    const NETLINK_SOCK_DIAG: i32 = 4;
    let protocol = Some(Protocol::from(NETLINK_SOCK_DIAG));
    let mut socket = Socket::new(Domain::from(AF_NETLINK), Type::DGRAM, protocol).ok()?;
    // The kernel answers before `write` returns.
    socket.set_nonblocking(true).ok()?;
    socket.write_all(&question(local, peer)).ok()?;
    let mut answer = [0; 4096];
    let length = socket.read(&mut answer).ok()?;
    read(answer.get(..length)?)
}

#[cfg(not(target_os = "linux"))]
pub fn tcp_info(_: SocketAddr, _: SocketAddr) -> Option<TcpInfo> {
    None
}

/// SOCK_DIAG_BY_FAMILY, which is also the type of the answer.
const BY_FAMILY: u16 = 20;
/// INET_DIAG_INFO: the attribute that holds a `struct tcp_info`.
const INFO: u16 = 2;

/// A `struct nlmsghdr` and a `struct inet_diag_req_v2` (linux/netlink.h, linux/inet_diag.h).
fn question(local: SocketAddr, peer: SocketAddr) -> Vec<u8> {
    const LENGTH: u32 = 72;
    const NLM_F_REQUEST: u16 = 1;
    const IPPROTO_TCP: u8 = 6;
    let family = if local.is_ipv4() { 2 } else { 10 };
    let mut question = Vec::new();
    question.extend(LENGTH.to_ne_bytes());
    question.extend([BY_FAMILY, NLM_F_REQUEST].map(u16::to_ne_bytes).as_flattened());
    // Number and sender.
    question.extend([0; 8]);
    question.extend([family, IPPROTO_TCP, 1 << (INFO - 1), 0]);
    // In any state.
    question.extend([0xff; 4]);
    question.extend([local.port(), peer.port()].map(u16::to_be_bytes).as_flattened());
    question.extend([address(local.ip()), address(peer.ip())].as_flattened());
    // On any interface, with any cookie.
    question.extend([0; 4]);
    question.extend([0xff; 8]);
    debug_assert_eq!(question.len(), LENGTH as usize);
    question
}

fn address(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        }
        IpAddr::V6(ip) => ip.octets(),
    }
}

/// A `struct nlmsghdr`, a `struct inet_diag_msg`, and attributes, each with its length and type.
fn read(answer: &[u8]) -> Option<TcpInfo> {
    const HEADERS: usize = 16 + 72;
    /// Who asks for a line that is not there is told of one that listens for it.
    const TCP_LISTEN: u8 = 10;
    let [_, state] = field(answer, 16)?;
    if u16::from_ne_bytes(field(answer, 4)?) != BY_FAMILY || state == TCP_LISTEN {
        return None;
    }
    let mut attributes = answer.get(HEADERS..)?;
    loop {
        let length = usize::from(u16::from_ne_bytes(field(attributes, 0)?));
        if u16::from_ne_bytes(field(attributes, 2)?) == INFO {
            return info(attributes.get(4..length)?);
        }
        // Each begins at a multiple of four; none is shorter than its head.
        attributes = attributes.get(length.max(4).next_multiple_of(4)..)?;
    }
}

/// `struct tcp_info` (linux/tcp.h): it grows at its end only.
fn info(info: &[u8]) -> Option<TcpInfo> {
    const RTT_US: usize = 68;
    const TOTAL_RETRANS: usize = 100;
    let rtt = u32::from_ne_bytes(field(info, RTT_US)?);
    let retransmits = u32::from_ne_bytes(field(info, TOTAL_RETRANS)?);
    Some(TcpInfo { rtt: Duration::from_micros(rtt.into()), retransmits })
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn a_line_that_has_carried_something_has_a_round_trip() {
        use std::io::{Read, Write};
        use std::net::{TcpListener, TcpStream};
        for host in ["127.0.0.1", "::1"] {
            // Not every machine has both.
            let Ok(listener) = TcpListener::bind((host, 0)) else { continue };
            let mut one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (mut other, _) = listener.accept().unwrap();
            one.write_all(b"hello").unwrap();
            other.read_exact(&mut [0; 5]).unwrap();
            let (local, peer) = (one.local_addr().unwrap(), one.peer_addr().unwrap());
            let info = tcp_info(local, peer).expect("the kernel knows the line");
            assert!(info.rtt > Duration::ZERO && info.rtt < Duration::from_secs(60), "{info:?}");
            assert_eq!(tcp_info(peer, "192.0.2.1:9".parse().unwrap()), None);
        }
    }

    proptest! {
        #[test]
        fn no_answer_is_too_odd_to_be_read(
            mut answer in prop::collection::vec(any::<u8>(), 0..300),
            ours in any::<bool>(),
        ) {
            if let (true, Some(kind)) = (ours, answer.get_mut(4..6)) {
                kind.copy_from_slice(&BY_FAMILY.to_ne_bytes());
            }
            read(&answer);
        }
    }
}
