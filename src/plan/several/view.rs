//! What a view is to who reads it. Its definition is read as a query of its own, with the proofs that
//! queries have: if each of its rows is made of rows of one shard, the view is like a sharded table
//! whose key is the output column that is the key. Servers are sent the view's own name, so its readers
//! have the rights that PostgreSQL gives them.
use super::gather::harmless;
use super::{Rows, Several, Subject, level, steady};
use crate::error::Error;
use crate::ids::{DistributionId, ShardId};
use crate::plan::analyst::{Analyst, NeedOf, carried_type, text_type};
use crate::plan::catalog::{Definition, Relation};
use crate::plan::names::{self, Found, Home};
use crate::plan::planner::{read_query, read_whole};
use crate::plan::{Access, Context, Unroutable};
use crate::sql::shape::{Shape, shape_into};
use crate::sql::split;
use crate::sql::statement::{Body, Name, Output, Query, Select};

/// Views over views. PostgreSQL knows no circles, but a catalog is only text.
const DEEPEST: usize = 16;

/// What becomes of who reads a view.
#[derive(Debug, Default)]
pub struct Reading {
    /// Why only one shard at a time can be asked for it.
    pub alone: Option<String>,
    /// Columns whose values may be errors.
    pub risky: Vec<String>,
}

struct Seen {
    place: Place,
    reading: Reading,
    random: bool,
    /// So many had been read when it was.
    queries: usize,
}

/// Where a view's rows are.
enum Place {
    /// Each is made of rows of one shard. The key's position, if it is among the columns.
    Sharded(DistributionId, Option<usize>),
    /// Of reference tables.
    Everywhere,
    One(ShardId),
}

impl<'a> Analyst<'a> {
    /// A view in FROM.
    pub fn view(&mut self, name: &Name) -> Result<(Found<'a>, Reading), Unroutable> {
        let refused = |why: String| Unroutable::View { view: name.to_string(), why: Some(why) };
        let relation = names::relation(name, self.context);
        let known = relation.and_then(|relation| Some((relation, relation.definition.as_ref()?)));
        let Some((relation, definition)) = known else {
            return Err(refused(String::from("its definition is not known")));
        };
        self.count_query()?;
        let Seen { place, reading, random, queries } =
            see(relation, definition, self).map_err(refused)?;
        self.random |= random;
        self.queries = queries;
        let home = match place {
            Place::Everywhere => Home::Reference,
            Place::One(shard) => Home::Single(shard),
            Place::Sharded(distribution, key) => {
                let key = key.and_then(|key| relation.columns.get(key));
                let key = key.map_or("", |column| column.name.as_str());
                Home::Sharded { key, distribution, fallback: None }
            }
        };
        Ok((Found { home, relation: Some(relation), rule: None }, reading))
    }

    /// Why what it reads can be asked of one shard at a time only.
    pub fn alone(&self) -> Option<&str> {
        self.uses.iter().find_map(|table| table.reading.alone.as_deref())
    }
}

fn see(relation: &Relation, definition: &Definition, reader: &Analyst<'_>) -> Result<Seen, String> {
    if reader.depth >= DEEPEST {
        return Err(String::from("it reads views that read views, and so on"));
    }
    let text = definition.query.as_str();
    let range = split::split(text, true).ok().and_then(|ranges| ranges.first().cloned());
    let text = range.and_then(|range| text.get(range)).unwrap_or_default();
    let search_path = definition.search_path.as_str();
    let context = Context {
        search_path,
        standard_conforming_strings: true,
        temporary: &[],
        named_shard: None,
        ..*reader.context
    };
    let words = |why: Unroutable| Error::from(why).message;
    let mut shape = Shape::default();
    shape_into(text, true, &mut shape).map_err(|error| words(Unroutable::Value(error.into())))?;
    let (query, analysis) = read_query(&shape).map_err(words)?;
    let mut analyst = Analyst::new(&context, text, &shape);
    analyst.depth = reader.depth + 1;
    analyst.queries = reader.queries;
    read_whole(&mut analyst, &query).map_err(words)?;
    let asks = analyst.state
        || analyst.rather_home
        || analyst.settings
        || !analyst.asked_settings.is_empty();
    let place = analyst.needs.iter().any(|need| need.of == NeedOf::Place);
    if analyst.access != Access::Read || analyst.ties.is_some() || place || asks {
        return Err(String::from("it calls a function, or reads a table, that is a server's own"));
    }
    if analyst.recalled.is_some() || analyst.reading_function.is_some() {
        return Err(String::from("it calls a function that reads what is not in its arguments"));
    }
    if !analyst.instances.is_empty() {
        names::admit_operators(search_path).map_err(words)?;
    }
    let several = Several::plan(&query, &analysis, &shape, &analyst);
    let place = place_of(&query, several.as_ref(), relation, &analyst)?;
    let subject = Subject::new(&query, &analysis, &shape, &analyst).map_err(words)?;
    let mut reading = Reading::default();
    if let Place::Sharded(..) = place {
        let ordered = query.ordered > 0;
        let of_time = !subject.times.is_empty();
        let inner = analyst.alone().map(str::to_owned);
        reading.alone = match (inner, analyst.random, of_time, ordered) {
            (Some(why), ..) => Some(why),
            (None, true, ..) => Some(String::from("it calls a volatile function")),
            (None, false, true, _) => Some(String::from("it asks what time it is")),
            (None, false, false, true) => Some(String::from("it has an ORDER BY")),
            (None, false, false, false) => None,
        };
    }
    let whole = 0..shape.text.len();
    if let Place::Everywhere = place
        && (analyst.random
            || !subject.times.is_empty()
            || !steady::is_steady(&query, &whole, &subject))
    {
        return Err(String::from("each shard could come to another answer"));
    }
    reading.risky = risky(&subject, relation);
    Ok(Seen { place, reading, random: analyst.random, queries: analyst.queries })
}

fn place_of(
    query: &Query,
    several: Option<&Several>,
    relation: &Relation,
    analyst: &Analyst<'_>,
) -> Result<Place, String> {
    if analyst.instances.is_empty() {
        let mut shards = analyst.needs.iter().map(|need| need.shard);
        return match shards.next() {
            Some(shard) if shards.all(|other| other == shard) => Ok(Place::One(shard)),
            Some(_) => Err(String::from("it reads tables that live on different shards")),
            None => Ok(Place::Everywhere),
        };
    }
    if !analyst.needs.is_empty() {
        return Err(String::from("it reads a table that lives on one shard"));
    }
    let merge = match several {
        Some(Several { merge: Ok(merge), .. }) => merge,
        Some(Several { merge: Err(unmerged), .. }) => return Err(unmerged.why().to_owned()),
        None => return Err(String::from("it does more than read")),
    };
    if query.limited || merge.limit.is_some() || merge.offset.is_some() {
        return Err(String::from("its LIMIT is over rows of several shards"));
    }
    match &merge.rows {
        Rows::All => {}
        Rows::Distinct => return Err(String::from("its DISTINCT is over rows of several shards")),
        Rows::Groups(_) => {
            return Err(String::from("its groups or aggregates are over rows of several shards"));
        }
    }
    let mut selects = Vec::new();
    let frames = match flatten(&query.body, &mut selects) {
        Some(()) => &analyst.frames[..],
        None => &[],
    };
    let mut keys: Option<Vec<usize>> = None;
    let mut distribution = None;
    for select in selects {
        let frame = frames.iter().rev().find(|frame| frame.at == select.at);
        let anchor = frame.and_then(|frame| frame.anchor.as_ref());
        let Some(anchor) = anchor else { return Err(String::from("its keys are not known")) };
        distribution = Some(anchor.distribution);
        let is_key = |output: &Output| match output {
            Output::Expr { expr, .. } => level::is_key(expr, &anchor.spelled),
            Output::Star | Output::StarOf(_) => false,
        };
        let plain = |output: &Output| matches!(output, Output::Expr { .. });
        let here = select.outputs.iter().enumerate().filter(|(_, output)| is_key(output));
        let here: Vec<usize> = match select.outputs.iter().all(plain) {
            true => here.map(|(position, _)| position).collect(),
            false => Vec::new(),
        };
        keys = Some(match keys {
            None => here,
            Some(before) => before.into_iter().filter(|key| here.contains(key)).collect(),
        });
    }
    let Some(distribution) = distribution else {
        return Err(String::from("its keys are not known"));
    };
    let key_type = analyst.context.rules.distribution(distribution).map(|found| found.key_type);
    let typed = |position: &usize| {
        let column = relation.columns.get(*position);
        let name = column.map_or("", |column| column.type_name.as_str());
        key_type.is_some() && carried_type(name).or_else(|| text_type(name)) == key_type
    };
    Ok(Place::Sharded(distribution, keys.unwrap_or_default().into_iter().find(typed)))
}

/// The SELECTs that a query's rows come from.
fn flatten<'b>(body: &'b Body, selects: &mut Vec<&'b Select>) -> Option<()> {
    match body {
        Body::Select(select) => selects.push(select),
        Body::Set(left, right) => {
            flatten(left, selects)?;
            flatten(right, selects)?;
        }
        Body::Nested(_) | Body::Values(_) | Body::Write(_) => return None,
    }
    Some(())
}

/// PostgreSQL works out only those columns of a view that are used, for rows that are wanted.
fn risky(subject: &Subject<'_, '_>, relation: &Relation) -> Vec<String> {
    let all = || relation.columns.iter().map(|column| column.name.clone()).collect();
    let Some(parts) = subject.blocks.as_ref().and_then(|blocks| blocks.whole()) else {
        return all();
    };
    let mut risky = Vec::new();
    for block in parts.selects() {
        if block.outputs.len() != relation.columns.len() {
            return all();
        }
        for (column, output) in relation.columns.iter().zip(&block.outputs) {
            if !harmless::is_harmless(&output.range, subject) && !risky.contains(&column.name) {
                risky.push(column.name.clone());
            }
        }
    }
    risky
}
