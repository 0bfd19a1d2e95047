//! Statements that steer the session or its transaction: weir acts on them itself.
//!
//! - `transaction`: BEGIN, COMMIT, SAVEPOINT and the like
//! - `set`: SET, RESET, SHOW
//! - `set_config`: the function that does what SET does
//! - `session`: PREPARE, EXECUTE, LISTEN, DISCARD
//! - `declared`: cursors
//! - `cursor`: walks the tokens of one statement
//!
//! Invariant: a statement that begins like one of these is either understood as PostgreSQL's grammar
//! understands it or a [`SyntaxError`]; it is never passed on to a pooled server half understood,
//! where it would change a state that weir does not know.
mod cursor;
mod declared;
mod session;
mod set;
mod set_config;
mod transaction;

use super::lexer::{SyntaxError, Token, TokenKind};
pub(in crate::sql) use cursor::Cursor;
pub use cursor::first_word;
pub use declared::{CursorOption, Direction, Gives};
pub use set_config::{Argument, SetConfig, set_config_calls};

/// A control statement, parsed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Control {
    /// `BEGIN` / `START TRANSACTION`; `modes` is the original text after the keyword, e.g.
    /// `ISOLATION LEVEL SERIALIZABLE READ ONLY`, empty if none.
    Begin {
        modes: String,
    },
    /// `COMMIT` / `END`, with `AND CHAIN` or not.
    Commit {
        chain: bool,
    },
    /// `ROLLBACK` / `ABORT`.
    Rollback {
        chain: bool,
    },
    Savepoint {
        name: String,
    },
    RollbackTo {
        name: String,
    },
    Release {
        name: String,
    },
    /// `SET TRANSACTION …`: the original text after `TRANSACTION`.
    SetTransaction {
        modes: String,
    },
    /// `SET SESSION CHARACTERISTICS AS TRANSACTION …`: the settings that it stands for
    /// (`default_transaction_isolation`, …) and their values.
    SetCharacteristics {
        settings: Vec<(&'static str, &'static str)>,
    },
    /// `SET CONSTRAINTS …`: the original text after `CONSTRAINTS`.
    SetConstraints {
        text: String,
    },
    /// `SET [SESSION | LOCAL] name = value`; `SET TIME ZONE`, `SET NAMES`, `SET ROLE`,
    /// `SET SESSION AUTHORIZATION`, `SET SCHEMA`, `SET XML OPTION` come under the setting's own name
    /// (`timezone`, `client_encoding`, `role`, `session_authorization`, `search_path`, `xmloption`).
    /// `value` is `None` for DEFAULT; otherwise as `set_config` takes it (lists joined by `, `).
    Set {
        local: bool,
        name: String,
        value: Option<String>,
    },
    Reset {
        name: String,
    },
    ResetAll,
    /// `SHOW name`; `SHOW ALL` is `all`.
    Show {
        name: String,
    },
    DiscardAll,
    DiscardPlans,
    DiscardSequences,
    DiscardTemp,
    /// `PREPARE name (types) AS statement`.
    Prepare {
        name: String,
        types: Vec<String>,
        statement: String,
    },
    /// `EXECUTE name (arguments)`: each argument's original text.
    Execute {
        name: String,
        arguments: Vec<String>,
    },
    /// `None`: ALL.
    Deallocate {
        name: Option<String>,
    },
    Listen {
        channel: String,
    },
    /// `None`: `*`.
    Unlisten {
        channel: Option<String>,
    },
    /// `DECLARE name CURSOR … FOR query`: where the query goes, the cursor goes.
    DeclareCursor {
        name: String,
        options: Vec<CursorOption>,
        query: String,
    },
    /// `FETCH`/`MOVE` … name.
    Fetch {
        cursor: String,
        gives: Gives,
        direction: Direction,
    },
    /// `CLOSE name`; `None`: ALL.
    CloseCursor {
        name: Option<String>,
    },
    /// `EXPLAIN (WEIR) statement`.
    ExplainWeir {
        statement: String,
    },
    /// `PREPARE TRANSACTION`, `COMMIT PREPARED`, `ROLLBACK PREPARED`: not through weir.
    TwoPhase,
}

/// Parse one statement if its leading words are those of a control statement; `None`: they are not.
pub fn parse(
    text: &str,
    standard_conforming_strings: bool,
) -> Result<Option<Control>, SyntaxError> {
    let Some(parser) = parser(text) else { return Ok(None) };
    let mut cursor = Cursor::new(text, standard_conforming_strings)?;
    cursor.next();
    parser(&mut cursor)
}

type Parser = fn(&mut Cursor<'_>) -> Result<Option<Control>, SyntaxError>;

/// Who parses a statement that begins with this text's first word.
fn parser(text: &str) -> Option<Parser> {
    let word = first_word(text)?;
    let mut lower = [0u8; 10];
    let lower = lower.get_mut(..word.len())?;
    lower.copy_from_slice(word.as_bytes());
    lower.make_ascii_lowercase();
    Some(match &*lower {
        b"begin" => transaction::begin,
        b"start" => transaction::start,
        b"commit" | b"end" => transaction::commit,
        b"rollback" => transaction::rollback,
        b"abort" => transaction::abort,
        b"savepoint" => transaction::savepoint,
        b"release" => transaction::release,
        b"set" => set::set,
        b"reset" => set::reset,
        b"show" => set::show,
        b"discard" => session::discard,
        b"prepare" => session::prepare,
        b"execute" => session::execute,
        b"deallocate" => session::deallocate,
        b"listen" => session::listen,
        b"unlisten" => session::unlisten,
        b"declare" => declared::declare,
        b"fetch" => declared::fetch,
        b"move" => declared::move_to,
        b"close" => declared::close,
        b"explain" => session::explain,
        _ => return None,
    })
}

/// Does the statement call `set_config`, which changes a setting as SET does?
pub fn mentions_set_config(text: &str, tokens: &[Token]) -> bool {
    tokens.windows(2).any(|pair| match pair {
        [name, open] => {
            open.kind == TokenKind::OpenParen
                && match name.kind {
                    TokenKind::Word => name.is(text, "set_config"),
                    TokenKind::QuotedName => name.text(text) == "\"set_config\"",
                    // Could spell anything.
                    kind => kind == TokenKind::UnicodeName,
                }
        }
        _ => false,
    })
}

#[cfg(test)]
mod tests;
