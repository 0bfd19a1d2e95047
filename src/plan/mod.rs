//! Statement + rules → [`Plan`] (HOW, cached by shape); plan + parameters → [`Route`] (WHERE).
//!
//! - `planner`: text → plan, through the cache · `decide`: where it goes · `route`: plan and values → shard
//! - `analyst`: walks a statement; `predicate`, `select`, `insert`, `update`, `delete`, `merge`, `write`
//!   are its parts · `scope`: what names mean inside · `keys`: the proof
//! - `foreign`: what foreign keys add to a write · `lock`: the hot row that a statement locks ·
//!   `draw`: keys that a sequence gives · `recall`: what has been drawn
//! - `value`, `array`: constants → keys · `names`: relations → rules · `functions`: what calls do
//! - `plain`: databases without distributions · `catalog`: what the database contains · `ddl`, `copy`: statements that are not proved by keys
//! - `placing`: rows of COPY data → shards
//! - `several`: queries whose rows are on several shards
//! - `explain`: the same decisions in words · `unroutable`: why a statement is not run
//!
//! Invariant: this module never knows connections, time or sessions. A statement whose right
//! execution is not proved is [`Unroutable`].
mod analyst;
mod array;
pub mod catalog;
pub mod copy;
mod ddl;
mod delete;
mod draw;
mod explain;
mod foreign;
mod functions;
mod insert;
mod keys;
mod lock;
mod meaning;
mod merge;
pub mod names;
pub mod placing;
mod plain;
mod planner;
mod decide;
mod predicate;
mod recall;
mod route;
mod scope;
mod select;
pub mod several;
mod unroutable;
mod update;
mod value;
pub mod used;
mod write;
#[cfg(test)]
mod allocations;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use crate::ids::{DistributionId, Oid, ShardId, TierId};
use crate::rules::{Reads, Rules};
use crate::sharding::KeyType;
use crate::sql::control::Control;
use crate::sql::moment::Time;
pub use crate::sql::rewrite::Splice;
use crate::sql::shape::Shape;
pub use catalog::Catalog;
use catalog::Nulls;
pub use draw::Draw;
pub use explain::explain;
pub use lock::LockTarget;
pub use planner::{Found, Planner};
pub use recall::{Recalled, SequenceName};
use std::borrow::Cow;
use std::sync::Arc;
pub use unroutable::Unroutable;
use value::{Keys, Operand};

/// What decides a statement's meaning besides its text.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    pub rules: &'a Rules,
    pub catalog: &'a Catalog,
    /// The setting's raw value.
    pub search_path: &'a str,
    /// The current user: `"$user"` in search_path.
    pub user: &'a str,
    pub standard_conforming_strings: bool,
    /// Temporary relations that the session has made; they may hide others, or be gone again.
    pub temporary: &'a [String],
    /// `SET weir.shard`: everything runs there.
    pub named_shard: Option<ShardId>,
}

/// A plan for one text: what its shape shares with others, and the constants of its own.
#[derive(Clone, Debug)]
pub struct Planned {
    pub plan: Arc<Plan>,
    pub shape: Shape,
}

/// How a statement runs: shared, read-only, holds no execution.
#[derive(Debug)]
pub struct Plan {
    pub access: Access,
    pub target: Target,
    pub command: Command,
    /// Changes to the original text, ascending, not overlapping.
    pub splices: Vec<Splice>,
    /// What ties the session to the server that runs this.
    pub ties: Option<Tie>,
    /// Temporary relations that this makes.
    pub temporary: Vec<String>,
    /// A replica's answer is as good as the primary's.
    pub replica: bool,
    /// It calls set_config, so the server's settings may be other ones afterwards.
    pub settings: bool,
    /// The hot row that it locks.
    pub lock: Option<LockTarget>,
    /// Where it asks what time it is in its transaction: bytes of its shape.
    pub times: Box<[Time]>,
    /// Sequences from which it certainly draws where it runs.
    pub draws: Vec<SequenceName>,
    /// How it is answered if its rows are on several shards.
    pub several: Option<Box<several::Several>>,
    /// The same for a write.
    pub scattered: Option<Box<several::Scattered>>,
    /// Why a write is not done if its keys are on several shards.
    unscattered: Option<Box<Unroutable>>,
    /// The same for a COPY.
    pub copying: Option<Box<copy::Copying>>,
    /// What the statement's own comments ask for.
    pub asks: Asks,
    /// A hash of the statement's text without its literals: the same in every weir of one build.
    pub fingerprint: u64,
    /// Its text without its literals: the beginning, if it is long.
    pub shape: Box<str>,
    /// How it has done so far.
    pub used: used::Used,
    /// DO or CALL: nobody looks into what it runs.
    pub runs_code: bool,
    needs_types: bool,
    /// Its first words alone have been read: PostgreSQL may find that the rest is nothing.
    pub is_unread: bool,
}

/// What the comments of a statement ask for, besides its shard.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Asks {
    /// A tier's name. Whoever knows the tiers says whether there is one of that name.
    pub tier: Option<String>,
    pub reads: Option<Reads>,
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

/// State that a server keeps for a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tie {
    TemporaryTable,
    /// A session-level advisory lock.
    AdvisoryLock,
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
    /// A query whose rows are on several shards.
    Several,
    /// Rows whose keys have to be drawn first: with them written in, the statement is planned anew.
    Drawn(Draw),
    /// Asks what the session has drawn: the server on which its transaction did.
    Recalled(Recalled),
    /// weir answers.
    Proxy,
}

/// The proof: all of these must come out on one shard.
#[derive(Debug)]
pub struct Keyed {
    pub requirements: Vec<Requirement>,
}

/// One thing that decides where a statement runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Requirement {
    /// An instance of a sharded table is limited to these keys.
    Limit {
        /// The name that the statement gives the instance.
        label: String,
        column: String,
        distribution: DistributionId,
        keys: Keys,
        read_as: KeyType,
    },
    /// A row is inserted.
    Row {
        table: String,
        column: String,
        distribution: DistributionId,
        /// `None`: NULL.
        key: Option<Operand>,
        /// Where the server itself refuses a NULL, any server may be sent it.
        nulls: Nulls,
        fallback: Option<FallbackRow>,
    },
    /// Something that is only on this shard: what.
    Shard { shard: ShardId, what: String },
}

/// Where an inserted row goes if its key is NULL.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FallbackRow {
    pub column: String,
    pub distribution: DistributionId,
    /// `None`: not known before the insert.
    pub key: Option<Operand>,
    pub nulls: Nulls,
}

/// Where one execution runs.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Route {
    One(ShardId),
    /// A query that reads on several: [`Planned::shards`] says which, [`Plan::several`] how.
    Many,
    /// Any shard will do: one the transaction already holds, or the least busy.
    Any,
    Every,
    Proxy,
}

/// A plan that many sessions hold.
pub type SharedPlan = Arc<Plan>;

impl Plan {
    /// A key parameter's type is not decided by the text: [`Planned::route`] must be given the types
    /// that the server describes.
    pub fn needs_types(&self) -> bool {
        self.needs_types
    }

    /// Whose connections it uses if nobody says otherwise.
    pub fn tier(&self) -> TierId {
        match &self.target {
            Target::EveryShard | Target::Several => TierId::BATCH,
            Target::AnyShard
            | Target::Shard(_)
            | Target::Keyed(_)
            | Target::Drawn(_)
            | Target::Recalled(_)
            | Target::Proxy => TierId::INTERACTIVE,
        }
    }
}

impl Planned {
    /// What has to be drawn before it can be said where the statement runs.
    pub fn draw(&self) -> Option<&Draw> {
        match &self.plan.target {
            Target::Drawn(draw) => Some(draw),
            Target::AnyShard
            | Target::Shard(_)
            | Target::Keyed(_)
            | Target::EveryShard
            | Target::Several
            | Target::Recalled(_)
            | Target::Proxy => None,
        }
    }

    /// What of the session's draws it asks for.
    pub fn recalled(&self) -> Option<&Recalled> {
        match &self.plan.target {
            Target::Recalled(recalled) => Some(recalled),
            Target::AnyShard
            | Target::Shard(_)
            | Target::Keyed(_)
            | Target::EveryShard
            | Target::Several
            | Target::Drawn(_)
            | Target::Proxy => None,
        }
    }

    /// The statement with the drawn keys written in.
    pub fn with_keys(&self, draw: &Draw, values: &[i64], statement: &str) -> String {
        crate::sql::rewrite::apply(statement, &self.shape, &draw.with(values)).into_owned()
    }

    /// The text to run: the original with the plan's splices.
    pub fn text<'t>(&self, statement: &'t str) -> Cow<'t, str> {
        crate::sql::rewrite::apply(statement, &self.shape, &self.plan.splices)
    }
}

/// The one name of a type that the plan knows.
fn typname(type_oid: Oid) -> String {
    use crate::wire::value::oid;
    match type_oid {
        oid::INT2 => "int2",
        oid::INT4 => "int4",
        oid::INT8 => "int8",
        oid::NUMERIC => "numeric",
        oid::TEXT => "text",
        oid::VARCHAR => "varchar",
        oid::UUID => "uuid",
        oid::DATE => "date",
        oid::TIMESTAMPTZ => "timestamptz",
        _ => "?",
    }
    .to_owned()
}
