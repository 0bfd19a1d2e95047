//! Hints to weir in a comment: `/* weir: shard=s1 */`.
use super::lexer::{Lexer, SyntaxError, TokenKind};
use crate::error::{Error, SqlState};

/// What the comments of a statement ask for.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Hints {
    /// The name of the shard on which the statement shall run.
    pub shard: Option<String>,
}

/// Is this block comment addressed to weir?
pub fn is_hint(comment: &str) -> bool {
    body(comment).is_some()
}

/// The hints in any comment of the text. Most texts have none: then this only looks for `weir`.
pub fn hints(text: &str, standard_conforming_strings: bool) -> Result<Hints, Error> {
    let mut hints = Hints::default();
    if !text.contains("weir") {
        return Ok(hints);
    }
    for token in Lexer::new(text, standard_conforming_strings) {
        let token = token.map_err(|error: SyntaxError| Error::from(error))?;
        if token.kind == TokenKind::BlockComment
            && let Some(body) = body(token.text(text))
        {
            read(body, &mut hints)?;
        }
    }
    Ok(hints)
}

/// What follows `weir:` in a comment.
fn body(comment: &str) -> Option<&str> {
    let inner = comment.strip_prefix("/*")?.strip_suffix("*/")?;
    inner.trim().strip_prefix("weir:")
}

fn read(body: &str, hints: &mut Hints) -> Result<(), Error> {
    for item in body.split([' ', ',', '\t', '\n', '\r']).filter(|item| !item.is_empty()) {
        let (key, value) = item.split_once('=').unwrap_or((item, ""));
        if key != "shard" {
            return Err(refused(format!("unknown weir hint \"{key}\"")));
        }
        if value.is_empty() {
            return Err(refused(format!("weir hint \"{key}\" has no value")));
        }
        if hints.shard.as_deref().is_some_and(|shard| shard != value) {
            return Err(refused("conflicting weir hints for the shard".to_owned()));
        }
        hints.shard = Some(value.to_owned());
    }
    Ok(())
}

fn refused(message: String) -> Error {
    Error::client(SqlState::INVALID_PARAMETER_VALUE, message)
        .hint("write /* weir: shard=NAME */ with a shard's name from the rules file")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_names_a_shard_at_head_or_tail() {
        for text in ["/* weir: shard=s1 */ select 1", "select 1 /*weir:shard=s1*/"] {
            assert_eq!(hints(text, true).unwrap().shard.as_deref(), Some("s1"), "{text}");
        }
    }

    #[test]
    fn a_string_that_looks_like_a_hint_is_none() {
        assert_eq!(hints("select '/* weir: shard=s1 */'", true).unwrap(), Hints::default());
    }

    #[test]
    fn unknown_and_conflicting_hints_are_errors() {
        for text in [
            "/* weir: shrad=s1 */ select 1",
            "/* weir: shard */ select 1",
            "/* weir: shard=a */ select 1 /* weir: shard=b */",
        ] {
            assert!(hints(text, true).unwrap_err().hint.is_some(), "{text}");
        }
    }
}
