//! COPY's options, in the form with parentheses and in the older ones (manual, COPY).
//!
//! Nothing is checked here that a server checks: what is read of a wrong list does not matter, since no
//! server takes it.
use crate::sql::escape;
use crate::sql::lexer::{self, Lexer, SyntaxError, Token};
use std::ops::Range;

/// What a COPY says besides its table or query and the way.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Options {
    pub format: FormatName,
    pub delimiter: Option<String>,
    pub null: Option<String>,
    pub header: Header,
    pub quote: Option<String>,
    pub escape: Option<String>,
    pub force_quote: Forced,
    pub force_null: Forced,
    pub force_not_null: Forced,
    pub encoding: Option<String>,
    pub freeze: bool,
    /// The condition behind WHERE, in the text.
    pub filter: Option<Range<usize>>,
    /// An option that is not known here.
    pub unknown: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum FormatName {
    #[default]
    Text,
    Csv,
    Binary,
}

#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Header {
    #[default]
    No,
    Yes,
    /// The names must be the columns'.
    Match,
}

/// Columns that something is forced on.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub enum Forced {
    #[default]
    None,
    All,
    Columns(Vec<String>),
}

impl Forced {
    pub fn has(&self, column: &str) -> bool {
        match self {
            Forced::None => false,
            Forced::All => true,
            Forced::Columns(columns) => columns.iter().any(|one| one == column),
        }
    }
}

/// The options of a COPY statement that names STDIN or STDOUT.
pub fn options(text: &str, strings: bool) -> Result<Options, SyntaxError> {
    let tokens: Result<Vec<Token>, SyntaxError> = Lexer::new(text, strings).collect();
    let tokens: Vec<Token> = tokens?.into_iter().filter(|token| !token.kind.is_blank()).collect();
    let mut list = List { text, tokens: &tokens, at: 0 };
    list.find_options();
    Ok(list.read())
}

struct List<'t> {
    text: &'t str,
    tokens: &'t [Token],
    at: usize,
}

impl List<'_> {
    fn is(&self, word: &str) -> bool {
        self.tokens.get(self.at).is_some_and(|token| token.is(self.text, word))
    }

    fn source(&self) -> &str {
        self.tokens.get(self.at).map_or("", |token| token.text(self.text))
    }

    fn take(&mut self, word: &str) -> bool {
        let found = self.is(word);
        self.at += usize::from(found);
        found
    }

    /// Behind `FROM STDIN` or `TO STDOUT`, outside parentheses.
    fn find_options(&mut self) {
        let mut depth = 0usize;
        while self.at < self.tokens.len() {
            match self.source() {
                "(" => depth += 1,
                ")" => depth = depth.saturating_sub(1),
                _ if depth == 0 && (self.is("from") || self.is("to")) => {
                    self.at += 1;
                    if self.take("stdin") || self.take("stdout") {
                        return;
                    }
                    continue;
                }
                _ => {}
            }
            self.at += 1;
        }
    }

    fn read(mut self) -> Options {
        let mut options = Options::default();
        self.take("with");
        if self.source() == "(" {
            self.at += 1;
            while self.at < self.tokens.len() && self.source() != ")" {
                self.one(&mut options);
                if self.source() == "," {
                    self.at += 1;
                }
            }
            self.at += 1;
        } else {
            while self.at < self.tokens.len() && !self.is("where") && self.source() != ";" {
                self.old(&mut options);
            }
        }
        if self.take("where") {
            let end = self.tokens.iter().rfind(|token| token.text(self.text) != ";");
            if let (Some(first), Some(last)) = (self.tokens.get(self.at), end) {
                options.filter = Some(first.start..last.end);
            }
        }
        options
    }

    /// An option in parentheses: a name, and a value that may be left out.
    fn one(&mut self, options: &mut Options) {
        let Some(name) = self.name() else {
            options.unknown.get_or_insert(self.source().to_owned());
            self.at += 1;
            return;
        };
        match name.as_str() {
            "format" => {
                let format = self.value().unwrap_or_default();
                options.format = match format.as_str() {
                    "text" => FormatName::Text,
                    "csv" => FormatName::Csv,
                    "binary" => FormatName::Binary,
                    _ => {
                        options.unknown.get_or_insert(format!("format {format}"));
                        FormatName::Text
                    }
                };
            }
            "delimiter" => options.delimiter = self.value(),
            "null" => options.null = self.value(),
            "quote" => options.quote = self.value(),
            "escape" => options.escape = self.value(),
            "encoding" => options.encoding = self.value(),
            "freeze" => options.freeze = truth(self.value()).unwrap_or(true),
            "header" => {
                let value = self.value();
                let matches = value.as_ref().is_some_and(|v| v.eq_ignore_ascii_case("match"));
                options.header = match (matches, truth(value)) {
                    (true, _) => Header::Match,
                    (false, Some(false)) => Header::No,
                    (false, Some(true) | None) => Header::Yes,
                };
            }
            "force_quote" => options.force_quote = self.forced(),
            "force_null" => options.force_null = self.forced(),
            "force_not_null" => options.force_not_null = self.forced(),
            _ => {
                options.unknown.get_or_insert(name);
                self.pass_value();
            }
        }
    }

    /// An option without parentheses.
    fn old(&mut self, options: &mut Options) {
        if self.take("binary") {
            options.format = FormatName::Binary;
        } else if self.take("csv") {
            options.format = FormatName::Csv;
        } else if self.take("header") {
            options.header = Header::Yes;
        } else if self.take("freeze") {
            options.freeze = true;
        } else if self.take("delimiter") {
            options.delimiter = self.old_value();
        } else if self.take("null") {
            options.null = self.old_value();
        } else if self.take("quote") {
            options.quote = self.old_value();
        } else if self.take("escape") {
            options.escape = self.old_value();
        } else if self.take("encoding") {
            options.encoding = self.old_value();
        } else if self.take("force") {
            if self.take("quote") {
                options.force_quote = self.old_forced();
            } else if self.take("not") {
                self.take("null");
                options.force_not_null = self.old_forced();
            } else {
                self.take("null");
                options.force_null = self.old_forced();
            }
        } else {
            options.unknown.get_or_insert(self.source().to_owned());
            self.at += 1;
        }
    }

    fn name(&mut self) -> Option<String> {
        let token = self.tokens.get(self.at).filter(|token| token.kind.is_name())?;
        self.at += 1;
        lexer::name(*token, self.text)
    }

    /// A word, number or string; `None`: there is none.
    fn value(&mut self) -> Option<String> {
        let token = *self.tokens.get(self.at)?;
        let source = token.text(self.text);
        if source == "," || source == ")" {
            return None;
        }
        self.at += 1;
        match escape::value(token.kind, source) {
            Some(value) => Some(value.into_owned()),
            None => lexer::name(token, self.text).or_else(|| Some(source.to_owned())),
        }
    }

    fn old_value(&mut self) -> Option<String> {
        self.take("as");
        self.value()
    }

    fn pass_value(&mut self) {
        let mut depth = 0usize;
        while let Some(token) = self.tokens.get(self.at) {
            match token.text(self.text) {
                "(" => depth += 1,
                ")" | "," if depth == 0 => return,
                ")" => depth -= 1,
                _ => {}
            }
            self.at += 1;
        }
    }

    fn forced(&mut self) -> Forced {
        match self.source() {
            "*" => {
                self.at += 1;
                Forced::All
            }
            "(" => {
                self.at += 1;
                let columns = self.names();
                self.at += 1;
                Forced::Columns(columns)
            }
            _ => Forced::None,
        }
    }

    fn old_forced(&mut self) -> Forced {
        match self.source() {
            "*" => self.forced(),
            _ => Forced::Columns(self.names()),
        }
    }

    fn names(&mut self) -> Vec<String> {
        let mut names = Vec::new();
        while let Some(name) = self.name() {
            names.push(name);
            if self.source() != "," {
                break;
            }
            self.at += 1;
        }
        names
    }
}

fn truth(value: Option<String>) -> Option<bool> {
    match value?.to_ascii_lowercase().as_str() {
        "true" | "on" | "1" => Some(true),
        "false" | "off" | "0" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Options) {
        assert_eq!(options(text, true), Ok(expected), "{text}");
    }

    #[test]
    fn options_are_read_in_all_their_forms() {
        check("COPY t FROM STDIN", Options::default());
        let csv = Options { format: FormatName::Csv, ..Options::default() };
        let strange = Options {
            header: Header::Match,
            delimiter: Some("\t".into()),
            null: Some("".into()),
            quote: Some("'".into()),
            escape: Some("\\".into()),
            force_null: Forced::Columns(vec!["a".into(), "B".into()]),
            ..csv.clone()
        };
        check(
            r#"copy "from" (a, "to") from stdin with (format csv, header match, delimiter E'\t',
               null '', quote '''', escape '\', force_null (A, "B"))"#,
            strange,
        );
        check(
            "COPY t TO STDOUT WITH DELIMITER AS ';' NULL 'x' CSV HEADER FORCE QUOTE a, b",
            Options {
                delimiter: Some(";".into()),
                null: Some("x".into()),
                header: Header::Yes,
                force_quote: Forced::Columns(vec!["a".into(), "b".into()]),
                ..csv.clone()
            },
        );
        check(
            "COPY (SELECT 1 FROM stdin) TO STDOUT (FORMAT 'csv', HEADER off, FORCE_QUOTE *)",
            Options { force_quote: Forced::All, ..csv },
        );
        check(
            "COPY t FROM STDIN BINARY",
            Options { format: FormatName::Binary, ..Options::default() },
        );
    }

    #[test]
    fn what_is_not_known_is_said() {
        let of = |text: &str| options(text, true).unwrap();
        assert_eq!(of("COPY t FROM STDIN (ON_ERROR ignore)").unknown, Some("on_error".into()));
        assert_eq!(of("COPY t FROM STDIN DELIMITERS 'x'").unknown, Some("DELIMITERS".into()));
        let text = "COPY t FROM STDIN (FREEZE) WHERE a > (1) ;";
        let options = of(text);
        assert!(options.freeze);
        assert_eq!(&text[options.filter.unwrap()], "a > (1)");
    }
}
