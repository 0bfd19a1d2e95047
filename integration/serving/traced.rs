//! Traces as a collector gets them: which spans a statement has, and whose parts they are.
use super::{TRUST, connect, sharded, two_shards};
use crate::cluster::DATABASE;
use crate::weir::{Weir, wait_for};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// Takes what weir exports, and keeps it.
struct Collector {
    port: u16,
    spans: Arc<Mutex<Vec<Span>>>,
}

impl Collector {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let spans = Arc::new(Mutex::new(Vec::new()));
        let kept = spans.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let kept = kept.clone();
                thread::spawn(move || take(stream, &kept));
            }
        });
        Self { port, spans }
    }

    fn all(&self) -> Vec<Span> {
        self.spans.lock().unwrap().clone()
    }

    /// Of the trace with this id, once its outermost span is there.
    fn trace(&self, id: &str) -> Vec<Span> {
        let of = || -> Vec<Span> {
            self.all().into_iter().filter(|span| hex(&span.trace_id) == id).collect()
        };
        wait_for("a trace", || !of().is_empty());
        of()
    }
}

/// One connection's requests.
fn take(stream: TcpStream, kept: &Mutex<Vec<Span>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    loop {
        let (mut length, mut head) = (0, String::new());
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if line == "\r\n" {
                break;
            }
            let (name, value) = line.split_once(": ").unwrap_or(("", ""));
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().unwrap();
            }
            head += &line;
        }
        assert!(head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{head}");
        assert!(head.contains("content-type: application/x-protobuf"), "{head}");
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let request = ExportTraceServiceRequest::decode(body.as_slice()).unwrap();
        for resource in request.resource_spans {
            let attributes = resource.resource.unwrap().attributes;
            assert!(attributes.iter().any(|one| one.key == "service.name"));
            let spans = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
            kept.lock().unwrap().extend(spans);
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What an attribute says.
fn said(span: &Span, key: &str) -> String {
    let found = span.attributes.iter().find(|one| one.key == key);
    match found.and_then(|one| one.value.clone()).and_then(|value| value.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        _ => String::new(),
    }
}

/// `name < name of what it is a part of`, in the order of the names.
fn tree(spans: &[Span]) -> Vec<String> {
    let parent = |span: &Span| {
        let of = spans.iter().find(|other| other.span_id == span.parent_span_id);
        of.map_or_else(|| hex(&span.parent_span_id), |of| of.name.clone())
    };
    let mut lines: Vec<String> =
        spans.iter().map(|span| format!("{} < {}", span.name, parent(span))).collect();
    lines.sort();
    lines
}

const PARENT: &str = "b7ad6b7169203331";

/// A trace's id, and the parent that statements name.
fn named(number: u8, flags: &str) -> (String, String) {
    let trace = format!("0af7651916cd43dd8448eb211c8031{number:02x}");
    let parent = format!("00-{trace}-{PARENT}-{flags}");
    (trace, parent)
}

#[tokio::test]
async fn a_collector_gets_the_spans_of_a_statement_each_inside_what_it_is_a_part_of() {
    let cluster = two_shards();
    let collector = Collector::start();
    let gather = format!("[gather]\ndsn = \"{}\"\n", cluster.gather());
    let rules = sharded(&cluster, &[("s0", 0), ("s1", 1)], 2, &gather);
    let tracing = format!(
        "[tracing]\nendpoint = 'http://127.0.0.1:{}'\nratio = 0.0\nslow = '300ms'\npropagate = true\n",
        collector.port
    );
    let weir = Weir::with_rules(&cluster, &rules, &format!("{TRUST}{tracing}"));
    let client = connect(weir.port(), "postgres", DATABASE).await;
    let run = |text: String| {
        let client = &client;
        async move { client.batch_execute(&text).await }
    };
    run("INSERT INTO orders VALUES (1, 0), (2, 1), (3, 0)".to_owned()).await.unwrap();

    // Over two shards.
    let (id, parent) = named(1, "01");
    run(format!("SELECT id FROM orders ORDER BY id /*traceparent='{parent}'*/")).await.unwrap();
    let spans = collector.trace(&id);
    let root = format!("SELECT shop < {PARENT}");
    let expected = ["checkout", "merge", "plan", "shard s0", "shard s1"];
    let mut expected: Vec<_> =
        expected.iter().map(|name| format!("{name} < SELECT shop")).chain([root]).collect();
    expected.sort();
    assert_eq!(tree(&spans), expected);
    let root = spans.iter().find(|span| span.name == "SELECT shop").unwrap();
    assert_eq!(said(root, "db.query.text"), "SELECT id FROM orders ORDER BY id");
    assert_eq!(said(root, "db.system.name"), "postgresql");
    assert_eq!(said(root, "db.namespace"), "shop");
    assert_eq!(said(root, "db.operation.name"), "SELECT");
    assert_eq!(
        (said(root, "weir.strategy"), said(root, "weir.tier")),
        ("merge".into(), "batch".into())
    );
    let shard = spans.iter().find(|span| span.name == "shard s1").unwrap();
    assert_eq!(said(shard, "server.port"), cluster.shard(1).port().to_string());
    assert_eq!(
        (said(shard, "server.address"), said(shard, "weir.role")),
        ("127.0.0.1".into(), "primary".into())
    );
    for span in &spans {
        assert!(span.start_time_unix_nano >= root.start_time_unix_nano, "{}", span.name);
        assert!(span.end_time_unix_nano <= root.end_time_unix_nano, "{}", span.name);
        assert!(span.end_time_unix_nano >= span.start_time_unix_nano, "{}", span.name);
    }

    // On one, by the extended protocol, with a parent that was SET.
    let (id, parent) = named(2, "01");
    let wrong = run("SET weir.traceparent = '00-what'".to_owned()).await.unwrap_err();
    assert_eq!(wrong.code().unwrap().code(), "22023");
    run(format!("SET weir.traceparent = '{parent}'")).await.unwrap();
    client.query("SELECT id FROM orders WHERE user_id = $1", &[&1_i64]).await.unwrap();
    run("RESET weir.traceparent".to_owned()).await.unwrap();
    let spans = collector.trace(&id);
    let lines = tree(&spans);
    for line in ["shard s1 < SELECT shop", "checkout < SELECT shop"] {
        assert!(lines.contains(&line.to_owned()), "{lines:#?}");
    }
    assert!(lines.contains(&format!("SELECT shop < {PARENT}")), "{lines:#?}");

    // A COMMIT over both.
    let (id, parent) = named(3, "01");
    run("BEGIN; INSERT INTO orders VALUES (4, 0), (5, 1)".to_owned()).await.unwrap();
    run(format!("COMMIT /*traceparent='{parent}'*/")).await.unwrap();
    let spans = collector.trace(&id);
    let lines = tree(&spans);
    assert_eq!(lines.len(), 5, "{lines:#?}");
    assert!(lines.contains(&format!("COMMIT shop < {PARENT}")), "{lines:#?}");
    assert!(lines.contains(&"commit < COMMIT shop".to_owned()), "{lines:#?}");
    let steps: Vec<&str> = lines.iter().filter_map(|line| line.strip_suffix(" < commit")).collect();
    let shards: BTreeSet<&str> =
        steps.iter().map(|step| step.rsplit(' ').next().unwrap()).collect();
    assert_eq!((steps.len(), shards), (3, BTreeSet::from(["s0", "s1"])), "{lines:#?}");

    // Finished in the gather database.
    let (id, parent) = named(4, "01");
    let window = "SELECT id, row_number() OVER (ORDER BY id) FROM orders";
    run(format!("{window} /*traceparent='{parent}'*/")).await.unwrap();
    let lines = tree(&collector.trace(&id));
    for line in
        ["gather < SELECT shop", "shard s0 < gather", "shard s1 < gather", "shard gather < gather"]
    {
        assert!(lines.contains(&line.to_owned()), "{line} is not in {lines:#?}");
    }

    // Servers are told whose part they are.
    let (id, parent) = named(5, "01");
    let own = "SELECT query FROM pg_stat_activity WHERE pid = pg_backend_pid()";
    let text = format!("{own} /*traceparent='{parent}'*/");
    let heard = client.simple_query(&text).await.unwrap();
    let heard = format!("{heard:?}");
    let roots = collector.trace(&id);
    let root = roots.iter().find(|span| span.name == "SELECT shop").unwrap();
    let told = format!("traceparent='00-{id}-{}-01'", hex(&root.span_id));
    assert!(heard.contains(&told), "{told} is not in {heard}");

    // What nobody samples is told only if it is slow or fails.
    let count = collector.all().len();
    let (_, unsampled) = named(6, "00");
    run(format!("SELECT 1 /*traceparent='{unsampled}'*/")).await.unwrap();
    run("SELECT 2".to_owned()).await.unwrap();
    let (slow, parent) = named(7, "00");
    run(format!("SELECT pg_sleep(0.4) /*traceparent='{parent}'*/")).await.unwrap();
    let (failed, parent) = named(8, "00");
    run(format!("SELECT 1/0 /*traceparent='{parent}'*/")).await.unwrap_err();
    let (refused, parent) = named(9, "00");
    run(format!("SELECT id FROM orders FOR UPDATE /*traceparent='{parent}'*/")).await.unwrap_err();
    let spans = collector.trace(&slow);
    assert!(
        spans.iter().any(|span| span.end_time_unix_nano - span.start_time_unix_nano > 300_000_000)
    );
    let spans = collector.trace(&failed);
    let root = spans.iter().find(|span| span.parent_span_id == collector_parent()).unwrap();
    assert_eq!(said(root, "db.response.status_code"), "22012");
    assert_eq!(root.status.as_ref().unwrap().code, 2);
    let spans = collector.trace(&refused);
    assert_eq!(said(&spans[0], "error.type"), "0A000");
    let told: BTreeSet<String> =
        collector.all().iter().skip(count).map(|span| hex(&span.trace_id)).collect();
    assert_eq!(told, BTreeSet::from([slow, failed, refused]));
    let page = weir.page("/metrics").unwrap();
    assert!(page.contains("weir_spans_total{outcome=\"sent\"}"), "{page}");
}

fn collector_parent() -> Vec<u8> {
    vec![0xb7, 0xad, 0x6b, 0x71, 0x69, 0x20, 0x33, 0x31]
}
