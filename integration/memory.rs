//! weir's own memory while it answers what is much larger: its peak is read before and after.
//!
//! ```sh
//! WEIR_MEMORY_ROWS=2000000 WEIR_MEMORY_GROUPS=1000000 \
//!     cargo test --test integration memory:: -- --nocapture
//! ```
use crate::beside::{Beside, SHARDS, shard_of};
use crate::cluster::DATABASE;
use crate::oracle::setting;
use crate::raw::Raw;
use crate::weir::wait_for;
use std::time::Duration;

/// What runs each time; the environment can say another.
const ROWS: usize = 300_000;
const GROUPS: usize = 100_000;
const BUCKETS: usize = 64;
/// A scan holds some buffers for each shard, however long it is.
const SCAN_KIB: u64 = 16 * 1024;
/// Groups are held up to a limit; what exceeds it goes to the gather database.
const GROUPS_KIB: u64 = 96 * 1024;

const SCHEMA: &str = "CREATE TABLE big (k bigint NOT NULL, id bigint NOT NULL, pad text NOT NULL);";
const RULES: &str = "
[[distribution]]
name = 'by_key'
function = 'fnv32'
key_type = 'bigint'
buckets = 64
[[table]]
name = 'big'
distribution = 'by_key'
key = 'k'
";

/// So many rows, ids 0, 1, 2 … in turn on the shards, of 100 bytes each.
fn scene(rows: usize) -> Beside {
    let beside = Beside::new(SCHEMA, RULES, Vec::new());
    for shard in 0..SHARDS {
        let key = (1..).find(|key: &usize| shard_of(&key.to_string(), BUCKETS) == shard).unwrap();
        let fill = format!(
            "INSERT INTO big SELECT {key}, n, repeat('x', 80) \
             FROM generate_series({shard}, {rows} - 1, {SHARDS}) AS n"
        );
        beside.on_shard(shard, &fill);
    }
    beside
}

#[test]
fn an_ordered_scan_of_very_many_rows_streams() {
    let rows = setting("WEIR_MEMORY_ROWS", ROWS);
    let mut beside = scene(rows);
    let before = beside.process.peak_memory();
    let mut next = 0;
    let refused = beside.each("SELECT id, pad FROM big ORDER BY id", |values| {
        assert_eq!(values[0], Some(next.to_string().into_bytes()), "in order and complete");
        next += 1;
    });
    let grown = beside.process.peak_memory() - before;
    println!("{next} rows of about 100 bytes; weir's memory grew by {grown} KiB");
    assert_eq!((refused, next), (None, rows));
    assert!(grown < SCAN_KIB, "{grown} KiB");
}

#[test]
fn a_group_by_with_very_many_groups_stays_within_its_limit() {
    let groups = setting("WEIR_MEMORY_GROUPS", GROUPS);
    let rows = 2 * groups;
    let mut beside = scene(rows);
    let before = beside.process.peak_memory();
    let (mut count, mut sum) = (0, 0);
    // Half of each group is on another shard: the distance is odd.
    let distance = groups - 1;
    let text = format!("SELECT id % {distance} AS g, count(*), sum(id) FROM big GROUP BY g");
    let refused = beside.each(&text, |values| {
        let number = |at: usize| -> usize {
            std::str::from_utf8(values[at].as_ref().unwrap()).unwrap().parse().unwrap()
        };
        count += 1;
        sum += number(2);
        let (group, members) = (number(0), number(1));
        let wanted = (group..rows).step_by(distance);
        assert_eq!(members, wanted.clone().count(), "group {group}");
        assert_eq!(number(2), wanted.sum::<usize>(), "group {group}");
    });
    let grown = beside.process.peak_memory() - before;
    println!("{count} groups; weir's memory grew by {grown} KiB");
    assert_eq!((refused, count, sum), (None, distance, rows * (rows - 1) / 2));
    assert!(grown < GROUPS_KIB, "{grown} KiB");
}

/// Notices of 8 kB each: more than sockets hold.
const NOTICES: usize = 6000;
const NOTICES_KIB: u64 = 16 * 1024;

/// A row that is larger than sockets and buffers; weir holds a part of it.
const ROW_BYTES: usize = 40_000_000;
const ROW_KIB: u64 = 4 * 1024;

#[test]
fn servers_wait_for_a_client_that_does_not_read() {
    let beside = scene(NOTICES);
    for shard in 0..SHARDS {
        beside.on_shard(
            shard,
            "CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS \
             $$BEGIN RAISE NOTICE '%', repeat('n', 8000); RETURN NEW; END$$; \
             CREATE TRIGGER tell BEFORE UPDATE ON big FOR EACH ROW EXECUTE FUNCTION tell()",
        );
    }
    let before = beside.process.peak_memory();
    let mut client =
        Raw::connect(beside.process.port(), &[("user", "postgres"), ("database", DATABASE)]);
    client.ask("UPDATE big SET pad = 'x'");
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'ClientWrite'";
    wait_for("a server that waits", || beside.value_on_shard(0, waits) != "0");
    let mut told = 0;
    while let Some(heard) = client.next().filter(|heard| heard.kind != b'Z') {
        told += usize::from(heard.kind == b'N');
        assert_ne!(heard.kind, b'E');
    }
    let grown = beside.process.peak_memory() - before;
    println!("{told} notices; weir's memory grew by {grown} KiB");
    assert_eq!(told, NOTICES);
    assert!(grown < NOTICES_KIB, "{grown} KiB");
    let before = beside.process.peak_memory();
    client.patient(Duration::from_secs(60));
    client.ask(&format!("SELECT repeat('x', {ROW_BYTES})"));
    wait_for("a server that waits", || beside.value_on_shard(0, waits) != "0");
    let lengths: Vec<usize> = std::iter::from_fn(|| client.next())
        .take_while(|heard| heard.kind != b'Z')
        .filter_map(|heard| (heard.kind == b'D').then_some(heard.body.len()))
        .collect();
    let grown = beside.process.peak_memory() - before;
    println!("a row of {ROW_BYTES} bytes; weir's memory grew by {grown} KiB");
    assert_eq!(lengths, [ROW_BYTES + 6]);
    assert!(grown < ROW_KIB, "{grown} KiB");
}
