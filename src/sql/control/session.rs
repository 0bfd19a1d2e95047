//! Prepared statements, cursors, LISTEN, DISCARD and `EXPLAIN (WEIR)`.
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

pub fn declare(cursor: &mut Cursor<'_>) -> Parsed {
    let name = cursor.name()?;
    const OPTIONS: &[&[&str]] =
        &[&["binary"], &["scroll"], &["no", "scroll"], &["asensitive"], &["insensitive"]];
    while OPTIONS.iter().any(|option| cursor.take(option)) {}
    cursor.expect("cursor")?;
    let hold = cursor.take(&["with", "hold"]);
    if !hold {
        cursor.take(&["without", "hold"]);
    }
    cursor.expect("for")?;
    let query = something(cursor)?;
    Ok(Some(Control::DeclareCursor { name, hold, query }))
}

/// `FETCH [direction] [FROM | IN] name`: only the cursor matters, and it is named last.
pub fn fetch(cursor: &mut Cursor<'_>) -> Parsed {
    while cursor.look(1).is_some() {
        let token = cursor.look(0);
        let direction = token.is_some_and(|token| {
            matches!(token.kind, TokenKind::Word | TokenKind::Integer | TokenKind::Operator)
        });
        if !direction {
            return Err(cursor.unexpected());
        }
        cursor.next();
    }
    let name = cursor.name()?;
    ends_with(cursor, Control::Fetch { cursor: name })
}

pub fn close(cursor: &mut Cursor<'_>) -> Parsed {
    let name = all_or_name(cursor)?;
    ends_with(cursor, Control::CloseCursor { name })
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

fn all_or_name(cursor: &mut Cursor<'_>) -> Result<Option<String>, SyntaxError> {
    match cursor.take(&["all"]) {
        true => Ok(None),
        false => cursor.name().map(Some),
    }
}

/// The rest of the text, which must not be empty.
fn something(cursor: &Cursor<'_>) -> Result<String, SyntaxError> {
    match cursor.at_end() {
        true => Err(cursor.unexpected()),
        false => Ok(cursor.rest()),
    }
}

fn ends_with(cursor: &Cursor<'_>, control: Control) -> Parsed {
    cursor.expect_end()?;
    Ok(Some(control))
}
