//! The form of pgbouncer.ini: sections, `name = value`, comments, `%include`; and the connection strings of
//! its [databases] and [users].
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// How deep files may include each other, as in PgBouncer.
const MAX_DEPTH: usize = 10;

/// Where something is written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    pub file: PathBuf,
    pub line: usize,
}

/// `name = value`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    pub section: String,
    pub name: String,
    pub value: String,
    pub place: Place,
}

/// Something that cannot be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unreadable {
    pub place: Place,
    pub problem: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// All that a file and those that it includes say, in order.
pub fn read(file: &Path) -> Result<Vec<Entry>, Vec<Unreadable>> {
    let mut reading = Reading { section: None, entries: Vec::new(), wrong: Vec::new() };
    reading.file(file, 0).map_err(|problem| {
        let place = Place { file: file.to_owned(), line: 1 };
        vec![Unreadable { place, problem }]
    })?;
    if reading.wrong.is_empty() { Ok(reading.entries) } else { Err(reading.wrong) }
}

struct Reading {
    section: Option<String>,
    entries: Vec<Entry>,
    wrong: Vec<Unreadable>,
}

impl Reading {
    fn file(&mut self, file: &Path, depth: usize) -> Result<(), String> {
        if depth > MAX_DEPTH {
            return Err(format!("files include each other more than {MAX_DEPTH} deep"));
        }
        let text = fs::read_to_string(file).map_err(|error| format!("cannot be read: {error}"))?;
        for (index, line) in text.lines().enumerate() {
            let place = Place { file: file.to_owned(), line: index + 1 };
            if let Err(problem) = self.line(line.trim(), &place, depth) {
                self.wrong.push(Unreadable { place, problem });
            }
        }
        Ok(())
    }

    fn line(&mut self, line: &str, place: &Place, depth: usize) -> Result<(), String> {
        if line.is_empty() || line.starts_with([';', '#']) {
            return Ok(());
        }
        if let Some(file) = line.strip_prefix("%include") {
            let file = file.trim();
            return self
                .file(Path::new(file), depth + 1)
                .map_err(|problem| format!("{file} {problem}"));
        }
        if let Some(rest) = line.strip_prefix('[') {
            let name = rest.strip_suffix(']').ok_or("a section is written [name]")?;
            self.section = Some(name.trim().to_owned());
            return Ok(());
        }
        let (name, rest) = name(line)?;
        let value =
            rest.trim_start().strip_prefix('=').ok_or("a setting is written name = value")?;
        let section = self.section.clone().ok_or("a setting stands before the first [section]")?;
        let value = value.trim().to_owned();
        self.entries.push(Entry { section, name, value, place: place.clone() });
        Ok(())
    }
}

/// A name as SQL writes it, and what follows.
fn name(line: &str) -> Result<(String, &str), String> {
    let Some(quoted) = line.strip_prefix('"') else {
        let end = line.find(|c: char| c == '=' || c.is_whitespace()).unwrap_or(line.len());
        let (name, rest) = line.split_at(end);
        return match name.is_empty() {
            true => Err("a setting is written name = value".to_owned()),
            false => Ok((name.to_owned(), rest)),
        };
    };
    let (name, rest) = until_quote(quoted, '"').ok_or("a quoted name does not end")?;
    Ok((name, rest))
}

/// `host=a port=5432 connect_query='SELECT ''x'''`: names, and values that may be quoted.
pub fn pairs(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut pairs = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (name, after) =
            rest.split_once('=').ok_or_else(|| format!("{rest:?} is no name=value"))?;
        let name = name.trim();
        if name.is_empty() || name.contains(char::is_whitespace) {
            return Err(format!("{name:?} is no parameter's name"));
        }
        let after = after.trim_start();
        let (value, after) = match after.strip_prefix('\'') {
            Some(quoted) => until_quote(quoted, '\'').ok_or("a quoted value does not end")?,
            None => {
                let end = after.find(char::is_whitespace).unwrap_or(after.len());
                let (value, rest) = after.split_at(end);
                (value.to_owned(), rest)
            }
        };
        pairs.push((name.to_owned(), value));
        rest = after.trim_start();
    }
    Ok(pairs)
}

/// Up to the quote that closes; two are one that does not.
fn until_quote(text: &str, quote: char) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut rest = text;
    loop {
        let (before, after) = rest.split_once(quote)?;
        value.push_str(before);
        match after.strip_prefix(quote) {
            Some(more) => {
                value.push(quote);
                rest = more;
            }
            None => return Some((value, after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connection_strings_may_quote_their_values() {
        let found = pairs("host=a  port = 5432 connect_query='SELECT ''x'' = 1' user='two words'");
        let expected = [
            ("host", "a"),
            ("port", "5432"),
            ("connect_query", "SELECT 'x' = 1"),
            ("user", "two words"),
        ];
        assert_eq!(found.unwrap(), expected.map(|(n, v)| (n.to_owned(), v.to_owned())));
        assert_eq!(pairs("  ").unwrap(), []);
        for wrong in ["host", "=a", "a b=c", "host='open"] {
            assert!(pairs(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn files_include_others_and_names_may_be_quoted() {
        let folder = std::env::temp_dir().join(format!("weir-ini-{:016x}", rand::random::<u64>()));
        fs::create_dir(&folder).unwrap();
        let (main, more) = (folder.join("main.ini"), folder.join("more.ini"));
        let text = format!(
            "; a comment\n[databases]\n\"my \"\"db\"\"\" = host=a ; no comment\nfoo=\n%include {}\n[users]\n\
             nonsense\n",
            more.display()
        );
        fs::write(&main, text).unwrap();
        fs::write(&more, "# more\n* = host=b\n[pgbouncer]\npool_mode = session  \n").unwrap();
        let wrong = read(&main).unwrap_err();
        assert_eq!((wrong.len(), wrong[0].place.line), (1, 7));
        fs::write(&main, fs::read_to_string(&main).unwrap().replace("nonsense\n", "")).unwrap();
        let read = read(&main).unwrap();
        let said: Vec<_> = read
            .iter()
            .map(|e| (e.section.as_str(), e.name.as_str(), e.value.as_str(), e.place.line))
            .collect();
        assert_eq!(
            said,
            [
                ("databases", "my \"db\"", "host=a ; no comment", 3),
                ("databases", "foo", "", 4),
                ("databases", "*", "host=b", 2),
                ("pgbouncer", "pool_mode", "session", 4),
            ]
        );
        fs::remove_dir_all(&folder).unwrap();
    }
}
