//! One step of a conversation: statements, and by which of the protocol's ways they are sent.
use super::answer::{Answer, Said, TypeNames, parameter_types};
use super::statement::{Order, Statement};
use super::value::Value;
use crate::raw::Raw;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum How {
    /// One Query message, all statements in it.
    Simple,
    /// Parse, Bind, Describe, Execute of each, then one Sync: what Parse declares is bound.
    Bound { results: Results, fetch: Fetch },
    /// Parse and Describe of a named statement first, then Bind as the server said; a second time behind
    /// a Sync of its own.
    Described { results: Results, twice: bool },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Results {
    Text,
    Binary,
}

/// How many rows an Execute asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fetch {
    All,
    /// So many at a time, three times.
    Portions(i32),
}

impl Results {
    fn formats(self) -> &'static [u16] {
        match self {
            Results::Text => &[],
            Results::Binary => &[1],
        }
    }
}

#[derive(Clone, Debug)]
pub struct Step {
    pub statements: Vec<Statement>,
    pub how: How,
    /// Names the prepared statement.
    pub number: usize,
}

impl Step {
    pub fn run(&self, raw: &mut Raw, types: &TypeNames) -> Answer {
        let mut answer = Answer::default();
        match self.how {
            How::Simple => {
                let texts: Vec<String> = self.statements.iter().map(Statement::text).collect();
                raw.put(b'Q', &[texts.join("; ").as_bytes(), &[0]].concat());
                listen(raw, types, &mut answer);
            }
            How::Bound { results, fetch } => {
                for statement in &self.statements {
                    put_bound(raw, statement, results, fetch);
                }
                raw.put(b'S', b"");
                listen(raw, types, &mut answer);
            }
            How::Described { results, twice } => {
                for statement in &self.statements {
                    self.described(raw, statement, results, twice, types, &mut answer);
                }
            }
        }
        answer
    }

    fn described(
        &self,
        raw: &mut Raw,
        statement: &Statement,
        results: Results,
        twice: bool,
        types: &TypeNames,
        answer: &mut Answer,
    ) {
        let (text, values) = statement.parameterised();
        let name = format!("s{}", self.number);
        raw.parse(&name, &text, &declared(&values)).describe(b'S', &name).put(b'S', b"");
        let inferred = listen(raw, types, answer);
        if answer.said.iter().any(|said| matches!(said, Said::Error(_) | Said::Gone)) {
            return;
        }
        if twice {
            put_bind(raw, &name, &values, &inferred, results);
            raw.execute("", 0).put(b'S', b"");
            listen(raw, types, answer);
        }
        put_bind(raw, &name, &values, &inferred, results);
        raw.execute("", 0);
        raw.close(b'S', &name).put(b'S', b"");
        listen(raw, types, answer);
    }

    /// How each statement's rows are to be compared.
    pub fn orders(&self) -> Vec<Order> {
        let orders = self.statements.iter().map(Statement::order);
        match self.how {
            How::Described { twice: true, .. } => orders.flat_map(|order| [order, order]).collect(),
            How::Described { .. } | How::Simple | How::Bound { .. } => orders.collect(),
        }
    }

    pub fn show(&self) -> String {
        let mut text = format!("  {:?}\n", self.how);
        for statement in &self.statements {
            let (parameterised, values) = statement.parameterised();
            match self.how {
                How::Simple => text.push_str(&format!("    {}\n", statement.text())),
                How::Bound { .. } | How::Described { .. } => {
                    text.push_str(&format!("    {parameterised}\n"));
                    for (at, value) in values.iter().enumerate() {
                        text.push_str(&format!(
                            "      ${} = {:?} as {:?}{}\n",
                            at + 1,
                            value.text,
                            value.declared,
                            if value.binary { ", binary" } else { "" }
                        ));
                    }
                }
            }
        }
        text
    }
}

fn declared(values: &[Value]) -> Vec<u32> {
    values.iter().map(|value| value.declared.oid()).collect()
}

fn put_bound(raw: &mut Raw, statement: &Statement, results: Results, fetch: Fetch) {
    let (text, values) = statement.parameterised();
    let types = declared(&values);
    raw.parse("", &text, &types);
    put_bind(raw, "", &values, &types, results);
    raw.describe(b'P', "");
    match fetch {
        Fetch::All => raw.execute("", 0),
        Fetch::Portions(rows) => raw.execute("", rows).execute("", rows).execute("", 0),
    };
}

fn put_bind(raw: &mut Raw, name: &str, values: &[Value], types: &[u32], results: Results) {
    let wire: Vec<(Option<Vec<u8>>, u16)> = values
        .iter()
        .enumerate()
        .map(|(at, value)| value.wire(types.get(at).copied().unwrap_or_default()))
        .collect();
    let bytes: Vec<Option<&[u8]>> = wire.iter().map(|(bytes, _)| bytes.as_deref()).collect();
    let formats: Vec<u16> = wire.iter().map(|(_, format)| *format).collect();
    raw.bind_as("", name, &formats, &bytes, results.formats());
}

/// Hears an answer up to ReadyForQuery, and gives the parameters' types if they were described.
fn listen(raw: &mut Raw, types: &TypeNames, answer: &mut Answer) -> Vec<u32> {
    raw.send();
    let mut parameters = Vec::new();
    loop {
        let heard = raw.next();
        if let Some(heard) = &heard
            && heard.kind == b't'
        {
            parameters = parameter_types(&heard.body);
        }
        answer.hear(heard, types);
        if answer.ends() {
            return parameters;
        }
    }
}
