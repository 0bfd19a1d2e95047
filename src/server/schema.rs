//! The schema in force: read at the start, again when a weir of the cluster says that it has changed,
//! and now and then, to find what was changed behind weir's back.
//!
//! One task for each database with distributions. It is a member of the database's weirs
//! (`backend::members`) while its connection to the home shard stands.
use super::assemble::{control_client, control_client_of};
use super::config::Config;
use super::gather::{Judge, Witnesses};
use crate::backend::catalog::{self, Contents};
use crate::backend::control::Client;
use crate::backend::members::{Heard, Member};
use crate::backend::translate::Translation;
use crate::error::{Error, SqlState};
use crate::ids::ShardId;
use crate::plan::Catalog;
use crate::pool::{Fleet, Place, Server};
use crate::rules::Rules;
use crate::session::spread::{Spread, Spreader, Spreading};
use crate::session::{GatherState, Servers, Serving};
use arc_swap::ArcSwap;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

/// How long a schema change waits for the other weirs.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a look at the gather database may take: others wait for who looks.
const GATHER_PATIENCE: Duration = Duration::from_secs(4);
/// Between two attempts to reach the home shard.
const PAUSE: Duration = Duration::from_secs(1);
/// Schema changes that wait at the same time.
const WAITING: usize = 1024;

/// What the servers' catalogs say, as a [`Serving`] has it.
pub struct Known {
    catalog: Catalog,
    translations: Vec<Option<Arc<Translation>>>,
    fingerprints: Vec<String>,
    gather: GatherState,
}

impl Known {
    /// In force with these rules and servers; `before`: what was.
    pub fn serving(self, rules: Arc<Rules>, servers: Servers, before: Option<&Serving>) -> Serving {
        let places =
            |rules: &Rules| rules.gather.as_ref().map_or(0, |gather| gather.max_concurrent);
        let gathering = match before {
            Some(before) if places(&before.rules) == places(&rules) => before.gathering.clone(),
            Some(_) | None => Arc::new(Semaphore::new(places(&rules))),
        };
        Serving {
            catalog_version: self.catalog.version,
            catalog: Arc::new(self.catalog),
            translations: self.translations,
            fingerprints: self.fingerprints,
            gather: self.gather,
            gathering,
            rules,
            servers,
        }
    }
}

/// The shards, and behind them the gather database, if there is one.
fn members(rules: &Rules) -> impl Iterator<Item = ShardId> + '_ {
    rules.shard_ids().chain(rules.gather_shard())
}

/// Reads all shards, and the gather database if it is there. Plain databases load nothing: nothing is
/// resolved for them.
pub async fn read(rules: &Rules, fleet: &Fleet) -> Result<Known, Error> {
    if rules.is_plain() {
        let (translations, fingerprints) = (Vec::new(), Vec::new());
        let (catalog, gather) = (Catalog::default(), GatherState::None);
        return Ok(Known { catalog, translations, fingerprints, gather });
    }
    let mut contents = Vec::new();
    let mut clients = Vec::new();
    for shard in rules.shard_ids() {
        let client = control_client(fleet, shard).await?;
        contents.push(Some(catalog::load(&client).await?));
        clients.push((shard, client));
    }
    let mut gather = None;
    if let Some(id) = rules.gather_shard() {
        let client = control_client(fleet, id).await;
        contents.push(match &client {
            Ok(client) => {
                let loaded = timeout(GATHER_PATIENCE, catalog::load(client)).await;
                loaded.ok().and_then(Result::ok)
            }
            Err(_) => None,
        });
        gather = Some(client);
    }
    let witnesses = Witnesses {
        shards: clients.iter().map(|(shard, client)| (*shard, client)).collect(),
        gather: match &gather {
            Some(Ok(client)) => Ok(client),
            Some(Err(error)) => Err(error.message.clone()),
            None => Err("there is none".to_owned()),
        },
    };
    let mut judge = Judge::default();
    let state = match timeout(GATHER_PATIENCE, judge.look(rules, &witnesses)).await {
        Ok(state) => state,
        Err(_) => GatherState::Unreachable(format!("it said nothing for {GATHER_PATIENCE:?}")),
    };
    say(&rules.database, &state);
    known(rules, contents, state, None)
}

fn say(database: &str, state: &GatherState) {
    match state {
        GatherState::None => {}
        GatherState::Ready => tracing::info!(database, "the gather database is ready"),
        GatherState::Differs(why) | GatherState::Unreachable(why) => {
            tracing::warn!(database, why, "the gather database cannot be used");
        }
    }
}

/// `None`: that member could not be read, and what was known of it stays.
fn known(
    rules: &Rules,
    contents: Vec<Option<Contents>>,
    gather: GatherState,
    before: Option<&Serving>,
) -> Result<Known, Error> {
    let at = |id: ShardId| usize::from(id.0);
    let home = contents.get(at(rules.home)).and_then(Option::as_ref);
    let home = home.ok_or_else(|| Error::internal("the home shard has not been read"))?.clone();
    let mut all = before.map(|serving| Contents::of(&serving.catalog)).unwrap_or_default();
    let (mut translations, mut fingerprints) = (Vec::new(), Vec::new());
    for (id, contents) in members(rules).zip(contents) {
        let (translation, fingerprint) = match contents {
            Some(there) => {
                let translation = Translation::new(&home.objects, &there.objects).map(Arc::new);
                let fingerprint = there.fingerprint.clone();
                if rules.gather_shard() != Some(id) {
                    all.take_from(there, id, rules);
                }
                (translation, fingerprint)
            }
            None => {
                let translation = before.and_then(|serving| serving.translation(id));
                let fingerprint = before.and_then(|serving| serving.fingerprints.get(at(id)));
                (translation, fingerprint.cloned().unwrap_or_default())
            }
        };
        translations.push(translation);
        fingerprints.push(fingerprint);
    }
    Ok(Known { catalog: all.catalog(), translations, fingerprints, gather })
}

/// A database's task, and the way to ask it.
pub struct Keeper {
    pub spreader: Spreader,
    task: AbortHandle,
}

impl Keeper {
    /// `None` for a plain database.
    pub fn start(serving: &Arc<ArcSwap<Serving>>, config: &Arc<Config>) -> Option<Self> {
        if serving.load().rules.is_plain() {
            return None;
        }
        let (spreader, wishes) = mpsc::channel(WAITING);
        let watch = Watch {
            serving: serving.clone(),
            config: config.clone(),
            wishes,
            shards: HashMap::new(),
            no_gather: String::new(),
            judge: Judge::default(),
        };
        let task = tokio::spawn(watch.run()).abort_handle();
        Some(Self { spreader, task })
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Watch {
    serving: Arc<ArcSwap<Serving>>,
    config: Arc<Config>,
    wishes: mpsc::Receiver<Spread>,
    /// Connections to the members' primaries, as far as they stand.
    shards: HashMap<ShardId, (Arc<Server>, Client)>,
    /// Why there is no connection to the gather database, if there is none.
    no_gather: String,
    judge: Judge,
}

/// Why a membership ended.
enum Over {
    /// The connection to the home shard.
    Lost(Error),
    /// The home shard is another server now.
    Moved,
    /// Nobody asks any more.
    Done,
}

impl Watch {
    async fn run(mut self) {
        loop {
            let over = match self.join().await {
                Ok((home, member)) => self.keep(&home, member).await,
                Err(error) => Over::Lost(error),
            };
            match over {
                Over::Done => return,
                Over::Moved => {}
                Over::Lost(error) => {
                    let database = self.serving.load().rules.database.clone();
                    tracing::warn!(%error, database, "cannot hear of schema changes");
                    self.answer_unsure(&error, Instant::now() + PAUSE).await;
                }
            }
        }
    }

    async fn join(&self) -> Result<(Arc<Server>, Member), Error> {
        let serving = self.serving.load_full();
        let home = serving.servers.fleet.primary(serving.rules.home)?;
        let Place { address, options, control } = &home.place;
        let member = Member::join(address, control, options, &home.name).await?;
        Ok((home, member))
    }

    /// While there is no membership, nobody can say who knows what.
    async fn answer_unsure(&mut self, error: &Error, until: Instant) {
        while let Ok(wish) = timeout_at(until, self.wishes.recv()).await {
            let Some(wish) = wish else { return };
            // Whoever has stopped waiting needs no answer.
            drop(wish.send(Spreading::Unsure(error.message.clone())));
        }
    }

    async fn keep(&mut self, home: &Arc<Server>, mut member: Member) -> Over {
        let mut next_look = Instant::now();
        loop {
            let outcome = tokio::select! {
                wish = self.wishes.recv() => match wish {
                    None => return Over::Done,
                    Some(wish) if self.is_home(home) => self.spread(&mut member, wish).await,
                    Some(wish) => {
                        let moved = "the home shard's primary has changed".to_owned();
                        drop(wish.send(Spreading::Unsure(moved)));
                        return Over::Moved;
                    }
                },
                heard = member.hear() => match heard {
                    None => Err(lost()),
                    Some(heard) => self.act_on(&member, heard).await,
                },
                () = sleep_until(next_look) => {
                    next_look = Instant::now() + self.config.control.catalog_interval;
                    self.look(&member).await
                }
                () = gather_is_back(self.serving.clone()) => self.look(&member).await,
            };
            if let Err(error) = outcome {
                return Over::Lost(error);
            }
            if !self.is_home(home) {
                return Over::Moved;
            }
        }
    }

    /// Whether that server still is the home shard's primary.
    fn is_home(&self, home: &Arc<Server>) -> bool {
        let serving = self.serving.load();
        let primary = serving.servers.fleet.primary(serving.rules.home);
        primary.is_ok_and(|primary| Arc::ptr_eq(&primary, home))
    }

    async fn act_on(&mut self, member: &Member, heard: Heard) -> Result<(), Error> {
        match heard {
            Heard::Changed => self.look(member).await,
            Heard::RollCall(roll) => {
                self.look(member).await?;
                member.answer(&roll).await
            }
            // Of a roll-call that was not waited for any longer.
            Heard::Answer { .. } => Ok(()),
        }
    }

    /// Sees the change itself, then asks all others to.
    async fn spread(&mut self, member: &mut Member, first: Spread) -> Result<(), Error> {
        let mut waiting = vec![first];
        while let Ok(wish) = self.wishes.try_recv() {
            waiting.push(wish);
        }
        let outcome = self.spread_to_all(member).await;
        let told = match &outcome {
            Ok(told) => told.clone(),
            Err(error) => Spreading::Unsure(error.message.clone()),
        };
        for wish in waiting {
            // Whoever has stopped waiting needs no answer.
            drop(wish.send(told.clone()));
        }
        outcome.map(|_| ())
    }

    async fn spread_to_all(&mut self, member: &mut Member) -> Result<Spreading, Error> {
        let deadline = Instant::now() + PATIENCE;
        self.look(member).await?;
        let mut missing = member.others().await?;
        if missing.is_empty() {
            return Ok(Spreading::Everywhere);
        }
        let ours = member.call_roll().await?;
        while !missing.is_empty() {
            let Ok(heard) = timeout_at(deadline, member.hear()).await else {
                // A weir that has ended meanwhile owes no answer.
                let still = member.others().await?;
                missing.retain(|pid| still.contains(pid));
                break;
            };
            match heard.ok_or_else(lost)? {
                Heard::Answer { roll, pid } if roll == ours => {
                    missing.remove(&pid);
                }
                heard => self.act_on(member, heard).await?,
            }
        }
        Ok(match missing.len() {
            0 => Spreading::Everywhere,
            weirs => Spreading::NotBy(weirs),
        })
    }

    /// Compares the shards' fingerprints with those in force, and reads what has changed.
    async fn look(&mut self, member: &Member) -> Result<(), Error> {
        /// A reload of the rules may come between; it does not come again and again.
        const ATTEMPTS: usize = 5;
        for _ in 0..ATTEMPTS {
            let current = self.serving.load_full();
            self.connect(&current).await;
            let gather = self.gather(member, &current.rules).await;
            let Some(renewed) = self.changed(member, &current, gather).await? else {
                return Ok(());
            };
            let database = renewed.rules.database.clone();
            if renewed.fingerprints != current.fingerprints {
                tracing::info!(database, "the schema has changed");
            }
            if renewed.gather != current.gather {
                say(&database, &renewed.gather);
            }
            let before = self.serving.compare_and_swap(&current, Arc::new(renewed));
            if Arc::ptr_eq(&before, &current) {
                return Ok(());
            }
        }
        Ok(())
    }

    async fn gather(&mut self, member: &Member, rules: &Rules) -> GatherState {
        let mut judge = std::mem::take(&mut self.judge);
        let client = |id| self.client(member, id, rules);
        let witnesses = Witnesses {
            shards: rules.shard_ids().filter_map(|id| Some((id, client(id)?))).collect(),
            gather: rules.gather_shard().and_then(client).ok_or_else(|| self.no_gather.clone()),
        };
        let state = timeout(GATHER_PATIENCE, judge.look(rules, &witnesses)).await;
        self.judge = judge;
        state.unwrap_or_else(|_| {
            // Whoever looks at the members next would wait again.
            rules.gather_shard().map(|id| self.shards.remove(&id));
            GatherState::Unreachable(format!("it said nothing for {GATHER_PATIENCE:?}"))
        })
    }

    async fn changed(
        &self,
        member: &Member,
        current: &Serving,
        gather: GatherState,
    ) -> Result<Option<Serving>, Error> {
        let rules = &current.rules;
        let mut same = true;
        for id in members(rules) {
            let Some(client) = self.client(member, id, rules) else { continue };
            let fingerprint = match catalog::fingerprint(client).await {
                Ok(fingerprint) => fingerprint,
                Err(error) if id == rules.home => return Err(error),
                Err(_) => continue,
            };
            same &= current.fingerprints.get(usize::from(id.0)) == Some(&fingerprint);
        }
        if same {
            let renewed = Serving { gather, ..current.clone() };
            return Ok((renewed.gather != current.gather).then_some(renewed));
        }
        let mut contents = Vec::new();
        for id in members(rules) {
            contents.push(match self.client(member, id, rules) {
                None => None,
                Some(client) => match catalog::load(client).await {
                    Ok(contents) => Some(contents),
                    Err(error) if id == rules.home => return Err(error),
                    Err(_) => None,
                },
            });
        }
        let known = known(rules, contents, gather, Some(current))?;
        Ok(Some(known.serving(rules.clone(), current.servers.clone(), Some(current))))
    }

    fn client<'c>(&'c self, member: &'c Member, id: ShardId, rules: &Rules) -> Option<&'c Client> {
        if id == rules.home {
            return Some(&member.client);
        }
        self.shards.get(&id).map(|(_, client)| client)
    }

    /// Connects to the members beside the home shard. One that cannot be reached is looked at later.
    async fn connect(&mut self, serving: &Serving) {
        let gather = serving.rules.gather_shard();
        for id in members(&serving.rules).filter(|id| *id != serving.rules.home) {
            let fleet = &serving.servers.fleet;
            // Nobody is to wait for the gather database.
            let primary = match gather == Some(id) {
                true => fleet.answering_primary(id),
                false => fleet.primary(id),
            };
            let connected = match primary {
                Ok(primary) => {
                    let stands = self.shards.get(&id).is_some_and(|(server, client)| {
                        Arc::ptr_eq(server, &primary) && !client.is_closed()
                    });
                    if stands {
                        continue;
                    }
                    control_client_of(&primary).await.map(|client| (primary, client))
                }
                Err(error) => Err(error),
            };
            match connected {
                Ok(client) => drop(self.shards.insert(id, client)),
                Err(error) => {
                    self.shards.remove(&id);
                    match gather == Some(id) {
                        true => self.no_gather = error.message,
                        false => tracing::warn!(%error, "a shard's schema cannot be looked at"),
                    }
                }
            }
        }
    }
}

/// Waits until the gather database can be reached again.
async fn gather_is_back(serving: Arc<ArcSwap<Serving>>) {
    /// Between two looks at what probes have found.
    const GLANCE: Duration = Duration::from_secs(1);
    loop {
        sleep(GLANCE).await;
        let serving = serving.load();
        let gather = serving.rules.gather_shard();
        let there = gather.is_some_and(|id| serving.servers.fleet.answering_primary(id).is_ok());
        if there && matches!(serving.gather, GatherState::Unreachable(_)) {
            return;
        }
    }
}

fn lost() -> Error {
    Error::shard(SqlState::CONNECTION_FAILURE, "the connection to the home shard was lost")
}
