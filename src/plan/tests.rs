//! Golden plans: every statement of `rules/*/queries.sql` with the plan that it gets.
//!
//! A file is made of blocks between empty lines: comments, perhaps `-- $1 = 42` (text values, `NULL`
//! for NULL) with the parameters, then one statement.
use super::catalog::Catalog;
use super::{Context, Planner, Route, explain};
use crate::ids::{Oid, ShardId};
use crate::rules::{self, Rules};
use crate::wire::params::{Params, Value};
use std::fmt::Write;
use std::{fs, path::Path};

#[test]
fn every_example_statement_is_planned_as_its_snapshot_says() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("rules");
    let mut folders: Vec<_> = fs::read_dir(examples).unwrap().map(|e| e.unwrap().path()).collect();
    folders.sort();
    let mut seen = 0;
    for folder in folders.iter().filter(|folder| folder.join("queries.sql").exists()) {
        let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
        let rules = rules::parse(&read("rules.toml"), "rules.toml").unwrap();
        let catalog = Catalog::from_ddl(&read("schema.sql")).unwrap();
        let plans = plans(&read("queries.sql"), &rules, &catalog);
        insta::with_settings!({ snapshot_path => folder, prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!("plans", plans);
        });
        seen += 1;
    }
    assert!(seen > 0, "no example was found");
}

#[test]
fn the_writes_of_the_manual_are_done() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    let rules = rules::parse(&read("rules/writes/rules.toml"), "rules.toml").unwrap();
    let catalog = Catalog::from_ddl(&read("rules/writes/schema.sql")).unwrap();
    let manual = read("docs/writes.md");
    let examples = manual.split("```sql\n").skip(1).filter_map(|rest| rest.split("```").next());
    let mut seen = 0;
    for statement in examples.flat_map(str::lines) {
        let plans = plans(statement, &rules, &catalog);
        let reads = statement.starts_with("COPY") && statement.contains("TO STDOUT");
        let expected = if reads { "=> several shards (read)" } else { "=> several shards (write)" };
        assert!(plans.contains(expected), "{plans}");
        seen += 1;
    }
    assert!(seen > 5, "the manual has examples");
}

fn plans(queries: &str, rules: &Rules, catalog: &Catalog) -> String {
    let mut text = String::new();
    for block in queries.split("\n\n").map(str::trim).filter(|block| !block.is_empty()) {
        let mut statement = Vec::new();
        let mut values = Vec::new();
        for line in block.lines() {
            match line.strip_prefix("-- $1 = ") {
                Some(list) => values = parameters(list),
                None if line.starts_with("--") => text.push_str(&format!("{line}\n")),
                None => statement.push(line),
            }
        }
        if statement.is_empty() {
            text.push('\n');
            continue;
        }
        let statement = statement.join("\n");
        let statement = statement.trim_end().trim_end_matches(';');
        let bound: Vec<Value<'_>> = values
            .iter()
            .map(|value| value.as_ref().map_or(Value::Null, |text| Value::Text(text.as_bytes())))
            .collect();
        let params = Params { types: &[Oid(0); 0], values: &bound };
        let context = Context {
            rules,
            catalog,
            search_path: "\"$user\", public",
            user: "app",
            standard_conforming_strings: true,
            temporary: &[],
            named_shard: None,
        };
        let plan = explain(statement, &context, &params);
        let shown = match values.is_empty() {
            true => String::new(),
            false => format!(
                "   with {}",
                values
                    .iter()
                    .map(|value| value.as_deref().unwrap_or("NULL"))
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
        };
        writeln!(text, "{statement}{shown}\n  => {}\n", plan.replace('\n', "\n  ")).unwrap();
    }
    text
}

fn parameters(list: &str) -> Vec<Option<String>> {
    list.split(", ")
        .map(|item| item.split_once(" = ").map_or(item, |(_, value)| value))
        .map(|value| (value != "NULL").then(|| value.to_owned()))
        .collect()
}

/// The trap rules under another search_path and with temporary tables.
fn told(statement: &str, search_path: &str, temporary: &[String]) -> String {
    let rules = rules::parse(include_str!("../../rules/traps/rules.toml"), "rules.toml").unwrap();
    let catalog = Catalog::from_ddl(include_str!("../../rules/traps/schema.sql")).unwrap();
    let context = Context {
        rules: &rules,
        catalog: &catalog,
        search_path,
        user: "app",
        standard_conforming_strings: true,
        temporary,
        named_shard: None,
    };
    explain(statement, &context, &Params::default())
}

#[test]
fn search_path_decides_which_table_is_meant() {
    let statement = "SELECT * FROM users WHERE id = 5";
    assert!(told(statement, "public, archive", &[]).starts_with("shard s1"));
    assert!(told(statement, "archive, public", &[]).contains("no rule names table users"));
    assert!(
        told("SELECT * FROM old_orders WHERE user_id = 5", "archive", &[]).starts_with("shard s1")
    );
    assert!(told("SELECT * FROM old_orders WHERE user_id = 5", "public", &[]).contains("42P01"));
}

#[test]
fn a_temporary_table_may_hide_a_sharded_one() {
    let made = [String::from("orders"), String::from("scratch")];
    assert!(told("SELECT * FROM scratch", "public", &made).starts_with("shard s0"));
    let hidden = told("SELECT * FROM orders WHERE user_id = 5", "public", &made);
    assert!(hidden.contains("maybe_temporary"), "{hidden}");
    let named = told("SELECT * FROM public.orders WHERE user_id = 5", "public", &made);
    assert!(named.starts_with("shard s1"), "{named}");
    assert!(told("SELECT * FROM users WHERE id = 5", "public", &made).starts_with("shard s1"));
}

#[test]
fn one_plan_serves_all_constants_of_a_shape() {
    let rules = rules::parse(include_str!("../../rules/traps/rules.toml"), "rules.toml").unwrap();
    let catalog = Catalog::from_ddl(include_str!("../../rules/traps/schema.sql")).unwrap();
    let context = Context {
        rules: &rules,
        catalog: &catalog,
        search_path: "public",
        user: "app",
        standard_conforming_strings: true,
        temporary: &[],
        named_shard: None,
    };
    let mut planner = Planner::new(2);
    for (key, shard) in [("1", 1), ("'2'", 2), ("- 1", 3), ("4.0", 0)] {
        let statement = format!("SELECT * FROM orders WHERE user_id = {key}");
        let planned = planner.plan(&statement, &context).unwrap();
        let route = planned.route(&statement, &Params::default(), &rules).unwrap();
        assert_eq!(route, Route::One(ShardId(shard)), "{key}");
    }
    // `- 1` is another shape than `1`.
    assert_eq!(planner.len(), 2);
    for number in 0..20 {
        let columns = vec!["1"; number + 1].join(", ");
        planner.plan(&format!("SELECT {columns} FROM countries"), &context).unwrap();
    }
    assert!(planner.len() <= 4, "{planner:?}");
}

#[test]
fn what_a_sequence_function_names_is_looked_at_each_time() {
    let rules = rules::parse(include_str!("../../rules/traps/rules.toml"), "rules.toml").unwrap();
    let catalog = Catalog::from_ddl(include_str!("../../rules/traps/schema.sql")).unwrap();
    let context = Context {
        rules: &rules,
        catalog: &catalog,
        search_path: "public",
        user: "app",
        standard_conforming_strings: true,
        temporary: &[],
        named_shard: None,
    };
    let mut planner = Planner::new(2);
    assert!(planner.plan("SELECT setval('counter', 1)", &context).is_ok());
    assert!(planner.plan("SELECT setval('orders_id_seq', 1)", &context).is_err());
}

#[test]
fn no_statement_is_too_deep_or_too_long() {
    let rules = rules::parse(include_str!("../../rules/traps/rules.toml"), "rules.toml").unwrap();
    let catalog = Catalog::default();
    let context = Context {
        rules: &rules,
        catalog: &catalog,
        search_path: "public",
        user: "app",
        standard_conforming_strings: true,
        temporary: &[],
        named_shard: None,
    };
    let long = |start: &str, part: &str, count: usize, end: &str| {
        format!("{start}{}{end}", part.repeat(count))
    };
    for statement in [
        long("SELECT ", "1+", 1_500, "1"),
        long("SELECT ", "1+", 19_000, "1"),
        long("SELECT ", "1+", 90_000, "1"),
        long("SELECT ", "NOT ", 900, "true"),
        long("SELECT ", "NOT ", 100_000, "true"),
        long("SELECT ", "- ", 1_900, "1"),
        long("SELECT ", "- ", 90_000, "1"),
        long("SELECT ", "(", 250, &long("1", ")", 250, "")),
        long("SELECT ", "(", 50_000, "1"),
        long("SELECT ", "(SELECT ", 290, &long("1", ")", 290, "")),
        long("SELECT 1 FROM orders WHERE user_id = 5", " AND total = 1", 9_900, ""),
        long("SELECT 1 FROM orders WHERE user_id = 5", " OR total = 1", 9_900, ""),
        long("SELECT 1", " UNION SELECT 1", 19_900, ""),
        long("SELECT 1 FROM countries a", " JOIN countries b ON true", 19_900, ""),
        long("SELECT ", "CASE WHEN true THEN ", 280, &long("1", " END", 280, "")),
        long("SELECT 1", "::int", 19_900, ""),
        long("SELECT a", "[1]", 19_900, ""),
        long("SELECT 1 FROM orders WHERE user_id IN (5", ",5", 90_000, ")"),
        long("SELECT 1", ";SELECT 1", 20_000, ""),
        long("SELECT ", "f(", 290, &long("1", ")", 290, "")),
    ] {
        // What it says does not matter; that it comes back does.
        let said = explain(&statement, &context, &Params::default());
        assert!(!said.is_empty());
    }
}
