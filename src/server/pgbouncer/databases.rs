//! The connection strings of [databases] and [users]: each parameter and what becomes of it.
use super::draft::{Draft, milliseconds, text};
use super::ini::{Entry, pairs};
use super::settings::{Fate, pool_mode, pool_size};
use super::{Common, RulesFile};
use crate::auth::users::{Stored, Users};

use Fate::{Refused, Used};

/// A parameter of a connection string.
pub struct Parameter {
    pub name: &'static str,
    pub fate: Fate,
}

const fn row(name: &'static str, fate: Fate) -> Parameter {
    Parameter { name, fate }
}

/// Of `[databases]`.
pub const OF_DATABASES: &[Parameter] = &[
    row("dbname", Used("dbname in the dsn")),
    row("host", Used("host in the dsn: a name, an address or a folder; several hosts are refused")),
    row("port", Used("port in the dsn")),
    row("user", Used("`user` of the `[database.NAME]`")),
    row("password", Used("`password` of the `[database.NAME]`")),
    row("auth_user", Used("user in the dsn: whom weir itself is on the server")),
    row("auth_query", Used("`auth_query` of the `[database.NAME]`")),
    row("auth_dbname", Used("`auth_database` of the `[database.NAME]`")),
    row("pool_size", Used("`pool_size` of the `[database.NAME]`")),
    row("min_pool_size", Used("`min_idle` of the `[database.NAME]`")),
    row("reserve_pool_size", Used("`reserve` of the `[database.NAME]`")),
    row("reserve_pool", Used("`reserve` of the `[database.NAME]`")),
    row("connect_query", Used("`connect_query` of the `[database.NAME]`")),
    row("pool_mode", Used("`pool_mode` of the `[database.NAME]`")),
    row(
        "load_balance_hosts",
        Refused("several hosts are refused: name the primary and its replicas in a rules file"),
    ),
    row("max_db_connections", Used("`max_server_connections` of the `[database.NAME]`")),
    row("max_db_client_connections", Used("`max_clients` of the `[database.NAME]`")),
    row("server_lifetime", Used("`server_lifetime` of the `[database.NAME]`")),
    row("client_encoding", Used("options in the dsn")),
    row("datestyle", Used("options in the dsn")),
    row("timezone", Used("options in the dsn")),
    row("application_name", Used("application_name in the dsn")),
];

const OF_TIERS: &str =
    "weir has it for tiers, not for single users: [tier.NAME], and tier = \"NAME\" in the [[user]]";

/// Of `[users]`.
pub const OF_USERS: &[Parameter] = &[
    row("pool_mode", Used("`pool_mode` of the `[[user]]`")),
    row("pool_size", Used("`pool_size` of the `[[user]]`")),
    row("reserve_pool_size", Used("`reserve` of the `[[user]]`")),
    row("max_user_connections", Used("`max_server_connections` of the `[[user]]`")),
    row("max_user_client_connections", Used("`max_clients` of the `[[user]]`")),
    row("query_timeout", Refused(OF_TIERS)),
    row("idle_transaction_timeout", Refused(OF_TIERS)),
    row("transaction_timeout", Refused("weir has no limit for a transaction")),
    row("client_idle_timeout", Refused("weir has it for all users alike: client_idle_timeout")),
];

/// The parameters of an entry, each once and known.
fn parameters(entry: &Entry, known: &[Parameter]) -> Result<Vec<(String, String)>, String> {
    let pairs = pairs(&entry.value)?;
    for (name, _) in &pairs {
        let Some(parameter) = known.iter().find(|known| known.name == name) else {
            return Err(format!("{name} is no parameter of PgBouncer's"));
        };
        if let Refused(why) = parameter.fate {
            return Err(format!("{name} is not supported: {why}"));
        }
    }
    Ok(pairs)
}

/// One line of [users].
pub fn user(entry: &Entry, draft: &mut Draft) -> Result<(), String> {
    draft.begin("[[user]]");
    let from = Some(&entry.place);
    draft.set("[[user]]", "name", text(&entry.name), from);
    for (name, value) in parameters(entry, OF_USERS)? {
        let mut set = |key, value| draft.set("[[user]]", key, value, from);
        match name.as_str() {
            "pool_mode" => set("pool_mode", pool_mode(&value)?),
            "pool_size" => set("pool_size", pool_size(number(&name, &value)?)),
            "reserve_pool_size" => set("reserve", number(&name, &value)?.to_string()),
            "max_user_connections" => limit(&name, &value, |n| set("max_server_connections", n))?,
            "max_user_client_connections" => limit(&name, &value, |n| set("max_clients", n))?,
            other => return Err(format!("{other} is no parameter of PgBouncer's")),
        }
    }
    Ok(())
}

/// One line of [databases]: its table, and its rules file.
pub fn database(entry: &Entry, common: &Common, draft: &mut Draft) -> Result<RulesFile, String> {
    let pairs = parameters(entry, OF_DATABASES)?;
    let get = |name: &str| {
        let found = pairs.iter().rfind(|(key, value)| key == name && !value.is_empty());
        found.map(|(_, value)| value.as_str())
    };
    let header = format!("[database.{}]", text(&entry.name));
    draft.begin(&header);
    let mut set = |key: &str, value: String| draft.set(&header, key, value, Some(&entry.place));
    let any = entry.name == "*";
    if any && get("dbname").is_some() {
        return Err("weir passes the name on that a client asks for: \"*\" cannot have a dbname; \
                    name the databases one by one"
            .to_owned());
    }
    let number_of = |name: &str| get(name).map(|value| number(name, value)).transpose();
    let size = number_of("pool_size")?;
    if let Some(size) = size {
        set("pool_size", pool_size(size));
    }
    let size = size.unwrap_or(common.pool_size);
    let most = if size == 0 { u64::MAX } else { size };
    if let Some(idle) = number_of("min_pool_size")? {
        set("min_idle", idle.min(most).to_string());
    }
    let reserve = number_of("reserve_pool_size")?.or(number_of("reserve_pool")?);
    if let Some(reserve) = reserve.filter(|_| common.has_reserve) {
        set("reserve", reserve.to_string());
    }
    if let Some(mode) = get("pool_mode") {
        set("pool_mode", pool_mode(mode)?);
    }
    for (name, key) in [
        ("max_db_connections", "max_server_connections"),
        ("max_db_client_connections", "max_clients"),
    ] {
        if let Some(value) = get(name) {
            limit(name, value, |n| set(key, n))?;
        }
    }
    if let Some(seconds) = number_of("server_lifetime")? {
        set("server_lifetime", milliseconds((seconds * 1000).max(1)));
    }
    if let Some(query) = get("connect_query") {
        set("connect_query", text(query));
    }
    match get("user") {
        Some(user) => set("user", text(user)),
        None if common.needs_user => {
            return Err("auth_type any needs user= here, as in PgBouncer".to_owned());
        }
        None => {}
    }
    if let Some(password) = get("password") {
        set("password", text(password));
    }
    let auth_user = get("auth_user").or(common.auth_user.as_deref());
    if auth_user.is_some() {
        set("auth_query", text(get("auth_query").unwrap_or(&common.auth_query)));
        if let Some(name) = get("auth_dbname").or(common.auth_database.as_deref()) {
            if !common.has_database(name) {
                return Err(format!("auth_dbname is \"{name}\", which [databases] does not have"));
            }
            set("auth_database", text(name));
        }
    }
    let mut dsn = Dsn::default();
    let host = get("host")
        .or(common.socket_folder.as_deref())
        .ok_or("it has no host, and unix_socket_dir says that there are no Unix sockets")?;
    if host.contains(',') {
        return Err(
            "several hosts are not supported: PgBouncer takes them in turn, whoever is the \
                    primary. Name the primary and its replicas in a rules file: docs/rules.md"
                .to_owned(),
        );
    }
    if host.starts_with('@') {
        return Err("sockets of the abstract namespace are not supported: name a folder".to_owned());
    }
    dsn.add("host", host);
    dsn.add("port", &number_of("port")?.unwrap_or(5432).to_string());
    match (any, get("dbname")) {
        (true, _) => {
            if auth_user.is_some() {
                // For weir itself: clients go where they say.
                dsn.add("dbname", "postgres");
            }
        }
        (false, name) => dsn.add("dbname", name.unwrap_or(&entry.name)),
    }
    // Whom weir itself is there.
    let own =
        auth_user.map(|user| (user, None)).or(get("user").map(|user| (user, get("password"))));
    if let Some((user, password)) = own {
        dsn.add("user", user);
        if let Some(password) = password.or(password_of(&common.users, user)) {
            dsn.add("password", password);
        }
    }
    if !host.starts_with('/') {
        for (name, value) in &common.server_tls {
            dsn.add(name, value);
        }
    }
    if let Some(name) = get("application_name") {
        dsn.add("application_name", name);
    }
    let options: Vec<_> = ["client_encoding", "datestyle", "timezone"]
        .into_iter()
        .filter_map(|name| get(name).map(|value| option(name, value)))
        .collect();
    if !options.is_empty() {
        dsn.add("options", &options.join(" "));
    }
    Ok(RulesFile {
        name: common.file_name(&entry.name),
        text: format!(
            "# {}\ndatabase = {}\n\n[[shard]]\nname = \"only\"\nprimary = {}\n",
            entry.place,
            text(&entry.name),
            text(&dsn.0)
        ),
    })
}

/// `-c name=value`, as a server's command line has it.
fn option(name: &str, value: &str) -> String {
    format!("-c {name}={}", value.replace('\\', "\\\\").replace(' ', "\\ "))
}

/// What a file says in plain text.
fn password_of<'a>(users: &'a Users, user: &str) -> Option<&'a str> {
    match users.get(user)? {
        Stored::Plain(plain) => Some(&plain.password),
        Stored::Scram(_) | Stored::Md5(_) => None,
    }
}

fn number(name: &str, value: &str) -> Result<u64, String> {
    value.parse().map_err(|_| format!("{name} is {value:?}, which is no number"))
}

/// 0 means that there is none.
fn limit(name: &str, value: &str, set: impl FnOnce(String)) -> Result<(), String> {
    match number(name, value)? {
        0 => Ok(()),
        limit => {
            set(limit.to_string());
            Ok(())
        }
    }
}

/// A server's address, as rules files have it.
#[derive(Default)]
struct Dsn(String);

impl Dsn {
    fn add(&mut self, name: &str, value: &str) {
        let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:".contains(c);
        let separator = if self.0.is_empty() { "" } else { " " };
        let value = match !value.is_empty() && value.chars().all(plain) {
            true => value.to_owned(),
            false => format!("'{}'", value.replace('\\', "\\\\").replace('\'', "\\'")),
        };
        self.0.push_str(&format!("{separator}{name}={value}"));
    }
}
