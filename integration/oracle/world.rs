//! The rows that both sides start with, and whether both sides still hold the same rows.
use super::Place;
use crate::raw::Raw;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use weir::cli::shop;

/// The users' ids, and with them the sharding keys: ordinary ones, and both ends of bigint.
pub const USERS: [i64; 20] = [
    1,
    2,
    3,
    4,
    5,
    6,
    7,
    8,
    9,
    10,
    11,
    42,
    100,
    1_000_000,
    2_147_483_648,
    0,
    -1,
    -7,
    i64::MAX,
    i64::MIN,
];
/// One guest more than have an order.
pub const GUESTS: usize = 9;
const TABLES: [&str; 7] =
    ["users", "orders", "order_items", "payments", "products", "warehouses", "audit_log"];
const SHARDED: [&str; 4] = ["users", "orders", "order_items", "payments"];
const REFERENCE: [&str; 2] = ["products", "warehouses"];

/// Whose row it is.
#[derive(Clone, Copy)]
pub enum Key {
    /// An index into [`USERS`].
    User(usize),
    Guest(usize),
}

impl Key {
    /// The id of this key's nth row in a table.
    pub fn id(self, nth: usize) -> usize {
        match self {
            Key::User(at) => (at + 1) * 1000 + nth,
            Key::Guest(number) => 900_000 + number * 10 + nth,
        }
    }

    fn user_id(self) -> Option<i64> {
        match self {
            Key::User(at) => USERS.get(at).copied(),
            Key::Guest(_) => None,
        }
    }
}

/// The order numbers of a user are its own, so what is unique on a shard is unique on all.
pub fn order_no(key: Key, nth: usize) -> String {
    match key {
        Key::User(at) => format!("A-{at}-{nth}"),
        Key::Guest(number) => format!("G-{number}"),
    }
}

/// Where rules/shop says that a row lives: FNV-1a of the key's text, 1024 buckets in turn over the shards.
fn shard_of(user_id: Option<&str>, order_no: &str, shards: usize) -> usize {
    let text = user_id.unwrap_or(order_no);
    let hash = text
        .bytes()
        .fold(0x811c_9dc5u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    hash as usize % 1024 % shards
}

/// One key's rows as INSERT statements.
fn rows(key: Key) -> String {
    const STATES: [&str; 5] = ["new", "paid", "packed", "shipped", "cancelled"];
    let mut text = String::new();
    let (user, orders) = match key {
        Key::User(at) => {
            let id = USERS[at];
            writeln!(
                text,
                "INSERT INTO users VALUES ({id}, 'u{at}@example.com', '{}', '2025-06-01'::timestamptz + {at} * interval '1 day');",
                ["Ada", "Boris", "Clara"][at % 3]
            )
            .unwrap();
            (id.to_string(), 1..=3)
        }
        Key::Guest(_) => ("NULL".to_owned(), 0..=0),
    };
    for nth in orders {
        let (id, no) = (key.id(nth), order_no(key, nth));
        let note = ["NULL", "'gift'", "'it''s'", "'käse'"][id % 4];
        let state = STATES[(id / 7 + nth) % 5];
        writeln!(
            text,
            "INSERT INTO orders VALUES ({id}, {user}, '{no}', '{state}', {nth}2.50, {note}, '2026-01-0{}'::timestamptz);\
             INSERT INTO order_items VALUES ({id}, {user}, '{no}', 1, {}, 2, 4.90);\
             INSERT INTO order_items VALUES ({}, {user}, '{no}', 2, {}, 1, 7.00);",
            nth + 1,
            id % 6 + 1,
            id + 100,
            id % 5 + 1,
        )
        .unwrap();
        if id % 2 == 1 {
            writeln!(text, "INSERT INTO payments VALUES ({id}, {user}, '{no}', {nth}2.50, 'card', '2026-01-05');")
                .unwrap();
        }
    }
    text
}

fn keys() -> impl Iterator<Item = Key> {
    (0..USERS.len()).map(Key::User).chain((1..GUESTS).map(Key::Guest))
}

/// The servers, spoken to directly.
pub struct World {
    oracle: Raw,
    shards: Vec<Raw>,
}

impl World {
    pub fn new(oracle: &Place, shards: &[Place]) -> Self {
        let connect = |place: &Place| place.connect();
        Self { oracle: connect(oracle), shards: shards.iter().map(connect).collect() }
    }

    /// Empties all tables and fills them again: everything on the oracle, each key's rows on its
    /// shard.
    pub fn reset(&mut self) {
        let clear = format!("TRUNCATE {} RESTART IDENTITY;", TABLES.join(","));
        let audit = "INSERT INTO audit_log VALUES (1, '2026-01-01', 'ada', 'login', '{\"a\": 1}'), \
                     (2, '2026-01-02', 'boris', 'logout', '{}');";
        let mut texts = vec![format!("{clear}{}", shop::REFERENCE); self.shards.len()];
        let mut all = format!("{clear}{}{audit}", shop::REFERENCE);
        texts[0].push_str(audit);
        for key in keys() {
            let rows = rows(key);
            let user_id = key.user_id().map(|id| id.to_string());
            texts[shard_of(user_id.as_deref(), &order_no(key, 0), self.shards.len())]
                .push_str(&rows);
            all.push_str(&rows);
        }
        run(&mut self.oracle, &all);
        for (shard, text) in self.shards.iter_mut().zip(&texts) {
            run(shard, text);
        }
    }

    /// What differs between the shards' rows, taken together, and the oracle's; `None` if nothing.
    pub fn difference(&mut self) -> Option<String> {
        let sums: Vec<String> = TABLES.iter().map(|table| sum(table)).collect();
        let sums = format!("SELECT {}", sums.join(","));
        let wanted = numbers(&mut self.oracle, &sums);
        let mut found = vec![0i128; TABLES.len()];
        for shard in &mut self.shards {
            for (at, number) in numbers(shard, &sums).into_iter().enumerate() {
                if !REFERENCE.contains(&TABLES[at]) {
                    found[at] += number;
                } else if number != wanted[at] {
                    return Some(format!("a shard's {} is not the oracle's", TABLES[at]));
                }
            }
        }
        let differs = |at: &usize| !REFERENCE.contains(&TABLES[*at]) && found[*at] != wanted[*at];
        let at = (0..TABLES.len()).find(differs)?;
        Some(self.rows_that_differ(TABLES[at]))
    }

    fn rows_that_differ(&mut self, table: &str) -> String {
        let query = format!("SELECT t::text FROM {table} t");
        let mut counts: BTreeMap<String, (usize, usize)> = BTreeMap::new();
        for row in column(&mut self.oracle, &query) {
            counts.entry(row).or_default().0 += 1;
        }
        for shard in &mut self.shards {
            for row in column(shard, &query) {
                counts.entry(row).or_default().1 += 1;
            }
        }
        let mut text = format!("the rows of {table} differ (PostgreSQL's count, weir's count):\n");
        for (row, (oracle, weir)) in counts.iter().filter(|(_, (a, b))| a != b) {
            writeln!(text, "  {oracle} {weir}  {row}").unwrap();
        }
        text
    }

    /// A row that is not on the shard where its key belongs.
    pub fn misplaced(&mut self) -> Option<String> {
        let keys: Vec<String> = SHARDED
            .iter()
            .map(|table| match *table {
                "users" => "SELECT 'users', id::text, '' FROM users".to_owned(),
                table => format!("SELECT '{table}', user_id::text, order_no FROM {table}"),
            })
            .collect();
        let (keys, shards) = (keys.join(" UNION ALL "), self.shards.len());
        for (index, shard) in self.shards.iter_mut().enumerate() {
            for row in query(shard, &keys) {
                let (table, user, order) = (&row[0], row[1].as_deref(), row[2].as_deref());
                let home = shard_of(user, order.unwrap_or_default(), shards);
                if home != index {
                    return Some(format!(
                        "a row of {table:?} with key {user:?} {order:?} is on s{index}, not on s{home}"
                    ));
                }
            }
        }
        None
    }
}

/// A number that two sets of rows share only if they are equal, and that adds up over shards.
fn sum(table: &str) -> String {
    format!("(SELECT coalesce(sum(hashtextextended(t::text, 0)::numeric), 0) FROM {table} t)")
}

fn numbers(raw: &mut Raw, text: &str) -> Vec<i128> {
    let rows = query(raw, text);
    let first = rows.first().expect("one row of numbers");
    first.iter().map(|value| value.as_ref().unwrap().parse().unwrap()).collect()
}

fn column(raw: &mut Raw, text: &str) -> Vec<String> {
    query(raw, text).into_iter().map(|row| row[0].clone().unwrap_or_default()).collect()
}

fn run(raw: &mut Raw, text: &str) {
    query(raw, text);
}

/// Runs what must not fail.
pub fn query(raw: &mut Raw, text: &str) -> Vec<Vec<Option<String>>> {
    raw.put(b'Q', &[text.as_bytes(), &[0]].concat()).send();
    let mut rows = Vec::new();
    loop {
        let Some(heard) = raw.next() else { panic!("{}: {text}", raw.transcript()) };
        match heard.kind {
            b'Z' => return rows,
            b'E' => panic!("{:?}: {text}", heard.field(b'M')),
            b'D' => {
                let values = super::answer::values(&heard.body).into_iter();
                let text = |value: Vec<u8>| String::from_utf8(value).unwrap();
                rows.push(values.map(|value| value.map(text)).collect());
            }
            _ => {}
        }
    }
}
