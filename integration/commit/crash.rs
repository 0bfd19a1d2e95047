//! weir is killed, or a shard is, exactly at each durable step of commit and of recovery. All of these are
//! things that weir says to a shard, so they are caught on the line, before the shard hears them or before
//! weir hears the answer: what runs is the program as it is shipped.
use super::gate::{Gate, When};
use super::*;
use crate::weir::wait_for;
use std::thread::{self, JoinHandle};

/// Who dies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Dies {
    Weir,
    /// The shard at the end of that line, with kill -9; it is started again.
    Shard,
}

/// What is left of the transaction when all is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Left {
    All,
    Nothing,
}

const QUICK: &str = "[recovery]\ninterval = '100ms'\ngrace = '1ms'\n";
const SLOW: &str = "[recovery]\ninterval = '300ms'\ngrace = '20s'\n";

struct Stage {
    // Dropped in this order.
    bank: Bank,
    gates: Vec<Gate>,
    /// How much user 0 has given to user 1 and user 2.
    given: i64,
    /// How many users of s0 have moved to s1.
    moved: usize,
}

impl Stage {
    fn new() -> Self {
        let bank = Bank::new(3, 0, "");
        let gates = bank.cluster.shards().iter().map(|shard| Gate::new(shard.port())).collect();
        Self { bank, gates, given: 0, moved: 0 }
    }

    /// One that reaches the shards through the gates.
    fn weir(&self, recovery: &str) -> Weir {
        let ports: Vec<u16> = self.gates.iter().map(|gate| gate.port()).collect();
        Weir::with_rules(&self.bank.cluster, &rules(&ports, ""), &format!("{SETTINGS}{recovery}"))
    }

    /// User 0, whose shard decides, gives 1 to user 1 and to user 2.
    fn transfer(&self, weir: &Weir) -> JoinHandle<String> {
        let port = weir.port();
        thread::spawn(move || {
            let mut client = Raw::connect(port, &[("user", "postgres"), ("database", DATABASE)]);
            client.patient(std::time::Duration::from_secs(30));
            run(&mut client, &["BEGIN", &take(0, 2), &take(1, -1), &take(2, -1)]);
            client.query("COMMIT");
            client.take_transcript()
        })
    }

    fn die(&mut self, who: Dies, weir: &mut Weir, shard: usize) {
        match who {
            Dies::Weir => weir.kill(),
            Dies::Shard => self.bank.cluster.kill(shard),
        }
        self.gates[shard].open();
        if who == Dies::Shard {
            self.bank.cluster.restart(shard);
        }
    }

    /// Nothing is in doubt any more, and all of the transaction is there or nothing.
    #[track_caller]
    fn check(&mut self, answer: &str, expected: Left, what: &str) {
        wait_for("recovery", || self.bank.left() == (0, 0));
        self.given += i64::from(expected == Left::All);
        let balances = self.bank.balances(&[0, 1, 2]);
        let given = self.given;
        assert_eq!(balances, [100 - 2 * given, 100 + given, 100 + given], "{what}: {answer}");
        let acknowledged = answer.contains("C COMMIT");
        assert!(!acknowledged || expected == Left::All, "{what}: {answer}");
        let refused = answer.contains("E V=");
        let unknown = answer.contains("C=08007");
        assert!(!refused || unknown || expected == Left::Nothing, "{what}: {answer}");
    }

    /// Dies at one step of COMMIT.
    fn at_commit(&mut self, dies: Dies, step: (usize, &str, When), expected: Left) {
        let (shard, word, when) = step;
        let what = format!("{dies:?} dies {when:?} {word} on s{shard}");
        let mut weir = self.weir(SLOW);
        self.gates[shard].arm(word, when);
        let client = self.transfer(&weir);
        self.gates[shard].wait();
        self.die(dies, &mut weir, shard);
        let answer = client.join().unwrap();
        let second = (dies == Dies::Weir).then(|| self.weir(QUICK));
        self.check(&answer, expected, &what);
        if dies == Dies::Shard && expected == Left::All {
            assert!(answer.contains("C COMMIT"), "{what}: {answer}");
        }
        drop((weir, second));
    }

    /// Dies while an UPDATE of the key moves a row from s0 to s1.
    fn at_move(&mut self, dies: Dies, step: (usize, &str, When), expected: Left) {
        let (shard, word, when) = step;
        let what = format!("{dies:?} dies {when:?} {word} on s{shard}");
        let mut weir = self.weir(SLOW);
        let from = 3 * (1 + self.moved);
        let to = from + 100;
        self.gates[shard].arm(word, when);
        let port = weir.port();
        let client = thread::spawn(move || {
            let mut client = Raw::connect(port, &[("user", "postgres"), ("database", DATABASE)]);
            client.patient(std::time::Duration::from_secs(30));
            client.query(&format!("UPDATE accounts SET user_id = {to} WHERE user_id = {from}"));
            client.take_transcript()
        });
        self.gates[shard].wait();
        self.die(dies, &mut weir, shard);
        let answer = client.join().unwrap();
        let second = (dies == Dies::Weir).then(|| self.weir(QUICK));
        wait_for("recovery", || self.bank.left() == (0, 0));
        let of = format!("FROM accounts WHERE user_id IN ({from}, {to}) AND balance = 100");
        let places =
            self.bank.on_all(&format!("SELECT coalesce(string_agg(user_id::text, ' '), '-') {of}"));
        let (from, to, nowhere) = (from.to_string(), to.to_string(), "-".to_owned());
        match expected {
            Left::Nothing => {
                assert_eq!(places, [from, nowhere.clone(), nowhere], "{what}: {answer}")
            }
            Left::All => assert_eq!(places, [nowhere.clone(), to, nowhere], "{what}: {answer}"),
        }
        assert!(!answer.contains("C UPDATE") || expected == Left::All, "{what}: {answer}");
        self.moved += usize::from(expected == Left::All);
        drop((weir, second));
    }

    /// weir dies at one step of COMMIT, and then another one, or a shard, while it recovers.
    fn at_recovery(&mut self, dies: Dies, step: (usize, &str, When), decided: Left) {
        let (shard, word, when) = step;
        let what = format!("{dies:?} dies {when:?} {word} on s{shard}, {decided:?} decided");
        let mut weir = self.weir(SLOW);
        let (first, said) = match decided {
            Left::All => (1, "COMMIT PREPARED"),
            Left::Nothing => (0, "INSERT INTO weir.commit_record"),
        };
        self.gates[first].arm(said, When::Before);
        let client = self.transfer(&weir);
        self.gates[first].wait();
        self.die(Dies::Weir, &mut weir, first);
        let answer = client.join().unwrap();
        self.gates[shard].arm(word, when);
        let mut second = self.weir(QUICK);
        self.gates[shard].wait();
        self.die(dies, &mut second, shard);
        let third = (dies == Dies::Weir).then(|| self.weir(QUICK));
        self.check(&answer, decided, &what);
        drop((weir, second, third));
    }
}

const COMMIT_STEPS: [(usize, &str, When, Left); 6] = [
    (1, "PREPARE TRANSACTION", When::Before, Left::Nothing),
    (1, "PREPARE TRANSACTION", When::After, Left::Nothing),
    (0, "INSERT INTO weir.commit_record", When::Before, Left::Nothing),
    (0, "INSERT INTO weir.commit_record", When::After, Left::All),
    (1, "COMMIT PREPARED", When::Before, Left::All),
    (1, "COMMIT PREPARED", When::After, Left::All),
];

const MOVE_STEPS: [(usize, &str, When, Left); 4] = [
    (0, "DELETE FROM", When::After, Left::Nothing),
    (1, "INSERT INTO \"public\".\"accounts\"", When::After, Left::Nothing),
    (1, "PREPARE TRANSACTION", When::After, Left::Nothing),
    (0, "INSERT INTO weir.commit_record", When::After, Left::All),
];

/// The anchor is asked for the record under its key, which ends with the anchor's name.
const RECOVERY_STEPS: [(usize, &str, When, Left); 8] = [
    (0, "_s0", When::Before, Left::Nothing),
    (0, "_s0", When::After, Left::Nothing),
    (0, "_s0", When::Before, Left::All),
    (0, "_s0", When::After, Left::All),
    (1, "ROLLBACK PREPARED", When::Before, Left::Nothing),
    (1, "ROLLBACK PREPARED", When::After, Left::Nothing),
    (1, "COMMIT PREPARED", When::Before, Left::All),
    (1, "COMMIT PREPARED", When::After, Left::All),
];

#[test]
fn weir_killed_at_any_step_of_commit_leaves_all_or_nothing() {
    let mut stage = Stage::new();
    for (shard, word, when, expected) in COMMIT_STEPS {
        stage.at_commit(Dies::Weir, (shard, word, when), expected);
    }
}

#[test]
fn a_shard_killed_at_any_step_of_commit_leaves_all_or_nothing() {
    let mut stage = Stage::new();
    for (shard, word, when, expected) in COMMIT_STEPS {
        stage.at_commit(Dies::Shard, (shard, word, when), expected);
    }
}

#[test]
fn weir_killed_at_any_step_of_recovery_leaves_it_to_the_next() {
    let mut stage = Stage::new();
    for (shard, word, when, decided) in RECOVERY_STEPS {
        stage.at_recovery(Dies::Weir, (shard, word, when), decided);
    }
}

#[test]
fn a_shard_killed_at_any_step_of_recovery_is_recovered_when_it_is_back() {
    let mut stage = Stage::new();
    for (shard, word, when, decided) in RECOVERY_STEPS {
        stage.at_recovery(Dies::Shard, (shard, word, when), decided);
    }
}

/// The anchor stays away for longer than the client is made to wait.
#[test]
fn a_client_whose_anchor_stays_away_is_told_that_nobody_knows() {
    let mut stage = Stage::new();
    for (when, expected) in [(When::Before, Left::Nothing), (When::After, Left::All)] {
        let weir = stage.weir(&format!("{SLOW}[timeouts]\nresolution = '1s'\n"));
        stage.gates[0].arm("INSERT INTO weir.commit_record", when);
        let client = stage.transfer(&weir);
        stage.gates[0].wait();
        stage.bank.cluster.kill(0);
        stage.gates[0].open();
        let answer = client.join().unwrap();
        assert!(answer.contains("C=08007") && answer.contains("Z I"), "{when:?}: {answer}");
        assert!(answer.contains("the outcome of COMMIT is unknown"), "{when:?}: {answer}");
        let prepared =
            |shard| stage.bank.beside(shard).value("SELECT count(*) FROM pg_prepared_xacts");
        assert_eq!([1, 2].map(prepared), ["1", "1"], "{when:?}: what is prepared waits");
        stage.bank.cluster.restart(0);
        stage.check(&answer, expected, &format!("{when:?} the decision"));
        drop(weir);
    }
}

/// What was written is committed: a server that was only read takes nothing back.
#[test]
fn a_shard_that_was_only_read_and_is_lost_behind_the_commit_is_no_error() {
    let stage = Stage::new();
    let weir = stage.weir(SLOW);
    let mut client = Raw::connect(weir.port(), &[("user", "postgres"), ("database", DATABASE)]);
    let read = "SELECT balance FROM accounts WHERE user_id = 1";
    run(&mut client, &["BEGIN", &take(0, 1), read]);
    stage.gates[1].arm("COMMIT", When::Before);
    client.ask("COMMIT");
    stage.gates[1].wait();
    stage.gates[1].open();
    client.await_ready();
    let said = heard(&mut client);
    assert!(said.starts_with("C COMMIT\n") && said.ends_with("Z I\n"), "{said}");
    assert!(!said.contains("E V="), "{said}");
    assert_eq!(stage.bank.balances(&[0]), [99]);
    // The same in a pipeline: its end is a Sync.
    for text in [&take(0, 1), read] {
        client.parse("", text, &[]).bind("", "", &[]).execute("", 0);
    }
    client.flush(7);
    stage.gates[1].arm("S\0\0\0\u{4}", When::Before);
    client.put(b'S', b"").send();
    stage.gates[1].wait();
    stage.gates[1].open();
    client.await_ready();
    let said = heard(&mut client);
    assert!(said.contains("C UPDATE 1\n") && said.ends_with("Z I\n"), "{said}");
    assert!(!said.contains("E V="), "{said}");
    assert_eq!(stage.bank.balances(&[0]), [98]);
    assert_eq!(client.value(read), "100", "over another connection");
}

/// With that server goes what the session has there, so the session ends; but it is told first what became of
/// its transaction.
#[test]
fn a_session_that_loses_its_temporary_tables_in_a_commit_hears_of_the_commit_first() {
    let mut stage = Stage::new();
    let weir = stage.weir(&format!("{SLOW}[timeouts]\nresolution = '1s'\n"));
    // The one writer, then the anchor of two.
    for (others, word) in [(&[][..], "COMMIT"), (&[1], "INSERT INTO weir.commit_record")] {
        let mut client = Raw::connect(weir.port(), &[("user", "postgres"), ("database", DATABASE)]);
        client.patient(std::time::Duration::from_secs(30));
        run(&mut client, &["CREATE TEMP TABLE own (n int)", "BEGIN", &take(0, 1)]);
        for other in others {
            run(&mut client, &[&take(*other, -1)]);
        }
        stage.gates[0].arm(word, When::Before);
        client.ask("COMMIT");
        stage.gates[0].wait();
        stage.bank.cluster.kill(0);
        stage.gates[0].open();
        let said = heard(client.hear_the_end());
        let (first, rest) = said.split_once('\n').unwrap();
        assert!(first.contains("V=ERROR C=08007") || first.contains("V=FATAL C=08007"), "{said}");
        assert!(!rest.contains("Z "), "{said}");
        stage.bank.cluster.restart(0);
        wait_for("recovery", || stage.bank.left() == (0, 0));
        assert_eq!(stage.bank.balances(&[0, 1]), [100, 100], "{said}");
    }
}

#[test]
fn a_row_that_moves_is_on_one_shard_whoever_dies() {
    let mut stage = Stage::new();
    for dies in [Dies::Weir, Dies::Shard] {
        for (shard, word, when, expected) in MOVE_STEPS {
            stage.at_move(dies, (shard, word, when), expected);
        }
    }
}
