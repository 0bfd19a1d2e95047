//! Values as bytes that compare as PostgreSQL compares the values.
//!
//! Equal values have equal bytes (1.0 and 1.00, -0 and 0), so the same bytes serve to sort, to find
//! duplicates and to form groups. What cannot be done exactly for a type and format has no [`Reader`].
use super::numeric::Number;
use super::time;
use super::{Column, Printing};
use crate::ids::Oid;
use crate::plan::several::{Collation, Direction, Nulls, SortKey};
use crate::wire::frontend::Format;
use crate::wire::value::oid;

/// What is read of a column's values.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reader {
    kind: Kind,
    format: Format,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Bool,
    /// The bytes of a binary value.
    Int(usize),
    Oid,
    Float4,
    Float8,
    Numeric,
    /// Ends at the first NUL, which no text has.
    Text,
    /// The same without blanks at the end.
    Blanked,
    Bytea,
    Uuid,
    Date,
    Timestamp,
    TimestampTz,
    Time,
    TimeTz,
    Interval,
}

/// What values are compared for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    Order(Collation),
    Equality(Collation),
}

pub(super) const FLOAT4: Oid = Oid(700);
pub(super) const FLOAT8: Oid = Oid(701);
pub(super) const MONEY: Oid = Oid(790);
pub(super) const INTERVAL: Oid = Oid(1186);
const BYTEA: Oid = Oid(17);
const TIME: Oid = Oid(1083);
const TIMESTAMP: Oid = Oid(1114);
const TIMETZ: Oid = Oid(1266);

impl Reader {
    pub fn of(column: Column, purpose: Purpose, printing: Printing) -> Option<Self> {
        let kind = kind(column.type_oid)?;
        let reader = Self { kind, format: column.format };
        let (Purpose::Order(collation) | Purpose::Equality(collation)) = purpose;
        let readable = match (kind, column.format) {
            (Kind::Text | Kind::Blanked, _) => {
                // PostgreSQL's names are always ordered by bytes.
                let by_bytes = collation == Collation::Bytes || column.type_oid == oid::NAME;
                by_bytes && printing.texts_as_stored
            }
            (_, Format::Binary) => true,
            (
                Kind::Bool | Kind::Int(_) | Kind::Oid | Kind::Numeric | Kind::Uuid | Kind::Time,
                _,
            ) => column.type_oid != MONEY,
            (Kind::Float4 | Kind::Float8, _) => printing.floats_exact,
            (Kind::Date | Kind::Timestamp | Kind::TimestampTz, _) => printing.iso_dates,
            // As text they are equal if the texts are, but not ordered as these are.
            (Kind::Bytea, _) => printing.bytes_alike && matches!(purpose, Purpose::Equality(_)),
            (Kind::TimeTz, _) => matches!(purpose, Purpose::Equality(_)),
            (Kind::Interval, _) => false,
        };
        readable.then_some(reader)
    }

    /// Appends the bytes; `None`: that is no value of the type.
    pub fn put(&self, value: &[u8], out: &mut Vec<u8>) -> Option<()> {
        match self.format {
            Format::Binary => self.put_binary(value, out),
            Format::Text => self.put_text(value, out),
        }
    }

    fn put_binary(&self, value: &[u8], out: &mut Vec<u8>) -> Option<()> {
        match self.kind {
            Kind::Bool => out.push(*value.first()?),
            Kind::Int(width) if value.len() == width => put_signed(value, out),
            Kind::Int(_) => return None,
            Kind::Oid => out.extend(<[u8; 4]>::try_from(value).ok()?),
            Kind::Float4 => put_float(f32::from_be_bytes(value.try_into().ok()?).into(), out),
            Kind::Float8 => put_float(f64::from_be_bytes(value.try_into().ok()?), out),
            Kind::Numeric => Number::from_binary(value)?.put_key(out),
            Kind::Text => put_text(value, out),
            Kind::Blanked => put_text(unpadded(value), out),
            Kind::Bytea => put_escaped(value, out),
            Kind::Uuid => out.extend(<[u8; 16]>::try_from(value).ok()?),
            Kind::Date => put_signed(&<[u8; 4]>::try_from(value).ok()?, out),
            Kind::Timestamp | Kind::TimestampTz | Kind::Time => {
                put_signed(&<[u8; 8]>::try_from(value).ok()?, out);
            }
            Kind::TimeTz => {
                let (time, zone) = value.split_first_chunk::<8>()?;
                let zone = i32::from_be_bytes(zone.try_into().ok()?);
                let utc = i64::from_be_bytes(*time).checked_add(i64::from(zone) * 1_000_000)?;
                put_signed(&utc.to_be_bytes(), out);
                put_signed(&zone.to_be_bytes(), out);
            }
            Kind::Interval => put_signed(&time::span(value)?.to_be_bytes(), out),
        }
        Some(())
    }

    fn put_text(&self, value: &[u8], out: &mut Vec<u8>) -> Option<()> {
        match self.kind {
            Kind::Text => put_text(value, out),
            Kind::Blanked => put_text(unpadded(value), out),
            Kind::Bytea | Kind::TimeTz | Kind::Uuid | Kind::Time => put_text(value, out),
            Kind::Bool
            | Kind::Int(_)
            | Kind::Oid
            | Kind::Float4
            | Kind::Float8
            | Kind::Numeric
            | Kind::Date
            | Kind::Timestamp
            | Kind::TimestampTz
            | Kind::Interval => {
                return self.put_read(std::str::from_utf8(value).ok()?, out);
            }
        }
        Some(())
    }

    /// Of a text that is no more than another way to write a value.
    fn put_read(&self, text: &str, out: &mut Vec<u8>) -> Option<()> {
        match self.kind {
            Kind::Bool => out.push(match text {
                "t" => 1,
                "f" => 0,
                _ => return None,
            }),
            Kind::Int(_) => put_signed(&text.parse::<i64>().ok()?.to_be_bytes(), out),
            Kind::Oid => out.extend(text.parse::<u32>().ok()?.to_be_bytes()),
            Kind::Float4 => put_float(text.parse::<f32>().ok()?.into(), out),
            Kind::Float8 => put_float(text.parse::<f64>().ok()?, out),
            Kind::Numeric => Number::from_text(text)?.put_key(out),
            Kind::Date => put_signed(&time::date(text)?.to_be_bytes(), out),
            Kind::Timestamp | Kind::TimestampTz => {
                put_signed(&time::timestamp(text)?.to_be_bytes(), out);
            }
            Kind::Text
            | Kind::Blanked
            | Kind::Bytea
            | Kind::Uuid
            | Kind::Time
            | Kind::TimeTz
            | Kind::Interval => return None,
        }
        Some(())
    }
}

fn kind(type_oid: Oid) -> Option<Kind> {
    Some(match type_oid {
        oid::BOOL => Kind::Bool,
        oid::INT2 => Kind::Int(2),
        oid::INT4 => Kind::Int(4),
        oid::INT8 | MONEY => Kind::Int(8),
        oid::OID => Kind::Oid,
        FLOAT4 => Kind::Float4,
        FLOAT8 => Kind::Float8,
        oid::NUMERIC => Kind::Numeric,
        oid::TEXT | oid::VARCHAR | oid::NAME => Kind::Text,
        oid::BPCHAR => Kind::Blanked,
        BYTEA => Kind::Bytea,
        oid::UUID => Kind::Uuid,
        oid::DATE => Kind::Date,
        TIMESTAMP => Kind::Timestamp,
        oid::TIMESTAMPTZ => Kind::TimestampTz,
        TIME => Kind::Time,
        TIMETZ => Kind::TimeTz,
        INTERVAL => Kind::Interval,
        _ => return None,
    })
}

fn put_signed(bytes: &[u8], out: &mut Vec<u8>) {
    let at = out.len();
    out.extend(bytes);
    if let Some(first) = out.get_mut(at) {
        *first ^= 0x80;
    }
}

/// NaN is the greatest, and 0 is 0.
fn put_float(value: f64, out: &mut Vec<u8>) {
    let value = match value {
        value if value.is_nan() => f64::NAN.copysign(1.0),
        0.0 => 0.0,
        value => value,
    };
    let bits = value.to_bits();
    let ordered = if bits >> 63 == 1 { !bits } else { bits | 1 << 63 };
    out.extend(ordered.to_be_bytes());
}

fn put_text(value: &[u8], out: &mut Vec<u8>) {
    out.extend(value);
    out.push(0);
}

fn unpadded(value: &[u8]) -> &[u8] {
    let end = value.iter().rposition(|byte| *byte != b' ').map_or(0, |last| last + 1);
    value.get(..end).unwrap_or_default()
}

/// A NUL is not the end if 0xFF follows.
fn put_escaped(value: &[u8], out: &mut Vec<u8>) {
    for byte in value {
        out.push(*byte);
        if *byte == 0 {
            out.push(0xFF);
        }
    }
    out.extend([0, 0]);
}

/// One column of what rows are compared by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Part {
    pub column: usize,
    pub reader: Reader,
    direction: Direction,
    nulls: Nulls,
}

impl Part {
    pub fn sorted(key: &SortKey, columns: &[Column], printing: Printing) -> Option<Self> {
        let column = *columns.get(key.column)?;
        let reader = Reader::of(column, Purpose::Order(key.collation), printing)?;
        let SortKey { column, direction, nulls, .. } = *key;
        Some(Self { column, reader, direction, nulls })
    }

    pub fn equal(
        column: usize,
        columns: &[Column],
        texts: Collation,
        printing: Printing,
    ) -> Option<Self> {
        let reader = Reader::of(*columns.get(column)?, Purpose::Equality(texts), printing)?;
        Some(Self { column, reader, direction: Direction::Ascending, nulls: Nulls::Last })
    }

    /// Appends the key of one value.
    pub fn put(&self, value: Option<&[u8]>, out: &mut Vec<u8>) -> Option<()> {
        let Some(value) = value else {
            out.push(match self.nulls {
                Nulls::First => 0,
                Nulls::Last => 2,
            });
            return Some(());
        };
        out.push(1);
        let at = out.len();
        self.reader.put(value, out)?;
        if self.direction == Direction::Descending {
            out.get_mut(at..)?.iter_mut().for_each(|byte| *byte = !*byte);
        }
        Some(())
    }
}
