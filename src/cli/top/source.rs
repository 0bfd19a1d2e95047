//! Asks a weir's admin port over HTTP: the metrics page and some views.
use super::super::Failure;
use super::metrics::Metrics;
use crate::auth::tls::{Connector, TlsMode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, HOST};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// For one answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Of one answer.
const MAX_BYTES: usize = 64 << 20;

pub struct Source {
    host: String,
    port: u16,
    tls: Option<Connector>,
    token: Option<String>,
}

/// What a weir said at one moment.
pub struct Look {
    pub at: Instant,
    /// Where, for the first line.
    pub place: String,
    pub version: String,
    pub ready: String,
    pub metrics: Metrics,
    pub pools: View,
    pub shards: View,
    /// Empty where there is none.
    pub plans: View,
    pub hot: View,
}

/// A view as the API tells it.
#[derive(Debug, Default, Deserialize)]
pub struct View {
    pub columns: Vec<Column>,
    pub rows: Vec<Map<String, Value>>,
}

#[derive(Debug, Deserialize)]
pub struct Column {
    pub name: String,
}

#[derive(Deserialize)]
struct List {
    version: String,
    views: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    path: String,
}

impl Source {
    pub fn new(
        url: &str,
        token: Option<String>,
        authority: Option<&Path>,
    ) -> Result<Self, Failure> {
        let wrong = || {
            Failure::new(format!("{url} is no address of an admin port"))
                .hint("write it as http://127.0.0.1:6433 or https://host:6433")
        };
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        let (Some(scheme), Some(host)) = (uri.scheme_str(), uri.host()) else {
            return Err(wrong());
        };
        let (tls, usual) = match scheme {
            "http" => (None, 80),
            "https" => (Some(connector(authority)?), 443),
            _ => return Err(wrong()),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Self { host, port: uri.port_u16().unwrap_or(usual), tls, token })
    }

    /// Everything that a frame shows.
    pub async fn look(&self) -> Result<Look, Failure> {
        let list: List = self.json("/api/v1").await?;
        let views: Vec<String> = list.views.into_iter().map(|entry| entry.path).collect();
        let (_, metrics) = self.get("/metrics").await?;
        let (_, ready) = self.get("/readyz").await?;
        Ok(Look {
            at: Instant::now(),
            place: self.place(),
            version: list.version,
            ready: text(ready).trim().to_owned(),
            metrics: Metrics::parse(&text(metrics)),
            pools: self.view(&views, &["shard_pools", "pools"]).await?,
            shards: self.view(&views, &["shards", "servers"]).await?,
            plans: self.view(&views, &["plans"]).await?,
            hot: self.view(&views, &["hot_keys", "hot_rows"]).await?,
        })
    }

    /// The first of these that there is.
    async fn view(&self, known: &[String], names: &[&str]) -> Result<View, Failure> {
        let paths = names.iter().map(|name| format!("/api/v1/{name}"));
        match paths.into_iter().find(|path| known.contains(path)) {
            Some(path) => self.json(&path).await,
            None => Ok(View::default()),
        }
    }

    fn place(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    async fn json<T: for<'de> Deserialize<'de>>(&self, path: &str) -> Result<T, Failure> {
        let (status, body) = self.get(path).await?;
        if status != StatusCode::OK {
            return Err(refused(&body).within(path));
        }
        serde_json::from_slice(&body)
            .map_err(|error| Failure::new(format!("{path} is not what is expected: {error}")))
    }

    async fn get(&self, path: &str) -> Result<(StatusCode, Bytes), Failure> {
        let answer = tokio::time::timeout(TIMEOUT, self.ask(path)).await;
        let answer = answer.map_err(|_| "it does not answer".to_owned()).and_then(|answer| answer);
        answer.map_err(|problem| {
            Failure::new(format!("{}: {problem}", self.place()))
                .hint("listen.admin in weir.toml says where weir answers; name it with --url")
        })
    }

    async fn ask(&self, path: &str) -> Result<(StatusCode, Bytes), String> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await;
        let stream = stream.map_err(|error| error.to_string())?;
        match &self.tls {
            None => self.converse(stream, path).await,
            Some(connector) => {
                let stream = connector.connect(&self.host, stream).await;
                self.converse(stream.map_err(|error| error.to_string())?, path).await
            }
        }
    }

    async fn converse<S>(&self, stream: S, path: &str) -> Result<(StatusCode, Bytes), String>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let told = |error: hyper::Error| error.to_string();
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(told)?;
        let mut request = Request::get(path).header(HOST, self.place());
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.body(Empty::<Bytes>::new()).map_err(|error| error.to_string())?;
        let answer = async {
            let answer = sender.send_request(request).await.map_err(told)?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), MAX_BYTES).collect().await;
            let body = body.map_err(|error| error.to_string())?;
            Ok((status, body.to_bytes()))
        };
        // The connection moves the bytes while the answer is waited for.
        let mut answer = std::pin::pin!(answer);
        tokio::select! {
            answer = &mut answer => answer,
            ended = connection => match ended {
                Ok(()) => answer.await,
                Err(error) => Err(error.to_string()),
            },
        }
    }
}

fn connector(authority: Option<&Path>) -> Result<Connector, Failure> {
    let hint =
        "--authority names the file with the certificate that weir's is signed by, or weir's own";
    let Some(path) = authority else {
        return Err(Failure::new("https needs to know whom to trust").hint(hint));
    };
    let name = path.display();
    let roots = std::fs::read(path).map_err(|error| Failure::new(format!("{name}: {error}")))?;
    Connector::new(TlsMode::VerifyFull, Some(&roots), None)
        .map_err(|error| Failure::new(format!("{name}: {error}")).hint(hint))
}

/// In weir's own words.
fn refused(body: &Bytes) -> Failure {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let said = |name: &str| body["error"][name].as_str().map(str::to_owned);
    let failure = Failure::new(said("message").unwrap_or_else(|| "not weir's answer".to_owned()));
    match said("hint") {
        Some(hint) => failure.hint(format!("{hint}; weir top takes a token from WEIR_ADMIN_TOKEN")),
        None => failure,
    }
}

fn text(bytes: Bytes) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}
