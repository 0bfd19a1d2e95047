//! What a client is told of its server at the start: the ParameterStatus messages that PostgreSQL
//! would send it. A home server is asked once for each user and set of start-up settings.
use super::site::apply;
use super::{Database, Serving};
use crate::auth::Login;
use crate::error::{Error, SqlState};
use crate::ids::TierId;
use crate::pool::{Ask, Begins, Wanted};
use crate::txn::settings::{Settings, Values};
use crate::wire::encode;
use bytes::BytesMut;
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
pub type Parameters = BTreeMap<String, String>;

/// What one client believes of its server's parameters.
pub(super) struct Told {
    at_start: Arc<Parameters>,
    since: BTreeMap<String, Vec<u8>>,
}

impl Told {
    pub fn new(at_start: Arc<Parameters>) -> Self {
        Self { at_start, since: BTreeMap::new() }
    }

    /// Writes what a server has reported and the client does not know yet.
    pub fn tell(&mut self, reports: &mut BTreeMap<String, Vec<u8>>, out: &mut BytesMut) {
        while let Some((name, value)) = reports.pop_first() {
            let at_start = self.at_start.get(&name).map(String::as_bytes);
            let known = self.since.get(&name).map(Vec::as_slice).or(at_start);
            if known != Some(value.as_slice()) {
                encode::parameter_status(&name, &value, out);
                self.since.insert(name, value);
            }
        }
    }
}

/// One allocation for the same settings, so that they are seen to be the same.
pub(super) fn shared(database: &Database, user: &str, values: Values) -> Arc<Values> {
    let key = (user.to_owned(), Arc::new(values));
    let known = database.parameters.borrow();
    let found = known.answers.get_key_value(&key);
    found.map_or(key.1, |((_, values), _)| values.clone())
}

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
    let ask = Ask {
        shard: home,
        wanted: Wanted::Primary,
        tier: TierId::INTERACTIVE,
        begins: Begins::Now,
        database: database.passed_on(),
        login,
    };
    let leased = cluster.lease(ask).await;
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
