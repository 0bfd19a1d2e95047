//! Every setting of PgBouncer's `[pgbouncer]` section, up to 1.25, and what becomes of it.
//!
//! This table is what is translated, what docs/pgbouncer.md shows, and what a test compares with PgBouncer's
//! own documentation.
use super::draft::{Draft, milliseconds, text, texts};
use super::ini::Entry;

/// One setting.
pub struct Setting {
    pub name: &'static str,
    /// PgBouncer's own; what is set to it says nothing new.
    pub default: &'static str,
    pub fate: Fate,
}

/// What becomes of it.
pub enum Fate {
    /// It has this name in weir.toml.
    Kept(&'static str, Apply),
    /// It is part of what becomes of others.
    Used(&'static str),
    /// weir does so anyway.
    Same(&'static str),
    /// Without effect, which does no harm: a warning.
    Ignored(&'static str),
    /// An error, since ignoring it would let in others, or mean something else.
    Refused(&'static str),
}

/// Writes it down; an error says what is wrong with the value.
pub type Apply = fn(&mut Draft, &Entry) -> Result<(), String>;

use Fate::{Ignored, Kept, Refused, Same, Used};

const LOGS: &str = "weir logs to standard error: [logging]";
const DNS: &str = "names are resolved by the system at each connect";
const KEEPALIVE: &str = "idle lines are asked for a sign of life after 30 s, every 10 s";
const BUFFERS: &str = "weir's buffers have their own sizes";
const CIPHERS: &str = "TLS 1.2 and 1.3 with the ciphers that rustls holds safe";
const VERSIONS: &str = "TLS 1.2 and 1.3, as `secure`; leave it out";

pub const SETTINGS: &[Setting] = &[
    row("logfile", "", Ignored(LOGS)),
    row("pidfile", "", Ignored("there is none: systemd knows the process")),
    row("listen_addr", "", Used("`listen.clients`")),
    row(
        "listen_port",
        "6432",
        Used("`listen.clients`, `listen.unix`; `listen.admin` is the next port on 127.0.0.1"),
    ),
    row(
        "unix_socket_dir",
        "/tmp",
        Used("`listen.unix`, and the servers of databases without a host"),
    ),
    row(
        "unix_socket_mode",
        "0777",
        Kept("listen.unix_mode", |d, e| d.put(e, "listen", "unix_mode", text(&e.value))),
    ),
    row(
        "unix_socket_group",
        "",
        Kept("listen.unix_group", |d, e| d.put(e, "listen", "unix_group", text(&e.value))),
    ),
    row("user", "", Ignored("weir stays the user that it was started as")),
    row(
        "pool_mode",
        "session",
        Kept("pool.mode", |d, e| d.put(e, "pool", "mode", pool_mode(&e.value)?)),
    ),
    row(
        "max_client_conn",
        "100",
        Kept("limits.clients", |d, e| {
            d.put(e, "limits", "clients", number(e)?.to_string())?;
            d.put(e, "pool", "queue", number(e)?.to_string())
        }),
    ),
    row(
        "default_pool_size",
        "20",
        Kept("pool.size", |d, e| d.put(e, "pool", "size", pool_size(number(e)?))),
    ),
    row(
        "min_pool_size",
        "0",
        Used("`pool.min_idle`, which counts unused connections only, and at most `pool.size`"),
    ),
    row(
        "reserve_pool_size",
        "0",
        Used("`pool.reserve`, at most `pool.size`; 0 if reserve_pool_timeout is 0"),
    ),
    row("reserve_pool_timeout", "5", Used("`pool.reserve_after`")),
    row(
        "max_db_connections",
        "0",
        Kept("limits.server_connections_per_database", |d, e| {
            d.put_limit(e, "limits", "server_connections_per_database")
        }),
    ),
    row(
        "max_db_client_connections",
        "0",
        Kept("limits.clients_per_database", |d, e| {
            d.put_limit(e, "limits", "clients_per_database")
        }),
    ),
    row(
        "max_user_connections",
        "0",
        Kept("limits.server_connections_per_user", |d, e| {
            d.put_limit(e, "limits", "server_connections_per_user")
        }),
    ),
    row(
        "max_user_client_connections",
        "0",
        Kept("limits.clients_per_user", |d, e| d.put_limit(e, "limits", "clients_per_user")),
    ),
    row(
        "server_round_robin",
        "0",
        Ignored("what is used stays warm: the connection given back last is lent first"),
    ),
    row("track_extra_parameters", "", Same("every setting of a client is kept for it")),
    row(
        "ignore_startup_parameters",
        "",
        Kept("clients.ignore_startup_parameters", |d, e| {
            d.put(e, "clients", "ignore_startup_parameters", texts(&list(&e.value)))
        }),
    ),
    row("peer_id", "0", Ignored("a cancel request has to reach the weir of its client")),
    row("disable_pqexec", "0", Refused("weir always takes simple queries; leave it out")),
    row(
        "application_name_add_host",
        "0",
        Kept("clients.application_name_add_host", |d, e| {
            d.put(e, "clients", "application_name_add_host", boolean(e)?.to_string())
        }),
    ),
    row("conffile", "", Ignored("it is the file that weir was started with")),
    row("service_name", "pgbouncer", Ignored("it is for Windows")),
    row("job_name", "pgbouncer", Ignored("it is for Windows")),
    row("stats_period", "60", Ignored("averages have weir's own period")),
    row(
        "max_prepared_statements",
        "200",
        Kept("limits.prepared_statements_per_server", |d, e| {
            // weir always follows prepared statements.
            let size = Some(number(e)?).filter(|size| *size > 0).unwrap_or(200);
            d.put(e, "limits", "prepared_statements_per_server", size.to_string())
        }),
    ),
    row("scram_iterations", "4096", Ignored("verifiers of plain passwords have 4096 iterations")),
    row(
        "auth_type",
        "md5",
        Used(
            "`auth.method` (`plain` is `password`), with `auth.known_users_only`; not `cert`, `pam`, `ldap`",
        ),
    ),
    row("auth_hba_file", "", Used("`auth.hba_file`, where auth_type is hba")),
    row("auth_ident_file", "", Refused("weir has no user name maps")),
    row("auth_ldap_options", "", Refused("weir does not ask LDAP servers")),
    row("auth_file", "", Used("`auth.users_file`")),
    row("auth_user", "", Used("the user in the database's dsn: whom weir itself is on the server")),
    row("auth_query", "", Used("`auth_query` of each database with an auth_user")),
    row("auth_dbname", "", Used("`auth_database` of each database with an auth_user")),
    row("syslog", "0", Ignored(LOGS)),
    row("syslog_ident", "pgbouncer", Ignored(LOGS)),
    row("syslog_facility", "daemon", Ignored(LOGS)),
    row(
        "log_connections",
        "1",
        Kept("logging.connections", |d, e| {
            d.put(e, "logging", "connections", boolean(e)?.to_string())
        }),
    ),
    row(
        "log_disconnections",
        "1",
        Kept("logging.disconnections", |d, e| {
            d.put(e, "logging", "disconnections", boolean(e)?.to_string())
        }),
    ),
    row(
        "log_pooler_errors",
        "1",
        Ignored("errors are counted, and logged where an operator can do something"),
    ),
    row("log_stats", "1", Ignored("/metrics and SHOW have the numbers")),
    row(
        "verbose",
        "0",
        Kept("logging.level", |d, e| {
            let level = if number(e)? > 0 { "debug" } else { "info" };
            d.put(e, "logging", "level", text(level))
        }),
    ),
    row(
        "admin_users",
        "",
        Kept("console.admins", |d, e| d.put(e, "console", "admins", texts(&list(&e.value)))),
    ),
    row(
        "stats_users",
        "",
        Kept("console.stats", |d, e| d.put(e, "console", "stats", texts(&list(&e.value)))),
    ),
    row(
        "server_reset_query",
        "DISCARD ALL",
        Same(
            "in session mode a server connection is closed when its client leaves; in the other modes a client's settings are its own",
        ),
    ),
    row("server_reset_query_always", "0", Ignored("nothing of one client is seen by the next")),
    row(
        "server_check_delay",
        "30",
        Kept("timeouts.server_check", |d, e| d.put(e, "timeouts", "server_check", time(e, "1ms")?)),
    ),
    row("server_check_query", "select 1", Same("an empty query")),
    row("server_fast_close", "0", Ignored("a session keeps its server until it ends")),
    row(
        "server_lifetime",
        "3600",
        Kept("timeouts.server_lifetime", |d, e| {
            d.put(e, "timeouts", "server_lifetime", time(e, "1ms")?)
        }),
    ),
    row(
        "server_idle_timeout",
        "600",
        Kept("timeouts.server_idle", |d, e| d.put(e, "timeouts", "server_idle", time(e, "off")?)),
    ),
    row(
        "server_connect_timeout",
        "15",
        Kept("timeouts.connect", |d, e| d.put(e, "timeouts", "connect", time(e, "365d")?)),
    ),
    row(
        "server_login_retry",
        "15",
        Kept("breaker.open", |d, e| d.put(e, "breaker", "open", time(e, "1ms")?)),
    ),
    row(
        "client_login_timeout",
        "60",
        Kept("timeouts.login", |d, e| d.put(e, "timeouts", "login", time(e, "365d")?)),
    ),
    row("autodb_idle_timeout", "3600", Same("pools that nobody uses are given up")),
    row("dns_max_ttl", "15", Ignored(DNS)),
    row("dns_nxdomain_ttl", "15", Ignored(DNS)),
    row("dns_zone_check_period", "0", Ignored(DNS)),
    row("resolv_conf", "", Ignored(DNS)),
    row(
        "query_wait_notify",
        "5",
        Ignored("who waits is told nothing before it has a server or an error"),
    ),
    row(
        "client_tls_sslmode",
        "disable",
        Kept("tls.mode", |d, e| {
            let mode = match e.value.as_str() {
                "disable" => "off",
                "allow" | "prefer" => "allow",
                "require" => "require",
                "verify-ca" | "verify-full" => {
                    return Err(
                        "weir does not ask clients for certificates: use require, and passwords"
                            .to_owned(),
                    );
                }
                _ => return Err("is not an sslmode".to_owned()),
            };
            d.put(e, "tls", "mode", text(mode))
        }),
    ),
    row("client_tls_key_file", "", Kept("tls.key", |d, e| d.put(e, "tls", "key", file(e)?))),
    row(
        "client_tls_cert_file",
        "",
        Kept("tls.certificate", |d, e| d.put(e, "tls", "certificate", file(e)?)),
    ),
    row("client_tls_ca_file", "", Ignored("clients are not asked for certificates")),
    row("client_tls_protocols", "secure", Refused(VERSIONS)),
    row("client_tls_ciphers", "default", Ignored(CIPHERS)),
    row("client_tls13_ciphers", "", Ignored(CIPHERS)),
    row("client_tls_ecdhcurve", "auto", Ignored(CIPHERS)),
    row("client_tls_dheparams", "auto", Ignored(CIPHERS)),
    row("server_tls_sslmode", "prefer", Used("sslmode in each database's dsn")),
    row("server_tls_ca_file", "", Used("sslrootcert in each database's dsn")),
    row("server_tls_key_file", "", Used("sslkey in each database's dsn")),
    row("server_tls_cert_file", "", Used("sslcert in each database's dsn")),
    row("server_tls_protocols", "secure", Refused(VERSIONS)),
    row("server_tls_ciphers", "default", Ignored(CIPHERS)),
    row("server_tls13_ciphers", "", Ignored(CIPHERS)),
    row(
        "query_timeout",
        "0",
        Kept("timeouts.statement", |d, e| d.put(e, "timeouts", "statement", time(e, "off")?)),
    ),
    row(
        "query_wait_timeout",
        "120",
        Kept("timeouts.checkout", |d, e| d.put(e, "timeouts", "checkout", time(e, "365d")?)),
    ),
    row("cancel_wait_timeout", "10", Ignored("cancel requests do not wait for pools")),
    row(
        "client_idle_timeout",
        "0",
        Kept("timeouts.client_idle", |d, e| d.put(e, "timeouts", "client_idle", time(e, "off")?)),
    ),
    row(
        "idle_transaction_timeout",
        "0",
        Kept("timeouts.idle_in_transaction", |d, e| {
            d.put(e, "timeouts", "idle_in_transaction", time(e, "off")?)
        }),
    ),
    row(
        "transaction_timeout",
        "0",
        Refused(
            "weir has no limit for a transaction: leave it out, or set transaction_timeout on the servers",
        ),
    ),
    row("suspend_timeout", "10", Ignored("SUSPEND is not needed to restart: docs/deploy.md")),
    row("pkt_buf", "4096", Ignored(BUFFERS)),
    row(
        "max_packet_size",
        "2147483647",
        Kept("limits.message_size", |d, e| {
            d.put(e, "limits", "message_size", number(e)?.min(1 << 30).to_string())
        }),
    ),
    row("listen_backlog", "128", Ignored("4096 clients may wait to be accepted")),
    row("sbuf_loopcnt", "5", Ignored(BUFFERS)),
    row("so_reuseport", "0", Same("ports can always be shared: docs/deploy.md")),
    row("tcp_defer_accept", "1", Ignored("clients are accepted at once")),
    row("tcp_socket_buffer", "", Ignored("the system chooses")),
    row("tcp_keepalive", "1", Ignored(KEEPALIVE)),
    row("tcp_keepcnt", "", Ignored(KEEPALIVE)),
    row("tcp_keepidle", "", Ignored(KEEPALIVE)),
    row("tcp_keepintvl", "", Ignored(KEEPALIVE)),
    row("tcp_user_timeout", "0", Ignored("servers have 60 s to acknowledge, clients 300 s")),
];

const fn row(name: &'static str, default: &'static str, fate: Fate) -> Setting {
    Setting { name, default, fate }
}

impl Setting {
    pub fn named(name: &str) -> Option<&'static Setting> {
        SETTINGS.iter().find(|setting| setting.name == name)
    }

    /// Whether a value is PgBouncer's own, however it is written.
    pub fn is_default(&self, value: &str) -> bool {
        let same_number = || match (value.parse::<f64>(), self.default.parse::<f64>()) {
            (Ok(value), Ok(default)) => value == default,
            (Err(_), _) | (_, Err(_)) => false,
        };
        let harmless: &[&str] = match self.name {
            "client_tls_protocols" | "server_tls_protocols" => {
                &["all", "legacy", "tlsv1.2,tlsv1.3"]
            }
            "client_tls_ciphers" | "server_tls_ciphers" => &["secure", "fast", "normal"],
            _ => &[],
        };
        value.eq_ignore_ascii_case(self.default)
            || same_number()
            || harmless.contains(&value.replace(' ', "").as_str())
    }
}

impl Draft {
    /// As said by an entry.
    fn put(&mut self, e: &Entry, table: &str, key: &str, value: String) -> Result<(), String> {
        self.set(&format!("[{table}]"), key, value, Some(&e.place));
        Ok(())
    }

    /// Of which 0 means that there is none.
    fn put_limit(&mut self, e: &Entry, table: &str, key: &str) -> Result<(), String> {
        match number(e)? {
            0 => Ok(()),
            limit => self.put(e, table, key, limit.to_string()),
        }
    }
}

pub fn number(entry: &Entry) -> Result<u64, String> {
    entry.value.parse().map_err(|_| format!("{:?} is no number", entry.value))
}

/// Seconds, with a fraction perhaps; `zero` is what 0 stands for.
pub fn time(entry: &Entry, zero: &str) -> Result<String, String> {
    let seconds: f64 =
        entry.value.parse().map_err(|_| format!("{:?} is no number of seconds", entry.value))?;
    match seconds {
        _ if seconds == 0.0 => Ok(text(zero)),
        _ if (0.0..1e9).contains(&seconds) => Ok(milliseconds(((seconds * 1000.0) as u64).max(1))),
        _ => Err(format!("{:?} is no number of seconds", entry.value)),
    }
}

fn boolean(entry: &Entry) -> Result<bool, String> {
    match entry.value.to_ascii_lowercase().as_str() {
        "1" | "on" | "true" | "yes" | "t" => Ok(true),
        "0" | "off" | "false" | "no" | "f" => Ok(false),
        other => Err(format!("{other:?} is neither 0 nor 1")),
    }
}

/// A file, wherever weir.toml will be.
fn file(entry: &Entry) -> Result<String, String> {
    super::absolute(&entry.value).map(|path| text(&path))
}

pub fn pool_mode(value: &str) -> Result<String, String> {
    match value {
        "session" | "transaction" | "statement" => Ok(text(value)),
        _ => Err(format!("{value:?} is not session, transaction or statement")),
    }
}

/// 0 means that there is no limit; more clients than this there cannot be.
pub fn pool_size(size: u64) -> String {
    if size == 0 { "10000".to_owned() } else { size.to_string() }
}

pub fn list(value: &str) -> Vec<String> {
    let names = value.split(',').map(str::trim).filter(|name| !name.is_empty());
    names.map(|name| name.trim_matches('"').to_owned()).collect()
}
