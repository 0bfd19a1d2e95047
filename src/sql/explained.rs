//! What EXPLAIN is asked about a query, apart from the query itself.
use super::control::Cursor;
use super::lexer::{Token, TokenKind};

/// An EXPLAIN in its parts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Explained {
    /// The statement that is explained, where it stands in the text: blanks stand for what is before.
    pub query: String,
    options: Vec<Choice>,
}

/// How a plan is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// Every row is one line.
    Text,
    /// One row.
    Json,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Choice {
    /// In lower case.
    name: String,
    /// As it is written; empty: on.
    value: String,
}

/// Options that change what a plan looks like, whether or not it is run.
const OF_LOOKS: [&str; 4] = ["verbose", "costs", "settings", "format"];

/// `None`: this is no EXPLAIN, or one that only PostgreSQL can say what is wrong with.
pub fn read(text: &str, standard_conforming_strings: bool) -> Option<Explained> {
    // Most statements are none: their tokens need not be read.
    super::control::first_word(text).filter(|word| word.eq_ignore_ascii_case("explain"))?;
    let mut cursor = Cursor::new(text, standard_conforming_strings).ok()?;
    let first = cursor.next()?;
    let mut options = Vec::new();
    let mut last = first;
    if cursor.sees_kind(0, TokenKind::OpenParen) && !begins_query(&cursor, 1) {
        cursor.next();
        loop {
            options.push(choice(&mut cursor)?);
            last = cursor.next()?;
            match last.kind {
                TokenKind::Comma => {}
                TokenKind::CloseParen => break,
                _ => return None,
            }
        }
    } else {
        for names in [&["analyze", "analyse"][..], &["verbose"]] {
            if names.iter().any(|name| cursor.sees(0, name)) {
                last = cursor.next()?;
                options.push(Choice { name: names.first()?.to_string(), value: String::new() });
            }
        }
    }
    cursor.look(0)?;
    // `EXPLAIN (WEIR)` is weir's own.
    if options.iter().any(|choice| choice.name == "weir") {
        return None;
    }
    Some(Explained { query: blanked(text, first, last)?, options })
}

/// One option up to what ends it.
fn choice(cursor: &mut Cursor<'_>) -> Option<Choice> {
    let name = cursor.name().ok()?;
    let name = if name == "analyse" { String::from("analyze") } else { name };
    let ends = |cursor: &Cursor<'_>| {
        cursor.sees_kind(0, TokenKind::Comma) || cursor.sees_kind(0, TokenKind::CloseParen)
    };
    let mut value = String::new();
    if !ends(cursor) {
        let token =
            cursor.next().filter(|token| token.kind.is_literal() || token.kind.is_name())?;
        value = cursor.source(token).to_owned();
    }
    ends(cursor).then_some(Choice { name, value })
}

fn begins_query(cursor: &Cursor<'_>, ahead: usize) -> bool {
    let words = ["select", "with", "values", "table"];
    cursor.sees_kind(ahead, TokenKind::OpenParen)
        || words.iter().any(|word| cursor.sees(ahead, word))
}

/// The text with a blank for each character from one token to another, so that positions stay true.
fn blanked(text: &str, first: Token, last: Token) -> Option<String> {
    let mut query = text.get(..first.start)?.to_owned();
    query.extend(text.get(first.start..last.end)?.chars().map(|_| ' '));
    query.push_str(text.get(last.end..)?);
    Some(query)
}

impl Choice {
    fn word(&self) -> String {
        self.value.trim_matches(['\'', '"']).to_ascii_lowercase()
    }

    fn is_on(&self) -> bool {
        matches!(self.word().as_str(), "" | "true" | "on" | "1")
    }
}

impl Explained {
    /// The last word on it counts.
    fn last(&self, name: &str) -> Option<&Choice> {
        self.options.iter().rev().find(|choice| choice.name == name)
    }

    /// It explains a query or a write, and nothing that makes objects or has a name for a statement.
    pub fn is_of_rows(&self) -> bool {
        use super::verb::{Verb, classify};
        matches!(
            classify(&self.query),
            Verb::Select
                | Verb::Values
                | Verb::Table
                | Verb::With
                | Verb::Insert
                | Verb::Update
                | Verb::Delete
                | Verb::Merge
        )
    }

    /// The query is run.
    pub fn runs(&self) -> bool {
        self.last("analyze").is_some_and(Choice::is_on)
    }

    /// It tells how long things took.
    pub fn tells_time(&self) -> bool {
        self.runs() && self.last("summary").is_none_or(Choice::is_on)
    }

    /// `None`: one that weir does not write.
    pub fn format(&self) -> Option<Format> {
        match self.last("format").map(Choice::word).as_deref() {
            Some("json") => Some(Format::Json),
            Some("xml" | "yaml") => None,
            // What is no format a server will say.
            Some(_) | None => Some(Format::Text),
        }
    }

    /// The plan is one for any values of parameters.
    pub fn is_generic(&self) -> bool {
        self.last("generic_plan").is_some_and(Choice::is_on)
    }

    /// The same asked about another query.
    pub fn about(&self, query: &str) -> String {
        self.asking(query, |_| true)
    }

    /// The same without running it.
    pub fn foretold(&self, query: &str) -> String {
        match self.runs() {
            true => self.asking(query, |choice| OF_LOOKS.contains(&choice.name.as_str())),
            false => self.about(query),
        }
    }

    fn asking(&self, query: &str, goes: impl Fn(&Choice) -> bool) -> String {
        let options: Vec<String> = self
            .options
            .iter()
            .filter(|choice| goes(choice))
            .map(|Choice { name, value }| format!("\"{}\" {value}", name.replace('"', "\"\"")))
            .collect();
        match options.is_empty() {
            true => format!("EXPLAIN {query}"),
            false => format!("EXPLAIN ({}) {query}", options.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let explained = read(text, true).unwrap();
        assert_eq!(explained.about(explained.query.trim()), expected);
        assert_eq!(explained.query.chars().count(), text.chars().count());
    }

    #[test]
    fn an_explain_is_asked_again_about_another_query() {
        check("EXPLAIN SELECT 1", "EXPLAIN SELECT 1");
        check("explain analyse verbose select 1", "EXPLAIN (\"analyze\" , \"verbose\" ) select 1");
        check("explain (select 1)", "EXPLAIN (select 1)");
        check("explain ((select 1) limit 1)", "EXPLAIN ((select 1) limit 1)");
        check(
            "explain (Costs OFF, analyze, buffers 1) (select 1)",
            "EXPLAIN (\"costs\" OFF, \"analyze\" , \"buffers\" 1) (select 1)",
        );
        check(
            "/* é */ explain (format 'text') select 1",
            "EXPLAIN (\"format\" 'text') /* é */                         select 1",
        );
    }

    #[test]
    fn what_is_no_explain_or_a_wrong_one_is_left_alone() {
        for text in [
            "select 1",
            "explain",
            "explain analyze",
            "explain (costs) ",
            "explain (a b c) select 1",
            "explain (weir) select 1",
            "",
        ] {
            assert_eq!(read(text, true), None, "{text}");
        }
    }

    #[test]
    fn the_last_word_on_an_option_counts() {
        let of = |options: &str| read(&format!("explain ({options}) select 1"), true).unwrap();
        assert!(of("analyze").runs() && of("analyze 'true'").runs());
        assert!(!of("analyze, analyze off").runs());
        assert_eq!(of("format json").format(), Some(Format::Json));
        assert_eq!(of("format json, format text").format(), Some(Format::Text));
        assert_eq!(of("costs off").format(), Some(Format::Text));
        assert_eq!(of("format 'YAML'").format(), None);
        assert_eq!(
            of("analyze, format json, buffers").foretold("select 2"),
            "EXPLAIN (\"format\" json) select 2"
        );
        assert!(of("analyze").tells_time() && !of("analyze, summary off").tells_time());
        assert_eq!(
            of("analyze, costs off, timing off").foretold("select 2"),
            "EXPLAIN (\"costs\" off) select 2"
        );
        assert_eq!(of("wal").foretold("select 2"), "EXPLAIN (\"wal\" ) select 2");
        assert!(of("generic_plan").is_generic());
    }
}
