//! Traces: what a statement did when, as spans for a collector that speaks OTLP. Home of opentelemetry_proto.
//!
//! A statement that may be traced carries a [`Trace`]; when it has ended, and is to be told, its spans go
//! into a bounded queue ([`Tracer::tell`]), and are counted if they find no room. Names and attributes are
//! OpenTelemetry's semantic conventions for databases.
//!
//! Sampling: a parent that its client names decides (W3C `traceparent`, the flag `01`); without one, `ratio` of
//! all. What was slow or has failed is told even so.
use super::Metrics;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{
    ResourceSpans, ScopeSpans, Span, Status, span::SpanKind, status::StatusCode,
};
use prometheus::IntCounter;
use prost::Message;
use std::fmt;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc;

/// Statements whose spans wait to be sent.
const QUEUE: usize = 2048;
/// Spans of one request.
const BATCH: usize = 512;

/// Whose part a statement is: W3C Trace Context, version 00.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TraceParent {
    pub trace: [u8; 16],
    pub span: [u8; 8],
    pub sampled: bool,
}

/// What is told of which statements.
#[derive(Clone, PartialEq, Debug)]
pub struct Sampling {
    /// Of those without a parent.
    pub ratio: f64,
    /// What takes longer is always told.
    pub slow: Option<Duration>,
    /// What fails is, too.
    pub failed: bool,
    /// Servers are told the parent in a comment.
    pub propagate: bool,
}

/// A statement that may be traced.
#[derive(Clone, PartialEq, Debug)]
pub struct Trace {
    /// The span that all others of the statement are inside.
    pub own: TraceParent,
    parent: Option<[u8; 8]>,
    pub began: Instant,
    pub stages: Vec<Stage>,
}

/// A part of it.
#[derive(Clone, PartialEq, Debug)]
pub struct Stage {
    pub name: &'static str,
    /// The stage of that name which it is a part of.
    pub inside: Option<&'static str>,
    pub from: Instant,
    pub to: Instant,
    pub server: Option<At>,
}

/// Which server did it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct At {
    pub shard: String,
    pub role: &'static str,
    /// `host:port`, or a folder of sockets.
    pub address: String,
}

/// What is said of a statement as a whole.
#[derive(Clone, Debug)]
pub struct Told<'t> {
    pub database: &'t str,
    /// Without literals.
    pub text: &'t str,
    pub fingerprint: String,
    pub tier: &'t str,
    pub strategy: &'t str,
    /// The SQLSTATE, if it failed.
    pub failed: Option<&'t str>,
    pub from: Instant,
    pub to: Instant,
}

/// Where statements hand in their spans.
#[derive(Debug)]
pub struct Tracer {
    pub sampling: Sampling,
    queue: mpsc::Sender<Vec<Span>>,
    dropped: IntCounter,
}

/// The other end: what is to be sent.
pub struct Outbox {
    queue: mpsc::Receiver<Vec<Span>>,
    service: String,
    sent: IntCounter,
    failed: IntCounter,
}

impl TraceParent {
    /// `00-<trace>-<span>-<flags>`; `None` if it is not that.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let dashes = [2, 35, 52].map(|at| bytes.get(at) == Some(&b'-'));
        if bytes.len() != 55 || dashes != [true; 3] || !text.starts_with("00") {
            return None;
        }
        let (mut trace, mut span, mut flags) = ([0; 16], [0; 8], [0; 1]);
        hex(text.get(3..35)?, &mut trace)?;
        hex(text.get(36..52)?, &mut span)?;
        hex(text.get(53..55)?, &mut flags)?;
        let is_zero = trace == [0; 16] || span == [0; 8];
        (!is_zero).then_some(Self { trace, span, sampled: flags[0] & 1 == 1 })
    }

    /// In a statement's comment, as sqlcommenter writes it: `/*traceparent='00-…-01'*/`.
    pub fn in_comment(statement: &str) -> Option<Self> {
        let (before, behind) = statement.split_once("traceparent='")?;
        // Else it is a text of the statement's own.
        before.rfind("/*").filter(|at| before.get(*at..).is_some_and(|c| !c.contains("*/")))?;
        Self::parse(behind.get(..55)?)
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("00-")?;
        self.trace.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str("-")?;
        self.span.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(if self.sampled { "-01" } else { "-00" })
    }
}

/// As many bytes as `out` has, in small letters only: the standard allows no others.
fn hex(text: &str, out: &mut [u8]) -> Option<()> {
    for (byte, digits) in out.iter_mut().zip(text.as_bytes().chunks(2)) {
        if digits.iter().any(u8::is_ascii_uppercase) {
            return None;
        }
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(())
}

impl Tracer {
    /// `service`: what weir calls itself in traces.
    pub fn new(sampling: Sampling, service: String, metrics: &Metrics) -> (Self, Outbox) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let spans = |outcome| metrics.spans.with_label_values(&[outcome]);
        let tracer = Self { sampling, queue: sender, dropped: spans("dropped") };
        let (sent, failed) = (spans("sent"), spans("failed"));
        (tracer, Outbox { queue: receiver, service, sent, failed })
    }

    /// A statement begins.
    pub fn begin(&self, parent: Option<TraceParent>) -> Trace {
        let trace = parent.map_or_else(rand::random, |parent| parent.trace);
        let sampled = match parent {
            Some(parent) => parent.sampled,
            None => self.takes(trace),
        };
        let own = TraceParent { trace, span: rand::random(), sampled };
        let parent = parent.map(|parent| parent.span);
        Trace { own, parent, began: Instant::now(), stages: Vec::new() }
    }

    /// By the trace's id, as all others decide that see it.
    fn takes(&self, [.., a, b, c, d, e, f, g]: [u8; 16]) -> bool {
        let drawn = u64::from_be_bytes([0, a, b, c, d, e, f, g]);
        (drawn as f64) < self.sampling.ratio * (1_u64 << 56) as f64
    }

    /// It has ended.
    pub fn tell(&self, trace: Trace, told: &Told<'_>) {
        let took = told.to.saturating_duration_since(told.from);
        let is_slow = self.sampling.slow.is_some_and(|slow| took > slow);
        let has_failed = self.sampling.failed && told.failed.is_some();
        if trace.own.sampled || is_slow || has_failed {
            let spans = spans(&trace, told, &Clock::now());
            let count = spans.len() as u64;
            if self.queue.try_send(spans).is_err() {
                self.dropped.inc_by(count);
            }
        }
    }
}

impl Outbox {
    /// The next request's body, and how many spans are in it. `None`: there will be no more.
    pub async fn next(&mut self) -> Option<(Vec<u8>, u64)> {
        /// For others to come along.
        const PACE: Duration = Duration::from_millis(200);
        let mut spans = self.queue.recv().await?;
        tokio::time::sleep(PACE).await;
        while spans.len() < BATCH
            && let Ok(more) = self.queue.try_recv()
        {
            spans.extend(more);
        }
        let count = spans.len() as u64;
        Some((request(&self.service, spans).encode_to_vec(), count))
    }

    /// What became of it.
    pub fn note(&self, count: u64, taken: bool) {
        if taken { &self.sent } else { &self.failed }.inc_by(count);
    }
}

/// What a moment of ours is to the world.
struct Clock {
    at: Instant,
    unix_ns: u64,
}

impl Clock {
    fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { at: Instant::now(), unix_ns: nanos(since) }
    }

    fn unix_ns(&self, at: Instant) -> u64 {
        self.unix_ns.saturating_sub(nanos(self.at.saturating_duration_since(at)))
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn spans(trace: &Trace, told: &Told<'_>, clock: &Clock) -> Vec<Span> {
    let word = told.text.split(|c: char| !c.is_ascii_alphabetic()).find(|word| !word.is_empty());
    let operation = word.unwrap_or("statement").to_ascii_uppercase();
    let mut root = span(trace, trace.own.span, trace.parent, told.from, told.to, clock);
    root.name = format!("{operation} {}", told.database);
    root.kind = SpanKind::Server.into();
    root.attributes = vec![
        text("db.system.name", "postgresql"),
        text("db.namespace", told.database),
        text("db.operation.name", &operation),
        text("db.query.text", told.text),
        text("weir.fingerprint", &told.fingerprint),
        text("weir.tier", told.tier),
        text("weir.strategy", told.strategy),
    ];
    if let Some(code) = told.failed {
        root.attributes.push(text("db.response.status_code", code));
        root.attributes.push(text("error.type", code));
        let code = StatusCode::Error.into();
        root.status = Some(Status { code, message: String::new() });
    }
    let ids: Vec<[u8; 8]> = trace.stages.iter().map(|_| rand::random()).collect();
    let mut spans = vec![root];
    for (stage, id) in trace.stages.iter().zip(&ids) {
        let inside = trace.stages.iter().position(|other| Some(other.name) == stage.inside);
        let parent = inside.and_then(|at| ids.get(at)).unwrap_or(&trace.own.span);
        let mut part = span(trace, *id, Some(*parent), stage.from, stage.to, clock);
        part.name = stage.name.to_owned();
        part.kind = SpanKind::Internal.into();
        if let Some(at) = &stage.server {
            let (host, port) = at.address.rsplit_once(':').unwrap_or((&at.address, ""));
            part.kind = SpanKind::Client.into();
            part.name = format!("{} {}", stage.name, at.shard);
            part.attributes = vec![
                text("db.system.name", "postgresql"),
                text("db.operation.name", &operation),
                text("server.address", host),
                text("weir.shard", &at.shard),
                text("weir.role", at.role),
            ];
            part.attributes.extend(port.parse().ok().map(|port| number("server.port", port)));
        }
        spans.push(part);
    }
    spans
}

fn span(
    trace: &Trace,
    id: [u8; 8],
    parent: Option<[u8; 8]>,
    from: Instant,
    to: Instant,
    clock: &Clock,
) -> Span {
    Span {
        trace_id: trace.own.trace.to_vec(),
        span_id: id.to_vec(),
        parent_span_id: parent.map(Vec::from).unwrap_or_default(),
        start_time_unix_nano: clock.unix_ns(from),
        end_time_unix_nano: clock.unix_ns(to),
        ..Span::default()
    }
}

fn request(service: &str, spans: Vec<Span>) -> ExportTraceServiceRequest {
    let scope = InstrumentationScope {
        name: "weir".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    };
    let scope_spans = ScopeSpans { scope: Some(scope), spans, ..ScopeSpans::default() };
    let attributes = vec![text("service.name", service)];
    let resource = Resource { attributes, ..Resource::default() };
    let resource_spans = ResourceSpans {
        resource: Some(resource),
        scope_spans: vec![scope_spans],
        ..ResourceSpans::default()
    };
    ExportTraceServiceRequest { resource_spans: vec![resource_spans] }
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.to_owned()))
}

fn number(key: &str, value: i64) -> KeyValue {
    attribute(key, Value::IntValue(value))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn tracer(ratio: f64) -> (Tracer, Outbox, Metrics) {
        let metrics = Metrics::new();
        let slow = Some(Duration::from_secs(1));
        let sampling = Sampling { ratio, slow, failed: true, propagate: false };
        let (tracer, outbox) = Tracer::new(sampling, "weir".to_owned(), &metrics);
        (tracer, outbox, metrics)
    }

    fn told(took: Duration, failed: Option<&str>) -> Told<'_> {
        let from = Instant::now();
        Told {
            database: "shop",
            text: "SELECT ?",
            fingerprint: "00000001".to_owned(),
            tier: "interactive",
            strategy: "single",
            failed,
            from,
            to: from + took,
        }
    }

    #[test]
    fn a_parent_is_read_and_written_as_the_standard_says() {
        let parent = TraceParent::parse(PARENT).unwrap();
        assert!(parent.sampled);
        assert_eq!(parent.to_string(), PARENT);
        for wrong in [
            "",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-ü",
        ] {
            assert_eq!(TraceParent::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_parent_stands_in_a_comment_only() {
        let statement = format!("SELECT 1 /*app='x',traceparent='{PARENT}'*/");
        assert_eq!(TraceParent::in_comment(&statement), TraceParent::parse(PARENT));
        let value = format!("SELECT /* a */ $$traceparent='{PARENT}'$$");
        assert_eq!(TraceParent::in_comment(&value), None);
        assert_eq!(TraceParent::in_comment("SELECT 1 /*traceparent='00-ü"), None);
    }

    #[test]
    fn what_is_slow_or_has_failed_is_told_without_being_sampled() {
        let (tracer, mut outbox, _) = tracer(0.0);
        let unsampled = PARENT.replace("-01", "-00");
        for parent in [None, TraceParent::parse(&unsampled)] {
            tracer.tell(tracer.begin(parent), &told(Duration::from_millis(1), None));
            assert!(outbox.queue.try_recv().is_err());
            tracer.tell(tracer.begin(parent), &told(Duration::from_secs(2), None));
            assert!(outbox.queue.try_recv().is_ok());
            tracer.tell(tracer.begin(parent), &told(Duration::ZERO, Some("22012")));
            let spans = outbox.queue.try_recv().unwrap();
            assert_eq!(spans[0].status.as_ref().unwrap().code, i32::from(StatusCode::Error));
        }
    }

    #[test]
    fn the_queue_is_bounded_and_what_finds_no_room_is_counted() {
        let (tracer, _outbox, metrics) = tracer(1.0);
        for _ in 0..QUEUE + 7 {
            tracer.tell(tracer.begin(None), &told(Duration::ZERO, None));
        }
        let dropped = metrics.spans.with_label_values(&["dropped"]);
        assert_eq!(dropped.get(), 7);
    }

    #[test]
    fn a_share_of_those_without_a_parent_is_sampled() {
        let (tracer, ..) = tracer(0.25);
        let sampled = (0..4000).filter(|_| tracer.begin(None).own.sampled).count();
        assert!((800..1200).contains(&sampled), "{sampled}");
    }
}
