//! How TCP notices that the other side is gone, on lines to servers and to clients.
//!
//! *Keepalive* speaks for idle lines. It is silent while data is on its way; for that there is
//! TCP_USER_TIMEOUT, which also ends a line whose other side lives but reads nothing for so long (Linux
//! counts the probes of a closed window, too; tried). So it is longer for clients, who may think over
//! half a result, than for servers, who read as long as they run.
use socket2::{SockRef, TcpKeepalive};
use std::io;
use std::time::Duration;
use tokio::net::TcpStream;

/// Silence after which an idle line is asked for a sign of life; shorter than firewalls forget lines.
const IDLE: Duration = Duration::from_secs(30);
const INTERVAL: Duration = Duration::from_secs(10);

/// Who is on the other side.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Peer {
    Server,
    Client,
}

impl Peer {
    #[cfg(target_os = "linux")]
    fn user_timeout(self) -> Duration {
        match self {
            Peer::Server => Duration::from_secs(60),
            Peer::Client => Duration::from_secs(300),
        }
    }
}

/// Sets a line up: small messages go at once, and a side that is gone is noticed.
pub fn tune(socket: &TcpStream, peer: Peer) -> io::Result<()> {
    socket.set_nodelay(true)?;
    limit_unanswered(socket, Unanswered::Limited(peer))?;
    let keepalive = TcpKeepalive::new().with_time(IDLE).with_interval(INTERVAL);
    SockRef::from(socket).set_tcp_keepalive(&keepalive)
}

/// How long data may go unanswered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unanswered {
    Limited(Peer),
    /// While COPY data flows: a server that is busy with one row is no dead server. One that is dead
    /// is given up after the system's own limit, a quarter of an hour in Linux.
    AsLongAsItTakes,
}

#[cfg(target_os = "linux")]
pub fn limit_unanswered(socket: &TcpStream, limit: Unanswered) -> io::Result<()> {
    let limit = match limit {
        Unanswered::Limited(peer) => Some(peer.user_timeout()),
        Unanswered::AsLongAsItTakes => None,
    };
    SockRef::from(socket).set_tcp_user_timeout(limit)
}

#[cfg(not(target_os = "linux"))]
pub fn limit_unanswered(_: &TcpStream, _: Unanswered) -> io::Result<()> {
    Ok(())
}
