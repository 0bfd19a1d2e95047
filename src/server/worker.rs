//! One thread: a current_thread runtime, its listeners (SO_REUSEPORT spreads clients over the
//! workers), its pools, and a task for each client.
use super::Phase;
use super::assemble::{Shared, Source};
use crate::backend::{Stream, cancel};
use crate::error::{Error, SqlState};
use crate::exec::line::Line;
use crate::session::startup::{self, Arrival};
use crate::session::{self, Database, Servers};
use crate::wire::startup::Startup;
use socket2::{Domain, Protocol, Socket, Type};
use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::LocalSet;

/// Clients that wait to be accepted, as in PostgreSQL's default on a busy server.
const BACKLOG: i32 = 4096;
/// Different names that a `database = "*"` may be asked for.
const MAX_NAMED: usize = 1000;

pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// What one worker's sessions share.
struct Worker {
    shared: Arc<Shared>,
    databases: RefCell<HashMap<String, Rc<Database>>>,
}

pub fn run(shared: &Arc<Shared>, listeners: Vec<TcpListener>, phase: watch::Receiver<Phase>) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "a worker has no runtime");
            return;
        }
    };
    let worker =
        Rc::new(Worker { shared: shared.clone(), databases: RefCell::new(HashMap::new()) });
    let tasks = LocalSet::new();
    for listener in listeners {
        tasks.spawn_local(accept(worker.clone(), listener, phase.clone()));
    }
    tasks.block_on(&runtime, until_stopped(phase));
}

async fn until_stopped(mut phase: watch::Receiver<Phase>) {
    // The sender's end is the process's end.
    drop(phase.wait_for(|phase| *phase == Phase::Stopped).await);
}

async fn accept(worker: Rc<Worker>, listener: TcpListener, mut phase: watch::Receiver<Phase>) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "a listener cannot be used");
            return;
        }
    };
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => {
                    tokio::task::spawn_local(welcome(worker.clone(), socket));
                }
                // Out of descriptors, mostly: those waiting are served when some are free.
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a client");
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
            },
            _ = phase.wait_for(|phase| *phase != Phase::Serving) => return,
        }
    }
}

/// One client from its first byte to its last.
async fn welcome(worker: Rc<Worker>, socket: TcpStream) {
    let shared = worker.shared.clone();
    // A client with small answers must not wait for Nagle's algorithm.
    drop(socket.set_nodelay(true));
    let line = Line::new(Stream::from(socket));
    let arriving = startup::arrive(line, &shared.door);
    let arrived = tokio::time::timeout(shared.config.timeouts.login, arriving).await;
    let outcome = |label| shared.metrics.connections.with_label_values(&[label]).inc();
    match arrived {
        Ok(Ok(Arrival::Client(line, startup))) => {
            worker.take_in(line, &startup).await;
        }
        Ok(Ok(Arrival::Cancel { pid, secret })) => {
            outcome("cancel");
            cancel_running(&shared, pid, &secret).await;
        }
        Ok(Ok(Arrival::Gone)) | Err(_) => outcome("gone"),
        Ok(Err((line, error))) => {
            outcome("refused");
            startup::turn_away(line, &error).await;
        }
    }
}

impl Worker {
    async fn take_in(&self, mut line: Line, startup: &Startup) {
        let shared = &self.shared;
        let refused = |error: &Error| {
            shared.metrics.connections.with_label_values(&["refused"]).inc();
            shared.metrics.error(error.blame);
            tracing::info!(%error, "refused a client");
        };
        if shared.door.clients.len() >= shared.config.limits.clients {
            let error =
                Error::client(SqlState::TOO_MANY_CONNECTIONS, "sorry, too many clients already")
                    .hint("raise limits.clients in weir.toml")
                    .fatal();
            refused(&error);
            return startup::turn_away(line, &error).await;
        }
        let user = startup.get("user").unwrap_or_default().to_owned();
        let name = startup.get("database").unwrap_or(&user).to_owned();
        let database = match self.database(&name) {
            Ok(database) => database,
            Err(error) => {
                refused(&error);
                return startup::turn_away(line, &error).await;
            }
        };
        let lookup = shared.lookup(&name);
        let logging_in = startup::log_in(&mut line, startup, &shared.door, &lookup, &database);
        let greeted = match tokio::time::timeout(shared.config.timeouts.login, logging_in).await {
            Ok(Ok(greeted)) => greeted,
            Ok(Err(error)) => {
                let error = error.fatal();
                refused(&error);
                return startup::turn_away(line, &error).await;
            }
            Err(_) => {
                let error = Error::client(
                    SqlState::INVALID_AUTHORIZATION,
                    "canceling authentication due to timeout",
                )
                .fatal();
                refused(&error);
                return startup::turn_away(line, &error).await;
            }
        };
        let pid = greeted.pid;
        shared.metrics.connections.with_label_values(&["ok"]).inc();
        shared.metrics.clients.inc();
        let mode = shared.pool_mode(&name, &user, &database.serving.load().rules);
        session::serve(line, database, greeted, mode).await;
        shared.metrics.clients.dec();
        shared.door.clients.remove(pid);
    }

    /// The database of that name as this worker serves it.
    fn database(&self, name: &str) -> Result<Rc<Database>, Error> {
        if let Some(database) = self.databases.borrow().get(name) {
            return Ok(database.clone());
        }
        let source = self.shared.source(name).ok_or_else(|| {
            Error::client(
                SqlState::INVALID_CATALOG_NAME,
                format!("database \"{name}\" does not exist"),
            )
            .fatal()
        })?;
        let database = Rc::new(self.open(name, source));
        let mut databases = self.databases.borrow_mut();
        if databases.len() >= MAX_NAMED {
            databases.clear();
        }
        databases.insert(name.to_owned(), database.clone());
        Ok(database)
    }

    fn open(&self, name: &str, source: &Source) -> Database {
        let shared = self.shared.clone();
        let fence = source.fence.clone();
        let named = name.to_owned();
        let open = Box::new(move |servers: &Servers| shared.cluster(&named, servers, &fence));
        Database::new(
            name,
            source.serving.clone(),
            open,
            source.keeper.as_ref().map(|keeper| keeper.spreader.clone()),
            self.shared.session_limits(),
            self.shared.metrics.clone(),
        )
    }
}

/// Cancels what the client with this key runs, and keeps its servers from being handed on until the
/// requests have arrived.
async fn cancel_running(shared: &Shared, pid: u32, secret: &[u8]) {
    let Some(slot) = shared.door.clients.find(pid, secret) else {
        shared.metrics.cancels.with_label_values(&["unknown"]).inc();
        return;
    };
    let running = slot.running.lock().await;
    slot.waiting.notify_waiters();
    for key in running.iter() {
        if let Err(error) = cancel::cancel(key).await {
            tracing::warn!(?error, "a cancel request did not arrive");
        }
    }
    let label = if running.is_empty() { "idle" } else { "sent" };
    shared.metrics.cancels.with_label_values(&[label]).inc();
}
