//! What a server answered, in a form in which two servers' answers can be compared.
use super::statement::Order;
use crate::raw::Heard;
use std::collections::BTreeMap;
use std::fmt;

/// One message of an answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Said {
    Row(Vec<Option<Vec<u8>>>),
    Columns(Vec<Column>),
    /// CommandComplete: the tag.
    Done(String),
    Error(Failure),
    /// Any other, as a line for people in which everything counts that should be equal.
    Other(String),
    /// ReadyForQuery: the transaction's status.
    Ready(char),
    /// The connection ended or fell silent.
    Gone,
}

/// A column of a RowDescription.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Column {
    pub name: String,
    /// The number of a type that all servers know, the name of any other.
    pub kind: String,
    /// Size, modifier, format, and the table's column.
    rest: String,
}

#[derive(Clone, Debug)]
pub struct Failure {
    pub code: String,
    pub message: String,
    detail: Option<String>,
    /// All fields but those that name PostgreSQL's source, or a place in the text.
    fields: String,
    /// Where it happened, in PostgreSQL's words: weir's own errors have none.
    context: Option<String>,
    /// PostgreSQL names the source line of its errors; weir's own errors have none.
    own: bool,
}

impl PartialEq for Failure {
    fn eq(&self, other: &Self) -> bool {
        let context = self.own || other.own || self.context == other.context;
        context && self.fields == other.fields
    }
}

impl Eq for Failure {}

impl Failure {
    /// weir will not run the statement.
    pub fn refuses(&self) -> bool {
        self.own && self.code == "0A000"
    }

    /// Message and detail.
    pub fn told(&self) -> String {
        let detail = self.detail.as_ref().map(|detail| format!(": {detail}"));
        format!("{}{}", self.message, detail.unwrap_or_default())
    }
}

/// The names of types that each database numbers for itself.
pub type TypeNames = BTreeMap<u32, String>;

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Answer {
    pub said: Vec<Said>,
}

impl Answer {
    pub fn hear(&mut self, heard: Option<Heard>, types: &TypeNames) {
        let Some(heard) = heard else {
            self.said.push(Said::Gone);
            return;
        };
        self.said.push(match heard.kind {
            b'D' => Said::Row(values(&heard.body)),
            b'C' => Said::Done(string(&heard.body)),
            b'Z' => Said::Ready(heard.body.first().copied().unwrap_or_default() as char),
            b'E' => Said::Error(failure(&heard)),
            b'N' => Said::Other(format!("notice {}", failure(&heard).fields)),
            b'T' => Said::Columns(columns(&heard.body, types)),
            b't' => Said::Other(format!("parameters {}", parameters(&heard.body, types))),
            // ParameterStatus comes when it comes.
            b'S' => return,
            kind => Said::Other(format!("{} {}", kind as char, heard.body.escape_ascii())),
        });
    }

    /// Whether the server waits for the next message, or is gone.
    pub fn ends(&self) -> bool {
        matches!(self.said.last(), Some(Said::Ready(_) | Said::Gone))
    }

    pub fn refusal(&self) -> Option<&Failure> {
        self.said.iter().find_map(|said| match said {
            Said::Error(failure) if failure.refuses() => Some(failure),
            _ => None,
        })
    }

    /// With rows in an order that does not depend on where they came from, as far as the statements
    /// leave it open. One entry of `orders` for each statement.
    pub fn comparable(&self, orders: &[Order]) -> Vec<Said> {
        let mut said = self.said.clone();
        let (mut from, mut statement) = (0, 0);
        for at in 0..said.len() {
            let order = orders.get(statement).copied().unwrap_or_default();
            match &said[at] {
                // How many rows came before an error is nobody's promise.
                Said::Error(_) => {
                    settle(&mut said[from..at], Order::CountOnly);
                    for place in &mut said[from..at] {
                        if matches!(place, Said::Row(_)) {
                            *place = Said::Row(Vec::new());
                        }
                    }
                }
                Said::Done(_) => settle(&mut said[from..at], order),
                Said::Row(_) | Said::Columns(_) | Said::Other(_) | Said::Ready(_) | Said::Gone => {
                    continue;
                }
            }
            (from, statement) = (at + 1, statement + 1);
        }
        if said.iter().any(|said| matches!(said, Said::Error(_))) {
            said.retain(|said| *said != Said::Row(Vec::new()));
        }
        said
    }

    /// Whether an error comes from weir itself. It may come at an earlier message than PostgreSQL's
    /// would: at Parse, say, rather than at Execute.
    pub fn says_own_error(&self) -> bool {
        self.said.iter().any(|said| matches!(said, Said::Error(failure) if failure.own))
    }
}

/// Puts the rows of one statement into an order of our own.
fn settle(said: &mut [Said], order: Order) {
    let places: Vec<usize> =
        (0..said.len()).filter(|&at| matches!(said[at], Said::Row(_))).collect();
    let mut rows: Vec<Said> = places.iter().map(|&at| said[at].clone()).collect();
    match order {
        Order::Total => return,
        Order::Any => rows.sort_by_cached_key(|row| format!("{row:?}")),
        Order::By(columns) => rows = by(rows, columns),
        Order::Keys(columns) => {
            rows.iter_mut().for_each(|row| *row = Said::Row(key(row, columns)));
        }
        Order::CountOnly => rows.iter_mut().for_each(|row| *row = Said::Row(vec![None])),
    }
    for (at, row) in places.into_iter().zip(rows) {
        said[at] = row;
    }
}

/// Rows with the same values in these columns stand together already; among each other they are put
/// into an order of our own.
fn by(rows: Vec<Said>, columns: u64) -> Vec<Said> {
    let mut sorted: Vec<Said> = Vec::with_capacity(rows.len());
    for equal in rows.chunk_by(|one, other| key(one, columns) == key(other, columns)) {
        let mut equal = equal.to_vec();
        equal.sort_by_cached_key(|row| format!("{row:?}"));
        sorted.extend(equal);
    }
    sorted
}

/// A row's values in the columns whose bits are set.
fn key(row: &Said, columns: u64) -> Vec<Option<Vec<u8>>> {
    let Said::Row(values) = row else { return Vec::new() };
    let of_key = |&(at, _): &(usize, &Option<Vec<u8>>)| at < 64 && columns >> at & 1 == 1;
    values.iter().enumerate().filter(of_key).map(|(_, value)| value.clone()).collect()
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for said in &self.said {
            match said {
                Said::Row(values) => {
                    let show = |value: &Option<Vec<u8>>| match value {
                        None => "NULL".to_owned(),
                        Some(bytes) => match std::str::from_utf8(bytes) {
                            Ok(text) if !text.contains(char::is_control) => text.to_owned(),
                            _ => bytes.escape_ascii().to_string(),
                        },
                    };
                    let values: Vec<String> = values.iter().map(show).collect();
                    writeln!(f, "    row {}", values.join(" | "))?;
                }
                Said::Columns(columns) => {
                    let columns: Vec<String> = columns.iter().map(Column::to_string).collect();
                    writeln!(f, "    columns {}", columns.join(" "))?;
                }
                Said::Done(tag) => writeln!(f, "    {tag}")?,
                Said::Error(failure) => writeln!(f, "    error {}", failure.fields)?,
                Said::Other(line) => writeln!(f, "    {line}")?,
                Said::Ready(status) => writeln!(f, "    ready {status}")?,
                Said::Gone => writeln!(f, "    the connection ended")?,
            }
        }
        Ok(())
    }
}

fn failure(heard: &Heard) -> Failure {
    let field = |name: u8| {
        let text = heard.field(name)?;
        // The row has the time and drawn ids in it.
        Some(match text.split_once("Failing row contains") {
            Some((before, _)) => format!("{before}Failing row contains …"),
            None => text,
        })
    };
    // Of two wrong rows the first to be met need not be the same: the detail names its values.
    let wrong_row = field(b'C').is_some_and(|code| code == "23503");
    let fields: Vec<String> = b"SVCMDHstcdn"
        .iter()
        .filter(|&&name| !(wrong_row && name == b'D'))
        .filter_map(|&name| Some(format!("{}={}", name as char, field(name)?)))
        .collect();
    Failure {
        code: field(b'C').unwrap_or_default(),
        message: field(b'M').unwrap_or_default(),
        detail: field(b'D'),
        fields: fields.join(" "),
        context: field(b'W'),
        own: field(b'R').is_none(),
    }
}

/// A message's body, read from its front.
struct Body<'a>(&'a [u8]);

impl<'a> Body<'a> {
    fn take(&mut self, count: usize) -> &'a [u8] {
        let (head, rest) = self.0.split_at(count);
        self.0 = rest;
        head
    }

    fn i16(&mut self) -> i16 {
        i16::from_be_bytes(*self.take(2).first_chunk().unwrap())
    }

    fn i32(&mut self) -> i32 {
        i32::from_be_bytes(*self.take(4).first_chunk().unwrap())
    }

    fn string(&mut self) -> String {
        let text = string(self.0);
        let end = self.0.iter().position(|&byte| byte == 0).unwrap_or(self.0.len() - 1);
        self.take(end + 1);
        text
    }
}

fn string(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// The values of a DataRow.
pub fn values(body: &[u8]) -> Vec<Option<Vec<u8>>> {
    let mut body = Body(body);
    (0..body.i16())
        .map(|_| match body.i32() {
            -1 => None,
            length => Some(body.take(length as usize).to_vec()),
        })
        .collect()
}

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}({})", self.name, self.kind, self.rest)
    }
}

fn columns(body: &[u8], types: &TypeNames) -> Vec<Column> {
    let mut body = Body(body);
    (0..body.i16())
        .map(|_| {
            let name = body.string();
            let of_table = body.i32() != 0;
            let (number, kind, size) = (body.i16(), body.i32(), body.i16());
            let (modifier, format) = (body.i32(), body.i16());
            let kind = type_name(kind as u32, types);
            let rest = format!("{size},{modifier},{format},{of_table}.{number}");
            Column { name, kind, rest }
        })
        .collect()
}

pub fn parameter_types(body: &[u8]) -> Vec<u32> {
    let mut body = Body(body);
    (0..body.i16()).map(|_| body.i32() as u32).collect()
}

fn parameters(body: &[u8], types: &TypeNames) -> String {
    let names: Vec<String> =
        parameter_types(body).into_iter().map(|oid| type_name(oid, types)).collect();
    names.join(" ")
}

fn type_name(oid: u32, types: &TypeNames) -> String {
    match types.get(&oid) {
        Some(name) => name.clone(),
        None if oid < 16_384 => oid.to_string(),
        None => format!("no type {oid}"),
    }
}
