//! What is wrong with data is said as PostgreSQL says it, and leaves nothing; and what weir refuses.
use super::{Stage, copy_in};
use crate::raw::Raw;

/// COPY of data in which something is wrong.
const WRONG: &[(&str, &[u8])] = &[
    ("COPY rows (id, word) FROM STDIN", b"1\ta\nx\tb\n2\tc\n"),
    ("COPY rows (id, word) FROM STDIN", b"1\ta\n\tb\n"),
    ("COPY rows (id, word) FROM STDIN", b"1\ta\n9223372036854775808\tb\n"),
    ("COPY rows (id, word) FROM STDIN", b"1\ta\n\\N\tb\n"),
    ("COPY rows (id, word) FROM STDIN", b"1\ta\n2\n"),
    ("COPY rows (word, id) FROM STDIN", b"a\t1\nb\n"),
    ("COPY rows (id, word) FROM STDIN", b"1\ta\n2\tb\tc\n"),
    ("COPY rows (id, word) FROM STDIN", b"1\ta\n1\tb\n"),
    ("COPY rows (id, word) FROM STDIN", b"1\ta\n2\tb\xff\n"),
    ("COPY rows (id, word) FROM STDIN", b"1\ta\n2\tb\0\n"),
    ("COPY rows (id, word) FROM STDIN", b"1\ta\n2\tb\r\n"),
    ("COPY rows (id, word) FROM STDIN", b"1\ta\r\n2\tb\n"),
    ("COPY rows (id, word) FROM STDIN", b"1\ta\r2\tb\n"),
    ("COPY rows (id, word) FROM STDIN", b"1\ta\n\\.x\n"),
    ("COPY rows (id, word) FROM STDIN", b"1\ta\n\\."),
    ("COPY rows (id, word) FROM STDIN", b"1\ta\n\\.\r\n"),
    ("COPY rows (id, n) FROM STDIN", b"1\t1\n2\tmany\n3\t3\n"),
    ("COPY rows (id, word) FROM STDIN (FORMAT csv)", b"1,a\n2,\"b\n3,c\n"),
    ("COPY rows (id, word) FROM STDIN (FORMAT csv)", b"1,a\n\"2,b\n3,c\n"),
    ("COPY rows (id, word) FROM STDIN (FORMAT csv)", b"1,a\n2,b\r\n"),
    ("COPY rows (id, word) FROM STDIN (FORMAT csv)", b"1,a\n,b\n"),
    ("COPY rows (id, word) FROM STDIN (FORMAT csv)", b"1,a\n\"\",b\n"),
    ("COPY rows (id, word) FROM STDIN (FORMAT csv, HEADER MATCH)", b"id,wort\n1,a\n"),
    ("COPY rows (id, word) FROM STDIN (FORMAT csv, HEADER MATCH)", b"id\n1,a\n"),
    ("COPY rows (id) FROM STDIN (FORMAT binary)", b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0"),
    ("COPY rows (id) FROM STDIN (FORMAT binary)", b"PGCOPY\n\xff\r\n\0\0\x01\0\0\0\0\0\0"),
    ("COPY rows (id) FROM STDIN (FORMAT binary)", b"PGCOPY\n\xff\r\n\0\0\0\0\0\xff\xff\xff\xff"),
    ("COPY rows (id) FROM STDIN (FORMAT binary)", b"1\n"),
    (
        "COPY rows (id) FROM STDIN (FORMAT binary)",
        b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\x04\0\0\0\x01",
    ),
    (
        "COPY rows (id) FROM STDIN (FORMAT binary)",
        b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\x08\0\0\0\x01",
    ),
    (
        "COPY rows (id) FROM STDIN (FORMAT binary)",
        b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0\0\x02\0\0\0\x08\0\0\0\0\0\0\0\x01\xff\xff\xff\xff",
    ),
    (
        "COPY rows (id) FROM STDIN (FORMAT binary)",
        b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0\0\x01\xff\xff\xff\xf0",
    ),
    ("COPY rows (id) FROM STDIN (FORMAT binary)", b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0\xff\xff1"),
    ("COPY visits FROM STDIN", b"/a\t1\tx\n/bad\t2\ty\n/c\t3\tz\n"),
    ("COPY texts FROM STDIN", b"a\tk\nb\t\\N\n"),
    ("COPY days FROM STDIN", b"2026-01-31\ta\n2026-02-31\tb\n"),
    ("COPY days FROM STDIN", b"2026-01-31\ttoolong\n"),
    ("COPY numbers FROM STDIN", b"1\ta\n1\tb\n"),
    ("COPY numbers FROM STDIN", b"1\ta\nx\tb\n"),
    ("COPY missing FROM STDIN", b""),
    ("COPY rows (id, missing) FROM STDIN", b""),
    ("COPY rows (id, id) FROM STDIN", b""),
    ("COPY rows FROM STDIN (FORMAT odd)", b""),
    ("COPY rows FROM STDIN (DELIMITER 'a')", b""),
    ("COPY rows FROM STDIN (FORMAT csv, QUOTE 'ab')", b""),
    ("COPY rows FROM STDIN (FORMAT binary, NULL 'x')", b""),
    ("COPY rows FROM STDIN (NOTHING)", b""),
    ("COPY rows FROM STDIN (FORCE_NULL (id))", b""),
    ("COPY mixed (id, twice) FROM STDIN", b""),
    ("COPY rows (id) FROM STDIN WHERE missing > 1", b"1\n"),
    ("COPY rows (id) FROM STDIN WHERE id / 0 > 1", b"1\n"),
];

#[test]
fn wrong_data_is_refused_as_by_postgresql_and_leaves_nothing() {
    let stage = Stage::new();
    let mut failed = Vec::new();
    for (sql, data) in WRONG {
        for piece in [data.len(), 1] {
            let [expected, heard] = stage.both().map(|mut raw| {
                copy_in(&mut raw, sql, data, piece);
                raw.query("SELECT 1");
                super::told(&raw.transcript())
            });
            if heard != expected {
                let data = data.escape_ascii();
                failed.push(format!("{sql}\n{data}\nPostgreSQL: {expected}\nweir: {heard}"));
            }
        }
    }
    assert!(failed.is_empty(), "{} differ:\n{}", failed.len(), failed.join("\n\n"));
    stage.compare_rows();
}

/// What is wrong without shards is none of it; nothing of it stays.
fn refused(stage: &Stage, sql: &str, data: &[u8], expected: &str) {
    let mut client = stage.client();
    copy_in(&mut client, sql, data, 100);
    let heard = client.take_transcript();
    assert!(heard.contains("C=0A000") && heard.contains(expected), "{sql}: {heard}");
    assert_eq!(client.value("SELECT 1"), "1");
}

#[test]
fn what_is_not_proved_is_refused_with_the_way_out() {
    let stage = Stage::new();
    let check = |sql: &str, data: &[u8], expected: &str| refused(&stage, sql, data, expected);
    check("COPY timed (id) FROM STDIN BINARY", b"", "name made among COPY's columns");
    check(
        "COPY drawn (note) FROM STDIN (FORMAT csv, HEADER MATCH)",
        b"note\na\n",
        "name id among COPY's columns",
    );
    check("COPY words (word) FROM STDIN", b"a\n", "name id among COPY's columns");
    check("COPY rows FROM STDIN (FREEZE)", b"", "FREEZE");
    check("COPY instants FROM STDIN", b"2026-01-31 12:00:00\ta\n", "depends on settings");
    check("COPY visits FROM STDIN", b"/a\t\\N\t\\N\n", "is NULL");
    check("COPY texts FROM STDIN (ENCODING 'SJIS')", b"a\tb\n", "client encoding");
    check("COPY texts FROM STDIN (ENCODING 'LATIN1')", b"a\t\xe9\n", "beyond ASCII");
    check("COPY rows (id) FROM STDIN (DELIMITER 'X')", b"1\n", "delimiter");
    check("COPY rows (id) FROM STDIN WHERE at < now()", b"1\n", "condition");
    check("COPY rows FROM '/tmp/rows'", b"", "STDIN");
    stage.compare_rows();
}

#[test]
fn a_row_that_is_too_long_is_an_error() {
    let stage = Stage::new();
    let mut client = stage.client();
    client.patient(std::time::Duration::from_secs(60));
    let say = |raw: &mut Raw, data: &[u8]| {
        raw.ask("COPY rows (id, word) FROM STDIN (FORMAT csv)").hear_until(b"GZ");
        raw.put(b'd', data);
        for _ in 0..70 {
            raw.put(b'd', &vec![b'x'; 1 << 20]);
        }
        raw.copy_done().send();
        raw.await_ready();
    };
    say(&mut client, b"1,a\n2,\"");
    let heard = client.take_transcript();
    assert!(heard.contains("C=54000") && heard.contains("message_size"), "{heard}");
    assert_eq!(client.value("SELECT count(*) FROM rows"), "0");
}
