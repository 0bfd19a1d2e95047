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

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;
    use std::time::Instant;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (near, listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn a_line_may_be_unanswered_for_as_long_as_who_is_there_may_take() {
        let (line, _far) = pair().await;
        let limit = || SockRef::from(&line).tcp_user_timeout().unwrap();
        tune(&line, Peer::Client).unwrap();
        assert_eq!(limit(), Some(Duration::from_secs(300)));
        tune(&line, Peer::Server).unwrap();
        assert_eq!(limit(), Some(Duration::from_secs(60)));
        limit_unanswered(&line, Unanswered::AsLongAsItTakes).unwrap();
        assert_eq!(limit(), None);
    }

    /// What weir's own limits rest on: the other side's system lives and says that it takes nothing.
    #[tokio::test]
    async fn a_line_whose_other_side_reads_nothing_ends_after_the_user_timeout() {
        const LIMIT: Duration = Duration::from_secs(1);
        let (mut line, _reads_nothing) = pair().await;
        SockRef::from(&line).set_tcp_user_timeout(Some(LIMIT)).unwrap();
        let begun = Instant::now();
        let error = loop {
            if let Err(error) = line.write_all(&[0; 65_536]).await {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(begun.elapsed() >= LIMIT, "{:?}", begun.elapsed());
    }
}
