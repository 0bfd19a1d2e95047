//! Clients with settings of their own on one server connection for each shard: none ever sees another's,
//! however a transaction ends. Each has a twin on one plain PostgreSQL that is told the same.
use super::{TRUST, sharded};
use crate::cluster::{Cluster, DATABASE};
use crate::raw::Raw;
use crate::weir::Weir;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

const USERS: i64 = 4;
const TURNS: usize = 120;

/// What fails in PostgreSQL too, and what weir refuses, with something that fails instead.
const FAILING: [(&str, &str); 3] = [
    ("SELECT 1 / (user_id - 3) FROM orders", "SELECT 1 / (user_id - 3) FROM orders"),
    ("UPDATE orders SET id = 1 / (user_id - 3)", "UPDATE orders SET id = 1 / (user_id - 3)"),
    ("SELECT id FROM orders FOR UPDATE", "SELECT 1 / 0"),
];

const OTHERS: [&str; 16] = [
    "BEGIN",
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "ROLLBACK",
    "SAVEPOINT s",
    "ROLLBACK TO s",
    "SELECT id FROM orders WHERE user_id = 0",
    "SELECT id FROM orders WHERE user_id = 1",
    "SELECT id FROM orders WHERE user_id = 3",
    "SELECT count(*) FROM orders",
    "UPDATE orders SET id = id + 1 WHERE user_id = 2",
    "UPDATE orders SET id = id + 1",
    "SET timezone = 'America/Lima'",
    "SET ROLE pg_monitor",
    "RESET timezone",
];

/// Not in a pipeline: there weir ignores SET LOCAL before BEGIN, and learns of set_config at the end only.
const ALONE: [&str; 3] = [
    "SET LOCAL timezone = 'Europe/Rome'",
    "SELECT set_config('timezone', 'Asia/Dubai', true)",
    "SELECT set_config('timezone', 'Africa/Cairo', false)",
];

/// A client of weir, and its twin.
struct Pair {
    weir: Raw,
    twin: Raw,
}

/// How a few statements are sent.
#[derive(Clone, Copy, Debug)]
enum How {
    Simple,
    /// Extended messages, a Sync behind each.
    Extended,
    /// Extended messages, one Sync behind all.
    Pipeline,
}

impl Pair {
    fn new(weir: u16, twin: u16, settings: &[&str]) -> Self {
        let connect = |port| Raw::connect(port, &[("user", "postgres"), ("database", DATABASE)]);
        let mut pair = Self { weir: connect(weir), twin: connect(twin) };
        for setting in settings {
            pair.say(How::Simple, &[(*setting, *setting)]);
        }
        pair
    }

    /// A text for weir and one for the twin.
    fn say(&mut self, how: How, texts: &[(&str, &str)]) {
        say(&mut self.weir, how, texts.iter().map(|(weir, _)| *weir));
        say(&mut self.twin, how, texts.iter().map(|(_, twin)| *twin));
    }

    /// Who the client is and which time it is there, on each shard.
    #[track_caller]
    fn check(&mut self, story: &[String]) {
        for user in 0..USERS {
            let probe = format!(
                "SELECT current_user || ' ' || current_setting('timezone') FROM orders WHERE user_id = {user} LIMIT 1"
            );
            let (ours, theirs) = (self.weir.value(&probe), self.twin.value(&probe));
            assert_eq!(ours, theirs, "user {user} after\n{}", story.join("\n"));
        }
    }
}

fn say<'t>(client: &mut Raw, how: How, texts: impl Iterator<Item = &'t str>) {
    match how {
        How::Simple => texts.for_each(|text| {
            client.query(text);
        }),
        How::Extended => texts.for_each(|text| {
            client.parse("", text, &[]).bind("", "", &[]).execute("", 0).sync();
        }),
        How::Pipeline => {
            for text in texts {
                client.parse("", text, &[]).bind("", "", &[]).execute("", 0);
            }
            client.sync();
        }
    }
}

#[test]
fn nobody_is_ever_taken_for_the_client_before_however_that_has_ended() {
    let cluster = Cluster::start(2);
    let twin = cluster.oracle();
    let table = "CREATE TABLE orders (id bigint, user_id bigint); \
                 GRANT ALL ON orders TO pg_monitor, pg_read_all_data";
    cluster.on_every_shard(table);
    twin.sql(DATABASE, table).unwrap();
    let rules = sharded(&cluster, &[("s0", 0), ("s1", 1)], 4, "");
    let settings = format!("{TRUST}[pool]\nsize = 1\n[timeouts]\ncheckout = '3s'\n");
    let weir = Weir::with_rules(&cluster, &rules, &settings);
    let pair = |settings: &[&str]| Pair::new(weir.port(), twin.port(), settings);
    let mut first = pair(&[]);
    for user in 0..USERS {
        let row = format!("INSERT INTO orders VALUES ({user}, {user})");
        first.say(How::Simple, &[(&row, &row)]);
    }
    let mut clients = [first, pair(&["SET ROLE pg_read_all_data", "SET timezone = 'Asia/Tokyo'"])];
    let seed = std::env::var("WEIR_STRANGERS_SEED").map_or(1, |seed| seed.parse().unwrap());
    println!("WEIR_STRANGERS_SEED={seed}");
    let mut chance = StdRng::seed_from_u64(seed);
    for _ in 0..TURNS {
        let mut story = Vec::new();
        // There is one connection for each shard: who begins a block ends it before another comes.
        let who = chance.random_range(0..clients.len());
        for _ in 0..chance.random_range(1..4) {
            let how = *[How::Simple, How::Extended, How::Pipeline, How::Pipeline]
                .choose(&mut chance)
                .unwrap();
            let texts: Vec<(&str, &str)> = (0..chance.random_range(1..5))
                .map(|_| match (how, chance.random_range(0..20)) {
                    (_, 0..4) => *FAILING.choose(&mut chance).unwrap(),
                    (How::Simple | How::Extended, 4..6) => {
                        ALONE.choose(&mut chance).map(|text| (*text, *text)).unwrap()
                    }
                    _ => OTHERS.choose(&mut chance).map(|text| (*text, *text)).unwrap(),
                })
                .collect();
            story.push(format!("client {who}, {how:?}: {texts:?}"));
            clients[who].say(how, &texts);
            if chance.random_ratio(1, 3) {
                clients[who].check(&story);
            }
        }
        let end = *["COMMIT", "ROLLBACK"].choose(&mut chance).unwrap();
        let how = *[How::Simple, How::Extended].choose(&mut chance).unwrap();
        story.push(format!("client {who}, {how:?}: {end}"));
        clients[who].say(how, &[(end, end)]);
        for client in &mut clients {
            client.check(&story);
        }
        pair(&[]).check(&story);
        if chance.random_ratio(1, 10) {
            clients[who] = pair(&["SET timezone = 'Asia/Tokyo'"]);
        }
    }
}

#[test]
fn a_pipeline_that_comes_to_a_second_shard_with_new_settings_is_answered() {
    let cluster = Cluster::start(2);
    cluster.on_every_shard("CREATE TABLE orders (id bigint, user_id bigint)");
    let rules = sharded(&cluster, &[("s0", 0), ("s1", 1)], 4, "");
    let weir = Weir::with_rules(&cluster, &rules, TRUST);
    let user = [("user", "postgres"), ("database", DATABASE)];
    let mut client = Raw::connect(weir.port(), &user);
    let first = "SELECT count(*) FROM orders WHERE user_id = 1";
    say(&mut client, How::Pipeline, ["SET timezone = 'America/Lima'", "BEGIN", first].into_iter());
    client.query("SET timezone = 'Asia/Tokyo'");
    client.take_transcript();
    let second = "UPDATE orders SET id = 1 WHERE user_id = 0";
    say(&mut client, How::Pipeline, [second, first, "COMMIT"].into_iter());
    let heard = client.take_transcript();
    let tags: Vec<&str> = heard.lines().filter(|line| line.starts_with("C ")).collect();
    assert_eq!(tags, ["C UPDATE 0\\x00", "C SELECT 1\\x00", "C COMMIT\\x00"], "{heard}");
}
