//! The proof: which columns are limited to which keys.
//!
//! A *variable* is one column of one instance of a relation. Conditions become facts about
//! variables: a variable equals constants, two variables are equal, a variable is NULL. Each fact
//! says which of its variables it may *limit*: those of instances whose other rows cannot influence
//! the result once the condition fails for them.
//!
//! The argument: take the limited variables in the order in which they are found. The first ones are
//! limited by constants: rows with other keys may be left out without changing the result. Once they
//! are left out, an equality with such a variable does the same for the next one, and so on.
//! Outer joins: a condition in ON limits only the nullable side; a strict condition in WHERE limits
//! both, since it refuses the rows that were extended with NULLs.
use super::value::Keys;
use crate::sharding::KeyType;
use std::collections::HashSet;
use std::rc::Rc;

/// One column of one instance.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Var(pub usize);

/// A moment while facts are collected.
#[derive(Clone, Copy, Debug)]
pub struct Mark(usize);

/// Everything that is known about the statement's variables.
#[derive(Debug, Default)]
pub struct Facts {
    /// Each variable's type, if values of it can be carried.
    types: Vec<Option<KeyType>>,
    /// Variables of which only the constants they are compared with are of interest.
    lone: Vec<Var>,
    limits: Vec<(Var, Rc<Keys>)>,
    equalities: Vec<Equality>,
    nulls: Vec<Var>,
}

#[derive(Debug)]
struct Equality {
    left: Side,
    right: Side,
}

/// One side of an equality; `limited`: the condition limits this side's instance.
#[derive(Clone, Copy, Debug)]
pub struct Side {
    pub var: Var,
    pub limited: bool,
}

/// What a variable is proved to be: one of the keys, read as the type of the variable that the
/// condition names.
#[derive(Clone, Debug)]
pub struct Limit {
    pub keys: Rc<Keys>,
    pub read_as: KeyType,
}

impl Facts {
    pub fn var(&mut self, key_type: Option<KeyType>) -> Var {
        self.types.push(key_type);
        Var(self.types.len() - 1)
    }

    /// A variable that proves nothing: a text of who knows what collation, under which different texts
    /// may be equal.
    pub fn lone_var(&mut self, key_type: KeyType) -> Var {
        let var = self.var(Some(key_type));
        self.lone.push(var);
        var
    }

    /// What a condition says of such a variable.
    pub fn limit_of_lone(&self, var: Var) -> Option<(&Keys, KeyType)> {
        let (_, keys) = self.limits.iter().find(|(limited, _)| *limited == var)?;
        Some((keys, self.type_of(var).filter(|_| self.lone.contains(&var))?))
    }

    pub fn type_of(&self, var: Var) -> Option<KeyType> {
        self.types.get(var.0).copied().flatten()
    }

    pub fn limit(&mut self, var: Var, keys: Keys) {
        self.limits.push((var, Rc::new(keys)));
    }

    pub fn equal(&mut self, left: Side, right: Side) {
        let families = [left, right].map(|side| self.type_of(side.var).map(family));
        let lone = self.lone.contains(&left.var) || self.lone.contains(&right.var);
        if let [Some(one), Some(other)] = families
            && one == other
            && !lone
            && (left.limited || right.limited)
        {
            self.equalities.push(Equality { left, right });
        }
    }

    pub fn null(&mut self, var: Var) {
        self.nulls.push(var);
    }

    pub fn is_null(&self, var: Var) -> bool {
        self.nulls.contains(&var)
    }

    /// How much is known now: what becomes known later can be told apart.
    pub fn mark(&self) -> Mark {
        Mark(self.equalities.len())
    }

    /// Whatever is limited to one key if `anchor` is limited to it, by what became known since then.
    pub fn class(&self, anchor: Var, since: Mark) -> HashSet<Var> {
        let equalities = self.equalities.get(since.0..).unwrap_or_default();
        let mut class = HashSet::from([anchor]);
        loop {
            let before = class.len();
            for Equality { left, right } in equalities {
                for (from, to) in [(left, right), (right, left)] {
                    if to.limited && class.contains(&from.var) {
                        class.insert(to.var);
                    }
                }
            }
            if class.len() == before {
                return class;
            }
        }
    }

    /// What every variable is limited to, if anything.
    pub fn solve(&self) -> Proof {
        let mut proof = Proof { limits: vec![None; self.types.len()] };
        // Conditions with one key first: they are on one shard for sure.
        let single = |keys: &Keys| matches!(keys, Keys::AnyOf(list) if list.len() == 1);
        for wanted in [true, false] {
            for (var, keys) in &self.limits {
                if single(keys) == wanted
                    && !self.lone.contains(var)
                    && let Some(read_as) = self.type_of(*var)
                {
                    proof.learn(*var, Limit { keys: Rc::clone(keys), read_as });
                }
            }
            while self.carry(&mut proof) {}
        }
        proof
    }

    /// Carry limits over equalities once; did anything become known?
    fn carry(&self, proof: &mut Proof) -> bool {
        let mut learned = false;
        for Equality { left, right } in &self.equalities {
            for (from, to) in [(left, right), (right, left)] {
                if to.limited
                    && let Some(limit) = proof.limit(from.var).cloned()
                {
                    learned |= proof.learn(to.var, limit);
                }
            }
        }
        learned
    }
}

/// The limits that were proved.
#[derive(Debug)]
pub struct Proof {
    limits: Vec<Option<Limit>>,
}

impl Proof {
    pub fn limit(&self, var: Var) -> Option<&Limit> {
        self.limits.get(var.0).and_then(Option::as_ref)
    }

    fn learn(&mut self, var: Var, limit: Limit) -> bool {
        match self.limits.get_mut(var.0) {
            Some(known @ None) => {
                *known = Some(limit);
                true
            }
            Some(Some(_)) | None => false,
        }
    }
}

/// Types among which PostgreSQL's `=` compares values, not texts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    Integer,
    Text,
    Uuid,
    Date,
    Timestamptz,
}

fn family(key_type: KeyType) -> Family {
    match key_type {
        KeyType::Smallint | KeyType::Int | KeyType::Bigint => Family::Integer,
        KeyType::Text | KeyType::Varchar => Family::Text,
        KeyType::Uuid => Family::Uuid,
        KeyType::Date => Family::Date,
        KeyType::Timestamptz => Family::Timestamptz,
    }
}
