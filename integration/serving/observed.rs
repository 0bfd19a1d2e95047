//! What weir tells of itself: the metrics page as Prometheus reads it, and the log of slow statements.
use super::{TRUST, connect, sharded, two_shards};
use crate::cluster::DATABASE;
use crate::weir::{Weir, wait_for};
use std::collections::{BTreeMap, BTreeSet};

/// The page as `promtool check metrics` looks at it: what is wrong with it.
fn promlint(page: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let (mut help, mut types) = (BTreeSet::new(), BTreeMap::new());
    let mut series = BTreeSet::new();
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, text) = rest.split_once(' ').unwrap_or((rest, ""));
            if text.is_empty() || !help.insert(name.to_owned()) {
                wrong.push(format!("{name}: one help text, please"));
            }
            continue;
        }
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap_or((rest, ""));
            types.insert(name.to_owned(), kind.to_owned());
            let is_counter = kind == "counter";
            if is_counter != name.ends_with("_total") {
                wrong.push(format!("{name}: counters, and no others, end in _total"));
            }
            for unit in ["_ms", "_milliseconds", "_minutes", "_kilobytes", "_kb", "_percent"] {
                if name.contains(unit) {
                    wrong.push(format!("{name}: base units are seconds, bytes and ratios"));
                }
            }
            continue;
        }
        let Some((sample, value)) = line.rsplit_once(' ') else {
            wrong.push(format!("not a sample: {line}"));
            continue;
        };
        if value.parse::<f64>().is_err() {
            wrong.push(format!("{sample}: {value} is no number"));
        }
        if !series.insert(sample.to_owned()) {
            wrong.push(format!("{sample} comes twice"));
        }
        let (name, labels) = sample.split_once('{').unwrap_or((sample, ""));
        let parts = ["_bucket", "_sum", "_count"];
        let of_histogram = parts.iter().find_map(|part| name.strip_suffix(part));
        let family = of_histogram
            .filter(|family| types.get(*family).is_some_and(|kind| kind == "histogram"));
        let family = family.unwrap_or(name);
        if !types.contains_key(family) || !help.contains(family) {
            wrong.push(format!("{name}: HELP and TYPE come first"));
        }
        let word = |text: &str| {
            let mut bytes = text.bytes();
            bytes.next().is_some_and(|b| b.is_ascii_lowercase())
                && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        };
        if !word(name) || !name.starts_with("weir_") {
            wrong.push(format!("{name}: small letters, and weir_ at the beginning"));
        }
        // None is what a client says: each is one of few that weir's own files, or weir itself, name.
        const BOUNDED: [&str; 13] = [
            "database", "shard", "tier", "role", "strategy", "server", "outcome", "reason",
            "class", "blame", "access", "le", "kind",
        ];
        for part in labels.trim_end_matches('}').split("\",").filter(|part| !part.is_empty()) {
            let label = part.split('=').next().unwrap_or_default();
            if !word(label) || !BOUNDED.contains(&label) {
                wrong.push(format!("{name}: the label {label} may have any value"));
            }
        }
    }
    for (name, _) in types.iter().filter(|(_, kind)| *kind == "histogram") {
        let has = |part: &str| series.iter().any(|of| of.starts_with(&format!("{name}{part}")));
        let ends = series.iter().any(|of| of.starts_with(name) && of.contains("le=\"+Inf\""));
        if !has("_sum") || !has("_count") || !ends {
            wrong.push(format!("{name}: a histogram has a sum, a count and a last bucket"));
        }
    }
    wrong
}

fn body(page: &str) -> &str {
    page.split_once("\r\n\r\n").expect("a head and a body").1
}

#[tokio::test]
async fn the_metrics_page_is_as_prometheus_wants_it() {
    let cluster = two_shards();
    let rules = sharded(&cluster, &[("s0", 0), ("s1", 1)], 2, "");
    let settings = format!(
        "{TRUST}[logging]\nslow_statement = '200ms'\nconnections = true\ndisconnections = true\nrepeat = 3\n"
    );
    let weir = Weir::with_rules(&cluster, &rules, &settings);
    let client = connect(weir.port(), "postgres", DATABASE).await;
    client.batch_execute("SELECT 1; SELECT * FROM orders ORDER BY id").await.unwrap();
    client.batch_execute("INSERT INTO orders VALUES (1, 0), (2, 1)").await.unwrap();
    client.batch_execute("CREATE INDEX ON orders (user_id)").await.unwrap();
    client.batch_execute("SELECT 1/0").await.unwrap_err();
    client.batch_execute("SELECT user_id / 0 FROM orders").await.unwrap_err();
    client.batch_execute("SELECT wrong").await.unwrap_err();
    let page = weir.page("/metrics").unwrap();
    assert_eq!(promlint(body(&page)), Vec::<String>::new());
    for line in [
        r#"weir_statement_seconds_count{database="shop",role="primary",shard="several",strategy="merge",tier="batch"}"#,
        r#"weir_statement_seconds_count{database="shop",role="primary",shard="several",strategy="write",tier="interactive"}"#,
        r#"weir_statement_seconds_count{database="shop",role="primary",shard="several",strategy="schema",tier="batch"}"#,
        r#"weir_statement_errors_total{class="42",database="shop""#,
        r#"weir_statement_errors_total{class="22",database="shop""#,
    ] {
        assert!(page.contains(line), "{line} is not in\n{page}");
    }

    // A slow one, in both protocols, once on one shard and once on both.
    let secret = "the secret of user 4711";
    let slow = format!("SELECT pg_sleep(0.25), '{secret}' FROM (SELECT 1) one");
    client.batch_execute(&slow).await.unwrap();
    let one = "SELECT pg_sleep(0.25), $1::text, count(*) FROM orders WHERE user_id = $2";
    client.query(one, &[&secret, &1_i64]).await.unwrap();
    client.batch_execute("SELECT id, pg_sleep(0.25) FROM orders ORDER BY id").await.unwrap();
    let slow_lines = || -> Vec<String> {
        let log = weir.log();
        log.lines()
            .filter(|line| line.contains("slow statement") && line.contains("pg_sleep"))
            .map(str::to_owned)
            .collect()
    };
    wait_for("the log", || slow_lines().len() >= 3);
    let lines = slow_lines();
    for part in ["SELECT pg_sleep(?)", "tier=\"interactive\"", "user=postgres", "running_ms="] {
        assert!(lines.first().unwrap().contains(part), "{part} is not in {lines:#?}");
    }
    assert!(lines[1].contains("shard=\"s1\"") && lines[1].contains("user_id = $2"), "{lines:#?}");
    let merged = ["strategy=\"merge\"", "shard=\"s0,s1\"", "tier=\"batch\""];
    assert!(merged.iter().all(|part| lines[2].contains(part)), "{lines:#?}");
    assert!(!weir.log().contains(secret), "{}", weir.log());

    // More of them than the log keeps of a kind.
    for _ in 0..6 {
        client.batch_execute("SELECT pg_sleep(0.25)").await.unwrap();
    }
    assert!(slow_lines().len() < 9, "{:#?}", slow_lines());
    let page = weir.page("/metrics").unwrap();
    let value = |name: &str| page.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    assert!(value("weir_log_lines_left_out_total ").parse::<u64>().unwrap() >= 1);
    let slow = value("weir_slow_statements_total{database=\"shop\"} ");
    assert!(slow.parse::<u64>().unwrap() >= 9, "{slow}");
    assert!(weir.log().contains("client logged in"));
    assert_eq!(weir.psql("user=postgres dbname=shop", "SELECT 1").as_deref(), Ok("1"));
    wait_for("its end in the log", || weir.log().contains("client left"));
}

#[tokio::test]
async fn a_slow_statement_is_logged_with_its_values_only_if_that_is_asked_for_and_never_a_password()
{
    let cluster = two_shards();
    let rules = sharded(&cluster, &[("s0", 0), ("s1", 1)], 2, "");
    let settings =
        format!("{TRUST}[logging]\nslow_statement = '1ms'\nparameters = true\nformat = 'json'\n");
    let weir = Weir::with_rules(&cluster, &rules, &settings);
    let client = connect(weir.port(), "postgres", DATABASE).await;
    client.batch_execute("SELECT pg_sleep(0.01), 'apples'").await.unwrap();
    let one = "SELECT pg_sleep(0.01), $1::text FROM (SELECT 1) one WHERE $2::bigint > 0";
    client.query(one, &[&"pears", &7_i64]).await.unwrap();
    let role = "/* weir: shard=s0 */ ALTER ROLE postgres PASSWORD 'hush-hush'";
    client.batch_execute(role).await.unwrap();
    client.batch_execute("SELECT pg_sleep(0.01) AS password, 'hush-hush'").await.unwrap();
    wait_for("the log", || weir.log().matches("slow statement").count() >= 4);
    let log = weir.log();
    let lines = log.lines().filter(|line| line.contains("slow statement"));
    let lines: Vec<serde_json::Value> =
        lines.map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["statement"], "SELECT pg_sleep(0.01), 'apples'");
    assert_eq!(lines[1]["statement"], one);
    let parameters = lines[1]["parameters"].as_str().unwrap();
    assert!(parameters.starts_with("$1 = '"), "{parameters}");
    assert!(lines[0]["took_ms"].as_f64().unwrap() >= 10.0, "{log}");
    assert!(!log.contains("hush"), "{log}");
}
