//! Every server connection has to show that its shard is the one the rules mean, before any client
//! gets it: rules that put a key elsewhere must never write it.
use super::assemble::control_client;
use crate::backend::{self, Connection};
use crate::error::{Blame, Error, SqlState};
use crate::ids::ShardId;
use crate::pool::{Fleet, Hook, OnConnect};
use crate::rules::Rules;
use crate::rules::placement::{self, Expected, Mismatch, Row};
use std::sync::{Mutex, PoisonError};

/// What some rules expect on each shard, and how the last look at each ended. Empty for a plain
/// database, which has no placement to go wrong.
pub struct Fence {
    shards: Vec<Guarded>,
}

struct Guarded {
    expected: Expected,
    /// Why the shard's last new connection was not let through.
    refusal: Mutex<Option<String>>,
}

impl Fence {
    /// Looks at every shard before the first client does, and learns the cluster's id.
    pub async fn verified(rules: &Rules, fleet: &Fleet) -> Result<Self, Error> {
        if rules.is_plain() {
            return Ok(Self { shards: Vec::new() });
        }
        let mut clients = Vec::new();
        for shard in rules.shard_ids() {
            clients.push(control_client(fleet, shard).await?);
        }
        let cluster = backend::placement::verify_all(&clients, rules).await?;
        let guarded = |shard| Guarded {
            expected: Expected::new(rules, shard).in_cluster(&cluster),
            refusal: Mutex::default(),
        };
        Ok(Self { shards: rules.shard_ids().map(guarded).collect() })
    }

    /// Remembers how a look at a shard's placement ended. One that broke off says nothing of it.
    pub fn heard(&self, shard: ShardId, outcome: &Result<(), Error>) {
        let Some(guarded) = self.shards.get(usize::from(shard.0)) else { return };
        let refusal = match outcome {
            Ok(()) => None,
            Err(error) if error.blame == Blame::Rules => Some(error.message.clone()),
            Err(_) => return,
        };
        *guarded.refusal.lock().unwrap_or_else(PoisonError::into_inner) = refusal;
    }

    /// The cluster's uuid; `None` for a plain database.
    pub fn cluster(&self) -> Option<String> {
        self.shards.first().and_then(|guarded| guarded.expected.cluster.clone())
    }

    /// A shard that is not the one the rules mean, as far as anybody has looked.
    pub fn refusal(&self) -> Option<String> {
        let said = |guarded: &Guarded| {
            guarded.refusal.lock().unwrap_or_else(PoisonError::into_inner).clone()
        };
        self.shards.iter().find_map(said)
    }
}

impl OnConnect for Fence {
    fn run<'a>(&'a self, connection: &'a mut Connection, shard: ShardId) -> Hook<'a> {
        Box::pin(async move {
            let Some(guarded) = self.shards.get(usize::from(shard.0)) else { return Ok(()) };
            let outcome = check(connection, &guarded.expected).await;
            self.heard(shard, &outcome);
            outcome
        })
    }
}

async fn check(connection: &mut Connection, expected: &Expected) -> Result<(), Error> {
    let rows = connection.ask(placement::SELECT).await.map_err(|error| match &error.code.0 {
        // No such table, no such schema.
        b"42P01" | b"3F000" => not_set_up(expected),
        _ => error,
    })?;
    let row = rows.first().ok_or_else(|| not_set_up(expected))?;
    let columns: Vec<Option<&str>> = row.iter().map(|value| value.as_deref()).collect();
    let row = Row::from_text(&columns).ok_or_else(|| {
        Error::shard(SqlState::INTERNAL_ERROR, "weir.placement holds what weir did not write")
    })?;
    placement::compare(expected, &row).map_err(Error::from)
}

fn not_set_up(expected: &Expected) -> Error {
    Mismatch::NotSetUp { shard: expected.shard.clone() }.into()
}
