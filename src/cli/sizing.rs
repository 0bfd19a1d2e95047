//! Do the pools fit the servers? What weir may open to each server at most, against `max_connections`.
//!
//! For each server: the sizes and reserves of all tiers, for each user of each database that has a
//! shard or its gather database there, within `max_server_connections`; and the connections of weir's own. Only the largest
//! sum is told: what is open at a time may be far less.
use crate::auth::users::Users;
use crate::backend::Address;
use crate::backend::control::{self, Client};
use crate::rules::Rules;
use crate::server::config::{AuthMethod, Config};
use std::collections::BTreeMap;
use std::fmt;

/// What one weir may open to one server.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Demand {
    /// `shard s0 of shop`, for each database that it serves.
    pub serves: Vec<String>,
    /// How to ask it.
    pub dsn: String,
    parts: Vec<Part>,
    /// For each database, and for each user, over all of the others.
    database_limits: BTreeMap<String, usize>,
    user_limits: BTreeMap<String, usize>,
    control: usize,
}

/// Users of one database who may open the same.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    database: String,
    users: Vec<String>,
    /// Name and connections of each tier, its reserve included.
    tiers: Vec<(String, usize)>,
}

/// What a server takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    pub max_connections: usize,
    /// For superusers and for pg_use_reserved_connections.
    pub reserved: usize,
}

/// The demand of several weirs is more than a server has room for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TooMany {
    server: String,
    demand: Demand,
    room: Room,
    weirs: usize,
}

impl Part {
    fn each(&self) -> usize {
        self.tiers.iter().map(|(_, size)| size).sum()
    }

    fn sum(&self) -> usize {
        self.each().saturating_mul(self.users.len())
    }
}

impl Room {
    pub fn available(&self) -> usize {
        self.max_connections.saturating_sub(self.reserved)
    }
}

impl Demand {
    /// Of one weir. Both kinds of limits hold at once, so the lower of the two sums does.
    pub fn sum(&self) -> usize {
        let by_database = self.within(&self.database_limits, |part, _| part.database.clone());
        let by_user = self.within(&self.user_limits, |_, user| user.to_owned());
        by_database.min(by_user).saturating_add(self.control)
    }

    /// The sum, where no group has more than its limit.
    fn within(
        &self,
        limits: &BTreeMap<String, usize>,
        group: impl Fn(&Part, &str) -> String,
    ) -> usize {
        let mut sums = BTreeMap::<String, usize>::new();
        for part in &self.parts {
            for user in &part.users {
                *sums.entry(group(part, user)).or_default() += part.each();
            }
        }
        let limited = |(name, sum): (&String, &usize)| {
            limits.get(name).map_or(*sum, |limit| (*sum).min(*limit))
        };
        sums.iter().map(limited).sum()
    }

    fn add(&mut self, database: &str, user: &str, tiers: Vec<(String, usize)>) {
        let same = |part: &&mut Part| part.database == database && part.tiers == tiers;
        match self.parts.iter_mut().find(same) {
            Some(part) => part.users.push(user.to_owned()),
            None => {
                let (database, users) = (database.to_owned(), vec![user.to_owned()]);
                self.parts.push(Part { database, users, tiers });
            }
        }
    }

    /// The server has no room for that many weirs.
    pub fn exceeds(self, server: &str, room: Room, weirs: usize) -> Option<TooMany> {
        let too_many = self.sum().saturating_mul(weirs) > room.available();
        too_many.then(|| TooMany { server: server.to_owned(), demand: self, room, weirs })
    }
}

/// Who may log in by name: `[[user]]` and the users file, each once.
pub fn known_users(config: &Config, file: &Users) -> Vec<String> {
    let written = config.users.iter().map(|user| user.name.as_str());
    let mut names: Vec<String> = written.chain(file.names()).map(str::to_owned).collect();
    names.sort();
    names.dedup();
    names
}

/// By server. Without any known user there is one, whoever it is.
pub fn demands(config: &Config, databases: &[Rules], users: &[String]) -> BTreeMap<String, Demand> {
    let somebody = ["any user".to_owned()];
    let users = if users.is_empty() { &somebody[..] } else { users };
    let mut demands = BTreeMap::<String, Demand>::new();
    for rules in databases {
        for shard in &rules.shards {
            for dsn in std::iter::once(&shard.primary).chain(&shard.replicas) {
                let Ok(address) = Address::parse(dsn) else { continue };
                let demand = demands.entry(address.to_string()).or_default();
                demand.dsn.clone_from(dsn);
                demand.serves.push(format!("shard {} of {}", shard.name, rules.database));
                demand.control += config.limits.control_connections;
                add_users(demand, config, &rules.database, &rules.database, users);
            }
        }
        if let Some(gather) = &rules.gather
            && let Ok(address) = Address::parse(&gather.dsn)
        {
            let demand = demands.entry(address.to_string()).or_default();
            demand.dsn.clone_from(&gather.dsn);
            demand.serves.push(format!("gather of {}", rules.database));
            demand.control += config.limits.control_connections;
            let name = format!("{}, gather", rules.database);
            add_users(demand, config, &rules.database, &name, users);
        }
    }
    demands
}

/// `name`: what the sum calls these connections. A database's limit holds for each of the servers'
/// databases by itself.
fn add_users(demand: &mut Demand, config: &Config, database: &str, name: &str, users: &[String]) {
    if let Some(limit) = config.server_connections_of_database(database) {
        demand.database_limits.insert(name.to_owned(), limit);
    }
    for user in users {
        let tiers = config.tiers().into_iter().map(|name| {
            let tier = config.tier(database, user, &name);
            (name, tier.size.saturating_add(tier.reserve))
        });
        demand.add(name, user, tiers.collect());
        let own = config.user(user).and_then(|own| own.max_server_connections);
        if let Some(limit) = own.or(config.limits.server_connections_per_user) {
            demand.user_limits.insert(user.clone(), limit);
        }
    }
}

/// Why the sum may be larger than it looks: users or databases that no file names.
pub fn open_ends(config: &Config, databases: &[Rules], users: &[String]) -> Vec<String> {
    let each: usize = config
        .tiers()
        .iter()
        .map(|name| config.tier("", "", name))
        .map(|tier| tier.size.saturating_add(tier.reserve))
        .sum();
    let mut notes = Vec::new();
    let why = match (config.auth.method, &config.auth.query) {
        (AuthMethod::Trust, None) if config.auth.known_users_only => None,
        (AuthMethod::Trust, _) => Some("auth.method = \"trust\" lets in any user"),
        (AuthMethod::Md5 | AuthMethod::ScramSha256 | AuthMethod::Password, Some(_)) => {
            Some("auth.query finds users that no file names")
        }
        (AuthMethod::Md5 | AuthMethod::ScramSha256 | AuthMethod::Password, None) => None,
    };
    if let Some(why) = why {
        let counted = match users.len() {
            0 => "one is counted here".to_owned(),
            several => format!("the {several} that files name are counted here"),
        };
        notes.push(format!(
            "{why}: {counted}, every other one may add {each} connections to each server; \
             max_server_connections of a [database.NAME] is a limit for all of them"
        ));
    }
    if databases.iter().any(|rules| rules.database == "*") {
        notes.push(format!(
            "database \"*\" has pools for each name that clients connect to: one is counted here, \
             every other one may add {each} connections for each user"
        ));
    }
    notes
}

/// What a server takes, as it says itself.
pub async fn room(client: &Client) -> Result<Room, crate::error::Error> {
    // PostgreSQL has reserved_connections since 16.
    const ASK: &str = "SELECT current_setting('max_connections'), \
        current_setting('superuser_reserved_connections'), \
        coalesce(current_setting('reserved_connections', true), '0')";
    let row = client.query_one(ASK, &[]).await.map_err(control::failed)?;
    let number = |column: usize| -> usize {
        row.try_get::<_, String>(column).ok().and_then(|text| text.parse().ok()).unwrap_or(0)
    };
    Ok(Room { max_connections: number(0), reserved: number(1).saturating_add(number(2)) })
}

impl fmt::Display for TooMany {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { server, demand, room: Room { max_connections, reserved }, weirs } = self;
        let (sum, available) = (demand.sum(), self.room.available());
        let wanted = sum.saturating_mul(*weirs);
        let serves = demand.serves.join(", ");
        writeln!(
            f,
            "server {server} ({serves}) has room for {available} connections (max_connections \
             {max_connections} - {reserved} reserved), and {} may open {wanted}:",
            count(*weirs, "weir"),
        )?;
        for part in &demand.parts {
            let tiers: Vec<_> =
                part.tiers.iter().map(|(name, size)| format!("{name} {size}")).collect();
            let (database, users) = (&part.database, count(part.users.len(), "user"));
            let (tiers, sum) = (tiers.join(" + "), part.sum());
            writeln!(f, "  {database}: {users} x ({tiers}) = {sum}")?;
        }
        let limits = demand.database_limits.iter().map(|(name, limit)| ("database", name, limit));
        let of_users = demand.user_limits.iter().map(|(name, limit)| ("user", name, limit));
        for (what, name, limit) in limits.chain(of_users) {
            writeln!(f, "  {what} {name}: at most {limit} (max_server_connections)")?;
        }
        writeln!(f, "  weir's own: {} (limits.control_connections)", demand.control)?;
        writeln!(f, "  {} x {sum} = {wanted}", count(*weirs, "weir"))?;
        write!(
            f,
            "  each weir has room for {}: lower pool.size or the tiers' sizes, set \
             max_server_connections for users or databases, or raise max_connections to {}",
            available.checked_div(*weirs).unwrap_or(available),
            wanted.saturating_add(*reserved),
        )
    }
}

fn count(number: usize, what: &str) -> String {
    match number {
        1 => format!("1 {what}"),
        several => format!("{several} {what}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules;

    const ROOM: Room = Room { max_connections: 100, reserved: 3 };

    fn config(text: &str) -> Config {
        Config::parse(text, "weir.toml").unwrap()
    }

    fn shop(database: &str, ports: &[u16]) -> Rules {
        rules::parse(&text_of(database, ports), "rules.toml")
            .unwrap_or_else(|problems| panic!("{problems}"))
    }

    fn text_of(database: &str, ports: &[u16]) -> String {
        let mut text = format!("database = '{database}'\n");
        for port in ports {
            text +=
                &format!("[[shard]]\nname = 's{port}'\nprimary = 'host=h port={port} dbname=d'\n");
        }
        text += "[[distribution]]\nname = 'd'\nfunction = 'modulo'\nkey_type = 'bigint'\n\
                 buckets = 16\n[[table]]\nname = 't'\ndistribution = 'd'\nkey = 'id'\n";
        text
    }

    fn check(settings: &str, databases: &[Rules], users: &[&str], expected: &[(&str, usize)]) {
        let users: Vec<String> = users.iter().map(|&user| user.to_owned()).collect();
        let demands = demands(&config(settings), databases, &users);
        let sums: Vec<_> =
            demands.iter().map(|(name, demand)| (name.as_str(), demand.sum())).collect();
        assert_eq!(sums, expected);
    }

    #[test]
    fn a_server_has_a_pool_for_each_user_and_tier() {
        check("", &[shop("shop", &[1, 2])], &["a", "b"], &[("h:1", 57), ("h:2", 57)]);
        let tiers = "[pool]\nsize = 10\nreserve = 2\n[tier.reports]\nsize = 3\nreserve = 0\n";
        // 12 + 7 + 3, and 7 of weir's own.
        check(tiers, &[shop("shop", &[1])], &["a"], &[("h:1", 29)]);
    }

    #[test]
    fn databases_on_one_server_add_up() {
        let databases = [shop("shop", &[1, 2]), shop("crm", &[2])];
        check("", &databases, &["a"], &[("h:1", 32), ("h:2", 64)]);
    }

    #[test]
    fn a_gather_database_counts_on_its_server() {
        let entry = "[gather]\ndsn = 'host=h port=2 dbname=gather'\n";
        let rules = rules::parse(&format!("{}{entry}", text_of("shop", &[1, 2])), "rules.toml");
        check("", &[rules.unwrap()], &["a"], &[("h:1", 32), ("h:2", 64)]);
    }

    #[test]
    fn users_and_databases_have_limits() {
        let one = [shop("shop", &[1])];
        let limit = "[database.shop]\nmax_server_connections = 30\n";
        check(limit, &one, &["a", "b", "c"], &[("h:1", 37)]);
        let user = "[[user]]\nname = 'a'\nmax_server_connections = 10\n";
        check(user, &one, &["a", "b"], &[("h:1", 42)]);
        // The lower of both sums.
        check(&format!("{limit}{user}"), &one, &["a", "b"], &[("h:1", 37)]);
    }

    #[test]
    fn with_no_known_user_one_is_counted() {
        check("", &[shop("shop", &[1])], &[], &[("h:1", 32)]);
    }

    #[test]
    fn the_warning_shows_the_arithmetic_and_what_to_lower() {
        let config = config("[[user]]\nname = 'ada'\npool_size = 9\n");
        let users = ["ada", "bob", "eve"].map(str::to_owned);
        let mut demands = demands(&config, &[shop("shop", &[1])], &users);
        let demand = demands.remove("h:1").unwrap();
        assert_eq!(demand.sum(), 71);
        assert_eq!(demand.clone().exceeds("h:1", ROOM, 1), None);
        let warning = demand.exceeds("h:1", ROOM, 2).unwrap().to_string();
        assert_eq!(
            warning,
            "server h:1 (shard s1 of shop) has room for 97 connections (max_connections 100 - 3 \
             reserved), and 2 weirs may open 142:\n  \
             shop: 1 user x (interactive 9 + batch 5) = 14\n  \
             shop: 2 users x (interactive 20 + batch 5) = 50\n  \
             weir's own: 7 (limits.control_connections)\n  \
             2 weirs x 71 = 142\n  \
             each weir has room for 48: lower pool.size or the tiers' sizes, set \
             max_server_connections for users or databases, or raise max_connections to 145"
        );
    }

    #[test]
    fn users_that_no_file_names_are_noted() {
        let rules = [shop("shop", &[1])];
        let notes = |settings: &str| open_ends(&config(settings), &rules, &["a".to_owned()]);
        assert_eq!(notes(""), [""; 0]);
        let trust = notes("[auth]\nmethod = 'trust'\n");
        assert!(trust[0].contains("every other one may add 25 connections"), "{trust:?}");
        assert!(notes("[auth]\nquery = 'SELECT 1'\n")[0].starts_with("auth.query finds users"));
    }
}
