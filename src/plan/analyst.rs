//! Walks over a statement once and collects what the plan is made of: instances of sharded tables,
//! facts about their columns, what must run on a certain shard, and what the statement does.
use super::catalog::{Column, Nulls};
use super::foreign::Change;
use super::functions::{self, Effect};
use super::insert::Passed;
use super::keys::{Facts, Var};
use super::lock::HotItem;
use super::names::{self, Found, Home};
use super::recall::{self, Recall, Recalled, SequenceName};
use super::scope::{Cell, Columns, Item, Slot};
use super::several::spread::Frame;
use super::several::view::Reading;
use super::value::Operand;
use super::{Access, Context, Tie, Unroutable};
use crate::ids::{DistributionId, ShardId};
use crate::rules::Placement;
use crate::sharding::KeyType;
use crate::sql::compat::{self, RowLock};
use crate::sql::shape::Shape;
use crate::sql::statement::{Alias, Call, Expr, Literal, Name, Place};
use std::cell::Cell as Mutable;
use std::collections::{HashMap, HashSet};
use std::ops::Range;

/// More instances and copies of CTEs than any sane statement has.
const INSTANCES_MAX: usize = 500;

pub struct Analyst<'a> {
    pub context: &'a Context<'a>,
    statement: &'a str,
    shape: &'a Shape,
    pub facts: Facts,
    /// Sharded tables, each time they are read or written.
    pub instances: Vec<Instance<'a>>,
    /// What must run on one shard for other reasons than keys.
    pub needs: Vec<Need>,
    pub rows: Vec<Row<'a>>,
    /// Keys of inserted rows that come from columns of a query.
    pub passed: Vec<(Passed, DistributionId)>,
    /// Why nobody knows beforehand where the rows of INSERT … SELECT belong.
    pub unplaced: Option<Unroutable>,
    /// FROM items that `FOR UPDATE OF` names; none: all.
    pub locked: Vec<String>,
    /// The strongest row lock that the statement takes.
    pub row_lock: Option<RowLock>,
    /// Places where rows are locked one after the other, and what is known of the table there.
    pub lock_sites: Vec<Option<HotItem>>,
    pub access: Access,
    pub ties: Option<Tie>,
    /// How many columns the query of an INSERT … SELECT gives.
    pub selected: Option<usize>,
    /// Temporary relations that the statement makes.
    pub temporary: Vec<String>,
    /// It asks what the session has drawn from sequences.
    pub recalled: Option<Recalled>,
    /// Another answer each time.
    pub random: bool,
    /// The functions that are called for it.
    pub random_calls: HashSet<Name>,
    /// Calls set_config.
    pub settings: bool,
    /// A function that reads tables, as the rules say.
    pub reading_function: Option<String>,
    /// If nothing else decides: the home shard.
    pub rather_home: bool,
    /// It asks what the server does now.
    pub state: bool,
    /// Settings whose values it asks for: positions of the literals that name them.
    pub asked_settings: Vec<usize>,
    /// A literal's value decided: the plan holds for this text only.
    pub peeked: Mutable<bool>,
    pub params: HashMap<u32, ParamUse>,
    /// How many reference tables were met so far.
    pub references: usize,
    /// One of them is a view that servers may work out differently.
    pub unsteady_view: Option<String>,
    /// SELECTs, each time one is read; what is inside another comes before it.
    pub frames: Vec<Frame>,
    /// Tables in FROM, each time they are read.
    pub uses: Vec<TableUse<'a>>,
    /// Writes, each when it has been read; the statement's own comes last.
    pub writes: Vec<WriteSite<'a>>,
    /// How many columns the query gives, if that is known.
    pub width: Option<usize>,
    /// The SELECT that is being read.
    pub within: Place,
    /// How many views this is the definition of, one in another.
    pub depth: usize,
    /// Read so far.
    pub queries: usize,
}

/// A table in the FROM of a SELECT.
#[derive(Debug)]
pub struct TableUse<'a> {
    /// Of its name, in the analysed text.
    pub at: Range<Place>,
    /// The SELECT it belongs to.
    pub within: Place,
    pub name: Name,
    pub alias: Alias,
    pub found: Found<'a>,
    /// Among the SELECT's items.
    pub item: usize,
    /// Its row may be missing: an outer join.
    pub extended: bool,
    /// If it is a view.
    pub reading: Reading,
}

/// A table that is written, each time it is.
#[derive(Debug)]
pub struct WriteSite<'a> {
    pub table: Name,
    pub found: Found<'a>,
    /// What equals the key by whose shards the write can be taken apart; `None`: nothing is proved.
    pub anchor: Option<HashSet<Var>>,
    /// What it does to rows that are there.
    pub changes: Vec<Change>,
    /// It is an UPDATE that sets what decides where rows live.
    pub moves: Option<Moved<'a>>,
}

/// An UPDATE of a key.
#[derive(Debug)]
pub struct Moved<'a> {
    /// The first column that it sets and that decides where rows live.
    pub column: String,
    /// The place of all its rows afterwards; `None`: each may have another.
    pub to: Option<Row<'a>>,
    /// The statement names the rows' keys.
    pub by_key: bool,
}

impl WriteSite<'_> {
    /// The table's name with its schema, as SQL writes it.
    pub fn qualified(&self) -> String {
        let schema = self.table.schema.as_ref();
        let schema = schema.or(self.found.relation.map(|relation| &relation.schema));
        match schema {
            Some(schema) => format!("{}.{}", quoted(schema), quoted(&self.table.name)),
            None => quoted(&self.table.name),
        }
    }
}

/// A name as SQL writes it.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// One place where a sharded table's rows are looked at.
#[derive(Debug)]
pub struct Instance<'a> {
    pub label: String,
    pub table: String,
    pub key: Var,
    pub key_column: &'a str,
    pub distribution: DistributionId,
    pub fallback: Option<FallbackVar<'a>>,
}

#[derive(Debug)]
pub struct FallbackVar<'a> {
    pub var: Var,
    pub column: &'a str,
    pub distribution: DistributionId,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Need {
    pub shard: ShardId,
    /// `audit_log`, `pg_class`, `nextval`: what needs it.
    pub what: String,
    pub of: NeedOf,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NeedOf {
    /// A table's rows, which can be brought elsewhere.
    Rows,
    /// It has to run there.
    Place,
}

/// A row to be inserted, as far as it says where it goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row<'a> {
    pub table: String,
    pub column: &'a str,
    pub distribution: DistributionId,
    /// `None`: NULL, since the column is left out.
    pub key: Option<Operand>,
    pub nulls: Nulls,
    pub fallback: Option<RowFallback<'a>>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RowFallback<'a> {
    pub column: &'a str,
    pub distribution: DistributionId,
    /// `None`: not known before the insert.
    pub key: Option<Operand>,
    pub nulls: Nulls,
}

/// How a parameter's type is decided where the client did not say it.
#[derive(Debug, Default)]
pub struct ParamUse {
    /// Places where it stands alone.
    pub alone: usize,
    /// Types that those places give it, as far as they are known.
    pub types: Vec<String>,
    /// Types it is cast to.
    pub casts: Vec<String>,
}

impl ParamUse {
    /// The text alone decides the type.
    pub fn decided(&self) -> bool {
        let mut types = self.types.iter().chain(&self.casts);
        let first = types.next();
        self.types.len() == self.alone && types.all(|other| Some(other) == first)
    }
}

impl<'a> Analyst<'a> {
    pub fn new(context: &'a Context<'a>, statement: &'a str, shape: &'a Shape) -> Self {
        Self {
            context,
            statement,
            shape,
            facts: Facts::default(),
            instances: Vec::new(),
            needs: Vec::new(),
            rows: Vec::new(),
            passed: Vec::new(),
            unplaced: None,
            locked: Vec::new(),
            row_lock: None,
            lock_sites: Vec::new(),
            access: Access::Read,
            ties: None,
            selected: None,
            temporary: Vec::new(),
            random: false,
            random_calls: HashSet::new(),
            settings: false,
            rather_home: false,
            recalled: None,
            reading_function: None,
            state: false,
            asked_settings: Vec::new(),
            peeked: Mutable::new(false),
            params: HashMap::new(),
            references: 0,
            unsteady_view: None,
            frames: Vec::new(),
            uses: Vec::new(),
            writes: Vec::new(),
            width: None,
            within: Place::default(),
            depth: 0,
            queries: 0,
        }
    }

    /// Counts queries, so that CTEs of CTEs cannot grow without bounds.
    pub fn count_query(&mut self) -> Result<(), Unroutable> {
        self.queries += 1;
        match self.queries > INSTANCES_MAX {
            true => Err(Unroutable::TooBig),
            false => Ok(()),
        }
    }

    pub fn home(&mut self, what: impl Into<String>) {
        let (shard, what) = (self.context.rules.home, what.into());
        self.needs.push(Need { shard, what, of: NeedOf::Place });
    }

    pub fn at_least(&mut self, access: Access) {
        self.access = self.access.max(access);
    }

    /// A table in FROM, or the target of a write.
    pub fn table(&mut self, name: &Name, alias: &Alias) -> Result<(Found<'a>, Item), Unroutable> {
        self.item(names::find(name, self.context)?, name, alias)
    }

    /// The same of one that has been found.
    pub fn item(
        &mut self,
        found: Found<'a>,
        name: &Name,
        alias: &Alias,
    ) -> Result<(Found<'a>, Item), Unroutable> {
        let called = alias.name.clone().unwrap_or_else(|| name.name.clone());
        let (mut reference, mut own) = (false, None);
        let columns = match &found.home {
            Home::Sharded { key, distribution, fallback } => {
                if self.instances.len() >= INSTANCES_MAX {
                    return Err(Unroutable::TooBig);
                }
                let rules = self.context.rules;
                let key_type = |id| rules.distribution(id).map(|found| found.key_type);
                let key_var = self.facts.var(key_type(*distribution));
                own = Some(key_var);
                let fallback = fallback.map(|fallback| FallbackVar {
                    var: self.facts.var(key_type(fallback.distribution)),
                    column: fallback.key.as_str(),
                    distribution: fallback.distribution,
                });
                let special: Vec<(&str, Var)> = std::iter::once((*key, key_var))
                    .chain(fallback.as_ref().map(|fallback| (fallback.column, fallback.var)))
                    .collect();
                let columns = self.columns(&found, &special);
                self.instances.push(Instance {
                    label: called.clone(),
                    table: name.to_string(),
                    key: key_var,
                    key_column: key,
                    distribution: *distribution,
                    fallback,
                });
                columns
            }
            Home::Reference => {
                reference = true;
                self.references += 1;
                if found.is_unsteady_view() {
                    self.unsteady_view = Some(name.to_string());
                }
                self.columns(&found, &[])
            }
            Home::Single(shard) => {
                let what = format!("table {name}");
                self.needs.push(Need { shard: *shard, what, of: NeedOf::Rows });
                self.columns(&found, &[])
            }
            Home::System => {
                self.home(format!("system catalog {name}"));
                self.state = true;
                Columns::unknown()
            }
            Home::Temporary => {
                self.home(format!("temporary table {name}"));
                Columns::unknown()
            }
        };
        let schema = match &alias.name {
            Some(_) => None,
            None => name
                .schema
                .clone()
                .or_else(|| found.relation.map(|relation| relation.schema.clone())),
        };
        let hot = HotItem::of(&found, &columns);
        let columns = columns.renamed(alias);
        Ok((
            found,
            Item { name: called, schema, columns, key: own, extended: false, reference, hot },
        ))
    }

    /// LOCK TABLE: where the whole table is, or where everybody locks a reference table.
    pub fn lock_table(&mut self, name: &Name) -> Result<(), Unroutable> {
        self.at_least(Access::Lock);
        let (found, _) = self.table(name, &Alias::default())?;
        match found.home {
            Home::Sharded { .. } => {
                Err(Unroutable::OneShardOnly { what: String::from("LOCK of a sharded table") })
            }
            Home::Reference => {
                self.home(format!("lock on reference table {name}"));
                Ok(())
            }
            Home::Single(_) | Home::System | Home::Temporary => Ok(()),
        }
    }

    fn columns(&mut self, found: &Found<'a>, special: &[(&str, Var)]) -> Columns {
        let slot = |name: &str, var: Option<Var>| Slot {
            name: Some(name.to_owned()),
            cell: var.map(|var| Cell { var, open: true, nullable: false }),
            constant: None,
        };
        match found.columns() {
            Some(columns) => {
                let slots = columns
                    .iter()
                    .map(|column| {
                        let known = special.iter().find(|(name, _)| *name == column.name);
                        let var = match known {
                            Some((_, var)) => Some(*var),
                            None => self.own_var(found, column),
                        };
                        slot(&column.name, var)
                    })
                    .collect();
                Columns { slots, named: true, placed: true }
            }
            // The rules vouch for the key columns.
            None => Columns {
                slots: special.iter().map(|(name, var)| slot(name, Some(*var))).collect(),
                named: false,
                placed: false,
            },
        }
    }

    /// A variable for a column by which no row is placed.
    fn own_var(&mut self, found: &Found<'_>, column: &Column) -> Option<Var> {
        if let Some(key_type) = carried_type(&column.type_name) {
            return Some(self.facts.var(Some(key_type)));
        }
        let hot = found.rule.is_some_and(|rule| rule.hot_key.contains(&column.name));
        let key_type = text_type(&column.type_name).filter(|_| hot)?;
        Some(self.facts.lone_var(key_type))
    }

    /// A replica's answer is as good as the primary's: nothing is changed, and nothing is asked that is
    /// the server's own affair.
    pub fn suits_replicas(&self) -> bool {
        self.access == Access::Read
            && !self.random
            && !self.settings
            && !self.state
            && self.ties.is_none()
    }

    /// What a call does to the plan; its operands are looked at elsewhere.
    pub fn call(&mut self, call: &Call) -> Result<(), Unroutable> {
        match self.effect(call)? {
            Effect::None => {}
            Effect::Catalog => match (call.name.name.as_str(), call.operands.first()) {
                ("current_setting", Some(Expr::Literal(Literal::Lifted(index)))) => {
                    self.asked_settings.push(*index);
                }
                _ => self.rather_home = true,
            },
            Effect::State => (self.rather_home, self.state) = (true, true),
            Effect::Random => {
                self.random = true;
                self.random_calls.insert(call.name.clone());
            }
            Effect::Setting => {
                self.settings = true;
                self.rather_home = true;
            }
            Effect::Sequence => self.sequence(call)?,
            effect @ (Effect::Lock | Effect::SessionLock) => {
                self.home(format!("{}()", call.name));
                self.at_least(Access::Lock);
                self.ties = self.ties.or(effect.tie());
            }
            Effect::Home => {
                self.home(format!("{}()", call.name));
                self.at_least(Access::Write);
            }
            Effect::Remembers => self.recall(call)?,
            Effect::HiddenTables => {
                return Err(Unroutable::HiddenTables { function: call.name.to_string() });
            }
        }
        Ok(())
    }

    fn effect(&mut self, call: &Call) -> Result<Effect, Unroutable> {
        let unknown = || Unroutable::Function { function: call.name.to_string() };
        let name = &call.name;
        if name.schema.is_none() && name.name == compat::ROWS {
            return Ok(Effect::None);
        }
        if name.schema.is_none() && compat::OPAQUE.strip_suffix("()") == Some(&name.name) {
            // Not understood: perhaps it calls a function that writes.
            self.at_least(Access::Write);
            return Ok(Effect::None);
        }
        if name.schema.as_deref() == Some("information_schema") && name.name.starts_with("_pg_") {
            // PostgreSQL's own helpers, which drivers' catalog queries call.
            return Ok(Effect::Catalog);
        }
        if name.schema.as_deref() == Some("weir") && name.name == "next_id" {
            // No shard gives what another one has given.
            self.at_least(Access::Lock);
            return Ok(Effect::Random);
        }
        if name.schema.as_deref().is_some_and(|schema| schema != "pg_catalog") {
            let found = self
                .context
                .catalog
                .functions(&name.name)
                .filter(|function| Some(&function.schema) == name.schema.as_ref());
            return self.user_effect(name, found.collect::<Vec<_>>().as_slice());
        }
        let path = names::search_path(self.context.search_path, self.context.user);
        // An overload in the path may be the better match for the arguments: what any of them does counts.
        let overloads: Vec<_> = match name.schema {
            Some(_) => Vec::new(),
            None => self
                .context
                .catalog
                .functions(&name.name)
                .filter(|function| path.contains(&function.schema))
                .collect(),
        };
        match functions::builtin(&name.name) {
            Some(effect) if overloads.is_empty() => Ok(effect),
            Some(Effect::None) => self.user_effect(name, &overloads),
            Some(_) => Err(unknown()),
            None => self.user_effect(name, &overloads),
        }
    }

    fn user_effect(
        &mut self,
        name: &Name,
        found: &[&super::catalog::Function],
    ) -> Result<Effect, Unroutable> {
        let unknown = || Unroutable::Function { function: name.to_string() };
        let rules = self.context.rules;
        let declared = rules.functions.iter().find(|function| {
            function.name == name.name
                && (function.schema.is_none() || function.schema == name.schema || {
                    found.iter().all(|known| Some(&known.schema) == function.schema.as_ref())
                })
        });
        if let Some(declared) = declared {
            if !declared.tables.is_empty() {
                self.reading_function = Some(name.to_string());
            }
            for table in declared.tables.iter().filter_map(|index| rules.tables.get(*index)) {
                match &table.placement {
                    Placement::Reference => {}
                    Placement::Single(shard) => {
                        let what = format!("function {name}, which reads {}", table.name);
                        self.needs.push(Need { shard: *shard, what, of: NeedOf::Place });
                    }
                    Placement::Sharded { .. } => return Err(unknown()),
                }
            }
            // Declared is which tables it reads, not that it writes nothing.
            if found.iter().all(|function| functions::user(function).is_none()) {
                self.at_least(Access::Write);
            }
            return Ok(Effect::None);
        }
        let mut effect = None;
        for function in found {
            match (functions::user(function).ok_or_else(unknown)?, effect) {
                (Effect::Random, _) => effect = Some(Effect::Random),
                (other, None) => effect = Some(other),
                (_, Some(_)) => {}
            }
        }
        effect.ok_or_else(unknown)
    }

    /// Sequences of sharded tables give other values on each shard, but keys are drawn on the home
    /// shard, as from all other sequences.
    fn sequence(&mut self, call: &Call) -> Result<(), Unroutable> {
        self.at_least(Access::Lock);
        let named = call.operands.first().and_then(|operand| self.sequence_of(operand));
        let of_shards = match &named {
            Some(sequence) => self.fills_a_column(sequence) || self.is_owned_by_one(sequence),
            // Perhaps one of them.
            None => self.any_fills_a_column() && !self.is_constant(call.operands.first()),
        };
        match (of_shards, call.name.name.as_str()) {
            (true, "setval") => {
                let sequence = named.map_or_else(String::new, |it| it.name);
                Err(Unroutable::SetSequence { sequence })
            }
            (true, _) => {
                self.rather_home = true;
                Ok(())
            }
            (false, _) => {
                self.home(format!("sequence function {}()", call.name));
                Ok(())
            }
        }
    }

    /// currval and lastval.
    fn recall(&mut self, call: &Call) -> Result<(), Unroutable> {
        let unknown = || Unroutable::Remembers { function: call.name.to_string() };
        let ask = match (call.name.name.as_str(), call.operands.first()) {
            ("lastval", None) => Recall::Last,
            ("currval", Some(operand)) => {
                Recall::Of(self.sequence_of(operand).ok_or_else(unknown)?)
            }
            _ => return Err(unknown()),
        };
        let function = call.name.to_string();
        let recalled = self.recalled.get_or_insert(Recalled { function, asks: Vec::new() });
        recalled.asks.push(ask);
        Ok(())
    }

    /// A constant, or `pg_get_serial_sequence` of constants.
    pub fn sequence_of(&self, expr: &Expr) -> Option<SequenceName> {
        match expr {
            Expr::Cast(inner, _) => self.sequence_of(inner),
            Expr::Call(call) if call.name.name == "pg_get_serial_sequence" => {
                let [table, column] = call.operands.as_slice() else { return None };
                recall::serial_sequence(&self.text(table)?, &self.text(column)?, self.context)
            }
            other => recall::sequence(&self.text(other)?, self.context),
        }
    }

    fn is_constant(&self, expr: Option<&Expr>) -> bool {
        expr.is_some_and(|expr| self.text(expr).is_some())
    }

    /// Each shard draws from its own: it fills a column of a sharded table that is not the key.
    fn fills_a_column(&self, sequence: &SequenceName) -> bool {
        self.fills_columns(|text| {
            // Reading every name would take longer than looking for this one in it.
            (text.contains(&sequence.name) || sequence.name.contains('"'))
                && recall::of_text(text).as_ref() == Some(sequence)
        })
    }

    /// The same of a sequence that such a column owns, whatever it has as its default.
    fn is_owned_by_one(&self, sequence: &SequenceName) -> bool {
        let relation = self.context.catalog.relation(&sequence.schema, &sequence.name);
        let Some((schema, table)) = relation.and_then(|relation| relation.owner.clone()) else {
            return false;
        };
        match names::find(&Name { schema: Some(schema), name: table }, self.context) {
            Ok(Found { home: Home::Sharded { key, .. }, relation, .. }) => {
                let of_key =
                    relation.and_then(|relation| relation.column(key)?.sequence.as_deref());
                of_key.and_then(recall::of_text).as_ref() != Some(sequence)
            }
            Ok(_) | Err(_) => false,
        }
    }

    fn any_fills_a_column(&self) -> bool {
        self.fills_columns(|_| true)
    }

    /// Is there a column of a sharded table, and not its key, behind which is such a sequence?
    fn fills_columns(&self, is_meant: impl Fn(&str) -> bool) -> bool {
        self.context.catalog.relations().any(|relation| {
            let behind = |column: &&Column| column.sequence.as_deref().is_some_and(&is_meant);
            let mut columns = relation.columns.iter().filter(behind).peekable();
            if columns.peek().is_none() {
                return false;
            }
            let name = Name { schema: Some(relation.schema.clone()), name: relation.name.clone() };
            match names::find(&name, self.context) {
                Ok(Found { home: Home::Sharded { key, .. }, .. }) => {
                    columns.any(|column| column.name != *key)
                }
                Ok(_) | Err(_) => false,
            }
        })
    }

    /// A lifted literal. Whoever asks makes the plan hold for this text only.
    fn literal(&self, index: usize) -> Option<&'a crate::sql::shape::Literal> {
        self.peeked.set(true);
        self.shape.literals.get(index)
    }

    /// A lifted literal as it is written. Whoever asks makes the plan hold for this text only.
    pub fn literal_source(&self, index: usize) -> Option<&'a str> {
        Some(self.literal(index)?.source(self.statement))
    }

    /// A constant's text. Whoever asks makes the plan hold for this text only.
    fn text(&self, expr: &Expr) -> Option<String> {
        match expr {
            Expr::Literal(Literal::Text(text)) => Some(text.clone()),
            Expr::Literal(Literal::Lifted(index)) => {
                let lifted = self.literal(*index)?;
                lifted.value(self.statement).map(|text| text.into_owned())
            }
            Expr::Cast(inner, _) => self.text(inner),
            Expr::Column(_)
            | Expr::Literal(_)
            | Expr::Param(_)
            | Expr::Negative(_)
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

    /// A parameter stands alone where it gets a column's type.
    pub fn typed_param(&mut self, operand: &Operand, type_name: &str) {
        if let Some((number, None)) = operand.param() {
            self.params.entry(number).or_default().types.push(type_name.to_owned());
        }
    }
}

/// The types of other columns whose values can be carried to a key. Texts are not among them: their
/// column may have a collation under which different texts are equal.
pub fn carried_type(type_name: &str) -> Option<KeyType> {
    Some(match type_name {
        "smallint" | "int2" => KeyType::Smallint,
        "integer" | "int" | "int4" => KeyType::Int,
        "bigint" | "int8" => KeyType::Bigint,
        "uuid" => KeyType::Uuid,
        "date" => KeyType::Date,
        "timestamp with time zone" | "timestamptz" => KeyType::Timestamptz,
        _ => return None,
    })
}

/// `character varying(20)`, `text`.
pub fn text_type(type_name: &str) -> Option<KeyType> {
    match type_name.split('(').next().unwrap_or_default().trim() {
        "text" => Some(KeyType::Text),
        "varchar" | "character varying" => Some(KeyType::Varchar),
        _ => None,
    }
}
