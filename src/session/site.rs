//! Bring a shard into the transaction: lease, settings, BEGIN, savepoints.
use super::{Protocol, Session, Stop};
use crate::backend::Health;
use crate::error::{Error, SqlState};
use crate::exec::budget;
use crate::exec::describe::{self, Described};
use crate::exec::relay::{Listen, Pumped, Show, Step};
use crate::ids::{Oid, ShardId, TierId};
use crate::plan::{Access, Planned, Route};
use crate::pool::{Ask, Begins, Lease, Wanted};
use crate::rules::Reads;
use crate::txn::settings::{Values, alignment, differences};
use crate::txn::{Begun, Block, Isolation, Leaves, Status};
use crate::wire::encode;
use crate::wire::server::TransactionStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a statement needs of the server that runs it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Need {
    pub access: Access,
    tier: TierId,
    reads: Reads,
}

/// Whether a block is opened now, or there is none to open.
enum Opened {
    Now,
    Before,
}

impl Need {
    pub(super) fn of(self, access: Access) -> Self {
        Self { access, ..self }
    }
}

impl Need {
    pub fn tier(self) -> TierId {
        self.tier
    }
}

impl Session {
    pub(super) fn need(&self, planned: &Planned) -> Need {
        let reads = match planned.plan.replica {
            true => self.reads(planned),
            false => Reads::Primary,
        };
        Need { access: planned.plan.access, tier: self.tier(planned), reads }
    }

    /// What statements that go to one server in one message need together.
    pub(super) fn need_of_all(&self, planned: &[Planned]) -> Need {
        let needs = planned.iter().map(|planned| self.need(planned));
        let all = needs.reduce(|all, one| Need {
            access: all.access.max(one.access),
            tier: all.tier,
            reads: if all.reads == one.reads { all.reads } else { Reads::Primary },
        });
        all.unwrap_or_else(|| self.own_need(Access::Read))
    }

    /// What weir itself has to say on the client's behalf.
    pub(super) fn own_need(&self, access: Access) -> Need {
        let tier = self.session_tier().unwrap_or(TierId::INTERACTIVE);
        Need { access, tier, reads: Reads::Primary }
    }

    /// The participant that runs a statement of that route.
    pub(super) async fn site(&mut self, route: Route, need: Need) -> Result<usize, Stop> {
        let shard = match route {
            Route::One(shard) => shard,
            Route::Many => {
                return Err(Error::refused(
                    "a query over several shards is not supported here",
                    "send it as a simple query of its own",
                )
                .into());
            }
            Route::Any | Route::Proxy | Route::Every => {
                self.own_shard().unwrap_or(self.serving.rules.home)
            }
        };
        self.site_on(shard, need).await
    }

    /// Like `site`, for a statement that reads what every shard has: without a shard of the
    /// transaction's own they take turns.
    pub(super) async fn site_evenly(&mut self, route: Route, need: Need) -> Result<usize, Stop> {
        match (route, self.own_shard()) {
            (Route::Any, None) => {
                let shard = self.database.next_turn(&self.serving.rules);
                self.site_on(shard, need).await
            }
            _ => self.site(route, need).await,
        }
    }

    /// For what any server can be told or asked: one that the transaction has, a replica, too.
    pub(super) async fn site_anywhere(&mut self) -> Result<usize, Stop> {
        let held = self.own_shard().and_then(|shard| self.txn.find(shard));
        let Some(at) = held else {
            return self.site(Route::Any, self.own_need(Access::Read)).await;
        };
        self.open_aligned(at).await?;
        Ok(at)
    }

    /// A shard that the transaction holds already: reading there costs no further connection.
    fn own_shard(&self) -> Option<ShardId> {
        // The gather database answers no statement by itself.
        let gather = self.serving.rules.gather_shard();
        let mut own = self
            .txn
            .participants
            .iter()
            .filter(|participant| !participant.tied && Some(participant.shard) != gather);
        own.next().map(|participant| participant.shard)
    }

    pub(super) async fn site_on(&mut self, shard: ShardId, need: Need) -> Result<usize, Stop> {
        let serving = &self.serving;
        self.txn.admit(shard, need.access, &serving.rules, &serving.servers.footing)?;
        if need.access == Access::Write {
            self.join_writes(shard).await?;
        }
        let wanted = self.wanted(shard, need);
        let found = match wanted {
            Wanted::Primary => self.txn.find_primary(shard),
            // Once the primary was read, time does not go back.
            Wanted::Replica { .. } => self.txn.find(shard),
        };
        let at = match found {
            Some(at) => at,
            None => {
                self.may_spread(shard)?;
                self.join(shard, wanted, need.tier).await?
            }
        };
        self.open_aligned(at).await?;
        self.txn.note_access(at, need.access);
        Ok(at)
    }

    /// A replica will do for a statement that is a transaction, or part of one, that only reads.
    fn wanted(&self, shard: ShardId, need: Need) -> Wanted {
        if need.reads == Reads::Primary {
            return Wanted::Primary;
        }
        let only_reads = match self.txn.status() {
            Status::Idle => true,
            Status::Open(Block::Explicit) => self.txn.is_read_only(),
            Status::Open(Block::Implicit) | Status::Failed(_) => false,
        };
        // PostgreSQL: a hot standby does not do serializable transactions.
        let welcome = only_reads && self.txn.isolation() != Isolation::Serializable;
        match welcome {
            true => Wanted::Replica { after: self.written.get(&shard).copied() },
            false => Wanted::Primary,
        }
    }

    /// A connection to a shard's primary. The client's cancel request ends the wait for it.
    pub(super) async fn lease(&mut self, shard: ShardId) -> Result<Lease, Error> {
        let tier = self.own_need(Access::Read).tier;
        self.lease_wanted(shard, Wanted::Primary, tier).await
    }

    async fn lease_wanted(
        &mut self,
        shard: ShardId,
        wanted: Wanted,
        tier: TierId,
    ) -> Result<Lease, Error> {
        let cluster = self.database.cluster(&self.serving);
        let begins = match self.txn.participants.is_empty() {
            true => Begins::Now,
            false => Begins::Before,
        };
        let (database, login) = (self.database.passed_on(), &self.login);
        let ask = Ask { shard, wanted, tier, begins, database, login };
        let asked = match cluster.lease_now(&ask) {
            Ok(lease) => return Ok(lease),
            Err(asked) => asked,
        };
        let _waits = self.slot.shown.waits();
        let began = Instant::now();
        let lease = tokio::select! {
            biased;
            lease = cluster.lease_in_turn(ask, asked) => lease,
            () = self.slot.waiting.notified() => Err(self.slot.reason()),
            () = self.relay.budget.spent() => Err(budget::canceled()),
        };
        self.seen.waited(began.elapsed());
        lease
    }

    /// What a server makes of a statement, asked beside the transaction under the client's settings.
    pub(super) async fn describe_aside(
        &mut self,
        shard: ShardId,
        text: &str,
        types: &[Oid],
    ) -> Result<Described, Error> {
        /// A statement that waits this long for a lock waits in vain, perhaps for its own client.
        const PATIENCE: Duration = Duration::from_secs(10);
        let mut lease = self.lease(shard).await?;
        let describing = async {
            apply(&mut lease, self.txn.settings.session()).await?;
            describe::statement(&mut lease, text, types).await
        };
        let described = tokio::select! {
            biased;
            described = tokio::time::timeout(PATIENCE, describing) => described,
            () = self.relay.budget.spent() => return Err(budget::canceled()),
        };
        match described {
            Ok(described) => described,
            Err(_) => Err(Error::shard(
                SqlState(*b"55P03"),
                format!(
                    "shard {} did not describe the statement",
                    self.serving.rules.shard_name(shard)
                ),
            )
            .hint("another transaction holds a lock on one of its tables")),
        }
    }

    pub(super) async fn join(
        &mut self,
        shard: ShardId,
        wanted: Wanted,
        tier: TierId,
    ) -> Result<usize, Stop> {
        let read_before =
            self.serving.rules.gather_shard() != Some(shard) && self.txn.find(shard).is_some();
        if read_before && self.txn.isolation() != Isolation::ReadCommitted {
            return Err(Error::refused(
                "the transaction has read a replica, and this statement needs the primary",
                "SET weir.reads = 'primary' before the transaction",
            )
            .into());
        }
        let mut lease = self.lease_wanted(shard, wanted, tier).await?;
        lease.health = Health::Busy;
        lease.note_client(self.slot.pid);
        self.may_be_cancelled(lease.cancel.clone()).await;
        let translation = self.serving.translation(shard);
        Ok(self.txn.join(shard, lease, translation))
    }

    /// Brings a server to the client's settings. Waits for the outcome: a statement must never run
    /// under settings that were refused.
    pub(super) async fn align(&mut self, at: usize, show: Show) -> Result<(), Stop> {
        let wanted = self.txn.wanted(at);
        let Some(participant) = self.txn.participants.get(at) else { return Ok(()) };
        let applied = &participant.lease.session.applied;
        if Arc::ptr_eq(applied, &wanted) || *applied == wanted {
            return Ok(());
        }
        let statements = differences(applied, &wanted);
        let edit = self.edit.take();
        let said = self.say_all(at, &statements, show).await;
        self.edit = edit;
        said?;
        if let Some(participant) = self.txn.participants.get_mut(at) {
            participant.lease.session.applied = wanted;
        }
        Ok(())
    }

    /// Brings a server to the client's settings, and into its transaction.
    async fn open_aligned(&mut self, at: usize) -> Result<(), Stop> {
        self.align(at, Show::Swallow).await?;
        match self.open_block(at).await? {
            // What BEGIN was to know otherwise.
            Opened::Now => self.align(at, Show::Swallow).await,
            Opened::Before => Ok(()),
        }
    }

    /// Says BEGIN, and what else was said since, on a participant where no block is open yet.
    /// A plain BEGIN does not wait for its answer: it travels with the statement.
    async fn open_block(&mut self, at: usize) -> Result<Opened, Stop> {
        self.txn.keeps_time(at);
        if self.txn.status() == Status::Idle {
            return Ok(Opened::Before);
        }
        match self.txn.participants.get(at) {
            Some(participant) if participant.begun == Begun::No => {}
            _ => return Ok(Opened::Before),
        }
        let (text, plain) = (self.txn.opening(), self.txn.opens_plainly());
        self.txn.open_on(at);
        if plain {
            self.ask(at, &text, Show::Swallow);
            return Ok(Opened::Now);
        }
        self.say(at, &text, Show::Swallow).await?;
        Ok(Opened::Now)
    }

    /// Sends a simple query and queues its answer; does not wait.
    pub(super) fn ask(&mut self, at: usize, text: &str, show: Show) {
        let encoding = self.encoding();
        if let Some(participant) = self.txn.participants.get_mut(at) {
            participant.lease.session.unnamed = None;
            participant.unsynced = false;
            if std::mem::take(&mut participant.failed) {
                // After an error the server ignores everything up to a Sync.
                encode::sync(&mut participant.lease.output);
                self.relay.expect(at, Step::Sync, Show::Discard);
            }
            encode::query(&encoding.bytes(text), &mut participant.lease.output);
            let edit = self.edit.clone();
            self.relay.expect_edited(at, Step::Query, show, edit);
        }
    }

    /// Sends a statement of weir's own or of the client's and waits for its end. Between a client's
    /// extended messages outside a block a simple query would commit what they did, so there it
    /// goes as extended messages too.
    pub(super) async fn say(&mut self, at: usize, text: &str, show: Show) -> Result<(), Stop> {
        self.say_all(at, &[text.to_owned()], show).await
    }

    /// Says it on all of these at the same time, inside a block.
    pub(super) async fn say_on(&mut self, sites: &[usize], text: &str) -> Result<(), Stop> {
        for &at in sites {
            self.ask(at, text, Show::Swallow);
        }
        self.drain().await
    }

    async fn say_all(&mut self, at: usize, texts: &[String], show: Show) -> Result<(), Stop> {
        let Some(participant) = self.txn.participants.get(at) else {
            return Err(Error::internal("no such participant").into());
        };
        let pipelined = participant.unsynced || self.protocol == Protocol::Extended;
        if pipelined && participant.begun == Begun::No {
            self.whisper(at, texts, show);
            self.ask_for_answers();
        } else {
            self.ask(at, &texts.join(";"), show);
        }
        self.drain().await
    }

    /// Waits until everything that is expected has come. An error that a server reported on the
    /// way has been told to the client.
    pub(super) async fn drain(&mut self) -> Result<(), Stop> {
        let mut stop = Ok(());
        if !self.relay.is_asked() {
            // A server keeps its answers to extended messages until it is told that they are wanted.
            self.ask_for_answers();
        }
        loop {
            let pumped =
                self.relay.pump(&mut self.client, &mut self.txn.participants, Listen::Hangup).await;
            match pumped {
                Ok(Pumped::Drained) => break,
                Ok(Pumped::ClientSpoke) => {}
                Ok(Pumped::Late) => self.late().await?,
                Ok(Pumped::CopyIn) => self.feed_copy().await?,
                Ok(Pumped::Failed(at)) => {
                    self.fail_segment(Some(at));
                    stop = Err(Stop::Said);
                }
                Ok(Pumped::Refused) => {
                    self.fail_segment(None);
                    stop = Err(Stop::Said);
                }
                Err(broken) => return Err(self.broken(broken).await),
            }
        }
        self.observe_finished();
        if let Some(code) = self.relay.error.take() {
            self.note_error(Some(self.relay.erred), code);
            self.txn.fail();
            stop = Err(Stop::Said);
        }
        stop
    }

    /// Tells the client what it must know of its settings, and that it may go on.
    pub(super) fn ready(&mut self) {
        self.told.tell(&mut self.relay.reports, &mut self.client.output);
        encode::ready(self.txn.status().wire(), &mut self.client.output);
        self.client.urgent = true;
        self.slot.rests();
        self.resting = true;
    }

    /// Outside a block: gives the servers back. A server that is left in a transaction, or that
    /// still has something to say, is closed instead.
    pub(super) async fn settle(&mut self) {
        if self.txn.status() != Status::Idle {
            return;
        }
        self.portals.clear();
        self.cursors.retain(|_, cursor| {
            cursor.depth = 0;
            cursor.held
        });
        if self.release_gather().await.is_err() {
            tracing::debug!("the gather database did not roll back");
        }
        self.note_written();
        self.note_transaction();
        if !self.txn.participants.is_empty() {
            self.give_back().await;
        }
        self.make_schema_known().await;
    }

    /// From now on, reads of what was written need servers that have it.
    fn note_written(&mut self) {
        let written = self.txn.take_written();
        if written.is_empty() {
            return;
        }
        let fleet = &self.serving.servers.fleet;
        let replicated =
            |shard: &ShardId| fleet.crew(*shard).is_ok_and(|crew| crew.servers.len() > 1);
        let replicated = written.into_iter().filter(replicated);
        self.written.extend(replicated.map(|shard| (shard, Instant::now())));
    }

    /// Gives one server back that is not of the client's transaction.
    pub(super) async fn leave(&mut self, at: usize) {
        let mut running = self.slot.running().await;
        let Some(mut participant) = self.txn.leave(at) else { return };
        match participant.status == TransactionStatus::Idle && !participant.unsynced {
            true => participant.lease.health = Health::Clean,
            false => participant.lease.taint("it was left inside a transaction"),
        }
        let cancel = &participant.lease.cancel;
        running.retain(|key| key.pid != cancel.pid || key.secret != cancel.secret);
    }

    pub(super) async fn give_back(&mut self) {
        let mut running = self.slot.running().await;
        running.clear();
        for participant in &mut self.txn.participants {
            if participant.status != TransactionStatus::Idle || participant.unsynced {
                participant.lease.taint("it was left inside a transaction");
            } else if participant.leaves == Leaves::Closed && !participant.tied {
                participant.lease.taint("it ran code that weir does not look into");
            } else if !participant.tied {
                participant.lease.health = Health::Clean;
            }
        }
        self.txn.release();
        if self.txn.participants.is_empty() {
            // Cursors that outlive their transaction tie the session to their server.
            self.cursors.clear();
        }
        running.extend(self.txn.participants.iter().map(|tied| tied.lease.cancel.clone()));
    }
}

/// Brings an idle connection to a client's settings.
pub(super) async fn apply(lease: &mut Lease, wanted: &Arc<Values>) -> Result<(), Error> {
    if let Some(text) = alignment(&lease.session.applied, wanted) {
        lease.session.unnamed = None;
        lease.ask(&text).await?;
        lease.session.applied = wanted.clone();
    }
    Ok(())
}
