//! The users file: one line per user, `"name" "secret"`, where the secret is a plain password, a
//! SCRAM verifier or an md5 hash, as PostgreSQL stores them (PgBouncer's auth_file format).
use super::scram::{self, ClientKeys, Digest32, ITERATIONS, Verifier};
use super::{Secret, md5};
use std::collections::HashMap;
use std::fmt;
use std::sync::OnceLock;

/// Who may log in. Read-only; a reload makes another.
#[derive(Debug)]
pub struct Users {
    entries: HashMap<String, Stored>,
    /// Makes the salts that unknown users are shown: always the same for the same name.
    mock_key: Digest32,
}

/// What is known of a user.
#[derive(Debug)]
pub enum Stored {
    Plain(Plain),
    Scram(Verifier),
    /// `md5` and 32 hex digits.
    Md5(Md5),
}

/// A plain password, and what SCRAM needs of it, derived once: derivation costs milliseconds.
pub struct Plain {
    pub password: String,
    derived: OnceLock<Verifier>,
}

/// A stored md5 hash: as good as a password where md5 is asked for.
pub struct Md5(pub String);

/// A line that cannot be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BadLine {
    pub line: usize,
    pub problem: &'static str,
}

impl Default for Users {
    fn default() -> Self {
        Self { entries: HashMap::new(), mock_key: rand::random() }
    }
}

impl Users {
    /// Reads the file's text. Empty lines and lines starting with `;` or `#` say nothing.
    pub fn parse(text: &str) -> Result<Self, Vec<BadLine>> {
        let mut users = Self::default();
        let mut bad = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with([';', '#']) {
                continue;
            }
            match entry(line) {
                Ok((name, _)) if users.entries.contains_key(&name) => {
                    bad.push(BadLine { line: index + 1, problem: "this user was given before" });
                }
                Ok((name, secret)) => users.insert(name, &secret),
                Err(problem) => bad.push(BadLine { line: index + 1, problem }),
            }
        }
        if !users.is_empty() {
            // The same file shows the same salts after a restart, as real users' verifiers do.
            users.mock_key = scram::sha256(text.as_bytes());
        }
        if bad.is_empty() { Ok(users) } else { Err(bad) }
    }

    pub fn insert(&mut self, name: impl Into<String>, secret: &str) {
        self.entries.insert(name.into(), Stored::read(secret));
    }

    pub fn get(&self, name: &str) -> Option<&Stored> {
        self.entries.get(name)
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// A verifier that no password fits, for a user who is not there: the exchange then looks real.
    pub fn mock_verifier(&self, name: &str) -> Verifier {
        let seed = scram::hmac(&self.mock_key, &[name.as_bytes()]);
        let (salt, _) = seed.split_at(16);
        let nobody = || rand::random::<Digest32>();
        Verifier {
            salt: salt.to_vec(),
            iterations: ITERATIONS,
            stored_key: nobody(),
            server_key: nobody(),
        }
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What to tell the operator about the file's permission bits, if others may read it.
    pub fn warning(path: &str, mode: u32) -> Option<String> {
        (mode & 0o077 != 0).then(|| {
            format!(
                "{path} holds secrets and others may read it (mode {:o}): chmod 600 {path}",
                mode & 0o777
            )
        })
    }
}

impl Stored {
    /// Tells a verifier, an md5 hash and a password apart as PostgreSQL does.
    pub fn read(secret: &str) -> Self {
        if let Ok(verifier) = secret.parse() {
            return Self::Scram(verifier);
        }
        match md5::is_stored(secret) {
            true => Self::Md5(Md5(secret.to_owned())),
            false => Self::Plain(Plain { password: secret.to_owned(), derived: OnceLock::new() }),
        }
    }

    /// What SCRAM checks a proof against; `None` for an md5 hash, which SCRAM cannot use.
    pub fn verifier(&self) -> Option<&Verifier> {
        match self {
            Self::Plain(plain) => Some(plain.verifier()),
            Self::Scram(verifier) => Some(verifier),
            Self::Md5(_) => None,
        }
    }

    /// What logs weir in to a server as this user, as far as the entry alone allows.
    pub fn secret(&self) -> Secret {
        match self {
            Self::Plain(plain) => Secret::Password(plain.password.clone()),
            Self::Scram(_) => Secret::None,
            Self::Md5(Md5(hash)) => Secret::Md5(hash.clone()),
        }
    }
}

impl Plain {
    fn verifier(&self) -> &Verifier {
        self.derived.get_or_init(|| {
            let salt: [u8; 16] = rand::random();
            ClientKeys::derive(&self.password, &salt, ITERATIONS).verifier(&salt, ITERATIONS)
        })
    }
}

impl fmt::Debug for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Plain(…)")
    }
}

impl fmt::Debug for Md5 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Md5(…)")
    }
}

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.problem)
    }
}

/// `"name" "secret"`, anything after it ignored; `""` inside quotes is one quote.
fn entry(line: &str) -> Result<(String, String), &'static str> {
    let (name, rest) = quoted(line).ok_or("a user is written \"name\" \"secret\"")?;
    let (secret, _) = quoted(rest.trim_start()).ok_or("the secret must be in double quotes")?;
    if name.is_empty() {
        return Err("the user's name is empty");
    }
    Ok((name, secret))
}

fn quoted(text: &str) -> Option<(String, &str)> {
    let mut rest = text.strip_prefix('"')?;
    let mut value = String::new();
    loop {
        let (before, after) = rest.split_once('"')?;
        value.push_str(before);
        match after.strip_prefix('"') {
            Some(more) => {
                value.push('"');
                rest = more;
            }
            None => return Some((value, after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn passwords_verifiers_and_hashes_are_told_apart() {
        let verifier = Verifier::derive("x", b"salt", 4096);
        let text = format!(
            "; users\n\"alice\" \"se\"\"cret\"\n\n\"bob\" \"{verifier}\" more\n\"carol\" \"{}\"\n",
            md5::stored("carol", "x")
        );
        let users = Users::parse(&text).unwrap();
        assert_eq!(users.len(), 3);
        let secret = |name| users.get(name).unwrap().secret();
        assert_eq!(secret("alice"), Secret::Password("se\"cret".into()));
        assert!(users.get("bob").unwrap().verifier() == Some(&verifier));
        assert_eq!(secret("carol"), Secret::Md5(md5::stored("carol", "x")));
        assert!(users.get("dave").is_none());
    }

    #[test]
    fn every_bad_line_is_reported_at_once() {
        let bad =
            Users::parse("alice secret\n\"bob\" \"x\"\n\"bob\" \"y\"\n\"eve\"\n").unwrap_err();
        assert_eq!(bad.iter().map(|b| b.line).collect::<Vec<_>>(), [1, 3, 4]);
    }

    #[test]
    fn no_secret_is_printed() {
        let users = Users::parse("\"alice\" \"hunter2\"").unwrap();
        assert!(
            !format!("{users:?} {:?}", users.get("alice").unwrap().secret()).contains("hunter2")
        );
    }

    #[test]
    fn a_file_that_others_can_read_is_warned_about() {
        assert!(Users::warning("users.txt", 0o100600).is_none());
        assert!(Users::warning("users.txt", 0o100644).unwrap().contains("chmod 600"));
    }

    proptest! {
        #[test]
        fn any_name_and_password_survive_the_file(name in "[^\r\n]{1,9}", password in "[^\r\n]{0,9}") {
            let quote = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
            let users = Users::parse(&format!("{} {}", quote(&name), quote(&password))).unwrap();
            let expected = Stored::read(&password).secret();
            prop_assert_eq!(users.get(&name).unwrap().secret(), expected);
        }
    }
}
