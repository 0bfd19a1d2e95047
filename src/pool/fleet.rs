//! The servers of all shards as everybody in this process sees them: who is the primary, who is in
//! trouble, who is paused. Which server some work goes to is decided here.
use super::breaker::{Breaker, Change, Reason, State};
use super::config::FleetConfig;
use super::standing::{Drained, Primary, Standing, Watch};
use crate::auth::Login;
use crate::backend::sighting::Sighting;
use crate::backend::{Address, ConnectOptions, control};
use crate::error::{Error, SqlState};
use crate::ids::{ServerId, ShardId};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// How long weir itself waits for a connection.
const CONTROL_TIMEOUT: Duration = Duration::from_secs(5);

/// A shard's servers as the rules name them: `primary` first, then `replicas`.
#[derive(Clone, Debug)]
pub struct Shard {
    pub name: String,
    pub servers: Vec<Place>,
}

/// Where a server is, and how connections to it are made.
#[derive(Clone, Debug)]
pub struct Place {
    pub address: Arc<Address>,
    pub options: ConnectOptions,
    /// Who weir itself is there.
    pub control: Arc<Login>,
}

/// All shards' servers. Workers share one.
#[derive(Debug)]
pub struct Fleet {
    pub config: FleetConfig,
    shards: Vec<Crew>,
}

/// One shard's servers.
#[derive(Debug)]
pub struct Crew {
    pub name: String,
    pub servers: Vec<Arc<Server>>,
    state: Mutex<Known>,
    /// The primary, or what may be done here, has changed.
    changed: Notify,
    /// How many wait for a primary.
    waiting: AtomicU32,
}

#[derive(Debug)]
struct Known {
    watch: Watch,
    /// Whose connections may write.
    reigning: Option<u8>,
    traffic: Traffic,
}

/// Whether work may begin on a shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Traffic {
    Open,
    /// PAUSE: what runs may end, what is new waits.
    Paused,
}

/// One server.
#[derive(Debug)]
pub struct Server {
    pub id: ServerId,
    pub shard: String,
    /// Shard and address, for messages.
    pub name: String,
    pub place: Place,
    breaker: Mutex<Breaker>,
    /// Work that is there or waits for a connection.
    outstanding: AtomicU32,
    /// Connections of an earlier generation are closed when they come back.
    generation: AtomicU64,
    /// What is known of it says the same; here for those who connect.
    drained: AtomicBool,
    /// How often the breaker has opened.
    trips: AtomicU64,
    /// Counts how often it has ceased to be the primary: who is still at work there from before is cut off.
    deposed: AtomicU64,
    /// Who waits for a connection to it should look for a server again.
    pub(super) interrupted: Notify,
    interruptions: AtomicU64,
    /// Look at it now.
    pub(super) doubted: Notify,
    /// Microseconds, 0: not measured yet.
    round_trip: AtomicU64,
    retransmits: AtomicU64,
}

/// Which of a shard's servers will do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wanted {
    Primary,
    /// A replica that has everything committed before `after`; the primary, if there is none.
    Replica {
        after: Option<Instant>,
    },
}

/// Whether the client's transaction has begun elsewhere already: then PAUSE lets it go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Begins {
    Now,
    Before,
}

/// Work on a server, from when it was sent there: counted until dropped.
#[derive(Debug)]
pub struct Work {
    pub server: Arc<Server>,
    deposed: u64,
    interruptions: u64,
    role: Role,
}

/// As what a server was chosen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    Primary,
    Replica,
}

impl Drop for Work {
    fn drop(&mut self) {
        self.server.outstanding.fetch_sub(1, Relaxed);
    }
}

impl Work {
    fn new(server: &Arc<Server>, role: Role) -> Self {
        server.outstanding.fetch_add(1, Relaxed);
        let deposed = server.deposed.load(Relaxed);
        let interruptions = server.interruptions.load(Relaxed);
        Self { server: Arc::clone(server), deposed, interruptions, role }
    }

    pub fn role(&self) -> Role {
        self.role
    }

    /// Something about the server has changed since it was chosen.
    pub(super) fn is_interrupted(&self) -> bool {
        self.server.interruptions.load(Relaxed) != self.interruptions
    }

    /// The server was the primary when this work began, and is not any more.
    pub fn is_cut_off(&self) -> bool {
        self.role == Role::Primary && self.server.deposed.load(Relaxed) != self.deposed
    }
}

/// What came of a probe.
#[derive(Debug)]
pub(super) enum Look {
    Seen(Sighting),
    /// The server is there, but does not say what it is: no login, no right, no free slot.
    Unclear(String),
    Silent(String),
}

/// What comes of looking for a server once.
enum Choice {
    Taken(Work),
    /// Nobody now. Ask again when something has changed, at the latest then; the error says why.
    Wait(Instant, Error),
    Refused(Error),
}

impl Server {
    fn new(id: ServerId, shard: &str, place: &Place, fleet: &FleetConfig) -> Self {
        Self {
            id,
            shard: shard.to_owned(),
            name: format!("shard {shard} ({})", place.address),
            place: place.clone(),
            breaker: Mutex::new(Breaker::new(fleet.breaker.clone(), Instant::now())),
            outstanding: AtomicU32::new(0),
            generation: AtomicU64::new(0),
            drained: AtomicBool::new(false),
            deposed: AtomicU64::new(0),
            trips: AtomicU64::new(0),
            interrupted: Notify::new(),
            interruptions: AtomicU64::new(0),
            doubted: Notify::new(),
            round_trip: AtomicU64::new(0),
            retransmits: AtomicU64::new(0),
        }
    }

    /// A connection of weir's own, for what no client has asked.
    pub async fn control(&self) -> Result<control::Client, Error> {
        self.control_in(None).await
    }

    /// The same in another database of the server.
    pub async fn control_in(&self, database: Option<&str>) -> Result<control::Client, Error> {
        let Place { address, options, control: login } = &self.place;
        let elsewhere = database.map(|name| {
            Arc::new(Address { dbname: Some(name.to_owned()), ..Address::clone(address) })
        });
        let connecting = control::connect(elsewhere.as_ref().unwrap_or(address), login, options);
        match tokio::time::timeout(CONTROL_TIMEOUT, connecting).await {
            Ok(Ok(client)) => Ok(client),
            Ok(Err(error)) => Err(error.to_error(&self.name)),
            Err(_) => Err(Error::shard(
                SqlState::CANNOT_CONNECT,
                format!("{} did not answer in {CONTROL_TIMEOUT:?}", self.name),
            )),
        }
    }

    pub fn generation(&self) -> u64 {
        self.generation.load(Relaxed)
    }

    pub(super) fn is_drained(&self) -> bool {
        self.drained.load(Relaxed)
    }

    /// Work that is there or waits for a connection.
    pub fn outstanding(&self) -> u32 {
        self.outstanding.load(Relaxed)
    }

    pub fn breaker(&self, now: Instant) -> (State, Option<Reason>) {
        let breaker = self.locked();
        (breaker.state(now), breaker.reason(now))
    }

    /// Something went wrong in a way that speaks of the server, not of the statement.
    pub fn failed(&self, now: Instant, reason: &str) {
        let change = self.locked().failed(now, reason);
        self.breaker_changed(change, reason);
        self.doubted.notify_one();
    }

    pub fn succeeded(&self, now: Instant) {
        let change = self.locked().succeeded(now);
        self.breaker_changed(change, "a connect succeeded");
    }

    /// Whether work may be sent there now.
    pub(super) fn admits(&self, now: Instant) -> Result<(), Error> {
        self.locked().admits(now).map_err(|refusal| {
            let message = format!("{} is not available: {refusal}", self.name);
            Error::shard(SqlState::CANNOT_CONNECT_NOW, message)
                .hint("weir tries the server again by itself; other shards are not affected")
        })
    }

    /// TCP's round trip on one of the lines, and how many segments it has sent again since the last time.
    pub(super) fn measured(&self, round_trip: Duration, retransmits: u32) {
        let round_trip = u64::try_from(round_trip.as_micros()).unwrap_or(u64::MAX);
        self.round_trip.store(round_trip, Relaxed);
        self.retransmits.fetch_add(retransmits.into(), Relaxed);
    }

    /// TCP's round trip, as last measured; not over Unix sockets.
    pub fn round_trip(&self) -> Option<Duration> {
        Some(self.round_trip.load(Relaxed)).filter(|us| *us > 0).map(Duration::from_micros)
    }

    /// Segments that TCP had to send again.
    pub fn retransmits(&self) -> u64 {
        self.retransmits.load(Relaxed)
    }

    pub fn trips(&self) -> u64 {
        self.trips.load(Relaxed)
    }

    fn breaker_changed(&self, change: Change, reason: &str) {
        match change {
            Change::Nothing => {}
            Change::Opened => {
                tracing::warn!(server = self.name, reason, "the server's breaker is open");
                self.trips.fetch_add(1, Relaxed);
                self.interrupt();
            }
            Change::Closed => tracing::info!(server = self.name, "the server's breaker is closed"),
        }
    }

    /// Unused connections are closed, and others when they come back.
    fn retire_connections(&self) {
        self.generation.fetch_add(1, Relaxed);
        self.interrupt();
    }

    /// Who waits for a connection looks for a server again.
    fn interrupt(&self) {
        self.interruptions.fetch_add(1, Relaxed);
        self.interrupted.notify_waiters();
    }

    fn locked(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Fleet {
    /// `shards` in the order of their ids. `before`: what was known of the same servers stays known.
    pub fn new(config: FleetConfig, shards: &[Shard], before: Option<&Fleet>) -> Self {
        let crews = (0u16..).zip(shards).map(|(id, shard)| {
            let servers = (0u8..).zip(&shard.servers).map(|(number, place)| {
                let id = ServerId { shard: ShardId(id), number };
                Arc::new(Server::new(id, &shard.name, place, &config))
            });
            Crew::new(shard.name.clone(), servers.collect(), &config)
        });
        let fleet = Self { shards: crews.collect(), config };
        for crew in &fleet.shards {
            let same = before.and_then(|fleet| fleet.shards.iter().find(|old| old.is_same(crew)));
            if let Some(old) = same {
                crew.inherit(old);
            }
        }
        fleet
    }

    pub fn shards(&self) -> &[Crew] {
        &self.shards
    }

    pub fn crew(&self, shard: ShardId) -> Result<&Crew, Error> {
        let crew = self.shards.get(usize::from(shard.0));
        crew.ok_or_else(|| Error::internal(format!("there is no shard number {shard}")))
    }

    /// Counts what makes connections useless: changes of primaries, RECONNECT, DRAIN.
    pub fn changes(&self) -> u64 {
        let servers = self.shards.iter().flat_map(|crew| &crew.servers);
        servers.map(|server| server.generation()).sum()
    }

    /// The server that weir's own questions about a shard go to.
    pub fn primary(&self, shard: ShardId) -> Result<Arc<Server>, Error> {
        let crew = self.crew(shard)?;
        let state = crew.locked();
        match state.watch.primary() {
            Primary::Known(number) => crew.server(number).cloned(),
            Primary::Unknown { .. } | Primary::Disputed { .. } => None,
        }
        .ok_or_else(|| crew.no_primary(&state.watch))
    }

    /// The same, if it has answered the last probes.
    pub fn answering_primary(&self, shard: ShardId) -> Result<Arc<Server>, Error> {
        let primary = self.primary(shard)?;
        match self.crew(shard)?.is_up(primary.id.number) {
            true => Ok(primary),
            false => {
                let message = format!("{} does not answer", primary.name);
                Err(Error::shard(SqlState::CANNOT_CONNECT_NOW, message))
            }
        }
    }

    /// A server for some work, if nothing has to be waited for.
    pub(super) fn choose_now(
        &self,
        shard: ShardId,
        wanted: Wanted,
        begins: Begins,
        now: Instant,
    ) -> Option<Work> {
        // What is wrong, whoever waits is told.
        let crew = self.crew(shard).ok()?;
        match crew.choose(&self.config, wanted, begins, &[], now, now) {
            Choice::Taken(work) => Some(work),
            Choice::Refused(_) | Choice::Wait(..) => None,
        }
    }

    /// A server for some work, in time.
    pub(super) async fn choose(
        &self,
        shard: ShardId,
        wanted: Wanted,
        begins: Begins,
        avoid: &[u8],
        asked: Instant,
        deadline: Instant,
    ) -> Result<Work, Error> {
        let crew = self.crew(shard)?;
        match crew.choose(&self.config, wanted, begins, avoid, asked, asked) {
            Choice::Taken(work) => return Ok(work),
            Choice::Refused(error) => return Err(error),
            Choice::Wait(..) => {}
        }
        let _waiting = crew.join_waiting(self.config.primary_queue)?;
        loop {
            let mut changed = std::pin::pin!(crew.changed.notified());
            changed.as_mut().enable();
            match crew.choose(&self.config, wanted, begins, avoid, asked, Instant::now()) {
                Choice::Taken(work) => return Ok(work),
                Choice::Refused(error) => return Err(error),
                Choice::Wait(until, error) => {
                    let until = until.min(deadline);
                    if Instant::now() >= until {
                        return Err(error);
                    }
                    // Late or not: whoever is woken looks again.
                    drop(tokio::time::timeout_at(until.into(), changed).await);
                }
            }
        }
    }

    /// What came of a probe that began then.
    pub(super) fn heard(&self, server: &Server, began: Instant, look: Look) {
        let Ok(crew) = self.crew(server.id.shard) else { return };
        let (number, now) = (server.id.number, Instant::now());
        match look {
            Look::Seen(sighting) => {
                let change = server.locked().close(now);
                server.breaker_changed(change, "a probe was answered");
                crew.update(|watch| watch.saw(number, began, now, sighting));
            }
            Look::Unclear(problem) => {
                let change = server.locked().close(now);
                server.breaker_changed(change, "a probe was answered");
                crew.update(|watch| watch.unclear(number, now, problem));
            }
            Look::Silent(problem) => {
                crew.update(|watch| watch.missed(number, now, problem.clone()));
                if !crew.locked().watch.is_up(number) {
                    let change = server.locked().force_open(now, &problem);
                    server.breaker_changed(change, &problem);
                }
            }
        }
        // Those who wait for a primary, or for its breaker.
        crew.changed.notify_waiters();
    }

    /// Whether something about the server is not as it should be.
    pub(super) fn doubts(&self, server: &Server, now: Instant) -> bool {
        let Ok(crew) = self.crew(server.id.shard) else { return false };
        let state = crew.locked();
        let missed = state.watch.standing(server.id.number).is_some_and(|seen| seen.missed > 0);
        let settled = matches!(state.watch.primary(), Primary::Known(_));
        missed || !settled || server.breaker(now).0 != State::Closed
    }
}

impl Crew {
    fn new(name: String, servers: Vec<Arc<Server>>, config: &FleetConfig) -> Self {
        let watch = Watch::new(servers.len(), config.probe.failures, Instant::now());
        Self {
            name,
            servers,
            state: Mutex::new(Known { watch, reigning: None, traffic: Traffic::Open }),
            changed: Notify::new(),
            waiting: AtomicU32::new(0),
        }
    }

    pub fn server(&self, number: u8) -> Option<&Arc<Server>> {
        self.servers.get(usize::from(number))
    }

    pub fn primary(&self) -> Primary {
        self.locked().watch.primary()
    }

    pub fn traffic(&self) -> Traffic {
        self.locked().traffic
    }

    /// What is known of each server, and its lag behind the primary.
    pub fn standings(&self) -> Vec<(Standing, Option<Duration>)> {
        let (state, now) = (self.locked(), Instant::now());
        let standings = (0u8..).zip(state.watch.standings());
        standings.map(|(number, seen)| (seen.clone(), state.watch.lag(number, now))).collect()
    }

    pub fn is_up(&self, number: u8) -> bool {
        self.locked().watch.is_up(number)
    }

    /// What a server is, in words.
    pub fn describe(&self, number: u8) -> String {
        self.locked().watch.describe(number)
    }

    pub fn pause(&self) {
        self.locked().traffic = Traffic::Paused;
    }

    pub fn resume(&self) {
        let mut state = self.locked();
        state.traffic = Traffic::Open;
        for server in &self.servers {
            state.watch.drain(server.id.number, Drained::No);
            server.drained.store(false, Relaxed);
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// Nothing new goes to that server, and its unused connections are closed.
    pub fn drain(&self, number: u8) {
        self.locked().watch.drain(number, Drained::Yes);
        if let Some(server) = self.server(number) {
            server.drained.store(true, Relaxed);
            server.retire_connections();
        }
    }

    /// Connections are closed as soon as nobody uses them: the next ones are new.
    pub fn reconnect(&self) {
        self.servers.iter().for_each(|server| server.retire_connections());
    }

    /// Work that is there or waits for a connection.
    pub fn outstanding(&self) -> u32 {
        self.servers.iter().map(|server| server.outstanding()).sum()
    }

    fn choose(
        &self,
        config: &FleetConfig,
        wanted: Wanted,
        begins: Begins,
        avoid: &[u8],
        asked: Instant,
        now: Instant,
    ) -> Choice {
        let state = self.locked();
        if state.traffic == Traffic::Paused && begins == Begins::Now {
            let message = format!("shard {} is paused", self.name);
            let error = Error::shard(SqlState::CANNOT_CONNECT_NOW, message);
            return Choice::Wait(far(now), error.hint("RESUME on weir's console lets it go on"));
        }
        if let Wanted::Replica { after } = wanted {
            let readable = state.watch.readable(after, config.max_lag, now);
            let readable = readable.filter(|number| !avoid.contains(number));
            let mut usable: Vec<_> = readable.filter_map(|number| self.server(number)).collect();
            usable.sort_by_key(|server| server.outstanding());
            // Asked one by one: a breaker that is half open lets one through.
            if let Some(server) = usable.into_iter().find(|server| server.admits(now).is_ok()) {
                return Choice::Taken(Work::new(server, Role::Replica));
            }
        }
        self.choose_primary(config, &state.watch, avoid, asked, now)
    }

    /// With other servers beside it, a primary in trouble may soon have a successor.
    fn choose_primary(
        &self,
        config: &FleetConfig,
        watch: &Watch,
        avoid: &[u8],
        asked: Instant,
        now: Instant,
    ) -> Choice {
        match watch.primary() {
            Primary::Known(number) => {
                let Some(server) = self.server(number) else {
                    return Choice::Refused(Error::internal("the primary is no server"));
                };
                if watch.standing(number).is_some_and(|seen| seen.drained == Drained::Yes) {
                    let message = format!("{} is being drained", server.name);
                    let error = Error::shard(SqlState::CANNOT_CONNECT_NOW, message);
                    return Choice::Refused(error.hint("RESUME on weir's console ends that"));
                }
                match server.admits(now) {
                    _ if avoid.contains(&number) && self.servers.len() > 1 => {
                        Choice::Wait(asked + config.primary_timeout, self.no_primary(watch))
                    }
                    Ok(()) => Choice::Taken(Work::new(server, Role::Primary)),
                    Err(error) if self.servers.len() > 1 => {
                        Choice::Wait(asked + config.primary_timeout, error)
                    }
                    Err(error) => Choice::Refused(error),
                }
            }
            Primary::Unknown { since } => {
                Choice::Wait(since + config.primary_timeout, self.no_primary(watch))
            }
            Primary::Disputed { .. } => Choice::Refused(self.no_primary(watch)),
        }
    }

    fn no_primary(&self, watch: &Watch) -> Error {
        let why = match watch.primary() {
            Primary::Disputed { .. } => "two primaries on one timeline",
            Primary::Known(_) | Primary::Unknown { .. } => "no primary",
        };
        let servers = (0u8..).zip(&self.servers);
        let each = servers
            .map(|(number, one)| format!("{} is {}", one.place.address, watch.describe(number)));
        let message =
            format!("shard {} has {why}: {}", self.name, each.collect::<Vec<_>>().join(", "));
        let hint = match watch.primary() {
            Primary::Disputed { .. } => "stop the one that must not be written",
            Primary::Known(_) | Primary::Unknown { .. } => {
                "promote a replica, or start the primary; weir sees it by itself"
            }
        };
        Error::shard(SqlState::CANNOT_CONNECT_NOW, message).hint(hint)
    }

    /// Changes what is known, and tells those concerned what follows.
    fn update(&self, change: impl FnOnce(&mut Watch)) {
        let mut state = self.locked();
        let before = state.watch.primary();
        change(&mut state.watch);
        let after = state.watch.primary();
        if before == after {
            return;
        }
        let deposed = match after {
            Primary::Known(number) => state.reigning.replace(number).filter(|old| *old != number),
            Primary::Disputed { .. } => state.reigning.take(),
            // Nobody else claims it: the server is in trouble, and its breaker says so.
            Primary::Unknown { .. } => None,
        };
        drop(state);
        tracing::info!(shard = self.name, ?before, ?after, "the primary has changed");
        if let Some(server) = deposed.and_then(|number| self.server(number)) {
            server.deposed.fetch_add(1, Relaxed);
            server.retire_connections();
        }
        self.changed.notify_waiters();
    }

    fn join_waiting(&self, limit: u32) -> Result<Waiting<'_>, Error> {
        let waiting = Waiting(&self.waiting);
        if self.waiting.fetch_add(1, Relaxed) < limit {
            return Ok(waiting);
        }
        let message = format!("{limit} statements wait for a primary of shard {}", self.name);
        Err(Error::shard(SqlState::TOO_MANY_CONNECTIONS, message)
            .hint("weir goes on when the shard has a primary"))
    }

    fn is_same(&self, other: &Crew) -> bool {
        let addresses =
            |crew: &Crew| crew.servers.iter().map(|s| s.place.address.clone()).collect::<Vec<_>>();
        self.name == other.name && addresses(self) == addresses(other)
    }

    fn inherit(&self, old: &Crew) {
        let old = old.locked();
        let mut state = self.locked();
        state.watch = old.watch.clone();
        state.reigning = old.reigning;
        state.traffic = old.traffic;
        for (server, standing) in self.servers.iter().zip(state.watch.standings()) {
            server.drained.store(standing.drained == Drained::Yes, Relaxed);
        }
    }

    fn locked(&self) -> MutexGuard<'_, Known> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As long as somebody may wait for an operator.
fn far(now: Instant) -> Instant {
    now + Duration::from_secs(24 * 3600)
}

struct Waiting<'a>(&'a AtomicU32);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
