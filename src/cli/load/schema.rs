//! The schema on the shards: tables before the rows, indexes and constraints after them.
use super::dump::{Kind, Section, Statement, dump, statements};
use super::{Load, at};
use crate::backend::control::Client;
use crate::backend::load::journal::{self, Journal, SCHEMA};
use crate::backend::load::{assist, prepare, source::Source};
use crate::cli::Failure;
use crate::error::Error;
use sha2::{Digest, Sha256};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::task::JoinSet;

/// Makes everything that rows need, on each shard in one transaction.
pub(super) async fn before(load: &Load, source: &Source, shards: &[Client]) -> Result<(), Failure> {
    let mut missing = Vec::new();
    for (shard, client) in load.rules.shards.iter().zip(shards) {
        if !journal::read(client).await?.contains_key(SCHEMA) {
            missing.push((&shard.name, client));
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let text = dump(load, source, Section::Before)?;
    for (name, client) in missing {
        let made = journal::run(client, &text, SCHEMA).await;
        // The dump has set what a session reads by.
        made.map_err(|error| at(&format!("shard {name}: the schema"), error))?;
        prepare(client).await?;
    }
    println!("schema: the tables are on {} shards", shards.len());
    Ok(())
}

/// Makes indexes, constraints, triggers and whatever else rows do not need, on all shards at a time.
pub(super) async fn after(load: &Load, source: &Source, shards: &[Client]) -> Result<(), Failure> {
    let text = dump(load, source, Section::After)?;
    let all = Arc::new(statements(&text, &load.leave_out)?);
    let count = all.iter().filter(|statement| statement.kind != Kind::Setting).count();
    println!("schema: {count} indexes, constraints and others on each of {} shards", shards.len());
    let mut work = JoinSet::new();
    for (shard, client) in load.rules.shards.iter().zip(shards) {
        let journal = journal::read(client).await?;
        let mut clients = Vec::new();
        let name = format!("shard {}", shard.name);
        for _ in 0..load.jobs.min(count.max(1)) {
            clients.push(load.servers.connect_to(&shard.primary, &name).await?);
        }
        let all = all.clone();
        work.spawn(async move {
            let done = on_one(&all, &journal, clients).await;
            done.map(|()| name.clone()).map_err(|error| at(&name, error))
        });
    }
    while let Some(done) = work.join_next().await {
        println!("schema: {} is complete", done.map_err(|error| Failure::new(error.to_string()))??);
    }
    Ok(())
}

/// The statements in their order; indexes that follow each other at the same time.
async fn on_one(
    all: &[Statement],
    journal: &Journal,
    mut clients: Vec<Client>,
) -> Result<(), Error> {
    for client in &clients {
        assist(client).await?;
        for setting in all.iter().filter(|statement| statement.kind == Kind::Setting) {
            client.batch_execute(&setting.text).await.map_err(crate::backend::load::failed)?;
        }
    }
    let missing = all.iter().filter(|statement| {
        statement.kind != Kind::Setting && !journal.contains_key(&step(&statement.text))
    });
    let mut indexes = VecDeque::new();
    for statement in missing {
        match statement.kind {
            Kind::Index => indexes.push_back(statement.text.clone()),
            Kind::Other => {
                clients = together(std::mem::take(&mut indexes), clients).await?;
                if let Some(client) = clients.first() {
                    make(client, &statement.text).await?;
                }
            }
            Kind::Setting => {}
        }
    }
    together(indexes, clients).await.map(drop)
}

/// Each connection takes the next one until there are none; the connections come back.
async fn together(indexes: VecDeque<String>, clients: Vec<Client>) -> Result<Vec<Client>, Error> {
    let queue = Arc::new(Mutex::new(indexes));
    let mut work = JoinSet::new();
    for client in clients {
        let queue = queue.clone();
        work.spawn(async move {
            loop {
                let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                match next {
                    Some(text) => make(&client, &text).await?,
                    None => return Ok::<_, Error>(client),
                }
            }
        });
    }
    let mut clients = Vec::new();
    while let Some(done) = work.join_next().await {
        clients.push(done.map_err(|error| Error::internal(error.to_string()))??);
    }
    Ok(clients)
}

async fn make(client: &Client, text: &str) -> Result<(), Error> {
    journal::run(client, text, &step(text)).await.map_err(|mut error| {
        error.message = format!("{}: {text}", error.message);
        if error.code.as_str() == "23503" {
            error = error.hint(
                "the rows that this foreign key joins are on different shards, since they do not carry the \
                 same key: begin anew with --restart and --leave-out its name",
            );
        }
        error
    })
}

/// A statement's name in the journal: it may stand elsewhere when the schema is read again.
fn step(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    let hex: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("schema {hex}")
}
