//! Reads `grammar.txt` and makes texts of it. See that file's head for the notation.
use super::Random;
use super::constants::Constants;
use super::statement::{Order, Part};
use rand::RngExt;
use std::collections::BTreeMap;

/// Beyond this depth the first production of a rule is taken, which never goes deeper.
const DEPTH: usize = 7;

pub struct Grammar {
    rules: BTreeMap<String, Vec<(u32, String)>>,
}

impl Grammar {
    pub fn read(text: &str) -> Self {
        let mut rules: BTreeMap<String, Vec<(u32, String)>> = BTreeMap::new();
        let mut current = String::new();
        for line in text.lines() {
            let line = line.trim_end();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match line.strip_prefix("  ") {
                None => current = line.trim_end_matches(':').to_owned(),
                // Deeper indentation goes on with the production above.
                Some(more) if more.starts_with("  ") => {
                    let last = rules.get_mut(&current).and_then(|all| all.last_mut());
                    let (_, template) = last.expect("a production to go on with");
                    template.push(' ');
                    template.push_str(more.trim());
                }
                Some(production) => {
                    let (weight, template) = match production.split_once(": ") {
                        Some((weight, rest)) if weight.parse::<u32>().is_ok() => {
                            (weight.parse().unwrap(), rest)
                        }
                        _ => (1, production),
                    };
                    rules.entry(current.clone()).or_default().push((weight, template.to_owned()));
                }
            }
        }
        Self { rules }
    }

    pub fn expand(&self, rule: &str, constants: &mut Constants, random: &mut Random) -> Vec<Part> {
        let mut maker = Maker { grammar: self, constants, random, depth: 0 };
        let mut parts = Vec::new();
        maker.rule(rule, &[], &mut parts);
        parts
    }
}

struct Maker<'a> {
    grammar: &'a Grammar,
    constants: &'a mut Constants,
    random: &'a mut Random,
    depth: usize,
}

impl Maker<'_> {
    fn rule(&mut self, name: &str, arguments: &[&str], parts: &mut Vec<Part>) {
        let productions = self
            .grammar
            .rules
            .get(name)
            .unwrap_or_else(|| panic!("the grammar has no rule {name}"));
        let total: u32 = productions.iter().map(|(weight, _)| weight).sum();
        let mut left = if self.depth > DEPTH { 0 } else { self.random.random_range(0..total) };
        let mut chosen = &productions[0].1;
        for (weight, template) in productions {
            chosen = template;
            if left < *weight {
                break;
            }
            left -= weight;
        }
        let mut template = chosen.clone();
        for (at, argument) in arguments.iter().enumerate() {
            template = template.replace(&format!("%{}", at + 1), argument);
        }
        self.depth += 1;
        self.template(&template, parts);
        self.depth -= 1;
    }

    fn template(&mut self, mut rest: &str, parts: &mut Vec<Part>) {
        while !rest.is_empty() {
            let end = rest.find(['<', '{', '[', '\\', ';']).unwrap_or(rest.len());
            text(parts, &rest[..end]);
            rest = &rest[end..];
            if let Some(after) = rest.strip_prefix("\\") {
                text(parts, &after[..1]);
                rest = &after[1..];
            } else if let Some(after) = rest.strip_prefix(";;") {
                parts.push(Part::Next);
                rest = after;
            } else if let Some(after) = rest.strip_prefix("[[") {
                let (inner, after) = closing(after, "[[", "]]");
                if self.random.random_bool(0.5) {
                    let mut optional = Vec::new();
                    self.template(inner, &mut optional);
                    parts.push(Part::Optional(optional));
                }
                rest = after;
            } else if rest.starts_with('{') {
                let (inner, after) = closing(&rest[1..], "{", "}");
                self.braces(inner, parts);
                rest = after;
            } else if is_call(rest) {
                let (inner, after) = closing(&rest[1..], "<", ">");
                self.call(inner, parts);
                rest = after;
            } else if !rest.is_empty() {
                text(parts, &rest[..1]);
                rest = &rest[1..];
            }
        }
    }

    /// One of several texts, or a constant.
    fn braces(&mut self, inner: &str, parts: &mut Vec<Part>) {
        let choices = alternatives(inner);
        if choices.len() > 1 {
            let at = self.random.random_range(0..choices.len());
            self.template(choices[at], parts);
        } else if let Some(name) = inner.strip_prefix('!') {
            text(parts, &self.constants.raw(name, self.random));
        } else {
            parts.push(Part::Value(self.constants.value(inner, self.random)));
        }
    }

    fn call(&mut self, inner: &str, parts: &mut Vec<Part>) {
        match inner {
            "!total" => parts.push(Part::Order(Order::Total)),
            "!count" => parts.push(Part::Order(Order::CountOnly)),
            _ => {
                let (name, arguments) = inner.split_once(' ').unwrap_or((inner, ""));
                let arguments: Vec<&str> = arguments.split(',').map(str::trim).collect();
                self.rule(name, &arguments, parts);
            }
        }
    }
}

fn text(parts: &mut Vec<Part>, piece: &str) {
    match parts.last_mut() {
        Some(Part::Text(last)) => last.push_str(piece),
        _ => parts.push(Part::Text(piece.to_owned())),
    }
}

/// `<name` begins a call; `<`, `<=` and `<>` are operators.
fn is_call(rest: &str) -> bool {
    rest.starts_with('<')
        && rest[1..].starts_with(|first: char| first.is_ascii_lowercase() || first == '!')
}

/// Splits behind the mark that closes an already opened one.
fn closing<'a>(text: &'a str, open: &str, close: &str) -> (&'a str, &'a str) {
    let mut depth = 1;
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        if rest.starts_with('\\') {
            at += 2;
        } else if let Some(after) = rest.strip_prefix(close) {
            depth -= 1;
            if depth == 0 {
                return (&text[..at], after);
            }
            at += close.len();
        } else if rest.starts_with(open) && (open != "<" || is_call(rest)) {
            depth += 1;
            at += open.len();
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    panic!("{open} is not closed in {text}");
}

fn alternatives(inner: &str) -> Vec<&str> {
    let (mut depth, mut from, mut found) = (0i32, 0, Vec::new());
    for (at, character) in inner.char_indices() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            '|' if depth == 0 => {
                found.push(&inner[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    found.push(&inner[from..]);
    found
}
