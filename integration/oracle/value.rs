//! Constants: of which PostgreSQL type, how they are spelled in a text, and how they are bound.
use super::Random;
use rand::RngExt;

/// A PostgreSQL type that a constant may be declared as.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Bool,
    Int2,
    Int4,
    Int8,
    Numeric,
    Text,
    Varchar,
    Date,
    Timestamptz,
    Int8Array,
    TextArray,
    /// Left for the server to infer.
    Unknown,
}

impl Kind {
    pub fn oid(self) -> u32 {
        match self {
            Kind::Bool => 16,
            Kind::Int2 => 21,
            Kind::Int4 => 23,
            Kind::Int8 => 20,
            Kind::Numeric => 1700,
            Kind::Text => 25,
            Kind::Varchar => 1043,
            Kind::Date => 1082,
            Kind::Timestamptz => 1184,
            Kind::Int8Array => 1016,
            Kind::TextArray => 1009,
            Kind::Unknown => 0,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Kind::Bool => "boolean",
            Kind::Int2 => "smallint",
            Kind::Int4 => "int",
            Kind::Int8 => "bigint",
            Kind::Numeric => "numeric",
            Kind::Text | Kind::Unknown => "text",
            Kind::Varchar => "varchar",
            Kind::Date => "date",
            Kind::Timestamptz => "timestamptz",
            Kind::Int8Array => "bigint[]",
            Kind::TextArray => "text[]",
        }
    }
}

#[derive(Clone, Debug)]
pub struct Value {
    /// PostgreSQL's text form; `None` is NULL.
    pub text: Option<String>,
    /// How it stands in a statement's text.
    pub literal: String,
    /// What Parse says it is.
    pub declared: Kind,
    /// A parameter where there are parameters.
    pub bound: bool,
    pub binary: bool,
    /// Takes the number of an equal parameter before it.
    pub shared: bool,
}

impl Value {
    pub fn same(&self, other: &Self) -> bool {
        (&self.text, self.declared, self.binary) == (&other.text, other.declared, other.binary)
    }

    /// A whole number, spelled in one of the ways that mean a bigint to PostgreSQL, or nearly.
    pub fn integer(number: &str, random: &mut Random) -> Self {
        let negative = number.starts_with('-');
        let digits = number.trim_start_matches('-');
        let literal = match random.random_range(0..14) {
            0 => format!("'{number}'"),
            1 if !negative => format!("{number}::bigint"),
            2 => format!("'{number}'::bigint"),
            3 => format!("CAST({number} AS bigint)"),
            4 => format!("bigint '{number}'"),
            5 => format!("({number})"),
            6 if !negative => format!("+{number}"),
            7 if !negative => format!("00{number}"),
            8 => format!("{number}.0"),
            9 if negative => format!("- {digits}"),
            10 => format!("int8 ' {number} '"),
            _ => number.to_owned(),
        };
        let declared = match random.random_range(0..12) {
            0 => Kind::Unknown,
            1 => Kind::Numeric,
            2 | 3 if number.parse::<i32>().is_ok() => Kind::Int4,
            4 if number.parse::<i16>().is_ok() => Kind::Int2,
            5 => Kind::Text,
            _ => Kind::Int8,
        };
        Self::new(Some(number), literal, declared, random)
    }

    /// A small number where PostgreSQL wants an int.
    pub fn small(number: i64, random: &mut Random) -> Self {
        let number = number.to_string();
        let declared = pick(random, &[Kind::Unknown, Kind::Int4, Kind::Int4]);
        Self::new(Some(&number), number.clone(), declared, random)
    }

    pub fn numeric(number: &str, random: &mut Random) -> Self {
        let literal = match random.random_range(0..4) {
            0 => format!("'{number}'"),
            1 => format!("{number}::numeric"),
            _ => number.to_owned(),
        };
        let declared = pick(random, &[Kind::Unknown, Kind::Numeric, Kind::Numeric]);
        Self::new(Some(number), literal, declared, random)
    }

    pub fn string(text: &str, random: &mut Random) -> Self {
        let quoted = text.replace('\'', "''");
        let half = text.len() / 2;
        let literal = match random.random_range(0..12) {
            0 => format!("E'{}'", quoted.replace('\\', "\\\\")),
            1 => format!("$q${text}$q$"),
            2 if text.is_ascii() => format!("U&'{}'", quoted.replace('\\', "\\\\")),
            3 => format!("'{quoted}'::text"),
            4 => format!("CAST('{quoted}' AS text)"),
            5 => format!("text '{quoted}'"),
            6 => format!("'{quoted}'::varchar"),
            7 if text.is_ascii() && !text.contains('\'') => {
                format!("'{}'\n'{}'", &text[..half], &text[half..])
            }
            _ => format!("'{quoted}'"),
        };
        let declared = pick(random, &[Kind::Unknown, Kind::Text, Kind::Text, Kind::Varchar]);
        Self::new(Some(text), literal, declared, random)
    }

    /// A quoted constant whose type the statement says.
    pub fn untyped(text: &str, kind: Kind, random: &mut Random) -> Self {
        let declared = if random.random_bool(0.5) { kind } else { Kind::Unknown };
        Self::new(Some(text), format!("'{}'", text.replace('\'', "''")), declared, random)
    }

    pub fn null(random: &mut Random) -> Self {
        Self::new(None, "NULL".to_owned(), Kind::Unknown, random)
    }

    fn new(text: Option<&str>, literal: String, declared: Kind, random: &mut Random) -> Self {
        Self {
            text: text.map(str::to_owned),
            literal,
            declared,
            bound: random.random_bool(0.75),
            binary: random.random_bool(0.5),
            shared: random.random_bool(0.5),
        }
    }

    /// The type for `PREPARE name (type, …)`.
    pub fn type_name(&self) -> &'static str {
        match self.declared {
            Kind::Unknown => "unknown",
            known => known.name(),
        }
    }

    /// What Bind carries for a parameter of that type, and its format.
    pub fn wire(&self, oid: u32) -> (Option<Vec<u8>>, u16) {
        let Some(text) = &self.text else { return (None, 0) };
        match self.binary.then(|| binary(oid, text)).flatten() {
            Some(bytes) => (Some(bytes), 1),
            None => (Some(text.clone().into_bytes()), 0),
        }
    }
}

fn pick<T: Copy>(random: &mut Random, among: &[T]) -> T {
    among[random.random_range(0..among.len())]
}

/// PostgreSQL's binary form, where this knows it and the text has that type's form.
fn binary(oid: u32, text: &str) -> Option<Vec<u8>> {
    Some(match oid {
        16 => vec![u8::from(matches!(text, "t" | "true"))],
        20 => text.parse::<i64>().ok()?.to_be_bytes().to_vec(),
        21 => text.parse::<i16>().ok()?.to_be_bytes().to_vec(),
        23 => text.parse::<i32>().ok()?.to_be_bytes().to_vec(),
        25 | 1043 => text.as_bytes().to_vec(),
        1016 => array(20, text)?,
        1009 => array(25, text)?,
        1700 => numeric(text)?,
        // The enum: a binary enum is its label.
        16_384.. => text.as_bytes().to_vec(),
        _ => return None,
    })
}

/// A one-dimensional array without quoted elements.
fn array(element: u32, text: &str) -> Option<Vec<u8>> {
    let inner = text.strip_prefix('{')?.strip_suffix('}')?;
    let elements: Vec<&str> =
        if inner.is_empty() { Vec::new() } else { inner.split(',').collect() };
    let has_null = elements.contains(&"NULL");
    let mut bytes = u32::from(!elements.is_empty()).to_be_bytes().to_vec();
    bytes.extend(u32::from(has_null).to_be_bytes());
    bytes.extend(element.to_be_bytes());
    if !elements.is_empty() {
        bytes.extend((elements.len() as u32).to_be_bytes());
        bytes.extend(1u32.to_be_bytes());
    }
    for text in elements {
        if text == "NULL" {
            bytes.extend((-1i32).to_be_bytes());
            continue;
        }
        let value = binary(element, text)?;
        bytes.extend((value.len() as u32).to_be_bytes());
        bytes.extend(value);
    }
    Some(bytes)
}

/// Base-10000 digits, as `numeric_send` gives them.
fn numeric(text: &str) -> Option<Vec<u8>> {
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let whole = format!("{}{whole}", "0".repeat((4 - whole.len() % 4) % 4));
    let weight = whole.len() as i16 / 4 - 1;
    let all = format!("{whole}{fraction}{}", "0".repeat((4 - fraction.len() % 4) % 4));
    let mut digits: Vec<u16> =
        (0..all.len() / 4).map(|at| all[at * 4..at * 4 + 4].parse().unwrap()).collect();
    let leading = digits.iter().take_while(|&&digit| digit == 0).count();
    digits.drain(..leading);
    while digits.last() == Some(&0) {
        digits.pop();
    }
    let weight = if digits.is_empty() { 0 } else { weight - leading as i16 };
    let mut bytes = (digits.len() as u16).to_be_bytes().to_vec();
    bytes.extend(weight.to_be_bytes());
    bytes.extend(if negative { 0x4000u16 } else { 0 }.to_be_bytes());
    bytes.extend((fraction.len() as u16).to_be_bytes());
    digits.iter().for_each(|digit| bytes.extend(digit.to_be_bytes()));
    Some(bytes)
}
