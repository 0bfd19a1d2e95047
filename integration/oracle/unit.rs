//! A unit: a statement, or a few that belong together (a transaction, a pipeline). After it both
//! sides are outside a transaction again and must hold the same rows.
use super::Random;
use super::constants::Constants;
use super::grammar::Grammar;
use super::statement::{Part, Statement};
use super::talk::{Fetch, How, Results, Step};
use rand::RngExt;

#[derive(Clone, Debug)]
pub struct Unit {
    pub steps: Vec<Step>,
}

impl Unit {
    /// `number` makes names that no other unit uses.
    pub fn generate(grammar: &Grammar, number: usize, random: &mut Random) -> Self {
        let mut constants = Constants::new(random);
        let mut make = |rule: &str, random: &mut Random| {
            Statement::split(grammar.expand(rule, &mut constants, random))
        };
        let steps = match random.random_range(0..20) {
            // A transaction: each statement in its own way.
            0..4 => make("transaction", random)
                .into_iter()
                .enumerate()
                .map(|(at, statement)| Step {
                    statements: vec![statement],
                    how: how(random),
                    number: number * 100 + at,
                })
                .collect(),
            // One Query message with several statements.
            4 => vec![Step { statements: make("batch", random), how: How::Simple, number }],
            // Several statements before one Sync.
            5 => {
                let how = How::Bound { results: results(random), fetch: Fetch::All };
                vec![Step { statements: make("batch", random), how, number }]
            }
            6 => prepared(make("preparable", random), number),
            _ => vec![Step { statements: make("single", random), how: how(random), number }],
        };
        Self { steps }
    }

    pub fn may_write(&self) -> bool {
        self.statements().any(Statement::may_write)
    }

    pub fn statements(&self) -> impl Iterator<Item = &Statement> {
        self.steps.iter().flat_map(|step| &step.statements)
    }

    pub fn show(&self) -> String {
        self.steps.iter().map(Step::show).collect()
    }

    /// Units with a little less in them.
    pub fn smaller(&self) -> Vec<Self> {
        let mut variants = Vec::new();
        if self.steps.len() > 1 {
            for at in 0..self.steps.len() {
                let mut steps = self.steps.clone();
                steps.remove(at);
                variants.push(Self { steps });
            }
        }
        for (at, step) in self.steps.iter().enumerate() {
            for (inner, statement) in step.statements.iter().enumerate() {
                if step.statements.len() > 1 {
                    let mut smaller = self.clone();
                    smaller.steps[at].statements.remove(inner);
                    variants.push(smaller);
                }
                for variant in statement.smaller() {
                    let mut smaller = self.clone();
                    smaller.steps[at].statements[inner] = variant;
                    variants.push(smaller);
                }
            }
            if step.how != How::Simple {
                let mut smaller = self.clone();
                smaller.steps[at].how = How::Simple;
                variants.push(smaller);
            }
        }
        variants
    }
}

fn how(random: &mut Random) -> How {
    match random.random_range(0..10) {
        0..4 => How::Simple,
        4..7 => How::Bound { results: results(random), fetch: Fetch::All },
        7 => How::Bound {
            results: results(random),
            fetch: Fetch::Portions(random.random_range(1..3)),
        },
        _ => How::Described { results: results(random), twice: random.random_bool(0.2) },
    }
}

fn results(random: &mut Random) -> Results {
    if random.random_bool(0.5) { Results::Text } else { Results::Binary }
}

/// SQL's own PREPARE, EXECUTE and DEALLOCATE.
fn prepared(statements: Vec<Statement>, number: usize) -> Vec<Step> {
    let step = |text: String, order: &Statement| Step {
        statements: Statement::split(vec![Part::Order(order.order()), Part::Text(text)]),
        how: How::Simple,
        number,
    };
    let mut steps = Vec::new();
    for statement in &statements {
        let (text, values) = statement.parameterised();
        let types: Vec<&str> = values.iter().map(|value| value.type_name()).collect();
        let literals: Vec<&str> = values.iter().map(|value| value.literal.as_str()).collect();
        let list = |items: Vec<&str>| match items.is_empty() {
            true => String::new(),
            false => format!(" ({})", items.join(", ")),
        };
        let name = format!("prepared_{number}");
        steps.push(step(format!("PREPARE {name}{} AS {text}", list(types)), statement));
        steps.push(step(format!("EXECUTE {name}{}", list(literals)), statement));
        steps.push(step(format!("DEALLOCATE {name}"), statement));
    }
    steps
}
