//! Statement + rules → [`Plan`] (HOW, cached by shape); plan + parameters → [`Route`] (WHERE).
//!
//! Invariant: this module never knows connections, time or sessions. A statement whose right
//! execution is not proved is [`Unroutable`].
use crate::error::Error;
use crate::ids::ShardId;
use crate::sql::control::Control;
pub use crate::sql::rewrite::Splice;
use std::sync::Arc;

/// How a statement runs: shared, read-only, holds no execution.
#[derive(Debug)]
pub struct Plan {
    pub ties: Option<()>,
    pub access: Access,
    pub target: Target,
    pub command: Command,
    /// Changes to the original text, ascending, not overlapping.
    pub splices: Vec<Splice>,
}

/// What a statement may do to the shards it runs on. What is not proved to read counts as a write.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Access {
    Read,
    /// Takes locks or draws from sequences: nothing a rollback would have to undo elsewhere.
    Lock,
    Write,
}

/// What kind of answer the session has to expect and what it must remember.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// Rows and a tag.
    Query,
    CopyIn,
    CopyOut,
    /// A schema statement.
    Ddl,
    /// weir acts itself.
    Control(Control),
}

/// Where a statement may run.
#[derive(Debug)]
pub enum Target {
    /// Reads reference tables only, or no table at all.
    AnyShard,
    /// A single-shard table, or the home shard.
    Shard(ShardId),
    /// Every sharded table instance is proved to be limited to the shard of these keys.
    Keyed(Keyed),
    /// Schema statements: every shard that has the object.
    EveryShard,
    /// weir answers.
    Proxy,
}

/// The proof: filled by `plan::keys`.
#[derive(Debug)]
pub struct Keyed {}

/// Where one execution runs.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Route {
    One(ShardId),
    /// Any shard will do: one the transaction already holds, or the least busy.
    Any,
    Every,
    Proxy,
}

/// Why a statement is not run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Unroutable {}

impl From<Unroutable> for Error {
    fn from(unroutable: Unroutable) -> Self {
        match unroutable {}
    }
}

/// A plan that many sessions hold.
pub type SharedPlan = Arc<Plan>;

// ---- Until the planner is here: everything runs on the home shard of a plain database, and any other
// database is refused. The planner keeps this API, `ties`, `Context::named_shard` (SET weir.shard), and
// the plain case (`rules.is_plain()`: control statements recognised, all else `Target::Shard(home)`,
// `Access::Write`, COPY and ties as far as the leading keywords tell).
#[derive(Debug, Default)]
pub struct Catalog {}
pub struct Context<'a> {
    pub rules: &'a crate::rules::Rules,
    pub catalog: &'a Catalog,
    pub search_path: &'a str,
    pub user: &'a str,
    pub standard_conforming_strings: bool,
    pub temporary: bool,
    pub named_shard: Option<ShardId>,
}
pub struct Planner {}
#[derive(Debug)]
pub struct Planned {
    pub plan: Arc<Plan>,
}
impl Planner {
    pub fn new(_capacity: usize) -> Self {
        Self {}
    }
    pub fn plan(&mut self, statement: &str, context: &Context<'_>) -> Result<Planned, Unroutable> {
        let control = crate::sql::control::parse(statement, context.standard_conforming_strings)
            .ok()
            .flatten();
        let (command, target) = match control {
            Some(control) => (Command::Control(control), Target::Proxy),
            None => (Command::Query, Target::Shard(context.rules.home)),
        };
        Ok(Planned {
            plan: Arc::new(Plan {
                ties: None,
                access: Access::Write,
                target,
                command,
                splices: vec![],
            }),
        })
    }
}
impl Planned {
    pub fn route(
        &self,
        _statement: &str,
        _params: &crate::wire::params::Params<'_>,
        _rules: &crate::rules::Rules,
    ) -> Result<Route, Unroutable> {
        Ok(match self.plan.target {
            Target::Shard(shard) => Route::One(shard),
            _ => Route::Any,
        })
    }
    pub fn text<'a>(&self, statement: &'a str) -> std::borrow::Cow<'a, str> {
        statement.into()
    }
}
impl Plan {
    pub fn needs_types(&self) -> bool {
        false
    }
}
impl Unroutable {
    pub fn reason(&self) -> &'static str {
        match *self {}
    }
}
pub fn explain(
    _statement: &str,
    _context: &Context<'_>,
    _params: &crate::wire::params::Params<'_>,
) -> String {
    String::new()
}
