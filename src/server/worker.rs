//! One thread: a current_thread runtime, its listeners (SO_REUSEPORT spreads clients over the
//! workers), its pools, and a task for each client.
use super::Phase;
use super::assemble::{Shared, Source};
use super::console::Console;
use super::listening::Listener;
use super::seats::Taken;
use crate::backend::{Stream, cancel};
use crate::error::{Error, SqlState};
use crate::exec::line::Line;
use crate::session::cancel::Present;
use crate::session::shown::Facts;
use crate::session::startup::{self, Arrival, Door, Greeted};
use crate::session::{self, Database, Servers};
use crate::telemetry::panics::{self, Panicked};
use crate::wire::startup::Startup;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Poll, Waker};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::LocalSet;

/// Different names that a `database = "*"` may be asked for.
const MAX_NAMED: usize = 1000;

/// What one worker's sessions share.
struct Worker {
    shared: Arc<Shared>,
    console: Arc<Console>,
    databases: RefCell<HashMap<String, Rc<Database>>>,
    /// Set when weir is about to end; then the sessions' tasks are woken to see it.
    leaving: Rc<Cell<bool>>,
    tasks: RefCell<HashMap<u32, Waker>>,
}

/// A client that has logged in, among all of them and in its worker, until it leaves, however that
/// comes about.
struct Place<'a> {
    worker: &'a Worker,
    pid: u32,
    _present: Present<'a>,
}

/// A client that has not said yet who it is.
struct Arriving(Arc<Shared>);

impl Arriving {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.arriving.fetch_add(1, Relaxed);
        Self(shared.clone())
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        self.0.arriving.fetch_sub(1, Relaxed);
    }
}

impl<'a> Place<'a> {
    fn new(worker: &'a Worker, pid: u32) -> Self {
        worker.shared.metrics.clients.inc();
        Self { worker, pid, _present: worker.shared.clients.present(pid) }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.worker.tasks.borrow_mut().remove(&self.pid);
        self.worker.shared.metrics.clients.dec();
    }
}

pub fn run(
    shared: &Arc<Shared>,
    console: Arc<Console>,
    listeners: Vec<Listener>,
    phase: watch::Receiver<Phase>,
) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "a worker has no runtime");
            return;
        }
    };
    let worker = Rc::new(Worker {
        shared: shared.clone(),
        console,
        databases: RefCell::default(),
        leaving: Rc::default(),
        tasks: RefCell::default(),
    });
    let tasks = LocalSet::new();
    for listener in listeners {
        tasks.spawn_local(accept(worker.clone(), listener, phase.clone()));
    }
    tasks.spawn_local(keep_house(worker.clone()));
    tasks.spawn_local(throw_out(worker.clone()));
    tasks.spawn_local(send_home(worker, phase.clone()));
    tasks.block_on(&runtime, until_stopped(phase));
}

async fn until_stopped(mut phase: watch::Receiver<Phase>) {
    // The sender's end is the process's end.
    drop(phase.wait_for(|phase| *phase == Phase::Stopped).await);
}

/// Once weir drains, whoever is between transactions is asked to leave.
async fn send_home(worker: Rc<Worker>, mut phase: watch::Receiver<Phase>) {
    let ends = |phase: &Phase| matches!(phase, Phase::Draining | Phase::Stopped);
    if phase.wait_for(ends).await.is_ok() {
        worker.leaving.set(true);
        worker.tasks.borrow().values().for_each(Waker::wake_by_ref);
    }
}

/// Whoever has been thrown out is woken, to see it.
async fn throw_out(worker: Rc<Worker>) {
    let mut heard = worker.shared.thrown_out.subscribe();
    while heard.changed().await.is_ok() {
        worker.tasks.borrow().values().for_each(Waker::wake_by_ref);
    }
}

/// Connections that should not be used again are closed, and sessions that hold one hear of it.
async fn keep_house(worker: Rc<Worker>) {
    const PACE: Duration = Duration::from_millis(500);
    loop {
        worker.shared.clients.clock.tick();
        tokio::time::sleep(PACE).await;
        let databases: Vec<_> = worker.databases.borrow().values().cloned().collect();
        let changed = databases.iter().filter(|database| database.keep_house()).count();
        if changed > 0 {
            worker.tasks.borrow().values().for_each(Waker::wake_by_ref);
        }
    }
}

async fn accept(worker: Rc<Worker>, listener: Listener, mut phase: watch::Receiver<Phase>) {
    let listener = match listener.accepting() {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "a listener cannot be used");
            return;
        }
    };
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(socket) => {
                    tokio::task::spawn_local(look_after(worker.clone(), socket));
                }
                // Out of descriptors, mostly: those waiting are served when some are free.
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a client");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            _ = phase.wait_for(|phase| *phase != Phase::Serving) => return,
        }
    }
}

/// What goes wrong with one client is the end of that client's line, and of nothing else.
async fn look_after(worker: Rc<Worker>, socket: Stream) {
    let metrics = worker.shared.metrics.clone();
    // A session's own panic its client is told of; here there is nobody to tell any more.
    match panics::contained(&metrics, pin!(welcome(worker, socket))).await {
        Ok(()) | Err(Panicked) => {}
    }
}

/// One client from its first byte to its last.
async fn welcome(worker: Rc<Worker>, socket: Stream) {
    let shared = worker.shared.clone();
    let line = Line::new(socket);
    let newcomer = Arriving::new(&shared);
    let (door, login_limit) = (shared.door.load_full(), shared.config.load().timeouts.login);
    let arriving = startup::arrive(line, &door);
    let arrived = tokio::time::timeout(login_limit, arriving).await;
    let outcome = |label| shared.metrics.connections.with_label_values(&[label]).inc();
    match arrived {
        Ok(Ok(Arrival::Client(line, startup))) => {
            worker.take_in(line, &startup, &door, login_limit, newcomer).await;
        }
        Ok(Ok(Arrival::Cancel { pid, secret })) => {
            outcome("cancel");
            cancel_running(&worker, pid, &secret).await;
        }
        Ok(Ok(Arrival::Gone)) | Err(_) => outcome("gone"),
        Ok(Err((line, error))) => {
            outcome("refused");
            startup::turn_away(line, &error).await;
        }
    }
}

impl Worker {
    async fn take_in(
        &self,
        mut line: Line,
        startup: &Startup,
        door: &Door,
        login_limit: Duration,
        arriving: Arriving,
    ) {
        let shared = &self.shared;
        let user = startup.get("user").unwrap_or_default().to_owned();
        let name = startup.get("database").unwrap_or(&user).to_owned();
        if self.console.serves(&name) {
            drop(arriving);
            return self.console.take_in(line, startup, door).await;
        }
        let refused = |error: &Error| {
            shared.metrics.connections.with_label_values(&["refused"]).inc();
            shared.metrics.error(error.blame);
            tracing::info!(%error, "refused a client");
        };
        if shared.clients.len() >= shared.config.load().limits.clients {
            let error = too_many_clients();
            refused(&error);
            return startup::turn_away(line, &error).await;
        }
        if shared.takes_none(&name) {
            let message = format!("database \"{name}\" is not currently accepting connections");
            let error = Error::client(SqlState(*b"55000"), message)
                .hint("an operator has said DISABLE; ENABLE lets clients in again")
                .fatal();
            refused(&error);
            return startup::turn_away(line, &error).await;
        }
        let database = match self.database(&name) {
            Ok(database) => database,
            Err(error) => {
                refused(&error);
                return startup::turn_away(line, &error).await;
            }
        };
        // In a box: what it needs is not kept for as long as the client stays.
        let logged_in = Box::pin(self.log_in(&mut line, startup, door, login_limit, &database));
        let logged_in = logged_in.await;
        let mut greeted = match logged_in {
            Ok(greeted) => greeted,
            Err(error) => {
                let error = error.fatal();
                refused(&error);
                self.forget(&name, &database);
                return startup::turn_away(line, &error).await;
            }
        };
        drop(arriving);
        let pid = greeted.pid;
        let place = Place::new(self, pid);
        let _seats = match self.seats(&user, &name) {
            Ok(seats) => seats,
            Err(error) => {
                refused(&error);
                drop(place);
                // The welcome has not been sent yet.
                line.output.clear();
                return startup::turn_away(line, &error).await;
            }
        };
        greeted.tier = shared.own_tier(&name, &user);
        shared.metrics.connections.with_label_values(&["ok"]).inc();
        let mode = shared.pool_mode(&name, &greeted.login.user, &database.serving.load().rules);
        let facts = Facts::new(&user, &name, &line.stream);
        greeted.slot.shown.introduce(facts, greeted.application_name());
        let waker = std::future::poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
        self.tasks.borrow_mut().insert(pid, waker);
        session::serve(line, database, greeted, mode, self.leaving.clone()).await;
    }

    /// Who the client is, in time.
    async fn log_in(
        &self,
        line: &mut Line,
        startup: &Startup,
        door: &Door,
        limit: Duration,
        database: &Rc<Database>,
    ) -> Result<Greeted, Error> {
        let shared = &self.shared;
        let lookup = shared.lookup(&database.name);
        let logging_in = startup::log_in(line, startup, door, &lookup, &shared.clients, database);
        let logging_in = pin!(tokio::time::timeout(limit, logging_in));
        match panics::contained(&shared.metrics, logging_in).await {
            Ok(Ok(logged_in)) => logged_in,
            Ok(Err(_)) => Err(Error::client(
                SqlState::INVALID_AUTHORIZATION,
                "canceling authentication due to timeout",
            )),
            Err(Panicked) => Err(Error::internal("weir has failed while letting this client in")
                .hint("weir's log says more")),
        }
    }

    /// Room for a client that has shown who it is. Others may have logged in at the same time.
    fn seats(&self, user: &str, database: &str) -> Result<Taken, Error> {
        let config = self.shared.config.load();
        match self.shared.clients.len() > config.limits.clients {
            true => Err(too_many_clients()),
            false => self.shared.seats.take(&config, user, database),
        }
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
            databases.retain(|_, database| Rc::strong_count(database) > 1);
        }
        databases.insert(name.to_owned(), database.clone());
        Ok(database)
    }

    /// A name that nobody was let in under is not kept: with a `*` there is no end to them.
    fn forget(&self, name: &str, database: &Rc<Database>) {
        let only_ours = Rc::strong_count(database) <= 2;
        if only_ours && database.is_untouched() {
            self.databases.borrow_mut().remove(name);
        }
    }

    fn open(&self, name: &str, source: &Source) -> Database {
        let shared = self.shared.clone();
        let named = name.to_owned();
        let label = source.serving.load().rules.database.clone();
        let open = Box::new(move |servers: &Servers| shared.cluster(&named, &label, servers));
        Database::new(
            name,
            source.serving.clone(),
            open,
            source.keeper.as_ref().map(|keeper| keeper.spreader.clone()),
            self.shared.session_limits(),
            source.commons.clone(),
            self.shared.metrics.clone(),
        )
    }
}

fn too_many_clients() -> Error {
    Error::client(SqlState::TOO_MANY_CONNECTIONS, "sorry, too many clients already")
        .hint("raise limits.clients in weir.toml")
        .fatal()
}

/// Cancels what the client with this key runs, and keeps its servers from being handed on until the
/// requests have arrived.
async fn cancel_running(worker: &Worker, pid: u32, secret: &[u8]) {
    let Worker { shared, console, .. } = worker;
    let of_console = || console.clients.find(pid, secret);
    let Some(slot) = shared.clients.find(pid, secret).or_else(of_console) else {
        shared.metrics.cancels.with_label_values(&["unknown"]).inc();
        return;
    };
    let running = slot.running().await;
    slot.request();
    for key in running.iter() {
        if let Err(error) = cancel::cancel(key).await {
            tracing::warn!(?error, "a cancel request did not arrive");
        }
    }
    let label = if running.is_empty() { "idle" } else { "sent" };
    shared.metrics.cancels.with_label_values(&[label]).inc();
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every client has room for the largest thing that its task may wait for. What few clients ask for waits
    /// in a box of its own: look there first if this fails.
    #[test]
    fn an_idle_clients_task_is_small() {
        fn size<A, B, F: Future>(_: impl Fn(A, B) -> F) -> usize {
            size_of::<F>()
        }
        let bytes = size(look_after);
        assert!(bytes <= 6700, "{bytes} bytes");
    }
}
