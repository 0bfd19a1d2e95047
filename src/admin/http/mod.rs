//! The admin port: /metrics, /healthz, /readyz, the API and the dashboard over HTTP/1.1, one request for
//! each connection.
//!
//! - `access`: who may look and act, and whose page has made a request
//! - `route`: the paths
//! - `api`: views, actions, explain, rules
//! - `profile`: why profiles are made outside of weir
//! - `json`: a view's table as JSON
//! - `answer`: what is answered, and the headers of all answers
//!
//! Everything is bounded: a request's head and body, the time for it and for taking the answer, the
//! number of connections, and of actions that wait.
pub mod access;
mod answer;
mod api;
mod json;
mod profile;
mod route;
#[cfg(test)]
mod tests;

use super::rulebook::RuleBook;
use super::system::System;
use crate::auth::tls::is_certified;
use access::{Certificate, Gate, Peer};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep_until, timeout};

const MAX_HEAD_BYTES: usize = 16 * 1024;
const MAX_HEADERS: usize = 64;
const MAX_CONNECTIONS: usize = 32;
/// For a request to come, and for its answer to be taken.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// After a failed accept (no file descriptors left), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// May traffic be sent here?
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    Ready,
    /// And why not.
    NotReady(String),
}

/// Where the pages' content comes from.
pub trait Pages: RuleBook {
    /// Prometheus' text format.
    fn metrics(&self) -> String;
    fn readiness(&self) -> Readiness;
    /// As weir.toml says now: a reload may change it.
    fn gate(&self) -> Arc<Gate>;
    /// A request was answered so.
    fn count(&self, status: u16);
}

/// What all connections share.
struct Port {
    pages: Arc<dyn Pages>,
    system: Arc<dyn System>,
    /// Places for actions that wait, so that they leave connections to others.
    acting: Semaphore,
}

/// Actions at a time.
const MAX_ACTIONS: usize = 8;

/// Answers until the future is dropped.
pub async fn serve(listener: TcpListener, pages: Arc<dyn Pages>, system: Arc<dyn System>) {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let port = Arc::new(Port { pages, system, acting: Semaphore::new(MAX_ACTIONS) });
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "the admin port could not accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let port = Arc::clone(&port);
        tokio::spawn(async move {
            let peer = Peer { address, certificate: Certificate::None };
            if let Err(problem) = welcome(stream, peer, &port).await {
                tracing::debug!(%address, problem, "an admin connection broke");
            }
            drop(slot);
        });
    }
}

async fn welcome(stream: TcpStream, peer: Peer, port: &Port) -> Result<(), String> {
    let gate = port.pages.gate();
    let Some(acceptor) = &gate.tls else { return converse(stream, peer, &gate, port).await };
    let accepted = timeout(REQUEST_TIMEOUT, acceptor.accept(stream)).await;
    let stream = accepted.map_err(|_| "no TLS handshake in time".to_owned())?;
    let stream = stream.map_err(|error| error.to_string())?;
    let certificate = match is_certified(&stream) {
        true => Certificate::Verified,
        false => Certificate::None,
    };
    converse(stream, Peer { certificate, ..peer }, &gate, port).await
}

/// One request, and its answer.
async fn converse<S>(stream: S, peer: Peer, gate: &Gate, port: &Port) -> Result<(), String>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (deadline, moved) = watch::channel(Instant::now() + REQUEST_TIMEOUT);
    let service = service_fn(async |request| {
        let answer = route::respond(request, peer, gate, port, &deadline).await;
        // Now it is the client's turn to take it.
        deadline.send_replace(Instant::now() + REQUEST_TIMEOUT);
        port.pages.count(answer.status().as_u16());
        Ok::<_, Infallible>(answer)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_TIMEOUT)
        .keep_alive(false)
        .max_buf_size(MAX_HEAD_BYTES)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(stream), service);
    match within(connection, moved).await {
        Some(Ok(())) => Ok(()),
        Some(Err(error)) => Err(error.to_string()),
        None => Err("it took too long".to_owned()),
    }
}

/// Until a deadline that may be moved meanwhile; `None`: it has passed.
async fn within<T>(
    work: impl Future<Output = T>,
    mut moved: watch::Receiver<Instant>,
) -> Option<T> {
    let mut work = pin!(work);
    loop {
        let until = *moved.borrow_and_update();
        tokio::select! {
            done = &mut work => return Some(done),
            Ok(()) = moved.changed() => {}
            () = sleep_until(until) => return None,
        }
    }
}
