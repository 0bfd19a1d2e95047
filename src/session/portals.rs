//! What a client has bound, by name, and inside which savepoint: ROLLBACK TO takes away what was bound
//! behind it, as PostgreSQL does.
use super::extended::Portal;
use super::portal::{Bound, Shared};
use super::{Session, Stop};
use crate::error::{Error, SqlState};
use foldhash::HashMap;

#[derive(Default)]
pub struct Portals {
    held: HashMap<String, Held>,
}

struct Held {
    portal: Portal,
    /// So many savepoints were open when it was bound.
    depth: usize,
}

/// Settings that decide what rows look like, or that a query may ask for: a portal of several shards has
/// read rows ahead.
const SEEN: [&str; 12] = [
    "bytea_output",
    "client_encoding",
    "datestyle",
    "default_text_search_config",
    "extra_float_digits",
    "intervalstyle",
    "lc_monetary",
    "lc_numeric",
    "lc_time",
    "timezone",
    "xmlbinary",
    "xmloption",
];

impl Portals {
    pub fn get(&self, name: &str) -> Option<&Portal> {
        self.held.get(name).map(|held| &held.portal)
    }

    pub fn values(&self) -> impl Iterator<Item = &Portal> {
        self.held.values().map(|held| &held.portal)
    }

    pub fn remove(&mut self, name: &str) -> Option<Portal> {
        if self.held.is_empty() {
            return None;
        }
        self.held.remove(name).map(|held| held.portal)
    }

    /// Those that are meant.
    pub fn take_if(&mut self, is_meant: impl Fn(&Portal) -> bool) -> Vec<Portal> {
        let gone = self.held.extract_if(|_, held| is_meant(&held.portal));
        gone.map(|(_, held)| held.portal).collect()
    }

    /// The same name holds something else from now on.
    pub fn exchange(&mut self, name: &str, portal: Portal) {
        if let Some(held) = self.held.get_mut(name) {
            held.portal = portal;
        }
    }

    pub fn clear(&mut self) {
        self.held.clear();
    }

    fn several(&self) -> impl Iterator<Item = &Shared> {
        self.values().filter_map(|portal| match portal {
            Portal::Several(portal) => Some(portal),
            Portal::On(..) | Portal::Own(_) | Portal::Spent(_) => None,
        })
    }
}

impl Session {
    pub(super) fn keep_portal(&mut self, name: String, portal: Portal) {
        let depth = self.txn.depth();
        self.portals.held.insert(name, Held { portal, depth });
    }

    /// The unnamed portal gives way to the next one, a named one does not.
    pub(super) fn refuse_open_portal(&self, name: &str) -> Result<(), Error> {
        match name.is_empty() || self.portals.get(name).is_none() {
            true => Ok(()),
            false => Err(Error::client(
                SqlState::DUPLICATE_CURSOR,
                format!("cursor \"{name}\" already exists"),
            )),
        }
    }

    /// ROLLBACK TO has left so many savepoints.
    pub(super) async fn roll_back_portals(&mut self) -> Result<(), Stop> {
        let depth = self.txn.depth();
        let gone = |held: &Held| held.depth >= depth;
        let names: Vec<String> = self
            .portals
            .held
            .iter()
            .filter(|(_, held)| gone(held))
            .map(|(name, _)| name.clone())
            .collect();
        for name in names {
            if let Some(Portal::Several(portal)) = self.portals.remove(&name) {
                self.close_several(&portal).await?;
            }
        }
        let undone = |portal: &Shared| portal.borrow_mut().as_deref_mut()?.roll_back(depth);
        let answers: Vec<_> = self.portals.several().filter_map(undone).collect();
        for answer in answers {
            self.close_answer(answer).await?;
        }
        Ok(())
    }

    /// RELEASE: what was bound inside is as if it had been bound before.
    pub(super) fn release_portals(&mut self) {
        let depth = self.txn.depth();
        for held in self.portals.held.values_mut() {
            held.depth = held.depth.min(depth);
        }
        for portal in self.portals.several() {
            if let Some(bound) = portal.borrow_mut().as_deref_mut() {
                bound.release(depth);
            }
        }
    }

    /// PostgreSQL would write what a portal has still to give under the new setting; rows that shards have
    /// sent already are written.
    pub(super) fn refuse_while_paused(&self, setting: &str) -> Result<(), Error> {
        if !SEEN.contains(&setting) && !setting.contains('.') && setting != "all" {
            return Ok(());
        }
        let paused = self.portals.several().find_map(|portal| {
            portal.borrow().as_deref().filter(|bound| bound.is_open()).map(Bound::told_name)
        });
        match paused {
            None => Ok(()),
            Some(portal) => Err(Error::client(
                SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
                format!("cannot change {setting} before {portal} has been read to its end"),
            )
            .detail("it reads several shards, and some of its rows have been written already")
            .hint("read it to its end or close it, then change the setting")),
        }
    }
}
