//! Text → [`Planned`], through a bounded cache of plans by shape.
//!
//! A hit costs one pass of the lexer and one look-up with full comparison of the text, and allocates
//! nothing if the last plan was given back ([`Planner::give_back`]). Only queries and writes are cached;
//! plans that depend on a literal's value, or on a session's temporary tables, are not. A database without
//! distributions has its plans cached in the same way.
use super::analyst::Analyst;
use super::ddl::{ByWords, by_words, names_nothing_of_users};
use super::decide::{decide_copy, decide_or_scatter, decide_or_unite, needs_types};
use super::draw::draw;
use super::foreign::refuse_far_effects;
use super::recall::{self, Recalled};
use super::scope::Env;
use super::several::write::{Written, refuse_inner_moves, refuse_reference_writes};
use super::several::{Scattered, Several};
use super::used::Used;
use super::{Access, Asks, Command, Context, Plan, Planned, Splice, Target, Unroutable};
use crate::rules::Reads;
use crate::sql::compat::{Analysis, NotAnalysed, for_analysis};
use crate::sql::lexer::{Lexer, TokenKind};
use crate::sql::shape::{Shape, shape_into};
use crate::sql::statement::{Insert, Query, Source, Statement};
use crate::sql::verb::{Verb, classify};
use crate::sql::{control, explained, hint, moment, parse};
use foldhash::HashMap;
use std::cell::RefCell;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// Plans by shape, with two generations: when the young one is full, the old one is forgotten.
pub struct Planner {
    /// Plans per generation.
    capacity: usize,
    young: HashMap<Box<[u8]>, Arc<Plan>>,
    old: HashMap<Box<[u8]>, Arc<Plan>>,
    /// How long the young ones' keys are.
    young_bytes: usize,
    /// The look-up key under construction.
    key: Vec<u8>,
    /// Of statements that are over: their buffers are used again.
    spare: Vec<Shape>,
    looked_up: LookedUp,
}

/// For each plan of a generation, so many bytes of statements are kept: long ones leave sooner.
const KEY_BYTES: usize = 4096;

/// What is kept of a statement.
#[derive(Debug)]
pub enum Found {
    Plan(Planned),
    /// Its shape, for [`Planner::make`].
    Nothing(Shape),
}

/// How look-ups ended.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct LookedUp {
    pub hits: u64,
    pub misses: u64,
}

impl std::fmt::Debug for Planner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Planner").field("plans", &self.len()).finish_non_exhaustive()
    }
}

impl Planner {
    /// `capacity`: how many plans to keep, at least.
    pub fn new(capacity: usize) -> Self {
        let capacity = capacity.max(1);
        Self {
            capacity,
            young: HashMap::default(),
            old: HashMap::default(),
            young_bytes: 0,
            key: Vec::new(),
            spare: Vec::new(),
            looked_up: LookedUp::default(),
        }
    }

    /// Plans that are kept now.
    pub fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What has been looked up since this was last asked.
    pub fn take_looked_up(&mut self) -> LookedUp {
        std::mem::take(&mut self.looked_up)
    }

    /// A plan was found without looking here.
    pub fn note_hit(&mut self) {
        self.looked_up.hits += 1;
    }

    /// How this statement (one, without its semicolon) runs.
    pub fn plan(&mut self, statement: &str, context: &Context<'_>) -> Result<Planned, Unroutable> {
        match self.find(statement, context)? {
            Found::Plan(planned) => Ok(planned),
            Found::Nothing(shape) => self.make(statement, shape, context),
        }
    }

    /// What is kept of this statement.
    pub fn find(&mut self, statement: &str, context: &Context<'_>) -> Result<Found, Unroutable> {
        let strings = context.standard_conforming_strings;
        let mut shape = self.spare.pop().unwrap_or_default();
        shape_into(statement, strings, &mut shape)
            .map_err(|error| Unroutable::Value(error.into()))?;
        if is_alone(context) {
            return Ok(Found::Nothing(shape));
        }
        self.key.clear();
        write_key(&mut self.key, &shape, context);
        if let Some(plan) = self.young.get(self.key.as_slice()) {
            self.looked_up.hits += 1;
            return Ok(Found::Plan(Planned { plan: Arc::clone(plan), shape }));
        }
        if let Some((key, plan)) = self.old.remove_entry(self.key.as_slice()) {
            self.looked_up.hits += 1;
            self.keep(key, Arc::clone(&plan));
            return Ok(Found::Plan(Planned { plan, shape }));
        }
        self.looked_up.misses += 1;
        Ok(Found::Nothing(shape))
    }

    /// A plan for a statement of that shape, of which nothing was found just now.
    pub fn make(
        &mut self,
        statement: &str,
        shape: Shape,
        context: &Context<'_>,
    ) -> Result<Planned, Unroutable> {
        let (plan, keep) = finished(statement, &shape, context)?;
        let plan = Arc::new(plan);
        if keep == Keep::Shape && !is_alone(context) {
            self.keep(self.key.as_slice().into(), Arc::clone(&plan));
        }
        Ok(Planned { plan, shape })
    }

    /// The statement is over.
    pub fn give_back(&mut self, planned: Planned) {
        /// Of a statement that comes again and again; what a rare long one needs is not kept.
        const SPARE_BYTES: usize = 4 * 1024;
        /// Statements that run at the same time.
        const SPARES: usize = 64;
        if self.spare.len() < SPARES && planned.shape.text.capacity() <= SPARE_BYTES {
            self.spare.push(planned.shape);
        }
    }

    fn keep(&mut self, key: Box<[u8]>, plan: Arc<Plan>) {
        if self.young.len() >= self.capacity || self.young_bytes >= self.capacity * KEY_BYTES {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
        self.young_bytes += key.len();
        self.young.insert(key, plan);
    }
}

/// Where tables may be hidden, or a shard is named, nothing is kept.
fn is_alone(context: &Context<'_>) -> bool {
    let alone = !context.temporary.is_empty() || context.named_shard.is_some();
    alone && !context.rules.is_plain()
}

/// Everything a plan depends on; no part can be mistaken for another, since no text holds a zero.
fn write_key(key: &mut Vec<u8>, shape: &Shape, context: &Context<'_>) {
    key.extend_from_slice(&context.rules.version.0.to_ne_bytes());
    key.extend_from_slice(&context.catalog.version.to_ne_bytes());
    for part in [&context.rules.database, context.user, context.search_path, &shape.text] {
        key.push(0);
        key.extend_from_slice(part.as_bytes());
    }
}

/// [`build`], with what can be told of any plan.
fn finished(
    statement: &str,
    shape: &Shape,
    context: &Context<'_>,
) -> Result<(Plan, Keep), Unroutable> {
    let (plan, keep) = build(statement, shape, context)?;
    let runs_code = matches!(classify(&shape.text), Verb::Do | Verb::Call);
    let shown = shown(&shape.text).into();
    Ok((Plan { fingerprint: fingerprint(shape), shape: shown, runs_code, ..plan }, keep))
}

/// As logs and views show a shape: no literal is in it, also none that decides the plan or belongs to a
/// statement whose plan is not kept (`PASSWORD 'x'`), and no more than a page.
fn shown(shape: &str) -> String {
    const SHOWN_BYTES: usize = 2048;
    let mut shown = String::new();
    // What cannot be read may be anything: it is not shown.
    for token in Lexer::of_shape(shape).map_while(Result::ok) {
        let text = token.text(shape);
        match token.kind.is_literal() || token.kind == TokenKind::Lifted {
            true => shown.push('?'),
            false => shown.push_str(text),
        }
        if shown.len() > SHOWN_BYTES {
            let mut ends = (0..=SHOWN_BYTES).rev();
            shown.truncate(ends.find(|end| shown.is_char_boundary(*end)).unwrap_or_default());
            shown.push('…');
            break;
        }
    }
    shown
}

fn fingerprint(shape: &Shape) -> u64 {
    let mut hasher = DefaultHasher::new();
    shape.text.hash(&mut hasher);
    hasher.finish()
}

/// May the plan be used for other texts of the same shape?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Keep {
    Shape,
    Nothing,
}

pub(super) fn build(
    statement: &str,
    shape: &Shape,
    context: &Context<'_>,
) -> Result<(Plan, Keep), Unroutable> {
    let strings = context.standard_conforming_strings;
    let parsed =
        control::parse(statement, strings).map_err(|error| Unroutable::Value(error.into()))?;
    if let Some(control) = parsed {
        let plan = plain(Access::Read, Target::Proxy, Command::Control(control));
        return Ok((plan, Keep::Nothing));
    }
    let hint::Hints { shard, tier, reads } =
        hint::hints(statement, strings).map_err(Unroutable::Value)?;
    let reads = reads.map(|reads| Reads::named(&reads, "weir hint \"reads\"")).transpose();
    let asks = Asks { tier, reads: reads.map_err(Unroutable::Value)? };
    if context.rules.is_plain() {
        let (plan, keep) = super::plain::plan(&shape.text, context);
        return Ok((Plan { asks, ..plan }, keep));
    }
    let named = match shard {
        None => context.named_shard,
        Some(named) => {
            let mut ids = context.rules.shard_ids();
            let found = ids.find(|id| context.rules.shard_name(*id) == named);
            Some(found.ok_or(Unroutable::NoSuchShard { shard: named })?)
        }
    };
    let (plan, keep) = parse::with_room(&shape.text, || match named {
        None => analyse(statement, shape, context),
        Some(shard) => Ok((hinted(shard, statement, shape, context), Keep::Shape)),
    })?;
    Ok((Plan { asks, ..plan }, keep))
}

/// The client says where: only what the statement does is found out, as far as possible.
fn hinted(
    shard: crate::ids::ShardId,
    statement: &str,
    shape: &Shape,
    context: &Context<'_>,
) -> Plan {
    let target = Target::Shard(shard);
    let read = parsed(shape).ok();
    let mut analyst = Analyst::new(context, statement, shape);
    let told = read.map(|(parsed, analysis)| {
        analyst.locked = analysis.notes.locked;
        analyst.row_lock = analysis.notes.row_lock;
        let state = RefCell::new(Vec::new());
        let told = told(&mut analyst, &parsed, &root(&state));
        (told.is_ok(), command_of(&parsed))
    });
    match told {
        Some((true, command)) => Plan {
            lock: analyst.lock_target(),
            replica: analyst.suits_replicas(),
            ties: analyst.ties,
            temporary: analyst.temporary,
            settings: analyst.settings,
            times: times_of(&command, shape),
            ..plain(analyst.access, target, command)
        },
        Some((false, command)) => plain(Access::Write, target, command),
        None => plain(Access::Write, target, Command::Query),
    }
}

fn command_of(statement: &Statement) -> Command {
    use crate::sql::statement::CopyDirection;
    match statement {
        Statement::Copy(copy) => match copy.direction {
            CopyDirection::FromClient => Command::CopyIn,
            CopyDirection::ToClient | CopyDirection::Server => Command::CopyOut,
        },
        Statement::Ddl(_) => Command::Ddl,
        Statement::Query(_)
        | Statement::Insert(_)
        | Statement::Update(_)
        | Statement::Delete(_)
        | Statement::Merge(_)
        | Statement::Explain { .. }
        | Statement::Lock(_)
        | Statement::Notify
        | Statement::Opaque(_) => Command::Query,
    }
}

/// Where a query or a write asks what time it is.
fn times_of(command: &Command, shape: &Shape) -> Box<[moment::Time]> {
    match command {
        Command::Query | Command::CopyOut => moment::of_transaction(&shape.text),
        Command::CopyIn | Command::Ddl | Command::Control(_) => Box::default(),
    }
}

pub(super) fn plain(access: Access, target: Target, command: Command) -> Plan {
    let (splices, ties) = (Vec::new(), None);
    let (replica, settings, needs_types) = (false, false, false);
    let (temporary, lock, asks) = (Vec::new(), None, Asks::default());
    Plan {
        access,
        target,
        command,
        splices,
        ties,
        temporary,
        replica,
        settings,
        lock,
        times: Box::default(),
        draws: Vec::new(),
        several: None,
        scattered: None,
        unscattered: None,
        copying: None,
        asks,
        fingerprint: 0,
        shape: Box::default(),
        used: Used::default(),
        runs_code: false,
        needs_types,
        is_unread: false,
    }
}

fn root(state: &RefCell<Vec<super::scope::CteState>>) -> Env<'_> {
    Env { ctes: &[], visible: 0, recursive: false, state, parent: None, scope: None }
}

fn parsed(shape: &Shape) -> Result<(Statement, Analysis<'_>), Unroutable> {
    let analysis = for_analysis(&shape.text).map_err(|not| match not {
        NotAnalysed::Syntax(error) => Unroutable::Value(error.into()),
        NotAnalysed::Unsupported(what) => Unroutable::Unsupported { what: what.to_owned() },
    })?;
    let statement = parse::parse(&analysis.text).map_err(|unread| match unread {
        parse::Unread::Syntax(message) => Unroutable::NotParsed { message },
        parse::Unread::Unsupported(what) if what == "SELECT INTO" => Unroutable::SelectInto,
        parse::Unread::Unsupported(what) => Unroutable::Unsupported { what },
        parse::Unread::TooBig => Unroutable::TooBig,
        parse::Unread::NotOne(0) => {
            Unroutable::Unsupported { what: String::from("an empty query") }
        }
        parse::Unread::NotOne(_) => Unroutable::SeveralStatements,
    })?;
    Ok((statement, analysis))
}

fn analyse(
    statement: &str,
    shape: &Shape,
    context: &Context<'_>,
) -> Result<(Plan, Keep), Unroutable> {
    let (parsed, analysis) = match parsed(shape) {
        Ok(read) => read,
        Err(unread @ (Unroutable::NotParsed { .. } | Unroutable::Unsupported { .. })) => {
            let plan = unparsed(unread, statement, shape, context)?;
            return Ok((Plan { is_unread: true, ..plan }, Keep::Nothing));
        }
        Err(other) => return Err(other),
    };
    if let Statement::Insert(insert) = &parsed
        && let Some(draw) = draw(insert, &analysis, shape, context)?
    {
        let plan = plain(Access::Write, Target::Drawn(draw), Command::Query);
        return Ok((plan, Keep::Shape));
    }
    let mut analyst = Analyst::new(context, statement, shape);
    analyst.locked = analysis.notes.locked.clone();
    analyst.row_lock = analysis.notes.row_lock;
    let state = RefCell::new(Vec::new());
    let mut told = told(&mut analyst, &parsed, &root(&state))?;
    if let Some(recalled) = analyst.recalled.take() {
        told.target = Some(recalls(&parsed, &analyst, recalled)?);
    }
    let several = match (&parsed, analysis.notes.row_lock) {
        (Statement::Query(query), None) => Several::plan(query, &analysis, shape, &analyst),
        _ => None,
    };
    let several = match analyst.alone() {
        None => several,
        Some(why) => several.map(|_| Several::refused(lonely(why))),
    };
    refuse_reference_writes(&parsed, &analyst)?;
    refuse_far_effects(&analyst.writes, context)?;
    refuse_inner_moves(&parsed, &analyst)?;
    if !analyst.instances.is_empty() && context.rules.shards.len() > 1 {
        super::names::admit_operators(context.search_path)?;
    }
    let splices: Vec<Splice> = match inserted(&parsed) {
        Some(insert) => {
            column_list(insert, &analysis, context, analyst.selected)?.into_iter().collect()
        }
        None => Vec::new(),
    };
    let scattered = parsed.write().and_then(|write| {
        let (analysis, analyst, splices) = (&analysis, &analyst, &splices);
        Scattered::plan(&Written { write, analysis, shape, analyst, splices })
    });
    let scattered = match analyst.alone() {
        None => scattered,
        Some(why) => scattered.map(|_| Err(lonely(why))),
    };
    let copying = match &parsed {
        Statement::Copy(copy) => analyst.copying(copy, statement, shape)?.map(Box::new),
        _ => None,
    };
    let (target, several, scattered) = match (told.target, scattered) {
        (Some(target), _) => (target, None, None),
        (None, None) if copying.is_some() => (decide_copy(&analyst)?, None, None),
        (None, Some(scattered)) => {
            let (target, scattered) = decide_or_scatter(&mut analyst, scattered)?;
            (target, None, scattered)
        }
        (None, None) => {
            let (target, several) = decide_or_unite(&analyst, several)?;
            (target, several, None)
        }
    };
    let (scattered, unscattered) = match scattered {
        Some(Ok(scattered)) => (Some(Box::new(scattered)), None),
        Some(Err(why)) => (None, Some(Box::new(why))),
        None => (None, None),
    };
    let needs_types = match &target {
        Target::Keyed(keyed) => needs_types(&keyed.requirements, &analyst.params),
        Target::AnyShard
        | Target::Shard(_)
        | Target::EveryShard
        | Target::Several
        | Target::Drawn(_)
        | Target::Recalled(_)
        | Target::Proxy => false,
    };
    let keep = match (told.command == Command::Query, analyst.peeked.get()) {
        (true, false) => Keep::Shape,
        (false, _) | (_, true) => Keep::Nothing,
    };
    let plan = Plan {
        access: analyst.access,
        lock: analyst.lock_target(),
        times: times_of(&told.command, shape),
        draws: recall::drawn(&parsed, context, |expr| analyst.sequence_of(expr)),
        replica: analyst.suits_replicas(),
        settings: analyst.settings,
        ties: analyst.ties,
        temporary: analyst.temporary,
        target,
        command: told.command,
        splices,
        several: several.map(Box::new),
        scattered,
        unscattered,
        copying,
        asks: Asks::default(),
        fingerprint: 0,
        shape: Box::default(),
        used: Used::default(),
        runs_code: false,
        needs_types,
        is_unread: false,
    };
    Ok((plan, keep))
}

/// A view that is read on one shard only.
fn lonely(why: &str) -> Unroutable {
    Unroutable::NotGathered { what: format!("a view that can be read on one shard only ({why})") }
}

/// A query that asks nothing of tables' rows, and only reads.
fn recalls(
    statement: &Statement,
    analyst: &Analyst<'_>,
    recalled: Recalled,
) -> Result<Target, Unroutable> {
    let alone = matches!(statement, Statement::Query(_))
        && analyst.access == Access::Read
        && analyst.instances.is_empty()
        && analyst.needs.is_empty();
    if alone { Ok(Target::Recalled(recalled)) } else { Err(recalled.unknown()) }
}

/// What the parser does not know goes by its first words, or not at all.
fn unparsed(
    unread: Unroutable,
    statement: &str,
    shape: &Shape,
    context: &Context<'_>,
) -> Result<Plan, Unroutable> {
    let strings = context.standard_conforming_strings;
    if explained::read(statement, strings).is_some_and(|explained| !explained.is_of_rows()) {
        // With ANALYZE, CREATE TABLE AS creates.
        let what = String::from("EXPLAIN of this statement");
        return Err(Unroutable::Unsupported { what });
    }
    if let Some(ByWords { target, ties, temporary }) = by_words(&shape.text, context)? {
        return Ok(Plan { ties, temporary, ..plain(Access::Write, target, Command::Ddl) });
    }
    match names_nothing_of_users(&shape.text, context) {
        true => {
            let target = Target::Shard(context.rules.home);
            Ok(plain(Access::Write, target, Command::Query))
        }
        false => Err(unread),
    }
}

/// The query that a shape's text is.
pub(super) fn read_query(shape: &Shape) -> Result<(Query, Analysis<'_>), Unroutable> {
    match parsed(shape)? {
        (Statement::Query(query), analysis) => Ok((query, analysis)),
        _ => Err(Unroutable::Unsupported { what: String::from("what is no query") }),
    }
}

/// Collects what a query is made of that stands alone.
pub(super) fn read_whole(analyst: &mut Analyst<'_>, query: &Query) -> Result<(), Unroutable> {
    let state = RefCell::new(Vec::new());
    let columns = analyst.query(query, &root(&state), None)?;
    analyst.width = columns.placed.then_some(columns.slots.len());
    Ok(())
}

/// What an analyst says about a statement besides what it collected.
struct Told {
    command: Command,
    /// `None`: what was collected decides.
    target: Option<Target>,
}

fn told(
    analyst: &mut Analyst<'_>,
    statement: &Statement,
    env: &Env<'_>,
) -> Result<Told, Unroutable> {
    let query = Told { command: Command::Query, target: None };
    Ok(match statement {
        Statement::Query(select) => {
            let columns = analyst.query(select, env, None)?;
            analyst.width = columns.placed.then_some(columns.slots.len());
            query
        }
        Statement::Insert(_)
        | Statement::Update(_)
        | Statement::Delete(_)
        | Statement::Merge(_) => {
            analyst.write(statement, env)?;
            query
        }
        Statement::Explain { analyze, statement } => {
            let told = told(analyst, statement, env)?;
            if !analyze {
                analyst.access = Access::Read;
                analyst.lock_sites.clear();
            }
            if told.command != Command::Query {
                let what = String::from("EXPLAIN of this statement");
                return Err(Unroutable::Unsupported { what });
            }
            told
        }
        Statement::Copy(copy) => Told { command: analyst.copy(copy, env)?, target: None },
        Statement::Ddl(ddl) => Told { command: Command::Ddl, target: Some(analyst.ddl(ddl, env)?) },
        Statement::Lock(names) => {
            for name in names {
                analyst.lock_table(name)?;
            }
            query
        }
        Statement::Notify => {
            analyst.home("NOTIFY");
            analyst.at_least(Access::Lock);
            query
        }
        Statement::Opaque(what) => {
            return Err(Unroutable::Opaque { what: (*what).to_owned() });
        }
    })
}

fn inserted(statement: &Statement) -> Option<&Insert> {
    match statement {
        Statement::Insert(insert) => Some(insert),
        Statement::Explain { statement, .. } => inserted(statement),
        Statement::Query(_)
        | Statement::Update(_)
        | Statement::Delete(_)
        | Statement::Merge(_)
        | Statement::Copy(_)
        | Statement::Ddl(_)
        | Statement::Lock(_)
        | Statement::Notify
        | Statement::Opaque(_) => None,
    }
}

/// Whether a query may have to be answered from several shards.
pub(super) fn wants_several(plan: &Plan) -> bool {
    plan.several.is_some()
}

/// What a query does besides reading tables.
pub(super) struct Looked {
    /// It asks no server about itself, and changes nothing.
    pub steady: bool,
}

pub(super) fn looked_at(
    query: &str,
    shape: &Shape,
    context: &Context<'_>,
) -> Result<Looked, Unroutable> {
    let (read, analysis) = parsed(shape)?;
    let mut analyst = Analyst::new(context, query, shape);
    analyst.locked = analysis.notes.locked.clone();
    let state = RefCell::new(Vec::new());
    told(&mut analyst, &read, &root(&state))?;
    let asks = analyst.rather_home || !analyst.asked_settings.is_empty();
    let quiet = !analyst.state && !asks && !analyst.settings;
    let reads = analyst.access == Access::Read && analyst.ties.is_none();
    Ok(Looked { steady: quiet && reads && analyst.needs.is_empty() })
}

/// An INSERT without column list is sent with one, so that a column added meanwhile cannot shift its
/// values.
fn column_list(
    insert: &Insert,
    analysis: &Analysis<'_>,
    context: &Context<'_>,
    selected: Option<usize>,
) -> Result<Option<Splice>, Unroutable> {
    if !insert.columns.is_empty() {
        return Ok(None);
    }
    let found = super::names::find(&insert.table, context)?;
    let width = match &insert.source {
        Source::Rows(rows) => rows.iter().map(Vec::len).max(),
        Source::Query(_) => selected,
        Source::Defaults => None,
    };
    let (Some(columns), Some(width)) = (found.columns(), width) else { return Ok(None) };
    // More values than columns: PostgreSQL says so.
    let Some(listed) = columns.get(..width).filter(|listed| !listed.is_empty()) else {
        return Ok(None);
    };
    let names: Vec<String> =
        listed.iter().map(|column| format!("\"{}\"", column.name.replace('"', "\"\""))).collect();
    let at = insert.columns_at.byte(&analysis.text).map(|at| analysis.shape_offset(at));
    Ok(at.map(|at| Splice { at, remove: 0, insert: format!(" ({})", names.join(", ")) }))
}
