//! Stop a statement that runs on a connection: CancelRequest, on a line of its own.
//!
//! The server closes that line without an answer, whether or not there was something to stop.
use super::connection::CancelKey;
use super::dial::{Line, dial};
use super::failure::ConnectError;
use crate::auth::line;
use crate::auth::tls::TlsMode;
use crate::wire::encode;
use bytes::BytesMut;
use std::time::Duration;
use tokio::io::AsyncReadExt;

const TIMEOUT: Duration = Duration::from_secs(5);

/// Asks the server to stop what this connection runs. When it returns, the server has read the
/// request and signalled its process; the statement may still end in its own way.
pub async fn cancel(key: &CancelKey) -> Result<(), ConnectError> {
    let request = async {
        let (mode, connector) = match &key.line {
            Line::Plain => (TlsMode::Disable, None),
            Line::Tls(connector) => (TlsMode::Require, Some(connector)),
        };
        let (mut stream, _) = dial(&key.address, mode, connector).await?;
        let mut request = BytesMut::new();
        encode::cancel_request(key.pid, &key.secret, &mut request);
        line::send(&mut stream, &mut request).await?;
        // A reset instead of an orderly end also means that the server is done with us.
        let mut nothing = [0; 1];
        drop(stream.read(&mut nothing).await);
        Ok(())
    };
    tokio::time::timeout(TIMEOUT, request).await.unwrap_or(Err(ConnectError::TimedOut(TIMEOUT)))
}
