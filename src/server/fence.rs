//! Every server connection has to show that its shard is the one the rules mean, before any client
//! gets it: rules that put a key elsewhere must never write it.
use super::assemble::control_client;
use super::config::Config;
use crate::backend::{self, Connection};
use crate::error::{Error, SqlState};
use crate::ids::ShardId;
use crate::pool::{self, Hook, OnConnect};
use crate::rules::Rules;
use crate::rules::placement::{self, Expected, Mismatch, Row};
use arc_swap::ArcSwap;
use std::sync::Arc;

/// What the rules in force expect on each shard. Empty for a plain database, which has no
/// placement to go wrong.
pub struct Fence {
    expected: ArcSwap<Vec<Expected>>,
}

impl Fence {
    pub fn new(rules: &Rules) -> Self {
        Self { expected: ArcSwap::from_pointee(expectations(rules)) }
    }

    /// Looks at every shard before the first client does, and learns the cluster's id.
    pub async fn verify(
        &self,
        rules: &Rules,
        servers: &[pool::Shard],
        config: &Config,
    ) -> Result<(), Error> {
        if rules.is_plain() {
            return Ok(());
        }
        let mut clients = Vec::new();
        for server in servers {
            clients.push(control_client(server, config).await?);
        }
        let cluster = backend::placement::verify_all(&clients, rules).await?;
        let expected = expectations(rules).into_iter().map(|e| e.in_cluster(&cluster)).collect();
        self.expected.store(Arc::new(expected));
        Ok(())
    }
}

fn expectations(rules: &Rules) -> Vec<Expected> {
    match rules.is_plain() {
        true => Vec::new(),
        false => rules.shard_ids().map(|shard| Expected::new(rules, shard)).collect(),
    }
}

impl OnConnect for Fence {
    fn run<'a>(&'a self, connection: &'a mut Connection, shard: ShardId) -> Hook<'a> {
        Box::pin(async move {
            let expected = self.expected.load_full();
            match expected.get(usize::from(shard.0)) {
                None => Ok(()),
                Some(expected) => check(connection, expected).await,
            }
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
