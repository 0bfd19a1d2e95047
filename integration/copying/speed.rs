//! Very many rows through weir to four shards, beside the same rows directly into one PostgreSQL, in turn; and
//! weir's processor time and memory.
//!
//! ```sh
//! WEIR_COPY_MANY=2000000 WEIR_COPY_TURNS=3 cargo test --release --test integration copying::speed -- --nocapture
//! ```
use crate::beside::Beside;
use crate::oracle::setting;
use crate::raw::Raw;
use crate::weir::processor_time;
use std::time::{Duration, Instant};

/// What runs each time; the environment can say another.
const MANY: usize = 100_000;
const TURNS: usize = 1;
/// Some buffers for the client and each shard, however many rows there are.
const GROWN_KIB: u64 = 16 * 1024;
const PATIENCE: Duration = Duration::from_secs(600);

const SCHEMA: &str =
    "CREATE TABLE big (id bigint NOT NULL, k bigint NOT NULL, word text, n numeric);";
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

struct Kind {
    name: &'static str,
    options: &'static str,
    row: fn(usize, &mut Vec<u8>),
    begin: &'static [u8],
}

const KINDS: [Kind; 3] = [
    Kind {
        name: "text",
        options: "",
        row: |id, out| {
            out.extend(format!("{id}\t{}\tthe word of row {id}\t{id}.25\n", id * 7).bytes())
        },
        begin: b"",
    },
    Kind {
        name: "csv",
        options: "(FORMAT csv)",
        row: |id, out| out.extend(format!("{id},{},\"the word, {id}\",{id}.25\n", id * 7).bytes()),
        begin: b"",
    },
    Kind {
        name: "binary",
        options: "(FORMAT binary)",
        row: |id, out| {
            out.extend(4_i16.to_be_bytes());
            for number in [id, id * 7] {
                out.extend(8_i32.to_be_bytes());
                out.extend((number as i64).to_be_bytes());
            }
            let word = format!("the word of row {id}");
            out.extend((word.len() as i32).to_be_bytes());
            out.extend(word.bytes());
            // 1.25 as numeric: two digits in base 10000, weight 0, positive, scale 2.
            out.extend([0, 0, 0, 12, 0, 2, 0, 0, 0, 0, 0, 2, 0, 1, 9, 196]);
        },
        begin: b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0",
    },
];

/// The data in messages of about 64 KiB.
fn pieces(kind: &Kind, rows: usize) -> Vec<Vec<u8>> {
    let mut pieces = vec![kind.begin.to_vec()];
    for id in 0..rows {
        if pieces.last().is_some_and(|piece| piece.len() > 65_000) {
            pieces.push(Vec::with_capacity(66_000));
        }
        (kind.row)(id, pieces.last_mut().unwrap());
    }
    pieces
}

fn copy(raw: &mut Raw, kind: &Kind, pieces: &[Vec<u8>], rows: usize) -> Duration {
    raw.patient(PATIENCE);
    let began = Instant::now();
    raw.ask(&format!("COPY big FROM STDIN {}", kind.options)).hear_until(b"G");
    for piece in pieces {
        raw.put(b'd', piece).send();
    }
    raw.copy_done().send();
    raw.await_ready();
    let took = began.elapsed();
    let heard = raw.take_transcript();
    assert!(heard.contains(&format!("COPY {rows}")), "{heard}");
    took
}

#[test]
fn many_rows_are_copied_at_speed_in_bounded_memory() {
    let (rows, turns) = (setting("WEIR_COPY_MANY", MANY), setting("WEIR_COPY_TURNS", TURNS));
    let beside = Beside::new(SCHEMA, RULES, Vec::new());
    println!(
        "| {rows} rows | direct, rows/s | through weir, rows/s | weir's CPU s per million rows | weir's memory grew by |"
    );
    println!("|---|---|---|---|---|");
    for kind in &KINDS {
        let pieces = pieces(kind, rows);
        for _ in 0..turns {
            let [mut plain, mut client] = beside.lines();
            for raw in [&mut plain, &mut client] {
                raw.patient(PATIENCE);
                raw.query("TRUNCATE big").take_transcript();
            }
            let direct = copy(&mut plain, kind, &pieces, rows);
            let (memory, cpu) = (beside.process.peak_memory(), processor_time(beside.process.id()));
            let through = copy(&mut client, kind, &pieces, rows);
            let cpu = processor_time(beside.process.id()).saturating_sub(cpu);
            let grown = beside.process.peak_memory() - memory;
            let rate = |took: Duration| rows as f64 / took.as_secs_f64();
            println!(
                "| {} | {:.0} | {:.0} | {:.2} | {grown} KiB |",
                kind.name,
                rate(direct),
                rate(through),
                cpu.as_secs_f64() * 1e6 / rows as f64,
            );
            assert!(grown < GROWN_KIB, "{grown} KiB");
            for raw in [&mut plain, &mut client] {
                assert_eq!(raw.value("SELECT count(*) FROM big"), rows.to_string());
                let sum = "SELECT sum(id) FROM big";
                assert_eq!(raw.value(sum), (rows * (rows - 1) / 2).to_string());
            }
            for shard in 0..crate::beside::SHARDS {
                let share = beside.value_on_shard(shard, "SELECT count(*) FROM big");
                assert!(share.parse::<usize>().unwrap() * 8 > rows, "shard {shard} has {share}");
            }
        }
    }
}
