//! How a connection begins: versions, encryption, options, who may come in.
use super::Stage;
use crate::raw::Raw;

const V3: u32 = 3 << 16;

fn greeted(stage: &Stage, version: u32, parameters: &[(&str, &str)]) -> Raw {
    let mut raw = Raw::dial(stage.weir.port());
    raw.send_startup(version, parameters);
    raw.await_ready();
    raw
}

#[test]
fn protocol_versions_are_negotiated() {
    let stage = Stage::new("");
    let names = [("user", "postgres"), ("database", "pooled")];
    let old = greeted(&stage, V3, &names);
    assert_eq!(old.secret.len(), 4);
    assert!(!old.transcript().contains("v "), "{}", old.transcript());
    let new = greeted(&stage, V3 | 2, &names);
    assert_eq!(new.secret.len(), 32);
    assert!(!new.transcript().contains("v "), "{}", new.transcript());
    let future = greeted(&stage, V3 | 9, &[&names[..], &[("_pq_.wishes", "1")]].concat());
    let first = "v \\x00\\x03\\x00\\x02\\x00\\x00\\x00\\x01_pq_.wishes\\x00";
    assert!(future.transcript().starts_with(first), "{}", future.transcript());
    let mut ancient = Raw::dial(stage.weir.port());
    ancient.send_startup(2 << 16, &names);
    ancient.hear_the_end();
    assert!(ancient.transcript().contains("V=FATAL C=0A000"), "{}", ancient.transcript());
}

#[test]
fn encryption_that_weir_does_not_have_is_declined_and_the_client_goes_on() {
    let stage = Stage::new("");
    let mut raw = Raw::dial(stage.weir.port());
    for code in [80_877_104u32, 80_877_103] {
        raw.send_packet(&code.to_be_bytes());
        assert_eq!(raw.next_byte(), Some(b'N'));
    }
    raw.send_startup(V3, &[("user", "postgres"), ("database", "pooled")]);
    raw.await_ready();
    assert!(raw.transcript().ends_with("Z I"), "{}", raw.transcript());
}

#[test]
fn parameters_told_at_the_start_are_postgresqls() {
    let stage = Stage::new("");
    let names = [
        ("user", "postgres"),
        ("database", "direct"),
        ("options", "-c datestyle=German --search_path=x\\ y"),
        ("timezone", "Asia/Tokyo"),
        ("application_name", "test"),
        ("client_encoding", "LATIN1"),
    ];
    let told = |port| {
        let mut raw = Raw::dial(port);
        raw.send_startup(V3, &names);
        raw.await_ready();
        let mut told: Vec<String> = raw
            .transcript()
            .lines()
            .filter(|line| line.starts_with("S "))
            .map(Into::into)
            .collect();
        told.sort();
        (
            told,
            raw.value("SHOW search_path"),
            raw.value("SHOW timezone"),
            raw.value("SHOW client_encoding"),
        )
    };
    assert_eq!(told(stage.weir.port()), told(stage.cluster.shard(0).port()));
}

#[test]
fn a_start_that_postgresql_would_refuse_is_refused_with_its_code() {
    let stage = Stage::new("");
    for (parameters, code) in [
        (&[("user", "postgres"), ("database", "nowhere")][..], "3D000"),
        (&[("database", "pooled")], "28000"),
        (&[("user", "postgres"), ("database", "pooled"), ("options", "-c nonsense=1")], "42704"),
        (&[("user", "postgres"), ("database", "pooled"), ("options", "-c work_mem=much")], "22023"),
        (&[("user", "postgres"), ("database", "pooled"), ("client_encoding", "KLINGON")], "22023"),
        (&[("user", "postgres"), ("database", "pooled"), ("replication", "database")], "0A000"),
    ] {
        let mut raw = Raw::dial(stage.weir.port());
        raw.send_startup(V3, parameters);
        raw.hear_the_end();
        let said = raw.transcript();
        assert!(said.contains(&format!("V=FATAL C={code}")), "{parameters:?}: {said}");
        assert!(said.ends_with("hung up"), "{parameters:?}: {said}");
    }
}

#[test]
fn draining_sends_idle_clients_away_and_lets_busy_ones_finish() {
    let mut stage = Stage::new("[timeouts]\ndrain = '20s'\n");
    let (mut idle, mut busy) = (stage.client(), stage.client());
    busy.query("BEGIN").query("SELECT 1");
    busy.take_transcript();
    stage.weir.signal("TERM");
    idle.hear_the_end();
    assert!(idle.transcript().contains("V=FATAL C=57P01"), "{}", idle.transcript());
    let page = stage.weir.page("/readyz").unwrap();
    assert!(page.starts_with("HTTP/1.1 503"), "{page}");
    busy.query("SELECT 2");
    assert!(busy.take_transcript().ends_with("Z T"));
    busy.query("COMMIT").hear_the_end();
    let said = busy.transcript();
    assert!(said.contains("C COMMIT") && said.contains("V=FATAL C=57P01"), "{said}");
    stage.weir.ended();
}
