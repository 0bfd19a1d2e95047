//! Transactions made at random.
use super::copies::Copy;
use super::{Said, Unit};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

pub struct Maker {
    random: StdRng,
}

impl Maker {
    /// The same seed and number give the same unit.
    pub fn of(seed: usize, number: usize) -> Self {
        Self { random: StdRng::seed_from_u64((seed as u64) << 32 | number as u64) }
    }

    pub fn below(&mut self, most: usize) -> usize {
        self.random.random_range(0..most)
    }

    pub fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }

    pub fn unit(&mut self) -> Unit {
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
        if !block && self.below(12) == 0 {
            said = vec![self.several()];
        }
        let end = block.then(|| self.one(&["COMMIT", "COMMIT", "COMMIT", "ROLLBACK"]));
        Unit { said, end }
    }

    fn statement(&mut self) -> Said {
        let text = match self.below(18) {
            15.. => return Said::Copy(Copy::make(self)),
            12..15 => return self.moves(),
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

    pub fn condition(&mut self) -> String {
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
            2 if rows > 2 => {
                " ON CONFLICT (user_id, id) DO UPDATE SET user_id = excluded.user_id, note = 'k'"
            }
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
        let number = self.below(20);
        match self.below(5) {
            3 => format!(
                "INSERT INTO orders (user_id, id, note) SELECT user_id + {number}, id, 'from ' || user_id FROM orders \
                 WHERE {} ON CONFLICT DO NOTHING",
                self.condition()
            ),
            4 => format!(
                "INSERT INTO orders (user_id, id, note) SELECT n + {number}, {number}, word FROM numbers"
            ),
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
        match self.below(7) {
            4 => format!(
                "MERGE INTO numbers t USING (SELECT n + 1 AS n, word FROM numbers WHERE n < {number}) s \
                 ON t.n = s.n WHEN MATCHED AND t.n > 6 THEN DELETE \
                 WHEN MATCHED THEN UPDATE SET word = t.word || s.word \
                 WHEN NOT MATCHED THEN INSERT (n, word) VALUES (s.n, 'new')"
            ),
            5 => format!(
                "MERGE INTO numbers AS t USING numbers s ON t.n = s.n AND s.n <> {number} \
                 WHEN MATCHED AND t.word LIKE 'w%' THEN DO NOTHING WHEN MATCHED THEN DELETE \
                 WHEN NOT MATCHED THEN INSERT VALUES (s.n + 10, s.word || now()::date)"
            ),
            6 => format!(
                "MERGE INTO numbers t USING numbers s ON t.n > s.n AND s.n = {number} \
                 WHEN MATCHED THEN UPDATE SET (n, word) = (t.n, s.word)"
            ),
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

    /// Several statements in one message, which are one transaction.
    fn several(&mut self) -> Said {
        let mut text = String::new();
        for _ in 0..2 + self.below(2) {
            if let Said::Query(one) = self.statement() {
                text += &format!("{one}; ");
            }
        }
        Said::Query(text + "SELECT 1")
    }

    /// Rows whose keys change. PostgreSQL looks for duplicates row by row, so that new keys must not be other
    /// moving rows' old ones.
    fn moves(&mut self) -> Said {
        let (to, from) = (self.below(9), self.below(9));
        let condition = self.condition();
        let returning = self.one(&["", "", " RETURNING user_id, id", " RETURNING *"]);
        let text = match self.below(10) {
            0 => format!("UPDATE orders SET user_id = {to} WHERE {condition}{returning}"),
            // No row comes where another one of them goes away: the order would count.
            1 => format!(
                "UPDATE orders SET user_id = {to}, id = id + 20 \
                 WHERE user_id = {from} AND id < 20{returning}"
            ),
            2 => format!(
                "UPDATE orders SET user_id = user_id + 20 WHERE user_id < 20 AND {condition}{returning}"
            ),
            3 => format!("UPDATE orders SET user_id = user_id - 20 WHERE user_id >= 20{returning}"),
            4 => format!(
                "UPDATE orders o SET (note, user_id) = (upper(o.note), {to}) WHERE o.user_id = {from} \
                 AND o.id = {to}{}",
                if returning.is_empty() { "" } else { " RETURNING o.note, o.user_id" }
            ),
            5 => format!("UPDATE visits SET user_id = NULL WHERE user_id = {from} RETURNING *"),
            6 => format!(
                "UPDATE visits SET user_id = {to} WHERE user_id IS NULL AND page = '/{}'",
                to % 3
            ),
            7 => format!("UPDATE visits SET number = number || '{to}' WHERE page = '/{}'", to % 3),
            8 => format!(
                "UPDATE users SET id = id + 20 WHERE id = {from} AND n > {to} RETURNING id, name"
            ),
            _ => {
                let text = "UPDATE orders SET user_id = $1, note = $2 WHERE user_id = $3 AND id > $4 RETURNING *";
                let values = [to, from, from, to].map(|value| Some(value.to_string()));
                return Said::Bound(text.into(), values.to_vec());
            }
        };
        Said::Query(text)
    }
}
