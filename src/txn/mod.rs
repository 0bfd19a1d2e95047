//! A client's transaction: which shards it is open on, what a shard that joins later must catch up
//! with, and how it ends.
//!
//! - `settings`: what the client has SET
//! - `barrier`: between readers and writers of several shards
//! - `two_phase`: the names and the words of a commit on several shards
//! - `footing`: what the shards offer to it
//! - `copies`: between writers of a reference table
//! - `rows`: between those who look for rows on all shards and those who move them
//! - `waits`: deadlocks of which each server sees only a part
//! - `clock`: what time it is
//!
//! Invariants: nothing is opened on a shard before the first statement that needs it; what a client sees as its transaction status is [`Status`], and
//! PostgreSQL's answers are its only source once a shard has joined.
pub mod settings;
pub mod barrier;
pub mod two_phase;
pub mod footing;
pub mod copies;
pub mod rows;
pub mod waits;
mod clock;

use crate::backend::Health;
use crate::backend::translate::Translation;
use crate::error::{Error, SqlState};
use crate::ids::ShardId;
use crate::plan::{Access, Recalled, SequenceName};
use crate::pool::{Lease, Role};
use crate::rules::{Commit, Rules};
use crate::wire::server::TransactionStatus;
use footing::Footing;
use settings::{Settings, Values};
use std::sync::Arc;

/// What delimits a client's transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Block {
    /// Several statements in one simple query: PostgreSQL's implicit transaction block.
    Implicit,
    /// BEGIN was said.
    Explicit,
}

/// The client's transaction status.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    /// Each statement, or each run of extended messages up to a Sync, is its own transaction.
    Idle,
    Open(Block),
    Failed(Block),
}

impl Status {
    /// As ReadyForQuery tells it.
    pub fn wire(self) -> TransactionStatus {
        match self {
            Status::Idle => TransactionStatus::Idle,
            Status::Open(_) => TransactionStatus::InTransaction,
            Status::Failed(_) => TransactionStatus::Failed,
        }
    }
}

/// One server connection that takes part in the client's transaction, or is tied to its session.
pub struct Participant {
    pub shard: ShardId,
    pub lease: Lease,
    pub access: Access,
    pub begun: Begun,
    /// How its object ids differ from the home shard's, if they do.
    pub translation: Option<Arc<Translation>>,
    /// What its last ReadyForQuery said.
    pub status: TransactionStatus,
    /// Extended messages were sent since the last Sync.
    pub unsynced: bool,
    /// An extended message failed on it: until a Sync it ignores everything.
    pub failed: bool,
    /// Statements being prepared on it since the last Sync, and being closed.
    pub preparing: Vec<u64>,
    pub closing: Vec<u64>,
    /// A session that is tied to this server keeps it after the transaction.
    pub tied: bool,
    /// A statement of the client's has run in the transaction that is open on it.
    pub used: bool,
    /// PREPARE TRANSACTION has succeeded on it.
    pub prepared: bool,
    pub leaves: Leaves,
    /// Sequences from which the client has drawn on it, and on no other server since.
    pub draws: Vec<SequenceName>,
    /// The client's transaction began on it: its `now()` is the client's.
    keeps_time: bool,
    /// It goes back to what another client had SET: what it reports is none of this one's.
    reverts: bool,
    /// What the server had applied when the transaction began on it: a rollback goes back to it.
    applied_at_begin: Arc<Values>,
    applied_at_savepoint: Vec<Arc<Values>>,
}

/// Whether a transaction block is open on a participant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Begun {
    /// Statements commit by themselves.
    No,
    Block,
    /// One of weir's own, which is rolled back whatever becomes of the client's.
    Aside,
}

/// What becomes of a server when its transaction is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Leaves {
    /// Its session is as weir knows it: the next client may have it.
    Clean,
    /// DO or CALL ran there, which may have SET, locked or prepared anything: it is closed.
    Closed,
}

impl Participant {
    /// An extended message goes to it. Outside a block the first one begins a transaction.
    pub fn begins_segment(&mut self) {
        if !self.unsynced {
            self.unsynced = true;
            if self.begun == Begun::No {
                self.applied_at_begin = self.lease.session.applied.clone();
            }
        }
    }

    /// Its transaction outside a block has failed, and with it what was SET on the way.
    pub fn segment_undone(&mut self) {
        if self.begun == Begun::No {
            self.lease.session.applied = self.applied_at_begin.clone();
        }
    }

    /// What it reports of its parameters holds for the client.
    pub fn reports_to_client(&self) -> bool {
        self.begun != Begun::Aside && !self.reverts
    }

    /// ROLLBACK was said on it alone, while the client's transaction goes on.
    pub fn rolled_back(&mut self) {
        self.lease.session.applied = self.applied_at_begin.clone();
        self.applied_at_savepoint.clear();
        self.begun = Begun::No;
        self.used = false;
        self.keeps_time = false;
        self.reverts = false;
    }

    /// PREPARE TRANSACTION has succeeded: to its settings that was a commit.
    pub fn has_prepared(&mut self) {
        self.prepared = true;
        self.applied_at_begin = self.lease.session.applied.clone();
    }

    /// Its connection cannot be used any more.
    pub fn is_lost(&self) -> bool {
        matches!(self.lease.health, Health::Tainted(_))
    }

    /// Something failed after these were sent to be prepared: nobody knows which of them were.
    pub fn doubt_statements(&mut self) {
        let prepared = &mut self.lease.session.prepared;
        self.preparing.drain(..).for_each(|id| prepared.doubt(id));
        self.closing.drain(..).for_each(|id| prepared.doubt_closed(id));
        self.lease.session.unnamed = None;
    }
}

/// What was said after BEGIN and a shard that joins later has to hear.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Setup {
    /// SET TRANSACTION: COMMIT AND CHAIN hands it on to the next transaction.
    Characteristics(String),
    /// SET LOCAL, SET CONSTRAINTS.
    Local(String),
}

impl Setup {
    pub fn text(&self) -> &str {
        match self {
            Setup::Characteristics(text) | Setup::Local(text) => text,
        }
    }
}

/// BEGIN's modes, what SET TRANSACTION said, and what holds where neither says anything.
pub struct Characteristics {
    modes: String,
    setup: Vec<Setup>,
    defaults: [Option<String>; 3],
}

struct Savepoint {
    name: String,
    settings: Settings,
    setup: usize,
}

/// Where the transaction's statements run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Reach {
    /// On the shards that have the rows.
    Rows,
    /// A schema statement has run on every shard.
    Every,
}

/// Whether the transaction has changed the schema: something that others must hear of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SchemaChange {
    None,
    Made,
}

/// Whether the servers still hold what the client has done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Continuity {
    Whole,
    /// A participant was lost: only a rollback of everything is left.
    Lost,
}

/// Which snapshots are of one moment.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Moment {
    /// Each shard's is its own.
    Each,
    /// Those of these shards.
    One(Vec<ShardId>),
}

/// Where connections are pinned, and what the client has said since BEGIN.
pub struct Transaction {
    status: Status,
    /// Text after BEGIN, and later SET TRANSACTION and SET LOCAL statements in order.
    modes: String,
    setup: Vec<Setup>,
    savepoints: Vec<Savepoint>,
    settings_at_begin: Settings,
    /// What [`DEFAULTS`] were when the block began: they decide what BEGIN means on every shard.
    defaults: [Option<String>; 3],
    /// Outside a block: the settings to go back to if the segment fails.
    settings_at_segment: Option<Settings>,
    reach: Reach,
    schema: SchemaChange,
    continuity: Continuity,
    moment: Moment,
    /// The transaction's `now()`, once a server has been asked.
    now: Option<String>,
    written: Vec<ShardId>,
    /// What servers take where nobody says.
    isolation_there: Isolation,
    pub settings: Settings,
    pub participants: Vec<Participant>,
}

/// What a transaction sees of what others do meanwhile.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Isolation {
    /// Each statement sees what is committed when it begins.
    ReadCommitted,
    RepeatableRead,
    Serializable,
}

/// What BEGIN takes from the settings. Who changes them in a transaction means the next one.
const DEFAULTS: [&str; 3] = [
    "default_transaction_isolation",
    "default_transaction_read_only",
    "default_transaction_deferrable",
];

fn is_on(value: &str) -> bool {
    matches!(value.to_ascii_lowercase().as_str(), "on" | "true" | "yes" | "1" | "t" | "y")
}

impl Transaction {
    pub fn new(settings: Settings) -> Self {
        Self {
            status: Status::Idle,
            modes: String::new(),
            setup: Vec::new(),
            savepoints: Vec::new(),
            settings_at_begin: settings.clone(),
            defaults: Default::default(),
            settings_at_segment: None,
            reach: Reach::Rows,
            schema: SchemaChange::None,
            continuity: Continuity::Whole,
            moment: Moment::Each,
            now: None,
            written: Vec::new(),
            isolation_there: Isolation::ReadCommitted,
            settings,
            participants: Vec::new(),
        }
    }

    pub fn status(&self) -> Status {
        self.status
    }

    /// Opens a block, which takes in what was executed since the last Sync. Nothing is sent: shards join
    /// when they are touched.
    pub fn begin(&mut self, block: Block, modes: &str) {
        debug_assert_eq!(self.status, Status::Idle);
        self.status = Status::Open(block);
        modes.clone_into(&mut self.modes);
        let before = self.settings_at_segment.as_ref().unwrap_or(&self.settings);
        self.settings_at_begin = before.clone();
        self.defaults = DEFAULTS.map(|name| self.settings.get(name).map(str::to_owned));
    }

    /// A setting that every transaction begins with, as the one that is open began.
    fn default(&self, name: &str) -> Option<&str> {
        let position = DEFAULTS.iter().position(|known| *known == name);
        match (self.status, position) {
            (Status::Open(_) | Status::Failed(_), Some(at)) => self.defaults.get(at)?.as_deref(),
            (Status::Idle, _) | (_, None) => self.settings.get(name),
        }
    }

    /// What a participant's server must have applied now: what the client has SET, but where BEGIN is still
    /// to be said with the defaults that it was said with on the others.
    pub fn wanted(&self, at: usize) -> Arc<Values> {
        let session = self.settings.session();
        let begun = self.participants.get(at).is_none_or(|other| other.begun != Begun::No);
        let same = |(name, then): (&&str, &Option<String>)| session.get(*name) == then.as_ref();
        if begun || self.status == Status::Idle || DEFAULTS.iter().zip(&self.defaults).all(same) {
            return session.clone();
        }
        let mut values = (**session).clone();
        for (name, then) in DEFAULTS.iter().zip(&self.defaults) {
            values.remove(*name);
            values.extend(then.clone().map(|then| ((*name).to_owned(), then)));
        }
        Arc::new(values)
    }

    /// An extended message is about to change settings.
    pub fn remember_settings(&mut self) {
        if self.status == Status::Idle && self.settings_at_segment.is_none() {
            self.settings_at_segment = Some(self.settings.clone());
        }
    }

    /// What was executed since the last Sync is committed.
    pub fn segment_done(&mut self) {
        self.settings_at_segment = None;
        if self.status == Status::Idle {
            self.forget_time();
        }
        for participant in &mut self.participants {
            participant.preparing.clear();
            participant.closing.clear();
            if participant.begun == Begun::No {
                participant.applied_at_begin = participant.lease.session.applied.clone();
            }
        }
    }

    /// What was executed since the last Sync is undone.
    pub fn segment_failed(&mut self) {
        if self.status == Status::Idle {
            self.forget_time();
        }
        if let Some(settings) = self.settings_at_segment.take()
            && self.status == Status::Idle
        {
            self.settings = settings;
        }
    }

    /// Several shards are about to take part in one statement. Outside a block this begins one that ends
    /// with the client's message or segment.
    pub fn write_together(&mut self) {
        if self.status == Status::Idle {
            self.begin(Block::Implicit, "");
        }
    }

    /// The shards' snapshots are about to be taken together. Outside a block this begins one that ends
    /// with the client's message or segment.
    pub fn read_together(&mut self, shards: &[ShardId]) {
        self.write_together();
        self.moment = Moment::One(shards.to_vec());
    }

    /// Whether the snapshots of these shards are of one moment.
    pub fn reads_together(&self, shards: &[ShardId]) -> bool {
        matches!(&self.moment, Moment::One(of) if shards.iter().all(|shard| of.contains(shard)))
    }

    /// What is open on the participants has ended, though the client's transaction goes on.
    pub fn reads_anew(&mut self) {
        self.moment = Moment::Each;
    }

    /// BEGIN inside an implicit block makes it an explicit one, statements so far included.
    pub fn become_explicit(&mut self) {
        debug_assert_eq!(self.status, Status::Open(Block::Implicit));
        self.status = Status::Open(Block::Explicit);
    }

    pub fn fail(&mut self) {
        if let Status::Open(block) = self.status {
            self.status = Status::Failed(block);
        }
    }

    /// All participants are gone, and with them what the open transaction did.
    pub fn lose(&mut self) {
        self.participants.clear();
        self.moment = Moment::Each;
        self.continuity = Continuity::Lost;
        match self.status {
            Status::Idle => self.continuity = Continuity::Whole,
            Status::Open(_) | Status::Failed(_) => self.fail(),
        }
    }

    /// Whether ROLLBACK TO has something to return to.
    pub fn can_return(&self) -> Result<(), Error> {
        match self.continuity {
            Continuity::Whole => Ok(()),
            Continuity::Lost => Err(Error::client(
                SqlState::IN_FAILED_SQL_TRANSACTION,
                "the transaction lost a server, its savepoints are gone",
            )
            .hint("ROLLBACK, and run the transaction again")),
        }
    }

    /// A schema statement runs on every shard.
    pub fn writes_every_shard(&mut self) {
        self.reach = Reach::Every;
    }

    /// Whether one does.
    pub fn writes_everywhere(&self) -> bool {
        self.reach == Reach::Every
    }

    /// A schema statement has succeeded.
    pub fn note(&mut self, change: SchemaChange) {
        if change == SchemaChange::Made {
            self.schema = change;
        }
    }

    pub fn schema_change(&self) -> SchemaChange {
        self.schema
    }

    /// What the transaction that has ended changed: asked once, then forgotten.
    pub fn take_schema_change(&mut self) -> SchemaChange {
        std::mem::replace(&mut self.schema, SchemaChange::None)
    }

    /// Whether a joining shard hears nothing but BEGIN, which cannot fail.
    pub fn opens_plainly(&self) -> bool {
        self.modes.is_empty()
            && self.setup.is_empty()
            && self.savepoints.is_empty()
            && self.moment == Moment::Each
    }

    /// The participants on which a block is open.
    pub fn begun(&self) -> Vec<usize> {
        self.positions(|participant| participant.begun == Begun::Block)
    }

    /// The participants that hold what a transaction that has failed elsewhere has locked there. One alone
    /// has failed itself, or has nothing more to lose.
    pub fn holding(&self) -> Vec<usize> {
        self.positions(|participant| {
            participant.begun == Begun::Block
                && participant.status == TransactionStatus::InTransaction
                && !participant.is_lost()
        })
    }

    /// ROLLBACK is about to be said on that participant.
    pub fn reverts(&mut self, at: usize) {
        let own = self.settings_at_begin.session().clone();
        if let Some(participant) = self.participants.get_mut(at) {
            participant.reverts = participant.applied_at_begin != own;
        }
    }

    /// As far back as a transaction that has failed has to go at least.
    pub fn way_back(&self) -> String {
        match self.savepoints.last() {
            None => "ROLLBACK".to_owned(),
            Some(savepoint) => {
                format!("ROLLBACK TO SAVEPOINT {}", settings::quote_identifier(&savepoint.name))
            }
        }
    }

    /// The participants that were sent extended messages since their last Sync.
    pub fn unsynced(&self) -> Vec<usize> {
        self.positions(|participant| participant.unsynced)
    }

    fn positions(&self, which: impl Fn(&Participant) -> bool) -> Vec<usize> {
        let numbered = self.participants.iter().enumerate();
        numbered.filter(|(_, participant)| which(participant)).map(|(at, _)| at).collect()
    }

    pub fn access(&self, at: usize) -> Access {
        self.participants.get(at).map_or(Access::Read, |participant| participant.access)
    }

    /// SET TRANSACTION or SET LOCAL: a shard that joins later hears it too.
    pub fn remember_setup(&mut self, statement: Setup) {
        self.setup.push(statement);
    }

    /// What was SET LOCAL.
    pub fn locals(&self) -> impl Iterator<Item = &str> {
        self.setup.iter().filter_map(|said| match said {
            Setup::Local(text) => Some(text.as_str()),
            Setup::Characteristics(_) => None,
        })
    }

    /// A participant takes no part any more.
    pub fn leave(&mut self, at: usize) -> Option<Participant> {
        (at < self.participants.len()).then(|| self.participants.remove(at))
    }

    /// What makes a transaction what it is, for `chain`.
    pub fn characteristics(&self) -> Characteristics {
        let said = self.setup.iter().filter(|said| matches!(said, Setup::Characteristics(_)));
        let (setup, defaults) = (said.cloned().collect(), self.defaults.clone());
        Characteristics { modes: self.modes.clone(), setup, defaults }
    }

    /// The next transaction has the characteristics of the one before.
    pub fn chain(&mut self, Characteristics { modes, setup, defaults }: Characteristics) {
        self.begin(Block::Explicit, &modes);
        self.setup = setup;
        self.defaults = defaults;
    }

    /// The one statement text that opens the block on a shard that joins now: BEGIN with its modes,
    /// what was SET LOCAL, and the savepoints, each at its place and on a line of its own: before it may be
    /// a comment.
    pub fn opening(&self) -> String {
        let mut text = match (&self.moment, self.modes.is_empty()) {
            // An implicit block, which knows no modes. What comes after the query may write.
            (Moment::One(_), true) if self.status == Status::Open(Block::Implicit) => {
                "BEGIN ISOLATION LEVEL REPEATABLE READ".to_owned()
            }
            (Moment::Each | Moment::One(_), true) => "BEGIN".to_owned(),
            (Moment::Each | Moment::One(_), false) => format!("BEGIN {}", self.modes),
        };
        let mut said = 0;
        for savepoint in &self.savepoints {
            for statement in self.setup.iter().take(savepoint.setup).skip(said) {
                text.push_str(&format!("\n;{}", statement.text()));
            }
            said = said.max(savepoint.setup);
            let name = settings::quote_identifier(&savepoint.name);
            text.push_str(&format!("\n;SAVEPOINT {name}"));
        }
        for statement in self.setup.iter().skip(said) {
            text.push_str(&format!("\n;{}", statement.text()));
        }
        text
    }

    /// May a statement of that access run on that shard? Several may be written if all of them can
    /// commit together.
    pub fn admit(
        &self,
        shard: ShardId,
        access: Access,
        rules: &Rules,
        footing: &Footing,
    ) -> Result<(), Error> {
        if self.within(access) != Access::Write || rules.commit == Commit::InTurn {
            return Ok(());
        }
        let mut together = self.written_beside(shard).peekable();
        if together.peek().is_none() {
            return Ok(());
        }
        let mut all = together.chain([shard]);
        all.try_for_each(|shard| footing.check(shard, rules.shard_name(shard)))
    }

    /// The other shards that the transaction has written.
    pub fn written_beside(&self, shard: ShardId) -> impl Iterator<Item = ShardId> + '_ {
        let writes =
            move |other: &&Participant| other.shard != shard && other.access == Access::Write;
        self.participants.iter().filter(writes).map(|other| other.shard)
    }

    /// The participants whose commit matters: they have written.
    pub fn writers(&self) -> Vec<usize> {
        self.positions(|other| other.begun == Begun::Block && other.access == Access::Write)
    }

    /// The participant on a shard; its primary, if both are there.
    pub fn find(&self, shard: ShardId) -> Option<usize> {
        self.find_primary(shard)
            .or_else(|| self.participants.iter().position(|participant| participant.shard == shard))
    }

    pub fn find_primary(&self, shard: ShardId) -> Option<usize> {
        self.participants.iter().position(|participant| {
            participant.shard == shard && participant.lease.work.role() == Role::Primary
        })
    }

    /// What the client has said of the transaction: the last that begins with one of these words.
    fn said_last<'w>(&self, words: &[&'w str]) -> Option<&'w str> {
        let characteristics = self.setup.iter().rev().filter_map(|said| match said {
            Setup::Characteristics(text) => Some(text),
            Setup::Local(_) => None,
        });
        characteristics.chain([&self.modes]).find_map(|text| {
            let text = text.to_ascii_uppercase();
            let text = text.split([' ', ',', '\t', '\r', '\n']).filter(|word| !word.is_empty());
            let text = text.collect::<Vec<_>>().join(" ");
            words.iter().copied().filter(|word| text.contains(word)).max_by_key(|w| text.rfind(w))
        })
    }

    /// BEGIN READ ONLY, or the setting that says the same of every transaction. It may have been said only
    /// now, after writing.
    pub fn is_read_only(&self) -> bool {
        match self.said_last(&["READ ONLY", "READ WRITE"]) {
            Some(said) => said == "READ ONLY",
            None => self.default("default_transaction_read_only").is_some_and(is_on),
        }
    }

    /// What a statement of that access can do in this transaction: nothing that has to be committed, if
    /// servers know it to be READ ONLY.
    fn within(&self, access: Access) -> Access {
        match access {
            Access::Write if self.is_read_only() => Access::Lock,
            access @ (Access::Read | Access::Lock | Access::Write) => access,
        }
    }

    /// How much of what others do meanwhile the transaction sees.
    pub fn isolation(&self) -> Isolation {
        let words = ["SERIALIZABLE", "REPEATABLE READ", "READ COMMITTED", "READ UNCOMMITTED"];
        let said = self
            .said_last(&words)
            .map(str::to_owned)
            .or_else(|| self.default("default_transaction_isolation").map(str::to_ascii_uppercase));
        match said.as_deref() {
            Some("SERIALIZABLE") => Isolation::Serializable,
            Some("REPEATABLE READ") => Isolation::RepeatableRead,
            Some(_) => Isolation::ReadCommitted,
            None => self.isolation_there,
        }
    }

    /// Between transactions: what the servers' own default is.
    pub fn expect_isolation(&mut self, there: Isolation) {
        self.isolation_there = there;
    }

    /// The shards that were written since this was last asked, whether or not that was undone.
    pub fn take_written(&mut self) -> Vec<ShardId> {
        std::mem::take(&mut self.written)
    }

    /// A statement of that access goes to a participant.
    pub fn note_access(&mut self, at: usize, access: Access) {
        let access = self.within(access);
        let Some(participant) = self.participants.get_mut(at) else { return };
        participant.access = participant.access.max(access);
        if access == Access::Write && !self.written.contains(&participant.shard) {
            self.written.push(participant.shard);
        }
        match access {
            Access::Read => {}
            Access::Lock | Access::Write => self.draws_only_on(Some(at)),
        }
    }

    /// Something runs on that participant that may draw from sequences: what the others remember is not the
    /// last any more. `None`: nobody knows what has been drawn.
    pub fn draws_only_on(&mut self, at: Option<usize>) {
        for (index, participant) in self.participants.iter_mut().enumerate() {
            if Some(index) != at {
                participant.draws.clear();
            }
        }
    }

    /// A statement that has drawn from these has run on a participant, or will have before the next one.
    pub fn note_draws(&mut self, at: usize, sequences: &[SequenceName]) {
        if self.status != Status::Open(Block::Explicit) || sequences.is_empty() {
            return;
        }
        self.draws_only_on(Some(at));
        if let Some(participant) = self.participants.get_mut(at) {
            let new = sequences.iter().filter(|it| !participant.draws.contains(it));
            let new: Vec<_> = new.cloned().collect();
            participant.draws.extend(new);
        }
    }

    /// The server to be asked what the session has drawn.
    pub fn recall(&self, recalled: &Recalled) -> Option<ShardId> {
        let knows = |it: &&Participant| recalled.is_answered_by(&it.draws);
        self.participants.iter().find(knows).map(|participant| participant.shard)
    }

    /// A shard joins; no block is open there yet.
    pub fn join(
        &mut self,
        shard: ShardId,
        lease: Lease,
        translation: Option<Arc<Translation>>,
    ) -> usize {
        let applied = lease.session.applied.clone();
        self.participants.push(Participant {
            shard,
            translation,
            access: Access::Read,
            begun: Begun::No,
            status: TransactionStatus::Idle,
            unsynced: false,
            failed: false,
            preparing: Vec::new(),
            closing: Vec::new(),
            tied: false,
            used: false,
            prepared: false,
            leaves: Leaves::Clean,
            draws: Vec::new(),
            keeps_time: false,
            reverts: false,
            applied_at_savepoint: vec![applied.clone(); self.savepoints.len()],
            applied_at_begin: applied,
            lease,
        });
        self.participants.len() - 1
    }

    /// BEGIN was (or will be) said on a participant. What was executed there since the last Sync is a part
    /// of the block: a rollback undoes it, too.
    pub fn open_on(&mut self, index: usize) {
        self.keeps_time(index);
        let savepoints = self.savepoints.len();
        if let Some(participant) = self.participants.get_mut(index) {
            participant.begun = Begun::Block;
            let applied = participant.lease.session.applied.clone();
            participant.applied_at_savepoint = vec![applied.clone(); savepoints];
            if !participant.unsynced {
                participant.applied_at_begin = applied;
            }
        }
    }

    pub fn savepoint(&mut self, name: &str) {
        self.savepoints.push(Savepoint {
            name: name.to_owned(),
            settings: self.settings.clone(),
            setup: self.setup.len(),
        });
        for participant in &mut self.participants {
            participant.applied_at_savepoint.push(participant.lease.session.applied.clone());
        }
    }

    /// How many savepoints are open.
    pub fn depth(&self) -> usize {
        self.savepoints.len()
    }

    /// The innermost savepoint of that name, as PostgreSQL finds it.
    fn savepoint_position(&self, name: &str) -> Result<usize, Error> {
        self.savepoints.iter().rposition(|savepoint| savepoint.name == name).ok_or_else(|| {
            Error::client(
                SqlState::INVALID_SAVEPOINT,
                format!("savepoint \"{name}\" does not exist"),
            )
        })
    }

    pub fn has_savepoint(&self, name: &str) -> Result<(), Error> {
        self.savepoint_position(name).map(|_| ())
    }

    /// ROLLBACK TO has succeeded on all participants: the savepoint stays, later ones are gone.
    pub fn rolled_back_to(&mut self, name: &str) -> Result<(), Error> {
        let position = self.savepoint_position(name)?;
        self.savepoints.truncate(position + 1);
        // What failed may have failed before it drew.
        self.draws_only_on(None);
        if let Some(savepoint) = self.savepoints.last() {
            self.settings = savepoint.settings.clone();
            self.setup.truncate(savepoint.setup);
        }
        for participant in &mut self.participants {
            participant.applied_at_savepoint.truncate(position + 1);
            if let Some(applied) = participant.applied_at_savepoint.last() {
                participant.lease.session.applied = applied.clone();
            }
        }
        if let Status::Failed(block) = self.status {
            self.status = Status::Open(block);
        }
        Ok(())
    }

    /// RELEASE: the savepoint and later ones are gone, what they did stays.
    pub fn released(&mut self, name: &str) -> Result<(), Error> {
        let position = self.savepoint_position(name)?;
        self.savepoints.truncate(position);
        for participant in &mut self.participants {
            participant.applied_at_savepoint.truncate(position);
        }
        Ok(())
    }

    /// The transaction has ended on all participants.
    pub fn end(&mut self, how: Ending) {
        if how == Ending::RolledBack {
            self.schema = SchemaChange::None;
        }
        if how == Ending::RolledBack && self.status != Status::Idle {
            self.settings = self.settings_at_begin.clone();
            for participant in self.participants.iter_mut().filter(|p| p.begun == Begun::Block) {
                participant.lease.session.applied = participant.applied_at_begin.clone();
            }
        }
        self.settings.end_locals();
        self.settings_at_segment = None;
        self.status = Status::Idle;
        self.modes.clear();
        self.setup.clear();
        self.savepoints.clear();
        self.reach = Reach::Rows;
        self.continuity = Continuity::Whole;
        self.moment = Moment::Each;
        self.forget_time();
        for participant in &mut self.participants {
            participant.access = Access::Read;
            participant.used = false;
            participant.prepared = false;
            participant.reverts = false;
            participant.applied_at_savepoint.clear();
            if participant.begun == Begun::Block {
                participant.begun = Begun::No;
                participant.applied_at_begin = participant.lease.session.applied.clone();
            }
        }
    }

    /// Servers that the session is not tied to go back to their pools.
    pub fn release(&mut self) {
        self.participants.retain(|participant| participant.tied);
        for participant in &mut self.participants {
            participant.access = Access::Read;
            participant.used = false;
        }
    }
}

/// How a transaction ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    Committed,
    RolledBack,
}
