//! Reads over several shards that see all of them at one moment: no half of a transaction that wrote
//! several (`weir.consistency = 'snapshot'`). docs/transactions.md has the steps and what may go wrong.
//!
//! Invariant: a lock that is held between the transactions of one session never stays on a connection
//! that others get. Participants are `Busy`, so whoever is dropped on the way closes them; whoever fails
//! on the way unlocks, and where that fails, too, the connections are closed.
use super::{Session, Stop};
use crate::backend::Health;
use crate::error::{Error, SqlState};
use crate::exec::broken::Broken;
use crate::exec::budget::{self, GRACE};
use crate::exec::relay::Show;
use crate::ids::ShardId;
use crate::plan::Access;
use crate::pool::Wanted;
use crate::rules::Consistency;
use crate::txn::{Block, Isolation, Participant, Status, barrier};
use std::time::{Duration, Instant};

/// lock_not_available
const LOCK_NOT_AVAILABLE: SqlState = SqlState(*b"55P03");
/// How long one server is waited for while writers wait behind: at first, and after some attempts.
const FIRST_PATIENCE: Duration = Duration::from_millis(20);
const MOST_PATIENCE: Duration = Duration::from_millis(160);

const ISOLATED: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ before it, \
                        or SET weir.consistency = 'shard'";
const EARLIER: &str = "make the query over several shards the first of its transaction, \
                       or SET weir.consistency = 'shard'";

/// What has to be done before a query reads several shards.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Need {
    Nothing,
    /// The snapshots of these shards, taken together.
    Snapshots(Vec<ShardId>),
}

impl Session {
    /// Called before a query reads these shards: as far as the session wants that, it will see them at
    /// one moment. Outside a block this opens transactions that end with the client's message or segment.
    pub(super) async fn take_snapshot(&mut self, shards: &[ShardId]) -> Result<(), Stop> {
        if shards.len() < 2 {
            return Ok(());
        }
        let need = self.snapshot_need(shards).inspect_err(|_| {
            self.database.counters.refused("consistency");
        })?;
        let Need::Snapshots(mut shards) = need else { return Ok(()) };
        shards.sort_unstable();
        let began = Instant::now();
        let sites = self.bring_in(&shards).await?;
        self.close_barriers(&sites, began).await?;
        self.begin_together(&sites, &shards).await?;
        self.database.counters.snapshot(began.elapsed());
        Ok(())
    }

    fn snapshot_need(&self, shards: &[ShardId]) -> Result<Need, Error> {
        let isolation = self.txn.isolation();
        if isolation == Isolation::Serializable {
            return Err(not_serializable());
        }
        if self.consistency() == Consistency::Shard {
            return Ok(Need::Nothing);
        }
        let together = self.txn.reads_together(shards);
        match (self.txn.status(), isolation) {
            (Status::Open(Block::Explicit), Isolation::ReadCommitted) => Err(Error::refused(
                "a READ COMMITTED transaction cannot see several shards at one moment",
                ISOLATED,
            )),
            (Status::Idle | Status::Open(Block::Implicit), Isolation::ReadCommitted) => {
                // Each statement sees what is committed when it begins, as far as that can be had.
                match (self.may_begin_anew(), together) {
                    (true, _) => Ok(Need::Snapshots(shards.to_vec())),
                    (false, true) => Ok(Need::Nothing),
                    (false, false) => Err(Error::refused(
                        "a query over several shards that follows a write, a lock or an open portal \
                         in one pipeline or query string cannot see them at one moment",
                        "end the pipeline before it, or SET weir.consistency = 'shard'",
                    )),
                }
            }
            (_, _) if together => Ok(Need::Nothing),
            (Status::Idle | Status::Open(Block::Implicit), _) if !self.has_used(None) => {
                Ok(Need::Snapshots(shards.to_vec()))
            }
            // What the transaction will read later is of this moment, too.
            (Status::Open(Block::Explicit), _) if !self.has_used(None) => {
                Ok(Need::Snapshots(self.serving.rules.shard_ids().collect()))
            }
            (_, _) => Err(Error::refused(
                "the transaction's snapshot of a shard was taken before, \
                 so it cannot be of one moment with the others'",
                EARLIER,
            )),
        }
    }

    /// A statement of a transaction is about to run on a shard where the transaction is not open yet.
    pub(super) fn may_spread(&self, shard: ShardId) -> Result<(), Error> {
        let block = match self.txn.status() {
            Status::Open(block) => block,
            Status::Idle | Status::Failed(_) => return Ok(()),
        };
        if !self.has_used(Some(shard)) || self.txn.writes_everywhere() {
            return Ok(());
        }
        match (self.txn.isolation(), self.consistency(), block) {
            (Isolation::Serializable, _, _) => Err(not_serializable()),
            (Isolation::RepeatableRead, Consistency::Snapshot, _) => Err(Error::refused(
                "the transaction would see another shard at another moment",
                EARLIER,
            )),
            (Isolation::RepeatableRead, Consistency::Shard, _)
            | (Isolation::ReadCommitted, _, _) => Ok(()),
        }
    }

    /// Whether statements of the client's have run in what is open, on another shard than that.
    fn has_used(&self, but: Option<ShardId>) -> bool {
        let other = |participant: &&Participant| Some(participant.shard) != but;
        let gather = self.serving.rules.gather_shard();
        let mut others = self.txn.participants.iter().filter(other);
        others.any(|participant| participant.used && Some(participant.shard) != gather)
    }

    /// Whether nothing is lost if what is open on the servers ends here.
    pub(super) fn may_begin_anew(&self) -> bool {
        let only_reads = |other: &Participant| other.access == Access::Read;
        self.txn.participants.iter().all(only_reads)
            && self.cursors.is_empty()
            && !self.has_open_portals()
    }

    /// Connections to these shards' primaries, with the client's settings and no transaction.
    async fn bring_in(&mut self, shards: &[ShardId]) -> Result<Vec<usize>, Stop> {
        self.catch_up().await?;
        let begun = self.txn.begun();
        if !begun.is_empty() {
            self.keep_time().await?;
            self.roll_back_on(&begun).await?;
            for &at in &begun {
                if let Some(participant) = self.txn.participants.get_mut(at) {
                    participant.rolled_back();
                }
            }
        }
        self.txn.reads_anew();
        let tier = self.own_need(Access::Read);
        let mut sites = Vec::with_capacity(shards.len());
        for &shard in shards {
            let at = match self.txn.find_primary(shard) {
                Some(at) => at,
                None => self.join(shard, Wanted::Primary, tier.tier()).await?,
            };
            self.align(at, Show::Swallow).await?;
            if let Some(participant) = self.txn.participants.get_mut(at) {
                participant.used = false;
            }
            sites.push(at);
        }
        for at in self.txn.unsynced() {
            self.sync_one(at, Show::Discard);
        }
        self.drain().await?;
        Ok(sites)
    }

    /// Holds off on all these servers, in their order, whoever commits on several.
    async fn close_barriers(&mut self, sites: &[usize], began: Instant) -> Result<(), Stop> {
        let longest = self.longest_wait();
        let mut patience = FIRST_PATIENCE;
        loop {
            let Some(blocked) = self.try_barriers(sites, patience).await? else { return Ok(()) };
            self.database.counters.snapshot_retried();
            if began.elapsed() >= longest {
                self.database.counters.refused("snapshot");
                return Err(self.barred(blocked).into());
            }
            // Others that read are as impatient: they should not meet again.
            let rest = patience.mul_f64(2.0 * rand::random::<f64>());
            tokio::select! {
                biased;
                () = self.slot.requested() => return Err(self.slot.reason().into()),
                () = self.relay.budget.spent() => return Err(budget::canceled().into()),
                () = self.client.hung_up() => return Err(Stop::End),
                () = tokio::time::sleep(rest) => {}
            }
            patience = (patience * 2).min(MOST_PATIENCE);
        }
    }

    /// The participant where writers did not finish in time; `None`: all barriers are closed.
    async fn try_barriers(
        &mut self,
        sites: &[usize],
        patience: Duration,
    ) -> Result<Option<usize>, Stop> {
        let text = barrier::close(patience);
        for (position, &at) in sites.iter().enumerate() {
            let Err(error) = self.inquire(at, &text, patience).await else { continue };
            // A lock that was granted while the statement was being cancelled stays.
            self.open_barriers(sites.get(..=position).unwrap_or(sites)).await?;
            if error.code == LOCK_NOT_AVAILABLE {
                return Ok(Some(at));
            }
            return Err(error.into());
        }
        Ok(None)
    }

    async fn open_barriers(&mut self, sites: &[usize]) -> Result<(), Stop> {
        let text = barrier::open();
        for &at in sites {
            if let Err(error) = self.inquire(at, &text, Duration::ZERO).await {
                return Err(self.broken(Broken::Server(at, error)).await);
            }
        }
        Ok(())
    }

    /// Says something of weir's own outside of any transaction.
    async fn inquire(&mut self, at: usize, text: &str, wait: Duration) -> Result<(), Error> {
        let Some(participant) = self.txn.participants.get_mut(at) else {
            return Err(Error::internal("no such participant"));
        };
        let lease = &mut participant.lease;
        lease.session.unnamed = None;
        let asked = tokio::time::timeout(wait + GRACE, lease.ask(text)).await;
        match asked {
            Ok(answer) => {
                if lease.health == Health::Clean {
                    lease.health = Health::Busy;
                }
                answer.map(drop)
            }
            Err(_) => {
                lease.taint("it did not answer in time");
                Err(Error::shard(
                    SqlState::CONNECTION_FAILURE,
                    format!("the server of shard {} does not answer", {
                        self.serving.rules.shard_name(participant.shard)
                    }),
                ))
            }
        }
    }

    /// Takes the snapshots and opens the barriers, on all servers at the same time: who comes first
    /// harms nobody, since whoever commits on several passes all barriers before.
    async fn begin_together(&mut self, sites: &[usize], shards: &[ShardId]) -> Result<(), Stop> {
        self.txn.read_together(shards);
        let text = format!("{}\n;{}", self.txn.opening(), barrier::open());
        self.relay.captured.clear();
        for &at in sites {
            self.txn.open_on(at);
            self.ask(at, &text, Show::Capture);
        }
        let begun = self.drain().await;
        let captured = self.relay.captured.split();
        let opened = || {
            Ok(super::schema::captured_rows(&captured)?
                .iter()
                .filter(|row| **row == [Some("t")])
                .count())
        };
        let stop = match begun {
            Err(Stop::End) => return Err(Stop::End),
            // Their connections are closed, or it has been told.
            Err(stop) => stop,
            Ok(()) => match opened() {
                Ok(count) if count == sites.len() => return Ok(()),
                Ok(_) => Error::internal("a lock was lost before its snapshot was taken").into(),
                Err(error) => Stop::Say(error),
            },
        };
        if self.txn.participants.is_empty() {
            return Err(stop);
        }
        let begun = self.txn.begun();
        self.roll_back_on(&begun).await?;
        for &at in &begun {
            if let Some(participant) = self.txn.participants.get_mut(at) {
                participant.rolled_back();
            }
        }
        self.txn.reads_anew();
        self.open_barriers(sites).await?;
        Err(stop)
    }

    fn barred(&self, at: usize) -> Error {
        let shard = self.txn.participants.get(at).map(|participant| participant.shard);
        let name = shard.map_or("?", |shard| self.serving.rules.shard_name(shard));
        Error::shard(
            LOCK_NOT_AVAILABLE,
            format!("transactions over several shards did not finish on shard {name} in time"),
        )
        .hint(
            "look for old ones in pg_prepared_xacts there, raise timeouts.checkout in weir.toml, \
             or SET weir.consistency = 'shard'",
        )
    }
}

fn not_serializable() -> Error {
    Error::refused(
        "a SERIALIZABLE transaction over several shards",
        "BEGIN ISOLATION LEVEL REPEATABLE READ, or keep it to one shard",
    )
}
