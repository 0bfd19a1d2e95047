//! Queries over several shards that clients have prepared: servers keep them, and what is kept follows
//! the schema.
use super::{DATABASE, Raw, SHARDS, Stage, sorted};

/// Executes a statement by itself.
fn run<'r>(c: &'r mut Raw, name: &str, value: &str) -> &'r mut Raw {
    c.bind("", name, &[Some(value)]).describe(b'P', "").execute("", 0).sync()
}

fn prepared(stage: &Stage) -> String {
    let page = stage.weir.page("/metrics").unwrap();
    let line = page.lines().find(|line| line.starts_with("weir_server_prepares_total"));
    line.unwrap_or_default().to_owned()
}

const ALL: &str = "SELECT id, note FROM orders WHERE id > $1";
const SORTED: &str = "SELECT id FROM orders WHERE id > $1 ORDER BY amount DESC, id LIMIT 9";
const COUNTED: &str = "SELECT count(*), max(amount) FROM orders WHERE id > $1";

#[test]
fn what_a_client_has_prepared_over_all_shards_is_kept_there() {
    let stage =
        Stage::new("[tier.batch]\nsize = 1\n[limits]\nprepared_statements_per_server = 3\n");
    let mut client = stage.client();
    client.parse("s", SORTED, &[]).describe(b'S', "s").sync();
    run(&mut client, "s", "3");
    let before = prepared(&stage);
    for value in ["3", "30", "59"] {
        run(&mut client, "s", value);
    }
    assert_eq!(prepared(&stage), before);
    drop(client);

    // More than a server keeps, in turn.
    stage.check(|c| {
        let texts = [ALL, SORTED, COUNTED, "SELECT note FROM orders WHERE id > $1 ORDER BY at, id"];
        for (number, text) in texts.iter().enumerate() {
            c.parse(&format!("s{number}"), text, &[]).sync();
        }
        for value in ["50", "40", "57", "1"] {
            for number in 0..texts.len() {
                run(c, &format!("s{number}"), value);
            }
        }
    });
    // Parsed each time, alone and behind something else.
    stage.check(|c| {
        for value in ["20", "30", "57"] {
            for text in [SORTED, COUNTED] {
                c.parse("", text, &[23]).bind("", "", &[Some(value)]).describe(b'P', "");
                c.execute("", 0).sync();
            }
            c.parse("", "SELECT 1", &[]).bind("", "", &[]).execute("", 0);
            c.parse("", SORTED, &[23]).bind("", "", &[Some("50")]).describe(b'P', "");
            c.execute("", 0).parse("t", COUNTED, &[23]).bind("", "t", &[Some("50")]).execute("", 0);
            c.parse("", "SELECT nothing FROM orders", &[]).bind("", "", &[]).sync();
            c.close(b'S', "t").bind("", "t", &[Some("1")]).sync();
        }
    });
    // Alone, in a pipeline, before the Sync comes, in portions, and in a block.
    stage.check(|c| {
        c.parse("a", SORTED, &[]).parse("b", COUNTED, &[23]).describe(b'S', "b").sync();
        for value in ["20", "30"] {
            c.bind("", "a", &[Some(value)]).execute("", 0);
            c.bind_as("", "b", &[], &[Some(value.as_bytes())], &[1]).execute("", 0).sync();
            c.bind("", "a", &[Some(value)]).execute("", 0).flush(11).sync();
            c.bind("p", "a", &[Some(value)]).execute("p", 2).execute("p", 3).execute("p", 0).sync();
            c.query("BEGIN").query("INSERT INTO orders VALUES (70, 5, 'own', 99, NULL)");
            run(run(c, "a", value), "b", value);
            c.query("ROLLBACK");
            run(run(c, "a", value), "b", value);
        }
    });
}

#[test]
fn an_error_in_what_servers_keep_leaves_it_as_it_was_and_a_change_of_the_schema_is_followed() {
    let stage = Stage::new("[tier.batch]\nsize = 1\n");
    stage.check(|c| {
        c.parse("e", "SELECT id FROM orders WHERE 1 / (id - $1) > 5", &[]).sync();
        for value in ["100", "30", "100", "30"] {
            run(c, "e", value);
        }
        c.query("BEGIN").bind("", "e", &[Some("31")]).execute("", 0).sync();
        run(c, "e", "100").query("ROLLBACK");
        run(c, "e", "100");
        // The first of two, so that the second is never looked at.
        c.bind("", "e", &[Some("30")]).execute("", 0).bind("", "e", &[Some("100")]).execute("", 0);
        c.sync();
        run(c, "e", "100");
    });
    let prepare = |c: &mut Raw| {
        for (name, text) in [("all", ALL), ("sorted", SORTED), ("counted", COUNTED)] {
            c.parse(name, text, &[]).describe(b'S', name).sync();
            run(run(c, name, "50"), name, "55");
        }
    };
    let (mut plain, mut client) = (stage.plain(), stage.client());
    prepare(&mut plain);
    prepare(&mut client);
    let same = |plain: &mut Raw, client: &mut Raw, what: &str| {
        for name in ["sorted", "counted", "all", "sorted"] {
            run(plain, name, "52");
            run(client, name, "52");
            let [expected, heard] =
                [&mut *plain, &mut *client].map(|c| sorted(&c.take_transcript()));
            assert_eq!(heard, expected, "{name}, {what}");
        }
    };
    same(&mut plain, &mut client, "as it was");
    // Behind weir's back: what the shards sort by is none of the client's columns.
    let change = "ALTER TABLE orders ALTER amount TYPE numeric(14, 4)";
    for shard in 0..SHARDS {
        stage.cluster.shard(shard).sql(DATABASE, change).unwrap();
    }
    stage.oracle.sql(DATABASE, change).unwrap();
    same(&mut plain, &mut client, "changed on the shards");
    for change in
        ["ALTER TABLE orders ALTER amount TYPE float8", "ALTER TABLE orders ALTER id TYPE bigint"]
    {
        plain.query(change);
        client.query(change);
        same(&mut plain, &mut client, change);
    }
    for c in [&mut plain, &mut client] {
        c.query("BEGIN").query("ALTER TABLE orders ALTER amount TYPE numeric(14, 2)");
    }
    same(&mut plain, &mut client, "inside its transaction");
    for c in [&mut plain, &mut client] {
        c.query("ROLLBACK");
    }
    same(&mut plain, &mut client, "after its rollback");
}
