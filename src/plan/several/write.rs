//! Writes whose rows are on several shards: all of them, or none.
//!
//! - **each**: every shard runs the statement, on its own rows
//! - **rows**: INSERT … VALUES; every shard gets its rows of it (`rows`)
//! - **copies**: a reference table; every shard does the same (`copies`)
//! - **selected**: INSERT … SELECT of rows that do not stay on their shard (`selected`)
//! - **moves**: the rows' keys change, and with them perhaps their shards (`moves`)
//!
//! The proof for **each** is that of `spread`, for the table that is written: let A be the key column of
//! its rows (of the selected rows, where they are inserted). Each row that is written comes from one
//! row with a key, so what the statement does is the disjoint union, over all keys K, of what it does
//! with `A = K` added. If that limits every other sharded table to the rows of key K, K's shard
//! alone can do K's part, and no other shard does anything of it. Reference tables are the same
//! everywhere; what is one value for all rows of the statement must not depend on chance (`inside`).
use super::copies::{self, Copies, How};
use super::moves::{self, Moves};
use super::rows::{self, Split};
use super::selected::{self, Selected};
use super::{Template, inside, steady};
use crate::plan::analyst::{Analyst, WriteSite};
use crate::plan::catalog::Mark;
use crate::plan::ddl::Words;
use crate::plan::names::{Found, Home};
use crate::plan::several::tokens::Tokens;
use crate::plan::{Planned, Splice, Unroutable};
use crate::sql::compat::Analysis;
use crate::sql::escape;
use crate::sql::lexer::Lexer;
use crate::sql::moment::{self, Time};
use crate::sql::shape::Shape;
use crate::sql::statement::{Assignment, Expr, Source, Statement};
use crate::sql::write::Write;
use crate::wire::params::{Params, Value};
use crate::wire::value::oid;
use std::borrow::Cow;

/// How a write is done whose rows are on several shards.
#[derive(Debug)]
pub struct Scattered {
    pub way: Way,
    pub pace: Pace,
    /// The time is asked for: whoever renders the texts has to know what time it is.
    pub tells_time: bool,
    /// What it does with a table's rows while others do the same: the name of the table's locks.
    pub rows_lock: Option<(String, RowUse)>,
}

/// What a statement does with the rows of the table that it writes, on several shards.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RowUse {
    Looks,
    /// Its keys say where the rows are.
    MovesByKey,
    LooksAndMoves,
}

/// When the shards begin. Two statements that lock rows which others have, too, must not meet on their
/// shards in different orders: each would wait for the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pace {
    AtOnce,
    /// One after another, the home shard first.
    InTurn,
}

impl Pace {
    fn of(write: Write<'_>) -> Self {
        match write {
            Write::Insert(insert) if insert.conflict.is_none() => Pace::AtOnce,
            Write::Insert(_) | Write::Update(_) | Write::Delete(_) | Write::Merge(_) => {
                Pace::InTurn
            }
        }
    }
}

#[derive(Debug)]
pub enum Way {
    /// Every shard runs this.
    Each(Template),
    /// Every shard runs it with the rows that are its own.
    Rows(Split),
    /// Every shard's copy is written alike.
    Copies(Copies),
    /// Rows leave their shards for others.
    Moves(Box<Moves>),
    /// Rows are selected, and then inserted where they belong.
    Selected(Box<Selected>),
}

/// A write as it was read.
pub struct Written<'s, 'a> {
    pub write: Write<'s>,
    pub analysis: &'s Analysis<'s>,
    pub shape: &'s Shape,
    pub analyst: &'s Analyst<'a>,
    /// What is changed in its text anyhow.
    pub splices: &'s [Splice],
}

impl Scattered {
    /// It inserts rows whose columns are, by default, the time. Where that has to be another server's
    /// than the rows' own, it is written in.
    pub fn tells_default(&self) -> bool {
        match &self.way {
            Way::Rows(split) => split.tells_time(),
            Way::Each(_) | Way::Copies(_) | Way::Moves(_) | Way::Selected(_) => false,
        }
    }

    /// Values that every server would work out for itself: `'now'`, `'today'`.
    pub fn admit_values(
        &self,
        planned: &Planned,
        statement: &str,
        params: &Params<'_>,
    ) -> Result<(), Unroutable> {
        if matches!(&self.way, Way::Copies(Copies { how: How::Home { .. }, .. })) {
            return Ok(());
        }
        match relative_time(planned, statement, params) {
            Some(text) => Err(Unroutable::NotScattered { what: format!("the time '{text}'") }),
            None => Ok(()),
        }
    }

    /// `None`: it is no write that could concern several shards. `Err`: it is not proved to be possible.
    pub fn plan(written: &Written<'_, '_>) -> Option<Result<Self, Unroutable>> {
        let site = written.analyst.writes.last()?;
        match site.found.home {
            Home::Sharded { .. } => Some(written.plan(site)),
            Home::Reference if written.analyst.context.rules.shards.len() > 1 => {
                let times = written.times();
                Some(copies::plan(written, site, &times).map(|copies| Self {
                    pace: Pace::AtOnce,
                    tells_time: copies.how.on_every_shard() && !times.is_empty(),
                    way: Way::Copies(copies),
                    rows_lock: None,
                }))
            }
            Home::Reference | Home::Single(_) | Home::System | Home::Temporary => None,
        }
    }
}

/// A value that every server would read by its own clock: `'now'`, `'today'`.
pub fn relative_time<'v>(
    planned: &'v Planned,
    statement: &'v str,
    params: &Params<'v>,
) -> Option<Cow<'v, str>> {
    let literals = planned.shape.literals.iter().filter_map(|literal| literal.value(statement));
    let texts = params.values.iter().zip(params.types).filter_map(|(value, &type_oid)| {
        match (value, type_oid) {
            (_, oid::TEXT | oid::VARCHAR | oid::BPCHAR | oid::NAME) => None,
            (Value::Text(bytes), _) => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
            (Value::Null | Value::Binary(_), _) => None,
        }
    });
    // `date 'today'` stays in the shape.
    let shape = planned.shape.text.as_str();
    let stay = Lexer::of_shape(shape).map_while(Result::ok);
    let stay = stay.filter_map(|token| escape::value(token.kind, token.text(shape)));
    literals.chain(texts).chain(stay).find(|text| moment::is_relative(text))
}

impl Written<'_, '_> {
    fn plan(&self, site: &WriteSite<'_>) -> Result<Scattered, Unroutable> {
        let times = self.times();
        match (self.on_each(site, &times), self.write) {
            (Err(why), Write::Insert(insert)) if matches!(insert.source, Source::Query(_)) => {
                let timed = time_default(&site.found).filter(|column| !self.write.gives(column));
                let why = timed.map_or(why, told_by_default);
                let selected = selected::plan(self, insert, site, &times).map_err(|_| why)?;
                let (pace, tells_time) = (Pace::of(self.write), selected.tells_time);
                let way = Way::Selected(Box::new(selected));
                Ok(Scattered { way, pace, tells_time, rows_lock: None })
            }
            (planned, _) => planned,
        }
    }

    fn on_each(&self, site: &WriteSite<'_>, times: &[Time]) -> Result<Scattered, Unroutable> {
        self.admit()?;
        if let Write::Insert(insert) = self.write
            && let Source::Rows(rows) = &insert.source
        {
            let split = rows::split(self, insert, rows, &site.found, times)?;
            let tells_time = !times.is_empty() || split.tells_time();
            let pace = Pace::of(self.write);
            return Ok(Scattered { way: Way::Rows(split), pace, tells_time, rows_lock: None });
        }
        self.each(site)?;
        let (pace, tells_time) = (Pace::of(self.write), !times.is_empty());
        let each = || Way::Each(Template::spliced(self.shape, self.splices).telling(times));
        let (way, does) = match (self.write, &site.moves) {
            (Write::Update(update), Some(moved)) => {
                let moves = moves::plan(self, update, site, moved, times)?;
                let does = if moved.by_key { RowUse::MovesByKey } else { RowUse::LooksAndMoves };
                (Way::Moves(Box::new(moves)), Some(does))
            }
            (Write::Insert(_), _) => (each(), None),
            (Write::Update(_) | Write::Delete(_) | Write::Merge(_), _) => {
                (each(), Some(RowUse::Looks))
            }
        };
        let rows_lock = does.map(|does| (copies::lock_name(&site.table, &site.found), does));
        Ok(Scattered { way, pace, tells_time, rows_lock })
    }

    /// Where the time is told.
    pub fn times(&self) -> Vec<Time> {
        let text = &self.shape.text;
        moment::times(text, &moment::sources(text))
    }

    /// What must not be in any of them.
    fn admit(&self) -> Result<(), Unroutable> {
        let analyst = self.analyst;
        let refuse = |what: &str| Err(Unroutable::NotScattered { what: what.to_owned() });
        if let Some((_, [inner, ..])) = analyst.writes.split_last() {
            return refuse(&format!("a write of {} inside WITH", inner.table));
        }
        if self.analysis.notes.current_of.is_some() {
            return refuse("WHERE CURRENT OF");
        }
        if analyst.settings {
            return refuse("set_config");
        }
        let asks = analyst.rather_home || !analyst.asked_settings.is_empty();
        if asks || analyst.state {
            return refuse("a function that asks about one server, or draws from a sequence,");
        }
        if let Some(need) = analyst.needs.first() {
            return refuse(&need.what);
        }
        self.admit_words()?;
        let queries = inside::queries(self.write);
        let own = matches!(self.write, Write::Insert(insert) if inside::selects_tables(insert));
        let joined = !self.write.sources().is_empty();
        if analyst.random && (queries.len() > usize::from(own) || joined) {
            return refuse(
                "a function that gives another value each time, beside a subquery or join,",
            );
        }
        Ok(())
    }

    /// What would be other rows, or another value, on each shard.
    pub fn admit_words(&self) -> Result<(), Unroutable> {
        let refuse = |what: &str| Err(Unroutable::NotScattered { what: what.to_owned() });
        Tokens::read(self.shape)?.admit().map_err(|why| match why {
            Unroutable::NotGathered { what } => Unroutable::NotScattered { what },
            other => other,
        })?;
        if self.times().iter().any(|time| time.is_rows) {
            return refuse("the time in FROM");
        }
        let queries = inside::queries(self.write);
        if let Some(what) = queries.iter().find_map(|query| steady::unsteady(query, self.analyst)) {
            return refuse(what);
        }
        if let Some(view) = &self.analyst.unsteady_view {
            return refuse(&format!("view {view}, which each shard might work out differently,"));
        }
        let arrays = Words::new(&self.shape.text).has("array");
        if arrays && !queries.is_empty() && self.analyst.references > 0 {
            return refuse("ARRAY beside a subquery and reference tables");
        }
        if self.analyst.writes.iter().any(|site| site.found.has(Mark::Rules)) {
            return refuse("a table with rules");
        }
        let found = self.analyst.writes.last().map(|site| &site.found);
        let columns = found.and_then(Found::columns).unwrap_or_default();
        let defaults = self.write.assignments().into_iter().filter(|set| is_default(set));
        let mut timed = defaults.flat_map(|set| &set.columns).filter(|name| {
            columns.iter().any(|column| column.name == **name && column.time.is_some())
        });
        match timed.next() {
            Some(column) => refuse(&format!("DEFAULT for {column}, which tells the time,")),
            None => Ok(()),
        }
    }

    /// The proof.
    fn each(&self, site: &WriteSite<'_>) -> Result<(), Unroutable> {
        let analyst = self.analyst;
        let Some(class) = &site.anchor else {
            let what = match self.write {
                Write::Insert(_) => {
                    "INSERT of rows that are not selected by their own key on each shard"
                }
                Write::Update(_) | Write::Delete(_) | Write::Merge(_) => {
                    "MERGE of a source whose key is not that of the rows it inserts"
                }
            };
            return Err(Unroutable::NotScattered { what: what.to_owned() });
        };
        let Home::Sharded { distribution, .. } = site.found.home else {
            return Err(Unroutable::TooBig);
        };
        let stranger = analyst.instances.iter().find(|instance| {
            instance.distribution != distribution || !class.contains(&instance.key)
        });
        if let Some(stranger) = stranger {
            return Err(Unroutable::NotJoined {
                table: site.table.to_string(),
                other: stranger.label.clone(),
                key: stranger.key_column.to_owned(),
            });
        }
        if let Some(column) = time_default(&site.found)
            && !self.write.gives(column)
        {
            return Err(told_by_default(column));
        }
        Ok(())
    }
}

fn told_by_default(column: &str) -> Unroutable {
    let what = format!("the default of {column}, which tells the time,");
    Unroutable::NotScattered { what }
}

/// `DEFAULT`, or a list with it.
pub fn is_default(assignment: &Assignment) -> bool {
    let word = |expr: &Expr| matches!(expr, Expr::Column(parts) if matches!(parts.as_slice(), [one] if one == "default"));
    match &assignment.value {
        Expr::Row(values) => values.iter().any(word),
        value => word(value),
    }
}

/// A column whose default would be another time on each shard.
fn time_default<'f>(found: &'f Found<'_>) -> Option<&'f str> {
    let columns = found.columns().unwrap_or_default();
    columns.iter().find(|column| column.time.is_some()).map(|column| column.name.as_str())
}

/// A row may leave its shard only by a statement of its own.
pub fn refuse_inner_moves(statement: &Statement, analyst: &Analyst<'_>) -> Result<(), Unroutable> {
    let alone = matches!(statement, Statement::Update(_)) && analyst.writes.len() == 1;
    if alone || analyst.context.rules.shards.len() == 1 {
        return Ok(());
    }
    let moves = |site: &WriteSite<'_>| {
        let column = site.moves.as_ref()?.column.clone();
        Some(Unroutable::SetsKey { table: site.table.to_string(), column })
    };
    analyst.writes.iter().find_map(moves).map_or(Ok(()), Err)
}

/// A reference table may be written by a statement of its own only.
pub fn refuse_reference_writes(
    statement: &Statement,
    analyst: &Analyst<'_>,
) -> Result<(), Unroutable> {
    if analyst.context.rules.shards.len() == 1 {
        return Ok(());
    }
    let alone = analyst.writes.len() == 1 && statement.write().is_some();
    let written = analyst.writes.iter().find(|site| matches!(site.found.home, Home::Reference));
    match written.filter(|_| !alone) {
        Some(site) => Err(Unroutable::WritesReference { table: site.table.to_string() }),
        None => Ok(()),
    }
}
