//! What time it is: one value in all of a transaction, over all shards.
use super::Stage;
use crate::raw::Raw;

/// Users 101, 102, 103 … are on different shards. In the transaction: who has its time, asked of each
/// shard alone, of all at once, and of any.
fn who_has_the_time(c: &mut Raw) {
    for id in 101..=106 {
        c.query(&format!(
            "SELECT id, seen = now(), seen = CURRENT_TIMESTAMP FROM users WHERE id = {id}"
        ));
    }
    c.query("SELECT id FROM users WHERE id > 100 AND seen = transaction_timestamp() ORDER BY id");
    c.query("SELECT id, seen = now() AS is_now FROM users WHERE id > 100 ORDER BY id");
    c.query("SELECT id FROM users WHERE id > 100 AND seen::date = current_date ORDER BY id");
    c.query("SELECT statement_timestamp() >= now(), clock_timestamp() > now() FROM users WHERE id = 103");
    c.query("SELECT id, now() - seen AS ago FROM users WHERE id = 102 AND now() >= seen");
}

fn ends(c: &mut Raw) {
    c.query("COMMIT").query("SELECT id FROM users WHERE id = 102 AND seen = now()");
    c.query("DELETE FROM users WHERE id > 100");
}

#[test]
fn now_is_one_value_in_all_of_a_transaction() {
    let stage = Stage::new();
    stage.check_in_order(|c| {
        c.query("BEGIN").query("INSERT INTO users (id, name) VALUES (101, 'a')");
        c.query("INSERT INTO users (id, name) VALUES (102, 'b')");
        c.query("INSERT INTO users (id, name, seen) VALUES (103, 'c', now()) RETURNING id, seen = now()");
        c.query("INSERT INTO users (id) VALUES (104), (105), (106)");
        who_has_the_time(c);
        c.query("UPDATE users SET seen = now() + interval '1 hour' WHERE id = 105");
        c.query("UPDATE users SET seen = seen - interval '1 hour' WHERE id = 105");
        c.query("SAVEPOINT s").query("DELETE FROM users WHERE id = 104 AND seen = now()");
        c.query("ROLLBACK TO s");
        who_has_the_time(c);
        ends(c);
    });
    // The first statement reads one shard; then it spreads.
    stage.check_in_order(|c| {
        c.query("BEGIN").query("SELECT now() IS NULL FROM users WHERE id = 2");
        c.query("UPDATE users SET seen = now(), name = 'spread' WHERE id IN (1, 2, 3)");
        c.query("SELECT id, seen = now() FROM users WHERE name = 'spread' ORDER BY id");
        c.query("SELECT id FROM users WHERE id = 1 AND seen = now()");
        c.query("SELECT id FROM users WHERE id = 3 AND seen = localtimestamp::timestamptz");
        c.query("SELECT now() = (SELECT seen FROM users WHERE id = 1)");
        c.query("SELECT seen = now()::timestamptz(3) FROM users WHERE id = 1 AND seen = CURRENT_TIMESTAMP(6)");
        c.query("ROLLBACK");
    });
    // Errors point into the client's own text.
    stage.check_in_order(|c| {
        c.query("BEGIN").query("INSERT INTO users (id) VALUES (101)").query("SAVEPOINT s");
        c.query("SELECT now(), now(), nothing FROM users WHERE id = 102").query("ROLLBACK TO s");
        c.parse("", "SELECT now(), now(), nothing FROM users WHERE id = $1", &[20]);
        c.bind("", "", &[Some("102")]).execute("", 0).sync().query("ROLLBACK");
    });
    prepared(&stage);
    in_one_message(&stage);
}

fn prepared(stage: &Stage) {
    stage.check_in_order(|c| {
        c.parse("default", "INSERT INTO users (id, name) VALUES ($1, $2)", &[]);
        c.parse("now", "INSERT INTO users (id, seen) VALUES ($1, now()) RETURNING id", &[]);
        c.parse("is", "SELECT id, seen = now() FROM users WHERE id = $1", &[]).sync();
        c.query("BEGIN");
        for (id, name) in [("101", "now"), ("102", "now"), ("103", "now")] {
            c.bind("", name, &[Some(id)]).describe(b'P', "").execute("", 0).sync();
        }
        for id in ["104", "105", "106"] {
            c.bind("", "default", &[Some(id), Some("d")]).execute("", 0);
        }
        for id in ["101", "102", "103", "104", "105", "106"] {
            c.bind("", "is", &[Some(id)]).execute("", 0);
        }
        c.sync();
        who_has_the_time(c);
        ends(c);
    });
    stage.check_in_order(|c| {
        c.query("PREPARE d (bigint) AS INSERT INTO users (id) VALUES ($1)");
        c.query("PREPARE n (bigint) AS INSERT INTO users (id, seen) VALUES ($1, now())");
        c.query("BEGIN").query("EXECUTE n (101)").query("EXECUTE n (102)").query("EXECUTE d (103)");
        c.query("EXECUTE n (104)").query("EXECUTE d (105)").query("EXECUTE d (106)");
        who_has_the_time(c);
        ends(c);
    });
}

fn in_one_message(stage: &Stage) {
    stage.check_in_order(|c| {
        c.query(
            "INSERT INTO users (id) VALUES (101); INSERT INTO users (id, seen) VALUES (102, now()); \
             INSERT INTO users (id) VALUES (103); \
             SELECT id, seen = now() FROM users WHERE id > 100 ORDER BY id; \
             SELECT id, seen = now() FROM users WHERE id = 102; \
             SELECT id, seen = now() FROM users WHERE id = 103",
        );
        ends(c);
        // Without BEGIN, too, a pipeline is one transaction.
        c.parse("d", "INSERT INTO users (id) VALUES ($1)", &[]);
        c.parse("is", "SELECT id, seen = now() FROM users WHERE id = $1", &[]);
        for id in ["101", "102", "103"] {
            c.bind("", "d", &[Some(id)]).execute("", 0);
        }
        for id in ["103", "102", "101"] {
            c.bind("", "is", &[Some(id)]).execute("", 0);
        }
        c.parse("", "SELECT id FROM users WHERE id > 100 AND seen = now() ORDER BY id", &[]);
        c.bind("", "", &[]).execute("", 0).sync();
        ends(c);
    });
    // Each transaction has a time of its own.
    stage.check_in_order(|c| {
        c.query("BEGIN").query("INSERT INTO users (id) VALUES (101)").query("COMMIT AND CHAIN");
        c.query("INSERT INTO users (id) VALUES (102)").query("INSERT INTO users (id) VALUES (103)");
        c.query("SELECT id, seen = now() FROM users WHERE id > 100 ORDER BY id");
        ends(c);
    });
}
