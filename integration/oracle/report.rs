//! What was run, and what weir refused.
use super::pair::{Agreed, Outcome};
use super::unit::Unit;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

#[derive(Default)]
pub struct Report {
    pub units: usize,
    pub statements: usize,
    pub answered: usize,
    /// Both sides gave the same error.
    pub failed: usize,
    pub refused: usize,
    /// Shapes, and those that weir answered at least once.
    pub shapes: BTreeSet<String>,
    pub answered_shapes: BTreeSet<String>,
    /// By reason: how often, and one statement.
    reasons: BTreeMap<String, (usize, String)>,
    /// By first word: answered or failed alike, and refused.
    verbs: BTreeMap<String, (usize, usize)>,
}

impl Report {
    pub fn count(&mut self, unit: &Unit, agreed: &Agreed) {
        self.units += 1;
        for (step, outcome) in unit.steps.iter().zip(&agreed.steps) {
            for statement in &step.statements {
                let (shape, text) = (statement.shape(), statement.text());
                let verb = text.split_whitespace().next().unwrap_or_default().to_uppercase();
                let verb = self.verbs.entry(verb).or_default();
                self.statements += 1;
                match outcome {
                    Outcome::Answered => {
                        self.answered += 1;
                        verb.0 += 1;
                        self.answered_shapes.insert(shape.clone());
                    }
                    Outcome::Failed => {
                        self.failed += 1;
                        verb.0 += 1;
                    }
                    Outcome::Refused(failure) => {
                        self.refused += 1;
                        verb.1 += 1;
                        let reason = self.reasons.entry(reason(&failure.message));
                        let (count, example) = reason.or_default();
                        *count += 1;
                        let alone = step.statements.len() == 1;
                        if example.is_empty() || alone && text.len() < example.len() {
                            *example = text;
                        }
                    }
                }
                self.shapes.insert(shape);
            }
        }
    }
}

impl Report {
    /// A run is only worth something if it has seen much; short runs are somebody's look at one seed.
    pub fn visited_enough(&self) {
        let wanted = 500.min(self.statements / 4);
        assert!(self.shapes.len() >= wanted, "only {} shapes\n{self}", self.shapes.len());
    }

    /// How often statements that begin with this word were answered alike.
    pub fn answered_of(&self, verb: &str) -> usize {
        self.verbs.get(verb).map_or(0, |(answered, _)| *answered)
    }
}

/// A refusal's message without what differs from statement to statement.
fn reason(message: &str) -> String {
    const NAMES: [&str; 7] =
        ["users", "orders", "order_items", "payments", "products", "warehouses", "audit_log"];
    let words = message.split(' ').map(|word| match word {
        word if NAMES.contains(&word) => "TABLE",
        "user_id" | "id" | "order_no" => "KEY",
        word if word.contains(|c: char| c.is_ascii_digit()) => "…",
        word => word,
    });
    words.collect::<Vec<_>>().join(" ")
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let share = |count: usize| count as f64 * 100.0 / self.statements.max(1) as f64;
        writeln!(
            f,
            "{} statements in {} units, {} shapes ({} of them answered)",
            self.statements,
            self.units,
            self.shapes.len(),
            self.answered_shapes.len()
        )?;
        writeln!(f, "{:6.1} % the same answer", share(self.answered))?;
        writeln!(f, "{:6.1} % the same error", share(self.failed))?;
        writeln!(f, "{:6.1} % refused by weir:", share(self.refused))?;
        let mut reasons: Vec<_> = self.reasons.iter().collect();
        reasons.sort_by_key(|(_, (count, _))| std::cmp::Reverse(*count));
        for (reason, (count, example)) in reasons {
            writeln!(f, "{count:8}  {reason}\n            {}", example.replace('\n', " "))?;
        }
        writeln!(f, "by first word, answered and refused:")?;
        for (verb, (answered, refused)) in &self.verbs {
            writeln!(f, "{verb:>12} {answered:6} {refused:6}")?;
        }
        Ok(())
    }
}
