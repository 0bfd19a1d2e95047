//! weir itself fails in the middle of a session: that session ends, and nothing else.
//!
//! The panic comes from the log: this weir runs inside the test, whose subscriber panics when it is told
//! that a statement was gathered. Nothing in weir is made for it.
use super::rules;
use crate::cluster::{Cluster, DATABASE};
use crate::raw::Raw;
use crate::weir::{Home, said, wait_for};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use tokio::sync::oneshot;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};
use weir::server::Server;
use weir::server::config::Config;

/// Log lines that tell of a panic.
static TOLD: AtomicUsize = AtomicUsize::new(0);

struct Mine;

impl Subscriber for Mine {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        ["weir::session::gather", "weir::telemetry::panics"].contains(&metadata.target())
    }

    fn event(&self, event: &Event<'_>) {
        match *event.metadata().level() {
            Level::DEBUG => panic!("the test's"),
            Level::ERROR => TOLD.fetch_add(1, SeqCst),
            _ => 0,
        };
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// weir, in this process.
fn serve(home: &Home) -> oneshot::Sender<()> {
    let config = Config::load(&home.folder().join("weir.toml")).unwrap().config;
    let (stop, stopped) = oneshot::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let server = Server::start(config).await.unwrap();
            drop(stopped.await);
            server.stop();
        });
    });
    wait_for("a weir that is ready", || {
        home.page("/readyz").is_some_and(|page| page.starts_with("HTTP/1.1 200"))
    });
    stop
}

#[test]
fn a_panic_ends_one_session_with_an_error_and_gives_back_all_it_held() {
    let cluster = Cluster::start(2);
    cluster.on_every_shard(super::SCHEMA);
    let ports: Vec<u16> = cluster.shards().iter().map(|shard| shard.port()).collect();
    let rules = format!("{}[gather]\ndsn = \"{}\"\n", rules(&cluster, &ports), cluster.gather());
    let settings = "workers = 1\n[auth]\nmethod = 'trust'\n[limits]\nclients = 1\n";
    let home = Home::new(&cluster, &rules, settings);
    let setup = home.run(&["setup", "--rules", "rules.toml", "--gather"]);
    assert!(setup.status.success(), "{}", said(&setup));
    tracing::subscriber::set_global_default(Mine).unwrap();
    let _stop = serve(&home);
    wait_for("a gather database", || metric(&home, "weir_gather_ready{").ends_with('1'));

    let connect = || Raw::connect(home.port(), &[("user", "postgres"), ("database", DATABASE)]);
    let mut client = connect();
    client.ask("BEGIN; INSERT INTO entries VALUES (1, 0)").take_transcript();
    let open = "SELECT string_agg(pid::text, ',') FROM pg_stat_activity \
                WHERE state = 'idle in transaction' AND query LIKE 'INSERT%'";
    let pid = cluster.shard(0).sql("postgres", open).unwrap();
    assert!(pid.parse::<u32>().is_ok(), "one connection is in the transaction: {pid:?}");
    client.query("SELECT count(*) FROM entries a, entries b WHERE a.id = b.user_id + 1");
    let heard = client.hear_the_end().take_transcript();

    assert!(heard.contains("FATAL") && heard.contains("XX000"), "{heard}");
    assert_eq!(TOLD.load(SeqCst), 1);
    // Not given to anybody else: closed, which rolls back.
    let there = format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {pid}");
    wait_for("the end of its connection", || {
        cluster.shard(0).sql("postgres", &there).unwrap() == "0"
    });
    assert_eq!(cluster.shard(0).sql(DATABASE, "SELECT count(*) FROM entries").unwrap(), "0");
    // The only place is free again, and the worker serves whoever takes it.
    wait_for("its place", || metric(&home, "weir_clients ") == "0");
    assert_eq!(connect().value("SELECT count(*) FROM entries"), "0");
    assert_eq!(metric(&home, "weir_panics_total "), "1");
}

/// The rest of that metric's line.
fn metric(home: &Home, line: &str) -> String {
    let page = home.page("/metrics").unwrap_or_default();
    let found = page.lines().find_map(|found| found.strip_prefix(line));
    found.unwrap_or_default().trim().to_owned()
}
