//! Rows made at random, written by PostgreSQL in all formats, and copied through weir and without it.
use super::{Stage, copy_in, copy_out, csv, text};
use crate::oracle::setting;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use weir::wire::copy::{Format, Quotes, Signs};

const SEED: usize = 1;
const ROWS: usize = 60;

fn signs(delimiter: u8, null: &str, header: bool) -> Signs {
    Signs { delimiter, null: null.into(), header }
}

/// COPY's options, and what they mean.
fn formats() -> Vec<(&'static str, Format)> {
    let quotes = |quote, escape| Quotes { quote, escape };
    vec![
        ("", text()),
        ("(DELIMITER '|', NULL '')", Format::Text(signs(b'|', "", false))),
        ("WITH DELIMITER ',' NULL 'none'", Format::Text(signs(b',', "none", false))),
        ("(HEADER)", Format::Text(signs(b'\t', "\\N", true))),
        ("(FORMAT csv)", csv(false)),
        ("(FORMAT csv, HEADER true)", csv(true)),
        (
            "(FORMAT csv, NULL 'NULL', DELIMITER ';', QUOTE '''')",
            Format::Csv(signs(b';', "NULL", false), quotes(b'\'', b'\'')),
        ),
        ("(FORMAT csv, ESCAPE '\\')", Format::Csv(signs(b',', "", false), quotes(b'"', b'\\'))),
        ("CSV HEADER QUOTE 'q'", Format::Csv(signs(b',', "", true), quotes(b'q', b'q'))),
        ("(FORMAT binary)", Format::Binary),
    ]
}

struct Maker(StdRng);

impl Maker {
    fn below(&mut self, most: usize) -> usize {
        self.0.random_range(0..most)
    }

    /// A string constant of what formats trip over.
    fn string(&mut self) -> String {
        const PIECES: [&str; 24] = [
            "a", "\\", "\"", "''", "\n", "\r", "\t", ",", "|", ";", "q", ".", "N", "\\N", "\\.",
            "NULL", "none", "é", "漢", "😀", " ", "\r\n", "\u{1}", "x41",
        ];
        let count = self.below(6);
        let inside: String = (0..count).map(|_| PIECES[self.below(PIECES.len())]).collect();
        format!("'{inside}'")
    }

    fn one(&mut self, of: &[&str]) -> String {
        match of[self.below(of.len())] {
            "$" => self.string(),
            one => one.to_owned(),
        }
    }

    fn row(&mut self, number: usize) -> String {
        let extremes = ["-9223372036854775808", "9223372036854775807", "0", "-1"];
        let id = match number {
            at if at < extremes.len() => extremes[at].to_owned(),
            at => (at as i64 * 7919 - 20_000).to_string(),
        };
        let word = self.one(&["$", "$", "$", "NULL"]);
        let n =
            self.one(&["NULL", "0.00", "-1e-30", "'NaN'", "'Infinity'", "12345678901234567890.5"]);
        let at = self.one(&[
            "NULL",
            "'infinity'",
            "'0044-03-15 BC'",
            "'2026-01-31 12:00:00.123456+05:45'",
        ]);
        let doc = self.one(&["NULL", "'{\"a\": \"b\\\"c\\n,|\"}'", "'[1, null]'"]);
        let raw = self.one(&["NULL", "'\\x00ff5c0a'", "''"]);
        format!("({id}, {word}, {n}, {at}, {doc}, {raw})")
    }
}

#[test]
fn rows_of_all_formats_come_and_go_as_on_postgresql() {
    let (seed, rows) = (setting("WEIR_COPY_SEED", SEED), setting("WEIR_COPY_ROWS", ROWS));
    println!("WEIR_COPY_SEED={seed}");
    let stage = Stage::new();
    let mut maker = Maker(StdRng::seed_from_u64(seed as u64));
    for (options, format) in formats() {
        println!("{options}");
        stage.on_both("TRUNCATE rows, texts");
        let [mut plain, mut client] = stage.both();
        let values: Vec<String> = (0..rows).map(|number| maker.row(number)).collect();
        plain.query(&format!("INSERT INTO rows VALUES {}", values.join(", ")));
        plain.query("INSERT INTO texts SELECT word, coalesce(word, 'x') || id FROM rows");
        for table in ["rows", "texts"] {
            let sql = format!("COPY {table} TO STDOUT {options}");
            let expected = copy_out(&mut plain, &sql, &format);
            let sound = expected.rest == [format!("COPY {rows}\0")] && expected.rows.len() == rows;
            assert!(sound, "{sql}: {:?}\n{}", expected.rest, plain.transcript());
            let mut data = expected.header.clone();
            data.extend(expected.rows.concat());
            if format == Format::Binary && maker.below(2) == 0 {
                data.extend((-1_i16).to_be_bytes());
            }
            let piece = [1, 7, 100, 8192][maker.below(4)];
            plain.query(&format!("TRUNCATE {table}"));
            for raw in [&mut plain, &mut client] {
                copy_in(raw, &format!("COPY {table} FROM STDIN {options}"), &data, piece);
                let heard = raw.take_transcript();
                assert!(heard.contains(&format!("COPY {rows}")), "{options}: {heard}");
            }
            // What it writes is not always what it reads: NULL may look like an empty text.
            let expected = copy_out(&mut plain, &sql, &format);
            assert_eq!(copy_out(&mut client, &sql, &format), expected, "{sql}");
            for query in ["SELECT * FROM", "TABLE"] {
                let sql = format!("COPY ({query} {table}) TO STDOUT {options}");
                assert_eq!(copy_out(&mut client, &sql, &format), expected, "{sql}");
            }
        }
        stage.compare_rows();
    }
}

#[test]
fn queries_are_copied_in_their_order() {
    let stage = Stage::new();
    stage.check(&|c| {
        c.query(
            "INSERT INTO rows (id, word, n) VALUES (1, 'a,\"b', 1), (2, NULL, 2), (3, '\\.', 3)",
        );
        for options in ["", "(FORMAT csv, HEADER)", "(FORMAT csv, FORCE_QUOTE (word, id))"] {
            c.query(&format!(
                "COPY (SELECT id, word FROM rows ORDER BY id DESC) TO STDOUT {options}"
            ));
            c.query(&format!(
                "COPY (SELECT word FROM rows ORDER BY id LIMIT 2) TO STDOUT {options}"
            ));
            c.query(&format!("COPY (SELECT count(*), sum(n) FROM rows) TO STDOUT {options}"));
            c.query(&format!("COPY (SELECT id FROM rows WHERE id IN (1, 2)) TO STDOUT {options}"));
            c.query(&format!("COPY (SELECT id FROM rows WHERE id = 3) TO STDOUT {options}"));
            c.query(&format!("COPY (SELECT id FROM rows WHERE false) TO STDOUT {options}"));
        }
        c.query("COPY (SELECT * FROM rows ORDER BY missing) TO STDOUT");
        c.query("COPY (SELECT id / 0 FROM rows) TO STDOUT");
        c.query("COPY rows TO STDOUT (FORMAT csv, HEADER, FORCE_QUOTE *)");
        c.query("COPY rows (word, id) TO STDOUT (FORMAT csv)");
        c.query("COPY mixed TO STDOUT (FORMAT csv, HEADER)")
            .query("COPY texts TO STDOUT CSV HEADER");
        c.query("COPY rows (nothing) TO STDOUT").query("COPY rows TO STDOUT (DELIMITER 'ab')");
        c.query("COPY rows TO STDOUT (FORMAT strange)").query("COPY numbers TO STDOUT");
    });
}

#[test]
fn keys_of_every_type_are_found_however_they_are_written() {
    let stage = Stage::new();
    stage.check(&|c| {
        copy_in(c, "COPY rows (word, id) FROM STDIN", b"a\t 7 \nb\t+8\nc\t009\nd\t-1\n", 5);
        copy_in(c, "COPY rows (id) FROM STDIN (FORMAT csv)", b"\"10\"\n 11\n1\"2\"\n", 100);
        copy_in(c, "COPY texts (k, v) FROM STDIN", b"\\x61\\142c\tv\n\\N\\\\\tw\n \tx\n\t\n", 100);
        copy_in(c, "COPY texts FROM STDIN (FORMAT csv)", b"v,\" a\"\"\n\"\nw,\"\"\n", 3);
        copy_in(c, "COPY days FROM STDIN", b"2026-01-31\ta\n2027-02-01\tb\n", 100);
        let uuids = b"A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11\ta\n\
            {a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a12}\tb\n";
        copy_in(c, "COPY uuids FROM STDIN", uuids, 100);
        let instants = b"2026-01-31 12:00:00+00\ta\n2026-01-31 13:00:00.5+01\tb\n";
        copy_in(c, "COPY instants FROM STDIN", instants, 100);
        let visits = b"/a\t1\tx\n/b\t\\N\ty\n/c\t\\N\tz\n";
        copy_in(c, "COPY visits FROM STDIN", visits, 4);
        copy_in(c, "COPY visits (number, page) FROM STDIN", b"y\t/d\n", 100);
        let forced = "COPY visits FROM STDIN (FORMAT csv, NULL 'x', FORCE_NULL (user_id), \
            FORCE_NOT_NULL (number))";
        copy_in(c, forced, b"/e,\"x\",x\n/f,2,x\n", 100);
        copy_in(c, "COPY mixed FROM STDIN", b"n\t1\t100\t5\nm\t2\t101\t\\N\n", 100);
        copy_in(c, "COPY mixed (id, note) FROM STDIN", b"3\to\n4\t\\N\n", 100);
        copy_in(
            c,
            "COPY rows (id, n) FROM STDIN WHERE n > 2 AND word IS NULL",
            b"20\t1\n21\t3\n",
            9,
        );
        copy_in(c, "COPY numbers FROM STDIN", b"1\tone\n2\ttwo\n3\t\\N\n", 2);
        copy_in(c, "COPY words (id, word) FROM STDIN (FORMAT csv)", b"1,one\n2,\"t\nwo\"\n", 2);
        copy_in(c, "COPY rows FROM STDIN", b"", 1);
        copy_in(c, "COPY rows FROM STDIN (FORMAT csv, HEADER)", b"", 1);
        copy_in(
            c,
            "COPY rows (id) FROM STDIN (FORMAT csv, HEADER MATCH)",
            b"id\r\n30\r\n31\r\n",
            1,
        );
        copy_in(c, "COPY rows (id) FROM STDIN", b"32\r33\r\\.\rx", 1);
    });
    stage.check(&|c| {
        copy_in(c, "COPY timed (id, note) FROM STDIN", b"1\ta\n2\t\\N\n3\t\\.x", 3);
        copy_in(c, "COPY timed (id, note) FROM STDIN", b"1\ta\n2\t\\N\n3\tb\n", 3);
        copy_in(c, "COPY timed (note, id) FROM STDIN (DELIMITER '-')", b"a-4\nb-5\n\\.\n", 100);
        copy_in(c, "COPY timed (id) FROM STDIN (FORMAT csv, HEADER)", b"id\n6\n\"7\"\n8\n", 2);
        let odd = "COPY timed (id, day) FROM STDIN (FORMAT csv, QUOTE '2', NULL '')";
        copy_in(c, odd, b"9,\n10,01-02-0304\n", 100);
        copy_in(c, "COPY timed (id, note) FROM STDIN", b"11\ta\n12\n", 100);
    });
    for (query, expected) in [
        ("SELECT count(DISTINCT made) FROM timed WHERE id IN (1, 2, 3)", "1"),
        ("SELECT count(DISTINCT day) FROM timed WHERE id IN (1, 2, 3, 4, 5, 6)", "1"),
        ("SELECT bool_and(day = made::date + 1) FROM timed WHERE id < 9", "t"),
    ] {
        assert_eq!(stage.client().value(query), expected, "{query}");
    }
}
