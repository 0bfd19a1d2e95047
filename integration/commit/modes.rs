//! What kind of transaction it is: read only, isolation, chained; said at any time and in any words, on
//! shards that have joined and on those that join later. What one PostgreSQL can say is compared with it.
use super::*;

/// Two rows of the user's shard with the same value of a column that is unique at the end.
fn broken(user: usize) -> String {
    format!(
        "UPDATE accounts SET positive = true WHERE user_id = {user};\
         UPDATE accounts SET positive = true WHERE user_id = {}",
        user + 2
    )
}

#[test]
fn what_has_written_commits_together_whatever_is_said_of_the_transaction_later() {
    let bank = Bank::new(2, 1, "");
    let mut client = bank.client();
    let read_only = [
        "SET TRANSACTION READ ONLY",
        "SET transaction_read_only = on",
        "SET LOCAL transaction_read_only TO on",
        "BEGIN READ ONLY",
        "SET default_transaction_read_only = on",
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
    ];
    for later in read_only {
        for (fine, wrong) in [(0, 1), (1, 0)] {
            let script = ["BEGIN", &take(fine, 5), &broken(wrong), later, "COMMIT"];
            let said = run(&mut client, &script);
            assert!(said.contains("C=23505") && said.ends_with("Z I\n"), "{later}: {said}");
            assert_eq!(bank.balances(&[0, 1]), [100, 100], "{later}");
        }
    }
    // Where the decision itself could not be written down: nothing, and why.
    let script = ["BEGIN", &take(0, 5), &take(1, -5), "SET TRANSACTION READ ONLY", "COMMIT"];
    let said = run(&mut client, &script);
    assert!(said.contains("C=0A000") && said.contains("H=leave out READ ONLY"), "{said}");
    assert!(said.ends_with("Z I\n"), "{said}");
    assert_eq!((bank.balances(&[0, 1]), bank.left()), (vec![100, 100], (0, 0)));
    // The next transactions may be READ ONLY: that one is not.
    let all = "SET default_transaction_read_only = on";
    let said = run(&mut client, &["BEGIN", &take(0, 5), all, &take(1, -5), "COMMIT"]);
    assert!(said.ends_with("C COMMIT\nZ I\n"), "{said}");
    assert_eq!(bank.balances(&[0, 1]), [95, 105]);
    assert_eq!(client.value("SELECT count(*) FROM accounts WHERE user_id = 0"), "1");
    assert!(run(&mut client, &[&take(0, 1)]).contains("C=25006"));
    run(&mut client, &["RESET default_transaction_read_only"]);
    // READ ONLY at first, and then not.
    let words = ["SET transaction_read_only = off", "SET TRANSACTION READ WRITE"];
    for write in words.into_iter().chain(["RESET transaction_read_only"]) {
        let script = ["BEGIN READ ONLY", write, &take(0, 5), &broken(1), "COMMIT"];
        let said = run(&mut client, &script);
        assert!(said.contains("C=23505") && said.ends_with("Z I\n"), "{write}: {said}");
        assert_eq!(bank.balances(&[0, 1]), [95, 105], "{write}");
    }
    assert_eq!(bank.left(), (0, 0));
}

#[test]
fn a_shard_that_joins_later_begins_as_the_transaction_has_begun() {
    let bank = Bank::new(2, 1, "");
    let (mut client, mut other) = (bank.client(), bank.client());
    let level = "SELECT current_setting('transaction_isolation') FROM accounts WHERE user_id = 1";
    let balance = "SELECT balance FROM accounts WHERE user_id = 1";
    let later = "SET default_transaction_isolation = 'repeatable read'";
    run(&mut client, &["BEGIN", &take(0, 1), later]);
    assert_eq!(client.value(level), "read committed");
    assert_eq!(client.value("SHOW default_transaction_isolation"), "repeatable read");
    assert_eq!(client.value(balance), "100");
    run(&mut other, &[&take(1, 1)]);
    assert_eq!(client.value(balance), "99", "each statement sees what is committed");
    // The chained transaction is as the one before.
    run(&mut client, &["COMMIT AND CHAIN"]);
    assert_eq!(client.value(level), "read committed");
    run(&mut client, &["COMMIT", "BEGIN"]);
    assert_eq!(client.value(level), "repeatable read");
    run(&mut client, &["ROLLBACK", "RESET default_transaction_isolation"]);
    let said = run(&mut client, &["BEGIN", "SET transaction_isolation = 'repeatable read'"]);
    assert!(said.ends_with("C SET\nZ T\n"), "{said}");
    assert_eq!(client.value(level), "repeatable read");
    run(&mut client, &["COMMIT AND CHAIN"]);
    assert_eq!(client.value(level), "repeatable read");
    run(&mut client, &["COMMIT"]);
    assert_eq!(bank.balances(&[0, 1]), [99, 99]);
}

/// Said as it is, by simple queries.
const SAME: &[&[&str]] = &[
    &["SELECT 1; COMMIT AND CHAIN"],
    &["SELECT 1; ROLLBACK AND CHAIN", "SHOW transaction_isolation"],
    &["COMMIT AND CHAIN"],
    &["BEGIN", "BEGIN READ ONLY", "SHOW transaction_read_only", "COMMIT"],
    &["BEGIN", "SELECT 1", "BEGIN ISOLATION LEVEL SERIALIZABLE", "COMMIT"],
    &[
        "BEGIN",
        "SET LOCAL work_mem = '1MB'",
        "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        "SHOW transaction_isolation",
        "COMMIT",
    ],
    &[
        "BEGIN",
        "SET search_path = public",
        "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        "COMMIT",
    ],
    &[
        "BEGIN",
        "SET transaction_read_only = off",
        "SET transaction_isolation = 'serializable'",
        "SHOW transaction_isolation",
        "COMMIT AND CHAIN",
        "SHOW transaction_isolation",
        "COMMIT",
    ],
    &["SET transaction_isolation = 'serializable'", "SHOW transaction_isolation"],
    &["SET transaction_isolation = 'nonsense'"],
    &["BEGIN READ ONLY; COMMIT AND CHAIN", "SHOW transaction_read_only", "ROLLBACK"],
    &[
        "SET default_transaction_isolation = 'serializable'; BEGIN",
        "SHOW transaction_isolation",
        "COMMIT AND CHAIN",
        "SHOW transaction_isolation",
        "COMMIT",
        "BEGIN",
        "SHOW transaction_isolation",
        "COMMIT",
        "RESET default_transaction_isolation",
    ],
    &["BEGIN; SELECT 1; COMMIT; BEGIN; SELECT 2; ROLLBACK; SELECT 3"],
    &["/* one */ START TRANSACTION /* two */ READ ONLY -- three", "COMMIT /* four */"],
    &["BEGIN /* x */", "END -- done"],
    &[
        "BEGIN TRANSACTION /* x */ ISOLATION LEVEL /* y */ SERIALIZABLE",
        "SHOW transaction_isolation",
        "ABORT",
    ],
    &["START TRANSACTION", "ABORT AND CHAIN", "COMMIT AND NO CHAIN"],
];

#[test]
fn what_is_said_of_a_transaction_is_answered_as_by_postgres() {
    let bank = Bank::new(2, 1, "");
    let oracle = bank.cluster.oracle();
    let plain = || Raw::connect(oracle.port(), &[("user", "postgres"), ("database", DATABASE)]);
    let (mut plain, mut client) = (plain(), bank.client());
    for script in SAME {
        let (expected, heard) = (run(&mut plain, script), run(&mut client, script));
        assert_eq!(heard, expected, "{script:?}");
    }
}

#[test]
fn set_local_takes_no_snapshot() {
    let bank = Bank::new(2, 1, "");
    let (mut client, mut other) = (bank.client(), bank.client());
    run(&mut client, &["BEGIN ISOLATION LEVEL REPEATABLE READ", "SET LOCAL work_mem = '1MB'"]);
    run(&mut other, &[&take(0, 1)]);
    assert_eq!(client.value("SELECT balance FROM accounts WHERE user_id = 0"), "99");
    run(&mut client, &["COMMIT"]);
}

#[test]
fn a_default_of_the_databases_counts_as_if_clients_had_said_it() {
    let bank = Bank::new(2, 1, "[recovery]\ninterval = '100ms'\n");
    let default = |level: &str| {
        let alter =
            format!("ALTER DATABASE {DATABASE} SET default_transaction_isolation = '{level}'");
        bank.cluster.on_every_shard(&alter);
    };
    default("serializable");
    let sum = "SELECT sum(balance) FROM accounts";
    crate::weir::wait_for("the refusal", || bank.client().value(sum) == "0A000");
    let mut client = bank.client();
    assert_eq!(client.value("SELECT balance FROM accounts WHERE user_id = 1"), "100");
    run(&mut client, &["BEGIN", &take(0, 1)]);
    assert_eq!(client.value("SELECT balance FROM accounts WHERE user_id = 1"), "0A000");
    run(&mut client, &["ROLLBACK", "SET default_transaction_isolation = 'read committed'"]);
    assert_eq!(client.value(sum), "1600");
    default("read committed");
    crate::weir::wait_for("the end of the refusal", || bank.client().value(sum) == "1600");
}

/// Which column is the key decides where a row goes.
#[test]
fn what_a_savepoint_undoes_of_the_schema_is_undone_for_what_follows() {
    let bank = Bank::new(2, 1, "");
    let mut client = bank.client();
    for release in [false, true] {
        let id = if release { 3 } else { 1 };
        run(&mut client, &["BEGIN", "SAVEPOINT a", "ALTER TABLE entries DROP COLUMN id"]);
        if release {
            run(&mut client, &["SAVEPOINT b", "RELEASE b"]);
        }
        let insert = format!("INSERT INTO entries VALUES ({id}, 2)");
        let said = run(&mut client, &["ROLLBACK TO a", &insert, "COMMIT"]);
        assert!(said.ends_with("C COMMIT\nZ I\n"), "{said}");
        assert_eq!(
            client.value(&format!("SELECT id FROM entries WHERE user_id = 2 AND id = {id}")),
            id.to_string()
        );
    }
    assert_eq!(bank.on_all("SELECT count(*) FROM entries"), ["2", "0"]);
}
