//! Servers whose defaults make values look different, and texts that the client's encoding cannot write.
use super::{SETTINGS, World, check_ok, world};
use crate::cluster::DATABASE;
use crate::raw::Raw;
use crate::weir::wait_for;

const READER: &str = "CREATE ROLE reader LOGIN; GRANT pg_read_all_data TO reader";

fn readers(world: &World) -> [Raw; 2] {
    let who = [("user", "reader"), ("database", DATABASE)];
    [world.weir.port(), world.oracle.port()].map(|port| Raw::connect(port, &who))
}

fn both(clients: &mut [Raw; 2], text: &str) {
    let [ours, theirs] = clients.each_mut().map(|client| {
        client.take_transcript();
        client.query(text);
        client.take_transcript()
    });
    assert_eq!(ours, theirs, "{text}");
}

#[track_caller]
fn refused(client: &mut Raw, text: &str, words: &str) {
    client.take_transcript();
    client.query(text);
    let heard = client.take_transcript();
    assert!(heard.contains("C=0A000") && heard.contains(words), "{text}: {heard}");
    assert!(!heard.contains("\nD "), "{text}: {heard}");
}

/// Looks like something that depends on each of the settings.
const LOOKS: &str = "o.w, o.w * interval '1 day', o.at, note::bytea, o.total::money";

#[test]
fn what_the_gather_database_writes_looks_as_on_the_shards() {
    let world = world("", SETTINGS);
    world.cluster.on_every_shard(READER);
    world.oracle.sql(DATABASE, READER).unwrap();
    for setting in [
        "extra_float_digits = 0",
        "bytea_output = 'escape'",
        "lc_monetary = 'POSIX'",
        "DateStyle = 'German'",
        "IntervalStyle = 'iso_8601'",
        "TimeZone = 'Asia/Tokyo'",
    ] {
        let there = format!("ALTER ROLE reader IN DATABASE gather SET {setting}");
        world.cluster.shard(0).sql("gather", &there).unwrap();
    }
    let mut clients = readers(&world);
    let text = format!(
        "SELECT o.id, {LOOKS}, rank() OVER (ORDER BY o.id) FROM orders o ORDER BY o.id LIMIT 20"
    );
    both(&mut clients, &text);
    both(&mut clients, "BEGIN");
    both(&mut clients, &text);
    both(&mut clients, "SET LOCAL extra_float_digits = -3");
    both(&mut clients, &text);
    both(&mut clients, "ROLLBACK");
    both(&mut clients, "SET bytea_output = 'escape'");
    both(&mut clients, &text);
    both(&mut clients, "EXPLAIN (COSTS OFF) SELECT 1");
    assert!(world.is_clean());
}

#[test]
fn shards_that_write_values_differently_do_not_answer_together() {
    for (setting, otherwise) in [
        ("extra_float_digits = 0", "1"),
        ("bytea_output = 'escape'", "hex"),
        ("lc_monetary = 'POSIX'", "C"),
    ] {
        let world = world("", SETTINGS);
        world.cluster.on_every_shard(READER);
        world.oracle.sql(DATABASE, READER).unwrap();
        let name = setting.split(' ').next().unwrap();
        let there = format!("ALTER ROLE reader SET {setting}");
        world.cluster.shard(2).sql(DATABASE, &there).unwrap();
        let mut clients = readers(&world);
        let merged = format!("SELECT o.id, {LOOKS} FROM orders o ORDER BY o.id");
        refused(&mut clients[0], &format!("SELECT o.id, {LOOKS} FROM orders o"), name);
        refused(&mut clients[0], &merged, name);
        refused(&mut clients[0], "SELECT count(DISTINCT note) FROM orders", name);
        both(&mut clients, &format!("SET {name} = '{otherwise}'"));
        both(&mut clients, &merged);
        both(&mut clients, "BEGIN");
        both(&mut clients, &merged);
        both(&mut clients, "ROLLBACK");
    }
}

#[test]
fn values_that_travel_as_text_lose_no_digits_by_a_roles_defaults() {
    let world = world("", SETTINGS);
    let types = "CREATE TYPE tone AS ENUM ('low', 'high')";
    let table = "CREATE TABLE notes (user_id bigint, tones tone[], d float8, at timestamptz)";
    let other = "CREATE TYPE other AS ENUM (); DROP TYPE other;";
    for (number, shard) in world.cluster.shards().iter().enumerate() {
        shard.sql(DATABASE, &format!("{}{types};{table}", other.repeat(number))).unwrap();
    }
    let there = format!("{}{types};{table}", other.repeat(9));
    world.cluster.shard(0).sql("gather", &there).unwrap();
    wait_for("the new schema", || {
        world.client().value("SELECT count(DISTINCT d) FROM notes, users") == "0"
    });
    let mut weir = world.client();
    for id in 1..10 {
        let row = format!("({id}, '{{low,high}}', 1 / {id}.0::float8, now())");
        check_ok(&mut weir, &format!("INSERT INTO notes VALUES {row}"));
    }
    let text = "SELECT max(tones), count(DISTINCT d = 1 / user_id::float8) FROM notes";
    // A role for each setting: connections keep the defaults that were when they were opened.
    for (role, setting, otherwise) in [
        ("digits", "extra_float_digits = 0", "extra_float_digits = 1"),
        ("dates", "DateStyle = 'German'", "DateStyle = 'ISO'"),
        ("intervals", "IntervalStyle = 'sql_standard'", "IntervalStyle = 'postgres'"),
    ] {
        world.cluster.on_every_shard(&format!(
            "CREATE ROLE {role} LOGIN; GRANT pg_read_all_data TO {role}; ALTER ROLE {role} SET {setting}"
        ));
        let who = [("user", role), ("database", DATABASE)];
        let mut reader = Raw::connect(world.weir.port(), &who);
        refused(&mut reader, text, "type ids differ");
        check_ok(&mut reader, &format!("SET {otherwise}"));
        assert_eq!(reader.value(text), "{low,high}|1");
    }
}

#[test]
fn a_text_that_the_clients_encoding_cannot_write_is_told_as_what_it_is() {
    let world = world("", SETTINGS);
    let mut weir = world.client();
    check_ok(&mut weir, "UPDATE users SET name = '\u{3a3}' WHERE id = 3");
    check_ok(&mut weir, "SET client_encoding = 'LATIN1'");
    refused(&mut weir, "SELECT count(DISTINCT name) FROM users", "SET client_encoding");
    // What the client would get itself is PostgreSQL's error.
    weir.query("SELECT name FROM users WHERE id = 3");
    assert!(weir.take_transcript().contains("C=22P05"));
    assert_eq!(weir.value("SELECT count(DISTINCT mood) FROM users"), "3");
    check_ok(&mut weir, "SET client_encoding = 'UTF8'");
    assert_ne!(weir.value("SELECT count(DISTINCT name) FROM users"), "");
    assert!(world.is_clean());
}
