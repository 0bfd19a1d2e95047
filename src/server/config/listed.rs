//! Every setting by name, for SHOW CONFIG; one of them changed, for SET.
use super::{Config, Loaded, Problems};
use crate::units::duration_text;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// What `SET name = value` has said since the last reload.
pub type Changes = BTreeMap<String, String>;

/// A setting as SHOW CONFIG shows it. `None`: off, or not set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub key: String,
    pub value: Option<String>,
    pub default: Option<String>,
    /// Without a restart.
    pub changeable: bool,
}

/// How PgBouncer counts what weir calls otherwise.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    Same,
    /// 0 is off.
    Seconds,
    /// In PgBouncer's words.
    AuthType,
    Host,
    Port,
}

/// PgBouncer's names of settings that mean the same here.
const PGBOUNCER: &[(&str, &str, Unit)] = &[
    ("admin_users", "console.admins", Unit::Same),
    ("auth_file", "auth.users_file", Unit::Same),
    ("auth_query", "auth.query", Unit::Same),
    ("auth_type", "auth.method", Unit::AuthType),
    ("client_idle_timeout", "timeouts.client_idle", Unit::Seconds),
    ("client_login_timeout", "timeouts.login", Unit::Seconds),
    ("client_tls_cert_file", "tls.certificate", Unit::Same),
    ("client_tls_key_file", "tls.key", Unit::Same),
    ("default_pool_size", "pool.size", Unit::Same),
    ("idle_transaction_timeout", "timeouts.idle_in_transaction", Unit::Seconds),
    ("listen_addr", "listen.clients", Unit::Host),
    ("listen_port", "listen.clients", Unit::Port),
    ("max_client_conn", "limits.clients", Unit::Same),
    ("max_prepared_statements", "limits.prepared_statements_per_server", Unit::Same),
    ("min_pool_size", "pool.min_idle", Unit::Same),
    ("pool_mode", "pool.mode", Unit::Same),
    ("query_timeout", "timeouts.statement", Unit::Seconds),
    ("query_wait_timeout", "timeouts.checkout", Unit::Seconds),
    ("reserve_pool_size", "pool.reserve", Unit::Same),
    ("reserve_pool_timeout", "pool.reserve_after", Unit::Seconds),
    ("server_check_delay", "timeouts.server_check", Unit::Seconds),
    ("server_connect_timeout", "timeouts.connect", Unit::Seconds),
    ("server_idle_timeout", "timeouts.server_idle", Unit::Seconds),
    ("server_lifetime", "timeouts.server_lifetime", Unit::Seconds),
    ("stats_users", "console.stats", Unit::Same),
];
/// What monitoring asks for by PgBouncer's name and weir sets for single users and databases only.
const UNLIMITED: [&str; 4] = [
    "max_db_client_connections",
    "max_db_connections",
    "max_user_client_connections",
    "max_user_connections",
];

/// What only a restart changes: `reload::fixed` says the same of values.
fn needs_restart(key: &str) -> bool {
    key == "workers"
        || ["listen.", "limits.", "logging.", "tracing."].iter().any(|part| key.starts_with(part))
}

impl Config {
    /// PgBouncer's names first, then weir's own.
    pub fn listed(&self) -> Vec<Listed> {
        let (values, defaults) = (flat(self), flat(&Config::default()));
        let of = |values: &BTreeMap<String, Option<String>>, key: &str| {
            values.get(key).cloned().unwrap_or_default()
        };
        let mut listed: Vec<Listed> = PGBOUNCER
            .iter()
            .map(|&(name, key, unit)| Listed {
                key: name.to_owned(),
                value: in_unit(of(&values, key), unit),
                default: in_unit(of(&defaults, key), unit),
                changeable: !needs_restart(key),
            })
            .chain(UNLIMITED.iter().map(|name| Listed {
                key: (*name).to_owned(),
                value: Some("0".to_owned()),
                default: Some("0".to_owned()),
                changeable: false,
            }))
            .collect();
        listed.sort_by(|one, other| one.key.cmp(&other.key));
        let keys: std::collections::BTreeSet<&String> =
            values.keys().chain(defaults.keys()).collect();
        listed.extend(keys.into_iter().map(|key| Listed {
            key: key.clone(),
            value: of(&values, key),
            default: of(&defaults, key),
            changeable: !needs_restart(key),
        }));
        listed
    }

    /// weir's name of a setting and the value as weir.toml would have it; `None`: there is no such setting.
    pub fn named(name: &str, value: &str) -> Option<(String, String)> {
        let name = name.to_ascii_lowercase();
        if let Some((_, key, unit)) = PGBOUNCER.iter().find(|(known, ..)| *known == name) {
            let value = match unit {
                Unit::Same | Unit::Host | Unit::Port | Unit::AuthType => value.to_owned(),
                Unit::Seconds if value == "0" => "off".to_owned(),
                Unit::Seconds => format!("{value}s"),
            };
            return Some(((*key).to_owned(), value));
        }
        let section = name.split('.').next().unwrap_or_default();
        let known = flat(&Config::default());
        let mut sections = known.keys().filter_map(|key| key.split('.').next());
        let own = name.contains('.') && ["tier", "database"].contains(&section);
        let found = known.contains_key(&name)
            || own
            || (name.contains('.') && sections.any(|known| known == section));
        found.then(|| (name, value.to_owned()))
    }

    /// Whether SET or RELOAD can change it.
    pub fn is_changeable(key: &str) -> bool {
        !needs_restart(key)
    }

    /// The file as it is now, with these settings in the place of its own.
    pub fn load_changed(path: &Path, changes: &Changes) -> Result<Loaded, Problems> {
        Self::load_as(path, |text, name| match changes.is_empty() {
            true => Self::parse(text, name),
            false => Self::parse(text, name).and_then(|_| changed(text, changes)),
        })
    }
}

fn changed(text: &str, changes: &Changes) -> Result<Config, Problems> {
    let wrong = |problem: String| Problems(vec![problem]);
    let mut table: toml::Table = toml::from_str(text).map_err(|e| wrong(e.to_string()))?;
    let mut config = Err(String::new());
    for (key, value) in changes {
        let mut first = None;
        for candidate in candidates(value) {
            let mut tried = table.clone();
            if !put(&mut tried, key, candidate) {
                break;
            }
            match Config::deserialize(tried.clone()) {
                Ok(read) => {
                    (table, config) = (tried, Ok(read));
                    first = None;
                    break;
                }
                Err(error) => {
                    let message = error.message().to_owned();
                    first.get_or_insert(message);
                }
            }
            config = Err(String::new());
        }
        if let Err(problem) = &config {
            let problem = first.unwrap_or_else(|| problem.clone());
            let problem = if problem.is_empty() { "it cannot be set".to_owned() } else { problem };
            return Err(wrong(format!("{key}: {}", problem.replace('\n', " "))));
        }
    }
    config.map_err(wrong)
}

/// As what a value may be meant: weir.toml tells numbers from texts, SET does not have to.
fn candidates(value: &str) -> Vec<toml::Value> {
    let list = value.split(',').map(str::trim).filter(|part| !part.is_empty());
    let list = list.map(|part| toml::Value::String(part.to_owned())).collect();
    let number = value.parse().ok().map(toml::Value::Integer);
    let fraction = value.parse().ok().map(toml::Value::Float);
    let truth = value.parse().ok().map(toml::Value::Boolean);
    let text = [toml::Value::String(value.to_owned()), toml::Value::Array(list)];
    number.into_iter().chain(fraction).chain(truth).chain(text).collect()
}

fn put(table: &mut toml::Table, key: &str, value: toml::Value) -> bool {
    match key.split_once('.') {
        None => {
            table.insert(key.to_owned(), value);
            true
        }
        Some((section, rest)) => {
            let empty = || toml::Value::Table(toml::Table::new());
            match table.entry(section).or_insert_with(empty) {
                toml::Value::Table(inner) => put(inner, rest, value),
                // A list of tables, such as [[user]].
                _ => false,
            }
        }
    }
}

/// Names with points, and values as one would write them.
fn flat(config: &Config) -> BTreeMap<String, Option<String>> {
    let mut found = BTreeMap::new();
    // Nothing in it can fail: keys are texts, and no number is infinite.
    flatten("", &serde_json::to_value(config).unwrap_or_default(), &mut found);
    found
}

fn flatten(name: &str, value: &Value, found: &mut BTreeMap<String, Option<String>>) {
    let inner = |key: &str| match name {
        "" => key.to_owned(),
        name => format!("{name}.{key}"),
    };
    if let Some(duration) = duration(value) {
        found.insert(name.to_owned(), Some(duration_text(duration)));
        return;
    }
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(key, value)| flatten(&inner(key), value, found));
        }
        Value::Array(list) if list.iter().any(Value::is_object) => {
            for one in list {
                let own = one.get("name").and_then(Value::as_str).unwrap_or_default();
                flatten(&inner(own), one, found);
            }
        }
        Value::Array(list) => {
            let parts: Vec<String> = list.iter().filter_map(text).collect();
            found.insert(name.to_owned(), Some(parts.join(", ")));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            found.insert(name.to_owned(), text(value));
        }
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

/// As serde writes durations.
fn duration(value: &Value) -> Option<Duration> {
    let fields = value.as_object().filter(|fields| fields.len() == 2)?;
    let nanos = u32::try_from(fields.get("nanos")?.as_u64()?).ok()?;
    Some(Duration::new(fields.get("secs")?.as_u64()?, nanos))
}

fn in_unit(value: Option<String>, unit: Unit) -> Option<String> {
    let address = |value: Option<String>| -> Option<std::net::SocketAddr> {
        value?.split(", ").next()?.parse().ok()
    };
    match unit {
        Unit::Same => value,
        Unit::AuthType => value,
        Unit::Seconds => {
            let seconds = value.and_then(|text| crate::units::parse_duration(&text));
            Some(seconds.map_or(0.0, |duration| duration.as_secs_f64()).to_string())
        }
        Unit::Host => address(value).map(|address| address.ip().to_string()),
        Unit::Port => address(value).map(|address| address.port().to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(config: &Config, key: &str) -> Option<String> {
        config.listed().into_iter().find(|listed| listed.key == key).unwrap().value
    }

    #[test]
    fn settings_are_listed_as_they_are_written_and_under_pgbouncers_names() {
        let text = "rules = ['a.toml', 'b.toml']\n[pool]\nsize = 7\n[timeouts]\nstatement = '90s'\n\
                    [[user]]\nname = 'ann'\npassword = 's3cret'\npool_size = 2\n\
                    [database.shop]\npool_mode = 'session'\n";
        let config = Config::parse(text, "weir.toml").unwrap();
        let expected = [
            ("rules", "a.toml, b.toml"),
            ("pool.size", "7"),
            ("default_pool_size", "7"),
            ("timeouts.statement", "90s"),
            ("query_timeout", "90"),
            ("timeouts.connect", "5s"),
            ("max_client_conn", "10000"),
            ("listen_port", "6432"),
            ("user.ann.pool_size", "2"),
            ("user.ann.password", "********"),
            ("database.shop.pool_mode", "session"),
            ("tier.batch.slow_statement", "off"),
        ];
        for (key, expected) in expected {
            assert_eq!(value(&config, key).as_deref(), Some(expected), "{key}");
        }
        assert_eq!(value(&config, "timeouts.total"), None);
        let listed = config.listed();
        assert!(listed.iter().all(|one| !one.value.as_deref().unwrap_or("").contains("s3cret")));
        let fixed = |key: &str| !listed.iter().find(|one| one.key == key).unwrap().changeable;
        assert!(fixed("limits.clients") && fixed("max_client_conn") && !fixed("pool.size"));
    }

    #[test]
    fn a_setting_is_changed_by_either_name_and_a_wrong_value_is_told() {
        let file = "rules = ['a.toml']\n";
        let set = |name: &str, value: &str| {
            let (key, value) = Config::named(name, value).expect("it is known");
            changed(file, &Changes::from([(key, value)]))
        };
        assert_eq!(set("default_pool_size", "7").unwrap().pool.size, 7);
        assert_eq!(set("pool.size", "8").unwrap().pool.size, 8);
        assert_eq!(set("query_timeout", "0").unwrap().timeouts.statement, None);
        let five = Some(Duration::from_secs(5));
        assert_eq!(set("query_timeout", "5").unwrap().timeouts.statement, five);
        assert_eq!(set("console.admins", "ann, bob").unwrap().console.admins, ["ann", "bob"]);
        assert_eq!(
            set("database.shop.pool_size", "3").unwrap().databases["shop"].pool_size,
            Some(3)
        );
        for (name, value) in [("pool.size", "many"), ("pool.sise", "7"), ("tier.x.size", "-1")] {
            let problems = set(name, value).unwrap_err().to_string();
            assert!(problems.starts_with(name), "{problems}");
        }
        for unknown in ["extra_float_digits", "search_path", "nothing.else"] {
            assert_eq!(Config::named(unknown, "1"), None, "{unknown}");
        }
    }
}
