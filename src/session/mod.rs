//! One client's conversation.
//!
//! - `startup`: greeting, TLS, who is there
//! - `cancel`: cancel keys of weir's own
//! - `shown`: what the console shows of a client
//! - `parameters`: what a client is told of its server at the start
//! - `conversation`: take a message, act, carry answers
//! - `simple`: the simple protocol
//! - `extended`: Parse, Bind, Describe, Execute, Close, Flush
//! - `segment`: from one Sync to the next
//! - `prepared`: a client's prepared statements, made known to servers
//! - `configured`: settings that set_config changes
//! - `statements`: what a client has prepared, and the servers' names for it
//! - `control`: statements that steer the session or its transaction
//! - `transaction`: BEGIN, COMMIT, ROLLBACK, savepoints
//! - `commit`: COMMIT on several shards, atomically · `in_turn`: one after another
//! - `setting`: SET and its kin
//! - `own`: weir's own settings, and what a statement asks for itself
//! - `by_name`: PREPARE, EXECUTE, DEALLOCATE
//! - `judged`: what PostgreSQL says of statements that weir refuses
//! - `calls`: a statement's shape may be refused, and its time is limited
//! - `observed`: what becomes of a statement that has ended
//! - `said`: what of them the log has
//! - `traced`: their traces
//! - `site`: bring a shard into the transaction · `clock`: what time it is there
//! - `turn`: wait for a hot row's turn
//! - `several`: queries whose rows are on several shards · `merged`: how shards are asked for their own
//! - `scattered`: writes on several shards · `copies`: of reference tables · `moves`: of keys
//! - `snapshot`: all shards that a query reads, at one moment
//! - `printing`: whether servers write values alike
//! - `together`: one query asked of several servers at once
//! - `portal`: their portals · `portals`: all that is bound
//! - `cursor`: SQL cursors
//! - `place`: so many gather at a time
//! - `gather`: queries that the gather database finishes
//! - `explained`: EXPLAIN of queries whose rows are on several shards
//! - `schema`: statements that change the schema · `in_step`: the same in the gather database · `invalid`: what
//!   is left where one fails
//! - `copy`: COPY data from the client
//! - `gathering`: can statements be finished in the gather database
//! - `plans`: the plans that workers keep, for the console · `hot_keys`: what most statements are about
//! - `spread`: what a session asks of whoever keeps the schema known
//! - `relayed`: session pooling, where one server is the client's alone
//!
//! Invariant: a session never picks a shard; `plan` says where, `txn` whether it may.
pub mod startup;
pub mod cancel;
pub mod shown;
mod parameters;
mod conversation;
mod configured;
mod simple;
mod extended;
mod segment;
mod prepared;
mod statements;
mod control;
mod transaction;
mod commit;
mod in_turn;
mod setting;
mod own;
mod by_name;
mod calls;
mod observed;
mod said;
mod traced;
mod judged;
mod site;
mod clock;
mod turn;
mod copy;
mod several;
mod merged;
mod scattered;
mod copies;
mod moves;
mod snapshot;
mod printing;
mod together;
mod portal;
mod portals;
mod cursor;
mod place;
mod gather;
mod explained;
mod schema;
mod invalid;
mod in_step;
mod relayed;
mod gathering;
pub mod plans;
pub mod hot_keys;
pub mod spread;

use crate::auth::Login;
use crate::backend::connection::CancelKey;
use crate::backend::translate::Translation;
use crate::error::Error;
use crate::exec::broken::Broken;
use crate::exec::line::Line;
use crate::exec::relay::{Edit, Relay, Reply};
use crate::ids::{ShardId, TierId};
use crate::plan::{Catalog, Planner, Unroutable};
use crate::pool::shapes::Shapes;
use crate::pool::{self, Cluster, HotRows, Ticket};
use crate::rules::Rules;
use crate::telemetry::metrics::{DatabaseMetrics, Metrics, Tally};
use crate::telemetry::statements::StatementMetrics;
use crate::telemetry::traces::Tracer;
use crate::txn::Transaction;
use crate::txn::footing::Footing;
use arc_swap::ArcSwap;
use cancel::Slot;
use hot_keys::{Countdown, HotKeys};
use segment::Segment;
use spread::Spreader;
use statements::{Change, Identities, Statement};
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

pub use conversation::serve;
pub use gathering::GatherState;

/// The rules and the catalog in force together. A statement outside a transaction takes the newest,
/// a transaction stays with the one it began under.
#[derive(Clone)]
pub struct Serving {
    pub rules: Arc<Rules>,
    pub catalog: Arc<Catalog>,
    /// Counts catalogs: part of what a prepared statement means.
    pub catalog_version: u64,
    /// How each shard's object ids differ from the home shard's.
    pub translations: Vec<Option<Arc<Translation>>>,
    /// Of the shards' catalogs, as they were when they were read.
    pub fingerprints: Vec<String>,
    /// Behind the shards' entries the two vectors have the gather database's, if there is one.
    pub gather: GatherState,
    /// Places for statements that gather, as many as the rules allow at a time.
    pub gathering: Arc<Semaphore>,
    /// Where the shards are; the same allocation as long as nothing about them changes.
    pub servers: Servers,
}

impl Serving {
    /// How that shard's object ids differ from the home shard's, if they do.
    pub fn translation(&self, shard: ShardId) -> Option<Arc<Translation>> {
        self.translations.get(usize::from(shard.0)).cloned().flatten()
    }
}

/// How long a client keeps its server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PoolMode {
    Transaction,
    /// Plain pooling only.
    Session,
    /// As `Transaction`, and a transaction block ends the session.
    Statement,
}

/// Whether the client may open transaction blocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Blocks {
    Allowed,
    Refused,
}

/// What bounds one session.
#[derive(Clone, Debug)]
pub struct Limits {
    pub message_bytes: usize,
    pub statement_bytes: usize,
    pub statements_per_client: usize,
    pub statements_per_server: usize,
    pub plans: usize,
    /// The tiers' names, in the order of their ids.
    pub tiers: Arc<[String]>,
    /// Statements that wait for one hot row.
    pub hot_row_queue: usize,
    /// What one query over several shards may keep.
    pub merge_bytes: usize,
    /// By the tiers' ids: as long as for a server connection.
    pub hot_row_wait: Arc<[Duration]>,
    /// By the tiers' ids; a transaction's tier is its session's, else `interactive`.
    pub idle_in_transaction: Arc<[Option<Duration>]>,
    pub client_idle: Option<Duration>,
    /// For a COMMIT on several shards to hear from one that was lost.
    pub resolution: Duration,
    /// For all that a statement does, by the tiers' ids.
    pub total: Arc<[Option<Duration>]>,
    pub log: Log,
    /// `None`: nothing is traced.
    pub tracer: Option<Arc<Tracer>>,
}

/// What of clients and their statements is logged.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Log {
    /// Statements that take longer.
    pub slow_statement: Option<Duration>,
    /// With their values.
    pub parameters: bool,
    pub connections: bool,
    pub disconnections: bool,
}

/// How a worker opens pools to a set of servers.
pub type OpenCluster = Box<dyn Fn(&Servers) -> Cluster>;

pub type Servers = Arc<ServerSet>;

/// Where the shards are, and who looks at each new connection to them. Rules that put a row elsewhere
/// come with another set: their connections are never lent to who goes by the old ones.
pub struct ServerSet {
    pub fleet: Arc<pool::Fleet>,
    pub on_connect: Option<Arc<dyn pool::OnConnect>>,
    /// What they offer to transactions over several of them.
    pub footing: Arc<Footing>,
}

/// What all workers share of one logical database besides its rules and servers.
#[derive(Clone)]
pub struct Commons {
    /// Which statements are refused for a while.
    pub shapes: Arc<Shapes>,
    /// Who waits to lock which row.
    pub hot_rows: Arc<HotRows>,
    /// What the workers' caches hold.
    pub plans: Arc<plans::Plans>,
    pub hot_keys: Arc<HotKeys>,
}

/// One logical database as one worker serves it.
pub struct Database {
    pub name: String,
    /// `database = "*"`: the name goes on to the server.
    wildcard: bool,
    pub serving: Arc<ArcSwap<Serving>>,
    open: OpenCluster,
    spreader: Option<Spreader>,
    hot_rows: Arc<HotRows>,
    plans: Arc<plans::Plans>,
    hot_keys: Arc<HotKeys>,
    sampling: Countdown,
    cluster: RefCell<Option<(Servers, Rc<Cluster>)>>,
    planner: RefCell<Planner>,
    identities: RefCell<Identities>,
    united: merged::United,
    parameters: RefCell<parameters::Known>,
    turn: Cell<u16>,
    changes: Cell<u64>,
    limits: Limits,
    /// Which statements are refused for a while.
    shapes: Arc<Shapes>,
    /// Tells the fingerprints of databases apart that share `shapes`.
    salt: u64,
    pub counters: DatabaseMetrics,
    /// Of statements that have ended.
    observed: StatementMetrics,
    tracer: Option<Arc<Tracer>>,
    /// Not added to the counters yet.
    tally: RefCell<Tally>,
    pub metrics: Arc<Metrics>,
}

impl Database {
    pub fn new(
        name: &str,
        serving: Arc<ArcSwap<Serving>>,
        open: OpenCluster,
        spreader: Option<Spreader>,
        limits: Limits,
        commons: Commons,
        metrics: Arc<Metrics>,
    ) -> Self {
        /// Statements whose server names a worker keeps.
        const IDENTITIES: usize = 16_384;
        let current = serving.load();
        let shards: Vec<_> = current.rules.shards.iter().map(|s| s.name.as_str()).collect();
        Self {
            // Clients choose the names that a `*` stands for: they must not make labels.
            counters: metrics.database(&current.rules.database, &shards),
            observed: StatementMetrics::new(
                &metrics,
                &current.rules.database,
                limits.tiers.clone(),
            ),
            tally: RefCell::default(),
            tracer: limits.tracer.clone(),
            name: name.to_owned(),
            wildcard: current.rules.database == "*",
            shapes: commons.shapes,
            hot_rows: commons.hot_rows,
            plans: commons.plans,
            hot_keys: commons.hot_keys,
            sampling: Countdown::default(),
            salt: salt(name, &current.rules.database),
            open,
            spreader,
            cluster: RefCell::default(),
            planner: RefCell::new(Planner::new(limits.plans)),
            identities: RefCell::new(Identities::new(IDENTITIES)),
            united: merged::United::default(),
            parameters: RefCell::default(),
            turn: Cell::new(0),
            changes: Cell::new(0),
            limits,
            metrics,
            serving: {
                drop(current);
                serving
            },
        }
    }

    /// The pools to the servers of `serving`; kept for as long as the servers stay the same.
    pub fn cluster(&self, serving: &Serving) -> Rc<Cluster> {
        let mut kept = self.cluster.borrow_mut();
        if let Some((servers, cluster)) = kept.as_ref()
            && Arc::ptr_eq(servers, &serving.servers)
        {
            return cluster.clone();
        }
        let cluster = Rc::new((self.open)(&serving.servers));
        // A transaction that outlives a reload may need another server of the old set: that must not
        // cost the others their pools.
        if !Arc::ptr_eq(&serving.servers, &self.serving.load().servers) {
            return cluster;
        }
        *kept = Some((serving.servers.clone(), cluster.clone()));
        cluster
    }

    /// Closes unused connections that should not be used again. Whether something has happened to the
    /// servers since this was last called: then sessions have to look at theirs.
    pub fn keep_house(&self) -> bool {
        // Pools to servers of before a reload end with their last lease, clients or not.
        let current = self.serving.load();
        let kept = |(servers, _): &mut (Servers, _)| Arc::ptr_eq(servers, &current.servers);
        drop(self.cluster.borrow_mut().take_if(|of| !kept(of)));
        let Some((_, cluster)) = self.cluster.borrow().clone() else { return false };
        cluster.sweep();
        let changes = cluster.fleet().changes();
        self.changes.replace(changes) != changes
    }

    /// Nobody has been answered anything about it yet.
    pub fn is_untouched(&self) -> bool {
        self.parameters.borrow().is_empty()
    }

    /// The shard whose turn it is to answer what any shard can.
    fn next_turn(&self, rules: &Rules) -> ShardId {
        let shards = u16::try_from(rules.shards.len()).unwrap_or(u16::MAX).max(1);
        let turn = self.turn.get() % shards;
        self.turn.set((turn + 1) % shards);
        ShardId(turn)
    }

    /// The database name that servers are told, where it is not the one in the rules.
    fn passed_on(&self) -> Option<&str> {
        self.wildcard.then_some(self.name.as_str())
    }
}

/// Of a database's statements. One that has rules of its own has a table of its own.
fn salt(name: &str, rules: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    if name == rules { 0 } else { hasher.finish() }
}

/// One client, logged in.
pub struct Session {
    client: Line,
    relay: Relay,
    txn: Transaction,
    database: Rc<Database>,
    serving: Arc<Serving>,
    /// The same at each of the transaction's savepoints: what it has changed in the schema may be undone.
    serving_at_savepoint: Vec<Arc<Serving>>,
    login: Arc<Login>,
    slot: Arc<Slot>,
    statements: foldhash::HashMap<String, Rc<Statement>>,
    portals: portals::Portals,
    /// Messages whose server is not known yet, in the order of the relay's unsited replies.
    unsited: VecDeque<segment::Unsited>,
    /// Statements whose description is on its way to the client.
    describing: VecDeque<Rc<Statement>>,
    /// Replies taken out of the relay while a server is brought in.
    held: VecDeque<Reply>,
    segment: Segment,
    /// Bytes of a COPY message that nobody waits for any more.
    skip: usize,
    /// What the segment has done to `statements`, oldest first.
    changes: Vec<Change>,
    told: parameters::Told,
    protocol: Protocol,
    /// What statements are changing by set_config.
    configured: Vec<configured::Configured>,
    /// How errors about the statement that runs now speak of the client's text.
    edit: Option<Rc<Edit>>,
    /// When this session last wrote on a shard that has replicas.
    written: HashMap<ShardId, Instant>,
    /// SQL cursors on one server, of the open transaction or held: where each lives.
    cursors: HashMap<String, cursor::OneServers>,
    /// Temporary relations that this session has made, whether or not they still exist.
    temporary: Vec<String>,
    /// At the hot row that the open transaction locks.
    turn: Option<Ticket>,
    /// The relay's count of statements when a server was brought in only to describe one.
    described: Option<u64>,
    /// Whose connections its statements use unless they or the session say otherwise; `None`: as
    /// their plans say.
    default_tier: Option<TierId>,
    blocks: Blocks,
    /// The client has been told that it may go on, and has not spoken since.
    resting: bool,
    /// When servers were last told of the client's cancel request.
    passed_on: Option<Instant>,
    /// COMMIT of what was written is on its way: if it is lost, nobody knows whether it was heard.
    deciding: bool,
    /// Set when weir is about to end: who is between transactions has to leave.
    leaving: Rc<Cell<bool>>,
    seen: Box<observed::Seen>,
}

/// How the client said what runs now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Protocol {
    Simple,
    /// Everything up to a Sync is one transaction.
    Extended,
}

/// Why a statement stops short.
#[derive(Debug)]
enum Stop {
    /// weir has to tell the client.
    Say(Error),
    /// A server has told the client.
    Said,
    /// The session is over.
    End,
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Stop::Say(error)
    }
}

impl From<Unroutable> for Stop {
    fn from(unroutable: Unroutable) -> Self {
        Stop::Say(unroutable.into())
    }
}

impl Session {
    /// A carrier's breakdown as the statement's end: a lost server ends the whole transaction.
    async fn broken(&mut self, broken: Broken) -> Stop {
        match broken {
            Broken::Client => Stop::End,
            Broken::Server(_, error) => {
                let error = match std::mem::take(&mut self.deciding) {
                    true => transaction::unknown_outcome(error),
                    false => error,
                };
                let tied = self.txn.participants.iter().any(|participant| participant.tied);
                let half_said = self.relay.is_within_message();
                self.lose_participants("a server of its transaction was lost").await;
                // An error would be taken for the rest of the message: the line's end has to say it.
                if half_said {
                    return Stop::End;
                }
                if tied {
                    // Locks, temporary tables or LISTEN are gone with it: the session is not what
                    // its client believes.
                    self.say_goodbye(&error.fatal()).await;
                    return Stop::End;
                }
                Stop::Say(error)
            }
        }
    }

    /// Ends every participant's transaction by closing its connection: nothing stays half done,
    /// since PostgreSQL rolls back what a vanished client had open.
    async fn lose_participants(&mut self, reason: &'static str) {
        self.relay.abandon();
        self.unsited.clear();
        self.held.clear();
        for participant in &mut self.txn.participants {
            participant.lease.taint(reason);
        }
        self.txn.lose();
        self.end_turn();
        self.cursors.clear();
        self.portals.clear();
        self.slot.running().await.clear();
    }

    async fn may_be_cancelled(&self, key: CancelKey) {
        self.slot.running().await.push(key);
    }
}
