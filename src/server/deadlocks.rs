//! Ends transactions over several shards that wait for each other.
//!
//! It costs nothing while nobody waits: who is on a circle of waits waits itself. So each weir looks only
//! at those of its clients that have been without an answer for a while and hold servers of several
//! shards; asks the shards whether one of those servers waits for a lock; publishes them, on the home
//! shard, if so; and looks for circles among what all weirs have published (`txn::waits`). Each weir ends
//! only its own clients' transactions, so nobody needs to agree on anything.
//!
//! Invariant: a transaction is ended only if it was on a circle of waits that existed at one moment, each
//! of them older than `timeouts.deadlock`.
use super::assemble::{Shared, Source};
use crate::backend::connection::CancelKey;
use crate::backend::control::Client;
use crate::backend::lock_waits::{self, Branch, Name, Pid, Seen, Spread};
use crate::error::{Error, SqlState};
use crate::ids::ShardId;
use crate::session::cancel::{Busy, Slot};
use crate::session::{Servers, Serving};
use crate::txn::two_phase::Key;
use crate::txn::waits::{self, Deadlock};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// For one question to a shard.
const PATIENCE: Duration = Duration::from_secs(5);
/// While it is switched off, whether it still is.
const GLANCE: Duration = Duration::from_secs(1);
/// Connections are kept for so long after somebody has waited.
const KEPT: Duration = Duration::from_secs(10);
/// A reader of several shards may wait for its locks so long, and then gives way (`session::snapshot`).
pub const LEAST: Duration = Duration::from_millis(200);

/// Watches every sharded database, for as long as this weir runs.
pub async fn watch(shared: Arc<Shared>) {
    let mut watching = JoinSet::new();
    for name in shared.databases.keys().cloned() {
        watching.spawn(watch_one(shared.clone(), name));
    }
    while watching.join_next().await.is_some() {}
}

async fn watch_one(shared: Arc<Shared>, name: String) {
    let Some(source) = shared.databases.get(&name) else { return };
    let mut detector = Detector::new(format!("{:032x}", rand::random::<u128>()));
    warn_if_missing(source).await;
    let mut complaint = None;
    loop {
        let Some(limit) = shared.config.load().timeouts.deadlock else {
            sleep(GLANCE).await;
            continue;
        };
        let limit = limit.max(LEAST);
        sleep(limit / 4).await;
        let serving = source.serving.load_full();
        if serving.servers.footing.cluster().is_none() {
            continue;
        }
        match detector.round(&shared, &serving, limit).await {
            Ok(ended) => {
                complaint = None;
                for deadlock in ended {
                    shared.metrics.deadlocks.with_label_values(&[&name]).inc();
                    let story = deadlock.story;
                    tracing::warn!(database = name, story, "a deadlock across shards was ended");
                }
            }
            Err(error) => {
                detector.line = None;
                if complaint.as_ref() != Some(&error) {
                    tracing::warn!(%error, database = name, "could not look for deadlocks");
                }
                complaint = Some(error);
            }
        }
    }
}

async fn warn_if_missing(source: &Source) {
    let serving = source.serving.load_full();
    if serving.servers.footing.cluster().is_none() {
        return;
    }
    let looking = async {
        let client = serving.servers.fleet.primary(serving.rules.home)?.control().await?;
        lock_waits::exists(&client).await
    };
    match looking.await {
        Ok(true) => {}
        Ok(false) => tracing::warn!(
            message =
                "the home shard has no table weir.waiting: deadlocks across shards are not found",
            hint = "run weir setup --rules FILE"
        ),
        Err(error) => tracing::debug!(%error, "the home shard could not be looked at"),
    }
}

/// Of one database.
struct Detector {
    /// This weir's name to the others.
    weir: String,
    /// Since when clients have been at a turn.
    since: HashMap<u32, (u64, Instant)>,
    line: Option<Line>,
    published: bool,
}

/// Connections to the shards, for as long as somebody waits.
struct Line {
    servers: Servers,
    /// By their names.
    clients: BTreeMap<String, Arc<Client>>,
    /// Those that could not say who waits: the log has it once.
    mute: BTreeSet<String>,
    used: Instant,
    /// Of the connections that weir may have to each.
    _place: OwnedSemaphorePermit,
}

/// A client that may be waiting for a lock on one of its shards.
struct HeldUp {
    name: Name,
    turn: u64,
    slot: Arc<Slot>,
    running: Vec<CancelKey>,
    servers: Vec<(String, Pid)>,
}

impl Detector {
    fn new(weir: String) -> Self {
        Self { weir, since: HashMap::new(), line: None, published: false }
    }

    /// The deadlocks that this weir has ended.
    async fn round(
        &mut self,
        shared: &Shared,
        serving: &Serving,
        limit: Duration,
    ) -> Result<Vec<Deadlock>, Error> {
        let held_up = self.held_up(shared.clients.busy(), serving, limit);
        if held_up.is_empty() && !self.published {
            drop(self.line.take_if(|line| line.used.elapsed() > KEPT));
            return Ok(Vec::new());
        }
        let deadlocks = self.look(&held_up, serving, limit).await?;
        let mut ended = Vec::new();
        for deadlock in deadlocks {
            let mine = held_up.iter().find(|one| one.name == deadlock.victim);
            if let Some(HeldUp { slot, turn, .. }) = mine
                && slot.end(*turn, detected(&deadlock)).await
            {
                ended.push(deadlock);
            }
        }
        Ok(ended)
    }

    /// Those that have waited for half the limit for an answer. Who does not wait for a lock then is looked
    /// at again as much later.
    fn held_up(&mut self, busy: Vec<Busy>, serving: &Serving, limit: Duration) -> Vec<HeldUp> {
        let now = Instant::now();
        let primaries: Vec<_> = serving
            .rules
            .shard_ids()
            .filter_map(|id| Some((id, serving.servers.fleet.primary(id).ok()?)))
            .collect();
        let (mut since, mut held_up) = (HashMap::new(), Vec::new());
        for Busy { client, turn, slot, running } in busy {
            let known = self.since.get(&client).filter(|(at, _)| *at == turn);
            let (_, began) = *since.entry(client).or_insert(known.copied().unwrap_or((turn, now)));
            if now.duration_since(began) < limit / 2 {
                continue;
            }
            let server = |key: &CancelKey| {
                let at = primaries.iter().find(|(_, server)| server.place.address == key.address);
                let shard = serving.rules.shard_name(at?.0).to_owned();
                Some((shard, Pid::try_from(key.pid).ok()?))
            };
            let servers: Vec<_> = running.iter().filter_map(server).collect();
            let name = Name { weir: self.weir.clone(), client };
            if servers.len() > 1 {
                held_up.push(HeldUp { name, turn, slot, running, servers });
            }
        }
        self.since = since;
        held_up
    }

    async fn look(
        &mut self,
        held_up: &[HeldUp],
        serving: &Serving,
        limit: Duration,
    ) -> Result<Vec<Deadlock>, Error> {
        let line = match self.line.take_if(|line| Arc::ptr_eq(&line.servers, &serving.servers)) {
            Some(line) => line,
            None => match Line::new(&serving.servers) {
                Some(line) => line,
                None => return Ok(Vec::new()),
            },
        };
        let line = self.line.insert(line);
        let own = held_up.iter().flat_map(|one| one.servers.iter().cloned());
        let seen = line.ask(serving, by_shard(own)).await;
        let mut waiting: Vec<Spread> = held_up.iter().filter_map(|one| one.spread(&seen)).collect();
        for spread in &mut waiting {
            let key = held_up.iter().find(|one| one.name == spread.name);
            if let Some(key) = key.and_then(|one| one.slot.committing()) {
                spread.branches.extend(line.prepared(serving, &key).await);
            }
        }
        for one in held_up {
            // Not worth another look soon.
            if !waiting.iter().any(|other| other.name == one.name) {
                self.since.insert(one.name.client, (one.turn, Instant::now()));
            }
        }
        let home = line.client(serving, serving.rules.home).await?;
        if !waiting.is_empty() || self.published {
            within(lock_waits::publish(&home, &self.weir, &waiting)).await?;
            self.published = !waiting.is_empty();
        }
        if waiting.is_empty() {
            return Ok(Vec::new());
        }
        let all = within(lock_waits::published(&home)).await?;
        // From one shard to another a circle leads through one of them, and through another one back.
        if all.len() < 2 {
            return Ok(Vec::new());
        }
        let servers = all.iter().flat_map(|one| &one.branches);
        let servers = by_shard(servers.map(|(branch, pid)| (branch.shard.clone(), *pid)));
        let mut first = line.ask(serving, servers.clone()).await;
        first.retain(|seen| seen.wait.as_ref().is_some_and(|wait| wait.age >= limit));
        if first.is_empty() {
            return Ok(Vec::new());
        }
        let second = line.ask(serving, servers).await;
        Ok(waits::deadlocks(&all, &first, &second))
    }
}

impl Line {
    /// `None`: sessions use all of weir's connections now.
    fn new(servers: &Servers) -> Option<Self> {
        let place = servers.footing.places.clone().try_acquire_owned().ok()?;
        let (clients, mute) = Default::default();
        Some(Self { servers: servers.clone(), clients, mute, used: Instant::now(), _place: place })
    }

    /// Asks shards about processes, all of them at the same time. Who does not answer has nothing to say.
    async fn ask(&mut self, serving: &Serving, servers: BTreeMap<String, Vec<Pid>>) -> Vec<Seen> {
        self.used = Instant::now();
        let mut asking = JoinSet::new();
        for id in serving.rules.shard_ids() {
            let shard = serving.rules.shard_name(id).to_owned();
            let Some(pids) = servers.get(&shard).cloned() else { continue };
            let client = match self.client(serving, id).await {
                Ok(client) => client,
                Err(error) => {
                    tracing::debug!(%error, shard, "a shard could not be asked who waits");
                    continue;
                }
            };
            asking.spawn(async move {
                let seen = within(lock_waits::look(&client, &shard, &pids)).await;
                (shard, seen)
            });
        }
        let mut all = Vec::new();
        while let Some(answered) = asking.join_next().await {
            let Ok((shard, seen)) = answered else { continue };
            match seen {
                Ok(seen) => {
                    self.mute.remove(&shard);
                    all.extend(seen);
                }
                Err(error) => {
                    self.clients.remove(&shard);
                    if self.mute.insert(shard.clone()) {
                        tracing::warn!(%error, shard, "a shard does not say who waits for a lock");
                    }
                }
            }
        }
        all
    }

    /// What is prepared already of a transaction that waits while it prepares the rest.
    async fn prepared(&mut self, serving: &Serving, key: &Key) -> Vec<(Branch, Pid)> {
        let mut found = Vec::new();
        for id in serving.rules.shard_ids() {
            let shard = serving.rules.shard_name(id);
            let Ok(client) = self.client(serving, id).await else { continue };
            let gid = key.on(shard).to_string();
            match within(lock_waits::prepared(&client, shard, &gid)).await {
                Ok(branch) => found.extend(branch.map(|branch| (branch, 0))),
                Err(error) => {
                    tracing::debug!(%error, shard, "a shard did not say what is prepared")
                }
            }
        }
        found
    }

    async fn client(&mut self, serving: &Serving, id: ShardId) -> Result<Arc<Client>, Error> {
        let shard = serving.rules.shard_name(id);
        if let Some(client) = self.clients.get(shard).filter(|client| !client.is_closed()) {
            return Ok(client.clone());
        }
        let client = Arc::new(serving.servers.fleet.answering_primary(id)?.control().await?);
        self.clients.insert(shard.to_owned(), client.clone());
        Ok(client)
    }
}

impl HeldUp {
    /// What others need to know, if one of its servers waits for a lock; `None`, too, if the client has
    /// been answered meanwhile: then the servers may be somebody else's.
    fn spread(&self, seen: &[Seen]) -> Option<Spread> {
        let own = |seen: &&Seen| {
            self.servers.iter().any(|(shard, pid)| *shard == seen.branch.shard && *pid == seen.pid)
        };
        let own: Vec<&Seen> = seen.iter().filter(own).collect();
        let waits =
            own.iter().filter_map(|seen| seen.wait.as_ref()).map(|wait| wait.since).min()?;
        let began = own.iter().filter_map(|seen| seen.began).min().unwrap_or(waits);
        let branches = own.iter().map(|seen| (seen.branch.clone(), seen.pid)).collect();
        let name = self.name.clone();
        self.is_there().then_some(Spread { name, began, branches })
    }

    /// Whether it is still at the same turn, and has the same servers.
    fn is_there(&self) -> bool {
        let Some(running) = self.slot.running_now() else { return false };
        let has = |key: &CancelKey| {
            running.iter().any(|other| other.pid == key.pid && other.secret == key.secret)
        };
        self.slot.turn() == self.turn && self.running.iter().all(has)
    }
}

fn by_shard(servers: impl Iterator<Item = (String, Pid)>) -> BTreeMap<String, Vec<Pid>> {
    let mut by_shard: BTreeMap<String, Vec<Pid>> = BTreeMap::new();
    for (shard, pid) in servers.filter(|(_, pid)| *pid != 0) {
        by_shard.entry(shard).or_default().push(pid);
    }
    by_shard
}

/// In PostgreSQL's words.
fn detected(deadlock: &Deadlock) -> Error {
    Error::client(SqlState(*b"40P01"), "deadlock detected").detail(deadlock.story.clone())
}

async fn within<T>(asking: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    timeout(PATIENCE, asking).await.unwrap_or_else(|_| {
        Err(Error::shard(SqlState::CONNECTION_FAILURE, "the shard does not answer"))
    })
}
