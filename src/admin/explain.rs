//! EXPLAIN ROUTE: where a statement would go and why, asked on the console.
use super::system::{Question, System};
use super::table::{Table, text};
use crate::error::{Error, SqlState};

pub const SYNTAX: &str = "EXPLAIN ROUTE [database] 'statement'";
pub const HELP: &str = "which shards a statement goes to and why, or why it is refused";

/// What comes after EXPLAIN.
pub fn question(text: &str) -> Result<Question, Error> {
    let wrong = || {
        let message = format!("EXPLAIN is written {SYNTAX}");
        Error::client(SqlState::SYNTAX_ERROR, message).hint("quotes in the statement are doubled")
    };
    let text = text.trim_start();
    let (word, rest) = text.split_at_checked("route".len()).ok_or_else(wrong)?;
    if !word.eq_ignore_ascii_case("route") || !rest.starts_with([' ', '\t', '\n', '\'', '"']) {
        return Err(wrong());
    }
    let rest = rest.trim();
    let begins = rest.find('\'').ok_or_else(wrong)?;
    let (database, quoted) = rest.split_at(begins);
    let database = database.trim().trim_matches('"');
    let inner = quoted.strip_prefix('\'').and_then(|text| text.strip_suffix('\''));
    let inner = inner.filter(|inner| !inner.replace("''", "").contains('\'')).ok_or_else(wrong)?;
    Ok(Question {
        statement: inner.replace("''", "'"),
        database: (!database.is_empty()).then(|| database.to_owned()),
        ..Question::default()
    })
}

/// A row for each line.
pub fn table(system: &dyn System, question: &Question) -> Result<Table, Error> {
    let mut table = heading();
    for line in system.explain(question)?.lines() {
        table.push([line.into()]);
    }
    Ok(table)
}

/// As PostgreSQL calls it.
pub fn heading() -> Table {
    Table::new([text("QUERY PLAN")])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_asked_about_in_quotes_with_or_without_its_database() {
        let asked =
            |text: &str| question(text).map(|question| (question.database, question.statement));
        let select = "SELECT 'a' FROM t".to_owned();
        assert_eq!(asked("route 'SELECT ''a'' FROM t'"), Ok((None, select.clone())));
        assert_eq!(
            asked("ROUTE shop 'SELECT ''a'' FROM t'"),
            Ok((Some("shop".to_owned()), select))
        );
        for wrong in ["", "ROUTE", "ROUTE SELECT 1", "ROUTE 'a' 'b'", "ROUTER 'a'", "ROUTE 'a"] {
            assert!(asked(wrong).is_err(), "{wrong}");
        }
    }
}
