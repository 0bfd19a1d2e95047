//! PgBouncer's configuration as weir's: pgbouncer.ini → weir.toml and a rules file for each database.
//!
//! One translation serves `weir serve pgbouncer.ini` (in memory), `weir import` (into files) and
//! docs/pgbouncer.md (its tables). What would be lost is named with file and line: as a warning where that
//! does no harm, as an error where ignoring it would let in others or change what a transaction means.
//!
//! - `ini`: the file's form
//! - `settings`: the section [pgbouncer], setting by setting
//! - `databases`: the connection strings of [databases] and [users]
//! - `draft`: a weir.toml in the making
pub mod databases;
mod draft;
mod ini;
pub mod settings;
#[cfg(test)]
mod tests;

use super::config::Problems;
use crate::auth::users::Users;
use draft::{Draft, milliseconds, text};
use ini::{Entry, Place, Unreadable};
use settings::{Fate, SETTINGS, Setting};
use std::collections::BTreeMap;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};

/// What weir makes of a PgBouncer configuration.
#[derive(Debug, PartialEq, Eq)]
pub struct Translation {
    pub weir_toml: String,
    pub rules: Vec<RulesFile>,
    /// `file:line: what`: settings that have no effect.
    pub warnings: Vec<String>,
}

#[derive(Debug, PartialEq, Eq)]
pub struct RulesFile {
    /// Relative to weir.toml's folder.
    pub name: String,
    pub text: String,
}

/// Whether this is PgBouncer's file rather than a weir.toml.
pub fn is_its_file(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "ini")
}

/// Reads a pgbouncer.ini, the files that it includes, and its auth_file.
pub fn translate(path: &Path) -> Result<Translation, Problems> {
    let entries = ini::read(path).map_err(|wrong| Problems(wrong.iter().map(told).collect()))?;
    let mut translator = Translator::default();
    translator.settings(&entries);
    let common = translator.common(&entries, path);
    let mut rules = Vec::new();
    for entry in of_section(&entries, "databases") {
        if entry.name == "pgbouncer" {
            translator.wrong(&entry.place, "the name pgbouncer is the console's");
            continue;
        }
        match databases::database(entry, &common, &mut translator.draft) {
            Ok(file) => rules.push(file),
            Err(problem) => translator.wrong(&entry.place, format!("{}: {problem}", entry.name)),
        }
    }
    for entry in of_section(&entries, "users") {
        if let Err(problem) = databases::user(entry, &mut translator.draft) {
            translator.wrong(&entry.place, format!("{}: {problem}", entry.name));
        }
    }
    for entry in of_section(&entries, "peers").iter().take(1) {
        translator
            .warn(&entry.place, "[peers]: a cancel request has to reach the weir of its client");
    }
    let known = ["databases", "users", "peers", "pgbouncer"];
    for entry in entries.iter().filter(|entry| !known.contains(&entry.section.as_str())) {
        translator.wrong(&entry.place, format!("[{}] is no section of PgBouncer's", entry.section));
    }
    if rules.is_empty() && translator.problems.is_empty() {
        translator.problems.push(format!("{}: [databases] has no database", path.display()));
    }
    if !translator.problems.is_empty() {
        return Err(Problems(translator.problems));
    }
    let names: Vec<_> = rules.iter().map(|file| file.name.clone()).collect();
    translator.draft.set("", "rules", draft::texts(&names), None);
    let weir_toml = format!(
        "# What weir made of {}; a line without its place there is a default of PgBouncer's.\n{}",
        path.display(),
        translator.draft.write()
    );
    Ok(Translation { weir_toml, rules, warnings: translator.warnings })
}

/// The entries of a section; of those with the same name the last.
fn of_section<'a>(entries: &'a [Entry], section: &str) -> Vec<&'a Entry> {
    let mut found: Vec<&Entry> = Vec::new();
    for entry in entries.iter().filter(|entry| entry.section == section) {
        found.retain(|before| before.name != entry.name);
        found.push(entry);
    }
    found
}

fn told(wrong: &Unreadable) -> String {
    format!("{}: {}", wrong.place, wrong.problem)
}

/// What databases need to know of the rest.
pub struct Common {
    /// Clients are not asked who they are, so each database has to say who they are on its server.
    needs_user: bool,
    pool_size: u64,
    has_reserve: bool,
    auth_user: Option<String>,
    auth_query: String,
    auth_database: Option<String>,
    socket_folder: Option<String>,
    server_tls: Vec<(&'static str, String)>,
    users: Users,
    /// Of the databases.
    names: Vec<String>,
}

impl Common {
    fn has_database(&self, name: &str) -> bool {
        self.names.iter().any(|known| known == name || known == "*")
    }

    /// Of a database's rules: its name as far as it is one for a file, and no other's.
    fn file_name(&self, database: &str) -> String {
        let safe = |name: &str| -> String {
            let letter = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
            if name == "*" { "any".to_owned() } else { name.chars().map(letter).collect() }
        };
        let same = self.names.iter().take_while(|name| *name != database);
        match same.filter(|name| safe(name).eq_ignore_ascii_case(&safe(database))).count() {
            0 => format!("{}.rules.toml", safe(database)),
            several => format!("{}-{}.rules.toml", safe(database), several + 1),
        }
    }
}

#[derive(Default)]
struct Translator {
    draft: Draft,
    /// Settings that are not for one line of weir.toml.
    used: BTreeMap<&'static str, Entry>,
    problems: Vec<String>,
    warnings: Vec<String>,
}

impl Translator {
    fn wrong(&mut self, place: &Place, what: impl AsRef<str>) {
        self.problems.push(format!("{place}: {}", what.as_ref()));
    }

    fn warn(&mut self, place: &Place, what: impl AsRef<str>) {
        self.warnings.push(format!("{place}: {}", what.as_ref()));
    }

    fn settings(&mut self, entries: &[Entry]) {
        for entry in of_section(entries, "pgbouncer") {
            let (name, place) = (&entry.name, &entry.place);
            let Some(setting) = Setting::named(name) else {
                self.wrong(place, format!("{name} is no setting of PgBouncer's, up to 1.25"));
                continue;
            };
            match &setting.fate {
                Fate::Used(_) => drop(self.used.insert(setting.name, entry.clone())),
                Fate::Same(_) => {}
                // PgBouncer does not mind settings with nothing behind the sign.
                Fate::Kept(..) if entry.value.is_empty() => {}
                Fate::Kept(_, apply) => {
                    if let Err(problem) = apply(&mut self.draft, entry) {
                        self.wrong(place, format!("{name}: {problem}"));
                    }
                }
                Fate::Ignored(_) | Fate::Refused(_) if setting.is_default(&entry.value) => {}
                Fate::Ignored(why) => self.warn(place, format!("{name} has no effect: {why}")),
                Fate::Refused(why) => self.wrong(place, format!("{name} is not supported: {why}")),
            }
        }
        for setting in SETTINGS {
            let default = || Entry {
                section: "pgbouncer".to_owned(),
                name: setting.name.to_owned(),
                value: setting.default.to_owned(),
                place: Place { file: PathBuf::from("PgBouncer's default"), line: 0 },
            };
            match &setting.fate {
                Fate::Used(_) => drop(self.used.entry(setting.name).or_insert_with(default)),
                Fate::Kept(..) | Fate::Same(_) | Fate::Ignored(_) | Fate::Refused(_) => {}
            }
        }
    }

    /// What an entry says of a setting that is for more than one line; empty: nothing.
    fn used(&self, name: &str) -> Entry {
        self.used.get(name).cloned().unwrap_or_else(|| Entry {
            section: String::new(),
            name: name.to_owned(),
            value: String::new(),
            place: Place { file: PathBuf::new(), line: 0 },
        })
    }

    fn said(&self, name: &str) -> Option<String> {
        Some(self.used(name).value).filter(|value| !value.is_empty())
    }

    fn number(&mut self, name: &str) -> u64 {
        let entry = self.used(name);
        settings::number(&entry).unwrap_or_else(|problem| {
            self.wrong(&entry.place, format!("{name}: {problem}"));
            0
        })
    }

    fn file(&mut self, name: &str) -> Option<String> {
        let entry = self.used(name);
        if entry.value.is_empty() {
            return None;
        }
        match absolute(&entry.value) {
            Ok(path) => Some(path),
            Err(problem) => {
                self.wrong(&entry.place, format!("{name}: {problem}"));
                None
            }
        }
    }

    fn common(&mut self, entries: &[Entry], path: &Path) -> Common {
        let listening = self.listen();
        self.authenticate();
        let pool_size = of_section(entries, "pgbouncer")
            .iter()
            .find(|entry| entry.name == "default_pool_size")
            .map_or(Ok(20), |entry| settings::number(entry))
            .unwrap_or(20);
        let has_reserve = self.pool(pool_size);
        self.defaults();
        let mut server_tls = vec![("sslmode", self.used("server_tls_sslmode").value)];
        for (name, key) in [
            ("server_tls_ca_file", "sslrootcert"),
            ("server_tls_cert_file", "sslcert"),
            ("server_tls_key_file", "sslkey"),
        ] {
            server_tls.extend(self.file(name).map(|file| (key, file)));
        }
        let users = self.users(path);
        Common {
            needs_user: self.used("auth_type").value == "any",
            pool_size,
            has_reserve,
            auth_user: self.said("auth_user"),
            auth_query: self.said("auth_query").unwrap_or_else(|| AUTH_QUERY.to_owned()),
            auth_database: self.said("auth_dbname"),
            socket_folder: listening,
            server_tls,
            users,
            names: of_section(entries, "databases").iter().map(|e| e.name.clone()).collect(),
        }
    }

    /// Where clients come in; the folder of Unix sockets.
    fn listen(&mut self) -> Option<String> {
        let (addresses, folder) = (self.used("listen_addr"), self.used("unix_socket_dir"));
        let port = self.number("listen_port");
        let Ok(port) = u16::try_from(port) else {
            let entry = self.used("listen_port");
            self.wrong(&entry.place, format!("listen_port: {port} is no port"));
            return None;
        };
        match listen_addresses(&addresses.value, port) {
            Ok(found) => {
                let list: Vec<_> = found.iter().map(SocketAddr::to_string).collect();
                let from = Some(&addresses.place).filter(|place| place.line > 0);
                self.draft.set("[listen]", "clients", draft::texts(&list), from);
            }
            Err(problem) => self.wrong(&addresses.place, format!("listen_addr: {problem}")),
        }
        let admin = format!("127.0.0.1:{}", port.checked_add(1).unwrap_or(port - 1));
        self.draft.set("[listen]", "admin", text(&admin), None);
        if folder.value.starts_with('@') {
            let text = "unix_socket_dir: sockets of the abstract namespace are not supported";
            self.wrong(&folder.place, text);
            return None;
        }
        if folder.value.is_empty() {
            return None;
        }
        match absolute(&folder.value) {
            Ok(path) => {
                let file = format!("{path}/.s.PGSQL.{port}");
                let from = Some(&folder.place).filter(|place| place.line > 0);
                self.draft.set("[listen]", "unix", draft::texts(&[file]), from);
                Some(path)
            }
            Err(problem) => {
                self.wrong(&folder.place, format!("unix_socket_dir: {problem}"));
                None
            }
        }
    }

    fn authenticate(&mut self) {
        let entry = self.used("auth_type");
        let from = Some(&entry.place).filter(|place| place.line > 0);
        let method = match entry.value.as_str() {
            "md5" => "md5",
            "scram-sha-256" => "scram-sha-256",
            "plain" => "password",
            "trust" | "any" => "trust",
            // Not asked: the file says it for every client.
            "hba" => "scram-sha-256",
            other => {
                let text = format!(
                    "auth_type {other} is not supported: use hba, scram-sha-256, md5, plain or trust"
                );
                return self.wrong(&entry.place, text);
            }
        };
        self.draft.set("[auth]", "method", text(method), from);
        if entry.value == "any" {
            self.warn(&entry.place, "auth_type any: the console still is for admin_users only");
        }
        // PgBouncer's "trust" is for users that it knows.
        let known = entry.value != "any";
        self.draft.set("[auth]", "known_users_only", known.to_string(), None);
        if entry.value == "hba" {
            let place = self.used("auth_hba_file").place;
            match self.file("auth_hba_file") {
                Some(file) => self.draft.set("[auth]", "hba_file", text(&file), Some(&place)),
                None => self.wrong(&entry.place, "auth_type hba needs auth_hba_file"),
            }
        }
        let place = self.used("auth_file").place;
        if let Some(file) = self.file("auth_file") {
            self.draft.set("[auth]", "users_file", text(&file), Some(&place));
        }
    }

    /// Whether pools have a reserve.
    fn pool(&mut self, size: u64) -> bool {
        let most = if size == 0 { u64::MAX } else { size };
        let idle = self.number("min_pool_size").min(most);
        self.draft.set("[pool]", "min_idle", idle.to_string(), None);
        let after = self.used("reserve_pool_timeout");
        let seconds: f64 = after.value.parse().unwrap_or(0.0);
        let reserve = self.number("reserve_pool_size");
        if reserve > most {
            let place = self.used("reserve_pool_size").place;
            self.warn(&place, format!("reserve_pool_size: at most {most}, the pool's size"));
        }
        if seconds <= 0.0 || !seconds.is_finite() {
            return false;
        }
        self.draft.set("[pool]", "reserve", reserve.min(most).to_string(), None);
        let ms = ((seconds * 1000.0) as u64).max(1);
        self.draft.set("[pool]", "reserve_after", milliseconds(ms), None);
        true
    }

    /// Where PgBouncer's defaults are not weir's.
    fn defaults(&mut self) {
        let draft = &mut self.draft;
        for (table, key, value) in [
            ("[pool]", "mode", text("session")),
            ("[pool]", "size", "20".to_owned()),
            ("[pool]", "queue", "100".to_owned()),
            ("[limits]", "clients", "100".to_owned()),
            ("[limits]", "message_size", text("1GB")),
            ("[limits]", "statement_size", text("64MB")),
            ("[timeouts]", "checkout", text("120s")),
            ("[timeouts]", "connect", text("15s")),
            ("[timeouts]", "login", text("60s")),
            ("[breaker]", "open", text("15s")),
            // PgBouncer does not judge statements.
            ("[breaker.statement]", "slow", text("off")),
            ("[breaker.statement]", "share", "0.0".to_owned()),
            ("[logging]", "connections", "true".to_owned()),
            ("[logging]", "disconnections", "true".to_owned()),
            ("[console]", "databases", draft::texts(&["weir".to_owned(), "pgbouncer".to_owned()])),
            // Of databases that have no auth_user: they are only knocked at.
            ("[control]", "user", text("")),
        ] {
            draft.set_default(table, key, value);
        }
    }

    /// The auth_file: whom weir itself is may stand there with its password.
    fn users(&mut self, path: &Path) -> Users {
        let entry = self.used("auth_file");
        if entry.value.is_empty() {
            return Users::default();
        }
        let place =
            if entry.place.line > 0 { entry.place.to_string() } else { path.display().to_string() };
        let text = match std::fs::read_to_string(&entry.value) {
            Ok(text) => text,
            Err(error) => {
                self.problems.push(format!("{place}: auth_file {}: {error}", entry.value));
                return Users::default();
            }
        };
        Users::parse(&text).unwrap_or_else(|lines| {
            let file = &entry.value;
            let told = lines.iter().map(|bad| format!("{file}:{}: {}", bad.line, bad.problem));
            self.problems.extend(told);
            Users::default()
        })
    }
}

/// As PgBouncer 1.25 asks, and only users whose password is still good.
const AUTH_QUERY: &str = "SELECT usename, CASE WHEN valuntil < pg_catalog.now() THEN NULL ELSE passwd END \
     FROM pg_catalog.pg_shadow WHERE usename = $1";

/// `*` means all; names may stand for several addresses.
fn listen_addresses(value: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    let mut addresses = Vec::new();
    for name in settings::list(value) {
        if name == "*" {
            addresses.push(SocketAddr::from(([0, 0, 0, 0], port)));
            // A machine without IPv6 has nothing to listen on there.
            if std::net::TcpListener::bind("[::1]:0").is_ok() {
                addresses.push(SocketAddr::from(([0_u16; 8], port)));
            }
            continue;
        }
        let found = (name.as_str(), port).to_socket_addrs();
        let found = found.map_err(|error| format!("{name}: {error}"))?;
        for address in found {
            let bindable =
                address.is_ipv4() || std::net::TcpListener::bind((address.ip(), 0)).is_ok();
            if bindable && !addresses.contains(&address) {
                addresses.push(address);
            }
        }
    }
    Ok(addresses)
}

/// As PgBouncer does, files are looked for in the folder in which the program was started.
fn absolute(path: &str) -> Result<String, String> {
    let path = std::path::absolute(path).map_err(|error| format!("{path}: {error}"))?;
    path.into_os_string().into_string().map_err(|_| "a path has to be UTF-8".to_owned())
}
