//! Text in the making: pieces, constants, and what may be left out when a difference is made small.
use crate::oracle::statement::{Order, Part};
use crate::oracle::value::Value;

#[derive(Clone, Default, Debug)]
pub struct Sql(pub Vec<Part>);

impl Sql {
    pub fn push(&mut self, piece: impl Into<Self>) {
        self.0.extend(piece.into().0);
    }

    pub fn optional(self) -> Self {
        Self(vec![Part::Optional(self.0)])
    }

    pub fn order(order: Order) -> Self {
        Self(vec![Part::Order(order)])
    }

    pub fn list(items: impl IntoIterator<Item = Self>, between: &str) -> Self {
        let mut all = Self::default();
        for (at, item) in items.into_iter().enumerate() {
            if at > 0 {
                all.push(between);
            }
            all.push(item);
        }
        all
    }
}

impl From<&str> for Sql {
    fn from(text: &str) -> Self {
        Self(vec![Part::Text(text.to_owned())])
    }
}

impl From<String> for Sql {
    fn from(text: String) -> Self {
        Self(vec![Part::Text(text)])
    }
}

impl From<&String> for Sql {
    fn from(text: &String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<&Sql> for Sql {
    fn from(sql: &Sql) -> Self {
        sql.clone()
    }
}

impl From<Value> for Sql {
    fn from(value: Value) -> Self {
        Self(vec![Part::Value(value)])
    }
}

/// Pieces one behind the other.
macro_rules! sql {
    ($($piece:expr),* $(,)?) => {{
        let mut sql = $crate::reads::make::sql::Sql::default();
        $(sql.push($piece);)*
        sql
    }};
}
pub(crate) use sql;
