//! The types of the tables' columns: what values they hold, and what may be said about them.
use super::Random;
use rand::RngExt;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Type {
    Bool,
    Int2,
    /// Small numbers: nothing overflows.
    Int4,
    /// Small numbers and both ends.
    Int8,
    /// Of any scale, with NaN.
    Numeric,
    /// numeric(12, 2)
    Money,
    /// Exact in binary: sums do not depend on the order.
    Float4,
    Float8,
    /// Not exact, with NaN, -0 and both infinities.
    Rough,
    TextC,
    TextDefault,
    TextIcu,
    /// Under a nondeterministic collation: 'a' = 'A'.
    TextNoCase,
    Varchar,
    Char,
    Bytea,
    Date,
    Timestamp,
    Timestamptz,
    Time,
    Interval,
    Uuid,
    Jsonb,
    Ints,
    Texts,
    Mood,
    Citext,
}

use Type::*;

pub const ALL: [Type; 27] = [
    Bool,
    Int2,
    Int4,
    Int8,
    Numeric,
    Money,
    Float4,
    Float8,
    Rough,
    TextC,
    TextDefault,
    TextIcu,
    TextNoCase,
    Varchar,
    Char,
    Bytea,
    Date,
    Timestamp,
    Timestamptz,
    Time,
    Interval,
    Uuid,
    Jsonb,
    Ints,
    Texts,
    Mood,
    Citext,
];

impl Type {
    /// As CREATE TABLE and CAST say it.
    pub fn sql(self) -> &'static str {
        match self {
            Bool => "boolean",
            Int2 => "smallint",
            Int4 => "integer",
            Int8 => "bigint",
            Numeric => "numeric",
            Money => "numeric(12,2)",
            Float4 => "real",
            Float8 | Rough => "double precision",
            TextC => "text COLLATE \"C\"",
            TextDefault => "text",
            TextIcu => "text COLLATE \"und-x-icu\"",
            TextNoCase => "text COLLATE nocase",
            Varchar => "varchar(20)",
            Char => "char(6)",
            Bytea => "bytea",
            Date => "date",
            Timestamp => "timestamp",
            Timestamptz => "timestamptz",
            Time => "time",
            Interval => "interval",
            Uuid => "uuid",
            Jsonb => "jsonb",
            Ints => "integer[]",
            Texts => "text[]",
            Mood => "mood",
            Citext => "citext",
        }
    }

    /// The column of this type in tables that have one.
    pub fn column(self) -> &'static str {
        match self {
            Bool => "b",
            Int2 => "i2",
            Int4 => "i4",
            Int8 => "i8",
            Numeric => "num",
            Money => "amount",
            Float4 => "f4",
            Float8 => "f8",
            Rough => "rough",
            TextC => "tc",
            TextDefault => "td",
            TextIcu => "ti",
            TextNoCase => "tn",
            Varchar => "vc",
            Char => "ch",
            Bytea => "by",
            Date => "d",
            Timestamp => "ts",
            Timestamptz => "tz",
            Time => "tm",
            Interval => "iv",
            Uuid => "u",
            Jsonb => "js",
            Ints => "ints",
            Texts => "texts",
            Mood => "mood",
            Citext => "ct",
        }
    }

    /// Whether values that are equal may look different: which of them a group shows is anybody's choice.
    pub fn has_faces(self) -> bool {
        matches!(self, Numeric | Rough | TextNoCase | Interval | Citext)
    }

    /// What adds up.
    pub fn is_number(self) -> bool {
        matches!(self, Int2 | Int4 | Int8 | Numeric | Money | Float4 | Float8 | Rough)
    }

    pub fn is_text(self) -> bool {
        matches!(self, TextC | TextDefault | TextIcu | Varchar)
    }

    /// A value's text form, from few, so that rows share them.
    pub fn sample(self, random: &mut Random) -> String {
        let among: &[&str] = match self {
            Bool => &["t", "f"],
            Int2 => &["0", "1", "2", "3", "-1", "32767", "-32768"],
            Int4 => &["0", "1", "2", "3", "5", "7", "10", "-1", "-4"],
            Int8 => &["0", "1", "2", "42", "-1", "9223372036854775807", "-9223372036854775808"],
            Numeric => &[
                "0",
                "0.00",
                "1",
                "1.0",
                "1.00",
                "2.5",
                "-3.14159",
                "1e20",
                "0.000000001",
                "NaN",
                "100",
                "-100.10",
            ],
            Money => &["0.00", "1.00", "2.50", "-2.50", "19.99", "1000000.01", "9999999999.99"],
            Float4 | Float8 => &["0", "1", "1.5", "-2.25", "100", "0.125"],
            Rough => {
                &["0", "-0", "NaN", "Infinity", "-Infinity", "0.1", "0.2", "1e-5", "-7.7", "1e100"]
            }
            TextC | TextDefault | TextIcu | Varchar => &[
                "", "a", "A", "b", "B", "ab", "a b", "a-b", "ä", "z", "Zebra", "10", "9", "it's",
                "é", "_",
            ],
            TextNoCase | Citext => &["", "a", "A", "b", "B", "Ab", "aB", "z"],
            Char => &["", "a", "A", "ab", "a b", "zzzzzz"],
            Bytea => &["\\x", "\\x00", "\\xff", "\\x616263", "\\x0a0d"],
            Date => &[
                "2026-01-01",
                "2026-01-02",
                "2025-12-31",
                "infinity",
                "-infinity",
                "0044-03-15 BC",
            ],
            Timestamp => &[
                "2026-01-01 00:00:00",
                "2026-01-01 12:30:00.123456",
                "infinity",
                "-infinity",
                "1999-12-31",
            ],
            Timestamptz => {
                &["2026-01-01 00:00:00+00", "2026-03-29 01:30:00+01", "infinity", "-infinity"]
            }
            Time => &["00:00:00", "12:34:56.789", "24:00:00"],
            Interval => &[
                "0",
                "1 day",
                "24 hours",
                "1 mon",
                "30 days",
                "-1 day",
                "1 year 2 mons 03:04:05.6",
                "-00:00:01",
            ],
            Uuid => &[
                "00000000-0000-0000-0000-000000000000",
                "ffffffff-ffff-ffff-ffff-ffffffffffff",
                "12345678-9abc-def0-1234-56789abcdef0",
            ],
            Jsonb => &[
                "1",
                "\"a\"",
                "null",
                "{}",
                "{\"a\": 1}",
                "{\"a\": 2, \"b\": [1, 2]}",
                "[]",
                "true",
            ],
            Ints => &["{}", "{1}", "{1,2}", "{NULL}", "{2,NULL,1}", "{{1,2},{3,4}}"],
            Texts => &["{}", "{a}", "{a,B}", "{NULL,\"x y\"}"],
            Mood => &["sad", "ok", "happy"],
        };
        among[random.random_range(0..among.len())].to_owned()
    }

    /// A value as SQL says it, NULL now and then.
    pub fn literal(self, random: &mut Random) -> String {
        if random.random_range(0..6) == 0 {
            return "NULL".to_owned();
        }
        format!("'{}'", self.sample(random).replace('\'', "''"))
    }

    /// For tables and casts, where the collation is said elsewhere.
    pub fn cast(self) -> &'static str {
        match self {
            TextC | TextDefault | TextIcu | TextNoCase => "text",
            other => other.sql(),
        }
    }
}
