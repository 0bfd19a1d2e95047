//! SET in all its forms, RESET and SHOW.
use super::transaction::transaction_modes;
use super::{Control, Cursor, SyntaxError};
use crate::sql::lexer::TokenKind;

type Parsed = Result<Option<Control>, SyntaxError>;

pub fn set(cursor: &mut Cursor<'_>) -> Parsed {
    if !names_setting(cursor) && cursor.take(&["constraints"]) {
        let text = cursor.rest();
        return match text.is_empty() {
            true => Err(cursor.unexpected()),
            false => Ok(Some(Control::SetConstraints { text })),
        };
    }
    let local = !names_setting(cursor) && cursor.take(&["local"]);
    if !local && !names_setting(cursor) && cursor.sees(0, "session") {
        // `SESSION AUTHORIZATION` and `SESSION CHARACTERISTICS` are read below.
        let part_of_name = cursor.sees(1, "authorization") || cursor.sees(1, "characteristics");
        if !part_of_name || names_next(cursor) {
            cursor.take(&["session"]);
        }
    }
    let control = match names_setting(cursor) {
        true => generic(cursor, local)?,
        false => special(cursor, local)?,
    };
    cursor.expect_end()?;
    Ok(Some(control))
}

pub fn reset(cursor: &mut Cursor<'_>) -> Parsed {
    if cursor.sees(0, "all") && cursor.look(1).is_none() {
        return Ok(Some(Control::ResetAll));
    }
    let name = setting(cursor)?;
    cursor.expect_end()?;
    Ok(Some(Control::Reset { name }))
}

pub fn show(cursor: &mut Cursor<'_>) -> Parsed {
    let name = setting(cursor)?;
    cursor.expect_end()?;
    Ok(Some(Control::Show { name }))
}

/// Does a setting's name come next, and not a keyword with a meaning of its own? What follows tells:
/// `SET role = x` names a setting, `SET ROLE x` does not.
fn names_setting(cursor: &Cursor<'_>) -> bool {
    is_assignment(cursor, 1) || cursor.sees_kind(1, TokenKind::Dot)
}

/// The same of the token after the next one.
fn names_next(cursor: &Cursor<'_>) -> bool {
    is_assignment(cursor, 2) || cursor.sees_kind(2, TokenKind::Dot)
}

fn is_assignment(cursor: &Cursor<'_>, ahead: usize) -> bool {
    cursor.sees(ahead, "to") || cursor.sees_operator(ahead, "=")
}

/// A name as RESET and SHOW take it.
fn setting(cursor: &mut Cursor<'_>) -> Result<String, SyntaxError> {
    for (words, name) in [
        (&["time", "zone"][..], "timezone"),
        (&["transaction", "isolation", "level"], "transaction_isolation"),
        (&["session", "authorization"], "session_authorization"),
    ] {
        if cursor.take(words) {
            return Ok(name.to_owned());
        }
    }
    dotted(cursor)
}

fn dotted(cursor: &mut Cursor<'_>) -> Result<String, SyntaxError> {
    let mut name = cursor.name()?;
    while cursor.take_kind(TokenKind::Dot) {
        name.push('.');
        name.push_str(&cursor.name()?);
    }
    Ok(name)
}

fn generic(cursor: &mut Cursor<'_>, local: bool) -> Result<Control, SyntaxError> {
    let name = dotted(cursor)?;
    if !is_assignment(cursor, 0) {
        return Err(cursor.unexpected());
    }
    cursor.next();
    if cursor.take(&["default"]) {
        return Ok(Control::Set { local, name, value: None });
    }
    let folded = name.to_ascii_lowercase();
    let mut values = vec![value(cursor, &folded)?];
    while cursor.take_kind(TokenKind::Comma) {
        values.push(value(cursor, &folded)?);
    }
    if values.len() > 1 && !is_list(&folded) {
        let message = format!("SET {name} takes only one argument");
        return Err(SyntaxError { message, at: 0 });
    }
    Ok(Control::Set { local, name, value: Some(values.join(", ")) })
}

/// Settings whose elements are identifiers: PostgreSQL quotes each value it is given, so that
/// `SET search_path = 'a, b'` names one schema.
const QUOTED_LISTS: &[&str] = &[
    "search_path",
    "temp_tablespaces",
    "session_preload_libraries",
    "shared_preload_libraries",
    "local_preload_libraries",
    "unix_socket_directories",
];

/// Other settings that take several values.
const PLAIN_LISTS: &[&str] = &[
    "datestyle",
    "listen_addresses",
    "log_destination",
    "synchronous_standby_names",
    "wal_consistency_checking",
    "createrole_self_grant",
    "debug_io_direct",
    "restrict_nonsystem_relation_kind",
];

fn is_list(name: &str) -> bool {
    // What an extension's setting takes is not known here.
    QUOTED_LISTS.contains(&name) || PLAIN_LISTS.contains(&name) || name.contains('.')
}

/// One value, as `set_config` takes it.
fn value(cursor: &mut Cursor<'_>, setting: &str) -> Result<String, SyntaxError> {
    let Some(token) = cursor.look(0) else { return Err(cursor.unexpected()) };
    let value = match token.kind {
        kind if kind.is_name() => cursor.name()?,
        kind if kind.is_string() => cursor.string()?,
        _ => return number(cursor),
    };
    match QUOTED_LISTS.contains(&setting) {
        true => Ok(quoted(&value)),
        false => Ok(value),
    }
}

/// An element of a list as PostgreSQL writes it, in quotes where it needs them.
fn quoted(value: &str) -> String {
    let plain = value.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && value.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    match plain {
        true => value.to_owned(),
        false => format!("\"{}\"", value.replace('"', "\"\"")),
    }
}

fn number(cursor: &mut Cursor<'_>) -> Result<String, SyntaxError> {
    let negative = cursor.sees_operator(0, "-");
    if negative || cursor.sees_operator(0, "+") {
        cursor.next();
    }
    let Some(token) = cursor.look(0) else { return Err(cursor.unexpected()) };
    let source = cursor.source(token);
    let digits = match token.kind {
        // `042` is 42 to PostgreSQL, while set_config('x', '042', …) would be octal.
        TokenKind::Integer => {
            let significant = source.trim_start_matches('0');
            if significant.is_empty() { "0" } else { significant }
        }
        TokenKind::Decimal => source,
        _ => return Err(cursor.unexpected()),
    };
    cursor.next();
    Ok(format!("{}{digits}", if negative { "-" } else { "" }))
}

/// Forms with a grammar of their own.
fn special(cursor: &mut Cursor<'_>, local: bool) -> Result<Control, SyntaxError> {
    let set =
        |name: &str, value: Option<String>| Control::Set { local, name: name.to_owned(), value };
    if cursor.take(&["transaction"]) {
        return set_transaction(cursor);
    }
    if cursor.take(&["session", "characteristics", "as", "transaction"]) {
        return Ok(Control::SetCharacteristics { settings: transaction_modes(cursor)? });
    }
    if cursor.take(&["session", "authorization"]) {
        return Ok(set("session_authorization", word_or_default(cursor)?));
    }
    if cursor.take(&["role"]) {
        return Ok(set("role", Some(word(cursor)?)));
    }
    if cursor.take(&["time", "zone"]) {
        return Ok(set("timezone", time_zone(cursor)?));
    }
    if cursor.take(&["names"]) {
        let value = match cursor.at_end() || cursor.take(&["default"]) {
            true => None,
            false => Some(cursor.string()?),
        };
        return Ok(set("client_encoding", value));
    }
    if cursor.take(&["schema"]) {
        return Ok(set("search_path", Some(quoted(&cursor.string()?))));
    }
    if cursor.take(&["xml", "option"]) {
        return match cursor.sees(0, "document") || cursor.sees(0, "content") {
            true => Ok(set("xmloption", Some(cursor.name()?))),
            false => Err(cursor.unexpected()),
        };
    }
    cursor.next();
    Err(cursor.unexpected())
}

fn set_transaction(cursor: &mut Cursor<'_>) -> Result<Control, SyntaxError> {
    let modes = cursor.rest_in_words();
    if cursor.take(&["snapshot"]) {
        cursor.string()?;
    } else {
        transaction_modes(cursor)?;
    }
    Ok(Control::SetTransaction { modes })
}

fn word(cursor: &mut Cursor<'_>) -> Result<String, SyntaxError> {
    match cursor.look(0).is_some_and(|token| token.kind.is_string()) {
        true => cursor.string(),
        false => cursor.name(),
    }
}

fn word_or_default(cursor: &mut Cursor<'_>) -> Result<Option<String>, SyntaxError> {
    match cursor.take(&["default"]) {
        true => Ok(None),
        false => word(cursor).map(Some),
    }
}

/// A name, a number of hours, `INTERVAL '…'`, `DEFAULT` or `LOCAL`.
fn time_zone(cursor: &mut Cursor<'_>) -> Result<Option<String>, SyntaxError> {
    if cursor.take(&["default"]) || cursor.take(&["local"]) {
        return Ok(None);
    }
    if cursor.take(&["interval"]) {
        let interval = cursor.string()?;
        cursor.take(&["hour", "to", "minute"]);
        // Without a colon the number's unit would depend on the fields named.
        return match interval.contains(':') && !interval.contains('\'') {
            true => Ok(Some(format!("INTERVAL '{interval}'"))),
            false => Err(cursor.unexpected()),
        };
    }
    value(cursor, "timezone").map(Some)
}
