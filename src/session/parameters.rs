//! What a client is told of its server at the start: the ParameterStatus messages that PostgreSQL
//! would send it. A home server is asked once for each user and set of start-up settings.
use super::site::apply;
use super::{Database, Serving};
use crate::auth::Login;
use crate::error::{Error, SqlState};
use crate::txn::settings::{Settings, Values};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Answers already given, by user and start-up settings.
#[derive(Default)]
pub(super) struct Known {
    catalog_version: u64,
    answers: HashMap<(String, Arc<Values>), Arc<Parameters>>,
}

impl Known {
    pub(super) fn is_empty(&self) -> bool {
        self.answers.is_empty()
    }
}

/// Names and values, as ParameterStatus tells them.
type Parameters = BTreeMap<String, String>;

/// So many different start-ups are remembered.
const MAX_KNOWN: usize = 1024;

/// The parameters to report to a client that starts with these settings.
pub(super) async fn describe(
    database: &Database,
    serving: &Serving,
    login: &Arc<Login>,
    settings: &Settings,
) -> Result<Arc<Parameters>, Error> {
    let key = (login.user.clone(), settings.session().clone());
    {
        let mut known = database.parameters.borrow_mut();
        if known.catalog_version != serving.catalog_version || known.answers.len() >= MAX_KNOWN {
            known.answers.clear();
            known.catalog_version = serving.catalog_version;
        }
        if let Some(answer) = known.answers.get(&key) {
            return Ok(answer.clone());
        }
    }
    let cluster = database.cluster(serving);
    let home = serving.rules.home;
    let leased = cluster.lease(home, database.passed_on(), login).await;
    let mut lease = leased.map_err(|error| in_postgres_words(error, database))?;
    apply(&mut lease, settings.session()).await.map_err(Error::fatal)?;
    let answer = Arc::new(lease.parameters.clone());
    database.parameters.borrow_mut().answers.insert(key, answer.clone());
    Ok(answer)
}

/// A name that was passed on and that the server does not know is the client's mistake, not the
/// shard's.
fn in_postgres_words(error: Error, database: &Database) -> Error {
    match database.passed_on() {
        Some(name) if error.code == SqlState::INVALID_CATALOG_NAME => {
            Error::client(error.code, format!("database \"{name}\" does not exist")).fatal()
        }
        Some(_) | None => error,
    }
}
