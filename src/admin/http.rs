//! `GET /metrics`, `/healthz` and `/readyz` over HTTP/1.1, one request for each connection.
//!
//! Written here because three fixed pages need no framework. Everything is bounded: the request's
//! head, the time for it, and the number of connections. Bodies are not read.
use std::{io, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::timeout,
};

const MAX_HEAD_BYTES: usize = 8 * 1024;
const MAX_CONNECTIONS: usize = 32;
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
pub trait Pages: Send + Sync + 'static {
    /// Prometheus' text format.
    fn metrics(&self) -> String;
    fn readiness(&self) -> Readiness;
}

/// Answers until the future is dropped.
pub async fn serve(listener: TcpListener, pages: Arc<dyn Pages>) {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "the admin port could not accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let pages = Arc::clone(&pages);
        tokio::spawn(async move {
            match timeout(REQUEST_TIMEOUT, converse(stream, pages.as_ref())).await {
                Ok(Ok(())) => (),
                Ok(Err(error)) => tracing::debug!(%error, "an admin connection broke"),
                Err(_) => tracing::debug!("an admin connection took too long"),
            }
            drop(slot);
        });
    }
}

async fn converse(mut stream: TcpStream, pages: &dyn Pages) -> io::Result<()> {
    let head = match read_head(&mut stream).await? {
        Some(head) => head,
        None => return Ok(()),
    };
    stream.write_all(respond(&head, pages).as_bytes()).await?;
    stream.shutdown().await
}

/// Bytes up to and with the empty line, or as many as are read at all; `None`: nothing came.
async fn read_head(stream: &mut TcpStream) -> io::Result<Option<Vec<u8>>> {
    let mut head = Vec::with_capacity(1024);
    let mut limited = stream.take(MAX_HEAD_BYTES as u64);
    while !ends(&head) {
        if limited.read_buf(&mut head).await? == 0 {
            break;
        }
    }
    Ok((!head.is_empty()).then_some(head))
}

fn ends(head: &[u8]) -> bool {
    head.windows(4).any(|bytes| bytes == b"\r\n\r\n")
}

/// The whole answer to a request's head.
fn respond(head: &[u8], pages: &dyn Pages) -> String {
    if !ends(head) {
        let status = match head.len() < MAX_HEAD_BYTES {
            true => "400 Bad Request",
            false => "431 Request Header Fields Too Large",
        };
        return answer(status, Body::Sent, "the request has no end\n");
    }
    let line = head.split(|&byte| byte == b'\r').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let mut words = line.split(' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return answer("400 Bad Request", Body::Sent, "this is not an HTTP request\n");
    };
    if !version.starts_with("HTTP/1.") {
        return answer("505 HTTP Version Not Supported", Body::Sent, "HTTP/1.1, please\n");
    }
    let body = match method {
        "GET" => Body::Sent,
        "HEAD" => Body::LeftOut,
        _ => return answer("405 Method Not Allowed", Body::Sent, "GET or HEAD, please\n"),
    };
    let path = target.split('?').next().unwrap_or_default();
    match path {
        "/metrics" => answer("200 OK", body, &pages.metrics()),
        "/healthz" => answer("200 OK", body, "alive\n"),
        "/readyz" => match pages.readiness() {
            Readiness::Ready => answer("200 OK", body, "ready\n"),
            Readiness::NotReady(why) => {
                answer("503 Service Unavailable", body, &format!("not ready: {why}\n"))
            }
        },
        _ => answer("404 Not Found", body, "there are /metrics, /healthz and /readyz\n"),
    }
}

#[derive(Clone, Copy)]
enum Body {
    Sent,
    /// For HEAD: the headers tell its length all the same.
    LeftOut,
}

fn answer(status: &str, body: Body, text: &str) -> String {
    let allow = match status.starts_with("405") {
        true => "Allow: GET, HEAD\r\n",
        false => "",
    };
    let length = text.len();
    let text = match body {
        Body::Sent => text,
        Body::LeftOut => "",
    };
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n{allow}\
         Content-Length: {length}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n{text}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed(Readiness);

    impl Pages for Fixed {
        fn metrics(&self) -> String {
            "weir_clients 3\n".to_owned()
        }
        fn readiness(&self) -> Readiness {
            self.0.clone()
        }
    }

    fn check(request: &str, status: &str, body: &str) {
        let pages = Fixed(Readiness::NotReady("shard s1 does not answer".to_owned()));
        let answer = respond(request.as_bytes(), &pages);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{answer}");
        assert_eq!(answer.split_once("\r\n\r\n").unwrap().1, body);
    }

    #[test]
    fn each_page_answers() {
        check("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", "200 OK", "weir_clients 3\n");
        check("GET /healthz?x=1 HTTP/1.0\r\n\r\n", "200 OK", "alive\n");
        check("HEAD /healthz HTTP/1.1\r\n\r\n", "200 OK", "");
    }

    #[test]
    fn not_ready_says_why() {
        check(
            "GET /readyz HTTP/1.1\r\n\r\n",
            "503 Service Unavailable",
            "not ready: shard s1 does not answer\n",
        );
    }

    #[test]
    fn what_is_no_good_request_is_told_so() {
        check("POST /metrics HTTP/1.1\r\n\r\n", "405 Method Not Allowed", "GET or HEAD, please\n");
        check(
            "GET / HTTP/1.1\r\n\r\n",
            "404 Not Found",
            "there are /metrics, /healthz and /readyz\n",
        );
        check("hello\r\n\r\n", "400 Bad Request", "this is not an HTTP request\n");
        check("GET / HTTP/2\r\n\r\n", "505 HTTP Version Not Supported", "HTTP/1.1, please\n");
        check("GET / HTTP/1.1\r\n", "400 Bad Request", "the request has no end\n");
        let long = "x".repeat(MAX_HEAD_BYTES);
        check(&long, "431 Request Header Fields Too Large", "the request has no end\n");
    }

    #[tokio::test]
    async fn a_request_over_a_socket_is_answered_and_the_connection_closed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(serve(listener, Arc::new(Fixed(Readiness::Ready))));
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /readyz HT").await.unwrap();
        stream.write_all(b"TP/1.1\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.ends_with("\r\n\r\nready\n"), "{answer}");
        server.abort();
    }
}
