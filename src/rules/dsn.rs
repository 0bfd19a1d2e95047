//! A server's address as libpq writes it: `host=127.0.0.1 port=5441 dbname=shop`.
//!
//! Only the form is read here (manual, "Connection Strings"); `backend::address` gives it its meaning.

/// The parameters that have a meaning.
pub const PARAMETERS: &[&str] = &[
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "application_name",
    "connect_timeout",
    "options",
];

/// The parameters in order. Values may be quoted: `password='two words'`, with `\'` and `\\`.
pub fn read(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut parameters = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let Some((name, value)) = rest.split_once('=') else {
            return Err(format!("{rest:?} is no parameter=value"));
        };
        let name = name.trim_end();
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return Err(format!("{name:?} is no parameter's name"));
        }
        let (value, after) = value_of(value.trim_start())?;
        if parameters.iter().any(|(known, _)| known == name) {
            return Err(format!("{name} is given twice"));
        }
        parameters.push((name.to_owned(), value));
        rest = after.trim_start();
    }
    Ok(parameters)
}

fn value_of(text: &str) -> Result<(String, &str), String> {
    let (quoted, text) = match text.strip_prefix('\'') {
        Some(inner) => (true, inner),
        None => (false, text),
    };
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            '\'' if quoted => return Ok((value, text.get(at + 1..).unwrap_or_default())),
            c if c.is_whitespace() && !quoted => {
                return Ok((value, text.get(at..).unwrap_or_default()));
            }
            c => value.push(c),
        }
    }
    if quoted { Err("a quoted value does not end".to_owned()) } else { Ok((value, "")) }
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn values_may_be_quoted() {
        let found = read(r"host=/run port = 5432 password='it\'s two' user=a\ b").unwrap();
        let found: Vec<(&str, &str)> = found.iter().map(|(n, v)| (&**n, &**v)).collect();
        assert_eq!(
            found,
            [("host", "/run"), ("port", "5432"), ("password", "it's two"), ("user", "a b")]
        );
    }

    #[test]
    fn what_libpq_would_not_read_is_refused() {
        for text in ["host", "=a", "password='open", "host=a host=b", "postgres://a/b"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
