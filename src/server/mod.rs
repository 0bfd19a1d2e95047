//! Assemble everything, listen, reload, shut down.
//!
//! - `config`: weir.toml
//! - `assemble`: configuration and rules files → what workers share
//! - `door`: how clients may come in
//! - `seats`: how many clients a user or a database may have
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
mod admin;
mod assemble;
mod console;
mod deadlocks;
mod door;
mod fence;
pub mod gather;
mod lookout;
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
use crate::error::{Blame, Error, SqlState};
use assemble::Shared;
use config::Config;
use console::Console;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::watch;

pub use crate::admin::system::Ending;
pub use reload::Reloaded;

/// A running weir.
pub struct Server {
    shared: Arc<Shared>,
    clients: Vec<SocketAddr>,
    admin: Option<SocketAddr>,
    workers: Vec<JoinHandle<()>>,
    phase: watch::Sender<Phase>,
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
        let config = Arc::new(config);
        let shared = Arc::new(Shared::assemble(&config).await?);
        let (phase, _) = watch::channel(Phase::Serving);
        let mut clients = Vec::new();
        let mut listeners: Vec<Vec<std::net::TcpListener>> = Vec::new();
        listeners.resize_with(config.worker_count(), Vec::new);
        for &address in &config.listen.clients {
            let mut bound = address;
            for worker in &mut listeners {
                let listener =
                    worker::listen(bound).map_err(|error| cannot_listen(bound, &error))?;
                bound = listener.local_addr().map_err(|error| cannot_listen(bound, &error))?;
                worker.push(listener);
            }
            clients.push(bound);
        }
        let console = Arc::new(Console::new(shared.clone(), Handle::current()));
        let admin = match config.listen.admin {
            None => None,
            Some(address) => Some(serve_admin(address, &console).await?),
        };
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
        Ok(Self { shared, clients, admin, workers, phase })
    }

    /// Where clients connect; a port 0 of the configuration is a real one here.
    pub fn clients(&self) -> &[SocketAddr] {
        &self.clients
    }

    pub fn admin(&self) -> Option<SocketAddr> {
        self.admin
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

async fn serve_admin(address: SocketAddr, console: &Arc<Console>) -> Result<SocketAddr, Error> {
    let listener = tokio::net::TcpListener::bind(address)
        .await
        .map_err(|error| cannot_listen(address, &error))?;
    let bound = listener.local_addr().map_err(|error| cannot_listen(address, &error))?;
    tokio::spawn(http::serve(listener, console.clone(), console.clone()));
    Ok(bound)
}

fn cannot_listen(address: SocketAddr, error: &std::io::Error) -> Error {
    Error::new(
        SqlState::CANNOT_CONNECT,
        Blame::Proxy,
        format!("cannot listen on {address}: {error}"),
    )
    .hint("change [listen] in weir.toml, or end what uses the port")
}
