//! Statements a client has prepared, and the names under which servers know them.
//!
//! A server statement's name is shared by everything that decides its meaning: text, parameter
//! types, catalog, and the settings that parsing looks at. So a connection that prepared it for one
//! client serves all others with the same one.
use super::merged::Kept;
use crate::exec::describe::ResultShape;
use crate::exec::relay::Edit;
use crate::ids::{Oid, RulesVersion};
use crate::plan::Planned;
use crate::sql::encoding::Encoding;
use crate::sql::explained::Explained;
use crate::txn::settings::{Meaning, Settings};
use bytes::Bytes;
use foldhash::HashMap;
use std::cell::{Cell, OnceCell, RefCell};
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;

/// A statement as a client prepared it, by Parse or by PREPARE.
pub struct Statement {
    meant: Rc<Meant>,
    pub naming: Naming,
    /// What an EXECUTE executes: a server has to know that first.
    pub executes: Option<Rc<Statement>>,
    /// How a server's errors about it become the client's.
    pub edit: Rc<Edit>,
    /// The catalog under which its result was last known to be what the client was told.
    pub catalog_version: Cell<u64>,
    /// What shards are asked if its rows are on several, once that has been asked.
    pub kept: RefCell<Option<Kept>>,
    /// What the client was told of its result, if it asked.
    pub told: Cell<Option<ResultShape>>,
}

/// What all clients of a worker share that prepare the same under the same circumstances.
pub struct Meant {
    /// What it was planned under: with other rules it has to be planned anew.
    pub under: Under,
    /// As the client wrote it: what plan and literals refer to.
    pub text: String,
    /// As servers get it.
    pub sent: String,
    pub types: Vec<Oid>,
    pub planned: Planned,
    pub form: Form,
    pub identity: Rc<Identity>,
    /// It is an EXPLAIN: text and plan are those of the query.
    pub explains: Option<Explains>,
    /// What the client wrote it in.
    pub encoding: Encoding,
    /// The settings that decide its meaning, as they were when the client prepared it: a server that
    /// prepares it later does so under the same.
    pub settings: Arc<Meaning>,
    /// How errors about it become those of a client that calls it by no name.
    pub edit: Rc<Edit>,
}

impl Deref for Statement {
    type Target = Meant;

    fn deref(&self) -> &Meant {
        &self.meant
    }
}

impl Statement {
    /// `name`: the client's.
    pub fn new(
        meant: Rc<Meant>,
        name: &str,
        naming: Naming,
        executes: Option<Rc<Statement>>,
        catalog: u64,
    ) -> Self {
        let edit = match &meant.edit.name {
            Some((theirs, _)) if !name.is_empty() && *theirs == meant.identity.name => {
                let renamed = Some((theirs.clone(), name.to_owned()));
                Rc::new(Edit { name: renamed, ..Edit::clone(&meant.edit) })
            }
            Some(_) | None => meant.edit.clone(),
        };
        let (catalog_version, told) = (Cell::new(catalog), Cell::new(None));
        let kept = RefCell::default();
        Self { meant, naming, executes, edit, catalog_version, kept, told }
    }

    /// Whether the client's settings still have it mean what it meant when it was prepared.
    pub fn means_the_same(&self, settings: &Settings) -> bool {
        *settings.meaning() == self.settings
    }

    /// The same for one server, which is sent other words that mean what these mean elsewhere.
    pub fn sent_as(
        &self,
        sent: String,
        identity: Rc<Identity>,
        edit: Rc<Edit>,
        naming: Naming,
    ) -> Self {
        let meant = Meant {
            under: self.under.clone(),
            text: self.text.clone(),
            sent,
            types: self.types.clone(),
            planned: self.planned.clone(),
            form: self.form.clone(),
            identity,
            explains: None,
            encoding: self.encoding,
            settings: self.settings.clone(),
            edit: Rc::default(),
        };
        let catalog_version = self.catalog_version.clone();
        let (meant, kept, told) = (Rc::new(meant), RefCell::default(), Cell::new(None));
        Self { meant, naming, executes: None, edit, catalog_version, kept, told }
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
    pub search_path: Option<Arc<str>>,
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

/// Interns identities, and what was prepared under them. Bounded: when full it starts anew, and servers
/// forget the old names as their own bound pushes them out.
pub struct Identities {
    capacity: usize,
    next: u64,
    known: HashMap<String, Rc<Identity>>,
    meant: HashMap<Box<[u8]>, Rc<Meant>>,
    /// How long both maps' keys are.
    bytes: usize,
    /// The look-up key under construction.
    key: Vec<u8>,
}

/// For each identity, so many bytes of statements are kept.
const KEY_BYTES: usize = 1024;

/// What a client prepares, and all that decides what it means.
pub struct Wording<'w> {
    pub text: &'w str,
    pub types: &'w [Oid],
    pub under: &'w Under,
    pub user: &'w str,
    pub meaning: &'w Meaning,
}

impl Wording<'_> {
    /// No two have the same: numbers are of one length, and no text holds a zero.
    fn write_key(&self, key: &mut Vec<u8>) {
        key.clear();
        key.extend_from_slice(&self.under.rules.0.to_ne_bytes());
        key.extend_from_slice(&self.under.catalog.to_ne_bytes());
        key.extend_from_slice(&self.types.len().to_ne_bytes());
        self.types.iter().for_each(|oid| key.extend_from_slice(&oid.0.to_ne_bytes()));
        // The path is one of the settings.
        for part in [self.user, "\0", &self.meaning.key, "\0", self.text] {
            key.extend_from_slice(part.as_bytes());
        }
    }
}

impl Identities {
    pub fn new(capacity: usize) -> Self {
        let (known, meant, key) = (HashMap::default(), HashMap::default(), Vec::new());
        Self { capacity, next: 1, known, meant, bytes: 0, key }
    }

    /// What is meant by a Parse message, if it was prepared before.
    pub fn meant(&mut self, wording: &Wording<'_>) -> Option<Rc<Meant>> {
        wording.write_key(&mut self.key);
        self.meant.get(self.key.as_slice()).cloned()
    }

    pub fn remember(&mut self, wording: &Wording<'_>, meant: Rc<Meant>) {
        wording.write_key(&mut self.key);
        self.make_room(self.key.len());
        self.meant.insert(self.key.as_slice().into(), meant);
    }

    fn make_room(&mut self, bytes: usize) {
        let most = self.known.len().max(self.meant.len());
        if most >= self.capacity || self.bytes + bytes > self.capacity * KEY_BYTES {
            self.forget_all();
        }
        self.bytes += bytes;
    }

    /// From now on every statement gets a new name.
    pub fn forget_all(&mut self) {
        self.known.clear();
        self.meant.clear();
        self.bytes = 0;
    }

    pub fn intern(
        &mut self,
        text: &str,
        types: &[Oid],
        form: &Form,
        catalog: u64,
        meaning: &Meaning,
    ) -> Rc<Identity> {
        let key = format!("{catalog}\0{:?}\0{types:?}\0{form:?}\0{text}", meaning.key);
        if let Some(identity) = self.known.get(&key) {
            return identity.clone();
        }
        self.make_room(key.len());
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::txn::settings::{Own, Values};

    #[test]
    fn statements_share_a_name_only_if_they_mean_the_same() {
        let mut identities = Identities::new(10);
        let mut name = |text, types: &[Oid], catalog, zone: &str| {
            let zone = Values::from([("timezone".to_owned(), zone.to_owned())]);
            let settings = Settings::new(Arc::new(zone), Own::default());
            identities.intern(text, types, &Form::Parse, catalog, settings.meaning()).name.clone()
        };
        let first = name("select $1", &[Oid(23)], 1, "UTC");
        assert_eq!(first, name("select $1", &[Oid(23)], 1, "UTC"));
        assert_ne!(first, name("select $1", &[Oid(20)], 1, "UTC"));
        assert_ne!(first, name("select $1", &[Oid(23)], 2, "UTC"));
        assert_ne!(first, name("select $1", &[Oid(23)], 1, "Asia/Tokyo"));
        assert_ne!(first, name("select $2", &[Oid(23)], 1, "UTC"));
    }
}
