//! What `weir.toml` may say, and what is said about a bad one.
use super::read::Hearing;
use super::*;
use crate::units::{DURATION_HINT, parse_duration, parse_size};
use std::fs;

const REFERENCE: &str = include_str!("../../../docs/config.md");

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(text, "weir.toml").map_err(|problems| problems.to_string())
}

/// The documented example: the text between the first pair of fences.
fn documented() -> &'static str {
    let start = REFERENCE.find("```toml\n").expect("an example") + "```toml\n".len();
    let rest = &REFERENCE[start..];
    &rest[..rest.find("```").expect("the example ends")]
}

fn problems_of(text: &str) -> Vec<String> {
    let mut hearing = Hearing::of(text.to_owned());
    parse(text).unwrap().check(&mut hearing, "weir.toml");
    hearing.problems
}

#[test]
fn the_documented_example_states_the_defaults() {
    let mut config = parse(documented()).unwrap();
    assert_eq!(config.rules, [PathBuf::from("rules/shop/rules.toml")]);
    config.rules.clear();
    assert_eq!(config, Config::default());
}

#[test]
fn what_the_page_about_observability_shows_is_taken() {
    let page = include_str!("../../../docs/observability.md");
    let shown: Vec<_> = page.split("```toml\n").skip(1).collect();
    assert!(!shown.is_empty());
    for text in shown {
        let text = text.split("```").next().unwrap();
        parse(&format!("rules = ['rules.toml']\n{text}")).unwrap();
    }
}

#[test]
fn settings_that_the_example_leaves_out_are_shown_in_a_form_that_parses() {
    let uncommented: String = documented()
        .lines()
        .map(|line| line.strip_prefix("#: ").unwrap_or(line).to_owned() + "\n")
        .collect();
    let config = parse(&uncommented).unwrap();
    // Everything that has no value by default has one here: a new setting must be documented.
    let Config {
        file: _,
        rules: _,
        workers,
        listen,
        tls,
        auth,
        users,
        control,
        databases,
        limits,
        ..
    } = config;
    let Tls { mode: _, certificate, key } = tls;
    let Auth { method: _, hba_file, known_users_only: _, users_file, query } = auth;
    assert!(hba_file.is_some() && listen.unix_group.is_some() && listen.handover.is_some());
    assert!(limits.clients_per_user.is_some() && limits.clients_per_database.is_some());
    assert!(limits.server_connections_per_user.is_some());
    assert!(limits.server_connections_per_database.is_some());
    assert!(workers.is_some() && certificate.is_some() && key.is_some());
    assert!(users_file.is_some() && query.is_some() && control.password.is_some());
    let Some(User {
        name: _,
        password: Some(_),
        server_password: Some(_),
        pool_mode: Some(_),
        pool_size: Some(_),
        reserve: Some(_),
        tier: Some(_),
        max_clients: Some(_),
        max_server_connections: Some(_),
    }) = users.first()
    else {
        panic!("the example shows a user with every setting");
    };
    let Some(Overrides {
        user: Some(_),
        password: Some(_),
        auth_query: Some(_),
        auth_database: Some(_),
        connect_query: Some(_),
        pool_mode: Some(_),
        pool_size: Some(_),
        min_idle: Some(_),
        reserve: Some(_),
        server_lifetime: Some(_),
        tier: Some(_),
        max_clients: Some(_),
        max_server_connections: Some(_),
    }) = databases.values().next()
    else {
        panic!("the example shows a database with every setting");
    };
    let Some(TierSettings {
        size: Some(_),
        min_idle: Some(_),
        reserve: Some(_),
        reserve_after: Some(_),
        queue: Some(_),
        checkout: Some(_),
        statement: Some(_),
        idle_in_transaction: Some(_),
        total: Some(_),
        server_idle: Some(_),
        server_lifetime: Some(_),
        slow_statement: Some(_),
    }) = config.tiers.get("reports")
    else {
        panic!("the example shows a tier with every setting");
    };
}

#[test]
fn every_setting_stands_in_the_reference() {
    let printed = format!("{:#?}", Config::default());
    for line in printed.lines() {
        let Some((name, _)) = line.trim().split_once(':') else { continue };
        let name = match name {
            "users" => "user",
            "databases" => "database",
            "tiers" => "tier",
            "rules_texts" => "rules",
            other => other,
        };
        if name.chars().all(|c| c.is_ascii_lowercase() || c == '_') {
            assert!(documented().contains(name), "docs/config.md does not mention {name}");
        }
    }
}

#[test]
fn an_unknown_key_is_an_error_with_its_line() {
    let error = parse("workers = 2\n\n[pool]\nsise = 3\n").unwrap_err();
    assert!(error.starts_with("weir.toml:4: unknown field `sise`"), "{error}");
}

#[test]
fn a_duration_needs_its_unit() {
    assert_eq!(
        parse("[timeouts]\nconnect = 5\n").unwrap_err(),
        format!("weir.toml:2: {DURATION_HINT}")
    );
    let config = parse("[timeouts]\nconnect = '250ms'\nserver_idle = 'off'\n").unwrap();
    assert_eq!(config.timeouts.connect, Duration::from_millis(250));
    assert_eq!(config.timeouts.server_idle, None);
}

#[test]
fn durations_and_sizes_never_overflow() {
    assert_eq!(parse_duration("18446744073709551615h"), None);
    assert_eq!(parse_duration("0s"), None);
    assert_eq!(parse_size("18446744073709551615GB"), None);
    assert_eq!(parse_size("16MB"), Some(16 << 20));
    assert_eq!(parse_size("MB"), None);
}

#[test]
fn all_problems_are_reported_at_once() {
    let problems = problems_of(
        "[listen]\nclients = []\nadmin = '0.0.0.0:80'\n[tls]\nmode = 'require'\n[pool]\nsize = 0",
    );
    assert_eq!(
        problems,
        [
            "weir.toml: rules names no file; write rules = [\"rules.toml\"]",
            "weir.toml: listen.clients is empty: nobody could connect",
            "weir.toml: listen.admin must be a loopback address such as 127.0.0.1:6433, or [admin] must have \
             certificate and key, and token or client_authorities",
            "weir.toml: tls.mode needs tls.certificate and tls.key",
            "weir.toml: pool.size must be at least 1",
        ]
    );
}

#[test]
fn secrets_come_from_the_environment_and_are_never_printed() {
    let mut config = parse(
        "[control]\npassword = { env = 'WEIR_TEST' }\n[[user]]\nname = 'ada'\npassword = 'x1y2'",
    )
    .unwrap();
    let mut hearing = Hearing::default();
    config.take_secrets(&mut hearing, |name| (name == "WEIR_TEST").then(|| "s3cret".to_owned()));
    assert_eq!(hearing.problems, [""; 0]);
    assert_eq!(config.control.password.as_ref().and_then(Secret::reveal), Some("s3cret"));
    let printed = format!("{config:?}");
    assert!(!printed.contains("s3cret") && !printed.contains("x1y2"), "{printed}");
}

#[test]
fn a_world_readable_secret_file_is_warned_about() {
    use std::os::unix::fs::PermissionsExt;
    let folder = std::env::temp_dir().join(format!("weir-config-{:016x}", rand::random::<u64>()));
    fs::create_dir(&folder).unwrap();
    let (file, secret) = (folder.join("weir.toml"), folder.join("password"));
    fs::write(&secret, "s3cret\n").unwrap();
    fs::write(&file, "rules = ['r.toml']\n[control]\npassword = { file = 'password' }\n").unwrap();
    let warnings = |mode: u32| {
        fs::set_permissions(&secret, fs::Permissions::from_mode(mode)).unwrap();
        let loaded = Config::load(&file).unwrap();
        assert_eq!(loaded.config.control.password, Some(Secret::Text("s3cret".to_owned())));
        assert_eq!(loaded.config.rules, [folder.join("r.toml")]);
        loaded.warnings.len()
    };
    assert_eq!((warnings(0o644), warnings(0o600)), (1, 0));
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_users_setting_comes_before_the_databases_and_that_before_the_pools() {
    let config = parse(
        "[pool]\nsize = 5\n[database.shop]\npool_size = 7\npool_mode = 'session'\n\
         [[user]]\nname = 'ada'\npool_size = 9\n",
    )
    .unwrap();
    assert_eq!(config.pool_size("shop", "ada"), 9);
    assert_eq!(config.pool_size("shop", "boris"), 7);
    assert_eq!(config.pool_size("other", "boris"), 5);
    assert_eq!(config.pool_mode("shop", "ada"), PoolMode::Session);
}

#[test]
fn a_tier_says_what_differs_from_the_pool() {
    let config = parse(
        "[pool]\nsize = 30\nmin_idle = 8\nreserve = 10\nqueue = 50\n\
         [timeouts]\nstatement = '30s'\n\
         [tier.batch]\nstatement = 'off'\n[tier.reports]\ncheckout = '60s'\nsize = 3\n",
    )
    .unwrap();
    assert_eq!(config.tiers(), ["interactive", "batch", "reports"]);
    let interactive = config.tier("shop", "ada", "interactive");
    assert_eq!((interactive.size, interactive.min_idle, interactive.reserve), (30, 8, 10));
    assert_eq!(interactive.statement, Some(Duration::from_secs(30)));
    assert_eq!(interactive.slow_statement, Some(Duration::from_millis(800)));
    let batch = config.tier("shop", "ada", "batch");
    // What the file does not say of batch is as it was: five connections, no slow statements.
    assert_eq!((batch.size, batch.slow_statement, batch.statement), (5, None, None));
    // What was written for a larger pool is cut to fit.
    assert_eq!((batch.min_idle, batch.reserve, batch.queue), (5, 5, 50));
    let reports = config.tier("shop", "ada", "reports");
    assert_eq!((reports.size, reports.checkout), (3, Duration::from_secs(60)));
    assert_eq!(interactive.checkout, Duration::from_secs(15));
}

#[test]
fn a_users_pool_size_is_that_of_the_tier_interactive() {
    let config = parse(
        "[pool]\nsize = 5\n[tier.interactive]\nsize = 6\n[database.shop]\npool_size = 7\n\
         tier = 'batch'\n[[user]]\nname = 'ada'\npool_size = 9\ntier = 'interactive'\n",
    )
    .unwrap();
    let size = |database, user, tier| config.tier(database, user, tier).size;
    assert_eq!(size("shop", "ada", "interactive"), 9);
    assert_eq!(size("shop", "boris", "interactive"), 7);
    assert_eq!(size("other", "boris", "interactive"), 6);
    assert_eq!(size("shop", "ada", "batch"), 5);
    assert_eq!(config.own_tier("shop", "ada"), Some("interactive"));
    assert_eq!(config.own_tier("shop", "boris"), Some("batch"));
    assert_eq!(config.own_tier("other", "boris"), None);
}

#[test]
fn problems_of_tiers_and_breakers_are_told_with_their_lines() {
    let problems = problems_of(
        "rules = ['r.toml']\n[pool]\nsize = 4\nreserve = 5\n\n[tier.reports]\nsize = 3\n\
         min_idle = 4\n[tier.Top]\n[[user]]\nname = 'ada'\n[[user]]\nname = 'bob'\n\
         tier = 'report'\nmax_clients = 0\n[breaker.statement]\nshare = 50\n",
    );
    assert_eq!(
        problems,
        [
            "weir.toml:4: pool.reserve is larger than pool.size",
            "weir.toml:9: a tier's name has only a to z and _: [tier.Top]",
            "weir.toml:8: tier.reports.min_idle is larger than its size, 3",
            "weir.toml:14: user \"bob\" is of tier \"report\"; there are interactive, batch, Top, \
             reports",
            "weir.toml:15: user.max_clients must be at least 1",
            "weir.toml:17: breaker.statement.share is from 0 (off) to 1",
        ]
    );
}

#[test]
fn there_are_few_tiers() {
    let tiers: String = ('a'..='p').map(|letter| format!("[tier.{letter}]\nsize = 1\n")).collect();
    let problems = problems_of(&format!("rules = ['r.toml']\n{tiers}"));
    assert_eq!(problems, ["weir.toml: there are 18 tiers; 16 are possible"]);
}

#[test]
fn the_containers_file_is_in_order() {
    let config = parse(include_str!("../../../docker/weir.toml")).unwrap();
    let mut hearing = Hearing::default();
    config.check(&mut hearing, "docker/weir.toml");
    assert_eq!(hearing.problems, [""; 0]);
}

#[test]
fn the_front_pages_example_is_in_order() {
    let page = include_str!("../../../README.md");
    let examples = page.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let example = examples.into_iter().find(|text| text.contains("users_file")).unwrap();
    let mut hearing = Hearing::default();
    parse(example).unwrap().check(&mut hearing, "README.md");
    assert_eq!(hearing.problems, [""; 0]);
}
