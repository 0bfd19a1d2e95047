//! One server connection that takes part in a client's transaction.
use super::settings::Values;
use crate::backend::Health;
use crate::backend::translate::Translation;
use crate::ids::ShardId;
use crate::plan::{Access, SequenceName};
use crate::pool::Lease;
use crate::wire::server::TransactionStatus;
use std::sync::Arc;

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
    pub(super) keeps_time: bool,
    /// It goes back to what another client had SET: what it reports is none of this one's.
    pub(super) reverts: bool,
    /// What the server had applied when the transaction began on it: a rollback goes back to it.
    pub(super) applied_at_begin: Arc<Values>,
    pub(super) applied_at_savepoint: Vec<Arc<Values>>,
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
