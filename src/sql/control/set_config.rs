//! What a statement's calls of `set_config(name, value, is_local)` say by themselves.
use crate::sql::escape;
use crate::sql::lexer::{Lexer, Token, TokenKind};

/// One call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SetConfig {
    pub name: Argument,
    pub local: Argument,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Argument {
    Constant(String),
    /// `$n`, counted from 0.
    Parameter(usize),
    /// An expression: only a server knows.
    Computed,
}

/// The calls in the text, in its order.
pub fn set_config_calls(text: &str, standard_conforming_strings: bool) -> Vec<SetConfig> {
    let tokens: Vec<Token> = Lexer::new(text, standard_conforming_strings)
        .map_while(Result::ok)
        .filter(|token| !token.kind.is_blank())
        .collect();
    let starts =
        tokens.windows(2).enumerate().filter(|(_, pair)| super::mentions_set_config(text, pair));
    starts.map(|(at, _)| call(text, tokens.get(at + 2..).unwrap_or_default())).collect()
}

/// `tokens`: what follows the opening parenthesis.
fn call(text: &str, tokens: &[Token]) -> SetConfig {
    let mut arguments: Vec<Vec<Token>> = vec![Vec::new()];
    let mut depth = 0;
    for &token in tokens {
        match token.kind {
            TokenKind::OpenParen | TokenKind::OpenBracket => depth += 1,
            TokenKind::CloseParen if depth == 0 => break,
            TokenKind::CloseParen | TokenKind::CloseBracket => depth -= 1,
            TokenKind::Comma if depth == 0 => {
                arguments.push(Vec::new());
                continue;
            }
            _ => {}
        }
        if let Some(argument) = arguments.last_mut() {
            argument.push(token);
        }
    }
    let argument =
        |index: usize| arguments.get(index).map_or(Argument::Computed, |a| read(text, a));
    SetConfig { name: argument(0), local: argument(2) }
}

fn read(text: &str, tokens: &[Token]) -> Argument {
    // A cast of a constant to text or boolean changes nothing.
    let (&[token]
    | &[token, Token { kind: TokenKind::Cast, .. }, Token { kind: TokenKind::Word, .. }]) = tokens
    else {
        return Argument::Computed;
    };
    let source = token.text(text);
    match token.kind {
        TokenKind::Parameter => {
            let number = source.get(1..).and_then(|digits| digits.parse::<usize>().ok());
            number.and_then(|n| n.checked_sub(1)).map_or(Argument::Computed, Argument::Parameter)
        }
        // Any other word is a column.
        TokenKind::Word if token.is(text, "true") || token.is(text, "false") => {
            Argument::Constant(source.to_ascii_lowercase())
        }
        kind if kind.is_string() => match escape::value(kind, source) {
            Some(value) => Argument::Constant(value.into_owned()),
            None => Argument::Computed,
        },
        _ => Argument::Computed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_and_parameters_are_told_apart_from_expressions() {
        let constant = |text: &str| Argument::Constant(text.to_owned());
        for (text, name, local) in [
            ("select set_config('a.b', 'x, y', false)", constant("a.b"), constant("false")),
            (
                "select pg_catalog.set_config ( 'a' , f(1, 2), TRUE)",
                constant("a"),
                constant("true"),
            ),
            ("select set_config($1, $2, $3)", Argument::Parameter(0), Argument::Parameter(2)),
            ("select set_config('a'::text, '', 't'::bool)", constant("a"), constant("t")),
            ("select set_config(name, v, 1 = 1) from x", Argument::Computed, Argument::Computed),
            ("select set_config('a' || 'b', '', false)", Argument::Computed, constant("false")),
        ] {
            let calls = set_config_calls(text, true);
            assert_eq!(calls.len(), 1, "{text}");
            assert_eq!((&calls[0].name, &calls[0].local), (&name, &local), "{text}");
        }
        assert!(set_config_calls("select 'set_config(1)'", true).is_empty());
    }
}
