//! PostgreSQL's lexical structure (manual, section 4.1), read without allocating.
//!
//! Tokens tile the text: each begins where the one before ended, blanks and comments included. What
//! PostgreSQL's own scanner refuses is a [`SyntaxError`] with its message. Numbers follow
//! PostgreSQL 16 (`1_000`, `0x1F`); a number glued to a name is refused, as since PostgreSQL 15.
use crate::error::{Error, SqlState};

/// What a token is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TokenKind {
    Whitespace,
    /// `-- …`, without its line end.
    LineComment,
    /// `/* … */`, nested.
    BlockComment,
    /// A keyword or an unquoted name.
    Word,
    /// `"…"`.
    QuotedName,
    /// `U&"…"`.
    UnicodeName,
    /// `'…'` in which a backslash is a backslash.
    String,
    /// `E'…'`, and `'…'` while standard_conforming_strings is off.
    EscapeString,
    /// `U&'…'`.
    UnicodeString,
    /// `N'…'`.
    NationalString,
    /// `B'…'`.
    BitString,
    /// `X'…'`.
    HexString,
    /// `$tag$…$tag$`.
    DollarString,
    /// Decimal digits only.
    Integer,
    /// With a point or an exponent.
    Decimal,
    /// `0x1F`, `0o17`, `0b1`, or digits grouped by `_`.
    OtherNumber,
    /// `$1`.
    Parameter,
    /// `$L1`: a lifted literal, only in the text of a shape.
    Lifted,
    Operator,
    /// `::`.
    Cast,
    /// `:=`.
    Assign,
    Comma,
    Semicolon,
    OpenParen,
    CloseParen,
    OpenBracket,
    CloseBracket,
    Dot,
    Colon,
}

impl TokenKind {
    /// Blanks and comments: what the grammar never sees.
    pub fn is_blank(self) -> bool {
        matches!(self, Self::Whitespace | Self::LineComment | Self::BlockComment)
    }

    /// A constant of whatever spelling.
    pub fn is_literal(self) -> bool {
        self.is_string() || matches!(self, Self::Integer | Self::Decimal | Self::OtherNumber)
    }

    pub fn is_string(self) -> bool {
        matches!(
            self,
            Self::String
                | Self::EscapeString
                | Self::UnicodeString
                | Self::NationalString
                | Self::BitString
                | Self::HexString
                | Self::DollarString
        )
    }

    /// Could name something: a word or a quoted name.
    pub fn is_name(self) -> bool {
        matches!(self, Self::Word | Self::QuotedName | Self::UnicodeName)
    }
}

/// A piece of the text: bytes `start..end`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Token {
    pub kind: TokenKind,
    pub start: usize,
    pub end: usize,
}

impl Token {
    /// The token's own text; empty if `text` is not what the token was read from.
    pub fn text<'a>(&self, text: &'a str) -> &'a str {
        text.get(self.start..self.end).unwrap_or("")
    }

    /// Is it this keyword, in whatever case? `keyword` is given in lower or upper case.
    pub fn is(&self, text: &str, keyword: &str) -> bool {
        self.kind == TokenKind::Word && self.text(text).eq_ignore_ascii_case(keyword)
    }
}

/// The text is not SQL. `message` is PostgreSQL's, `at` a byte offset.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SyntaxError {
    pub message: String,
    pub at: usize,
}

impl SyntaxError {
    /// `what at or near "…"`: the text from `at` to `end`.
    pub fn near(what: &str, text: &str, at: usize, end: usize) -> Self {
        let near = text.get(at..end).unwrap_or("");
        let message = match near.is_empty() {
            true => format!("{what} at end of input"),
            false => format!("{what} at or near \"{near}\""),
        };
        Self { message, at }
    }
}

impl From<SyntaxError> for Error {
    fn from(error: SyntaxError) -> Self {
        Error::client(SqlState::SYNTAX_ERROR, error.message)
    }
}

/// Reads one token after another.
#[derive(Clone)]
pub struct Lexer<'a> {
    text: &'a str,
    at: usize,
    standard_conforming_strings: bool,
    /// Is this the text of a shape, in which `$L1` may stand?
    shape: bool,
}

impl<'a> Lexer<'a> {
    pub fn new(text: &'a str, standard_conforming_strings: bool) -> Self {
        Self { text, at: 0, standard_conforming_strings, shape: false }
    }

    /// Reads the text of a [`Shape`](super::shape::Shape).
    pub fn of_shape(text: &'a str) -> Self {
        Self { text, at: 0, standard_conforming_strings: true, shape: true }
    }
}

/// Everything but blanks and comments.
pub fn tokens(text: &str, standard_conforming_strings: bool) -> Result<Vec<Token>, SyntaxError> {
    Lexer::new(text, standard_conforming_strings)
        .filter(|token| !token.as_ref().is_ok_and(|token| token.kind.is_blank()))
        .collect()
}

/// An unquoted name in the case that PostgreSQL gives it; a quoted one without its quotes.
/// `None`: `U&"…"`, which would need its UESCAPE to be read, or no name at all.
pub fn name(token: Token, text: &str) -> Option<String> {
    let raw = token.text(text);
    match token.kind {
        TokenKind::Word => Some(raw.to_ascii_lowercase()),
        TokenKind::QuotedName => {
            let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
            Some(inner.replace("\"\"", "\""))
        }
        _ => None,
    }
}

impl Iterator for Lexer<'_> {
    type Item = Result<Token, SyntaxError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let start = self.at;
        let first = *self.text.as_bytes().get(start)?;
        match self.read(start, first) {
            Ok((kind, end)) => {
                debug_assert!(end > start, "every token is at least a byte long");
                self.at = end;
                Some(Ok(Token { kind, start, end }))
            }
            Err(error) => {
                self.at = self.text.len();
                Some(Err(*error))
            }
        }
    }
}

/// A token's kind and end. The error is boxed so that all of this fits into two registers.
type Scanned = Result<(TokenKind, usize), Box<SyntaxError>>;

const SPACE: u8 = 1;
const NAME_START: u8 = 2;
const DIGIT: u8 = 4;
const OPERATOR: u8 = 8;
/// May follow inside a name.
const NAME: u8 = 16;

const CLASS: [u8; 256] = {
    let mut class = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        class[byte] = match b {
            b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => SPACE,
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | 128..=255 => NAME_START | NAME,
            b'0'..=b'9' => DIGIT | NAME,
            b'$' => NAME,
            b'~' | b'!' | b'@' | b'#' | b'^' | b'&' | b'|' | b'`' | b'?' | b'+' | b'-' | b'*'
            | b'/' | b'%' | b'<' | b'>' | b'=' => OPERATOR,
            _ => 0,
        };
        byte += 1;
    }
    class
};

fn is(byte: u8, class: u8) -> bool {
    CLASS[byte as usize] & class != 0
}

impl Lexer<'_> {
    /// The byte at `at`; 0 past the end.
    #[inline]
    fn byte(&self, at: usize) -> u8 {
        self.text.as_bytes().get(at).copied().unwrap_or(0)
    }

    #[cold]
    fn error(&self, what: &str, at: usize, end: usize) -> Box<SyntaxError> {
        // An error may be found in the middle of a character: show all of it.
        let end = (end..=self.text.len()).find(|&end| self.text.is_char_boundary(end));
        Box::new(SyntaxError::near(what, self.text, at, end.unwrap_or(self.text.len())))
    }

    #[inline]
    fn run(&self, at: usize, class: u8) -> usize {
        let rest = self.text.as_bytes().get(at..).unwrap_or_default();
        at + rest.iter().position(|byte| !is(*byte, class)).unwrap_or(rest.len())
    }

    fn read(&self, at: usize, first: u8) -> Scanned {
        let next = self.byte(at + 1);
        Ok(match first {
            b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => {
                (TokenKind::Whitespace, self.run(at + 1, SPACE))
            }
            b'e' | b'E' if next == b'\'' => return self.string(TokenKind::EscapeString, at, 1),
            b'b' | b'B' if next == b'\'' => return self.string(TokenKind::BitString, at, 1),
            b'x' | b'X' if next == b'\'' => return self.string(TokenKind::HexString, at, 1),
            b'n' | b'N' if next == b'\'' => return self.string(TokenKind::NationalString, at, 1),
            b'u' | b'U' if next == b'&' && self.byte(at + 2) == b'\'' => {
                return self.string(TokenKind::UnicodeString, at, 2);
            }
            b'u' | b'U' if next == b'&' && self.byte(at + 2) == b'"' => {
                return self.quoted_name(TokenKind::UnicodeName, at, at + 3);
            }
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | 128..=255 => {
                (TokenKind::Word, self.run(at + 1, NAME))
            }
            b'0'..=b'9' => return self.number(at),
            b'.' if is(next, DIGIT) => return self.number(at),
            b'\'' => {
                let kind = match self.standard_conforming_strings {
                    true => TokenKind::String,
                    false => TokenKind::EscapeString,
                };
                return self.string(kind, at, 0);
            }
            b'"' => return self.quoted_name(TokenKind::QuotedName, at, at + 1),
            b'$' => return self.dollar(at, next),
            b'-' if next == b'-' => (TokenKind::LineComment, self.line_end(at)),
            b'/' if next == b'*' => return self.block_comment(at),
            b':' if next == b':' => (TokenKind::Cast, at + 2),
            b':' if next == b'=' => (TokenKind::Assign, at + 2),
            b':' => (TokenKind::Colon, at + 1),
            b',' => (TokenKind::Comma, at + 1),
            b';' => (TokenKind::Semicolon, at + 1),
            b'(' => (TokenKind::OpenParen, at + 1),
            b')' => (TokenKind::CloseParen, at + 1),
            b'[' => (TokenKind::OpenBracket, at + 1),
            b']' => (TokenKind::CloseBracket, at + 1),
            b'.' if next == b'.' => return Err(self.error("syntax error", at, at + 2)),
            b'.' => (TokenKind::Dot, at + 1),
            byte if is(byte, OPERATOR) => (TokenKind::Operator, self.operator(at)),
            _ => return Err(self.error("syntax error", at, at + 1)),
        })
    }

    fn line_end(&self, at: usize) -> usize {
        let rest = self.text.as_bytes().get(at..).unwrap_or_default();
        let length = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
        at + length.unwrap_or(rest.len())
    }

    fn block_comment(&self, start: usize) -> Scanned {
        let (mut at, mut depth) = (start + 2, 1usize);
        while at < self.text.len() {
            match (self.byte(at), self.byte(at + 1)) {
                (b'*', b'/') => {
                    at += 2;
                    depth -= 1;
                    if depth == 0 {
                        return Ok((TokenKind::BlockComment, at));
                    }
                }
                (b'/', b'*') => {
                    at += 2;
                    depth += 1;
                }
                _ => at += 1,
            }
        }
        Err(self.error("unterminated /* comment", start, self.text.len()))
    }

    /// A string whose opening quote follows `prefix` bytes. Parts that only blanks with a line end
    /// separate belong to one string.
    fn string(&self, kind: TokenKind, start: usize, prefix: usize) -> Scanned {
        let mut at = start + prefix + 1;
        if kind == TokenKind::NationalString && !self.standard_conforming_strings {
            // PostgreSQL reads backslash escapes here; nobody writes this, so we need not.
            return Err(self.error("N'' under standard_conforming_strings off", start, at));
        }
        loop {
            at = self.part(kind, at).ok_or_else(|| self.unterminated(kind, start))?;
            match self.continuation(at) {
                Some(next) => at = next,
                None => return Ok((kind, at)),
            }
        }
    }

    /// From behind an opening quote to behind its closing one.
    fn part(&self, kind: TokenKind, mut at: usize) -> Option<usize> {
        while at < self.text.len() {
            match self.byte(at) {
                b'\\' if kind == TokenKind::EscapeString => at += 2,
                b'\'' if self.byte(at + 1) == b'\'' => at += 2,
                b'\'' => return Some(at + 1),
                _ => at += 1,
            }
        }
        None
    }

    fn unterminated(&self, kind: TokenKind, start: usize) -> Box<SyntaxError> {
        let what = match kind {
            TokenKind::BitString => "unterminated bit string literal",
            TokenKind::HexString => "unterminated hexadecimal string literal",
            _ => "unterminated quoted string",
        };
        self.error(what, start, self.text.len())
    }

    /// Behind the quote that continues a string which closed at `at`, if one does.
    fn continuation(&self, mut at: usize) -> Option<usize> {
        let mut line_ended = false;
        loop {
            match self.byte(at) {
                b'\n' | b'\r' => {
                    line_ended = true;
                    at += 1;
                }
                byte if is(byte, SPACE) => at += 1,
                b'-' if self.byte(at + 1) == b'-' => {
                    at = self.line_end(at);
                    // A comment that no line end follows hides whatever comes.
                    if at >= self.text.len() {
                        return None;
                    }
                }
                b'\'' if line_ended => return Some(at + 1),
                _ => return None,
            }
        }
    }

    fn quoted_name(&self, kind: TokenKind, start: usize, inside: usize) -> Scanned {
        let mut at = inside;
        while at < self.text.len() {
            match (self.byte(at), self.byte(at + 1)) {
                (b'"', b'"') => at += 2,
                (b'"', _) if at == inside => {
                    return Err(self.error("zero-length delimited identifier", start, at + 1));
                }
                (b'"', _) => return Ok((kind, at + 1)),
                _ => at += 1,
            }
        }
        Err(self.error("unterminated quoted identifier", start, self.text.len()))
    }

    /// `$1`, `$tag$…$tag$`, or nothing that PostgreSQL knows.
    fn dollar(&self, start: usize, next: u8) -> Scanned {
        if is(next, DIGIT) {
            let end = self.run(start + 1, DIGIT);
            return match is(self.byte(end), NAME_START) {
                true => Err(self.error("trailing junk after parameter", start, end + 1)),
                false => Ok((TokenKind::Parameter, end)),
            };
        }
        if self.shape && next == b'L' {
            return Ok((TokenKind::Lifted, self.run(start + 2, DIGIT)));
        }
        let tag_end = match is(next, NAME_START) {
            // A tag is a name without dollars.
            true => self.run(start + 1, NAME_START | DIGIT),
            false => start + 1,
        };
        if self.byte(tag_end) != b'$' {
            return Err(self.error("syntax error", start, start + 1));
        }
        let tag = self.text.get(start..=tag_end).unwrap_or("$$");
        let body = self.text.get(tag_end + 1..).unwrap_or("");
        match body.find(tag) {
            Some(length) => Ok((TokenKind::DollarString, tag_end + 1 + length + tag.len())),
            None => Err(self.error("unterminated dollar-quoted string", start, self.text.len())),
        }
    }

    fn number(&self, start: usize) -> Scanned {
        let (mut kind, mut at) = self.based(start).unwrap_or_else(|| {
            let (grouped, at) = self.digits(start);
            (if grouped { TokenKind::OtherNumber } else { TokenKind::Integer }, at)
        });
        // `1..10` is a range in PL/pgSQL and an error in SQL.
        let plain = !matches!(self.byte(start + 1), b'x' | b'X' | b'o' | b'O' | b'b' | b'B');
        if plain && self.byte(at) == b'.' && self.byte(at + 1) != b'.' {
            let (grouped, end) = self.digits(at + 1);
            kind = match grouped || kind == TokenKind::OtherNumber {
                true => TokenKind::OtherNumber,
                false => TokenKind::Decimal,
            };
            at = end;
        }
        if plain && matches!(self.byte(at), b'e' | b'E') {
            let signed = matches!(self.byte(at + 1), b'+' | b'-') as usize;
            let (grouped, end) = self.digits(at + 1 + signed);
            if end > at + 1 + signed {
                if kind != TokenKind::OtherNumber {
                    kind = if grouped { TokenKind::OtherNumber } else { TokenKind::Decimal };
                }
                at = end;
            }
        }
        if is(self.byte(at), NAME_START) {
            return Err(self.error("trailing junk after numeric literal", start, at + 1));
        }
        Ok((kind, at))
    }

    /// `0x1F`, `0o17`, `0b1`.
    fn based(&self, start: usize) -> Option<(TokenKind, usize)> {
        if self.byte(start) != b'0' {
            return None;
        }
        let digit: fn(u8) -> bool = match self.byte(start + 1) {
            b'x' | b'X' => |b| b.is_ascii_hexdigit(),
            b'o' | b'O' => |b| matches!(b, b'0'..=b'7'),
            b'b' | b'B' => |b| matches!(b, b'0' | b'1'),
            _ => return None,
        };
        let mut at = start + 2;
        loop {
            let skip = (self.byte(at) == b'_') as usize;
            if !digit(self.byte(at + skip)) {
                break;
            }
            at += skip + 1;
        }
        (at > start + 2).then_some((TokenKind::OtherNumber, at))
    }

    /// Decimal digits with single `_` between them: were there any `_`, and where do they end.
    fn digits(&self, mut at: usize) -> (bool, usize) {
        let start = at;
        let mut grouped = false;
        loop {
            at = self.run(at, DIGIT);
            if at == start || self.byte(at) != b'_' || !is(self.byte(at + 1), DIGIT) {
                return (grouped, at);
            }
            grouped = true;
            at += 1;
        }
    }

    /// Manual, section 4.1.3: the longest run of operator characters that begins no comment; it may
    /// end in `+` or `-` only if it also has a character that SQL's own operators don't use.
    fn operator(&self, start: usize) -> usize {
        let mut end = start;
        let mut unusual = false;
        while is(self.byte(end), OPERATOR) {
            let comment =
                matches!((self.byte(end), self.byte(end + 1)), (b'-', b'-') | (b'/', b'*'));
            if comment {
                break;
            }
            unusual |= matches!(
                self.byte(end),
                b'~' | b'!' | b'@' | b'#' | b'^' | b'&' | b'|' | b'`' | b'?' | b'%'
            );
            end += 1;
        }
        if !unusual {
            while end > start + 1 && matches!(self.byte(end - 1), b'+' | b'-') {
                end -= 1;
            }
        }
        end
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use TokenKind::*;
    use proptest::prelude::*;

    fn kinds(text: &str) -> Vec<(TokenKind, &str)> {
        let tokens = tokens(text, true).unwrap();
        tokens.into_iter().map(|token| (token.kind, token.text(text))).collect()
    }

    fn error(text: &str) -> std::string::String {
        tokens(text, true).unwrap_err().message
    }

    #[test]
    fn words_numbers_parameters_and_strings_are_told_apart() {
        assert_eq!(
            kinds(
                r#"sélect "a""b" U&"d" 1 1.5 .5 1. 1e9 0x1F 1_000 $12 'it''s' e'\'' U&'x' B'1' N'n'"#
            ),
            [
                (Word, "sélect"),
                (QuotedName, "\"a\"\"b\""),
                (UnicodeName, "U&\"d\""),
                (Integer, "1"),
                (Decimal, "1.5"),
                (Decimal, ".5"),
                (Decimal, "1."),
                (Decimal, "1e9"),
                (OtherNumber, "0x1F"),
                (OtherNumber, "1_000"),
                (Parameter, "$12"),
                (String, "'it''s'"),
                (EscapeString, "e'\\''"),
                (UnicodeString, "U&'x'"),
                (BitString, "B'1'"),
                (NationalString, "N'n'"),
            ]
        );
    }

    #[test]
    fn a_backslash_escapes_only_where_postgresql_says_so() {
        let text = r"'a\' b";
        assert_eq!(kinds(text), [(String, r"'a\'"), (Word, "b")]);
        assert!(tokens(text, false).is_err());
    }

    #[test]
    fn strings_continue_only_over_a_line_end() {
        assert_eq!(kinds("'a'\n  'b'"), [(String, "'a'\n  'b'")]);
        assert_eq!(kinds("'a' -- c\n 'b'"), [(String, "'a' -- c\n 'b'")]);
        assert_eq!(kinds("'a' 'b'"), [(String, "'a'"), (String, "'b'")]);
        assert_eq!(kinds("'a' /* \n */ 'b'").len(), 2);
    }

    #[test]
    fn dollar_quotes_end_at_their_own_tag() {
        assert_eq!(kinds("$a$ $b$ ; $$ $a$ x"), [(DollarString, "$a$ $b$ ; $$ $a$"), (Word, "x")]);
        assert_eq!(kinds("a$b$c"), [(Word, "a$b$c")]);
    }

    #[test]
    fn operators_end_where_postgresql_ends_them() {
        assert_eq!(kinds("a<-5"), [(Word, "a"), (Operator, "<"), (Operator, "-"), (Integer, "5")]);
        assert_eq!(kinds("@-5"), [(Operator, "@-"), (Integer, "5")]);
        assert_eq!(kinds("1+--x\n2"), [(Integer, "1"), (Operator, "+"), (Integer, "2")]);
        assert_eq!(kinds("a*/*x*/b").len(), 3);
        assert_eq!(kinds("a::b:=c=>d")[1].0, Cast);
    }

    #[test]
    fn comments_nest() {
        assert_eq!(kinds("a /* b /* c */ d */ e"), [(Word, "a"), (Word, "e")]);
    }

    #[test]
    fn errors_are_worded_like_postgresql() {
        assert_eq!(error("select 'abc"), "unterminated quoted string at or near \"'abc\"");
        assert_eq!(error("\"abc"), "unterminated quoted identifier at or near \"\"abc\"");
        assert_eq!(error("\"\""), "zero-length delimited identifier at or near \"\"\"\"");
        assert_eq!(error("$x$ abc"), "unterminated dollar-quoted string at or near \"$x$ abc\"");
        assert_eq!(error("/* abc"), "unterminated /* comment at or near \"/* abc\"");
        assert_eq!(error("123abc"), "trailing junk after numeric literal at or near \"123a\"");
        assert_eq!(error("$1a"), "trailing junk after parameter at or near \"$1a\"");
        assert_eq!(error("select $L1"), "syntax error at or near \"$\"");
        assert_eq!(error("\\d"), "syntax error at or near \"\\\"");
    }

    proptest! {
        #[test]
        fn tokens_tile_any_text(
            text in r#"([a-zE$'"\-/*\\;:.(0-9\n é+<@]|\$a\$|--|/\*|\*/|U&){0,40}"#, strings in any::<bool>()
        ) {
            let mut at = 0;
            let mut whole = true;
            for token in Lexer::new(&text, strings) {
                match token {
                    Ok(token) => {
                        prop_assert_eq!(token.start, at);
                        prop_assert!(text.get(token.start..token.end).is_some());
                        at = token.end;
                    }
                    Err(error) => {
                        prop_assert!(error.at <= text.len());
                        whole = false;
                    }
                }
            }
            prop_assert!(!whole || at == text.len());
        }
    }
}
