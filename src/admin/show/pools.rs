//! SHOW POOLS: connections and who waits for them, in PgBouncer's columns; a row for each database and user,
//! over all shards and tiers. SHOW SHARD_POOLS tells those apart. What weir does not tell apart is 0.
use super::{Show, us_part};
use crate::admin::system::{Socket, State, System};
use crate::admin::table::{Cell, Table, integer, text};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub struct Pools;

/// One row's numbers.
#[derive(Default)]
struct Sum {
    clients: [u32; 2],
    active: u32,
    idle: u32,
    used: u32,
    max_wait: Duration,
    pool_mode: &'static str,
    servers: u32,
    tiers: u32,
}

type Sums = BTreeMap<(String, String), Sum>;

impl Show for Pools {
    fn name(&self) -> &'static str {
        "POOLS"
    }

    fn help(&self) -> &'static str {
        "clients and server connections of each database and user"
    }

    fn table(&self, system: &dyn System) -> Table {
        const NONE: Cell = Cell::Integer(0);
        let mut table = Table::new([
            text("database"),
            text("user"),
            integer("cl_active"),
            integer("cl_waiting"),
            integer("cl_active_cancel_req"),
            integer("cl_waiting_cancel_req"),
            integer("sv_active"),
            integer("sv_active_cancel"),
            integer("sv_being_canceled"),
            integer("sv_idle"),
            integer("sv_used"),
            integer("sv_tested"),
            integer("sv_login"),
            integer("maxwait"),
            integer("maxwait_us"),
            text("pool_mode"),
            text("load_balance_hosts"),
            integer("servers"),
            integer("tiers"),
        ]);
        for ((database, user), sum) in sums(system) {
            let [active, waiting] = sum.clients;
            table.push([
                database.into(),
                user.into(),
                active.into(),
                waiting.into(),
                NONE,
                NONE,
                sum.active.into(),
                NONE,
                NONE,
                sum.idle.into(),
                sum.used.into(),
                NONE,
                NONE,
                sum.max_wait.as_secs().into(),
                us_part(sum.max_wait),
                sum.pool_mode.into(),
                Cell::Null,
                sum.servers.into(),
                sum.tiers.into(),
            ]);
        }
        table
    }
}

fn sums(system: &dyn System) -> Sums {
    let mut sums = Sums::new();
    let mut seen = BTreeMap::<_, (BTreeSet<_>, BTreeSet<_>)>::new();
    for pool in system.pools() {
        let key = (pool.database, pool.user);
        let (servers, tiers) = seen.entry(key.clone()).or_default();
        servers.insert((pool.shard, pool.server));
        tiers.insert(pool.tier);
        let sum = sums.entry(key).or_default();
        sum.pool_mode = pool.pool_mode;
        sum.max_wait = sum.max_wait.max(pool.max_wait);
    }
    for (key, (servers, tiers)) in seen {
        let sum = sums.entry(key).or_default();
        (sum.servers, sum.tiers) = (count(servers.len()), count(tiers.len()));
    }
    for socket in system.connections() {
        let sum = of(&mut sums, &socket);
        match socket.state {
            State::Active | State::Waiting => sum.active += 1,
            State::Idle => sum.idle += 1,
            State::Used => sum.used += 1,
        }
    }
    for socket in system.clients() {
        let sum = of(&mut sums, &socket);
        if let (Some(mode), "") = (socket.pool_mode, sum.pool_mode) {
            sum.pool_mode = mode;
        }
        let [active, waiting] = &mut sum.clients;
        match socket.state {
            State::Active | State::Idle | State::Used => *active += 1,
            State::Waiting => {
                *waiting += 1;
                sum.max_wait = sum.max_wait.max(socket.wait);
            }
        }
    }
    sums
}

fn of<'a>(sums: &'a mut Sums, socket: &Socket) -> &'a mut Sum {
    sums.entry((socket.database.clone(), socket.user.clone())).or_default()
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
