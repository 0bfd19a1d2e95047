//! What types cannot say of tiers, breakers and limits, and the line where it is written.
use super::{Admin, Config, MAX_TIERS, Secret};
use std::net::SocketAddr;

/// A setting: the table's header as the file has it, which one of several, and the key.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    pub table: &'a str,
    pub nth: usize,
    pub key: &'a str,
}

impl Config {
    /// Everything that is wrong with tiers, breakers and limits.
    pub(super) fn check_pools(&self, problem: &mut dyn FnMut(Place<'_>, String)) {
        self.check_tiers(problem);
        self.check_named_tiers(problem);
        self.check_sizes(problem);
        self.check_shares(problem);
    }

    fn check_tiers(&self, problem: &mut dyn FnMut(Place<'_>, String)) {
        let count = self.tiers().len();
        if count > MAX_TIERS {
            let place = Place { table: "tier", nth: 0, key: "" };
            problem(place, format!("there are {count} tiers; {MAX_TIERS} are possible"));
        }
        if self.pool.min_idle > self.pool.size {
            let place = Place { table: "pool", nth: 0, key: "min_idle" };
            problem(place, "pool.min_idle is larger than pool.size".to_owned());
        }
        if self.pool.reserve > self.pool.size {
            let place = Place { table: "pool", nth: 0, key: "reserve" };
            problem(place, "pool.reserve is larger than pool.size".to_owned());
        }
        for (name, own) in &self.tiers {
            let table = format!("tier.{name}");
            let mut wrong =
                |key: &str, text: String| problem(Place { table: &table, nth: 0, key }, text);
            if name.is_empty() || !name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'_')) {
                wrong("", format!("a tier's name has only a to z and _: [tier.{name}]"));
            }
            let size = own.size.unwrap_or(self.pool.size);
            if own.size == Some(0) {
                wrong("size", format!("{table}.size must be at least 1"));
            }
            if own.queue == Some(0) {
                wrong("queue", format!("{table}.queue must be at least 1"));
            }
            if own.min_idle.is_some_and(|idle| idle > size) {
                wrong("min_idle", format!("{table}.min_idle is larger than its size, {size}"));
            }
            if own.reserve.is_some_and(|reserve| reserve > size) {
                wrong("reserve", format!("{table}.reserve is larger than its size, {size}"));
            }
        }
    }

    /// The tiers that users and databases name.
    fn check_named_tiers(&self, problem: &mut dyn FnMut(Place<'_>, String)) {
        let tiers = self.tiers();
        let unknown = |tier: &Option<String>| tier.clone().filter(|tier| !tiers.contains(tier));
        let list = tiers.join(", ");
        for (nth, user) in self.users.iter().enumerate() {
            if let Some(tier) = unknown(&user.tier) {
                let name = &user.name;
                let text = format!("user \"{name}\" is of tier \"{tier}\"; there are {list}");
                problem(Place { table: "user", nth, key: "tier" }, text);
            }
        }
        for (name, database) in &self.databases {
            if let Some(tier) = unknown(&database.tier) {
                let text = format!("database \"{name}\" is of tier \"{tier}\"; there are {list}");
                let table = format!("database.{name}");
                problem(Place { table: &table, nth: 0, key: "tier" }, text);
            }
        }
    }

    /// Numbers that cannot be 0.
    fn check_sizes(&self, problem: &mut dyn FnMut(Place<'_>, String)) {
        let mut positive = |place: Place<'_>, value: Option<usize>| {
            if value == Some(0) {
                problem(place, format!("{}.{} must be at least 1", place.table, place.key));
            }
        };
        let fixed = [
            ("pool", "queue", self.pool.queue),
            ("limits", "hot_row_queue", self.limits.hot_row_queue),
            ("limits", "control_connections", self.limits.control_connections),
            ("probe", "failures", self.probe.failures as usize),
            ("breaker", "failures", self.breaker.failures as usize),
            ("breaker", "calls", self.breaker.calls as usize),
            ("breaker.statement", "slow_calls", self.breaker.statement.slow_calls as usize),
            ("breaker.statement", "calls", self.breaker.statement.calls as usize),
        ];
        for (table, key, value) in fixed {
            positive(Place { table, nth: 0, key }, Some(value));
        }
        for (nth, user) in self.users.iter().enumerate() {
            let place = |key| Place { table: "user", nth, key };
            positive(place("max_clients"), user.max_clients);
            positive(place("max_server_connections"), user.max_server_connections);
        }
        for (name, database) in &self.databases {
            let table = &format!("database.{name}");
            let place = |key| Place { table, nth: 0, key };
            positive(place("max_clients"), database.max_clients);
            positive(place("max_server_connections"), database.max_server_connections);
        }
    }

    fn check_shares(&self, problem: &mut dyn FnMut(Place<'_>, String)) {
        let shares =
            [("breaker", self.breaker.share), ("breaker.statement", self.breaker.statement.share)];
        for (table, share) in shares {
            if !(0.0..=1.0).contains(&share) {
                let place = Place { table, nth: 0, key: "share" };
                problem(place, format!("{table}.share is from 0 (off) to 1"));
            }
        }
        if self.probe.interval_in_doubt > self.probe.interval {
            let place = Place { table: "probe", nth: 0, key: "interval_in_doubt" };
            problem(place, "probe.interval_in_doubt is longer than probe.interval".to_owned());
        }
    }
}

/// A shorter token could be guessed.
const LEAST_TOKEN_BYTES: usize = 16;

impl Admin {
    /// What is wrong with `[admin]` where the port listens.
    pub(in crate::server) fn check(&self, listens: Option<SocketAddr>) -> Vec<&'static str> {
        let mut problems = Vec::new();
        let tls = self.certificate.is_some() && self.key.is_some();
        let asks = self.token.is_some() || self.client_authorities.is_some();
        if listens.is_some_and(|address| !address.ip().is_loopback()) && !(tls && asks) {
            problems.push(
                "listen.admin must be a loopback address such as 127.0.0.1:6433, or [admin] must have \
                 certificate and key, and token or client_authorities",
            );
        }
        if self.certificate.is_some() != self.key.is_some() {
            problems.push("admin.certificate and admin.key go together");
        }
        if self.client_authorities.is_some() && !tls {
            problems.push("admin.client_authorities needs admin.certificate and admin.key");
        }
        for (secret, problem) in [
            (&self.token, "admin.token must have at least 16 characters"),
            (&self.look_token, "admin.look_token must have at least 16 characters"),
        ] {
            let text = secret.as_ref().and_then(Secret::reveal);
            if text.is_some_and(|text| text.len() < LEAST_TOKEN_BYTES) {
                problems.push(problem);
            }
        }
        problems
    }
}

/// The line, from 1, where a file sets this; the table's header if the key is not found below it.
/// Good for files as people write them; whoever writes `tier = { … }` is told no line.
pub fn line_of(text: &str, place: Place<'_>) -> Option<usize> {
    let mut seen = 0;
    let mut header = None;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(rest) = line.strip_prefix('[') {
            if header.is_some() {
                return header;
            }
            let name = rest.trim_start_matches('[').split(']').next().unwrap_or_default();
            if name.trim().replace(['"', '\''], "") == place.table {
                header = (seen == place.nth).then_some(index + 1);
                seen += 1;
            }
            continue;
        }
        let key = line.split('=').next().unwrap_or_default().trim();
        if header.is_some() && !place.key.is_empty() && key == place.key {
            return Some(index + 1);
        }
    }
    header
}
