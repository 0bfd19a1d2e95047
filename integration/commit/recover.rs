//! What is left behind, seen and finished: by hand and by itself.
use super::*;
use crate::weir::{said, wait_for};
use std::time::Duration;
use weir::backend::commit_record::{self, Verdict};
use weir::cli::servers::Servers;
use weir::txn::two_phase::Key;

const NEVER: &str = "[recovery]\ninterval = '1h'\n";
const QUICK: &str = "[recovery]\ninterval = '100ms'\ngrace = '1ms'\n[console]\nadmins = ['boss']\n";

impl Bank {
    /// Leaves behind what a weir would that died before step 3: user 1 has got 7.
    fn leave(&self, number: u128) -> Key {
        let cluster = self.beside(0).value("SELECT cluster FROM weir.placement");
        let key = Key::new(&cluster, number, "s0");
        let mut side = self.beside(1);
        let user = 1 + 2 * number;
        let change = format!("UPDATE accounts SET balance = balance + 7 WHERE user_id = {user}");
        side.query("BEGIN").query(&change);
        side.query(&format!("PREPARE TRANSACTION '{}'", key.on("s1")));
        assert!(side.take_transcript().contains("C PREPARE"));
        key
    }

    fn decide(&self, key: &Key) -> String {
        let sql = "INSERT INTO weir.commit_record (transaction, committed) VALUES";
        self.beside(0).value(&format!("{sql} ('{key}', true) RETURNING 'decided'"))
    }

    fn in_doubt(&self) -> bool {
        let page = self.weirs[0].page("/metrics").unwrap();
        page.contains(&format!("weir_transactions_in_doubt{{database=\"{DATABASE}\"}} 1"))
    }
}

#[test]
fn weir_recover_says_what_it_would_do_and_does_it() {
    let bank = Bank::new(2, 1, NEVER);
    let recover = |more: &[&str]| {
        let command = [&["recover", "--rules", "rules.toml"], more].concat();
        let output = bank.weirs[0].home().run(&command);
        assert!(output.status.success(), "{}", said(&output));
        said(&output)
    };
    assert_eq!(recover(&[]), "no transaction is in doubt\n");
    let (decided, undecided) = (bank.leave(0), bank.leave(1));
    assert_eq!(bank.decide(&decided), "decided");
    let young = recover(&["--grace", "3600"]);
    assert_eq!(young.matches("is young").count(), 2, "{young}");
    for _ in 0..2 {
        let dry = recover(&["--dry-run", "--grace", "0"]);
        assert!(dry.contains(&format!("{}: would be committed", decided.on("s1"))), "{dry}");
        assert!(dry.contains(&format!("{}: is undecided", undecided.on("s1"))), "{dry}");
    }
    let done = recover(&["--grace", "0"]);
    assert!(done.contains(&format!("{}: was committed", decided.on("s1"))), "{done}");
    assert!(done.contains(&format!("{}: was rolled back", undecided.on("s1"))), "{done}");
    assert_eq!(bank.balances(&[1, 3]), [107, 100]);
    assert_eq!(bank.left(), (0, 0));
    assert_eq!(bank.decide(&undecided), "23505", "it can never commit any more");
}

#[test]
fn a_transaction_in_doubt_is_shown_until_its_anchor_is_back() {
    let mut bank = Bank::new(2, 1, QUICK);
    bank.cluster.kill(0);
    let cluster = bank.beside(1).value("SELECT cluster FROM weir.placement");
    let gid = Key::new(&cluster, 5, "s0").on("s1").to_string();
    let mut side = bank.beside(1);
    side.query("BEGIN").query("UPDATE accounts SET balance = 0 WHERE user_id = 1");
    side.query(&format!("PREPARE TRANSACTION '{gid}'"));
    wait_for("the metric", || bank.in_doubt());
    let mut console = Raw::connect(bank.weirs[0].port(), &[("user", "boss"), ("database", "weir")]);
    let shown = run(&mut console, &["SHOW TRANSACTIONS"]);
    assert!(shown.contains(&gid) && shown.contains("in doubt"), "{shown}");
    bank.cluster.restart(0);
    wait_for("recovery", || bank.left() == (0, 0));
    assert_eq!(bank.balances(&[1]), [100]);
    wait_for("the metric's end", || !bank.in_doubt());
    let page = bank.weirs[0].page("/metrics").unwrap();
    assert!(page.contains("weir_recovered_total{database=\"shop\",outcome=\"rolled_back\"} 1"));
}

#[tokio::test]
async fn weirs_user_finishes_what_roles_have_prepared_that_it_is_a_member_of() {
    let bank = Bank::new(2, 1, NEVER);
    for shard in 0..2 {
        bank.beside(shard).query(
            "CREATE ROLE app LOGIN; CREATE ROLE \"Odd one\" LOGIN; CREATE ROLE keeper LOGIN; \
             GRANT app TO keeper; GRANT ALL ON accounts TO app, \"Odd one\"",
        );
    }
    let prepare = |role: &str, user: usize| {
        let key = Key::new("7f2c1f0e-9a54-4be8-8d3c-0123456789ab", user as u128, "s0");
        let gid = key.on("s1").to_string();
        let mut side = bank.beside(1);
        side.query(&format!("SET ROLE {role}")).query("BEGIN").query(&take(user, 1));
        side.query(&format!("PREPARE TRANSACTION '{gid}'"));
        assert!(side.take_transcript().contains("C PREPARE"));
        gid
    };
    let gids = [prepare("app", 1), prepare("\"Odd one\"", 3)];
    let ports: Vec<u16> = bank.cluster.shards().iter().map(|shard| shard.port()).collect();
    let rules =
        weir::rules::parse(&rules(&ports, ""), "rules.toml").unwrap_or_else(|p| panic!("{p}"));
    let clients = Servers::new("keeper").connect(&rules).await.unwrap();
    assert_eq!(commit_record::strangers(&clients[1]).await.unwrap(), ["Odd one"]);
    let finish = async |gid: &str| {
        let patience = Duration::from_secs(5);
        commit_record::finish(&clients[1], gid, Verdict::Committed, patience).await
    };
    let members = finish(&gids[0]).await;
    let strangers = finish(&gids[1]).await;
    assert_eq!(members, Ok(()));
    assert_eq!(strangers.unwrap_err().code.as_str(), "42501");
    assert_eq!(bank.balances(&[1, 3]), [99, 100]);
    bank.beside(1).query(&format!("ROLLBACK PREPARED '{}'", gids[1]));
    // The one that serves is a superuser: it has nothing to say.
    assert!(!bank.weirs[0].log().contains("cannot finish"));
}

#[test]
fn old_records_are_deleted() {
    let bank = Bank::new(2, 1, QUICK);
    let mut client = bank.client();
    for _ in 0..2 {
        run(&mut client, &["BEGIN", &take(0, 1), &take(1, -1), "COMMIT"]);
    }
    assert_eq!(bank.records(), ["2", "0"]);
    bank.beside(0).query(
        "UPDATE weir.commit_record SET recorded = recorded - interval '2 days' \
         WHERE transaction = (SELECT min(transaction) FROM weir.commit_record)",
    );
    wait_for("the old record's end", || bank.records() == ["1", "0"]);
}
