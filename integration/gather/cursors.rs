//! SQL cursors over several shards, merged by weir or finished in the gather database, beside one plain
//! PostgreSQL.
//!
//! `WEIR_CURSORS_SEED=7 WEIR_CURSORS_WALKS=500 cargo test --test integration cursors_at_random -- --nocapture`
use super::{SETTINGS, SLOW, World, cancel, check_ok, world};
use crate::oracle::setting;
use crate::raw::Raw;
use crate::weir::wait_for;

const SEED: usize = 1;
const WALKS: usize = 60;
const STEPS: usize = 30;

/// What has to be the same: of errors, the code.
fn essence(transcript: &str) -> String {
    let lines = transcript.lines().map(|line| match line.strip_prefix("E ") {
        Some(error) => {
            let code = error.split(' ').find_map(|field| field.strip_prefix("C=")).unwrap_or("?");
            format!("E {code}")
        }
        None => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn heard(client: &mut Raw, text: &str) -> String {
    client.take_transcript();
    client.query(text);
    essence(&client.take_transcript())
}

fn same(world: &World, texts: &[&str]) {
    let (mut weir, mut plain) = (world.client(), world.plain());
    for text in texts {
        let (ours, theirs) = (heard(&mut weir, text), heard(&mut plain, text));
        assert_eq!(ours, theirs, "{text}\n{}", weir.take_transcript());
    }
    assert!(world.is_clean());
}

#[test]
fn cursors_over_several_shards_go_forward_as_on_one_postgres() {
    let world = world("", SETTINGS);
    goes_forward(&world);
    sees_what_was_there(&world);
    ends_with_an_error(&world);
    in_extended_messages(&world);
    refusals(&world);
    cancelled(&world);
}

const MERGED: &str = "SELECT id, note FROM orders ORDER BY id";
/// Joined on another column than the key.
const GATHERED: &str =
    "SELECT o.id, u.name FROM orders o JOIN users u ON u.id = o.id ORDER BY o.id, u.name";

/// Merged and gathered, in the simple protocol.
fn goes_forward(world: &World) {
    for query in [MERGED, GATHERED] {
        let declare = format!("DECLARE c NO SCROLL CURSOR FOR {query}");
        same(
            world,
            &[
                &declare,
                "FETCH c",
                "BEGIN",
                &declare,
                "FETCH 0 FROM c",
                "MOVE 0 c",
                "FETCH c",
                "MOVE 0 c",
                "FETCH NEXT FROM c",
                "FETCH FORWARD 7 IN c",
                "MOVE 3 c",
                "FETCH RELATIVE 4 c",
                "FETCH ABSOLUTE 20 c",
                "MOVE ABSOLUTE 22 c",
                "FETCH BACKWARD -2 c",
                "FETCH 10000 c",
                "FETCH c",
                "MOVE c",
                "FETCH 0 c",
                "FETCH ABSOLUTE 100000 c",
                "CLOSE c",
                "FETCH c",
                "ROLLBACK",
                "BEGIN",
                &declare,
                "FETCH FIRST c",
                "FETCH ALL c",
                "FETCH ALL FROM c",
                "COMMIT",
                "FETCH c",
                // Only forward.
                "BEGIN",
                &declare,
                "SAVEPOINT s",
                "FETCH PRIOR c",
                "ROLLBACK TO s",
                "FETCH c",
                "ROLLBACK TO s",
                "CLOSE c",
                "ROLLBACK",
                "BEGIN",
                &declare,
                &declare,
                "ROLLBACK",
                "BEGIN",
                "DECLARE c CURSOR FOR SELECT 1",
                &declare,
                "ROLLBACK",
                "BEGIN",
                &declare,
                "DECLARE c CURSOR FOR SELECT 1",
                "ROLLBACK",
                // Savepoints.
                "BEGIN",
                "DECLARE before NO SCROLL CURSOR FOR SELECT id FROM orders ORDER BY id DESC",
                "FETCH before",
                "SAVEPOINT s",
                &declare,
                "FETCH 2 c",
                "FETCH 2 before",
                "SELECT 1 / 0",
                "FETCH c",
                "CLOSE c",
                "ROLLBACK TO s",
                "FETCH 2 before",
                "FETCH c",
                "ROLLBACK TO s",
                &declare,
                "RELEASE s",
                "SAVEPOINT t",
                "ROLLBACK TO t",
                "FETCH 3 c",
                "FETCH before",
                "CLOSE ALL",
                "FETCH before",
                "ROLLBACK",
                // One message is a block.
                &format!("{declare}; FETCH 3 c; MOVE 2 c; FETCH c"),
                "FETCH c",
                &format!("BEGIN; {declare}; FETCH 3 c"),
                "FETCH 3 c; CLOSE c; COMMIT",
                "FETCH sideways FROM c",
                // An error is told where the client wrote it.
                "BEGIN",
                "DECLARE c CURSOR FOR SELECT nothing FROM orders",
                "ROLLBACK",
            ],
        );
    }
}

/// When it was declared.
fn sees_what_was_there(world: &World) {
    for query in [MERGED, GATHERED] {
        let declare = format!("DECLARE c NO SCROLL CURSOR FOR {query}");
        same(
            world,
            &[
                "BEGIN",
                &declare,
                "INSERT INTO orders (id, user_id, note) VALUES (0, 5, 'late')",
                "UPDATE orders SET note = 'changed' WHERE id < 9",
                "DELETE FROM orders WHERE user_id = 3",
                "FETCH 5 c",
                "DELETE FROM orders",
                "SELECT count(*) FROM orders",
                "FETCH ALL c",
                "ROLLBACK",
            ],
        );
    }
    // What others commit is not seen either.
    let (mut weir, mut other) = (world.client(), world.client());
    check_ok(&mut weir, "BEGIN");
    check_ok(&mut weir, "DECLARE c CURSOR FOR SELECT id FROM orders ORDER BY id");
    check_ok(&mut other, "INSERT INTO orders (id, user_id) VALUES (-1, 1), (-2, 2), (-3, 3)");
    assert_eq!(weir.value("FETCH c"), "1");
    check_ok(&mut weir, "COMMIT");
    check_ok(&mut other, "DELETE FROM orders WHERE id < 0");
}

/// The cursor that moves then, and no other.
fn ends_with_an_error(world: &World) {
    same(
        world,
        &[
            "BEGIN",
            "DECLARE bad NO SCROLL CURSOR FOR SELECT 1 / (id - 60) FROM orders",
            "DECLARE good NO SCROLL CURSOR FOR SELECT id FROM orders ORDER BY id",
            "DECLARE gathered NO SCROLL CURSOR FOR \
             SELECT count(DISTINCT u.name), o.id FROM orders o, users u WHERE u.id = o.id \
             GROUP BY o.id ORDER BY o.id",
            "FETCH 2 good",
            "FETCH 2 gathered",
            "SAVEPOINT s",
            "MOVE ALL bad",
            "FETCH good",
            "ROLLBACK TO s",
            "FETCH 3 good",
            "FETCH 3 gathered",
            "FETCH bad",
            "ROLLBACK TO s",
            // A query that the gather database finishes fails: the cursor there goes on.
            "SELECT 1 / (count(DISTINCT u.name) - 5) FROM orders o, users u WHERE u.id = o.id",
            "ROLLBACK TO s",
            "FETCH 3 gathered",
            "CLOSE bad",
            "FETCH ALL gathered",
            "FETCH ALL good",
            "COMMIT",
        ],
    );
}

fn in_extended_messages(world: &World) {
    let (mut weir, mut plain) = (world.client(), world.plain());
    for client in [&mut weir, &mut plain] {
        for query in [MERGED, GATHERED] {
            let (select, order) = query.split_once(" ORDER BY ").unwrap();
            let declare = format!(
                "DECLARE \"My c\" NO SCROLL CURSOR FOR SELECT * FROM ({select}) q \
                 WHERE id > $1 AND id <> ALL ($2::int[]) ORDER BY id -- {order}"
            );
            client.query("BEGIN");
            client.parse("", &declare, &[]).describe(b'S', "");
            client.bind("", "", &[Some("10"), Some("{12,13}")]).describe(b'P', "");
            client.execute("", 0).sync();
            client.parse("f", "FETCH 3 FROM \"My c\"", &[]).describe(b'S', "f").sync();
            for _ in 0..3 {
                client.bind("", "f", &[]).describe(b'P', "").execute("", 0).sync();
            }
            client.parse("", "MOVE 2 FROM \"My c\"", &[]).describe(b'S', "").bind("", "", &[]);
            client.describe(b'P', "").execute("", 0).sync();
            // A cursor is a portal.
            client.describe(b'P', "My c").execute("My c", 2).execute("My c", 1).sync();
            client.query("FETCH \"My c\"").close(b'P', "My c").sync();
            client.query("FETCH \"My c\"");
            client.query("ROLLBACK").close(b'S', "f").sync();
            // A portal is a cursor.
            client.query("BEGIN").parse("", query, &[]).bind("p", "", &[]).execute("p", 2).sync();
            client.query("FETCH 2 FROM p").query("MOVE 3 p").execute("p", 1).sync();
            client.query("CLOSE p").execute("p", 1).sync().query("ROLLBACK");
            // BINARY, all in one pipeline.
            client.query("BEGIN");
            client.parse("", &format!("DECLARE b BINARY CURSOR FOR {query}"), &[]);
            client.bind("", "", &[]).execute("", 0);
            client.parse("", "FETCH 2 b", &[]).bind_as("", "", &[], &[], &[1]).describe(b'P', "");
            client.execute("", 0).parse("", "CLOSE b", &[]).bind("", "", &[]).execute("", 0).sync();
            client.query("COMMIT");
            // Outside a block.
            client.parse("", &format!("DECLARE o CURSOR FOR {query}"), &[]);
            client.bind("", "", &[]).execute("", 0).sync();
        }
    }
    let (ours, theirs) = (essence(&weir.take_transcript()), essence(&plain.take_transcript()));
    assert_eq!(ours, theirs);
    assert!(world.is_clean());
}

fn refusals(world: &World) {
    let mut weir = world.client();
    for (texts, words) in [
        (&["DECLARE c SCROLL CURSOR FOR SELECT id FROM orders"][..], "without SCROLL"),
        (&["DECLARE c CURSOR WITH HOLD FOR SELECT id FROM orders"], "WITHOUT HOLD"),
        (&["DECLARE c CURSOR FOR SELECT id FROM orders FOR UPDATE"], "H="),
        (
            &[
                "DECLARE c CURSOR FOR SELECT id FROM orders",
                "FETCH c",
                "UPDATE orders SET note = 'x' WHERE CURRENT OF c",
            ],
            "WHERE CURRENT OF",
        ),
        (
            &["CREATE TABLE notes (user_id bigint)", &format!("DECLARE c CURSOR FOR {GATHERED}")],
            "changed the schema",
        ),
    ] {
        check_ok(&mut weir, "BEGIN");
        let (last, first) = texts.split_last().unwrap();
        first.iter().for_each(|text| check_ok(&mut weir, text));
        let heard = weir.query(last).take_transcript();
        assert!(heard.contains("C=0A000") && heard.contains(words), "{last}: {heard}");
        check_ok(&mut weir, "ROLLBACK");
    }
    assert!(world.is_clean());
}

/// A cancel request ends a FETCH on every server, and the cursor with it.
fn cancelled(world: &World) {
    let mut weir = world.client();
    for query in
        [SLOW, "SELECT o.id FROM orders o, generate_series(1, 100000000) g WHERE o.id + g = -1"]
    {
        check_ok(&mut weir, "BEGIN");
        check_ok(&mut weir, &format!("DECLARE c CURSOR FOR {query}"));
        check_ok(&mut weir, "SAVEPOINT s");
        weir.ask("FETCH 3 FROM c");
        wait_for("the cursor's query to run", || {
            let active = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND \
                          query LIKE '%= -1%' AND pid <> pg_backend_pid() AND \
                          clock_timestamp() - query_start > interval '300 ms'";
            world.cluster.shard(0).sql("postgres", active).unwrap() != "0"
        });
        cancel(world, &weir);
        let told = weir.await_ready().take_transcript();
        assert!(told.contains("C=57014"), "{told}");
        check_ok(&mut weir, "ROLLBACK TO s");
        assert!(heard(&mut weir, "FETCH c").contains("E 55000"));
        check_ok(&mut weir, "ROLLBACK TO s");
        assert_eq!(weir.value("SELECT count(*) FROM users"), "40");
        check_ok(&mut weir, "ROLLBACK");
    }
    assert!(world.is_clean());
}

/// A random walk of cursors: several at a time, savepoints, writes and errors in between.
struct Walker {
    state: u64,
    /// The cursors that are open.
    open: Vec<String>,
    failed: bool,
}

impl Walker {
    fn below(&mut self, most: usize) -> usize {
        // Marsaglia's xorshift64.
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state >> 11) as usize % most
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }

    fn query(&mut self) -> String {
        let user = 1 + self.below(40);
        match self.below(9) {
            0 => MERGED.to_owned(),
            1 => GATHERED.to_owned(),
            2 => format!("SELECT id FROM orders WHERE user_id = {user} ORDER BY id"),
            3 => {
                "SELECT user_id, count(*), sum(total) FROM orders GROUP BY 1 ORDER BY 1".to_owned()
            }
            4 => "SELECT id, rank() OVER (ORDER BY total, id) FROM orders ORDER BY 2".to_owned(),
            5 => format!("SELECT id, note FROM orders ORDER BY id DESC LIMIT {}", self.below(30)),
            6 => "SELECT count(*), count(DISTINCT note) FROM orders".to_owned(),
            7 => format!("SELECT id, 10 / (id - {}) FROM orders ORDER BY id", 1 + self.below(160)),
            _ => "SELECT id, title FROM products ORDER BY id".to_owned(),
        }
    }

    fn step(&mut self, number: usize) -> String {
        let names = ["a", "b", "c"];
        let mostly = self.below(12) > 0;
        let free: Vec<&str> =
            names.into_iter().filter(|it| !self.open.iter().any(|open| open == it)).collect();
        let taken: Vec<&str> = names.into_iter().filter(|it| !free.contains(it)).collect();
        let new = self.one(if mostly && !free.is_empty() { &free } else { &names });
        let name = self.one(if mostly && !taken.is_empty() { &taken } else { &names });
        let rows = self.below(25);
        let user = 1 + self.below(40);
        let savepoint = self.one(&["s", "t"]);
        if self.failed && mostly {
            return "ROLLBACK TO s".to_owned();
        }
        match self.below(22) {
            _ if taken.is_empty() && mostly => {
                format!("DECLARE {new} NO SCROLL CURSOR FOR {}", self.query())
            }
            0..=4 => format!("DECLARE {new} NO SCROLL CURSOR FOR {}", self.query()),
            5..=9 => format!("FETCH {rows} FROM {name}"),
            10 => format!("FETCH {name}"),
            11 => format!("MOVE FORWARD {rows} IN {name}"),
            12 => {
                let how = ["ALL", "RELATIVE 3", "ABSOLUTE 12", "FIRST", "PRIOR", "BACKWARD -4"];
                format!("{} {} {name}", self.one(&["FETCH", "MOVE"]), self.one(&how))
            }
            13 => format!("CLOSE {}", if rows == 0 { "ALL" } else { name }),
            14 => format!("SAVEPOINT {savepoint}"),
            15 => format!("ROLLBACK TO {savepoint}"),
            16 | 17 if savepoint == "t" => "SAVEPOINT t; RELEASE t".to_owned(),
            16 | 17 => "SAVEPOINT s".to_owned(),
            18 => {
                format!(
                    "INSERT INTO orders (id, user_id, total) VALUES ({}, {user}, 3)",
                    200 + number
                )
            }
            19 => format!("UPDATE orders SET note = 'w{number}', total = {rows} WHERE id % 5 = 2"),
            20 => format!("DELETE FROM orders WHERE user_id = {user}"),
            _ => "SELECT count(*) FROM orders".to_owned(),
        }
    }
}

#[test]
fn cursors_at_random_go_as_on_one_postgres() {
    let seed = setting("WEIR_CURSORS_SEED", SEED);
    let walks = setting("WEIR_CURSORS_WALKS", WALKS);
    let world = world("", SETTINGS);
    let (mut weir, mut plain) = (world.client(), world.plain());
    let mut fetched = 0;
    for walk in 0..walks {
        let number = (seed * 1_000_003 + walk) as u64 + 1;
        let state = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut walker = Walker { state, open: Vec::new(), failed: false };
        let mut said = Vec::new();
        for number in 0..=STEPS {
            let text = match number {
                0 => "BEGIN".to_owned(),
                1 => "SAVEPOINT s".to_owned(),
                STEPS => "ROLLBACK".to_owned(),
                _ => walker.step(number),
            };
            said.push(text.clone());
            let (ours, theirs) = (heard(&mut weir, &text), heard(&mut plain, &text));
            assert_eq!(ours, theirs, "seed {seed}, walk {walk}:\n{}", said.join(";\n"));
            fetched += usize::from(theirs.contains("FETCH ") && !theirs.contains("FETCH 0"));
            walker.failed = theirs.ends_with("Z E");
            let open = heard(&mut plain, "SELECT name FROM pg_cursors");
            walker.open =
                open.lines().filter_map(|it| Some(it.strip_prefix("D ")?.into())).collect();
        }
    }
    assert!(fetched > 2 * walks, "{fetched} FETCHes gave rows");
    assert!(world.is_clean());
}
