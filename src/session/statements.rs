//! Statements a client has prepared, and the names under which servers know them.
//!
//! A server statement's name is shared by everything that decides its meaning: text, parameter
//! types, catalog, and the settings that parsing looks at. So a connection that prepared it for one
//! client serves all others with the same one.
use super::encoding::Encoding;
use super::merged::Kept;
use crate::exec::describe::ResultShape;
use crate::exec::relay::Edit;
use crate::ids::{Oid, RulesVersion};
use crate::plan::Planned;
use crate::sql::explained::Explained;
use crate::txn::settings::{Settings, Values};
use bytes::Bytes;
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

/// Settings that decide what a statement's text means when it is parsed.
const MEANING: [&str; 8] = [
    "search_path",
    "role",
    "session_authorization",
    "timezone",
    "datestyle",
    "intervalstyle",
    "standard_conforming_strings",
    "client_encoding",
];

/// A statement as a client prepared it, by Parse or by PREPARE.
pub struct Statement {
    /// What it was planned under: with other rules it has to be planned anew.
    pub under: Under,
    /// As the client wrote it: what plan and literals refer to.
    pub text: String,
    /// As servers get it.
    pub sent: String,
    pub types: Vec<Oid>,
    pub planned: Planned,
    pub form: Form,
    pub naming: Naming,
    pub identity: Rc<Identity>,
    /// What an EXECUTE executes: a server has to know that first.
    pub executes: Option<Rc<Statement>>,
    /// It is an EXPLAIN: text and plan are those of the query.
    pub explains: Option<Explains>,
    /// What the client wrote it in.
    pub(super) encoding: Encoding,
    /// How a server's errors about it become the client's.
    pub edit: Rc<Edit>,
    /// Of the settings under which the client prepared it, those that decide its meaning: a server
    /// that prepares it later does so under the same.
    pub settings: Arc<Values>,
    /// The catalog under which its result was last known to be what the client was told.
    pub catalog_version: Cell<u64>,
    /// What shards are asked if its rows are on several, once that has been asked.
    pub kept: RefCell<Option<Kept>>,
    /// What the client was told of its result, if it asked.
    pub told: Cell<Option<ResultShape>>,
}

impl Statement {
    /// Whether the client's settings still have it mean what it meant when it was prepared.
    pub fn means_the_same(&self, settings: &Settings) -> bool {
        meaning(settings) == self.settings
    }

    /// The same for one server, which is sent other words that mean what these mean elsewhere.
    pub fn sent_as(
        &self,
        sent: String,
        identity: Rc<Identity>,
        edit: Rc<Edit>,
        naming: Naming,
    ) -> Self {
        Self {
            under: self.under.clone(),
            text: self.text.clone(),
            sent,
            types: self.types.clone(),
            planned: self.planned.clone(),
            form: self.form.clone(),
            naming,
            identity,
            executes: None,
            explains: None,
            encoding: self.encoding,
            edit,
            settings: self.settings.clone(),
            catalog_version: self.catalog_version.clone(),
            kept: RefCell::default(),
            told: Cell::new(None),
        }
    }

    /// What a server is to call it: a client's unnamed statement is the server's, too, so that texts
    /// that are used once do not crowd out those that are used again.
    pub fn server_name(&self) -> &str {
        match self.naming {
            Naming::Named => &self.identity.name,
            Naming::Unnamed => "",
        }
    }
}

/// An EXPLAIN of a query whose rows may be on several shards.
pub struct Explains {
    pub explained: Explained,
    /// As the client wrote it.
    pub said: String,
}

/// What a plan depends on beside the statement's text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Under {
    pub rules: RulesVersion,
    pub catalog: u64,
    pub search_path: Option<String>,
}

/// A change of a client's statements that a failed segment may have to undo.
pub struct Change {
    pub name: String,
    pub before: Option<Rc<Statement>>,
}

/// Which name a server knows a statement by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Naming {
    Named,
    /// The unnamed statement, which the next one replaces.
    Unnamed,
}

/// How a server gets to know a statement.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Form {
    /// By a Parse message.
    Parse,
    /// By `PREPARE name (types) AS`: the types' text.
    Prepare(String),
}

/// One server statement, shared by all clients of a worker whose statements mean the same.
pub struct Identity {
    pub id: u64,
    pub name: String,
    /// Types of the parameters as a server described them; asked for when routing needs them.
    pub described: OnceCell<Vec<Oid>>,
    /// RowDescription's body as the home shard sent it, if there are rows; asked for when rows are of
    /// several shards.
    pub columns: OnceCell<Option<Bytes>>,
    /// The same of rows that weir unites, hidden columns included, as each shard has sent it.
    pub united: OnceCell<Bytes>,
}

/// Interns identities. Bounded: when full it starts anew, and servers forget the old names as
/// their own bound pushes them out.
pub struct Identities {
    capacity: usize,
    next: u64,
    known: HashMap<String, Rc<Identity>>,
}

impl Identities {
    pub fn new(capacity: usize) -> Self {
        Self { capacity, next: 1, known: HashMap::new() }
    }

    /// From now on every statement gets a new name.
    pub fn forget_all(&mut self) {
        self.known.clear();
    }

    pub fn intern(
        &mut self,
        text: &str,
        types: &[Oid],
        form: &Form,
        catalog: u64,
        meaning: &Values,
    ) -> Rc<Identity> {
        let key = format!("{catalog}\0{meaning:?}\0{types:?}\0{form:?}\0{text}");
        if let Some(identity) = self.known.get(&key) {
            return identity.clone();
        }
        if self.known.len() >= self.capacity {
            self.known.clear();
        }
        let identity = self.alone();
        self.known.insert(key, identity.clone());
        identity
    }

    /// An identity that no other statement shares: what a FETCH returns is what its session's cursor
    /// is when the FETCH is prepared.
    pub fn alone(&mut self) -> Rc<Identity> {
        let id = self.next;
        self.next += 1;
        Rc::new(Identity {
            id,
            name: format!("weir_{id}"),
            described: OnceCell::new(),
            columns: OnceCell::new(),
            united: OnceCell::new(),
        })
    }
}

/// The part of a client's settings that decides what a statement means.
pub fn meaning(settings: &Settings) -> Arc<Values> {
    let all = settings.effective();
    if all.keys().all(|name| MEANING.contains(&name.as_str())) {
        return all.clone();
    }
    let deciding = all.iter().filter(|(name, _)| MEANING.contains(&name.as_str()));
    Arc::new(deciding.map(|(name, value)| (name.clone(), value.clone())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_share_a_name_only_if_they_mean_the_same() {
        let mut identities = Identities::new(10);
        let mut name = |text, types: &[Oid], catalog, zone: &str| {
            let meaning = Values::from([("timezone".to_owned(), zone.to_owned())]);
            identities.intern(text, types, &Form::Parse, catalog, &meaning).name.clone()
        };
        let first = name("select $1", &[Oid(23)], 1, "UTC");
        assert_eq!(first, name("select $1", &[Oid(23)], 1, "UTC"));
        assert_ne!(first, name("select $1", &[Oid(20)], 1, "UTC"));
        assert_ne!(first, name("select $1", &[Oid(23)], 2, "UTC"));
        assert_ne!(first, name("select $1", &[Oid(23)], 1, "Asia/Tokyo"));
        assert_ne!(first, name("select $2", &[Oid(23)], 1, "UTC"));
    }
}
