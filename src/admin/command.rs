//! What may be said on the console: text to [`Command`].
//!
//! Besides views and actions there is what drivers say unasked: SET, BEGIN and the like. Nothing here
//! is transactional, so that is heard and means nothing.
use super::action::Action;
use super::explain;
use super::show::Show;
use super::system::{Place, Question};
use super::{ACTIONS, SHOWS};
use crate::error::{Error, SqlState};
use crate::sql::control::{self, Control};
use crate::sql::lexer::Lexer;
use std::fmt;

#[derive(Clone)]
pub enum Command {
    /// Blanks and comments only.
    Nothing,
    Show(&'static dyn Show),
    /// SHOW of a parameter that clients are told at the start.
    Parameter(String),
    Act(&'static dyn Action, Place),
    /// SET: of weir's own setting, or of what a driver says unasked.
    Set {
        name: String,
        value: String,
    },
    /// EXPLAIN ROUTE.
    Explain(Question),
    Begin,
    /// COMMIT or ROLLBACK: its tag.
    End(&'static str),
    /// SET, RESET and what else a driver says: its tag.
    Heard(&'static str),
}

impl Command {
    /// The text of one statement, without its semicolon.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let text = without_blanks(text)?;
        let end = text.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(text.len());
        let (word, rest) = text.split_at(end);
        if text.is_empty() {
            return Ok(Self::Nothing);
        }
        if word.eq_ignore_ascii_case("show") {
            return Self::show(text, rest.trim());
        }
        if word.eq_ignore_ascii_case("explain") {
            return explain::question(rest).map(Self::Explain);
        }
        let named = ACTIONS.iter().find_map(|action| Some((action, after(text, action.name())?)));
        if let Some((action, rest)) = named {
            return place(rest, *action).map(|place| Self::Act(*action, place));
        }
        match control::parse(text, true) {
            Ok(Some(control)) => Self::of_driver(control).ok_or_else(|| invalid(text)),
            Ok(None) | Err(_) => Err(invalid(text)),
        }
    }

    fn show(text: &str, name: &str) -> Result<Self, Error> {
        let written = name.split_whitespace().collect::<Vec<_>>().join("_");
        if let Some(show) = SHOWS.iter().find(|show| written.eq_ignore_ascii_case(show.name())) {
            return Ok(Self::Show(*show));
        }
        match control::parse(text, true) {
            Ok(Some(Control::Show { name })) => Ok(Self::Parameter(name)),
            Ok(_) | Err(_) => Err(invalid(text)),
        }
    }

    fn of_driver(control: Control) -> Option<Self> {
        Some(match control {
            Control::Begin { .. } => Self::Begin,
            Control::Commit { .. } => Self::End("COMMIT"),
            Control::Rollback { .. } => Self::End("ROLLBACK"),
            Control::Set { name, value: Some(value), .. } => Self::Set { name, value },
            Control::Set { value: None, .. }
            | Control::SetTransaction { .. }
            | Control::SetCharacteristics { .. } => Self::Heard("SET"),
            Control::Reset { .. } | Control::ResetAll => Self::Heard("RESET"),
            Control::DiscardAll => Self::Heard("DISCARD ALL"),
            Control::Deallocate { .. } => Self::Heard("DEALLOCATE"),
            Control::Unlisten { .. } => Self::Heard("UNLISTEN"),
            Control::CloseCursor { .. } => Self::Heard("CLOSE CURSOR"),
            Control::Savepoint { .. }
            | Control::RollbackTo { .. }
            | Control::Release { .. }
            | Control::SetConstraints { .. }
            | Control::Show { .. }
            | Control::DiscardPlans
            | Control::DiscardSequences
            | Control::DiscardTemp
            | Control::Prepare { .. }
            | Control::Execute { .. }
            | Control::Listen { .. }
            | Control::DeclareCursor { .. }
            | Control::Fetch { .. }
            | Control::ExplainWeir { .. }
            | Control::TwoPhase => return None,
        })
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("nothing"),
            Self::Show(show) => write!(f, "SHOW {}", show.name()),
            Self::Parameter(name) => write!(f, "SHOW {name}"),
            Self::Act(action, place) => write!(f, "{} {place:?}", action.name()),
            Self::Set { name, value } => write!(f, "SET {name} = {value}"),
            Self::Explain(question) => write!(f, "EXPLAIN ROUTE {question:?}"),
            Self::Begin => f.write_str("BEGIN"),
            Self::End(tag) | Self::Heard(tag) => f.write_str(tag),
        }
    }
}

/// What comes after these words, which a name's underscore may part as well as a blank.
fn after<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut rest = text;
    for (index, word) in name.split('_').enumerate() {
        if index > 0 {
            rest = rest
                .strip_prefix('_')
                .or_else(|| rest.starts_with(char::is_whitespace).then(|| rest.trim_start()))?;
        }
        let (begins, more) = rest.split_at_checked(word.len())?;
        rest = begins.eq_ignore_ascii_case(word).then_some(more)?;
    }
    let ends = |c: char| !(c.is_alphanumeric() || c == '_');
    rest.chars().next().is_none_or(ends).then_some(rest)
}

/// The text from its first to its last token that is no blank.
fn without_blanks(text: &str) -> Result<&str, Error> {
    let mut range: Option<(usize, usize)> = None;
    for token in Lexer::new(text, true) {
        // What is no SQL is no command either: `DRAIN shop.s0.1a`.
        let Ok(token) = token else { return Ok(text.trim()) };
        if !token.kind.is_blank() {
            range = Some((range.map_or(token.start, |(start, _)| start), token.end));
        }
    }
    Ok(range.and_then(|(start, end)| text.get(start..end)).unwrap_or_default())
}

/// `database.shard.server`: each as it is written, or in double quotes if it holds a point.
fn place(text: &str, action: &dyn Action) -> Result<Place, Error> {
    let wrong = || {
        let message = format!("{} is written {}", action.name(), action.syntax());
        Error::client(SqlState::SYNTAX_ERROR, message)
            .hint("a name with a point in it stands in double quotes")
    };
    let parts = parts(text.trim()).ok_or_else(wrong)?;
    if !action.names().contains(&parts.len()) {
        return Err(wrong());
    }
    let mut parts = parts.into_iter();
    Ok(Place { database: parts.next(), shard: parts.next(), server: parts.next() })
}

fn parts(text: &str) -> Option<Vec<String>> {
    let (mut parts, mut rest) = (Vec::new(), text);
    while !rest.is_empty() {
        let (part, after) = part(rest)?;
        parts.push(part);
        rest = match after.strip_prefix('.') {
            Some("") => return None,
            Some(more) => more,
            None if after.is_empty() => after,
            None => return None,
        };
    }
    Some(parts)
}

/// One name, and what comes after it.
fn part(text: &str) -> Option<(String, &str)> {
    if let Some(quoted) = text.strip_prefix('"') {
        let (name, after) = quoted.split_once('"')?;
        return (!name.is_empty()).then(|| (name.to_owned(), after));
    }
    let stops = |c: char| c.is_whitespace() || matches!(c, '.' | '"' | '\'' | ';' | ',');
    let end = text.find(stops).unwrap_or(text.len());
    let (name, after) = text.split_at(end);
    (!name.is_empty()).then(|| (name.to_owned(), after))
}

/// In PgBouncer's words.
pub fn invalid(text: &str) -> Error {
    const SHOWN: usize = 100;
    let shown: String = text.chars().take(SHOWN).collect();
    let message = format!("invalid command '{shown}', use SHOW HELP;");
    Error::client(SqlState::SYNTAX_ERROR, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let parsed = match Command::parse(text) {
            Ok(command) => format!("{command:?}"),
            Err(error) => error.message,
        };
        assert_eq!(parsed, expected, "{text}");
    }

    fn at(database: &str, shard: Option<&str>, server: Option<&str>) -> String {
        let [shard, server] = [shard, server].map(|name| name.map(str::to_owned));
        format!("{:?}", Place { database: Some(database.to_owned()), shard, server })
    }

    #[test]
    fn views_and_actions_are_named_in_any_case() {
        check("SHOW POOLS", "SHOW POOLS");
        check(" show  hot_rows /* now */", "SHOW HOT_ROWS");
        check("SHOW hot  rows", "SHOW HOT_ROWS");
        check("reload", "RELOAD Place { database: None, shard: None, server: None }");
        check("-- nothing\n", "nothing");
        let seven = at("7", None, None);
        for text in ["KILL_CLIENT 7", "kill client 7", "Kill  Client 7"] {
            check(text, &format!("KILL_CLIENT {seven}"));
        }
        check("KILL shop", &format!("KILL {}", at("shop", None, None)));
        check(
            "SHUTDOWN WAIT_FOR_CLIENTS",
            &format!("SHUTDOWN {}", at("WAIT_FOR_CLIENTS", None, None)),
        );
    }

    #[test]
    fn a_place_is_written_with_points() {
        check("PAUSE shop", &format!("PAUSE {}", at("shop", None, None)));
        check("PAUSE shop.s-0", &format!("PAUSE {}", at("shop", Some("s-0"), None)));
        check("DRAIN shop.s0.1", &format!("DRAIN {}", at("shop", Some("s0"), Some("1"))));
        check("drain \"my.shop\".s0", &format!("DRAIN {}", at("my.shop", Some("s0"), None)));
    }

    #[test]
    fn a_place_that_is_none_is_refused_with_the_syntax() {
        for text in
            ["DRAIN", "DRAIN shop", "DRAIN a.b.c.d", "DRAIN a..b", "DRAIN a.b.", "DRAIN a b"]
        {
            check(text, "DRAIN is written DRAIN database.shard[.server]");
        }
        check("PAUSE a.b.c", "PAUSE is written PAUSE [database[.shard]]");
        check("RELOAD shop", "RELOAD is written RELOAD");
    }

    #[test]
    fn what_drivers_say_unasked_is_heard() {
        check("SET extra_float_digits = 3", "SET extra_float_digits = 3");
        check("SET pool.size TO '7'", "SET pool.size = 7");
        check("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", "SET");
        check("BEGIN", "BEGIN");
        check("ROLLBACK", "ROLLBACK");
        check("SHOW server_version", "SHOW server_version");
        check("SHOW TRANSACTION ISOLATION LEVEL", "SHOW transaction_isolation");
    }

    #[test]
    fn anything_else_is_no_command() {
        for text in ["SELECT 1", "SHOW", "SAVEPOINT a", "PAUSED", "DELETE FROM t", "'"] {
            check(text, &format!("invalid command '{text}', use SHOW HELP;"));
        }
    }
}
