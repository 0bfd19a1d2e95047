//! What transactions over several shards have left behind is brought to its end: by every weir, at its
//! start, every now and then, when a shard is back, and when a session knows of something.
//!
//! Several may do it at the same time, also while the transaction's own weir is alive: the anchor's record
//! is what all of them go by, and whoever writes it first has decided.
use super::assemble::Shared;
use crate::backend::commit_record::{self, Offers, Verdict};
use crate::backend::control::Client;
use crate::error::{Error, SqlState};
use crate::ids::ShardId;
use crate::rules::Rules;
use crate::session::{ServerSet, Serving};
use crate::txn::two_phase::{Gid, Key};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// For one question to a shard; longer decisions are asked for again.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two looks at whether a shard is back.
const GLANCE: Duration = Duration::from_secs(1);

/// The shards as far as they can be reached, by their names.
pub type Reached = BTreeMap<String, Result<Client, Error>>;

/// Something prepared, and what has become of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Leftover {
    pub shard: String,
    pub gid: String,
    pub age: Duration,
    pub fate: Fate,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It is younger than the grace period: its own weir is most likely at work.
    Young,
    /// It is finished now; or, where nothing is to be done, it would be.
    Finished(Verdict),
    /// Nobody has decided yet; where nothing is to be done.
    Undecided,
    /// Why it stays for now.
    Stays(String),
}

/// What is done about what is found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    Finish,
    Look,
}

/// Looks at all shards, and finishes what is older than `grace`, or has been given up.
pub async fn recover(
    shards: &Reached,
    cluster: &str,
    grace: Duration,
    given_up: &[Key],
    mode: Mode,
) -> Vec<Leftover> {
    let prefix = Key::prefix(cluster);
    let (mut leftovers, mut verdicts) = (Vec::new(), HashMap::new());
    let mut keys = Vec::new();
    let mut all_answered = true;
    for (shard, client) in shards {
        let found = match client {
            Ok(client) => within(commit_record::prepared(client, &prefix)).await,
            Err(error) => Err(error.clone()),
        };
        let (Ok(client), Ok(found)) = (client, found) else {
            all_answered = false;
            continue;
        };
        for found in found {
            let gid = Gid::parse(&found.gid).filter(|gid| gid.participant == *shard);
            let fate = match gid {
                None => Fate::Stays("it has another shard's name".to_owned()),
                Some(Gid { key, .. }) => {
                    keys.push(key.to_string());
                    match found.age < grace && !given_up.contains(&key) {
                        true => Fate::Young,
                        false => {
                            let fate = end(shards, &key, &mut verdicts, mode).await;
                            carry_out(client, &found.gid, fate, mode).await
                        }
                    }
                }
            };
            let commit_record::Found { gid, age } = found;
            leftovers.push(Leftover { shard: shard.clone(), gid, age, fate });
        }
    }
    if all_answered && mode == Mode::Finish {
        prune(shards, &keys).await;
    }
    leftovers
}

/// What the anchor says.
async fn end(shards: &Reached, key: &Key, verdicts: &mut HashMap<Key, Fate>, mode: Mode) -> Fate {
    if let Some(known) = verdicts.get(key) {
        return known.clone();
    }
    let fate = match shards.get(key.anchor()) {
        None => Fate::Stays(format!("shard {} is not in the rules", key.anchor())),
        Some(Err(error)) => Fate::Stays(error.message.clone()),
        Some(Ok(anchor)) => match mode {
            Mode::Finish => {
                match within(commit_record::judge(anchor, key.as_str(), PATIENCE)).await {
                    Ok(verdict) => Fate::Finished(verdict),
                    Err(error) => Fate::Stays(error.message),
                }
            }
            Mode::Look => match within(commit_record::known(anchor, key.as_str())).await {
                Ok(Some(verdict)) => Fate::Finished(verdict),
                Ok(None) => Fate::Undecided,
                Err(error) => Fate::Stays(error.message),
            },
        },
    };
    verdicts.insert(key.clone(), fate.clone());
    fate
}

async fn carry_out(client: &Client, gid: &str, fate: Fate, mode: Mode) -> Fate {
    match (&fate, mode) {
        (Fate::Finished(verdict), Mode::Finish) => {
            match within(commit_record::finish(client, gid, *verdict, PATIENCE)).await {
                Ok(()) => fate,
                Err(error) => Fate::Stays(error.message),
            }
        }
        (Fate::Finished(_), Mode::Look)
        | (Fate::Young | Fate::Undecided | Fate::Stays(_), Mode::Finish | Mode::Look) => fate,
    }
}

async fn prune(shards: &Reached, keys: &[String]) {
    for (shard, client) in shards {
        let Ok(client) = client else { continue };
        if let Err(error) = within(commit_record::prune(client, keys)).await {
            tracing::debug!(%error, shard, "old commit records stay");
        }
    }
}

async fn within<T>(asking: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    timeout(PATIENCE * 2, asking).await.unwrap_or_else(|_| {
        Err(Error::shard(SqlState::CONNECTION_FAILURE, "the shard does not answer"))
    })
}

/// Recovers every database, for as long as this weir runs.
pub async fn watch(shared: Arc<Shared>) {
    let mut watching = tokio::task::JoinSet::new();
    for name in shared.databases.keys().cloned() {
        watching.spawn(watch_one(shared.clone(), name));
    }
    while watching.join_next().await.is_some() {}
}

async fn watch_one(shared: Arc<Shared>, name: String) {
    loop {
        let Some(source) = shared.databases.get(&name) else { return };
        let serving = source.serving.load_full();
        if let Some(cluster) = serving.servers.footing.cluster() {
            let settings = shared.config.load().recovery.clone();
            let given_up = serving.servers.footing.given_up();
            let shards = reach(&serving).await;
            note_offers(&serving, &shards).await;
            let left = recover(&shards, cluster, settings.grace, &given_up, Mode::Finish).await;
            if shards.values().all(Result::is_ok)
                && !left.iter().any(|other| matches!(other.fate, Fate::Stays(_)))
            {
                serving.servers.footing.forget(&given_up);
            }
            drop(shards);
            note(&shared, &name, &left);
            let left = left.into_iter().filter(|other| !matches!(other.fate, Fate::Finished(_)));
            source.in_doubt.store(Arc::new(left.collect()));
        }
        wait(&serving, shared.config.load().recovery.interval).await;
    }
}

/// Until the next round: its time has come, a shard is back, or a session has left something.
async fn wait(serving: &Serving, interval: Duration) {
    let (fleet, footing) = (&serving.servers.fleet, &serving.servers.footing);
    let (deadline, changes) = (Instant::now() + interval, fleet.changes());
    while Instant::now() < deadline && fleet.changes() == changes {
        let glance = GLANCE.min(deadline.saturating_duration_since(Instant::now()));
        tokio::select! {
            () = footing.left_behind.notified() => return,
            () = sleep(glance) => {}
        }
    }
}

async fn reach(serving: &Serving) -> Reached {
    let mut shards = Reached::new();
    for id in serving.rules.shard_ids() {
        let client = match serving.servers.fleet.primary(id) {
            Ok(primary) => primary.control().await,
            Err(error) => Err(error),
        };
        shards.insert(serving.rules.shard_name(id).to_owned(), client);
    }
    shards
}

async fn note_offers(serving: &Serving, shards: &Reached) {
    for id in serving.rules.shard_ids() {
        let name = serving.rules.shard_name(id);
        let Some(Ok(client)) = shards.get(name) else { continue };
        if let Ok(offers) = within(commit_record::offers(client)).await {
            say(&serving.servers, id, name, offers);
        }
    }
}

fn note(shared: &Shared, database: &str, left: &[Leftover]) {
    let metrics = &shared.metrics;
    let (mut waiting, mut oldest) = (0, Duration::ZERO);
    for Leftover { shard, gid, age, fate } in left {
        match fate {
            Fate::Finished(verdict) => {
                let outcome = match verdict {
                    Verdict::Committed => "committed",
                    Verdict::Aborted => "rolled_back",
                };
                metrics.recovered.with_label_values(&[database, outcome]).inc();
                tracing::info!(
                    database,
                    shard,
                    gid,
                    outcome,
                    "a prepared transaction was finished"
                );
            }
            Fate::Young => {}
            Fate::Undecided | Fate::Stays(_) => {
                waiting += 1;
                oldest = oldest.max(*age);
            }
        }
        if let Fate::Stays(why) = fate {
            tracing::warn!(database, shard, gid, why, "a prepared transaction is in doubt");
        }
    }
    metrics.in_doubt.with_label_values(&[database]).set(waiting);
    metrics.in_doubt_seconds.with_label_values(&[database]).set(oldest.as_secs_f64());
}

/// What each shard offers to transactions over several. One that does not answer keeps what was known.
pub async fn look_at_all(rules: &Rules, servers: &ServerSet) {
    if rules.is_plain() {
        return;
    }
    for shard in rules.shard_ids() {
        match look(servers, shard).await {
            Ok(Looked { offers, strangers, prunes }) => {
                say(servers, shard, rules.shard_name(shard), offers);
                say_strangers(rules.shard_name(shard), &strangers);
                if !prunes {
                    let shard = rules.shard_name(shard);
                    let message = format!(
                        "weir's own user cannot delete old commit records on shard {shard}"
                    );
                    let hint = "GRANT SELECT, DELETE ON weir.commit_record and pg_read_all_stats to it, \
                                or the table grows for ever";
                    tracing::warn!(message = message, hint = hint);
                }
            }
            Err(error) => tracing::debug!(%error, "a shard could not be looked at"),
        }
    }
}

/// What weir wants to know of a shard when it starts.
struct Looked {
    offers: Offers,
    strangers: Vec<String>,
    prunes: bool,
}

async fn look(servers: &ServerSet, shard: ShardId) -> Result<Looked, Error> {
    let client = servers.fleet.primary(shard)?.control().await?;
    Ok(Looked {
        offers: commit_record::offers(&client).await?,
        strangers: commit_record::strangers(&client).await?,
        prunes: commit_record::prunes(&client).await?,
    })
}

fn say_strangers(shard: &str, strangers: &[String]) {
    if !strangers.is_empty() {
        let message = format!(
            "on shard {shard} weir's own user cannot finish transactions over several shards of {}",
            strangers.join(", ")
        );
        let hint = "GRANT those of these roles that write to weir's user, or make it a superuser";
        tracing::warn!(message = message, hint = hint);
    }
}

fn say(servers: &ServerSet, shard: ShardId, name: &str, offers: Offers) {
    let Some(lack) = servers.footing.saw(shard, offers) else { return };
    let refusal = lack.refusal(name);
    tracing::warn!(message = refusal.message, hint = refusal.hint);
}
