//! What kind of transaction it is: READ ONLY, isolation, what was SET LOCAL; and how a shard that joins later
//! hears of it.
use super::settings::Values;
use super::{Begun, Block, Moment, Status, Transaction, settings};
use crate::plan::Access;
use std::sync::Arc;

/// What was said after BEGIN and a shard that joins later has to hear.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Setup {
    /// SET TRANSACTION: COMMIT AND CHAIN hands it on to the next transaction.
    Characteristics(String),
    /// SET LOCAL, SET CONSTRAINTS.
    Local(String),
}

impl Setup {
    pub fn text(&self) -> &str {
        match self {
            Setup::Characteristics(text) | Setup::Local(text) => text,
        }
    }
}

/// BEGIN's modes, what SET TRANSACTION said, and what holds where neither says anything.
pub struct Characteristics {
    modes: String,
    setup: Vec<Setup>,
    defaults: [Option<String>; 3],
}

/// What a transaction sees of what others do meanwhile.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Isolation {
    /// Each statement sees what is committed when it begins.
    ReadCommitted,
    RepeatableRead,
    Serializable,
}

/// What BEGIN takes from the settings. Who changes them in a transaction means the next one.
pub(super) const DEFAULTS: [&str; 3] = [
    "default_transaction_isolation",
    "default_transaction_read_only",
    "default_transaction_deferrable",
];

fn is_on(value: &str) -> bool {
    matches!(value.to_ascii_lowercase().as_str(), "on" | "true" | "yes" | "1" | "t" | "y")
}

impl Transaction {
    /// A setting that every transaction begins with, as the one that is open began.
    fn default(&self, name: &str) -> Option<&str> {
        let position = DEFAULTS.iter().position(|known| *known == name);
        match (self.status, position) {
            (Status::Open(_) | Status::Failed(_), Some(at)) => self.defaults.get(at)?.as_deref(),
            (Status::Idle, _) | (_, None) => self.settings.get(name),
        }
    }

    /// What a participant's server must have applied now: what the client has SET, but where BEGIN is still
    /// to be said with the defaults that it was said with on the others.
    pub fn wanted(&self, at: usize) -> Arc<Values> {
        let session = self.settings.session();
        let begun = self.participants.get(at).is_none_or(|other| other.begun != Begun::No);
        let same = |(name, then): (&&str, &Option<String>)| session.get(*name) == then.as_ref();
        if begun || self.status == Status::Idle || DEFAULTS.iter().zip(&self.defaults).all(same) {
            return session.clone();
        }
        let mut values = (**session).clone();
        for (name, then) in DEFAULTS.iter().zip(&self.defaults) {
            values.remove(*name);
            values.extend(then.clone().map(|then| ((*name).to_owned(), then)));
        }
        Arc::new(values)
    }

    /// Whether a joining shard hears nothing but BEGIN, which cannot fail.
    pub fn opens_plainly(&self) -> bool {
        self.modes.is_empty()
            && self.setup.is_empty()
            && self.savepoints.is_empty()
            && self.moment == Moment::Each
    }

    /// SET TRANSACTION or SET LOCAL: a shard that joins later hears it too.
    pub fn remember_setup(&mut self, statement: Setup) {
        self.setup.push(statement);
    }

    /// What was SET LOCAL.
    pub fn locals(&self) -> impl Iterator<Item = &str> {
        self.setup.iter().filter_map(|said| match said {
            Setup::Local(text) => Some(text.as_str()),
            Setup::Characteristics(_) => None,
        })
    }

    /// What makes a transaction what it is, for `chain`.
    pub fn characteristics(&self) -> Characteristics {
        let said = self.setup.iter().filter(|said| matches!(said, Setup::Characteristics(_)));
        let (setup, defaults) = (said.cloned().collect(), self.defaults.clone());
        Characteristics { modes: self.modes.clone(), setup, defaults }
    }

    /// The next transaction has the characteristics of the one before.
    pub fn chain(&mut self, Characteristics { modes, setup, defaults }: Characteristics) {
        self.begin(Block::Explicit, &modes);
        self.setup = setup;
        self.defaults = defaults;
    }

    /// The one statement text that opens the block on a shard that joins now: BEGIN with its modes,
    /// what was SET LOCAL, and the savepoints, each at its place and on a line of its own: before it may be
    /// a comment.
    pub fn opening(&self) -> String {
        let mut text = match (&self.moment, self.modes.is_empty()) {
            // An implicit block, which knows no modes. What comes after the query may write.
            (Moment::One(_), true) if self.status == Status::Open(Block::Implicit) => {
                "BEGIN ISOLATION LEVEL REPEATABLE READ".to_owned()
            }
            (Moment::Each | Moment::One(_), true) => "BEGIN".to_owned(),
            (Moment::Each | Moment::One(_), false) => format!("BEGIN {}", self.modes),
        };
        let mut said = 0;
        for savepoint in &self.savepoints {
            for statement in self.setup.iter().take(savepoint.setup).skip(said) {
                text.push_str(&format!("\n;{}", statement.text()));
            }
            said = said.max(savepoint.setup);
            let name = settings::quote_identifier(&savepoint.name);
            text.push_str(&format!("\n;SAVEPOINT {name}"));
        }
        for statement in self.setup.iter().skip(said) {
            text.push_str(&format!("\n;{}", statement.text()));
        }
        text
    }

    /// What the client has said of the transaction: the last that begins with one of these words.
    fn said_last<'w>(&self, words: &[&'w str]) -> Option<&'w str> {
        if self.modes.is_empty() && self.setup.is_empty() {
            return None;
        }
        let characteristics = self.setup.iter().rev().filter_map(|said| match said {
            Setup::Characteristics(text) => Some(text),
            Setup::Local(_) => None,
        });
        characteristics.chain([&self.modes]).find_map(|text| {
            let text = text.to_ascii_uppercase();
            let text = text.split([' ', ',', '\t', '\r', '\n']).filter(|word| !word.is_empty());
            let text = text.collect::<Vec<_>>().join(" ");
            words.iter().copied().filter(|word| text.contains(word)).max_by_key(|w| text.rfind(w))
        })
    }

    /// BEGIN READ ONLY, or the setting that says the same of every transaction. It may have been said only
    /// now, after writing.
    pub fn is_read_only(&self) -> bool {
        match self.said_last(&["READ ONLY", "READ WRITE"]) {
            Some(said) => said == "READ ONLY",
            None => self.default("default_transaction_read_only").is_some_and(is_on),
        }
    }

    /// What a statement of that access can do in this transaction: nothing that has to be committed, if
    /// servers know it to be READ ONLY.
    pub(super) fn within(&self, access: Access) -> Access {
        match access {
            Access::Write if self.is_read_only() => Access::Lock,
            access @ (Access::Read | Access::Lock | Access::Write) => access,
        }
    }

    /// How much of what others do meanwhile the transaction sees.
    pub fn isolation(&self) -> Isolation {
        let words = ["SERIALIZABLE", "REPEATABLE READ", "READ COMMITTED", "READ UNCOMMITTED"];
        let said = self
            .said_last(&words)
            .map(str::to_owned)
            .or_else(|| self.default("default_transaction_isolation").map(str::to_ascii_uppercase));
        match said.as_deref() {
            Some("SERIALIZABLE") => Isolation::Serializable,
            Some("REPEATABLE READ") => Isolation::RepeatableRead,
            Some(_) => Isolation::ReadCommitted,
            None => self.isolation_there,
        }
    }

    /// Between transactions: what the servers' own default is.
    pub fn expect_isolation(&mut self, there: Isolation) {
        self.isolation_there = there;
    }
}
