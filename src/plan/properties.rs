//! The proof against brute force: random statements over three small sharded tables are evaluated on
//! all rows and on the rows of the shard that the plan chose. If weir accepts a statement, both
//! answers must be the same; and with other rows, too, since the rows are random as well.
use super::catalog::Catalog;
use super::{Context, Planner, Route};
use crate::rules::{self, Rules};
use crate::wire::params::Params;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::LazyLock;

const SHARDS: i64 = 2;
/// Databases that a statement is tried on.
const DATABASES: usize = 30;
const TABLES: [&str; 3] = ["a", "b", "c"];

fn rules() -> Rules {
    let mut text = String::from("database = \"d\"\nhome = \"s0\"\nunlisted = \"refuse\"\n");
    for shard in 0..SHARDS {
        writeln!(text, "[[shard]]\nname = \"s{shard}\"\nprimary = \"host=h{shard} dbname=d\"")
            .unwrap();
    }
    text.push_str("[[distribution]]\nname = \"by_k\"\nfunction = \"modulo\"\n");
    writeln!(text, "key_type = \"bigint\"\nbuckets = {SHARDS}").unwrap();
    for table in TABLES {
        writeln!(text, "[[table]]\nname = \"{table}\"\ndistribution = \"by_k\"\nkey = \"k\"")
            .unwrap();
    }
    // The last table's rows without k live where x says.
    text.push_str("fallback = { key = \"x\", distribution = \"by_k\" }\n");
    rules::parse(&text, "rules.toml").unwrap()
}

fn catalog() -> Catalog {
    let tables = TABLES.map(|table| format!("CREATE TABLE {table} (k bigint, x bigint);"));
    Catalog::from_ddl(&tables.join("\n")).unwrap()
}

type Value = Option<i64>;
type Row = [Value; 2];
type Database = [Vec<Row>; 3];
/// The rows that the aliases in sight stand for.
type Tuple = BTreeMap<String, Row>;

#[derive(Debug, Clone)]
enum Relation {
    Table {
        table: usize,
        alias: String,
    },
    Join {
        kind: &'static str,
        sides: Box<(Relation, Relation)>,
        on: Condition,
    },
    /// `(SELECT [DISTINCT] from.k, from.x FROM … WHERE …) alias`, perhaps grouped.
    Derived {
        form: Form,
        from: Box<Relation>,
        filter: Condition,
        alias: String,
    },
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Form {
    Plain,
    Distinct,
    /// One row per k with the largest x.
    Grouped,
    /// One row per x with the largest k.
    GroupedByOther,
    /// The row with the smallest (k, x).
    First,
}

#[derive(Debug, Clone)]
enum Condition {
    Equal(Term, Term),
    In(Term, Vec<i64>),
    RowEqual([Term; 2], [i64; 2]),
    IsNull(Term),
    And(Vec<Condition>),
    Or(Vec<Condition>),
    Not(Box<Condition>),
    IsNotTrue(Box<Condition>),
    Exists(Box<Relation>, Box<Condition>),
    InQuery(Term, Box<Relation>, Box<Condition>, Term),
}

#[derive(Debug, Clone)]
enum Term {
    Column(String, usize),
    Constant(Value),
}

/// Turns random numbers into a statement.
struct Maker<'b> {
    choices: std::slice::Iter<'b, u8>,
    aliases: usize,
}

impl Maker<'_> {
    fn pick(&mut self, below: usize) -> usize {
        usize::from(self.choices.next().copied().unwrap_or(0)) % below
    }

    fn alias(&mut self) -> String {
        self.aliases += 1;
        format!("t{}", self.aliases)
    }

    fn relation(&mut self, depth: usize, outer: &[String]) -> Relation {
        match self.pick(if depth == 0 { 2 } else { 6 }) {
            0 | 1 => Relation::Table { table: self.pick(3), alias: self.alias() },
            2 => {
                let from = Box::new(self.relation(depth - 1, &[]));
                let filter = self.filter(1, &names(&from), &[]);
                const FORMS: [Form; 5] =
                    [Form::Plain, Form::Distinct, Form::Grouped, Form::GroupedByOther, Form::First];
                let form = FORMS[self.pick(5)];
                Relation::Derived { form, from, filter, alias: self.alias() }
            }
            _ => {
                let sides = (self.relation(depth - 1, outer), self.relation(depth - 1, outer));
                let mut inside = names(&sides.0);
                inside.extend(names(&sides.1));
                let kind = ["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"][self.pick(4)];
                let on = self.filter(1, &inside, outer);
                Relation::Join { kind, sides: Box::new(sides), on }
            }
        }
    }

    /// A condition whose parts are mostly equalities that might prove something.
    fn filter(&mut self, depth: usize, inside: &[String], outer: &[String]) -> Condition {
        let parts = (0..self.pick(4)).map(|_| self.condition(depth, inside, outer));
        Condition::And(parts.collect())
    }

    fn condition(&mut self, depth: usize, inside: &[String], outer: &[String]) -> Condition {
        let mut all = inside.to_vec();
        all.extend_from_slice(outer);
        let key = |maker: &mut Self| Term::Column(all[maker.pick(all.len())].clone(), 0);
        match self.pick(if depth == 0 { 8 } else { 14 }) {
            0 | 1 => Condition::Equal(key(self), Term::Constant(Some(self.pick(4) as i64))),
            2 | 3 => Condition::Equal(key(self), key(self)),
            4 => Condition::Equal(self.term(&all), self.term(&all)),
            5 => Condition::In(key(self), vec![self.pick(4) as i64, self.pick(4) as i64]),
            6 => Condition::RowEqual(
                [key(self), self.term(&all)],
                [self.pick(4) as i64, self.pick(4) as i64],
            ),
            7 if self.pick(2) == 0 => {
                // What finds rows without a key, if anything.
                let alias = all[self.pick(all.len())].clone();
                let by = Term::Constant(Some(self.pick(4) as i64));
                Condition::And(vec![
                    Condition::IsNull(Term::Column(alias.clone(), 0)),
                    Condition::Equal(Term::Column(alias, 1), by),
                ])
            }
            7 => Condition::IsNull(self.term(&all)),
            8 => Condition::Or(vec![
                self.condition(depth - 1, inside, outer),
                self.condition(depth - 1, inside, outer),
            ]),
            9 => Condition::Not(Box::new(self.condition(depth - 1, inside, outer))),
            10 => Condition::IsNotTrue(Box::new(self.condition(depth - 1, inside, outer))),
            11 => Condition::And(vec![
                self.condition(depth - 1, inside, outer),
                self.condition(depth - 1, inside, outer),
            ]),
            12 => {
                let from = self.relation(1, &all);
                let filter = self.filter(0, &names(&from), &all);
                Condition::Exists(Box::new(from), Box::new(filter))
            }
            _ => {
                let from = self.relation(1, &all);
                let filter = self.filter(0, &names(&from), &all);
                let own = names(&from);
                let output = Term::Column(own[self.pick(own.len())].clone(), self.pick(3) / 2);
                Condition::InQuery(key(self), Box::new(from), Box::new(filter), output)
            }
        }
    }

    fn term(&mut self, aliases: &[String]) -> Term {
        match self.pick(4) {
            0 => Term::Constant([None, Some(0), Some(1), Some(2)][self.pick(4)]),
            _ => Term::Column(aliases[self.pick(aliases.len())].clone(), self.pick(2)),
        }
    }
}

/// The aliases that a relation brings into sight.
fn names(relation: &Relation) -> Vec<String> {
    match relation {
        Relation::Table { alias, .. } | Relation::Derived { alias, .. } => vec![alias.clone()],
        Relation::Join { sides, .. } => {
            let mut all = names(&sides.0);
            all.extend(names(&sides.1));
            all
        }
    }
}

fn sql(relation: &Relation) -> String {
    match relation {
        Relation::Table { table, alias } => format!("{} {alias}", TABLES[*table]),
        Relation::Join { kind, sides, on } => {
            format!("({} {kind} {} ON {})", sql(&sides.0), sql(&sides.1), said(on))
        }
        Relation::Derived { form, from, filter, alias } => {
            let first = &names(from)[0];
            let (from, filter) = (sql(from), said(filter));
            let body = match form {
                Form::Plain => format!("SELECT {first}.k, {first}.x FROM {from} WHERE {filter}"),
                Form::Distinct => {
                    format!("SELECT DISTINCT {first}.k, {first}.x FROM {from} WHERE {filter}")
                }
                Form::Grouped => format!(
                    "SELECT {first}.k, max({first}.x) AS x FROM {from} WHERE {filter} GROUP BY {first}.k"
                ),
                Form::GroupedByOther => format!(
                    "SELECT max({first}.k) AS k, {first}.x FROM {from} WHERE {filter} GROUP BY {first}.x"
                ),
                Form::First => format!(
                    "SELECT {first}.k, {first}.x FROM {from} WHERE {filter} ORDER BY 1, 2 LIMIT 1"
                ),
            };
            format!("({body}) {alias}")
        }
    }
}

fn said(condition: &Condition) -> String {
    let list = |parts: &[Condition], word: &str| {
        let parts: Vec<String> = parts.iter().map(|part| format!("({})", said(part))).collect();
        parts.join(word)
    };
    match condition {
        Condition::Equal(left, right) => format!("{} = {}", word(left), word(right)),
        Condition::In(term, list) => {
            let list: Vec<String> = list.iter().map(i64::to_string).collect();
            format!("{} IN ({})", word(term), list.join(", "))
        }
        Condition::RowEqual([a, b], [one, two]) => {
            format!("({}, {}) = ({one}, {two})", word(a), word(b))
        }
        Condition::IsNull(term) => format!("{} IS NULL", word(term)),
        Condition::And(parts) if parts.is_empty() => String::from("true"),
        Condition::And(parts) => list(parts, " AND "),
        Condition::Or(parts) => list(parts, " OR "),
        Condition::Not(part) => format!("NOT ({})", said(part)),
        Condition::IsNotTrue(part) => format!("({}) IS NOT TRUE", said(part)),
        Condition::Exists(from, filter) => {
            format!("EXISTS (SELECT 1 FROM {} WHERE {})", sql(from), said(filter))
        }
        Condition::InQuery(term, from, filter, output) => format!(
            "{} IN (SELECT {} FROM {} WHERE {})",
            word(term),
            word(output),
            sql(from),
            said(filter)
        ),
    }
}

fn word(term: &Term) -> String {
    match term {
        Term::Column(alias, index) => format!("{alias}.{}", ["k", "x"][*index]),
        Term::Constant(None) => String::from("NULL"),
        Term::Constant(Some(value)) => value.to_string(),
    }
}

/// The rows of a relation, as SQL defines joins.
fn rows(relation: &Relation, database: &Database, outer: &Tuple) -> Vec<Tuple> {
    match relation {
        Relation::Table { table, alias } => {
            database[*table].iter().map(|row| Tuple::from([(alias.clone(), *row)])).collect()
        }
        Relation::Join { kind, sides, on } => {
            let left = rows(&sides.0, database, outer);
            let right = rows(&sides.1, database, outer);
            let missing = |side: &Relation| -> Tuple {
                names(side).into_iter().map(|alias| (alias, [None, None])).collect()
            };
            let both = |one: &Tuple, other: &Tuple| -> Tuple {
                one.iter().chain(other).map(|(alias, row)| (alias.clone(), *row)).collect()
            };
            let (no_left, no_right) = (missing(&sides.0), missing(&sides.1));
            let mut found = Vec::new();
            let mut matched = vec![false; right.len()];
            for one in &left {
                let mut alone = true;
                for (other, matched) in right.iter().zip(&mut matched) {
                    let tuple = both(one, other);
                    if holds(on, database, &both(outer, &tuple)) == Some(true) {
                        (alone, *matched) = (false, true);
                        found.push(tuple);
                    }
                }
                if alone && matches!(*kind, "LEFT JOIN" | "FULL JOIN") {
                    found.push(both(one, &no_right));
                }
            }
            if matches!(*kind, "RIGHT JOIN" | "FULL JOIN") {
                for (other, matched) in right.iter().zip(&matched) {
                    if !matched {
                        found.push(both(&no_left, other));
                    }
                }
            }
            found
        }
        Relation::Derived { form, from, filter, alias } => {
            let first = &names(from)[0];
            // A derived table sees nothing outside.
            let mut outputs: Vec<Row> = rows(from, database, &Tuple::new())
                .into_iter()
                .filter(|tuple| holds(filter, database, tuple) == Some(true))
                .map(|tuple| tuple[first])
                .collect();
            outputs.sort();
            match form {
                Form::Plain => {}
                Form::Distinct => outputs.dedup(),
                Form::Grouped => {
                    let mut groups: BTreeMap<Value, Value> = BTreeMap::new();
                    for [k, x] in &outputs {
                        let most = groups.entry(*k).or_default();
                        *most = (*most).max(*x);
                    }
                    outputs = groups.into_iter().map(|(k, x)| [k, x]).collect();
                }
                Form::GroupedByOther => {
                    let mut groups: BTreeMap<Value, Value> = BTreeMap::new();
                    for [k, x] in &outputs {
                        let most = groups.entry(*x).or_default();
                        *most = (*most).max(*k);
                    }
                    outputs = groups.into_iter().map(|(x, k)| [k, x]).collect();
                }
                Form::First => {
                    // ORDER BY puts NULLs last.
                    outputs.sort_by_key(|[k, x]| (k.is_none(), *k, x.is_none(), *x));
                    outputs.truncate(1);
                }
            }
            outputs.into_iter().map(|row| Tuple::from([(alias.clone(), row)])).collect()
        }
    }
}

fn holds(condition: &Condition, database: &Database, tuple: &Tuple) -> Option<bool> {
    let value = |term: &Term| match term {
        Term::Column(alias, index) => tuple[alias][*index],
        Term::Constant(value) => *value,
    };
    let equal = |left: Value, right: Value| Some(left? == right?);
    let and = |parts: &mut dyn Iterator<Item = Option<bool>>| {
        let mut all = Some(true);
        for part in parts {
            all = match (all, part) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (Some(true), Some(true)) => Some(true),
                (None, _) | (_, None) => None,
            };
        }
        all
    };
    let not = |part: Option<bool>| part.map(|part| !part);
    let inner = |from: &Relation, filter: &Condition| -> Vec<Tuple> {
        rows(from, database, tuple)
            .into_iter()
            .map(|mut found| {
                found.extend(tuple.iter().map(|(alias, row)| (alias.clone(), *row)));
                found
            })
            .filter(|found| holds(filter, database, found) == Some(true))
            .collect()
    };
    match condition {
        Condition::Equal(left, right) => equal(value(left), value(right)),
        Condition::In(term, list) => value(term).map(|value| list.contains(&value)),
        Condition::RowEqual(terms, constants) => and(&mut terms
            .iter()
            .zip(constants)
            .map(|(term, constant)| equal(value(term), Some(*constant)))),
        Condition::IsNull(term) => Some(value(term).is_none()),
        Condition::And(parts) => and(&mut parts.iter().map(|part| holds(part, database, tuple))),
        Condition::Or(parts) => {
            not(and(&mut parts.iter().map(|part| not(holds(part, database, tuple)))))
        }
        Condition::Not(part) => not(holds(part, database, tuple)),
        Condition::IsNotTrue(part) => Some(holds(part, database, tuple) != Some(true)),
        Condition::Exists(from, filter) => Some(!inner(from, filter).is_empty()),
        Condition::InQuery(term, from, filter, output) => {
            let Term::Column(alias, index) = output else { return None };
            let found = inner(from, filter);
            not(and(&mut found.iter().map(|found| not(equal(value(term), found[alias][*index])))))
        }
    }
}

fn answer(from: &Relation, filter: &Condition, database: &Database) -> Vec<Tuple> {
    let mut found = rows(from, database, &Tuple::new());
    found.retain(|tuple| holds(filter, database, tuple) == Some(true));
    found.sort();
    found
}

/// Makes a statement and rows; checks the promise; was the statement accepted?
fn check(choices: &[u8], seed: u64) -> Result<bool, String> {
    let mut maker = Maker { choices: choices.iter(), aliases: 0 };
    let depth = maker.pick(4);
    let from = maker.relation(depth, &[]);
    let filter = maker.filter(2, &names(&from), &[]);
    verify(&from, &filter, seed)
}

fn verify(from: &Relation, filter: &Condition, seed: u64) -> Result<bool, String> {
    let statement = format!("SELECT * FROM {} WHERE {}", sql(from), said(filter));
    static MADE: LazyLock<(Rules, Catalog)> = LazyLock::new(|| (rules(), catalog()));
    let (rules, catalog) = &*MADE;
    let context = Context {
        rules,
        catalog,
        search_path: "public",
        user: "u",
        standard_conforming_strings: true,
        temporary: &[],
        named_shard: None,
    };
    let route = Planner::new(1)
        .plan(&statement, &context)
        .and_then(|planned| planned.route(&statement, &Params::default(), rules));
    let shard = match route {
        Ok(Route::One(shard)) => i64::from(shard.0),
        Ok(Route::Any) => 0,
        Ok(Route::Many) => return Ok(false),
        Ok(other @ (Route::Every | Route::Proxy)) => return Err(format!("{statement}: {other:?}")),
        Err(super::Unroutable::NotParsed { message }) => {
            return Err(format!("{statement}: {message}"));
        }
        Err(_) => return Ok(false),
    };
    // Few rows decide little: several databases for each statement.
    let mut random = Random(seed);
    for _ in 0..DATABASES {
        let database = random.database();
        let mut there = database.clone();
        for table in &mut there {
            table.retain(|[k, x]| k.or(*x).is_some_and(|key| key % SHARDS == shard));
        }
        let (whole, part) = (answer(from, filter, &database), answer(from, filter, &there));
        if whole != part {
            let data = format!("on {database:?}\nall: {whole:?}\ns{shard}: {part:?}");
            return Err(format!("{statement}\n{data}"));
        }
    }
    Ok(true)
}

struct Random(u64);

impl Random {
    fn below(&mut self, limit: i64) -> i64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as i64 % limit
    }

    fn database(&mut self) -> Database {
        let mut database = Database::default();
        for table in &mut database {
            for _ in 0..self.below(6) {
                let x = self.below(5);
                table.push([Some(self.below(4)), (x < 4).then_some(x)]);
            }
        }
        for row in &mut database[2] {
            let [key, x] = row;
            if self.below(3) == 0 {
                (*key, *x) = (None, Some(x.unwrap_or(0)));
            }
        }
        database
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn what_is_accepted_has_the_same_answer_on_its_shard(
        choices in proptest::collection::vec(any::<u8>(), 20..120),
        seed in any::<u64>(),
    ) {
        if let Err(wrong) = check(&choices, seed) {
            return Err(TestCaseError::fail(wrong));
        }
    }
}

/// Two tables, one with a fallback key, under every kind of join, with up to two of these conditions
/// in ON and up to two in WHERE.
#[test]
fn rows_without_a_key_are_found_on_their_fallback_shard() {
    let column = |alias: &str, index: usize| Term::Column(alias.to_owned(), index);
    let zero = || Term::Constant(Some(0));
    let conditions = [
        Condition::And(Vec::new()),
        Condition::Equal(column("t1", 0), zero()),
        Condition::Equal(column("t2", 0), zero()),
        Condition::Equal(column("t2", 1), zero()),
        Condition::Equal(column("t2", 1), column("t1", 0)),
        Condition::IsNull(column("t2", 0)),
    ];
    let pairs = || {
        conditions.iter().enumerate().flat_map(|(index, one)| {
            let pair = |other: &Condition| Condition::And(vec![one.clone(), other.clone()]);
            conditions[index..].iter().map(pair).collect::<Vec<_>>()
        })
    };
    let table = |table: usize, alias: &str| Relation::Table { table, alias: alias.to_owned() };
    let (mut accepted, mut seed) = (0, 0);
    for kind in ["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"] {
        for (on, filter) in pairs().flat_map(|on| pairs().map(move |filter| (on.clone(), filter))) {
            seed += 1;
            let sides = Box::new((table(0, "t1"), table(2, "t2")));
            accepted +=
                usize::from(verify(&Relation::Join { kind, sides, on }, &filter, seed).unwrap());
        }
    }
    assert!(accepted > 100, "{accepted} were accepted");
}

#[test]
fn the_property_is_not_empty() {
    let mut random = Random(7);
    let mut choices = || -> Vec<u8> { (0..60).map(|_| random.below(256) as u8).collect() };
    let accepted = (0..500).filter(|_| check(&choices(), 7).unwrap()).count();
    assert!((40..460).contains(&accepted), "{accepted} of 500 were accepted");
}
