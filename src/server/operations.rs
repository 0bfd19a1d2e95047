//! weir as its console sees it: views of what workers share, and what operators do to it.
use super::assemble::{Shared, Source};
use super::config::Config;
use super::console::{self, Console};
use super::recovery::{Fate, Leftover};
use super::{maps, stats, steering, views};
use crate::admin::system::{
    Breaker, Buckets, Doing, Ending, HotKey, HotRow, Memory, Place, Plan, Pool, Prepared, Probe,
    Question, Role, Rule, Server, Setting, Sizes, Socket, StatementBreaker, Stats, System, Tier,
    User,
};
use crate::backend::Address;
use crate::backend::address::Host;
use crate::backend::sighting::{self, Sighting};
use crate::error::{Error, SqlState};
use crate::ids::ShardId;
use crate::plan::{self, Context};
use crate::pool::{self, Crew, Drained, PoolStats, Primary, Standing, Traffic};
use crate::rules::{Distribution, Rules};
use crate::session::Serving;
use crate::wire::params::{Params, Value};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// Between two looks at whether what runs has ended.
const PACE: Duration = Duration::from_millis(20);
/// Rows that SHOW HOT_ROWS shows.
const HOTTEST: usize = 100;

impl System for Console {
    fn pools(&self) -> Vec<Pool> {
        let mut census = self.shared.census();
        let order = |pool: &PoolStats| {
            let place = (pool.label.clone(), pool.shard.clone(), pool.server.number);
            (place, pool.database.clone(), pool.user.clone(), pool.tier.clone())
        };
        census.sort_by_cached_key(order);
        census.into_iter().map(|stats| pool(&self.shared, stats)).collect()
    }

    fn clients(&self) -> Vec<Socket> {
        views::clients(self)
    }

    fn connections(&self) -> Vec<Socket> {
        views::connections(&self.shared)
    }

    fn arriving(&self) -> usize {
        self.shared.arriving.load(Relaxed)
    }

    fn users(&self) -> Vec<User> {
        views::users(self)
    }

    fn memory(&self) -> Vec<Memory> {
        views::memory(self)
    }

    fn settings(&self) -> Vec<Setting> {
        views::settings(&self.shared)
    }

    fn stats(&self) -> Vec<Stats> {
        stats::stats(&self.shared)
    }

    fn buckets(&self) -> Vec<Buckets> {
        maps::buckets(&self.shared)
    }

    fn rules(&self) -> Vec<Rule> {
        maps::rules(&self.shared)
    }

    fn hot_keys(&self) -> Vec<HotKey> {
        maps::hot_keys(&self.shared)
    }

    fn plans(&self) -> Vec<Plan> {
        maps::plans(&self.shared)
    }

    fn servers(&self) -> Vec<Server> {
        let census = self.shared.census();
        let config = self.shared.config.load();
        let mut servers = Vec::new();
        for (database, serving) in servings(&self.shared) {
            for crew in serving.servers.fleet.shards() {
                let known = crew.servers.iter().zip(crew.standings());
                servers.extend(known.map(|(server, (standing, lag))| {
                    let ours =
                        |pool: &&PoolStats| pool.label == database && pool.server == server.id;
                    let connections = census.iter().filter(ours).map(|pool| pool.connections).sum();
                    let clients = count(self.shared.seats.of_database(&database));
                    let sizes = sizes(&config, &database, clients);
                    let shard = server.id.shard;
                    let buckets = buckets(&serving.rules, shard);
                    let own = Own { disabled: self.shared.is_disabled(&database), buckets };
                    view(&database, crew, server, (&standing, lag), connections, sizes, own)
                }));
            }
        }
        servers
    }

    fn breakers(&self) -> Vec<StatementBreaker> {
        let (tiers, now) = (self.shared.tiers(), Instant::now());
        let mut breakers = Vec::new();
        for (database, source) in sources(&self.shared) {
            let serving = source.serving.load();
            let refused = source.commons.shapes.refused(now).into_iter();
            breakers.extend(refused.map(|refused| StatementBreaker {
                database: database.to_owned(),
                shard: refused.shape.shard.map(|shard| shard_name(&serving, shard)),
                tier: tiers.get(usize::from(refused.shape.tier.0)).cloned().unwrap_or_default(),
                shape: format!("{:08x}", refused.shape.fingerprint >> 32),
                breaker: Breaker {
                    state: refused.state.as_str(),
                    remaining: refused.reason.remaining,
                    reason: Some(refused.reason.text.to_string()),
                },
            }));
        }
        breakers
    }

    fn hot_rows(&self) -> Vec<HotRow> {
        let mut rows = Vec::new();
        for (database, source) in sources(&self.shared) {
            let serving = source.serving.load();
            let hottest = source.commons.hot_rows.hottest(HOTTEST).into_iter();
            rows.extend(hottest.map(|row| HotRow {
                database: database.to_owned(),
                shard: shard_name(&serving, row.shard),
                key: row.key.to_string(),
                waiting: row.waiting as u64,
                waits: row.waits,
            }));
        }
        rows.sort_by_key(|row| std::cmp::Reverse((row.waiting, row.waits)));
        rows.truncate(HOTTEST);
        rows
    }

    fn transactions(&self) -> Vec<Prepared> {
        let of_source = |(database, source): (&str, &Source)| -> Vec<Prepared> {
            let left = source.in_doubt.load_full();
            let show = |left: &Leftover| {
                let (state, reason) = match &left.fate {
                    Fate::Young => ("prepared", None),
                    Fate::Finished(_) => ("finished", None),
                    Fate::Undecided => ("in doubt", None),
                    Fate::Stays(why) => ("in doubt", Some(why.clone())),
                };
                Prepared {
                    database: database.to_owned(),
                    shard: left.shard.clone(),
                    gid: left.gid.clone(),
                    age: left.age,
                    state: state.to_owned(),
                    reason,
                }
            };
            left.iter().map(show).collect()
        };
        sources(&self.shared).into_iter().flat_map(of_source).collect()
    }

    fn tiers(&self) -> Vec<Tier> {
        let config = self.shared.config.load();
        let resolved = self.shared.tiers().iter().map(|name| config.tier("", "", name));
        resolved
            .map(|tier| Tier {
                size: count(tier.size),
                min_idle: count(tier.min_idle),
                reserve: count(tier.reserve),
                reserve_after: tier.reserve_after,
                queue: count(tier.queue),
                checkout: tier.checkout,
                statement: tier.statement,
                idle_in_transaction: tier.idle_in_transaction,
                total: tier.total,
                server_idle: tier.server_idle,
                server_lifetime: tier.server_lifetime,
                slow_statement: tier.slow_statement,
                name: tier.name,
            })
            .collect()
    }

    fn explain(&self, question: &Question) -> Result<String, Error> {
        let known = sources(&self.shared);
        let only = match known.as_slice() {
            [only] => Some(*only),
            _ => None,
        };
        let named = |name: &String| known.iter().find(|known| known.0 == *name).copied();
        let found = question.database.as_ref().map_or(only, named);
        let Some((_, source)) = found else {
            let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
            return Err(no_database(question.database.as_deref().unwrap_or_default(), &names));
        };
        let serving = source.serving.load_full();
        let context = Context {
            rules: &serving.rules,
            catalog: &serving.catalog,
            search_path: question.search_path.as_deref().unwrap_or("\"$user\", public"),
            user: question.user.as_deref().unwrap_or("postgres"),
            standard_conforming_strings: true,
            temporary: &[],
            named_shard: None,
        };
        let values: Vec<Value<'_>> = question
            .parameters
            .iter()
            .map(|text| text.as_ref().map_or(Value::Null, |text| Value::Text(text.as_bytes())))
            .collect();
        let statement = question.statement.trim().trim_end_matches(';');
        Ok(plan::explain(statement, &context, &Params { types: &[], values: &values }))
    }

    fn pause<'a>(&'a self, place: &'a Place) -> Doing<'a> {
        Box::pin(async move {
            let found = find(&self.shared, place)?;
            found.iter().flat_map(Found::crews).for_each(Crew::pause);
            until(|| found.iter().flat_map(Found::crews).all(|crew| crew.outstanding() == 0)).await;
            Ok(())
        })
    }

    fn resume<'a>(&'a self, place: &'a Place) -> Doing<'a> {
        Box::pin(async move {
            find(&self.shared, place)?.iter().flat_map(Found::crews).for_each(Crew::resume);
            Ok(())
        })
    }

    fn reconnect<'a>(&'a self, place: &'a Place) -> Doing<'a> {
        Box::pin(async move {
            find(&self.shared, place)?.iter().flat_map(Found::crews).for_each(Crew::reconnect);
            Ok(())
        })
    }

    fn drain<'a>(&'a self, place: &'a Place) -> Doing<'a> {
        Box::pin(async move {
            let found = find(&self.shared, place)?;
            let mut drained = Vec::new();
            for crew in found.iter().flat_map(Found::crews) {
                for server in servers_of(crew, place)? {
                    crew.drain(server.id.number);
                    drained.push(server.clone());
                }
            }
            until(|| drained.iter().all(|server| server.outstanding() == 0)).await;
            Ok(())
        })
    }

    fn kill<'a>(&'a self, place: &'a Place) -> Doing<'a> {
        Box::pin(steering::kill(&self.shared, place))
    }

    fn kill_client<'a>(&'a self, id: &'a str) -> Doing<'a> {
        Box::pin(steering::kill_client(self, id))
    }

    fn disable<'a>(&'a self, place: &'a Place) -> Doing<'a> {
        Box::pin(async move { steering::disable(&self.shared, place, true) })
    }

    fn enable<'a>(&'a self, place: &'a Place) -> Doing<'a> {
        Box::pin(async move { steering::disable(&self.shared, place, false) })
    }

    fn wait_close<'a>(&'a self, place: &'a Place) -> Doing<'a> {
        Box::pin(steering::wait_close(&self.shared, place))
    }

    fn shut_down(&self, ending: Ending) -> Doing<'_> {
        Box::pin(async move {
            steering::shut_down(self, ending);
            Ok(())
        })
    }

    fn set<'a>(&'a self, name: &str, value: &str) -> Option<Doing<'a>> {
        steering::set(self, name, value)
    }

    fn reload(&self) -> Doing<'_> {
        Box::pin(async move {
            let shared = self.shared.clone();
            let reloading = self.main.spawn(async move { console::reload(&shared).await });
            let ended = |_| Error::internal("the reload ended before its time");
            reloading.await.map_err(ended)?.map(drop)
        })
    }
}

/// The databases by name, as they are served now.
fn servings(shared: &Shared) -> Vec<(String, Arc<Serving>)> {
    let sources = sources(shared).into_iter();
    sources.map(|(name, source)| (name.to_owned(), source.serving.load_full())).collect()
}

pub fn sources(shared: &Shared) -> Vec<(&str, &Source)> {
    let mut sources: Vec<_> =
        shared.databases.iter().map(|(name, source)| (name.as_str(), source)).collect();
    sources.sort_by_key(|(name, _)| *name);
    sources
}

fn shard_name(serving: &Serving, shard: ShardId) -> String {
    let crew = serving.servers.fleet.crew(shard);
    crew.map_or_else(|_| String::new(), |crew| crew.name.clone())
}

fn no_database(name: &str, known: &[&str]) -> Error {
    let message = format!("database \"{name}\" does not exist");
    Error::client(SqlState::INVALID_CATALOG_NAME, message)
        .hint(format!("those known are {}", known.join(", ")))
}

/// A database, and which of its shards is meant.
pub struct Found {
    serving: Arc<Serving>,
    shard: Option<String>,
}

impl Found {
    pub fn database(&self) -> &str {
        &self.serving.rules.database
    }

    pub fn crews(&self) -> impl Iterator<Item = &Crew> {
        let crews = self.serving.servers.fleet.shards().iter();
        crews.filter(|crew| self.shard.as_ref().is_none_or(|shard| crew.name == *shard))
    }
}

/// What a place names; an error lists what there is.
pub fn find(shared: &Shared, place: &Place) -> Result<Vec<Found>, Error> {
    let servings = servings(shared);
    let names: Vec<_> = servings.iter().map(|(name, _)| name.clone()).collect();
    let meant = |name: &String| place.database.as_ref().is_none_or(|database| name == database);
    let found: Vec<Found> = servings
        .into_iter()
        .filter(|(name, _)| meant(name))
        .map(|(_, serving)| Found { serving, shard: place.shard.clone() })
        .collect();
    if let (true, Some(database)) = (found.is_empty(), &place.database) {
        return Err(no_database(database, &names.iter().map(String::as_str).collect::<Vec<_>>()));
    }
    if let (true, Some(shard)) = (found.iter().all(|f| f.crews().next().is_none()), &place.shard) {
        let shards = found.iter().flat_map(|found| found.serving.servers.fleet.shards());
        let shards: Vec<&str> = shards.map(|crew| crew.name.as_str()).collect();
        let message = format!("shard \"{shard}\" does not exist");
        return Err(Error::client(SqlState::UNDEFINED_OBJECT, message)
            .hint(format!("those known are {}", shards.join(", "))));
    }
    Ok(found)
}

/// The servers of a shard that a place means: the one of its number, or all.
fn servers_of<'a>(crew: &'a Crew, place: &Place) -> Result<&'a [Arc<pool::Server>], Error> {
    let Some(number) = &place.server else { return Ok(&crew.servers) };
    let index = number.parse::<usize>().ok();
    let found = index.and_then(|index| crew.servers.get(index..=index));
    found.ok_or_else(|| {
        let message = format!("shard {} has no server \"{number}\"", crew.name);
        Error::client(SqlState::UNDEFINED_OBJECT, message)
            .hint("a server is named by its number in SHOW SHARDS")
    })
}

pub async fn until(mut so: impl FnMut() -> bool) {
    while !so() {
        tokio::time::sleep(PACE).await;
    }
}

fn pool(shared: &Shared, stats: PoolStats) -> Pool {
    let database = views::served_as(&stats.label, &stats.database).to_owned();
    let serving = shared.source(&database).map(|source| source.serving.load_full());
    let mode = serving.map(|serving| shared.pool_mode(&database, &stats.user, &serving.rules));
    Pool {
        pool_mode: mode.map_or("transaction", views::mode),
        size: stats.size,
        database,
        user: stats.user,
        shard: stats.shard,
        server: stats.server.number.into(),
        tier: stats.tier,
        active: stats.connections.saturating_sub(stats.idle),
        idle: stats.idle,
        waiting: stats.waiting,
        max_wait: stats.longest_wait,
    }
}

fn view(
    database: &str,
    crew: &Crew,
    server: &pool::Server,
    (standing, lag): (&Standing, Option<Duration>),
    connections: u32,
    sizes: Sizes,
    own: Own,
) -> Server {
    let (state, reason) = server.breaker(Instant::now());
    let number = server.id.number;
    let seen = standing.seen.as_ref();
    Server {
        database: database.to_owned(),
        shard: crew.name.clone(),
        number: number.into(),
        host: host(&server.place.address),
        port: server.place.address.port.into(),
        dbname: server.place.address.dbname.clone(),
        role: role(crew, number, seen),
        state: match (standing, crew.is_up(number), seen) {
            (Standing { drained: Drained::Yes, .. }, ..) => "drained",
            (_, false, _) => "down",
            (Standing { stranger: Some(_), .. }, ..) => "stranger",
            (_, true, None) => "unknown",
            (_, true, Some(_)) => "up",
        },
        paused: crew.traffic() == Traffic::Paused,
        drained: standing.drained == Drained::Yes,
        disabled: own.disabled,
        buckets: own.buckets,
        probe: Probe {
            latency: standing.latency,
            missed: standing.missed,
            problem: standing.problem.clone(),
            system_identifier: seen.map(|seen| seen.system_identifier.to_string()),
            timeline: seen.map(|seen| seen.timeline),
            lsn: seen.map(|seen| seen.lsn.to_string()),
            lag,
        },
        breaker: Breaker {
            state: state.as_str(),
            remaining: reason.as_ref().and_then(|reason| reason.remaining),
            reason: reason.map(|reason| reason.text.to_string()),
        },
        connections,
        outstanding: server.outstanding(),
        sizes,
    }
}

/// What a server's row says besides the server itself.
struct Own {
    disabled: bool,
    buckets: Option<u32>,
}

/// Of all distributions; `None`: nothing is sharded.
fn buckets(rules: &Rules, shard: ShardId) -> Option<u32> {
    let here = |distribution: &Distribution| {
        count(distribution.map.iter().filter(|at| **at == shard).count())
    };
    (!rules.is_plain()).then(|| rules.distributions.iter().map(here).sum())
}

fn role(crew: &Crew, number: u8, seen: Option<&Sighting>) -> Role {
    match (crew.primary(), seen.map(|seen| seen.role)) {
        (Primary::Known(primary), _) if primary == number => Role::Primary,
        (_, Some(sighting::Role::Replica)) => Role::Replica,
        (_, Some(sighting::Role::Primary)) => Role::Other,
        (_, None) => Role::Unknown,
    }
}

fn host(address: &Address) -> String {
    match &address.host {
        Host::Tcp { name, connect } => connect.as_ref().unwrap_or(name).clone(),
        Host::Unix(directory) => directory.display().to_string(),
    }
}

fn sizes(config: &Config, database: &str, clients: u32) -> Sizes {
    let tier = config.tier(database, "", super::config::INTERACTIVE);
    Sizes {
        force_user: config.database(database).and_then(|own| own.user.clone()),
        pool_mode: views::config_mode(config.pool_mode(database, "")),
        size: count(tier.size),
        min_idle: count(tier.min_idle),
        reserve: count(tier.reserve),
        server_lifetime: tier.server_lifetime,
        max_connections: config.server_connections_of_database(database).map(count),
        max_clients: config.clients_of_database(database).map(count),
        clients,
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
