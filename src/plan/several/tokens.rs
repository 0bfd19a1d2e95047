//! A query's words, and what must not be among them.
use crate::plan::Unroutable;
use crate::sql::lexer::{self, Lexer, Token, TokenKind};
use crate::sql::shape::Shape;
use crate::sql::statement::Name;
use std::ops::Range;

/// What a row says of its place on a server.
const SYSTEM_COLUMNS: &[&str] = &["ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"];
/// Words and functions that tell where, or as which text, a query runs.
const OF_THE_PLACE: &[&str] = &["current_catalog", "current_database", "current_query"];
/// Types whose values are object ids of one server.
const OBJECT_TYPES: &[&str] = &[
    "regclass",
    "regcollation",
    "regconfig",
    "regdictionary",
    "regnamespace",
    "regoper",
    "regoperator",
    "regproc",
    "regprocedure",
    "regrole",
    "regtype",
];
/// What may follow a `*` that stands for columns.
const AFTER_STAR: &[&str] = &[
    "from",
    "where",
    "group",
    "having",
    "window",
    "order",
    "limit",
    "offset",
    "fetch",
    "for",
    "union",
    "intersect",
    "except",
    "into",
];

/// The shape's tokens, blanks left out.
pub struct Tokens<'s> {
    text: &'s str,
    all: Vec<Token>,
}

fn cannot(what: &str) -> Unroutable {
    Unroutable::NotGathered { what: what.to_owned() }
}

impl<'s> Tokens<'s> {
    pub fn read(shape: &'s Shape) -> Result<Self, Unroutable> {
        let text = shape.text.as_str();
        let all = Lexer::of_shape(text)
            .filter(|token| !token.as_ref().is_ok_and(|token| token.kind.is_blank()))
            .collect::<Result<_, _>>()
            .map_err(|error| Unroutable::Value(error.into()))?;
        Ok(Self { text, all })
    }

    /// Nothing is said that only a table's own server can answer.
    pub fn admit(&self) -> Result<(), Unroutable> {
        if self.all.iter().any(|token| token.kind == TokenKind::UnicodeName) {
            return Err(cannot("a name in Unicode escapes"));
        }
        for (_, name) in self.names() {
            if SYSTEM_COLUMNS.contains(&name.as_str()) {
                return Err(cannot(&format!("the system column {name}")));
            }
            if OF_THE_PLACE.contains(&name.as_str()) {
                return Err(cannot(&name));
            }
            if OBJECT_TYPES.contains(&name.as_str()) {
                return Err(cannot(&format!("the type {name}")));
            }
            if name == "tablesample" {
                return Err(cannot("TABLESAMPLE"));
            }
        }
        Ok(())
    }

    /// Names and keywords with their position.
    pub fn names(&self) -> impl Iterator<Item = (usize, String)> {
        let numbered = self.all.iter().enumerate();
        numbered.filter_map(|(at, token)| Some((at, lexer::name(*token, self.text)?)))
    }

    /// Whether these bytes are that name, and nothing else.
    pub fn is_name(&self, at: &Range<usize>, name: &Name) -> bool {
        let inside = self.all.iter().filter(|t| at.start <= t.start && t.end <= at.end);
        let parts: Vec<_> = inside
            .filter(|token| token.kind != TokenKind::Dot)
            .map(|token| lexer::name(*token, self.text))
            .collect();
        let expected = name.schema.iter().chain([&name.name]);
        parts.iter().map(Option::as_ref).eq(expected.map(Some))
    }

    /// The positions of the tokens in these bytes.
    pub fn within(&self, bytes: &Range<usize>) -> Range<usize> {
        let from = self.all.partition_point(|token| token.start < bytes.start);
        from..self.all.partition_point(|token| token.start < bytes.end)
    }

    /// The name or keyword at a position.
    pub fn name(&self, at: usize) -> Option<String> {
        lexer::name(*self.all.get(at)?, self.text)
    }

    pub fn kind(&self, at: usize) -> Option<TokenKind> {
        self.all.get(at).map(|token| token.kind)
    }

    pub fn source(&self, at: usize) -> Option<&'s str> {
        Some(self.all.get(at)?.text(self.text))
    }

    pub fn is_inside(&self, at: usize, range: &Range<usize>) -> bool {
        self.all.get(at).is_some_and(|token| range.contains(&token.start))
    }

    /// Whether a dot follows.
    pub fn is_qualifier(&self, at: usize) -> bool {
        self.all.get(at + 1).is_some_and(|next| next.kind == TokenKind::Dot)
    }

    /// Whether a dot comes before.
    pub fn is_qualified(&self, at: usize) -> bool {
        let before = at.checked_sub(1).and_then(|before| self.all.get(before));
        before.is_some_and(|before| before.kind == TokenKind::Dot)
    }

    /// The word in front of these bytes, if it is the keyword `TABLE`: with the name that follows it is
    /// `SELECT * FROM` that name.
    pub fn table_command(&self, at: &Range<usize>) -> Option<Range<usize>> {
        let before = self.within(at).start.checked_sub(1)?;
        let word = self.all.get(before).filter(|token| token.is(self.text, "table"))?;
        Some(word.start..word.end)
    }

    /// What stands before the dot, if that is a name.
    pub fn qualifier(&self, at: usize) -> Option<String> {
        self.is_qualified(at).then(|| at.checked_sub(2).and_then(|before| self.name(before)))?
    }

    /// `*`, `t.*` or `TABLE t` in these bytes: all columns of something, other than `count(*)`.
    pub fn has_star(&self, bytes: &Range<usize>) -> bool {
        let star = |at: usize, token: &Token| {
            if token.kind != TokenKind::Operator || token.text(self.text) != "*" {
                return false;
            }
            let before = at.checked_sub(1).and_then(|before| self.all.get(before));
            let opens = before.is_some_and(|before| before.kind == TokenKind::OpenParen);
            match self.all.get(at + 1) {
                None => true,
                Some(next) => match next.kind {
                    TokenKind::CloseParen => !opens,
                    TokenKind::Comma => true,
                    TokenKind::Word => {
                        let word = next.text(self.text).to_ascii_lowercase();
                        AFTER_STAR.contains(&word.as_str())
                    }
                    _ => false,
                },
            }
        };
        let mut tokens = self.within(bytes).filter_map(|at| Some((at, self.all.get(at)?)));
        tokens.any(|(at, token)| star(at, token) || token.is(self.text, "table"))
    }
}

/// The tokens outside of all parentheses.
pub fn outer(tokens: &[Token]) -> Vec<usize> {
    let (mut depth, mut outer) = (0usize, Vec::new());
    for (at, token) in tokens.iter().enumerate() {
        match token.kind {
            TokenKind::OpenParen | TokenKind::OpenBracket => {
                if depth == 0 {
                    outer.push(at);
                }
                depth += 1;
            }
            TokenKind::CloseParen | TokenKind::CloseBracket => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    outer.push(at);
                }
            }
            _ if depth == 0 => outer.push(at),
            _ => {}
        }
    }
    outer
}

/// Tokens between the commas outside of parentheses.
pub fn items(tokens: &[Token], within: Range<usize>) -> Vec<Range<usize>> {
    let inner = tokens.get(within.clone()).unwrap_or_default();
    let commas = outer(inner)
        .into_iter()
        .filter(|&at| inner.get(at).is_some_and(|token| token.kind == TokenKind::Comma));
    let (mut items, mut from) = (Vec::new(), within.start);
    for comma in commas.map(|at| at + within.start) {
        items.push(from..comma);
        from = comma + 1;
    }
    items.push(from..within.end);
    items
}
