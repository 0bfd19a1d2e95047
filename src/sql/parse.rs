//! Text → [`Statement`]: parse with sqlparser, keep the facts, drop the tree.
//!
//! sqlparser's trees overflow an ordinary stack when they are cloned or dropped, which cannot be
//! caught: text, tokens and nesting are capped, and everything that touches a tree runs on a stack
//! of its own. Nothing here is ever printed back to a server.
use super::predicate::named;
use super::statement::{Cte, Name, Statement};
use sqlparser::ast::{self, ObjectName, ObjectNamePart, SetExpr};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::{Parser, ParserError, ParserOptions};
use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

/// Longer texts are not analysed.
pub const BYTES_MAX: usize = 1 << 20;
/// Statements of more tokens are not analysed.
pub const TOKENS_MAX: usize = 200_000;
/// Expressions nested deeper are not analysed.
const NESTING_MAX: usize = 300;
/// Each operator may make a tree one level deeper: statements with more are not analysed.
const OPERATORS_MAX: usize = 20_000;
/// Room for trees of that depth, in a debug build, too; untouched pages cost nothing.
const STACK_BYTES: usize = 512 << 20;
/// Statements this short cannot nest deeper than a small stack bears.
const SMALL_BYTES: usize = 4 << 10;
const SMALL_STACK_BYTES: usize = 64 << 20;

/// Why there are no facts about a statement.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Unread {
    /// The parser's words; PostgreSQL may think otherwise.
    Syntax(String),
    /// Understood, but not to the end: what it is.
    Unsupported(String),
    /// More bytes, tokens or nesting than are looked at.
    TooBig,
    /// Not one statement: none or several.
    NotOne(usize),
}

impl Unread {
    pub(super) fn unsupported(what: &str) -> Self {
        Self::Unsupported(what.to_owned())
    }
}

/// What one statement says. `text` is a shape's text in the form for analysis.
pub fn parse(text: &str) -> Result<Statement, Unread> {
    if text.len() > BYTES_MAX {
        return Err(Unread::TooBig);
    }
    with_room(text, || read(text))
}

/// Runs what walks over (or drops) a tree of this text on a stack that is large enough for it.
pub fn with_room<T>(text: &str, work: impl FnOnce() -> T) -> T {
    let stack = match text.len() <= SMALL_BYTES {
        true => SMALL_STACK_BYTES,
        false => STACK_BYTES,
    };
    // A caller that has made room already is not moved again.
    stacker::maybe_grow(stack - (1 << 20), stack, work)
}

fn read(text: &str) -> Result<Statement, Unread> {
    // Without unescaping, a string is the characters between its quotes.
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, text)
        .with_unescape(false)
        .tokenize_with_location()
        .map_err(|error| Unread::Syntax(error.to_string()))?;
    if tokens.len() > TOKENS_MAX
        || nesting(&tokens) > NESTING_MAX
        || operators(&tokens) > OPERATORS_MAX
    {
        return Err(Unread::TooBig);
    }
    let statements = Parser::new(&PostgreSqlDialect {})
        .with_options(ParserOptions::new().with_unescape(false))
        .with_recursion_limit(NESTING_MAX * 8)
        .with_tokens_with_locations(tokens)
        .parse_statements()
        .map_err(|error| match error {
            ParserError::RecursionLimitExceeded => Unread::TooBig,
            error => Unread::Syntax(error.to_string()),
        })?;
    match statements.as_slice() {
        [statement] => Reader::default().statement(statement),
        several => Err(Unread::NotOne(several.len())),
    }
}

/// How deep parentheses, brackets and CASE go, at most.
fn nesting(tokens: &[TokenWithSpan]) -> usize {
    let (mut depth, mut deepest) = (0usize, 0);
    for token in tokens {
        match &token.token {
            Token::LParen | Token::LBracket => depth += 1,
            Token::RParen | Token::RBracket => depth = depth.saturating_sub(1),
            Token::Word(word) if word.value.eq_ignore_ascii_case("case") => depth += 1,
            Token::Word(word) if word.value.eq_ignore_ascii_case("end") => {
                depth = depth.saturating_sub(1);
            }
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

/// Tokens that put what stands before or behind them one level deeper.
fn operators(tokens: &[TokenWithSpan]) -> usize {
    const WORDS: [&str; 15] = [
        "and",
        "or",
        "not",
        "union",
        "intersect",
        "except",
        "join",
        "is",
        "collate",
        "at",
        "between",
        "like",
        "ilike",
        "similar",
        "in",
    ];
    let deepens = |token: &TokenWithSpan| match &token.token {
        Token::Word(word) => WORDS.iter().any(|known| word.value.eq_ignore_ascii_case(known)),
        Token::EOF
        | Token::Whitespace(_)
        | Token::Number(..)
        | Token::SingleQuotedString(_)
        | Token::EscapedStringLiteral(_)
        | Token::DollarQuotedString(_)
        | Token::Placeholder(_)
        | Token::Comma
        | Token::Period
        | Token::LParen
        | Token::RParen
        | Token::RBracket => false,
        _ => true,
    };
    tokens.iter().filter(|token| deepens(token)).count()
}

/// Reads sqlparser's tree into facts.
#[derive(Default)]
pub(super) struct Reader {
    /// A window function was called in the query that is being read.
    pub(super) windowed: bool,
}

impl Reader {
    pub(super) fn statement(&mut self, statement: &ast::Statement) -> Result<Statement, Unread> {
        use ast::Statement as S;
        Ok(match statement {
            S::Query(query) => match &*query.body {
                // `WITH … UPDATE …`: the write is the statement, the CTEs are its own.
                SetExpr::Insert(write)
                | SetExpr::Update(write)
                | SetExpr::Delete(write)
                | SetExpr::Merge(write) => {
                    let (recursive, ctes) = self.with(query.with.as_ref())?;
                    with_ctes(self.statement(write)?, recursive, ctes)?
                }
                SetExpr::Select(_)
                | SetExpr::Query(_)
                | SetExpr::SetOperation { .. }
                | SetExpr::Values(_)
                | SetExpr::Table(_) => Statement::Query(self.query(query)?),
            },
            S::Insert(insert) => Statement::Insert(self.insert(insert)?),
            S::Update(update) => Statement::Update(self.update(update)?),
            S::Delete(delete) => Statement::Delete(self.delete(delete)?),
            S::Merge(merge) => Statement::Merge(self.merge(merge)?),
            S::Copy { source, to, target, .. } => Statement::Copy(self.copy(source, *to, target)?),
            S::Explain { analyze, statement, options, .. } => {
                let option = options.iter().flatten().any(|option| {
                    option.name.value.eq_ignore_ascii_case("analyze")
                        && !option.arg.as_ref().is_some_and(|arg| {
                            let arg = arg.to_string().to_lowercase();
                            matches!(arg.as_str(), "false" | "off" | "0")
                        })
                });
                let statement = Box::new(self.statement(statement)?);
                Statement::Explain { analyze: *analyze || option, statement }
            }
            S::Lock(lock) => Statement::Lock(
                lock.tables.iter().map(|target| name(&target.name)).collect::<Result<_, _>>()?,
            ),
            S::NOTIFY { .. } => Statement::Notify,
            S::Call(_) => Statement::Opaque("call"),
            other => match self.ddl(other)? {
                Some(ddl) => ddl,
                None => return Err(Unread::unsupported("a statement of this kind")),
            },
        })
    }
}

fn with_ctes(statement: Statement, recursive: bool, ctes: Vec<Cte>) -> Result<Statement, Unread> {
    Ok(match statement {
        Statement::Insert(insert) => {
            Statement::Insert(super::statement::Insert { recursive, ctes, ..insert })
        }
        Statement::Update(update) => {
            Statement::Update(super::statement::Update { recursive, ctes, ..update })
        }
        Statement::Delete(delete) => {
            Statement::Delete(super::statement::Delete { recursive, ctes, ..delete })
        }
        Statement::Merge(merge) => {
            Statement::Merge(super::statement::Merge { recursive, ctes, ..merge })
        }
        Statement::Query(_)
        | Statement::Copy(_)
        | Statement::Explain { .. }
        | Statement::Ddl(_)
        | Statement::Lock(_)
        | Statement::Notify
        | Statement::Opaque(_) => return Err(Unread::unsupported("WITH before this statement")),
    })
}

/// A name as PostgreSQL folds it: unquoted ASCII letters become small, 63 bytes are kept.
pub(super) fn folded(ident: &ast::Ident) -> String {
    let mut name = match ident.quote_style {
        None => ident.value.to_ascii_lowercase(),
        Some(_) => ident.value.replace("\"\"", "\""),
    };
    if name.len() > 63 {
        let mut end = 63;
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        name.truncate(end);
    }
    name
}

pub(super) fn parts(name: &ObjectName) -> Result<Vec<String>, Unread> {
    name.0
        .iter()
        .map(|part| match part {
            ObjectNamePart::Identifier(ident) => Ok(folded(ident)),
            ObjectNamePart::Function(_) => Err(Unread::unsupported("a computed name")),
        })
        .collect()
}

pub(super) fn name(name: &ObjectName) -> Result<Name, Unread> {
    named(parts(name)?)
}
