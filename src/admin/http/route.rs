//! The paths of the admin port.
use super::access::{Gate, Peer, is_loopback};
use super::answer::{Answer, Refusal, answer, text};
use super::{Port, REQUEST_TIMEOUT, Readiness, api, profile};
use crate::admin::console::May;
use crate::admin::dashboard;
use crate::error::SqlState;
use http_body_util::{BodyExt, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::{Method, Request, StatusCode};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

/// The longest body: a rules file with room for what people write.
const MAX_BODY_BYTES: usize = 1 << 20;

/// What a path's handler knows of a request.
pub struct Asked<'a> {
    pub method: Method,
    pub body: Bytes,
    pub may: May,
    /// Until when it may take.
    pub deadline: &'a watch::Sender<Instant>,
}

impl Asked<'_> {
    /// Only those who may act go on.
    pub fn acts(&self) -> Result<(), Refusal> {
        match self.may {
            May::Act => Ok(()),
            May::Look => Err(Refusal::new(StatusCode::FORBIDDEN, SqlState::INSUFFICIENT_PRIVILEGE)
                .message("whoever is known by this may look, and change nothing")
                .hint("bring the token of [admin] in weir.toml")),
        }
    }

    /// GET, and HEAD, which hyper answers without the body.
    pub fn gets(&self) -> Result<(), Refusal> {
        match self.method == Method::GET || self.method == Method::HEAD {
            true => Ok(()),
            false => Err(Refusal::method("GET, HEAD")),
        }
    }

    pub fn posts(&self) -> Result<(), Refusal> {
        match self.method == Method::POST {
            true => Ok(()),
            false => Err(Refusal::method("POST")),
        }
    }
}

pub async fn respond(
    request: Request<Incoming>,
    peer: Peer,
    gate: &Gate,
    port: &Port,
    deadline: &watch::Sender<Instant>,
) -> Answer {
    let outcome = take(request, peer, gate, port, deadline).await;
    outcome.unwrap_or_else(|refusal| refusal.answer())
}

async fn take(
    request: Request<Incoming>,
    peer: Peer,
    gate: &Gate,
    port: &Port,
    deadline: &watch::Sender<Instant>,
) -> Result<Answer, Refusal> {
    let (head, body) = request.into_parts();
    let path = head.uri.path();
    if let Some(answer) = for_machines(&head.method, path, port) {
        // What is open to this machine is not open to a network.
        if path == "/metrics" && !is_loopback(peer.address.ip()) {
            gate.admit(peer, &head.headers)?;
        }
        return Ok(answer());
    }
    if let Some(file) = dashboard::file(path) {
        gate.check_host(&head.uri, &head.headers)?;
        return match head.method == Method::GET || head.method == Method::HEAD {
            true => Ok(answer(StatusCode::OK, file.kind, file.text)),
            false => Err(Refusal::method("GET, HEAD")),
        };
    }
    gate.check_origin(&head.uri, &head.headers)?;
    let may = gate.admit(peer, &head.headers)?;
    let is_json = |kind: &[u8]| kind.starts_with(b"application/json");
    let sends = !matches!(head.method, Method::GET | Method::HEAD);
    // A form of another site's page can send texts, but not JSON.
    if sends && !head.headers.get(CONTENT_TYPE).is_some_and(|kind| is_json(kind.as_bytes())) {
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return Err(Refusal::new(status, SqlState::PROTOCOL_VIOLATION)
            .message("the body is no JSON")
            .hint("send Content-Type: application/json, and {} if there is nothing to say"));
    }
    let body = read(body).await?;
    let asked = Asked { method: head.method, body, may, deadline };
    match path.strip_prefix("/api/v1") {
        Some("" | "/") => api::list(&asked),
        Some(rest) if rest.starts_with('/') => {
            api::answer(rest.trim_start_matches('/'), &asked, port).await
        }
        Some(_) | None if path.starts_with(profile::PATH) => Err(profile::refusal(path, &asked)?),
        Some(_) | None => Err(Refusal::not_found(format!("there is no {path}"))
            .hint("there are /, /metrics, /healthz, /readyz and /api/v1")),
    }
}

/// The pages that monitoring asks for, which say no more than it needs.
fn for_machines<'a>(
    method: &'a Method,
    path: &str,
    port: &'a Port,
) -> Option<impl FnOnce() -> Answer + use<'a>> {
    let page = match path {
        "/metrics" => Page::Metrics,
        "/healthz" => Page::Alive,
        "/readyz" => Page::Ready,
        _ => return None,
    };
    Some(move || {
        if !matches!(*method, Method::GET | Method::HEAD) {
            return Refusal::method("GET, HEAD").answer();
        }
        match page {
            Page::Metrics => text(StatusCode::OK, port.pages.metrics()),
            Page::Alive => text(StatusCode::OK, "alive\n"),
            Page::Ready => match port.pages.readiness() {
                Readiness::Ready => text(StatusCode::OK, "ready\n"),
                Readiness::NotReady(why) => {
                    text(StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n"))
                }
            },
        }
    })
}

enum Page {
    Metrics,
    Alive,
    Ready,
}

async fn read(body: Incoming) -> Result<Bytes, Refusal> {
    let whole = timeout(REQUEST_TIMEOUT, Limited::new(body, MAX_BODY_BYTES).collect()).await;
    let whole = whole.map_err(|_| {
        Refusal::new(StatusCode::REQUEST_TIMEOUT, SqlState::QUERY_CANCELED)
            .message("the body did not come in time")
    })?;
    let whole = whole.map_err(|error| match error.is::<http_body_util::LengthLimitError>() {
        true => Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, SqlState::PROGRAM_LIMIT_EXCEEDED)
            .message(format!("the body is longer than {MAX_BODY_BYTES} bytes")),
        false => Refusal::bad_request("the body has no end"),
    })?;
    Ok(whole.to_bytes())
}
