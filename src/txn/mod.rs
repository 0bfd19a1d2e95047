//! A client's transaction: which shards it is open on, what a shard that joins later must catch up
//! with, and how it ends.
//!
//! - `settings`: what the client has SET
//! - `participant`: one server connection that takes part
//! - `modes`: what kind of transaction it is, and how a shard that joins later hears of it
//! - `savepoints`: how far it can go back
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
mod participant;
mod modes;
mod savepoints;
pub mod barrier;
pub mod two_phase;
pub mod footing;
pub mod copies;
pub mod rows;
pub mod waits;
mod clock;
pub use modes::{Characteristics, Isolation, Setup};
pub use participant::{Begun, Leaves, Participant};

use crate::backend::translate::Translation;
use crate::error::Error;
use crate::ids::ShardId;
use crate::plan::{Access, Recalled, SequenceName};
use crate::pool::{Lease, Role};
use crate::rules::{Commit, Rules};
use crate::wire::server::TransactionStatus;
use footing::Footing;
use modes::DEFAULTS;
use savepoints::Savepoint;
use settings::Settings;
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

    /// A participant takes no part any more.
    pub fn leave(&mut self, at: usize) -> Option<Participant> {
        (at < self.participants.len()).then(|| self.participants.remove(at))
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
        let mut together = self.written_beside(shard).peekable();
        if together.peek().is_none()
            || self.within(access) != Access::Write
            || rules.commit == Commit::InTurn
        {
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
        for participant in self.participants.extract_if(.., |participant| !participant.tied) {
            participant.lease.give_back();
        }
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
