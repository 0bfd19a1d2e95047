//! A key's constant: how the statement writes it, and which key that is for one execution.
//!
//! PostgreSQL decides what `user_id = X` means by X's type: `'42'` is read as the column's type,
//! `42.0` is compared as numeric, `'42'::text` is an error. Only values that are worked out exactly
//! become keys; every other form is refused.
use super::Unroutable;
use super::catalog::Column;
use crate::error::{Error, SqlState};
use crate::ids::Oid;
use crate::sharding::{Key, KeyType};
use crate::sql::shape::{LiteralKind, Shape};
use crate::sql::statement::{Expr, Literal, TypeName};
use crate::wire::params::{Params, Value};
use crate::wire::value::{Decoded, ValueError, decode, oid};

/// A constant, as written: a literal or parameter, and what is done to it, innermost first.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Operand {
    pub base: Base,
    pub steps: Vec<Step>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Base {
    Literal(Literal),
    /// `$n`
    Param(u32),
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Step {
    Negate,
    Cast(TypeName),
}

/// The keys that a condition allows.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Keys {
    AnyOf(Vec<Operand>),
    /// The elements of an array.
    Elements(Operand),
}

/// How PostgreSQL brings a value to the key's type.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Use {
    /// `=`: another numeric type is compared as it is.
    Compared,
    /// INSERT: assignment casts apply.
    Assigned,
}

/// What the operands stand for in one execution.
#[derive(Clone, Copy)]
pub struct Values<'a> {
    pub statement: &'a str,
    pub shape: &'a Shape,
    pub params: &'a Params<'a>,
}

/// A value with the type that PostgreSQL gives it.
#[derive(Clone, PartialEq, Debug)]
enum Typed<'a> {
    Null,
    /// A string whose type the context decides.
    Unknown(std::borrow::Cow<'a, str>),
    /// Binary bytes whose type the context decides.
    Binary(&'a [u8]),
    Int(i64),
    Numeric(String),
    Text(String),
    Uuid([u8; 16]),
    Date(i32),
    Timestamptz(i64),
    /// Something else: what it is.
    Other(&'static str),
}

impl Operand {
    /// `None`: no constant.
    pub fn of(expr: &Expr) -> Option<Self> {
        match expr {
            Expr::Literal(literal) => {
                Some(Self { base: Base::Literal(literal.clone()), steps: Vec::new() })
            }
            Expr::Param(number) => Some(Self { base: Base::Param(*number), steps: Vec::new() }),
            Expr::Cast(inner, type_name) => Self::of(inner)?.then(Step::Cast(type_name.clone())),
            Expr::Negative(inner) => Self::of(inner)?.then(Step::Negate),
            Expr::Column(_)
            | Expr::Equal(..)
            | Expr::And(_)
            | Expr::InList(..)
            | Expr::InQuery(..)
            | Expr::EqualAny(..)
            | Expr::IsNull(_)
            | Expr::Row(_)
            | Expr::Array(_)
            | Expr::Call(_)
            | Expr::Subquery(_)
            | Expr::Star
            | Expr::Other(_) => None,
        }
    }

    fn then(mut self, step: Step) -> Option<Self> {
        self.steps.push(step);
        Some(self)
    }

    /// A parameter's number and the type that decides how an untyped one is read: its first cast.
    pub fn param(&self) -> Option<(u32, Option<&TypeName>)> {
        match (&self.base, self.steps.first()) {
            (Base::Param(number), Some(Step::Cast(type_name))) => Some((*number, Some(type_name))),
            (Base::Param(number), Some(Step::Negate) | None) => Some((*number, None)),
            (Base::Literal(_), _) => None,
        }
    }

    /// The key that this is; `None`: NULL, or a value that equals no key of the type.
    pub fn key(
        &self,
        column: &str,
        key_type: KeyType,
        used: Use,
        values: Values<'_>,
    ) -> Result<Option<Key>, Unroutable> {
        let mut typed = self.base(column, values)?;
        for step in &self.steps {
            typed = match step {
                Step::Negate => negate(column, typed)?,
                Step::Cast(type_name) => cast(column, typed, type_name)?,
            };
        }
        to_key(column, typed, key_type, used)
    }

    /// Is it NULL in this execution?
    pub fn is_null(&self, values: Values<'_>) -> bool {
        matches!(self.base("", values), Ok(Typed::Null))
    }

    fn base<'a>(&self, column: &str, values: Values<'a>) -> Result<Typed<'a>, Unroutable> {
        match &self.base {
            Base::Param(number) => param(column, *number, values.params),
            Base::Literal(Literal::Null) => Ok(Typed::Null),
            Base::Literal(Literal::Boolean(_)) => Ok(Typed::Other("a boolean")),
            Base::Literal(Literal::Number(digits)) => number(column, digits),
            Base::Literal(Literal::Text(text)) => Ok(Typed::Unknown(text.clone().into())),
            Base::Literal(Literal::Unread) => Err(unfolded(column, "a literal of a rare form")),
            Base::Literal(Literal::Lifted(index)) => {
                let lifted = values.shape.literals.get(*index);
                let value =
                    lifted.and_then(|lifted| Some((lifted.kind, lifted.value(values.statement)?)));
                match value {
                    Some((LiteralKind::Integer | LiteralKind::Decimal, digits)) => {
                        number(column, &digits)
                    }
                    Some((
                        LiteralKind::String | LiteralKind::EscapeString | LiteralKind::DollarString,
                        text,
                    )) => Ok(Typed::Unknown(text)),
                    None => Err(unfolded(column, "a string that is no UTF-8")),
                }
            }
        }
    }
}

impl Keys {
    pub fn one(operand: Operand) -> Self {
        Self::AnyOf(vec![operand])
    }

    pub fn operands(&self) -> &[Operand] {
        match self {
            Self::AnyOf(operands) => operands,
            Self::Elements(array) => std::slice::from_ref(array),
        }
    }

    /// Calls `each` with every key that this execution allows.
    pub fn each(
        &self,
        column: &str,
        key_type: KeyType,
        values: Values<'_>,
        mut each: impl FnMut(Key) -> Result<(), Unroutable>,
    ) -> Result<(), Unroutable> {
        match self {
            Self::AnyOf(operands) => {
                for operand in operands {
                    if let Some(key) = operand.key(column, key_type, Use::Compared, values)? {
                        each(key)?;
                    }
                }
            }
            Self::Elements(array) => {
                for key in super::array::keys(array, column, key_type, values)? {
                    each(key)?;
                }
            }
        }
        Ok(())
    }
}

fn param<'a>(column: &str, number: u32, params: &Params<'a>) -> Result<Typed<'a>, Unroutable> {
    let index = number as usize - 1;
    let value = params.values.get(index).copied().ok_or(Unroutable::NoParameter(number))?;
    let type_oid = params.types.get(index).copied().unwrap_or_default();
    match (value, type_oid) {
        (Value::Null, _) => Ok(Typed::Null),
        (Value::Text(bytes), Oid(0) | oid::UNKNOWN) => {
            let text = std::str::from_utf8(bytes).map_err(|_| bad(ValueError::NotUtf8))?;
            Ok(Typed::Unknown(text.into()))
        }
        (Value::Binary(bytes), Oid(0) | oid::UNKNOWN) => Ok(Typed::Binary(bytes)),
        (value, type_oid) => decoded(column, value, type_oid),
    }
}

fn decoded<'a>(column: &str, value: Value<'_>, type_oid: Oid) -> Result<Typed<'a>, Unroutable> {
    if matches!(type_oid, oid::BPCHAR | oid::NAME | oid::OID) {
        return Ok(Typed::Other("a character(n), name or oid"));
    }
    Ok(match decode(value, type_oid).map_err(|error| wrong(column, error))? {
        Decoded::Null => Typed::Null,
        Decoded::Bool(_) => Typed::Other("a boolean"),
        Decoded::Int(value) => Typed::Int(value),
        Decoded::Numeric(digits) => Typed::Numeric(digits),
        Decoded::Text(text) => Typed::Text(text.to_owned()),
        Decoded::Uuid(bytes) => Typed::Uuid(bytes),
        Decoded::Date(days) => Typed::Date(days),
        Decoded::Timestamptz(micros) => Typed::Timestamptz(micros),
        Decoded::UnknownType(_) => Typed::Other("a value of another type"),
    })
}

fn number<'a>(column: &str, digits: &str) -> Result<Typed<'a>, Unroutable> {
    match digits.bytes().all(|byte| byte.is_ascii_digit()) {
        true if digits.parse::<i64>().is_ok() => Ok(Typed::Int(digits.parse().unwrap_or_default())),
        _ => read(column, digits, oid::NUMERIC),
    }
}

/// A string read as a type.
fn read<'a>(column: &str, text: &str, type_oid: Oid) -> Result<Typed<'a>, Unroutable> {
    decoded(column, Value::Text(text.as_bytes()), type_oid)
}

fn negate<'a>(column: &str, typed: Typed<'a>) -> Result<Typed<'a>, Unroutable> {
    Ok(match typed {
        Typed::Null => Typed::Null,
        // A literal is never the smallest bigint, but a parameter may be: that overflows.
        Typed::Int(value) => Typed::Int(
            value
                .checked_neg()
                .ok_or_else(|| unfolded(column, "a minus before the least bigint"))?,
        ),
        Typed::Numeric(digits) => {
            let negative = match digits.strip_prefix('-') {
                Some(digits) => digits.to_owned(),
                None => format!("-{digits}"),
            };
            Typed::Numeric(negative)
        }
        Typed::Unknown(_)
        | Typed::Binary(_)
        | Typed::Text(_)
        | Typed::Uuid(_)
        | Typed::Date(_)
        | Typed::Timestamptz(_)
        | Typed::Other(_) => return Err(unfolded(column, "a minus before no number")),
    })
}

/// The types that a cast is worked out for.
pub(super) fn type_oid(type_name: &TypeName) -> Option<Oid> {
    if type_name.modified || type_name.array {
        return None;
    }
    Some(match type_name.name.as_str() {
        "smallint" | "int2" => oid::INT2,
        "integer" | "int" | "int4" => oid::INT4,
        "bigint" | "int8" => oid::INT8,
        "numeric" | "decimal" => oid::NUMERIC,
        "text" => oid::TEXT,
        "varchar" | "character varying" => oid::VARCHAR,
        "uuid" => oid::UUID,
        "date" => oid::DATE,
        "timestamptz" | "timestamp with time zone" => oid::TIMESTAMPTZ,
        _ => return None,
    })
}

fn cast<'a>(column: &str, typed: Typed<'a>, type_name: &TypeName) -> Result<Typed<'a>, Unroutable> {
    let Some(to) = type_oid(type_name) else {
        return Err(unfolded(column, &format!("a cast to {}", type_name.name)));
    };
    Ok(match (typed, to) {
        (Typed::Null, _) => Typed::Null,
        (Typed::Unknown(text), to) => read(column, &text, to)?,
        (Typed::Binary(bytes), to) => decoded(column, Value::Binary(bytes), to)?,
        (Typed::Int(value), oid::INT2 | oid::INT4 | oid::INT8) => narrow(value, to)?,
        (Typed::Int(value), oid::NUMERIC) => Typed::Numeric(value.to_string()),
        (Typed::Int(value), oid::TEXT | oid::VARCHAR) => Typed::Text(value.to_string()),
        (Typed::Numeric(digits), oid::NUMERIC) => Typed::Numeric(digits),
        (Typed::Numeric(digits), oid::INT2 | oid::INT4 | oid::INT8) => {
            // PostgreSQL rounds; only what needs no rounding is worked out.
            match Decoded::Numeric(digits).as_int() {
                Some(value) => narrow(value, to)?,
                None => return Err(unfolded(column, "a number that the cast rounds")),
            }
        }
        (Typed::Text(text), to) => read(column, &text, to)?,
        (Typed::Uuid(bytes), oid::UUID) => Typed::Uuid(bytes),
        (Typed::Date(days), oid::DATE) => Typed::Date(days),
        (Typed::Timestamptz(micros), oid::TIMESTAMPTZ) => Typed::Timestamptz(micros),
        (
            Typed::Int(_)
            | Typed::Numeric(_)
            | Typed::Uuid(_)
            | Typed::Date(_)
            | Typed::Timestamptz(_)
            | Typed::Other(_),
            _,
        ) => return Err(unfolded(column, &format!("a cast to {}", type_name.name))),
    })
}

/// A number as a smaller type. PostgreSQL's words differ from those for a string that is too large.
fn narrow<'a>(value: i64, to: Oid) -> Result<Typed<'a>, Unroutable> {
    let (fits, type_name) = match to {
        oid::INT2 => (i16::try_from(value).is_ok(), "smallint"),
        oid::INT4 => (i32::try_from(value).is_ok(), "integer"),
        _ => (true, "bigint"),
    };
    if fits { Ok(Typed::Int(value)) } else { Err(overflow(type_name)) }
}

fn overflow(type_name: &str) -> Unroutable {
    Unroutable::Value(Error::client(
        SqlState::NUMERIC_VALUE_OUT_OF_RANGE,
        format!("{type_name} out of range"),
    ))
}

fn to_key(
    column: &str,
    typed: Typed<'_>,
    key_type: KeyType,
    used: Use,
) -> Result<Option<Key>, Unroutable> {
    use KeyType as K;
    let typed = match typed {
        Typed::Unknown(text) => read(column, &text, oid_of(key_type))?,
        Typed::Binary(bytes) => decoded(column, Value::Binary(bytes), oid_of(key_type))?,
        typed => typed,
    };
    match (typed, key_type) {
        (Typed::Null, _) => Ok(None),
        (Typed::Int(value), K::Smallint | K::Int | K::Bigint) => {
            let key = Key::Int(value);
            match (key.fits(key_type), used) {
                (true, _) => Ok(Some(key)),
                (false, Use::Compared) => Ok(None),
                (false, Use::Assigned) => Err(overflow(oid_name(key_type))),
            }
        }
        (Typed::Numeric(digits), K::Smallint | K::Int | K::Bigint) => {
            let value = Decoded::Numeric(digits).as_int();
            match (value, used) {
                (Some(value), _) => to_key(column, Typed::Int(value), key_type, used),
                // 42.5 equals no integer.
                (None, Use::Compared) => Ok(None),
                (None, Use::Assigned) => Err(unfolded(column, "a number that must be rounded")),
            }
        }
        (Typed::Text(text), K::Text) => Ok(Some(Key::Text(text))),
        (Typed::Text(text), K::Varchar) => match (text.ends_with(' '), used) {
            // A varchar(n) drops blanks beyond n without a word.
            (true, Use::Assigned) => Err(unfolded(column, "a text with blanks at its end")),
            (false, Use::Assigned) | (_, Use::Compared) => Ok(Some(Key::Text(text))),
        },
        (Typed::Uuid(bytes), K::Uuid) => Ok(Some(Key::Uuid(bytes))),
        (Typed::Date(days), K::Date) => Ok(Some(Key::Date(days))),
        (Typed::Timestamptz(micros), K::Timestamptz) => Ok(Some(Key::Timestamptz(micros))),
        (typed, _) => {
            Err(Unroutable::TypeMismatch { column: column.to_owned(), form: typed.describe() })
        }
    }
}

impl Typed<'_> {
    fn describe(&self) -> String {
        match self {
            Typed::Null => "NULL",
            Typed::Unknown(_) | Typed::Binary(_) => "a value of unknown type",
            Typed::Int(_) => "an integer",
            Typed::Numeric(_) => "a numeric",
            Typed::Text(_) => "a text",
            Typed::Uuid(_) => "a uuid",
            Typed::Date(_) => "a date",
            Typed::Timestamptz(_) => "a timestamptz",
            Typed::Other(what) => what,
        }
        .to_owned()
    }
}

/// A key as COPY data gives it: PostgreSQL reads it as the column's type. `None`: it fits no key.
pub(super) fn copied(
    column: &str,
    value: Value<'_>,
    read_as: KeyType,
) -> Result<Option<Key>, Unroutable> {
    to_key(column, decoded(column, value, oid_of(read_as))?, read_as, Use::Assigned)
}

/// As what values for a column of that type are read, if the distribution's key type has the same values.
pub(super) fn read_as(key_type: KeyType, column: &Column) -> Option<KeyType> {
    use KeyType as K;
    let all =
        [K::Smallint, K::Int, K::Bigint, K::Text, K::Varchar, K::Uuid, K::Date, K::Timestamptz];
    if column.type_oid == Oid(0) {
        return Some(key_type);
    }
    let own = all.into_iter().find(|one| oid_of(*one) == column.type_oid)?;
    let alike = match (key_type, own) {
        (K::Text | K::Varchar, K::Text | K::Varchar) => true,
        // Its precision may round values.
        (K::Timestamptz, K::Timestamptz) => !column.type_name.contains('('),
        (key_type, own) => key_type == own || key_type.is_integer() && own.is_integer(),
    };
    alike.then_some(own)
}

/// The type under which PostgreSQL reads an untyped value that meets a key of this type.
pub(super) fn oid_of(key_type: KeyType) -> Oid {
    match key_type {
        KeyType::Smallint => oid::INT2,
        KeyType::Int => oid::INT4,
        KeyType::Bigint => oid::INT8,
        KeyType::Text => oid::TEXT,
        KeyType::Varchar => oid::VARCHAR,
        KeyType::Uuid => oid::UUID,
        KeyType::Date => oid::DATE,
        KeyType::Timestamptz => oid::TIMESTAMPTZ,
    }
}

fn oid_name(key_type: KeyType) -> &'static str {
    match key_type {
        KeyType::Smallint => "smallint",
        KeyType::Int => "integer",
        KeyType::Bigint => "bigint",
        KeyType::Text => "text",
        KeyType::Varchar => "character varying",
        KeyType::Uuid => "uuid",
        KeyType::Date => "date",
        KeyType::Timestamptz => "timestamp with time zone",
    }
}

pub(super) fn unfolded(column: &str, form: &str) -> Unroutable {
    Unroutable::Unfolded { column: column.to_owned(), form: form.to_owned() }
}

fn bad(error: ValueError) -> Unroutable {
    Unroutable::Value(error.into())
}

fn wrong(column: &str, error: ValueError) -> Unroutable {
    match error {
        ValueError::NeedsServer { type_name } => {
            unfolded(column, &format!("a {type_name} whose meaning depends on settings"))
        }
        ValueError::BadSyntax { .. }
        | ValueError::OutOfRange { .. }
        | ValueError::BadBinary { .. }
        | ValueError::NotUtf8 => bad(error),
    }
}
