//! Hints to weir in a comment: `/* weir: shard=s1 tier=batch reads=replica */`.
use super::lexer::{Lexer, SyntaxError, TokenKind};
use crate::error::{Error, SqlState};

/// What the comments of a statement ask for.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Hints {
    /// The name of the shard on which the statement shall run.
    pub shard: Option<String>,
    /// The name of the tier whose connections it shall use.
    pub tier: Option<String>,
    /// From which kind of server it shall read.
    pub reads: Option<String>,
}

/// What may be asked for, and how a value is called.
const KNOWN: [(&str, &str); 3] =
    [("shard", "NAME"), ("tier", "NAME"), ("reads", "primary|replica")];

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
        let place = match key {
            "shard" => &mut hints.shard,
            "tier" => &mut hints.tier,
            "reads" => &mut hints.reads,
            _ => return Err(refused(format!("unknown weir hint \"{key}\""))),
        };
        if value.is_empty() {
            return Err(refused(format!("weir hint \"{key}\" has no value")));
        }
        if place.as_deref().is_some_and(|before| before != value) {
            return Err(refused(format!("conflicting weir hints: \"{key}\" twice")));
        }
        *place = Some(value.to_owned());
    }
    Ok(())
}

fn refused(message: String) -> Error {
    let known: Vec<String> = KNOWN.iter().map(|(key, value)| format!("{key}={value}")).collect();
    Error::client(SqlState::INVALID_PARAMETER_VALUE, message)
        .hint(format!("write /* weir: … */ with any of {}", known.join(", ")))
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
    fn a_comment_may_ask_for_several_things() {
        let asked = hints("/* weir: tier=batch, reads=replica */ select 1", true).unwrap();
        assert_eq!(
            (asked.tier.as_deref(), asked.reads.as_deref()),
            (Some("batch"), Some("replica"))
        );
        assert_eq!(asked.shard, None);
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
            "/* weir: tier=a tier=b */ select 1",
            "/* weir: tier */ select 1",
        ] {
            assert!(hints(text, true).unwrap_err().hint.is_some(), "{text}");
        }
    }
}
