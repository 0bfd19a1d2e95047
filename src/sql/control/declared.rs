//! SQL cursors: DECLARE, FETCH, MOVE, CLOSE.
use super::session::{all_or_name, ends_with, something};
use super::{Control, Cursor, SyntaxError};
use crate::sql::lexer::TokenKind;

type Parsed = Result<Option<Control>, SyntaxError>;

/// What DECLARE may say of a cursor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CursorOption {
    Binary,
    Scroll,
    NoScroll,
    Asensitive,
    Insensitive,
    Hold,
}

/// What a cursor's move gives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Gives {
    /// FETCH.
    Rows,
    /// MOVE: how many FETCH would give.
    Count,
}

/// Where a cursor moves, as far as that can be forward.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// Over so many rows, all of which are given; 0: it stays. `None`: all.
    Forward(Option<u64>),
    /// To the row that is so many further, at least one.
    Relative(u64),
    /// To the row of that number, counted from 1.
    Absolute(u64),
    /// Backwards, or to where only a way back may lead.
    Back,
}

pub fn declare(cursor: &mut Cursor<'_>) -> Parsed {
    const OPTIONS: [(&[&str], CursorOption); 5] = [
        (&["binary"], CursorOption::Binary),
        (&["scroll"], CursorOption::Scroll),
        (&["no", "scroll"], CursorOption::NoScroll),
        (&["asensitive"], CursorOption::Asensitive),
        (&["insensitive"], CursorOption::Insensitive),
    ];
    let name = cursor.name()?;
    let mut options = Vec::new();
    while let Some((_, option)) = OPTIONS.iter().find(|(words, _)| cursor.take(words)) {
        options.push(*option);
    }
    cursor.expect("cursor")?;
    if cursor.take(&["with", "hold"]) {
        options.push(CursorOption::Hold);
    } else {
        cursor.take(&["without", "hold"]);
    }
    cursor.expect("for")?;
    let query = something(cursor)?;
    Ok(Some(Control::DeclareCursor { name, options, query }))
}

pub fn fetch(cursor: &mut Cursor<'_>) -> Parsed {
    moved(cursor, Gives::Rows)
}

pub fn move_to(cursor: &mut Cursor<'_>) -> Parsed {
    moved(cursor, Gives::Count)
}

/// `[direction] [FROM | IN] name`.
fn moved(cursor: &mut Cursor<'_>, gives: Gives) -> Parsed {
    // The cursor may have the name of a direction: then nothing comes behind it.
    let direction = match cursor.look(1) {
        None => Direction::Forward(Some(1)),
        Some(_) => direction(cursor)?,
    };
    if cursor.look(1).is_some() && !cursor.take(&["from"]) {
        cursor.take(&["in"]);
    }
    let name = cursor.name()?;
    ends_with(cursor, Control::Fetch { cursor: name, gives, direction })
}

fn direction(cursor: &mut Cursor<'_>) -> Result<Direction, SyntaxError> {
    let forward = |count: i64| match u64::try_from(count) {
        Ok(count) => Direction::Forward(Some(count)),
        Err(_) => Direction::Back,
    };
    let backward = |count: i64| match count {
        1.. => Direction::Back,
        _ => Direction::Forward(Some(count.unsigned_abs())),
    };
    if cursor.take(&["next"]) {
        return Ok(Direction::Forward(Some(1)));
    }
    if cursor.take(&["prior"]) || cursor.take(&["last"]) {
        return Ok(Direction::Back);
    }
    if cursor.take(&["first"]) {
        return Ok(Direction::Absolute(1));
    }
    if cursor.take(&["absolute"]) {
        return Ok(match u64::try_from(count(cursor)?) {
            Ok(0) | Err(_) => Direction::Back,
            Ok(number) => Direction::Absolute(number),
        });
    }
    if cursor.take(&["relative"]) {
        return Ok(match u64::try_from(count(cursor)?) {
            Ok(0) => Direction::Forward(Some(0)),
            Ok(number) => Direction::Relative(number),
            Err(_) => Direction::Back,
        });
    }
    if cursor.take(&["all"]) {
        return Ok(Direction::Forward(None));
    }
    if cursor.take(&["forward"]) {
        return match cursor.take(&["all"]) {
            true => Ok(Direction::Forward(None)),
            false => Ok(forward(count_if_any(cursor)?)),
        };
    }
    if cursor.take(&["backward"]) {
        return match cursor.take(&["all"]) {
            true => Ok(Direction::Back),
            false => Ok(backward(count_if_any(cursor)?)),
        };
    }
    Ok(forward(count_if_any(cursor)?))
}

/// A number with its sign, or 1.
fn count_if_any(cursor: &mut Cursor<'_>) -> Result<i64, SyntaxError> {
    let signed = cursor.sees_operator(0, "-") || cursor.sees_operator(0, "+");
    match signed || cursor.sees_kind(0, TokenKind::Integer) {
        true => count(cursor),
        false => Ok(1),
    }
}

fn count(cursor: &mut Cursor<'_>) -> Result<i64, SyntaxError> {
    let negative = cursor.sees_operator(0, "-");
    if negative || cursor.sees_operator(0, "+") {
        cursor.next();
    }
    let number = cursor.look(0).filter(|token| token.kind == TokenKind::Integer);
    let number = number.and_then(|token| cursor.source(token).parse::<i32>().ok());
    let number = i64::from(number.ok_or_else(|| cursor.unexpected())?);
    cursor.next();
    Ok(if negative { -number } else { number })
}

pub fn close(cursor: &mut Cursor<'_>) -> Parsed {
    let name = all_or_name(cursor)?;
    ends_with(cursor, Control::CloseCursor { name })
}
