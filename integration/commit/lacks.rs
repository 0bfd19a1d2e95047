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

#[test]
fn who_may_not_write_the_record_is_told_so_and_set_up_mends_it() {
    let bank = Bank::new(2, 1, "");
    bank.cluster.on_every_shard(
        "CREATE ROLE app LOGIN; GRANT ALL ON accounts TO app; \
         REVOKE INSERT (transaction, committed) ON weir.commit_record FROM PUBLIC",
    );
    let mut app = Raw::connect(bank.weirs[0].port(), &[("user", "app"), ("database", DATABASE)]);
    let said = run(&mut app, &["BEGIN", &take(0, 5), &take(1, -5), "COMMIT"]);
    assert!(said.contains("C=42501") && said.contains("run weir setup"), "{said}");
    assert!(said.ends_with("Z I\n"), "{said}");
    assert_eq!((bank.balances(&[0, 1]), bank.left()), (vec![100, 100], (0, 0)));
    let setup = bank.weirs[0].home().run(&["setup", "--rules", "rules.toml"]);
    assert!(setup.status.success(), "{}", crate::weir::said(&setup));
    let said = run(&mut app, &["BEGIN", &take(0, 5), &take(1, -5), "COMMIT"]);
    assert!(said.ends_with("C COMMIT\nZ I\n"), "{said}");
    assert_eq!(bank.balances(&[0, 1]), [95, 105]);
}

#[test]
fn a_server_without_prepared_transactions_takes_no_part_in_writing_several() {
    let mut cluster = Cluster::start(2);
    let allow = |cluster: &mut Cluster, most: usize| {
        let alter = format!("ALTER SYSTEM SET max_prepared_transactions = {most}");
        cluster.shard(1).sql("postgres", &alter).unwrap();
        cluster.stop(1);
        cluster.restart(1);
    };
    allow(&mut cluster, 0);
    let mut bank = Bank::with(cluster, 1, QUICK, "");
    let log = bank.weirs[0].log();
    assert!(log.contains("max_prepared_transactions is 0 on shard s1"), "{log}");
    let mut client = bank.client();
    for (first, second) in [(0, 1), (1, 0)] {
        let said = run(&mut client, &["BEGIN", &take(first, 1), &take(second, -1), "COMMIT"]);
        assert!(said.contains("C=0A000") && said.contains("max_prepared_transactions"), "{said}");
        assert!(said.contains("commit = \"in_turn\"") && said.contains("C ROLLBACK"), "{said}");
    }
    let said = run(&mut client, &["UPDATE accounts SET balance = 0"]);
    assert!(said.contains("C=0A000"), "{said}");
    let said = run(&mut client, &["BEGIN", &take(1, 1), "COMMIT"]);
    assert!(said.ends_with("C COMMIT\nZ I\n"), "{said}");
    assert_eq!(bank.balances(&[0, 1]), [100, 99]);
    allow(&mut bank.cluster, 20);
    let mut client = bank.client();
    let transfer = ["BEGIN", &take(0, 1), &take(1, -1), "COMMIT"];
    wait_for("the end of the refusal", || run(&mut client, &transfer).contains("C COMMIT"));
    assert_eq!(bank.balances(&[0, 1]), [99, 100]);
}

#[test]
fn readers_of_one_moment_wait_for_a_commit_in_turn_too() {
    let cluster = Cluster::start(2);
    let bank = Bank::with(cluster, 0, "", "commit = 'in_turn'");
    let gate = super::gate::Gate::new(bank.cluster.shard(1).port());
    let rules = rules(&[bank.cluster.shard(0).port(), gate.port()], "commit = 'in_turn'");
    let settings = format!("{SETTINGS}[timeouts]\ncheckout = '500ms'\n");
    let weir = Weir::with_rules(&bank.cluster, &rules, &settings);
    let connect = || Raw::connect(weir.port(), &[("user", "postgres"), ("database", DATABASE)]);
    let (mut writer, mut reader) = (connect(), connect());
    run(&mut reader, &["SET weir.consistency = 'snapshot'"]);
    run(&mut writer, &["BEGIN", &take(0, 5), &take(1, -5)]);
    gate.arm("COMMIT", super::gate::When::Before);
    writer.ask("COMMIT");
    gate.wait();
    assert_eq!(bank.balances(&[0, 1]), [95, 100], "half of it is committed");
    assert_eq!(reader.value("SELECT sum(balance) FROM accounts"), "55P03");
    gate.open();
    writer.await_ready();
    let said = heard(&mut writer);
    assert!(said.contains("C=08007") && said.contains("while the transaction was"), "{said}");
    assert!(said.contains("it is committed on s0; whether it is on s1 is not known"), "{said}");
}
