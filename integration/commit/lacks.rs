//! Shards that cannot take part, rules that want no atomic commits, and commits that take too long.
use super::*;
use crate::weir::{said, wait_for};

const QUICK: &str = "[recovery]\ninterval = '100ms'\n";

#[test]
fn without_its_table_a_shard_is_refused_as_second_writer_until_it_is_set_up() {
    let bank = Bank::new(2, 1, QUICK);
    let mut client = bank.client();
    let mut transfer = || {
        let said = run(&mut client, &["BEGIN", &take(0, 1), &take(1, -1)]);
        run(&mut client, &["COMMIT"]);
        said
    };
    assert!(!transfer().contains("C=0A000"));
    bank.cluster.on_every_shard("DROP TABLE weir.commit_record");
    wait_for("the refusal", || transfer().contains("C=0A000"));
    let refusal = transfer();
    assert!(refusal.contains("weir.commit_record") && refusal.contains("H=run weir setup"));
    let before = bank.balances(&[0, 1]);
    let mut other = bank.client();
    let said_of_one = run(&mut other, &["BEGIN", &take(0, 1), "COMMIT"]);
    assert!(said_of_one.contains("C COMMIT"), "one shard needs no table: {said_of_one}");
    assert_eq!(bank.balances(&[0, 1]), [before[0] - 1, before[1]]);
    let setup = bank.weirs[0].home().run(&["setup", "--rules", "rules.toml"]);
    assert!(setup.status.success(), "{}", said(&setup));
    wait_for("the end of the refusal", || !transfer().contains("C=0A000"));
    assert_eq!(bank.left(), (0, 0));
}

#[test]
fn rules_may_give_up_atomic_commits() {
    let bank = Bank::with(Cluster::start(2), 1, "", "commit = 'in_turn'");
    bank.cluster.on_every_shard("DROP TABLE weir.commit_record");
    let mut client = bank.client();
    let said = run(&mut client, &["BEGIN", &take(0, 5), &take(1, -5), "COMMIT"]);
    assert!(said.ends_with("C COMMIT\nZ I\n"), "{said}");
    assert_eq!(bank.balances(&[0, 1]), [95, 105]);
}

#[test]
fn a_commit_that_is_cancelled_before_the_decision_happens_nowhere() {
    let bank = Bank::new(2, 1, "");
    bank.cluster.on_every_shard(
        "CREATE FUNCTION dream() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN PERFORM pg_sleep(20); RETURN NULL; END $$;\
         CREATE CONSTRAINT TRIGGER dream AFTER INSERT ON entries \
             DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION dream()",
    );
    let mut client = bank.client();
    for (user, other) in [(0, 1), (1, 0)] {
        let entry = format!("INSERT INTO entries VALUES (1, {user})");
        run(&mut client, &["BEGIN", &take(other, 5), &entry]);
        client.ask("COMMIT");
        let dreams = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
        wait_for("the trigger", || bank.beside(user).value(dreams) == "1");
        let mut request = 80_877_102_u32.to_be_bytes().to_vec();
        request.extend(client.pid.to_be_bytes());
        request.extend(&client.secret);
        Raw::dial(bank.weirs[0].port()).send_packet(&request);
        client.await_ready();
        let said = heard(&mut client);
        assert!(said.contains("C=57014") && said.ends_with("Z I\n"), "{said}");
    }
    assert_eq!(bank.balances(&[0, 1]), [100, 100]);
    assert_eq!(bank.left(), (0, 0));
}
