//! What is made of PgBouncer configurations.
use super::databases::{OF_DATABASES, OF_USERS};
use super::*;
use crate::server::config::{Config, Loaded, PoolMode};
use std::fs;
use std::time::Duration;

/// A pgbouncer.ini with its userlist.txt, in a folder of its own.
struct Folder(PathBuf);

impl Folder {
    fn with(ini: &str) -> Self {
        let path = std::env::temp_dir().join(format!("weir-pgb-{:016x}", rand::random::<u64>()));
        fs::create_dir(&path).unwrap();
        let folder = path.display().to_string();
        fs::write(path.join("pgbouncer.ini"), ini.replace("FOLDER", &folder)).unwrap();
        fs::write(path.join("userlist.txt"), "\"look\" \"up\"\n\"baz\" \"foo's\"\n").unwrap();
        Self(path)
    }

    fn ini(&self) -> PathBuf {
        self.0.join("pgbouncer.ini")
    }

    /// What is wrong, without the folder.
    fn problems(&self) -> Vec<String> {
        let problems = translate(&self.ini()).unwrap_err().0;
        let folder = format!("{}/", self.0.display());
        problems.iter().map(|problem| problem.replace(&folder, "")).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// As Debian's package installs it, with what its comments propose.
const TYPICAL: &str = "\
;;; PgBouncer configuration file
[databases]
;; foodb over Unix socket
foodb =
bardb = host=localhost dbname=bazdb
forcedb = host=localhost port=300 user=baz client_encoding=UNICODE datestyle='ISO, DMY' connect_query='SELECT 1'
nondefaultdb = pool_size=50 reserve_pool=10 auth_user=look
* = host=testserver
[users]
user1 = pool_mode=transaction max_user_connections=10
[pgbouncer]
logfile = /var/log/postgresql/pgbouncer.log
pidfile = /var/run/postgresql/pgbouncer.pid
listen_addr = 127.0.0.1
listen_port = 6432
unix_socket_dir = FOLDER
auth_type = md5
auth_file = FOLDER/userlist.txt
admin_users = look, baz
server_idle_timeout = 61.5
query_wait_timeout = 0
max_db_connections = 0
";

#[test]
fn a_typical_configuration_keeps_its_meaning() {
    let folder = Folder::with(TYPICAL);
    let Loaded { config, warnings } = Config::load(&folder.ini()).unwrap();
    assert_eq!(config.listen.clients, ["127.0.0.1:6432".parse().unwrap()]);
    assert_eq!(config.listen.unix, [folder.0.join(".s.PGSQL.6432")]);
    assert_eq!(config.pool.mode, PoolMode::Session);
    assert_eq!(config.limits.clients, 100);
    assert_eq!(config.timeouts.server_idle, Some(Duration::from_millis(61_500)));
    assert!(config.timeouts.checkout > Duration::from_secs(86_400 * 100));
    assert_eq!(config.limits.server_connections_per_database, None);
    assert!(config.auth.known_users_only);
    assert_eq!(config.console.databases, ["weir", "pgbouncer"]);
    assert_eq!(config.console.admins, ["look", "baz"]);
    assert_eq!(config.tier("nondefaultdb", "any", "interactive").size, 50);
    assert_eq!(config.tier("nondefaultdb", "any", "interactive").reserve, 10);
    assert_eq!(config.tier("bardb", "any", "interactive").size, 20);
    assert_eq!(config.pool_mode("bardb", "user1"), PoolMode::Transaction);
    assert_eq!(config.breaker.statement.slow, None);
    let forced = config.database("forcedb").unwrap();
    assert_eq!(forced.user.as_deref(), Some("baz"));
    assert_eq!(forced.connect_query.as_deref(), Some("SELECT 1"));
    let rules = |name: &str| {
        let text = &config.rules_texts[&folder.0.join(name)];
        let table: toml::Table = toml::from_str(text).unwrap();
        table["shard"][0]["primary"].as_str().unwrap().to_owned()
    };
    let at = folder.0.display();
    assert_eq!(rules("foodb.rules.toml"), format!("host={at} port=5432 dbname=foodb"));
    assert_eq!(rules("bardb.rules.toml"), "host=localhost port=5432 dbname=bazdb sslmode=prefer");
    assert_eq!(
        rules("forcedb.rules.toml"),
        "host=localhost port=300 dbname=forcedb user=baz password='foo\\'s' sslmode=prefer \
         options='-c client_encoding=UNICODE -c datestyle=ISO,\\\\ DMY'"
    );
    assert_eq!(
        rules("nondefaultdb.rules.toml"),
        format!("host={at} port=5432 dbname=nondefaultdb user=look password=up")
    );
    assert_eq!(rules("any.rules.toml"), "host=testserver port=5432 sslmode=prefer");
    for (path, text) in &config.rules_texts {
        crate::rules::parse(text, &path.display().to_string())
            .unwrap_or_else(|problems| panic!("{problems}"));
    }
    let ini = folder.ini();
    let told = |warning: &String| warning.starts_with(&format!("{}:", ini.display()));
    let told: Vec<_> = warnings.iter().filter(|warning| told(warning)).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].contains(":12: logfile has no effect: weir logs to standard error"));
}

#[test]
fn what_would_let_in_others_or_change_a_meaning_is_an_error_with_its_line() {
    let folder = Folder::with(
        "[databases]\na = host=one,two\npgbouncer = host=a\nb = host=a\n\
         * = host=a dbname=b\nc = host=a pool_mode=often\nd = host=a target_session_attrs=any\n[users]\n\
         u = query_timeout=5\n[pgbouncer]\nauth_type = cert\ndisable_pqexec = 1\npool_modes = session\n\
         client_tls_sslmode = verify-full\nserver_tls_protocols = tlsv1.3\nmax_client_conn = many\n\
         transaction_timeout = 5\nlisten_addr = 127.0.0.1\n[other]\nx = y\n",
    );
    let problems = folder.problems();
    let places: Vec<_> =
        problems.iter().map(|problem| problem.split(": ").next().unwrap()).collect();
    let lines = [12, 13, 14, 15, 16, 17, 11, 2, 3, 5, 6, 7, 9, 20];
    let expected: Vec<_> = lines.iter().map(|line| format!("pgbouncer.ini:{line}")).collect();
    assert_eq!(places, expected, "{problems:#?}");
}

#[test]
fn users_are_looked_up_in_a_database_that_there_is() {
    let folder = Folder::with("[databases]\na = host=b auth_user=x auth_dbname=none\n");
    let problem = "pgbouncer.ini:2: a: auth_dbname is \"none\", which [databases] does not have";
    assert_eq!(folder.problems(), [problem]);
}

#[test]
fn whoever_may_be_anybody_is_somebody_on_the_servers() {
    let folder =
        Folder::with("[databases]\na = host=b\nc = host=d user=e\n[pgbouncer]\nauth_type = any\n");
    let problem = "pgbouncer.ini:2: a: auth_type any needs user= here, as in PgBouncer";
    assert_eq!(folder.problems(), [problem]);
}

#[test]
fn what_is_left_out_harmlessly_is_a_warning_unless_it_is_pgbouncers_default() {
    let folder = Folder::with(
        "[databases]\na = host=b\n[peers]\n1 = host=/tmp\n2 = host=/var\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
         server_round_robin = 0\nserver_fast_close = 1\ndns_max_ttl = 15.0\nverbose = 2\n\
         client_tls_protocols = secure\nserver_reset_query =\n",
    );
    let translation = translate(&folder.ini()).unwrap();
    assert_eq!(translation.warnings.len(), 2, "{:?}", translation.warnings);
    assert!(
        translation.warnings[0]
            .ends_with("server_fast_close has no effect: a session keeps its server until it ends")
    );
    assert!(translation.warnings[1].contains("[peers]"));
    let config = Config::parse(&translation.weir_toml, "weir.toml").unwrap();
    assert_eq!(config.logging.level, "debug");
}

/// As PgBouncer's documentation lists them, from 1.18 to 1.25.
const DOCUMENTED: &str = "logfile pidfile listen_addr listen_port unix_socket_dir unix_socket_mode unix_socket_group \
    user pool_mode max_client_conn default_pool_size min_pool_size reserve_pool_size reserve_pool_timeout \
    max_db_connections max_db_client_connections max_user_connections max_user_client_connections server_round_robin \
    track_extra_parameters ignore_startup_parameters peer_id disable_pqexec application_name_add_host conffile \
    service_name job_name stats_period max_prepared_statements scram_iterations auth_type auth_hba_file \
    auth_ident_file auth_ldap_options auth_file auth_user auth_query auth_dbname syslog syslog_ident \
    syslog_facility log_connections log_disconnections log_pooler_errors log_stats verbose admin_users stats_users \
    server_reset_query server_reset_query_always server_check_delay server_check_query server_fast_close \
    server_lifetime server_idle_timeout server_connect_timeout server_login_retry client_login_timeout \
    autodb_idle_timeout dns_max_ttl dns_nxdomain_ttl dns_zone_check_period resolv_conf query_wait_notify \
    client_tls_sslmode client_tls_key_file client_tls_cert_file client_tls_ca_file client_tls_protocols \
    client_tls_ciphers client_tls13_ciphers client_tls_ecdhcurve client_tls_dheparams server_tls_sslmode \
    server_tls_ca_file server_tls_key_file server_tls_cert_file server_tls_protocols server_tls_ciphers \
    server_tls13_ciphers query_timeout query_wait_timeout cancel_wait_timeout client_idle_timeout \
    idle_transaction_timeout transaction_timeout suspend_timeout pkt_buf max_packet_size listen_backlog \
    sbuf_loopcnt so_reuseport tcp_defer_accept tcp_socket_buffer tcp_keepalive tcp_keepcnt tcp_keepidle \
    tcp_keepintvl tcp_user_timeout";

#[test]
fn every_setting_of_pgbouncers_documentation_has_its_row() {
    let rows: Vec<_> = SETTINGS.iter().map(|setting| setting.name).collect();
    let mut documented: Vec<_> = DOCUMENTED.split_whitespace().collect();
    let mut sorted = rows.clone();
    sorted.sort_unstable();
    documented.sort_unstable();
    assert_eq!(sorted, documented);
}

/// docs/pgbouncer.md holds these tables; what they say here goes there.
#[test]
fn the_page_for_pgbouncers_users_has_every_row() {
    let page = include_str!("../../../docs/pgbouncer.md");
    let fate = |fate: &Fate| match fate {
        Fate::Kept(to, _) => format!("`{to}`"),
        Fate::Used(text) => (*text).to_owned(),
        Fate::Same(why) => format!("always so: {why}"),
        Fate::Ignored(why) => format!("*warning*: {why}"),
        Fate::Refused(why) => format!("**error**: {why}"),
    };
    let settings = SETTINGS.iter().map(|s| format!("| `{}` | {} |\n", s.name, fate(&s.fate)));
    let parameter = |list: &[databases::Parameter]| -> String {
        list.iter().map(|p| format!("| `{}` | {} |\n", p.name, fate(&p.fate))).collect()
    };
    let tables = [settings.collect(), parameter(OF_DATABASES), parameter(OF_USERS)];
    let missing = tables.iter().filter(|table| !page.contains(table.as_str()));
    let missing: Vec<&str> = missing.map(String::as_str).collect();
    assert!(missing.is_empty(), "docs/pgbouncer.md should have:\n{}", missing.join("---\n"));
}
