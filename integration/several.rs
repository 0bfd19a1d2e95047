//! Queries whose rows are on several shards, in both protocols, beside one plain PostgreSQL that has
//! all rows: statements, errors, time and memory as weir carries them out.
mod judged;
mod kept;

use crate::cluster::{Cluster, DATABASE};
use crate::raw::Raw;
use crate::weir::{Weir, wait_for};
use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use weir::cli::throwaway::Postgres;

const SHARDS: usize = 3;
const TABLES: &str = "\
    CREATE TABLE orders (id int NOT NULL, user_id bigint NOT NULL, note text, amount numeric(10,2), \
    at timestamptz);
    CREATE TABLE numbers (n int)";

/// Three shards, weir in front of them, and a plain PostgreSQL with the same rows.
struct Stage {
    weir: Weir,
    oracle: Postgres,
    cluster: Cluster,
}

impl Stage {
    fn new(settings: &str) -> Self {
        let cluster = Cluster::start(SHARDS);
        cluster.on_every_shard(TABLES);
        cluster.on_every_shard("INSERT INTO numbers SELECT generate_series(1, 3)");
        let oracle = cluster.oracle();
        oracle.sql(DATABASE, TABLES).unwrap();
        oracle.sql(DATABASE, "INSERT INTO numbers SELECT generate_series(1, 3)").unwrap();
        let mut rules = "database = 'shop'\n".to_owned();
        for (index, shard) in cluster.shards().iter().enumerate() {
            let port = shard.port();
            rules += &format!(
                "[[shard]]\nname = 's{index}'\nprimary = 'host=127.0.0.1 port={port} dbname=shop'\n"
            );
        }
        rules += "[[distribution]]\nname = 'by_user'\nfunction = 'modulo'\nkey_type = 'bigint'\n\
                  buckets = 3\n\
                  [[table]]\nname = 'orders'\ndistribution = 'by_user'\nkey = 'user_id'\n\
                  [[table]]\nname = 'numbers'\nreference = true\n";
        let settings = format!("[auth]\nmethod = 'trust'\n{settings}");
        let weir = Weir::with_rules(&cluster, &rules, &settings);
        let stage = Self { weir, oracle, cluster };
        stage.fill(1, 60);
        stage
    }

    /// Orders of users 0 to 6, on all sides.
    fn fill(&self, from: usize, to: usize) {
        let rows: String = (from..=to)
            .map(|id| {
                format!(
                    "INSERT INTO orders VALUES ({id}, {}, 'n{}', {}.{:02}, \
                     '2026-01-01 00:00+00'::timestamptz + interval '{id} hours');\n",
                    id % 7,
                    id % 5,
                    id * 3 % 50,
                    id % 100
                )
            })
            .collect();
        self.oracle.sql(DATABASE, &rows).unwrap();
        self.weir.psql("user=postgres dbname=shop", &rows).unwrap();
    }

    fn client(&self) -> Raw {
        Raw::connect(self.weir.port(), &[("user", "postgres"), ("database", "shop")])
    }

    fn plain(&self) -> Raw {
        Raw::connect(self.oracle.port(), &[("user", "postgres"), ("database", "shop")])
    }

    /// Both say the same; rows may come in another order.
    #[track_caller]
    fn check(&self, script: fn(&mut Raw)) {
        let [expected, heard] = [self.plain(), self.client()].map(|mut raw| {
            script(&mut raw);
            sorted(&raw.transcript())
        });
        assert_eq!(heard, expected, "\nweir:\n{heard}\n\nPostgreSQL:\n{expected}");
    }
}

/// Neighbouring rows in the order of their texts. How many come before an error is nobody's promise.
fn sorted(transcript: &str) -> String {
    let is_row = |line: &str| line == "D" || line.starts_with("D ");
    let mut lines: Vec<&str> = transcript.lines().collect();
    for rows in lines.chunk_by_mut(|a, b| is_row(a) && is_row(b)) {
        rows.sort_unstable();
    }
    let mut kept: Vec<&str> = Vec::new();
    for line in lines {
        while line.starts_with("E ") && kept.last().is_some_and(|last| is_row(last)) {
            kept.pop();
        }
        kept.push(line);
    }
    kept.join("\n")
}

#[test]
fn rows_of_all_shards_are_one_answer() {
    let stage = Stage::new("");
    stage.check(|c| {
        c.query("SELECT * FROM orders");
        c.query("SELECT id, note FROM orders WHERE amount > 20");
        c.query("SELECT id FROM orders WHERE false");
        c.query("SELECT FROM orders WHERE id < 9");
        c.query("SELECT id AS \"Key\", amount FROM orders WHERE note = 'n1'; SELECT 1");
        c.query("SELECT id FROM orders WHERE user_id IN (1, 2)");
    });
    stage.check(|c| {
        c.query("BEGIN").query("INSERT INTO orders VALUES (100, 1, 'mine', 1, NULL)");
        c.query("SELECT id, note FROM orders").query("ROLLBACK");
        c.query("SELECT id, note FROM orders");
    });
}

#[test]
fn an_error_of_planning_comes_before_the_columns_and_one_of_running_after() {
    let stage = Stage::new("");
    for query in ["SELECT id FROM orders WHERE id = 1/0", "SELECT 1/(id - id) FROM orders"] {
        let plain = stage.plain().query(query).take_transcript();
        assert_eq!(stage.client().query(query).take_transcript(), plain, "{query}");
    }
}

#[test]
fn a_shards_error_ends_the_statement_everywhere() {
    let stage = Stage::new("");
    stage.check(|c| {
        c.query("SELECT id FROM orders WHERE 1 / (id - 30) < 2").query("SELECT 1");
        c.query("BEGIN").query("SAVEPOINT a");
        c.query("SELECT id FROM orders WHERE 1 / (id - 31) < 2").query("SELECT id FROM orders");
        c.query("ROLLBACK TO a").query("SELECT id FROM orders WHERE id > 55");
        c.query("SELECT id FROM orders WHERE 1 / (id - 31) < 2").query("ROLLBACK");
        c.query("SELECT 1; SELECT id FROM orders WHERE 1 / (id - 30) < 2; SELECT 2");
        c.query("SELECT nothing FROM orders").query("SELECT id FROM orders WHERE id = 'x'");
        c.query("SELECT 1; SELECT /* é */ nothing FROM orders");
        c.query("SELECT id FROM orders WHERE id = 60");
    });
}

#[test]
fn portals_of_all_shards_pause_and_go_on() {
    let stage = Stage::new("");
    stage.check(|c| {
        let all = "SELECT id, note, amount FROM orders WHERE id < $1";
        c.parse("", all, &[]).describe(b'S', "").bind("", "", &[Some("20")]).describe(b'P', "");
        c.execute("", 0).sync();
        c.parse("s", all, &[23]).bind_as("", "s", &[1], &[Some(&[0, 0, 0, 9])], &[1, 0, 1]);
        c.describe(b'P', "").execute("", 0).execute("", 0).sync();
        c.bind("", "s", &[None]).execute("", 0).sync();
        c.bind("", "s", &[Some("0")]).execute("", 3).execute("", 3).sync();
        c.close(b'S', "s").sync().bind("", "s", &[Some("9")]).sync();
    });
    // Rows come in any order, so that all of a portal's together are compared.
    let [expected, heard] = [stage.plain(), stage.client()].map(|mut c| {
        c.query("BEGIN").parse("a", "SELECT id, note FROM orders", &[]).bind("p", "a", &[]);
        c.bind("q", "a", &[]).execute("p", 7).sync();
        c.execute("q", 50).query("INSERT INTO orders VALUES (101, 4, 'later', 1, NULL)");
        c.execute("p", 2).execute("q", 3).flush(7);
        c.query("SELECT id FROM orders WHERE id = 101");
        c.execute("p", 1000).execute("q", 0).execute("p", 0).close(b'P', "q").sync();
        c.query("COMMIT").query("DELETE FROM orders WHERE user_id = 4 AND id = 101");
        let mut lines: Vec<String> = c.transcript().lines().map(str::to_owned).collect();
        let rows: Vec<String> = lines.extract_if(.., |line| line.starts_with("D ")).collect();
        let mut rows: Vec<String> = rows.into_iter().collect();
        rows.sort();
        (lines, rows)
    });
    assert_eq!(heard, expected);
}

#[test]
fn pipelines_go_on_around_a_query_of_all_shards() {
    let stage = Stage::new("");
    stage.check(|c| {
        c.parse("one", "INSERT INTO orders VALUES ($1, $2, 'p', 1, NULL)", &[]);
        c.parse("all", "SELECT id, note FROM orders WHERE id > $1", &[23]);
        c.bind("", "one", &[Some("201"), Some("2")]).execute("", 0);
        c.bind("", "all", &[Some("58")]).execute("", 0);
        c.bind("", "one", &[Some("202"), Some("2")]).execute("", 0).sync();
        c.bind("", "all", &[Some("58")]).execute("", 0).sync();
        // An error takes what the pipeline did with it.
        c.bind("", "one", &[Some("203"), Some("2")]).execute("", 0);
        c.parse("", "SELECT id FROM orders WHERE 1 / (id - 30) < 2", &[]).bind("", "", &[]);
        c.execute("", 0).bind("", "all", &[Some("1")]).execute("", 0).sync();
        c.bind("", "all", &[Some("58")]).execute("", 0).sync();
        c.query("BEGIN").bind("", "one", &[Some("204"), Some("2")]).execute("", 0).sync();
        c.bind("", "all", &[Some("58")]).execute("", 0).sync();
        c.parse("", "SELECT id FROM orders WHERE 1 / (id - 30) < 2", &[]).bind("", "", &[]);
        c.execute("", 0).sync();
        c.query("ROLLBACK").query("SELECT id FROM orders WHERE id > 55");
    });
    stage.check(|c| {
        c.bind("", "missing", &[]).sync();
        c.parse("s", "SELECT id FROM orders WHERE id = $1", &[]).bind("", "s", &[]).sync();
        c.parse("t", "SELECT nothing FROM orders", &[]).sync();
        c.query("PREPARE e (int) AS SELECT id FROM orders WHERE id > $1").query("EXECUTE e (57)");
        c.query("EXECUTE e").query("EXECUTE e (NULL)").query("DEALLOCATE e");
    });
}

#[test]
fn a_block_that_has_written_on_the_home_shard_is_answered_in_order() {
    let stage = Stage::new("");
    stage.check(|c| {
        c.query("BEGIN").query("INSERT INTO orders VALUES (210, 0, 'h', 1, NULL)");
        c.parse("", "SELECT id FROM orders WHERE note = $1", &[]).bind("", "", &[Some("h")]);
        c.describe(b'P', "").execute("", 0).sync();
        c.parse("s", "SELECT id, note FROM orders WHERE id > $1", &[]).describe(b'S', "s");
        c.parse("t", "SELECT 1", &[]).bind("", "s", &[Some("208")]).describe(b'P', "");
        c.execute("", 0).bind("", "t", &[]).execute("", 0).sync();
        c.parse("", "SELECT id FROM orders WHERE note = $1", &[]).describe(b'S', "");
        c.bind("", "", &[Some("h"), Some("i")]).execute("", 0).sync();
        c.query("ROLLBACK");
    });
}

/// A lock on a shard's orders: a query there waits until this is dropped.
struct Locked(Child);

impl Locked {
    fn on(stage: &Stage, shard: usize) -> Self {
        let server = stage.cluster.shard(shard);
        let mut psql = Command::new("psql")
            .args(["-X", "-q", "-d", &server.dsn(DATABASE)])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let input = psql.stdin.as_mut().unwrap();
        input.write_all(b"BEGIN; LOCK TABLE orders;\n").unwrap();
        input.flush().unwrap();
        let locked = Self(psql);
        wait_for("the lock", || count(stage, shard, LOCKS) == 1);
        locked
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

const LOCKS: &str = "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted \
                     AND relation = 'orders'::regclass";
const WAITING: &str = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";

fn count(stage: &Stage, shard: usize, query: &str) -> usize {
    stage.cluster.shard(shard).sql(DATABASE, query).unwrap().parse().unwrap()
}

#[test]
fn a_cancel_request_ends_a_query_on_every_shard() {
    let stage = Stage::new("");
    let locks = [Locked::on(&stage, 1), Locked::on(&stage, 2)];
    let mut client = stage.client();
    for begin in [None, Some("BEGIN")] {
        begin.map(|begin| client.query(begin));
        client.take_transcript();
        client.ask("SELECT id FROM orders");
        for shard in [1, 2] {
            wait_for("the query on the shard", || count(&stage, shard, WAITING) == 1);
        }
        let mut cancel = Raw::dial(stage.weir.port());
        let key = [&client.pid.to_be_bytes()[..], &client.secret].concat();
        cancel.send_packet(&[&(1234u32 << 16 | 5678).to_be_bytes()[..], &key].concat());
        client.await_ready();
        let heard = client.take_transcript();
        assert!(heard.contains("C=57014 M=canceling statement due to user request"), "{heard}");
        for shard in [1, 2] {
            assert_eq!(count(&stage, shard, WAITING), 0);
        }
    }
    assert!(client.query("ROLLBACK").query("SELECT 1").transcript().ends_with("Z I"));
    drop(locks);
    assert_eq!(
        sorted(&client.query("SELECT id FROM orders").transcript()).matches("D ").count(),
        61
    );
}

#[test]
fn a_query_of_all_shards_has_the_time_of_its_tier() {
    let stage = Stage::new("[tier.batch]\ntotal = '1s'\n");
    let lock = Locked::on(&stage, 1);
    let mut client = stage.client();
    let began = Instant::now();
    let heard = client.query("SELECT id FROM orders").take_transcript();
    assert!(heard.contains("C=57014 M=canceling statement due to total timeout"), "{heard}");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(count(&stage, 1, WAITING), 0);
    drop(lock);
    assert!(client.query("SELECT id FROM orders").transcript().contains("C SELECT 60"));
}

#[test]
fn a_shard_that_is_lost_on_the_way_ends_the_transaction() {
    let mut stage = Stage::new("");
    let lock = Locked::on(&stage, 1);
    let mut client = stage.client();
    client.query("BEGIN").query("INSERT INTO orders VALUES (300, 0, 'lost', 1, NULL)");
    client.take_transcript();
    client.ask("SELECT id FROM orders");
    wait_for("the query on the shard", || count(&stage, 1, WAITING) == 1);
    stage.cluster.crash(1);
    let heard = client.await_ready().take_transcript();
    assert!(heard.contains("E V=ERROR C=57P02") || heard.contains("E V=ERROR C=08006"), "{heard}");
    assert!(heard.ends_with("Z E"), "{heard}");
    client.query("ROLLBACK").query("SELECT note FROM orders WHERE user_id = 0 AND id = 300");
    let heard = client.take_transcript();
    assert!(heard.ends_with("C SELECT 0\\x00\nZ I"), "{heard}");
    drop(lock);
}

#[test]
fn what_a_slow_client_does_not_read_stays_on_the_shards() {
    const KIB: u64 = 3 * 60_000 * 500 / 1024;
    let stage = Stage::new("");
    for (shard, server) in stage.cluster.shards().iter().enumerate() {
        let rows = format!(
            "INSERT INTO orders SELECT g, 3 * g + {shard}, repeat('x', 500), 1, NULL \
             FROM generate_series(1, 60000) g"
        );
        server.sql(DATABASE, &rows).unwrap();
    }
    let mut client = stage.client();
    client.query("SELECT id FROM orders WHERE id = 1");
    // Asked once, the peak begins anew at what is in use.
    stage.weir.peak_memory();
    let before = stage.weir.peak_memory();
    client.parse("", "SELECT * FROM orders WHERE note > 'x'", &[]).bind("", "", &[]);
    client.execute("", 0).put(b'S', b"").send();
    client.hear(1000);
    // Everything that can be read ahead has been, once the shards wait for weir.
    let writing = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'ClientWrite'";
    for shard in 0..SHARDS {
        wait_for("the shard to wait", || count(&stage, shard, writing) == 1);
    }
    let grown = stage.weir.peak_memory().saturating_sub(before);
    assert!(grown < KIB / 8, "{grown} KiB more");
    client.await_ready();
    assert!(client.transcript().contains("C SELECT 180000"));
}

#[test]
fn order_limits_groups_and_distinct_rows_are_those_of_one_server() {
    const QUERIES: &[&str] = &[
        "SELECT id, amount FROM orders ORDER BY amount DESC, id LIMIT 7 OFFSET 3",
        "SELECT id FROM orders ORDER BY at DESC NULLS LAST",
        "SELECT id AS i FROM orders ORDER BY amount * -1 NULLS FIRST, i",
        "SELECT amount FROM orders ORDER BY amount FETCH FIRST 3 ROWS WITH TIES",
        "SELECT id FROM orders ORDER BY id OFFSET 55",
        "SELECT id FROM orders ORDER BY id LIMIT 0",
        "SELECT DISTINCT note COLLATE \"C\" AS n FROM orders ORDER BY n",
        "SELECT DISTINCT user_id % 2 AS parity FROM orders",
        "SELECT user_id, count(*), sum(amount) FROM orders GROUP BY user_id ORDER BY user_id",
        "SELECT count(*), sum(amount), min(at), max(id), bool_or(id > 59), sum(id) FROM orders",
        "SELECT count(*), sum(amount), max(at) FROM orders WHERE false",
        "SELECT id % 4 AS four, count(*), sum(amount), max(at), sum((id * 0.5)::float8) FROM orders \
         GROUP BY four ORDER BY four DESC",
        "SELECT note, count(*) FROM orders GROUP BY note",
        "SELECT id FROM orders UNION ALL SELECT user_id::int FROM orders ORDER BY 1 LIMIT 9",
    ];
    let stage = Stage::new("");
    let mut differ = String::new();
    for query in QUERIES {
        let [expected, heard] = [stage.plain(), stage.client()].map(|mut c| {
            c.query(query);
            for (formats, rows) in [(&[][..], 0), (&[1][..], 0), (&[0][..], 4)] {
                c.parse("", query, &[]).describe(b'S', "").bind_as("", "", &[], &[], formats);
                c.describe(b'P', "").execute("", rows).execute("", rows).execute("", 0).sync();
            }
            // What is known of a query by now, or of what a client has prepared, is used.
            c.query(query).parse("s", query, &[]).sync();
            for (formats, rows) in [(&[][..], 0), (&[1][..], 0), (&[0][..], 0), (&[][..], 4)] {
                c.bind_as("", "s", &[], &[], formats);
                c.execute("", rows);
                if rows > 0 {
                    c.execute("", 0);
                }
                c.sync();
            }
            let mut lines: Vec<String> = c.transcript().lines().map(str::to_owned).collect();
            // Which rows come before a pause is open, too.
            if !query.contains("ORDER BY") {
                lines.sort();
            }
            lines
        });
        if heard != expected {
            let lines = heard.iter().zip(&expected).filter(|(a, b)| a != b).take(4);
            differ += &format!("\n{query}\n{:#?}\n", lines.collect::<Vec<_>>());
        }
    }
    assert!(differ.is_empty(), "{differ}");
}
