//! The differential test of writes over several shards: transactions made at random run through weir
//! and on one plain PostgreSQL. Tags, rows returned, kinds of errors and the rows afterwards are the same, or
//! weir refuses and nothing is written.
//!
//! `WEIR_WRITES_SEED=7 WEIR_WRITES_UNITS=5000 cargo test --test integration random_writes -- --nocapture`
use crate::oracle::setting;
use crate::raw::Raw;
use crate::writes::{Stage, sorted};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

const SEED: usize = 1;
const UNITS: usize = 300;
/// The rows themselves are compared after so many.
const UNITS_BETWEEN_LOOKS: usize = 25;
/// Of a hundred units weir may refuse so many.
const REFUSED_PER_CENT: usize = 25;

/// What is sent: text, or text with parameters.
#[derive(Clone, Debug)]
enum Said {
    Query(String),
    Bound(String, Vec<Option<String>>),
}

/// One transaction.
#[derive(Clone, Debug)]
struct Unit {
    said: Vec<Said>,
    /// What is said last, if it is a block.
    end: Option<&'static str>,
}

struct Maker {
    random: StdRng,
}

impl Maker {
    fn below(&mut self, most: usize) -> usize {
        self.random.random_range(0..most)
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }

    fn unit(&mut self) -> Unit {
        let block = self.below(3) == 0;
        let mut said: Vec<Said> = Vec::new();
        if block {
            said.push(Said::Query("BEGIN".into()));
        }
        for _ in 0..if block { 1 + self.below(4) } else { 1 } {
            if block && self.below(4) == 0 {
                let text = self.one(&["SAVEPOINT a", "SAVEPOINT a", "ROLLBACK TO a", "RELEASE a"]);
                said.push(Said::Query(text.into()));
            }
            let statement = self.statement();
            said.push(statement);
        }
        let end = block.then(|| self.one(&["COMMIT", "COMMIT", "COMMIT", "ROLLBACK"]));
        Unit { said, end }
    }

    fn statement(&mut self) -> Said {
        let text = match self.below(12) {
            0..3 => self.update(),
            3..5 => self.delete(),
            5..8 => return self.insert(),
            8 => self.select_in(),
            9 => self.merge(),
            10 => self.reference(),
            _ => self.joined(),
        };
        let returning = match self.below(3) {
            0 if !text.starts_with("MERGE") => " RETURNING *",
            _ => "",
        };
        // A column that tells the time would never be the same.
        let returning =
            if text.contains("users") || text.contains("words") { "" } else { returning };
        Said::Query(text + returning)
    }

    fn condition(&mut self) -> String {
        let number = self.below(9);
        match self.below(9) {
            0 => "true".into(),
            1 => format!("id > {number}"),
            2 => format!("id % 3 = {}", number % 3),
            3 => format!("user_id IN ({number}, {})", number + 1),
            4 => format!("user_id = {number}"),
            5 => format!("note = 'n{}'", number % 3),
            6 => format!("amount > {number}"),
            7 => format!("user_id = ANY ('{{{number},{}}}')", number + 3),
            _ => format!("note IS NULL AND id < {number}"),
        }
    }

    fn update(&mut self) -> String {
        let set = match self.below(6) {
            0 => "note = 'n0'".into(),
            1 => format!("amount = amount + {}", self.below(400)),
            2 => "note = note || 'x', amount = NULL".into(),
            3 => "note = coalesce(note, 'was null')".into(),
            4 => "amount = 1 / (id - 3)".into(),
            _ => "(note, amount) = (upper(note), id)".into(),
        };
        format!("UPDATE orders SET {set} WHERE {}", self.condition())
    }

    fn delete(&mut self) -> String {
        match self.below(4) {
            0 => format!("DELETE FROM visits WHERE page = '/{}'", self.below(3)),
            1 => format!("DELETE FROM users WHERE n > {}", self.below(100)),
            _ => format!("DELETE FROM orders WHERE {} AND id > 2", self.condition()),
        }
    }

    fn value(&mut self) -> String {
        match self.below(5) {
            0 => "NULL".into(),
            1 => "'it''s'".into(),
            2 => "lower('AB')".into(),
            3 => "(SELECT max(word) FROM numbers)".into(),
            _ => format!("'n{}'", self.below(4)),
        }
    }

    fn insert(&mut self) -> Said {
        let rows = 1 + self.below(5);
        let bound = self.below(3) == 0;
        let mut values: Vec<Option<String>> = Vec::new();
        let mut lists = Vec::new();
        for _ in 0..rows {
            let (key, id, note) = (self.below(9), self.below(12), self.value());
            lists.push(match bound {
                false => format!("({key}, {id}, {note}, {})", self.below(1100)),
                true => {
                    values.extend([Some(key.to_string()), Some(id.to_string())]);
                    values.push((id % 3 > 0).then(|| format!("p{id}")));
                    let last = values.len();
                    format!("(${}, ${}, ${}, {id})", last - 2, last - 1, last)
                }
            });
        }
        let conflict = match self.below(4) {
            0 => "",
            1 => " ON CONFLICT DO NOTHING",
            2 => " ON CONFLICT (user_id, id) DO UPDATE SET note = excluded.note, amount = o.amount",
            _ => {
                " ON CONFLICT (user_id, id) DO UPDATE SET note = o.note || excluded.note \
                 WHERE o.id > 4"
            }
        };
        let returning = self.one(&["", " RETURNING o.user_id, o.id, o.note"]);
        let text = format!(
            "INSERT INTO orders AS o (user_id, id, note, amount) VALUES {}{conflict}{returning}",
            lists.join(", ")
        );
        match bound {
            true => Said::Bound(text, values),
            false if self.below(5) == 0 => Said::Query(format!(
                "INSERT INTO visits VALUES (NULL, 'g{0}', '/'), ({1}, 'g{0}', '/1'), (NULL, 'h{1}', '/2')",
                self.below(99),
                self.below(9)
            )),
            false => Said::Query(text),
        }
    }

    fn select_in(&mut self) -> String {
        match self.below(3) {
            0 => format!(
                "INSERT INTO orders (user_id, id, note) SELECT user_id, max(id) + 1, 'sum' FROM orders \
                 WHERE {} GROUP BY user_id",
                self.condition()
            ),
            1 => "INSERT INTO orders (user_id, id, note) SELECT id, 9, name FROM users \
                  ON CONFLICT DO NOTHING"
                .into(),
            _ => format!(
                "INSERT INTO visits (user_id, page) SELECT user_id, note FROM orders WHERE {}",
                self.condition()
            ),
        }
    }

    fn merge(&mut self) -> String {
        let number = self.below(9);
        format!(
            "MERGE INTO orders o USING users u ON o.user_id = u.id AND o.id = {number} \
             WHEN MATCHED AND u.n > 30 THEN DELETE WHEN MATCHED THEN UPDATE SET note = u.name \
             WHEN NOT MATCHED THEN INSERT (user_id, id, note) VALUES (u.id, {number}, 'merged')"
        )
    }

    fn reference(&mut self) -> String {
        let number = 1 + self.below(9);
        match self.below(4) {
            0 => format!("UPDATE numbers SET word = word || '{number}' WHERE n < {number}"),
            1 => format!("DELETE FROM numbers WHERE n = {number}"),
            2 => {
                format!("INSERT INTO numbers VALUES ({number}, 'w{number}'), ({}, 'z')", number + 1)
            }
            _ => format!(
                "INSERT INTO numbers VALUES ({number}, 'again') ON CONFLICT (n) DO UPDATE \
                 SET word = excluded.word"
            ),
        }
    }

    fn joined(&mut self) -> String {
        let number = self.below(60);
        match self.below(6) {
            0 => format!(
                "UPDATE orders SET note = u.name FROM users u WHERE u.id = user_id AND u.n > {number}"
            ),
            1 => {
                "UPDATE users SET n = (SELECT count(*) FROM orders WHERE user_id = users.id)".into()
            }
            2 => {
                format!("DELETE FROM orders USING users u WHERE u.id = user_id AND u.n < {number}")
            }
            3 => "UPDATE orders SET note = w.word FROM numbers w WHERE w.n = orders.id".into(),
            4 => "DELETE FROM visits WHERE NOT EXISTS (SELECT FROM users u WHERE u.id = user_id)"
                .into(),
            _ => format!(
                "UPDATE users SET name = 'many' WHERE id IN (SELECT user_id FROM orders \
                 GROUP BY user_id HAVING count(*) > {})",
                number % 6
            ),
        }
    }
}

fn say(raw: &mut Raw, said: &Said) {
    match said {
        Said::Query(text) => {
            raw.query(text);
        }
        Said::Bound(text, values) => {
            let values: Vec<Option<&str>> = values.iter().map(Option::as_deref).collect();
            raw.parse("", text, &[]).bind("", "", &values).describe(b'P', "").execute("", 0).sync();
        }
    }
}

/// What has to be the same: of errors their class, since the first of two wrong rows need not be, and
/// nothing of what came before them.
fn essence(transcript: &str) -> String {
    let mut kept: Vec<String> = Vec::new();
    for answer in transcript.split_inclusive("Z ") {
        match answer.split_once("E V=") {
            None => kept.push(sorted(answer)),
            Some((_, error)) => {
                let code = error.split_once(" C=").and_then(|(_, code)| code.get(..2));
                // Twice the same row, or one that is wrong.
                kept.push(format!(
                    "E {}",
                    code.map_or("", |code| if code == "21" { "23" } else { code })
                ));
            }
        }
    }
    kept.join("\n")
}

#[test]
fn random_writes_do_what_one_postgresql_does() {
    let stage = Stage::new();
    let (mut weir, mut plain) = (stage.client(), stage.plain());
    let (seed, units) = (setting("WEIR_WRITES_SEED", SEED), setting("WEIR_WRITES_UNITS", UNITS));
    let mut refused = 0;
    for number in 0..units {
        let random = StdRng::seed_from_u64((seed as u64) << 32 | number as u64);
        let unit = Maker { random }.unit();
        for said in &unit.said {
            say(&mut weir, said);
        }
        if weir.transcript().contains("C=0A000") {
            refused += 1;
            if unit.end.is_some() {
                weir.query("ROLLBACK");
            }
            weir.take_transcript();
            continue;
        }
        for said in &unit.said {
            say(&mut plain, said);
        }
        if let Some(end) = unit.end {
            weir.query(end);
            plain.query(end);
        }
        let (heard, expected) = (weir.take_transcript(), plain.take_transcript());
        assert_eq!(
            essence(&heard),
            essence(&expected),
            "unit {number} of seed {seed}: {unit:#?}\nweir:\n{heard}\n\nPostgreSQL:\n{expected}"
        );
        if number % UNITS_BETWEEN_LOOKS == 0 {
            stage.compare_rows();
        }
    }
    stage.compare_rows();
    println!("seed {seed}: {units} units, {refused} refused");
    assert!(refused * 100 <= REFUSED_PER_CENT * units, "{refused} of {units} units were refused");
}
