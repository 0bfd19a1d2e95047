//! Rows that many clients lock at once: they wait in weir, where they hold no server connection.
use crate::cluster::{Cluster, DATABASE};
use crate::raw::Raw;
use crate::weir::{Weir, wait_for};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

const FIXTURE: &str = "\
    CREATE TABLE orders (user_id bigint); \
    CREATE TABLE stock (product_id bigint, place text, amount int, PRIMARY KEY (product_id, place)); \
    INSERT INTO stock SELECT i, 'A', 1000 FROM generate_series(1, 50) i";
/// As a client writes it that locks the hot row, and takes one away.
const TAKE: &str = "BEGIN; \
    SELECT amount FROM stock WHERE product_id = 1 AND place = 'A' FOR UPDATE; \
    UPDATE stock SET amount = amount - 1 WHERE product_id = 1 AND place = 'A'; \
    COMMIT";
const LOCK: &str = "SELECT amount FROM stock WHERE place = 'A' AND product_id = '1' FOR UPDATE";
const LEFT: &str = "SELECT amount FROM stock WHERE product_id = 1";

struct Shop {
    // Dropped in this order.
    weir: Weir,
    cluster: Cluster,
}

impl Shop {
    /// Four connections for everybody.
    fn new(settings: &str) -> Self {
        let cluster = Cluster::start(1);
        cluster.shard(0).sql(DATABASE, FIXTURE).unwrap();
        let rules = format!(
            "database = '{DATABASE}'\n[[shard]]\nname = 's0'\n\
             primary = 'host=127.0.0.1 port={} dbname={DATABASE}'\n\
             [[distribution]]\nname = 'by_user'\nfunction = 'modulo'\nkey_type = 'bigint'\nbuckets = 4\n\
             [[table]]\nname = 'orders'\ndistribution = 'by_user'\nkey = 'user_id'\n\
             [[table]]\nname = 'stock'\nshard = 's0'\nhot_key = ['product_id', 'place']\n",
            cluster.shard(0).port()
        );
        let settings = format!(
            "workers = 2\n[auth]\nmethod = 'trust'\n[pool]\nsize = 4\n\
             [timeouts]\ncheckout = '100s'\n{settings}"
        );
        Self { weir: Weir::with_rules(&cluster, &rules, &settings), cluster }
    }

    fn client(&self) -> Raw {
        Raw::connect(self.weir.port(), &[("user", "postgres"), ("database", DATABASE)])
    }

    /// A client that holds the hot row's lock.
    fn holder(&self) -> Raw {
        let mut holder = self.client();
        holder.query("BEGIN");
        assert_eq!(holder.value(LOCK), "1000");
        holder
    }

    /// A client of the server itself.
    fn beside(&self) -> Raw {
        let port = self.cluster.shard(0).port();
        Raw::connect(port, &[("user", "postgres"), ("database", DATABASE)])
    }

    fn wait_for_waiting(&self, count: usize) {
        let line = format!("weir_hot_row_waiting{{database=\"{DATABASE}\"}} {count}\n");
        wait_for(&line, || self.weir.page("/metrics").is_some_and(|page| page.contains(&line)));
    }
}

#[test]
fn forty_clients_that_lock_one_row_hold_one_connection_and_others_go_on() {
    let shop = Shop::new("");
    let mut beside = shop.beside();
    let mut holder = shop.holder();
    let mut takers: Vec<Raw> = (0..39).map(|_| shop.client()).collect();
    for taker in &mut takers {
        taker.ask(TAKE);
    }
    shop.wait_for_waiting(takers.len());
    let busy = "SELECT count(*) FROM pg_stat_activity \
                WHERE query LIKE '%stock%' AND state <> 'idle' AND pid <> pg_backend_pid()";
    assert_eq!(beside.value(busy), "1", "only the holder is on the server");
    let mut other = shop.client();
    for product in 2..=50 {
        let read = format!("SELECT amount FROM stock WHERE product_id = {product}");
        assert_eq!(other.value(&read), "1000");
        let lock = format!("{read} AND place = 'A' FOR UPDATE");
        assert_eq!(other.value(&lock), "1000", "other rows have lines of their own");
    }

    // From now on they come one after the other: nobody ever waits for a lock on the server.
    let done = AtomicBool::new(false);
    let mut heard = Vec::new();
    let waits = thread::scope(|scope| {
        let watching = scope.spawn(|| {
            let locked = "SELECT count(*) FROM pg_stat_activity WHERE wait_event IN ('transactionid', 'tuple')";
            let mut waits = Vec::new();
            while !done.load(Ordering::SeqCst) {
                waits.push(beside.value(locked));
            }
            waits
        });
        holder.query("ROLLBACK");
        heard.extend(takers.iter_mut().map(|taker| taker.await_ready().take_transcript()));
        done.store(true, Ordering::SeqCst);
        watching.join().unwrap()
    });
    for heard in heard {
        assert!(heard.contains("C COMMIT"), "{heard}");
    }
    assert!(waits.iter().all(|count| count == "0"), "{waits:?}");
    assert_eq!(other.value(LEFT), (1000 - takers.len()).to_string());
    shop.wait_for_waiting(0);
}

#[test]
fn the_wait_ends_by_cancelling_hanging_up_and_the_clients_own_limits() {
    let shop = Shop::new("[limits]\nhot_row_queue = 1\n");
    let holder = shop.holder();

    let mut cancelled = shop.client();
    cancelled.query("BEGIN").ask(LOCK);
    shop.wait_for_waiting(1);
    // One waits: no other may.
    let mut late = shop.client();
    assert_eq!(late.value(LOCK), "53300");
    let mut request = 80_877_102_u32.to_be_bytes().to_vec();
    request.extend(cancelled.pid.to_be_bytes());
    request.extend(&cancelled.secret);
    Raw::dial(shop.weir.port()).send_packet(&request);
    cancelled.take_transcript();
    assert!(cancelled.await_ready().transcript().contains("C=57014"), "{}", cancelled.transcript());
    shop.wait_for_waiting(0);
    assert_eq!(cancelled.value(LOCK), "25P02");
    cancelled.query("ROLLBACK");
    assert_eq!(cancelled.value(LEFT), "1000");

    let mut gone = shop.client();
    gone.query("BEGIN").ask(LOCK);
    shop.wait_for_waiting(1);
    gone.vanish();
    shop.wait_for_waiting(0);

    late.query("SET lock_timeout = '500ms'");
    assert_eq!(late.value(LOCK), "55P03");
    late.query("SET lock_timeout = 0").query("SET statement_timeout = '500ms'");
    assert_eq!(late.value(LOCK), "57014");
    // The line holds nobody who has left it.
    late.query("RESET statement_timeout").ask(LOCK);
    shop.wait_for_waiting(1);
    holder.vanish();
    late.take_transcript();
    assert!(late.await_ready().transcript().contains("D 1000"), "{}", late.transcript());
}

#[test]
fn bound_statements_and_prepared_ones_wait_in_the_same_line() {
    let shop = Shop::new("");
    let mut holder = shop.holder();
    let sql = "SELECT amount FROM stock WHERE product_id = $1 AND place = $2 FOR UPDATE";

    let mut bound = shop.client();
    bound.query("BEGIN");
    bound.take_transcript();
    bound
        .parse("", sql, &[])
        .bind("", "", &[Some("1"), Some("A")])
        .execute("", 0)
        .put(b'S', b"")
        .send();
    shop.wait_for_waiting(1);
    // Described first, inside its transaction, as many drivers do: the server goes back.
    let mut beside = shop.beside();
    let idle = "SELECT count(*) FROM pg_stat_activity \
                WHERE query LIKE '%stock%' AND state = 'idle in transaction' AND pid <> pg_backend_pid()";
    let mut described = shop.client();
    described.query("BEGIN").parse("d", sql, &[]).describe(b'S', "d").sync();
    assert_eq!(beside.value(idle), "2");
    described.take_transcript();
    described.bind("", "d", &[Some("1"), Some("A")]).execute("", 0).put(b'S', b"").send();
    shop.wait_for_waiting(2);
    assert_eq!(beside.value(idle), "1");
    let mut binary = shop.client();
    let eight = 1_i64.to_be_bytes();
    binary.parse("s", sql, &[20, 25]).bind_as("", "s", &[1, 0], &[Some(&eight), Some(b"A")], &[]);
    binary.execute("", 0).put(b'S', b"").send();
    shop.wait_for_waiting(3);
    let mut executed = shop.client();
    executed.query(&format!("PREPARE take (bigint, text) AS {sql}"));
    executed.take_transcript();
    executed.ask("EXECUTE take (1, 'A')");
    shop.wait_for_waiting(4);

    let mut both = shop.client();
    both.query(&format!("PREPARE take (bigint, text) AS {sql}"));
    both.take_transcript();
    both.parse("", "EXECUTE take (1, 'A')", &[]).bind("", "", &[]).execute("", 0);
    both.put(b'S', b"").send();
    shop.wait_for_waiting(5);
    let mut merging = shop.client();
    merging.ask(
        "MERGE INTO stock USING (SELECT 1 AS n) one ON product_id = 1 AND place = 'A' \
         WHEN MATCHED THEN UPDATE SET amount = amount + n",
    );
    shop.wait_for_waiting(6);

    holder.query("COMMIT");
    let heard = bound.await_ready().take_transcript();
    assert!(heard.contains("D 1000"), "{heard}");
    // It keeps its turn up to the end of its transaction.
    shop.wait_for_waiting(5);
    bound.query("UPDATE stock SET amount = 5 WHERE product_id = 1").query("COMMIT");
    let heard = described.await_ready().take_transcript();
    assert!(heard.contains("D 5") && heard.contains("Z T"), "{heard}");
    assert_eq!(described.value("SELECT count(*) FROM stock"), "50");
    described.query("COMMIT");
    for client in [&mut binary, &mut executed, &mut both] {
        let heard = client.await_ready().take_transcript();
        assert!(heard.contains("D 5"), "{heard}");
    }
    let heard = merging.await_ready().take_transcript();
    assert!(heard.contains("C MERGE 1"), "{heard}");
    assert_eq!(merging.value(LEFT), "6");
    shop.wait_for_waiting(0);
}

#[test]
fn a_tier_with_a_checkout_time_of_its_own_waits_so_long_for_a_hot_row() {
    let shop = Shop::new("[tier.hasty]\ncheckout = '300ms'\n");
    let holder = shop.holder();
    let mut patient = shop.client();
    patient.ask(LOCK);
    shop.wait_for_waiting(1);
    let mut hasty = shop.client();
    assert_eq!(hasty.value(&format!("/* weir: tier=hasty */ {LOCK}")), "55P03");
    hasty.query("SET weir.tier = 'hasty'");
    assert_eq!(hasty.value(LOCK), "55P03");
    shop.wait_for_waiting(1);
    holder.vanish();
    patient.take_transcript();
    assert!(patient.await_ready().transcript().contains("D 1000"), "{}", patient.transcript());
}
