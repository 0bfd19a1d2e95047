//! A line to a server, private as `sslmode` demands, over which nothing is said yet.
use super::address::{Address, Host};
use super::failure::ConnectError;
use super::stream::Stream;
use super::tcp::{Peer, tune};
use crate::auth::tls::{Connector, TlsMode};
use crate::wire::encode;
use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

/// How a line was made.
#[derive(Clone, Debug)]
pub enum Line {
    Plain,
    Tls(Connector),
}

/// Opens a line. No time limit: the caller's bounds all of connecting.
pub async fn dial(
    address: &Address,
    mode: TlsMode,
    connector: Option<&Connector>,
) -> Result<(Stream, Line), ConnectError> {
    let (name, socket) = match &address.host {
        // As in libpq, sockets are private enough for every mode.
        Host::Unix(directory) => {
            let path = directory.join(format!(".s.PGSQL.{}", address.port));
            let socket = UnixStream::connect(path).await?;
            return Ok((socket.into(), Line::Plain));
        }
        Host::Tcp { name, connect } => {
            let host = connect.as_ref().unwrap_or(name);
            (name, TcpStream::connect((host.as_str(), address.port)).await?)
        }
    };
    tune(&socket, Peer::Server)?;
    let must = match mode {
        TlsMode::Disable | TlsMode::Allow => return Ok((socket.into(), Line::Plain)),
        TlsMode::Prefer => false,
        TlsMode::Require | TlsMode::VerifyCa | TlsMode::VerifyFull => true,
    };
    let Some(connector) = connector else {
        return match must {
            true => Err(ConnectError::Tls("no TLS connector was made for this address".into())),
            false => Ok((socket.into(), Line::Plain)),
        };
    };
    match request_tls(socket).await? {
        Offer::Accepted(socket) => {
            let session = connector.connect(name, socket).await;
            let session = session.map_err(|error| ConnectError::Tls(error.to_string()))?;
            Ok((session.into(), Line::Tls(connector.clone())))
        }
        Offer::Declined(_) if must => {
            Err(ConnectError::Tls("server does not support TLS, but it was required".into()))
        }
        Offer::Declined(socket) => Ok((socket.into(), Line::Plain)),
    }
}

/// Whether somebody listens there; nothing is said, and PostgreSQL logs nothing.
pub async fn knock(address: &Address) -> Result<(), ConnectError> {
    match &address.host {
        Host::Unix(directory) => {
            let path = directory.join(format!(".s.PGSQL.{}", address.port));
            drop(UnixStream::connect(path).await?);
        }
        Host::Tcp { name, connect } => {
            let host = connect.as_ref().unwrap_or(name);
            drop(TcpStream::connect((host.as_str(), address.port)).await?);
        }
    }
    Ok(())
}

enum Offer {
    Accepted(TcpStream),
    Declined(TcpStream),
}

/// SSLRequest. One byte is read, not more: what follows it must come through TLS.
async fn request_tls(mut socket: TcpStream) -> Result<Offer, ConnectError> {
    let mut request = BytesMut::new();
    encode::ssl_request(&mut request);
    socket.write_all(&request).await?;
    match socket.read_u8().await? {
        b'S' => Ok(Offer::Accepted(socket)),
        b'N' => Ok(Offer::Declined(socket)),
        other => Err(ConnectError::Protocol(format!("the answer to SSLRequest was byte {other}"))),
    }
}
