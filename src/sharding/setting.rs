//! What a function reads from its distribution in the rules file: plain values, so that a function
//! needs neither the file's format nor a field of its own there.
use super::{Key, KeyType};
use std::collections::BTreeMap;

/// A value as the rules file writes it. Dates and times arrive as text.
#[derive(Clone, PartialEq, Debug)]
pub enum Setting {
    Int(i64),
    Text(String),
    List(Vec<Setting>),
    Table(BTreeMap<String, Setting>),
    /// Something that no function takes, e.g. a float; holds the format's name for it.
    Other(&'static str),
}

/// A distribution's settings: the key's type, how many shards it lives on, and the function's own.
#[derive(Clone, PartialEq, Debug)]
pub struct Settings {
    pub key_type: KeyType,
    pub shards: u32,
    pub own: BTreeMap<String, Setting>,
}

/// What is wrong with a setting. The rules check adds file and line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SettingError {
    /// Which of the function's own settings; it may be missing from the file.
    pub setting: &'static str,
    pub message: String,
    pub hint: String,
}

impl SettingError {
    pub fn new(
        setting: &'static str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> SettingError {
        SettingError { setting, message: message.into(), hint: hint.into() }
    }
}

impl Settings {
    pub fn new(key_type: KeyType, shards: u32) -> Settings {
        Settings { key_type, shards, own: BTreeMap::new() }
    }

    pub fn with(mut self, name: &str, value: Setting) -> Settings {
        self.own.insert(name.to_owned(), value);
        self
    }

    /// A whole number between 1 and `most`.
    pub(super) fn count(
        &self,
        name: &'static str,
        default: Option<u32>,
        most: u32,
    ) -> Result<u32, SettingError> {
        let hint = format!("write {name} = N with N from 1 to {most}");
        match self.own.get(name) {
            None => default.ok_or_else(|| SettingError::new(name, format!("no {name}"), hint)),
            Some(Setting::Int(count)) => u32::try_from(*count)
                .ok()
                .filter(|count| (1..=most).contains(count))
                .ok_or_else(|| SettingError::new(name, format!("{name} = {count}"), hint)),
            Some(other) => {
                Err(SettingError::new(name, format!("{name} is {}", other.what()), hint))
            }
        }
    }

    /// A key value as the file writes it: a number for integer keys, text for all others.
    pub(super) fn key(&self, name: &'static str, value: &Setting) -> Result<Key, SettingError> {
        let hint = format!("{name} takes values of the key_type, {}", self.key_type.name());
        let text = match (value, self.key_type.is_integer()) {
            (Setting::Int(number), true) => number.to_string(),
            (Setting::Text(text), false) => text.clone(),
            (other, _) => {
                let message = format!("{} is no {} value", other.what(), self.key_type.name());
                return Err(SettingError::new(name, message, hint));
            }
        };
        Key::from_text(self.key_type, &text)
            .map_err(|_| SettingError::new(name, format!("{text:?} is no such value"), hint))
    }
}

impl Setting {
    pub(super) fn what(&self) -> &'static str {
        match self {
            Setting::Int(_) => "a number",
            Setting::Text(_) => "a text",
            Setting::List(_) => "a list",
            Setting::Table(_) => "a table",
            Setting::Other(what) => what,
        }
    }
}
