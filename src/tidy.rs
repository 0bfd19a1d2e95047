//! Checks that the house is in order. Each rule below is a promise made in `docs/architecture.md`.
use std::{
    fs,
    path::{Path, PathBuf},
};

/// The one module that may name each external crate.
const HOMES: &[(&str, &str)] = &[
    ("sqlparser", "sql"),
    ("pgwire", "wire"),
    ("tokio_postgres", "backend"),
    ("bb8", "pool"),
    ("prometheus", "telemetry"),
    ("opentelemetry_proto", "telemetry"),
    ("prost", "telemetry"),
    ("clap", "cli"),
    ("crossterm", "cli"),
    ("rustix", "server"),
];
/// Modules that only think.
const PURE: &[&str] = &["ids", "error", "wire", "sql", "sharding", "rules", "plan", "merge"];
/// What thinking modules leave alone. `tokio::sync` is only memory, so it is allowed.
fn acts(line: &str) -> bool {
    let effects = ["std::fs", "std::net", "std::env", "Instant::now", "SystemTime::now"];
    effects.iter().any(|effect| line.contains(effect))
        || line.replace("tokio::sync", "").contains("tokio::")
}

#[test]
fn modules_import_only_from_modules_listed_above_them() {
    let order = listed();
    let floor = |module: &str| order.iter().position(|listed| listed == module);
    let mut upward = Vec::new();
    for (module, path, text) in sources() {
        let code: String = code(&text).map(|(_, line)| line.to_owned() + "\n").collect();
        for target in imports(&code) {
            if floor(&target).is_some_and(|above| floor(&module) < Some(above)) {
                upward.push(format!("{}: {module} must not know {target}", path.display()));
            }
        }
    }
    assert!(upward.is_empty(), "\n{}", upward.join("\n"));
}

#[test]
fn each_external_crate_has_one_home() {
    let strays: Vec<String> = sources()
        .into_iter()
        .flat_map(|(module, path, text)| {
            HOMES
                .iter()
                .filter(|(name, home)| {
                    module != *home && code(&text).any(|(_, l)| l.contains(&format!("{name}::")))
                })
                .map(|(name, home)| format!("{}: {name} belongs to {home}", path.display()))
                .collect::<Vec<_>>()
        })
        .collect();
    assert!(strays.is_empty(), "\n{}", strays.join("\n"));
}

#[test]
fn pure_modules_touch_nothing_outside() {
    let touches: Vec<String> = sources()
        .into_iter()
        .filter(|(m, ..)| PURE.contains(&m.as_str()))
        .flat_map(|(_, path, text)| {
            code(&text)
                .filter(|(_, l)| acts(l))
                .map(|(n, l)| format!("{}:{n}: {}", path.display(), l.trim()))
                .collect::<Vec<_>>()
        })
        .collect();
    assert!(touches.is_empty(), "\n{}", touches.join("\n"));
}

#[test]
fn every_file_begins_by_saying_what_it_is_for() {
    let silent: Vec<_> = sources()
        .into_iter()
        .filter(|(_, _, t)| !t.starts_with("//!"))
        .map(|(_, p, _)| p)
        .collect();
    assert!(silent.is_empty(), "{silent:#?}");
}

/// Module names in the order `lib.rs` lists them.
fn listed() -> Vec<String> {
    let names: Vec<String> = include_str!("lib.rs")
        .lines()
        .filter_map(|line| Some(line.strip_prefix("pub mod ")?.split_once(';')?.0.to_owned()))
        .collect();
    assert!(!names.is_empty(), "an empty list would make every check pass");
    names
}
/// (module, path, text) of every source file below a listed module.
fn sources() -> Vec<(String, PathBuf, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    for module in listed() {
        let mut todo = vec![src.join(format!("{module}.rs")), src.join(&module)];
        while let Some(path) = todo.pop() {
            if path.is_dir() {
                todo.extend(fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()));
            } else if path.is_file() && path.extension().is_some_and(|e| e == "rs") {
                found.push((module.clone(), path.clone(), fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found
}
/// Lines of production code: comments left out, the closing test module cut off.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let end = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    text[..end]
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .map(|(index, line)| (index + 1, line))
}
/// Modules of this crate that the code names: `crate::a::…` and `use crate::{a, b::…}`.
fn imports(code: &str) -> Vec<String> {
    let mut names = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + 7..];
        let list = match rest.strip_prefix('{') {
            None => vec![rest],
            Some(inner) => top_level(inner),
        };
        names.extend(list.into_iter().map(|item| {
            item.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
        }));
    }
    names
}
fn top_level(inner: &str) -> Vec<&str> {
    let (mut depth, mut start, mut items) = (0, 0, Vec::new());
    for (i, c) in inner.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                items.push(&inner[start..i]);
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                items.push(&inner[start..i]);
                start = i + 1;
            }
            _ => (),
        }
    }
    items
}
