//! Prepared statements, LISTEN, DISCARD and `EXPLAIN (WEIR)`.
use super::transaction::two_phase;
use super::{Control, Cursor, SyntaxError};
use crate::sql::lexer::TokenKind;

type Parsed = Result<Option<Control>, SyntaxError>;

pub fn discard(cursor: &mut Cursor<'_>) -> Parsed {
    let control = if cursor.take(&["all"]) {
        Control::DiscardAll
    } else if cursor.take(&["plans"]) {
        Control::DiscardPlans
    } else if cursor.take(&["sequences"]) {
        Control::DiscardSequences
    } else if cursor.take(&["temp"]) || cursor.take(&["temporary"]) {
        Control::DiscardTemp
    } else {
        return Err(cursor.unexpected());
    };
    ends_with(cursor, control)
}

pub fn prepare(cursor: &mut Cursor<'_>) -> Parsed {
    if cursor.sees(0, "transaction") && cursor.look(1).is_some_and(|token| token.kind.is_string()) {
        cursor.next();
        return two_phase(cursor);
    }
    let name = cursor.name()?;
    let types = match cursor.sees_kind(0, TokenKind::OpenParen) {
        true => cursor.parenthesised()?,
        false => Vec::new(),
    };
    cursor.expect("as")?;
    let statement = something(cursor)?;
    Ok(Some(Control::Prepare { name, types, statement }))
}

pub fn execute(cursor: &mut Cursor<'_>) -> Parsed {
    let name = cursor.name()?;
    let arguments = match cursor.at_end() {
        true => Vec::new(),
        false => cursor.parenthesised()?,
    };
    ends_with(cursor, Control::Execute { name, arguments })
}

pub fn deallocate(cursor: &mut Cursor<'_>) -> Parsed {
    // A statement may itself be called `prepare`.
    if cursor.look(1).is_some() {
        cursor.expect("prepare")?;
    }
    let name = all_or_name(cursor)?;
    ends_with(cursor, Control::Deallocate { name })
}

pub fn listen(cursor: &mut Cursor<'_>) -> Parsed {
    let channel = cursor.name()?;
    ends_with(cursor, Control::Listen { channel })
}

pub fn unlisten(cursor: &mut Cursor<'_>) -> Parsed {
    let channel = match cursor.sees_operator(0, "*") {
        true => {
            cursor.next();
            None
        }
        false => Some(cursor.name()?),
    };
    ends_with(cursor, Control::Unlisten { channel })
}

/// Only `EXPLAIN (WEIR) …` is ours; any other EXPLAIN is a statement like others.
pub fn explain(cursor: &mut Cursor<'_>) -> Parsed {
    let ours = cursor.sees_kind(0, TokenKind::OpenParen)
        && cursor.sees(1, "weir")
        && cursor.sees_kind(2, TokenKind::CloseParen);
    if !ours {
        return Ok(None);
    }
    cursor.parenthesised()?;
    let statement = something(cursor)?;
    Ok(Some(Control::ExplainWeir { statement }))
}

pub(super) fn all_or_name(cursor: &mut Cursor<'_>) -> Result<Option<String>, SyntaxError> {
    match cursor.take(&["all"]) {
        true => Ok(None),
        false => cursor.name().map(Some),
    }
}

/// The rest of the text, which must not be empty.
pub(super) fn something(cursor: &Cursor<'_>) -> Result<String, SyntaxError> {
    match cursor.at_end() {
        true => Err(cursor.unexpected()),
        false => Ok(cursor.rest()),
    }
}

pub(super) fn ends_with(cursor: &Cursor<'_>, control: Control) -> Parsed {
    cursor.expect_end()?;
    Ok(Some(control))
}
