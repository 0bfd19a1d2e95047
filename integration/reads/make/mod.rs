//! Makes statements that read: every one means something to PostgreSQL, and it is known how far its
//! answer is determined.
//!
//! - `sql`: text in pieces
//! - `source`: what stands behind FROM
//! - `expression`, `predicate`, `aggregate`, `window`: what stands in the clauses
//! - `select`: one SELECT · `order`: ORDER BY and LIMIT · `query`: WITH, set operations, the rest
pub mod sql;
mod source;
mod expression;
mod predicate;
mod aggregate;
mod window;
mod order;
mod select;
mod query;

use super::Random;
use super::schema::{Table, tables};
use super::types::Type;
use crate::oracle::statement::Statement;
use crate::oracle::value::{Kind, Value};
use rand::RngExt;
use sql::Sql;

/// How far a value is determined.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Certainty {
    /// To the byte.
    Exact,
    /// One of several that are equal to PostgreSQL: 1.0 or 1.00.
    Faces,
    /// A float whose last digits depend on the order in which it was added up.
    Near,
}

/// A column that may be spoken of.
#[derive(Clone, Debug)]
pub struct Column {
    pub name: String,
    pub kind: Type,
    pub certainty: Certainty,
}

/// Something in FROM, by its alias.
#[derive(Clone, Debug)]
pub struct Source {
    pub alias: String,
    pub columns: Vec<Column>,
    /// The columns that no two rows share.
    pub key: Option<Vec<String>>,
}

#[derive(Clone, Debug)]
pub struct Expression {
    pub sql: Sql,
    pub kind: Type,
    pub certainty: Certainty,
}

/// A whole query.
#[derive(Clone, Debug)]
pub struct Query {
    pub sql: Sql,
    pub columns: Vec<Column>,
    pub key: Option<Vec<String>>,
}

/// A statement, and how its answer is to be compared.
#[derive(Clone, Debug)]
pub struct Made {
    pub statement: Statement,
    /// By column: certain to the byte, or how else.
    pub certainties: Vec<Certainty>,
}

pub struct Maker<'a> {
    random: &'a mut Random,
    tables: Vec<Table>,
    /// Numbers the aliases.
    aliases: usize,
    /// What FROM may name besides tables.
    ctes: Vec<Source>,
    /// The queries around the one that is made, innermost last.
    around: Vec<Vec<Source>>,
}

impl<'a> Maker<'a> {
    pub fn new(random: &'a mut Random) -> Self {
        Self { random, tables: tables(), aliases: 0, ctes: Vec::new(), around: Vec::new() }
    }

    pub fn statement(&mut self) -> Made {
        let query = self.top();
        let certainties = query.columns.iter().map(|column| column.certainty).collect();
        let statement = Statement::split(query.sql.0).swap_remove(0);
        Made { statement, certainties }
    }

    // ---- chance

    /// True in so many of a hundred.
    fn chance(&mut self, percent: u32) -> bool {
        self.random.random_range(0..100) < percent
    }

    fn below(&mut self, end: usize) -> usize {
        self.random.random_range(0..end)
    }

    fn among<T: Clone>(&mut self, choices: &[T]) -> T {
        let at = self.below(choices.len());
        choices[at].clone()
    }

    fn alias(&mut self, stem: &str) -> String {
        self.aliases += 1;
        format!("{stem}{}", self.aliases)
    }

    /// A constant of a type that the statement says where it stands.
    fn constant(&mut self, kind: Type) -> Sql {
        let declared = match kind {
            Type::Bool => Kind::Bool,
            Type::Int2 => Kind::Int2,
            Type::Int4 => Kind::Int4,
            Type::Int8 => Kind::Int8,
            Type::Numeric | Type::Money => Kind::Numeric,
            Type::TextC | Type::TextDefault | Type::TextIcu | Type::TextNoCase => Kind::Text,
            Type::Varchar => Kind::Varchar,
            Type::Date => Kind::Date,
            Type::Timestamptz => Kind::Timestamptz,
            Type::Float4
            | Type::Float8
            | Type::Rough
            | Type::Char
            | Type::Bytea
            | Type::Timestamp
            | Type::Time
            | Type::Interval
            | Type::Uuid
            | Type::Jsonb
            | Type::Ints
            | Type::Texts
            | Type::Mood
            | Type::Citext => Kind::Unknown,
        };
        let text = kind.sample(self.random);
        let mut value = Value::untyped(&text, declared, self.random);
        value.shared = false;
        value.into()
    }

    /// A small number, as a constant in the text or as a parameter.
    fn number(&mut self, from: i64, to: i64) -> Sql {
        let number = self.random.random_range(from..=to);
        let mut value = Value::small(number, self.random);
        value.declared = Kind::Int4;
        value.shared = false;
        value.into()
    }

    // ---- columns

    /// A column of one of the sources that fits.
    fn column(&mut self, scope: &[Source], fits: impl Fn(&Column) -> bool) -> Option<Expression> {
        let all: Vec<Expression> = scope
            .iter()
            .flat_map(|source| source.columns.iter().map(move |column| (source, column)))
            .filter(|(_, column)| fits(column))
            .map(|(source, column)| source.expression(column))
            .collect();
        (!all.is_empty()).then(|| self.among(&all))
    }

    /// A column whose value is certain.
    fn exact(&mut self, scope: &[Source], fits: impl Fn(Type) -> bool) -> Option<Expression> {
        self.column(scope, |column| column.certainty == Certainty::Exact && fits(column.kind))
    }
}

impl Source {
    fn expression(&self, column: &Column) -> Expression {
        Expression {
            sql: format!("{}.{}", self.alias, column.name).into(),
            kind: column.kind,
            certainty: column.certainty,
        }
    }

    fn has(&self, name: &str) -> bool {
        self.columns.iter().any(|column| column.name == name)
    }
}

/// The columns that together tell the rows of all sources apart, if each source has some.
fn keys(sources: &[Source]) -> Option<Vec<Sql>> {
    let mut keys = Vec::new();
    for source in sources {
        for name in source.key.as_ref()? {
            keys.push(format!("{}.{name}", source.alias).into());
        }
    }
    // A single row needs none; but a list of none is no SQL.
    (!keys.is_empty()).then_some(keys)
}

impl Expression {
    /// Comparable by its bytes.
    fn is_plain(&self) -> bool {
        self.certainty == Certainty::Exact && !self.kind.has_faces()
    }
}
