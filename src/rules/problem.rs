//! What is wrong with a rules file: every problem, with its line and the way out.
use std::fmt;

/// One problem.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// From 1.
    pub line: usize,
    pub message: String,
    pub hint: String,
}

/// All problems of a file, in the order of their lines. Never empty.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problems {
    pub file: String,
    pub list: Vec<Problem>,
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Problem { line, message, hint }) in self.list.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{}:{line}: {message} ({hint})", self.file)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// `did you mean "shard"?` if a known name is near, else the known names.
pub fn nearest(written: &str, known: &[&str]) -> String {
    let near = known
        .iter()
        .map(|name| (strsim::damerau_levenshtein(written, name), name))
        .min()
        .filter(|(distance, name)| *distance <= 1.max(name.len() / 3));
    match near {
        Some((_, name)) => format!("did you mean {name:?}?"),
        None if known.is_empty() => "there is none".to_owned(),
        None => format!("there are: {}", known.join(", ")),
    }
}
