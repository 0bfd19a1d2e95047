//! The statements of a simple query's text.
use super::lexer::{Lexer, SyntaxError, Token, TokenKind};
use std::ops::Range;

/// Where each statement of the text stands, without its semicolon and without the blanks around it;
/// its comments stay, for they may be hints. Empty statements are left out.
///
/// A semicolon inside parentheses (`CREATE RULE … DO (a; b)`) or inside the body of a function
/// written `BEGIN ATOMIC … END` ends no statement.
pub fn split(
    text: &str,
    standard_conforming_strings: bool,
) -> Result<Vec<Range<usize>>, SyntaxError> {
    let mut statements = Vec::with_capacity(1);
    let mut current = Statement::default();
    for token in Lexer::new(text, standard_conforming_strings) {
        let token = token?;
        if token.kind == TokenKind::Semicolon && current.may_end() {
            statements.extend(std::mem::take(&mut current).range());
        } else {
            current.add(token, text);
        }
    }
    statements.extend(current.range());
    Ok(statements)
}

/// The one statement of a text, its semicolon left out, where one look at its bytes shows that it is one.
/// What is wrong with it, whoever reads the statement finds out.
pub fn single(text: &str) -> Option<&str> {
    let begins = text.as_bytes().first().is_some_and(u8::is_ascii_alphabetic);
    match (begins, text.strip_suffix(';')) {
        (true, None) if !text.contains(';') => Some(text),
        (true, Some(statement)) if ends(statement.as_bytes()) => Some(statement.trim_ascii_end()),
        (true | false, _) => None,
    }
}

/// Bytes that may tell whether a statement goes on.
const TELLS: [bool; 256] = {
    let (mut tells, bytes) = ([false; 256], b"';\"\\-/$()");
    let mut at = 0;
    while at < bytes.len() {
        tells[bytes[at] as usize] = true;
        at += 1;
    }
    tells
};

/// Whether a semicolon behind this ends a statement: no string, comment or parenthesis is open. Nothing is
/// read that would have to be looked at more closely.
fn ends(statement: &[u8]) -> bool {
    // A function's body may go on behind its semicolon.
    if statement.first().is_some_and(|byte| b"cC".contains(byte)) {
        return false;
    }
    let (mut open, mut quoted) = (0, false);
    let tells = |byte: &u8| TELLS[usize::from(*byte)];
    for (at, byte) in statement.iter().enumerate().filter(|(_, byte)| tells(byte)) {
        match (byte, statement.get(at + 1)) {
            (b'\'', _) => quoted = !quoted,
            (b'(', _) if !quoted => open += 1,
            (b')', _) if !quoted && open > 0 => open -= 1,
            (b')', _) if !quoted => return false,
            (b'-', Some(b'-')) | (b'/', Some(b'*')) => return false,
            (b'$', Some(next)) if next.is_ascii_digit() => {}
            (b'(' | b')' | b'-' | b'/', _) => {}
            _ => return false,
        }
    }
    !quoted && open == 0
}

#[derive(Default)]
struct Statement {
    start: Option<usize>,
    end: usize,
    /// Does it have more than comments?
    says_something: bool,
    parentheses: usize,
    /// Open `BEGIN ATOMIC` and, inside it, open `CASE`.
    blocks: usize,
    head: Head,
    /// The token before was `BEGIN`.
    after_begin: bool,
    /// The token before was `.` or `AS`: a keyword now is a name.
    names: bool,
}

/// How far the statement begins like a CREATE [OR REPLACE] FUNCTION or PROCEDURE.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Head {
    #[default]
    Start,
    Create,
    Or,
    Replace,
    Routine,
    Other,
}

impl Statement {
    fn may_end(&self) -> bool {
        self.parentheses == 0 && self.blocks == 0
    }

    fn range(self) -> Option<Range<usize>> {
        self.says_something.then_some(self.start?..self.end)
    }

    fn add(&mut self, token: Token, text: &str) {
        if token.kind == TokenKind::Whitespace {
            return;
        }
        self.start.get_or_insert(token.start);
        self.end = token.end;
        if token.kind.is_blank() {
            return;
        }
        self.says_something = true;
        match token.kind {
            TokenKind::OpenParen => self.parentheses += 1,
            TokenKind::CloseParen => self.parentheses = self.parentheses.saturating_sub(1),
            _ => (),
        }
        self.head = self.head.next(token, text);
        if self.head == Head::Routine {
            self.block(token, text);
        }
    }

    fn block(&mut self, token: Token, text: &str) {
        if !self.names {
            if self.after_begin && token.is(text, "atomic") {
                self.blocks += 1;
            }
            if self.blocks > 0 && token.is(text, "case") {
                self.blocks += 1;
            }
            if token.is(text, "end") {
                self.blocks = self.blocks.saturating_sub(1);
            }
        }
        self.after_begin = token.is(text, "begin");
        self.names = token.kind == TokenKind::Dot || token.is(text, "as");
    }
}

impl Head {
    fn next(self, token: Token, text: &str) -> Self {
        let routine = token.is(text, "function") || token.is(text, "procedure");
        match self {
            Self::Start if token.is(text, "create") => Self::Create,
            Self::Create if token.is(text, "or") => Self::Or,
            Self::Or if token.is(text, "replace") => Self::Replace,
            Self::Create | Self::Replace if routine => Self::Routine,
            Self::Routine => Self::Routine,
            Self::Start | Self::Create | Self::Or | Self::Replace | Self::Other => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::lexer::tokens;
    use proptest::prelude::*;

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let ranges = split(text, true).unwrap();
        let statements: Vec<&str> = ranges.into_iter().map(|range| &text[range]).collect();
        assert_eq!(statements, expected);
    }

    #[test]
    fn semicolons_part_statements_and_empty_ones_are_dropped() {
        check("", &[]);
        check(" ; /* c */ ;; -- c", &[]);
        check("select 1", &["select 1"]);
        check(" select 1 ; select ';' ;", &["select 1", "select ';'"]);
        check("select 1; /* h */ select $a$;$a$", &["select 1", "/* h */ select $a$;$a$"]);
    }

    #[test]
    fn a_rule_with_several_actions_is_one_statement() {
        let rule = "create rule r as on insert to t do also (delete from a; delete from b)";
        check(&format!("{rule}; select 1"), &[rule, "select 1"]);
    }

    #[test]
    fn a_function_with_a_sql_body_is_one_statement() {
        let function = "create or replace function f() returns int begin atomic \
                        select case when a then 1 end; select x.end as end; select 2; end";
        check(&format!("{function}; select 1"), &[function, "select 1"]);
    }

    #[test]
    fn a_plain_begin_ends_at_its_semicolon() {
        check(
            "begin; select case when true then 1 end; end",
            &["begin", "select case when true then 1 end", "end"],
        );
    }

    proptest! {
        #[test]
        fn what_is_seen_to_be_single_is_one_statement(
            text in "[a-z]( |;|'|\"|/|\\*|-|\\\\|\n|\\$|\\(|\\)|1|e|é|select|create function|begin atomic){0,12};?"
        ) {
            if let (Some(single), Ok(ranges)) = (single(&text), split(&text, true)) {
                let found = ranges.into_iter().map(|range| text[range].trim_ascii_end());
                prop_assert_eq!(found.collect::<Vec<_>>(), [single.trim_ascii_end()]);
            }
            if let (Some(single), Err(error)) = (single(&text), split(&text, true)) {
                prop_assert_eq!(tokens(single, true).unwrap_err(), error);
            }
        }

        #[test]
        fn statements_ascend_and_never_overlap(text in "(select|;|'|\\(|\\)|begin|atomic|end|case| |é){0,30}") {
            let Ok(ranges) = split(&text, true) else { return Ok(()) };
            let mut done = 0;
            for range in ranges {
                prop_assert!(range.start >= done && range.end > range.start);
                prop_assert!(text.get(range.clone()).is_some());
                done = range.end;
            }
        }
    }
}
