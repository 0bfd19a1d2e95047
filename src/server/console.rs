//! Clients of the database `weir`: who is let in, and what a reload does.
use super::assemble::Shared;
use super::config::{Changes, Config, Loaded};
use super::reload::{self, Reloaded};
use crate::admin::console::{self, May};
use crate::auth::hba::Origin;
use crate::error::{Blame, Error, SqlState};
use crate::exec::line::Line;
use crate::session::cancel::Clients;
use crate::session::shown::Facts;
use crate::session::startup::{self, Door};
use crate::wire::encode;
use crate::wire::startup::Startup;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, PoisonError};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

/// PgBouncer's name for its console, and for who needs no password there.
const PSEUDO_USER: &str = "pgbouncer";
/// Consoles at a time. They do not count as clients: an operator gets in when weir is full.
const MAX_CONSOLES: usize = 32;

/// What a process's consoles share.
pub struct Console {
    pub(super) shared: Arc<Shared>,
    /// Probes and the like live there, so what begins them runs there.
    pub(super) main: Handle,
    places: Semaphore,
    /// By cancel key.
    pub(super) clients: Clients,
}

impl Console {
    /// `main`: the runtime that is not a worker's.
    pub fn new(shared: Arc<Shared>, main: Handle) -> Self {
        Self { shared, main, places: Semaphore::new(MAX_CONSOLES), clients: Clients::default() }
    }

    /// Is this name the console's? Where nobody may log in to it, it is a database like others.
    pub fn serves(&self, database: &str) -> bool {
        let config = self.shared.config.load();
        let somebody = !config.console.admins.is_empty() || !config.console.stats.is_empty();
        let names = &config.console.databases;
        names.iter().any(|name| name == database)
            && (somebody || self.shared.source(database).is_none())
    }

    /// A client of the console, from its start-up packet to its end.
    pub async fn take_in(self: &Arc<Self>, mut line: Line, startup: &Startup, door: &Door) {
        let metrics = &self.shared.metrics;
        let limit = self.shared.config.load().timeouts.login;
        let outcome = |label| metrics.connections.with_label_values(&[label]).inc();
        let welcomed = tokio::time::timeout(limit, self.welcome(&mut line, startup, door)).await;
        let (user, may) = match welcomed.unwrap_or_else(|_| Err(late())) {
            Ok(welcomed) => welcomed,
            Err(error) => {
                outcome("refused");
                metrics.error(error.blame);
                tracing::info!(%error, "refused a client of the console");
                return startup::turn_away(line, &error.fatal()).await;
            }
        };
        let Ok(_place) = self.places.try_acquire() else {
            outcome("refused");
            let text = format!("there are {MAX_CONSOLES} consoles already");
            let error = Error::client(SqlState::TOO_MANY_CONNECTIONS, text);
            return startup::turn_away(line, &error.hint("close one of them").fatal()).await;
        };
        outcome("ok");
        let (pid, slot) = self.clients.register(startup::secret_bytes(startup));
        let _present = self.clients.present(pid);
        let name = startup.get("database").unwrap_or(&user);
        let facts = Facts::new(&user, name, &line.stream);
        slot.shown.introduce(facts, startup.get("application_name").unwrap_or_default());
        let client = console::Client { line, user, may, pid, slot };
        console::serve(client, Arc::<Self>::clone(self)).await;
    }

    /// As in PgBouncer: on a Unix socket, whoever is the system's user that weir runs as may be the user
    /// `pgbouncer` of the console of that name.
    fn is_own_user(&self, line: &Line, startup: &Startup) -> bool {
        let config = self.shared.config.load();
        let named = config.console.databases.iter().any(|name| name == PSEUDO_USER);
        let ours = || std::fs::metadata("/proc/self").map(|own| own.uid()).ok();
        match line.stream.origin() {
            Ok(Origin::Local { uid: Some(uid) }) => {
                named && startup.get("user") == Some(PSEUDO_USER) && ours() == Some(uid)
            }
            Ok(Origin::Local { uid: None } | Origin::Host(..)) | Err(_) => false,
        }
    }

    async fn welcome(
        &self,
        line: &mut Line,
        startup: &Startup,
        door: &Door,
    ) -> Result<(String, May), Error> {
        if self.is_own_user(line, startup) {
            encode::authentication_ok(&mut line.output);
            return Ok((PSEUDO_USER.to_owned(), May::Act));
        }
        // Users that only auth.query knows are looked up where one database has them.
        let somewhere = self.shared.databases.keys().min().cloned().unwrap_or_default();
        let lookup = self.shared.lookup(&somewhere);
        let user = startup::identify(line, startup, door, &lookup).await?.user;
        let config = self.shared.config.load();
        if config.console.admins.contains(&user) {
            return Ok((user, May::Act));
        }
        if config.console.stats.contains(&user) {
            return Ok((user, May::Look));
        }
        let message = format!("user \"{user}\" may not use weir's console");
        Err(Error::client(SqlState::INSUFFICIENT_PRIVILEGE, message)
            .hint("name the user in [console] of weir.toml: admins may act, stats may look"))
    }
}

fn late() -> Error {
    let message = "canceling authentication due to timeout";
    Error::client(SqlState::INVALID_AUTHORIZATION, message)
}

/// What SIGHUP and RELOAD do: all or nothing; what happened is in the log, too.
pub async fn reload(shared: &Arc<Shared>) -> Result<Reloaded, Error> {
    reload_changed(shared, &Changes::default()).await
}

/// The same, with what SET has said in the place of the file's own; it stays until the next reload.
pub async fn reload_changed(shared: &Arc<Shared>, changes: &Changes) -> Result<Reloaded, Error> {
    let _one_at_a_time = shared.reloading.lock().await;
    let outcome = reload_file(shared, changes).await;
    if outcome.is_ok() {
        *shared.changes.lock().unwrap_or_else(PoisonError::into_inner) = changes.clone();
    }
    let label = if outcome.is_ok() { "ok" } else { "refused" };
    shared.metrics.reloads.with_label_values(&[label]).inc();
    match &outcome {
        Ok(reloaded) => {
            for setting in &reloaded.waiting_for_restart {
                tracing::warn!("{setting} has changed: restart weir to apply it");
            }
            tracing::info!("reloaded configuration, users and rules");
        }
        Err(error) => tracing::error!("not reloaded, what was in force stays:\n{error}"),
    }
    outcome
}

async fn reload_file(shared: &Arc<Shared>, changes: &Changes) -> Result<Reloaded, Error> {
    let broken = |message: String| Error::new(SqlState(*b"F0000"), Blame::Rules, message);
    let path = shared.config.load().file.clone();
    let path = path.ok_or_else(|| broken("weir was started without a weir.toml".to_owned()))?;
    let Loaded { config, warnings } =
        Config::load_changed(&path, changes).map_err(|problems| broken(problems.to_string()))?;
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    reload::reload(shared, config).await
}
