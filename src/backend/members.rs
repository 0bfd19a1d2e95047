//! The weirs that serve one database, as its home shard sees them: who is one, and how all of them
//! get to know that the schema has changed.
//!
//! A weir is a member while its control connection holds a shared advisory lock, so one that dies
//! stops being one by itself. It listens before it takes the lock: whoever is found among the
//! members hears every roll-call from then on. A roll-call names itself; each member looks at the
//! catalogs and answers. Nothing is stored.
use super::Address;
use super::control::{Client, Notified, connect_listening, failed};
use super::startup::ConnectOptions;
use crate::auth::Login;
use crate::error::{Error, SqlState};
use std::collections::BTreeSet;
use tokio::sync::mpsc;

/// What a weir says inside a transaction that changes the schema: sent when it commits.
pub const NOTIFY_CHANGED: &str = "NOTIFY weir_schema";

/// `weir` in ASCII: the class of weir's advisory locks.
pub const LOCK_CLASS: i32 = 0x7765_6972;
const SCHEMA_LOCK: i32 = 1;
/// See `txn::barrier`.
pub const SNAPSHOT_LOCK: i32 = 2;

/// One weir's membership of one database.
pub struct Member {
    pub client: Client,
    heard: mpsc::Receiver<Notified>,
    pid: i32,
    rolls: u64,
}

/// What a member hears from others.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Heard {
    /// The schema has changed.
    Changed,
    /// Somebody wants to know that this member has seen it; to be answered with [`Member::answer`].
    RollCall(Roll),
    /// That member has answered our roll-call.
    Answer { roll: u64, pid: i32 },
}

/// Who calls, and the how manieth of its calls it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Roll {
    caller: i32,
    number: u64,
}

impl Member {
    /// Connects, listens, becomes a member. What had changed before has to be looked at afterwards.
    pub async fn join(
        address: &Address,
        login: &Login,
        options: &ConnectOptions,
        place: &str,
    ) -> Result<Self, Error> {
        let connected = connect_listening(address, login, options).await;
        let (client, heard) = connected.map_err(|error| error.to_error(place))?;
        client.batch_execute("LISTEN weir_schema").await.map_err(failed)?;
        let row = client
            .query_one(
                "SELECT pg_try_advisory_lock_shared($1, $2), pg_backend_pid()",
                &[&LOCK_CLASS, &SCHEMA_LOCK],
            )
            .await
            .map_err(failed)?;
        if !row.try_get::<_, bool>(0).map_err(failed)? {
            let message = format!(
                "somebody holds the advisory lock ({LOCK_CLASS}, {SCHEMA_LOCK}) exclusively"
            );
            return Err(Error::shard(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, message)
                .hint("weirs count themselves by it: use another key"));
        }
        let pid = row.try_get(1).map_err(failed)?;
        Ok(Self { client, heard, pid, rolls: 0 })
    }

    /// Waits for what others say; `None`: the connection has ended.
    pub async fn hear(&mut self) -> Option<Heard> {
        loop {
            let said = self.heard.recv().await?;
            if let Some(heard) = understand(&said, self.pid) {
                return Some(heard);
            }
        }
    }

    /// What has been said and not been heard yet.
    pub fn heard_already(&mut self) -> Vec<Heard> {
        let mut heard = Vec::new();
        while let Ok(said) = self.heard.try_recv() {
            heard.extend(understand(&said, self.pid));
        }
        heard
    }

    /// The members other than this one.
    pub async fn others(&self) -> Result<BTreeSet<i32>, Error> {
        let rows = self
            .client
            .query(
                "SELECT pid FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND granted \
                 AND classid::bigint = $1::int::bigint AND objid::bigint = $2::int::bigint AND objsubid = 2 \
                 AND database = (SELECT oid FROM pg_catalog.pg_database \
                                 WHERE datname = current_database()) \
                 AND pid <> pg_backend_pid()",
                &[&LOCK_CLASS, &SCHEMA_LOCK],
            )
            .await
            .map_err(failed)?;
        rows.iter().map(|row| row.try_get(0).map_err(failed)).collect()
    }

    /// Asks every other member to look; the answers carry the number returned here.
    pub async fn call_roll(&mut self) -> Result<u64, Error> {
        self.rolls += 1;
        self.say(&format!("who {}", self.rolls)).await?;
        Ok(self.rolls)
    }

    pub async fn answer(&self, roll: &Roll) -> Result<(), Error> {
        self.say(&format!("seen {} {}", roll.caller, roll.number)).await
    }

    async fn say(&self, payload: &str) -> Result<(), Error> {
        let notify = "SELECT pg_notify('weir_schema', $1)";
        self.client.query(notify, &[&payload]).await.map(drop).map_err(failed)
    }
}

/// What is not for this member, or not weir's, is passed over.
fn understand(said: &Notified, own: i32) -> Option<Heard> {
    if said.pid == own {
        return None;
    }
    let words: Vec<&str> = said.payload.split(' ').collect();
    match words.as_slice() {
        [""] => Some(Heard::Changed),
        ["who", number] => {
            Some(Heard::RollCall(Roll { caller: said.pid, number: number.parse().ok()? }))
        }
        ["seen", caller, number] if caller.parse() == Ok(own) => {
            Some(Heard::Answer { roll: number.parse().ok()?, pid: said.pid })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(pid: i32, payload: &str) -> Option<Heard> {
        understand(&Notified { pid, payload: payload.to_owned() }, 7)
    }

    #[test]
    fn only_what_others_say_to_this_member_is_heard() {
        assert_eq!(heard(8, ""), Some(Heard::Changed));
        assert_eq!(heard(7, ""), None);
        assert_eq!(heard(8, "who 3"), Some(Heard::RollCall(Roll { caller: 8, number: 3 })));
        assert_eq!(heard(8, "seen 7 3"), Some(Heard::Answer { roll: 3, pid: 8 }));
        assert_eq!(heard(8, "seen 9 3"), None);
        assert_eq!(heard(8, "seen it all"), None);
    }
}
