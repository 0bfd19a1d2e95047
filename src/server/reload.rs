//! SIGHUP: weir.toml, the rules files and the files they name are read again. All or nothing: a file with
//! a problem, a database that has come or gone, or rules that would put rows elsewhere than the
//! shards say, and everything stays as it was. Running transactions finish under the rules they
//! began with.
use super::admin::open_gate;
use super::assemble::{
    Shared, Source, fleet_config, read_rules, refuse_session_pooling, refuse_without_control,
    rules_version, shape_rules, shards,
};
use super::config::Config;
use super::door::open_door;
use super::fence::Fence;
use super::{recovery, schema};
use crate::error::{Blame, Error, SqlState};
use crate::pool::{self, Fleet, probe};
use crate::rules::{Rules, placement};
use crate::session::{ServerSet, Serving};
use crate::txn::footing::Footing;
use std::collections::HashSet;
use std::sync::Arc;

/// What a reload has in force from now on, and what it has not.
#[derive(Debug, PartialEq, Eq)]
pub struct Reloaded {
    /// Settings that have changed in the file and that only a restart would apply.
    pub waiting_for_restart: Vec<&'static str>,
}

/// One database's next state.
struct Renewed<'a> {
    source: &'a Source,
    serving: Serving,
    fence: Arc<Fence>,
}

pub async fn reload(shared: &Arc<Shared>, config: Config) -> Result<Reloaded, Error> {
    let door = open_door(&config)?;
    // The port goes on listening where it does.
    let gate = open_gate(&config, shared.config.load().listen.admin)?;
    let mut renewed = Vec::new();
    let mut seen = HashSet::new();
    for path in &config.rules {
        let rules = read_rules(path, &config)?;
        refuse_session_pooling(&rules, &config)?;
        refuse_without_control(&rules, &config)?;
        let Some(source) = shared.databases.get(&rules.database) else {
            return Err(refused(format!("database \"{}\" is new", rules.database)));
        };
        if !seen.insert(rules.database.clone()) {
            let twice = format!("two rules files describe database \"{}\"", rules.database);
            return Err(Error::new(SqlState(*b"F0000"), Blame::Rules, twice));
        }
        renewed.push(renew(shared, source, rules, &config).await?);
    }
    if renewed.len() < shared.databases.len() {
        return Err(refused("a database has gone from the rules files".to_owned()));
    }
    let reloaded = Reloaded { waiting_for_restart: fixed(&shared.config.load(), &config) };
    // From here on nothing fails.
    shared.config.store(Arc::new(config));
    shared.door.store(Arc::new(door));
    shared.gate.store(Arc::new(gate));
    for Renewed { source, serving, fence } in renewed {
        source.commons.shapes.configure(shape_rules(&shared.config.load()));
        let labels = [serving.rules.database.as_str()];
        let version = rules_version(&serving.rules);
        shared.metrics.rules_version.with_label_values(&labels).set(version);
        source.fence.store(fence);
        source.serving.store(Arc::new(serving));
    }
    Ok(reloaded)
}

async fn renew<'a>(
    shared: &Shared,
    source: &'a Source,
    mut rules: Rules,
    config: &Config,
) -> Result<Renewed<'a>, Error> {
    let current = source.serving.load_full();
    rules.version = crate::ids::RulesVersion(current.rules.version.0 + 1);
    let shards = shards(&rules, config, &shared.connecting.within(config))?;
    let before = &current.servers.fleet;
    let fleet = Arc::new(Fleet::new(fleet_config(config), &shards, Some(before)));
    probe::look_at_all(&fleet).await;
    let fence = Arc::new(Fence::verified(&rules, &fleet).await?);
    let known = schema::read(&rules, &fleet).await?;
    let keeps_pools = same_pools(&shared.config.load(), config)
        && same_servers(&current.rules, &rules)
        && !shards.iter().flat_map(|shard| &shard.servers).any(reads_certificates);
    let (servers, fence) = match keeps_pools {
        true => (current.servers.clone(), source.fence.load_full()),
        false => {
            let on_connect: Arc<dyn pool::OnConnect> = fence.clone();
            probe::watch(&fleet);
            let footing = Arc::new(Footing::new(fence.cluster()));
            let servers = Arc::new(ServerSet { fleet, on_connect: Some(on_connect), footing });
            recovery::look_at_all(&rules, &servers).await;
            (servers, fence)
        }
    };
    let serving = known.serving(Arc::new(rules), servers, Some(&current));
    Ok(Renewed { source, serving, fence })
}

/// The same servers, and every row in the same place on them.
fn same_servers(old: &Rules, new: &Rules) -> bool {
    let addresses = |rules: &Rules| -> Vec<(String, Vec<String>)> {
        rules.shards.iter().map(|shard| (shard.primary.clone(), shard.replicas.clone())).collect()
    };
    let gather = |rules: &Rules| rules.gather.as_ref().map(|gather| gather.dsn.clone());
    addresses(old) == addresses(new)
        && gather(old) == gather(new)
        && placement::describe(old) == placement::describe(new)
}

/// What these files hold may have changed under the same name.
fn reads_certificates(place: &pool::Place) -> bool {
    let address = &place.address;
    address.root_certificate.is_some() || address.client_certificate.is_some()
}

/// Whether pools made under the one configuration are right under the other.
fn same_pools(old: &Config, new: &Config) -> bool {
    let users = |config: &Config| -> Vec<_> {
        let users = config.users.iter();
        let sizes = |user: &super::config::User| {
            (user.name.clone(), user.pool_size, user.reserve, user.max_server_connections)
        };
        users.map(sizes).collect()
    };
    old.pool == new.pool
        && old.tiers == new.tiers
        && old.timeouts == new.timeouts
        && old.probe == new.probe
        && old.breaker == new.breaker
        && old.replicas == new.replicas
        && old.databases == new.databases
        && old.control == new.control
        && users(old) == users(new)
}

/// Settings that a running process cannot change; `config::listed` says the same of their names.
fn fixed(old: &Config, new: &Config) -> Vec<&'static str> {
    let changed = [
        ("listen", old.listen != new.listen),
        ("the tiers' names", old.tiers() != new.tiers()),
        ("workers", old.workers != new.workers),
        ("limits", old.limits != new.limits),
        ("logging", old.logging != new.logging),
        ("tracing", old.tracing != new.tracing),
    ];
    changed.into_iter().filter(|(_, changed)| *changed).map(|(name, _)| name).collect()
}

fn refused(message: String) -> Error {
    Error::new(SqlState(*b"F0000"), Blame::Rules, message)
        .hint("restart weir to serve other databases")
}
