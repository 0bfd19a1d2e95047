//! A generated statement: its text in parts, so that its constants can become parameters and its
//! optional clauses can be taken away.
use super::value::Value;

/// Whether the order of the rows is defined.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Order {
    #[default]
    Any,
    /// ORDER BY ends in a unique key.
    Total,
    /// By the columns whose bits are set; rows that are equal in them come in any order.
    By(u64),
    /// The same, but which of the equal rows come at all is PostgreSQL's choice.
    Keys(u64),
    /// Which rows come is PostgreSQL's choice (LIMIT without a total order); only their number counts.
    CountOnly,
}

#[derive(Clone, Debug)]
pub enum Part {
    Text(String),
    Value(Value),
    /// May be left out.
    Optional(Vec<Part>),
    Order(Order),
    /// What follows is another statement.
    Next,
}

#[derive(Clone, Debug)]
pub struct Statement {
    parts: Vec<Part>,
}

impl Statement {
    /// The statements of a text in parts.
    pub fn split(parts: Vec<Part>) -> Vec<Self> {
        let mut statements = vec![Vec::new()];
        for part in parts {
            match part {
                Part::Next => statements.push(Vec::new()),
                Part::Text(_) | Part::Value(_) | Part::Optional(_) | Part::Order(_) => {
                    statements.last_mut().unwrap().push(part);
                }
            }
        }
        statements.into_iter().map(|parts| Self { parts }).collect()
    }

    pub fn order(&self) -> Order {
        let mut order = Order::Any;
        walk(&self.parts, &mut |part| match part {
            Part::Order(said) => order = *said,
            Part::Text(_) | Part::Value(_) | Part::Optional(_) | Part::Next => {}
        });
        order
    }

    /// The text with its constants in it.
    pub fn text(&self) -> String {
        self.print(&mut |value| value.literal.clone())
    }

    /// What all statements that differ only in constants have in common.
    pub fn shape(&self) -> String {
        self.print(&mut |_| "?".to_owned())
    }

    /// The text with some constants as parameters, and those parameters. Equal values share one.
    pub fn parameterised(&self) -> (String, Vec<Value>) {
        let mut values: Vec<Value> = Vec::new();
        let text = self.print(&mut |value| {
            if !value.bound {
                return value.literal.clone();
            }
            let known = values.iter().position(|known| known.shared && known.same(value));
            let at = known.unwrap_or_else(|| {
                values.push(value.clone());
                values.len() - 1
            });
            format!("${}", at + 1)
        });
        (text, values)
    }

    /// Whether rows may change.
    pub fn may_write(&self) -> bool {
        let text = self.text();
        ["INSERT", "UPDATE", "DELETE", "MERGE", "TRUNCATE"].iter().any(|verb| text.contains(verb))
    }

    /// The statement without one of its optional clauses: each in turn, the longest first.
    pub fn smaller(&self) -> Vec<Self> {
        let mut variants = Vec::new();
        let mut count = 0;
        walk(&self.parts, &mut |part| count += usize::from(matches!(part, Part::Optional(_))));
        for skipped in 0..count {
            let mut at = 0;
            let parts = without(&self.parts, skipped, &mut at);
            variants.push(Self { parts });
        }
        variants.sort_by_key(|variant| variant.shape().len());
        variants
    }

    fn print(&self, value: &mut impl FnMut(&Value) -> String) -> String {
        let mut text = String::new();
        walk(&self.parts, &mut |part| match part {
            Part::Text(piece) => text.push_str(piece),
            Part::Value(constant) => text.push_str(&value(constant)),
            Part::Optional(_) | Part::Order(_) | Part::Next => {}
        });
        text.trim().to_owned()
    }
}

fn walk(parts: &[Part], visit: &mut impl FnMut(&Part)) {
    for part in parts {
        visit(part);
        if let Part::Optional(inner) = part {
            walk(inner, visit);
        }
    }
}

fn without(parts: &[Part], skipped: usize, at: &mut usize) -> Vec<Part> {
    let mut kept = Vec::new();
    for part in parts {
        let Part::Optional(inner) = part else {
            kept.push(part.clone());
            continue;
        };
        let this = *at;
        *at += 1;
        let inner = without(inner, skipped, at);
        if this != skipped {
            kept.push(Part::Optional(inner));
        }
    }
    kept
}
