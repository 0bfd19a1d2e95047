//! The rules files as an operator sees them: what is in force, what the files say now, and what a changed
//! text would change.
//!
//! weir writes no file: a rules file is its owner's, mostly under version control, and other weirs must
//! have the same. So a text is checked and compared here; the file is changed where it belongs, and then
//! weir reloads.
use crate::rules::difference::Change;
use serde::{Serialize, Serializer};

pub trait RuleBook: Send + Sync + 'static {
    /// The files that weir.toml names, as they are now.
    fn files(&self) -> Vec<RulesFile>;
    /// A text that might be one of them.
    fn check(&self, text: &str) -> Checked;
}

#[derive(Debug, Serialize)]
pub struct RulesFile {
    pub path: String,
    /// With every password masked; `None`: there is none, or a password would be seen.
    pub text: Option<String>,
    #[serde(flatten)]
    pub checked: Checked,
}

/// What a text says beside the rules in force.
#[derive(Debug, Default, Serialize)]
pub struct Checked {
    /// `None`: the text has problems.
    pub database: Option<String>,
    pub problems: Vec<Problem>,
    /// What a reload would change.
    pub changes: Vec<Fact>,
    pub reload: Reload,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// From 1; `None`: of the whole file.
    pub line: Option<usize>,
    pub message: String,
    pub hint: String,
}

/// What a reload with this text would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reload {
    /// There is nothing to do.
    #[default]
    Nothing,
    Applies,
    /// The shards hold another placement: `weir rules adopt` comes first.
    NeedsAdoption,
    /// Only a restart serves other databases.
    NeedsRestart,
    /// Problems come first.
    Refused,
}

impl Serialize for Reload {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(match self {
            Self::Nothing => "nothing",
            Self::Applies => "applies",
            Self::NeedsAdoption => "needs adoption",
            Self::NeedsRestart => "needs restart",
            Self::Refused => "refused",
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fact {
    pub subject: String,
    pub before: Option<String>,
    pub after: Option<String>,
}

impl From<Change> for Fact {
    fn from(Change { subject, before, after }: Change) -> Self {
        Self { subject, before, after }
    }
}
