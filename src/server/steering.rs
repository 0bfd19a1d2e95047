//! KILL, DISABLE, SHUTDOWN and SET: what operators do to clients and to weir itself.
use super::assemble::Shared;
use super::config::{Changes, Config};
use super::console::{self, Console};
use super::operations::{Found, find, until};
use crate::admin::system::{Doing, Ending, Place};
use crate::error::{Error, SqlState};
use crate::pool::Crew;
use crate::session::cancel::Slot;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// Every client of these databases is thrown out; until RESUME nothing new begins there.
pub async fn kill(shared: &Shared, place: &Place) -> Result<(), Error> {
    let found = find(shared, place)?;
    let crews = || found.iter().flat_map(Found::crews);
    crews().for_each(Crew::pause);
    crews().for_each(Crew::reconnect);
    let labels: Vec<&str> = found.iter().map(Found::database).collect();
    let meant = |slot: &Arc<Slot>| {
        let view = slot.shown.view();
        let source = view.and_then(|view| shared.source(&view.facts.database));
        source.is_some_and(|source| labels.contains(&source.serving.load().rules.database.as_str()))
    };
    let doomed: Vec<_> = shared.clients.all().into_iter().filter(meant).collect();
    throw_out(shared, &doomed);
    until(|| crews().all(|crew| crew.outstanding() == 0) && have_left(shared, &doomed)).await;
    Ok(())
}

/// The client of that number in SHOW CLIENTS is thrown out.
pub async fn kill_client(console: &Console, id: &str) -> Result<(), Error> {
    let everybody = console.shared.clients.all().into_iter();
    let slot = everybody.into_iter().find(|slot| slot.pid.to_string() == id);
    let Some(slot) = slot else {
        let message = format!("client \"{id}\" does not exist");
        return Err(Error::client(SqlState::UNDEFINED_OBJECT, message)
            .hint("a client is named by its id in SHOW CLIENTS; a console is ended by its user"));
    };
    let doomed = [slot];
    throw_out(&console.shared, &doomed);
    until(|| have_left(&console.shared, &doomed)).await;
    Ok(())
}

fn throw_out(shared: &Shared, doomed: &[Arc<Slot>]) {
    doomed.iter().for_each(|slot| slot.throw_out());
    shared.thrown_out.send_replace(());
}

fn have_left(shared: &Shared, doomed: &[Arc<Slot>]) -> bool {
    doomed.iter().all(|slot| !shared.clients.has(slot))
}

/// Whether new clients are let in to a database.
pub fn disable(shared: &Shared, place: &Place, disabled: bool) -> Result<(), Error> {
    for found in find(shared, place)? {
        shared.set_disabled(found.database(), disabled);
    }
    Ok(())
}

/// Until no connection is there any more that was to be replaced.
pub async fn wait_close(shared: &Shared, place: &Place) -> Result<(), Error> {
    let found = find(shared, place)?;
    let labels: Vec<&str> = found.iter().map(Found::database).collect();
    until(|| {
        let entries = shared.roll().entries();
        !entries
            .iter()
            .any(|entry| entry.is_closing() && labels.contains(&entry.whose.label.as_str()))
    })
    .await;
    Ok(())
}

/// Tells whoever runs this weir to end it. The answer leaves first.
pub fn shut_down(console: &Console, ending: Ending) {
    /// For the answer to leave.
    const AFTER: Duration = Duration::from_millis(50);
    tracing::info!(?ending, "asked to end on the console");
    let shared = console.shared.clone();
    console.main.spawn(async move {
        tokio::time::sleep(AFTER).await;
        shared.ending.send_replace(Some(ending));
    });
}

/// `None`: weir has no such setting.
pub fn set<'a>(console: &'a Console, name: &str, value: &str) -> Option<Doing<'a>> {
    let (key, value) = Config::named(name, value)?;
    Some(Box::pin(async move {
        if !Config::is_changeable(&key) {
            let message = format!("parameter \"{key}\" cannot be changed without restarting weir");
            return Err(Error::client(SqlState(*b"55P02"), message).hint("change it in weir.toml"));
        }
        let shared = console.shared.clone();
        let setting = console.main.spawn(async move {
            let mut changes = said(&shared);
            changes.insert(key, value);
            console::reload_changed(&shared, &changes).await
        });
        let ended = |_| Error::internal("the change ended before its time");
        setting.await.map_err(ended)?.map(drop)
    }))
}

fn said(shared: &Shared) -> Changes {
    shared.changes.lock().unwrap_or_else(PoisonError::into_inner).clone()
}
