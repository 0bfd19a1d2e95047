//! The admin port as its clients meet it, over a socket.
use super::access::{Look, Token};
use super::*;
use crate::admin::rulebook::{Checked, RulesFile};
use crate::admin::system::fake::Fake;
use crate::admin::{ACTIONS, SHOWS};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const TOKEN: &str = "a-token-that-acts";

/// A weir that is not ready.
struct Unready(Arc<Gate>);

struct Desk {
    fake: Arc<Fake>,
    pages: Arc<Unready>,
}

impl Pages for Unready {
    fn metrics(&self) -> String {
        "weir_clients 3\n".to_owned()
    }

    fn readiness(&self) -> Readiness {
        Readiness::NotReady("shard s1 does not answer".to_owned())
    }

    fn gate(&self) -> Arc<Gate> {
        self.0.clone()
    }

    fn count(&self, _status: u16) {}
}

impl RuleBook for Unready {
    fn files(&self) -> Vec<RulesFile> {
        Vec::new()
    }

    fn check(&self, text: &str) -> Checked {
        Checked { database: Some(text.to_owned()), ..Checked::default() }
    }
}

fn desk(look: Look) -> Desk {
    let gate = Gate { token: Some(Token::new(TOKEN)), look, ..Gate::default() };
    Desk { fake: Arc::default(), pages: Arc::new(Unready(Arc::new(gate))) }
}

/// What one connection is told after it has sent these bytes.
async fn told(desk: &Desk, request: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(serve(listener, desk.pages.clone(), desk.fake.clone()));
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    server.abort();
    answer
}

async fn check(request: &str, status: &str, body: &str) {
    let answer = told(&desk(Look::Loopback), request).await;
    assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{request}: {answer}");
    assert_eq!(answer.split_once("\r\n\r\n").unwrap().1, body);
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

fn post(path: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

async fn check_status(request: &str, status: u16, part: &str) {
    let answer = told(&desk(Look::Loopback), request).await;
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {answer}");
    assert!(answer.contains(part), "{request}: {answer}");
}

#[tokio::test]
async fn monitoring_asks_without_a_host_or_a_token() {
    check("GET /metrics HTTP/1.1\r\n\r\n", "200 OK", "weir_clients 3\n").await;
    check("GET /healthz?x=1 HTTP/1.1\r\nHost: pod.local\r\n\r\n", "200 OK", "alive\n").await;
    check("HEAD /healthz HTTP/1.1\r\n\r\n", "200 OK", "").await;
    let why = "not ready: shard s1 does not answer\n";
    check("GET /readyz HTTP/1.1\r\n\r\n", "503 Service Unavailable", why).await;
    check_status("POST /metrics HTTP/1.1\r\n\r\n", 405, "allow: GET, HEAD").await;
}

#[tokio::test]
async fn each_answer_ends_its_connection() {
    check_status(
        "GET /healthz HTTP/1.1\r\nConnection: keep-alive\r\n\r\n",
        200,
        "connection: close",
    )
    .await;
}

#[tokio::test]
async fn what_is_no_good_request_is_refused() {
    check_status("hello\r\n\r\n", 400, "").await;
    check_status(&get("/nothing"), 404, "there is no /nothing").await;
    check_status(&get("/api/v1/nothing"), 404, "GET /api/v1 lists").await;
    let long = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(MAX_HEAD_BYTES));
    check_status(&long, 431, "").await;
    let many: String = (0..=MAX_HEADERS).map(|n| format!("x{n}: 1\r\n")).collect();
    check_status(&format!("GET / HTTP/1.1\r\n{many}\r\n"), 431, "").await;
}

#[tokio::test]
async fn a_body_that_is_too_long_is_refused() {
    let long = format!("{{\"text\":\"{}\"}}", "x".repeat(1 << 20));
    check_status(&post("/api/v1/rules/check", &long), 413, "longer than").await;
}

#[tokio::test]
async fn what_takes_longer_than_its_deadline_ends() {
    let (deadline, moved) = watch::channel(Instant::now());
    assert_eq!(within(std::future::pending::<()>(), moved.clone()).await, None);
    // One that is moved counts from then on.
    let later = async {
        deadline.send_replace(Instant::now() + Duration::from_secs(3600));
        tokio::task::yield_now().await;
        tokio::time::sleep(Duration::from_millis(1)).await;
    };
    deadline.send_replace(Instant::now() + Duration::from_secs(3600));
    assert_eq!(within(later, moved).await, Some(()));
}

#[tokio::test]
async fn every_view_is_there_under_its_name() {
    let desk = desk(Look::Loopback);
    for show in SHOWS {
        let path = format!("/api/v1/{}", show.name().to_ascii_lowercase().replace(' ', "_"));
        let answer = told(&desk, &get(&path)).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{path}: {answer}");
        let body: serde_json::Value =
            serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
        let table = show.table(desk.fake.as_ref());
        assert_eq!(body["columns"].as_array().unwrap().len(), table.columns.len());
        assert_eq!(body["rows"].as_array().unwrap().len(), table.rows.len());
    }
    let list = told(&desk, &get("/api/v1")).await;
    for action in ACTIONS {
        assert!(list.contains(action.syntax()), "{list}");
    }
}

#[tokio::test]
async fn an_action_is_about_a_place_and_done_by_those_who_may() {
    let desk = desk(Look::Loopback);
    let place = "{\"database\":\"shop\",\"shard\":\"s0\",\"server\":1}";
    let answer = told(&desk, &post("/api/v1/drain", place)).await;
    assert!(answer.ends_with("{\"action\":\"DRAIN\",\"done\":true}"), "{answer}");
    assert_eq!(*desk.fake.done.lock().unwrap(), ["drain shop.s0.1"]);
    for wrong in ["{}", "{\"shard\":\"s0\"}", "{\"datbase\":\"shop\"}", "", "[]"] {
        check_status(&post("/api/v1/drain", wrong), 400, "\"sqlstate\":\"22023\"").await;
    }
    let word = told(&desk, &post("/api/v1/pause", "{\"argument\":7}")).await;
    assert!(word.contains("\"done\":true"), "{word}");
    assert_eq!(desk.fake.done.lock().unwrap()[1], "pause 7");
    check_status(&get("/api/v1/drain"), 405, "allow: POST").await;
    let looking =
        post("/api/v1/pause", "{}").replace(&format!("Authorization: Bearer {TOKEN}\r\n"), "");
    check_status(&looking, 403, "may look").await;
    let form = post("/api/v1/pause", "{}").replace("application/json", "text/plain");
    check_status(&form, 415, "no JSON").await;
    let foreign =
        post("/api/v1/pause", "{}").replace("Host", "Origin: http://evil.example\r\nHost");
    check_status(&foreign, 403, "another site").await;
}

#[tokio::test]
async fn nobody_looks_without_a_token_unless_the_setting_says_so() {
    let answer = told(&desk(Look::Nobody), &get("/api/v1/pools")).await;
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    assert!(answer.contains("www-authenticate: Bearer"), "{answer}");
    check_status(&get("/api/v1/pools"), 200, "maxwait_us").await;
    check_status(&get("/api/v1/pools").replace("localhost", "evil.example"), 403, "another host")
        .await;
}

#[tokio::test]
async fn a_statement_is_explained_and_rules_are_compared_but_not_written() {
    let statement = "{\"statement\":\"SELECT 1\"}";
    check_status(&post("/api/v1/explain", statement), 200, "shard s0: SELECT 1").await;
    let long = format!("{{\"statement\":\"{}\"}}", "x".repeat(70_000));
    check_status(&post("/api/v1/explain", &long), 413, "54000").await;
    check_status(&post("/api/v1/rules/check", "{\"text\":\"t\"}"), 200, "\"reload\":\"nothing\"")
        .await;
    let written = post("/api/v1/rules", "{}").replace("POST", "PUT");
    check_status(&written, 405, "weir writes no rules file").await;
}

#[tokio::test]
async fn profiles_are_not_made_here_and_the_error_says_how_to_make_them() {
    let get =
        |path: &str| get(path).replace("Host", &format!("Authorization: Bearer {TOKEN}\r\nHost"));
    let pid = format!("perf record -F 99 --call-graph dwarf -p {} ", std::process::id());
    check_status(&get("/debug/pprof/profile?seconds=5"), 501, &pid).await;
    check_status(&get("/debug/pprof/heap"), 501, "heaptrack").await;
    let looking = super::tests::get("/debug/pprof/profile");
    check_status(&looking, 403, "may look").await;
}

#[tokio::test]
async fn the_dashboard_is_shown_to_everybody_and_holds_no_data() {
    for path in ["/", "/dashboard.css", "/dashboard.js"] {
        let answer = told(&desk(Look::Nobody), &get(path)).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
        assert!(answer.contains("content-security-policy: default-src 'none'"), "{answer}");
    }
}
