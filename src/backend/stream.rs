//! A TCP, Unix or TLS line: one type for servers and for clients.
use super::tcp_info::{TcpInfo, tcp_info};
use crate::auth::hba::Origin;
use socket2::SockRef;
use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsStream;

#[derive(Debug)]
pub enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    /// Either side of TLS. Boxed: a TLS session is much larger than a socket.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// What can be read without waiting; `WouldBlock` if nothing. Mostly free: no system call is
    /// made until the runtime has seen the socket become readable.
    pub fn try_read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.try_read(into),
            Self::Unix(socket) => socket.try_read(into),
            Self::Tls(_) => {
                let mut into = ReadBuf::new(into);
                // The waker is replaced by the next poll with a real one.
                let mut context = Context::from_waker(Waker::noop());
                match Pin::new(self).poll_read(&mut context, &mut into) {
                    Poll::Ready(read) => read.map(|()| into.filled().len()),
                    Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
                }
            }
        }
    }

    /// The same, asking the system even if the runtime has not seen anything come.
    pub fn read_now(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => (&*SockRef::from(&*socket)).read(into),
            Self::Unix(socket) => (&*SockRef::from(&*socket)).read(into),
            // What comes over TLS is not the system's to tell, but the end of the line is.
            Self::Tls(session) => {
                let mut peeked = [MaybeUninit::uninit()];
                match SockRef::from(session.get_ref().0).peek(&mut peeked) {
                    Ok(0) => Ok(0),
                    Ok(_) | Err(_) => self.try_read(into),
                }
            }
        }
    }

    /// What can be written without waiting; `WouldBlock` if nothing. Over TLS the bytes may stay in
    /// the session until the next flush.
    pub fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.try_write(bytes),
            Self::Unix(socket) => socket.try_write(bytes),
            Self::Tls(_) => {
                let mut context = Context::from_waker(Waker::noop());
                match Pin::new(self).poll_write(&mut context, bytes) {
                    Poll::Ready(written) => written,
                    Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
                }
            }
        }
    }

    pub fn tcp(&self) -> Option<&TcpStream> {
        match self {
            Self::Tcp(socket) => Some(socket),
            Self::Tls(session) => Some(session.get_ref().0),
            Self::Unix(_) => None,
        }
    }

    /// Where the other side is.
    pub fn origin(&self) -> io::Result<Origin> {
        match self {
            Self::Unix(socket) => {
                let uid = socket.peer_cred().ok().map(|credentials| credentials.uid());
                Ok(Origin::Local { uid })
            }
            Self::Tcp(socket) => Ok(origin(socket.peer_addr()?)),
            Self::Tls(session) => Ok(origin(session.get_ref().0.peer_addr()?)),
        }
    }

    /// What TCP has measured on this line; `None` where there is no TCP, or nothing is known.
    pub fn tcp_info(&self) -> Option<TcpInfo> {
        let socket = self.tcp()?;
        tcp_info(socket.local_addr().ok()?, socket.peer_addr().ok()?)
    }

    /// Protocol and cipher, as `TLSv1.3/TLS13_AES_256_GCM_SHA384`; `None` where the line is plain.
    pub fn tls_name(&self) -> Option<String> {
        let Self::Tls(session) = self else { return None };
        let (_, state) = session.get_ref();
        let version = match state.protocol_version()? {
            rustls::ProtocolVersion::TLSv1_3 => "TLSv1.3",
            rustls::ProtocolVersion::TLSv1_2 => "TLSv1.2",
            _ => "TLS",
        };
        Some(format!("{version}/{:?}", state.negotiated_cipher_suite()?.suite()))
    }

    pub fn is_tls(&self) -> bool {
        match self {
            Self::Tcp(_) | Self::Unix(_) => false,
            Self::Tls(_) => true,
        }
    }
}

fn origin(address: SocketAddr) -> Origin {
    Origin::Host(address.ip().to_canonical(), address.port())
}

impl AsyncRead for Stream {
    #[inline]
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_read(context, into),
            Self::Unix(socket) => Pin::new(socket).poll_read(context, into),
            Self::Tls(session) => Pin::new(session).poll_read(context, into),
        }
    }
}

impl AsyncWrite for Stream {
    #[inline]
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_write(context, bytes),
            Self::Unix(socket) => Pin::new(socket).poll_write(context, bytes),
            Self::Tls(session) => Pin::new(session).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_write_vectored(context, pieces),
            Self::Unix(socket) => Pin::new(socket).poll_write_vectored(context, pieces),
            Self::Tls(session) => Pin::new(session).poll_write_vectored(context, pieces),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    #[inline]
    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(_) | Self::Unix(_) => Poll::Ready(Ok(())),
            Self::Tls(session) => Pin::new(session).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_shutdown(context),
            Self::Unix(socket) => Pin::new(socket).poll_shutdown(context),
            Self::Tls(session) => Pin::new(session).poll_shutdown(context),
        }
    }
}

impl From<TcpStream> for Stream {
    fn from(socket: TcpStream) -> Self {
        Self::Tcp(socket)
    }
}

impl From<UnixStream> for Stream {
    fn from(socket: UnixStream) -> Self {
        Self::Unix(socket)
    }
}

impl From<TlsStream<TcpStream>> for Stream {
    fn from(session: TlsStream<TcpStream>) -> Self {
        Self::Tls(Box::new(session))
    }
}
