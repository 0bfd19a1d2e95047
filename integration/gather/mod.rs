//! Queries that the gather database finishes: what the client gets is what one PostgreSQL with all rows
//! gives, and nothing stays behind.
mod averages;
mod cancels;
mod columns;
mod cursors;
mod limits;
mod places;
mod printing;
mod views;

use crate::cluster::{Cluster, DATABASE};
use crate::raw::Raw;
use crate::schema::rules;
use crate::weir::{Weir, wait_for};
use weir::cli::throwaway::Postgres;

pub const SETTINGS: &str = "\
    [auth]\nmethod = 'trust'\n\
    [pool]\nsize = 8\n\
    [control]\ncatalog_interval = '300ms'\n";

const SCHEMA: &[&str] = &[
    "CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy')",
    "CREATE TYPE pair AS (a int, b text)",
    "CREATE TABLE users (id bigint PRIMARY KEY, name varchar(20), mood mood, born date)",
    "CREATE TABLE orders (id bigint, user_id bigint, total numeric(12,2), tags text[], moods mood[], p pair, at timestamptz, note text, w float8)",
    "CREATE TABLE items (order_id bigint, user_id bigint, product int, n int)",
    "CREATE TABLE products (id int PRIMARY KEY, title text)",
    "CREATE TABLE migrations (version int)",
];

fn rows() -> Vec<String> {
    let mut rows: Vec<String> = (1..=40)
        .map(|id| {
            let name = if id % 7 == 0 { "NULL".to_owned() } else { format!("'u{}'", id % 5) };
            let mood = ["'sad'", "'ok'", "'happy'", "NULL"][id % 4];
            format!("INSERT INTO users VALUES ({id}, {name}, {mood}, DATE '1970-01-01' + {id})")
        })
        .collect();
    rows.extend((1..=120).map(|id| {
        let user = 1 + id % 43;
        format!(
            "INSERT INTO orders VALUES ({id}, {user}, {}.{:02}, ARRAY['a{}', E'b\\t\\\\', NULL], \
             ARRAY['sad', 'ok']::mood[], ROW({id}, 'x')::pair, TIMESTAMPTZ '2024-01-01 00:00Z' + \
             interval '{id} hours', {}, {id} / 3.0::float8)",
            id % 17,
            id % 100,
            id % 3,
            if id % 11 == 0 { "NULL".to_owned() } else { format!("E'n\\n{}'", id % 9) },
        )
    }));
    rows.extend((1..=150).map(|n| {
        format!("INSERT INTO items VALUES ({}, {}, {}, {n})", n % 130, 1 + n % 41, n % 6)
    }));
    rows
}

pub struct World {
    pub cluster: Cluster,
    pub weir: Weir,
    oracle: Postgres,
}

pub fn world(limits: &str, settings: &str) -> World {
    let cluster = Cluster::start(4);
    let oracle = cluster.oracle();
    let dsn = cluster.gather();
    let rules = format!("{}[gather]\ndsn = \"{dsn}\"\n{limits}", rules(&cluster));
    let weir = Weir::with_rules(&cluster, &rules, settings);
    let world = World { cluster, weir, oracle };
    // The rules' reference table has the same rows everywhere.
    let products = "INSERT INTO products SELECT n, 'p' || n FROM generate_series(1, 5) n";
    let mut all: Vec<String> = SCHEMA.iter().map(|text| (*text).to_owned()).collect();
    all.extend(rows());
    all.push(products.to_owned());
    world.oracle.sql(DATABASE, &all.join(";")).unwrap();
    let mut weir = world.client();
    for text in SCHEMA {
        check_ok(&mut weir, text);
    }
    world.cluster.on_every_shard(products);
    for text in rows() {
        check_ok(&mut weir, &text);
    }
    world
}

pub fn check_ok(client: &mut Raw, text: &str) {
    client.take_transcript();
    client.query(text);
    let heard = client.take_transcript();
    assert!(!heard.contains("\nE ") && !heard.starts_with("E "), "{text}: {heard}");
}

impl World {
    pub fn client(&self) -> Raw {
        Raw::connect(self.weir.port(), &[("user", "postgres"), ("database", DATABASE)])
    }

    pub fn plain(&self) -> Raw {
        Raw::connect(self.oracle.port(), &[("user", "postgres"), ("database", DATABASE)])
    }

    /// The one value of [`TWO`].
    fn two(&self) -> String {
        self.plain().value(TWO)
    }

    /// Nothing is left behind in the gather database.
    pub fn is_clean(&self) -> bool {
        let open = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'gather' AND \
                    (state LIKE 'idle in%' OR state = 'active' AND pid <> pg_backend_pid())";
        let tables = "SELECT count(*) FROM pg_class WHERE relname LIKE 'weir%' AND relkind = 'r'";
        let gather = |sql: &str| self.cluster.shard(0).sql("gather", sql).unwrap();
        // weir's own questions come and go there, too.
        (0..100).any(|_| {
            let clean = gather(open) == "0" && gather(tables) == "0";
            if !clean {
                std::thread::sleep(std::time::Duration::from_millis(100));
            }
            clean
        })
    }

    pub fn metric(&self, line: &str) -> String {
        let page = self.weir.page("/metrics").unwrap();
        let found = page.lines().find_map(|found| found.strip_prefix(line));
        found.unwrap_or("nothing").trim().to_owned()
    }
}

const QUERIES: &[&str] = &[
    "SELECT u.name, o.total FROM users u JOIN orders o ON o.id = u.id ORDER BY o.id, u.id",
    "SELECT count(DISTINCT note), string_agg(note, ',' ORDER BY id) FROM orders",
    "SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY total) FROM orders",
    "SELECT id, rank() OVER (ORDER BY total DESC, id) FROM orders ORDER BY 2, 1 LIMIT 7",
    "SELECT id FROM users EXCEPT SELECT user_id + 30 FROM orders ORDER BY 1",
    "SELECT id FROM users UNION SELECT id FROM orders ORDER BY 1 OFFSET 100",
    "WITH RECURSIVE c AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM c WHERE n < 9) \
     SELECT n, (SELECT count(*) FROM orders WHERE id % 9 = n) FROM c ORDER BY n",
    "SELECT mood, name, count(*) FROM users GROUP BY ROLLUP (mood, name) ORDER BY 1, 2, 3",
    "SELECT p.title, sum(i.n) FROM items i JOIN products p ON p.id = i.product GROUP BY p.title ORDER BY 1",
    "SELECT o.id, o.tags, o.moods, o.p, o.at, o.note, o.w FROM orders o JOIN users u ON u.id = o.id ORDER BY o.id",
    "SELECT max(moods), min(o.p::text) FROM orders o WHERE EXISTS (SELECT FROM users u WHERE u.id = o.id)",
    "SELECT u.mood, array_agg(o.id ORDER BY o.id DESC) FROM users u LEFT JOIN orders o ON o.id = u.id + 3 \
     GROUP BY u.mood ORDER BY u.mood NULLS FIRST",
    "SELECT count(*) FROM orders a, orders b WHERE a.id = b.user_id",
    "SELECT u.name FROM users u WHERE u.id > ALL (SELECT user_id - 10 FROM items) ORDER BY u.id",
];

#[test]
fn answers_are_those_of_one_postgres() {
    let world = world("", SETTINGS);
    let (mut weir, mut plain) = (world.client(), world.plain());
    for query in QUERIES {
        let [ours, theirs] = [&mut weir, &mut plain].map(|client| {
            client.take_transcript();
            client.query(query);
            client.take_transcript()
        });
        assert_eq!(ours, theirs, "{query}");
        assert!(theirs.contains("\nD "), "{query} gives rows");
    }
    assert!(world.is_clean());
    // Some of them weir may merge itself.
    let gathered = world.metric("weir_several_shards_total{database=\"shop\",strategy=\"gather\"}");
    assert!(gathered.parse::<u32>().unwrap() >= 9, "{gathered} were gathered");
}

/// A query of two tables, so that each shard is asked for two things.
const TWO: &str = "SELECT count(*), sum(o.total) FROM orders o JOIN users u ON u.id = o.id";

/// Takes a while in the gather database.
const SLOW: &str = "SELECT count(*) FROM orders a, orders b, items c, items d \
                    WHERE a.id + b.id + c.n + d.n = -1";

fn same(world: &World, texts: &[&str]) {
    let (mut weir, mut plain) = (world.client(), world.plain());
    for text in texts {
        let [ours, theirs] = [&mut weir, &mut plain].map(|client| {
            client.take_transcript();
            client.query(text);
            client.take_transcript()
        });
        assert_eq!(ours, theirs, "{text}");
    }
}

#[test]
fn a_transaction_sees_its_own_rows_and_survives_errors_as_on_one_postgres() {
    let world = world("", SETTINGS);
    for begin in ["BEGIN", "BEGIN ISOLATION LEVEL REPEATABLE READ", "BEGIN READ ONLY"] {
        let write = match begin {
            "BEGIN READ ONLY" => "SELECT 1",
            _ => "INSERT INTO orders (id, user_id, total) VALUES (7, 7, 1000)",
        };
        same(
            &world,
            &[
                begin,
                TWO,
                write,
                TWO,
                "SET LOCAL TimeZone = 'Asia/Tokyo'",
                "SELECT o.at FROM orders o JOIN users u ON u.id = o.id ORDER BY o.id LIMIT 3",
                "SAVEPOINT a",
                "SELECT 1 / (o.id - u.id) FROM orders o JOIN users u ON u.id = o.id",
                "SELECT 1",
                "ROLLBACK TO a",
                TWO,
                "SELECT nothing FROM orders o JOIN users u ON u.id = o.id",
                "ROLLBACK TO SAVEPOINT a",
                "RELEASE SAVEPOINT a",
                TWO,
                "ROLLBACK",
                TWO,
                // Several statements of one message, the last of which fails.
                &format!(
                    "{TWO}; SELECT 1; {TWO}; SELECT 1 / (count(DISTINCT o.note) - 9) FROM orders o, users u"
                ),
                TWO,
            ],
        );
    }
    let mut weir = world.client();
    weir.query("BEGIN");
    check_ok(&mut weir, "INSERT INTO orders (id, user_id, at) VALUES (1, 1, now())");
    let query = "SELECT now() = max(o.at) AND count(DISTINCT o.id) > 9 FROM orders o, users u WHERE u.id = o.user_id";
    assert_eq!(weir.value(query), "t", "all servers go by one clock");
    weir.query("ROLLBACK");
    assert!(world.is_clean());
}

#[test]
fn settings_are_the_sessions_there_too() {
    let world = world("", SETTINGS);
    same(
        &world,
        &[
            "SET TimeZone = 'America/New_York'",
            "SET DateStyle = 'German'",
            "SET extra_float_digits = 0",
            "SET default_transaction_read_only = on",
            "SELECT o.at, o.w, u.born FROM orders o JOIN users u ON u.id = o.id ORDER BY o.id LIMIT 5",
            "SET search_path = pg_catalog, public",
            "SET bytea_output = 'escape'",
            "SELECT string_agg(DISTINCT o.note, ','), string_agg(DISTINCT o.note::bytea, '') FROM orders o",
        ],
    );
}

#[test]
fn too_many_rows_or_bytes_are_refused_and_nothing_stays() {
    for (limit, setting) in [("max_rows = 100\n", "max_rows"), ("max_bytes = '2kB'\n", "max_bytes")]
    {
        let world = world(&format!("{limit}notice = true\n"), SETTINGS);
        let mut weir = world.client();
        for begin in ["SELECT 1", "BEGIN"] {
            weir.query(begin);
            weir.take_transcript();
            weir.query(TWO);
            let heard = weir.take_transcript();
            assert!(heard.contains("C=53400") && heard.contains(setting), "{heard}");
        }
        weir.query("ROLLBACK");
        weir.take_transcript();
        weir.query("SELECT count(DISTINCT name) FROM users WHERE id < 0 OR id > 1000");
        let heard = weir.take_transcript();
        assert!(heard.contains("gathered ") && heard.contains("from 4 shards in "), "{heard}");
        weir.query("SET weir.gather_notice = off");
        weir.take_transcript();
        weir.query("SELECT count(DISTINCT title) FROM products");
        assert!(!weir.take_transcript().contains("gathered"));
        assert!(world.is_clean());
        assert_eq!(world.metric("weir_gather_limited_total{database=\"shop\"}"), "2");
    }
}

#[test]
fn a_query_in_vain_waits_for_a_place_and_is_told_so() {
    let mut settings = SETTINGS.to_owned();
    settings.push_str("[tier.batch]\ncheckout = '300ms'\n");
    let world = world("max_concurrent = 1\n", &settings);
    let (mut first, mut second) = (world.client(), world.client());
    first.ask(SLOW);
    wait_for("the first statement", || {
        let active = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'gather' AND query LIKE '%= -1%'";
        world.cluster.shard(0).sql("postgres", active).unwrap() == "1"
    });
    second.query(TWO);
    let heard = second.take_transcript();
    assert!(heard.contains("C=53300") && heard.contains("max_concurrent"), "{heard}");
    // Other statements are not concerned.
    assert_eq!(second.value("SELECT name FROM users WHERE id = 3"), "u3");
    cancel(&world, &first);
    first.await_ready();
    assert_eq!(second.value("SELECT count(DISTINCT user_id) FROM orders, products"), "43");
}

/// weir finds out that it cannot order these texts when shards have described them.
const UNFIT: &str = "SELECT id, name FROM users ORDER BY name COLLATE \"und-x-icu\", id";

#[test]
fn queries_whose_merge_does_not_fit_do_not_wait_for_each_others_connections() {
    let settings = "[auth]\nmethod = 'trust'\n[control]\ncatalog_interval = '300ms'\n\
                    [pool]\nsize = 2\n[tier.batch]\nsize = 2\ncheckout = '20s'\n\
                    [timeouts]\ncheckout = '20s'\n";
    let world = world("max_concurrent = 1\n", settings);
    let expected = world.plain().query(UNFIT).take_transcript();
    let rows: Vec<&str> = expected.lines().filter(|line| line.starts_with("D ")).collect();
    let two = world.two();
    std::thread::scope(|scope| {
        for number in 0..8 {
            let (world, rows, two) = (&world, &rows, &two);
            scope.spawn(move || {
                let mut client = world.client();
                // Those that need a gather database in any case take their places first.
                for _ in 0..if number < 4 { 6 } else { 0 } {
                    assert_eq!(&client.value(TWO), two);
                }
                for _ in 0..if number < 4 { 0 } else { 6 } {
                    client.take_transcript();
                    match number % 4 {
                        0 => drop(client.query(UNFIT)),
                        1 => drop(client.query("BEGIN").query(UNFIT).query("ROLLBACK")),
                        2 => drop(
                            client.parse("", UNFIT, &[]).bind("", "", &[]).execute("", 0).sync(),
                        ),
                        _ => drop(client.query(&format!("{UNFIT}; SELECT 1 WHERE false"))),
                    }
                    let heard = client.take_transcript();
                    let given: Vec<&str> = heard.lines().filter(|l| l.starts_with("D ")).collect();
                    assert_eq!(&given, rows, "{heard}");
                }
            });
        }
    });
    assert!(world.is_clean());
}

#[test]
fn a_block_that_has_used_its_connections_is_told_what_it_waits_for() {
    let settings = format!("{SETTINGS}[tier.batch]\ncheckout = '300ms'\n");
    let world = world("max_concurrent = 1\n", &settings);
    let (mut first, mut second) = (world.client(), world.client());
    second.query("BEGIN");
    check_ok(&mut second, "INSERT INTO users (id, name) VALUES (50, 'mine')");
    first.ask(SLOW);
    wait_for("the first statement", || {
        let active = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'gather' AND query LIKE '%= -1%'";
        world.cluster.shard(0).sql("postgres", active).unwrap() == "1"
    });
    second.take_transcript();
    second.query(UNFIT);
    let heard = second.take_transcript();
    assert!(heard.contains("C=53300") && heard.contains("outside of the transaction"), "{heard}");
    cancel(&world, &first);
    first.await_ready();
    second.query("ROLLBACK");
    assert!(world.is_clean());
}

#[test]
fn a_cancelled_query_leaves_nothing_behind() {
    let world = world("", SETTINGS);
    let mut weir = world.client();
    for text in [
        SLOW,
        "SELECT 1 FROM orders a, orders b, items c, items d WHERE a.id + b.id + c.n + d.n = -1",
    ] {
        weir.ask(text);
        wait_for("the statement in the gather database", || {
            // It is executed, not only parsed: a cancel request between two messages is lost.
            let active = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'gather' AND \
                          state = 'active' AND query LIKE '%= -1%' AND \
                          clock_timestamp() - query_start > interval '300 ms'";
            world.cluster.shard(0).sql("postgres", active).unwrap() != "0"
        });
        cancel(&world, &weir);
        weir.await_ready();
        let heard = weir.take_transcript();
        assert!(heard.contains("C=57014"), "{heard}");
        assert!(world.is_clean());
    }
    assert_eq!(weir.value("SELECT count(DISTINCT user_id) FROM orders, products"), "43");
}

fn cancel(world: &World, client: &Raw) {
    let mut line = Raw::dial(world.weir.port());
    let mut body = (1234_u32 << 16 | 5678).to_be_bytes().to_vec();
    body.extend(client.pid.to_be_bytes());
    body.extend(&client.secret);
    line.send_packet(&body);
    line.hear_the_end();
}

#[test]
fn an_error_of_one_shard_ends_the_query_everywhere() {
    let world = world("", SETTINGS);
    let mut weir = world.client();
    let locked = "BEGIN; LOCK TABLE users IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(3)";
    std::thread::scope(|scope| {
        scope.spawn(|| drop(world.cluster.shard(2).sql(DATABASE, locked)));
        wait_for("the lock", || {
            let held = "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND \
                        relation = 'users'::regclass AND granted";
            world.cluster.shard(2).sql(DATABASE, held).unwrap() == "1"
        });
        weir.query("SET lock_timeout = '200ms'");
        for begin in ["SELECT 1", "BEGIN"] {
            weir.query(begin);
            weir.take_transcript();
            weir.query(TWO);
            let heard = weir.take_transcript();
            assert!(heard.contains("C=55P03"), "{heard}");
        }
        weir.query("ROLLBACK");
    });
    weir.query("RESET lock_timeout");
    assert_eq!(weir.value("SELECT count(DISTINCT user_id) FROM orders, products"), "43");
    assert!(world.is_clean());
}

#[test]
fn parameters_formats_and_portals_are_as_on_one_postgres() {
    let world = world("", SETTINGS);
    let (mut weir, mut plain) = (world.client(), world.plain());
    for client in [&mut weir, &mut plain] {
        // Described, in both formats, with parameters in both.
        let text = "SELECT u.id, u.name, o.tags, o.total, o.at, $2::text AS said FROM orders o \
                    JOIN users u ON u.id = o.id WHERE o.id > $1 AND u.mood IS DISTINCT FROM $3 ORDER BY o.id";
        client.parse("joined", text, &[]).describe(b'S', "joined").sync();
        client.bind("", "joined", &[Some("5"), Some("x"), Some("sad")]);
        client.describe(b'P', "").execute("", 0).sync();
        let five = 5_i64.to_be_bytes();
        let values: [Option<&[u8]>; 3] = [Some(&five), None, Some(b"ok")];
        client.bind_as("", "joined", &[1, 0, 0], &values, &[1, 0, 1, 1, 1, 0]);
        client.describe(b'P', "").execute("", 0).sync();
        // An error in a pipeline, and what comes behind it.
        client.parse("", "SELECT 1 / (o.id - u.id) FROM orders o JOIN users u ON u.id = o.id", &[]);
        client.bind("", "", &[]).execute("", 0);
        client.bind("", "joined", &[Some("5"), Some("x"), Some("ok")]).execute("", 0).sync();
        client.bind("", "joined", &[Some("30"), None, None]).execute("", 0).sync();
        // Suspended, with another one in between, in a block and in a pipeline.
        for block in [true, false] {
            if block {
                client.query("BEGIN");
            }
            client.bind("a", "joined", &[Some("1"), None, None]).execute("a", 3);
            client.bind("b", "joined", &[Some("20"), Some("b"), None]).execute("b", 2);
            client.execute("a", 2).execute("b", 0).execute("a", 4).execute("a", 0).execute("a", 0);
            client.close(b'P', "a").sync();
            if block {
                client.bind("c", "joined", &[Some("1"), None, None]).execute("c", 1).sync();
                client
                    .query("SAVEPOINT s")
                    .query("ROLLBACK TO s")
                    .query("SELECT 1 FROM users WHERE id = 3");
                client.query("COMMIT");
            }
        }
        client
            .bind("d", "joined", &[Some("1"), None, None])
            .execute("d", 1)
            .close(b'P', "d")
            .sync();
        // A pipeline that has written sees what it has written.
        client
            .parse("", "INSERT INTO users VALUES (77, 'late', 'ok')", &[])
            .bind("", "", &[])
            .execute("", 0);
        client.parse("", TWO, &[]).bind("", "", &[]).execute("", 0);
        client.parse("", "SELECT count(DISTINCT name), max(id) FROM users", &[]);
        client.bind("", "", &[]).execute("", 0).sync();
    }
    let (ours, theirs) = (weir.take_transcript(), plain.take_transcript());
    for (ours, theirs) in ours.lines().zip(theirs.lines()) {
        assert_eq!(ours, theirs);
    }
    assert_eq!(ours.lines().count(), theirs.lines().count());
    assert!(world.is_clean());
}

#[test]
fn types_may_have_other_ids_on_every_server() {
    let world = world("", SETTINGS);
    let create = "CREATE TYPE tone AS ENUM ('low', 'high'); CREATE TYPE duo AS (t tone, n int)";
    let table = "CREATE TABLE notes (user_id bigint, tones tone[], b duo, bs duo[], d float8)";
    // Some servers have made other things in between.
    let other = "CREATE TYPE other AS ENUM (); DROP TYPE other;";
    for (number, shard) in world.cluster.shards().iter().enumerate() {
        shard.sql(DATABASE, &format!("{}{create};{table}", other.repeat(number))).unwrap();
    }
    world.cluster.shard(0).sql("gather", &format!("{}{create};{table}", other.repeat(9))).unwrap();
    world.oracle.sql(DATABASE, &format!("{create};{table}")).unwrap();
    wait_for("the new schema", || {
        let mut weir = world.client();
        weir.value("SELECT count(DISTINCT d) FROM notes, users") == "0"
    });
    // Servers' catalogs are read one after the other: some may have been before their types were made.
    wait_for("the new types of all servers", || {
        let mut weir = world.client();
        weir.take_transcript();
        weir.query("SELECT n.*, u.name FROM notes n JOIN users u ON u.id = n.user_id + 1");
        !weir.take_transcript().contains("C=0A000")
    });
    let (mut weir, mut plain) = (world.client(), world.plain());
    let insert = |client: &mut Raw| {
        for id in 1..10 {
            check_ok(
                client,
                &format!(
                    "INSERT INTO notes VALUES ({id}, '{{low,NULL,high}}', '(high,{id})', \
                 ARRAY[ROW('low', {id})::duo, NULL], 1 / {id}.0::float8)"
                ),
            );
        }
    };
    insert(&mut weir);
    insert(&mut plain);
    same(
        &world,
        &[
            "SELECT n.*, u.name FROM notes n JOIN users u ON u.id = n.user_id + 1 ORDER BY n.user_id",
            "SELECT string_agg(DISTINCT b::text, ';'), max(tones), max(d) FROM notes, products",
        ],
    );
    // A type as text is its name, and as binary its number on one server.
    same(&world, &["SELECT pg_typeof(b), pg_typeof(user_id) FROM notes ORDER BY user_id"]);
    for text in [
        "SELECT pg_typeof(b) FROM notes",
        "SELECT pg_typeof(b) FROM notes WHERE user_id IN (1, 2, 3, 4, 5)",
        "SELECT pg_typeof(b), user_id FROM notes ORDER BY user_id",
        "SELECT ARRAY[pg_typeof(b)] FROM notes",
    ] {
        weir.take_transcript();
        weir.parse("", text, &[]).bind_as("", "", &[], &[], &[1]).execute("", 0).sync();
        let heard = weir.take_transcript();
        assert!(
            heard.contains("C=0A000") && heard.contains("differ between shards"),
            "{text}: {heard}"
        );
    }
    weir.query("SET extra_float_digits = 0");
    weir.take_transcript();
    weir.query("SELECT max(tones), sum(d) FROM notes, products");
    let heard = weir.take_transcript();
    assert!(heard.contains("C=0A000") && heard.contains("extra_float_digits"), "{heard}");
}

#[test]
fn without_the_gather_database_everything_else_goes_on() {
    let cluster = Cluster::start(3);
    let dsn = cluster.gather_on(2);
    let rules = rules(&cluster);
    let second = rules.rfind("[[shard]]").unwrap();
    let end = second + rules[second..].find("[[distribution]]").unwrap();
    // The third server has nothing but the gather database.
    let rules = format!("{}{}[gather]\ndsn = \"{dsn}\"\n", &rules[..second], &rules[end..]);
    let mut cluster = cluster;
    let weir = Weir::with_rules(&cluster, &rules, SETTINGS);
    let mut client = Raw::connect(weir.port(), &[("user", "postgres"), ("database", DATABASE)]);
    check_ok(&mut client, "CREATE TABLE orders (id bigint, user_id bigint)");
    check_ok(&mut client, "INSERT INTO orders VALUES (1, 2), (2, 2), (1, 2)");
    let query = "SELECT count(DISTINCT id) FROM orders";
    assert_eq!(client.value(query), "2");
    cluster.kill(2);
    client.query("BEGIN");
    client.query("SELECT id FROM orders WHERE user_id = 2");
    client.take_transcript();
    client.query(query);
    let heard = client.take_transcript();
    assert!(heard.contains("C="), "{heard}");
    client.query("ROLLBACK");
    wait_for("a refusal that says why", || {
        client.take_transcript();
        client.query(query);
        let heard = client.take_transcript();
        heard.contains("H=the gather database cannot be reached")
    });
    assert_eq!(client.value("SELECT count(*) FROM orders WHERE user_id = 2"), "3");
    cluster.restart(2);
    wait_for("the gather database", || client.value(query) == "2");
}

#[test]
fn a_query_whose_columns_change_after_it_was_described_is_an_error_as_on_one_postgres() {
    let world = world("", SETTINGS);
    let mut other = world.client();
    let texts = [
        "SELECT w FROM orders WHERE user_id = 1",
        "SELECT w FROM orders",
        "SELECT max(w) FROM orders",
        "SELECT max(w), count(DISTINCT note) FROM orders",
    ];
    for (text, kind) in texts.iter().flat_map(|text| [(text, "real"), (text, "float8")]) {
        let mut client = world.client();
        client.parse("s", text, &[]).describe(b'S', "s").sync();
        check_ok(&mut other, &format!("ALTER TABLE orders ALTER w TYPE {kind}"));
        client.take_transcript();
        client.bind("", "s", &[]).execute("", 0).sync();
        let heard = client.take_transcript();
        assert!(heard.contains("C=0A000") && heard.contains("cached plan"), "{text}: {heard}");
    }
}
