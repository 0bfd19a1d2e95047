//! The constants that a grammar's `{name}` stands for, most of them about one user.
use super::Random;
use super::value::{Kind, Value};
use super::world::{GUESTS, Key, USERS, order_no};
use rand::RngExt;

/// What a unit of statements is about: it stays the same within the unit.
pub struct Constants {
    user: usize,
    other: usize,
    guest: usize,
}

impl Constants {
    pub fn new(random: &mut Random) -> Self {
        let mut user = || random.random_range(0..USERS.len());
        let (user, other) = (user(), user());
        Self { user, other, guest: random.random_range(1..=GUESTS) }
    }

    pub fn value(&self, name: &str, random: &mut Random) -> Value {
        let text = self.raw(name, random);
        match name {
            "user" | "other" | "stranger" | "newcomer" => Value::integer(&text, random),
            "id" | "other_id" => Value::integer(&text, random),
            "small" | "line_no" | "quantity" | "product" | "warehouse" => {
                Value::small(text.parse().unwrap(), random)
            }
            "money" => Value::numeric(&text, random),
            "order_no" | "new_order_no" | "other_order_no" | "guest_no" | "other_guest_no"
            | "text" | "pattern" | "method" | "sku" => Value::string(&text, random),
            "status" => Value::untyped(&text, Kind::Unknown, random),
            "when" => Value::untyped(&text, Kind::Timestamptz, random),
            "day" => Value::untyped(&text, Kind::Date, random),
            "bool" => Value::untyped(&text, Kind::Bool, random),
            "users" => Value::untyped(&text, Kind::Int8Array, random),
            "order_nos" => Value::untyped(&text, Kind::TextArray, random),
            "null" => Value::null(random),
            _ => panic!("the grammar has no constant {name}"),
        }
    }

    /// The constant's text without quotes.
    pub fn raw(&self, name: &str, random: &mut Random) -> String {
        let among = |random: &mut Random, choices: &[&str]| {
            choices[random.random_range(0..choices.len())].to_owned()
        };
        let user = Key::User(self.user);
        match name {
            "user" => USERS[self.user].to_string(),
            "other" => USERS[self.other].to_string(),
            "stranger" => among(random, &["77777", "-77777", "123456789012"]),
            "newcomer" => among(random, &["88888", "-88888", "987654321098"]),
            "id" => user.id(random.random_range(1..=9)).to_string(),
            "other_id" => Key::User(self.other).id(random.random_range(1..=9)).to_string(),
            "order_no" => order_no(user, random.random_range(1..=4)),
            "new_order_no" => order_no(user, random.random_range(4..=9)),
            "other_order_no" => order_no(Key::User(self.other), random.random_range(1..=4)),
            "guest_no" => order_no(Key::Guest(self.guest), 0),
            "other_guest_no" => order_no(Key::Guest(random.random_range(1..=GUESTS)), 0),
            "guest_id" => Key::Guest(self.guest).id(0).to_string(),
            "small" => random.random_range(0..5).to_string(),
            "line_no" => random.random_range(1..4).to_string(),
            "quantity" => random.random_range(0..6).to_string(),
            "product" => random.random_range(1..8).to_string(),
            "warehouse" => random.random_range(1..5).to_string(),
            "money" => among(random, &["0", "4.90", "12.5", "100", "-1", "19.999", "1000.00"]),
            "text" => {
                among(random, &["gift", "it's", "", "back\\slash", "käse", "two  words", "42"])
            }
            "pattern" => among(random, &["%", "A-%", "%a%", "_it%", "G-_", "it''s"]),
            "method" => among(random, &["card", "invoice", "cash"]),
            "sku" => among(random, &["TEA-001", "CUP-001", "NO-SUCH"]),
            "status" => among(
                random,
                &["new", "paid", "packed", "shipped", "returned", "cancelled", "lost"],
            ),
            "when" => among(
                random,
                &["2026-01-01 00:00:00+00", "2026-01-03", "2026-01-02 12:00+02", "2025-06-01"],
            ),
            "day" => among(random, &["2026-01-01", "2026-01-03", "2025-12-31"]),
            "bool" => among(random, &["true", "false"]),
            "users" => {
                let (user, other) = (USERS[self.user], USERS[self.other]);
                match random.random_range(0..7) {
                    0 => "{}".to_owned(),
                    1 => format!("{{{user},{user}}}"),
                    2 => format!("{{{user},NULL}}"),
                    3 => format!("{{{user},{other}}}"),
                    _ => format!("{{{user}}}"),
                }
            }
            "order_nos" => {
                format!("{{{},{}}}", order_no(user, 1), order_no(user, random.random_range(1..=4)))
            }
            "null" => "NULL".to_owned(),
            _ => panic!("the grammar has no constant {name}"),
        }
    }
}
