//! Traces on their way to a collector: OTLP over HTTP/1.1, protobuf, one request at a time.
//!
//! A collector that is away or slow costs spans, never statements: what is not taken is counted, and the
//! queue in front of it is bounded.
use super::config::Tracing;
use crate::error::{Blame, Error, SqlState};
use crate::telemetry::Metrics;
use crate::telemetry::traces::{Outbox, Sampling, Tracer};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Request, Uri};
use hyper_util::rt::TokioIo;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// For a connection, and for an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// After a failure, so that a collector that is away is not asked all the time.
const PAUSE: Duration = Duration::from_secs(1);
/// Where a collector takes traces, if the endpoint says nothing else.
const PATH: &str = "/v1/traces";
/// Of those that no parent decides about, where nothing is said.
const RATIO: f64 = 0.01;

/// The tracer that the settings ask for, its task begun; `var` looks into the environment.
pub fn open(
    tracing: &Tracing,
    var: impl Fn(&str) -> Option<String>,
    metrics: &Metrics,
) -> Result<Option<Arc<Tracer>>, Error> {
    let var = |name: &str| var(name).filter(|value| !value.is_empty());
    let Some(endpoint) = tracing.endpoint.clone().or_else(|| var("OTEL_EXPORTER_OTLP_ENDPOINT"))
    else {
        return Ok(None);
    };
    let place = Place::parse(&endpoint)?;
    let given = match (tracing.ratio, var("OTEL_TRACES_SAMPLER_ARG")) {
        (None, Some(ratio)) => Some(ratio.parse().map_err(|_| {
            wrong(format!("OTEL_TRACES_SAMPLER_ARG \"{ratio}\" is no number from 0 to 1"))
        })?),
        (ratio, _) => ratio,
    };
    let sampling = Sampling {
        ratio: given.unwrap_or(RATIO),
        slow: tracing.slow,
        failed: tracing.failed,
        propagate: tracing.propagate,
    };
    if !(0.0..=1.0).contains(&sampling.ratio) {
        return Err(wrong(format!("ratio {} is not from 0 to 1", sampling.ratio)));
    }
    let service = tracing.service_name.clone().or_else(|| var("OTEL_SERVICE_NAME"));
    let (tracer, outbox) =
        Tracer::new(sampling, service.unwrap_or_else(|| "weir".to_owned()), metrics);
    tokio::spawn(send_all(outbox, place));
    Ok(Some(Arc::new(tracer)))
}

fn wrong(message: String) -> Error {
    Error::new(SqlState(*b"F0000"), Blame::Rules, format!("[tracing]: {message}"))
}

/// Where the collector is.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Place {
    host: String,
    port: u16,
    path: String,
}

impl Place {
    fn parse(endpoint: &str) -> Result<Self, Error> {
        let refused = |what: &str| {
            wrong(format!("endpoint \"{endpoint}\": {what}")).hint(
                "for instance http://127.0.0.1:4318: a collector beside weir, which sends on by TLS",
            )
        };
        let uri: Uri = endpoint.parse().map_err(|_| refused("this is no address"))?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => return Err(refused("TLS is not supported")),
            _ => return Err(refused("it begins with http://")),
        }
        let host = uri.host().ok_or_else(|| refused("a host is missing"))?;
        let path = match uri.path().trim_end_matches('/') {
            "" => PATH.to_owned(),
            path if path.ends_with(PATH) => path.to_owned(),
            path => format!("{path}{PATH}"),
        };
        let host = host.trim_matches(['[', ']']).to_owned();
        Ok(Self { host, port: uri.port_u16().unwrap_or(4318), path })
    }
}

/// Until nobody hands anything in any more.
async fn send_all(mut outbox: Outbox, place: Place) {
    let mut line: Option<SendRequest<Full<Bytes>>> = None;
    while let Some((body, count)) = outbox.next().await {
        let sent = timeout(PATIENCE, send(&mut line, &place, body.into())).await;
        let outcome = sent.unwrap_or_else(|_| Err("it does not answer".to_owned()));
        outbox.note(count, outcome.is_ok());
        if let Err(error) = outcome {
            line = None;
            let (host, port) = (&place.host, place.port);
            tracing::warn!(host, port, error, "traces cannot be exported");
            tokio::time::sleep(PAUSE).await;
        }
    }
}

async fn send(
    line: &mut Option<SendRequest<Full<Bytes>>>,
    place: &Place,
    body: Bytes,
) -> Result<(), String> {
    if line.as_ref().is_none_or(SendRequest::is_closed) {
        let said = |error: &dyn std::fmt::Display| error.to_string();
        let stream = TcpStream::connect((place.host.as_str(), place.port));
        let stream = stream.await.map_err(|error| said(&error))?;
        let (sender, connection) =
            handshake(TokioIo::new(stream)).await.map_err(|error| said(&error))?;
        // It ends with the sender; what is wrong with it a request tells.
        tokio::spawn(async move { drop(connection.await) });
        *line = Some(sender);
    }
    let sender = line.as_mut().ok_or("there is no connection")?;
    let request = Request::post(&place.path)
        .header(HOST, format!("{}:{}", place.host, place.port))
        .header(CONTENT_TYPE, "application/x-protobuf")
        .body(Full::new(body))
        .map_err(|error| error.to_string())?;
    sender.ready().await.map_err(|error| error.to_string())?;
    let answer = sender.send_request(request).await.map_err(|error| error.to_string())?;
    let status = answer.status();
    // The connection can be used again when the answer is read; a collector's are short.
    drop(answer.into_body().collect().await);
    if status.is_success() { Ok(()) } else { Err(format!("it answers {status}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_names_host_port_and_path() {
        let place = |text: &str| {
            let Place { host, port, path } = Place::parse(text).unwrap();
            format!("{host} {port} {path}")
        };
        assert_eq!(place("http://127.0.0.1:4318"), "127.0.0.1 4318 /v1/traces");
        assert_eq!(place("http://otel/"), "otel 4318 /v1/traces");
        assert_eq!(place("http://otel:80/in"), "otel 80 /in/v1/traces");
        assert_eq!(place("http://[::1]:1/v1/traces"), "::1 1 /v1/traces");
        for wrong in ["https://otel:4318", "otel:4318", "grpc://otel", ""] {
            let error = Place::parse(wrong).unwrap_err();
            assert!(error.message.starts_with("[tracing]: endpoint"), "{error}");
        }
    }

    #[tokio::test]
    async fn the_environment_says_what_the_file_does_not() {
        let metrics = Metrics::new();
        let environment = |name: &str| {
            let value = match name {
                "OTEL_EXPORTER_OTLP_ENDPOINT" => "http://127.0.0.1:1",
                "OTEL_TRACES_SAMPLER_ARG" => "0.5",
                _ => return None,
            };
            Some(value.to_owned())
        };
        let nothing = Tracing::default();
        assert!(open(&nothing, |_| None, &metrics).unwrap().is_none());
        let tracer = open(&nothing, environment, &metrics).unwrap().unwrap();
        assert_eq!(tracer.sampling.ratio, 0.5);
        let own = Tracing { ratio: Some(0.25), ..Tracing::default() };
        assert_eq!(open(&own, environment, &metrics).unwrap().unwrap().sampling.ratio, 0.25);
        let wrong = Tracing { ratio: Some(2.0), ..Tracing::default() };
        assert!(open(&wrong, environment, &metrics).is_err());
    }
}
