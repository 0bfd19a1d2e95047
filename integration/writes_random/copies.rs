//! COPY FROM and TO in all formats, among the transactions.
use super::make::Maker;
use crate::copying::{copy_in, copy_out, csv, text};
use crate::raw::Raw;
use std::fmt::Write as _;
use weir::wire::copy::Format;

#[derive(Clone, Debug)]
pub enum Copy {
    In { sql: String, data: Vec<u8>, piece: usize },
    Out { sql: String, how: How },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum How {
    Text,
    Csv,
    CsvHeader,
    Binary,
}

impl How {
    fn options(self) -> &'static str {
        match self {
            How::Text => "",
            How::Csv => " (FORMAT csv)",
            How::CsvHeader => " (FORMAT csv, HEADER)",
            How::Binary => " (FORMAT binary)",
        }
    }

    fn format(self) -> Format {
        match self {
            How::Text => text(),
            How::Csv => csv(false),
            How::CsvHeader => csv(true),
            How::Binary => Format::Binary,
        }
    }
}

/// A field's value, and its type where that matters.
enum Field {
    Null,
    Big(i64),
    Int(i32),
    Text(String),
}

impl Copy {
    pub fn make(maker: &mut Maker) -> Self {
        let how = match maker.below(4) {
            0 => How::Text,
            1 => How::Csv,
            2 => How::CsvHeader,
            _ => How::Binary,
        };
        match maker.below(3) {
            0 => Copy::out(maker, how),
            _ => Copy::into(maker, how),
        }
    }

    fn out(maker: &mut Maker, how: How) -> Self {
        let (number, condition) = (maker.below(9), maker.condition());
        let what = match maker.below(6) {
            0 => "orders".into(),
            1 => "orders (user_id, id, note)".into(),
            2 => "visits".into(),
            3 => format!("(SELECT user_id, id, upper(note) FROM orders WHERE {condition})"),
            4 => format!(
                "(SELECT user_id, count(*) FROM orders WHERE id > {number} GROUP BY user_id)"
            ),
            _ => "numbers".into(),
        };
        Copy::Out { sql: format!("COPY {what} TO STDOUT{}", how.options()), how }
    }

    fn into(maker: &mut Maker, how: How) -> Self {
        let (table, columns) = match maker.below(4) {
            0 => ("visits (page, user_id, number)", 0),
            1 => ("numbers (n, word)", 1),
            _ => ("orders (user_id, id, note)", 2),
        };
        let rows: Vec<Vec<Field>> = (0..maker.below(7))
            .map(|_| {
                let (key, id, note) = (maker.below(9), maker.below(14), note(maker));
                match columns {
                    0 => {
                        let user = match key % 3 {
                            0 => Field::Null,
                            _ => Field::Big(key as i64),
                        };
                        vec![note, user, Field::Text(format!("c{id}"))]
                    }
                    1 => vec![Field::Int(id as i32), note],
                    _ => vec![Field::Big(key as i64), Field::Int(id as i32), note],
                }
            })
            .collect();
        let mut data = written(&rows, how);
        // Not among rows that may be wrong in another way.
        if rows.is_empty() && maker.below(2) == 0 && how != How::Binary {
            data.extend_from_slice(b"x,1,2\nx\t1\t2\n");
        }
        let sql = format!("COPY {table} FROM STDIN{}", how.options());
        Copy::In { sql, data, piece: 1 + maker.below(60) }
    }

    /// What was answered; rows come in an order of their own.
    pub fn say(&self, raw: &mut Raw) -> String {
        match self {
            Copy::In { sql, data, piece } => {
                copy_in(raw, sql, data, *piece);
                raw.take_transcript() + "\n"
            }
            Copy::Out { sql, how } => {
                let given = copy_out(raw, sql, &how.format());
                raw.take_transcript();
                let mut told = String::new();
                for row in &given.rows {
                    writeln!(told, "d {}", row.escape_ascii()).unwrap();
                }
                for rest in &given.rest {
                    writeln!(told, "C={rest}").unwrap();
                }
                told + "Z copied\n"
            }
        }
    }
}

fn note(maker: &mut Maker) -> Field {
    match maker.below(7) {
        0 => Field::Null,
        1 => Field::Text("a\tb\\c".into()),
        2 => Field::Text("\"quoted\", ü\nnext".into()),
        3 => Field::Text(String::new()),
        _ => Field::Text(format!("c{}", maker.below(5))),
    }
}

/// The data of a COPY.
fn written(rows: &[Vec<Field>], how: How) -> Vec<u8> {
    let mut data = Vec::new();
    match how {
        How::Text => rows.iter().for_each(|row| line(row, b'\t', escaped, "\\N", &mut data)),
        How::Csv => rows.iter().for_each(|row| line(row, b',', quoted, "", &mut data)),
        How::CsvHeader => {
            data.extend_from_slice(b"whatever\n");
            rows.iter().for_each(|row| line(row, b',', quoted, "", &mut data));
        }
        How::Binary => {
            data.extend_from_slice(b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0");
            for row in rows {
                data.extend_from_slice(&(row.len() as i16).to_be_bytes());
                row.iter().for_each(|field| binary(field, &mut data));
            }
            data.extend_from_slice(&(-1i16).to_be_bytes());
        }
    }
    data
}

fn line(row: &[Field], delimiter: u8, write: fn(&str) -> String, null: &str, data: &mut Vec<u8>) {
    for (index, field) in row.iter().enumerate() {
        if index > 0 {
            data.push(delimiter);
        }
        let text = match field {
            Field::Null => null.to_owned(),
            Field::Big(number) => number.to_string(),
            Field::Int(number) => number.to_string(),
            Field::Text(text) => write(text),
        };
        data.extend_from_slice(text.as_bytes());
    }
    data.push(b'\n');
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n")
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

fn binary(field: &Field, data: &mut Vec<u8>) {
    let bytes = match field {
        Field::Null => return data.extend_from_slice(&(-1i32).to_be_bytes()),
        Field::Big(number) => number.to_be_bytes().to_vec(),
        Field::Int(number) => number.to_be_bytes().to_vec(),
        Field::Text(text) => text.as_bytes().to_vec(),
    };
    data.extend_from_slice(&(bytes.len() as i32).to_be_bytes());
    data.extend_from_slice(&bytes);
}
