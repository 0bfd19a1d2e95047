//! weir and the oracle side by side: a unit runs on both, and a difference is made small.
use super::answer::{Answer, Failure, Said, TypeNames};
use super::talk::Step;
use super::unit::Unit;
use super::world::{World, query};
use super::{Place, statement};
use crate::raw::Raw;

/// How many smaller variants are tried on a difference.
const ATTEMPTS: usize = 100;

struct Side {
    place: Place,
    raw: Raw,
    types: TypeNames,
}

pub struct Pair {
    weir: Side,
    oracle: Side,
    world: World,
}

/// What became of a unit on which both sides agree.
#[derive(Default)]
pub struct Agreed {
    /// For each step: refused by weir, or answered, and whether the answer was an error.
    pub steps: Vec<Outcome>,
}

pub enum Outcome {
    Answered,
    Failed,
    Refused(Failure),
}

pub struct Difference {
    pub text: String,
}

impl Side {
    fn new(place: &Place, types: TypeNames) -> Self {
        Self { place: place.clone(), raw: place.connect(), types }
    }
}

impl Pair {
    /// `types_of` is the server whose type OIDs the clients of `weir` see.
    pub fn new(weir: &Place, types_of: &Place, oracle: &Place, world: World) -> Self {
        Self {
            weir: Side::new(weir, type_names(&mut types_of.connect())),
            oracle: Side::new(oracle, type_names(&mut oracle.connect())),
            world,
        }
    }

    pub fn world(&mut self) -> &mut World {
        &mut self.world
    }

    /// Both sides with the first rows and new connections.
    pub fn reset(&mut self) {
        self.weir.raw = self.weir.place.connect();
        self.oracle.raw = self.oracle.place.connect();
        self.world.reset();
    }

    pub fn run(&mut self, unit: &Unit) -> Result<Agreed, Difference> {
        let mut agreed = Agreed::default();
        let mut status = 'I';
        for (at, step) in unit.steps.iter().enumerate() {
            let outcome = self.step(step, &mut status);
            agreed.steps.push(outcome.map_err(|text| Difference {
                text: format!("step {} of\n{}{text}", at + 1, unit.show()),
            })?);
        }
        if status != 'I' {
            for side in [&mut self.weir, &mut self.oracle] {
                side.raw.query("ROLLBACK");
                side.raw.take_transcript();
            }
        }
        if unit.may_write()
            && let Some(difference) = self.world.difference().or_else(|| self.world.misplaced())
        {
            return Err(Difference { text: format!("after\n{}{difference}", unit.show()) });
        }
        Ok(agreed)
    }

    fn step(&mut self, step: &Step, status: &mut char) -> Result<Outcome, String> {
        let weir = step.run(&mut self.weir.raw, &self.weir.types);
        let refusal = weir.refusal().cloned();
        let oracle = match (&refusal, *status) {
            // Outside a transaction a refused statement has done nothing.
            (Some(_), 'I') => Answer { said: vec![Said::Ready('I')] },
            // In a transaction it has done as much as any other error.
            (Some(_), _) => self.fail(),
            (None, _) => step.run(&mut self.oracle.raw, &self.oracle.types),
        };
        *status = match oracle.said.last() {
            Some(Said::Ready(status)) => *status,
            _ => return Err(format!("PostgreSQL does not answer:\n{oracle}")),
        };
        let ended = weir.said.last() == oracle.said.last();
        let same = match refusal {
            Some(_) => ended,
            None => {
                let orders = step.orders();
                let mut said = [weir.comparable(&orders), oracle.comparable(&orders)];
                if weir.says_own_error() {
                    said.iter_mut().for_each(|said| said.retain(is_no_acknowledgement));
                }
                said[0] == said[1]
            }
        };
        if !same {
            return Err(format!("  PostgreSQL:\n{oracle}  weir:\n{weir}"));
        }
        let failed = weir.said.iter().any(|said| matches!(said, Said::Error(_)));
        Ok(match refusal {
            Some(failure) => Outcome::Refused(failure),
            None if failed => Outcome::Failed,
            None => Outcome::Answered,
        })
    }

    /// An error in the oracle's transaction, in the place of what weir refused.
    fn fail(&mut self) -> Answer {
        let statements = statement::Statement::split(vec![statement::Part::Text("refused".into())]);
        let step = Step { statements, how: super::talk::How::Simple, number: 0 };
        step.run(&mut self.oracle.raw, &self.oracle.types)
    }

    /// The smallest unit, and the fewest units before it, that still show a difference.
    pub fn shrink(&mut self, before: &[Unit], unit: &Unit) -> Option<(Vec<Unit>, Difference)> {
        let mut attempts = ATTEMPTS;
        let mut before: Vec<Unit> = before.to_vec();
        let mut unit = unit.clone();
        let mut difference = match self.differs(&[], &unit) {
            Some(difference) => {
                before.clear();
                difference
            }
            None => self.differs(&before, &unit)?,
        };
        let mut portion = before.len().div_ceil(2);
        while portion > 0 && attempts > 0 {
            let mut from = 0;
            while from < before.len() && attempts > 0 {
                attempts -= 1;
                let mut fewer = before.clone();
                fewer.drain(from..(from + portion).min(before.len()));
                match self.differs(&fewer, &unit) {
                    Some(found) => (before, difference) = (fewer, found),
                    None => from += portion,
                }
            }
            portion /= 2;
        }
        'smaller: loop {
            for smaller in unit.smaller() {
                attempts = attempts.saturating_sub(1);
                if attempts == 0 {
                    break 'smaller;
                }
                if let Some(found) = self.differs(&before, &smaller) {
                    (unit, difference) = (smaller, found);
                    continue 'smaller;
                }
            }
            break;
        }
        Some((before, difference))
    }

    fn differs(&mut self, before: &[Unit], unit: &Unit) -> Option<Difference> {
        self.reset();
        for earlier in before {
            // An earlier difference would hide the one looked for.
            self.run(earlier).ok()?;
        }
        self.run(unit).err()
    }
}

fn is_no_acknowledgement(said: &Said) -> bool {
    !matches!(said, Said::Other(_) | Said::Columns(_))
}

/// The types that this server numbers for itself.
pub fn type_names(raw: &mut Raw) -> TypeNames {
    query(raw, "SELECT oid, typname FROM pg_type WHERE oid >= 16384")
        .into_iter()
        .map(|row| (row[0].as_ref().unwrap().parse().unwrap(), row[1].clone().unwrap()))
        .collect()
}
