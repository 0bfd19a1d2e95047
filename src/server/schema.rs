//! The schema in force: read at the start, again when a weir of the cluster says that it has changed,
//! and now and then, to find what was changed behind weir's back.
//!
//! One task for each database with distributions. It is a member of the database's weirs
//! (`backend::members`) while its connection to the home shard stands.
use super::assemble::{control_client, control_client_of};
use super::config::Config;
use crate::backend::catalog::{self, Contents};
use crate::backend::control::Client;
use crate::backend::members::{Heard, Member};
use crate::backend::translate::Translation;
use crate::error::{Error, SqlState};
use crate::ids::ShardId;
use crate::plan::Catalog;
use crate::pool::{Fleet, Place, Server};
use crate::rules::Rules;
use crate::session::Serving;
use crate::session::spread::{Spread, Spreader, Spreading};
use arc_swap::ArcSwap;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until, timeout_at};

/// How long a schema change waits for the other weirs.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two attempts to reach the home shard.
const PAUSE: Duration = Duration::from_secs(1);
/// Schema changes that wait at the same time.
const WAITING: usize = 1024;

/// What the servers' catalogs say, as a [`Serving`] has it.
#[derive(Default)]
pub struct Known {
    pub catalog: Catalog,
    pub translations: Vec<Option<Arc<Translation>>>,
    pub fingerprints: Vec<String>,
}

/// Reads all shards. Plain databases load nothing: nothing is resolved for them.
pub async fn read(rules: &Rules, fleet: &Fleet) -> Result<Known, Error> {
    if rules.is_plain() {
        return Ok(Known::default());
    }
    let mut contents = Vec::new();
    for shard in rules.shard_ids() {
        let client = control_client(fleet, shard).await?;
        contents.push(Some(catalog::load(&client).await?));
    }
    known(rules, contents, None)
}

/// `None`: that shard could not be read, and what was known of it stays.
fn known(
    rules: &Rules,
    contents: Vec<Option<Contents>>,
    before: Option<&Serving>,
) -> Result<Known, Error> {
    let at = |id: ShardId| usize::from(id.0);
    let home = contents.get(at(rules.home)).and_then(Option::as_ref);
    let home = home.ok_or_else(|| Error::internal("the home shard has not been read"))?.clone();
    let mut all = before.map(|serving| Contents::of(&serving.catalog)).unwrap_or_default();
    let mut known = Known::default();
    for (id, contents) in rules.shard_ids().zip(contents) {
        let (translation, fingerprint) = match contents {
            Some(there) => {
                let translation = Translation::new(&home.objects, &there.objects).map(Arc::new);
                let fingerprint = there.fingerprint.clone();
                all.take_from(there, id, rules);
                (translation, fingerprint)
            }
            None => {
                let translation = before.and_then(|serving| serving.translation(id));
                let fingerprint = before.and_then(|serving| serving.fingerprints.get(at(id)));
                (translation, fingerprint.cloned().unwrap_or_default())
            }
        };
        known.translations.push(translation);
        known.fingerprints.push(fingerprint);
    }
    known.catalog = all.catalog();
    Ok(known)
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
    /// Connections to the shards' primaries, as far as they stand.
    shards: HashMap<ShardId, (Arc<Server>, Client)>,
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
            let Some(renewed) = self.changed(member, &current).await? else { return Ok(()) };
            let database = &renewed.rules.database;
            tracing::info!(database, "the schema has changed");
            let before = self.serving.compare_and_swap(&current, Arc::new(renewed));
            if Arc::ptr_eq(&before, &current) {
                return Ok(());
            }
        }
        Ok(())
    }

    async fn changed(&self, member: &Member, current: &Serving) -> Result<Option<Serving>, Error> {
        let rules = &current.rules;
        let mut same = true;
        for id in rules.shard_ids() {
            let Some(client) = self.client(member, id, rules) else { continue };
            let fingerprint = match catalog::fingerprint(client).await {
                Ok(fingerprint) => fingerprint,
                Err(error) if id == rules.home => return Err(error),
                Err(_) => continue,
            };
            same &= current.fingerprints.get(usize::from(id.0)) == Some(&fingerprint);
        }
        if same {
            return Ok(None);
        }
        let mut contents = Vec::new();
        for id in rules.shard_ids() {
            contents.push(match self.client(member, id, rules) {
                None => None,
                Some(client) => match catalog::load(client).await {
                    Ok(contents) => Some(contents),
                    Err(error) if id == rules.home => return Err(error),
                    Err(_) => None,
                },
            });
        }
        let known = known(rules, contents, Some(current))?;
        Ok(Some(Serving {
            rules: rules.clone(),
            catalog_version: known.catalog.version,
            catalog: Arc::new(known.catalog),
            translations: known.translations,
            fingerprints: known.fingerprints,
            servers: current.servers.clone(),
        }))
    }

    fn client<'c>(&'c self, member: &'c Member, id: ShardId, rules: &Rules) -> Option<&'c Client> {
        if id == rules.home {
            return Some(&member.client);
        }
        self.shards.get(&id).map(|(_, client)| client)
    }

    /// Connects to the shards beside the home shard. One that cannot be reached is looked at later.
    async fn connect(&mut self, serving: &Serving) {
        for id in serving.rules.shard_ids().filter(|id| *id != serving.rules.home) {
            let connected = match serving.servers.fleet.primary(id) {
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
                    tracing::warn!(%error, "a shard's schema cannot be looked at");
                    self.shards.remove(&id);
                }
            }
        }
    }
}

fn lost() -> Error {
    Error::shard(SqlState::CONNECTION_FAILURE, "the connection to the home shard was lost")
}
