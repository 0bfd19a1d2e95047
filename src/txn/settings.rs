//! A client's settings, followed so that any leased server can be brought to the same ones.
use crate::ids::{ShardId, TierId};
use crate::rules::{Consistency, Reads};
use crate::sql::encoding::Encoding;
use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Setting name (lower case) → value as `set_config` takes it.
pub type Values = BTreeMap<String, String>;

/// What a client has SET. Snapshots are shared, so a transaction can go back to an older one.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// What the start-up packet asked for: what RESET goes back to.
    startup: Arc<Values>,
    /// What a server has to have applied outside of any transaction.
    session: Arc<Values>,
    /// `session` with SET LOCAL on top; the same allocation when there is none.
    effective: Arc<Values>,
    /// What they mean for reading a statement.
    reading: Reading,
    /// The same three of weir's own.
    own: Scopes,
}

/// What settings say of every statement.
#[derive(Clone, Debug)]
pub struct Reading {
    pub encoding: Encoding,
    pub standard_conforming_strings: bool,
    pub search_path: Option<Arc<str>>,
    /// Who the client is, where it is not the user who logged in.
    pub role: Option<Arc<str>>,
    meaning: OnceCell<Arc<Meaning>>,
}

/// The part of a client's settings that decides what a statement means when it is parsed.
#[derive(PartialEq, Eq, Debug)]
pub struct Meaning {
    pub values: Arc<Values>,
    /// All of them in one text: equal texts are equal settings.
    pub key: Box<str>,
}

/// Their names.
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

impl Meaning {
    fn under(all: &Arc<Values>) -> Self {
        let decides = |name: &String| MEANING.contains(&name.as_str());
        let values = match all.keys().all(decides) {
            true => all.clone(),
            false => {
                let deciding = all.iter().filter(|(name, _)| decides(name));
                Arc::new(deciding.map(|(name, value)| (name.clone(), value.clone())).collect())
            }
        };
        let key =
            values.iter().map(|(name, value)| format!("{name}={value}\0")).collect::<String>();
        Self { values, key: key.into() }
    }
}

impl Default for Reading {
    fn default() -> Self {
        Self {
            encoding: Encoding::Utf8,
            standard_conforming_strings: true,
            search_path: None,
            role: None,
            meaning: OnceCell::new(),
        }
    }
}

impl Reading {
    fn under(values: &Values) -> Self {
        let off = |value: &String| matches!(value.as_str(), "off" | "false" | "no" | "0");
        let encoding = values.get("client_encoding");
        let name = |setting| values.get(setting).map(|value| value.as_str().into());
        Self {
            encoding: encoding.map_or(Encoding::Utf8, |name| Encoding::named(name)),
            standard_conforming_strings: !values
                .get("standard_conforming_strings")
                .is_some_and(off),
            search_path: name("search_path"),
            role: name("role").filter(|role: &Arc<str>| **role != *"none"),
            meaning: OnceCell::new(),
        }
    }
}

/// weir's own settings, of which no server hears. `None`: nobody has set it.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Own {
    /// `weir.shard`: everything runs there.
    pub shard: Option<ShardId>,
    /// `weir.tier`: whose connections statements use.
    pub tier: Option<TierId>,
    /// `weir.reads`: where statements that only read go.
    pub reads: Option<Reads>,
    /// `weir.consistency`: what a read over several shards sees.
    pub consistency: Option<Consistency>,
    /// `weir.gather_notice`: whether the client is told that a statement was gathered.
    pub gather_notice: Option<bool>,
}

#[derive(Clone, Copy, Default, Debug)]
struct Scopes {
    startup: Own,
    session: Own,
    effective: Own,
}

impl Settings {
    pub fn new(startup: Arc<Values>, own: Own) -> Self {
        let reading = Reading::under(&startup);
        let own = Scopes { startup: own, session: own, effective: own };
        Self { session: startup.clone(), effective: startup.clone(), startup, reading, own }
    }

    pub fn reading(&self) -> &Reading {
        &self.reading
    }

    /// What decides about a statement that is parsed now.
    pub fn meaning(&self) -> &Arc<Meaning> {
        self.reading.meaning.get_or_init(|| Arc::new(Meaning::under(&self.effective)))
    }

    /// weir's own settings as a statement sees them.
    pub fn own(&self) -> Own {
        self.own.effective
    }

    /// weir's own settings as the start-up packet had them.
    pub fn own_at_startup(&self) -> Own {
        self.own.startup
    }

    pub fn set_own(&mut self, change: impl Fn(&mut Own)) {
        change(&mut self.own.session);
        change(&mut self.own.effective);
    }

    pub fn set_own_local(&mut self, change: impl Fn(&mut Own)) {
        change(&mut self.own.effective);
    }

    /// What a server that runs this client's statements must have applied.
    pub fn session(&self) -> &Arc<Values> {
        &self.session
    }

    /// A setting as a statement sees it; `None` where the server's default stands.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.effective.get(name).map(String::as_str)
    }

    /// All settings as a statement sees them.
    pub fn effective(&self) -> &Arc<Values> {
        &self.effective
    }

    pub fn set(&mut self, name: &str, value: String) {
        Arc::make_mut(&mut self.session).insert(name.to_owned(), value.clone());
        self.set_local(name, value);
    }

    pub fn set_local(&mut self, name: &str, value: String) {
        Arc::make_mut(&mut self.effective).insert(name.to_owned(), value);
        self.reading = Reading::under(&self.effective);
    }

    /// RESET: back to the start-up packet's value, else to the server's default.
    pub fn reset(&mut self, name: &str) {
        match self.startup.get(name).cloned() {
            Some(value) => self.set(name, value),
            None => {
                Arc::make_mut(&mut self.session).remove(name);
                Arc::make_mut(&mut self.effective).remove(name);
                self.reading = Reading::under(&self.effective);
            }
        }
    }

    /// RESET ALL: as in PostgreSQL, who the client is stays.
    pub fn reset_all(&mut self) {
        let mut values = (*self.startup).clone();
        for name in IDENTITY {
            values.remove(name);
            values.extend(self.session.get(name).map(|value| (name.to_owned(), value.clone())));
        }
        self.session = Arc::new(values);
        self.effective = self.session.clone();
        self.reading = Reading::under(&self.effective);
        (self.own.session, self.own.effective) = (self.own.startup, self.own.startup);
    }

    /// The transaction has ended: what was LOCAL is gone.
    pub fn end_locals(&mut self) {
        if !Arc::ptr_eq(&self.effective, &self.session) {
            self.effective = self.session.clone();
            self.reading = Reading::under(&self.effective);
        }
        self.own.effective = self.own.session;
    }

    /// What RESET `name` would give, if the start-up packet named it.
    pub fn startup_value(&self, name: &str) -> Option<&str> {
        self.startup.get(name).map(String::as_str)
    }
}

/// The statements that bring a server from what it has `applied` to what is `wanted`, as one
/// simple query; `None` if nothing differs.
pub fn alignment(applied: &Arc<Values>, wanted: &Arc<Values>) -> Option<String> {
    if Arc::ptr_eq(applied, wanted) || applied == wanted {
        return None;
    }
    Some(differences(applied, wanted).join(";"))
}

/// Who the client is: RESET ALL leaves these alone, and changing the first undoes the second.
pub const IDENTITY: [&str; 2] = ["session_authorization", "role"];

/// The same, one statement each. Other settings are changed by the user who logged in, who may be
/// allowed more: identity is taken off before and put on again at the end.
pub fn differences(applied: &Values, wanted: &Values) -> Vec<String> {
    let identity = |name: &str| IDENTITY.contains(&name);
    let gone = applied.keys().filter(|name| !identity(name) && !wanted.contains_key(*name));
    let mut changes: Vec<_> = gone.map(|name| format!("RESET {}", reset_target(name))).collect();
    let changed = wanted.iter().filter(|(name, value)| applied.get(*name) != Some(*value));
    changes.extend(changed.filter(|(name, _)| !identity(name)).map(|(n, v)| set(n, v)));
    let same_identity = IDENTITY.iter().all(|name| applied.get(*name) == wanted.get(*name));
    if same_identity && (changes.is_empty() || IDENTITY.iter().all(|n| !applied.contains_key(*n))) {
        return changes;
    }
    let off = IDENTITY.iter().filter(|name| applied.contains_key(**name));
    let on = IDENTITY.iter().filter_map(|name| wanted.get(*name).map(|value| set(name, value)));
    let mut statements: Vec<_> = off.map(|name| format!("RESET {}", reset_target(name))).collect();
    statements.append(&mut changes);
    statements.extend(on);
    statements
}

fn set(name: &str, value: &str) -> String {
    let (name, value) = (quote_literal(name), quote_literal(value));
    format!("SELECT pg_catalog.set_config({name}, {value}, false)")
}

/// RESET takes a name, `session_authorization` has a form of its own.
fn reset_target(name: &str) -> String {
    match name {
        "session_authorization" => "SESSION AUTHORIZATION".to_owned(),
        _ => name.split('.').map(quote_identifier).collect::<Vec<_>>().join("."),
    }
}

pub fn quote_identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A literal that reads the same whatever `standard_conforming_strings` says.
pub fn quote_literal(value: &str) -> String {
    let quoted = value.replace('\'', "''");
    if value.contains('\\') {
        return format!("E'{}'", quoted.replace('\\', "\\\\"));
    }
    format!("'{quoted}'")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(pairs: &[(&str, &str)]) -> Arc<Values> {
        Arc::new(pairs.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect())
    }

    #[test]
    fn equal_settings_need_no_alignment() {
        assert_eq!(
            alignment(&values(&[("timezone", "UTC")]), &values(&[("timezone", "UTC")])),
            None
        );
    }

    #[test]
    fn alignment_resets_what_is_not_wanted_and_sets_what_differs() {
        let text = alignment(
            &values(&[("datestyle", "ISO"), ("timezone", "UTC")]),
            &values(&[("timezone", "Asia/Tokyo")]),
        );
        assert_eq!(
            text.as_deref(),
            Some(
                "RESET \"datestyle\";\
                 SELECT pg_catalog.set_config('timezone', 'Asia/Tokyo', false)"
            )
        );
    }

    #[test]
    fn settings_are_changed_by_the_user_who_logged_in() {
        assert_eq!(
            differences(
                &values(&[("role", "a"), ("session_authorization", "s")]),
                &values(&[("role", "b"), ("session_authorization", "s"), ("x.y", "1")]),
            ),
            [
                "RESET SESSION AUTHORIZATION",
                "RESET \"role\"",
                "SELECT pg_catalog.set_config('x.y', '1', false)",
                "SELECT pg_catalog.set_config('session_authorization', 's', false)",
                "SELECT pg_catalog.set_config('role', 'b', false)",
            ]
        );
    }

    #[test]
    fn a_literal_cannot_end_early() {
        assert_eq!(quote_literal("it's"), "'it''s'");
        assert_eq!(quote_literal("\\'; drop"), "E'\\\\''; drop'");
    }

    #[test]
    fn reset_goes_back_to_what_the_startup_packet_said() {
        let mut settings = Settings::new(values(&[("timezone", "UTC")]), Own::default());
        settings.set("timezone", "Asia/Tokyo".into());
        settings.set("datestyle", "ISO".into());
        settings.reset("timezone");
        settings.reset("datestyle");
        assert_eq!(settings.get("timezone"), Some("UTC"));
        assert_eq!(settings.get("datestyle"), None);
    }

    #[test]
    fn weirs_own_settings_have_the_scopes_of_others() {
        let startup = Own { tier: Some(TierId::BATCH), ..Own::default() };
        let mut settings = Settings::new(Arc::default(), startup);
        settings.set_own(|own| own.reads = Some(Reads::Replica));
        settings.set_own_local(|own| own.tier = None);
        assert_eq!(settings.own(), Own { reads: Some(Reads::Replica), ..Own::default() });
        settings.end_locals();
        assert_eq!(settings.own().tier, Some(TierId::BATCH));
        settings.reset_all();
        assert_eq!(settings.own(), startup);
        assert!(settings.session().is_empty());
    }

    #[test]
    fn a_local_setting_is_seen_by_statements_and_ends_with_the_transaction() {
        let mut settings = Settings::default();
        settings.set_local("timezone", "UTC".into());
        assert_eq!(settings.get("timezone"), Some("UTC"));
        assert!(settings.session().is_empty());
        settings.end_locals();
        assert_eq!(settings.get("timezone"), None);
    }
}
