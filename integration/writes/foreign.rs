//! What foreign keys' actions and triggers add to a write.
use super::Stage;
use crate::cluster::DATABASE;
use crate::weir::said;

const TABLES: &str = "\
    CREATE TABLE teams (id int PRIMARY KEY, name text); \
    CREATE TABLE members (user_id bigint, team int DEFAULT 0 REFERENCES teams ON DELETE SET NULL ON UPDATE CASCADE, note text); \
    CREATE TABLE leads (user_id bigint REFERENCES users ON DELETE SET NULL, note text); \
    CREATE TABLE places (id int PRIMARY KEY, user_id bigint UNIQUE); \
    CREATE TABLE seats (user_id bigint REFERENCES places (user_id) ON UPDATE CASCADE, note text); \
    CREATE TABLE guests (host int PRIMARY KEY REFERENCES places ON DELETE CASCADE)";

fn rules() -> String {
    let sharded = ["members", "leads", "seats"]
        .map(|name| {
            format!("[[table]]\nname = '{name}'\ndistribution = 'by_user'\nkey = 'user_id'\n")
        })
        .concat();
    let reference = ["teams", "places", "guests"]
        .map(|name| format!("[[table]]\nname = '{name}'\nreference = true\n"))
        .concat();
    sharded + &reference
}

#[test]
fn actions_that_leave_rows_on_their_shard_run() {
    let stage = Stage::with(TABLES, &rules());
    stage.check(|c| {
        c.query("INSERT INTO teams VALUES (0, 'none'), (1, 'a'), (2, 'b')");
        c.query("INSERT INTO members VALUES (1, 1, 'x'), (2, 2, 'y'), (3, 1, 'z')");
        c.query("UPDATE teams SET id = 5 WHERE id = 2").query("DELETE FROM teams WHERE id = 1");
        c.query("SELECT * FROM members ORDER BY user_id");
        c.query("INSERT INTO places VALUES (1, 10), (2, 20)")
            .query("INSERT INTO guests VALUES (1), (2)");
        c.query("DELETE FROM places WHERE id = 1").query("SELECT * FROM guests");
    });
}

#[test]
fn actions_that_would_set_a_sharding_key_are_refused_before_they_run() {
    let stage = Stage::with(TABLES, &rules());
    let mut client = stage.client();
    client.query("INSERT INTO leads VALUES (1, 'x'), (2, 'y')");
    client.query("INSERT INTO places VALUES (1, 10)").query("INSERT INTO seats VALUES (10, 'x')");
    let heard = client.take_transcript();
    assert!(!heard.contains("E V="), "{heard}");
    for (refused, key) in [
        ("DELETE FROM users WHERE id = 1", "leads_user_id_fkey"),
        ("DELETE FROM users WHERE n > 5", "leads_user_id_fkey"),
        (
            "MERGE INTO users u USING orders o ON u.id = o.user_id WHEN MATCHED THEN DELETE",
            "leads_user_id_fkey",
        ),
        (
            "WITH d AS (DELETE FROM users WHERE id = 1 RETURNING id) SELECT * FROM d",
            "leads_user_id_fkey",
        ),
        ("UPDATE places SET user_id = 11", "seats_user_id_fkey"),
        (
            "INSERT INTO places VALUES (1, 12) ON CONFLICT (id) DO UPDATE SET user_id = excluded.user_id",
            "seats_user_id_fkey",
        ),
    ] {
        let heard = client.query(refused).take_transcript();
        let told = heard.contains("C=0A000") && heard.contains(key) && heard.contains(" H=");
        assert!(told, "{refused}: {heard}");
    }
    let heard = client.query("UPDATE users SET n = 1 WHERE id = 1").take_transcript();
    assert!(heard.contains("C UPDATE 1"), "{heard}");
    let leads = stage.on_shards("SELECT user_id, note FROM leads").concat();
    assert!(leads.contains("1|x") && leads.contains("2|y"), "{leads}");
    // A schema statement makes weir look again.
    let heard = client
        .query("ALTER TABLE leads DROP CONSTRAINT leads_user_id_fkey")
        .query("DELETE FROM users WHERE id = 1")
        .take_transcript();
    assert!(heard.contains("C DELETE 1"), "{heard}");
}

#[test]
fn check_names_the_actions_that_would_set_a_sharding_key() {
    let stage = Stage::with(TABLES, &rules());
    let checked = stage.weir.home().run(&["check", "rules.toml", "--connect"]);
    assert!(!checked.status.success());
    let told = said(&checked);
    let says =
        |words: &[&str]| told.lines().any(|line| words.iter().all(|word| line.contains(word)));
    assert!(says(&["problem", "leads", "leads_user_id_fkey", "ON DELETE"]), "{told}");
    assert!(says(&["problem", "seats", "seats_user_id_fkey", "ON UPDATE"]), "{told}");
    assert!(!says(&["members_team_fkey", "sets"]), "{told}");
}

#[test]
fn a_rule_is_made_on_the_table_it_names() {
    let stage = Stage::new();
    let heard = stage
        .client()
        .query("CREATE RULE silent AS ON DELETE TO numbers DO INSTEAD NOTHING")
        .query("DELETE FROM numbers")
        .query("DROP RULE silent ON numbers")
        .query("DELETE FROM numbers WHERE n = 1")
        .transcript();
    let told: Vec<&str> = heard.lines().filter(|line| line.starts_with("C ")).collect();
    assert_eq!(told, ["C CREATE RULE\\x00", "C DROP RULE\\x00", "C DELETE 1\\x00"], "{heard}");
}

const TRIGGERS: &str = "\
    CREATE TABLE noted (user_id bigint, id int, changed timestamptz); \
    CREATE FUNCTION tally() RETURNS trigger LANGUAGE plpgsql AS \
        'BEGIN UPDATE numbers SET word = word || ''!'' WHERE n = NEW.id; RETURN NEW; END'; \
    CREATE TRIGGER tally AFTER INSERT ON noted FOR EACH ROW EXECUTE FUNCTION tally(); \
    CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS \
        'BEGIN NEW.changed = now(); RETURN NEW; END'; \
    CREATE TRIGGER stamp BEFORE UPDATE ON noted FOR EACH ROW EXECUTE FUNCTION stamp(); \
    CREATE TABLE kinds (id int PRIMARY KEY); \
    CREATE FUNCTION more() RETURNS trigger LANGUAGE plpgsql AS \
        'BEGIN INSERT INTO numbers VALUES (NEW.id + 100, ''more''); RETURN NEW; END'; \
    CREATE TRIGGER more AFTER INSERT OR UPDATE ON kinds FOR EACH ROW EXECUTE FUNCTION more()";
const TRIGGER_RULES: &str = "\
    [[table]]\nname = 'noted'\ndistribution = 'by_user'\nkey = 'user_id'\n\
    [[table]]\nname = 'kinds'\nreference = true\n";

#[test]
fn a_trigger_that_would_write_one_copy_of_a_reference_table_is_stopped() {
    let stage = Stage::with(TRIGGERS, TRIGGER_RULES);
    let mut client = stage.client();
    for refused in [
        "INSERT INTO noted VALUES (1, 1)",
        "INSERT INTO noted VALUES (1, 1), (2, 2)",
        "INSERT INTO noted (user_id, id) SELECT user_id, id FROM orders WHERE id = 1",
    ] {
        let heard = client.query(refused).take_transcript();
        assert!(heard.contains("C=0A000") && heard.contains(" H="), "{refused}: {heard}");
    }
    assert_eq!(stage.on_shards("SELECT count(*) FROM noted"), ["0", "0", "0"]);
    stage.compare_rows();
    // Those of reference tables write all copies, and others write what they like on their shard.
    stage.check(|c| {
        c.query("INSERT INTO kinds VALUES (1), (2)").query("UPDATE kinds SET id = id + 10");
        c.query("SELECT * FROM numbers ORDER BY n");
    });
    let shard = stage.cluster.shard(1);
    shard
        .sql(DATABASE, "SET session_replication_role = replica; INSERT INTO noted VALUES (1, 1)")
        .unwrap();
    let heard = client.query("UPDATE noted SET id = 2 WHERE user_id = 1").take_transcript();
    assert!(heard.contains("C UPDATE 1"), "{heard}");
    // What an administrator writes directly is nobody else's matter.
    for shard in stage.cluster.shards() {
        shard.sql(DATABASE, "UPDATE numbers SET word = 'by hand'").unwrap();
    }
}

#[test]
fn check_finds_reference_tables_without_a_guard() {
    let stage = Stage::with(TRIGGERS, TRIGGER_RULES);
    let check = || said(&stage.weir.home().run(&["check", "rules.toml", "--connect"]));
    assert!(!check().contains("guard"), "{}", check());
    stage.cluster.shard(2).sql(DATABASE, "DROP TRIGGER weir_guard ON numbers").unwrap();
    let told = check();
    assert!(
        told.contains("public.numbers: triggers of sharded tables") && told.contains("s2"),
        "{told}"
    );
    let set_up = said(&stage.weir.home().run(&["setup", "--rules", "rules.toml"]));
    assert!(set_up.contains("reference table public.numbers is guarded"), "{set_up}");
    assert!(!check().contains("guard"));
}
