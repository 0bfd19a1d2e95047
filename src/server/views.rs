//! Clients, connections, users and memory as the console shows them.
use super::assemble::{Shared, Source};
use super::config::{Config, PoolMode};
use super::console::Console;
use crate::admin::system::{Memory, Setting, Side, Socket, State, User};
use crate::pool::Entry;
use crate::session::cancel::{Clients, Slot};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::SystemTime;

/// Everybody who has logged in; consoles come last.
pub fn clients(console: &Console) -> Vec<Socket> {
    let shared = &console.shared;
    let mut links = HashMap::new();
    for entry in shared.roll().entries() {
        entry.client().map(|client| links.entry(client).or_insert(entry.id));
    }
    let now = SystemTime::now();
    let mut sockets = of_clients(&shared.clients, &links, now);
    let config = shared.config.load();
    for socket in &mut sockets {
        socket.pool_mode = Some(pool_mode(shared, &config, &socket.database, &socket.user));
    }
    let own = of_clients(&console.clients, &HashMap::new(), now).into_iter();
    sockets.extend(own.map(|socket| Socket { pool_mode: Some("statement"), ..socket }));
    sockets
}

fn pool_mode(shared: &Shared, config: &Config, database: &str, user: &str) -> &'static str {
    match shared.source(database) {
        Some(source) => {
            let serving = source.serving.load();
            mode(shared.pool_mode(database, user, &serving.rules))
        }
        None => config_mode(config.pool_mode(database, user)),
    }
}

pub fn mode(mode: crate::session::PoolMode) -> &'static str {
    match mode {
        crate::session::PoolMode::Session => "session",
        crate::session::PoolMode::Transaction => "transaction",
        crate::session::PoolMode::Statement => "statement",
    }
}

pub fn config_mode(mode: PoolMode) -> &'static str {
    match mode {
        PoolMode::Session => "session",
        PoolMode::Transaction => "transaction",
        PoolMode::Statement => "statement",
    }
}

fn of_clients(clients: &Clients, links: &HashMap<u32, u64>, now: SystemTime) -> Vec<Socket> {
    clients.all().iter().filter_map(|slot| of_client(slot, links, now)).collect()
}

fn of_client(slot: &Arc<Slot>, links: &HashMap<u32, u64>, now: SystemTime) -> Option<Socket> {
    let view = slot.shown.view()?;
    let link = links.get(&slot.pid).copied();
    let wait = view.waiting_since.map(|since| now.duration_since(since).unwrap_or_default());
    Some(Socket {
        side: Side::Client,
        id: slot.pid.into(),
        state: match (wait, link) {
            (Some(_), _) => State::Waiting,
            (None, Some(_)) => State::Active,
            (None, None) if slot.is_answering() => State::Active,
            (None, None) => State::Idle,
        },
        user: view.facts.user,
        database: view.facts.database,
        peer: view.facts.peer,
        local: view.facts.local,
        connected: view.facts.connected,
        requested: view.requested,
        wait: wait.unwrap_or_default(),
        close_needed: false,
        link,
        remote_pid: 0,
        tls: view.facts.tls,
        application_name: view.application_name,
        prepared: view.prepared,
        pool_mode: None,
        shard: None,
        server: None,
        tier: None,
    })
}

/// Every connection of every pool.
pub fn connections(shared: &Shared) -> Vec<Socket> {
    let names: HashMap<u32, String> = shared
        .clients
        .all()
        .iter()
        .filter_map(|slot| Some((slot.pid, slot.shown.view()?.application_name)))
        .collect();
    let (now, check) = (SystemTime::now(), shared.config.load().timeouts.server_check);
    let socket = |entry: Arc<Entry>| {
        let requested = entry.requested();
        let unused = now.duration_since(requested).unwrap_or_default();
        let link = entry.client();
        Socket {
            side: Side::Server,
            id: entry.id,
            user: entry.whose.user.clone(),
            database: served_as(&entry.whose.label, &entry.whose.database).to_owned(),
            state: match entry.is_leased() {
                true => State::Active,
                false if unused >= check => State::Used,
                false => State::Idle,
            },
            peer: entry.peer,
            local: entry.local,
            connected: entry.connected,
            requested,
            wait: Default::default(),
            close_needed: entry.is_closing(),
            link: link.map(u64::from),
            remote_pid: entry.pid,
            tls: entry.tls.clone(),
            application_name: link
                .and_then(|client| names.get(&client).cloned())
                .unwrap_or_default(),
            prepared: entry.prepared(),
            pool_mode: None,
            shard: Some(entry.server.shard.clone()),
            server: Some(entry.server.id.number.into()),
            tier: Some(entry.whose.tier.clone()),
        }
    };
    shared.roll().entries().into_iter().map(socket).collect()
}

/// What clients call a database: where any name is served, the server's is the one that was asked for.
pub fn served_as<'a>(label: &'a str, database: &'a str) -> &'a str {
    if label == "*" { database } else { label }
}

/// Users of the configuration, of the users file, and whoever is there.
pub fn users(console: &Console) -> Vec<User> {
    let shared = &console.shared;
    let (config, door) = (shared.config.load(), shared.door.load());
    let mut clients = BTreeMap::<String, u32>::new();
    for socket in of_clients(&shared.clients, &HashMap::new(), SystemTime::now()) {
        *clients.entry(socket.user).or_default() += 1;
    }
    let mut connections = BTreeMap::<String, u32>::new();
    for entry in shared.roll().entries() {
        *connections.entry(entry.whose.user.clone()).or_default() += 1;
    }
    let mut names: BTreeSet<String> = door.users.names().map(str::to_owned).collect();
    names.extend(config.users.iter().map(|user| user.name.clone()));
    names.extend(clients.keys().chain(connections.keys()).cloned());
    let limit = |limit: Option<usize>| limit.map(|limit| u32::try_from(limit).unwrap_or(u32::MAX));
    let user = |name: String| {
        let own = config.user(&name);
        User {
            pool_size: limit(own.and_then(|own| own.pool_size)),
            pool_mode: own.and_then(|own| own.pool_mode).map(config_mode),
            tier: own.and_then(|own| own.tier.clone()),
            max_connections: limit(own.and_then(|own| own.max_server_connections)),
            connections: connections.get(&name).copied().unwrap_or_default(),
            max_clients: limit(own.and_then(|own| own.max_clients)),
            clients: clients.get(&name).copied().unwrap_or_default(),
            name,
        }
    };
    names.into_iter().map(user).collect()
}

/// At least: what a connection has in its buffers comes on top.
pub fn memory(console: &Console) -> Vec<Memory> {
    let shared = &console.shared;
    let size = |bytes: usize| bytes as u64;
    let connections = shared.roll().entries().len() as u64;
    let mut kinds = vec![
        Memory { name: "clients", size: size(CLIENT_BYTES), used: shared.clients.len() as u64 },
        Memory { name: "consoles", size: size(CLIENT_BYTES), used: console.clients.len() as u64 },
        Memory { name: "server_connections", size: size(CONNECTION_BYTES), used: connections },
        Memory { name: "pools", size: size(POOL_BYTES), used: shared.census().len() as u64 },
        Memory {
            name: "databases",
            size: size(size_of::<Source>()),
            used: shared.databases.len() as u64,
        },
    ];
    kinds.extend(resident().map(|used| Memory { name: "process", size: 1, used }));
    kinds
}

/// What an idle client takes, its task included (docs/performance.md).
const CLIENT_BYTES: usize = 8 * 1024;
const CONNECTION_BYTES: usize =
    size_of::<crate::backend::Connection>() + size_of::<crate::pool::Entry>();
const POOL_BYTES: usize = size_of::<crate::pool::PoolStats>();

/// Bytes of memory that the process has now, as Linux says.
fn resident() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

pub fn settings(shared: &Shared) -> Vec<Setting> {
    let listed = shared.config.load().listed().into_iter();
    listed
        .map(|one| Setting {
            key: one.key,
            value: one.value,
            default: one.default,
            changeable: one.changeable,
        })
        .collect()
}
