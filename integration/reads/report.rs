//! What was run, and how it was answered.
use super::pair::{Outcome, Read, Way};
use std::collections::BTreeMap;
use std::fmt;

#[derive(Default)]
pub struct Report {
    pub statements: usize,
    pub answered: usize,
    /// Both sides gave the same error.
    pub failed: usize,
    pub refused: usize,
    /// PostgreSQL gave up.
    slow: usize,
    /// By how weir answered: how often.
    strategies: BTreeMap<String, usize>,
    /// By reason: how often, and the shortest statement.
    reasons: BTreeMap<String, (usize, String)>,
    errors: BTreeMap<String, (usize, String)>,
}

impl Report {
    pub fn count(&mut self, read: &Read, outcome: &Outcome, strategy: impl FnOnce(Way) -> String) {
        self.statements += 1;
        match outcome {
            Outcome::Answered(way) => {
                self.answered += 1;
                *self.strategies.entry(strategy(*way)).or_default() += 1;
            }
            Outcome::Slow => self.slow += 1,
            Outcome::Failed(error) => {
                self.failed += 1;
                note(&mut self.errors, error.clone(), read);
            }
            Outcome::Refused(failure) => {
                self.refused += 1;
                note(&mut self.reasons, reason(&failure.told()), read);
            }
        }
    }

    /// How many were answered in this way.
    pub fn went(&self, strategy: &str) -> usize {
        self.strategies.get(strategy).copied().unwrap_or_default()
    }

    /// How many of a thousand weir refused.
    pub fn refused_per_mille(&self) -> usize {
        (self.refused * 1000).div_ceil(self.statements.max(1))
    }

    pub fn add(&mut self, other: Self) {
        self.statements += other.statements;
        self.answered += other.answered;
        self.failed += other.failed;
        self.refused += other.refused;
        self.slow += other.slow;
        for (strategy, count) in other.strategies {
            *self.strategies.entry(strategy).or_default() += count;
        }
        for (all, more) in [(&mut self.reasons, other.reasons), (&mut self.errors, other.errors)] {
            for (reason, (count, example)) in more {
                let entry = all.entry(reason).or_insert_with(|| (0, example.clone()));
                entry.0 += count;
                if example.len() < entry.1.len() {
                    entry.1 = example;
                }
            }
        }
    }
}

fn note(reasons: &mut BTreeMap<String, (usize, String)>, reason: String, read: &Read) {
    let text = read.text();
    let (count, example) = reasons.entry(reason).or_insert_with(|| (0, text.clone()));
    *count += 1;
    if text.len() < example.len() {
        *example = text;
    }
}

/// A refusal's message without what differs from statement to statement.
fn reason(message: &str) -> String {
    const NAMES: [&str; 7] = ["wide", "parts", "guests", "codes", "kinds", "moods", "alone"];
    let message = message.replace("public.", "");
    let bare =
        |word: &str| word.trim_matches(|c: char| !c.is_alphanumeric() && c != '_').to_owned();
    let words = message.split(' ').map(|word| match bare(word) {
        name if NAMES.contains(&name.as_str()) => "TABLE",
        name if name.contains(|c: char| c.is_ascii_digit()) => "…",
        _ => word,
    });
    words.collect::<Vec<_>>().join(" ")
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let share = |count: usize| count as f64 * 100.0 / self.statements.max(1) as f64;
        writeln!(
            f,
            "{} statements: {} answered, {} failed alike, {} refused, {} too slow for PostgreSQL",
            self.statements, self.answered, self.failed, self.refused, self.slow
        )?;
        writeln!(f, "{:6.1} % the same answer:", share(self.answered))?;
        for (strategy, count) in &self.strategies {
            writeln!(f, "{:14.1} %  {strategy}", share(*count))?;
        }
        for (what, count, reasons) in [
            ("the same error", self.failed, &self.errors),
            ("refused by weir", self.refused, &self.reasons),
        ] {
            writeln!(f, "{:6.1} % {what}:", share(count))?;
            let mut reasons: Vec<_> = reasons.iter().collect();
            reasons.sort_by_key(|(_, (count, _))| std::cmp::Reverse(*count));
            for (reason, (count, example)) in reasons {
                writeln!(f, "{count:8}  {reason}\n            {}", example.replace('\n', " "))?;
            }
        }
        Ok(())
    }
}
