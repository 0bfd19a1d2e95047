//! What is answered: status, type, body, and what a browser must know about it.
use crate::error::{Blame, Error, SqlState};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;

pub type Answer = Response<Full<Bytes>>;

/// Where scripts, styles and data of the dashboard may come from: this port only, and never from the page
/// itself. No other page may show it in a frame.
const CONTENT_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";

/// With the headers that every answer has.
pub fn answer(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    for (name, value) in [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, CONTENT_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    answer
}

/// In Prometheus' and everybody's plain text.
pub fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    answer(status, "text/plain; version=0.0.4; charset=utf-8", body)
}

pub fn json(status: StatusCode, body: &impl Serialize) -> Answer {
    match serde_json::to_vec(body) {
        Ok(bytes) => answer(status, "application/json", bytes),
        Err(error) => Refusal::from(Error::internal(format!("no JSON: {error}"))).answer(),
    }
}

/// Why a request is not answered.
#[derive(Debug)]
pub struct Refusal {
    status: StatusCode,
    error: Error,
    /// The methods that the path knows.
    allow: Option<&'static str>,
}

impl Refusal {
    pub fn new(status: StatusCode, state: SqlState) -> Self {
        Self { status, error: Error::client(state, String::new()), allow: None }
    }

    pub fn message(mut self, message: impl Into<String>) -> Self {
        self.error.message = message.into();
        self
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.error = self.error.hint(hint);
        self
    }

    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, SqlState::UNDEFINED_OBJECT).message(message)
    }

    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, SqlState::INVALID_PARAMETER_VALUE).message(message)
    }

    pub fn method(allow: &'static str) -> Self {
        let refusal = Self::new(StatusCode::METHOD_NOT_ALLOWED, SqlState::FEATURE_NOT_SUPPORTED);
        Self { allow: Some(allow), ..refusal.message(format!("{allow}, please")) }
    }

    /// As JSON: `{"error": {"sqlstate": …, "message": …, "hint": …}}`.
    pub fn answer(&self) -> Answer {
        #[derive(Serialize)]
        struct Body<'a> {
            error: Told<'a>,
        }
        #[derive(Serialize)]
        struct Told<'a> {
            sqlstate: &'a str,
            message: &'a str,
            detail: Option<&'a str>,
            hint: Option<&'a str>,
        }
        let Error { code, message, detail, hint, .. } = &self.error;
        let told = Told {
            sqlstate: code.as_str(),
            message,
            detail: detail.as_deref(),
            hint: hint.as_deref(),
        };
        let body = serde_json::to_vec(&Body { error: told }).unwrap_or_default();
        let mut answer = answer(self.status, "application/json", body);
        let headers = answer.headers_mut();
        if self.status == StatusCode::UNAUTHORIZED {
            let value = HeaderValue::from_static("Bearer realm=\"weir\"");
            headers.insert(header::WWW_AUTHENTICATE, value);
        }
        if let Some(allow) = self.allow {
            headers.insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        answer
    }
}

/// By whose fault it is.
impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let status = match error.blame {
            Blame::Client => StatusCode::BAD_REQUEST,
            Blame::Rules => StatusCode::CONFLICT,
            Blame::Shard => StatusCode::BAD_GATEWAY,
            Blame::Proxy => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self { status, error, allow: None }
    }
}
