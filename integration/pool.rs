//! Pools over a real server: fair, quick to fill, quick to fail, and never a dead connection.
use crate::backend::ask;
use crate::cluster::{Cluster, DATABASE};
use std::cell::Cell;
use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};
use weir::auth::{Login, Secret};
use weir::backend::{Address, ConnectOptions, Connection};
use weir::error::{Error, SqlState};
use weir::ids::{ShardId, TierId};
use weir::pool::{
    self, Ask, Begins, Budget, Fleet, FleetConfig, Hook, Lease, OnConnect, Place, PoolConfig,
    PoolStats, Shard, TierConfig, UserConfig, Wanted,
};

const S0: ShardId = ShardId(0);
/// Longer than a connect takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(3);

/// One worker's pools, and what it shares with others.
struct Pools {
    cluster: pool::Cluster,
    budget: Budget,
}

impl Pools {
    async fn lease(
        &self,
        shard: ShardId,
        database: Option<&str>,
        login: &Arc<Login>,
    ) -> Result<Lease, Error> {
        self.lease_in(TierId::INTERACTIVE, shard, database, login).await
    }

    async fn lease_in(
        &self,
        tier: TierId,
        shard: ShardId,
        database: Option<&str>,
        login: &Arc<Login>,
    ) -> Result<Lease, Error> {
        let (wanted, begins) = (Wanted::Primary, Begins::Now);
        self.cluster.lease(Ask { shard, wanted, tier, begins, database, login }).await
    }

    fn stats(&self) -> Vec<PoolStats> {
        self.budget.census()
    }
}

fn pools(servers: &Cluster, config: PoolConfig) -> Pools {
    pools_with(servers, config, None)
}

fn pools_with(servers: &Cluster, config: PoolConfig, hook: Option<Arc<dyn OnConnect>>) -> Pools {
    pools_sharing(fleet(servers), config, hook, Budget::default())
}

fn fleet(servers: &Cluster) -> Arc<Fleet> {
    let place = Place {
        address: Arc::new(Address::parse(&servers.shard(0).dsn(DATABASE)).unwrap()),
        options: ConnectOptions::default(),
        control: postgres(),
    };
    let shard = Shard { name: "s0".into(), servers: vec![place] };
    Arc::new(Fleet::new(FleetConfig::default(), &[shard], None))
}

fn pools_sharing(
    fleet: Arc<Fleet>,
    config: PoolConfig,
    hook: Option<Arc<dyn OnConnect>>,
    budget: Budget,
) -> Pools {
    Pools { cluster: pool::Cluster::new(config, fleet, hook, budget.clone()), budget }
}

fn postgres() -> Arc<Login> {
    Arc::new(Login::new("postgres", Secret::None))
}

fn tier(size: u32) -> TierConfig {
    TierConfig { size, ..TierConfig::default() }
}

fn of(tiers: Vec<TierConfig>) -> PoolConfig {
    PoolConfig { tiers, ..PoolConfig::default() }
}

fn size(size: u32) -> PoolConfig {
    of(vec![tier(size)])
}

/// The same, waiting no longer than [`PATIENCE`].
fn impatient(size: u32) -> PoolConfig {
    of(vec![TierConfig { checkout: PATIENCE, ..tier(size) }])
}

async fn pid(connection: &mut Connection) -> String {
    ask(connection, "SELECT pg_backend_pid()").await.unwrap()
}

#[tokio::test]
async fn a_clean_connection_goes_back_and_a_tainted_one_is_closed() {
    let servers = Cluster::start(1);
    let (pools, login) = (pools(&servers, size(1)), postgres());
    let mut lease = pools.lease(S0, None, &login).await.unwrap();
    let first = pid(&mut lease).await;
    drop(lease);
    let mut lease = pools.lease(S0, None, &login).await.unwrap();
    assert_eq!(pid(&mut lease).await, first);
    lease.taint("the test says so");
    drop(lease);
    let mut lease = pools.lease(S0, None, &login).await.unwrap();
    assert_ne!(pid(&mut lease).await, first);
    assert_eq!(pools.stats()[0].connections, 1);
}

#[tokio::test]
async fn a_connection_whose_user_panics_is_closed() {
    let servers = Cluster::start(1);
    let (pools, login) = (pools(&servers, size(1)), postgres());
    let mut lease = pools.lease(S0, None, &login).await.unwrap();
    let first = pid(&mut lease).await;
    let panicked = std::panic::catch_unwind(AssertUnwindSafe(move || {
        let _held = lease;
        panic!("with a connection in hand");
    }));
    assert!(panicked.is_err());
    let mut lease = pools.lease(S0, None, &login).await.unwrap();
    assert_ne!(pid(&mut lease).await, first);
}

#[tokio::test]
async fn another_database_or_user_gets_another_connection() {
    let servers = Cluster::start(1);
    servers.shard(0).sql("postgres", "CREATE ROLE alice LOGIN").unwrap();
    let pools = pools(&servers, size(1));
    let alice = Arc::new(Login::new("alice", Secret::None));
    let who = "SELECT current_database() || ' ' || current_user";
    let cases = [
        (None, postgres(), "shop postgres"),
        (Some("postgres"), postgres(), "postgres postgres"),
        (None, alice, "shop alice"),
    ];
    let mut held = Vec::new();
    for (database, login, expected) in cases {
        let mut lease = pools.lease(S0, database, &login).await.unwrap();
        assert_eq!(ask(&mut lease, who).await.unwrap(), expected);
        held.push(lease);
    }
    assert_eq!(pools.stats().len(), 3);
}

#[tokio::test]
async fn a_burst_fills_the_pool_in_parallel() {
    let servers = Cluster::start(1);
    let login = postgres();
    let connecting = Arc::new(Busiest::default());
    let pools = pools_with(&servers, size(16), Some(connecting.clone()));
    let held = futures((0..16).map(|_| pools.lease(S0, None, &login))).await;
    let mut pids = HashSet::new();
    for lease in held {
        pids.insert(pid(&mut lease.unwrap()).await);
    }
    assert_eq!(pids.len(), 16);
    assert!(connecting.most.load(Relaxed) > 4, "{connecting:?}");
}

#[tokio::test]
async fn every_waiter_gets_its_turn() {
    let servers = Cluster::start(1);
    let (pools, login) = (pools(&servers, size(4)), postgres());
    let total = Cell::new(0);
    let worker = || async {
        let mut turns = 0;
        while total.get() < 32 * 30 {
            total.set(total.get() + 1);
            let mut lease = pools.lease(S0, None, &login).await.unwrap();
            ask(&mut lease, "SELECT 1").await.unwrap();
            turns += 1;
        }
        turns
    };
    let turns = futures((0..32).map(|_| worker())).await;
    let (least, most) = (turns.iter().min().unwrap(), turns.iter().max().unwrap());
    assert!(least * 2 >= *most, "{turns:?}");
}

#[tokio::test]
async fn a_connection_that_comes_back_is_for_who_waits_not_for_who_asks_next() {
    /// Opens one connection; others take for ever.
    struct OnlyOne(AtomicU32);
    impl OnConnect for OnlyOne {
        fn run<'a>(&'a self, _: &'a mut Connection, _: ShardId) -> Hook<'a> {
            let first = self.0.fetch_add(1, Relaxed) == 0;
            Box::pin(async move {
                match first {
                    true => Ok(()),
                    false => std::future::pending().await,
                }
            })
        }
    }
    let servers = Cluster::start(1);
    let config = PoolConfig { connect_timeout: Duration::from_secs(600), ..size(2) };
    let (pools, login) =
        (pools_with(&servers, config, Some(Arc::new(OnlyOne(AtomicU32::new(0))))), postgres());
    let mut held = Some(pools.lease(S0, None, &login).await.unwrap());
    let mut waits = std::pin::pin!(pools.lease(S0, None, &login));
    let first = std::future::poll_fn(|context| {
        assert!(waits.as_mut().poll(context).is_pending());
        std::task::Poll::Ready(())
    });
    first.await;
    // The one who gives it back asks again at once, and has to wait.
    held.take();
    let again = tokio::time::timeout(Duration::from_millis(50), pools.lease(S0, None, &login));
    assert!(again.await.is_err());
    drop(waits.await.unwrap());
}

#[tokio::test]
async fn a_connection_that_died_while_idle_is_never_handed_out() {
    let servers = Cluster::start(1);
    let (pools, login) = (pools(&servers, size(3)), postgres());
    let held = futures((0..3).map(|_| pools.lease(S0, None, &login))).await;
    drop(held);
    assert_eq!(pools.stats()[0].idle, 3);
    let mut other = pools.lease(S0, Some("postgres"), &login).await.unwrap();
    let others = "FROM pg_stat_activity WHERE datname = 'shop'";
    ask(&mut other, &format!("SELECT pg_terminate_backend(pid) {others}")).await.unwrap();
    while ask(&mut other, &format!("SELECT count(*) {others}")).await.unwrap() != "0" {}
    for _ in 0..3 {
        let mut lease = pools.lease(S0, None, &login).await.unwrap();
        assert_eq!(ask(&mut lease, "SELECT 'alive'").await.unwrap(), "alive");
    }
    assert_eq!(pools.stats().iter().find(|s| s.database == DATABASE).unwrap().connections, 1);
}

#[tokio::test]
async fn a_server_that_is_down_is_told_at_once_to_everybody() {
    let mut servers = Cluster::start(1);
    let (pools, login) = (pools(&servers, size(8)), postgres());
    servers.crash(0);
    let begun = Instant::now();
    for outcome in futures((0..8).map(|_| pools.lease(S0, None, &login))).await {
        let error = outcome.unwrap_err();
        // The first hear it from their connects, the others from the breaker.
        assert!([SqlState::CANNOT_CONNECT, SqlState::CANNOT_CONNECT_NOW].contains(&error.code));
        assert!(error.message.contains("shard s0 (127.0.0.1:"), "{error}");
        assert!(error.message.contains("Connection refused"), "{error}");
    }
    assert!(begun.elapsed() < PoolConfig::default().connect_timeout);
    let stats = &pools.stats()[0];
    assert_eq!((stats.connections, stats.waiting), (0, 0));
}

#[tokio::test]
async fn a_server_without_free_slots_says_so_to_those_who_get_none() {
    let servers = Cluster::start(1);
    servers.shard(0).sql("postgres", "CREATE ROLE alice LOGIN CONNECTION LIMIT 2").unwrap();
    let pools = pools(&servers, size(5));
    let alice = Arc::new(Login::new("alice", Secret::None));
    let outcomes = futures((0..5).map(|_| pools.lease(S0, None, &alice))).await;
    let refused: Vec<_> = outcomes.iter().filter_map(|o| o.as_ref().err()).collect();
    assert_eq!(refused.len(), 3);
    for error in refused {
        assert_eq!(error.code, SqlState::TOO_MANY_CONNECTIONS);
        assert!(error.message.contains("too many connections for role \"alice\""), "{error}");
    }
}

#[tokio::test]
async fn waiting_for_a_connection_ends_with_who_and_how_many() {
    let servers = Cluster::start(1);
    let (pools, login) = (pools(&servers, impatient(1)), postgres());
    let held = pools.lease(S0, None, &login).await.unwrap();
    let waiting = futures((0..3).map(|_| pools.lease(S0, None, &login)));
    let seen = async {
        while pools.stats()[0].waiting != 3 {
            tokio::task::yield_now().await;
        }
    };
    let (outcomes, ()) = tokio::join!(waiting, seen);
    for outcome in outcomes {
        let error = outcome.unwrap_err();
        assert_eq!(error.code, SqlState::TOO_MANY_CONNECTIONS);
        let start = "no connection to shard s0 (127.0.0.1:";
        assert!(error.message.starts_with(start), "{error}");
        let end = "(user postgres, tier interactive, 1 connections)";
        assert!(error.message.ends_with(end), "{error}");
        assert!(error.hint.is_some());
    }
    drop(held);
    assert_eq!(pools.stats()[0].waiting, 0);
    drop(pools.lease(S0, None, &login).await.unwrap());
}

#[tokio::test]
async fn workers_share_one_budget() {
    let servers = Cluster::start(1);
    let (fleet, budget) = (fleet(&servers), Budget::default());
    let worker = || pools_sharing(fleet.clone(), impatient(2), None, budget.clone());
    let (one, other, login) = (worker(), worker(), postgres());
    let held = one.lease(S0, None, &login).await.unwrap();
    let also = other.lease(S0, None, &login).await.unwrap();
    let refused = other.lease(S0, None, &login).await.unwrap_err();
    assert_eq!(refused.code, SqlState::TOO_MANY_CONNECTIONS);
    drop(held);
    drop((also, other.lease(S0, None, &login).await.unwrap()));
}

#[tokio::test]
async fn a_workers_unused_connections_make_room_for_another_worker() {
    let servers = Cluster::start(1);
    let (fleet, budget) = (fleet(&servers), Budget::default());
    let worker = || pools_sharing(fleet.clone(), impatient(3), None, budget.clone());
    let (one, other, login) = (worker(), worker(), postgres());
    drop(futures((0..3).map(|_| one.lease(S0, None, &login))).await);
    assert_eq!((one.stats()[0].connections, one.stats()[0].idle), (3, 3));
    let held = futures((0..3).map(|_| other.lease(S0, None, &login))).await;
    assert!(held.iter().all(Result::is_ok));
    // Never more than the tier's size, whoever has them.
    assert_eq!((one.stats()[0].connections, one.stats()[0].idle), (3, 0));
}

#[tokio::test]
async fn one_tier_cannot_take_another_ones_connections() {
    let servers = Cluster::start(1);
    let batch = TierConfig { name: "batch".into(), checkout: PATIENCE, ..tier(1) };
    let (pools, login) = (pools(&servers, of(vec![tier(2), batch])), postgres());
    let _report = pools.lease_in(TierId::BATCH, S0, None, &login).await.unwrap();
    let refused = pools.lease_in(TierId::BATCH, S0, None, &login).await.unwrap_err();
    assert!(refused.message.contains("tier batch"), "{refused}");
    let order = futures((0..2).map(|_| pools.lease(S0, None, &login))).await;
    assert!(order.iter().all(Result::is_ok));
}

#[tokio::test]
async fn a_full_queue_is_told_at_once() {
    let servers = Cluster::start(1);
    let (pools, login) =
        (pools(&servers, of(vec![TierConfig { queue: 1, ..tier(1) }])), postgres());
    let held = pools.lease(S0, None, &login).await.unwrap();
    let outcomes = futures((0..2).map(async |turn| {
        let outcome = pools.lease(S0, None, &login).await;
        (turn, outcome.map(drop).map_err(|error| error.code))
    }));
    let (mut outcomes, mut held) = (std::pin::pin!(outcomes), Some(held));
    let outcomes = std::future::poll_fn(|context| {
        let polled = outcomes.as_mut().poll(context);
        if pools.stats()[0].waiting == 1 {
            held.take();
        }
        polled
    });
    assert_eq!(outcomes.await, [(0, Ok(())), (1, Err(SqlState::TOO_MANY_CONNECTIONS))]);
}

#[tokio::test]
async fn who_has_waited_long_gets_of_the_reserve() {
    let servers = Cluster::start(1);
    let reserve_after = Duration::from_millis(20);
    let config = of(vec![TierConfig { reserve: 1, reserve_after, ..tier(1) }]);
    let (pools, login) = (pools(&servers, config), postgres());
    let _held = pools.lease(S0, None, &login).await.unwrap();
    let _reserve = pools.lease(S0, None, &login).await.unwrap();
    assert_eq!(pools.stats()[0].connections, 2);
}

#[tokio::test]
async fn a_user_or_a_database_may_be_given_fewer_connections_than_its_tiers_have() {
    let servers = Cluster::start(1);
    let batch = TierConfig { name: "batch".into(), checkout: PATIENCE, ..tier(2) };
    let tiers = || of(vec![TierConfig { checkout: PATIENCE, ..tier(2) }, batch.clone()]);
    let mut of_user = tiers();
    let few = UserConfig { max_connections: Some(2), ..UserConfig::default() };
    of_user.users.insert("postgres".into(), few);
    let of_database = PoolConfig { max_connections: Some(2), ..tiers() };
    for config in [of_user, of_database] {
        let (pools, login) = (pools(&servers, config), postgres());
        let held = futures((0..2).map(|_| pools.lease(S0, None, &login))).await;
        let refused = pools.lease_in(TierId::BATCH, S0, None, &login).await.unwrap_err();
        assert_eq!(refused.code, SqlState::TOO_MANY_CONNECTIONS);
        drop(held);
        // An unused one of the other tier is closed for it.
        drop(pools.lease_in(TierId::BATCH, S0, None, &login).await.unwrap());
        let open: u32 = pools.stats().iter().map(|stats| stats.connections).sum();
        assert!(open <= 2, "{open}");
    }
}

#[tokio::test]
async fn reconnect_closes_unused_connections_now_and_others_when_they_come_back() {
    let servers = Cluster::start(1);
    let fleet = fleet(&servers);
    let pools = pools_sharing(fleet.clone(), size(2), None, Budget::default());
    let login = postgres();
    let (mut held, idle) = (
        pools.lease(S0, None, &login).await.unwrap(),
        pools.lease(S0, None, &login).await.unwrap(),
    );
    drop(idle);
    let old = pid(&mut held).await;
    fleet.crew(S0).unwrap().reconnect();
    pools.cluster.sweep();
    assert_eq!((pools.stats()[0].connections, pools.stats()[0].idle), (1, 0));
    assert_eq!(pid(&mut held).await, old);
    drop(held);
    assert_ne!(pid(&mut pools.lease(S0, None, &login).await.unwrap()).await, old);
}

#[tokio::test]
async fn unused_connections_that_the_server_has_ended_are_not_counted_any_more() {
    let servers = Cluster::start(1);
    let (pools, login) = (pools(&servers, size(2)), postgres());
    let one = pools.lease(S0, None, &login).await.unwrap();
    let other = pools.lease(S0, None, &login).await.unwrap();
    drop((one, other));
    pools.cluster.sweep();
    assert_eq!((pools.stats()[0].connections, pools.stats()[0].idle), (2, 2));
    let end = format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{DATABASE}'"
    );
    servers.shard(0).sql("postgres", &end).unwrap();
    swept_until(&pools, (0, 0)).await;
}

#[tokio::test]
async fn a_few_connections_are_kept_open_and_none_on_a_drained_server() {
    let servers = Cluster::start(1);
    let fleet = fleet(&servers);
    let config = of(vec![TierConfig { min_idle: 2, ..tier(4) }]);
    let pools = pools_sharing(fleet.clone(), config, None, Budget::default());
    let login = postgres();
    drop(pools.lease(S0, None, &login).await.unwrap());
    swept_until(&pools, (2, 2)).await;
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        pools.cluster.sweep();
        assert_eq!(pools.stats()[0].connections, 2, "no more than asked for");
    }
    let crew = fleet.crew(S0).unwrap();
    crew.drain(0);
    swept_until(&pools, (0, 0)).await;
    // For so long that two would be there again.
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        pools.cluster.sweep();
        assert_eq!(pools.stats()[0].connections, 0);
    }
    assert!(pools.lease(S0, None, &login).await.is_err());
    crew.resume();
    drop(pools.lease(S0, None, &login).await.unwrap());
    swept_until(&pools, (2, 2)).await;
}

/// Sweeps as a worker does until so many connections are open and unused.
async fn swept_until(pools: &Pools, expected: (u32, u32)) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        pools.cluster.sweep();
        let now = (pools.stats()[0].connections, pools.stats()[0].idle);
        if now == expected {
            return;
        }
        assert!(Instant::now() < deadline, "{now:?}, not {expected:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_paused_shard_lets_go_on_what_has_begun_and_the_rest_waits() {
    let servers = Cluster::start(1);
    let fleet = fleet(&servers);
    let config = of(vec![TierConfig { checkout: PATIENCE, ..tier(2) }]);
    let pools = pools_sharing(fleet.clone(), config, None, Budget::default());
    let login = postgres();
    let crew = fleet.crew(S0).unwrap();
    let held = pools.lease(S0, None, &login).await.unwrap();
    crew.pause();
    let (wanted, tier, database) = (Wanted::Primary, TierId::INTERACTIVE, None);
    let joins = Ask { shard: S0, wanted, tier, begins: Begins::Before, database, login: &login };
    drop(pools.cluster.lease(joins).await.unwrap());
    let refused = pools.lease(S0, None, &login).await.unwrap_err();
    assert_eq!(refused.message, "shard s0 is paused");
    assert_eq!(crew.outstanding(), 1);
    drop(held);
    assert_eq!(crew.outstanding(), 0);
    let resumed = async {
        tokio::task::yield_now().await;
        crew.resume();
    };
    let (lease, ()) = tokio::join!(pools.lease(S0, None, &login), resumed);
    drop(lease.unwrap());
}

#[tokio::test]
async fn a_connection_that_was_unused_for_long_is_asked_first() {
    let servers = Cluster::start(1);
    let config = PoolConfig { server_check: Duration::ZERO, ..impatient(1) };
    let (pools, login) = (pools(&servers, config), postgres());
    let mut lease = pools.lease(S0, None, &login).await.unwrap();
    let old: i32 = pid(&mut lease).await.parse().unwrap();
    drop(lease);
    // Hung, not dead: its socket stays as it was.
    let signal = |name: &str| {
        let status =
            std::process::Command::new("kill").args(["-s", name, &old.to_string()]).status();
        assert!(status.unwrap().success());
    };
    signal("STOP");
    let fresh = pools.lease(S0, None, &login).await;
    signal("CONT");
    assert_ne!(pid(&mut fresh.unwrap()).await, old.to_string());
}

#[tokio::test]
async fn a_user_may_have_a_pool_of_its_own_size() {
    let servers = Cluster::start(1);
    let mut config = size(1);
    let own = UserConfig { tiers: vec![tier(3)], max_connections: None };
    config.users.insert("postgres".into(), own);
    let (pools, login) = (pools(&servers, config), postgres());
    let outcomes = futures((0..3).map(|_| pools.lease(S0, None, &login))).await;
    assert!(outcomes.iter().all(|outcome| outcome.is_ok()));
    assert_eq!(pools.stats()[0].size, 3);
}

/// Counts the connects that are under way at the same time.
#[derive(Debug, Default)]
struct Busiest {
    now: AtomicU32,
    most: AtomicU32,
}

impl OnConnect for Busiest {
    fn run<'a>(&'a self, connection: &'a mut Connection, _: ShardId) -> Hook<'a> {
        Box::pin(async move {
            self.most.fetch_max(self.now.fetch_add(1, Relaxed) + 1, Relaxed);
            ask(connection, "SELECT pg_sleep(0.1)").await.unwrap();
            self.now.fetch_sub(1, Relaxed);
            Ok(())
        })
    }
}

/// Lets in connections to databases other than `shop`.
struct Fence;

impl OnConnect for Fence {
    fn run<'a>(&'a self, connection: &'a mut Connection, shard: ShardId) -> Hook<'a> {
        Box::pin(async move {
            match ask(connection, "SELECT current_database()").await {
                Ok(name) if name == DATABASE => {
                    let message = format!("shard {shard} has another placement");
                    Err(Error::shard(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, message))
                }
                Ok(_) | Err(_) => Ok(()),
            }
        })
    }
}

#[tokio::test]
async fn what_the_fence_says_is_what_the_client_hears() {
    let servers = Cluster::start(1);
    let pools = pools_with(&servers, size(2), Some(Arc::new(Fence)));
    let login = postgres();
    let error = pools.lease(S0, None, &login).await.unwrap_err();
    assert_eq!(error.code, SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE);
    assert_eq!(error.message, "shard 0 has another placement");
    drop(pools.lease(S0, Some("postgres"), &login).await.unwrap());
}

/// Runs all at once on this thread; the outcomes in order.
async fn futures<F: Future>(all: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let mut all: Vec<_> = all.into_iter().map(|f| (Box::pin(f), None)).collect();
    std::future::poll_fn(|context| {
        let mut waiting = false;
        for (future, done) in &mut all {
            if done.is_none() {
                match future.as_mut().poll(context) {
                    std::task::Poll::Ready(output) => *done = Some(output),
                    std::task::Poll::Pending => waiting = true,
                }
            }
        }
        if waiting { std::task::Poll::Pending } else { std::task::Poll::Ready(()) }
    })
    .await;
    all.into_iter().filter_map(|(_, done)| done).collect()
}

#[tokio::test]
async fn more_users_than_pools_take_turns() {
    let servers = Cluster::start(1);
    for user in ["u0", "u1", "u2"] {
        servers.shard(0).sql("postgres", &format!("CREATE ROLE {user} LOGIN")).unwrap();
    }
    let pools = pools(&servers, PoolConfig { max_pools: 2, ..size(1) });
    let login = |name: &str| Arc::new(Login::new(name, Secret::None));
    for user in ["u0", "u1", "u2", "u0"] {
        let mut lease = pools.lease(S0, None, &login(user)).await.unwrap();
        assert_eq!(ask(&mut lease, "SELECT current_user").await.unwrap(), user);
    }
    let _held = pools.lease(S0, None, &login("u0")).await.unwrap();
    let _too = pools.lease(S0, None, &login("u1")).await.unwrap();
    let error = pools.lease(S0, None, &login("u2")).await.unwrap_err();
    assert!(error.message.contains("pools are in use"), "{error}");
}

/// A crowd in each of two workers: how many connections were made for how many leases.
fn connects_of_a_crowd(servers: &Cluster, config: &PoolConfig) -> (usize, usize) {
    const CLIENTS: usize = 8;
    const TURNS: usize = 50;
    let (fleet, budget) = (fleet(servers), Budget::default());
    let ids = std::sync::Mutex::new(HashSet::new());
    let end = tokio::sync::Barrier::new(2);
    let work = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let worker = pools_sharing(fleet.clone(), config.clone(), None, budget.clone());
            let login = postgres();
            let clients = futures((0..CLIENTS).map(async |_| {
                for _ in 0..TURNS {
                    let mut lease = worker.lease(S0, None, &login).await.unwrap();
                    ask(&mut lease, "SELECT 1").await.unwrap();
                    ids.lock().unwrap().insert(lease.id);
                }
            }));
            clients.await;
            // Each worker's runtime drives the sockets that it has opened.
            end.wait().await;
        });
    };
    std::thread::scope(|scope| {
        scope.spawn(work);
        scope.spawn(work);
    });
    (ids.into_inner().unwrap().len(), 2 * CLIENTS * TURNS)
}

#[test]
fn a_crowd_in_several_workers_shares_the_connections_instead_of_making_new_ones() {
    let servers = Cluster::start(1);
    // What is kept ready in one worker is closed for another now and then; nobody waits in vain.
    for (what, config, most) in [
        ("size", size(4), 200),
        ("min_idle", of(vec![TierConfig { min_idle: 2, ..tier(4) }]), 800),
        ("max_server_connections", PoolConfig { max_connections: Some(2), ..size(4) }, 200),
    ] {
        let (connects, leases) = connects_of_a_crowd(&servers, &config);
        println!("{what}: {connects} connections for {leases} leases");
        assert!(connects <= most, "{what}: {connects} connections for {leases} leases");
    }
}
