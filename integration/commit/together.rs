//! What clients see of transactions that write on several shards, and what they are told when one is
//! refused.
use super::*;

#[test]
fn a_transaction_over_several_shards_commits_on_all_of_them() {
    let bank = Bank::new(3, 1, "");
    let mut client = bank.client();
    let said = run(&mut client, &["BEGIN", &take(0, 5), &take(1, -2), &take(2, -3), "COMMIT"]);
    assert!(said.ends_with("C COMMIT\nZ I\n"), "{said}");
    assert_eq!(bank.balances(&[0, 1, 2, 3]), [95, 102, 103, 100]);
    assert_eq!(bank.left(), (0, 0));
    assert_eq!(bank.records(), ["1", "0", "0"], "the home shard decides if it takes part");
    let said = run(&mut client, &["BEGIN", &take(1, 1), &take(2, -1), "COMMIT"]);
    assert!(said.ends_with("C COMMIT\nZ I\n"), "{said}");
    assert_eq!(bank.records(), ["1", "1", "0"], "else who wrote first");
    let said = run(&mut client, &["BEGIN", &take(1, 1), "COMMIT"]);
    assert!(said.ends_with("C COMMIT\nZ I\n"), "{said}");
    assert_eq!(bank.records(), ["1", "1", "0"], "one shard needs no record");
    run(&mut client, &["BEGIN", &take(1, 1), &take(2, -1), "ROLLBACK"]);
    assert_eq!(bank.balances(&[0, 1, 2, 3]), [95, 100, 104, 100]);
}

#[test]
fn implicit_blocks_and_pipelines_commit_on_all_shards_too() {
    let bank = Bank::new(3, 1, "");
    let mut client = bank.client();
    let said = run(&mut client, &[&format!("{};{}", take(0, 5), take(1, -5))]);
    assert_eq!(said, "C UPDATE 1\nC UPDATE 1\nZ I\n");
    assert_eq!(bank.balances(&[0, 1]), [95, 105]);
    for text in [take(0, 5), take(1, -2), take(2, -3)] {
        client.parse("", &text, &[]).bind("", "", &[]).execute("", 0);
    }
    client.sync();
    let said = heard(&mut client);
    assert_eq!(said.matches("C UPDATE 1").count(), 3, "{said}");
    assert!(said.ends_with("Z I\n"), "{said}");
    assert_eq!(bank.balances(&[0, 1, 2]), [90, 107, 103]);
    assert_eq!(bank.records(), ["2", "0", "0"]);
    // An error in the pipeline leaves nothing of it.
    for text in [take(0, 5), take(1, -2), "SELECT 1/0".to_owned(), take(2, -3)] {
        client.parse("", &text, &[]).bind("", "", &[]).execute("", 0);
    }
    client.sync();
    let said = heard(&mut client);
    assert!(said.contains("C=22012") && said.ends_with("Z I\n"), "{said}");
    assert_eq!(bank.balances(&[0, 1, 2]), [90, 107, 103]);
    // COMMIT and CHAIN by Execute.
    for text in ["BEGIN", &take(0, 1), &take(1, -1), "COMMIT AND CHAIN", &take(2, 7)] {
        client.parse("", text, &[]).bind("", "", &[]).execute("", 0).sync();
    }
    let said = heard(&mut client);
    assert!(said.ends_with("Z T\n") && !said.contains("E V="), "{said}");
    client.query("ROLLBACK");
    assert_eq!(bank.balances(&[0, 1, 2]), [89, 108, 103]);
    assert_eq!(bank.left(), (0, 0));
}

#[test]
fn what_one_shard_refuses_at_the_end_happens_on_none() {
    let bank = Bank::new(3, 1, "");
    let both = |user: usize| {
        // Two rows of one shard with the same value of a column that is unique at the end.
        format!(
            "UPDATE accounts SET positive = true WHERE user_id = {user};\
             UPDATE accounts SET positive = true WHERE user_id = {}",
            user + 3
        )
    };
    let mut client = bank.client();
    for (broken, other) in [(0, 1), (1, 0), (1, 2), (2, 1)] {
        let said = run(&mut client, &["BEGIN", &take(other, 5), &both(broken), "COMMIT"]);
        assert!(said.contains("C=23505") && said.contains("n=accounts_positive_key"), "{said}");
        assert!(said.ends_with("Z I\n"), "{said}");
        assert_eq!(bank.balances(&[0, 1, 2]), [100; 3]);
    }
    assert_eq!(bank.left(), (0, 0));
    assert_eq!(bank.records(), ["0"; 3]);
    // The connections are as they were.
    assert_eq!(client.value("SELECT count(*) FROM accounts"), "16");
}

#[test]
fn savepoints_and_settings_reach_shards_that_join_later() {
    let bank = Bank::new(3, 1, "");
    let mut client = bank.client();
    let said = run(
        &mut client,
        &[
            "BEGIN ISOLATION LEVEL REPEATABLE READ",
            &take(0, 1),
            "SET LOCAL seq_page_cost = 2 -- a comment ends with its line",
            "SAVEPOINT a",
            "SET LOCAL work_mem = '1MB'",
            &take(1, 10),
            "SAVEPOINT b",
            &take(2, 100),
            "ROLLBACK TO a",
            &take(2, 1),
        ],
    );
    assert!(!said.contains("E V="), "{said}");
    let on_shard = |user: usize, setting: &str| {
        format!("SELECT current_setting('{setting}') FROM accounts WHERE user_id = {user}")
    };
    assert_eq!(client.value(&on_shard(2, "transaction_isolation")), "repeatable read");
    assert_eq!(client.value(&on_shard(2, "seq_page_cost")), "2");
    assert_eq!(client.value(&on_shard(1, "transaction_isolation")), "repeatable read");
    run(&mut client, &["COMMIT"]);
    assert_eq!(bank.balances(&[0, 1, 2]), [99, 100, 99]);
    let said = run(&mut client, &["BEGIN", "SET LOCAL work_mem = '1MB'", &take(0, 1)]);
    assert!(!said.contains("E V="), "{said}");
    assert_eq!(client.value(&on_shard(1, "work_mem")), "1MB");
    run(&mut client, &[&take(1, 1), "COMMIT"]);
    assert_eq!(client.value(&on_shard(1, "work_mem")), "4MB");
}

#[test]
fn a_serialization_failure_on_one_shard_undoes_the_others() {
    let bank = Bank::new(2, 1, "");
    let (mut one, mut two) = (bank.client(), bank.client());
    run(&mut one, &["BEGIN ISOLATION LEVEL REPEATABLE READ", &take(0, 5), &take(3, 0)]);
    run(&mut two, &[&take(1, 1)]);
    let said = run(&mut one, &[&take(1, -5), "COMMIT"]);
    assert!(said.contains("C=40001") && said.contains("C ROLLBACK"), "{said}");
    assert_eq!(bank.balances(&[0, 1]), [100, 99]);
    assert_eq!(bank.left(), (0, 0));
}

#[test]
fn a_transaction_may_be_prepared_by_another_role_than_the_clients() {
    let bank = Bank::new(2, 1, "");
    bank.cluster.on_every_shard("CREATE ROLE clerk; GRANT ALL ON accounts TO clerk");
    let mut client = Raw::connect(
        bank.weirs[0].port(),
        &[("user", "postgres"), ("database", DATABASE), ("options", "-c synchronous_commit=off")],
    );
    let clerk = ["BEGIN", "SET LOCAL ROLE clerk", &take(0, 5), &take(1, -5), "COMMIT"];
    let said = run(&mut client, &clerk);
    assert!(said.ends_with("C COMMIT\nZ I\n"), "{said}");
    assert_eq!(bank.balances(&[0, 1]), [95, 105]);
    bank.cluster.on_every_shard("CREATE ROLE teller LOGIN; GRANT clerk TO teller");
    let mut teller =
        Raw::connect(bank.weirs[0].port(), &[("user", "teller"), ("database", DATABASE)]);
    let said = run(&mut teller, &clerk);
    assert!(said.ends_with("C COMMIT\nZ I\n"), "COMMIT PREPARED is weir's own: {said}");
    assert_eq!(bank.balances(&[0, 1]), [90, 110]);
    assert_eq!(bank.left(), (0, 0));
    assert_eq!(teller.value("SELECT * FROM weir.commit_record"), "42P01", "it is weir's own");
}

#[test]
fn what_cannot_be_prepared_is_refused_with_a_hint_unless_it_is_on_the_deciding_shard() {
    let bank = Bank::new(3, 1, "");
    let mut client = bank.client();
    let said = run(&mut client, &["BEGIN", &take(0, 1), "NOTIFY news", &take(1, -1), "COMMIT"]);
    assert!(said.ends_with("C COMMIT\nZ I\n"), "NOTIFY runs on the home shard: {said}");
    let said = run(&mut client, &["BEGIN", &take(2, 1), "NOTIFY news", &take(1, -1), "COMMIT"]);
    assert!(said.ends_with("C COMMIT\nZ I\n"), "{said}");
    let said = run(
        &mut client,
        &["BEGIN", &take(2, 1), "CREATE TEMP TABLE own (n int)", &take(1, -1), "COMMIT"],
    );
    assert!(said.ends_with("C COMMIT\nZ I\n"), "the shard with the temporary table: {said}");
    assert_eq!(bank.balances(&[0, 1, 2]), [99, 103, 98]);
    // A trigger that says something on both.
    bank.cluster.on_every_shard(
        "CREATE FUNCTION say() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN PERFORM pg_notify('news', ''); RETURN NULL; END $$;\
         CREATE TRIGGER say AFTER UPDATE ON accounts EXECUTE FUNCTION say()",
    );
    let mut client = bank.client();
    let said = run(&mut client, &["BEGIN", &take(1, 1), &take(2, -1), "COMMIT"]);
    assert!(said.contains("C=0A000") && said.contains("H=temporary tables, NOTIFY"), "{said}");
    assert_eq!(bank.balances(&[0, 1, 2]), [99, 103, 98]);
    assert_eq!(bank.left(), (0, 0));
}

/// The query of a cursor runs when it is fetched from, and may write or lock.
#[test]
fn what_a_cursors_query_writes_is_committed_with_the_rest() {
    let cluster = Cluster::start(2);
    cluster.on_every_shard(
        "SET check_function_bodies = off; CREATE FUNCTION pay(amount int, payer bigint) RETURNS bigint LANGUAGE sql AS \
         'UPDATE accounts SET balance = balance - amount, positive = true \
          WHERE user_id IN (payer, payer + 2) RETURNING user_id'",
    );
    let bank = Bank::with(cluster, 1, "", "[functions]\npay = []\n");
    let mut client = bank.client();
    let cursor = "DECLARE paid CURSOR FOR SELECT pay(5, user_id) FROM accounts WHERE user_id = 1";
    for by_messages in [false, true] {
        run(&mut client, &["BEGIN", &take(0, -5)]);
        match by_messages {
            false => drop(client.query(cursor)),
            true => {
                client.parse("", cursor, &[]).bind("", "", &[]).execute("", 0).sync();
            }
        }
        // Two rows with the same value of a column that is unique at the end.
        let said = run(&mut client, &["FETCH ALL FROM paid", "COMMIT"]);
        assert!(said.contains("FETCH 1") && said.contains("C=23505"), "{said}");
        assert_eq!(bank.balances(&[0, 1, 3]), [100; 3]);
    }
    assert_eq!(bank.left(), (0, 0));
}
