//! COPY: of a query like the query, of a table where the whole table is on one shard; else over several.
//!
//! - **in**, a sharded table: each row of the data goes to the shard of its key
//! - **in**, a reference table: every shard is given all rows
//! - **out**, a sharded table: the rows of all shards, as they come
//! - **query**: its answer, whichever way that is found, written as COPY data
//!
//! What servers refuse, they refuse first: an option or column that weir does not know is an error of weir's
//! own only if they take it.
use super::analyst::Analyst;
use super::catalog::Column;
use super::names::{self, Found, Home};
use super::placing::{Place, Placing};
use super::planner::{build, wants_several};
use super::scope::Env;
use super::several::Template;
use super::several::copies::lock_name;
use super::several::rows::{TimeDefault, time_defaults, tokens_from};
use super::{Access, Command, Splice, Unroutable};
use crate::sql::copy::{self as read, Forced, FormatName, Header, Options};
use crate::sql::lexer::{Token, TokenKind};
use crate::sql::moment;
use crate::sql::shape::{Shape, shape};
use crate::sql::statement::{Alias, Copy, CopyDirection, CopySource, Fill, Name};
use crate::wire::copy::{Format, Quotes, Signs, Wanted};
use std::borrow::Cow;

/// A COPY that concerns several shards.
#[derive(Debug)]
pub enum Copying {
    In(CopyIn),
    Out(CopyOut),
    Query(CopyQuery),
}

#[derive(Debug)]
pub struct CopyIn {
    /// What each shard is sent.
    pub text: Template,
    pub to: To,
    pub data: Result<Data, Unroutable>,
    /// Columns that the client leaves out, and that each row is given in front of its own.
    pub filled: Vec<Filled>,
    /// The key, if the client leaves it out and it is drawn: each row is given it before those.
    pub drawn: Option<Drawn>,
}

/// A sharding key that comes from a sequence.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Drawn {
    pub column: String,
    /// As [`super::draw::Draw`] has it.
    pub sequence: String,
}

impl CopyIn {
    /// How many columns stand before the client's own.
    pub fn in_front(&self) -> usize {
        self.filled.len() + usize::from(self.drawn.is_some())
    }
}

/// A column whose default tells the time, which is one value for all rows.
#[derive(Debug)]
pub struct Filled {
    pub default: TimeDefault,
    /// As `format_type` writes it.
    pub type_name: String,
}

/// Who is given which rows.
#[derive(Debug)]
pub enum To {
    /// Each row's shard is that of its key. `Err`: the keys are not found in the rows.
    ByKey(Result<Placing, Unroutable>),
    /// A reference table: all shards.
    All { lock: String, table: String, columns: Result<Vec<String>, Unroutable> },
}

#[derive(Debug)]
pub struct CopyOut {
    /// What each shard is sent.
    pub text: Template,
    pub data: Result<Data, Unroutable>,
}

#[derive(Debug)]
pub struct CopyQuery {
    pub query: String,
    /// Characters before it in the statement.
    pub before: usize,
    pub data: Result<Data, Unroutable>,
    pub forced: Forced,
    /// A COPY of nothing with the same options, for a server to look at them.
    pub probe: String,
}

/// How the data is written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Data {
    pub format: Format,
    /// `ENCODING`
    pub encoding: Option<String>,
}

impl Copying {
    /// A line for each thing that is sent.
    pub fn told(&self, statement: &str, shape: &Shape) -> Vec<String> {
        match self {
            Copying::In(copy) => {
                let who = match &copy.to {
                    To::ByKey(Ok(placing)) => {
                        format!("each row to the shard of {}", placing.told())
                    }
                    To::ByKey(Err(why)) => {
                        format!("refused: {}", crate::error::Error::from(why.clone()).message)
                    }
                    To::All { lock, .. } => format!("lock of {lock}, all rows to each shard"),
                };
                vec![format!("{who}: {}", copy.text.render(statement, shape))]
            }
            Copying::Out(copy) => {
                vec![format!("the rows of each shard's: {}", copy.text.render(statement, shape))]
            }
            Copying::Query(copy) => vec![format!("the rows of: {}", copy.query)],
        }
    }
}

impl<'a> Analyst<'a> {
    pub fn copy(&mut self, copy: &Copy, env: &Env<'_>) -> Result<Command, Unroutable> {
        let command = match copy.direction {
            CopyDirection::Server => return Err(Unroutable::CopyServerFile),
            CopyDirection::FromClient => Command::CopyIn,
            CopyDirection::ToClient => Command::CopyOut,
        };
        match &copy.source {
            CopySource::Query(query) => {
                self.query(query, env, None)?;
            }
            CopySource::Table { table, .. } => {
                self.table(table, &Alias::default())?;
            }
        }
        if copy.direction == CopyDirection::FromClient {
            self.at_least(Access::Write);
        }
        Ok(command)
    }

    /// `None`: it runs on one shard, or nowhere.
    pub fn copying(
        &self,
        copy: &Copy,
        statement: &str,
        shape: &Shape,
    ) -> Result<Option<Copying>, Unroutable> {
        if self.context.rules.shards.len() == 1 || copy.direction == CopyDirection::Server {
            return Ok(None);
        }
        let strings = self.context.standard_conforming_strings;
        let options =
            read::options(statement, strings).map_err(|error| Unroutable::Value(error.into()))?;
        let (table, columns) = match &copy.source {
            CopySource::Query(_) => return self.copy_query(statement, shape, options),
            CopySource::Table { table, columns } => (table, columns),
        };
        let found = names::find(table, self.context)?;
        let sharded = match found.home {
            Home::Sharded { .. } => true,
            Home::Reference if copy.direction == CopyDirection::FromClient => false,
            Home::Reference | Home::Single(_) | Home::System | Home::Temporary => return Ok(None),
        };
        let data = data(&options);
        let all = copied(&found);
        let splices = match (columns.as_slice(), &all) {
            ([], Some(all)) => column_list(shape, all).into_iter().collect(),
            _ => Vec::new(),
        };
        let text = Template::spliced(shape, &splices);
        if copy.direction == CopyDirection::ToClient {
            return Ok(Some(Copying::Out(CopyOut { text, data })));
        }
        if options.freeze {
            return Err(unsupported("COPY with FREEZE"));
        }
        let listed: Vec<Cow<'_, str>> = match (columns.as_slice(), &all) {
            ([], Some(all)) => all.iter().map(|column| column.name.as_str().into()).collect(),
            (columns, _) => columns.iter().map(|column| column.as_str().into()).collect(),
        };
        let known = !listed.is_empty();
        let mut data = data;
        let filter = options.filter.as_ref().and_then(|range| statement.get(range.clone()));
        if let Some(filter) = filter
            && let Err(why) = self.admit_filter(table, filter)
        {
            data = data.and(Err(why));
        }
        let unfilled = found.columns().unwrap_or_default().iter();
        let mut unfilled = unfilled.filter(|column| !listed.contains(&column.name.as_str().into()));
        let (mut filled, mut drawn) = (Vec::new(), None);
        let to = match sharded {
            true => {
                filled = filled_columns(&found, &listed);
                drawn = drawn_key(&found, &listed);
                let first = drawn.as_ref().map(|drawn| &drawn.column);
                if let Some(first) = first.or(filled.first().map(|filled| &filled.default.column))
                    && (options.format == FormatName::Binary || options.header == Header::Match)
                {
                    let (table, column) = (table.to_string(), first.clone());
                    data = data.and(Err(Unroutable::CopyDefault { table, column }));
                }
                To::ByKey(match known {
                    true => self.placing(table, &found, &listed, &options),
                    false => Err(Unroutable::ColumnsUnknown { table: table.to_string() }),
                })
            }
            false => {
                let own = |column: &&Column| match column.fill {
                    Fill::Serial | Fill::Identity | Fill::Default => true,
                    Fill::Null | Fill::Generated => false,
                };
                if let Some(column) = unfilled.find(own) {
                    data = data.and(Err(Unroutable::CopyDefault {
                        table: table.to_string(),
                        column: column.name.clone(),
                    }));
                }
                let names = found.columns().map(|columns| {
                    columns.iter().map(|column| column.name.clone()).collect::<Vec<_>>()
                });
                let unknown = || Unroutable::ColumnsUnknown { table: table.to_string() };
                To::All {
                    lock: lock_name(table, &found),
                    table: qualified(table, &found),
                    columns: names.ok_or_else(unknown),
                }
            }
        };
        let text = match filled.is_empty() && drawn.is_none() {
            true => text,
            false => Template::spliced(shape, &in_front(shape, drawn.as_ref(), &filled)),
        };
        Ok(Some(Copying::In(CopyIn { text, to, data, filled, drawn })))
    }

    fn placing(
        &self,
        table: &Name,
        found: &Found<'_>,
        listed: &[Cow<'_, str>],
        options: &Options,
    ) -> Result<Placing, Unroutable> {
        let Home::Sharded { key, distribution, fallback } = &found.home else {
            return Err(Unroutable::TooBig);
        };
        let is_drawn = |column: &str| {
            column == *key && drawn_key(found, listed).is_some_and(|drawn| drawn.column == column)
        };
        let place = |column: &str, distribution| {
            let known = found.relation.and_then(|relation| relation.column(column));
            let at = listed.iter().position(|listed| listed == column);
            let fill = known.map_or(Fill::Default, |known| known.fill);
            let left_out =
                || Unroutable::CopyDefault { table: table.to_string(), column: column.to_owned() };
            let at = match (at, fill) {
                (Some(at), _) => Some(Wanted {
                    at,
                    force_null: options.force_null.has(column),
                    force_not_null: options.force_not_null.has(column),
                }),
                (None, Fill::Null) => None,
                (None, Fill::Serial | Fill::Identity) if is_drawn(column) => None,
                (None, Fill::Default | Fill::Serial | Fill::Identity) => return Err(left_out()),
                (None, Fill::Generated) => {
                    let (table, column) = (table.to_string(), column.to_owned());
                    let by = "a generated column";
                    return Err(Unroutable::KeyUnknown { table, column, by });
                }
            };
            let key_type = self.context.rules.distribution(distribution);
            let key_type = key_type.map(|found| found.key_type);
            let read_as = match (key_type, known) {
                (Some(key_type), Some(known)) => super::value::read_as(key_type, known),
                (key_type, None) => key_type,
                (None, Some(_)) => None,
            };
            let read_as = read_as.ok_or_else(|| Unroutable::TypeMismatch {
                column: column.to_owned(),
                form: known.map_or_else(String::new, |known| known.type_name.clone()),
            })?;
            Ok(Place { column: column.to_owned(), distribution, at, read_as })
        };
        let fallback = match fallback {
            Some(fallback) => Some(place(&fallback.key, fallback.distribution)?),
            None => None,
        };
        Ok(Placing { table: table.to_string(), key: place(key, *distribution)?, fallback })
    }

    /// A condition on each row alone means the same on each shard.
    fn admit_filter(&self, table: &Name, filter: &str) -> Result<(), Unroutable> {
        let query = format!("SELECT FROM {} WHERE {filter}", quoted_name(table));
        let strings = self.context.standard_conforming_strings;
        let read = shape(&query, strings).map_err(|error| Unroutable::Value(error.into()))?;
        let told = super::planner::looked_at(&query, &read, self.context)?;
        let relative = read.literals.iter().filter_map(|literal| literal.value(&query));
        let time = !moment::times(&read.text, &[]).is_empty()
            || relative.into_iter().any(|text| moment::is_relative(&text));
        match told.steady && !time {
            true => Ok(()),
            false => Err(unsupported("this condition of COPY")),
        }
    }

    fn copy_query(
        &self,
        statement: &str,
        shape: &Shape,
        options: Options,
    ) -> Result<Option<Copying>, Unroutable> {
        let tokens = tokens_from(&shape.text, 0);
        let Some((open, close)) = parentheses(&tokens) else { return Ok(None) };
        let (from, to) = (shape.original_end(open.end), shape.original_offset(close.start));
        let query = statement.get(from..to).unwrap_or_default();
        let strings = self.context.standard_conforming_strings;
        let inner = crate::sql::shape::shape(query, strings)
            .map_err(|error| Unroutable::Value(error.into()))?;
        let (plan, _) = build(query, &inner, self.context)?;
        if !wants_several(&plan) {
            return Ok(None);
        }
        let before = statement.get(..from).unwrap_or_default().chars().count();
        let (query, forced) = (query.to_owned(), options.force_quote.clone());
        let columns: Vec<String> = match &forced {
            Forced::None | Forced::All => Vec::new(),
            Forced::Columns(columns) => {
                columns.iter().map(|column| format!("NULL AS {}", quoted(column))).collect()
            }
        };
        let rest = statement.get(to..).unwrap_or_default();
        let probe = format!("COPY (SELECT {} WHERE false{rest}", columns.join(", "));
        let data = data(&options);
        Ok(Some(Copying::Query(CopyQuery { query, before, data, forced, probe })))
    }
}

/// The parentheses of `COPY (…)`.
fn parentheses(tokens: &[Token]) -> Option<(Token, Token)> {
    let open = tokens.get(1).filter(|token| token.kind == TokenKind::OpenParen)?;
    let mut depth = 0usize;
    for token in tokens.iter().skip(1) {
        match token.kind {
            TokenKind::OpenParen => depth += 1,
            TokenKind::CloseParen if depth == 1 => return Some((*open, *token)),
            TokenKind::CloseParen => depth = depth.checked_sub(1)?,
            _ => {}
        }
    }
    None
}

/// The columns that COPY without a list is of.
fn copied<'f>(found: &Found<'f>) -> Option<Vec<&'f Column>> {
    let columns = found.columns()?.iter();
    Some(columns.filter(|column| column.fill != Fill::Generated).collect())
}

/// The list that is written in, so that a column which is added meanwhile, or stands elsewhere on a shard,
/// cannot shift values.
fn column_list(shape: &Shape, columns: &[&Column]) -> Option<Splice> {
    let tokens = tokens_from(&shape.text, 0);
    let mut last = 1;
    while tokens.get(last + 1)?.kind == TokenKind::Dot {
        last += 2;
    }
    let names: Vec<String> = columns.iter().map(|column| quoted(&column.name)).collect();
    let insert = format!(" ({})", names.join(", "));
    Some(Splice { at: tokens.get(last)?.end, remove: 0, insert })
}

/// Columns with defaults that tell the time, and that are not listed.
fn filled_columns(found: &Found<'_>, listed: &[Cow<'_, str>]) -> Vec<Filled> {
    let left_out = time_defaults(found).into_iter();
    let left_out = left_out.filter(|default| !listed.contains(&default.column.as_str().into()));
    left_out
        .map(|default| {
            let column = found.relation.and_then(|relation| relation.column(&default.column));
            let type_name = column.map_or_else(String::new, |column| column.type_name.clone());
            Filled { default, type_name }
        })
        .collect()
}

/// The key, if it comes from a sequence and is not listed.
fn drawn_key(found: &Found<'_>, listed: &[Cow<'_, str>]) -> Option<Drawn> {
    let Home::Sharded { key, .. } = &found.home else { return None };
    let column = found.relation?.column(key)?;
    if listed.contains(&column.name.as_str().into()) {
        return None;
    }
    match column.fill {
        Fill::Serial | Fill::Identity => {
            let sequence = column.sequence.clone()?;
            Some(Drawn { column: column.name.clone(), sequence })
        }
        Fill::Null | Fill::Default | Fill::Generated => None,
    }
}

/// These columns before those that are listed.
fn in_front(shape: &Shape, drawn: Option<&Drawn>, filled: &[Filled]) -> Vec<Splice> {
    let tokens = tokens_from(&shape.text, 0);
    let open = tokens.iter().find(|token| token.kind == TokenKind::OpenParen);
    let filled = filled.iter().map(|one| &one.default.column);
    let names = drawn.map(|drawn| &drawn.column).into_iter().chain(filled);
    let names: String = names.map(|name| format!("{}, ", quoted(name))).collect();
    open.map(|open| Splice { at: open.end, remove: 0, insert: names }).into_iter().collect()
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn quoted_name(name: &Name) -> String {
    match &name.schema {
        Some(schema) => format!("{}.{}", quoted(schema), quoted(&name.name)),
        None => quoted(&name.name),
    }
}

fn qualified(name: &Name, found: &Found<'_>) -> String {
    let schema = name.schema.clone().or(found.relation.map(|relation| relation.schema.clone()));
    quoted_name(&Name { schema, name: name.name.clone() })
}

fn unsupported(what: &str) -> Unroutable {
    Unroutable::CopyOption { what: what.to_owned() }
}

/// `Err`: the data would not be cut as the server cuts it.
fn data(options: &Options) -> Result<Data, Unroutable> {
    if let Some(unknown) = &options.unknown {
        return Err(unsupported(&format!("COPY option \"{unknown}\"")));
    }
    let header = match options.header {
        Header::No => false,
        Header::Yes | Header::Match => true,
    };
    let one = |option: &Option<String>, default: u8, name: &str| match option.as_deref() {
        None => Ok(default),
        Some(sign) => match sign.as_bytes() {
            [one] if one.is_ascii() && !matches!(one, 0 | b'\n' | b'\r') => Ok(*one),
            _ => Err(unsupported(&format!("COPY with this {name}"))),
        },
    };
    let signs = |delimiter: u8, null: &str| Signs {
        delimiter,
        null: options.null.as_deref().unwrap_or(null).into(),
        header,
    };
    let format = match options.format {
        FormatName::Binary => Format::Binary,
        FormatName::Text => {
            let delimiter = one(&options.delimiter, b'\t', "delimiter")?;
            if delimiter.is_ascii_alphanumeric() || matches!(delimiter, b'\\' | b'.') {
                return Err(unsupported("COPY with this delimiter"));
            }
            Format::Text(signs(delimiter, "\\N"))
        }
        FormatName::Csv => {
            let delimiter = one(&options.delimiter, b',', "delimiter")?;
            let quote = one(&options.quote, b'"', "quote")?;
            let escape = one(&options.escape, quote, "escape")?;
            if quote == b'\\' || quote == delimiter {
                return Err(unsupported("COPY with this quote"));
            }
            Format::Csv(signs(delimiter, ""), Quotes { quote, escape })
        }
    };
    Ok(Data { format, encoding: options.encoding.clone() })
}
