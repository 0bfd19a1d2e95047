//! Assemble everything, listen, reload, shut down.
//!
//! - `config`: weir.toml
//! - `pgbouncer`: pgbouncer.ini as weir.toml
//! - `assemble`: configuration and rules files → what workers share
//! - `collector`: traces on their way to a collector
//! - `door`: how clients may come in
//! - `seats`: how many clients a user or a database may have
//! - `listening`: ports and Unix sockets
//! - `handover`: another weir takes this one's place
//! - `notify`: what systemd is told
//! - `worker`: one thread: listener, pools, sessions
//! - `console`: clients of the database `weir`
//! - `fence`: every new server connection shows that its shard is the one the rules mean
//! - `schema`: every weir knows the schema in force
//! - `gather`: is the gather database fit to finish statements
//! - `reload`: SIGHUP: all or nothing
//! - `recovery`: what transactions over several shards have left behind
//! - `deadlocks`: ends transactions over several shards that wait for each other
//! - `operations`: weir as its console sees it
//! - `admin`: what the admin port shows: metrics, readiness, rules files; and whom
//! - `views`: clients, connections and users there · `maps`: buckets, rules and plans · `stats`: averages
//! - `steering`: what operators do to clients and to weir itself
//! - `lookout`: are the shards still the ones that the rules mean?
//!
//! A [`Server`] holds everything; nothing is process-wide, so a test can run two.
pub mod config;
pub mod pgbouncer;
mod admin;
mod assemble;
mod collector;
mod console;
mod deadlocks;
mod door;
mod fence;
pub mod gather;
mod handover;
mod listening;
mod lookout;
pub mod notify;
mod operations;
mod views;
mod maps;
mod stats;
mod steering;
pub mod recovery;
mod reload;
mod schema;
mod seats;
mod worker;

use crate::admin::http;
use crate::error::Error;
use crate::telemetry::sampler::LeftOut;
use assemble::Shared;
use config::Config;
use console::Console;
use handover::Waiting;
use listening::{Listening, SocketFile, cannot_listen};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::AbortHandle;

pub use crate::admin::system::Ending;
pub use reload::Reloaded;

/// A running weir.
pub struct Server {
    shared: Arc<Shared>,
    clients: Vec<SocketAddr>,
    files: Vec<SocketFile>,
    admin: Option<SocketAddr>,
    workers: Vec<JoinHandle<()>>,
    phase: watch::Sender<Phase>,
    /// Another weir may take over.
    waiting: Option<Waiting>,
    admin_task: Option<AbortHandle>,
}

/// How a weir begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Begins {
    Alone,
    /// It asks the one that serves for its sockets.
    TakingOver,
}

/// What the workers do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    Serving,
    /// No new client; those there leave when they want to.
    Closed,
    /// No new client; those there may finish what they have begun.
    Draining,
    Stopped,
}

impl Server {
    /// Reads the rules files, looks at the shards, and listens. An error says what to mend.
    pub async fn start(config: Config) -> Result<Self, Error> {
        Self::start_as(config, Begins::Alone).await
    }

    /// The same, in the place of a weir that serves.
    pub async fn start_as(config: Config, begins: Begins) -> Result<Self, Error> {
        let config = Arc::new(config);
        let shared = Arc::new(Shared::assemble(&config).await?);
        let (phase, _) = watch::channel(Phase::Serving);
        let handover = config.listen.handover.as_deref();
        let mut taken = match begins {
            Begins::Alone => None,
            Begins::TakingOver => Some(handover::take(handover.ok_or_else(nowhere)?)?),
        };
        let passed = taken.as_mut().map(|taken| std::mem::take(&mut taken.sockets));
        let Listening { workers: listeners, clients, files, all } = listening::everywhere(
            &config.listen,
            config.worker_count(),
            passed.unwrap_or_default(),
        )?;
        let console = Arc::new(Console::new(shared.clone(), Handle::current()));
        let admin = match config.listen.admin {
            None => None,
            Some(address) => Some(serve_admin(address, &console)?),
        };
        let (admin, admin_task) = admin.unzip();
        let workers = listeners
            .into_iter()
            .enumerate()
            .map(|(number, listeners)| {
                let (shared, phase) = (shared.clone(), phase.subscribe());
                let console = console.clone();
                std::thread::Builder::new()
                    .name(format!("worker-{number}"))
                    .spawn(move || worker::run(&shared, console, listeners, phase))
                    .map_err(|error| Error::internal(format!("cannot start a worker: {error}")))
            })
            .collect::<Result<_, _>>()?;
        tokio::spawn(lookout::watch(shared.clone()));
        tokio::spawn(recovery::watch(shared.clone()));
        tokio::spawn(deadlocks::watch(shared.clone()));
        tokio::spawn(stats::watch(shared.clone()));
        if let Some(taken) = taken {
            let told = taken.ready();
            told.map_err(|error| Error::internal(format!("the other weir has gone: {error}")))?;
        }
        let waiting = handover.map(|path| Waiting::at(path, all)).transpose()?;
        Ok(Self { shared, clients, files, admin, workers, phase, waiting, admin_task })
    }

    /// Where clients connect; a port 0 of the configuration is a real one here.
    pub fn clients(&self) -> &[SocketAddr] {
        &self.clients
    }

    /// The socket files, for those who connect without TCP.
    pub fn socket_files(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(SocketFile::path)
    }

    pub fn admin(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// Its metrics tell how many log lines were left out.
    pub fn tells(&self, left_out: LeftOut) {
        // Only the first is the process's.
        drop(self.shared.left_out.set(left_out));
    }

    /// Puts the file that the configuration came from, and the files that it names as they are now, in
    /// force, or says why not and changes nothing.
    pub async fn reload(&self) -> Result<Reloaded, Error> {
        console::reload(&self.shared).await
    }

    /// Returns when the console has asked for weir's end.
    pub async fn asked_to_end(&self) -> Ending {
        let mut asked = self.shared.ending.subscribe();
        loop {
            if let Some(ending) = *asked.borrow_and_update() {
                return ending;
            }
            // Its sender lives as long as this server.
            drop(asked.changed().await);
        }
    }

    /// The same, for an end that waits for nobody.
    pub async fn asked_to_end_at_once(&self) {
        let mut asked = self.shared.ending.subscribe();
        drop(asked.wait_for(|asked| *asked == Some(Ending::AtOnce)).await);
    }

    /// Once another weir has taken over; never, if nobody can.
    pub fn handed_over(&self) -> impl Future<Output = ()> + use<> {
        let waiting = self.waiting.as_ref().map(Waiting::handed_over);
        async move {
            match waiting {
                Some(waiting) => waiting.await,
                None => std::future::pending().await,
            }
        }
    }

    /// Another weir has taken over: waits until the clients there have left by themselves, at most for `limit`.
    pub async fn see_off(&mut self, limit: Duration) {
        self.files.iter_mut().for_each(SocketFile::let_go);
        if let Some(task) = self.admin_task.take() {
            task.abort();
        }
        drop(tokio::time::timeout(limit, self.empty(Phase::Closed)).await);
    }

    /// No new clients; waits until those there have left, at most for `limit`.
    pub async fn drain(&self, limit: Duration) {
        // Whoever is still there after the limit is cut off by `stop`.
        drop(tokio::time::timeout(limit, self.empty(Phase::Draining)).await);
    }

    /// No new clients; waits until those there have left of their own accord.
    pub async fn outlive_clients(&self) {
        self.empty(Phase::Closed).await;
    }

    async fn empty(&self, phase: Phase) {
        /// How often the number of clients is looked at.
        const PACE: Duration = Duration::from_millis(50);
        self.shared.draining.store(true, Ordering::Relaxed);
        self.phase.send_replace(phase);
        // Clients would wait at the sockets for nobody.
        if let Some(waiting) = &self.waiting {
            waiting.close();
        }
        while !self.shared.clients.is_empty() {
            tokio::time::sleep(PACE).await;
        }
    }

    /// Ends every session; what is open is rolled back.
    pub fn stop(self) {
        self.phase.send_replace(Phase::Stopped);
        for worker in self.workers {
            if worker.join().is_err() {
                tracing::error!("a worker ended by a panic");
            }
        }
    }
}

fn serve_admin(
    address: SocketAddr,
    console: &Arc<Console>,
) -> Result<(SocketAddr, AbortHandle), Error> {
    // Another weir may be about to take this one's place.
    let listener = listening::tcp(address)
        .and_then(tokio::net::TcpListener::from_std)
        .map_err(|error| cannot_listen(address, &error))?;
    let bound = listener.local_addr().map_err(|error| cannot_listen(address, &error))?;
    let serving = tokio::spawn(http::serve(listener, console.clone(), console.clone()));
    Ok((bound, serving.abort_handle()))
}

fn nowhere() -> Error {
    Error::internal("there is nobody to take over from").hint(
        "set listen.handover in weir.toml, the same for the weir that serves and for the new one",
    )
}
