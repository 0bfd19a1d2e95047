//! `weir.load` on each shard: the steps of a load that this shard has behind it.
use super::failed;
use crate::backend::control::Client;
use crate::error::Error;
use std::collections::BTreeMap;

const CREATE: &str = "\
CREATE SCHEMA IF NOT EXISTS weir;
CREATE TABLE IF NOT EXISTS weir.load (
    step  text PRIMARY KEY,
    says  text NOT NULL,
    ended timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE weir.load IS 'the steps of weir load that are done: see docs/load.md'";

/// The first step. It says what is loaded, and how.
pub const BEGUN: &str = "begun";
/// What was said of each table of the source when the load began; on the home shard only.
pub const SOURCE: &str = "source";
pub const SCHEMA: &str = "schema";
pub const DONE: &str = "done";

/// The steps that are done, with what they say.
pub type Journal = BTreeMap<String, String>;

/// Empty where nothing has ever been loaded.
pub async fn read(client: &Client) -> Result<Journal, Error> {
    let exists = "SELECT to_regclass('weir.load') IS NOT NULL";
    let exists: bool =
        client.query_one(exists, &[]).await.and_then(|row| row.try_get(0)).map_err(failed)?;
    if !exists {
        return Ok(Journal::new());
    }
    let rows = client.query("SELECT step, says FROM weir.load", &[]).await.map_err(failed)?;
    let step = |row: &tokio_postgres::Row| Ok((row.try_get(0)?, row.try_get(1)?));
    rows.iter().map(step).collect::<Result<_, _>>().map_err(failed)
}

/// The table, with the first steps in it.
pub async fn begin(client: &Client, steps: &[(&str, &str)]) -> Result<(), Error> {
    let steps: Vec<_> = steps.iter().map(|(step, says)| done(step, says)).collect();
    let text = format!("BEGIN; {CREATE}; {}; COMMIT", steps.join("; "));
    client.batch_execute(&text).await.map_err(failed)
}

/// A step that needs no transaction with anything else.
pub async fn note(client: &Client, step: &str, says: &str) -> Result<(), Error> {
    client.batch_execute(&done(step, says)).await.map_err(failed)
}

/// Does this and notes it, or neither.
pub async fn run(client: &Client, text: &str, step: &str) -> Result<(), Error> {
    let outcome =
        client.batch_execute(&format!("BEGIN; {text};\n{}; COMMIT", done(step, ""))).await;
    if outcome.is_err() && !client.is_closed() {
        client.batch_execute("ROLLBACK").await.map_err(failed)?;
    }
    outcome.map_err(failed)
}

/// The statement that notes a step.
pub fn done(step: &str, says: &str) -> String {
    format!("INSERT INTO weir.load (step, says) VALUES ({}, {})", literal(step), literal(says))
}

/// Forgets everything.
pub async fn forget(client: &Client) -> Result<(), Error> {
    client.batch_execute("DROP TABLE IF EXISTS weir.load").await.map_err(failed)
}

/// With standard_conforming_strings, which every load has.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
