//! BEGIN, COMMIT, ROLLBACK, savepoints and transaction modes.
use super::{Control, Cursor, SyntaxError};
use crate::sql::lexer::TokenKind;

type Parsed = Result<Option<Control>, SyntaxError>;

pub fn begin(cursor: &mut Cursor<'_>) -> Parsed {
    pass_noise(cursor);
    let modes = cursor.rest_in_words();
    if !cursor.at_end() {
        transaction_modes(cursor)?;
    }
    Ok(Some(Control::Begin { modes }))
}

pub fn start(cursor: &mut Cursor<'_>) -> Parsed {
    cursor.expect("transaction")?;
    let modes = cursor.rest_in_words();
    if !cursor.at_end() {
        transaction_modes(cursor)?;
    }
    Ok(Some(Control::Begin { modes }))
}

pub fn commit(cursor: &mut Cursor<'_>) -> Parsed {
    if cursor.take(&["prepared"]) {
        return two_phase(cursor);
    }
    pass_noise(cursor);
    let chain = chain(cursor)?;
    Ok(Some(Control::Commit { chain }))
}

pub fn rollback(cursor: &mut Cursor<'_>) -> Parsed {
    if cursor.take(&["prepared"]) {
        return two_phase(cursor);
    }
    pass_noise(cursor);
    if cursor.take(&["to"]) {
        let name = savepoint_name(cursor)?;
        return Ok(Some(Control::RollbackTo { name }));
    }
    let chain = chain(cursor)?;
    Ok(Some(Control::Rollback { chain }))
}

pub fn abort(cursor: &mut Cursor<'_>) -> Parsed {
    pass_noise(cursor);
    let chain = chain(cursor)?;
    Ok(Some(Control::Rollback { chain }))
}

pub fn savepoint(cursor: &mut Cursor<'_>) -> Parsed {
    let name = cursor.name()?;
    cursor.expect_end()?;
    Ok(Some(Control::Savepoint { name }))
}

pub fn release(cursor: &mut Cursor<'_>) -> Parsed {
    let name = savepoint_name(cursor)?;
    Ok(Some(Control::Release { name }))
}

/// `PREPARE TRANSACTION 'gid'` and its two ends.
pub fn two_phase(cursor: &mut Cursor<'_>) -> Parsed {
    cursor.string()?;
    cursor.expect_end()?;
    Ok(Some(Control::TwoPhase))
}

/// A mode of a transaction, as `SET SESSION CHARACTERISTICS` sets it for those to come.
type Setting = (&'static str, &'static str);

/// One or more modes up to the statement's end; a comma may stand between them.
pub fn transaction_modes(cursor: &mut Cursor<'_>) -> Result<Vec<Setting>, SyntaxError> {
    const MODES: &[(&[&str], Setting)] = &[
        (
            &["isolation", "level", "serializable"],
            ("default_transaction_isolation", "serializable"),
        ),
        (
            &["isolation", "level", "repeatable", "read"],
            ("default_transaction_isolation", "repeatable read"),
        ),
        (
            &["isolation", "level", "read", "committed"],
            ("default_transaction_isolation", "read committed"),
        ),
        (
            &["isolation", "level", "read", "uncommitted"],
            ("default_transaction_isolation", "read uncommitted"),
        ),
        (&["read", "only"], ("default_transaction_read_only", "on")),
        (&["read", "write"], ("default_transaction_read_only", "off")),
        (&["deferrable"], ("default_transaction_deferrable", "on")),
        (&["not", "deferrable"], ("default_transaction_deferrable", "off")),
    ];
    let mut settings = Vec::new();
    loop {
        let mode = MODES.iter().find(|(words, _)| cursor.take(words));
        let (_, setting) = mode.ok_or_else(|| cursor.unexpected())?;
        settings.push(*setting);
        if cursor.at_end() {
            return Ok(settings);
        }
        cursor.take_kind(TokenKind::Comma);
    }
}

fn pass_noise(cursor: &mut Cursor<'_>) {
    if !cursor.take(&["work"]) {
        cursor.take(&["transaction"]);
    }
}

fn chain(cursor: &mut Cursor<'_>) -> Result<bool, SyntaxError> {
    let chain = cursor.take(&["and", "chain"]);
    if !chain {
        cursor.take(&["and", "no", "chain"]);
    }
    cursor.expect_end()?;
    Ok(chain)
}

/// `[SAVEPOINT] name`; a savepoint may itself be called `savepoint`.
fn savepoint_name(cursor: &mut Cursor<'_>) -> Result<String, SyntaxError> {
    if cursor.look(1).is_some() {
        cursor.expect("savepoint")?;
    }
    let name = cursor.name()?;
    cursor.expect_end()?;
    Ok(name)
}
