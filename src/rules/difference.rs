//! What changes when one set of rules takes the place of another, fact by fact, without passwords.
use super::{Commit, Gather, PoolMode, Rules, Shard, Unlisted, dsn, placement};
use std::collections::BTreeMap;

/// One fact that is not in both, or not the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// `shard s0`, `table orders`, `home`.
    pub subject: String,
    /// `None`: it is new.
    pub before: Option<String>,
    /// `None`: it is gone.
    pub after: Option<String>,
}

/// Stands for a password.
const MASK: &str = "…";

/// In the order of the file's parts: settings, shards, then what says where rows are.
pub fn changes(before: &Rules, after: &Rules) -> Vec<Change> {
    let (old, new) = (facts(before), facts(after));
    let value = |facts: &[Fact], subject: &str| {
        facts.iter().find(|fact| fact.subject == subject).map(|fact| fact.text.clone())
    };
    let gone = old.iter().filter(|fact| value(&new, &fact.subject).is_none());
    let changed = new.iter().chain(gone).filter_map(|fact| {
        let (before, after) = (value(&old, &fact.subject), value(&new, &fact.subject));
        (before != after).then(|| Change { subject: fact.subject.clone(), before, after })
    });
    let mut changes: Vec<Change> = changed.collect();
    changes.extend(passwords(before, after));
    changes
}

/// Would a row be elsewhere, or another shard asked for it? Then the shards must be told first.
pub fn moves_rows(before: &Rules, after: &Rules) -> bool {
    placement::describe(before) != placement::describe(after)
}

/// The text with every password's value masked; `None` if one would be seen nevertheless.
pub fn masked(text: &str, rules: &Rules) -> Option<String> {
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, value)) = next_password(rest) {
        masked.push_str(before);
        masked.push_str(MASK);
        let quoted = value.starts_with('\'');
        let ends = |c: char| match quoted {
            // Where a quoted value ends is not guessed: the line is.
            true => c == '\n',
            false => c.is_whitespace() || matches!(c, '"' | '\''),
        };
        rest = value.get(value.find(ends).unwrap_or(value.len())..).unwrap_or_default();
    }
    masked.push_str(rest);
    let seen = servers(rules).filter_map(password).any(|secret| masked.contains(&secret));
    (!seen).then_some(masked)
}

/// The text up to a password's value, and from there on.
fn next_password(text: &str) -> Option<(&str, &str)> {
    const NAME: &str = "password";
    let mut from = 0;
    while let Some(found) = text.get(from..)?.find(NAME) {
        let behind = from + found + NAME.len();
        let rest = text.get(behind..)?;
        if let Some(value) = rest.trim_start_matches([' ', '\t']).strip_prefix('=') {
            let value = value.trim_start_matches([' ', '\t']);
            return Some((text.get(..text.len() - value.len())?, value));
        }
        from = behind;
    }
    None
}

struct Fact {
    subject: String,
    text: String,
}

fn facts(rules: &Rules) -> Vec<Fact> {
    let mut facts = settings(rules);
    let mut fact = |subject: String, text: String| facts.push(Fact { subject, text });
    for Shard { name, primary, replicas, line: _ } in &rules.shards {
        let replicas = replicas.iter().map(|dsn| format!(", replica {}", without_password(dsn)));
        let text = std::iter::once(without_password(primary)).chain(replicas).collect();
        fact(format!("shard {name}"), text);
    }
    // `distribution orders: int8 …` and the like: one line, one fact.
    for line in placement::describe(rules).lines() {
        if let Some((subject, text)) = line.split_once(": ") {
            fact(subject.to_owned(), text.to_owned());
        }
    }
    for table in rules.tables.iter().filter(|table| !table.hot_key.is_empty()) {
        fact(format!("hot_key of {}", table.name), table.hot_key.join(", "));
    }
    for function in &rules.functions {
        let tables = function.tables.iter().filter_map(|&table| rules.tables.get(table));
        let names: Vec<&str> = tables.map(|table| table.name.as_str()).collect();
        fact(format!("function {}", function.name), format!("reads {}", names.join(", ")));
    }
    facts
}

fn settings(rules: &Rules) -> Vec<Fact> {
    let fact =
        |subject: &str, text: &str| Fact { subject: subject.to_owned(), text: text.to_owned() };
    let names: Vec<&str> = rules.shards.iter().map(|shard| shard.name.as_str()).collect();
    let mut settings = vec![
        fact("database", &rules.database),
        fact("the order of the shards", &names.join(" ")),
        fact("home", rules.shard_name(rules.home)),
        fact(
            "unlisted tables",
            match rules.unlisted {
                Unlisted::Refuse => "refused",
                Unlisted::Shard(shard) => rules.shard_name(shard),
            },
        ),
        fact(
            "pool_mode",
            match rules.pool_mode {
                PoolMode::Transaction => "transaction",
                PoolMode::Session => "session",
            },
        ),
        fact("reads", rules.reads.name()),
        fact("consistency", rules.consistency.name()),
        fact(
            "commit",
            match rules.commit {
                Commit::TwoPhase => "two_phase",
                Commit::InTurn => "in_turn",
            },
        ),
        fact("generated ids", &format!("in strides of {}", rules.stride)),
    ];
    if let Some(Gather { dsn, max_bytes, max_rows, timeout, max_concurrent, notice }) =
        &rules.gather
    {
        let timeout = timeout.map_or("off".to_owned(), |limit| format!("{limit:?}"));
        settings.push(fact(
            "gather",
            &format!(
                "{}, max_size {max_bytes} bytes, max_rows {max_rows}, timeout {timeout}, \
                 max_concurrent {max_concurrent}, notice {notice}",
                without_password(dsn)
            ),
        ));
    }
    settings
}

fn servers(rules: &Rules) -> impl Iterator<Item = &str> {
    let shards = rules.shards.iter();
    let dsns = shards.flat_map(|shard| std::iter::once(&shard.primary).chain(&shard.replicas));
    dsns.chain(rules.gather.iter().map(|gather| &gather.dsn)).map(String::as_str)
}

fn password(dsn: &str) -> Option<String> {
    let parameters = dsn::read(dsn).ok()?;
    parameters
        .into_iter()
        .find_map(|(name, value)| (name == "password" && !value.is_empty()).then_some(value))
}

fn without_password(text: &str) -> String {
    match dsn::read(text) {
        Ok(parameters) => {
            let shown = parameters.into_iter().map(|(name, value)| match name.as_str() {
                "password" => format!("password={MASK}"),
                _ => format!("{name}={value}"),
            });
            shown.collect::<Vec<_>>().join(" ")
        }
        // What is no keyword/value text is a URI, with the password in its midst.
        Err(_) => text.rsplit_once('@').map_or("an address", |(_, place)| place).to_owned(),
    }
}

/// Passwords that are others now; one that is masked stands for the one in force.
fn passwords(before: &Rules, after: &Rules) -> Vec<Change> {
    let of = |rules: &Rules| -> BTreeMap<String, Option<String>> {
        servers(rules).map(|dsn| (without_password(dsn), password(dsn))).collect()
    };
    let (old, new) = (of(before), of(after));
    let differs = |(server, secret): &(String, Option<String>)| {
        secret.as_deref() != Some(MASK) && old.get(server).is_some_and(|known| known != secret)
    };
    let changed = new.into_iter().filter(differs);
    changed
        .map(|(server, _)| Change {
            subject: format!("password for {server}"),
            before: Some(MASK.to_owned()),
            after: Some("another one".to_owned()),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: &str = "database = 'shop'\n[[shard]]\nname = 's0'\nprimary = 'host=a password=hunter2 port=1'\n\
        [[shard]]\nname = 's1'\nprimary = 'host=b'\n\
        [[distribution]]\nname = 'by_user'\nkey_type = 'bigint'\nfunction = 'modulo'\nbuckets = 4\n\
        [[table]]\nname = 'orders'\ndistribution = 'by_user'\nkey = 'user_id'\n";

    fn rules(text: &str) -> Rules {
        crate::rules::parse(text, "rules.toml").unwrap()
    }

    fn check(text: &str, expected: &[(&str, Option<&str>, Option<&str>)]) {
        let found = changes(&rules(RULES), &rules(text));
        let found: Vec<_> = found
            .iter()
            .map(|c| (c.subject.as_str(), c.before.as_deref(), c.after.as_deref()))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn equal_rules_differ_in_nothing() {
        check(&format!("# another comment\n{RULES}"), &[]);
    }

    #[test]
    fn what_is_new_gone_or_other_is_said() {
        let more = format!("{RULES}[[table]]\nname = 'stock'\nreference = true\n");
        check(&more, &[("table stock", None, Some("reference"))]);
        let other = RULES.replace("host=b", "host=c");
        check(&other, &[("shard s1", Some("dbname=shop host=b"), Some("dbname=shop host=c"))]);
        assert!(!moves_rows(&rules(RULES), &rules(&other)));
        let fewer = RULES.replace("buckets = 4", "buckets = 8");
        assert!(moves_rows(&rules(RULES), &rules(&fewer)));
    }

    #[test]
    fn a_password_is_never_said() {
        let other = RULES.replace("hunter2", "hunter3");
        let server = "password for dbname=shop host=a password=… port=1";
        check(&other, &[(server, Some("…"), Some("another one"))]);
        check(&masked(RULES, &rules(RULES)).unwrap(), &[]);
    }

    #[test]
    fn a_file_is_shown_without_passwords_or_not_at_all() {
        let shown = masked(RULES, &rules(RULES)).unwrap();
        assert!(shown.contains("primary = 'host=a password=… port=1'\n"), "{shown}");
        let quoted = RULES.replace(
            "'host=a password=hunter2 port=1'",
            r#""host=a password = 'two words' port=1""#,
        );
        let shown = masked(&quoted, &rules(&quoted)).unwrap();
        assert!(!shown.contains("two") && !shown.contains("words"), "{shown}");
        let escaped =
            RULES.replace("'host=a password=hunter2 port=1'", "\"host=a passw\\u006Frd=hunter2\"");
        assert_eq!(masked(&escaped, &rules(&escaped)), None);
    }
}
