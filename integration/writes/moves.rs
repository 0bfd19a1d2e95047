//! UPDATE of sharding keys and fallback keys, beside one PostgreSQL.
use super::{Stage, sorted};
use crate::cluster::DATABASE;
use crate::raw::Raw;
use crate::weir::wait_for;

/// What is found under a fallback key is where that key says.
fn look(c: &mut Raw, numbers: &[&str]) {
    for number in numbers {
        c.query(&format!(
            "SELECT page FROM visits WHERE user_id IS NULL AND number = '{number}' ORDER BY page"
        ));
    }
}

#[test]
fn rows_go_where_their_new_keys_say() {
    let stage = Stage::new();
    stage.check(|c| {
        c.query("UPDATE orders SET user_id = user_id + 100");
        c.query("UPDATE orders SET user_id = user_id - 100 WHERE id > 1 RETURNING *");
        c.query("UPDATE orders SET user_id = 200 WHERE user_id = 101 RETURNING user_id, note || '!' AS n");
        c.query("UPDATE orders SET user_id = 9, note = 'x', amount = amount * 2 WHERE user_id IN (102, 103)");
        c.query("UPDATE orders AS o SET (user_id, note) = (o.id + 50, upper(o.note)) WHERE o.id = 4");
        c.query("UPDATE orders SET (id, user_id) = ROW(id + 100, 7) WHERE user_id = 5 RETURNING id, orders.user_id");
        c.query("UPDATE orders o SET user_id = w.n + 300 FROM numbers w WHERE w.n = o.id AND o.user_id = 104");
        c.query("WITH w AS (SELECT max(n) AS n FROM numbers) UPDATE orders SET user_id = (SELECT n FROM w) + id WHERE id = 6");
        c.query("UPDATE public.orders SET user_id = 8 WHERE false RETURNING *");
        c.query("UPDATE users SET id = id + 10, name = 'it''s', n = DEFAULT WHERE id > 3 RETURNING id, name, n");
        c.query("SELECT id, name FROM users WHERE id = 14");
        c.query("SELECT note FROM orders WHERE user_id = 9 ORDER BY id");
    });
    stage.check(|c| {
        c.query("UPDATE orders SET user_id = 3 WHERE user_id = 3 AND id = 1 RETURNING note");
        c.query("UPDATE orders SET user_id = user_id, note = 'same' WHERE id > 2");
        c.query("UPDATE orders o SET user_id = o.user_id WHERE user_id = 2");
        c.query("INSERT INTO users (id, name) VALUES (1, 'a'), (2, 'b') ON CONFLICT (id) DO UPDATE SET id = excluded.id, name = excluded.name RETURNING id, name");
    });
}

#[test]
fn a_row_moves_to_and_from_its_fallback_key() {
    let stage = Stage::new();
    stage.check(|c| {
        c.query("UPDATE visits SET user_id = NULL WHERE user_id = 2");
        c.query("UPDATE visits SET user_id = 5 WHERE number = 'g3' AND user_id IS NULL");
        c.query("UPDATE visits SET user_id = 4, number = 'both' WHERE user_id = 1 RETURNING *");
        c.query("UPDATE visits SET number = number || 'z' WHERE user_id IS NULL RETURNING number");
        c.query("UPDATE visits SET number = 'kept' WHERE user_id = 3");
        c.query("UPDATE visits SET user_id = CASE WHEN user_id IS NULL THEN 6 END");
        c.parse("m", "UPDATE visits SET user_id = $1 WHERE number = $2", &[]);
        c.bind("", "m", &[None, Some("g1z")]).describe(b'P', "").execute("", 0).sync();
        c.bind("", "m", &[Some("8"), Some("v6")]).execute("", 0).sync();
        look(c, &["v2", "v2z", "g3", "g3z", "g1z", "v6", "v5", "both", "kept"]);
    });
}

#[test]
fn a_row_that_cannot_be_where_it_would_move_is_postgresqls_error() {
    let stage = Stage::new();
    stage.check(|c| {
        c.query("UPDATE orders SET user_id = 3, id = 2 WHERE user_id = 4 AND id = 0");
        c.query("UPDATE orders SET user_id = 1, amount = 5000 WHERE user_id = 6");
        c.query("UPDATE orders SET user_id = NULL WHERE user_id = 6");
        c.query("UPDATE orders SET user_id = 10 / (id - id)");
        c.query("UPDATE orders SET user_id = note").query("UPDATE orders SET user_id = 'x'");
        c.query("UPDATE orders SET user_id = id, nothing = 1");
        c.query("UPDATE orders SET user_id = 99999999999999999999 WHERE id = 2");
        c.query("UPDATE orders SET user_id = id RETURNING nothing");
        c.query("INSERT INTO orders (user_id, id) VALUES (NULL, 1)");
        c.query("INSERT INTO orders (user_id, id) VALUES (1, 900), (NULL, 1)");
        c.query("INSERT INTO orders (id) VALUES (901)");
    });
}

#[test]
fn rows_move_in_blocks_and_by_parameters() {
    let stage = Stage::new();
    stage.check(|c| {
        c.query("BEGIN").query("UPDATE orders SET user_id = 70 WHERE id = 1").query("SAVEPOINT a");
        c.query("UPDATE orders SET user_id = 71").query("ROLLBACK TO a");
        c.query("UPDATE orders SET user_id = user_id + 1 WHERE id = 2 RETURNING user_id");
        c.query("UPDATE orders SET note = 'there' WHERE user_id = 70").query("COMMIT");
        c.query("BEGIN").query("UPDATE users SET id = -id").query("ROLLBACK");
        c.query("BEGIN ISOLATION LEVEL REPEATABLE READ")
            .query("UPDATE orders SET user_id = 5 - id WHERE id = 3");
        c.query("COMMIT")
            .query("SELECT 1; UPDATE orders SET user_id = 80 WHERE user_id = 70; SELECT 2");
    });
    stage.check(|c| {
        let update = "UPDATE orders SET user_id = $1, note = $2, amount = $3 WHERE id = $4 AND user_id = $5 RETURNING user_id, amount, note";
        c.parse("u", update, &[]).describe(b'S', "u");
        let text = [Some("90"), Some("n"), Some("7.25"), Some("4"), Some("4")];
        c.bind("", "u", &text).describe(b'P', "").execute("", 0).sync();
        c.bind("", "u", &[Some("6"), None, None, Some("5"), Some("6")]).execute("", 0).sync();
        let (key, id, old) = (&[0, 0, 0, 0, 0, 0, 0, 91][..], &[0, 0, 0, 4][..], &[0, 0, 0, 0, 0, 0, 0, 90][..]);
        c.bind_as("", "u", &[1, 0, 0, 1, 1], &[Some(key), Some(b"b"), Some(b"1"), Some(id), Some(old)], &[1, 1, 0]);
        c.execute("", 0).sync();
        c.query("PREPARE m (bigint) AS UPDATE orders SET user_id = user_id + $1 WHERE id = 5");
        c.query("EXECUTE m (3)").query("DEALLOCATE m");
        c.query("PREPARE d (numeric) AS UPDATE orders SET amount = $1 WHERE id > 3");
        c.query("EXECUTE d (4.25)").query("EXECUTE d (-0.5)").query("DEALLOCATE d");
    });
    let [expected, heard] = [stage.plain(), stage.client()].map(|mut c| {
        c.query("BEGIN").parse(
            "u",
            "UPDATE orders SET user_id = 300 + id WHERE user_id = 6 RETURNING id",
            &[],
        );
        c.bind("p", "u", &[]).execute("p", 2).sync();
        c.query("SELECT count(*) FROM orders WHERE user_id = 301");
        c.execute("p", 2).execute("p", 0).execute("p", 0).sync().query("COMMIT");
        let mut lines: Vec<String> = c.transcript().lines().map(str::to_owned).collect();
        let mut rows: Vec<String> = lines.extract_if(.., |line| line.starts_with("D ")).collect();
        rows.sort();
        (lines, rows)
    });
    assert_eq!(heard, expected);
    stage.compare_rows();
}

const ODD: &str = "\
    CREATE TYPE mood AS ENUM ('sad', 'ok'); \
    CREATE DOMAIN small AS int CHECK (value < 100); \
    CREATE TABLE odd (\"Key\" bigint NOT NULL, id bigint GENERATED ALWAYS AS IDENTITY, how mood, \
        few small, short varchar(3), padded char(4), bits bit(3), twice bigint GENERATED ALWAYS AS (\"Key\" * 2) STORED, \
        f float8, list int[], moods mood[], raw bytea, doc jsonb, span interval, day date, at timestamptz, \
        EXCLUDE USING btree (\"Key\" WITH =, id WITH =))";
const ODD_ROWS: &str = "SELECT \"Key\", how, few, short, padded, bits, twice, f, list, moods, raw, doc, span, day, at FROM odd ORDER BY 1";
const ODD_RULES: &str = "[[table]]\nname = 'odd'\ndistribution = 'by_user'\nkey = 'Key'\n";

#[test]
fn values_of_all_types_move_unchanged() {
    // Types have other ids on the other shards.
    let stage = Stage::with(ODD, ODD_RULES);
    stage.check(|c| {
        for key in 0..4 {
            c.query(&format!(
                "INSERT INTO odd (\"Key\", how, few, short, padded, bits, f, list, moods, raw, doc, span, day, at) VALUES \
                 ({key}, 'ok', {key}, 'a b', 'x', B'101', 0.1 + {key} / 3.0::float8, '{{1,NULL}}', '{{sad,ok}}', \
                 '\\x00ff', '{{\"a\": [1, null]}}', '1 mon 2 days 03:04:05.678', '2026-02-28', '2026-01-01 12:00+00')"
            ));
        }
    });
    stage.check(|c| {
        c.query("SET TimeZone = 'Asia/Kolkata'").query("SET IntervalStyle = 'iso_8601'");
        c.query("UPDATE odd SET \"Key\" = \"Key\" + 1, how = 'sad' WHERE few > 1");
        c.query("UPDATE odd SET \"Key\" = 10 + few, few = few + 90, short = 'äöü', padded = 'yz', bits = B'000' WHERE few = 1 RETURNING few, short, padded, bits, twice");
        c.query("UPDATE odd SET \"Key\" = 2, short = 'four' WHERE few = 0");
        c.query("UPDATE odd SET \"Key\" = 2, bits = B'11' WHERE few = 0");
        c.query("UPDATE odd SET \"Key\" = 2, few = few + 100 WHERE few = 0");
        c.query("UPDATE odd SET \"Key\" = 2, few = 7.6 WHERE \"Key\" = 0 AND few = 0 AND f > 100");
        c.query("UPDATE odd SET \"Key\" = \"Key\" + 7.6, f = 1 / 3.0, day = at WHERE few = 0 RETURNING \"Key\", f, day");
        c.query("SET extra_float_digits = 1").query(ODD_ROWS);
    });
    let mut client = stage.client();
    client.query("SET extra_float_digits = 0");
    let heard = client.query("UPDATE odd SET \"Key\" = \"Key\" + 1").take_transcript();
    assert!(heard.contains("C=0A000") && heard.contains("extra_float_digits"), "{heard}");
}

#[test]
fn rows_whose_move_others_would_notice_are_refused() {
    let tables = "\
        CREATE TABLE lines (user_id bigint, order_id int, id int, PRIMARY KEY (user_id, order_id, id), \
            FOREIGN KEY (user_id, order_id) REFERENCES orders); \
        CREATE TABLE kept (user_id bigint PRIMARY KEY, note text); \
        CREATE TABLE marks (user_id bigint, kept_id bigint REFERENCES kept ON DELETE CASCADE); \
        CREATE TABLE watched (user_id bigint PRIMARY KEY, note text); \
        CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS \
            'BEGIN NEW.note = ''stamped''; RETURN NEW; END'; \
        CREATE TRIGGER stamp BEFORE UPDATE ON watched FOR EACH ROW EXECUTE FUNCTION stamp()";
    let rules: String = ["lines", "kept", "marks", "watched"]
        .map(|name| {
            format!("[[table]]\nname = '{name}'\ndistribution = 'by_user'\nkey = 'user_id'\n")
        })
        .concat();
    let stage = Stage::with(tables, &rules);
    stage.check(|c| {
        c.query("INSERT INTO watched VALUES (1, 'a'), (2, 'b')")
            .query("INSERT INTO kept VALUES (1, 'a')");
        c.query("INSERT INTO lines VALUES (3, 1, 1)");
        // On one shard triggers see what they would see.
        c.query("UPDATE watched SET user_id = 1, note = 'x' WHERE user_id = 1 RETURNING *");
        c.query("UPDATE watched SET user_id = 4, note = 'x' WHERE user_id = 1 RETURNING *");
        // Referenced by their keys, rows only move if PostgreSQL would let them.
        c.query("UPDATE orders SET user_id = 9 WHERE user_id = 3 AND id = 1");
        c.query("UPDATE orders SET user_id = 9 WHERE user_id = 3 AND id = 2");
        c.query("UPDATE lines SET user_id = 4 WHERE id = 1").query("UPDATE lines SET user_id = 44");
    });
    let before = stage.on_shards("SELECT count(*), sum(user_id), min(note) FROM watched");
    let mut client = stage.client();
    for refused in [
        "UPDATE watched SET user_id = 3 WHERE user_id = 2",
        "UPDATE watched SET user_id = user_id + 1",
        "UPDATE kept SET user_id = user_id + 1",
        "UPDATE orders o SET user_id = w.n FROM numbers w WHERE w.n = o.id RETURNING w.word",
        "UPDATE orders SET user_id = 1 RETURNING (SELECT max(word) FROM numbers)",
        "UPDATE orders SET (user_id, note) = (SELECT 1, 'x')",
        "UPDATE orders SET user_id = DEFAULT",
        "UPDATE orders SET user_id = (SELECT max(id) FROM users)",
        "WITH m AS (UPDATE orders SET user_id = 1 RETURNING id) SELECT * FROM m",
        "MERGE INTO orders o USING users u ON u.id = o.user_id WHEN MATCHED THEN UPDATE SET user_id = 1",
        "INSERT INTO orders (user_id, id) VALUES (1, 1) ON CONFLICT (user_id, id) DO UPDATE SET user_id = 5",
        "EXPLAIN ANALYZE UPDATE orders SET user_id = 1",
    ] {
        let heard = client.query(refused).take_transcript();
        assert!(heard.contains("C=0A000") && heard.contains(" H="), "{refused}: {heard}");
    }
    assert_eq!(stage.on_shards("SELECT count(*), sum(user_id), min(note) FROM watched"), before);
}

/// Somebody waits for a lock, on whatever server.
fn is_waiting(stage: &Stage) -> bool {
    let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted";
    let mut servers = stage.cluster.shards().iter().chain([&stage.oracle]);
    servers.any(|server| server.sql(DATABASE, waits).unwrap() != "0")
}

#[test]
fn a_row_on_its_way_is_met_by_statements_that_ask_all_shards() {
    let stage = Stage::new();
    // The shard where the row goes is asked before the one that it leaves.
    let steps = [
        ("user_id = 4 AND id = 4", "UPDATE orders SET note = 'met' WHERE id = 4"),
        ("user_id = 5 AND id = 5", "DELETE FROM orders WHERE id = 5 AND note <> 'x' RETURNING *"),
        (
            "user_id = 1 AND id = 1",
            "UPDATE orders SET user_id = user_id + 10 WHERE id = 1 AND user_id < 2",
        ),
    ];
    let heard = [[stage.plain(), stage.plain()], [stage.client(), stage.client()]].map(|pair| {
        let [mut mover, mut other] = pair;
        for (which, asks) in steps {
            mover.query("BEGIN");
            mover.query(&format!(
                "UPDATE orders SET user_id = user_id - 1, id = id + 0 WHERE {which}"
            ));
            other.ask(asks);
            wait_for("who asks all shards", || is_waiting(&stage));
            mover.query("COMMIT");
            other.await_ready();
        }
        // Moved is what the other one has written.
        other.query("BEGIN").query("UPDATE orders SET note = 'first' WHERE id = 6");
        mover.ask(
            "UPDATE orders SET user_id = user_id - 1 WHERE user_id = 6 AND id = 6 RETURNING note",
        );
        wait_for("the mover", || is_waiting(&stage));
        other.query("COMMIT");
        mover.await_ready();
        sorted(&mover.transcript()) + &sorted(&other.transcript())
    });
    assert_eq!(heard[1], heard[0]);
    // EXPLAIN ANALYZE does what the statement does, though it answers with something else.
    for [mut mover, mut other] in [[stage.plain(), stage.plain()], [stage.client(), stage.client()]]
    {
        mover.query("BEGIN").query("UPDATE orders SET user_id = 2 WHERE user_id = 3 AND id = 3");
        other.ask("EXPLAIN (ANALYZE) UPDATE orders SET note = 'explained' WHERE id = 3");
        wait_for("who explains", || is_waiting(&stage));
        mover.query("COMMIT");
        assert!(!other.await_ready().take_transcript().contains("E V="));
    }
    // Movers do not wait for each other.
    let movers = [2, 3, 4, 5].map(|user| {
        let mut mover = stage.client();
        mover.query("BEGIN");
        mover.query(&format!("UPDATE visits SET user_id = user_id + 1 WHERE user_id = {user}"));
        mover
    });
    for mut mover in movers {
        let heard = mover.query("ROLLBACK").take_transcript();
        assert!(heard.contains("C UPDATE 1") && heard.contains("C ROLLBACK"), "{heard}");
    }
    stage.compare_rows();
}

#[test]
fn a_move_needs_the_right_to_update() {
    let tables = "CREATE ROLE mover LOGIN; \
                  GRANT SELECT, INSERT, DELETE, UPDATE (note) ON orders TO mover; \
                  GRANT SELECT, INSERT, DELETE, UPDATE (user_id, page) ON visits TO mover";
    let stage = Stage::with(tables, "");
    let [expected, heard] = [&stage.oracle.port(), &stage.weir.port()].map(|port| {
        let mut c = Raw::connect(*port, &[("user", "mover"), ("database", "shop")]);
        c.query("UPDATE orders SET user_id = user_id + 1");
        c.query("UPDATE orders SET user_id = 8, note = 'x' WHERE user_id = 6 AND id = 1");
        c.parse("u", "UPDATE orders SET user_id = $1 WHERE user_id = $2", &[]);
        c.bind("", "u", &[Some("8"), Some("6")]).execute("", 0).sync();
        c.query("UPDATE orders SET note = 'y' WHERE user_id = 6 AND id = 1");
        c.query(
            "UPDATE visits SET user_id = 10, page = page || '!' WHERE user_id = 3 RETURNING page",
        );
        c.query("UPDATE visits SET user_id = NULL, number = 'z' WHERE user_id = 4");
        c.transcript()
    });
    assert_eq!(heard, expected);
    stage.compare_rows();
}

#[test]
fn two_sessions_that_move_one_row_lose_nothing_and_double_nothing() {
    let stage = Stage::new();
    let waiting = || is_waiting(&stage);
    let moves = "UPDATE orders SET user_id = user_id + 1, id = 50, note = note || '+' \
                 WHERE user_id = 3 AND id = 1 RETURNING *";
    let heard = [[stage.plain(), stage.plain()], [stage.client(), stage.client()]].map(|pair| {
        let [mut first, mut second] = pair;
        // The row is moved as it is when the one before has committed.
        first.query("BEGIN").query("UPDATE orders SET note = 'first' WHERE user_id = 3 AND id = 1");
        second.ask(moves);
        wait_for("the mover", waiting);
        first.query("COMMIT");
        second.await_ready();
        // Who comes second finds that the row has gone elsewhere.
        first.query("BEGIN").query("UPDATE orders SET user_id = 7 WHERE user_id = 4 AND id = 50");
        second.ask("UPDATE orders SET user_id = 8, note = 'no' WHERE user_id = 4 AND id = 50");
        wait_for("the second mover", waiting);
        first.query("COMMIT");
        second.await_ready();
        first.transcript() + &second.transcript()
    });
    assert_eq!(heard[1], heard[0]);
    stage.compare_rows();
}

#[test]
fn movers_beside_each_other_keep_every_row() {
    let stage = Stage::new();
    std::thread::scope(|scope| {
        for number in 0..3 {
            let stage = &stage;
            scope.spawn(move || {
                let mut client = stage.client();
                client.query("SET lock_timeout = '200ms'");
                for step in 0..40 {
                    let (from, to) = ((step + number) % 7, (step * 3 + number) % 7);
                    client.query(&format!(
                        "UPDATE visits SET user_id = {to} WHERE user_id = {from} AND page = '/{}'",
                        step % 2
                    ));
                    client.take_transcript();
                }
            });
        }
    });
    let all: Vec<String> = stage.on_shards("SELECT number FROM visits WHERE user_id IS NOT NULL");
    let mut all: Vec<&str> = all.iter().flat_map(|rows| rows.lines()).collect();
    all.sort_unstable();
    assert_eq!(all, ["v0", "v1", "v2", "v3", "v4", "v5", "v6"]);
}

#[test]
fn rows_that_do_not_fit_into_memory_stay_where_they_are() {
    let stage = Stage::new();
    let mut client = stage.client();
    let before = stage.on_shards("SELECT sum(user_id), count(*) FROM orders");
    let heard = client
        .query("UPDATE orders SET user_id = user_id + 1, note = repeat('x', 3000000)")
        .take_transcript();
    assert!(heard.contains("C=53400") && heard.contains("limits.merge_size"), "{heard}");
    assert_eq!(stage.on_shards("SELECT sum(user_id), count(*) FROM orders"), before);
}
