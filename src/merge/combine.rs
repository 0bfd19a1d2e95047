//! The shards' values of one aggregate become the group's.
use super::key::{FLOAT4, FLOAT8, INTERVAL, MONEY, Purpose, Reader};
use super::numeric::{Number, Sum};
use super::{Column, MergeError, Printing, float, time};
use crate::plan::several::{Collation, Combine};
use crate::wire::frontend::Format;
use crate::wire::value::oid;

/// How one column is combined.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Combiner {
    how: How,
    format: Format,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum How {
    AddInt { width: usize, type_name: &'static str },
    AddNumeric,
    AddFloat4,
    AddFloat8,
    AddInterval,
    Least(Reader),
    Greatest(Reader),
    Bits { of: Bits, width: usize },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Bits {
    And,
    Or,
    Xor,
}

/// What has been combined so far.
#[derive(Clone, Debug)]
pub enum Total {
    Int(i64),
    Numeric(Box<Sum>),
    Float(f64),
    Interval { time: i64, days: i32, months: i32 },
    Chosen { key: Vec<u8>, value: Vec<u8> },
}

impl Combiner {
    /// `None`: it cannot be done exactly for this type and format.
    pub fn of(combine: Combine, column: Column, printing: Printing) -> Option<Self> {
        let Column { type_oid, format } = column;
        let ordered = |collation| Reader::of(column, Purpose::Order(collation), printing);
        let width = match type_oid {
            oid::INT2 => Some(2),
            oid::INT4 => Some(4),
            oid::INT8 => Some(8),
            _ => None,
        };
        let how = match combine {
            Combine::Sum => match type_oid {
                oid::INT2 => How::AddInt { width: 2, type_name: "smallint" },
                oid::INT4 => How::AddInt { width: 4, type_name: "integer" },
                oid::INT8 => How::AddInt { width: 8, type_name: "bigint" },
                MONEY if format == Format::Binary => How::AddInt { width: 8, type_name: "money" },
                oid::NUMERIC => How::AddNumeric,
                FLOAT4 if printing.floats_exact || format == Format::Binary => How::AddFloat4,
                FLOAT8 if printing.floats_exact || format == Format::Binary => How::AddFloat8,
                INTERVAL if format == Format::Binary => How::AddInterval,
                _ => return None,
            },
            Combine::Min => How::Least(ordered(Collation::Unknown)?),
            Combine::Max => How::Greatest(ordered(Collation::Unknown)?),
            Combine::And | Combine::Or if type_oid != oid::BOOL => return None,
            Combine::And => How::Least(ordered(Collation::Unknown)?),
            Combine::Or => How::Greatest(ordered(Collation::Unknown)?),
            Combine::BitAnd => How::Bits { of: Bits::And, width: width? },
            Combine::BitOr => How::Bits { of: Bits::Or, width: width? },
            Combine::BitXor => How::Bits { of: Bits::Xor, width: width? },
        };
        Some(Self { how, format })
    }

    /// One more value that is not NULL.
    pub fn add(&self, total: Option<Total>, value: &[u8]) -> Result<Total, MergeError> {
        let new = self.read(value).ok_or(MergeError::Unreadable)?;
        match total {
            None => Ok(new),
            Some(total) => self.combine(total, new),
        }
    }

    fn read(&self, value: &[u8]) -> Option<Total> {
        let text = || std::str::from_utf8(value).ok();
        Some(match (self.how, self.format) {
            (How::AddInt { .. } | How::Bits { .. }, Format::Text) => {
                Total::Int(text()?.parse().ok()?)
            }
            (How::AddInt { width, .. } | How::Bits { width, .. }, Format::Binary) => {
                Total::Int(int(value, width)?)
            }
            (How::AddNumeric, format) => {
                let mut sum = Sum::default();
                sum.add(&match format {
                    Format::Text => Number::from_text(text()?)?,
                    Format::Binary => Number::from_binary(value)?,
                });
                Total::Numeric(Box::new(sum))
            }
            (How::AddFloat4, Format::Text) => Total::Float(text()?.parse::<f32>().ok()?.into()),
            (How::AddFloat8, Format::Text) => Total::Float(text()?.parse().ok()?),
            (How::AddFloat4, Format::Binary) => {
                Total::Float(f32::from_be_bytes(value.try_into().ok()?).into())
            }
            (How::AddFloat8, Format::Binary) => {
                Total::Float(f64::from_be_bytes(value.try_into().ok()?))
            }
            (How::AddInterval, _) => {
                let (time, days, months) = time::parts(value)?;
                Total::Interval { time, days, months }
            }
            (How::Least(reader) | How::Greatest(reader), _) => {
                let mut key = Vec::new();
                reader.put(value, &mut key)?;
                Total::Chosen { key, value: value.to_vec() }
            }
        })
    }

    fn combine(&self, total: Total, new: Total) -> Result<Total, MergeError> {
        Ok(match (self.how, total, new) {
            (How::AddInt { width, type_name }, Total::Int(a), Total::Int(b)) => {
                let sum = a.checked_add(b).filter(|sum| fits(*sum, width));
                Total::Int(sum.ok_or(MergeError::OutOfRange(type_name))?)
            }
            (How::Bits { of, .. }, Total::Int(a), Total::Int(b)) => Total::Int(match of {
                Bits::And => a & b,
                Bits::Or => a | b,
                Bits::Xor => a ^ b,
            }),
            (How::AddNumeric, Total::Numeric(mut a), Total::Numeric(b)) => {
                a.add(&b.result().map_err(|_| MergeError::OutOfRange("numeric"))?);
                Total::Numeric(a)
            }
            (How::AddFloat4, Total::Float(a), Total::Float(b)) => {
                let sum = (a as f32) + (b as f32);
                checked(a, b, sum.into())?
            }
            (How::AddFloat8, Total::Float(a), Total::Float(b)) => checked(a, b, a + b)?,
            (
                How::AddInterval,
                Total::Interval { time, days, months },
                Total::Interval { time: t, days: d, months: m },
            ) => {
                let sum = || {
                    Some(Total::Interval {
                        time: time.checked_add(t)?,
                        days: days.checked_add(d)?,
                        months: months.checked_add(m)?,
                    })
                };
                sum().ok_or(MergeError::OutOfRange("interval"))?
            }
            (How::Least(_), Total::Chosen { key, value }, Total::Chosen { key: k, value: v }) => {
                if k < key {
                    Total::Chosen { key: k, value: v }
                } else {
                    Total::Chosen { key, value }
                }
            }
            (
                How::Greatest(_),
                Total::Chosen { key, value },
                Total::Chosen { key: k, value: v },
            ) => {
                if k > key {
                    Total::Chosen { key: k, value: v }
                } else {
                    Total::Chosen { key, value }
                }
            }
            (
                How::AddInt { .. }
                | How::AddNumeric
                | How::AddFloat4
                | How::AddFloat8
                | How::AddInterval
                | How::Least(_)
                | How::Greatest(_)
                | How::Bits { .. },
                _,
                _,
            ) => return Err(MergeError::Unreadable),
        })
    }

    /// The value as the client wants it.
    pub fn write(&self, total: &Total) -> Result<Vec<u8>, MergeError> {
        Ok(match (total, self.format) {
            (Total::Int(int), Format::Text) => int.to_string().into_bytes(),
            (Total::Int(int), Format::Binary) => {
                let width = match self.how {
                    How::AddInt { width, .. } | How::Bits { width, .. } => width,
                    How::AddNumeric
                    | How::AddFloat4
                    | How::AddFloat8
                    | How::AddInterval
                    | How::Least(_)
                    | How::Greatest(_) => 8,
                };
                int.to_be_bytes().get(8 - width..).unwrap_or_default().to_vec()
            }
            (Total::Numeric(sum), format) => {
                let number = sum.result().map_err(|_| MergeError::OutOfRange("numeric"))?;
                match format {
                    Format::Text => number.to_text().into_bytes(),
                    Format::Binary => number.to_binary(),
                }
            }
            (Total::Float(value), Format::Binary) => match self.how {
                How::AddFloat4 => (*value as f32).to_be_bytes().to_vec(),
                _ => value.to_be_bytes().to_vec(),
            },
            (Total::Float(value), Format::Text) => match self.how {
                How::AddFloat4 => float::float4_text(*value as f32).into_bytes(),
                _ => float::float8_text(*value).into_bytes(),
            },
            (Total::Interval { time, days, months }, _) => {
                let mut bytes = time.to_be_bytes().to_vec();
                bytes.extend(days.to_be_bytes());
                bytes.extend(months.to_be_bytes());
                bytes
            }
            (Total::Chosen { value, .. }, _) => value.clone(),
        })
    }
}

fn int(value: &[u8], width: usize) -> Option<i64> {
    match width {
        2 => value.try_into().ok().map(i16::from_be_bytes).map(i64::from),
        4 => value.try_into().ok().map(i32::from_be_bytes).map(i64::from),
        _ => value.try_into().ok().map(i64::from_be_bytes),
    }
}

fn fits(value: i64, width: usize) -> bool {
    match width {
        2 => i16::try_from(value).is_ok(),
        4 => i32::try_from(value).is_ok(),
        _ => true,
    }
}

/// As in PostgreSQL: infinity comes of infinity only.
fn checked(a: f64, b: f64, sum: f64) -> Result<Total, MergeError> {
    match sum.is_infinite() && a.is_finite() && b.is_finite() {
        true => Err(MergeError::FloatOverflow),
        false => Ok(Total::Float(sum)),
    }
}
